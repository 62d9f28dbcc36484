/* cli/amount.c: amounts as people type them: '5 USD', '$5', '5000 micros', or a plain number. */
#include "cli/cli_priv.h"

#include "base/money.h"

/* False: it is no amount of money. */
static bool
money_of(struct slice text, int64_t *micros, bool *too_fine)
{
    const struct slice usd = SLICE(" USD");
    const struct slice micro = SLICE(" micros");
    int64_t down_micros = 0;
    if (slice_ends(text, micro)) {
        return slice_to_i64(slice_of(text.ptr, text.len - micro.len), micros);
    }
    const bool minus = slice_starts(text, SLICE("-$"));
    if (slice_ends(text, usd)) {
        text.len -= usd.len;
    } else if (slice_starts(text, SLICE("$")) || minus) {
        text = slice_of(text.ptr + 1 + minus, text.len - 1 - minus);
    } else {
        return false;
    }
    if (!money_parse(text, MONEY_UP, micros) || !money_parse(text, MONEY_DOWN, &down_micros)) {
        return false;
    }
    *too_fine = *micros != down_micros;
    *micros = minus ? -*micros : *micros;
    return true;
}

static bool
in_range(const struct amount *amount, int64_t value)
{
    char most[40];
    money_text(MONEY_MICROS_MAX, most);
    if (value > MONEY_MICROS_MAX || value < -MONEY_MICROS_MAX) {
        (void)cli_fail("%s: %s is too large: %lld at the most, of money %s; this is '%s'",
            amount->command, amount->option, (long long)MONEY_MICROS_MAX, most, amount->text);
        return false;
    }
    if (value == 0 || (value < 0 && !amount->either_way)) {
        (void)cli_fail("%s: %s must %s; this is '%s'", amount->command, amount->option,
            amount->either_way ? "not be 0" : "be above 0", amount->text);
        return false;
    }
    return true;
}

bool
amount_add(
    struct buf *body, const struct amount *amount, const char *money_key, const char *unit_key)
{
    const struct slice typed = slice_str(amount->text);
    const bool plus = amount->either_way && slice_starts(typed, SLICE("+"));
    const struct slice text = plus ? slice_of(typed.ptr + 1, typed.len - 1) : typed;
    int64_t value = 0;
    bool too_fine = false;
    const bool units = slice_to_i64(text, &value);
    if (!units && !money_of(text, &value, &too_fine)) {
        (void)cli_fail("%s: %s wants " AMOUNT_OF_MONEY ", or " AMOUNT_OF_UNITS
                       " where the limit counts something else; this is '%s'",
            amount->command, amount->option, amount->text);
        return false;
    }
    if (too_fine) {
        (void)cli_fail("%s: %s: money has at most six decimals, micro-USD; this is '%s'",
            amount->command, amount->option, amount->text);
        return false;
    }
    if (!in_range(amount, value)) {
        return false;
    }
    body_add_number(body, units ? unit_key : money_key, value);
    return true;
}
