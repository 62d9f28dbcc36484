/* cli/sentences.c: a limit as a sentence, what its mode can promise (DESIGN section 4), and a price. Pure. */
#include "cli/cli_priv.h"

#include "base/civil.h"
#include "base/money.h"
#include "policy/zone.h"

static void
add_whose(struct buf *out, const struct limit *limit)
{
    switch (limit->per) {
    case PER_GATEWAY: buf_add_str(out, "all callers of this gateway together"); return;
    case PER_ACCOUNT: buf_add_str(out, "each account"); return;
    case PER_KEY: buf_add_str(out, "each key"); return;
    case PER_THREAD_TREE: buf_add_str(out, "each thread with all threads under it"); return;
    case PER_MODEL: buf_add_str(out, "all callers of one model together"); return;
    case PER_TIER: buf_add_str(out, "all callers of one tier of models together"); return;
    case PER_ACCOUNT_MODEL: buf_add_str(out, "each account with each model"); return;
    case PER_PLAN: buf_add_str(out, "all accounts of one plan together"); return;
    case PER_GROUP: buf_add_str(out, "all members of one group together"); return;
    case PER_ORGANISATION: buf_add_str(out, "all accounts of one organisation together"); return;
    case PER_TAG:
        buf_addf(out, "all calls with one value of the tag %s together",
            limit->tag_name ? limit->tag_name : "that it goes by");
        return;
    case PER_KIND_COUNT: return;
    }
}

static void
add_span(struct buf *out, int64_t ms)
{
    char text[32];
    civil_span(ms, text);
    buf_add_str(out, text);
}

static void
add_window(struct buf *out, const struct limit *limit)
{
    const bool shared = limit->per != PER_ACCOUNT && limit->per != PER_KEY
                        && limit->per != PER_THREAD_TREE && limit->per != PER_ACCOUNT_MODEL;
    switch (limit->window) {
    case WINDOW_DAY: buf_add_str(out, " a day"); return;
    case WINDOW_WEEK: buf_add_str(out, " a week (from Monday)"); return;
    case WINDOW_MONTH: buf_add_str(out, " a month"); return;
    case WINDOW_LIFETIME: buf_add_str(out, shared ? " in all" : " in its whole life"); return;
    case WINDOW_ROLLING:
        buf_add_str(out, " within any ");
        add_span(out, limit->span_ms);
        return;
    case WINDOW_FIRST_USE:
        buf_add_str(out, " within ");
        add_span(out, limit->span_ms);
        buf_add_str(out, " from the first call on");
        return;
    default: return;
    }
}

/* --- How much. */

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

