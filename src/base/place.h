/* base/place.h: what the text of a place says: of a host, of a store. */
#pragma once

#include "base/check.h"

/* Nobody else's machine is there, or reaches what listens there: "localhost" or a numeric address. */
bool host_is_loopback(const char *host);
#define STORE_SCHEME "sqlite:"
/* PATH of "sqlite:PATH", within `url`; NULL where it names no file. */
const char *store_url_path(const char *url);
/* "postgresql://..." or "postgres://...". */
bool store_url_is_postgres(const char *url);
/* What of it people may see: all but passwords. Cut where it does not fit. */
#define STORE_SHOWN_BYTES 1024 /* enough for most */
void store_url_shown(const char *url, char *out, size_t out_size);
