/* api/caps.c: caps that people set: of an account, of a group for each of its members, of everybody, and raises
 * that end by themselves. */
#include "api/api_priv.h"

#include <stdio.h>

#include "log/log.h"

static bool
window_is_period(enum window_kind window)
{
    return window == WINDOW_DAY || window == WINDOW_WEEK || window == WINDOW_MONTH;
}

static const struct limit *
limit_by_name(const struct policy *policy, const char *name)
{
    for (int32_t i = 0; i < policy->limit_count; i++) {
        if (strcmp(policy->limits[i].name, name) == 0) {
            return &policy->limits[i];
        }
    }
    return NULL;
}

const struct limit *
caps_limit_by_name(struct ask *ask, const struct policy *policy, const char *name)
{
    const struct limit *limit = limit_by_name(policy, name);
    if (!limit) {
        struct buf text = { 0 };
        buf_addf(&text, "'%.100s'; there are", name);
        for (int32_t i = 0; i < policy->limit_count; i++) {
            buf_addf(&text, "%s %s", i ? "," : "", policy->limits[i].name);
        }
        buf_add_str(&text, policy->limit_count ? "." : " none.");
        answer_fault(ask, API_FAULT_LIMIT_UNKNOWN, buf_cstr(&text));
        buf_free(&text);
    }
    return limit;
}

const struct limit *
caps_limit_of_accounts(const struct policy *policy)
{
    const struct limit *watched = NULL;
    for (int32_t i = 0; i < policy->limit_count; i++) {
        const struct limit *limit = &policy->limits[i];
        const bool fits = limit->counts == COUNT_COST && limit->per == PER_ACCOUNT
                          && window_is_period(limit->window);
        if (fits && limit_enforces(limit)) {
            return limit;
        }
        watched = fits && !watched ? limit : watched;
    }
    return watched;
}

const struct limit *
caps_limit(struct ask *ask, const struct policy *policy, const char *name)
{
    const struct limit *limit =
        name[0] ? caps_limit_by_name(ask, policy, name) : caps_limit_of_accounts(policy);
    if (!limit && !name[0]) {
        answer_fault(ask, API_FAULT_LIMIT_NONE, NULL);
    }
    return limit;
}

/* The word for an amount of this limit, in bodies and answers. */
static const char *
amount_key(const struct limit *limit)
{
    return limit->counts == COUNT_COST ? "spend_limit_micros" : "amount";
}

void
put_cap_amount(struct buf *out, const struct limit *limit, int64_t cap)
{
    if (cap == CAP_UNLIMITED) {
        put_null(out, amount_key(limit));
    } else {
        put_i64(out, amount_key(limit), cap);
    }
}

/* --- The change. */

/* What a person reads on the ledger of it. */
static void
write_note(struct buf *note, const struct event *event, const struct limit *limit, const char *what)
{
    const struct admin_cap *cap = &event->admin.cap;
    put_open(note, NULL, '{');
    put_text(note, "verb", what);
    put_text(note, "limit", limit->name);
    put_text_or_null(note, "account", event->admin.account.name);
    put_text_or_null(note, cap->kind == SUBJECT_GROUP ? "group" : "name", cap->name);
    put_id(note, "thread", "thr_", cap->thread_id);
    if (event->admin.verb == ADMIN_CAP_PUT) {
        put_cap_amount(note, limit, cap->amount);
        put_time(note, "expires_at", cap->expires_ms);
    }
    put_close(note, '}');
}

static void
answer_not_found(struct ask *ask, const struct event *event)
{
    const bool put = event->admin.verb == ADMIN_CAP_PUT;
    if (event->admin.cap.kind == SUBJECT_TREE) {
        answer_fault(ask, API_FAULT_THREAD_UNKNOWN, NULL);
    } else if (put) {
        answer_reason(ask, REASON_ACCOUNT_UNKNOWN);
    } else {
        answer_fault(ask, API_FAULT_CAP_NONE, NULL);
    }
}

