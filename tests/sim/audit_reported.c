/* tests/sim/audit_reported.c: what is reported of providers' windows, and what limits on it say. The auditor keeps
 * what each report told, by the rules of the documentation, and judges from that. */
#include <stdio.h>
#include <string.h>

#include "audit_priv.h"

/* The same again so soon is not written anew. */
#define SAME_MS (10 * SECOND_MS)

static struct audit_told *
told_of(struct audit *audit, int64_t account_id)
{
    for (int i = 0; i < audit->told_count; i++) {
        if (audit->told[i].account_id == account_id) {
            return &audit->told[i];
        }
    }
    check(audit->told_count < AUDIT_ACCOUNTS + 1);
    struct audit_told *told = &audit->told[audit->told_count++];
    *told = (struct audit_told){ .account_id = account_id };
    return told;
}

/* --- Reports. */

static bool
same_place(const struct sim_told *a, const struct sim_told *b)
{
    return a->credential == b->credential && a->window == b->window;
}

/* It tells all there is of its credentials: what else was known of them goes. */
static void
forget_untold(struct audit_told *told, const struct sim_report *report, int64_t now_ms)
{
    int kept = 0;
    for (int i = 0; i < told->count; i++) {
        bool again = false, of_them = false;
        for (int k = 0; k < report->count; k++) {
            again = again || same_place(&report->items[k], &told->items[i]);
            of_them = of_them || report->items[k].credential == told->items[i].credential;
        }
        if (again || !of_them || told->items[i].captured_ms > now_ms) {
            told->items[kept++] = told->items[i];
        }
    }
    told->moved = told->moved || kept < told->count;
    told->count = kept;
}

/* Where there is no room the oldest goes. */
static struct sim_told *
place_for(struct audit_told *told, const struct sim_told *item, bool *is_new)
{
    struct sim_told *oldest = &told->items[0];
    *is_new = false;
    for (int i = 0; i < told->count; i++) {
        if (same_place(&told->items[i], item)) {
            return &told->items[i];
        }
        oldest = told->items[i].captured_ms < oldest->captured_ms ? &told->items[i] : oldest;
    }
    *is_new = true;
    if (told->count < REPORTED_MAX) {
        return &told->items[told->count++];
    }
    coverage.reported[CELL_OLDEST_WENT]++;
    return oldest;
}

static void
take_told(struct audit_told *told, const struct sim_told *item, bool whole, int64_t now_ms)
{
    struct sim_told own = *item;
    bool is_new = false;
    own.captured_ms = own.captured_ms == 0 || own.captured_ms > now_ms ? now_ms : own.captured_ms;
    struct sim_told *place = place_for(told, &own, &is_new);
    if (!is_new && own.captured_ms < place->captured_ms) {
        coverage.reported[CELL_OLDER]++;
        return;
    }
    const bool same = !is_new && own.used_milli_pct == place->used_milli_pct && own.resets_at_ms == place->resets_at_ms
                      && own.models == place->models;
    if (same && !whole && own.captured_ms - place->captured_ms < SAME_MS) {
        coverage.reported[CELL_SAME]++;
        return;
    }
    *place = own;
    told->moved = true;
}

void
audit_report(struct audit *audit, const struct sim_call *call, const struct verdict *verdict)
{
    const struct sim_report *report = &call->report;
    const enum status_of_admin wanted = report->twice ? ADMIN_INVALID : ADMIN_DONE;
    const int64_t now_ms = audit->node->engine->core.now_ms;
    if (verdict->kind != VERDICT_ALLOWED) {
        return;
    }
    if (verdict->admin != wanted) {
        broken(audit->world, "a report of account %lld is %s, which it is not", (long long)report->account_id,
            verdict->admin == ADMIN_DONE ? "taken" : "refused");
    }
    if (report->twice) {
        return;
    }
    struct audit_told *told = told_of(audit, report->account_id);
    if (report->whole) {
        forget_untold(told, report, now_ms);
    }
    for (int i = 0; i < report->count; i++) {
        take_told(told, &report->items[i], report->whole, now_ms);
    }
}

/* --- What is stored of them. */

