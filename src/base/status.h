/* base/status.h: the idiom for operating errors: a status that must be looked at. */
#pragma once

#include "base/check.h"

enum status {
    STATUS_OK = 0,
    STATUS_NOT_FOUND,  /* the row, file or name is not there */
    STATUS_EXISTS,     /* it is there already */
    STATUS_INVALID,    /* data from outside breaks a rule; the message says which */
    STATUS_FULL,       /* a named bound is reached: queue, memory, disk */
    STATUS_IO,         /* the system or the store failed; the message says how */
    STATUS_BUSY,       /* held by another process */
    STATUS_NEWER,      /* written by a newer version of this program */
    STATUS_FENCED,     /* this node's epoch or lease is over: stop dispatching */
    STATUS_CONFLICT,   /* serialization or deadlock: run the batch again */
    STATUS_UNCERTAIN,  /* it may have been done or not, and cannot be told now */
    STATUS_CLOSED,     /* the other side, or we, are shutting down */
};

/* A word for logs: "ok", "not found", ... Static storage. */
const char *status_name(enum status status);
