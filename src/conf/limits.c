/* conf/limits.c: limits: what they count, per whom, and the fingerprint that usage is kept by. */
#include <stdio.h>

#include "base/secret.h"
#include "conf/limits_priv.h"

#define LIMIT_NAME_BYTES_MAX 63
#define LIMITS_PER_CALL_MAX  HOLD_PARTS_MAX /* each is a part of the hold */

struct word_row {
    const char *word;
};
#define WORD_ROW(name, word) { word },
static const struct word_row count_words[] = { COUNT_KINDS(WORD_ROW) };
static const struct word_row per_words[] = { PER_KINDS(WORD_ROW) };
static const struct word_row window_words[] = { WINDOW_KINDS(WORD_ROW) };
#undef WORD_ROW

/* Index of a word, or -1. */
static int
word_find(const struct word_row *rows, size_t count, struct slice text)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(slice_str(rows[i].word), text)) {
            return (int)i;
        }
    }
    return -1;
}

int
window_find(struct slice text)
{
    return word_find(window_words, countof(window_words), text);
}

static void
report_no_word(struct conf *conf, const struct node *node, enum option option,
    const struct word_row *rows, size_t count)
{
    const char *words[32];
    char seen[64];
    for (size_t i = 0; i < count && i < countof(words); i++) {
        words[i] = rows[i].word;
    }
    const char *nearest = nearest_word(node->text, words, count);
    if (nearest) {
        report_add(&conf->report, node, "unknown word %s of '%s'; did you mean '%s'?",
            node_seen(node, seen), option_key(option), nearest);
    } else {
        conf_wants(conf, node, option);
    }
}

/* A word of a table; -1 after a finding, also when it is missing. */
static int
word_read(struct conf *conf, const struct node *map, enum option option,
    const struct word_row *rows, size_t count)
{
    const struct node *node = conf_find(conf, map, option);
    if (!node) {
        return -1;
    }
    if (node->kind != NODE_SCALAR) {
        conf_wants(conf, node, option);
        return -1;
    }
    const ptrdiff_t space = slice_find(node->text, SLICE(" ")); /* "reported 5h" */
    const struct slice first = slice_of(node->text.ptr, space < 0 ? node->text.len : (size_t)space);
    int word = word_find(rows, count, node->text);
    if (word < 0 && slice_eq(first, SLICE("reported"))) {
        word = word_find(rows, count, first);
    }
    if (word < 0) {
        report_no_word(conf, node, option, rows, count);
    }
    return word;
}

/* ---- which forms exist ---- */

static bool
count_exists(enum count_kind counts)
{
    for (int per = 0; per < PER_KIND_COUNT; per++) {
        for (int window = 0; window < WINDOW_KIND_COUNT; window++) {
            if (limit_form_exists(counts, (enum per_kind)per, (enum window_kind)window)) {
                return true;
            }
        }
    }
    return false;
}

/* Adds a piece of text while there is room. */
static void
say(char *out, size_t size, const char *piece)
{
    const size_t len = strlen(out);
    (void)snprintf(out + len, size - len, "%s", piece);
}

static void
report_no_count(struct conf *conf, const struct node *place, enum count_kind counts)
{
    char forms[200] = "";
    for (int other = 0; other < COUNT_KIND_COUNT; other++) {
        if (count_exists((enum count_kind)other)) {
            say(forms, sizeof forms, forms[0] == '\0' ? "" : ", ");
            say(forms, sizeof forms, count_word((enum count_kind)other));
        }
    }
    report_add(&conf->report, place,
        "limits that count %s do not exist in this version yet; these do: %s", count_word(counts),
        forms);
}

