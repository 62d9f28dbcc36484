/* tests/unit/wire/json_test.c
 *
 * Goal: exactly RFC 8259 passes; values are found, compared and counted as what they stand for.
 * Method: tables of good and hostile texts; every prefix of a good text is refused. */
#include "unit.h"
#include "wire/json.h"
#include "wire/json_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* In memory of its exact size, so that a sanitizer sees a byte too far. */
static bool
passes(struct slice text, struct json_value *value)
{
    char *exact = malloc(text.len > 0 ? text.len : 1);
    assert_non_null(exact);
    if (text.len > 0) {
        memcpy(exact, text.ptr, text.len);
    }
    const bool good = json_check(slice_of(exact, text.len), value);
    free(exact);
    return good;
}

static void
well_formed_texts_pass(void **state)
{
    static const struct {
        const char *text;
        enum json_type type;
    } rows[] = {
        { "{}", JSON_OBJECT }, { "[]", JSON_ARRAY },
        { " \t\r\n{ \"a\" : [ 1 , 2 ] } \n", JSON_OBJECT }, { "\n\n\n\n{\"a\":{}}", JSON_OBJECT },
        { "\"\"", JSON_STRING },
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\\ud800\"", JSON_STRING },
        { "\"\x7f\xc3\xa9\"", JSON_STRING }, { "0", JSON_NUMBER }, { "-0", JSON_NUMBER },
        { "-12.50e+10", JSON_NUMBER }, { "1E5", JSON_NUMBER }, { "true", JSON_TRUE },
        { "false", JSON_FALSE }, { "null", JSON_NULL },
        { "[[[[]]],{\"a\":{\"b\":[{}]}}]", JSON_ARRAY },
        { "{\"a\":1,\"a\":2}", JSON_OBJECT }, /* duplicates are the reader's affair */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct json_value value;
        assert_true(passes(slice_str(rows[i].text), &value));
        assert_int_equal(value.type, rows[i].type);
    }
}

static void
hostile_texts_are_refused(void **state)
{
    static const char *const rows[] = {
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "{]",
        "[}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "{a:1}",
        "{'a':1}",
        "{1:2}",
        "{\"a\":1}}",
        "{\"a\":1}{}",
        "{\"a\":1} x",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1,,2]",
        "[1",
        "[1,",
        "01",
        "-",
        "-a",
        "+1",
        ".5",
        "1.",
        "1.e5",
        "1e",
        "1e+",
        "0x10",
        "1_0",
        "NaN",
        "Infinity",
        "-Infinity",
        "tru",
        "truE",
        "nul",
        "nulll",
        "True",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\",
        "\"\\x41\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u\"",
        "\"\n\"",
        "\"\t\"",
        "\"a\x01\"",
        "'a'",
        "// c\n{}",
        "{}/* c */",
        "\xEF\xBB\xBF{}",
        "\v{}",
        "\f{}",
        "[\"a\",\"b\"",
        "{\"a\":[}",
        "{\"a\":\"b\",\"c\"",
        "undefined",
        "{\"a\":1;\"b\":2}",
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct json_value value;
        assert_false(passes(slice_str(rows[i]), &value));
    }
    struct json_value value;
    assert_false(passes(SLICE("\"a\0b\""), &value));
    assert_false(passes(SLICE("{}\0"), &value));
    assert_false(passes(SLICE("\0{}"), &value));
}

static void
every_prefix_of_a_good_text_is_refused(void **state)
{
    const struct slice text =
        SLICE("{\"a\\u00e9\":[1.5e3,true,null,\"x\\n\",{\"b\":{}}],\"c\":\"\\ud83d\\ude00\"}");
    struct json_value value;
    assert_true(passes(text, &value));
    for (size_t len = 0; len < text.len; len++) {
        assert_false(passes(slice_of(text.ptr, len), &value));
    }
}

static void
depth_is_bounded(void **state)
{
    static char text[2 * (JSON_DEPTH_MAX + 1)];
    for (size_t depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        struct json_value value;
        assert_int_equal(passes(slice_of(text, 2 * depth), &value), depth <= JSON_DEPTH_MAX);
    }
}

static void
objects_and_arrays_deep_inside_keep_their_kind(void **state)
{
    /* 70 containers deep, kinds in turn: the bits of one word would not do. */
    char text[1024];
    size_t len = 0;
    for (int i = 0; i < 70; i++) {
        const char *opening = i % 3 == 0 ? "{\"k\":" : "[";
        memcpy(text + len, opening, strlen(opening));
        len += strlen(opening);
    }
    text[len++] = '1';
    for (int i = 69; i >= 0; i--) {
        text[len++] = i % 3 == 0 ? '}' : ']';
    }
    struct json_value value;
    assert_true(passes(slice_of(text, len), &value));
    for (size_t i = len - 70; i < len; i++) {
        const char kept = text[i];
        text[i] = kept == '}' ? ']' : '}';
        assert_false(passes(slice_of(text, len), &value));
        text[i] = kept;
    }
}

