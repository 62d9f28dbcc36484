/* store/audit.c: sums over holds and ledger beside what the meters say.
 *
 * What a limit counts shows in its traces, so that it need not be known: a cost limit has calendar
 * windows or stands per thread tree; of the others a bucket's meter carries the time of its last
 * drain, one of calls in flight the window 0. Which subject a call counted against follows from the
 * kind of subject that has meters of the limit. */
#include "store/audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/civil.h"
#include "base/map.h"
#include "store/inspect_priv.h"
#include "store/store_priv.h"

#define SURELY_OPEN_MS (23 * HOUR_MS) /* the shortest calendar window */

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

/* A meter as it is stored, and as the rows have it. */
struct sum {
    int64_t limit_id, subject_id, window_ms;
    bool stored;
    struct meter meter;
    int64_t settled, held, bound, calls;
    struct sum *same_hash, *next;
};

/* What a limit counts, as its traces show it. */
enum form { FORM_CALENDAR_COST, FORM_TREE_COST, FORM_BUCKET, FORM_IN_FLIGHT };

struct known_limit {
    struct limit_def_row row;
    bool metered; /* some subject has a meter of it: */
    enum subject_kind per;
    bool windowed;       /* a meter of it has a window, or the time of a drain */
    bool called_without; /* calls counted against it without a window */
};

struct known_subject {
    struct subject_row row;
    bool metered;
    struct known_subject *same_hash;
};

/* A call: its hold while it is open, and costs whose row does not say which limits they count for. */
struct open_call {
    struct hold_row row;
    char *inputs;
    struct open_call *next;
};
struct lone_cost {
    struct ledger_row row;
    struct lone_cost *same_call, *next;
};

struct ids {
    int64_t *items;
    size_t count, cap;
};

struct auditing {
    struct audit *audit;
    audit_progress *progress;
    void *user;
    struct arena arena;
    bool failed; /* no memory */
    struct map sums, subjects, subjects_by_name, accounts, keys, threads, holds, lone_by_hold;
    struct sum *sum_list;
    struct open_call *open_calls;
    struct lone_cost *lone_costs;
    struct known_limit limits[256];
    size_t limit_count;
    struct ids resolved;
};

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

static void *
get(const struct map *map, int64_t id)
{
    return map_get(map, hash_pair((uint64_t)id, 0));
}

/* --- Findings. */

static struct audit_finding *find(
    struct auditing *auditing, enum audit_part part, const char *format, ...) PRINTF_LIKE(3, 4);

/* NULL where there are too many to keep; they are counted. */
static struct audit_finding *
find(struct auditing *auditing, enum audit_part part, const char *format, ...)
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

static void
with_amounts(struct audit_finding *finding, bool is_money, int64_t stored, int64_t expected)
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
        (void)find(auditing, AUDIT_IDS,
            "%s %lld is of epoch %lld, but only %lld were handed out: ids could be given twice",
            what, (long long)id, (long long)(id >> ID_COUNTER_BITS),
            (long long)auditing->audit->epoch);
    }
}

/* --- Rows as they come. */

static void
on_damage(void *user, const char *what)
{
    (void)find(user, AUDIT_FILE, "%s", what);
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
    audit->high_water_ms = own->started ? own->node.high_water_ms : 0;
}