/* Too much for this limit, or of somebody it does not count for. */
static void
answer_misplaced(struct ask *ask, const struct event *event, const struct limit *limit)
{
    const struct admin_cap *cap = &event->admin.cap;
    char why[300];
    if (cap->amount > policy_cap_max(limit)) {
        (void)snprintf(why, sizeof(why), "is more than this limit can count: %lld at the most",
            (long long)policy_cap_max(limit));
        answer_field(ask, API_FAULT_FIELD, amount_key(limit), why);
        return;
    }
    (void)snprintf(why, sizeof(why),
        "limits.%.60s counts per %s; its cap is set %sfor everybody (PUT /api/v1/usage-limits), or in the configuration.",
        limit->name, per_word(limit->per),
        limit->per == PER_THREAD_TREE ? "for one tree (`PUT /api/v1/threads/{id}/spend-limit`), "
                                      : "");
    answer_fault(ask, API_FAULT_CAP_MISPLACED, why);
}

static bool
answer_verdict(struct ask *ask, const struct event *event, const struct limit *limit,
    const struct verdict *verdict)
{
    switch (verdict->admin) {
    case ADMIN_DONE: return true;
    case ADMIN_NOT_FOUND: answer_not_found(ask, event); break;
    case ADMIN_FULL: answer_fault(ask, API_FAULT_CAPS_FULL, NULL); break;
    case ADMIN_NOT_LOWER: answer_fault(ask, API_FAULT_CAP_HIGHER, NULL); break;
    default: answer_misplaced(ask, event, limit); break;
    }
    return false;
}

bool
caps_change(struct api_worker *worker, struct ask *ask, struct event *event,
    const struct limit *limit, const char *what)
{
    struct buf note = { 0 };
    struct verdict verdict;
    event->admin.cap.limit_id = limit->limit_id;
    write_note(&note, event, limit, what);
    event->admin.note = buf_slice(&note);
    const bool came =
        !note.failed && change_once(worker, ask, event, (struct slice){ 0 }, &verdict);
    if (note.failed) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
    }
    buf_free(&note); /* the engine has its copy */
    if (!came || !answer_verdict(ask, event, limit, &verdict)) {
        return false;
    }
    log_line(LOG_INFO, "admin", "%s by %s: limit '%s' of %s%s", what, ask->actor, limit->name,
        event->admin.account.name, event->admin.cap.name);
    return true;
}

/* --- Of one account, of a group, of everybody: who is named by the path. */

/* What a body says about a cap. */
struct cap_body {
    char limit[NAME_MAX_BYTES + 1];
    int64_t spend_limit_micros, amount, expires_ms;
};

/* The amount, under the name that the limit has for it, or `amount`. False: answered. */
static bool
body_amount(struct ask *ask, const struct limit *limit, const struct cap_body *body,
    const char *money_key, int64_t *amount)
{
    if (body->spend_limit_micros && limit->counts != COUNT_COST) {
        answer_field(ask, API_FAULT_FIELD, money_key,
            "is money, and this limit does not count cost: say `amount`");
        return false;
    }
    if (body->amount && limit->counts == COUNT_COST) {
        char why[128];
        (void)snprintf(why, sizeof(why), API_MONEY_WANTED "`%s`", money_key);
        answer_field(ask, API_FAULT_FIELD, "amount", why);
        return false;
    }
    if (body->spend_limit_micros && body->amount) {
        answer_field(ask, API_FAULT_FIELD, "amount", "is given beside the same in micro-USD");
        return false;
    }
    *amount = body->spend_limit_micros ? body->spend_limit_micros : body->amount;
    if (*amount == 0) {
        answer_field(ask, API_FAULT_FIELD, limit->counts == COUNT_COST ? money_key : "amount",
            strcmp(money_key, "raise_micros") == 0 ? "is missing"
                                                   : "is missing; null says unlimited");
    }
    return *amount != 0;
}

/* Whom the last segment names, into the event. */
static bool
named_by_path(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    enum subject_kind kind, struct event *event)
{
    struct admin_cap *cap = &event->admin.cap;
    cap->kind = kind;
    if (kind == SUBJECT_GROUP) {
        const bool decoded = api_percent_decode(ask->segment, false, cap->name, sizeof(cap->name));
        if (!decoded || policy_group_index(policy, slice_str(cap->name)) < 0) {
            answer_fault(ask, API_FAULT_GROUP_UNKNOWN, NULL);
            return false;
        }
        return true;
    }
    char *name = event->admin.account.name;
    int64_t account_id = 0;
    if (!api_percent_decode(ask->segment, false, name, sizeof(event->admin.account.name))
        || !name_valid(slice_str(name))) {
        answer_field(ask, API_FAULT_PARAMETER, "account", "is no name that an account can have");
        return false;
    }
    return names_id_of(worker, ask, name, &account_id);
}

