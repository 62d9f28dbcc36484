/* tools/man.c: the manual, made from the lists of src/tbl/: `man 1 SAMPLE` writes tidegate(1), `man 5 SAMPLE`
 * tidegate.yaml(5), to standard output, as man(7). SAMPLE is the configuration that `tidegate init` writes.
 * Runs while the program is built. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tbl/commands.h"
#include "tbl/counters.h"
#include "tbl/endpoints.h"
#include "tbl/histograms.h"
#include "tbl/log_keys.h"
#include "tbl/options.h"
#include "tbl/reasons.h"

#define OPTION_COLUMN 18 /* where the words behind an option begin, in tbl/commands.h */

/* --- Text as roff. */

static void
put_char(char c)
{
    switch (c) {
    case '\\': (void)fputs("\\e", stdout); break;
    case '-': (void)fputs("\\-", stdout); break;
    case '\'': (void)fputs("\\(aq", stdout); break;
    case '`': (void)fputs("\\(ga", stdout); break;
    case '^': (void)fputs("\\(ha", stdout); break;
    case '~': (void)fputs("\\(ti", stdout); break;
    case '"': (void)fputs("\\(dq", stdout); break;
    default: (void)putchar(c);
    }
}

/* A text within a line; never a request, whatever it begins with. */
static void
put_part(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (i == 0 && (text[i] == '.' || text[i] == '\'')) {
            (void)fputs("\\&", stdout);
        }
        put_char(text[i]);
    }
}

static void
put(const char *text)
{
    put_part(text, strlen(text));
}

static void
put_line(const char *text)
{
    put(text);
    (void)putchar('\n');
}

/* The head of a paragraph with a tag, in bold. */
static void
put_tag(const char *text)
{
    (void)fputs(".TP\n\\fB", stdout);
    put(text);
    (void)fputs("\\fR\n", stdout);
}

/* As it stands, indented. */
static void
put_example(const char *text)
{
    (void)fputs(".PP\n.RS 4\n.nf\n", stdout);
    while (*text) {
        const char *end = strchr(text, '\n');
        const size_t len = end ? (size_t)(end - text) : strlen(text);
        put_part(text, len);
        (void)putchar('\n');
        text += len + (end != NULL);
    }
    (void)fputs(".fi\n.RE\n", stdout);
}

/* --- tidegate(1). */

/* "--option VALUE    words", "NAME    words", "key=VALUE  words"; not a sentence. */
static bool
begins_option(const char *line, size_t len)
{
    if (len == 0 || line[0] == ' ') {
        return false;
    }
    if (line[0] == '-') {
        return true;
    }
    size_t word = 0;
    while (word < len && ((line[word] >= 'a' && line[word] <= 'z') || line[word] == '_')) {
        word++;
    }
    if (word > 0 && word < len && line[word] == '=') {
        return true; /* a key and its value */
    }
    word = 0;
    while (word < len && line[word] >= 'A' && line[word] <= 'Z') {
        word++;
    }
    return word > 1 && word + 1 < len && line[word] == ' ' && line[word + 1] == ' ';
}

/* Where the option ends and its words begin. */
static size_t
option_words_at(const char *line, size_t len)
{
    if (len > OPTION_COLUMN && line[OPTION_COLUMN - 1] == ' ') {
        return OPTION_COLUMN;
    }
    const char *gap = strstr(line, "  ");
    return gap && (size_t)(gap - line) < len ? (size_t)(gap - line) + 2 : len;
}

static void
put_detail(const char *line, size_t len, bool *in_option)
{
    size_t at = 0;
    if (begins_option(line, len)) {
        at = option_words_at(line, len);
        size_t end = at < len ? at : len;
        while (end > 0 && line[end - 1] == ' ') {
            end--;
        }
        (void)fputs(".TP\n\\fB", stdout);
        put_part(line, end);
        (void)fputs("\\fR\n", stdout);
        *in_option = true;
    } else if (line[0] != ' ' && *in_option) {
        (void)fputs(".PP\n", stdout);
        *in_option = false;
    }
    while (at < len && line[at] == ' ') {
        at++;
    }
    put_part(line + at, len - at);
    (void)putchar('\n');
}

