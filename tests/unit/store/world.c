#include "world.h"

#include <dirent.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/secret.h"
#include "rows/pack.h"
#include "tbl/counts.h"

/* --- The store. */

void
expect_status(const struct world *world, enum status got, enum status want, const char *what)
{
    if (got != want) {
        fail_msg("%s: %s, not %s: %s", what, status_name(got), status_name(want),
            world->store ? store_last_error(world->store) : "no store");
    }
}

void
world_open(struct world *world)
{
    struct store_error error;
    const enum status status = store_open(world->url, &world->options, &world->store, &error);
    if (status != STATUS_OK) {
        fail_msg("%s: %s: %s", world->url, status_name(status), error.text);
    }
    OK(world, store_node_start(world->store, NOW_MS, HASH, &world->node, world->signal_key));
}

struct store_reader *
world_reader(struct world *world)
{
    struct store_error error;
    assert_null(world->reader);
    if (store_reader_open(world->store, &world->reader, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return world->reader;
}

void
world_reader_close(struct world *world)
{
    store_reader_close(world->reader);
    world->reader = NULL;
}

void
world_close(struct world *world)
{
    world_reader_close(world);
    store_close(world->store);
    world->store = NULL;
}

void
world_begin(struct world *world)
{
    world->node.batch_no++;
    world->node.lease_until_ms = NOW_MS + 10 * SECOND_MS;
    OK(world, store_begin(world->store, &world->node));
}

void
world_commit(struct world *world)
{
    OK(world, store_commit(world->store));
}

int
world_closed(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    assert_int_equal(secret_start(), STATUS_OK);
    world->disk = true;
    (void)snprintf(world->folder, sizeof(world->folder), "/tmp/tidegate-store-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    (void)snprintf(world->path, sizeof(world->path), "%s/store.db", world->folder);
    (void)snprintf(world->url, sizeof(world->url), "sqlite:%s", world->path);
    *state = world;
    return 0;
}

int
world_on_disk(void **state)
{
    assert_int_equal(world_closed(state), 0);
    world_open(*state);
    return 0;
}

int
world_in_memory(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    assert_int_equal(secret_start(), STATUS_OK);
    (void)snprintf(world->url, sizeof(world->url), "memory:");
    world_open(world);
    *state = world;
    return 0;
}

/* --- On PostgreSQL: a schema for each case. */

/* The answer's first value, as far as it fits; fails the case where the server does. */
static void
server_sql(const char *sql, char *out, size_t out_size)
{
    PGconn *conn = PQconnectdb(getenv("TIDEGATE_TEST_PG"));
    if (PQstatus(conn) != CONNECTION_OK) {
        fail_msg("TIDEGATE_TEST_PG names no server that answers: %s", PQerrorMessage(conn));
    }
    PGresult *result = PQexec(conn, sql);
    const ExecStatusType kind = PQresultStatus(result);
    if (kind != PGRES_COMMAND_OK && kind != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    }
    if (out) {
        (void)snprintf(out, out_size, "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    }
    PQclear(result);
    PQfinish(conn);
}

void
world_postgres_begin(struct world *world)
{
    static int number;
    char sql[160];
    assert_int_equal(secret_start(), STATUS_OK);
    world->shared = true;
    (void)snprintf(world->schema, sizeof(world->schema), "unit_%d_%d", (int)getpid(), ++number);
    (void)snprintf(sql, sizeof(sql), "CREATE SCHEMA %s", world->schema);
    server_sql(sql, NULL, 0);
    const char *server = getenv("TIDEGATE_TEST_PG");
    (void)snprintf(world->url, sizeof(world->url), "%s%soptions=-csearch_path%%3D%s", server,
        strchr(server, '?') ? "&" : "?", world->schema);
}

void
world_postgres_end(struct world *world)
{
    char sql[160];
    (void)snprintf(sql, sizeof(sql), "SET client_min_messages = warning; DROP SCHEMA %s CASCADE",
        world->schema);
    server_sql(sql, NULL, 0);
}

void
world_run_on_postgres(void **state)
{
    const CMUnitTestFunction function = *(const CMUnitTestFunction *)*state;
    struct world world = { 0 };
    void *passed = &world;
    if (!getenv("TIDEGATE_TEST_PG")) {
        print_message("# not run: TIDEGATE_TEST_PG names no server\n");
        return;
    }
    world_postgres_begin(&world);
    world_open(&world);
    function(&passed);
    world_close(&world);
    world_postgres_end(&world);
}

void
expect_refused(struct world *world, enum status got, enum status want, const char *what)
{
    if (!world->shared) {
        expect_status(world, got, want, what);
        return;
    }
    expect_status(world, got, STATUS_OK, what);
    if (want == STATUS_OK) { /* a read sends what waits, so that it would be told */
        struct account_row row;
        expect_status(
            world, store_account_get(world->store, 987654321, &row), STATUS_NOT_FOUND, what);
    } else {
        expect_status(world, store_commit(world->store), STATUS_CONFLICT, what);
    }
}

void
expect_fenced(struct world *world, const struct node_row *node)
{
    if (!world->shared) {
        EXPECT(world, store_begin(world->store, node), STATUS_FENCED);
        return;
    }
    OK(world, store_begin(world->store, node));
    EXPECT(world, store_commit(world->store), STATUS_FENCED);
    store_rollback(world->store);
}

static void
remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
        }
    }
    (void)closedir(dir);
    assert_int_equal(rmdir(folder), 0);
}

int
world_end(void **state)
{
    struct world *world = *state;
    world_close(world);
    if (world->disk) {
        remove_folder(world->folder);
    }
    free(world);
    return 0;
}

void
world_sql(const struct world *world, const char *sql)
{
    if (world->shared) {
        char text[2048];
        (void)snprintf(text, sizeof(text), "SET search_path = %s; %s", world->schema, sql);
        server_sql(text, NULL, 0);
        return;
    }
    sqlite3 *handle = NULL;
    char *error = NULL;
    assert_int_equal(sqlite3_open(world->path, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, &error) != SQLITE_OK) {
        fail_msg("%s: %s", sql, error);
    }
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}

/* --- Rows. */

struct account_row
an_account(int64_t account_id, const char *name)
{
    struct account_row row = { .account_id = account_id,
        .plan = "pro",
        .organisation = "Acme \xe2\x82\xac",
        .created_ms = NOW_MS };
    (void)snprintf(row.name, sizeof(row.name), "%s", name);
    return row;
}

struct key_row
a_key(int64_t key_id, int64_t account_id)
{
    struct key_row row = { .key_id = key_id,
        .account_id = account_id,
        .label = "laptop",
        .shown = "tg_abc",
        .role = ROLE_SERVICE,
        .thread_required = true,
        .created_ms = NOW_MS,
        .expires_ms = NOW_MS + DAY_MS,
        .may_act_for = "user-" };
    (void)snprintf(row.hash_hex, sizeof(row.hash_hex), "%064llx", (unsigned long long)key_id);
    return row;
}

struct thread_row
a_thread(int64_t thread_id, int64_t account_id, const char *mark)
{
    struct thread_row row = { .thread_id = thread_id,
        .account_id = account_id,
        .root_id = thread_id,
        .kind = THREAD_CLAUDE_CODE,
        .created_ms = NOW_MS,
        .last_ms = NOW_MS + 1,
        .last_input = 1200,
        .last_input_bytes = 4800 };
    (void)snprintf(row.sig_hash, sizeof(row.sig_hash), "%s", mark);
    return row;
}

struct subject_row
a_subject(int64_t subject_id, int64_t account_id)
{
    return (struct subject_row){ .subject_id = subject_id,
        .account_id = account_id,
        .kind = SUBJECT_ACCOUNT,
        .set_count = 3,
        .sets = { { 106, SET_CAP, 0, 0, NOW_MS },
            { 106, SET_RAISE, MONEY_MICROS_MAX, NOW_MS + DAY_MS, NOW_MS },
            { 107, SET_CAP, CAP_UNLIMITED, 0, NOW_MS } } };
}

struct meter_row
a_meter_row(int64_t subject_id)
{
    return (struct meter_row){ .subject_id = subject_id,
        .meter_count = 2,
        .meters = { { 1, NOW_MS, 1000000, 20, 30, 0 },
            { 2, 0, -5, 0, MONEY_MICROS_MAX, INT64_MIN } },
        .seen_ms = NOW_MS };
}

void
put_a_subject(struct world *world, int64_t subject_id)
{
    struct subject_row row = a_subject(subject_id, 1000000 + subject_id);
    OK(world, store_subject_put(world->store, &row));
}

struct hold_row
a_hold(int64_t hold_id, const struct node_row *node)
{
    return (struct hold_row){ .hold_id = hold_id,
        .node_id = node->node_id,
        .epoch = node->epoch,
        .account_id = 11,
        .key_id = 12,
        .thread_id = 13,
        .root_id = 14,
        .payer = PAYER_USER,
        .on_abort = ON_ABORT_STOPS,
        .part_count = 2,
        .parts = { { 1, 5, NOW_MS, 20, 30, 100, COUNT_COST, WINDOW_MONTH, HOLD_MODE_STREAM, true },
            { 2, 6, 0, 1, 1, 8, COUNT_IN_FLIGHT, WINDOW_CONCURRENCY, HOLD_MODE_STREAM, true } },
        .attempt_count = 2,
        .attempts = { { "anthropic", "claude-opus-4-6", ATTEMPT_UNBILLED, 529,
                          REASON_ROUTES_COOLING },
            { "hf", "a,b;c", ATTEMPT_OPEN, 0, REASON_OK } },
        .model = "claude-opus-4-6",
        .held_micros = 20,
        .bound_micros = 30,
        .est_micros = 25,
        .est_input = 1300,
        .input_bound = 5200,
        .held_output = 2048,
        .bound_output = 128000,
        .multiplier_pct = 100,
        .body_bytes = 5200,
        .estimator = "learned",
        .created_ms = NOW_MS,
        .policy_ver = 3,
        .price_ver = 4,
        .inputs = SLICE("{\"cap\":100,\"name\":\"\xc3\xa9\"}") };
}

struct ledger_row
a_ledger_row(int64_t id)
{
    return (struct ledger_row){ .id = id,
        .at_ms = NOW_MS + id,
        .kind = LEDGER_SETTLE,
        .hold_id = id > 1 ? id - 1 : 0,
        .attempt = 1,
        .source = "relay",
        .account_id = 11,
        .key_id = 12,
        .thread_id = 13,
        .root_id = 14,
        .model = "claude-opus-4-6",
        .provider = "anthropic",
        .upstream_model = "claude-opus-4-6-20260101",
        .payer = PAYER_COMPANY,
        .usage = { 10, 20, 30, 40, 50, 5, 60, USAGE_INPUT | USAGE_OUTPUT },
        .cost_micros = 70,
        .est_micros = 80,
        .bound_micros = 90,
        .started_ms = NOW_MS,
        .estimator = "learned",
        .reason = REASON_UPSTREAM_BROKEN,
        .status = 200,
        .flags = LEDGER_CUT | LEDGER_CLIENT_GONE,
        .policy_ver = 3,
        .price_ver = 4,
        .inputs = SLICE("{\"limits\":[]}") };
}

struct reported_row
a_reported_row(int64_t account_id)
{
    return (struct reported_row){ .account_id = account_id,
        .window_count = 2,
        .windows = { { .credential = "anthropic",
                         .window = "5h",
                         .used_milli_pct = 42500,
                         .resets_at_ms = NOW_MS + 5 * HOUR_MS,
                         .captured_ms = NOW_MS,
                         .source = REPORTED_BY_HEADERS },
            { .window = "7d_opus", .models = "*opus*,claude-3", .captured_ms = 1 } } };
}

struct refusal_row
a_refusal(int64_t account_id, int64_t minute_ms)
{
    return (struct refusal_row){ .account_id = account_id,
        .key_id = 12,
        .limit_id = 1,
        .minute_ms = minute_ms,
        .count = 1,
        .ledger_id = 99,
        .model = "glm-5.2",
        .reason = REASON_COST_SPENT };
}

struct issued_row
an_issued(int number, int64_t at_ms)
{
    struct issued_row row = { .account_id = 11, .at_ms = at_ms, .provider = "openai" };
    (void)snprintf(row.id_hash, sizeof(row.id_hash), "%064x", (unsigned)number);
    return row;
}

struct receipt_row
a_receipt(int number, int64_t at_ms)
{
    struct receipt_row row = {
        .asked = HASH, .at_ms = at_ms, .status = 201, .answer = "{\"id\":\"acc_7\"}\n"
    };
    (void)snprintf(row.name, sizeof(row.name), "%064x", (unsigned)number);
    return row;
}

struct outbox_row
an_outbox_row(int64_t id, const char *hook, int64_t next_ms)
{
    struct outbox_row row = { .id = id,
        .ledger_id = 99,
        .at_ms = NOW_MS,
        .topic = TOPIC_WARN,
        .next_ms = next_ms,
        .body = SLICE("{\"event\":\"warn\"}") };
    (void)snprintf(row.hook, sizeof(row.hook), "%s", hook);
    return row;
}

struct limit_def_row
a_limit_def(int64_t limit_id, const char *name)
{
    struct limit_def_row row = { .def_id = limit_id,
        .limit_id = limit_id,
        .set_id = limit_id,
        .nth = 1,
        .thing = HASH,
        .since_ms = NOW_MS,
        .fingerprint = HASH,
        .counts = COUNT_TOKENS,
        .per = PER_MODEL,
        .window = WINDOW_ROLLING,
        .span_ms = 5 * HOUR_MS };
    (void)snprintf(row.name, sizeof(row.name), "%s", name);
    return row;
}

void
put_one_of_each(struct world *world, int64_t base_id)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "name-%lld", (long long)base_id);
    struct store *store = world->store;
    struct limit_def_row unwanted;
    const enum status seen = store_limit_def_at(store, 0, &unwanted); /* whoever puts one has looked before */
    assert_true(seen == STATUS_OK || seen == STATUS_NOT_FOUND);
    struct account_row account = an_account(base_id, name);
    OK(world, store_account_put(store, &account));
    struct key_row key = a_key(base_id + 1, base_id);
    OK(world, store_key_put(store, &key));
    int64_t version = 0;
    OK(world, store_identity_version(store, &version));
    OK(world, store_identity_bump(store, version + 1));
    struct thread_row thread = a_thread(base_id + 2, base_id, name);
    OK(world, store_thread_put(store, &thread));
    struct subject_row subject = a_subject(base_id + 3, base_id);
    OK(world, store_subject_put(store, &subject));
    struct meter_row meters = a_meter_row(base_id + 3);
    OK(world, store_meter_put(store, &meters));
    struct reported_row reported = a_reported_row(base_id);
    OK(world, store_reported_put(store, &reported));
    struct hold_row hold = a_hold(base_id + 4, &world->node);
    OK(world, store_hold_insert(store, &hold));
    struct ledger_row ledger = a_ledger_row(base_id + 5);
    OK(world, store_ledger_add(store, &ledger));
    struct refusal_row refusal = a_refusal(base_id, NOW_MS);
    OK(world, store_refusal_add(store, &refusal));
    struct issued_row issued = an_issued((int)base_id, NOW_MS);
    OK(world, store_issued_put(store, &issued));
    const struct receipt_row receipt = a_receipt((int)base_id, NOW_MS);
    OK(world, store_receipt_add(store, &receipt));
    const struct outbox_row message = an_outbox_row(base_id + 7, "ops", NOW_MS);
    OK(world, store_outbox_add(store, &message));
    struct limit_def_row limit = a_limit_def(base_id + 6, name);
    OK(world, store_limit_def_put(store, &limit));
}