static void
put_whose(struct buf *out, const struct policy *policy, const struct event *event)
{
    const struct admin_cap *cap = &event->admin.cap;
    if (cap->kind == SUBJECT_GROUP) {
        const int32_t index = policy_group_index(policy, slice_str(cap->name));
        put_text(out, "group_name", cap->name);
        put_i64(out, "member_count", index < 0 ? 0 : policy->groups[index].member_count);
    } else {
        put_text(out, "account", event->admin.account.name);
    }
}

static void
answer_cap(struct ask *ask, const struct policy *policy, const struct limit *limit,
    const struct event *event)
{
    const struct admin_cap *cap = &event->admin.cap;
    struct buf *out = answer_begin(ask, 200);
    put_whose(out, policy, event);
    put_text(out, "limit", limit->name);
    if (cap->set == SET_RAISE) {
        put_i64(out, limit->counts == COUNT_COST ? "raise_micros" : "raise", cap->amount);
    } else {
        put_cap_amount(out, limit, cap->amount);
    }
    put_time(out, "expires_at", cap->expires_ms);
    put_time(out, "updated_at", ask->now_ms);
    answer_end(ask);
}

static void
override_put(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    enum subject_kind kind, enum cap_set_kind set)
{
    struct event event = admin_event(ask, ADMIN_CAP_PUT);
    struct cap_body body = { 0 };
    bool money_told = false;
    bool amount_told = false;
    const char *money_key = set == SET_RAISE ? "raise_micros" : "spend_limit_micros";
    const struct field fields[] = {
        { money_key, FIELD_AMOUNT, &body.spend_limit_micros, .told = &money_told },
        { "amount", FIELD_AMOUNT, &body.amount, .told = &amount_told },
        { "limit", FIELD_NAME, body.limit },
        { "expires", FIELD_TIME, &body.expires_ms, .required = set == SET_RAISE },
    };
    event.admin.cap.set = set;
    if (!fields_of_body(ask, fields, countof(fields))) {
        return;
    }
    const struct limit *limit = caps_limit(ask, policy, body.limit);
    if (!limit) {
        return;
    }
    const bool told = limit->counts == COUNT_COST ? money_told : amount_told;
    const bool off = set == SET_CAP && told && body.spend_limit_micros == 0 && body.amount == 0;
    event.admin.cap.amount = CAP_UNLIMITED;
    if (!off && !body_amount(ask, limit, &body, money_key, &event.admin.cap.amount)) {
        return;
    }
    if (body.expires_ms && body.expires_ms <= ask->now_ms) {
        answer_field(ask, API_FAULT_FIELD, "expires", "is over already");
        return;
    }
    event.admin.cap.expires_ms = body.expires_ms;
    if (named_by_path(worker, ask, policy, kind, &event)) {
        answer_cap(ask, policy, limit, &event);
        (void)caps_change(worker, ask, &event, limit, set == SET_RAISE ? "cap_raise" : "cap_set");
    }
}

static void
override_delete(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    enum subject_kind kind, enum cap_set_kind set)
{
    struct event event = admin_event(ask, ADMIN_CAP_DELETE);
    char name[NAME_MAX_BYTES + 1] = "";
    const struct field fields[] = { { "limit", FIELD_NAME, name } };
    event.admin.cap.set = set;
    if (!fields_of_query(ask, fields, countof(fields))) {
        return;
    }
    const struct limit *limit = caps_limit(ask, policy, name);
    if (limit && named_by_path(worker, ask, policy, kind, &event)) {
        answer_nothing(ask);
        (void)caps_change(
            worker, ask, &event, limit, set == SET_RAISE ? "cap_raise_delete" : "cap_delete");
    }
}