static void
report_no_form(struct conf *conf, const struct node *map, const struct limit *limit)
{
    const struct node *window = doc_get(map, "window");
    if (limit->counts == COUNT_IN_FLIGHT) {
        report_add(&conf->report, window->key,
            "calls in flight are counted now, over no window; take 'window' out");
    } else if (limit->counts == COUNT_REPORTED && window) {
        report_add(&conf->report, window->key,
            "the window of what is reported is the provider's: write counts: reported 5h, and take 'window' out");
    } else if (limit->counts == COUNT_REPORTED) {
        report_add(&conf->report, doc_get(map, "per"),
            "what is reported is of an account, or of the company's own credentials; write per: account or per: gateway");
    } else {
        report_add(&conf->report, window, "%s adds up over a time: %s", count_word(limit->counts),
            option_row(OPTION_LIMIT_WINDOW)->form);
    }
}

/* "reported 5h": the provider's window. */
static void
reported_span_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const struct node *node = doc_get(map, "counts");
    const ptrdiff_t space = slice_find(node->text, SLICE(" "));
    char seen[64];
    if (limit->counts != COUNT_REPORTED) {
        return;
    }
    const struct slice span =
        space < 0 ? SLICE("")
                  : slice_of(node->text.ptr + space + 1, node->text.len - (size_t)space - 1);
    if (!value_duration(span, &limit->span_ms) || limit->span_ms < MINUTE_MS
        || limit->span_ms > 366 * DAY_MS) {
        report_add(&conf->report, node,
            "what is reported is of a window of the provider's: write reported 5h or reported 7d; this is %s",
            node_seen(node, seen));
    }
}

static void
tag_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const char *name = conf_text(conf, map, OPTION_LIMIT_TAG);
    const struct node *node = doc_get(map, "tag");
    char seen[64];
    if (limit->per != PER_TAG) {
        if (node) {
            report_add(&conf->report, node->key, "only a limit per tag has one; take 'tag' out");
        }
        return;
    }
    for (int32_t i = 0; name && i < conf->policy->tag_count; i++) {
        if (strcmp(conf->policy->tags[i].name, name) == 0) {
            limit->tag = i;
            limit->tag_name = conf->policy->tags[i].name;
            return;
        }
    }
    if (node) {
        report_add(&conf->report, node, "there is no tag %s; tags are declared under 'tags'",
            node_seen(node, seen));
    } else {
        report_add(
            &conf->report, map->key, "'tag' is missing here: which of 'tags' the limit goes by");
    }
}

/* What must stay for caps that people set to be kept: what is counted, per whom. An amount for a rate, or for a
 * window that providers report, means something else than one for a span of time. */
static void
fingerprint_thing(struct limit *limit, const char *tag)
{
    char text[640];
    const bool reported = limit->counts == COUNT_REPORTED;
    const int len = snprintf(text, sizeof text,
        "counts=%s per=%s of_model=%s of_tier=%d of_provider=%s tag=%s bucket=%d reported_ms=%lld",
        count_word(limit->counts), per_word(limit->per), limit->of_model ? limit->of_model : "",
        (int)limit->of_tier, limit->of_provider ? limit->of_provider : "", tag ? tag : "",
        limit->window == WINDOW_BUCKET, reported ? (long long)limit->span_ms : 0LL);
    if (len > 0 && (size_t)len < sizeof text) {
        secret_hash_hex(slice_of(text, (size_t)len), limit->thing);
    }
}

/* What must stay for usage to be kept. A bucket's level is stored in units times its period, so the
 * period belongs to it; amounts never do. */
static void
fingerprint(struct limit *limit, const char *zone_name, const char *tag)
{
    char text[640]; /* words, a zone's name and a model's: each is bounded */
    const int len = snprintf(text, sizeof text,
        "counts=%s per=%s window=%s zone=%s of_model=%s of_tier=%d period_ms=%lld%s%s%s%s span_ms=%lld",
        count_word(limit->counts), per_word(limit->per), window_word(limit->window),
        zone_name ? zone_name : "", limit->of_model ? limit->of_model : "", (int)limit->of_tier,
        (long long)limit->period_ms, limit->of_provider ? " of_provider=" : "",
        limit->of_provider ? limit->of_provider : "", tag ? " tag=" : "", tag ? tag : "",
        (long long)limit->span_ms);
    if (len > 0 && (size_t)len < sizeof text) { /* a longer one was refused by its parts */
        secret_hash_hex(slice_of(text, (size_t)len), limit->fingerprint);
    }
}

