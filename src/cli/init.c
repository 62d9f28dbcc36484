/* cli/init.c: tidegate init: the commented configuration, for its owner's eyes alone. */
#include "cli/cli_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool
write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        const ssize_t written = write(fd, bytes.ptr, bytes.len);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        bytes = slice_of(bytes.ptr + written, bytes.len - (size_t)written);
    }
    return true;
}

/* Into a file beside it that then takes its name: it is there whole, or as before. */
static bool
replace_file(const char *path, struct slice bytes)
{
    char fresh[4096];
    const int len = snprintf(fresh, sizeof(fresh), "%s.new", path);
    if (len < 0 || (size_t)len >= sizeof(fresh)) {
        errno = ENAMETOOLONG;
        return false;
    }
    const int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (fd < 0) {
        return false;
    }
    bool good = fchmod(fd, S_IRUSR | S_IWUSR) == 0 && write_all(fd, bytes);
    good = close(fd) == 0 && good;
    good = good && rename(fresh, path) == 0;
    if (!good) {
        (void)unlink(fresh);
    }
    return good;
}

static bool
create_file(const char *path, struct slice bytes)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0) {
        return false;
    }
    const bool good = write_all(fd, bytes);
    return close(fd) == 0 && good;
}

int
command_init(struct cli *cli, int argc, char **argv)
{
    const char *file = NULL;
    bool force = false;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "FILE", ARGUMENT_WORD, &file, false },
        { "--force", ARGUMENT_FLAG, &force, false },
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    file = file ? file : CONFIG_FILE_DEFAULT;
    const struct slice sample = slice_str(conf_sample());
    if (!(force ? replace_file(file, sample) : create_file(file, sample))) {
        return errno == EEXIST ? cli_fail("%s is there already; --force replaces it", file)
                               : cli_fail("%s: %s", file, strerror(errno));
    }
    (void)printf("%s is written. Edit it, then:\n\n  %s check %s\n  %s serve --config %s\n", file,
        cli->program, file, cli->program, file);
    return EXIT_OK;
}
