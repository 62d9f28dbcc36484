/* wire/models_list.h: GET /v1/models as clients of either dialect expect it. */
#pragma once

#include "base/buf.h"
#include "base/units.h"
#include "tbl/apis.h"

struct model_entry {
    struct slice id;
    int64_t created_ms;          /* 0 = not known */
    int64_t context, max_output; /* tokens; 0 = not known */
};

/* OpenAI's shape, or Anthropic's (one page; clients send anthropic-version for it). */
void models_list_render(
    enum dialect dialect, const struct model_entry *entries, uint32_t entry_count, struct buf *out);
