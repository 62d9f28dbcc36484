/* tests/unit/relay/cooldown_test.c
 *
 * Goal: a route that keeps failing is left alone for longer and longer, one call asks it whether it is well
 * again, and a provider's own wait goes before our rule.
 * Method: scripts of what happens when; after each step, whether a call may go there. */
#include "unit.h"

#include "relay/cooldown.h"

#define RULE ((struct cooldown_rule){ .after = 3, .max_ms = 60000, .jitter = 7 })

/* Fails once, sent just before. */
static bool
fail_at(struct cooldown *cooldown, int64_t now_ms)
{
    const struct cooldown_rule rule = RULE;
    return cooldown_failed(cooldown, &rule, now_ms, now_ms);
}

static bool
probe_at(struct cooldown *cooldown, int64_t now_ms)
{
    bool probes = false;
    return cooldown_take(cooldown, now_ms, &probes) && probes;
}

static void
so_many_failures_in_a_row_close_it(void **state)
{
    struct cooldown cooldown = { .failures = 0 };
    int64_t now_ms = 1000;
    (void)state;
    assert_false(fail_at(&cooldown, now_ms));
    assert_false(fail_at(&cooldown, now_ms));
    cooldown_answered(&cooldown, true); /* not in a row */
    assert_true(cooldown_idle(&cooldown));
    assert_false(fail_at(&cooldown, now_ms));
    assert_false(fail_at(&cooldown, now_ms));
    cooldown_answered(&cooldown, false); /* it began, and broke off */
    assert_int_equal(cooldown_opens_ms(&cooldown, now_ms), 0);
    assert_true(fail_at(&cooldown, now_ms));
    assert_true(cooldown_opens_ms(&cooldown, now_ms) > now_ms);
    assert_int_equal(cooldown.cause, COOLDOWN_FAILING);
}

static void
waits_double_up_to_the_longest(void **state)
{
    static const int64_t wanted_ms[] = { 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000 };
    (void)state;
    for (uint64_t jitter = 0; jitter < 50; jitter++) {
        struct cooldown cooldown = { .failures = 2 };
        struct cooldown_rule rule = RULE;
        int64_t now_ms = 1000;
        rule.jitter = jitter;
        for (size_t i = 0; i < countof(wanted_ms); i++) {
            assert_true(cooldown_failed(&cooldown, &rule, now_ms, now_ms));
            const int64_t wait_ms = cooldown.until_ms - now_ms;
            assert_true(wait_ms >= wanted_ms[i] * 3 / 4);
            assert_true(wait_ms <= min_i64(wanted_ms[i] * 5 / 4, 60000));
            now_ms = cooldown.until_ms;
            assert_true(probe_at(&cooldown, now_ms));
        }
        cooldown_answered(&cooldown, true);
        assert_true(cooldown_idle(&cooldown)); /* and from the start again */
    }
}

static void
waits_of_different_routes_differ(void **state)
{
    int64_t least_ms = INT64_MAX, most_ms = 0;
    (void)state;
    for (uint64_t jitter = 1; jitter <= 64; jitter++) {
        struct cooldown cooldown = { .failures = 2 };
        const struct cooldown_rule rule = { .after = 3, .max_ms = 60000, .jitter = jitter };
        assert_true(cooldown_failed(&cooldown, &rule, 0, 0));
        least_ms = min_i64(least_ms, cooldown.until_ms);
        most_ms = max_i64(most_ms, cooldown.until_ms);
    }
    assert_true(most_ms - least_ms > 300);
}

static void
one_call_asks_whether_it_is_well(void **state)
{
    struct cooldown cooldown = { .failures = 2 };
    bool probes = true;
    (void)state;
    assert_true(cooldown_take(&cooldown, 0, &probes)); /* open: nobody probes */
    assert_false(probes);
    assert_true(fail_at(&cooldown, 0));
    const int64_t open_ms = cooldown.until_ms;
    assert_false(cooldown_take(&cooldown, open_ms - 1, &probes));
    assert_int_equal(cooldown_opens_ms(&cooldown, open_ms), 0);
    assert_true(cooldown_take(&cooldown, open_ms, &probes));
    assert_true(probes);
    assert_false(cooldown_take(&cooldown, open_ms + 1, &probes)); /* no herd */
    assert_false(probes);
    assert_int_equal(cooldown_opens_ms(&cooldown, open_ms + 1), open_ms + 1 + COOLDOWN_PROBING_MS);
    cooldown_give_back(&cooldown); /* its client left: the next one probes */
    assert_true(probe_at(&cooldown, open_ms + 2));
    assert_true(probe_at(&cooldown, open_ms + 2 + COOLDOWN_PROBE_MS)); /* nor is a probe waited for for ever */
    cooldown_answered(&cooldown, false);
    assert_true(cooldown_take(&cooldown, open_ms + 3, &probes));
    assert_false(probes);
}

