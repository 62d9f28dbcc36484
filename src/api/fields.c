/* api/fields.c: fields of a body and parameters of a query, read against one kind of list. What is not in
 * the list is refused, so that a typing error never does something else than was meant. */
#include "api/api_priv.h"

#include <stdio.h>

#include "base/civil.h"
#include "wire/json.h"

#define FIELDS_MAX 16

static bool
name_into(struct slice text, void *into)
{
    char *name = into;
    return text.len == 0 || (name_valid(text) && slice_to_cstr(text, name, NAME_MAX_BYTES + 1));
}

static bool
time_into(struct slice text, void *into)
{
    int64_t at_ms = 0;
    const bool number = slice_to_i64(text, &at_ms);
    if ((!number && !civil_parse_rfc3339(text, &at_ms)) || at_ms < 0 || at_ms > WALL_MS_MAX) {
        return false;
    }
    *(int64_t *)into = at_ms;
    return true;
}

static bool
kind_into(struct slice text, void *into)
{
    enum ledger_kind kind = LEDGER_SETTLE;
    if (!ledger_kind_from_word(text, &kind)) {
        return false;
    }
    *(int32_t *)into = (int32_t)kind;
    return true;
}

/* The text of a value, whatever its JSON type, into the field. */
static bool
field_set(const struct field *field, struct slice text)
{
    int64_t number = 0;
    switch (field->type) {
    case FIELD_NAME: return name_into(text, field->into);
    case FIELD_ROLE: return role_from_word(text, (enum key_role *)field->into);
    case FIELD_TIME: return time_into(text, field->into);
    case FIELD_KIND: return kind_into(text, field->into);
    case FIELD_ID: return api_id_parse(text, slice_str(field->prefix), (int64_t *)field->into);
    case FIELD_AMOUNT:
    case FIELD_DELTA:
        if (!slice_to_i64(text, &number) || number == 0 || number > MONEY_MICROS_MAX
            || number < -MONEY_MICROS_MAX || (number < 0 && field->type == FIELD_AMOUNT)) {
            return false;
        }
        *(int64_t *)field->into = number;
        return true;
    case FIELD_JSON: *(struct slice *)field->into = text; return slice_starts(text, SLICE("{"));
    case FIELD_BOOL:
        *(bool *)field->into = slice_eq(text, SLICE("true"));
        return slice_eq(text, SLICE("true")) || slice_eq(text, SLICE("false"));
    case FIELD_COUNT:
        if (!slice_to_i64(text, &number) || number < 1 || number > field->max) {
            return false;
        }
        *(int64_t *)field->into = number;
        return true;
    }
    return false;
}

static bool
is_digits(struct slice text)
{
    bool digits = text.len > 0;
    for (size_t i = 0; i < text.len; i++) {
        digits = digits && text.ptr[i] >= '0' && text.ptr[i] <= '9';
    }
    return digits;
}

/* What is wrong with a number that is no amount; NULL = it is none at all. */
static const char *
amount_fault(const struct field *field, struct slice text)
{
    const bool negative = slice_starts(text, SLICE("-"));
    const struct slice size =
        negative ? slice_of(text.ptr + 1, text.len - 1) : text; /* without its sign */
    const ptrdiff_t point = slice_find(size, SLICE("."));
    if (point > 0 && is_digits(slice_of(size.ptr, (size_t)point))) {
        return "must be a whole number, without a fraction";
    }
    if (!is_digits(size)) {
        return NULL;
    }
    if (negative && field->type == FIELD_AMOUNT) {
        return "must be a whole number above 0, and is below";
    }
    int64_t number = 0;
    const bool large = !slice_to_i64(size, &number) || number > MONEY_MICROS_MAX;
    return large ? "is too large; the highest is 2305843009213693951" : NULL;
}
_Static_assert(MONEY_MICROS_MAX == INT64_C(2305843009213693951), "as the sentence says");

/* "must be ..." */
static void
field_wants(const struct field *field, struct slice value, char out[160])
{
    const bool amount = field->type == FIELD_AMOUNT || field->type == FIELD_DELTA;
    const char *fault = amount ? amount_fault(field, value) : NULL;
    if (fault) {
        (void)snprintf(out, 160, "%s", fault);
        return;
    }
    const char *wanted = "something else";
    switch (field->type) {
    case FIELD_NAME: wanted = "a text of 1 to 127 printable bytes"; break;
    case FIELD_ROLE: wanted = "user, service, observer or admin"; break;
    case FIELD_TIME:
        wanted = "a time such as 2026-11-21T14:00:00Z, or milliseconds since 1970";
        break;
    case FIELD_KIND:
        wanted = "settle, unbilled, release, orphan, adjust, refusal, admin, warn or shadow";
        break;
    case FIELD_BOOL: wanted = "true or false"; break;
    case FIELD_AMOUNT: wanted = "a whole number above 0"; break;
    case FIELD_DELTA: wanted = "a whole number, below 0 to lower and above 0 to raise"; break;
    case FIELD_JSON: wanted = "an object"; break;
    case FIELD_ID: (void)snprintf(out, 160, "must be an id such as %s12", field->prefix); return;
    case FIELD_COUNT:
        (void)snprintf(out, 160, "must be a number from 1 to %lld", (long long)field->max);
        return;
    }
    (void)snprintf(out, 160, "must be %s", wanted);
}

