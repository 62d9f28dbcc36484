/* bench/upstream.c: a provider that costs next to nothing: chat completions with fixed answers.
 *
 *     upstream --port P [--cert FILE --key FILE] [--interval-ms N] [--chunks N]
 *
 * Port P answers whole; P+1 streams: a chunk at once, after one to two intervals one every interval, then
 * the finish, the usage and [DONE]; P+2 sends one chunk and is silent until the client goes. P+3, P+4 and
 * P+5 do the same over TLS, where a certificate is given. Bodies are read and thrown away. Each chunk tells
 * the moment it was made: "fp_" and 16 digits of monotonic microseconds. Prints "ready", and at SIGTERM one
 * JSON line with what it did. One thread; nothing is allocated for a request that comes and goes in one piece. */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/units.h"
#include "bench/channel.h"
#include "bench/fail.h"
#include "wire/http.h"

#define READ_BYTES       (64 * 1024)
#define GOLDEN_PPM       618034 /* multiples of the golden section are spread evenly, however many */
#define UNSENT_BYTES_MAX ((size_t)4 << 20) /* a reader that is so far behind is cut off */
#define EVENTS_MAX       512
#define STAMP_DIGITS     16

enum service { SERVICE_WHOLE, SERVICE_STREAM, SERVICE_IDLE, SERVICE_COUNT };

struct listener {
    int fd;
    enum service service;
    bool tls;
};

enum stage { STAGE_HEAD, STAGE_BODY, STAGE_STREAM };

struct client {
    struct channel channel;
    struct list due; /* on upstream.streams while a chunk is due */
    int64_t due_mono_us;
    enum service service;
    enum stage stage;
    int32_t chunks_left;
    bool keep_alive, wants_write;
    struct http_parse_state head_state;
    bool chunked;            /* how the request's body comes */
    int64_t body_left_bytes; /* of one that is not chunked */
    struct http_body body;   /* of one that is */
    struct buf in;           /* a head that is not complete yet */
    struct buf out;          /* what the socket did not take */
};

/* Prebuilt bytes; a chunk has its stamp at stamp_offset. */
struct script {
    struct buf whole, stream_head, chunk, stream_end;
    size_t stamp_offset;
};

static struct upstream {
    int epoll_fd;
    SSL_CTX *tls;
    struct listener listeners[SERVICE_COUNT * 2];
    struct list streams; /* by due time: all have the same interval */
    struct script script;
    int64_t interval_us;
    int32_t chunks;
    int64_t requests, streams_begun, streams_ended, chunks_sent, clients_cut;
} upstream;

static volatile sig_atomic_t stopping;

/* --- The answers. */

#define CHUNK_FRONT                                                                                \
    "data: {\"id\":\"chatcmpl-bench00000000000000000\",\"object\":\"chat.completion.chunk\","      \
    "\"created\":1790000000,\"model\":\"bench\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_"
#define STAMP_BLANK "0000000000000000"

static void
add_event(struct buf *out, const char *text)
{
    char size_line[HTTP_CHUNK_HEAD_BYTES_MAX];
    buf_add(out, size_line, http_write_chunk_head(strlen(text), size_line));
    buf_add_str(out, text);
    buf_add_str(out, HTTP_CHUNK_END);
}

static void
write_script(struct script *script)
{
    static const char answer[] =
        "{\"id\":\"chatcmpl-bench00000000000000000\",\"object\":\"chat.completion\",\"created\":1790000000,"
        "\"model\":\"bench\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
        "\"The tide comes in twice a day, and the gate lets through what the basin can hold. What is over "
        "waits outside until the water falls; nothing is lost, and nobody is let in twice.\","
        "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":256,"
        "\"completion_tokens\":42,\"total_tokens\":298,\"prompt_tokens_details\":{\"cached_tokens\":0},"
        "\"completion_tokens_details\":{\"reasoning_tokens\":0}},\"service_tier\":\"default\"}";
    buf_addf(&script->whole,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-request-id: req_bench\r\n"
        "Content-Length: %zu\r\n\r\n%s",
        sizeof answer - 1, answer);
    buf_add_str(&script->stream_head,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
        "x-request-id: req_bench\r\nTransfer-Encoding: chunked\r\n\r\n");
    add_event(&script->chunk, CHUNK_FRONT STAMP_BLANK
        "\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" tide\"},\"logprobs\":null,\"finish_reason\":null}]}"
        "\n\n");
    script->stamp_offset =
        (size_t)slice_find(buf_slice(&script->chunk), SLICE("\"fp_")) + sizeof "\"fp_" - 1;
    add_event(&script->stream_end, CHUNK_FRONT STAMP_BLANK
        "\",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n");
    char usage[1024];
    (void)snprintf(usage, sizeof usage,
        CHUNK_FRONT STAMP_BLANK
        "\",\"choices\":[],\"usage\":{\"prompt_tokens\":256,\"completion_tokens\":%d,"
        "\"total_tokens\":%d}}\n\n",
        upstream.chunks, upstream.chunks + 256);
    add_event(&script->stream_end, usage);
    add_event(&script->stream_end, "data: [DONE]\n\n");
    buf_add_str(&script->stream_end, HTTP_LAST_CHUNK);
    check(!script->whole.failed && !script->stream_head.failed && !script->chunk.failed
          && !script->stream_end.failed);
}

