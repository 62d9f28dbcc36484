/* tbl/endpoints.c: the table of endpoints as data. */
#include "tbl/endpoints.h"

static const struct endpoint_row rows[] = {
#define ENDPOINT_ROW(id, method, path, owner, access, dispatches, repeat, help)                    \
    [ENDPOINT_##id] = { #method, path, ENDPOINT_OWNER_##owner, ENDPOINT_ACCESS_##access,           \
        dispatches, ENDPOINT_REPEAT_##repeat, help },
    ENDPOINTS(ENDPOINT_ROW)
#undef ENDPOINT_ROW
};

const struct endpoint_row *
endpoint_row(enum endpoint endpoint)
{
    if ((unsigned)endpoint >= ENDPOINT_COUNT) {
        __builtin_trap(); /* tbl includes nothing, so not check() */
    }
    return &rows[endpoint];
}
