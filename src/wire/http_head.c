/* wire/http_head.c: the lines of a head, one after the other.
 *
 * One pass looks for control bytes; the only ones a head may hold are the CR LF at its line ends.
 * So a line that is complete has none left in it, and each line is read as soon as it is complete.
 * When a head comes in pieces, `out` holds only the lines of the last call: the whole is then read
 * once more at the end, from a buffer that is all there. Twice linear is linear, and nothing but
 * offsets has to live between calls. */
#include "wire/http_priv.h"

enum direction { REQUEST, RESPONSE };

#define VERSION_BYTES 8 /* "HTTP/1.1" */

/* "HTTP/1.1" and "HTTP/1.0" pass; other versions are VERSION, anything else is `malformed`. */
static MUST_USE enum http_result
read_version(struct slice text, enum http_fault_code malformed, struct http_head *out,
    const struct http_fault **why)
{
    if (text.len == VERSION_BYTES && memcmp(text.ptr, "HTTP/1.", VERSION_BYTES - 1) == 0) {
        const char minor = text.ptr[VERSION_BYTES - 1];
        if (minor == '0' || minor == '1') {
            out->version_minor = (uint8_t)(minor - '0');
            return HTTP_DONE;
        }
    }
    if (!slice_starts(text, SLICE("HTTP/")) || !byte_is(text.ptr[text.len - 1], BYTE_DIGIT)) {
        return http_refuse(malformed, why);
    }
    for (size_t i = 5; i < text.len; i++) {
        if (!byte_is(text.ptr[i], BYTE_DIGIT) && text.ptr[i] != '.') {
            return http_refuse(malformed, why);
        }
    }
    return http_refuse(HTTP_FAULT_VERSION, why);
}

/* Splits an absolute-form target (RFC 9112, 3.2.2); false when it is none. The authority is left in
 * out->host for http_judge_request() to compare with Host. */
static bool
read_absolute_form(struct slice target, struct slice *path_and_query, struct http_head *out)
{
    size_t start = 0;
    if (slice_starts_nocase(target, SLICE("http://"))) {
        start = sizeof "http://" - 1;
    } else if (slice_starts_nocase(target, SLICE("https://"))) {
        start = sizeof "https://" - 1;
    } else {
        return false;
    }
    size_t end = start;
    while (end < target.len && target.ptr[end] != '/' && target.ptr[end] != '?') {
        end++;
    }
    out->host = slice_of(target.ptr + start, end - start);
    *path_and_query = slice_of(target.ptr + end, target.len - end);
    return http_host_valid(out->host);
}

static MUST_USE enum http_result
read_target(struct slice target, struct http_head *out, const struct http_fault **why)
{
    if (!http_all(target, BYTE_TARGET)) {
        return http_refuse(HTTP_FAULT_TARGET, why);
    }
    out->target = target;
    if (slice_eq(target, SLICE("*"))) {
        out->path = target;
        return out->method == HTTP_METHOD_OPTIONS ? HTTP_DONE : http_refuse(HTTP_FAULT_TARGET, why);
    }

    struct slice rest = target;
    if (target.ptr[0] != '/' && !read_absolute_form(target, &rest, out)) {
        return http_refuse(HTTP_FAULT_TARGET, why);
    }
    const char *mark = rest.len > 0 ? memchr(rest.ptr, '?', rest.len) : NULL;
    if (mark == NULL) {
        out->path = rest;
    } else {
        const size_t path_len = (size_t)(mark - rest.ptr);
        out->path = slice_of(rest.ptr, path_len);
        out->query = slice_of(mark + 1, rest.len - path_len - 1);
    }
    if (out->path.len == 0) {
        out->path = SLICE("/");
    }
    return HTTP_DONE;
}

static MUST_USE enum http_result
read_request_line(struct slice line, const struct http_limits *limits, struct http_head *out,
    const struct http_fault **why)
{
    struct slice rest = line;
    struct slice method = { 0 };
    struct slice target = { 0 };
    if (!slice_split(&rest, ' ', &method) || !slice_split(&rest, ' ', &target)
        || !http_all(method, BYTE_TOKEN)) {
        return http_refuse(HTTP_FAULT_REQUEST_LINE, why);
    }
    if (read_version(rest, HTTP_FAULT_REQUEST_LINE, out, why) != HTTP_DONE) {
        return HTTP_BAD;
    }
    if (method.len > HTTP_METHOD_BYTES_MAX || slice_eq(method, SLICE("CONNECT"))) {
        return http_refuse(HTTP_FAULT_METHOD, why);
    }
    if (target.len > limits->target_bytes_max) {
        return http_refuse(HTTP_FAULT_TARGET_TOO_LONG, why);
    }
    out->method_text = method;
    out->method = http_method_of(method);
    return read_target(target, out, why);
}

