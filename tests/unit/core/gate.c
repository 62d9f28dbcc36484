/* tests/unit/core/gate.c: see the header. */
#include "gate.h"

#include <stdlib.h>
#include <string.h>

#define PRICE_FREE  0
#define PRICE_PAID  1
#define PRICE_DEAR  2
#define PRICE_COUNT 3

static void *
of_policy(struct policy *policy, size_t bytes)
{
    void *memory = arena_alloc(&policy->arena, bytes);
    assert_non_null(memory);
    return memory;
}

static void
fill_prices(struct policy *policy)
{
    static const int64_t per_token[PRICE_COUNT] = { 0, 1, 10 };
    policy->price_count = PRICE_COUNT;
    policy->prices = of_policy(policy, PRICE_COUNT * sizeof *policy->prices);
    for (int i = 0; i < PRICE_COUNT; i++) {
        const int64_t input = per_token[i] * 1000000;
        policy->prices[i] = (struct price){ .id = "p", .base = { input, 2 * input, -1, -1, -1 } };
    }
}

static void
fill_models(struct policy *policy)
{
    static const struct {
        const char *name;
        bool hidden;
        int route_count;
        int providers[2];
        int prices[2]; /* -1 = none */
    } models[MODEL_COUNT] = {
        [MODEL_FREE] = { "free", false, 1, { 0 }, { PRICE_FREE } },
        [MODEL_HIDDEN] = { "hidden", true, 1, { 0 }, { PRICE_PAID } },
        [MODEL_PAID] = { "paid", false, 1, { 0 }, { PRICE_PAID } },
        [MODEL_TWO] = { "two", false, 2, { 0, 1 }, { PRICE_DEAR, PRICE_PAID } },
        [MODEL_UNPRICED] = { "unpriced", false, 1, { 0 }, { -1 } },
        [MODEL_UNPRICED_SECOND] = { "unpriced-second", false, 2, { 0, 1 }, { PRICE_PAID, -1 } },
    };
    policy->model_count = MODEL_COUNT;
    policy->models = of_policy(policy, MODEL_COUNT * sizeof *policy->models);
    for (int i = 0; i < MODEL_COUNT; i++) {
        struct model *model = &policy->models[i];
        *model = (struct model){ .name = models[i].name,
            .hidden_reasoning = models[i].hidden,
            .max_output = MAX_OUTPUT,
            .context = CONTEXT,
            .route_count = models[i].route_count };
        for (int k = 0; k < model->route_count; k++) {
            const int price = models[i].prices[k];
            model->routes[k] = (struct route){ models[i].providers[k], "upstream", price < 0 ? NULL : &policy->prices[price] };
        }
    }
}

struct policy *
a_policy(int64_t version)
{
    struct policy *policy = policy_new();
    assert_non_null(policy);
    policy->version = version;
    policy->price_version = 7;
    fill_prices(policy);
    fill_models(policy);
    policy->provider_count = 2;
    policy->providers = of_policy(policy, 2 * sizeof *policy->providers);
    policy->providers[0] = (struct provider){ .name = "bills", .on_abort = ON_ABORT_BILLS_ALL };
    policy->providers[1] = (struct provider){ .name = "stops", .on_abort = ON_ABORT_STOPS };
    policy->limits = of_policy(policy, 40 * sizeof *policy->limits);
    policy->plan_count = 2;
    policy->plans = of_policy(policy, 2 * sizeof *policy->plans);
    policy->plans[0] = "free";
    policy->plans[1] = "pro";
    policy->default_plan = "free";
    policy->held_wait_ms = 3000;
    policy->step_tokens = STEP;
    policy->min_answer_tokens = MIN_ANSWER;
    return policy;
}

struct limit *
add_limit(struct policy *policy, const char *name, enum count_kind counts, enum per_kind per, enum window_kind window,
    int64_t cap)
{
    struct limit *limit = &policy->limits[policy->limit_count++];
    *limit = (struct limit){ .name = name,
        .limit_id = 1000 + policy->limit_count,
        .set_id = 1000 + policy->limit_count,
        .counts = counts,
        .per = per,
        .window = window,
        .cap_default = cap,
        .of_tier = -1 };
    memset(limit->fingerprint, 'f', HASH_HEX);
    memset(limit->thing, 't', HASH_HEX);
    return limit;
}

