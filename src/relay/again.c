/* relay/again.c: a loop's few refusals that it may give again without asking the gate (DESIGN section 3).
 *
 * The gate's decision follows from the event, the policy, the rows and the time. So the same event again,
 * byte for byte, is refused alike as long as the gate says that the rest has not changed. Repeats share
 * the request id, and with it the row of the ledger, of the first; they are counted, and reported to the
 * engine once a second or before their refusal is asked for anew. */
#include "relay/relay_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "log/log.h"
#include "log/metrics.h"

#define PROBES    4
#define REPORT_MS 1000

/* What else decides how a refusal is told. */
struct told_as {
    enum api api;
    bool codex, session_protocol;
};

struct known_refusal {
    uint64_t hash; /* of the event; 0 = free */
    struct call_event event;
    struct refusal refusal;
    int64_t from_ms, until_ms, identity_version;
    uint64_t meter_mark;
    int64_t unreported;
    /* The answer as it was last rendered; its waits are true for that second. */
    struct told_as told_as;
    int64_t second;
    int status;
    struct buf headers, body;
};

static struct known_refusal *
table_of(struct relay_loop *loop)
{
    if (!loop->refusals) {
        loop->refusals = calloc(KNOWN_REFUSALS, sizeof *loop->refusals);
    }
    return loop->refusals;
}

static uint64_t
hash_of(const struct call_event *event)
{
    return hash_bytes(slice_of((const char *)event, sizeof *event)) | 1;
}

static void
report(struct relay_loop *loop, struct known_refusal *known)
{
    if (known->unreported > 0
        && engine_refused_again(loop->relay->engine, known->refusal.ledger_id, known->unreported)) {
        known->unreported = 0;
    }
}

static void
forget(struct relay_loop *loop, struct known_refusal *known)
{
    report(loop, known);
    if (known->unreported > 0) {
        log_line(LOG_WARN, "relay", "no memory to count %lld repeats of refusal req_%lld",
            (long long)known->unreported, (long long)known->refusal.ledger_id);
    }
    buf_free(&known->headers);
    buf_free(&known->body);
    *known = (struct known_refusal){ 0 };
}

static bool
still_holds(const struct relay_loop *loop, const struct known_refusal *known, int64_t now_ms)
{
    const struct engine *engine = loop->relay->engine;
    return now_ms >= known->from_ms && now_ms < known->until_ms
           && known->identity_version == engine_identity_version(engine)
           && known->meter_mark == engine_meter_mark(engine, known->refusal.subject_id);
}

void
refusals_report(struct relay_loop *loop)
{
    for (size_t i = 0; loop->refusals && i < KNOWN_REFUSALS; i++) {
        report(loop, &loop->refusals[i]);
    }
}

void
refusals_free(struct relay_loop *loop)
{
    for (size_t i = 0; loop->refusals && i < KNOWN_REFUSALS; i++) {
        forget(loop, &loop->refusals[i]);
    }
    free(loop->refusals);
    loop->refusals = NULL;
}

void
call_refused_first(struct call *call, const struct verdict *verdict)
{
    struct relay_loop *loop = call->loop;
    struct known_refusal *table = table_of(loop);
    const int64_t now_ms = clock_wall_ms();
    if (!table || !call->asked || !verdict->refusal.ledger_id || verdict->same_until_ms <= now_ms) {
        return;
    }
    const uint64_t hash = hash_of(call->asked);
    struct known_refusal *place = NULL;
    for (uint64_t probe = 0; probe < PROBES; probe++) {
        struct known_refusal *known = &table[(hash + probe) % KNOWN_REFUSALS];
        if (known->hash == hash) {
            place = known;
            break;
        }
        const bool sooner =
            !place || known->until_ms < place->until_ms; /* a free one is the soonest */
        place = sooner ? known : place;
    }
    forget(loop, place);
    *place = (struct known_refusal){ .hash = hash,
        .event = *call->asked,
        .refusal = verdict->refusal,
        .from_ms = verdict->same_from_ms,
        .until_ms = verdict->same_until_ms,
        .identity_version = verdict->identity_version,
        .meter_mark = verdict->meter_mark,
        .second = -1 };
}

static void
render(struct call *call, struct known_refusal *known, int64_t now_ms)
{
    const struct told_as told_as = { call->api, call->codex,
        client_speaks_sessions(net_exchange_head(call->exchange)) };
    if (known->second == now_ms / SECOND_MS && known->told_as.api == told_as.api
        && known->told_as.codex == told_as.codex
        && known->told_as.session_protocol == told_as.session_protocol) {
        return;
    }
    struct refusal refusal = known->refusal;
    if (refusal.retry_after_ms > 0) {
        refusal.retry_after_ms = max_i64(1, refusal.retry_after_ms - (now_ms - known->from_ms));
    }
    buf_clear(&known->headers);
    buf_clear(&known->body);
    known->status =
        call_render_refusal(call, &refusal, (struct slice){ 0 }, &known->headers, &known->body);
    known->told_as = told_as;
    known->second = now_ms / SECOND_MS;
}

bool
call_refused_again(struct call *call, const struct call_event *event)
{
    struct relay_loop *loop = call->loop;
    const uint64_t hash = loop->refusals ? hash_of(event) : 0;
    const int64_t now_ms = clock_wall_ms();
    struct known_refusal *known = NULL;
    for (uint64_t probe = 0; loop->refusals && probe < PROBES && !known; probe++) {
        struct known_refusal *probed = &loop->refusals[(hash + probe) % KNOWN_REFUSALS];
        known = probed->hash == hash && memcmp(&probed->event, event, sizeof *event) == 0 ? probed
                                                                                          : NULL;
    }
    if (!known) {
        return false;
    }
    if (!still_holds(loop, known, now_ms)) {
        forget(loop, known);
        return false;
    }
    call_name_by(call, known->refusal.ledger_id);
    render(call, known, now_ms);
    known->unreported++;
    if (loop->report_timer.due_mono_ms == 0) {
        net_timer_start(&loop->report_timer, REPORT_MS);
    }
    counter_add(COUNTER_CALLS_REFUSED, 1);
    counter_add(COUNTER_REFUSALS_REPEATED, 1);
    call_send_refusal(call, known->refusal.reason, known->status, &known->headers, &known->body);
    return true;
}
