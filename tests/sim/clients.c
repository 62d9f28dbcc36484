/* tests/sim/clients.c: what becomes of what clients ask. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

struct sim_call *
client_new(struct world *world, struct sim_node *node, enum call_state state)
{
    for (int i = 0; i < SIM_CALLS; i++) {
        struct sim_call *call = &world->calls[i];
        if (call->state == CALL_NONE) {
            *call = (struct sim_call){ .state = state, .node = node->index };
            return call;
        }
    }
    return NULL;
}

struct sim_call *
client_open(struct world *world, struct sim_node *node)
{
    const int64_t from = draw_below(&world->rng, SIM_CALLS);
    for (int64_t i = 0; i < SIM_CALLS; i++) {
        struct sim_call *call = &world->calls[(from + i) % SIM_CALLS];
        if (call->state == CALL_OPEN && call->node == node->index) {
            return call;
        }
    }
    return NULL;
}

struct sim_call *
client_of(struct world *world, const struct verdict *verdict)
{
    struct sim_call *call = &world->calls[verdict->reply.slot];
    return call->state != CALL_NONE && call->generation == verdict->reply.generation ? call : NULL;
}

bool
client_gave_up(const struct world *world, const struct verdict *verdict)
{
    const uint32_t slot = verdict->reply.slot;
    return verdict->kind == VERDICT_REFUSED && world->gave_up[slot] == verdict->reply.generation;
}

void
client_submit(struct world *world, struct sim_node *node, struct sim_call *call)
{
    call->generation = ++world->generations;
    call->event.reply = (struct reply_to){ 0, (uint32_t)(call - world->calls), call->generation };
    call->event.arrived_ms = node_wall_ms(world, node);
    if (!engine_submit(node->engine, &call->event)) {
        broken(world, "the queue of gateway %d does not take an event", node->index);
    }
    world->steps++;
    coverage.events++;
}

/* An operator may raise the cap to just that. */
static void
note_missing(struct world *world, const struct sim_call *call, const struct refusal *refusal)
{
    const bool money = refusal->reason == REASON_COST_SPENT || refusal->reason == REASON_COST_HELD;
    if (!money || call->waited || call->event.call.input_counted == 0) {
        return;
    }
    slice_to_cstr(slice_str(refusal->limit_name), world->missing.limit, sizeof world->missing.limit);
    world->missing.cap_micros = max_i64(0, refusal->used + refusal->held + refusal->ask);
    world->missing.call = call->event.call;
    world->missing.model = call->model;
}

/* It waits, and the configuration is another now. Whoever is there no more gives its place back. */
static void
client_asks_anew(struct world *world, struct sim_node *node, struct sim_call *call, const struct verdict *verdict)
{
    struct event left;
    coverage.asked_anew++;
    call->event.place = verdict->place;
    call->event.call.policy_ver = world->adopted[node->adopted].version;
    if (call->gone && !verdict_untaken(verdict, &left)) {
        broken(world, "the place of a call that nobody waits for is not given back");
    }
    if (!engine_submit(node->engine, call->gone ? &left : &call->event)) {
        broken(world, "the queue of gateway %d does not take an event", node->index);
    }
    if (call->gone) {
        world->gave_up[verdict->reply.slot] = verdict->reply.generation;
        call->state = CALL_NONE;
    }
    world->steps++;
    coverage.events++;
}

static void
call_hears(struct world *world, struct sim_node *node, struct sim_call *call, const struct verdict *verdict)
{
    if (verdict->kind == VERDICT_ANEW) {
        client_asks_anew(world, node, call, verdict);
        return;
    }
    if (verdict->kind != VERDICT_ALLOWED) {
        note_missing(world, call, &verdict->refusal);
    }
    if (verdict->kind == VERDICT_WAIT) {
        call->waited = true;
        call->gone = call->gone || draw_chance(&world->rng, 500);
        return;
    }
    if (verdict->kind == VERDICT_REFUSED) {
        coverage.refused_in_line += call->waited;
        call->state = CALL_NONE;
        return;
    }
    coverage.allowed_in_line += call->waited;
    call->hold_id = verdict->hold_id;
    call->held_output = verdict->held_output;
    call->bound_output = verdict->bound_output;
    call->route = verdict->route_index;
    call->model = verdict->event == EVENT_CALL && verdict->model_index >= 0 ? verdict->model_index : call->model;
    call->attempts = 1;
    world->threads[verdict->thread_id % SIM_ISSUED] = verdict->thread_id;
    call->state = CALL_OPEN;
    struct event settle;
    if (call->gone && verdict_untaken(verdict, &settle)) {
        call->event = settle;
        call->state = CALL_SETTLING;
        client_submit(world, node, call);
    }
}

void
client_booked(struct world *world, int64_t hold_id)
{
    if (hold_id != 0) {
        world->booked[world->booked_count++ % SIM_ISSUED] = hold_id;
    }
}

static void
settled(struct world *world, struct sim_node *node, struct sim_call *call, const struct verdict *verdict)
{
    const bool done = verdict->kind == VERDICT_ALLOWED;
    world->lost_holds += !done;
    if (done && verdict->booked && !call->twice) {
        client_booked(world, call->hold_id);
    }
    if (done && verdict->booked && call->issued && verdict->billed) {
        world->issued[world->issued_count++ % SIM_ISSUED] =
            (struct sim_issued){ call->issued, call->account_id, world->time_ms, call->hold_id };
    }
    if (done && !call->twice && draw_chance(&world->rng, 300)) {
        call->twice = true;
        client_submit(world, node, call);
        return;
    }
    call->state = CALL_NONE;
}