static int
index_of(const char *name, const char *names, size_t stride, int count)
{
    for (int i = 0; i < count; i++) {
        const char *own = *(const char *const *)(const void *)(names + (size_t)i * stride);
        if (strcmp(own, name) == 0) {
            return i;
        }
    }
    return -1;
}

static bool
read_window(const struct reported_window *window, struct sim_told *told)
{
    *told = (struct sim_told){
        .credential = index_of(window->credential, (const char *)sim_credentials, sizeof sim_credentials[0], SIM_CREDENTIALS),
        .window = index_of(window->window, (const char *)&sim_windows[0].name, sizeof sim_windows[0], SIM_WINDOWS),
        .models = index_of(window->models, (const char *)&sim_model_sets[0].words, sizeof sim_model_sets[0], SIM_MODEL_SETS),
        .used_milli_pct = window->used_milli_pct,
        .resets_at_ms = window->resets_at_ms,
        .captured_ms = window->captured_ms
    };
    return told->credential >= 0 && told->window >= 0 && told->models >= 0;
}

static bool
same_told(const struct sim_told *a, const struct sim_told *b)
{
    return same_place(a, b) && a->models == b->models && a->used_milli_pct == b->used_milli_pct
           && a->resets_at_ms == b->resets_at_ms && a->captured_ms == b->captured_ms;
}

static void
compare_told(struct audit *audit, const struct audit_told *told, const struct reported_row *row)
{
    for (int32_t i = 0; i < row->window_count; i++) {
        struct sim_told stored;
        bool found = false;
        const bool known = read_window(&row->windows[i], &stored);
        for (int k = 0; known && k < told->count; k++) {
            found = found || same_told(&told->items[k], &stored);
        }
        if (!found || row->window_count != told->count) {
            broken(audit->world, "of account %lld is stored: '%s' %s (%s) at %lld of %lld, captured %lld, one of %d; reported were %d",
                (long long)row->account_id, row->windows[i].credential, row->windows[i].window, row->windows[i].models,
                (long long)row->windows[i].used_milli_pct, (long long)row->windows[i].resets_at_ms,
                (long long)row->windows[i].captured_ms, row->window_count, told->count);
        }
    }
}

/* Whose events nobody was told of is known by what is stored alone. */
static void
adopt(struct audit_told *told, const struct reported_row *row)
{
    told->count = 0;
    for (int32_t i = 0; i < row->window_count; i++) {
        told->count += read_window(&row->windows[i], &told->items[told->count]);
    }
}

void
audit_reported_rows(struct audit *audit)
{
    struct writes *writes = &audit->node->writes;
    for (int i = 0; i < writes->committed; i++) {
        const struct write *write = &writes->items[i];
        bool last = write->kind == WRITE_REPORTED;
        for (int k = i + 1; last && k < writes->committed; k++) {
            last = writes->items[k].kind != WRITE_REPORTED || writes->items[k].id != write->id;
        }
        if (!last) {
            continue;
        }
        struct audit_told *told = told_of(audit, write->id);
        told->moved = false;
        if (write->told) {
            compare_told(audit, told, &write->row.reported);
        } else {
            adopt(told, &write->row.reported);
        }
    }
    for (int i = 0; i < audit->told_count; i++) {
        if (audit->told[i].moved) {
            broken(audit->world, "what was reported of account %lld is not in the store",
                (long long)audit->told[i].account_id);
        }
    }
}

/* --- Judgements. */

static bool
is_for(const struct sim_limit *limit, const struct sim_told *told, const char *model)
{
    return sim_windows[told->window].span_ms == limit->span_ms
           && (sim_model_sets[told->models].models >> model_index(model) & 1) != 0;
}

static bool
is_of(const struct sim_told *told, const char *provider)
{
    const char *credential = sim_credentials[told->credential];
    return !credential[0] || strcmp(credential, provider) == 0;
}

/* Of a provider that the call does not go to: the company's credentials are all a provider's. */
static bool
is_of_another(const struct sim_limit *limit, const struct sim_told *told, const char *provider)
{
    const char *credential = sim_credentials[told->credential];
    const bool elsewhere = strcmp(credential, "elsewhere") == 0;
    return !is_of(told, provider) && (form_of(limit)->per == PER_GATEWAY || !elsewhere);
}

