/* tests/unit/store/open_test.c
 *
 * Goal: a database that no gateway can run on is refused with one sentence that says what to do, and no sentence
 * repeats a password.
 * Method: a server of a few lines plays what a real one says before it lets anybody in; a real one, from
 * TIDEGATE_TEST_PG, plays the rest. */
#include "world.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECRET "s3cr3t"

/* --- A server that only plays the beginning. */

struct play {
    const char *state, *message; /* its refusal; NULL: it lets everybody in */
    bool wants_password;
    const char *version, *encoding, *standby, *read_only;
};

struct player {
    const struct play *play;
    int listener, port;
    pthread_t thread;
};

static void
add_u32(struct buf *out, uint32_t value)
{
    const uint32_t bytes = htonl(value);
    buf_add(out, &bytes, 4);
}

static void
add_message(struct buf *out, char kind, const struct buf *body)
{
    buf_add_char(out, kind);
    add_u32(out, (uint32_t)body->len + 4);
    buf_add(out, body->ptr, body->len);
}

static void
add_authentication(struct buf *out, uint32_t code)
{
    struct buf body = { 0 };
    add_u32(&body, code);
    add_message(out, 'R', &body);
    buf_free(&body);
}

static void
add_parameter(struct buf *out, const char *name, const char *value)
{
    struct buf body = { 0 };
    buf_add(&body, name, strlen(name) + 1);
    buf_add(&body, value, strlen(value) + 1);
    add_message(out, 'S', &body);
    buf_free(&body);
}

static void
add_refusal(struct buf *out, const struct play *play)
{
    struct buf body = { 0 };
    buf_addf(&body, "SFATAL%cVFATAL%cC%s%cM%s%c%c", 0, 0, play->state, 0, play->message, 0, 0);
    add_message(out, 'E', &body);
    buf_free(&body);
}

static void
add_welcome(struct buf *out, const struct play *play)
{
    struct buf idle = { 0 };
    buf_add_char(&idle, 'I');
    add_authentication(out, 0);
    add_parameter(out, "server_version", play->version ? play->version : "15.3");
    add_parameter(out, "server_encoding", play->encoding ? play->encoding : "UTF8");
    add_parameter(out, "client_encoding", "UTF8");
    add_parameter(out, "standard_conforming_strings", "on");
    add_parameter(out, "in_hot_standby", play->standby ? play->standby : "off");
    add_parameter(out, "default_transaction_read_only", play->read_only ? play->read_only : "off");
    add_message(out, 'Z', &idle);
    buf_free(&idle);
}

static void *
play_thread(void *arg)
{
    const struct player *player = arg;
    for (;;) {
        char heard[4096];
        struct buf out = { 0 };
        const int fd = accept(player->listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        (void)!recv(fd, heard, sizeof(heard), 0); /* who it is */
        if (player->play->wants_password) {
            add_authentication(&out, 3);
            (void)!send(fd, out.ptr, out.len, MSG_NOSIGNAL);
            buf_clear(&out);
            (void)!recv(fd, heard, sizeof(heard), 0);
        }
        if (player->play->state) {
            add_refusal(&out, player->play);
        } else {
            add_welcome(&out, player->play);
        }
        (void)!send(fd, out.ptr, out.len, MSG_NOSIGNAL);
        (void)!recv(fd, heard, sizeof(heard), 0); /* until it leaves */
        (void)close(fd);
        buf_free(&out);
    }
}

static void
player_start(struct player *player, const struct play *play)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);
    player->play = play;
    player->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(player->listener, (const struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(player->listener, 16), 0);
    assert_int_equal(getsockname(player->listener, (struct sockaddr *)&at, &len), 0);
    player->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&player->thread, NULL, play_thread, player), 0);
}

static void
player_stop(struct player *player)
{
    (void)shutdown(player->listener, SHUT_RDWR);
    (void)pthread_join(player->thread, NULL);
    (void)close(player->listener);
}

