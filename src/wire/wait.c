/* wire/wait.c: the wait an upstream's answer asks for, in whatever form it is written. */
#include "base/civil.h"
#include "base/money.h"
#include "wire/json.h"
#include "wire/quota_priv.h"

/* Bare numbers from here on are points in time: epoch seconds, then milliseconds. */
#define EPOCH_S_MIN  INT64_C(1000000000)
#define EPOCH_MS_MIN INT64_C(100000000000)

static int64_t
in_range(int64_t wait_ms)
{
    return wait_ms > 0 && wait_ms <= WAIT_MS_MAX ? wait_ms : 0;
}

/* ---- one value ---- */

static struct slice
take_decimal(struct slice *text)
{
    size_t len = 0;
    while (len < text->len
           && ((text->ptr[len] >= '0' && text->ptr[len] <= '9') || text->ptr[len] == '.')) {
        len++;
    }
    const struct slice decimal = slice_of(text->ptr, len);
    *text = slice_of(text->ptr + len, text->len - len);
    return decimal;
}

static struct slice
take_letters(struct slice *text)
{
    size_t len = 0;
    while (len < text->len && (text->ptr[len] | 0x20) >= 'a' && (text->ptr[len] | 0x20) <= 'z') {
        len++;
    }
    const struct slice letters = slice_of(text->ptr, len);
    *text = slice_of(text->ptr + len, text->len - len);
    return letters;
}

/* Milliseconds of a unit, as Go and people write them; 0 = not one. */
static int64_t
unit_ms(struct slice unit)
{
    static const struct {
        struct slice word;
        int64_t ms;
    } units[] = {
        { { "ms", 2 }, 1 },
        { { "milliseconds", 12 }, 1 },
        { { "s", 1 }, SECOND_MS },
        { { "sec", 3 }, SECOND_MS },
        { { "second", 6 }, SECOND_MS },
        { { "seconds", 7 }, SECOND_MS },
        { { "m", 1 }, MINUTE_MS },
        { { "min", 3 }, MINUTE_MS },
        { { "minute", 6 }, MINUTE_MS },
        { { "minutes", 7 }, MINUTE_MS },
        { { "h", 1 }, HOUR_MS },
        { { "hour", 4 }, HOUR_MS },
        { { "hours", 5 }, HOUR_MS },
        { { "d", 1 }, DAY_MS },
        { { "day", 3 }, DAY_MS },
        { { "days", 4 }, DAY_MS },
    };
    for (size_t i = 0; i < countof(units); i++) {
        if (slice_eq_nocase(unit, units[i].word)) {
            return units[i].ms;
        }
    }
    return 0;
}

/* A decimal times a unit, in milliseconds rounded up; -1 = neither, or far too long. */
static int64_t
scaled_ms(struct slice decimal, int64_t each_ms)
{
    int64_t micros = 0;
    if (!money_parse(decimal, MONEY_UP, &micros) || micros < 0
        || micros > WAIT_MS_MAX / each_ms * 1000000 + 1000000) {
        return -1;
    }
    return (micros * each_ms + 999999) / 1000000;
}

/* "1h2m3s", "120ms", "17 seconds" at the front of *text, of which it takes as much as fits. */
static int64_t
take_duration_ms(struct slice *text)
{
    int64_t sum_ms = 0;
    bool any = false;
    for (;;) {
        struct slice rest = *text;
        const struct slice decimal = take_decimal(&rest);
        (void)slice_take_char(&rest, ' ');
        const int64_t each_ms = decimal.len > 0 ? unit_ms(take_letters(&rest)) : 0;
        if (each_ms == 0) {
            return any ? sum_ms : 0;
        }
        const int64_t part_ms = scaled_ms(decimal, each_ms);
        if (part_ms < 0) {
            return 0;
        }
        sum_ms += part_ms; /* the loop ends with the text; each part is at most 36 days */
        if (sum_ms > WAIT_MS_MAX) {
            return 0;
        }
        any = true;
        *text = rest;
    }
}

