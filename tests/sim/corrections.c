/* tests/sim/corrections.c: an admin corrects a call, as `tidegate ledger adjust` does: what the call counted for is
 * read from its row of the ledger, whoever settled it; of one that is in flight, of an orphan, of one whose windows
 * are over, and a second time with the same source. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

#define DEFS_MAX 1024

struct booked {
    const struct sim_adopted *adopted;
    struct admin_adjust *adjust;
    const char *source;
    const struct limit_defs *defs;
    int64_t hold_id, cost_micros;
    bool open, found, done_before;
};

static struct limit_def_row def_rows[DEFS_MAX];

static bool
on_def(void *user, const struct limit_def_row *row)
{
    struct limit_defs *defs = user;
    check(defs->count < DEFS_MAX);
    def_rows[defs->count++] = *row;
    return true;
}

/* By the name that it had then, which may have been another one's before and after. */
static int64_t
limit_of(const struct booked *call, const char *name, int64_t nth)
{
    const struct limit_def_row *def = limit_def_named(call->defs, slice_str(name), nth);
    for (int i = 0; def && i < call->adopted->config.limit_count; i++) {
        const struct sim_limit *limit = &call->adopted->config.limits[i];
        if (call->adopted->limit_ids[i] == def->limit_id && sim_forms[limit->form].counts == COUNT_COST) {
            return def->limit_id;
        }
    }
    return 0;
}

static void
take_parts(struct booked *call, struct slice inputs)
{
    struct admin_adjust *adjust = call->adjust;
    struct slice rest = inputs_limits(inputs), item;
    char name[SIM_NAME];
    while (adjust->part_count < HOLD_PARTS_MAX && inputs_next(&rest, &item)) {
        inputs_limit(item, name);
        const int64_t limit_id = limit_of(call, name, max_i64(1, inputs_number(item, "nth")));
        if (limit_id != 0 && inputs_number(item, "to") == 0) { /* else its last attempt was elsewhere */
            adjust->parts[adjust->part_count++] = (struct adjust_part){ .limit_id = limit_id,
                .window_ms = inputs_number(item, "window"),
                .subject_id = inputs_number(item, "subject") };
        }
    }
}

static bool
on_row(void *user, const struct ledger_row *row)
{
    struct booked *call = user;
    struct admin_adjust *adjust = call->adjust;
    if (row->hold_id != call->hold_id || call->open) {
        return true;
    }
    call->cost_micros += row->cost_micros;
    if (row->kind == LEDGER_ADJUST) {
        adjust->after_count++;
        call->done_before = call->done_before || strcmp(row->source, call->source) == 0;
        return true;
    }
    if (!call->found) { /* the newest comes first */
        adjust->account_id = row->account_id;
        adjust->key_id = row->key_id;
        adjust->thread_id = row->thread_id;
        adjust->root_id = row->root_id;
        memcpy(adjust->model, row->model, sizeof adjust->model);
        memcpy(adjust->provider, row->provider, sizeof adjust->provider);
        memcpy(adjust->upstream_model, row->upstream_model, sizeof adjust->upstream_model);
        take_parts(call, row->inputs);
    }
    call->found = true;
    return true;
}

static bool
on_open(void *user, const struct hold_row *row)
{
    struct booked *call = user;
    call->open = call->open || row->hold_id == call->hold_id;
    return true;
}

/* Of one that runs the rows of earlier attempts do not tell all. */
static void
read_call(struct world *world, struct booked *call)
{
    const struct ledger_filter filter = { .kind = -1, .limit = 1000, .id = call->hold_id };
    struct store_reader *reader = NULL;
    struct store_error error;
    struct limit_defs defs = { .rows = def_rows };
    call->defs = &defs;
    if (store_reader_open(world->base.real, &reader, &error) != STATUS_OK
        || store_read_holds(reader, on_open, call) != STATUS_OK || store_read_limit_defs(reader, on_def, &defs) != STATUS_OK
        || store_read_ledger(reader, &filter, on_row, call) != STATUS_OK) {
        broken(world, "the ledger cannot be read: %s", reader ? store_reader_error(reader) : error.text);
    }
    store_reader_close(reader);
    call->defs = NULL;
}

static int64_t
hold_drawn(struct world *world, const struct sim_node *node)
{
    if (world->corrected != 0 && draw_chance(&world->rng, 1500)) {
        return world->corrected;
    }
    if (draw_chance(&world->rng, 1500)) {
        return world->lost[draw_below(&world->rng, countof(world->lost))];
    }
    const struct sim_call *open = draw_chance(&world->rng, 2000) ? client_open(world, (struct sim_node *)node) : NULL;
    return open ? open->hold_id : world->booked[draw_below(&world->rng, countof(world->booked))];
}

static void
correct(struct world *world, struct sim_node *node, int64_t hold_id, bool second)
{
    static const char *const sources[] = { "admin:invoice", "admin:support", "admin:monthly" };
    struct rng *rng = &world->rng;
    const bool free = hold_id != 0 && node->adopted >= 0;
    struct sim_call *call = free ? client_new(world, node, CALL_OTHER) : NULL;
    if (!call) {
        return;
    }
    struct admin_event *admin = &call->event.admin;
    struct booked booked = { .adopted = &world->adopted[node->adopted],
        .adjust = &admin->adjust,
        .source = sources[draw_below(rng, countof(sources))],
        .hold_id = hold_id };
    call->event.kind = EVENT_ADMIN;
    admin->verb = ADMIN_ADJUST;
    admin->adjust.hold_id = hold_id;
    admin->adjust.read_ms = node_wall_ms(world, node);
    slice_to_cstr(slice_str(booked.source), admin->actor, sizeof admin->actor);
    read_call(world, &booked);
    if (second && !booked.found) { /* the control plane knows no such call */
        call->state = CALL_NONE;
        return;
    }
    const bool lowers = booked.cost_micros > 0 && draw_chance(rng, 5000);
    admin->adjust.delta = lowers ? -draw_between(rng, 1, booked.cost_micros) : draw_between(rng, 1, 6000);
    admin->note = SLICE("{\"why\":1}");
    world->corrected = hold_id;
    if (booked.done_before) { /* the control plane refuses it; of two at once the gate does */
        coverage.corrected_twice++;
        if (!SIM_CORRECTS_TWICE) {
            call->state = CALL_NONE;
            return;
        }
    }
    client_submit(world, node, call);
}

/* Now and then two admins at once, at one gateway or two. */
void
act_correct(struct world *world, struct sim_node *node)
{
    const int64_t hold_id = hold_drawn(world, node);
    correct(world, node, hold_id, false);
    if (draw_chance(&world->rng, 2000)) {
        struct sim_node *other = &world->nodes[draw_below(&world->rng, world->node_count)];
        const bool takes = other->engine && !other->dead && other->paused_until_ms <= world->time_ms;
        correct(world, takes ? other : node, hold_id, true);
    }
}
