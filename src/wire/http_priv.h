/* wire/http_priv.h: what the files of the codec share. */
#pragma once

#include "wire/http.h"

/* Which byte may stand where. A byte without BYTE_CONTROL may stand anywhere in a header value. */
enum {
    BYTE_TOKEN = 1,   /* tchar, RFC 9110 5.6.2: methods, header names */
    BYTE_TARGET = 2,  /* visible ASCII but '#': a fragment is never sent */
    BYTE_HOST = 4,    /* letters, digits, "-._~%": a registered name or an IPv4 address */
    BYTE_ADDRESS = 8, /* hexadecimal digits, ':' and '.': inside the brackets of an IPv6 address */
    BYTE_DIGIT = 16,
    BYTE_HEX = 32,
    BYTE_CONTROL = 64, /* 0x00 to 0x1f but HTAB, and DEL */
    BYTE_BLANK = 128,  /* SP, HTAB */
};

extern const uint8_t http_byte_class[256];

static inline bool
byte_is(char byte, int class_bits)
{
    return (http_byte_class[(uint8_t)byte] & class_bits) != 0;
}

/* Not empty, and every byte is of one of the classes. */
bool http_all(struct slice text, int class_bits);
/* Offset of the first control byte in [from, end), or `end`. */
size_t http_find_control(const char *bytes, size_t from, size_t end);

/* Sets *why and answers HTTP_BAD. */
enum http_result http_refuse(enum http_fault_code code, const struct http_fault **why);

/* An address or name with an optional port; not empty. */
bool http_host_valid(struct slice host);

/* What the headers mean together: framing, connection, host. The lines are well-formed already. */
MUST_USE enum http_result http_judge_request(struct http_head *head, const struct http_fault **why);
MUST_USE enum http_result http_judge_response(struct http_head *head, enum http_method asked,
    const struct http_fault **why);
