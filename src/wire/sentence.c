/* wire/sentence.c: the one sentence about a refusal that every surface shows. */
#include <stdio.h>

#include "base/civil.h"
#include "base/money.h"
#include "tbl/counts.h"
#include "wire/refusal_priv.h"

bool
refusal_has_limit(const struct refusal *refusal)
{
    return refusal->limit_name[0] != '\0' && refusal->reason != REASON_CANNOT_BOUND;
}

/* Sums that belong to many are nobody's to read but as a share. */
bool
refusal_shared_limit(const struct refusal *refusal)
{
    return per_is_shared((enum per_kind)refusal->per);
}

#define PERCENT_MAX 100000 /* more is beyond telling */

int64_t
refusal_percent(const struct refusal *refusal)
{
    int64_t taken = max_i64(0, money_add(refusal->used, refusal->held));
    int64_t cap = refusal->cap;
    if (refusal->counts == COUNT_REPORTED) {
        return min_i64(
            (taken + MILLI_PCT / 2) / MILLI_PCT, PERCENT_MAX); /* it is a share by itself */
    }
    if (cap <= 0) {
        return 100;
    }
    if (cap > INT64_MAX / 100) { /* both alike, so that a hundred times the rest fits */
        cap /= 100;
        taken /= 100;
    }
    if (taken / cap >= PERCENT_MAX / 100) {
        return PERCENT_MAX;
    }
    return taken / cap * 100 + taken % cap * 100 / cap;
}

static void
add_quoted(struct buf *out, struct slice text)
{
    buf_add_char(out, '"');
    buf_add_slice(out, text);
    buf_add_char(out, '"');
}

#define MICROS_PER_CENT 10000

/* Money as a refusal tells it: to the micro below a dollar, in cents above; what is used rounds down and what
 * is needed rounds up, so that sums never seem to fit where they do not, nor the other way round. */
static void
add_money(struct buf *out, int64_t micros, enum money_round round)
{
    char text[40];
    if (micros > 0 && micros < MICROS_PER_USD) {
        char digits[8];
        (void)snprintf(digits, sizeof(digits), "%06d", (int)micros);
        size_t len = 6;
        while (len > 2 && digits[len - 1] == '0') {
            len--;
        }
        buf_add_str(out, "$0.");
        buf_add(out, digits, len);
        return;
    }
    const int64_t rest = micros % MICROS_PER_CENT;
    const int64_t up = round == MONEY_UP && rest > 0 ? MICROS_PER_CENT - rest : -rest;
    money_text(micros + up, text);
    buf_add_str(out, text);
}

static void
add_amount(struct buf *out, const struct refusal *refusal, int64_t amount, enum money_round round)
{
    if (refusal->counts == COUNT_COST) {
        add_money(out, amount, round);
    } else {
        buf_add_i64(out, amount);
    }
}

/* Whose the limit is: `Account "ada"`, `This key of account "ada"`, `This thread ...`. */
static void
add_subject(struct buf *out, const struct refusal *refusal, struct slice account)
{
    if (refusal->per == PER_THREAD_TREE) {
        buf_add_str(out, "This thread with all under it");
        return;
    }
    if (refusal->per == PER_KEY) {
        buf_add_str(out, account.len > 0 ? "This key of account " : "This key");
    } else {
        buf_add_str(out, account.len > 0 ? "Account " : "This account");
    }
    if (account.len > 0) {
        add_quoted(out, account);
    }
    if (refusal->per == PER_ACCOUNT_MODEL) {
        buf_add_str(out, " with this model");
    }
}

static const char *
unit_of(const struct refusal *refusal)
{
    switch (refusal->counts) {
    case COUNT_COST: return "";
    case COUNT_TOKENS: return " tokens";
    case COUNT_IN_FLIGHT: return " calls in flight";
    default: return " requests";
    }
}

static void
add_time(struct buf *out, int64_t at_ms)
{
    const int64_t minute_ms = (at_ms + MINUTE_MS - 1) / MINUTE_MS * MINUTE_MS; /* never too early */
    const struct civil at = civil_from_ms(minute_ms);
    buf_addf(out, "%04d-%02d-%02d %02d:%02d UTC", at.year, at.month, at.day, at.hour, at.minute);
}

/* Windows that nobody can read from a calendar. */
static void
add_window(struct buf *out, const struct refusal *refusal)
{
    char span[32];
    civil_span(max_i64(0, refusal->span_ms), span);
    if (refusal->window == WINDOW_ROLLING && refusal->span_ms > 0) {
        buf_addf(out, " within the last %s", span);
    } else if (refusal->window == WINDOW_FIRST_USE && refusal->resets_at_ms > 0) {
        buf_addf(out, " in its window of %s, which lasts until ", span);
        add_time(out, refusal->resets_at_ms);
    } else if (refusal->window == WINDOW_BUCKET) {
        buf_add_str(out, " that its rate allows at once");
    }
}

