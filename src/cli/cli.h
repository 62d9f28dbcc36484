/* cli/cli.h: the commands of the program (tbl/commands.h), and what `serve` shares with them: where the
 * control socket is, and the sandbox.
 *
 * Commands talk HTTP to the running gateway over its control socket. Where none runs, those that work on
 * the books open the store themselves, if nobody holds it, and ask the same control plane in this process:
 * main.c lends it as a function, since only it and gateway.c know all rooms. */
#pragma once

#include "base/buf.h"
#include "base/status.h"
#include "conf/conf.h"
#include "policy/policy.h"
#include "tbl/commands.h"

#define EXIT_OK 0
#define EXIT_FAILED 1  /* it could not be done; a sentence is on standard error */
#define EXIT_USAGE 2   /* the command line is wrong */

#define CONFIG_FILE_DEFAULT "tidegate.yaml"
#define SANDBOX_STORE_FILE "tidegate-sandbox.db"
#define SANDBOX_STORE "sqlite:" SANDBOX_STORE_FILE
#define SANDBOX_LISTEN "127.0.0.1:8080"

struct cli;

struct command {
    const char *words; /* "key add" */
    const char *arguments, *summary, *details;
    int (*run)(struct cli *cli, int argc, char **argv); /* argv[0] is the first argument after the words */
};

struct cli_error {
    char text[4096]; /* one or two sentences */
};

struct cli_request {
    const char *method;
    struct slice target, body;
    const char *once_key; /* Idempotency-Key; NULL = none */
};

struct cli {
    const char *program;          /* as it was called, for what a person should type next */
    const struct command *commands;
    size_t command_count;
    const struct command *command; /* the one that runs */
    /* One request to a control plane opened here over the policy's store. Takes over one reference. On
     * STATUS_OK *http_status, the body, and how many calls of a gateway that died were closed on the way;
     * else a sentence. */
    enum status (*without_gateway)(struct policy *policy, const struct cli_request *request, int *http_status,
        struct buf *out, int64_t *orphans, struct cli_error *error);
};

/* The command that argv begins with, and how many words it took. NULL: none; *among is how many begin with
 * the first word. */
const struct command *command_find(const struct cli *cli, int argc, char **argv, int *words);
/* Picks and runs; the exit status. */
int cli_main(struct cli *cli, int argc, char **argv);

/* --- every command; serve is gateway.c's, mock main.c's */
#define COMMAND_DECLARE(id, words, arguments, summary, details)                                    \
    int command_##id(struct cli *cli, int argc, char **argv);
COMMANDS(COMMAND_DECLARE)
#undef COMMAND_DECLARE

/* --- arguments */
enum argument_type { ARGUMENT_FLAG, ARGUMENT_TEXT, ARGUMENT_WORD };
struct argument {
    const char *name;        /* "--config"; of a WORD, its place: "NAME" */
    enum argument_type type;
    void *into;              /* bool of a FLAG, const char * else; unset stays as it was */
    bool required;
};
/* False: what is wrong was said, or --help was answered; *exit_status then says which. Takes --name VALUE
 * and --name=VALUE; "--" ends the options. */
MUST_USE bool arguments_parse(const struct cli *cli, int argc, char **argv, const struct argument *arguments,
    size_t count, int *exit_status);
/* A sentence on standard error, "tidegate: " before it; answers EXIT_FAILED. */
int cli_fail(const char *format, ...) PRINTF_LIKE(1, 2);

/* --- paths */
/* "127.0.0.1:8080", "[::1]:8080", "unix:/path"; the listen's strings point into `copy`. */
MUST_USE bool listen_parse(struct slice text, char *copy, size_t copy_size, struct listen *listen);
void listen_text(const struct listen *listen, uint16_t port, struct buf *out);

/* --- sandbox.c */
struct sandbox {
    int mock_pid;       /* 0 = none */
    uint16_t mock_port;
};
/* Starts the simulated provider as a process of its own that dies with this one. */
MUST_USE enum status sandbox_start(struct sandbox *sandbox, struct cli_error *error);
void sandbox_stop(struct sandbox *sandbox);
/* What to type, with the key of the first start or how to get one (key NULL). */
void sandbox_greet(const struct cli *cli, const struct policy *policy, const char *address, const char *key);