/* --- As text. */

static void
add_number(struct buf *out, const char *name, int64_t value)
{
    buf_addf(out, " %s=%lld", name, (long long)value);
}

#define NUMBER(field) add_number(out, #field, (int64_t)row->field)
#define TEXT(field)   buf_addf(out, " " #field "='%s'", row->field)

void
text_account(struct buf *out, const struct account_row *row)
{
    buf_add_str(out, "account");
    NUMBER(account_id), TEXT(name), TEXT(plan), TEXT(organisation), NUMBER(state);
    NUMBER(created_ms), NUMBER(version);
    buf_add_char(out, '\n');
}

void
text_key(struct buf *out, const struct key_row *row)
{
    buf_add_str(out, "key");
    NUMBER(key_id), NUMBER(account_id), TEXT(hash_hex), TEXT(label), TEXT(shown), NUMBER(role);
    NUMBER(revoked), NUMBER(thread_required), NUMBER(created_ms), NUMBER(expires_ms);
    TEXT(may_act_for), NUMBER(version);
    buf_add_char(out, '\n');
}

void
text_thread(struct buf *out, const struct thread_row *row)
{
    buf_add_str(out, "thread");
    NUMBER(thread_id), NUMBER(account_id), NUMBER(root_id), NUMBER(kind), TEXT(sig_hash);
    NUMBER(created_ms), NUMBER(last_ms), NUMBER(last_input), NUMBER(last_input_bytes);
    NUMBER(version);
    buf_add_char(out, '\n');
}

