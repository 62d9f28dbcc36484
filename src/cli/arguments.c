/* cli/arguments.c: command lines against a list of what a command takes. */
#include "cli/cli_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ARGUMENTS_MAX 32

int
cli_fail(const char *format, ...)
{
    va_list args;
    char *text = NULL;
    (void)fflush(stdout);
    va_start(args, format);
    const int len = vasprintf(&text, format, args);
    va_end(args);
    /* It may quote a file of somebody else's: nothing in it speaks to the terminal. */
    for (int i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        text[i] = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F ? '?' : text[i];
    }
    (void)fprintf(stderr, "tidegate: %s\n", len >= 0 ? text : "no memory to say what failed");
    free(len >= 0 ? text : NULL);
    return EXIT_FAILED;
}

static const struct argument *
option_named(const struct argument *arguments, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (arguments[i].type != ARGUMENT_WORD && slice_eq(slice_str(arguments[i].name), name)) {
            return &arguments[i];
        }
    }
    return NULL;
}

static bool
refuse(const struct cli *cli, int *exit_status, const char *what, const char *detail)
{
    (void)cli_fail("%s: %s%s", cli->command->words, what, detail);
    (void)fprintf(stderr, "usage: tidegate %s %s\n", cli->command->words, cli->command->arguments);
    *exit_status = EXIT_USAGE;
    return false;
}

static bool
refuse_option(const struct cli *cli, int *exit_status, const char *option,
    const struct argument *arguments, size_t count)
{
    const char *names[ARGUMENTS_MAX];
    size_t named = 0;
    char text[256];
    for (size_t i = 0; i < count; i++) {
        if (arguments[i].type != ARGUMENT_WORD) {
            names[named++] = arguments[i].name;
        }
    }
    const char *near = text_nearest(option, names, named);
    (void)snprintf(text, sizeof(text), "'%.100s'%s%s%s", option, near ? "; did you mean '" : "",
        near ? near : "", near ? "'?" : "");
    return refuse(cli, exit_status, "there is no option ", text);
}

/* The option at argv[*at], with its value; *at moves on. */
static bool
take_option(const struct cli *cli, int argc, char **argv, int *at, const struct argument *arguments,
    size_t count, int *exit_status)
{
    const char *text = argv[*at];
    const char *equals = strchr(text, '=');
    const struct slice name = slice_of(text, equals ? (size_t)(equals - text) : strlen(text));
    const struct argument *argument = option_named(arguments, count, name);
    if (!argument) {
        return refuse_option(cli, exit_status, text, arguments, count);
    }
    if (argument->type == ARGUMENT_FLAG) {
        *(bool *)argument->into = true;
        return equals ? refuse(cli, exit_status, "no value goes with ", argument->name) : true;
    }
    if (equals) {
        *(const char **)argument->into = equals + 1;
        return true;
    }
    if (*at + 1 == argc) {
        return refuse(cli, exit_status, "a value is missing after ", argument->name);
    }
    *(const char **)argument->into = argv[++*at];
    return true;
}

static bool
take_word(const struct argument *arguments, size_t count, size_t *words, const char *text)
{
    size_t seen = 0;
    for (size_t i = 0; i < count; i++) {
        if (arguments[i].type == ARGUMENT_WORD && seen++ == *words) {
            *(const char **)arguments[i].into = text;
            (*words)++;
            return true;
        }
    }
    return false;
}

static bool
all_required(
    const struct cli *cli, const struct argument *arguments, size_t count, int *exit_status)
{
    for (size_t i = 0; i < count; i++) {
        const struct argument *argument = &arguments[i];
        if (argument->required && !*(const char **)argument->into) {
            return refuse(cli, exit_status, "missing: ", argument->name);
        }
    }
    return true;
}

bool
arguments_parse(const struct cli *cli, int argc, char **argv, const struct argument *arguments,
    size_t count, int *exit_status)
{
    bool options_over = false;
    size_t words = 0;
    check(count <= ARGUMENTS_MAX);
    for (int i = 0; i < argc; i++) {
        const bool option = !options_over && argv[i][0] == '-' && argv[i][1] != '\0';
        if (option && strcmp(argv[i], "--") == 0) {
            options_over = true;
        } else if (option && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            char *words_of[] = { (char *)(uintptr_t)cli->command->words };
            struct cli other = *cli;
            *exit_status = command_help(&other, 1, words_of);
            return false;
        } else if (option) {
            if (!take_option(cli, argc, argv, &i, arguments, count, exit_status)) {
                return false;
            }
        } else if (!take_word(arguments, count, &words, argv[i])) {
            return refuse(cli, exit_status, "not expected: ", argv[i]);
        }
    }
    return all_required(cli, arguments, count, exit_status);
}
