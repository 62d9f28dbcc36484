/* relay/labels.c: what a call carries for limits to go by: tags and an organisation, and whether its cost can be
 * bounded at all. */
#include "relay/relay_priv.h"

#include "base/secret.h"
#include "wire/json.h"

/* Longer values than an event has room for are told apart by their hash. */
static void
label_set(char out[64], struct slice value)
{
    char hash[HASH_HEX + 1];
    if (slice_to_cstr(value, out, 64)) {
        return;
    }
    secret_hash_hex(value, hash);
    memcpy(out, hash, 63);
    out[0] = '#';
    out[63] = '\0';
}

/* Of one line without control bytes, as a name is; anything else says nothing. */
static bool
label_valid(struct slice value)
{
    return value.len > 0 && (value.len > NAME_MAX_BYTES || name_valid(value));
}

static struct slice
tag_in_body(const struct call *call, const struct tag *tag, char *room, size_t room_bytes)
{
    struct json_value value;
    size_t len = 0;
    if (!json_get(buf_slice(&call->body), tag->field, &value) || value.type != JSON_STRING
        || !json_unescape(json_inside(value), room, room_bytes, &len)) {
        return (struct slice){ 0 };
    }
    return slice_of(room, len);
}

void
call_fill_labels(const struct call *call, struct call_event *event)
{
    const struct policy *policy = call->policy;
    const struct http_head *head = net_exchange_head(call->exchange);
    for (int32_t i = 0; i < policy->tag_count; i++) {
        char room[1024];
        const struct tag *tag = &policy->tags[i];
        const struct http_header *header =
            tag->header ? http_find(head, slice_str(tag->header)) : NULL;
        const struct slice value = tag->field ? tag_in_body(call, tag, room, sizeof room)
                                   : header   ? header->value
                                              : (struct slice){ 0 };
        if (label_valid(value)) {
            label_set(event->tags[i], value);
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
