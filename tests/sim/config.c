/* tests/sim/config.c: configurations with every form of limit there is, drawn and edited. A new row of
 * LIMIT_FORMS is drawn from then on; what its caps look like is decided by its count. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "conf/zones_priv.h"
#include "sim.h"

struct limit_form sim_forms[SIM_FORMS_MAX];
int sim_form_count;

void
forms_make(void)
{
    static const enum window_kind windows[] = { WINDOW_LIFETIME, WINDOW_DAY, WINDOW_WEEK, WINDOW_MONTH, WINDOW_BUCKET,
        WINDOW_ROLLING, WINDOW_FIRST_USE };
    static const enum count_kind counts[] = { COUNT_COST, COUNT_TOKENS, COUNT_REQUESTS };
    for (int per = 0; per < PER_KIND_COUNT; per++) {
        for (size_t c = 0; c < countof(counts); c++) {
            for (size_t w = 0; w < countof(windows); w++) {
                sim_forms[sim_form_count++] = (struct limit_form){ counts[c], (enum per_kind)per, windows[w] };
            }
        }
        sim_forms[sim_form_count++] = (struct limit_form){ COUNT_IN_FLIGHT, (enum per_kind)per, WINDOW_CONCURRENCY };
    }
    sim_forms[sim_form_count++] = (struct limit_form){ COUNT_REPORTED, PER_GATEWAY, WINDOW_REPORTED };
    sim_forms[sim_form_count++] = (struct limit_form){ COUNT_REPORTED, PER_ACCOUNT, WINDOW_REPORTED };
    check(sim_form_count <= SIM_FORMS_MAX);
}

const char *const sim_plans[SIM_PLANS] = { "free", "pro", "team" };
const char *const sim_groups[SIM_GROUPS] = { "ops", "research", "staff" }; /* by name */
const char *const sim_organisations[SIM_ORGANISATIONS] = { "", "acme", "globex" };
const char *const sim_tags[SIM_TAGS] = { "app", "team" };
const char *const sim_providers[SIM_PROVIDERS] = { "bills", "stops", "third" };

/* A token costs whole micro-USD mostly, so that an ask often meets its cap exactly. */
const struct sim_price sim_prices[] = {
    { 0, 0, -1, -1, 0, 0, 0 },
    { 1000000, 2000000, -1, -1, 0, 0, 0 },
    { 10000000, 30000000, -1, -1, 0, 0, 0 },
    { 5000000, 15000000, 500000, 6000000, 0, 0, 0 },
    { 2000000, 6000000, -1, -1, 0, 0, 0 },
    { 1500000, 4500000, -1, -1, 300, 3000000, 9000000 },
};
#define PRICE_COUNT ((int)countof(sim_prices))

const struct sim_model sim_models[SIM_MODELS] = { /* by name */
    { "cheap", TIER_FREE, false, 1, { { 0, 1 } } },
    { "free", TIER_FREE, false, 1, { { 0, 0 } } },
    { "hidden", TIER_PREMIUM, true, 1, { { 0, 4 } } },
    { "mixed", TIER_FREE, false, 2, { { 0, 5 }, { 1, -1 } } },
    { "three", TIER_PREMIUM, false, 3, { { 1, 3 }, { 0, 2 }, { 2, 1 } } },
    { "two", TIER_PREMIUM, false, 2, { { 1, 2 }, { 0, 1 } } },
    { "unpriced", TIER_FREE, false, 1, { { 0, -1 } } },
};

static struct zone *zones[CALENDAR_ZONES];
static struct arena zone_arena;

bool
zones_read(void)
{
    for (int i = 0; i < CALENDAR_ZONES; i++) {
        if (!calendar_zones[i].name) {
            continue;
        }
        char path[128];
        static char bytes[1 << 16];
        snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", calendar_zones[i].name);
        FILE *file = fopen(path, "rb");
        const size_t len = file ? fread(bytes, 1, sizeof bytes, file) : 0;
        if (file) {
            fclose(file);
        }
        zones[i] = tzif_read(slice_of(bytes, len), calendar_zones[i].name, &zone_arena);
        if (!zones[i]) {
            return false;
        }
    }
    return true;
}

