/* api/adjust_use.c: corrections of what somebody has used of a limit, in the window that is open: whoever a limit
 * can count for. */
#include "api/adjust_priv.h"

#include "base/plural.h"
#include "log/log.h"

#define LISTED_MAX 20 /* names in a sentence that says which there are */

/* --- Whom a limit counts for, in the words of a body. */

/* Bits of what a body may name. */
enum { NAMES_ACCOUNT = 1, NAMES_KEY = 2, NAMES_THREAD = 4, NAMES_FIRST = 8 };
#define NAMES(name) (NAMES_FIRST << ADJUST_##name)

static const struct {
    unsigned bit;
    const char *field;
} named_by[] = {
    { NAMES_ACCOUNT, "account" },
    { NAMES_KEY, "key" },
    { NAMES_THREAD, "thread" },
    { NAMES(MODEL), "model" },
    { NAMES(TIER), "tier" },
    { NAMES(PLAN), "plan" },
    { NAMES(GROUP), "group" },
    { NAMES(ORGANISATION), "organisation" },
    { NAMES(TAG), "tag" },
};

static const struct {
    unsigned wanted;
    enum subject_kind kind;
    enum adjust_name name; /* that becomes the subject's */
} forms[PER_KIND_COUNT] = {
    [PER_GATEWAY] = { 0, SUBJECT_GATEWAY, ADJUST_NAME_COUNT },
    [PER_ACCOUNT] = { NAMES_ACCOUNT, SUBJECT_ACCOUNT, ADJUST_NAME_COUNT },
    [PER_KEY] = { NAMES_KEY, SUBJECT_KEY, ADJUST_NAME_COUNT },
    [PER_THREAD_TREE] = { NAMES_THREAD, SUBJECT_TREE, ADJUST_NAME_COUNT },
    [PER_MODEL] = { NAMES(MODEL), SUBJECT_MODEL, ADJUST_MODEL },
    [PER_ACCOUNT_MODEL] = { NAMES_ACCOUNT | NAMES(MODEL), SUBJECT_ACCOUNT_MODEL, ADJUST_MODEL },
    [PER_PLAN] = { NAMES(PLAN), SUBJECT_PLAN, ADJUST_PLAN },
    [PER_GROUP] = { NAMES(GROUP), SUBJECT_GROUP, ADJUST_GROUP },
    [PER_TAG] = { NAMES(TAG), SUBJECT_TAG, ADJUST_TAG },
    [PER_TIER] = { NAMES(TIER), SUBJECT_TIER, ADJUST_TIER },
    [PER_ORGANISATION] = { NAMES(ORGANISATION), SUBJECT_ORGANISATION, ADJUST_ORGANISATION },
};

static unsigned
names_given(const struct adjust_body *body)
{
    unsigned given = (body->account[0] ? NAMES_ACCOUNT : 0U) | (body->key ? NAMES_KEY : 0U)
                     | (body->thread ? NAMES_THREAD : 0U);
    for (unsigned i = 0; i < ADJUST_NAME_COUNT; i++) {
        given |= body->names[i][0] ? (unsigned)NAMES_FIRST << i : 0U;
    }
    return given;
}

bool
adjust_names_somebody(const struct adjust_body *body)
{
    return names_given(body) != 0;
}

/* Whether the body names what the limit counts for, and nothing else; else it is answered. */
static bool
names_fit(struct ask *ask, const struct limit *limit, const struct adjust_body *body)
{
    const unsigned wanted = forms[limit->per].wanted;
    const unsigned given = names_given(body);
    struct buf why = { 0 };
    const char *field = NULL;
    for (size_t i = 0; i < countof(named_by) && !field; i++) {
        if ((wanted ^ given) & named_by[i].bit) {
            field = named_by[i].field;
            buf_addf(&why, "%s: the limit '%s' counts per %s",
                wanted & named_by[i].bit ? "is missing" : "is too much", limit->name,
                per_word(limit->per));
        }
    }
    if (field) {
        answer_field(ask, API_FAULT_FIELD, field, buf_cstr(&why));
    }
    buf_free(&why);
    return !field;
}

/* --- Names that belong to no account: configured, or met before. */

struct known_names {
    enum subject_kind kind;
    const char *wanted;
    bool found, failed;
    int64_t count;
    struct buf listed;
};

