/* tests/sim/audit_calls.c: may this call start? By the auditor's own reading of the rules. */
#include <stdio.h>
#include <string.h>

#include "audit_priv.h"

struct looked { /* at one call */
    struct audit *audit;
    const struct call_event *call;
    const struct sim_call *client;
    const struct verdict *verdict;
    const struct sim_adopted *adopted;
    const struct audit_account *account;
    const struct audit_key *key;
    const struct sim_model *model;
    int64_t now_ms;
    struct shadows *shadows; /* that a call which is allowed finds */
};

static bool
starts_with(const char *text, const char *prefix)
{
    return prefix[0] && strncmp(text, prefix, strlen(prefix)) == 0;
}

static enum reason
who_may(const struct looked *at)
{
    const struct audit_key *key = at->key;
    if (!key || !at->account) {
        return REASON_KEY_INVALID;
    }
    if (key->revoked) {
        return REASON_KEY_REVOKED;
    }
    if (key->expires_ms && key->expires_ms <= at->now_ms) {
        return REASON_KEY_EXPIRED;
    }
    const bool own = key->account_id == at->account->account_id;
    const bool acts = key->role == ROLE_SERVICE && starts_with(at->account->name, key->may_act_for);
    if ((!own && !acts) || key->role == ROLE_OBSERVER) {
        return REASON_KEY_ROLE;
    }
    const struct audit_account *owner = audit_account(at->audit, key->account_id);
    return at->account->banned || (owner && owner->banned) ? REASON_ACCOUNT_BANNED : REASON_OK;
}

/* REASON_COUNT: it cannot be told from here. */
static enum reason
which_id(const struct looked *at)
{
    const struct world *world = at->audit->world;
    char hash[HASH_HEX + 1];
    if (!at->call->issued_hash[0]) {
        return REASON_OK;
    }
    for (int i = 0; i < SIM_ISSUED; i++) {
        const struct sim_issued *issued = &world->issued[i];
        hash_of(hash, 'i', issued->number);
        if (issued->number == 0 || strcmp(hash, at->call->issued_hash) != 0) {
            continue;
        }
        if (world->time_ms - issued->at_ms > 80 * DAY_MS) {
            return REASON_COUNT; /* it may have been swept */
        }
        if (issued->account_id != at->call->account_id) {
            return REASON_ID_UNKNOWN;
        }
        /* Who served it is on its hold: its client may not have heard that it went elsewhere. */
        const struct audit_hold *hold = audit_hold(at->audit, issued->hold_id);
        for (int r = 0; hold && r < at->model->route_count; r++) {
            const char *served = hold->row.attempts[hold->row.attempt_count - 1].provider;
            if (strcmp(sim_providers[at->model->routes[r].provider], served) == 0) {
                return REASON_OK;
            }
        }
        return REASON_ID_ROUTE_GONE;
    }
    return REASON_COUNT;
}

static enum reason
which_thread(const struct looked *at)
{
    if (at->key->thread_required && !at->call->thread_named) {
        return REASON_THREAD_REQUIRED;
    }
    if (!at->call->parent_hash[0]) {
        return REASON_OK;
    }
    const struct audit_thread *parent =
        audit_thread(at->audit, at->call->account_id, THREAD_NAMED, at->call->parent_hash);
    const struct audit_thread *thread =
        audit_thread(at->audit, at->call->account_id, at->call->thread_kind, at->call->thread_hash);
    if (!parent) {
        return REASON_THREAD_PARENT;
    }
    if (!thread) {
        return REASON_OK;
    }
    const bool leads = thread->root_id == thread->thread_id;
    if (thread == parent || (leads && parent->root_id == thread->thread_id)) {
        return REASON_THREAD_CYCLE;
    }
    const bool may_be = parent->root_id == thread->root_id && parent->created_ms <= thread->created_ms;
    return may_be || leads || !at->call->thread_named ? REASON_OK : REASON_THREAD_MOVED;
}

