/* wire/reported.c: reports of how much of its own windows a provider says is used; see the header. */
#include "wire/reported.h"

#include <stdio.h>

#include "base/civil.h"
#include "base/money.h"
#include "wire/json.h"

/* Bare numbers from here on are epoch milliseconds, below them seconds. */
#define EPOCH_MS_MIN INT64_C(100000000000)
#define UNIFIED      "anthropic-ratelimit-unified-"

/* Digits to shift a decimal by, so that it is in thousandths of a percent. */
#define OF_PERCENT  3
#define OF_FRACTION 5

static bool
used_of(struct slice text, int digits, int64_t *used_milli_pct)
{
    return money_parse_scaled(text, digits, MONEY_DOWN, used_milli_pct) && *used_milli_pct >= 0
           && *used_milli_pct <= REPORTED_MILLI_PCT_MAX;
}

static bool
time_of(struct slice text, int64_t *at_ms)
{
    int64_t number = 0;
    if (money_parse_scaled(text, 0, MONEY_DOWN, &number)) {
        if (number < 0 || number > WALL_MS_MAX) {
            return false;
        }
        *at_ms = number < EPOCH_MS_MIN ? number * SECOND_MS : number;
        return true;
    }
    return civil_parse_rfc3339(text, at_ms) && *at_ms >= 0 && *at_ms <= WALL_MS_MAX;
}

/* --- Names of windows. */

static bool
is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* "opus" governs the models that are called so; applications that log in by themselves are no model. */
static bool
name_window(struct reported_window *window, struct slice length, struct slice suffix)
{
    struct buf name = { .ptr = window->window,
        .cap = sizeof window->window - 1,
        .limit_bytes = sizeof window->window - 1 };
    struct buf models = { .ptr = window->models,
        .cap = sizeof window->models - 1,
        .limit_bytes = sizeof window->models - 1 };
    for (size_t i = 0; i < length.len + suffix.len; i++) {
        const char c = i < length.len ? length.ptr[i] : suffix.ptr[i - length.len];
        if (!is_plain(c)) {
            return false;
        }
    }
    buf_add_slice(&name, length);
    if (slice_eq(suffix, SLICE("oauth_apps"))) {
        buf_add_str(&models, REPORTED_NO_MODELS);
    } else if (suffix.len > 0) {
        buf_add_char(&models, '*');
        buf_add_slice(&models, suffix);
        buf_add_char(&models, '*');
    }
    if (suffix.len > 0) {
        buf_add_char(&name, '_');
        buf_add_slice(&name, suffix);
    }
    window->window[name.len] = '\0';
    window->models[models.len] = '\0';
    return !name.failed && !models.failed && reported_span_ms(window->window) > 0;
}

/* --- Headers. */

/* "7d_opus" of "anthropic-ratelimit-unified-7d_opus-utilization"; empty: another header. */
static struct slice
window_of_header(struct slice name)
{
    const struct slice prefix = SLICE(UNIFIED);
    const struct slice end = SLICE("-utilization");
    if (name.len <= prefix.len + end.len || !slice_starts_nocase(name, prefix)
        || !slice_eq_nocase(slice_of(name.ptr + name.len - end.len, end.len), end)) {
        return slice_of(NULL, 0);
    }
    return slice_of(name.ptr + prefix.len, name.len - prefix.len - end.len);
}

static int64_t
reset_of_header(const struct http_head *head, struct slice window)
{
    char name[96];
    int64_t at_ms = 0;
    (void)snprintf(name, sizeof name, UNIFIED "%.*s-reset", (int)window.len, window.ptr);
    const struct http_header *header = http_find(head, slice_str(name));
    return header && time_of(slice_trim(header->value), &at_ms) ? at_ms : 0;
}

/* In its place by name; a window that is told twice counts once. */
static void
insert_window(struct reported_row *report, const struct reported_window *window)
{
    int32_t at = 0;
    int order = -1;
    while (at < report->window_count
           && (order = strcmp(report->windows[at].window, window->window)) < 0) {
        at++;
    }
    if (report->window_count == REPORTED_MAX || (at < report->window_count && order == 0)) {
        return;
    }
    memmove(&report->windows[at + 1], &report->windows[at],
        (size_t)(report->window_count - at) * sizeof *window);
    report->windows[at] = *window;
    report->window_count++;
}

void
reported_of_headers(
    const struct http_head *head, struct slice credential, struct reported_row *report)
{
    report->window_count = 0;
    for (uint32_t i = 0; i < head->header_count; i++) {
        const struct slice name = window_of_header(head->headers[i].name);
        struct reported_window window = { .source = REPORTED_BY_HEADERS };
        const char *at = name.len > 0 ? memchr(name.ptr, '_', name.len) : NULL;
        const size_t length = at ? (size_t)(at - name.ptr) : name.len;
        const struct slice suffix =
            at ? slice_of(at + 1, name.len - length - 1) : slice_of(NULL, 0);
        if (name.len == 0 || name.len > 32
            || !name_window(&window, slice_of(name.ptr, length), suffix)
            || !used_of(slice_trim(head->headers[i].value), OF_FRACTION, &window.used_milli_pct)
            || !slice_to_cstr(credential, window.credential, sizeof window.credential)) {
            continue;
        }
        window.resets_at_ms = reset_of_header(head, name);
        insert_window(report, &window);
    }
}