static void
on_limit_def(void *user, const struct limit_def_row *row)
{
    struct auditing *auditing = user;
    auditing->audit->compared[AUDIT_FILE]++;
    look_at_id(auditing, "limit", row->limit_id);
    if (auditing->limit_count == countof(auditing->limits)) {
        auditing->failed = true;
        return;
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
    if (account_id != 0 && !get(&auditing->accounts, account_id)) {
        (void)find(auditing, AUDIT_REFERENCES,
            "%s %lld belongs to account %lld, which is not there", what, (long long)id,
            (long long)account_id);
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
        (void)find(auditing, AUDIT_REFERENCES, "thread %lld has a root, %lld, that came after it",
            (long long)row->thread_id, (long long)row->root_id);
    } else if (!get(&auditing->threads, row->root_id)) {
        (void)find(auditing, AUDIT_REFERENCES, "thread %lld has a root, %lld, that is not there",
            (long long)row->thread_id, (long long)row->root_id);
    }
}

static uint64_t
subject_hash(enum subject_kind kind, int64_t account_id, int64_t number)
{
    return hash_pair(hash_pair((uint64_t)account_id, (uint64_t)kind), (uint64_t)number);
}

/* Keys and trees are named by their number; a model's name is not looked for. */
static int64_t
subject_number(const struct subject_row *row)
{
    int64_t number = 0;
    const bool numbered = row->kind == SUBJECT_KEY || row->kind == SUBJECT_TREE;
    return numbered && slice_to_i64(slice_str(row->name), &number) ? number : 0;
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
    if (row->kind != SUBJECT_MODEL) {
        const uint64_t hash = subject_hash(row->kind, row->account_id, subject_number(row));
        auditing->failed |= !map_put(&auditing->subjects_by_name, hash, subject);
    }
}

static struct known_limit *
limit_by_id(struct auditing *auditing, int64_t limit_id)
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

static void
on_meter(void *user, const struct meter_row *row)
{
    struct auditing *auditing = user;
    struct known_subject *subject = get(&auditing->subjects, row->subject_id);
    auditing->audit->compared[AUDIT_FILE]++;
    auditing->audit->compared[AUDIT_REFERENCES]++;
    if (!subject) {
        (void)find(auditing, AUDIT_REFERENCES, "meters of subject %lld, which is not there",
            (long long)row->subject_id);
        return;
    }
    subject->metered = true;
    for (int32_t i = 0; i < row->meter_count; i++) {
        const struct meter *meter = &row->meters[i];
        struct known_limit *limit = limit_by_id(auditing, meter->limit_id);
        struct sum *sum = sum_of(auditing, meter->limit_id, row->subject_id, meter->window_ms);
        auditing->audit->meter_count++;
        if (limit) {
            limit->metered = true;
            limit->per = subject->row.kind;
            limit->windowed |= meter->window_ms != 0;
        }
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
        (void)find(auditing, AUDIT_IDS, "hold %lld is of epoch %lld, but only %lld were handed out",
            (long long)row->hold_id, (long long)row->epoch, (long long)audit->epoch);
    }
    if (!get(&auditing->keys, row->key_id)) {
        (void)find(auditing, AUDIT_REFERENCES, "hold %lld is of key %lld, which is not there",
            (long long)row->hold_id, (long long)row->key_id);
    }
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
        struct known_limit *limit = limit_by_id(auditing, part->limit_id);
        if (limit) {
            limit->called_without |= part->window_ms == 0;
        }
        if (sum) {
            sum->held += part->held;
            sum->bound += part->bound;
            sum->calls++;
        }
    }
}

/* --- Costs, booked to the limits that their calls counted against. */

/* The next limit of the inputs: its name and window. They were written by us (core's inputs of a
 * decision), so what is not of that form is damage. False: no more. */
