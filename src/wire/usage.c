/* wire/usage.c: usage blocks in all their forms, made one (spec/wire.md section 2). */
#include "wire/usage.h"

#include "base/money.h"

#define TICKS_PER_MICRO 10000 /* xAI: 10^10 ticks are one dollar */

/* A count of tokens or nothing. -1 = not there. */
struct counts {
    int64_t input, output, total;
    int64_t cached, cache_write, reasoning;
    int64_t cost_micros;
    bool own_key; /* OpenRouter's is_byok: its cost is then only its fee */
};

/* null counts as not there. False: malformed. */
static bool
take_tokens(struct json_cursor *cursor, int64_t *tokens)
{
    struct json_value value;
    if (!json_take(cursor, &value)) {
        return false;
    }
    return value.type == JSON_NULL || json_to_i64(value, 0, TOKENS_MAX, tokens);
}

struct named_count {
    struct slice name;
    size_t offset; /* in the struct that is filled */
};

/* If `key` names one of the counts, takes it. *known tells whether it did. */
static bool
take_named(struct json_cursor *cursor, struct slice key, const struct named_count *names,
    size_t name_count, void *counts, bool *known)
{
    *known = false;
    for (size_t i = 0; i < name_count; i++) {
        if (json_key_is(key, names[i].name)) {
            *known = true;
            int64_t *count = (int64_t *)(void *)((char *)counts + names[i].offset);
            return take_tokens(cursor, count);
        }
    }
    return true;
}

#define NAMED(type, name, field)                                                                   \
    {                                                                                              \
        { name, sizeof(name) - 1 }, offsetof(struct type, field)                                   \
    }

/* An object of counts; null and unknown keys are passed by. */
static bool
take_details(
    struct json_cursor *cursor, const struct named_count *names, size_t name_count, void *counts)
{
    if (!json_enter(cursor, '{')) {
        struct json_value value;
        return json_take(cursor, &value) && value.type == JSON_NULL;
    }
    struct slice key;
    bool known = false;
    while (json_next_member(cursor, &key)) {
        if (!take_named(cursor, key, names, name_count, counts, &known)) {
            return false;
        }
        if (!known) {
            json_skip(cursor);
        }
    }
    return !cursor->fault;
}

/* ---- the OpenAI family ---- */

static const struct named_count openai_counts[] = {
    NAMED(counts, "prompt_tokens", input), NAMED(counts, "input_tokens", input),
    NAMED(counts, "completion_tokens", output), NAMED(counts, "output_tokens", output),
    NAMED(counts, "total_tokens", total),
    NAMED(counts, "prompt_cache_hit_tokens", cached), /* DeepSeek */
    NAMED(counts, "cached_tokens", cached),           /* Moonshot */
    NAMED(counts, "num_cached_tokens", cached),       /* Mistral */
    NAMED(counts, "reasoning_tokens", reasoning),     /* Gemini, at times */
};
static const struct named_count openai_input_details[] = {
    NAMED(counts, "cached_tokens", cached),
    NAMED(counts, "cache_write_tokens", cache_write),          /* OpenRouter */
    NAMED(counts, "cache_creation_input_tokens", cache_write), /* DashScope */
};
static const struct named_count openai_output_details[] = {
    NAMED(counts, "reasoning_tokens", reasoning),
};

/* The provider's own figure. One that makes no sense is none: the price book then decides. */
static void
take_cost(struct json_cursor *cursor, bool ticks, int64_t *cost_micros)
{
    struct json_value value;
    int64_t amount = 0;
    if (!json_take(cursor, &value) || value.type != JSON_NUMBER) {
        return;
    }
    if (!ticks) {
        if (money_parse(value.text, MONEY_UP, &amount) && amount >= 0) {
            *cost_micros = amount;
        }
    } else if (json_to_i64(value, 0, MONEY_MICROS_MAX, &amount)) {
        *cost_micros = amount / TICKS_PER_MICRO + (amount % TICKS_PER_MICRO != 0);
    }
}

