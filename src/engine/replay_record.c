/* engine/replay_record.c: what was recorded, taken in: who called, in which threads, and each call once. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/replay_priv.h"

/* A transaction of one row that is as it was recorded. */
static bool
put_begin(struct replay *replay)
{
    return batch_begin(replay->engine) == STATUS_OK && batch_open(replay->engine) == STATUS_OK;
}

static bool
put_end(struct replay *replay, enum status status)
{
    if (status == STATUS_OK) {
        return store_commit(replay->store) == STATUS_OK;
    }
    store_rollback(replay->store);
    return status == STATUS_EXISTS; /* it is there */
}

/* Who is banned or revoked today was not when the call was made, or it would not be recorded as one. */
bool
replay_account(struct replay *replay, const struct account_row *row)
{
    struct account_row own = *row;
    const char *name = arena_strdup(&replay->arena, slice_str(row->name));
    own.version = 0;
    own.state = ACCOUNT_OK;
    return name && map_put(&replay->accounts, (uint64_t)row->account_id, (void *)(uintptr_t)name)
           && put_begin(replay) && put_end(replay, store_account_put(replay->store, &own));
}

/* By its name, also by the one it had before. What is called so now goes before what was once. */
bool
replay_limit(struct replay *replay, const struct limit_def_row *row)
{
    const struct policy *policy = replay->policy;
    const bool known = map_get(&replay->limits, (uint64_t)row->set_id) != NULL;
    for (int32_t i = 0; i < policy->limit_count && !(known && row->until_ms); i++) {
        const struct limit *limit = &policy->limits[i];
        if (strcmp(limit->name, row->name) == 0
            || (limit->was && strcmp(limit->was, row->name) == 0)) {
            return map_put(&replay->limits, (uint64_t)row->set_id, (void *)(uintptr_t)(i + 1));
        }
    }
    return true;
}

bool
replay_subject(struct replay *replay, const struct subject_row *row)
{
    struct subject_row own = *row;
    own.version = 0;
    own.set_count = 0;
    for (int32_t i = 0; i < row->set_count; i++) {
        const uintptr_t known = (uintptr_t)map_get(&replay->limits, (uint64_t)row->sets[i].set_id);
        if (known) {
            own.sets[own.set_count] = row->sets[i];
            own.sets[own.set_count++].set_id = replay->policy->limits[known - 1].set_id;
        }
    }
    if (own.set_count == 0) {
        return true;
    }
    own.subject_id = ids_take(&replay->engine->ids);
    return put_begin(replay) && put_end(replay, store_subject_put(replay->store, &own));
}

bool
replay_key(struct replay *replay, const struct key_row *row)
{
    struct key_row own = *row;
    own.version = 0;
    own.revoked = false;
    own.thread_required = false;
    own.expires_ms = 0;
    return put_begin(replay) && put_end(replay, store_key_put(replay->store, &own));
}

void
replay_thread_mark(int64_t thread_id, char out[HASH_HEX + 1])
{
    (void)snprintf(out, HASH_HEX + 1, "%064llx", (unsigned long long)thread_id);
}

static bool
put_thread(struct replay *replay, int64_t account_id, int64_t thread_id, int64_t root_id)
{
    struct thread_row row = {
        .thread_id = thread_id, .account_id = account_id, .root_id = root_id, .kind = THREAD_NAMED
    };
    replay_thread_mark(thread_id, row.sig_hash);
    return put_begin(replay) && put_end(replay, store_thread_put(replay->store, &row));
}

/* It was there, or came into being with its call: either way it has its number and its tree. */
static bool
know_thread(struct replay *replay, const struct ledger_row *row)
{
    const uint64_t key = (uint64_t)row->thread_id;
    if (row->thread_id == 0 || map_get(&replay->threads, key)) {
        return true;
    }
    const int64_t root_id = row->root_id ? row->root_id : row->thread_id;
    return map_put(&replay->threads, key, replay)
           && put_thread(replay, row->account_id, row->thread_id, root_id);
}

static const struct labels *
labels_of(struct replay *replay, const struct recorded_call *call)
{
    const struct policy *policy = replay->policy;
    bool any = call->organisation[0] != '\0';
    struct labels labels = { 0 };
    memcpy(labels.organisation, call->organisation, sizeof(labels.organisation));
    for (int32_t i = 0; i < policy->tag_count; i++) {
        for (int k = 0; k < RECORDED_TAGS_MAX; k++) {
            if (call->tag_names[k][0] && strcmp(call->tag_names[k], policy->tags[i].name) == 0) {
                memcpy(labels.tags[i], call->tags[k], sizeof(labels.tags[i]));
                any = true;
            }
        }
    }
    struct labels *kept = any ? arena_alloc(&replay->arena, sizeof(*kept)) : NULL;
    if (kept) {
        *kept = labels;
    }
    return kept;
}

static int32_t
api_of(const char *word)
{
    for (int i = 0; i < API_COUNT; i++) {
        if (strcmp(api_word((enum api)i), word) == 0) {
            return i;
        }
    }
    return -1;
}

