/* wire/items.c: see the header. */
#include "wire/items.h"

bool
item_tells_itself(struct slice type)
{
    static const struct slice types[] = {
        { "message", 7 },
        { "function_call", 13 },
        { "custom_tool_call", 16 },
        { "local_shell_call", 16 },
        { "shell_call", 10 },
        { "apply_patch_call", 16 },
        { "computer_call", 13 },
        { "mcp_approval_response", 21 },
    };
    for (size_t i = 0; i < countof(types); i++) {
        if (json_key_is(type, types[i])) {
            return true;
        }
    }
    return slice_ends(type, SLICE("_output")); /* of a tool, by the client */
}

void
item_walk_start(struct item_walk *walk, struct slice items)
{
    *walk = (struct item_walk){ .over = false };
    json_start(&walk->cursor, items);
    walk->list = json_enter(&walk->cursor, '[');
}

/* False: it has no id that could be named. */
static bool
read_item(struct slice item, struct item_id *out)
{
    struct json_cursor cursor;
    struct json_value value;
    struct slice key;
    size_t id_len = 0;
    json_start(&cursor, item);
    if (!json_enter(&cursor, '{')) {
        return false;
    }
    out->names = true;
    while (json_next_member(&cursor, &key) && json_take(&cursor, &value)) {
        if (value.type != JSON_STRING) {
            continue;
        }
        if (json_key_is(key, SLICE("type"))) {
            out->names = !item_tells_itself(json_inside(value));
        } else if (json_key_is(key, SLICE("id"))
                   && !json_unescape(json_inside(value), out->room, sizeof out->room, &id_len)) {
            id_len = 0;
        }
    }
    out->id = slice_of(out->room, id_len);
    return id_len > 0;
}

bool
item_walk_next(struct item_walk *walk, struct item_id *out)
{
    struct json_value item;
    while (walk->list ? json_next_item(&walk->cursor) : !walk->over) {
        walk->over = true;
        if (!json_take(&walk->cursor, &item)) {
            return false;
        }
        if (read_item(item.text, out)) {
            return true;
        }
    }
    return false;
}