/* What the call must be refused for before any limit is looked at; REASON_COUNT = cannot be told. */
static enum reason
before_limits(const struct looked *at)
{
    if (!at->adopted) {
        return REASON_OVERLOADED;
    }
    enum reason reason = who_may(at);
    reason = reason == REASON_OK ? at->call->found : reason;
    if (reason != REASON_OK) {
        return reason;
    }
    reason = which_id(at);
    if (reason != REASON_OK || at->call->api == API_COUNT_TOKENS) {
        return reason;
    }
    return which_thread(at);
}

/* --- Limits. */

static struct asker
asker_of(const struct looked *at, const char *model, const char *provider, int64_t root_id)
{
    return (struct asker){ .config = &at->adopted->config,
        .call = at->call,
        .account = at->account,
        .key = at->key,
        .model = model,
        .provider = provider,
        .root_id = root_id,
        .now_ms = at->now_ms };
}

static const struct hold_part *
part_of(const struct looked *at, const struct hold_row *hold, const struct wanted *wanted)
{
    const int64_t limit_id = at->adopted->limit_ids[wanted->index];
    const struct audit_subject *subject =
        audit_subject_named(at->audit, wanted->kind, wanted->account_id, wanted->name);
    for (int32_t i = 0; subject && i < hold->part_count; i++) {
        if (hold->parts[i].limit_id == limit_id && hold->parts[i].subject_id == subject->row.subject_id) {
            return &hold->parts[i];
        }
    }
    return NULL;
}

/* Caps were changed in this turn, at a moment that is not told. */
static bool
caps_are_unclear(const struct looked *at, const struct sim_limit *limit)
{
    return at->audit->caps_turn == at->audit->turn
           || (form_of(limit)->per == PER_THREAD_TREE && at->audit->tree_asks > 0);
}

/* It says of itself what it is. */
static void
check_words(const struct looked *at, const struct hold_row *hold, const struct hold_part *part, const struct sim_limit *limit,
    int64_t cap)
{
    const bool enforced = part->cap != CAP_UNLIMITED && enforces(limit);
    if (part->cap != cap && !caps_are_unclear(at, limit)) {
        broken(at->audit->world, "hold %lld: the cap of limit %s is taken as %lld; by the rules it is %lld",
            (long long)hold->hold_id, limit->name, (long long)part->cap, (long long)cap);
    }
    if (part->counts != form_of(limit)->counts || part->window != form_of(limit)->window || part->mode != limit->mode
        || part->enforced != enforced) {
        broken(at->audit->world, "hold %lld: its part of limit %s says something else than the limit",
            (long long)hold->hold_id, limit->name);
    }
}

static bool
part_fits(const struct stand *stand, const struct hold_part *part, const struct sim_limit *limit, int64_t level)
{
    const int64_t used = stand->settled + stand->held;
    if (form_of(limit)->window == WINDOW_BUCKET) {
        return level + part->held * limit->period_ms <= part->cap * limit->period_ms
               || (in_steps(limit) && part->held == 0);
    }
    if (!in_steps(limit)) {
        return used + part->held <= part->cap;
    }
    const bool free_of_charge = part->held == 0 && form_of(limit)->counts == COUNT_COST;
    return free_of_charge
           || (limit->mode == HOLD_MODE_NONE ? stand->settled + (part->held > 0) <= part->cap
                                             : used + part->held <= part->cap);
}

