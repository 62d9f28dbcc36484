/* wire/facts.c: the top level of a model call's body, field by field. */
#include "wire/facts.h"

#include <stdio.h>

#include "tbl/body_fields.h"
#include "wire/facts_priv.h"

#define SHOWN_KEY_BYTES   64
#define SESSION_BYTES_MAX 200

/* ---- refusals ---- */

bool
facts_refuse(struct facts_reader *reader, enum reason reason, struct slice name, size_t offset,
    const char *wanted)
{
    if (reader->reason != REASON_OK) {
        return false;
    }
    reader->reason = reason;
    reader->fault->offset = offset;
    const int shown = (int)(name.len < SHOWN_KEY_BYTES ? name.len : SHOWN_KEY_BYTES);
    const char *cut = name.len > SHOWN_KEY_BYTES ? "..." : "";
    snprintf(reader->fault->detail, sizeof(reader->fault->detail), "%.*s%s%s%s", shown,
        name.ptr ? name.ptr : "", cut, name.len > 0 ? ": " : "", wanted);
    return false;
}

static size_t
offset_of(const struct facts_reader *reader)
{
    return (size_t)(reader->cursor.at - reader->cursor.start);
}

static bool
wrong(struct facts_reader *reader, struct slice name, const char *wanted)
{
    return facts_refuse(reader, REASON_BODY_FIELD, name, offset_of(reader), wanted);
}

/* ---- keys that must differ ---- */

static bool
key_is_new(struct facts_keys *keys, struct slice key)
{
    const uint32_t hash = json_hash(key);
    for (uint32_t i = 0; i < keys->count; i++) {
        if (keys->hashes[i] == hash && json_same(keys->keys[i], key)) {
            return false;
        }
    }
    keys->hashes[keys->count] = hash;
    keys->keys[keys->count++] = key;
    return true;
}

bool
facts_next_key(struct facts_reader *reader, struct facts_keys *keys, struct slice *key)
{
    if (reader->reason != REASON_OK || !json_next_member(&reader->cursor, key)) {
        return false;
    }
    const size_t offset = (size_t)(key->ptr - reader->cursor.start) - 1;
    if (keys->count == FACTS_KEYS_MAX) {
        return facts_refuse(
            reader, REASON_BODY_FIELD, *key, offset, "this object has more keys than are taken");
    }
    if (key_is_new(keys, *key)) {
        return true;
    }
    char where[64];
    snprintf(where, sizeof(where), "the second of this name is at byte %zu", offset);
    return facts_refuse(reader, REASON_BODY_DUPLICATE_KEY, *key, offset, where);
}

/* ---- values ---- */

static bool
take(struct facts_reader *reader, struct json_value *value, struct span *span)
{
    if (!json_take(&reader->cursor, value)) {
        return false; /* the cursor holds the fault */
    }
    if (span) {
        *span = (struct span){ (size_t)(value->text.ptr - reader->cursor.start), value->text.len };
    }
    return true;
}

bool
facts_decode(struct facts_reader *reader, struct slice raw, struct slice *text)
{
    *text = raw;
    if (raw.len == 0 || !memchr(raw.ptr, '\\', raw.len)) {
        return true;
    }
    char *out = arena_alloc(reader->arena, raw.len);
    size_t len = 0;
    if (!out || !json_unescape(raw, out, raw.len, &len)) {
        return facts_refuse(reader, REASON_OVERLOADED, slice_of(NULL, 0), 0, "no memory");
    }
    *text = slice_of(out, len);
    return true;
}

bool
facts_take_string(struct facts_reader *reader, struct slice name, struct slice *text)
{
    const enum json_type type = json_peek(&reader->cursor);
    if (type != JSON_STRING && type != JSON_NULL && type != JSON_NOTHING) {
        return wrong(reader, name, "a string is wanted");
    }
    struct json_value value;
    *text = slice_of(NULL, 0);
    return take(reader, &value, NULL) && facts_decode(reader, json_inside(value), text);
}

static void
read_flag(struct facts_reader *reader, struct slice name, bool *flag, struct span *span)
{
    const enum json_type type = json_peek(&reader->cursor);
    if (type != JSON_TRUE && type != JSON_FALSE && type != JSON_NULL && type != JSON_NOTHING) {
        (void)wrong(reader, name, "true or false is wanted");
        return;
    }
    struct json_value value;
    if (take(reader, &value, span)) {
        *flag = value.type == JSON_TRUE;
    }
}