void
text_subject(struct buf *out, const struct subject_row *row)
{
    buf_add_str(out, "subject");
    NUMBER(subject_id), NUMBER(account_id), NUMBER(kind), TEXT(name), NUMBER(version);
    buf_add_char(out, ' ');
    pack_sets(row, out);
}

void
text_meters(struct buf *out, const struct meter_row *row)
{
    buf_add_str(out, "meter");
    NUMBER(subject_id), NUMBER(seen_ms), NUMBER(version);
    buf_add_char(out, ' ');
    pack_meters(row, out);
    buf_add_char(out, '\n');
}

void
text_reported(struct buf *out, const struct reported_row *row)
{
    buf_add_str(out, "reported");
    NUMBER(account_id), NUMBER(version);
    buf_add_char(out, ' ');
    pack_reported(row, out);
    buf_add_char(out, '\n');
}

void
text_hold(struct buf *out, const struct hold_row *row)
{
    buf_add_str(out, "hold");
    NUMBER(hold_id), NUMBER(node_id), NUMBER(epoch), NUMBER(account_id), NUMBER(key_id);
    NUMBER(thread_id), NUMBER(root_id), NUMBER(payer), NUMBER(state), NUMBER(on_abort), TEXT(model);
    NUMBER(held_micros), NUMBER(bound_micros), NUMBER(est_micros), NUMBER(est_input);
    NUMBER(input_bound), NUMBER(held_output), NUMBER(bound_output), NUMBER(multiplier_pct);
    NUMBER(body_bytes), TEXT(estimator), NUMBER(created_ms), NUMBER(policy_ver), NUMBER(price_ver);
    buf_add_char(out, ' ');
    pack_parts(row, out);
    buf_add_char(out, ' ');
    pack_attempts(row, out);
    buf_add_char(out, ' ');
    buf_add_slice(out, row->inputs);
    buf_add_char(out, '\n');
}

