/* tests/sim/audit_shadow.c: what limits that are only watched would have refused: what the auditor would have, and
 * nothing else; each is told with its verdict, and has a row of the ledger, the first of its kind in a minute. */
#include <stdio.h>
#include <string.h>

#include "audit_priv.h"

/* --- Would it have refused? */

/* Output tokens without which a call is not worth starting. */
static int64_t
least_output(const struct call_event *call)
{
    const int64_t answers = max_i64(1, call->output_count);
    const int64_t one = call->output_limit < 0 ? SIM_MAX_OUTPUT : min_i64(call->output_limit, SIM_MAX_OUTPUT);
    const int64_t most = call->api == API_EMBEDDINGS ? 0 : one * answers;
    return min_i64(most, max_i64(SIM_MIN_ANSWER, call->output_floor) * answers);
}

static int64_t
ask_of(const struct sim_config *config, const struct call_event *call, const struct hold_row *hold, const struct sim_limit *limit)
{
    const int64_t input = limit->mode == HOLD_MODE_STRICT ? hold->input_bound : hold->est_input;
    const int64_t least = least_output(call);
    int64_t ask = 1;
    switch (form_of(limit)->counts) {
    case COUNT_REQUESTS: return sim_weight(limit->weights, model_index(hold->model));
    case COUNT_COST: ask = audit_price(config, hold, input, least); break;
    case COUNT_TOKENS: ask = input + least; break;
    default: return 1;
    }
    return limit->mode == HOLD_MODE_NONE ? min_i64(1, ask) : ask;
}

enum shadowed
audit_would_refuse(const struct sim_config *config, const struct call_event *call, const struct hold_row *hold,
    const struct sim_limit *limit, int64_t cap, const struct stand *stand, int64_t level)
{
    const int64_t ask = ask_of(config, call, hold, limit);
    const int64_t period_ms = limit->period_ms;
    if (ask == 0 && form_of(limit)->counts == COUNT_COST) {
        return SHADOW_ADMITS;
    }
    if (form_of(limit)->window == WINDOW_BUCKET) {
        return (__int128)level + (__int128)ask * period_ms > (__int128)cap * period_ms ? SHADOW_REFUSES : SHADOW_ADMITS;
    }
    const bool only_settled = in_steps(limit) && limit->mode == HOLD_MODE_NONE;
    if (stand->together) {
        return only_settled                   ? SHADOW_UNCLEAR
               : stand->least + ask > cap     ? SHADOW_REFUSES
               : stand->most + ask <= cap     ? SHADOW_ADMITS
                                              : SHADOW_UNCLEAR;
    }
    return stand->settled + (only_settled ? 0 : stand->held) + ask > cap ? SHADOW_REFUSES : SHADOW_ADMITS;
}

void
audit_shadow_note(struct shadows *shadows, int64_t limit_id, const char *name, enum shadowed says)
{
    if (says == SHADOW_REFUSES && !shadows->must) {
        shadows->must = name;
    }
    coverage.shadow_admits += says == SHADOW_ADMITS;
    if (says != SHADOW_ADMITS && shadows->count < SIM_LIMITS_MAX * 4) {
        shadows->may[shadows->count++] = limit_id;
    }
}

/* --- Its rows. */

static uint64_t
key_of(int64_t account_id, int64_t key_id, const char *model, enum reason reason, int64_t minute_ms)
{
    uint64_t key = audit_hash((uint64_t)account_id, (uint64_t)key_id);
    key = audit_hash(key, audit_text_hash(model));
    key = audit_hash(key, (uint64_t)reason);
    return audit_hash(key, (uint64_t)minute_ms);
}

/* 2: its row is still to come; 1: it may have one more. */
static int
lacks(const struct audit *audit, const struct shadow_due *due)
{
    return due->rows == 0 && due->life == audit->node->life ? 2 : due->rows < due->verdicts;
}

/* Rows come in the order of their verdicts; repeats are of the newest. */
static bool
is_likelier(const struct audit *audit, const struct shadow_due *due, const struct shadow_due *than)
{
    const int by = lacks(audit, due) - lacks(audit, than);
    return by != 0 ? by > 0 : lacks(audit, due) == 2 ? due->turn < than->turn : due->turn > than->turn;
}

