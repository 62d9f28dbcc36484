/* conf/canon.c: what a configuration says, as one hash. Comments, layout, quotes and the secrets that it
 * only names do not count; the order of limits and routes does, so keys stay in the file's order. Neither does
 * what is each gateway's own: those that share a store are to decide alike, wherever they run. */
#include <inttypes.h>

#include "base/secret.h"
#include "conf/conf_priv.h"

#define HASH_TEXT_BYTES_MAX ((size_t)64 << 20)

/* Every text is preceded by its length, so that no two trees give the same bytes. */
static void
canon_node(const struct node *node, struct buf *out)
{
    if (node->kind == NODE_SCALAR) {
        if (node_is_null(node)) {
            buf_add_str(out, "~");
        } else {
            buf_addf(out, "%zu:", node->text.len);
            buf_add_slice(out, node->text);
        }
        return;
    }
    buf_add_char(out, node->kind == NODE_MAP ? '{' : '[');
    for (const struct node *child = node->first; child; child = child->next) {
        if (child->key) {
            canon_node(child->key, out);
        }
        canon_node(child, out);
    }
    buf_add_char(out, node->kind == NODE_MAP ? '}' : ']');
}

/* Of the file's top. The price book counts by what is in it. */
static bool
is_own(const struct node *key)
{
    static const enum option own[] = { OPTION_LISTEN, OPTION_STORE, OPTION_CONTROL, OPTION_NODE,
        OPTION_LOOPS, OPTION_LOG, OPTION_PRICES, OPTION_BODIES_MAX, OPTION_CONNECTIONS_MAX,
        OPTION_CONNECTIONS_PER_ADDRESS };
    for (size_t i = 0; i < countof(own); i++) {
        if (slice_eq(key->text, slice_str(option_key(own[i])))) {
            return true;
        }
    }
    return false;
}

static void
canon_root(const struct node *root, struct buf *out)
{
    for (const struct node *child = root->first; child; child = child->next) {
        if (!is_own(child->key)) {
            canon_node(child->key, out);
            canon_node(child, out);
        }
    }
}

static void
canon_set(const struct price_set *set, struct buf *out)
{
    buf_addf(out, "(%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 ")", set->input,
        set->output, set->cache_read, set->cache_write_5m, set->cache_write_1h);
}

static void
canon_price(const struct price *price, struct buf *out)
{
    if (!price) {
        buf_add_str(out, "~");
        return;
    }
    buf_addf(out, "%zu:%s", strlen(price->id), price->id);
    canon_set(&price->base, out);
    for (int32_t i = 0; i < price->tier_count; i++) {
        buf_addf(out, ">%" PRId64, price->tiers[i].above_input_tokens);
        canon_set(&price->tiers[i].set, out);
    }
    buf_addf(out, "/%" PRId64 "/%" PRId64, price->context, price->max_output);
}

/* 52 bits of a hash: positive, and exact in any JSON reader. */
static int64_t
number_of(const char hash[HASH_HEX + 1])
{
    int64_t number = 0;
    for (int i = 0; i < 13; i++) {
        const char c = hash[i];
        number = number * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return number > 0 ? number : 1;
}

void
conf_hash(struct conf *conf, const struct node *root)
{
    struct policy *policy = conf->policy;
    struct buf text = { .limit_bytes = HASH_TEXT_BYTES_MAX };
    char hash[HASH_HEX + 1];
    for (int32_t i = 0; i < policy->price_count; i++) {
        canon_price(&policy->prices[i], &text);
    }
    for (int32_t i = 0; i < policy->model_count; i++) {
        for (int32_t r = 0; r < policy->models[i].route_count; r++) {
            canon_price(policy->models[i].routes[r].price, &text);
        }
    }
    secret_hash_hex(buf_slice(&text), hash);
    policy->price_version = number_of(hash);

    canon_root(root, &text);
    secret_hash_hex(buf_slice(&text), policy->config_hash);
    if (text.failed) {
        report_no_memory(&conf->report);
    }
    buf_free(&text);
}