/* HTTP/1.1 SP 3DIGIT [ SP reason ]: some leave out the space before an empty reason. */
static MUST_USE enum http_result
read_status_line(struct slice line, struct http_head *out, const struct http_fault **why)
{
    struct slice rest = line;
    struct slice version = { 0 };
    struct slice status = { 0 };
    if (!slice_split(&rest, ' ', &version)) {
        return http_refuse(HTTP_FAULT_STATUS_LINE, why);
    }
    if (read_version(version, HTTP_FAULT_STATUS_LINE, out, why) != HTTP_DONE) {
        return HTTP_BAD;
    }
    if (!slice_split(&rest, ' ', &status) || status.len != 3 || !http_all(status, BYTE_DIGIT)
        || status.ptr[0] < '1' || status.ptr[0] > '5') {
        return http_refuse(HTTP_FAULT_STATUS_LINE, why);
    }
    out->status = (status.ptr[0] - '0') * 100 + (status.ptr[1] - '0') * 10 + (status.ptr[2] - '0');
    out->reason = rest;
    return HTTP_DONE;
}

/* What is wrong with a header line whose name ends at `end` without a colon. */
static enum http_fault_code
name_fault(struct slice line, size_t end)
{
    if (line.ptr[0] == ' ' || line.ptr[0] == '\t') {
        return HTTP_FAULT_OBS_FOLD;
    }
    if (memchr(line.ptr + end, ':', line.len - end) == NULL) {
        return HTTP_FAULT_NO_COLON;
    }
    size_t after_blank = end;
    while (byte_is(line.ptr[after_blank], BYTE_BLANK)) {
        after_blank++; /* stops at the colon at the latest */
    }
    const bool blank_then_colon = after_blank > end && line.ptr[after_blank] == ':';
    return blank_then_colon ? HTTP_FAULT_SPACE_BEFORE_COLON : HTTP_FAULT_HEADER_NAME;
}

static MUST_USE enum http_result
read_header_line(struct slice line, struct http_header *out, const struct http_fault **why)
{
    size_t name_len = 0;
    while (name_len < line.len && byte_is(line.ptr[name_len], BYTE_TOKEN)) {
        name_len++;
    }
    if (name_len == 0 || name_len == line.len || line.ptr[name_len] != ':') {
        return http_refuse(name_fault(line, name_len), why);
    }

    size_t start = name_len + 1;
    size_t end = line.len;
    while (start < end && byte_is(line.ptr[start], BYTE_BLANK)) {
        start++;
    }
    while (end > start && byte_is(line.ptr[end - 1], BYTE_BLANK)) {
        end--;
    }
    out->name = slice_of(line.ptr, name_len);
    out->value = slice_of(line.ptr + start, end - start);
    return HTTP_DONE;
}

/* How far the line that begins at state->line_offset may reach, its CR LF included. */
static size_t
line_end_max(const struct http_limits *limits, enum direction direction,
    const struct http_parse_state *state)
{
    const size_t head_room = limits->head_bytes_max - state->line_offset;
    if (direction == RESPONSE || state->line_count > 0 || limits->target_bytes_max >= head_room) {
        return limits->head_bytes_max;
    }
    const size_t line_max =
        HTTP_METHOD_BYTES_MAX + 1 + limits->target_bytes_max + 1 + VERSION_BYTES + 2;
    return line_max < head_room ? state->line_offset + line_max : limits->head_bytes_max;
}

/* Why a line may not go on to `line_end`. Short of the head's bound only a method or a target makes
 * a request line so long, and its beginning tells which. */
static enum http_fault_code
too_long_fault(
    struct slice bytes, const struct http_limits *limits, size_t line_offset, size_t line_end)
{
    if (line_end == limits->head_bytes_max) {
        return HTTP_FAULT_HEAD_TOO_LARGE;
    }
    const bool method_ends =
        memchr(bytes.ptr + line_offset, ' ', HTTP_METHOD_BYTES_MAX + 1) != NULL;
    return method_ends ? HTTP_FAULT_TARGET_TOO_LONG : HTTP_FAULT_METHOD;
}

