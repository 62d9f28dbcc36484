/* core/thresholds.c: thresholds on reported percentages, as people set and see them.
 *
 * A threshold is a cap of the account's own in each limit that says who sets it (cap: {set: session_pct}). Both
 * are written at once, so that they never stand half changed. What is shown is judged as a call would be, for no
 * model in particular: every window counts. */
#include "core/core_priv.h"

/* Whether people set this limit's cap by that name. */
static bool
is_set_by(const struct limit *limit, const char *name)
{
    return limit->counts == COUNT_REPORTED && limit->per == PER_ACCOUNT && limit->set
           && strcmp(limit->set, name) == 0;
}

/* --- Setting. */

static const char *const threshold_names[] = { "session_pct", "week_pct" };

static int64_t
threshold_of(const struct thresholds *thresholds, size_t index)
{
    return index == 0 ? thresholds->session_pct : thresholds->week_pct;
}

static bool
threshold_valid(int64_t pct)
{
    return pct == CAP_UNLIMITED || (pct >= 1 && pct <= 100);
}

void
need_admin_thresholds(struct core *core, const struct admin_event *admin, struct needs *needs)
{
    const struct account_slot *account = work_account_name(core->work, admin->account.name);
    if (account && account->slot.state != SLOT_ABSENT) {
        const int64_t account_id = account->row.account_id;
        need_text(needs, NEED_SUBJECT, SUBJECT_ACCOUNT,
            work_subject(core->work, SUBJECT_ACCOUNT, account_id, ""), account_id, "");
    }
}

static int32_t
set_index(const struct subject_row *row, int64_t set_id)
{
    int32_t i = 0;
    while (i < row->set_count && (row->sets[i].set_id != set_id || row->sets[i].kind != SET_CAP)) {
        i++;
    }
    return i;
}

/* False: there is no room for one more. */
static bool
set_put(struct subject_row *row, int64_t set_id, int64_t pct, int64_t now_ms)
{
    const int32_t at = set_index(row, set_id);
    if (pct == CAP_UNLIMITED) { /* what rules without it rules again */
        if (at < row->set_count) {
            row->sets[at] = row->sets[--row->set_count];
        }
        return true;
    }
    if (at == SETS_MAX) {
        return false;
    }
    row->set_count += at == row->set_count;
    row->sets[at] =
        (struct cap_set){ .set_id = set_id, .kind = SET_CAP, .amount = pct, .set_ms = now_ms };
    return true;
}

/* False: no limit has this threshold though one is wanted, or there is no room. */
static bool
thresholds_put(struct core *core, const struct thresholds *thresholds, struct subject_row *row)
{
    for (size_t name = 0; name < countof(threshold_names); name++) {
        const int64_t pct = threshold_of(thresholds, name);
        bool found = false;
        for (int32_t i = 0; i < core->policy->limit_count; i++) {
            const struct limit *limit = &core->policy->limits[i];
            if (!is_set_by(limit, threshold_names[name])) {
                continue;
            }
            found = true;
            if (!set_put(row, limit->set_id, pct, core->now_ms)) {
                return false;
            }
        }
        if (!found && pct != CAP_UNLIMITED) {
            return false;
        }
    }
    return true;
}

void
decide_admin_thresholds(struct core *core, const struct admin_event *admin, struct verdict *verdict)
{
    const struct account_slot *account = work_account_name(core->work, admin->account.name);
    if (!account || account->slot.state == SLOT_ABSENT) {
        verdict->admin = ADMIN_NOT_FOUND;
        return;
    }
    const int64_t account_id = account->row.account_id;
    struct subject_slot *slot = work_subject(core->work, SUBJECT_ACCOUNT, account_id, "");
    const bool absent = !slot || slot->slot.state == SLOT_ABSENT;
    struct subject_row row = { .account_id = account_id, .kind = SUBJECT_ACCOUNT };
    if (!absent) {
        row = slot->row;
    }
    const bool valid = threshold_valid(admin->thresholds.session_pct)
                       && threshold_valid(admin->thresholds.week_pct);
    if (!valid || !thresholds_put(core, &admin->thresholds, &row)) {
        verdict->admin = ADMIN_INVALID;
        return;
    }
    if (absent) {
        row.subject_id = ids_take(core->ids);
        slot = work_new_subject(core->work, &row);
    }
    if (slot) {
        slot->row = row;
        slot->slot.dirty = true;
        core->work->identity_changed = true;
        (void)admin_note(core, admin, account_id, 0);
        verdict->new_id = account_id;
    }
}

/* --- Showing. */

static struct caller
caller_of_account(const struct core *core, int64_t account_id)
{
    const struct account_slot *account = work_account(core->work, account_id);
    const bool known = account && account->slot.state != SLOT_ABSENT;
    return (struct caller){
        .policy = core->policy, .account = known ? &account->row : NULL, .account_id = account_id
    };
}