static void
know_name(struct known_names *known, const char *name)
{
    char quoted[NAME_MAX_BYTES + 8];
    known->found |= strcmp(known->wanted, name) == 0;
    struct buf text = {
        .ptr = quoted, .cap = sizeof(quoted) - 1, .limit_bytes = sizeof(quoted) - 1
    };
    buf_addf(&text, "'%s'", name);
    quoted[text.len] = '\0';
    if (name[0] == '\0' || slice_find(buf_slice(&known->listed), slice_str(quoted)) >= 0) {
        return; /* of none, or told already */
    }
    if (known->count++ < LISTED_MAX) {
        buf_addf(&known->listed, "%s%s", known->listed.len ? ", " : "", quoted);
    }
}

static bool
know_subject(void *user, const struct subject_row *row)
{
    struct known_names *known = user;
    if (row->kind == known->kind) {
        know_name(known, row->name);
    }
    return true;
}

static void
know_configured(
    struct known_names *known, const struct policy *policy, const struct names *accounts)
{
    switch (known->kind) {
    case SUBJECT_MODEL:
    case SUBJECT_ACCOUNT_MODEL:
        for (int32_t i = 0; i < policy->model_count; i++) {
            know_name(known, policy->models[i].name);
        }
        return;
    case SUBJECT_PLAN:
        for (int32_t i = 0; i < policy->plan_count; i++) {
            know_name(known, policy->plans[i]);
        }
        return;
    case SUBJECT_GROUP:
        for (int32_t i = 0; i < policy->group_count; i++) {
            know_name(known, policy->groups[i].name);
        }
        return;
    case SUBJECT_TIER:
        know_name(known, "free");
        know_name(known, "premium");
        return;
    case SUBJECT_ORGANISATION:
        for (size_t i = 0; i < accounts->count; i++) {
            know_name(known, accounts->rows[i].organisation);
        }
        return;
    default: return;
    }
}

/* False: answered, with the names there are. */
static bool
name_is_known(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    enum subject_kind kind, const char *name)
{
    const struct subject_filter of_nobody = { 0 };
    struct known_names known = { .kind = kind, .wanted = name };
    if (!names_ready(worker, ask)) {
        return false;
    }
    know_configured(&known, policy, &worker->names);
    const enum status status =
        known.found ? STATUS_OK
                    : store_read_subjects(worker->reader, &of_nobody, know_subject, &known);
    if (status != STATUS_OK) {
        worker_read_failed(worker, ask);
    } else if (!known.found) {
        struct buf text = { 0 };
        buf_addf(&text, "'%s'", name);
        if (kind == SUBJECT_TAG) { /* what others' calls said is not handed around */
            buf_add_str(&text, ": no call that is counted had this tag.");
        } else {
            buf_addf(&text, "; there %s %s%s.", plural_are(known.count),
                known.count ? buf_cstr(&known.listed) : "none yet",
                known.count > LISTED_MAX ? ", and more" : "");
        }
        answer_fault(ask, API_FAULT_SUBJECT_UNKNOWN, buf_cstr(&text));
        buf_free(&text);
    }
    buf_free(&known.listed);
    return status == STATUS_OK && known.found;
}

/* --- Whose use it is, into the event. */

/* "search" or "team=search": a tag's subject is known by both. */
static void
tag_name(const struct limit *limit, const char *given, char name[NAME_MAX_BYTES + 1])
{
    struct buf text = { .ptr = name, .cap = NAME_MAX_BYTES, .limit_bytes = NAME_MAX_BYTES };
    const size_t tag_len = strlen(limit->tag_name);
    const bool whole = strncmp(given, limit->tag_name, tag_len) == 0 && given[tag_len] == '=';
    if (!whole) {
        buf_addf(&text, "%s=", limit->tag_name);
    }
    buf_add_str(&text, given);
    name[text.len] = '\0';
}

/* A key or a thread that there is; else answered. */
static bool
row_is_there(struct api_worker *worker, struct ask *ask, enum need_kind kind, int64_t id)
{
    const struct need need = { .kind = kind, .id = id };
    union need_row row;
    const enum status status = id ? store_read_row(worker->reader, &need, &row) : STATUS_OK;
    if (status == STATUS_NOT_FOUND) {
        answer_fault(
            ask, kind == NEED_KEY ? API_FAULT_KEY_UNKNOWN : API_FAULT_THREAD_UNKNOWN, NULL);
    } else if (status != STATUS_OK) {
        worker_read_failed(worker, ask);
    }
    return status == STATUS_OK;
}

