/* cli/help.c: which command is meant, and what the program says about itself; all from tbl/commands.h. */
#include "cli/cli_priv.h"

#include <stdio.h>

/* How many words of argv this command is named by; 0 = another command. */
static int
words_matched(const struct command *command, int argc, char **argv)
{
    struct slice rest = slice_str(command->words);
    struct slice word = { 0 };
    int matched = 0;
    while (slice_split(&rest, ' ', &word)) {
        if (matched == argc || !slice_eq(word, slice_str(argv[matched]))) {
            return 0;
        }
        matched++;
    }
    return matched;
}

const struct command *
command_find(const struct cli *cli, int argc, char **argv, int *words)
{
    const struct command *found = NULL;
    *words = 0;
    for (size_t i = 0; i < cli->command_count; i++) {
        const int matched = words_matched(&cli->commands[i], argc, argv);
        if (matched > *words) {
            found = &cli->commands[i];
            *words = matched;
        }
    }
    return found;
}

static void
print_usage(FILE *to, const struct command *command)
{
    (void)fprintf(to, "usage: tidegate %s %s\n", command->words, command->arguments);
}

static void
print_one(FILE *to, const struct command *command)
{
    print_usage(to, command);
    (void)fprintf(to, "\n  %s\n", command->summary);
    struct slice rest = slice_str(command->details);
    struct slice line = { 0 };
    (void)fputs(rest.len ? "\n" : "", to);
    while (slice_split(&rest, '\n', &line)) {
        (void)fprintf(to, "  %.*s\n", (int)line.len, line.ptr);
    }
}

static void
print_all(FILE *to, const struct cli *cli)
{
    (void)fputs(
        "tidegate: decides whether model calls may start, who pays, and keeps exact books.\n\n"
        "usage: tidegate COMMAND [ARGUMENTS]\n\n",
        to);
    for (size_t i = 0; i < cli->command_count; i++) {
        (void)fprintf(to, "  %-16s %s\n", cli->commands[i].words, cli->commands[i].summary);
    }
    (void)fputs(
        "\n`tidegate help COMMAND` tells all about one; `tidegate serve` starts the gateway.\n",
        to);
}

static bool
begins_with_word(const struct command *command, const char *word)
{
    struct slice rest = slice_str(command->words);
    struct slice first = { 0 };
    return slice_split(&rest, ' ', &first) && slice_eq(first, slice_str(word));
}

/* All commands that begin with this word; how many there are. */
static size_t
print_family(FILE *to, const struct cli *cli, const char *word)
{
    size_t count = 0;
    for (size_t i = 0; i < cli->command_count; i++) {
        if (begins_with_word(&cli->commands[i], word)) {
            (void)fprintf(to, "  tidegate %s %s\n      %s\n", cli->commands[i].words,
                cli->commands[i].arguments, cli->commands[i].summary);
            count++;
        }
    }
    return count;
}

#define WORDS_MAX 64

static int
unknown(const struct cli *cli, int argc, char **argv)
{
    char text[128];
    const char *words[WORDS_MAX];
    size_t count = 0;
    check(cli->commands && argc > 0);
    (void)snprintf(text, sizeof(text), "%.60s%s%.60s", argv[0],
        argc > 1 && argv[1][0] != '-' ? " " : "", argc > 1 && argv[1][0] != '-' ? argv[1] : "");
    for (size_t i = 0; i < cli->command_count && count < WORDS_MAX; i++) {
        words[count++] = cli->commands[i].words;
    }
    const char *near = text_nearest(text, words, count);
    near = near ? near : text_nearest(argv[0], words, count);
    if (near) {
        (void)cli_fail("there is no command '%s'; did you mean '%s'?", text, near);
        return EXIT_USAGE;
    }
    bool family = false;
    for (size_t i = 0; i < cli->command_count; i++) {
        family = family || begins_with_word(&cli->commands[i], argv[0]);
    }
    if (family) {
        (void)cli_fail(
            argc > 1 ? "there is no command '%s'; there are:" : "'%s' wants one more word:", text);
        (void)print_family(stderr, cli, argv[0]);
    } else {
        (void)cli_fail("there is no command '%s'; `tidegate help` lists them", text);
    }
    return EXIT_USAGE;
}

