/* mock/behaviour.c: the words of a behaviour, read by the tables of tbl/behaviours.h. */
#include "mock/behaviour_priv.h"

#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/money.h"

struct number_key {
    const char *name;
    size_t offset;
    int64_t least, most;
};

static const struct number_key number_keys[] = {
#define NUMBER_KEY(field, unset, least, most, what)                                                \
    { #field, offsetof(struct mock_behaviour, field), least, most },
    MOCK_NUMBERS(NUMBER_KEY)
#undef NUMBER_KEY
};

static const struct {
    const char *name;
    size_t offset;
} text_keys[] = {
#define TEXT_KEY(field, what) { #field, offsetof(struct mock_behaviour, field) },
    MOCK_TEXTS(TEXT_KEY)
#undef TEXT_KEY
};

static const char *const usage_names[] = {
#define USAGE_NAME(value, name, what) name,
    MOCK_USAGES(USAGE_NAME)
#undef USAGE_NAME
};

static const char *const error_names[] = {
#define ERROR_NAME(value, name, status, what) name,
    MOCK_ERRORS(ERROR_NAME)
#undef ERROR_NAME
};

static const int error_statuses[] = {
#define ERROR_STATUS(value, name, status, what) status,
    MOCK_ERRORS(ERROR_STATUS)
#undef ERROR_STATUS
};

static const char *const events_names[] = {
#define EVENTS_NAME(value, name, what) name,
    MOCK_EVENTS(EVENTS_NAME)
#undef EVENTS_NAME
};

static const char *const framing_names[] = {
#define FRAMING_NAME(value, name, what) name,
    MOCK_FRAMINGS(FRAMING_NAME)
#undef FRAMING_NAME
};

struct mock_behaviour
mock_behaviour_default(void)
{
    return (struct mock_behaviour){
#define NUMBER_DEFAULT(field, unset, least, most, what) .field = unset,
        MOCK_NUMBERS(NUMBER_DEFAULT)
#undef NUMBER_DEFAULT
    };
}

static bool
fail(struct mock_behaviour_fault *fault, const char *what, struct slice key, struct slice value)
{
    const int key_bytes = (int)min_i64((int64_t)key.len, 40);
    const int value_bytes = (int)min_i64((int64_t)value.len, 60);
    snprintf(fault->text, sizeof fault->text, "%s: %.*s=%.*s (GET /_mock/keys lists all keys)",
        what, key_bytes, key.ptr ? key.ptr : "", value_bytes, value.ptr ? value.ptr : "");
    return false;
}

static bool
read_number(struct mock_behaviour *behaviour, const struct number_key *row, struct slice value,
    struct mock_behaviour_fault *fault)
{
    int64_t number = 0;
    if (!slice_to_i64(value, &number)) {
        return fail(fault, "not a whole number", slice_str(row->name), value);
    }
    if (number < row->least || number > row->most) {
        return fail(fault, "out of range", slice_str(row->name), value);
    }
    memcpy((char *)behaviour + row->offset, &number, sizeof number);
    return true;
}

static bool
percent_valid(struct slice text)
{
    struct buf scratch = { 0 };
    const bool valid = mock_percent_decode(text, &scratch) && !scratch.failed;
    buf_free(&scratch);
    return valid;
}

static bool
unified_valid(struct slice value)
{
    struct slice rest = slice_of(value.ptr + strlen("unified:"), value.len - strlen("unified:"));
    struct slice part;
    int part_count = 0;
    int64_t micros = 0;
    while (slice_split(&rest, ':', &part)) {
        part_count++;
        if (!money_parse(part, MONEY_UP, &micros) || micros < 0 || micros > 100 * MICROS_PER_USD) {
            return false;
        }
    }
    return part_count == 1 || part_count == 2;
}

/* What a text key takes; read again, trusted, when the answer is made. */
static bool
text_valid(struct slice key, struct slice value)
{
    int64_t micros = 0;
    if (slice_eq(key, SLICE("text")) || slice_eq(key, SLICE("type")) || slice_eq(key, SLICE("args"))
        || slice_eq(key, SLICE("should_retry")) || slice_starts(key, SLICE("retry_after"))) {
        return percent_valid(value);
    }
    if (slice_eq(key, SLICE("cost"))) {
        return money_parse(value, MONEY_UP, &micros) && micros >= 0;
    }
    if (slice_eq(key, SLICE("headers"))) {
        return slice_eq(value, SLICE("none"))
               || (slice_starts(value, SLICE("unified:")) && unified_valid(value));
    }
    return true;
}

/* -1: not among them. */
static int
place_of(struct slice value, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(value, slice_str(names[i]))) {
            return (int)i;
        }
    }
    return -1;
}