static void
check_part(const struct looked *at, const struct hold_row *hold, const struct wanted *wanted)
{
    struct audit *audit = at->audit;
    const struct sim_limit *limit = &at->adopted->config.limits[wanted->index];
    const int64_t limit_id = at->adopted->limit_ids[wanted->index];
    const struct hold_part *part = part_of(at, hold, wanted);
    if (!part) {
        broken(audit->world, "hold %lld has no part in limit %s for its subject '%s'", (long long)hold->hold_id,
            limit->name, wanted->name);
    }
    check_words(at, hold, part, limit, wanted->cap);
    struct audit_subject *subject = audit_subject(audit, part->subject_id);
    const int64_t now_ms = max_i64(hold->created_ms, subject->seen_ms);
    struct stand stand;
    audit_stand(audit, subject, limit, limit_id, now_ms, &stand);
    if (part->window_ms != stand.start_ms) {
        char is[32], was[32];
        calendar_text(now_ms, is);
        calendar_text(part->window_ms, was);
        broken(audit->world, "hold %lld of %s is charged to the %s of limit %s that began %s (%s)", (long long)hold->hold_id,
            is, window_word(form_of(limit)->window), limit->name, was,
            calendar_zones[limit->zone].name ? calendar_zones[limit->zone].name : "UTC");
    }
    cover(limit, FORM_CHARGED);
    const struct audit_meter *bucket = form_of(limit)->window == WINDOW_BUCKET ? audit_meter_any(subject, limit_id) : NULL;
    const int64_t level = bucket ? audit_level(bucket, limit->rate, now_ms) : 0;
    const bool unclear = stand.unclear || stand.fuzzy || caps_are_unclear(at, limit);
    if (limit->at_cap == AT_CAP_SHADOW && (wanted->cap != CAP_UNLIMITED || unclear)) {
        audit_shadow_note(at->shadows, limit_id, limit->name,
            unclear ? SHADOW_UNCLEAR
                    : audit_would_refuse(&at->adopted->config, at->call, hold, limit, wanted->cap, &stand, level));
    }
    const bool asked = part->enforced && !stand.unclear && !stand.fuzzy;
    if (asked && !part_fits(&stand, part, limit, level)) {
        broken(audit->world, "hold %lld passes the cap %lld of limit %s: settled %lld, held %lld, asked %lld",
            (long long)hold->hold_id, (long long)part->cap, limit->name, (long long)stand.settled, (long long)stand.held,
            (long long)part->held);
    }
}

static void
check_thread(const struct looked *at, const struct hold_row *hold)
{
    struct audit *audit = at->audit;
    const struct call_event *call = at->call;
    const struct audit_thread *thread =
        audit_thread(audit, call->account_id, call->thread_kind, call->thread_hash);
    const struct audit_thread *parent =
        call->parent_hash[0] ? audit_thread(audit, call->account_id, THREAD_NAMED, call->parent_hash) : NULL;
    if (thread) { /* known before: it keeps the tree it was born into */
        if (hold->thread_id != thread->thread_id || hold->root_id != thread->root_id) {
            broken(audit->world, "hold %lld is of another thread", (long long)hold->hold_id);
        }
        return;
    }
    struct write *write = audit_write(audit, WRITE_THREAD, hold->thread_id);
    const struct thread_row *row = write ? &write->row.thread : NULL;
    const int64_t root_id = parent ? parent->root_id : hold->thread_id;
    if (!row || row->account_id != call->account_id || row->kind != call->thread_kind
        || strcmp(row->sig_hash, call->thread_hash) != 0 || row->root_id != root_id || hold->root_id != root_id) {
        broken(audit->world, "hold %lld: its thread %lld is not in the tree of its parent", (long long)hold->hold_id,
            (long long)hold->thread_id);
    }
}

