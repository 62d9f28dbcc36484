/* tests/sim/server.h: a schema of its own on the PostgreSQL server of TIDEGATE_TEST_PG, and connections to it that
 * are lost. Apart from sim.h, whose words the store's own headers use too. */
#pragma once

#include "base/status.h"
#include "store/store.h"

/* False: TIDEGATE_TEST_PG names no server. */
bool server_there(void);
/* Makes an empty schema and writes the URL that leads to it; a server that does not answer is told, and false. */
bool server_begin(char *url, size_t size);
/* Removes it and all that is in it. */
void server_end(void);

/* The server's gateways have real time; whoever reads its tables from now on finds the world's. */
bool server_tell_time(int64_t high_water_ms);

/* A gateway's own connection: opened and with an epoch of the server's, whose lease real time does not end. */
MUST_USE enum status server_open(const char *url, int number, struct store **store, struct node_row *node,
    struct store_error *error);
/* As the server sees a process that died: its socket closes amid whatever it did. */
void server_kill(struct store *store);
/* The connection is cut; `answers_only`: what was sent arrives, what the server answers does not. */
void server_cut(struct store *store, bool answers_only);
