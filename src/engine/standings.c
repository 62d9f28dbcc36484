/* engine/standings.c: how limits stand, by rows of the reader door: the core's own rules, and no decision. */
#include "engine/engine_priv.h"

#include <stdlib.h>

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

/* --- Of rows of meters. */

struct meters_view {
    struct arena arena;
    struct work work;
    struct core core;
    struct limit_standing standings[METERS_MAX];
};

static bool
keep_caps(void *user, const struct subject_row *row)
{
    struct meters_view *view = user;
    struct need need = {
        .kind = NEED_SUBJECT, .sub_kind = (int32_t)row->kind, .id = row->account_id
    };
    memcpy(need.text, row->name, sizeof need.text);
    work_load(&view->work, &need, row);
    return !view->work.failed;
}

/* Whose caps may rule meters of others. */
static enum status
load_caps(struct store_reader *reader, struct meters_view *view)
{
    static const enum subject_kind kinds[] = { SUBJECT_GATEWAY, SUBJECT_GROUP, SUBJECT_ACCOUNT };
    enum status status = STATUS_OK;
    for (size_t i = 0; i < countof(kinds) && status == STATUS_OK; i++) {
        const struct subject_filter filter = { .with_caps = true, .kind = kinds[i] };
        status = store_read_subjects(reader, &filter, keep_caps, view);
    }
    return status == STATUS_OK && view->work.failed ? STATUS_FULL : status;
}

enum status
meters_view_open(struct store_reader *reader, const struct policy *policy, int64_t now_ms,
    struct meters_view **view)
{
    *view = calloc(1, sizeof **view);
    if (!*view) {
        return STATUS_FULL;
    }
    work_start(&(*view)->work, &(*view)->arena);
    (*view)->core = (struct core){ .policy = policy, .work = &(*view)->work, .now_ms = now_ms };
    const enum status status = (*view)->work.failed ? STATUS_FULL : load_caps(reader, *view);
    if (status != STATUS_OK) {
        meters_view_close(*view);
        *view = NULL;
    }
    return status;
}

int32_t
meters_view_row(struct meters_view *view, const struct account_row *account,
    const struct subject_row *subject, const struct meter_row *meters,
    const struct limit_standing **standings)
{
    *standings = view->standings;
    return core_row_standings(&view->core, account, subject, meters, view->standings);
}

void
meters_view_close(struct meters_view *view)
{
    if (view) {
        work_end(&view->work);
        arena_free(&view->arena);
        free(view);
    }
}
