/* gateway.c: what `tidegate serve` is. Opens every room in order, lets the loops run until a signal, and closes
 * in reverse.
 *
 *     secrets, policy -> store -> sockets -> engine -> relay, control plane, jobs -> loops run
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/api.h"
#include "base/machine.h"
#include "base/place.h"
#include "base/plural.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "conf/conf.h"
#include "engine/engine.h"
#include "engine/replies.h"
#include "jobs/jobs.h"
#include "log/log.h"
#include "log/trail.h"
#include "net/handler.h"
#include "relay/relay.h"
#include "serve/crash.h"
#include "serve/node.h"
#include "serve/notify.h"
#include "serve/reload.h"
#include "serve/watchdog.h"
#include "store/store.h"
#include "wire/json.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define TARGET_BYTES_MAX         8192
#define HIGH_WATER_BYTES         ((size_t)256 << 10)
#define LOOPS_MIN                2
#define BODIES_BYTES_MIN         ((int64_t)64 << 20)
#define READ_BYTES_MAX           ((int64_t)64 << 10)
#define EVENT_BYTES_MAX          ((int64_t)64 << 10)
#define DESCRIPTORS_OWN          64 /* store, listeners, loops, log, commands */
#define DESCRIPTORS_A_CONNECTION 2
#define CONNECTIONS_MIN          4 /* the least that connections_max may be */
#define LOOPS_MAX                WATCHDOG_LOOPS_MAX

struct serve_options {
    const char *config, *listen, *log_level;
    bool log_json, mixed;
};

/* What one loop has of each room; the user of the net_loop. */
struct gateway_loop {
    struct gateway *gateway;
    struct replies replies;
    struct relay_loop *relay;
    struct api_loop *api;
};

struct gateway {
    struct cli *cli;
    struct serve_options options;
    const char *config_path; /* NULL: sandbox */
    struct sandbox sandbox;
    bool sandboxed;

    struct policy
        *policy; /* of the start; one reference, once the engine has its own to the facts alone */
    struct budget bodies;
    int32_t connections_max;
    struct listen listens[LISTENS_MAX];
    int listen_count;
    char listen_copy[256]; /* of --listen */
    char control[4096];
    char node_name[NAME_MAX_BYTES + 1];
    struct buf listen_names; /* for people */
    char sandbox_key[128];

    struct store *store;
    struct net *net;
    struct engine *engine;
    struct relay *relay;
    struct api_plane *api;
    struct jobs *jobs;
    uint32_t loop_count;
    struct gateway_loop loops[LOOPS_MAX];

    int signals; /* to stop, so far */
    struct listeners listeners;
    struct reload reload;
    struct watchdog watchdog;
};

/* --- Loops. */

static void
on_loop_start(struct net_loop *net_loop)
{
    struct gateway *gateway = net_user(net_loop_net(net_loop));
    const int index = net_loop_index(net_loop);
    struct gateway_loop *loop = &gateway->loops[index];
    loop->gateway = gateway;
    trail_thread("loop", index);
    replies_init(&loop->replies, gateway->engine, (uint32_t)index);
    loop->replies.by_turns = true;
    loop->relay = relay_loop_start(gateway->relay, net_loop, &loop->replies);
    loop->api = api_loop_start(gateway->api, net_loop);
    check(
        loop->relay && loop->api); /* a few KB, at the start: nothing to go on with without them */
    net_loop_set_user(net_loop, loop);
    if (index == 0) {
        listeners_watch(&gateway->listeners, net_loop);
    }
    watchdog_begin(&gateway->watchdog, net_loop);
}

static void
on_loop_stop(struct net_loop *net_loop)
{
    struct gateway_loop *loop = net_loop_user(net_loop);
    if (net_loop_index(net_loop) == 0) {
        listeners_unwatch(&loop->gateway->listeners);
    }
    watchdog_end(&loop->gateway->watchdog, net_loop);
    api_loop_stop(loop->api);
    relay_loop_stop(loop->relay);
    replies_free(&loop->replies);
}

static void
on_wake(struct net_loop *net_loop)
{
    struct gateway_loop *loop = net_loop_user(net_loop);
    replies_deliver(&loop->replies);
    relay_loop_wake(loop->relay);
    api_deliver(loop->api);
}

