/* wire/tap.c: the tap on streams and bodies of chat, embeddings and Anthropic's messages. */
#include "wire/tap_priv.h"

void
tap_start(struct tap *tap, enum api api)
{
    check((unsigned)api < API_COUNT);
    *tap = (struct tap){ .api = api, .usage = USAGE_NONE, .input_exact = -1, .sequence = -1 };
}

void
tap_keep(char *out, size_t out_size, struct json_value value)
{
    if (out[0] == '\0' && value.type == JSON_STRING) {
        (void)json_to_cstr(value, out, out_size);
    }
}

void
tap_keep_tier(struct tap *tap, struct json_value value)
{
    if (value.type == JSON_STRING) {
        tap->service_tier[0] = '\0';
        tap_keep(tap->service_tier, sizeof(tap->service_tier), value);
    }
}

void
tap_keep_count(struct json_value value, int64_t *out)
{
    int64_t count = 0;
    if (json_to_i64(value, 0, WALL_MS_MAX, &count)) {
        *out = count;
    }
}

void
tap_note_input(struct tap *tap)
{
    if (tap->usage.known & USAGE_INPUT) {
        tap->input_exact = usage_input_total(&tap->usage);
    }
}

void
tap_count_text(struct tap *tap, struct tapped *tapped, struct json_value text)
{
    const size_t bytes = json_utf8_bytes(json_inside(text));
    if (bytes > 0) {
        tapped->kind = tapped->kind == TAP_OTHER ? TAP_TEXT : tapped->kind;
        tapped->text_bytes += (int64_t)bytes;
        tap->text_bytes += (int64_t)bytes;
    }
}

/* An error as any dialect writes it: an object with code and type, or just a text. */
void
tap_fail(struct tap *tap, struct tapped *tapped, struct slice error)
{
    struct json_value value;
    tap->end = ANSWER_FAILED;
    tapped->kind = TAP_ERROR;
    if (json_get(error, "code", &value) && value.type == JSON_NUMBER) {
        (void)slice_to_cstr(value.text, tap->error_code, sizeof(tap->error_code));
    } else if (json_get(error, "code", &value)) {
        tap_keep(tap->error_code, sizeof(tap->error_code), value);
    }
    if (json_get(error, "type", &value)) {
        tap_keep(tap->error_code, sizeof(tap->error_code), value);
    }
}

/* ---- events that are like the one before ---- */

/* False: it is to be read. */
static bool
take_alike(struct tap *tap, struct slice json, struct tapped *tapped)
{
    struct alike_strings found;
    if (!tap->alike || tap->alike->count == 0) {
        return false;
    }
    if (!alike_match(tap->alike, json, &found)) {
        alike_forget(tap->alike);
        return false;
    }
    for (uint32_t i = 0; i < found.count; i++) {
        if (found.is_text[i]) {
            tap_count_text(tap, tapped, found.strings[i]);
        }
    }
    if (api_dialect(tap->api)
        != DIALECT_ANTHROPIC) { /* whose blocks are told apart when they open */
        tap->in_tool_arguments = tap->alike->tool_text;
    }
    return true;
}

/* A first text may be the only one for long: nothing is kept for it. */
static bool
may_learn(const struct tap *tap, const struct tapped *tapped)
{
    return tap->alike && tapped->kind == TAP_TEXT && tap->delta_events > 0;
}

/* ---- chat ---- */

/* What a chunk or a body of chat holds, noted on the way and used once all of it proved
 * well-formed. */
struct chat_chunk {
    struct tap *tap;
    struct tapped *tapped;
    struct slice usage, error; /* objects; empty = none */
    bool choices_empty;
    bool text, tool_text; /* deltas of either kind were in it */
    bool finished;        /* a choice has its finish_reason */
    struct alike_strings strings;
};

static bool
is_text_key(struct slice key)
{
    static const struct slice keys[] = {
        { "content", 7 },
        { "reasoning_content", 17 },
        { "reasoning", 9 },
        { "refusal", 7 },
    };
    for (size_t i = 0; i < countof(keys); i++) {
        if (json_key_is(key, keys[i])) {
            return true;
        }
    }
    return false;
}

/* {"name", "arguments"} of a tool call, old form or inside "function". */
static void
take_function(struct json_cursor *cursor, struct chat_chunk *chunk)
{
    if (!json_enter(cursor, '{')) {
        json_skip(cursor);
        return;
    }
    struct slice key;
    struct json_value value;
    while (json_next_member(cursor, &key)) {
        if (json_take(cursor, &value) && value.type == JSON_STRING) {
            chunk->tool_text = true;
            tap_count_text(chunk->tap, chunk->tapped, value);
            alike_note(&chunk->strings, value, true);
        }
    }
}

