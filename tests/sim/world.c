/* tests/sim/world.c: gateways that start, take turns, are paused, crash and come back; the time they see. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server.h"
#include "sim.h"

#define WORLD_BEGINS_MS INT64_C(1798700000000) /* December 2026 */
#define VERDICTS_MAX    1024
#define WORLD_BOOKS_STEPS 300

int64_t
node_wall_ms(const struct world *world, const struct sim_node *node)
{
    return world->time_ms + node->wall_skew_ms;
}

struct sim_adopted *
adopted_of(struct world *world, int64_t version)
{
    for (int i = world->adopted_count; i-- > 0;) {
        if (world->adopted[i].version == version) {
            return &world->adopted[i];
        }
    }
    return NULL;
}

/* --- Configurations. */

static struct sim_adopted *
adopted_new(struct world *world, struct sim_node *node, struct policy *policy)
{
    check(world->adopted_count < SIM_ADOPTED_MAX);
    struct sim_adopted *adopted = &world->adopted[world->adopted_count];
    *adopted = (struct sim_adopted){ .config = world->config, .policy = policy, .node = node->index };
    return adopted;
}

static struct policy *
policy_of(const struct world *world)
{
    struct policy *policy = config_policy(&world->config);
    policy->retention_threads_ms = world->left_out & LEAVE_SWEEPS ? 0 : policy->retention_threads_ms;
    return policy;
}

/* The gateway decides by it: it has its version and its limits their ids. */
static void
adopted_done(struct world *world, struct sim_node *node)
{
    struct sim_adopted *adopted = &world->adopted[world->adopted_count];
    adopted->version = adopted->policy->version;
    adopted->at_ms = node_wall_ms(world, node);
    for (int i = 0; i < adopted->config.limit_count; i++) {
        adopted->limit_ids[i] = adopted->policy->limits[i].limit_id;
        adopted->set_ids[i] = adopted->policy->limits[i].set_id;
        bounds_of_limit(adopted->policy, i, &adopted->bounds[i]);
    }
    for (int i = 0; i < world->adopted_count; i++) { /* calls go on naming the one before, no older one */
        struct sim_adopted *older = &world->adopted[i];
        if (older->node == node->index && older->policy && i != node->adopted) {
            policy_unref(older->policy);
            older->policy = NULL;
        }
    }
    node->adopted = world->adopted_count++;
    audit_adopted(world, adopted);
}

static void
forget_policies(struct world *world, const struct sim_node *node)
{
    for (int i = 0; i < world->adopted_count; i++) {
        if (world->adopted[i].node == node->index && world->adopted[i].policy) {
            policy_unref(world->adopted[i].policy);
            world->adopted[i].policy = NULL;
        }
    }
    audit_caps_moved(world);
}

/* In the turn that comes now. */
void
node_adopt(struct world *world, struct sim_node *node)
{
    static struct engine_error error;
    if (!node->engine || world->adopted_count == SIM_ADOPTED_MAX || node->engine->change.asked) {
        return;
    }
    if (!world->calm && !(world->left_out & LEAVE_FAULTS) && draw_chance(&world->rng, 4000)) {
        arm_start(world, node);
    }
    struct policy *policy = policy_of(world);
    adopted_new(world, node, policy);
    node->engine->change = (struct policy_change){
        .taken = true, .asked = true, .policy = policy_ref(policy), .error = &error
    };
    history(world, "gateway %d takes configuration %lld", node->index, (long long)world->config.number);
    node_turn(world, node);
}

static void
adoption_ends(struct world *world, struct sim_node *node)
{
    const struct policy_change change = node->engine->change;
    if (!change.taken || !change.done) {
        return;
    }
    node->engine->change = (struct policy_change){ 0 };
    if (change.status == STATUS_OK) {
        adopted_done(world, node);
    } else {
        policy_unref(world->adopted[world->adopted_count].policy);
    }
}

/* --- Turns. */

static struct verdict *
take_verdicts(struct sim_node *node, int *count)
{
    /* A turn may run within another's. */
    struct verdict *verdicts = malloc(VERDICTS_MAX * sizeof *verdicts);
    check(verdicts);
    *count = (int)engine_take(node->engine, 0, verdicts, VERDICTS_MAX);
    check(*count < VERDICTS_MAX);
    return verdicts;
}

