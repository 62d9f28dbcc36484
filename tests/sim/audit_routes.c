/* tests/sim/audit_routes.c: a hold that changes: it grows, or goes to another route. Limits on what one provider serves
 * count the attempts that go there, by the auditor's own reading of who served them. */
#include <string.h>

#include "audit_priv.h"

bool
audit_part_open(const struct hold_row *row, const struct hold_part *part)
{
    return part_counts_attempt(part, row->attempt_count - 1);
}

bool
audit_part_left(const struct sim_limit *limit, const struct hold_part *part)
{
    return part->to > 0 && form_of(limit)->counts != COUNT_REQUESTS;
}

static bool
serves(const struct sim_limit *limit, const struct hold_row *row, int32_t attempt)
{
    return limit->provider < 0 || strcmp(sim_providers[limit->provider], row->attempts[attempt].provider) == 0;
}

void
audit_attempts(struct audit *audit, const struct hold_row *row, const struct hold_part *part, const struct sim_limit *limit)
{
    for (int32_t attempt = 0; attempt < row->attempt_count; attempt++) {
        int counted = 0;
        for (int32_t i = 0; i < row->part_count; i++) {
            const struct hold_part *other = &row->parts[i];
            counted += other->limit_id == part->limit_id && other->subject_id == part->subject_id
                       && part_counts_attempt(other, attempt);
        }
        if (counted != serves(limit, row, attempt)) {
            broken(audit->world, "hold %lld: attempt %d at %s counts %d times for limit %s of %s", (long long)row->hold_id,
                attempt, row->attempts[attempt].provider, counted, limit->name,
                limit->provider < 0 ? "all" : sim_providers[limit->provider]);
        }
    }
}

const struct hold_part *
audit_part_before(const struct hold_row *before, const struct hold_part *part)
{
    for (int32_t i = 0; i < before->part_count; i++) {
        const struct hold_part *old = &before->parts[i];
        if (old->limit_id == part->limit_id && old->subject_id == part->subject_id && old->from == part->from
            && old->window_ms == part->window_ms) {
            return old;
        }
    }
    return NULL;
}

/* All that was there is there still, but that what rested may have begun. */
static void
check_same_parts(struct audit *audit, const struct hold_row *before, const struct hold_row *row)
{
    for (int32_t i = 0; i < before->part_count; i++) {
        const struct hold_part *old = &before->parts[i];
        bool there = false;
        for (int32_t k = 0; k < row->part_count; k++) {
            const struct hold_part *part = &row->parts[k];
            const bool same = part->limit_id == old->limit_id && part->subject_id == old->subject_id;
            const bool began = part_rests(old) && part->from == row->attempt_count - 1;
            there = there || (same && (began || (part->from == old->from && part->window_ms == old->window_ms)));
        }
        if (!there) {
            broken(audit->world, "hold %lld: a part moved to another meter", (long long)row->hold_id);
        }
    }
}

/* An attempt that was booked before the last one comes on top of what the bucket was charged with. */
static void
spend_buckets(struct audit *audit, struct audit_hold *hold, const struct ledger_row *row)
{
    for (int32_t i = 0; i < hold->row.part_count; i++) {
        const struct hold_part *part = &hold->row.parts[i];
        const struct sim_limit *limit = audit_means(audit, part->limit_id);
        if (audit_part_open(&hold->row, part) && audit_is_bucket(audit, part) && in_steps(limit)) {
            audit_settle_bucket(audit, hold, part, part->held + audit_used(limit, row), row);
        }
    }
}

/* It is asked now as a call that begins there; in steps: see within_caps. */
static void
part_began(struct audit *audit, const struct hold_row *row, const struct hold_part *part, bool claimed)
{
    const struct sim_limit *limit = audit_limit_in(audit, row, part->limit_id);
    struct audit_subject *subject = audit_subject_of(audit, part);
    const int64_t event_ms = audit->node->engine->core.now_ms;
    const int64_t now_ms = max_i64(subject->seen_ms, event_ms);
    struct stand stand;
    audit_stand(audit, subject, limit, part->limit_id, now_ms, &stand);
    if (part->from != row->attempt_count - 1 || part->window_ms != stand.start_ms) {
        broken(audit->world, "hold %lld: its part of limit %s begins with attempt %d, in the window of %lld; open is that of %lld",
            (long long)row->hold_id, limit->name, part->from, (long long)part->window_ms, (long long)stand.start_ms);
    }
    const bool counted = !in_steps(limit) && !audit_is_bucket(audit, part);
    if (claimed && counted && part->enforced && !stand.unclear && stand.settled + stand.held + part->held > part->cap) {
        broken(audit->world, "hold %lld goes on past the cap %lld of limit %s: settled %lld, held %lld, asked %lld",
            (long long)row->hold_id, (long long)part->cap, limit->name, (long long)stand.settled, (long long)stand.held,
            (long long)part->held);
    }
    coverage.entered++;
    if (audit_is_bucket(audit, part)) {
        audit_charge_bucket(audit, row, part, claimed, event_ms);
        return;
    }
    audit_rolling_charge(subject, part);
    struct audit_meter *meter = audit_meter(subject, part->limit_id, part->window_ms, true);
    meter->held += part->held;
    meter->bound += part->bound;
    meter->opens++;
}

static void
part_changed(struct audit *audit, struct audit_hold *hold, const struct hold_row *row, const struct hold_part *old,
    const struct hold_part *part)
{
    const struct sim_limit *limit = audit_limit_in(audit, row, part->limit_id);
    const bool left = old->to == 0 && audit_part_left(limit, part);
    coverage.left += left;
    if (part_rests(part)) {
        return;
    }
    if (audit_is_bucket(audit, part)) {
        const struct ledger_row now = { .at_ms = audit->node->engine->core.now_ms };
        if (left) {
            audit_settle_bucket(audit, hold, old, 0, &now);
        }
        return;
    }
    struct audit_meter *meter = audit_meter(audit_subject_of(audit, part), part->limit_id, part->window_ms, false);
    if (meter) {
        meter->held += part->held - old->held;
        meter->bound += part->bound - old->bound;
        meter->opens -= left;
    }
}

void
audit_hold_changed(struct audit *audit, struct audit_hold *hold, const struct hold_row *row,
    const struct ledger_row *given_up, bool claimed)
{
    const struct hold_row *before = &hold->row;
    if (row->part_count < before->part_count || row->account_id != before->account_id
        || row->root_id != before->root_id || row->created_ms != before->created_ms) {
        broken(audit->world, "hold %lld became another one", (long long)row->hold_id);
    }
    audit_promised(audit, row, false);
    check_same_parts(audit, before, row);
    if (given_up) {
        spend_buckets(audit, hold, given_up);
    }
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *old = audit_part_before(before, &row->parts[i]);
        if (old) {
            part_changed(audit, hold, row, old, &row->parts[i]);
        }
    }
    for (int32_t i = 0; i < row->part_count; i++) {
        if (!audit_part_before(before, &row->parts[i])) {
            part_began(audit, row, &row->parts[i], claimed);
        }
    }
    hold->row = *row;
}
