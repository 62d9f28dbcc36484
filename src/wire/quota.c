/* wire/quota.c: what an upstream's answer means for its route. */
#include "wire/quota.h"

#include "wire/json.h"
#include "wire/quota_priv.h"

const char *
upstream_class_word(enum upstream_class class_)
{
    static const char *const words[] = {
#define UPSTREAM_WORD(name, word) word,
        UPSTREAM_CLASSES(UPSTREAM_WORD)
#undef UPSTREAM_WORD
    };
    check((size_t)class_ < countof(words));
    return words[class_];
}

/* Codes that tell a spent allowance from a rate that refills. Sources: spec/wire.md section 4,
 * spec/api-conventions.md section 6.5. */
static const char *const spent_codes[] = {
    "insufficient_quota",
    "enforced_spend_limit_reached",
    "billing_error",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "usage_limit_reached",
    "usage_not_included",
    "billing_hard_limit_reached",
    "out_of_credits",
};

static bool
says_spent(struct slice body)
{
    static const char *const places[] = { "code", "type", "details.error_code" };
    const struct slice error = quota_error_object(body);
    struct json_value value;
    for (size_t place = 0; place < countof(places); place++) {
        if (!json_get(error, places[place], &value)) {
            continue;
        }
        for (size_t i = 0; i < countof(spent_codes); i++) {
            if (json_says(value, slice_str(spent_codes[i]))) {
                return true;
            }
        }
    }
    return false;
}

/* Credit that is only promised elsewhere comes back: OpenRouter's in-flight budget. */
static bool
is_transient_402(const struct http_head *head, struct slice body)
{
    struct json_value value;
    return http_find(head, SLICE("retry-after")) != NULL
           || (json_get(quota_error_object(body), "metadata.reason", &value)
               && json_says(value, SLICE("in_flight_budget_exhausted")));
}

/* A 400 by which Anthropic tells that a spend limit of the customer's own account is reached. */
static bool
is_spend_400(enum dialect dialect, struct slice body)
{
    struct json_value message;
    if (dialect != DIALECT_ANTHROPIC || !json_get(quota_error_object(body), "message", &message)
        || message.type != JSON_STRING) {
        return false;
    }
    return slice_find(message.text, SLICE("credit balance is too low")) >= 0
           || slice_find(message.text, SLICE("reached your specified API usage limits")) >= 0;
}

/* OpenRouter: the input was flagged. Its credential is fine. */
static bool
is_moderation_403(struct slice body)
{
    struct json_value value;
    const struct slice error = quota_error_object(body);
    return json_get(error, "metadata.reasons", &value)
           || json_get(error, "metadata.flagged_input", &value);
}

static enum upstream_class
class_of(enum dialect dialect, const struct http_head *head, struct slice body)
{
    switch (head->status) {
    case 401: return UPSTREAM_REJECTED;
    case 402: return is_transient_402(head, body) ? UPSTREAM_BUSY : UPSTREAM_SPENT;
    case 403:
        if (says_spent(body)) {
            return UPSTREAM_SPENT;
        }
        return is_moderation_403(body) ? UPSTREAM_CLIENT : UPSTREAM_REJECTED;
    case 429: return says_spent(body) ? UPSTREAM_SPENT : UPSTREAM_BUSY;
    case 400:
        return says_spent(body) || is_spend_400(dialect, body) ? UPSTREAM_SPENT : UPSTREAM_CLIENT;
    case 408: return UPSTREAM_FAILING;
    case 498: /* Groq: no capacity in the flex tier */
    case 503:
    case 529: return UPSTREAM_BUSY;
    default: break;
    }
    if (head->status >= 200 && head->status < 300) {
        return UPSTREAM_FINE;
    }
    if (head->status >= 500) {
        return UPSTREAM_FAILING;
    }
    return head->status >= 400 ? UPSTREAM_CLIENT : UPSTREAM_STRANGE;
}

/* Refusals and failures are not charged by any provider we know; behind a timeout the work may have
 * been done and charged all the same. */
static bool
is_unbilled(int status, enum upstream_class class_)
{
    switch (class_) {
    case UPSTREAM_CLIENT:
    case UPSTREAM_BUSY:
    case UPSTREAM_SPENT:
    case UPSTREAM_REJECTED:
    case UPSTREAM_STRANGE: return true;
    case UPSTREAM_FAILING: return status != 408 && status != 504 && status != 524;
    default: return false;
    }
}

struct judgement
judge_answer(enum dialect dialect, const struct http_head *head, struct slice body, int64_t now_ms)
{
    const enum upstream_class class_ = class_of(dialect, head, body);
    struct judgement judgement = {
        .class_ = class_,
        .unbilled = is_unbilled(head->status, class_),
        .next_route = class_ != UPSTREAM_FINE && class_ != UPSTREAM_CLIENT,
    };
    if (class_ == UPSTREAM_BUSY || class_ == UPSTREAM_SPENT || class_ == UPSTREAM_FAILING) {
        judgement.wait_ms = judge_wait_ms(dialect, head, body, now_ms);
    }
    return judgement;
}
