/* store/audit.h: whether the books of a store agree with themselves.
 *
 * For every meter, at every commit: settled + held = sums over ledger and open holds (DESIGN
 * section 4). The audit reads every row of a store, running or not, and changes nothing:
 * which limits and windows a call counted against is in its ledger row's inputs, so no configuration
 * is needed, and one that was changed since does not matter. */
#pragma once

#include "store/store.h"

#define AUDIT_PARTS(X)                                                                             \
    X(FILE, "file", "pages, indices and rows that can be read")                                    \
    X(SETTLED, "settled", "what meters have settled = the costs of their calls in the ledger")     \
    X(HELD, "held", "what meters hold = the parts of open holds")                                  \
    X(IN_FLIGHT, "in_flight", "calls in flight of meters = open holds")                            \
    X(ONCE, "once", "every call is resolved once, and not while its hold is open")                 \
    X(IDS, "ids", "ids belong to epochs that were handed out")                                     \
    X(REFERENCES, "references", "accounts, keys, threads and subjects that rows name are there")

enum audit_part {
#define AUDIT_PART_ENUM(id, word, help) AUDIT_##id,
    AUDIT_PARTS(AUDIT_PART_ENUM)
#undef AUDIT_PART_ENUM
        AUDIT_PART_COUNT
};
const char *audit_part_word(enum audit_part part);
const char *audit_part_help(enum audit_part part);

#define AUDIT_FINDINGS_MAX 200
struct audit_finding {
    enum audit_part part;
    bool has_amounts, is_money;  /* of micro-USD, else units */
    int64_t stored, expected;
    char what[400]; /* a sentence: where, and what it means */
};

struct audit {
    int64_t schema_version, bytes, epoch, high_water_ms;
    int64_t unknown_count; /* parts of booked calls whose subject does not show in their row: their meters are not compared */
    int64_t kept_from_ms; /* before it rows of calls were deleted: sums that need them are not compared; 0 = none were */
    int64_t account_count, key_count, thread_count, meter_count, hold_count, ledger_count;
    int64_t call_count;  /* resolved ones */
    int64_t cost_micros; /* of all of them */
    int64_t held_micros; /* of the open ones */
    int64_t meters_settled, meters_held; /* over all meters, whatever their unit: to compare stores by */
    int64_t compared[AUDIT_PART_COUNT], different[AUDIT_PART_COUNT];
    int64_t difference_count;
    struct audit_finding *findings; /* the first AUDIT_FINDINGS_MAX; store_audit_free */
    int32_t finding_count;
};

/* False: stop. `total` 0: not known. */
typedef bool audit_progress(void *user, const char *doing, int64_t done, int64_t total);

/* `url`: "sqlite:PATH" or "postgresql://...". STATUS_OK: all was compared, difference_count says whether it is right.
 * STATUS_INVALID: it cannot be read as a store at all; STATUS_NOT_FOUND, STATUS_NEWER, STATUS_IO,
 * STATUS_FULL: nothing can be said of it. Any thread; `progress` may be NULL. */
MUST_USE enum status store_audit(const char *url, audit_progress *progress, void *user,
    struct audit *audit, struct store_error *error);
void store_audit_free(struct audit *audit);
