/* store/postgres_queue.c: writes that wait in memory until they are sent with their commit, in the one
 * order that all gateways keep. */
#include "store/postgres_priv.h"

#include <stdlib.h>

void
queue_clear(struct queue *queue)
{
    queue->count = 0;
    queue->failed = false;
    buf_clear(&queue->bytes);
}

void
queue_free(struct queue *queue)
{
    free(queue->at);
    buf_free(&queue->bytes);
    *queue = (struct queue){ 0 };
}

static void
add_value(struct queue *queue, const struct value *value)
{
    struct value kept = *value;
    kept.text.ptr = NULL; /* behind it */
    buf_add(&queue->bytes, &kept, sizeof(kept));
    if (value->kind != VALUE_NUMBER) {
        buf_add_slice(&queue->bytes, value->text);
    }
}

void
queue_add(struct queue *queue, const struct put *put, struct write_order order)
{
    if (queue->count == queue->cap) {
        const size_t cap = queue->cap ? queue->cap * 2 : 64;
        struct queued *grown = realloc(queue->at, cap * sizeof(*grown));
        if (!grown) {
            queue->failed = true;
            return;
        }
        queue->at = grown;
        queue->cap = cap;
    }
    struct queued *queued = &queue->at[queue->count];
    *queued = (struct queued){ .order = order,
        .number = queue->count++,
        .statement = put->statement,
        .none = put->none,
        .table = put->table,
        .id = put->id,
        .text_at = queue->bytes.len,
        .value_count = put->params.count };
    buf_add_str(&queue->bytes, order.text ? order.text : "");
    buf_add_char(&queue->bytes, '\0');
    queued->values_at = queue->bytes.len;
    for (int32_t i = 0; i < put->params.count; i++) {
        add_value(queue, &put->params.at[i]);
    }
    queue->failed |= queue->bytes.failed;
}

static int
compare(const void *left, const void *right)
{
    const struct queued *a = left;
    const struct queued *b = right;
    if (a->order.rank != b->order.rank) {
        return a->order.rank < b->order.rank ? -1 : 1;
    }
    for (size_t i = 0; i < countof(a->order.ids); i++) {
        if (a->order.ids[i] != b->order.ids[i]) {
            return a->order.ids[i] < b->order.ids[i] ? -1 : 1;
        }
    }
    const int texts = strcmp(a->order.text, b->order.text);
    return texts != 0 ? texts : a->number < b->number ? -1 : a->number > b->number;
}

void
queue_sort(struct queue *queue)
{
    if (queue->failed || queue->count == 0) {
        return;
    }
    for (size_t i = 0; i < queue->count; i++) {
        queue->at[i].order.text = queue->bytes.ptr + queue->at[i].text_at;
    }
    qsort(queue->at, queue->count, sizeof(*queue->at), compare);
}

static void
read_params(const struct queue *queue, const struct queued *queued, struct params *params)
{
    const char *at = queue->bytes.ptr + queued->values_at;
    params->count = queued->value_count;
    for (int32_t i = 0; i < queued->value_count; i++) {
        struct value *value = &params->at[i];
        memcpy(value, at, sizeof(*value));
        at += sizeof(*value);
        if (value->kind != VALUE_NUMBER) {
            value->text.ptr = at;
            at += value->text.len;
        }
    }
}

enum status
queue_send(struct queue *queue, struct postgres_db *db, size_t *first_slot)
{
    if (queue->failed) {
        return store_fail(db->error_text, STATUS_FULL, "no memory for a row of the store");
    }
    queue_sort(queue);
    for (size_t i = 0; i < queue->count; i++) {
        struct params params;
        size_t slot = 0;
        const struct queued *queued = &queue->at[i];
        read_params(queue, queued, &params);
        const enum status status = pg_send(db, queued->statement,
            queued->none == STATUS_OK ? FORM_PLAIN : FORM_MUST, &params, &slot);
        if (status != STATUS_OK) {
            return status;
        }
        if (i == 0) {
            *first_slot = slot;
        }
    }
    return STATUS_OK;
}

enum status
queue_tell(const struct queue *queue, struct postgres_db *db, size_t first_slot, enum status status)
{
    const ptrdiff_t at = db->failed_slot - (ptrdiff_t)first_slot;
    if (db->failed_slot < 0 || at < 0 || (size_t)at >= queue->count
        || strcmp(db->failed_state, SQLSTATE_NO_ROW) != 0) {
        return status;
    }
    const struct queued *queued = &queue->at[at];
    return store_fail(db->error_text, STATUS_CONFLICT, "table %s, row %lld: %s", queued->table,
        (long long)queued->id, none_text(queued->none));
}
