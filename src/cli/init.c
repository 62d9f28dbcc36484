/* cli/init.c: tidegate init: the commented configuration, for its owner's eyes alone. */
#include "cli/cli_priv.h"

#include <errno.h>
#include <stdio.h>

#define FOR_ITS_OWNER 0600 /* it may name secrets' places, and is nobody else's business */

int
command_init(struct cli *cli, int argc, char **argv)
{
    const char *file = NULL;
    bool force = false;
    bool json = false;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "FILE", ARGUMENT_WORD, &file, false },
        { "--force", ARGUMENT_FLAG, &force, false },
        { "--json", ARGUMENT_FLAG, &json, false },
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    file = file ? file : CONFIG_FILE_DEFAULT;
    const struct slice sample = slice_str(conf_sample());
    if (!(force ? file_replace(file, sample, FOR_ITS_OWNER)
                : file_create(file, sample, FOR_ITS_OWNER))) {
        return errno == EEXIST ? cli_fail("%s is there already; --force replaces it", file)
                               : cli_fail("%s: %s", file, strerror(errno));
    }
    if (json) {
        struct buf out = { 0 };
        buf_add_str(&out, "{\"written\":");
        buf_add_json(&out, slice_str(file));
        buf_add_str(&out, "}\n");
        text_print(&out);
        buf_free(&out);
        return EXIT_OK;
    }
    (void)printf("%s is written. Edit it, then:\n\n  %s check %s\n  %s serve --config %s\n", file,
        cli->program, file, cli->program, file);
    return EXIT_OK;
}
