/* cli/text.c: times, sizes and bars as a person reads and writes them. Pure. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/civil.h"
#include "base/units.h"

static const struct {
    char letter;
    int64_t ms;
    const char *word;
} units[] = {
    { 'd', DAY_MS, "d" },
    { 'h', HOUR_MS, "h" },
    { 'm', MINUTE_MS, "min" },
    { 's', SECOND_MS, "s" },
};

void
text_duration(int64_t ms, char out[32])
{
    for (size_t i = 0; i < countof(units); i++) {
        if (ms >= units[i].ms) {
            (void)snprintf(out, 32, "%lld %s", (long long)(ms / units[i].ms), units[i].word);
            return;
        }
    }
    (void)snprintf(out, 32, "%lld ms", (long long)ms);
}

void
text_age(int64_t at_ms, int64_t now_ms, char out[48])
{
    char span[32];
    const int64_t away_ms = at_ms > now_ms ? at_ms - now_ms : now_ms - at_ms;
    if (away_ms < SECOND_MS) {
        (void)snprintf(out, 48, "just now");
        return;
    }
    text_duration(away_ms, span);
    (void)snprintf(out, 48, at_ms > now_ms ? "in %s" : "%s ago", span);
}

void
text_time(const char *rfc3339, char out[32])
{
    int64_t at_ms = 0;
    if (!civil_parse_rfc3339(slice_str(rfc3339), &at_ms)) {
        out[0] = '\0';
        return;
    }
    const struct civil at = civil_from_ms(at_ms);
    (void)snprintf(out, 32, "%04d-%02d-%02d %02d:%02d:%02d", at.year, at.month, at.day, at.hour,
        at.minute, at.second);
}

void
text_bytes(int64_t bytes, char out[32])
{
    static const char *const words[] = { "bytes", "KB", "MB", "GB", "TB" };
    size_t unit = 0;
    int64_t rest = 0;
    while (bytes >= 1024 && unit + 1 < countof(words)) {
        rest = bytes % 1024;
        bytes /= 1024;
        unit++;
    }
    if (rest > 0 && bytes < 10) {
        (void)snprintf(
            out, 32, "%lld.%lld %s", (long long)bytes, (long long)(rest * 10 / 1024), words[unit]);
    } else {
        (void)snprintf(out, 32, "%lld %s", (long long)bytes, words[unit]);
    }
}

void
text_bar(int64_t percent, int width, bool utf8, struct buf *out)
{
    const int64_t shown = percent < 0 ? 0 : percent > 100 ? 100 : percent;
    /* What is in use is never drawn as nothing, and only a full one as full. */
    int64_t full = (shown * width) / 100;
    if (full == 0 && shown > 0) {
        full = 1;
    }
    for (int i = 0; i < width; i++) {
        buf_add_str(out, i < full ? (utf8 ? "█" : "#") : (utf8 ? "░" : "."));
    }
}

void
text_plain(const char *text, struct buf *out)
{
    for (const char *at = text; *at; at++) {
        const unsigned char c = (unsigned char)*at;
        buf_add_char(out, c < 0x20 || c == 0x7F ? '?' : *at);
    }
}

/* A spreadsheet takes a cell that begins so for a formula; a number may begin with its sign. */
static bool
is_formula(const char *text)
{
    int64_t number = 0;
    return text[0] && strchr("=+-@\t", text[0]) && !slice_to_i64(slice_str(text), &number);
}

void
text_csv(const char *text, struct buf *out)
{
    const bool quoted = strpbrk(text, ",\"\r\n") != NULL;
    buf_add_str(out, quoted ? "\"" : "");
    buf_add_str(out, is_formula(text) ? "'" : "");
    for (const char *at = text; *at; at++) {
        buf_add_str(out, *at == '"' ? "\"" : "");
        buf_add_char(out, *at);
    }
    buf_add_str(out, quoted ? "\"" : "");
}

