/* conf/doc_priv.h: a YAML (or JSON) text as a tree in which every node knows its place, and the findings
 * against it. What would hide where a value comes from is refused: anchors, aliases, tags, merge keys,
 * several documents, a key given twice. */
#pragma once

#include "base/arena.h"
#include "conf/conf.h"

enum node_kind { NODE_SCALAR, NODE_MAP, NODE_LIST };

struct node {
    enum node_kind kind;
    bool quoted;        /* a scalar in quotes: never null */
    int line, column;   /* from 1 */
    struct slice text;  /* of a scalar; NUL-terminated */
    struct node *key;   /* of a value in a mapping: its key, a scalar */
    struct node *first; /* children of a mapping or a list */
    struct node *next;  /* sibling */
    int32_t child_count;
};

#define FINDINGS_MAX 64      /* kept, to be sorted by place */
#define FINDINGS_SHOWN_MAX 10

struct finding {
    int line, column; /* 0 = about the whole file */
    char text[400];
};

/* What is wrong with one text. */
struct report {
    const char *name;     /* of the text */
    const char *language; /* what it should be, for people; NULL = YAML */
    const char *memory;  /* set when memory ran out; then nothing else counts */
    int count, dropped;
    struct finding findings[FINDINGS_MAX];
};

/* A finding at the place of `node`; NULL = about the whole. */
void report_add(struct report *report, const struct node *node, const char *format, ...) PRINTF_LIKE(3, 4);
void report_at(struct report *report, int line, int column, const char *format, ...) PRINTF_LIKE(4, 5);
void report_no_memory(struct report *report);
bool report_clean(const struct report *report);
/* Findings by place, a line each; what does not fit is counted. */
void report_render(const struct report *report, struct conf_error *error);

/* NULL when the text is no such tree; the report then says why. Nodes live in `arena`. */
struct node *doc_read(struct report *report, struct slice text, struct arena *arena);
/* The value of a key, or NULL. */
const struct node *doc_get(const struct node *map, const char *key);
/* A plain scalar that is empty, ~ or null. */
bool node_is_null(const struct node *node);
/* "a mapping", "a list", "'TEXT'" with control bytes masked and long texts cut; out[64]. */
const char *node_seen(const struct node *node, char out[64]);

/* The nearest of `count` words to `text`, if it is near enough to be meant; else NULL. */
const char *nearest_word(struct slice text, const char *const *words, size_t count);
