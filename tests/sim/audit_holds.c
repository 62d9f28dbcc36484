/* tests/sim/audit_holds.c: the life of a hold: made, changed, resolved exactly once. */
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

static const struct sim_limit *
limit_in(struct audit *audit, const struct hold_row *hold, int64_t limit_id)
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

static bool
part_is_money(struct audit *audit, const struct hold_part *part)
{
    const struct limit_form *form = audit_form(audit, part->limit_id);
    return form && form->counts == COUNT_COST;
}

static bool
part_is_bucket(struct audit *audit, const struct hold_part *part)
{
    const struct limit_form *form = audit_form(audit, part->limit_id);
    return form && form->window == WINDOW_BUCKET;
}

static struct audit_subject *
subject_of(struct audit *audit, const struct hold_part *part)
{
    struct audit_subject *subject = audit_subject(audit, part->subject_id);
    if (!subject) {
        broken(audit->world, "a part of subject %lld, which is none", (long long)part->subject_id);
    }
    return subject;
}

/* The cost part, in the hold and in each part of money, is what was promised for that many tokens. */
static void
check_amounts(struct audit *audit, const struct hold_row *row, bool is_new)
{
    const struct sim_config *config = audit_config_of(audit, row);
    const int64_t held = audit_price(config, row, row->est_input, row->held_output);
    const int64_t bound = max_i64(held, audit_price(config, row, row->input_bound, row->bound_output));
    if (row->held_micros != held || row->bound_micros != bound) {
        broken(audit->world, "hold %lld holds %lld, bound %lld; its tokens cost %lld, %lld", (long long)row->hold_id,
            (long long)row->held_micros, (long long)row->bound_micros, (long long)held, (long long)bound);
    }
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        const bool money = part_is_money(audit, part);
        /* Its window was over, or its limit gone, when it held nothing: the meter went, and nothing reads it. */
        const struct audit_subject *subject = subject_of(audit, part);
        const struct audit_meter *meter =
            is_new ? NULL : audit_meter(subject_of(audit, part), part->limit_id, part->window_ms, false);
        const bool left = !is_new && money && part->held == 0 && part->bound == 0
                          && (!meter || audit_may_leave(audit, subject, meter));
        if (!left && (part->held != (money ? held : 1) || part->bound != (money ? bound : 1))) {
            broken(audit->world, "hold %lld: its part of limit %lld holds %lld, bound %lld", (long long)row->hold_id,
                (long long)part->limit_id, (long long)part->held, (long long)part->bound);
        }
    }
}

static void
charge_bucket(struct audit *audit, const struct hold_row *row, const struct hold_part *part)
{
    const struct sim_limit *limit = limit_in(audit, row, part->limit_id);
    struct audit_subject *subject = subject_of(audit, part);
    struct audit_meter *meter = audit_meter_any(subject, part->limit_id);
    meter = meter ? meter : audit_meter(subject, part->limit_id, 0, true);
    const int64_t at_ms = max_i64(row->created_ms, subject->seen_ms);
    meter->settled = audit_level(meter, limit->rate, at_ms) + limit->period_ms;
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
    hold->stream = row->on_abort == ON_ABORT_STOPS;
    audit->open_holds++;
    audit->unclaimed_holds += !claimed;
    check_amounts(audit, row, true);
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        struct audit_subject *subject = subject_of(audit, part);
        subject->new_here = false;
        if (part_is_bucket(audit, part)) {
            charge_bucket(audit, row, part);
            continue;
        }
        struct audit_meter *meter = audit_meter(subject, part->limit_id, part->window_ms, true);
        meter->held += part->held;
        meter->bound += part->bound;
        meter->opens++;
    }
    return hold;
}

void
audit_hold_changed(struct audit *audit, struct audit_hold *hold, const struct hold_row *row)
{
    const struct hold_row *before = &hold->row;
    if (row->part_count != before->part_count || row->account_id != before->account_id
        || row->root_id != before->root_id || row->created_ms != before->created_ms) {
        broken(audit->world, "hold %lld became another one", (long long)row->hold_id);
    }
    check_amounts(audit, row, false);
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        const struct hold_part *old = &before->parts[i];
        if (part->limit_id != old->limit_id || part->subject_id != old->subject_id
            || part->window_ms != old->window_ms) {
            broken(audit->world, "hold %lld: a part moved to another meter", (long long)row->hold_id);
        }
        struct audit_meter *meter =
            part_is_bucket(audit, part)
                ? NULL
                : audit_meter(subject_of(audit, part), part->limit_id, part->window_ms, false);
        if (meter) {
            meter->held += part->held - old->held;
            meter->bound += part->bound - old->bound;
        }
    }
    hold->row = *row;
}

static void
refund_bucket(struct audit *audit, struct audit_hold *hold, const struct hold_part *part, int64_t at_ms)
{
    struct audit_subject *subject = subject_of(audit, part);
    struct audit_meter *meter = audit_meter_any(subject, part->limit_id);
    if (!meter) {
        return;
    }
    const struct sim_limit *limit = limit_in(audit, &hold->row, part->limit_id);
    const struct audit_meter charge = { .window_ms = hold->row.created_ms, .settled = limit->period_ms };
    const int64_t back = audit_level(&charge, limit->rate, max_i64(at_ms, subject->seen_ms));
    if (!hold->claimed) {
        meter->fuzzy = true; /* its configuration may be gone, since nobody was told of the hold */
        return;
    }
    meter->settled = max_i64(0, meter->settled - back);
}

