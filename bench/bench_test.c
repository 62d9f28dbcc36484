/* bench/bench_test.c
 *
 * Goal: the numbers that the benchmark prints are those of what happened.
 * Method: tables over the buckets, the counting of events at every cut, and the bodies that are sent. */
#include "base/buf.h"
#include "bench/events.h"
#include "bench/latencies.h"
#include "bench/proc.h"
#include "bench/request.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void
latencies_have_the_value_that_a_share_does_not_pass(void **state)
{
    static const struct {
        int64_t from_us, to_us, step_us; /* what is added */
        uint32_t of_10000;
        int64_t least_us, most_us; /* of the answer */
    } rows[] = {
        { 7, 7, 1, 5000, 7, 7 },
        { 1, 3, 1, 5000, 2, 2 }, /* the second of three */
        { 1, 100, 1, 9900, 99, 99 },
        { 1, 100, 1, 10000, 100, 100 },
        { 1, 10000, 1, 5000, 5000, 5080 },  /* within 1.6 % above it */
        { 1, 10000, 1, 9990, 9990, 10000 }, /* never above the largest */
        { 127, 129, 1, 10000, 129, 129 },   /* over the end of the exact ones */
        { INT64_C(1) << 36, INT64_C(1) << 36, 1, 5000, INT64_C(1) << 36, INT64_C(1) << 36 },
        { INT64_C(1) << 50, INT64_C(1) << 50, 1, 5000, 1,
            INT64_C(1) << 50 }, /* beyond the last bucket */
        { -5, -5, 1, 5000, 0, 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        static struct latencies latencies;
        latencies = (struct latencies){ 0 };
        for (int64_t us = rows[i].from_us; us <= rows[i].to_us; us += rows[i].step_us) {
            latencies_add(&latencies, us);
        }
        const int64_t found_us = latencies_at(&latencies, rows[i].of_10000);
        assert_true(found_us >= rows[i].least_us);
        assert_true(found_us <= rows[i].most_us);
    }
    static const struct latencies empty;
    assert_int_equal(latencies_at(&empty, 9900), 0);
}

static void
joined_latencies_are_those_of_both(void **state)
{
    static struct latencies both;
    static struct latencies other;
    for (int64_t us = 1; us <= 100; us++) {
        latencies_add(us <= 50 ? &both : &other, us);
    }
    latencies_join(&both, &other);
    assert_int_equal(both.total, 100);
    assert_int_equal(both.max_us, 100);
    assert_int_equal(latencies_at(&both, 9900), 99);
    latencies_join(&other, &both);
    assert_int_equal(other.total, 150);
    assert_int_equal(latencies_at(&other, 10000), 100);
}

static void
every_latency_falls_into_a_bucket_that_ends_at_most_one_in_sixty_four_above_it(void **state)
{
    for (int64_t us = 1; us < INT64_C(1) << 36; us += 1 + us / 37) {
        static struct latencies latencies;
        latencies = (struct latencies){ 0 };
        latencies_add(&latencies, us);
        latencies_add(&latencies, INT64_C(1) << 36);
        const int64_t found_us = latencies_at(&latencies, 5000);
        assert_true(found_us >= us);
        assert_true(found_us <= us + us / 64);
    }
}

static void
events_are_counted_wherever_the_bytes_are_cut(void **state)
{
    static const struct {
        const char *text;
        uint32_t count;
    } rows[] = {
        { "data: {\"a\":1}\n\ndata: [DONE]\n\n", 2 },
        { "event: x\ndata: {}\n\n: data: a comment\n\ndata:y\n\n", 2 },
        { "dat: no\ndatadata: no\n data: no\nxdata: no\n", 0 },
        { "\n\n\ndata:", 1 },
        { "data: data: data:\n", 1 },
        { "", 0 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        const size_t len = strlen(rows[i].text);
        for (size_t cut = 0; cut <= len; cut++) {
            struct events events = { 0 };
            const uint32_t count = events_count(&events, slice_of(rows[i].text, cut))
                                   + events_count(&events, slice_of(rows[i].text + cut, len - cut));
            assert_int_equal(count, rows[i].count);
        }
    }
}

static void
a_stamp_is_read_only_when_it_is_whole(void **state)
{
    static const struct {
        const char *text;
        int64_t stamp_us;
    } rows[] = {
        { "\"system_fingerprint\":\"fp_0000001234567890\",", 1234567890 },
        { "\"system_fingerprint\":\"fp_000000123456789", -1 },     /* cut */
        { "\"system_fingerprint\":\"fp_44709d6fcb00000a\",", -1 }, /* somebody else's */
        { "\"fp_0000000000000000\"", -1 }, /* an event that is not stamped */
        { "data: [DONE]", -1 },
        { "", -1 },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(events_stamp_us(slice_str(rows[i].text)), rows[i].stamp_us);
    }
}

/* Strings closed, brackets matched, escapes known: enough of JSON for what request.c can get wrong. */
static bool
is_well_formed(struct slice json)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < json.len; i++) {
        const char c = json.ptr[i];
        if (quoted && c == '\\') {
            i++;
            if (i == json.len || !strchr("n\"", json.ptr[i])) {
                return false;
            }
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted) {
            depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        } else if ((unsigned char)c < ' ') {
            return false;
        }
    }
    return !quoted && depth == 0;
}

static void
a_body_has_exactly_the_size_asked_for_and_is_well_formed(void **state)
{
    for (size_t size = REQUEST_BODY_MIN; size < 12000; size += size < 1200 ? 1 : 97) {
        struct buf body = { 0 };
        request_body(&body, "bench", size % 2 == 0, size);
        assert_int_equal(body.len, size);
        assert_true(is_well_formed(buf_slice(&body)));
        buf_free(&body);
    }
}

static void
children_are_measured_as_long_as_they_run(void **state)
{
    assert_int_equal(proc_children_us(getpid()), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    for (volatile int64_t turns = 0; pid == 0; turns++) { /* until it is told to end */
    }
    int64_t used_us = 0;
    while (used_us == 0) {
        used_us = proc_children_us(getpid());
    }
    assert_true(proc_children_us(pid) == 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(proc_children_us(getpid()), 0);
}

static void
a_process_is_measured_and_one_that_is_not_there_is_told(void **state)
{
    static struct proc_sample before, after;
    struct proc_use use;
    assert_int_equal(proc_read(getpid(), &before), STATUS_OK);
    volatile uint64_t sum = 0;
    for (uint64_t i = 0; i < 20000000; i++) {
        sum += i;
    }
    assert_true(sum > 0);
    assert_int_equal(proc_read(getpid(), &after), STATUS_OK);
    proc_between(&before, &before, &after, &use);
    assert_true(use.loops_us + use.engine_us + use.other_us > 1000);
    assert_true(after.resident_kb > 100);
    assert_int_not_equal(proc_read(0x7ffffff0, &before), STATUS_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(latencies_have_the_value_that_a_share_does_not_pass),
        cmocka_unit_test(joined_latencies_are_those_of_both),
        cmocka_unit_test(
            every_latency_falls_into_a_bucket_that_ends_at_most_one_in_sixty_four_above_it),
        cmocka_unit_test(events_are_counted_wherever_the_bytes_are_cut),
        cmocka_unit_test(a_stamp_is_read_only_when_it_is_whole),
        cmocka_unit_test(a_body_has_exactly_the_size_asked_for_and_is_well_formed),
        cmocka_unit_test(children_are_measured_as_long_as_they_run),
        cmocka_unit_test(a_process_is_measured_and_one_that_is_not_there_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
