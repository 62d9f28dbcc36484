/* tests/unit/base/slice_test.c
 *
 * Goal: comparing and cutting never looks beyond the slice, and numbers are read strictly.
 * Method: tables of text and answer; no slice in them is followed by a NUL it may rely on. */
#include "unit.h"

#include "base/slice.h"

static void
compares(void **state)
{
    static const struct {
        const char *a, *b;
        bool eq, eq_nocase, starts, starts_nocase, ends;
    } rows[] = {
        /* a            b         eq     nocase starts nocase ends */
        { "", "", true, true, true, true, true }, { "a", "", false, false, true, true, true },
        { "", "a", false, false, false, false, false },
        { "Host", "Host", true, true, true, true, true },
        { "Host", "hOST", false, true, false, true, false },
        { "Hosts", "host", false, false, false, true, false },
        { "text/event-stream", "text/", false, false, true, true, false },
        { "text/event-stream", "stream", false, false, false, false, true },
        { "[", "{", false, false, false, false, false },       /* 0x20 apart, yet no letters */
        { "\xC4", "\xE4", false, false, false, false, false }, /* ASCII letters alone */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct slice a = slice_str(rows[i].a);
        const struct slice b = slice_str(rows[i].b);
        assert_int_equal(slice_eq(a, b), rows[i].eq);
        assert_int_equal(slice_eq_nocase(a, b), rows[i].eq_nocase);
        assert_int_equal(slice_starts(a, b), rows[i].starts);
        assert_int_equal(slice_starts_nocase(a, b), rows[i].starts_nocase);
        assert_int_equal(slice_ends(a, b), rows[i].ends);
    }
}

static char
small(int byte)
{
    return (char)(byte >= 'A' && byte <= 'Z' ? byte + 0x20 : byte);
}

/* Any byte against any other, alone and at any place of longer texts, which are looked at many bytes at once. */
static void
only_letters_have_another_case(void **state)
{
    static const size_t lens[] = { 1, 7, 8, 9, 16, 17 };
    for (int one = 0; one < 256; one++) {
        for (int other = 0; other < 256; other++) {
            const bool same = small(one) == small(other);
            for (size_t i = 0; i < countof(lens); i++) {
                char a[] = "Content-Encoding.", b[] = "cONTENT-eNCODING.";
                const size_t at = (size_t)(one * 7 + other) % lens[i];
                a[at] = (char)one;
                b[at] = (char)other;
                assert_int_equal(slice_eq_nocase(slice_of(a, lens[i]), slice_of(b, lens[i])), same);
            }
        }
    }
}

static void
the_null_slice_is_an_empty_one(void **state)
{
    const struct slice none = { NULL, 0 };
    struct slice rest = none;
    struct slice part = none;
    char out[1];
    assert_true(slice_eq(none, SLICE("")));
    assert_true(slice_eq_nocase(none, none));
    assert_true(slice_starts(SLICE("a"), none));
    assert_true(slice_ends(none, none));
    assert_int_equal(slice_find(none, SLICE("a")), -1);
    assert_int_equal(slice_find(SLICE("a"), none), 0);
    assert_int_equal(slice_trim(none).len, 0);
    assert_false(slice_split(&rest, ',', &part));
    assert_false(slice_take_char(&rest, ','));
    assert_true(slice_to_cstr(none, out, sizeof(out)));
    assert_string_equal(out, "");
    assert_int_equal(slice_str(NULL).len, 0);
}

