/* store/audit_book.c: what each booked call adds to the meters of the limits that it counted against. */
#include "store/audit_priv.h"

#include "store/store_priv.h"

/* A limit of the inputs: what of it a booked call counted for. */
struct counted {
    struct slice name;
    int64_t nth; /* of those that bore that name */
    int64_t window_ms;
    int64_t subject_id; /* 0 = it follows from the row */
    int64_t units;      /* requests: the call's weight */
    int64_t from, to; /* attempts that count: from this one until before that one, 0 = to the end */
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
    *counted = (struct counted){ .units = 1, .nth = 1 };
    if (!slice_split(rest, '}', &object) || !slice_split(&object, '"', &counted->name)
        || !number_after(object, SLICE(",\"window\":"), &counted->window_ms)) {
        return false;
    }
    (void)number_after(object, SLICE(",\"nth\":"), &counted->nth);
    (void)number_after(object, SLICE(",\"subject\":"), &counted->subject_id);
    (void)number_after(object, SLICE(",\"units\":"), &counted->units);
    (void)number_after(object, SLICE(",\"from\":"), &counted->from);
    (void)number_after(object, SLICE(",\"to\":"), &counted->to);
    counted->has_delta = number_after(object, SLICE(",\"delta\":"), &counted->delta);
    return true;
}

/* What the row calls so; NULL: it was replaced since, and nothing is decided by its meters any more. */
static const struct limit_def_row *
limit_of_call(const struct auditing *auditing, const struct counted *counted)
{
    const struct limit_defs all = { auditing->limits, auditing->limit_count };
    const struct limit_def_row *named = limit_def_named(&all, counted->name, counted->nth);
    return named ? audit_limit(auditing, named->limit_id) : NULL;
}

/* Whose meter the row counted for; NULL: *told is false where it does not show. */
static const struct known_subject *
subject_of_call(const struct auditing *auditing, const struct limit_def_row *limit,
    const struct ledger_row *row, const struct counted *counted, bool *told)
{
    uint64_t hash = 0;
    *told = true;
    if (counted->subject_id) {
        return audit_get(&auditing->subjects, counted->subject_id);
    }
    switch (limit->per) {
    case PER_GATEWAY: hash = audit_subject_hash(SUBJECT_GATEWAY, 0, ""); break;
    case PER_ACCOUNT: hash = audit_subject_hash(SUBJECT_ACCOUNT, row->account_id, ""); break;
    case PER_KEY: hash = audit_subject_hash(SUBJECT_KEY, row->key_id, ""); break;
    case PER_THREAD_TREE: hash = audit_subject_hash(SUBJECT_TREE, row->root_id, ""); break;
    case PER_MODEL: hash = audit_subject_hash(SUBJECT_MODEL, 0, row->model); break;
    default: *told = false; return NULL;
    }
    return map_get(&auditing->subjects_by_name, hash);
}

/* Whether its subject may have been swept: a tree with its threads, others only once the window is over. */
static bool
may_be_swept(const struct auditing *auditing, const struct limit_def_row *limit,
    const struct ledger_row *row, const struct counted *counted)
{
    if (limit->per == PER_THREAD_TREE) {
        return !audit_get(&auditing->threads, row->root_id);
    }
    return !audit_window_may_be_open(auditing, limit, counted->window_ms);
}

/* A call counts for a limit on requests once, whatever attempts it took; for one on a provider's once each time
 * that it went there. It does when its hold is over, and not when nothing of it left. */
static int64_t
requests_of(struct auditing *auditing, const struct limit_def_row *limit,
    const struct ledger_row *row, const struct counted *counted)
{
    const bool nothing_left = row->kind == LEDGER_RELEASE && row->attempt == 0;
    const uint64_t hash = hash_pair(hash_pair((uint64_t)row->hold_id, (uint64_t)limit->limit_id),
        hash_pair((uint64_t)counted->subject_id, (uint64_t)counted->from));
    if (nothing_left || audit_get(&auditing->holds, row->hold_id)
        || map_get(&auditing->requests, hash)) {
        return 0;
    }
    auditing->failed |= !map_put(&auditing->requests, hash, auditing);
    return counted->units;
}

/* What the row adds to what the meter has settled. */
static int64_t
settled_by(struct auditing *auditing, const struct limit_def_row *limit,
    const struct ledger_row *row, const struct counted *counted)
{
    if (row->kind == LEDGER_ADJUST && counted->has_delta) {
        return counted->delta;
    }
    const bool elsewhere =
        row->kind != LEDGER_ADJUST
        && (row->attempt < counted->from || (counted->to > 0 && row->attempt >= counted->to));
    switch (limit->counts) {
    case COUNT_COST: return elsewhere ? 0 : row->cost_micros;
    case COUNT_TOKENS: return elsewhere ? 0 : usage_input_total(&row->usage) + row->usage.output;
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
        const struct limit_def_row *limit = limit_of_call(auditing, &counted);
        if (!limit || limit->window == WINDOW_BUCKET) { /* a level drains: no sum of rows */
            continue;
        }
        const int64_t settled = settled_by(auditing, limit, row, &counted);
        if (settled == 0) {
            continue;
        }
        const struct known_subject *subject =
            subject_of_call(auditing, limit, row, &counted, &told);
        if (!subject && told && !may_be_swept(auditing, limit, row, &counted)) {
            (void)audit_find(auditing, AUDIT_REFERENCES,
                "ledger row %lld counted for limit '%s', but its subject is not there",
                (long long)row->id, limit->name);
        }
        struct sum *sum = subject ? audit_sum_of(
                              auditing, limit->limit_id, subject->row.subject_id, counted.window_ms)
                                  : NULL;
        if (sum) {
            sum->settled += settled;
        }
        auditing->audit->unknown_count += !told;
    }
}

bool
audit_inputs_name_limits(struct slice inputs)
{
    return slice_find(inputs, SLICE("\"limits\":[")) >= 0;
}

/* A cost whose row does not say what it counts for: for what the call's other rows do. */
void
audit_keep_lone_cost(struct auditing *auditing, const struct ledger_row *row)
{
    struct lone_cost *cost = audit_make(auditing, sizeof(*cost));
    if (cost) {
        *cost = (struct lone_cost){ .row = *row,
            .same_call = audit_get(&auditing->lone_by_hold, row->hold_id),
            .next = auditing->lone_costs };
        cost->row.inputs = (struct slice){ 0 };
        auditing->lone_costs = cost;
        audit_put(auditing, &auditing->lone_by_hold, row->hold_id, cost);
    }
}

void
audit_book_call(struct auditing *auditing, const struct ledger_row *row)
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