/* A bare number: seconds, or a point in time if it is as large as one. */
static int64_t
number_wait_ms(struct slice text, int64_t now_ms)
{
    int64_t whole = 0;
    if (!money_parse_scaled(text, 0, MONEY_DOWN, &whole) || whole < 0) {
        return 0;
    }
    if (whole < EPOCH_S_MIN) {
        return in_range(scaled_ms(text, SECOND_MS));
    }
    if (whole > WALL_MS_MAX) {
        return 0;
    }
    return in_range((whole < EPOCH_MS_MIN ? whole * SECOND_MS : whole) - now_ms);
}

int64_t
wait_parse(struct slice text, int64_t now_ms)
{
    text = slice_trim(text);
    if (text.len == 0) {
        return 0;
    }
    struct slice rest = text;
    if (take_decimal(&rest).len == text.len) {
        return number_wait_ms(text, now_ms);
    }
    int64_t at_ms = 0;
    if (civil_parse_rfc3339(text, &at_ms) || civil_parse_http_date(text, &at_ms)) {
        return in_range(at_ms - now_ms);
    }
    rest = text;
    const int64_t wait_ms = take_duration_ms(&rest);
    return rest.len == 0 ? in_range(wait_ms) : 0;
}

/* ---- California ---- */

/* The day of the month on which the `nth` Sunday of a month falls. */
static int
nth_sunday(int year, int month, int nth)
{
    const struct civil first =
        civil_from_ms(civil_to_ms((struct civil){ .year = year, .month = month, .day = 1 }));
    return 1 + (6 - first.weekday) + (nth - 1) * 7;
}

/* Daylight time: from the second Sunday in March, 2:00 standard, to the first in November, 2:00
 * daylight time. */
static int64_t
pacific_offset_ms(int64_t at_ms)
{
    const int year = civil_from_ms(at_ms - 8 * HOUR_MS).year;
    const int64_t begins_ms = civil_to_ms(
        (struct civil){ .year = year, .month = 3, .day = nth_sunday(year, 3, 2), .hour = 10 });
    const int64_t ends_ms = civil_to_ms(
        (struct civil){ .year = year, .month = 11, .day = nth_sunday(year, 11, 1), .hour = 9 });
    return at_ms >= begins_ms && at_ms < ends_ms ? -7 * HOUR_MS : -8 * HOUR_MS;
}

int64_t
wait_to_pacific_midnight(int64_t now_ms)
{
    const struct civil local = civil_from_ms(now_ms + pacific_offset_ms(now_ms));
    const int64_t midnight_local_ms = civil_to_ms(
        (struct civil){ .year = local.year, .month = local.month, .day = local.day + 1 });
    /* The jump is at 2:00, so the offset of midnight is that of the instant either offset gives. */
    const int64_t offset_ms = pacific_offset_ms(midnight_local_ms + 8 * HOUR_MS);
    return midnight_local_ms - offset_ms - now_ms;
}

/* ---- one answer ---- */

static struct slice
value_of(const struct http_head *head, struct slice name)
{
    const struct http_header *header = http_find(head, name);
    return header ? header->value : slice_of(NULL, 0);
}

/* A family of headers: what is left, and when it refills, with the limit's name in the middle. */
struct reset_family {
    const char *remaining, *reset; /* prefixes */
    const char *reset_suffix;      /* of the reset's name, behind the limit's; "" = none */
};

static const struct reset_family reset_families[] = {
    { "anthropic-ratelimit-", "anthropic-ratelimit-", "-reset" },
    { "x-ratelimit-remaining", "x-ratelimit-reset", "" },
    { "x-ratelimitbysize-remaining", "x-ratelimitbysize-reset", "" },
    { "ratelimitbysize-remaining", "ratelimitbysize-reset", "" },
    { "ratelimit-remaining", "ratelimit-reset", "" },
};

static bool
says_none_left(struct slice value)
{
    int64_t left = 0;
    return money_parse(slice_trim(value), MONEY_UP, &left) && left <= 0;
}