static void
on_turn_end(struct net_loop *net_loop)
{
    struct gateway_loop *loop = net_loop_user(net_loop);
    replies_turn_end(&loop->replies);
}

static void
on_request(struct net_exchange *exchange, const struct http_head *head)
{
    struct gateway_loop *loop = net_loop_user(net_exchange_loop(exchange));
    if (net_exchange_tag(exchange) != API_TAG_CONTROL && relay_owns_path(head->path)) {
        relay_request(loop->relay, exchange, head);
    } else {
        api_request(loop->api, exchange, head);
    }
}

static const struct net_handler *
handler_of(const struct net_exchange *exchange)
{
    const struct net_handled *handled = net_exchange_user(exchange);
    return handled->handler;
}

static void
on_body(struct net_exchange *exchange, struct slice piece, bool last)
{
    handler_of(exchange)->on_body(exchange, piece, last);
}

static void
on_gone(struct net_exchange *exchange)
{
    handler_of(exchange)->on_gone(exchange);
}

static void
on_drained(struct net_exchange *exchange)
{
    if (handler_of(exchange)->on_drained) {
        handler_of(exchange)->on_drained(exchange);
    }
}

static const struct net_app gateway_app = {
    .on_loop_start = on_loop_start,
    .on_loop_stop = on_loop_stop,
    .on_wake = on_wake,
    .on_turn_end = on_turn_end,
    .on_request = on_request,
    .on_body = on_body,
    .on_gone = on_gone,
    .on_drained = on_drained,
};

/* The engine has verdicts: for a loop, or for a thread of the control plane. */
static void
on_verdicts(void *user, uint32_t loop)
{
    struct gateway *gateway = user;
    if (loop < gateway->loop_count) {
        net_loop_wake(net_loop_at(gateway->net, (int)loop));
    } else {
        api_wake(gateway->api, loop);
    }
}

/* api_options.reload. */
static enum status
reload(void *user, const char *actor, bool mixed, struct buf *said)
{
    struct gateway *gateway = user;
    return reload_now(&gateway->reload, actor, mixed, said);
}

/* For the last bytes of calls that were ended at the end of the grace. */
#define LAST_WORDS_MS 1000

static void
on_signal(struct net *net, int signal_number)
{
    struct gateway *gateway = net_user(net);
    if (signal_number == SIGHUP) {
        reload_start(&gateway->reload);
        return;
    }
    gateway->signals++;
    if (gateway->signals == 1) {
        struct policy *policy = engine_policy(gateway->engine);
        log_line(LOG_INFO, "stopping",
            "calls in flight may go on for %lld s; once more ends them now",
            (long long)(policy->stop_grace_ms / SECOND_MS));
        notify_stopping();
        relay_stop(gateway->relay, net, policy->stop_grace_ms);
        net_stop(net, policy->stop_grace_ms + LAST_WORDS_MS);
        engine_policy_unref(gateway->engine, policy);
    } else if (gateway->signals == 2) {
        relay_stop(gateway->relay, net, 0);
        net_stop(net, LAST_WORDS_MS);
    } else {
        _exit(EXIT_FAILED); /* whoever asks three times means it */
    }
}

/* --- Opening, in order. Each answers false with its sentence said. */

