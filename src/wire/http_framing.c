/* wire/http_framing.c: what the headers of a head mean together: where the body ends, whether the
 * connection lives on, who is meant. The order of the tests is fixed, so a message with two faults
 * is always refused for the same one. */
#include "wire/http_priv.h"

const struct http_header *
http_find_next(const struct http_head *head, struct slice name, const struct http_header *previous)
{
    const struct http_header *end = head->headers + head->header_count;
    const struct http_header *header = previous == NULL ? head->headers : previous + 1;
    for (; header < end; header++) {
        if (slice_eq_nocase(header->name, name)) {
            return header;
        }
    }
    return NULL;
}

const struct http_header *
http_find(const struct http_head *head, struct slice name)
{
    return http_find_next(head, name, NULL);
}

bool
http_next_token(struct slice *rest, struct slice *token)
{
    struct slice part = { 0 };
    while (slice_split(rest, ',', &part)) {
        part = slice_trim(part);
        if (part.len > 0) {
            *token = part;
            return true;
        }
    }
    return false;
}

static bool
lists_token(struct slice list, struct slice token)
{
    struct slice item = { 0 };
    while (http_next_token(&list, &item)) {
        if (slice_eq_nocase(item, token)) {
            return true;
        }
    }
    return false;
}

bool
http_has_token(const struct http_head *head, struct slice name, struct slice token)
{
    const struct http_header *header = NULL;
    while ((header = http_find_next(head, name, header)) != NULL) {
        if (lists_token(header->value, token)) {
            return true;
        }
    }
    return false;
}

/* ---- the headers that frame a message, found in one walk ---- */

struct found {
    const struct http_header *first; /* NULL when absent */
    bool repeated;
};

struct framing {
    struct found host, length, coding, expect;
    bool close, keep_alive, upgrade_token; /* tokens of Connection */
    bool upgrade;                          /* the header of that name */
};

static void
note(struct found *found, const struct http_header *header)
{
    if (found->first != NULL) {
        found->repeated = true;
    } else {
        found->first = header;
    }
}

static void
note_connection(struct framing *framing, struct slice list)
{
    struct slice token = { 0 };
    while (http_next_token(&list, &token)) {
        framing->close |= slice_eq_nocase(token, SLICE("close"));
        framing->keep_alive |= slice_eq_nocase(token, SLICE("keep-alive"));
        framing->upgrade_token |= slice_eq_nocase(token, SLICE("upgrade"));
    }
}

static struct framing
find_framing(const struct http_head *head)
{
    struct framing framing = { 0 };
    for (uint32_t i = 0; i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        switch (header->name.len) { /* most names are told apart by their length alone */
        case sizeof "host" - 1:
            if (slice_eq_nocase(header->name, SLICE("host"))) {
                note(&framing.host, header);
            }
            break;
        case sizeof "expect" - 1:
            if (slice_eq_nocase(header->name, SLICE("expect"))) {
                note(&framing.expect, header);
            }
            break;
        case sizeof "upgrade" - 1:
            framing.upgrade |= slice_eq_nocase(header->name, SLICE("upgrade"));
            break;
        case sizeof "connection" - 1:
            if (slice_eq_nocase(header->name, SLICE("connection"))) {
                note_connection(&framing, header->value);
            }
            break;
        case sizeof "content-length" - 1:
            if (slice_eq_nocase(header->name, SLICE("content-length"))) {
                note(&framing.length, header);
            }
            break;
        case sizeof "transfer-encoding" - 1:
            if (slice_eq_nocase(header->name, SLICE("transfer-encoding"))) {
                note(&framing.coding, header);
            }
            break;
        default: break;
        }
    }
    return framing;
}

/* ---- rules of both directions ---- */

/* RFC 9112, 6.1 to 6.3. Sets body_kind and content_length as the headers declare them. */
static MUST_USE enum http_result
judge_length(struct http_head *head, const struct framing *framing, const struct http_fault **why)
{
    const struct http_header *length = framing->length.first;
    const struct http_header *coding = framing->coding.first;
    if (length != NULL && coding != NULL) {
        return http_refuse(HTTP_FAULT_LENGTH_AND_CODING, why);
    }
    if (coding != NULL) {
        if (framing->coding.repeated) {
            return http_refuse(HTTP_FAULT_CODING_REPEATED, why);
        }
        if (head->version_minor == 0) {
            return http_refuse(HTTP_FAULT_CODING_IN_1_0, why);
        }
        if (!slice_eq_nocase(coding->value, SLICE("chunked"))) {
            return http_refuse(HTTP_FAULT_CODING, why);
        }
        head->body_kind = HTTP_BODY_CHUNKED;
    }
    if (length != NULL) {
        if (framing->length.repeated) {
            return http_refuse(HTTP_FAULT_LENGTH_REPEATED, why);
        }
        if (!http_all(length->value, BYTE_DIGIT)
            || !slice_to_i64(length->value, &head->content_length)) {
            return http_refuse(HTTP_FAULT_LENGTH, why);
        }
        head->body_kind = HTTP_BODY_LENGTH;
    }
    return HTTP_DONE;
}

