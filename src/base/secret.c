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

/* As sodium_bin2hex, without a branch or a table too, for all bytes at once where the compiler can: a key is
 * hashed with every call. */
static void
hex_of(char *out, const unsigned char digest[HASH_BYTES])
{
    for (int i = 0; i < SECRET_HASH_HEX; i++) {
        const int nibble = (digest[i / 2] >> (i % 2 ? 0 : 4)) & 15;
        out[i] = (char)('0' + nibble + (((9 - nibble) >> 8) & ('a' - '0' - 10)));
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
