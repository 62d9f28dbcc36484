/* tests/sim/audit_holds.c: the life of a hold: made, changed, resolved exactly once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit_priv.h"

const struct sim_config *
audit_config_of(struct audit *audit, const struct hold_row *hold)
{
    const struct sim_adopted *adopted = adopted_of(audit->world, hold->policy_ver);
    if (!adopted) {
        broken(audit->world, "hold %lld names a configuration that no gateway took", (long long)hold->hold_id);
    }
    return &adopted->config;
}

const struct sim_limit *
audit_limit_in(struct audit *audit, const struct hold_row *hold, int64_t limit_id)
{
    const struct sim_adopted *adopted = adopted_of(audit->world, hold->policy_ver);
    for (int i = 0; adopted && i < adopted->config.limit_count; i++) {
        if (adopted->limit_ids[i] == limit_id) {
            return &adopted->config.limits[i];
        }
    }
    broken(audit->world, "hold %lld has a part of limit %lld, which its configuration does not have",
        (long long)hold->hold_id, (long long)limit_id);
}

bool
audit_is_bucket(struct audit *audit, const struct hold_part *part)
{
    const struct sim_limit *limit = audit_means(audit, part->limit_id);
    return limit && form_of(limit)->window == WINDOW_BUCKET;
}

static bool
part_in_steps(struct audit *audit, const struct hold_part *part)
{
    const struct sim_limit *limit = audit_means(audit, part->limit_id);
    return limit && in_steps(limit);
}

static int64_t
tokens_of(const struct usage *usage)
{
    return usage->input + usage->cache_read + usage->cache_write_5m + usage->cache_write_1h + usage->output;
}

/* What one row of the ledger is in the units of a limit. */
int64_t
audit_used(const struct sim_limit *limit, const struct ledger_row *row)
{
    return form_of(limit)->counts == COUNT_COST ? row->cost_micros : tokens_of(&row->usage);
}

struct audit_subject *
audit_subject_of(struct audit *audit, const struct hold_part *part)
{
    struct audit_subject *subject = audit_subject(audit, part->subject_id);
    if (!subject) {
        broken(audit->world, "a part of subject %lld, which is none", (long long)part->subject_id);
    }
    return subject;
}

/* What a part promises of a hold as it is. */
static void
amounts_of(const struct hold_row *row, const struct sim_limit *limit, int64_t *held, int64_t *bound)
{
    switch (form_of(limit)->counts) {
    case COUNT_COST:
        *held = row->held_micros;
        *bound = row->bound_micros;
        break;
    case COUNT_TOKENS:
        *held = row->est_input + row->held_output;
        *bound = max_i64(*held, row->input_bound + row->bound_output);
        break;
    case COUNT_REQUESTS: *held = *bound = sim_weight(limit->weights, model_index(row->model)); return;
    default: *held = *bound = 1; return;
    }
    *held = limit->mode == HOLD_MODE_STRICT ? *bound : *held;
}

/* Its rolling window was over while it held nothing: others' charges of the same moment may be there still. */
static bool
rolled_on(struct audit *audit, const struct audit_subject *subject, const struct hold_part *part, const struct sim_limit *limit)
{
    const int64_t now_ms = max_i64(subject->seen_ms, audit->node->engine ? audit->node->engine->core.now_ms : 0);
    return form_of(limit)->window == WINDOW_ROLLING && window_is_over(limit, part->window_ms, now_ms);
}

