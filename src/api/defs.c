/* api/defs.c: all names that limits ever had, for whoever reads decisions of the past. */
#include "api/api_priv.h"

#include <stdlib.h>

struct gathering {
    struct limit_def_row *rows;
    size_t count, cap;
    bool failed;
};

static bool
take_def(void *user, const struct limit_def_row *row)
{
    struct gathering *gathering = user;
    if (gathering->count == gathering->cap) {
        const size_t cap = gathering->cap ? gathering->cap * 2 : 64;
        struct limit_def_row *grown = realloc(gathering->rows, cap * sizeof(*grown));
        if (!grown) {
            gathering->failed = true;
            return false;
        }
        gathering->rows = grown;
        gathering->cap = cap;
    }
    gathering->rows[gathering->count++] = *row;
    return true;
}

bool
defs_read(struct api_worker *worker, struct ask *ask, struct limit_defs *defs)
{
    struct gathering gathering = { 0 };
    const enum status status = store_read_limit_defs(worker->reader, take_def, &gathering);
    *defs = (struct limit_defs){ gathering.rows, gathering.count };
    if (status == STATUS_OK && !gathering.failed) {
        return true;
    }
    if (ask && gathering.failed) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
    } else if (ask) {
        worker_read_failed(worker, ask);
    }
    defs_free(defs);
    return false;
}

void
defs_free(struct limit_defs *defs)
{
    free((void *)(uintptr_t)defs->rows); /* rows are const to whoever uses them */
    *defs = (struct limit_defs){ 0 };
}
