/* log/log.h: what the operator reads: one event, one line, one write to standard error.
 *
 *     time=2026-11-21T14:03:07.123Z level=info event=call model=glm-5.2 cost_micros=4200
 *     {"time":"2026-11-21T14:03:07.123Z","level":"info","event":"call","model":"glm-5.2",...}
 *
 * Any thread may log at any time; nothing is allocated and errno stays as it was. A line has at
 * most LOG_LINE_MAX_BYTES, which a pipe takes in one piece: a value that is too long ends in "...",
 * a field without room is left out and the line says truncated. Values may hold any bytes: control
 * characters and what could reorder a terminal's line are escaped. A line that standard error does
 * not take is lost and counted (tidegate_log_lines_lost_total): from log_open on nobody waits for a
 * reader that has stopped reading. No secret is ever given to these functions. */
#pragma once

#include "base/slice.h"
#include "tbl/log_levels.h"

#define LOG_LINE_MAX_BYTES 4096
#define LOG_VALUE_MAX_BYTES 1024 /* of one value, as written */

/* Lines below `level` are not written; `json` gives one object a line. Before: info, as text, and a
 * full pipe is waited for. Standard error is the one of this moment. Before there are threads. */
void log_open(enum log_level level, bool json);
/* Is a line of this level written? For callers whose values are dear to find. */
bool log_wants(enum log_level level);
/* The level with this word, e.g. "warn". */
MUST_USE bool log_level_from_word(struct slice word, enum log_level *level);

/* A line with a sentence in its `msg`. `event` is a word as below. */
void log_line(enum log_level level, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);

/* A line being built on its owner's stack: log_begin, any number of fields, log_end, which writes
 * it. Events and keys are our own words of a-z, 0-9 and '_', each key once a line. */
struct log_line {
    bool wanted, json, truncated;
    size_t len;
    char bytes[LOG_LINE_MAX_BYTES];
};

void log_begin(struct log_line *line, enum log_level level, const char *event);
void log_str(struct log_line *line, const char *key, struct slice value);
void log_i64(struct log_line *line, const char *key, int64_t value);
void log_bool(struct log_line *line, const char *key, bool value);
/* An id as people are shown it, e.g. "key_" and 12; 0 = none, which is left out. */
void log_id(struct log_line *line, const char *key, const char *prefix, int64_t id);
void log_end(struct log_line *line);