static void
put_command(const char *words, const char *arguments, const char *summary, const char *details)
{
    bool in_option = false;
    (void)fputs(".SS \"tidegate ", stdout);
    put(words);
    (void)fputs("\"\n", stdout);
    (void)fputs(".B tidegate ", stdout);
    put(words);
    (void)fputs("\n", stdout);
    for (const char *at = arguments; *at;) { /* lines of arguments are folded */
        const size_t len = strcspn(at, "\n");
        put_part(at + strspn(at, " "), len - strspn(at, " "));
        (void)putchar('\n');
        at += len + (at[len] == '\n');
    }
    (void)fputs(".PP\n", stdout);
    (void)putchar(summary[0] >= 'a' && summary[0] <= 'z' ? summary[0] - 'a' + 'A' : summary[0]);
    put(summary + 1);
    (void)fputs(".\n", stdout);
    for (const char *at = details; *at;) {
        const size_t len = strcspn(at, "\n");
        put_detail(at, len, &in_option);
        at += len + (at[len] == '\n');
    }
}

static void
put_commands(void)
{
    (void)puts(".SH COMMANDS");
#define COMMAND_PUT(id, words, arguments, summary, details)                                        \
    put_command(words, arguments, summary, details);
    COMMANDS(COMMAND_PUT)
#undef COMMAND_PUT
}

