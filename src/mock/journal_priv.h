/* mock/journal_priv.h: what arrived at the simulated provider and what it would bill, in order.
 *
 * Kept in memory, bounded: the newest entries stay. It outlives the gateway that it watches, since
 * the mock is another process. The journal owns its entries; whoever answers a request may write
 * into its entry until mock_journal_end. Runs too long for memory write each entry, at its end, to a
 * file as well. It holds credentials and bodies in clear: it is a witness
 * for tests, and never meets real ones. */
#pragma once

#include <stdio.h>

#include "base/buf.h"
#include "base/status.h"
#include "mock/answer_priv.h"
#include "wire/http.h"

#define MOCK_ENTRIES_MAX       100000
#define MOCK_BODY_BYTES_MAX    ((size_t)64 << 10)  /* a larger body is kept as its hash alone */
#define MOCK_JOURNAL_BYTES_MAX ((size_t)256 << 20) /* then the oldest bodies go, then the oldest */
#define MOCK_MODEL_BYTES_MAX   1024
#define MOCK_HASH_HEX          64

struct mock_entry {
    int64_t n;      /* from 1, never given twice */
    int64_t at_ms;  /* when its head was read */
    int64_t end_ms; /* 0 = open */
    int status;     /* of the answer; 0 = none was sent */
    bool stream;
    bool finished; /* the answer was written to its proper end */
    bool gone;     /* the client went away before that */
    bool cut;      /* the mock itself broke it off */
    int64_t written_tokens;
    struct mock_bill bill;
    int64_t output_limit; /* that the body asks for; MOCK_NO_LIMIT (ask_priv.h), below 0: none */
    int64_t body_bytes;
    char body_hash[MOCK_HASH_HEX + 1]; /* BLAKE2b-256; "" = no body was read whole */

    struct slice method, path, credential_form, credential, headers_json;
    struct slice model, body;
    bool dropped; /* the journal has let go of it; freed at its end */
    char *words;  /* what the slices of the head point into */
    size_t words_bytes;
};

struct mock_journal {
    struct mock_entry **ring;
    size_t entries_max, bytes_max;
    int64_t first_n, next_n; /* those kept: first_n <= n < next_n */
    int64_t body_n;          /* no older entry has its body */
    int64_t dropped_count;
    size_t kept_bytes;
    FILE *file;      /* each entry at its end, a line of JSON; NULL = none */
    struct buf line;
};

/* False without memory. The bounds are arguments so that tests can reach them. */
MUST_USE bool mock_journal_open(struct mock_journal *journal, size_t entries_max, size_t bytes_max);
/* Writes a line of each entry that ends from here on to a new file: what it would bill and how it
 * ended, without headers and body. STATUS_IO where the file cannot be made. */
MUST_USE enum status mock_journal_to_file(struct mock_journal *journal, const char *path);
/* STATUS_IO where the file does not hold all of it. */
MUST_USE enum status mock_journal_close(struct mock_journal *journal);
/* The entry of a request whose head was read; NULL without memory. */
MUST_USE struct mock_entry *mock_journal_add(
    struct mock_journal *journal, const struct http_head *head, int64_t now_ms);
/* Its body, once read; copied where it is small enough. */
void mock_journal_body(struct mock_journal *journal, struct mock_entry *entry, struct slice body);
void mock_journal_model(struct mock_journal *journal, struct mock_entry *entry, struct slice model);
/* Nothing more will be written into it; the entry may be freed here. */
void mock_journal_end(struct mock_journal *journal, struct mock_entry *entry, int64_t now_ms);
/* Forgets all entries; numbers go on. */
void mock_journal_clear(struct mock_journal *journal);
/* NULL where the journal does not hold it. */
const struct mock_entry *mock_journal_get(const struct mock_journal *journal, int64_t n);
void mock_entry_json(const struct mock_entry *entry, bool with_body, struct buf *out);
/* The line of the file, with its newline. */
void mock_entry_line(const struct mock_entry *entry, struct buf *out);
