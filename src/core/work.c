/* core/work.c: slots by every name a need can give them. */
#include "core/work.h"

#include <stddef.h>

#define WORK_BUCKETS 1024 /* a full batch has about 3,000 names */

/* One name of one slot. Two needs can lead to one slot: an account by its id and by its name. */
struct index_node {
    struct index_node *next; /* in its bucket */
    struct slot *slot;
    uint64_t hash;
    int64_t id;
    enum need_kind kind;
    int32_t sub_kind;
    const char *text; /* "" for needs without one; its slot's own, or a copy */
};

static const struct {
    enum slot_kind slots;
    size_t slot_size, row_offset, row_size;
} need_forms[NEED_KIND_COUNT] = {
#define FORM(kind, type)                                                                           \
    {                                                                                              \
        kind, sizeof(struct type), offsetof(struct type, row), sizeof(((struct type *)0)->row)     \
    }
    [NEED_ACCOUNT] = FORM(SLOTS_ACCOUNT, account_slot),
    [NEED_ACCOUNT_NAME] = FORM(SLOTS_ACCOUNT, account_slot),
    [NEED_KEY] = FORM(SLOTS_KEY, key_slot),
    [NEED_KEY_HASH] = FORM(SLOTS_KEY, key_slot),
    [NEED_THREAD] = FORM(SLOTS_THREAD, thread_slot),
    [NEED_THREAD_SIG] = FORM(SLOTS_THREAD, thread_slot),
    [NEED_SUBJECT] = FORM(SLOTS_SUBJECT, subject_slot),
    [NEED_SUBJECT_ID] = FORM(SLOTS_SUBJECT, subject_slot),
    [NEED_METER] = FORM(SLOTS_METER, meter_slot),
    [NEED_HOLD] = FORM(SLOTS_HOLD, hold_slot),
    [NEED_REPORTED] = FORM(SLOTS_REPORTED, reported_slot),
    [NEED_ISSUED] = FORM(SLOTS_ISSUED, issued_slot),
    [NEED_RECEIPT] = FORM(SLOTS_RECEIPT, receipt_slot),
#undef FORM
};

void
work_start(struct work *work, struct arena *arena)
{
    *work = (struct work){ .arena = arena };
    work->ledger_last = &work->ledger_first;
    work->refusal_last = &work->refusal_first;
    work->outbox_last = &work->outbox_first;
    for (int i = 0; i < SLOT_KIND_COUNT; i++) {
        work->slots[i].last = &work->slots[i].first;
    }
    work->buckets = arena_alloc(arena, WORK_BUCKETS * sizeof(struct index_node *));
    work->failed = !work->buckets;
}

void
work_end(struct work *work)
{
    *work = (struct work){ 0 };
}

bool
work_has_writes(const struct work *work)
{
    if (work->ledger_first || work->refusal_first || work->outbox_first) {
        return true;
    }
    for (int i = 0; i < SLOT_KIND_COUNT; i++) {
        for (const struct slot *slot = work->slots[i].first; slot; slot = slot->next) {
            if (slot->dirty) {
                return true;
            }
        }
    }
    return false;
}

#define SPREAD UINT64_C(0x9E3779B97F4A7C15) /* 2^64 divided by the golden ratio */

/* Eight bytes at a time, and without a secret key: a batch has few names, and they are gone with it, so
 * nobody gains by names that meet. */
static uint64_t
name_hash(enum need_kind kind, int32_t sub_kind, int64_t id, const char *text)
{
    uint64_t hash =
        ((uint64_t)id ^ (uint64_t)kind << 56 ^ (uint64_t)(uint32_t)sub_kind << 48) * SPREAD;
    size_t left = text[0] ? strlen(text) : 0;
    uint64_t word = 0;
    for (; left >= sizeof word; left -= sizeof word, text += sizeof word) {
        memcpy(&word, text, sizeof word);
        hash = ((hash ^ hash >> 29) + word) * SPREAD;
    }
    for (word = 0; left > 0; left--, text++) {
        word = word << 8 | (unsigned char)*text;
    }
    hash = ((hash ^ hash >> 29) + word) * SPREAD;
    return hash ^ hash >> 32;
}

static bool
names(const struct index_node *node, enum need_kind kind, int32_t sub_kind, int64_t id,
    const char *text)
{
    return node->id == id && node->kind == kind && node->sub_kind == sub_kind
           && strcmp(node->text, text) == 0;
}

static struct index_node *
index_find(const struct work *work, uint64_t hash, enum need_kind kind, int32_t sub_kind,
    int64_t id, const char *text)
{
    if (!work->buckets) {
        return NULL;
    }
    struct index_node *node = work->buckets[hash % WORK_BUCKETS];
    while (node && (node->hash != hash || !names(node, kind, sub_kind, id, text))) {
        node = node->next;
    }
    return node;
}

