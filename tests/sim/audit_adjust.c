/* tests/sim/audit_adjust.c: corrections: of what a subject has used, and of calls that were booked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit_priv.h"

void
audit_adjust(struct audit *audit, struct write *write)
{
    struct audit_subject *subject = audit_subject(audit, write->about.subject_id);
    const int64_t limit_id = audit_limit_named(audit, &write->about);
    const struct sim_limit *limit = audit_means(audit, limit_id);
    if (!subject || !limit) {
        broken(audit->world, "a correction of limit '%s' for subject %lld, of which one is none", write->about.limit,
            (long long)write->about.subject_id);
    }
    subject->new_here = false;
    struct stand stand;
    const int64_t now_ms = max_i64(write->row.ledger.at_ms, subject->seen_ms);
    audit_stand(audit, subject, limit, limit_id, now_ms, &stand);
    if (write->told && stand.start_ms != write->about.window_ms) {
        broken(audit->world, "a correction of limit '%s' goes to the window of %lld; open is that of %lld", write->about.limit,
            (long long)write->about.window_ms, (long long)stand.start_ms);
    }
    struct audit_meter *meter = audit_meter(subject, limit_id, write->about.window_ms, true);
    meter->settled += write->about.delta;
    struct audit_meter *slack = audit_slack_of(audit, subject, meter);
    audit_allow(slack, max_i64(0, write->about.delta), 0);
    slack->credit += slack != meter ? max_i64(0, -write->about.delta) : 0;
    coverage.corrections++;
    if (write->told) {
        audit_warn_corrected(audit, subject, meter, limit_id, write);
    }
}


/* --- Of a call. */

const struct sim_limit *
audit_configured(const struct audit *audit, int64_t limit_id)
{
    const struct sim_adopted *adopted = &audit->world->adopted[max_i64(0, audit->node->adopted)];
    for (int i = 0; audit->node->adopted >= 0 && i < adopted->config.limit_count; i++) {
        if (adopted->limit_ids[i] == limit_id) {
            return &adopted->config.limits[i];
        }
    }
    return NULL;
}

static bool
was_told(const struct admin_adjust *adjust, const struct hold_part *part)
{
    for (int32_t i = 0; i < adjust->part_count; i++) {
        const struct adjust_part *told = &adjust->parts[i];
        if (told->limit_id == part->limit_id && told->window_ms == part->window_ms
            && (told->subject_id == 0 || told->subject_id == part->subject_id)) {
            return true;
        }
    }
    return false;
}

static bool
has_moved(const struct write *write, const char *limit, const struct hold_part *part)
{
    for (int i = 0; i < write->moved_count; i++) {
        const struct moved_meter *moved = &write->moved[i];
        if (strcmp(moved->limit, limit) == 0 && moved->subject_id == part->subject_id && moved->window_ms == part->window_ms
            && moved->delta == write->row.ledger.cost_micros) {
            return true;
        }
    }
    return false;
}

static void
move(struct audit *audit, struct audit_subject *subject, struct audit_meter *meter, int64_t delta)
{
    struct audit_meter *slack = audit_slack_of(audit, subject, meter);
    meter->settled += delta;
    audit_allow(slack, max_i64(0, delta), 0);
    slack->credit += slack != meter ? max_i64(0, -delta) : 0;
}