struct reading {
    struct ask *ask;
    enum api_fault fault;
    const struct field *fields;
    size_t count;
    bool seen[FIELDS_MAX];
};

static void
refuse_field(const struct reading *reading, const char *name, const char *why)
{
    answer_field(reading->ask, reading->fault, name, why);
}

/* One pair; false when it is refused. */
static bool
take_pair(struct reading *reading, const char *name, struct slice value)
{
    for (size_t i = 0; i < reading->count; i++) {
        const struct field *field = &reading->fields[i];
        if (strcmp(field->name, name) != 0) {
            continue;
        }
        if (reading->seen[i]) {
            refuse_field(reading, name, "is given twice");
            return false;
        }
        reading->seen[i] = true;
        if (field_set(field, value)) {
            return true;
        }
        char why[160];
        field_wants(field, value, why);
        refuse_field(reading, name, why);
        return false;
    }
    refuse_field(reading, name, "is not known here");
    return false;
}

static bool
all_required(const struct reading *reading)
{
    for (size_t i = 0; i < reading->count; i++) {
        if (reading->fields[i].required && !reading->seen[i]) {
            refuse_field(reading, reading->fields[i].name, "is missing");
            return false;
        }
    }
    return true;
}

static bool
is_amount(const struct reading *reading, const char *name)
{
    for (size_t i = 0; i < reading->count; i++) {
        const struct field *field = &reading->fields[i];
        if (strcmp(field->name, name) == 0) {
            return field->type == FIELD_AMOUNT || field->type == FIELD_DELTA;
        }
    }
    return false;
}

static bool
take_member(struct reading *reading, struct slice key, struct json_value value)
{
    char name[NAME_MAX_BYTES + 1];
    char text[NAME_MAX_BYTES + 1];
    size_t name_len = 0;
    if (!json_unescape(key, name, sizeof(name) - 1, &name_len)) {
        refuse_field(reading, "...", "is longer than any name here");
        return false;
    }
    name[name_len] = '\0';
    for (size_t i = 0; i < reading->count; i++) {
        if (reading->fields[i].told && strcmp(reading->fields[i].name, name) == 0) {
            *reading->fields[i].told = true;
        }
    }
    if (value.type == JSON_NULL) {
        return true; /* as if it were not there */
    }
    if (value.type != JSON_STRING) {
        return take_pair(reading, name, value.text);
    }
    if (is_amount(reading, name)) {
        refuse_field(reading, name, "must be a number, and is a text: write it without quotes");
        return false;
    }
    size_t text_len = 0;
    if (!json_unescape(json_inside(value), text, sizeof(text), &text_len)) {
        refuse_field(reading, name, "is too long");
        return false;
    }
    return take_pair(reading, name, slice_of(text, text_len));
}

bool
fields_of_body(struct ask *ask, const struct field *fields, size_t count)
{
    struct reading reading = { ask, API_FAULT_FIELD, fields, count, { false } };
    struct json_value whole;
    struct json_cursor cursor;
    check(count <= FIELDS_MAX);
    if (!json_check(buf_slice(&ask->body), &whole) || whole.type != JSON_OBJECT) {
        answer_reason(ask, REASON_BODY_NOT_JSON);
        return false;
    }
    json_start(&cursor, whole.text);
    check(json_enter(&cursor, '{')); /* it was checked to be an object */
    struct slice key;
    while (json_next_member(&cursor, &key)) {
        struct json_value value;
        if (!json_take(&cursor, &value) || !take_member(&reading, key, value)) {
            return false;
        }
    }
    return all_required(&reading);
}

bool
fields_of_query(struct ask *ask, const struct field *fields, size_t count)
{
    struct reading reading = { ask, API_FAULT_PARAMETER, fields, count, { false } };
    struct slice rest = ask->query;
    struct slice pair = { 0 };
    check(count <= FIELDS_MAX);
    while (slice_split(&rest, '&', &pair)) {
        char name[64];
        char value[512];
        struct slice raw_name = { 0 };
        if (pair.len == 0) {
            continue;
        }
        (void)slice_split(&pair, '=', &raw_name); /* leaves the value in `pair` */
        if (!api_percent_decode(raw_name, true, name, sizeof(name))
            || !api_percent_decode(pair, true, value, sizeof(value))) {
            answer_fault(ask, API_FAULT_PARAMETER, "it is not well encoded, or too long.");
            return false;
        }
        if (!take_pair(&reading, name, slice_str(value))) {
            return false;
        }
    }
    return all_required(&reading);
}