static void
read_count(struct facts_reader *reader, struct slice name, int64_t min, int64_t max, int64_t *count,
    struct span *span)
{
    struct json_value value;
    const size_t offset = offset_of(reader);
    if (!take(reader, &value, span) || value.type == JSON_NULL) {
        return;
    }
    if (!json_to_i64(value, min, max, count)) {
        char wanted[80];
        snprintf(wanted, sizeof(wanted), "a whole number from %lld to %lld is wanted",
            (long long)min, (long long)max);
        (void)facts_refuse(reader, REASON_BODY_FIELD, name, offset, wanted);
    }
}

/* Enters an object; null is passed by; anything else is refused. */
static bool
enter_object(struct facts_reader *reader, struct slice name)
{
    if (json_enter(&reader->cursor, '{')) {
        return true;
    }
    const enum json_type type = json_peek(&reader->cursor);
    if (type != JSON_NULL && type != JSON_NOTHING) {
        return wrong(reader, name, "an object is wanted");
    }
    json_skip(&reader->cursor);
    return false;
}

/* ---- fields, each with the name it is read by ---- */

static void
read_model(struct facts_reader *reader, struct slice name)
{
    struct facts *facts = reader->facts;
    struct json_value value;
    const size_t offset = offset_of(reader);
    if (!take(reader, &value, &facts->model_span)) {
        return;
    }
    if (value.type != JSON_STRING || value.text.len <= 2) {
        (void)facts_refuse(
            reader, REASON_BODY_FIELD, name, offset, "the name of a model is wanted");
        return;
    }
    if (facts_decode(reader, json_inside(value), &facts->model)
        && facts->model.len > NAME_MAX_BYTES) {
        (void)facts_refuse(
            reader, REASON_MODEL_UNKNOWN, name, offset, "no model has a name as long as that");
    }
}

static void
read_stream(struct facts_reader *reader, struct slice name)
{
    read_flag(reader, name, &reader->facts->stream, NULL);
}

static void
read_background(struct facts_reader *reader, struct slice name)
{
    read_flag(reader, name, &reader->facts->background, NULL);
}

static void
read_store(struct facts_reader *reader, struct slice name)
{
    (void)name;
    reader->facts->unstored = json_peek(&reader->cursor) == JSON_FALSE;
    json_skip(&reader->cursor);
}

static void
read_stream_options(struct facts_reader *reader, struct slice name)
{
    struct facts *facts = reader->facts;
    const size_t begun = offset_of(reader);
    facts->options_empty = true;
    if (enter_object(reader, name)) {
        struct facts_keys keys;
        keys.count = 0;
        struct slice key;
        while (facts_next_key(reader, &keys, &key)) {
            facts->options_empty = false;
            if (json_key_is(key, SLICE("include_usage"))) {
                read_flag(reader, SLICE("stream_options.include_usage"), &facts->usage_asked,
                    &facts->include_usage_span);
            } else {
                json_skip(&reader->cursor);
            }
        }
    }
    /* Blanks behind it are passed already; only where it begins and that it is there matter. */
    facts->options_span = (struct span){ begun, offset_of(reader) - begun };
}

static void
read_limit(struct facts_reader *reader, enum output_field field)
{
    struct facts *facts = reader->facts;
    read_count(reader, output_field_name(field), 0, TOKENS_MAX, &facts->output_limits[field],
        &facts->output_spans[field]);
    facts->output_limit = max_i64(facts->output_limit, facts->output_limits[field]);
}

static void
read_max_tokens(struct facts_reader *reader, struct slice name)
{
    (void)name;
    read_limit(reader, OUTPUT_MAX_TOKENS);
}

static void
read_max_completion_tokens(struct facts_reader *reader, struct slice name)
{
    (void)name;
    read_limit(reader, OUTPUT_MAX_COMPLETION_TOKENS);
}

static void
read_max_output_tokens(struct facts_reader *reader, struct slice name)
{
    (void)name;
    read_limit(reader, OUTPUT_MAX_OUTPUT_TOKENS);
}

static void
read_n(struct facts_reader *reader, struct slice name)
{
    read_count(reader, name, 1, 128, &reader->facts->answers, NULL);
}

static void
read_service_tier(struct facts_reader *reader, struct slice name)
{
    (void)facts_take_string(reader, name, &reader->facts->service_tier);
}

static void
read_speed(struct facts_reader *reader, struct slice name)
{
    (void)facts_take_string(reader, name, &reader->facts->speed);
}

static void
read_previous_response_id(struct facts_reader *reader, struct slice name)
{
    (void)facts_take_string(reader, name, &reader->facts->previous_response_id);
}

