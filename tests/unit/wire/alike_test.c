/* tests/unit/wire/alike_test.c
 *
 * Goal: an event that is passed for its likeness to the one before it means what it means when it is read.
 * Method: a stream of events goes through two taps, one of which reads each event for itself; after each
 * event both say the same. The last column tells whether the row's event was passed for its likeness. */
#include "fixture.h"
#include "wire/usage.h"

#define CHAT(inside) "{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":7," inside "}"
#define DELTA(inside)                                                                              \
    "\"choices\":[{\"index\":0,\"delta\":{" inside "},\"finish_reason\":null}]"
#define CONTENT(text) CHAT("\"system_fingerprint\":\"fp_1\"," DELTA("\"content\":\"" text "\""))
#define ARGUMENTS(text)                                                                            \
    CHAT(DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"" text "\"}}]"))
#define BLOCK(index, text)                                                                         \
    "{\"type\":\"content_block_delta\",\"index\":" index                                           \
    ",\"delta\":{\"type\":\"text_delta\",\"text\":\"" text "\"}}"

static struct tapped
tell(struct tap *tap, const char *data)
{
    const struct sse_event event = { .data = slice_str(data), .has_data = true };
    return tap_event(tap, &event);
}

static void
assert_same(const struct tap *one, const struct tap *other)
{
    assert_int_equal(one->text_bytes, other->text_bytes);
    assert_int_equal(one->delta_events, other->delta_events);
    assert_int_equal(one->in_tool_arguments, other->in_tool_arguments);
    assert_int_equal(one->incomplete, other->incomplete);
    assert_int_equal(one->end, other->end);
    assert_int_equal(one->created_s, other->created_s);
    assert_string_equal(one->id, other->id);
    assert_string_equal(one->stop_reason, other->stop_reason);
    assert_string_equal(one->service_tier, other->service_tier);
    assert_string_equal(one->error_code, other->error_code);
    assert_memory_equal(&one->usage, &other->usage, sizeof(one->usage));
}

/* Whether the event was passed for its likeness. */
static bool
tell_both(struct tap *quick, struct tap *slow, const char *data)
{
    const struct tapped mine = tell(quick, data);
    const struct tapped theirs = tell(slow, data);
    assert_int_equal(mine.kind, theirs.kind);
    assert_int_equal(mine.text_bytes, theirs.text_bytes);
    assert_int_equal(mine.usage_changed, theirs.usage_changed);
    assert_same(quick, slow);
    return quick->alike->count > 0 && quick->alike->misses == 0;
}

static void
likeness_changes_nothing_but_the_work(void **state)
{
    static const struct {
        enum api api;
        const char *before, *event;
        bool alike;
    } rows[] = {
        { API_CHAT, CONTENT("Hi"), CONTENT(" there"), true },
        { API_CHAT, CONTENT("Hi"), CONTENT("a\\n\\u00e9\\\"b"), true },
        { API_CHAT, CONTENT("Hi"), CONTENT(""), false },     /* no text: another kind of event */
        { API_CHAT, CONTENT("Hi"), CONTENT("a\\x"), false }, /* no JSON */
        { API_CHAT, CONTENT("Hi"), CONTENT("a\",\"role\":\"x"), false },
        { API_CHAT, CONTENT("Hi"), CONTENT("Hi") "}", false },
        { API_CHAT, CONTENT("Hi"), "[DONE]", false },
        { API_CHAT, CONTENT("Hi"), ARGUMENTS("{"), false },
        { API_CHAT, ARGUMENTS("{"), ARGUMENTS("\\\"a\\\""), true },
        { API_CHAT, ARGUMENTS("{"), CONTENT("Hi"), false },
        { API_CHAT, CONTENT("Hi"),
            CHAT("\"system_fingerprint\":\"fp_2\"," DELTA("\"content\":\"stamped\"")), true },
        { API_CHAT, CONTENT("Hi"),
            CHAT("\"system_fingerprint\":null," DELTA("\"content\":\"stamped\"")), false },
        { API_CHAT, CHAT("\"service_tier\":\"default\"," DELTA("\"content\":\"a\"")),
            CHAT("\"service_tier\":\"priority\"," DELTA("\"content\":\"a\"")), false },
        { API_CHAT, CHAT("\"usage\":null," DELTA("\"content\":\"a\"")),
            CHAT("\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}," DELTA(
                "\"content\":\"a\"")),
            false },
        { API_CHAT,
            CHAT("\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}," DELTA(
                "\"content\":\"a\"")),
            CHAT("\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}," DELTA(
                "\"content\":\"b\"")),
            false }, /* usage counts each time */
        { API_CHAT, CHAT("\"error\":null," DELTA("\"content\":\"a\"")),
            CHAT("\"error\":\"b\"," DELTA("\"content\":\"a\"")), false },
        { API_CHAT, CONTENT("Hi"),
            CHAT("\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
                 "\"a\"},\"finish_reason\":\"length\"}]"),
            false },
        { API_MESSAGES, BLOCK("0", "Hi"), BLOCK("0", " there"), true },
        { API_MESSAGES, BLOCK("0", "Hi"), BLOCK("1", " there"), false },
        { API_MESSAGES, BLOCK("0", "Hi"), "{\"type\":\"message_stop\"}", false },
        { API_MESSAGES, BLOCK("0", "Hi"), BLOCK("0", "a\"},\"type\":{\"b\":\"c"), false },
    };
    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        struct alike alike = { 0 };
        struct tap quick, slow;
        tap_start(&quick, rows[i].api);
        tap_start(&slow, rows[i].api);
        quick.alike = &alike;
        for (int times = 0; times < 2; times++) { /* nothing is kept of the first text */
            assert_false(tell_both(&quick, &slow, rows[i].before));
        }
        assert_int_equal(tell_both(&quick, &slow, rows[i].event), rows[i].alike);
        (void)tell_both(&quick, &slow, rows[i].before);
        (void)tell_both(&quick, &slow, rows[i].event);
        alike_free(&alike);
    }
}

/* What an event in between says is not undone by one that is like those before it. */
static void
only_the_event_before_counts(void **state)
{
    struct alike alike = { 0 };
    struct tap quick, slow;
    (void)state;
    tap_start(&quick, API_CHAT);
    tap_start(&slow, API_CHAT);
    quick.alike = &alike;
    for (int i = 0; i < 3; i++) {
        (void)tell_both(&quick, &slow, CONTENT("Hi"));
    }
    (void)tell_both(&quick, &slow, CHAT("\"service_tier\":\"flex\",\"choices\":[]"));
    assert_false(tell_both(&quick, &slow, CONTENT("Hi")));
    assert_true(tell_both(&quick, &slow, CONTENT("Hi")));
    alike_free(&alike);
}

/* Else each event would be copied for the next, which never is like it. */
static void
stream_whose_events_never_are_alike_is_left_alone(void **state)
{
    struct alike alike = { 0 };
    struct tap tap;
    (void)state;
    tap_start(&tap, API_CHAT);
    tap.alike = &alike;
    for (int i = 0; i < 40; i++) {
        (void)tell(&tap, i % 2 ? CONTENT("Hi") : ARGUMENTS("{"));
    }
    assert_int_equal(alike.count, 0);
    alike_free(&alike);
}

static const struct CMUnitTest tests[] = {
    CASE("likeness changes nothing but the work", likeness_changes_nothing_but_the_work),
    CASE("only the event before counts", only_the_event_before_counts),
    CASE("a stream whose events never are alike is left alone",
        stream_whose_events_never_are_alike_is_left_alone),
};
UNIT_MAIN(tests)
