/* bench/load_report.c: what was measured between the two ends of the window, as one line of JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "bench/fail.h"
#include "bench/load_priv.h"

static void
sample(const struct watched *watched, struct proc_sample *out)
{
    if (proc_read(watched->pid, out) != STATUS_OK) {
        fail(
            "process %d (%s) cannot be looked at; has it ended?", (int)watched->pid, watched->name);
    }
}

static int64_t
own_cpu_us(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
    return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000
           + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

void
load_watch_idle(struct load *load)
{
    for (int i = 0; i < load->watched_count; i++) {
        sample(&load->watched[i], &load->watched[i].idle);
    }
}

void
load_window_begin(struct load *load, int64_t now_us)
{
    for (int i = 0; i < load->watched_count; i++) {
        sample(&load->watched[i], &load->watched[i].before);
    }
    load->generator_us = -own_cpu_us();
    load->window_start_us = now_us;
    load->in_window = true;
}

void
load_window_end(struct load *load, int64_t now_us)
{
    load->in_window = false;
    load->window_end_us = now_us;
    load->generator_us += own_cpu_us();
    for (int i = 0; i < load->watched_count; i++) {
        sample(&load->watched[i], &load->watched[i].after);
    }
}

void
load_watch_memory(struct load *load, bool full)
{
    for (int i = 0; i < load->watched_count; i++) {
        struct proc_sample now;
        sample(&load->watched[i], &now);
        *(full ? &load->watched[i].full_kb : &load->watched[i].marked_kb) = now.resident_kb;
    }
}

void
load_put_latencies(const char *name, const struct latencies *latencies)
{
    if (latencies->total == 0) {
        return;
    }
    (void)printf(",\"%s_count\":%" PRIu64 ",\"%s_p50_us\":%" PRId64 ",\"%s_p90_us\":%" PRId64
                 ",\"%s_p99_us\":%" PRId64 ",\"%s_p999_us\":%" PRId64 ",\"%s_max_us\":%" PRId64,
        name, latencies->total, name, latencies_at(latencies, 5000), name,
        latencies_at(latencies, 9000), name, latencies_at(latencies, 9900), name,
        latencies_at(latencies, 9990), name, latencies->max_us);
}

static double
share(int64_t amount, int64_t count)
{
    return count > 0 ? (double)amount / (double)count : 0.0;
}

/* `count` is what the work is divided by: calls or chunks. */
static void
put_watched(const struct watched *watched, int64_t count)
{
    const char *name = watched->name;
    struct proc_use use;
    proc_between(&watched->idle, &watched->before, &watched->after, &use);
    const int64_t cpu_us = use.loops_us + use.engine_us + use.other_us;
    (void)printf(",\"%s_cpu_us\":%" PRId64 ",\"%s_loops_us\":%" PRId64 ",\"%s_engine_us\":%" PRId64
                 ",\"%s_other_us\":%" PRId64 ",\"%s_user_us\":%" PRId64
                 ",\"%s_system_us\":%" PRId64,
        name, cpu_us, name, use.loops_us, name, use.engine_us, name, use.other_us, name,
        use.user_us, name, use.system_us);
    (void)printf(",\"%s_us_each\":%.2f,\"%s_loops_us_each\":%.2f,\"%s_engine_us_each\":%.2f", name,
        share(cpu_us, count), name, share(use.loops_us, count), name, share(use.engine_us, count));
    (void)printf(",\"%s_resident_idle_kb\":%" PRId64 ",\"%s_resident_before_kb\":%" PRId64
                 ",\"%s_resident_after_kb\":%" PRId64,
        name, watched->idle.resident_kb, name, watched->before.resident_kb, name,
        watched->after.resident_kb);
}

static void
put_memory(const struct load *load, const struct watched *watched)
{
    const int32_t more = load->options.connections - load->options.mark;
    const int64_t from_kb = load->options.mark > 0 ? watched->marked_kb : watched->idle.resident_kb;
    (void)printf(",\"%s_resident_idle_kb\":%" PRId64 ",\"%s_resident_marked_kb\":%" PRId64
                 ",\"%s_resident_full_kb\":%" PRId64 ",\"%s_kb_each\":%.2f",
        watched->name, watched->idle.resident_kb, watched->name, watched->marked_kb, watched->name,
        watched->full_kb, watched->name, share(watched->full_kb - from_kb, more));
}

static void
put_errors(const struct load *load)
{
    static const char *const words[] = {
#define LOAD_ERROR_WORD(id, word) word,
        LOAD_ERRORS(LOAD_ERROR_WORD)
#undef LOAD_ERROR_WORD
    };
    int64_t errors = 0;
    for (size_t i = 0; i < LOAD_ERROR_COUNT; i++) {
        (void)printf(",\"errors_%s\":%" PRId64, words[i], load->errors[i]);
        errors += load->errors[i];
    }
    (void)printf(",\"errors\":%" PRId64 ",\"odd_status\":%" PRId32 ",\"unsent\":%" PRId64, errors,
        load->odd_status, load->unsent);
}

void
load_report(const struct load *load)
{
    const bool streams = load->options.mode->streams;
    const bool measured = load->window_end_us > 0;
    const int64_t window_us = measured ? load->window_end_us - load->window_start_us : 0;
    (void)printf("{\"mode\":\"%s\",\"connections\":%" PRId32 ",\"body_bytes\":%" PRId64
                 ",\"rate\":%" PRId64 ",\"calls_all\":%" PRId64 ",\"chunks_all\":%" PRId64,
        load->options.mode->name, load->options.connections, load->options.body_bytes,
        load->options.rate, load->calls_all, load->chunks_all);
    put_errors(load);
    if (streams) {
        (void)printf(",\"streams\":%" PRId32, load->seen);
        load_put_latencies("first_chunk", &load->first_chunk);
    }
    if (measured) {
        (void)printf(",\"window_us\":%" PRId64 ",\"calls\":%" PRId64
                     ",\"calls_per_s\":%.1f,\"chunks\":%" PRId64
                     ",\"chunks_per_s\":%.1f,\"generator_busy\":%.3f",
            window_us, load->calls, share(load->calls * 1000000, window_us), load->chunks,
            share(load->chunks * 1000000, window_us), share(load->generator_us, window_us));
        load_put_latencies("latency", &load->latency);
        load_put_latencies("between", &load->between);
        load_put_latencies("transit", &load->transit);
    }
    for (int i = 0; i < load->watched_count; i++) {
        if (measured) {
            put_watched(&load->watched[i], streams ? load->chunks : load->calls);
        } else {
            put_memory(load, &load->watched[i]);
        }
    }
    (void)printf("}\n");
    (void)fflush(stdout);
}
