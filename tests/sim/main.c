/* tests/sim/main.c: worlds in a row, what they reached, and how to repeat one that broke.
 *
 *     simulate [SEED=1] [STEPS=100000] [STORE=memory] [LEAVE=0] [EXPECT=broken] [TAP=name]
 *
 * STEPS counts events of all worlds. EXPECT=broken is for builds with a planted fault. */
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/secret.h"
#include "log/log.h"
#include "server.h"
#include "sim.h"

struct coverage coverage;

/* A further store is a row. */
const struct sim_kind sim_kinds[] = {
    { "memory", "memory:", 1, 850, false },
    { "shared", "memory:", SIM_NODES, 850, false },
    { "sqlite", NULL, 1, 1000, false },
    { "postgresql", NULL, SIM_NODES, 1000, true },
};

const struct sim_kind *
kind_of(const char *name)
{
    for (size_t i = 0; i < countof(sim_kinds); i++) {
        if (strcmp(sim_kinds[i].name, name) == 0) {
            return &sim_kinds[i];
        }
    }
    return NULL;
}

static struct {
    uint64_t seed;
    int64_t steps;
    const struct sim_kind *kind;
    uint32_t left_out;
    bool expect_broken, shrinking;
    const char *tap;
} told = { .seed = 1, .steps = 100000 };

static struct world *running;
static struct rng noise; /* of keys and hashes, so that these repeat too */

/* --- History, for people. */

#define HISTORY_LINES 40
static char lines[HISTORY_LINES][160];
static int64_t line_count;

void
history(struct world *world, const char *format, ...)
{
    char *line = lines[line_count++ % HISTORY_LINES];
    char at[32];
    calendar_text(world->time_ms, at);
    const int len = snprintf(line, sizeof lines[0], "%7lld  %s  ", (long long)world->steps, at);
    va_list args;
    va_start(args, format);
    vsnprintf(line + len, sizeof lines[0] - (size_t)len, format, args);
    va_end(args);
}

/* --- A world that broke. */

static void world_of(uint64_t seed, int64_t steps, uint32_t left_out);

static bool
breaks_too(uint64_t seed, int64_t steps, uint32_t left_out)
{
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        alarm(60);
        told.shrinking = true;
        memset(&coverage, 0, sizeof coverage);
        world_of(seed, steps, left_out);
        _exit(0);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && (WIFSIGNALED(status) ? WTERMSIG(status) != SIGALRM
                                                                                    : WEXITSTATUS(status) == 3);
}

static const char *const mask_words[SIM_MASK_COUNT] = { "faults of the store", "crashes", "edits of the configuration",
    "bans and keys", "jumps of time", "other routes", "extensions", "pauses", "sweeps" };

/* With as few kinds of trouble as still break it, and no more events than it takes. */
static void
shorten(uint64_t seed, int64_t steps, uint32_t left_out, const char *store)
{
    for (uint32_t i = 0; i < SIM_MASK_COUNT; i++) {
        const uint32_t fewer = left_out | UINT32_C(1) << i;
        left_out = fewer != left_out && breaks_too(seed, steps * 3, fewer) ? fewer : left_out;
    }
    while (steps > 20 && breaks_too(seed, steps * 2 / 3, left_out)) {
        steps = steps * 2 / 3;
    }
    printf("shortened: ./dev simulate SEED=%llu STEPS=%lld STORE=%s LEAVE=%u", (unsigned long long)seed,
        (long long)steps, store, left_out);
    for (int i = 0; i < SIM_MASK_COUNT; i++) {
        printf("%s%s", left_out & (UINT32_C(1) << i) ? (i ? ", no " : "  # no ") : "",
            left_out & (UINT32_C(1) << i) ? mask_words[i] : "");
    }
    printf("\n");
}