/* Finds the end of the line that begins at state->line_offset. HTTP_DONE: *line is the line without
 * its CR LF, and the state has moved behind it. */
static MUST_USE enum http_result
next_line(struct slice bytes, const struct http_limits *limits, enum direction direction,
    struct http_parse_state *state, struct slice *line, const struct http_fault **why)
{
    const size_t line_end = line_end_max(limits, direction, state);
    const size_t end = bytes.len < line_end ? bytes.len : line_end;

    const size_t at = http_find_control(bytes.ptr, state->scan_offset, end);
    state->scan_offset = at;
    if (at < end && bytes.ptr[at] != '\r') {
        return http_refuse(
            bytes.ptr[at] == '\n' ? HTTP_FAULT_BARE_LF : HTTP_FAULT_CONTROL_BYTE, why);
    }
    if (end - at < 2) { /* the CR LF does not fit into what there is, or into what there may be */
        return end < line_end
                   ? HTTP_MORE
                   : http_refuse(too_long_fault(bytes, limits, state->line_offset, line_end), why);
    }
    if (bytes.ptr[at + 1] != '\n') {
        return http_refuse(HTTP_FAULT_BARE_CR, why);
    }
    *line = slice_of(bytes.ptr + state->line_offset, at - state->line_offset);
    state->line_offset = state->scan_offset = at + 2;
    return HTTP_DONE;
}

/* Reads the lines from state->line_offset on; HTTP_DONE behind the empty line that ends the
 * head. */
static MUST_USE enum http_result
read_lines(struct slice bytes, const struct http_limits *limits, enum direction direction,
    struct http_parse_state *state, struct http_head *out, const struct http_fault **why)
{
    const uint32_t headers_max =
        limits->headers_max < HTTP_HEADERS_MAX ? limits->headers_max : HTTP_HEADERS_MAX;
    for (;;) {
        struct slice line = { 0 };
        const bool skip_empty = direction == REQUEST && state->line_offset == 0;
        enum http_result result = next_line(bytes, limits, direction, state, &line, why);
        if (result != HTTP_DONE) {
            return result;
        }

        if (state->line_count == 0) {
            if (line.len == 0 && skip_empty) {
                continue;
            }
            if (line.len == 0 && direction == REQUEST) {
                return http_refuse(HTTP_FAULT_EMPTY_LINES, why);
            }
            result = direction == REQUEST ? read_request_line(line, limits, out, why)
                                          : read_status_line(line, out, why);
        } else if (line.len == 0) {
            out->header_count = state->line_count - 1;
            return HTTP_DONE;
        } else if (state->line_count > headers_max) {
            return http_refuse(HTTP_FAULT_TOO_MANY_HEADERS, why);
        } else {
            result = read_header_line(line, &out->headers[state->line_count - 1], why);
        }
        if (result != HTTP_DONE) {
            return result;
        }
        state->line_count++;
    }
}

static MUST_USE enum http_result
read_head(struct slice bytes, const struct http_limits *limits, enum direction direction,
    struct http_parse_state *state, struct http_head *out, const struct http_fault **why)
{
    check(bytes.len >= state->scan_offset); /* the caller's buffer only grows */

    memset(out, 0, offsetof(struct http_head, headers));
    if (bytes.len == 0) {
        return HTTP_MORE;
    }
    const struct http_parse_state before = *state;
    const bool earlier_lines_lost = state->line_count > 0;
    enum http_result result = read_lines(bytes, limits, direction, state, out, why);
    if (result == HTTP_DONE && earlier_lines_lost) {
        *state = (struct http_parse_state){ 0 };
        result = read_lines(bytes, limits, direction, state, out, why);
    }
    out->is_request = direction == REQUEST;
    out->head_bytes = state->line_offset;
    if (result == HTTP_BAD) {
        *state = before; /* asked again, the answer is the same */
    }
    return result;
}

enum http_result
http_parse_request(struct slice bytes, const struct http_limits *limits,
    struct http_parse_state *state, struct http_head *out, const struct http_fault **why)
{
    const enum http_result result = read_head(bytes, limits, REQUEST, state, out, why);
    return result == HTTP_DONE ? http_judge_request(out, why) : result;
}

enum http_result
http_parse_response(struct slice bytes, const struct http_limits *limits,
    struct http_parse_state *state, enum http_method asked, struct http_head *out,
    const struct http_fault **why)
{
    const enum http_result result = read_head(bytes, limits, RESPONSE, state, out, why);
    return result == HTTP_DONE ? http_judge_response(out, asked, why) : result;
}