/* The limit's name in a header that says how much of it is left; false: it is no such header. */
static bool
limit_of(const struct reset_family *family, struct slice name, struct slice *limit)
{
    const struct slice prefix = slice_str(family->remaining);
    if (!slice_starts_nocase(name, prefix)) {
        return false;
    }
    *limit = slice_of(name.ptr + prefix.len, name.len - prefix.len);
    if (family->reset_suffix[0] == '\0') {
        return true;
    }
    const struct slice suffix = SLICE("-remaining");
    if (limit->len < suffix.len
        || !slice_eq_nocase(slice_of(limit->ptr + limit->len - suffix.len, suffix.len), suffix)) {
        return false;
    }
    limit->len -= suffix.len;
    return true;
}

static struct slice
reset_value(const struct http_head *head, const struct reset_family *family, struct slice limit)
{
    char name[128];
    size_t len = 0;
    const struct slice parts[] = { slice_str(family->reset), limit,
        slice_str(family->reset_suffix) };
    for (size_t i = 0; i < countof(parts); i++) {
        if (parts[i].len > sizeof(name) - len) {
            return slice_of(NULL, 0);
        }
        if (parts[i].len > 0) {
            memcpy(name + len, parts[i].ptr, parts[i].len);
            len += parts[i].len;
        }
    }
    return value_of(head, slice_of(name, len));
}

/* The latest reset among the limits with nothing left: all of them must have refilled. */
static int64_t
exhausted_wait_ms(const struct http_head *head, int64_t now_ms)
{
    int64_t longest_ms = 0;
    for (uint32_t i = 0; i < head->header_count; i++) {
        for (size_t f = 0; f < countof(reset_families); f++) {
            struct slice limit;
            if (limit_of(&reset_families[f], head->headers[i].name, &limit)
                && says_none_left(head->headers[i].value)) {
                const struct slice reset = reset_value(head, &reset_families[f], limit);
                longest_ms = max_i64(longest_ms, wait_parse(reset, now_ms));
            }
        }
    }
    return longest_ms;
}

/* Anthropic's subscription windows: of those rejected the latest rules, else what is said at
 * large. */
static int64_t
unified_wait_ms(const struct http_head *head, int64_t now_ms)
{
    static const char *const windows[] = { "5h", "7d" };
    const struct slice rejected = SLICE("rejected");
    if (!slice_eq_nocase(value_of(head, SLICE("anthropic-ratelimit-unified-status")), rejected)) {
        return 0;
    }
    int64_t longest_ms =
        wait_parse(value_of(head, SLICE("anthropic-ratelimit-unified-reset")), now_ms);
    for (size_t i = 0; i < countof(windows); i++) {
        char status[] = "anthropic-ratelimit-unified-NN-status";
        char reset[] = "anthropic-ratelimit-unified-NN-reset";
        const size_t at = sizeof("anthropic-ratelimit-unified-") - 1;
        memcpy(status + at, windows[i], 2);
        memcpy(reset + at, windows[i], 2);
        if (slice_eq_nocase(value_of(head, slice_str(status)), rejected)) {
            longest_ms = max_i64(longest_ms, wait_parse(value_of(head, slice_str(reset)), now_ms));
        }
    }
    return longest_ms;
}

/* Codex's windows: those at 100 per cent or more. */
static int64_t
codex_wait_ms(const struct http_head *head, int64_t now_ms)
{
    static const struct {
        struct slice used, at, after;
    } windows[] = {
        { { "x-codex-primary-used-percent", 28 }, { "x-codex-primary-reset-at", 24 },
            { "x-codex-primary-reset-after-seconds", 35 } },
        { { "x-codex-secondary-used-percent", 30 }, { "x-codex-secondary-reset-at", 26 },
            { "x-codex-secondary-reset-after-seconds", 37 } },
    };
    int64_t longest_ms = 0;
    for (size_t i = 0; i < countof(windows); i++) {
        int64_t percent_micros = 0;
        if (!money_parse(value_of(head, windows[i].used), MONEY_DOWN, &percent_micros)
            || percent_micros < 100 * MICROS_PER_USD) {
            continue;
        }
        const int64_t at_ms = wait_parse(value_of(head, windows[i].at), now_ms);
        const int64_t after_ms = wait_parse(value_of(head, windows[i].after), now_ms);
        longest_ms = max_i64(longest_ms, at_ms > 0 ? at_ms : after_ms);
    }
    return longest_ms;
}