void
text_shell(const char *text, struct buf *out)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+,";
    if (text[0] && text[strspn(text, plain)] == '\0') {
        buf_add_str(out, text);
        return;
    }
    buf_add_char(out, '\'');
    for (const char *at = text; *at; at++) {
        if (*at == '\'') {
            buf_add_str(out, "'\\'");
        }
        buf_add_char(out, *at);
    }
    buf_add_char(out, '\'');
}

bool
text_parse_duration(struct slice text, int64_t *ms)
{
    int64_t total_ms = 0;
    size_t least_unit = 0; /* terms come in falling units */
    if (text.len == 0) {
        return false;
    }
    while (text.len > 0) {
        size_t digits = 0;
        int64_t count = 0;
        while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9') {
            digits++;
        }
        if (digits == 0 || digits == text.len
            || !slice_to_i64(slice_of(text.ptr, digits), &count)) {
            return false;
        }
        size_t unit = least_unit;
        while (unit < countof(units) && units[unit].letter != text.ptr[digits]) {
            unit++;
        }
        if (unit == countof(units) || count > WALL_MS_MAX / units[unit].ms) {
            return false;
        }
        total_ms += count * units[unit].ms;
        if (total_ms > WALL_MS_MAX) {
            return false;
        }
        least_unit = unit + 1;
        text = slice_of(text.ptr + digits + 1, text.len - digits - 1);
    }
    *ms = total_ms;
    return true;
}

static bool
parse_date(struct slice text, int64_t *at_ms)
{
    char whole[32];
    if (text.len != sizeof("2026-11-21") - 1) {
        return false;
    }
    (void)snprintf(whole, sizeof(whole), "%.*sT00:00:00Z", (int)text.len, text.ptr);
    return civil_parse_rfc3339(slice_str(whole), at_ms);
}

bool
text_parse_when(struct slice text, int64_t now_ms, int sign, int64_t *at_ms)
{
    int64_t span_ms = 0;
    if (text_parse_duration(text, &span_ms)) {
        const int64_t at = now_ms + sign * span_ms;
        if (at < 0 || at > WALL_MS_MAX) {
            return false;
        }
        *at_ms = at;
        return true;
    }
    const bool past_day = slice_eq(text, SLICE("today")) || slice_eq(text, SLICE("yesterday"));
    if (sign < 0 && past_day) {
        *at_ms = now_ms - now_ms % DAY_MS - (text.ptr[0] == 'y' ? DAY_MS : 0);
        return *at_ms >= 0;
    }
    return parse_date(text, at_ms) || civil_parse_rfc3339(text, at_ms);
}

#define NEAR_MAX 24

/* Edits between two words, a swap of neighbours counting once; long words are never near. */
static size_t
distance(const char *a, const char *b)
{
    const size_t a_len = strlen(a);
    const size_t b_len = strlen(b);
    size_t rows[3][NEAR_MAX + 1] = { { 0 } };
    if (a_len > NEAR_MAX || b_len > NEAR_MAX) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3];
        const size_t *before = rows[(i + 1) % 3]; /* two above */
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            const size_t same = a[i - 1] == b[j - 1] ? 0 : 1;
            size_t least = above[j - 1] + same;
            least = above[j] + 1 < least ? above[j] + 1 : least;
            least = row[j - 1] + 1 < least ? row[j - 1] + 1 : least;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]
                && before[j - 2] + 1 < least) {
                least = before[j - 2] + 1;
            }
            row[j] = least;
        }
    }
    return rows[a_len % 3][b_len];
}

const char *
text_nearest(const char *text, const char *const *words, size_t count)
{
    const char *nearest = NULL;
    size_t least = strlen(text) > 4 ? 3 : 2; /* must be less than this */
    for (size_t i = 0; i < count; i++) {
        const size_t away = distance(text, words[i]);
        if (away < least) {
            least = away;
            nearest = words[i];
        }
    }
    return nearest;
}
