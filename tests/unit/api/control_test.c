/* tests/unit/api/control_test.c
 *
 * Goal: the control plane over a real engine and store: what is made can be read, what is wrong is refused
 * with its code and changes nothing, every change is on the ledger, and no secret is.
 * Method: requests as the control socket does them, on a store in memory. */
#include "unit.h"

#include "api/api_priv.h"
#include "base/secret.h"
#include "log/log.h"
#include "wire/json.h"

static struct {
    struct store *store;
    struct engine *engine;
    struct api_plane *api;
    struct buf out;
    const char *once_key;
} world;

static void
on_verdicts(void *user, uint32_t loop)
{
    api_wake(world.api, loop);
}

static struct policy *
plain_policy(void)
{
    static const char *plans[] = { "free", "pro" };
    static struct limit limits[2];
    limits[0] = (struct limit){ .name = "premium-runs",
        .fingerprint = "f",
        .thing = "f",
        .counts = COUNT_IN_FLIGHT,
        .per = PER_ACCOUNT,
        .window = WINDOW_CONCURRENCY,
        .cap_default = 3,
        .of_tier = TIER_PREMIUM };
    limits[1] = (struct limit){ .name = "spend",
        .fingerprint = "g",
        .thing = "g",
        .counts = COUNT_COST,
        .per = PER_ACCOUNT,
        .window = WINDOW_DAY,
        .cap_default = 1000,
        .of_tier = -1 };
    struct policy *policy = policy_new();
    assert_non_null(policy);
    policy->plans = plans;
    policy->plan_count = 2;
    policy->default_plan = "free";
    policy->store = "memory:";
    policy->limits = limits;
    policy->limit_count = countof(limits);
    return policy;
}

static int
open_world(void **state)
{
    struct store_error store_error;
    struct engine_error engine_error;
    struct api_error api_error;
    const struct store_options store_options = { 0 };
    memset(&world, 0, sizeof(world));
    log_open(LOG_ERROR, false);
    assert_int_equal(secret_start(), STATUS_OK);
    assert_int_equal(store_open("memory:", &store_options, &world.store, &store_error), STATUS_OK);
    const struct engine_options engine_options = { .store = world.store, .policy = plain_policy(),
        .loop_count = API_REPLY_LOOPS, .wake = on_verdicts };
    assert_int_equal(engine_open(&engine_options, &world.engine, &engine_error), STATUS_OK);
    const struct api_options api_options = { .engine = world.engine, .store = world.store, .store_url = "memory:" };
    assert_int_equal(api_open(&api_options, &world.api, &api_error), STATUS_OK);
    return 0;
}

static int
close_world(void **state)
{
    api_stop(world.api);
    engine_close(world.engine);
    api_free(world.api);
    store_close(world.store);
    buf_free(&world.out);
    return 0;
}

/* Does one; the answer's status, its body in world.out. */
static int
request(const char *method, const char *target, const char *body)
{
    buf_clear(&world.out);
    const struct api_call call = { method, slice_str(target), slice_str(body), world.once_key };
    const int status = api_do(world.api, "tester", &call, &world.out);
    struct json_value whole;
    assert_true(status == 204 || json_check(buf_slice(&world.out), &whole)); /* whatever it is, it is JSON */
    return status;
}

static const char *
answer(const char *path)
{
    static char text[512];
    struct json_value value;
    text[0] = '\0';
    if (json_get(buf_slice(&world.out), path, &value)) {
        if (value.type == JSON_STRING) {
            assert_true(json_to_cstr(value, text, sizeof(text)));
        } else {
            assert_true(slice_to_cstr(value.text, text, sizeof(text)));
        }
    }
    return text;
}

