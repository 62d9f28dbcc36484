/* tests/unit/engine/house.c: see the header. */
#include "house.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/secret.h"

struct faults faults;

/* The tables of the store under test, before they were hooked, and the engine over it. */
static const struct store_ops *real_ops;
static const struct store_row_ops *real_rows;
static struct house *hooked_house;

void
pause_ms(int64_t ms)
{
    const struct timespec pause = { ms / 1000, (long)(ms % 1000) * 1000000L };
    nanosleep(&pause, NULL);
}

/* --- The cache beside the store: compared on the engine's thread, before anything is written. */

struct slot_need {
    bool known;
    struct need need;
};

static struct slot_need
need_of(enum slot_kind kind, const void *kept)
{
    static const enum need_kind kinds[] = {
        [SLOTS_ACCOUNT] = NEED_ACCOUNT,
        [SLOTS_KEY] = NEED_KEY,
        [SLOTS_THREAD] = NEED_THREAD,
        [SLOTS_SUBJECT] = NEED_SUBJECT,
        [SLOTS_METER] = NEED_METER,
        [SLOTS_HOLD] = NEED_HOLD,
        [SLOTS_REPORTED] = NEED_REPORTED,
    };
    struct slot_need asked = { .known = (size_t)kind < countof(kinds) };
    if (!asked.known) {
        return asked;
    }
    asked.need.kind = kinds[kind];
    memcpy(&asked.need.id, kept, sizeof asked.need.id); /* each begins with its number */
    if (kind == SLOTS_SUBJECT) {
        const struct subject_row *row = kept;
        asked.need.id = row->account_id;
        asked.need.sub_kind = (int32_t)row->kind;
        memcpy(asked.need.text, row->name, sizeof row->name);
    }
    return asked;
}

static bool
is_as_stored(struct store *store, enum slot_kind kind, const void *kept)
{
    union need_row stored;
    memset(&stored, 0, sizeof stored);
    const struct slot_need asked = need_of(kind, kept);
    if (!asked.known || real_rows->get(store, &asked.need, &stored) != STATUS_OK) {
        return false;
    }
#define SAME(field) (row->field == stored.ROW.field)
#define SAME_TEXT(field) (strcmp(row->field, stored.ROW.field) == 0)
    switch (kind) {
    case SLOTS_ACCOUNT: {
#define ROW account
        const struct account_row *row = kept;
        return SAME_TEXT(name)
               && SAME_TEXT(plan) && SAME_TEXT(organisation) && SAME(state) && SAME(created_ms) && SAME(version);
#undef ROW
    }
    case SLOTS_KEY: {
#define ROW key
        const struct key_row *row = kept;
        return SAME(account_id)
               && SAME_TEXT(hash_hex) && SAME_TEXT(label) && SAME_TEXT(shown) && SAME(role) && SAME(revoked)
               && SAME(thread_required) && SAME(created_ms) && SAME(expires_ms) && SAME_TEXT(may_act_for)
               && SAME(version);
#undef ROW
    }
    case SLOTS_THREAD: {
#define ROW thread
        const struct thread_row *row = kept;
        return SAME(account_id)
               && SAME(root_id) && SAME(kind) && SAME_TEXT(sig_hash) && SAME(created_ms) && SAME(last_ms)
               && SAME(last_input) && SAME(last_input_bytes) && SAME(version);
#undef ROW
    }
    case SLOTS_SUBJECT: {
        const struct subject_row *row = kept;
        return row->subject_id == stored.subject.subject_id;
    }
    case SLOTS_METER: {
#define ROW meter
        const struct meter_row *row = kept;
        return SAME(meter_count) && SAME(seen_ms) && SAME(version)
               && memcmp(row->meters, stored.meter.meters, (size_t)row->meter_count * sizeof row->meters[0]) == 0;
#undef ROW
    }
    case SLOTS_REPORTED: {
#define ROW reported
        const struct reported_row *row = kept;
        bool same = SAME(window_count) && SAME(version);
        for (int32_t i = 0; same && i < row->window_count; i++) {
            same = SAME_TEXT(windows[i].credential) && SAME_TEXT(windows[i].window) && SAME_TEXT(windows[i].models)
                   && SAME(windows[i].used_milli_pct) && SAME(windows[i].resets_at_ms)
                   && SAME(windows[i].captured_ms) && SAME(windows[i].source);
        }
        return same;
#undef ROW
    }
    case SLOTS_HOLD: {
#define ROW hold
        const struct hold_row *row = kept;
        if (!SAME(attempt_count)) {
            return false;
        }
        for (int32_t i = 0; i < row->attempt_count; i++) {
            const struct attempt *a = &row->attempts[i];
            const struct attempt *b = &stored.hold.attempts[i];
            if (strcmp(a->provider, b->provider) != 0 || strcmp(a->model, b->model) != 0 || a->state != b->state
                || a->status != b->status || a->reason != b->reason) {
                return false;
            }
        }
        return SAME(node_id) && SAME(epoch) && SAME(account_id) && SAME(key_id) && SAME(thread_id) && SAME(root_id)
               && SAME(payer) && SAME(state) && SAME(on_abort) && SAME(part_count) && SAME_TEXT(model)
               && SAME(held_micros) && SAME(bound_micros) && SAME(est_micros) && SAME(est_input) && SAME(input_bound)
               && SAME(held_output) && SAME(bound_output) && SAME(multiplier_pct) && SAME(body_bytes)
               && SAME_TEXT(estimator) && SAME(created_ms) && SAME(policy_ver) && SAME(price_ver)
               && memcmp(row->parts, stored.hold.parts, (size_t)row->part_count * sizeof row->parts[0]) == 0
               && slice_eq(row->inputs, stored.hold.inputs);
#undef ROW
    }
    default: return false;
    }
#undef SAME
#undef SAME_TEXT
}

