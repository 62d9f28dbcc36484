/* engine/cache.c: rows packed into pieces of memory that are found by their names; see the header. */
#include "engine/cache.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/map.h" /* its hashes */

#define BUCKETS_MIN     16384
#define BUCKETS_MAX     262144 /* a few more than rows that a full cache has */
#define PACKED_MAX      16384  /* bytes; a row that needs more is not kept */
#define CAP_STEP        128
#define CAP_STEP_SMALL  32 /* of rows up to 2 * CAP_STEP, of which a thread has three */
#define SPARE_BYTES_MAX ((size_t)1 << 20)
#define SPARE_TRIES     8

/* A row has one or two names: its id, and what it is looked up by. */
enum name { NAME_ID, NAME_TEXT, NAME_COUNT };

struct cached_row {
    struct list node;                    /* by age */
    struct cached_row *next[NAME_COUNT]; /* in its buckets; [0] also among the spare ones */
    uint64_t hash[NAME_COUNT];           /* 0 = it has no such name */
    enum slot_kind kind;
    uint32_t len, cap;
    unsigned char packed[];
};

union any_row {
    struct account_row account;
    struct key_row key;
    struct thread_row thread;
    struct subject_row subject;
    struct meter_row meter;
    struct hold_row hold;
    struct reported_row reported;
};

/* --- Packing: the row's fields in order, names by length, arrays by count. */

enum form { FORM_RAW, FORM_TEXT, FORM_ARRAY, FORM_SLICE };
struct field {
    enum form form;
    size_t offset, size; /* ARRAY: of one element */
    size_t count_offset; /* ARRAY: of its int32_t, which was packed before it */
};
#define SIZE_OF(type, member) sizeof(((struct type *)0)->member)
#define FROM_TO(type, first, last)                                                                 \
    {                                                                                              \
        FORM_RAW, offsetof(struct type, first),                                                    \
            offsetof(struct type, last) + SIZE_OF(type, last) - offsetof(struct type, first), 0    \
    }
#define TEXT(type, member)                                                                         \
    {                                                                                              \
        FORM_TEXT, offsetof(struct type, member), SIZE_OF(type, member), 0                         \
    }
#define ARRAY(type, member, count)                                                                 \
    {                                                                                              \
        FORM_ARRAY, offsetof(struct type, member), SIZE_OF(type, member[0]),                       \
            offsetof(struct type, count)                                                           \
    }
#define FIELDS_MAX 8

static const struct {
    size_t row_size;
    int field_count;
    struct field fields[FIELDS_MAX];
} forms[SLOT_KIND_COUNT] = {
    [SLOTS_ACCOUNT] = { sizeof(struct account_row), 5,
        { FROM_TO(account_row, account_id, account_id), TEXT(account_row, name),
            TEXT(account_row, plan), TEXT(account_row, organisation),
            FROM_TO(account_row, state, version) } },
    [SLOTS_KEY] = { sizeof(struct key_row), 6,
        { FROM_TO(key_row, key_id, account_id), TEXT(key_row, hash_hex), TEXT(key_row, label),
            FROM_TO(key_row, shown, expires_ms), TEXT(key_row, may_act_for),
            FROM_TO(key_row, version, version) } },
    [SLOTS_THREAD] = { sizeof(struct thread_row), 3,
        { FROM_TO(thread_row, thread_id, kind), TEXT(thread_row, sig_hash),
            FROM_TO(thread_row, created_ms, version) } },
    [SLOTS_SUBJECT] = { sizeof(struct subject_row), 4,
        { FROM_TO(subject_row, subject_id, kind), TEXT(subject_row, name),
            FROM_TO(subject_row, version, set_count), ARRAY(subject_row, sets, set_count) } },
    [SLOTS_METER] = { sizeof(struct meter_row), 2,
        { FROM_TO(meter_row, subject_id, meter_count), ARRAY(meter_row, meters, meter_count) } },
    [SLOTS_HOLD] = { sizeof(struct hold_row), 7,
        { FROM_TO(hold_row, hold_id, part_count), ARRAY(hold_row, parts, part_count),
            FROM_TO(hold_row, attempt_count, attempt_count),
            ARRAY(hold_row, attempts, attempt_count), TEXT(hold_row, model),
            FROM_TO(hold_row, held_micros, price_ver),
            { FORM_SLICE, offsetof(struct hold_row, inputs), 0, 0 } } },
    [SLOTS_REPORTED] = { sizeof(struct reported_row), 2,
        { FROM_TO(reported_row, account_id, window_count),
            ARRAY(reported_row, windows, window_count) } },
    /* SLOTS_ISSUED, SLOTS_RECEIPT: not kept */
};