struct limit *
add_bucket(struct policy *policy, const char *name, enum per_kind per, int64_t rate, int64_t period_ms, int64_t burst)
{
    struct limit *limit = add_limit(policy, name, COUNT_REQUESTS, per, WINDOW_BUCKET, burst);
    limit->rate = rate;
    limit->period_ms = period_ms;
    limit->burst = burst;
    return limit;
}

static void
add_account(struct gate *gate, int64_t account_id, const char *name, const char *plan)
{
    struct account_row *row = &gate->bank.accounts[gate->bank.account_count++];
    *row = (struct account_row){ .account_id = account_id, .created_ms = 1, .version = 1 };
    slice_to_cstr(slice_str(name), row->name, sizeof row->name);
    slice_to_cstr(slice_str(plan), row->plan, sizeof row->plan);
}

static void
add_key(struct gate *gate, int64_t key_id, int64_t account_id, enum key_role role, char hash)
{
    struct key_row *row = &gate->bank.keys[gate->bank.key_count++];
    *row = (struct key_row){ .key_id = key_id, .account_id = account_id, .role = role, .created_ms = 1, .version = 1 };
    set_hash(row->hash_hex, hash);
}

void
set_hash(char hash[HASH_HEX + 1], char c)
{
    memset(hash, c, HASH_HEX);
    hash[HASH_HEX] = '\0';
}

static const struct policy *
policy_at(void *user, int64_t version)
{
    const struct gate *gate = user;
    return gate->older && gate->older->version == version ? gate->older : NULL;
}

static bool
line_busy(void *user, int64_t limit_id, int64_t subject_id)
{
    (void)limit_id;
    (void)subject_id;
    return ((const struct gate *)user)->others_wait;
}

int
gate_make(void **state)
{
    struct gate *gate = calloc(1, sizeof *gate);
    gate->policy = a_policy(1);
    gate->ids = (struct ids){ 1, 1 };
    gate->now_ms = NOON_MS;
    add_account(gate, ACCOUNT, "ann", "free");
    add_account(gate, ACCOUNT_B, "bob", "pro");
    add_key(gate, KEY, ACCOUNT, ROLE_USER, 'a');
    add_key(gate, KEY_B, ACCOUNT_B, ROLE_USER, 'b');
    add_key(gate, KEY_ACTS, ACCOUNT, ROLE_SERVICE, 'c');
    slice_to_cstr(SLICE("user-"), bank_key(gate, KEY_ACTS)->may_act_for, NAME_MAX_BYTES + 1);
    *state = gate;
    return 0;
}

int
gate_end(void **state)
{
    struct gate *gate = *state;
    policy_unref(gate->policy);
    policy_unref(gate->older);
    arena_free(&gate->arena);
    arena_free(&gate->kept);
    free(gate);
    return 0;
}

/* --- Events. */

struct event
a_call(enum model_of_test model, int64_t input, int64_t output_limit)
{
    struct event event = { .kind = EVENT_CALL };
    event.call = (struct call_event){ .account_id = ACCOUNT,
        .key_id = KEY,
        .model_index = (int32_t)model,
        .api = API_CHAT,
        .policy_ver = 1,
        .stream = true,
        .thread_kind = THREAD_NAMED,
        .thread_named = true,
        .body_bytes = 1000000, /* so that the bound of the input is the estimate */
        .input_bytes_bound = input,
        .output_limit = output_limit,
        .output_count = 1,
        .price_multiplier_pct = 100 };
    set_hash(event.call.thread_hash, 't');
    return event;
}

struct event
a_settle(int64_t hold_id, int64_t input, int64_t output)
{
    struct event event = { .kind = EVENT_SETTLE };
    event.settle = (struct settle_event){ .hold_id = hold_id,
        .dispatched = true,
        .usage = { .input = input, .output = output, .cost_micros = -1, .known = USAGE_INPUT | USAGE_OUTPUT },
        .status = 200,
        .input_tokens_seen = -1 };
    return event;
}

