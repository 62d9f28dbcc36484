/* wire/sse.c: splitting a stream of events: a quick look for events that lie whole in one piece,
 * and a line machine for all others. */
#include "wire/sse.h"

/* Buffers that grew past this are given back after their event. */
#define KEPT_BYTES ((size_t)64 << 10)

enum line_kind {
    LINE_START,      /* nothing of it was read */
    LINE_FIELD,      /* its field's name is being read */
    LINE_DATA_FIRST, /* behind the colon, where one space is passed over */
    LINE_DATA,
    LINE_NAME_FIRST,
    LINE_NAME,
    LINE_OTHER, /* a comment or a field of no use here */
};

static size_t
min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

void
sse_start(struct sse *sse, struct buf *buf, size_t data_bytes_max)
{
    check(data_bytes_max >= 2);
    memset(sse, 0, sizeof *sse);
    sse->buf = buf;
    sse->data_bytes_max = data_bytes_max;
    buf_clear(buf);
}

static void
forget_block(struct sse *sse)
{
    sse->raw_bytes = 0;
    sse->line = LINE_START;
    sse->field_len = sse->name_len = sse->head_len = 0;
    sse->has_data = sse->data_cut = sse->reported = false;
    if (sse->buf->cap > KEPT_BYTES) {
        buf_free(sse->buf);
    } else {
        buf_clear(sse->buf);
    }
}

/* The end of the line that `at` is in, or NULL. */
static const char *
line_end(const char *at, const char *end)
{
    if (at == end) {
        return NULL;
    }
    const char *lf = memchr(at, '\n', (size_t)(end - at));
    const char *cr = memchr(at, '\r', (size_t)((lf ? lf : end) - at));
    return cr ? cr : lf;
}

/* ---- the quick look ---- */

struct whole_block {
    struct slice name, data;
    bool has_data;
    const char *end;
    bool after_cr;
};

/* Takes "field:" with one space behind it off the front of a line. */
static bool
take_field(struct slice *line, struct slice field)
{
    if (!slice_starts(*line, field)) {
        return false;
    }
    struct slice rest = slice_of(line->ptr + field.len, line->len - field.len);
    if (rest.len > 0 && !slice_take_char(&rest, ':')) {
        return false; /* a longer name */
    }
    (void)slice_take_char(&rest, ' ');
    *line = rest;
    return true;
}

/* Whether a block with at most one line of data lies whole between `at` and `end`. */
static bool
find_whole(const char *at, const char *end, struct whole_block *block)
{
    *block = (struct whole_block){ .end = at };
    for (;;) {
        const char *eol = line_end(at, end);
        if (!eol) {
            return false;
        }
        struct slice line = slice_of(at, (size_t)(eol - at));
        at = eol + 1;
        block->after_cr = *eol == '\r' && at == end;
        if (*eol == '\r' && at < end && *at == '\n') {
            at++;
        }
        if (line.len == 0) {
            block->end = at;
            return true;
        }
        if (take_field(&line, SLICE("data"))) {
            if (block->has_data) {
                return false;
            }
            block->has_data = true;
            block->data = line;
        } else if (take_field(&line, SLICE("event"))) {
            block->name = slice_of(line.ptr, min_size(line.len, SSE_NAME_BYTES_MAX));
        }
    }
}

static bool
take_whole(struct sse *sse, struct slice in, size_t *consumed, struct sse_event *event)
{
    struct whole_block block;
    if (!find_whole(in.ptr, in.ptr + in.len, &block) || block.data.len > sse->data_bytes_max) {
        return false;
    }
    *consumed = (size_t)(block.end - in.ptr);
    *event = (struct sse_event){
        .name = block.name,
        .data = block.data,
        .head = slice_of(block.data.ptr, min_size(block.data.len, SSE_HEAD_BYTES_MAX)),
        .has_data = block.has_data,
        .raw_bytes = *consumed,
    };
    sse->after_cr = block.after_cr;
    return true;
}

/* ---- the line machine ---- */

/* Adds data; past the bound only its last half is kept, so each byte is moved a few times at
 * most. */
static void
add_data(struct sse *sse, const char *bytes, size_t len)
{
    const size_t head_room = min_size(SSE_HEAD_BYTES_MAX - sse->head_len, len);
    memcpy(sse->head + sse->head_len, bytes, head_room);
    sse->head_len = (uint8_t)(sse->head_len + head_room);

    struct buf *buf = sse->buf;
    if (len > sse->data_bytes_max - min_size(buf->len, sse->data_bytes_max)) {
        const size_t keep = sse->data_bytes_max / 2;
        sse->data_cut = true;
        if (len >= keep) {
            buf_clear(buf);
            bytes += len - keep;
            len = keep;
        } else if (buf->len + len > keep) {
            buf_consume(buf, buf->len + len - keep);
        }
    }
    buf_add(buf, bytes, len);
    if (buf->failed) { /* no memory: go on with what still comes */
        buf_clear(buf);
        sse->data_cut = true;
    }
}

static void
begin_data(struct sse *sse)
{
    if (sse->has_data) {
        add_data(sse, "\n", 1);
    }
    sse->has_data = true;
}

