/* store/postgres_db.c: statements through a connection. What is sent is gathered until a trip: one way
 * there and back for all of it. */
#include "store/postgres_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define OID_INT8  20
#define OID_TEXT  25
#define SLOT_NONE ((size_t)-1)

enum pending_kind { PENDING_PREPARE, PENDING_STATEMENT, PENDING_SYNC };
struct pending {
    enum pending_kind kind;
    enum statement_id id;
    enum form form;
    size_t slot; /* SLOT_NONE: nobody wants the answer */
};

static const char *const statement_sql[] = {
#define STATEMENT_SQL(name, sql) [STATEMENT_##name] = sql,
    STATEMENTS(STATEMENT_SQL) POSTGRES_STATEMENTS(STATEMENT_SQL)
#undef STATEMENT_SQL
};
_Static_assert(countof(statement_sql) == STATEMENT_POSTGRES_COUNT, "a text each");

static enum status
no_memory(struct postgres_db *db)
{
    return store_fail(db->error_text, STATUS_FULL, "no memory for a statement of the store");
}

/* --- What is to be answered. */

static bool
pending_push(struct postgres_db *db, struct pending pending)
{
    if (db->pending_first + db->pending_count == db->pending_cap && db->pending_first > 0) {
        memmove(
            db->pending, db->pending + db->pending_first, db->pending_count * sizeof(*db->pending));
        db->pending_first = 0;
    }
    if (db->pending_count == db->pending_cap) {
        const size_t cap = db->pending_cap ? db->pending_cap * 2 : 64;
        struct pending *grown = realloc(db->pending, cap * sizeof(*grown));
        if (!grown) {
            return false;
        }
        db->pending = grown;
        db->pending_cap = cap;
    }
    db->pending[db->pending_first + db->pending_count++] = pending;
    return true;
}

static struct pending
pending_shift(struct postgres_db *db)
{
    check(db->pending_count > 0);
    const struct pending pending = db->pending[db->pending_first];
    db->pending_first = db->pending_count > 1 ? db->pending_first + 1 : 0;
    db->pending_count--;
    return pending;
}

static void
forget_answers(struct postgres_db *db)
{
    for (size_t i = 0; i < db->answer_count; i++) {
        PQclear(db->answers[i]);
        db->answers[i] = NULL;
    }
    db->answer_count = 0;
}

/* The answers of a trip that is over go when the next begins to be gathered. */
static bool
slot_new(struct postgres_db *db, size_t *slot)
{
    if (db->answer_count == db->answer_cap) {
        const size_t cap = db->answer_cap ? db->answer_cap * 2 : 64;
        PGresult **grown = realloc(db->answers, cap * sizeof(PGresult *));
        if (!grown) {
            return false;
        }
        db->answers = grown;
        db->answer_cap = cap;
    }
    *slot = db->answer_count++;
    db->answers[*slot] = NULL;
    return true;
}

PGresult *
pg_take(struct postgres_db *db, size_t slot)
{
    PGresult *answer = db->answers[slot];
    db->answers[slot] = NULL;
    return answer;
}

/* --- Parameters: numbers in eight bytes, the greatest first; texts as they are. */

static void
i64_bytes(int64_t value, char bytes[8])
{
    const uint64_t bits = (uint64_t)value;
    for (int i = 0; i < 8; i++) {
        bytes[i] = (char)(unsigned char)(bits >> (56 - 8 * i));
    }
}

static int64_t
i64_of_bytes(const char *bytes)
{
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) {
        bits = bits << 8 | (unsigned char)bytes[i];
    }
    return (int64_t)bits;
}

/* Bytes of the character that begins here, 0 when it is not UTF-8 (Unicode, table 3-7). */
static size_t
char_bytes(const unsigned char *at, size_t left)
{
    if (at[0] < 0x80) {
        return at[0] != 0;
    }
    const size_t len = at[0] < 0xC2   ? 0
                       : at[0] < 0xE0 ? 2
                       : at[0] < 0xF0 ? 3
                       : at[0] < 0xF5 ? 4
                                      : 0;
    if (len == 0 || left < len) {
        return 0;
    }
    const unsigned char low = at[0] == 0xE0 ? 0xA0 : at[0] == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = at[0] == 0xED ? 0x9F : at[0] == 0xF4 ? 0x8F : 0xBF;
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return len;
}