static void
finds(void **state)
{
    static const struct {
        const char *text, *part;
        ptrdiff_t at;
    } rows[] = {
        { "data: x", "data:", 0 },
        { "a\r\n\r\nb", "\r\n\r\n", 1 },
        { "aab", "ab", 1 },
        { "ab", "abc", -1 },
        { "abc", "d", -1 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(slice_find(slice_str(rows[i].text), slice_str(rows[i].part)), rows[i].at);
    }
    assert_int_equal(slice_find(slice_of("abcd", 2), SLICE("c")), -1); /* not beyond its end */
}

static void
trims_spaces_and_tabs_only(void **state)
{
    static const struct {
        const char *text, *trimmed;
    } rows[] = {
        { "", "" },
        { " \t ", "" },
        { " a b\t", "a b" },
        { "\r\na\n", "\r\na\n" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const struct slice trimmed = slice_trim(slice_str(rows[i].text));
        assert_true(slice_eq(trimmed, slice_str(rows[i].trimmed)));
    }
}

static void
splits(void **state)
{
    static const struct {
        const char *text;
        const char *parts[4];
        size_t part_count;
    } rows[] = {
        { "", { NULL }, 0 },
        { "a", { "a" }, 1 },
        { "a,b", { "a", "b" }, 2 },
        { "a,", { "a" }, 1 }, /* a final separator opens no further part */
        { ",a,,b", { "", "a", "", "b" }, 4 },
        { ",", { "" }, 1 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct slice rest = slice_str(rows[i].text);
        struct slice part;
        size_t count = 0;
        while (slice_split(&rest, ',', &part)) {
            assert_true(count < rows[i].part_count);
            assert_true(slice_eq(part, slice_str(rows[i].parts[count])));
            count++;
        }
        assert_int_equal(count, rows[i].part_count);
    }
}

static void
takes_a_char_only_if_it_is_there(void **state)
{
    struct slice text = SLICE(":x");
    assert_false(slice_take_char(&text, 'x'));
    assert_int_equal(text.len, 2);
    assert_true(slice_take_char(&text, ':'));
    assert_true(slice_take_char(&text, 'x'));
    assert_false(slice_take_char(&text, 'x'));
}

static void
reads_strict_decimals(void **state)
{
    static const struct {
        struct slice text;
        bool i64_ok;
        int64_t i64;
        bool u64_ok;
        uint64_t u64;
    } rows[] = {
        { SLICE("0"), true, 0, true, 0 }, { SLICE("954"), true, 954, true, 954 },
        { SLICE("007"), true, 7, true, 7 }, { SLICE("-0"), true, 0, false, 0 },
        { SLICE("-12"), true, -12, false, 0 },
        { SLICE("9223372036854775807"), true, INT64_MAX, true, INT64_MAX },
        { SLICE("9223372036854775808"), false, 0, true, UINT64_C(9223372036854775808) },
        { SLICE("-9223372036854775808"), true, INT64_MIN, false, 0 },
        { SLICE("-9223372036854775809"), false, 0, false, 0 },
        { SLICE("18446744073709551615"), false, 0, true, UINT64_MAX },
        { SLICE("18446744073709551616"), false, 0, false, 0 },
        { SLICE("184467440737095516150"), false, 0, false, 0 }, { SLICE(""), false, 0, false, 0 },
        { SLICE("-"), false, 0, false, 0 }, { SLICE("--1"), false, 0, false, 0 },
        { SLICE("+954"), false, 0, false, 0 }, { SLICE(" 1"), false, 0, false, 0 },
        { SLICE("1 "), false, 0, false, 0 }, { SLICE("1\n"), false, 0, false, 0 },
        { SLICE("1\0"), false, 0, false, 0 }, { SLICE("0x10"), false, 0, false, 0 },
        { SLICE("1e3"), false, 0, false, 0 }, { SLICE("1.0"), false, 0, false, 0 },
        { SLICE("\xD9\xA1"), false, 0, false, 0 }, /* a digit, but not one of ours */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t i64 = 77;
        uint64_t u64 = 77;
        assert_int_equal(slice_to_i64(rows[i].text, &i64), rows[i].i64_ok);
        assert_true(i64 == (rows[i].i64_ok ? rows[i].i64 : 77));
        assert_int_equal(slice_to_u64(rows[i].text, &u64), rows[i].u64_ok);
        assert_true(u64 == (rows[i].u64_ok ? rows[i].u64 : 77));
    }
}

static void
copies_whole_or_not_at_all(void **state)
{
    char out[4] = "???";
    assert_true(slice_to_cstr(SLICE("abc"), out, sizeof(out)));
    assert_string_equal(out, "abc");
    assert_false(slice_to_cstr(SLICE("abcd"), out, sizeof(out)));
    assert_string_equal(out, "");
}

static const struct CMUnitTest tests[] = {
    CASE("slices compare by bytes, names without ASCII case", compares),
    CASE("only letters have another case, at any place", only_letters_have_another_case),
    CASE("a null slice is an empty one everywhere", the_null_slice_is_an_empty_one),
    CASE("a part is found inside the slice only", finds),
    CASE("trimming takes spaces and tabs only", trims_spaces_and_tabs_only),
    CASE("splitting gives every part between separators", splits),
    CASE("a character is taken only if it is there", takes_a_char_only_if_it_is_there),
    CASE("decimals are read strictly and within range", reads_strict_decimals),
    CASE("a copy that does not fit is empty", copies_whole_or_not_at_all),
};
UNIT_MAIN(tests)
