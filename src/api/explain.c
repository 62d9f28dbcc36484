/* api/explain.c: what the gate would say to a call that is described, not made. */
#include "api/api_priv.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/secret.h"
#include "wire/facts.h"
#include "wire/json.h"

/* A call as it is described. */
struct question {
    char account[NAME_MAX_BYTES + 1], model[NAME_MAX_BYTES + 1], api[NAME_MAX_BYTES + 1];
    char thread[NAME_MAX_BYTES + 1], parent[NAME_MAX_BYTES + 1];
    char organisation[NAME_MAX_BYTES + 1];
    int64_t key_id, body_bytes, output_limit, answers, price_pct, spend_limit_micros;
    bool stream;
    struct slice body, tags;
};

/* --- Who asks, and for whom. */

struct key_search {
    int64_t wanted_id, now_ms, key_id;
};

/* One that may call: that which is named, else the first. */
static bool
take_key(void *user, const struct key_row *row)
{
    struct key_search *search = user;
    const bool over = row->revoked || (row->expires_ms && row->expires_ms <= search->now_ms);
    const bool fits =
        search->wanted_id ? row->key_id == search->wanted_id : !over && row->role != ROLE_OBSERVER;
    if (fits) {
        search->key_id = row->key_id;
    }
    return !fits;
}

/* The account and the key of the call; false: answered. What is not one's own is not there. */
static bool
find_caller(struct api_worker *worker, struct ask *ask, const struct question *question,
    struct call_event *call)
{
    struct key_search search = { question->key_id, ask->now_ms, 0 };
    int64_t account_id = 0;
    if (!ask->may_read_all) {
        const struct account_name *own = names_by_id(&worker->names, ask->identity.account_id);
        if (question->account[0] && (!own || strcmp(own->name, question->account) != 0)) {
            answer_reason(ask, REASON_ACCOUNT_UNKNOWN);
            return false;
        }
        account_id = ask->identity.account_id;
        search.wanted_id = question->key_id ? question->key_id : ask->identity.key_id;
    } else if (!question->account[0] && !question->key_id) {
        answer_field(ask, API_FAULT_FIELD, "account", "is missing");
        return false;
    } else if (!names_id_of(worker, ask, question->account, &account_id)) {
        return false;
    }
    /* A service's key may speak for the account without being its own. */
    const int64_t of_id = question->key_id && ask->may_read_all ? 0 : account_id;
    if (store_read_keys(worker->reader, of_id, take_key, &search) != STATUS_OK) {
        worker_read_failed(worker, ask);
        return false;
    }
    if (!search.key_id && question->key_id) {
        answer_fault(ask, API_FAULT_KEY_UNKNOWN, NULL);
        return false;
    }
    call->account_id = account_id;
    call->key_id = search.key_id;
    return true;
}

struct owner_search {
    int64_t key_id, account_id;
};

static bool
take_owner(void *user, const struct key_row *row)
{
    struct owner_search *search = user;
    if (row->key_id == search->key_id) {
        search->account_id = row->account_id;
    }
    return !search->account_id;
}

/* A key alone names its account, too. False: answered. */
static bool
find_owner(struct api_worker *worker, struct ask *ask, struct call_event *call)
{
    struct owner_search search = { call->key_id, 0 };
    if (call->account_id) {
        return true;
    }
    if (store_read_keys(worker->reader, 0, take_owner, &search) != STATUS_OK) {
        worker_read_failed(worker, ask);
        return false;
    }
    call->account_id = search.account_id;
    return true;
}

/* --- What is asked for. */

static bool
find_api(const char *word, enum api *api)
{
    for (int i = 0; i < API_COUNT; i++) {
        if (strcmp(api_word((enum api)i), word) == 0) {
            *api = (enum api)i;
            return true;
        }
    }
    return false;
}

/* The first format in which the model is served, where none is named. */
static enum api
api_of_model(const struct policy *policy, const struct model *model)
{
    for (int api = 0; api < API_COUNT; api++) {
        for (int32_t i = 0; api != API_COUNT_TOKENS && i < model->route_count; i++) {
            if (policy_serves(policy, &model->routes[i], (enum api)api)) {
                return (enum api)api;
            }
        }
    }
    return API_CHAT;
}

/* Those that are left alone just now. */
static uint32_t
routes_cooling(
    const struct api_worker *worker, const struct policy *policy, const struct model *model)
{
    struct relay_route resting[ROUTES_SHOWN];
    struct relay *relay = worker->api->options.relay;
    const int count = relay ? relay_routes_resting(relay, resting, ROUTES_SHOWN) : 0;
    uint32_t closed = 0;
    for (int32_t i = 0; i < model->route_count; i++) {
        const struct route *route = &model->routes[i];
        const char *provider = policy->providers[route->provider].name;
        for (int k = 0; k < count; k++) {
            const bool same = strcmp(resting[k].provider, provider) == 0
                              && strcmp(resting[k].model, route->model) == 0;
            closed |= (uint32_t)(same && resting[k].cooling) << i;
        }
    }
    return closed;
}

