/* tests/unit/store/damage_test.c
 *
 * Goal: what is in the file is never trusted: a row or a page that makes no sense is a status and a
 * sentence with its place, not a crash and not a number that somebody believes.
 * Method: a good store is spoilt from outside, one thing at a time, and read. */
#include "world.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status
read_account(struct world *world)
{
    struct account_row row;
    return store_account_get(world->store, 100, &row);
}

static enum status
read_key(struct world *world)
{
    struct key_row row;
    return store_key_get(world->store, 101, &row);
}

static enum status
read_thread(struct world *world)
{
    struct thread_row row;
    return store_thread_get(world->store, 102, &row);
}

static enum status
read_subject(struct world *world)
{
    struct subject_row row;
    return store_subject_find(world->store, SUBJECT_MODEL, 0, "\x01", &row);
}

static enum status
read_set_caps(struct world *world)
{
    struct subject_row row;
    return store_subject_find(world->store, SUBJECT_ACCOUNT, 100, "", &row);
}

static enum status
read_reported(struct world *world)
{
    struct reported_row row;
    return store_reported_get(world->store, 100, &row);
}

static enum status
read_meter(struct world *world)
{
    struct meter_row row;
    return store_meter_get(world->store, 103, &row);
}

static enum status
read_hold(struct world *world)
{
    struct hold_row row;
    return store_hold_get(world->store, 104, &row);
}

static enum status
read_orphan(struct world *world)
{
    struct hold_row row;
    return store_hold_orphan(world->store, 0, &row);
}

static enum status
read_issued(struct world *world)
{
    struct issued_row row;
    return store_issued_get(world->store, an_issued(100, 0).id_hash, &row);
}

static enum status
read_receipt(struct world *world)
{
    struct receipt_row row;
    return store_receipt_get(world->store, a_receipt(100, 0).name, &row);
}

static enum status
read_limit_def(struct world *world)
{
    struct limit_def_row row;
    return store_limit_def_at(world->store, 0, &row);
}

static enum status
read_identity(struct world *world)
{
    int64_t version = 0;
    return store_identity_version(world->store, &version);
}

