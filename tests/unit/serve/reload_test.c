/* tests/unit/serve/reload_test.c
 *
 * Goal: what a reload cannot change is named, option by option, and nothing else is. */
#include "unit.h"

#include "conf/conf.h"
#include "serve/reload.h"

#define PROVIDERS                                                                                  \
    "providers: {p: {dialect: openai, base_url: 'http://127.0.0.1:9/v1'}}\n"                       \
    "models: {m: {routes: [{provider: p}], price: {input: 1 USD, output: 1 USD}}}\n"

static struct policy *
policy_of(const char *lines)
{
    struct policy *policy = NULL;
    struct conf_error error;
    struct buf text = { 0 };
    buf_addf(&text, "%s%s", PROVIDERS, lines);
    if (conf_load_text("x.yaml", buf_slice(&text), &policy, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    buf_free(&text);
    return policy;
}

static void
names_what_differs(void **state)
{
    static const struct {
        const char *old, *new, *said;
    } rows[] = {
        { "", "", "" },
        { "held_wait: 1s\nstop_grace: 1s\n", "step: 64\ndrain_max: 1s\n", "" }, /* in force at once */
        { "", "listen: 127.0.0.1:8081\n", "listen" },
        { "", "listen: [127.0.0.1:8080, '[::1]:8080']\n", "listen" },
        { "", "listen: unix:/run/x.sock\n", "listen" },
        { "listen: unix:/run/x.sock\n", "listen: unix:/run/x.sock\n", "" },
        { "", "store: memory\n", "store" },
        { "store: sqlite:a.db\n", "store: sqlite:a.db\n", "" },
        { "lease: 3s\n", "node: a\n", "lease, node" },
        { "", "durability: os\ncontrol: c.sock\nloops: 3\nlog: json\n", "durability, control, loops, log" },
        { "", "head_deadline: 1s\nbody_deadline: 1s\nidle_deadline: 1s\n", "head_deadline, body_deadline, idle_deadline" },
        { "", "head_max: 1KB\nheaders_max: 9\nconnections_max: 9\n", "head_max, headers_max, connections_max" },
        { "", "connections_per_address: 9\nwrite_deadline: 3s\nbodies_max: 100MB\n",
            "connections_per_address, write_deadline, bodies_max" },
        { "", "body_max: 64MB\n", "body_max" },
        { "", "body_max: 1MB\n", "" }, /* a lower bound holds at once */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct policy *old = policy_of(rows[i].old);
        struct policy *new = policy_of(rows[i].new);
        struct buf said = { 0 };
        const int count = reload_fixed_changes(old, new, &said);
        assert_string_equal(buf_cstr(&said), rows[i].said);
        assert_int_equal(count > 0, said.len > 0);
        buf_free(&said);
        policy_unref(old);
        policy_unref(new);
    }
}

static const struct CMUnitTest tests[] = {
    CASE("what a reload cannot change is named, and nothing else", names_what_differs),
};
UNIT_MAIN(tests)