struct event
a_release(int64_t hold_id)
{
    struct event event = { .kind = EVENT_SETTLE };
    event.settle = (struct settle_event){ .hold_id = hold_id, .usage = USAGE_NONE, .input_tokens_seen = -1 };
    return event;
}

struct event
an_extend(int64_t hold_id, int64_t want_tokens)
{
    struct event event = { .kind = EVENT_EXTEND };
    event.extend = (struct extend_event){ .hold_id = hold_id, .want_tokens = want_tokens, .input_exact = -1 };
    return event;
}

/* --- Loading, as the engine does it. */

#define FIND(array, count, condition)                                                              \
    do {                                                                                           \
        for (int i = 0; i < (count); i++) {                                                        \
            if (condition) {                                                                       \
                return &(array)[i];                                                                \
            }                                                                                      \
        }                                                                                          \
        return NULL;                                                                               \
    } while (0)

struct account_row *
bank_account(struct gate *gate, int64_t account_id)
{
    FIND(gate->bank.accounts, gate->bank.account_count, gate->bank.accounts[i].account_id == account_id);
}

struct key_row *
bank_key(struct gate *gate, int64_t key_id)
{
    FIND(gate->bank.keys, gate->bank.key_count, gate->bank.keys[i].key_id == key_id);
}

struct hold_row *
bank_hold(struct gate *gate, int64_t hold_id)
{
    FIND(gate->bank.holds, gate->bank.hold_count, gate->bank.holds[i].hold_id == hold_id);
}

static const void *
bank_row(const struct bank *bank, const struct need *need)
{
    switch (need->kind) {
    case NEED_ACCOUNT:
        FIND(bank->accounts, bank->account_count, bank->accounts[i].account_id == need->id);
    case NEED_ACCOUNT_NAME:
        FIND(bank->accounts, bank->account_count, strcmp(bank->accounts[i].name, need->text) == 0);
    case NEED_KEY:
        FIND(bank->keys, bank->key_count, bank->keys[i].key_id == need->id);
    case NEED_KEY_HASH:
        FIND(bank->keys, bank->key_count, strcmp(bank->keys[i].hash_hex, need->text) == 0);
    case NEED_THREAD:
        FIND(bank->threads, bank->thread_count, bank->threads[i].thread_id == need->id);
    case NEED_THREAD_SIG:
        FIND(bank->threads, bank->thread_count,
            bank->threads[i].account_id == need->id && (int32_t)bank->threads[i].kind == need->sub_kind
                && strcmp(bank->threads[i].sig_hash, need->text) == 0);
    case NEED_SUBJECT:
        FIND(bank->subjects, bank->subject_count,
            bank->subjects[i].account_id == need->id && (int32_t)bank->subjects[i].kind == need->sub_kind
                && strcmp(bank->subjects[i].name, need->text) == 0);
    case NEED_SUBJECT_ID:
        FIND(bank->subjects, bank->subject_count, bank->subjects[i].subject_id == need->id);
    case NEED_METER:
        FIND(bank->meters, bank->meter_count, bank->meters[i].subject_id == need->id);
    case NEED_HOLD:
        FIND(bank->holds, bank->hold_count, bank->holds[i].hold_id == need->id);
    case NEED_REPORTED:
        FIND(bank->reported, bank->reported_count, bank->reported[i].account_id == need->id);
    case NEED_ISSUED:
        FIND(bank->issued, bank->issued_count, strcmp(bank->issued[i].id_hash, need->text) == 0);
    case NEED_RECEIPT:
        FIND(bank->receipts, bank->receipt_count, strcmp(bank->receipts[i].name, need->text) == 0);
    default:
        fail_msg("a need of a kind nobody knows");
    }
    return NULL;
}

void
gate_start(struct gate *gate)
{
    work_end(&gate->work);
    arena_reset(&gate->arena);
    work_start(&gate->work, &gate->arena);
    gate->core = (struct core){ .policy = gate->policy,
        .policy_at = policy_at,
        .policy_user = gate,
        .work = &gate->work,
        .ids = &gate->ids,
        .learned = &gate->learned,
        .line_busy = line_busy,
        .line_user = gate,
        .node_id = 1,
        .epoch = gate->ids.epoch,
        .now_ms = gate->now_ms };
}

