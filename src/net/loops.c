/* net/loops.c: threads, one loop each: start, turns, wake-ups, signals, stop. */
#include "net/upstream_priv.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"

#define HIGH_WATER_BYTES_DEFAULT ((size_t)256 * 1024)

/* ---- tasks ---- */

void
net_task_init(struct net_task *task, void (*run)(struct net_task *task))
{
    list_init(&task->node);
    task->run = run;
}

void
net_task_add(struct net_loop *loop, struct net_task *task)
{
    if (list_empty(&task->node)) {
        list_push_back(&loop->tasks, &task->node);
    }
}

static void
run_tasks(struct net_loop *loop)
{
    while (!list_empty(&loop->tasks)) {
        struct net_task *task = list_entry(loop->tasks.next, struct net_task, node);
        list_remove(&task->node);
        task->run(task);
    }
    loop->gathered_count = 0;
}

void
net_tasks_run_if_many(struct net_loop *loop)
{
    if (loop->gathered_count >= NET_GATHERED_MAX) {
        run_tasks(loop);
    }
}

/* ---- stopping ---- */

static void
finish(struct net_loop *loop)
{
    net_listen_close(loop, true);
    loop->finished = true;
    uv_stop(&loop->uv);
}

/* Loop 0 has the signals, and so ends last. */
static void
finish_if_done(struct net_loop *loop)
{
    if (!loop->stop_seen || loop->finished || !net_conns_over(loop) || !list_empty(&loop->calls)) {
        return;
    }
    if (loop->index > 0 || atomic_load(&loop->net->loops_running) == 1) {
        finish(loop);
    }
}

static void
on_grace_over(struct net_timer *timer)
{
    struct net_loop *loop = list_entry(timer, struct net_loop, stop_timer);
    net_listen_close(loop, true);
    while (!list_empty(&loop->conns)) {
        net_conn_lose(list_entry(loop->conns.next, struct net_conn, node));
    }
    net_calls_stop(loop);
    run_tasks(loop);
    finish_if_done(loop);
}

static void
see_stop(struct net_loop *loop)
{
    if (!loop->stop_seen) {
        loop->stop_seen = true;
        net_listen_close(loop, false);
        net_conn_close_idle(loop);
    }
    const int64_t by = atomic_load(&loop->net->stop_by_mono_ms);
    net_timer_start(&loop->stop_timer, max_i64(0, by - clock_mono_ms()));
}

void
net_stop(struct net *net, int64_t grace_ms)
{
    const int64_t by = clock_mono_ms() + min_i64(max_i64(0, grace_ms), DAY_MS);
    int64_t known = atomic_load(&net->stop_by_mono_ms);
    while (by < known && !atomic_compare_exchange_weak(&net->stop_by_mono_ms, &known, by)) {
    }
    atomic_store(&net->stopping, true);
    for (int i = 0; i < net->loop_count; i++) {
        net_loop_wake(&net->loops[i]);
    }
}

bool
net_stopping(const struct net *net)
{
    return atomic_load(&net->stopping);
}

/* ---- a turn ---- */

static void
end_turn(struct net_loop *loop)
{
    run_tasks(loop);
    finish_if_done(loop);
}

static void
on_prepare(uv_prepare_t *prepare)
{
    struct net_loop *loop = prepare->data;
    end_turn(loop);
    if (loop->running && loop->net->app->on_turn_end) {
        loop->net->app->on_turn_end(loop);
    }
    loop->turn++;
    loop->polling = true;
}

static void
on_check(uv_check_t *uv_check)
{
    struct net_loop *loop = uv_check->data;
    loop->polling = false;
    end_turn(loop);
}

/* The mark goes before what it stands for is looked at: a wake from here on writes again. */
static void
on_woken(uv_poll_t *poll, int status, int events)
{
    struct net_loop *loop = poll->data;
    uint64_t count = 0;
    (void)status;
    (void)events;
    (void)!read(
        loop->wake_fd, &count, sizeof(count)); /* never blocks; a count that is gone is no loss */
    (void)atomic_exchange(&loop->woken, false);
    if (net_stopping(loop->net)) {
        see_stop(loop);
    }
    net_lookups_deliver(loop);
    if (loop->net->app->on_wake) {
        loop->net->app->on_wake(loop);
    }
}

/* Not uv_async_send: where the loop and its waker share a processor, the wake-up takes it from the waker
 * within that call, and the loop spins in wait for the call's end. */
void
net_loop_wake(struct net_loop *loop)
{
    const uint64_t one = 1;
    if (!atomic_exchange(&loop->woken, true)) {
        (void)!write(
            loop->wake_fd, &one, sizeof(one)); /* fails only where a wake-up waits already */
    }
}

static bool
open_wake(struct net_loop *loop)
{
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wake_fd < 0) {
        return false;
    }
    if (uv_poll_init(&loop->uv, &loop->wake, loop->wake_fd) != 0) {
        (void)close(loop->wake_fd);
        return false;
    }
    loop->wake.data = loop;
    check(uv_poll_start(&loop->wake, UV_READABLE, on_woken) == 0);
    return true;
}

