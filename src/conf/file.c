/* conf/file.c: whole files, within a bound. */
#include <errno.h>
#include <stdio.h>

#include "conf/conf_priv.h"

enum status
file_read(const char *path, size_t bytes_max, struct buf *out, const char **why)
{
    FILE *file = fopen(path, "rbe");
    if (!file) {
        *why = strerror(errno);
        return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
    }
    (void)setvbuf(file, NULL, _IONBF, 0); /* no copy of a secret stays in a stream's memory */
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        if (!buf_reserve(out, 65536)) {
            *why = "out of memory";
            status = STATUS_FULL;
            break;
        }
        errno = 0;
        const size_t got = fread(out->ptr + out->len, 1, 65536, file);
        out->len += got;
        if (out->len > bytes_max) {
            *why = "it is too large";
            status = STATUS_FULL;
        } else if (ferror(file)) {
            *why = strerror(errno);
            status = STATUS_IO;
        } else if (got == 0) {
            break;
        }
    }
    (void)fclose(file); /* it was only read */
    return status;
}