static bool
is_tag(const struct policy *policy, struct slice name)
{
    for (int32_t i = 0; i < policy->tag_count; i++) {
        if (slice_eq(name, slice_str(policy->tags[i].name))) {
            return true;
        }
    }
    return false;
}

/* A name that is no tag would change nothing, and leave who asked in the belief that it did. False: answered. */
static bool
tags_are_known(struct ask *ask, const struct policy *policy, struct slice tags)
{
    struct json_cursor cursor;
    struct slice raw;
    json_start(&cursor, tags);
    if (tags.len == 0) {
        return true;
    }
    if (!json_enter(&cursor, '{')) {
        answer_field(
            ask, API_FAULT_FIELD, "tags", "must be an object such as {\"team\": \"search\"}");
        return false;
    }
    while (json_next_member(&cursor, &raw)) {
        char name[64];
        char why[160];
        size_t len = 0;
        struct json_value value;
        const bool read =
            json_take(&cursor, &value) && json_unescape(raw, name, sizeof(name), &len);
        if (!read || !is_tag(policy, slice_of(name, len))) {
            (void)snprintf(why, sizeof(why),
                "names %s%.*s%s, which the configuration has no tag for", read ? "'" : "something",
                read ? (int)len : 0, read ? name : "", read ? "'" : "");
            answer_field(ask, API_FAULT_FIELD, "tags", why);
            return false;
        }
    }
    return true;
}

/* Values of the policy's tags, from {"team": "search"}. False: answered. */
static bool
take_tags(struct ask *ask, const struct policy *policy, struct slice tags, struct call_event *call)
{
    if (!tags_are_known(ask, policy, tags)) {
        return false;
    }
    struct arena arena = { 0 };
    bool taken = true;
    for (int32_t i = 0; tags.len > 0 && i < policy->tag_count && taken; i++) {
        struct json_value value;
        taken = !json_get(tags, policy->tags[i].name, &value)
                || relay_tag_of_json(value, &arena, call->tags[i]);
    }
    arena_free(&arena);
    if (!taken) {
        answer_field(
            ask, API_FAULT_FIELD, "tags", "has a value that is no text, number, true or false");
    }
    return taken;
}

/* As relay/gate.c: what a body says. False: answered. */
static bool
take_body(struct ask *ask, enum api api, struct slice body, struct question *question,
    struct call_event *call)
{
    struct arena arena = { 0 };
    struct facts facts;
    struct facts_fault fault = { 0 };
    const enum reason reason = facts_read(api, body, &arena, &facts, &fault);
    if (reason == REASON_OK) {
        (void)slice_to_cstr(facts.model, question->model, sizeof(question->model));
        const int64_t pct = facts_price_multiplier_pct(&facts);
        call->stream = facts.stream;
        call->body_bytes = (int64_t)body.len;
        call->input_bytes_bound = facts_input_tokens_bound(&facts);
        call->input_counted = facts.input_tokens;
        call->input_unbounded = facts_input_unbounded(&facts);
        call->output_limit = facts.output_limit;
        call->output_floor = facts.thinking_budget ? facts.thinking_budget + 1 : 0;
        call->output_count = facts.answers;
        call->price_multiplier_pct = pct ? pct : 200;
        const struct slice by = facts_unbounded_by(&facts);
        call->cannot_bound = by.len > 0;
        (void)slice_to_cstr(by, call->unbounded_by, sizeof call->unbounded_by);
    } else {
        answer_error(ask, 400, reason_row(reason)->code, "body: %s", fault.detail);
    }
    arena_free(&arena);
    return reason == REASON_OK;
}

static void
take_figures(const struct question *question, struct call_event *call)
{
    call->stream = question->stream;
    call->body_bytes = question->body_bytes;
    call->input_bytes_bound = question->body_bytes; /* no token is shorter than a byte */
    call->output_limit = question->output_limit;
    call->output_count = max_i64(1, question->answers);
    call->price_multiplier_pct = question->price_pct ? question->price_pct : 100;
}

/* As relay/gate.c: named, else one a key and day. */
static void
take_thread(const unsigned char *hash_key, const struct question *question, struct call_event *call)
{
    char day[160];
    const bool named = question->thread[0];
    call->thread_kind = named ? THREAD_NAMED : THREAD_KEY_DAY;
    call->thread_named = named;
    (void)snprintf(day, sizeof(day), "%lld:%lld:%s", (long long)call->key_id,
        (long long)(clock_wall_ms() / DAY_MS), question->parent);
    secret_keyed_hash_hex(hash_key, slice_str(named ? question->thread : day), call->thread_hash);
    if (question->parent[0]) {
        secret_keyed_hash_hex(hash_key, slice_str(question->parent), call->parent_hash);
    }
}