/* The bounds that come from the machine, where the configuration leaves them open or asks for more. */
static bool
choose_bounds(struct gateway *gateway)
{
    const struct policy *policy = gateway->policy;
    const int64_t descriptors = machine_raise_descriptors();
    const int64_t room = (descriptors - DESCRIPTORS_OWN) / DESCRIPTORS_A_CONNECTION;
    gateway->connections_max = policy->connections_max;
    if (descriptors > 0 && room < CONNECTIONS_MIN) {
        (void)cli_fail(
            "this process may open %lld files, and a gateway needs at least %d: raise the limit "
            "of open files (ulimit -Hn, LimitNOFILE=)",
            (long long)descriptors, DESCRIPTORS_OWN + CONNECTIONS_MIN * DESCRIPTORS_A_CONNECTION);
        return false;
    }
    if (descriptors > 0 && room < policy->connections_max) {
        gateway->connections_max = (int32_t)room;
        /* By little, the start line's number is word enough. */
        log_line(room < policy->connections_max / 20 * 19 ? LOG_WARN : LOG_DEBUG, "start",
            "connections_max is lowered from %d to %d: this process may open %lld files, and a connection needs one "
            "for its client and one for its provider; raise the limit of open files (ulimit -Hn, LimitNOFILE=)",
            policy->connections_max, gateway->connections_max, (long long)descriptors);
    }
    /* One body of the largest size always fits. */
    const int64_t quarter = max_i64(BODIES_BYTES_MIN, machine_memory_bytes() / 4);
    gateway->bodies.max_bytes = policy->bodies_bytes_max > 0
                                    ? policy->bodies_bytes_max
                                    : max_i64(quarter, policy->body_bytes_max / 3 * 4 + 4);
    return true;
}

static bool
open_sandbox(struct gateway *gateway)
{
    struct cli_error error = { .text = "" };
    struct conf_error conf_error = { 0 };
    gateway->sandboxed = true;
    if (sandbox_start(&gateway->sandbox, &error) != STATUS_OK) {
        (void)cli_fail("%s", error.text);
        return false;
    }
    if (conf_sandbox(gateway->sandbox.mock_port, SANDBOX_STORE, SANDBOX_LISTEN, &gateway->policy,
            &conf_error)
        != STATUS_OK) {
        (void)cli_fail("the sandbox's configuration: %s", conf_error.text);
        return false;
    }
    return true;
}

static bool
open_policy(struct gateway *gateway)
{
    struct conf_error error;
    const char *path = gateway->options.config;
    if (!path && access(CONFIG_FILE_DEFAULT, F_OK) != 0) {
        return open_sandbox(gateway);
    }
    gateway->config_path = path ? path : CONFIG_FILE_DEFAULT;
    const enum status status = conf_load_file(gateway->config_path, &gateway->policy, &error);
    if (status == STATUS_INVALID) {
        (void)fprintf(stderr, "%s\n", error.text);
        (void)cli_fail("the configuration is wrong, so nothing was started");
    } else if (status != STATUS_OK) {
        (void)cli_fail("%s", error.text);
    }
    return status == STATUS_OK;
}

static bool
open_log(const struct gateway *gateway)
{
    enum log_level level = LOG_INFO;
    const char *word = gateway->options.log_level;
    if (word && !log_level_from_word(slice_str(word), &level)) {
        (void)cli_fail("--log-level %s: there are debug, info, warn and error", word);
        return false;
    }
    log_open(level, gateway->options.log_json || (gateway->policy && gateway->policy->log_json));
    return true;
}

static bool
choose_listens(struct gateway *gateway)
{
    const struct policy *policy = gateway->policy;
    if (gateway->options.listen) {
        gateway->listen_count = 1;
        if (!listen_parse(slice_str(gateway->options.listen), gateway->listen_copy,
                sizeof(gateway->listen_copy), &gateway->listens[0])) {
            (void)cli_fail(
                "--listen %s: wanted is an address such as 127.0.0.1:8080, [::1]:8080 or "
                "unix:/path",
                gateway->options.listen);
            return false;
        }
    } else {
        gateway->listen_count = policy->listen_count;
        memcpy(gateway->listens, policy->listens, sizeof(gateway->listens));
    }
    if (!control_path(policy, gateway->control, sizeof(gateway->control))) {
        (void)cli_fail("the path of the control socket is too long; choose another with control:");
        return false;
    }
    return true;
}

/* Sanitizers tell of a crash themselves, and more. */
static void
open_crash(const struct gateway *gateway)
{
    const char *store = gateway->policy->store;
    if (!SANITIZED) { /* books on another machine: the control socket is what is here */
        crash_open(store_url_is_postgres(store) ? gateway->control : store_url_path(store));
    }
}

