/* mock/error.c: bodies of errors. */
#include "mock/error_priv.h"

#include "wire/http.h"

static const struct {
    int status;
    const char *anthropic; /* error.type */
    const char *openai_type, *openai_code;
    const char *message;
} rows[] = {
    { 400, "invalid_request_error", "invalid_request_error", NULL, "The request is not valid." },
    { 401, "authentication_error", "invalid_request_error", "invalid_api_key",
        "Incorrect API key provided." },
    { 402, "billing_error", "insufficient_quota", "insufficient_quota",
        "The balance of this account is used up." },
    { 403, "permission_error", "invalid_request_error", "access_denied",
        "This key may not do that." },
    { 404, "not_found_error", "invalid_request_error", "model_not_found",
        "The model does not exist or you do not have access to it." },
    { 408, "timeout_error", "server_error", "request_timeout", "The request timed out." },
    { 409, "conflict_error", "invalid_request_error", "lock_conflict", "The lock is taken." },
    { 413, "request_too_large", "invalid_request_error", "request_too_large",
        "The request is too large." },
    { 422, "invalid_request_error", "invalid_request_error", "unprocessable",
        "The request could not be processed." },
    { 429, "rate_limit_error", "tokens", "rate_limit_exceeded",
        "Too many tokens a minute; slow down." },
    { 500, "api_error", "server_error", NULL,
        "The server had a problem while it worked on this request." },
    { 503, "api_error", "server_error", "server_is_overloaded", "The server is overloaded." },
    { 504, "timeout_error", "server_error", NULL, "The server took too long." },
    { 529, "overloaded_error", "server_error", "overloaded", "Overloaded" },
};

/* The row of a status, else that of its class: 400 or 500. */
static size_t
row_of(int status)
{
    const int wanted[] = { status, status < 500 ? 400 : 500 };
    for (size_t pass = 0; pass < countof(wanted); pass++) {
        for (size_t i = 0; i < countof(rows); i++) {
            if (rows[i].status == wanted[pass]) {
                return i;
            }
        }
    }
    return 0;
}

static void
add_word(struct buf *out, const char *word)
{
    if (word) {
        buf_add_json(out, slice_str(word));
    } else {
        buf_add_str(out, "null");
    }
}

static void
add_openai(
    struct buf *out, const char *message, const char *type, const char *param, const char *code)
{
    buf_add_str(out, "{\"error\":{\"message\":");
    add_word(out, message);
    buf_add_str(out, ",\"type\":");
    add_word(out, type);
    buf_add_str(out, ",\"param\":");
    add_word(out, param);
    buf_add_str(out, ",\"code\":");
    add_word(out, code);
    buf_add_str(out, "}}");
}

static void
add_anthropic(
    struct buf *out, const char *type, const char *message, const char *details, const char *serial)
{
    buf_add_str(out, "{\"type\":\"error\",\"error\":{");
    if (details) {
        buf_addf(out, "\"details\":%s,", details);
    }
    buf_add_str(out, "\"type\":");
    add_word(out, type);
    buf_add_str(out, ",\"message\":");
    add_word(out, message);
    buf_addf(out, "},\"request_id\":\"req_%s\"}", serial);
}

static void
add_gemini(struct buf *out, int status)
{
    buf_addf(out,
        "[{\"error\":{\"code\":%d,\"message\":\"Quota exceeded for the free tier of this "
        "model.\",\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{\"@type\":"
        "\"type.googleapis.com/google.rpc.QuotaFailure\",\"violations\":[{\"quotaId\":"
        "\"GenerateRequestsPerDayPerProjectPerModel-FreeTier\",\"quotaValue\":\"20\"}]},"
        "{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\","
        "\"retryDelay\":\"34s\"}]}}]",
        status);
}

static void
add_openrouter(struct buf *out, int status, const char *message, const char *metadata)
{
    buf_add_str(out, "{\"error\":{\"message\":");
    add_word(out, message);
    buf_addf(out, ",\"code\":%d,\"metadata\":%s},\"user_id\":\"user_mock\"}", status, metadata);
}

