/* core/receipts.c: what must not happen twice leaves a receipt, a row that is written once, with what it is about.
 * Of two gateways that do the same at once one finds its row taken when it commits, and decides again.
 *
 * A change that has an idempotency key leaves one under that key, with its answer: asked for again, nothing is
 * changed, and that is the answer. What changed nothing leaves none, so it is judged anew.
 *
 * A correction of a call leaves one under its place among those of that call: it was judged by the sum before it,
 * and by whose corrections there are, so no other may come between. Receipts are swept in time, so what was read
 * long ago proves nothing: a gateway may have slept since. */
#include "core/core_priv.h"

void
need_receipt(struct core *core, const struct receipt_ask *ask, struct needs *needs)
{
    if (ask->name[0]) {
        need_text(needs, NEED_RECEIPT, 0, work_receipt(core->work, ask->name), 0, ask->name);
    }
}

static const struct receipt_slot *
stored_receipt(struct core *core, const char *name)
{
    const struct receipt_slot *slot = name[0] ? work_receipt(core->work, name) : NULL;
    return slot && slot->slot.state != SLOT_ABSENT ? slot : NULL;
}

bool
receipt_stops(struct core *core, const struct receipt_ask *ask, struct verdict *verdict)
{
    const struct receipt_slot *slot = stored_receipt(core, ask->name);
    if (!slot) {
        return false;
    }
    verdict->kind = VERDICT_ALLOWED;
    verdict->admin = strcmp(slot->row.asked, ask->asked) == 0 ? ADMIN_REPEATED : ADMIN_REUSED;
    return true;
}

void
receipt_leave(struct core *core, const struct receipt_ask *ask, struct verdict *verdict)
{
    if (!ask->name[0] || verdict->admin != ADMIN_DONE) {
        return;
    }
    struct receipt_row row = { .at_ms = core->now_ms, .status = ask->status };
    memcpy(row.name, ask->name, sizeof row.name);
    memcpy(row.asked, ask->asked, sizeof row.asked);
    check(receipt_answer(ask->answer, verdict->new_id, row.answer)); /* who asks has seen to that */
    check(receipt_valid(&row));
    work_new_receipt(core->work, &row);
}

/* --- Corrections. */

static void
name_correction(const struct admin_adjust *adjust, char name[HASH_HEX + 1])
{
    struct buf text = buf_over(name, HASH_HEX + 1);
    buf_add_str(&text, "adjust:");
    buf_add_i64(&text, adjust->hold_id);
    buf_add_char(&text, ':');
    buf_add_i64(&text, adjust->after_count);
    name[text.len] = '\0';
}

void
need_correction(struct core *core, const struct admin_adjust *adjust, struct needs *needs)
{
    char name[HASH_HEX + 1];
    name_correction(adjust, name);
    need_text(needs, NEED_RECEIPT, 0, work_receipt(core->work, name), 0, name);
}

bool
correction_take(struct core *core, const struct admin_adjust *adjust)
{
    struct receipt_row row = { .at_ms = core->now_ms };
    name_correction(adjust, row.name);
    if (core->now_ms - adjust->read_ms > RECEIPT_KEPT_MS / 2 || stored_receipt(core, row.name)) {
        return false;
    }
    work_new_receipt(core->work, &row);
    return true;
}
