/* wire/splice.c: deciding what changes in a body, and walking over the result. */
#include "wire/splice.h"

#include <stdio.h>

#include "wire/json.h"

/* Adds a splice in order of offset; those at one offset stay in the order they came. */
static void
add(struct splices *splices, struct span span, struct slice text)
{
    check(splices->count < SPLICES_MAX);
    uint32_t at = splices->count++;
    while (at > 0 && splices->items[at - 1].offset > span.offset) {
        splices->items[at] = splices->items[at - 1];
        at--;
    }
    splices->items[at] = (struct splice){ span.offset, span.len, text };
}

/* Just behind the body's first brace. At least "model" follows there, hence the comma in `text`. */
static struct span
front(struct slice body)
{
    const char *brace = memchr(body.ptr, '{', body.len);
    check(brace != NULL);
    return (struct span){ (size_t)(brace - body.ptr) + 1, 0 };
}

static MUST_USE bool
splice_model(
    const struct facts *facts, struct slice model, struct arena *arena, struct splices *out)
{
    if (model.len == 0 || slice_eq(model, facts->model)) {
        return true;
    }
    char *text = arena_alloc(arena, model.len * 6 + 3); /* \u00XX at worst, and a NUL */
    if (!text) {
        return false;
    }
    size_t len = 0;
    text[len++] = '"';
    for (size_t i = 0; i < model.len; i++) {
        const unsigned char c = (unsigned char)model.ptr[i];
        if (c < 0x20 || c == '"' || c == '\\') {
            len += (size_t)snprintf(text + len, sizeof("\\u0000"), "\\u%04x", c);
        } else {
            text[len++] = (char)c;
        }
    }
    text[len++] = '"';
    add(out, facts->model_span, slice_of(text, len));
    return true;
}

static void
splice_usage(const struct facts *facts, struct slice body, struct splices *out)
{
    if (facts->api != API_CHAT || !facts->stream || facts->usage_asked) {
        return;
    }
    if (facts->include_usage_span.len > 0) {
        add(out, facts->include_usage_span, SLICE("true"));
    } else if (facts->options_span.len == 0) {
        add(out, front(body), SLICE("\"stream_options\":{\"include_usage\":true},"));
    } else if (body.ptr[facts->options_span.offset] != '{') {
        add(out, (struct span){ facts->options_span.offset, 4 }, /* null */
            SLICE("{\"include_usage\":true}"));
    } else {
        add(out, (struct span){ facts->options_span.offset + 1, 0 },
            facts->options_empty ? SLICE("\"include_usage\":true")
                                 : SLICE("\"include_usage\":true,"));
    }
}

/* `"name":limit,` for the front of the body; without a name, the number alone. */
static MUST_USE bool
limit_text(struct arena *arena, struct slice name, int64_t limit, struct slice *text)
{
    enum { ROOM = 64 };
    char *out = arena_alloc(arena, ROOM);
    if (!out) {
        return false;
    }
    const int len = name.len > 0 ? snprintf(
                        out, ROOM, "\"%.*s\":%lld,", (int)name.len, name.ptr, (long long)limit)
                                 : snprintf(out, ROOM, "%lld", (long long)limit);
    check(len > 0 && len < ROOM);
    *text = slice_of(out, (size_t)len);
    return true;
}

/* The name that a limit gets where the body has none. Only chat has a choice. */
static enum output_field
absent_field(enum api api, enum output_field wish)
{
    switch (api) {
    case API_RESPONSES: return OUTPUT_MAX_OUTPUT_TOKENS;
    case API_CHAT: return wish;
    default: return OUTPUT_MAX_TOKENS;
    }
}

static MUST_USE bool
splice_limits(const struct facts *facts, const struct splice_wishes *wishes, struct slice body,
    struct arena *arena, struct splices *out)
{
    if (wishes->output_limit < 0 || facts->api == API_EMBEDDINGS
        || facts->api == API_COUNT_TOKENS) {
        return true; /* the last two write nothing that could be limited */
    }
    struct slice text;
    bool limited = false;
    for (int field = 0; field < OUTPUT_FIELD_COUNT; field++) {
        const int64_t limit = facts->output_limits[field];
        limited |= limit >= 0;
        if (limit <= wishes->output_limit) {
            continue; /* absent, or low enough */
        }
        if (!limit_text(arena, slice_of(NULL, 0), wishes->output_limit, &text)) {
            return false;
        }
        add(out, facts->output_spans[field], text);
    }
    if (limited) {
        return true;
    }
    const enum output_field added = absent_field(facts->api, wishes->absent_field);
    const struct span null_span = facts->output_spans[added];
    const bool is_null = null_span.len > 0;
    const struct slice name = output_field_name(added);
    if (!limit_text(arena, is_null ? slice_of(NULL, 0) : name, wishes->output_limit, &text)) {
        return false;
    }
    add(out, is_null ? null_span : front(body), text);
    return true;
}

bool
splices_make(const struct facts *facts, const struct splice_wishes *wishes, struct slice body,
    struct arena *arena, struct splices *out)
{
    out->count = 0;
    if (wishes->usage) {
        splice_usage(facts, body, out);
    }
    return splice_model(facts, wishes->model, arena, out)
           && splice_limits(facts, wishes, body, arena, out);
}

size_t
splices_length(const struct splices *splices, struct slice body)
{
    size_t length = body.len;
    for (uint32_t i = 0; i < splices->count; i++) {
        length = length - splices->items[i].removed + splices->items[i].text.len;
    }
    return length;
}

bool
splices_next(const struct splices *splices, struct slice body, struct splice_walk *walk,
    struct slice *segment)
{
    for (;;) {
        if (walk->text_next) {
            const struct splice *splice = &splices->items[walk->index];
            walk->text_next = false;
            walk->index++;
            walk->offset = splice->offset + splice->removed;
            *segment = splice->text;
        } else {
            const bool last = walk->index == splices->count;
            const size_t end = last ? body.len : splices->items[walk->index].offset;
            *segment = slice_of(body.ptr + walk->offset, end - walk->offset);
            walk->offset = end;
            walk->text_next = !last;
            if (last && segment->len == 0) {
                return false;
            }
        }
        if (segment->len > 0) {
            return true;
        }
    }
}
