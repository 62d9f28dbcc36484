/* relay/identity.c: the key is judged before the body is read: from the loop's cache, else by the gate. */
#include "relay/relay_priv.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/secret.h"

#define IDENTITIES_MAX 65536

void
identities_clear(struct relay_loop *loop)
{
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    while (map_next(&loop->identities, &cursor, &key, &value)) {
        free(value);
    }
    map_free(&loop->identities);
    loop->identities = (struct map){ 0 };
}

/* What was cached before an account or key changed is stale. */
static void
drop_stale(struct relay_loop *loop)
{
    const int64_t version = engine_identity_version(loop->relay->engine);
    if (loop->identities_version != version || loop->identities.count > IDENTITIES_MAX) {
        identities_clear(loop);
        loop->identities_version = version;
    }
}

static uint64_t
identity_hash(const char *key_hash, struct slice act_for)
{
    return hash_pair(
        hash_bytes(slice_of(key_hash, HASH_HEX)), act_for.len ? hash_bytes(act_for) : 0);
}

static struct slice
header_value(const struct http_head *head, struct slice name)
{
    const struct http_header *header = http_find(head, name);
    return header ? header->value : (struct slice){ 0 };
}

/* Whose call it is. A service key names its end user; from others the header is ignored, and the answer
 * says so. */
static enum reason
take_identity(struct call *call, const struct identity *identity, struct slice act_for)
{
    call->account_id = identity->account_id;
    call->key_id = identity->key_id;
    call->may_label = identity->role == ROLE_SERVICE || identity->role == ROLE_ADMIN;
    free(call->account);
    call->account = strdup(identity->account);
    if (!call->account) {
        return REASON_MEMORY_FULL;
    }
    call->act_for_ignored =
        act_for.ptr && !slice_eq(act_for, slice_str(call->account)); /* an empty one too */
    if (identity->expires_ms && identity->expires_ms <= clock_wall_ms()) {
        return REASON_KEY_EXPIRED;
    }
    return identity->banned ? REASON_ACCOUNT_BANNED : REASON_OK;
}

static enum reason
ask_gate(struct call *call, const char *key_hash, struct slice act_for, struct slice act_plan)
{
    struct event event = { .kind = EVENT_IDENTIFY };
    memcpy(event.identify.key_hash, key_hash, sizeof event.identify.key_hash);
    if (!slice_to_cstr(act_for, event.identify.act_for, sizeof event.identify.act_for)
        || !slice_to_cstr(act_plan, event.identify.act_plan, sizeof event.identify.act_plan)
        || (act_for.len && !name_valid(act_for))) {
        return REASON_ACCOUNT_UNKNOWN;
    }
    if (!replies_submit(call->loop->replies, &event, call_on_identity, call, &call->ticket)) {
        return REASON_OVERLOADED;
    }
    call->ticket_open = true;
    return REASON_OK;
}

enum reason
identity_find(struct call *call, const struct http_head *head, bool *pending)
{
    struct relay_loop *loop = call->loop;
    const struct caller_keys keys = caller_keys_find(head);
    if (keys.conflict) {
        return REASON_KEY_CONFLICT;
    }
    if (keys.key.len == 0) {
        return REASON_KEY_MISSING;
    }
    char key_hash[HASH_HEX + 1];
    hash_memo_hex(&loop->key_hashes, keys.key, key_hash);
    const struct slice act_for = header_value(head, SLICE("x-tidegate-account"));
    drop_stale(loop);
    const struct known_identity *known =
        map_get(&loop->identities, identity_hash(key_hash, act_for));
    if (known && memcmp(known->key_hash, key_hash, HASH_HEX) == 0) {
        return take_identity(call, &known->identity, act_for);
    }
    *pending = true;
    return ask_gate(call, key_hash, act_for, header_value(head, SLICE("x-tidegate-plan")));
}

static void
remember(struct call *call, const struct verdict *verdict)
{
    struct relay_loop *loop = call->loop;
    drop_stale(loop);
    if (verdict->identity_version != loop->identities_version) {
        return; /* something changed since the gate looked: ask again next time */
    }
    if (verdict->identity.banned && engine_is_shared(loop->relay->engine)) {
        return; /* another gateway may lift it unheard; all else asks the gate, which looks */
    }
    const struct http_head *head = net_exchange_head(call->exchange);
    const struct caller_keys keys = caller_keys_find(head);
    struct known_identity *known = calloc(1, sizeof *known);
    if (!known) {
        return;
    }
    known->identity = verdict->identity;
    hash_memo_hex(&loop->key_hashes, keys.key, known->key_hash);
    const uint64_t hash =
        identity_hash(known->key_hash, header_value(head, SLICE("x-tidegate-account")));
    free(map_remove(&loop->identities, hash));
    if (!map_put(&loop->identities, hash, known)) {
        free(known);
    }
}

/* A wrong key is counted, and never written anywhere. An address that guesses learns no more than that; a
 * right key from there is still taken, since many may share it. */
static void
refuse_key(struct call *call, const struct refusal *refusal)
{
    struct relay *relay = call->loop->relay;
    const uint64_t address = net_exchange_peer_block(call->exchange);
    const int64_t now_mono_ms = net_loop_mono_ms(call->loop->loop);
    int64_t wait_ms = 0;
    pthread_mutex_lock(relay->lock);
    const bool blocked = attempts_blocked(&relay->attempts, address, now_mono_ms, &wait_ms);
    if (!blocked) {
        attempts_note(&relay->attempts, address, now_mono_ms);
    }
    pthread_mutex_unlock(relay->lock);
    const struct refusal too_many = { .reason = REASON_KEY_ATTEMPTS, .retry_after_ms = wait_ms };
    call_refuse(call, blocked ? &too_many : refusal, (struct slice){ 0 });
}

void
call_on_identity(void *user, const struct verdict *verdict)
{
    struct call *call = user;
    call->ticket_open = false;
    if (verdict->kind != VERDICT_ALLOWED && verdict->refusal.reason == REASON_KEY_INVALID) {
        refuse_key(call, &verdict->refusal);
        return;
    }
    if (verdict->kind != VERDICT_ALLOWED) {
        call_refuse(call, &verdict->refusal, (struct slice){ 0 });
        return;
    }
    const enum reason reason = take_identity(call, &verdict->identity,
        header_value(net_exchange_head(call->exchange), SLICE("x-tidegate-account")));
    remember(call, verdict);
    if (reason != REASON_OK) {
        call_refuse_reason(call, reason, (struct slice){ 0 });
        return;
    }
    call_identified(call);
}
