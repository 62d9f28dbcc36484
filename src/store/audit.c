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

static void *
make(struct auditing *auditing, size_t bytes)
{
    void *made = arena_alloc(&auditing->arena, bytes);
    auditing->failed |= made == NULL;
    return made;
}

static void
put(struct auditing *auditing, struct map *map, int64_t id, void *value)
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
        struct known_limit *grown = arena_alloc(&auditing->arena, cap * sizeof *grown);
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
    auditing->limits[auditing->limit_count++] = (struct known_limit){ .row = *row };
}

static void
on_account(void *user, const struct account_row *row)
{
    struct auditing *auditing = user;
    auditing->audit->compared[AUDIT_FILE]++;
    auditing->audit->account_count++;
    look_at_id(auditing, "account", row->account_id);
    put(auditing, &auditing->accounts, row->account_id, auditing);
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
        put(auditing, &auditing->keys, key_id, auditing);
    }
}

static void
on_key(void *user, const struct key_row *row)
{
    struct auditing *auditing = user;
    auditing->audit->compared[AUDIT_FILE]++;
    auditing->audit->key_count++;
    look_at_id(auditing, "key", row->key_id);
    put(auditing, &auditing->keys, row->key_id, auditing);
    expect_account(auditing, "key", row->key_id, row->account_id);
}

static void
on_thread(void *user, const struct thread_row *row)
{
    struct auditing *auditing = user;
    auditing->audit->compared[AUDIT_FILE]++;
    auditing->audit->thread_count++;
    look_at_id(auditing, "thread", row->thread_id);
    put(auditing, &auditing->threads, row->thread_id, auditing);
    expect_account(auditing, "thread", row->thread_id, row->account_id);
    if (row->root_id > row->thread_id) { /* a root is there before its threads */
        (void)audit_find(auditing, AUDIT_REFERENCES,
            "thread %lld has a root, %lld, that came after it", (long long)row->thread_id,
            (long long)row->root_id);
    } else if (!audit_get(&auditing->threads, row->root_id)) {
        (void)audit_find(auditing, AUDIT_REFERENCES,
            "thread %lld has a root, %lld, that is not there", (long long)row->thread_id,
            (long long)row->root_id);
    }
}

/* Keys and trees are known by their number, models by their name, accounts by themselves. */
static uint64_t
subject_hash(enum subject_kind kind, int64_t number, const char *name)
{
    return hash_pair(hash_pair((uint64_t)number, (uint64_t)kind), hash_bytes(slice_str(name)));
}

static uint64_t
hash_of_subject(const struct subject_row *row)
{
    int64_t number = 0;
    const bool numbered = row->kind == SUBJECT_KEY || row->kind == SUBJECT_TREE;
    if (numbered && slice_to_i64(slice_str(row->name), &number)) {
        return subject_hash(row->kind, number, "");
    }
    return subject_hash(row->kind, row->account_id, row->name);
}

static void
on_subject(void *user, const struct subject_row *row)
{
    struct auditing *auditing = user;
    struct known_subject *subject = make(auditing, sizeof(*subject));
    auditing->audit->compared[AUDIT_FILE]++;
    look_at_id(auditing, "subject", row->subject_id);
    expect_account(auditing, "subject", row->subject_id, row->account_id);
    if (!subject) {
        return;
    }
    subject->row = *row;
    put(auditing, &auditing->subjects, row->subject_id, subject);
    auditing->failed |= !map_put(&auditing->subjects_by_name, hash_of_subject(row), subject);
}

static void
on_reported(void *user, const struct reported_row *row)
{
    struct auditing *auditing = user;
    auditing->audit->compared[AUDIT_FILE]++;
    expect_account(auditing, "what is reported of", row->account_id, row->account_id);
}

struct known_limit *
audit_limit(const struct auditing *auditing, int64_t limit_id)
{
    for (size_t i = 0; i < auditing->limit_count; i++) {
        if (auditing->limits[i].row.limit_id == limit_id) {
            return &auditing->limits[i];
        }
    }
    return NULL;
}

