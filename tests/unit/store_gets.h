/* tests/unit/store_gets.h: one row of a store at a time, in the words of store_load. A row that others may change is
 * locked in a transaction that writes, where the order of locks allows it still. */
#pragma once

#include "base/buf.h"
#include "store/store_priv.h"

struct store_got {
    enum status status;
    union need_row *row;
};

static inline void
store_take_got(void *user, const struct need *need, const union need_row *row)
{
    static struct buf inputs; /* of the last hold: they outlive the call */
    struct store_got *got = user;
    got->status = row ? STATUS_OK : STATUS_NOT_FOUND;
    if (!row) {
        return;
    }
    *got->row = *row;
    if (need->kind == NEED_HOLD) {
        buf_clear(&inputs);
        buf_add_slice(&inputs, row->hold.inputs);
        got->row->hold.inputs = buf_slice(&inputs);
    }
}

static inline enum status
store_get_needed(struct store *store, enum need_kind kind, int32_t sub_kind, int64_t id, const char *text,
    union need_row *row)
{
    struct need need = { .kind = kind, .sub_kind = sub_kind, .id = id };
    if (!slice_to_cstr(slice_str(text), need.text, sizeof need.text)) {
        return STATUS_NOT_FOUND; /* no row has such a name */
    }
    struct store_got got = { .status = STATUS_NOT_FOUND, .row = row };
    const bool lock = store->state == STORE_WRITING;
    enum status status = store_load(store, &need, 1, lock, store_take_got, &got);
    if (status == STATUS_CONFLICT && lock) { /* too late for a lock; nothing was asked */
        status = store_load(store, &need, 1, false, store_take_got, &got);
    }
    return status == STATUS_OK ? got.status : status;
}

#define STORE_GET(name, member, params, args)                                                      \
    static inline enum status store_##name params                                                  \
    {                                                                                              \
        union need_row got;                                                                        \
        const enum status status = store_get_needed args;                                          \
        if (status == STATUS_OK) {                                                                 \
            *row = got.member;                                                                     \
        }                                                                                          \
        return status;                                                                             \
    }
STORE_GET(account_get, account, (struct store * store, int64_t id, struct account_row *row),
    (store, NEED_ACCOUNT, 0, id, "", &got))
STORE_GET(account_by_name, account, (struct store * store, const char *name, struct account_row *row),
    (store, NEED_ACCOUNT_NAME, 0, 0, name, &got))
STORE_GET(key_get, key, (struct store * store, int64_t id, struct key_row *row), (store, NEED_KEY, 0, id, "", &got))
STORE_GET(key_by_hash, key, (struct store * store, const char *hash, struct key_row *row),
    (store, NEED_KEY_HASH, 0, 0, hash, &got))
STORE_GET(thread_get, thread, (struct store * store, int64_t id, struct thread_row *row),
    (store, NEED_THREAD, 0, id, "", &got))
STORE_GET(thread_find, thread,
    (struct store * store, int64_t account_id, enum thread_kind kind, const char *hash, struct thread_row *row),
    (store, NEED_THREAD_SIG, (int32_t)kind, account_id, hash, &got))
STORE_GET(subject_find, subject,
    (struct store * store, enum subject_kind kind, int64_t account_id, const char *name, struct subject_row *row),
    (store, NEED_SUBJECT, (int32_t)kind, account_id, name, &got))
STORE_GET(subject_get, subject, (struct store * store, int64_t id, struct subject_row *row),
    (store, NEED_SUBJECT_ID, 0, id, "", &got))
STORE_GET(meter_get, meter, (struct store * store, int64_t id, struct meter_row *row),
    (store, NEED_METER, 0, id, "", &got))
STORE_GET(reported_get, reported, (struct store * store, int64_t id, struct reported_row *row),
    (store, NEED_REPORTED, 0, id, "", &got))
STORE_GET(hold_get, hold, (struct store * store, int64_t id, struct hold_row *row),
    (store, NEED_HOLD, 0, id, "", &got))
STORE_GET(issued_get, issued, (struct store * store, const char *hash, struct issued_row *row),
    (store, NEED_ISSUED, 0, 0, hash, &got))
STORE_GET(receipt_get, receipt, (struct store * store, const char *name, struct receipt_row *row),
    (store, NEED_RECEIPT, 0, 0, name, &got))
#undef STORE_GET