void
broken(struct world *world, const char *format, ...)
{
    va_list args;
    if (told.shrinking) {
        _exit(3);
    }
    signal(SIGABRT, SIG_DFL);
    printf("%sBROKEN after %lld events (%lld of this world): ", told.tap ? "# " : "", (long long)coverage.events,
        (long long)world->steps);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    if (told.expect_broken) {
        if (told.tap) {
            printf("ok 1 - %s\n", told.tap);
        }
        fflush(stdout);
        world_sweep(world);
        _exit(0);
    }
    for (int64_t i = max_i64(0, line_count - HISTORY_LINES); i < line_count; i++) {
        printf("%s%s\n", told.tap ? "# " : "", lines[i % HISTORY_LINES]);
    }
    if (told.tap) {
        printf("not ok 1 - %s\n# ", told.tap);
    }
    printf("repeat: ./dev simulate SEED=%llu STEPS=%lld STORE=%s LEAVE=%u\n%s", (unsigned long long)world->seed,
        (long long)world->steps_max, world->kind->name, world->left_out, told.tap ? "# " : "");
    shorten(world->seed, world->steps + 20, world->left_out, world->kind->name);
    fflush(stdout);
    world_sweep(world);
    _exit(1);
}

/* A check() of the product failed: as much a broken invariant as any. */
static void
on_abort(int number)
{
    signal(number, SIG_DFL);
    if (running) {
        broken(running, number == SIGABRT ? "a check of the product failed" : "the product reads where nothing is");
    }
}

/* --- Worlds. */

static uint32_t
noise_number(void)
{
    return (uint32_t)draw(&noise);
}

static void
noise_bytes(void *const out, const size_t len)
{
    for (size_t i = 0; i < len; i++) {
        ((unsigned char *)out)[i] = (unsigned char)draw(&noise);
    }
}

static const char *
noise_name(void)
{
    return "simulated";
}

static void
world_of(uint64_t seed, int64_t steps, uint32_t left_out)
{
    struct world *world = calloc(1, sizeof *world);
    check(world);
    world->seed = seed;
    world->rng.state = seed * UINT64_C(0x9e3779b97f4a7c15);
    noise.state = seed;
    world->kind = told.kind;
    world->steps_max = steps;
    world->left_out = left_out;
    running = world;
    line_count = 0;
    world_run(world);
    world_free(world);
    running = NULL;
    free(world);
}

/* Each further world has a number of its own; the first has the one that was told, so that any can be repeated. */
static uint64_t
seed_of(int64_t index)
{
    struct rng rng = { told.seed * UINT64_C(0xd1342543de82ef95) + (uint64_t)index };
    return index == 0 ? told.seed : draw(&rng) >> 20;
}

/* --- What was reached. */

#define CELL_HITS_MIN   100
#define CELL_HITS_STEPS 1000000

static int short_cells;

static void
cell(const char *kind, const char *what, int64_t hits)
{
    const bool few = coverage.events >= CELL_HITS_STEPS && hits < CELL_HITS_MIN;
    short_cells += few;
    printf("%s  %-10s %-52s %10lld%s\n", told.tap ? "#" : "", kind, what, (long long)hits, few ? "  TOO FEW" : "");
}

static const char *const cell_words[] = { "charged", "refused", "given back", "past its cap", "settled when it was over" };

void
cover(const struct sim_limit *limit, enum form_cell which)
{
    const struct limit_form *form = &sim_forms[limit->form];
    coverage.forms[form->counts][form->window][limit->at_cap][which]++;
    coverage.pers[form->per][which] += which != FORM_CHARGED; /* charges are counted part by part */
    coverage.modes[limit->mode][which] += in_steps(limit);
}

/* Whether there can be such a thing. */
static bool
cell_exists(enum count_kind counts, enum window_kind window, enum form_cell which)
{
    const bool steps = counts == COUNT_COST || counts == COUNT_TOKENS;
    switch (which) {
    case FORM_PAST_CAP: return steps && window != WINDOW_BUCKET;
    case FORM_TURNED: return window != WINDOW_BUCKET && window != WINDOW_LIFETIME && window != WINDOW_CONCURRENCY;
    default: return window != WINDOW_BUCKET;
    }
}