static void *
slot_find(
    const struct work *work, enum need_kind kind, int32_t sub_kind, int64_t id, const char *text)
{
    const uint64_t hash = name_hash(kind, sub_kind, id, text);
    const struct index_node *node = index_find(work, hash, kind, sub_kind, id, text);
    return node ? node->slot : NULL;
}

/* `text` lives as long as the work. */
static void
index_set(struct work *work, enum need_kind kind, int32_t sub_kind, int64_t id, const char *text,
    struct slot *slot)
{
    const uint64_t hash = name_hash(kind, sub_kind, id, text);
    struct index_node *node = index_find(work, hash, kind, sub_kind, id, text);
    if (node) {
        node->slot = slot;
        return;
    }
    node = arena_alloc_raw(work->arena, sizeof *node);
    if (!work->buckets || !node) {
        work->failed = true;
        return;
    }
    struct index_node **bucket = &work->buckets[hash % WORK_BUCKETS];
    *node = (struct index_node){ .next = *bucket,
        .slot = slot,
        .hash = hash,
        .id = id,
        .kind = kind,
        .sub_kind = sub_kind,
        .text = text };
    *bucket = node;
}

static void
index_need(struct work *work, const struct need *need, struct slot *slot)
{
    const char *text = need->text[0] ? arena_strdup(work->arena, slice_str(need->text)) : "";
    if (!text) {
        work->failed = true;
        return;
    }
    index_set(work, need->kind, need->sub_kind, need->id, text, slot);
}

/* Makes all names of a row lead to its slot. */
static void
index_row(struct work *work, enum slot_kind kind, struct slot *slot)
{
    switch (kind) {
    case SLOTS_ACCOUNT: {
        const struct account_row *row = &((struct account_slot *)(void *)slot)->row;
        index_set(work, NEED_ACCOUNT, 0, row->account_id, "", slot);
        index_set(work, NEED_ACCOUNT_NAME, 0, 0, row->name, slot);
        return;
    }
    case SLOTS_KEY: {
        const struct key_row *row = &((struct key_slot *)(void *)slot)->row;
        index_set(work, NEED_KEY, 0, row->key_id, "", slot);
        index_set(work, NEED_KEY_HASH, 0, 0, row->hash_hex, slot);
        return;
    }
    case SLOTS_THREAD: {
        const struct thread_row *row = &((struct thread_slot *)(void *)slot)->row;
        index_set(work, NEED_THREAD, 0, row->thread_id, "", slot);
        index_set(work, NEED_THREAD_SIG, (int32_t)row->kind, row->account_id, row->sig_hash, slot);
        return;
    }
    case SLOTS_SUBJECT: {
        const struct subject_row *row = &((struct subject_slot *)(void *)slot)->row;
        index_set(work, NEED_SUBJECT, (int32_t)row->kind, row->account_id, row->name, slot);
        return;
    }
    case SLOTS_METER:
        index_set(
            work, NEED_METER, 0, ((struct meter_slot *)(void *)slot)->row.subject_id, "", slot);
        return;
    case SLOTS_HOLD:
        index_set(work, NEED_HOLD, 0, ((struct hold_slot *)(void *)slot)->row.hold_id, "", slot);
        return;
    case SLOTS_REPORTED:
        index_set(work, NEED_REPORTED, 0, ((struct reported_slot *)(void *)slot)->row.account_id,
            "", slot);
        return;
    case SLOTS_ISSUED:
        index_set(work, NEED_ISSUED, 0, 0, ((struct issued_slot *)(void *)slot)->row.id_hash, slot);
        return;
    case SLOTS_RECEIPT:
        index_set(work, NEED_RECEIPT, 0, 0, ((struct receipt_slot *)(void *)slot)->row.name, slot);
        return;
    default: check(!"a kind of slot without names");
    }
}

/* A row that is loaded already, under another of its names or with another row. */
static struct slot *
same_row(const struct work *work, enum need_kind kind, const void *row)
{
    switch (kind) {
    case NEED_ACCOUNT:
    case NEED_ACCOUNT_NAME:
        return slot_find(work, NEED_ACCOUNT, 0, ((const struct account_row *)row)->account_id, "");
    case NEED_KEY:
    case NEED_KEY_HASH:
        return slot_find(work, NEED_KEY, 0, ((const struct key_row *)row)->key_id, "");
    case NEED_THREAD:
    case NEED_THREAD_SIG:
        return slot_find(work, NEED_THREAD, 0, ((const struct thread_row *)row)->thread_id, "");
    case NEED_SUBJECT:
    case NEED_SUBJECT_ID: {
        const struct subject_row *subject = row;
        struct slot *slot = slot_find(
            work, NEED_SUBJECT, (int32_t)subject->kind, subject->account_id, subject->name);
        return slot && slot->state != SLOT_ABSENT ? slot : NULL;
    }
    case NEED_METER: { /* told with its subject, when it may have been changed already */
        struct slot *slot =
            slot_find(work, NEED_METER, 0, ((const struct meter_row *)row)->subject_id, "");
        return slot && slot->state != SLOT_ABSENT ? slot : NULL;
    }
    default: return NULL;
    }
}