static bool
limit_name_valid(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        const char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return name.len > 0 && name.len <= LIMIT_NAME_BYTES_MAX;
}

static void
was_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    const struct node *node = doc_get(map, "was");
    char seen[64];
    limit->was = conf_text(conf, map, OPTION_LIMIT_WAS);
    if (limit->was && !limit_name_valid(slice_str(limit->was))) {
        report_add(&conf->report, node,
            "no limit was ever called so: a name has up to %d of a-z, 0-9 and '-'; this is %s",
            LIMIT_NAME_BYTES_MAX, node_seen(node, seen));
    }
}

static void
limit_read(struct conf *conf, const struct node *map, struct limit *limit)
{
    if (!conf_keys(conf, map, "limits.*")) {
        return;
    }
    const int counts = word_read(conf, map, OPTION_LIMIT_COUNTS, count_words, countof(count_words));
    const int per = word_read(conf, map, OPTION_LIMIT_PER, per_words, countof(per_words));
    limit->counts = counts < 0 ? COUNT_COST : (enum count_kind)counts;
    limit->per = per < 0 ? PER_ACCOUNT : (enum per_kind)per;
    if (counts >= 0 && !count_exists(limit->counts)) {
        report_no_count(conf, doc_get(map, "counts"), limit->counts);
        return;
    }
    if (counts < 0 || per < 0 || !limit_window_read(conf, map, limit)) {
        return; /* what follows would only repeat it */
    }
    if (!limit_form_exists(limit->counts, limit->per, limit->window)) {
        report_no_form(conf, map, limit);
        return;
    }
    reported_span_read(conf, map, limit);
    tag_read(conf, map, limit);
    limit_rules_read(conf, map, limit);
    limit_cap_read(conf, map, limit);
    was_read(conf, map, limit);
    const char *zone_name = limit_zone_read(conf, map, limit);
    const char *tag = limit->per == PER_TAG ? conf->policy->tags[limit->tag].name : NULL;
    fingerprint(limit, zone_name, tag);
    fingerprint_thing(limit, tag);
}

/* ---- bounds ---- */

/* The most groups that one account is in. */
static int
groups_of_one_account(const struct policy *policy)
{
    int most = 0;
    for (int32_t g = 0; g < policy->group_count; g++) {
        for (int32_t m = 0; m < policy->groups[g].member_count; m++) {
            int32_t groups[GROUPS_PER_ACCOUNT_MAX];
            const int32_t count = policy_groups_of(policy, policy->groups[g].members[m], groups);
            most = count > most ? count : most;
        }
    }
    return most;
}

/* A limit per group has a part for each of the account's; money and tokens of an account have one more, of its
 * organisation. */
static int
parts_of(const struct limit *limit, int groups)
{
    const bool purse =
        limit->per == PER_ACCOUNT && (limit->counts == COUNT_COST || limit->counts == COUNT_TOKENS);
    return limit->counts == COUNT_REPORTED ? 0 : limit->per == PER_GROUP ? groups : purse ? 2 : 1;
}

/* A call carries at most so many holds; no model may be under more limits. */
static void
check_limits_per_call(struct conf *conf, const struct node *map)
{
    const int groups = groups_of_one_account(conf->policy);
    for (int32_t m = 0; m < conf->policy->model_count; m++) {
        const struct model *model = &conf->policy->models[m];
        const struct limit *limit = conf->policy->limits;
        int count = 0;
        for (const struct node *node = map->first; node; node = node->next, limit++) {
            count += limit_of_model(limit, model) ? parts_of(limit, groups) : 0;
            if (count > LIMITS_PER_CALL_MAX) {
                report_add(&conf->report, node->key,
                    "at most %d limits can apply to one call; this is one more for model '%s'",
                    LIMITS_PER_CALL_MAX, model->name);
                return;
            }
        }
    }
}