static size_t
field_len(const struct field *field, const unsigned char *row)
{
    switch (field->form) {
    case FORM_TEXT: return strlen((const char *)row + field->offset);
    case FORM_ARRAY: {
        int32_t count = 0;
        memcpy(&count, row + field->count_offset, sizeof count);
        return (size_t)count * field->size;
    }
    case FORM_SLICE: {
        struct slice text;
        memcpy(&text, row + field->offset, sizeof text);
        return text.len;
    }
    default: return field->size;
    }
}

static const unsigned char *
field_bytes(const struct field *field, const unsigned char *row)
{
    struct slice text;
    if (field->form != FORM_SLICE) {
        return row + field->offset;
    }
    memcpy(&text, row + field->offset, sizeof text);
    return (const unsigned char *)text.ptr;
}

static bool
field_has_len(const struct field *field)
{
    return field->form == FORM_TEXT || field->form == FORM_SLICE;
}

/* Length of the packed row; 0 = too long to be kept. */
static size_t
row_pack(enum slot_kind kind, const void *row, unsigned char packed[PACKED_MAX])
{
    size_t len = 0;
    for (int i = 0; i < forms[kind].field_count; i++) {
        const struct field *field = &forms[kind].fields[i];
        const size_t size = field_len(field, row);
        const uint16_t size_16 = (uint16_t)size;
        if (size > PACKED_MAX || len + sizeof size_16 + size > PACKED_MAX) {
            return 0;
        }
        if (field_has_len(field)) {
            memcpy(packed + len, &size_16, sizeof size_16);
            len += sizeof size_16;
        }
        if (size > 0) {
            memcpy(packed + len, field_bytes(field, row), size);
            len += size;
        }
    }
    return len;
}

/* An array at the end of a row is read as far as it is counted. */
static size_t
cleared_bytes(enum slot_kind kind)
{
    const struct field *last = &forms[kind].fields[forms[kind].field_count - 1];
    return last->form == FORM_ARRAY ? last->offset : forms[kind].row_size;
}

/* The row's slice borrows from the packed one. */
static void
row_unpack(enum slot_kind kind, const unsigned char *packed, void *row)
{
    unsigned char *out = row;
    memset(out, 0, cleared_bytes(kind));
    for (int i = 0; i < forms[kind].field_count; i++) {
        const struct field *field = &forms[kind].fields[i];
        uint16_t size_16 = 0;
        size_t size = 0;
        if (field_has_len(field)) {
            memcpy(&size_16, packed, sizeof size_16);
            packed += sizeof size_16;
            size = size_16;
        } else {
            size = field_len(field, out);
        }
        if (field->form == FORM_SLICE) {
            const struct slice text = slice_of((const char *)packed, size);
            memcpy(out + field->offset, &text, sizeof text);
        } else {
            memcpy(out + field->offset, packed, size);
        }
        packed += size;
    }
}

/* --- Names. */

static uint64_t
hash_of(enum slot_kind kind, enum name name, int64_t id, int32_t sub_kind, const char *text)
{
    const uint64_t kinds = (uint64_t)kind << 40 | (uint64_t)name << 32 | (uint32_t)sub_kind;
    const uint64_t number = hash_pair((uint64_t)id, kinds);
    return (name == NAME_TEXT ? hash_pair(number, hash_bytes(slice_str(text))) : number) | 1;
}

