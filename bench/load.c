/* bench/load.c: the load generator.
 *
 *     load short|sse|idle|soak --url http://127.0.0.1:8080/v1/chat/completions [OPTION VALUE]...
 *
 *     --keys FILE         bearer keys, one a line; connections take them in turn
 *     --model NAME        of the request's body                         (bench)
 *     --body BYTES        size of the request's body                    (1024)
 *     --connections N     or streams                                    (64)
 *     --rate N            calls a second; 0: the next when one ends     (0)
 *     --ramp N            streams begun a second                        (1000)
 *     --mark N            idle: memory a stream is measured beyond so many
 *     --warm MS           before the window                             (1000)
 *     --window MS         what is measured; idle: held so long at most  (3000)
 *     --expect STATUS     of every answer                               (200)
 *     --threads yes       each connection names a thread of its own
 *     --plan FILE         soak: the kinds of calls (load_soak.c)
 *     --record FILE       soak: the streams that their clients left, a line each
 *     --shorts N          soak: connections for short calls, at --rate; --connections are the streams (128)
 *     --slow N            soak: so many of the streams' connections read slowly (0)
 *     --header "N: VALUE" one more header, several times
 *     --ca FILE           certificates to trust, for https
 *     --pid NAME:PID      a process to watch, up to four
 *
 * One line of JSON; `idle` prints one when all streams stand and one at its end. Exit status 1: there was
 * nothing to measure. Failed calls are counted by kind, and do not end it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/units.h"
#include "bench/fail.h"
#include "bench/load_priv.h"
#include "bench/request.h"

#define EVENTS_MAX 512

static volatile sig_atomic_t stopping;

bool
load_stopping(void)
{
    return stopping != 0;
}

static void
stop(int signal_number)
{
    (void)signal_number;
    stopping = 1;
}

/* --- Options. */

static int64_t
number_of(const char *name, struct slice text, int64_t low, int64_t high)
{
    int64_t value = 0;
    if (!slice_to_i64(text, &value) || value < low || value > high) {
        fail("%s wants a number from %" PRId64 " to %" PRId64, name, low, high);
    }
    return value;
}

static void
take_url(struct load_options *options, const char *text)
{
    struct slice rest = slice_str(text);
    options->tls = slice_starts(rest, SLICE("https://"));
    if (!options->tls && !slice_starts(rest, SLICE("http://"))) {
        fail("--url wants http://ADDRESS:PORT/PATH or https://...");
    }
    const size_t skip = options->tls ? 8 : 7;
    rest = slice_of(rest.ptr + skip, rest.len - skip);
    struct slice address = { 0 };
    struct slice host = { 0 };
    (void)slice_split(&rest, '/', &address);
    (void)slice_split(&address, ':', &host);
    options->port = (uint16_t)number_of("the port of --url", address, 1, UINT16_MAX);
    options->path[0] = '/';
    if (!slice_to_cstr(host, options->host, sizeof options->host)
        || !slice_to_cstr(rest, options->path + 1, sizeof options->path - 1)) {
        fail("--url is too long");
    }
}

static void
take_pid(struct load *load, const char *text)
{
    struct slice rest = slice_str(text);
    struct slice name = { 0 };
    if (load->watched_count == WATCHED_MAX || !slice_split(&rest, ':', &name)) {
        fail("--pid wants NAME:PID, and comes %d times at most", WATCHED_MAX);
    }
    struct watched *watched = &load->watched[load->watched_count++];
    if (!slice_to_cstr(name, watched->name, sizeof watched->name)) {
        fail("the name in --pid is too long");
    }
    watched->pid = (pid_t)number_of("--pid", rest, 1, INT32_MAX);
}

static void
add_header(struct load_options *options, const char *text)
{
    const size_t len = strlen(options->more_headers);
    const size_t room = sizeof options->more_headers - len;
    if ((size_t)snprintf(options->more_headers + len, room, "%s\r\n", text) >= room) {
        fail("the headers of --header are too long");
    }
}

