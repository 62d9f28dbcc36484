/* bench/engine.c: calls decided and settled by the engine alone: no sockets, one thread that asks.
 *
 *     engine --store URL [--accounts N] [--outstanding N] [--window MS]
 *
 * Each answer is followed by the settlement of that call and by the next call, of an account taken in turn,
 * under five limits. Prints one line of JSON: calls a second, and for each call the CPU of the engine's thread
 * and of the whole process, commits and events a batch. The store should be a new one, on a disk. */
#include <getopt.h>
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

#define WARM_MS 500

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

struct options {
    const char *store;
    int64_t accounts, outstanding, window_ms;
};

struct caller {
    int64_t account_id, key_id;
};

struct bench {
    struct options options;
    struct engine *engine;
    struct policy *policy;
    struct caller *callers;
    int64_t turn, settled;
    pthread_mutex_t lock;
    pthread_cond_t came;
    bool woken;
};

static void
on_wake(void *user, uint32_t loop)
{
    struct bench *bench = user;
    (void)loop;
    pthread_mutex_lock(&bench->lock);
    bench->woken = true;
    pthread_cond_signal(&bench->came);
    pthread_mutex_unlock(&bench->lock);
}

static uint32_t
take_some(struct bench *bench, struct verdict *out, uint32_t max)
{
    uint32_t count = 0;
    while ((count = engine_take(bench->engine, 0, out, max)) == 0) {
        pthread_mutex_lock(&bench->lock);
        while (!bench->woken) {
            pthread_cond_wait(&bench->came, &bench->lock);
        }
        bench->woken = false;
        pthread_mutex_unlock(&bench->lock);
    }
    return count;
}

static void
submit(struct bench *bench, const struct event *event)
{
    if (!engine_submit(bench->engine, event)) {
        fail("the engine's queue is full");
    }
}

static int64_t
ask_admin(struct bench *bench, struct event *event)
{
    struct verdict verdict;
    submit(bench, event);
    (void)take_some(bench, &verdict, 1);
    if (verdict.kind != VERDICT_ALLOWED || !verdict.new_id) {
        fail("an account or a key is not made: is the store a new one?");
    }
    return verdict.new_id;
}

static void
make_callers(struct bench *bench)
{
    bench->callers = calloc((size_t)bench->options.accounts, sizeof *bench->callers);
    if (!bench->callers) {
        fail("no memory");
    }
    for (int64_t i = 0; i < bench->options.accounts; i++) {
        struct event event = { .kind = EVENT_ADMIN };
        event.admin = (struct admin_event){ .verb = ADMIN_ACCOUNT_PUT, .must_be_new = true };
        (void)snprintf(
            event.admin.account.name, sizeof event.admin.account.name, "bench-%lld", (long long)i);
        bench->callers[i].account_id = ask_admin(bench, &event);
        event.admin.verb = ADMIN_KEY_PUT;
        (void)snprintf(event.admin.key.hash_hex, sizeof event.admin.key.hash_hex, "%064llx",
            (unsigned long long)i);
        bench->callers[i].key_id = ask_admin(bench, &event);
    }
}

static void
call(struct bench *bench)
{
    const struct caller *caller = &bench->callers[bench->turn++ % bench->options.accounts];
    struct event event = { .kind = EVENT_CALL };
    event.call = (struct call_event){ .account_id = caller->account_id,
        .key_id = caller->key_id,
        .policy_ver = bench->policy->version,
        .thread_kind = THREAD_NAMED,
        .thread_named = true,
        .body_bytes = 1000,
        .input_bytes_bound = 1000,
        .output_limit = 256,
        .output_count = 1,
        .price_multiplier_pct = 100 };
    (void)snprintf(event.call.thread_hash, sizeof event.call.thread_hash, "%064llx",
        (unsigned long long)(bench->turn % bench->options.accounts));
    submit(bench, &event);
}

static void
settle(struct bench *bench, int64_t hold_id)
{
    struct event event = { .kind = EVENT_SETTLE, .reply.loop = ENGINE_NO_REPLY };
    event.settle = (struct settle_event){ .hold_id = hold_id,
        .dispatched = true,
        .usage = { .input = 250, .output = 100, .known = USAGE_INPUT | USAGE_OUTPUT },
        .status = 200,
        .multiplier_pct = 100,
        .input_tokens_seen = 250,
        .output_bytes = 400 };
    submit(bench, &event);
    bench->settled++;
}

