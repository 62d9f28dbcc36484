/* mock/journal.c: a ring of entries under a bound of number and bytes. */
#include "mock/journal_priv.h"

#include <stdlib.h>

#include "base/secret.h"

bool
mock_journal_open(struct mock_journal *journal, size_t entries_max, size_t bytes_max)
{
    check(entries_max > 0);
    *journal = (struct mock_journal){
        .ring = calloc(entries_max, sizeof(struct mock_entry *)),
        .entries_max = entries_max,
        .bytes_max = bytes_max,
        .first_n = 1,
        .next_n = 1,
        .body_n = 1,
    };
    return journal->ring != NULL;
}

static struct mock_entry **
slot_of(const struct mock_journal *journal, int64_t n)
{
    return &journal->ring[(size_t)n % journal->entries_max];
}

static void
entry_free(struct mock_entry *entry)
{
    free(entry->words);
    free((char *)(uintptr_t)entry->model.ptr);
    free((char *)(uintptr_t)entry->body.ptr);
    free(entry);
}

static size_t
entry_bytes(const struct mock_entry *entry)
{
    return sizeof *entry + entry->words_bytes + entry->model.len + entry->body.len;
}

static void
drop_oldest(struct mock_journal *journal)
{
    struct mock_entry **slot = slot_of(journal, journal->first_n);
    struct mock_entry *entry = *slot;
    *slot = NULL;
    journal->first_n++;
    journal->body_n = max_i64(journal->body_n, journal->first_n);
    journal->kept_bytes -= entry_bytes(entry);
    journal->dropped_count++;
    entry->dropped = true;
    if (entry->end_ms != 0) {
        entry_free(entry);
    }
}

static void
drop_oldest_body(struct mock_journal *journal)
{
    struct mock_entry *entry = *slot_of(journal, journal->body_n++);
    journal->kept_bytes -= entry->body.len;
    free((char *)(uintptr_t)entry->body.ptr);
    entry->body = (struct slice){ 0 };
}

static void
keep_bounds(struct mock_journal *journal)
{
    while (journal->kept_bytes > journal->bytes_max && journal->body_n < journal->next_n) {
        drop_oldest_body(journal);
    }
    while (journal->kept_bytes > journal->bytes_max && journal->first_n < journal->next_n) {
        drop_oldest(journal);
    }
}

void
mock_journal_clear(struct mock_journal *journal)
{
    while (journal->first_n < journal->next_n) {
        drop_oldest(journal);
    }
    journal->dropped_count = 0;
}

enum status
mock_journal_to_file(struct mock_journal *journal, const char *path)
{
    check(!journal->file);
    journal->file = fopen(path, "we");
    return journal->file ? STATUS_OK : STATUS_IO;
}

static void
write_line(struct mock_journal *journal, const struct mock_entry *entry)
{
    buf_clear(&journal->line);
    mock_entry_line(entry, &journal->line);
    /* A line that cannot be written is seen by ferror() when the file is closed. */
    (void)fwrite(journal->line.ptr, 1, journal->line.len, journal->file);
}

enum status
mock_journal_close(struct mock_journal *journal)
{
    bool whole = !journal->line.failed;
    if (journal->file) {
        whole = !ferror(journal->file) && whole;
        whole = fclose(journal->file) == 0 && whole;
    }
    mock_journal_clear(journal);
    free(journal->ring);
    buf_free(&journal->line);
    *journal = (struct mock_journal){ 0 };
    return whole ? STATUS_OK : STATUS_IO;
}

/* Whether a header of that name stands before `header`: its values were joined there. */
static bool
is_repeated(const struct http_head *head, const struct http_header *header)
{
    return http_find(head, header->name) != header;
}

static void
add_lower(struct buf *out, struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        const char c = name.ptr[i];
        buf_add_char(out, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
    }
}

