/* base/utf8.h: telling characters from bytes that only look like one (Unicode, table 3-7). */
#pragma once

#include "base/slice.h"

#define UTF8_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* How many bytes at the front of `text`, which is not empty, belong together: a whole character, or,
 * with *valid false, the longest start of one; that run is what a single U+FFFD replaces. */
size_t utf8_run(struct slice text, bool *valid);