static void
requests_are_answered(void **state)
{
    static const struct {
        const char *method, *target, *body;
        int status;
        const char *path, *says;
    } rows[] = {
        { "GET", "/healthz", "", 200, "ok", "true" },
        { "GET", "/readyz", "", 200, "ready", "true" },
        { "GET", "/api/nothing", "", 404, "error.code", "endpoint_not_found" },
        { "POST", "/healthz", "", 405, "error.code", "method_not_allowed" },
        { "POST", "/v1/messages", "{}", 404, "error.code", "endpoint_not_found" },
        { "GET", "/api/v1/status", "", 200, "gateway.state", "ok" },
        { "GET", "/api/v1/status?calls=0", "", 400, "error.code", "parameter_invalid" },
        { "GET", "/api/v1/status?calls=101", "", 400, "error.code", "parameter_invalid" },
        { "GET", "/api/v1/status?calls=101", "", 400, "error.field", "calls" },
        { "GET", "/api/v1/status?calls=101", "", 400, "error.message",
            "A parameter of the query is wrong: 'calls' must be a number from 1 to 100." },
        { "GET", "/api/admin/ledger?key=x", "", 400, "error.message",
            "A parameter of the query is wrong: 'key' must be an id such as key_12." },
        { "GET", "/api/v1/status?cals=1", "", 400, "error.code", "parameter_invalid" },
        { "GET", "/api/v1/status?account=nobody", "", 404, "error.code", "account_unknown" },
        { "GET", "/api/v1/requests/req_5", "", 404, "error.code", "request_not_found" },
        { "GET", "/api/v1/requests/req_5", "", 404, "error.message", "There is no request of this id, or its rows were older than they are kept." },
        { "GET", "/api/v1/requests/req_3-0-17", "", 404, "error.message",
            "A request of this form of id was answered before the gate decided anything: it cost nothing, and only a log line tells of it." },
        { "GET", "/api/v1/requests/req_3-0", "", 404, "error.message", "There is no request of this id, or its rows were older than they are kept." },
        { "GET", "/api/v1/requests/req_3-0-x", "", 404, "error.message", "There is no request of this id, or its rows were older than they are kept." },
        { "GET", "/api/v1/requests/what", "", 404, "error.code", "request_not_found" },
        { "GET", "/api/admin/accounts", "", 200, "accounts", "[]" },

        { "POST", "/api/admin/accounts", "{\"name\":\"ada\"}", 201, "plan", "free" },
        { "POST", "/api/admin/accounts", "{\"name\":\"ada\"}", 409, "error.code", "account_exists" },
        { "POST", "/api/admin/accounts", "{\"name\":\"bob\",\"plan\":\"pro\"}", 201, "plan", "pro" },
        { "POST", "/api/admin/accounts", "{\"name\":\"eve\",\"plan\":\"gold\"}", 400, "error.code", "plan_unknown" },
        { "POST", "/api/admin/accounts", "{\"plan\":\"pro\"}", 400, "error.code", "body_field_invalid" },
        { "POST", "/api/admin/accounts", "{\"name\":\"\"}", 400, "error.code", "body_field_invalid" },
        { "POST", "/api/admin/accounts", "{\"name\":\" x\"}", 400, "error.code", "body_field_invalid" },
        { "POST", "/api/admin/accounts", "{\"name\":\"a\\u0000b\"}", 400, "error.code", "body_field_invalid" },
        { "POST", "/api/admin/accounts", "{\"name\":\"a\\nb\"}", 400, "error.code", "body_field_invalid" },
        { "POST", "/api/admin/accounts", "{\"name\":7,\"name\":8}", 400, "error.code", "body_field_invalid" },
        { "POST", "/api/admin/accounts", "{\"name\":\"eve\",\"pan\":\"pro\"}", 400, "error.code", "body_field_invalid" },
        { "POST", "/api/admin/accounts", "", 400, "error.code", "body_not_json" },
        { "POST", "/api/admin/accounts", "[]", 400, "error.code", "body_not_json" },
        { "POST", "/api/admin/accounts", "{\"name\":\"eve\"", 400, "error.code", "body_not_json" },
        { "GET", "/api/admin/accounts", "", 200, "accounts.1.name", "bob" },
        { "GET", "/api/admin/accounts?limit=1", "", 200, "accounts.0.name", "ada" },
        { "GET", "/api/admin/accounts?limit=1", "", 200, "accounts.1.name", "" },

        { "POST", "/api/admin/accounts/ada/ban", "", 200, "state", "banned" },
        { "GET", "/api/admin/accounts", "", 200, "accounts.0.state", "banned" },
        { "GET", "/api/admin/accounts", "", 200, "accounts.0.plan", "free" }, /* a ban changes nothing else */
        { "POST", "/api/admin/accounts/ada/unban", "", 200, "state", "ok" },
        { "POST", "/api/admin/accounts/nobody/ban", "", 404, "error.code", "account_unknown" },
        { "POST", "/api/admin/accounts/%zz/ban", "", 404, "error.code", "account_unknown" },

        { "POST", "/api/admin/keys", "{\"account\":\"ada\"}", 201, "role", "user" },
        { "POST", "/api/admin/keys", "{\"account\":\"ada\",\"role\":\"service\",\"may_act_for\":\"app-*\"}", 201, "may_act_for", "app-" },
        { "POST", "/api/admin/keys", "{\"account\":\"ada\",\"may_act_for\":\"app-\"}", 400, "error.code", "body_field_invalid" },
        { "POST", "/api/admin/keys", "{\"account\":\"ada\",\"role\":\"service\",\"may_act_for\":\"*\"}", 400, "error.code", "body_field_invalid" },
        { "POST", "/api/admin/keys", "{\"account\":\"ada\",\"role\":\"king\"}", 400, "error.code", "body_field_invalid" },
        { "POST", "/api/admin/keys", "{\"account\":\"ada\",\"expires_at\":\"2001-01-01T00:00:00Z\"}", 400, "error.code", "body_field_invalid" },
        { "POST", "/api/admin/keys", "{\"account\":\"ada\",\"expires_at\":\"soon\"}", 400, "error.code", "body_field_invalid" },
        { "POST", "/api/admin/keys", "{\"account\":\"ada\",\"thread_required\":\"yes\"}", 400, "error.code", "body_field_invalid" },
        { "POST", "/api/admin/keys", "{\"account\":\"nobody\"}", 404, "error.code", "account_unknown" },
        { "GET", "/api/admin/keys?account=bob", "", 200, "keys", "[]" },
        { "GET", "/api/admin/keys?account=ada", "", 200, "keys.1.may_act_for", "app-" },
        { "POST", "/api/admin/keys/key_1/revoke", "", 404, "error.code", "key_not_found" },
        { "POST", "/api/admin/keys/x/revoke", "", 404, "error.code", "key_not_found" },

        { "GET", "/api/admin/ledger?kind=nothing", "", 400, "error.code", "parameter_invalid" },
        { "GET", "/api/admin/ledger?limit=1&limit=2", "", 400, "error.code", "parameter_invalid" },
        { "GET", "/api/admin/ledger?since=%zz", "", 400, "error.code", "parameter_invalid" },
        { "GET", "/api/admin/ledger?kind=settle", "", 200, "rows", "[]" },
        { "GET", "/api/admin/ledger?kind=admin&account=bob", "", 200, "rows.0.source", "tester" },
        { "GET", "/api/admin/ledger?kind=admin&account=bob", "", 200, "rows.0.inputs.verb", "account_add" },
        { "GET", "/api/admin/limits", "", 200, "limits.0.of_tier", "premium" },
        { "GET", "/api/admin/limits", "", 200, "limits.0.of_model", "null" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const int status = request(rows[i].method, rows[i].target, rows[i].body);
        if (status != rows[i].status || strcmp(answer(rows[i].path), rows[i].says) != 0) {
            print_error("row %zu: %s %s %s\n-> %d %s\n", i, rows[i].method, rows[i].target, rows[i].body, status,
                buf_cstr(&world.out));
        }
        assert_int_equal(status, rows[i].status);
        assert_string_equal(answer(rows[i].path), rows[i].says);
    }
}

static void
a_key_is_shown_once_and_found_by_its_hash(void **state)
{
    char secret[128];
    char id[64];
    char hash[HASH_HEX + 1];
    assert_int_equal(request("POST", "/api/admin/accounts", "{\"name\":\"ada\"}"), 201);
    assert_int_equal(request("POST", "/api/admin/keys", "{\"account\":\"ada\",\"label\":\"laptop\"}"), 201);
    assert_true(slice_to_cstr(slice_str(answer("key")), secret, sizeof(secret)));
    assert_true(slice_to_cstr(slice_str(answer("id")), id, sizeof(id)));
    assert_int_equal(strlen(secret), 3 + 43);
    assert_true(slice_starts(slice_str(secret), SLICE("tg-")));
    secret_hash_hex(slice_str(secret), hash);

    static const char *const places[] = { "/api/admin/keys", "/api/admin/ledger?inputs=true", "/api/admin/accounts",
        "/api/v1/status" };
    for (size_t i = 0; i < countof(places); i++) {
        assert_int_equal(request("GET", places[i], ""), 200);
        assert_true(slice_find(buf_slice(&world.out), slice_str(secret)) < 0);
        assert_true(slice_find(buf_slice(&world.out), slice_str(hash)) < 0);
    }
    assert_int_equal(request("GET", "/api/admin/keys", ""), 200);
    assert_string_equal(answer("keys.0.id"), id);
    assert_string_equal(answer("keys.0.label"), "laptop");
    assert_int_equal(strlen(answer("keys.0.shown")), 10);
    assert_true(slice_starts(slice_str(secret), slice_str(answer("keys.0.shown"))));

    /* The gate knows it by its hash, until it is revoked; twice is as good as once, and on the ledger once. */
    struct ask ask = { .endpoint = ENDPOINT_STATUS, .local = true };
    memcpy(ask.key_hash, hash, sizeof(hash));
    struct api_worker *worker = &world.api->workers[API_THREADS];
    assert_true(auth_allow(worker, &ask));
    assert_string_equal(ask.identity.account, "ada");
    assert_false(ask.may_read_all);
    char target[128];
    snprintf(target, sizeof(target), "/api/admin/keys/%s/revoke", id);
    assert_int_equal(request("POST", target, ""), 200);
    assert_int_equal(request("POST", target, ""), 200);
    assert_false(auth_allow(worker, &ask));
    assert_int_equal(ask.status, 401);
    buf_free(&ask.out);
    buf_free(&ask.headers);
    assert_int_equal(request("GET", "/api/admin/keys", ""), 200);
    assert_string_equal(answer("keys.0.state"), "revoked");
    assert_int_equal(request("GET", "/api/admin/ledger?kind=admin", ""), 200);
    assert_string_equal(answer("rows.0.inputs.verb"), "key_revoke");
    assert_string_equal(answer("rows.1.inputs.verb"), "key_add");
}

/* A key of `role` asks `endpoint` from `local` or not; the status it gets, 0 = it may. */
static int
may(enum key_role role, enum endpoint endpoint, bool local, bool banned)
{
    char body[128];
    char hash[HASH_HEX + 1];
    snprintf(body, sizeof(body), "{\"account\":\"ada\",\"role\":\"%s\"}", role_word(role));
    assert_int_equal(request("POST", "/api/admin/keys", body), 201);
    secret_hash_hex(slice_str(answer("key")), hash);
    assert_int_equal(request("POST", banned ? "/api/admin/accounts/ada/ban" : "/api/admin/accounts/ada/unban", ""), 200);
    struct ask ask = { .endpoint = endpoint, .local = local };
    memcpy(ask.key_hash, hash, sizeof(hash));
    const bool allowed = auth_at_the_door(&ask) && auth_allow(&world.api->workers[API_THREADS], &ask);
    const int status = allowed ? 0 : ask.status;
    buf_free(&ask.out);
    buf_free(&ask.headers);
    return status;
}

static void
roles_decide_who_may_ask_what(void **state)
{
    static const struct {
        enum key_role role;
        enum endpoint endpoint;
        bool local, banned;
        int status;
    } rows[] = {
        { ROLE_USER, ENDPOINT_STATUS, false, false, 0 },
        { ROLE_USER, ENDPOINT_STATUS, false, true, 403 },
        { ROLE_USER, ENDPOINT_METRICS, true, false, 0 }, /* of this machine, without a look at the key */
        { ROLE_USER, ENDPOINT_METRICS, false, false, 403 },
        { ROLE_OBSERVER, ENDPOINT_METRICS, false, false, 0 },
        { ROLE_USER, ENDPOINT_LEDGER, true, false, 403 },
        { ROLE_SERVICE, ENDPOINT_KEY_ADD, true, false, 403 },
        { ROLE_OBSERVER, ENDPOINT_KEY_ADD, true, false, 403 },
        { ROLE_ADMIN, ENDPOINT_KEY_ADD, true, false, 0 },
        { ROLE_ADMIN, ENDPOINT_KEY_ADD, false, false, 403 }, /* no TLS there */
        { ROLE_ADMIN, ENDPOINT_KEY_ADD, true, true, 403 },
    };
    assert_int_equal(request("POST", "/api/admin/accounts", "{\"name\":\"ada\"}"), 201);
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(may(rows[i].role, rows[i].endpoint, rows[i].local, rows[i].banned), rows[i].status);
    }
}