/* {"name":"value"}: names in lower case, values of one name joined as RFC 9110, 5.2 joins them. */
static void
add_headers(struct buf *out, const struct http_head *head)
{
    struct buf value = { 0 };
    bool is_first = true;
    buf_add_char(out, '{');
    for (uint32_t i = 0; i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        if (is_repeated(head, header)) {
            continue;
        }
        buf_clear(&value);
        buf_add_slice(&value, header->value);
        const struct http_header *more = header;
        while ((more = http_find_next(head, header->name, more)) != NULL) {
            buf_add_str(&value, ", ");
            buf_add_slice(&value, more->value);
        }
        buf_add_str(out, is_first ? "\"" : ",\"");
        add_lower(out, header->name); /* a token: nothing to escape */
        buf_add_str(out, "\":");
        buf_add_json(out, buf_slice(&value));
        is_first = false;
    }
    buf_add_char(out, '}');
    out->failed = out->failed || value.failed;
    buf_free(&value);
}

/* Where the credential is and what it says; an empty form where there is none. */
static void
find_credential(const struct http_head *head, struct slice *form, struct slice *value)
{
    static const char *const names[] = { "x-api-key", "api-key", "x-goog-api-key" };
    const struct http_header *header = http_find(head, SLICE("authorization"));
    *form = *value = SLICE("");
    if (header) {
        const bool is_bearer = slice_starts_nocase(header->value, SLICE("Bearer "));
        const size_t skip = is_bearer ? strlen("Bearer ") : 0;
        *form = is_bearer ? SLICE("bearer") : SLICE("authorization");
        *value = slice_trim(slice_of(header->value.ptr + skip, header->value.len - skip));
        return;
    }
    for (size_t i = 0; i < countof(names); i++) {
        header = http_find(head, slice_str(names[i]));
        if (header) {
            *form = slice_str(names[i]);
            *value = header->value;
            return;
        }
    }
}

/* Copies what the head says into one piece of memory of the entry's own. */
static bool
take_head(struct mock_entry *entry, const struct http_head *head)
{
    struct slice form;
    struct slice credential;
    find_credential(head, &form, &credential);
    struct slice *const fields[] = { &entry->method, &entry->path, &entry->credential_form,
        &entry->credential };
    const struct slice values[] = { head->method_text, head->target, form, credential };
    struct buf words = { 0 };
    for (size_t i = 0; i < countof(values); i++) {
        buf_add_slice(&words, values[i]);
    }
    add_headers(&words, head);
    if (words.failed || !words.ptr) {
        buf_free(&words);
        return false;
    }
    size_t at = 0;
    for (size_t i = 0; i < countof(values); i++) {
        *fields[i] = slice_of(words.ptr + at, values[i].len);
        at += values[i].len;
    }
    entry->headers_json = slice_of(words.ptr + at, words.len - at);
    entry->words = words.ptr; /* the buffer's memory is the entry's from here on */
    entry->words_bytes = words.cap;
    return true;
}

struct mock_entry *
mock_journal_add(struct mock_journal *journal, const struct http_head *head, int64_t now_ms)
{
    struct mock_entry *entry = calloc(1, sizeof *entry);
    if (!entry || !take_head(entry, head)) {
        free(entry);
        return NULL;
    }
    if (journal->next_n - journal->first_n == (int64_t)journal->entries_max) {
        drop_oldest(journal);
    }
    entry->n = journal->next_n++;
    entry->at_ms = now_ms;
    entry->output_limit = -1;
    *slot_of(journal, entry->n) = entry;
    journal->kept_bytes += entry_bytes(entry);
    keep_bounds(journal);
    return entry;
}

/* A copy that the entry owns; empty without memory: the journal then lacks that text alone. */
static struct slice
copy(struct slice text)
{
    char *memory = text.len ? malloc(text.len) : NULL;
    if (!memory) {
        return (struct slice){ 0 };
    }
    memcpy(memory, text.ptr, text.len);
    return slice_of(memory, text.len);
}

void
mock_journal_body(struct mock_journal *journal, struct mock_entry *entry, struct slice body)
{
    check(entry->end_ms == 0);
    entry->body_bytes = (int64_t)body.len;
    secret_hash_hex(body, entry->body_hash);
    if (body.len <= MOCK_BODY_BYTES_MAX && !entry->dropped && entry->n >= journal->body_n) {
        entry->body = copy(body);
        journal->kept_bytes += entry->body.len;
        keep_bounds(journal);
    }
}