static bool
turn(struct world *world, struct sim_node *node)
{
    coverage.turns++;
    node->stepping = true;
    clock_set(node_wall_ms(world, node), world->mono_ms);
    const bool goes_on = engine_step(node->engine);
    node->stepping = false;
    if (node->dead) {
        adoption_ends(world, node); /* it may have decided by it before it died */
        node_kill(world, node);
        return false;
    }
    adoption_ends(world, node);
    int count = 0;
    struct verdict *verdicts = take_verdicts(node, &count);
    audit_turn(world, node, verdicts, count);
    for (int i = 0; i < count; i++) {
        client_hears(world, node, &verdicts[i]);
    }
    free(verdicts);
    return goes_on;
}

void
node_turn(struct world *world, struct sim_node *node)
{
    (void)turn(world, node);
}

/* --- Starts and ends. */

static bool
real_open(struct world *world)
{
    char url[512];
    const struct store_options options = { 0 };
    struct store_error error;
    if (world->base.real) {
        return true;
    }
    if (world->kind->server) {
        snprintf(url, sizeof url, "%s", world->server_url);
    } else {
        snprintf(url, sizeof url, world->kind->url ? "%s" : "sqlite:%s/t.db", world->kind->url ? world->kind->url : world->folder);
    }
    clock_set(world->time_ms, world->mono_ms);
    if (store_open(url, &options, &world->base.real, &error) != STATUS_OK) {
        broken(world, "the store does not open: %s", error.text);
    }
    unsigned char key[32];
    return world->node_count == 1 || world->kind->server
           || world->base.real->ops->node_start(world->base.real, world->time_ms, "", &world->base.real_node, key)
                  == STATUS_OK;
}

/* A gateway on a server has a connection of its own, which dies with it. */
static void
own_open(struct world *world, struct sim_node *node)
{
    struct store_error error;
    if (!world->kind->server || node->store.own) {
        return;
    }
    clock_set(world->time_ms, world->mono_ms);
    if (server_open(world->server_url, node->index, &node->store.own, &node->store.own_node, &error) != STATUS_OK) {
        broken(world, "gateway %d does not reach the server: %s", node->index, error.text);
    }
}

static void
own_kill(struct sim_node *node)
{
    if (node->store.own) {
        server_kill(node->store.own);
        node->store.own = NULL;
    }
}

void
node_open(struct world *world, struct sim_node *node)
{
    if (!real_open(world)) {
        broken(world, "the store gives no epoch");
    }
    own_open(world, node);
    faulty_init(&node->store, &world->base, node, world->node_count > 1);
    if (world->adopted_count == SIM_ADOPTED_MAX) {
        broken(world, "more configurations than the simulator keeps: make SIM_ADOPTED_MAX larger");
    }
    struct policy *policy = policy_of(world);
    adopted_new(world, node, policy);
    audit_starts(world, node);
    const struct engine_options options = {
        .store = &node->store.base, .policy = policy_ref(policy), .loop_count = 1
    };
    struct engine_error error;
    node->stepping = true;
    clock_set(node_wall_ms(world, node), world->mono_ms);
    const enum status status = engine_open_still(&options, &node->engine, &error);
    node->stepping = false;
    node->life++;
    history(world, "gateway %d starts: %s", node->index, status_name(status));
    coverage.restarts++;
    if (status != STATUS_OK) {
        node->engine = NULL;
        policy_unref(policy);
        audit_turn(world, node, NULL, 0);
        node->dead = false;
        if (world->calm || status == STATUS_INVALID) { /* the latter is no fault of a store's */
            broken(world, "gateway %d does not start without a fault: %s", node->index, error.text);
        }
        return;
    }
    if (node->dead) { /* its last commit was its last deed */
        policy_unref(policy);
        node_kill(world, node);
        return;
    }
    node->adopted = -1;
    adopted_done(world, node);
    audit_turn(world, node, NULL, 0);
    audit_started(world, node);
}

static void
copy_file(const char *from, const char *to)
{
    static char bytes[1 << 16];
    FILE *in = fopen(from, "rb");
    FILE *out = in ? fopen(to, "r+b") : NULL;
    out = in && !out ? fopen(to, "wb") : out;
    size_t len = 0;
    while (in && out && (len = fread(bytes, 1, sizeof bytes, in)) > 0) {
        check(fwrite(bytes, 1, len, out) == len);
    }
    if (out) {
        fflush(out);
        check(ftruncate(fileno(out), ftell(out)) == 0);
        fclose(out);
    }
    if (in) {
        fclose(in);
    } else {
        unlink(to);
    }
}