static void
guessing_keys_is_limited(void **state)
{
    struct api_worker *worker = &world.api->workers[API_THREADS];
    for (int i = 0; i < ATTEMPTS_MAX_AT_ONCE + 2; i++) {
        struct ask ask = { .endpoint = ENDPOINT_STATUS, .peer = "192.0.2.1" };
        memset(ask.key_hash, 'a', HASH_HEX);
        assert_false(auth_allow(worker, &ask));
        assert_int_equal(ask.status, i < ATTEMPTS_MAX_AT_ONCE ? 401 : 429);
        buf_free(&ask.out);
        buf_free(&ask.headers);
    }
}

/* Rows of kind admin and adjust, and of accounts: what a repetition must not add to. */
static int64_t
things_done(void)
{
    static const char *const lists[] = { "/api/admin/ledger?kind=admin", "/api/admin/ledger?kind=adjust",
        "/api/admin/accounts", "/api/admin/keys" };
    static const char *const names[] = { "rows", "rows", "accounts", "keys" };
    int64_t count = 0;
    for (size_t i = 0; i < countof(lists); i++) {
        struct json_value list;
        struct json_value item;
        struct json_cursor cursor;
        assert_int_equal(request("GET", lists[i], ""), 200);
        assert_true(json_get(buf_slice(&world.out), names[i], &list));
        json_start(&cursor, list.text);
        assert_true(json_enter(&cursor, '['));
        while (json_next_item(&cursor) && json_take(&cursor, &item)) {
            count++;
        }
    }
    return count;
}

