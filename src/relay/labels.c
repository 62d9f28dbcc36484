/* relay/labels.c: what a call carries for limits to go by: tags and an organisation, and whether its cost can be
 * bounded at all. */
#include "relay/relay_priv.h"

#include "base/secret.h"

#define TAG_ESCAPED_BYTES_MAX                                                                      \
    ((size_t)16 << 10) /* of a longer string the escapes are part of the value */

/* No value escapes a limit: one that is no name of up to 63 bytes (long, with control bytes or no UTF-8) is told
 * apart by its hash. */
static void
tag_set(struct slice value, char out[RELAY_TAG_BYTES])
{
    char hash[HASH_HEX + 1];
    if (value.len > 0 && (!name_valid(value) || !slice_to_cstr(value, out, RELAY_TAG_BYTES))) {
        secret_hash_hex(value, hash);
        memcpy(out, hash, RELAY_TAG_BYTES - 1);
        out[0] = '#';
        out[RELAY_TAG_BYTES - 1] = '\0';
    }
}

static struct slice
text_of(struct json_value string, struct arena *arena)
{
    const struct slice raw = json_inside(string);
    if (raw.len == 0 || raw.len > TAG_ESCAPED_BYTES_MAX || !memchr(raw.ptr, '\\', raw.len)) {
        return raw;
    }
    size_t len = 0;
    char *room = arena_alloc_raw(arena, raw.len);
    return room && json_unescape(raw, room, raw.len, &len) ? slice_of(room, len) : raw;
}

bool
relay_tag_of_json(struct json_value value, struct arena *arena, char out[RELAY_TAG_BYTES])
{
    switch (value.type) {
    case JSON_STRING: tag_set(text_of(value, arena), out); return true;
    case JSON_NUMBER:
    case JSON_TRUE:
    case JSON_FALSE: tag_set(value.text, out); return true;
    default: return false;
    }
}

void
call_fill_labels(struct call *call, struct call_event *event)
{
    const struct policy *policy = call->policy;
    const struct http_head *head = net_exchange_head(call->exchange);
    for (int32_t i = 0; i < policy->tag_count; i++) {
        const struct tag *tag = &policy->tags[i];
        const struct http_header *header =
            tag->header ? http_find(head, slice_str(tag->header)) : NULL;
        struct json_value value;
        if (header) {
            tag_set(header->value, event->tags[i]);
        } else if (tag->field && json_get(buf_slice(&call->body), tag->field, &value)) {
            (void)relay_tag_of_json(value, &call->arena, event->tags[i]); /* a list says none */
        }
    }
    const struct http_header *organisation =
        call->may_label ? http_find(head, SLICE("x-tidegate-organisation")) : NULL;
    if (organisation && organisation->value.len < sizeof event->organisation
        && name_valid(organisation->value)) {
        (void)slice_to_cstr(organisation->value, event->organisation, sizeof event->organisation);
    }
}

bool
call_cannot_be_bounded(const struct facts *facts)
{
    return facts_unbounded_by(facts).len > 0;
}