/* A process that is killed closes nothing: the files are afterwards as they stood. */
static void
real_kill(struct world *world)
{
    static const char *const parts[] = { "t.db", "t.db-wal" };
    char path[128], kept[128];
    if (!world->folder[0]) {
        return;
    }
    for (size_t i = 0; i < countof(parts); i++) {
        snprintf(path, sizeof path, "%s/%s", world->folder, parts[i]);
        snprintf(kept, sizeof kept, "%s/kept-%zu", world->folder, i);
        copy_file(path, kept);
    }
    store_close(world->base.real);
    world->base.real = NULL;
    for (size_t i = 0; i < countof(parts); i++) {
        snprintf(path, sizeof path, "%s/%s", world->folder, parts[i]);
        snprintf(kept, sizeof kept, "%s/kept-%zu", world->folder, i);
        copy_file(kept, path);
    }
    snprintf(path, sizeof path, "%s/t.db-shm", world->folder);
    unlink(path);
}

void
node_kill(struct world *world, struct sim_node *node)
{
    history(world, "gateway %d is killed", node->index);
    node->dead = false;
    node->fault.armed = false;
    if (node->store.own) {
        server_cut(node->store.own, false);
    }
    for (int i = 0; i < node->writes.committed; i++) {
        node->writes.items[i].told = false; /* whoever knew is dead */
    }
    audit_turn(world, node, NULL, 0);
    coverage.crashes_queued += node->engine->queue.count > 0;
    coverage.crashes_parked += node->engine->parked.count > 0;
    coverage.crashes_waiting += node->engine->waiter_count > 0;
    coverage.crashes_idle += node->engine->queue.count + node->engine->parked.count == 0;
    struct policy_change *change = &node->engine->change;
    if (change->taken) {
        policy_unref(world->adopted[world->adopted_count].policy); /* ours */
    }
    if (change->asked) {
        policy_unref(change->policy);
    }
    engine_drop(node->engine);
    node->engine = NULL;
    node->adopted = -1;
    forget_policies(world, node);
    clients_lose(world, node);
    if (node->store.base.state != STORE_IDLE) {
        store_rollback(&node->store.base);
    }
    own_kill(node);
    real_kill(world);
    node->down_until_ms = world->time_ms + draw_below(&world->rng, world->node_count > 1 ? 40000 : 4000);
}

static void
node_stop(struct world *world, struct sim_node *node)
{
    history(world, "gateway %d is stopped", node->index);
    node->engine->stopping = true;
    for (int i = 0; i < 40 && turn(world, node); i++) {
        world->time_ms += 200;
        world->mono_ms += 200;
    }
    node->fault.armed = false; /* a row that is refused was one of its own; for the next start see arm_start */
    if (node->engine) {
        engine_drop(node->engine);
        node->engine = NULL;
        node->adopted = -1;
        forget_policies(world, node);
        clients_lose(world, node);
        own_kill(node);
        if (world->folder[0]) {
            store_close(world->base.real);
            world->base.real = NULL;
        }
    }
}

/* --- What happens to gateways. */

/* An operator raises a cap to just what a call needs that was refused. */
static bool
raise_cap(struct world *world, struct sim_node *node)
{
    if (world->missing.limit[0] == '\0'
        || !config_set_cap(&world->config, world->missing.limit, world->missing.cap_micros)) {
        return false;
    }
    world->missing.limit[0] = '\0';
    node_adopt(world, node);
    if (node->engine) {
        act_call_again(world, node);
    }
    return true;
}

static void
step_clock(struct world *world, struct sim_node *node)
{
    struct rng *rng = &world->rng;
    static const int64_t steps_ms[] = { 5, 1900, 2100, MINUTE_MS, HOUR_MS, 5 * HOUR_MS, 2 * DAY_MS };
    const int64_t step_ms = steps_ms[draw_below(rng, countof(steps_ms))];
    node->wall_skew_ms = draw_chance(rng, 4000) ? 0 : draw_chance(rng, 5000) ? step_ms : -step_ms;
    history(world, "gateway %d: its clock stands %lld ms beside the time", node->index, (long long)node->wall_skew_ms);
}

