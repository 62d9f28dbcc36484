/* rows/pack.c: entries end in ';', their fields are parted by ','; no entries is the empty text.
 *
 * What is packed is canonical: one text a value, so unpacking refuses leading zeros, "-0", escapes
 * that were not needed and anything after the last ';'. Reasons go by code, since their numbers may
 * change. */
#include "rows/pack.h"

#define FIELD_END ','
#define ENTRY_END ';'

/* --- Writing. */

static char *
put_i64(char *at, int64_t value, char end)
{
    char digits[I64_TEXT_BYTES];
    const size_t len = i64_text(value, digits);
    memcpy(at, digits, len);
    at[len] = end;
    return at + len + 1;
}

void
pack_meters(const struct meter_row *row, struct buf *out)
{
    check(row->meter_count >= 0 && row->meter_count <= METERS_MAX);
    if (!buf_reserve(out, PACK_METERS_BYTES)) {
        return; /* out->failed tells */
    }
    char *at = out->ptr + out->len;
    for (int32_t i = 0; i < row->meter_count; i++) {
        const struct meter *meter = &row->meters[i];
        at = put_i64(at, meter->limit_id, FIELD_END);
        at = put_i64(at, meter->window_ms, FIELD_END);
        at = put_i64(at, meter->settled, FIELD_END);
        at = put_i64(at, meter->held, FIELD_END);
        at = put_i64(at, meter->bound, FIELD_END);
        at = put_i64(at, meter->aux, ENTRY_END);
    }
    out->len = (size_t)(at - out->ptr);
}

/* What a part is, as one number: a hexadecimal digit each. */
static int64_t
part_form(const struct hold_part *part)
{
    return (int64_t)part->to << 20 | (int64_t)part->from << 16 | (int64_t)part->enforced << 12
           | (int64_t)part->mode << 8 | (int64_t)part->counts << 4 | (int64_t)part->window;
}

static bool
part_take_form(struct hold_part *part, int64_t form)
{
    const bool plain = form >= 0 && form >> 24 == 0 && (form >> 12 & 15) <= 1;
    part->to = (int32_t)(form >> 20 & 15);
    part->from = (int32_t)(form >> 16 & 15);
    part->enforced = form >> 12 & 15;
    part->mode = (enum hold_mode)(form >> 8 & 15);
    part->counts = (enum count_kind)(form >> 4 & 15);
    part->window = (enum window_kind)(form & 15);
    return plain && part->mode <= HOLD_MODE_NONE && part->counts < COUNT_KIND_COUNT
           && part->window < WINDOW_KIND_COUNT;
}

void
pack_sets(const struct subject_row *row, struct buf *out)
{
    check(row->set_count >= 0 && row->set_count <= SETS_MAX);
    if (!buf_reserve(out, PACK_SETS_BYTES)) {
        return;
    }
    char *at = out->ptr + out->len;
    for (int32_t i = 0; i < row->set_count; i++) {
        const struct cap_set *set = &row->sets[i];
        at = put_i64(at, set->set_id, FIELD_END);
        at = put_i64(at, set->kind, FIELD_END);
        at = put_i64(at, set->amount, FIELD_END);
        at = put_i64(at, set->expires_ms, FIELD_END);
        at = put_i64(at, set->set_ms, ENTRY_END);
    }
    out->len = (size_t)(at - out->ptr);
}

void
pack_parts(const struct hold_row *row, struct buf *out)
{
    check(row->part_count >= 0 && row->part_count <= HOLD_PARTS_MAX);
    if (!buf_reserve(out, PACK_PARTS_BYTES)) {
        return;
    }
    char *at = out->ptr + out->len;
    for (int32_t i = 0; i < row->part_count; i++) {
        const struct hold_part *part = &row->parts[i];
        at = put_i64(at, part->limit_id, FIELD_END);
        at = put_i64(at, part->subject_id, FIELD_END);
        at = put_i64(at, part->window_ms, FIELD_END);
        at = put_i64(at, part->held, FIELD_END);
        at = put_i64(at, part->bound, FIELD_END);
        at = put_i64(at, part->cap, FIELD_END);
        at = put_i64(at, part_form(part), ENTRY_END);
    }
    out->len = (size_t)(at - out->ptr);
}

static bool
needs_escape(unsigned char byte)
{
    return byte < 0x20 || byte == 0x7F || byte == '%' || byte == FIELD_END || byte == ENTRY_END;
}

