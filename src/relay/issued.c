/* relay/issued.c: ids that providers gave: those that an answer brings, and those that a request names.
 *
 * A provider knows a response, or an item of one, by its id, whoever of our accounts names it. So an id
 * passes only for the account that got it from us, and a call that needs what the id stands for goes to the
 * provider that gave it (DESIGN section 7). One such id is a field of the call's event, judged with the
 * call; more are asked for before, ISSUED_IDS_MAX at once. */
#include "relay/relay_priv.h"

#include <stdio.h>

#include "base/secret.h"
#include "log/log.h"
#include "log/trail.h"
#include "wire/items.h"

#define GIVEN_IDS_MAX  256 /* of one answer */
#define SHOWN_ID_BYTES 100

/* In the order of their hashes: those that bind the call to their provider come first. */
struct named_ids {
    char *hashes; /* HASH_HEX bytes each, end to end */
    struct slice *ids;
    uint32_t count, alike_count;
    uint32_t asked;    /* so many are known to be this account's */
    uint32_t piece_at; /* the first of those that the gate is asked for now */
};

/* Keyed by the account as well: ids that a provider gives twice are each account's own. */
static void
hash_id(const struct call *call, struct slice id, char hash[HASH_HEX + 1])
{
    char room[64 + ITEM_ID_BYTES_MAX];
    const int begun = snprintf(room, sizeof room, "issued:%lld:", (long long)call->account_id);
    const size_t len = (size_t)min_i64((int64_t)id.len, (int64_t)sizeof room - begun);
    memcpy(room + begun, id.ptr, len);
    secret_keyed_hash_hex(
        engine_signal_key(call->loop->relay->engine), slice_of(room, (size_t)begun + len), hash);
}

/* ---- what a request names ---- */

static void
name_id(const struct call *call, struct named_ids *named, struct slice id)
{
    char hash[HASH_HEX + 1];
    hash_id(call, id, hash);
    memcpy(named->hashes + (size_t)named->count * HASH_HEX, hash, HASH_HEX);
    named->ids[named->count++] = id;
}

/* False: no memory. */
static bool
find_named(struct call *call)
{
    const struct facts *facts = call->facts;
    const struct slice stored[] = { facts->previous_response_id, facts->conversation };
    const size_t room = countof(stored) + facts->id_count;
    if (facts->id_count == 0 && stored[0].len == 0 && stored[1].len == 0) {
        return true;
    }
    struct named_ids *named = arena_alloc(&call->arena, sizeof *named);
    char *hashes = arena_alloc(&call->arena, room * HASH_HEX);
    struct slice *ids = arena_alloc(&call->arena, room * sizeof *ids);
    if (!named || !hashes || !ids) {
        return false;
    }
    *named = (struct named_ids){ .hashes = hashes, .ids = ids };
    for (size_t i = 0; i < countof(stored); i++) {
        if (stored[i].len) {
            name_id(call, named, stored[i]);
        }
    }
    for (int told = 0; told <= 1; told++) {
        for (uint32_t i = 0; i < facts->id_count; i++) {
            if (facts->ids[i].told == (told != 0)) {
                name_id(call, named, facts->ids[i].id);
            }
        }
        named->alike_count = told ? named->alike_count : named->count;
    }
    call->named = named;
    return true;
}

void
call_bind(const struct call *call, struct call_event *event)
{
    if (call->named && call->named->alike_count > 0) {
        memcpy(event->issued_hash, call->named->hashes, HASH_HEX);
    }
}