static void
a_damaged_row_is_told_by_table_and_id(void **state)
{
    static const struct {
        const char *sql;
        enum status (*read)(struct world *world);
        const char *word;
    } rows[] = {
        { "UPDATE account SET name = ' acme'", read_account, "table account, row 100" },
        { "UPDATE account SET name = x'00'", read_account, "table account, row 100" },
        { "UPDATE account SET name = 'a' || char(0) || 'b'", read_account, "table account" },
        { "UPDATE account SET name = replace(hex(zeroblob(64)), '0', 'x')", read_account,
            "table account" },
        { "UPDATE account SET state = 2", read_account, "table account" },
        { "UPDATE account SET state = 4294967296", read_account, "table account" },
        { "UPDATE account SET created_ms = 'soon'", read_account, "table account" },
        { "UPDATE account SET created_ms = 1.5", read_account, "table account" },
        { "UPDATE account SET version = 9223372036854775807", read_account, "table account" },
        { "UPDATE key SET role = -1", read_key, "table key, row 101" },
        { "UPDATE key SET revoked = 2", read_key, "table key" },
        { "UPDATE key SET hash_hex = 'short'", read_key, "table key" },
        { "UPDATE key SET shown = '0123456789abcdef'", read_key, "table key" },
        { "UPDATE thread SET kind = 99", read_thread, "table thread, row 102" },
        { "UPDATE subject SET kind = 4, account_id = 0, name = char(1)", read_subject,
            "table subject, row 103" },
        { "UPDATE subject SET sets = '106,0,5,0'", read_set_caps, "table subject, row 103" },
        { "UPDATE subject SET sets = '106,3,5,0,0;'", read_set_caps, "table subject" },
        { "UPDATE subject SET sets = '106,0,-2,0,0;'", read_set_caps, "table subject" },
        { "UPDATE subject SET sets = '106,1,0,0,0;'", read_set_caps, "table subject" },
        { "UPDATE subject SET sets = '106,0,5,0,0;106,0,6,0,0;'", read_set_caps, "table subject" },
        { "UPDATE subject SET version = -1", read_set_caps, "table subject" },
        { "UPDATE reported SET packed = 'a,5h,1;'", read_reported, "table reported, row 100" },
        { "UPDATE reported SET packed = ',5h,,-1,0,0,0;'", read_reported, "table reported" },
        { "UPDATE reported SET packed = ',5x,,1,0,0,0;'", read_reported, "table reported" },
        { "UPDATE reported SET packed = ',5h,,1,0,0,2;'", read_reported, "table reported" },
        { "UPDATE reported SET packed = ',5h,,1,0,0,0;,5h,a,1,0,0,0;'", read_reported, "table reported" },
        { "UPDATE meter SET packed = '1,2'", read_meter, "table meter, row 103" },
        { "UPDATE meter SET packed = x'31'", read_meter, "table meter" },
        { "UPDATE meter SET packed = '1,0,0,-1,0,0;'", read_meter, "table meter" },
        { "UPDATE meter SET packed = '1,0,0,0,0,0;1,0,0,0,0,0;'", read_meter, "table meter" },
        { "UPDATE meter SET packed = '1,0,9223372036854775807,0,0,0;'", read_meter, "table meter" },
        { "UPDATE hold SET parts = ';'", read_hold, "table hold, row 104" },
        { "UPDATE hold SET attempts = 'a,b,0,0,no_such;'", read_hold, "table hold, row 104" },
        { "UPDATE hold SET attempts = 'a,b,0,0,no_such;'", read_orphan, "table hold, row 104" },
        { "UPDATE hold SET held_micros = 31", read_hold, "table hold" },
        { "UPDATE hold SET epoch = 1048576", read_hold, "table hold" },
        { "UPDATE hold SET inputs = 7.5e3", read_hold, NULL }, /* text by affinity */
        { "UPDATE hold SET inputs = x'7b7d'", read_hold, "table hold" },
        { "UPDATE issued SET account_id = 0", read_issued, "table issued" },
        { "UPDATE receipt SET status = 404", read_receipt, "table receipt" },
        { "UPDATE receipt SET asked = 'short'", read_receipt, "table receipt" },
        { "UPDATE limit_def SET name = ''", read_limit_def, "table limit_def, row 106" },
        { "UPDATE limit_def SET counts = 99", read_limit_def, "table limit_def, row 106" },
        { "UPDATE limit_def SET win = -1", read_limit_def, "table limit_def, row 106" },
        { "UPDATE limit_def SET span_ms = -1", read_limit_def, "table limit_def, row 106" },
        { "UPDATE meta SET value = 'x' WHERE name = 'identity_version'", read_identity,
            "'identity_version' is no number" },
        { "UPDATE meta SET value = '-1' WHERE name = 'identity_version'", read_identity,
            "'identity_version' is no number" },
        { "DROP TABLE issued", read_issued, "no such table: issued" },
    };
    struct world *world = *state;
    world_begin(world);
    put_one_of_each(world, 100);
    world_commit(world);
    world_close(world);
    for (size_t i = 0; i < countof(rows); i++) {
        char backup[256];
        (void)snprintf(backup, sizeof(backup), "cp %s %s.good", world->path, world->path);
        assert_int_equal(system(backup), 0);
        world_sql(world, rows[i].sql);
        world_open(world);
        OK(world, store_begin_read(world->store));
        const enum status status = rows[i].read(world);
        const enum status want = rows[i].word ? STATUS_INVALID : STATUS_OK;
        if (status != want
            || (rows[i].word && !strstr(store_last_error(world->store), rows[i].word))) {
            fail_msg(
                "%s: %s: %s", rows[i].sql, status_name(status), store_last_error(world->store));
        }
        world_close(world);
        (void)snprintf(backup, sizeof(backup), "cat %s.good >%s", world->path,
            world->path); /* the same file: a copy would be judged as one */
        assert_int_equal(system(backup), 0);
    }
}

static bool
take_any(void *user, const struct ledger_row *row)
{
    (void)row;
    ++*(int *)user;
    return true;
}

