/* tests/unit/store/pages_test.c
 *
 * Goal: a commit does not search the cache of pages in vain, and pages that are gone are dropped all the same.
 * Method: SQLite's own cache with counters, under ours; a table that lives as that of holds does, rollbacks,
 * a file that shrinks, and SQLite's check of what was written. */
#include "world.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/sqlite_priv.h"

#define LENT_PAGE (0x40000000u / 4096 + 1)

static sqlite3_pcache_methods2 real;
static int truncated, lent;

static void
count_truncate(sqlite3_pcache *cache, unsigned limit)
{
    truncated++;
    real.xTruncate(cache, limit);
}

static void
count_rekey(sqlite3_pcache *cache, sqlite3_pcache_page *page, unsigned from, unsigned to)
{
    lent += to == LENT_PAGE;
    real.xRekey(cache, page, from, to);
}

static void PRINTF_LIKE(2, 3)
run(sqlite3 *db, const char *format, ...)
{
    char sql[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sql, sizeof(sql), format, args);
    va_end(args);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }
}

static int64_t
number_of(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *query = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &query, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(query), SQLITE_ROW);
    const int64_t number = sqlite3_column_int64(query, 0);
    sqlite3_finalize(query);
    return number;
}

/* Calls come and go: rows at the end, and out of the middle, some of them larger than others. */
static void
live(sqlite3 *db, int *next, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        run(db, "BEGIN");
        for (int j = 0; j < 8; j++) {
            const int id = ++*next;
            run(db, "INSERT INTO open VALUES (%d, zeroblob(%d))", id, id % 5 ? 700 : 2300);
            run(db, "DELETE FROM open WHERE id = %d", id - 30 - id * 7 % 40);
        }
        run(db, "COMMIT");
    }
}

static void
a_commit_does_not_search_the_cache_in_vain(void **state)
{
    (void)state;
    char path[] = "/tmp/tidegate-pages-XXXXXX";
    char log[64];
    sqlite3 *db = NULL;
    int next = 0;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    run(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
    run(db, "CREATE TABLE open (id INTEGER PRIMARY KEY, body BLOB)");
    live(db, &next, 50);

    truncated = lent = 0;
    live(db, &next, 1000);
    assert_true(lent > 10); /* else there was nothing to search for */
    assert_int_equal(truncated, 0);
    assert_int_equal(number_of(db, "SELECT count(*) > 30 FROM open"), 1);

    /* A transaction that grew the file and is taken back. */
    const int64_t rows = number_of(db, "SELECT count(*) FROM open");
    run(db, "BEGIN");
    for (int i = 0; i < 500; i++) {
        run(db, "INSERT INTO open VALUES (%d, randomblob(2000))", 1000000 + i);
    }
    run(db, "ROLLBACK");
    assert_true(truncated > 0);
    assert_int_equal(number_of(db, "SELECT count(*) FROM open"), rows);
    live(db, &next, 100);

    /* A file that shrinks, and grows again over the pages that it gave back. */
    run(db, "DELETE FROM open WHERE id %% 10 <> 0");
    truncated = 0;
    run(db, "VACUUM");
    assert_true(truncated > 0);
    live(db, &next, 200);
    assert_int_equal(number_of(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
    assert_int_equal(number_of(db, "SELECT count(*) FROM open WHERE length(body) NOT IN (700, 2300)"), 0);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    (void)snprintf(log, sizeof(log), "%s-wal", path);
    (void)unlink(log);
    (void)unlink(path);
}

int
main(void)
{
    sqlite3_pcache_methods2 counting;
    if (sqlite3_config(SQLITE_CONFIG_GETPCACHE2, &real) != SQLITE_OK) {
        return 1;
    }
    counting = real;
    counting.xTruncate = count_truncate;
    counting.xRekey = count_rekey;
    if (sqlite3_config(SQLITE_CONFIG_PCACHE2, &counting) != SQLITE_OK) {
        return 1;
    }
    sqlite_pages_configure();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_does_not_search_the_cache_in_vain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
