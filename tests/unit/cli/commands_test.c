/* tests/unit/cli/commands_test.c
 *
 * Goal: command lines mean what the table says; addresses and sockets are found where they are; what goes
 * into a request cannot break out of it. */
#include "unit.h"

#include "cli/cli_priv.h"

static int
run_nothing(struct cli *cli, int argc, char **argv)
{
    return argc;
}

static const struct command commands[] = {
    { "serve", "[--config FILE]", "run the gateway", "", run_nothing },
    { "key add", "ACCOUNT", "make a key", "", run_nothing },
    { "key list", "", "list keys", "", run_nothing },
};

static struct cli
plain_cli(void)
{
    return (struct cli){ .program = "tidegate", .commands = commands, .command_count = countof(commands),
        .command = &commands[0] };
}

static void
commands_are_found_by_their_words(void **state)
{
    static const struct {
        const char *words[3];
        int count;
        const char *found; /* NULL = none */
        int taken;
    } rows[] = {
        { { "serve" }, 1, "serve", 1 },
        { { "serve", "key" }, 2, "serve", 1 },
        { { "key", "add", "ada" }, 3, "key add", 2 },
        { { "key", "list" }, 2, "key list", 2 },
        { { "key" }, 1, NULL, 0 },
        { { "key", "ad" }, 2, NULL, 0 },
        { { "Serve" }, 1, NULL, 0 },
        { { "" }, 1, NULL, 0 },
    };
    const struct cli cli = plain_cli();
    for (size_t i = 0; i < countof(rows); i++) {
        int taken = 0;
        const struct command *found = command_find(&cli, rows[i].count, (char **)(uintptr_t)rows[i].words, &taken);
        assert_int_equal(taken, rows[i].taken);
        if (rows[i].found) {
            assert_non_null(found);
            assert_string_equal(found->words, rows[i].found);
        } else {
            assert_null(found);
        }
    }
}

static void
arguments_are_taken_or_refused(void **state)
{
    static const struct {
        const char *argv[5];
        int argc;
        bool good;
        const char *name, *label;
        bool flag;
    } rows[] = {
        { { "ada" }, 1, true, "ada", NULL, false },
        { { "ada", "--label", "x" }, 3, true, "ada", "x", false },
        { { "--label=x y", "ada", "--flag" }, 3, true, "ada", "x y", true },
        { { "--label=", "ada" }, 2, true, "ada", "", false },
        { { "--label", "--flag", "ada" }, 3, true, "ada", "--flag", false }, /* a value is a value */
        { { "--", "--flag" }, 2, true, "--flag", NULL, false },
        { { "-" }, 1, true, "-", NULL, false },
        { { "" }, 0, false, NULL, NULL, false }, /* NAME is missing */
        { { "ada", "bob" }, 2, false, NULL, NULL, false },
        { { "ada", "--label" }, 2, false, NULL, NULL, false },
        { { "ada", "--lable", "x" }, 3, false, NULL, NULL, false },
        { { "ada", "--flag=yes" }, 2, false, NULL, NULL, false },
        { { "ada", "-x" }, 2, false, NULL, NULL, false },
    };
    const struct cli cli = plain_cli();
    for (size_t i = 0; i < countof(rows); i++) {
        const char *name = NULL;
        const char *label = NULL;
        bool flag = false;
        int exit_status = EXIT_OK;
        const struct argument arguments[] = {
            { "NAME", ARGUMENT_WORD, &name, true },
            { "--label", ARGUMENT_TEXT, &label, false },
            { "--flag", ARGUMENT_FLAG, &flag, false },
        };
        const bool good = arguments_parse(&cli, rows[i].argc, (char **)(uintptr_t)rows[i].argv, arguments,
            countof(arguments), &exit_status);
        assert_int_equal(good, rows[i].good);
        assert_int_equal(exit_status, good ? EXIT_OK : EXIT_USAGE);
        if (good) {
            assert_string_equal(name, rows[i].name);
            assert_int_equal(label != NULL, rows[i].label != NULL);
            assert_true(!label || strcmp(label, rows[i].label) == 0);
            assert_int_equal(flag, rows[i].flag);
        }
    }
}

static void
listen_addresses_are_numeric_with_a_port(void **state)
{
    static const struct {
        const char *text, *shown; /* shown NULL = refused */
    } rows[] = {
        { "127.0.0.1:8080", "127.0.0.1:8080" },
        { "[::1]:8080", "[::1]:8080" },
        { "localhost:80", "127.0.0.1:80" },
        { "0.0.0.0:0", "0.0.0.0:0" },
        { "unix:/run/x.sock", "unix:/run/x.sock" },
        { "unix:", NULL },
        { "8080", NULL },
        { ":8080", NULL },
        { "127.0.0.1", NULL },
        { "127.0.0.1:", NULL },
        { "127.0.0.1:65536", NULL },
        { "127.0.0.1:-1", NULL },
        { "::1:8080", NULL }, /* which colon is it? */
        { "example.com:80", NULL },
        { "[]:80", NULL },
        { "", NULL },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char copy[64];
        struct listen listen;
        const bool good = listen_parse(slice_str(rows[i].text), copy, sizeof(copy), &listen);
        assert_int_equal(good, rows[i].shown != NULL);
        if (good) {
            struct buf out = { 0 };
            listen_text(&listen, listen.port, &out);
            assert_string_equal(buf_cstr(&out), rows[i].shown);
            buf_free(&out);
        }
    }
}

static void
the_control_socket_is_beside_the_store(void **state)
{
    static const struct {
        const char *store, *control, *path;
    } rows[] = {
        { "sqlite:tidegate.db", NULL, "tidegate.sock" },
        { "sqlite:/var/lib/tidegate/books.db", NULL, "/var/lib/tidegate/tidegate.sock" },
        { "sqlite:data/books.db", NULL, "data/tidegate.sock" },
        { "sqlite:tidegate.db", "/run/t.sock", "/run/t.sock" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct policy *policy = policy_new();
        char path[64];
        policy->store = rows[i].store;
        policy->control = rows[i].control;
        assert_true(control_path(policy, path, sizeof(path)));
        assert_string_equal(path, rows[i].path);
        assert_false(control_path(policy, path, 5));
        policy_unref(policy);
    }
}

static void
what_people_type_stays_inside_its_place(void **state)
{
    struct buf target = { 0 };
    struct buf body = { 0 };
    buf_add_str(&target, "/api/x/");
    path_add(&target, "a/b c?d&e%");
    query_add(&target, "one", "1&2=3 #");
    query_add(&target, "none", NULL);
    query_add(&target, "empty", "");
    query_add(&target, "two", "\xC3\xA9");
    assert_string_equal(buf_cstr(&target), "/api/x/a%2Fb%20c%3Fd%26e%25?one=1%262%3D3%20%23&two=%C3%A9");
    body_add(&body, "name", "a\"b\\");
    body_add(&body, "none", NULL);
    body_add(&body, "plan", "pro");
    assert_string_equal(buf_cstr(&body), "{\"name\":\"a\\\"b\\\\\",\"plan\":\"pro\"}");
    buf_free(&target);
    buf_free(&body);
}

static const struct CMUnitTest tests[] = {
    CASE("commands are found by their words", commands_are_found_by_their_words),
    CASE("arguments are taken or refused", arguments_are_taken_or_refused),
    CASE("listen addresses are numeric with a port", listen_addresses_are_numeric_with_a_port),
    CASE("the control socket is beside the store", the_control_socket_is_beside_the_store),
    CASE("what people type stays inside its place", what_people_type_stays_inside_its_place),
};
UNIT_MAIN(tests)
