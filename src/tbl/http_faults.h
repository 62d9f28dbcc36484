/* tbl/http_faults.h: why the codec refuses a message, written once.
 *
 * X(CODE, status, name, sentence): `status` answers a request that is refused so; an upstream's
 * answer that breaks the same rule is a 502 whatever this column says. `name` is for logs and
 * metrics, the sentence for the person who wrote the client. Numbers in comments are sections of
 * RFC 9112, or of RFC 9110 where marked; "stricter" means the RFC would let the message pass. */
#pragma once

#define HTTP_FAULTS(X)                                                                             \
    /* framing of lines, 2.2 */                                                                    \
    X(BARE_LF, 400, "bare_lf", "A line of the message ends in LF without CR.")                     \
    X(BARE_CR, 400, "bare_cr", "The message has a CR that is not followed by LF.")                 \
    X(CONTROL_BYTE, 400, "control_byte", "The head contains a NUL or another control character.")  \
    X(EMPTY_LINES, 400, "empty_lines", "More than one empty line stands before the request.")      \
    X(HEAD_TOO_LARGE, 431, "head_too_large", "The head is larger than this server accepts.")       \
    X(TOO_MANY_HEADERS, 431, "too_many_headers", "The head has more header lines than this "       \
      "server accepts.")                                                                           \
    /* start lines, 3 and 4 */                                                                     \
    X(REQUEST_LINE, 400, "request_line", "The request line is not METHOD TARGET HTTP/1.1, with "   \
      "one space between.")                                                                        \
    X(METHOD, 501, "method", "The method is not implemented here.")                                \
    X(TARGET_TOO_LONG, 414, "target_too_long", "The request target is longer than this server "    \
      "accepts.")                                                                                  \
    X(TARGET, 400, "target", "The request target is not a path that begins with '/', or holds "    \
      "characters that must be percent-encoded.")                                                  \
    X(VERSION, 505, "version", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")                      \
    X(STATUS_LINE, 502, "status_line", "The status line is not HTTP/1.1 STATUS REASON.")           \
    /* header lines, 5 */                                                                          \
    X(OBS_FOLD, 400, "obs_fold", "A header line begins with white space.")                         \
    X(NO_COLON, 400, "no_colon", "A header line has no colon.")                                    \
    X(HEADER_NAME, 400, "header_name", "A header name is empty or holds a character that names "   \
      "may not have.")                                                                             \
    X(SPACE_BEFORE_COLON, 400, "space_before_colon", "White space stands before the colon of a "   \
      "header line.")                                                                              \
    /* who is meant, 3.2 */                                                                        \
    X(HOST_MISSING, 400, "host_missing", "The request has no Host header.")                        \
    X(HOST_REPEATED, 400, "host_repeated", "The request has more than one Host header.")           \
    X(HOST, 400, "host", "The Host header is not a host name or address with an optional port.")   \
    X(HOST_DIFFERS, 400, "host_differs", "The host in the request target is not the one in the "   \
      "Host header.") /* stricter */                                                               \
    /* length of the body, 6 */                                                                    \
    X(LENGTH, 400, "content_length", "Content-Length is not one plain decimal number.")            \
    X(LENGTH_REPEATED, 400, "content_length_repeated", "The message has more than one "            \
      "Content-Length header.") /* stricter where they are equal */                                \
    X(LENGTH_AND_CODING, 400, "content_length_with_transfer_encoding", "The message has both "     \
      "Content-Length and Transfer-Encoding.") /* stricter */                                      \
    X(CODING, 501, "transfer_encoding", "Transfer-Encoding is not exactly \"chunked\".")           \
    X(CODING_REPEATED, 400, "transfer_encoding_repeated", "The message has more than one "         \
      "Transfer-Encoding header.")                                                                 \
    X(CODING_IN_1_0, 400, "transfer_encoding_in_1_0", "HTTP/1.0 has no Transfer-Encoding.")        \
    X(EXPECT, 417, "expect", "Expect is not \"100-continue\".") /* RFC 9110, 10.1.1 */             \
    X(UNASKED_UPGRADE, 502, "unasked_upgrade", "The answer switches to a protocol that nobody "    \
      "asked for.") /* RFC 9110, 15.2.2 */                                                         \
    X(LENGTH_IN_INTERIM, 502, "length_in_interim", "An interim answer declares a body.")           \
    /* the body itself, 7 */                                                                       \
    X(BODY_TOO_LARGE, 413, "body_too_large", "The body is larger than this server accepts.")       \
    X(CHUNK_SIZE, 400, "chunk_size", "A chunk size is not one to sixteen hexadecimal digits, or "  \
      "is out of range.")                                                                          \
    X(CHUNK_EXTENSION, 400, "chunk_extension", "A chunk extension is not accepted here.")          \
    X(CHUNK_END, 400, "chunk_end", "A chunk is not followed by CR LF.")                            \
    X(TRAILER, 400, "trailer", "A trailer line is malformed.")                                     \
    X(TRAILERS_TOO_LARGE, 431, "trailers_too_large", "The trailers are larger than this server "   \
      "accepts.")                                                                                  \
    X(BODY_CUT, 400, "body_cut", "The connection ended before the body was complete.")