/* False: answered. */
static bool
find_whose(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    const struct limit *limit, const struct adjust_body *body, struct event *event)
{
    struct admin_cap *cap = &event->admin.cap;
    const enum adjust_name name = forms[limit->per].name;
    int64_t account_id = 0;
    cap->limit_id = limit->limit_id;
    cap->kind = forms[limit->per].kind;
    cap->thread_id = body->thread;
    event->admin.key.key_id = body->key;
    (void)slice_to_cstr(
        slice_str(body->account), event->admin.account.name, sizeof(event->admin.account.name));
    if (name == ADJUST_TAG) {
        tag_name(limit, body->names[name], cap->name);
    } else if (name != ADJUST_NAME_COUNT) {
        memcpy(cap->name, body->names[name], sizeof(cap->name));
    }
    return names_id_of(worker, ask, body->account, &account_id)
           && row_is_there(worker, ask, NEED_KEY, body->key)
           && row_is_there(worker, ask, NEED_THREAD, body->thread)
           && (name == ADJUST_NAME_COUNT
               || name_is_known(worker, ask, policy, cap->kind, cap->name));
}

/* --- The change. */

static bool
take_delta(
    struct ask *ask, const struct limit *limit, const struct adjust_body *body, int64_t *delta)
{
    if (body->delta && !body->delta_micros && limit->counts == COUNT_COST) {
        answer_field(ask, API_FAULT_FIELD, "delta", API_MONEY_WANTED "`delta_micros`");
        return false;
    }
    if (body->delta_micros && (body->delta || limit->counts != COUNT_COST)) {
        answer_field(ask, API_FAULT_FIELD, "delta_micros",
            "is money, and this limit does not count cost: say `delta`");
        return false;
    }
    *delta = body->delta_micros ? body->delta_micros : body->delta;
    if (*delta == 0) {
        answer_field(ask, API_FAULT_FIELD, limit->counts == COUNT_COST ? "delta_micros" : "delta",
            "is missing");
    }
    return *delta != 0;
}

static void
render_use(struct ask *ask, const struct limit *limit, const struct adjust_body *body,
    const struct event *event)
{
    struct buf *out = answer_begin(ask, 200);
    put_text_or_null(out, "account", body->account);
    if (body->key) {
        put_id(out, "key", "key_", body->key);
    }
    if (body->thread) {
        put_id(out, "thread", "thr_", body->thread);
    }
    for (size_t i = 0; i < countof(named_by); i++) {
        const enum adjust_name name = forms[limit->per].name;
        if (name != ADJUST_NAME_COUNT && named_by[i].bit == (unsigned)NAMES_FIRST << name) {
            put_text(out, named_by[i].field, event->admin.cap.name);
        }
    }
    put_text(out, "limit", limit->name);
    put_text(out, "source", event->admin.actor);
    put_i64(out, limit->counts == COUNT_COST ? "delta_micros" : "delta", event->admin.adjust.delta);
    put_new_id(out, "row", "");
    answer_end(ask);
}

static void
change_use(struct api_worker *worker, struct ask *ask, const struct limit *limit,
    const struct adjust_body *body, struct event *event)
{
    struct verdict verdict;
    render_use(ask, limit, body, event);
    if (!adjust_ask_gate(worker, ask, event, body, &verdict)) {
        return;
    }
    switch (verdict.admin) {
    case ADMIN_DONE:
        log_line(LOG_INFO, "admin", "adjust by %s: limit '%s' of '%s%s', %lld", ask->actor,
            limit->name, body->account, event->admin.cap.name,
            (long long)event->admin.adjust.delta);
        break;
    case ADMIN_NOT_FOUND: answer_reason(ask, REASON_ACCOUNT_UNKNOWN); break;
    case ADMIN_FULL: answer_fault(ask, API_FAULT_CAPS_FULL, NULL); break;
    case ADMIN_CREDIT: answer_fault(ask, API_FAULT_CREDIT, NULL); break;
    case ADMIN_TOO_MUCH: answer_fault(ask, API_FAULT_TOO_MUCH, NULL); break;
    default: answer_fault(ask, API_FAULT_CAP_MISPLACED, NULL); break;
    }
}

void
adjust_use(struct api_worker *worker, struct ask *ask, const struct policy *policy,
    const struct adjust_body *body)
{
    struct event event = admin_event(ask, ADMIN_ADJUST);
    const unsigned given = names_given(body);
    if (!body->limit[0] && (given & ~(unsigned)NAMES_ACCOUNT)) {
        answer_field(ask, API_FAULT_FIELD, "limit", "is missing: which one it has used");
        return;
    }
    const struct limit *limit = caps_limit(ask, policy, body->limit);
    if (!limit || !take_delta(ask, limit, body, &event.admin.adjust.delta)
        || !names_fit(ask, limit, body) || !find_whose(worker, ask, policy, limit, body, &event)) {
        return;
    }
    adjust_source(ask, body, &event);
    event.admin.adjust.no_credit = !body->credit;
    change_use(worker, ask, limit, body, &event);
}
