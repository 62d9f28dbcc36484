/* tests/unit/wire/fixture.c: reading tests/fixtures. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

static struct slice
read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long size = ftell(file);
    assert_true(size > 0);
    rewind(file);
    char *bytes = malloc((size_t)size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)size, file), size);
    fclose(file);
    return slice_of(bytes, (size_t)size);
}

void
fixture_load(struct fixture *fixture, const char *name)
{
    const char *root = getenv("TIDEGATE_SOURCE_ROOT");
    char path[4096];
    snprintf(path, sizeof(path), "%s/tests/fixtures/%s.http", root ? root : ".", name);
    const struct slice bytes = read_file(path);
    fixture->bytes = (char *)(uintptr_t)bytes.ptr;

    const struct http_limits limits = {
        .head_bytes_max = 65536, .target_bytes_max = 8192, .headers_max = HTTP_HEADERS_MAX
    };
    struct http_parse_state state = { 0 };
    const struct http_fault *why = NULL;
    assert_int_equal(
        http_parse_response(bytes, &limits, &state, HTTP_METHOD_POST, &fixture->head, &why),
        HTTP_DONE);
    fixture->body =
        slice_of(bytes.ptr + fixture->head.head_bytes, bytes.len - fixture->head.head_bytes);
    const struct http_header *type = http_find(&fixture->head, SLICE("content-type"));
    fixture->stream = type && slice_starts(type->value, SLICE("text/event-stream"));
}

void
fixture_free(struct fixture *fixture)
{
    free(fixture->bytes);
}

void
head_of_lines(struct http_head *head, const char *text)
{
    struct slice rest = slice_str(text);
    struct slice line;
    *head = (struct http_head){ .is_request = true };
    while (slice_split(&rest, '\n', &line)) {
        const char *colon = memchr(line.ptr, ':', line.len);
        assert_non_null(colon);
        const size_t name_len = (size_t)(colon - line.ptr);
        head->headers[head->header_count++] = (struct http_header){
            .name = slice_of(line.ptr, name_len),
            .value = slice_trim(slice_of(colon + 1, line.len - name_len - 1)),
        };
    }
}