/* The cost part is what was promised for that many tokens, and each part of a limit its share. */
void
audit_promised(struct audit *audit, const struct hold_row *row, bool is_new)
{
    const struct sim_config *config = audit_config_of(audit, row);
    const int64_t price_held = audit_price(config, row, row->est_input, row->held_output);
    const int64_t price_bound = max_i64(price_held, audit_price(config, row, row->input_bound, row->bound_output));
    if (row->held_micros != price_held || row->bound_micros != price_bound) {
        broken(audit->world, "hold %lld holds %lld, bound %lld; its tokens cost %lld, %lld", (long long)row->hold_id,
            (long long)row->held_micros, (long long)row->bound_micros, (long long)price_held, (long long)price_bound);
    }
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        const struct sim_limit *limit = audit_limit_in(audit, row, part->limit_id);
        int64_t held = 0, bound = 0;
        audit_attempts(audit, row, part, limit);
        if (audit_part_open(row, part) || (!part_rests(part) && form_of(limit)->counts == COUNT_REQUESTS)) {
            amounts_of(row, limit, &held, &bound);
        }
        if (audit_is_bucket(audit, part)) {
            continue; /* charged at once, see there */
        }
        /* Its window was over, or its limit gone, when it held nothing: the meter went, and nothing reads it. */
        const struct audit_subject *subject = audit_subject_of(audit, part);
        const struct audit_meter *meter =
            is_new ? NULL : audit_meter(audit_subject_of(audit, part), part->limit_id, part->window_ms, false);
        const bool left = !is_new && in_steps(limit) && part->held == 0 && part->bound == 0
                          && (!meter || audit_may_leave(audit, subject, meter) || rolled_on(audit, subject, part, limit));
        if (!left && (part->held != held || part->bound != bound)) {
            broken(audit->world, "hold %lld: its part of limit %lld holds %lld, bound %lld, which are %lld, %lld",
                (long long)row->hold_id, (long long)part->limit_id, (long long)part->held, (long long)part->bound,
                (long long)held, (long long)bound);
        }
    }
}

/* What does not fit into a bucket of cost or tokens now is added by the settlement. */
void
audit_charge_bucket(struct audit *audit, const struct hold_row *row, const struct hold_part *part, bool claimed, int64_t now_ms)
{
    const struct sim_limit *limit = audit_limit_in(audit, row, part->limit_id);
    struct audit_subject *subject = audit_subject_of(audit, part);
    struct audit_meter *meter = audit_meter_any(subject, part->limit_id);
    meter = meter ? meter : audit_meter(subject, part->limit_id, 0, true);
    meter->fuzzy = meter->fuzzy || !claimed; /* what else came to it in that turn, and when, was told to nobody */
    const int64_t at_ms = max_i64(now_ms, subject->seen_ms);
    const int64_t level = audit_level(meter, limit->rate, at_ms);
    int64_t held = 0, bound = 0;
    amounts_of(row, limit, &held, &bound);
    if (in_steps(limit) && part->cap != CAP_UNLIMITED) {
        held = min_i64(held, max_i64(0, part->cap - (level + limit->period_ms - 1) / limit->period_ms));
    }
    if (part->held != held && !meter->fuzzy) {
        broken(audit->world, "hold %lld takes %lld from a bucket of %lld, whose level is %lld of %lld; %lld were due",
            (long long)row->hold_id, (long long)part->held, (long long)part->cap, (long long)level,
            (long long)limit->period_ms, (long long)held);
    }
    meter->settled = level + part->held * limit->period_ms;
    meter->window_ms = at_ms;
}

struct audit_hold *
audit_hold_made(struct audit *audit, const struct hold_row *row, bool claimed)
{
    audit_id(audit, row->hold_id, "hold");
    struct audit_hold *hold = calloc(1, sizeof *hold);
    check(hold && map_put(&audit->holds, (uint64_t)row->hold_id, hold));
    hold->row = *row;
    hold->open = true;
    hold->claimed = claimed;
    hold->born_turn = audit->turn;
    hold->stream = row->on_abort == ON_ABORT_STOPS;
    audit->open_holds++;
    audit->unclaimed_holds += !claimed;
    audit_promised(audit, row, true);
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        struct audit_subject *subject = audit_subject_of(audit, part);
        subject->new_here = false;
        if (part_rests(part)) {
            continue;
        }
        if (audit_is_bucket(audit, part)) {
            audit_charge_bucket(audit, row, part, claimed, row->created_ms);
            continue;
        }
        audit_rolling_charge(subject, part);
        struct audit_meter *meter = audit_meter(subject, part->limit_id, part->window_ms, true);
        meter->held += part->held;
        meter->bound += part->bound;
        meter->opens++;
        coverage.pers[form_of(audit_limit_in(audit, row, part->limit_id))->per][FORM_CHARGED]++;
    }
    return hold;
}

