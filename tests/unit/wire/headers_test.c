/* tests/unit/wire/headers_test.c
 *
 * Goal: no header crosses the gateway that should not; keys and threads are found in their order.
 * Method: heads in, the lines that go out, as text. */
#include "base/buf.h"
#include "fixture.h"
#include "wire/headers.h"

static void
keys_are_found_in_their_order(void **state)
{
    static const struct {
        const char *headers, *key, *own;
        enum credential_form own_form;
        bool conflict;
    } rows[] = {
        { "", "", "", 0, false },
        { "Authorization: Bearer k1", "k1", "", 0, false },
        { "authorization: bearer  k1 ", "k1", "", 0, false },
        { "authorization: Basic abc", "", "", 0, false },
        { "authorization: Bearer", "", "", 0, false },
        { "x-api-key: k2", "k2", "", 0, false },
        { "api-key: k3", "k3", "", 0, false },
        { "api-key: k3\nx-api-key: k2", "k2", "", 0, true },
        { "authorization: Bearer k1\nx-api-key: k1", "k1", "", 0, false },
        { "authorization: Bearer k1\nx-api-key: k2", "k1", "", 0, true },
        { "authorization: Bearer k1\nauthorization: Bearer k2", "k1", "", 0, true },
        { "x-tidegate-key: t\nauthorization: Bearer sk-ant-oat01-x", "t", "sk-ant-oat01-x",
            FORM_BEARER, false },
        { "x-api-key: own\nX-Tidegate-Key: t", "t", "own", FORM_X_API_KEY, false },
        { "x-tidegate-key: t\nauthorization: Bearer a\nx-api-key: b", "t", "a", FORM_BEARER,
            false },
        { "x-tidegate-key: t\nx-tidegate-key: u", "t", "", 0, true },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct http_head head;
        head_of_lines(&head, rows[i].headers);
        const struct caller_keys keys = caller_keys_find(&head);
        assert_true(slice_eq(keys.key, slice_str(rows[i].key)));
        assert_true(slice_eq(keys.own, slice_str(rows[i].own)));
        assert_int_equal(keys.conflict, rows[i].conflict);
        if (keys.own.len > 0) {
            assert_int_equal(keys.own_form, rows[i].own_form);
        }
    }
}

