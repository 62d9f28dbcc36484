/* base/money.c: decimals to integers and back, digit by digit. */
#include "base/money.h"

#include <stdio.h>

/* Far beyond the length of any slice: an exponent held here over- or underflows any digits. */
#define EXPONENT_MAX     INT64_C(1000000000000000)
#define SCALE_DIGITS_MAX 18

/* A decimal taken apart: `whole`.`fraction` times ten to the `exponent`. */
struct decimal {
    bool negative;
    struct slice whole, fraction;
    int64_t exponent;
};

static struct slice
take_digits(struct slice *text)
{
    size_t len = 0;
    while (len < text->len && text->ptr[len] >= '0' && text->ptr[len] <= '9') {
        len++;
    }
    const struct slice digits = slice_of(text->ptr, len);
    *text = slice_of(text->len > 0 ? text->ptr + len : text->ptr, text->len - len);
    return digits;
}

static bool
take_exponent(struct slice *text, int64_t *exponent)
{
    const bool negative = slice_take_char(text, '-');
    if (!negative) {
        (void)slice_take_char(text, '+');
    }
    const struct slice digits = take_digits(text);
    int64_t value = 0;
    for (size_t i = 0; i < digits.len; i++) {
        value = min_i64(EXPONENT_MAX, value * 10 + (digits.ptr[i] - '0'));
    }
    *exponent = negative ? -value : value;
    return digits.len > 0;
}

static bool
decimal_parse(struct slice text, struct decimal *decimal)
{
    *decimal = (struct decimal){ 0 };
    decimal->negative = slice_take_char(&text, '-');
    decimal->whole = take_digits(&text);
    if (decimal->whole.len == 0) {
        return false;
    }
    if (slice_take_char(&text, '.')) {
        decimal->fraction = take_digits(&text);
        if (decimal->fraction.len == 0) {
            return false;
        }
    }
    if (slice_take_char(&text, 'e') || slice_take_char(&text, 'E')) {
        if (!take_exponent(&text, &decimal->exponent)) {
            return false;
        }
    }
    return text.len == 0;
}

/* A sum being built from the most significant digit down. */
struct tally {
    int64_t value; /* <= MONEY_MICROS_MAX */
    bool inexact;  /* a digit that counts lay below the last place */
};

static bool
tally_shift(struct tally *tally, int64_t digit)
{
    if (tally->value > (MONEY_MICROS_MAX - digit) / 10) {
        return false;
    }
    tally->value = tally->value * 10 + digit;
    return true;
}

/* `place` is the power of ten of the first digit of the run. */
static bool
tally_digits(struct tally *tally, struct slice digits, int64_t place)
{
    for (size_t i = 0; i < digits.len; i++, place--) {
        const int64_t digit = digits.ptr[i] - '0';
        if (place < 0) {
            tally->inexact = tally->inexact || digit != 0;
        } else if (!tally_shift(tally, digit)) {
            return false;
        }
    }
    return true;
}

bool
money_parse_scaled(struct slice text, int digits, enum money_round round, int64_t *value)
{
    check(digits >= -SCALE_DIGITS_MAX && digits <= SCALE_DIGITS_MAX);

    struct decimal decimal;
    if (!decimal_parse(text, &decimal)) {
        return false;
    }
    const int64_t point = decimal.exponent + digits; /* the place left of it is worth 10^point */
    struct tally tally = { 0, false };
    if (!tally_digits(&tally, decimal.whole, point + (int64_t)decimal.whole.len - 1)
        || !tally_digits(&tally, decimal.fraction, point - 1)) {
        return false;
    }
    /* Places below the last digit written are zeros; at most 18 before the sum is too large. */
    const int64_t zeros = tally.value == 0 ? 0 : point - (int64_t)decimal.fraction.len;
    for (int64_t i = 0; i < zeros; i++) {
        if (!tally_shift(&tally, 0)) {
            return false;
        }
    }
    if (tally.inexact && (round == MONEY_UP) != decimal.negative) {
        if (tally.value == MONEY_MICROS_MAX) {
            return false;
        }
        tally.value++; /* away from zero: up for a positive, down for a negative amount */
    }
    *value = decimal.negative ? -tally.value : tally.value;
    return true;
}

bool
money_parse(struct slice text, enum money_round round, int64_t *micros)
{
    return money_parse_scaled(text, 6, round, micros);
}

/* "1234567" -> "1,234,567"; returns where the text starts within out. */
static const char *
group_thousands(uint64_t value, char out[32])
{
    size_t start = 31;
    out[start] = '\0';
    int digit_count = 0;
    do {
        if (digit_count > 0 && digit_count % 3 == 0) {
            out[--start] = ',';
        }
        out[--start] = (char)('0' + value % 10);
        value /= 10;
        digit_count++;
    } while (value > 0);
    return out + start;
}

void
money_text(int64_t micros, char out[40])
{
    const char *sign = micros < 0 ? "-" : "";
    const uint64_t magnitude = micros < 0 ? 0 - (uint64_t)micros : (uint64_t)micros;
    if (magnitude > 0 && magnitude < 100) {
        (void)snprintf(out, 40, "%s", micros < 0 ? ">-$0.0001" : "<$0.0001");
        return;
    }
    if (magnitude > 0 && magnitude < 10000) {
        const unsigned tenths_of_mills = (unsigned)((magnitude + 50) / 100);
        (void)snprintf(out, 40, "%s$0.%04u", sign, tenths_of_mills);
        return;
    }
    const uint64_t cents = magnitude / 10000 + (magnitude % 10000 >= 5000 ? 1 : 0);
    char dollars[32];
    (void)snprintf(out, 40, "%s$%s.%02u", sign, group_thousands(cents / 100, dollars),
        (unsigned)(cents % 100));
}