/* One sentence: no line break, and no secret. */
static void
assert_refused(const char *url, const struct store_options *options, enum status want,
    const char *part, const char *advice)
{
    struct store *store = NULL;
    struct store_error error;
    const enum status status = store_open(url, options, &store, &error);
    if (status != want || !strstr(error.text, part) || !strstr(error.text, advice)
        || strchr(error.text, '\n') || strstr(error.text, SECRET)) {
        fail_msg("%s: %s: %s", url, status_name(status), error.text);
    }
    assert_null(store);
}

static void
a_server_that_cannot_be_used_is_told_in_a_sentence(void **state)
{
    static const struct {
        struct play play;
        enum status want;
        const char *part, *advice;
    } rows[] = {
        { { .state = "28P01",
              .message = "password authentication failed for user \"gate\"",
              .wants_password = true },
            STATUS_IO, "password authentication failed", "check the user and the password" },
        { { .state = "3D000", .message = "database \"books\" does not exist" }, STATUS_IO,
            "does not exist", "create it" },
        { { .state = "28000", .message = "no pg_hba.conf entry for host \"h\"" }, STATUS_IO,
            "pg_hba.conf", "take this user" },
        { { .state = "53300", .message = "sorry, too many clients already" }, STATUS_IO,
            "too many clients", "max_connections" },
        { { .state = "57P03", .message = "the database system is starting up" }, STATUS_IO,
            "starting up", "wait" },
        { { .version = "14.9" }, STATUS_INVALID, "PostgreSQL 14", "upgrade" },
        { { .version = "9.6.24" }, STATUS_INVALID, "PostgreSQL 9", "upgrade" },
        { { .encoding = "LATIN1" }, STATUS_INVALID, "LATIN1", "createdb" },
        { { .standby = "on", .read_only = "off" }, STATUS_IO, "read-only standby", "primary" },
        { { .read_only = "on" }, STATUS_IO, "takes no writes", "default_transaction_read_only" },
    };
    const struct store_options options = { .full_sync = true };
    for (size_t i = 0; i < countof(rows); i++) {
        struct player player;
        char url[256];
        player_start(&player, &rows[i].play);
        (void)snprintf(url, sizeof(url),
            "postgresql://gate:" SECRET "@127.0.0.1:%d/books?sslmode=disable&gssencmode=disable",
            player.port);
        assert_refused(url, &options, rows[i].want, rows[i].part, rows[i].advice);
        player_stop(&player);
    }
}

static void
a_url_that_leads_nowhere_is_told_in_a_sentence(void **state)
{
    static const struct {
        const char *url;
        enum status want;
        const char *part, *advice;
    } rows[] = {
        { "postgresql://gate:" SECRET "@127.0.0.1:1/books", STATUS_IO, "Connection refused", "start the server" },
        { "postgresql:///books?host=/nowhere", STATUS_IO, "No such file", "socket" },
        { "postgresql://gate:a/" SECRET "@h/books", STATUS_INVALID, "%2F", "password file" },
        { "postgresql://gate:a@" SECRET "@h/books", STATUS_INVALID, "%40", "password file" },
        { "postgresql://gate:" SECRET "@h:port/books", STATUS_INVALID, "cannot be read", "password file" },
        { "postgresql://h/books?pass=" SECRET, STATUS_INVALID, "cannot be read", "password file" },
        { "postgresql://gate:" SECRET "%zz@h/books", STATUS_INVALID, "cannot be read", "password file" },
    };
    const struct store_options options = { .full_sync = true };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_refused(rows[i].url, &options, rows[i].want, rows[i].part, rows[i].advice);
    }
}

/* --- A real server. */

static void
assert_schema_refused(
    const struct world *world, bool read_only, enum status want, const char *part, const char *advice)
{
    const struct store_options options = { .full_sync = true, .read_only = read_only };
    assert_refused(world->url, &options, want, part, advice);
}

/* Runs the case with a schema, but without a store. */
static void
on_schema(void (*function)(struct world *))
{
    struct world world = { 0 };
    if (!getenv("TIDEGATE_TEST_PG")) {
        print_message("# not run: TIDEGATE_TEST_PG names no server\n");
        return;
    }
    world_postgres_begin(&world);
    function(&world);
    world_postgres_end(&world);
}

