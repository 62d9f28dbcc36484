/* rows/need.c: lists of needs. */
#include "rows/need.h"

#include <string.h>

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

/* What a call may go on as needs much of the same. */
static struct need *
needs_find(struct needs *needs, enum need_kind kind, int32_t sub_kind, int64_t id, const char *text)
{
    for (int32_t i = 0; i < needs->count; i++) {
        struct need *need = &needs->items[i];
        if (need->kind == kind && need->id == id && need->sub_kind == sub_kind
            && strcmp(need->text, text) == 0) {
            return need;
        }
    }
    return NULL;
}

struct need *
needs_add_id(struct needs *needs, enum need_kind kind, int64_t id)
{
    return needs_add_text(needs, kind, 0, id, "");
}

struct need *
needs_add_text(
    struct needs *needs, enum need_kind kind, int32_t sub_kind, int64_t id, const char *text)
{
    struct need *need = needs_find(needs, kind, sub_kind, id, text);
    if (need) {
        return need;
    }
    need = needs_next(needs, kind);
    if (need) {
        need->sub_kind = sub_kind;
        need->id = id;
        check(slice_to_cstr(slice_str(text), need->text, sizeof need->text));
    }
    return need;
}
