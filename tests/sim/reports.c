/* tests/sim/reports.c: what providers say is used of their own windows: reports as answers and people bring them,
 * of several credentials and model sets, repeated, late, of windows that are over. */
#include <stdio.h>
#include <string.h>

#include "rows/pack.h"
#include "sim.h"

/* The first are the providers'; one that nobody names, one that no route uses. */
const char *const sim_credentials[SIM_CREDENTIALS] = { "bills", "stops", "third", "", "elsewhere" };
const struct sim_window sim_windows[SIM_WINDOWS] = { { "5h", 5 * HOUR_MS }, { "7d", 7 * DAY_MS },
    { "7d_opus", 7 * DAY_MS }, { "5h_x", 5 * HOUR_MS }, { "24h", DAY_MS } };
/* By hand: which of sim_models each means. Providers call every one of them "upstream". */
const struct sim_model_set sim_model_sets[SIM_MODEL_SETS] = { { "", 0x7f }, { "t*", 0x30 }, { "*ed", 0x48 },
    { "free,cheap", 0x03 }, { "-", 0 }, { "upstream", 0x7f }, { "opus-*", 0 } };

static int64_t
draw_used(struct rng *rng)
{
    static const int64_t marks[] = { 1, 50, 80, 90, 100 };
    const int64_t kind = draw_below(rng, 10);
    const int64_t mark = marks[draw_below(rng, countof(marks))] * 1000;
    return kind < 2 ? 0 : kind < 5 ? mark : kind < 7 ? mark - 1 : draw_below(rng, 120000);
}

static int64_t
draw_reset(struct rng *rng, int64_t now_ms)
{
    static const int64_t spans[] = { 2, 500, 5000, MINUTE_MS, 5 * HOUR_MS, 7 * DAY_MS };
    const int64_t kind = draw_below(rng, 10);
    return kind < 2   ? 0
           : kind < 3 ? now_ms - draw_below(rng, 1000)
                      : now_ms + draw_below(rng, spans[draw_below(rng, countof(spans))]);
}

/* 0 = now; another clock's now may be to come. */
static int64_t
draw_captured(struct rng *rng, int64_t now_ms)
{
    static const int64_t spans[] = { 100, 3000, 20 * MINUTE_MS };
    const int64_t kind = draw_below(rng, 10);
    return kind < 6 ? 0 : kind < 7 ? now_ms + 5000 : now_ms - draw_below(rng, spans[draw_below(rng, countof(spans))]);
}

static struct sim_told
draw_told(struct rng *rng, int64_t now_ms)
{
    struct sim_told told = { .credential = (int)draw_below(rng, SIM_CREDENTIALS),
        .window = (int)draw_below(rng, SIM_WINDOWS),
        .models = draw_chance(rng, 6000) ? 0 : (int)draw_below(rng, SIM_MODEL_SETS),
        .used_milli_pct = draw_used(rng),
        .resets_at_ms = draw_reset(rng, now_ms),
        .captured_ms = draw_captured(rng, now_ms) };
    return told;
}

static bool
has_window(const struct sim_report *report, const struct sim_told *told)
{
    for (int i = 0; i < report->count; i++) {
        if (report->items[i].credential == told->credential && report->items[i].window == told->window) {
            return true;
        }
    }
    return false;
}

/* Now and then the same as was told before, which an answer after the other brings. */
static void
draw_report(struct world *world, const struct sim_node *node, struct sim_report *report)
{
    struct rng *rng = &world->rng;
    const int64_t now_ms = node_wall_ms(world, node);
    const struct sim_account *account = &world->accounts[draw_below(rng, world->account_count)];
    const struct sim_report *before = &world->reports[draw_below(rng, countof(world->reports))];
    if (before->count > 0 && draw_chance(rng, 2500)) {
        *report = *before;
        return;
    }
    *report = (struct sim_report){ .account_id = draw_chance(rng, 3000) ? 0 : account->account_id,
        .whole = draw_chance(rng, 2000) };
    const int64_t count = draw_between(rng, 1, SIM_REPORT_MAX);
    for (int64_t i = 0; i < count; i++) {
        const struct sim_told told = draw_told(rng, now_ms);
        const bool twice = has_window(report, &told);
        if (!twice || draw_chance(rng, 200)) {
            report->twice = report->twice || twice;
            report->items[report->count++] = told;
        }
    }
    world->reports[world->report_count++ % (int64_t)countof(world->reports)] = *report;
}

static void
pack(const struct sim_report *report, struct buf *out)
{
    struct reported_row row = { .account_id = report->account_id, .window_count = report->count };
    for (int i = 0; i < report->count; i++) {
        const struct sim_told *told = &report->items[i];
        struct reported_window *window = &row.windows[i];
        *window = (struct reported_window){ .used_milli_pct = told->used_milli_pct,
            .resets_at_ms = told->resets_at_ms,
            .captured_ms = told->captured_ms };
        slice_to_cstr(slice_str(sim_credentials[told->credential]), window->credential, sizeof window->credential);
        slice_to_cstr(slice_str(sim_windows[told->window].name), window->window, sizeof window->window);
        slice_to_cstr(slice_str(sim_model_sets[told->models].words), window->models, sizeof window->models);
    }
    pack_reported(&row, out);
}

void
act_report(struct world *world, struct sim_node *node)
{
    char room[2048];
    struct buf packed = { .ptr = room, .cap = sizeof room, .limit_bytes = sizeof room };
    struct sim_call *call = client_new(world, node, CALL_OTHER);
    if (!call) {
        return;
    }
    draw_report(world, node, &call->report);
    pack(&call->report, &packed);
    check(!packed.failed);
    call->event.kind = EVENT_REPORT;
    call->event.report = (struct report_event){ .account_id = call->report.account_id,
        .whole = call->report.whole,
        .windows = buf_slice(&packed) };
    client_submit(world, node, call);
    call->event.report.windows = slice_of(NULL, 0); /* the engine has its copy */
}
