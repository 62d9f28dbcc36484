/* tests/unit/rows/rows_test.c
 *
 * Goal: a row that breaks a rule is told from one that does not; stored numbers never change.
 * Method: a good row of each kind; each case breaks one thing. */
#include "unit.h"

#include "rows/rows.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void
names(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        { "acme", true },
        { "a", true },
        { "two words", true },
        { "caf\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x99\x82", true },
        { "", false },
        { " acme", false },
        { "acme ", false },
        { " ", false },
        { "a\tb", false },
        { "a\nb", false },
        { "a\x7f", false },
        { "a\x1b[0m", false },
        { "\xc2\x85", false },         /* a control character of two bytes */
        { "\xc2\xa0x", true },
        { "\xff", false },
        { "\xc3", false },             /* breaks off */
        { "\xc0\xaf", false },         /* overlong '/' */
        { "\xe0\x80\xaf", false },
        { "\xed\xa0\x80", false },     /* a surrogate */
        { "\xf4\x90\x80\x80", false }, /* beyond Unicode */
        { "\xf0\x80\x80\xaf", false },
        { "\x80", false },
        { "a\xe2\x80\xaenimda", false },  /* U+202E: what follows is shown backwards */
        { "a\xe2\x81\xa6x", false },      /* U+2066 */
        { "\xe2\x80\x8fx", false },       /* U+200F */
        { "\xd8\x9cx", false },           /* U+061C */
        { "a\xe2\x80\xa8x", false },      /* a separator of lines */
        { "\xd8\xa7\xd9\x84\xd9\x81", true }, /* Arabic itself */
        { "a\xe2\x80\x93z", true },       /* a dash */
    };

    for (size_t i = 0; i < countof(rows); i++) {
        if (name_valid(slice_str(rows[i].text)) != rows[i].valid) {
            fail_msg("name %zu", i);
        }
    }
    char longest[NAME_MAX_BYTES + 1];
    memset(longest, 'x', sizeof(longest));
    assert_true(name_valid(slice_of(longest, NAME_MAX_BYTES)));
    assert_false(name_valid(slice_of(longest, NAME_MAX_BYTES + 1)));
    assert_false(name_valid(SLICE("a\0b")));
}

static void
words_there_and_back(void **state)
{
    for (int i = 0; i < ROLE_COUNT; i++) {
        enum key_role role = ROLE_COUNT;
        assert_true(role_from_word(slice_str(role_word((enum key_role)i)), &role));
        assert_int_equal(role, i);
    }
    for (int i = 0; i < LEDGER_KIND_COUNT; i++) {
        enum ledger_kind kind = LEDGER_KIND_COUNT;
        assert_true(ledger_kind_from_word(slice_str(ledger_kind_word((enum ledger_kind)i)), &kind));
        assert_int_equal(kind, i);
    }
    for (int i = 0; i < THREAD_KIND_COUNT; i++) {
        assert_string_not_equal(thread_kind_word((enum thread_kind)i), "?");
    }
    enum key_role role = ROLE_ADMIN;
    enum ledger_kind kind = LEDGER_ADMIN;
    static const char *const unknown[] = { "", "?", "Admin", "admin ", "roots" };
    for (size_t i = 0; i < countof(unknown); i++) {
        assert_false(role_from_word(slice_str(unknown[i]), &role));
        assert_false(ledger_kind_from_word(slice_str(unknown[i]), &kind));
    }
    assert_int_equal(role, ROLE_ADMIN); /* left alone */
    assert_string_equal(role_word((enum key_role)77), "?");
    assert_string_equal(ledger_kind_word(LEDGER_KIND_COUNT), "?");
    assert_string_equal(thread_kind_word(THREAD_KIND_COUNT), "?");
}

