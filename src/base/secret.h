/* base/secret.h: hashes, random bytes and secrets, through libsodium. Secrets are wiped after use
 * and compared in constant time. secret_start() must have been called once in the process. */
#pragma once

#include "base/slice.h"
#include "base/status.h"

#define SECRET_HASH_HEX 64 /* hex characters of a hash, without the NUL */

MUST_USE enum status secret_start(void);
/* Unkeyed 32-byte BLAKE2b as hex: what the store keeps of a key. */
void secret_hash_hex(struct slice secret, char out[SECRET_HASH_HEX + 1]);
/* Keyed: thread signals and provider ids, so that a stolen store reveals none by guessing. */
void secret_keyed_hash_hex(
    const unsigned char key[32], struct slice text, char out[SECRET_HASH_HEX + 1]);
/* `prefix` followed by 32 random bytes in URL-safe base64 without padding: 43 characters and the
 * NUL beyond the prefix must fit into out_size. */
void secret_mint(const char *prefix, char *out, size_t out_size);
/* HMAC-SHA256 of the parts, end to end, as hex. */
void secret_hmac_hex(struct slice key, const struct slice *parts, size_t part_count,
    char out[SECRET_HASH_HEX + 1]);
void secret_random(void *out, size_t len);
/* Base64 with padding and a NUL, for what must not stay behind elsewhere. */
#define SECRET_BASE64_BYTES(len) (((len) + 2) / 3 * 4 + 1)
void secret_base64(struct slice secret, char *out, size_t out_size);
void secret_wipe(void *secret, size_t len);
bool secret_eq(struct slice a, struct slice b);
