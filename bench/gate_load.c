/* bench/gate_load.c: one gateway's engine and the one who asks it. */
#include "bench/gate_load.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"
#include "bench/fail.h"
#include "bench/proc.h"
#include "conf/conf.h"
#include "engine/engine.h"
#include "log/metrics.h"

#define MAKING_MAX  128 /* accounts that are being made at once */
#define WARMING     ENGINE_BATCH_MAX
#define FILLERS     16
#define READ_MAX_MS (5 * 60 * 1000)
#define TRIPS_MAX   16 /* a batch of more counts as one of so many */

static const char policy_text[] =
    "listen: 127.0.0.1:1\n"
    "providers:\n"
    "  p: {dialect: openai, apis: [chat], on_abort: stops, base_url: \"http://127.0.0.1:9/v1\"}\n"
    "models:\n"
    "  whole: {tier: free, price: {input: 1 USD, output: 5 USD},\n"
    "    routes: [{provider: p, model: bench}]}\n"
    "limits:\n"
    "  day-spend: {counts: cost, per: account, window: day, cap: 1000000 USD}\n"
    "  month-spend: {counts: cost, per: account, window: month, cap: 10000000 USD}\n"
    "  thread-spend: {counts: cost, per: thread_tree, window: lifetime, cap: 1000000 USD}\n"
    "  a-minute: {counts: requests, per: key,\n"
    "    window: {rate: 1000000000/min, burst: 1000000000}}\n"
    "  parallel: {counts: in_flight, per: account, cap: 100000}\n";

struct caller {
    int64_t account_id, key_id;
};

struct gate_load {
    struct gate_load_options options;
    struct store *store;
    struct engine *engine;
    struct policy *policy;
    struct caller *callers;
    int64_t *asked_us;          /* of the call in each slot */
    int64_t turn, first, share; /* of the callers this gateway takes in turn */
    int64_t in_flight, wanted;  /* calls that are outstanding, and that are to be */
    bool anywhere;
    uint64_t random;
    int64_t settled;
    struct latencies *latencies; /* NULL: nothing is timed yet */
    pthread_mutex_t lock;
    pthread_cond_t came;
    bool woken;
};

/* --- The engine, asked and answering. */

static void
on_wake(void *user, uint32_t loop)
{
    struct gate_load *gate = user;
    (void)loop;
    pthread_mutex_lock(&gate->lock);
    gate->woken = true;
    pthread_cond_signal(&gate->came);
    pthread_mutex_unlock(&gate->lock);
}

static uint32_t
take_some(struct gate_load *gate, struct verdict *out, uint32_t max)
{
    uint32_t count = 0;
    while ((count = engine_take(gate->engine, 0, out, max)) == 0) {
        pthread_mutex_lock(&gate->lock);
        while (!gate->woken) {
            pthread_cond_wait(&gate->came, &gate->lock);
        }
        gate->woken = false;
        pthread_mutex_unlock(&gate->lock);
    }
    return count;
}

static void
submit(struct gate_load *gate, const struct event *event)
{
    if (!engine_submit_quietly(gate->engine, event)) {
        fail("the engine's queue is full");
    }
}

/* --- Who calls. A key's hash tells which caller it is. */

static void
make_caller(struct gate_load *gate, int64_t index)
{
    struct event event = { .kind = EVENT_ADMIN };
    event.admin = (struct admin_event){ .verb = ADMIN_ACCOUNT_PUT, .must_be_new = true };
    (void)snprintf(
        event.admin.account.name, sizeof event.admin.account.name, "bench-%lld", (long long)index);
    submit(gate, &event);
    event.admin.verb = ADMIN_KEY_PUT;
    (void)snprintf(event.admin.key.hash_hex, sizeof event.admin.key.hash_hex, "%064llx",
        (unsigned long long)index);
    submit(gate, &event);
}

