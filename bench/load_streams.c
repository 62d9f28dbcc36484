/* bench/load_streams.c: streams that are held open: `sse` counts and times their chunks once all have
 * begun; `idle` holds silent ones, says what memory they take, and stays until it is told to stop. */
#include "base/clock.h"
#include "bench/fail.h"
#include "bench/load_priv.h"

#define BEGIN_US                                                                                   \
    30000000 /* all streams of a ramp have had a chunk within this time after its end */
#define SETTLE_US 1500000 /* before memory is looked at */

enum stage { STAGE_RAMP, STAGE_SETTLE, STAGE_WINDOW };

static bool
is_idle(const struct load *load)
{
    return load->options.mode == &load_idle;
}

static void
begin_ramp(struct load *load, int32_t goal, int64_t now_us)
{
    load->stage = STAGE_RAMP;
    load->goal = goal;
    load->ramp_from = load->begun;
    load->ramp_start_us = now_us;
}

static void
streams_start(struct load *load)
{
    const int32_t mark = load->options.mark;
    const bool marked = is_idle(load) && mark > 0 && mark < load->options.connections;
    begin_ramp(load, marked ? mark : load->options.connections, load->start_us);
}

static void
streams_ready(struct conn *conn, int64_t now_us)
{
    if (load_stopping()) {
        return;
    }
    conn_send(conn, conn->due_us > 0 ? conn->due_us : now_us, now_us);
}

static void
streams_answered(struct conn *conn, int64_t now_us)
{
    struct load *load = conn->load;
    load->calls += load->in_window;
    conn->due_us = now_us; /* the next one follows at once */
}

static void
streams_lost(struct conn *conn, int64_t now_us)
{
    conn->due_us = now_us;
    conn_open(conn);
}

static void
note_first_chunk(struct conn *conn, int64_t now_us)
{
    struct load *load = conn->load;
    latencies_add(&load->first_chunk, now_us - conn->due_us);
    load->seen += !conn->seen;
    conn->seen = true;
}

static void
streams_payload(struct conn *conn, struct slice bytes, int64_t now_us)
{
    struct load *load = conn->load;
    const uint32_t count = events_count(&conn->events, bytes);
    if (count == 0) {
        return;
    }
    load->chunks_all += count;
    if (conn->chunks == 0) {
        note_first_chunk(conn, now_us);
    } else if (load->in_window) {
        latencies_add(&load->between, now_us - conn->last_chunk_us);
    }
    conn->chunks += count;
    conn->last_chunk_us = now_us;
    if (load->in_window) {
        load->chunks += count;
        const int64_t stamp_us = events_stamp_us(bytes);
        if (stamp_us >= 0) {
            latencies_add(&load->transit, now_us - stamp_us);
        }
    }
}

static int64_t
ramp(struct load *load, int64_t now_us)
{
    while (load->begun < load->goal) {
        const int64_t due_us =
            load->ramp_start_us
            + (load->begun - load->ramp_from) * INT64_C(1000000) / load->options.ramp;
        if (due_us > now_us) {
            return due_us - now_us;
        }
        struct conn *conn = &load->conns[load->begun++];
        conn->due_us = due_us;
        load->stage_until_us = now_us + BEGIN_US;
        conn_open(conn);
    }
    if (load->seen >= load->goal) {
        load->stage = STAGE_SETTLE;
        load->stage_until_us = now_us + (is_idle(load) ? SETTLE_US : load->options.warm_us);
        return 0;
    }
    if (now_us > load->stage_until_us) {
        fail("only %d of %d streams have begun", (int)load->seen, (int)load->goal);
    }
    return 10000;
}

static int64_t
settle(struct load *load, int64_t now_us)
{
    if (now_us < load->stage_until_us) {
        return load->stage_until_us - now_us;
    }
    const bool full = load->goal == load->options.connections;
    if (is_idle(load)) {
        load_watch_memory(load, full);
    }
    if (!full) {
        begin_ramp(load, load->options.connections, now_us);
        return 0;
    }
    load->stage = STAGE_WINDOW;
    load_window_begin(load, now_us);
    if (is_idle(load)) {
        load_report(load); /* they stand: who waits for them may go on */
    }
    return 0;
}

static int64_t
streams_turn(struct load *load, int64_t now_us)
{
    switch ((enum stage)load->stage) {
    case STAGE_RAMP: return ramp(load, now_us);
    case STAGE_SETTLE: return settle(load, now_us);
    case STAGE_WINDOW: break;
    }
    const int64_t until_us = load->window_start_us + load->options.window_us;
    if (now_us < until_us && !load_stopping()) {
        return until_us - now_us;
    }
    load_window_end(load, now_us);
    load->over = true;
    return 0;
}

const struct load_mode load_sse = {
    .name = "sse",
    .streams = true,
    .start = streams_start,
    .turn = streams_turn,
    .ready = streams_ready,
    .payload = streams_payload,
    .answered = streams_answered,
    .lost = streams_lost,
};

const struct load_mode load_idle = {
    .name = "idle",
    .streams = true,
    .start = streams_start,
    .turn = streams_turn,
    .ready = streams_ready,
    .payload = streams_payload,
    .answered = streams_answered,
    .lost = streams_lost,
};