/* A key or account that was made is used from now on. */
static void
admin_hears(struct world *world, const struct sim_call *call, const struct verdict *verdict)
{
    if (verdict->event != EVENT_ADMIN || verdict->kind != VERDICT_ALLOWED || verdict->admin != ADMIN_DONE) {
        return;
    }
    const struct admin_event *admin = &call->event.admin;
    if (admin->verb == ADMIN_ACCOUNT_PUT) {
        for (int i = 0; i < world->account_count; i++) {
            struct sim_account *account = &world->accounts[i];
            if (strcmp(account->name, admin->account.name) == 0) {
                account->account_id = verdict->new_id;
                account->wanted_banned = admin->account.state == ACCOUNT_BANNED;
            }
        }
    } else if (admin->verb == ADMIN_KEY_PUT) {
        const int at = world->key_count < SIM_KEYS_MAX ? world->key_count++
                                                       : (int)draw_below(&world->rng, SIM_KEYS_MAX);
        struct sim_key *key = &world->keys[at];
        *key = (struct sim_key){ .key_id = verdict->new_id,
            .account_id = verdict->new_id_2,
            .service = admin->key.role == ROLE_SERVICE };
        memcpy(key->hash, admin->key.hash_hex, sizeof key->hash);
    }
}

void
client_hears(struct world *world, struct sim_node *node, const struct verdict *verdict)
{
    struct sim_call *call = client_of(world, verdict);
    if (client_gave_up(world, verdict)) {
        return;
    }
    if (!call) {
        broken(world, "a verdict for nobody: slot %u, generation %u", verdict->reply.slot, verdict->reply.generation);
    }
    if (!node->engine) {
        call->state = CALL_NONE;
        return;
    }
    switch (call->state) {
    case CALL_ASKED: call_hears(world, node, call, verdict); return;
    case CALL_BUSY:
        call->state = CALL_OPEN;
        if (verdict->kind == VERDICT_ALLOWED && verdict->event == EVENT_REROUTE) {
            call->attempts++;
            call->route = verdict->route_index;
        }
        if (verdict->kind == VERDICT_ALLOWED) {
            call->held_output = verdict->held_output;
            call->bound_output = verdict->bound_output;
        }
        return;
    case CALL_SETTLING: settled(world, node, call, verdict); return;
    default:
        admin_hears(world, call, verdict);
        call->state = CALL_NONE;
    }
}

void
clients_lose(struct world *world, struct sim_node *node)
{
    for (int i = 0; i < SIM_CALLS; i++) {
        if (world->calls[i].node == node->index) {
            if (world->calls[i].state == CALL_OPEN) {
                world->lost[world->lost_count++ % (int64_t)countof(world->lost)] = world->calls[i].hold_id;
            }
            world->calls[i].state = CALL_NONE;
        }
    }
}

bool
clients_idle(const struct world *world)
{
    for (int i = 0; i < SIM_CALLS; i++) {
        if (world->calls[i].state != CALL_NONE) {
            return false;
        }
    }
    return true;
}

void
clients_end(struct world *world, struct sim_node *node)
{
    for (int i = 0; i < SIM_CALLS; i++) {
        struct sim_call *call = &world->calls[i];
        if (call->state == CALL_OPEN && call->node == node->index) {
            act_settle(world, node, call);
        }
    }
}

static void
make(struct world *world, struct sim_node *node, const struct event *event)
{
    struct sim_call *call = client_new(world, node, CALL_OTHER);
    call->event = *event;
    client_submit(world, node, call);
    node_turn(world, node);
    if (call->state != CALL_NONE) {
        broken(world, "an account or a key is not made");
    }
}

void
clients_begin(struct world *world)
{
    struct sim_node *node = &world->nodes[0];
    world->account_count = (int)draw_between(&world->rng, 2, SIM_ACCOUNTS_MAX);
    for (int i = 0; i < world->account_count; i++) {
        struct sim_account *account = &world->accounts[i];
        struct event event = { .kind = EVENT_ADMIN };
        snprintf(account->name, sizeof account->name, "account-%d", i);
        event.admin.verb = ADMIN_ACCOUNT_PUT;
        event.admin.must_be_new = true;
        slice_to_cstr(slice_str(account->name), event.admin.account.name, sizeof event.admin.account.name);
        slice_to_cstr(slice_str(sim_plans[draw_below(&world->rng, SIM_PLANS)]), event.admin.account.plan,
            sizeof event.admin.account.plan);
        slice_to_cstr(slice_str(sim_organisations[draw_below(&world->rng, SIM_ORGANISATIONS)]),
            event.admin.account.organisation, sizeof event.admin.account.organisation);
        make(world, node, &event);
        event.admin.verb = ADMIN_KEY_PUT;
        event.admin.key.role = i == 0 ? ROLE_SERVICE : ROLE_USER;
        if (i == 0) {
            slice_to_cstr(SLICE("account-1"), event.admin.key.may_act_for, sizeof event.admin.key.may_act_for);
        }
        hash_of(event.admin.key.hash_hex, 'k', i);
        make(world, node, &event);
    }
}
