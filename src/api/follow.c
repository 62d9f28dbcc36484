/* api/follow.c: events as they come, as server-sent events. A thread looks for what is new, again and again, and the
 * loop sends it (streams.c): a look costs a few reads by an index, and whoever asks is judged anew each time, so that
 * a stream ends with the key it was asked for by.
 *
 * Each event has the cursor behind it as its id: who comes back with Last-Event-ID, at whatever gateway, goes on where
 * it was. */
#include "api/cursor_priv.h"

#define BATCH_ROWS 200 /* of one epoch in one look */

struct following {
    struct ask *ask;
    const struct names *names;
    struct buf object;
    int64_t count;
    bool failed;
};

/* --- Texts. */

static void
put_cursor(struct buf *out, const struct cursor *cursor)
{
    buf_add_str(out, "id: ");
    cursor_add_text(out, cursor);
    buf_add_char(out, '\n');
}

static void
put_event(struct following *following, struct buf *out, const struct ledger_row *row)
{
    struct buf *object = &following->object;
    buf_clear(object);
    put_event_object(following->names, following->ask->may_read_all, object, row);
    buf_addf(
        out, "event: %s\ndata: ", topic_word(row->kind == LEDGER_WARN ? TOPIC_WARN : TOPIC_SHADOW));
    buf_add_slice(out, buf_slice(object));
    buf_add_str(out, "\n\n");
    following->failed |= object->failed || out->failed;
}

/* --- What is new. */

static bool
take_new(void *user, const struct ledger_row *row)
{
    struct following *following = user;
    struct ask *ask = following->ask;
    cursor_move(&ask->cursor, row->id);
    put_cursor(&ask->out, &ask->cursor);
    put_event(following, &ask->out, row);
    following->count++;
    return !following->failed;
}

static enum status
read_range(struct api_worker *worker, struct following *following, struct event_filter *filter,
    int64_t after_id, int64_t before_id)
{
    following->count = 0;
    filter->after_id = after_id;
    filter->before_id = before_id;
    const enum status status = store_read_events(worker->reader, filter, take_new, following);
    following->ask->more |= following->count == filter->limit;
    return status;
}

struct alive {
    int64_t epochs[CURSOR_EPOCHS_MAX];
    int32_t count;
};

static bool
take_node(void *user, const struct node_row *row)
{
    struct alive *alive = user;
    alive->epochs[alive->count++] = row->epoch;
    return alive->count < CURSOR_EPOCHS_MAX;
}

/* The newest of an epoch that others have been read beside. */
static bool
take_newest(void *user, const struct ledger_row *row)
{
    *(int64_t *)user = row->id;
    return false;
}

static enum status
begin_epoch(struct api_worker *worker, struct cursor *cursor, int64_t epoch, bool from_now)
{
    int64_t last_id = epoch << ID_COUNTER_BITS;
    const struct event_filter filter = {
        .after_id = last_id, .before_id = cursor_epoch_end(last_id), .limit = 1
    };
    const enum status status =
        from_now ? store_read_events(worker->reader, &filter, take_newest, &last_id) : STATUS_OK;
    cursor_move(cursor, last_id);
    return status;
}

/* Who writes now is asked first: an epoch that begins later is of a higher number than all of these. */
static enum status
read_news(struct api_worker *worker, struct following *following, int64_t account_id)
{
    struct cursor *cursor = &following->ask->cursor;
    struct alive alive = { .count = 0 };
    struct event_filter filter = {
        .account_id = account_id, .limit = BATCH_ROWS, .oldest_first = true
    };
    enum status status = store_read_nodes(worker->reader, take_node, &alive);
    const struct cursor before = *cursor;
    const int64_t known_end = cursor_end(&before);
    int64_t end = known_end;
    for (int32_t i = 0; i < alive.count; i++) {
        end = max_i64(end, cursor_epoch_end(alive.epochs[i] << ID_COUNTER_BITS));
    }
    for (int32_t i = 0; i < before.count && status == STATUS_OK; i++) {
        const int64_t last_id = before.at[i].last_id;
        status = read_range(worker, following, &filter, last_id, cursor_epoch_end(last_id));
    }
    if (status == STATUS_OK && end > known_end) {
        status = read_range(worker, following, &filter, known_end - 1, end);
    }
    for (int32_t i = 0; i < alive.count && status == STATUS_OK; i++) {
        const bool late = alive.epochs[i] << ID_COUNTER_BITS < known_end;
        if (!cursor_has(cursor, alive.epochs[i])) {
            status = begin_epoch(worker, cursor, alive.epochs[i], late);
        }
    }
    cursor_look(cursor, alive.epochs, alive.count);
    return status;
}

