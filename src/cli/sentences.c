/* cli/sentences.c: a limit as a sentence, what its mode can promise (DESIGN section 4), and a price. Pure. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/money.h"
#include "policy/zone.h"

static const char *
whose(enum per_kind per)
{
    switch (per) {
    case PER_GATEWAY: return "all callers of this gateway together";
    case PER_ACCOUNT: return "each account";
    case PER_KEY: return "each key";
    case PER_THREAD_TREE: return "each thread with all threads under it";
    case PER_MODEL: return "each model";
    default: return per_word(per);
    }
}

static const char *
over(enum window_kind window)
{
    switch (window) {
    case WINDOW_DAY: return " a day";
    case WINDOW_WEEK: return " a week (from Monday)";
    case WINDOW_MONTH: return " a month";
    case WINDOW_LIFETIME: return " in its whole life";
    default: return "";
    }
}

static void
add_amount(struct buf *out, const struct limit *limit, int64_t amount)
{
    if (amount == CAP_UNLIMITED) {
        buf_add_str(out, "without a cap");
    } else if (limit->counts == COUNT_COST) {
        char text[40];
        money_text(amount, text);
        buf_add_str(out, text);
    } else {
        buf_add_i64(out, amount);
    }
}

static void
add_rate(struct buf *out, const struct limit *limit)
{
    static const struct {
        int64_t ms;
        const char *word;
    } periods[] = { { SECOND_MS, "a second" }, { MINUTE_MS, "a minute" }, { HOUR_MS, "an hour" },
        { DAY_MS, "a day" } };
    char every[32];
    char period[48];
    text_duration(limit->period_ms, every);
    (void)snprintf(period, sizeof(period), "every %s", every);
    const char *unit = period;
    for (size_t i = 0; i < countof(periods); i++) {
        unit = periods[i].ms == limit->period_ms ? periods[i].word : unit;
    }
    buf_addf(out, "may make %lld requests %s, at most %lld at once", (long long)limit->rate, unit,
        (long long)limit->burst);
}

static void
add_cap(struct buf *out, const struct limit *limit)
{
    if (limit->cap_default == CAP_UNLIMITED) {
        buf_add_str(out, limit->counts == COUNT_COST ? "may spend any amount"
                                                     : "may have any number of calls in flight");
    } else if (limit->counts == COUNT_COST) {
        buf_add_str(out, "may spend ");
        add_amount(out, limit, limit->cap_default);
        buf_add_str(out, over(limit->window));
    } else {
        buf_add_str(out, "may have ");
        add_amount(out, limit, limit->cap_default);
        buf_add_str(out, " calls in flight");
    }
    for (int32_t i = 0; i < limit->plan_cap_count; i++) {
        buf_addf(out, "%s%s ", i ? ", " : "; on plan ", limit->plan_caps[i].plan);
        add_amount(out, limit, limit->plan_caps[i].cap);
    }
}

void
limit_sentence(const struct limit *limit, struct buf *out)
{
    buf_add_str(out, whose(limit->per));
    buf_add_char(out, ' ');
    if (limit->window == WINDOW_BUCKET) {
        add_rate(out, limit);
    } else {
        add_cap(out, limit);
    }
    if (limit->of_model && limit->of_tier >= 0) {
        buf_addf(out, ", counting calls to %s while it is a %s model", limit->of_model,
            limit->of_tier == TIER_PREMIUM ? "premium" : "free");
    } else if (limit->of_model) {
        buf_addf(out, ", counting calls to %s", limit->of_model);
    } else if (limit->of_tier >= 0) {
        buf_addf(out, ", counting %s models", limit->of_tier == TIER_PREMIUM ? "premium" : "free");
    }
    if (limit->zone && limit->zone->name) {
        buf_addf(out, " (by the clock of %s)", limit->zone->name);
    }
    buf_add_str(out, limit->at_cap == AT_CAP_REFUSE ? "; what does not fit is refused" : "");
}

static void
add_price(struct buf *out, const char *before, int64_t micros_per_mtok, const char *after)
{
    char text[40];
    money_text(micros_per_mtok, text);
    buf_addf(out, "%s%s%s", before, micros_per_mtok < 0 ? "nothing" : text, after);
}

void
price_sentence(const struct price_set *set, struct buf *out)
{
    add_price(out, "", set->input, " in");
    add_price(out, ", ", set->output, " out");
    add_price(out, "; cached ", set->cache_read, " read");
    add_price(out, ", ", set->cache_write_5m, " written");
    add_price(out, ", ", set->cache_write_1h, " for an hour");
}

const char *
limit_mode(const struct limit *limit)
{
    static const char *const modes[] = {
        [HOLD_MODE_STREAM] = "stream", [HOLD_MODE_STRICT] = "strict", [HOLD_MODE_NONE] = "none"
    };
    return limit->counts == COUNT_COST ? modes[limit->hold] : "exact";
}

const char *
limit_claim(const struct limit *limit)
{
    if (limit->counts != COUNT_COST) {
        return "what is over the cap does not start.";
    }
    switch (limit->hold) {
    case HOLD_MODE_STRICT:
        return "settled cost never passes the cap, provided prices are not below the provider's, the\n"
               "provider honours the output limit we send, and every price-bearing field is known; what\n"
               "cannot be bounded is refused.";
    case HOLD_MODE_STREAM:
        return "a call starts only if its estimated input and a first slice of output fit. The cap may be\n"
               "passed by at most the sum, over calls in flight, of real minus estimated input, plus output\n"
               "billed beyond the held part: not bounded by a number, since estimates are learned. The\n"
               "largest ever observed is tidegate_cap_overshoot_micro_usd_max in /metrics.";
    case HOLD_MODE_NONE: break;
    }
    return "calls start until the settled cost has reached the cap; it may be passed by at most the calls\n"
           "in flight times the dearest call.";
}