void
audit_hold_gone(struct audit *audit, struct audit_hold *hold, bool refund, int64_t at_ms)
{
    const struct hold_row *row = &hold->row;
    if (!hold->open) {
        broken(audit->world, "hold %lld is resolved twice", (long long)row->hold_id);
    }
    const uint32_t all = (UINT32_C(1) << row->attempt_count) - 1;
    if (hold->rows_seen != all) {
        broken(audit->world, "hold %lld is gone, with attempts %x of %x on the ledger", (long long)row->hold_id,
            hold->rows_seen, all);
    }
    hold->open = false;
    audit->open_holds--;
    audit->unclaimed_holds -= !hold->claimed;
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        if (part_is_bucket(audit, part)) {
            if (refund) {
                refund_bucket(audit, hold, part, at_ms);
            }
            continue;
        }
        struct audit_subject *subject = subject_of(audit, part);
        struct audit_meter *meter = audit_meter(subject, part->limit_id, part->window_ms, false);
        if (meter) {
            meter->held -= part->held;
            meter->bound -= part->bound;
            meter->opens--;
            const struct audit_limit *limit = audit_limit_of(audit, part->limit_id);
            coverage.forms[limit->form][FORM_GIVEN_BACK]++;
            const struct calendar_span span =
                calendar_window(limit->zone, sim_forms[limit->form].window, part->window_ms);
            coverage.forms[limit->form][FORM_TURNED] += span.end_ms != 0 && at_ms >= span.end_ms;
            coverage.settled_late += span.end_ms != 0 && at_ms >= span.end_ms;
        }
    }
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
    for (int32_t i = 0; i < own->part_count && row->cost_micros > 0; i++) {
        const struct hold_part *part = &own->parts[i];
        struct audit_subject *subject = subject_of(audit, part);
        struct audit_meter *meter = part_is_money(audit, part)
                                        ? audit_meter(subject, part->limit_id, part->window_ms, false)
                                        : NULL;
        if (meter) {
            meter->settled += row->cost_micros;
            meter->slack += max_i64(0, row->cost_micros - part->held);
        }
    }
}

/* --- What clients ask of a hold they have. */

static void
bounds_of(struct audit *audit, const struct hold_row *row)
{
    for (int32_t i = 0; i < row->part_count; i++) {
        struct audit_subject *subject = subject_of(audit, &row->parts[i]);
        struct audit_meter *meter = audit_meter(subject, row->parts[i].limit_id, row->parts[i].window_ms, false);
        if (meter) {
            audit_bound(audit, subject, meter);
        }
    }
}

/* What each cap of money had room for is all that may have been given. */
static void
within_caps(struct audit *audit, const struct hold_row *row, int64_t grew_micros, const char *what)
{
    const struct audit_account *account = audit_account(audit, row->account_id);
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        struct audit_subject *subject = subject_of(audit, part);
        struct audit_meter *meter = audit_meter(subject, part->limit_id, part->window_ms, false);
        if (!meter || !part_is_money(audit, part) || audit_may_leave(audit, subject, meter)) {
            continue;
        }
        const int64_t cap = sim_cap(limit_in(audit, row, part->limit_id), account->plan);
        if (cap != CAP_UNLIMITED && meter->unclear_turn != audit->turn && meter->settled + meter->held > cap) {
            broken(audit->world, "%s of hold %lld passes the cap %lld of limit %lld: settled %lld, held %lld", what,
                (long long)row->hold_id, (long long)cap, (long long)part->limit_id, (long long)meter->settled,
                (long long)meter->held);
        }
        if (cap == CAP_UNLIMITED || audit_cap_now(audit, subject, part->limit_id) < cap) {
            meter->slack += max_i64(0, grew_micros); /* by a cap of before an edit */
        }
    }
}

void
audit_raise(struct audit *audit, const struct hold_row *row, int64_t raise_micros)
{
    for (int32_t i = 0; i < row->part_count; i++) {
        struct audit_meter *meter =
            audit_meter(subject_of(audit, &row->parts[i]), row->parts[i].limit_id, row->parts[i].window_ms, false);
        if (meter && part_is_money(audit, &row->parts[i])) {
            meter->slack += max_i64(0, raise_micros);
        }
    }
}

/* Settled in the same turn, so that nobody saw what it held in between. */
static void
unclear(struct audit *audit, const struct audit_hold *hold)
{
    for (int32_t i = 0; i < hold->row.part_count; i++) {
        const struct hold_part *part = &hold->row.parts[i];
        struct audit_meter *meter = audit_meter(subject_of(audit, part), part->limit_id, part->window_ms, false);
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
    audit_hold_changed(audit, hold, row);
    if (row->held_output > before.held_output && row->held_micros > before.held_micros) {
        within_caps(audit, row, row->held_micros - before.held_micros, "an extension");
    } else {
        audit_raise(audit, row, row->held_micros - before.held_micros);
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
            && write->row.ledger.hold_id == hold->row.hold_id && write->row.ledger.attempt < attempts) {
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
    audit_hold_changed(audit, hold, &write->row.hold);
    within_caps(audit, &hold->row, cost + hold->row.held_micros - before.held_micros, "another attempt");
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
    audit_hold_gone(audit, hold, !left && row.attempt_count == 1, booked->at_ms);
    bounds_of(audit, &row);
}