/* The dialect's own words for a status. */
static void
add_plain(
    struct buf *out, enum dialect dialect, int status, const char *message, const char *serial)
{
    const size_t row = row_of(status);
    const char *said = message ? message : rows[row].message;
    if (dialect == DIALECT_ANTHROPIC) {
        add_anthropic(out, rows[row].anthropic, said, NULL, serial);
    } else {
        add_openai(out, said, rows[row].openai_type, NULL, rows[row].openai_code);
    }
}

void
mock_error_body(enum dialect dialect, const struct mock_behaviour *behaviour, int status,
    const char *message, const char *serial, struct buf *out)
{
    switch (behaviour->error) {
    case MOCK_ERROR_QUOTA:
        add_openai(out, "The organization has no quota left; see plan and billing.",
            "insufficient_quota", NULL, "insufficient_quota");
        break;
    case MOCK_ERROR_SPEND_CAP:
        add_anthropic(out, "rate_limit_error",
            "The monthly usage threshold of this organization has been crossed.",
            "{\"error_code\":\"enforced_spend_limit_reached\"}", serial);
        break;
    case MOCK_ERROR_CREDITS:
        add_openrouter(out, status, "This request requires more credits, or fewer max_tokens.",
            "{\"limit_source\":\"openrouter_credits\"}");
        break;
    case MOCK_ERROR_IN_FLIGHT:
        add_openrouter(out, status, "In-flight requests already reserve the available credits.",
            "{\"reason\":\"in_flight_budget_exhausted\","
            "\"limit_source\":\"openrouter_in_flight_budget\"}");
        break;
    case MOCK_ERROR_CONTEXT:
        if (dialect == DIALECT_ANTHROPIC) {
            add_plain(
                out, dialect, status, "prompt is too long: 210000 tokens > 200000 maximum", serial);
        } else {
            add_openai(out, "This model's maximum context length is 200000 tokens.",
                "invalid_request_error", "messages", "context_length_exceeded");
        }
        break;
    case MOCK_ERROR_USAGE_LIMIT:
        buf_add_str(out, "{\"error\":{\"type\":\"usage_limit_reached\",\"message\":\"This plan has "
                         "no usage left in the window\",\"plan_type\":\"plus\","
                         "\"resets_in_seconds\":10800}}");
        break;
    case MOCK_ERROR_STRING:
        buf_add_str(
            out, "{\"error\":\"The included monthly credits of this account are used up.\"}");
        break;
    case MOCK_ERROR_GEMINI: add_gemini(out, status); break;
    case MOCK_ERROR_AZURE:
        buf_addf(out,
            "{\"error\":{\"code\":\"%d\",\"message\":\"Requests have exceeded the token "
            "rate limit of this deployment.\"}}",
            status);
        break;
    case MOCK_ERROR_TORN_JSON: buf_add_str(out, "{\"error\":{\"message\":\"The ser"); break;
    default: add_plain(out, dialect, status, message, serial); break;
    }
}

void
mock_refusal_body(enum dialect dialect, int status, const char *code, const char *param,
    const char *message, const char *serial, struct buf *out)
{
    if (dialect == DIALECT_ANTHROPIC) {
        add_plain(out, dialect, status, message, serial);
    } else {
        add_openai(out, message, "invalid_request_error", param, code);
    }
}

void
mock_error_short(const struct mock_behaviour *behaviour, int status, struct buf *out)
{
    const size_t row = row_of(status);
    const char *code = behaviour->error == MOCK_ERROR_QUOTA ? "insufficient_quota"
                       : status == 429                      ? "rate_limit_exceeded"
                                                            : "server_error";
    buf_addf(out, "{\"code\":\"%s\",\"message\":", code);
    add_word(out, rows[row].message);
    buf_add_char(out, '}');
}

void
mock_error_html(int status, struct buf *out)
{
    const char *reason = http_reason(status);
    buf_addf(out,
        "<html>\n<head><title>%d %s</title></head>\n<body><center><h1>%d %s</h1></center>"
        "</body>\n</html>\n",
        status, reason, status, reason);
}

int
mock_stream_error_status(const struct mock_answer *answer)
{
    if (answer->behaviour->status != 0) {
        return (int)answer->behaviour->status;
    }
    return api_dialect(answer->ask->api) == DIALECT_ANTHROPIC ? 529 : 500;
}