/* By which configuration a hold's limit is known at its end; NULL = by none, so that nothing is done. */
static const struct sim_limit *
limit_at_end(struct audit *audit, const struct audit_hold *hold, int64_t limit_id, bool orphan)
{
    const struct world *world = audit->world;
    const struct sim_adopted *newest = audit->node->adopted >= 0 ? &world->adopted[audit->node->adopted] : NULL;
    if (!orphan) {
        return audit_limit_in(audit, &hold->row, limit_id);
    }
    for (int i = 0; newest && i < newest->config.limit_count; i++) {
        if (newest->limit_ids[i] == limit_id) {
            return &newest->config.limits[i];
        }
    }
    return NULL;
}

/* What the bucket was charged with becomes what it truly was: less goes back as far as it cannot have drained since,
 * more comes on top of what is left. */
void
audit_settle_bucket(struct audit *audit, struct audit_hold *hold, const struct hold_part *part, int64_t spent,
    const struct ledger_row *row)
{
    struct audit_subject *subject = audit_subject_of(audit, part);
    struct audit_meter *meter = audit_meter_any(subject, part->limit_id);
    const bool orphan = row->kind == LEDGER_ORPHAN;
    const struct sim_limit *limit = limit_at_end(audit, hold, part->limit_id, orphan);
    if (!meter || spent == part->held) {
        return;
    }
    if (!hold->claimed || orphan) { /* its configuration may be gone, or not yet known to be the newest */
        meter->fuzzy = true;
        return;
    }
    const int64_t now_ms = max_i64(row->at_ms, subject->seen_ms);
    if (spent < part->held) {
        const struct audit_meter charge = { .window_ms = hold->row.created_ms,
            .settled = (part->held - spent) * limit->period_ms };
        meter->settled = max_i64(0, meter->settled - audit_level(&charge, limit->rate, now_ms));
    } else {
        meter->settled = audit_level(meter, limit->rate, now_ms) + (spent - part->held) * limit->period_ms;
        meter->window_ms = now_ms;
    }
}

void
audit_buckets_unclear(struct audit *audit, const struct audit_hold *hold)
{
    for (int32_t i = 0; i < hold->row.part_count; i++) {
        const struct hold_part *part = &hold->row.parts[i];
        struct audit_meter *meter =
            audit_is_bucket(audit, part) ? audit_meter_any(audit_subject_of(audit, part), part->limit_id) : NULL;
        if (meter) {
            meter->fuzzy = true;
        }
    }
}

static int64_t
spent_at_end(const struct sim_limit *limit, const struct hold_part *part, bool refund, const struct ledger_row *last)
{
    return in_steps(limit) ? audit_used(limit, last)
           : form_of(limit)->counts == COUNT_REQUESTS && !refund ? part->held
                                                                 : 0;
}

static void
cover_end(const struct sim_limit *limit, const struct hold_part *part, int64_t at_ms)
{
    const bool late = window_is_over(limit, part->window_ms, at_ms);
    cover(limit, FORM_GIVEN_BACK);
    if (late) {
        cover(limit, FORM_TURNED);
        coverage.settled_late++;
    }
}

/* What is older than a rolling window when it is spent counts nowhere. */
static bool
has_rolled_on(struct audit *audit, const struct audit_hold *hold, const struct hold_part *part, const struct ledger_row *row)
{
    const struct sim_limit *limit = audit_means(audit, part->limit_id);
    const struct audit_subject *subject = audit_subject(audit, part->subject_id);
    return form_of(limit)->window == WINDOW_ROLLING
           && limit_at_end(audit, hold, part->limit_id, row->kind == LEDGER_ORPHAN)
           && window_is_over(limit, part->window_ms, max_i64(row->at_ms, subject->seen_ms));
}

