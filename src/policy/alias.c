/* policy/alias.c: from the id that a provider uses to an entry of the price book. The book's longest
 * match wins: suffixes are given up before prefixes, so that "deepseek/deepseek-chat-20251001" finds
 * "deepseek/deepseek-chat" before "deepseek-chat". */
#include "policy/policy_priv.h"
#include "tbl/price_aliases.h"

#define ALIAS_ROW(text) SLICE_INIT(text),
#define SLICE_INIT(text)                                                                           \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }
static const struct slice prefixes[] = { PRICE_ALIAS_PREFIXES(ALIAS_ROW) };
static const struct slice suffixes[] = { PRICE_ALIAS_SUFFIXES(ALIAS_ROW) };

static bool
digits_between(struct slice text, int low, int high)
{
    int value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
        value = value * 10 + (text.ptr[i] - '0');
    }
    return value >= low && value <= high;
}

/* Length of a final "-2026-04-23" or "-20260423", else 0. */
static size_t
dated_suffix_len(struct slice id)
{
    static const struct {
        size_t len, month_at, day_at;
    } forms[] = { { 11, 6, 9 }, { 9, 5, 7 } };

    for (size_t i = 0; i < countof(forms); i++) {
        if (id.len <= forms[i].len) {
            continue;
        }
        const char *tail = id.ptr + id.len - forms[i].len;
        const bool dashes = tail[0] == '-' && (i == 1 || (tail[5] == '-' && tail[8] == '-'));
        if (dashes && digits_between(slice_of(tail + 1, 4), 2000, 2099)
            && digits_between(slice_of(tail + forms[i].month_at, 2), 1, 12)
            && digits_between(slice_of(tail + forms[i].day_at, 2), 1, 31)) {
            return forms[i].len;
        }
    }
    return 0;
}

/* Takes one suffix off; false when there is none that may be taken off. */
static bool
drop_suffix(struct slice *id)
{
    for (size_t i = 0; i < countof(suffixes); i++) {
        if (id->len > suffixes[i].len && slice_ends(*id, suffixes[i])) {
            id->len -= suffixes[i].len;
            return true;
        }
    }
    const size_t dated_len = dated_suffix_len(*id);
    id->len -= dated_len;
    return dated_len > 0;
}

static bool
drop_prefix(struct slice *id)
{
    for (size_t i = 0; i < countof(prefixes); i++) {
        if (id->len > prefixes[i].len && slice_starts(*id, prefixes[i])) {
            *id = slice_of(id->ptr + prefixes[i].len, id->len - prefixes[i].len);
            return true;
        }
    }
    return false;
}

const struct price *
policy_price(const struct policy *policy, struct slice id)
{
    do {
        struct slice candidate = id;
        do {
            const struct price *price = price_exact(policy, candidate);
            if (price) {
                return price;
            }
        } while (drop_suffix(&candidate));
    } while (drop_prefix(&id));
    return NULL;
}
