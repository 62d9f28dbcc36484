/* wire/refusal.c: status, headers and body of a refusal, in the client's dialect. */
#include "base/civil.h"
#include "tbl/counts.h"
#include "wire/refusal_priv.h"

/* ---- how long, and which status ---- */

int64_t
refusal_retry_after_s(const struct refusal *refusal, int64_t now_ms)
{
    if (refusal_never_fits(refusal)) {
        return 0; /* no window will ever have room */
    }
    int64_t wait_ms = refusal->retry_after_ms;
    if (wait_ms <= 0 && refusal->resets_at_ms > now_ms) {
        wait_ms = refusal->resets_at_ms - now_ms;
    }
    return wait_ms > 0 ? (wait_ms - 1) / SECOND_MS + 1 : 0;
}

/* What a rate leaves opens by itself, of money and tokens as well as of requests. */
enum reason_class
refusal_class(const struct refusal *refusal)
{
    const enum reason_class class_ = reason_row(refusal->reason)->class_;
    const bool paced = refusal_has_limit(refusal) && refusal->window == WINDOW_BUCKET;
    return class_ == REASON_CLASS_SPENT && paced ? REASON_CLASS_WAIT : class_;
}

bool
refusal_never_fits(const struct refusal *refusal)
{
    return refusal_has_limit(refusal) && refusal->ask > refusal->cap;
}

/* A wait that clients sit out: 429. A longer one is told as spent: they would not, or in
 * silence; and so is one that would be in vain. */
static bool
is_short_wait(const struct refusal *refusal, int64_t now_ms)
{
    return refusal_class(refusal) == REASON_CLASS_WAIT && !refusal_never_fits(refusal)
           && refusal_retry_after_s(refusal, now_ms) <= WAIT_TOLD_S_MAX;
}

int
refusal_status(const struct refusal *refusal, int64_t now_ms)
{
    switch (refusal_class(refusal)) {
    case REASON_CLASS_SPENT: return 402;
    case REASON_CLASS_WAIT: return is_short_wait(refusal, now_ms) ? 429 : 402;
    case REASON_CLASS_AUTH: return 401;
    case REASON_CLASS_FORBID: return 403;
    case REASON_CLASS_ABSENT: return 404;
    case REASON_CLASS_STORE: return 503;
    default: /* BAD, GATE */ return reason_row(refusal->reason)->control_status;
    }
}

/* Codex repeats whatever it does not know up to 30 times; a 400 it shows as it is, once. */
static int
codex_status(int status)
{
    return status == 402 || status == 429 ? 429 : 400;
}

static int
final_status(const struct refusal *refusal, const struct refusal_listener *listener)
{
    if (listener->status_override > 0) {
        return listener->status_override;
    }
    if (listener->session_protocol) {
        return reason_row(refusal->reason)->control_status;
    }
    const int status = refusal_status(refusal, listener->now_ms);
    return listener->codex ? codex_status(status) : status;
}

/* ---- bodies ---- */

/* The words that clients of OpenAI's dialect know; their `code` decides what they do. */
struct openai_words {
    const char *type, *code; /* code NULL = our own */
};

static struct openai_words
openai_words(const struct refusal *refusal, int64_t now_ms)
{
    switch (refusal_class(refusal)) {
    case REASON_CLASS_SPENT:
        return (struct openai_words){ "insufficient_quota", "insufficient_quota" };
    case REASON_CLASS_WAIT:
        return is_short_wait(refusal, now_ms)
                   ? (struct openai_words){ "rate_limit_exceeded", "rate_limit_exceeded" }
                   : (struct openai_words){ "insufficient_quota", "insufficient_quota" };
    case REASON_CLASS_AUTH:
        return (struct openai_words){ "invalid_request_error",
            refusal->reason == REASON_CREDENTIAL_MISSING ? NULL : "invalid_api_key" };
    case REASON_CLASS_FORBID: return (struct openai_words){ "permission_error", NULL };
    case REASON_CLASS_STORE:
    case REASON_CLASS_GATE: return (struct openai_words){ "server_error", NULL };
    default: /* ABSENT: "model_not_found" is our own code too */
        return (struct openai_words){ "invalid_request_error", NULL };
    }
}

static const char *
anthropic_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 402: return "billing_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 409: return "conflict_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 504: return "timeout_error";
    case 529: return "overloaded_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
    }
}

static void
add_field_i64(struct buf *body, const char *name, int64_t value)
{
    buf_addf(body, ",\"%s\":%lld", name, (long long)value);
}

