/* tests/unit/store/world.h: a store of a kind in a folder of its own, rows to put into it, and its
 * whole content as text. */
#pragma once

#include "unit.h"

#include "store/store.h"
#include "store_gets.h"

#define NOW_MS INT64_C(1790000000000)
#define HASH   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct world {
    bool disk;
    bool shared; /* on PostgreSQL: what is put waits for its commit */
    char schema[64];
    char folder[64];
    char path[96];
    char url[512];
    struct store_options options;
    struct store *store;
    struct store_reader *reader;
    struct node_row node;
    unsigned char signal_key[32];
};

/* Setups and teardown of a case. */
int world_on_disk(void **state);
int world_in_memory(void **state);
int world_end(void **state);
/* A folder and a path, but no store. */
int world_closed(void **state);

/* A case on both embedded engines. */
#define BOTH(name, function)                                                                       \
    CASE_WITH(name " (sqlite)", function, world_on_disk, world_end),                               \
        CASE_WITH(name " (memory)", function, world_in_memory, world_end)

/* A case on the PostgreSQL server of TIDEGATE_TEST_PG, in a schema of its own; skipped without one. */
#define ON_POSTGRES(name, function)                                                                \
    { (name " (postgresql)"), world_run_on_postgres, NULL, NULL,                                    \
        (void *)&(const CMUnitTestFunction){ function } }
/* A case on all three. */
#define ALL(name, function) BOTH(name, function), ON_POSTGRES(name, function)

void world_run_on_postgres(void **state);
/* A schema and a URL, but no store. */
void world_postgres_begin(struct world *world);
void world_postgres_end(struct world *world);

/* Fails the case with the store's own words unless the status is the one. */
void expect_status(const struct world *world, enum status got, enum status want, const char *what);
#define EXPECT(world, call, want) expect_status((world), (call), (want), #call)
#define OK(world, call)           EXPECT(world, call, STATUS_OK)

/* A write that the store refuses with `want`: an embedded one at once, a shared one when it is committed. The
 * transaction is to be rolled back; where `want` is OK it stays open. */
void expect_refused(struct world *world, enum status got, enum status want, const char *what);
#define REFUSED(world, call, want) expect_refused((world), (call), (want), #call)
/* A batch of such a node is refused: its epoch is over. */
void expect_fenced(struct world *world, const struct node_row *node);

void world_open(struct world *world);
void world_close(struct world *world);
/* At most one at a time; closed with the world at the latest. */
struct store_reader *world_reader(struct world *world);
void world_reader_close(struct world *world);
void world_begin(struct world *world);
void world_commit(struct world *world);

/* Rows that are valid; ids are the caller's. */
struct account_row an_account(int64_t account_id, const char *name);
struct key_row a_key(int64_t key_id, int64_t account_id);
struct thread_row a_thread(int64_t thread_id, int64_t account_id, const char *mark);
struct subject_row a_subject(int64_t subject_id, int64_t account_id);
struct meter_row a_meter_row(int64_t subject_id);
/* Puts the subject of this number, whoever it is: meters are of one that is there. */
void put_a_subject(struct world *world, int64_t subject_id);
struct reported_row a_reported_row(int64_t account_id);
struct hold_row a_hold(int64_t hold_id, const struct node_row *node);
struct ledger_row a_ledger_row(int64_t id);
struct refusal_row a_refusal(int64_t account_id, int64_t minute_ms);
struct issued_row an_issued(int number, int64_t at_ms);
struct receipt_row a_receipt(int number, int64_t at_ms);
struct outbox_row an_outbox_row(int64_t id, const char *hook, int64_t next_ms);
struct limit_def_row a_limit_def(int64_t limit_id, const char *name);

/* One of each row, the ids from `base_id` on, in an open transaction. */
void put_one_of_each(struct world *world, int64_t base_id);

void text_account(struct buf *out, const struct account_row *row);
void text_key(struct buf *out, const struct key_row *row);
void text_thread(struct buf *out, const struct thread_row *row);
void text_subject(struct buf *out, const struct subject_row *row);
void text_reported(struct buf *out, const struct reported_row *row);
void text_meters(struct buf *out, const struct meter_row *row);
void text_hold(struct buf *out, const struct hold_row *row);
void text_ledger(struct buf *out, const struct ledger_row *row);
/* All that the reader door shows, as text. The caller frees it. */
struct buf world_text(struct world *world);

/* Runs SQL from outside, as a shell would. */
void world_sql(const struct world *world, const char *sql);
