/* tests/unit/rows/pack_test.c
 *
 * Goal: what is packed comes back the same; any other text is refused, whatever it is.
 * Method: round trips at the edges of the ranges, then tables of hostile texts, then every cut and
 * every changed byte of a good text: each is refused or packs to itself again. */
#include "unit.h"

#include <stdlib.h>

#include "rows/pack.h"

static struct meter_row
full_meters(void)
{
    struct meter_row row = { .meter_count = METERS_MAX };
    for (int32_t i = 0; i < METERS_MAX; i++) {
        row.meters[i] = (struct meter){ INT64_MAX, INT64_MIN, INT64_MIN + i, -i, i, INT64_MIN };
    }
    return row;
}

static void
meters_come_back(void **state)
{
    struct buf text = { 0 };
    struct meter_row rows[3] = { { 0 }, { .meter_count = 1, .meters = { { 1, 0, -7, 10, 100, 0 } } },
        full_meters() };
    for (size_t i = 0; i < countof(rows); i++) {
        buf_clear(&text);
        pack_meters(&rows[i], &text);
        assert_false(text.failed);
        assert_true(text.len < PACK_METERS_BYTES);
        struct meter_row back = { .meter_count = 9 };
        assert_true(unpack_meters(buf_slice(&text), &back));
        assert_int_equal(back.meter_count, rows[i].meter_count);
        assert_memory_equal(back.meters, rows[i].meters,
            (size_t)back.meter_count * sizeof(back.meters[0]));
    }
    assert_int_equal(rows[1].meter_count, 1);
    buf_clear(&text);
    pack_meters(&rows[1], &text);
    assert_string_equal(buf_cstr(&text), "1,0,-7,10,100,0;"); /* the stored form: never changes */
    buf_free(&text);
}

static void
parts_come_back(void **state)
{
    struct buf text = { 0 };
    struct hold_row row = { .part_count = HOLD_PARTS_MAX };
    for (int32_t i = 0; i < HOLD_PARTS_MAX; i++) {
        row.parts[i] = (struct hold_part){ i + 1, INT64_MAX, i, INT64_MIN, 5 };
    }
    pack_parts(&row, &text);
    assert_false(text.failed);
    assert_true(text.len < PACK_PARTS_BYTES);
    struct hold_row back = { 0 };
    assert_true(unpack_parts(buf_slice(&text), &back));
    assert_int_equal(back.part_count, HOLD_PARTS_MAX);
    assert_memory_equal(back.parts, row.parts, sizeof(row.parts));
    buf_free(&text);
}

static void
set_caps_come_back(void **state)
{
    struct buf text = { 0 };
    struct subject_row row = { .set_count = SETS_MAX };
    for (int32_t i = 0; i < SETS_MAX; i++) {
        row.sets[i] = (struct cap_set){ INT64_MAX, i % 2 ? SET_RAISE : SET_CAP, INT64_MIN + i, INT64_MIN, i };
    }
    pack_sets(&row, &text);
    assert_false(text.failed);
    assert_true(text.len < PACK_SETS_BYTES);
    struct subject_row back = { .set_count = 9 };
    assert_true(unpack_sets(buf_slice(&text), &back));
    assert_int_equal(back.set_count, SETS_MAX);
    assert_memory_equal(back.sets, row.sets, sizeof(row.sets));
    buf_add_str(&text, "1,0,0,0,0;"); /* one too many */
    assert_false(unpack_sets(buf_slice(&text), &back));

    struct subject_row one = { .set_count = 1, .sets = { { 7, SET_RAISE, 50, 1790000000000, 3 } } };
    buf_clear(&text);
    pack_sets(&one, &text);
    assert_string_equal(buf_cstr(&text), "7,1,50,1790000000000,3;"); /* the stored form: never changes */
    static const char *const hostile[] = { "7,1,50,0;", "7,1,50,0,0", "7,3,50,0,0;", "7,-1,50,0,0;", "7,00,50,0,0;",
        "7,0,50,0,0;;", "7,0,5.5,0,0;" };
    for (size_t i = 0; i < countof(hostile); i++) {
        if (unpack_sets(slice_str(hostile[i]), &back)) {
            fail_msg("%s", hostile[i]);
        }
    }
    buf_free(&text);
}