static const char *
unit_of(const struct limit *limit, int64_t amount)
{
    const bool one = amount == 1;
    switch (limit->counts) {
    case COUNT_COST: return "";
    case COUNT_TOKENS: return one ? " token" : " tokens";
    case COUNT_REQUESTS: return one ? " request" : " requests";
    case COUNT_IN_FLIGHT: return one ? " call in flight" : " calls in flight";
    case COUNT_REPORTED: return " %";
    default: return " of them";
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
        buf_add_str(out, limit->counts == COUNT_REPORTED ? " %" : "");
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
    buf_add_str(out, verb_of(limit));
    add_amount(out, limit, limit->rate);
    buf_add_str(out, unit_of(limit, limit->rate));
    const char *period = NULL;
    for (size_t i = 0; i < countof(periods); i++) {
        period = periods[i].ms == limit->period_ms ? periods[i].word : period;
    }
    if (period) {
        buf_addf(out, " %s", period);
    } else {
        buf_add_str(out, " every ");
        add_span(out, limit->period_ms);
    }
    buf_add_str(out, ", at most ");
    add_amount(out, limit, limit->burst);
    buf_add_str(out, " at once");
}

/* What is reported is no amount that can be given out: it is compared. */
static void
add_reported(struct buf *out, const struct limit *limit)
{
    buf_add_str(out, "may start calls ");
    if (limit->cap_default == CAP_UNLIMITED) {
        buf_add_str(out, "whatever its provider reports");
    } else {
        buf_add_str(out, "until its provider reports ");
        add_amount(out, limit, limit->cap_default);
    }
    buf_add_str(out, " of the window of ");
    add_span(out, limit->span_ms);
    buf_add_str(out, limit->cap_default == CAP_UNLIMITED ? "" : " as used");
}

static void
add_default_cap(struct buf *out, const struct limit *limit)
{
    if (limit->counts == COUNT_REPORTED) {
        add_reported(out, limit);
        return;
    }
    buf_add_str(out, verb_of(limit));
    if (limit->cap_default == CAP_UNLIMITED) {
        buf_addf(out, "any %s%s", limit->counts == COUNT_COST ? "amount" : "number of",
            unit_of(limit, limit->cap_default));
        return;
    }
    add_amount(out, limit, limit->cap_default);
    buf_add_str(out, unit_of(limit, limit->cap_default));
    add_window(out, limit);
}

/* Who has another cap than all others. */
static void
add_caps(struct buf *out, const struct limit *limit)
{
    for (int32_t i = 0; i < limit->plan_cap_count; i++) {
        buf_addf(out, "%s%s ", i ? ", " : "; on plan ", limit->plan_caps[i].plan);
        add_amount(out, limit, limit->plan_caps[i].cap);
    }
    const char *before = limit->per == PER_GROUP ? "; group " : "; as a member of ";
    for (int32_t i = 0; i < limit->group_cap_count; i++) {
        buf_addf(out, "%s%s ", i ? ", " : before, limit->group_caps[i].plan);
        add_amount(out, limit, limit->group_caps[i].cap);
    }
    if (limit->group_cap_count > 1 && limit->per != PER_GROUP) {
        buf_addf(out, ", of several the %s", limit->combine == COMBINE_MAX ? "highest" : "lowest");
    }
    if (limit->set) {
        buf_addf(out, "; %s set for it goes before", limit->set);
    }
}

/* --- Which calls. */

static void
add_which(struct buf *out, const struct limit *limit)
{
    const char *tier = limit->of_tier == TIER_PREMIUM ? "premium" : "free";
    if (limit->of_model && limit->of_tier >= 0) {
        buf_addf(out, ", counting calls to %s while it is a %s model", limit->of_model, tier);
    } else if (limit->of_model) {
        buf_addf(out, ", counting calls to %s", limit->of_model);
    } else if (limit->of_tier >= 0) {
        buf_addf(out, ", counting %s models", tier);
    }
    if (limit->of_provider) {
        buf_addf(out, ", counting what %s serves", limit->of_provider);
    }
    for (int32_t i = 0; i < limit->weight_count; i++) {
        buf_addf(out, "%s%s as %lld", i ? ", " : ", counting one to ", limit->weights[i].model,
            (long long)limit->weights[i].units);
    }
    if (limit->zone && limit->zone->name) {
        buf_addf(out, " (by the clock of %s)", limit->zone->name);
    }
}

/* --- What then. */

static void
add_unknown(struct buf *out, const struct limit *limit)
{
    if (limit->counts != COUNT_REPORTED) {
        return;
    }
    if (limit->on_missing == FACT_DENY) {
        buf_add_str(out, "; nothing starts before the first report");
    }
    buf_add_str(out, "; a report older than ");
    add_span(out, limit->max_age_ms);
    buf_add_str(out, limit->on_stale == FACT_DENY    ? " lets nothing start"
                     : limit->on_stale == FACT_ALLOW ? " lets everything start"
                                                     : " counts as nothing used");
}

static void
add_at_cap(struct buf *out, const struct limit *limit)
{
    switch (limit->at_cap) {
    case AT_CAP_REFUSE: buf_add_str(out, "; what does not fit is refused"); return;
    case AT_CAP_PAUSE: buf_add_str(out, "; from then on nothing new starts"); return;
    case AT_CAP_QUEUE:
        buf_add_str(out, "; what does not fit waits up to ");
        add_span(out, limit->queue_ms);
        buf_add_str(out, ", then it is refused");
        return;
    case AT_CAP_DOWNGRADE:
    case AT_CAP_REROUTE:
        buf_addf(out, "; what does not fit goes to %s instead, where that fits", limit->substitute);
        return;
    case AT_CAP_WARN:
        buf_add_str(out, "; what does not fit starts all the same, and is told of");
        return;
    case AT_CAP_SHADOW:
        buf_add_str(out, "; what does not fit starts all the same, and is recorded");
        return;
    default: return;
    }
}

static void
add_warnings(struct buf *out, const struct limit *limit)
{
    for (int32_t i = 0; i < limit->warn_count; i++) {
        buf_addf(out, "%s%d %%",
            i == 0                      ? "; a warning goes out at "
            : i + 1 < limit->warn_count ? ", "
                                        : " and ",
            (int)limit->warn_pct[i]);
    }
}

void
limit_sentence(const struct limit *limit, struct buf *out)
{
    add_whose(out, limit);
    buf_add_char(out, ' ');
    if (limit->window == WINDOW_BUCKET) {
        add_rate(out, limit);
    } else {
        add_default_cap(out, limit);
        add_caps(out, limit);
    }
    add_which(out, limit);
    add_at_cap(out, limit);
    add_unknown(out, limit);
    add_warnings(out, limit);
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

static bool
counts_in_steps(const struct limit *limit)
{
    return limit->counts == COUNT_COST || limit->counts == COUNT_TOKENS;
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
    if (!limit_enforces(limit)) {
        return "watched";
    }
    if (counts_in_steps(limit) && limit->window == WINDOW_BUCKET) {
        return "rate";
    }
    return counts_in_steps(limit) ? modes[limit->hold] : "exact";
}

const char *
limit_claim(const struct limit *limit)
{
    if (limit->counts == COUNT_REPORTED) {
        return "what a provider reports of its own windows is a hint: no bound is claimed.";
    }
    if (limit->at_cap == AT_CAP_WARN || limit->at_cap == AT_CAP_SHADOW) {
        return "nothing is refused: it counts, and what passes the cap is told of or recorded.";
    }
    if (counts_in_steps(limit) && limit->window == WINDOW_BUCKET) {
        return "a call starts only if its estimated input and a first slice of output fit into what the rate\n"
               "has refilled; what it comes to beyond that is taken from the calls after it.";
    }
    if (!counts_in_steps(limit)) {
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
               "largest ever is tidegate_cap_overshoot_micro_usd_max in /metrics.";
    case HOLD_MODE_NONE: break;
    }
    return "calls start until what is settled has reached the cap; it may be passed by at most the calls\n"
           "in flight times the dearest call.";
}