int64_t
net_loop_mono_ms(const struct net_loop *loop)
{
    return (int64_t)uv_now(&loop->uv);
}

const char *
net_loop_date(struct net_loop *loop)
{
    static const char days[][4] = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" };
    static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
        "Oct", "Nov", "Dec" };
    if (net_loop_mono_ms(loop) < loop->date_until_mono_ms) {
        return loop->date;
    }
    const int64_t now_ms = clock_wall_ms();
    const struct civil now = civil_from_ms(now_ms);
    loop->date_until_mono_ms = net_loop_mono_ms(loop) + SECOND_MS - now_ms % SECOND_MS;
    (void)snprintf(loop->date, sizeof(loop->date), "%s, %02d %s %04d %02d:%02d:%02d GMT",
        days[now.weekday], now.day, months[now.month - 1], now.year, now.hour, now.minute,
        now.second);
    return loop->date;
}

/* ---- running ---- */

/* Loop 0 is the process's first thread and keeps the name of that. */
static void
begin_thread(int index)
{
    char name[16];
    (void)snprintf(name, sizeof(name), "loop %d", index);
    thread_begin(index > 0 ? name : NULL);
}

static void
run_loop(void *arg)
{
    struct net_loop *loop = arg;
    struct net *net = loop->net;

    uv_update_time(&loop->uv);
    begin_thread(loop->index);
    if (net->app->on_loop_start) {
        net->app->on_loop_start(loop);
    }
    net_listen_start(loop);
    while (!loop->finished) {
        (void)uv_run(
            &loop->uv, UV_RUN_DEFAULT); /* whether handles are left: that of wake-ups always is */
    }
    if (net->app->on_loop_stop) {
        net->app->on_loop_stop(loop);
    }
    while (!list_empty(&loop->exchanges)) { /* whose app did not close them */
        net_exchange_free(list_entry(loop->exchanges.next, struct net_exchange, node));
    }
    (void)atomic_fetch_sub(&net->loops_running, 1);
    net_loop_wake(&net->loops[0]);
}

enum status
net_run(struct net *net)
{
    enum status status = STATUS_OK;
    int started = 1;
    atomic_store(&net->loops_running, net->loop_count);
    for (; started < net->loop_count; started++) {
        struct net_loop *loop = &net->loops[started];
        if (uv_thread_create(&loop->thread, run_loop, loop) != 0) {
            status = STATUS_IO;
            atomic_store(&net->loops_running, started);
            net_stop(net, 0);
            break;
        }
    }
    run_loop(&net->loops[0]);
    for (int i = 1; i < started; i++) {
        check(uv_thread_join(&net->loops[i].thread) == 0);
    }
    return status;
}

static void
on_uv_signal(uv_signal_t *handle, int signal_number)
{
    struct net *net = handle->data;
    net->on_signal(net, signal_number);
}

void
net_on_signal(struct net *net, void (*on_signal)(struct net *net, int signal_number))
{
    static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
    _Static_assert(countof(numbers) == countof(((struct net *)0)->signals), "one handle a signal");
    check(!net->signals_open);
    net->signals_open = true;
    net->on_signal = on_signal;
    for (size_t i = 0; i < countof(numbers); i++) {
        net->signals[i].data = net;
        check(uv_signal_init(&net->loops[0].uv, &net->signals[i]) == 0);
        check(uv_signal_start(&net->signals[i], on_uv_signal, numbers[i]) == 0);
    }
}

/* ---- opening and freeing ---- */

static MUST_USE bool
open_loop(struct net *net, int index)
{
    struct net_loop *loop = &net->loops[index];
    loop->net = net;
    loop->index = index;
    list_init(&loop->tasks);
    list_init(&loop->conns);
    list_init(&loop->exchanges);
    list_init(&loop->free_exchanges);
    list_init(&loop->calls);
    list_init(&loop->free_calls);
    list_init(&loop->lookups_done);
    loop->read_bytes = malloc(NET_READ_BYTES);
    loop->listeners = calloc((size_t)net->options.listen_count + 1, sizeof(*loop->listeners));
    if (!loop->read_bytes || !loop->listeners || uv_loop_init(&loop->uv) != 0) {
        free(loop->read_bytes);
        free(loop->listeners);
        return false;
    }
    net->loop_count = index + 1; /* from here on net_free closes it */
    loop->prepare.data = loop->check.data = loop;
    check(uv_prepare_init(&loop->uv, &loop->prepare) == 0);
    check(uv_prepare_start(&loop->prepare, on_prepare) == 0);
    check(uv_check_init(&loop->uv, &loop->check) == 0);
    check(uv_check_start(&loop->check, on_check) == 0);
    check(net_wheel_open(loop) == 0);
    net_timer_init(&loop->stop_timer, loop, on_grace_over);
    net_outs_open(loop);
    net_handshakes_init(&loop->handshakes_out, loop);
    net_handshakes_init(&loop->handshakes_in, loop);
    net_upstream_open(loop);
    loop->running = open_wake(loop); /* needs a descriptor */
    return loop->running;
}

