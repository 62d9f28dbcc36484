/* store/memory.c: the engine in memory: for tests, for simulated days, for a trial. */
#include "store/memory_priv.h"

#include <stdlib.h>

#include "base/secret.h"

static const struct store_ops memory_ops;

enum status
memory_store_open(struct store **store, struct store_error *error)
{
    struct memory_store *memory = calloc(1, sizeof(*memory));
    if (!memory) {
        return store_fail(error->text, STATUS_FULL, "no memory for a store");
    }
    memory->base = (struct store){ .ops = &memory_ops,
        .rows = &memory_row_ops,
        .readers = &memory_reader_ops,
        .exclusive = true,
        .lease_mono_ms = INT64_MAX };
    pthread_mutexattr_t attributes;
    check(pthread_mutexattr_init(&attributes) == 0);
    check(pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK) == 0);
    check(pthread_mutex_init(&memory->mutex, &attributes) == 0);
    check(pthread_mutexattr_destroy(&attributes) == 0);
    for (int i = 0; i < TABLE_COUNT; i++) {
        table_init(&memory->tables[i], (enum memory_table_id)i);
    }
    secret_random(memory->signal_key, sizeof(memory->signal_key));
    *store = &memory->base;
    return STATUS_OK;
}

static void
memory_close(struct store *store)
{
    struct memory_store *memory = memory_store_of(store);
    check(atomic_load(&memory->reader_count) == 0);
    for (int i = 0; i < TABLE_COUNT; i++) {
        table_free(&memory->tables[i]);
    }
    free(memory->undo.entries);
    (void)pthread_mutex_destroy(&memory->mutex);
    secret_wipe(memory->signal_key, sizeof(memory->signal_key));
    free(memory);
}

static void
lock(struct memory_store *memory)
{
    check(pthread_mutex_lock(&memory->mutex) == 0);
    memory->meta_before = memory->meta;
}

static void
unlock(struct memory_store *memory)
{
    check(pthread_mutex_unlock(&memory->mutex) == 0);
}

static enum status
memory_begin(struct store *store, const struct node_row *node)
{
    struct memory_store *memory = memory_store_of(store);
    lock(memory);
    struct node_row *stored = &memory->meta.node;
    if (stored->node_id != node->node_id || stored->epoch != node->epoch) {
        unlock(memory);
        return store_fail(store->last_error, STATUS_FENCED,
            "epoch %lld of node %lld is over: another gateway has taken the store",
            (long long)node->epoch, (long long)node->node_id);
    }
    stored->lease_until_ms = node->lease_until_ms;
    stored->batch_no = node->batch_no;
    stored->high_water_ms = node->high_water_ms;
    return STATUS_OK;
}

static enum status
memory_begin_read(struct store *store)
{
    lock(memory_store_of(store));
    return STATUS_OK;
}

static enum status
memory_commit(struct store *store)
{
    struct memory_store *memory = memory_store_of(store);
    undo_forget(&memory->undo);
    unlock(memory);
    return STATUS_OK;
}

static void
memory_rollback(struct store *store)
{
    struct memory_store *memory = memory_store_of(store);
    undo_all(&memory->undo);
    memory->meta = memory->meta_before;
    unlock(memory);
}

static enum status
memory_node_start(struct store *store, int64_t now_ms, const char *config_hash,
    struct node_row *node, unsigned char signal_key[32])
{
    struct memory_store *memory = memory_store_of(store);
    lock(memory);
    struct memory_meta *meta = &memory->meta;
    if (meta->epoch >= EPOCH_MAX) {
        unlock(memory);
        return store_fail(store->last_error, STATUS_FULL,
            "the store has handed out all of its %lld epochs", (long long)EPOCH_MAX);
    }
    meta->epoch++;
    meta->node.node_id = STORE_NODE_ID;
    meta->node.epoch = meta->epoch;
    meta->node.lease_until_ms = 0;
    meta->node.high_water_ms = max_i64(meta->node.high_water_ms, now_ms);
    meta->node.started_ms = now_ms;
    (void)slice_to_cstr(
        slice_str(config_hash), meta->node.config_hash, sizeof(meta->node.config_hash));
    *node = meta->node;
    memcpy(signal_key, memory->signal_key, sizeof(memory->signal_key));
    unlock(memory);
    return STATUS_OK;
}

static enum status
memory_node_config(struct store *store, const struct node_row *node, const char *config_hash)
{
    struct node_row *stored = &memory_store_of(store)->meta.node;
    check(stored->epoch == node->epoch); /* begin saw to it */
    (void)slice_to_cstr(slice_str(config_hash), stored->config_hash, sizeof(stored->config_hash));
    return STATUS_OK;
}

static const struct store_ops memory_ops = {
    .close = memory_close,
    .node_start = memory_node_start,
    .node_config = memory_node_config,
    .begin = memory_begin,
    .begin_read = memory_begin_read,
    .commit = memory_commit,
    .rollback = memory_rollback,
};