static void
add_name(struct buf *out, const char *name)
{
    static const char hex[] = "0123456789ABCDEF";
    for (const char *at = name; *at != '\0'; at++) {
        const unsigned char byte = (unsigned char)*at;
        if (needs_escape(byte)) {
            const char escape[3] = { '%', hex[byte >> 4], hex[byte & 15] };
            buf_add(out, escape, sizeof(escape));
        } else {
            buf_add_char(out, *at);
        }
    }
}

void
pack_attempts(const struct hold_row *row, struct buf *out)
{
    check(row->attempt_count >= 0 && row->attempt_count <= ATTEMPTS_MAX);
    for (int32_t i = 0; i < row->attempt_count; i++) {
        const struct attempt *attempt = &row->attempts[i];
        add_name(out, attempt->provider);
        buf_add_char(out, FIELD_END);
        add_name(out, attempt->model);
        buf_add_char(out, FIELD_END);
        buf_add_i64(out, attempt->state);
        buf_add_char(out, FIELD_END);
        buf_add_i64(out, attempt->status);
        buf_add_char(out, FIELD_END);
        buf_add_str(out, reason_row(attempt->reason)->code);
        buf_add_char(out, ENTRY_END);
    }
}

void
pack_reported(const struct reported_row *row, struct buf *out)
{
    check(row->window_count >= 0 && row->window_count <= REPORTED_MAX);
    for (int32_t i = 0; i < row->window_count; i++) {
        const struct reported_window *window = &row->windows[i];
        const char *const names[] = { window->credential, window->window, window->models };
        const int64_t numbers[] = { window->used_milli_pct, window->resets_at_ms,
            window->captured_ms, window->source };
        for (size_t k = 0; k < countof(names); k++) {
            add_name(out, names[k]);
            buf_add_char(out, FIELD_END);
        }
        for (size_t k = 0; k < countof(numbers); k++) {
            buf_add_i64(out, numbers[k]);
            buf_add_char(out, k + 1 < countof(numbers) ? FIELD_END : ENTRY_END);
        }
    }
}

/* --- Reading. Each take_* moves *at behind what it took; false leaves the rest unread. */

static bool
take_i64(const char **at, const char *end, char terminator, int64_t *value)
{
    const char *p = *at;
    const bool negative = p < end && *p == '-';
    if (negative) {
        p++;
    }
    const char *const first = p;
    uint64_t magnitude = 0;
    while (p < end && *p >= '0' && *p <= '9') {
        if (__builtin_mul_overflow(magnitude, UINT64_C(10), &magnitude)
            || __builtin_add_overflow(magnitude, (uint64_t)(*p - '0'), &magnitude)) {
            return false;
        }
        p++;
    }
    const bool canonical = p > first && (*first != '0' || (p == first + 1 && !negative));
    if (!canonical || p == end || *p != terminator) {
        return false;
    }
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return false;
    }
    /* Negated below INT64_MAX first: -INT64_MIN itself does not exist. */
    *value = negative ? -(int64_t)(magnitude - 1) - 1 : (int64_t)magnitude;
    *at = p + 1;
    return true;
}

static bool
take_i64s(const char **at, const char *end, int64_t *values, size_t value_count)
{
    for (size_t i = 0; i < value_count; i++) {
        const char terminator = i + 1 < value_count ? FIELD_END : ENTRY_END;
        if (!take_i64(at, end, terminator, &values[i])) {
            return false;
        }
    }
    return true;
}

bool
unpack_meters(struct slice text, struct meter_row *row)
{
    const char *at = text.ptr;
    const char *const end = text.len > 0 ? text.ptr + text.len : text.ptr;
    row->meter_count = 0;
    while (at < end) {
        int64_t values[6];
        if (row->meter_count == METERS_MAX || !take_i64s(&at, end, values, countof(values))) {
            return false;
        }
        row->meters[row->meter_count++] = (struct meter){
            .limit_id = values[0],
            .window_ms = values[1],
            .settled = values[2],
            .held = values[3],
            .bound = values[4],
            .aux = values[5],
        };
    }
    return true;
}

bool
unpack_sets(struct slice text, struct subject_row *row)
{
    const char *at = text.ptr;
    const char *const end = text.len > 0 ? text.ptr + text.len : text.ptr;
    row->set_count = 0;
    while (at < end) {
        int64_t values[5];
        if (row->set_count == SETS_MAX || !take_i64s(&at, end, values, countof(values))
            || values[1] < SET_CAP || values[1] >= SET_KIND_COUNT) {
            return false;
        }
        row->sets[row->set_count++] = (struct cap_set){
            .set_id = values[0],
            .kind = (enum cap_set_kind)values[1],
            .amount = values[2],
            .expires_ms = values[3],
            .set_ms = values[4],
        };
    }
    return true;
}

