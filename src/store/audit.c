/* store/audit.c: sums over holds and ledger, and what rows say of each other. */
#include "store/audit_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/place.h"
#include "store/store_priv.h"

static const struct {
    const char *word, *help;
} parts[] = {
#define AUDIT_PART_ROW(id, word, help) { word, help },
    AUDIT_PARTS(AUDIT_PART_ROW)
#undef AUDIT_PART_ROW
};

const char *
audit_part_word(enum audit_part part)
{
    return parts[part].word;
}

const char *
audit_part_help(enum audit_part part)
{
    return parts[part].help;
}

void *
audit_make(struct auditing *auditing, size_t bytes)
{
    void *made = arena_alloc(&auditing->arena, bytes);
    auditing->failed |= made == NULL;
    return made;
}

void
audit_put(struct auditing *auditing, struct map *map, int64_t id, void *value)
{
    auditing->failed |= !map_put(map, hash_pair((uint64_t)id, 0), value);
}

void *
audit_get(const struct map *map, int64_t id)
{
    return map_get(map, hash_pair((uint64_t)id, 0));
}

/* --- Findings. */

struct audit_finding *
audit_find(struct auditing *auditing, enum audit_part part, const char *format, ...)
{
    struct audit *audit = auditing->audit;
    va_list args;
    audit->different[part]++;
    audit->difference_count++;
    if (audit->finding_count == AUDIT_FINDINGS_MAX) {
        return NULL;
    }
    struct audit_finding *finding = &audit->findings[audit->finding_count++];
    finding->part = part;
    va_start(args, format);
    (void)vsnprintf(finding->what, sizeof(finding->what), format, args);
    va_end(args);
    return finding;
}

void
audit_amounts(struct audit_finding *finding, bool is_money, int64_t stored, int64_t expected)
{
    if (finding) {
        finding->has_amounts = true;
        finding->is_money = is_money;
        finding->stored = stored;
        finding->expected = expected;
    }
}

/* An id of an epoch that was never handed out would be given once more. */
static void
look_at_id(struct auditing *auditing, const char *what, int64_t id)
{
    auditing->audit->compared[AUDIT_IDS]++;
    if ((id >> ID_COUNTER_BITS) > auditing->audit->epoch) {
        (void)audit_find(auditing, AUDIT_IDS,
            "%s %lld is of epoch %lld, but only %lld were handed out: ids could be given twice",
            what, (long long)id, (long long)(id >> ID_COUNTER_BITS),
            (long long)auditing->audit->epoch);
    }
}

/* --- Rows as they come. */

static void
on_damage(void *user, const char *what)
{
    (void)audit_find(user, AUDIT_FILE, "%s", what);
}

static bool
on_progress(void *user, const char *doing, int64_t done, int64_t total)
{
    struct auditing *auditing = user;
    return !auditing->failed
           && (!auditing->progress || auditing->progress(auditing->user, doing, done, total));
}

static void
on_own(void *user, const struct inspected *own)
{
    struct audit *audit = ((struct auditing *)user)->audit;
    audit->schema_version = own->schema_version;
    audit->bytes = own->bytes;
    audit->epoch = own->epoch;
    audit->high_water_ms = own->high_water_ms;
}

static void
on_node(void *user, const struct node_row *row)
{
    struct auditing *auditing = user;
    struct audit *audit = auditing->audit;
    audit->compared[AUDIT_IDS]++;
    audit->high_water_ms = max_i64(audit->high_water_ms, row->high_water_ms);
    if (row->epoch > audit->epoch) {
        (void)audit_find(auditing, AUDIT_IDS,
            "the gateway's row is of epoch %lld, the last one handed out is %lld",
            (long long)row->epoch, (long long)audit->epoch);
    }
}

static void
on_limit_def(void *user, const struct limit_def_row *row)
{
    struct auditing *auditing = user;
    auditing->audit->compared[AUDIT_FILE]++;
    look_at_id(auditing, "limit", row->limit_id);
    if (auditing->limit_count == auditing->limit_cap) {
        const size_t cap = auditing->limit_cap ? auditing->limit_cap * 2 : 64;
        struct limit_def_row *grown = arena_alloc(&auditing->arena, cap * sizeof *grown);
        if (!grown) {
            auditing->failed = true;
            return;
        }
        if (auditing->limit_count > 0) {
            memcpy(grown, auditing->limits, auditing->limit_count * sizeof *grown);
        }
        auditing->limits = grown;
        auditing->limit_cap = cap;
    }
    auditing->limits[auditing->limit_count++] = *row;
}

