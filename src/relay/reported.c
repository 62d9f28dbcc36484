/* relay/reported.c: what a provider's answer says is used of its own windows, on its way to the gate.
 *
 * Nobody waits for it, and it starts no commit of its own. The same as before is told again only now and then,
 * so that it is known to be fresh; what changes, at most every other second, unless it rose by a percent. What is
 * held back so is told by a later answer. */
#include "relay/relay_priv.h"

#include <stdlib.h>

#include "base/map.h" /* its hashes */
#include "rows/pack.h"
#include "wire/reported.h"

#define TOLD_MAX       64 /* credentials a loop remembers; others are told with each answer */
#define TELL_AGAIN_MS  (30 * SECOND_MS)
#define TELL_CHANGE_MS (2 * SECOND_MS)
#define TELL_RISE      1000 /* thousandths of a percent */
#define PACKED_BYTES   4096

struct told_report {
    uint64_t who, what; /* hashes; who 0 = none */
    int64_t highest_milli_pct, told_mono_ms;
};

static int64_t
highest_of(const struct reported_row *report)
{
    int64_t highest = 0;
    for (int32_t i = 0; i < report->window_count; i++) {
        highest = max_i64(highest, report->windows[i].used_milli_pct);
    }
    return highest;
}

/* Whether it is to be told now; then it is remembered as told. */
static bool
worth_telling(struct relay_loop *loop, const struct reported_row *report, struct slice packed)
{
    if (!loop->told_reports) {
        loop->told_reports = calloc(TOLD_MAX, sizeof *loop->told_reports);
    }
    if (!loop->told_reports) {
        return true;
    }
    const struct told_report now = { .who =
                                         hash_pair((uint64_t)report->account_id,
                                             hash_bytes(slice_str(report->windows[0].credential)))
                                         | 1,
        .what = hash_bytes(packed),
        .highest_milli_pct = highest_of(report),
        .told_mono_ms = net_loop_mono_ms(loop->loop) };
    struct told_report *told = &loop->told_reports[now.who / 2 % TOLD_MAX];
    const int64_t since_ms = now.told_mono_ms - told->told_mono_ms;
    const bool same = told->who == now.who && told->what == now.what;
    const bool rose = now.highest_milli_pct >= told->highest_milli_pct + TELL_RISE;
    if (told->who == now.who
        && (same ? since_ms < TELL_AGAIN_MS : since_ms < TELL_CHANGE_MS && !rose)) {
        return false;
    }
    *told = now;
    return true;
}

void
call_tell_reported(const struct call *call, const struct http_head *head)
{
    const struct provider *provider = call_provider(call);
    struct reported_row report;
    char room[PACKED_BYTES];
    struct buf packed = { .ptr = room, .cap = sizeof room, .limit_bytes = sizeof room };
    if (provider->dialect != DIALECT_ANTHROPIC) {
        return; /* nobody else sends them */
    }
    report.account_id = call->payer == PAYER_USER ? call->account_id : 0;
    reported_of_headers(head, slice_str(provider->name), &report);
    if (report.window_count == 0) {
        return;
    }
    pack_reported(&report, &packed);
    if (packed.failed || !worth_telling(call->loop, &report, buf_slice(&packed))) {
        return;
    }
    struct event event = { .kind = EVENT_REPORT, .reply.loop = ENGINE_NO_REPLY };
    event.report =
        (struct report_event){ .account_id = report.account_id, .windows = buf_slice(&packed) };
    if (!engine_submit(call->loop->relay->engine, &event)) {
        told_reports_free(call->loop); /* no memory: the next answer tells */
    }
}

void
told_reports_free(struct relay_loop *loop)
{
    free(loop->told_reports);
    loop->told_reports = NULL;
}
