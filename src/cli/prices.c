/* cli/prices.c: tidegate prices import | list. */
#include "cli/cli_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/plural.h"

#define BOOK_BYTES_MAX ((size_t)64 << 20)
#define ANY_PORT       1
#define FOR_ALL        0644

static bool
read_file(const char *path, struct buf *out)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
    char piece[65536];
    size_t got = 0;
    if (!file) {
        return false;
    }
    out->limit_bytes = BOOK_BYTES_MAX;
    while ((got = fread(piece, 1, sizeof(piece), file)) > 0 && !out->failed) {
        buf_add(out, piece, got);
    }
    const bool good = !ferror(file) && !out->failed;
    if (out->failed) {
        errno = EFBIG;
    }
    if (file != stdin) {
        (void)fclose(file); /* it was only read */
    }
    return good;
}

/* What was taken and what was not: beside the book, which may be on standard output. */
static void
tell_import(const struct conf_import *import)
{
    const int32_t passed_by = import->other_mode + import->unpriced + import->odd_name;
    (void)fprintf(
        stderr, "%d model%s taken, %d left out", import->taken, plural_s(import->taken), passed_by);
    const struct {
        int32_t count;
        const char *why;
    } rows[] = { { import->other_mode, "not billed by tokens (images, audio, ...)" },
        { import->unpriced, "without a price per token for input and output" },
        { import->odd_name, "with a name that no provider can be asked for" } };
    const char *before = ": ";
    for (size_t i = 0; i < countof(rows); i++) {
        if (rows[i].count > 0) {
            (void)fprintf(stderr, "%s%d %s", before, rows[i].count, rows[i].why);
            before = ", ";
        }
    }
    (void)fputs(".\n", stderr);
}

struct import_options {
    const char *file, *to, *config;
    bool json, dry_run, yes;
};

/* A book that is checked, and what it is compared with. */
struct import_work {
    struct buf book; /* in our form */
    struct conf_import import;
    struct policy *old, *new;
    const char *old_name;
    bool replaces; /* a file is there */
    bool no_book;  /* it is none that can be read */
    char why[512]; /* and why */
    struct price_diff diff;
};

static void
tell_import_json(const struct import_options *options, const struct import_work *work, bool written)
{
    const struct conf_import *import = &work->import;
    struct buf out = { 0 };
    buf_addf(&out,
        "{\"ok\":%s,\"taken\":%d,\"left_out\":{\"other_mode\":%d,\"unpriced\":%d,\"odd_name\":%d},\"out\":",
        written || options->dry_run ? "true" : "false", import->taken, import->other_mode,
        import->unpriced, import->odd_name);
    if (options->to) {
        buf_add_json(&out, slice_str(options->to));
    } else {
        buf_add_str(&out, "null");
    }
    buf_addf(&out, ",\"written\":%s,\"compared_with\":", written ? "true" : "false");
    buf_add_json(&out, slice_str(work->old_name));
    price_diff_json(&out, &work->diff);
    buf_add_str(&out, "}\n");
    text_print(&out);
    buf_free(&out);
}

static enum status
load_policy(const char *config, struct policy **policy, struct conf_error *error)
{
    const bool file = config || access(CONFIG_FILE_DEFAULT, F_OK) == 0;
    return file ? conf_load_file_without_secrets(
               config ? config : CONFIG_FILE_DEFAULT, policy, error)
                : conf_sandbox(ANY_PORT, SANDBOX_STORE, SANDBOX_LISTEN, policy, error);
}

static enum status
load_in_force(
    const struct import_options *options, struct import_work *work, struct conf_error *error)
{
    work->old_name = "the book in force";
    if (load_policy(options->config, &work->old, error) == STATUS_OK) {
        return STATUS_OK;
    }
    /* The configuration may wait for the very file that is to be written. */
    work->old_name = "the built-in book";
    return conf_sandbox(ANY_PORT, SANDBOX_STORE, SANDBOX_LISTEN, &work->old, error);
}

/* The file that would be replaced, else, also where that is no book, the one in force. */
static enum status
load_old(const struct import_options *options, struct import_work *work, struct conf_error *error)
{
    struct buf text = { 0 };
    work->replaces = options->to && access(options->to, F_OK) == 0;
    if (!work->replaces) {
        return load_in_force(options, work, error);
    }
    work->old_name = options->to;
    if (!read_file(options->to, &text)) {
        (void)snprintf(
            error->text, sizeof(error->text), "%.500s: %s", options->to, strerror(errno));
        return STATUS_IO;
    }
    const enum status status = conf_prices_book(options->to, buf_slice(&text), &work->old, error);
    buf_free(&text);
    if (status != STATUS_INVALID) {
        return status;
    }
    work->no_book = true;
    (void)snprintf(work->why, sizeof(work->why), "%.500s", error->text);
    return load_in_force(options, work, error);
}

