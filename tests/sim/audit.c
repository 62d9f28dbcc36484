/* tests/sim/audit.c: how the auditor goes through a turn: verdicts in their order, each with the rows it made; then
 * whatever is left must have a reason too; then the meters are compared. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit_priv.h"

/* --- Verdicts, in their order. */

/* It is in its subject's row, unless another one of the same turn took its place. */
static void
cap_done(struct audit *audit, const struct admin_event *admin, const struct verdict *verdict)
{
    struct audit_subject *subject = audit_subject(audit, verdict->new_id);
    const struct cap_set *found = NULL;
    for (int32_t i = 0; subject && i < subject->row.set_count; i++) {
        const struct cap_set *set = &subject->row.sets[i];
        found = set->set_id == audit_set_of(audit, admin->cap.limit_id) && set->kind == admin->cap.set ? set : found;
    }
    int changes = 0;
    for (int i = 0; i < audit->node->writes.committed; i++) {
        changes += audit->node->writes.items[i].kind == WRITE_LEDGER
                   && audit->node->writes.items[i].row.ledger.kind == LEDGER_ADMIN;
    }
    const bool put = admin->verb == ADMIN_CAP_PUT;
    coverage.sets_made += put;
    if (subject) {
        subject->new_here = false; /* also where it was taken away at once */
    }
    if (!subject || (changes == 1 && put != (found && found->amount == admin->cap.amount && found->expires_ms == admin->cap.expires_ms))) {
        broken(audit->world, "a cap of limit %lld was %s, and its subject says something else",
            (long long)admin->cap.limit_id, put ? "set" : "taken away");
    }
}

static void
adjust_done(struct audit *audit, const struct admin_event *admin, const struct verdict *verdict)
{
    struct writes *writes = &audit->node->writes;
    for (int i = 0; i < writes->committed; i++) {
        struct write *write = &writes->items[i];
        if (write->kind == WRITE_LEDGER && write->told && !write->matched && write->row.ledger.kind == LEDGER_ADJUST
            && write->row.ledger.hold_id == 0 && write->about.subject_id == verdict->new_id_2 && write->about.delta == admin->adjust.delta) {
            write->matched = true;
            audit_adjust(audit, write);
            return;
        }
    }
    broken(audit->world, "subject %lld was corrected by %lld, and the ledger does not say so", (long long)verdict->new_id_2,
        (long long)admin->adjust.delta);
}

/* Whether, and when in this turn, caps were changed: what was decided beside cannot be held against either. */
static bool
caps_moved(struct audit *audit, const struct verdict *verdicts, int count)
{
    bool moved = false;
    audit->tree_asks = 0;
    for (int i = 0; i < count; i++) {
        const struct sim_call *call = client_of(audit->world, &verdicts[i]);
        const bool admin = call && verdicts[i].event == EVENT_ADMIN;
        moved = moved
                || (admin && (call->event.admin.verb == ADMIN_CAP_PUT || call->event.admin.verb == ADMIN_CAP_DELETE));
        audit->tree_asks += call && verdicts[i].event == EVENT_CALL && call->event.kind == EVENT_CALL
                            && call->event.call.spend_limit_micros > 0;
    }
    return moved;
}

static void unasked(struct audit *audit, struct write *write);
static const struct ledger_row *last_row(const struct audit *audit, int64_t hold_id);

/* What was lost may have been booked in this very turn, before it was corrected. */
static void
orphan_first(struct audit *audit, int64_t hold_id)
{
    struct writes *writes = &audit->node->writes;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < writes->committed; i++) {
            struct write *write = &writes->items[i];
            const bool row = write->kind == WRITE_LEDGER && write->row.ledger.hold_id == hold_id
                             && write->row.ledger.kind != LEDGER_ADJUST;
            const bool gone = write->kind == WRITE_HOLD_GONE && write->id == hold_id;
            if (!write->matched && ((row && pass == 0) || (gone && pass == 1))) {
                unasked(audit, write);
            }
        }
    }
}

static void
call_corrected(struct audit *audit, const struct admin_event *admin, const struct verdict *verdict)
{
    const struct ledger_row *last = last_row(audit, admin->adjust.hold_id);
    if (verdict->kind != VERDICT_ALLOWED) {
        return;
    }
    if (verdict->admin == ADMIN_DONE && last && last->kind == LEDGER_ORPHAN) {
        orphan_first(audit, admin->adjust.hold_id);
    }
    audit_adjust_call(audit, admin, verdict);
}