/* Served by something else than it asked for: a limit that applied to that says so. */
static void
check_substitute(const struct looked *at, const struct hold_row *hold)
{
    const struct asker asker = asker_of(at, at->model->name, NULL, hold->root_id);
    struct wanted wanted[WANTED_MAX];
    const int count = wanted_parts(at->audit, &asker, wanted);
    for (int i = 0; i < count; i++) {
        const struct sim_limit *limit = &at->adopted->config.limits[wanted[i].index];
        const bool names = limit->at_cap == AT_CAP_DOWNGRADE
                           && strcmp(sim_models[limit->substitute].name, hold->model) == 0;
        if (names && (wanted[i].cap != CAP_UNLIMITED || caps_are_unclear(at, limit))) {
            coverage.substituted_model++;
            return;
        }
    }
    for (int i = 0; i < asker.config->limit_count; i++) {
        const struct sim_limit *limit = &asker.config->limits[i];
        if (form_of(limit)->counts == COUNT_REPORTED && audit_applies(&asker, limit) && limit->at_cap == AT_CAP_DOWNGRADE
            && strcmp(sim_models[limit->substitute].name, hold->model) == 0
            && (audit_reported_cap(at->audit, &asker, i) != CAP_UNLIMITED || caps_are_unclear(at, limit))) {
            coverage.substituted_model++;
            return;
        }
    }
    broken(at->audit->world, "hold %lld is served by %s, which no limit names for %s", (long long)hold->hold_id, hold->model,
        at->model->name);
}

/* A tree keeps what its first call asked for, whatever ruled then: it is the most that it may spend from then on. */
static void
check_asked_cap(const struct looked *at, const struct hold_row *hold, const struct wanted *wanted, int count)
{
    for (int i = 0; i < count; i++) {
        struct audit_subject *subject = wanted[i].kind == SUBJECT_TREE
                                            ? audit_subject_named(at->audit, SUBJECT_TREE, wanted[i].account_id, wanted[i].name)
                                            : NULL;
        const bool is_new = subject && subject->new_tree && subject->born_turn == at->audit->turn
                            && at->audit->caps_turn != at->audit->turn && at->audit->tree_asks == 1;
        for (int32_t k = 0; is_new && k < subject->row.set_count; k++) {
            const struct cap_set *set = &subject->row.sets[k];
            const bool mine = set->set_id == at->adopted->set_ids[wanted[i].index] && at->call->spend_limit_micros > 0;
            const int64_t asked = at->call->spend_limit_micros;
            if (mine && (set->kind != SET_ASKED || set->amount != asked || set->expires_ms != 0)) {
                broken(at->audit->world, "hold %lld: its tree keeps %lld; %lld was asked for", (long long)hold->hold_id,
                    (long long)set->amount, (long long)asked);
            }
        }
    }
    for (int i = 0; i < count; i++) { /* the calls behind it in the same turn ask of it what they like */
        struct audit_subject *subject =
            audit_subject_named(at->audit, wanted[i].kind, wanted[i].account_id, wanted[i].name);
        if (subject) {
            subject->new_tree = false;
        }
    }
}

static void
check_bounds(struct audit *audit, const struct hold_row *hold)
{
    for (int32_t i = 0; i < hold->part_count; i++) {
        const struct hold_part *part = &hold->parts[i];
        struct audit_subject *subject = audit_subject(audit, part->subject_id);
        struct audit_meter *meter = audit_meter(subject, part->limit_id, part->window_ms, false);
        if (meter && !part_rests(part)) {
            audit_bound(audit, subject, meter);
        }
    }
}

/* No percentage that is reported has reached its cap. */
static void
check_reported(const struct looked *at, const struct hold_row *hold, const struct asker *asker)
{
    for (int i = 0; i < asker->config->limit_count; i++) {
        const struct sim_limit *limit = &asker->config->limits[i];
        int64_t cap_pct = 0;
        if (form_of(limit)->counts != COUNT_REPORTED || !audit_applies(asker, limit)) {
            continue;
        }
        const enum reason reason =
            audit_reported_judge(at->audit, asker, i, hold->attempts[0].provider, &cap_pct);
        if (!enforces(limit)) {
            audit_shadow_note(at->shadows, at->adopted->limit_ids[i], limit->name,
                caps_are_unclear(at, limit) ? SHADOW_UNCLEAR
                : reason != REASON_OK       ? SHADOW_REFUSES
                                            : SHADOW_ADMITS);
        } else if (reason != REASON_OK && !caps_are_unclear(at, limit)) {
            broken(at->audit->world, "hold %lld, served by %s, passes limit %s (reported, %lld ms) of cap %lld: %s",
                (long long)hold->hold_id, hold->attempts[0].provider, limit->name, (long long)limit->span_ms,
                (long long)cap_pct, reason_row(reason)->code);
        }
    }
}