/* Reads both books and compares them; what is wrong with either is in the error. */
static enum status
import_compare(const struct import_options *options, struct slice text, struct import_work *work,
    struct conf_error *error)
{
    enum status status = conf_prices_import(options->file, text, &work->book, &work->import, error);
    if (status == STATUS_OK) {
        status = conf_prices_book(options->file, buf_slice(&work->book), &work->new, error);
    }
    if (status == STATUS_OK) {
        status = load_old(options, work, error);
    }
    if (status == STATUS_OK && !price_diff_make(work->old, work->new, &work->diff)) {
        (void)snprintf(error->text, sizeof(error->text), "out of memory");
        status = STATUS_FULL;
    }
    return status;
}

static void
tell_diff(const struct import_work *work, bool all)
{
    const struct price_diff *diff = &work->diff;
    if (all || (work->replaces && !work->no_book)) {
        price_diff_print(diff, !all);
        (void)fflush(stdout);
    }
    (void)fprintf(stderr, "Against %s: %zu added, %zu removed, %zu changed", work->old_name,
        diff->added, diff->removed, diff->changed);
    if (diff->steep > 0) {
        (void)fprintf(stderr, "; %zu by more than 4 times (marked with !)", diff->steep);
    }
    (void)fputs(".\n", stderr);
}

/* A file in use is not replaced by prices that somebody should look at first, nor what may be somebody else's. */
static bool
wants_a_look(const struct import_options *options, const struct import_work *work)
{
    const bool leaps = work->diff.steep > 0 || work->diff.removed > 0;
    return work->replaces && !options->yes && (leaps || work->no_book);
}

static int
say_look(const struct import_options *options, const struct import_work *work)
{
    if (work->no_book) {
        return cli_fail("%s stays as it was: it is no price book (%s); --yes replaces it",
            options->to, work->why);
    }
    return cli_fail("%s stays as it was: prices moved by more than 4 times, or models are "
                    "gone; --dry-run shows all, --yes takes them",
        options->to);
}

static int
import_write(const struct import_options *options, const struct import_work *work)
{
    const bool wait = !options->dry_run && wants_a_look(options, work);
    bool written = false;
    if (!wait && !options->dry_run) {
        written = file_replace(options->to, buf_slice(&work->book), FOR_ALL);
        if (!written) {
            return cli_fail("%s: %s", options->to, strerror(errno));
        }
    }
    if (options->json) {
        tell_import_json(options, work, written);
    } else {
        tell_import(&work->import);
        tell_diff(work, options->dry_run);
    }
    return wait ? say_look(options, work) : EXIT_OK;
}

static int
import_book(const struct import_options *options, struct slice text)
{
    struct import_work work = { 0 };
    struct conf_error error;
    int exit_status = EXIT_OK;
    const bool compares = options->to || options->dry_run;
    const enum status status =
        compares ? import_compare(options, text, &work, &error)
                 : conf_prices_import(options->file, text, &work.book, &work.import, &error);
    if (status != STATUS_OK) {
        exit_status = EXIT_FAILED;
        if (options->json) {
            findings_json(options->file, error.text);
        } else {
            (void)fprintf(stderr, "%s\n", error.text);
        }
    } else if (compares) {
        exit_status = import_write(options, &work);
    } else {
        text_print(&work.book);
        tell_import(&work.import);
    }
    price_diff_free(&work.diff);
    policy_unref(work.old);
    policy_unref(work.new);
    buf_free(&work.book);
    return exit_status;
}

int
command_prices_import(struct cli *cli, int argc, char **argv)
{
    struct import_options options = { 0 };
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "FILE", ARGUMENT_WORD, &options.file, true },
        { "--out", ARGUMENT_TEXT, &options.to, false },
        { "--config", ARGUMENT_TEXT, &options.config, false },
        { "--dry-run", ARGUMENT_FLAG, &options.dry_run, false },
        { "--yes", ARGUMENT_FLAG, &options.yes, false },
        { "--json", ARGUMENT_FLAG, &options.json, false },
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    struct buf text = { 0 };
    exit_status = read_file(options.file, &text)
                      ? import_book(&options, buf_slice(&text))
                      : cli_fail("%s: %s", options.file, strerror(errno));
    buf_free(&text);
    return exit_status;
}