/* ---- bodies ---- */

struct slice
quota_error_object(struct slice body)
{
    struct json_value value;
    if (json_get(body, "error", &value) || json_get(body, "0.error", &value)) {
        return value.text; /* the second: Gemini wraps its error in an array */
    }
    return json_looks_like_object(body) ? body : slice_of(NULL, 0);
}

static int64_t
value_wait_ms(struct slice object, const char *path, int64_t now_ms)
{
    struct json_value value;
    if (!json_get(object, path, &value)) {
        return 0;
    }
    return wait_parse(value.type == JSON_STRING ? json_inside(value) : value.text, now_ms);
}

/* Google's details: a daily quota opens at midnight in California, whatever the delay says. */
static int64_t
google_wait_ms(struct slice error, int64_t now_ms)
{
    struct json_value details, detail, value;
    struct json_cursor cursor;
    int64_t delay_ms = 0;
    json_start(&cursor, json_get(error, "details", &details) ? details.text : slice_of(NULL, 0));
    if (!json_enter(&cursor, '[')) {
        return 0;
    }
    while (json_next_item(&cursor) && json_take(&cursor, &detail)) {
        if (json_get(detail.text, "violations", &value)
            && slice_find(value.text, SLICE("PerDay")) >= 0) {
            return wait_to_pacific_midnight(now_ms);
        }
        delay_ms = max_i64(delay_ms, value_wait_ms(detail.text, "retryDelay", now_ms));
    }
    return delay_ms;
}

static int64_t
body_wait_ms(struct slice body, int64_t now_ms)
{
    static const char *const paths[] = {
        "resets_at",
        "resets_in_seconds",
        "metadata.headers.X-RateLimit-Reset",
        "retry_after",
    };
    const struct slice error = quota_error_object(body);
    const int64_t google_ms = google_wait_ms(error, now_ms);
    if (google_ms > 0) {
        return google_ms;
    }
    for (size_t i = 0; i < countof(paths); i++) {
        const int64_t wait_ms = value_wait_ms(error, paths[i], now_ms);
        if (wait_ms > 0) {
            return wait_ms;
        }
    }
    return 0;
}

static int64_t
text_wait_ms(struct slice body)
{
    static const struct slice marks[] = {
        { "try again in ", 13 },
        { "retry after ", 12 },
        { "retry in ", 9 },
        { "wait ", 5 },
    };
    for (size_t i = 0; i < countof(marks); i++) {
        const ptrdiff_t at = slice_find(body, marks[i]);
        if (at >= 0) {
            const size_t begins = (size_t)at + marks[i].len;
            struct slice rest = slice_of(body.ptr + begins, body.len - begins);
            const int64_t wait_ms = in_range(take_duration_ms(&rest));
            if (wait_ms > 0) {
                return wait_ms;
            }
        }
    }
    return 0;
}

static int64_t
retry_after_ms(const struct http_head *head, int64_t now_ms)
{
    int64_t ms = 0;
    const struct slice text = slice_trim(value_of(head, SLICE("retry-after-ms")));
    if (money_parse_scaled(text, 0, MONEY_UP, &ms) && in_range(ms) > 0) {
        return ms;
    }
    return wait_parse(value_of(head, SLICE("retry-after")), now_ms);
}

int64_t
judge_wait_ms(enum dialect dialect, const struct http_head *head, struct slice body, int64_t now_ms)
{
    const int64_t said_ms = retry_after_ms(head, now_ms);
    if (said_ms > 0) {
        return said_ms;
    }
    int64_t reset_ms = exhausted_wait_ms(head, now_ms);
    reset_ms = max_i64(reset_ms,
        dialect == DIALECT_ANTHROPIC ? unified_wait_ms(head, now_ms) : codex_wait_ms(head, now_ms));
    if (reset_ms > 0) {
        return reset_ms;
    }
    const int64_t body_ms = body_wait_ms(body, now_ms);
    return body_ms > 0 ? body_ms : text_wait_ms(body);
}