static bool
has_route(const struct sim_model *model, int provider)
{
    for (int i = 0; i < model->route_count; i++) {
        if (model->routes[i].provider == provider) {
            return true;
        }
    }
    return false;
}

/* Limits on providers that the call may go to later have a part that holds nothing. How many there are. */
static int
check_resting(const struct looked *at, const struct hold_row *hold, const struct asker *asker)
{
    struct wanted wanted[WANTED_MAX];
    struct asker anywhere = *asker;
    anywhere.provider = NULL;
    const int count = wanted_parts(at->audit, &anywhere, wanted);
    int resting = 0;
    for (int i = 0; i < count; i++) {
        const struct sim_limit *limit = &at->adopted->config.limits[wanted[i].index];
        if (limit->provider < 0 || strcmp(sim_providers[limit->provider], hold->attempts[0].provider) == 0
            || !has_route(&sim_models[model_index(hold->model)], limit->provider)) {
            continue;
        }
        const struct hold_part *part = part_of(at, hold, &wanted[i]);
        if (!part || !part_rests(part)) {
            broken(at->audit->world, "hold %lld has no part that rests in limit %s for its subject '%s'", (long long)hold->hold_id,
                limit->name, wanted[i].name);
        }
        check_words(at, hold, part, limit, wanted[i].cap);
        resting++;
    }
    return resting;
}

static void
call_allowed(const struct looked *at)
{
    struct audit *audit = at->audit;
    const struct verdict *verdict = at->verdict;
    struct wanted wanted[WANTED_MAX];
    if (at->call->api == API_COUNT_TOKENS) {
        return;
    }
    struct write *write = audit_write(audit, WRITE_HOLD_NEW, verdict->hold_id);
    if (!write) {
        broken(audit->world, "call %lld is allowed, and its hold is not durable", (long long)verdict->hold_id);
    }
    const struct hold_row *hold = &write->row.hold;
    if (hold->account_id != at->call->account_id || hold->key_id != at->call->key_id || hold->attempt_count != 1
        || hold->policy_ver != at->adopted->version || verdict->model_index != model_index(hold->model)) {
        broken(audit->world, "hold %lld is not of the call that it was made for", (long long)hold->hold_id);
    }
    if (strcmp(hold->model, at->model->name) != 0) {
        check_substitute(at, hold);
    }
    check_thread(at, hold);
    struct asker asker = asker_of(at, hold->model, hold->attempts[0].provider, hold->root_id);
    asker.now_ms = hold->created_ms;
    const int count = wanted_parts(audit, &asker, wanted);
    check_asked_cap(at, hold, wanted, count);
    for (int i = 0; i < count; i++) {
        check_part(at, hold, &wanted[i]);
    }
    check_reported(at, hold, &asker);
    const int resting = check_resting(at, hold, &asker);
    if (hold->part_count != count + resting) {
        broken(audit->world, "hold %lld has %d parts; %d apply, %d may", (long long)hold->hold_id, hold->part_count, count, resting);
    }
    audit_shadow(audit, at->call, at->model->name, verdict, at->shadows);
    audit->batch_turn = audit->turn;
    audit_hold_made(audit, hold, true);
    audit_excuse(audit, hold);
    check_bounds(audit, hold);
}

/* --- Refused. */

static const struct sim_limit *
limit_numbered(const struct looked *at, int64_t limit_id, int *index)
{
    for (int i = 0; i < at->adopted->config.limit_count; i++) {
        if (at->adopted->limit_ids[i] == limit_id) {
            *index = i;
            return &at->adopted->config.limits[i];
        }
    }
    return NULL;
}

