/* api/route.c: which endpoint a path is, over tbl/endpoints.h, and the small texts inside paths. Pure. */
#include "api/api_priv.h"

/* Whether `path` has the form of `pattern`; *segment is what stands for {x}. */
static bool
path_fits(struct slice pattern, struct slice path, struct slice *segment)
{
    *segment = (struct slice){ 0 };
    struct slice want = { 0 };
    while (slice_split(&pattern, '/', &want)) {
        struct slice part = { 0 };
        if (!slice_split(&path, '/', &part)) {
            return false;
        }
        if (want.len > 0 && want.ptr[0] == '{') {
            if (part.len == 0) {
                return false;
            }
            *segment = part;
        } else if (!slice_eq(want, part)) {
            return false;
        }
    }
    return path.len == 0;
}

static enum http_method
row_method(const struct endpoint_row *row)
{
    return http_method_of(slice_str(row->method));
}

static bool
method_fits(const struct endpoint_row *row, enum http_method method)
{
    const enum http_method wanted = row_method(row);
    return method == wanted || (method == HTTP_METHOD_HEAD && wanted == HTTP_METHOD_GET);
}

enum api_match_result
api_match(enum http_method method, struct slice path, struct api_match *match)
{
    *match = (struct api_match){ 0 };
    if (slice_ends(path, SLICE("/"))) {
        return API_MATCH_UNKNOWN; /* a final separator opens no part, but is none of ours */
    }
    for (int i = 0; i < ENDPOINT_COUNT; i++) {
        const struct endpoint_row *row = endpoint_row((enum endpoint)i);
        struct slice segment;
        if (!path_fits(slice_str(row->path), path, &segment)) {
            continue;
        }
        if (method_fits(row, method)) {
            match->endpoint = (enum endpoint)i;
            match->segment = segment;
            return API_MATCH_FOUND;
        }
        match->methods |= 1u << row_method(row);
    }
    return match->methods ? API_MATCH_METHOD_WRONG : API_MATCH_UNKNOWN;
}

bool
api_percent_decode(struct slice text, bool plus_is_space, char *out, size_t out_size)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            const int high = text.len - i > 2 ? hex_digit(text.ptr[i + 1]) : -1;
            const int low = text.len - i > 2 ? hex_digit(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == '\0' || len + 1 >= out_size) {
            return false;
        }
        out[len++] = c;
    }
    out[len] = '\0';
    return true;
}

bool
api_id_before_gate(struct slice text)
{
    const struct slice prefix = SLICE("req_");
    struct slice part = { 0 };
    int parts = 0;
    if (!slice_starts(text, prefix)) {
        return false;
    }
    text = slice_of(text.ptr + prefix.len, text.len - prefix.len);
    while (slice_split(&text, '-', &part)) {
        int64_t number = 0;
        if (!slice_to_i64(part, &number) || number < 0) {
            return false;
        }
        parts++;
    }
    return parts == 3;
}

bool
api_id_parse(struct slice text, struct slice prefix, int64_t *id)
{
    int64_t value = 0;
    if (slice_starts(text, prefix)) {
        text = slice_of(text.ptr + prefix.len, text.len - prefix.len);
    }
    if (text.len == 0 || text.ptr[0] == '0' || !slice_to_i64(text, &value) || value <= 0) {
        return false;
    }
    *id = value;
    return true;
}
