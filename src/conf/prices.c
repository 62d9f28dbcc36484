/* conf/prices.c: price books: reading the normal form, filling gaps, order. */
#include <stdio.h>
#include <stdlib.h>

#include "conf/conf_priv.h"
#include "conf/value_priv.h"

#define PRICES_MAX           100000
#define PRICE_FILE_BYTES_MAX ((size_t)32 << 20)
#define BOOK_UNIT            "micro-USD per million tokens"

extern const char conf_builtin_prices[]; /* data/prices.json, NUL-terminated */

void
price_set_fill(struct price_set *set)
{
    set->cache_read = set->cache_read < 0 ? set->input : set->cache_read;
    set->cache_write_5m = set->cache_write_5m < 0 ? set->input : set->cache_write_5m;
    set->cache_write_1h = set->cache_write_1h < 0 ? set->cache_write_5m : set->cache_write_1h;
}

static bool
book_grow(struct report *report, struct arena *arena, struct price_book *book)
{
    const int32_t room = book->room == 0 ? 128 : book->room * 2;
    struct price_row *rows = arena_alloc(arena, (size_t)room * sizeof *rows);
    if (!rows) {
        report_no_memory(report);
        return false;
    }
    if (book->count > 0) {
        memcpy(rows, book->rows, (size_t)book->count * sizeof *rows);
    }
    book->rows = rows;
    book->room = room;
    return true;
}

struct price *
price_book_add(struct report *report, struct arena *arena, struct price_book *book,
    const struct node *place, struct slice id)
{
    if (book->count == PRICES_MAX) {
        report_add(report, place, "a price book has at most %d models", PRICES_MAX);
        return NULL;
    }
    if (book->count == book->room && !book_grow(report, arena, book)) {
        return NULL;
    }
    char *copy = arena_strdup(arena, id);
    if (!copy) {
        report_no_memory(report);
        return NULL;
    }
    book->rows[book->count].place = place;
    struct price *price = &book->rows[book->count++].price;
    *price = (struct price){ .id = copy, .base = { -1, -1, -1, -1, -1 } };
    for (int i = 0; i < PRICE_TIERS_MAX; i++) {
        price->tiers[i].set = price->base;
    }
    return price;
}

/* ---- the normal form: whole micro-USD per million tokens ---- */

struct field {
    const char *key;
    int64_t *value; /* NULL = not looked at */
    int64_t highest;
    bool required;
};

static void
field_read(
    struct report *report, const struct node *node, const char *id, const struct field *field)
{
    if (node_is_null(node) && !field->required) {
        return;
    }
    char seen[64];
    if (node->kind != NODE_SCALAR || node->quoted || !value_count(node->text, field->value)
        || *field->value > field->highest) {
        *field->value = field->required ? 0 : -1;
        report_add(report, node, "model '%s', field '%s': %s is no whole number from 0 to %lld", id,
            field->key, node_seen(node, seen), (long long)field->highest);
    }
}

