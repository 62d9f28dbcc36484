/* conf/litellm.c: LiteLLM's model_prices_and_context_window.json: USD per token, as decimals, read as text
 * and never through a double. An entry is taken when it is a chat, completion, responses or embedding
 * model that is billed by tokens on both sides; all others are passed by. Source: spec/wire.md, section 6.
 *
 * Two figures can only be told apart by data that no usage block carries; the dearer one is taken:
 * output_cost_per_reasoning_token beside output_cost_per_token. */
#include <stdio.h>

#include "base/money.h"
#include "conf/conf_priv.h"
#include "conf/value_priv.h"

#define USD_PER_TOKEN_DIGITS 12 /* to micro-USD per million tokens */

/* "-1" when the field is absent, null or wrong; the last is reported. */
static int64_t
price_field(struct report *report, const struct node *map, const char *id, const char *key)
{
    const struct node *node = doc_get(map, key);
    int64_t value = -1;
    if (!node || node_is_null(node)) {
        return -1;
    }
    if (node->kind != NODE_SCALAR || node->quoted
        || !money_parse_scaled(node->text, USD_PER_TOKEN_DIGITS, MONEY_UP, &value) || value < 0
        || node->text.ptr[0] == '-' || value > PRICE_PER_MTOK_MAX) {
        char seen[64];
        report_add(report, node,
            "model '%s', field '%s': %s is no price in USD per token from 0 to 1", id, key,
            node_seen(node, seen));
        return -1;
    }
    return value;
}

/* Whole tokens; LiteLLM writes some as text, some as 1e6 or 32000.0. 0 when unknown. */
static int64_t
token_number(const struct node *node)
{
    int64_t up = 0;
    int64_t down = 0;
    if (!node || node->kind != NODE_SCALAR || !money_parse_scaled(node->text, 0, MONEY_UP, &up)
        || !money_parse_scaled(node->text, 0, MONEY_DOWN, &down)) {
        return 0;
    }
    return up == down && up >= 0 && up <= TOKENS_MAX ? up : 0;
}

static bool
mode_by_tokens(const struct node *map)
{
    static const char *const modes[] = { "chat", "completion", "responses", "embedding" };
    const struct node *mode = doc_get(map, "mode");
    for (size_t i = 0; mode && mode->kind == NODE_SCALAR && i < countof(modes); i++) {
        if (slice_eq(mode->text, slice_str(modes[i]))) {
            return true;
        }
    }
    return false;
}

/* All prices whose fields end in `suffix`; -1 where there is none. */
static struct price_set
set_with_suffix(struct report *report, const struct node *map, const char *id, const char *suffix)
{
    static const char *const keys[] = { "input_cost_per_token", "output_cost_per_token",
        "cache_read_input_token_cost", "cache_creation_input_token_cost",
        "cache_creation_input_token_cost_above_1hr", "output_cost_per_reasoning_token" };
    int64_t values[countof(keys)];
    for (size_t i = 0; i < countof(keys); i++) {
        char key[160];
        (void)snprintf(key, sizeof key, "%s%s", keys[i], suffix);
        values[i] = price_field(report, map, id, key);
    }
    const int64_t output = values[1] < 0 ? -1 : max_i64(values[1], values[5]);
    return (struct price_set){ values[0], output, values[2], values[3], values[4] };
}

/* What a tier does not say stays as it is below. */
static void
set_inherit(struct price_set *set, const struct price_set *below)
{
    set->input = set->input < 0 ? below->input : set->input;
    set->output = set->output < 0 ? below->output : set->output;
    set->cache_read = set->cache_read < 0 ? below->cache_read : set->cache_read;
    set->cache_write_5m = set->cache_write_5m < 0 ? below->cache_write_5m : set->cache_write_5m;
    set->cache_write_1h = set->cache_write_1h < 0 ? below->cache_write_1h : set->cache_write_1h;
}

static void
tier_add(struct report *report, const struct node *place, struct price *price, int64_t above,
    struct price_set set)
{
    int32_t at = 0;
    while (at < price->tier_count && price->tiers[at].above_input_tokens < above) {
        at++;
    }
    if (at < price->tier_count && price->tiers[at].above_input_tokens == above) {
        return;
    }
    if (price->tier_count == PRICE_TIERS_MAX) {
        report_add(
            report, place, "model '%s' has more than %d price tiers", price->id, PRICE_TIERS_MAX);
        return;
    }
    for (int32_t i = price->tier_count; i > at; i--) {
        price->tiers[i] = price->tiers[i - 1];
    }
    price->tiers[at].above_input_tokens = above;
    price->tiers[at].set = set;
    price->tier_count++;
}

