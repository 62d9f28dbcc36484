/* core/reported.c: percentages of providers' own windows, judged and kept; see the header. */
#include "core/reported.h"

#include "core/core_priv.h"
#include "rows/pack.h"

#define SAME_REPORT_MS                                                                             \
    (10 * SECOND_MS) /* headers that say the same again so soon are not written anew */

const char *
reported_state_word(enum reported_state state)
{
    static const char *const words[] = { "known", "reset", "stale", "missing" };
    _Static_assert(countof(words) == REPORTED_STATE_COUNT, "a word each");
    return words[state];
}

/* --- Which windows count. */

/* By its public name, or by what its providers call it. */
static bool
governs(const struct reported_window *window, const struct model *model)
{
    struct slice rest = slice_str(window->models);
    struct slice pattern = { 0 };
    if (rest.len == 0 || !model) {
        return true;
    }
    while (slice_split(&rest, ',', &pattern)) {
        bool fits = slice_like(slice_str(model->name), pattern);
        for (int32_t i = 0; !fits && i < model->route_count; i++) {
            fits = slice_like(slice_str(model->routes[i].model), pattern);
        }
        if (fits) {
            return true;
        }
    }
    return false;
}

bool
reported_is_of(const struct limit *limit, const struct reported_window *window)
{
    return reported_span_ms(window->window) == limit->span_ms
           && strcmp(window->models, REPORTED_NO_MODELS) != 0;
}

static bool
is_of_credential(const struct reported_window *window, const char *credential)
{
    return !window->credential[0] || strcmp(window->credential, credential) == 0;
}

/* Of a provider that would not be asked: what it says is no reason to stop. */
static bool
is_of_another(const struct reported_ask *ask, const struct reported_window *window)
{
    if (!ask->credential || is_of_credential(window, ask->credential)) {
        return false;
    }
    const struct slice name = slice_str(window->credential);
    return ask->limit->per == PER_GATEWAY
           || (ask->policy && policy_provider_index(ask->policy, name) >= 0);
}

static bool
counts_here(const struct reported_ask *ask, const struct reported_window *window)
{
    return reported_is_of(ask->limit, window) && governs(window, ask->model)
           && !is_of_another(ask, window);
}

/* Whether something is reported of the very credential, so that others' windows are not asked. */
static bool
credential_is_known(const struct reported_ask *ask)
{
    for (int32_t i = 0; ask->credential && i < ask->row->window_count; i++) {
        const struct reported_window *window = &ask->row->windows[i];
        if (counts_here(ask, window) && is_of_credential(window, ask->credential)) {
            return true;
        }
    }
    return false;
}

/* --- The judgement. */

static struct reported_answer
look_at(const struct reported_ask *ask, const struct reported_window *window)
{
    struct reported_answer answer = { .window = window };
    if (window->resets_at_ms && window->resets_at_ms <= ask->now_ms) {
        answer.state = REPORTED_RESET;
        return answer;
    }
    const bool stale =
        ask->limit->max_age_ms > 0 && ask->now_ms - window->captured_ms > ask->limit->max_age_ms;
    answer.resets_at_ms = window->resets_at_ms;
    answer.state = stale ? REPORTED_STALE : REPORTED_KNOWN;
    if (!stale || ask->limit->on_stale != FACT_TREAT_AS_RESET) {
        answer.used_milli_pct = window->used_milli_pct;
    }
    return answer;
}

/* What this window says by itself. */
static enum reason
reason_of(const struct reported_ask *ask, const struct reported_answer *answer)
{
    const bool is_short = ask->limit->span_ms <= DAY_MS;
    if (answer->state == REPORTED_STALE) {
        return ask->limit->on_stale == FACT_DENY ? REASON_USAGE_UNKNOWN : REASON_OK;
    }
    if (answer->used_milli_pct < ask->cap_pct * MILLI_PCT) {
        return REASON_OK;
    }
    return is_short ? REASON_SESSION_THRESHOLD : REASON_WEEK_THRESHOLD;
}

static int
rank_of(const struct reported_answer *answer)
{
    switch (answer->reason) {
    case REASON_OK: return answer->state == REPORTED_STALE ? 0 : 1;
    case REASON_USAGE_UNKNOWN: return 2;
    default: return 3;
    }
}

/* A threshold that is met goes before what is not known, that before what admits, and that before what is too
 * old to count; then the fuller one; of equals the one for fewer models. */
static bool
decides_before(const struct reported_answer *one, const struct reported_answer *other)
{
    if (rank_of(one) != rank_of(other)) {
        return rank_of(one) > rank_of(other);
    }
    if (one->used_milli_pct != other->used_milli_pct) {
        return one->used_milli_pct > other->used_milli_pct;
    }
    return one->window->models[0] && !other->window->models[0];
}

