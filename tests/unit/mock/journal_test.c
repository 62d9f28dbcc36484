/* tests/unit/mock/journal_test.c
 *
 * Goal: the journal tells what arrived, keeps the newest under its bounds, and never frees what is
 * still written to. Method: small bounds; AddressSanitizer watches. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/status.h"
#include "mock/journal_priv.h"
#include "wire/json.h"

static const struct http_limits limits = {
    .head_bytes_max = 65536, .target_bytes_max = 8192, .headers_max = 100
};

static struct http_head
head_of(const char *text)
{
    struct http_parse_state parse = { 0 };
    struct http_head head;
    const struct http_fault *why = NULL;
    assert_int_equal(http_parse_request(slice_str(text), &limits, &parse, &head, &why), HTTP_DONE);
    return head;
}

#define PLAIN "POST /v1/messages?beta=true HTTP/1.1\r\nHost: h\r\n"

static struct mock_entry *
add(struct mock_journal *journal, const char *text)
{
    const struct http_head head = head_of(text);
    struct mock_entry *entry = mock_journal_add(journal, &head, 1000);
    assert_non_null(entry);
    return entry;
}

static void
entries_tell_what_arrived(void **state)
{
    struct mock_journal journal;
    struct buf out = { 0 };
    assert_true(mock_journal_open(&journal, 10, 100000));
    struct mock_entry *entry = add(&journal,
        PLAIN "X-Api-Key: sk-\"1\"\r\nanthropic-beta: a\r\nX-Tag: t\r\nAnthropic-Beta: b\r\n\r\n");
    mock_journal_body(&journal, entry, SLICE("{\"model\":\"m\"}"));
    mock_journal_model(&journal, entry, SLICE("m"));
    entry->status = 200;
    entry->finished = true;
    entry->bill = (struct mock_bill){ .input = 3, .output = 5, .reasoning = 2, .generated = 5 };
    mock_journal_end(&journal, entry, 2000);
    mock_entry_json(mock_journal_get(&journal, 1), true, &out);
    static const struct {
        const char *path, *written;
    } fields[] = {
        { "n", "1" },
        { "at_ms", "1000" },
        { "end_ms", "2000" },
        { "method", "\"POST\"" },
        { "path", "\"/v1/messages?beta=true\"" },
        { "credential", "{\"form\":\"x-api-key\",\"value\":\"sk-\\\"1\\\"\"}" },
        { "headers", "{\"host\":\"h\",\"x-api-key\":\"sk-\\\"1\\\"\","
                     "\"anthropic-beta\":\"a, b\",\"x-tag\":\"t\"}" },
        { "body_bytes", "13" },
        { "body", "\"{\\\"model\\\":\\\"m\\\"}\"" },
        { "model", "\"m\"" },
        { "stream", "false" },
        { "status", "200" },
        { "open", "false" },
        { "finished", "true" },
        { "gone", "false" },
        { "cut", "false" },
        { "written_tokens", "0" },
        { "bill", "{\"input\":3,\"cache_read\":0,\"cache_write_5m\":0,\"cache_write_1h\":0,"
                  "\"output\":5,\"reasoning\":2,\"generated\":5}" },
    };
    struct json_value value;
    assert_true(json_check(buf_slice(&out), &value));
    for (size_t i = 0; i < countof(fields); i++) {
        assert_true(json_get(buf_slice(&out), fields[i].path, &value));
        assert_true(slice_eq(value.text, slice_str(fields[i].written)));
    }
    buf_free(&out);
    assert_int_equal(mock_journal_close(&journal), STATUS_OK);
}

static void
credentials_are_found_in_every_form(void **state)
{
    static const struct {
        const char *header, *form, *value;
    } rows[] = {
        { "Authorization: Bearer sk-1\r\n", "bearer", "sk-1" },
        { "authorization: bearer  sk-1\r\n", "bearer", "sk-1" },
        { "Authorization: Basic abc\r\n", "authorization", "Basic abc" },
        { "X-API-Key: sk-2\r\n", "x-api-key", "sk-2" },
        { "api-key: sk-3\r\n", "api-key", "sk-3" },
        { "x-goog-api-key: sk-4\r\n", "x-goog-api-key", "sk-4" },
        { "x-api-key: sk-5\r\nAuthorization: Bearer sk-6\r\n", "bearer", "sk-6" },
        { "", "", "" },
    };
    struct mock_journal journal;
    assert_true(mock_journal_open(&journal, 100, 100000));
    for (size_t i = 0; i < countof(rows); i++) {
        char text[512];
        snprintf(text, sizeof text, PLAIN "%s\r\n", rows[i].header);
        struct mock_entry *entry = add(&journal, text);
        assert_true(slice_eq(entry->credential_form, slice_str(rows[i].form)));
        assert_true(slice_eq(entry->credential, slice_str(rows[i].value)));
        mock_journal_end(&journal, entry, 2000);
    }
    assert_int_equal(mock_journal_close(&journal), STATUS_OK);
}

static void
the_newest_entries_stay(void **state)
{
    struct mock_journal journal;
    assert_true(mock_journal_open(&journal, 3, 100000));
    struct mock_entry *first = add(&journal, PLAIN "\r\n");
    for (int i = 0; i < 5; i++) {
        mock_journal_end(&journal, add(&journal, PLAIN "\r\n"), 2000);
    }
    assert_null(mock_journal_get(&journal, 1));
    assert_null(mock_journal_get(&journal, 3));
    assert_non_null(mock_journal_get(&journal, 4));
    assert_non_null(mock_journal_get(&journal, 6));
    assert_null(mock_journal_get(&journal, 7));
    assert_null(mock_journal_get(&journal, 0));
    assert_int_equal(journal.dropped_count, 3);

    /* The first one is let go of, but its request goes on and writes into it. */
    assert_true(first->dropped);
    mock_journal_body(&journal, first, SLICE("body"));
    mock_journal_model(&journal, first, SLICE("m"));
    first->status = 200;
    mock_journal_end(&journal, first, 3000);
    assert_int_equal(mock_journal_close(&journal), STATUS_OK);
}

