/* cli/sandbox.c: the first minute: a simulated provider beside the gateway, and what to type. */
#include "cli/cli_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define READY_WAIT_MS  10000
#define STOP_WAIT_MS   1000
#define LINE_BYTES_MAX 256

/* In the child. It has a group of its own, so that a Ctrl-C meant for the gateway lets it go on until the
 * calls in flight are over. */
static void
become_mock(int ready_fd, pid_t parent)
{
    char *argv[] = { (char *)(uintptr_t) "tidegate", (char *)(uintptr_t) "mock", NULL };
    const int nothing = open("/dev/null", O_RDONLY);
    if (setpgid(0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent
        && nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 && dup2(ready_fd, STDOUT_FILENO) >= 0) {
        (void)execv("/proc/self/exe", argv);
    }
    _exit(EXIT_FAILED);
}

/* The port in "... http://127.0.0.1:40123"; 0 = none. */
static uint16_t
port_in(struct slice line)
{
    int64_t port = 0;
    struct slice part = { 0 };
    struct slice rest = slice_trim(line);
    while (slice_split(&rest, ':', &part)) {
    }
    return slice_to_i64(part, &port) && port > 0 && port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* Its first line says where it listens. */
static uint16_t
read_port(int fd)
{
    char line[LINE_BYTES_MAX];
    size_t len = 0;
    const int64_t until_mono_ms = clock_mono_ms() + READY_WAIT_MS;
    while (len < sizeof(line)) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        const int64_t left_ms = until_mono_ms - clock_mono_ms();
        const int polled = left_ms > 0 ? poll(&ready, 1, (int)left_ms) : 0;
        if (polled < 0 && errno == EINTR) {
            continue;
        }
        const ssize_t got = polled > 0 ? read(fd, line + len, sizeof(line) - len) : 0;
        if (got <= 0) {
            return 0;
        }
        len += (size_t)got;
        if (line[len - 1] == '\n') {
            return port_in(slice_of(line, len - 1));
        }
    }
    return 0;
}

enum status
sandbox_start(struct sandbox *sandbox, struct cli_error *error)
{
    int ends[2];
    const pid_t parent = getpid();
    *sandbox = (struct sandbox){ 0 };
    (void)snprintf(error->text, sizeof(error->text), "the simulated provider does not start");
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return STATUS_IO;
    }
    const pid_t child = fork();
    if (child == 0) {
        become_mock(ends[1], parent);
    }
    (void)close(ends[1]);
    if (child < 0) {
        (void)close(ends[0]);
        return STATUS_IO;
    }
    sandbox->mock_pid = child;
    sandbox->mock_port = read_port(ends[0]);
    (void)close(ends[0]); /* it writes nothing more there */
    if (sandbox->mock_port == 0) {
        sandbox_stop(sandbox);
        return STATUS_IO;
    }
    return STATUS_OK;
}

void
sandbox_stop(struct sandbox *sandbox)
{
    if (sandbox->mock_pid <= 0) {
        return;
    }
    (void)kill(sandbox->mock_pid, SIGTERM);
    const int64_t until_mono_ms = clock_mono_ms() + STOP_WAIT_MS;
    while (waitpid(sandbox->mock_pid, NULL, WNOHANG) == 0) {
        if (clock_mono_ms() >= until_mono_ms) {
            (void)kill(sandbox->mock_pid, SIGKILL);
            (void)waitpid(sandbox->mock_pid, NULL, 0);
            break;
        }
        (void)poll(NULL, 0, 10);
    }
    sandbox->mock_pid = 0;
}

/* A model that answers chat completions: the one made for it, else the first. */
static const char *
chat_model(const struct policy *policy)
{
    if (policy_model_index(policy, SLICE("sandbox")) >= 0) {
        return "sandbox";
    }
    for (int32_t i = 0; i < policy->model_count; i++) {
        const struct model *model = &policy->models[i];
        for (int32_t r = 0; r < model->route_count; r++) {
            if (policy->providers[model->routes[r].provider].apis & 1u << API_CHAT) {
                return model->name;
            }
        }
    }
    return "?";
}

void
sandbox_greet(
    const struct cli *cli, const struct policy *policy, const char *address, const char *key)
{
    (void)printf(
        "\nTidegate runs in sandbox mode: there is no " CONFIG_FILE_DEFAULT
        " here, so a simulated provider answers\nand no money is spent. Ask it something:\n\n"
        "  curl -N http://%s/v1/chat/completions \\\n"
        "    -H \"Authorization: Bearer %s\" \\\n"
        "    -H \"Content-Type: application/json\" \\\n"
        "    -d '{\"model\":\"%s\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n\n",
        address, key ? key : "$TIDEGATE_KEY", chat_model(policy));
    if (key) {
        (void)printf(
            "The key is shown this once. Another one:  %s key add sandbox\n", cli->program);
    } else {
        (void)printf(
            "The key was shown on the first start and is kept only as a hash. Another one:\n\n"
            "  export TIDEGATE_KEY=$(%s key add sandbox)\n\n",
            cli->program);
    }
    (void)printf("What it cost and who paid, in this folder:  %s status\n"
                 "A configuration of your own:                %s init\n\n",
        cli->program, cli->program);
    (void)fflush(stdout);
}
