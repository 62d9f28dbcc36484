/* tests/sim/audit_windows.c: which window a moment is in, and what it counts: calendars from his own calendar,
 * windows from first use by when the first call came, rolling ones charge by charge. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit_priv.h"

bool
window_is_over(const struct sim_limit *limit, int64_t window_ms, int64_t now_ms)
{
    const enum window_kind window = form_of(limit)->window;
    if (window == WINDOW_ROLLING || window == WINDOW_FIRST_USE) {
        return now_ms - window_ms >= limit->span_ms;
    }
    const struct calendar_span span = calendar_window(limit->zone, window, now_ms);
    return span.end_ms != 0 && window_ms < span.start_ms;
}

static void
stand_on(const struct audit *audit, const struct audit_meter *meter, struct stand *stand)
{
    if (meter) {
        stand->settled += meter->settled;
        stand->held += meter->held;
        stand->unclear = stand->unclear || meter->unclear_turn == audit->turn;
        stand->fuzzy = stand->fuzzy || meter->fuzzy;
    }
}

/* A charge that had a meter of its own when the row was stored last, or came after that. */
static bool
is_apart(const struct audit_subject *subject, const struct audit_meter *charge)
{
    bool behind_all = true;
    for (int i = 0; i < subject->edge_count; i++) {
        const struct audit_edge *edge = &subject->edges[i];
        if (edge->limit_id == charge->limit_id && edge->window_ms == charge->window_ms) {
            return true;
        }
        behind_all = behind_all && (edge->limit_id != charge->limit_id || edge->window_ms < charge->window_ms);
    }
    return behind_all;
}

static void
stand_rolling(
    const struct audit *audit, struct audit_subject *subject, int64_t limit_id, int64_t span_ms, int64_t now_ms, struct stand *stand)
{
    int charges = 0;
    for (const struct audit_meter *meter = subject->meters; meter; meter = meter->next) {
        if (meter->limit_id != limit_id || meter->window_ms == SLACK_OF_ROLLING) {
            continue;
        }
        charges++;
        stand->together = stand->together || !is_apart(subject, meter);
        const int64_t used = meter->settled + meter->held;
        const bool young = now_ms - meter->window_ms < span_ms;
        stand->most += max_i64(0, used);
        stand->least += young ? used : min_i64(0, used);
        stand->unclear = stand->unclear || meter->unclear_turn == audit->turn;
        if (young) {
            stand->settled += meter->settled;
            stand->held += meter->held;
        }
    }
    stand->together = stand->together || charges >= 20;
}

/* The window that began with the first call after the one before was over. */
static const struct audit_meter *
first_use(const struct audit_subject *subject, int64_t limit_id, int64_t span_ms, int64_t now_ms)
{
    for (const struct audit_meter *meter = subject->meters; meter; meter = meter->next) {
        if (meter->limit_id == limit_id && meter->window_ms <= now_ms && now_ms - meter->window_ms < span_ms) {
            return meter;
        }
    }
    return NULL;
}

void
audit_stand(struct audit *audit, struct audit_subject *subject, const struct sim_limit *limit, int64_t limit_id,
    int64_t now_ms, struct stand *stand)
{
    const enum window_kind window = form_of(limit)->window;
    const struct calendar_span span = calendar_window(limit->zone, window, now_ms);
    *stand = (struct stand){ .start_ms = span.start_ms, .end_ms = span.end_ms };
    if (window == WINDOW_FIRST_USE) {
        const struct audit_meter *meter = subject ? first_use(subject, limit_id, limit->span_ms, now_ms) : NULL;
        stand->start_ms = meter ? meter->window_ms : now_ms;
        stand->end_ms = stand->start_ms + limit->span_ms;
        stand_on(audit, meter, stand);
    } else if (window == WINDOW_ROLLING) {
        stand->start_ms = now_ms;
        if (subject) {
            stand_rolling(audit, subject, limit_id, limit->span_ms, now_ms, stand);
        }
        return;
    } else if (subject) {
        stand_on(audit, window == WINDOW_BUCKET ? audit_meter_any(subject, limit_id)
                                                : audit_meter(subject, limit_id, span.start_ms, false), stand);
    }
    stand->least = stand->most = stand->settled + stand->held;
}

