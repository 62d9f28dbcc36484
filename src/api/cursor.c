/* api/cursor.c: how far somebody has read the events. Pure.
 *
 * Ids of one epoch grow with time, those of several gateways grow side by side. So a cursor has the last id that was
 * read of each epoch that may still write; whatever is of a later epoch than all of these is news. */
#include "api/cursor_priv.h"

#define EPOCH_OF(id) ((id) >> ID_COUNTER_BITS)

/* Where one of this epoch is, or belongs. */
static int32_t
cursor_place(const struct cursor *cursor, int64_t epoch)
{
    int32_t at = 0;
    while (at < cursor->count && EPOCH_OF(cursor->at[at].last_id) < epoch) {
        at++;
    }
    return at;
}

bool
cursor_has(const struct cursor *cursor, int64_t epoch)
{
    const int32_t at = cursor_place(cursor, epoch);
    return at < cursor->count && EPOCH_OF(cursor->at[at].last_id) == epoch;
}

void
cursor_move(struct cursor *cursor, int64_t id)
{
    int32_t at = cursor_place(cursor, EPOCH_OF(id));
    if (at < cursor->count && EPOCH_OF(cursor->at[at].last_id) == EPOCH_OF(id)) {
        cursor->at[at].last_id = max_i64(cursor->at[at].last_id, id);
        return;
    }
    if (cursor->count == CURSOR_EPOCHS_MAX) { /* the oldest has been over for long */
        memmove(&cursor->at[0], &cursor->at[1], sizeof(cursor->at[0]) * (CURSOR_EPOCHS_MAX - 1));
        cursor->count--;
        at -= at > 0;
    }
    memmove(
        &cursor->at[at + 1], &cursor->at[at], sizeof(cursor->at[0]) * (size_t)(cursor->count - at));
    cursor->at[at] = (struct cursor_epoch){ .last_id = id };
    cursor->count++;
}

void
cursor_look(struct cursor *cursor, const int64_t *alive, int32_t alive_count)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < cursor->count; i++) {
        struct cursor_epoch at = cursor->at[i];
        bool lives = false;
        for (int32_t k = 0; k < alive_count; k++) {
            lives |= alive[k] == EPOCH_OF(at.last_id);
        }
        at.over_looks = lives ? 0 : at.over_looks + 1;
        /* The last one stays: what comes after it is news. */
        if (at.over_looks < CURSOR_OVER_LOOKS || i == cursor->count - 1) {
            cursor->at[kept++] = at;
        }
    }
    cursor->count = kept;
}

int64_t
cursor_epoch_end(int64_t id)
{
    return (EPOCH_OF(id) + 1) << ID_COUNTER_BITS;
}

int64_t
cursor_end(const struct cursor *cursor)
{
    return cursor->count == 0 ? INT64_C(1) << ID_COUNTER_BITS
                              : cursor_epoch_end(cursor->at[cursor->count - 1].last_id);
}

bool
cursor_parse(struct slice text, struct cursor *cursor)
{
    struct slice part = { 0 };
    *cursor = (struct cursor){ 0 };
    while (slice_split(&text, '.', &part)) {
        int64_t id = 0;
        if (!api_id_parse(part, SLICE("evt_"), &id) || cursor->count == CURSOR_EPOCHS_MAX
            || EPOCH_OF(id) == 0 || cursor_has(cursor, EPOCH_OF(id))) {
            return false;
        }
        cursor_move(cursor, id);
    }
    return cursor->count > 0;
}

void
cursor_add_text(struct buf *out, const struct cursor *cursor)
{
    for (int32_t i = 0; i < cursor->count; i++) {
        buf_add_str(out, i ? "." : "evt_");
        buf_add_i64(out, cursor->at[i].last_id);
    }
}