void
change_override(struct api_worker *worker, struct ask *ask)
{
    const bool group = ask->endpoint == ENDPOINT_GROUP_OVERRIDE_SET
                       || ask->endpoint == ENDPOINT_GROUP_OVERRIDE_UNSET;
    const bool raise = ask->endpoint == ENDPOINT_RAISE_SET || ask->endpoint == ENDPOINT_RAISE_UNSET;
    const bool put = ask->endpoint == ENDPOINT_GROUP_OVERRIDE_SET
                     || ask->endpoint == ENDPOINT_OVERRIDE_SET
                     || ask->endpoint == ENDPOINT_RAISE_SET;
    const enum subject_kind kind = group ? SUBJECT_GROUP : SUBJECT_ACCOUNT;
    struct policy *policy = engine_policy(worker->api->options.engine);
    (put ? override_put : override_delete)(worker, ask, policy, kind, raise ? SET_RAISE : SET_CAP);
    engine_policy_unref(worker->api->options.engine, policy);
}

/* --- Of everybody. */

static bool
period_fits(struct ask *ask, const struct limit *limit, const char *period)
{
    const bool known =
        strcmp(period, "day") == 0 || strcmp(period, "week") == 0 || strcmp(period, "month") == 0;
    char why[160];
    if (strcmp(period, window_word(limit->window)) == 0) {
        return true; /* as it was told */
    }
    if (!known) {
        answer_field(ask, API_FAULT_FIELD, "period", "must be day, week or month");
        return false;
    }
    (void)snprintf(why, sizeof(why),
        "is '%s' by the configuration, which alone can change it: the window of limits.%.60s",
        window_word(limit->window), limit->name);
    answer_field(ask, API_FAULT_FIELD, "period", why);
    return false;
}

static void
default_put(struct api_worker *worker, struct ask *ask, const struct policy *policy)
{
    struct event event = admin_event(ask, ADMIN_CAP_PUT);
    struct cap_body body = { 0 };
    char period[NAME_MAX_BYTES + 1] = "";
    bool money_told = false;
    bool amount_told = false;
    const struct field fields[] = {
        { "spend_limit_micros", FIELD_AMOUNT, &body.spend_limit_micros, .told = &money_told },
        { "amount", FIELD_AMOUNT, &body.amount, .told = &amount_told },
        { "period", FIELD_NAME, period },
        { "limit", FIELD_NAME, body.limit },
    };
    event.admin.cap.kind = SUBJECT_GATEWAY;
    if (!fields_of_body(ask, fields, countof(fields))) {
        return;
    }
    const bool off = body.spend_limit_micros == 0 && body.amount == 0;
    const struct limit *limit = caps_limit(ask, policy, body.limit);
    if (!limit || (period[0] && !period_fits(ask, limit, period))) {
        return;
    }
    if (off && !(limit->counts == COUNT_COST ? money_told : amount_told)) {
        answer_field(ask, API_FAULT_FIELD, amount_key(limit), "is missing; null says unlimited");
        return;
    }
    event.admin.cap.amount = CAP_UNLIMITED;
    if (!off && !period[0] && window_is_period(limit->window)) {
        answer_field(ask, API_FAULT_FIELD, "period", "is missing: it must be day, week or month");
        return;
    }
    if (!off && !body_amount(ask, limit, &body, "spend_limit_micros", &event.admin.cap.amount)) {
        return;
    }
    struct buf *out = answer_begin(ask, 200);
    put_cap_amount(out, limit, event.admin.cap.amount);
    put_text(out, "period", window_word(limit->window));
    put_text(out, "limit", limit->name);
    put_time(out, "updated_at", ask->now_ms);
    answer_end(ask);
    (void)caps_change(worker, ask, &event, limit, "cap_default_set");
}

static void
default_delete(struct api_worker *worker, struct ask *ask, const struct policy *policy)
{
    struct event event = admin_event(ask, ADMIN_CAP_DELETE);
    char name[NAME_MAX_BYTES + 1] = "";
    const struct field fields[] = { { "limit", FIELD_NAME, name } };
    event.admin.cap.kind = SUBJECT_GATEWAY;
    if (!fields_of_query(ask, fields, countof(fields))) {
        return;
    }
    const struct limit *limit = caps_limit(ask, policy, name);
    if (limit) {
        answer_nothing(ask);
        (void)caps_change(worker, ask, &event, limit, "cap_default_delete");
    }
}

void
change_usage_limits(struct api_worker *worker, struct ask *ask)
{
    struct policy *policy = engine_policy(worker->api->options.engine);
    if (ask->endpoint == ENDPOINT_USAGE_LIMITS_SET) {
        default_put(worker, ask, policy);
    } else {
        default_delete(worker, ask, policy);
    }
    engine_policy_unref(worker->api->options.engine, policy);
}