/* What this call would take, where that is not plain. */
static void
add_ask(struct buf *out, const struct refusal *refusal)
{
    const bool amount = refusal->counts == COUNT_COST || refusal->counts == COUNT_TOKENS;
    if (amount && refusal->ask > 0 && refusal->used < refusal->cap) {
        buf_add_str(out, "; this call needs ");
        add_amount(out, refusal, refusal->ask, MONEY_UP);
    } else if (refusal->counts == COUNT_REQUESTS && refusal->ask > 1) {
        buf_addf(out, "; this call counts as %lld", (long long)refusal->ask);
    }
}

/* `has spent $5.00 of $5.00`; what is held is told apart: it may come back. */
static void
add_sums(struct buf *out, const struct refusal *refusal)
{
    const bool money = refusal->counts == COUNT_COST;
    const bool in_flight = refusal->counts == COUNT_IN_FLIGHT;
    buf_add_str(out, money ? " has spent " : in_flight ? " has " : " has used ");
    const bool apart = refusal->held > 0 && !in_flight;
    add_amount(
        out, refusal, apart ? refusal->used : money_add(refusal->used, refusal->held), MONEY_DOWN);
    buf_add_str(out, " of ");
    add_amount(out, refusal, refusal->cap, MONEY_DOWN);
    buf_add_str(out, unit_of(refusal));
    add_window(out, refusal);
    if (apart) {
        buf_add_str(out, ", and calls in flight hold ");
        add_amount(out, refusal, refusal->held, MONEY_DOWN);
    }
    add_ask(out, refusal);
}

/* With whom the caller shares it, so that nobody takes others' use for the own. */
static const char *
sharers_of(const struct refusal *refusal)
{
    switch (refusal->per) {
    case PER_GROUP: return "your group";
    case PER_ORGANISATION: return "your organisation";
    case PER_PLAN: return "all accounts of your plan";
    case PER_MODEL: return "all callers of this model";
    case PER_TIER: return "all callers of such models";
    case PER_TAG: return "all calls with this tag";
    default: return "others";
    }
}

/* `has used 92 % of its session window, and its threshold is 90 %`. */
static void
add_threshold(struct buf *out, const struct refusal *refusal, struct slice account)
{
    if (refusal->reason == REASON_USAGE_UNKNOWN) {
        buf_add_str(out, reason_row(refusal->reason)->sentence);
        out->len -= 1; /* the limit's name comes before the stop */
        return;
    }
    add_subject(out, refusal, account);
    buf_addf(out,
        " has used %lld %% of its %s, as its provider reports, and the threshold is %lld %%",
        (long long)refusal_percent(refusal),
        refusal->reason == REASON_SESSION_THRESHOLD ? "session window" : "week",
        (long long)(refusal->cap / MILLI_PCT));
}

/* Whether there is room, only not for this one: nothing is spent or used up then. */
static bool
is_too_large(const struct refusal *refusal)
{
    const bool taken = refusal->reason == REASON_COST_SPENT
                       || refusal->reason == REASON_TOKENS_SPENT || refusal->reason == REASON_RATE;
    return taken && refusal->used < refusal->cap
           && refusal->ask > (refusal->counts == COUNT_REQUESTS ? 1 : 0);
}

/* Of a limit that many share: what is wrong, without its sums. */
static void
add_wrong(struct buf *out, const struct refusal *refusal)
{
    if (!is_too_large(refusal)) {
        buf_add_str(out, reason_row(refusal->reason)->sentence);
        return;
    }
    if (refusal->counts == COUNT_REQUESTS) {
        buf_addf(
            out, "This call counts as %lld requests, which is more than ", (long long)refusal->ask);
    } else {
        buf_add_str(out, "This call needs more than ");
    }
    buf_add_str(out, refusal_never_fits(refusal) ? "the whole of " : "what is left of ");
    buf_add_str(out, refusal->counts == COUNT_COST     ? "the budget."
                     : refusal->counts == COUNT_TOKENS ? "the token allowance."
                                                       : "the allowance.");
}

