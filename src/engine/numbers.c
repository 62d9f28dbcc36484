/* engine/numbers.c: limits get their numbers. One that counts the same over the same window goes on with the number
 * that it had, also under another name (`was`); else it gets a new one, and what it counts begins anew. What people
 * set for it goes on as long as it counts the same per the same: over whichever window. */
#include "engine/engine_priv.h"

#include <stdio.h>
#include <stdlib.h>

enum status
numbers_read(struct engine *engine, struct numbers *numbers)
{
    struct limit_def_row row;
    enum status status = STATUS_OK;
    numbers->count = 0;
    while (
        (status = store_limit_def_at(engine->store, (int64_t)numbers->count, &row)) == STATUS_OK) {
        if (numbers->count == numbers->cap) {
            const size_t cap = numbers->cap ? numbers->cap * 2 : 64;
            struct limit_def_row *grown = realloc(numbers->rows, cap * sizeof(*grown));
            if (!grown) {
                return STATUS_FULL;
            }
            numbers->rows = grown;
            numbers->cap = cap;
        }
        numbers->rows[numbers->count++] = row;
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

void
numbers_free(struct numbers *numbers)
{
    free(numbers->rows);
    *numbers = (struct numbers){ 0 };
}

/* What goes by this name; NULL: nothing. */
static const struct limit_def_row *
meant_by(const struct numbers *numbers, const char *name)
{
    for (size_t i = 0; name && i < numbers->count; i++) {
        if (numbers->rows[i].until_ms == 0 && strcmp(numbers->rows[i].name, name) == 0) {
            return &numbers->rows[i];
        }
    }
    return NULL;
}

/* The row of that number and name, where it bore that name before. */
static const struct limit_def_row *
borne_before(const struct numbers *numbers, int64_t limit_id, const char *name)
{
    for (size_t i = 0; i < numbers->count; i++) {
        if (numbers->rows[i].limit_id == limit_id && strcmp(numbers->rows[i].name, name) == 0) {
            return &numbers->rows[i];
        }
    }
    return NULL;
}

static int64_t
next_nth(const struct numbers *numbers, const char *name)
{
    int64_t nth = 0;
    for (size_t i = 0; i < numbers->count; i++) {
        if (strcmp(numbers->rows[i].name, name) == 0) {
            nth = max_i64(nth, numbers->rows[i].nth);
        }
    }
    return nth + 1;
}

/* Whether what was set is some other limit's by now, which only had that name. */
static bool
sets_of_another(const struct numbers *numbers, int64_t set_id, const struct limit_def_row *known)
{
    for (size_t i = 0; i < numbers->count; i++) {
        const struct limit_def_row *row = &numbers->rows[i];
        if (row != known && row->until_ms == 0 && row->set_id == set_id) {
            return true;
        }
    }
    return false;
}

/* The newest definition by that name, or of the number that it had, that counted the same per the same: what was
 * set for it goes on, also where something else was tried in between. 0: none. */
static int64_t
sets_of_same(
    const struct numbers *numbers, const struct limit *limit, const struct limit_def_row *known)
{
    const struct limit_def_row *found = NULL;
    for (size_t i = 0; i < numbers->count; i++) {
        const struct limit_def_row *row = &numbers->rows[i];
        const bool its =
            (known && row->limit_id == known->limit_id) || strcmp(row->name, limit->name) == 0;
        if (its && strcmp(row->thing, limit->thing) == 0
            && (!found || row->since_ms >= found->since_ms)
            && !sets_of_another(numbers, row->set_id, known)) {
            found = row;
        }
    }
    return found ? found->set_id : 0;
}

/* What both have used cannot become one. */
static enum status
refuse_rename(const struct limit *limit, struct engine_error *error)
{
    snprintf(error->text, sizeof error->text,
        "the limit '%s' cannot take over what '%s' has used: there is use of a limit '%s' on the books already; take "
        "`was: %s` out to go on with that, or give the limit a name that was never used",
        limit->name, limit->was, limit->name, limit->was);
    return STATUS_INVALID;
}

static bool
same_row(const struct limit_def_row *a, const struct limit_def_row *b)
{
    return a->def_id == b->def_id && a->limit_id == b->limit_id && a->set_id == b->set_id
           && a->since_ms == b->since_ms && a->until_ms == b->until_ms && a->nth == b->nth
           && strcmp(a->name, b->name) == 0 && strcmp(a->fingerprint, b->fingerprint) == 0
           && strcmp(a->thing, b->thing) == 0 && a->counts == b->counts && a->per == b->per
           && a->window == b->window && a->span_ms == b->span_ms;
}

static struct limit_def_row
row_of_limit(const struct limit *limit)
{
    struct limit_def_row row = { .counts = (int32_t)limit->counts,
        .per = (int32_t)limit->per,
        .window = (int32_t)limit->window,
        .span_ms = limit->span_ms };
    slice_to_cstr(slice_str(limit->name), row.name, sizeof row.name);
    memcpy(row.fingerprint, limit->fingerprint, sizeof row.fingerprint);
    memcpy(row.thing, limit->thing, sizeof row.thing);
    return row;
}

/* `known`: what it was before; NULL: nothing. */
static void
number_row(struct engine *engine, const struct numbers *numbers, const struct limit *limit,
    const struct limit_def_row *known, struct limit_def_row *row)
{
    *row = row_of_limit(limit);
    if (known && strcmp(known->fingerprint, limit->fingerprint) == 0) {
        const struct limit_def_row *again = borne_before(numbers, known->limit_id, limit->name);
        row->limit_id = known->limit_id;
        row->set_id = known->set_id;
        row->since_ms = known->since_ms;
        row->def_id = again ? again->def_id : ids_take(&engine->ids);
        row->nth = again ? again->nth : next_nth(numbers, limit->name);
        return;
    }
    const int64_t set_id = sets_of_same(numbers, limit, known);
    row->def_id = row->limit_id = ids_take(&engine->ids);
    row->set_id = set_id ? set_id : row->limit_id;
    row->since_ms = engine_now_ms(engine);
    row->nth = next_nth(numbers, limit->name);
}

/* What went by a name means something else from now on. */
static enum status
retire(struct engine *engine, const struct limit_def_row *known)
{
    struct limit_def_row row = *known;
    row.until_ms = max_i64(1, engine_now_ms(engine));
    return store_limit_def_put(engine->store, &row);
}

enum status
numbers_give(struct engine *engine, const struct numbers *numbers, struct limit *limit,
    struct engine_error *error)
{
    const struct limit_def_row *known = meant_by(numbers, limit->name);
    const struct limit_def_row *before = meant_by(numbers, limit->was);
    /* One that counts otherwise has nothing to take over. */
    if (known && before && strcmp(before->fingerprint, limit->fingerprint) == 0) {
        return refuse_rename(limit, error);
    }
    known = known ? known : before;
    struct limit_def_row row;
    number_row(engine, numbers, limit, known, &row);
    limit->limit_id = row.limit_id;
    limit->set_id = row.set_id;
    limit->left_set_id = known && known->set_id != row.set_id ? known->set_id : 0;
    limit->since_ms = row.since_ms;
    limit->nth = row.nth;
    enum status status = STATUS_OK;
    if (known && known->def_id != row.def_id) {
        status = retire(engine, known);
    } else if (known && same_row(known, &row)) {
        return STATUS_OK;
    }
    return status == STATUS_OK ? store_limit_def_put(engine->store, &row) : status;
}