static void
calls_that_were_on_their_way_do_not_lengthen_it(void **state)
{
    struct cooldown cooldown = { .failures = 2 };
    const struct cooldown_rule rule = RULE;
    (void)state;
    assert_true(cooldown_failed(&cooldown, &rule, 900, 1000));
    const int64_t open_ms = cooldown.until_ms;
    for (int i = 0; i < 100; i++) {
        assert_false(cooldown_failed(&cooldown, &rule, 950, 1001 + i));
        assert_false(cooldown_failed(&cooldown, &rule, 950, open_ms + i)); /* also later */
    }
    assert_int_equal(cooldown.until_ms, open_ms);
    assert_true(probe_at(&cooldown, open_ms + 100));
    assert_false(cooldown_failed(&cooldown, &rule, 950, open_ms + 101)); /* not the probe */
    assert_true(cooldown_failed(&cooldown, &rule, open_ms + 100, open_ms + 102));
    assert_int_equal(cooldown.rounds, 2);
}

static void
a_providers_own_wait_goes_first(void **state)
{
    struct cooldown cooldown = { .failures = 0 };
    (void)state;
    cooldown_asked(&cooldown, COOLDOWN_ASKED, 300000, 1000);
    assert_int_equal(cooldown_opens_ms(&cooldown, 2000), 301000);
    assert_false(fail_at(&cooldown, 2000));
    assert_int_equal(cooldown_opens_ms(&cooldown, 2000), 301000);
    assert_true(probe_at(&cooldown, 301000));
    assert_false(fail_at(&cooldown, 301000)); /* fewer than three in a row: it is open, and counted */
    assert_int_equal(cooldown_opens_ms(&cooldown, 301000), 0);
    assert_true(fail_at(&cooldown, 301001));
    cooldown_asked(&cooldown, COOLDOWN_SPENT, 5000, 302000); /* and replaces ours */
    assert_int_equal(cooldown_opens_ms(&cooldown, 302001), 307000);
    assert_string_equal(cooldown_cause_word(cooldown.cause), "spent");
}

static void
a_providers_long_wait_is_a_hint(void **state)
{
    static const int64_t days_ms[] = { 156 * HOUR_MS, 18 * DAY_MS, COOLDOWN_HINT_MS + 1 };
    (void)state;
    for (size_t i = 0; i < countof(days_ms); i++) {
        struct cooldown cooldown = { .failures = 0 };
        int64_t now_ms = 1000;
        for (int asked = 0; asked < 5; asked++) { /* it says so again and again */
            cooldown_asked(&cooldown, COOLDOWN_SPENT, days_ms[i], now_ms);
            assert_int_equal(cooldown_opens_ms(&cooldown, now_ms), now_ms + COOLDOWN_HINT_MS);
            now_ms += COOLDOWN_HINT_MS;
            assert_true(probe_at(&cooldown, now_ms));
            assert_false(probe_at(&cooldown, now_ms)); /* one call alone */
        }
        cooldown_answered(&cooldown, true); /* its quota came back */
        assert_int_equal(cooldown_opens_ms(&cooldown, now_ms), 0);
    }
}

static void
a_rule_of_none_never_closes_it(void **state)
{
    struct cooldown cooldown = { .failures = 0 };
    const struct cooldown_rule rule = { .after = 0, .max_ms = 60000 };
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_false(cooldown_failed(&cooldown, &rule, i, i));
        assert_int_equal(cooldown_opens_ms(&cooldown, i), 0);
    }
}

static void
what_nobody_asks_any_more_is_bygone_after_a_while(void **state)
{
    struct cooldown failed = { .failures = 0 }, spent = { .failures = 0 };
    (void)state;
    assert_false(fail_at(&failed, 1000));
    assert_false(cooldown_bygone(&failed, 1000 + COOLDOWN_BYGONE_MS));
    assert_true(cooldown_bygone(&failed, 1001 + COOLDOWN_BYGONE_MS));
    cooldown_asked(&spent, COOLDOWN_SPENT, 5000, 1000); /* from the end of its wait */
    assert_false(cooldown_bygone(&spent, 6000 + COOLDOWN_BYGONE_MS));
    assert_true(cooldown_bygone(&spent, 6001 + COOLDOWN_BYGONE_MS));
}

static const struct CMUnitTest tests[] = {
    CASE("so many failures in a row close it", so_many_failures_in_a_row_close_it),
    CASE("waits double, up to the longest", waits_double_up_to_the_longest),
    CASE("waits of different routes differ", waits_of_different_routes_differ),
    CASE("one call asks whether it is well", one_call_asks_whether_it_is_well),
    CASE("calls that were on their way do not lengthen it", calls_that_were_on_their_way_do_not_lengthen_it),
    CASE("FF-86 FF-87 a provider's long wait is a hint: it is asked again meanwhile", a_providers_long_wait_is_a_hint),
    CASE("a provider's own wait goes first", a_providers_own_wait_goes_first),
    CASE("what nobody asks any more is bygone after a while", what_nobody_asks_any_more_is_bygone_after_a_while),
    CASE("a rule of none never closes it", a_rule_of_none_never_closes_it),
};

UNIT_MAIN(tests)