static void
put_endpoints(void)
{
    (void)puts(
        ".SH ENDPOINTS\n"
        "Model endpoints are also served without their\n.BR /v1 .\n"
        "Who may ask: anyone; this machine (or a key that may read); a key; an admin's key. What takes an\n"
        ".BR Idempotency\\-Key ,\n"
        "told by\n"
        ".BR once ,\n"
        "is done once under the same key, however often it is asked for.");
#define ENDPOINT_PUT(id, method, path, owner, access, dispatches, repeat, help)                    \
    put_tag(#method " " path);                                                                     \
    put(help);                                                                                     \
    (void)fputs(strcmp(#access, "OPEN") == 0    ? " (anyone"                                       \
                : strcmp(#access, "LOCAL") == 0 ? " (this machine"                                 \
                : strcmp(#access, "KEY") == 0   ? " (a key"                                        \
                                                : " (an admin",                                    \
        stdout);                                                                                   \
    (void)fputs(strcmp(#repeat, "ONCE") == 0 ? "; once)\n" : ")\n", stdout);
    ENDPOINTS(ENDPOINT_PUT)
#undef ENDPOINT_PUT
}

static void
put_refusals(void)
{
    (void)puts(
        ".SH REFUSALS\n"
        "What is not started says why, by a code and a sentence. At model endpoints spent money, and a\n"
        "wait of over a minute, is 402 with\n.BR \"x\\-should\\-retry: false\" ;\n"
        "a wait of up to a minute is 429 with\n.BR retry\\-after ;\n"
        "on the control plane statuses are those in parentheses.");
#define REASON_PUT(name, code, scope, control, class_, sentence)                                   \
    if (strcmp(code, "ok") != 0) {                                                                 \
        put_tag(code);                                                                             \
        put(sentence);                                                                             \
        (void)fputs(" (" #control ")\n", stdout);                                                  \
    }
    REASONS(REASON_PUT)
#undef REASON_PUT
}

static void
put_metric(const char *name, const char *type, const char *help)
{
    static char last[128]; /* rows of one name stand together */
    if (strcmp(last, name) == 0) {
        return;
    }
    (void)snprintf(last, sizeof(last), "%s", name);
    put_tag(name);
    put(help);
    (void)printf(" (%s)\n", type);
}

static void
put_metrics(void)
{
    (void)puts(
        ".SH METRICS\n"
        "What\n.B /metrics\nshows, beside\n.B tidegate_build_info\nand what the system says of the "
        "process\n.RB ( process_* ).");
#define COUNTER_PUT(id, kind, name, labels, help)                                                  \
    put_metric(name, strcmp(#kind, "GAUGE") == 0 ? "gauge" : "counter", help);
    COUNTERS(COUNTER_PUT)
#undef COUNTER_PUT
#define HISTOGRAM_PUT(id, bounds, name, help) put_metric(name, "histogram", help);
    HISTOGRAMS(HISTOGRAM_PUT)
#undef HISTOGRAM_PUT
}

static void
put_log(void)
{
    (void)puts(
        ".SH LOG\n"
        "One event is one line on standard error, of\n.B key=value\n"
        "fields, or with\n.B \\-\\-log\\-json\n(or\n.BR \"log: json\" )\n"
        "one JSON object. A call that was sent to a provider has one line,\n.BR event=call ,\n"
        "when it is over; a refusal has\n.BR event=refused .\n"
        "No line holds a key, a secret or a body. Keys, each where it has a meaning:");
#define LOG_KEY_PUT(key, what)                                                                     \
    put_tag(key);                                                                                  \
    put_line(what);
    LOG_KEYS(LOG_KEY_PUT)
#undef LOG_KEY_PUT
}

static void
put_program(void)
{
    (void)puts(
        ".TH TIDEGATE 1 \"\" \"tidegate " TIDEGATE_VERSION "\" \"User Commands\"\n"
        ".SH NAME\n"
        "tidegate \\- decides whether model calls may start, who pays, and keeps exact books\n"
        ".SH SYNOPSIS\n.B tidegate\n.I command\n[\\fIarguments\\fR]\n"
        ".SH DESCRIPTION\n"
        "Tidegate is a gateway to providers of language models. Clients send it the calls that they\n"
        "would send a provider; before each call it decides whether it may start, who pays for it and\n"
        "which provider serves it, and it keeps durable books of what it cost. Without a configuration\n"
        "\\fBtidegate serve\\fR starts in sandbox mode, with a simulated provider.\n"
        ".PP\nCommands ask the gateway that runs, over its control socket; where none runs, those that\n"
        "work on the books open the store themselves.");
    put_commands();
    put_endpoints();
    put_refusals();
    put_metrics();
    put_log();
    (void)puts(
        ".SH SIGNALS\n"
        ".TP\n\\fBSIGTERM\\fR, \\fBSIGINT\\fR\nCalls in flight may end, for stop_grace; a second one ends "
        "them now, in their dialect; a third ends the\nprocess.\n"
        ".TP\n\\fBSIGHUP\\fR\nReads the configuration again, as \\fBtidegate reload\\fR does.\n"
        ".SH ENVIRONMENT\n"
        ".TP\n\\fBTIDEGATE_CONTROL\\fR\nThe control socket that commands ask, where no \\-\\-control is "
        "given.\n"
        ".TP\n\\fBNOTIFY_SOCKET\\fR, \\fBWATCHDOG_USEC\\fR\nGiven by a service manager: it is told ready, "
        "reloading, stopping and alive.\n"
        ".PP\nBeside these, the variables that the configuration names. A process never sees its "
        "environment change:\na secret that shall be changed without a restart stands in a file.\n"
        ".SH FILES\n"
        ".TP\n\\fItidegate.yaml\\fR\nThe configuration, in the current folder; see\n.BR tidegate.yaml (5).\n"
        ".TP\n\\fItidegate.db\\fR\nThe books, with \\fI\\-wal\\fR and \\fI\\-shm\\fR beside them while the "
        "gateway runs.\n"
        ".TP\n\\fItidegate.sock\\fR\nThe control socket, beside the store unless the configuration says "
        "otherwise.\n"
        ".TP\n\\fItidegate.db.crash\\fR\nWhat a gateway that died of a bug has left: ids, lengths and "
        "states, never bodies or keys. The next start\ntells of it and renames it to "
        "\\fI.crash.told\\fR.\n"
        ".SH EXIT STATUS\n0 done; 1 it could not be done, a sentence on standard error says why; 2 the "
        "command line is wrong.\n"
        ".SH SEE ALSO\n.BR tidegate.yaml (5)");
}

/* --- tidegate.yaml(5). */

static const char *
type_text(enum option_type type)
{
    switch (type) {
    case OPTION_TYPE_MAP: return "mapping";
    case OPTION_TYPE_NAMES: return "mapping of names";
    case OPTION_TYPE_LIST: return "list";
    case OPTION_TYPE_TEXT: return "text";
    case OPTION_TYPE_WORD: return "word";
    case OPTION_TYPE_BOOL: return "true or false";
    case OPTION_TYPE_COUNT: return "number";
    case OPTION_TYPE_DURATION: return "duration, such as 500ms, 3s or 2h30m";
    case OPTION_TYPE_TOKENS: return "tokens, such as 1024 tokens";
    case OPTION_TYPE_BYTES: return "size, such as 64KB or 32MB";
    case OPTION_TYPE_MONEY: return "money, such as 0.50 USD";
    case OPTION_TYPE_ANY:
    case OPTION_TYPE_LATER: break;
    }
    return "";
}

static void
put_option(const struct option_row *row)
{
    if (row->type == OPTION_TYPE_LATER) {
        return;
    }
    const bool required = row->preset && strcmp(row->preset, OPTION_REQUIRED) == 0;
    put_tag(row->path);
    put_line(row->sentence);
    (void)fputs(".br\n", stdout);
    (void)fputs(row->type == OPTION_TYPE_WORD ? "One of: " : "Value: ", stdout);
    put(row->form ? row->form : type_text(row->type));
    if (row->low || row->high) {
        (void)fputs("; from ", stdout);
        put(row->low ? row->low : "any");
        (void)fputs(" to ", stdout);
        put(row->high ? row->high : "any");
    }
    (void)fputs(".", stdout);
    if (required) {
        (void)fputs(" Must be given.", stdout);
    } else if (row->preset) {
        (void)fputs(" Default: ", stdout);
        put(row->preset);
        (void)fputs(".", stdout);
    }
    (void)putchar('\n');
}

static void
put_file(const char *sample)
{
    (void)puts(
        ".TH TIDEGATE.YAML 5 \"\" \"tidegate " TIDEGATE_VERSION "\" \"File Formats\"\n"
        ".SH NAME\ntidegate.yaml \\- configuration of tidegate\n"
        ".SH DESCRIPTION\n"
        "YAML. A file that is wrong is refused whole, with file, line, column and what would be right;\n"
        "\\fBtidegate check\\fR tells without starting anything. Relative paths begin at the folder of the\n"
        "file. A running gateway reads it again on \\fBSIGHUP\\fR or \\fBtidegate reload\\fR: a wrong file\n"
        "changes nothing, calls in flight keep what they were allowed under, and options that only a\n"
        "restart changes are named.\n"
        ".PP\nSecrets stand in the environment or in files, never here. Those in files are read again at\n"
        "a reload, so they can be changed while the gateway runs: write the new file beside the old one,\n"
        "rename it, reload. The environment of a process does not change.\n"
        ".SH OPTIONS\nIn a path, * stands for any name, or any item of a list.");
    for (int i = 0; i < OPTION_COUNT; i++) {
        put_option(option_row((enum option)i));
    }
    (void)puts(".SH EXAMPLE\nWhat \\fBtidegate init\\fR writes:");
    put_example(sample);
    (void)puts(".SH SEE ALSO\n.BR tidegate (1)");
}

/* --- */

static char *
read_sample(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);
    if (!file || !text || fread(text, 1, (1 << 20) - 1, file) == 0) {
        (void)fprintf(stderr, "man: %s cannot be read\n", path);
        exit(1);
    }
    (void)fclose(file); /* it was only read */
    return text;
}

int
main(int argc, char **argv)
{
    if (argc != 3 || (strcmp(argv[1], "1") != 0 && strcmp(argv[1], "5") != 0)) {
        (void)fprintf(stderr, "usage: man 1|5 SAMPLE\n");
        return 2;
    }
    char *sample = read_sample(argv[2]);
    (void)puts(".\\\" Made from src/tbl/ by tools/man.c.");
    if (argv[1][0] == '1') {
        put_program();
    } else {
        put_file(sample);
    }
    free(sample);
    return fflush(stdout) == 0 ? 0 : 1;
}