static void
read_prompt_cache_key(struct facts_reader *reader, struct slice name)
{
    (void)facts_take_string(reader, name, &reader->facts->prompt_cache_key);
}

static void
read_thinking(struct facts_reader *reader, struct slice name)
{
    if (!enter_object(reader, name)) {
        return;
    }
    int64_t budget = 0;
    bool disabled = false;
    struct facts_keys keys;
    keys.count = 0;
    struct slice key;
    while (facts_next_key(reader, &keys, &key)) {
        if (json_key_is(key, SLICE("budget_tokens"))) {
            read_count(reader, SLICE("thinking.budget_tokens"), 0, TOKENS_MAX, &budget, NULL);
        } else if (json_key_is(key, SLICE("type"))) {
            struct slice type = { 0 };
            disabled = facts_take_string(reader, SLICE("thinking.type"), &type)
                       && slice_eq(type, SLICE("disabled"));
        } else {
            json_skip(&reader->cursor);
        }
    }
    reader->facts->thinking_budget = disabled ? 0 : budget;
}

static void
read_conversation(struct facts_reader *reader, struct slice name)
{
    struct slice *id = &reader->facts->conversation;
    if (json_peek(&reader->cursor) == JSON_STRING) {
        (void)facts_take_string(reader, name, id);
        return;
    }
    if (!enter_object(reader, name)) {
        return;
    }
    struct facts_keys keys;
    keys.count = 0;
    struct slice key;
    while (facts_next_key(reader, &keys, &key)) {
        if (json_key_is(key, SLICE("id"))) {
            (void)facts_take_string(reader, SLICE("conversation.id"), id);
        } else {
            json_skip(&reader->cursor);
        }
    }
}

/* Claude Code's user id: a JSON text with a session_id, formerly
 * "user_HASH_account__session_UUID". */
static void
note_session(struct facts_reader *reader, struct slice user_id)
{
    struct slice session = { 0 };
    if (json_looks_like_object(user_id)) {
        struct json_value value;
        if (!json_get(user_id, "session_id", &value) || value.type != JSON_STRING
            || !facts_decode(reader, json_inside(value), &session)) {
            return;
        }
    } else {
        const struct slice mark = SLICE("_session_");
        const ptrdiff_t at = slice_starts(user_id, SLICE("user_")) ? slice_find(user_id, mark) : -1;
        if (at < 0) {
            return;
        }
        const size_t begins = (size_t)at + mark.len;
        session = slice_of(user_id.ptr + begins, user_id.len - begins);
    }
    if (session.len <= SESSION_BYTES_MAX) {
        reader->facts->metadata_session = session;
    }
}

static void
read_metadata(struct facts_reader *reader, struct slice name)
{
    if (!enter_object(reader, name)) {
        return;
    }
    const bool wanted = api_dialect(reader->facts->api) == DIALECT_ANTHROPIC;
    struct facts_keys keys;
    keys.count = 0;
    struct slice key, user_id = { 0 };
    while (facts_next_key(reader, &keys, &key)) {
        if (!wanted || !json_key_is(key, SLICE("user_id"))) {
            json_skip(&reader->cursor);
        } else if (facts_take_string(reader, SLICE("metadata.user_id"), &user_id)) {
            note_session(reader, user_id);
        }
    }
}

/* A stored prompt, or a container: a thing of the provider's account that we never handed out. */
static void
read_foreign(struct facts_reader *reader, struct slice name)
{
    struct facts *facts = reader->facts;
    struct json_value value;
    if (!take(reader, &value, NULL) || value.type == JSON_NULL) {
        return;
    }
    struct json_value id = value;
    if (value.type == JSON_STRING || (json_get(value.text, "id", &id) && id.type != JSON_NULL)) {
        facts->foreign_id_field = facts->foreign_id_field.len ? facts->foreign_id_field : name;
    } else if (facts->priced_field.len == 0) {
        facts->priced_field = name; /* a new container: billed beside the tokens */
    }
}

static void
read_messages(struct facts_reader *reader, struct slice name)
{
    (void)name;
    if (reader->facts->api == API_EMBEDDINGS) {
        facts_pass_inputs(reader);
    } else {
        facts_pass_messages(reader);
    }
}

static void
read_tools(struct facts_reader *reader, struct slice name)
{
    (void)name;
    facts_pass_tools(reader);
}

/* ---- the table of fields ---- */

enum field_effect { PLAIN, READ, PRICED };