static void
stamp_chunk(int64_t mono_us)
{
    char *digits = upstream.script.chunk.ptr + upstream.script.stamp_offset;
    for (int i = STAMP_DIGITS - 1; i >= 0; i--) {
        digits[i] = (char)('0' + mono_us % 10);
        mono_us /= 10;
    }
}

/* --- One client. */

static void
client_free(struct client *client)
{
    list_remove(&client->due);
    channel_close(&client->channel); /* epoll forgets it by that */
    buf_free(&client->in);
    buf_free(&client->out);
    free(client);
}

static void
watch(struct client *client, int operation, bool writable)
{
    struct epoll_event event = { .events = EPOLLIN | (writable ? EPOLLOUT : 0u),
        .data.ptr = client };
    if (epoll_ctl(upstream.epoll_fd, operation, client->channel.fd, &event) != 0) {
        fail("a connection cannot be watched");
    }
    client->wants_write = writable;
}

/* Each answers false when the client is lost; the caller frees it. */
static bool
client_flush(struct client *client)
{
    while (client->out.len > 0) {
        const ssize_t sent = channel_write(&client->channel, client->out.ptr, client->out.len);
        if (sent == CHANNEL_ENDED) {
            return false;
        }
        if (sent == CHANNEL_AGAIN) {
            break;
        }
        buf_consume(&client->out, (size_t)sent);
    }
    if (client->wants_write != (client->out.len > 0)) {
        watch(client, EPOLL_CTL_MOD, client->out.len > 0);
    }
    return true;
}

static bool
client_send(struct client *client, const struct buf *bytes)
{
    size_t sent_bytes = 0;
    if (client->out.len == 0) {
        const ssize_t sent = channel_write(&client->channel, bytes->ptr, bytes->len);
        if (sent == CHANNEL_ENDED) {
            return false;
        }
        sent_bytes = (size_t)sent;
    }
    if (sent_bytes == bytes->len) {
        return true;
    }
    buf_add(&client->out, bytes->ptr + sent_bytes, bytes->len - sent_bytes);
    if (client->out.len > UNSENT_BYTES_MAX) {
        upstream.clients_cut++;
        return false;
    }
    return !client->out.failed && client_flush(client);
}

static bool
send_chunk(struct client *client, int64_t now_mono_us)
{
    stamp_chunk(now_mono_us);
    upstream.chunks_sent++;
    client->chunks_left--;
    return client_send(client, &upstream.script.chunk);
}

static bool
end_stream(struct client *client)
{
    upstream.streams_ended++;
    client->stage = STAGE_HEAD;
    client->head_state = (struct http_parse_state){ 0 };
    return client_send(client, &upstream.script.stream_end);
}

/* Streams fall due evenly spread over the interval, in the order in which they begin: how long the one
 * under test takes to begin them decides nothing about how their chunks bunch. */
static void
join_streams(struct client *client, int64_t now_mono_us)
{
    const int64_t phase_us =
        upstream.streams_begun * GOLDEN_PPM % 1000000 * upstream.interval_us / 1000000;
    const int64_t from_mono_us = now_mono_us + upstream.interval_us;
    const int64_t ahead_us = phase_us + upstream.interval_us - from_mono_us % upstream.interval_us;
    client->due_mono_us = from_mono_us + ahead_us % upstream.interval_us;
    struct list *before = upstream.streams.prev;
    while (before != &upstream.streams
           && list_entry(before, struct client, due)->due_mono_us > client->due_mono_us) {
        before = before->prev;
    }
    list_push_front(before, &client->due);
}

/* The request is complete. */
static bool
answer(struct client *client)
{
    upstream.requests++;
    if (client->service == SERVICE_WHOLE) {
        client->stage = STAGE_HEAD;
        client->head_state = (struct http_parse_state){ 0 };
        return client_send(client, &upstream.script.whole)
               && (client->keep_alive || client->out.len > 0);
    }
    const int64_t now_mono_us = clock_mono_us();
    upstream.streams_begun++;
    client->stage = STAGE_STREAM;
    client->chunks_left = upstream.chunks;
    if (!client_send(client, &upstream.script.stream_head) || !send_chunk(client, now_mono_us)) {
        return false;
    }
    if (client->service == SERVICE_STREAM) {
        join_streams(client, now_mono_us);
    }
    return true;
}

