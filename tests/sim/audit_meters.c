/* tests/sim/audit_meters.c: sums, caps and their bounds.
 *
 * The bound of a cap of money under `stream`, from DESIGN's words: at most the sum over calls in flight of (real -
 * estimated input, plus output billed beyond the held part). So from the moment when a meter was last within its
 * cap, each settlement may add what it cost beyond what it held, each exact input what it raises; nothing else may
 * add anything. `slack` is that sum. Of units (in flight, buckets) the bound is 0. */
#include <stdlib.h>
#include <string.h>

#include "audit_priv.h"

const struct limit_form *
audit_form(struct audit *audit, int64_t limit_id)
{
    const struct audit_limit *limit = audit_limit_of(audit, limit_id);
    return limit ? &sim_forms[limit->form] : NULL;
}

int64_t
audit_level(const struct audit_meter *meter, int64_t rate, int64_t at_ms)
{
    const int64_t elapsed_ms = at_ms > meter->window_ms ? at_ms - meter->window_ms : 0;
    const __int128 left = meter->settled - (__int128)elapsed_ms * rate;
    return left < 0 ? 0 : (int64_t)left;
}

/* A cap of a subject that belongs to no account is the largest of all plans. */
static int64_t
cap_of(struct audit *audit, const struct sim_limit *limit, const struct audit_subject *subject)
{
    const struct audit_account *account =
        subject->row.account_id ? audit_account(audit, subject->row.account_id) : NULL;
    if (account) {
        return sim_cap(limit, account->plan);
    }
    int64_t most = 0;
    for (int i = 0; i < SIM_PLANS; i++) {
        const int64_t cap = sim_cap(limit, sim_plans[i]);
        most = cap == CAP_UNLIMITED ? INT64_MAX : max_i64(most, cap);
    }
    return most;
}

int64_t
audit_cap_now(struct audit *audit, const struct audit_subject *subject, int64_t limit_id)
{
    const struct world *world = audit->world;
    int64_t most = -1;
    for (int i = 0; i < world->adopted_count; i++) {
        const struct sim_adopted *adopted = &world->adopted[i];
        for (int k = 0; adopted->policy && k < adopted->config.limit_count; k++) {
            if (adopted->limit_ids[k] == limit_id) {
                const int64_t cap = cap_of(audit, &adopted->config.limits[k], subject);
                most = max_i64(most, cap == CAP_UNLIMITED ? INT64_MAX : cap);
            }
        }
    }
    return most < 0 ? INT64_MAX : most;
}

static int64_t
over(struct audit *audit, const struct audit_subject *subject, const struct audit_meter *meter)
{
    const int64_t cap = audit_cap_now(audit, subject, meter->limit_id);
    return cap == INT64_MAX ? 0 : max_i64(0, meter->settled + meter->held - cap);
}

static bool
is_money(struct audit *audit, const struct audit_meter *meter)
{
    const struct limit_form *form = audit_form(audit, meter->limit_id);
    return form && form->counts == COUNT_COST;
}

void
audit_bound(struct audit *audit, struct audit_subject *subject, struct audit_meter *meter)
{
    if (!is_money(audit, meter)) {
        return;
    }
    const int64_t past = over(audit, subject, meter);
    if (past == 0) {
        meter->slack = 0;
        return;
    }
    if (meter->unclear_turn == audit->turn) {
        meter->slack = max_i64(meter->slack, past);
    }
    if (past > meter->slack) {
        broken(audit->world,
            "the cap of limit %lld for subject %lld is passed by %lld micro-USD; its printed bound is %lld",
            (long long)meter->limit_id, (long long)subject->row.subject_id, (long long)past,
            (long long)meter->slack);
    }
    const struct audit_limit *limit = audit_limit_of(audit, meter->limit_id);
    coverage.forms[limit->form][FORM_PAST_CAP]++;
    if (past > coverage.overshoot_max) {
        coverage.overshoot_max = past;
        coverage.bound_at_max = meter->slack;
    }
}

