/* tests/unit/wire/fixture.h: an answer of tests/fixtures, read whole. */
#pragma once

#include "unit.h"
#include "wire/http.h"

struct fixture {
    char *bytes;
    struct http_head head;
    struct slice body;
    bool stream; /* text/event-stream; its body is stored without chunk framing */
};

/* Fails the running case when the file is not there or its head does not parse. */
void fixture_load(struct fixture *fixture, const char *name);
void fixture_free(struct fixture *fixture);

/* A head from lines "name: value\n...", for tests of headers. `text` must outlive it. */
void head_of_lines(struct http_head *head, const char *text);
