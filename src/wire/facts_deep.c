/* wire/facts_deep.c: what the gateway looks for inside messages and tools, and what follows from
 * the facts for bounds and prices. Only known places are looked at: an argument of somebody's own
 * tool may be called file_id too. */
#include "wire/facts_priv.h"
#include "wire/items.h"

/* Parts lie at most so deep in any request: message, content, tool result, content, source. */
#define PART_DEPTH_MAX 8

/* Above any chat template's own tokens for a message, a tool, and for having tools at all. */
#define MESSAGE_TOKENS 16
#define TOOL_TOKENS    64
#define TOOLS_TOKENS   1024
#define CALL_TOKENS    64

static bool
is_one_of(struct slice raw, const struct slice *words, size_t word_count)
{
    for (size_t i = 0; i < word_count; i++) {
        if (json_key_is(raw, words[i])) {
            return true;
        }
    }
    return false;
}

static void
note_foreign(struct facts_reader *reader, struct slice field)
{
    if (reader->facts->foreign_id_field.len == 0) {
        reader->facts->foreign_id_field = field;
    }
}

/* An id, or a list of them, that names something stored at the provider. */
static void
pass_foreign(struct facts_reader *reader, struct slice field)
{
    struct json_value value;
    if (!json_take(&reader->cursor, &value)) {
        return;
    }
    const bool list = value.type == JSON_ARRAY && json_get(value.text, "0", &value);
    if (list || value.type == JSON_STRING) {
        note_foreign(reader, field);
    }
}

/* ---- messages ---- */

/* Parts whose tokens their bytes bound. Whatever else there is may stand for more than it
 * weighs. */
static const struct slice text_types[] = {
    { "text", 4 },
    { "input_text", 10 },
    { "output_text", 11 },
    { "message", 7 },
    { "tool_use", 8 },
    { "tool_result", 11 },
    { "thinking", 8 },
    { "redacted_thinking", 17 },
    { "function_call", 13 },
    { "function_call_output", 20 },
    { "reasoning", 9 },
    { "custom_tool_call", 16 },
    { "custom_tool_call_output", 23 },
    { "local_shell_call", 16 },
    { "local_shell_call_output", 23 },
    { "summary_text", 12 },
    { "reasoning_text", 14 },
    { "refusal", 7 },
    { "server_tool_use", 15 },
    { "web_search_tool_result", 22 },
    { "web_search_result", 17 },
    { "web_search_call", 15 },
};

static const struct slice part_places[] = {
    { "content", 7 },
    { "output", 6 },
};
static const struct slice source_places[] = {
    { "source", 6 },
    { "file", 4 },
    { "image_url", 9 },
    { "input_audio", 11 },
};

static void
pass_source(struct facts_reader *reader)
{
    if (!json_enter(&reader->cursor, '{')) {
        json_skip(&reader->cursor);
        return;
    }
    struct slice key;
    while (json_next_member(&reader->cursor, &key)) {
        if (json_key_is(key, SLICE("file_id"))) {
            pass_foreign(reader, SLICE("file_id"));
        } else {
            json_skip(&reader->cursor);
        }
    }
}

/* What an item is told by, when it may stand for something that lies at the provider. */
struct item_signs {
    struct json_value id;       /* JSON_NOTHING = none */
    struct json_value approved; /* the request of a tool that it answers, likewise */
    struct slice type;          /* between its quotes */
    bool typed, role;
    bool text, sealed; /* its content: for anybody to read; for its provider alone */
    bool twice;        /* two parsers could read it differently */
};

static void
pass_type(struct facts_reader *reader, struct item_signs *signs)
{
    struct json_value type;
    if (!json_take(&reader->cursor, &type) || type.type != JSON_STRING) {
        return; /* null is no type */
    }
    signs->twice |= signs->typed;
    signs->typed = true;
    signs->type = json_inside(type);
    reader->facts->media |= !is_one_of(json_inside(type), text_types, countof(text_types));
}

/* A spoken answer of before, named by its id. */
static void
pass_audio(struct facts_reader *reader)
{
    struct json_value audio, id;
    if (json_take(&reader->cursor, &audio) && json_get(audio.text, "id", &id)
        && id.type == JSON_STRING) {
        note_foreign(reader, SLICE("audio"));
    }
}