/* RFC 9112, 9.3. */
static bool
lives_on(const struct http_head *head, const struct framing *framing)
{
    return !framing->close && (head->version_minor == 1 || framing->keep_alive);
}

/* ---- requests ---- */

bool
http_host_valid(struct slice host)
{
    struct slice name = host;
    struct slice port = { 0 };
    if (host.len > 0 && host.ptr[0] == '[') {
        const char *close = memchr(host.ptr, ']', host.len);
        if (close == NULL) {
            return false;
        }
        const size_t name_len = (size_t)(close - host.ptr) + 1;
        if (!http_all(slice_of(host.ptr + 1, name_len - 2), BYTE_ADDRESS)) {
            return false;
        }
        port = slice_of(host.ptr + name_len, host.len - name_len);
    } else {
        const char *colon = host.len > 0 ? memchr(host.ptr, ':', host.len) : NULL;
        if (colon != NULL) {
            name.len = (size_t)(colon - host.ptr);
            port = slice_of(colon, host.len - name.len);
        }
        if (!http_all(name, BYTE_HOST)) {
            return false;
        }
    }
    if (port.len == 0) {
        return true;
    }
    int64_t number = 0;
    const struct slice digits = slice_of(port.ptr + 1, port.len - 1);
    return port.ptr[0] == ':' && http_all(digits, BYTE_DIGIT) && slice_to_i64(digits, &number)
           && number <= UINT16_MAX;
}

/* RFC 9112, 3.2. An absolute-form target has put its authority into head->host already. */
static MUST_USE enum http_result
judge_host(struct http_head *head, const struct framing *framing, const struct http_fault **why)
{
    if (framing->host.repeated) {
        return http_refuse(HTTP_FAULT_HOST_REPEATED, why);
    }
    if (framing->host.first == NULL) {
        return head->version_minor == 0 ? HTTP_DONE : http_refuse(HTTP_FAULT_HOST_MISSING, why);
    }
    const struct slice host = framing->host.first->value;
    if (!http_host_valid(host)) {
        return http_refuse(HTTP_FAULT_HOST, why);
    }
    if (head->host.len > 0 && !slice_eq_nocase(head->host, host)) {
        return http_refuse(HTTP_FAULT_HOST_DIFFERS, why);
    }
    head->host = host;
    return HTTP_DONE;
}

/* RFC 9110, 10.1.1: an HTTP/1.0 client does not know of it and cannot wait. */
static MUST_USE enum http_result
judge_expect(struct http_head *head, const struct framing *framing, const struct http_fault **why)
{
    const struct http_header *expect = framing->expect.first;
    if (expect == NULL || head->version_minor == 0) {
        return HTTP_DONE;
    }
    if (framing->expect.repeated || !slice_eq_nocase(expect->value, SLICE("100-continue"))) {
        return http_refuse(HTTP_FAULT_EXPECT, why);
    }
    head->expect_continue = head->body_kind == HTTP_BODY_CHUNKED || head->content_length > 0;
    return HTTP_DONE;
}

enum http_result
http_judge_request(struct http_head *head, const struct http_fault **why)
{
    const struct framing framing = find_framing(head);
    if (judge_length(head, &framing, why) != HTTP_DONE
        || judge_host(head, &framing, why) != HTTP_DONE
        || judge_expect(head, &framing, why) != HTTP_DONE) {
        return HTTP_BAD;
    }
    head->keep_alive = lives_on(head, &framing);
    head->upgrade = head->version_minor == 1 && framing.upgrade && framing.upgrade_token;
    return HTTP_DONE;
}

/* ---- answers ---- */

/* An answer that may not have a body but declares one is read as bodiless (RFC 9112, 6.3), and what
 * its sender thinks comes next is not known. */
static void
drop_body(struct http_head *head)
{
    if (head->body_kind == HTTP_BODY_CHUNKED || head->content_length > 0) {
        head->keep_alive = false;
    }
    head->body_kind = HTTP_BODY_NONE;
    head->content_length = 0;
}

enum http_result
http_judge_response(struct http_head *head, enum http_method asked, const struct http_fault **why)
{
    const struct framing framing = find_framing(head);
    if (judge_length(head, &framing, why) != HTTP_DONE) {
        return HTTP_BAD;
    }
    if (head->status == 101) {
        return http_refuse(HTTP_FAULT_UNASKED_UPGRADE, why);
    }
    head->keep_alive = lives_on(head, &framing);

    if (head->status < 200) {
        return head->body_kind == HTTP_BODY_NONE ? HTTP_DONE
                                                 : http_refuse(HTTP_FAULT_LENGTH_IN_INTERIM, why);
    }
    if (head->status == 204) {
        drop_body(head);
    } else if (asked == HTTP_METHOD_HEAD || head->status == 304) {
        head->body_kind = HTTP_BODY_NONE; /* the length is that of what GET would bring */
        head->content_length = 0;
    } else if (head->body_kind == HTTP_BODY_NONE) {
        head->body_kind = HTTP_BODY_UNTIL_CLOSE;
        head->keep_alive = false;
    }
    return HTTP_DONE;
}