static void
long_strings_end_where_they_end(void **state)
{
    /* The plain run is looked at 16 bytes at a time: every length around that, every special
     * byte. */
    static const char specials[] = { '"', '\\', 0x1f, 0x00, '\n' };
    for (size_t len = 0; len < 50; len++) {
        for (size_t s = 0; s < sizeof(specials); s++) {
            char text[64];
            memset(text, 'x', sizeof(text));
            text[0] = '"';
            text[1 + len] = specials[s];
            text[2 + len] = '"';
            struct json_value value;
            const bool one = passes(slice_of(text, len + 2), &value);
            assert_int_equal(one, specials[s] == '"');
            assert_false(passes(slice_of(text, len + 3), &value)); /* \" does not end it either */
        }
    }
}

static void
paths_lead_to_values(void **state)
{
    static const char text[] =
        " {\"a\":{\"b\":[10,{\"c\":\"x\"},[7]]},\"\\u0061b\":true,\"n\":null,\"a\":0} ";
    static const struct {
        const char *path, *value;
    } rows[] = {
        { "a.b.0", "10" },
        { "a.b.1.c", "\"x\"" },
        { "a.b.2.0", "7" },
        { "ab", "true" },
        { "n", "null" },
        { "a.b", "[10,{\"c\":\"x\"},[7]]" },
        { "a.b.3", NULL },
        { "a.x", NULL },
        { "a.b.c", NULL },
        { "n.x", NULL },
        { "a.b.0.0", NULL },
        { "a.b.-1", NULL },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct json_value value;
        const bool found = json_get(slice_str(text), rows[i].path, &value);
        assert_int_equal(found, rows[i].value != NULL);
        if (found) {
            assert_true(slice_eq(value.text, slice_str(rows[i].value)));
        }
    }
}

