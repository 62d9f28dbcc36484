/* wire/tap_priv.h: what the files of the tap share. */
#pragma once

#include "wire/usage.h"

/* Keeps a string, unless one was kept before; what does not fit is not kept. */
void tap_keep(char *out, size_t out_size, struct json_value value);
/* A whole number that is not negative; anything else leaves *out alone. */
void tap_keep_count(struct json_value value, int64_t *out);
/* The last one named is the one it was served at. */
void tap_keep_tier(struct tap *tap, struct json_value value);
void tap_note_input(struct tap *tap);
void tap_count_text(struct tap *tap, struct tapped *tapped, struct json_value text);
void tap_fail(struct tap *tap, struct tapped *tapped, struct slice error);

void tap_responses_event(struct tap *tap, const struct sse_event *event, struct tapped *tapped);
void tap_responses_body(struct tap *tap, struct slice body, struct tapped *tapped);