static bool
asks_for_report(const struct needs *needs, int64_t account_id)
{
    for (int32_t i = 0; i < needs->count; i++) {
        if (needs->items[i].kind == NEED_REPORTED && needs->items[i].id == account_id) {
            return true;
        }
    }
    return false;
}

void
core_usage_needs(struct core *core, int64_t account_id, struct needs *needs)
{
    const struct account_slot *account = work_account(core->work, account_id);
    need_id(needs, NEED_ACCOUNT, account, account_id);
    if (account && account->slot.state != SLOT_ABSENT) {
        const struct caller caller = caller_of_account(core, account_id);
        need_usage_caps(core, &caller, needs);
        if (!work_reported(core->work, account_id) && !asks_for_report(needs, account_id)) {
            (void)needs_add_id(needs, NEED_REPORTED, account_id); /* shown though no limit goes by it */
        }
    }
}

static int64_t
cap_tried(const struct limit *limit, const struct usage_try *tried, int64_t cap_pct)
{
    if (!tried) {
        return cap_pct;
    }
    return is_set_by(limit, threshold_names[0])   ? tried->session_pct
           : is_set_by(limit, threshold_names[1]) ? tried->week_pct
                                                  : cap_pct;
}

static void
judge_limit(struct core *core, const struct limit *limit, const struct caller *caller,
    const struct usage_try *tried, struct usage_limit *shown)
{
    struct subject_key keys[SUBJECTS_PER_LIMIT];
    (void)limit_subjects(limit, caller, keys);
    const struct cap_ruling ruling = cap_rule(core, limit, caller, &keys[0]);
    const int64_t cap_pct = cap_tried(limit, tried, ruling.cap);
    const struct reported_ask ask = { .limit = limit,
        .row = reported_of(core, limit, caller->account_id),
        .cap_pct = cap_pct,
        .now_ms = core->now_ms };
    const struct subject_slot *subject = subject_find(core, &keys[0]);
    const struct cap_set *own =
        subject ? cap_set_find(&subject->row, limit->set_id, SET_CAP, core->now_ms) : NULL;
    *shown = (struct usage_limit){ .limit = limit,
        .cap_pct = cap_pct,
        .own_pct = own ? own->amount : CAP_UNLIMITED,
        .tier = cap_tier_word(ruling.tier),
        .answer = reported_judge(&ask) };
    shown->state = reported_state_word(shown->answer.state);
    shown->pauses = shown->answer.reason != REASON_OK && limit_enforces(limit);
}

/* As a call of any model would meet them: short windows first. */
static void
judge_limits(struct core *core, const struct caller *caller, const struct usage_try *tried,
    struct usage_view *view)
{
    for (int long_ones = 0; long_ones < 2; long_ones++) {
        for (int32_t i = 0; i < core->policy->limit_count; i++) {
            const struct limit *limit = &core->policy->limits[i];
            const bool is_long = limit->span_ms > DAY_MS;
            if (limit->counts == COUNT_REPORTED && is_long == (long_ones == 1)
                && view->limit_count < USAGE_LIMITS_MAX) {
                judge_limit(core, limit, caller, tried, &view->limits[view->limit_count++]);
            }
        }
    }
}

/* Too old to count, by the limit that goes by it; a window that none goes by is as old as it is. */
static const char *
state_of_window(const struct usage_view *view, const struct reported_window *window, int64_t now_ms)
{
    if (window->resets_at_ms && window->resets_at_ms <= now_ms) {
        return reported_state_word(REPORTED_RESET);
    }
    for (int32_t i = 0; i < view->limit_count; i++) {
        const struct limit *limit = view->limits[i].limit;
        if (limit->per != PER_GATEWAY && reported_is_of(limit, window) && limit->max_age_ms > 0
            && now_ms - window->captured_ms > limit->max_age_ms) {
            return reported_state_word(REPORTED_STALE);
        }
    }
    return reported_state_word(REPORTED_KNOWN);
}

void
core_usage(
    struct core *core, int64_t account_id, const struct usage_try *tried, struct usage_view *view)
{
    const struct caller caller = caller_of_account(core, account_id);
    const struct reported_slot *slot = work_reported(core->work, account_id);
    *view = (struct usage_view){ .account = caller.account };
    if (!view->account) {
        return;
    }
    judge_limits(core, &caller, tried, view);
    view->reported = slot && slot->slot.state != SLOT_ABSENT ? &slot->row : NULL;
    for (int32_t i = 0; view->reported && i < view->reported->window_count; i++) {
        view->states[i] = state_of_window(view, &view->reported->windows[i], core->now_ms);
    }
    for (int32_t i = 0; i < view->limit_count; i++) {
        if (view->limits[i].pauses && !view->pausing) {
            view->pausing = &view->limits[i];
        }
        for (size_t name = 0; name < countof(threshold_names); name++) {
            if (is_set_by(view->limits[i].limit, threshold_names[name])) {
                view->thresholds[name] = &view->limits[i];
            }
        }
    }
}