static void
hashes_of(enum slot_kind kind, const union any_row *row, uint64_t hash[NAME_COUNT])
{
    hash[NAME_ID] = hash[NAME_TEXT] = 0;
    switch (kind) {
    case SLOTS_ACCOUNT:
        hash[NAME_ID] = hash_of(kind, NAME_ID, row->account.account_id, 0, "");
        hash[NAME_TEXT] = hash_of(kind, NAME_TEXT, 0, 0, row->account.name);
        return;
    case SLOTS_KEY:
        hash[NAME_ID] = hash_of(kind, NAME_ID, row->key.key_id, 0, "");
        hash[NAME_TEXT] = hash_of(kind, NAME_TEXT, 0, 0, row->key.hash_hex);
        return;
    case SLOTS_THREAD:
        hash[NAME_ID] = hash_of(kind, NAME_ID, row->thread.thread_id, 0, "");
        hash[NAME_TEXT] = hash_of(kind, NAME_TEXT, row->thread.account_id,
            (int32_t)row->thread.kind, row->thread.sig_hash);
        return;
    case SLOTS_SUBJECT:
        hash[NAME_TEXT] = hash_of(kind, NAME_TEXT, row->subject.account_id,
            (int32_t)row->subject.kind, row->subject.name);
        return;
    case SLOTS_METER: hash[NAME_ID] = hash_of(kind, NAME_ID, row->meter.subject_id, 0, ""); return;
    case SLOTS_HOLD: hash[NAME_ID] = hash_of(kind, NAME_ID, row->hold.hold_id, 0, ""); return;
    case SLOTS_REPORTED:
        hash[NAME_ID] = hash_of(kind, NAME_ID, row->reported.account_id, 0, "");
        return;
    default: check(!"a kind of row that is not kept");
    }
}

/* How a need asks: kind of row, and by which name. False: rows that are not kept. */
static bool
asked_of(const struct need *need, enum slot_kind *kind, enum name *name)
{
    static const struct {
        enum slot_kind kind;
        enum name name;
    } asked[NEED_KIND_COUNT] = {
        [NEED_ACCOUNT] = { SLOTS_ACCOUNT, NAME_ID },
        [NEED_ACCOUNT_NAME] = { SLOTS_ACCOUNT, NAME_TEXT },
        [NEED_KEY] = { SLOTS_KEY, NAME_ID },
        [NEED_KEY_HASH] = { SLOTS_KEY, NAME_TEXT },
        [NEED_THREAD] = { SLOTS_THREAD, NAME_ID },
        [NEED_THREAD_SIG] = { SLOTS_THREAD, NAME_TEXT },
        [NEED_SUBJECT] = { SLOTS_SUBJECT, NAME_TEXT },
        [NEED_METER] = { SLOTS_METER, NAME_ID },
        [NEED_HOLD] = { SLOTS_HOLD, NAME_ID },
        [NEED_REPORTED] = { SLOTS_REPORTED, NAME_ID },
        [NEED_ISSUED] = { SLOTS_ISSUED, NAME_TEXT },
        [NEED_RECEIPT] = { SLOTS_RECEIPT, NAME_TEXT },
        [NEED_SUBJECT_ID] = { SLOT_KIND_COUNT,
            NAME_ID }, /* by its name alone, as calls ask for it */
    };
    *kind = asked[need->kind].kind;
    *name = asked[need->kind].name;
    return *kind < SLOTS_ISSUED;
}