/* The settlement moved it under the cap of when the call was allowed. */
static void
warn_at_end(struct audit *audit, const struct audit_hold *hold, const struct hold_part *part, struct audit_subject *subject,
    const struct audit_meter *meter, const struct ledger_row *last)
{
    const bool orphan = last->kind == LEDGER_ORPHAN;
    int ends = 0;
    for (int i = 0; orphan && i < audit->node->writes.committed; i++) {
        ends += audit->node->writes.items[i].kind == WRITE_HOLD_GONE;
    }
    /* In which order orphans were booked, and beside which settlements, is not told. */
    const bool unclear = orphan && (audit->adopted_turn == audit->turn || !audit->node->engine || audit->verdict_count > 0 || ends > 1);
    const struct sim_limit *limit = unclear ? NULL : limit_at_end(audit, hold, part->limit_id, orphan);
    if (limit && (audit->settling || orphan)) {
        audit_warn_due(audit, subject, meter, limit, part->limit_id, part->cap, last->at_ms);
    }
}

void
audit_hold_gone(struct audit *audit, struct audit_hold *hold, bool refund, const struct ledger_row *last)
{
    const struct hold_row *row = &hold->row;
    if (!hold->open) {
        broken(audit->world, "hold %lld is resolved twice", (long long)row->hold_id);
    }
    const uint32_t all = (UINT32_C(1) << row->attempt_count) - 1;
    if (hold->rows_seen != all || !last) {
        broken(audit->world, "hold %lld is gone, with attempts %x of %x on the ledger", (long long)row->hold_id,
            hold->rows_seen, all);
    }
    hold->open = false;
    audit->open_holds--;
    audit->unclaimed_holds -= !hold->claimed;
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        const struct sim_limit *limit = audit_means(audit, part->limit_id);
        if (part_rests(part) || audit_part_left(limit, part)) {
            continue;
        }
        if (audit_is_bucket(audit, part)) {
            audit_settle_bucket(audit, hold, part, spent_at_end(limit, part, refund, last), last);
            continue;
        }
        struct audit_subject *subject = audit_subject_of(audit, part);
        struct audit_meter *meter = audit_meter(subject, part->limit_id, part->window_ms, false);
        if (meter) {
            /* Where it held nothing the meter may have left its row earlier in this turn. */
            const bool may_be_gone = part->held == 0 && part->bound == 0 && audit_may_leave(audit, subject, meter);
            meter->held -= part->held;
            meter->bound -= part->bound;
            meter->opens--;
            meter->settled +=
                in_steps(limit) || has_rolled_on(audit, hold, part, last) ? 0 : spent_at_end(limit, part, refund, last);
            cover_end(limit, part, last->at_ms);
            if (!may_be_gone) {
                warn_at_end(audit, hold, part, subject, meter, last);
            }
        }
    }
}

struct audit_meter *
audit_meter_late(struct audit *audit, struct audit_subject *subject, const struct hold_part *part)
{
    const struct sim_limit *limit = audit_means(audit, part->limit_id);
    bool behind = false;
    for (int i = 0; i < subject->edge_count; i++) {
        behind = behind
                 || (subject->edges[i].limit_id == part->limit_id && subject->edges[i].window_ms >= part->window_ms);
    }
    const bool rolling = form_of(limit)->window == WINDOW_ROLLING;
    return audit_meter(subject, part->limit_id, part->window_ms, rolling && behind);
}

/* Of what an attempt cost beyond what was held: the number that is printed is for one answer at list price, by a
 * provider who keeps to the output limit, of calls that a cap was asked about, and of as many attempts as may be
 * billed; calls of before an edit were under another number. */
static int64_t
printed_of(struct audit *audit, const struct audit_hold *hold, const struct hold_part *part, const struct ledger_row *row,
    const struct sim_limit *limit, int64_t beyond)
{
    const int64_t most = audit_attempt_most(audit_config_of(audit, &hold->row), &hold->row, row, limit);
    const bool promised = part->enforced && part->held > 0 && row->attempt < SIM_BILLED_ATTEMPTS
                          && limit->mode != HOLD_MODE_STRICT && hold->born_turn > audit->rebase_turn;
    const int64_t excess = max_i64(0, audit_used(limit, row) - most);
    return promised ? max_i64(0, beyond - excess) : 0;
}

