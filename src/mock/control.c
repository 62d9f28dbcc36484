/* mock/control.c: /_mock: the journal, the configuration, health. Bound to whoever can connect: the
 * mock listens on loopback unless told otherwise, and knows no real secret. */
#include "mock/serve_priv.h"

#define WRITE_BYTES   ((size_t)64 << 10)
#define WRITES_A_TURN 8 /* then the streams have their turn */

static void
answer_json(struct mock_call *call, int status, struct slice body)
{
    mock_call_answer(call, status, "application/json", SLICE(""), body);
}

static void
answer_error(struct mock_call *call, int status, const char *message)
{
    struct buf *out = &call->mock->out;
    buf_clear(out);
    buf_add_str(out, "{\"error\":{\"message\":");
    buf_add_json(out, slice_str(message));
    buf_add_str(out, "}}");
    answer_json(call, status, buf_slice(out));
}

/* The value of a name in a query, empty where it is not there. */
static struct slice
query_value(struct slice query, struct slice name)
{
    struct slice rest = query;
    struct slice part;
    while (slice_split(&rest, '&', &part)) {
        const ptrdiff_t equals = slice_find(part, SLICE("="));
        if (equals >= 0 && slice_eq(slice_of(part.ptr, (size_t)equals), name)) {
            return slice_of(part.ptr + equals + 1, part.len - (size_t)equals - 1);
        }
    }
    return SLICE("");
}

/* Sends entries until the client does not keep up, others want their turn, or all are sent. */
static void
send_journal(struct mock_call *call)
{
    const struct mock_journal *journal = &call->mock->journal;
    struct buf *out = &call->mock->out;
    bool room = true;
    for (int writes = 0; call->cursor_n < call->end_n; writes++) {
        if (!room) {
            call->blocked = true;
            call->next = send_journal;
            return;
        }
        if (writes == WRITES_A_TURN) {
            mock_call_later(call, 0, send_journal);
            return;
        }
        buf_clear(out);
        while (call->cursor_n < call->end_n && out->len < WRITE_BYTES) {
            const struct mock_entry *entry = mock_journal_get(journal, call->cursor_n++);
            if (entry) {
                buf_add_str(out, call->any_sent ? ",\n" : "");
                call->any_sent = true;
                mock_entry_json(entry, call->with_bodies, out);
            }
        }
        const struct slice piece = buf_slice(out);
        room = net_send(call->exchange, &piece, 1);
    }
    const struct slice end = SLICE("]\n");
    (void)net_send(call->exchange, &end, 1);
    net_end(call->exchange);
    mock_call_close(call);
}

static void
get_journal(struct mock_call *call, struct slice query)
{
    const struct mock_journal *journal = &call->mock->journal;
    const struct slice since = query_value(query, SLICE("since"));
    int64_t since_n = 0;
    if (since.len && (!slice_to_i64(since, &since_n) || since_n < 0)) {
        answer_error(call, 400, "since: no number of an entry");
        return;
    }
    call->with_bodies = slice_eq(query_value(query, SLICE("bodies")), SLICE("1"));
    call->cursor_n = max_i64(journal->first_n, min_i64(since_n, journal->next_n) + 1);
    call->end_n = journal->next_n;
    net_send_head(
        call->exchange, 200, SLICE("content-type: application/json\r\n"), NET_LENGTH_CHUNKED);
    const struct slice begin = SLICE("[");
    (void)net_send(call->exchange, &begin, 1);
    send_journal(call);
}

static void
delete_journal(struct mock_call *call)
{
    mock_journal_clear(&call->mock->journal);
    mock_state_forget_counts(&call->mock->state);
    answer_json(call, 200, SLICE("{\"ok\":true}\n"));
}

static void
post_config(struct mock_call *call)
{
    char why[256];
    if (!mock_config_read(&call->mock->config, buf_slice(&call->body), why, sizeof why)) {
        answer_error(call, 400, why);
        return;
    }
    answer_json(call, 200, SLICE("{\"ok\":true}\n"));
}

static void
get_health(struct mock_call *call)
{
    const struct mock *mock = call->mock;
    struct buf *out = &call->mock->out;
    buf_clear(out);
    buf_addf(out,
        "{\"ok\":true,\"open\":%lld,\"last\":%lld,\"kept\":%lld,\"dropped\":%lld,"
        "\"kept_bytes\":%zu}\n",
        (long long)mock->open_count, (long long)mock->journal.next_n - 1,
        (long long)(mock->journal.next_n - mock->journal.first_n),
        (long long)mock->journal.dropped_count, mock->journal.kept_bytes);
    answer_json(call, 200, buf_slice(out));
}

static void
get_keys(struct mock_call *call)
{
    struct buf *out = &call->mock->out;
    buf_clear(out);
    mock_behaviour_keys_json(out);
    answer_json(call, 200, buf_slice(out));
}

void
mock_control(struct mock_call *call)
{
    const struct http_head *head = net_exchange_head(call->exchange);
    const struct slice path = call->path;
    const enum http_method method = head->method;
    if (slice_eq(path, SLICE("/_mock/journal")) && method == HTTP_METHOD_GET) {
        get_journal(call, head->query);
    } else if (slice_eq(path, SLICE("/_mock/journal")) && method == HTTP_METHOD_DELETE) {
        delete_journal(call);
    } else if (slice_eq(path, SLICE("/_mock/config")) && method == HTTP_METHOD_POST) {
        post_config(call);
    } else if (slice_eq(path, SLICE("/_mock/health")) && method == HTTP_METHOD_GET) {
        get_health(call);
    } else if (slice_eq(path, SLICE("/_mock/keys")) && method == HTTP_METHOD_GET) {
        get_keys(call);
    } else {
        answer_error(call, 404,
            "Here are GET and DELETE /_mock/journal, POST /_mock/config, GET /_mock/health and "
            "GET /_mock/keys.");
    }
}