/* What of a row is to be copied: an array at its end only as far as it is counted. */
static size_t
used_bytes(enum need_kind kind, const void *row)
{
    switch (kind) {
    case NEED_METER: {
        const struct meter_row *meters = row;
        return offsetof(struct meter_row, meters)
               + (size_t)meters->meter_count * sizeof meters->meters[0];
    }
    case NEED_SUBJECT:
    case NEED_SUBJECT_ID: {
        const struct subject_row *subject = row;
        return offsetof(struct subject_row, sets)
               + (size_t)subject->set_count * sizeof subject->sets[0];
    }
    case NEED_REPORTED: {
        const struct reported_row *reported = row;
        return offsetof(struct reported_row, windows)
               + (size_t)reported->window_count * sizeof reported->windows[0];
    }
    default: return need_forms[kind].row_size;
    }
}

/* With `row`, or all zero without one. */
static struct slot *
slot_make(struct work *work, enum need_kind kind, enum slot_state state, const void *row)
{
    const size_t size = need_forms[kind].slot_size;
    struct slot *slot = row ? arena_alloc_raw(work->arena, size) : arena_alloc(work->arena, size);
    if (!slot) {
        work->failed = true;
        return NULL;
    }
    *slot = (struct slot){ .state = state };
    if (row) {
        memcpy((char *)slot + need_forms[kind].row_offset, row, used_bytes(kind, row));
    }
    struct slot_list *list = &work->slots[need_forms[kind].slots];
    *list->last = slot;
    list->last = &slot->next;
    return slot;
}

void *
work_load(struct work *work, const struct need *need, const void *row)
{
    struct slot *slot = row ? same_row(work, need->kind, row) : NULL;
    if (!slot) {
        slot = slot_make(work, need->kind, row ? SLOT_STORED : SLOT_ABSENT, row);
    }
    if (slot && row) {
        index_row(
            work, need_forms[need->kind].slots, slot); /* the need's name is one of the row's */
    } else if (slot) {
        index_need(work, need, slot);
    }
    return slot;
}

/* A new row takes the ABSENT slot of the name it was asked for under, so that whoever holds it sees
 * it. */
static void *
slot_new(struct work *work, enum need_kind kind, struct slot *absent, const void *row)
{
    struct slot *slot = absent ? absent : slot_make(work, kind, SLOT_NEW, row);
    if (!slot) {
        return NULL;
    }
    check(slot->state == SLOT_ABSENT || slot->state == SLOT_NEW);
    slot->state = SLOT_NEW;
    slot->dirty = true;
    if (absent) {
        memcpy((char *)slot + need_forms[kind].row_offset, row, need_forms[kind].row_size);
    }
    index_row(work, need_forms[kind].slots, slot);
    return slot;
}

struct account_slot *
work_account(struct work *work, int64_t account_id)
{
    return slot_find(work, NEED_ACCOUNT, 0, account_id, "");
}

struct account_slot *
work_account_name(struct work *work, const char *name)
{
    return slot_find(work, NEED_ACCOUNT_NAME, 0, 0, name);
}

struct key_slot *
work_key(struct work *work, int64_t key_id)
{
    return slot_find(work, NEED_KEY, 0, key_id, "");
}

struct key_slot *
work_key_hash(struct work *work, const char *hash_hex)
{
    return slot_find(work, NEED_KEY_HASH, 0, 0, hash_hex);
}

struct thread_slot *
work_thread(struct work *work, int64_t thread_id)
{
    return slot_find(work, NEED_THREAD, 0, thread_id, "");
}

struct thread_slot *
work_thread_sig(struct work *work, int64_t account_id, enum thread_kind kind, const char *sig)
{
    return slot_find(work, NEED_THREAD_SIG, (int32_t)kind, account_id, sig);
}

struct subject_slot *
work_subject(struct work *work, enum subject_kind kind, int64_t account_id, const char *name)
{
    return slot_find(work, NEED_SUBJECT, (int32_t)kind, account_id, name);
}

