/* api/auth.c: who may ask what, by the column of tbl/endpoints.h. */
#include "api/api_priv.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/map.h"
#include "log/log.h"
#include "log/metrics.h"

static bool
blocked(struct api_plane *api, struct ask *ask)
{
    int64_t wait_ms = 0;
    (void)pthread_mutex_lock(&api->lock);
    const bool too_many =
        attempts_blocked(&api->attempts, ask->peer_block, clock_mono_ms(), &wait_ms);
    (void)pthread_mutex_unlock(&api->lock);
    if (too_many) {
        char seconds[24];
        (void)snprintf(seconds, sizeof(seconds), "%lld", (long long)(wait_ms + 999) / 1000);
        answer_reason(ask, REASON_KEY_ATTEMPTS);
        answer_header(ask, "Retry-After", seconds);
    }
    return too_many;
}

/* A key that is wrong is counted, and never written anywhere. An address that guesses learns no more than
 * that; a right key from there is still taken, since many may share it. */
static void
key_failed(struct api_plane *api, struct ask *ask, enum reason reason)
{
    struct log_line line;
    counter_add(COUNTER_KEY_FAILURES, 1);
    if (blocked(api, ask)) {
        return;
    }
    (void)pthread_mutex_lock(&api->lock);
    attempts_note(&api->attempts, ask->peer_block, clock_mono_ms());
    (void)pthread_mutex_unlock(&api->lock);
    answer_reason(ask, reason);

    log_begin(&line, LOG_WARN, "key_refused");
    log_str(&line, "reason", slice_str(reason_row(reason)->code));
    log_str(&line, "peer", slice_str(ask->peer));
    log_str(&line, "path", slice_str(endpoint_row(ask->endpoint)->path));
    log_end(&line);
}

static bool
needs_key(const struct ask *ask)
{
    switch (endpoint_row(ask->endpoint)->access) {
    case ENDPOINT_ACCESS_OPEN: return false;
    case ENDPOINT_ACCESS_LOCAL: return !ask->local;
    case ENDPOINT_ACCESS_KEY:
    case ENDPOINT_ACCESS_ADMIN: break;
    }
    return true;
}

bool
auth_at_the_door(struct ask *ask)
{
    if (ask->control || !needs_key(ask)) {
        return true;
    }
    if (endpoint_row(ask->endpoint)->access == ENDPOINT_ACCESS_ADMIN && !ask->local && !ask->tls) {
        answer_fault(ask, API_FAULT_ADMIN_REMOTE, NULL);
        return false;
    }
    if (ask->key_fault != REASON_OK) {
        counter_add(COUNTER_KEY_FAILURES, 1);
        answer_reason(ask, ask->key_fault);
        return false;
    }
    return true;
}

/* What the identity, once known, is allowed here. */
static enum reason
judge(const struct ask *ask)
{
    const struct identity *identity = &ask->identity;
    const bool reads_all = identity->role == ROLE_ADMIN || identity->role == ROLE_OBSERVER;
    if (identity->banned) {
        return REASON_ACCOUNT_BANNED;
    }
    switch (endpoint_row(ask->endpoint)->access) {
    case ENDPOINT_ACCESS_ADMIN: return identity->role == ROLE_ADMIN ? REASON_OK : REASON_KEY_ROLE;
    case ENDPOINT_ACCESS_LOCAL: return reads_all ? REASON_OK : REASON_KEY_ROLE;
    case ENDPOINT_ACCESS_KEY:
    case ENDPOINT_ACCESS_OPEN: break;
    }
    return REASON_OK;
}

/* A service key may speak there for an end user, as in a model call. */
static bool
is_of_account(enum endpoint endpoint)
{
    return slice_starts(slice_str(endpoint_row(endpoint)->path), SLICE("/api/account/"));
}

bool
auth_allow(struct api_worker *worker, struct ask *ask)
{
    if (ask->control || !needs_key(ask)) {
        ask->may_read_all = true;
        return true;
    }
    struct event event = { .kind = EVENT_IDENTIFY };
    struct verdict verdict;
    memcpy(event.identify.key_hash, ask->key_hash, sizeof(event.identify.key_hash));
    if (is_of_account(ask->endpoint)) {
        memcpy(event.identify.act_for, ask->act_for, sizeof(event.identify.act_for));
    }
    if (!worker_gate(worker, ask, &event, &verdict)) {
        return false;
    }
    if (verdict.kind != VERDICT_ALLOWED) {
        if (reason_row(verdict.refusal.reason)->class_ == REASON_CLASS_AUTH) {
            key_failed(worker->api, ask, verdict.refusal.reason);
        } else {
            answer_reason(ask, verdict.refusal.reason);
        }
        return false;
    }
    ask->identity = verdict.identity;
    const enum reason reason = judge(ask);
    if (reason != REASON_OK) {
        answer_reason(ask, reason);
        return false;
    }
    ask->may_read_all = ask->identity.role == ROLE_ADMIN || ask->identity.role == ROLE_OBSERVER;
    (void)snprintf(ask->actor, sizeof(ask->actor), "key_%lld", (long long)ask->identity.key_id);
    return true;
}