static void
fields_read(struct report *report, const struct node *map, const char *id,
    const struct field *fields, size_t count)
{
    for (const struct node *node = map->first; node; node = node->next) {
        size_t i = 0;
        while (i < count && !slice_eq(node->key->text, slice_str(fields[i].key))) {
            i++;
        }
        if (i == count) {
            char seen[64];
            report_add(report, node->key, "model '%s': a price has no field %s", id,
                node_seen(node->key, seen));
        } else if (fields[i].value) {
            field_read(report, node, id, &fields[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (fields[i].required && !doc_get(map, fields[i].key)) {
            report_add(report, map, "model '%s', field '%s' is missing", id, fields[i].key);
        }
    }
}

static void
tiers_read(struct report *report, const struct node *list, struct price *price)
{
    if (node_is_null(list)) {
        return;
    }
    if (list->kind != NODE_LIST || list->child_count > PRICE_TIERS_MAX) {
        report_add(report, list, "model '%s', field 'tiers' must be a list of at most %d",
            price->id, PRICE_TIERS_MAX);
        return;
    }
    int64_t above = 0;
    for (const struct node *node = list->first; node; node = node->next) {
        int64_t *const threshold = &price->tiers[price->tier_count].above_input_tokens;
        struct price_set *const set = &price->tiers[price->tier_count++].set;
        const struct field fields[] = {
            { "above_input_tokens", threshold, TOKENS_MAX, true },
            { "input", &set->input, PRICE_PER_MTOK_MAX, true },
            { "output", &set->output, PRICE_PER_MTOK_MAX, true },
            { "cache_read", &set->cache_read, PRICE_PER_MTOK_MAX, false },
            { "cache_write", &set->cache_write_5m, PRICE_PER_MTOK_MAX, false },
            { "cache_write_1h", &set->cache_write_1h, PRICE_PER_MTOK_MAX, false },
        };
        if (node->kind != NODE_MAP) {
            report_add(report, node, "model '%s': a tier is an object", price->id);
            continue;
        }
        fields_read(report, node, price->id, fields, countof(fields));
        if (*threshold <= above) {
            report_add(
                report, node, "model '%s': tiers must rise from a threshold above 0", price->id);
        }
        above = *threshold;
        price_set_fill(set);
    }
}

static void
model_read(
    struct report *report, const struct node *map, struct arena *arena, struct price_book *book)
{
    const struct node *id = map->kind == NODE_MAP ? doc_get(map, "id") : NULL;
    if (!id || id->kind != NODE_SCALAR || !value_name(id->text, "-_.:/@+[]", NAME_MAX_BYTES)) {
        if (id && id->kind == NODE_SCALAR) {
            char seen[64];
            report_add(report, id,
                "a model's id has up to %d letters, digits and any of -_.:/@+[]; this is %s",
                NAME_MAX_BYTES, node_seen(id, seen));
        } else {
            report_add(
                report, id ? id : map, "an entry of 'models' is an object with the model's 'id'");
        }
        return;
    }
    struct price *price = price_book_add(report, arena, book, id, id->text);
    if (!price) {
        return;
    }
    const struct field fields[] = {
        { "input", &price->base.input, PRICE_PER_MTOK_MAX, true },
        { "output", &price->base.output, PRICE_PER_MTOK_MAX, true },
        { "cache_read", &price->base.cache_read, PRICE_PER_MTOK_MAX, false },
        { "cache_write", &price->base.cache_write_5m, PRICE_PER_MTOK_MAX, false },
        { "cache_write_1h", &price->base.cache_write_1h, PRICE_PER_MTOK_MAX, false },
        { "context", &price->context, TOKENS_MAX, false },
        { "max_output", &price->max_output, TOKENS_MAX, false },
        { "id", NULL, 0, false },
        { "tiers", NULL, 0, false },
        { "provider", NULL, 0, false },
        { "litellm", NULL, 0, false },
        { "released", NULL, 0, false },
        { "note", NULL, 0, false },
    };
    fields_read(report, map, price->id, fields, countof(fields));
    price->context = max_i64(0, price->context);
    price->max_output = max_i64(0, price->max_output);
    price_set_fill(&price->base);
    const struct node *tiers = doc_get(map, "tiers");
    if (tiers) {
        tiers_read(report, tiers, price);
    }
}

static void
normal_read(
    struct report *report, const struct node *root, struct arena *arena, struct price_book *book)
{
    const struct node *unit = doc_get(root, "unit");
    const struct node *models = doc_get(root, "models");
    if (unit && (unit->kind != NODE_SCALAR || !slice_starts(unit->text, SLICE(BOOK_UNIT)))) {
        char seen[64];
        report_add(report, unit, "a price book's unit is " BOOK_UNIT "; this is %s",
            node_seen(unit, seen));
        return;
    }
    for (const struct node *node = models->first; node; node = node->next) {
        model_read(report, node, arena, book);
    }
}

/* ---- either form ---- */

static int
price_order(const void *left, const void *right)
{
    const struct price_row *a = left;
    const struct price_row *b = right;
    const int order = strcmp(a->price.id, b->price.id);
    if (order != 0) {
        return order;
    }
    return a->place->line < b->place->line ? -1 : a->place->line > b->place->line;
}

static void
book_sort(struct report *report, struct price_book *book)
{
    if (book->count == 0) {
        return;
    }
    qsort(book->rows, (size_t)book->count, sizeof *book->rows, price_order);
    for (int32_t i = 1; i < book->count; i++) {
        if (strcmp(book->rows[i - 1].price.id, book->rows[i].price.id) == 0) {
            report_add(report, book->rows[i].place,
                "model '%s' is given twice; the first is in line %d", book->rows[i].price.id,
                book->rows[i - 1].place->line);
        }
    }
}

void
prices_read(
    struct report *report, const struct node *root, struct arena *arena, struct price_book *book)
{
    if (root->kind != NODE_MAP) {
        report_add(report, root, "a price book is an object");
        return;
    }
    const struct node *models = doc_get(root, "models");
    if (models && models->kind == NODE_LIST) {
        normal_read(report, root, arena, book);
    } else {
        litellm_read(report, root, arena, book);
    }
    book_sort(report, book);
    if (book->count == 0 && report_clean(report)) {
        report_add(report, root, "this price book prices no model");
    }
}

/* ---- the book of a configuration ---- */

static void
book_keep(struct conf *conf, const struct price_book *book)
{
    conf->policy->prices = conf_alloc(conf, (size_t)book->count, sizeof *conf->policy->prices);
    for (int32_t i = 0; conf->policy->prices && i < book->count; i++) {
        conf->policy->prices[conf->policy->price_count] = book->rows[i].price;
        conf->policy->prices[conf->policy->price_count++].id =
            conf_copy(conf, slice_str(book->rows[i].price.id));
    }
}

/* Findings name the book and their place in it, and stand at the place that names the book. */
static void
book_load(struct conf *conf, const char *name, struct slice text, const struct node *place)
{
    struct report *report = calloc(1, sizeof *report);
    struct arena arena = { 0 };
    struct price_book book = { 0 };
    if (!report) {
        report_no_memory(&conf->report);
        return;
    }
    report->name = name;
    report->language = "JSON";
    const struct node *root = doc_read(report, text, &arena);
    if (root) {
        prices_read(report, root, &arena, &book);
    }
    book_keep(conf, &book);
    if (report->memory) {
        report_no_memory(&conf->report);
    }
    for (int i = 0; i < report->count; i++) {
        const struct finding *finding = &report->findings[i];
        report_add(&conf->report, place, "%s:%d:%d: %s", name, finding->line, finding->column,
            finding->text);
    }
    arena_free(&arena);
    free(report);
}

void
conf_prices(struct conf *conf, const struct node *root)
{
    const char *file = conf_text(conf, root, OPTION_PRICES);
    if (!file) {
        book_load(conf, "built-in prices", slice_str(conf_builtin_prices), root);
        return;
    }
    const struct node *place = doc_get(root, "prices");
    const char *path = conf_path(conf, slice_str(file));
    struct buf text = { .limit_bytes = PRICE_FILE_BYTES_MAX + 131072 };
    const char *why = "";
    if (file_read(path, PRICE_FILE_BYTES_MAX, &text, &why) != STATUS_OK) {
        report_add(&conf->report, place, "price file %s cannot be read: %s", path, why);
    } else {
        book_load(conf, path, buf_slice(&text), place);
    }
    buf_free(&text);
}

/* ---- import ---- */

static void
write_price(struct buf *out, const char *key, int64_t value)
{
    buf_addf(out, ",\"%s\":%lld", key, (long long)value);
}

static void
write_set(struct buf *out, const struct price_set *set)
{
    write_price(out, "input", set->input);
    write_price(out, "output", set->output);
    write_price(out, "cache_read", set->cache_read);
    write_price(out, "cache_write", set->cache_write_5m);
    write_price(out, "cache_write_1h", set->cache_write_1h);
}

static void
book_write(const char *name, const struct price_book *book, struct buf *out)
{
    buf_add_str(out, "{\"source\":");
    buf_add_json(out, slice_str(name));
    buf_add_str(out, ",\"unit\":\"" BOOK_UNIT "\",\"models\":[");
    for (int32_t i = 0; i < book->count; i++) {
        const struct price *price = &book->rows[i].price;
        buf_add_str(out, i > 0 ? ",\n{\"id\":" : "\n{\"id\":");
        buf_add_json(out, slice_str(price->id));
        write_set(out, &price->base);
        if (price->context > 0) {
            write_price(out, "context", price->context);
        }
        if (price->max_output > 0) {
            write_price(out, "max_output", price->max_output);
        }
        for (int32_t tier = 0; tier < price->tier_count; tier++) {
            buf_addf(out, "%s{\"above_input_tokens\":%lld", tier == 0 ? ",\"tiers\":[" : ",",
                (long long)price->tiers[tier].above_input_tokens);
            write_set(out, &price->tiers[tier].set);
            buf_add_str(out, "}");
        }
        buf_add_str(out, price->tier_count > 0 ? "]}" : "}");
    }
    buf_add_str(out, "\n]}\n");
}

enum status
conf_prices_import(const char *name, struct slice json, struct buf *out, struct conf_import *import,
    struct conf_error *error)
{
    struct report *report = calloc(1, sizeof *report);
    struct arena arena = { 0 };
    struct price_book book = { 0 };
    *import = (struct conf_import){ 0 };
    if (!report) {
        (void)snprintf(error->text, sizeof error->text, "out of memory");
        return STATUS_FULL;
    }
    report->name = name;
    report->language = "JSON";
    const struct node *root = doc_read(report, json, &arena);
    if (root) {
        prices_read(report, root, &arena, &book);
    }
    enum status status = STATUS_INVALID;
    if (root && report_clean(report)) {
        book_write(name, &book, out);
        status = out->failed ? STATUS_FULL : STATUS_OK;
        (void)snprintf(error->text, sizeof error->text, "%s", out->failed ? "out of memory" : "");
    } else {
        report_render(report, error);
    }
    *import = book.passed_by;
    import->taken = book.count;
    arena_free(&arena);
    free(report);
    return status;
}

enum status
conf_prices_book(const char *name, struct slice json, struct policy **out, struct conf_error *error)
{
    struct report *report = calloc(1, sizeof *report);
    struct conf *conf = calloc(1, sizeof *conf);
    struct policy *made = policy_new();
    struct arena arena = { 0 };
    struct price_book book = { 0 };
    enum status status = STATUS_FULL;
    *out = NULL;
    (void)snprintf(error->text, sizeof error->text, "out of memory");
    if (report && conf && made) {
        report->name = name;
        report->language = "JSON";
        conf->policy = made;
        conf->arena = &made->arena;
        const struct node *root = doc_read(report, json, &arena);
        if (root) {
            prices_read(report, root, &arena, &book);
        }
        if (!root || !report_clean(report)) {
            report_render(report, error);
            status = STATUS_INVALID;
        } else {
            book_keep(conf, &book);
            status =
                made->price_count == book.count && !conf->report.memory ? STATUS_OK : STATUS_FULL;
        }
    }
    if (status == STATUS_OK) {
        *out = made;
    } else {
        policy_unref(made);
    }
    arena_free(&arena);
    free(conf);
    free(report);
    return status;
}
