/* conf/groups.c: sets of accounts, and what calls are tagged with. */
#include "conf/limits_priv.h"

#include <stdlib.h>

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
members_read(struct conf *conf, const struct node *map, struct group *group)
{
    const struct node *list = conf_block(conf, map, OPTION_GROUP_MEMBERS);
    if (!list || list->child_count == 0) {
        return; /* a group may be empty as yet */
    }
    group->members = conf_alloc(conf, (size_t)list->child_count, sizeof *group->members);
    for (const struct node *node = list->first; node && group->members; node = node->next) {
        char seen[64];
        if (node->kind != NODE_SCALAR || !name_valid(node->text)) {
            report_add(&conf->report, node, "'members' wants names of accounts; this is %s",
                node_seen(node, seen));
            continue;
        }
        group->members[group->member_count++] = conf_copy(conf, node->text);
    }
    if (group->member_count > 1) {
        qsort(group->members, (size_t)group->member_count, sizeof *group->members, compare_names);
    }
}

static void
check_groups_per_account(struct conf *conf, const struct node *map)
{
    const struct policy *policy = conf->policy;
    const struct node *node = map->first;
    for (int32_t g = 0; g < policy->group_count; g++, node = node->next) {
        for (int32_t m = 0; m < policy->groups[g].member_count; m++) {
            int32_t groups[GROUPS_PER_ACCOUNT_MAX];
            const bool full = policy_groups_of(policy, policy->groups[g].members[m], groups)
                              == GROUPS_PER_ACCOUNT_MAX;
            if (full && groups[GROUPS_PER_ACCOUNT_MAX - 1] < g) {
                report_add(&conf->report, node->key,
                    "an account can be in %d groups; '%s' is in more", GROUPS_PER_ACCOUNT_MAX,
                    policy->groups[g].members[m]);
                return;
            }
        }
    }
}

void
conf_groups(struct conf *conf, const struct node *root)
{
    const struct node *map = conf_block(conf, root, OPTION_GROUPS);
    if (!map || map->child_count == 0) {
        return;
    }
    conf->policy->groups = conf_alloc(conf, (size_t)map->child_count, sizeof *conf->policy->groups);
    for (const struct node *node = map->first; node && conf->policy->groups; node = node->next) {
        struct group *group = &conf->policy->groups[conf->policy->group_count++];
        char seen[64];
        group->name = conf_copy(conf, node->key->text);
        if (!name_valid(node->key->text)) {
            report_add(&conf->report, node->key, "this is no name of a group: %s",
                node_seen(node->key, seen));
        }
        if (conf_keys(conf, node, "groups.*")) {
            group->organisation = conf_text(conf, node, OPTION_GROUP_ORGANISATION);
            members_read(conf, node, group);
        }
    }
    check_groups_per_account(conf, map);
}

static bool
field_valid(const char *field)
{
    return strcmp(field, "user") == 0
           || (strncmp(field, "metadata.", 9) == 0 && value_name(slice_str(field + 9), "_-", 63));
}

/* What carries a secret: tags stand in the store, and in pages. */
static bool
header_is_secret(struct slice name)
{
    static const char *const secret[] = { "authorization", "proxy-authorization", "cookie",
        "x-tidegate-key", "x-api-key", "api-key", "x-goog-api-key", "x-auth-token",
        "x-amz-security-token", "x-csrf-token", "x-xsrf-token" };
    for (size_t i = 0; i < countof(secret); i++) {
        if (slice_eq_nocase(name, slice_str(secret[i]))) {
            return true;
        }
    }
    return false;
}

/* What frames a message or its connection: it differs from call to call, and says nothing about who calls. */
static bool
header_frames(struct slice name)
{
    static const char *const frames[] = { "connection", "content-encoding", "content-length",
        "content-type", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade" };
    for (size_t i = 0; i < countof(frames); i++) {
        if (slice_eq_nocase(name, slice_str(frames[i]))) {
            return true;
        }
    }
    return false;
}

static void
tag_read(struct conf *conf, const struct node *map, struct tag *tag)
{
    if (!conf_keys(conf, map, "tags.*")) {
        return;
    }
    tag->header = conf_text(conf, map, OPTION_TAG_HEADER);
    tag->field = conf_text(conf, map, OPTION_TAG_BODY);
    if (!tag->header == !tag->field) {
        report_add(&conf->report, map->key,
            "a tag is said either by a header or by a field of the body: {header: x-team}");
    } else if (tag->header && !value_name(slice_str(tag->header), "-", 63)) {
        conf_wants(conf, doc_get(map, "header"), OPTION_TAG_HEADER);
    } else if (tag->header && header_is_secret(slice_str(tag->header))) {
        report_add(&conf->report, doc_get(map, "header"),
            "'%s' carries a secret, and what a tag says is stored and shown; take a header of its own such as x-team",
            tag->header);
    } else if (tag->header && header_frames(slice_str(tag->header))) {
        report_add(&conf->report, doc_get(map, "header"),
            "'%s' is about the message, not about who sends it; take a header of its own such as x-team",
            tag->header);
    } else if (tag->field && !field_valid(tag->field)) {
        conf_wants(conf, doc_get(map, "body"), OPTION_TAG_BODY);
    }
}

void
conf_tags(struct conf *conf, const struct node *root)
{
    const struct node *map = conf_block(conf, root, OPTION_TAGS);
    for (const struct node *node = map ? map->first : NULL; node; node = node->next) {
        if (conf->policy->tag_count == CALL_TAGS_MAX) {
            report_add(&conf->report, node->key, "at most %d tags can be declared", CALL_TAGS_MAX);
            return;
        }
        struct tag *tag = &conf->policy->tags[conf->policy->tag_count++];
        char seen[64];
        tag->name = conf_copy(conf, node->key->text);
        if (!value_name(node->key->text, "_-", 31)) {
            report_add(&conf->report, node->key,
                "a tag's name has up to 31 letters, digits, '_' and '-'; this is %s",
                node_seen(node->key, seen));
        }
        tag_read(conf, node, tag);
    }
}
