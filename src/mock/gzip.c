/* mock/gzip.c: RFC 1952 around stored blocks of RFC 1951. */
#include "mock/gzip_priv.h"

#define STORED_BYTES_MAX ((size_t)65535)

static uint32_t
crc32_of(struct slice text)
{
    uint32_t crc = 0xffffffffU;
    for (size_t i = 0; i < text.len; i++) {
        crc ^= (unsigned char)text.ptr[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1U) ? 0xedb88320U : 0U);
        }
    }
    return ~crc;
}

static void
add_little(struct buf *out, uint32_t value, int byte_count)
{
    for (int i = 0; i < byte_count; i++) {
        buf_add_char(out, (char)(value >> (8 * i) & 0xffU));
    }
}

void
mock_gzip(struct slice text, struct buf *out)
{
    static const char head[] = { 0x1f, (char)0x8b, 8, 0, 0, 0, 0, 0, 0, (char)0xff };
    size_t at = 0;
    buf_add(out, head, sizeof head);
    do {
        const size_t left = text.len - at;
        const size_t size = left < STORED_BYTES_MAX ? left : STORED_BYTES_MAX;
        buf_add_char(out, size == left ? 1 : 0); /* the last block says so */
        add_little(out, (uint32_t)size, 2);
        add_little(out, ~(uint32_t)size, 2);
        buf_add(out, text.ptr + at, size);
        at += size;
    } while (at < text.len);
    add_little(out, crc32_of(text), 4);
    add_little(out, (uint32_t)text.len, 4);
}
