/* engine/standings.c: how limits stand, by rows of the reader door: the core's own rules, and no decision. */
#include "engine/engine_priv.h"

#define ROUNDS_MAX 5

static enum status
load_all(struct store_reader *reader, struct work *work, const struct needs *needs)
{
    for (int32_t i = 0; i < needs->count; i++) {
        union need_row row;
        const enum status status = store_read_row(reader, &needs->items[i], &row);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            return status;
        }
        work_load(work, &needs->items[i], status == STATUS_OK ? &row : NULL);
    }
    return work->failed ? STATUS_FULL : STATUS_OK;
}

static enum status
load_rounds(struct store_reader *reader, struct core *core, const struct standing_ask *ask)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        struct needs needs;
        needs.count = 0;
        needs.overflow = false;
        core_standing_needs(core, ask, &needs);
        const enum status status = load_all(reader, core->work, &needs);
        if (status != STATUS_OK || needs.count == 0) {
            return status;
        }
    }
    return STATUS_OK;
}

enum status
engine_standings(struct store_reader *reader, const struct policy *policy,
    const struct standing_ask *ask, int64_t now_ms, struct limit_standing standings[STANDINGS_MAX],
    int32_t *count)
{
    struct arena arena = { 0 };
    struct work work;
    work_start(&work, &arena);
    struct core core = { .policy = policy, .work = &work, .now_ms = now_ms };
    *count = 0;
    const enum status status = work.failed ? STATUS_FULL : load_rounds(reader, &core, ask);
    if (status == STATUS_OK) {
        *count = core_standings(&core, ask, standings);
    }
    work_end(&work);
    arena_free(&arena);
    return status;
}
