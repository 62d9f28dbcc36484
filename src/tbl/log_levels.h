/* tbl/log_levels.h: how much a log line matters, least first. Columns: NAME, word. */
#pragma once

#define LOG_LEVELS(X)                                                                              \
    X(DEBUG, "debug") /* for whoever works on the program */                                       \
    X(INFO, "info")   /* what happened, one line a call */                                         \
    X(WARN, "warn")   /* the operator should know; work goes on */                                 \
    X(ERROR, "error") /* something could not be done */

enum log_level {
#define LOG_LEVEL_ENUM(name, word) LOG_##name,
    LOG_LEVELS(LOG_LEVEL_ENUM)
#undef LOG_LEVEL_ENUM
        LOG_LEVEL_COUNT
};
