/* mock/gzip_priv.h: a gzip wrapping that does not compress: enough to see who cannot read it. */
#pragma once

#include "base/buf.h"

/* Adds `text` as a gzip member of stored blocks (RFC 1951, 3.2.4; RFC 1952). */
void mock_gzip(struct slice text, struct buf *out);
