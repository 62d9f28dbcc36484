/* tbl/tbl.c: the lists of the headers beside this file, as data. */
#include <string.h>

#include "tbl/apis.h"
#include "tbl/counts.h"
#include "tbl/reasons.h"
#include "tbl/topics.h"

static const struct reason_row reason_rows[] = {
#define REASON_ROW(name, code, scope, control, class_, sentence)                                   \
    [REASON_##name] = { code, scope, control, REASON_CLASS_##class_, sentence },
    REASONS(REASON_ROW)
#undef REASON_ROW
};

const struct reason_row *
reason_row(enum reason reason)
{
    if ((unsigned)reason >= REASON_COUNT) {
        __builtin_trap(); /* tbl includes nothing, so not check() */
    }
    return &reason_rows[reason];
}

enum reason
reason_from_code(const char *code, unsigned long len)
{
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        if (strlen(reason_rows[i].code) == len && memcmp(reason_rows[i].code, code, len) == 0) {
            return (enum reason)i;
        }
    }
    return REASON_COUNT;
}

#define WORD_FUNCTION(enum_name, function, LIST)                                                   \
    const char *function(enum enum_name value)                                                     \
    {                                                                                              \
        switch (value) {                                                                           \
            LIST(WORD_CASE)                                                                        \
        default: return "?";                                                                       \
        }                                                                                          \
    }
#define WORD_CASE(name, word, ...)                                                                 \
    case name: return word;

WORD_FUNCTION(count_kind, count_word, COUNT_KINDS)
WORD_FUNCTION(per_kind, per_word, PER_KINDS)
WORD_FUNCTION(window_kind, window_word, WINDOW_KINDS)
WORD_FUNCTION(at_cap_kind, at_cap_word, AT_CAP_KINDS)
WORD_FUNCTION(api, api_word, APIS)
WORD_FUNCTION(topic, topic_word, TOPICS)

#define HELP_CASE(name, word, help)                                                                \
    case name: return help;

const char *
topic_help(enum topic value)
{
    switch (value) {
        TOPICS(HELP_CASE)
    default: return "?";
    }
}

#define PATH_CASE(name, word, path)                                                                \
    case name: return path;

const char *
api_path(enum api api)
{
    switch (api) {
        APIS(PATH_CASE)
    default: return "?";
    }
}

enum dialect
api_dialect(enum api api)
{
    return api == API_MESSAGES || api == API_COUNT_TOKENS ? DIALECT_ANTHROPIC : DIALECT_OPENAI;
}

static const struct limit_form limit_forms[] = {
#define FORM_ROW(counts, per, window) { counts, per, window },
    LIMIT_FORMS(FORM_ROW)
#undef FORM_ROW
};

int
limit_form_exists(enum count_kind counts, enum per_kind per, enum window_kind window)
{
    for (unsigned i = 0; i < sizeof limit_forms / sizeof limit_forms[0]; i++) {
        const struct limit_form *form = &limit_forms[i];
        if (form->counts == counts && form->per == per && form->window == window) {
            return 1;
        }
    }
    return 0;
}

bool
per_is_shared(enum per_kind per)
{
    switch (per) {
    case PER_ACCOUNT:
    case PER_KEY:
    case PER_THREAD_TREE:
    case PER_ACCOUNT_MODEL: return false;
    default: return true;
    }
}