static void
tell_wait(const struct reported_ask *ask, struct reported_answer *answer)
{
    if (answer->reason == REASON_OK || answer->state != REPORTED_KNOWN) {
        return;
    }
    if (answer->resets_at_ms) {
        answer->retry_after_ms = answer->resets_at_ms - ask->now_ms;
    } else if (ask->limit->max_age_ms > 0 && ask->limit->on_stale != FACT_DENY) {
        answer->retry_after_ms =
            answer->window->captured_ms + ask->limit->max_age_ms + 1 - ask->now_ms;
    }
}

struct reported_answer
reported_judge(const struct reported_ask *ask)
{
    struct reported_answer answer = { .state = REPORTED_MISSING };
    const bool sole = ask->row && credential_is_known(ask);
    for (int32_t i = 0; ask->row && i < ask->row->window_count; i++) {
        const struct reported_window *window = &ask->row->windows[i];
        if (!counts_here(ask, window) || (sole && !is_of_credential(window, ask->credential))) {
            continue;
        }
        struct reported_answer seen = look_at(ask, window);
        seen.reason = ask->cap_pct == CAP_UNLIMITED ? REASON_OK : reason_of(ask, &seen);
        if (!answer.window || decides_before(&seen, &answer)) {
            answer = seen;
        }
    }
    if (!answer.window && ask->cap_pct != CAP_UNLIMITED && ask->limit->on_missing == FACT_DENY) {
        answer.reason = REASON_USAGE_UNKNOWN;
    }
    tell_wait(ask, &answer);
    return answer;
}

/* --- As a limit of a call. */

static int64_t
account_of(const struct limit *limit, int64_t account_id)
{
    return limit->per == PER_GATEWAY ? 0 : account_id;
}

void
need_reported(
    struct core *core, const struct policy *policy, int64_t account_id, struct needs *needs)
{
    bool asked[2] = { false, false }; /* the company's row, the account's */
    for (int32_t i = 0; i < policy->limit_count; i++) {
        const struct limit *limit = &policy->limits[i];
        const int64_t id = account_of(limit, account_id);
        if (limit->counts != COUNT_REPORTED || asked[id != 0]) {
            continue;
        }
        asked[id != 0] = true;
        if (!work_reported(core->work, id)) {
            (void)needs_add_id(needs, NEED_REPORTED, id);
        }
    }
}

const struct reported_row *
reported_of(const struct core *core, const struct limit *limit, int64_t account_id)
{
    const struct reported_slot *slot = work_reported(core->work, account_of(limit, account_id));
    return slot && slot->slot.state != SLOT_ABSENT ? &slot->row : NULL;
}

static struct reported_answer
judge_call(const struct core *core, const struct limit *limit, int64_t account_id,
    const struct model *model, const char *credential, int64_t cap_pct)
{
    const struct reported_ask ask = { .policy = core->policy,
        .limit = limit,
        .row = reported_of(core, limit, account_id),
        .model = model,
        .credential = credential,
        .cap_pct = cap_pct,
        .now_ms = core->now_ms };
    return reported_judge(&ask);
}

bool
reported_fits(const struct core *core, const struct limit *limit, int64_t account_id,
    const struct model *model, const char *credential, int64_t cap_pct, struct refusal *refusal)
{
    const struct reported_answer answer =
        judge_call(core, limit, account_id, model, credential, cap_pct);
    if (answer.reason == REASON_OK) {
        return true;
    }
    *refusal = (struct refusal){ .reason = answer.reason,
        .limit_id = limit->limit_id,
        .limit_nth = limit->nth,
        .counts = (int32_t)limit->counts,
        .per = (int32_t)limit->per,
        .window = (int32_t)limit->window,
        .used = answer.used_milli_pct,
        .cap = cap_pct * MILLI_PCT,
        .resets_at_ms = answer.resets_at_ms,
        .retry_after_ms = answer.retry_after_ms };
    slice_to_cstr(slice_str(limit->name), refusal->limit_name, sizeof refusal->limit_name);
    return false;
}

static void
write_reported(const struct limit *limit, const struct reported_answer *answer, int64_t cap_pct,
    bool first, struct buf *out)
{
    buf_add_str(out, first ? ",\"reported\":[{\"limit\":" : ",{\"limit\":");
    buf_add_json(out, slice_str(limit->name));
    buf_add_number(out, "cap_pct", cap_pct);
    buf_add_str(out, ",\"state\":\"");
    buf_add_str(out, reported_state_word(answer->state));
    buf_add_char(out, '"');
    if (answer->window) {
        buf_add_number(out, "used_milli_pct", answer->window->used_milli_pct);
        buf_add_number(out, "resets_at_ms", answer->window->resets_at_ms);
        buf_add_number(out, "captured_ms", answer->window->captured_ms);
    }
    buf_add_number(out, "span_ms", limit->span_ms);
    buf_add_str(out, limit->per == PER_GATEWAY ? ",\"company\":true}" : "}");
}