static enum told_state
state_of(const struct sim_limit *limit, const struct sim_told *told, int64_t now_ms)
{
    if (told->resets_at_ms != 0 && now_ms >= told->resets_at_ms) {
        return TOLD_RESET;
    }
    return limit->max_age_ms > 0 && now_ms - told->captured_ms > limit->max_age_ms ? TOLD_STALE : TOLD_KNOWN;
}

static void
note_over(struct judgement *judged, const struct sim_told *told)
{
    const bool special = sim_model_sets[told->models].words[0] != '\0';
    const struct sim_told *first = judged->over_count > 0 ? judged->over[0] : NULL;
    const bool first_special = first && sim_model_sets[first->models].words[0] != '\0';
    const bool goes_before = first && (told->used_milli_pct > first->used_milli_pct
                                       || (told->used_milli_pct == first->used_milli_pct && special && !first_special));
    if (goes_before) {
        judged->over_count = 0;
    } else if (first && (told->used_milli_pct < first->used_milli_pct || special != first_special)) {
        return;
    }
    judged->over[judged->over_count++] = told;
}

/* Of the credential itself, or of one that nobody named; where there is neither, of any that no provider is called. */
static void
look_through(const struct audit_told *told, const struct sim_limit *limit, const char *model, const char *provider, int64_t cap_pct,
    int64_t now_ms, struct judgement *judged)
{
    for (int i = 0; i < told->count; i++) {
        judged->own = judged->own || (is_for(limit, &told->items[i], model) && is_of(&told->items[i], provider));
    }
    for (int i = 0; i < told->count; i++) {
        const struct sim_told *item = &told->items[i];
        const bool full = cap_pct != CAP_UNLIMITED && item->used_milli_pct >= cap_pct * 1000;
        if (!is_for(limit, item, model)) {
            judged->others_full = judged->others_full || (full && sim_windows[item->window].span_ms == limit->span_ms);
            continue;
        }
        if ((judged->own && !is_of(item, provider)) || is_of_another(limit, item, provider)) {
            judged->foreign_full = judged->foreign_full || full;
            continue;
        }
        const enum told_state state = state_of(limit, item, now_ms);
        judged->seen[state]++;
        judged->passed_full = judged->passed_full || (state == TOLD_RESET && full);
        judged->stale_full = judged->stale_full || (state == TOLD_STALE && full);
        if (state == TOLD_KNOWN && full) {
            note_over(judged, item);
        }
    }
}

static void
judge(struct audit *audit, const struct sim_limit *limit, const char *model, const char *provider, int64_t account_id,
    int64_t cap_pct, int64_t now_ms, struct judgement *judged)
{
    const struct audit_told *told = told_of(audit, form_of(limit)->per == PER_GATEWAY ? 0 : account_id);
    *judged = (struct judgement){ .reason = REASON_OK };
    look_through(told, limit, model, provider, cap_pct, now_ms, judged);
    const int seen = judged->seen[TOLD_KNOWN] + judged->seen[TOLD_STALE] + judged->seen[TOLD_RESET];
    const bool unknown = (seen == 0 && limit->on_missing == FACT_DENY)
                         || (judged->seen[TOLD_STALE] > 0 && limit->on_stale == FACT_DENY);
    judged->seen[TOLD_MISSING] = seen == 0;
    if (cap_pct == CAP_UNLIMITED) {
        return;
    }
    judged->reason = judged->over_count > 0 ? (limit->span_ms <= DAY_MS ? REASON_SESSION_THRESHOLD : REASON_WEEK_THRESHOLD)
                     : unknown              ? REASON_USAGE_UNKNOWN
                                            : REASON_OK;
}

