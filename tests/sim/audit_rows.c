/* tests/sim/audit_rows.c: what the auditor has on record: rows as they come, before any verdict is looked at. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit_priv.h"

/* --- On record. */

uint64_t
audit_hash(uint64_t a, uint64_t b)
{
    struct rng rng = { a * UINT64_C(0x9e3779b97f4a7c15) ^ b };
    return draw(&rng);
}

uint64_t
audit_text_hash(const char *text)
{
    uint64_t hash = 1469598103934665603u;
    for (; *text; text++) {
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    }
    return hash;
}

struct audit_account *
audit_account(struct audit *audit, int64_t account_id)
{
    for (int i = 0; i < audit->account_count; i++) {
        if (audit->accounts[i].account_id == account_id) {
            return &audit->accounts[i];
        }
    }
    return NULL;
}

struct audit_key *
audit_key(struct audit *audit, int64_t key_id)
{
    for (int i = audit->key_count; i-- > 0;) {
        if (audit->keys[i].key_id == key_id) {
            return &audit->keys[i];
        }
    }
    return NULL;
}

uint64_t
audit_thread_key(int64_t account_id, enum thread_kind kind, const char *sig)
{
    return audit_hash(audit_hash((uint64_t)account_id, (uint64_t)kind), audit_text_hash(sig));
}

struct audit_thread *
audit_thread(struct audit *audit, int64_t account_id, enum thread_kind kind, const char *sig)
{
    return map_get(&audit->threads, audit_thread_key(account_id, kind, sig));
}

struct audit_subject *
audit_subject(struct audit *audit, int64_t subject_id)
{
    return map_get(&audit->subjects, (uint64_t)subject_id);
}

uint64_t
audit_subject_key(enum subject_kind kind, int64_t account_id, const char *name)
{
    return audit_hash(audit_hash((uint64_t)kind + 77, (uint64_t)account_id), audit_text_hash(name));
}

struct audit_subject *
audit_subject_named(struct audit *audit, enum subject_kind kind, int64_t account_id, const char *name)
{
    return map_get(&audit->subject_names, audit_subject_key(kind, account_id, name));
}

struct audit_hold *
audit_hold(struct audit *audit, int64_t hold_id)
{
    return map_get(&audit->holds, (uint64_t)hold_id);
}

struct audit_limit *
audit_limit_of(struct audit *audit, int64_t limit_id)
{
    return map_get(&audit->limits, (uint64_t)limit_id);
}

int64_t
audit_set_of(struct audit *audit, int64_t limit_id)
{
    const struct audit_limit *limit = audit_limit_of(audit, limit_id);
    return limit ? limit->set_id : 0;
}

struct audit_meter *
audit_meter(struct audit_subject *subject, int64_t limit_id, int64_t window_ms, bool make)
{
    for (struct audit_meter *meter = subject->meters; meter; meter = meter->next) {
        if (meter->limit_id == limit_id && meter->window_ms == window_ms) {
            return meter;
        }
    }
    if (!make) {
        return NULL;
    }
    struct audit_meter *meter = calloc(1, sizeof *meter);
    check(meter);
    meter->limit_id = limit_id;
    meter->window_ms = window_ms;
    meter->next = subject->meters;
    subject->meters = meter;
    return meter;
}

struct audit_meter *
audit_meter_any(struct audit_subject *subject, int64_t limit_id)
{
    for (struct audit_meter *meter = subject->meters; meter; meter = meter->next) {
        if (meter->limit_id == limit_id) {
            return meter;
        }
    }
    return NULL;
}

/* No number is given twice, whatever crashes in between. */
void
audit_id(struct audit *audit, int64_t id, const char *what)
{
    static char given;
    if (id <= 0 || map_get(&audit->ids, (uint64_t)id)) {
        broken(audit->world, "the number %lld of a %s was given before", (long long)id, what);
    }
    check(map_put(&audit->ids, (uint64_t)id, &given));
}

/* The first of its kind in this turn that nobody has explained yet, and that the engine knows of. */
struct write *
audit_write(struct audit *audit, enum write_kind kind, int64_t id)
{
    struct writes *writes = &audit->node->writes;
    for (int i = 0; i < writes->committed; i++) {
        struct write *write = &writes->items[i];
        if (write->kind == kind && write->id == id && write->told && !write->matched) {
            write->matched = true;
            return write;
        }
    }
    return NULL;
}

/* --- Rows as they come, before any verdict is looked at. */

static void
take_account(struct audit *audit, const struct account_row *row, bool told)
{
    struct audit_account *account = audit_account(audit, row->account_id);
    if (!account) {
        check(audit->account_count < AUDIT_ACCOUNTS);
        audit_id(audit, row->account_id, "account");
        account = &audit->accounts[audit->account_count++];
        account->account_id = row->account_id;
        memcpy(account->name, row->name, sizeof account->name);
        memcpy(account->organisation, row->organisation, sizeof account->organisation);
        told = false;
    }
    if (!told) { /* else the events say so, in their order */
        memcpy(account->plan, row->plan, sizeof account->plan);
        audit->rebase_turn = audit->turn;
        account->banned = row->state == ACCOUNT_BANNED;
        audit_rebase(audit);
    }
}

