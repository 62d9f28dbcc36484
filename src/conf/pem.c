/* conf/pem.c: whether a text holds certificates in PEM form: judged by its form alone, since reading what
 * is in them belongs to TLS. Text around the blocks and blocks of other kinds are passed by, as there. */
#include "conf/conf_priv.h"

#define BEGIN "-----BEGIN "
#define END   "-----END "
#define TAIL  "-----"

/* The label of a line such as "-----BEGIN CERTIFICATE-----", when it is a certificate's. */
static bool
line_marks(struct slice line, struct slice head)
{
    static const char *const labels[] = { "CERTIFICATE", "X509 CERTIFICATE",
        "TRUSTED CERTIFICATE" };
    const struct slice tail = SLICE(TAIL);
    if (!slice_starts(line, head) || !slice_ends(line, tail) || line.len < head.len + tail.len) {
        return false;
    }
    const struct slice label = slice_of(line.ptr + head.len, line.len - head.len - tail.len);
    for (size_t i = 0; i < countof(labels); i++) {
        if (slice_eq(label, slice_str(labels[i]))) {
            return true;
        }
    }
    return false;
}

static bool
line_is_base64(struct slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        const char c = line.ptr[i];
        const bool digit =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!digit && c != '+' && c != '/' && c != '=') {
            return false;
        }
    }
    return true;
}

/* A certificate is a DER sequence: its first byte is 0x30, and so its first digit 'M'. */
static bool
block_may_begin(struct slice line)
{
    return line.len > 0 && line.ptr[0] == 'M';
}

enum pem_result
pem_certificates(struct slice text, int *broken_line)
{
    int line_number = 0;
    int begin_line = 0; /* of the block that we are in; 0 = none */
    int body_lines = 0;
    int whole = 0;
    struct slice line = { 0 };
    while (slice_split(&text, '\n', &line)) {
        line_number++;
        line.len -= slice_ends(line, SLICE("\r")) ? 1 : 0;
        if (begin_line == 0) {
            begin_line = line_marks(line, SLICE(BEGIN)) ? line_number : 0;
            body_lines = 0;
        } else if (line_marks(line, SLICE(END)) && body_lines > 0) {
            whole++;
            begin_line = 0;
        } else if (line.len > 0 && line_is_base64(line)
                   && (body_lines > 0 || block_may_begin(line))) {
            body_lines++;
        } else {
            break;
        }
    }
    *broken_line = begin_line;
    return begin_line > 0 ? PEM_BROKEN : whole > 0 ? PEM_CERTIFICATES : PEM_NONE;
}
