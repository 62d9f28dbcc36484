/* store/sqlite_several.c: rows that are needed together, in one step: a key with its account, subjects of one
 * account with their meters. A call of somebody who was not here for long needs a dozen rows, and a step of
 * SQLite costs about as much as a row. */
#include "store/sqlite_priv.h"

#define SUBJECTS_MAX 4

static struct sqlite_db *
db_of(struct store *store)
{
    return &sqlite_store_of(store)->db;
}

/* The columns behind those of a row are a row too, or all NULL. */
static bool
has_company(const struct columns *columns)
{
    return columns->next < columns->count && columns->at[columns->next].kind != VALUE_NONE;
}

static enum status
tell_account(struct query *query, store_found *found, void *user)
{
    union need_row row;
    if (!has_company(query->columns)) {
        return STATUS_OK;
    }
    if (!row_needed(query->columns, NEED_ACCOUNT, &row)) {
        return db_damaged(query->db, "account", row.account.account_id);
    }
    const struct need need = { .kind = NEED_ACCOUNT, .id = row.account.account_id };
    found(user, &need, &row);
    return STATUS_OK;
}

static enum status
get_key(struct store *store, const struct need *need, store_found *found, void *user)
{
    struct query query = query_start(db_of(store), STATEMENT_KEY_WITH_ACCOUNT);
    query_i64(&query, need->id);
    enum status status = query_next(&query);
    if (status == STATUS_OK) {
        union need_row row;
        if (row_needed(query.columns, NEED_KEY, &row)) {
            found(user, need, &row);
            status = tell_account(&query, found, user);
        } else {
            status = db_damaged(query.db, "key", row.key.key_id);
        }
    } else if (status == STATUS_NOT_FOUND) {
        found(user, need, NULL);
        status = STATUS_OK;
    }
    query_end(&query);
    return status;
}

static enum status
tell_meter(struct query *query, store_found *found, void *user)
{
    union need_row row;
    if (!has_company(query->columns)) {
        return STATUS_OK;
    }
    if (!row_needed(query->columns, NEED_METER, &row)) {
        return db_damaged(query->db, "meter", row.meter.subject_id);
    }
    const struct need need = { .kind = NEED_METER, .id = row.meter.subject_id };
    found(user, &need, &row);
    return STATUS_OK;
}

/* Needs that are answered in their order, in which the rows come too; those that are passed over have none. */
struct asked {
    const struct need *needs;
    size_t count, next;
    store_found *found;
    void *user;
};

static bool
names(const struct need *need, const struct subject_row *row)
{
    return need->sub_kind == (int32_t)row->kind && strcmp(need->text, row->name) == 0;
}

/* NULL: there are no more rows. */
static void
tell_up_to(struct asked *asked, const union need_row *row)
{
    while (
        asked->next < asked->count && !(row && names(&asked->needs[asked->next], &row->subject))) {
        asked->found(asked->user, &asked->needs[asked->next++], NULL);
    }
    if (asked->next < asked->count) {
        asked->found(asked->user, &asked->needs[asked->next++], row);
    }
}

static enum status
tell_subject(struct query *query, struct asked *asked)
{
    union need_row row;
    if (!row_needed(query->columns, NEED_SUBJECT, &row)) {
        return db_damaged(query->db, "subject", row.subject.subject_id);
    }
    tell_up_to(asked, &row);
    return tell_meter(query, asked->found, asked->user);
}

static enum status
get_subjects(struct store *store, struct asked *asked)
{
    static const enum statement_id statements[SUBJECTS_MAX] = { STATEMENT_SUBJECTS_1,
        STATEMENT_SUBJECTS_2, STATEMENT_SUBJECTS_3, STATEMENT_SUBJECTS_4 };
    struct query query = query_start(db_of(store), statements[asked->count - 1]);
    for (size_t i = 0; i < asked->count; i++) {
        query_i64(&query, asked->needs[i].sub_kind);
        query_text(&query, asked->needs[i].text);
    }
    query_i64(&query, asked->needs[0].id);
    enum status status = STATUS_OK;
    while (status == STATUS_OK && (status = query_next(&query)) == STATUS_OK) {
        status = tell_subject(&query, asked);
    }
    query_end(&query);
    if (status != STATUS_NOT_FOUND) {
        return status;
    }
    tell_up_to(asked, NULL);
    return STATUS_OK;
}

enum status
sqlite_get_several(struct store *store, const struct need *needs, size_t count, store_found *found,
    void *user, size_t *done)
{
    if (needs[0].kind == NEED_KEY) {
        *done = 1;
        return get_key(store, needs, found, user);
    }
    check(needs[0].kind == NEED_SUBJECT);
    *done = 1;
    while (*done < count && *done < SUBJECTS_MAX && needs[*done].kind == NEED_SUBJECT
           && needs[*done].with && needs[*done].id == needs[0].id) {
        (*done)++;
    }
    struct asked asked = { .needs = needs, .count = *done, .found = found, .user = user };
    return get_subjects(store, &asked);
}
