/* bench/load_short.c: calls with whole answers: as many at once as there are connections, or so many a
 * second whether the answers come or not. A call at a rate is timed from when it was due, so a stall of
 * the server counts for every call that it delayed. */
#include "bench/load_priv.h"

#define SETTLE_US 200000 /* connections come up before the first call of a plan is due */

static bool
issuing(const struct load *load)
{
    return load->window_end_us == 0;
}

static int64_t
next_due_us(const struct load *load)
{
    return load->start_us + SETTLE_US + load->due_count * 1000000 / load->options.rate;
}

static void
short_start(struct load *load)
{
    for (int32_t i = 0; i < load->options.connections; i++) {
        conn_open(&load->conns[i]);
    }
}

static void
short_ready(struct conn *conn, int64_t now_us)
{
    struct load *load = conn->load;
    if (!issuing(load)) {
        return;
    }
    if (load->options.rate == 0) {
        conn_send(conn, now_us, now_us);
    } else if (next_due_us(load) <= now_us) {
        const int64_t due_us = next_due_us(load);
        load->due_count++;
        conn_send(conn, due_us, now_us);
    } else {
        list_push_back(&load->ready, &conn->ready);
    }
}

static void
short_answered(struct conn *conn, int64_t now_us)
{
    struct load *load = conn->load;
    load->calls += load->in_window;
    const bool counts = load->options.rate == 0
                            ? load->in_window
                            : load->window_start_us > 0 && conn->due_us >= load->window_start_us
                                  && conn->due_us < load->window_start_us + load->options.window_us;
    if (counts) {
        latencies_add(&load->latency, now_us - conn->due_us);
    }
}

static void
short_lost(struct conn *conn, int64_t now_us)
{
    (void)now_us;
    if (issuing(conn->load)) {
        conn_open(conn);
    }
}

static void
start_due(struct load *load, int64_t now_us)
{
    while (!list_empty(&load->ready)) {
        const int64_t due_us = next_due_us(load);
        if (due_us > now_us) {
            return;
        }
        load->due_count++;
        conn_send(list_entry(load->ready.next, struct conn, ready), due_us, now_us);
    }
}

/* The window is over: waits for the calls under way, then counts those that never came. */
static int64_t
drain(struct load *load, int64_t now_us)
{
    int32_t busy = 0;
    for (int32_t i = 0; i < load->options.connections; i++) {
        busy += conn_busy(&load->conns[i]);
    }
    load->over = busy == 0 || now_us > load->window_end_us + DRAIN_US;
    if (load->over) {
        load->errors[LOAD_ERROR_LATE] += busy;
    }
    return 10000;
}

static int64_t
short_turn(struct load *load, int64_t now_us)
{
    if (!issuing(load)) {
        return drain(load, now_us);
    }
    int64_t until_us = load->start_us + SETTLE_US + load->options.warm_us;
    if (load->window_start_us == 0 && now_us >= until_us) {
        load_window_begin(load, now_us);
    }
    if (load->in_window) {
        until_us = load->window_start_us + load->options.window_us;
        if (now_us >= until_us || load_stopping()) {
            if (load->options.rate > 0) {
                const int64_t due =
                    (until_us - load->start_us - SETTLE_US) * load->options.rate / 1000000;
                load->unsent = due > load->due_count ? due - load->due_count : 0;
            }
            load_window_end(load, now_us);
            return 0;
        }
    }
    if (load->options.rate > 0) {
        start_due(load, now_us);
        if (!list_empty(&load->ready) && next_due_us(load) < until_us) {
            until_us = next_due_us(load);
        }
    }
    return until_us > now_us ? until_us - now_us : 0;
}

const struct load_mode load_short = {
    .name = "short",
    .start = short_start,
    .turn = short_turn,
    .ready = short_ready,
    .answered = short_answered,
    .lost = short_lost,
};