static bool
take_chunks(struct client *client, struct slice bytes)
{
    size_t used = 0;
    for (size_t at = 0;; at += used) {
        struct slice data = { 0 };
        const struct http_fault *why = NULL;
        const struct slice rest = slice_of(bytes.ptr + at, bytes.len - at);
        const enum http_result result = http_body_feed(&client->body, rest, &used, &data, &why);
        if (result == HTTP_DONE) {
            return at + used == bytes.len && answer(client);
        }
        if (result == HTTP_BAD) {
            return false;
        }
        if (at + used == bytes.len) {
            return true;
        }
    }
}

static bool
take_body(struct client *client, struct slice bytes)
{
    if (client->chunked) {
        return take_chunks(client, bytes);
    }
    client->body_left_bytes -= (int64_t)bytes.len;
    if (client->body_left_bytes < 0) {
        return false; /* nobody here pipelines */
    }
    return client->body_left_bytes > 0 || answer(client);
}

static bool
take_head(struct client *client, struct slice bytes)
{
    static const struct http_limits limits = { 32 * 1024, 8 * 1024, HTTP_HEADERS_MAX };
    static struct http_head head; /* over 3 KB */
    const struct http_fault *why = NULL;
    if (client->in.len > 0) {
        buf_add_slice(&client->in, bytes);
        bytes = buf_slice(&client->in);
    }
    switch (http_parse_request(bytes, &limits, &client->head_state, &head, &why)) {
    case HTTP_MORE:
        if (client->in.len == 0) {
            buf_add_slice(&client->in, bytes);
        }
        return !client->in.failed;
    case HTTP_BAD: return false;
    case HTTP_DONE: break;
    }
    client->keep_alive = head.keep_alive;
    client->stage = STAGE_BODY;
    client->chunked = head.body_kind == HTTP_BODY_CHUNKED;
    client->body_left_bytes = head.content_length;
    http_body_start(&client->body, &head, HTTP_BODY_UNBOUNDED);
    const bool good =
        take_body(client, slice_of(bytes.ptr + head.head_bytes, bytes.len - head.head_bytes));
    buf_clear(&client->in);
    return good;
}

/* What a long body still lacks is thrown away unread. */
static ssize_t
skip_body(struct client *client)
{
    const ssize_t skipped = channel_skip(&client->channel, (size_t)client->body_left_bytes);
    if (skipped > 0) {
        client->body_left_bytes -= skipped;
        if (client->body_left_bytes == 0 && !answer(client)) {
            return CHANNEL_ENDED;
        }
    }
    return skipped;
}

static bool
client_readable(struct client *client)
{
    static char bytes[READ_BYTES];
    for (;;) {
        const bool long_body = client->stage == STAGE_BODY && !client->chunked;
        const ssize_t got =
            long_body ? skip_body(client) : channel_read(&client->channel, bytes, sizeof bytes);
        if (got <= 0) {
            return got == CHANNEL_AGAIN;
        }
        if (!long_body) {
            const struct slice piece = slice_of(bytes, (size_t)got);
            const bool good = client->stage == STAGE_HEAD   ? take_head(client, piece)
                              : client->stage == STAGE_BODY ? take_body(client, piece)
                                                            : false; /* bytes amid an answer */
            if (!good) {
                return false;
            }
        }
        /* epoll tells of what is left in the socket, but not of what TLS has taken from it. */
        if (!client->channel.ssl) {
            return true;
        }
    }
}

/* --- All of them. */

static void
accept_clients(const struct listener *listener)
{
    for (;;) {
        const int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) {
                fail("no descriptors left");
            }
            return;
        }
        channel_tune(fd);
        struct client *client = calloc(1, sizeof *client);
        if (!client) {
            fail("no memory");
        }
        client->channel.fd = fd;
        client->service = listener->service;
        list_init(&client->due);
        if (listener->tls && !channel_start_tls(&client->channel, upstream.tls, true)) {
            fail("no memory for TLS");
        }
        watch(client, EPOLL_CTL_ADD, false);
    }
}

static void
client_event(struct client *client, uint32_t events)
{
    const bool good = (!(events & EPOLLOUT) || client_flush(client))
                      && (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || client_readable(client));
    if (!good) {
        client_free(client);
    }
}

/* Sends what is due and says how long nothing will be; negative = nothing is. */
static int64_t
send_due(void)
{
    while (!list_empty(&upstream.streams)) {
        struct client *client = list_entry(upstream.streams.next, struct client, due);
        const int64_t now_mono_us = clock_mono_us();
        if (client->due_mono_us > now_mono_us) {
            return client->due_mono_us - now_mono_us;
        }
        list_remove(&client->due);
        const bool last = client->chunks_left <= 0;
        if (!(last ? end_stream(client) : send_chunk(client, now_mono_us))) {
            client_free(client);
        } else if (!last) {
            client->due_mono_us += upstream.interval_us;
            list_push_back(&upstream.streams, &client->due);
        }
    }
    return -1;
}

