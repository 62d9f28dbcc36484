/* bench/fail.h: the one way these programs give up: a sentence on standard error, exit status 1. */
#pragma once

#include "base/check.h"

NORETURN void fail(const char *format, ...) PRINTF_LIKE(1, 2);