static void
admin_done(struct audit *audit, const struct sim_call *call, const struct verdict *verdict)
{
    const struct admin_event *admin = &call->event.admin;
    if (admin->verb == ADMIN_ADJUST && admin->adjust.hold_id) {
        call_corrected(audit, admin, verdict);
        return;
    }
    if (verdict->kind != VERDICT_ALLOWED || verdict->admin != ADMIN_DONE) {
        return;
    }
    if (admin->verb == ADMIN_CAP_PUT || admin->verb == ADMIN_CAP_DELETE) {
        cap_done(audit, admin, verdict);
        return;
    }
    if (admin->verb == ADMIN_ADJUST) {
        adjust_done(audit, admin, verdict);
        return;
    }
    if (admin->verb == ADMIN_ACCOUNT_PUT) {
        struct audit_account *account = audit_account(audit, verdict->new_id);
        if (!account) {
            broken(audit->world, "account %lld is made, and not in the store", (long long)verdict->new_id);
        }
        account->banned = admin->account.state == ACCOUNT_BANNED;
        if (admin->account.plan[0]) {
            memcpy(account->plan, admin->account.plan, sizeof account->plan);
            audit->rebase_turn = audit->turn;
            audit_rebase(audit);
        }
    } else if (admin->verb == ADMIN_KEY_REVOKE) {
        struct audit_key *key = audit_key(audit, verdict->new_id);
        if (key) {
            key->revoked = true;
        }
    } else if (!audit_key(audit, verdict->new_id)) {
        broken(audit->world, "key %lld is made, and not in the store", (long long)verdict->new_id);
    }
}

static void
identified(struct audit *audit, const struct verdict *verdict)
{
    const struct audit_key *key = audit_key(audit, verdict->identity.key_id);
    if (verdict->kind == VERDICT_ALLOWED
        && (!key || key->revoked || (key->expires_ms && key->expires_ms <= audit->node->engine->core.now_ms))) {
        broken(audit->world, "key %lld is told who it is, and may nothing", (long long)verdict->identity.key_id);
    }
}

static void
look_at(struct audit *audit, const struct verdict *verdict)
{
    const struct sim_call *call = client_of(audit->world, verdict);
    if (client_gave_up(audit->world, verdict)) {
        return;
    }
    if (!call || call->event.kind != verdict->event) {
        broken(audit->world, "a verdict that nobody waits for: slot %u", verdict->reply.slot);
    }
    switch (verdict->event) {
    case EVENT_CALL: audit_call(audit, call, verdict); return;
    case EVENT_EXTEND: audit_extend(audit, call, verdict); return;
    case EVENT_REROUTE: audit_reroute(audit, call, verdict); return;
    case EVENT_SETTLE: audit_settle(audit, call, verdict); return;
    case EVENT_ADMIN: admin_done(audit, call, verdict); return;
    case EVENT_IDENTIFY: identified(audit, verdict); return;
    case EVENT_REPORT: audit_report(audit, call, verdict); return;
    default: return;
    }
}

/* --- What no verdict explains: orphans; what was committed though the engine could not know. */

static bool
owner_lives(struct audit *audit, const struct hold_row *row)
{
    const struct world *world = audit->world;
    if (world->node_count == 1) {
        return audit->node->engine && audit->node->engine->node.epoch == row->epoch;
    }
    for (int i = 0; i < world->base.node_count; i++) {
        if (world->base.nodes[i].node_id == row->node_id && world->base.nodes[i].epoch == row->epoch) {
            return true;
        }
    }
    return false;
}

static void
check_orphan(struct audit *audit, const struct audit_hold *hold, const struct ledger_row *row)
{
    const struct sim_adopted *adopted = adopted_of(audit->world, audit->node->engine
                                                                     ? audit->node->engine->policy->version
                                                                     : 0);
    const int64_t whole = hold->row.on_abort == ON_ABORT_STOPS ? hold->row.held_micros : hold->row.bound_micros;
    if (owner_lives(audit, &hold->row)) {
        broken(audit->world, "hold %lld is booked as an orphan, and its gateway lives", (long long)hold->row.hold_id);
    }
    if (adopted && row->cost_micros != (adopted->config.orphans == ORPHAN_CHARGE ? whole : 0)) {
        broken(audit->world, "orphan %lld is booked at %lld; held %lld, bound %lld", (long long)hold->row.hold_id,
            (long long)row->cost_micros, (long long)hold->row.held_micros, (long long)hold->row.bound_micros);
    }
    coverage.taken_over += audit->world->node_count > 1;
}