/* Hashes may be equal by chance; rows are what they say themselves. */
static bool
is_needed(const struct need *need, const union any_row *row)
{
    switch (need->kind) {
    case NEED_ACCOUNT: return row->account.account_id == need->id;
    case NEED_ACCOUNT_NAME: return strcmp(row->account.name, need->text) == 0;
    case NEED_KEY: return row->key.key_id == need->id;
    case NEED_KEY_HASH: return strcmp(row->key.hash_hex, need->text) == 0;
    case NEED_THREAD: return row->thread.thread_id == need->id;
    case NEED_THREAD_SIG:
        return row->thread.account_id == need->id && (int32_t)row->thread.kind == need->sub_kind
               && strcmp(row->thread.sig_hash, need->text) == 0;
    case NEED_SUBJECT:
        return row->subject.account_id == need->id && (int32_t)row->subject.kind == need->sub_kind
               && strcmp(row->subject.name, need->text) == 0;
    case NEED_METER: return row->meter.subject_id == need->id;
    case NEED_HOLD: return row->hold.hold_id == need->id;
    case NEED_REPORTED: return row->reported.account_id == need->id;
    default: return false;
    }
}

/* --- Places. */

static struct cached_row **
bucket_of(const struct cache *cache, enum name name, uint64_t hash)
{
    return &cache->buckets[(size_t)name * cache->bucket_count + hash / 2 % cache->bucket_count];
}

static struct list *
ages_of(struct cache *cache, enum slot_kind kind)
{
    return kind == SLOTS_HOLD ? &cache->holds_by_age : &cache->by_age;
}

static size_t *
bytes_of(struct cache *cache, enum slot_kind kind)
{
    return kind == SLOTS_HOLD ? &cache->hold_bytes : &cache->row_bytes;
}

static void
link_names(struct cache *cache, struct cached_row *row)
{
    for (int name = 0; name < NAME_COUNT; name++) {
        if (row->hash[name]) {
            struct cached_row **bucket = bucket_of(cache, (enum name)name, row->hash[name]);
            row->next[name] = *bucket;
            *bucket = row;
        }
    }
}

static void
unlink_names(struct cache *cache, const struct cached_row *row)
{
    for (int name = 0; name < NAME_COUNT; name++) {
        struct cached_row **at =
            row->hash[name] ? bucket_of(cache, (enum name)name, row->hash[name]) : NULL;
        while (at && *at != row) {
            at = &(*at)->next[name];
        }
        if (at) {
            *at = row->next[name];
        }
    }
}

/* Twice as many buckets as rows: whoever looks for a row that is not kept finds an empty one. Without memory for
 * more of them they grow longer. */
static void
make_buckets(struct cache *cache)
{
    if (cache->count * 2 <= cache->bucket_count || cache->bucket_count >= BUCKETS_MAX) {
        return;
    }
    const size_t count = cache->bucket_count * 4;
    struct cached_row **buckets = calloc(NAME_COUNT * count, sizeof *buckets);
    if (!buckets) {
        return;
    }
    free(cache->buckets);
    cache->buckets = buckets;
    cache->bucket_count = count;
    struct list *const ages[] = { &cache->by_age, &cache->holds_by_age };
    for (size_t i = 0; i < countof(ages); i++) {
        for (struct list *at = ages[i]->next; at != ages[i]; at = at->next) {
            link_names(cache, list_entry(at, struct cached_row, node));
        }
    }
}

/* --- Memory: what a row leaves behind is the next one's, if it is large enough. */

static struct cached_row *
row_memory(struct cache *cache, size_t len)
{
    struct cached_row **at = &cache->spare;
    for (int tries = 0; *at && tries < SPARE_TRIES; tries++, at = &(*at)->next[0]) {
        struct cached_row *row = *at;
        if (row->cap >= len && row->cap <= 2 * len + CAP_STEP) {
            *at = row->next[0];
            cache->spare_bytes -= row->cap;
            return row;
        }
    }
    const size_t step = len <= 2 * (size_t)CAP_STEP ? CAP_STEP_SMALL : CAP_STEP;
    const size_t cap = (len + step - 1) / step * step;
    struct cached_row *row = malloc(sizeof *row + cap);
    if (row) {
        row->cap = (uint32_t)cap;
    }
    return row;
}

