/* serve/reload.c: reading the configuration again, one at a time. */
#include "serve/reload.h"

#include <string.h>

#include "base/clock.h"
#include "base/thread.h"
#include "conf/conf.h"
#include "log/log.h"
#include "log/metrics.h"
#include "serve/left_caps.h"
#include "serve/node.h"
#include "serve/notify.h"

/* --- What is fixed at the start. */

static bool
same_text(const char *one, const char *other)
{
    return one && other ? strcmp(one, other) == 0 : one == other;
}

static bool
same_listens(const struct policy *old, const struct policy *new)
{
    if (old->listen_count != new->listen_count) {
        return false;
    }
    for (int32_t i = 0; i < old->listen_count; i++) {
        const struct listen *one = &old->listens[i];
        const struct listen *other = &new->listens[i];
        if (one->port != other->port || !same_text(one->host, other->host)
            || !same_text(one->unix_path, other->unix_path) || one->unix_mode != other->unix_mode
            || !one->cert_file != !other->cert_file) {
            return false;
        }
    }
    return true;
}

int
reload_fixed_changes(const struct policy *old, const struct policy *new, struct buf *out)
{
    const struct {
        const char *option;
        bool same;
    } rows[] = {
        { "listen", same_listens(old, new) },
        { "store", same_text(old->store, new->store) },
        { "lease", old->lease_ms == new->lease_ms },
        { "node", same_text(old->node, new->node) },
        { "durability", old->durability == new->durability },
        { "control", same_text(old->control, new->control) },
        { "loops", old->loops == new->loops },
        { "log", old->log_json == new->log_json },
        { "head_deadline", old->head_deadline_ms == new->head_deadline_ms },
        { "body_deadline", old->body_deadline_ms == new->body_deadline_ms },
        { "idle_deadline", old->idle_ms == new->idle_ms },
        { "head_max", old->head_bytes_max == new->head_bytes_max },
        { "headers_max", old->headers_max == new->headers_max },
        { "connections_max", old->connections_max == new->connections_max },
        { "connections_per_address", old->connections_per_address == new->connections_per_address },
        { "write_deadline", old->write_deadline_ms == new->write_deadline_ms },
        { "bodies_max", old->bodies_bytes_max == new->bodies_bytes_max },
        /* the sockets take no larger body than at the start; a lower bound holds at once */
        { "body_max", old->body_bytes_max >= new->body_bytes_max },
    };
    int count = 0;
    for (size_t i = 0; i < countof(rows); i++) {
        if (!rows[i].same) {
            buf_addf(out, "%s%s", count > 0 ? ", " : "", rows[i].option);
            count++;
        }
    }
    return count;
}

/* --- Reading. */

static void
note_reload(struct reload *reload, const char *actor, const char *config_hash)
{
    struct event event = { .kind = EVENT_ADMIN, .reply.loop = ENGINE_NO_REPLY };
    struct buf note = { 0 };
    event.admin.verb = ADMIN_NOTE;
    (void)slice_to_cstr(slice_str(actor), event.admin.actor, sizeof(event.admin.actor));
    buf_addf(&note, "{\"verb\":\"reload\",\"config_hash\":\"%s\"}", config_hash);
    event.admin.note = buf_slice(&note);
    if (note.failed || !engine_submit(reload->engine, &event)) {
        log_line(LOG_ERROR, "reload", "no memory to note it in the ledger");
    }
    buf_free(&note);
}

/* Of the configuration that was just put in force. */
static void
tell_left_caps(struct reload *reload, struct buf *said)
{
    struct policy *policy = engine_policy(reload->engine);
    left_caps_tell(reload->store, policy, said);
    engine_policy_unref(reload->engine, policy);
}

/* What the sockets and the other gateways say to it. */
static MUST_USE enum status
look_around(struct reload *reload, const struct policy *policy, bool mixed,
    struct net_certificates **certificates, struct buf *said)
{
    struct net_error net_error;
    if (!mixed && !reload->mixed) {
        const enum status others = node_others_agree(
            reload->store, engine_epoch(reload->engine), policy->config_hash, said);
        if (others != STATUS_OK) {
            return others;
        }
    }
    const enum status status = listeners_read(reload->listeners, policy, certificates, &net_error);
    if (status != STATUS_OK) {
        buf_add_str(said, net_error.text);
    }
    return status;
}