/* Takes a value and says whether there is one: null is none. */
static bool
pass_present(struct facts_reader *reader)
{
    struct json_value value;
    return json_take(&reader->cursor, &value) && value.type != JSON_NULL;
}

static void
pass_id(struct facts_reader *reader, struct item_signs *signs, struct json_value *id)
{
    struct json_value value;
    if (json_take(&reader->cursor, &value) && value.type != JSON_NULL) {
        signs->twice |= id->type != JSON_NOTHING;
        *id = value;
    }
}

/* A list with something in it. */
static bool
lists_something(const struct facts_reader *reader)
{
    struct json_cursor ahead = reader->cursor;
    return json_enter(&ahead, '[') && json_next_item(&ahead);
}

static void
note_id(struct facts_reader *reader, struct facts_id named)
{
    struct facts *facts = reader->facts;
    if (facts->id_count == FACTS_IDS_MAX) {
        (void)facts_refuse(reader, REASON_BODY_FIELD, SLICE("input"), 0,
            "it names more stored items than are taken; previous_response_id names all before it");
        return;
    }
    if (facts->id_count == facts->id_room) {
        const uint32_t room = facts->id_room ? facts->id_room * 4 : 16;
        struct facts_id *ids = arena_alloc(reader->arena, room * sizeof *ids);
        if (!ids) {
            (void)facts_refuse(reader, REASON_OVERLOADED, slice_of(NULL, 0), 0, "no memory");
            return;
        }
        if (facts->id_count > 0) {
            memcpy(ids, facts->ids, facts->id_count * sizeof *ids);
        }
        facts->ids = ids;
        facts->id_room = room;
    }
    facts->ids[facts->id_count++] = named;
}

static void
name_item(struct facts_reader *reader, struct json_value id, const struct item_signs *signs)
{
    struct facts_id named = { .told = signs->text && !signs->sealed };
    if (facts_decode(reader, json_inside(id), &named.id) && named.id.len > 0) {
        reader->facts->stored |= !signs->text && !signs->sealed;
        note_id(reader, named);
    }
}

/* The type of a reference is optional. In other APIs than Responses it is none, and an id is a label. */
static void
judge_item(struct facts_reader *reader, const struct item_signs *signs)
{
    const bool responses = reader->facts->api == API_RESPONSES;
    const bool label = signs->typed ? item_tells_itself(signs->type) : signs->role;
    const bool reference = signs->typed && json_key_is(signs->type, SLICE("item_reference"));
    const struct json_value ids[] = { signs->id, signs->approved };
    if (signs->twice) {
        (void)facts_refuse(reader, REASON_BODY_DUPLICATE_KEY, SLICE("input"), 0,
            "an item has its id or its type twice");
        return;
    }
    for (size_t i = label ? 1 : 0; i < countof(ids); i++) {
        if (responses && ids[i].type == JSON_STRING) {
            name_item(reader, ids[i], signs);
        } else if (ids[i].type != JSON_NOTHING && (responses || reference || !signs->typed)) {
            note_foreign(reader, SLICE("item_reference"));
        }
    }
}

static void pass_parts(struct facts_reader *reader, int depth);

static void
pass_part(struct facts_reader *reader, int depth)
{
    struct slice key;
    struct item_signs signs = { 0 };
    while (json_next_member(&reader->cursor, &key)) {
        if (json_key_is(key, SLICE("type"))) {
            pass_type(reader, &signs);
        } else if (json_key_is(key, SLICE("id"))) {
            pass_id(reader, &signs, &signs.id);
        } else if (json_key_is(key, SLICE("approval_request_id"))) {
            pass_id(reader, &signs, &signs.approved);
        } else if (json_key_is(key, SLICE("role"))) {
            signs.role = pass_present(reader);
        } else if (json_key_is(key, SLICE("encrypted_content"))) {
            signs.sealed |= pass_present(reader);
        } else if (json_key_is(key, SLICE("audio"))) {
            pass_audio(reader);
        } else if (json_key_is(key, SLICE("container_id"))) {
            pass_foreign(reader, SLICE("container_id"));
        } else if (json_key_is(key, SLICE("file_id"))) {
            pass_foreign(reader, SLICE("file_id"));
        } else if (is_one_of(key, part_places, countof(part_places))) {
            signs.text |= depth == 0 && lists_something(reader);
            pass_parts(reader, depth + 1);
        } else if (is_one_of(key, source_places, countof(source_places))) {
            pass_source(reader);
        } else {
            json_skip(&reader->cursor);
        }
    }
    if (depth == 0) {
        judge_item(reader, &signs);
    }
}