/* In every window of money that it was charged to, and that is not forgotten. Returns how many meters moved. */
static int
move_parts(struct audit *audit, const struct audit_hold *hold, const struct write *write, const struct admin_adjust *adjust)
{
    /* Limits were looked up by the configuration of when the call was read. */
    const bool unclear = !adjust || audit->adopted_turn == audit->turn
                         || audit->world->adopted[audit->node->adopted].at_ms >= adjust->read_ms;
    int count = 0;
    for (int32_t i = 0; i < hold->row.part_count; i++) {
        const struct hold_part *part = &hold->row.parts[i];
        const struct sim_limit *limit = audit_configured(audit, part->limit_id);
        struct audit_subject *subject = audit_subject(audit, part->subject_id);
        if (!subject) {
            continue; /* it was swept: what moved there would be one too many */
        }
        const bool last = audit_part_open(&hold->row, part);
        const bool sums = last && form_of(audit_means(audit, part->limit_id))->counts == COUNT_COST
                          && form_of(audit_means(audit, part->limit_id))->window != WINDOW_BUCKET;
        const bool named = limit && sums; /* its row tells by which of the limits of a name it counted */
        if (named && !unclear && !was_told(adjust, part)) {
            broken(audit->world, "the ledger does not tell that hold %lld counted for limit %s, subject %lld", (long long)hold->row.hold_id,
                limit->name, (long long)part->subject_id);
        }
        const int64_t now_ms = max_i64(write->row.ledger.at_ms, subject->seen_ms);
        struct audit_meter *meter = sums ? audit_meter_late(audit, subject, part) : NULL;
        const bool over = sums && form_of(audit_means(audit, part->limit_id))->window == WINDOW_ROLLING
                          && window_is_over(audit_means(audit, part->limit_id), part->window_ms, now_ms);
        /* A call that came back to a provider counts a second time in the same meter: by its last part. */
        const bool has = last && limit && has_moved(write, limit->name, part);
        /* One that nothing reads any more may have left its row earlier in this turn. */
        const bool may_stay = named && meter && !over;
        const bool due = unclear || (may_stay && !has && audit_may_leave(audit, subject, meter)) ? has && meter : may_stay;
        if (due != has) {
            const struct limit_form *form = form_of(audit_means(audit, part->limit_id));
            broken(audit->world, "call %lld is corrected by %lld, and limit %s (%s per %s, %s), subject %lld, window %lld is%s",
                (long long)hold->row.hold_id, (long long)write->row.ledger.cost_micros, limit ? limit->name : "that is gone",
                count_word(form->counts), per_word(form->per), window_word(form->window), (long long)part->subject_id,
                (long long)part->window_ms, has ? ", too" : " not");
        }
        if (due) {
            coverage.corrected_late += window_is_over(audit_means(audit, part->limit_id), part->window_ms, now_ms);
            move(audit, subject, meter, write->row.ledger.cost_micros);
            if (!unclear) {
                audit_warn_corrected(audit, subject, meter, part->limit_id, write);
            }
            count++;
        }
    }
    return count;
}

/* `adjust` NULL: nobody was told of it. */
static void
corrected(struct audit *audit, struct write *write, const struct admin_adjust *adjust)
{
    const struct ledger_row *row = &write->row.ledger;
    struct audit_hold *hold = audit_hold(audit, row->hold_id);
    static char given;
    const uint64_t key = audit_hash((uint64_t)row->hold_id, audit_text_hash(row->source));
    if (!hold || hold->open) {
        broken(audit->world, "call %lld is corrected, and is %s", (long long)row->hold_id, hold ? "in flight" : "none");
    }
    if (row->account_id != hold->row.account_id || row->key_id != hold->row.key_id || row->root_id != hold->row.root_id) {
        broken(audit->world, "the correction of call %lld is of somebody else", (long long)row->hold_id);
    }
    if (map_get(&audit->corrected, key)) {
        broken(audit->world, "call %lld is corrected twice by %s", (long long)row->hold_id, row->source);
    }
    check(map_put(&audit->corrected, key, &given));
    const int moved = move_parts(audit, hold, write, adjust);
    if (moved != write->moved_count) {
        broken(audit->world, "the correction of call %lld moved %d meters; %d are its own", (long long)row->hold_id, write->moved_count,
            moved);
    }
    coverage.corrected_up += row->cost_micros > 0;
    coverage.corrected_down += row->cost_micros < 0;
    coverage.corrected_orphans += hold->orphaned;
}

void
audit_adjust_untold(struct audit *audit, struct write *write)
{
    if (write->row.ledger.hold_id) {
        corrected(audit, write, NULL);
    } else {
        audit_adjust(audit, write);
    }
}

void
audit_adjust_call(struct audit *audit, const struct admin_event *admin, const struct verdict *verdict)
{
    const struct audit_hold *hold = audit_hold(audit, admin->adjust.hold_id);
    struct writes *writes = &audit->node->writes;
    if (verdict->admin == ADMIN_OPEN) {
        coverage.corrected_open++;
        if (!hold || !hold->open) {
            broken(audit->world, "call %lld is said to be in flight, and is settled", (long long)admin->adjust.hold_id);
        }
        return;
    }
    if (verdict->admin == ADMIN_STALE) { /* nothing is to be found of it */
        coverage.corrected_stale++;
        return;
    }
    if (verdict->admin == ADMIN_NOT_FOUND && admin->adjust.account_id == 0) {
        if (hold && hold->open) {
            broken(audit->world, "call %lld is said to be none, and is in flight", (long long)admin->adjust.hold_id);
        }
        return; /* it was settled since it was looked for */
    }
    for (int i = 0; i < writes->committed; i++) {
        struct write *write = &writes->items[i];
        const struct ledger_row *row = &write->row.ledger;
        if (write->kind == WRITE_LEDGER && write->told && !write->matched && row->kind == LEDGER_ADJUST
            && row->hold_id == admin->adjust.hold_id && row->cost_micros == admin->adjust.delta
            && strcmp(row->source, admin->actor) == 0) {
            write->matched = true;
            corrected(audit, write, &admin->adjust);
            return;
        }
    }
    broken(audit->world, "call %lld was corrected by %lld, and the ledger does not say so", (long long)admin->adjust.hold_id,
        (long long)admin->adjust.delta);
}