/* As many calls as are outstanding, for so long. */
static void
run_for(struct bench *bench, int64_t ms)
{
    struct verdict verdicts[64];
    const int64_t until_ms = clock_mono_ms() + ms;
    while (clock_mono_ms() < until_ms) {
        const uint32_t count = take_some(bench, verdicts, countof(verdicts));
        for (uint32_t i = 0; i < count; i++) {
            if (verdicts[i].kind != VERDICT_ALLOWED) {
                fail("a call was not allowed: %s", reason_row(verdicts[i].refusal.reason)->code);
            }
            settle(bench, verdicts[i].hold_id);
            call(bench);
        }
    }
}

static void
report(const struct options *options, const struct proc_use *use, const struct engine_state *before,
    const struct engine_state *after, int64_t calls, int64_t window_us)
{
    const double each = calls > 0 ? (double)calls : 1;
    const int64_t batches = after->batches - before->batches;
    printf("{\"accounts\":%lld,\"outstanding\":%lld,\"calls_per_s\":%.0f,\"engine_us_each\":%.2f,"
           "\"process_us_each\":%.2f,\"commits_each\":%.4f,\"events_a_batch\":%.1f}\n",
        (long long)options->accounts, (long long)options->outstanding,
        (double)calls * 1e6 / (double)window_us, (double)use->engine_us / each,
        (double)(use->engine_us + use->other_us + use->loops_us) / each,
        (double)(after->commits - before->commits) / each,
        batches ? (double)(after->events - before->events) / (double)batches : 0);
}

static void
measure(struct bench *bench)
{
    struct proc_sample start;
    struct proc_sample end;
    struct proc_use use;
    struct engine_state before;
    struct engine_state after;
    for (int64_t i = 0; i < bench->options.outstanding; i++) {
        call(bench);
    }
    run_for(bench, WARM_MS);
    if (proc_read(getpid(), &start) != STATUS_OK) {
        fail("this process's threads cannot be looked at");
    }
    engine_state(bench->engine, &before);
    const int64_t settled_before = bench->settled;
    const int64_t from_ms = clock_mono_ms();
    run_for(bench, bench->options.window_ms);
    const int64_t window_us = (clock_mono_ms() - from_ms) * 1000;
    if (proc_read(getpid(), &end) != STATUS_OK) {
        fail("this process's threads cannot be looked at");
    }
    engine_state(bench->engine, &after);
    proc_between(&start, &start, &end, &use);
    report(&bench->options, &use, &before, &after, bench->settled - settled_before, window_us);
}

static void
open_engine(struct bench *bench, struct store **store)
{
    const struct store_options store_options = { .full_sync = true };
    struct conf_error conf_error;
    struct store_error store_error;
    struct engine_error engine_error;
    if (secret_start() != STATUS_OK
        || conf_load_text("bench.yaml", SLICE(policy_text), &bench->policy, &conf_error)
               != STATUS_OK) {
        fail("the configuration is refused: %s", conf_error.text);
    }
    if (store_open(bench->options.store, &store_options, store, &store_error) != STATUS_OK) {
        fail("%s", store_error.text);
    }
    const struct engine_options engine_options = { .store = *store,
        .policy = policy_ref(bench->policy),
        .loop_count = 1,
        .wake = on_wake,
        .wake_user = bench };
    if (engine_open(&engine_options, &bench->engine, &engine_error) != STATUS_OK) {
        fail("%s", engine_error.text);
    }
}

static struct options
read_options(int argc, char **argv)
{
    static const struct option names[] = { { "store", required_argument, NULL, 's' },
        { "accounts", required_argument, NULL, 'a' },
        { "outstanding", required_argument, NULL, 'o' }, { "window", required_argument, NULL, 'w' },
        { 0 } };
    struct options options = { .accounts = 16, .outstanding = 32, .window_ms = 3000 };
    int name = 0;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (name) {
        case 's': options.store = optarg; break;
        case 'a': options.accounts = strtoll(optarg, NULL, 10); break;
        case 'o': options.outstanding = strtoll(optarg, NULL, 10); break;
        case 'w': options.window_ms = strtoll(optarg, NULL, 10); break;
        default: fail("options are --store URL, --accounts N, --outstanding N and --window MS");
        }
    }
    if (!options.store || options.accounts < 1 || options.outstanding < 1
        || options.window_ms < 1) {
        fail("--store URL is wanted, and numbers are at least 1");
    }
    return options;
}

int
main(int argc, char **argv)
{
    struct bench bench = { .options = read_options(argc, argv) };
    struct store *store = NULL;
    pthread_mutex_init(&bench.lock, NULL);
    pthread_cond_init(&bench.came, NULL);
    open_engine(&bench, &store);
    make_callers(&bench);
    measure(&bench);
    (void)engine_close(bench.engine);
    store_close(store);
    policy_unref(bench.policy);
    free(bench.callers);
    return 0;
}