/* These numbers are in stores that exist. */
static void
stored_numbers_never_change(void **state)
{
    static const struct {
        int number, stored;
    } rows[] = {
        { ROLE_USER, 0 }, { ROLE_SERVICE, 1 }, { ROLE_OBSERVER, 2 }, { ROLE_ADMIN, 3 },
        { ACCOUNT_OK, 0 }, { ACCOUNT_BANNED, 1 },
        { THREAD_NAMED, 0 }, { THREAD_CLAUDE_CODE, 1 }, { THREAD_METADATA_SESSION, 2 },
        { THREAD_ID_HEADER, 3 }, { THREAD_SESSION_HEADER, 4 }, { THREAD_X_SESSION, 5 },
        { THREAD_PROMPT_CACHE_KEY, 6 }, { THREAD_CONVERSATION, 7 }, { THREAD_KEY_DAY, 8 },
        { SUBJECT_GATEWAY, 0 }, { SUBJECT_ACCOUNT, 1 }, { SUBJECT_KEY, 2 }, { SUBJECT_TREE, 3 },
        { SUBJECT_MODEL, 4 },
        { PAYER_COMPANY, 0 }, { PAYER_USER, 1 },
        { HOLD_OPEN, 0 }, { ON_ABORT_BILLS_ALL, 0 }, { ON_ABORT_STOPS, 1 },
        { ATTEMPT_OPEN, 0 }, { ATTEMPT_UNBILLED, 1 }, { ATTEMPT_DONE, 2 },
        { LEDGER_SETTLE, 0 }, { LEDGER_UNBILLED, 1 }, { LEDGER_RELEASE, 2 }, { LEDGER_ORPHAN, 3 },
        { LEDGER_ADJUST, 4 }, { LEDGER_REFUSAL, 5 }, { LEDGER_ADMIN, 6 },
    };

    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(rows[i].number, rows[i].stored);
    }
}

static struct account_row
good_account(void)
{
    return (struct account_row){ .account_id = 1, .name = "acme", .plan = "pro", .created_ms = 5,
        .version = 1 };
}

static struct key_row
good_key(void)
{
    return (struct key_row){ .key_id = 2, .account_id = 1, .hash_hex = HASH, .label = "laptop",
        .shown = "tg_abc", .role = ROLE_USER, .created_ms = 5 };
}

static struct thread_row
good_thread(void)
{
    return (struct thread_row){ .thread_id = 3, .account_id = 1, .root_id = 3, .sig_hash = HASH };
}

static struct meter_row
good_meters(void)
{
    return (struct meter_row){ .subject_id = 4, .meter_count = 2,
        .meters = { { 1, 0, 5, 1, 2, 0 }, { 1, DAY_MS, -5, 0, 0, -9 } } };
}

static struct hold_row
good_hold(void)
{
    return (struct hold_row){ .hold_id = 5, .node_id = 1, .epoch = 1, .account_id = 1, .key_id = 2,
        .thread_id = 3, .root_id = 3, .part_count = 1, .parts = { { 1, 4, 0, 1, 2 } },
        .attempt_count = 1, .attempts = { { "p", "m", ATTEMPT_OPEN, 0, REASON_OK } },
        .held_micros = 1, .bound_micros = 2, .held_output = 1, .bound_output = 2, .multiplier_pct = 100 };
}

static struct ledger_row
good_ledger(void)
{
    return (struct ledger_row){ .id = 6, .at_ms = 7, .kind = LEDGER_SETTLE, .hold_id = 5,
        .source = "relay", .usage = USAGE_NONE, .status = 200, .flags = LEDGER_FLAGS_ALL };
}

