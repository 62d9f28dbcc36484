/* mock/plain.c: bodies without a text: embeddings and counted tokens. */
#include "mock/dialect_priv.h"

#define DIMENSIONS_UNLESS_SET 8

/* The number at one place of one embedding: any, but always the same. */
static float
embedding_value(int64_t input, int64_t dimension)
{
    const uint32_t mixed =
        ((uint32_t)input * 2654435761U + (uint32_t)dimension * 40503U + 12345U) >> 8;
    return (float)(mixed % 20001U) / 10000.0F - 1.0F;
}

static void
add_base64(struct buf *out, const unsigned char *bytes, size_t byte_count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < byte_count; i += 3) {
        const size_t left = byte_count - i;
        const uint32_t triple = (uint32_t)bytes[i] << 16
                                | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0U)
                                | (left > 2 ? bytes[i + 2] : 0U);
        buf_add_char(out, digits[triple >> 18]);
        buf_add_char(out, digits[triple >> 12 & 63U]);
        buf_add_char(out, left > 1 ? digits[triple >> 6 & 63U] : '=');
        buf_add_char(out, left > 2 ? digits[triple & 63U] : '=');
    }
}

/* Little-endian floats in base64, or an array of numbers. */
static void
add_embedding(const struct mock_ask *ask, int64_t input, struct buf *out)
{
    const int64_t count = ask->dimension_count ? ask->dimension_count : DIMENSIONS_UNLESS_SET;
    struct buf bytes = { 0 };
    buf_add_char(out, ask->base64 ? '"' : '[');
    for (int64_t i = 0; i < count; i++) {
        const float value = embedding_value(input, i);
        if (ask->base64) {
            buf_add(&bytes, &value, sizeof value);
        } else {
            buf_addf(out, "%s%.4f", i ? "," : "", (double)value);
        }
    }
    add_base64(out, (const unsigned char *)bytes.ptr, bytes.len);
    buf_add_char(out, ask->base64 ? '"' : ']');
    buf_free(&bytes);
}

void
mock_embeddings(
    const struct mock_ask *ask, struct mock_bill bill, enum mock_usage telling, struct buf *out)
{
    buf_add_str(out, "{\"object\":\"list\",\"data\":[");
    for (int64_t i = 0; i < ask->input_count; i++) {
        buf_addf(out, "%s{\"object\":\"embedding\",\"index\":%lld,\"embedding\":", i ? "," : "",
            (long long)i);
        add_embedding(ask, i, out);
        buf_add_char(out, '}');
    }
    const long long input = bill.input + bill.cache_read;
    buf_add_str(out, "],\"model\":");
    buf_add_json(out, ask->model);
    if (telling == MOCK_USAGE_MALFORMED) {
        buf_add_str(out, ",\"usage\":{\"prompt_tokens\":\"12\",\"total_tokens\":1e400}");
    } else if (telling == MOCK_USAGE_NOTHING) {
        buf_add_str(out, ",\"usage\":null");
    } else if (telling != MOCK_USAGE_NONE) {
        buf_addf(out, ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld}", input, input);
    }
    buf_add_char(out, '}');
}

void
mock_count_tokens(struct mock_bill bill, struct buf *out)
{
    buf_addf(out, "{\"input_tokens\":%lld}",
        (long long)(bill.input + bill.cache_read + bill.cache_write_5m + bill.cache_write_1h));
}