static bool
compare_cached(void *user, enum slot_kind kind, const void *row)
{
    struct store *store = user;
    atomic_fetch_add(is_as_stored(store, kind, row) ? &faults.cached_compared : &faults.cached_differ, 1);
    return true;
}

/* --- The hooks. */

static enum status
hooked_begin(struct store *store, const struct node_row *node)
{
    atomic_fetch_add(&faults.begins, 1);
    const enum status status = (enum status)atomic_load(&faults.begin_status);
    if (status != STATUS_OK) {
        snprintf(store->last_error, sizeof store->last_error, "the test says so");
        return status;
    }
    const enum status begun = real_ops->begin(store, node);
    if (begun == STATUS_OK && atomic_load(&faults.compare_cached) && hooked_house->engine) {
        cache_walk(&hooked_house->engine->cache, compare_cached, store);
    }
    return begun;
}

static enum status
hooked_commit(struct store *store)
{
    atomic_fetch_add(&faults.commits_waiting, 1);
    while (atomic_load(&faults.commit_waits)) {
        if (atomic_load(&faults.commit_passes) > 0) {
            atomic_fetch_sub(&faults.commit_passes, 1);
            break;
        }
        pause_ms(1);
    }
    atomic_fetch_sub(&faults.commits_waiting, 1);
    const enum status status = (enum status)atomic_load(&faults.commit_status);
    if (status == STATUS_UNCERTAIN) { /* it is there, and nobody says so */
        assert_int_equal(real_ops->commit(store), STATUS_OK);
        store->state = STORE_IDLE;
    }
    if (status != STATUS_OK) {
        snprintf(store->last_error, sizeof store->last_error, "the test says so");
        return status;
    }
    const enum status done = real_ops->commit(store);
    atomic_fetch_add(&faults.commits, done == STATUS_OK);
    return done;
}

static bool
conflicts(atomic_int *left)
{
    const int now = atomic_load(left);
    atomic_store(left, now > 0 ? now - 1 : now);
    return now != 0;
}

static enum status
hooked_meter_put(struct store *store, struct meter_row *row)
{
    return conflicts(&faults.meter_conflicts) ? STATUS_CONFLICT : real_rows->meter_put(store, row);
}

static enum status
hooked_get(struct store *store, const struct need *need, union need_row *row)
{
    if (need->kind == NEED_HOLD && need->id == atomic_load(&faults.poisoned_hold)) {
        snprintf(store->last_error, sizeof store->last_error, "the test poisoned it");
        return STATUS_INVALID;
    }
    if (need->kind == NEED_THREAD_SIG && conflicts(&faults.thread_conflicts)) {
        return STATUS_CONFLICT;
    }
    return real_rows->get(store, need, row);
}