void
audit_rebase(struct audit *audit)
{
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    while (map_next(&audit->subjects, &cursor, &key, &value)) {
        struct audit_subject *subject = value;
        for (struct audit_meter *meter = subject->meters; meter; meter = meter->next) {
            if (is_money(audit, meter)) {
                meter->slack = max_i64(meter->slack, over(audit, subject, meter));
            }
        }
    }
}

/* Nothing reads it any more: its window is over, or no limit has its number now. */
bool
audit_may_leave(struct audit *audit, const struct audit_subject *subject, const struct audit_meter *meter)
{
    const struct audit_limit *limit = audit_limit_of(audit, meter->limit_id);
    const struct sim_adopted *adopted = &audit->world->adopted[max_i64(0, audit->node->adopted)];
    if (meter->held != 0 || meter->bound != 0 || audit->node->adopted < 0) {
        return false;
    }
    for (int i = 0; i < adopted->config.limit_count; i++) {
        if (adopted->limit_ids[i] == meter->limit_id) {
            const enum window_kind window = sim_forms[limit->form].window;
            const struct engine *engine = audit->node->engine;
            const int64_t now_ms = max_i64(subject->seen_ms, engine ? engine->core.now_ms : 0);
            const struct calendar_span span = calendar_window(limit->zone, window, now_ms);
            return span.end_ms != 0 && meter->window_ms < span.start_ms;
        }
    }
    return true;
}

static const struct meter *
stored_meter(const struct meter_row *row, const struct audit_meter *meter)
{
    for (int32_t i = 0; i < row->meter_count; i++) {
        if (row->meters[i].limit_id == meter->limit_id && row->meters[i].window_ms == meter->window_ms) {
            return &row->meters[i];
        }
    }
    return NULL;
}

static void
compare_meter(struct audit *audit, const struct audit_subject *subject, struct audit_meter *own,
    const struct meter *stored)
{
    if (own->fuzzy) {
        own->settled = min_i64(own->settled, max_i64(0, stored->settled));
        own->fuzzy = false;
    }
    if (own->settled != stored->settled || own->held != stored->held || own->bound != stored->bound) {
        broken(audit->world,
            "the meter of limit %lld, subject %lld, window %lld says settled %lld, held %lld, bound %lld; ledger and "
            "open holds sum up to %lld, %lld, %lld",
            (long long)own->limit_id, (long long)subject->row.subject_id, (long long)own->window_ms,
            (long long)stored->settled, (long long)stored->held, (long long)stored->bound, (long long)own->settled,
            (long long)own->held, (long long)own->bound);
    }
}

void
audit_meter_row(struct audit *audit, const struct meter_row *row)
{
    struct audit_subject *subject = audit_subject(audit, row->subject_id);
    if (!subject) {
        broken(audit->world, "meters of subject %lld, which is none", (long long)row->subject_id);
    }
    if (row->seen_ms < subject->seen_ms) {
        broken(audit->world, "time goes back for subject %lld: %lld after %lld", (long long)row->subject_id,
            (long long)row->seen_ms, (long long)subject->seen_ms);
    }
    subject->seen_ms = row->seen_ms;
    int32_t found = 0;
    for (struct audit_meter **at = &subject->meters; *at;) {
        struct audit_meter *own = *at;
        const struct meter *stored = stored_meter(row, own);
        if (stored) {
            compare_meter(audit, subject, own, stored);
            found++;
        } else if (audit_may_leave(audit, subject, own)) {
            *at = own->next;
            free(own);
            continue;
        } else {
            broken(audit->world, "the meter of limit %lld, subject %lld, window %lld is lost: settled %lld, held %lld",
                (long long)own->limit_id, (long long)row->subject_id, (long long)own->window_ms,
                (long long)own->settled, (long long)own->held);
        }
        at = &own->next;
    }
    if (found != row->meter_count) {
        broken(audit->world, "subject %lld has %d meters; ledger and holds know %d of them", (long long)row->subject_id,
            row->meter_count, found);
    }
}
