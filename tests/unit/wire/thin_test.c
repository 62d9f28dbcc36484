/* tests/unit/wire/thin_test.c
 *
 * Goal: of an object that passes by the small members are kept, wherever it is cut and however large the rest
 * is; what is no whole object is told as such.
 * Method: each row is a text and what is left of it; '#' stands for more bytes than a member may have. Every
 * cut into two pieces must give the same. */
#include "unit.h"
#include "wire/thin.h"

static struct buf
written_out(const char *text)
{
    struct buf out = { 0 };
    for (const char *at = text; *at; at++) {
        for (size_t i = 0; *at == '#' && i <= THIN_MEMBER_BYTES_MAX; i++) {
            buf_add_char(&out, 'x');
        }
        if (*at != '#') {
            buf_add_char(&out, *at);
        }
    }
    return out;
}

static void
assert_thin(struct slice text, size_t cut, const char *wanted)
{
    struct thin thin = { .depth = 0 };
    struct slice object = { 0 };
    thin_feed(&thin, slice_of(text.ptr, cut));
    thin_feed(&thin, slice_of(text.ptr + cut, text.len - cut));
    const bool whole = thin_end(&thin, &object);
    assert_int_equal(whole, wanted != NULL);
    if (wanted && !slice_eq(object, slice_str(wanted))) {
        fail_msg("cut at %zu: %.*s, not %s", cut, (int)object.len, object.ptr, wanted);
    }
    thin_free(&thin);
}

static void
small_members_are_kept(void **state)
{
    static const struct {
        const char *text, *wanted;
    } rows[] = {
        { "{}", "{}" },
        { " {\"a\":1,\"b\":[1,{\"c\":2}]}\n", "{\"a\":1,\"b\":[1,{\"c\":2}]}" },
        { "{\"big\":\"#\",\"usage\":{\"n\":5}}", "{\"usage\":{\"n\":5}}" },
        { "{\"id\":\"x\",\"big\":[\"#\"],\"usage\":{\"n\":5}}", "{\"id\":\"x\",\"usage\":{\"n\":5}}" },
        { "{\"id\":\"x\",\"big\":\"#\"}", "{\"id\":\"x\"}" },
        { "{\"big\":\"#\\\",\\\\\\\"}\",\"n\":\"}\\\"{\"}", "{\"n\":\"}\\\"{\"}" },
        { "{\"#\":1,\"n\":2}", "{\"n\":2}" },
        { "{\"big\":{\"#\":[{\"usage\":{\"n\":1}}]},\"n\":2}", "{\"n\":2}" },
        { "{\"a\":1", NULL },
        { "{\"a\":\"}", NULL },
        { "{\"a\":1}}", NULL },
        { "{\"a\":1} {", NULL },
        { "{\"a\":1]", NULL },
        { "[1]", NULL },
        { "<html>", NULL },
        { "", NULL },
    };
    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf text = written_out(rows[i].text);
        for (size_t cut = 0; cut <= text.len; cut++) {
            assert_thin(buf_slice(&text), cut, rows[i].wanted);
        }
        buf_free(&text);
    }
}

static void
many_small_ones_are_bounded_too(void **state)
{
    struct thin thin = { .depth = 0 };
    struct slice object = { 0 };
    (void)state;
    thin_feed(&thin, SLICE("{\"first\":1"));
    for (int i = 0; i < 100000; i++) {
        thin_feed(&thin, SLICE(",\"name\":\"value\""));
    }
    thin_feed(&thin, SLICE("}"));
    assert_true(thin_end(&thin, &object));
    assert_true(object.len <= THIN_BYTES_MAX + 1);
    assert_true(slice_starts(object, SLICE("{\"first\":1,\"name\":\"value\",")));
    assert_true(slice_ends(object, SLICE("\"value\"}")));
    thin_free(&thin);
}

static const struct CMUnitTest tests[] = {
    CASE("small members are kept", small_members_are_kept),
    CASE("many small ones are bounded, too", many_small_ones_are_bounded_too),
};

UNIT_MAIN(tests)