static void
a_damaged_ledger_row_stops_the_reader_not_the_program(void **state)
{
    static const char *const changes[] = {
        "reason = 'no_such'",
        "kind = 99",
        "input_tokens = -1",
        "cost_micros = -1",
        "usage_known = 4294967297",
        "status = 1000",
        "flags = 512",
        "source = replace(hex(zeroblob(16)), '0', 'x')",
        "attempt = 2147483648",
        "at_ms = 253402300800000",
        "inputs = x'00'",
    };
    struct world *world = *state;
    world_begin(world);
    for (int64_t id = 1; id <= 3; id++) {
        const struct ledger_row row = a_ledger_row(id);
        OK(world, store_ledger_add(world->store, &row));
    }
    world_commit(world);
    for (size_t i = 0; i < countof(changes); i++) {
        char sql[256];
        const struct ledger_filter filter = { .kind = -1 };
        (void)snprintf(sql, sizeof(sql),
            "CREATE TABLE kept AS SELECT * FROM ledger; UPDATE ledger SET %s WHERE id = 2",
            changes[i]);
        world_sql(world, sql);
        struct store_reader *reader = world_reader(world);
        int count = 0;
        EXPECT(world, store_read_ledger(reader, &filter, take_any, &count), STATUS_INVALID);
        if (count != 1 || !strstr(store_reader_error(reader), "table ledger, row 2")) {
            fail_msg("%s: %d rows: %s", changes[i], count, store_reader_error(reader));
        }
        world_reader_close(world);
        world_sql(
            world, "DELETE FROM ledger; INSERT INTO ledger SELECT * FROM kept; DROP TABLE kept");
    }
}

static void
a_damaged_node_or_signal_key_stops_the_start(void **state)
{
    static const struct {
        const char *spoil, *mend;
    } rows[] = {
        { "UPDATE meta SET value = 'zz' WHERE name = 'signal_key'",
            "UPDATE meta SET value = '" HASH "' WHERE name = 'signal_key'" },
        { "UPDATE meta SET value = 'x' WHERE name = 'epoch'",
            "UPDATE meta SET value = '9' WHERE name = 'epoch'" },
        { "DELETE FROM meta WHERE name = 'epoch'", "INSERT INTO meta VALUES ('epoch', '9')" },
        { "UPDATE node SET batch_no = -1", "UPDATE node SET batch_no = 1" },
        { "UPDATE node SET high_water_ms = 'x'", "UPDATE node SET high_water_ms = 1" },
    };
    struct world *world = *state;
    struct node_row node;
    for (size_t i = 0; i < countof(rows); i++) {
        world_sql(world, rows[i].spoil);
        const enum status status =
            store_node_start(world->store, NOW_MS, "", &node, world->signal_key);
        if (status != STATUS_INVALID) {
            fail_msg("%s: %s", rows[i].spoil, status_name(status));
        }
        world_sql(world, rows[i].mend);
        OK(world, store_node_start(world->store, NOW_MS, "", &node, world->signal_key));
    }
}

/* A page of the file itself is overwritten. */
static void
a_damaged_file_is_an_answer(void **state)
{
    struct world *world = *state;
    world_begin(world);
    for (int64_t id = 1; id <= 2000; id++) {
        const struct ledger_row row = a_ledger_row(id);
        OK(world, store_ledger_add(world->store, &row));
    }
    world_commit(world);
    world_close(world);
    const int fd = open(world->path, O_RDWR);
    char page[4096];
    memset(page, 0xA5, sizeof(page));
    struct stat file;
    assert_int_equal(fstat(fd, &file), 0);
    for (off_t at = file.st_size / 2; at < file.st_size; at += 4096) {
        assert_int_equal(pwrite(fd, page, sizeof(page), at), (ssize_t)sizeof(page));
    }
    (void)close(fd);
    world_open(world);
    const struct ledger_filter filter = { .kind = -1, .limit = INT32_MAX };
    int count = 0;
    struct store_reader *reader = world_reader(world);
    EXPECT(world, store_read_ledger(reader, &filter, take_any, &count), STATUS_INVALID);
    assert_non_null(strstr(store_reader_error(reader), "a backup"));
    world_reader_close(world);
}

#define OPENED(name, function) CASE_WITH(name, function, world_on_disk, world_end)

static const struct CMUnitTest tests[] = {
    OPENED("a damaged row is told by table and id", a_damaged_row_is_told_by_table_and_id),
    OPENED("a damaged ledger row stops the reader, not the program",
        a_damaged_ledger_row_stops_the_reader_not_the_program),
    OPENED("a damaged node or signal key stops the start",
        a_damaged_node_or_signal_key_stops_the_start),
    OPENED("a damaged file is an answer", a_damaged_file_is_an_answer),
};
UNIT_MAIN(tests)