/* --- The beginning. */

struct backlog {
    struct following *following;
    struct buf texts; /* newest first */
    size_t *ends;
    int64_t count;
};

static bool
take_old(void *user, const struct ledger_row *row)
{
    struct backlog *backlog = user;
    put_event(backlog->following, &backlog->texts, row);
    backlog->ends[backlog->count++] = backlog->texts.len;
    return !backlog->following->failed;
}

/* The last ones of before, oldest first. */
static enum status
read_backlog(
    struct api_worker *worker, struct following *following, int64_t account_id, int64_t count)
{
    struct arena arena = { 0 };
    const struct event_filter filter = { .account_id = account_id, .limit = (int32_t)count };
    struct backlog backlog = { .following = following,
        .ends = arena_alloc(&arena, (size_t)count * sizeof(size_t)) };
    const enum status status =
        backlog.ends ? store_read_events(worker->reader, &filter, take_old, &backlog) : STATUS_FULL;
    for (int64_t i = backlog.count; i-- > 0;) {
        const size_t begin = i ? backlog.ends[i - 1] : 0;
        buf_add(&following->ask->out, backlog.texts.ptr + begin, backlog.ends[i] - begin);
    }
    buf_free(&backlog.texts);
    arena_free(&arena);
    return status;
}

/* From now on, as far as each gateway has come. */
static enum status
begin_now(struct api_worker *worker, struct cursor *cursor)
{
    struct alive alive = { .count = 0 };
    enum status status = store_read_nodes(worker->reader, take_node, &alive);
    for (int32_t i = 0; i < alive.count && status == STATUS_OK; i++) {
        status = begin_epoch(worker, cursor, alive.epochs[i], true);
    }
    return status;
}

static enum status
begin(struct api_worker *worker, struct following *following, int64_t account_id, int64_t backlog)
{
    struct ask *ask = following->ask;
    enum status status = STATUS_OK;
    if (ask->last_event_id[0] == '\0') {
        status = backlog ? read_backlog(worker, following, account_id, backlog) : STATUS_OK;
        status = status == STATUS_OK ? begin_now(worker, &ask->cursor) : status;
    }
    put_cursor(&ask->out, &ask->cursor);
    buf_add_char(&ask->out, '\n');
    return status;
}

void
follow_events(struct api_worker *worker, struct ask *ask, int64_t account_id, int64_t backlog)
{
    struct following following = { .ask = ask, .names = &worker->names };
    const bool first = !ask->follows;
    if (first && ask->last_event_id[0]
        && !cursor_parse(slice_str(ask->last_event_id), &ask->cursor)) {
        answer_error(ask, 400, "last_event_id_invalid",
            "Last-Event-ID is none of this stream's ids, such as evt_12.");
        return;
    }
    if (first && !stream_enter(worker->api)) {
        answer_reason(ask, REASON_OVERLOADED);
        return;
    }
    ask->follows = true;
    ask->status = 200;
    ask->media_type = "text/event-stream";
    ask->more = false;
    ask->out.limit_bytes = API_ANSWER_BYTES_MAX;
    enum status status = first ? begin(worker, &following, account_id, backlog) : STATUS_OK;
    if (status == STATUS_OK) {
        status = read_news(worker, &following, account_id);
    }
    buf_free(&following.object);
    if (status != STATUS_OK) {
        worker_read_failed(worker, ask);
    } else if (following.failed) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
    }
}
