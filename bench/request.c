/* bench/request.c: heads and bodies of model calls. */
#include "bench/request.h"

#include <string.h>

#define MESSAGE_BYTES 2048

/* What agents send back and forth: prose, code, escapes every line. */
static const char prose[] =
    "The reader opens the file and walks over its lines:\\n\\n    while (read_line(file, &line)) {\\n"
    "        if (line.len == 0) {\\n            continue; /* \\\"empty\\\" lines say nothing */\\n        }\\n"
    "        total += weigh(&line, \\\"grams\\\");\\n    }\\n\\nIt gives up at the first line that is too long, "
    "and says which one it was; the caller keeps what came before.\\n";

void
request_text(struct buf *out, size_t size)
{
    while (size > 0) {
        const size_t len = size < sizeof prose - 1 ? size : sizeof prose - 1;
        buf_add(out, prose, len);
        if (prose[len - 1] == '\\') { /* cut inside an escape */
            out->ptr[out->len - 1] = ' ';
        }
        size -= len;
    }
}

void
request_body(struct buf *out, const char *model, bool stream, size_t size)
{
    static const char closing[] = "\"}]}";
    check(size >= REQUEST_BODY_MIN);
    const size_t start = out->len;
    buf_addf(out,
        "{\"model\":\"%s\",\"max_tokens\":16384,\"temperature\":0.2,\"stream\":%s,\"messages\":"
        "[{\"role\":\"system\",\"content\":\"You are a careful engineer.\"},"
        "{\"role\":\"user\",\"content\":\"",
        model, stream ? "true" : "false");
    for (int turn = 0;; turn++) {
        const size_t left = size - (out->len - start) - (sizeof closing - 1);
        if (left < 2 * MESSAGE_BYTES) {
            check(left <= size);
            request_text(out, left);
            break;
        }
        request_text(out, MESSAGE_BYTES);
        buf_addf(out, "\"},{\"role\":\"%s\",\"content\":\"", turn % 2 == 0 ? "assistant" : "user");
    }
    buf_add_str(out, closing);
    check(out->failed || out->len - start == size);
}

void
request_head(struct buf *out, const char *host, const char *path, const char *key,
    const char *thread, const char *more, size_t body_bytes)
{
    buf_addf(out,
        "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: OpenAI/JS 6.1.0\r\nAccept: application/json\r\n"
        "Content-Type: application/json\r\n",
        path, host);
    if (key) {
        buf_addf(out, "Authorization: Bearer %s\r\n", key);
    }
    if (thread) {
        buf_addf(out, "x-tidegate-thread: %s\r\n", thread);
    }
    buf_addf(out, "%sContent-Length: %zu\r\n\r\n", more, body_bytes);
}