/* The cap it names is that of one of the subjects that the limit counts for in this call. */
static bool
cap_is_right(const struct looked *at, const struct refusal *refusal, int index, int64_t root_id)
{
    struct wanted wanted[WANTED_MAX];
    const struct asker asker = asker_of(at, at->model->name, NULL, root_id);
    const int count = wanted_parts(at->audit, &asker, wanted);
    /* Another gateway may have swept it since it was read, and made it anew: nothing was used of it. */
    const bool went = refusal->used == 0 && refusal->held == 0 && !audit_subject(at->audit, refusal->subject_id);
    for (int i = 0; i < count; i++) {
        const struct audit_subject *subject =
            audit_subject_named(at->audit, wanted[i].kind, wanted[i].account_id, wanted[i].name);
        const bool whose = refusal->subject_id == 0 || went || (subject && subject->row.subject_id == refusal->subject_id);
        if (wanted[i].index == index && whose && wanted[i].cap == refusal->cap) {
            return true;
        }
    }
    return false;
}

static int64_t
root_of(const struct looked *at)
{
    const struct call_event *call = at->call;
    const struct audit_thread *thread = audit_thread(at->audit, call->account_id, call->thread_kind, call->thread_hash);
    const struct audit_thread *parent =
        call->parent_hash[0] ? audit_thread(at->audit, call->account_id, THREAD_NAMED, call->parent_hash) : NULL;
    return thread ? thread->root_id : parent ? parent->root_id : 0;
}

/* Somebody waits there, so that also what would fit waits behind him. */
static bool
others_may_wait(const struct looked *at, const struct sim_limit *limit)
{
    const bool has_line = in_steps(limit) || limit->at_cap == AT_CAP_QUEUE;
    return has_line && (at->verdict->kind == VERDICT_WAIT || at->client->waited || at->audit->node->engine->waiter_count > 0);
}

/* A call that is put into a line is told how long it may stand there. */
static bool
waits_right(const struct looked *at, const struct refusal *refusal, int64_t wait_ms)
{
    return at->verdict->kind == VERDICT_WAIT || refusal->retry_after_ms == wait_ms;
}

static bool
bucket_is_right(const struct looked *at, const struct refusal *refusal, const struct sim_limit *limit,
    const struct audit_meter *meter, int64_t now_ms)
{
    static const struct audit_meter none;
    const __int128 level = audit_level(meter ? meter : &none, limit->rate, now_ms);
    const __int128 over = level + ((__int128)refusal->ask - refusal->cap) * limit->period_ms;
    const enum count_kind counts = form_of(limit)->counts;
    const enum reason reason = counts == COUNT_COST     ? REASON_COST_SPENT
                               : counts == COUNT_TOKENS ? REASON_TOKENS_SPENT
                                                        : REASON_RATE;
    const int64_t wait_ms = refusal->ask > refusal->cap ? 0 : (int64_t)((over + limit->rate - 1) / limit->rate);
    return refusal->reason == reason
           && ((over > 0 && waits_right(at, refusal, wait_ms)) || (over <= 0 && others_may_wait(at, limit)));
}

static bool
amount_is_right(const struct looked *at, const struct refusal *refusal, const struct sim_limit *limit, const struct stand *stand)
{
    const bool money = form_of(limit)->counts == COUNT_COST;
    const int64_t held = limit->mode == HOLD_MODE_NONE ? 0 : stand->held;
    const bool spent = stand->settled + refusal->ask > refusal->cap;
    const bool is_held = !spent && (stand->settled + held + refusal->ask > refusal->cap || others_may_wait(at, limit));
    return (refusal->reason == (money ? REASON_COST_SPENT : REASON_TOKENS_SPENT) && spent)
           || (refusal->reason == (money ? REASON_COST_HELD : REASON_TOKENS_HELD) && is_held);
}

static bool
count_is_right(const struct looked *at, const struct refusal *refusal, const struct sim_limit *limit, const struct stand *stand)
{
    const bool full = stand->settled + stand->held + refusal->ask > refusal->cap;
    const enum reason reason = form_of(limit)->counts == COUNT_IN_FLIGHT ? REASON_IN_FLIGHT : REASON_RATE;
    return refusal->reason == reason && (full || others_may_wait(at, limit));
}

