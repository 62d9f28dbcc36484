/* tests/unit/store/doubt_test.c
 *
 * Goal: a commit whose answer never came is either in the store or is not, the store says which, and what was
 * told never changes.
 * Method: a proxy between the store and PostgreSQL cuts the connection around a COMMIT; what the status says
 * is compared with what another connection reads. */
#include "proxy.h"
#include "world.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

struct doubt {
    struct world world;
    struct proxy *proxy;
    struct store *store; /* through the proxy */
    struct node_row node;
};

/* The URL of the world's schema, but with the proxy's address. */
static void
url_through(const struct doubt *doubt, char *out, size_t out_size)
{
    const char *server = getenv("TIDEGATE_TEST_PG");
    const char *behind = strrchr(server, '@');
    const char *place = behind ? behind + 1 : strstr(server, "://") + 3;
    const char *path = strchr(place, '/');
    const char *query = strchr(server, '?');
    const int path_len = path ? (int)(query ? query - path : (ptrdiff_t)strlen(path)) : 0;
    (void)snprintf(out, out_size,
        "%.*s127.0.0.1:%d%.*s?sslmode=disable&gssencmode=disable&options=-csearch_path%%3D%s",
        (int)(place - server), server, proxy_port(doubt->proxy), path_len, path ? path : "",
        doubt->world.schema);
}

static void
on_doubt(void (*function)(struct doubt *), int32_t lease_ms)
{
    struct doubt doubt = { .world = { 0 } };
    struct store_error error;
    char url[1024];
    unsigned char key[32];
    if (!getenv("TIDEGATE_TEST_PG")) {
        print_message("# not run: TIDEGATE_TEST_PG names no server\n");
        return;
    }
    world_postgres_begin(&doubt.world);
    world_open(&doubt.world);
    doubt.proxy = proxy_start();
    url_through(&doubt, url, sizeof(url));
    const struct store_options options = { .full_sync = true, .lease_ms = lease_ms };
    if (store_open(url, &options, &doubt.store, &error) != STATUS_OK) {
        fail_msg("%s: %s", url, error.text);
    }
    assert_int_equal(
        store_node_start(doubt.store, NOW_MS, HASH, &doubt.node, key), STATUS_OK);
    function(&doubt);
    store_close(doubt.store);
    proxy_stop(doubt.proxy);
    world_close(&doubt.world);
    world_postgres_end(&doubt.world);
}

static void
take_nothing(void *user, const struct need *need, const union need_row *row)
{
}

/* One batch that puts an account; `trips` 1: all of it in one way there and back. */
static enum status
put_account(struct doubt *doubt, int64_t account_id, int trips)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "account-%d", (int)account_id);
    struct account_row account = an_account(account_id, name);
    enum status status = store_begin(doubt->store, &doubt->node);
    if (status == STATUS_OK && trips == 2) {
        status = store_load(doubt->store, NULL, 0, true, take_nothing, NULL);
    }
    if (status == STATUS_OK) {
        status = store_account_put(doubt->store, &account);
    }
    if (status == STATUS_OK) {
        status = store_commit(doubt->store);
    }
    if (status != STATUS_OK) {
        store_rollback(doubt->store);
    }
    return status;
}

static bool
is_there(struct doubt *doubt, int64_t account_id)
{
    struct world *world = &doubt->world;
    struct account_row back;
    OK(world, store_begin_read(world->store));
    const enum status status = store_account_get(world->store, account_id, &back);
    store_rollback(world->store);
    assert_true(status == STATUS_OK || status == STATUS_NOT_FOUND);
    return status == STATUS_OK;
}

