/* mock/mock.c: `tidegate mock`: opens everything in order, serves, closes it in reverse. */
#include "mock/mock.h"

#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/secret.h"
#include "mock/serve_priv.h"

#define STOP_GRACE_MS INT64_C(200)

static void
on_signal(struct net *net, int signal_number)
{
    if (signal_number != SIGHUP) {
        net_stop(net, STOP_GRACE_MS);
    }
}

static int
fail(const char *why)
{
    fprintf(stderr, "tidegate mock: %s\n", why);
    return 1;
}

static int
serve(struct mock *mock, const char *host, uint16_t port, bool json)
{
    const struct net_listen listen = { .host = host, .port = port };
    const struct net_options options = {
        .loop_count = 1,
        .listens = &listen,
        .listen_count = 1,
        .limits = { .head_bytes_max = 128 * 1024,
            .target_bytes_max = 32 * 1024,
            .headers_max = HTTP_HEADERS_MAX },
        .body_bytes_max = MOCK_REQUEST_BYTES_MAX,
        .connections_max = 100000,
        .head_deadline_ms = MINUTE_MS,
        .body_deadline_ms = 5 * MINUTE_MS,
        .idle_ms = 10 * MINUTE_MS,
        .write_deadline_ms = 10 * MINUTE_MS,
        .high_water_bytes = (size_t)256 << 10,
    };
    struct net_error error;
    if (net_open(&options, &mock_app, mock, &mock->net, &error) != STATUS_OK) {
        return fail(error.text);
    }
    mock->loop = net_loop_at(mock->net, 0);
    net_on_signal(mock->net, on_signal);
    printf(json ? "{\"url\":\"http://%s:%u\"}\n" : "tidegate mock: listening on http://%s:%u\n",
        host, (unsigned)net_port(mock->net, 0));
    (void)fflush(stdout); /* whoever waits for the line may be a pipe */
    const enum status status = net_run(mock->net);
    net_free(mock->net);
    return status == STATUS_OK ? 0 : fail("the loop ended with an error");
}

int
mock_main(const struct mock_options *options)
{
    static struct mock mock; /* large, and one a process */
    char why[256];
    int exit_status = 1;
    mock = (struct mock){ .start_ms = clock_wall_ms() };
    if (secret_start() != STATUS_OK) {
        return fail("libsodium does not start");
    }
    if (options->behave
        && !mock_config_words(&mock.config, slice_str(options->behave), why, sizeof why)) {
        return fail(why);
    }
    if (!mock_journal_open(&mock.journal, MOCK_ENTRIES_MAX, MOCK_JOURNAL_BYTES_MAX)) {
        exit_status = fail("out of memory");
        goto close_config;
    }
    if (!mock_state_open(&mock.state)) {
        exit_status = fail("out of memory");
        goto close_journal;
    }
    if (options->journal_file
        && mock_journal_to_file(&mock.journal, options->journal_file) != STATUS_OK) {
        exit_status = fail("the file of --journal cannot be written");
        goto close_state;
    }
    exit_status =
        serve(&mock, options->host ? options->host : "127.0.0.1", options->port, options->json);
close_state:
    mock_state_close(&mock.state);
close_journal:
    if (mock_journal_close(&mock.journal) != STATUS_OK) {
        exit_status = fail("the file of --journal is not whole: is its disk full?");
    }
close_config:
    mock_config_free(&mock.config);
    buf_free(&mock.out);
    buf_free(&mock.head);
    return exit_status;
}