/* --- Listing. */

static void
cell_price(struct table *table, int64_t micros_per_mtok)
{
    if (micros_per_mtok < 0) {
        table_cell(table, "-");
    } else {
        table_cell_money(table, micros_per_mtok);
    }
}

static void
row_price(struct table *table, const char *id, const struct price_set *set, int64_t above)
{
    char from[48] = "";
    if (above > 0) {
        (void)snprintf(from, sizeof(from), "over %lld in", (long long)above);
    }
    table_cell(table, id);
    table_cell(table, from);
    cell_price(table, set->input);
    cell_price(table, set->output);
    cell_price(table, set->cache_read);
    cell_price(table, set->cache_write_5m);
    cell_price(table, set->cache_write_1h);
}

static void
print_prices(const struct policy *policy, const char *word)
{
    static const struct column columns[] = {
        { "ID (USD A MILLION TOKENS)", COLUMN_LEFT },
        { "TIER", COLUMN_LEFT },
        { "INPUT", COLUMN_RIGHT },
        { "OUTPUT", COLUMN_RIGHT },
        { "CACHE READ", COLUMN_RIGHT, COLUMN_SPARE },
        { "WRITE 5M", COLUMN_RIGHT, COLUMN_SPARE },
        { "WRITE 1H", COLUMN_RIGHT, COLUMN_SPARE },
    };
    struct table table;
    table_start(&table, columns, countof(columns));
    table.none = word ? "No id of the price book has that in it.\n" : "The price book is empty.\n";
    for (int32_t i = 0; i < policy->price_count; i++) {
        const struct price *price = &policy->prices[i];
        if (word && !strstr(price->id, word)) {
            continue;
        }
        row_price(&table, price->id, &price->base, 0);
        for (int32_t t = 0; t < price->tier_count; t++) {
            row_price(&table, price->id, &price->tiers[t].set, price->tiers[t].above_input_tokens);
        }
    }
    table_print(&table, output_is_terminal());
}

void
prices_json(struct buf *out, const struct price_set *set)
{
    const struct {
        const char *name;
        int64_t price;
    } prices[] = { { "input", set->input }, { "output", set->output },
        { "cache_read", set->cache_read }, { "cache_write_5m", set->cache_write_5m },
        { "cache_write_1h", set->cache_write_1h } };
    for (size_t i = 0; i < countof(prices); i++) {
        buf_addf(out, "%s\"%s\":", i ? "," : "", prices[i].name);
        if (prices[i].price < 0) {
            buf_add_str(out, "null");
        } else {
            buf_add_i64(out, prices[i].price);
        }
    }
}

static void
json_prices(const struct policy *policy, const char *word)
{
    struct buf out = { 0 };
    buf_add_str(&out, "{\"unit\":\"micro_usd_per_mtok\",\"prices\":[");
    bool first = true;
    for (int32_t i = 0; i < policy->price_count; i++) {
        const struct price *price = &policy->prices[i];
        if (word && !strstr(price->id, word)) {
            continue;
        }
        buf_add_str(&out, first ? "{\"id\":" : ",{\"id\":");
        first = false;
        buf_add_json(&out, slice_str(price->id));
        buf_add_char(&out, ',');
        prices_json(&out, &price->base);
        buf_add_str(&out, ",\"tiers\":[");
        for (int32_t t = 0; t < price->tier_count; t++) {
            buf_addf(&out, "%s{\"above_input_tokens\":%lld,", t ? "," : "",
                (long long)price->tiers[t].above_input_tokens);
            prices_json(&out, &price->tiers[t].set);
            buf_add_char(&out, '}');
        }
        buf_add_str(&out, "]}");
    }
    buf_add_str(&out, "]}\n");
    text_print(&out);
    buf_free(&out);
}

int
command_prices_list(struct cli *cli, int argc, char **argv)
{
    const char *word = NULL;
    const char *config = NULL;
    bool json = false;
    int exit_status = EXIT_OK;
    const struct argument arguments[] = {
        { "WORD", ARGUMENT_WORD, &word, false },
        { "--config", ARGUMENT_TEXT, &config, false },
        { "--json", ARGUMENT_FLAG, &json, false },
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    struct policy *policy = NULL;
    struct conf_error error;
    const enum status status = load_policy(config, &policy, &error);
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILED;
    }
    if (json) {
        json_prices(policy, word);
    } else {
        print_prices(policy, word);
    }
    policy_unref(policy);
    return EXIT_OK;
}