static bool
take_openai_field(struct json_cursor *cursor, struct slice key, struct counts *counts)
{
    bool known = false;
    if (!take_named(cursor, key, openai_counts, countof(openai_counts), counts, &known)) {
        return false;
    }
    if (known) {
        return true;
    }
    if (json_key_is(key, SLICE("prompt_tokens_details"))
        || json_key_is(key, SLICE("input_tokens_details"))) {
        return take_details(cursor, openai_input_details, countof(openai_input_details), counts);
    }
    if (json_key_is(key, SLICE("completion_tokens_details"))
        || json_key_is(key, SLICE("output_tokens_details"))) {
        return take_details(cursor, openai_output_details, countof(openai_output_details), counts);
    }
    if (json_key_is(key, SLICE("cost"))) {
        take_cost(cursor, false, &counts->cost_micros);
    } else if (json_key_is(key, SLICE("cost_in_usd_ticks"))) {
        take_cost(cursor, true, &counts->cost_micros);
    } else if (json_key_is(key, SLICE("is_byok"))) {
        struct json_value value;
        counts->own_key = json_take(cursor, &value) && value.type == JSON_TRUE;
    } else {
        json_skip(cursor);
    }
    return !cursor->fault;
}

/* Output with its reasoning in it, wherever the provider counts that. False: it cannot be. */
static bool
settle_output(const struct counts *counts, struct usage *usage)
{
    const int64_t said = max_i64(counts->output, 0);
    usage->reasoning = max_i64(counts->reasoning, 0);
    usage->output = said;
    if (counts->total > counts->input + said) {
        usage->output = counts->total - counts->input; /* xAI, Gemini: reasoning lies beside */
    } else if (counts->total < 0 && usage->reasoning > said) {
        usage->output = said + usage->reasoning; /* the same, without a total */
    }
    return usage->reasoning <= usage->output && usage->output <= TOKENS_MAX;
}

static bool
take_counts(struct slice object, struct counts *counts)
{
    *counts = (struct counts){ -1, -1, -1, -1, -1, -1, .cost_micros = -1 };
    struct json_cursor cursor;
    json_start(&cursor, object);
    bool good = json_enter(&cursor, '{');
    struct slice key;
    while (good && json_next_member(&cursor, &key)) {
        good = take_openai_field(&cursor, key, counts);
    }
    return good && json_finish(&cursor);
}

static bool
settle_openai(bool good, const struct counts *counts, struct usage *read, struct usage *usage)
{
    if (!good) {
        usage->known |= USAGE_MALFORMED;
        return false;
    }
    read->cache_read = max_i64(counts->cached, 0);
    read->cache_write_5m = max_i64(counts->cache_write, 0);
    read->input = max_i64(0, counts->input - read->cache_read - read->cache_write_5m);
    read->cost_micros = counts->own_key ? -1 : counts->cost_micros;
    read->known = USAGE_INPUT | USAGE_OUTPUT;
    *usage = *read;
    return true;
}

bool
usage_read_openai(struct slice object, struct usage *usage)
{
    struct counts counts;
    struct usage read = USAGE_NONE;
    bool good = take_counts(object, &counts) && counts.input >= 0;
    good = good && settle_output(&counts, &read);
    return settle_openai(good, &counts, &read, usage);
}

bool
usage_read_embeddings(struct slice object, struct usage *usage)
{
    struct counts counts;
    struct usage read = USAGE_NONE;
    const bool good = take_counts(object, &counts) && (counts.input >= 0 || counts.total >= 0);
    if (counts.input < 0) {
        counts.input = counts.total; /* all of it is input */
    }
    return settle_openai(good, &counts, &read, usage);
}

/* ---- Anthropic ---- */

