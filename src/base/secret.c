/* base/secret.c: the few cryptographic calls of the program, all libsodium's. */
#include "base/secret.h"

#include <sodium.h>

#define HASH_BYTES      32
#define MINT_BYTES      32
#define MINT_TEXT_BYTES 44 /* 43 characters of base64 and the NUL */

_Static_assert(SECRET_HASH_HEX == 2 * HASH_BYTES, "two hex characters a byte");

enum status
secret_start(void)
{
    return sodium_init() < 0 ? STATUS_IO : STATUS_OK; /* 1 when it was called before */
}

/* As sodium_bin2hex, without a branch or a table too, but four bytes at once: a key is hashed with every call. */
static void
hex_of(char *out, const unsigned char digest[HASH_BYTES])
{
    const uint64_t ones = UINT64_C(0x0101010101010101); /* a byte for each of eight digits */
    for (int i = 0; i < HASH_BYTES; i += 4) {
        const uint64_t four = (uint64_t)digest[i] | (uint64_t)digest[i + 1] << 16
                              | (uint64_t)digest[i + 2] << 32 | (uint64_t)digest[i + 3] << 48;
        const uint64_t nibbles = ((four >> 4) | (four << 8)) & ones * 0x0f;
        const uint64_t letters = ((nibbles + ones * 6) >> 4) & ones; /* 1 for those above 9 */
        uint64_t digits = nibbles + ones * '0' + letters * ('a' - '0' - 10);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        digits = __builtin_bswap64(digits); /* the first is the lowest */
#endif
        memcpy(out + (ptrdiff_t)2 * i, &digits, sizeof(digits));
    }
    out[SECRET_HASH_HEX] = '\0';
}

static void
hash_hex(struct slice text, const unsigned char *key, size_t key_len, char out[SECRET_HASH_HEX + 1])
{
    unsigned char digest[HASH_BYTES];
    const unsigned char *bytes = (const unsigned char *)(text.len > 0 ? text.ptr : "");
    check(crypto_generichash(digest, sizeof(digest), bytes, text.len, key, key_len) == 0);
    hex_of(out, digest);
    sodium_memzero(digest, sizeof(digest));
}

void
secret_hash_hex(struct slice secret, char out[SECRET_HASH_HEX + 1])
{
    hash_hex(secret, NULL, 0, out);
}

void
secret_keyed_hash_hex(const unsigned char key[32], struct slice text, char out[SECRET_HASH_HEX + 1])
{
    hash_hex(text, key, 32, out);
}

void
secret_mint(const char *prefix, char *out, size_t out_size)
{
    const size_t prefix_len = strlen(prefix);
    check(out_size >= MINT_TEXT_BYTES && out_size - MINT_TEXT_BYTES >= prefix_len);

    unsigned char random[MINT_BYTES];
    randombytes_buf(random, sizeof(random));
    memcpy(out, prefix, prefix_len);
    (void)sodium_bin2base64(out + prefix_len, MINT_TEXT_BYTES, random, sizeof(random),
        sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(random, sizeof(random));
}

void
secret_base64(struct slice secret, char *out, size_t out_size)
{
    check(out_size >= SECRET_BASE64_BYTES(secret.len));
    (void)sodium_bin2base64(out, out_size, (const unsigned char *)secret.ptr, secret.len,
        sodium_base64_VARIANT_ORIGINAL);
}

void
secret_hmac_hex(
    struct slice key, const struct slice *parts, size_t part_count, char out[SECRET_HASH_HEX + 1])
{
    crypto_auth_hmacsha256_state state;
    unsigned char digest[crypto_auth_hmacsha256_BYTES];
    (void)crypto_auth_hmacsha256_init(&state, (const unsigned char *)key.ptr, key.len);
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len > 0) {
            (void)crypto_auth_hmacsha256_update(
                &state, (const unsigned char *)parts[i].ptr, parts[i].len);
        }
    }
    (void)crypto_auth_hmacsha256_final(&state, digest);
    hex_of(out, digest);
    sodium_memzero(&state, sizeof(state));
}

void
secret_random(void *out, size_t len)
{
    randombytes_buf(out, len);
}

void
secret_wipe(void *secret, size_t len)
{
    if (len > 0) {
        sodium_memzero(secret, len);
    }
}

bool
secret_eq(struct slice a, struct slice b)
{
    /* Lengths are no secret: hashes and minted keys all have the same. */
    return a.len == b.len && (a.len == 0 || sodium_memcmp(a.ptr, b.ptr, a.len) == 0);
}