/* What nobody takes any more it gives back by itself. */
static bool
is_closing(const struct sim_node *node)
{
    return node->engine && node->engine->closing;
}

static void
unasked_ledger(struct audit *audit, struct write *write)
{
    const struct ledger_row *row = &write->row.ledger;
    write->matched = true;
    if (row->kind == LEDGER_ADJUST) {
        audit_adjust_untold(audit, write);
        return;
    }
    if (row->kind == LEDGER_SHADOW) {
        audit_shadow_row(audit, write);
        return;
    }
    if (row->kind == LEDGER_REFUSAL || row->kind == LEDGER_ADMIN || row->kind == LEDGER_WARN) {
        return;
    }
    struct audit_hold *hold = audit_hold(audit, row->hold_id);
    if (!hold) {
        broken(audit->world, "row %lld of the ledger is of no hold", (long long)row->id);
    }
    if (row->kind == LEDGER_ORPHAN) {
        check_orphan(audit, hold, row);
    } else if (write->told && hold->claimed && !is_closing(audit->node) && row->kind != LEDGER_UNBILLED) {
        broken(audit->world, "hold %lld is booked, and nobody asked for it", (long long)row->hold_id);
    }
    audit_hold_row(audit, hold, row);
}

/* How the hold ended: its last row. */
static const struct ledger_row *
last_row(const struct audit *audit, int64_t hold_id)
{
    const struct ledger_row *last = NULL;
    for (int i = 0; i < audit->node->writes.committed; i++) {
        const struct write *write = &audit->node->writes.items[i];
        if (write->kind == WRITE_LEDGER && write->row.ledger.hold_id == hold_id && write->row.ledger.kind != LEDGER_ADJUST) {
            last = &write->row.ledger;
        }
    }
    return last;
}

static void
unasked(struct audit *audit, struct write *write)
{
    struct audit_hold *hold = audit_hold(audit, write->id);
    switch (write->kind) {
    case WRITE_HOLD_NEW:
        if (write->told) {
            broken(audit->world, "hold %lld was made for nobody", (long long)write->id);
        }
        audit_hold_made(audit, &write->row.hold, false);
        audit_excuse(audit, &write->row.hold);
        break;
    case WRITE_HOLD:
        if (write->told || !hold) {
            broken(audit->world, "hold %lld was changed for nobody", (long long)write->id);
        }
        audit_raise(audit, &write->row.hold, &hold->row);
        audit_buckets_unclear(audit, hold);
        audit_hold_changed(audit, hold, &write->row.hold, NULL, false);
        break;
    case WRITE_LEDGER: unasked_ledger(audit, write); return;
    case WRITE_HOLD_GONE: {
        if (!hold) {
            broken(audit->world, "hold %lld is gone, and never was", (long long)write->id);
        }
        const struct ledger_row *last = last_row(audit, write->id);
        audit_buckets_unclear(audit, hold);
        audit_hold_gone(audit, hold, last && last->kind == LEDGER_RELEASE && hold->row.attempt_count == 1, last);
        break;
    }
    default: break;
    }
    write->matched = true;
}

static void
take_the_rest(struct audit *audit)
{
    struct writes *writes = &audit->node->writes;
    /* Rows of the ledger stand behind the holds they end. */
    for (int i = 0; i < writes->committed; i++) {
        if (!writes->items[i].matched && writes->items[i].kind != WRITE_HOLD_GONE) {
            unasked(audit, &writes->items[i]);
        }
    }
    for (int i = 0; i < writes->committed; i++) {
        if (!writes->items[i].matched) {
            unasked(audit, &writes->items[i]);
        }
    }
}

/* Holds of which nobody could be told whether they were made: the engine gives them back before all else. */
static void
take_given_back(struct audit *audit)
{
    struct writes *writes = &audit->node->writes;
    for (int i = 0; i < writes->committed; i++) {
        struct write *write = &writes->items[i];
        const bool releases = write->kind == WRITE_LEDGER && write->told && write->row.ledger.kind == LEDGER_RELEASE;
        const struct audit_hold *hold = releases ? audit_hold(audit, write->row.ledger.hold_id) : NULL;
        struct write *gone =
            hold && hold->open && !hold->claimed ? audit_write(audit, WRITE_HOLD_GONE, hold->row.hold_id) : NULL;
        if (gone) {
            unasked(audit, write);
            unasked(audit, gone);
        }
    }
}

