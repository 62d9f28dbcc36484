/* wire/items.h: items of the Responses API, in a request's input and in an answer's output, and the ids by
 * which a later request may name them at the provider. Source: OpenAI's reference, "Create a model
 * response"; DESIGN section 7. */
#pragma once

#include "wire/json.h"

#define ITEM_ID_BYTES_MAX 1024 /* longer ones are passed over: some gateways seal what an item holds in its id */

/* Whether an item of this type (between its quotes) says all that it stands for: its id is a label. Of
 * others the provider may look up the rest by the id. */
bool item_tells_itself(struct slice type);

struct item_id {
    struct slice id; /* decoded, not empty; in `room` */
    bool names;      /* the item does not tell itself */
    char room[ITEM_ID_BYTES_MAX];
};

/* The ids of items: of one, or of a list, as an answer has them. */
struct item_walk {
    struct json_cursor cursor;
    bool list, over;
};
void item_walk_start(struct item_walk *walk, struct slice items);
MUST_USE bool item_walk_next(struct item_walk *walk, struct item_id *out);