static void
attempts_come_back(void **state)
{
    struct buf text = { 0 };
    struct hold_row row = { .attempt_count = 3,
        .attempts = {
            { "anthropic", "claude-opus-4-6", ATTEMPT_UNBILLED, 529, REASON_ROUTES_COOLING },
            { "a,b;c%d", "m\x01\x7f/\xc3\xa9", ATTEMPT_OPEN, 0, REASON_OK },
            { "", "", ATTEMPT_DONE, 200, REASON_OK },
        } };
    memset(row.attempts[2].provider, 'p', sizeof(row.attempts[2].provider) - 1);
    memset(row.attempts[2].model, ';', sizeof(row.attempts[2].model) - 1);
    pack_attempts(&row, &text);
    struct hold_row back = { 0 };
    assert_true(unpack_attempts(buf_slice(&text), &back));
    assert_int_equal(back.attempt_count, 3);
    for (int32_t i = 0; i < 3; i++) {
        assert_string_equal(back.attempts[i].provider, row.attempts[i].provider);
        assert_string_equal(back.attempts[i].model, row.attempts[i].model);
        assert_int_equal(back.attempts[i].state, row.attempts[i].state);
        assert_int_equal(back.attempts[i].status, row.attempts[i].status);
        assert_int_equal(back.attempts[i].reason, row.attempts[i].reason);
    }
    row.attempt_count = 2;
    buf_clear(&text);
    pack_attempts(&row, &text);
    assert_string_equal(buf_cstr(&text),
        "anthropic,claude-opus-4-6,1,529,routes_cooling;a%2Cb%3Bc%25d,m%01%7F/\xc3\xa9,0,0,ok;");
    buf_free(&text);
}

static void
what_is_reported_comes_back(void **state)
{
    struct buf text = { 0 };
    struct reported_row row = { .window_count = 2,
        .windows = { { "a,b", "7d_opus", "*opus*,x", 95001, 0, WALL_MS_MAX, REPORTED_BY_HEADERS },
            { "", "5h", "", 0, 7, 8, REPORTED_BY_REPORT } } };
    pack_reported(&row, &text);
    assert_string_equal(buf_cstr(&text), "a%2Cb,7d_opus,*opus*%2Cx,95001,0,253402300799999,1;,5h,,0,7,8,0;");
    struct reported_row back = { 0 };
    assert_true(unpack_reported(buf_slice(&text), &back));
    struct buf again = { 0 };
    pack_reported(&back, &again);
    assert_string_equal(buf_cstr(&again), buf_cstr(&text));
    assert_int_equal(back.window_count, 2);
    static const char *const hostile[] = { "a,5h", ",5h,,1,2,3;", ",5h,,1,2,3,2;", ",5h,,1,2,3,-1;", ",5h,,1,2,3,0;x",
        ",5h;,1,2,3,0;", "%41,5h,,1,2,3,0;" };
    for (size_t i = 0; i < countof(hostile); i++) {
        if (unpack_reported(slice_str(hostile[i]), &back)) {
            fail_msg("%s", hostile[i]);
        }
    }
    buf_clear(&text);
    for (int i = 0; i <= REPORTED_MAX; i++) {
        buf_addf(&text, ",%dh,,1,2,3,0;", i + 1);
    }
    assert_false(unpack_reported(buf_slice(&text), &back));
    buf_free(&text);
    buf_free(&again);
}

