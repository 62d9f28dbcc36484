/* api/threads.c: threads, what their trees have spent, and what they may. */
#include "api/api_priv.h"

#include <stdlib.h>

#define THREADS_DEFAULT 100
#define THREADS_MAX     1000

/* --- One, or a page. */

struct listing {
    struct buf *out;
    const struct names *names;
    int64_t count, last_id;
};

static void
put_thread_members(struct buf *out, const struct names *names, const struct thread_row *row)
{
    const struct account_name *account = names_by_id(names, row->account_id);
    put_id(out, "id", "thr_", row->thread_id);
    put_id(out, "root", "thr_", row->root_id);
    put_text_or_null(out, "account", account ? account->name : NULL);
    put_text(out, "recognised_by", thread_kind_word(row->kind));
    put_time(out, "created_at", row->created_ms);
    put_time(out, "last_used_at", row->last_ms);
}

static bool
put_thread(void *user, const struct thread_row *row)
{
    struct listing *listing = user;
    put_open(listing->out, NULL, '{');
    put_thread_members(listing->out, listing->names, row);
    put_close(listing->out, '}');
    listing->last_id = row->thread_id;
    listing->count++;
    return !listing->out->failed;
}

void
get_threads(struct api_worker *worker, struct ask *ask)
{
    char account[NAME_MAX_BYTES + 1] = "";
    int64_t limit = THREADS_DEFAULT;
    struct thread_filter filter = { 0 };
    struct listing listing = { .names = &worker->names };
    const struct field fields[] = {
        { "account", FIELD_NAME, account },
        { "before", FIELD_ID, &filter.before_id, .prefix = "thr_" },
        { "limit", FIELD_COUNT, &limit, .max = THREADS_MAX },
    };
    if (!fields_of_query(ask, fields, countof(fields)) || !names_ready(worker, ask)) {
        return;
    }
    const bool all = ask->may_read_all && !account[0];
    if (!all && !account_asked(worker, ask, account, &filter.account_id)) {
        return;
    }
    worker_catch_up(worker, ask, false);
    filter.limit = (int32_t)limit;
    listing.out = answer_begin(ask, 200);
    put_open(listing.out, "threads", '[');
    if (store_read_threads(worker->reader, &filter, put_thread, &listing) != STATUS_OK) {
        worker_read_failed(worker, ask);
        return;
    }
    put_close(listing.out, ']');
    put_id(listing.out, "next_before", "thr_", listing.count == limit ? listing.last_id : 0);
    answer_end(ask);
}

/* The one of the path; a stranger's and a missing one look alike. False: answered. */
static bool
read_thread(struct api_worker *worker, struct ask *ask, struct thread_row *row)
{
    struct need need = { .kind = NEED_THREAD };
    union need_row found;
    if (!api_id_parse(ask->segment, SLICE("thr_"), &need.id)) {
        answer_fault(ask, API_FAULT_THREAD_UNKNOWN, NULL);
        return false;
    }
    worker_catch_up(worker, ask, false);
    const enum status status = store_read_row(worker->reader, &need, &found);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        worker_read_failed(worker, ask);
        return false;
    }
    const bool foreign =
        !ask->may_read_all
        && (status != STATUS_OK || found.thread.account_id != ask->identity.account_id);
    if (status == STATUS_NOT_FOUND || foreign) {
        answer_fault(ask, API_FAULT_THREAD_UNKNOWN, NULL);
        return false;
    }
    *row = found.thread;
    return true;
}

/* --- What its tree may spend. */

/* Running meters: what the tree has used of each limit per tree, its threads all together. */
static void
put_tree(struct buf *out, const struct policy *policy, const struct limit_standing *standings,
    int32_t count)
{
    put_open(out, "tree", '[');
    for (int32_t i = 0; i < count; i++) {
        const struct limit_standing *standing = &standings[i];
        const struct limit *limit = &policy->limits[standing->limit];
        if (limit->per != PER_THREAD_TREE) {
            continue;
        }
        const bool money = limit->counts == COUNT_COST;
        put_open(out, NULL, '{');
        put_text(out, "limit", limit->name);
        put_text(out, "counts", count_word(limit->counts));
        put_text(out, "window", window_word(limit->window));
        put_i64(out, money ? "spent_micros" : "used", standing->used);
        put_i64(out, money ? "held_micros" : "held", standing->held);
        put_cap_amount(out, limit, standing->cap);
        put_text(out, "at_cap", at_cap_word(limit->at_cap));
        put_text(out, "tier", standing->tier);
        put_time(out, "resets_at", standing->end_ms);
        put_close(out, '}');
    }
    put_close(out, ']');
}

