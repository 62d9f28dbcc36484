/* wire/tap_responses.c: the tap on the Responses API, whose last event repeats the whole answer and
 * may be larger than what is kept of it. */
#include "wire/tap_priv.h"

/* Names in the end of a cut event that are tried before its usage is given up. */
#define USAGE_TRIES_MAX 16

/* The members of an event that matter, as one pass finds them. Empty = not there. */
struct response_event {
    struct json_value type, response, delta, item, sequence;
};

static bool
take_event(struct slice json, struct response_event *out)
{
    *out = (struct response_event){ .type.type = JSON_NOTHING };
    struct json_cursor cursor;
    json_start(&cursor, json);
    if (!json_enter(&cursor, '{')) {
        return false;
    }
    struct slice key;
    struct json_value value;
    while (json_next_member(&cursor, &key) && json_take(&cursor, &value)) {
        if (json_key_is(key, SLICE("type"))) {
            out->type = value;
        } else if (json_key_is(key, SLICE("response"))) {
            out->response = value;
        } else if (json_key_is(key, SLICE("delta"))) {
            out->delta = value;
        } else if (json_key_is(key, SLICE("item"))) {
            out->item = value;
        } else if (json_key_is(key, SLICE("sequence_number"))) {
            out->sequence = value;
        }
    }
    return json_finish(&cursor);
}

/* A response object, begun or ended: its head, usage and error. */
static void
tap_response(struct tap *tap, struct slice object, struct tapped *tapped)
{
    struct json_cursor cursor;
    struct slice key;
    struct json_value value;
    json_start(&cursor, object);
    if (!json_enter(&cursor, '{')) {
        return;
    }
    while (json_next_member(&cursor, &key) && json_take(&cursor, &value)) {
        if (json_key_is(key, SLICE("id"))) {
            tap_keep(tap->id, sizeof(tap->id), value);
        } else if (json_key_is(key, SLICE("model"))) {
            tap_keep(tap->model, sizeof(tap->model), value);
        } else if (json_key_is(key, SLICE("created_at"))) {
            tap_keep_count(value, &tap->created_s);
        } else if (json_key_is(key, SLICE("service_tier"))) {
            tap_keep_tier(tap, value);
        } else if (json_key_is(key, SLICE("status"))) {
            tap->stop_reason[0] = '\0';
            tap_keep(tap->stop_reason, sizeof(tap->stop_reason), value);
            tap->incomplete = json_says(value, SLICE("incomplete"));
        } else if (json_key_is(key, SLICE("usage")) && value.type == JSON_OBJECT) {
            tapped->usage_changed = usage_read_openai(value.text, &tap->usage);
            tap_note_input(tap);
        } else if (json_key_is(key, SLICE("error")) && value.type == JSON_OBJECT) {
            tap_fail(tap, tapped, value.text);
        } else if (json_key_is(key, SLICE("output")) && value.type == JSON_ARRAY) {
            tapped->items = value.text;
        }
    }
}

/* Ends the answer if `type` is a terminal event's. */
static void
tap_terminal(struct tap *tap, struct slice type, struct tapped *tapped)
{
    if (json_key_is(type, SLICE("response.completed"))
        || json_key_is(type, SLICE("response.incomplete"))) {
        tapped->kind = TAP_TERMINAL;
        tap->end = ANSWER_DONE;
        tap->incomplete = json_key_is(type, SLICE("response.incomplete"));
        tap->in_tool_arguments = false;
    } else if (json_key_is(type, SLICE("response.failed"))) {
        tapped->kind = TAP_ERROR;
        tap->end = ANSWER_FAILED;
    }
}

static void
tap_delta(struct tap *tap, struct slice type, struct json_value delta, struct tapped *tapped)
{
    const bool tool =
        slice_ends(type, SLICE("_arguments.delta")) || slice_ends(type, SLICE("_call_input.delta"));
    if (!slice_eq(type, SLICE("response.audio.delta"))) { /* base64, not text */
        tap_count_text(tap, tapped, delta);
    }
    tap->in_tool_arguments = tool;
}