static bool
open_store(struct gateway *gateway)
{
    struct store_error error;
    const struct policy *policy = gateway->policy;
    node_name(policy, &gateway->listens[0], gateway->node_name);
    const struct store_options options = { .full_sync = policy->durability == DURABILITY_DISK,
        .lease_ms = (int32_t)policy->lease_ms,
        .mixed = gateway->options.mixed,
        .node_name = gateway->node_name };
    if (store_open(policy->store, &options, &gateway->store, &error) != STATUS_OK) {
        (void)cli_fail("%s", error.text);
        return false;
    }
    if (store_note(gateway->store)[0]) {
        log_line(LOG_WARN, "store", "%s", store_note(gateway->store));
    }
    return true;
}

static uint32_t
count_loops(const struct policy *policy)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const int64_t wanted = policy->loops > 0 ? policy->loops : max_i64(LOOPS_MIN, cores);
    return (uint32_t)min_i64(wanted, LOOPS_MAX);
}

/* What helps where a listener cannot be had. */
static const char *
listen_advice(const struct gateway *gateway, int listen_index)
{
    if (listen_index < 0) {
        return "";
    }
    if (listen_index == gateway->listen_count) {
        return "; this is the control socket: choose another path with control: in the configuration";
    }
    return gateway->options.listen
               ? "; choose another with --listen"
               : "; choose another with --listen, or listen: in the configuration";
}

static bool
open_net(struct gateway *gateway)
{
    const struct policy *policy = gateway->policy;
    struct listeners *listeners = &gateway->listeners;
    struct net_error error;
    listeners_init(listeners, gateway->listens, gateway->listen_count, gateway->control);
    gateway->loop_count = count_loops(policy);
    const struct net_options options = {
        .loop_count = (int)gateway->loop_count,
        .listens = listeners->at,
        .listen_count = listeners->count + 1,
        .limits = { .head_bytes_max = (size_t)policy->head_bytes_max,
            .target_bytes_max = (size_t)min_i64(TARGET_BYTES_MAX, policy->head_bytes_max),
            .headers_max = (uint32_t)policy->headers_max },
        /* The relay and the control plane refuse before, in their own words. */
        .body_bytes_max = policy->body_bytes_max + (int64_t)HIGH_WATER_BYTES,
        .connections_max = gateway->connections_max,
        .connections_per_address = policy->connections_per_address > 0
                                       ? policy->connections_per_address
                                       : (gateway->connections_max + 1) / 2,
        .head_deadline_ms = policy->head_deadline_ms,
        .body_deadline_ms = policy->body_deadline_ms,
        .idle_ms = policy->idle_ms,
        .write_deadline_ms = policy->write_deadline_ms,
        .high_water_bytes = HIGH_WATER_BYTES,
        .bodies = &gateway->bodies,
    };
    const enum status status = net_open(&options, &gateway_app, gateway, &gateway->net, &error);
    if (status != STATUS_OK) {
        (void)cli_fail("%s%s", error.text, listen_advice(gateway, error.listen_index));
        return false;
    }
    listeners->net = gateway->net;
    net_on_signal(gateway->net, on_signal);
    for (int i = 0; i < gateway->listen_count; i++) {
        buf_add_str(&gateway->listen_names, i ? ", " : "");
        listen_text(&gateway->listens[i], net_port(gateway->net, i), &gateway->listen_names);
    }
    return true;
}

static bool
open_engine(struct gateway *gateway)
{
    struct engine_error error;
    const struct engine_options options = {
        .store = gateway->store,
        .policy = policy_ref(gateway->policy),
        .loop_count = gateway->loop_count + API_REPLY_LOOPS,
        .wake = on_verdicts,
        .wake_user = gateway,
    };
    if (engine_open(&options, &gateway->engine, &error) != STATUS_OK) {
        (void)cli_fail("%s", error.text);
        return false;
    }
    /* What is read from it until the end is no secret: those go with the first reload. */
    (void)policy_ref_facts(gateway->policy);
    policy_unref(gateway->policy);
    return true;
}