static const struct body_field {
    struct slice name;
    uint32_t apis;
    enum field_effect effect;
} body_fields[] = {
#define BODY_FIELD_ROW(name, apis, effect) { { name, sizeof(name) - 1 }, apis, effect },
    BODY_FIELDS(BODY_FIELD_ROW)
#undef BODY_FIELD_ROW
};

static const struct field_reader {
    struct slice name;
    void (*read)(struct facts_reader *reader, struct slice name);
} field_readers[] = {
#define READER(name, function)                                                                     \
    {                                                                                              \
        { name, sizeof(name) - 1 }, function                                                       \
    }
    READER("model", read_model),
    READER("messages", read_messages),
    READER("input", read_messages),
    READER("system", read_messages),
    READER("tools", read_tools),
    READER("functions", read_tools),
    READER("stream", read_stream),
    READER("stream_options", read_stream_options),
    READER("max_tokens", read_max_tokens),
    READER("max_completion_tokens", read_max_completion_tokens),
    READER("max_output_tokens", read_max_output_tokens),
    READER("n", read_n),
    READER("service_tier", read_service_tier),
    READER("speed", read_speed),
    READER("background", read_background),
    READER("store", read_store),
    READER("thinking", read_thinking),
    READER("previous_response_id", read_previous_response_id),
    READER("conversation", read_conversation),
    READER("prompt", read_foreign),
    READER("container", read_foreign),
    READER("prompt_cache_key", read_prompt_cache_key),
    READER("metadata", read_metadata),
#undef READER
};

static const struct body_field *
find_field(enum api api, struct slice key)
{
    for (size_t i = 0; i < countof(body_fields); i++) {
        if ((body_fields[i].apis >> api & 1) && json_key_is(key, body_fields[i].name)) {
            return &body_fields[i];
        }
    }
    return NULL;
}

static void
read_field(struct facts_reader *reader, const struct body_field *field)
{
    for (size_t i = 0; i < countof(field_readers); i++) {
        if (slice_eq(field_readers[i].name, field->name)) {
            field_readers[i].read(reader, field->name);
            return;
        }
    }
    check(false); /* a READ row of tbl/body_fields.h without a reader above */
}

static void
read_member(struct facts_reader *reader, struct slice key)
{
    struct facts *facts = reader->facts;
    const struct body_field *field = find_field(facts->api, key);
    if (field && field->effect == READ) {
        read_field(reader, field);
        return;
    }
    struct json_value value;
    if (!take(reader, &value, NULL) || value.type == JSON_NULL) {
        return;
    }
    if (!field && facts->unknown_field.len == 0) {
        facts->unknown_field = key;
    }
    if (field && field->effect == PRICED && facts->priced_field.len == 0) {
        facts->priced_field = field->name;
    }
}

/* ---- the whole body ---- */

static enum reason
judge_end(struct facts_reader *reader)
{
    if (reader->reason != REASON_OK) {
        return reader->reason;
    }
    if (!json_finish(&reader->cursor)) {
        const size_t offset = offset_of(reader);
        char where[96];
        snprintf(where, sizeof(where), "%s (byte %zu)", reader->cursor.fault, offset);
        (void)facts_refuse(reader, REASON_BODY_NOT_JSON, slice_of(NULL, 0), offset, where);
        return reader->reason;
    }
    if (reader->facts->model_span.len == 0) {
        (void)facts_refuse(reader, REASON_BODY_FIELD, SLICE("model"), 0, "it is missing");
    }
    return reader->reason;
}

enum reason
facts_read(enum api api, struct slice body, struct arena *arena, struct facts *facts,
    struct facts_fault *fault)
{
    check((unsigned)api < API_COUNT);
    *facts = (struct facts){
        .api = api, .output_limit = -1, .output_limits = { -1, -1, -1 }, .answers = 1
    };
    *fault = (struct facts_fault){ .offset = 0 };
    struct facts_reader reader = {
        .body = body, .arena = arena, .facts = facts, .fault = fault, .reason = REASON_OK
    };
    json_start(&reader.cursor, body);
    if (!json_enter(&reader.cursor, '{')) {
        (void)facts_refuse(&reader, REASON_BODY_NOT_JSON, slice_of(NULL, 0), 0,
            body.len == 0 ? "it is empty" : "it does not begin with {");
        return reader.reason;
    }
    struct facts_keys keys;
    keys.count = 0;
    struct slice key;
    while (facts_next_key(&reader, &keys, &key)) {
        read_member(&reader, key);
    }
    const enum reason reason = judge_end(&reader);
    facts->input_bytes =
        (int64_t)(body.len - reader.cursor.blank_bytes - reader.cursor.escaped_bytes);
    return reason;
}