struct subject_slot *
work_subject_id(struct work *work, int64_t subject_id)
{
    for (struct slot *slot = work->slots[SLOTS_SUBJECT].first; slot; slot = slot->next) {
        struct subject_slot *subject = (void *)slot;
        if (slot->state != SLOT_ABSENT && subject->row.subject_id == subject_id) {
            return subject;
        }
    }
    return slot_find(work, NEED_SUBJECT_ID, 0, subject_id, ""); /* asked for, and not there */
}

struct meter_slot *
work_meter(struct work *work, int64_t subject_id)
{
    return slot_find(work, NEED_METER, 0, subject_id, "");
}

struct reported_slot *
work_reported(struct work *work, int64_t account_id)
{
    return slot_find(work, NEED_REPORTED, 0, account_id, "");
}

struct hold_slot *
work_hold(struct work *work, int64_t hold_id)
{
    return slot_find(work, NEED_HOLD, 0, hold_id, "");
}

struct issued_slot *
work_issued(struct work *work, const char *id_hash)
{
    return slot_find(work, NEED_ISSUED, 0, 0, id_hash);
}

struct receipt_slot *
work_receipt(struct work *work, const char *name)
{
    return slot_find(work, NEED_RECEIPT, 0, 0, name);
}

struct account_slot *
work_new_account(struct work *work, const struct account_row *row)
{
    return slot_new(work, NEED_ACCOUNT, slot_find(work, NEED_ACCOUNT_NAME, 0, 0, row->name), row);
}

struct key_slot *
work_new_key(struct work *work, const struct key_row *row)
{
    return slot_new(work, NEED_KEY, slot_find(work, NEED_KEY_HASH, 0, 0, row->hash_hex), row);
}

struct thread_slot *
work_new_thread(struct work *work, const struct thread_row *row)
{
    struct slot *absent =
        slot_find(work, NEED_THREAD_SIG, (int32_t)row->kind, row->account_id, row->sig_hash);
    return slot_new(work, NEED_THREAD, absent, row);
}

struct subject_slot *
work_new_subject(struct work *work, const struct subject_row *row)
{
    struct slot *absent =
        slot_find(work, NEED_SUBJECT, (int32_t)row->kind, row->account_id, row->name);
    return slot_new(work, NEED_SUBJECT, absent, row);
}

struct meter_slot *
work_new_meter(struct work *work, int64_t subject_id)
{
    const struct meter_row row = { .subject_id = subject_id };
    return slot_new(work, NEED_METER, slot_find(work, NEED_METER, 0, subject_id, ""), &row);
}

struct reported_slot *
work_new_reported(struct work *work, int64_t account_id)
{
    const struct reported_row row = { .account_id = account_id };
    return slot_new(work, NEED_REPORTED, slot_find(work, NEED_REPORTED, 0, account_id, ""), &row);
}

struct hold_slot *
work_new_hold(struct work *work, const struct hold_row *row)
{
    return slot_new(work, NEED_HOLD, slot_find(work, NEED_HOLD, 0, row->hold_id, ""), row);
}

void
work_new_issued(struct work *work, const struct issued_row *row)
{
    struct slot *known = slot_find(work, NEED_ISSUED, 0, 0, row->id_hash);
    if (!known || known->state == SLOT_ABSENT) { /* an id belongs to whom it was given first */
        slot_new(work, NEED_ISSUED, known, row);
    }
}

void
work_new_receipt(struct work *work, const struct receipt_row *row)
{
    slot_new(work, NEED_RECEIPT, slot_find(work, NEED_RECEIPT, 0, 0, row->name), row);
}

struct slice
work_keep(struct work *work, struct slice text)
{
    const struct slice kept = arena_copy(work->arena, text);
    if (!kept.ptr) {
        work->failed = true;
    }
    return kept;
}

struct ledger_row *
work_add_ledger(struct work *work)
{
    struct ledger_node *node = arena_alloc(work->arena, sizeof *node);
    if (!node) {
        work->failed = true;
        return NULL;
    }
    *work->ledger_last = node;
    work->ledger_last = &node->next;
    return &node->row;
}

struct refusal_row *
work_add_refusal(struct work *work)
{
    struct refusal_node *node = arena_alloc(work->arena, sizeof *node);
    if (!node) {
        work->failed = true;
        return NULL;
    }
    *work->refusal_last = node;
    work->refusal_last = &node->next;
    return &node->row;
}

struct outbox_row *
work_add_outbox(struct work *work, enum outbox_change change)
{
    struct outbox_node *node = arena_alloc(work->arena, sizeof *node);
    if (!node) {
        work->failed = true;
        return NULL;
    }
    node->change = change;
    *work->outbox_last = node;
    work->outbox_last = &node->next;
    return &node->row;
}