void
text_clean(char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        const size_t taken = char_bytes((const unsigned char *)text + i, len - i);
        if (taken == 0) {
            text[i] = '?';
        }
        i += taken > 0 ? taken : 1;
    }
}

static size_t
value_bytes(const struct value *value)
{
    return value->kind == VALUE_NUMBER ? 8 : value->text.len;
}

struct sent_params {
    const char *values[VALUES_MAX];
    int lengths[VALUES_MAX], formats[VALUES_MAX];
};

static bool
encode(struct postgres_db *db, const struct params *params, struct sent_params *out)
{
    size_t total = 0;
    for (int32_t i = 0; i < params->count; i++) {
        total += value_bytes(&params->at[i]);
    }
    buf_clear(&db->scratch);
    if (!buf_reserve(&db->scratch, total + 1)) { /* so that it does not move below */
        return false;
    }
    for (int32_t i = 0; i < params->count; i++) {
        const struct value *value = &params->at[i];
        char *at = db->scratch.ptr + db->scratch.len;
        if (value->kind == VALUE_NUMBER) {
            char bytes[8];
            i64_bytes(value->number, bytes);
            buf_add(&db->scratch, bytes, sizeof(bytes));
        } else {
            buf_add_slice(&db->scratch, value->text);
        }
        if (value->kind == VALUE_TEXT) {
            text_clean(at, value->text.len);
        }
        out->values[i] = at;
        out->lengths[i] = (int)value_bytes(value);
        out->formats[i] = 1;
    }
    return !db->scratch.failed;
}

/* --- Sending. */

static void
statement_name(enum statement_id id, enum form form, char out[16])
{
    (void)snprintf(out, 16, "t%d%c", (int)id, "plm"[form]);
}

static bool
statement_text(struct buf *sql, enum statement_id id, enum form form)
{
    buf_add_str(sql, form == FORM_MUST ? "WITH written AS (" : "");
    buf_add_str(sql, statement_sql[id]);
    buf_add_str(sql, form == FORM_MUST   ? " RETURNING 1) SELECT 1 / count(*) FROM written"
                     : form == FORM_LOCK ? " FOR UPDATE"
                                         : "");
    return !sql->failed;
}

static enum status
ensure_prepared(struct postgres_db *db, enum statement_id id, enum form form, size_t slot)
{
    if (db->prepared[id][form]) {
        return STATUS_OK;
    }
    char name[16];
    struct buf sql = { 0 };
    statement_name(id, form, name);
    bool kept = statement_text(&sql, id, form);
    const bool sent = kept && PQsendPrepare(db->conn, name, buf_cstr(&sql), 0, NULL);
    buf_free(&sql);
    kept = kept && sent && pending_push(db, (struct pending){ PENDING_PREPARE, id, form, slot });
    if (!kept) {
        return link_lost(db, sent ? "no memory" : PQerrorMessage(db->conn));
    }
    db->prepared[id][form] = true;
    return STATUS_OK;
}

enum status
pg_send(struct postgres_db *db, enum statement_id id, enum form form, const struct params *params,
    size_t *slot)
{
    char name[16];
    struct sent_params sent;
    size_t taken = SLOT_NONE;
    if (!db->gathering) {
        forget_answers(db);
        db->gathering = true;
    }
    if (!encode(db, params, &sent) || !slot_new(db, &taken)) {
        return no_memory(db);
    }
    const enum status status = ensure_prepared(db, id, form, taken);
    if (status != STATUS_OK) {
        return status;
    }
    statement_name(id, form, name);
    if (!PQsendQueryPrepared(
            db->conn, name, params->count, sent.values, sent.lengths, sent.formats, 1)) {
        return link_lost(db, PQerrorMessage(db->conn));
    }
    if (!pending_push(db, (struct pending){ PENDING_STATEMENT, id, form, taken })) {
        return link_lost(db, "no memory");
    }
    db->costs->statements++;
    if (slot) {
        *slot = taken;
    }
    return STATUS_OK;
}

