/* wire/recorded.c: the inputs of a ledger row, read back. */
#include "wire/recorded.h"

#include "wire/json.h"

static void
text_of(struct slice object, const char *name, char *out, size_t out_size)
{
    struct json_value value;
    if (!json_get(object, name, &value) || !json_to_cstr(value, out, out_size)) {
        out[0] = '\0';
    }
}

static void
read_limit(struct slice object, struct recorded_limit *limit)
{
    *limit = (struct recorded_limit){ .nth = json_get_i64(object, "nth", 1),
        .settled = json_get_i64(object, "settled", 0),
        .held = json_get_i64(object, "held", 0),
        .cap = json_get_i64(object, "cap", CAP_UNLIMITED),
        .raised = json_get_i64(object, "raised", 0),
        .window_ms = json_get_i64(object, "window", 0),
        .units = json_get_i64(object, "units", 1) };
    text_of(object, "limit", limit->name, sizeof(limit->name));
    text_of(object, "tier", limit->tier, sizeof(limit->tier));
    if (!limit->tier[0]) {
        memcpy(limit->tier, "default", sizeof("default"));
    }
}

static void
read_limits(struct json_value list, struct recorded_call *call)
{
    struct json_cursor cursor;
    json_start(&cursor, list.text);
    if (!json_enter(&cursor, '[')) {
        return;
    }
    while (call->limit_count < HOLD_PARTS_MAX && json_next_item(&cursor)) {
        struct json_value item;
        struct json_value value;
        if (!json_take(&cursor, &item)) {
            return;
        }
        if (json_get(item.text, "from", &value)) {
            continue; /* it was asked for an attempt that came later */
        }
        read_limit(item.text, &call->limits[call->limit_count++]);
    }
}

/* Rows of before tell no span: nothing of theirs can be found again. */
static void
read_reports(struct slice inputs, struct recorded_call *call)
{
    struct json_value list;
    struct json_cursor cursor;
    if (!json_get(inputs, "reported", &list)) {
        return;
    }
    json_start(&cursor, list.text);
    if (!json_enter(&cursor, '[')) {
        return;
    }
    while (call->report_count < RECORDED_REPORTS_MAX && json_next_item(&cursor)) {
        struct json_value item;
        struct json_value value;
        if (!json_take(&cursor, &item)) {
            return;
        }
        const struct recorded_report report = { .span_ms = json_get_i64(item.text, "span_ms", 0),
            .company = json_get(item.text, "company", &value) && value.type == JSON_TRUE,
            .any = json_get(item.text, "captured_ms", &value),
            .used_milli_pct = json_get_i64(item.text, "used_milli_pct", 0),
            .resets_at_ms = json_get_i64(item.text, "resets_at_ms", 0),
            .captured_ms = json_get_i64(item.text, "captured_ms", 0) };
        if (report.span_ms > 0) {
            call->reports[call->report_count++] = report;
        }
    }
}

static void
read_tags(struct slice inputs, struct recorded_call *call)
{
    struct json_value tags;
    struct json_cursor cursor;
    struct slice key;
    if (!json_get(inputs, "tags", &tags)) {
        return;
    }
    json_start(&cursor, tags.text);
    if (!json_enter(&cursor, '{')) {
        return;
    }
    for (int i = 0; i < RECORDED_TAGS_MAX && json_next_member(&cursor, &key); i++) {
        struct json_value value;
        size_t len = 0;
        if (!json_take(&cursor, &value)
            || !json_unescape(key, call->tag_names[i], sizeof(call->tag_names[i]) - 1, &len)
            || !json_to_cstr(value, call->tags[i], sizeof(call->tags[i]))) {
            call->tag_names[i][0] = '\0';
            return;
        }
        call->tag_names[i][len] = '\0';
    }
}

/* A refusal tells of its limit at the top. */
static void
read_refused(struct slice inputs, struct recorded_call *call)
{
    struct recorded_limit *limit = &call->limits[0];
    read_limit(inputs, limit);
    limit->settled = json_get_i64(inputs, "used", 0);
    limit->tier[0] = '\0'; /* not recorded */
    call->limit_count = limit->name[0] ? 1 : 0;
    call->ask = json_get_i64(inputs, "ask", 0);
    call->resets_at_ms = json_get_i64(inputs, "resets_at_ms", 0);
}

bool
recorded_read(struct slice inputs, struct recorded_call *call)
{
    struct json_value value;
    struct json_value whole;
    *call = (struct recorded_call){ 0 };
    if (!json_check(inputs, &whole) || whole.type != JSON_OBJECT
        || json_get_i64(inputs, "v", 0) != 1) {
        return false;
    }
    const bool allowed = json_get(inputs, "limits", &value);
    if (allowed) {
        read_limits(value, call);
    } else {
        read_refused(inputs, call);
    }
    text_of(inputs, "api", call->api, sizeof(call->api));
    text_of(inputs, "estimator", call->estimator, sizeof(call->estimator));
    text_of(inputs, "organisation", call->organisation, sizeof(call->organisation));
    text_of(inputs, "substitute_for", call->substitute_for, sizeof(call->substitute_for));
    text_of(inputs, "substituted_by", call->substituted_by, sizeof(call->substituted_by));
    call->stream = json_get(inputs, "stream", &value) && value.type == JSON_TRUE;
    call->route = (int32_t)min_i64(max_i64(0, json_get_i64(inputs, "route", 0)), 63);
    call->input = json_get_i64(inputs, "input", -1);
    call->input_bound = json_get_i64(inputs, "input_bound", -1);
    call->output_bound = json_get_i64(inputs, "output_bound", -1);
    call->slice = json_get_i64(inputs, "slice", -1);
    call->least = json_get_i64(inputs, "least", -1);
    call->body_bytes = json_get_i64(inputs, "body_bytes", 0);
    call->input_bytes = json_get_i64(inputs, "input_bytes", -1);
    call->output_limit = json_get_i64(inputs, "output_limit", -1);
    call->lowered_to = json_get_i64(inputs, "lowered_to", -1);
    call->answers = json_get_i64(inputs, "answers", 1);
    call->price_pct = json_get_i64(inputs, "price_pct", 100);
    text_of(inputs, "field", call->about, sizeof(call->about));
    call->cannot_bound = json_get(inputs, "unbounded_by", &value);
    call->input_unbounded = json_get(inputs, "input_unbounded", &value) && value.type == JSON_TRUE;
    text_of(inputs, "tried", call->tried, sizeof(call->tried));
    text_of(inputs, "tried_reason", call->tried_reason, sizeof(call->tried_reason));
    call->waited_ms = max_i64(0, json_get_i64(inputs, "waited_ms", 0));
    call->output_floor = json_get_i64(inputs, "output_floor", 0);
    call->spend_limit_micros = json_get_i64(inputs, "spend_limit", 0);
    read_tags(inputs, call);
    read_reports(inputs, call);
    return true;
}