/* Charged and refused by what happens at the cap; the rest by count and window. */
static void
tell_form(const struct limit_form *form)
{
    static const enum at_cap_kind at_caps[] = { AT_CAP_REFUSE, AT_CAP_QUEUE, AT_CAP_REROUTE, AT_CAP_DOWNGRADE, AT_CAP_WARN,
        AT_CAP_SHADOW };
    char what[128];
    for (size_t a = 0; a < countof(at_caps); a++) {
        for (int c = FORM_CHARGED; c <= FORM_REFUSED; c++) {
            const bool stops = at_caps[a] != AT_CAP_WARN && at_caps[a] != AT_CAP_SHADOW;
            if (c == FORM_CHARGED || stops) {
                snprintf(what, sizeof what, "%s, %s, at cap %s: %s", count_word(form->counts), window_word(form->window),
                    at_cap_word(at_caps[a]), cell_words[c]);
                cell("limit", what, coverage.forms[form->counts][form->window][at_caps[a]][c]);
            }
        }
    }
    for (int c = FORM_GIVEN_BACK; c < FORM_CELL_COUNT; c++) {
        int64_t hits = 0;
        for (size_t a = 0; a < countof(at_caps); a++) {
            hits += coverage.forms[form->counts][form->window][at_caps[a]][c];
        }
        if (cell_exists(form->counts, form->window, (enum form_cell)c)) {
            snprintf(what, sizeof what, "%s, %s: %s", count_word(form->counts), window_word(form->window), cell_words[c]);
            cell("limit", what, hits);
        }
    }
}

static void
tell_forms(void)
{
    char what[128];
    for (int f = 0; f < sim_form_count; f++) {
        if (sim_forms[f].per == PER_GATEWAY && sim_forms[f].counts != COUNT_REPORTED) { /* each count and window once */
            tell_form(&sim_forms[f]);
        }
    }
    for (int per = 0; per < PER_KIND_COUNT; per++) {
        for (int c = 0; c < FORM_CELL_COUNT; c++) {
            snprintf(what, sizeof what, "per %s: %s", per_word((enum per_kind)per), cell_words[c]);
            cell("limit", what, coverage.pers[per][c]);
        }
    }
    for (int mode = 0; mode < SIM_MODES; mode++) {
        static const char *const modes[] = { "stream", "strict", "none" };
        for (int c = 0; c < FORM_CELL_COUNT; c++) {
            snprintf(what, sizeof what, "hold: %s: %s", modes[mode], cell_words[c]);
            cell("limit", what, coverage.modes[mode][c]);
        }
    }
}

static void
tell_caps(void)
{
    cell("cap", "by a group", coverage.by_group);
    cell("cap", "set for a subject", coverage.by_set);
    cell("cap", "set for everybody", coverage.by_api);
    cell("cap", "raised for a while", coverage.by_raise);
    cell("told", "a percentage of a cap", coverage.warned);
    cell("told", "a percentage that was due", coverage.warn_due);
    cell("told", "a percentage below one that was told", coverage.warn_above);
    cell("told", "a correction", coverage.corrections);
    cell("bound", "a cap that is passed, within the number that is printed", coverage.printed);
    cell("shadow", "would have refused", coverage.shadow_refuses);
    cell("shadow", "would have let it pass", coverage.shadow_admits);
    cell("corrected", "a call, upwards", coverage.corrected_up);
    cell("corrected", "a call, downwards", coverage.corrected_down);
    cell("corrected", "an orphan", coverage.corrected_orphans);
    cell("corrected", "where its window was over", coverage.corrected_late);
    cell("corrected", "a call in flight: refused", coverage.corrected_open);
    cell("corrected", "by a source that did so before: refused", coverage.corrected_twice);
    cell("corrected", "when another correction came first: refused", coverage.corrected_stale);
    cell("substitute", "another model", coverage.substituted_model);
    cell("rolling", "charges that are counted together", coverage.merged);
    cell("edge", "29 February", coverage.leap_days);
    cell("edge", "New Year", coverage.new_years);
}

#define CELL_WORDS(name, words) words,
static void
tell_reported(void)
{
    static const char *const words[] = { REPORTED_CELLS(CELL_WORDS) };
    for (int i = 0; i < REPORTED_CELL_COUNT; i++) {
        cell("reported", words[i], coverage.reported[i]);
    }
}