static bool
read_one(struct mock_behaviour *behaviour, struct slice key, struct slice value,
    struct mock_behaviour_fault *fault)
{
    for (size_t i = 0; i < countof(number_keys); i++) {
        if (slice_eq(key, slice_str(number_keys[i].name))) {
            return read_number(behaviour, &number_keys[i], value, fault);
        }
    }
    for (size_t i = 0; i < countof(text_keys); i++) {
        if (slice_eq(key, slice_str(text_keys[i].name))) {
            if (!text_valid(key, value)) {
                return fail(fault, "this key does not take that value", key, value);
            }
            memcpy((char *)behaviour + text_keys[i].offset, &value, sizeof value);
            return true;
        }
    }
    const struct {
        const char *name;
        const char *const *names;
        size_t count;
    } lists[] = { { "usage", usage_names, countof(usage_names) },
        { "error", error_names, countof(error_names) },
        { "events", events_names, countof(events_names) },
        { "framing", framing_names, countof(framing_names) } };
    for (size_t i = 0; i < countof(lists); i++) {
        if (slice_eq(key, slice_str(lists[i].name))) {
            const int place = place_of(value, lists[i].names, lists[i].count);
            if (place < 0) {
                return fail(fault, "this key does not take that value", key, value);
            }
            switch (i) {
            case 0: behaviour->usage = (enum mock_usage)place; break;
            case 1:
                behaviour->error = (enum mock_error)place;
                behaviour->error_set = true;
                break;
            case 2: behaviour->events = (enum mock_events)place; break;
            default: behaviour->framing = (enum mock_framing)place; break;
            }
            return true;
        }
    }
    return fail(fault, "unknown key", key, value);
}

bool
mock_behaviour_read(
    struct mock_behaviour *behaviour, struct slice words, struct mock_behaviour_fault *fault)
{
    struct slice rest = words;
    struct slice word;
    while (slice_split(&rest, ',', &word)) {
        word = slice_trim(word);
        if (word.len == 0) {
            continue;
        }
        const ptrdiff_t equals = slice_find(word, SLICE("="));
        if (equals <= 0) {
            return fail(fault, "a word is key=value", word, SLICE(""));
        }
        const struct slice key = slice_of(word.ptr, (size_t)equals);
        const struct slice value = slice_of(word.ptr + equals + 1, word.len - (size_t)equals - 1);
        if (!read_one(behaviour, key, value, fault)) {
            return false;
        }
        if (behaviour->status != 0 && behaviour->status < 300) {
            return fail(fault, "not the status of an error", key, value);
        }
    }
    return true;
}

bool
mock_behaviour_keep(struct mock_behaviour *behaviour, struct arena *arena)
{
    for (size_t i = 0; i < countof(text_keys); i++) {
        struct slice text;
        memcpy(&text, (char *)behaviour + text_keys[i].offset, sizeof text);
        if (!text.ptr) {
            continue; /* unset, which is not the same as empty */
        }
        text = arena_copy(arena, text);
        if (!text.ptr) {
            return false;
        }
        memcpy((char *)behaviour + text_keys[i].offset, &text, sizeof text);
    }
    return true;
}

