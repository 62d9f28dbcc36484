/* core/work.h: the rows one batch works on: loaded by the engine, changed by the core, written
 * once.
 *
 * A slot is a row and what is known of it: ABSENT means that the store was asked and has none. The
 * core changes rows in place and marks them; nothing here touches the store. Memory is the arena's,
 * and slots do not move, so pointers stay good for the whole batch. */
#pragma once

#include "base/arena.h"
#include "rows/event.h"
#include "rows/need.h"

enum slot_state { SLOT_ABSENT, SLOT_STORED, SLOT_NEW, SLOT_DELETED };

/* Every slot begins with this. */
struct slot {
    enum slot_state state;
    bool dirty;        /* differs from what is stored */
    struct slot *next; /* of its kind, in order of first use */
};
struct account_slot {
    struct slot slot;
    struct account_row row;
};
struct key_slot {
    struct slot slot;
    struct key_row row;
};
struct thread_slot {
    struct slot slot;
    struct thread_row row;
};
struct subject_slot {
    struct slot slot;
    struct subject_row row;
};
struct meter_slot {
    struct slot slot;
    struct meter_row row;
};
struct reported_slot {
    struct slot slot;
    struct reported_row row;
};
struct hold_slot {
    struct slot slot;
    struct hold_row row;
};
struct issued_slot {
    struct slot slot;
    struct issued_row row;
};

struct receipt_slot {
    struct slot slot;
    struct receipt_row row;
};

enum slot_kind {
    SLOTS_ACCOUNT,
    SLOTS_KEY,
    SLOTS_THREAD,
    SLOTS_SUBJECT,
    SLOTS_METER,
    SLOTS_HOLD,
    SLOTS_REPORTED,
    SLOTS_ISSUED, /* this one and those behind it are not kept from batch to batch */
    SLOTS_RECEIPT,
    SLOT_KIND_COUNT,
};
struct slot_list {
    struct slot *first, **last;
};

struct ledger_node {
    struct ledger_node *next;
    struct ledger_row row;
};
struct refusal_node {
    struct refusal_node *next;
    struct refusal_row row;
};

/* Changes of messages to webhooks: they are not read to be changed. */
enum outbox_change {
    OUTBOX_ADD,
    OUTBOX_TRIED,  /* next_ms, attempts and last_error */
    OUTBOX_DELETE, /* the id */
};
struct outbox_node {
    struct outbox_node *next;
    enum outbox_change change;
    struct outbox_row row;
};

struct work {
    struct arena *arena;
    struct index_node **buckets; /* names of slots, by the hash of the name; work.c */
    struct slot_list slots[SLOT_KIND_COUNT];
    struct ledger_node *ledger_first, **ledger_last;
    struct refusal_node *refusal_first, **refusal_last;
    struct outbox_node *outbox_first, **outbox_last;
    struct shadow_node *shadow_first; /* core.h; newest first */
    bool identity_changed; /* an account, a key or a set cap was written: caches are stale */
    bool failed;           /* memory ran out: the batch must not be used */
};

void work_start(struct work *work, struct arena *arena);
/* Forgets all rows; the arena they lie in is the caller's. */
void work_end(struct work *work);
bool work_has_writes(const struct work *work);

/* The slot, or NULL when it was never loaded: then it is a need. */
struct account_slot *work_account(struct work *work, int64_t account_id);
struct account_slot *work_account_name(struct work *work, const char *name);
struct key_slot *work_key(struct work *work, int64_t key_id);
struct key_slot *work_key_hash(struct work *work, const char *hash_hex);
struct thread_slot *work_thread(struct work *work, int64_t thread_id);
struct thread_slot *work_thread_sig(
    struct work *work, int64_t account_id, enum thread_kind kind, const char *sig);
struct subject_slot *work_subject(
    struct work *work, enum subject_kind kind, int64_t account_id, const char *name);
/* By its number: for what is rare, it looks at all of them. */
struct subject_slot *work_subject_id(struct work *work, int64_t subject_id);
struct meter_slot *work_meter(struct work *work, int64_t subject_id);
struct reported_slot *work_reported(struct work *work, int64_t account_id);
struct hold_slot *work_hold(struct work *work, int64_t hold_id);
struct issued_slot *work_issued(struct work *work, const char *id_hash);
struct receipt_slot *work_receipt(struct work *work, const char *name);

/* Adds what the store answered; `row` NULL = the store has none (then the slot is ABSENT under the
 * need's name). A row that is there already under another name (an account by id and by name)
 * becomes one slot. Returns the slot, or NULL when memory ran out (work->failed). */
void *work_load(struct work *work, const struct need *need, const void *row);

/* New rows made by the core; the slot replaces an ABSENT one of the same name. */
struct account_slot *work_new_account(struct work *work, const struct account_row *row);
struct key_slot *work_new_key(struct work *work, const struct key_row *row);
struct thread_slot *work_new_thread(struct work *work, const struct thread_row *row);
struct subject_slot *work_new_subject(struct work *work, const struct subject_row *row);
struct meter_slot *work_new_meter(struct work *work, int64_t subject_id);
struct reported_slot *work_new_reported(struct work *work, int64_t account_id);
struct hold_slot *work_new_hold(struct work *work, const struct hold_row *row);
void work_new_issued(struct work *work, const struct issued_row *row);
void work_new_receipt(struct work *work, const struct receipt_row *row);
/* A copy of text that lives as long as the rows; empty when memory ran out. */
struct slice work_keep(struct work *work, struct slice text);
/* Zeroed rows to fill in; NULL when memory ran out. */
struct ledger_row *work_add_ledger(struct work *work);
struct refusal_row *work_add_refusal(struct work *work);
struct outbox_row *work_add_outbox(struct work *work, enum outbox_change change);
