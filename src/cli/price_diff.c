/* cli/price_diff.c: two price books beside each other; both are sorted by id. */
#include "cli/cli_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define STEEP_FACTOR 4 /* a price that moves by more is looked at before it is taken */

static bool
is_steep(int64_t old, int64_t new)
{
    if (old < 0 || new < 0 || old == new) {
        return false; /* a price that is not known moves by nothing */
    }
    if (old == 0 || new == 0) {
        return true;
    }
    return new / STEEP_FACTOR > old || old / STEEP_FACTOR > new || new > old *STEEP_FACTOR
           || old > new *STEEP_FACTOR;
}

static bool
keep(struct price_diff *diff, const struct price_change *change)
{
    if (diff->count == diff->cap) {
        const size_t cap = diff->cap ? diff->cap * 2 : 64;
        struct price_change *grown = realloc(diff->changes, cap * sizeof(*grown));
        if (!grown) {
            diff->failed = true;
            return false;
        }
        diff->changes = grown;
        diff->cap = cap;
    }
    diff->changes[diff->count++] = *change;
    diff->added += change->kind == PRICE_ADDED;
    diff->removed += change->kind == PRICE_REMOVED;
    diff->changed += change->kind == PRICE_CHANGED;
    diff->steep += change->steep;
    return true;
}

static void
compare(struct price_diff *diff, const char *id, const char *field, int64_t above, int64_t old,
    int64_t new, bool money)
{
    const struct price_change change = { .kind = PRICE_CHANGED,
        .id = id,
        .field = field,
        .above_input_tokens = above,
        .old = old,
        .new = new,
        .money = money,
        .steep = money &&is_steep(old, new) };
    if (old != new) {
        (void)keep(diff, &change);
    }
}

static void
compare_sets(struct price_diff *diff, const char *id, int64_t above, const struct price_set *old,
    const struct price_set *new)
{
    compare(diff, id, "input", above, old->input, new->input, true);
    compare(diff, id, "output", above, old->output, new->output, true);
    compare(diff, id, "cache_read", above, old->cache_read, new->cache_read, true);
    compare(diff, id, "cache_write", above, old->cache_write_5m, new->cache_write_5m, true);
    compare(diff, id, "cache_write_1h", above, old->cache_write_1h, new->cache_write_1h, true);
}

static bool
same_thresholds(const struct price *old, const struct price *new)
{
    if (old->tier_count != new->tier_count) {
        return false;
    }
    for (int32_t i = 0; i < old->tier_count; i++) {
        if (old->tiers[i].above_input_tokens != new->tiers[i].above_input_tokens) {
            return false;
        }
    }
    return true;
}

static void
compare_models(struct price_diff *diff, const struct price *old, const struct price *new)
{
    compare_sets(diff, new->id, 0, &old->base, &new->base);
    compare(diff, new->id, "context", 0, old->context, new->context, false);
    compare(diff, new->id, "max_output", 0, old->max_output, new->max_output, false);
    if (!same_thresholds(old, new)) {
        const struct price_change change = { .kind = PRICE_CHANGED,
            .id = new->id,
            .field = "tiers",
            .old = old->tier_count,
            .new = new->tier_count,
            .steep = true }; /* which price meets which cannot be said: it wants a look */
        (void)keep(diff, &change);
        return;
    }
    for (int32_t i = 0; i < new->tier_count; i++) {
        compare_sets(diff, new->id, new->tiers[i].above_input_tokens, &old->tiers[i].set,
            &new->tiers[i].set);
    }
}

bool
price_diff_make(const struct policy *old, const struct policy *new, struct price_diff *diff)
{
    int32_t at_old = 0;
    int32_t at_new = 0;
    *diff = (struct price_diff){ 0 };
    while (at_old < old->price_count || at_new < new->price_count) {
        const struct price *left = at_old < old->price_count ? &old->prices[at_old] : NULL;
        const struct price *right = at_new < new->price_count ? &new->prices[at_new] : NULL;
        const int order = !left ? 1 : !right ? -1 : strcmp(left->id, right->id);
        if (order == 0) {
            compare_models(diff, left, right);
        } else {
            const struct price *one = order < 0 ? left : right;
            check(one); /* one of both is left */
            const struct price_change change = { .kind = order < 0 ? PRICE_REMOVED : PRICE_ADDED,
                .id = one->id,
                .old = one->base.input,
                .new = one->base.output };
            (void)keep(diff, &change);
        }
        at_old += order <= 0;
        at_new += order >= 0;
    }
    return !diff->failed;
}

