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
put_data(struct buf *out, bool all, const struct ledger_row *row)
{
    struct json_value limit;
    if (all || row->kind == LEDGER_WARN) {
        put_json(out, "data", row->inputs);
        return;
    }
    put_open(out, "data", '{');
    if (json_get(row->inputs, "limit", &limit)) {
        put_json(out, "limit", limit.text);
    }
    put_close(out, '}');
}

void
put_event_object(const struct names *names, bool all, struct buf *out, const struct ledger_row *row)
{
    const struct account_name *account = names_by_id(names, row->account_id);
    put_open(out, NULL, '{');
    put_id(out, "id", "evt_", row->id);
    put_text(out, "event", topic_word(row->kind == LEDGER_WARN ? TOPIC_WARN : TOPIC_SHADOW));
    put_time(out, "at", row->at_ms);
    put_text_or_null(out, "account", account ? account->name : NULL);
    put_id(out, "key", "key_", row->key_id);
    put_text_or_null(out, "model", row->model);
    put_text_or_null(out, "reason", row->reason == REASON_OK ? "" : reason_row(row->reason)->code);
    put_data(out, all, row);
    put_close(out, '}');
}

static bool
put_event(void *user, const struct ledger_row *row)
{
    struct listing *listing = user;
    put_event_object(listing->names, listing->all, listing->out, row);
    listing->last_id = row->id;
    listing->count++;
    return !listing->out->failed;
}

/* Whether it is to be followed; false with *good false: answered. */
static bool
is_followed(struct ask *ask, const char *told, bool *good)
{
    const bool follow = strcmp(told, "1") == 0 || strcmp(told, "true") == 0;
    *good = false;
    if (told[0] && !follow) {
        answer_field(ask, API_FAULT_PARAMETER, "follow", "must be 1");
    } else if (follow && !ask->may_stream) {
        answer_field(
            ask, API_FAULT_PARAMETER, "follow", "is for a GET over a connection to a gateway");
    } else {
        *good = true;
    }
    return *good && (follow || (ask->may_stream && ask->wants_stream));
}

void
get_events(struct api_worker *worker, struct ask *ask)
{
    char account[NAME_MAX_BYTES + 1] = "";
    int64_t limit = 0;
    char follow[NAME_MAX_BYTES + 1] = "";
    bool good = true;
    struct event_filter filter = { 0 };
    struct listing listing = { .names = &worker->names, .all = ask->may_read_all };
    const struct field fields[] = {
        { "account", FIELD_NAME, account },
        { "before", FIELD_ID, &filter.before_id, .prefix = "evt_" },
        { "after", FIELD_ID, &filter.after_id, .prefix = "evt_" },
        { "limit", FIELD_COUNT, &limit, .max = EVENTS_MAX },
        { "follow", FIELD_NAME, follow },
    };
    if (!fields_of_query(ask, fields, countof(fields)) || !names_ready(worker, ask)) {
        return;
    }
    if (!ask->may_read_all) { /* its own, whatever account it names */
        filter.account_id = ask->identity.account_id;
    } else if (!names_id_of(worker, ask, account, &filter.account_id)) {
        return;
    }
    if (!ask->follows) {
        worker_catch_up(worker, ask, false);
    }
    if (is_followed(ask, follow, &good)) {
        follow_events(worker, ask, filter.account_id, limit);
        return;
    }
    if (!good) {
        return;
    }
    limit = limit ? limit : EVENTS_DEFAULT;
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
