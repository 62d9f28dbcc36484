/* conf/value.c: texts to numbers. */
#include "conf/value_priv.h"

#include "base/money.h"

/* Takes leading digits off; false when there are none or they do not fit. */
static bool
take_number(struct slice *text, int64_t *value)
{
    size_t len = 0;
    while (len < text->len && text->ptr[len] >= '0' && text->ptr[len] <= '9') {
        len++;
    }
    if (len == 0 || !slice_to_i64(slice_of(text->ptr, len), value)) {
        return false;
    }
    *text = slice_of(text->ptr + len, text->len - len);
    return true;
}

/* Takes leading letters off. */
static struct slice
take_word(struct slice *text)
{
    size_t len = 0;
    while (len < text->len
           && ((text->ptr[len] >= 'a' && text->ptr[len] <= 'z')
               || (text->ptr[len] >= 'A' && text->ptr[len] <= 'Z'))) {
        len++;
    }
    const struct slice word = slice_of(text->ptr, len);
    *text = slice_of(len > 0 ? text->ptr + len : text->ptr, text->len - len);
    return word;
}

/* a * b + c for values that are not negative. */
static bool
multiply_add(int64_t a, int64_t b, int64_t c, int64_t *result)
{
    int64_t product = 0;
    return !__builtin_mul_overflow(a, b, &product) && !__builtin_add_overflow(product, c, result);
}

bool
value_count(struct slice text, int64_t *count)
{
    int64_t value = 0;
    if (!take_number(&text, &value) || text.len > 0) {
        return false;
    }
    *count = value;
    return true;
}

bool
value_duration(struct slice text, int64_t *ms)
{
    static const struct {
        const char *word;
        int64_t ms;
    } units[] = { { "d", DAY_MS }, { "h", HOUR_MS }, { "m", MINUTE_MS }, { "s", SECOND_MS },
        { "ms", 1 } };

    int64_t sum_ms = 0;
    size_t next_unit = 0; /* units fall, so that 5m2h is a slip and not a sum */
    do {
        int64_t value = 0;
        if (!take_number(&text, &value)) {
            return false;
        }
        const struct slice word = take_word(&text);
        while (next_unit < countof(units) && !slice_eq(slice_str(units[next_unit].word), word)) {
            next_unit++;
        }
        if (next_unit == countof(units)
            || !multiply_add(value, units[next_unit].ms, sum_ms, &sum_ms)) {
            return false;
        }
        next_unit++;
    } while (text.len > 0);
    *ms = sum_ms;
    return true;
}

bool
value_tokens(struct slice text, int64_t *tokens)
{
    int64_t value = 0;
    if (!take_number(&text, &value)) {
        return false;
    }
    if (text.len > 0 && !slice_eq(text, SLICE(" tokens"))) {
        return false;
    }
    *tokens = value;
    return true;
}

bool
value_bytes(struct slice text, int64_t *bytes)
{
    static const struct {
        const char *word;
        int64_t bytes;
    } units[] = { { "", 1 }, { "B", 1 }, { "KB", 1 << 10 }, { "MB", 1 << 20 }, { "GB", 1 << 30 } };

    int64_t value = 0;
    if (!take_number(&text, &value)) {
        return false;
    }
    for (size_t i = 0; i < countof(units); i++) {
        if (slice_eq(text, slice_str(units[i].word))) {
            return multiply_add(value, units[i].bytes, 0, bytes);
        }
    }
    return false;
}

bool
value_money(struct slice text, int64_t *micros)
{
    const struct slice usd = SLICE(" USD");
    const struct slice micro = SLICE(" micros");
    if (slice_ends(text, micro)) {
        return value_count(slice_of(text.ptr, text.len - micro.len), micros)
               && *micros <= MONEY_MICROS_MAX;
    }
    if (!slice_ends(text, usd)) {
        return false;
    }
    const struct slice number = slice_of(text.ptr, text.len - usd.len);
    int64_t up = 0;
    int64_t down = 0;
    if (number.len == 0 || number.ptr[0] == '-' || !money_parse(number, MONEY_UP, &up)
        || !money_parse(number, MONEY_DOWN, &down) || up != down) {
        return false;
    }
    *micros = up;
    return true;
}

bool
value_rate(struct slice text, int64_t *count, int64_t *period_ms)
{
    static const struct {
        const char *word;
        int64_t ms;
    } periods[] = { { "/s", SECOND_MS }, { "/min", MINUTE_MS }, { "/h", HOUR_MS },
        { "/day", DAY_MS } };

    if (!take_number(&text, count)) {
        return false;
    }
    for (size_t i = 0; i < countof(periods); i++) {
        if (slice_eq(text, slice_str(periods[i].word))) {
            *period_ms = periods[i].ms;
            return true;
        }
    }
    return false;
}

bool
value_name(struct slice text, const char *more, size_t bytes_max)
{
    if (text.len == 0 || text.len > bytes_max) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        const char c = text.ptr[i];
        const bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (i == 0 || c == '\0' || !strchr(more, c))) {
            return false;
        }
    }
    return true;
}