bool
unpack_parts(struct slice text, struct hold_row *row)
{
    const char *at = text.ptr;
    const char *const end = text.len > 0 ? text.ptr + text.len : text.ptr;
    row->part_count = 0;
    while (at < end) {
        int64_t values[7];
        if (row->part_count == HOLD_PARTS_MAX || !take_i64s(&at, end, values, countof(values))) {
            return false;
        }
        struct hold_part *part = &row->parts[row->part_count++];
        *part = (struct hold_part){
            .limit_id = values[0],
            .subject_id = values[1],
            .window_ms = values[2],
            .held = values[3],
            .bound = values[4],
            .cap = values[5],
        };
        if (!part_take_form(part, values[6])) {
            return false;
        }
    }
    return true;
}

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The text up to `terminator`, which is in `end`'s reach or the entry is broken. */
static bool
take_text(const char **at, const char *end, char terminator, struct slice *text)
{
    const char *const found = memchr(*at, terminator, (size_t)(end - *at));
    if (!found) {
        return false;
    }
    *text = slice_of(*at, (size_t)(found - *at));
    *at = found + 1;
    return true;
}

static bool
take_name(const char **at, const char *end, char *out, size_t out_size)
{
    struct slice text;
    if (!take_text(at, end, FIELD_END, &text)) {
        return false;
    }
    size_t out_len = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        if (byte == '%') {
            const int high = i + 2 < text.len ? hex_value(text.ptr[i + 1]) : -1;
            const int low = high >= 0 ? hex_value(text.ptr[i + 2]) : -1;
            byte = low >= 0 ? (unsigned char)(high * 16 + low) : 0;
            if (byte == 0 || !needs_escape(byte)) {
                return false;
            }
            i += 2;
        } else if (needs_escape(byte)) {
            return false;
        }
        if (out_len + 1 >= out_size) {
            return false;
        }
        out[out_len++] = (char)byte;
    }
    out[out_len] = '\0';
    return true;
}

static bool
take_attempt(const char **at, const char *end, struct attempt *attempt)
{
    int64_t state = 0;
    int64_t status = 0;
    struct slice code;
    if (!take_name(at, end, attempt->provider, sizeof(attempt->provider))
        || !take_name(at, end, attempt->model, sizeof(attempt->model))
        || !take_i64(at, end, FIELD_END, &state) || !take_i64(at, end, FIELD_END, &status)
        || !take_text(at, end, ENTRY_END, &code)) {
        return false;
    }
    attempt->reason = reason_from_code(code.ptr, code.len);
    if (attempt->reason == REASON_COUNT || state < 0 || state > ATTEMPT_DONE || status < 0
        || status > INT32_MAX) {
        return false;
    }
    attempt->state = (enum attempt_state)state;
    attempt->status = (int32_t)status;
    return true;
}

bool
unpack_attempts(struct slice text, struct hold_row *row)
{
    const char *at = text.ptr;
    const char *const end = text.len > 0 ? text.ptr + text.len : text.ptr;
    row->attempt_count = 0;
    while (at < end) {
        if (row->attempt_count == ATTEMPTS_MAX
            || !take_attempt(&at, end, &row->attempts[row->attempt_count])) {
            return false;
        }
        row->attempt_count++;
    }
    return true;
}

static bool
take_reported(const char **at, const char *end, struct reported_window *window)
{
    int64_t numbers[4];
    if (!take_name(at, end, window->credential, sizeof(window->credential))
        || !take_name(at, end, window->window, sizeof(window->window))
        || !take_name(at, end, window->models, sizeof(window->models))
        || !take_i64s(at, end, numbers, countof(numbers)) || numbers[3] < 0
        || numbers[3] >= REPORTED_SOURCE_COUNT) {
        return false;
    }
    window->used_milli_pct = numbers[0];
    window->resets_at_ms = numbers[1];
    window->captured_ms = numbers[2];
    window->source = (enum reported_source)numbers[3];
    return true;
}

bool
unpack_reported(struct slice text, struct reported_row *row)
{
    const char *at = text.ptr;
    const char *const end = text.len > 0 ? text.ptr + text.len : text.ptr;
    row->window_count = 0;
    while (at < end) {
        if (row->window_count == REPORTED_MAX
            || !take_reported(&at, end, &row->windows[row->window_count])) {
            return false;
        }
        row->window_count++;
    }
    return true;
}