/* The model, and the routes that may serve it. False: answered. */
static bool
take_model(const struct api_worker *worker, struct ask *ask, const struct policy *policy,
    const struct question *question, struct call_event *call)
{
    enum api api = API_CHAT;
    call->model_index = policy_model_index(policy, slice_str(question->model));
    if (call->model_index < 0) {
        answer_reason(ask, REASON_MODEL_UNKNOWN);
        return false;
    }
    const struct model *model = &policy->models[call->model_index];
    if (!question->api[0]) {
        api = api_of_model(policy, model);
    } else if (!find_api(question->api, &api)) {
        answer_field(ask, API_FAULT_FIELD, "api",
            "must be chat, responses, messages, count_tokens or embeddings");
        return false;
    }
    const uint32_t unfit = policy_routes_unfit(policy, model, api);
    if (unfit == (UINT32_C(1) << model->route_count) - 1) {
        answer_reason(ask, REASON_API_NOT_SERVED);
        return false;
    }
    call->api = (int32_t)api;
    call->routes_closed = unfit | routes_cooling(worker, policy, model);
    return true;
}

/* False: answered. */
static bool
call_of_question(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    struct question *question, struct call_event *call)
{
    enum api api = API_CHAT;
    call->policy_ver = policy->version;
    if (question->body.len > 0) {
        (void)find_api(question->api, &api);
        if (!take_body(ask, api, question->body, question, call)) {
            return false;
        }
    } else if (!question->model[0]) {
        answer_field(ask, API_FAULT_FIELD, "model", "is missing");
        return false;
    } else {
        take_figures(question, call);
    }
    (void)slice_to_cstr(
        slice_str(question->organisation), call->organisation, sizeof(call->organisation));
    call->spend_limit_micros = question->spend_limit_micros;
    if (!take_model(worker, ask, policy, question, call)
        || !take_tags(ask, policy, question->tags, call)
        || !find_caller(worker, ask, question, call) || !find_owner(worker, ask, call)) {
        return false;
    }
    take_thread(engine_signal_key(worker->api->options.engine), question, call);
    return true;
}

static void
answer_explained(struct api_worker *worker, struct ask *ask, const struct event *event,
    const struct question *question)
{
    struct buf told = { 0 };
    const struct account_name *account = names_by_id(&worker->names, event->call.account_id);
    const enum status status =
        engine_explain(worker->api->options.engine, event, ask->may_read_all, &told);
    if (status == STATUS_IO) {
        answer_reason(ask, REASON_STORE_UNAVAILABLE);
    } else if (status == STATUS_CLOSED) {
        answer_reason(ask, REASON_DRAINING);
    } else if (status != STATUS_OK) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
    } else {
        struct buf *out = answer_begin(ask, 200);
        put_text_or_null(out, "account", account ? account->name : NULL);
        put_text_or_null(out, "plan", account ? account->plan : NULL);
        put_id(out, "key", "key_", event->call.key_id);
        put_text(out, "asked_model", question->model);
        put_text(out, "api", api_word((enum api)event->call.api));
        buf_add_char(out, ',');
        buf_add_slice(out, buf_slice(&told));
        answer_end(ask);
    }
    buf_free(&told);
}

void
post_explain(struct api_worker *worker, struct ask *ask)
{
    struct event event = { .kind = EVENT_CALL, .call = { .output_limit = -1 } };
    struct question question = { .output_limit = -1, .body_bytes = 1000, .stream = true };
    const struct field fields[] = {
        { "account", FIELD_NAME, question.account },
        { "key", FIELD_ID, &question.key_id, .prefix = "key_" },
        { "model", FIELD_NAME, question.model },
        { "api", FIELD_NAME, question.api },
        { "thread", FIELD_NAME, question.thread },
        { "parent", FIELD_NAME, question.parent },
        { "organisation", FIELD_NAME, question.organisation },
        { "tags", FIELD_JSON, &question.tags },
        { "body", FIELD_JSON, &question.body },
        { "body_bytes", FIELD_COUNT, &question.body_bytes, .max = INT64_C(1) << 30 },
        { "output_limit", FIELD_COUNT, &question.output_limit, .max = TOKENS_MAX },
        { "answers", FIELD_COUNT, &question.answers, .max = 128 },
        { "price_pct", FIELD_COUNT, &question.price_pct, .max = MULTIPLIER_PCT_MAX },
        { "spend_limit_micros", FIELD_COUNT, &question.spend_limit_micros,
            .max = MONEY_MICROS_MAX },
        { "stream", FIELD_BOOL, &question.stream },
    };
    if (!fields_of_body(ask, fields, countof(fields)) || !names_ready(worker, ask)) {
        return;
    }
    struct policy *policy = engine_policy(worker->api->options.engine);
    if (call_of_question(worker, ask, policy, &question, &event.call)) {
        answer_explained(worker, ask, &event, &question);
    }
    engine_policy_unref(worker->api->options.engine, policy);
}