/* Every change that takes a key, in an order in which each has something to change. */
static const struct {
    const char *method, *target, *body;
    int status;
    bool secret; /* the answer again is not the same: it has none */
} changes[] = {
    { "POST", "/api/admin/accounts", "{\"name\":\"ada\"}", 201, false },
    { "POST", "/api/admin/accounts/ada/ban", "", 200, false },
    { "POST", "/api/admin/accounts/ada/unban", "", 200, false },
    { "POST", "/api/admin/keys", "{\"account\":\"ada\"}", 201, true },
    { "POST", "/api/admin/adjust", "{\"account\":\"ada\",\"limit\":\"spend\",\"delta_micros\":5}", 200, false },
    { "PUT", "/api/v1/usage-limits", "{\"spend_limit_micros\":7,\"period\":\"day\"}", 200, false },
    { "DELETE", "/api/v1/usage-limits", "", 204, false },
    { "PUT", "/api/v1/usage-limits/overrides/ada", "{\"spend_limit_micros\":8}", 200, false },
    { "DELETE", "/api/v1/usage-limits/overrides/ada", "", 204, false },
    { "PUT", "/api/v1/usage-limits/raises/ada", "{\"raise_micros\":8,\"expires\":\"2900-01-01T00:00:00Z\"}", 200, false },
    { "DELETE", "/api/v1/usage-limits/raises/ada", "", 204, false },
    { "PUT", "/api/account/thresholds?account=ada", "{\"session_pct\":null,\"week_pct\":null}", 200, false },
    { "PUT", "/api/account/usage-report?account=ada", "{\"five_hour\":{\"utilization\":3,\"resets_at\":null}}", 200, false },
};

