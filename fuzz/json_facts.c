/* reaches: facts_read json_pass_inside splices_make splices_next json_check json_get json_same json_unescape */
/* fuzz/json_facts.c: bodies of model calls. The first byte picks the endpoint.
 *
 * Held: what facts_read accepts is JSON; what is spliced is JSON that reads back with the wishes
 * fulfilled and all else as it was; the length told is the length sent; strings are passed alike, however
 * many bytes at once. */
#include <stdlib.h>

#include "base/buf.h"
#include "wire/json.h"
#include "wire/json_priv.h"
#include "wire/splice.h"

static void
hold(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void
splice_and_read_back(const struct facts *facts, struct slice body, struct arena *arena)
{
    const struct splice_wishes wishes = { .model = SLICE("up/stream"),
        .output_limit = 7,
        .absent_field = OUTPUT_MAX_TOKENS,
        .usage = true };
    struct splices splices;
    hold(splices_make(facts, &wishes, body, arena, &splices));
    struct buf sent = { 0 };
    struct splice_walk walk = { 0 };
    struct slice segment;
    while (splices_next(&splices, body, &walk, &segment)) {
        buf_add_slice(&sent, segment);
    }
    hold(splices_length(&splices, body) == sent.len);

    struct facts after;
    struct facts_fault fault;
    const enum reason reason = facts_read(facts->api, buf_slice(&sent), arena, &after, &fault);
    if (reason != REASON_OK) {
        hold(reason == REASON_BODY_FIELD); /* one key too many, where the limit was added */
        buf_free(&sent);
        return;
    }
    hold(slice_eq(after.model, wishes.model));
    hold(after.stream == facts->stream && after.answers == facts->answers);
    hold(after.id_count == facts->id_count && after.stored == facts->stored);
    hold(after.message_count == facts->message_count && after.tool_count == facts->tool_count);
    if (facts->api == API_CHAT) {
        hold(after.output_limit >= 0 && after.output_limit <= 7);
        hold(!after.stream || after.usage_asked);
    }
    buf_free(&sent);
}

static void
widths_agree(struct slice body)
{
    const char *begun = body.ptr, *end = body.ptr + body.len;
    const char *at = begun;
    size_t saved = 0;
    const char *fault = json_pass_inside(JSON_WIDTH_BYTE, &at, end, &saved);
    for (enum json_width width = JSON_WIDTH_BYTE + 1; width < JSON_WIDTH_COUNT; width++) {
        const char *other_at = begun;
        size_t other_saved = 0;
        if (json_width_works(width)) {
            const char *other = json_pass_inside(width, &other_at, end, &other_saved);
            hold((fault == NULL) == (other == NULL) && at == other_at && saved == other_saved);
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const enum api api = (enum api)(data[0] % API_COUNT);
    const struct slice body = slice_of((const char *)data + 1, size - 1);
    struct arena arena = { .limit_bytes = (size_t)8 << 20 };
    struct facts facts;
    struct facts_fault fault;
    struct json_value value;
    widths_agree(body);
    const bool json = json_check(body, &value);
    const enum reason reason = facts_read(api, body, &arena, &facts, &fault);
    hold(memchr(fault.detail, '\0', sizeof(fault.detail)) != NULL);
    if (reason == REASON_OK) {
        hold(json && value.type == JSON_OBJECT);
        hold(facts.input_bytes >= 0 && facts.input_bytes <= (int64_t)body.len);
        splice_and_read_back(&facts, body, &arena);
    } else if (reason == REASON_BODY_NOT_JSON) {
        hold(!json || value.type != JSON_OBJECT);
    }
    arena_free(&arena);
    return 0;
}
