/* relay/tell.c: what a call was, as one line of the log and in the numbers of /metrics. */
#include "relay/relay_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "log/log.h"
#include "log/metrics.h"

/* Answers with 2xx; those with 3xx to 5xx stand behind. */
static const enum counter answers[API_COUNT] = { [API_CHAT] = COUNTER_ANSWERS_CHAT_2XX,
    [API_RESPONSES] = COUNTER_ANSWERS_RESPONSES_2XX,
    [API_MESSAGES] = COUNTER_ANSWERS_MESSAGES_2XX,
    [API_COUNT_TOKENS] = COUNTER_ANSWERS_COUNT_TOKENS_2XX,
    [API_EMBEDDINGS] = COUNTER_ANSWERS_EMBEDDINGS_2XX };
_Static_assert(COUNTER_ANSWERS_CHAT_5XX == COUNTER_ANSWERS_CHAT_2XX + 3, "in this order");

static const enum counter refusals[] = { [REASON_CLASS_BAD] = COUNTER_REFUSALS_BAD,
    [REASON_CLASS_SPENT] = COUNTER_REFUSALS_SPENT,
    [REASON_CLASS_WAIT] = COUNTER_REFUSALS_WAIT,
    [REASON_CLASS_AUTH] = COUNTER_REFUSALS_AUTH,
    [REASON_CLASS_FORBID] = COUNTER_REFUSALS_FORBID,
    [REASON_CLASS_ABSENT] = COUNTER_REFUSALS_ABSENT,
    [REASON_CLASS_STORE] = COUNTER_REFUSALS_STORE,
    [REASON_CLASS_GATE] = COUNTER_REFUSALS_GATE };

void
call_answered(struct call *call, int status)
{
    check(status >= 200 && status <= 599);
    const enum counter good = call->beside ? COUNTER_ANSWERS_OTHER_2XX : answers[call->api];
    call->client_status = status;
    counter_add((enum counter)((int)good + status / 100 - 2), 1);
}

void
call_count_refusal(enum reason reason)
{
    const struct reason_row *row = reason_row(reason);
    counter_add(refusals[row->class_], 1);
    const bool of_key = row->class_ == REASON_CLASS_AUTH && strcmp(row->scope, "key") == 0;
    counter_add(COUNTER_KEY_FAILURES, of_key || reason == REASON_KEY_ATTEMPTS);
}

/* Without memory the log says less. */
static void
note_failure(struct call *call, const char *detail)
{
    struct buf text = { 0 };
    buf_addf(&text, "%s: %s", call_provider(call)->name, detail);
    free(call->failure);
    call->failure = text.failed ? NULL : text.ptr;
    log_line(LOG_DEBUG, "provider", "%s: %s", call->request_id, buf_cstr(&text));
    if (text.failed) {
        buf_free(&text);
    }
}

void
call_attempt_failed(struct call *call, enum net_fail why, const char *detail)
{
    switch (why) {
    case NET_FAIL_DNS:
    case NET_FAIL_CONNECT:
    case NET_FAIL_HERE:
    case NET_FAIL_TLS: counter_add(COUNTER_ATTEMPTS_UNCONNECTED, 1); break;
    case NET_FAIL_TIMEOUT: counter_add(COUNTER_ATTEMPTS_LATE, 1); break;
    default: counter_add(COUNTER_ATTEMPTS_BROKEN, 1); break;
    }
    call->troubled = true;
    note_failure(call, detail);
}

void
call_attempt_refused(struct call *call)
{
    counter_add(COUNTER_ATTEMPTS_REFUSED, 1);
    char detail[32];
    (void)snprintf(detail, sizeof(detail), "status %d", call->upstream_status);
    note_failure(call, detail);
}

void
call_count_estimate(int64_t estimated, int64_t real)
{
    static const struct {
        int64_t pct; /* of the estimate, at most */
        enum counter counter;
    } ranges[] = {
        { 50, COUNTER_ESTIMATES_BELOW_50 },
        { 75, COUNTER_ESTIMATES_BELOW_25 },
        { 90, COUNTER_ESTIMATES_BELOW_10 },
        { 110, COUNTER_ESTIMATES_NEAR },
        { 125, COUNTER_ESTIMATES_ABOVE_10 },
        { 150, COUNTER_ESTIMATES_ABOVE_25 },
        { 200, COUNTER_ESTIMATES_ABOVE_50 },
    };
    for (size_t i = 0; i < countof(ranges); i++) {
        if (real * 100 <= estimated * ranges[i].pct) {
            counter_add(ranges[i].counter, 1);
            return;
        }
    }
    counter_add(COUNTER_ESTIMATES_ABOVE_100, 1);
}

