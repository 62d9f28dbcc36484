/* bench/load_soak.c: many streams at once and short calls at a rate, of many kinds, for as long as it takes.
 *
 * --plan FILE has a line for each kind of call, its words parted by spaces:
 *
 *     NAME SLOT WEIGHT FIRST_KEY KEYS PATH LIMIT_FIELD MODEL STREAM LIMIT_FROM SPAN BYTES LEAVE LEAVE_MAX
 *
 * SLOT is short, stream or slow: which connections draw it, as often as WEIGHT says. Its key is one of KEYS
 * keys from FIRST_KEY on. Each call has an output limit of its own, from LIMIT_FROM up; after SPAN calls the
 * next model takes over (MODEL-0, MODEL-1, ...): model and limit name a call in the books and in the
 * provider's journal. BYTES are those of its text. LEAVE of 1,000 clients go away before the end: of a stream
 * after up to LEAVE_MAX events, of a short call after up to LEAVE_MAX ms.
 *
 * A stream's place is taken again as soon as it is over. --record FILE tells the streams that were left:
 * model, limit, and how many events of the answer had come. At the end one line of JSON tells, kind by
 * kind, what clients got. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/fail.h"
#include "bench/load_priv.h"
#include "bench/request.h"

#define KINDS_MAX          64
#define STATUSES           600
#define TURN_US            5000  /* how often places are looked at */
#define AGAIN_US           50000 /* before a place is taken again whose call failed */
#define SLOW_PAUSE_US      400000
#define SLOW_RECEIVE       (64 * 1024)
#define SETTLE_US          200000
#define END_US             10000000 /* for calls under way at the end; then their clients leave */
#define THREADS_AN_ACCOUNT 40
#define TELL_US            10000000

enum slot { SLOT_SHORT, SLOT_STREAM, SLOT_SLOW, SLOT_COUNT };

struct kind {
    char name[32], path[64], limit_field[32], model[64];
    enum slot slot;
    int32_t weight, first_key, keys, leave_of_1000, leave_max;
    bool stream;
    int64_t limit_from, span, text_bytes;

    int64_t begun, ended, left, lost, chunks;
    int64_t statuses[STATUSES];
};

struct soak {
    struct kind kinds[KINDS_MAX];
    int32_t kind_count, weights[SLOT_COUNT];
    FILE *record;
    uint64_t random;
    struct buf body;
    int64_t next_turn_us, next_tell_us, end_us; /* end_us: 0 while calls are begun */
};

/* --- The plan. */

static enum slot
slot_of(const char *word)
{
    static const char *const words[] = { "short", "stream", "slow" };
    for (size_t i = 0; i < countof(words); i++) {
        if (strcmp(word, words[i]) == 0) {
            return (enum slot)i;
        }
    }
    fail("the plan has no slot %s", word);
}

static void
read_kind(struct soak *soak, const char *line)
{
    if (soak->kind_count == KINDS_MAX) {
        fail("the plan has more than %d kinds", KINDS_MAX);
    }
    struct kind *kind = &soak->kinds[soak->kind_count++];
    char slot[16];
    int stream = 0;
    const int found = sscanf(line,
        "%31s %15s %" SCNd32 " %" SCNd32 " %" SCNd32 " %63s %31s %63s %d %" SCNd64 " %" SCNd64
        " %" SCNd64 " %" SCNd32 " %" SCNd32,
        kind->name, slot, &kind->weight, &kind->first_key, &kind->keys, kind->path,
        kind->limit_field, kind->model, &stream, &kind->limit_from, &kind->span, &kind->text_bytes,
        &kind->leave_of_1000, &kind->leave_max);
    if (found != 14 || kind->weight < 1 || kind->keys < 1 || kind->span < 1
        || kind->leave_max < 1) {
        fail("the plan has a line that is none: %s", line);
    }
    kind->slot = slot_of(slot);
    kind->stream = stream != 0;
    soak->weights[kind->slot] += kind->weight;
}

static void
read_plan(struct soak *soak, const char *path)
{
    char line[512];
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file) {
        fail("soak wants --plan FILE");
    }
    while (fgets(line, sizeof line, file)) {
        read_kind(soak, line);
    }
    (void)fclose(file);
}

static int64_t
draw(struct soak *soak, int64_t below)
{
    soak->random ^= soak->random << 13;
    soak->random ^= soak->random >> 7;
    soak->random ^= soak->random << 17;
    return (int64_t)((soak->random >> 11) % (uint64_t)below);
}

