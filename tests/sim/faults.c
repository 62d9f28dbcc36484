/* tests/sim/faults.c: where the store is to fail next, or a gateway to die. */
#include "sim.h"

/* Within a start, or while a configuration is taken over. */
void
arm_start(struct world *world, struct sim_node *node)
{
    static const enum fault_point points[] = { FAULT_START, FAULT_BEGIN, FAULT_BEGIN_READ, FAULT_ORPHANS, FAULT_LIMIT, FAULT_LIMIT,
        FAULT_LOAD, FAULT_LEDGER, FAULT_HOLD_GONE, FAULT_METER, FAULT_COMMIT };
    struct rng *rng = &world->rng;
    if (world->calm || world->left_out & LEAVE_FAULTS || !draw_chance(rng, 5000)) {
        return;
    }
    node->fault = (struct fault){ .armed = true,
        .kills = !(world->left_out & LEAVE_CRASHES) && draw_chance(rng, 6000),
        .point = node->engine && draw_chance(rng, 6000) ? FAULT_LIMIT : points[draw_below(rng, countof(points))],
        .passes = draw_chance(rng, 7000) ? 0 : (int)draw_below(rng, 5),
        .times = 1,
        .status = STATUS_IO };
    history(world, "gateway %d: within its start, at %s%s", node->index, fault_words[node->fault.point],
        node->fault.kills ? " it dies" : " comes 'io'");
}

void
arm_fault(struct world *world, struct sim_node *node, bool kills)
{
    struct rng *rng = &world->rng;
    static const enum status statuses[] = { STATUS_IO, STATUS_IO, STATUS_FULL, STATUS_CONFLICT, STATUS_INVALID };
    struct fault fault = { .armed = true,
        .kills = kills,
        .point = (enum fault_point)draw_below(rng, FAULT_POINT_COUNT),
        .passes = draw_chance(rng, 5000) ? 0 : (int)draw_below(rng, 6),
        .times = draw_chance(rng, 7000) ? 1 : (int)draw_between(rng, 2, 12),
        .status = statuses[draw_below(rng, countof(statuses))] };
    if (fault.point == FAULT_ACCOUNT || fault.point == FAULT_REPORTED || fault.point == FAULT_ISSUED) {
        fault.passes = 0; /* written seldom */
    }
    const bool of_rows = fault.point >= FAULT_ACCOUNT && fault.point <= FAULT_IDENTITY;
    if (!of_rows && fault.point != FAULT_LOAD && fault.status != STATUS_FULL) {
        fault.status = STATUS_IO;
    }
    if (fault.point == FAULT_COMMITTED && !kills) {
        fault.status = STATUS_UNCERTAIN;
        fault.kills = world->node_count == 1; /* an embedded store is never in doubt of itself */
        fault.times = 1;
    }
    if (fault.point == FAULT_COMMIT && draw_chance(rng, 3000)) {
        fault.status = STATUS_CONFLICT;
    }
    node->fault = fault;
    history(world, "gateway %d: at %s comes '%s'%s", node->index, fault_words[fault.point],
        status_name(fault.status), fault.kills ? ", and it dies" : "");
}

/* A walk begins, or is on its way: its next step is due. */
bool
sweeps_now(const struct world *world, const struct sim_node *node)
{
    const struct engine *engine = node->engine;
    return engine->policy->retention_threads_ms > 0 && engine->sweep.due_mono_ms <= world->mono_ms;
}

void
arm_sweep(struct world *world, struct sim_node *node)
{
    static const enum fault_point points[] = { FAULT_SWEEP_THREADS, FAULT_SWEEP_MEMBERS, FAULT_THREAD_GONE,
        FAULT_SUBJECT_GONE, FAULT_METER_GONE, FAULT_SWEEP_METERS };
    struct rng *rng = &world->rng;
    const struct sweep *sweep = &node->engine->sweep;
    const bool kills = !(world->left_out & LEAVE_CRASHES) && draw_chance(rng, 6800);
    arm_fault(world, node, kills);
    node->fault.point = !sweep->walking ? FAULT_SWEEP_HOLD : points[draw_below(rng, 5) + sweep->of_subjects];
    node->fault.passes = draw_chance(rng, 7000) ? 0 : (int)draw_below(rng, 4);
    node->fault.kills = kills;
    history(world, "gateway %d: rather at %s", node->index, fault_words[node->fault.point]);
}
