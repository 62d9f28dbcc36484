/* serve/left_caps.c: caps that rule no more are told of, so that nobody finds out by what was spent. */
#include "serve/left_caps.h"

#include "base/clock.h"
#include "base/plural.h"

struct counting {
    int64_t set_id, now_ms, count;
};

static bool
count_sets(void *user, const struct subject_row *row)
{
    struct counting *counting = user;
    for (int32_t i = 0; i < row->set_count; i++) {
        const struct cap_set *set = &row->sets[i];
        const bool lasts = set->expires_ms == 0 || counting->now_ms < set->expires_ms;
        counting->count += set->set_id == counting->set_id && lasts;
    }
    return true;
}

/* -1: the store does not say. */
static int64_t
sets_of(struct store_reader *reader, int64_t set_id)
{
    struct counting counting = { .set_id = set_id, .now_ms = clock_wall_ms() };
    for (int kind = 0; kind < SUBJECT_KIND_COUNT; kind++) {
        const struct subject_filter filter = { .with_caps = true, .kind = (enum subject_kind)kind };
        if (store_read_subjects(reader, &filter, count_sets, &counting) != STATUS_OK) {
            return -1;
        }
    }
    return counting.count;
}

static void
tell_one(const struct limit *limit, int64_t count, struct buf *said)
{
    if (count < 0) {
        buf_addf(said,
            ". The limit '%s' counts something else than before: caps that people set for it are not in "
            "force any more",
            limit->name);
    } else if (count > 0) {
        buf_addf(said,
            ". The limit '%s' counts something else than before: %lld cap%s or raise%s that people set "
            "for it %s not in force any more, and would be again with what it counted before",
            limit->name, (long long)count, plural_s(count), plural_s(count), plural_are(count));
    }
}

void
left_caps_tell(struct store *store, const struct policy *policy, struct buf *said)
{
    struct store_reader *reader = NULL;
    struct store_error error;
    for (int32_t i = 0; i < policy->limit_count; i++) {
        const struct limit *limit = &policy->limits[i];
        if (limit->left_set_id == 0) {
            continue;
        }
        if (!reader && store_reader_open(store, &reader, &error) != STATUS_OK) {
            reader = NULL;
        }
        tell_one(limit, reader ? sets_of(reader, limit->left_set_id) : -1, said);
    }
    if (reader) {
        store_reader_close(reader);
    }
}
