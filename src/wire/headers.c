/* wire/headers.c: which headers cross the gateway. */
#include "wire/headers.h"

#include "wire/trace.h"

#define RETRY_AFTER_S_MAX 60

struct name {
    const char *ptr;
    size_t len;
};
#define NAME(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static bool
is_named(struct slice name, const struct name *names, size_t name_count)
{
    for (size_t i = 0; i < name_count; i++) {
        if (slice_eq_nocase(name, slice_of(names[i].ptr, names[i].len))) {
            return true;
        }
    }
    return false;
}

static bool
begins_with(struct slice name, const struct name *prefixes, size_t prefix_count)
{
    for (size_t i = 0; i < prefix_count; i++) {
        if (slice_starts_nocase(name, slice_of(prefixes[i].ptr, prefixes[i].len))) {
            return true;
        }
    }
    return false;
}

static struct slice
value_of(const struct http_head *head, struct slice name)
{
    const struct http_header *header = http_find(head, name);
    return header ? header->value : slice_of(NULL, 0);
}

/* ---- keys ---- */

/* "Bearer TOKEN" without its scheme; other schemes are no key of ours. */
static struct slice
bearer_of(struct slice value)
{
    const struct slice scheme = SLICE("bearer ");
    if (!slice_starts_nocase(value, scheme)) {
        return slice_of(NULL, 0);
    }
    return slice_trim(slice_of(value.ptr + scheme.len, value.len - scheme.len));
}

/* Places of a secret, in the order in which they count. */
static const struct key_place {
    struct name name;
    enum credential_form form;
} key_places[] = {
    { NAME("authorization"), FORM_BEARER },
    { NAME("x-api-key"), FORM_X_API_KEY },
    { NAME("api-key"), FORM_API_KEY },
};

/* Takes the first secret of the places; *differ when another place, or another line, has
 * another. */
static struct slice
find_secret(const struct http_head *head, enum credential_form *form, bool *differ)
{
    struct slice found = { 0 };
    *differ = false;
    for (size_t i = 0; i < countof(key_places); i++) {
        const struct slice name = slice_of(key_places[i].name.ptr, key_places[i].name.len);
        const struct http_header *header = http_find(head, name);
        for (; header; header = http_find_next(head, name, header)) {
            const bool bearer = key_places[i].form == FORM_BEARER;
            const struct slice secret = bearer ? bearer_of(header->value) : header->value;
            if (secret.len == 0) {
                continue;
            }
            if (found.len == 0) {
                found = secret;
                *form = key_places[i].form;
            } else if (!slice_eq(found, secret)) {
                *differ = true;
            }
        }
    }
    return found;
}

struct caller_keys
caller_keys_find(const struct http_head *head)
{
    struct caller_keys keys = { .own_form = FORM_BEARER };
    bool differ = false;
    const struct slice other = find_secret(head, &keys.own_form, &differ);
    const struct slice name = SLICE("x-tidegate-key");
    const struct http_header *header = http_find(head, name);
    if (!header || header->value.len == 0) {
        keys.key = other;
        keys.conflict = differ;
        return keys;
    }
    keys.key = header->value;
    keys.own = other;
    for (; header; header = http_find_next(head, name, header)) {
        keys.conflict |= !slice_eq(header->value, keys.key);
    }
    return keys;
}

static bool
is_login_token(struct slice secret)
{
    return slice_starts(secret, SLICE("sk-ant-oat"));
}

enum credential_form
credential_form(enum dialect dialect, struct slice secret)
{
    return dialect == DIALECT_ANTHROPIC && !is_login_token(secret) ? FORM_X_API_KEY : FORM_BEARER;
}

/* ---- towards the provider ---- */

/* What says whose account is charged comes from the payer's credential alone. */
static const struct name attribution[] = {
    NAME("openai-organization"),
    NAME("openai-project"),
    NAME("x-hf-bill-to"),
    NAME("chatgpt-account-id"),
    NAME("x-kilocode-organizationid"),
    NAME("x-goog-user-project"),
    NAME("anthropic-organization-id"),
    NAME("anthropic-workspace-id"),
    NAME("x-dashscope-workspace"),
    NAME("http-referer"),
    NAME("x-title"),
};

static const struct name passed_by_all[] = {
    NAME("accept"),
    NAME("accept-language"),
    NAME("content-type"),
    NAME("user-agent"),
    NAME("session-id"),
    NAME("session_id"),
    NAME("thread-id"),
    NAME("x-session-id"),
    NAME("x-session-affinity"),
    NAME("x-client-request-id"),
    NAME("x-app"),
    NAME("originator"),
};
static const struct name prefixes_of_all[] = { NAME("x-stainless-") };

static const struct name prefixes_of_anthropic[] = { NAME("anthropic-"), NAME("x-claude-code-") };

