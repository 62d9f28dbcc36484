/* mock/judge.c: what becomes of a call: refused, failed as its words ask, or accepted. */
#include "mock/serve_priv.h"

#include <stdio.h>

#include "wire/json.h"

bool
mock_behaviour_of(struct mock_call *call, struct slice model, struct mock_behaviour *behaviour,
    struct mock_behaviour_fault *fault)
{
    const struct mock_config *config = &call->mock->config;
    struct slice own = { 0 };
    *behaviour = mock_behaviour_default();
    if (!mock_behaviour_of_model(model, &own)) {
        own = mock_config_of_model(config, model);
        if (config->words && !mock_behaviour_read(behaviour, slice_str(config->words), fault)) {
            return false;
        }
    }
    return mock_behaviour_read(behaviour, call->front_words, fault)
           && mock_behaviour_read(behaviour, own, fault);
}

void
mock_refuse(
    struct mock_call *call, int status, const char *code, const char *param, const char *message)
{
    struct buf *out = &call->mock->out;
    buf_clear(out);
    mock_refusal_body(api_dialect(call->api), status, code, param, message, call->serial, out);
    mock_call_answer(call, status, "application/json", SLICE(""), buf_slice(out));
}

/* The error that the words ask for. */
static void
fail(struct mock_call *call)
{
    const int status = mock_behaviour_error_status(&call->behaviour);
    struct buf *out = &call->mock->out;
    buf_clear(out);
    if (call->behaviour.html) {
        mock_error_html(status, out);
        mock_call_answer(call, status, "text/html", SLICE(""), buf_slice(out));
        return;
    }
    mock_error_body(api_dialect(call->api), &call->behaviour, status, NULL, call->serial, out);
    mock_call_answer(call, status, "application/json", SLICE(""), buf_slice(out));
}

/* What the words are for counting failures: model and front, so that equal words count together. */
static bool
fails_now(struct mock_call *call)
{
    const struct mock_behaviour *behaviour = &call->behaviour;
    if (mock_behaviour_error_status(behaviour) == 0 || behaviour->error_after >= 0) {
        return false; /* none, or it comes within the stream */
    }
    if (behaviour->fail_first == 0) {
        return true;
    }
    struct buf words = { 0 };
    buf_add_slice(&words, call->front_words);
    buf_add_char(&words, '\n');
    buf_add_slice(&words, call->ask.model);
    const int64_t seen = mock_state_count(&call->mock->state, buf_slice(&words));
    buf_free(&words);
    return seen < behaviour->fail_first;
}

/* Embeddings and counted tokens: no tokens of their own, so answered at once. */
static void
answer_plain(struct mock_call *call)
{
    struct buf *out = &call->mock->out;
    const struct mock_bill bill = mock_ask_input(&call->ask, &call->behaviour, 0);
    buf_clear(out);
    if (call->api == API_EMBEDDINGS) {
        call->entry->bill = bill;
        mock_embeddings(&call->ask, bill, call->behaviour.usage, out);
    } else {
        mock_count_tokens(bill, out);
    }
    mock_call_answer(call, 200, "application/json", SLICE(""), buf_slice(out));
}

/* What an item of `input` names that the request does not hold itself; empty = nothing. */
static struct slice
reference_of(struct slice item)
{
    struct json_value type, id, told;
    const bool typed = json_get(item, "type", &type) && type.type == JSON_STRING;
    const bool refers =
        typed ? json_says(type, SLICE("item_reference")) : !json_get(item, "role", &type);
    const bool reasons =
        typed && json_says(type, SLICE("reasoning")) && !json_get(item, "content.0", &told)
        && !(json_get(item, "encrypted_content", &told) && told.type == JSON_STRING);
    const bool named = json_get(item, "id", &id) && id.type == JSON_STRING;
    return named && (refers || reasons) ? json_inside(id) : slice_of(NULL, 0);
}

/* Adds what items weigh that are named by their ids. False: refused, and the call is over. */
static bool
find_items(struct mock_call *call, int64_t *context_tokens)
{
    struct json_cursor cursor;
    struct json_value item;
    char message[256];
    json_start(&cursor, call->ask.input);
    if (!json_enter(&cursor, '[')) {
        return true;
    }
    while (json_next_item(&cursor) && json_take(&cursor, &item)) {
        const struct slice id =
            item.type == JSON_OBJECT ? reference_of(item.text) : slice_of(NULL, 0);
        const struct mock_response *known =
            id.len ? mock_state_find(&call->mock->state, id, call->entry->credential) : NULL;
        if (id.len && !known) {
            snprintf(message, sizeof message, "Item with id '%.*s' not found.",
                (int)min_i64((int64_t)id.len, 128), id.ptr);
            mock_refuse(call, 404, NULL, "input", message);
            return false;
        }
        *context_tokens += known ? known->context_tokens : 0;
    }
    return true;
}

/* The response that a call goes on from. False: refused, and the call is over. */
static bool
find_previous(struct mock_call *call, int64_t *context_tokens)
{
    const struct slice id = call->ask.previous_response_id;
    char message[256];
    if (id.len == 0) {
        return true;
    }
    const struct mock_response *response =
        mock_state_find(&call->mock->state, id, call->entry->credential);
    if (!response) {
        snprintf(message, sizeof message, "Previous response with id '%.*s' not found.",
            (int)min_i64((int64_t)id.len, 128), id.ptr);
        mock_refuse(call, 400, "previous_response_not_found", "previous_response_id", message);
        return false;
    }
    *context_tokens += response->context_tokens;
    return true;
}