static struct sum *
sum_of(struct auditing *auditing, int64_t limit_id, int64_t subject_id, int64_t window_ms)
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
    struct sum *sum = make(auditing, sizeof(*sum));
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
    subject->metered = true;
    for (int32_t i = 0; i < row->meter_count; i++) {
        const struct meter *meter = &row->meters[i];
        struct sum *sum = sum_of(auditing, meter->limit_id, row->subject_id, meter->window_ms);
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
    struct open_call *call = make(auditing, sizeof(*call));
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
    put(auditing, &auditing->holds, row->hold_id, call);
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        struct sum *sum = sum_of(auditing, part->limit_id, part->subject_id, part->window_ms);
        if (sum) {
            sum->held += part->held;
            sum->bound += part->bound;
            sum->calls++;
        }
    }
}

/* --- Costs, booked to the limits that their calls counted against. */

/* A limit of the inputs: what of it a booked call counted for. */
struct counted {
    struct slice name;
    int64_t window_ms;
    int64_t subject_id; /* 0 = it follows from the row */
    int64_t units;      /* requests: the call's weight */
    bool has_delta;
    int64_t delta; /* of a correction */
};

/* The number after `key` in an object; false: it is not there. */
static bool
number_after(struct slice object, struct slice key, int64_t *number)
{
    const ptrdiff_t at = slice_find(object, key);
    struct slice digits = { 0 };
    if (at < 0) {
        return false;
    }
    object = slice_of(object.ptr + at + key.len, object.len - (size_t)at - key.len);
    return slice_split(&object, ',', &digits) && slice_to_i64(digits, number);
}

/* The next limit of the inputs. They were written by us (core's inputs of a decision, or of a correction), so
 * what is not of that form is damage. False: no more. */
static bool
next_limit(struct slice *rest, struct counted *counted)
{
    const struct slice head = SLICE("{\"limit\":\"");
    struct slice object;
    const ptrdiff_t at = slice_find(*rest, head);
    if (at < 0) {
        return false;
    }
    *rest = slice_of(rest->ptr + at + head.len, rest->len - (size_t)at - head.len);
    *counted = (struct counted){ .units = 1 };
    if (!slice_split(rest, '}', &object) || !slice_split(&object, '"', &counted->name)
        || !number_after(object, SLICE(",\"window\":"), &counted->window_ms)) {
        return false;
    }
    (void)number_after(object, SLICE(",\"subject\":"), &counted->subject_id);
    (void)number_after(object, SLICE(",\"units\":"), &counted->units);
    counted->has_delta = number_after(object, SLICE(",\"delta\":"), &counted->delta);
    return true;
}

/* The definition by this name that was in force when the call was allowed; NULL: it was replaced
 * since, and its meters are gone. Ids grow, so a hold's tells. */
static struct known_limit *
limit_of_call(struct auditing *auditing, struct slice name, int64_t hold_id)
{
    for (size_t i = 0; i < auditing->limit_count; i++) {
        struct known_limit *limit = &auditing->limits[i];
        if (slice_eq(slice_str(limit->row.name), name)) {
            return hold_id > limit->row.limit_id ? limit : NULL;
        }
    }
    return NULL;
}

/* Whose meter the row counted for; NULL: *told is false where it does not show. */
static const struct known_subject *
subject_of_call(const struct auditing *auditing, const struct known_limit *limit,
    const struct ledger_row *row, const struct counted *counted, bool *told)
{
    uint64_t hash = 0;
    *told = true;
    if (counted->subject_id) {
        return audit_get(&auditing->subjects, counted->subject_id);
    }
    switch (limit->row.per) {
    case PER_GATEWAY: hash = subject_hash(SUBJECT_GATEWAY, 0, ""); break;
    case PER_ACCOUNT: hash = subject_hash(SUBJECT_ACCOUNT, row->account_id, ""); break;
    case PER_KEY: hash = subject_hash(SUBJECT_KEY, row->key_id, ""); break;
    case PER_THREAD_TREE: hash = subject_hash(SUBJECT_TREE, row->root_id, ""); break;
    case PER_MODEL: hash = subject_hash(SUBJECT_MODEL, 0, row->model); break;
    default: *told = false; return NULL;
    }
    return map_get(&auditing->subjects_by_name, hash);
}