/* The sums, for programs. Of a limit that is shared, the share alone. */
static void
add_limit_fields(struct buf *body, const struct refusal *refusal)
{
    buf_add_str(body, ",\"limit\":");
    buf_add_json(body, slice_str(refusal->limit_name));
    if (refusal_shared_limit(refusal)) {
        add_field_i64(body, "used_percent", refusal_percent(refusal));
        return;
    }
    const bool money = refusal->counts == COUNT_COST;
    add_field_i64(body, money ? "used_micros" : "used", refusal->used);
    add_field_i64(body, money ? "held_micros" : "held", refusal->held);
    add_field_i64(body, money ? "cap_micros" : "cap", refusal->cap);
    if (refusal->ask > 0) {
        add_field_i64(body, money ? "ask_micros" : "ask", refusal->ask);
    }
}

/* `"reason":...` and all that follows from the refusal; goes inside an object. */
static void
add_details(struct buf *body, const struct refusal *refusal, int64_t now_ms)
{
    const struct reason_row *row = reason_row(refusal->reason);
    buf_addf(body, "\"reason\":\"%s\",\"scope\":\"%s\"", row->code, row->scope);
    if (refusal_has_limit(refusal)) {
        add_limit_fields(body, refusal);
    }
    if (refusal->reason == REASON_CANNOT_BOUND && refusal->limit_name[0]) {
        buf_add_str(body, ",\"limit\":");
        buf_add_json(body, slice_str(refusal->limit_name));
        buf_add_str(body, ",\"field\":");
        buf_add_json(body, slice_str(refusal->about));
    }
    if (refusal->resets_at_ms > 0) {
        char at[32]; /* in whole seconds, and never too early */
        civil_rfc3339((refusal->resets_at_ms + SECOND_MS - 1) / SECOND_MS * SECOND_MS, false, at);
        buf_addf(body, ",\"resets_at\":\"%s\"", at);
    }
    const int64_t wait_s = refusal_retry_after_s(refusal, now_ms);
    if (wait_s > 0) {
        add_field_i64(body, "retry_after_s", wait_s);
    }
}

static void
add_openai_body(
    struct buf *body, const struct refusal *refusal, struct slice message, int64_t now_ms)
{
    const struct openai_words words = openai_words(refusal, now_ms);
    const char *code = words.code ? words.code : reason_row(refusal->reason)->code;
    const bool of_model =
        refusal->reason == REASON_MODEL_UNKNOWN || refusal->reason == REASON_MODEL_FORBIDDEN;
    buf_add_str(body, "{\"error\":{\"message\":");
    buf_add_json(body, message);
    buf_addf(body, ",\"type\":\"%s\",\"param\":%s,\"code\":\"%s\",", words.type,
        of_model ? "\"model\"" : "null", code);
    add_details(body, refusal, now_ms);
    buf_add_str(body, "}}");
}

static void
add_anthropic_body(struct buf *body, const struct refusal *refusal, struct slice message,
    int status, const struct refusal_listener *listener)
{
    buf_addf(body,
        "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", anthropic_type(status));
    buf_add_json(body, message);
    buf_add_str(body, ",\"details\":{");
    add_details(body, refusal, listener->now_ms);
    buf_add_str(body, "}},\"request_id\":");
    buf_add_json(body, listener->request_id);
    buf_add_char(body, '}');
}

/* Codex's own form of a limit. Without plan_type: with it, it would advertise an upgrade. */
static void
add_codex_limit(
    struct buf *body, const struct refusal *refusal, struct slice message, int64_t now_ms)
{
    const int64_t wait_s = refusal_retry_after_s(refusal, now_ms);
    buf_add_str(body, "{\"error\":{\"type\":\"usage_limit_reached\",\"message\":");
    buf_add_json(body, message);
    if (wait_s > 0) {
        const int64_t at_s = refusal->resets_at_ms > now_ms
                                 ? (refusal->resets_at_ms - 1) / SECOND_MS + 1
                                 : now_ms / SECOND_MS + wait_s;
        buf_addf(body, ",\"resets_at\":%lld,\"resets_in_seconds\":%lld", (long long)at_s,
            (long long)wait_s);
    }
    buf_addf(body, ",\"reason\":\"%s\"", reason_row(refusal->reason)->code);
    if (refusal_has_limit(refusal)) {
        add_limit_fields(body, refusal);
    }
    buf_add_str(body, "}}");
}

/* ---- headers ---- */

/* Names and values are ours, or cleaned: that one breaks out of its line is a bug. */
static void
add_header(struct buf *headers, struct slice name, struct slice value)
{
    const bool written = http_write_header(headers, name, value);
    check(written);
}