static void
disturb(struct world *world, struct sim_node *node)
{
    struct rng *rng = &world->rng;
    if (!(world->left_out & LEAVE_FAULTS) && sweeps_now(world, node)
        && draw_chance(rng, node->engine->sweep.walking ? 3000 : 500)) {
        arm_sweep(world, node);
    } else if (!(world->left_out & LEAVE_FAULTS) && draw_chance(rng, 200)) {
        arm_fault(world, node, false);
    } else if (!(world->left_out & LEAVE_CRASHES) && draw_chance(rng, 240)) {
        arm_fault(world, node, true);
    } else if (!(world->left_out & LEAVE_CRASHES) && draw_chance(rng, 8)) {
        node_kill(world, node);
    } else if (!(world->left_out & LEAVE_CRASHES) && draw_chance(rng, 6)) {
        node_stop(world, node);
        node->down_until_ms = 0;
    } else if (!(world->left_out & LEAVE_TIME) && world->node_count == 1 && draw_chance(rng, 20)) {
        step_clock(world, node);
    } else if (!(world->left_out & LEAVE_PAUSES) && world->node_count > 1 && draw_chance(rng, 30)) {
        node->paused_until_ms = world->time_ms + draw_below(rng, draw_chance(rng, 5000) ? 60000 : 9000);
        history(world, "gateway %d is paused for %lld ms", node->index,
            (long long)(node->paused_until_ms - world->time_ms));
    } else if (!(world->left_out & LEAVE_EDITS) && draw_chance(rng, 120) && raise_cap(world, node)) {
        return;
    } else if (!(world->left_out & LEAVE_EDITS) && draw_chance(rng, 110)) {
        config_edit(rng, &world->config);
        node_adopt(world, node);
    } else if (world->node_count > 1 && draw_chance(rng, 60) && node->adopted >= 0
               && world->adopted[node->adopted].config.number != world->config.number) {
        node_adopt(world, node); /* what another was told before */
    }
}

/* --- Time. */

/* To the edge of a window that a limit has, or a little before or behind it. */
static int64_t
to_an_edge(struct world *world)
{
    static const enum window_kind windows[] = { WINDOW_DAY, WINDOW_DAY, WINDOW_WEEK, WINDOW_MONTH, WINDOW_MONTH };
    struct rng *rng = &world->rng;
    int zone = (int)draw_below(rng, CALENDAR_ZONES);
    enum window_kind window = windows[draw_below(rng, countof(windows))];
    const struct sim_config *config = &world->config;
    for (int tries = 0; tries < 4 && config->limit_count > 0; tries++) {
        const struct sim_limit *limit = &config->limits[draw_below(rng, config->limit_count)];
        const enum window_kind own = sim_forms[limit->form].window;
        if (own == WINDOW_DAY || own == WINDOW_WEEK || own == WINDOW_MONTH) {
            zone = limit->zone;
            window = own;
            break;
        }
    }
    const struct calendar_span span = calendar_window(zone, window, world->time_ms);
    coverage.zone_turns[zone]++;
    return max_i64(0, span.end_ms - world->time_ms + draw_between(rng, -2, 1));
}

/* By just as long as a window of some limit lasts, or a little less or more. */
static int64_t
to_an_end(struct world *world)
{
    struct rng *rng = &world->rng;
    const struct sim_config *config = &world->config;
    for (int i = 0; i < config->limit_count; i++) {
        const struct sim_limit *limit = &config->limits[draw_below(rng, config->limit_count)];
        if (limit->span_ms > 0) {
            return max_i64(0, limit->span_ms + draw_between(rng, -1, 1));
        }
    }
    return 0;
}

static void
count_days(const struct world *world)
{
    char day[32];
    calendar_text(world->time_ms, day);
    coverage.leap_days += memcmp(day + 5, "02-29", 5) == 0;
    coverage.new_years += memcmp(day + 5, "12-31", 5) == 0 || memcmp(day + 5, "01-01", 5) == 0;
}

static void
pass_time(struct world *world)
{
    struct rng *rng = &world->rng;
    int64_t ms = draw_chance(rng, 3000) ? 0 : draw_below(rng, draw_chance(rng, 500) ? 4000 : 150);
    int64_t drift_ms = draw_chance(rng, 500) ? draw_between(rng, -3, 3) : 0;
    if (!(world->left_out & LEAVE_TIME)) {
        ms = draw_chance(rng, 80)    ? to_an_edge(world)
             : draw_chance(rng, 60) ? to_an_end(world)
             : draw_chance(rng, 20) ? draw_below(rng, 3 * DAY_MS)
                                    : ms;
    }
    count_days(world);
    world->mono_ms += ms;
    world->time_ms += max_i64(0, ms + drift_ms);
}

/* --- A world, from its first day to its last. */

