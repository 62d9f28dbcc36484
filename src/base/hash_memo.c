/* base/hash_memo.c: a table with one place for each text. */
#include "base/hash_memo.h"

#include <sodium.h>
#include <stdlib.h>

#define SLOTS 1024 /* a power of two: some 80 KB, paged in as they are used */

#define TAG_BYTES crypto_shorthash_siphashx24_BYTES

struct hash_memo_slot {
    char tag[TAG_BYTES];
    char hex[SECRET_HASH_HEX]; /* starts with a NUL: the place is free */
};

_Static_assert(sizeof(((struct hash_memo *)0)->tag_key) == crypto_shorthash_siphashx24_KEYBYTES,
    "a SipHash's");

void
hash_memo_init(struct hash_memo *memo, const unsigned char *hash_key)
{
    *memo = (struct hash_memo){ .hash_key = hash_key };
    secret_random(memo->tag_key, sizeof(memo->tag_key));
}

static void
make(const struct hash_memo *memo, struct slice text, char out[SECRET_HASH_HEX + 1])
{
    if (memo->hash_key) {
        secret_keyed_hash_hex(memo->hash_key, text, out);
    } else {
        secret_hash_hex(text, out);
    }
}

/* In the same time whatever they are. */
static bool
same_tag(const char *a, const char *b)
{
    uint64_t differing = 0;
    for (size_t i = 0; i < TAG_BYTES; i += sizeof(uint64_t)) {
        uint64_t one = 0, other = 0;
        memcpy(&one, a + i, sizeof(one));
        memcpy(&other, b + i, sizeof(other));
        differing |= one ^ other;
    }
    return differing == 0;
}

void
hash_memo_hex(struct hash_memo *memo, struct slice text, char out[SECRET_HASH_HEX + 1])
{
    if (!memo->slots) {
        memo->slots = calloc(SLOTS, sizeof(*memo->slots));
    }
    if (!memo->slots) {
        make(memo, text, out); /* no memory, so nothing is remembered */
        return;
    }
    char tag[TAG_BYTES];
    uint64_t place = 0;
    const unsigned char *bytes = (const unsigned char *)(text.len > 0 ? text.ptr : "");
    (void)crypto_shorthash_siphashx24(
        (unsigned char *)tag, bytes, text.len, memo->tag_key); /* always 0 */
    memcpy(&place, tag, sizeof(place));
    struct hash_memo_slot *slot = &memo->slots[place % SLOTS];
    if (slot->hex[0] == '\0' || !same_tag(slot->tag, tag)) {
        make(memo, text, out);
        memcpy(slot->tag, tag, sizeof(tag));
        memcpy(slot->hex, out, sizeof(slot->hex));
        return;
    }
    memcpy(out, slot->hex, sizeof(slot->hex));
    out[SECRET_HASH_HEX] = '\0';
}

void
hash_memo_free(struct hash_memo *memo)
{
    if (memo->slots) {
        secret_wipe(memo->slots, SLOTS * sizeof(*memo->slots));
        free(memo->slots);
    }
    secret_wipe(memo->tag_key, sizeof(memo->tag_key));
    memo->slots = NULL;
}