void
text_ledger(struct buf *out, const struct ledger_row *row)
{
    buf_add_str(out, "ledger");
    NUMBER(id), NUMBER(at_ms), NUMBER(kind), NUMBER(hold_id), NUMBER(attempt), TEXT(source);
    NUMBER(account_id), NUMBER(key_id), NUMBER(thread_id), NUMBER(root_id), TEXT(model);
    TEXT(provider), TEXT(upstream_model), NUMBER(payer), NUMBER(usage.input);
    NUMBER(usage.cache_read), NUMBER(usage.cache_write_5m), NUMBER(usage.cache_write_1h);
    NUMBER(usage.output), NUMBER(usage.reasoning), NUMBER(usage.cost_micros), NUMBER(usage.known);
    NUMBER(cost_micros), NUMBER(est_micros), NUMBER(bound_micros), NUMBER(started_ms);
    TEXT(estimator), NUMBER(reason), NUMBER(status), NUMBER(flags), NUMBER(policy_ver);
    NUMBER(price_ver);
    buf_add_char(out, ' ');
    buf_add_slice(out, row->inputs);
    buf_add_char(out, '\n');
}

static bool
give_account(void *user, const struct account_row *row)
{
    text_account(user, row);
    return true;
}

static bool
give_key(void *user, const struct key_row *row)
{
    text_key(user, row);
    return true;
}

