/* engine/usage.c: a view of what is reported, made from rows of the reader door; see the header. */
#include "engine/usage.h"

#define NEEDS_ROUNDS 4

static enum status
load_needs(struct store_reader *reader, const struct needs *needs, struct work *work)
{
    for (int32_t i = 0; i < needs->count; i++) {
        union need_row row;
        const enum status status = store_read_row(reader, &needs->items[i], &row);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            return status;
        }
        if (!work_load(work, &needs->items[i], status == STATUS_OK ? &row : NULL)) {
            return STATUS_FULL;
        }
    }
    return STATUS_OK;
}

enum status
engine_usage(const struct policy *policy, struct store_reader *reader, int64_t account_id,
    const struct usage_try *tried, int64_t now_ms, struct arena *arena, struct usage_view *view)
{
    struct work work;
    struct core core = { .policy = policy, .work = &work, .now_ms = now_ms };
    enum status status = STATUS_OK;
    work_start(&work, arena);
    for (int round = 0; round < NEEDS_ROUNDS && status == STATUS_OK && !work.failed; round++) {
        struct needs needs;
        needs.count = 0;
        needs.overflow = false;
        core_usage_needs(&core, account_id, &needs);
        if (needs.count == 0) {
            break;
        }
        status = load_needs(reader, &needs, &work);
    }
    if (status == STATUS_OK) {
        core_usage(&core, account_id, tried, view);
    }
    return status == STATUS_OK && work.failed ? STATUS_FULL : status;
}
