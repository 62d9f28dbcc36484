/* api/put.c: JSON as the control plane writes it, and the forms of an answer. */
#include "api/api_priv.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/civil.h"
#include "tbl/api_faults.h"
#include "wire/json.h"

/* --- JSON. Commas follow from the byte before: what opens is never the end of a value. */

static void
put_key(struct buf *out, const char *key)
{
    const char last = out->len > 0 ? out->ptr[out->len - 1] : '{';
    if (last != '{' && last != '[') {
        buf_add_char(out, ',');
    }
    if (key) {
        buf_add_json(out, slice_str(key));
        buf_add_char(out, ':');
    }
}

void
put_open(struct buf *out, const char *key, char bracket)
{
    put_key(out, key);
    buf_add_char(out, bracket);
}

void
put_close(struct buf *out, char bracket)
{
    buf_add_char(out, bracket);
}

void
put_slice(struct buf *out, const char *key, struct slice text)
{
    put_key(out, key);
    buf_add_json(out, text);
}

void
put_text(struct buf *out, const char *key, const char *text)
{
    put_slice(out, key, slice_str(text));
}

void
put_null(struct buf *out, const char *key)
{
    put_key(out, key);
    buf_add_str(out, "null");
}

void
put_text_or_null(struct buf *out, const char *key, const char *text)
{
    if (text && text[0]) {
        put_text(out, key, text);
    } else {
        put_null(out, key);
    }
}

void
put_i64(struct buf *out, const char *key, int64_t value)
{
    put_key(out, key);
    buf_add_i64(out, value);
}

void
put_bool(struct buf *out, const char *key, bool value)
{
    put_key(out, key);
    buf_add_str(out, value ? "true" : "false");
}

void
put_time(struct buf *out, const char *key, int64_t at_ms)
{
    char text[32];
    if (at_ms == 0) {
        put_null(out, key);
        return;
    }
    civil_rfc3339(at_ms, true, text);
    put_text(out, key, text);
}

/* A text, since JSON's readers lose the last digits of a number this large. */
void
put_id(struct buf *out, const char *key, const char *prefix, int64_t id)
{
    char text[48];
    if (id == 0) {
        put_null(out, key);
        return;
    }
    (void)snprintf(text, sizeof(text), "%s%lld", prefix, (long long)id);
    put_text(out, key, text);
}

void
put_new_id(struct buf *out, const char *key, const char *prefix)
{
    put_key(out, key);
    buf_addf(out, "\"%s%c\"", prefix, RECEIPT_NUMBER);
}

void
put_json(struct buf *out, const char *key, struct slice json)
{
    struct json_value value;
    if (json.len == 0) {
        put_null(out, key);
    } else if (json_check(json, &value)) {
        put_key(out, key);
        buf_add_slice(out, json);
    } else {
        put_slice(out, key, json);
    }
}

/* --- Answers. */

struct buf *
answer_begin(struct ask *ask, int status)
{
    ask->status = status;
    buf_clear(&ask->out);
    ask->out.limit_bytes = API_ANSWER_BYTES_MAX;
    buf_add_char(&ask->out, '{');
    return &ask->out;
}

void
answer_end(struct ask *ask)
{
    buf_add_str(&ask->out, "}\n");
}

void
answer_header(struct ask *ask, const char *name, const char *value)
{
    check(http_write_header(&ask->headers, slice_str(name), slice_str(value)));
}

/* `field` NULL: it is about none. */
static void
answer_wrong(struct ask *ask, int status, const char *code, const char *field, const char *message)
{
    struct buf *out = answer_begin(ask, status);
    put_open(out, "error", '{');
    put_text(out, "code", code);
    put_text(out, "message", message);
    if (field) {
        put_text(out, "field", field);
    }
    put_close(out, '}');
    answer_end(ask);
}

void
answer_nothing(struct ask *ask)
{
    buf_clear(&ask->out);
    ask->status = 204;
}

void
answer_error(struct ask *ask, int status, const char *code, const char *format, ...)
{
    char text[5120]; /* the findings of a whole configuration */
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    answer_wrong(ask, status, code, NULL, text);
}

static const struct {
    const char *code;
    int status;
    const char *sentence;
} faults[] = {
#define API_FAULT_ROW(name, code, status, sentence) [API_FAULT_##name] = { code, status, sentence },
    API_FAULTS(API_FAULT_ROW)
#undef API_FAULT_ROW
};
_Static_assert(countof(faults) == API_FAULT_COUNT, "a row each");

void
answer_fault(struct ask *ask, enum api_fault fault, const char *detail)
{
    check((unsigned)fault < API_FAULT_COUNT);
    const char *sentence = faults[fault].sentence;
    if (!detail || !detail[0]) {
        answer_error(ask, faults[fault].status, faults[fault].code, "%s", sentence);
        return;
    }
    const int without_stop = (int)strlen(sentence) - 1; /* each ends in one */
    answer_error(
        ask, faults[fault].status, faults[fault].code, "%.*s: %s", without_stop, sentence, detail);
}

void
answer_field(struct ask *ask, enum api_fault fault, const char *field, const char *why)
{
    char text[512];
    const char *sentence = faults[fault].sentence;
    (void)snprintf(text, sizeof(text), "%.*s: '%.100s' %.300s.", (int)strlen(sentence) - 1,
        sentence, field, why);
    answer_wrong(ask, faults[fault].status, faults[fault].code, field, text);
}

void
answer_reason(struct ask *ask, enum reason reason)
{
    const struct reason_row *row = reason_row(reason);
    answer_error(ask, row->control_status, row->code, "%s", row->sentence);
    if (row->control_status == 401) {
        answer_header(ask, "WWW-Authenticate", "Bearer realm=\"tidegate\"");
    }
}
