/* reaches: http_parse_request http_parse_response http_host_valid http_write_header */
/* fuzz/http_head.c: a head is read the same however it arrives, nothing that is accepted can hide a
 * line, and what is accepted can be written and read back. Input that begins with "HTTP/" is an
 * answer, anything else a request. */
#include <stdlib.h>

#include "wire/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_limits limits = { 4096, 1024, 32 };

struct reading {
    enum http_result result;
    const struct http_fault *why;
    struct http_head head;
};

static enum http_result
read_once(
    struct slice bytes, enum http_method asked, struct http_parse_state *state, struct reading *out)
{
    const bool is_answer = asked != HTTP_METHOD_OTHER;
    return is_answer ? http_parse_response(bytes, &limits, state, asked, &out->head, &out->why)
                     : http_parse_request(bytes, &limits, state, &out->head, &out->why);
}

/* `step` bytes arrive at a time; asked is HTTP_METHOD_OTHER for a request. */
static void
read_in_steps(struct slice bytes, enum http_method asked, size_t step, struct reading *out)
{
    struct http_parse_state state = { 0 };
    out->why = NULL;
    out->result = HTTP_MORE;
    for (size_t have = 0; have < bytes.len && out->result == HTTP_MORE;) {
        have = bytes.len - have < step ? bytes.len : have + step;
        out->result = read_once(slice_of(bytes.ptr, have), asked, &state, out);
    }
}

/* The part lies in the head, or is static text. */
static void
check_within(struct slice part, struct slice head)
{
    const bool within = part.ptr >= head.ptr && part.ptr + part.len <= head.ptr + head.len;
    check(part.len == 0 || within || slice_eq(part, SLICE("/")));
}

static void
check_no_line_end(struct slice part)
{
    check(part.len == 0 || memchr(part.ptr, '\r', part.len) == NULL);
    check(part.len == 0 || memchr(part.ptr, '\n', part.len) == NULL);
    check(part.len == 0 || memchr(part.ptr, '\0', part.len) == NULL);
}

static void
check_same(const struct reading *a, const struct reading *b)
{
    check(a->result == b->result);
    check(a->why == b->why);
    if (a->result != HTTP_DONE) {
        return;
    }
    check(a->head.head_bytes == b->head.head_bytes);
    check(a->head.header_count == b->head.header_count);
    check(a->head.body_kind == b->head.body_kind);
    check(a->head.content_length == b->head.content_length);
    check(a->head.keep_alive == b->head.keep_alive);
    check(a->head.expect_continue == b->head.expect_continue);
    check(a->head.upgrade == b->head.upgrade);
    check(a->head.status == b->head.status);
    check(slice_eq(a->head.path, b->head.path));
    check(slice_eq(a->head.query, b->head.query));
    check(slice_eq(a->head.host, b->head.host));
    for (uint32_t i = 0; i < a->head.header_count; i++) {
        check(slice_eq(a->head.headers[i].name, b->head.headers[i].name));
        check(slice_eq(a->head.headers[i].value, b->head.headers[i].value));
    }
}

/* Every LF follows a CR, every CR precedes an LF, and the head ends with its first empty line. */
static void
check_lines(struct slice head)
{
    size_t line_end_count = 0;
    for (size_t i = 0; i < head.len; i++) {
        check(head.ptr[i] != '\0');
        if (head.ptr[i] == '\n') {
            check(i > 0 && head.ptr[i - 1] == '\r');
            line_end_count++;
        }
        check(head.ptr[i] != '\r' || (i + 1 < head.len && head.ptr[i + 1] == '\n'));
    }
    check(line_end_count >= 2);
    check(slice_find(head, SLICE("\r\n\r\n")) == (ptrdiff_t)head.len - 4);
}