struct slice
call_named_detail(struct call *call, const struct refusal *refusal)
{
    const struct named_ids *named = call->named;
    const bool of_id =
        refusal->reason == REASON_ID_UNKNOWN || refusal->reason == REASON_ID_ROUTE_GONE;
    const size_t at = named ? named->piece_at + (size_t)refusal->ask : 0;
    char detail[SHOWN_ID_BYTES + 96];
    if (!of_id || !named || at >= named->count) {
        return slice_of(NULL, 0);
    }
    const struct slice id = named->ids[at];
    snprintf(detail, sizeof detail, "It is \"%.*s\"%s.",
        (int)min_i64((int64_t)id.len, SHOWN_ID_BYTES), id.ptr,
        refusal->reason == REASON_ID_UNKNOWN ? ": send what it stands for in its place" : "");
    return arena_copy(&call->arena, slice_str(detail));
}

static void ask_piece(struct call *call);

static void
on_issued(void *user, const struct verdict *verdict)
{
    struct call *call = user;
    struct named_ids *named = call->named;
    call->ticket_open = false;
    if (verdict->kind == VERDICT_REFUSED) {
        call->found = verdict->refusal.reason;
        call->detail = call_named_detail(call, &verdict->refusal);
        call_ask_gate(call, call->found);
    } else if (named->asked < named->count) {
        ask_piece(call);
    } else {
        call_ask_gate(call, REASON_OK);
    }
}

/* The last id of a piece goes with the next one too, so that all of them are compared. */
static void
ask_piece(struct call *call)
{
    struct named_ids *named = call->named;
    named->piece_at = named->asked > 0 ? named->asked - 1 : 0;
    const uint32_t left = named->count - named->piece_at;
    const uint32_t count = left < ISSUED_IDS_MAX ? left : ISSUED_IDS_MAX;
    const char *piece = named->hashes + (size_t)named->piece_at * HASH_HEX;
    const bool binds = named->alike_count > named->piece_at;
    struct event event = { .kind = EVENT_ISSUED };
    event.issued = (struct issued_event){ .account_id = call->account_id,
        .alike_count = binds ? named->alike_count - named->piece_at : 0,
        .ids = slice_of(piece, (size_t)count * HASH_HEX) };
    named->asked = named->piece_at + count;
    call->state = CALL_GATE;
    if (!replies_submit(call->loop->replies, &event, on_issued, call, &call->ticket)) {
        call_refuse_reason(call, REASON_OVERLOADED, (struct slice){ 0 });
        return;
    }
    call->ticket_open = true;
}

void
call_ask_issued(struct call *call)
{
    if (!find_named(call)) {
        call_refuse_reason(call, REASON_MEMORY_FULL, (struct slice){ 0 });
        return;
    }
    const struct named_ids *named = call->named;
    const bool with_call = !named || (named->count == 1 && named->alike_count == 1);
    if (with_call) {
        call_ask_gate(call, REASON_OK);
    } else {
        ask_piece(call);
    }
}

/* ---- what an answer brings ---- */

static void
issue_id(struct call *call, struct slice id)
{
    struct buf *issued = &call->issued;
    char hash[HASH_HEX + 1];
    hash_id(call, id, hash);
    for (size_t at = 0; at < issued->len; at += HASH_HEX) {
        if (memcmp(issued->ptr + at, hash, HASH_HEX) == 0) {
            return; /* an item is told when it is done, and again with the whole answer */
        }
    }
    if (issued->len == GIVEN_IDS_MAX * (size_t)HASH_HEX) {
        log_line(LOG_WARN, "relay",
            "the answer to %s has more than %d items: ids of later ones will not be known here",
            call->request_id, GIVEN_IDS_MAX);
        return;
    }
    buf_add(issued, hash, HASH_HEX);
}

void
call_note_items(struct call *call, struct slice items)
{
    struct item_walk walk;
    struct item_id item;
    if (items.len == 0 || !call->hold_id) {
        return;
    }
    item_walk_start(&walk, items);
    while (item_walk_next(&walk, &item)) {
        if (item.names || !call->unstored) {
            issue_id(call, item.id);
        }
    }
}

struct slice
call_issued(struct call *call)
{
    if (call->api == API_RESPONSES && call->tap.id[0]) {
        issue_id(call, slice_str(call->tap.id));
    }
    return buf_slice(&call->issued);
}