static bool
give_meters(void *user, const struct subject_row *row, const struct meter_row *meters)
{
    struct buf *out = user;
    text_subject(out, row);
    buf_add_char(out, ' ');
    text_meters(out, meters);
    return true;
}

static bool
give_hold(void *user, const struct hold_row *row)
{
    text_hold(user, row);
    return true;
}

static bool
give_ledger(void *user, const struct ledger_row *row)
{
    text_ledger(user, row);
    return true;
}

static bool
give_refusal(void *user, const struct refusal_row *row)
{
    struct buf *out = user;
    buf_add_str(out, "refusal");
    NUMBER(account_id), NUMBER(key_id), TEXT(model), NUMBER(limit_id), NUMBER(reason);
    NUMBER(minute_ms), NUMBER(count), NUMBER(ledger_id);
    buf_add_char(out, '\n');
    return true;
}

static bool
give_message(void *user, const struct outbox_row *row)
{
    struct buf *out = user;
    buf_add_str(out, "outbox");
    NUMBER(id), NUMBER(ledger_id), NUMBER(at_ms), NUMBER(topic), TEXT(hook), NUMBER(next_ms);
    NUMBER(attempts), TEXT(last_error);
    buf_add_char(out, ' ');
    buf_add_slice(out, row->body);
    buf_add_char(out, '\n');
    return true;
}