/* --- Bodies. */

struct reading {
    struct reported_row *report;
    struct reported_fault *fault;
    char credential[64];
    int64_t captured_ms;
};

static bool
wrong(struct reading *reading, const char *parent, const char *field, const char *why)
{
    (void)snprintf(reading->fault->field, sizeof reading->fault->field, "%s%s%s", parent,
        parent[0] && field[0] ? "." : "", field);
    reading->fault->why = why;
    return false;
}

static bool
take_used(struct reading *reading, const char *parent, const char *field, struct json_value value,
    struct reported_window *window)
{
    return (value.type == JSON_NUMBER && used_of(value.text, OF_PERCENT, &window->used_milli_pct))
           || wrong(reading, parent, field, "must be a number, a percentage of 0 or more");
}

static bool
take_reset(struct reading *reading, const char *parent, struct json_value value,
    struct reported_window *window)
{
    char text[64];
    if (value.type == JSON_NULL) {
        return true;
    }
    const bool good = value.type == JSON_STRING && json_to_cstr(value, text, sizeof text)
                      && civil_parse_rfc3339(slice_str(text), &window->resets_at_ms)
                      && window->resets_at_ms >= 0 && window->resets_at_ms <= WALL_MS_MAX;
    return good
           || wrong(reading, parent, "resets_at",
               "must be a time such as 2026-11-21T14:00:00Z, or null");
}

static bool
add_window(struct reading *reading, const char *parent, const struct reported_window *window)
{
    struct reported_row *report = reading->report;
    for (int32_t i = 0; i < report->window_count; i++) {
        if (strcmp(report->windows[i].window, window->window) == 0) {
            return wrong(reading, parent, "", "is told twice");
        }
    }
    if (report->window_count == REPORTED_MAX) {
        return wrong(reading, parent, "", "is more than the twelve windows that are kept");
    }
    report->windows[report->window_count++] = *window;
    return true;
}

/* What Anthropic tells: seven_day_opus and its like. */
static const struct {
    const char *name, *length, *suffix;
} known_windows[] = {
    { "five_hour", "5h", "" },
    { "seven_day", "7d", "" },
    { "seven_day_opus", "7d", "opus" },
    { "seven_day_sonnet", "7d", "sonnet" },
    { "seven_day_oauth_apps", "7d", "oauth_apps" },
};

static bool
take_known(struct reading *reading, size_t index, struct json_value object)
{
    const char *name = known_windows[index].name;
    struct reported_window window = { .source = REPORTED_BY_REPORT };
    struct json_value used, resets;
    if (object.type == JSON_NULL && index > 0) {
        return true; /* a plan without this window */
    }
    if (object.type != JSON_OBJECT) {
        return wrong(
            reading, name, "", index > 0 ? "must be an object, or null" : "must be an object");
    }
    if (!json_get(object.text, "utilization", &used)) {
        return wrong(reading, name, "utilization", "is missing");
    }
    if (!json_get(object.text, "resets_at", &resets)) {
        return wrong(reading, name, "resets_at", "is missing");
    }
    check(name_window(
        &window, slice_str(known_windows[index].length), slice_str(known_windows[index].suffix)));
    return take_used(reading, name, "utilization", used, &window)
           && take_reset(reading, name, resets, &window) && add_window(reading, name, &window);
}

static bool
take_anthropic(struct reading *reading, struct slice body)
{
    struct json_value object;
    for (size_t i = 0; i < countof(known_windows); i++) {
        const bool told = json_get(body, known_windows[i].name, &object);
        if (!told && i == 0) {
            return wrong(reading, known_windows[i].name, "", "is missing");
        }
        if (told && !take_known(reading, i, object)) {
            return false;
        }
    }
    return true;
}

/* ["claude-opus-*", ...] as they are stored, parted by commas. */
static bool
take_models(struct reading *reading, const char *parent, struct json_value list,
    struct reported_window *window)
{
    struct json_cursor cursor;
    struct json_value item;
    size_t len = 0;
    json_start(&cursor, list.text);
    if (list.type != JSON_ARRAY || !json_enter(&cursor, '[')) {
        return wrong(reading, parent, "models", "must be a list of names of models");
    }
    while (json_next_item(&cursor) && json_take(&cursor, &item)) {
        char name[sizeof window->models];
        const bool good = json_to_cstr(item, name, sizeof name) && name_valid(slice_str(name))
                          && !strchr(name, ',') && strcmp(name, REPORTED_NO_MODELS) != 0;
        const size_t size = strlen(name);
        if (!good || len + size + 2 > sizeof window->models) {
            return wrong(reading, parent, "models",
                "must be a list of names of models, less than 96 bytes in all");
        }
        if (len > 0) {
            window->models[len++] = ',';
        }
        memcpy(window->models + len, name, size + 1);
        len += size;
    }
    return true;
}