static void
row_drop(struct cache *cache, struct cached_row *row)
{
    unlink_names(cache, row);
    list_remove(&row->node);
    *bytes_of(cache, row->kind) -= sizeof *row + row->cap;
    cache->count--;
    if (cache->spare_bytes + row->cap > SPARE_BYTES_MAX) {
        free(row);
        return;
    }
    cache->spare_bytes += row->cap;
    row->next[0] = cache->spare;
    cache->spare = row;
}

static void
drop_oldest(struct cache *cache, enum slot_kind kind, size_t bytes_max)
{
    while (*bytes_of(cache, kind) > bytes_max) {
        row_drop(cache, list_entry(ages_of(cache, kind)->prev, struct cached_row, node));
    }
}

void
cache_init(struct cache *cache)
{
    *cache = (struct cache){ .row_bytes_max = CACHE_BYTES_MAX - CACHE_HOLDS_BYTES_MAX,
        .hold_bytes_max = CACHE_HOLDS_BYTES_MAX };
    cache->bucket_count = BUCKETS_MIN;
    cache->buckets = calloc((size_t)NAME_COUNT * BUCKETS_MIN, sizeof(struct cached_row *));
    list_init(&cache->by_age);
    list_init(&cache->holds_by_age);
}

void
cache_clear(struct cache *cache)
{
    drop_oldest(cache, SLOTS_HOLD, 0);
    drop_oldest(cache, SLOTS_METER, 0); /* and all others */
    check(cache->count == 0);
}

void
cache_free(struct cache *cache)
{
    if (!cache->buckets) {
        return;
    }
    cache_clear(cache);
    while (cache->spare) {
        struct cached_row *row = cache->spare;
        cache->spare = row->next[0];
        free(row);
    }
    free(cache->buckets);
    cache->buckets = NULL;
}

/* --- Rows in and out. */

/* The row as it is kept, unpacked into *row; NULL: it is not here. */
static struct cached_row *
find(const struct cache *cache, const struct need *need, union any_row *row)
{
    enum slot_kind kind;
    enum name name;
    if (!cache->buckets || !asked_of(need, &kind, &name)) {
        return NULL;
    }
    const uint64_t hash = hash_of(kind, name, need->id, need->sub_kind, need->text);
    struct cached_row *at = *bucket_of(cache, name, hash);
    for (; at; at = at->next[name]) {
        if (at->hash[name] == hash && at->kind == kind) {
            row_unpack(kind, at->packed, row);
            if (is_needed(need, row)) {
                return at;
            }
        }
    }
    return NULL;
}

/* By its first name. Should another row have that hash, that one is told: it is read again. */
static struct cached_row *
find_same(const struct cache *cache, enum slot_kind kind, const uint64_t hash[NAME_COUNT])
{
    const enum name name = hash[NAME_ID] ? NAME_ID : NAME_TEXT;
    struct cached_row *at = *bucket_of(cache, name, hash[name]);
    while (at && (at->hash[name] != hash[name] || at->kind != kind)) {
        at = at->next[name];
    }
    return at;
}

static void
forget(struct cache *cache, enum slot_kind kind, const union any_row *row)
{
    uint64_t hash[NAME_COUNT];
    hashes_of(kind, row, hash);
    struct cached_row *kept = find_same(cache, kind, hash);
    if (kept) {
        row_drop(cache, kept);
    }
}

static void
make_newest(struct cache *cache, struct cached_row *kept)
{
    list_remove(&kept->node);
    list_push_front(ages_of(cache, kept->kind), &kept->node);
}

static void
add(struct cache *cache, enum slot_kind kind, const uint64_t hash[NAME_COUNT],
    struct cached_row *kept)
{
    kept->kind = kind;
    memcpy(kept->hash, hash, sizeof kept->hash);
    link_names(cache, kept);
    list_init(&kept->node);
    list_push_front(ages_of(cache, kind), &kept->node);
    *bytes_of(cache, kind) += sizeof *kept + kept->cap;
    cache->count++;
    make_buckets(cache);
    drop_oldest(cache, kind, kind == SLOTS_HOLD ? cache->hold_bytes_max : cache->row_bytes_max);
}

