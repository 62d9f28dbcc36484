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
        for (int r = 0; r < at->model->route_count; r++) {
            if (at->model->routes[r].provider == issued->provider) {
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
    if (at->call->parent_hash[0]
        && !audit_thread(at->audit, at->call->account_id, THREAD_NAMED, at->call->parent_hash)) {
        return REASON_THREAD_PARENT;
    }
    return REASON_OK;
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

static bool
limit_is_for(const struct looked *at, const struct sim_limit *limit, int64_t *cap)
{
    if (limit->model >= 0 && &sim_models[limit->model] != at->model) {
        return false;
    }
    if (limit->tier >= 0 && (enum tier)limit->tier != at->model->tier) {
        return false;
    }
    *cap = sim_cap(limit, at->account->plan);
    return true; /* it counts also where it has no cap */
}

/* Whose meter it is. A key's belongs to who owns the key. */
static void
subject_for(const struct looked *at, const struct sim_limit *limit, int64_t root_id, struct subject_row *row)
{
    *row = (struct subject_row){ .kind = SUBJECT_GATEWAY };
    switch (sim_forms[limit->form].per) {
    case PER_ACCOUNT:
        row->kind = SUBJECT_ACCOUNT;
        row->account_id = at->account->account_id;
        break;
    case PER_KEY:
        row->kind = SUBJECT_KEY;
        row->account_id = at->key->account_id;
        snprintf(row->name, sizeof row->name, "%lld", (long long)at->key->key_id);
        break;
    case PER_THREAD_TREE:
        row->kind = SUBJECT_TREE;
        row->account_id = at->account->account_id;
        snprintf(row->name, sizeof row->name, "%lld", (long long)root_id);
        break;
    default: break;
    }
}

static const struct sim_limit *
limit_numbered(const struct sim_adopted *adopted, int64_t limit_id)
{
    for (int i = 0; i < adopted->config.limit_count; i++) {
        if (adopted->limit_ids[i] == limit_id) {
            return &adopted->config.limits[i];
        }
    }
    return NULL;
}

/* --- Allowed. */

static void
check_part(const struct looked *at, const struct hold_row *hold, const struct sim_limit *limit, int64_t limit_id,
    int64_t cap)
{
    struct audit *audit = at->audit;
    const struct limit_form *form = &sim_forms[limit->form];
    struct subject_row wanted;
    subject_for(at, limit, hold->root_id, &wanted);
    struct audit_subject *subject =
        audit_subject_named(audit, wanted.kind, wanted.account_id, wanted.name);
    const struct hold_part *part = NULL;
    for (int32_t i = 0; i < hold->part_count; i++) {
        part = hold->parts[i].limit_id == limit_id ? &hold->parts[i] : part;
    }
    if (!part || !subject || part->subject_id != subject->row.subject_id) {
        broken(audit->world, "hold %lld has %s limit %s", (long long)hold->hold_id,
            !part ? "no part in" : "a part of the wrong subject in", limit->name);
    }
    const int64_t now_ms = max_i64(hold->created_ms, subject->seen_ms);
    if (part->window_ms != calendar_window(limit->zone, form->window, now_ms).start_ms) {
        char is[32], was[32];
        calendar_text(now_ms, is);
        calendar_text(part->window_ms, was);
        broken(audit->world, "hold %lld of %s is charged to the %s that began %s (%s)", (long long)hold->hold_id, is,
            window_word(form->window), was, calendar_zones[limit->zone].name ? calendar_zones[limit->zone].name : "UTC");
    }
    const struct audit_meter *meter = form->window == WINDOW_BUCKET
                                          ? audit_meter_any(subject, limit_id)
                                          : audit_meter(subject, limit_id, part->window_ms, false);
    static const struct audit_meter none;
    meter = meter ? meter : &none;
    coverage.forms[limit->form][FORM_CHARGED]++;
    bool fits = true;
    if (form->window == WINDOW_BUCKET) {
        const __int128 level = audit_level(meter, limit->rate, now_ms) + limit->period_ms;
        fits = meter->fuzzy || level <= (__int128)limit->burst * limit->period_ms;
    } else if (form->counts == COUNT_COST) {
        fits = part->held == 0 || meter->settled + meter->held + part->held <= cap;
    } else {
        fits = meter->held + 1 <= cap;
    }
    fits = fits || cap == CAP_UNLIMITED;
    if (!fits && meter->unclear_turn != audit->turn) {
        broken(audit->world, "hold %lld passes the cap %lld of limit %s: settled %lld, held %lld, asked %lld",
            (long long)hold->hold_id, (long long)cap, limit->name, (long long)meter->settled, (long long)meter->held,
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

static void
call_allowed(const struct looked *at)
{
    struct audit *audit = at->audit;
    const struct verdict *verdict = at->verdict;
    if (at->call->api == API_COUNT_TOKENS) {
        return;
    }
    struct write *write = audit_write(audit, WRITE_HOLD_NEW, verdict->hold_id);
    if (!write) {
        broken(audit->world, "call %lld is allowed, and its hold is not durable", (long long)verdict->hold_id);
    }
    const struct hold_row *hold = &write->row.hold;
    if (hold->account_id != at->call->account_id || hold->key_id != at->call->key_id || hold->attempt_count != 1
        || strcmp(hold->model, at->model->name) != 0 || hold->policy_ver != at->adopted->version) {
        broken(audit->world, "hold %lld is not of the call that it was made for", (long long)hold->hold_id);
    }
    check_thread(at, hold);
    int32_t wanted = 0;
    for (int i = 0; i < at->adopted->config.limit_count; i++) {
        int64_t cap = 0;
        const struct sim_limit *limit = &at->adopted->config.limits[i];
        if (limit_is_for(at, limit, &cap)) {
            check_part(at, hold, limit, at->adopted->limit_ids[i], cap);
            wanted++;
        }
    }
    if (hold->part_count != wanted) {
        broken(audit->world, "hold %lld has %d parts; %d limits apply", (long long)hold->hold_id, hold->part_count,
            wanted);
    }
    audit_hold_made(audit, hold, true);
    for (int32_t i = 0; i < hold->part_count; i++) {
        struct audit_subject *subject = audit_subject(audit, hold->parts[i].subject_id);
        struct audit_meter *meter =
            audit_meter(subject, hold->parts[i].limit_id, hold->parts[i].window_ms, false);
        const struct sim_limit *limit = limit_numbered(at->adopted, hold->parts[i].limit_id);
        const int64_t cap = sim_cap(limit, at->account->plan);
        if (meter && (cap == CAP_UNLIMITED || audit_cap_now(audit, subject, hold->parts[i].limit_id) < cap)) {
            meter->slack += hold->parts[i].held; /* by a cap of before an edit */
        }
        if (meter) {
            audit_bound(audit, subject, meter);
        }
    }
}

/* --- Refused. */

/* Its numbers are the meter's, and they do not fit. */
static void
check_numbers(const struct looked *at)
{
    struct audit *audit = at->audit;
    const struct refusal *refusal = &at->verdict->refusal;
    const struct sim_limit *limit = limit_numbered(at->adopted, refusal->limit_id);
    int64_t cap = 0;
    if (!limit || !limit_is_for(at, limit, &cap) || (refusal->cap != cap)) {
        broken(audit->world, "refused by limit %s, cap %lld; by the configuration it is %lld", refusal->limit_name,
            (long long)refusal->cap, limit ? (long long)cap : -1);
    }
    const struct limit_form *form = &sim_forms[limit->form];
    struct audit_subject *subject =
        refusal->subject_id ? audit_subject(audit, refusal->subject_id) : NULL;
    const int64_t now_ms = subject ? max_i64(at->now_ms, subject->seen_ms) : at->now_ms;
    const struct calendar_span span = calendar_window(limit->zone, form->window, now_ms);
    static const struct audit_meter none;
    const struct audit_meter *meter = !subject ? NULL
                                      : form->window == WINDOW_BUCKET
                                          ? audit_meter_any(subject, refusal->limit_id)
                                          : audit_meter(subject, refusal->limit_id, span.start_ms, false);
    meter = meter ? meter : &none;
    if (meter->unclear_turn == audit->turn || meter->fuzzy) {
        return;
    }
    coverage.forms[limit->form][FORM_REFUSED]++;
    bool right = refusal->held == meter->held;
    if (form->window == WINDOW_BUCKET) {
        const int64_t level = audit_level(meter, limit->rate, now_ms);
        const int64_t over = level + limit->period_ms - limit->burst * limit->period_ms;
        right = refusal->reason == REASON_RATE && over > 0
                && refusal->retry_after_ms == (over + limit->rate - 1) / limit->rate;
    } else if (form->counts == COUNT_COST) {
        const bool spent = meter->settled + refusal->ask > cap;
        const bool held = !spent && (at->verdict->kind == VERDICT_WAIT || at->client->waited
                                        || meter->settled + meter->held + refusal->ask > cap
                                        || audit->node->engine->waiter_count > 0);
        right = right && refusal->used == meter->settled && refusal->resets_at_ms == span.end_ms
                && (refusal->reason == REASON_COST_SPENT ? spent : held);
    } else {
        right = right && refusal->reason == REASON_IN_FLIGHT && meter->held + 1 > cap;
    }
    if (!right) {
        broken(audit->world,
            "refused (%s) by limit %s: used %lld, held %lld, asked %lld, cap %lld, again after %lld ms; its meter says "
            "settled %lld, held %lld",
            reason_row(refusal->reason)->code, limit->name, (long long)refusal->used, (long long)refusal->held,
            (long long)refusal->ask, (long long)cap, (long long)refusal->retry_after_ms, (long long)meter->settled,
            (long long)meter->held);
    }
}

static bool
is_of_routes(enum reason reason)
{
    return reason == REASON_ROUTES_EXHAUSTED || reason == REASON_ROUTES_COOLING || reason == REASON_ROUTES_FAILING
           || reason == REASON_ID_ROUTE_COOLING;
}

static bool
may_be_unpriced(const struct looked *at)
{
    for (int i = 0; i < at->model->route_count; i++) {
        if (at->model->routes[i].price < 0) {
            return at->adopted->config.unpriced != UNPRICED_ALLOW;
        }
    }
    return false;
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
    struct looked at = { .audit = audit,
        .call = call,
        .client = client,
        .verdict = verdict,
        .adopted = adopted_of(audit->world, call->policy_ver),
        .account = audit_account(audit, call->account_id),
        .key = audit_key(audit, call->key_id),
        .model = &sim_models[client->model],
        .now_ms = audit->node->engine->core.now_ms };
    coverage.reasons[reason]++;
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