static void
check_framing(const struct http_head *head)
{
    const struct http_header *length = http_find(head, SLICE("content-length"));
    const struct http_header *coding = http_find(head, SLICE("transfer-encoding"));
    check(length == NULL || coding == NULL);
    check(length == NULL || http_find_next(head, SLICE("content-length"), length) == NULL);
    check(coding == NULL || slice_eq_nocase(coding->value, SLICE("chunked")));
    check(coding == NULL || head->version_minor == 1);
    check(head->content_length >= 0);
    check(head->body_kind == HTTP_BODY_LENGTH || head->content_length == 0);
    check(head->body_kind != HTTP_BODY_UNTIL_CLOSE || (!head->is_request && !head->keep_alive));
    check(!head->is_request || head->version_minor == 0 || head->host.len > 0);
}

static void
check_written_back(const struct http_head *head)
{
    struct buf out = { 0 };
    if (head->is_request) {
        check(http_write_request_line(&out, head->method_text, head->target));
    } else {
        check(http_write_status_line(&out, head->status, head->reason));
    }
    for (uint32_t i = 0; i < head->header_count; i++) {
        check(http_write_header(&out, head->headers[i].name, head->headers[i].value));
    }
    http_write_end(&out);
    check(!out.failed);

    struct http_parse_state state = { 0 };
    struct http_head again;
    const struct http_fault *why = NULL;
    const struct http_limits wide = { out.len, out.len, HTTP_HEADERS_MAX };
    const enum http_result result =
        head->is_request
            ? http_parse_request(buf_slice(&out), &wide, &state, &again, &why)
            : http_parse_response(buf_slice(&out), &wide, &state, HTTP_METHOD_GET, &again, &why);
    if (head->version_minor == 1) { /* we write 1.1, where other rules hold than in 1.0 */
        check(result == HTTP_DONE);
        check(again.header_count == head->header_count);
        check(again.head_bytes == out.len);
    }
    buf_free(&out);
}

static void
check_accepted(const struct reading *reading, struct slice bytes)
{
    const struct http_head *head = &reading->head;
    check(head->head_bytes <= bytes.len && head->head_bytes <= limits.head_bytes_max);
    check(head->header_count <= limits.headers_max);
    struct slice text = slice_of(bytes.ptr, head->head_bytes);
    if (head->is_request && slice_starts(text, SLICE("\r\n"))) {
        text = slice_of(text.ptr + 2, text.len - 2);
    }
    check_lines(text);
    const struct slice parts[] = { head->method_text, head->target, head->path, head->query,
        head->host, head->reason };
    for (size_t i = 0; i < countof(parts); i++) {
        check_within(parts[i], text);
        check_no_line_end(parts[i]);
    }
    for (uint32_t i = 0; i < head->header_count; i++) {
        check_within(head->headers[i].name, text);
        check_within(head->headers[i].value, text);
        check_no_line_end(head->headers[i].name);
        check_no_line_end(head->headers[i].value);
        check(head->headers[i].name.len > 0);
    }
    check_framing(head);
    check_written_back(head);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct reading whole, pieces;
    static const enum http_method answers[] = { HTTP_METHOD_GET, HTTP_METHOD_HEAD,
        HTTP_METHOD_POST };
    static const enum http_method requests[] = { HTTP_METHOD_OTHER };

    const struct slice bytes = slice_of((const char *)data, size);
    const bool is_answer = slice_starts(bytes, SLICE("HTTP/"));
    const enum http_method *asked = is_answer ? answers : requests;
    for (size_t i = 0; i < (is_answer ? countof(answers) : countof(requests)); i++) {
        read_in_steps(bytes, asked[i], size + 1, &whole);
        read_in_steps(bytes, asked[i], 1, &pieces);
        check_same(&whole, &pieces);
        read_in_steps(bytes, asked[i], size / 3 + 1, &pieces);
        check_same(&whole, &pieces);
        check(whole.result != HTTP_MORE || size < limits.head_bytes_max);
        if (whole.result == HTTP_DONE) {
            check_accepted(&whole, bytes);
        }
    }
    return 0;
}
