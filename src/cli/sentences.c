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
    case PER_MODEL: return "each model, whoever calls it,";
    case PER_ACCOUNT_MODEL: return "each account, of each model,";
    case PER_PLAN: return "all accounts of one plan together";
    case PER_GROUP: return "all members of one group together";
    case PER_TAG: return "all calls of one tag together";
    case PER_TIER: return "all callers of one tier of models together";
    case PER_ORGANISATION: return "all of one organisation together";
    default: return per_word(per);
    }
}

static void
add_window(struct buf *out, const struct limit *limit)
{
    char span[32];
    text_duration(limit->span_ms, span);
    switch (limit->window) {
    case WINDOW_DAY: buf_add_str(out, " a day"); return;
    case WINDOW_WEEK: buf_add_str(out, " a week (from Monday)"); return;
    case WINDOW_MONTH: buf_add_str(out, " a month"); return;
    case WINDOW_LIFETIME: buf_add_str(out, " in its whole life"); return;
    case WINDOW_ROLLING: buf_addf(out, " within any %s", span); return;
    case WINDOW_FIRST_USE: buf_addf(out, " within %s from the first call", span); return;
    default: return;
    }
}

static const char *
unit_of(const struct limit *limit)
{
    switch (limit->counts) {
    case COUNT_TOKENS: return " tokens";
    case COUNT_REQUESTS: return limit->weight_count > 0 ? " requests by weight" : " requests";
    case COUNT_IN_FLIGHT: return " calls in flight";
    case COUNT_REPORTED: return " % of what is reported";
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
    buf_add_str(out, limit->counts == COUNT_REQUESTS ? "may make " : "may use ");
    add_amount(out, limit, limit->rate);
    buf_addf(out, "%s %s, at most ", unit_of(limit), unit);
    add_amount(out, limit, limit->burst);
    buf_add_str(out, " at once");
}

static const char *
verb_of(const struct limit *limit)
{
    switch (limit->counts) {
    case COUNT_COST: return "may spend ";
    case COUNT_REQUESTS: return "may make ";
    case COUNT_IN_FLIGHT: return "may have ";
    default: return "may use ";
    }
}

static void
add_cap(struct buf *out, const struct limit *limit)
{
    const char *than = "; on plan ";
    buf_add_str(out, verb_of(limit));
    if (limit->cap_default == CAP_UNLIMITED) {
        buf_addf(
            out, "any %s%s", limit->counts == COUNT_COST ? "amount" : "number of", unit_of(limit));
    } else {
        add_amount(out, limit, limit->cap_default);
        buf_add_str(out, unit_of(limit));
        add_window(out, limit);
    }
    for (int32_t i = 0; i < limit->plan_cap_count; i++, than = ", ") {
        buf_addf(out, "%s%s ", than, limit->plan_caps[i].plan);
        add_amount(out, limit, limit->plan_caps[i].cap);
    }
    than = limit->combine == COMBINE_MAX ? "; in several groups the most of: " : "; in group ";
    for (int32_t i = 0; i < limit->group_cap_count; i++, than = ", ") {
        buf_addf(out, "%s%s ", than, limit->group_caps[i].plan);
        add_amount(out, limit, limit->group_caps[i].cap);
    }
}

static void
add_end(struct buf *out, const struct limit *limit)
{
    char queue[32];
    switch (limit->at_cap) {
    case AT_CAP_REFUSE: buf_add_str(out, "; what does not fit is refused"); return;
    case AT_CAP_QUEUE:
        text_duration(limit->queue_ms, queue);
        buf_addf(out, "; what does not fit waits for up to %s, then it is refused", queue);
        return;
    case AT_CAP_PAUSE: buf_add_str(out, "; from then on nothing new starts"); return;
    case AT_CAP_REROUTE:
    case AT_CAP_DOWNGRADE:
        buf_addf(out, "; what does not fit goes to %s, where that fits", limit->substitute);
        return;
    case AT_CAP_WARN: buf_add_str(out, "; beyond it a warning goes out, and nothing stops"); return;
    case AT_CAP_SHADOW:
        buf_add_str(out, "; what it would refuse is recorded, and nothing stops");
        return;
    default: return;
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
    if (limit->of_provider) {
        buf_addf(out, ", counting what %s serves", limit->of_provider);
    }
    if (limit->zone && limit->zone->name) {
        buf_addf(out, " (by the clock of %s)", limit->zone->name);
    }
    add_end(out, limit);
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
    if (limit->counts == COUNT_REPORTED) {
        return "reported";
    }
    return limit->counts == COUNT_COST || limit->counts == COUNT_TOKENS ? modes[limit->hold]
                                                                        : "exact";
}

const char *
limit_claim(const struct limit *limit)
{
    if (limit->counts == COUNT_REPORTED) {
        return "what a provider reports of its own windows, and of packages, is a hint: no bound is claimed.";
    }
    if (limit->counts != COUNT_COST && limit->counts != COUNT_TOKENS) {
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
               "billed beyond the held part: the number is told above where it is finite. The largest ever\n"
               "observed is tidegate_cap_overshoot_micro_usd_max in /metrics.";
    case HOLD_MODE_NONE: break;
    }
    return "calls start until the settled cost has reached the cap; it may be passed by at most the calls\n"
           "in flight times the dearest call.";
}
