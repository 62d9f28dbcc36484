/* tests/sim/draw.c: what clients and operators do next. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

/* splitmix64: small, and the same everywhere. */
uint64_t
draw(struct rng *rng)
{
    uint64_t mixed = rng->state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

int64_t
draw_below(struct rng *rng, int64_t count)
{
    return (int64_t)(draw(rng) % (uint64_t)count);
}

int64_t
draw_between(struct rng *rng, int64_t low, int64_t high)
{
    return low + draw_below(rng, high - low + 1);
}

bool
draw_chance(struct rng *rng, int per_10000)
{
    return draw_below(rng, 10000) < per_10000;
}

void
hash_of(char hash[HASH_HEX + 1], char kind, int64_t number)
{
    memset(hash, '0', HASH_HEX);
    hash[0] = "0123456789abcdef"[kind % 16];
    for (int i = 0; i < 16; i++) {
        hash[HASH_HEX - 1 - i] = "0123456789abcdef"[number >> (4 * i) & 15];
    }
    hash[HASH_HEX] = '\0';
}

/* --- Calls. */

static struct sim_adopted *
policy_drawn(struct world *world, const struct sim_node *node)
{
    if (draw_chance(&world->rng, 500)) { /* a loop that has not heard of the newest one yet */
        for (int i = 0; i < world->adopted_count; i++) {
            if (world->adopted[i].node == node->index && world->adopted[i].policy) {
                return &world->adopted[i];
            }
        }
    }
    return &world->adopted[node->adopted];
}

static void
draw_who(struct world *world, struct call_event *ask)
{
    struct rng *rng = &world->rng;
    const struct sim_key *key = &world->keys[draw_below(rng, world->key_count)];
    ask->key_id = key->key_id;
    ask->account_id = key->account_id;
    if (key->service && world->account_count > 1 && draw_chance(rng, 6000)) {
        ask->account_id = world->accounts[1].account_id;
    }
    if (draw_chance(rng, 60)) {
        ask->account_id = world->accounts[draw_below(rng, world->account_count)].account_id;
    } else if (draw_chance(rng, 20)) {
        ask->key_id = SIM_NO_KEY;
    }
}

static void
draw_thread(struct world *world, struct call_event *ask)
{
    struct rng *rng = &world->rng;
    const int64_t base = world->steps / 400 * 4; /* threads come and go */
    const int64_t own = ask->account_id % 1000 * 100000;
    const int64_t number = base + draw_below(rng, SIM_THREADS);
    ask->thread_kind = THREAD_NAMED;
    ask->thread_named = true;
    hash_of(ask->thread_hash, 't', own + number);
    if (draw_chance(rng, 500)) {
        ask->thread_kind = THREAD_PROMPT_CACHE_KEY;
        ask->thread_named = false;
    }
    const int64_t leads = number / 4 * 4; /* the first of four leads the others; the last is under the third */
    if (number > leads && draw_chance(rng, 3000)) {
        hash_of(ask->parent_hash, 't', own + (number == leads + 3 ? number - 1 : leads));
    } else if (draw_chance(rng, 300)) { /* whatever it is under, or that is under it */
        hash_of(ask->parent_hash, 't', own + base + draw_below(rng, SIM_THREADS));
    } else if (draw_chance(rng, 30)) {
        hash_of(ask->parent_hash, 't', own + 99999); /* was never there */
    }
}

static void
draw_size(struct rng *rng, struct call_event *ask)
{
    ask->body_bytes = draw_between(rng, 100, 8000);
    ask->input_bytes_bound = ask->body_bytes / 2;
    ask->input_counted = draw_chance(rng, 5000) ? 100 * draw_between(rng, 1, 5) : 0;
    ask->input_unbounded = draw_chance(rng, 500);
    ask->output_limit = draw_chance(rng, 2000) ? -1 : 50 * draw_between(rng, 0, 10);
    ask->output_floor = draw_chance(rng, 500) ? 75 : 0;
    ask->output_count = draw_chance(rng, 500) ? draw_between(rng, 2, 3) : 1;
    ask->price_multiplier_pct = draw_chance(rng, 500) ? draw_between(rng, 1, 300) : 100;
    ask->stream = draw_chance(rng, 7500);
    ask->cannot_bound = draw_chance(rng, 200);
}

/* What a client says of itself. */
static void
draw_labels(struct rng *rng, struct call_event *ask)
{
    static const char *const values[] = { "", "red", "blue" };
    if (draw_chance(rng, 2500)) {
        slice_to_cstr(slice_str(sim_organisations[draw_below(rng, SIM_ORGANISATIONS)]), ask->organisation,
            sizeof ask->organisation);
    }
    for (int i = 0; i < SIM_TAGS; i++) {
        slice_to_cstr(slice_str(values[draw_below(rng, countof(values))]), ask->tags[i], sizeof ask->tags[i]);
    }
    ask->spend_limit_micros = draw_chance(rng, 800) ? 100 * draw_between(rng, 1, 300) : 0;
}

static void
draw_routes(struct world *world, const struct sim_node *node, int model, struct call_event *ask)
{
    struct rng *rng = &world->rng;
    if (draw_chance(rng, 500)) {
        static const int64_t opens_ms[] = { 0, 700, 30 * SECOND_MS, 10 * MINUTE_MS };
        const int64_t opens_in_ms = opens_ms[draw_below(rng, countof(opens_ms))];
        ask->routes_closed = (uint32_t)draw_between(rng, 1, (1 << sim_models[model].route_count) - 1);
        ask->routes_open_ms = opens_in_ms ? node_wall_ms(world, node) + opens_in_ms : 0;
        ask->routes_failing = draw_chance(rng, 5000);
    }
    if (draw_chance(rng, 300) && world->issued_count > 0) {
        const struct sim_issued *issued =
            &world->issued[draw_below(rng, min_i64(world->issued_count, SIM_ISSUED))];
        hash_of(ask->issued_hash, 'i', issued->number);
        if (draw_chance(rng, 8000)) { /* else it is somebody else's, mostly */
            ask->account_id = issued->account_id;
            for (int i = 0; i < world->key_count; i++) {
                ask->key_id = world->keys[i].account_id == ask->account_id ? world->keys[i].key_id : ask->key_id;
            }
        }
        if (draw_chance(rng, 2500)) {
            ask->routes_closed = (1U << sim_models[model].route_count) - 1;
            ask->routes_open_ms = node_wall_ms(world, node) + 20 * SECOND_MS;
        }
    } else if (draw_chance(rng, 20)) {
        hash_of(ask->issued_hash, 'i', 999999999);
    }
}

void
act_call(struct world *world, struct sim_node *node)
{
    struct rng *rng = &world->rng;
    struct sim_call *call = world->key_count > 0 ? client_new(world, node, CALL_ASKED) : NULL;
    if (!call) {
        return;
    }
    const int64_t kind = draw_below(rng, 100);
    const struct sim_adopted *adopted = policy_drawn(world, node);
    struct call_event *ask = &call->event.call;
    call->event.kind = EVENT_CALL;
    call->model = (int)draw_below(rng, SIM_MODELS);
    ask->model_index = call->model;
    ask->api = kind < 3 ? API_EMBEDDINGS : kind < 5 ? API_COUNT_TOKENS : kind < 60 ? API_CHAT : API_RESPONSES;
    ask->policy_ver = draw_chance(rng, 20) ? 1 : adopted->version;
    if (draw_chance(rng, 40)) {
        ask->found = REASON_MODEL_UNKNOWN;
        ask->model_index = -1;
    }
    draw_who(world, ask);
    draw_routes(world, node, call->model, ask);
    draw_thread(world, ask);
    draw_size(rng, ask);
    draw_labels(rng, ask);
    call->stream = ask->stream;
    call->account_id = ask->account_id;
    call->gone = draw_chance(rng, 150);
    client_submit(world, node, call);
}

void
act_call_again(struct world *world, struct sim_node *node)
{
    struct sim_call *call = client_new(world, node, CALL_ASKED);
    if (!call || node->adopted < 0) {
        return;
    }
    call->event.kind = EVENT_CALL;
    call->event.call = world->missing.call;
    call->event.call.policy_ver = world->adopted[node->adopted].version;
    call->model = world->missing.model;
    call->account_id = call->event.call.account_id;
    call->stream = call->event.call.stream;
    client_submit(world, node, call);
}

/* --- Running work. */

void
act_extend(struct world *world, struct sim_node *node)
{
    struct rng *rng = &world->rng;
    struct sim_call *call = client_open(world, node);
    if (!call || !call->stream) {
        return;
    }
    struct event *event = &call->event;
    *event = (struct event){ .kind = EVENT_EXTEND };
    event->extend.hold_id = call->hold_id;
    event->extend.output_tokens = draw_below(rng, call->held_output + 1);
    event->extend.want_tokens = draw_chance(rng, 1000) ? 0 : SIM_STEP * draw_between(rng, 1, 3);
    event->extend.input_exact = draw_chance(rng, 1500) ? draw_below(rng, 1500) : -1;
    call->state = CALL_BUSY;
    client_submit(world, node, call);
}

static struct usage
draw_usage(struct rng *rng, const struct sim_call *call)
{
    struct usage usage = USAGE_NONE;
    const int64_t kind = draw_below(rng, 20);
    if (kind == 0) {
        return usage; /* nothing was reported */
    }
    usage.known = USAGE_INPUT | USAGE_OUTPUT;
    if (kind == 1) {
        return usage; /* reported as nothing */
    }
    const bool round = draw_chance(rng, 7500);
    const int64_t most = kind < 6 ? 2 * SIM_MAX_OUTPUT : max_i64(1, call->held_output);
    usage.input = round ? 100 * draw_below(rng, 6) : draw_below(rng, kind == 7 ? 4000 : 700);
    usage.output = round ? min_i64(most, 50 * draw_below(rng, 9)) : draw_below(rng, most + 1);
    usage.cache_read = draw_chance(rng, 1000) ? draw_below(rng, 300) : 0;
    usage.cache_write_5m = draw_chance(rng, 500) ? draw_below(rng, 300) : 0;
    usage.reasoning = draw_chance(rng, 1000) ? usage.output / 2 : 0;
    usage.known |= kind == 8 ? USAGE_ESTIMATED : 0;
    usage.cost_micros = kind == 9 ? draw_below(rng, 20000) : -1;
    return usage;
}

void
act_reroute(struct world *world, struct sim_node *node)
{
    struct rng *rng = &world->rng;
    struct sim_call *call = client_open(world, node);
    if (!call) {
        return;
    }
    struct event *event = &call->event;
    *event = (struct event){ .kind = EVENT_REROUTE };
    event->reroute.hold_id = call->hold_id;
    event->reroute.route_index = (int32_t)draw_below(rng, sim_models[call->model].route_count + 1);
    event->reroute.stream = call->stream;
    event->reroute.failed_status = draw_chance(rng, 5000) ? 503 : 0;
    event->reroute.failed_reason = REASON_UPSTREAM_BROKEN;
    event->reroute.billed = draw_chance(rng, 4000);
    event->reroute.usage = event->reroute.billed ? draw_usage(rng, call) : USAGE_NONE;
    call->state = CALL_BUSY;
    client_submit(world, node, call);
}

static void
fill_settle(struct world *world, struct sim_call *call, struct settle_event *settle)
{
    static char issued[HASH_HEX + 1];
    struct rng *rng = &world->rng;
    const int64_t kind = draw_below(rng, 20);
    *settle = (struct settle_event){ .hold_id = call->hold_id,
        .dispatched = kind != 0,
        .unbilled = kind == 1 || kind == 2,
        .usage = USAGE_NONE,
        .status = 200,
        .attempts = draw_chance(rng, 5000) ? call->attempts : 0,
        .flags = kind == 3 ? LEDGER_CLIENT_GONE : kind == 4 ? LEDGER_CUT : 0,
        .multiplier_pct = draw_chance(rng, 500) ? draw_between(rng, 1, 300) : 0,
        .input_tokens_seen = -1 };
    if (kind > 2) {
        settle->usage = draw_usage(rng, call);
        settle->output_bytes = draw_chance(rng, 5000) ? settle->usage.output * 4 : 0;
    }
    call->issued = draw_chance(rng, 1500) ? ++world->issue_number : 0;
    if (call->issued) {
        hash_of(issued, 'i', call->issued);
        settle->issued = slice_of(issued, HASH_HEX);
    }
    coverage.settled_untold += settle->usage.known == 0 && settle->dispatched && !settle->unbilled;
}

void
act_settle(struct world *world, struct sim_node *node, struct sim_call *call)
{
    call = call ? call : client_open(world, node);
    if (!call) {
        return;
    }
    call->event = (struct event){ .kind = EVENT_SETTLE };
    fill_settle(world, call, &call->event.settle);
    call->state = CALL_SETTLING;
    client_submit(world, node, call);
    call->event.settle.issued = slice_of(NULL, 0); /* the engine has its copy */
}

/* The stream ends while an extension is under way. */
static void
act_overtake(struct world *world, struct sim_node *node)
{
    struct sim_call *call = NULL;
    for (int i = 0; i < SIM_CALLS; i++) {
        const struct sim_call *each = &world->calls[i];
        call = each->state == CALL_BUSY && each->node == node->index && each->event.kind == EVENT_EXTEND
                   ? &world->calls[i]
                   : call;
    }
    struct sim_call *ends = call ? client_new(world, node, CALL_OPEN) : NULL;
    if (ends) {
        *ends = *call;
        call->state = CALL_OTHER; /* it only listens */
        ends->state = CALL_OPEN;
        act_settle(world, node, ends);
    }
}

/* --- Operators, and questions that change nothing. */

static void
draw_key(struct world *world, struct key_row *key)
{
    struct rng *rng = &world->rng;
    const int64_t kind = draw_below(rng, 20);
    key->role = kind < 2 ? ROLE_SERVICE : kind == 2 ? ROLE_OBSERVER : ROLE_USER;
    key->thread_required = kind == 3 || kind == 4;
    key->expires_ms = kind == 5 ? world->time_ms + draw_below(rng, DAY_MS) : 0;
    if (key->role == ROLE_SERVICE) {
        slice_to_cstr(SLICE("account-1"), key->may_act_for, sizeof key->may_act_for);
    }
    hash_of(key->hash_hex, 'k', 1000 + world->generations);
}

void
act_admin(struct world *world, struct sim_node *node)
{
    struct rng *rng = &world->rng;
    struct sim_call *call = client_new(world, node, CALL_OTHER);
    if (!call) {
        return;
    }
    const struct sim_account *account = &world->accounts[draw_below(rng, world->account_count)];
    struct admin_event *admin = &call->event.admin;
    call->event.kind = EVENT_ADMIN;
    slice_to_cstr(slice_str(account->name), admin->account.name, sizeof admin->account.name);
    const int64_t kind = draw_below(rng, 10);
    if (account->wanted_banned || kind < 4) {
        admin->verb = ADMIN_ACCOUNT_PUT;
        admin->account.state = !account->wanted_banned && kind < 2 ? ACCOUNT_BANNED : ACCOUNT_OK;
        if (kind == 3) {
            slice_to_cstr(slice_str(sim_plans[draw_below(rng, SIM_PLANS)]), admin->account.plan,
                sizeof admin->account.plan);
        }
    } else if (kind < 8) {
        admin->verb = ADMIN_KEY_PUT;
        draw_key(world, &admin->key);
    } else {
        admin->verb = ADMIN_KEY_REVOKE;
        memset(&admin->account, 0, sizeof admin->account);
        admin->key.key_id = world->keys[draw_below(rng, world->key_count)].key_id;
    }
    client_submit(world, node, call);
}

/* Whose cap: of whom the limit counts for, of a group's members, or of everybody. */
static bool
draw_whose(struct world *world, const struct sim_limit *limit, bool own, struct admin_event *admin)
{
    static const char *const tags[] = { "app=red", "team=blue" };
    struct rng *rng = &world->rng;
    struct admin_cap *cap = &admin->cap;
    const struct sim_account *account = &world->accounts[draw_below(rng, world->account_count)];
    const enum per_kind per = sim_forms[limit->form].per;
    const char *name = "";
    slice_to_cstr(slice_str(account->name), admin->account.name, sizeof admin->account.name);
    if (!own && draw_chance(rng, 3000)) {
        cap->kind = SUBJECT_GATEWAY;
        return true;
    }
    if (!own && world->config.has_groups && draw_chance(rng, 3000)
        && (per == PER_ACCOUNT || per == PER_KEY || per == PER_THREAD_TREE || per == PER_ACCOUNT_MODEL)) {
        cap->kind = SUBJECT_GROUP;
        name = sim_groups[draw_below(rng, SIM_GROUPS)];
    } else {
        static const enum subject_kind kinds[PER_KIND_COUNT] = { [PER_GATEWAY] = SUBJECT_GATEWAY, [PER_ACCOUNT] = SUBJECT_ACCOUNT,
            [PER_KEY] = SUBJECT_KEY, [PER_THREAD_TREE] = SUBJECT_TREE, [PER_MODEL] = SUBJECT_MODEL,
            [PER_ACCOUNT_MODEL] = SUBJECT_ACCOUNT_MODEL, [PER_PLAN] = SUBJECT_PLAN, [PER_GROUP] = SUBJECT_GROUP,
            [PER_TAG] = SUBJECT_TAG, [PER_TIER] = SUBJECT_TIER, [PER_ORGANISATION] = SUBJECT_ORGANISATION };
        cap->kind = kinds[per];
    }
    switch (cap->kind) {
    case SUBJECT_KEY: admin->key.key_id = world->keys[draw_below(rng, world->key_count)].key_id; break;
    case SUBJECT_TREE: cap->thread_id = world->threads[draw_below(rng, SIM_ISSUED)]; break;
    case SUBJECT_MODEL:
    case SUBJECT_ACCOUNT_MODEL: name = sim_models[draw_below(rng, SIM_MODELS)].name; break;
    case SUBJECT_PLAN: name = sim_plans[draw_below(rng, SIM_PLANS)]; break;
    case SUBJECT_GROUP: name = name[0] ? name : sim_groups[draw_below(rng, SIM_GROUPS)]; break;
    case SUBJECT_TAG: name = tags[limit->tag]; break;
    case SUBJECT_TIER: name = draw_chance(rng, 5000) ? "free" : "premium"; break;
    case SUBJECT_ORGANISATION: name = sim_organisations[draw_between(rng, 1, SIM_ORGANISATIONS - 1)]; break;
    default: break;
    }
    slice_to_cstr(slice_str(name), cap->name, sizeof cap->name);
    return cap->kind != SUBJECT_TREE || cap->thread_id != 0;
}

void
act_caps(struct world *world, struct sim_node *node)
{
    struct rng *rng = &world->rng;
    static const int64_t lasts_ms[] = { 500, 5000, MINUTE_MS, DAY_MS };
    const struct sim_adopted *adopted = node->adopted >= 0 ? &world->adopted[node->adopted] : NULL;
    if (!adopted || adopted->config.limit_count == 0) {
        return;
    }
    const int index = (int)draw_below(rng, adopted->config.limit_count);
    const struct sim_limit *limit = &adopted->config.limits[index];
    const bool sums_up = sim_forms[limit->form].window != WINDOW_BUCKET && sim_forms[limit->form].counts != COUNT_IN_FLIGHT
                         && sim_forms[limit->form].counts != COUNT_REPORTED;
    const bool corrects = sums_up && draw_chance(rng, 2500);
    struct sim_call *call = client_new(world, node, CALL_OTHER);
    struct admin_event *admin = call ? &call->event.admin : NULL;
    if (!call || !draw_whose(world, limit, corrects, admin)) {
        if (call) {
            call->state = CALL_NONE;
        }
        return;
    }
    call->event.kind = EVENT_ADMIN;
    admin->cap.limit_id = adopted->limit_ids[index];
    admin->verb = corrects ? ADMIN_ADJUST : draw_chance(rng, 2500) ? ADMIN_CAP_DELETE : ADMIN_CAP_PUT;
    admin->cap.set = draw_chance(rng, 4000) ? SET_RAISE : SET_CAP;
    const int64_t amount = sim_draw_cap(rng, limit);
    admin->cap.amount = admin->cap.set == SET_CAP && draw_chance(rng, 500) ? CAP_UNLIMITED : max_i64(1, amount);
    admin->cap.expires_ms =
        draw_chance(rng, 5000) ? 0 : node_wall_ms(world, node) + lasts_ms[draw_below(rng, countof(lasts_ms))];
    admin->adjust.delta = draw_chance(rng, 5000) ? 1 + amount / 4 : -(1 + amount / 4);
    admin->note = SLICE("{\"why\":1}");
    slice_to_cstr(SLICE("cli"), admin->actor, sizeof admin->actor);
    client_submit(world, node, call);
}

void
act_ask(struct world *world, struct sim_node *node)
{
    static char hash[HASH_HEX + 1];
    struct rng *rng = &world->rng;
    struct sim_call *call = client_new(world, node, CALL_OTHER);
    if (!call) {
        return;
    }
    const struct sim_key *key = &world->keys[draw_below(rng, world->key_count)];
    if (draw_chance(rng, 5000)) {
        call->event.kind = EVENT_IDENTIFY;
        memcpy(call->event.identify.key_hash, key->hash, sizeof key->hash);
        if (key->service && draw_chance(rng, 5000)) {
            slice_to_cstr(
                slice_str(world->accounts[1].name), call->event.identify.act_for, sizeof call->event.identify.act_for);
        }
        client_submit(world, node, call);
        return;
    }
    call->event.kind = EVENT_ISSUED;
    call->event.issued.account_id = key->account_id;
    hash_of(hash, 'i', world->issued_count ? world->issued[0].number : 1);
    call->event.issued.ids = slice_of(hash, HASH_HEX);
    client_submit(world, node, call);
    call->event.issued.ids = slice_of(NULL, 0);
}

static void
act(struct world *world, struct sim_node *node)
{
    const int64_t kind = draw_below(&world->rng, 1000);
    if (draw_chance(&world->rng, 150) && !(world->left_out & LEAVE_ADMIN)) {
        act_caps(world, node);
    } else if (draw_chance(&world->rng, 40) && !(world->left_out & LEAVE_ADMIN)) {
        act_correct(world, node);
    } else if (kind < 430) {
        act_call(world, node);
    } else if (kind < 580) {
        if (!(world->left_out & LEAVE_EXTENDS)) {
            act_extend(world, node);
        }
    } else if (kind < 640) {
        if (!(world->left_out & LEAVE_REROUTES)) {
            act_reroute(world, node);
        }
    } else if (kind < 960) {
        act_settle(world, node, NULL);
    } else if (kind < 965) {
        act_overtake(world, node);
    } else if (kind < 980) {
        if (!(world->left_out & LEAVE_ADMIN)) {
            act_admin(world, node);
        }
    } else if (kind < 985) {
        act_ask(world, node);
    } else {
        act_report(world, node);
    }
}

void
clients_act(struct world *world, struct sim_node *node)
{
    const int64_t count = draw_between(&world->rng, 1, draw_chance(&world->rng, 2000) ? 16 : 4);
    for (int64_t i = 0; i < count; i++) {
        act(world, node);
    }
}
