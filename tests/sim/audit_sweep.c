/* tests/sim/audit_sweep.c: what went because nobody came back to it: trees of threads that no call was of for as long
 * as they are kept, whole; subjects that nothing was charged to for as long, of whom no window is open. When that was
 * he knows from the holds that he saw, and the windows from his own calendar. What went is off his record, so that
 * what is decided later is decided as if it had never been. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit_priv.h"

static int64_t
now_of(const struct audit *audit)
{
    return audit->node->engine->core.now_ms;
}

/* From when on what is used is kept, by the configuration that the gateway sweeps by. */
static int64_t
kept_from_ms(const struct audit *audit)
{
    return now_of(audit) - audit->node->engine->policy->retention_threads_ms;
}

static struct audit_hold *
next_hold(const struct audit *audit, size_t *cursor)
{
    uint64_t key = 0;
    void *value = NULL;
    return map_next(&audit->holds, cursor, &key, &value) ? value : NULL;
}

static const struct write *
gone(const struct audit *audit, enum write_kind kind, int64_t id)
{
    for (int i = 0; i < audit->node->writes.committed; i++) {
        const struct write *write = &audit->node->writes.items[i];
        if (write->kind == kind && write->id == id) {
            return write;
        }
    }
    return NULL;
}

/* --- Trees. */

/* No call was of it since, and none is in flight. */
static void
check_unused(struct audit *audit, const struct thread_row *row)
{
    size_t cursor = 0;
    for (const struct audit_hold *hold = NULL; (hold = next_hold(audit, &cursor));) {
        if (hold->row.thread_id == row->thread_id && (hold->open || hold->row.created_ms >= kept_from_ms(audit))) {
            broken(audit->world, "thread %lld is swept, and its call %lld %s", (long long)row->thread_id,
                (long long)hold->row.hold_id, hold->open ? "is in flight" : "is younger than threads are kept");
        }
        if (hold->row.root_id == row->root_id && hold->open) {
            broken(audit->world, "thread %lld is swept, and call %lld of its tree is in flight", (long long)row->thread_id,
                (long long)hold->row.hold_id);
        }
    }
}

static void
thread_gone(struct audit *audit, const struct thread_row *row)
{
    static char went;
    const uint64_t key = audit_thread_key(row->account_id, row->kind, row->sig_hash);
    struct audit_thread *thread = map_get(&audit->threads, key);
    if (!thread || thread->thread_id != row->thread_id || thread->root_id != row->root_id) {
        broken(audit->world, "thread %lld is swept, and is none", (long long)row->thread_id);
    }
    check_unused(audit, row);
    free(map_remove(&audit->threads, key));
    if (!map_get(&audit->swept, key)) {
        check(map_put(&audit->swept, key, &went));
    }
    coverage.swept_threads++;
    coverage.swept_trees += row->root_id != row->thread_id;
}

/* Nothing of it stays: no thread, nor what it has counted. */
static void
check_whole(struct audit *audit, const struct thread_row *row)
{
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    char name[NAME_MAX_BYTES + 1];
    while (map_next(&audit->threads, &cursor, &key, &value)) {
        const struct audit_thread *thread = value;
        if (thread->root_id == row->root_id) {
            broken(audit->world, "thread %lld is swept, and thread %lld of its tree is not", (long long)row->thread_id,
                (long long)thread->thread_id);
        }
    }
    snprintf(name, sizeof name, "%lld", (long long)row->root_id);
    const struct audit_subject *subject = audit_subject_named(audit, SUBJECT_TREE, row->account_id, name);
    if (subject) {
        broken(audit->world, "tree %s is swept, and its subject %lld is not", name, (long long)subject->row.subject_id);
    }
}

void
audit_came_back(struct audit *audit, const struct thread_row *row)
{
    coverage.swept_again +=
        map_get(&audit->swept, audit_thread_key(row->account_id, row->kind, row->sig_hash)) != NULL;
}

/* --- Subjects. */

/* What it says changes no decision any more, also of a limit that comes back. */
static bool
reads_nothing(struct audit *audit, const struct audit_meter *meter)
{
    const struct sim_limit *means = audit_means(audit, meter->limit_id);
    const struct sim_limit *now = audit_configured(audit, meter->limit_id);
    if (!means || meter->held != 0 || meter->bound != 0 || meter->opens != 0) {
        return false;
    }
    switch (form_of(means)->window) {
    case WINDOW_LIFETIME: return false;
    case WINDOW_CONCURRENCY: return true;
    case WINDOW_BUCKET:
        return meter->fuzzy || meter->settled == 0 || (now && audit_level(meter, now->rate, now_of(audit)) == 0);
    default: return window_is_over(means, meter->window_ms, now_of(audit));
    }
}

