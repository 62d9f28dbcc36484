/* wire/json_string.c: the insides of JSON strings, passed many bytes at once. */
#include "wire/json_priv.h"

#ifdef JSON_STEP_BYTES
#define HAS_BLOCKS true
#include <immintrin.h>
#else
#define HAS_BLOCKS false
#endif

#if HAS_BLOCKS
#define BLOCK_BYTES 64

#define FOR_AVX2    __attribute__((target("avx2,popcnt,bmi,bmi2")))
#define FOR_AVX512  __attribute__((target("avx512f,avx512bw,popcnt,bmi,bmi2")))
#define ALWAYS_PART __attribute__((always_inline)) static inline

/* Of 64 bytes, a bit each, the first lowest. */
struct block {
    uint64_t quotes, slashes;
    uint64_t common;  /* what mostly follows a backslash */
    bool has_control; /* which is rare enough to be looked for anew */
};

static struct block
load_sse2(const char *at)
{
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    const __m128i line = _mm_set1_epi8('n');
    const __m128i control_max = _mm_set1_epi8(0x1f);
    __m128i least = _mm_set1_epi8((char)0xff);
    struct block block = { 0 };
    for (int i = 0; i < BLOCK_BYTES; i += JSON_STEP_BYTES) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(at + i));
        const __m128i quotes = _mm_cmpeq_epi8(bytes, quote);
        const __m128i slashes = _mm_cmpeq_epi8(bytes, slash);
        const __m128i lines = _mm_cmpeq_epi8(bytes, line);
        least = _mm_min_epu8(least, bytes);
        block.quotes |= (uint64_t)(unsigned)_mm_movemask_epi8(quotes) << i;
        block.slashes |= (uint64_t)(unsigned)_mm_movemask_epi8(slashes) << i;
        block.common |= (uint64_t)(unsigned)_mm_movemask_epi8(lines) << i;
    }
    block.common |= block.quotes | block.slashes;
    block.has_control =
        _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(least, control_max), least)) != 0;
    return block;
}

FOR_AVX2 ALWAYS_PART uint64_t
bits_avx2(__m256i low, __m256i high, char wanted)
{
    const __m256i all = _mm256_set1_epi8(wanted);
    const uint64_t first = (unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, all));
    const uint64_t second = (unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, all));
    return first | second << 32;
}

FOR_AVX2 ALWAYS_PART struct block
load_avx2(const char *at)
{
    const __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)at);
    const __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(at + 32));
    const __m256i least = _mm256_min_epu8(low, high);
    const __m256i lesser = _mm256_min_epu8(least, _mm256_set1_epi8(0x1f));
    struct block block = {
        .quotes = bits_avx2(low, high, '"'),
        .slashes = bits_avx2(low, high, '\\'),
        .has_control = _mm256_movemask_epi8(_mm256_cmpeq_epi8(lesser, least)) != 0,
    };
    block.common = bits_avx2(low, high, 'n') | block.quotes | block.slashes;
    return block;
}

FOR_AVX512 ALWAYS_PART struct block
load_avx512(const char *at)
{
    const __m512i bytes = _mm512_loadu_si512(at);
    struct block block = {
        .quotes = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('"')),
        .slashes = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\\')),
        .has_control = _mm512_cmple_epu8_mask(bytes, _mm512_set1_epi8(0x1f)) != 0,
    };
    block.common =
        _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('n')) | block.quotes | block.slashes;
    return block;
}

/* Those of a block's backslashes that begin an escape: of neighbours every second does not. */
ALWAYS_PART uint64_t
block_escapes(uint64_t slashes)
{
    if ((slashes & slashes << 1) == 0) {
        return slashes;
    }
    uint64_t escapes = 0;
    while (slashes != 0) {
        const uint64_t lowest = slashes & (0 - slashes);
        escapes |= lowest;
        slashes &= ~(lowest | lowest << 1);
    }
    return escapes;
}

