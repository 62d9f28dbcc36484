/* rows/need.c: lists of needs. */
#include "rows/need.h"

static struct need *
needs_next(struct needs *needs, enum need_kind kind)
{
    if (needs->count == NEEDS_MAX) {
        needs->overflow = true;
        return NULL;
    }
    struct need *need = &needs->items[needs->count++];
    *need = (struct need){ .kind = kind };
    return need;
}

void
needs_add_id(struct needs *needs, enum need_kind kind, int64_t id)
{
    struct need *need = needs_next(needs, kind);
    if (need) {
        need->id = id;
    }
}

void
needs_add_text(
    struct needs *needs, enum need_kind kind, int32_t sub_kind, int64_t id, const char *text)
{
    struct need *need = needs_next(needs, kind);
    if (need) {
        need->sub_kind = sub_kind;
        need->id = id;
        check(slice_to_cstr(slice_str(text), need->text, sizeof need->text));
    }
}
