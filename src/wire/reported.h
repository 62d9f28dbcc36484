/* wire/reported.h: how much of its own windows a provider says is used: in the headers of an answer, and in
 * what it tells when asked (spec/wire.md section 3, spec/thresholds-and-spend-limits.md section A2).
 *
 * Percentages are read as decimals, without floating point, and cut to thousandths. What is written here has
 * no captured_ms. Windows are named by their length: five_hour is "5h", seven_day_opus "7d_opus"; such a suffix
 * names the models it governs. */
#pragma once

#include "rows/rows.h"
#include "wire/http.h"

/* The unified family of Anthropic's subscriptions: anthropic-ratelimit-unified-5h-utilization (a fraction that
 * may pass 1) and -reset (epoch seconds or RFC 3339). No window: nothing is told. `credential` is whose they
 * are. Sorted by name, so that equal headers give equal rows. */
void reported_of_headers(
    const struct http_head *head, struct slice credential, struct reported_row *report);

struct reported_fault {
    char field[80];  /* a dotted path; "" = the whole */
    const char *why; /* "must be ...", without a final stop */
};

/* A report as a body says it, in one of two forms:
 *   {"five_hour": {"utilization": 42.5, "resets_at": "..." or null}, "seven_day": ..., "seven_day_opus": ...}
 *     as Anthropic tells it, also inside "usage"; windows that nobody knows are left out, null is none;
 *   {"windows": [{"window": "5h", "used_pct": 42.5, "resets_at": ..., "models": ["claude-opus-*"]}]}.
 * Beside either: "credential", a name, and "captured_at". All of it or nothing: false fills `fault`. */
MUST_USE bool reported_of_json(
    struct slice body, struct reported_row *report, struct reported_fault *fault);

/* "five_hour" for "5h", "seven_day_opus" for "7d_opus"; any other name as it is. */
void reported_long_name(const char *window, char out[48]);
