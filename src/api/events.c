/* api/events.c: what was told: percentages of limits that were reached, and what limits that are only watched
 * would have refused. The same objects as in messages to webhooks. */
#include "api/api_priv.h"

#include "wire/json.h"

#define EVENTS_DEFAULT 100
#define EVENTS_MAX     1000

struct listing {
    struct buf *out;
    const struct names *names;
    int64_t last_id, count;
    bool all; /* who asks may read all */
};

/* What others have used of a limit that is watched is nobody's but theirs who may read all. */
static void
put_data(const struct listing *listing, const struct ledger_row *row)
{
    struct json_value limit;
    if (listing->all || row->kind == LEDGER_WARN) {
        put_json(listing->out, "data", row->inputs);
        return;
    }
    put_open(listing->out, "data", '{');
    if (json_get(row->inputs, "limit", &limit)) {
        put_json(listing->out, "limit", limit.text);
    }
    put_close(listing->out, '}');
}

static bool
put_event(void *user, const struct ledger_row *row)
{
    struct listing *listing = user;
    struct buf *out = listing->out;
    const struct account_name *account = names_by_id(listing->names, row->account_id);
    put_open(out, NULL, '{');
    put_id(out, "id", "evt_", row->id);
    put_text(out, "event", topic_word(row->kind == LEDGER_WARN ? TOPIC_WARN : TOPIC_SHADOW));
    put_time(out, "at", row->at_ms);
    put_text_or_null(out, "account", account ? account->name : NULL);
    put_id(out, "key", "key_", row->key_id);
    put_text_or_null(out, "model", row->model);
    put_text_or_null(out, "reason", row->reason == REASON_OK ? "" : reason_row(row->reason)->code);
    put_data(listing, row);
    put_close(out, '}');
    listing->last_id = row->id;
    listing->count++;
    return !out->failed;
}

void
get_events(struct api_worker *worker, struct ask *ask)
{
    char account[NAME_MAX_BYTES + 1] = "";
    int64_t limit = EVENTS_DEFAULT;
    struct event_filter filter = { 0 };
    struct listing listing = { .names = &worker->names, .all = ask->may_read_all };
    const struct field fields[] = {
        { "account", FIELD_NAME, account },
        { "before", FIELD_ID, &filter.before_id, .prefix = "evt_" },
        { "after", FIELD_ID, &filter.after_id, .prefix = "evt_" },
        { "limit", FIELD_COUNT, &limit, .max = EVENTS_MAX },
    };
    if (!fields_of_query(ask, fields, countof(fields)) || !names_ready(worker, ask)) {
        return;
    }
    if (!ask->may_read_all) { /* its own, whatever account it names */
        filter.account_id = ask->identity.account_id;
    } else if (!names_id_of(worker, ask, account, &filter.account_id)) {
        return;
    }
    worker_catch_up(worker, ask);
    filter.limit = (int32_t)limit;
    listing.out = answer_begin(ask, 200);
    put_open(listing.out, "events", '[');
    if (store_read_events(worker->reader, &filter, put_event, &listing) != STATUS_OK) {
        worker_read_failed(worker, ask);
        return;
    }
    put_close(listing.out, ']');
    put_id(listing.out, "next_before", "evt_", listing.count == limit ? listing.last_id : 0);
    answer_end(ask);
}