void
audit_hold_row(struct audit *audit, struct audit_hold *hold, const struct ledger_row *row)
{
    const struct hold_row *own = &hold->row;
    const uint32_t bit = UINT32_C(1) << row->attempt;
    if (!hold->open) {
        broken(audit->world, "the ledger has a row of hold %lld, which was resolved before", (long long)row->hold_id);
    }
    if (row->attempt >= own->attempt_count || (hold->rows_seen & bit)) {
        broken(audit->world, "attempt %d of hold %lld is on the ledger twice, or was never made", row->attempt,
            (long long)row->hold_id);
    }
    if (row->account_id != own->account_id || row->key_id != own->key_id || row->root_id != own->root_id) {
        broken(audit->world, "the ledger's row %lld is of somebody else than its hold", (long long)row->id);
    }
    hold->rows_seen |= bit;
    hold->orphaned = row->kind == LEDGER_ORPHAN;
    for (int32_t i = 0; i < own->part_count; i++) {
        const struct hold_part *part = &own->parts[i];
        const struct sim_limit *limit = audit_means(audit, part->limit_id);
        struct audit_subject *subject = audit_subject_of(audit, part);
        const bool counts = limit && part_counts_attempt(part, row->attempt) && in_steps(limit) && !audit_is_bucket(audit, part);
        const int64_t used = counts ? audit_used(limit, row) : 0;
        const bool rolled_on = counts && has_rolled_on(audit, hold, part, row);
        struct audit_meter *meter = used > 0 && !rolled_on ? audit_meter_late(audit, subject, part) : NULL;
        if (meter) {
            meter->settled += used;
            const int64_t beyond = max_i64(0, used - (limit->mode == HOLD_MODE_NONE ? 0 : part->held));
            audit_allow(audit_slack_of(audit, subject, meter), beyond, printed_of(audit, hold, part, row, limit, beyond));
        }
    }
}

/* --- What clients ask of a hold they have. */

static void
bounds_of(struct audit *audit, const struct hold_row *row)
{
    for (int32_t i = 0; i < row->part_count; i++) {
        struct audit_subject *subject = audit_subject_of(audit, &row->parts[i]);
        struct audit_meter *meter = audit_meter(subject, row->parts[i].limit_id, row->parts[i].window_ms, false);
        if (meter && !part_rests(&row->parts[i])) {
            audit_bound(audit, subject, meter);
        }
    }
}

/* What each cap had room for is all that may have been given; by its cap of when the call was allowed. */
static void
within_caps(struct audit *audit, const struct hold_row *row, const struct hold_row *before, const struct ledger_row *given_up,
    const char *what)
{
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        const struct sim_limit *limit = audit_limit_in(audit, row, part->limit_id);
        struct audit_subject *subject = audit_subject_of(audit, part);
        struct audit_meter *meter = audit_meter(subject, part->limit_id, part->window_ms, false);
        const struct hold_part *old = audit_part_before(before, part);
        const bool spent = given_up && old && audit_part_open(before, old) && in_steps(limit);
        const int64_t grew = part->held - (old ? old->held : 0) + (spent ? audit_used(limit, given_up) : 0);
        if (!meter || part_rests(part) || !in_steps(limit) || audit_is_bucket(audit, part) || audit_may_leave(audit, subject, meter)) {
            continue;
        }
        const int64_t now_ms = max_i64(subject->seen_ms, audit->node->engine->core.now_ms);
        struct stand stand = { .settled = meter->settled, .held = meter->held };
        if (form_of(limit)->window == WINDOW_ROLLING) {
            audit_stand(audit, subject, limit, part->limit_id, now_ms, &stand);
        }
        const bool asked = enforces(limit) && part->cap != CAP_UNLIMITED && limit->mode != HOLD_MODE_NONE
                           && (limit->mode == HOLD_MODE_STREAM || given_up || !old) && grew > 0
                           && audit_part_open(row, part);
        if (asked && meter->unclear_turn != audit->turn && !stand.unclear && stand.settled + stand.held > part->cap) {
            broken(audit->world, "%s of hold %lld passes the cap %lld of limit %lld: settled %lld, held %lld", what,
                (long long)row->hold_id, (long long)part->cap, (long long)part->limit_id, (long long)stand.settled,
                (long long)stand.held);
        }
        if (!asked || audit_cap_now(audit, subject, part->limit_id) < part->cap) { /* or by a cap of before an edit */
            audit_allow(audit_slack_of(audit, subject, meter), max_i64(0, grew), 0);
        }
    }
}