static bool
open_rooms(struct gateway *gateway)
{
    struct api_error error;
    const struct relay_options relay_options = { gateway->engine, &gateway->bodies,
        (int)gateway->loop_count };
    if (relay_open(&relay_options, &gateway->relay) != STATUS_OK) {
        (void)cli_fail("no memory to start");
        return false;
    }
    const struct api_options api_options = {
        .engine = gateway->engine,
        .store = gateway->store,
        .relay = gateway->relay,
        .store_url = gateway->policy->store,
        .listens = buf_cstr(&gateway->listen_names),
        .first_reply_loop = gateway->loop_count,
        .sandbox = gateway->sandboxed,
        .threads = true,
        .reload = reload,
        .reload_user = gateway,
    };
    const struct reload_options reload_options = { .config_path = gateway->config_path,
        .policy = gateway->policy,
        .engine = gateway->engine,
        .store = gateway->store,
        .mixed = gateway->options.mixed,
        .listeners = &gateway->listeners };
    reload_open(&gateway->reload, &reload_options);
    if (api_open(&api_options, &gateway->api, &error) != STATUS_OK) {
        (void)cli_fail("%s", error.text);
        return false;
    }
    return true;
}

static bool
open_jobs(struct gateway *gateway)
{
    struct jobs_error error;
    if (jobs_open(gateway->engine, gateway->store, &gateway->jobs, &error) != STATUS_OK) {
        (void)cli_fail("%s", error.text);
        return false;
    }
    return true;
}

/* The sandbox's account and its first key, once in the life of its store. */
static bool
fill_sandbox(struct gateway *gateway)
{
    struct buf out = { 0 };
    struct json_value key;
    const struct api_call add_account = { .method = "POST",
        .target = SLICE("/api/admin/accounts"),
        .body = SLICE("{\"name\":\"sandbox\"}") };
    const struct api_call add_key = { .method = "POST",
        .target = SLICE("/api/admin/keys"),
        .body = SLICE("{\"account\":\"sandbox\",\"label\":\"first start\"}") };
    const int made = api_do(gateway->api, "sandbox", &add_account, &out);
    buf_clear(&out);
    if (made == 201) {
        const int status = api_do(gateway->api, "sandbox", &add_key, &out);
        if (status != 201 || !json_get(buf_slice(&out), "key", &key)
            || !json_to_cstr(key, gateway->sandbox_key, sizeof(gateway->sandbox_key))) {
            (void)cli_fail("the sandbox's key cannot be made: %s", buf_cstr(&out));
            buf_free(&out);
            return false;
        }
        secret_wipe(out.ptr, out.len);
    }
    buf_free(&out);
    if (made != 201 && made != 409) {
        (void)cli_fail("the sandbox's account cannot be made (%d)", made);
        return false;
    }
    return true;
}

/* Were every bound reached at once: a connection has its head, what one read brought of the next request, an
 * answer on its way out and, while it is held back, an event; all bodies share their own. */
static int64_t
memory_bound_bytes(const struct gateway *gateway)
{
    const int64_t each = 2 * gateway->policy->head_bytes_max + READ_BYTES_MAX
                         + (int64_t)HIGH_WATER_BYTES + EVENT_BYTES_MAX;
    return gateway->bodies.max_bytes + each * gateway->connections_max;
}

static void
tell_start(const struct gateway *gateway)
{
    const struct policy *policy = gateway->policy;
    struct engine_state state;
    struct log_line line;
    char expires[16];
    char shown_store[STORE_SHOWN_BYTES];
    store_url_shown(policy->store, shown_store, sizeof(shown_store));
    engine_state(gateway->engine, &state);
    log_begin(&line, LOG_INFO, "start");
    log_str(&line, "version", slice_str(TIDEGATE_VERSION));
    log_str(&line, "listen", buf_slice(&gateway->listen_names));
    if (listeners_expire(&gateway->listeners, expires)) {
        log_str(&line, "certificate_until", slice_str(expires));
    }
    log_str(&line, "control", slice_str(gateway->control));
    log_str(&line, "store", slice_str(shown_store));
    log_str(&line, "config", slice_str(gateway->config_path ? gateway->config_path : "sandbox"));
    log_i64(&line, "epoch", engine_epoch(gateway->engine));
    log_i64(&line, "orphans_closed", state.orphans_closed);
    log_i64(&line, "loops", gateway->loop_count);
    log_i64(&line, "models", policy->model_count);
    log_i64(&line, "limits", policy->limit_count);
    log_i64(&line, "memory_max_bytes", memory_bound_bytes(gateway));
    log_i64(&line, "bodies_max_bytes", gateway->bodies.max_bytes);
    log_i64(&line, "connections_max", gateway->connections_max);
    log_end(&line);
}