/* --- Drawing. */

static int64_t
draw_money_cap(struct rng *rng)
{
    static const int64_t caps[] = { 200, 400, 500, 1000, 2500, 5000, 10000, 30000, 100000, 1000000 };
    return draw_chance(rng, 200) ? 0 : caps[draw_below(rng, countof(caps))] * draw_between(rng, 1, 4);
}

/* Of everybody, and for ever: else nothing would go on. */
static int64_t
wider(const struct limit_form *form, int64_t cap)
{
    const bool of_one = form->per == PER_KEY || form->per == PER_THREAD_TREE || form->per == PER_ACCOUNT
                        || form->per == PER_ACCOUNT_MODEL;
    const int64_t of_all = form->per == PER_GATEWAY ? 4 : 2;
    return cap * (of_one ? 1 : of_all) * (form->window == WINDOW_LIFETIME && form->per != PER_THREAD_TREE ? 3 : 1);
}

static int64_t
draw_percentage(struct rng *rng)
{
    static const int64_t often[] = { 1, 50, 80, 90, 100 };
    return draw_chance(rng, 8000) ? often[draw_below(rng, countof(often))] : draw_between(rng, 1, 100);
}

static int64_t
draw_cap(struct rng *rng, const struct limit_form *form)
{
    switch (form->counts) {
    case COUNT_COST: return wider(form, draw_money_cap(rng));
    case COUNT_REPORTED: return draw_percentage(rng);
    case COUNT_TOKENS: return wider(form, 100 * draw_between(rng, draw_chance(rng, 200) ? 0 : 2, draw_chance(rng, 700) ? 400 : 15));
    case COUNT_IN_FLIGHT:
        return form->per == PER_GATEWAY ? draw_between(rng, 4, 24)
                                        : draw_between(rng, draw_chance(rng, 500) ? 0 : 1, draw_chance(rng, 5000) ? 2 : 8);
    default: return wider(form, draw_between(rng, 1, 20));
    }
}

/* A bucket of cost or tokens takes whole calls. */
static void
draw_bucket(struct rng *rng, const struct limit_form *form, struct sim_limit *limit)
{
    static const int64_t periods[] = { 1000, 7000, 60000 };
    const int64_t unit = form->counts == COUNT_COST ? 1000 : form->counts == COUNT_TOKENS ? 200 : 1;
    limit->period_ms = periods[draw_below(rng, countof(periods))];
    limit->rate = unit * draw_between(rng, 1, form->per == PER_GATEWAY ? 60 : 20);
    limit->burst = limit->cap = unit * draw_between(rng, 1, form->per == PER_GATEWAY ? 40 : 15);
}

static void
draw_plan_caps(struct rng *rng, const struct limit_form *form, struct sim_limit *limit)
{
    for (int i = 0; i < SIM_PLANS; i++) {
        const int64_t kind = form->window == WINDOW_BUCKET ? 0 : draw_below(rng, 10);
        limit->plan_cap[i] = kind < 5 ? CAP_AS_DEFAULT : kind < 7 ? CAP_UNLIMITED : draw_cap(rng, form);
    }
    for (int i = 0; i < SIM_GROUPS; i++) {
        const int64_t kind = form->window == WINDOW_BUCKET ? 0 : draw_below(rng, 20);
        limit->group_cap[i] = kind < 13 ? CAP_AS_DEFAULT : kind < 14 ? CAP_UNLIMITED : draw_cap(rng, form);
    }
    limit->combine = draw_chance(rng, 5000) ? COMBINE_MIN : COMBINE_MAX;
}