int64_t
audit_rolling_wait(
    struct audit_subject *subject, int64_t limit_id, int64_t span_ms, int64_t cap, int64_t ask, int64_t now_ms)
{
    int64_t best_ms = 0;
    if (ask > cap) {
        return 0;
    }
    for (const struct audit_meter *last = subject->meters; last; last = last->next) { /* once that one is over */
        int64_t stays = 0;
        if (last->limit_id != limit_id || last->window_ms == SLACK_OF_ROLLING || now_ms - last->window_ms >= span_ms) {
            continue;
        }
        for (const struct audit_meter *meter = subject->meters; meter; meter = meter->next) {
            const bool later = meter->limit_id == limit_id && meter->window_ms > last->window_ms;
            stays += later ? meter->settled + meter->held : 0;
        }
        const int64_t wait_ms = last->window_ms + span_ms - now_ms;
        if (stays + ask <= cap && (best_ms == 0 || wait_ms < best_ms)) {
            best_ms = wait_ms;
        }
    }
    return best_ms;
}

/* --- What is stored of rolling windows. */

struct sums {
    int64_t settled, held, bound;
};

static struct sums
sums_between(const struct audit_subject *subject, int64_t limit_id, int64_t after_ms, int64_t until_ms)
{
    struct sums sums = { 0, 0, 0 };
    for (const struct audit_meter *meter = subject->meters; meter; meter = meter->next) {
        if (meter->limit_id == limit_id && meter->window_ms != SLACK_OF_ROLLING && meter->window_ms > after_ms
            && meter->window_ms <= until_ms) {
            sums.settled += meter->settled;
            sums.held += meter->held;
            sums.bound += meter->bound;
        }
    }
    return sums;
}

static bool
same_sums(struct sums sums, const struct meter *stored)
{
    return sums.settled == stored->settled && sums.held == stored->held && sums.bound == stored->bound;
}

static void
forget_between(struct audit_subject *subject, int64_t limit_id, int64_t after_ms, int64_t until_ms)
{
    for (struct audit_meter **at = &subject->meters; *at;) {
        struct audit_meter *meter = *at;
        if (meter->limit_id == limit_id && meter->window_ms != SLACK_OF_ROLLING && meter->window_ms > after_ms
            && meter->window_ms <= until_ms) {
            *at = meter->next;
            free(meter);
        } else {
            at = &meter->next;
        }
    }
}

static const struct meter *
next_stored(const struct meter_row *row, int64_t limit_id, int64_t after_ms)
{
    const struct meter *next = NULL;
    for (int32_t i = 0; i < row->meter_count; i++) {
        const struct meter *meter = &row->meters[i];
        if (meter->limit_id == limit_id && meter->window_ms > after_ms && (!next || meter->window_ms < next->window_ms)) {
            next = meter;
        }
    }
    return next;
}

/* The edge that was stored before, after one and before another; false: there is none. */
static bool
edge_gone(const struct audit_subject *subject, int64_t limit_id, int64_t after_ms, int64_t before_ms, int64_t *edge_ms)
{
    bool found = false;
    for (int i = 0; i < subject->edge_count; i++) {
        const struct audit_edge *edge = &subject->edges[i];
        if (edge->limit_id == limit_id && edge->window_ms > after_ms && edge->window_ms < before_ms
            && (!found || edge->window_ms < *edge_ms)) {
            *edge_ms = edge->window_ms;
            found = true;
        }
    }
    return found;
}

/* Meters that were between and are no more: over and holding nothing they may be forgotten, oldest first; else
 * they are counted with the one behind them. */
