/* store/postgres_fault.c: what an error of the server means to us, and the sentence for a person. */
#include "store/postgres_priv.h"

struct known_state {
    const char *state; /* or the beginning of one */
    struct fault fault;
};

#define RUN_AGAIN      "the transaction is to be run again"
#define CONNECTS_AGAIN "the gateway connects again"
#define NOT_OURS                                                                                   \
    "the store is damaged, or was changed by hand; `tidegate check --store` tells what is wrong with it"

/* Whole states before their classes. */
static const struct known_state known_states[] = {
    { "40001", { STATUS_CONFLICT, false, RUN_AGAIN } },
    { "40P01", { STATUS_CONFLICT, false, RUN_AGAIN } },
    { "55P03", { STATUS_CONFLICT, false, RUN_AGAIN } },
    { "40003", { STATUS_IO, true, CONNECTS_AGAIN } },
    { "57014", { STATUS_IO, false, "the server took too long: look at its load and its locks" } },
    { "57P", { STATUS_IO, true, CONNECTS_AGAIN } },
    { "25006",
        { STATUS_IO, true, "the server takes no writes: it is a standby, or was made one" } },
    { "25P02", { STATUS_IO, true, CONNECTS_AGAIN } },
    { "25P03", { STATUS_IO, true, CONNECTS_AGAIN } },
    { "08", { STATUS_IO, true, CONNECTS_AGAIN } },
    { "53100", { STATUS_FULL, false, "free some space on the server's disk" } },
    { "53200", { STATUS_FULL, false, "the server has no memory left" } },
    { "53300", { STATUS_FULL, true, "raise max_connections of the server" } },
    { "42501",
        { STATUS_IO, false,
            "give the user of the URL the rights to read and write all tables of the store" } },
    { "23505", { STATUS_CONFLICT, false, RUN_AGAIN } },
    { "22", { STATUS_INVALID, false, NOT_OURS } },
    { "23", { STATUS_INVALID, false, NOT_OURS } },
    { "42", { STATUS_INVALID, false, NOT_OURS } },
    { "XX001", { STATUS_INVALID, false, NOT_OURS } },
    { "XX002", { STATUS_INVALID, false, NOT_OURS } },
    { "", { STATUS_IO, false, "look into the log of the server" } },
};

struct fault
fault_of_state(const char *state)
{
    size_t i = 0;
    while (!slice_starts(slice_str(state), slice_str(known_states[i].state))) {
        i++; /* the last one begins every state */
    }
    return known_states[i].fault;
}

enum status
fault_tell(struct postgres_db *db, const PGresult *answer, struct fault fault)
{
    const char *state = PQresultErrorField(answer, PG_DIAG_SQLSTATE);
    const char *said = PQresultErrorField(answer, PG_DIAG_MESSAGE_PRIMARY);
    const struct slice line = message_line(said ? said : PQresultErrorMessage(answer));
    return store_fail(db->error_text, fault.status, "%s failed: %.*s (SQLSTATE %s): %s",
        db->place->text, (int)line.len, line.ptr ? line.ptr : "", state ? state : "none",
        fault.advice);
}

struct slice
message_line(const char *message)
{
    struct slice rest = slice_str(message ? message : "");
    struct slice line = SLICE("it does not say why");
    struct slice part;
    while (slice_split(&rest, '\n', &part)) {
        line = part.len > 0 && part.ptr[0] != '\t' ? part : line; /* behind a tab libpq guesses */
    }
    while (line.len > 0 && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == ' ')) {
        line.len--;
    }
    return line;
}