static void
hostile_meters_are_refused(void **state)
{
    static const char *const texts[] = {
        "1",
        ";",
        ",;",
        "1,0,0,0,0,0", /* no end */
        "1,0,0,0,0;", /* a field missing */
        "1,0,0,0,0,0,0;", /* one too many */
        "1,0,0,0,0,0;x",
        "1,0,0,0,0,0; ",
        "1,0,0,0,0,0;1,", /* the second breaks off */
        " 1,0,0,0,0,0;",
        "+1,0,0,0,0,0;",
        "01,0,0,0,0,0;",
        "-0,0,0,0,0,0;",
        "-,0,0,0,0,0;",
        "--1,0,0,0,0,0;",
        "1e3,0,0,0,0,0;",
        "1.0,0,0,0,0,0;",
        "0x1,0,0,0,0,0;",
        "9223372036854775808,0,0,0,0,0;",  /* INT64_MAX + 1 */
        "-9223372036854775809,0,0,0,0,0;", /* INT64_MIN - 1 */
        "18446744073709551616,0,0,0,0,0;", /* 2^64 */
        "18446744073709551617,0,0,0,0,0;",
        "99999999999999999999999999999999999999999,0,0,0,0,0;",
        "0000000000000000000000000000000000000001,0,0,0,0,0;",
        "1,0,0,0,0,0;;",
    };

    for (size_t i = 0; i < countof(texts); i++) {
        struct meter_row row = { 0 };
        if (unpack_meters(slice_str(texts[i]), &row)) {
            fail_msg("%s", texts[i]);
        }
    }
    struct meter_row row = { 0 };
    assert_false(unpack_meters(SLICE("1,0,0,0,0,0\0;"), &row));
}

static void
too_many_entries_are_refused(void **state)
{
    struct buf text = { 0 };
    struct meter_row meters = { 0 };
    struct hold_row hold = { 0 };
    for (int i = 0; i <= METERS_MAX; i++) {
        assert_true(unpack_meters(buf_slice(&text), &meters));
        buf_add_str(&text, "1,0,0,0,0,0;");
    }
    assert_false(unpack_meters(buf_slice(&text), &meters));
    buf_clear(&text);
    for (int i = 0; i <= HOLD_PARTS_MAX; i++) {
        assert_true(unpack_parts(buf_slice(&text), &hold));
        buf_add_str(&text, "1,1,0,0,0,0,0;");
    }
    assert_false(unpack_parts(buf_slice(&text), &hold));
    buf_clear(&text);
    for (int i = 0; i <= ATTEMPTS_MAX; i++) {
        assert_true(unpack_attempts(buf_slice(&text), &hold));
        buf_add_str(&text, "p,m,0,0,ok;");
    }
    assert_false(unpack_attempts(buf_slice(&text), &hold));
    buf_free(&text);
}

static void
hostile_parts_and_attempts_are_refused(void **state)
{
    static const char *const parts[] = { "1,1,0,0,0,0;", "1,1,0,0,0,0,0,0;", "1,1,0,0,0,0,0", "a,1,0,0,0,0,0;",
        "1,1,0,0,0,0,-1;", "1,1,0,0,0,0,8192;", "1,1,0,0,0,0,768;", "1,1,0,0,0,0,128;", "1,1,0,0,0,0,9;",
        "1,1,0,0,92233720368547758070,0,0;" };
    static const char *const attempts[] = {
        "p,m,0,0;",
        "p,m,0,0,ok",
        "p,m,0,0,;",
        "p,m,0,0,no_such_reason;",
        "p,m,0,0,ok,;",
        "p,m,3,0,ok;",
        "p,m,-1,0,ok;",
        "p,m,0,-1,ok;",
        "p,m,0,2147483648,ok;",
        "p,m,0,4294967296,ok;",
        "p,%2,0,0,ok;",
        "p,%,0,0,ok;",
        "p,%GG,0,0,ok;",
        "p,%00,0,0,ok;", /* a name cannot hold NUL */
        "p,%2c,0,0,ok;", /* lower case is not the canonical form */
        "p,%41,0,0,ok;", /* 'A' needs no escape */
        "p,m\n,0,0,ok;", /* this one does */
        "p,m",
        "p",
        ",",
    };

    struct hold_row row = { 0 };
    for (size_t i = 0; i < countof(parts); i++) {
        if (unpack_parts(slice_str(parts[i]), &row)) {
            fail_msg("%s", parts[i]);
        }
    }
    for (size_t i = 0; i < countof(attempts); i++) {
        if (unpack_attempts(slice_str(attempts[i]), &row)) {
            fail_msg("%s", attempts[i]);
        }
    }
    assert_false(unpack_attempts(SLICE("p,m\0,0,0,ok;"), &row));
}