static void
add_limit(struct buf *out, const struct refusal *refusal, struct slice account)
{
    if (refusal_shared_limit(refusal)) {
        add_wrong(out, refusal);
        buf_addf(out, " A limit shared %s %s", refusal->per == PER_GATEWAY ? "with" : "by",
            sharers_of(refusal));
        if (refusal->per == PER_GROUP && refusal->about[0]) {
            buf_add_char(out, ' ');
            add_quoted(out, slice_str(refusal->about));
        }
        buf_addf(out, " is at %lld %%", (long long)refusal_percent(refusal));
    } else if (refusal->counts == COUNT_REPORTED) {
        add_threshold(out, refusal, account);
    } else {
        add_subject(out, refusal, account);
        add_sums(out, refusal);
    }
    buf_add_str(out, " (limit ");
    add_quoted(out, slice_str(refusal->limit_name));
    buf_add_str(out, ").");
}

/* When a call like this one fits again; of a window from first use the sums have told it already. */
static void
add_opening(struct buf *out, const struct refusal *refusal, int64_t wait_s, int64_t now_ms)
{
    const bool limited = refusal_has_limit(refusal);
    const bool own = limited && !refusal_shared_limit(refusal);
    if (wait_s > 0 && own && refusal->window == WINDOW_FIRST_USE && refusal->resets_at_ms > 0) {
        return;
    }
    if (wait_s > 0) {
        const bool slides = limited && refusal->window == WINDOW_ROLLING;
        const bool known = refusal->resets_at_ms > now_ms;
        buf_add_str(out, slides ? " The same call fits again on " : " It opens again on ");
        add_time(out, known ? refusal->resets_at_ms : now_ms + wait_s * SECOND_MS);
        buf_add_char(out, '.');
    } else if (limited) {
        buf_add_str(out, refusal->window == WINDOW_LIFETIME ? " It does not reset by itself."
                                                            : " Waiting does not help.");
    }
}

/* When it opens, and whom to ask where waiting is not all there is to it. */
static void
add_remedy(struct buf *out, const struct refusal *refusal, int64_t now_ms)
{
    const enum reason_class class_ = refusal_class(refusal);
    if (class_ != REASON_CLASS_SPENT && class_ != REASON_CLASS_WAIT) {
        return;
    }
    const int64_t wait_s = refusal_retry_after_s(refusal, now_ms);
    if (refusal->reason == REASON_USAGE_UNKNOWN) {
        buf_add_str(out, " It opens with the next report.");
        return;
    }
    if (class_ == REASON_CLASS_WAIT && !refusal_never_fits(refusal) && wait_s <= WAIT_TOLD_S_MAX) {
        buf_addf(out, " Try again in %lld s.", (long long)(wait_s > 0 ? wait_s : WAIT_UNKNOWN_S));
        return;
    }
    add_opening(out, refusal, wait_s, now_ms);
    if (refusal->counts == COUNT_REPORTED && refusal_has_limit(refusal)) {
        buf_add_str(out, " A higher threshold lets work start before.");
    } else if (refusal_has_limit(refusal) && refusal_shared_limit(refusal)
               && refusal->counts != COUNT_REQUESTS && is_too_large(refusal)) {
        buf_add_str(out, " Send a smaller one, or ask your operator to raise it.");
    } else if (refusal_has_limit(refusal)) {
        buf_add_str(out, " Ask your operator to raise it.");
    } else if (class_ == REASON_CLASS_SPENT) {
        buf_add_str(out, " Ask your operator.");
    }
}

/* Which limit wants a bound, and what has none. */
static void
add_unbounded(struct buf *out, const struct refusal *refusal)
{
    buf_add_str(out, "The cost of this call cannot be bounded");
    if (refusal->about[0]) {
        buf_add_str(out, ": what ");
        add_quoted(out, slice_str(refusal->about));
        buf_add_str(out, " in it costs is not known");
    }
    if (refusal->limit_name[0]) {
        buf_add_str(out, refusal->about[0] ? ", and the limit " : ", as the limit ");
        add_quoted(out, slice_str(refusal->limit_name));
        buf_add_str(out, refusal->about[0] ? " is strict" : " wants");
    }
    buf_add_str(out, refusal->about[0] ? ". Send it without." : ".");
}

void
refusal_sentence(const struct refusal *refusal, struct slice detail, struct slice account,
    int64_t now_ms, struct buf *out)
{
    if (refusal_has_limit(refusal)) {
        add_limit(out, refusal, account);
    } else if (refusal->reason == REASON_CANNOT_BOUND && detail.len == 0) {
        add_unbounded(out, refusal);
    } else {
        struct slice sentence = slice_str(reason_row(refusal->reason)->sentence);
        if (detail.len > 0 && slice_ends(sentence, SLICE("."))) {
            sentence.len--;
        }
        buf_add_slice(out, sentence);
        if (detail.len > 0) {
            buf_add_str(out, ": ");
            buf_add_slice(out, detail);
            buf_add_str(out, slice_ends(detail, SLICE(".")) ? "" : ".");
        }
    }
    add_remedy(out, refusal, now_ms);
}