/* What is reported does not add up, so nobody is warned of it. */
static void
draw_at_cap(struct rng *rng, struct sim_limit *limit)
{
    static const enum at_cap_kind kinds[] = { AT_CAP_REFUSE, AT_CAP_REFUSE, AT_CAP_QUEUE, AT_CAP_QUEUE, AT_CAP_WARN,
        AT_CAP_SHADOW, AT_CAP_DOWNGRADE, AT_CAP_DOWNGRADE, AT_CAP_REROUTE, AT_CAP_REROUTE };
    static const enum at_cap_kind reported[] = { AT_CAP_PAUSE, AT_CAP_PAUSE, AT_CAP_PAUSE, AT_CAP_REFUSE, AT_CAP_REFUSE,
        AT_CAP_SHADOW, AT_CAP_QUEUE, AT_CAP_QUEUE, AT_CAP_DOWNGRADE, AT_CAP_REROUTE };
    _Static_assert(countof(kinds) == countof(reported), "drawn alike");
    const int64_t kind = draw_below(rng, countof(kinds));
    const bool in_flight = sim_forms[limit->form].counts == COUNT_IN_FLIGHT;
    const bool elsewhere = in_flight && draw_chance(rng, 1500);
    const bool waits = in_flight && !elsewhere && draw_chance(rng, 1500);
    const bool is_reported = sim_forms[limit->form].counts == COUNT_REPORTED;
    limit->at_cap = elsewhere ? AT_CAP_REROUTE : waits ? AT_CAP_QUEUE : is_reported ? reported[kind] : kinds[kind];
    limit->substitute = -1;
    if (limit->at_cap == AT_CAP_QUEUE) {
        limit->queue_ms = draw_between(rng, 500, 9000);
    } else if (limit->at_cap == AT_CAP_DOWNGRADE) {
        limit->substitute = (int)draw_below(rng, SIM_MODELS);
    } else if (limit->at_cap == AT_CAP_REROUTE) {
        limit->substitute = (int)draw_below(rng, SIM_PROVIDERS);
    }
}

static void
draw_facts(struct rng *rng, struct sim_limit *limit)
{
    static const int64_t spans[] = { 5 * HOUR_MS, 5 * HOUR_MS, 7 * DAY_MS, 7 * DAY_MS, DAY_MS };
    static const int64_t ages[] = { 1000, 30000, 15 * MINUTE_MS, DAY_MS };
    limit->span_ms = limit->span_ms ? limit->span_ms : spans[draw_below(rng, countof(spans))];
    limit->on_missing = draw_chance(rng, 7500) ? FACT_ALLOW : FACT_DENY;
    limit->on_stale = (enum fact_rule)draw_below(rng, 3);
    limit->max_age_ms = ages[draw_below(rng, countof(ages))];
}

const int64_t sim_percentages[SIM_PERCENTAGES] = { 50, 60, 80, 90, 100 };

/* An edited list goes on where the one before it was. */
static void
draw_warn(struct rng *rng, const struct limit_form *form, int per_10000, struct sim_limit *limit)
{
    const bool adds_up = form->window != WINDOW_BUCKET && form->counts != COUNT_IN_FLIGHT && form->counts != COUNT_REPORTED;
    if (adds_up) {
        const int64_t first = draw_below(rng, 3);
        limit->warn_count = draw_chance(rng, per_10000) ? (int)draw_between(rng, 1, SIM_WARNS) : 0;
        limit->warn_pct[0] = (int32_t)sim_percentages[first];
        limit->warn_pct[1] = (int32_t)sim_percentages[draw_between(rng, first + 1, SIM_PERCENTAGES - 1)];
    }
}

