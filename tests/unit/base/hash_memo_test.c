/* tests/unit/base/hash_memo_test.c
 *
 * Goal: a memo says what hashing says, whether it knows the text or not,.
 * Method: more texts than it has places, each asked for twice and again later. */
#include "unit.h"

#include <stdio.h>

#include "base/hash_memo.h"

#define TEXTS 3000

static struct slice
text_of(int i, char text[64])
{
    return slice_of(text, (size_t)snprintf(text, 64, "tg-a-key-of-some-length-%d", i));
}

static void
hashes_are_those_of_the_text(void **state)
{
    static const unsigned char key[32] = { 7 };
    const unsigned char *const hash_keys[] = { NULL, key };
    for (size_t k = 0; k < countof(hash_keys); k++) {
        struct hash_memo memo;
        hash_memo_init(&memo, hash_keys[k]);
        for (int round = 0; round < 4; round++) {
            for (int i = 0; i < TEXTS; i++) {
                char text[64], told[SECRET_HASH_HEX + 1], made[SECRET_HASH_HEX + 1];
                const struct slice asked =
                    i == 0 ? slice_of(NULL, 0) : text_of(i >> (round & 1), text);
                if (hash_keys[k]) {
                    secret_keyed_hash_hex(key, asked, made);
                } else {
                    secret_hash_hex(asked, made);
                }
                hash_memo_hex(&memo, asked, told);
                assert_string_equal(told, made);
                hash_memo_hex(&memo, asked, told);
                assert_string_equal(told, made);
            }
        }
        hash_memo_free(&memo);
        hash_memo_free(&memo);
    }
}

static void
two_memos_know_nothing_of_each_other(void **state)
{
    static const unsigned char key[32] = { 9 };
    struct hash_memo plain, keyed;
    char one[SECRET_HASH_HEX + 1], other[SECRET_HASH_HEX + 1];
    hash_memo_init(&plain, NULL);
    hash_memo_init(&keyed, key);
    assert_memory_not_equal(plain.tag_key, keyed.tag_key, sizeof(plain.tag_key));
    hash_memo_hex(&plain, SLICE("thread"), one);
    hash_memo_hex(&keyed, SLICE("thread"), other);
    assert_string_not_equal(one, other);
    hash_memo_free(&plain);
    hash_memo_free(&keyed);
}

static int
start(void **state)
{
    (void)state;
    return secret_start() == STATUS_OK ? 0 : -1;
}

static const struct CMUnitTest tests[] = {
    CASE_WITH(
        "hashes are those of the text, known or not", hashes_are_those_of_the_text, start, NULL),
    CASE("two memos know nothing of each other", two_memos_know_nothing_of_each_other),
};
UNIT_MAIN(tests)
