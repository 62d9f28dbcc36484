/* cli/progress.c: how far a long piece of work is, on a terminal alone. */
#include "cli/cli_priv.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/plural.h"

#define QUIET_MS  300 /* what is over by then needs no bar */
#define REDRAW_MS 100
#define BAR_WIDTH 30

void
progress_start(struct progress *progress, const char *doing)
{
    *progress = (struct progress){ .doing = doing, .terminal = isatty(STDERR_FILENO) == 1 };
    progress->next_mono_ms = clock_mono_ms() + QUIET_MS;
}

void
progress_show(struct progress *progress, const char *part, int64_t done, int64_t total)
{
    struct buf line = { 0 };
    if (!progress->terminal || clock_mono_ms() < progress->next_mono_ms) {
        return;
    }
    progress->next_mono_ms = clock_mono_ms() + REDRAW_MS;
    progress->drawn = true;
    buf_addf(&line, "\r\033[K%s ", progress->doing);
    if (total > 0) {
        const int64_t percent = done * 100 / total;
        text_bar(percent, BAR_WIDTH, output_is_utf8(), &line);
        buf_addf(&line, " %lld %% %s", (long long)percent, part);
    } else if (done > 0) {
        buf_addf(&line, "%s: %lld row%s", part, (long long)done, plural_s(done));
    } else {
        buf_add_str(&line, part);
    }
    (void)fwrite(line.ptr, 1, line.len, stderr);
    (void)fflush(stderr);
    buf_free(&line);
}

void
progress_end(struct progress *progress)
{
    if (progress->drawn) {
        (void)fputs("\r\033[K", stderr);
        (void)fflush(stderr);
    }
}