static void
take_tool_calls(struct json_cursor *cursor, struct chat_chunk *chunk)
{
    if (!json_enter(cursor, '[')) {
        json_skip(cursor);
        return;
    }
    while (json_next_item(cursor)) {
        struct slice key;
        if (!json_enter(cursor, '{')) {
            json_skip(cursor);
            continue;
        }
        while (json_next_member(cursor, &key)) {
            if (json_key_is(key, SLICE("function")) || json_key_is(key, SLICE("custom"))) {
                take_function(cursor, chunk);
            } else {
                json_skip(cursor);
            }
        }
    }
}

/* A delta of a stream, or the message of a whole answer. */
static void
take_delta(struct json_cursor *cursor, struct chat_chunk *chunk)
{
    if (!json_enter(cursor, '{')) {
        json_skip(cursor);
        return;
    }
    struct slice key;
    struct json_value value;
    while (json_next_member(cursor, &key)) {
        if (json_key_is(key, SLICE("tool_calls"))) {
            take_tool_calls(cursor, chunk);
        } else if (json_key_is(key, SLICE("function_call"))) {
            take_function(cursor, chunk);
        } else if (!is_text_key(key)) {
            json_skip(cursor);
        } else if (json_take(cursor, &value) && value.type == JSON_STRING && value.text.len > 2) {
            chunk->text = true;
            tap_count_text(chunk->tap, chunk->tapped, value);
            alike_note(&chunk->strings, value, true);
        }
    }
}

static void
take_choice(struct json_cursor *cursor, struct chat_chunk *chunk)
{
    struct tap *tap = chunk->tap;
    struct slice key;
    struct json_value value;
    if (!json_enter(cursor, '{')) {
        json_skip(cursor);
        return;
    }
    while (json_next_member(cursor, &key)) {
        if (json_key_is(key, SLICE("delta")) || json_key_is(key, SLICE("message"))) {
            take_delta(cursor, chunk);
        } else if (!json_take(cursor, &value)) {
            return;
        } else if (json_key_is(key, SLICE("finish_reason")) && value.type == JSON_STRING) {
            tap->stop_reason[0] = '\0';
            tap_keep(tap->stop_reason, sizeof(tap->stop_reason), value);
            tap->incomplete = json_says(value, SLICE("length"));
            chunk->finished = true;
        } else if (json_key_is(key, SLICE("usage")) && value.type == JSON_OBJECT) {
            chunk->usage = value.text; /* Moonshot, formerly */
        }
    }
}

static void
take_choices(struct json_cursor *cursor, struct chat_chunk *chunk)
{
    if (!json_enter(cursor, '[')) {
        json_skip(cursor);
        return;
    }
    chunk->choices_empty = true;
    while (json_next_item(cursor)) {
        chunk->choices_empty = false;
        take_choice(cursor, chunk);
    }
}

static void
take_chat_member(struct json_cursor *cursor, struct chat_chunk *chunk, struct slice key)
{
    struct tap *tap = chunk->tap;
    struct json_value value, inner;
    if (json_key_is(key, SLICE("choices"))) {
        take_choices(cursor, chunk);
        return;
    }
    if (!json_take(cursor, &value)) {
        return;
    }
    if (json_key_is(key, SLICE("id"))) {
        tap_keep(tap->id, sizeof(tap->id), value);
    } else if (json_key_is(key, SLICE("model"))) {
        tap_keep(tap->model, sizeof(tap->model), value);
    } else if (json_key_is(key, SLICE("created"))) {
        tap_keep_count(value, &tap->created_s);
    } else if (json_key_is(key, SLICE("service_tier"))) {
        tap_keep_tier(tap, value);
    } else if (json_key_is(key, SLICE("usage")) && value.type == JSON_OBJECT) {
        chunk->usage = value.text;
    } else if (json_key_is(key, SLICE("x_groq")) && chunk->usage.len == 0
               && json_get(value.text, "usage", &inner) && inner.type == JSON_OBJECT) {
        chunk->usage = inner.text;
    } else if (json_key_is(key, SLICE("error"))
               && (value.type == JSON_OBJECT || value.type == JSON_STRING)) {
        chunk->error = value.text;
    } else if (value.type == JSON_STRING && !json_key_is(key, SLICE("object"))) {
        alike_note(&chunk->strings, value, false); /* system_fingerprint, obfuscation, ... */
    }
}