/* A call counts for a limit on requests once, whatever attempts it took: when its hold is over, and not when
 * nothing of it left. */
static int64_t
requests_of(struct auditing *auditing, const struct known_limit *limit,
    const struct ledger_row *row, const struct counted *counted)
{
    const bool nothing_left = row->kind == LEDGER_RELEASE && row->attempt == 0;
    const uint64_t hash =
        hash_pair(hash_pair((uint64_t)row->hold_id, (uint64_t)limit->row.limit_id),
            (uint64_t)counted->subject_id);
    if (nothing_left || audit_get(&auditing->holds, row->hold_id)
        || map_get(&auditing->requests, hash)) {
        return 0;
    }
    auditing->failed |= !map_put(&auditing->requests, hash, auditing);
    return counted->units;
}

/* What the row adds to what the meter has settled. */
static int64_t
settled_by(struct auditing *auditing, const struct known_limit *limit, const struct ledger_row *row,
    const struct counted *counted)
{
    if (row->kind == LEDGER_ADJUST && counted->has_delta) {
        return counted->delta;
    }
    switch (limit->row.counts) {
    case COUNT_COST: return row->cost_micros;
    case COUNT_TOKENS: return usage_input_total(&row->usage) + row->usage.output;
    case COUNT_REQUESTS:
        return row->kind == LEDGER_ADJUST ? 0 : requests_of(auditing, limit, row, counted);
    default: return 0; /* what is in flight settles nothing */
    }
}

void
audit_book(struct auditing *auditing, const struct ledger_row *row, struct slice inputs)
{
    struct slice rest = inputs;
    struct counted counted;
    while (next_limit(&rest, &counted)) {
        bool told = false;
        const struct known_limit *limit =
            limit_of_call(auditing, counted.name, row->hold_id ? row->hold_id : row->id);
        if (!limit || limit->row.window == WINDOW_BUCKET) { /* a level drains: no sum of rows */
            continue;
        }
        const int64_t settled = settled_by(auditing, limit, row, &counted);
        if (settled == 0) {
            continue;
        }
        const struct known_subject *subject =
            subject_of_call(auditing, limit, row, &counted, &told);
        if (!subject && told) {
            (void)audit_find(auditing, AUDIT_REFERENCES,
                "ledger row %lld counted for limit '%s', but its subject is not there",
                (long long)row->id, limit->row.name);
        }
        struct sum *sum = subject ? sum_of(auditing, limit->row.limit_id, subject->row.subject_id,
                              counted.window_ms)
                                  : NULL;
        if (sum) {
            sum->settled += settled;
        }
        auditing->audit->unknown_count += !told;
    }
}

static bool
inputs_name_limits(struct slice inputs)
{
    return slice_find(inputs, SLICE("\"limits\":[")) >= 0;
}

/* A cost whose row does not say what it counts for: for what the call's other rows do. */
static void
keep_lone_cost(struct auditing *auditing, const struct ledger_row *row)
{
    struct lone_cost *cost = make(auditing, sizeof(*cost));
    if (cost) {
        *cost = (struct lone_cost){ .row = *row,
            .same_call = audit_get(&auditing->lone_by_hold, row->hold_id),
            .next = auditing->lone_costs };
        cost->row.inputs = (struct slice){ 0 };
        auditing->lone_costs = cost;
        put(auditing, &auditing->lone_by_hold, row->hold_id, cost);
    }
}

static void
book_call(struct auditing *auditing, const struct ledger_row *row)
{
    audit_book(auditing, row, row->inputs);
    if (row->kind == LEDGER_ADJUST) {
        return; /* it says what itself moved, no more */
    }
    for (struct lone_cost *cost = audit_get(&auditing->lone_by_hold, row->hold_id); cost;
         cost = cost->same_call) {
        audit_book(auditing, &cost->row, row->inputs);
        cost->row.cost_micros = 0;
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
    const bool tells = inputs_name_limits(row->inputs);
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
        book_call(auditing, row);
    } else if (row->cost_micros != 0) {
        keep_lone_cost(auditing, row);
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