static void
strings_are_what_they_stand_for(void **state)
{
    static const struct {
        const char *raw, *plain;
    } rows[] = {
        { "", "" },
        { "abc", "abc" },
        { "\\u0061\\u0062c", "abc" },
        { "a\\/b", "a/b" },
        { "\\b\\f\\n\\r\\t\\\"\\\\", "\b\f\n\r\t\"\\" },
        { "\\u00e9", "\xc3\xa9" },
        { "\\u20AC", "\xe2\x82\xac" },
        { "\\ud83d\\ude00", "\xf0\x9f\x98\x80" },
        { "\\ud83dx", "\xef\xbf\xbdx" },
        { "\\ude00", "\xef\xbf\xbd" },
        { "\\ud83d\\u0041", "\xef\xbf\xbd"
                            "A" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct slice raw = slice_str(rows[i].raw), plain = slice_str(rows[i].plain);
        char out[64];
        size_t len = 0;
        assert_true(json_unescape(raw, out, sizeof(out), &len));
        assert_true(slice_eq(slice_of(out, len), plain));
        assert_true(json_key_is(raw, plain));
        assert_true(json_same(raw, raw));
        assert_int_equal(json_utf8_bytes(raw), plain.len);
        if (!memchr(plain.ptr, '"', plain.len) && !memchr(plain.ptr, '\\', plain.len)) {
            assert_true(json_same(raw, plain));
            assert_true(json_same(plain, raw));
            assert_int_equal(json_hash(raw), json_hash(plain));
        }
        assert_false(json_key_is(raw, SLICE("abcd")));
        assert_false(json_same(SLICE("abcd"), raw));
        assert_false(json_same(raw, SLICE("abcd")));
        if (len > 0) {
            assert_false(json_unescape(raw, out, len - 1, &len));
        }
    }
}

static void
whole_numbers_are_strict(void **state)
{
    static const struct {
        const char *text;
        bool good;
        int64_t number;
    } rows[] = {
        { "0", true, 0 },
        { "-0", true, 0 },
        { "12", true, 12 },
        { "12.0", true, 12 },
        { "1.2e1", true, 12 },
        { "120e-1", true, 12 },
        { "1000000000", true, 1000000000 },
        { "1e9", true, 1000000000 },
        { "1000000001", false, 0 },
        { "1.5", false, 0 },
        { "12e-1", false, 0 },
        { "-1", false, 0 },
        { "1e400", false, 0 },
        { "1e-400", false, 0 },
        { "99999999999999999999", false, 0 },
        { "\"12\"", false, 0 },
        { "true", false, 0 },
        { "null", false, 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct json_value value;
        int64_t number = -7;
        assert_true(json_check(slice_str(rows[i].text), &value));
        assert_int_equal(json_to_i64(value, 0, TOKENS_MAX, &number), rows[i].good);
        assert_int_equal(number, rows[i].good ? rows[i].number : -7);
    }
}

/* Escapes are passed many bytes at a time: whatever lies at whichever place must be seen as it is alone. */
static void
escapes_count_wherever_they_lie(void **state)
{
    enum { LEN = 200, TEXT_BYTES = LEN + 64 };
    static const struct {
        const char *piece;
        bool good;
        size_t saved;
    } rows[] = {
        { "\\n", true, 1 },
        { "\\\"", true, 1 },
        { "\\\\", true, 1 },
        { "\\t", true, 1 },
        { "\\n\\n", true, 2 },
        { "\\\\\\\"", true, 2 },
        { "\\\\n\\\\\\n", true, 3 },
        { "\\\\\\\\\\\\", true, 3 },
        { "\\u00e9\\n", true, 5 },
        { "\\n\\u4e2d\\/", true, 5 },
        { "\\x", false, 0 },
        { "\\\\\\x", false, 0 },
        { "\\n\\u12g4", false, 0 },
        { "\n", false, 0 },
        { "\\\x01", false, 0 },
        { "\\n\x1f", false, 0 },
        { "\\\\\"", false, 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const size_t piece_bytes = strlen(rows[i].piece);
        for (size_t at = 0; at + piece_bytes <= LEN; at++) {
            char text[TEXT_BYTES + 1];
            char exact[LEN + 2];
            struct json_value value;
            memset(exact, 'n', sizeof exact); /* looks like an escape's letter, and is none */
            exact[0] = exact[LEN + 1] = '"';
            memcpy(exact + 1 + at, rows[i].piece, piece_bytes);
            assert_int_equal(passes(slice_of(exact, sizeof exact), &value), rows[i].good);

            (void)snprintf(text, sizeof text, "[%.*s,\"\\n\",\n  \"x\"\n ]   ", LEN + 2, exact);
            struct json_cursor cursor;
            json_start(&cursor, slice_str(text));
            assert_int_equal(json_take(&cursor, &value) && json_finish(&cursor), rows[i].good);
            if (rows[i].good) {
                assert_int_equal(cursor.escaped_bytes, rows[i].saved + 1);
            }
        }
    }
}

/* In memory of its exact size, `shift` bytes into it, from behind the opening quote. */
static void
compare_widths(const char *text, size_t len, size_t shift)
{
    char *exact = malloc(shift + len);
    assert_non_null(exact);
    memcpy(exact + shift, text, len);
    const char *expected_at = exact + shift;
    size_t expected_saved = 0;
    const char *expected =
        json_pass_inside(JSON_WIDTH_BYTE, &expected_at, exact + shift + len, &expected_saved);
    for (enum json_width width = JSON_WIDTH_BYTE + 1; width < JSON_WIDTH_COUNT; width++) {
        if (json_width_works(width)) {
            const char *at = exact + shift;
            size_t saved = 0;
            const char *fault = json_pass_inside(width, &at, exact + shift + len, &saved);
            assert_string_equal(fault ? fault : "", expected ? expected : "");
            assert_ptr_equal(at, expected_at);
            assert_int_equal(saved, expected_saved);
        }
    }
    free(exact);
}

static void
every_width_comes_to_the_same(void **state)
{
    static const char block[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    /* What strings are made of; much of it plain, so that blocks are passed whole. */
    const char *const pieces[] = { "text of some length, as most is", "n", "\\n", "\\n", "\\\"",
        "\\\\", "\\\\\\\\", "\\t", "\\u00e9", "\xc3\xa9\xf0\x9f\x98\x80", "\x7f", " ", block };
    static const char *const ends[] = { "\"", "\"n\\", "\x1f", "\\x", "\\u12g4", "\\", "", "\n",
        "\\\x01" };
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[1024];
        size_t len = 0;
        const size_t wanted = (seed >> 8) % 400;
        while (len < wanted) {
            seed = seed * 1664525 + 1013904223;
            const char *piece = pieces[(seed >> 16) % countof(pieces)];
            memcpy(text + len, piece, strlen(piece));
            len += strlen(piece);
        }
        seed = seed * 1664525 + 1013904223;
        const char *end = ends[(seed >> 16) % countof(ends)];
        memcpy(text + len, end, strlen(end));
        len += strlen(end);
        const size_t behind = (seed >> 24) % 130; /* other text follows, or nothing */
        memset(text + len, 'n', behind);
        compare_widths(text, len + behind, 1 + (seed >> 8) % 65);
    }
}

static void
the_widest_way_works_here(void **state)
{
    assert_true(json_width_works(json_width_here()));
    for (enum json_width width = json_width_here() + 1; width < JSON_WIDTH_COUNT; width++) {
        assert_false(json_width_works(width));
    }
}

static const struct CMUnitTest tests[] = {
    CASE("well-formed texts pass", well_formed_texts_pass),
    CASE("hostile texts are refused", hostile_texts_are_refused),
    CASE("every prefix of a good text is refused", every_prefix_of_a_good_text_is_refused),
    CASE("depth is bounded", depth_is_bounded),
    CASE("containers deep inside keep their kind", objects_and_arrays_deep_inside_keep_their_kind),
    CASE("long strings end where they end", long_strings_end_where_they_end),
    CASE("escapes count wherever they lie", escapes_count_wherever_they_lie),
    CASE("every width comes to the same, wherever it begins", every_width_comes_to_the_same),
    CASE("the widest way that works is taken", the_widest_way_works_here),
    CASE("paths lead to values", paths_lead_to_values),
    CASE("strings are what they stand for", strings_are_what_they_stand_for),
    CASE("whole numbers are strict", whole_numbers_are_strict),
};
UNIT_MAIN(tests)