static enum slot
slot_of_conn(const struct conn *conn)
{
    const struct load_options *options = &conn->load->options;
    return conn->index < options->shorts                   ? SLOT_SHORT
           : conn->index < options->shorts + options->slow ? SLOT_SLOW
                                                           : SLOT_STREAM;
}

static int32_t
draw_kind(struct soak *soak, enum slot slot)
{
    int64_t at = draw(soak, soak->weights[slot]);
    for (int32_t i = 0; i < soak->kind_count; i++) {
        at -= soak->kinds[i].slot == slot ? soak->kinds[i].weight : 0;
        if (at < 0) {
            return i;
        }
    }
    fail("the plan has no kind for some connections");
}

/* --- One call. */

static int64_t
limit_of(const struct kind *kind, const struct conn *conn)
{
    return kind->limit_from + conn->serial % kind->span;
}

static void
write_request(struct conn *conn, const struct kind *kind)
{
    struct load *load = conn->load;
    struct soak *soak = load->soak;
    struct buf *body = &soak->body;
    char host[96];
    char thread[32];
    buf_clear(body);
    buf_addf(body, "{\"model\":\"%s-%" PRId64 "\",\"%s\":%" PRId64 ",\"stream\":%s,", kind->model,
        conn->serial / kind->span, kind->limit_field, limit_of(kind, conn),
        kind->stream ? "true" : "false");
    const bool messages = strcmp(kind->limit_field, "max_output_tokens") != 0;
    buf_add_str(
        body, messages ? "\"messages\":[{\"role\":\"user\",\"content\":\"" : "\"input\":\"");
    request_text(body, (size_t)kind->text_bytes);
    buf_add_str(body, messages ? "\"}]}" : "\"}");
    (void)snprintf(host, sizeof host, "%s:%u", load->options.host, (unsigned)load->options.port);
    (void)snprintf(thread, sizeof thread, "soak-%d", (int)draw(soak, THREADS_AN_ACCOUNT));
    const int64_t key = (kind->first_key + draw(soak, kind->keys)) % load->key_count;
    buf_clear(&conn->request);
    request_head(&conn->request, host, kind->path, load->keys[key], thread, "", body->len);
    buf_add_slice(&conn->request, buf_slice(body));
    if (conn->request.failed || body->failed) {
        fail("no memory");
    }
}

static void
begin(struct conn *conn, int64_t due_us, int64_t now_us)
{
    struct soak *soak = conn->load->soak;
    conn->kind = draw_kind(soak, slot_of_conn(conn));
    struct kind *kind = &soak->kinds[conn->kind];
    conn->serial = kind->begun++;
    const bool leaves = draw(soak, 1000) < kind->leave_of_1000;
    const int64_t when = leaves ? 1 + draw(soak, kind->leave_max) : 0;
    conn->leave_chunks = kind->stream ? when : 0;
    conn->leave_us = leaves && !kind->stream ? now_us + when * 1000 : 0;
    conn->wake_us = 0;
    write_request(conn, kind);
    conn_send(conn, due_us, now_us);
}

/* Its client goes away. */
static void
leave(struct conn *conn, int64_t now_us)
{
    struct soak *soak = conn->load->soak;
    struct kind *kind = &soak->kinds[conn->kind];
    kind->left++;
    if (kind->stream) {
        (void)fprintf(soak->record, "%s-%" PRId64 " %" PRId64 " %" PRId64 "\n", kind->model,
            conn->serial / kind->span, limit_of(kind, conn), conn->chunks);
    }
    conn->kind = -1;
    conn->leave_us = conn->leave_chunks = 0;
    if (soak->end_us > 0) {
        conn_close(conn);
        return;
    }
    conn->due_us = now_us;
    conn_open(conn);
}

/* --- The mode. */

static bool
begins(const struct load *load)
{
    return load->soak->end_us == 0;
}

static int64_t
next_due_us(const struct load *load)
{
    return load->start_us + SETTLE_US + load->due_count * 1000000 / load->options.rate;
}

