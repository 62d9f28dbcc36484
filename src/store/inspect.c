/* store/inspect.c: the tables of an inspection, and their rows as it is told of them. */
#include "store/columns_priv.h"
#include "store/inspect_priv.h"

#include <stdio.h>

const struct inspect_table inspect_tables[INSPECT_TABLE_COUNT] = {
    [INSPECT_NODES] = { STATEMENT_READ_NODES, "node" },
    [INSPECT_LIMIT_DEFS] = { STATEMENT_READ_ALL_LIMIT_DEFS, "limit_def" },
    [INSPECT_ACCOUNTS] = { STATEMENT_READ_ACCOUNTS, "account" },
    [INSPECT_KEYS] = { STATEMENT_READ_KEYS, "key" },
    [INSPECT_THREADS] = { STATEMENT_READ_ALL_THREADS, "thread" },
    [INSPECT_SUBJECTS] = { STATEMENT_READ_ALL_SUBJECTS, "subject" },
    [INSPECT_METERS] = { STATEMENT_READ_ALL_METERS, "meter" },
    [INSPECT_REPORTED] = { STATEMENT_READ_ALL_REPORTED, "reported" },
    [INSPECT_HOLDS] = { STATEMENT_READ_HOLDS, "hold" },
    [INSPECT_REFUSALS] = { STATEMENT_READ_ALL_REFUSALS, "refusal" },
    [INSPECT_ISSUED] = { STATEMENT_READ_ALL_ISSUED, "issued" },
    [INSPECT_RECEIPTS] = { STATEMENT_READ_ALL_RECEIPTS, "receipt" },
    [INSPECT_OUTBOX] = { STATEMENT_READ_ALL_OUTBOX, "outbox" },
    [INSPECT_LEDGER] = { STATEMENT_READ_LEDGER_AFTER, "ledger" },
};

/* False: the row makes no sense, and *id is which (0: it has no number). */
static bool
take_row(
    const struct inspector *to, enum inspect_table_id table, struct columns *columns, int64_t *id)
{
    union {
        struct node_row node;
        struct limit_def_row limit_def;
        struct account_row account;
        struct key_row key;
        struct thread_row thread;
        struct subject_row subject;
        struct meter_row meter;
        struct reported_row reported;
        struct hold_row hold;
        struct refusal_row refusal;
        struct issued_row issued;
        struct receipt_row receipt;
        struct outbox_row outbox;
        struct ledger_row ledger;
    } row;
    bool good = false;
#define TAKE(NAME, name, number)                                                                   \
    case INSPECT_##NAME:                                                                           \
        good = row_##name(columns, &row.name);                                                     \
        *id = row.name.number;                                                                     \
        if (good) {                                                                                \
            to->name(to->user, &row.name);                                                         \
        }                                                                                          \
        return good
    switch (table) {
        TAKE(NODES, node, node_id);
        TAKE(LIMIT_DEFS, limit_def, def_id);
        TAKE(ACCOUNTS, account, account_id);
        TAKE(KEYS, key, key_id);
        TAKE(THREADS, thread, thread_id);
        TAKE(SUBJECTS, subject, subject_id);
        TAKE(METERS, meter, subject_id);
        TAKE(REPORTED, reported, account_id);
        TAKE(HOLDS, hold, hold_id);
        TAKE(LEDGER, ledger, id);
    case INSPECT_REFUSALS: *id = 0; return row_refusal(columns, &row.refusal);
    case INSPECT_ISSUED: *id = 0; return row_issued(columns, &row.issued);
    case INSPECT_RECEIPTS: *id = 0; return row_receipt(columns, &row.receipt);
    case INSPECT_OUTBOX:
        good = row_outbox(columns, &row.outbox);
        *id = row.outbox.id;
        return good;
    case INSPECT_TABLE_COUNT: break;
    }
#undef TAKE
    return good;
}

int64_t
inspect_row(const struct inspector *to, enum inspect_table_id table, struct columns *columns)
{
    char what[160];
    int64_t id = 0;
    if (!take_row(to, table, columns, &id)) {
        (void)snprintf(what, sizeof(what),
            id ? "table %s, row %lld makes no sense" : "table %s has a row that makes no sense",
            inspect_tables[table].name, (long long)id);
        to->damage(to->user, what);
    }
    return id;
}