static bool
is_prefix(struct slice words, int argc, char **argv)
{
    struct slice word = { 0 };
    for (int i = 0; i < argc; i++) {
        if (!slice_split(&words, ' ', &word) || !slice_eq(word, slice_str(argv[i]))) {
            return false;
        }
    }
    return true;
}

/* Those that begin with these words; none given = all. */
static int
print_json(const struct cli *cli, int argc, char **argv)
{
    struct buf out = { 0 };
    bool found = false;
    buf_add_str(&out, "{\"version\":\"" TIDEGATE_VERSION "\",\"commands\":[");
    for (size_t i = 0; i < cli->command_count; i++) {
        const struct command *command = &cli->commands[i];
        const struct {
            const char *name, *text;
        } members[] = { { "command", command->words }, { "arguments", command->arguments },
            { "summary", command->summary }, { "details", command->details } };
        if (!is_prefix(slice_str(command->words), argc, argv)) {
            continue;
        }
        for (size_t m = 0; m < countof(members); m++) {
            buf_addf(&out, "%s\"%s\":", m ? "," : found ? ",{" : "{", members[m].name);
            buf_add_json(&out, slice_str(members[m].text));
        }
        buf_add_char(&out, '}');
        found = true;
    }
    buf_add_str(&out, "]}\n");
    if (found) {
        text_print(&out);
    }
    buf_free(&out);
    return found ? EXIT_OK : unknown(cli, argc, argv);
}

static bool
asks_for_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

int
command_help(struct cli *cli, int argc, char **argv)
{
    static char *of_itself[] = { (char *)(uintptr_t) "help" };
    while (argc > 0 && asks_for_help(argv[argc - 1])) { /* "help --help", "help key --help" */
        if (--argc == 0) {
            argc = 1;
            argv = of_itself;
        }
    }
    if (argc > 0 && strcmp(argv[argc - 1], "--json") == 0) {
        return print_json(cli, argc - 1, argv);
    }
    if (argc > 0 && strcmp(argv[0], "--json") == 0) {
        return print_json(cli, argc - 1, argv + 1);
    }
    if (argc == 0) {
        print_all(stdout, cli);
        return EXIT_OK;
    }
    /* "help key add" and, from --help, "key add" in one piece */
    for (size_t i = 0; argc == 1 && i < cli->command_count; i++) {
        if (strcmp(cli->commands[i].words, argv[0]) == 0) {
            print_one(stdout, &cli->commands[i]);
            return EXIT_OK;
        }
    }
    int words = 0;
    const struct command *command = command_find(cli, argc, argv, &words);
    if (command) {
        print_one(stdout, command);
        return EXIT_OK;
    }
    return print_family(stdout, cli, argv[0]) > 0 ? EXIT_OK : unknown(cli, argc, argv);
}

int
command_version(struct cli *cli, int argc, char **argv)
{
    bool json = false;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = { { "--json", ARGUMENT_FLAG, &json, false } };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    (void)printf(json ? "{\"version\":\"%s\"}\n" : "tidegate %s\n", TIDEGATE_VERSION);
    return EXIT_OK;
}

int
cli_main(struct cli *cli, int argc, char **argv)
{
    int words = 0;
    char *help_word[] = { (char *)(uintptr_t) "help" };
    char *version_word[] = { (char *)(uintptr_t) "version" };
    if (argc == 0) {
        print_all(stderr, cli);
        return EXIT_USAGE;
    }
    if (asks_for_help(argv[0])) {
        argv[0] = help_word[0];
    } else if (strcmp(argv[0], "--version") == 0 || strcmp(argv[0], "-V") == 0) {
        argv[0] = version_word[0];
    }
    cli->command = command_find(cli, argc, argv, &words);
    if (!cli->command && argc > 1 && asks_for_help(argv[1])) { /* of all that begin with a word */
        return command_help(cli, 1, argv);
    }
    return cli->command ? cli->command->run(cli, argc - words, argv + words)
                        : unknown(cli, argc, argv);
}
