/* tbl/options.c: the table of options as data. */
#include "tbl/options.h"

static const struct option_row rows[] = {
#define OPTION_ROW(name, path, type, form, preset, low, high, sentence)                            \
    [OPTION_##name] = { path, OPTION_TYPE_##type, form, preset, low, high, sentence },
    OPTIONS(OPTION_ROW)
#undef OPTION_ROW
};

const struct option_row *
option_row(enum option option)
{
    if ((unsigned)option >= OPTION_COUNT) {
        __builtin_trap(); /* tbl includes nothing, so not check() */
    }
    return &rows[option];
}