void
call_cost_disputed(const struct call *call, int64_t provider_micros, int64_t book_micros)
{
    struct log_line line;
    counter_add(COUNTER_COST_DISPUTED, 1);
    log_begin(&line, LOG_WARN, "cost_disputed");
    log_str(&line, "request", slice_str(call->request_id));
    call_log_trace(call, &line);
    log_str(&line, "account", call_account(call));
    log_str(&line, "model", slice_str(call->policy->models[call->model_index].name));
    log_str(&line, "provider", slice_str(call_provider(call)->name));
    log_str(&line, "upstream_model", slice_str(call_route(call)->model));
    log_i64(&line, "provider_micros", provider_micros);
    log_i64(&line, "book_micros", book_micros);
    log_str(&line, "msg",
        SLICE("the provider's cost is more than 4 times off the price book's, which was booked"));
    log_end(&line);
}

void
call_log_trace(const struct call *call, struct log_line *line)
{
    if (call->trace_id[0]) {
        log_str(line, "trace", slice_str(call->trace_id));
    }
}

static void
add_figures(const struct call *call, struct log_line *line)
{
    const struct outcome *outcome = &call->outcome;
    log_i64(line, "input", usage_input_total(&outcome->usage));
    log_i64(line, "output", outcome->usage.output);
    log_bool(line, "estimated", (outcome->usage.known & USAGE_ESTIMATED) != 0);
    log_i64(line, "cost_micros", outcome->cost_micros);
    if (outcome->disputed) {
        log_bool(line, "cost_disputed", true);
        log_i64(line, "provider_micros", outcome->usage.cost_micros);
    }
    log_i64(line, "ms", outcome->ended_mono_ms - call->started_mono_ms);
    if (call->first_byte_mono_ms) {
        log_i64(line, "first_byte_ms", call->first_byte_mono_ms - call->started_mono_ms);
    }
}

void
call_log(const struct call *call)
{
    const struct outcome *outcome = &call->outcome;
    const bool gate = reason_row(outcome->reason)->class_ == REASON_CLASS_GATE;
    const enum log_level level = gate || call->troubled ? LOG_WARN : LOG_INFO;
    struct log_line line;
    histogram_add(HISTOGRAM_CALL, (outcome->ended_mono_ms - call->started_mono_ms) * 1000);
    if (call->first_byte_mono_ms) {
        histogram_add(
            HISTOGRAM_FIRST_BYTE, (call->first_byte_mono_ms - call->started_mono_ms) * 1000);
    }
    if (!log_wants(level)) {
        return;
    }
    log_begin(&line, level, "call");
    log_str(&line, "request", slice_str(call->request_id));
    call_log_trace(call, &line);
    log_str(&line, "account", call_account(call));
    log_id(&line, "key", "key_", call->key_id);
    log_id(&line, "thread", "thr_", call->thread_id);
    log_str(&line, "api", slice_str(api_word(call->api)));
    log_str(&line, "model", slice_str(call->policy->models[call->model_index].name));
    log_str(&line, "provider", slice_str(call_provider(call)->name));
    log_i64(&line, "attempts", call->attempts);
    log_str(&line, "payer", call->payer == PAYER_USER ? SLICE("user") : SLICE("company"));
    log_i64(&line, "status", call->client_status);
    log_i64(&line, "upstream_status", call->upstream_status);
    log_bool(&line, "stream", call->stream);
    add_figures(call, &line);
    if (outcome->reason != REASON_OK) {
        log_str(&line, "reason", slice_str(reason_row(outcome->reason)->code));
    }
    if (call->failure) {
        log_str(&line, "failure", slice_str(call->failure));
    }
    log_bool(&line, "client_gone", call->client_gone);
    log_end(&line);
}
