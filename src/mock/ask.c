/* mock/ask.c: reading the body of a model call. */
#include "mock/ask_priv.h"

#include "base/buf.h"
#include "wire/json.h"

struct reader {
    struct mock_ask *ask;
    struct arena *arena;
    const char *why;
};

static bool
refuse(struct reader *reader, const char *why)
{
    reader->why = why;
    return false;
}

/* A string, decoded into the arena. */
static bool
copy_string(struct reader *reader, struct json_value value, struct slice *out)
{
    const struct slice raw = json_inside(value);
    char *memory = arena_alloc(reader->arena, raw.len + 1);
    size_t len = 0;
    if (!memory || !json_unescape(raw, memory, raw.len + 1, &len)) {
        return refuse(reader, "the mock is out of memory");
    }
    *out = slice_of(memory, len);
    return true;
}

static bool
read_string(struct reader *reader, struct json_value value, struct slice *out, const char *why)
{
    if (value.type == JSON_NULL) {
        return true;
    }
    return value.type == JSON_STRING ? copy_string(reader, value, out) : refuse(reader, why);
}

static bool
read_flag(struct reader *reader, struct json_value value, bool *out, const char *why)
{
    switch (value.type) {
    case JSON_TRUE: *out = true; return true;
    case JSON_FALSE: *out = false; return true;
    case JSON_NULL: return true;
    default: return refuse(reader, why);
    }
}

/* The lowest limit counts where a request names several. */
static bool
read_limit(struct reader *reader, struct json_value value, int64_t least, const char *why)
{
    int64_t limit = 0;
    if (value.type == JSON_NULL) {
        return true;
    }
    if (!json_to_i64(value, least, TOKENS_MAX, &limit)) {
        return refuse(reader, why);
    }
    struct mock_ask *ask = reader->ask;
    ask->output_limit =
        ask->output_limit == MOCK_NO_LIMIT ? limit : min_i64(ask->output_limit, limit);
    return true;
}

/* Adds the text of a message's content: a string, or parts that have a `text`. */
static bool
add_content(struct reader *reader, struct json_value content, struct buf *out)
{
    struct slice text = { 0 };
    struct json_value part;
    if (content.type == JSON_STRING) {
        if (!copy_string(reader, content, &text)) {
            return false;
        }
        buf_add_slice(out, text);
        return true;
    }
    if (content.type != JSON_ARRAY) {
        return true;
    }
    struct json_cursor cursor;
    json_start(&cursor, content.text);
    if (!json_enter(&cursor, '[')) {
        return true;
    }
    while (json_next_item(&cursor)) {
        struct json_value said;
        if (!json_take(&cursor, &part)) {
            break;
        }
        if (part.type == JSON_OBJECT && json_get(part.text, "text", &said)
            && said.type == JSON_STRING) {
            if (!copy_string(reader, said, &text)) {
                return false;
            }
            buf_add_slice(out, text);
        }
    }
    return true;
}

static bool
has_tool_result(struct json_value content)
{
    struct json_cursor cursor;
    json_start(&cursor, content.text);
    if (!json_enter(&cursor, '[')) {
        return false;
    }
    while (json_next_item(&cursor)) {
        struct json_value part;
        struct json_value type;
        if (!json_take(&cursor, &part)) {
            break;
        }
        if (part.type == JSON_OBJECT && json_get(part.text, "type", &type)
            && json_says(type, SLICE("tool_result"))) {
            return true;
        }
    }
    return false;
}

/* One of `messages`, or of the items of `input`. */
static bool
read_message(struct reader *reader, struct json_value message, struct buf *last_user)
{
    struct json_value role = { 0 };
    struct json_value type = { 0 };
    struct json_value content = { 0 };
    if (message.type != JSON_OBJECT) {
        return refuse(reader, "messages: an item is no object");
    }
    const bool has_role = json_get(message.text, "role", &role);
    const bool has_content = json_get(message.text, "content", &content);
    const bool is_call_output = json_get(message.text, "type", &type)
                                && (json_says(type, SLICE("function_call_output"))
                                    || json_says(type, SLICE("custom_tool_call_output")));
    const bool is_user = has_role && json_says(role, SLICE("user"));

    /* What follows a tool's result but says nothing of the user's does not hide it. */
    if (is_call_output || (has_role && json_says(role, SLICE("tool")))
        || (has_content && has_tool_result(content))) {
        reader->ask->is_last_tool_result = true;
    } else if (is_user) {
        reader->ask->is_last_tool_result = false;
    }
    if (is_user && has_content) {
        buf_clear(last_user);
        return add_content(reader, content, last_user);
    }
    return true;
}