/* How many are made; 0 or an account's and a key's verdict for each. */
static int64_t
take_made(struct gate_load *gate)
{
    struct verdict verdicts[64];
    const uint32_t count = take_some(gate, verdicts, countof(verdicts));
    for (uint32_t i = 0; i < count; i++) {
        if (verdicts[i].kind != VERDICT_ALLOWED || !verdicts[i].new_id) {
            fail("an account or a key is not made (%s): is the store a new one?",
                reason_row(verdicts[i].refusal.reason)->code);
        }
    }
    return count;
}

static bool
take_key(void *user, const struct key_row *row)
{
    struct gate_load *gate = user;
    char *end = NULL;
    const unsigned long long index = strtoull(row->hash_hex, &end, 16);
    if (*end == '\0' && index < (unsigned long long)gate->options.accounts) {
        gate->callers[index] =
            (struct caller){ .account_id = row->account_id, .key_id = row->key_id };
    }
    return true;
}

static bool
find_callers(struct gate_load *gate)
{
    struct store_reader *reader = NULL;
    struct store_error error;
    if (store_reader_open(gate->store, &reader, &error) != STATUS_OK) {
        fail("%s", error.text);
    }
    if (store_read_keys(reader, 0, take_key, gate) != STATUS_OK) {
        fail("the keys cannot be read: %s", store_reader_error(reader));
    }
    store_reader_close(reader);
    for (int64_t i = 0; i < gate->options.accounts; i++) {
        if (gate->callers[i].key_id == 0) {
            return false;
        }
    }
    return true;
}

void
gate_load_make_callers(struct gate_load *gate)
{
    if (find_callers(gate)) {
        return;
    }
    int64_t made = 0; /* accounts and keys */
    for (int64_t i = 0; i < gate->options.accounts; i++) {
        make_caller(gate, i);
        while (2 * (i + 1) - made > MAKING_MAX) {
            engine_rouse(gate->engine);
            made += take_made(gate);
        }
    }
    engine_rouse(gate->engine);
    while (made < 2 * gate->options.accounts) {
        made += take_made(gate);
    }
}

void
gate_load_find_callers(struct gate_load *gate)
{
    if (!find_callers(gate)) {
        fail("the store has fewer than %lld accounts of this benchmark",
            (long long)gate->options.accounts);
    }
}

/* --- Calls. */

/* Of each process other ones. */
static uint64_t
next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int64_t
next_caller(struct gate_load *gate)
{
    if (gate->anywhere) {
        return (int64_t)(next_random(&gate->random) % (uint64_t)gate->options.active);
    }
    return gate->first + gate->turn++ % gate->share;
}

static void
call(struct gate_load *gate, uint32_t slot)
{
    const int64_t index = next_caller(gate);
    const struct caller *caller = &gate->callers[index];
    struct event event = { .kind = EVENT_CALL, .reply.slot = slot };
    event.call = (struct call_event){ .account_id = caller->account_id,
        .key_id = caller->key_id,
        .policy_ver = gate->policy->version,
        .thread_kind = THREAD_NAMED,
        .thread_named = true,
        .body_bytes = 1000,
        .input_bytes_bound = 1000,
        .output_limit = 256,
        .output_count = 1,
        .price_multiplier_pct = 100 };
    (void)snprintf(event.call.thread_hash, sizeof event.call.thread_hash, "%064llx",
        (unsigned long long)index);
    gate->asked_us[slot] = clock_mono_us();
    submit(gate, &event);
}

static void
settle(struct gate_load *gate, int64_t hold_id)
{
    struct event event = { .kind = EVENT_SETTLE, .reply.loop = ENGINE_NO_REPLY };
    event.settle = (struct settle_event){ .hold_id = hold_id,
        .dispatched = true,
        .usage = { .input = 250, .output = 100, .known = USAGE_INPUT | USAGE_OUTPUT },
        .status = 200,
        .multiplier_pct = 100,
        .input_tokens_seen = 250,
        .output_bytes = 400 };
    submit(gate, &event);
    gate->settled++;
}

static void
answer(struct gate_load *gate, const struct verdict *verdict, int64_t now_us)
{
    const uint32_t slot = verdict->reply.slot;
    if (verdict->kind != VERDICT_ALLOWED) {
        fail("a call was not allowed: %s", reason_row(verdict->refusal.reason)->code);
    }
    if (gate->latencies) {
        latencies_add(gate->latencies, now_us - gate->asked_us[slot]);
    }
    settle(gate, verdict->hold_id);
    if (gate->in_flight > gate->wanted) {
        gate->in_flight--;
    } else {
        call(gate, slot);
    }
}