static void
greet(struct gateway *gateway)
{
    struct buf address = { 0 };
    listen_text(&gateway->listens[0], gateway->listens[0].unix_path ? 0 : net_port(gateway->net, 0),
        &address);
    sandbox_greet(gateway->cli, gateway->policy, buf_cstr(&address),
        gateway->sandbox_key[0] ? gateway->sandbox_key : NULL);
    secret_wipe(gateway->sandbox_key, sizeof(gateway->sandbox_key));
    buf_free(&address);
}

static bool
open_all(struct gateway *gateway)
{
    if (!open_log(gateway) || !open_policy(gateway) || !open_log(gateway)) {
        return false;
    }
    crash_forbid_dumps(
        SANITIZED); /* after the sandbox's child has begun: it needs its /proc/self/exe */
    if (!choose_bounds(gateway) || !choose_listens(gateway)) {
        return false;
    }
    open_crash(gateway);
    if (!open_store(gateway) || !open_net(gateway) || !open_engine(gateway)
        || !open_rooms(gateway)) {
        return false;
    }
    crash_tell();
    if (!open_jobs(gateway)) {
        return false;
    }
    return !gateway->sandboxed || fill_sandbox(gateway);
}

/* In reverse; whatever was not opened is NULL. Gives how many calls could not be booked. */
static int64_t
close_all(struct gateway *gateway)
{
    api_stop(gateway->api); /* its threads may be in a reload */
    reload_close(&gateway->reload);
    jobs_close(gateway->jobs);
    const bool facts_alone = gateway->engine != NULL;
    const int64_t unbooked_count = engine_close(gateway->engine);
    api_free(gateway->api);
    relay_free(gateway->relay);
    net_free(gateway->net);
    store_close(gateway->store);
    sandbox_stop(&gateway->sandbox);
    if (facts_alone) {
        policy_unref_facts(gateway->policy);
    } else {
        policy_unref(gateway->policy);
    }
    buf_free(&gateway->listen_names);
    return unbooked_count;
}

int
command_serve(struct cli *cli, int argc, char **argv)
{
    static struct gateway gateway; /* large, and one a process */
    int exit_status = EXIT_OK;
    struct serve_options *options = &gateway.options;
    const struct argument arguments[] = {
        { "--config", ARGUMENT_TEXT, &options->config, false },
        { "--listen", ARGUMENT_TEXT, &options->listen, false },
        { "--log-json", ARGUMENT_FLAG, &options->log_json, false },
        { "--log-level", ARGUMENT_TEXT, &options->log_level, false },
        { "--mixed", ARGUMENT_FLAG, &options->mixed, false },
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    gateway.cli = cli;
    watchdog_open(&gateway.watchdog, notify_open(getenv("NOTIFY_SOCKET"), getenv("WATCHDOG_USEC")));
    if (!open_all(&gateway)) {
        (void)close_all(&gateway); /* nothing has run yet */
        return EXIT_FAILED;
    }
    tell_start(&gateway);
    if (gateway.sandboxed) {
        greet(&gateway);
    }
    notify_ready();
    const enum status status = net_run(gateway.net);
    /* Nobody takes signals any more: the next one ends us at once. */
    const struct sigaction die = { .sa_handler = SIG_DFL };
    (void)sigaction(SIGINT, &die, NULL);
    (void)sigaction(SIGTERM, &die, NULL);
    const int64_t unbooked_count = close_all(&gateway);
    if (status != STATUS_OK) {
        return cli_fail("the loops cannot run: %s", status_name(status));
    }
    if (unbooked_count > 0) {
        log_line(LOG_ERROR, "stopped",
            "the ledger could not be written: %lld call%s %s booked by what %s at the next start",
            (long long)unbooked_count, plural_s(unbooked_count), plural_are(unbooked_count),
            unbooked_count == 1 ? "it holds" : "they hold");
        return EXIT_FAILED;
    }
    log_line(LOG_INFO, "stopped", "all calls are booked");
    return EXIT_OK;
}