static void
only_what_may_reaches_the_provider(void **state)
{
    static const struct {
        enum dialect dialect;
        const char *headers, *secret, *sent;
    } rows[] = {
        { DIALECT_ANTHROPIC,
            "Host: gw\nX-Api-Key: tidegate-key\nanthropic-version: 2023-06-01\nanthropic-beta: a,b\n"
            "x-claude-code-session-id: s\nx-stainless-retry-count: 0\nuser-agent: claude-cli/2\n"
            "x-tidegate-thread: t\naccept-encoding: gzip, br\ncookie: c\nconnection: keep-alive\n"
            "content-length: 5\nx-forwarded-for: 1.2.3.4\nx-team: blue\nopenai-beta: x\n"
            "anthropic-workspace-id: w",
            "sk-ant-api03-x",
            "anthropic-version: 2023-06-01\r\nx-claude-code-session-id: s\r\n"
            "x-stainless-retry-count: 0\r\nuser-agent: claude-cli/2\r\nanthropic-beta: a,b\r\n"
            "accept-encoding: identity\r\nx-api-key: sk-ant-api03-x\r\n" },
        { DIALECT_ANTHROPIC, "anthropic-beta: a\nanthropic-beta: b", "sk-ant-oat01-x",
            "anthropic-beta: a,b,oauth-2025-04-20\r\nanthropic-version: 2023-06-01\r\n"
            "accept-encoding: identity\r\nauthorization: Bearer sk-ant-oat01-x\r\n" },
        { DIALECT_ANTHROPIC, "anthropic-beta: oauth-2025-04-20, b", "sk-ant-oat01-x",
            "anthropic-beta: oauth-2025-04-20, b\r\nanthropic-version: 2023-06-01\r\n"
            "accept-encoding: identity\r\nauthorization: Bearer sk-ant-oat01-x\r\n" },
        { DIALECT_OPENAI,
            "Authorization: Bearer tidegate-key\nOpenAI-Organization: theirs\nOpenAI-Project: p\n"
            "openai-beta: x\nX-HF-Bill-To: victim\nChatGPT-Account-Id: a\nHTTP-Referer: r\n"
            "X-Title: t\noriginator: codex_exec\nsession-id: s\nthread-id: t\nx-codex-window-id: w\n"
            "anthropic-beta: no\nproxy-authorization: p",
            "sk-1",
            "openai-beta: x\r\noriginator: codex_exec\r\nsession-id: s\r\nthread-id: t\r\n"
            "x-codex-window-id: w\r\naccept-encoding: identity\r\nauthorization: Bearer sk-1\r\n" },
        { DIALECT_OPENAI, "", "", "accept-encoding: identity\r\n" },
        { DIALECT_OPENAI,
            "tracestate: a=1\nTraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n"
            "tracestate: b=2\nbaggage: user=ada",
            "",
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
            "tracestate: a=1\r\ntracestate: b=2\r\naccept-encoding: identity\r\n" },
        { DIALECT_ANTHROPIC,
            "anthropic-version: 1\ntraceparent: 00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01\n"
            "tracestate: a=1",
            "", "anthropic-version: 1\r\naccept-encoding: identity\r\n" },
        { DIALECT_OPENAI, "", "a\r\nx: y", "accept-encoding: identity\r\n" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct http_head head;
        struct buf out = { 0 };
        head_of_lines(&head, rows[i].headers);
        const struct slice secret = slice_str(rows[i].secret);
        headers_to_provider(
            &head, rows[i].dialect, secret, credential_form(rows[i].dialect, secret), &out);
        assert_string_equal(buf_cstr(&out), rows[i].sent);
        buf_free(&out);
    }
}

static void
only_what_may_comes_back(void **state)
{
    static const struct {
        const char *headers;
        bool user_pays, rerouted;
        const char *sent;
    } rows[] = {
        { "content-type: application/json\nset-cookie: c\nopenai-organization: o\n"
          "x-ratelimit-remaining-tokens: 5\nanthropic-ratelimit-unified-5h-utilization: 0.5\n"
          "anthropic-organization-id: x\nx-request-id: req_1\ncontent-length: 5\n"
          "transfer-encoding: chunked\nconnection: close\nx-codex-primary-used-percent: 5\n"
          "x-tidegate-payer: forged\nalt-svc: h3\nopenai-processing-ms: 3",
            false, false,
            "content-type: application/json\r\nx-tidegate-upstream-request: req_1\r\n"
            "openai-processing-ms: 3\r\n" },
        { "set-cookie: c\nopenai-organization: o\nx-ratelimit-remaining-tokens: 5\n"
          "request-id: req_1",
            true, false,
            "openai-organization: o\r\nx-ratelimit-remaining-tokens: 5\r\n"
            "x-tidegate-upstream-request: req_1\r\n" },
        { "retry-after: 7\nx-should-retry: true", false, false,
            "x-should-retry: true\r\nretry-after: 7\r\n" },
        { "retry-after: 3600\nx-should-retry: true", false, true, "retry-after: 60\r\n" },
        { "retry-after: Sat, 21 Nov 2026 14:03:37 GMT", false, false, "retry-after: 60\r\n" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct http_head head;
        struct buf out = { 0 };
        head_of_lines(&head, rows[i].headers);
        const struct answer_headers rules = { rows[i].user_pays, rows[i].rerouted };
        headers_to_client(&head, &rules, &out);
        assert_string_equal(buf_cstr(&out), rows[i].sent);
        buf_free(&out);
    }
}

static void
threads_are_recognised_in_a_fixed_order(void **state)
{
    struct facts facts = { .metadata_session = SLICE("meta"),
        .prompt_cache_key = SLICE("pck"),
        .conversation = SLICE("conv") };
    struct facts late = { .prompt_cache_key = SLICE("pck"), .conversation = SLICE("conv") };
    struct facts last = { .conversation = SLICE("conv") };
    const struct {
        const char *headers;
        const struct facts *facts;
        enum thread_kind kind;
        const char *value;
    } rows[] = {
        { "x-tidegate-thread: a\nx-claude-code-session-id: b", &facts, THREAD_NAMED, "a" },
        { "x-claude-code-session-id: b\nthread-id: c", &facts, THREAD_CLAUDE_CODE, "b" },
        { "thread-id: c", &facts, THREAD_METADATA_SESSION, "meta" },
        { "session-id: d\nthread-id: c", NULL, THREAD_ID_HEADER, "c" },
        { "x-session-id: e\nsession-id: d", NULL, THREAD_SESSION_HEADER, "d" },
        { "session_id: d", &late, THREAD_SESSION_HEADER, "d" },
        { "x-session-id: e", &late, THREAD_X_SESSION, "e" },
        { "x-tidegate-thread:", &late, THREAD_PROMPT_CACHE_KEY, "pck" },
        { "", &last, THREAD_CONVERSATION, "conv" },
        { "", NULL, THREAD_KEY_DAY, "" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct http_head head;
        head_of_lines(&head, rows[i].headers);
        const struct thread_signal signal = thread_signal_find(&head, rows[i].facts);
        assert_int_equal(signal.kind, rows[i].kind);
        assert_true(slice_eq(signal.value, slice_str(rows[i].value)));
    }
    struct http_head head;
    head_of_lines(&head, "x-tidegate-parent: p");
    assert_true(slice_eq(thread_signal_find(&head, NULL).parent, SLICE("p")));
}

static void
clients_are_known_by_their_headers(void **state)
{
    struct http_head head;
    head_of_lines(&head, "originator: codex_exec");
    assert_true(client_is_codex(&head));
    head_of_lines(&head, "user-agent: Codex_cli/0.1");
    assert_true(client_is_codex(&head));
    head_of_lines(&head, "user-agent: my-codex");
    assert_false(client_is_codex(&head));
    assert_false(client_speaks_sessions(&head));
    head_of_lines(&head, "X-Tidegate-Instance: 1");
    assert_true(client_speaks_sessions(&head));
}

static const struct CMUnitTest tests[] = {
    CASE("keys are found in their order", keys_are_found_in_their_order),
    CASE("only what may reaches the provider", only_what_may_reaches_the_provider),
    CASE("only what may comes back", only_what_may_comes_back),
    CASE("threads are recognised in a fixed order", threads_are_recognised_in_a_fixed_order),
    CASE("clients are known by their headers", clients_are_known_by_their_headers),
};
UNIT_MAIN(tests)