static void
compare_meters(struct audit *audit)
{
    struct writes *writes = &audit->node->writes;
    for (int i = 0; i < writes->committed; i++) {
        const struct write *write = &writes->items[i];
        bool last = write->kind == WRITE_METER;
        for (int k = i + 1; last && k < writes->committed; k++) {
            last = writes->items[k].kind != WRITE_METER || writes->items[k].id != write->id;
        }
        if (last) {
            audit_meter_row(audit, &write->row.meter);
        }
    }
}

static void
compare_identities(struct audit *audit)
{
    for (int i = 0; i < audit->node->writes.committed; i++) {
        const struct write *write = &audit->node->writes.items[i];
        if (write->kind == WRITE_SUBJECT && audit_subject(audit, write->id)->new_here) {
            broken(audit->world, "subject %lld was made for nobody", (long long)write->id);
        }
    }
}

static void
take_threads(struct audit *audit)
{
    for (int i = 0; i < audit->node->writes.committed; i++) {
        if (audit->node->writes.items[i].kind == WRITE_THREAD) {
            audit_take_thread(audit, &audit->node->writes.items[i].row.thread);
        }
    }
}

/* A thread that a call made is there for the calls behind it. */
static void
thread_of_verdict(struct audit *audit, const struct verdict *verdict)
{
    if (verdict->event != EVENT_CALL || verdict->kind != VERDICT_ALLOWED || !verdict->thread_id) {
        return;
    }
    for (int i = 0; i < audit->node->writes.committed; i++) {
        const struct write *write = &audit->node->writes.items[i];
        if (write->kind == WRITE_THREAD && write->id == verdict->thread_id) {
            audit_take_thread(audit, &write->row.thread);
            return;
        }
    }
}

void
audit_turn(struct world *world, struct sim_node *node, const struct verdict *verdicts, int count)
{
    struct audit *audit = world->audit;
    audit->node = node;
    audit->turn++;
    audit->verdict_count = count;
    audit->caps_turn = caps_moved(audit, verdicts, count) ? audit->turn : audit->caps_turn;
    audit_take_rows(audit);
    take_given_back(audit);
    for (int i = 0; i < count; i++) {
        look_at(audit, &verdicts[i]);
        thread_of_verdict(audit, &verdicts[i]);
    }
    take_the_rest(audit);
    take_threads(audit);
    audit_reported_rows(audit);
    audit_shadows_due(audit);
    compare_identities(audit);
    compare_meters(audit);
    audit_sweep(audit); /* the last commit of a turn */
    writes_clear(&node->writes);
}

/* --- Configurations, starts, the end. */

/* What people set goes on with a limit that counts the same per the same, over whatever window, and is nobody
 * else's. */
static void
check_sets(struct world *world, const struct sim_adopted *adopted, int index)
{
    const struct sim_limit *limit = &adopted->config.limits[index];
    for (int i = 0; i < index; i++) {
        if (adopted->set_ids[i] == adopted->set_ids[index]) {
            broken(world, "what is set for limit %s is set for limit %s, too", limit->name, adopted->config.limits[i].name);
        }
    }
    const struct sim_adopted *before = NULL;
    for (int i = 0; i < world->adopted_count - 1; i++) {
        before = world->adopted[i].node == adopted->node ? &world->adopted[i] : before;
    }
    for (int i = 0; before && i < before->config.limit_count; i++) {
        const struct audit_limit *known = audit_limit_of(world->audit, before->limit_ids[i]);
        const bool still = known && strcmp(known->name, before->config.limits[i].name) == 0;
        const bool is_it = strcmp(before->config.limits[i].name, limit->name) == 0
                           || (limit->was[0] && strcmp(before->config.limits[i].name, limit->was) == 0);
        if (still && is_it && sim_same_thing(&before->config.limits[i], limit) && known->set_id != adopted->set_ids[index]) {
            broken(world, "what was set for limit %s is gone: it counts the same as before", limit->name);
        }
    }
}

void
audit_adopted(struct world *world, struct sim_adopted *adopted)
{
    struct audit *audit = world->audit;
    for (int i = 0; i < adopted->config.limit_count; i++) {
        const struct sim_limit *limit = &adopted->config.limits[i];
        struct audit_limit *known = audit_take_limit(audit, adopted->limit_ids[i]);
        if (!known->name[0]) {
            known->means = sim_meaning(limit);
            memcpy(known->name, limit->name, sizeof known->name);
        }
        /* Before, perhaps by one that died of it; its own row is not taken yet. */
        const bool renamed = (limit->was[0] && (strcmp(limit->was, known->name) == 0 || strcmp(limit->was, known->stored) == 0))
                             || strcmp(limit->name, known->stored) == 0;
        if (!sim_same_meaning(&known->means, limit) || (strcmp(known->name, limit->name) != 0 && !renamed)) {
            broken(world, "limit %s has the number of another one, %s", limit->name, known->name);
        }
        known->set_id = adopted->set_ids[i];
        check_sets(world, adopted, i);
        memcpy(known->name, limit->name, sizeof known->name);
    }
    audit->adopted_turn = audit->turn + 1;
    audit->rebase_turn = audit->turn + 1;
    audit_rebase(audit);
}