/* What it counts, of whom, over which window. */
static void
draw_meaning(struct rng *rng, const struct sim_config *config, struct sim_limit *limit)
{
    static const int64_t spans[] = { 2000, 10000, MINUTE_MS, HOUR_MS, 20 * HOUR_MS };
    const int per_forms = (sim_form_count - SIM_FORMS_REPORTED) / PER_KIND_COUNT; /* the last of each: in flight */
    const bool in_flight = draw_chance(rng, 400);
    int rolling = 0;
    for (int i = 0; i + 1 < config->limit_count; i++) {
        rolling += sim_forms[config->limits[i].form].window == WINDOW_ROLLING;
    }
    const bool reported = draw_chance(rng, 1400);
    do { /* as conf/ sees to: no more meters than a row has */
        limit->form = (int)(reported    ? sim_form_count - draw_between(rng, 1, SIM_FORMS_REPORTED)
                            : in_flight ? draw_between(rng, 1, PER_KIND_COUNT) * per_forms - 1
                                        : draw_below(rng, sim_form_count - SIM_FORMS_REPORTED));
    } while (rolling >= 2 && sim_forms[limit->form].window == WINDOW_ROLLING);
    const struct limit_form *form = &sim_forms[limit->form];
    const bool calendar = form->window == WINDOW_DAY || form->window == WINDOW_WEEK || form->window == WINDOW_MONTH;
    const bool spans_time = form->window == WINDOW_ROLLING || form->window == WINDOW_FIRST_USE;
    limit->zone = calendar ? (int)draw_below(rng, CALENDAR_ZONES) : 0;
    limit->span_ms = spans_time ? spans[draw_below(rng, countof(spans))] : 0;
    limit->model = draw_chance(rng, 1500) ? (int)draw_below(rng, SIM_MODELS) : -1;
    limit->tier = draw_chance(rng, 1500) ? (int)draw_below(rng, 2) : -1;
    limit->provider = draw_chance(rng, 1800) ? (int)draw_below(rng, SIM_PROVIDERS) : -1;
    limit->tag = (int)draw_below(rng, SIM_TAGS);
    limit->weights = form->counts == COUNT_REQUESTS ? (int)draw_below(rng, SIM_WEIGHTS) : 0;
    draw_warn(rng, form, 4000, limit);
    if (reported) {
        draw_facts(rng, limit);
    }
    limit->mode = in_steps(limit) ? (enum hold_mode)draw_below(rng, SIM_MODES) : HOLD_MODE_STREAM;
}

static void
draw_limit(struct rng *rng, struct sim_config *config)
{
    struct sim_limit *limit = &config->limits[config->limit_count++];
    memset(limit, 0, sizeof *limit);
    draw_meaning(rng, config, limit);
    draw_at_cap(rng, limit);
    const struct limit_form *form = &sim_forms[limit->form];
    if (form->window == WINDOW_BUCKET) {
        draw_bucket(rng, form, limit);
    } else {
        limit->cap = draw_chance(rng, 300) ? CAP_UNLIMITED : draw_cap(rng, form);
    }
    draw_plan_caps(rng, form, limit);
    for (int number = 0;; number++) { /* a name that is free; one that was used before comes back */
        bool taken = false;
        snprintf(limit->name, sizeof limit->name, "limit-%d", number);
        for (int i = 0; i + 1 < config->limit_count; i++) {
            taken = taken || strcmp(config->limits[i].name, limit->name) == 0;
        }
        for (int i = 0; !taken && i + 1 < config->limit_count; i++) {
            if (strcmp(config->limits[i].was, limit->name) == 0) { /* that one has it again */
                memset(config->limits[i].was, 0, sizeof config->limits[i].was);
            }
        }
        if (!taken) {
            return;
        }
    }
}

/* So many calls at once, of all: what the bounds of other limits are printed by. */
static void
draw_parallel(struct rng *rng, struct sim_config *config)
{
    draw_limit(rng, config);
    struct sim_limit *limit = &config->limits[config->limit_count - 1];
    struct sim_limit own = { .cap = draw_between(rng, 3, 16), .model = -1, .tier = -1, .provider = -1, .substitute = -1 };
    memcpy(own.name, limit->name, sizeof own.name);
    for (int i = 0; i < sim_form_count; i++) {
        own.form = sim_forms[i].counts == COUNT_IN_FLIGHT && sim_forms[i].per == PER_GATEWAY ? i : own.form;
    }
    for (int i = 0; i < SIM_PLANS; i++) {
        own.plan_cap[i] = CAP_AS_DEFAULT;
    }
    for (int i = 0; i < SIM_GROUPS; i++) {
        own.group_cap[i] = CAP_AS_DEFAULT;
    }
    own.at_cap = AT_CAP_REFUSE;
    *limit = own;
}