/* The last usage object that stands whole in the end of a text. Inside a string its quotes would be
 * escaped, so a name with bare quotes is a name. */
static bool
find_last_usage(struct slice tail, struct usage *usage)
{
    const struct slice name = SLICE("\"usage\":");
    int tries = USAGE_TRIES_MAX;
    for (size_t at = tail.len; at-- > 0 && tries > 0;) {
        const struct slice rest = slice_of(tail.ptr + at, tail.len - at);
        if (tail.ptr[at] != '"' || !slice_starts(rest, name)
            || (at > 0 && tail.ptr[at - 1] == '\\')) {
            continue;
        }
        tries--;
        struct json_cursor cursor;
        struct json_value value;
        json_start(&cursor, slice_of(rest.ptr + name.len, rest.len - name.len));
        if (json_take(&cursor, &value) && value.type == JSON_OBJECT) {
            return usage_read_openai(value.text, usage);
        }
    }
    return false;
}

/* An event of which only the first bytes and the end are left. */
static void
tap_cut_event(struct tap *tap, const struct sse_event *event, struct tapped *tapped)
{
    struct slice type = event->name;
    const struct slice mark = SLICE("\"type\":\"");
    const ptrdiff_t at = slice_find(event->head, mark);
    if (type.len == 0 && at >= 0) {
        const char *begun = event->head.ptr + (size_t)at + mark.len;
        const size_t left = event->head.len - (size_t)at - mark.len;
        const char *quote = memchr(begun, '"', left);
        type = slice_of(begun, quote ? (size_t)(quote - begun) : 0);
    }
    tap_terminal(tap, type, tapped);
    if (tapped->kind != TAP_OTHER) {
        tapped->usage_changed = find_last_usage(event->data, &tap->usage);
        tap_note_input(tap);
    }
}

void
tap_responses_event(struct tap *tap, const struct sse_event *event, struct tapped *tapped)
{
    if (event->data_cut) {
        tap_cut_event(tap, event, tapped);
        return;
    }
    struct response_event got;
    if (!take_event(event->data, &got) || got.type.type != JSON_STRING) {
        return;
    }
    tap_keep_count(got.sequence, &tap->sequence);
    const struct slice type = json_inside(got.type);
    if (slice_ends(type, SLICE(".delta"))) {
        tap_delta(tap, type, got.delta, tapped);
    } else if (slice_ends(type, SLICE(".done"))) {
        tap->in_tool_arguments = false;
        tapped->items = got.item.text;
    } else if (got.response.type == JSON_OBJECT) {
        tap_response(tap, got.response.text, tapped);
        tap_terminal(tap, type, tapped);
    } else if (slice_eq(type, SLICE("error"))) {
        struct json_value error;
        const bool nested = json_get(event->data, "error", &error) && error.type == JSON_OBJECT;
        struct json_value code;
        if (!nested && json_get(event->data, "code", &code)) {
            tap_keep(tap->error_code, sizeof(tap->error_code), code);
        }
        tap_fail(tap, tapped, nested ? error.text : slice_of(NULL, 0));
    }
}

static void
tap_output_item(struct tap *tap, struct slice item, struct tapped *tapped)
{
    static const char *const texts[] = { "arguments", "input", "content.0.text", "summary.0.text" };
    struct json_value value;
    for (size_t i = 0; i < countof(texts); i++) {
        if (json_get(item, texts[i], &value) && value.type == JSON_STRING) {
            tap_count_text(tap, tapped, value);
        }
    }
}

void
tap_responses_body(struct tap *tap, struct slice body, struct tapped *tapped)
{
    tap_response(tap, body, tapped);
    struct json_value output, item;
    struct json_cursor cursor;
    json_start(&cursor, json_get(body, "output", &output) ? output.text : slice_of(NULL, 0));
    if (!json_enter(&cursor, '[')) {
        return;
    }
    while (json_next_item(&cursor) && json_take(&cursor, &item)) {
        tap_output_item(tap, item.text, tapped);
    }
}
