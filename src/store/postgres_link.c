/* store/postgres_link.c: a connection to a server: made with the settings of its session, and lost. */
#include "store/postgres_priv.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "base/clock.h"

#define CONNECT_TIMEOUT_S_TEXT "3"
#define KEEPALIVE_IDLE_S_TEXT  "5"

void
link_drop(struct postgres_db *db)
{
    if (db->conn) {
        PQfinish(db->conn);
        db->conn = NULL;
    }
    db->pending_count = 0;
    db->pending_first = 0;
    db->gathering = false;
    memset(db->prepared, 0, sizeof(db->prepared));
}

enum status
link_lost(struct postgres_db *db, const char *why)
{
    struct slice rest = slice_str(why);
    struct slice line = { 0 };
    (void)slice_split(&rest, '\n', &line); /* what follows is what libpq makes of it */
    (void)store_fail(db->error_text, STATUS_IO, "the connection to %s is lost: %.*s",
        db->place->text, (int)line.len, line.ptr ? line.ptr : "");
    link_drop(db);
    return STATUS_IO;
}

/* --- Waiting. */

/* Until the socket is ready for what libpq wants. */
static enum status
wait_socket(struct postgres_db *db, bool writes, int64_t deadline_mono_ms)
{
    struct pollfd socket = { .fd = PQsocket(db->conn),
        .events = (short)(POLLIN | (writes ? POLLOUT : 0)) };
    for (;;) {
        const int64_t left_ms = deadline_mono_ms - clock_mono_ms();
        if (left_ms <= 0) {
            return link_lost(db, "the server does not answer");
        }
        const int ready = poll(&socket, 1, (int)min_i64(left_ms, INT32_MAX));
        if (ready > 0) {
            return STATUS_OK;
        }
        if (ready < 0 && errno != EINTR) {
            return link_lost(db, strerror(errno));
        }
    }
}

enum status
link_wait(struct postgres_db *db, int64_t deadline_mono_ms)
{
    for (;;) {
        const int unsent = PQflush(db->conn);
        if (unsent < 0) {
            return link_lost(db, PQerrorMessage(db->conn));
        }
        if (unsent == 0 && !PQisBusy(db->conn)) {
            return STATUS_OK;
        }
        const enum status status = wait_socket(db, unsent > 0, deadline_mono_ms);
        if (status != STATUS_OK) {
            return status;
        }
        if (!PQconsumeInput(db->conn)) {
            return link_lost(db, PQerrorMessage(db->conn));
        }
    }
}

/* --- Outside of a pipeline. */

static enum status
take_answer(struct postgres_db *db, PGresult *result, enum status status, PGresult **answer)
{
    const ExecStatusType kind = PQresultStatus(result);
    if (status == STATUS_OK && kind != PGRES_COMMAND_OK && kind != PGRES_TUPLES_OK) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        status = fault_tell(db, result, fault_of_state(state ? state : "08006"));
    }
    if (answer && *answer) {
        PQclear(*answer);
        *answer = NULL;
    }
    if (answer) {
        *answer = result;
    } else {
        PQclear(result);
    }
    return status;
}

enum status
link_ask(struct postgres_db *db, const char *sql, PGresult **answer)
{
    const int64_t deadline_mono_ms = clock_mono_ms() + db->options.wait_ms;
    if (answer) {
        *answer = NULL;
    }
    if (!PQsendQuery(db->conn, sql)) {
        return link_lost(db, PQerrorMessage(db->conn));
    }
    enum status status = STATUS_OK;
    for (;;) { /* one for each statement of the text; the last is the answer */
        const enum status waited = link_wait(db, deadline_mono_ms);
        if (waited != STATUS_OK) {
            if (answer && *answer) {
                PQclear(*answer);
                *answer = NULL;
            }
            return waited;
        }
        PGresult *result = PQgetResult(db->conn);
        if (!result) {
            return status;
        }
        status = take_answer(db, result, status, answer);
    }
}

/* --- Connecting. */

/* What a server warns of is no matter of ours, and must not go to standard error. */
static void
hear_nothing(void *user, const PGresult *notice)
{
    (void)user;
    (void)notice;
}

static const char *
connect_advice(const char *said, bool needs_password)
{
    static const struct {
        const char *part, *advice;
    } known[] = {
        { "password authentication failed",
            "check the user and the password of the URL, or of the password file" },
        { "no password supplied", "give its password in a password file (PGPASSFILE, ~/.pgpass)" },
        { "does not exist", "create it, or check the URL" },
        { "Connection refused", "start the server, or check host and port of the URL" },
        { "No such file or directory", "start the server, or check its socket's folder" },
        { "could not translate host name", "check the host of the URL" },
        { "timeout expired", "check host and port of the URL, and what is between" },
        { "too many clients", "raise max_connections of the server" },
        { "remaining connection slots", "raise max_connections of the server" },
        { "no pg_hba.conf entry", "let the server's pg_hba.conf take this user from this host" },
        { "not permitted to log in", "give the user the right to log in" },
        { "permission denied for database", "give the user the right to connect to it" },
        { "starting up", "wait until the server is up" },
        { "not accepting connections", "let the server take connections" },
    };
    if (needs_password) {
        return "give its password in a password file (PGPASSFILE, ~/.pgpass) or in the URL";
    }
    for (size_t i = 0; i < countof(known); i++) {
        if (slice_find(slice_str(said), slice_str(known[i].part)) >= 0) {
            return known[i].advice;
        }
    }
    return "check the store's URL and the server's log";
}