bool
gate_load(struct gate *gate, const struct needs *needs)
{
    assert_false(needs->overflow);
    for (int32_t i = 0; i < needs->count; i++) {
        assert_non_null(work_load(&gate->work, &needs->items[i], bank_row(&gate->bank, &needs->items[i])));
    }
    return needs->count > 0;
}

static void
load_all(struct gate *gate, const struct event *event)
{
    for (gate->rounds = 0;; gate->rounds++) {
        struct needs needs = { 0 };
        core_needs(&gate->core, event, &needs);
        if (!gate_load(gate, &needs)) {
            break;
        }
        assert_in_range(gate->rounds, 0, 2); /* three rounds at most */
    }
}

/* --- Writing. */

#define PUT(array, count, row, same)                                                               \
    do {                                                                                           \
        int at = 0;                                                                                \
        while (at < (count) && !(same)) {                                                          \
            at++;                                                                                  \
        }                                                                                          \
        assert_true((size_t)at < countof(array));                                                  \
        (array)[at] = (row);                                                                       \
        (count) += at == (count);                                                                  \
    } while (0)

static void
write_hold(struct gate *gate, struct hold_slot *slot)
{
    struct bank *bank = &gate->bank;
    if (slot->slot.state == SLOT_DELETED) {
        struct hold_row *hold = bank_hold(gate, slot->row.hold_id);
        assert_non_null(hold);
        *hold = bank->holds[--bank->hold_count];
        return;
    }
    assert_true(hold_valid(&slot->row));
    slot->row.inputs = arena_copy(&gate->kept, slot->row.inputs);
    PUT(bank->holds, bank->hold_count, slot->row, bank->holds[at].hold_id == slot->row.hold_id);
}

static void
write_slot(struct gate *gate, enum slot_kind kind, struct slot *slot)
{
    struct bank *bank = &gate->bank;
    switch (kind) {
    case SLOTS_ACCOUNT: {
        const struct account_row row = ((struct account_slot *)(void *)slot)->row;
        assert_true(account_valid(&row));
        PUT(bank->accounts, bank->account_count, row, bank->accounts[at].account_id == row.account_id);
        return;
    }
    case SLOTS_KEY: {
        const struct key_row row = ((struct key_slot *)(void *)slot)->row;
        assert_true(key_valid(&row));
        PUT(bank->keys, bank->key_count, row, bank->keys[at].key_id == row.key_id);
        return;
    }
    case SLOTS_THREAD: {
        const struct thread_row row = ((struct thread_slot *)(void *)slot)->row;
        assert_true(thread_valid(&row));
        PUT(bank->threads, bank->thread_count, row, bank->threads[at].thread_id == row.thread_id);
        return;
    }
    case SLOTS_SUBJECT: {
        const struct subject_row row = ((struct subject_slot *)(void *)slot)->row;
        assert_true(subject_valid(&row));
        PUT(bank->subjects, bank->subject_count, row, bank->subjects[at].subject_id == row.subject_id);
        return;
    }
    case SLOTS_METER: {
        const struct meter_row row = ((struct meter_slot *)(void *)slot)->row;
        assert_true(meter_row_valid(&row));
        PUT(bank->meters, bank->meter_count, row, bank->meters[at].subject_id == row.subject_id);
        return;
    }
    case SLOTS_REPORTED: {
        const struct reported_row row = ((struct reported_slot *)(void *)slot)->row;
        assert_true(reported_valid(&row));
        PUT(bank->reported, bank->reported_count, row, bank->reported[at].account_id == row.account_id);
        return;
    }
    case SLOTS_HOLD:
        write_hold(gate, (struct hold_slot *)(void *)slot);
        return;
    case SLOTS_RECEIPT: {
        const struct receipt_row row = ((struct receipt_slot *)(void *)slot)->row;
        assert_true(receipt_valid(&row));
        assert_true((size_t)bank->receipt_count < countof(bank->receipts));
        bank->receipts[bank->receipt_count++] = row;
        return;
    }
    default: {
        const struct issued_row row = ((struct issued_slot *)(void *)slot)->row;
        assert_true(issued_valid(&row));
        for (int i = 0; i < bank->issued_count; i++) { /* a store keeps the one it has */
            if (strcmp(bank->issued[i].id_hash, row.id_hash) == 0) {
                return;
            }
        }
        assert_true((size_t)bank->issued_count < countof(bank->issued));
        bank->issued[bank->issued_count++] = row;
        return;
    }
    }
}

