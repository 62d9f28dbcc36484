/* tests/unit/log/metrics_test.c
 *
 * Goal: counters add up over threads, and the table and its text obey the Prometheus format.
 * Method: the rules of the format are applied to every row of tbl/counters.h. */
#include "unit.h"

#include <pthread.h>
#include <string.h>

#include "log/metrics.h"

#define THREADS 4
#define ADDS    50000

static const struct {
    const char *kind, *name, *labels, *help;
} table[COUNTER_COUNT] = {
#define TABLE_ROW(id, kind, name, labels, help) { #kind, name, labels, help },
    COUNTERS(TABLE_ROW)
#undef TABLE_ROW
};

static void
rows_obey_the_format(void **state)
{
    for (size_t i = 0; i < countof(table); i++) {
        const char *name = table[i].name;
        const char *last = i > 0 ? table[i - 1].name : "";
        assert_true(slice_starts(slice_str(name), SLICE("tidegate_")));
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
        const bool total = slice_ends(slice_str(name), SLICE("_total"));
        assert_int_equal(total, strcmp(table[i].kind, "COUNTER") == 0);
        assert_null(strpbrk(table[i].help, "\\\n"));
        assert_int_equal(table[i].help[strlen(table[i].help) - 1], '.');
        for (size_t j = 0; j < i; j++) {
            if (strcmp(name, table[j].name) != 0) {
                continue;
            }
            assert_string_equal(name, last); /* rows of one name stand together */
            assert_string_equal(table[i].help, table[j].help);
            assert_string_equal(table[i].kind, table[j].kind);
            assert_string_not_equal(table[i].labels, table[j].labels);
        }
    }
}

static void
renders(void **state)
{
    struct buf out = { 0 };
    counter_add(COUNTER_CALLS_ALLOWED, 3);
    counter_add(COUNTER_CALLS_REFUSED, 2);
    counter_add(COUNTER_STREAMS_OPEN, 5);
    counter_add(COUNTER_STREAMS_OPEN, -1);
    metrics_render(&out);
    assert_false(out.failed);
    const char *text = buf_cstr(&out);
    assert_non_null(strstr(text, "# HELP tidegate_calls_total Model calls decided at the gate.\n"
                                 "# TYPE tidegate_calls_total counter\n"
                                 "tidegate_calls_total{verdict=\"allowed\"} 3\n"
                                 "tidegate_calls_total{verdict=\"refused\"} 2\n"));
    assert_non_null(strstr(text, "# TYPE tidegate_streams_open gauge\ntidegate_streams_open 4\n"));
    assert_int_equal(text[out.len - 1], '\n');

    size_t row_count = 0;
    struct slice rest = buf_slice(&out);
    struct slice line;
    while (slice_split(&rest, '\n', &line)) {
        row_count += slice_starts(line, SLICE("tidegate_"));
    }
    size_t wanted = COUNTER_COUNT + 1; /* what is built */
#define COUNT_BOUND(value) +1
#define COUNT_ROWS(id, list, name, help) +(0 BOUNDS_##list(COUNT_BOUND) + 3) /* +Inf, sum, count */
    wanted += 0 HISTOGRAMS(COUNT_ROWS);
    assert_int_equal(row_count, wanted);
    assert_non_null(strstr(text, "tidegate_build_info{version=\"" TIDEGATE_VERSION "\"} 1\n"));
    assert_non_null(strstr(text, "\nprocess_resident_memory_bytes "));
    buf_free(&out);
}

static void
distributions_are_cumulative(void **state)
{
    struct buf out = { 0 };
    static const int64_t values[] = { -1, 0, 49, 50, 51, 5000000, 5000001, 2500 };
    for (size_t i = 0; i < countof(values); i++) {
        histogram_add(HISTOGRAM_COMMIT, values[i]);
    }
    histogram_add(HISTOGRAM_BATCH, 256);
    histogram_add(HISTOGRAM_BATCH, 3);
    metrics_render(&out);
    const char *text = buf_cstr(&out);
    assert_non_null(strstr(text,
        "# TYPE tidegate_commit_seconds histogram\n# UNIT tidegate_commit_seconds seconds\n"
        "tidegate_commit_seconds_bucket{le=\"0.00005\"} 4\n"
        "tidegate_commit_seconds_bucket{le=\"0.0001\"} 5\n"));
    assert_non_null(strstr(text, "tidegate_commit_seconds_bucket{le=\"0.0025\"} 6\n"));
    assert_non_null(strstr(text,
        "tidegate_commit_seconds_bucket{le=\"5\"} 7\n"
        "tidegate_commit_seconds_bucket{le=\"+Inf\"} 8\n"
        "tidegate_commit_seconds_sum 10.002651\ntidegate_commit_seconds_count 8\n"));
    assert_non_null(strstr(text,
        "tidegate_batch_events_bucket{le=\"2\"} 0\ntidegate_batch_events_bucket{le=\"4\"} 1\n"));
    assert_non_null(strstr(text, "tidegate_batch_events_sum 259\ntidegate_batch_events_count 2\n"));
    assert_non_null(strstr(text, "tidegate_gate_seconds_sum 0\ntidegate_gate_seconds_count 0\n"));
    buf_free(&out);
}