/* libpq: `connection to server at "H", port 5432 failed: FATAL:  why`. */
static struct slice
why_of(struct slice line)
{
    static const struct slice before[] = { SLICE(" failed: "), SLICE("FATAL:  ") };
    for (size_t i = 0; i < countof(before); i++) {
        const ptrdiff_t at = slice_find(line, before[i]);
        if (at >= 0) {
            const size_t taken = (size_t)at + before[i].len;
            line = slice_of(line.ptr + taken, line.len - taken);
        }
    }
    return line;
}

static enum status
connect_failed(struct postgres_db *db)
{
    const char *said = db->conn ? PQerrorMessage(db->conn) : "no memory";
    const bool needs_password = db->conn && PQconnectionNeedsPassword(db->conn);
    const struct slice why = why_of(message_line(said));
    (void)store_fail(db->error_text, STATUS_IO, "%s cannot be connected to: %.*s: %s",
        db->place->text, (int)why.len, why.ptr, connect_advice(said, needs_password));
    link_drop(db);
    return STATUS_IO;
}

/* What the URL says goes before what is given ahead of it, and behind what is given after it. */
static PGconn *
connect_to(const struct postgres_db *db, bool any_server)
{
    char user_timeout[16];
    (void)snprintf(user_timeout, sizeof(user_timeout), "%d", db->options.wait_ms);
    const char *const names[] = { "fallback_application_name", "connect_timeout", "keepalives_idle",
        "keepalives_interval", "keepalives_count", "tcp_user_timeout",
        any_server ? "fallback_application_name" : "target_session_attrs", "dbname",
        "client_encoding", NULL };
    const char *const values[] = { "tidegate", CONNECT_TIMEOUT_S_TEXT, KEEPALIVE_IDLE_S_TEXT, "2",
        "3", user_timeout, any_server ? "tidegate" : "read-write", db->place->url, "UTF8", NULL };
    return PQconnectdbParams(names, values, 1);
}

static bool
connected(const struct postgres_db *db)
{
    return db->conn && PQstatus(db->conn) == CONNECTION_OK;
}

/* No host of the URL takes writes: what it is then says why, in our own words. */
static enum status
judge_refused(struct postgres_db *db)
{
    const char *said = PQerrorMessage(db->conn);
    const bool refused = slice_find(slice_str(said), SLICE("read-only")) >= 0
                         || slice_find(slice_str(said), SLICE("standby")) >= 0;
    if (!refused || db->place->chooses_server) {
        return connect_failed(db);
    }
    PQfinish(db->conn);
    db->conn = connect_to(db, true);
    if (!connected(db)) {
        return connect_failed(db);
    }
    const char *standby = PQparameterStatus(db->conn, "in_hot_standby");
    const struct postgres_facts facts = { .version = PQserverVersion(db->conn),
        .is_standby = standby && strcmp(standby, "on") == 0,
        .is_read_only = true,
        .encoding = "UTF8" };
    const enum status status = facts_judge(&facts, db->place->text, db->error_text);
    check(status != STATUS_OK);
    link_drop(db);
    return STATUS_IO; /* it may be made the primary yet */
}

static enum status
judge_server(struct postgres_db *db)
{
    const char *standby = PQparameterStatus(db->conn, "in_hot_standby");
    const char *read_only = PQparameterStatus(db->conn, "default_transaction_read_only");
    const bool writes = !db->options.any_server;
    const struct postgres_facts facts = { .version = PQserverVersion(db->conn),
        .is_standby = writes && standby && strcmp(standby, "on") == 0,
        .is_read_only = writes && read_only && strcmp(read_only, "on") == 0,
        .encoding = PQparameterStatus(db->conn, "server_encoding") };
    return facts_judge(&facts, db->place->text, db->error_text);
}

/* Every statement of a writer is a look-up by an index, whatever a table's size was when it was
 * planned. */
static enum status
set_session(struct postgres_db *db)
{
    const struct link_options *options = &db->options;
    struct buf sql = { 0 };
    buf_addf(&sql,
        "SET client_min_messages = warning; SET standard_conforming_strings = on;"
        "SET default_transaction_isolation = 'read committed';"
        "SET statement_timeout = %d; SET lock_timeout = %d;"
        "SET idle_in_transaction_session_timeout = %d;",
        options->statement_ms, options->lock_ms, options->idle_ms);
    buf_add_str(
        &sql, options->read_only
                  ? "SET default_transaction_read_only = on;"
                  : "SET plan_cache_mode = force_generic_plan; SET jit = off; SET enable_seqscan = "
                    "off; SET enable_hashjoin = off; SET enable_mergejoin = off;");
    buf_add_str(&sql, !options->full_sync
                          ? "SET synchronous_commit = off"
                          : "SELECT set_config('synchronous_commit', 'on', false) WHERE "
                            "current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')");
    const enum status status =
        sql.failed ? store_fail(db->error_text, STATUS_FULL, "no memory for a connection")
                   : link_ask(db, buf_cstr(&sql), NULL);
    buf_free(&sql);
    return status;
}

enum status
link_connect(struct postgres_db *db)
{
    check(!db->conn);
    db->conn = connect_to(db, db->options.any_server);
    if (!connected(db)) {
        return db->conn ? judge_refused(db) : connect_failed(db);
    }
    (void)PQsetNoticeReceiver(db->conn, hear_nothing, NULL);
    (void)PQsetnonblocking(db->conn, 1);
    enum status status = judge_server(db);
    if (status == STATUS_OK) {
        status = set_session(db);
    }
    if (status != STATUS_OK) {
        link_drop(db);
    }
    return status;
}

enum status
link_pipeline(struct postgres_db *db)
{
    return PQenterPipelineMode(db->conn) ? STATUS_OK : link_lost(db, PQerrorMessage(db->conn));
}