static bool
take_name(struct reading *reading, const char *parent, struct json_value value,
    struct reported_window *window)
{
    const bool good = json_to_cstr(value, window->window, sizeof window->window)
                      && reported_span_ms(window->window) > 0
                      && name_valid(slice_str(window->window));
    return good || wrong(reading, parent, "window", "must be a length such as 5h, 7d or 7d_opus");
}

static bool
take_window(struct reading *reading, int index, struct json_value object)
{
    static const char *const fields[] = { "window", "used_pct", "resets_at", "models" };
    struct reported_window window = { .source = REPORTED_BY_REPORT };
    struct json_cursor cursor;
    struct slice key;
    bool seen[countof(fields)] = { false };
    char parent[24];
    (void)snprintf(parent, sizeof parent, "windows.%d", index);
    json_start(&cursor, object.text);
    if (object.type != JSON_OBJECT || !json_enter(&cursor, '{')) {
        return wrong(reading, parent, "", "must be an object");
    }
    while (json_next_member(&cursor, &key)) {
        struct json_value value;
        size_t i = 0;
        while (i < countof(fields) && !json_key_is(key, slice_str(fields[i]))) {
            i++;
        }
        if (i == countof(fields) || seen[i] || !json_take(&cursor, &value)) {
            return wrong(reading, parent, "",
                "has window, used_pct, resets_at and models, each once, and nothing else");
        }
        seen[i] = true;
        const bool good = i == 0   ? take_name(reading, parent, value, &window)
                          : i == 1 ? take_used(reading, parent, "used_pct", value, &window)
                          : i == 2 ? take_reset(reading, parent, value, &window)
                                   : take_models(reading, parent, value, &window);
        if (!good) {
            return false;
        }
    }
    if (!seen[0] || !seen[1]) {
        return wrong(reading, parent, fields[seen[0]], "is missing");
    }
    return add_window(reading, parent, &window);
}

static bool
take_windows(struct reading *reading, struct json_value list)
{
    struct json_cursor cursor;
    struct json_value item;
    json_start(&cursor, list.text);
    if (list.type != JSON_ARRAY || !json_enter(&cursor, '[')) {
        return wrong(reading, "windows", "", "must be a list");
    }
    for (int i = 0; json_next_item(&cursor) && json_take(&cursor, &item); i++) {
        if (!take_window(reading, i, item)) {
            return false;
        }
    }
    return reading->report->window_count > 0
           || wrong(reading, "windows", "", "must have at least one window");
}

/* What stands beside the windows in either form. */
static bool
take_beside(struct reading *reading, struct slice body)
{
    struct json_value value;
    char text[64];
    if (json_get(body, "credential", &value) && value.type != JSON_NULL
        && !(json_to_cstr(value, reading->credential, sizeof reading->credential)
             && name_valid(slice_str(reading->credential)))) {
        return wrong(reading, "credential", "", "must be a name of 1 to 63 printable bytes");
    }
    if (!json_get(body, "captured_at", &value) || value.type == JSON_NULL) {
        return true;
    }
    const bool good = json_to_cstr(value, text, sizeof text)
                      && civil_parse_rfc3339(slice_str(text), &reading->captured_ms)
                      && reading->captured_ms > 0 && reading->captured_ms <= WALL_MS_MAX;
    return good || wrong(reading, "captured_at", "", "must be a time such as 2026-11-21T14:00:00Z");
}

bool
reported_of_json(struct slice body, struct reported_row *report, struct reported_fault *fault)
{
    struct reading reading = { .report = report, .fault = fault };
    struct json_value whole, value;
    report->window_count = 0;
    if (!json_check(body, &whole) || whole.type != JSON_OBJECT) {
        return wrong(&reading, "", "", "must be a JSON object");
    }
    const bool neutral = json_get(whole.text, "windows", &value);
    if (!take_beside(&reading, whole.text)
        || !(neutral ? take_windows(&reading, value)
                     : take_anthropic(&reading,
                         json_get(whole.text, "usage", &value) ? value.text : whole.text))) {
        report->window_count = 0;
        return false;
    }
    for (int32_t i = 0; i < report->window_count; i++) {
        struct reported_window *window = &report->windows[i];
        memcpy(window->credential, reading.credential, sizeof window->credential);
        window->captured_ms = reading.captured_ms;
    }
    return true;
}

void
reported_long_name(const char *window, char out[48])
{
    static const struct {
        const char *length, *name;
    } names[] = { { "5h", "five_hour" }, { "7d", "seven_day" } };
    for (size_t i = 0; i < countof(names); i++) {
        const struct slice length = slice_str(names[i].length);
        const bool has = slice_starts(slice_str(window), length);
        if (has && (window[length.len] == '\0' || window[length.len] == '_')) {
            (void)snprintf(out, 48, "%s%s", names[i].name, window + length.len);
            return;
        }
    }
    (void)snprintf(out, 48, "%s", window);
}