static void
check_over(struct audit *audit, const struct audit_subject *subject)
{
    size_t cursor = 0;
    const struct subject_row *row = &subject->row;
    for (const struct audit_meter *meter = subject->meters; meter; meter = meter->next) {
        if (meter->window_ms != SLACK_OF_ROLLING && !reads_nothing(audit, meter)) {
            const struct sim_limit *means = audit_means(audit, meter->limit_id);
            broken(audit->world, "subject %lld is swept, and limit %lld (%s per %s, %s) counts for it since %lld: settled %lld, "
                                 "held %lld",
                (long long)row->subject_id, (long long)meter->limit_id, count_word(form_of(means)->counts),
                per_word(form_of(means)->per), window_word(form_of(means)->window), (long long)meter->window_ms,
                (long long)meter->settled, (long long)meter->held);
        }
    }
    for (int32_t i = 0; i < row->set_count; i++) {
        if (row->sets[i].expires_ms == 0 || row->sets[i].expires_ms > now_of(audit)) {
            broken(audit->world, "subject %lld is swept, and something is set for it", (long long)row->subject_id);
        }
    }
    for (const struct audit_hold *hold = NULL; (hold = next_hold(audit, &cursor));) {
        for (int32_t i = 0; i < hold->row.part_count; i++) {
            const bool used = hold->open || hold->row.created_ms >= kept_from_ms(audit);
            if (hold->row.parts[i].subject_id == row->subject_id && used) {
                broken(audit->world, "subject %lld is swept, and call %lld counts for it", (long long)row->subject_id,
                    (long long)hold->row.hold_id);
            }
        }
    }
}

static void
check_tree_is_gone(struct audit *audit, const struct subject_row *row)
{
    if (!gone(audit, WRITE_THREAD_GONE, strtoll(row->name, NULL, 10))) {
        broken(audit->world, "subject %lld is swept, and its tree %s is not", (long long)row->subject_id, row->name);
    }
}

static void
subject_gone(struct audit *audit, const struct subject_row *row)
{
    struct audit_subject *subject = audit_subject(audit, row->subject_id);
    const struct write *meters = gone(audit, WRITE_METER_GONE, row->subject_id);
    if (!subject || subject->row.version != row->version) {
        broken(audit->world, "subject %lld is swept, and %s", (long long)row->subject_id, subject ? "was another" : "is none");
    }
    if (meters) {
        audit_meter_row(audit, &meters->row.meter); /* its sums, for the last time */
    }
    for (const struct audit_meter *meter = subject->meters; meter && !meters; meter = meter->next) {
        if (meter->window_ms != SLACK_OF_ROLLING) {
            broken(audit->world, "subject %lld is swept, and its meters are not", (long long)row->subject_id);
        }
    }
    if (row->kind == SUBJECT_GATEWAY || row->kind == SUBJECT_GROUP) {
        broken(audit->world, "subject %lld is swept, and each call looks for what is set for it", (long long)row->subject_id);
    }
    if (row->kind == SUBJECT_TREE) {
        check_tree_is_gone(audit, row);
    } else {
        check_over(audit, subject);
        coverage.swept_subjects++;
    }
    while (subject->meters) {
        struct audit_meter *next = subject->meters->next;
        free(subject->meters);
        subject->meters = next;
    }
    (void)map_remove(&audit->subject_names, audit_subject_key(row->kind, row->account_id, row->name));
    free(map_remove(&audit->subjects, (uint64_t)row->subject_id));
}

void
audit_sweep(struct audit *audit)
{
    static const enum write_kind order[] = { WRITE_SUBJECT_GONE, WRITE_METER_GONE, WRITE_THREAD_GONE };
    const struct writes *writes = &audit->node->writes;
    for (size_t k = 0; k < countof(order); k++) {
        for (int i = 0; i < writes->committed; i++) {
            const struct write *write = &writes->items[i];
            if (write->kind != order[k]) {
                continue;
            }
            if (audit->node->engine->policy->retention_threads_ms == 0) {
                broken(audit->world, "something is swept, and all is kept for ever");
            }
            switch (write->kind) {
            case WRITE_SUBJECT_GONE: subject_gone(audit, &write->row.subject); break;
            case WRITE_THREAD_GONE: thread_gone(audit, &write->row.thread); break;
            default:
                if (!gone(audit, WRITE_SUBJECT_GONE, write->id)) {
                    broken(audit->world, "the meters of subject %lld are swept, and it is not", (long long)write->id);
                }
            }
        }
    }
    for (int i = 0; i < writes->committed; i++) {
        if (writes->items[i].kind == WRITE_THREAD_GONE) {
            check_whole(audit, &writes->items[i].row.thread);
        }
    }
}