static struct past_call *
call_of(struct replay *replay, int64_t request)
{
    const uint64_t key = (uint64_t)request;
    const uintptr_t known = (uintptr_t)map_get(&replay->calls_by_id, key);
    if (known) {
        return &replay->calls[known - 1];
    }
    if (replay->call_count == replay->call_cap) {
        const size_t cap = replay->call_cap ? replay->call_cap * 2 : 4096;
        struct past_call *grown = realloc(replay->calls, cap * sizeof(*grown));
        if (!grown) {
            return NULL;
        }
        replay->calls = grown;
        replay->call_cap = cap;
    }
    struct past_call *call = &replay->calls[replay->call_count++];
    *call = (struct past_call){
        .request = request, .model = -1, .api = -1, .output_limit = -1, .usage = USAGE_NONE
    };
    return map_put(&replay->calls_by_id, key, (void *)replay->call_count) ? call : NULL; /* + 1 */
}

static void
take_inputs(struct replay *replay, struct past_call *past, const struct ledger_row *row,
    const struct recorded_call *call)
{
    const char *model = call->substitute_for[0] ? call->substitute_for : row->model;
    past->recorded = true;
    past->model = policy_model_index(replay->policy, slice_str(model));
    past->api = api_of(call->api);
    past->stream = call->stream;
    past->body_bytes = max_i64(0, call->body_bytes);
    past->input_bytes = max_i64(0, call->input_bytes >= 0 ? call->input_bytes : call->input_bound);
    past->output_limit = call->output_limit;
    past->answers = max_i64(1, call->answers);
    past->price_pct = min_i64(max_i64(1, call->price_pct), MULTIPLIER_PCT_MAX);
    /* One that was refused in a line came before that; one that was allowed began when it was. */
    const int64_t waited_ms = past->refused ? min_i64(call->waited_ms, DAY_MS) : 0;
    past->started_ms = max_i64(0, past->started_ms - waited_ms);
    past->cannot_bound = call->cannot_bound;
    past->input_unbounded = call->input_unbounded;
    past->output_floor = min_i64(max_i64(0, call->output_floor), TOKENS_MAX);
    past->spend_limit_micros = min_i64(max_i64(0, call->spend_limit_micros), MONEY_MICROS_MAX);
    past->labels = labels_of(replay, call);
    past->reports = reports_take(replay, row, call);
    past->est_micros = row->est_micros;
}

static int64_t
tokens_add(int64_t a, int64_t b)
{
    return min_i64(TOKENS_MAX, a + b);
}

static void
add_usage(struct usage *sum, const struct usage *usage)
{
    sum->input = tokens_add(sum->input, usage->input);
    sum->cache_read = tokens_add(sum->cache_read, usage->cache_read);
    sum->cache_write_5m = tokens_add(sum->cache_write_5m, usage->cache_write_5m);
    sum->cache_write_1h = tokens_add(sum->cache_write_1h, usage->cache_write_1h);
    sum->output = tokens_add(sum->output, usage->output);
    sum->reasoning = tokens_add(sum->reasoning, usage->reasoning);
    sum->known |= usage->known;
}

static bool
is_of_a_call(enum ledger_kind kind)
{
    return kind == LEDGER_SETTLE || kind == LEDGER_UNBILLED || kind == LEDGER_RELEASE
           || kind == LEDGER_ORPHAN || kind == LEDGER_REFUSAL;
}

bool
replay_row(struct replay *replay, const struct ledger_row *row, const struct recorded_call *call)
{
    const bool refusal = row->kind == LEDGER_REFUSAL;
    if (!is_of_a_call(row->kind) || (!refusal && row->hold_id == 0)) {
        return true; /* what people did, and what was told, is no call */
    }
    struct past_call *past = call_of(replay, refusal ? row->id : row->hold_id);
    if (!past || !know_thread(replay, row)) {
        return false;
    }
    past->refused = refusal;
    past->reason = row->reason;
    past->account_id = row->account_id;
    past->key_id = row->key_id;
    past->thread_id = row->thread_id;
    past->root_id = row->root_id;
    past->started_ms = refusal ? row->at_ms : row->started_ms;
    past->ended_ms = max_i64(past->ended_ms, row->at_ms);
    past->cost_micros = money_add(past->cost_micros, row->cost_micros);
    past->dispatched |= !refusal && row->kind != LEDGER_RELEASE;
    past->billed |= row->kind == LEDGER_SETTLE || row->kind == LEDGER_ORPHAN;
    past->orphaned |= row->kind == LEDGER_ORPHAN;
    if (row->kind == LEDGER_SETTLE) {
        add_usage(&past->usage, &row->usage);
    }
    if (call && !past->recorded) {
        take_inputs(replay, past, row, call);
        if (past->orphaned) { /* booked whole: as much as it could be */
            past->usage.input = min_i64(TOKENS_MAX, max_i64(0, call->input));
            past->usage.output = min_i64(TOKENS_MAX, max_i64(0, call->output_bound));
            past->usage.known = USAGE_INPUT | USAGE_OUTPUT | USAGE_ESTIMATED;
        }
    }
    return true;
}