static void
what_is_asked_again_under_its_key_is_done_once(void **state)
{
    struct buf first = { 0 };
    for (size_t i = 0; i < countof(changes); i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "key number %zu", i);
        world.once_key = key;
        int status = request(changes[i].method, changes[i].target, changes[i].body);
        if (status != changes[i].status) {
            fail_msg("change %zu: %d %s", i, status, buf_cstr(&world.out));
        }
        buf_clear(&first);
        buf_add_slice(&first, buf_slice(&world.out));
        const int64_t done = things_done();
        status = request(changes[i].method, changes[i].target, changes[i].body);
        assert_int_equal(status, changes[i].status);
        if (changes[i].secret) {
            assert_string_equal(answer("key"), "null");
            assert_true(strstr(answer("note"), "revoke") != NULL);
            assert_true(strstr(buf_cstr(&first), answer("id")) != NULL);
        } else {
            assert_string_equal(buf_cstr(&world.out), buf_cstr(&first));
        }
        status = request(changes[i].method, changes[i].target, "{\"name\":\"another\"}");
        assert_int_equal(status, 422);
        assert_string_equal(answer("error.code"), "idempotency_key_reused");
        assert_int_equal(things_done(), done);
    }
    buf_free(&first);
}

static void
every_change_takes_a_key_or_may_be_repeated(void **state)
{
    for (int i = 0; i < ENDPOINT_COUNT; i++) {
        const struct endpoint_row *row = endpoint_row((enum endpoint)i);
        const bool reads = strcmp(row->method, "GET") == 0 || strcmp(row->method, "HEAD") == 0;
        const bool relays = row->owner == ENDPOINT_OWNER_RELAY;
        const bool again = i == ENDPOINT_RELOAD || i == ENDPOINT_LEDGER_PRUNE;
        if (reads || i == ENDPOINT_EXPLAIN) {
            assert_int_equal(row->repeat, ENDPOINT_REPEAT_READ);
        } else if (!relays) {
            assert_int_equal(row->repeat, again ? ENDPOINT_REPEAT_ANEW : ENDPOINT_REPEAT_ONCE);
        }
    }
}

