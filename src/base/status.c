/* base/status.c: the words of the statuses. */
#include "base/status.h"

const char *
status_name(enum status status)
{
    switch (status) {
    case STATUS_OK: return "ok";
    case STATUS_NOT_FOUND: return "not found";
    case STATUS_EXISTS: return "exists";
    case STATUS_INVALID: return "invalid";
    case STATUS_FULL: return "full";
    case STATUS_IO: return "io";
    case STATUS_BUSY: return "busy";
    case STATUS_NEWER: return "newer";
    case STATUS_FENCED: return "fenced";
    case STATUS_CONFLICT: return "conflict";
    case STATUS_UNCERTAIN: return "uncertain";
    case STATUS_CLOSED: return "closed";
    }
    return "unknown";
}