static struct sim_node *
node_drawn(struct world *world)
{
    struct sim_node *node = &world->nodes[draw_below(&world->rng, world->node_count)];
    if (!node->engine && world->time_ms >= node->down_until_ms) {
        arm_start(world, node);
        node_open(world, node);
    }
    return node->engine && node->paused_until_ms <= world->time_ms ? node : NULL;
}

/* Calls are in flight, owners are dead, windows turn: the books agree at every commit. */
static void
look_at_books(struct world *world)
{
    if (world->steps >= world->books_due) {
        world->books_due = world->steps + WORLD_BOOKS_STEPS;
        world_books(world);
    }
}

static void
world_step(struct world *world)
{
    look_at_books(world);
    struct sim_node *node = node_drawn(world);
    if (!node) {
        world->time_ms += 50;
        world->mono_ms += 50;
        return;
    }
    clients_act(world, node);
    disturb(world, node);
    if (node->engine) {
        node_turn(world, node);
    }
    pass_time(world);
}

static void
come_to_rest(struct world *world)
{
    for (int round = 0; round < 400 && !clients_idle(world); round++) {
        for (int i = 0; i < world->node_count; i++) {
            struct sim_node *node = &world->nodes[i];
            if (!node->engine) {
                node_open(world, node);
            }
            clients_end(world, node);
            node_turn(world, node);
        }
        world->time_ms += 300;
        world->mono_ms += 300;
    }
    if (!clients_idle(world)) {
        broken(world, "no fault any more, and calls do not come to their end");
    }
}

/* All gateways start anew, and have the time that leases take to end. */
static void
start_anew(struct world *world)
{
    for (int i = 0; i < world->node_count; i++) {
        if (world->nodes[i].engine) {
            node_kill(world, &world->nodes[i]);
        }
    }
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < world->node_count; i++) {
            if (!world->nodes[i].engine) {
                node_open(world, &world->nodes[i]);
            }
            node_turn(world, &world->nodes[i]);
        }
        world->time_ms += 4000;
        world->mono_ms += 4000;
    }
}

void
world_run(struct world *world)
{
    /* Any day, but oftener a turn of the year, and the day that three of four years do not have. */
    static const int64_t days[] = { 0, 365, 425 };
    const int64_t day = draw_chance(&world->rng, 1500) ? days[draw_below(&world->rng, countof(days))]
                                                       : draw_below(&world->rng, 500);
    world->time_ms = WORLD_BEGINS_MS + day * DAY_MS + draw_below(&world->rng, DAY_MS);
    world->mono_ms = draw_below(&world->rng, 1000000000);
    world->adopted = calloc(SIM_ADOPTED_MAX + 1, sizeof *world->adopted);
    check(world->adopted);
    world->base.world = world;
    world->node_count = world->kind->node_count;
    if (world->kind->server) {
        check(server_begin(world->server_url, sizeof world->server_url));
    } else if (!world->kind->url) {
        const char *base = getenv("TMPDIR");
        snprintf(world->folder, sizeof world->folder, "%s/simulate-XXXXXX", base ? base : "/tmp");
        check(mkdtemp(world->folder));
    }
    config_draw(&world->rng, &world->config);
    audit_begin(world);
    for (int i = 0; i < world->node_count; i++) {
        world->nodes[i].index = i;
        world->nodes[i].adopted = -1;
        node_open(world, &world->nodes[i]);
    }
    clients_begin(world);
    while (world->steps < world->steps_max) {
        world_step(world);
    }
    world->calm = true;
    for (int i = 0; i < world->node_count; i++) {
        world->nodes[i].fault.armed = false;
        world->nodes[i].paused_until_ms = 0;
    }
    history(world, "no more faults");
    come_to_rest(world);
    start_anew(world);
    audit_end(world);
    world_books(world);
    coverage.worlds++;
}

void
world_sweep(const struct world *world)
{
    const char *folder = world->folder;
    DIR *dir = folder[0] ? opendir(folder) : NULL;
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path); /* fails for . and .. */
    }
    if (dir) {
        closedir(dir);
        rmdir(folder);
    }
    server_end();
}

void
world_free(struct world *world)
{
    for (int i = 0; i < world->node_count; i++) {
        struct sim_node *node = &world->nodes[i];
        if (node->engine) {
            engine_drop(node->engine);
            node->engine = NULL;
        }
        own_kill(node);
        forget_policies(world, node);
        writes_free(&node->writes);
    }
    if (world->base.real) {
        store_close(world->base.real);
    }
    world_sweep(world);
    audit_free(world);
    free(world->adopted);
}