static void
hook(struct house *house)
{
    hooked_house = house;
    real_ops = house->store->ops;
    real_rows = house->store->rows;
    house->ops = *real_ops;
    house->rows = *real_rows;
    house->ops.begin = hooked_begin;
    house->ops.commit = hooked_commit;
    house->rows.meter_put = hooked_meter_put;
    house->rows.get = hooked_get;
    house->store->ops = &house->ops;
    house->store->rows = &house->rows;
}

static void
unhook(struct house *house)
{
    house->store->ops = real_ops;
    house->store->rows = real_rows;
}

/* --- Its life. */

static int
house_make(void **state, bool disk)
{
    struct house *house = calloc(1, sizeof *house);
    memset(&faults, 0, sizeof faults);
    assert_int_equal(secret_start(), STATUS_OK);
    if (disk) {
        const char *base = getenv("TMPDIR");
        snprintf(house->folder, sizeof house->folder, "%s/engine-XXXXXX", base ? base : "/tmp");
        assert_non_null(mkdtemp(house->folder));
        snprintf(house->url, sizeof house->url, "sqlite:%s/t.db", house->folder);
    } else {
        snprintf(house->url, sizeof house->url, "memory:");
    }
    house->policy = a_policy(0);
    *state = house;
    return 0;
}

int
house_in_memory(void **state)
{
    return house_make(state, false);
}

int
house_shared(void **state)
{
    house_make(state, false);
    struct house *house = *state;
    house->shared = true;
    return 0;
}

int
house_on_disk(void **state)
{
    return house_make(state, true);
}

static void
remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path); /* fails for . and .. */
    }
    if (dir) {
        closedir(dir);
        rmdir(folder);
    }
}

int
house_end(void **state)
{
    struct house *house = *state;
    memset(&faults, 0, sizeof faults);
    house_stop(house);
    if (house->store) {
        unhook(house);
        store_close(house->store);
    }
    policy_unref(house->policy);
    while (house->before_count) {
        policy_unref(house->before[--house->before_count]);
    }
    if (house->folder[0]) {
        remove_folder(house->folder);
    }
    free(house);
    return 0;
}

enum status
house_try_start(struct house *house)
{
    if (!house->store) {
        const struct store_options options = { 0 };
        struct store_error error;
        if (store_open(house->url, &options, &house->store, &error) != STATUS_OK) {
            fail_msg("%s", error.text);
        }
        hook(house);
        house->store->exclusive = !house->shared && !getenv("TIDEGATE_TEST_SHARED");
    }
    struct engine_options options = { .store = house->store, .policy = policy_ref(house->policy), .loop_count = LOOPS };
    struct engine_error error;
    return engine_open(&options, &house->engine, &error);
}

void
house_start(struct house *house)
{
    assert_int_equal(house_try_start(house), STATUS_OK);
    if (house->account_id) {
        return;
    }
    struct event event = { .kind = EVENT_ADMIN };
    event.admin = (struct admin_event){ .verb = ADMIN_ACCOUNT_PUT, .must_be_new = true, .account.name = "ann" };
    house->account_id = ask(house, event).new_id;
    event.admin = (struct admin_event){ .verb = ADMIN_KEY_PUT, .account.name = "ann" };
    set_hash(event.admin.key.hash_hex, 'a');
    house->key_id = ask(house, event).new_id;
    assert_true(house->account_id && house->key_id);
}

void
house_stop_engine(struct house *house)
{
    engine_close(house->engine);
    house->engine = NULL;
}

void
house_stop(struct house *house)
{
    house_stop_engine(house);
    if (house->store && house->folder[0]) {
        unhook(house);
        store_close(house->store);
        house->store = NULL;
    }
}

void
house_new_policy(struct house *house)
{
    house->before[house->before_count++] = house->policy;
    house->policy = a_policy(0);
}

/* --- Events and verdicts. */

struct event
house_call(const struct house *house, enum model_of_test model, int64_t input, int64_t output_limit, char thread)
{
    struct event event = a_call(model, input, output_limit);
    event.call.account_id = house->account_id;
    event.call.key_id = house->key_id;
    event.call.policy_ver = house->policy->version;
    set_hash(event.call.thread_hash, thread);
    return event;
}

uint32_t
submit(struct house *house, struct event event)
{
    event.reply = (struct reply_to){ 0, ++house->next_slot, 7 };
    assert_true(engine_submit(house->engine, &event));
    return house->next_slot;
}

