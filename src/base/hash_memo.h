/* base/hash_memo.h: hashes that were made a short while ago, of one thread: a key is hashed with every call.
 *
 * A text is known again by a SipHash of 128 bits under a random key of the memo's own, so neither the text nor
 * anything it could be guessed from is kept, and nobody outside can make two texts meet. Each text has one
 * place; a later one takes it over. */
#pragma once

#include "base/secret.h"

struct hash_memo_slot;

struct hash_memo {
    const unsigned char *hash_key; /* 32 bytes, the caller's; NULL = hashes are not keyed */
    struct hash_memo_slot *slots;  /* once there is one */
    unsigned char tag_key[16];
};

void hash_memo_init(struct hash_memo *memo, const unsigned char *hash_key);
/* What secret_hash_hex or secret_keyed_hash_hex says of `text`. */
void hash_memo_hex(struct hash_memo *memo, struct slice text, char out[SECRET_HASH_HEX + 1]);
/* Wipes and frees what it knows. */
void hash_memo_free(struct hash_memo *memo);