/* What a call can meet at the gate; the rest is the relay's. */
static const enum reason reasons[] = { REASON_OK, REASON_KEY_INVALID, REASON_KEY_EXPIRED, REASON_KEY_REVOKED,
    REASON_KEY_ROLE, REASON_ACCOUNT_BANNED, REASON_MODEL_UNKNOWN, REASON_ID_UNKNOWN, REASON_THREAD_REQUIRED,
    REASON_THREAD_PARENT, REASON_THREAD_CYCLE, REASON_THREAD_MOVED, REASON_UNPRICED, REASON_CANNOT_BOUND, REASON_COST_SPENT, REASON_COST_HELD, REASON_TOKENS_SPENT,
    REASON_TOKENS_HELD, REASON_RATE, REASON_IN_FLIGHT, REASON_SESSION_THRESHOLD, REASON_WEEK_THRESHOLD, REASON_USAGE_UNKNOWN,
    REASON_ROUTES_COOLING, REASON_ROUTES_FAILING, REASON_ROUTES_EXHAUSTED, REASON_ID_ROUTE_COOLING,
    REASON_ID_ROUTE_GONE, REASON_OVERLOADED, REASON_STORE_UNAVAILABLE };

static void
tell_rest(void)
{
    for (int i = 0; i < LEDGER_KIND_COUNT; i++) {
        cell("ledger", ledger_kind_word((enum ledger_kind)i), coverage.ledger[i]);
    }
    for (int i = 0; i < CALENDAR_ZONES; i++) {
        cell("edge", calendar_zones[i].name ? calendar_zones[i].name : "UTC", coverage.zone_turns[i]);
    }
    cell("settled", "after its window was over", coverage.settled_late);
    cell("another provider", "whose limits begin", coverage.entered);
    cell("another provider", "than whose limits end", coverage.left);
    cell("settled", "twice", coverage.settled_twice);
    cell("settled", "at more than it held", coverage.settled_over);
    cell("settled", "without any usage", coverage.settled_untold);
    printf("%s  stores whose own audit found nothing: %lld\n", told.tap ? "#" : "", (long long)coverage.books);
    cell("swept", "a thread", coverage.swept_threads);
    cell("swept", "a tree of several threads", coverage.swept_trees);
    cell("swept", "a subject of which no window is open", coverage.swept_subjects);
    cell("swept", "a thread that comes back", coverage.swept_again);
    cell("line", "allowed after a wait", coverage.allowed_in_line);
    cell("line", "refused after a wait", coverage.refused_in_line);
    cell("line", "asked again under a new configuration", coverage.asked_anew);
    cell("crash", "with events that wait", coverage.crashes_queued);
    cell("crash", "at rest", coverage.crashes_idle);
    printf("%s  crashes with settlements that wait for the store %lld, with calls in a line %lld\n", told.tap ? "#" : "",
        (long long)coverage.crashes_parked, (long long)coverage.crashes_waiting);
    if (told.kind->node_count > 1) {
        cell("shared", "a turn within another's", coverage.interleaved);
        cell("shared", "a lease that was over", coverage.fenced);
        cell("shared", "holds taken over", coverage.taken_over);
        printf("%s  meters begun for a subject that another gateway had swept: %lld\n", told.tap ? "#" : "",
            (long long)coverage.known_gone);
    }
    if (told.kind->server) {
        cell("server", "a connection that is cut", coverage.connections_cut);
        cell("server", "a commit whose answer does not come", coverage.answers_cut);
    }
}

static void
tell_coverage(void)
{
    tell_forms();
    tell_reported();
    tell_caps();
    for (size_t i = 0; i < countof(reasons); i++) {
        cell("reason", reason_row(reasons[i])->code, coverage.reasons[reasons[i]]);
    }
    for (int i = 0; i < FAULT_POINT_COUNT; i++) {
        cell("fault", fault_words[i], coverage.faults[i]);
    }
    for (int i = 0; i < FAULT_POINT_COUNT; i++) {
        cell("crash", fault_words[i], coverage.crashes[i]);
    }
    tell_rest();
    printf("%s  bounds: strict and units 0; stream the calls in flight, what each cost beyond what it held; the most a "
           "cap of money was passed by: %lld micro-USD, where the bound was %lld\n",
        told.tap ? "#" : "", (long long)coverage.overshoot_max, (long long)coverage.bound_at_max);
    printf("%s  of what explain-config prints as a number the most that was reached: %lld of %lld\n", told.tap ? "#" : "",
        (long long)coverage.printed_max, (long long)coverage.printed_at_max);
}

