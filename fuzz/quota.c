/* reaches: judge_answer judge_wait_ms wait_parse wait_to_pacific_midnight upstream_class_word http_parse_response
 * reported_of_headers reported_of_json reported_valid */
/* fuzz/quota.c: what providers say of their limits. The first byte picks the dialect and the moment; what
 * follows is an answer, head and body, and where it has no head, a wait as text.
 *
 * Held: every wait lies within its range, and an answer is judged alike twice. */
#include <stdlib.h>

#include "wire/quota.h"
#include "wire/reported.h"

static void
hold(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void
hold_wait(int64_t wait_ms)
{
    hold(wait_ms >= 0 && wait_ms <= WAIT_MS_MAX);
}

static void
judge(enum dialect dialect, const struct http_head *head, struct slice body, int64_t now_ms)
{
    const struct judgement first = judge_answer(dialect, head, body, now_ms);
    const struct judgement second = judge_answer(dialect, head, body, now_ms);
    hold(first.class_ == second.class_ && first.wait_ms == second.wait_ms);
    hold(first.unbilled == second.unbilled && first.next_route == second.next_route);
    hold_wait(first.wait_ms);
    hold_wait(judge_wait_ms(dialect, head, body, now_ms));
    hold(upstream_class_word(first.class_) != NULL);
}

/* What is kept of it is a row that may be stored. */
static void
hold_reports(const struct http_head *head, struct slice body)
{
    static struct reported_row report;
    struct reported_fault fault;
    report = (struct reported_row){ .account_id = 1 };
    if (head) {
        reported_of_headers(head, SLICE("anthropic"), &report);
        hold(reported_valid(&report));
    }
    const bool taken = reported_of_json(body, &report, &fault);
    hold(taken ? reported_valid(&report) && report.window_count > 0 : report.window_count == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_limits limits = { 64 * 1024, 0, HTTP_HEADERS_MAX };
    static const int64_t moments_ms[] = { 0, 1, INT64_C(1795269787000), INT64_C(1793520000000),
        INT64_C(4102444800000), INT64_C(253402300799999) };
    if (size == 0) {
        return 0;
    }
    const enum dialect dialect = data[0] & 1 ? DIALECT_ANTHROPIC : DIALECT_OPENAI;
    const int64_t now_ms = moments_ms[data[0] / 2 % countof(moments_ms)];
    const struct slice bytes = slice_of((const char *)data + 1, size - 1);
    struct http_parse_state state = { 0 };
    struct http_head head;
    const struct http_fault *why = NULL;
    if (http_parse_response(bytes, &limits, &state, HTTP_METHOD_POST, &head, &why) == HTTP_DONE) {
        judge(dialect, &head, slice_of(bytes.ptr + head.head_bytes, bytes.len - head.head_bytes),
            now_ms);
        hold_reports(&head, slice_of(bytes.ptr + head.head_bytes, bytes.len - head.head_bytes));
    } else {
        hold_reports(NULL, bytes);
        hold_wait(wait_parse(bytes, now_ms));
    }
    hold_wait(wait_to_pacific_midnight(now_ms));
    return 0;
}