static void
meet_strangers(struct world *world)
{
    world_sql(world, "CREATE TABLE account (id integer)");
    assert_schema_refused(world, false, STATUS_INVALID, "(account)", "of its own");
    world_sql(world, "CREATE TABLE meta (name text, value text)"); /* alike, but no version of ours */
    assert_schema_refused(world, false, STATUS_INVALID, "account, meta", "of its own");
    world_sql(world, "DROP TABLE account; DROP TABLE meta; CREATE TABLE songs (id integer)");
    world_open(world); /* other names do not matter */
    world_close(world);
}

static void
tables_of_others_are_left_alone(void **state)
{
    on_schema(meet_strangers);
}

static void
meet_newer(struct world *world)
{
    assert_schema_refused(world, true, STATUS_NOT_FOUND, "holds no store", "start a gateway");
    world_open(world);
    world_close(world);
    world_sql(world, "UPDATE meta SET value = '999' WHERE name = 'schema_version'");
    assert_schema_refused(world, false, STATUS_NEWER, "schema 999", "install that version");
    assert_schema_refused(world, true, STATUS_NEWER, "schema 999", "install that version");
    world_sql(world, "UPDATE meta SET value = '1' WHERE name = 'schema_version'");
    world_open(world);
    world_close(world);
}

static void
a_newer_schema_is_refused(void **state)
{
    on_schema(meet_newer);
}

/* The URL of another user: of the server's own role, where it lets us in without a password. */
static void
url_of_user(const struct world *world, const char *user, char *out, size_t out_size)
{
    const char *rest = strrchr(world->url, '@');
    (void)snprintf(out, out_size, "postgresql://%s%s", user, rest ? rest : "@");
}

static bool
super_sql(const struct world *world, const char *sql)
{
    char url[640];
    url_of_user(world, "postgres", url, sizeof(url));
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQstatus(conn) == CONNECTION_OK ? PQexec(conn, sql) : NULL;
    const bool good = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    PQfinish(conn);
    return good;
}

static void
meet_rights(struct world *world)
{
    char sql[512];
    char url[640];
    char user[80];
    const struct store_options options = { .full_sync = true };
    (void)snprintf(user, sizeof(user), "guest_%s", world->schema);
    (void)snprintf(sql, sizeof(sql), "CREATE ROLE %s LOGIN; GRANT USAGE ON SCHEMA %s TO %s", user,
        world->schema, user);
    if (!strchr(world->url, '@') || !super_sql(world, sql)) {
        print_message("# not run: no role may be made\n");
        return;
    }
    url_of_user(world, user, url, sizeof(url));
    assert_refused(url, &options, STATUS_IO, "may create no tables", "GRANT CREATE ON SCHEMA");
    world_open(world);
    world_close(world);
    (void)snprintf(sql, sizeof(sql), "GRANT SELECT ON ALL TABLES IN SCHEMA %s TO %s", world->schema, user);
    assert_true(super_sql(world, sql));
    assert_refused(url, &options, STATUS_INVALID, "may not read and write", "GRANT SELECT, INSERT");
    (void)snprintf(sql, sizeof(sql), "DROP OWNED BY %s; DROP ROLE %s", user, user);
    assert_true(super_sql(world, sql));
}

static void
missing_rights_are_told_in_a_sentence(void **state)
{
    on_schema(meet_rights);
}

static const struct CMUnitTest tests[] = {
    CASE("a server that cannot be used is told in a sentence",
        a_server_that_cannot_be_used_is_told_in_a_sentence),
    CASE("a URL that leads nowhere is told in a sentence", a_url_that_leads_nowhere_is_told_in_a_sentence),
    CASE("tables of others are left alone", tables_of_others_are_left_alone),
    CASE("a newer schema on PostgreSQL is refused", a_newer_schema_is_refused),
    CASE("missing rights are told in a sentence", missing_rights_are_told_in_a_sentence),
};
UNIT_MAIN(tests)
