/* cli/cli_priv.h: what commands share: asking the gateway, telling a person. */
#pragma once

#include <json-c/json.h>

#include "cli/cli.h"

/* --- client.c: one request over a unix socket, blocking. */
/* NOT_FOUND: nobody answers at that path. CLOSED: the connection broke off, so it may be done or not. */
MUST_USE enum status client_ask(const char *socket_path, const struct cli_request *asked,
    int *http_status, struct buf *out, struct cli_error *error);

MUST_USE enum status client_connect(const char *socket_path, int *fd, struct cli_error *error);
MUST_USE bool client_send(int fd, struct slice bytes);

/* --- stream.c: events as they come. */
struct stream {
    void (*on_event)(void *user, struct json_object *event); /* borrowed */
    void *user;
    char last_id[1024]; /* of the last one; whoever asks again goes on behind it. "" = from now on */
};
/* OK: the stream has ended, as one does when its gateway stops. NOT_FOUND: nobody answers at that path. INVALID: it
 * is refused, *error says why. */
MUST_USE enum status stream_read(
    const char *socket_path, struct slice target, struct stream *stream, struct cli_error *error);

/* --- status.c: how full limits are, a row each. */
void print_meters(struct json_object *meters);
/* "ada", "ada key_3", "ada with gpt-5.5", "group research", "the gateway". */
void meter_whose(struct json_object *meter, struct buf *out);

/* --- door.c: the control plane, wherever it is. */
#define DOOR_PATH_BYTES 4096
struct door {
    struct cli *cli;
    const char *control; /* --control */
    const char *config;  /* --config */
    bool json;
    bool gateway_only;   /* a gateway that runs is asked, or none */
    const char *amount;  /* the option behind which an amount was typed; NULL = the command has but one */
    char socket[DOOR_PATH_BYTES]; /* of the one that has answered last; "" = none has */
};
/* The three rows of DOOR_ARGUMENTS for this door. */
#define DOOR_ARGUMENTS(door)                                                                       \
    { "--control", ARGUMENT_TEXT, &(door)->control, false },                                       \
    { "--config", ARGUMENT_TEXT, &(door)->config, false },                                         \
    { "--json", ARGUMENT_FLAG, &(door)->json, false }

/* Asks; on a good answer *answer is its JSON (json_object_put it). The command's exit status: EXIT_OK, or
 * what is wrong was said, EXIT_USAGE where it is a value that was typed. With --json the answer is printed
 * as it came, and *answer may be NULL: then there is nothing more to do. */
MUST_USE int door_ask(struct door *door, const char *method, struct slice target, struct slice body,
    struct json_object **answer);

/* The store's URL: of `file` where one is named, else of the gateway whose socket is, else of the
 * configuration. False: what is wrong was said. It may hold a password: see store_url_shown. */
MUST_USE bool door_store(struct door *door, const char *file, struct buf *url);
/* The same for what is done with files: a database is told what does it there. */
MUST_USE bool door_store_file(struct door *door, const char *file, struct buf *url);

/* Appends "name=value", encoded, with the '?' or '&' it needs; a NULL or empty value adds nothing. */
void query_add(struct buf *target, const char *name, const char *value);
/* Appends a text as one path segment. */
void path_add(struct buf *target, const char *text);
/* What the person typed for the field of the API that a refusal names: an option such as "--expires", a
 * word such as "ACCOUNT". */
void argument_of_field(const struct command *command, const char *field, char out[64]);
/* A small JSON object for a body; NULL values are left out. */
void body_add(struct buf *body, const char *name, const char *value);
void body_add_null(struct buf *body, const char *name);
void body_add_number(struct buf *body, const char *name, int64_t value);

