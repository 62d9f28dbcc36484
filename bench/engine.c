/* bench/engine.c: calls decided and settled by engines alone, each in a process of its own, on one store.
 *
 *     engine_bench --store URL [--durability disk|os] [--gateways N] [--accounts N] [--active N]
 *         [--anywhere] [--cold] [--fill N] [--outstanding N] [--server PID] [--warm MS] [--window MS]
 *         [--kill | --start]
 *
 * Each gateway keeps so many calls outstanding, in turn of the accounts that are its share of the active
 * ones; --anywhere: of any of them at random. Before the window, but for --cold, it has asked for each of
 * them once, then made --fill calls more, and then gone on for --warm MS as in the window. All windows begin
 * together. Prints one line of JSON: sums over the gateways, CPU for each call (of --server's children too), how
 * long a call waited for its verdict. The store should be a new one, on a disk; accounts of this benchmark
 * that it has are taken. --kill: the gateways are killed at the window's end; --start: times a start alone. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/fail.h"
#include "bench/gate_load.h"

#define GATEWAYS_MAX 16

/* What this run is for, but for its numbers. */
struct task {
    bool kill;  /* the gateways end by SIGKILL, calls open, as soon as the window is over */
    bool start; /* only a start is timed */
};

/* Shared by all processes. */
struct board {
    pthread_barrier_t made, ready, over;
    struct gate_report reports[GATEWAYS_MAX];
};

static void
run_gateway(const struct gate_load_options *options, const struct task *task, struct board *board)
{
    struct gate_load *gate = NULL;
    if (options->gateway == 0) { /* a new store has no schema yet */
        gate = gate_load_open(options);
        gate_load_make_callers(gate);
    }
    (void)pthread_barrier_wait(&board->made);
    gate = gate ? gate : gate_load_open(options);
    gate_load_find_callers(gate);
    gate_load_warm(gate);
    (void)pthread_barrier_wait(&board->ready);
    gate_load_run(gate, &board->reports[options->gateway]);
    if (task->kill) {
        (void)kill(getpid(), SIGKILL);
    }
    (void)pthread_barrier_wait(&board->over); /* what comes now is in nobody's window */
    gate_load_close(gate);
}

static struct board *
make_board(int64_t gateways)
{
    pthread_barrierattr_t shared;
    struct board *board =
        mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED || pthread_barrierattr_init(&shared) != 0
        || pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED) != 0
        || pthread_barrier_init(&board->made, &shared, (unsigned)gateways) != 0
        || pthread_barrier_init(&board->ready, &shared, (unsigned)gateways) != 0
        || pthread_barrier_init(&board->over, &shared, (unsigned)gateways) != 0) {
        fail("no memory that processes share");
    }
    return board;
}

/* One that fails leaves the others at a barrier. */
static void
wait_for_all(pid_t *pids, int64_t gateways, const struct task *task)
{
    for (int64_t left = gateways; left > 0; left--) {
        int outcome = 0;
        const pid_t pid = wait(&outcome);
        for (int64_t i = 0; i < gateways; i++) {
            pids[i] = pids[i] == pid ? 0 : pids[i];
        }
        const bool killed = task->kill && WIFSIGNALED(outcome) && WTERMSIG(outcome) == SIGKILL;
        if (killed || (WIFEXITED(outcome) && WEXITSTATUS(outcome) == 0)) {
            continue;
        }
        for (int64_t i = 0; i < gateways; i++) {
            if (pids[i] > 0) {
                (void)kill(pids[i], SIGKILL);
            }
        }
        fail("a gateway of this benchmark has failed");
    }
}

static void
run_all(const struct gate_load_options *options, const struct task *task, struct board *board)
{
    pid_t pids[GATEWAYS_MAX];
    for (int64_t i = 0; i < options->gateways; i++) {
        pids[i] = fork();
        if (pids[i] < 0) {
            fail("no process for a gateway");
        }
        if (pids[i] == 0) {
            struct gate_load_options own = *options;
            own.gateway = i;
            run_gateway(&own, task, board);
            exit(0);
        }
    }
    wait_for_all(pids, options->gateways, task);
}

static double
per(int64_t value, int64_t count)
{
    return count > 0 ? (double)value / (double)count : 0;
}