/* Reads a chunk, or a whole answer, which differs in "message" for "delta" alone. */
static MUST_USE bool
tap_chat(struct tap *tap, struct slice json, struct chat_chunk *chunk)
{
    struct json_cursor cursor;
    json_start(&cursor, json);
    if (!json_enter(&cursor, '{')) {
        return false;
    }
    struct slice key;
    while (json_next_member(&cursor, &key)) {
        take_chat_member(&cursor, chunk, key);
    }
    if (!json_finish(&cursor)) {
        return false;
    }
    if (chunk->tool_text) {
        tap->in_tool_arguments = true;
    } else if (chunk->text) {
        tap->in_tool_arguments = false;
    }
    if (chunk->finished) {
        tap->in_tool_arguments = false;
    }
    if (chunk->usage.len > 0) {
        chunk->tapped->usage_changed = tap->api == API_EMBEDDINGS
                                           ? usage_read_embeddings(chunk->usage, &tap->usage)
                                           : usage_read_openai(chunk->usage, &tap->usage);
        tap_note_input(tap);
    }
    if (chunk->error.len > 0) {
        tap_fail(tap, chunk->tapped, chunk->error);
    }
    return true;
}

static void
tap_chat_event(struct tap *tap, const struct sse_event *event, struct tapped *tapped)
{
    if (slice_eq(slice_trim(event->data), SLICE("[DONE]"))) {
        tapped->kind = TAP_TERMINAL;
        tap->end = tap->end == ANSWER_OPEN ? ANSWER_DONE : tap->end;
        return;
    }
    struct chat_chunk chunk = { .tap = tap, .tapped = tapped };
    if (!tap_chat(tap, event->data, &chunk)) {
        return; /* not JSON, or cut: relayed as it is */
    }
    if (may_learn(tap, tapped) && chunk.usage.len == 0 && !chunk.finished
        && chunk.text != chunk.tool_text) {
        alike_learn(tap->alike, event->data, &chunk.strings, chunk.tool_text);
    }
    if (tapped->kind == TAP_OTHER && chunk.choices_empty && chunk.usage.len > 0) {
        tapped->kind = TAP_USAGE_ONLY;
    }
}

/* ---- Anthropic ---- */

static void
tap_message_head(struct tap *tap, struct slice message)
{
    struct json_value value;
    if (json_get(message, "id", &value)) {
        tap_keep(tap->id, sizeof(tap->id), value);
    }
    if (json_get(message, "model", &value)) {
        tap_keep(tap->model, sizeof(tap->model), value);
    }
}

static void
tap_anthropic_usage(struct tap *tap, struct slice object, bool final, struct tapped *tapped)
{
    struct usage usage;
    struct json_value tier;
    tapped->usage_changed = usage_read_anthropic(object, &tap->usage, &usage);
    tap->usage = usage;
    if (json_get(object, "service_tier", &tier)) {
        tap_keep_tier(tap, tier);
    }
    if (!final) {
        tap->usage.known &= ~(uint32_t)USAGE_OUTPUT; /* a first count, not yet the truth */
    }
    tap_note_input(tap);
}

static void
tap_stop_reason(struct tap *tap, struct slice holder)
{
    struct json_value value;
    if (json_get(holder, "stop_reason", &value) && value.type == JSON_STRING) {
        tap->stop_reason[0] = '\0';
        tap_keep(tap->stop_reason, sizeof(tap->stop_reason), value);
        tap->incomplete = json_says(value, SLICE("max_tokens"));
    }
}

static void
tap_block(struct tap *tap, struct slice json, bool opens)
{
    struct json_value value;
    int64_t index = 0;
    if (!json_get(json, "index", &value) || !json_to_i64(value, 0, TAP_BLOCKS_MAX - 1, &index)) {
        return;
    }
    const uint64_t bit = UINT64_C(1) << index;
    tap->open_blocks &= ~bit;
    tap->tool_blocks &= ~bit;
    if (opens) {
        tap->open_blocks |= bit;
        if (json_get(json, "content_block.type", &value) && value.type == JSON_STRING
            && slice_ends(json_inside(value), SLICE("tool_use"))) {
            tap->tool_blocks |= bit;
        }
    }
    tap->in_tool_arguments = tap->tool_blocks != 0;
}

static void
tap_block_delta(struct tap *tap, struct slice json, struct tapped *tapped)
{
    static const char *const texts[] = { "text", "thinking", "partial_json" };
    struct alike_strings strings = { .count = 0 };
    struct json_value delta, value;
    if (!json_get(json, "delta", &delta)) {
        return;
    }
    for (size_t i = 0; i < countof(texts); i++) {
        if (json_get(delta.text, texts[i], &value) && value.type == JSON_STRING) {
            tap_count_text(tap, tapped, value);
            alike_note(&strings, value, true);
        }
    }
    if (may_learn(tap, tapped)) {
        alike_learn(tap->alike, json, &strings, false);
    }
}

