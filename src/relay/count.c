/* relay/count.c: the input of a call, counted by a provider that would serve it, where an estimate of it did not
 * fit (`input_estimate: counted`). Counting is free of charge and never metered. One that fails leaves the call to
 * be judged by the estimate: the gate is asked once more either way, and never a third time. */
#include "relay/relay_priv.h"

#include "base/check.h"
#include "log/log.h"
#include "wire/json.h"

#define COUNT_MS        (5 * SECOND_MS)
#define COUNT_BYTES_MAX ((size_t)64 << 10) /* of an answer that says one number */

/* What the endpoint takes beside the model; anything else of a call it refuses. */
static const char *const fields[] = { "messages", "system", "tools", "tool_choice", "thinking" };
static const char *const openings[] = {
    ",\"messages\":", ",\"system\":", ",\"tools\":", ",\"tool_choice\":", ",\"thinking\":"
};
_Static_assert(countof(fields) == countof(openings), "each field has its opening");

#define PIECES_MAX (3 + 2 * (int)countof(fields)) /* head, model, fields, end */

static int32_t
counting_route(const struct call *call)
{
    const struct model *model = &call->policy->models[call->model_index];
    for (int32_t i = 0; i < model->route_count; i++) {
        const struct provider *provider = &call->policy->providers[model->routes[i].provider];
        const bool counts = provider->dialect == DIALECT_ANTHROPIC
                            && (provider->apis & (UINT32_C(1) << API_COUNT_TOKENS));
        if (counts && !(call->routes_closed & (UINT32_C(1) << i))) {
            return i;
        }
    }
    return -1;
}

bool
call_can_count(const struct call *call)
{
    return call->policy->estimator == ESTIMATOR_COUNTED && call->api == API_MESSAGES
           && !call->count_tried && counting_route(call) >= 0;
}

/* Back to the gate, which sees the count, or that there is none to be had. */
static void
count_over(struct call *call, int64_t tokens, const char *why)
{
    net_timer_stop(&call->timer);
    if (call->upstream) {
        net_call_cancel(call->upstream);
        call->upstream = NULL;
    }
    buf_clear(&call->answer);
    call->input_counted = tokens;
    if (tokens == 0) {
        log_line(LOG_WARN, "route",
            "%s: provider %s did not count the input (%s); it stays estimated", call->request_id,
            call_provider(call)->name, why);
    }
    call_ask_gate(call, REASON_OK);
}

void
call_count_late(struct call *call)
{
    count_over(call, 0, "no answer in time");
}

static void
on_sent(struct net_call *upstream, void *user)
{
    (void)upstream;
    (void)user; /* the body is needed for the call itself */
}

static void
on_head(struct net_call *upstream, const struct http_head *head, void *user)
{
    (void)upstream;
    struct call *call = user;
    buf_clear(&call->answer);
    call->count_status = head->status;
}

static void
on_body(struct net_call *upstream, struct slice data, void *user)
{
    (void)upstream;
    struct call *call = user;
    if (call->answer.len + data.len > COUNT_BYTES_MAX) {
        count_over(call, 0, "its answer is too large");
        return;
    }
    buf_add_slice(&call->answer, data);
}

static void
on_end(struct net_call *upstream, void *user)
{
    (void)upstream;
    struct call *call = user;
    struct json_value value;
    int64_t tokens = 0;
    call->upstream = NULL;
    const bool counted = call->count_status == 200 && !call->answer.failed
                         && json_get(buf_slice(&call->answer), "input_tokens", &value)
                         && json_to_i64(value, 1, TOKENS_MAX, &tokens);
    count_over(call, counted ? tokens : 0,
        call->count_status == 200 ? "its answer makes no sense" : "it answered an error");
}

static void
on_fail(struct net_call *upstream, enum net_fail why, bool all_sent, const char *detail, void *user)
{
    (void)upstream;
    (void)why;
    (void)all_sent;
    struct call *call = user;
    call->upstream = NULL;
    count_over(call, 0, detail ? detail : "it could not be reached");
}

static const struct net_call_events count_events = {
    .on_sent = on_sent,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

/* `{"model":"..."`, in the arena; empty: no memory. */
static struct slice
model_opening(struct call *call)
{
    const struct slice model = slice_str(call_route(call)->model);
    const size_t room = 6 * model.len + 16; /* each byte escaped */
    char *text = arena_alloc_raw(&call->arena, room);
    if (!text) {
        return (struct slice){ 0 };
    }
    struct buf out = { .ptr = text, .cap = room, .limit_bytes = room };
    buf_add_str(&out, "{\"model\":");
    buf_add_json(&out, model);
    return buf_slice(&out);
}

/* The fields as they lie in the call's own body, from pieces[2] on behind the model; how many pieces, and their
 * bytes. */
static int
body_pieces(struct call *call, struct slice pieces[PIECES_MAX], size_t *length)
{
    struct json_cursor cursor;
    struct json_value value;
    struct slice key;
    int count = 1;
    pieces[count++] = model_opening(call);
    json_start(&cursor, buf_slice(&call->body));
    if (json_enter(&cursor, '{')) {
        while (json_next_member(&cursor, &key) && json_take(&cursor, &value)) {
            for (size_t i = 0; i < countof(fields) && count + 3 <= PIECES_MAX; i++) {
                if (json_key_is(key, slice_str(fields[i])) && value.type != JSON_NULL) {
                    pieces[count++] = slice_str(openings[i]);
                    pieces[count++] = value.text;
                }
            }
        }
    }
    pieces[count++] = SLICE("}");
    *length = 0;
    for (int i = 1; i < count; i++) {
        *length += pieces[i].len;
    }
    return pieces[1].len > 0 ? count : 0;
}

void
call_count_input(struct call *call)
{
    struct slice pieces[PIECES_MAX];
    size_t length = 0;
    call->state = CALL_COUNT;
    call->count_tried = true;
    call->count_status = 0;
    call->route_index = counting_route(call);
    check(call->route_index >= 0); /* call_can_count said so, and no route has closed since */
    const int count = body_pieces(call, pieces, &length);
    const struct provider *provider = call_provider(call);
    const struct net_target target = call_target(provider);
    const struct net_deadlines deadlines = { min_i64(provider->connect_ms, COUNT_MS), COUNT_MS,
        COUNT_MS };
    if (count > 0 && call_write_head(call, API_COUNT_TOKENS, length, 0)) {
        pieces[0] = buf_slice(&call->request_head);
        call->upstream = net_call_start(
            call->loop->loop, &target, &deadlines, pieces, count, &count_events, call);
    }
    if (!call->upstream) {
        count_over(call, 0, "no memory");
        return;
    }
    net_timer_start(&call->timer, COUNT_MS);
}