static void
draw_groups(struct rng *rng, struct sim_config *config)
{
    for (int i = 0; i < SIM_GROUPS; i++) {
        config->groups[i] = (struct sim_group){ (uint32_t)draw_below(rng, 1 << SIM_ACCOUNTS_MAX),
            draw_chance(rng, 5000) ? 0 : (int)draw_between(rng, 1, SIM_ORGANISATIONS - 1) };
    }
}

/* How long threads are kept that nobody comes back to. */
static int64_t
draw_kept(struct rng *rng)
{
    static const int64_t kept_ms[] = { 0, 0, SECOND_MS, MINUTE_MS, HOUR_MS, 12 * HOUR_MS, 2 * DAY_MS, 5 * DAY_MS };
    return kept_ms[draw_below(rng, countof(kept_ms))];
}

void
config_draw(struct rng *rng, struct sim_config *config)
{
    memset(config, 0, sizeof *config);
    config->number = 1;
    config->price_scale = 1;
    config->held_wait_ms = draw_chance(rng, 3000) ? 0 : 3000;
    config->orphans = draw_chance(rng, 7000) ? ORPHAN_CHARGE : ORPHAN_RELEASE;
    config->unpriced = (enum unpriced_rule)draw_below(rng, 3);
    config->estimator = (enum estimator)draw_below(rng, 3);
    config->has_groups = draw_chance(rng, 7000);
    config->threads_kept_ms = draw_kept(rng);
    draw_groups(rng, config);
    const int64_t count = draw_between(rng, 1, 7);
    for (int64_t i = 0; i < count; i++) {
        draw_limit(rng, config);
    }
    if (draw_chance(rng, 5000)) {
        draw_parallel(rng, config);
    }
}

static void
remove_limit(struct rng *rng, struct sim_config *config)
{
    const int64_t at = draw_below(rng, config->limit_count);
    for (int64_t i = at; i + 1 < config->limit_count; i++) {
        config->limits[i] = config->limits[i + 1];
    }
    config->limit_count--;
}

void
config_edit(struct rng *rng, struct sim_config *config)
{
    config->number++;
    const int64_t kind = draw_below(rng, 10);
    struct sim_limit *limit =
        config->limit_count > 0 ? &config->limits[draw_below(rng, config->limit_count)] : NULL;
    if (!limit || (kind < 3 && config->limit_count < SIM_LIMITS_MAX)) {
        draw_limit(rng, config);
    } else if (kind < 4) {
        remove_limit(rng, config);
    } else if (kind < 5) {
        memset(limit->was, 0, sizeof limit->was);
        if (draw_chance(rng, 6000)) { /* it keeps what was used */
            memcpy(limit->was, limit->name, sizeof limit->was);
        }
        snprintf(limit->name, sizeof limit->name, "renamed-%lld", (long long)config->number);
    } else if (kind < 8) {
        const struct limit_form *form = &sim_forms[limit->form];
        if (form->window == WINDOW_BUCKET) {
            const int64_t period_ms = limit->period_ms;
            draw_bucket(rng, form, limit);
            limit->period_ms = draw_chance(rng, 5000) ? period_ms : limit->period_ms;
        } else {
            limit->cap = draw_cap(rng, form);
            draw_plan_caps(rng, form, limit);
            if (form->counts == COUNT_REPORTED) {
                draw_facts(rng, limit);
            }
            draw_warn(rng, form, 8000, limit);
        }
    } else if (kind < 9) {
        config->price_scale = draw_between(rng, 1, 3);
    } else {
        config->orphans = config->orphans == ORPHAN_CHARGE ? ORPHAN_RELEASE : ORPHAN_CHARGE;
        config->unpriced = (enum unpriced_rule)draw_below(rng, 3);
        config->estimator = (enum estimator)draw_below(rng, 3);
        config->threads_kept_ms = draw_kept(rng);
        draw_groups(rng, config);
    }
}