static void
on_account(void *user, const struct account_row *row)
{
    struct auditing *auditing = user;
    auditing->audit->compared[AUDIT_FILE]++;
    auditing->audit->account_count++;
    look_at_id(auditing, "account", row->account_id);
    audit_put(auditing, &auditing->accounts, row->account_id, auditing);
}

static void
expect_account(struct auditing *auditing, const char *what, int64_t id, int64_t account_id)
{
    auditing->audit->compared[AUDIT_REFERENCES]++;
    if (account_id != 0 && !audit_get(&auditing->accounts, account_id)) {
        (void)audit_find(auditing, AUDIT_REFERENCES,
            "%s %lld belongs to account %lld, which is not there", what, (long long)id,
            (long long)account_id);
    }
}

/* Keys are revoked, never removed: whoever is named once is there. Told once a key. */
static void
expect_key(struct auditing *auditing, const char *what, int64_t id, int64_t key_id)
{
    auditing->audit->compared[AUDIT_REFERENCES]++;
    if (key_id != 0 && !audit_get(&auditing->keys, key_id)) {
        (void)audit_find(auditing, AUDIT_REFERENCES, "%s %lld is of key %lld, which is not there",
            what, (long long)id, (long long)key_id);
        audit_put(auditing, &auditing->keys, key_id, auditing);
    }
}

static void
on_key(void *user, const struct key_row *row)
{
    struct auditing *auditing = user;
    auditing->audit->compared[AUDIT_FILE]++;
    auditing->audit->key_count++;
    look_at_id(auditing, "key", row->key_id);
    audit_put(auditing, &auditing->keys, row->key_id, auditing);
    expect_account(auditing, "key", row->key_id, row->account_id);
}

static void
on_thread(void *user, const struct thread_row *row)
{
    struct auditing *auditing = user;
    auditing->audit->compared[AUDIT_FILE]++;
    auditing->audit->thread_count++;
    look_at_id(auditing, "thread", row->thread_id);
    audit_put(auditing, &auditing->threads, row->thread_id, auditing);
    expect_account(auditing, "thread", row->thread_id, row->account_id);
    if (!audit_get(&auditing->threads, row->root_id)) {
        /* Another gateway's numbers may be larger, also of what it made before. */
        struct branch *branch = audit_make(auditing, sizeof *branch);
        if (branch) {
            *branch = (struct branch){ auditing->branches, row->thread_id, row->root_id };
            auditing->branches = branch;
        }
    }
}

static void
judge_branches(struct auditing *auditing)
{
    for (const struct branch *branch = auditing->branches; branch; branch = branch->next) {
        if (!audit_get(&auditing->threads, branch->root_id)) {
            (void)audit_find(auditing, AUDIT_REFERENCES,
                "thread %lld has a root, %lld, that is not there", (long long)branch->thread_id,
                (long long)branch->root_id);
        }
    }
}

/* Keys and trees are known by their number, models by their name, accounts by themselves. */
uint64_t
audit_subject_hash(enum subject_kind kind, int64_t number, const char *name)
{
    return hash_pair(hash_pair((uint64_t)number, (uint64_t)kind), hash_bytes(slice_str(name)));
}

static uint64_t
hash_of_subject(const struct subject_row *row)
{
    int64_t number = 0;
    const bool numbered = row->kind == SUBJECT_KEY || row->kind == SUBJECT_TREE;
    if (numbered && slice_to_i64(slice_str(row->name), &number)) {
        return audit_subject_hash(row->kind, number, "");
    }
    return audit_subject_hash(row->kind, row->account_id, row->name);
}

static void
on_subject(void *user, const struct subject_row *row)
{
    struct auditing *auditing = user;
    struct known_subject *subject = audit_make(auditing, sizeof(*subject));
    auditing->audit->compared[AUDIT_FILE]++;
    look_at_id(auditing, "subject", row->subject_id);
    expect_account(auditing, "subject", row->subject_id, row->account_id);
    if (!subject) {
        return;
    }
    subject->row = *row;
    audit_put(auditing, &auditing->subjects, row->subject_id, subject);
    auditing->failed |= !map_put(&auditing->subjects_by_name, hash_of_subject(row), subject);
}

static void
on_reported(void *user, const struct reported_row *row)
{
    struct auditing *auditing = user;
    auditing->audit->compared[AUDIT_FILE]++;
    expect_account(auditing, "what is reported of", row->account_id, row->account_id);
}

const struct limit_def_row *
audit_limit(const struct auditing *auditing, int64_t limit_id)
{
    for (size_t i = 0; i < auditing->limit_count; i++) {
        if (auditing->limits[i].limit_id == limit_id && auditing->limits[i].until_ms == 0) {
            return &auditing->limits[i];
        }
    }
    return NULL;
}