/* All meters of a subject live in one row; a calendar limit can need two, while calls of the window
 * before are in flight, a rolling one as many as it tells charges apart. */
static int
meters_of(const struct limit *limit)
{
    switch (limit->window) {
    case WINDOW_ROLLING: return ROLLING_METERS_MAX + 1;
    case WINDOW_DAY:
    case WINDOW_WEEK:
    case WINDOW_MONTH:
    case WINDOW_FIRST_USE: return 2;
    case WINDOW_REPORTED: return 0;
    default: return 1;
    }
}

static void
check_meters_per_subject(struct conf *conf, const struct node *map)
{
    int meter_counts[PER_KIND_COUNT] = { 0 };
    const struct limit *limit = conf->policy->limits;
    for (const struct node *node = map->first; node; node = node->next, limit++) {
        meter_counts[limit->per] += meters_of(limit);
        if (meter_counts[limit->per] > METERS_MAX) {
            report_add(&conf->report, node->key,
                "too many limits per %s: their meters must fit into one row of %d; a calendar limit takes two, a rolling one %d",
                per_word(limit->per), METERS_MAX, ROLLING_METERS_MAX + 1);
            return;
        }
    }
}

/* A name that is still in use, or that two limits had, was none of this one. */
static void
check_renames(struct conf *conf, const struct node *map)
{
    const struct limit *limits = conf->policy->limits;
    int32_t i = 0;
    for (const struct node *node = map->first; node; node = node->next, i++) {
        for (int32_t k = 0; limits[i].was && k < conf->policy->limit_count; k++) {
            if (strcmp(limits[i].was, limits[k].name) == 0) {
                report_add(&conf->report, conf_find(conf, node, OPTION_LIMIT_WAS),
                    "'%s' is configured still, in line %d: a limit can take over only what a name counted that is gone",
                    limits[i].was, limits[k].line);
            } else if (k < i && limits[k].was && strcmp(limits[i].was, limits[k].was) == 0) {
                report_add(&conf->report, conf_find(conf, node, OPTION_LIMIT_WAS),
                    "'%s' takes that over already, in line %d; keep one of them", limits[k].name,
                    limits[k].line);
            }
        }
    }
}

void
conf_limits(struct conf *conf, const struct node *root)
{
    const struct node *map = conf_block(conf, root, OPTION_LIMITS);
    if (!map || map->child_count == 0) {
        return;
    }
    if (map->child_count > POLICY_LIMITS_MAX) {
        report_add(&conf->report, map, "a configuration has at most %d limits", POLICY_LIMITS_MAX);
        return;
    }
    conf->policy->limits = conf_alloc(conf, (size_t)map->child_count, sizeof *conf->policy->limits);
    if (!conf->policy->limits) {
        return;
    }
    for (const struct node *node = map->first; node; node = node->next) {
        struct limit *limit = &conf->policy->limits[conf->policy->limit_count++];
        limit->name = conf_copy(conf, node->key->text);
        limit->line = node->key->line;
        limit->cap_default = CAP_UNLIMITED;
        limit->of_tier = -1;
        if (!limit_name_valid(node->key->text)) {
            char seen[64];
            report_add(&conf->report, node->key,
                "a limit's name has up to %d of a-z, 0-9 and '-'; this is %s", LIMIT_NAME_BYTES_MAX,
                node_seen(node->key, seen));
        }
        limit_read(conf, node, limit);
    }
    check_limits_per_call(conf, map);
    check_meters_per_subject(conf, map);
    limits_judge(conf, map);
    check_renames(conf, map);
}