void
price_diff_free(struct price_diff *diff)
{
    free(diff->changes);
    *diff = (struct price_diff){ 0 };
}

/* --- For people. */

static void
cell_value(struct table *table, const struct price_change *change, int64_t value)
{
    if (value < 0) {
        table_cell(table, "-");
    } else if (change->money) {
        table_cell_money(table, value);
    } else {
        table_cell_i64(table, value);
    }
}

/* "+25.0 %", "-50.0 %"; "" where there is nothing to compare with. Tenths, cut. */
void
price_change_text(int64_t old, int64_t new, char out[48])
{
    out[0] = '\0';
    if (old > 0 && new >= 0 && new <= INT64_MAX / 1000) {
        const int64_t tenths = (new - old) * 1000 / old;
        const int64_t size = tenths < 0 ? -tenths : tenths;
        (void)snprintf(out, 48, "%s%lld.%lld %%", new < old ? "-" : "+", (long long)(size / 10),
            (long long)(size % 10));
    }
}

static void
print_change(struct table *table, const struct price_change *change)
{
    char field[64];
    char moved[48];
    char note[64];
    (void)snprintf(field, sizeof(field), "%s", change->field ? change->field : "");
    if (change->above_input_tokens > 0) {
        (void)snprintf(field, sizeof(field), "%s over %lld in", change->field,
            (long long)change->above_input_tokens);
    }
    table_cell(table, change->id);
    if (change->kind != PRICE_CHANGED) {
        table_cell(table, change->kind == PRICE_ADDED ? "(added)" : "(removed)");
        table_cell(table, "");
        table_cell(table, "");
        table_cell(table, "");
        return;
    }
    price_change_text(change->old, change->new, moved);
    (void)snprintf(note, sizeof(note), "%s%s", moved, change->steep ? " !" : "");
    table_cell(table, field);
    cell_value(table, change, change->old);
    cell_value(table, change, change->new);
    table_cell(table, note);
}

void
price_diff_print(const struct price_diff *diff, bool steep_only)
{
    static const struct column columns[] = {
        { "ID", COLUMN_LEFT },
        { "PRICE (USD A MILLION TOKENS)", COLUMN_LEFT, COLUMN_TEXT },
        { "OLD", COLUMN_RIGHT },
        { "NEW", COLUMN_RIGHT },
        { "CHANGE", COLUMN_RIGHT },
    };
    struct table table;
    table_start(&table, columns, countof(columns));
    bool any = false;
    for (size_t i = 0; i < diff->count; i++) {
        if (!steep_only || diff->changes[i].steep || diff->changes[i].kind == PRICE_REMOVED) {
            print_change(&table, &diff->changes[i]);
            any = true;
        }
    }
    if (any) {
        table_print(&table, output_is_terminal());
    } else {
        buf_free(&table.cells);
    }
}

/* --- For programs. */

static void
ids_json(
    struct buf *out, const char *name, const struct price_diff *diff, enum price_change_kind kind)
{
    bool first = true;
    buf_addf(out, ",\"%s\":[", name);
    for (size_t i = 0; i < diff->count; i++) {
        if (diff->changes[i].kind == kind) {
            buf_add_str(out, first ? "" : ",");
            buf_add_json(out, slice_str(diff->changes[i].id));
            first = false;
        }
    }
    buf_add_char(out, ']');
}

static void
value_json(struct buf *out, const char *name, int64_t value)
{
    buf_addf(out, ",\"%s\":", name);
    if (value < 0) {
        buf_add_str(out, "null");
    } else {
        buf_add_i64(out, value);
    }
}

void
price_diff_json(struct buf *out, const struct price_diff *diff)
{
    bool first = true;
    ids_json(out, "added", diff, PRICE_ADDED);
    ids_json(out, "removed", diff, PRICE_REMOVED);
    buf_add_str(out, ",\"changed\":[");
    for (size_t i = 0; i < diff->count; i++) {
        const struct price_change *change = &diff->changes[i];
        if (change->kind != PRICE_CHANGED) {
            continue;
        }
        buf_add_str(out, first ? "{\"id\":" : ",{\"id\":");
        buf_add_json(out, slice_str(change->id));
        buf_addf(out, ",\"field\":\"%s\",\"above_input_tokens\":%lld", change->field,
            (long long)change->above_input_tokens);
        value_json(out, "old", change->old);
        value_json(out, "new", change->new);
        buf_addf(out, ",\"steep\":%s}", change->steep ? "true" : "false");
        first = false;
    }
    buf_addf(out, "],\"steep\":%zu", diff->steep);
}