struct sum *
audit_sum_of(struct auditing *auditing, int64_t limit_id, int64_t subject_id, int64_t window_ms)
{
    const uint64_t hash =
        hash_pair(hash_pair((uint64_t)limit_id, (uint64_t)subject_id), (uint64_t)window_ms);
    struct sum *first = map_get(&auditing->sums, hash);
    for (struct sum *sum = first; sum; sum = sum->same_hash) {
        if (sum->limit_id == limit_id && sum->subject_id == subject_id
            && sum->window_ms == window_ms) {
            return sum;
        }
    }
    struct sum *sum = audit_make(auditing, sizeof(*sum));
    if (!sum) {
        return NULL;
    }
    *sum = (struct sum){ .limit_id = limit_id,
        .subject_id = subject_id,
        .window_ms = window_ms,
        .same_hash = first,
        .next = auditing->sum_list };
    auditing->sum_list = sum;
    auditing->failed |= !map_put(&auditing->sums, hash, sum);
    return sum;
}

/* A sum that is only compared may wrap. */
static void
add_up(int64_t *sum, int64_t value)
{
    (void)__builtin_add_overflow(*sum, value, sum);
}

static void
on_meter(void *user, const struct meter_row *row)
{
    struct auditing *auditing = user;
    struct known_subject *subject = audit_get(&auditing->subjects, row->subject_id);
    auditing->audit->compared[AUDIT_FILE]++;
    auditing->audit->compared[AUDIT_REFERENCES]++;
    if (!subject) {
        (void)audit_find(auditing, AUDIT_REFERENCES, "meters of subject %lld, which is not there",
            (long long)row->subject_id);
        return;
    }
    for (int32_t i = 0; i < row->meter_count; i++) {
        const struct meter *meter = &row->meters[i];
        struct sum *sum =
            audit_sum_of(auditing, meter->limit_id, row->subject_id, meter->window_ms);
        auditing->audit->meter_count++;
        add_up(&auditing->audit->meters_settled, meter->settled);
        add_up(&auditing->audit->meters_held, meter->held);
        if (sum) {
            sum->stored = true;
            sum->meter = *meter;
        }
    }
}

static void
on_hold(void *user, const struct hold_row *row)
{
    struct auditing *auditing = user;
    struct audit *audit = auditing->audit;
    struct open_call *call = audit_make(auditing, sizeof(*call));
    audit->compared[AUDIT_FILE]++;
    audit->hold_count++;
    audit->held_micros += row->held_micros;
    look_at_id(auditing, "hold", row->hold_id);
    expect_account(auditing, "hold", row->hold_id, row->account_id);
    if (row->epoch > audit->epoch) {
        (void)audit_find(auditing, AUDIT_IDS,
            "hold %lld is of epoch %lld, but only %lld were handed out", (long long)row->hold_id,
            (long long)row->epoch, (long long)audit->epoch);
    }
    expect_key(auditing, "hold", row->hold_id, row->key_id);
    if (!call) {
        return;
    }
    call->row = *row;
    call->inputs = arena_strdup(&auditing->arena, row->inputs);
    auditing->failed |= !call->inputs;
    call->row.inputs = slice_str(call->inputs);
    call->next = auditing->open_calls;
    auditing->open_calls = call;
    audit_put(auditing, &auditing->holds, row->hold_id, call);
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        if (part_rests(part) || (part->to > 0 && part->held == 0)) {
            continue; /* the attempt that is open is at another provider */
        }
        struct sum *sum = audit_sum_of(auditing, part->limit_id, part->subject_id, part->window_ms);
        if (sum) {
            sum->held += part->held;
            sum->bound += part->bound;
            sum->holds |= part->held > 0 || part->bound > 0;
        }
    }
}

static void
keep_booked(struct auditing *auditing, const struct ledger_row *row)
{
    struct bookings *booked = &auditing->booked;
    if (booked->count == booked->cap) {
        const size_t cap = booked->cap ? booked->cap * 2 : 4096;
        struct booked *grown = realloc(booked->items, cap * sizeof(*grown));
        if (!grown) {
            auditing->failed = true;
            return;
        }
        booked->items = grown;
        booked->cap = cap;
    }
    booked->items[booked->count++] =
        (struct booked){ .hold_id = row->hold_id, .attempt = row->attempt };
}

/* An attempt that may be billed is booked when the next one begins; the last one with its hold's end. */
static bool
ends_open_call(struct auditing *auditing, const struct ledger_row *row)
{
    const struct open_call *call = audit_get(&auditing->holds, row->hold_id);
    return call && row->attempt + 1 >= call->row.attempt_count;
}

