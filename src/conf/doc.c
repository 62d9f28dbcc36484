/* conf/doc.c: libyaml's events to a tree of nodes with places. */
#include "conf/doc_priv.h"

#include <stdio.h>
#include <yaml.h>

#include "base/map.h"

#define DOC_DEPTH_MAX  24
#define DOC_NODES_MAX  500000
#define SEEN_BYTES_MAX 52

struct reader {
    yaml_parser_t parser;
    struct report *report;
    struct slice text;
    struct arena *arena;
    struct map keys; /* hash of (mapping, key text) -> the key's node */
    int32_t node_count, map_count;
};

/* libyaml gives the place of bytes that are no text as their offset alone. */
static void
report_bad_bytes(struct reader *reader)
{
    const struct slice text = reader->text;
    int line = 1;
    int column = 1;
    for (size_t i = 0; i < reader->parser.problem_offset && i < text.len; i++) {
        const unsigned char c = (unsigned char)text.ptr[i];
        line += c == '\n' ? 1 : 0;
        column = c == '\n' ? 1 : column + ((c & 0xc0) != 0x80 ? 1 : 0);
    }
    report_at(reader->report, line, column, "this is not text in UTF-8: %s",
        reader->parser.problem ? reader->parser.problem : "bad bytes");
}

static void
report_yaml(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    const char *language = reader->report->language ? reader->report->language : "YAML";
    if (parser->error == YAML_MEMORY_ERROR) {
        report_no_memory(reader->report);
    } else if (parser->error == YAML_READER_ERROR) {
        report_bad_bytes(reader);
    } else {
        report_at(reader->report, (int)parser->problem_mark.line + 1,
            (int)parser->problem_mark.column + 1, "this is not %s: %s%s%s", language,
            parser->problem ? parser->problem : "it cannot be read", parser->context ? ", " : "",
            parser->context ? parser->context : "");
    }
}

static bool
next_event(struct reader *reader, yaml_event_t *event)
{
    if (!yaml_parser_parse(&reader->parser, event)) {
        report_yaml(reader);
        return false;
    }
    return true;
}

static struct node *
node_make(struct reader *reader, enum node_kind kind, const yaml_event_t *event)
{
    if (reader->node_count == DOC_NODES_MAX) {
        report_at(reader->report, (int)event->start_mark.line + 1,
            (int)event->start_mark.column + 1, "this file has more than %d values", DOC_NODES_MAX);
        return NULL;
    }
    struct node *node = arena_alloc(reader->arena, sizeof *node);
    if (!node) {
        report_no_memory(reader->report);
        return NULL;
    }
    reader->node_count++;
    node->kind = kind;
    node->line = (int)event->start_mark.line + 1;
    node->column = (int)event->start_mark.column + 1;
    return node;
}

/* Anchors and tags would let one place speak for another. */
static bool
event_plain(struct reader *reader, const yaml_event_t *event)
{
    const char *what = NULL;
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    switch (event->type) {
    case YAML_ALIAS_EVENT: what = "aliases (*name) are not read here; write the value out"; break;
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    default: break;
    }
    what = anchor ? "anchors (&name) are not read here; write each value out" : what;
    what = tag ? "tags (!name) are not read here; write the plain value" : what;
    if (what) {
        report_at(reader->report, (int)event->start_mark.line + 1,
            (int)event->start_mark.column + 1, "%s", what);
    }
    return !what;
}

static struct node *read_node(struct reader *reader, yaml_event_t *event, int depth);

static struct node *
read_scalar(struct reader *reader, const yaml_event_t *event)
{
    struct node *node = node_make(reader, NODE_SCALAR, event);
    if (!node) {
        return NULL;
    }
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->text = arena_copy(
        reader->arena, slice_of((const char *)event->data.scalar.value, event->data.scalar.length));
    if (!node->text.ptr) {
        report_no_memory(reader->report);
        return NULL;
    }
    return node;
}

/* False when nothing can be read on from this key. */
static bool
doc_key_valid(struct reader *reader, const struct node *key)
{
    if (key->kind != NODE_SCALAR) {
        report_add(reader->report, key, "a key must be a plain word");
        return false;
    }
    if (!key->quoted && slice_eq(key->text, SLICE("<<"))) {
        report_add(reader->report, key, "merge keys (<<) are not read here; write the values out");
        return false;
    }
    return true;
}

/* Reports a key that the mapping has already; the tree keeps both, and is refused for it. */
static void
doc_key_remember(struct reader *reader, int32_t map_id, struct node *key)
{
    const uint64_t hash = hash_pair((uint64_t)map_id, hash_bytes(key->text));
    const struct node *before = map_get(&reader->keys, hash);
    if (before && slice_eq(before->text, key->text)) {
        char seen[64];
        report_add(reader->report, key, "%s is given twice; the first is in line %d",
            node_seen(key, seen), before->line);
    } else if (!map_put(&reader->keys, hash, key)) {
        report_no_memory(reader->report);
    }
}