#define AMOUNT_OF_MONEY "money such as '5 USD', '$2.50' or '5000 micros'"
#define AMOUNT_OF_UNITS "a plain number such as 40"
/* What was typed behind an option. */
struct amount {
    const char *command, *option; /* "account limit", "--set" */
    const char *text;             /* '5 USD', '$5', '5000 micros', 40 */
    bool either_way;              /* below 0 too */
};
/* Money as micro-USD under `money_key`, a plain number under `unit_key`; false: what is wrong was said. amount.c */
MUST_USE bool amount_add(
    struct buf *body, const struct amount *amount, const char *money_key, const char *unit_key);

/* --- values of a JSON object */
const char *json_text(struct json_object *object, const char *name); /* "" when absent */
int64_t json_number(struct json_object *object, const char *name);
bool json_flag(struct json_object *object, const char *name);
bool json_has(struct json_object *object, const char *name);         /* and is not null */
struct json_object *json_member(struct json_object *object, const char *name);
size_t json_count(struct json_object *array);
struct json_object *json_item(struct json_object *array, size_t index);

/* --- table.c: a table on a terminal, tabs in a pipe. */
enum column_align { COLUMN_LEFT, COLUMN_RIGHT };
/* What a column gives up where the terminal is too narrow: money, ids and times are shown whole or not at all. */
#define COLUMN_TEXT  1U /* may be shortened */
#define COLUMN_SPARE 2U /* may be left out, the last of a table first */
#define TABLE_COLUMNS_MAX 16
struct column {
    const char *name;
    enum column_align align;
    unsigned narrow; /* of COLUMN_TEXT and COLUMN_SPARE */
};
struct table {
    const struct column *columns;
    int column_count;
    const char *none; /* a line for a person where there is no row; NULL = nothing is said */
    struct buf cells; /* NUL-terminated texts, row by row */
    int row_count;
    int next_column;
};
void table_start(struct table *table, const struct column *columns, int column_count);
/* The next cell, left to right. Control bytes are masked: what others named shall not drive a terminal. */
void table_cell(struct table *table, const char *text);
void table_cell_i64(struct table *table, int64_t value);
void table_cell_money(struct table *table, int64_t micros);
/* To standard output; frees the table. A program reads nothing where there is no row. */
void table_print(struct table *table, bool terminal);
void table_render_plain(const struct table *table, struct buf *out);
/* As on a terminal of so many columns; false: no memory. */
MUST_USE bool table_render(const struct table *table, int columns, struct buf *out);
/* Of a terminal that would show all of it. */
int table_width(const struct table *table);
/* Standard output is a terminal, and may it show more than ASCII? */
bool output_is_terminal(void);
bool output_is_utf8(void);
int output_columns(void); /* how wide the terminal is */
void text_print(const struct buf *text); /* to standard output */

/* --- text.c: pure */
/* "3 min ago", "in 2 h", "just now". */
void text_age(int64_t at_ms, int64_t now_ms, char out[48]);
void text_duration(int64_t ms, char out[32]);
/* "2026-11-21 14:03:07", UTC; an RFC 3339 text of the API as a person reads it. */
void text_time(const char *rfc3339, char out[32]);
void text_bytes(int64_t bytes, char out[32]);
/* A bar of `width` characters for 0..100 percent. */
void text_bar(int64_t percent, int width, bool utf8, struct buf *out);
/* Control bytes masked: what a file says shall not drive a terminal. */
void text_plain(const char *text, struct buf *out);
void text_csv(const char *text, struct buf *out);
/* As one word of a shell command. */
void text_shell(const char *text, struct buf *out);
/* "90d", "12h30m" -> ms. */
MUST_USE bool text_parse_duration(struct slice text, int64_t *ms);
/* A duration from now (`sign` -1: ago), a date (its midnight UTC) or an RFC 3339 time; of the past also
 * today and yesterday. */
MUST_USE bool text_parse_when(struct slice text, int64_t now_ms, int sign, int64_t *at_ms);
/* The word nearest to `text`, if near enough to be meant. */
const char *text_nearest(const char *text, const char *const *words, size_t count);

