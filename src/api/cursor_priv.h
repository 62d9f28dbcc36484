/* api/cursor_priv.h: how far somebody has read the events. */
#pragma once

#include "api/api_priv.h"

/* What happens to whoever moves a cursor: */
bool cursor_has(const struct cursor *cursor, int64_t epoch);
/* All of its epoch up to this id was read. */
void cursor_move(struct cursor *cursor, int64_t id);
/* These epochs may still write; one that is over goes when nothing of it can come any more. */
void cursor_look(struct cursor *cursor, const int64_t *alive, int32_t alive_count);
/* Ids of an epoch are below that. */
int64_t cursor_epoch_end(int64_t id);
/* Ids of all its epochs are below that, those of later ones are not. */
int64_t cursor_end(const struct cursor *cursor);
/* "evt_12", "evt_12.34": the last id of each epoch; false: it is none. */
MUST_USE bool cursor_parse(struct slice text, struct cursor *cursor);
void cursor_add_text(struct buf *out, const struct cursor *cursor);
