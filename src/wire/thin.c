/* wire/thin.c: an object made thin (thin.h): one pass over its bytes, that knows strings and depth alone. */
#include "wire/thin.h"

static bool
is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void
keep(struct thin *thin, char c)
{
    if (thin->dropped) {
        return;
    }
    if (thin->kept.len == thin->member_at && thin->member_at > 1) {
        buf_add_char(&thin->kept, ',');
    }
    buf_add_char(&thin->kept, c);
    if (thin->kept.len - thin->member_at > THIN_MEMBER_BYTES_MAX
        || thin->kept.len > THIN_BYTES_MAX) {
        thin->kept.len = thin->member_at;
        thin->dropped = true;
    }
}

static void
next_member(struct thin *thin)
{
    thin->member_at = thin->kept.len;
    thin->dropped = false;
}

/* Outside the object: before it, or behind it. */
static void
pass_outside(struct thin *thin, char c)
{
    if (c == '{' && !thin->over) {
        buf_add_char(&thin->kept, c);
        thin->depth = 1;
        next_member(thin);
    } else if (!is_blank(c)) {
        thin->broken = true;
    }
}

static void
pass_in_string(struct thin *thin, char c)
{
    if (thin->escaped) {
        thin->escaped = false;
    } else if (c == '\\') {
        thin->escaped = true;
    } else if (c == '"') {
        thin->in_string = false;
    }
    keep(thin, c);
}

static void
pass_inside(struct thin *thin, char c)
{
    switch (c) {
    case '"': thin->in_string = true; break;
    case '{':
    case '[': thin->depth++; break;
    case '}':
    case ']':
        thin->depth--;
        if (thin->depth == 0) {
            thin->over = true;
            thin->broken |= c != '}';
            return;
        }
        break;
    case ',':
        if (thin->depth == 1) {
            next_member(thin);
            return;
        }
        break;
    default: break;
    }
    keep(thin, c);
}

void
thin_feed(struct thin *thin, struct slice piece)
{
    for (size_t i = 0; i < piece.len && !thin->broken; i++) {
        const char c = piece.ptr[i];
        if (thin->in_string) {
            pass_in_string(thin, c);
        } else if (thin->depth > 0) {
            pass_inside(thin, c);
        } else {
            pass_outside(thin, c);
        }
    }
}

bool
thin_end(struct thin *thin, struct slice *object)
{
    if (thin->broken || !thin->over) {
        return false;
    }
    buf_add_char(&thin->kept, '}');
    *object = buf_slice(&thin->kept);
    return !thin->kept.failed;
}

void
thin_free(struct thin *thin)
{
    buf_free(&thin->kept);
}
