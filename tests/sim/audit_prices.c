/* tests/sim/audit_prices.c: what calls cost, from the simulator's own price list: a sum in hundredths of a
 * millionth of a micro-USD, rounded up once. */
#include <string.h>

#include "audit_priv.h"

typedef __int128 wide;

static int64_t
round_up(wide sum)
{
    const wide whole = 100 * (wide)1000000;
    return (int64_t)((sum + whole - 1) / whole);
}

/* The price of the attempt that was made last; false: it has none. */
static bool
price_of(const struct sim_config *config, const struct hold_row *hold, struct sim_price *price)
{
    const char *provider = hold->attempts[hold->attempt_count - 1].provider;
    for (int m = 0; m < SIM_MODELS; m++) {
        const struct sim_model *model = &sim_models[m];
        for (int r = 0; strcmp(model->name, hold->model) == 0 && r < model->route_count; r++) {
            if (strcmp(sim_providers[model->routes[r].provider], provider) == 0 && model->routes[r].price >= 0) {
                *price = sim_price_of(config, model->routes[r].price);
                return true;
            }
        }
    }
    return false;
}

/* The dearest that can apply. */
int64_t
audit_price(const struct sim_config *config, const struct hold_row *hold, int64_t input, int64_t output)
{
    struct sim_price price;
    if (!price_of(config, hold, &price)) {
        return 0;
    }
    int64_t in = price.input, out = price.output;
    in = price.cache_read > in ? price.cache_read : in;
    in = price.cache_write > in ? price.cache_write : in;
    if (price.above > 0 && input > price.above) {
        in = price.input_above > in ? price.input_above : in;
        out = price.output_above > out ? price.output_above : out;
    }
    return round_up(((wide)input * in + (wide)output * out) * hold->multiplier_pct);
}

int64_t
audit_attempt_most(
    const struct sim_config *config, const struct hold_row *hold, const struct ledger_row *row, const struct sim_limit *limit)
{
    struct hold_row listed = *hold;
    listed.multiplier_pct = 100;
    listed.attempt_count = row->attempt + 1;
    return form_of(limit)->counts == COUNT_COST ? audit_price(config, &listed, SIM_CONTEXT, SIM_MAX_OUTPUT)
                                                : SIM_CONTEXT + SIM_MAX_OUTPUT;
}

/* By the price list; -1 where it says nothing. */
static int64_t
book_cost(const struct sim_price *price, const struct usage *usage, int64_t pct, bool *partly)
{
    const int64_t total = usage->input + usage->cache_read + usage->cache_write_5m + usage->cache_write_1h;
    const bool dear = price->above > 0 && total > price->above;
    const int64_t tokens[] = { usage->input, usage->cache_read, usage->cache_write_5m, usage->output };
    const int64_t prices[] = { dear ? price->input_above : price->input, dear ? -1 : price->cache_read,
        dear ? -1 : price->cache_write, dear ? price->output_above : price->output };
    wide sum = 0;
    int used = 0, priced = 0;
    for (int i = 0; i < 4; i++) {
        used += tokens[i] > 0;
        priced += tokens[i] > 0 && prices[i] >= 0;
        sum += tokens[i] > 0 && prices[i] >= 0 ? (wide)tokens[i] * prices[i] : 0;
    }
    *partly = priced < used;
    return used > 0 && priced == 0 ? -1 : round_up(sum * pct);
}

int64_t
audit_cost(const struct sim_config *config, const struct hold_row *hold, const struct usage *usage, int64_t pct)
{
    struct sim_price price;
    bool partly = false;
    const bool reported = (usage->known & (USAGE_INPUT | USAGE_OUTPUT | USAGE_ESTIMATED)) != 0;
    const int64_t book = reported && price_of(config, hold, &price) ? book_cost(&price, usage, pct, &partly) : -1;
    const int64_t told = usage->cost_micros;
    if (told < 0) {
        return book < 0 ? 0 : book;
    }
    const bool too_low = book >= 0 && book > 4 * told;
    const bool too_high = book >= 0 && told > 4 * book && !partly;
    return too_low || too_high ? book : told;
}