bool
config_set_cap(struct sim_config *config, const char *name, int64_t cap)
{
    for (int i = 0; i < config->limit_count; i++) {
        struct sim_limit *limit = &config->limits[i];
        if (strcmp(limit->name, name) == 0 && sim_forms[limit->form].counts == COUNT_COST) {
            config->number++;
            limit->cap = cap;
            for (int k = 0; k < SIM_PLANS; k++) {
                limit->plan_cap[k] = CAP_AS_DEFAULT;
            }
            for (int k = 0; k < SIM_GROUPS; k++) {
                limit->group_cap[k] = CAP_AS_DEFAULT;
            }
            return true;
        }
    }
    return false;
}

/* --- As the gateway wants it. */

static void *
room(struct policy *policy, size_t bytes)
{
    void *memory = arena_alloc(&policy->arena, bytes);
    check(memory);
    return memory;
}

static const char *
keep(struct policy *policy, const char *text)
{
    char *copy = room(policy, strlen(text) + 1);
    strcpy(copy, text);
    return copy;
}

struct sim_price
sim_price_of(const struct sim_config *config, int index)
{
    struct sim_price price = sim_prices[index];
    price.input *= config->price_scale;
    price.output *= config->price_scale;
    price.cache_read *= price.cache_read > 0 ? config->price_scale : 1;
    price.cache_write *= price.cache_write > 0 ? config->price_scale : 1;
    price.input_above *= config->price_scale;
    price.output_above *= config->price_scale;
    return price;
}

static void
add_prices(struct policy *policy, const struct sim_config *config)
{
    policy->price_count = PRICE_COUNT;
    policy->prices = room(policy, PRICE_COUNT * sizeof *policy->prices);
    for (int i = 0; i < PRICE_COUNT; i++) {
        const struct sim_price from = sim_price_of(config, i);
        struct price *price = &policy->prices[i];
        *price = (struct price){ .id = "p",
            .base = { from.input, from.output, from.cache_read, from.cache_write, from.cache_write } };
        if (from.above > 0) {
            price->tier_count = 1;
            price->tiers[0].above_input_tokens = from.above;
            price->tiers[0].set = (struct price_set){ from.input_above, from.output_above, -1, -1, -1 };
        }
    }
}

static void
add_models(struct policy *policy)
{
    policy->provider_count = SIM_PROVIDERS;
    policy->providers = room(policy, SIM_PROVIDERS * sizeof *policy->providers);
    for (int i = 0; i < SIM_PROVIDERS; i++) {
        policy->providers[i] = (struct provider){ .name = sim_providers[i],
            .apis = ~UINT32_C(0),
            .on_abort = i == 0 ? ON_ABORT_BILLS_ALL : ON_ABORT_STOPS };
    }
    policy->model_count = SIM_MODELS;
    policy->models = room(policy, SIM_MODELS * sizeof *policy->models);
    for (int i = 0; i < SIM_MODELS; i++) {
        const struct sim_model *from = &sim_models[i];
        struct model *model = &policy->models[i];
        *model = (struct model){ .name = from->name,
            .tier = from->tier,
            .hidden_reasoning = from->hidden,
            .billed_retries = SIM_BILLED_RETRIES,
            .max_output = SIM_MAX_OUTPUT,
            .context = SIM_CONTEXT,
            .route_count = from->route_count };
        for (int k = 0; k < from->route_count; k++) {
            const int price = from->routes[k].price;
            model->routes[k] = (struct route){
                from->routes[k].provider, "upstream", price < 0 ? NULL : &policy->prices[price]
            };
        }
    }
}

int64_t
sim_weight(int weights, int model)
{
    return weights == 0 ? 1 : weights == 1 ? model % 3 : 1 + model % 4;
}

/* What a limit's meters stand for; the rest may be edited, and they stay. */
struct sim_limit
sim_meaning(const struct sim_limit *limit)
{
    return (struct sim_limit){ .form = limit->form,
        .zone = limit->zone,
        .model = limit->model,
        .tier = limit->tier,
        .provider = limit->provider,
        .tag = sim_forms[limit->form].per == PER_TAG ? limit->tag : 0,
        .weights = limit->weights,
        .mode = limit->mode,
        .at_cap = limit->at_cap,
        .span_ms = limit->span_ms,
        .period_ms = limit->period_ms };
}

