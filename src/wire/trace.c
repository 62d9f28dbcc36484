/* wire/trace.c: a traceparent is read strictly, since it goes on as it came. */
#include "wire/trace.h"

#define PARENT_BYTES 55 /* 00-(32)-(16)-(2) */
#define ID_OFFSET    3
#define SPAN_OFFSET  36
#define SPAN_HEX     16
#define FLAGS_OFFSET 53

static bool
is_lower_hex(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        const char c = text.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return true;
}

static bool
is_zero(struct slice hex)
{
    for (size_t i = 0; i < hex.len; i++) {
        if (hex.ptr[i] != '0') {
            return false;
        }
    }
    return true;
}

static struct slice
part(struct slice value, size_t offset, size_t len)
{
    return slice_of(value.ptr + offset, len);
}

bool
trace_parent_valid(struct slice value)
{
    if (value.len < PARENT_BYTES || value.ptr[2] != '-' || value.ptr[SPAN_OFFSET - 1] != '-'
        || value.ptr[FLAGS_OFFSET - 1] != '-') {
        return false;
    }
    const struct slice version = part(value, 0, 2);
    const struct slice id = part(value, ID_OFFSET, TRACE_ID_HEX);
    const struct slice span = part(value, SPAN_OFFSET, SPAN_HEX);
    if (!is_lower_hex(version) || slice_eq(version, SLICE("ff")) || !is_lower_hex(id) || is_zero(id)
        || !is_lower_hex(span) || is_zero(span) || !is_lower_hex(part(value, FLAGS_OFFSET, 2))) {
        return false;
    }
    return value.len == PARENT_BYTES
           || (!is_zero(version) && value.ptr[PARENT_BYTES] == '-'
               && value.len <= TRACE_STATE_BYTES_MAX);
}

/* Two lines of it are none: nobody can say which is meant. */
static struct slice
parent_of(const struct http_head *head)
{
    const struct slice name = SLICE("traceparent");
    const struct http_header *header = http_find(head, name);
    const bool good =
        header && !http_find_next(head, name, header) && trace_parent_valid(header->value);
    return good ? header->value : slice_of(NULL, 0);
}

void
trace_id_find(const struct http_head *head, char out[TRACE_ID_HEX + 1])
{
    const struct slice parent = parent_of(head);
    out[0] = '\0';
    if (parent.len > 0) {
        memcpy(out, parent.ptr + ID_OFFSET, TRACE_ID_HEX);
        out[TRACE_ID_HEX] = '\0';
    }
}

static bool
state_valid(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        const char c = value.ptr[i];
        if (c != '\t' && (c < ' ' || c > '~')) {
            return false;
        }
    }
    return true;
}

void
trace_write(const struct http_head *head, struct buf *out)
{
    const struct slice name = SLICE("tracestate");
    const struct slice parent = parent_of(head);
    size_t state_bytes = 0;
    bool state_good = true;
    if (parent.len == 0) {
        return;
    }
    bool good = http_write_header(out, SLICE("traceparent"), parent);
    const struct http_header *header = http_find(head, name);
    for (; header; header = http_find_next(head, name, header)) {
        state_bytes += header->value.len;
        state_good = state_good && state_valid(header->value);
    }
    if (!state_good || state_bytes > TRACE_STATE_BYTES_MAX) {
        return;
    }
    for (header = http_find(head, name); header; header = http_find_next(head, name, header)) {
        good = good && (header->value.len == 0 || http_write_header(out, name, header->value));
    }
    out->failed = out->failed || !good;
}