/* The context that a Responses call refers to. False: refused, and the call is over. */
static bool
find_context(struct mock_call *call, int64_t *context_tokens)
{
    const struct mock_ask *ask = &call->ask;
    char message[256];
    *context_tokens = 0;
    if (ask->conversation.len) {
        snprintf(message, sizeof message, "Conversation with id '%.*s' not found.",
            (int)min_i64((int64_t)ask->conversation.len, 128), ask->conversation.ptr);
        mock_refuse(call, 404, NULL, "conversation", message);
        return false;
    }
    return find_previous(call, context_tokens) && find_items(call, context_tokens);
}

static void
accept(struct mock_call *call)
{
    static const char *const prefixes[] = {
        [API_CHAT] = "chatcmpl-", [API_RESPONSES] = "resp_", [API_MESSAGES] = "msg_"
    };
    int64_t context_tokens = 0;
    if (!find_context(call, &context_tokens)) {
        return;
    }
    if (!mock_answer_plan(
            &call->answer, &call->behaviour, &call->ask, context_tokens, &call->arena)) {
        mock_refuse(call, 500, "out_of_memory", NULL, "The mock is out of memory.");
        return;
    }
    snprintf(call->id, sizeof call->id, "%s%s", prefixes[call->api], call->serial);
    call->answer.id = call->id;
    call->answer.serial = call->serial;
    call->answer.created_s = call->entry->at_ms / SECOND_MS;
    buf_free(&call->body); /* all that is needed of it lies in the arena */
    mock_tell(call);
}

/* The words of faults that need no answer, then of those that do. */
static void
begin(struct mock_call *call)
{
    const struct mock_behaviour *behaviour = &call->behaviour;
    const bool fails = fails_now(call);
    if ((fails || behaviour->hang || behaviour->cut_before) && behaviour->bill_failed) {
        call->entry->bill = mock_ask_input(&call->ask, behaviour, 0);
    }
    if (behaviour->hang) {
        return; /* until the client goes away */
    }
    if (behaviour->cut_before) {
        mock_call_drop(call);
        return;
    }
    const bool is_plain = call->api == API_EMBEDDINGS || call->api == API_COUNT_TOKENS;
    void (*const next)(struct mock_call *) = fails ? fail : is_plain ? answer_plain : accept;
    if (next != accept && behaviour->ttft_ms > 0) {
        mock_call_later(call, behaviour->ttft_ms, next);
        return;
    }
    if (behaviour->events == MOCK_EVENTS_WHOLE || behaviour->events == MOCK_EVENTS_STREAMED) {
        call->ask.stream = behaviour->events == MOCK_EVENTS_STREAMED;
    }
    next(call); /* an answer waits for ttft_ms in its own way */
}

/* GET /models: a few names of each family, and those that are configured. */
static void
list_models(struct mock_call *call)
{
    static const char *const names[] = { "mock:tokens=20", "mock:tokens=200,tps=50", "gpt-5.5",
        "claude-sonnet-5", "glm-5.2", "text-embedding-3-small" };
    const struct mock_config *config = &call->mock->config;
    const bool is_anthropic =
        http_find(net_exchange_head(call->exchange), SLICE("anthropic-version")) != NULL;
    struct buf *out = &call->mock->out;
    call->api = is_anthropic ? API_MESSAGES : API_CHAT;
    buf_clear(out);
    buf_add_str(out, is_anthropic ? "{\"data\":[" : "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < countof(names) + config->model_count; i++) {
        const struct slice name =
            slice_str(i < countof(names) ? names[i] : config->models[i - countof(names)].name);
        buf_add_str(out, i ? ",{" : "{");
        buf_add_str(out, is_anthropic ? "\"type\":\"model\",\"id\":" : "\"id\":");
        buf_add_json(out, name);
        if (is_anthropic) {
            buf_add_str(out, ",\"display_name\":");
            buf_add_json(out, name);
            buf_add_str(out, ",\"created_at\":\"2026-01-01T00:00:00Z\"}");
        } else {
            buf_add_str(out, ",\"object\":\"model\",\"created\":1767225600,\"owned_by\":\"mock\"}");
        }
    }
    buf_add_str(out, is_anthropic
                         ? "],\"has_more\":false,\"first_id\":\"mock:tokens=20\",\"last_id\":null}"
                         : "]}");
    mock_call_answer(call, 200, "application/json", SLICE(""), buf_slice(out));
}

void
mock_judge(struct mock_call *call)
{
    struct mock_entry *entry = call->entry;
    struct mock_behaviour_fault fault;
    const char *why = NULL;
    if (!mock_config_takes(&call->mock->config, entry->credential)) {
        mock_refuse(call, 401, "invalid_api_key", NULL,
            entry->credential.len ? "Incorrect API key provided."
                                  : "You didn't provide an API key.");
        return;
    }
    if (call->kind == MOCK_MODELS) {
        list_models(call);
        return;
    }
    if (!mock_ask_read(&call->ask, call->api, buf_slice(&call->body), &call->arena, &why)) {
        mock_refuse(call, 400, NULL, NULL, why);
        return;
    }
    mock_journal_model(&call->mock->journal, entry, call->ask.model);
    entry->stream = call->ask.stream;
    entry->output_limit = call->ask.output_limit;

    /* The words must outlive a change of the configuration: they are read from copies. */
    struct mock_behaviour behaviour;
    if (!mock_behaviour_of(call, call->ask.model, &behaviour, &fault)) {
        mock_refuse(call, 400, "invalid_mock_behaviour", "model", fault.text);
        return;
    }
    if (!mock_behaviour_keep(&behaviour, &call->arena)) {
        mock_refuse(call, 500, "out_of_memory", NULL, "The mock is out of memory.");
        return;
    }
    call->behaviour = behaviour;
    if (behaviour.refuse) {
        mock_call_drop(call);
        return;
    }
    begin(call);
}
