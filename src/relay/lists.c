/* relay/lists.c: GET /v1/models: what this key may call, in the shape its client expects. */
#include "relay/relay_priv.h"

#include <stdlib.h>

#include "wire/models_list.h"

/* Everybody may read the list who has a valid key; the key is judged like a call's. */
static void
send_list(struct call *call)
{
    const struct policy *policy = call->policy;
    struct model_entry *entries = calloc((size_t)max_i64(1, policy->model_count), sizeof *entries);
    if (!entries) {
        call_refuse_reason(call, REASON_OVERLOADED, (struct slice){ 0 });
        return;
    }
    for (int32_t i = 0; i < policy->model_count; i++) {
        const struct model *model = &policy->models[i];
        entries[i] =
            (struct model_entry){ slice_str(model->name), 0, model->context, model->max_output };
    }
    struct buf headers = { 0 };
    models_list_render(
        api_dialect(call->api), entries, (uint32_t)policy->model_count, &call->answer);
    free(entries);
    const bool good =
        http_write_header(&headers, SLICE("content-type"), SLICE("application/json"))
        && http_write_header(&headers, SLICE("x-request-id"), slice_str(call->request_id))
        && http_write_header(&headers, SLICE("request-id"), slice_str(call->request_id));
    check(good);
    const struct slice body = buf_slice(&call->answer);
    call_answered(call, 200);
    net_send_head(call->exchange, 200, buf_slice(&headers), (int64_t)body.len);
    net_send(call->exchange, &body, 1);
    net_end(call->exchange);
    buf_free(&headers);
    call_free(call);
}

void
list_models(struct relay_loop *loop, struct net_exchange *exchange, const struct http_head *head)
{
    const bool anthropic = http_find(head, SLICE("anthropic-version")) != NULL;
    struct call *call = call_make(loop, exchange, anthropic ? API_MESSAGES : API_CHAT);
    if (!call) {
        net_abort(exchange);
        net_close(exchange);
        return;
    }
    bool pending = false;
    call->then = send_list;
    call->beside = true;
    const enum reason reason = identity_find(call, head, &pending);
    if (reason != REASON_OK) {
        call_refuse_reason(call, reason, (struct slice){ 0 });
    } else if (!pending) {
        call_identified(call);
    }
}