/* A row knows the limit by the name it had, and that may be another limit's now. */
static struct shadow_due *
due_of(struct audit *audit, uint64_t key, int64_t limit_id, const char *limit)
{
    struct shadow_due *likeliest = NULL;
    for (int i = 0; i < SHADOWS_MAX; i++) {
        struct shadow_due *due = &audit->shadows[i];
        const bool named = limit ? strcmp(due->limit, limit) == 0 || strcmp(due->also, limit) == 0
                                 : due->limit_id == limit_id && due->life == audit->node->life;
        if (due->verdicts > 0 && due->key == key && due->node == audit->node->index && named
            && (!likeliest || is_likelier(audit, due, likeliest))) {
            likeliest = due;
        }
    }
    return likeliest;
}

static void
expect_row(struct audit *audit, const struct call_event *call, const char *model, const struct refusal *refusal)
{
    const int64_t now_ms = audit->node->engine->core.now_ms;
    const uint64_t key = key_of(call->account_id, call->key_id, model, refusal->reason, now_ms - now_ms % MINUTE_MS);
    struct shadow_due *due = due_of(audit, key, refusal->limit_id, NULL);
    if (!due) {
        due = &audit->shadows[audit->shadow_count++ % SHADOWS_MAX]; /* the oldest is long over */
        *due = (struct shadow_due){ .key = key, .limit_id = refusal->limit_id, .node = audit->node->index, .life = audit->node->life, .turn = audit->turn };
        slice_to_cstr(slice_str(refusal->limit_name), due->limit, sizeof due->limit);
    }
    if (strcmp(due->limit, refusal->limit_name) != 0) {
        slice_to_cstr(slice_str(refusal->limit_name), due->also, sizeof due->also);
    }
    due->verdicts++;
}

void
audit_shadow_row(struct audit *audit, const struct write *write)
{
    const struct ledger_row *row = &write->row.ledger;
    const uint64_t key = key_of(row->account_id, row->key_id, row->model, row->reason, row->at_ms - row->at_ms % MINUTE_MS);
    struct shadow_due *due = due_of(audit, key, 0, write->about.limit);
    if (!due && !write->told) {
        return; /* whoever was told of the verdict died with it */
    }
    if (!due) {
        broken(audit->world, "limit '%s' is said to have refused account %lld %s, which no verdict told", write->about.limit,
            (long long)row->account_id, row->model);
    }
    due->rows += write->told; /* one that nobody was told of is written again, under another number */
    if (due->rows > due->verdicts) {
        broken(audit->world, "limit '%s' is said to have refused account %lld %s oftener than verdicts told", write->about.limit,
            (long long)row->account_id, row->model);
    }
}

/* A batch was committed: what was noted before goes with it. */
void
audit_shadows_due(struct audit *audit)
{
    for (int i = 0; audit->node->engine && audit->batch_turn == audit->turn && i < SHADOWS_MAX; i++) {
        const struct shadow_due *due = &audit->shadows[i];
        if (due->verdicts > 0 && due->rows == 0 && due->node == audit->node->index && due->life == audit->node->life
            && due->turn < audit->turn) {
            broken(audit->world, "limit '%s' would have refused, as a verdict told, and the ledger does not say so", due->limit);
        }
    }
}

/* --- With its verdict. */

void
audit_shadow(struct audit *audit, const struct call_event *call, const char *model, const struct verdict *verdict,
    const struct shadows *shadows)
{
    const struct refusal *refusal = &verdict->shadow;
    bool may = false;
    for (int i = 0; i < shadows->count; i++) {
        may = may || shadows->may[i] == refusal->limit_id;
    }
    if (refusal->reason == REASON_OK) {
        if (shadows->must) {
            broken(audit->world, "call %lld: limit %s, which is only watched, would have refused it, and its verdict tells of none",
                (long long)verdict->hold_id, shadows->must);
        }
        return;
    }
    if (!may) {
        broken(audit->world, "call %lld: limit %s (per %s, %s) would have refused it (%s), as its verdict tells: used %lld, held %lld, asked %lld, cap "
                             "%lld; by the rules it would not",
            (long long)verdict->hold_id, refusal->limit_name, per_word((enum per_kind)refusal->per),
            window_word((enum window_kind)refusal->window), reason_row(refusal->reason)->code, (long long)refusal->used,
            (long long)refusal->held, (long long)refusal->ask, (long long)refusal->cap);
    }
    coverage.shadow_refuses++;
    expect_row(audit, call, model, refusal);
}
