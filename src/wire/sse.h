/* wire/sse.h: a stream of server-sent events, split as its bytes arrive.
 *
 * Lines end in LF, CRLF or CR; data may be spread over several lines; comments begin with ':'; a
 * BOM in front is passed over; pieces may be cut anywhere. Source: the HTML standard, "server-sent
 * events".
 *
 * The splitter copies nothing where an event lies whole in one piece. Otherwise its data is
 * gathered in a buffer of the caller, up to a bound; of longer data the beginning and the end are
 * kept, which is enough to find usage in it. The caller relays the raw bytes itself: those of one
 * feed up to *consumed belong to the event that it completes. */
#pragma once

#include "base/buf.h"

#define SSE_NAME_BYTES_MAX 64
#define SSE_HEAD_BYTES_MAX 240
#define SSE_DATA_BYTES_MAX ((size_t)8 << 20)

/* A block up to its empty line. Slices hold until the next call. */
struct sse_event {
    struct slice name; /* of its event line; empty = none */
    struct slice data; /* lines joined by LF; of data that was cut, its end */
    struct slice head; /* the first bytes of the data */
    bool has_data;     /* false: comments or an empty block, no event for anyone */
    bool data_cut;     /* longer than the bound: `data` is only its end */
    size_t raw_bytes;  /* of the whole block with its empty line, over all feeds */
};

enum sse_result { SSE_MORE, SSE_EVENT };

/* Fields are the splitter's own. */
struct sse {
    struct buf *buf;
    size_t data_bytes_max;
    size_t raw_bytes;
    uint8_t line;      /* what the line being read is */
    uint8_t field_len; /* before the first line: bytes of the BOM seen */
    uint8_t name_len;
    uint8_t head_len;
    bool begun;    /* a BOM is past, or there is none */
    bool after_cr; /* an LF that comes next ends nothing */
    bool has_data, data_cut;
    bool reported; /* the block was handed out: forget it on the next call */
    char field[8];
    char name[SSE_NAME_BYTES_MAX];
    char head[SSE_HEAD_BYTES_MAX];
};

/* `buf` stays the caller's; its bytes are the splitter's until the last event was read. Data is cut
 * where it passes `data_bytes_max` or what the buffer can hold. */
void sse_start(struct sse *sse, struct buf *buf, size_t data_bytes_max);
/* Reads up to the end of the next event. SSE_MORE: all of `in` is consumed and the event goes
 * on. */
MUST_USE enum sse_result sse_feed(
    struct sse *sse, struct slice in, size_t *consumed, struct sse_event *event);
/* The stream is over. True: lines of a last event were there though no empty line ended it (some
 * providers close so after [DONE]); its raw bytes were all in earlier feeds. */
MUST_USE bool sse_end(struct sse *sse, struct sse_event *event);
/* Bytes of the block that is not complete yet; 0 = the stream is between events. */
size_t sse_pending_bytes(const struct sse *sse);
