/* wire/http_write.c: heads and chunk heads as bytes. What would let a value break out of its line
 * is refused here, whoever made it: a value may come from a client, an upstream or a
 * configuration. */
#include "wire/http_priv.h"

static bool
is_token(struct slice text)
{
    return http_all(text, BYTE_TOKEN);
}

static bool
has_control(struct slice text)
{
    return http_find_control(text.ptr, 0, text.len) < text.len;
}

bool
http_write_request_line(struct buf *out, struct slice method, struct slice target)
{
    if (!is_token(method) || !http_all(target, BYTE_TARGET)) {
        return false;
    }
    buf_add_slice(out, method);
    buf_add_char(out, ' ');
    buf_add_slice(out, target);
    buf_add_slice(out, SLICE(" HTTP/1.1\r\n"));
    return true;
}

bool
http_write_status_line(struct buf *out, int status, struct slice reason)
{
    if (status < 100 || status > 599 || has_control(reason)) {
        return false;
    }
    buf_add_slice(out, SLICE("HTTP/1.1 "));
    buf_add_i64(out, status);
    buf_add_char(out, ' '); /* also before an empty reason (RFC 9112, 4) */
    buf_add_slice(out, reason.len > 0 ? reason : slice_str(http_reason(status)));
    buf_add_slice(out, SLICE("\r\n"));
    return true;
}

bool
http_write_header(struct buf *out, struct slice name, struct slice value)
{
    if (!is_token(name) || has_control(value)) {
        return false;
    }
    buf_add_slice(out, name);
    buf_add_slice(out, SLICE(": "));
    buf_add_slice(out, value);
    buf_add_slice(out, SLICE("\r\n"));
    return true;
}

bool
http_write_header_i64(struct buf *out, struct slice name, int64_t value)
{
    if (!is_token(name)) {
        return false;
    }
    buf_add_slice(out, name);
    buf_add_slice(out, SLICE(": "));
    buf_add_i64(out, value);
    buf_add_slice(out, SLICE("\r\n"));
    return true;
}

void
http_write_end(struct buf *out)
{
    buf_add_slice(out, SLICE("\r\n"));
}

size_t
http_write_chunk_head(uint64_t size, char out[HTTP_CHUNK_HEAD_BYTES_MAX])
{
    if (size == 0) {
        return 0;
    }
    size_t digit_count = 1;
    while (digit_count < 16 && size >> (4 * digit_count) != 0) {
        digit_count++;
    }
    for (size_t i = 0; i < digit_count; i++) {
        out[digit_count - 1 - i] = "0123456789abcdef"[(size >> (4 * i)) & 15];
    }
    out[digit_count] = '\r';
    out[digit_count + 1] = '\n';
    return digit_count + 2;
}
