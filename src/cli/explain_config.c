/* cli/explain_config.c: tidegate explain-config: each limit as a sentence, and by how much it may be passed. */
#include "cli/cli_priv.h"

#include <stdio.h>

#include "base/money.h"
#include "base/plural.h"
#include "engine/bounds.h"

static void
add_units(struct buf *out, const struct limit *limit, int64_t amount)
{
    char text[40];
    if (limit->counts == COUNT_COST) {
        money_text(amount, text);
        buf_add_str(out, text);
    } else {
        buf_addf(out, "%lld %s", (long long)amount, count_word(limit->counts));
    }
}

/* "8 calls in flight (parallel) x $10.30, the dearest: gpt-5.5 at openai" */
static void
add_pieces(struct buf *out, const struct policy *policy, const struct limit *limit,
    const struct limit_bound *bound)
{
    const struct model *model = &policy->models[bound->dearest_model];
    const struct route *route = &model->routes[bound->dearest_route];
    buf_addf(out, "%lld call%s in flight (%s) x ", (long long)bound->calls, plural_s(bound->calls),
        policy->limits[bound->calls_by].name);
    if (bound->attempts > 1) {
        buf_addf(out, "%lld attempts x ", (long long)bound->attempts);
    }
    add_units(out, limit, bound->dearest);
    buf_addf(out, ", what one to %s at %s takes at the most: %lld token%s of input, %lld of output",
        model->name, policy->providers[route->provider].name, (long long)model->context,
        plural_s(model->context), (long long)model->max_output);
}

static void
add_bound(struct buf *out, const struct policy *policy, const struct limit *limit,
    const struct limit_bound *bound)
{
    switch (bound->kind) {
    case BOUND_NEVER_PASSED:
        buf_add_str(out, "never passed");
        buf_addf(out, bound->why[0] ? ": %s" : "%s", bound->why);
        break;
    case BOUND_AT_MOST:
        buf_add_str(out, "passed by at most ");
        add_units(out, limit, bound->most);
        buf_add_str(out, ": ");
        add_pieces(out, policy, limit, bound);
        break;
    case BOUND_UNKNOWN: buf_addf(out, "not bounded: %s", bound->why); break;
    case BOUND_NOT_CLAIMED: buf_addf(out, "no bound is claimed: %s", bound->why); break;
    }
}

/* Which of the models; all where it counts all. */
static void
add_covered(struct buf *out, const struct policy *policy, const struct limit *limit)
{
    int32_t covered = 0;
    for (int32_t i = 0; i < policy->model_count; i++) {
        covered += bounds_limit_covers(policy, limit, &policy->models[i]);
    }
    if (covered == policy->model_count && !limit->of_provider) {
        buf_addf(
            out, covered == 1 ? "calls to the one model" : "calls to all %d models", (int)covered);
        return;
    }
    buf_addf(out, "calls to %d of %d model%s", (int)covered, (int)policy->model_count,
        plural_s(policy->model_count));
    bool first = true;
    for (int32_t i = 0; i < policy->model_count && covered <= 12; i++) {
        if (bounds_limit_covers(policy, limit, &policy->models[i])) {
            buf_addf(out, "%s%s", first ? ": " : ", ", policy->models[i].name);
            first = false;
        }
    }
    if (limit->of_provider) {
        buf_addf(out, ", where %s serves them", limit->of_provider);
    }
}

static void
add_limit(struct buf *out, const struct policy *policy, int32_t index)
{
    const struct limit *limit = &policy->limits[index];
    struct limit_bound bound;
    bounds_of_limit(policy, index, &bound);
    buf_addf(out, "  %s (%s)\n    ", limit->name, limit_mode(limit));
    limit_sentence(limit, out);
    buf_add_str(out, ".\n    Counts ");
    add_covered(out, policy, limit);
    buf_add_str(out, ".\n    Bound: ");
    add_bound(out, policy, limit, &bound);
    buf_add_str(out, ".\n");
}

/* Each mode in use, once. */
static void
add_claims(struct buf *out, const struct policy *policy)
{
    for (int32_t i = 0; i < policy->limit_count; i++) {
        const struct limit *limit = &policy->limits[i];
        bool told = false;
        for (int32_t before = 0; before < i; before++) {
            told = told || limit_mode(&policy->limits[before]) == limit_mode(limit);
        }
        struct slice rest = slice_str(limit_claim(limit));
        struct slice line = { 0 };
        if (!told) {
            buf_addf(out, "\n  %s\n", limit_mode(limit));
        }
        while (!told && slice_split(&rest, '\n', &line)) {
            buf_addf(out, "    %.*s\n", (int)line.len, line.ptr);
        }
    }
}