enum status
pg_send_plain(struct postgres_db *db, enum statement_id id, size_t *slot)
{
    const struct params none = { .count = 0 };
    return pg_send(db, id, FORM_PLAIN, &none, slot);
}

/* --- Answers. */

/* libpq puts an end behind each statement's answer. */
static enum status
skip_end(struct postgres_db *db, int64_t deadline_mono_ms)
{
    const enum status status = link_wait(db, deadline_mono_ms);
    if (status != STATUS_OK) {
        return status;
    }
    PGresult *end = PQgetResult(db->conn);
    if (end) {
        PQclear(end);
        return link_lost(db, "the server's answers are out of step");
    }
    return STATUS_OK;
}

struct trip {
    struct postgres_db *db;
    int64_t deadline_mono_ms;
    enum status status;
};

/* The first failure is the trip's; what follows it was not done. */
static void
take_failure(struct trip *trip, const struct pending *pending, const PGresult *result)
{
    struct postgres_db *db = trip->db;
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const struct fault fault = fault_of_state(state ? state : "08006");
    if (trip->status != STATUS_OK || pending->slot == SLOT_NONE) {
        return;
    }
    db->failed_slot = (ptrdiff_t)pending->slot;
    (void)snprintf(db->failed_state, sizeof(db->failed_state), "%s", state ? state : "");
    trip->status = fault_tell(db, result, fault);
    if (fault.lost) {
        link_drop(db);
    }
}

static enum status
take_one(struct trip *trip)
{
    struct postgres_db *db = trip->db;
    const enum status status = link_wait(db, trip->deadline_mono_ms);
    if (status != STATUS_OK) {
        return status;
    }
    PGresult *result = PQgetResult(db->conn);
    const ExecStatusType kind = PQresultStatus(result);
    if (!result) {
        return link_lost(db, "the server's answers are out of step");
    }
    const struct pending pending = pending_shift(db);
    if (pending.kind == PENDING_SYNC) {
        PQclear(result);
        return kind == PGRES_PIPELINE_SYNC ? STATUS_OK : link_lost(db, PQerrorMessage(db->conn));
    }
    const bool good = kind == PGRES_COMMAND_OK || kind == PGRES_TUPLES_OK;
    if (!good && pending.kind == PENDING_PREPARE) {
        db->prepared[pending.id][pending.form] = false;
    }
    if (!good && kind != PGRES_PIPELINE_ABORTED) {
        take_failure(trip, &pending, result);
    }
    if (good && pending.kind == PENDING_STATEMENT && pending.slot != SLOT_NONE) {
        db->answers[pending.slot] = result;
    } else {
        PQclear(result);
    }
    return db->conn ? skip_end(db, trip->deadline_mono_ms) : trip->status;
}

