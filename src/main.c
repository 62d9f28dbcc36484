/* main.c: picks the command. `serve` is gateway.c, `mock` starts the simulated provider; all others are cli/'s. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "log/log.h"
#include "mock/mock.h"

static const struct command commands[] = {
#define COMMAND_ROW(id, words, arguments, summary, details)                                        \
    { words, arguments, summary, details, command_##id },
    COMMANDS(COMMAND_ROW)
#undef COMMAND_ROW
};

int
command_mock(struct cli *cli, int argc, char **argv)
{
    const char *port_text = NULL;
    int64_t port = 0;
    int exit_status = EXIT_OK;
    struct mock_options options = { 0 };
    const struct argument arguments[] = {
        { "--host", ARGUMENT_TEXT, &options.host, false },
        { "--port", ARGUMENT_TEXT, &port_text, false },
        { "--behave", ARGUMENT_TEXT, &options.behave, false },
        { "--json", ARGUMENT_FLAG, &options.json, false },
        { "--journal", ARGUMENT_TEXT, &options.journal_file, false },
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    if (port_text
        && (!slice_to_i64(slice_str(port_text), &port) || port < 0 || port > UINT16_MAX)) {
        (void)cli_fail("--port %s: wanted is a number from 0 to 65535", port_text);
        return EXIT_USAGE;
    }
    options.port = (uint16_t)port;
    return mock_main(&options);
}

/* A command while no gateway runs (cli.h). */
static enum status
without_gateway(struct policy *policy, const struct cli_request *request, int *http_status,
    struct buf *out, int64_t *orphans, struct cli_error *error)
{
    struct api_error why;
    const struct api_call call = { request->method, request->target, request->body,
        request->once_key };
    log_open(LOG_ERROR, false); /* what is done here is told by the command */
    const enum status status = api_do_once(policy, "cli", &call, http_status, out, orphans, &why);
    if (status != STATUS_OK) {
        (void)slice_to_cstr(slice_str(why.text), error->text, sizeof(error->text));
    }
    return status;
}

int
main(int argc, char **argv)
{
    struct cli cli = {
        .program = argc > 0 && argv[0][0] ? argv[0] : "tidegate",
        .commands = commands,
        .command_count = countof(commands),
        .without_gateway = without_gateway,
    };
    (void)setlocale(LC_CTYPE, ""); /* for the width of what is drawn; without it, ASCII */
    (void)sigaction(SIGPIPE, &(const struct sigaction){ .sa_handler = SIG_IGN }, NULL);
    if (secret_start() != STATUS_OK) {
        return cli_fail("libsodium does not start");
    }
    const int exit_status = cli_main(&cli, argc - 1, argv + 1);
    if (fflush(stdout) != 0) {
        return cli_fail("standard output: %s", strerror(errno));
    }
    return exit_status;
}