/* --- files.c: false with errno. */
/* Into a file beside it that then takes its name: it is there whole, or as before. */
MUST_USE bool file_replace(const char *path, struct slice bytes, unsigned mode);
/* EEXIST where there is one. */
MUST_USE bool file_create(const char *path, struct slice bytes, unsigned mode);

/* --- progress.c: on standard error, where that is a terminal. */
struct progress {
    const char *doing; /* "checking" */
    bool terminal, drawn;
    int64_t next_mono_ms;
};
void progress_start(struct progress *progress, const char *doing);
/* `part` is what of it; total 0 = not known. Cheap to call often. */
void progress_show(struct progress *progress, const char *part, int64_t done, int64_t total);
void progress_end(struct progress *progress);

/* --- check_store.c */
#define EXIT_UNCHECKED 2 /* nothing can be said */
struct audit;
MUST_USE int check_store(struct door *door, const char *file);
/* An audit_progress; `user` is a struct progress. */
bool audit_going(void *user, const char *doing, int64_t done, int64_t total);
/* Members of a JSON object, without its braces. */
void audit_json(const struct audit *audit, struct buf *out);
void audit_print_findings(const struct audit *audit);

/* --- thresholds.c */
/* What is reported of an account, and the limits on that, as /api/account/usage tells it. */
void print_reported(struct json_object *usage);

/* --- check.c */
struct config_file {
    const char *file; /* NULL = the default */
    bool json;
};
const char *config_file_of(const struct config_file *config);
/* The policy of the file, or its findings and NULL: on standard error, with --json on standard output. */
struct policy *config_load(const struct config_file *config, bool secrets);
/* To standard output, and frees it; the exit status. */
MUST_USE int print_whole(struct buf *out);
/* Prints what a text of conf/ that was refused is told with, as JSON. */
void findings_json(const char *file, const char *text);

/* --- explain_config.c */
/* A member "limits" of a JSON object: each with its sentence, mode, claim and bound. */
void limits_json(const struct policy *policy, struct buf *out);

/* --- prices.c */
/* The members of a JSON object, in micro-USD per million tokens; no price is null. */
void prices_json(struct buf *out, const struct price_set *set);

/* --- price_diff.c: two price books beside each other; what is made borrows the ids of both */
enum price_change_kind { PRICE_ADDED, PRICE_REMOVED, PRICE_CHANGED };
struct price_change {
    enum price_change_kind kind;
    const char *id, *field;      /* field: of a change */
    int64_t above_input_tokens;  /* of a tier; 0 = the base */
    int64_t old, new;            /* micro-USD per million tokens where `money`, -1 = no price; else tokens, tiers */
    bool money, steep;           /* steep: by more than 4 times, or to or from nothing */
};
struct price_diff {
    struct price_change *changes;
    size_t count, cap, added, removed, changed, steep;
    bool failed;                 /* out of memory */
};
MUST_USE bool price_diff_make(const struct policy *old, const struct policy *new, struct price_diff *diff);
void price_diff_free(struct price_diff *diff);
/* As a table on standard output; steep_only: what wants a look, removed models among it. */
void price_diff_print(const struct price_diff *diff, bool steep_only);
/* Members of an object that has begun, each with a comma before it. */
void price_diff_json(struct buf *out, const struct price_diff *diff);
/* "+25.0 %"; "" where there is nothing to compare with. */
void price_change_text(int64_t old, int64_t new, char out[48]);

/* --- sentences.c: limits and prices as sentences; pure */
void limit_sentence(const struct limit *limit, struct buf *out);
/* "$3.00 in, $15.00 out; cached $0.30 read, $3.75 written, $6.00 for an hour" */
void price_sentence(const struct price_set *set, struct buf *out);
/* "stream", "strict", "none" of cost and tokens; "rate" of a rate of these; "exact" of other counts; "watched" where
 * nothing is refused; "reported". */
const char *limit_mode(const struct limit *limit);
/* What that mode promises; lines without a final one. Static storage. */
const char *limit_claim(const struct limit *limit);