/* One event of a mapping or a list: a child (and its key), or the end. False on error. */
static bool
read_child(
    struct reader *reader, struct node *parent, int32_t map_id, int depth, struct node **child)
{
    yaml_event_t event;
    *child = NULL;
    if (!next_event(reader, &event)) {
        return false;
    }
    if (event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT) {
        yaml_event_delete(&event);
        return true;
    }
    struct node *first = read_node(reader, &event, depth);
    yaml_event_delete(&event);
    if (!first || parent->kind == NODE_LIST) {
        *child = first;
        return first != NULL;
    }
    if (!doc_key_valid(reader, first)) {
        return false;
    }
    doc_key_remember(reader, map_id, first);
    if (reader->report->memory || !next_event(reader, &event)) {
        return false;
    }
    *child = read_node(reader, &event, depth);
    yaml_event_delete(&event);
    if (*child) {
        (*child)->key = first;
    }
    return *child != NULL;
}

static struct node *
read_children(struct reader *reader, struct node *parent, int depth)
{
    if (depth >= DOC_DEPTH_MAX) {
        report_add(reader->report, parent, "this is nested more than %d deep", DOC_DEPTH_MAX);
        return NULL;
    }
    const int32_t map_id = reader->map_count++;
    struct node **link = &parent->first;
    for (;;) {
        struct node *child = NULL;
        if (!read_child(reader, parent, map_id, depth + 1, &child)) {
            return NULL;
        }
        if (!child) {
            return parent;
        }
        *link = child;
        link = &child->next;
        parent->child_count++;
    }
}

static struct node *
read_node(struct reader *reader, yaml_event_t *event, int depth)
{
    if (!event_plain(reader, event)) {
        return NULL;
    }
    switch (event->type) {
    case YAML_SCALAR_EVENT: return read_scalar(reader, event);
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT: {
        struct node *node = node_make(
            reader, event->type == YAML_MAPPING_START_EVENT ? NODE_MAP : NODE_LIST, event);
        return node ? read_children(reader, node, depth) : NULL;
    }
    default: report_at(reader->report, 0, 0, "this is not YAML"); return NULL;
    }
}

/* The stream's one document; NULL when it is empty, wrong, or not the only one. */
static struct node *
read_document(struct reader *reader)
{
    struct node *root = NULL;
    for (;;) {
        yaml_event_t event;
        if (!next_event(reader, &event)) {
            return NULL;
        }
        const yaml_event_type_t type = event.type;
        const int line = (int)event.start_mark.line + 1;
        if (type == YAML_DOCUMENT_START_EVENT && root) {
            report_at(reader->report, line, 1, "a second document begins here; a file holds one");
            root = NULL;
            yaml_event_delete(&event);
            return NULL;
        }
        if (type != YAML_STREAM_START_EVENT && type != YAML_STREAM_END_EVENT
            && type != YAML_DOCUMENT_START_EVENT && type != YAML_DOCUMENT_END_EVENT) {
            root = read_node(reader, &event, 0);
            if (!root) {
                yaml_event_delete(&event);
                return NULL;
            }
        }
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT) {
            return root;
        }
    }
}

struct node *
doc_read(struct report *report, struct slice text, struct arena *arena)
{
    struct reader reader = { .report = report, .text = text, .arena = arena };
    if (!yaml_parser_initialize(&reader.parser)) {
        report_no_memory(report);
        return NULL;
    }
    static const unsigned char nothing[1] = { 0 };
    yaml_parser_set_input_string(
        &reader.parser, text.ptr ? (const unsigned char *)text.ptr : nothing, text.len);
    struct node *root = read_document(&reader);
    yaml_parser_delete(&reader.parser);
    map_free(&reader.keys);
    if (!root && report_clean(report)) {
        report_at(report, 0, 0, "the file is empty");
    }
    return report->memory ? NULL : root;
}

const struct node *
doc_get(const struct node *map, const char *key)
{
    const struct slice wanted = slice_str(key);
    for (const struct node *child = map->first; child; child = child->next) {
        if (child->key && slice_eq(child->key->text, wanted)) {
            return child;
        }
    }
    return NULL;
}

bool
node_is_null(const struct node *node)
{
    return node->kind == NODE_SCALAR && !node->quoted
           && (node->text.len == 0 || slice_eq(node->text, SLICE("~"))
               || slice_eq(node->text, SLICE("null")));
}

const char *
node_seen(const struct node *node, char out[64])
{
    if (node->kind != NODE_SCALAR) {
        (void)snprintf(out, 64, "%s", node->kind == NODE_MAP ? "a mapping" : "a list");
        return out;
    }
    size_t cut = node->text.len;
    if (cut > SEEN_BYTES_MAX) {
        cut = SEEN_BYTES_MAX;
        while (cut > 0 && ((unsigned char)node->text.ptr[cut] & 0xc0) == 0x80) {
            cut--; /* a character is not split */
        }
    }
    char *end = out;
    *end++ = '\'';
    for (size_t i = 0; i < cut; i++) {
        const unsigned char c = (unsigned char)node->text.ptr[i];
        *end++ = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    (void)snprintf(end, (size_t)(out + 64 - end), "%s'", cut < node->text.len ? "..." : "");
    return out;
}