static void
batch_write(struct gate *gate)
{
    struct bank *bank = &gate->bank;
    assert_false(gate->work.failed);
    for (int kind = 0; kind < SLOT_KIND_COUNT; kind++) {
        for (struct slot *slot = gate->work.slots[kind].first; slot; slot = slot->next) {
            if (slot->dirty && slot->state != SLOT_ABSENT) {
                write_slot(gate, (enum slot_kind)kind, slot);
            }
        }
    }
    for (const struct ledger_node *node = gate->work.ledger_first; node; node = node->next) {
        assert_true(ledger_valid(&node->row));
        assert_true(bank->ledger_count < ROWS_MAX);
        bank->ledger[bank->ledger_count] = node->row;
        bank->ledger[bank->ledger_count++].inputs = arena_copy(&gate->kept, node->row.inputs);
    }
    for (const struct refusal_node *node = gate->work.refusal_first; node; node = node->next) {
        assert_true(refusal_valid(&node->row));
        bank->refusals[bank->refusal_count++] = node->row;
    }
}

static const size_t row_sizes[SLOT_KIND_COUNT] = { sizeof(struct account_row), sizeof(struct key_row),
    sizeof(struct thread_row), sizeof(struct subject_row), sizeof(struct meter_row), sizeof(struct hold_row),
    sizeof(struct reported_row), sizeof(struct issued_row), sizeof(struct receipt_row) };
static const size_t row_offsets[SLOT_KIND_COUNT] = { offsetof(struct account_slot, row), offsetof(struct key_slot, row),
    offsetof(struct thread_slot, row), offsetof(struct subject_slot, row), offsetof(struct meter_slot, row),
    offsetof(struct hold_slot, row), offsetof(struct reported_slot, row), offsetof(struct issued_slot, row),
    offsetof(struct receipt_slot, row) };

/* A copy of all rows of the working set, one behind the other. */
static size_t
work_image(const struct work *work, unsigned char *out, size_t out_size)
{
    size_t used = 0;
    for (int kind = 0; kind < SLOT_KIND_COUNT; kind++) {
        for (const struct slot *slot = work->slots[kind].first; slot; slot = slot->next) {
            const size_t size = row_sizes[kind];
            assert_true(used + size + 2 <= out_size);
            out[used++] = (unsigned char)slot->state;
            out[used++] = slot->dirty;
            memcpy(out + used, (const char *)slot + row_offsets[kind], size);
            used += size;
        }
    }
    return used;
}

void
gate_load_and_decide(struct gate *gate, const struct event *event, struct verdict *verdict)
{
    static unsigned char before[1 << 22], after[1 << 22];
    load_all(gate, event);
    const size_t before_size = work_image(&gate->work, before, sizeof before);
    const struct ledger_node *const *ledger_end = (const struct ledger_node *const *)gate->work.ledger_last;
    const struct ids ids = gate->ids;
    const bool identity_changed = gate->work.identity_changed;
    assert_true(core_decide(&gate->core, event, verdict));
    if (verdict->kind != VERDICT_ALLOWED) {
        assert_int_equal(work_image(&gate->work, after, sizeof after), before_size);
        assert_memory_equal(after, before, before_size);
        assert_ptr_equal(gate->work.ledger_last, ledger_end);
        assert_int_equal(gate->ids.next, ids.next);
        assert_int_equal(gate->work.identity_changed, identity_changed);
    }
}