struct anthropic_counts {
    int64_t input, output, cache_read;
    int64_t cache_write; /* the sum of the two parts */
    int64_t write_5m, write_1h;
    int64_t thinking;
};

static const struct named_count anthropic_names[] = {
    NAMED(anthropic_counts, "input_tokens", input),
    NAMED(anthropic_counts, "output_tokens", output),
    NAMED(anthropic_counts, "cache_read_input_tokens", cache_read),
    NAMED(anthropic_counts, "cache_creation_input_tokens", cache_write),
};
static const struct named_count anthropic_writes[] = {
    NAMED(anthropic_counts, "ephemeral_5m_input_tokens", write_5m),
    NAMED(anthropic_counts, "ephemeral_1h_input_tokens", write_1h),
};
static const struct named_count anthropic_output_details[] = {
    NAMED(anthropic_counts, "thinking_tokens", thinking),
};

static bool
take_anthropic_field(struct json_cursor *cursor, struct slice key, struct anthropic_counts *counts)
{
    bool known = false;
    if (!take_named(cursor, key, anthropic_names, countof(anthropic_names), counts, &known)) {
        return false;
    }
    if (known) {
        return true;
    }
    if (json_key_is(key, SLICE("cache_creation"))) {
        return take_details(cursor, anthropic_writes, countof(anthropic_writes), counts);
    }
    if (json_key_is(key, SLICE("output_tokens_details"))) {
        return take_details(
            cursor, anthropic_output_details, countof(anthropic_output_details), counts);
    }
    json_skip(cursor);
    return !cursor->fault;
}

/* What the two parts leave of the sum goes to 5 minutes. Parts that were told before stay as long
 * as they fit under a sum that comes alone. */
static void
settle_writes(const struct anthropic_counts *counts, struct usage *usage)
{
    if (counts->write_5m >= 0 || counts->write_1h >= 0) {
        usage->cache_write_5m = max_i64(counts->write_5m, 0);
        usage->cache_write_1h = max_i64(counts->write_1h, 0);
    }
    if (counts->cache_write < 0) {
        return;
    }
    const int64_t parts = usage->cache_write_5m + usage->cache_write_1h;
    if (counts->cache_write > parts) {
        usage->cache_write_5m += counts->cache_write - parts;
    } else if (counts->write_5m < 0 && counts->write_1h < 0) {
        usage->cache_write_1h = min_i64(usage->cache_write_1h, counts->cache_write);
        usage->cache_write_5m = counts->cache_write - usage->cache_write_1h;
    }
}

bool
usage_read_anthropic(struct slice object, const struct usage *before, struct usage *usage)
{
    struct anthropic_counts counts = { -1, -1, -1, -1, -1, -1, -1 };
    struct json_cursor cursor;
    json_start(&cursor, object);
    bool good = json_enter(&cursor, '{');
    struct slice key;
    while (good && json_next_member(&cursor, &key)) {
        good = take_anthropic_field(&cursor, key, &counts);
    }
    good = good && json_finish(&cursor) && (counts.input >= 0 || counts.output >= 0);

    struct usage read = *before;
    read.input = counts.input >= 0 ? counts.input : read.input;
    read.cache_read = counts.cache_read >= 0 ? counts.cache_read : read.cache_read;
    read.output = counts.output >= 0 ? counts.output : read.output;
    read.reasoning = counts.thinking >= 0 ? counts.thinking : read.reasoning;
    settle_writes(&counts, &read);
    read.known |= (counts.input >= 0 ? USAGE_INPUT : 0u) | (counts.output >= 0 ? USAGE_OUTPUT : 0u);
    if ((read.known & USAGE_INPUT) && (read.known & USAGE_OUTPUT)) {
        read.known &= ~(uint32_t)USAGE_MALFORMED; /* a later block made it whole */
    }
    if (!good || !usage_valid(&read)) {
        *usage = *before;
        usage->known |= USAGE_MALFORMED;
        return false;
    }
    *usage = read;
    return true;
}
