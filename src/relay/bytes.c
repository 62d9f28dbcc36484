/* relay/bytes.c: what calls keep in memory, against the one budget of all bodies. */
#include "relay/relay_priv.h"

#include "log/metrics.h"

/* `counted` is what the call has on the budget; it grows to `bytes`, never back. */
static MUST_USE bool
count(struct call *call, int64_t *counted, int64_t bytes, int64_t up_to_bytes)
{
    const int64_t more = bytes - *counted;
    if (more <= 0) {
        return true;
    }
    if (!budget_take(call->loop->relay->bodies, more, up_to_bytes)) {
        counter_add(COUNTER_BODIES_REFUSED, 1);
        return false;
    }
    counter_add(COUNTER_BODY_BYTES_BUFFERED, more);
    *counted = bytes;
    return true;
}

static void
uncount(struct call *call, int64_t *counted)
{
    if (*counted > 0) {
        budget_give(call->loop->relay->bodies, *counted);
        counter_add(COUNTER_BODY_BYTES_BUFFERED, -*counted);
        *counted = 0;
    }
}

bool
call_count_body(struct call *call, int64_t bytes)
{
    return count(
        call, &call->body_counted, bytes, budget_of_requests(call->loop->relay->bodies->max_bytes));
}

bool
call_count_answer(struct call *call, int64_t bytes)
{
    return count(call, &call->answer_counted, bytes, call->loop->relay->bodies->max_bytes);
}

void
call_count_event(struct call *call)
{
    /* Few events are so long; the others cost no look at the budget. */
    const int64_t bytes = call->sse_buf.cap > HOLD_BACK_BYTES ? (int64_t)call->sse_buf.cap : 0;
    const int64_t more = bytes - call->answer_counted;
    if (more > 0) {
        budget_add(call->loop->relay->bodies, more);
        counter_add(COUNTER_BODY_BYTES_BUFFERED, more);
        call->answer_counted = bytes;
    }
}

void
call_uncount_body(struct call *call)
{
    uncount(call, &call->body_counted);
}

void
call_uncount_answer(struct call *call)
{
    uncount(call, &call->answer_counted);
}