void
gate_batch(struct gate *gate, const struct event *events, int count, struct verdict *verdicts)
{
    gate_start(gate);
    for (int i = 0; i < count; i++) {
        load_all(gate, &events[i]); /* the whole batch first, as the engine does */
    }
    for (int i = 0; i < count; i++) {
        gate_load_and_decide(gate, &events[i], &verdicts[i]);
    }
    batch_write(gate);
    audit_promises(gate);
}

struct verdict
gate_decide(struct gate *gate, const struct event *event)
{
    struct verdict verdict;
    gate_batch(gate, event, 1, &verdict);
    return verdict;
}

struct verdict
gate_orphan(struct gate *gate, int64_t hold_id)
{
    struct verdict verdict;
    gate_start(gate);
    for (int round = 0; round < 3; round++) {
        struct needs needs = { 0 };
        core_orphan_needs(&gate->core, hold_id, &needs);
        for (int32_t i = 0; i < needs.count; i++) {
            assert_non_null(work_load(&gate->work, &needs.items[i], bank_row(&gate->bank, &needs.items[i])));
        }
    }
    assert_true(core_orphan(&gate->core, hold_id, &verdict));
    batch_write(gate);
    audit_promises(gate);
    return verdict;
}

struct verdict
expect_allowed(struct gate *gate, const struct event *event)
{
    const struct verdict verdict = gate_decide(gate, event);
    if (verdict.kind != VERDICT_ALLOWED) {
        fail_msg("refused: %s (%s)", reason_row(verdict.refusal.reason)->code, verdict.refusal.limit_name);
    }
    return verdict;
}

struct verdict
expect_refused(struct gate *gate, const struct event *event, enum reason reason)
{
    const struct verdict verdict = gate_decide(gate, event);
    assert_int_not_equal(verdict.kind, VERDICT_ALLOWED);
    assert_string_equal(reason_row(verdict.refusal.reason)->code, reason_row(reason)->code);
    return verdict;
}

const struct ledger_row *
last_ledger(const struct gate *gate)
{
    assert_true(gate->bank.ledger_count > 0);
    return &gate->bank.ledger[gate->bank.ledger_count - 1];
}

struct meter
meter_in_window(const struct gate *gate, const struct limit *limit, int64_t window_ms)
{
    struct meter found = { 0 };
    for (int i = 0; i < gate->bank.meter_count; i++) {
        const struct meter_row *row = &gate->bank.meters[i];
        for (int32_t k = 0; k < row->meter_count; k++) {
            const struct meter *meter = &row->meters[k];
            const bool here = window_ms < 0 ? meter->window_ms >= found.window_ms : meter->window_ms == window_ms;
            found = meter->limit_id == limit->limit_id && here ? *meter : found;
        }
    }
    return found;
}

struct meter
meter_of(const struct gate *gate, const struct limit *limit)
{
    return meter_in_window(gate, limit, -1);
}

void
audit_promises(const struct gate *gate)
{
    for (int i = 0; i < gate->bank.meter_count; i++) {
        const struct meter_row *row = &gate->bank.meters[i];
        for (int32_t k = 0; k < row->meter_count; k++) {
            const struct meter *meter = &row->meters[k];
            const struct limit *limit = policy_limit_by_id(gate->policy, meter->limit_id);
            if (limit && limit->window == WINDOW_BUCKET) {
                assert_int_equal(meter->held, 0);
                continue;
            }
            int64_t held = 0;
            int64_t bound = 0;
            for (int h = 0; h < gate->bank.hold_count; h++) {
                const struct hold_row *hold = &gate->bank.holds[h];
                for (int32_t p = 0; p < hold->part_count; p++) {
                    const struct hold_part *part = &hold->parts[p];
                    /* Parts of a rolling window lie in the meter that reaches up to them. */
                    const bool mine = part->limit_id == meter->limit_id && part->subject_id == row->subject_id;
                    const bool here = mine && meter_of_part((struct meter_row *)row, part) == meter;
                    held += here ? part->held : 0;
                    bound += here ? part->bound : 0;
                }
            }
            assert_int_equal(meter->held, held);
            assert_int_equal(meter->bound, bound);
        }
    }
}