/* A text, a part, or a list of them. */
static void
pass_parts(struct facts_reader *reader, int depth)
{
    if (depth > PART_DEPTH_MAX) {
        reader->facts->media = true; /* not looked at, so not bounded */
        json_skip(&reader->cursor);
    } else if (json_enter(&reader->cursor, '{')) {
        pass_part(reader, depth);
    } else if (json_enter(&reader->cursor, '[')) {
        while (json_next_item(&reader->cursor)) {
            pass_parts(reader, depth + 1);
        }
    } else {
        json_skip(&reader->cursor);
    }
}

void
facts_pass_messages(struct facts_reader *reader)
{
    if (!json_enter(&reader->cursor, '[')) {
        reader->facts->message_count += json_peek(&reader->cursor) == JSON_STRING;
        pass_parts(reader, 0);
        return;
    }
    while (json_next_item(&reader->cursor)) {
        reader->facts->message_count++;
        pass_parts(reader, 0);
    }
}

/* ---- what is to be embedded ---- */

/* Token ids count themselves; text is bounded by its bytes; whatever else there is (pictures, at some
 * providers) by the context window alone. True for token ids. */
static bool
pass_input(struct facts_reader *reader, int64_t *token_count)
{
    const enum json_type type = json_peek(&reader->cursor);
    if (type == JSON_ARRAY && json_enter(&reader->cursor, '[')) {
        bool tokens = true;
        while (json_next_item(&reader->cursor)) {
            const bool token = json_peek(&reader->cursor) == JSON_NUMBER;
            *token_count += token;
            reader->facts->media |= !token;
            tokens = tokens && token;
            json_skip(&reader->cursor);
        }
        reader->facts->message_count++;
        return tokens;
    }
    reader->facts->message_count += type == JSON_STRING;
    reader->facts->media |= type != JSON_STRING && type != JSON_NUMBER;
    *token_count += type == JSON_NUMBER;
    json_skip(&reader->cursor);
    return type == JSON_NUMBER;
}

void
facts_pass_inputs(struct facts_reader *reader)
{
    int64_t token_count = 0;
    bool tokens = true;
    if (!json_enter(&reader->cursor, '[')) {
        tokens = pass_input(reader, &token_count);
    } else {
        while (json_next_item(&reader->cursor)) {
            tokens = pass_input(reader, &token_count) && tokens;
        }
    }
    reader->facts->input_tokens = tokens ? token_count : 0;
}

/* ---- tools ---- */

/* Tools that the client runs itself. Of Anthropic's the types end in a date. */
static const struct slice own_tools[] = {
    { "function", 8 },
    { "custom", 6 },
    { "local_shell", 11 },
    { "apply_patch", 11 },
};
static const struct slice own_tool_prefixes[] = {
    { "bash_", 5 },
    { "text_editor_", 12 },
    { "computer_20", 11 },
    { "memory_", 7 },
};

static bool
runs_at_client(struct slice type)
{
    if (is_one_of(type, own_tools, countof(own_tools))) {
        return true;
    }
    for (size_t i = 0; i < countof(own_tool_prefixes); i++) {
        if (slice_starts(type, own_tool_prefixes[i])) {
            return true;
        }
    }
    return false;
}

static void
pass_tool_type(struct facts_reader *reader)
{
    struct json_value type;
    if (!json_take(&reader->cursor, &type) || type.type != JSON_STRING) {
        return;
    }
    if (!runs_at_client(json_inside(type)) && reader->facts->server_tool.len == 0) {
        reader->facts->server_tool = json_inside(type);
    }
}

static void
pass_container(struct facts_reader *reader)
{
    if (!json_enter(&reader->cursor, '{')) {
        pass_foreign(reader, SLICE("container"));
        return;
    }
    struct slice key;
    while (json_next_member(&reader->cursor, &key)) {
        if (json_key_is(key, SLICE("file_ids")) || json_key_is(key, SLICE("id"))) {
            pass_foreign(reader, SLICE("container"));
        } else {
            json_skip(&reader->cursor);
        }
    }
}

