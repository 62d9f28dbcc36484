/* tests/sim/server.c: see the header. */
#include "server.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "store/postgres_priv.h"

/* Of real time, which goes on while the world's stands still; its waits for locks are a part of it. */
#define REAL_LEASE_MS 60000

static char schema[64];

bool
server_there(void)
{
    return getenv("TIDEGATE_TEST_PG") != NULL;
}

static bool
server_does(const char *sql)
{
    PGconn *conn = PQconnectdb(getenv("TIDEGATE_TEST_PG"));
    PGresult *result = PQstatus(conn) == CONNECTION_OK ? PQexec(conn, sql) : NULL;
    const bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
    if (!done) {
        fprintf(stderr, "simulate: %s: %s", sql, PQerrorMessage(conn));
    }
    PQclear(result);
    PQfinish(conn);
    return done;
}

bool
server_begin(char *url, size_t size)
{
    static int number;
    char sql[160];
    const char *server = getenv("TIDEGATE_TEST_PG");
    snprintf(schema, sizeof schema, "simulated_%d_%d", (int)getpid(), ++number);
    snprintf(url, size, "%s%soptions=-csearch_path%%3D%s", server, strchr(server, '?') ? "&" : "?", schema);
    snprintf(sql, sizeof sql, "CREATE SCHEMA %s", schema);
    return server_does(sql);
}

void
server_end(void)
{
    char sql[160];
    if (schema[0]) {
        snprintf(sql, sizeof sql, "SET client_min_messages = warning; DROP SCHEMA %s CASCADE", schema);
        (void)server_does(sql);
    }
    schema[0] = '\0';
}

bool
server_tell_time(int64_t high_water_ms)
{
    char sql[256];
    snprintf(sql, sizeof sql,
        "INSERT INTO %s.meta (name, value) VALUES ('high_water', '%" PRId64 "') "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        schema, high_water_ms);
    return server_does(sql);
}

enum status
server_open(const char *url, int number, struct store **store, struct node_row *node, struct store_error *error)
{
    char name[16];
    snprintf(name, sizeof name, "sim-%d", number);
    const struct store_options options = { .lease_ms = REAL_LEASE_MS, .node_name = name, .mixed = true };
    unsigned char key[SIGNAL_KEY_BYTES];
    const enum status status = store_open(url, &options, store, error);
    return status == STATUS_OK ? (*store)->ops->node_start(*store, 0, "", node, key) : status;
}

static void
cut(struct store *store, int how)
{
    const struct postgres_store *postgres = (const struct postgres_store *)(const void *)store;
    if (postgres->db.conn) {
        (void)shutdown(PQsocket(postgres->db.conn), how);
    }
}

void
server_kill(struct store *store)
{
    cut(store, SHUT_RDWR);
    store_close(store);
}

void
server_cut(struct store *store, bool answers_only)
{
    cut(store, answers_only ? SHUT_RD : SHUT_RDWR);
}