static void
answer_thread(struct api_worker *worker, struct ask *ask, const struct thread_row *row)
{
    struct limit_standing *standings = NULL;
    int32_t count = 0;
    const struct standing_ask of = { .account_id = row->account_id, .root_id = row->root_id };
    if (!names_ready(worker, ask)) {
        return;
    }
    struct policy *policy = engine_policy(worker->api->options.engine);
    if (standings_read(worker, ask, policy, &of, &standings, &count)) {
        struct buf *out = answer_begin(ask, 200);
        put_thread_members(out, &worker->names, row);
        put_tree(out, policy, standings, count);
        answer_end(ask);
        free(standings);
    }
    engine_policy_unref(worker->api->options.engine, policy);
}

void
get_thread(struct api_worker *worker, struct ask *ask)
{
    struct thread_row row;
    if (read_thread(worker, ask, &row)) {
        answer_thread(worker, ask, &row);
    }
}

/* The first limit of its kind, or the one that is named. NULL: answered. */
static const struct limit *
tree_limit(struct ask *ask, const struct policy *policy, const char *name)
{
    for (int32_t i = 0; !name[0] && i < policy->limit_count; i++) {
        const struct limit *limit = &policy->limits[i];
        if (limit->counts == COUNT_COST && limit->per == PER_THREAD_TREE) {
            return limit;
        }
    }
    if (!name[0]) {
        answer_fault(ask, API_FAULT_TREE_LIMIT_NONE, NULL);
        return NULL;
    }
    return caps_limit_by_name(ask, policy, name);
}

/* Money of limits on money, else a number. False: answered. */
static bool
unit_fits(struct ask *ask, const struct limit *limit, int64_t micros, int64_t units)
{
    const bool money = limit->counts == COUNT_COST;
    if (units && money) {
        answer_field(ask, API_FAULT_FIELD, "amount", API_MONEY_WANTED "`spend_limit_micros`");
    } else if (micros && !money) {
        answer_field(ask, API_FAULT_FIELD, "spend_limit_micros",
            "is money, and this limit does not count cost: say `amount`");
    }
    return money ? units == 0 : micros == 0;
}

void
put_thread_limit(struct api_worker *worker, struct ask *ask)
{
    struct event event = admin_event(ask, ADMIN_CAP_PUT);
    struct admin_cap *cap = &event.admin.cap;
    char name[NAME_MAX_BYTES + 1] = "";
    struct thread_row row;
    int64_t units = 0;
    bool told = false;
    const bool admin = ask->control || ask->identity.role == ROLE_ADMIN;
    const struct field fields[] = {
        { "spend_limit_micros", FIELD_AMOUNT, &cap->amount, .told = &told },
        { "amount", FIELD_AMOUNT, &units, .told = &told },
        { "limit", FIELD_NAME, name },
    };
    if (!fields_of_body(ask, fields, countof(fields)) || !read_thread(worker, ask, &row)) {
        return;
    }
    if (!told) {
        answer_field(ask, API_FAULT_FIELD, "spend_limit_micros",
            "is missing; null says that what rules for all trees rules");
        return;
    }
    if (cap->amount && units) {
        answer_field(ask, API_FAULT_FIELD, "amount", "is given beside the same in micro-USD");
        return;
    }
    cap->kind = SUBJECT_TREE;
    cap->thread_id = row.thread_id;
    cap->of_account_id = admin ? 0 : ask->identity.account_id;
    cap->only_lower = !admin;
    if (cap->amount == 0 && units == 0) { /* null: what rules for all trees rules again */
        event.admin.verb = ADMIN_CAP_DELETE;
        if (!admin) {
            answer_fault(ask, API_FAULT_CAP_HIGHER, NULL);
            return;
        }
    }
    struct policy *policy = engine_policy(worker->api->options.engine);
    const struct limit *limit = tree_limit(ask, policy, name);
    const bool fits = limit && unit_fits(ask, limit, cap->amount, units);
    cap->amount = cap->amount ? cap->amount : units;
    const bool done = fits && caps_change(worker, ask, &event, limit, "thread_limit");
    engine_policy_unref(worker->api->options.engine, policy);
    if (done) {
        answer_thread(worker, ask, &row);
    }
}
