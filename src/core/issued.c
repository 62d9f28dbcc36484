/* core/issued.c: ids that providers gave: to whom, and where they are known.
 *
 * An id reaches the gate as a hash that is keyed by the account too, so a row says that this account got it,
 * and ids that a provider gives twice are each account's own. Rule: DESIGN section 7. */
#include "core/core_priv.h"

/* The next of the hashes that lie end to end. */
static bool
next_hash(struct slice *ids, char hash[HASH_HEX + 1])
{
    if (ids->len == 0) {
        return false;
    }
    check(ids->len >= HASH_HEX);
    memcpy(hash, ids->ptr, HASH_HEX);
    hash[HASH_HEX] = '\0';
    *ids = slice_of(ids->ptr + HASH_HEX, ids->len - HASH_HEX);
    return true;
}

void
need_issued(struct core *core, const struct issued_event *ask, struct needs *needs)
{
    struct slice ids = ask->ids;
    char hash[HASH_HEX + 1];
    check(ids.len <= ISSUED_IDS_MAX * (size_t)HASH_HEX);
    while (next_hash(&ids, hash)) {
        if (!work_issued(core->work, hash)) {
            (void)needs_add_text(needs, NEED_ISSUED, 0, 0, hash);
        }
    }
}

static void
refuse_id(struct verdict *verdict, enum reason reason, uint32_t index)
{
    refuse(verdict, reason);
    verdict->refusal.ask = index;
}

void
decide_issued(struct core *core, const struct issued_event *ask, struct verdict *verdict)
{
    const struct issued_row *first = NULL;
    struct slice ids = ask->ids;
    char hash[HASH_HEX + 1];
    for (uint32_t i = 0; next_hash(&ids, hash); i++) {
        const struct issued_slot *issued = work_issued(core->work, hash);
        if (!issued || issued->slot.state == SLOT_ABSENT
            || issued->row.account_id != ask->account_id) {
            refuse_id(verdict, REASON_ID_UNKNOWN, i);
            return;
        }
        first = first ? first : &issued->row;
        if (i < ask->alike_count && strcmp(issued->row.provider, first->provider) != 0) {
            refuse_id(verdict, REASON_ID_ROUTE_GONE, i);
            return;
        }
    }
}

void
issued_give(struct core *core, const struct hold_row *hold, struct slice ids)
{
    struct issued_row row = { .account_id = hold->account_id, .at_ms = core->now_ms };
    memcpy(row.provider, hold->attempts[hold->attempt_count - 1].provider, sizeof row.provider);
    while (next_hash(&ids, row.id_hash)) {
        work_new_issued(core->work, &row);
    }
}