enum status
pg_trip(struct postgres_db *db)
{
    struct trip trip = {
        .db = db, .deadline_mono_ms = clock_mono_ms() + db->options.wait_ms, .status = STATUS_OK
    };
    db->failed_slot = -1;
    db->failed_state[0] = '\0';
    db->gathering = false;
    db->costs->round_trips++;
    if (!PQpipelineSync(db->conn)
        || !pending_push(db, (struct pending){ PENDING_SYNC, 0, FORM_PLAIN, SLOT_NONE })) {
        return link_lost(db, PQerrorMessage(db->conn));
    }
    while (db->pending_count > 0) {
        const enum status status = take_one(&trip);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return trip.status;
}

void
pg_send_away(struct postgres_db *db)
{
    db->gathering = false;
    for (size_t i = 0; i < db->pending_count; i++) {
        db->pending[db->pending_first + i].slot = SLOT_NONE;
    }
    if (!PQpipelineSync(db->conn)
        || !pending_push(db, (struct pending){ PENDING_SYNC, 0, FORM_PLAIN, SLOT_NONE })
        || PQflush(db->conn) < 0) {
        (void)link_lost(db, PQerrorMessage(db->conn));
    }
}

enum status
pg_run(struct postgres_db *db, enum statement_id id, enum form form, const struct params *params,
    const PGresult **answer)
{
    size_t slot = 0;
    enum status status = pg_send(db, id, form, params, &slot);
    if (status == STATUS_OK) {
        status = pg_trip(db);
    }
    if (status == STATUS_OK && answer) {
        *answer = db->answers[slot];
    }
    return status;
}

/* Outside of a pipeline: a prepared statement, then its rows one by one. */
static enum status
ask_prepared(struct postgres_db *db, enum statement_id id, const char *name)
{
    const int64_t deadline_mono_ms = clock_mono_ms() + db->options.wait_ms;
    if (db->prepared[id][FORM_PLAIN]) {
        return STATUS_OK;
    }
    if (!PQsendPrepare(db->conn, name, statement_sql[id], 0, NULL)) {
        return link_lost(db, PQerrorMessage(db->conn));
    }
    enum status status = link_wait(db, deadline_mono_ms);
    if (status != STATUS_OK) {
        return status;
    }
    PGresult *result = PQgetResult(db->conn);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        status = fault_tell(db, result, fault_of_state(state ? state : "08006"));
    }
    PQclear(result);
    const enum status ended = skip_end(db, deadline_mono_ms);
    db->prepared[id][FORM_PLAIN] = status == STATUS_OK && ended == STATUS_OK;
    return status == STATUS_OK ? ended : status;
}

enum status
pg_ask_rows(struct postgres_db *db, enum statement_id id, const struct params *params)
{
    char name[16];
    struct sent_params sent;
    statement_name(id, FORM_PLAIN, name);
    if (!encode(db, params, &sent)) {
        return no_memory(db);
    }
    const enum status status = ask_prepared(db, id, name);
    if (status != STATUS_OK) {
        return status;
    }
    if (!PQsendQueryPrepared(
            db->conn, name, params->count, sent.values, sent.lengths, sent.formats, 1)
        || !PQsetSingleRowMode(db->conn)) {
        return link_lost(db, PQerrorMessage(db->conn));
    }
    return STATUS_OK;
}

void
pg_close(struct postgres_db *db)
{
    forget_answers(db);
    link_drop(db);
    free(db->pending);
    free(db->answers);
    buf_free(&db->scratch);
    db->pending = NULL;
    db->answers = NULL;
    db->pending_cap = db->answer_cap = 0;
}

/* --- Reading an answer. */

static struct value
value_of(const PGresult *answer, int row, int column)
{
    struct value value = { .kind = VALUE_NONE };
    const char *bytes = PQgetvalue(answer, row, column);
    const int len = PQgetlength(answer, row, column);
    const Oid type = PQftype(answer, column);
    if (PQgetisnull(answer, row, column)) {
        return value;
    }
    if (type == OID_INT8 && len == 8) {
        value.kind = VALUE_NUMBER;
        value.number = i64_of_bytes(bytes);
    } else if (type == OID_TEXT) {
        value.kind = VALUE_TEXT;
        value.text = slice_of(bytes, (size_t)len);
    }
    return value;
}

struct columns *
pg_columns(struct postgres_db *db, const PGresult *answer, int row)
{
    struct columns *columns = &db->columns;
    columns->next = 0;
    columns->damaged = false;
    columns->count = PQnfields(answer);
    check(columns->count <= VALUES_MAX);
    for (int column = 0; column < columns->count; column++) {
        columns->at[column] = value_of(answer, row, column);
    }
    return columns;
}

int64_t
pg_changed_count(const PGresult *answer)
{
    int64_t count = 0;
    const char *text = PQcmdTuples((PGresult *)(uintptr_t)answer);
    return slice_to_i64(slice_str(text), &count) ? count : 0;
}

enum status
pg_damaged_row(struct postgres_db *db, const char *table, int64_t id)
{
    return store_fail(db->error_text, STATUS_INVALID,
        "the store is damaged: table %s, row %lld makes no sense; `tidegate check --store` tells what "
        "else is",
        table, (long long)id);
}
