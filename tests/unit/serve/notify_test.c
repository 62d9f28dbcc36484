/* tests/unit/serve/notify_test.c
 *
 * Goal: a service manager is told ready, reloading, stopping and alive in sd_notify's words, and that it
 * stops for good; none, a deaf or an odd one changes nothing.
 * Method: the manager is a datagram socket of ours, of both kinds of name. */
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "serve/notify.h"

static int
listen_as_manager(const char *name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    memcpy(address.sun_path, name, strlen(name));
    if (name[0] == '@') {
        address.sun_path[0] = '\0';
    }
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
        0);
    return fd;
}

static const char *
heard(int fd)
{
    static char text[256];
    const ssize_t len = recv(fd, text, sizeof(text) - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    return text;
}

static void
is_told_everything(void **state)
{
    char path[64];
    char abstract[64];
    (void)snprintf(path, sizeof(path), "/tmp/tidegate-notify-%d", (int)getpid());
    (void)snprintf(abstract, sizeof(abstract), "@tidegate-notify-%d", (int)getpid());
    const char *const names[] = { path, abstract };
    for (size_t i = 0; i < countof(names); i++) {
        const int fd = listen_as_manager(names[i]);
        assert_int_equal(notify_open(names[i], NULL), 0);
        notify_ready();
        assert_string_equal(heard(fd), "READY=1\nSTATUS=serving\n");
        const long long before_us = clock_mono_us();
        notify_reloading();
        long long at_us = 0;
        const char *text = heard(fd);
        assert_int_equal(sscanf(text, "RELOADING=1\nMONOTONIC_USEC=%lld\n", &at_us), 1);
        assert_true(at_us >= before_us && at_us <= clock_mono_us());
        notify_stopping();
        assert_true(slice_starts(slice_str(heard(fd)), SLICE("STOPPING=1\n")));
        notify_reloading(); /* one that was asked for meanwhile */
        notify_ready();
        notify_alive();
        assert_string_equal(heard(fd), "WATCHDOG=1");
        assert_string_equal(heard(fd), "");
        (void)close(fd);
    }
    notify_ready(); /* nobody is there any more */
    (void)unlink(path);
}

static void
odd_names_are_no_manager(void **state)
{
    char long_name[200];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[0] = '/';
    long_name[sizeof(long_name) - 1] = '\0';
    const char *const names[] = { NULL, "", "/", "@", "relative", "vsock:2:1234", long_name };
    for (size_t i = 0; i < countof(names); i++) {
        assert_int_equal(notify_open(names[i], "2000000"), 0);
        notify_ready();
        notify_reloading();
    }
}

static void
signs_of_life_are_twice_a_period(void **state)
{
    static const struct {
        const char *usec;
        int64_t every_ms;
    } rows[] = { { NULL, 0 }, { "", 0 }, { "0", 0 }, { "-5", 0 }, { "soon", 0 }, { "1", 10 },
        { "2000000", 1000 }, { "30000000", 15000 }, { "99999999999999999999999", 0 } };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(notify_open("/nowhere/at/all", rows[i].usec), rows[i].every_ms);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("a manager is told ready, reloading, stopping and alive", is_told_everything),
    CASE("none, and odd names, are no manager", odd_names_are_no_manager),
    CASE("signs of life are given twice a period", signs_of_life_are_twice_a_period),
};
UNIT_MAIN(tests)