static void
cut_everywhere(struct doubt *doubt)
{
    static const struct {
        enum proxy_mode mode;
        enum status want;
    } rows[] = {
        { PROXY_PASS, STATUS_OK },
        { PROXY_CUT_BEFORE, STATUS_CONFLICT },
        { PROXY_CUT_WITHIN, STATUS_CONFLICT },
        { PROXY_CUT_AFTER, STATUS_OK },
    };
    int64_t account_id = 0;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < countof(rows); i++) {
            for (int trips = 1; trips <= 2; trips++) {
                proxy_set(doubt->proxy, rows[i].mode);
                account_id++;
                const enum status got = put_account(doubt, account_id, trips);
                if (got != rows[i].want) {
                    fail_msg("mode %d, %d trips: %s: %s", (int)rows[i].mode, trips,
                        status_name(got), store_last_error(doubt->store));
                }
                assert_int_equal(is_there(doubt, account_id), got == STATUS_OK);
                if (got == STATUS_CONFLICT) { /* run again, as the engine does */
                    assert_int_equal(put_account(doubt, account_id, trips), STATUS_OK);
                    assert_true(is_there(doubt, account_id));
                }
            }
        }
    }
}

static void
a_cut_commit_is_told_as_it_was(void **state)
{
    on_doubt(cut_everywhere, 0);
}

static void
deliver_late(struct doubt *doubt)
{
    proxy_set(doubt->proxy, PROXY_HOLD);
    assert_int_equal(put_account(doubt, 1, 1), STATUS_CONFLICT);
    proxy_deliver(doubt->proxy); /* the server does what it is told: nothing finds its number */
    assert_false(is_there(doubt, 1));
    assert_int_equal(put_account(doubt, 1, 1), STATUS_OK);
    assert_true(is_there(doubt, 1));
}

static void
a_commit_that_was_told_as_failed_cannot_come_late(void **state)
{
    on_doubt(deliver_late, 0);
}

static void
hold_with_locks(struct doubt *doubt)
{
    proxy_set(doubt->proxy, PROXY_HOLD);
    assert_int_equal(put_account(doubt, 1, 2), STATUS_CONFLICT); /* the server has ended it, idle for too long */
    proxy_deliver(doubt->proxy);
    assert_false(is_there(doubt, 1));
    assert_int_equal(put_account(doubt, 1, 2), STATUS_OK);
}

static void
a_transaction_left_open_at_the_server_is_waited_for(void **state)
{
    on_doubt(hold_with_locks, 2000);
}

/* Nobody can be asked until the lease is nearly over. */
static void
be_uncertain(struct doubt *doubt)
{
    static const struct {
        enum proxy_mode mode;
        bool done;
    } rows[] = {
        { PROXY_CUT_AFTER, true },
        { PROXY_CUT_BEFORE, false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const int64_t account_id = (int64_t)i + 1;
        unsigned char key[32];
        proxy_set(doubt->proxy, rows[i].mode);
        proxy_refuse(doubt->proxy, true);
        assert_int_equal(put_account(doubt, account_id, 1), STATUS_UNCERTAIN);
        assert_int_equal(store_begin(doubt->store, &doubt->node), STATUS_IO); /* still nobody there */
        proxy_refuse(doubt->proxy, false);
        enum status status = STATUS_IO;
        for (int tries = 0; status == STATUS_IO && tries < 1000; tries++) { /* it pauses between its tries */
            (void)poll(NULL, 0, 10);
            status = put_account(doubt, 100 + account_id, 1);
        }
        assert_int_equal(is_there(doubt, account_id), rows[i].done);
        assert_true(status == STATUS_OK || status == STATUS_FENCED); /* its lease may have ended meanwhile */
        assert_int_equal(is_there(doubt, 100 + account_id), status == STATUS_OK);
        assert_int_equal(
            store_node_start(doubt->store, NOW_MS, HASH, &doubt->node, key), STATUS_OK);
    }
}

static void
what_cannot_be_told_is_told_by_the_next_begin(void **state)
{
    on_doubt(be_uncertain, 2000);
}

static const struct CMUnitTest tests[] = {
    CASE("a commit that was cut off is told as it was", a_cut_commit_is_told_as_it_was),
    CASE("a commit that was told as failed cannot come late",
        a_commit_that_was_told_as_failed_cannot_come_late),
    CASE("a transaction that is left open at the server is waited for",
        a_transaction_left_open_at_the_server_is_waited_for),
    CASE("what cannot be told is told by the next begin",
        what_cannot_be_told_is_told_by_the_next_begin),
};
UNIT_MAIN(tests)