static void
print_report(const struct gate_load_options *options, const struct gate_report *sum)
{
    printf(
        "{\"gateways\":%lld,\"accounts\":%lld,\"active\":%lld,\"anywhere\":%d,\"outstanding\":%lld",
        (long long)options->gateways, (long long)options->accounts, (long long)options->active,
        options->anywhere, (long long)options->outstanding);
    printf(",\"calls_per_s\":%.0f,\"events_per_s\":%.0f,\"p50_us\":%lld,\"p99_us\":%lld,"
           "\"p999_us\":%lld,\"longest_us\":%lld",
        per(sum->calls, sum->window_us) * 1e6, per(sum->events, sum->window_us) * 1e6,
        (long long)latencies_at(&sum->latencies, 5000),
        (long long)latencies_at(&sum->latencies, 9900),
        (long long)latencies_at(&sum->latencies, 9990), (long long)sum->latencies.max_us);
    printf(",\"engine_us_each\":%.2f,\"process_us_each\":%.2f,\"commits_each\":%.4f,"
           "\"commits_per_s\":%.0f,\"events_a_batch\":%.1f",
        per(sum->engine_us, sum->calls), per(sum->process_us, sum->calls),
        per(sum->commits, sum->calls), per(sum->commits, sum->window_us) * 1e6,
        per(sum->events, sum->batches));
    printf(
        ",\"server_us_each\":%.2f,\"batches\":%lld,\"retried\":%lld,\"round_trips_a_batch\":%.3f,"
        "\"round_trips_most\":%lld,\"window_us\":%lld}\n",
        per(sum->server_us, sum->calls), (long long)sum->batches, (long long)sum->retried,
        per(sum->round_trips, sum->sent), (long long)sum->longest, (long long)sum->window_us);
}

static struct gate_load_options
read_options(int argc, char **argv, struct task *task)
{
    static const struct option names[] = { { "store", required_argument, NULL, 's' },
        { "durability", required_argument, NULL, 'd' },
        { "gateways", required_argument, NULL, 'g' }, { "accounts", required_argument, NULL, 'a' },
        { "active", required_argument, NULL, 'c' }, { "anywhere", no_argument, NULL, 'y' },
        { "cold", no_argument, NULL, 'l' }, { "server", required_argument, NULL, 'v' },
        { "fill", required_argument, NULL, 'f' }, { "kill", no_argument, NULL, 'k' },
        { "start", no_argument, NULL, 't' }, { "outstanding", required_argument, NULL, 'o' },
        { "warm", required_argument, NULL, 'm' }, { "window", required_argument, NULL, 'w' },
        { 0 } };
    struct gate_load_options options = { .full_sync = true,
        .gateways = 1,
        .accounts = 16,
        .outstanding = 32,
        .warm_ms = 500,
        .window_ms = 3000 };
    int name = 0;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (name) {
        case 's': options.store = optarg; break;
        case 'd': options.full_sync = strcmp(optarg, "os") != 0; break;
        case 'g': options.gateways = strtoll(optarg, NULL, 10); break;
        case 'a': options.accounts = strtoll(optarg, NULL, 10); break;
        case 'c': options.active = strtoll(optarg, NULL, 10); break;
        case 'y': options.anywhere = true; break;
        case 'l': options.cold = true; break;
        case 'v': options.server = strtoll(optarg, NULL, 10); break;
        case 'f': options.fill = strtoll(optarg, NULL, 10); break;
        case 'k': task->kill = true; break;
        case 't': task->start = true; break;
        case 'o': options.outstanding = strtoll(optarg, NULL, 10); break;
        case 'm': options.warm_ms = strtoll(optarg, NULL, 10); break;
        case 'w': options.window_ms = strtoll(optarg, NULL, 10); break;
        default: fail("bench/engine.c lists the options");
        }
    }
    options.active = options.active > 0 ? options.active : options.accounts;
    if (!options.store || options.accounts < 1 || options.active > options.accounts
        || options.outstanding < 1 || options.window_ms < 1 || options.gateways < 1
        || options.gateways > GATEWAYS_MAX) {
        fail("--store URL is wanted, numbers are at least 1, no more are active than there are "
             "accounts, and %d gateways are the most",
            GATEWAYS_MAX);
    }
    return options;
}

static void
time_start(const struct gate_load_options *options)
{
    const int64_t from_us = clock_mono_us();
    struct gate_load *gate = gate_load_open(options);
    const int64_t took_us = clock_mono_us() - from_us;
    printf("{\"start_us\":%lld,\"orphans\":%lld}\n", (long long)took_us,
        (long long)gate_load_orphans(gate));
    gate_load_close(gate);
}

int
main(int argc, char **argv)
{
    static struct gate_report sum;
    struct task task = { 0 };
    const struct gate_load_options options = read_options(argc, argv, &task);
    if (task.start) {
        time_start(&options);
        return 0;
    }
    struct board *board = make_board(options.gateways);
    run_all(&options, &task, board);
    for (int64_t i = 0; i < options.gateways; i++) {
        gate_report_add(&sum, &board->reports[i]);
    }
    print_report(&options, &sum);
    return 0;
}