void
submit_untold(struct house *house, struct event event)
{
    event.reply.loop = ENGINE_NO_REPLY;
    assert_true(engine_submit(house->engine, &event));
}

struct verdict
await(struct house *house)
{
    struct verdict verdict = { 0 };
    UNTIL(engine_take(house->engine, 0, &verdict, 1) == 1);
    assert_int_equal(verdict.reply.generation, 7);
    return verdict;
}

struct verdict
await_slot(struct house *house, uint32_t slot)
{
    const struct verdict verdict = await(house);
    assert_int_equal(verdict.reply.slot, slot);
    return verdict;
}

bool
nothing_comes(struct house *house, int64_t for_ms)
{
    struct verdict verdict;
    const int64_t until_ms = clock_mono_ms() + for_ms;
    while (clock_mono_ms() < until_ms) {
        if (engine_take(house->engine, 0, &verdict, 1)) {
            return false;
        }
        pause_ms(1);
    }
    return true;
}

struct verdict
ask(struct house *house, struct event event)
{
    return await_slot(house, submit(house, event));
}

struct verdict
ask_allowed(struct house *house, struct event event)
{
    const struct verdict verdict = ask(house, event);
    if (verdict.kind != VERDICT_ALLOWED) {
        fail_msg("refused: %s (%s)", reason_row(verdict.refusal.reason)->code, verdict.refusal.limit_name);
    }
    return verdict;
}

struct engine_state
state_of(struct house *house)
{
    struct engine_state state;
    engine_state(house->engine, &state);
    return state;
}

/* --- The books. */

static bool
on_ledger(void *user, const struct ledger_row *row)
{
    struct books *books = user;
    if (books->ledger_count++ == 0) {
        books->newest = *row;
    }
    books->kinds[row->kind]++;
    books->cost_micros += row->cost_micros;
    return true;
}

static bool
on_hold(void *user, const struct hold_row *row)
{
    struct books *books = user;
    books->hold_count++;
    books->hold = *row;
    return true;
}

static bool
on_refusal(void *user, const struct refusal_row *row)
{
    struct books *books = user;
    books->refusal_count++;
    books->refusals += row->count;
    return true;
}

struct meter_search {
    const struct policy *policy;
    const struct limit *limit;
    struct books *books;
    struct meter found;
};

static bool
on_meters(void *user, const struct subject_row *subject, const struct meter_row *row)
{
    struct meter_search *search = user;
    (void)subject;
    for (int32_t i = 0; i < row->meter_count; i++) {
        const struct limit *limit = policy_limit_by_id(search->policy, row->meters[i].limit_id);
        const bool bucket = limit && limit->window == WINDOW_BUCKET;
        if (search->books && !bucket) {
            search->books->settled += row->meters[i].settled;
            search->books->held += row->meters[i].held;
            search->books->bound += row->meters[i].bound;
        }
        if (search->limit && search->limit->limit_id == row->meters[i].limit_id) {
            search->found = row->meters[i];
        }
    }
    return true;
}

static struct store_reader *
a_reader(struct house *house)
{
    struct store_reader *reader = NULL;
    struct store_error error;
    assert_int_equal(store_reader_open(house->store, &reader, &error), STATUS_OK);
    return reader;
}

struct books
books_of(struct house *house)
{
    struct books books = { 0 };
    struct meter_search search = { .policy = house->policy, .books = &books };
    struct store_reader *reader = a_reader(house);
    const struct ledger_filter all = { .kind = -1, .limit = 1000000 };
    assert_int_equal(store_read_ledger(reader, &all, on_ledger, &books), STATUS_OK);
    assert_int_equal(store_read_holds(reader, on_hold, &books), STATUS_OK);
    assert_int_equal(store_read_refusals(reader, 0, 0, on_refusal, &books), STATUS_OK);
    assert_int_equal(store_read_meters(reader, 0, on_meters, &search), STATUS_OK);
    store_reader_close(reader);
    return books;
}

struct meter
stored_meter(struct house *house, const struct limit *limit)
{
    struct meter_search search = { .policy = house->policy, .limit = limit };
    struct store_reader *reader = a_reader(house);
    assert_int_equal(store_read_meters(reader, 0, on_meters, &search), STATUS_OK);
    store_reader_close(reader);
    return search.found;
}
