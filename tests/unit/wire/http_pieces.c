/* tests/unit/wire/http_pieces.c */
#include "http_pieces.h"

#include <stdlib.h>

size_t
pieces_next(size_t plan, size_t have, size_t total)
{
    if (plan == total) {
        return have + 1;
    }
    return have < plan && plan < total ? plan : total;
}

struct speaker
speaker_client(void)
{
    return (struct speaker){ .is_request = true, .limits = { 512, 64, 8 } };
}

struct speaker
speaker_upstream(enum http_method asked)
{
    return (struct speaker){ .asked = asked, .limits = { 512, 64, 8 } };
}

/* A copy in memory of exactly that size; the caller frees it. */
static struct slice
exact_copy(struct slice bytes)
{
    char *copy = malloc(bytes.len > 0 ? bytes.len : 1);
    assert_non_null(copy);
    if (bytes.len > 0) {
        memcpy(copy, bytes.ptr, bytes.len);
    }
    return slice_of(copy, bytes.len);
}

static void
describe(const struct http_head *head, struct buf *out)
{
    static const char *const kinds[] = { "none", "length", "chunked", "close" };

    if (head->is_request) {
        buf_add_slice(out, head->method_text);
        buf_add_char(out, ' ');
        buf_add_slice(out, head->path);
        if (head->query.len > 0) {
            buf_add_char(out, '?');
            buf_add_slice(out, head->query);
        }
    } else {
        buf_add_i64(out, head->status);
        buf_add_char(out, ' ');
        buf_add_slice(out, head->reason);
    }
    buf_addf(out, " 1.%d", head->version_minor);
    if (head->is_request) {
        buf_add_str(out, " host=");
        buf_add_slice(out, head->host);
    }
    buf_addf(out, " body=%s", kinds[head->body_kind]);
    if (head->body_kind == HTTP_BODY_LENGTH) {
        buf_addf(out, ":%lld", (long long)head->content_length);
    }
    buf_add_str(out, head->keep_alive ? " keep" : "");
    buf_add_str(out, head->expect_continue ? " expect" : "");
    buf_add_str(out, head->upgrade ? " upgrade" : "");
    buf_add_str(out, " |");
    for (uint32_t i = 0; i < head->header_count; i++) {
        buf_add_char(out, '[');
        buf_add_slice(out, head->headers[i].name);
        buf_add_str(out, ": ");
        buf_add_slice(out, head->headers[i].value);
        buf_add_char(out, ']');
    }
}

size_t
pieces_read_head(
    struct slice bytes, const struct speaker *speaker, size_t plan, struct buf *out)
{
    struct http_parse_state state = { 0 };
    struct http_head head;
    memset(&head, 0xa5, sizeof head); /* the codec may not rely on what was there */
    for (size_t have = 0; have < bytes.len;) {
        have = pieces_next(plan, have, bytes.len);
        const struct slice arrived = exact_copy(slice_of(bytes.ptr, have));
        const struct http_fault *why = NULL;
        const enum http_result result = speaker->is_request
            ? http_parse_request(arrived, &speaker->limits, &state, &head, &why)
            : http_parse_response(
                arrived, &speaker->limits, &state, speaker->asked, &head, &why);
        if (result == HTTP_DONE) {
            describe(&head, out);
        } else if (result == HTTP_BAD) {
            assert_non_null(why);
            buf_addf(out, "bad %s |", why->name);
        } else {
            assert_true(state.scan_offset + 1 >= have); /* each byte is looked at once */
        }
        free((void *)(uintptr_t)arrived.ptr);
        if (result != HTTP_MORE) {
            return result == HTTP_DONE ? head.head_bytes : 0;
        }
    }
    buf_add_str(out, "more |");
    return 0;
}

static void
expect_text(const char *name, size_t plan, struct buf *got, const char *expected)
{
    if (strcmp(buf_cstr(got), expected) != 0) {
        fail_msg("%s, cut %zu: got \"%s\", not \"%s\"", name, plan, buf_cstr(got), expected);
    }
}

static void
expect_same_in_pieces(const char *name, struct slice bytes, const struct speaker *speaker,
    size_t head_bytes, const char *expected)
{
    for (size_t plan = 0; plan <= bytes.len; plan++) {
        struct buf got = { 0 };
        const size_t got_bytes = pieces_read_head(bytes, speaker, plan, &got);
        expect_text(name, plan, &got, expected);
        assert_int_equal(got_bytes, head_bytes);
        buf_free(&got);
    }
}

void
pieces_expect_head(
    const char *name, struct slice bytes, const struct speaker *speaker, const char *expected)
{
    struct buf whole = { 0 };
    const size_t head_bytes = pieces_read_head(bytes, speaker, 0, &whole);
    struct buf facts = { 0 };
    const char *headers = strstr(buf_cstr(&whole), " |");
    buf_add(&facts, whole.ptr, (size_t)(headers - whole.ptr));
    expect_text(name, 0, &facts, expected);
    expect_same_in_pieces(name, bytes, speaker, head_bytes, buf_cstr(&whole));

    if (head_bytes > 0) {
        assert_int_equal(head_bytes, bytes.len);
        struct buf followed = { 0 };
        buf_add_slice(&followed, bytes);
        buf_add_str(&followed, "\r\n\nGET /next\x01");
        expect_same_in_pieces(
            name, buf_slice(&followed), speaker, head_bytes, buf_cstr(&whole));
        buf_free(&followed);
    }
    buf_free(&facts);
    buf_free(&whole);
}

size_t
pieces_read_body(struct slice bytes, const struct http_head *head, int64_t bytes_max, bool eof,
    size_t plan, struct buf *out)
{
    struct http_body body;
    memset(&body, 0xa5, sizeof body);
    http_body_start(&body, head, bytes_max);
    buf_add_str(out, "payload:");

    const struct http_fault *why = NULL;
    struct slice data = { 0 };
    size_t consumed = 0;
    size_t total_consumed = 0;
    enum http_result result = http_body_feed(&body, data, &consumed, &data, &why);
    for (size_t have = 0; result == HTTP_MORE && have < bytes.len;) {
        const size_t before = have;
        have = pieces_next(plan, have, bytes.len);
        const struct slice arrived = exact_copy(slice_of(bytes.ptr + before, have - before));
        struct slice rest = arrived;
        while (rest.len > 0 && result == HTTP_MORE) {
            result = http_body_feed(&body, rest, &consumed, &data, &why);
            assert_true(consumed <= rest.len);
            assert_true(data.len <= consumed);
            assert_true(result != HTTP_MORE || consumed > 0);
            buf_add_slice(out, data);
            rest = slice_of(rest.ptr + consumed, rest.len - consumed);
            total_consumed += consumed;
        }
        free((void *)(uintptr_t)arrived.ptr);
    }
    if (eof && result == HTTP_MORE) {
        result = http_body_eof(&body, &why);
    }
    if (result == HTTP_BAD) {
        assert_non_null(why);
        buf_addf(out, " bad %s", why->name);
    } else {
        buf_add_str(out, result == HTTP_DONE ? " done" : " more");
    }
    return total_consumed;
}