static void
pass_tool(struct facts_reader *reader)
{
    if (!json_enter(&reader->cursor, '{')) {
        json_skip(&reader->cursor);
        return;
    }
    struct slice key;
    while (json_next_member(&reader->cursor, &key)) {
        if (json_key_is(key, SLICE("type"))) {
            pass_tool_type(reader);
        } else if (json_key_is(key, SLICE("container"))) {
            pass_container(reader);
        } else if (json_key_is(key, SLICE("file_ids"))) {
            pass_foreign(reader, SLICE("file_ids"));
        } else if (json_key_is(key, SLICE("vector_store_ids"))) {
            pass_foreign(reader, SLICE("vector_store_ids"));
        } else {
            json_skip(&reader->cursor);
        }
    }
}

void
facts_pass_tools(struct facts_reader *reader)
{
    if (!json_enter(&reader->cursor, '[')) {
        json_skip(&reader->cursor);
        return;
    }
    while (json_next_item(&reader->cursor)) {
        reader->facts->tools = true;
        reader->facts->tool_count++;
        pass_tool(reader);
    }
}

/* ---- what follows ---- */

struct slice
output_field_name(enum output_field field)
{
    static const struct slice names[OUTPUT_FIELD_COUNT] = {
        [OUTPUT_MAX_TOKENS] = { "max_tokens", 10 },
        [OUTPUT_MAX_COMPLETION_TOKENS] = { "max_completion_tokens", 21 },
        [OUTPUT_MAX_OUTPUT_TOKENS] = { "max_output_tokens", 17 },
    };
    check((unsigned)field < OUTPUT_FIELD_COUNT);
    return names[field];
}

int64_t
facts_input_tokens_bound(const struct facts *facts)
{
    if (facts->input_tokens > 0) {
        return facts->input_tokens;
    }
    return facts->input_bytes + facts->message_count * MESSAGE_TOKENS
           + facts->tool_count * TOOL_TOKENS + (facts->tools ? TOOLS_TOKENS : 0) + CALL_TOKENS;
}

bool
facts_input_unbounded(const struct facts *facts)
{
    return facts->media || facts->previous_response_id.len > 0 || facts->conversation.len > 0
           || facts->foreign_id_field.len > 0 || facts->stored || facts->server_tool.len > 0;
}

int64_t
facts_price_multiplier_pct(const struct facts *facts)
{
    return price_words_pct(facts->service_tier, facts->speed);
}

struct slice
facts_unbounded_by(const struct facts *facts)
{
    if (facts->unknown_field.len > 0) {
        return facts->unknown_field;
    }
    if (facts->priced_field.len > 0) {
        return facts->priced_field;
    }
    if (facts->server_tool.len > 0) {
        return facts->server_tool;
    }
    if (facts_price_multiplier_pct(facts) != 0) {
        return (struct slice){ 0 };
    }
    return price_words_pct(facts->service_tier, (struct slice){ 0 }) == 0 ? SLICE("service_tier")
                                                                          : SLICE("speed");
}

int64_t
price_words_pct(struct slice service_tier, struct slice speed)
{
    static const struct {
        struct slice word;
        int64_t pct; /* the dearest that any provider asks for it */
    } tiers[] = {
        { { "", 0 }, 100 }, { { "auto", 4 }, 100 }, { { "default", 7 }, 100 },
        { { "standard", 8 }, 100 }, { { "standard_only", 13 }, 100 }, { { "on_demand", 9 }, 100 },
        { { "flex", 4 }, 100 }, { { "batch", 5 }, 100 }, { { "priority", 8 }, 250 },
    }, speeds[] = {
        { { "", 0 }, 100 }, { { "standard", 8 }, 100 }, { { "fast", 4 }, 600 },
    };
    int64_t tier_pct = 0, speed_pct = 0;
    for (size_t i = 0; i < countof(tiers); i++) {
        tier_pct = slice_eq(tiers[i].word, service_tier) ? tiers[i].pct : tier_pct;
    }
    for (size_t i = 0; i < countof(speeds); i++) {
        speed_pct = slice_eq(speeds[i].word, speed) ? speeds[i].pct : speed_pct;
    }
    return tier_pct * speed_pct / 100;
}
