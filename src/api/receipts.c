/* api/receipts.c: Idempotency-Key. A change that has one is made once, and its answer is kept in the transaction
 * that makes it (core/receipts.c): whoever asks again under the same key, here, at another gateway on the store or
 * after a crash, is given that answer. Two at once wait for each other at the gate, so none is told to come back.
 *
 * A key counts for its caller alone: an admin's key, else an account, else the control socket. What was refused is
 * not kept: it changed nothing, and may go another way next time. */
#include "api/api_priv.h"

#include <stdio.h>

#include "base/secret.h"

bool
receipt_key_take(struct ask *ask, struct slice key)
{
    bool good = key.len > 0 && key.len <= IDEMPOTENCY_KEY_BYTES_MAX;
    for (size_t i = 0; good && i < key.len; i++) {
        good = key.ptr[i] >= ' ' && key.ptr[i] <= '~';
    }
    if (!good) {
        answer_fault(ask, API_FAULT_IDEMPOTENCY_KEY, NULL);
        return false;
    }
    return slice_to_cstr(key, ask->once_key, sizeof(ask->once_key));
}

/* Whose key it is: an account's keys are one caller, admins are not. */
static void
add_caller(struct buf *text, const struct ask *ask)
{
    if (ask->control) {
        buf_add_str(text, "control");
    } else if (ask->identity.role == ROLE_ADMIN) {
        buf_addf(text, "key %lld", (long long)ask->identity.key_id);
    } else {
        buf_addf(text, "account %lld", (long long)ask->identity.account_id);
    }
}

static bool
name_receipt(struct ask *ask)
{
    struct buf text = { 0 };
    add_caller(&text, ask);
    buf_addf(&text, "\n%s", ask->once_key);
    secret_hash_hex(buf_slice(&text), ask->receipt.name);
    buf_clear(&text);
    buf_addf(&text, "%s ", endpoint_row(ask->endpoint)->method);
    buf_add_slice(&text, buf_slice(&ask->target));
    buf_add_char(&text, '\n');
    buf_add_slice(&text, buf_slice(&ask->body));
    secret_hash_hex(buf_slice(&text), ask->receipt.asked);
    const bool named = !text.failed;
    buf_free(&text);
    return named;
}

/* NOT_FOUND: there is none. */
static enum status
read_receipt(struct api_worker *worker, const struct ask *ask, struct receipt_row *row)
{
    struct need need = { .kind = NEED_RECEIPT };
    union need_row found;
    memcpy(need.text, ask->receipt.name, sizeof(ask->receipt.name));
    const enum status status = store_read_row(worker->reader, &need, &found);
    if (status == STATUS_OK) {
        *row = found.receipt;
    }
    return status;
}

static void
answer_again(struct ask *ask, const struct receipt_row *row)
{
    buf_clear(&ask->headers);
    buf_clear(&ask->out);
    ask->out.limit_bytes = API_ANSWER_BYTES_MAX;
    buf_add_str(&ask->out, row->answer);
    ask->status = row->status;
    ask->replayed = true;
}

bool
receipt_answers(struct api_worker *worker, struct ask *ask)
{
    struct receipt_row row;
    if (!ask->once_key[0]) {
        return false;
    }
    if (!name_receipt(ask)) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
        return true;
    }
    const enum status status = read_receipt(worker, ask, &row);
    if (status == STATUS_NOT_FOUND) {
        return false;
    }
    if (status != STATUS_OK) {
        worker_read_failed(worker, ask);
    } else if (strcmp(row.asked, ask->receipt.asked) != 0) {
        answer_fault(ask, API_FAULT_IDEMPOTENCY_REUSED, NULL);
    } else if (row.status != 0) {
        answer_again(ask, &row);
    } else {
        return false; /* the gate changes nothing, and things are shown as they stand */
    }
    return true;
}

void
receipt_answers_refusal(struct api_worker *worker, struct ask *ask)
{
    struct receipt_row row;
    if (ask->receipt.name[0] && ask->status >= 400 && read_receipt(worker, ask, &row) == STATUS_OK
        && strcmp(row.asked, ask->receipt.asked) == 0 && row.status != 0) {
        answer_again(ask, &row);
    }
}

/* --- The change. */

/* The answer, now that its number is known. */
static void
fill_number(struct ask *ask, int64_t number)
{
    struct buf filled = { .limit_bytes = API_ANSWER_BYTES_MAX };
    struct slice rest = buf_slice(&ask->out);
    struct slice part = { 0 };
    bool first = true;
    while (slice_split(&rest, RECEIPT_NUMBER, &part)) {
        if (!first) {
            buf_add_i64(&filled, number);
        }
        buf_add_slice(&filled, part);
        first = false;
    }
    if (ask->out.len > 0) {
        secret_wipe(ask->out.ptr, ask->out.len);
    }
    buf_free(&ask->out);
    ask->out = filled;
}

static void
answer_done_before(struct api_worker *worker, struct ask *ask)
{
    struct receipt_row row;
    if (read_receipt(worker, ask, &row) == STATUS_OK) {
        answer_again(ask, &row);
    } else {
        worker_read_failed(worker, ask);
    }
}

static bool
ask_gate(struct api_worker *worker, struct ask *ask, struct event *event, struct slice kept,
    struct verdict *verdict)
{
    struct receipt_ask *receipt =
        event->kind == EVENT_REPORT ? &event->report.receipt : &event->admin.receipt;
    char room[RECEIPT_ANSWER_BYTES];
    *receipt = ask->receipt;
    receipt->status = ask->status;
    receipt->answer = kept.ptr ? kept : buf_slice(&ask->out);
    if (ask->out.failed
        || (receipt->name[0] && !receipt_answer(receipt->answer, INT64_MAX, room))) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
        return false;
    }
    return worker_gate(worker, ask, event, verdict);
}

bool
change_once(struct api_worker *worker, struct ask *ask, struct event *event, struct slice kept,
    struct verdict *verdict)
{
    if (!ask_gate(worker, ask, event, kept, verdict)) {
        return false;
    }
    if (verdict->kind != VERDICT_ALLOWED) {
        answer_reason(ask, verdict->refusal.reason);
        return false;
    }
    switch (verdict->admin) {
    case ADMIN_DONE: fill_number(ask, verdict->new_id); return true;
    case ADMIN_REUSED: answer_fault(ask, API_FAULT_IDEMPOTENCY_REUSED, NULL); return false;
    case ADMIN_REPEATED:
        if (ask->status != 0) {
            answer_done_before(worker, ask);
            return false;
        }
        ask->replayed = true;
        verdict->admin = ADMIN_DONE;
        return true;
    default: return true;
    }
}