static void
keep(struct cache *cache, enum slot_kind kind, const union any_row *row)
{
    unsigned char packed[PACKED_MAX];
    uint64_t hash[NAME_COUNT];
    hashes_of(kind, row, hash);
    struct cached_row *kept = find_same(cache, kind, hash);
    const size_t len = row_pack(kind, row, packed);
    if (kept && len && len <= kept->cap && memcmp(kept->hash, hash, sizeof hash) == 0) {
        kept->len = (uint32_t)len;
        memcpy(kept->packed, packed, len);
        make_newest(cache, kept);
        return;
    }
    if (kept) {
        row_drop(cache, kept);
    }
    kept = len ? row_memory(cache, len) : NULL;
    if (kept) {
        kept->len = (uint32_t)len;
        memcpy(kept->packed, packed, len);
        add(cache, kind, hash, kept);
    }
}

bool
cache_load(struct cache *cache, const struct need *need, struct work *work)
{
    union any_row row;
    struct cached_row *kept = find(cache, need, &row);
    if (!kept) {
        return false;
    }
    make_newest(cache, kept);
    if (kept->kind == SLOTS_HOLD) { /* it may leave before the batch is over */
        row.hold.inputs = work_keep(work, row.hold.inputs);
    }
    work_load(work, need, &row);
    return true;
}

bool
cache_has(const struct cache *cache, const struct need *need)
{
    union any_row row;
    return find(cache, need, &row) != NULL;
}

void
cache_keep(struct cache *cache, const struct need *need, const void *row)
{
    enum slot_kind kind;
    enum name name;
    if (cache->buckets && asked_of(need, &kind, &name)) {
        keep(cache, kind, row);
    }
}

void
cache_forget(struct cache *cache, const struct need *need)
{
    union any_row row;
    struct cached_row *kept = find(cache, need, &row);
    if (kept) {
        row_drop(cache, kept);
    }
}

static const void *
row_of(enum slot_kind kind, const struct slot *slot)
{
    const void *any = slot;
    switch (kind) {
    case SLOTS_ACCOUNT: return &((const struct account_slot *)any)->row;
    case SLOTS_KEY: return &((const struct key_slot *)any)->row;
    case SLOTS_THREAD: return &((const struct thread_slot *)any)->row;
    case SLOTS_SUBJECT: return &((const struct subject_slot *)any)->row;
    case SLOTS_METER: return &((const struct meter_slot *)any)->row;
    case SLOTS_HOLD: return &((const struct hold_slot *)any)->row;
    case SLOTS_REPORTED: return &((const struct reported_slot *)any)->row;
    default: check(!"a kind of row that is not kept");
    }
}

void
cache_commit(struct cache *cache, const struct work *work)
{
    for (int kind = 0; cache->buckets && kind < SLOTS_ISSUED; kind++) {
        for (const struct slot *slot = work->slots[kind].first; slot; slot = slot->next) {
            if (!slot->dirty || slot->state == SLOT_ABSENT) {
                continue;
            }
            if (slot->state == SLOT_DELETED) {
                forget(cache, (enum slot_kind)kind, row_of((enum slot_kind)kind, slot));
            } else {
                keep(cache, (enum slot_kind)kind, row_of((enum slot_kind)kind, slot));
            }
        }
    }
}

void
cache_walk(
    const struct cache *cache, bool (*visit)(void *, enum slot_kind, const void *), void *user)
{
    union any_row row;
    for (size_t i = 0; cache->buckets && i < NAME_COUNT * cache->bucket_count; i++) {
        const enum name name = i < cache->bucket_count ? NAME_ID : NAME_TEXT;
        for (const struct cached_row *at = cache->buckets[i]; at; at = at->next[name]) {
            if (name == NAME_TEXT && at->hash[NAME_ID]) {
                continue; /* seen by its id */
            }
            row_unpack(at->kind, at->packed, &row);
            if (!visit(user, at->kind, &row)) {
                return;
            }
        }
    }
}