static bool
read_messages(struct reader *reader, struct json_value messages)
{
    struct buf last_user = { 0 };
    struct json_cursor cursor;
    bool fine = true;
    json_start(&cursor, messages.text);
    if (messages.type == JSON_STRING) {
        return copy_string(reader, messages, &reader->ask->last_user);
    }
    if (!json_enter(&cursor, '[')) {
        return refuse(reader, "messages: no array");
    }
    while (fine && json_next_item(&cursor)) {
        struct json_value message;
        fine = json_take(&cursor, &message) && read_message(reader, message, &last_user);
    }
    if (fine) {
        reader->ask->last_user = arena_copy(reader->arena, buf_slice(&last_user));
        fine = reader->ask->last_user.ptr != NULL && !last_user.failed;
    }
    buf_free(&last_user);
    return fine || refuse(reader, reader->why ? reader->why : "the mock is out of memory");
}

/* The name of the first tool that has one: chat nests it in `function`. */
static bool
read_tools(struct reader *reader, struct json_value tools)
{
    struct json_cursor cursor;
    json_start(&cursor, tools.text);
    if (!json_enter(&cursor, '[')) {
        return tools.type == JSON_NULL || refuse(reader, "tools: no array");
    }
    while (json_next_item(&cursor)) {
        struct json_value tool;
        struct json_value name;
        if (!json_take(&cursor, &tool)) {
            break;
        }
        const bool named =
            tool.type == JSON_OBJECT
            && (json_get(tool.text, "function.name", &name) || json_get(tool.text, "name", &name));
        if (named && name.type == JSON_STRING) {
            return copy_string(reader, name, &reader->ask->tool_name);
        }
    }
    return true;
}

static int64_t
count_numbers(struct json_value list)
{
    struct json_cursor cursor;
    struct json_value item;
    int64_t count = 0;
    json_start(&cursor, list.text);
    if (json_enter(&cursor, '[')) {
        while (json_next_item(&cursor) && json_take(&cursor, &item)) {
            count += item.type == JSON_NUMBER;
        }
    }
    return count;
}

/* How many texts an `input` of embeddings holds: a string or array of token ids is one. */
static bool
count_inputs(struct reader *reader, struct json_value input)
{
    struct json_cursor cursor;
    reader->ask->input_count = 1;
    json_start(&cursor, input.text);
    if (!json_enter(&cursor, '[')) {
        return input.type == JSON_STRING || refuse(reader, "input: neither a string nor an array");
    }
    int64_t count = 0;
    while (json_next_item(&cursor)) {
        struct json_value item;
        if (!json_take(&cursor, &item)) {
            break;
        }
        count += item.type == JSON_NUMBER && count > 0 ? 0 : 1;
        reader->ask->token_count += item.type == JSON_NUMBER ? 1 : count_numbers(item);
    }
    reader->ask->input_count = count;
    return count > 0 || refuse(reader, "input: it is empty");
}

static bool
read_conversation(struct reader *reader, struct json_value value)
{
    struct json_value id;
    if (value.type == JSON_OBJECT && json_get(value.text, "id", &id)) {
        value = id;
    }
    return read_string(reader, value, &reader->ask->conversation, "conversation: no id");
}

static bool
read_stream_options(struct reader *reader, struct json_value value)
{
    struct json_value asked;
    if (value.type != JSON_OBJECT) {
        return value.type == JSON_NULL || refuse(reader, "stream_options: no object");
    }
    return !json_get(value.text, "include_usage", &asked)
           || read_flag(reader, asked, &reader->ask->include_usage,
               "stream_options.include_usage: no boolean");
}

