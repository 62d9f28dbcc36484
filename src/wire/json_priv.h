/* wire/json_priv.h: how the cursor of json.h passes what lies between the quotes of a string.
 *
 * Most bytes of a model call are such text, so it is looked at as many bytes at once as the machine
 * can; all ways come to the same. */
#pragma once

#include "base/slice.h"

#if defined(__x86_64__) && defined(__SSE2__)
#include <emmintrin.h>
#define JSON_STEP_BYTES 16

/* A bit for each quote, backslash or control byte of the JSON_STEP_BYTES at `at`. */
static inline unsigned
json_specials(const char *at)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    const __m128i quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    const __m128i slashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    const __m128i controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, slashes), controls));
}
#endif

enum json_width {
    JSON_WIDTH_BYTE,   /* one after the other: any machine */
    JSON_WIDTH_SSE2,   /* blocks of 64 in four steps: every x86-64 */
    JSON_WIDTH_AVX2,   /* in two */
    JSON_WIDTH_AVX512, /* in one */
    JSON_WIDTH_COUNT,
};

/* Whether this machine can, and the program was built for it. */
bool json_width_works(enum json_width width);
/* The widest that works. */
enum json_width json_width_here(void);

/* `*at` is behind the opening quote; afterwards it is at the closing one and the answer NULL, or it is
 * where a fault was seen and the answer says which. `*saved` grows by what the escapes passed take beyond
 * the UTF-8 they stand for. `width` must work here. */
MUST_USE const char *json_pass_inside(
    enum json_width width, const char **at, const char *end, size_t *saved);