bool
mock_behaviour_of_model(struct slice model, struct slice *words)
{
    if (!slice_starts(model, SLICE("mock:"))) {
        return false;
    }
    *words = slice_of(model.ptr + strlen("mock:"), model.len - strlen("mock:"));
    return true;
}

int
mock_behaviour_error_status(const struct mock_behaviour *behaviour)
{
    if (behaviour->status != 0) {
        return (int)behaviour->status;
    }
    if (behaviour->html != 0) {
        return 502;
    }
    if (behaviour->error_set) {
        return error_statuses[behaviour->error];
    }
    return behaviour->fail_first > 0 ? 500 : 0;
}

bool
mock_behaviour_of_path(struct slice path, struct slice *words, struct slice *rest)
{
    if (!slice_starts(path, SLICE("/~"))) {
        return false;
    }
    size_t end = 2;
    while (end < path.len && path.ptr[end] != '/') {
        end++;
    }
    *words = slice_of(path.ptr + 2, end - 2);
    *rest = slice_of(path.ptr + end, path.len - end);
    return true;
}

bool
mock_percent_decode(struct slice text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '%') {
            buf_add_char(out, text.ptr[i]);
            continue;
        }
        const int high = text.len - i > 2 ? hex_digit(text.ptr[i + 1]) : -1;
        const int low = text.len - i > 2 ? hex_digit(text.ptr[i + 2]) : -1;
        if (high < 0 || low < 0) {
            return false;
        }
        buf_add_char(out, (char)(high * 16 + low));
        i += 2;
    }
    return true;
}

void
mock_behaviour_keys_json(struct buf *out)
{
    buf_add_str(out, "{\"keys\":{");
#define NUMBER_JSON(field, unset, least, most, what)                                               \
    buf_addf(out, "\"%s\":{\"default\":%lld,\"least\":%lld,\"most\":%lld,\"what\":", #field,       \
        (long long)(unset), (long long)(least), (long long)(most));                                \
    buf_add_json(out, SLICE(what));                                                                \
    buf_add_str(out, "},");
    MOCK_NUMBERS(NUMBER_JSON)
#undef NUMBER_JSON
#define TEXT_JSON(field, what)                                                                     \
    buf_addf(out, "\"%s\":{\"what\":", #field);                                                    \
    buf_add_json(out, SLICE(what));                                                                \
    buf_add_str(out, "},");
    MOCK_TEXTS(TEXT_JSON)
#undef TEXT_JSON
    buf_add_str(out, "\"usage\":{\"values\":{");
#define USAGE_JSON(value, name, what)                                                              \
    buf_addf(out, "%s\"%s\":", MOCK_USAGE_##value == 0 ? "" : ",", name);                          \
    buf_add_json(out, SLICE(what));
    MOCK_USAGES(USAGE_JSON)
#undef USAGE_JSON
    buf_add_str(out, "}},\"error\":{\"values\":{");
#define ERROR_JSON(value, name, status, what)                                                      \
    buf_addf(out, "%s\"%s\":", MOCK_ERROR_##value == 0 ? "" : ",", name);                          \
    buf_add_json(out, SLICE(what));
    MOCK_ERRORS(ERROR_JSON)
#undef ERROR_JSON
    buf_add_str(out, "}},\"events\":{\"values\":{");
#define EVENTS_JSON(value, name, what)                                                             \
    buf_addf(out, "%s\"%s\":", MOCK_EVENTS_##value == 0 ? "" : ",", name);                         \
    buf_add_json(out, SLICE(what));
    MOCK_EVENTS(EVENTS_JSON)
#undef EVENTS_JSON
    buf_add_str(out, "}},\"framing\":{\"values\":{");
#define FRAMING_JSON(value, name, what)                                                            \
    buf_addf(out, "%s\"%s\":", MOCK_FRAMING_##value == 0 ? "" : ",", name);                        \
    buf_add_json(out, SLICE(what));
    MOCK_FRAMINGS(FRAMING_JSON)
#undef FRAMING_JSON
    buf_add_str(out, "}}}}\n");
}