static void
add_all(struct buf *out, const struct policy *policy)
{
    buf_add_str(out, "Limits\n");
    for (int32_t i = 0; i < policy->limit_count; i++) {
        add_limit(out, policy, i);
    }
    if (policy->limit_count == 0) {
        buf_add_str(out, "  There are none: every account may spend any amount.\n");
        return;
    }
    buf_add_str(out, "\nWhat that promises\n");
    add_claims(out, policy);
    buf_add_str(out,
        "\n  Numbers are for one answer a call at list price: one that asks for n answers, or for a dearer\n"
        "  service, counts n times, or by that factor. Caps that people set or raise do not change them, but\n"
        "  those of calls in flight do.\n");
}

/* --- JSON. */

static void
json_text_or_null(struct buf *out, const char *name, const char *text)
{
    buf_addf(out, ",\"%s\":", name);
    if (text && text[0]) {
        buf_add_json(out, slice_str(text));
    } else {
        buf_add_str(out, "null");
    }
}

static void
json_bound(struct buf *out, const struct policy *policy, int32_t index)
{
    static const char *const kinds[] = { "never_passed", "at_most", "not_bounded", "not_claimed" };
    struct limit_bound bound;
    bounds_of_limit(policy, index, &bound);
    buf_addf(out, ",\"bound\":{\"kind\":\"%s\",\"amount\":", kinds[bound.kind]);
    if (bound.kind == BOUND_AT_MOST || bound.kind == BOUND_NEVER_PASSED) {
        buf_add_i64(out, bound.most);
    } else {
        buf_add_str(out, "null");
    }
    json_text_or_null(out, "why", bound.why);
    json_text_or_null(
        out, "calls_by", bound.calls_by < 0 ? "" : policy->limits[bound.calls_by].name);
    buf_addf(out, ",\"calls\":%lld,\"attempts\":%lld,\"dearest\":%lld", (long long)bound.calls,
        (long long)bound.attempts, (long long)bound.dearest);
    json_text_or_null(out, "dearest_model",
        bound.dearest_model < 0 ? "" : policy->models[bound.dearest_model].name);
    buf_add_char(out, '}');
}

static void
json_covered(struct buf *out, const struct policy *policy, const struct limit *limit)
{
    bool first = true;
    buf_add_str(out, ",\"models\":[");
    for (int32_t i = 0; i < policy->model_count; i++) {
        if (bounds_limit_covers(policy, limit, &policy->models[i])) {
            buf_add_str(out, first ? "" : ",");
            buf_add_json(out, slice_str(policy->models[i].name));
            first = false;
        }
    }
    buf_add_char(out, ']');
}

static void
json_limit(struct buf *out, const struct policy *policy, int32_t index)
{
    const struct limit *limit = &policy->limits[index];
    struct buf sentence = { 0 };
    limit_sentence(limit, &sentence);
    buf_add_str(out, "{\"name\":");
    buf_add_json(out, slice_str(limit->name));
    buf_addf(out,
        ",\"counts\":\"%s\",\"per\":\"%s\",\"window\":\"%s\",\"at_cap\":\"%s\",\"mode\":\"%s\"",
        count_word(limit->counts), per_word(limit->per), window_word(limit->window),
        at_cap_word(limit->at_cap), limit_mode(limit));
    json_text_or_null(out, "sentence", buf_cstr(&sentence));
    json_text_or_null(out, "claim", limit_claim(limit));
    json_bound(out, policy, index);
    json_covered(out, policy, limit);
    json_text_or_null(out, "of_model", limit->of_model);
    json_text_or_null(out, "of_tier",
        limit->of_tier < 0               ? NULL
        : limit->of_tier == TIER_PREMIUM ? "premium"
                                         : "free");
    json_text_or_null(out, "of_provider", limit->of_provider);
    buf_add_char(out, '}');
    out->failed |= sentence.failed;
    buf_free(&sentence);
}

void
limits_json(const struct policy *policy, struct buf *out)
{
    buf_add_str(out, "\"limits\":[");
    for (int32_t i = 0; i < policy->limit_count; i++) {
        buf_add_str(out, i ? "," : "");
        json_limit(out, policy, i);
    }
    buf_add_char(out, ']');
}

int
command_explain_config(struct cli *cli, int argc, char **argv)
{
    struct config_file config = { 0 };
    const char *named = NULL;
    int exit_status = EXIT_OK;
    struct buf out = { 0 };
    const struct argument arguments[] = {
        { "FILE", ARGUMENT_WORD, &config.file, false },
        { "--config", ARGUMENT_TEXT, &named, false },
        { "--json", ARGUMENT_FLAG, &config.json, false },
    };
    if (!arguments_parse(cli, argc, argv, arguments, countof(arguments), &exit_status)) {
        return exit_status;
    }
    if (config.file && named) {
        (void)cli_fail("explain-config: FILE and --config FILE are two ways to name one: keep one");
        return EXIT_USAGE;
    }
    config.file = named ? named : config.file;
    struct policy *policy = config_load(&config, false);
    if (!policy) {
        return EXIT_FAILED;
    }
    if (config.json) {
        buf_add_char(&out, '{');
        limits_json(policy, &out);
        buf_add_str(&out, "}\n");
    } else {
        add_all(&out, policy);
    }
    policy_unref(policy);
    return print_whole(&out);
}