static void
an_idempotency_key_is_printable(void **state)
{
    char longest[IDEMPOTENCY_KEY_BYTES_MAX + 2];
    memset(longest, 'k', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    const struct {
        const char *key;
        int status;
    } rows[] = {
        { "", 400 },
        { longest, 400 },
        { longest + 1, 409 }, /* it is taken: the account is there */
        { "a\tb", 400 },
        { "\xc3\xa9", 400 },
        { " ~", 409 },
    };
    assert_int_equal(request("POST", "/api/admin/accounts", "{\"name\":\"ada\"}"), 201);
    for (size_t i = 0; i < countof(rows); i++) {
        world.once_key = rows[i].key;
        assert_int_equal(request("POST", "/api/admin/accounts", "{\"name\":\"ada\"}"), rows[i].status);
    }
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("what is asked again under its idempotency key is done once, and answered alike",
        what_is_asked_again_under_its_key_is_done_once, open_world, close_world),
    CASE_WITH("every change takes an idempotency key, or may be repeated", every_change_takes_a_key_or_may_be_repeated,
        open_world, close_world),
    CASE_WITH("an idempotency key is printable, and not too long", an_idempotency_key_is_printable, open_world, close_world),
    CASE_WITH("requests are answered, refusals with their code", requests_are_answered, open_world, close_world),
    CASE_WITH("a key is shown once and found by its hash", a_key_is_shown_once_and_found_by_its_hash, open_world, close_world),
    CASE_WITH("roles decide who may ask what", roles_decide_who_may_ask_what, open_world, close_world),
    CASE_WITH("guessing keys is limited", guessing_keys_is_limited, open_world, close_world),
};
UNIT_MAIN(tests)