static void
soak_start(struct load *load)
{
    struct soak *soak = calloc(1, sizeof *soak);
    if (!soak || load->key_count == 0 || load->options.rate == 0) {
        fail("soak wants --keys and --rate");
    }
    load->soak = soak;
    soak->random = UINT64_C(88172645463325252); /* the same calls each time */
    read_plan(soak, load->options.plan_file);
    soak->record = load->options.record_file ? fopen(load->options.record_file, "we") : NULL;
    if (!soak->record) {
        fail("soak wants --record FILE");
    }
    soak->next_tell_us = load->start_us + TELL_US;
    for (int32_t i = 0; i < load->options.shorts; i++) {
        conn_open(&load->conns[i]);
    }
    load->begun = load->options.shorts; /* the streams' connections follow at --ramp a second */
}

static void
soak_ready(struct conn *conn, int64_t now_us)
{
    struct load *load = conn->load;
    if (!begins(load)) {
        return;
    }
    if (slot_of_conn(conn) != SLOT_SHORT) {
        if (conn->wake_us <= now_us) {
            begin(conn, now_us, now_us);
        }
    } else if (next_due_us(load) <= now_us) {
        const int64_t due_us = next_due_us(load);
        load->due_count++;
        begin(conn, due_us, now_us);
    } else {
        list_push_back(&load->ready, &conn->ready);
    }
}

static void
soak_head(struct conn *conn, int32_t status)
{
    struct kind *kind = &conn->load->soak->kinds[conn->kind];
    kind->statuses[status < STATUSES ? status : 0]++;
    if (status != 200) {
        conn->wake_us = INT64_MAX; /* refused or failed: its place is taken again a little later */
    }
}

static void
soak_payload(struct conn *conn, struct slice bytes, int64_t now_us)
{
    struct load *load = conn->load;
    struct kind *kind = &load->soak->kinds[conn->kind];
    if (!kind->stream) {
        return;
    }
    const uint32_t count = events_count(&conn->events, bytes);
    if (conn->chunks == 0 && count > 0) {
        latencies_add(&load->first_chunk, now_us - conn->due_us);
    }
    conn->chunks += count;
    kind->chunks += count;
    load->chunks_all += count;
    if (conn->leave_chunks > 0 && conn->chunks >= conn->leave_chunks) {
        leave(conn, now_us);
    } else if (kind->slot == SLOT_SLOW) {
        conn->wake_us = now_us + SLOW_PAUSE_US;
        conn_pause(conn);
    }
}

static void
soak_answered(struct conn *conn, int64_t now_us)
{
    struct load *load = conn->load;
    struct kind *kind = &load->soak->kinds[conn->kind];
    kind->ended++;
    if (!kind->stream) {
        latencies_add(&load->latency, now_us - conn->due_us);
    }
    conn->wake_us = conn->wake_us == INT64_MAX ? now_us + AGAIN_US : 0;
    conn->leave_us = conn->leave_chunks = 0;
    conn->kind = -1;
}

static void
soak_lost(struct conn *conn, int64_t now_us)
{
    struct soak *soak = conn->load->soak;
    if (conn->kind >= 0) {
        struct kind *kind = &soak->kinds[conn->kind];
        kind->lost++;
        (void)fprintf(stderr,
            "load: %s, limit %" PRId64 ": the connection was lost after %" PRId64 " events\n",
            kind->name, limit_of(kind, conn), conn->chunks);
    }
    conn->kind = -1;
    conn->leave_us = conn->leave_chunks = 0;
    conn->wake_us = now_us + AGAIN_US; /* a server that is gone is not asked in a hot loop */
}

static void
tell(const struct load *load, int64_t now_us)
{
    int32_t streams = 0;
    int32_t shorts = 0;
    for (int32_t i = 0; i < load->options.connections; i++) {
        const bool busy = conn_busy(&load->conns[i]);
        shorts += busy && slot_of_conn(&load->conns[i]) == SLOT_SHORT;
        streams += busy && slot_of_conn(&load->conns[i]) != SLOT_SHORT;
    }
    const int64_t late_us = now_us - next_due_us(load);
    (void)printf("{\"at_ms\":%" PRId64 ",\"streams\":%" PRId32 ",\"shorts\":%" PRId32
                 ",\"short_calls\":%" PRId64 ",\"chunks\":%" PRId64 ",\"late_ms\":%" PRId64 "}\n",
        (now_us - load->start_us) / 1000, streams, shorts, load->due_count, load->chunks_all,
        late_us > 0 ? late_us / 1000 : 0);
    (void)fflush(stdout);
    (void)fflush(load->soak->record);
}