static bool
next_limit(struct slice *rest, struct slice *name, int64_t *window_ms)
{
    const struct slice head = SLICE("{\"limit\":\"");
    const struct slice window = SLICE(",\"window\":");
    struct slice object;
    const ptrdiff_t at = slice_find(*rest, head);
    if (at < 0) {
        return false;
    }
    *rest = slice_of(rest->ptr + at + head.len, rest->len - (size_t)at - head.len);
    if (!slice_split(rest, '}', &object)) {
        return false;
    }
    const ptrdiff_t value = slice_find(object, window);
    *name = object;
    if (value < 0 || !slice_split(&object, '"', name)) {
        return false;
    }
    const char *digits = name->ptr + name->len + 1;
    object = slice_of(digits, object.len);
    const ptrdiff_t from = slice_find(object, window);
    if (from < 0) {
        return false;
    }
    const size_t skipped = (size_t)from + window.len;
    return slice_to_i64(slice_of(object.ptr + skipped, object.len - skipped), window_ms);
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

static enum form
form_of(const struct known_limit *limit)
{
    if (limit->metered && limit->per == SUBJECT_TREE) {
        return FORM_TREE_COST;
    }
    if (limit->called_without) {
        return limit->windowed ? FORM_BUCKET : FORM_IN_FLIGHT;
    }
    return limit->windowed || !limit->metered ? FORM_CALENDAR_COST : FORM_IN_FLIGHT;
}

static struct known_subject *
subject_of_call(
    struct auditing *auditing, const struct known_limit *limit, const struct ledger_row *row)
{
    const enum subject_kind per = limit->metered ? limit->per : SUBJECT_ACCOUNT;
    const int64_t account_id = per == SUBJECT_GATEWAY ? 0 : row->account_id;
    const int64_t number = per == SUBJECT_TREE  ? row->root_id
                           : per == SUBJECT_KEY ? row->key_id
                                                : 0;
    return map_get(&auditing->subjects_by_name, subject_hash(per, account_id, number));
}

/* Adds the cost of `row` to the meters of the limits in `inputs`. */
static void
book(struct auditing *auditing, const struct ledger_row *row, struct slice inputs)
{
    struct slice rest = inputs;
    struct slice name;
    int64_t window_ms = 0;
    while (next_limit(&rest, &name, &window_ms)) {
        struct known_limit *limit = limit_of_call(auditing, name, row->hold_id);
        if (!limit) {
            continue;
        }
        limit->called_without |= window_ms == 0;
        const bool tree = limit->metered && limit->per == SUBJECT_TREE;
        if (row->cost_micros == 0 || (window_ms == 0 && !tree)) {
            continue; /* requests and calls in flight settle nothing */
        }
        const struct known_subject *subject = subject_of_call(auditing, limit, row);
        if (!subject) {
            (void)find(auditing, AUDIT_REFERENCES,
                "ledger row %lld counted for limit '%s', but its subject is not there",
                (long long)row->id, limit->row.name);
            continue;
        }
        struct sum *sum = sum_of(auditing, limit->row.limit_id, subject->row.subject_id, window_ms);
        if (sum) {
            sum->settled += row->cost_micros;
        }
    }
}

static bool
inputs_name_limits(struct slice inputs)
{
    return slice_find(inputs, SLICE("\"limits\":[")) >= 0;
}

/* An attempt that was billed before the call's last one: it counts for what that counts for. */
static void
keep_lone_cost(struct auditing *auditing, const struct ledger_row *row)
{
    struct lone_cost *cost = make(auditing, sizeof(*cost));
    if (cost) {
        *cost = (struct lone_cost){ .row = *row,
            .same_call = get(&auditing->lone_by_hold, row->hold_id),
            .next = auditing->lone_costs };
        cost->row.inputs = (struct slice){ 0 };
        auditing->lone_costs = cost;
        put(auditing, &auditing->lone_by_hold, row->hold_id, cost);
    }
}

static void
book_call(struct auditing *auditing, const struct ledger_row *row)
{
    book(auditing, row, row->inputs);
    for (struct lone_cost *cost = get(&auditing->lone_by_hold, row->hold_id); cost;
         cost = cost->same_call) {
        book(auditing, &cost->row, row->inputs);
        cost->row.cost_micros = 0;
    }
}

static void
keep_resolved(struct auditing *auditing, int64_t hold_id)
{
    struct ids *ids = &auditing->resolved;
    if (ids->count == ids->cap) {
        const size_t cap = ids->cap ? ids->cap * 2 : 4096;
        int64_t *grown = realloc(ids->items, cap * sizeof(*grown));
        if (!grown) {
            auditing->failed = true;
            return;
        }
        ids->items = grown;
        ids->cap = cap;
    }
    ids->items[ids->count++] = hold_id;
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
    if (row->hold_id == 0) {
        return;
    }
    audit->cost_micros += row->cost_micros;
    const bool last = inputs_name_limits(row->inputs); /* a call's last row alone has them */
    if (last && row->kind != LEDGER_ADJUST) {
        keep_resolved(auditing, row->hold_id);
        if (get(&auditing->holds, row->hold_id)) {
            (void)find(auditing, AUDIT_ONCE,
                "the call req_%lld is booked (ledger row %lld) and its hold is open all the same: "
                "the next start would book it once more",
                (long long)row->hold_id, (long long)row->id);
        }
    }
    if (last) {
        book_call(auditing, row);
    } else if (row->cost_micros != 0) {
        keep_lone_cost(auditing, row);
    }
}

/* --- After all rows. */

static int
compare_ids(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a;
    const int64_t right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static void
judge_resolved(struct auditing *auditing)
{
    struct ids *ids = &auditing->resolved;
    auditing->audit->compared[AUDIT_ONCE] = (int64_t)ids->count;
    auditing->audit->call_count = (int64_t)ids->count;
    if (ids->count > 1) {
        qsort(ids->items, ids->count, sizeof(*ids->items), compare_ids);
    }
    for (size_t i = 1; i < ids->count; i++) {
        if (ids->items[i] == ids->items[i - 1]) {
            (void)find(auditing, AUDIT_ONCE, "the call req_%lld is booked twice",
                (long long)ids->items[i]);
        }
    }
}

/* Of a call that is still open: its hold says which limits it counts for. */
static void
judge_lone_costs(struct auditing *auditing)
{
    for (struct lone_cost *cost = auditing->lone_costs; cost; cost = cost->next) {
        const struct open_call *call = get(&auditing->holds, cost->row.hold_id);
        if (call) {
            book(auditing, &cost->row, call->row.inputs);
        }
    }
}

static void
name_subject(const struct auditing *auditing, int64_t subject_id, char out[96])
{
    const struct known_subject *subject = get(&auditing->subjects, subject_id);
    if (!subject) {
        (void)snprintf(out, 96, "subject %lld, which is not there", (long long)subject_id);
        return;
    }
    const struct subject_row *row = &subject->row;
    switch (row->kind) {
    case SUBJECT_GATEWAY: (void)snprintf(out, 96, "the gateway"); break;
    case SUBJECT_ACCOUNT:
        (void)snprintf(out, 96, "account %lld", (long long)row->account_id);
        break;
    case SUBJECT_KEY: (void)snprintf(out, 96, "key_%.40s", row->name); break;
    case SUBJECT_TREE: (void)snprintf(out, 96, "the tree of thr_%.40s", row->name); break;
    default: (void)snprintf(out, 96, "model %.80s", row->name); break;
    }
}

static void
name_sum(struct auditing *auditing, const struct sum *sum, char out[320])
{
    char subject[96];
    char window[32] = "";
    const struct known_limit *limit = limit_by_id(auditing, sum->limit_id);
    name_subject(auditing, sum->subject_id, subject);
    if (sum->window_ms != 0) {
        civil_rfc3339(sum->window_ms, false, window);
    }
    (void)snprintf(out, 320, "limit '%s' of %s%s%s", limit ? limit->row.name : "(replaced)",
        subject, window[0] ? ", window from " : "", window);
}

/* A window that is over may have left its row; one that cannot be over must be there. */
static bool
must_be_stored(const struct auditing *auditing, const struct sum *sum)
{
    const struct known_subject *subject = get(&auditing->subjects, sum->subject_id);
    const int64_t now_ms = auditing->audit->high_water_ms;
    return sum->calls > 0 || !subject || !subject->metered || sum->window_ms == 0
           || now_ms - sum->window_ms < SURELY_OPEN_MS;
}

static void
judge_missing(struct auditing *auditing, const struct known_limit *limit, const struct sum *sum)
{
    char where[320];
    if (form_of(limit) == FORM_BUCKET || !must_be_stored(auditing, sum)) {
        return;
    }
    name_sum(auditing, sum, where);
    with_amounts(find(auditing, sum->calls > 0 ? AUDIT_HELD : AUDIT_SETTLED,
                     "%s: its meter is not there, though calls count against it", where),
        form_of(limit) != FORM_IN_FLIGHT, 0, sum->settled + sum->held);
}

static void
judge_cost(struct auditing *auditing, const struct sum *sum)
{
    char where[320];
    name_sum(auditing, sum, where);
    auditing->audit->compared[AUDIT_SETTLED]++;
    auditing->audit->compared[AUDIT_HELD]++;
    if (sum->meter.settled != sum->settled) {
        with_amounts(find(auditing, AUDIT_SETTLED,
                         "%s: its meter has settled %s than the ledger has "
                         "booked; %s",
                         where, sum->meter.settled > sum->settled ? "more" : "less",
                         sum->meter.settled > sum->settled
                             ? "calls are refused too early, or rows of the ledger are missing"
                             : "more may be spent than its cap"),
            true, sum->meter.settled, sum->settled);
    }
    if (sum->meter.held != sum->held || sum->meter.bound != sum->bound) {
        const bool held = sum->meter.held != sum->held;
        with_amounts(
            find(auditing, AUDIT_HELD, "%s: its meter %s %s than open holds do; %s", where,
                held ? "holds" : "is bound to",
                sum->meter.held > sum->held || sum->meter.bound > sum->bound ? "more" : "less",
                sum->meter.held > sum->held || sum->meter.bound > sum->bound
                    ? "what is held for nobody is never given back"
                    : "calls in flight may pass its cap"),
            true, held ? sum->meter.held : sum->meter.bound, held ? sum->held : sum->bound);
    }
}

static void
judge_in_flight(struct auditing *auditing, const struct sum *sum)
{
    char where[320];
    auditing->audit->compared[AUDIT_IN_FLIGHT]++;
    if (sum->meter.held == sum->held) {
        return;
    }
    name_sum(auditing, sum, where);
    with_amounts(find(auditing, AUDIT_IN_FLIGHT,
                     "%s: its meter counts %s calls in flight than there "
                     "are open holds",
                     where, sum->meter.held > sum->held ? "more" : "fewer"),
        false, sum->meter.held, sum->held);
}

static void
judge_sums(struct auditing *auditing)
{
    for (const struct sum *sum = auditing->sum_list; sum; sum = sum->next) {
        const struct known_limit *limit = limit_by_id(auditing, sum->limit_id);
        if (!limit) {
            continue; /* it was replaced: nothing is decided by its meters any more */
        }
        if (!sum->stored) {
            judge_missing(auditing, limit, sum);
            continue;
        }
        switch (form_of(limit)) {
        case FORM_CALENDAR_COST:
        case FORM_TREE_COST: judge_cost(auditing, sum); break;
        case FORM_IN_FLIGHT: judge_in_flight(auditing, sum); break;
        case FORM_BUCKET: break; /* its level drains with time: no sum of rows */
        }
    }
}

static void
judge_node(struct auditing *auditing, const struct inspected *inspected)
{
    auditing->audit->compared[AUDIT_IDS]++;
    if (inspected->started && inspected->node.epoch > inspected->epoch) {
        (void)find(auditing, AUDIT_IDS,
            "the gateway's row is of epoch %lld, the last one handed "
            "out is %lld",
            (long long)inspected->node.epoch, (long long)inspected->epoch);
    }
}

static void
judge(struct auditing *auditing, const struct inspected *inspected)
{
    judge_node(auditing, inspected);
    judge_resolved(auditing);
    judge_lone_costs(auditing);
    judge_sums(auditing);
}

/* --- All of it. */

static void
auditing_free(struct auditing *auditing)
{
    map_free(&auditing->sums);
    map_free(&auditing->subjects);
    map_free(&auditing->subjects_by_name);
    map_free(&auditing->accounts);
    map_free(&auditing->keys);
    map_free(&auditing->threads);
    map_free(&auditing->holds);
    map_free(&auditing->lone_by_hold);
    arena_free(&auditing->arena);
    free(auditing->resolved.items);
    free(auditing);
}

static enum status
audit_file(struct auditing *auditing, const char *path, struct store_error *error)
{
    struct inspected inspected;
    const struct inspector inspector = { .user = auditing,
        .damage = on_damage,
        .progress = on_progress,
        .own = on_own,
        .limit_def = on_limit_def,
        .account = on_account,
        .key = on_key,
        .thread = on_thread,
        .subject = on_subject,
        .meter = on_meter,
        .hold = on_hold,
        .ledger = on_ledger };
    const enum status status = sqlite_inspect(path, &inspector, &inspected, error);
    if (auditing->failed) {
        return store_fail(error->text, STATUS_FULL, "no memory to check %s", path);
    }
    if (status == STATUS_OK) {
        judge(auditing, &inspected);
    }
    return auditing->failed ? store_fail(error->text, STATUS_FULL, "no memory to check %s", path)
                            : status;
}

enum status
store_audit(const char *url, audit_progress *progress, void *user, struct audit *audit,
    struct store_error *error)
{
    const struct slice scheme = SLICE("sqlite:");
    *audit = (struct audit){ 0 };
    error->text[0] = '\0';
    if (!slice_starts(slice_str(url), scheme) || url[scheme.len] == '\0') {
        return store_fail(error->text, STATUS_NOT_FOUND, "'%s' is no store on a disk", url);
    }
    struct auditing *auditing = calloc(1, sizeof(*auditing));
    audit->findings = calloc(AUDIT_FINDINGS_MAX, sizeof(*audit->findings));
    if (!auditing || !audit->findings) {
        free(auditing);
        store_audit_free(audit);
        return store_fail(error->text, STATUS_FULL, "no memory to check %s", url);
    }
    auditing->audit = audit;
    auditing->progress = progress;
    auditing->user = user;
    const enum status status = audit_file(auditing, url + scheme.len, error);
    auditing_free(auditing);
    if (status != STATUS_OK) {
        store_audit_free(audit);
    }
    return status;
}

void
store_audit_free(struct audit *audit)
{
    free(audit->findings);
    *audit = (struct audit){ 0 };
}