static MUST_USE enum status
read_again(struct reload *reload, const char *actor, bool mixed, struct buf *said)
{
    struct policy *policy = NULL;
    struct conf_error conf_error;
    struct engine_error engine_error;
    struct net_certificates *certificates = NULL;
    struct buf fixed = { 0 };
    enum status status = conf_load_file(reload->config_path, &policy, &conf_error);
    if (status != STATUS_OK) {
        buf_add_str(said, conf_error.text);
        return status;
    }
    status = look_around(reload, policy, mixed, &certificates, said);
    if (status != STATUS_OK) {
        policy_unref(policy);
        return status;
    }
    char config_hash[HASH_HEX + 1];
    memcpy(config_hash, policy->config_hash, sizeof(config_hash));
    const int fixed_count = reload_fixed_changes(reload->started_with, policy, &fixed);
    status = engine_set_policy(reload->engine, policy, &engine_error);
    if (status == STATUS_OK) {
        listeners_use(reload->listeners, certificates);
        net_trust_again(reload->listeners->net);
        store_set_mixed(reload->store, mixed || reload->mixed);
        note_reload(reload, actor, config_hash);
        buf_addf(said, "%s is in force", reload->config_path);
        if (fixed_count > 0) {
            buf_addf(said, ", but for what only a restart changes: %s", buf_cstr(&fixed));
        }
        tell_left_caps(reload, said);
    } else {
        net_certificates_free(certificates);
        buf_add_str(said, engine_error.text);
    }
    buf_free(&fixed);
    return status;
}

static void
count_reload(bool good)
{
    counter_add(good ? COUNTER_RELOADS_OK : COUNTER_RELOADS_FAILED, 1);
    counter_set(COUNTER_RELOAD_GOOD, good);
    if (good) {
        counter_set(COUNTER_RELOAD_TIME, clock_wall_ms() / SECOND_MS);
    }
}

enum status
reload_now(struct reload *reload, const char *actor, bool mixed, struct buf *said)
{
    enum status status = STATUS_NOT_FOUND;
    check(pthread_mutex_lock(&reload->lock) == 0);
    notify_reloading();
    if (reload->config_path) {
        status = read_again(reload, actor, mixed, said);
        count_reload(status == STATUS_OK);
    } else {
        buf_add_str(said, "the sandbox has no configuration to read again");
    }
    notify_ready();
    check(pthread_mutex_unlock(&reload->lock) == 0);
    if (status == STATUS_OK) {
        log_line(LOG_INFO, "reload", "%s", buf_cstr(said));
    } else if (!reload->config_path) {
        log_line(LOG_WARN, "reload", "%s", buf_cstr(said));
    } else {
        log_line(LOG_ERROR, "reload", "the configuration stays as it was: %s", buf_cstr(said));
    }
    return status;
}

/* --- A signal's. */

/* What was asked for while the file was being read may be newer than what was read: once more. */
static bool
asked_again(struct reload *reload)
{
    check(pthread_mutex_lock(&reload->thread_lock) == 0);
    const bool again = reload->again;
    reload->again = false;
    reload->thread_over = !again;
    check(pthread_mutex_unlock(&reload->thread_lock) == 0);
    return again;
}

static void *
reload_thread(void *arg)
{
    struct reload *reload = arg;
    thread_begin("reload");
    do {
        struct buf said = { 0 };
        (void)reload_now(reload, "SIGHUP", false, &said); /* it was logged */
        buf_free(&said);
    } while (asked_again(reload));
    return NULL;
}

static void
join(struct reload *reload)
{
    if (reload->thread_runs) {
        check(pthread_join(reload->thread, NULL) == 0);
        reload->thread_runs = false;
    }
}

void
reload_start(struct reload *reload)
{
    check(pthread_mutex_lock(&reload->thread_lock) == 0);
    const bool busy = reload->thread_runs && !reload->thread_over;
    reload->again = busy;
    check(pthread_mutex_unlock(&reload->thread_lock) == 0);
    if (busy) {
        return;
    }
    join(reload);
    reload->thread_over = false;
    reload->thread_runs = pthread_create(&reload->thread, NULL, reload_thread, reload) == 0;
    if (!reload->thread_runs) {
        log_line(LOG_ERROR, "reload", "no thread to read the configuration with");
    }
}

void
reload_open(struct reload *reload, const struct reload_options *options)
{
    *reload = (struct reload){ .config_path = options->config_path,
        .started_with = policy_ref_facts(options->policy),
        .engine = options->engine,
        .store = options->store,
        .mixed = options->mixed,
        .listeners = options->listeners };
    check(pthread_mutex_init(&reload->lock, NULL) == 0);
    check(pthread_mutex_init(&reload->thread_lock, NULL) == 0);
    counter_set(COUNTER_RELOAD_GOOD, 1);
    counter_set(COUNTER_RELOAD_TIME, clock_wall_ms() / SECOND_MS);
    struct buf left = { 0 };
    tell_left_caps(reload, &left); /* a start may find an edited file, too */
    if (left.len > 0) {
        log_line(LOG_WARN, "reload", "%s is in force%s",
            options->config_path ? options->config_path : "the sandbox", buf_cstr(&left));
    }
    buf_free(&left);
}

void
reload_close(struct reload *reload)
{
    if (reload->started_with) {
        join(reload);
        policy_unref_facts(reload->started_with);
        reload->started_with = NULL;
        check(pthread_mutex_destroy(&reload->lock) == 0);
        check(pthread_mutex_destroy(&reload->thread_lock) == 0);
    }
}