static void
on_ledger(void *user, const struct ledger_row *row)
{
    struct auditing *auditing = user;
    struct audit *audit = auditing->audit;
    audit->compared[AUDIT_FILE]++;
    audit->ledger_count++;
    look_at_id(auditing, "ledger row", row->id);
    expect_account(auditing, "ledger row", row->id, row->account_id);
    expect_key(auditing, "ledger row", row->id, row->key_id);
    const bool adjusts = row->kind == LEDGER_ADJUST;
    if (row->hold_id == 0 && !adjusts) {
        return;
    }
    audit->cost_micros += row->cost_micros;
    const bool tells = audit_inputs_name_limits(row->inputs);
    if (tells && !adjusts) {
        keep_booked(auditing, row);
        if (ends_open_call(auditing, row)) {
            (void)audit_find(auditing, AUDIT_ONCE,
                "the call req_%lld is booked (ledger row %lld) and its hold is open all the same: "
                "the next start would book it once more",
                (long long)row->hold_id, (long long)row->id);
        }
    }
    if (tells) {
        audit_book_call(auditing, row);
    } else if (row->cost_micros != 0) {
        audit_keep_lone_cost(auditing, row);
    }
}

/* --- All of it. */

static void
auditing_free(struct auditing *auditing)
{
    map_free(&auditing->requests);
    map_free(&auditing->sums);
    map_free(&auditing->subjects);
    map_free(&auditing->subjects_by_name);
    map_free(&auditing->accounts);
    map_free(&auditing->keys);
    map_free(&auditing->threads);
    map_free(&auditing->holds);
    map_free(&auditing->lone_by_hold);
    arena_free(&auditing->arena);
    free(auditing->booked.items);
    free(auditing);
}

static enum status
no_memory(struct store_error *error)
{
    return store_fail(error->text, STATUS_FULL, "no memory to check a store");
}

static enum status
audit_all(
    struct auditing *auditing, audit_inspect *inspect, void *source, struct store_error *error)
{
    struct inspected inspected;
    const struct inspector inspector = { .user = auditing,
        .damage = on_damage,
        .progress = on_progress,
        .own = on_own,
        .node = on_node,
        .limit_def = on_limit_def,
        .account = on_account,
        .key = on_key,
        .thread = on_thread,
        .subject = on_subject,
        .meter = on_meter,
        .reported = on_reported,
        .hold = on_hold,
        .ledger = on_ledger };
    const enum status status = inspect(source, &inspector, &inspected, error);
    if (status == STATUS_OK && !auditing->failed) {
        auditing->kept_from_ms = auditing->audit->kept_from_ms = inspected.kept_from_ms;
        judge_branches(auditing);
        audit_judge(auditing);
    }
    return auditing->failed ? no_memory(error) : status;
}

enum status
audit_source(audit_inspect *inspect, void *source, audit_progress *progress, void *user,
    struct audit *audit, struct store_error *error)
{
    *audit = (struct audit){ 0 };
    struct auditing *auditing = calloc(1, sizeof(*auditing));
    audit->findings = calloc(AUDIT_FINDINGS_MAX, sizeof(*audit->findings));
    if (!auditing || !audit->findings) {
        free(auditing);
        store_audit_free(audit);
        return no_memory(error);
    }
    auditing->audit = audit;
    auditing->progress = progress;
    auditing->user = user;
    const enum status status = audit_all(auditing, inspect, source, error);
    auditing_free(auditing);
    if (status != STATUS_OK) {
        store_audit_free(audit);
    }
    return status;
}

struct named_source {
    const char *name; /* a path or a URL */
};

static enum status
inspect_file(void *source, const struct inspector *inspector, struct inspected *inspected,
    struct store_error *error)
{
    const struct named_source *file = source;
    return sqlite_inspect(file->name, inspector, inspected, error);
}

static enum status
inspect_database(void *source, const struct inspector *inspector, struct inspected *inspected,
    struct store_error *error)
{
    const struct named_source *database = source;
    return postgres_inspect(database->name, inspector, inspected, error);
}

enum status
store_audit(const char *url, audit_progress *progress, void *user, struct audit *audit,
    struct store_error *error)
{
    struct named_source file = { store_url_path(url) };
    struct named_source database = { url };
    *audit = (struct audit){ 0 };
    error->text[0] = '\0';
    if (store_url_is_postgres(url)) {
        return audit_source(inspect_database, &database, progress, user, audit, error);
    }
    return file.name ? audit_source(inspect_file, &file, progress, user, audit, error)
                     : store_fail(error->text, STATUS_NOT_FOUND, "'%s' is no store on a disk", url);
}

void
store_audit_free(struct audit *audit)
{
    free(audit->findings);
    *audit = (struct audit){ 0 };
}
