/* tests/sim/inputs.c: what rows of the ledger say of themselves, read as people's tools read it. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

/* What follows `name` in the text; it has no end of its own. */
static struct slice
after(struct slice text, const char *name)
{
    const char *at = text.len > 0 ? memmem(text.ptr, text.len, name, strlen(name)) : NULL;
    const char *from = at ? at + strlen(name) : text.ptr;
    return at ? slice_of(from, text.len - (size_t)(from - text.ptr)) : slice_of(NULL, 0);
}

int64_t
inputs_number(struct slice text, const char *name)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const struct slice rest = after(text, wanted);
    size_t len = rest.len > 0 && rest.ptr[0] == '-' ? 1 : 0;
    int64_t number = 0;
    while (len < rest.len && rest.ptr[len] >= '0' && rest.ptr[len] <= '9') {
        len++;
    }
    return slice_to_i64(slice_of(rest.ptr, len), &number) ? number : 0;
}

void
inputs_limit(struct slice text, char limit[SIM_NAME])
{
    const struct slice rest = after(text, "\"limit\":\"");
    const char *end = rest.len > 0 ? memchr(rest.ptr, '"', rest.len) : NULL;
    slice_to_cstr(slice_of(rest.ptr, end ? (size_t)(end - rest.ptr) : 0), limit, SIM_NAME);
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