static void
answer_some(struct gate_load *gate)
{
    struct verdict verdicts[ENGINE_BATCH_MAX];
    const uint32_t count = take_some(gate, verdicts, countof(verdicts));
    const int64_t now_us = clock_mono_us();
    for (uint32_t i = 0; i < count; i++) {
        answer(gate, &verdicts[i], now_us);
    }
    engine_rouse(gate->engine);
}

static void
run_for(struct gate_load *gate, int64_t ms)
{
    const int64_t until_ms = clock_mono_ms() + ms;
    while (clock_mono_ms() < until_ms) {
        answer_some(gate);
    }
}

/* Its part of the callers; where there are fewer than gateways, or any is asked for, all have the same. */
static void
share_callers(struct gate_load *gate)
{
    const struct gate_load_options *options = &gate->options;
    const int64_t from = options->active * options->gateway / options->gateways;
    const int64_t to = options->active * (options->gateway + 1) / options->gateways;
    const bool all = options->anywhere || options->active < options->gateways;
    gate->first = all ? 0 : from;
    gate->share = all ? options->active : to - from;
    gate->turn = all ? from : 0; /* not all of them at the same moment */
    gate->random = 0x9e3779b97f4a7c15u * (uint64_t)(options->gateway + 1);
}

/* Calls of a few, whose rows are in memory: the ledger grows as fast as it can. */
static void
fill(struct gate_load *gate)
{
    const int64_t share = gate->share;
    const int64_t until_settled = gate->settled + gate->options.fill;
    gate->share = min_i64(share, FILLERS);
    while (gate->settled < until_settled) {
        answer_some(gate);
    }
    gate->share = share;
}

void
gate_load_warm(struct gate_load *gate)
{
    const struct gate_load_options *options = &gate->options;
    const int64_t until_turn = gate->turn + gate->share + WARMING;
    gate->anywhere = options->anywhere && options->cold;
    gate->wanted = options->cold ? options->outstanding : max_i64(options->outstanding, WARMING);
    while (gate->in_flight < gate->wanted) {
        call(gate, (uint32_t)gate->in_flight++);
    }
    engine_rouse(gate->engine);
    while (!options->cold && gate->turn < until_turn) {
        answer_some(gate);
    }
    fill(gate);
    gate->wanted = options->outstanding;
    gate->anywhere = options->anywhere;
}

/* --- A window. */

/* What grows from the process's start. */
struct gauges {
    struct proc_sample proc;
    struct engine_state state;
    int64_t retried, server_us, settled, at_us;
    int64_t within[TRIPS_MAX + 1]; /* batches that took at most so many round trips */
};

static void
read_gauges(struct gate_load *gate, struct gauges *gauges)
{
    if (proc_read(getpid(), &gauges->proc) != STATUS_OK) {
        fail("this process's threads cannot be looked at");
    }
    engine_state(gate->engine, &gauges->state);
    gauges->retried = counter_get(COUNTER_BATCHES_RETRIED);
    gauges->server_us =
        gate->options.server > 0 ? proc_children_us((pid_t)gate->options.server) : 0;
    for (int trips = 0; trips <= TRIPS_MAX; trips++) {
        gauges->within[trips] = histogram_within(HISTOGRAM_BATCH_TRIPS, trips);
    }
    gauges->settled = gate->settled;
    gauges->at_us = clock_mono_us();
}

/* Of batches alone: what renews a lease or does a job is not among them. */
static void
tell_trips(const struct gauges *from, const struct gauges *to, struct gate_report *report)
{
    int64_t below = 0;
    for (int64_t trips = 0; trips <= TRIPS_MAX; trips++) {
        const int64_t within = to->within[trips] - from->within[trips];
        report->round_trips += trips * (within - below);
        report->longest = within > below ? trips : report->longest;
        report->sent += within - below;
        below = within;
    }
}