/* A rolling window that counts some charges together may count them for longer than it must. */
static bool
rolling_is_right(const struct looked *at, const struct refusal *refusal, const struct sim_limit *limit,
    struct audit_subject *subject, const struct stand *stand, int64_t now_ms)
{
    const int64_t used = refusal->used + refusal->held;
    if (stand->together) {
        return used >= stand->least && used <= stand->most;
    }
    const bool waits = refusal->reason == REASON_COST_SPENT || refusal->reason == REASON_TOKENS_SPENT
                       || refusal->reason == REASON_RATE;
    const int64_t wait_ms =
        subject ? audit_rolling_wait(subject, refusal->limit_id, limit->span_ms, refusal->cap, refusal->ask, now_ms) : 0;
    return used == stand->settled + stand->held && (!waits || others_may_wait(at, limit) || waits_right(at, refusal, wait_ms));
}

/* Its numbers are the meter's, and they do not fit. */
static void
check_numbers(const struct looked *at)
{
    struct audit *audit = at->audit;
    const struct refusal *refusal = &at->verdict->refusal;
    int index = 0;
    const struct sim_limit *limit = limit_numbered(at, refusal->limit_id, &index);
    if (limit && form_of(limit)->counts == COUNT_REPORTED) {
        const struct asker asker = asker_of(at, at->model->name, NULL, root_of(at));
        audit_reported_refusal(audit, &asker, index, at->verdict, caps_are_unclear(at, limit));
        return;
    }
    if (!limit
        || (!caps_are_unclear(at, limit) && !cap_is_right(at, refusal, index, root_of(at)))) {
        broken(audit->world, "refused by limit %s with cap %lld, which is not its cap by the rules", refusal->limit_name,
            (long long)refusal->cap);
    }
    const enum window_kind window = form_of(limit)->window;
    struct audit_subject *subject = refusal->subject_id ? audit_subject(audit, refusal->subject_id) : NULL;
    const int64_t now_ms = subject ? max_i64(at->now_ms, subject->seen_ms) : at->now_ms;
    struct stand stand;
    audit_stand(audit, subject, limit, refusal->limit_id, now_ms, &stand);
    if (stand.unclear || stand.fuzzy) {
        return;
    }
    cover(limit, FORM_REFUSED);
    bool right = enforces(limit);
    if (window == WINDOW_BUCKET) {
        right = right && bucket_is_right(at, refusal, limit, subject ? audit_meter_any(subject, refusal->limit_id) : NULL, now_ms);
    } else {
        struct stand told = stand;
        if (stand.together) { /* held against what was truly charged right below */
            told.settled = refusal->used;
            told.held = refusal->held;
        }
        right = right && (in_steps(limit) ? amount_is_right(at, refusal, limit, &told) : count_is_right(at, refusal, limit, &told));
        right = right
                && (window == WINDOW_ROLLING ? rolling_is_right(at, refusal, limit, subject, &stand, now_ms)
                                             : refusal->used + refusal->held == stand.most);
        right = right && (window == WINDOW_ROLLING || !in_steps(limit) || refusal->resets_at_ms == stand.end_ms);
    }
    if (!right) {
        broken(audit->world,
            "refused (%s) by limit %s (%s per %s, %s): used %lld, held %lld, asked %lld, cap %lld, again after %lld ms; its "
            "meter says settled %lld, held %lld",
            reason_row(refusal->reason)->code, limit->name, count_word(form_of(limit)->counts), per_word(form_of(limit)->per),
            window_word(window), (long long)refusal->used, (long long)refusal->held, (long long)refusal->ask,
            (long long)refusal->cap, (long long)refusal->retry_after_ms, (long long)stand.settled, (long long)stand.held);
    }
}