static void
take_option(struct load *load, const char *name, const char *value)
{
    struct load_options *options = &load->options;
    const struct slice text = slice_str(value);
    if (strcmp(name, "--url") == 0) {
        take_url(options, value);
    } else if (strcmp(name, "--keys") == 0) {
        options->keys_file = value;
    } else if (strcmp(name, "--model") == 0) {
        options->model = value;
    } else if (strcmp(name, "--ca") == 0) {
        options->ca_file = value;
    } else if (strcmp(name, "--header") == 0) {
        add_header(options, value);
    } else if (strcmp(name, "--plan") == 0) {
        options->plan_file = value;
    } else if (strcmp(name, "--record") == 0) {
        options->record_file = value;
    } else if (strcmp(name, "--shorts") == 0) {
        options->shorts = (int32_t)number_of(name, text, 1, 100000);
    } else if (strcmp(name, "--slow") == 0) {
        options->slow = (int32_t)number_of(name, text, 0, 100000);
    } else if (strcmp(name, "--threads") == 0) {
        options->threads = strcmp(value, "yes") == 0;
    } else if (strcmp(name, "--pid") == 0) {
        take_pid(load, value);
    } else if (strcmp(name, "--body") == 0) {
        options->body_bytes = number_of(name, text, REQUEST_BODY_MIN, 64 << 20);
    } else if (strcmp(name, "--connections") == 0) {
        options->connections = (int32_t)number_of(name, text, 1, 100000);
    } else if (strcmp(name, "--rate") == 0) {
        options->rate = number_of(name, text, 0, 10000000);
    } else if (strcmp(name, "--ramp") == 0) {
        options->ramp = number_of(name, text, 1, 1000000);
    } else if (strcmp(name, "--mark") == 0) {
        options->mark = (int32_t)number_of(name, text, 0, 100000);
    } else if (strcmp(name, "--warm") == 0) {
        options->warm_us = 1000 * number_of(name, text, 0, DAY_MS);
    } else if (strcmp(name, "--window") == 0) {
        options->window_us = 1000 * number_of(name, text, 1, DAY_MS);
    } else if (strcmp(name, "--expect") == 0) {
        options->expect = (int32_t)number_of(name, text, 200, 599);
    } else {
        fail("there is no option %s", name);
    }
}

static void
take_options(struct load *load, int argc, char **argv)
{
    static const struct load_mode *const modes[] = { &load_short, &load_sse, &load_idle,
        &load_soak };
    load->options = (struct load_options){
        .model = "bench",
        .body_bytes = 1024,
        .connections = 64,
        .ramp = 1000,
        .shorts = 128,
        .warm_us = 1000000,
        .window_us = 3000000,
        .expect = 200,
    };
    for (size_t i = 0; argc > 1 && i < countof(modes); i++) {
        if (strcmp(argv[1], modes[i]->name) == 0) {
            load->options.mode = modes[i];
        }
    }
    if (!load->options.mode || argc % 2 != 0) {
        fail(
            "usage: load short|sse|idle|soak --url URL [OPTION VALUE]...; bench/load.c lists them");
    }
    for (int i = 2; i < argc; i += 2) {
        take_option(load, argv[i], argv[i + 1]);
    }
    if (load->options.port == 0) {
        fail("--url is missing");
    }
    if (load->options.tls
        && (!load->options.ca_file || load->options.body_bytes > LARGE_BODY_BYTES)) {
        fail("https wants --ca, and bodies of %d bytes at most", LARGE_BODY_BYTES);
    }
}

/* --- What is made ready before the first connection. */