/* "input_cost_per_token_above_200k_tokens": the threshold and where the suffix begins. */
static bool
threshold_of(struct slice key, int64_t *above, size_t *suffix_at)
{
    static const char *const stems[] = { "input_cost_per_token", "output_cost_per_token" };
    const struct slice tail = SLICE("k_tokens");
    for (size_t i = 0; i < countof(stems); i++) {
        const size_t stem_len = strlen(stems[i]);
        const struct slice rest = slice_starts(key, slice_str(stems[i]))
                                      ? slice_of(key.ptr + stem_len, key.len - stem_len)
                                      : SLICE("");
        int64_t thousands = 0;
        if (slice_starts(rest, SLICE("_above_")) && slice_ends(rest, tail)
            && value_count(slice_of(rest.ptr + 7, rest.len - 7 - tail.len), &thousands)
            && thousands > 0 && thousands <= TOKENS_MAX / 1000) {
            *above = thousands * 1000;
            *suffix_at = stem_len;
            return true;
        }
    }
    return false;
}

static void
tiers_by_suffix(struct report *report, const struct node *map, struct price *price)
{
    for (const struct node *node = map->first; node; node = node->next) {
        int64_t above = 0;
        size_t suffix_at = 0;
        if (threshold_of(node->key->text, &above, &suffix_at)) {
            tier_add(report, node, price, above,
                set_with_suffix(report, map, price->id, node->key->text.ptr + suffix_at));
        }
    }
}

/* "tiered_pricing": [{"range": [0, 32000], "input_cost_per_token": ...}, ...] */
static void
tiers_by_range(struct report *report, const struct node *map, struct price *price)
{
    const struct node *list = doc_get(map, "tiered_pricing");
    for (const struct node *node = list && list->kind == NODE_LIST ? list->first : NULL; node;
         node = node->next) {
        const struct node *range = node->kind == NODE_MAP ? doc_get(node, "range") : NULL;
        if (!range || range->kind != NODE_LIST || !range->first) {
            report_add(report, node, "model '%s': a tier of tiered_pricing has a range", price->id);
            continue;
        }
        const struct price_set set = set_with_suffix(report, node, price->id, "");
        const int64_t above = token_number(range->first);
        if (above > 0) {
            tier_add(report, node, price, above, set);
        } else {
            price->base = set;
        }
    }
}

static void
entry_read(
    struct report *report, const struct node *map, struct arena *arena, struct price_book *book)
{
    struct price found = { .id = map->key->text.ptr };
    found.base = set_with_suffix(report, map, found.id, "");
    tiers_by_suffix(report, map, &found);
    tiers_by_range(report, map, &found);
    const struct node *mode = doc_get(map, "mode");
    if (found.base.output < 0 && slice_eq(mode->text, SLICE("embedding"))) {
        found.base.output = 0; /* it has none */
    }
    if (found.base.input < 0 || found.base.output < 0) {
        book->passed_by.unpriced++;
        return;
    }
    if (!value_name(map->key->text, "-_.:/@+[]", NAME_MAX_BYTES)) {
        book->passed_by.odd_name++;
        return;
    }
    struct price *price = price_book_add(report, arena, book, map->key, map->key->text);
    if (!price) {
        return;
    }
    found.id = price->id;
    *price = found;
    const struct node *max_output = doc_get(map, "max_output_tokens");
    price->context = token_number(doc_get(map, "max_input_tokens"));
    price->max_output = token_number(max_output ? max_output : doc_get(map, "max_tokens"));
    for (int32_t i = 0; i < price->tier_count; i++) {
        set_inherit(&price->tiers[i].set, i == 0 ? &price->base : &price->tiers[i - 1].set);
    }
    price_set_fill(&price->base);
    for (int32_t i = 0; i < price->tier_count; i++) {
        price_set_fill(&price->tiers[i].set);
    }
}

void
litellm_read(
    struct report *report, const struct node *root, struct arena *arena, struct price_book *book)
{
    for (const struct node *node = root->first; node; node = node->next) {
        if (slice_eq(node->key->text, SLICE("sample_spec"))) {
            continue; /* documentation in the shape of an entry */
        }
        if (node->kind != NODE_MAP) {
            report_add(report, node->key,
                "this is neither a price book with a list of 'models' nor a mapping of models to prices");
            return;
        }
        if (mode_by_tokens(node)) {
            entry_read(report, node, arena, book);
        } else {
            book->passed_by.other_mode++;
        }
    }
}