static bool
is_listener(const void *source)
{
    const struct listener *listener = source;
    return listener >= upstream.listeners
           && listener < upstream.listeners + countof(upstream.listeners);
}

static void
run(void)
{
    static struct epoll_event events[EVENTS_MAX];
    sigset_t none; /* signals arrive within the wait alone, so none can be missed before it */
    (void)sigemptyset(&none);
    while (!stopping) {
        const int64_t wait_us = send_due();
        const struct timespec wait = { wait_us / 1000000, wait_us % 1000000 * 1000 };
        const int count =
            epoll_pwait2(upstream.epoll_fd, events, EVENTS_MAX, wait_us < 0 ? NULL : &wait, &none);
        for (int i = 0; i < count; i++) {
            void *source = events[i].data.ptr;
            if (is_listener(source)) {
                accept_clients(source);
            } else {
                client_event(source, events[i].events);
            }
        }
    }
}

/* --- Start and end. */

static void
listen_at(struct listener *listener, uint16_t port)
{
    const int on = 1;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
    };
    listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0 || setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
        || bind(listener->fd, (const struct sockaddr *)&address, sizeof address) != 0
        || listen(listener->fd, 4096) != 0) {
        fail("port %u cannot be listened on", (unsigned)port);
    }
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = listener };
    if (epoll_ctl(upstream.epoll_fd, EPOLL_CTL_ADD, listener->fd, &event) != 0) {
        fail("port %u cannot be watched", (unsigned)port);
    }
}

static void
stop(int signal_number)
{
    (void)signal_number;
    stopping = 1;
}

static void
stop_on_signals(void)
{
    const struct sigaction action = { .sa_handler = stop };
    sigset_t stops;
    (void)sigemptyset(&stops);
    (void)sigaddset(&stops, SIGTERM);
    (void)sigaddset(&stops, SIGINT);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigprocmask(SIG_BLOCK, &stops, NULL);
}

static int64_t
number_of(const char *name, const char *text, int64_t low, int64_t high)
{
    int64_t value = 0;
    if (!slice_to_i64(slice_str(text), &value) || value < low || value > high) {
        fail("%s wants a number from %" PRId64 " to %" PRId64, name, low, high);
    }
    return value;
}

int
main(int argc, char **argv)
{
    const char *certificate = NULL;
    const char *key = NULL;
    int64_t port = 0;
    upstream.interval_us = 20000;
    upstream.chunks = 500;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i];
        const char *value = argv[i + 1];
        if (strcmp(name, "--port") == 0) {
            port = number_of(name, value, 1, UINT16_MAX - SERVICE_COUNT * 2);
        } else if (strcmp(name, "--cert") == 0) {
            certificate = value;
        } else if (strcmp(name, "--key") == 0) {
            key = value;
        } else if (strcmp(name, "--interval-ms") == 0) {
            upstream.interval_us = 1000 * number_of(name, value, 1, HOUR_MS);
        } else if (strcmp(name, "--chunks") == 0) {
            upstream.chunks = (int32_t)number_of(name, value, 1, 1000000000);
        } else {
            fail("there is no option %s", name);
        }
    }
    if (argc % 2 == 0 || port == 0) {
        fail("usage: upstream --port P [--cert FILE --key FILE] [--interval-ms N] [--chunks N]");
    }

    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    (void)prctl(PR_SET_TIMERSLACK, 1);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)signal(SIGPIPE, SIG_IGN);
    stop_on_signals();

    upstream.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    upstream.tls = certificate && key ? channel_server_context(certificate, key) : NULL;
    list_init(&upstream.streams);
    write_script(&upstream.script);
    for (int i = 0; i < (upstream.tls ? 2 : 1) * SERVICE_COUNT; i++) {
        upstream.listeners[i].service = (enum service)(i % SERVICE_COUNT);
        upstream.listeners[i].tls = i >= SERVICE_COUNT;
        listen_at(&upstream.listeners[i], (uint16_t)(port + i));
    }
    (void)printf("ready\n");
    (void)fflush(stdout);
    run();
    (void)printf("{\"requests\":%" PRId64 ",\"streams_begun\":%" PRId64
                 ",\"streams_ended\":%" PRId64 ",\"chunks_sent\":%" PRId64
                 ",\"clients_cut\":%" PRId64 "}\n",
        upstream.requests, upstream.streams_begun, upstream.streams_ended, upstream.chunks_sent,
        upstream.clients_cut);
    return 0;
}