void
audit_excuse(struct audit *audit, const struct hold_row *row)
{
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        struct audit_subject *subject = audit_subject_of(audit, part);
        struct audit_meter *meter = audit_meter(subject, part->limit_id, part->window_ms, false);
        const bool excused = !part->enforced || part->mode == HOLD_MODE_NONE || audit_cap_now(audit, subject, part->limit_id) < part->cap;
        if (meter && !part_rests(part) && excused) {
            audit_allow(audit_slack_of(audit, subject, meter), part->held, 0);
        }
    }
}

/* All that it holds more may pass the cap. */
void
audit_raise(struct audit *audit, const struct hold_row *row, const struct hold_row *before)
{
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        struct audit_subject *subject = audit_subject_of(audit, part);
        struct audit_meter *meter = audit_meter(subject, part->limit_id, part->window_ms, false);
        if (meter && part_in_steps(audit, part) && !audit_is_bucket(audit, part)) {
            const struct hold_part *old = audit_part_before(before, part);
            const int64_t more = max_i64(0, part->held - (old ? old->held : 0));
            audit_allow(audit_slack_of(audit, subject, meter), more,
                row->multiplier_pct <= 100 && part->enforced && part->mode == HOLD_MODE_STREAM ? more : 0);
        }
    }
}

/* Settled in the same turn, so that nobody saw what it held in between. */
static void
unclear(struct audit *audit, const struct audit_hold *hold)
{
    for (int32_t i = 0; i < hold->row.part_count; i++) {
        const struct hold_part *part = &hold->row.parts[i];
        struct audit_meter *meter = audit_meter(audit_subject_of(audit, part), part->limit_id, part->window_ms, false);
        if (meter) {
            meter->unclear_turn = audit->turn;
        }
    }
}

void
audit_extend(struct audit *audit, const struct sim_call *call, const struct verdict *verdict)
{
    const int64_t hold_id = call->event.extend.hold_id;
    struct audit_hold *hold = audit_hold(audit, hold_id);
    if (verdict->kind != VERDICT_ALLOWED) {
        return;
    }
    struct write *write = audit_write(audit, WRITE_HOLD, hold_id);
    if (!hold || !hold->open) {
        broken(audit->world, "hold %lld is gone, and was extended", (long long)hold_id);
    }
    struct write *gone = write ? NULL : audit_write(audit, WRITE_HOLD_GONE, hold_id);
    if (gone) {
        gone->matched = false; /* the settlement in the same turn explains it */
        unclear(audit, hold);
        return;
    }
    if (!write) {
        broken(audit->world, "hold %lld was extended, and that is not in the store", (long long)hold_id);
    }
    const struct hold_row before = hold->row;
    const struct hold_row *row = &write->row.hold;
    if (row->held_output != verdict->held_output || row->held_output < before.held_output
        || row->held_output > row->bound_output) {
        broken(audit->world, "hold %lld: %lld tokens of output were %lld, the verdict says %lld", (long long)hold_id,
            (long long)row->held_output, (long long)before.held_output, (long long)verdict->held_output);
    }
    audit_hold_changed(audit, hold, row, NULL, true);
    if (row->held_output > before.held_output && row->held_micros > before.held_micros) {
        within_caps(audit, row, &before, NULL, "an extension");
    } else {
        audit_raise(audit, row, &before);
    }
    bounds_of(audit, row);
}

/* Rows of the ledger for one hold in this turn, in order; returns the last. */
static const struct ledger_row *
take_rows(struct audit *audit, struct audit_hold *hold, int32_t attempts)
{
    const struct ledger_row *last = NULL;
    struct writes *writes = &audit->node->writes;
    for (int i = 0; i < writes->count; i++) {
        struct write *write = &writes->items[i];
        if (write->kind == WRITE_LEDGER && !write->matched && write->told
            && write->row.ledger.hold_id == hold->row.hold_id && write->row.ledger.kind != LEDGER_ADJUST
            && write->row.ledger.attempt < attempts) {
            write->matched = true;
            last = &write->row.ledger;
            audit_hold_row(audit, hold, last);
        }
    }
    return last;
}

