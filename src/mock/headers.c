/* mock/headers.c: the headers that providers send beside their answers. */
#include "mock/error_priv.h"

#include "base/civil.h"
#include "base/money.h"
#include "wire/http.h"

#define FIVE_HOURS_MS (5 * HOUR_MS)
#define SEVEN_DAYS_MS (7 * DAY_MS)

static void
add_line(struct buf *out, const char *name, struct slice value)
{
    buf_add_str(out, name);
    buf_add_str(out, ": ");
    buf_add_slice(out, value);
    buf_add_str(out, "\r\n");
}

static void
add_number(struct buf *out, const char *name, int64_t value)
{
    buf_addf(out, "%s: %lld\r\n", name, (long long)value);
}

/* A header as a behaviour words it; not checked for sense, since nonsense is worth a test too. */
static void
add_encoded(struct buf *out, const char *name, struct slice encoded)
{
    struct buf value = { 0 };
    if (encoded.len && mock_percent_decode(encoded, &value) && !value.failed
        && !http_write_header(out, slice_str(name), buf_slice(&value))) {
        buf_addf(out, "x-mock-note: %s cannot be sent as it is worded\r\n", name);
    }
    buf_free(&value);
}

/* The end of the window of `length_ms` that `now_ms` lies in, counted from 1970: the same for all
 * calls of one window. */
static int64_t
window_end_s(int64_t now_ms, int64_t length_ms)
{
    return (now_ms / length_ms + 1) * length_ms / SECOND_MS;
}

static const char *
window_status(int64_t used_micros)
{
    if (used_micros >= MICROS_PER_USD) {
        return "rejected";
    }
    return used_micros * 4 >= 3 * MICROS_PER_USD ? "allowed_warning" : "allowed";
}

/* One window of a subscription; `used` is a fraction that may pass 1. Returns it in millionths. */
static int64_t
add_window(struct buf *out, const char *name, struct slice used, int64_t reset_s)
{
    int64_t used_micros = 0;
    if (!money_parse(used, MONEY_UP, &used_micros)) {
        return 0; /* was checked when the behaviour was read */
    }
    buf_addf(
        out, "anthropic-ratelimit-unified-%s-status: %s\r\n", name, window_status(used_micros));
    buf_addf(out, "anthropic-ratelimit-unified-%s-utilization: ", name);
    buf_add_slice(out, used);
    buf_addf(out, "\r\nanthropic-ratelimit-unified-%s-reset: %lld\r\n", name, (long long)reset_s);
    return used_micros;
}

/* `unified:0.42:0.30`: the windows of five hours and of seven days. */
static void
add_unified(struct buf *out, struct slice words, int64_t now_ms)
{
    struct slice rest = words;
    struct slice part;
    struct slice used[2] = { { 0 }, SLICE("0.1") };
    (void)slice_split(&rest, ':', &part);
    for (size_t i = 0; i < countof(used) && slice_split(&rest, ':', &part); i++) {
        used[i] = part;
    }
    const int64_t short_reset_s = window_end_s(now_ms, FIVE_HOURS_MS);
    const int64_t long_reset_s = window_end_s(now_ms, SEVEN_DAYS_MS);
    const int64_t short_micros = add_window(out, "5h", used[0], short_reset_s);
    const int64_t long_micros = add_window(out, "7d", used[1], long_reset_s);
    const bool is_long = long_micros >= MICROS_PER_USD; /* the later reset rules */
    buf_addf(out, "anthropic-ratelimit-unified-status: %s\r\n",
        window_status(max_i64(short_micros, long_micros)));
    add_number(out, "anthropic-ratelimit-unified-reset", is_long ? long_reset_s : short_reset_s);
    buf_addf(out, "anthropic-ratelimit-unified-representative-claim: %s\r\n",
        is_long ? "seven_day" : "five_hour");
    buf_add_str(out, "anthropic-ratelimit-unified-fallback-percentage: 0.5\r\n"
                     "anthropic-ratelimit-unified-overage-status: rejected\r\n"
                     "anthropic-ratelimit-unified-overage-disabled-reason: out_of_credits\r\n");
}

static void
add_anthropic(const struct mock_header_facts *facts, struct buf *out)
{
    char reset[32];
    civil_rfc3339(facts->now_ms + MINUTE_MS, false, reset);
    buf_addf(out, "request-id: req_%s\r\n", facts->serial);
    add_line(out, "anthropic-organization-id", SLICE("00000000-0000-4000-8000-00000000beef"));
    add_number(out, "anthropic-ratelimit-requests-limit", 4000);
    add_number(out, "anthropic-ratelimit-requests-remaining", 3999);
    buf_addf(out, "anthropic-ratelimit-requests-reset: %s\r\n", reset);
    add_number(out, "anthropic-ratelimit-input-tokens-limit", 2000000);
    add_number(
        out, "anthropic-ratelimit-input-tokens-remaining", facts->status == 429 ? 0 : 1998000);
    buf_addf(out, "anthropic-ratelimit-input-tokens-reset: %s\r\n", reset);
    add_line(out, "set-cookie", SLICE("__cf_bm=mock; path=/; HttpOnly; Secure"));
}

static void
add_openai(const struct mock_header_facts *facts, struct buf *out)
{
    buf_addf(out, "x-request-id: req_%s\r\n", facts->serial);
    add_line(out, "openai-organization", SLICE("mock-org"));
    add_line(out, "openai-processing-ms", SLICE("42"));
    add_line(out, "openai-version", SLICE("2020-10-01"));
    add_number(out, "x-ratelimit-limit-requests", 10000);
    add_number(out, "x-ratelimit-limit-tokens", 2000000);
    add_number(out, "x-ratelimit-remaining-requests", 9999);
    add_number(out, "x-ratelimit-remaining-tokens", facts->status == 429 ? 0 : 1999412);
    add_line(out, "x-ratelimit-reset-requests", SLICE("6ms"));
    add_line(out, "x-ratelimit-reset-tokens", facts->status == 429 ? SLICE("6m0s") : SLICE("17ms"));
    add_line(out, "set-cookie", SLICE("__cf_bm=mock; path=/; HttpOnly; Secure"));
}

void
mock_answer_headers(const struct mock_header_facts *facts, struct buf *out)
{
    const struct mock_behaviour *behaviour = facts->behaviour;
    const struct slice wanted = behaviour->headers;
    if (slice_starts(wanted, SLICE("unified:"))) {
        buf_addf(out, "request-id: req_%s\r\n", facts->serial);
        add_unified(out, wanted, facts->now_ms);
    } else if (wanted.len == 0 && facts->dialect == DIALECT_ANTHROPIC) {
        add_anthropic(facts, out);
    } else if (wanted.len == 0) {
        add_openai(facts, out);
    }
    if (facts->status < 300) {
        return;
    }
    add_encoded(out, "retry-after", behaviour->retry_after);
    add_encoded(out, "retry-after-ms", behaviour->retry_after_ms);
    add_encoded(out, "x-should-retry", behaviour->should_retry);
}