bool
sim_same_meaning(const struct sim_limit *left, const struct sim_limit *right)
{
    const struct sim_limit a = sim_meaning(left), b = sim_meaning(right);
    return a.form == b.form && a.zone == b.zone && a.model == b.model && a.tier == b.tier && a.provider == b.provider
           && a.tag == b.tag && a.weights == b.weights && a.mode == b.mode && a.at_cap == b.at_cap
           && a.span_ms == b.span_ms && a.period_ms == b.period_ms;
}

/* A rate, and a window that providers report, are something else than a span of time. */
static int
kind_of_span(const struct sim_limit *limit)
{
    return sim_forms[limit->form].window == WINDOW_BUCKET ? 1 : sim_forms[limit->form].counts == COUNT_REPORTED ? 2 : 0;
}

bool
sim_same_thing(const struct sim_limit *left, const struct sim_limit *right)
{
    const struct sim_limit a = sim_meaning(left), b = sim_meaning(right);
    return sim_forms[a.form].counts == sim_forms[b.form].counts && sim_forms[a.form].per == sim_forms[b.form].per
           && a.model == b.model && a.tier == b.tier && a.provider == b.provider && a.tag == b.tag
           && kind_of_span(&a) == kind_of_span(&b) && (kind_of_span(&a) != 2 || a.span_ms == b.span_ms);
}

static void
add_groups(struct policy *policy, const struct sim_config *config)
{
    policy->groups = room(policy, SIM_GROUPS * sizeof *policy->groups);
    for (int i = 0; config->has_groups && i < SIM_GROUPS; i++) {
        struct group *group = &policy->groups[policy->group_count++];
        const int organisation = config->groups[i].organisation;
        *group = (struct group){ .name = sim_groups[i],
            .organisation = organisation ? sim_organisations[organisation] : NULL,
            .members = room(policy, SIM_ACCOUNTS_MAX * sizeof *group->members) };
        for (int k = 0; k < SIM_ACCOUNTS_MAX; k++) {
            if (config->groups[i].members & UINT32_C(1) << k) {
                char name[24];
                snprintf(name, sizeof name, "account-%d", k);
                group->members[group->member_count++] = keep(policy, name);
            }
        }
    }
    policy->tag_count = SIM_TAGS;
    for (int i = 0; i < SIM_TAGS; i++) {
        policy->tags[i] = (struct tag){ .name = sim_tags[i], .header = "x-tag" };
    }
    policy->estimator = config->estimator;
}

