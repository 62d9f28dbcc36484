/* cli/reload.c: tidegate reload: the running gateway reads its configuration again. */
#include "cli/cli_priv.h"

#include <stdio.h>

int
command_reload(struct cli *cli, int argc, char **argv)
{
    struct door door = { .cli = cli, .gateway_only = true };
    bool mixed = false;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "--mixed", ARGUMENT_FLAG, &mixed, false },
        DOOR_ARGUMENTS(&door),
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    struct json_object *answer = NULL;
    exit_status = door_ask(&door, "POST", SLICE("/api/admin/reload"),
        mixed ? SLICE("{\"mixed\":true}") : (struct slice){ 0 }, &answer);
    if (answer) {
        (void)printf("%s.\n", json_text(answer, "message"));
    }
    json_object_put(answer);
    return exit_status;
}
