/* conf/option.c: reading options as their table says. */
#include <stdio.h>

#include "conf/conf_priv.h"
#include "conf/value_priv.h"

const char *
option_key(enum option option)
{
    const char *path = option_row(option)->path;
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* Whether `row` is a direct child of `path`; "" is the top. */
static bool
option_under(const struct option_row *row, const char *path)
{
    const struct slice whole = slice_str(row->path);
    const struct slice folder = slice_str(path);
    if (folder.len == 0) {
        return !strchr(row->path, '.');
    }
    return slice_starts(whole, folder) && whole.len > folder.len + 1 && row->path[folder.len] == '.'
           && !strchr(row->path + folder.len + 1, '.');
}

static bool
path_secret(const char *path)
{
    return strstr(path, "credentials") || slice_starts(slice_str(path), SLICE("webhooks.*.secret"))
           || slice_starts(slice_str(path), SLICE("webhooks.*.url"));
}

static void
report_unknown(struct conf *conf, const struct node *key, const char *path)
{
    const char *words[OPTION_COUNT];
    size_t count = 0;
    char known[240] = "";
    const size_t known_max = sizeof known - strlen(", ...");
    size_t known_len = 0;
    bool full = false;
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = option_row((enum option)i);
        if (row->type == OPTION_TYPE_LATER || !option_under(row, path)) {
            continue;
        }
        words[count++] = option_key((enum option)i);
        if (full) {
            continue;
        }
        const int wrote = snprintf(known + known_len, sizeof known - known_len, "%s%s",
            known_len > 0 ? ", " : "", option_key((enum option)i));
        if (wrote > 0 && known_len + (size_t)wrote < known_max) {
            known_len += (size_t)wrote;
        } else {
            known[known_len] = '\0';
            (void)snprintf(known + known_len, sizeof known - known_len, ", ...");
            full = true;
        }
    }
    /* a secret may stand where a key should; see option_secret */
    char seen[64] = "";
    const bool secret = path_secret(path);
    const char *space = secret ? "" : " ";
    const char *nearest = nearest_word(key->text, words, count);
    if (!secret) {
        (void)node_seen(key, seen);
    }
    if (nearest) {
        report_add(
            &conf->report, key, "unknown option%s%s; did you mean '%s'?", space, seen, nearest);
    } else {
        report_add(&conf->report, key, "unknown option%s%s; known here: %s", space, seen, known);
    }
}

bool
conf_keys(struct conf *conf, const struct node *map, const char *path)
{
    if (map->kind != NODE_MAP) {
        char seen[64];
        report_add(&conf->report, node_is_null(map) && map->key ? map->key : map,
            "this must be a mapping of options; it is %s",
            node_is_null(map) ? "empty" : node_seen(map, seen));
        return false;
    }
    for (const struct node *child = map->first; child; child = child->next) {
        const struct option_row *found = NULL;
        for (int i = 0; i < OPTION_COUNT && !found; i++) {
            const struct option_row *row = option_row((enum option)i);
            if (option_under(row, path)
                && slice_eq(child->key->text, slice_str(option_key((enum option)i)))) {
                found = row;
            }
        }
        if (!found) {
            report_unknown(conf, child->key, path);
        } else if (found->type == OPTION_TYPE_LATER) {
            report_add(&conf->report, child->key, "%s", found->sentence);
        }
    }
    return true;
}

/* What a type wants, with an example. */
static const char *
type_wants(const struct option_row *row)
{
    switch (row->type) {
    case OPTION_TYPE_BOOL: return "true or false";
    case OPTION_TYPE_COUNT: return "a whole number such as 8";
    case OPTION_TYPE_DURATION: return "a duration such as 500ms, 3s or 2h30m";
    case OPTION_TYPE_TOKENS: return "a number of tokens such as 1024 tokens";
    case OPTION_TYPE_BYTES: return "a size such as 64KB or 32MB";
    case OPTION_TYPE_MONEY: return "an amount such as 0.50 USD or 500000 micros";
    default: return row->form;
    }
}

const struct node *
conf_find(struct conf *conf, const struct node *map, enum option option)
{
    const struct option_row *row = option_row(option);
    const struct node *node =
        map && map->kind == NODE_MAP ? doc_get(map, option_key(option)) : NULL;
    if (!node) {
        if (row->preset && strcmp(row->preset, OPTION_REQUIRED) == 0) {
            report_add(&conf->report, map, "'%s' is missing here: %s", option_key(option),
                type_wants(row));
        }
        return NULL;
    }
    if (node_is_null(node)) {
        report_add(&conf->report, node->key, "'%s' has no value; give it one or take the line out",
            option_key(option));
        return NULL;
    }
    return node;
}

/* Secrets end up here by mistake; what stands in such a place is never repeated. */
static bool
option_secret(const struct option_row *row)
{
    return path_secret(row->path);
}