static void
add_limit(struct policy *policy, const struct sim_limit *from)
{
    const struct limit_form *form = &sim_forms[from->form];
    struct limit *limit = &policy->limits[policy->limit_count++];
    *limit = (struct limit){ .name = keep(policy, from->name),
        .counts = form->counts,
        .per = form->per,
        .window = form->window,
        .zone = zones[from->zone],
        .rate = from->rate,
        .period_ms = from->period_ms,
        .burst = from->burst,
        .at_cap = from->at_cap,
        .hold = from->mode,
        .was = from->was[0] ? keep(policy, from->was) : NULL,
        .span_ms = from->span_ms,
        .on_missing = from->on_missing,
        .on_stale = from->on_stale,
        .max_age_ms = from->max_age_ms,
        .queue_ms = from->queue_ms,
        .tag = from->tag,
        .combine = from->combine,
        .cap_default = from->cap,
        .of_model = from->model < 0 ? NULL : sim_models[from->model].name,
        .of_tier = from->tier,
        .of_provider = from->provider < 0 ? NULL : sim_providers[from->provider] };
    const struct sim_limit m = sim_meaning(from);
    limit->warn_count = from->warn_count;
    memcpy(limit->warn_pct, from->warn_pct, sizeof from->warn_pct);
    snprintf(limit->fingerprint, sizeof limit->fingerprint, "%08x%08x%08x%08x%08x%08x%016llx", (unsigned)(m.form * 16 + m.zone),
        (unsigned)((m.model + 1) * 16 + m.tier + 1), (unsigned)((m.provider + 1) * 16 + m.tag), (unsigned)m.weights,
        (unsigned)m.mode * 16 + (unsigned)m.at_cap, (unsigned)m.period_ms, (unsigned long long)m.span_ms);
    snprintf(limit->thing, sizeof limit->thing, "%d/%d/%d/%d/%d/%d/%d/%lld", (int)form->counts, (int)form->per, m.model, m.tier,
        m.provider, m.tag, kind_of_span(&m), kind_of_span(&m) == 2 ? (long long)m.span_ms : 0LL);
    if (from->at_cap == AT_CAP_DOWNGRADE) {
        limit->substitute = sim_models[from->substitute].name;
    } else if (from->at_cap == AT_CAP_REROUTE) {
        limit->substitute = sim_providers[from->substitute];
    }
    if (from->weights > 0) {
        limit->weights = room(policy, SIM_MODELS * sizeof *limit->weights);
        for (int i = 0; i < SIM_MODELS; i++) {
            limit->weights[limit->weight_count++] = (struct weight){ sim_models[i].name, sim_weight(from->weights, i) };
        }
    }
    limit->group_caps = room(policy, SIM_GROUPS * sizeof *limit->group_caps);
    for (int i = 0; i < SIM_GROUPS; i++) {
        if (from->group_cap[i] != CAP_AS_DEFAULT) {
            limit->group_caps[limit->group_cap_count++] = (struct plan_cap){ sim_groups[i], from->group_cap[i] };
        }
    }
    limit->plan_caps = room(policy, SIM_PLANS * sizeof *limit->plan_caps);
    for (int i = 0; i < SIM_PLANS; i++) {
        if (from->plan_cap[i] != CAP_AS_DEFAULT) {
            limit->plan_caps[limit->plan_cap_count++] = (struct plan_cap){ sim_plans[i], from->plan_cap[i] };
        }
    }
}

struct policy *
config_policy(const struct sim_config *config)
{
    struct policy *policy = policy_new();
    check(policy);
    policy->price_version = config->price_scale;
    snprintf(policy->config_hash, sizeof policy->config_hash, "%064llx", (unsigned long long)config->number);
    add_prices(policy, config);
    add_models(policy);
    policy->limits = room(policy, SIM_LIMITS_MAX * sizeof *policy->limits);
    for (int i = 0; i < config->limit_count; i++) {
        add_limit(policy, &config->limits[i]);
    }
    add_groups(policy, config);
    policy->plan_count = SIM_PLANS;
    policy->plans = room(policy, SIM_PLANS * sizeof *policy->plans);
    for (int i = 0; i < SIM_PLANS; i++) {
        policy->plans[i] = sim_plans[i];
    }
    policy->default_plan = sim_plans[SIM_PLAN_FREE];
    policy->held_wait_ms = config->held_wait_ms;
    policy->step_tokens = SIM_STEP;
    policy->min_answer_tokens = SIM_MIN_ANSWER;
    policy->orphans = config->orphans;
    policy->unpriced = config->unpriced;
    policy->retention_threads_ms = config->threads_kept_ms;
    return policy;
}

int64_t
sim_draw_cap(struct rng *rng, const struct sim_limit *limit)
{
    return draw_cap(rng, &sim_forms[limit->form]);
}

int64_t
sim_plan_cap(const struct sim_limit *limit, const char *plan)
{
    if (sim_forms[limit->form].window == WINDOW_BUCKET) {
        return limit->burst;
    }
    for (int i = 0; i < SIM_PLANS; i++) {
        if (strcmp(sim_plans[i], plan) == 0 && limit->plan_cap[i] != CAP_AS_DEFAULT) {
            return limit->plan_cap[i];
        }
    }
    return limit->cap;
}
