/* relay/settle.c: what a call used, what it costs, and the one settlement of its hold. */
#include "relay/relay_priv.h"

#include "log/trail.h"
#include "log/log.h"
#include "price/price.h"

/* Few kinds of text take less than three bytes a token. Where less would be wrong, not just likely, the
 * bound of one byte a token is taken instead. */
#define CAUTIOUS_BYTES_PER_TOKEN_MILLI INT64_C(3000)

static int64_t
tokens_of_text(const struct call *call)
{
    const int64_t learned =
        call->bytes_per_token_milli ? call->bytes_per_token_milli : CAUTIOUS_BYTES_PER_TOKEN_MILLI;
    const int64_t ratio = min_i64(learned, CAUTIOUS_BYTES_PER_TOKEN_MILLI);
    return min_i64((call->tap.text_bytes * 1000 + ratio - 1) / ratio, TOKENS_MAX);
}

/* Calls that are not streamed are generated and billed to their end (spec/wire.md section 2); so are those
 * whose provider answered with one body where a stream was asked for. */
enum on_abort
call_on_abort(const struct call *call)
{
    const bool answered = call->upstream_status >= 200 && call->upstream_status < 300;
    const bool streams = call->stream && (call->streaming || !answered);
    return streams ? call_provider(call)->on_abort : ON_ABORT_BILLS_ALL;
}

/* The provider keeps the output limit we send, so an estimate never passes it; what it named itself stands. */
static int64_t
within_bound(const struct call *call, int64_t output)
{
    return max_i64(min_i64(output, call->bound_output), call->tap.usage.output);
}

/* Output of an answer whose provider did not say. A cut one is booked so that the books are never below the
 * provider's by more than what lies beyond the held part and what it wrote without our reading it (DESIGN
 * section 4): what was read, at a byte a token, up to the held part; the whole held part where the provider
 * bills what nobody reads; the bound where it is left to itself. */
static int64_t
estimated_output(const struct call *call, enum cut cut)
{
    int64_t output = max_i64(tokens_of_text(call), call->tap.delta_events);
    if (cut == CUT_NONE) {
        return within_bound(call, output);
    }
    const bool bills_on = call_on_abort(call) == ON_ABORT_BILLS_ALL
                          || call->policy->models[call->model_index].hidden_reasoning;
    const int64_t read =
        bills_on ? call->held_output : min_i64(call->held_output, call->tap.text_bytes);
    output = max_i64(output, read);
    if (cut == CUT_GIVEN_UP && bills_on) {
        output = call->bound_output;
    }
    return within_bound(call, output);
}

struct usage
call_usage(const struct call *call, enum cut cut)
{
    struct usage usage = call->tap.usage;
    usage.known &= ~(uint32_t)USAGE_MALFORMED;
    if (!(usage.known & USAGE_INPUT)) {
        usage.input = call->est_input;
        usage.cache_read = usage.cache_write_5m = usage.cache_write_1h = 0;
        usage.known |= USAGE_ESTIMATED;
    }
    if (!(usage.known & USAGE_OUTPUT)) {
        usage.output = estimated_output(call, cut);
        usage.reasoning = min_i64(usage.reasoning, usage.output);
        usage.known |= USAGE_ESTIMATED;
    }
    return usage_valid(&usage) ? usage
                               : (struct usage){ .input = call->est_input,
                                     .cost_micros = -1,
                                     .known = USAGE_ESTIMATED };
}

/* The tier that the answer says it was served at decides the price, not the one that was asked for. */
static int64_t
paid_multiplier_pct(const struct call *call)
{
    const struct slice tier = slice_str(call->tap.service_tier);
    const int64_t pct = tier.len ? price_words_pct(tier, (struct slice){ 0 }) : 0;
    return pct ? pct * call->speed_pct / 100 : call->multiplier_pct;
}

struct ending
ending_between_routes(const struct call *call)
{
    return (struct ending){ .dispatched = true,
        .unbilled = !call->failed_billed,
        .cut = call->failed_billed ? CUT_BROKEN : CUT_NONE,
        .reason = call->failed_billed ? call->failed : REASON_OK };
}

static struct cost
cost_of(const struct call *call, const struct usage *usage)
{
    return price_cost(call_route(call)->price, usage, paid_multiplier_pct(call));
}

int64_t
call_cost_micros(const struct call *call, const struct usage *usage)
{
    return money_add(call->earlier_micros, cost_of(call, usage).micros);
}

void
fill_attempt(const struct call *call, struct reroute_event *reroute)
{
    reroute->usage = call_usage(call, CUT_BROKEN);
    reroute->multiplier_pct = paid_multiplier_pct(call);
    reroute->flags = LEDGER_CUT | (call->lowered ? LEDGER_LOWERED : 0);
}

/* For the log and the numbers: what is submitted beside it is the truth of the books. */
static void
note_outcome(struct call *call, const struct ending *ending, const struct usage *usage,
    const struct cost *cost)
{
    call->outcome = (struct outcome){ .set = true,
        .disputed = (cost->flags & COST_DISPUTED) != 0,
        .reason = ending->reason,
        .usage = *usage,
        .cost_micros = money_add(call->earlier_micros, cost->micros),
        .ended_mono_ms = net_loop_mono_ms(call->loop->loop) };
    if (call->outcome.disputed) {
        call_cost_disputed(call, usage->cost_micros, cost->book_micros);
    }
    if (call->hold_id && (usage->known & USAGE_INPUT) && call->gate_est_input > 0) {
        call_count_estimate(call->gate_est_input, usage_input_total(usage));
    }
}

void
call_settle(struct call *call, const struct ending *ending)
{
    const bool billed = ending->dispatched && !ending->unbilled;
    if (call->outcome.set || call->attempts == 0) {
        return;
    }
    const struct usage usage = billed ? call_usage(call, ending->cut) : USAGE_NONE;
    const struct cost cost = billed && call->hold_id ? cost_of(call, &usage) : (struct cost){ 0 };
    note_outcome(call, ending, &usage, &cost);
    if (!call->hold_id) {
        return; /* counting tokens is free */
    }
    struct event event = { .kind = EVENT_SETTLE, .reply.loop = ENGINE_NO_REPLY };
    event.settle = (struct settle_event){ .hold_id = call->hold_id,
        .attempts = call->attempts,
        .dispatched = ending->dispatched,
        .unbilled = ending->unbilled,
        .usage = usage,
        .status = call->upstream_status,
        .reason = ending->reason,
        .multiplier_pct = paid_multiplier_pct(call),
        .flags = ending->flags | (ending->cut != CUT_NONE ? LEDGER_CUT : 0)
                 | (call->lowered ? LEDGER_LOWERED : 0)
                 | (call->client_gone ? LEDGER_CLIENT_GONE : 0),
        .input_tokens_seen = billed ? usage_input_total(&usage) : -1,
        .output_bytes = call->tap.text_bytes };
    if (billed) {
        event.settle.issued = call_issued(call);
    }
    trail_note(TRAIL_SETTLED, call->hold_id, (int64_t)ending->reason, cost.micros);
    call->hold_id = 0;
    call->cost_micros = money_add(call->earlier_micros, cost.micros);
    /* They always fit, since their number is bounded by calls in flight, as long as there is memory. */
    if (!engine_submit(call->loop->relay->engine, &event)) {
        log_line(LOG_ERROR, "engine",
            "no memory to settle %s: its hold stays open until the next start, which books it whole",
            call->request_id);
    }
}