/* What is due on one connection. */
static void
look_at(struct conn *conn, int64_t now_us)
{
    if (conn->state == CONN_CLOSED && begins(conn->load)) {
        if (conn->wake_us <= now_us) {
            conn_open(conn);
        }
    } else if (conn->kind >= 0 && conn->leave_us > 0 && conn->leave_us <= now_us) {
        leave(conn, now_us);
    } else if (conn->wake_us > 0 && conn->wake_us <= now_us) {
        conn->wake_us = 0;
        if (conn->state == CONN_BODY) {
            conn_resume(conn);
        } else if (conn->state == CONN_READY && begins(conn->load) && list_empty(&conn->ready)) {
            soak_ready(conn, now_us);
        }
    }
}

static void
start_due(struct load *load, int64_t now_us)
{
    while (!list_empty(&load->ready) && next_due_us(load) <= now_us) {
        const int64_t due_us = next_due_us(load);
        load->due_count++;
        begin(list_entry(load->ready.next, struct conn, ready), due_us, now_us);
    }
}

/* No call is begun any more: those under way have a while to end. */
static void
end_soon(struct load *load, int64_t now_us)
{
    int32_t busy = 0;
    for (int32_t i = 0; i < load->options.connections; i++) {
        struct conn *conn = &load->conns[i];
        if (conn_busy(conn) && now_us > load->soak->end_us + END_US) {
            leave(conn, now_us);
        }
        busy += conn_busy(conn);
    }
    load->over = busy == 0;
}

static int64_t
soak_turn(struct load *load, int64_t now_us)
{
    struct soak *soak = load->soak;
    const int64_t until_us = load->start_us + SETTLE_US + load->options.window_us;
    if (begins(load)) {
        if (now_us >= until_us || load_stopping()) {
            soak->end_us = now_us;
        }
        while (load->begun < load->options.connections
               && load->start_us
                          + (load->begun - load->options.shorts) * INT64_C(1000000)
                                / load->options.ramp
                      <= now_us) {
            struct conn *conn = &load->conns[load->begun++];
            conn->receive_bytes = slot_of_conn(conn) == SLOT_SLOW ? SLOW_RECEIVE : 0;
            conn_open(conn);
        }
        start_due(load, now_us);
    }
    if (now_us >= soak->next_turn_us) {
        soak->next_turn_us = now_us + TURN_US;
        for (int32_t i = 0; i < load->begun; i++) {
            look_at(&load->conns[i], now_us);
        }
        if (!begins(load)) {
            end_soon(load, now_us);
        }
    }
    if (now_us >= soak->next_tell_us) {
        soak->next_tell_us += TELL_US;
        tell(load, now_us);
    }
    return TURN_US > soak->next_turn_us - now_us ? soak->next_turn_us - now_us : TURN_US;
}

static void
soak_report(const struct load *load)
{
    struct soak *soak = load->soak;
    (void)printf("{\"over\":true,\"seconds\":%" PRId64 ",\"short_calls\":%" PRId64
                 ",\"chunks\":%" PRId64,
        (soak->end_us - load->start_us) / 1000000, load->due_count, load->chunks_all);
    load_put_latencies("latency", &load->latency);
    load_put_latencies("first_chunk", &load->first_chunk);
    (void)printf(",\"kinds\":{");
    for (int32_t i = 0; i < soak->kind_count; i++) {
        const struct kind *kind = &soak->kinds[i];
        (void)printf("%s\"%s\":{\"begun\":%" PRId64 ",\"ended\":%" PRId64 ",\"left\":%" PRId64
                     ",\"lost\":%" PRId64 ",\"chunks\":%" PRId64 ",\"statuses\":{",
            i ? "," : "", kind->name, kind->begun, kind->ended, kind->left, kind->lost,
            kind->chunks);
        const char *comma = "";
        for (int status = 0; status < STATUSES; status++) {
            if (kind->statuses[status] > 0) {
                (void)printf("%s\"%d\":%" PRId64, comma, status, kind->statuses[status]);
                comma = ",";
            }
        }
        (void)printf("}}");
    }
    (void)printf("}}\n");
    (void)fflush(stdout);
    if (ferror(soak->record) || fclose(soak->record) != 0) {
        fail("the file of --record is not whole");
    }
    buf_free(&soak->body);
    free(soak);
}

const struct load_mode load_soak = {
    .name = "soak",
    .streams = true,
    .start = soak_start,
    .turn = soak_turn,
    .ready = soak_ready,
    .head = soak_head,
    .payload = soak_payload,
    .answered = soak_answered,
    .lost = soak_lost,
    .report = soak_report,
};