#define AHEAD_MS 100

void
audit_starts(struct world *world, const struct sim_node *node)
{
    int64_t *last_ms = &world->audit->ledger_ms[node->index];
    if (world->node_count > 1) {
        *last_ms = max_i64(*last_ms - AHEAD_MS, min_i64(*last_ms, world->time_ms));
    }
}

void
audit_started(struct world *world, struct sim_node *node)
{
    if (world->node_count == 1 && world->audit->open_holds > 0) {
        broken(world, "gateway %d has started, and %lld holds of before are open", node->index,
            (long long)world->audit->open_holds);
    }
}

void
audit_caps_moved(struct world *world)
{
    audit_rebase(world->audit);
}

struct totals {
    struct audit *audit;
    int64_t rows, micros, holds, meters;
};

static bool
on_ledger(void *user, const struct ledger_row *row)
{
    struct totals *totals = user;
    totals->rows++;
    totals->micros += row->cost_micros;
    return true;
}

static bool
on_hold(void *user, const struct hold_row *row)
{
    struct totals *totals = user;
    (void)row;
    totals->holds++;
    return true;
}

static bool
on_meters(void *user, const struct subject_row *subject, const struct meter_row *row)
{
    struct totals *totals = user;
    (void)subject;
    totals->meters++;
    audit_meter_row(totals->audit, row);
    for (int32_t i = 0; i < row->meter_count; i++) {
        if (row->meters[i].held != 0 || row->meters[i].bound != 0) {
            broken(totals->audit->world, "no call is in flight, and subject %lld holds %lld",
                (long long)row->subject_id, (long long)row->meters[i].held);
        }
    }
    return true;
}

void
audit_end(struct world *world)
{
    struct audit *audit = world->audit;
    struct totals totals = { .audit = audit };
    struct store_reader *reader = NULL;
    struct store_error error;
    const struct ledger_filter all = { .kind = -1, .limit = INT32_MAX };
    audit->node = &world->nodes[0];
    if (audit->open_holds != 0) {
        broken(world, "no fault any more, and %lld holds are open", (long long)audit->open_holds);
    }
    if (store_reader_open(world->base.real, &reader, &error) != STATUS_OK
        || store_read_ledger(reader, &all, on_ledger, &totals) != STATUS_OK
        || store_read_holds(reader, on_hold, &totals) != STATUS_OK
        || store_read_meters(reader, 0, on_meters, &totals) != STATUS_OK) {
        broken(world, "the store cannot be read: %s", reader ? store_reader_error(reader) : error.text);
    }
    store_reader_close(reader);
    if (totals.holds != 0 || totals.rows != audit->ledger_rows || totals.micros != audit->ledger_micros) {
        broken(world, "the store has %lld holds, %lld rows of the ledger, %lld micro-USD; committed were %lld and %lld",
            (long long)totals.holds, (long long)totals.rows, (long long)totals.micros, (long long)audit->ledger_rows,
            (long long)audit->ledger_micros);
    }
}

void
audit_begin(struct world *world)
{
    world->audit = calloc(1, sizeof *world->audit);
    check(world->audit);
    world->audit->world = world;
}

static void
free_all(struct map *map, bool values)
{
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    while (values && map_next(map, &cursor, &key, &value)) {
        free(value);
    }
    map_free(map);
}

void
audit_free(struct world *world)
{
    struct audit *audit = world->audit;
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    while (map_next(&audit->subjects, &cursor, &key, &value)) {
        struct audit_meter *meter = ((struct audit_subject *)value)->meters;
        while (meter) {
            struct audit_meter *next = meter->next;
            free(meter);
            meter = next;
        }
    }
    free_all(&audit->threads, true);
    free_all(&audit->subjects, true);
    free_all(&audit->subject_names, false);
    free_all(&audit->holds, true);
    free_all(&audit->limits, true);
    free_all(&audit->ids, false);
    free_all(&audit->warned, false);
    free_all(&audit->corrected, false);
    free_all(&audit->swept, false);
    free_all(&audit->warned_at, true);
    free(audit);
    world->audit = NULL;
}