/* One instruction where the function around it may use that. */
ALWAYS_PART size_t
count_bits(uint64_t bits)
{
    bits -= bits >> 1 & UINT64_C(0x5555555555555555);
    bits = (bits & UINT64_C(0x3333333333333333)) + (bits >> 2 & UINT64_C(0x3333333333333333));
    bits = (bits + (bits >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (size_t)(bits * UINT64_C(0x0101010101010101) >> 56);
}

/* A walk over blocks. That each is as far from the one before lets a machine look at several at once. */
struct walk {
    const char *at;
    size_t saved;
    uint64_t
        open; /* 1: an escape's backslash was the last byte, and is counted; its letter comes next */
};

/* Passes a block; false: it has something to stop at, and the walk stands there, or before it. */
ALWAYS_PART bool
pass_block(struct walk *walk, struct block block)
{
    const uint64_t escapes = block_escapes(block.slashes & ~walk->open);
    const uint64_t letters = escapes << 1 | walk->open;
    const uint64_t rare = letters & ~block.common;
    const uint64_t stops = (block.quotes & ~letters) | rare;
    if (block.has_control) {
        return false;
    }
    if (stops == 0) {
        walk->saved += count_bits(escapes);
        walk->open = escapes >> (BLOCK_BYTES - 1);
        walk->at += BLOCK_BYTES;
        return true;
    }
    const int stop = __builtin_ctzll(stops);
    const uint64_t is_rare = rare >> stop & 1; /* then the escape before it is what to stop at */
    walk->saved += count_bits(escapes & ((UINT64_C(1) << stop) - 1)) - is_rare;
    walk->at += stop - (ptrdiff_t)is_rare;
    walk->open = 0;
    return false;
}

/* The same for each width: agents send code, with an escape or two in each line, and a branch for each
 * would be guessed wrong each time. */
static struct walk
pass_blocks_sse2(const char *at, const char *end)
{
    struct walk walk = { .at = at };
    while (end - walk.at >= BLOCK_BYTES && pass_block(&walk, load_sse2(walk.at))) {
    }
    return walk;
}

FOR_AVX2 static struct walk
pass_blocks_avx2(const char *at, const char *end)
{
    struct walk walk = { .at = at };
    while (end - walk.at >= BLOCK_BYTES && pass_block(&walk, load_avx2(walk.at))) {
    }
    return walk;
}

FOR_AVX512 static struct walk
pass_blocks_avx512(const char *at, const char *end)
{
    struct walk walk = { .at = at };
    while (end - walk.at >= BLOCK_BYTES && pass_block(&walk, load_avx512(walk.at))) {
    }
    return walk;
}

static const char *
pass_blocks(enum json_width width, const char *at, const char *end, size_t *saved)
{
    const struct walk walk = width == JSON_WIDTH_AVX512 ? pass_blocks_avx512(at, end)
                             : width == JSON_WIDTH_AVX2 ? pass_blocks_avx2(at, end)
                                                        : pass_blocks_sse2(at, end);
    *saved += walk.saved - walk.open; /* an escape that is open is passed by whoever comes next */
    return walk.at - walk.open;
}

static const char *
pass_wide(enum json_width width, const char *at, const char *end, size_t *saved)
{
    for (bool begun = false; end - at >= JSON_STEP_BYTES;) {
        const unsigned found = json_specials(at);
        if (found != 0) { /* keys and most values are short */
            return at + __builtin_ctz(found);
        }
        at += JSON_STEP_BYTES;
        at = begun ? at : pass_blocks(width, at, end, saved);
        begun = true;
    }
    return at;
}
#endif

bool
json_width_works(enum json_width width)
{
    switch (width) {
    case JSON_WIDTH_BYTE: return true;
#if HAS_BLOCKS
    case JSON_WIDTH_SSE2: return true;
    case JSON_WIDTH_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt")
               && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    case JSON_WIDTH_AVX512:
        /* The first machines with AVX-512 run slower for a while after each use; those that came
         * later have VBMI2, too. */
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
               && __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("popcnt")
               && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
#endif
    default: return false;
    }
}

enum json_width
json_width_here(void)
{
    enum json_width width = JSON_WIDTH_COUNT - 1;
    while (!json_width_works(width)) { /* reads what is known of the machine since its start */
        width--;
    }
    return width;
}

/* The first byte at or after `at` that ends a plain run: a quote, a backslash or a control byte. Common
 * escapes may be passed with it. */
static const char *
pass_plain(enum json_width width, const char *at, const char *end, size_t *saved)
{
#if HAS_BLOCKS
    if (width != JSON_WIDTH_BYTE) {
        at = pass_wide(width, at, end, saved);
    }
#else
    (void)width;
    (void)saved;
#endif
    while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20) {
        at++;
    }
    return at;
}

/* The code unit of four hex digits, or -1. */
static int
code_unit(const char *digits, const char *end)
{
    if (end - digits < 4) {
        return -1;
    }
    int unit = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = hex_digit(digits[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit << 4 | digit;
    }
    return unit;
}

/* UTF-8 bytes of one \uXXXX taken alone: at least what it adds as half of a pair. */
static size_t
unit_utf8_bytes(int unit)
{
    if (unit < 0x80) {
        return 1;
    }
    return unit < 0x800 ? 2 : 3;
}

/* The length of the escape whose backslash is at `at`, or 0; *saved is what it takes beyond its
 * UTF-8. */
static size_t
escape_len(const char *at, const char *end, size_t *saved)
{
    if (end - at < 2) {
        return 0;
    }
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't': *saved = 1; return 2;
    case 'u': {
        const int unit = code_unit(at + 2, end);
        if (unit < 0) {
            return 0;
        }
        *saved = 6 - unit_utf8_bytes(unit);
        return 6;
    }
    default: return 0;
    }
}

const char *
json_pass_inside(enum json_width width, const char **at, const char *end, size_t *saved)
{
    for (;;) {
        *at = pass_plain(width, *at, end, saved);
        if (*at == end) {
            return "a string does not end";
        }
        if (**at == '"') {
            return NULL;
        }
        if (**at != '\\') {
            return "a string has a bare control character";
        }
        size_t more = 0;
        const size_t len = escape_len(*at, end, &more);
        if (len == 0) {
            return "an escape in a string is not one of JSON's";
        }
        *saved += more;
        *at += len;
    }
}