/* What the line is, now that its field's name has ended, at a colon or at the end of the line. */
static void
judge_field(struct sse *sse)
{
    const struct slice field = slice_of(sse->field, sse->field_len);
    sse->line = LINE_OTHER;
    if (slice_eq(field, SLICE("data"))) {
        sse->line = LINE_DATA_FIRST;
        begin_data(sse);
    } else if (slice_eq(field, SLICE("event"))) {
        sse->line = LINE_NAME_FIRST;
        sse->name_len = 0;
    }
}

/* Reads the field's name off the front of a run of bytes within one line. */
static void
take_field_bytes(struct sse *sse, struct slice *run)
{
    sse->line = LINE_FIELD;
    while (run->len > 0 && sse->line == LINE_FIELD) {
        const char c = run->ptr[0];
        *run = slice_of(run->ptr + 1, run->len - 1);
        if (c == ':') {
            judge_field(sse);
        } else if (sse->field_len == sizeof(sse->field)) {
            sse->line = LINE_OTHER;
        } else {
            sse->field[sse->field_len++] = c;
        }
    }
}

static void
take_run(struct sse *sse, struct slice run)
{
    if (run.len == 0) {
        return;
    }
    if (sse->line == LINE_START || sse->line == LINE_FIELD) {
        take_field_bytes(sse, &run);
    }
    if (run.len > 0 && (sse->line == LINE_DATA_FIRST || sse->line == LINE_NAME_FIRST)) {
        (void)slice_take_char(&run, ' ');
        sse->line = sse->line == LINE_DATA_FIRST ? LINE_DATA : LINE_NAME;
    }
    if (run.len == 0) {
        return;
    }
    if (sse->line == LINE_DATA) {
        add_data(sse, run.ptr, run.len);
    } else if (sse->line == LINE_NAME) {
        const size_t len = min_size(run.len, (size_t)(SSE_NAME_BYTES_MAX - sse->name_len));
        memcpy(sse->name + sse->name_len, run.ptr, len);
        sse->name_len = (uint8_t)(sse->name_len + len);
    }
}

/* Ends the line; true when it was empty, which ends the block. */
static bool
end_line(struct sse *sse)
{
    const bool empty = sse->line == LINE_START;
    if (sse->line == LINE_FIELD) {
        judge_field(sse);
    }
    sse->line = LINE_START;
    sse->field_len = 0;
    return empty;
}

static void
report(struct sse *sse, struct sse_event *event)
{
    *event = (struct sse_event){
        .name = slice_of(sse->name, sse->name_len),
        .data = buf_slice(sse->buf),
        .head = slice_of(sse->head, sse->head_len),
        .has_data = sse->has_data,
        .data_cut = sse->data_cut,
        .raw_bytes = sse->raw_bytes,
    };
    sse->reported = true;
}

/* Passes the bytes of a BOM that may stand in front of the stream. */
static size_t
pass_bom(struct sse *sse, struct slice in)
{
    static const char bom[] = "\xEF\xBB\xBF";
    size_t at = 0;
    while (at < in.len && !sse->begun) {
        if (in.ptr[at] != bom[sse->field_len]) {
            sse->begun = true;
            sse->line =
                sse->field_len > 0 ? LINE_OTHER : LINE_START; /* a part of one is no field */
            break;
        }
        at++;
        sse->begun = ++sse->field_len == 3;
    }
    if (sse->begun) {
        sse->field_len = 0;
    }
    return at;
}

enum sse_result
sse_feed(struct sse *sse, struct slice in, size_t *consumed, struct sse_event *event)
{
    if (sse->reported) {
        forget_block(sse);
    }
    size_t at = sse->begun ? 0 : pass_bom(sse, in);
    if (at < in.len && sse->after_cr) {
        at += in.ptr[at] == '\n';
        sse->after_cr = false;
    }
    *consumed = at;
    if (at == 0 && sse->raw_bytes == 0 && sse->begun && sse->line == LINE_START && in.len > 0
        && take_whole(sse, in, consumed, event)) {
        return SSE_EVENT;
    }
    const char *end = in.ptr + in.len;
    while (at < in.len) {
        const char *eol = line_end(in.ptr + at, end);
        const size_t run_len = (size_t)((eol ? eol : end) - (in.ptr + at));
        take_run(sse, slice_of(in.ptr + at, run_len));
        const size_t begun = at;
        at += run_len + (eol != NULL);
        if (eol && *eol == '\r') {
            sse->after_cr = at == in.len;
            at += at < in.len && in.ptr[at] == '\n';
        }
        sse->raw_bytes += at - begun;
        *consumed = at;
        if (eol && end_line(sse)) {
            report(sse, event);
            return SSE_EVENT;
        }
    }
    *consumed = in.len;
    return SSE_MORE;
}

bool
sse_end(struct sse *sse, struct sse_event *event)
{
    if (sse->reported) {
        forget_block(sse);
    }
    (void)end_line(sse);
    if (!sse->has_data) {
        return false;
    }
    report(sse, event);
    return true;
}

size_t
sse_pending_bytes(const struct sse *sse)
{
    return sse->reported ? 0 : sse->raw_bytes;
}
