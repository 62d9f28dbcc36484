/* api/accounts.c: accounts, as admins make, ban and list them. */
#include "api/api_priv.h"

#include "log/log.h"

#define ACCOUNTS_DEFAULT 1000
#define ACCOUNTS_MAX     10000

struct event
admin_event(const struct ask *ask, enum admin_verb verb)
{
    struct event event = { .kind = EVENT_ADMIN };
    event.admin.verb = verb;
    (void)slice_to_cstr(slice_str(ask->actor), event.admin.actor, sizeof(event.admin.actor));
    return event;
}

static const char *
account_state_word(enum account_state state)
{
    return state == ACCOUNT_BANNED ? "banned" : "ok";
}

/* --- Listing. */

struct listing {
    struct buf *out;
    int64_t after_id, left, last_id;
    bool more;
};

static bool
put_account(void *user, const struct account_row *row)
{
    struct listing *listing = user;
    if (row->account_id <= listing->after_id) {
        return true;
    }
    if (listing->left-- == 0) {
        listing->more = true;
        return false;
    }
    struct buf *out = listing->out;
    put_open(out, NULL, '{');
    put_id(out, "id", "acc_", row->account_id);
    put_text(out, "name", row->name);
    put_text_or_null(out, "plan", row->plan);
    put_text_or_null(out, "organisation", row->organisation);
    put_text(out, "state", account_state_word(row->state));
    put_time(out, "created_at", row->created_ms);
    put_close(out, '}');
    listing->last_id = row->account_id;
    return !out->failed;
}

void
get_accounts(struct api_worker *worker, struct ask *ask)
{
    int64_t limit = ACCOUNTS_DEFAULT;
    struct listing listing = { 0 };
    const struct field fields[] = {
        { "limit", FIELD_COUNT, &limit, .max = ACCOUNTS_MAX },
        { "after", FIELD_ID, &listing.after_id, .prefix = "acc_" },
    };
    if (!fields_of_query(ask, fields, countof(fields))) {
        return;
    }
    listing.left = limit;
    listing.out = answer_begin(ask, 200);
    put_open(listing.out, "accounts", '[');
    if (store_read_accounts(worker->reader, put_account, &listing) != STATUS_OK) {
        worker_read_failed(worker, ask);
        return;
    }
    put_close(listing.out, ']');
    put_id(listing.out, "next_after", "acc_", listing.more ? listing.last_id : 0);
    answer_end(ask);
}

/* --- Changing. */

static void
refuse_plan(struct ask *ask, const struct policy *policy, const char *plan)
{
    struct buf text = { 0 };
    buf_addf(&text, "'%.100s'; there are", plan);
    for (int32_t i = 0; i < policy->plan_count; i++) {
        buf_addf(&text, "%s %s", i ? "," : "", policy->plans[i]);
    }
    buf_add_char(&text, '.');
    answer_fault(ask, API_FAULT_PLAN_UNKNOWN, buf_cstr(&text));
    buf_free(&text);
}

static bool
plan_is_known(struct api_worker *worker, struct ask *ask, const char *plan)
{
    struct policy *policy = engine_policy(worker->api->options.engine);
    const bool known = !plan[0] || policy_has_plan(policy, slice_str(plan));
    if (!known) {
        refuse_plan(ask, policy, plan);
    }
    engine_policy_unref(worker->api->options.engine, policy);
    return known;
}

/* Sends the event with its note; the answer to "done" stands already, all others are answered. */
static void
change_account(struct api_worker *worker, struct ask *ask, struct event *event, const char *what)
{
    struct buf note = { 0 };
    struct verdict verdict;
    put_open(&note, NULL, '{');
    put_text(&note, "verb", what);
    put_text(&note, "account", event->admin.account.name);
    put_text_or_null(&note, "plan", event->admin.account.plan);
    put_text_or_null(&note, "organisation", event->admin.account.organisation);
    put_close(&note, '}');
    event->admin.note = buf_slice(&note);
    const bool came =
        !note.failed && change_once(worker, ask, event, (struct slice){ 0 }, &verdict);
    if (note.failed) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
    }
    buf_free(&note); /* the engine has its copy */
    if (!came) {
        return;
    }
    switch (verdict.admin) {
    case ADMIN_DONE:
        log_line(LOG_INFO, "admin", "%s by %s: account '%s'", what, ask->actor,
            event->admin.account.name);
        break;
    case ADMIN_NOT_FOUND: answer_reason(ask, REASON_ACCOUNT_UNKNOWN); break;
    case ADMIN_EXISTS:
        answer_fault(ask, API_FAULT_ACCOUNT_EXISTS, event->admin.account.name);
        break;
    default: answer_fault(ask, API_FAULT_FIELD, NULL); break;
    }
}

void
post_account(struct api_worker *worker, struct ask *ask)
{
    struct event event = admin_event(ask, ADMIN_ACCOUNT_PUT);
    struct account_row *row = &event.admin.account;
    const struct field fields[] = {
        { "name", FIELD_NAME, row->name, .required = true },
        { "plan", FIELD_NAME, row->plan },
        { "organisation", FIELD_NAME, row->organisation },
    };
    event.admin.must_be_new = true;
    if (!fields_of_body(ask, fields, countof(fields)) || !plan_is_known(worker, ask, row->plan)) {
        return;
    }
    if (!row->name[0]) {
        answer_field(ask, API_FAULT_FIELD, "name", "is empty");
        return;
    }
    struct policy *policy = engine_policy(worker->api->options.engine);
    struct buf *out = answer_begin(ask, 201);
    put_new_id(out, "id", "acc_");
    put_text(out, "name", row->name);
    put_text_or_null(out, "plan", row->plan[0] ? row->plan : policy->default_plan);
    put_text_or_null(out, "organisation", row->organisation);
    put_text(out, "state", account_state_word(ACCOUNT_OK));
    answer_end(ask);
    engine_policy_unref(worker->api->options.engine, policy);
    change_account(worker, ask, &event, "account_add");
}

void
post_account_ban(struct api_worker *worker, struct ask *ask)
{
    const bool ban = ask->endpoint == ENDPOINT_ACCOUNT_BAN;
    struct event event = admin_event(ask, ADMIN_ACCOUNT_PUT);
    struct account_row *row = &event.admin.account;
    row->state = ban ? ACCOUNT_BANNED : ACCOUNT_OK;
    if (!api_percent_decode(ask->segment, false, row->name, sizeof(row->name))) {
        answer_reason(ask, REASON_ACCOUNT_UNKNOWN);
        return;
    }
    struct buf *out = answer_begin(ask, 200);
    put_new_id(out, "id", "acc_");
    put_text(out, "name", row->name);
    put_text(out, "state", account_state_word(row->state));
    answer_end(ask);
    change_account(worker, ask, &event, ban ? "account_ban" : "account_unban");
}