static void
add_limit_defs(struct world *world, struct buf *out)
{
    OK(world, store_begin_read(world->store));
    struct limit_def_row def;
    const struct limit_def_row *row = &def;
    enum status status = STATUS_OK;
    for (int64_t i = 0; (status = store_limit_def_at(world->store, i, &def)) == STATUS_OK; i++) {
        buf_add_str(out, "limit_def");
        NUMBER(def_id), NUMBER(limit_id), NUMBER(set_id), TEXT(name), NUMBER(nth), TEXT(fingerprint), TEXT(thing);
        NUMBER(since_ms), NUMBER(until_ms);
        NUMBER(counts), NUMBER(per), NUMBER(window), NUMBER(span_ms);
        buf_add_char(out, '\n');
    }
    assert_int_equal(status, STATUS_NOT_FOUND);
    int64_t identity_version = 0;
    OK(world, store_identity_version(world->store, &identity_version));
    buf_addf(out, "identity %lld\n", (long long)identity_version);
    store_rollback(world->store);
}

struct buf
world_text(struct world *world)
{
    struct buf out = { 0 };
    struct store_reader *reader = world_reader(world);
    const struct ledger_filter filter = { .kind = -1, .limit = INT32_MAX };
    OK(world, store_read_accounts(reader, give_account, &out));
    OK(world, store_read_keys(reader, 0, give_key, &out));
    OK(world, store_read_meters(reader, 0, give_meters, &out));
    for (int64_t account_id = 100; account_id <= 200; account_id += 100) {
        const struct need need = { .kind = NEED_REPORTED, .id = account_id };
        union need_row row;
        if (store_read_row(reader, &need, &row) == STATUS_OK) {
            text_reported(&out, &row.reported);
        }
    }
    OK(world, store_read_holds(reader, give_hold, &out));
    OK(world, store_read_ledger(reader, &filter, give_ledger, &out));
    OK(world, store_read_refusals(reader, 0, 0, give_refusal, &out));
    OK(world, store_read_outbox(reader, "", INT32_MAX, give_message, &out));
    world_reader_close(world);
    add_limit_defs(world, &out);
    assert_false(out.failed);
    return out;
}