static bool
read_choices(struct reader *reader, struct json_value value)
{
    int64_t count = 0;
    return value.type == JSON_NULL || json_to_i64(value, 1, 1, &count)
           || refuse(reader, "n: the mock makes one choice");
}

static bool
read_openai(struct reader *reader, struct slice key, struct json_value value)
{
    struct mock_ask *ask = reader->ask;
    if (ask->api == API_CHAT) {
        if (json_key_is(key, SLICE("messages"))) {
            return read_messages(reader, value);
        }
        if (json_key_is(key, SLICE("max_tokens"))
            || json_key_is(key, SLICE("max_completion_tokens"))) {
            return read_limit(reader, value, 1, "max_tokens: no positive integer");
        }
        if (json_key_is(key, SLICE("stream_options"))) {
            return read_stream_options(reader, value);
        }
        return !json_key_is(key, SLICE("n")) || read_choices(reader, value);
    }
    if (ask->api == API_EMBEDDINGS) {
        if (json_key_is(key, SLICE("input"))) {
            return count_inputs(reader, value);
        }
        if (json_key_is(key, SLICE("encoding_format"))) {
            ask->base64 = json_says(value, SLICE("base64"));
        }
        return !json_key_is(key, SLICE("dimensions"))
               || json_to_i64(value, 1, 4096, &ask->dimension_count)
               || refuse(reader, "dimensions: not 1 to 4096");
    }
    if (json_key_is(key, SLICE("input"))) {
        ask->input = value.text;
        return read_messages(reader, value);
    }
    if (json_key_is(key, SLICE("max_output_tokens"))) {
        return read_limit(reader, value, 1, "max_output_tokens: no positive integer");
    }
    if (json_key_is(key, SLICE("previous_response_id"))) {
        return read_string(
            reader, value, &ask->previous_response_id, "previous_response_id: no string");
    }
    if (json_key_is(key, SLICE("conversation"))) {
        return read_conversation(reader, value);
    }
    return !json_key_is(key, SLICE("store"))
           || read_flag(reader, value, &ask->store, "store: no boolean");
}

static bool
read_anthropic(struct reader *reader, struct slice key, struct json_value value)
{
    if (json_key_is(key, SLICE("messages"))) {
        return read_messages(reader, value);
    }
    return !json_key_is(key, SLICE("max_tokens"))
           || read_limit(reader, value, 1, "max_tokens: no positive integer");
}

static bool
read_member(struct reader *reader, struct slice key, struct json_value value)
{
    struct mock_ask *ask = reader->ask;
    if (json_key_is(key, SLICE("model"))) {
        return read_string(reader, value, &ask->model, "model: no string");
    }
    if (json_key_is(key, SLICE("stream"))) {
        return read_flag(reader, value, &ask->stream, "stream: no boolean");
    }
    if (json_key_is(key, SLICE("tools"))) {
        return read_tools(reader, value);
    }
    return api_dialect(ask->api) == DIALECT_ANTHROPIC ? read_anthropic(reader, key, value)
                                                      : read_openai(reader, key, value);
}

bool
mock_ask_read(
    struct mock_ask *ask, enum api api, struct slice body, struct arena *arena, const char **why)
{
    *ask = (struct mock_ask){
        .api = api,
        .store = true,
        .output_limit = MOCK_NO_LIMIT,
        .body_bytes = (int64_t)body.len,
    };
    struct reader reader = { .ask = ask, .arena = arena };
    struct json_cursor cursor;
    struct slice key;
    struct json_value value;
    json_start(&cursor, body);
    if (!json_enter(&cursor, '{')) {
        *why = "We could not parse the JSON body of your request: it is no object.";
        return false;
    }
    while (json_next_member(&cursor, &key)) {
        if (json_take(&cursor, &value) && !read_member(&reader, key, value)) {
            *why = reader.why;
            return false;
        }
    }
    if (!json_finish(&cursor)) {
        *why = "We could not parse the JSON body of your request.";
        return false;
    }
    if (ask->model.len == 0) {
        *why = "you must provide a model parameter";
        return false;
    }
    if (api == API_MESSAGES && ask->output_limit == MOCK_NO_LIMIT) {
        *why = "max_tokens: Field required";
        return false;
    }
    return true;
}
