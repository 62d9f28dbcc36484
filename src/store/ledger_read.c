/* store/ledger_read.c: the ledger read in SQL: of one call first the rows under its number and above, then what
 * others wrote of it under lower ones, since numbers of an older epoch are smaller. */
#include "store/ledger_read.h"

enum status
ledger_read(struct store_reader *reader, const struct ledger_filter *filter,
    ledger_statement *read_by, ledger_callback *callback, void *user)
{
    struct ledger_filter rest = *filter;
    int32_t left = filter->limit > 0 ? filter->limit : LEDGER_READ_ROWS_DEFAULT;
    const enum status status =
        read_by(reader, STATEMENT_READ_LEDGER, filter, &left, callback, user);
    if (status != STATUS_OK || filter->id == 0 || left <= 0) {
        return status;
    }
    rest.limit = left;
    return read_by(reader, STATEMENT_READ_LEDGER_OF_OTHERS, &rest, &left, callback, user);
}