static void
settle_gap(struct audit *audit, struct audit_subject *subject, int64_t limit_id, int64_t after_ms, int64_t before_ms,
    const struct meter *stored, const struct sim_limit *means)
{
    int64_t from_ms = after_ms;
    for (;;) {
        int64_t edge_ms = 0;
        const struct sums all = sums_between(subject, limit_id, after_ms, before_ms);
        if (stored && same_sums(all, stored)) {
            int64_t gone_ms = 0;
            coverage.merged += edge_gone(subject, limit_id, after_ms, before_ms, &gone_ms);
            return;
        }
        const bool gone = edge_gone(subject, limit_id, from_ms, before_ms, &edge_ms);
        const struct sums part = sums_between(subject, limit_id, after_ms, gone ? edge_ms : before_ms - 1);
        const bool may_go = gone && part.held == 0 && part.bound == 0
                            && (!means || window_is_over(means, edge_ms, subject->seen_ms));
        if (!may_go) {
            if (!stored && all.settled == 0 && all.held == 0 && all.bound == 0) {
                return;
            }
            broken(audit->world,
                "the rolling window of limit %lld, subject %lld: up to %lld stored are settled %lld, held %lld, bound "
                "%lld; charged were %lld, %lld, %lld",
                (long long)limit_id, (long long)subject->row.subject_id, (long long)before_ms,
                (long long)(stored ? stored->settled : 0), (long long)(stored ? stored->held : 0),
                (long long)(stored ? stored->bound : 0), (long long)all.settled, (long long)all.held, (long long)all.bound);
        }
        forget_between(subject, limit_id, after_ms, edge_ms);
        from_ms = edge_ms;
    }
}

static void
keep_edges(struct audit_subject *subject, int64_t limit_id, const struct meter_row *row)
{
    int kept = 0;
    for (int i = 0; i < subject->edge_count; i++) {
        if (subject->edges[i].limit_id != limit_id) {
            subject->edges[kept++] = subject->edges[i];
        }
    }
    subject->edge_count = kept;
    for (int32_t i = 0; i < row->meter_count; i++) {
        if (row->meters[i].limit_id == limit_id) {
            check(subject->edge_count < AUDIT_EDGES);
            subject->edges[subject->edge_count++] = (struct audit_edge){ limit_id, row->meters[i].window_ms };
        }
    }
}

void
audit_rolling_charge(struct audit_subject *subject, const struct hold_part *part)
{
    struct audit_edge *newest = NULL;
    int64_t before_ms = INT64_MIN;
    for (int i = 0; i < subject->edge_count; i++) {
        struct audit_edge *edge = &subject->edges[i];
        if (edge->limit_id == part->limit_id && (!newest || edge->window_ms > newest->window_ms)) {
            before_ms = newest ? newest->window_ms : before_ms;
            newest = edge;
        } else if (edge->limit_id == part->limit_id) {
            before_ms = max_i64(before_ms, edge->window_ms);
        }
    }
    if (!newest || newest->window_ms >= part->window_ms) {
        return;
    }
    const struct sums sums = sums_between(subject, part->limit_id, before_ms, newest->window_ms);
    if (sums.settled == 0 && sums.held == 0 && sums.bound == 0) {
        newest->window_ms = part->window_ms;
    }
}

/* Without a limit that gateways decide by its meters mean nothing any more. */
static bool
is_configured(const struct audit *audit, int64_t limit_id)
{
    return audit->node->adopted < 0 || audit_configured(audit, limit_id) != NULL;
}

void
audit_rolling_row(struct audit *audit, struct audit_subject *subject, int64_t limit_id, const struct meter_row *row)
{
    int64_t after_ms = INT64_MIN;
    const struct meter *stored = NULL;
    const struct sim_limit *means = is_configured(audit, limit_id) ? audit_means(audit, limit_id) : NULL;
    /* Charges of one turn: an edge that came and went within it was never stored. */
    while ((stored = next_stored(row, limit_id, after_ms))) {
        settle_gap(audit, subject, limit_id, after_ms, stored->window_ms, stored, means);
        after_ms = stored->window_ms;
    }
    settle_gap(audit, subject, limit_id, after_ms, INT64_MAX, NULL, means);
    keep_edges(subject, limit_id, row);
}
