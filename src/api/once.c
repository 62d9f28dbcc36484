/* api/once.c: one request while no gateway runs: the books are opened here, asked and closed. */
#include "api/api_priv.h"

struct once {
    struct store *store;
    struct engine *engine;
    struct api_plane *api;
};

static void
on_verdicts(void *user, uint32_t loop)
{
    struct once *once = user;
    api_wake(once->api, loop);
}

static enum status
open_engine(struct once *once, struct policy *policy, struct api_error *error)
{
    struct engine_error why;
    const struct engine_options options = { .store = once->store,
        .policy = policy_ref(policy),
        .loop_count = API_REPLY_LOOPS,
        .wake = on_verdicts,
        .wake_user = once };
    const enum status status = engine_open(&options, &once->engine, &why);
    if (status != STATUS_OK) {
        (void)slice_to_cstr(slice_str(why.text), error->text, sizeof(error->text));
    }
    return status;
}

static enum status
open_all(struct once *once, struct policy *policy, struct api_error *error)
{
    struct store_error why;
    const struct store_options options = { .full_sync = policy->durability == DURABILITY_DISK,
        .lease_ms = (int32_t)policy->lease_ms,
        .node_name = policy->node };
    enum status status = store_open(policy->store, &options, &once->store, &why);
    if (status != STATUS_OK) {
        (void)slice_to_cstr(slice_str(why.text), error->text, sizeof(error->text));
        return status;
    }
    status = open_engine(once, policy, error);
    if (status != STATUS_OK) {
        return status;
    }
    const struct api_options api_options = {
        .engine = once->engine, .store = once->store, .store_url = policy->store
    };
    return api_open(&api_options, &once->api, error);
}

enum status
api_do_once(struct policy *policy, const char *actor, const struct api_call *call, int *http_status,
    struct buf *out, int64_t *orphans, struct api_error *error)
{
    struct once once = { 0 };
    const enum status status = open_all(&once, policy, error);
    if (status == STATUS_OK) {
        struct engine_state state;
        engine_state(once.engine, &state);
        *orphans = state.orphans_closed;
        *http_status = api_do(once.api, actor, call, out);
    }
    api_stop(once.api);
    engine_close(once.engine);
    api_free(once.api);
    store_close(once.store);
    policy_unref(policy);
    return status;
}