static bool
is_of_routes(enum reason reason)
{
    return reason == REASON_ROUTES_EXHAUSTED || reason == REASON_ROUTES_COOLING || reason == REASON_ROUTES_FAILING
           || reason == REASON_ID_ROUTE_COOLING;
}

/* Without a price a true bound of its cost is not known either. */
static bool
may_be_unpriced(const struct looked *at)
{
    bool unpriced = false, strict = false;
    for (int i = 0; i < at->model->route_count; i++) {
        unpriced = unpriced || at->model->routes[i].price < 0;
    }
    for (int i = 0; i < at->adopted->config.limit_count; i++) {
        strict = strict || at->adopted->config.limits[i].mode == HOLD_MODE_STRICT;
    }
    return unpriced && (strict || at->adopted->config.unpriced != UNPRICED_ALLOW);
}

static bool
may_be_unbounded(const struct looked *at)
{
    bool strict = false;
    for (int i = 0; i < at->adopted->config.limit_count; i++) {
        const struct sim_limit *limit = &at->adopted->config.limits[i];
        strict = strict || (limit->mode == HOLD_MODE_STRICT && enforces(limit));
    }
    return strict && at->call->cannot_bound;
}

static void
call_refused(const struct looked *at)
{
    struct audit *audit = at->audit;
    const struct refusal *refusal = &at->verdict->refusal;
    const enum reason wanted = before_limits(at);
    if (at->client->waited && at->verdict->kind == VERDICT_REFUSED) {
        return; /* with its first reason, of when it began to wait */
    }
    const bool by_limit = refusal->limit_id != 0;
    const bool right = wanted == REASON_COUNT || refusal->reason == wanted
                       || (wanted == REASON_OK
                           && (by_limit || is_of_routes(refusal->reason) || refusal->reason == REASON_OVERLOADED
                               || (refusal->reason == REASON_CANNOT_BOUND && may_be_unbounded(at))
                               || (refusal->reason == REASON_UNPRICED && may_be_unpriced(at))));
    if (!right) {
        broken(audit->world, "refused: %s; by the rules: %s", reason_row(refusal->reason)->code,
            reason_row(wanted)->code);
    }
    if (by_limit) {
        check_numbers(at);
    }
}

void
audit_call(struct audit *audit, const struct sim_call *client, const struct verdict *verdict)
{
    const struct call_event *call = &client->event.call;
    const enum reason reason = verdict->kind == VERDICT_ALLOWED ? REASON_OK : verdict->refusal.reason;
    const struct sim_adopted *newest = audit->node->adopted < 0 ? NULL : &audit->world->adopted[audit->node->adopted];
    struct shadows shadows = { 0 };
    struct looked at = { .audit = audit,
        .shadows = &shadows,
        .call = call,
        .client = client,
        .verdict = verdict,
        .adopted = adopted_of(audit->world, call->policy_ver),
        .account = audit_account(audit, call->account_id),
        .key = audit_key(audit, call->key_id),
        .model = &sim_models[client->model],
        .now_ms = audit->node->engine->core.now_ms };
    if (verdict->kind == VERDICT_ANEW) {
        if (at.adopted == newest) {
            broken(audit->world, "a call is to ask again that asked under the newest configuration");
        }
        return;
    }
    coverage.reasons[reason]++;
    if (client->waited && verdict->kind == VERDICT_ALLOWED && at.adopted != newest) {
        broken(audit->world, "call %lld has waited, and is allowed by a configuration of before", (long long)verdict->hold_id);
    }
    if (reason == REASON_STORE_UNAVAILABLE || reason == REASON_DRAINING) {
        return;
    }
    if (verdict->kind != VERDICT_ALLOWED) {
        call_refused(&at);
        return;
    }
    const enum reason wanted = before_limits(&at);
    if (wanted != REASON_OK && wanted != REASON_COUNT) {
        broken(audit->world, "call %lld is allowed; by the rules: %s", (long long)verdict->hold_id,
            reason_row(wanted)->code);
    }
    call_allowed(&at);
}