void
audit_reroute(struct audit *audit, const struct sim_call *call, const struct verdict *verdict)
{
    const struct reroute_event *asked = &call->event.reroute;
    struct audit_hold *hold = audit_hold(audit, asked->hold_id);
    if (verdict->kind != VERDICT_ALLOWED) {
        return;
    }
    struct write *write = audit_write(audit, WRITE_HOLD, asked->hold_id);
    if (!hold || !hold->open || !write) {
        broken(audit->world, "hold %lld goes to another route, and is not in the store", (long long)asked->hold_id);
    }
    const struct hold_row before = hold->row;
    if (write->row.hold.attempt_count != before.attempt_count + 1) {
        broken(audit->world, "hold %lld: an attempt is missing", (long long)asked->hold_id);
    }
    const struct ledger_row *row = take_rows(audit, hold, before.attempt_count);
    const int64_t cost =
        asked->billed ? audit_cost(audit_config_of(audit, &before), &before, &asked->usage, before.multiplier_pct) : 0;
    if (asked->billed && (!row || row->kind != LEDGER_SETTLE || row->cost_micros != cost)) {
        broken(audit->world, "hold %lld: the attempt before cost %lld, and the ledger says %lld",
            (long long)asked->hold_id, (long long)cost, row ? (long long)row->cost_micros : -1);
    }
    audit_hold_changed(audit, hold, &write->row.hold, asked->billed ? row : NULL, true);
    within_caps(audit, &hold->row, &before, asked->billed ? row : NULL, "another attempt");
    bounds_of(audit, &hold->row);
}

/* As the event and the attempts made say. */
static enum ledger_kind
kind_of_end(const struct hold_row *hold, const struct settle_event *settle, bool *left)
{
    const int32_t made = settle->attempts;
    const bool unmade = made > 0 && made < hold->attempt_count && hold->attempts[made - 1].state == ATTEMPT_DONE;
    *left = settle->dispatched && !unmade;
    return !*left ? LEDGER_RELEASE : settle->unbilled ? LEDGER_UNBILLED : LEDGER_SETTLE;
}

void
audit_settle(struct audit *audit, const struct sim_call *call, const struct verdict *verdict)
{
    const struct settle_event *settle = &call->event.settle;
    struct audit_hold *hold = audit_hold(audit, settle->hold_id);
    if (verdict->kind != VERDICT_ALLOWED) {
        return;
    }
    if (verdict->booked != (hold && hold->open)) {
        broken(audit->world, "hold %lld is %s, and its settlement was%s booked", (long long)settle->hold_id,
            hold && hold->open ? "open" : "gone", verdict->booked ? "" : " not");
    }
    if (!verdict->booked) {
        coverage.settled_twice++;
        return;
    }
    struct write *gone = audit_write(audit, WRITE_HOLD_GONE, settle->hold_id);
    if (!gone) {
        broken(audit->world, "hold %lld was settled, and is still in the store", (long long)settle->hold_id);
    }
    bool left = false;
    const struct hold_row row = hold->row;
    const enum ledger_kind kind = kind_of_end(&row, settle, &left);
    const int64_t pct = settle->multiplier_pct > 0 ? settle->multiplier_pct : row.multiplier_pct;
    const int64_t cost =
        kind == LEDGER_SETTLE ? audit_cost(audit_config_of(audit, &row), &row, &settle->usage, pct) : 0;
    const struct ledger_row *booked = take_rows(audit, hold, row.attempt_count);
    if (!booked || booked->kind != kind || booked->cost_micros != cost || verdict->cost_micros != cost) {
        broken(audit->world, "hold %lld ended as %s at %lld; the ledger says %s at %lld, the verdict %lld",
            (long long)settle->hold_id, ledger_kind_word(kind), (long long)cost,
            booked ? ledger_kind_word(booked->kind) : "nothing", booked ? (long long)booked->cost_micros : 0,
            (long long)verdict->cost_micros);
    }
    coverage.settled_over += cost > row.held_micros;
    audit->settling = true;
    audit_hold_gone(audit, hold, !left && row.attempt_count == 1, booked);
    audit->settling = false;
    audit->batch_turn = audit->turn;
    bounds_of(audit, &row);
}
