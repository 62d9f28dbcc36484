/* wire/http_bytes.c: which byte may stand where, and the tables of tbl/ as data. */
#include "tbl/http_statuses.h"
#include "wire/http_priv.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The grammar, evaluated by the compiler for each of the 256 bytes. */
#define IS_DIGIT(c)  ((c) >= '0' && (c) <= '9')
#define IS_LETTER(c) (((c) >= 'A' && (c) <= 'Z') || ((c) >= 'a' && (c) <= 'z'))
#define IS_HEX(c)    (IS_DIGIT(c) || ((c) >= 'A' && (c) <= 'F') || ((c) >= 'a' && (c) <= 'f'))
#define IS_TOKEN(c)                                                                                \
    (IS_DIGIT(c) || IS_LETTER(c) || (c) == '!' || (c) == '#' || (c) == '$' || (c) == '%'           \
        || (c) == '&' || (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.'       \
        || (c) == '^' || (c) == '_' || (c) == '`' || (c) == '|' || (c) == '~')
#define IS_HOST(c)                                                                                 \
    (IS_DIGIT(c) || IS_LETTER(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~'           \
        || (c) == '%')

#define CLASS(c)                                                                                   \
    (uint8_t)((IS_TOKEN(c) ? BYTE_TOKEN : 0)                                                       \
              | ((c) > 0x20 && (c) < 0x7f && (c) != '#' ? BYTE_TARGET : 0)                         \
              | (IS_HOST(c) ? BYTE_HOST : 0)                                                       \
              | (IS_HEX(c) || (c) == ':' || (c) == '.' ? BYTE_ADDRESS : 0)                         \
              | (IS_DIGIT(c) ? BYTE_DIGIT : 0) | (IS_HEX(c) ? BYTE_HEX : 0)                        \
              | (((c) < 0x20 && (c) != '\t') || (c) == 0x7f ? BYTE_CONTROL : 0)                    \
              | ((c) == ' ' || (c) == '\t' ? BYTE_BLANK : 0))
#define ROW4(c)  CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define ROW16(c) ROW4(c), ROW4((c) + 4), ROW4((c) + 8), ROW4((c) + 12)
#define ROW64(c) ROW16(c), ROW16((c) + 16), ROW16((c) + 32), ROW16((c) + 48)

const uint8_t http_byte_class[256] = { ROW64(0), ROW64(64), ROW64(128), ROW64(192) };

bool
http_all(struct slice text, int class_bits)
{
    uint8_t all = (uint8_t)class_bits; /* of one class, so that a bit says it */
    check(class_bits != 0 && (class_bits & (class_bits - 1)) == 0);
    for (size_t i = 0; i < text.len; i++) {
        all &= http_byte_class[(uint8_t)text.ptr[i]];
    }
    return text.len > 0 && all != 0;
}

/* Of eight bytes, the highest bit of the first that is below 0x20 or is 0x7f, and perhaps of some behind it;
 * 0 = none is. HTAB counts too: the caller looks closer. */
static uint64_t
low_or_del(const char *eight)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t highs = ones * 0x80;
    uint64_t word = 0;
    memcpy(&word, eight, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    const uint64_t low = (word - ones * 0x20) & ~word;
    const uint64_t del = word ^ (ones * 0x7f); /* a DEL becomes a zero byte */
    const uint64_t zero = (del - ones) & ~del;
    return (low | zero) & highs;
}

#ifdef __SSE2__
/* A bit for each control byte of sixteen. */
static unsigned
controls_of(const char *sixteen)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)sixteen);
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    const __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
    const __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del));
}
#endif

size_t
http_find_control(const char *bytes, size_t from, size_t end)
{
    size_t i = from < end ? from : end;
#ifdef __SSE2__
    for (; end - i >= 16; i += 16) {
        const unsigned found = controls_of(bytes + i);
        if (found != 0) {
            return i + (size_t)__builtin_ctz(found);
        }
    }
#endif
    while (end - i >= 8) {
        const uint64_t found = low_or_del(bytes + i);
        if (found == 0) {
            i += 8;
            continue;
        }
        i += (size_t)__builtin_ctzll(found) / 8;
        if (byte_is(bytes[i], BYTE_CONTROL)) {
            return i;
        }
        i++;
    }
    while (i < end && !byte_is(bytes[i], BYTE_CONTROL)) {
        i++;
    }
    return i;
}

static const struct http_fault faults[HTTP_FAULT_COUNT] = {
#define FAULT_ROW(code, status, name, sentence)                                                    \
    [HTTP_FAULT_##code] = { HTTP_FAULT_##code, status, name, sentence },
    HTTP_FAULTS(FAULT_ROW)
#undef FAULT_ROW
};

const struct http_fault *
http_fault(enum http_fault_code code)
{
    check((unsigned)code < HTTP_FAULT_COUNT);
    return &faults[code];
}

enum http_result
http_refuse(enum http_fault_code code, const struct http_fault **why)
{
    *why = http_fault(code);
    return HTTP_BAD;
}

const char *
http_reason(int status)
{
    switch (status) {
#define REASON_CASE(status_value, phrase)                                                          \
    case status_value: return phrase;
        HTTP_STATUSES(REASON_CASE)
#undef REASON_CASE
    default: return "";
    }
}

enum http_method
http_method_of(struct slice method)
{
#define METHOD_TEST(name)                                                                          \
    if (slice_eq(method, SLICE(#name))) {                                                          \
        return HTTP_METHOD_##name;                                                                 \
    }
    HTTP_METHODS(METHOD_TEST)
#undef METHOD_TEST
    return HTTP_METHOD_OTHER;
}
