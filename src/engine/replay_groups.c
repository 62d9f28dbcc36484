/* engine/replay_groups.c: calls of one account that one limit refused, or ended early, counted together. */
#include <stdlib.h>

#include "engine/replay_priv.h"

static struct replay_group *
add_group(struct replay *replay, struct group_list *list, uint64_t hash)
{
    if (list->count == list->cap) {
        const int32_t cap = list->cap ? list->cap * 2 : 64;
        struct replay_group **grown = realloc(list->items, (size_t)cap * sizeof(*grown));
        if (!grown) {
            return NULL;
        }
        list->items = grown;
        list->cap = cap;
    }
    struct replay_group *group = arena_alloc(&replay->arena, sizeof(*group));
    if (!group || !map_put(&list->by_hash, hash, group)) {
        return NULL;
    }
    list->items[list->count++] = group;
    return group;
}

const struct replay_group *
groups_count(struct replay *replay, struct group_list *list, const struct past_call *past,
    const char *limit, enum reason reason, int64_t micros)
{
    const uint64_t hash = hash_pair(
        hash_pair((uint64_t)past->account_id, (uint64_t)reason), hash_bytes(slice_str(limit)));
    struct replay_group *group = map_get(&list->by_hash, hash);
    if (!group) {
        const char *name = map_get(&replay->accounts, (uint64_t)past->account_id);
        group = add_group(replay, list, hash);
        if (!group) {
            return NULL;
        }
        *group = (struct replay_group){ .account_id = past->account_id,
            .account = name ? name : "",
            .reason = reason,
            .first_ms = past->started_ms,
            .first_request = past->request };
        (void)slice_to_cstr(slice_str(limit), group->limit, sizeof(group->limit));
    }
    group->count++;
    group->cost_micros = money_add(group->cost_micros, micros);
    group->last_ms = past->started_ms;
    group->last_request = past->request;
    return group;
}

static int
by_count(const void *left, const void *right)
{
    const struct replay_group *a = left;
    const struct replay_group *b = right;
    if (a->count != b->count) {
        return a->count > b->count ? -1 : 1;
    }
    return a->first_ms < b->first_ms ? -1 : a->first_ms > b->first_ms;
}

bool
groups_sort(struct group_list *list)
{
    list->sorted = calloc((size_t)list->count + 1, sizeof(*list->sorted));
    if (!list->sorted) {
        return false;
    }
    for (int32_t i = 0; i < list->count; i++) {
        list->sorted[i] = *list->items[i];
    }
    if (list->count > 1) {
        qsort(list->sorted, (size_t)list->count, sizeof(*list->sorted), by_count);
    }
    return true;
}

void
groups_free(struct group_list *list)
{
    map_free(&list->by_hash);
    free(list->items);
    free(list->sorted);
}