static void
tap_anthropic_event(struct tap *tap, const struct sse_event *event, struct tapped *tapped)
{
    const struct slice json = event->data;
    struct json_value root, type, value;
    if (!json_check(json, &root) || !json_get(json, "type", &type)) {
        return;
    }
    if (json_says(type, SLICE("content_block_delta"))) {
        tap_block_delta(tap, json, tapped);
    } else if (json_says(type, SLICE("content_block_start"))) {
        tap_block(tap, json, true);
    } else if (json_says(type, SLICE("content_block_stop"))) {
        tap_block(tap, json, false);
    } else if (json_says(type, SLICE("message_start"))) {
        if (json_get(json, "message", &value)) {
            tap_message_head(tap, value.text);
        }
        if (json_get(json, "message.usage", &value) && value.type == JSON_OBJECT) {
            tap_anthropic_usage(tap, value.text, false, tapped);
        }
    } else if (json_says(type, SLICE("message_delta"))) {
        if (json_get(json, "delta", &value)) {
            tap_stop_reason(tap, value.text);
        }
        if (json_get(json, "usage", &value) && value.type == JSON_OBJECT) {
            tap_anthropic_usage(tap, value.text, true, tapped);
        }
    } else if (json_says(type, SLICE("message_stop"))) {
        tapped->kind = TAP_TERMINAL;
        tap->end = ANSWER_DONE;
    } else if (json_says(type, SLICE("error"))) {
        tap_fail(tap, tapped, json_get(json, "error", &value) ? value.text : json);
    }
}

/* ---- the doors ---- */

struct tapped
tap_event(struct tap *tap, const struct sse_event *event)
{
    struct tapped tapped = { .kind = TAP_OTHER };
    if (!event->has_data || tap->end == ANSWER_FAILED) {
        return tapped;
    }
    if (tap->api == API_RESPONSES) {
        tap_responses_event(tap, event, &tapped);
    } else if (take_alike(tap, event->data, &tapped)) {
        /* nothing else is in it */
    } else if (api_dialect(tap->api) == DIALECT_ANTHROPIC) {
        tap_anthropic_event(tap, event, &tapped);
    } else {
        tap_chat_event(tap, event, &tapped);
    }
    tap->delta_events += tapped.text_bytes > 0;
    return tapped;
}

static void
tap_message_body(struct tap *tap, struct slice body, struct tapped *tapped)
{
    struct json_value value, part;
    tap_message_head(tap, body);
    tap_stop_reason(tap, body);
    if (json_get(body, "usage", &value) && value.type == JSON_OBJECT) {
        tap_anthropic_usage(tap, value.text, true, tapped);
    }
    if (json_get(body, "type", &value) && json_says(value, SLICE("error"))) {
        tap_fail(tap, tapped, json_get(body, "error", &value) ? value.text : body);
    }
    struct json_cursor cursor;
    json_start(&cursor, json_get(body, "content", &value) ? value.text : slice_of(NULL, 0));
    if (!json_enter(&cursor, '[')) {
        return;
    }
    while (json_next_item(&cursor) && json_take(&cursor, &part)) {
        if (json_get(part.text, "text", &value) || json_get(part.text, "thinking", &value)) {
            tap_count_text(tap, tapped, value);
        } else if (json_get(part.text, "input", &value)) {
            tap->text_bytes += (int64_t)value.text.len;
        }
    }
}

/* {"input_tokens": n}: free of charge, so only the count is of interest. */
static void
tap_count_body(struct tap *tap, struct slice body)
{
    struct json_value value;
    if (json_get(body, "input_tokens", &value)
        && json_to_i64(value, 0, TOKENS_MAX, &tap->usage.input)) {
        tap->usage.known = USAGE_INPUT | USAGE_OUTPUT;
        tap_note_input(tap);
    } else {
        tap->usage.known = USAGE_MALFORMED;
    }
}

bool
tap_body(struct tap *tap, struct slice body)
{
    tap_start(tap, tap->api);
    struct tapped tapped = { .kind = TAP_OTHER };
    struct chat_chunk chunk = { .tap = tap, .tapped = &tapped };
    struct json_value root;
    const bool chat =
        tap->api != API_RESPONSES && tap->api != API_MESSAGES && tap->api != API_COUNT_TOKENS;
    /* Chat is checked as it is read. */
    if (chat ? !tap_chat(tap, body, &chunk) : !json_check(body, &root)) {
        tap_start(tap, tap->api);
        return false; /* not JSON, or no object */
    }
    switch (tap->api) {
    case API_RESPONSES: tap_responses_body(tap, root.text, &tapped); break;
    case API_MESSAGES: tap_message_body(tap, root.text, &tapped); break;
    case API_COUNT_TOKENS: tap_count_body(tap, root.text); break;
    default: break;
    }
    tap->end = tap->end == ANSWER_OPEN ? ANSWER_DONE : tap->end;
    tap->in_tool_arguments = false;
    return true;
}
