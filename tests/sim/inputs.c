/* tests/sim/inputs.c: what rows of the ledger say of themselves, read as people's tools read it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

int64_t
inputs_number(struct slice text, const char *name)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const char *at = text.len > 0 ? memmem(text.ptr, text.len, wanted, strlen(wanted)) : NULL;
    return at ? strtoll(at + strlen(wanted), NULL, 10) : 0;
}

void
inputs_limit(struct slice text, char limit[SIM_NAME])
{
    static const char name[] = "\"limit\":\"";
    const char *at = text.len > 0 ? memmem(text.ptr, text.len, name, strlen(name)) : NULL;
    limit[0] = '\0';
    if (at) {
        sscanf(at + strlen(name), "%23[^\"]", limit);
    }
}

struct slice
inputs_limits(struct slice text)
{
    static const char name[] = "\"limits\":[";
    const char *at = text.len > 0 ? memmem(text.ptr, text.len, name, strlen(name)) : NULL;
    const char *from = at ? at + strlen(name) : text.ptr;
    const char *end = at ? memchr(from, ']', text.len - (size_t)(from - text.ptr)) : NULL;
    return end ? slice_of(from, (size_t)(end - from)) : slice_of(NULL, 0);
}

bool
inputs_next(struct slice *rest, struct slice *item)
{
    const char *end = rest->len > 0 ? memchr(rest->ptr, '}', rest->len) : NULL;
    if (!end) {
        return false;
    }
    *item = slice_of(rest->ptr, (size_t)(end - rest->ptr));
    *rest = slice_of(end + 1, rest->len - item->len - 1);
    return true;
}