static void
cover_judged(const struct sim_limit *limit, const struct judgement *judged)
{
    const bool admits = judged->reason == REASON_OK;
    coverage.reported[CELL_KNOWN_ADMITS] += judged->seen[TOLD_KNOWN] > 0 && admits;
    coverage.reported[CELL_RESET_ADMITS] += judged->passed_full && admits;
    coverage.reported[CELL_STALE_ADMITS] += judged->stale_full && admits;
    coverage.reported[CELL_MISSING_ADMITS] += judged->seen[TOLD_MISSING] && admits;
    coverage.reported[CELL_FOREIGN_ADMITS] += judged->foreign_full && admits;
    coverage.reported[CELL_OTHERS_ADMITS] += judged->others_full && admits;
    coverage.reported[CELL_SHORT_REFUSES] += judged->reason == REASON_SESSION_THRESHOLD;
    coverage.reported[CELL_LONG_REFUSES] += judged->reason == REASON_WEEK_THRESHOLD;
    coverage.reported[CELL_STALE_REFUSES] += judged->reason == REASON_USAGE_UNKNOWN && !judged->seen[TOLD_MISSING];
    coverage.reported[CELL_MISSING_REFUSES] += judged->reason == REASON_USAGE_UNKNOWN && judged->seen[TOLD_MISSING];
    coverage.reported[CELL_ANY_REFUSES] += judged->over_count > 0 && !judged->own;
    coverage.reported[CELL_COMPANY_REFUSES] += judged->over_count > 0 && form_of(limit)->per == PER_GATEWAY;
}

enum reason
audit_reported_judge(struct audit *audit, const struct asker *asker, int index, const char *provider, int64_t *cap_pct)
{
    const struct sim_limit *limit = &asker->config->limits[index];
    struct judgement judged;
    *cap_pct = audit_reported_cap(audit, asker, index);
    judge(audit, limit, asker->model, provider, asker->account->account_id, *cap_pct, asker->now_ms, &judged);
    if (*cap_pct != CAP_UNLIMITED) {
        cover_judged(limit, &judged);
    }
    return judged.reason;
}

/* A call that is put into a line is told how long it may stand there. */
static bool
tells_right(const struct sim_limit *limit, const struct judgement *judged, const struct verdict *verdict, int64_t now_ms)
{
    const struct refusal *refusal = &verdict->refusal;
    const bool waits = verdict->kind == VERDICT_WAIT;
    for (int i = 0; i < judged->over_count; i++) {
        const struct sim_told *told = judged->over[i];
        const bool ages = limit->max_age_ms > 0 && limit->on_stale != FACT_DENY;
        const int64_t wait_ms = told->resets_at_ms != 0 ? told->resets_at_ms - now_ms
                                : ages                  ? told->captured_ms + limit->max_age_ms + 1 - now_ms
                                                        : 0;
        if (refusal->used == told->used_milli_pct && refusal->resets_at_ms == told->resets_at_ms
            && (waits || refusal->retry_after_ms == wait_ms)) {
            return true;
        }
    }
    /* What is not known has no end that could be told. */
    return judged->over_count == 0 && refusal->retry_after_ms == 0;
}

/* By one of the routes: which of them is not told. */
void
audit_reported_refusal(struct audit *audit, const struct asker *asker, int index, const struct verdict *verdict, bool caps_unclear)
{
    const struct refusal *refusal = &verdict->refusal;
    const struct sim_limit *limit = &asker->config->limits[index];
    const struct sim_model *model = &sim_models[model_index(asker->model)];
    const int64_t cap_pct = caps_unclear ? refusal->cap / 1000 : audit_reported_cap(audit, asker, index);
    struct judgement judged = { 0 };
    for (int i = 0; i < model->route_count; i++) {
        const char *provider = sim_providers[model->routes[i].provider];
        if (limit->provider >= 0 && limit->provider != model->routes[i].provider) {
            continue;
        }
        judge(audit, limit, asker->model, provider, asker->account->account_id, cap_pct, asker->now_ms, &judged);
        if (judged.reason == refusal->reason && tells_right(limit, &judged, verdict, asker->now_ms)
            && refusal->cap == cap_pct * 1000 && limit->at_cap != AT_CAP_SHADOW) {
            cover_judged(limit, &judged);
            return;
        }
    }
    broken(audit->world, "refused (%s) by limit %s (reported, %lld ms): used %lld, cap %lld, resets %lld, again after %lld ms; by "
                         "what was reported: %s under cap %lld, %d windows known, %d stale, %d over",
        reason_row(refusal->reason)->code, limit->name, (long long)limit->span_ms, (long long)refusal->used, (long long)refusal->cap,
        (long long)refusal->resets_at_ms, (long long)refusal->retry_after_ms, reason_row(judged.reason)->code,
        (long long)cap_pct, judged.seen[TOLD_KNOWN], judged.seen[TOLD_STALE], judged.seen[TOLD_RESET]);
}