static void
take_key(struct audit *audit, const struct key_row *row, bool told)
{
    struct audit_key *key = audit_key(audit, row->key_id);
    if (!key) {
        check(audit->key_count < AUDIT_KEYS);
        audit_id(audit, row->key_id, "key");
        key = &audit->keys[audit->key_count++];
        *key = (struct audit_key){ .key_id = row->key_id,
            .account_id = row->account_id,
            .expires_ms = row->expires_ms,
            .role = row->role,
            .thread_required = row->thread_required };
        memcpy(key->may_act_for, row->may_act_for, sizeof key->may_act_for);
    }
    if (!told) {
        key->revoked = row->revoked;
    }
}

/* That of the gateway and those of groups are made for a configuration, others for a part of a hold or for a
 * cap that is set. */
static void
take_subject(struct audit *audit, const struct subject_row *row)
{
    struct audit_subject *subject = audit_subject(audit, row->subject_id);
    for (int32_t i = 0; i < row->set_count; i++) {
        struct audit_limit *limit = audit_limit_of(audit, row->sets[i].set_id);
        if (limit) {
            limit->was_set = true;
        }
    }
    if (subject) {
        if (row->version <= subject->row.version) {
            broken(audit->world, "subject %lld goes back to version %lld", (long long)row->subject_id,
                (long long)row->version);
        }
        subject->row = *row;
        audit_rebase(audit);
        return;
    }
    audit_id(audit, row->subject_id, "subject");
    subject = calloc(1, sizeof *subject);
    check(subject);
    subject->row = *row;
    subject->new_here = row->kind != SUBJECT_GATEWAY && row->kind != SUBJECT_GROUP && row->set_count == 0;
    subject->born_turn = audit->turn;
    subject->new_tree = row->kind == SUBJECT_TREE && row->set_count > 0;
    if (audit_subject_named(audit, row->kind, row->account_id, row->name)) {
        broken(audit->world, "subject %lld is there twice", (long long)row->subject_id);
    }
    check(map_put(&audit->subjects, (uint64_t)row->subject_id, subject));
    check(map_put(&audit->subject_names, audit_subject_key(row->kind, row->account_id, row->name), subject));
}

void
audit_take_thread(struct audit *audit, const struct thread_row *row)
{
    struct audit_thread *thread = audit_thread(audit, row->account_id, row->kind, row->sig_hash);
    if (!thread) {
        audit_id(audit, row->thread_id, "thread");
        audit_came_back(audit, row);
        thread = calloc(1, sizeof *thread);
        check(thread && map_put(&audit->threads, audit_thread_key(row->account_id, row->kind, row->sig_hash), thread));
        *thread = (struct audit_thread){ row->thread_id, row->account_id, row->root_id, row->created_ms, row->last_ms, row->kind, "" };
        memcpy(thread->sig, row->sig_hash, sizeof thread->sig);
    }
    if (thread->thread_id != row->thread_id || thread->root_id != row->root_id || row->last_ms < thread->last_ms) {
        broken(audit->world, "thread %lld became another one, or time goes back for it", (long long)row->thread_id);
    }
    thread->last_ms = row->last_ms;
}

static void
take_ledger(struct audit *audit, const struct ledger_row *row)
{
    audit_id(audit, row->id, "row of the ledger");
    audit->ledger_rows++;
    audit->ledger_micros += row->cost_micros;
    coverage.ledger[row->kind]++;
    if (row->kind == LEDGER_REFUSAL || row->kind == LEDGER_SHADOW) {
        return; /* written when there was a commit for it */
    }
    int64_t *last_ms = &audit->ledger_ms[audit->node->index];
    if (row->at_ms < *last_ms) {
        broken(audit->world, "time goes back on the ledger: row %lld is %lld ms before the last",
            (long long)row->id, (long long)(*last_ms - row->at_ms));
    }
    *last_ms = row->at_ms;
}

/* A limit that gets another name keeps its number. */
struct audit_limit *
audit_take_limit(struct audit *audit, int64_t limit_id)
{
    struct audit_limit *limit = audit_limit_of(audit, limit_id);
    if (!limit) {
        audit_id(audit, limit_id, "limit");
        limit = calloc(1, sizeof *limit);
        check(limit && map_put(&audit->limits, (uint64_t)limit_id, limit));
        limit->limit_id = limit_id;
    }
    return limit;
}

static void
take_limit_row(struct audit *audit, const struct limit_def_row *row)
{
    struct audit_limit *limit = audit_take_limit(audit, row->limit_id);
    if (row->until_ms == 0) {
        slice_to_cstr(slice_str(row->name), limit->stored, sizeof limit->stored);
    }
}

/* What is new is known at once; threads that are new are told apart from those that moved. */
void
audit_take_rows(struct audit *audit)
{
    struct writes *writes = &audit->node->writes;
    for (int i = 0; i < writes->committed; i++) {
        struct write *write = &writes->items[i];
        switch (write->kind) {
        case WRITE_ACCOUNT: take_account(audit, &write->row.account, write->told); break;
        case WRITE_KEY: take_key(audit, &write->row.key, write->told); break;
        case WRITE_SUBJECT: take_subject(audit, &write->row.subject); break;
        case WRITE_LEDGER:
            take_ledger(audit, &write->row.ledger);
            if (write->row.ledger.kind == LEDGER_WARN) {
                audit_warn(audit, write);
            }
            break;
        case WRITE_LIMIT: take_limit_row(audit, &write->row.limit); break;
        default: break;
        }
    }
}