static const struct name passed_by_openai[] = {
    NAME("x-grok-conv-id"),
    NAME("idempotency-key"),
};
static const struct name prefixes_of_openai[] = { NAME("openai-"), NAME("x-codex-") };

bool
header_may_reach_provider(enum dialect dialect, struct slice name)
{
    if (is_named(name, attribution, countof(attribution))) {
        return false;
    }
    if (is_named(name, passed_by_all, countof(passed_by_all))
        || begins_with(name, prefixes_of_all, countof(prefixes_of_all))) {
        return true;
    }
    if (dialect == DIALECT_ANTHROPIC) {
        return begins_with(name, prefixes_of_anthropic, countof(prefixes_of_anthropic));
    }
    return is_named(name, passed_by_openai, countof(passed_by_openai))
           || begins_with(name, prefixes_of_openai, countof(prefixes_of_openai));
}

/* Parts of a value that were read from a head, so they cannot break out of a line; a secret of the
 * configuration might, and is then not sent. */
static void
write_credential(struct slice secret, enum credential_form form, struct buf *out)
{
    static const struct slice names[] = {
        [FORM_BEARER] = { "authorization: Bearer ", 22 },
        [FORM_X_API_KEY] = { "x-api-key: ", 11 },
        [FORM_API_KEY] = { "api-key: ", 9 },
    };
    for (size_t i = 0; i < secret.len; i++) {
        if ((unsigned char)secret.ptr[i] < 0x20 || secret.ptr[i] == 0x7f) {
            return;
        }
    }
    if (secret.len > 0) {
        buf_add_slice(out, names[form]);
        buf_add_slice(out, secret);
        buf_add_str(out, "\r\n");
    }
}

static void
write_line(struct slice name, struct slice value, struct buf *out)
{
    if (!http_write_header(out, name, value)) {
        return; /* a head that was read has none such */
    }
}

/* The client's own list of betas, in one line, with the one that log-in tokens need. */
static void
write_betas(const struct http_head *head, bool login, struct buf *out)
{
    const struct slice name = SLICE("anthropic-beta");
    const struct slice oauth = SLICE("oauth-2025-04-20");
    const struct http_header *header = http_find(head, name);
    const bool add = login && !http_has_token(head, name, oauth);
    if (!header && !add) {
        return;
    }
    buf_add_str(out, "anthropic-beta: ");
    bool first = true;
    for (; header; header = http_find_next(head, name, header)) {
        buf_add_str(out, first ? "" : ",");
        buf_add_slice(out, header->value);
        first = false;
    }
    if (add) {
        buf_add_str(out, first ? "" : ",");
        buf_add_slice(out, oauth);
    }
    buf_add_str(out, "\r\n");
}

void
headers_to_provider(const struct http_head *head, enum dialect dialect, struct slice secret,
    enum credential_form form, struct buf *out)
{
    const bool anthropic = dialect == DIALECT_ANTHROPIC;
    for (uint32_t i = 0; i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        const bool betas = anthropic && slice_eq_nocase(header->name, SLICE("anthropic-beta"));
        if (!betas && header_may_reach_provider(dialect, header->name)) {
            write_line(header->name, header->value, out);
        }
    }
    if (anthropic) {
        write_betas(head, is_login_token(secret), out);
        if (!http_find(head, SLICE("anthropic-version"))) {
            write_line(SLICE("anthropic-version"), SLICE("2023-06-01"), out);
        }
    }
    trace_write(head, out);
    write_line(SLICE("accept-encoding"), SLICE("identity"), out);
    write_credential(secret, form, out);
}

/* ---- towards the client ---- */

/* Belongs to one connection, to the gateway, or to the provider's own site. */
static const struct name never_back[] = {
    NAME("connection"),
    NAME("keep-alive"),
    NAME("proxy-authenticate"),
    NAME("proxy-authorization"),
    NAME("proxy-connection"),
    NAME("te"),
    NAME("trailer"),
    NAME("transfer-encoding"),
    NAME("upgrade"),
    NAME("content-length"),
    NAME("set-cookie"),
    NAME("set-cookie2"),
    NAME("x-request-id"),
    NAME("request-id"),
    NAME("apim-request-id"),
    NAME("alt-svc"),
    NAME("strict-transport-security"),
    NAME("server"),
    NAME("via"),
    NAME("date"),
    NAME("www-authenticate"),
    NAME("nel"),
    NAME("report-to"),
    NAME("retry-after"),
    NAME("x-should-retry"),
    NAME("clear-site-data"),
    NAME("location"),
};
static const struct name never_back_prefixes[] = { NAME("x-tidegate-"), NAME("access-control-") };

