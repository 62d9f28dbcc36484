/* tests/unit/base/secret_test.c
 *
 * Goal: hashes are those of BLAKE2b, minted keys are new each time and safe in a URL, and comparing
 * and wiping do what they say.
 * Method: published digests; properties of minted keys. */
#include "unit.h"

#include "base/secret.h"

static void
hashes_are_blake2b(void **state)
{
    static const struct {
        const char *text, *hex;
    } rows[] = {
        { "", "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8" },
        { "abc", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319" },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char hex[SECRET_HASH_HEX + 1];
        secret_hash_hex(slice_str(rows[i].text), hex);
        assert_string_equal(hex, rows[i].hex);
    }
    char null_hex[SECRET_HASH_HEX + 1];
    secret_hash_hex(slice_of(NULL, 0), null_hex);
    assert_string_equal(null_hex, rows[0].hex);
}

static void
a_keyed_hash_depends_on_its_key(void **state)
{
    const unsigned char one[32] = { 1 };
    const unsigned char two[32] = { 2 };
    char plain[SECRET_HASH_HEX + 1];
    char with_one[SECRET_HASH_HEX + 1];
    char again[SECRET_HASH_HEX + 1];
    char with_two[SECRET_HASH_HEX + 1];
    secret_hash_hex(SLICE("thread"), plain);
    secret_keyed_hash_hex(one, SLICE("thread"), with_one);
    secret_keyed_hash_hex(one, SLICE("thread"), again);
    secret_keyed_hash_hex(two, SLICE("thread"), with_two);
    assert_string_equal(with_one, again);
    assert_string_not_equal(with_one, with_two);
    assert_string_not_equal(with_one, plain);
    assert_int_equal(strlen(with_one), SECRET_HASH_HEX);
}

static void
minted_keys_are_new_and_safe_in_a_url(void **state)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char first[3 + 44];
    char second[3 + 44];
    secret_mint("tg-", first, sizeof(first));
    secret_mint("tg-", second, sizeof(second));
    assert_int_equal(strlen(first), 3 + 43);
    assert_true(slice_starts(slice_str(first), SLICE("tg-")));
    assert_int_equal(strspn(first, alphabet), strlen(first));
    assert_string_not_equal(first, second);
}

static void
equality(void **state)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } rows[] = {
        { "", "", true },
        { "secret", "secret", true },
        { "secret", "secreT", false },
        { "secret", "secre", false },
        { "", "s", false },
    };
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(secret_eq(slice_str(rows[i].a), slice_str(rows[i].b)), rows[i].equal);
    }
    assert_true(secret_eq(slice_of(NULL, 0), SLICE("")));
}

static void
wiped_memory_is_zero(void **state)
{
    unsigned char bytes[64];
    unsigned char zeros[64] = { 0 };
    secret_random(bytes, sizeof(bytes));
    assert_memory_not_equal(bytes, zeros, sizeof(bytes));
    secret_wipe(bytes, sizeof(bytes) - 1);
    assert_memory_equal(bytes, zeros, sizeof(bytes) - 1);
    secret_wipe(NULL, 0);
}

static int
start(void **state)
{
    /* A second start is no failure. */
    return secret_start() == STATUS_OK && secret_start() == STATUS_OK ? 0 : -1;
}

static const struct CMUnitTest tests[] = {
    CASE_WITH("hashes are those of BLAKE2b", hashes_are_blake2b, start, NULL),
    CASE("a keyed hash depends on its key", a_keyed_hash_depends_on_its_key),
    CASE("minted keys are new and safe in a URL", minted_keys_are_new_and_safe_in_a_url),
    CASE("secrets are equal only when all bytes are", equality),
    CASE("wiped memory is zero", wiped_memory_is_zero),
};
UNIT_MAIN(tests)