enum status
net_open(const struct net_options *options, const struct net_app *app, void *user,
    struct net **net_out, struct net_error *error)
{
    check(options->loop_count > 0);
    struct net *net = calloc(1, sizeof(*net));
    *net_out = NULL;
    *error = (struct net_error){ .listen_index = -1 };
    if (net) {
        net->options = *options;
        net->app = app;
        net->user = user;
        net->loops = calloc((size_t)options->loop_count, sizeof(*net->loops));
        net->ports = calloc((size_t)options->listen_count + 1, sizeof(*net->ports));
        atomic_store(&net->stop_by_mono_ms, INT64_MAX);
    }
    if (net) {
        net->tls_mutex_open = uv_mutex_init(&net->tls_mutex) == 0;
        net->lookups = net_lookups_open();
        net->peers_mutex_open = uv_mutex_init(&net->peers_mutex) == 0;
    }
    if (!net || !net->loops || !net->ports || !net->tls_mutex_open || !net->lookups
        || !net->peers_mutex_open) {
        (void)snprintf(error->text, sizeof(error->text), "cannot start the loops: out of memory");
        net_free(net);
        return STATUS_FULL;
    }
    if (net->options.high_water_bytes == 0) {
        net->options.high_water_bytes = HIGH_WATER_BYTES_DEFAULT;
    }
    for (int i = 0; i < options->loop_count; i++) {
        if (!open_loop(net, i)) {
            (void)snprintf(error->text, sizeof(error->text),
                "cannot start the loops: out of memory or file descriptors");
            net_free(net);
            return STATUS_FULL;
        }
    }
    struct net_certificates *certificates = NULL;
    enum status status = net_listen_open(net, error);
    if (status == STATUS_OK) {
        status = net_certificates_load(
            net, options->listens, options->listen_count, &certificates, error);
    }
    net->options.listens = NULL; /* was the caller's, until now */
    if (certificates) {
        net_certificates_use(net, certificates);
    }
    if (status != STATUS_OK) {
        net_free(net);
        return status;
    }
    *net_out = net;
    return STATUS_OK;
}

static void
free_loop(struct net_loop *loop)
{
    net_listen_close(loop, true);
    while (!list_empty(&loop->conns)) {
        net_conn_close(list_entry(loop->conns.next, struct net_conn, node));
    }
    while (!list_empty(&loop->exchanges)) {
        net_exchange_free(list_entry(loop->exchanges.next, struct net_exchange, node));
    }
    net_upstream_close(loop);
    if (loop->running) {
        uv_close((uv_handle_t *)&loop->wake, NULL);
    }
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->wheel.uv, NULL);
    while (uv_run(&loop->uv, UV_RUN_DEFAULT) != 0) {
    }
    check(uv_loop_close(&loop->uv) == 0);
    if (loop->running) {
        (void)close(loop->wake_fd);
    }
    net_exchanges_close(loop);
    net_calls_close(loop);
    net_outs_close(loop);
    net_resolve_close(loop);
    free(loop->listeners);
    free(loop->read_bytes);
    free(loop->cipher_bytes);
}

void
net_free(struct net *net)
{
    if (!net) {
        return;
    }
    for (size_t i = 0; net->signals_open && i < countof(net->signals); i++) {
        uv_close((uv_handle_t *)&net->signals[i], NULL);
    }
    net_lookups_close(net->lookups);
    for (int i = 0; i < net->loop_count; i++) {
        free_loop(&net->loops[i]);
    }
    if (net->peers_mutex_open) {
        uv_mutex_destroy(&net->peers_mutex);
    }
    map_free(&net->peer_counts);
    if (net->tls_mutex_open) {
        net_tls_free_contexts(net);
        net_certificates_free(net->certificates);
        uv_mutex_destroy(&net->tls_mutex);
    }
    free(net->ports);
    free(net->loops);
    free(net);
}

/* ---- looking around ---- */

uint16_t
net_port(const struct net *net, int listen_index)
{
    check(listen_index >= 0 && listen_index < net->options.listen_count);
    return net->ports[listen_index];
}

int
net_loop_count(const struct net *net)
{
    return net->loop_count;
}

struct net_loop *
net_loop_at(struct net *net, int index)
{
    check(index >= 0 && index < net->loop_count);
    return &net->loops[index];
}

void *
net_user(struct net *net)
{
    return net->user;
}

int
net_loop_index(const struct net_loop *loop)
{
    return loop->index;
}

struct net *
net_loop_net(struct net_loop *loop)
{
    return loop->net;
}

void
net_loop_set_user(struct net_loop *loop, void *user)
{
    loop->user = user;
}

void *
net_loop_user(struct net_loop *loop)
{
    return loop->user;
}