static void
values_lie_within_a_bound(void **state)
{
    static const struct {
        int64_t value, count; /* of 0, 2, 2, 3 and 17, beyond the last bound */
    } rows[] = { { -1, 1 }, { 0, 1 }, { 1, 1 }, { 2, 3 }, { 3, 4 }, { 16, 4 }, { 17, 5 }, { INT64_MAX, 5 } };
    static const int64_t values[] = { 0, 2, 2, 3, 17 };
    for (size_t i = 0; i < countof(values); i++) {
        histogram_add(HISTOGRAM_BATCH_TRIPS, values[i]);
    }
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(
            histogram_within(HISTOGRAM_BATCH_TRIPS, rows[i].value), rows[i].count);
    }
}

static void
bounds_ascend(void **state)
{
#define BOUND_OF(value) (value),
#define CHECK_BOUNDS(id, list, name, help)                                                         \
    {                                                                                              \
        static const int64_t bounds[] = { BOUNDS_##list(BOUND_OF) };                               \
        assert_true(countof(bounds) <= HISTOGRAM_BOUNDS_MAX);                                      \
        for (size_t i = 1; i < countof(bounds); i++) {                                             \
            assert_true(bounds[i] > bounds[i - 1]);                                                \
        }                                                                                          \
        assert_int_equal(help[strlen(help) - 1], '.');                                             \
    }
    HISTOGRAMS(CHECK_BOUNDS)
}

static void
gauges_are_set_and_raised(void **state)
{
    counter_raise(COUNTER_OVERSHOOT_MICROS_MAX, 10);
    counter_raise(COUNTER_OVERSHOOT_MICROS_MAX, 7);
    assert_int_equal(counter_get(COUNTER_OVERSHOOT_MICROS_MAX), 10);
    counter_set(COUNTER_OVERSHOOT_MICROS_MAX, 0);
    assert_int_equal(counter_get(COUNTER_OVERSHOOT_MICROS_MAX), 0);
}

static void *
add_many(void *arg)
{
    for (int i = 0; i < ADDS; i++) {
        counter_add(COUNTER_EVENTS, 1);
        counter_add(COUNTER_HOLDS_OPEN, i % 2 ? -1 : 1);
        counter_raise(COUNTER_OVERSHOOT_MICROS_MAX, i);
    }
    return NULL;
}

static void
threads_lose_nothing(void **state)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(counter_get(COUNTER_EVENTS), THREADS * ADDS);
    assert_int_equal(counter_get(COUNTER_HOLDS_OPEN), 0);
    assert_int_equal(counter_get(COUNTER_OVERSHOOT_MICROS_MAX), ADDS - 1);
}

static void *
take_one(void *arg)
{
    counter_add(COUNTER_REQUESTS_OPEN, -1);
    return NULL;
}

static void
a_gauge_goes_down_on_another_thread(void **state)
{
    pthread_t thread;
    counter_add(COUNTER_REQUESTS_OPEN, 3);
    assert_int_equal(pthread_create(&thread, NULL, take_one, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(counter_get(COUNTER_REQUESTS_OPEN), 2);
    counter_add(COUNTER_REQUESTS_OPEN, -3); /* as if the other half had not been read yet */
    assert_int_equal(counter_get(COUNTER_REQUESTS_OPEN), 0);
    counter_add(COUNTER_REQUESTS_OPEN, 1);
}

static const struct CMUnitTest tests[] = {
    CASE("every row obeys the rules of the format", rows_obey_the_format),
    CASE("metrics are rendered as Prometheus reads them", renders),
    CASE("distributions are cumulative, in seconds where they say so", distributions_are_cumulative),
    CASE("a distribution tells how many values lie within a bound", values_lie_within_a_bound),
    CASE("bounds of distributions ascend", bounds_ascend),
    CASE("gauges are set and raised", gauges_are_set_and_raised),
    CASE("threads lose nothing", threads_lose_nothing),
    CASE("a gauge goes down on another thread, and is never below 0",
        a_gauge_goes_down_on_another_thread),
};
UNIT_MAIN(tests)