/* Each breaks a copy of a good row: SPOILT(kind, row, change, valid after it). */
#define SPOILT(good, valid_function, change, expected)                                             \
    do {                                                                                           \
        __typeof__(good()) row = good();                                                           \
        assert_true(valid_function(&row));                                                         \
        change;                                                                                    \
        if (valid_function(&row) != (expected)) {                                                  \
            fail_msg("%s", #change);                                                               \
        }                                                                                          \
    } while (0)

#define FILL(array) memset((array), 'x', sizeof(array))

static void
accounts_keys_and_threads(void **state)
{
    SPOILT(good_account, account_valid, row.account_id = 0, false);
    SPOILT(good_account, account_valid, row.name[0] = '\0', false);
    SPOILT(good_account, account_valid, FILL(row.name), false);
    SPOILT(good_account, account_valid, row.plan[0] = '\0', true);
    SPOILT(good_account, account_valid, FILL(row.plan), false);
    SPOILT(good_account, account_valid, row.organisation[0] = '\n', false);
    SPOILT(good_account, account_valid, row.state = (enum account_state)2, false);
    SPOILT(good_account, account_valid, row.created_ms = -1, false);
    SPOILT(good_account, account_valid, row.created_ms = WALL_MS_MAX + 1, false);
    SPOILT(good_account, account_valid, row.version = -1, false);

    SPOILT(good_key, key_valid, row.key_id = -1, false);
    SPOILT(good_key, key_valid, row.account_id = 0, false);
    SPOILT(good_key, key_valid, row.hash_hex[63] = '\0', false);
    SPOILT(good_key, key_valid, row.hash_hex[0] = 'A', false);
    SPOILT(good_key, key_valid, FILL(row.hash_hex), false);
    SPOILT(good_key, key_valid, row.label[0] = '\0', true);
    SPOILT(good_key, key_valid, FILL(row.shown), false);
    SPOILT(good_key, key_valid, row.role = ROLE_COUNT, false);
    SPOILT(good_key, key_valid, row.role = (enum key_role)-1, false);
    SPOILT(good_key, key_valid, row.expires_ms = -1, false);

    SPOILT(good_thread, thread_valid, row.root_id = 0, false);
    SPOILT(good_thread, thread_valid, row.kind = THREAD_KIND_COUNT, false);
    SPOILT(good_thread, thread_valid, row.sig_hash[0] = '\0', false);
    SPOILT(good_thread, thread_valid, row.sig_hash[0] = ' ', false);
    SPOILT(good_thread, thread_valid, strcpy(row.sig_hash, "2:20000"), true);
    SPOILT(good_thread, thread_valid, FILL(row.sig_hash), false);
    SPOILT(good_thread, thread_valid, row.last_input = -1, false);
}

static void
subjects(void **state)
{
    static const struct {
        struct subject_row row;
        bool valid;
    } rows[] = {
        { { 1, 0, SUBJECT_GATEWAY, "" }, true },
        { { 0, 0, SUBJECT_GATEWAY, "" }, false },
        { { 1, 1, SUBJECT_GATEWAY, "" }, false },
        { { 1, 0, SUBJECT_GATEWAY, "x" }, false },
        { { 1, 9, SUBJECT_ACCOUNT, "" }, true },
        { { 1, 0, SUBJECT_ACCOUNT, "" }, false },
        { { 1, 9, SUBJECT_ACCOUNT, "acme" }, false },
        { { 1, 9, SUBJECT_KEY, "17" }, true },
        { { 1, 9, SUBJECT_KEY, "" }, false },
        { { 1, 9, SUBJECT_KEY, "017" }, false },
        { { 1, 9, SUBJECT_KEY, "-1" }, false },
        { { 1, 9, SUBJECT_KEY, "0" }, false },
        { { 1, 9, SUBJECT_KEY, "k17" }, false },
        { { 1, 9, SUBJECT_TREE, "9223372036854775807" }, true },
        { { 1, 9, SUBJECT_TREE, "9223372036854775808" }, false },
        { { 1, 0, SUBJECT_TREE, "1" }, false },
        { { 1, 0, SUBJECT_MODEL, "glm-5.2" }, true },
        { { 1, 1, SUBJECT_MODEL, "glm-5.2" }, false },
        { { 1, 0, SUBJECT_MODEL, "" }, false },
        { { 1, 0, SUBJECT_KIND_COUNT, "" }, false },
        { { 1, 0, (enum subject_kind)-1, "" }, false },
    };

    for (size_t i = 0; i < countof(rows); i++) {
        if (subject_valid(&rows[i].row) != rows[i].valid) {
            fail_msg("subject %zu", i);
        }
    }
}

static struct reported_row
good_reported(void)
{
    return (struct reported_row){ .account_id = 0,
        .window_count = 2,
        .windows = { { .window = "5h", .captured_ms = 5 }, { .window = "7d_opus", .models = "*opus*" } } };
}

static void
reported(void **state)
{
    SPOILT(good_reported, reported_valid, row.account_id = 7, true);
    SPOILT(good_reported, reported_valid, row.account_id = -1, false);
    SPOILT(good_reported, reported_valid, row.version = -1, false);
    SPOILT(good_reported, reported_valid, row.window_count = -1, false);
    SPOILT(good_reported, reported_valid, row.window_count = REPORTED_MAX + 1, false);
    SPOILT(good_reported, reported_valid, strcpy(row.windows[1].window, "5h"), false); /* a second one */
    SPOILT(good_reported, reported_valid, strcpy(row.windows[1].window, "opus"), false);
    SPOILT(good_reported, reported_valid, strcpy(row.windows[1].window, "0h"), false);
    SPOILT(good_reported, reported_valid, strcpy(row.windows[1].window, "5h_"), false);
    SPOILT(good_reported, reported_valid, strcpy(row.windows[1].window, "90000d"), false);
    SPOILT(good_reported, reported_valid, strcpy(row.windows[1].models, "a\n"), false);
    SPOILT(good_reported, reported_valid, strcpy(row.windows[1].credential, " "), false);
    SPOILT(good_reported, reported_valid, row.windows[0].used_milli_pct = -1, false);
    SPOILT(good_reported, reported_valid, row.windows[0].used_milli_pct = 104000, true); /* a little over is seen */
    SPOILT(good_reported, reported_valid, row.windows[0].used_milli_pct = INT64_MAX, false);
    SPOILT(good_reported, reported_valid, row.windows[0].resets_at_ms = -1, false);
    SPOILT(good_reported, reported_valid, row.windows[0].captured_ms = -1, false);
    SPOILT(good_reported, reported_valid, row.windows[0].source = REPORTED_SOURCE_COUNT, false);
    assert_int_equal(reported_span_ms("5h"), 5 * HOUR_MS);
    assert_int_equal(reported_span_ms("7d_opus"), 7 * DAY_MS);
    assert_int_equal(reported_span_ms("30m"), 30 * MINUTE_MS);
    assert_int_equal(reported_span_ms("seven_day"), 0);
}

static void
meters(void **state)
{
    SPOILT(good_meters, meter_row_valid, row.subject_id = 0, false);
    SPOILT(good_meters, meter_row_valid, row.meter_count = 0, true);
    SPOILT(good_meters, meter_row_valid, row.meter_count = -1, false);
    SPOILT(good_meters, meter_row_valid, row.meter_count = METERS_MAX + 1, false);
    SPOILT(good_meters, meter_row_valid, row.meters[0].limit_id = 0, false);
    SPOILT(good_meters, meter_row_valid, row.meters[0].window_ms = -1, false);
    SPOILT(good_meters, meter_row_valid, row.meters[0].held = -1, false);
    SPOILT(good_meters, meter_row_valid, row.meters[0].held = 3, false); /* beyond its bound */
    SPOILT(good_meters, meter_row_valid, row.meters[0].bound = MONEY_MICROS_MAX + 1, false);
    SPOILT(good_meters, meter_row_valid, row.meters[0].settled = MONEY_MICROS_MAX + 1, false);
    SPOILT(good_meters, meter_row_valid, row.meters[0].settled = INT64_MIN, false);
    SPOILT(good_meters, meter_row_valid, row.meters[1].window_ms = 0, false); /* a second one */
    SPOILT(good_meters, meter_row_valid, row.meters[1].aux = INT64_MIN, true);
    SPOILT(good_meters, meter_row_valid, row.version = -1, false);
    SPOILT(good_meters, meter_row_valid, row.seen_ms = -1, false);
}

static void
holds_and_ledger(void **state)
{
    SPOILT(good_hold, hold_valid, row.hold_id = 0, false);
    SPOILT(good_hold, hold_valid, row.epoch = 0, false);
    SPOILT(good_hold, hold_valid, row.epoch = EPOCH_MAX + 1, false);
    SPOILT(good_hold, hold_valid, row.payer = (enum payer)2, false);
    SPOILT(good_hold, hold_valid, row.state = (enum hold_state)1, false);
    SPOILT(good_hold, hold_valid, row.on_abort = (enum on_abort)2, false);
    SPOILT(good_hold, hold_valid, row.multiplier_pct = 0, false);
    SPOILT(good_hold, hold_valid, row.multiplier_pct = MULTIPLIER_PCT_MAX + 1, false);
    SPOILT(good_hold, hold_valid, row.held_output = 3, false);
    SPOILT(good_hold, hold_valid, row.input_bound = TOKENS_MAX + 1, false);
    SPOILT(good_hold, hold_valid, row.part_count = HOLD_PARTS_MAX + 1, false);
    SPOILT(good_hold, hold_valid, row.parts[0].held = 3, false);
    SPOILT(good_hold, hold_valid, row.parts[0].subject_id = 0, false);
    SPOILT(good_hold, hold_valid, row.attempt_count = -1, false);
    SPOILT(good_hold, hold_valid, row.attempt_count = 0, false);
    SPOILT(good_hold, hold_valid, row.attempts[0].reason = REASON_COUNT, false);
    SPOILT(good_hold, hold_valid, row.attempts[0].status = 1000, false);
    SPOILT(good_hold, hold_valid, FILL(row.attempts[0].model), false);
    SPOILT(good_hold, hold_valid, row.held_micros = 3, false);
    SPOILT(good_hold, hold_valid, row.est_micros = -1, false);
    SPOILT(good_hold, hold_valid, FILL(row.estimator), false);
    SPOILT(good_hold, hold_valid, row.inputs.len = 1, false);

    SPOILT(good_ledger, ledger_valid, row.id = 0, false);
    SPOILT(good_ledger, ledger_valid, row.kind = LEDGER_KIND_COUNT, false);
    SPOILT(good_ledger, ledger_valid, row.cost_micros = -1, false);
    SPOILT(good_ledger, ledger_valid, (row.kind = LEDGER_ADJUST, row.cost_micros = -1), true);
    SPOILT(good_ledger, ledger_valid, row.usage.input = -1, false);
    SPOILT(good_ledger, ledger_valid, row.flags = LEDGER_FLAGS_ALL + 1, false);
    SPOILT(good_ledger, ledger_valid, row.reason = REASON_COUNT, false);
    SPOILT(good_ledger, ledger_valid, row.attempt = -1, false);
    SPOILT(good_ledger, ledger_valid, FILL(row.source), false);
    SPOILT(good_ledger, ledger_valid, FILL(row.upstream_model), false);
    SPOILT(good_ledger, ledger_valid, row.started_ms = -1, false);
}

static struct refusal_row
good_refusal(void)
{
    return (struct refusal_row){ .minute_ms = 60000, .count = 1, .reason = REASON_RATE };
}

static struct receipt_row
good_receipt(void)
{
    return (struct receipt_row){ .name = "x", .status = 204 };
}

static struct outbox_row
good_message(void)
{
    return (struct outbox_row){ .id = 1, .hook = "ops", .body = SLICE("{}") };
}

static struct issued_row
good_issued(void)
{
    return (struct issued_row){ .id_hash = HASH, .account_id = 1, .provider = "p" };
}

static struct limit_def_row
good_limit_def(void)
{
    return (struct limit_def_row){ .def_id = 1, .limit_id = 1, .set_id = 1, .name = "month", .nth = 1,
        .fingerprint = "cost/day", .thing = "cost" };
}

static struct node_row
good_node(void)
{
    return (struct node_row){ .node_id = 1, .epoch = EPOCH_MAX };
}

static void
the_small_rows(void **state)
{
    SPOILT(good_refusal, refusal_valid, row.count = 0, false);
    SPOILT(good_refusal, refusal_valid, row.minute_ms = -1, false);
    SPOILT(good_refusal, refusal_valid, FILL(row.model), false);
    SPOILT(good_refusal, refusal_valid, row.reason = REASON_COUNT, false);
    SPOILT(good_issued, issued_valid, row.id_hash[0] = '\0', false);
    SPOILT(good_issued, issued_valid, row.account_id = 0, false);
    SPOILT(good_issued, issued_valid, FILL(row.provider), false);
    SPOILT(good_receipt, receipt_valid, row.name[0] = '\0', false);
    SPOILT(good_receipt, receipt_valid, row.asked[0] = 'a', false);
    SPOILT(good_receipt, receipt_valid, row.status = 199, false);
    SPOILT(good_receipt, receipt_valid, row.status = 300, false);
    SPOILT(good_receipt, receipt_valid, row.status = 0, true);
    SPOILT(good_receipt, receipt_valid, FILL(row.answer), false);
    SPOILT(good_message, outbox_valid, row.id = 0, false);
    SPOILT(good_message, outbox_valid, row.hook[0] = '\0', false);
    SPOILT(good_message, outbox_valid, row.topic = TOPIC_COUNT, false);
    SPOILT(good_message, outbox_valid, row.attempts = -1, false);
    SPOILT(good_message, outbox_valid, FILL(row.last_error), false);
    SPOILT(good_limit_def, limit_def_valid, row.def_id = 0, false);
    SPOILT(good_limit_def, limit_def_valid, row.limit_id = 0, false);
    SPOILT(good_limit_def, limit_def_valid, row.set_id = 0, false);
    SPOILT(good_limit_def, limit_def_valid, row.nth = 0, false);
    SPOILT(good_limit_def, limit_def_valid, row.until_ms = -1, false);
    SPOILT(good_limit_def, limit_def_valid, row.thing[0] = '\0', false);
    SPOILT(good_limit_def, limit_def_valid, row.name[0] = '\0', false);
    SPOILT(good_limit_def, limit_def_valid, row.fingerprint[0] = '\0', false);
    SPOILT(good_node, node_valid, row.epoch = EPOCH_MAX + 1, false);
    SPOILT(good_node, node_valid, row.node_id = 0, false);
    SPOILT(good_node, node_valid, row.high_water_ms = -1, false);
    SPOILT(good_node, node_valid, FILL(row.config_hash), false);
    SPOILT(good_node, node_valid, FILL(row.name), false);
    SPOILT(good_node, node_valid, row.started_ms = -1, false);
    SPOILT(good_node, node_valid, row.waiting_count = -1, false);
}

static const struct CMUnitTest tests[] = {
    CASE("a name is printable, bounded and without spaces around", names),
    CASE("words go there and back", words_there_and_back),
    CASE("stored numbers never change", stored_numbers_never_change),
    CASE("a broken account, key or thread is told", accounts_keys_and_threads),
    CASE("a subject's account and name follow its kind", subjects),
    CASE("a broken meter row is told", meters),
    CASE("a broken row of what is reported is told", reported),
    CASE("a broken hold or ledger row is told", holds_and_ledger),
    CASE("a broken refusal, issued id, limit or node is told", the_small_rows),
};
UNIT_MAIN(tests)