static void
tell(const struct gauges *from, const struct gauges *to, struct gate_report *report)
{
    struct proc_use use;
    proc_between(&from->proc, &from->proc, &to->proc, &use);
    report->calls = to->settled - from->settled;
    report->events = to->state.events - from->state.events;
    report->batches = to->state.batches - from->state.batches;
    report->commits = to->state.commits - from->state.commits;
    report->retried = to->retried - from->retried;
    report->server_us = to->server_us - from->server_us;
    tell_trips(from, to, report);
    report->engine_us = use.engine_us;
    report->process_us = use.engine_us + use.other_us + use.loops_us;
    report->window_us = to->at_us - from->at_us;
}

void
gate_load_run(struct gate_load *gate, struct gate_report *report)
{
    struct gauges from;
    struct gauges to;
    *report = (struct gate_report){ 0 };
    run_for(gate, gate->options.warm_ms);
    read_gauges(gate, &from);
    gate->latencies = &report->latencies;
    run_for(gate, gate->options.window_ms);
    gate->latencies = NULL;
    read_gauges(gate, &to);
    tell(&from, &to, report);
}

void
gate_report_add(struct gate_report *sum, const struct gate_report *report)
{
    sum->calls += report->calls;
    sum->events += report->events;
    sum->batches += report->batches;
    sum->commits += report->commits;
    sum->retried += report->retried;
    sum->sent += report->sent;
    sum->round_trips += report->round_trips;
    sum->server_us = max_i64(sum->server_us, report->server_us); /* each saw all of it */
    sum->longest = max_i64(sum->longest, report->longest);
    sum->engine_us += report->engine_us;
    sum->process_us += report->process_us;
    sum->window_us = max_i64(sum->window_us, report->window_us);
    latencies_join(&sum->latencies, &report->latencies);
}

/* --- Opening and closing. */

static void
open_engine(struct gate_load *gate)
{
    char name[32];
    struct store_error store_error;
    struct engine_error engine_error;
    (void)snprintf(name, sizeof name, "bench-%lld", (long long)gate->options.gateway);
    const struct store_options store_options = {
        .full_sync = gate->options.full_sync, .read_max_ms = READ_MAX_MS, .node_name = name
    };
    if (store_open(gate->options.store, &store_options, &gate->store, &store_error) != STATUS_OK) {
        fail("%s", store_error.text);
    }
    const struct engine_options engine_options = { .store = gate->store,
        .policy = policy_ref(gate->policy),
        .loop_count = 1,
        .wake = on_wake,
        .wake_user = gate };
    if (engine_open(&engine_options, &gate->engine, &engine_error) != STATUS_OK) {
        fail("%s", engine_error.text);
    }
}

struct gate_load *
gate_load_open(const struct gate_load_options *options)
{
    struct conf_error conf_error;
    struct gate_load *gate = calloc(1, sizeof *gate);
    if (!gate) {
        fail("no memory");
    }
    gate->options = *options;
    gate->callers = calloc((size_t)options->accounts, sizeof *gate->callers);
    gate->asked_us = calloc((size_t)max_i64(options->outstanding, WARMING), sizeof *gate->asked_us);
    if (!gate->callers || !gate->asked_us) {
        fail("no memory");
    }
    share_callers(gate);
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->came, NULL);
    if (secret_start() != STATUS_OK
        || conf_load_text("bench.yaml", SLICE(policy_text), &gate->policy, &conf_error)
               != STATUS_OK) {
        fail("the configuration is refused: %s", conf_error.text);
    }
    open_engine(gate);
    return gate;
}

void
gate_load_close(struct gate_load *gate)
{
    (void)engine_close(gate->engine);
    store_close(gate->store);
    policy_unref(gate->policy);
    pthread_mutex_destroy(&gate->lock);
    pthread_cond_destroy(&gate->came);
    free(gate->callers);
    free(gate->asked_us);
    free(gate);
}

int64_t
gate_load_orphans(const struct gate_load *gate)
{
    struct engine_state state;
    engine_state(gate->engine, &state);
    return state.orphans_closed;
}