/* --- The command. */

static bool
read_word(const char *word)
{
    char *end = NULL;
    if (strncmp(word, "SEED=", 5) == 0) {
        told.seed = strtoull(word + 5, &end, 10);
    } else if (strncmp(word, "STEPS=", 6) == 0) {
        told.steps = strtoll(word + 6, &end, 10);
    } else if (strncmp(word, "LONG=", 5) == 0) {
        const char *is_long = getenv("TIDEGATE_LONG");
        const int64_t steps = strtoll(word + 5, &end, 10);
        told.steps = is_long && is_long[0] ? steps : told.steps;
    } else if (strncmp(word, "LEAVE=", 6) == 0) {
        told.left_out = (uint32_t)strtoul(word + 6, &end, 10);
    } else if (strncmp(word, "STORE=", 6) == 0) {
        told.kind = kind_of(word + 6);
        return told.kind != NULL;
    } else if (strncmp(word, "TAP=", 4) == 0) {
        told.tap = word + 4;
        return true;
    } else {
        told.expect_broken = strcmp(word, "EXPECT=broken") == 0;
        return told.expect_broken;
    }
    return end && *end == '\0' && told.steps > 0;
}

static bool
read_words(int count, char **words)
{
    told.kind = &sim_kinds[0];
    for (int i = 1; i < count; i++) {
        if (!read_word(words[i])) {
            fprintf(stderr,
                "simulate: %s makes no sense; SEED=number STEPS=number STORE=memory|shared|sqlite|postgresql "
                "LEAVE=number\n",
                words[i]);
            return false;
        }
    }
    return true;
}

/* The gateways' own log is about faults that are meant. */
static void
mute_log(void)
{
    const int kept = dup(STDERR_FILENO);
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    check(kept >= 0 && nowhere >= 0 && dup2(nowhere, STDERR_FILENO) >= 0);
    log_open(LOG_ERROR, false);
    check(dup2(kept, STDERR_FILENO) >= 0);
}

static double
seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
    static randombytes_implementation noises = {
        .implementation_name = noise_name, .random = noise_number, .buf = noise_bytes
    };
    if (!read_words(argc, argv)) {
        return 2;
    }
    noise.state = told.seed;
    forms_make();
    check(randombytes_set_implementation(&noises) == 0);
    check(secret_start() == STATUS_OK);
    if (!zones_read()) {
        fprintf(stderr, "simulate: the system's time zones cannot be read from /usr/share/zoneinfo\n");
        return 2;
    }
    if (told.kind->server && !server_there()) {
        printf(told.tap ? "1..0 # SKIP TIDEGATE_TEST_PG names no server\n" : "TIDEGATE_TEST_PG names no server\n");
        return told.tap ? 0 : 2;
    }
    mute_log();
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    const double began = seconds();
    if (told.tap) {
        printf("1..1\n");
    }
    for (int64_t i = 0; coverage.events < told.steps; i++) {
        world_of(seed_of(i), min_i64(told.kind->world_steps, told.steps - coverage.events), told.left_out);
    }
    const double took = seconds() - began;
    tell_coverage();
    printf("%s%lld events in %lld worlds on %s, %lld turns, %lld starts, in %.1f s (%.0f a second): nothing is broken\n",
        told.tap ? "# " : "", (long long)coverage.events, (long long)coverage.worlds, told.kind->name,
        (long long)coverage.turns, (long long)coverage.restarts, took, (double)coverage.events / took);
    if (short_cells > 0) {
        printf("%s%d cells were reached fewer than %d times\n", told.tap ? "# " : "", short_cells, CELL_HITS_MIN);
    }
    const bool good = short_cells == 0 && !told.expect_broken;
    if (told.tap) {
        printf("%s 1 - %s\n", good ? "ok" : "not ok", told.tap);
    }
    return good ? 0 : 1;
}