/* The limits and names of the payer's account: another's business where the company pays. */
static const struct name payers_own[] = {
    NAME("openai-organization"),
    NAME("openai-project"),
    NAME("anthropic-organization-id"),
    NAME("retry-after-ms"),
};
static const struct name payers_own_prefixes[] = {
    NAME("x-ratelimit-"),
    NAME("ratelimit"),
    NAME("anthropic-ratelimit-"),
    NAME("x-codex-"),
    NAME("x-ratelimitbysize-"),
    NAME("anthropic-organization"),
    NAME("anthropic-workspace"),
};

static const struct name request_ids[] = {
    NAME("x-request-id"),
    NAME("request-id"),
    NAME("apim-request-id"),
};

static bool
may_reach_client(struct slice name, const struct answer_headers *rules)
{
    if (is_named(name, never_back, countof(never_back))
        || begins_with(name, never_back_prefixes, countof(never_back_prefixes))) {
        return false;
    }
    return rules->user_pays
           || (!is_named(name, payers_own, countof(payers_own))
               && !begins_with(name, payers_own_prefixes, countof(payers_own_prefixes)));
}

static void
write_retry(const struct http_head *head, const struct answer_headers *rules, struct buf *out)
{
    const struct slice should = value_of(head, SLICE("x-should-retry"));
    if (should.len > 0 && !rules->rerouted) {
        write_line(SLICE("x-should-retry"), should, out);
    }
    const struct slice after = value_of(head, SLICE("retry-after"));
    uint64_t wait_s = 0;
    if (slice_to_u64(after, &wait_s)) {
        buf_addf(out, "retry-after: %llu\r\n",
            (unsigned long long)(wait_s < RETRY_AFTER_S_MAX ? wait_s : RETRY_AFTER_S_MAX));
    } else if (after.len > 0) { /* a date or a fraction: whatever it says, a minute at most */
        buf_addf(out, "retry-after: %d\r\n", RETRY_AFTER_S_MAX);
    }
}

void
headers_to_client(const struct http_head *head, const struct answer_headers *rules, struct buf *out)
{
    bool named_request = false;
    for (uint32_t i = 0; i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        if (may_reach_client(header->name, rules)
            && !http_has_token(head, SLICE("connection"), header->name)) { /* of that one hop */
            write_line(header->name, header->value, out);
        } else if (!named_request && is_named(header->name, request_ids, countof(request_ids))) {
            named_request = true;
            write_line(SLICE("x-tidegate-upstream-request"), header->value, out);
        }
    }
    write_retry(head, rules, out);
}

/* ---- who it is ---- */

bool
client_is_codex(const struct http_head *head)
{
    return slice_starts_nocase(value_of(head, SLICE("originator")), SLICE("codex"))
           || slice_starts_nocase(value_of(head, SLICE("user-agent")), SLICE("codex"));
}

bool
client_speaks_sessions(const struct http_head *head)
{
    return http_find(head, SLICE("x-tidegate-instance")) != NULL;
}

/* ---- threads ---- */

static struct slice
fact_of(const struct facts *facts, enum thread_kind kind)
{
    if (!facts) {
        return slice_of(NULL, 0);
    }
    switch (kind) {
    case THREAD_METADATA_SESSION: return facts->metadata_session;
    case THREAD_PROMPT_CACHE_KEY: return facts->prompt_cache_key;
    case THREAD_CONVERSATION: return facts->conversation;
    default: return slice_of(NULL, 0);
    }
}

/* The signals of spec/clients.md, in the order that DESIGN section 13 fixes. An empty name: it
 * stands in the body. */
static const struct signal_place {
    enum thread_kind kind;
    struct name header;
} signal_places[] = {
    { THREAD_NAMED, NAME("x-tidegate-thread") },
    { THREAD_CLAUDE_CODE, NAME("x-claude-code-session-id") },
    { THREAD_METADATA_SESSION, NAME("") },
    { THREAD_ID_HEADER, NAME("thread-id") },       /* Codex */
    { THREAD_SESSION_HEADER, NAME("session-id") }, /* Codex */
    { THREAD_SESSION_HEADER, NAME("session_id") }, /* older Codex, Roo */
    { THREAD_X_SESSION, NAME("x-session-id") },    /* opencode */
    { THREAD_PROMPT_CACHE_KEY, NAME("") },
    { THREAD_CONVERSATION, NAME("") },
};

struct thread_signal
thread_signal_find(const struct http_head *head, const struct facts *facts)
{
    struct thread_signal signal = { .kind = THREAD_KEY_DAY,
        .parent = value_of(head, SLICE("x-tidegate-parent")) };
    for (size_t i = 0; i < countof(signal_places); i++) {
        const struct signal_place *place = &signal_places[i];
        const struct slice name = slice_of(place->header.ptr, place->header.len);
        const struct slice value =
            name.len > 0 ? value_of(head, name) : fact_of(facts, place->kind);
        if (value.len > 0) {
            signal.kind = place->kind;
            signal.value = value;
            return signal;
        }
    }
    return signal;
}
