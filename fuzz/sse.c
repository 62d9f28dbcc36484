/* reaches: sse_feed sse_end tap_event alike_match usage_read_openai usage_read_anthropic tap_body item_walk_next */
/* fuzz/sse.c: streams of providers. The first byte picks the endpoint and the size of the pieces.
 *
 * Held: events, usage, ids of items and end are the same whole and in pieces, read each for itself and beside the
 * one before; no usage is out of range. */
#include <stdlib.h>

#include "wire/items.h"
#include "wire/usage.h"

static void
hold(bool condition)
{
    if (!condition) {
        abort();
    }
}

struct outcome {
    struct tap tap;
    struct buf events;
};

static void
note_items(struct outcome *outcome, struct slice items)
{
    struct item_walk walk;
    struct item_id item;
    item_walk_start(&walk, items);
    while (item_walk_next(&walk, &item)) {
        hold(item.id.len > 0 && item.id.len <= ITEM_ID_BYTES_MAX);
        buf_addf(&outcome->events, "%d ", item.names);
        buf_add_slice(&outcome->events, item.id);
        buf_add_char(&outcome->events, ' ');
    }
}

static void
note(struct outcome *outcome, const struct sse_event *event)
{
    const struct tapped tapped = tap_event(&outcome->tap, event);
    buf_addf(&outcome->events, "%d %d %lld %d ", event->has_data, (int)tapped.kind,
        (long long)tapped.text_bytes, outcome->tap.in_tool_arguments);
    note_items(outcome, tapped.items);
    buf_add_slice(&outcome->events, event->name);
    buf_add_char(&outcome->events, ' ');
    if (!event->data_cut) {
        buf_add_slice(&outcome->events, event->data);
    }
    buf_add_char(&outcome->events, '\n');
}

static void
play(struct outcome *outcome, enum api api, struct slice stream, size_t piece, size_t data_max,
    struct alike *alike)
{
    struct buf buf = { 0 };
    struct sse sse;
    struct sse_event event;
    tap_start(&outcome->tap, api);
    outcome->tap.alike = alike;
    sse_start(&sse, &buf, data_max);
    size_t at = 0;
    while (at < stream.len) {
        const size_t len = stream.len - at < piece ? stream.len - at : piece;
        size_t consumed = 0;
        const struct slice in = slice_of(stream.ptr + at, len);
        const enum sse_result result = sse_feed(&sse, in, &consumed, &event);
        hold(consumed > 0 && consumed <= len);
        hold(result == SSE_EVENT || consumed == len);
        hold(buf.len <= data_max);
        if (result == SSE_EVENT) {
            note(outcome, &event);
        }
        at += consumed;
    }
    if (sse_end(&sse, &event)) {
        note(outcome, &event);
    }
    hold(usage_valid(&outcome->tap.usage));
    buf_free(&buf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const enum api api = (enum api)(data[0] % API_COUNT);
    const struct slice stream = slice_of((const char *)data + 1, size - 1);
    struct outcome whole = { 0 }, pieces = { 0 }, small = { 0 };
    struct alike alike = { 0 };
    play(&whole, api, stream, SIZE_MAX, SSE_DATA_BYTES_MAX, NULL);
    play(&pieces, api, stream, (size_t)data[0] / API_COUNT + 1, SSE_DATA_BYTES_MAX, &alike);
    alike_free(&alike);
    hold(slice_eq(buf_slice(&whole.events), buf_slice(&pieces.events)));
    hold(memcmp(&whole.tap.usage, &pieces.tap.usage, sizeof(struct usage)) == 0);
    hold(strcmp(whole.tap.service_tier, pieces.tap.service_tier) == 0);
    hold(strcmp(whole.tap.id, pieces.tap.id) == 0 && whole.tap.created_s == pieces.tap.created_s);
    hold(whole.tap.end == pieces.tap.end && whole.tap.text_bytes == pieces.tap.text_bytes);
    play(&small, api, stream, (size_t)data[0] / API_COUNT + 1, 64, NULL); /* most data is cut */
    buf_free(&whole.events);
    buf_free(&pieces.events);
    buf_free(&small.events);

    struct tap tap;
    tap_start(&tap, api);
    (void)!tap_body(&tap, stream);
    hold(usage_valid(&tap.usage));
    return 0;
}
