/* reaches: unpack_reported pack_reported reported_valid unpack_meters unpack_parts unpack_attempts pack_meters pack_parts pack_attempts meter_row_valid */
/* fuzz/packed.c: the packed columns of a store that may be damaged. The first byte picks the column.
 *
 * Held: what is taken packs to the very text it came from, and never holds more than its row can. */
#include <stdlib.h>

#include "rows/pack.h"

static void
hold(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void
meters(struct slice text, struct buf *again)
{
    struct meter_row row = { .subject_id = 1, .version = 1 };
    if (unpack_meters(text, &row)) {
        hold(row.meter_count >= 0 && row.meter_count <= METERS_MAX);
        (void)meter_row_valid(&row);
        pack_meters(&row, again);
        hold(slice_eq(buf_slice(again), text));
    }
}

static void
reported(struct slice text, struct buf *again)
{
    struct reported_row row = { .account_id = 1 };
    if (unpack_reported(text, &row)) {
        hold(row.window_count >= 0 && row.window_count <= REPORTED_MAX);
        (void)reported_valid(&row);
        pack_reported(&row, again);
        hold(slice_eq(buf_slice(again), text));
    }
}

static void
parts(struct slice text, struct buf *again)
{
    struct hold_row row = { .hold_id = 1 };
    if (unpack_parts(text, &row)) {
        hold(row.part_count >= 0 && row.part_count <= HOLD_PARTS_MAX);
        (void)hold_valid(&row);
        pack_parts(&row, again);
        hold(slice_eq(buf_slice(again), text));
    }
}

static void
attempts(struct slice text, struct buf *again)
{
    struct hold_row row = { .hold_id = 1 };
    if (unpack_attempts(text, &row)) {
        hold(row.attempt_count >= 0 && row.attempt_count <= ATTEMPTS_MAX);
        (void)hold_valid(&row);
        pack_attempts(&row, again);
        hold(slice_eq(buf_slice(again), text));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const columns[])(
        struct slice, struct buf *) = { meters, parts, attempts, reported };
    if (size == 0) {
        return 0;
    }
    struct buf again = { 0 };
    columns[data[0] % countof(columns)](slice_of((const char *)data + 1, size - 1), &again);
    buf_free(&again);
    return 0;
}