#define PROMO_BYTES_MAX 512

/* Printable ASCII alone, and no full stop at its end: Codex goes on with ", or try again at
 * ...". */
static size_t
promo_text(struct slice message, char text[PROMO_BYTES_MAX])
{
    size_t len = 0;
    for (size_t i = 0; i < message.len && len < PROMO_BYTES_MAX; i++) {
        const unsigned char c = (unsigned char)message.ptr[i];
        if (c >= 0x20 && c < 0x7f) {
            text[len++] = (char)c;
        } else if (c >= 0xC0 || c < 0x80) { /* one mark for each character */
            text[len++] = '?';
        }
    }
    while (len > 0 && (text[len - 1] == '.' || text[len - 1] == ' ')) {
        len--;
    }
    return len;
}

enum voice { VOICE_OPENAI, VOICE_ANTHROPIC, VOICE_CODEX_LIMIT, VOICE_CODEX_TEXT };

static enum voice
voice_of(const struct refusal *refusal, const struct refusal_listener *listener)
{
    if (listener->dialect == DIALECT_ANTHROPIC) {
        return VOICE_ANTHROPIC;
    }
    if (!listener->codex || listener->session_protocol) {
        return VOICE_OPENAI;
    }
    const int status = refusal_status(refusal, listener->now_ms);
    if (status == 402) {
        return VOICE_CODEX_LIMIT;
    }
    return status == 429 ? VOICE_OPENAI : VOICE_CODEX_TEXT;
}

static void
add_headers(struct buf *headers, const struct refusal *refusal, enum voice voice,
    const struct refusal_listener *listener, struct slice promo)
{
    add_header(headers, SLICE("content-type"),
        voice == VOICE_CODEX_TEXT ? SLICE("text/plain; charset=utf-8") : SLICE("application/json"));
    if (listener->request_id.len > 0) {
        add_header(headers, SLICE("x-request-id"), listener->request_id);
        add_header(headers, SLICE("request-id"), listener->request_id);
    }
    const enum reason_class class_ = refusal_class(refusal);
    const bool short_wait = is_short_wait(refusal, listener->now_ms);
    int64_t wait_s = refusal_retry_after_s(refusal, listener->now_ms);
    if (short_wait && wait_s == 0) {
        wait_s = WAIT_UNKNOWN_S;
    }
    const bool elsewhere = refusal->reason == REASON_DRAINING; /* another gateway serves by then */
    if (!short_wait && !elsewhere) {
        add_header(headers, SLICE("x-should-retry"), SLICE("false"));
    }
    /* Codex would sleep as long as a retry-after says, though its own form tells it the time. */
    const bool may_wait = class_ == REASON_CLASS_SPENT || class_ == REASON_CLASS_WAIT || elsewhere;
    if (may_wait && wait_s > 0 && voice != VOICE_CODEX_LIMIT) {
        const bool written = http_write_header_i64(headers, SLICE("retry-after"), wait_s);
        check(written);
    }
    if (promo.len > 0) {
        add_header(headers, SLICE("x-codex-promo-message"), promo);
    }
}

static void
add_body(struct buf *body, const struct refusal *refusal, enum voice voice, int status,
    const struct refusal_listener *listener, struct slice message)
{
    switch (voice) {
    case VOICE_OPENAI: add_openai_body(body, refusal, message, listener->now_ms); break;
    case VOICE_ANTHROPIC: add_anthropic_body(body, refusal, message, status, listener); break;
    case VOICE_CODEX_LIMIT: add_codex_limit(body, refusal, message, listener->now_ms); break;
    case VOICE_CODEX_TEXT: buf_add_slice(body, message); break;
    }
}

int
refusal_render(const struct refusal *refusal, struct slice detail,
    const struct refusal_listener *listener, struct buf *headers, struct buf *body)
{
    check(refusal->reason != REASON_OK);
    const int status = final_status(refusal, listener);
    const enum voice voice = voice_of(refusal, listener);

    /* The sentence lies at the end of `headers` while the body is written, then makes way. */
    const size_t headers_len = headers->len;
    refusal_sentence(refusal, detail, listener->account, listener->now_ms, headers);
    const struct slice message = slice_of(headers->ptr + headers_len, headers->len - headers_len);
    add_body(body, refusal, voice, status, listener, message);

    char promo[PROMO_BYTES_MAX];
    const size_t promo_len = voice == VOICE_CODEX_LIMIT ? promo_text(message, promo) : 0;
    headers->len = headers_len;
    add_headers(headers, refusal, voice, listener, slice_of(promo, promo_len));
    return status;
}