static void
bytes_are_bounded(void **state)
{
    enum { BOUND = 20000, BODY = 3000 };
    static char body[BODY];
    struct mock_journal journal;
    memset(body, 'x', sizeof body);
    assert_true(mock_journal_open(&journal, 1000, BOUND));
    for (int i = 0; i < 200; i++) {
        struct mock_entry *entry = add(&journal, PLAIN "\r\n");
        mock_journal_body(&journal, entry, slice_of(body, sizeof body));
        mock_journal_end(&journal, entry, 2000);
        assert_true(journal.kept_bytes <= BOUND);
    }
    /* Bodies go before entries do, the oldest first. */
    const struct mock_entry *newest = mock_journal_get(&journal, journal.next_n - 1);
    const struct mock_entry *oldest = mock_journal_get(&journal, journal.first_n);
    assert_true(journal.next_n - journal.first_n > BOUND / BODY);
    assert_int_equal(newest->body_bytes, BODY);
    assert_int_equal(oldest->body.len, 0);
    assert_int_equal(strlen(oldest->body_hash), MOCK_HASH_HEX);
    mock_journal_clear(&journal);
    assert_int_equal(journal.kept_bytes, 0);
    assert_int_equal(mock_journal_close(&journal), STATUS_OK);
}

static void
large_bodies_are_kept_as_a_hash(void **state)
{
    static char body[MOCK_BODY_BYTES_MAX + 1];
    struct mock_journal journal;
    struct buf out = { 0 };
    assert_true(mock_journal_open(&journal, 10, 1 << 20));
    struct mock_entry *entry = add(&journal, PLAIN "\r\n");
    mock_journal_body(&journal, entry, slice_of(body, sizeof body));
    assert_int_equal(entry->body_bytes, sizeof body);
    assert_int_equal(entry->body.len, 0);
    mock_entry_json(entry, true, &out);
    assert_non_null(strstr(buf_cstr(&out), "\"body\":null"));
    assert_non_null(strstr(buf_cstr(&out), "\"open\":true"));
    mock_journal_end(&journal, entry, 2000);
    buf_free(&out);
    assert_int_equal(mock_journal_close(&journal), STATUS_OK);
}

static void
a_file_outlives_the_ring(void **state)
{
    char path[] = "/tmp/tidegate-journal-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    struct mock_journal journal;
    assert_true(mock_journal_open(&journal, 2, 100000)); /* two are kept in memory, all in the file */
    assert_int_equal(mock_journal_to_file(&journal, path), STATUS_OK);
    for (int i = 1; i <= 5; i++) {
        struct mock_entry *entry = add(&journal, PLAIN "X-Api-Key: sk-1\r\n\r\n");
        mock_journal_model(&journal, entry, SLICE("m"));
        entry->output_limit = 100 + i;
        entry->bill.output = i;
        mock_journal_end(&journal, entry, 2000);
    }
    assert_int_equal(mock_journal_close(&journal), STATUS_OK);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    char line[1024];
    for (int i = 1; i <= 5; i++) {
        struct json_value value;
        char limit[16];
        assert_non_null(fgets(line, sizeof line, file));
        assert_true(json_check(slice_str(line), &value));
        snprintf(limit, sizeof limit, "%d", 100 + i);
        assert_true(json_get(slice_str(line), "limit", &value));
        assert_true(slice_eq(value.text, slice_str(limit)));
        assert_true(json_get(slice_str(line), "open", &value));
        assert_true(slice_eq(value.text, SLICE("false")));
        assert_null(strstr(line, "sk-1")); /* what is kept for long holds no credential */
    }
    assert_null(fgets(line, sizeof line, file));
    (void)fclose(file);
    (void)unlink(path);
}

static void
clearing_goes_on_counting(void **state)
{
    struct mock_journal journal;
    assert_true(mock_journal_open(&journal, 10, 100000));
    struct mock_entry *open = add(&journal, PLAIN "\r\n");
    mock_journal_end(&journal, add(&journal, PLAIN "\r\n"), 2000);
    mock_journal_clear(&journal);
    assert_null(mock_journal_get(&journal, 1));
    struct mock_entry *next = add(&journal, PLAIN "\r\n");
    assert_int_equal(next->n, 3);
    mock_journal_end(&journal, next, 2000);
    mock_journal_end(&journal, open, 2000);
    assert_int_equal(mock_journal_close(&journal), STATUS_OK);
}

static const struct CMUnitTest tests[] = {
    CASE("entries tell what arrived", entries_tell_what_arrived),
    CASE("credentials are found in every form", credentials_are_found_in_every_form),
    CASE("the newest entries stay", the_newest_entries_stay),
    CASE("bytes are bounded", bytes_are_bounded),
    CASE("large bodies are kept as a hash", large_bodies_are_kept_as_a_hash),
    CASE("a file outlives the ring", a_file_outlives_the_ring),
    CASE("clearing goes on counting", clearing_goes_on_counting),
};

UNIT_MAIN(tests)