void
reported_inputs(const struct call_state *state, struct buf *out)
{
    const struct route *route = &state->model->routes[state->route_index];
    bool first = true;
    for (int32_t i = 0; i < state->limits.count; i++) {
        const struct applied *applied = &state->limits.items[i];
        if (applied->limit->counts != COUNT_REPORTED || applied->cap == CAP_UNLIMITED
            || !limit_counts_route(applied->limit, state->policy, route)) {
            continue;
        }
        const struct reported_answer answer =
            judge_call(state->core, applied->limit, state->account->account_id, state->model,
                state->policy->providers[route->provider].name, applied->cap);
        write_reported(applied->limit, &answer, applied->cap, first, out);
        first = false;
    }
    buf_add_str(out, first ? "" : "]");
}

/* --- Reports. */

static bool
same_window(const struct reported_window *one, const struct reported_window *other)
{
    return strcmp(one->credential, other->credential) == 0
           && strcmp(one->window, other->window) == 0;
}

static bool
says_the_same(const struct reported_window *one, const struct reported_window *other)
{
    return one->used_milli_pct == other->used_milli_pct && one->resets_at_ms == other->resets_at_ms
           && strcmp(one->models, other->models) == 0
           && other->captured_ms - one->captured_ms < SAME_REPORT_MS;
}

/* What the report tells of this credential, and of this window of it. */
static bool
report_has(
    const struct reported_row *report, const struct reported_window *window, bool *credential)
{
    bool has = false;
    *credential = false;
    for (int32_t i = 0; i < report->window_count; i++) {
        has |= same_window(&report->windows[i], window);
        *credential |= strcmp(report->windows[i].credential, window->credential) == 0;
    }
    return has;
}

static bool
leave_untold(struct reported_row *row, const struct reported_row *report, int64_t now_ms)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < row->window_count; i++) {
        bool credential = false;
        const bool told = report_has(report, &row->windows[i], &credential);
        const bool newer = row->windows[i].captured_ms > now_ms;
        if (told || !credential || newer) {
            row->windows[kept++] = row->windows[i];
        }
    }
    const bool left = kept < row->window_count;
    row->window_count = kept;
    return left;
}

/* Where a window is, or is to be: the oldest makes room. */
static struct reported_window *
place_of(struct reported_row *row, const struct reported_window *window, bool *is_new)
{
    int32_t oldest = 0;
    *is_new = false;
    for (int32_t i = 0; i < row->window_count; i++) {
        if (same_window(&row->windows[i], window)) {
            return &row->windows[i];
        }
        oldest = row->windows[i].captured_ms < row->windows[oldest].captured_ms ? i : oldest;
    }
    *is_new = true;
    return row->window_count < REPORTED_MAX ? &row->windows[row->window_count++]
                                            : &row->windows[oldest];
}

bool
reported_merge(
    struct reported_row *row, const struct reported_row *report, bool whole, int64_t now_ms)
{
    bool changed = whole && leave_untold(row, report, now_ms);
    for (int32_t i = 0; i < report->window_count; i++) {
        struct reported_window window = report->windows[i];
        bool is_new = false;
        if (window.captured_ms == 0 || window.captured_ms > now_ms) {
            window.captured_ms = now_ms;
        }
        struct reported_window *place = place_of(row, &window, &is_new);
        const bool older = !is_new && window.captured_ms < place->captured_ms;
        if (older || (!is_new && !whole && says_the_same(place, &window))) {
            continue;
        }
        *place = window;
        changed = true;
    }
    return changed;
}

void
need_report(struct core *core, const struct report_event *report, struct needs *needs)
{
    need_receipt(core, &report->receipt, needs);
    if (!work_reported(core->work, report->account_id)) {
        (void)needs_add_id(needs, NEED_REPORTED, report->account_id);
    }
}

void
decide_report(struct core *core, const struct report_event *report, struct verdict *verdict)
{
    struct reported_row told = { .account_id = report->account_id };
    verdict->kind = VERDICT_ALLOWED;
    verdict->admin = ADMIN_DONE;
    if (receipt_stops(core, &report->receipt, verdict)) {
        return;
    }
    if (!unpack_reported(report->windows, &told) || !reported_valid(&told)) {
        verdict->admin = ADMIN_INVALID;
        return;
    }
    receipt_leave(core, &report->receipt, verdict);
    struct reported_slot *slot = work_reported(core->work, report->account_id);
    const bool absent = !slot || slot->slot.state == SLOT_ABSENT;
    struct reported_row row = { .account_id = report->account_id };
    if (!absent) {
        row = slot->row;
    }
    if (!reported_merge(&row, &told, report->whole, core->now_ms)) {
        return;
    }
    slot = absent ? work_new_reported(core->work, report->account_id) : slot;
    if (slot) {
        slot->row = row;
        slot->slot.dirty = true;
    }
}