static void
overlong_names_are_refused(void **state)
{
    static const struct {
        size_t provider_len, model_len;
        bool fits;
    } rows[] = {
        { 63, 127, true },
        { 64, 127, false },
        { 63, 128, false },
        { 100000, 1, false },
    };

    for (size_t i = 0; i < countof(rows); i++) {
        struct buf text = { 0 };
        for (size_t j = 0; j < rows[i].provider_len; j++) {
            buf_add_char(&text, 'p');
        }
        buf_add_char(&text, ',');
        for (size_t j = 0; j < rows[i].model_len; j++) {
            buf_add_str(&text, "%25");
        }
        buf_add_str(&text, ",0,0,ok;");
        struct hold_row row = { 0 };
        assert_int_equal(unpack_attempts(buf_slice(&text), &row), rows[i].fits);
        buf_free(&text);
    }
}

/* What is taken at all packs to the very same text. The copy has no byte behind its end, so that a
 * read past it is seen by the address sanitizer. */
static void
assert_refused_or_canonical(struct slice text)
{
    char *copy = malloc(text.len > 0 ? text.len : 1);
    assert_non_null(copy);
    memcpy(copy, text.ptr, text.len);
    const struct slice exact = slice_of(copy, text.len);
    struct buf back = { 0 };
    struct meter_row meters = { 0 };
    struct hold_row hold = { 0 };
    if (unpack_meters(exact, &meters)) {
        pack_meters(&meters, &back);
        assert_true(slice_eq(exact, buf_slice(&back)));
    }
    buf_clear(&back);
    if (unpack_parts(exact, &hold)) {
        pack_parts(&hold, &back);
        assert_true(slice_eq(exact, buf_slice(&back)));
    }
    buf_clear(&back);
    if (unpack_attempts(exact, &hold)) {
        pack_attempts(&hold, &back);
        assert_true(slice_eq(exact, buf_slice(&back)));
    }
    buf_free(&back);
    free(copy);
}

static void
every_cut_and_changed_byte_is_refused_or_canonical(void **state)
{
    static const char *const texts[] = {
        "1,1790000000000,-15,9223372036854775807,0,-9223372036854775808;22,0,1,2,3,4;",
        "1,2,1790000000000,10,100;3,4,0,1,1;",
        "anthropic,claude%2Copus,1,529,ok;p,m,0,0,rate_limited;",
    };
    static const char bytes[] = "0918,;%-+ \x01\x7f\xff"
                                "a";

    for (size_t i = 0; i < countof(texts); i++) {
        const size_t len = strlen(texts[i]);
        for (size_t cut = 0; cut <= len; cut++) {
            assert_refused_or_canonical(slice_of(texts[i], cut));
        }
        for (size_t at = 0; at < len; at++) {
            for (size_t j = 0; j < sizeof(bytes); j++) { /* the final NUL too */
                char changed[128];
                memcpy(changed, texts[i], len);
                changed[at] = bytes[j];
                assert_refused_or_canonical(slice_of(changed, len));
            }
        }
    }
}

static const struct CMUnitTest tests[] = {
    CASE("packed meters come back", meters_come_back),
    CASE("packed parts come back", parts_come_back),
    CASE("packed caps come back, hostile ones are refused", set_caps_come_back),
    CASE("packed attempts come back, names with separators too", attempts_come_back),
    CASE("what is reported comes back", what_is_reported_comes_back),
    CASE("hostile meters are refused", hostile_meters_are_refused),
    CASE("too many entries are refused", too_many_entries_are_refused),
    CASE("hostile parts and attempts are refused", hostile_parts_and_attempts_are_refused),
    CASE("overlong names are refused", overlong_names_are_refused),
    CASE("every cut and every changed byte is refused or canonical",
        every_cut_and_changed_byte_is_refused_or_canonical),
};
UNIT_MAIN(tests)