static void
read_keys(struct load *load)
{
    char block[4096];
    if (!load->options.keys_file) {
        return;
    }
    FILE *file = fopen(load->options.keys_file, "re");
    if (!file) {
        fail("%s cannot be read", load->options.keys_file);
    }
    for (size_t got = fread(block, 1, sizeof block, file); got > 0;
         got = fread(block, 1, sizeof block, file)) {
        buf_add(&load->keys_text, block, got);
    }
    (void)fclose(file);
    (void)buf_cstr(&load->keys_text);
    char *rest = load->keys_text.ptr;
    for (char *key = strsep(&rest, "\n"); key; key = strsep(&rest, "\n")) {
        if (*key != '\0' && load->key_count < KEYS_MAX) {
            load->keys[load->key_count++] = key;
        }
    }
    if (load->key_count == 0) {
        fail("%s holds no key", load->options.keys_file);
    }
}

static void
prepare_body(struct load *load)
{
    load->body_fd = -1;
    if (load->options.body_bytes <= LARGE_BODY_BYTES) {
        return;
    }
    struct buf body = { 0 };
    request_body(
        &body, load->options.model, load->options.mode->streams, (size_t)load->options.body_bytes);
    load->body_fd = memfd_create("body", MFD_CLOEXEC);
    if (body.failed || load->body_fd < 0
        || write(load->body_fd, body.ptr, body.len) != (ssize_t)body.len) {
        fail("no memory for the body");
    }
    buf_free(&body);
}

static void
prepare(struct load *load)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    (void)prctl(PR_SET_TIMERSLACK, 1); /* paced calls start on time */
    (void)signal(SIGPIPE, SIG_IGN);
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    load->tls = load->options.tls ? channel_client_context(load->options.ca_file) : NULL;
    list_init(&load->ready);
    read_keys(load);
    prepare_body(load);
    if (load->options.mode == &load_soak) {
        load->options.connections += load->options.shorts;
    }
    load->conns = calloc((size_t)load->options.connections, sizeof *load->conns);
    if (!load->conns) {
        fail("no memory for the connections");
    }
    for (int32_t i = 0; i < load->options.connections; i++) {
        conn_init(load, &load->conns[i], i);
    }
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
    (void)sigprocmask(SIG_BLOCK, &stops, NULL); /* they arrive within the wait alone */
}

static void
run(struct load *load)
{
    static struct epoll_event events[EVENTS_MAX];
    const struct load_mode *mode = load->options.mode;
    sigset_t none;
    (void)sigemptyset(&none);
    load->start_us = clock_mono_us();
    mode->start(load);
    while (!load->over) {
        const int64_t wait_us = mode->turn(load, clock_mono_us());
        const struct timespec wait = { wait_us / 1000000, wait_us % 1000000 * 1000 };
        const int count =
            epoll_pwait2(load->epoll_fd, events, EVENTS_MAX, wait_us < 0 ? NULL : &wait, &none);
        if (load_stopping() && !load->in_window && load->options.mode != &load_soak) {
            break;
        }
        for (int i = 0; i < count; i++) {
            /* The moment of each event, not of the batch: what the generator itself takes is not theirs. */
            conn_event(events[i].data.ptr, events[i].events, clock_mono_us());
        }
    }
}

static void
clean_up(struct load *load)
{
    for (int32_t i = 0; i < load->options.connections; i++) {
        conn_close(&load->conns[i]);
        buf_free(&load->conns[i].in);
        buf_free(&load->conns[i].request);
    }
    free(load->conns);
    buf_free(&load->keys_text);
    SSL_CTX_free(load->tls);
}

int
main(int argc, char **argv)
{
    static struct load load; /* its latencies are large */
    take_options(&load, argc, argv);
    stop_on_signals();
    load_watch_idle(&load);
    prepare(&load);
    run(&load);
    (load.options.mode->report ? load.options.mode->report : load_report)(&load);
    const bool measured = load.calls_all > 0 || load.chunks_all > 0;
    clean_up(&load);
    return measured ? EXIT_SUCCESS : EXIT_FAILURE;
}