void
conf_wants(struct conf *conf, const struct node *node, enum option option)
{
    const struct option_row *row = option_row(option);
    char seen[64];
    if (option_secret(row) && node->kind == NODE_SCALAR) {
        report_add(&conf->report, node, "'%s' wants %s", option_key(option), type_wants(row));
    } else if (row->type == OPTION_TYPE_WORD) {
        report_add(&conf->report, node, "'%s' is one of: %s; this is %s", option_key(option),
            row->form, node_seen(node, seen));
    } else {
        report_add(&conf->report, node, "'%s' wants %s; this is %s", option_key(option),
            type_wants(row), node_seen(node, seen));
    }
}

/* Index of a word in "disk | os". */
static bool
word_index(const char *words, struct slice text, int64_t *index)
{
    struct slice rest = slice_str(words);
    struct slice word;
    for (*index = 0; slice_split(&rest, '|', &word); (*index)++) {
        if (slice_eq(slice_trim(word), text)) {
            return true;
        }
    }
    return false;
}

static bool
parse_number(const struct option_row *row, struct slice text, int64_t *value)
{
    switch (row->type) {
    case OPTION_TYPE_WORD: return word_index(row->form, text, value);
    case OPTION_TYPE_BOOL: return word_index("false | true", text, value);
    case OPTION_TYPE_COUNT: return value_count(text, value);
    case OPTION_TYPE_DURATION: return value_duration(text, value);
    case OPTION_TYPE_TOKENS: return value_tokens(text, value);
    case OPTION_TYPE_BYTES: return value_bytes(text, value);
    case OPTION_TYPE_MONEY: return value_money(text, value);
    default: check(row->type == OPTION_TYPE_MONEY); return false; /* the others are no numbers */
    }
}

static int64_t
row_number(const struct option_row *row, const char *text)
{
    int64_t value = 0;
    check(parse_number(row, slice_str(text), &value)); /* the table's own text */
    return value;
}

int64_t
conf_number(struct conf *conf, const struct node *map, enum option option, int64_t absent)
{
    const struct option_row *row = option_row(option);
    const bool has_preset = row->preset && strcmp(row->preset, OPTION_REQUIRED) != 0;
    const int64_t preset = has_preset ? row_number(row, row->preset) : absent;
    const struct node *node = conf_find(conf, map, option);
    if (!node) {
        return preset;
    }
    int64_t value = 0;
    if (node->kind != NODE_SCALAR || !parse_number(row, node->text, &value)) {
        conf_wants(conf, node, option);
        return preset;
    }
    if ((row->low && value < row_number(row, row->low))
        || (row->high && value > row_number(row, row->high))) {
        char seen[64];
        report_add(&conf->report, node, "'%s' must lie between %s and %s; this is %s",
            option_key(option), row->low, row->high, node_seen(node, seen));
        return preset;
    }
    return value;
}

bool
conf_plain_text(struct conf *conf, const struct node *node)
{
    for (size_t i = 0; i < node->text.len; i++) {
        const unsigned char c = (unsigned char)node->text.ptr[i];
        if (c < 0x20 || c == 0x7f) {
            report_add(
                &conf->report, node, "this text must be one line without control characters");
            return false;
        }
    }
    return true;
}

const char *
conf_text(struct conf *conf, const struct node *map, enum option option)
{
    const struct option_row *row = option_row(option);
    const bool has_preset = row->preset && strcmp(row->preset, OPTION_REQUIRED) != 0;
    const char *preset = has_preset ? row->preset : NULL;
    const struct node *node = conf_find(conf, map, option);
    if (!node) {
        return preset;
    }
    if (node->kind != NODE_SCALAR || node->text.len == 0) {
        conf_wants(conf, node, option);
        return preset;
    }
    return conf_plain_text(conf, node) ? conf_copy(conf, node->text) : preset;
}

const struct node *
conf_block(struct conf *conf, const struct node *map, enum option option)
{
    const struct node *node = conf_find(conf, map, option);
    const enum node_kind kind = option_row(option)->type == OPTION_TYPE_LIST ? NODE_LIST : NODE_MAP;
    if (node && node->kind != kind) {
        conf_wants(conf, node, option);
        return NULL;
    }
    return node;
}

void *
conf_alloc(struct conf *conf, size_t count, size_t size)
{
    void *memory = arena_alloc(conf->arena, count > 0 ? count * size : 1);
    if (!memory) {
        report_no_memory(&conf->report);
    }
    return memory;
}

const char *
conf_copy(struct conf *conf, struct slice text)
{
    const char *copy = arena_strdup(conf->arena, text);
    if (!copy) {
        report_no_memory(&conf->report);
        return "";
    }
    return copy;
}

const char *
conf_path(struct conf *conf, struct slice text)
{
    if (conf->folder[0] == '\0' || (text.len > 0 && text.ptr[0] == '/')) {
        return conf_copy(conf, text);
    }
    const size_t folder_len = strlen(conf->folder);
    char *path = conf_alloc(conf, folder_len + 1 + text.len + 1, 1);
    if (!path) {
        return "";
    }
    memcpy(path, conf->folder, folder_len);
    path[folder_len] = '/';
    memcpy(path + folder_len + 1, text.ptr, text.len);
    return path;
}