void
mock_journal_model(struct mock_journal *journal, struct mock_entry *entry, struct slice model)
{
    check(entry->end_ms == 0 && entry->model.len == 0);
    model.len = model.len > MOCK_MODEL_BYTES_MAX ? MOCK_MODEL_BYTES_MAX : model.len;
    entry->model = copy(model);
    if (!entry->dropped) {
        journal->kept_bytes += entry->model.len;
        keep_bounds(journal);
    }
}

void
mock_journal_end(struct mock_journal *journal, struct mock_entry *entry, int64_t now_ms)
{
    check(entry->end_ms == 0);
    entry->end_ms = max_i64(now_ms, 1);
    if (journal->file) {
        write_line(journal, entry);
    }
    if (entry->dropped) {
        entry_free(entry);
    }
}

const struct mock_entry *
mock_journal_get(const struct mock_journal *journal, int64_t n)
{
    return n >= journal->first_n && n < journal->next_n ? *slot_of(journal, n) : NULL;
}

static void
add_flag(struct buf *out, const char *name, bool value)
{
    buf_addf(out, ",\"%s\":%s", name, value ? "true" : "false");
}

static void
add_text(struct buf *out, const char *name, struct slice value)
{
    buf_addf(out, ",\"%s\":", name);
    buf_add_json(out, value);
}

static void
add_begin(struct buf *out, const struct mock_entry *entry)
{
    buf_addf(out, "{\"n\":%lld,\"at_ms\":%lld,\"end_ms\":%lld", (long long)entry->n,
        (long long)entry->at_ms, (long long)entry->end_ms);
    add_text(out, "method", entry->method);
    add_text(out, "path", entry->path);
}

/* What was asked for, how it ended and what it would bill. */
static void
add_outcome(struct buf *out, const struct mock_entry *entry)
{
    const struct mock_bill *bill = &entry->bill;
    add_text(out, "model", entry->model);
    if (entry->output_limit >= 0) {
        buf_addf(out, ",\"limit\":%lld", (long long)entry->output_limit);
    } else {
        buf_add_str(out, ",\"limit\":null");
    }
    add_flag(out, "stream", entry->stream);
    buf_addf(out, ",\"status\":%d", entry->status);
    add_flag(out, "open", entry->end_ms == 0);
    add_flag(out, "finished", entry->finished);
    add_flag(out, "gone", entry->gone);
    add_flag(out, "cut", entry->cut);
    buf_addf(out,
        ",\"written_tokens\":%lld,\"bill\":{\"input\":%lld,\"cache_read\":%lld,"
        "\"cache_write_5m\":%lld,\"cache_write_1h\":%lld,\"output\":%lld,"
        "\"reasoning\":%lld,\"generated\":%lld}}",
        (long long)entry->written_tokens, (long long)bill->input, (long long)bill->cache_read,
        (long long)bill->cache_write_5m, (long long)bill->cache_write_1h, (long long)bill->output,
        (long long)bill->reasoning, (long long)bill->generated);
}

void
mock_entry_json(const struct mock_entry *entry, bool with_body, struct buf *out)
{
    add_begin(out, entry);
    buf_add_str(out, ",\"credential\":");
    if (entry->credential_form.len) {
        buf_add_str(out, "{\"form\":");
        buf_add_json(out, entry->credential_form);
        add_text(out, "value", entry->credential);
        buf_add_char(out, '}');
    } else {
        buf_add_str(out, "null");
    }
    buf_add_str(out, ",\"headers\":");
    buf_add_slice(out, entry->headers_json);
    buf_addf(out, ",\"body_bytes\":%lld,\"body_hash\":\"%s\"", (long long)entry->body_bytes,
        entry->body_hash);
    if (with_body && entry->body.len) {
        add_text(out, "body", entry->body);
    } else if (with_body) {
        buf_add_str(out, ",\"body\":null");
    }
    add_outcome(out, entry);
}

void
mock_entry_line(const struct mock_entry *entry, struct buf *out)
{
    add_begin(out, entry);
    add_outcome(out, entry);
    buf_add_char(out, '\n');
}
