/* rows/rows.c: the words of the rows' enums, and what a row must obey. */
#include "rows/rows.h"

#include "base/buf.h"

/* --- Words. */

static const char *const role_words[] = {
    [ROLE_USER] = "user",
    [ROLE_SERVICE] = "service",
    [ROLE_OBSERVER] = "observer",
    [ROLE_ADMIN] = "admin",
};
_Static_assert(countof(role_words) == ROLE_COUNT, "a word each");

static const char *const thread_kind_words[] = {
    [THREAD_NAMED] = "named",
    [THREAD_CLAUDE_CODE] = "claude_code",
    [THREAD_METADATA_SESSION] = "metadata_session",
    [THREAD_ID_HEADER] = "thread_id",
    [THREAD_SESSION_HEADER] = "session_id",
    [THREAD_X_SESSION] = "x_session_id",
    [THREAD_PROMPT_CACHE_KEY] = "prompt_cache_key",
    [THREAD_CONVERSATION] = "conversation",
    [THREAD_KEY_DAY] = "key_day",
};
_Static_assert(countof(thread_kind_words) == THREAD_KIND_COUNT, "a word each");

static const char *const ledger_kind_words[] = {
    [LEDGER_SETTLE] = "settle",
    [LEDGER_UNBILLED] = "unbilled",
    [LEDGER_RELEASE] = "release",
    [LEDGER_ORPHAN] = "orphan",
    [LEDGER_ADJUST] = "adjust",
    [LEDGER_REFUSAL] = "refusal",
    [LEDGER_ADMIN] = "admin",
    [LEDGER_WARN] = "warn",
    [LEDGER_SHADOW] = "shadow",
};
_Static_assert(countof(ledger_kind_words) == LEDGER_KIND_COUNT, "a word each");

static const char *const reported_source_words[] = {
    [REPORTED_BY_REPORT] = "report",
    [REPORTED_BY_HEADERS] = "headers",
};
_Static_assert(countof(reported_source_words) == REPORTED_SOURCE_COUNT, "a word each");

static const char *
word_at(const char *const *words, size_t word_count, unsigned index)
{
    return index < word_count ? words[index] : "?";
}

/* Index of `word`, or word_count. */
static size_t
word_index(const char *const *words, size_t word_count, struct slice word)
{
    size_t index = 0;
    while (index < word_count && !slice_eq(slice_str(words[index]), word)) {
        index++;
    }
    return index;
}

const char *
role_word(enum key_role role)
{
    return word_at(role_words, countof(role_words), role);
}

bool
role_from_word(struct slice word, enum key_role *role)
{
    const size_t index = word_index(role_words, countof(role_words), word);
    if (index == countof(role_words)) {
        return false;
    }
    *role = (enum key_role)index;
    return true;
}

const char *
thread_kind_word(enum thread_kind kind)
{
    return word_at(thread_kind_words, countof(thread_kind_words), kind);
}

const char *
reported_source_word(enum reported_source source)
{
    return word_at(reported_source_words, countof(reported_source_words), source);
}

const char *
ledger_kind_word(enum ledger_kind kind)
{
    return word_at(ledger_kind_words, countof(ledger_kind_words), kind);
}

bool
ledger_kind_ages(enum ledger_kind kind)
{
    return kind == LEDGER_SETTLE || kind == LEDGER_UNBILLED || kind == LEDGER_RELEASE
           || kind == LEDGER_ORPHAN || kind == LEDGER_REFUSAL || kind == LEDGER_WARN
           || kind == LEDGER_SHADOW;
}

bool
ledger_kind_from_word(struct slice word, enum ledger_kind *kind)
{
    const size_t index = word_index(ledger_kind_words, countof(ledger_kind_words), word);
    if (index == countof(ledger_kind_words)) {
        return false;
    }
    *kind = (enum ledger_kind)index;
    return true;
}

/* --- Text. */

/* Length of the character that begins `text`, or 0 when it is not UTF-8 (Unicode, table 3-7) or is
 * a control character. */
static size_t
printable_char_len(struct slice text)
{
    const unsigned char first = (unsigned char)text.ptr[0];
    if (first < 0x80) {
        return first >= 0x20 && first != 0x7F ? 1 : 0;
    }
    if (first < 0xC2 || first > 0xF4) {
        return 0;
    }
    const size_t len = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (text.len < len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if (((unsigned char)text.ptr[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    const unsigned char second = (unsigned char)text.ptr[1];
    const bool control = first == 0xC2 && second < 0xA0; /* U+0080 to U+009F */
    const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
    const bool surrogate = first == 0xED && second > 0x9F;
    const bool too_large = first == 0xF4 && second > 0x8F;
    return control || overlong || surrogate || too_large ? 0 : len;
}

static bool
text_printable(struct slice text)
{
    while (text.len > 0) {
        const size_t len = printable_char_len(text);
        if (len == 0) {
            return false;
        }
        text = slice_of(text.ptr + len, text.len - len);
    }
    return true;
}

/* Controls of the writing direction and separators of lines make a name look like another: U+061C, U+200E,
 * U+200F, U+2028 to U+202E, U+2066 to U+2069. */
static bool
text_misleads(struct slice text)
{
    for (size_t i = 0; i + 1 < text.len; i++) {
        const unsigned char *c = (const unsigned char *)text.ptr + i;
        if (c[0] == 0xD8 && c[1] == 0x9C) {
            return true;
        }
        if (c[0] != 0xE2 || i + 2 >= text.len) {
            continue;
        }
        if ((c[1] == 0x80 && ((c[2] >= 0xA8 && c[2] <= 0xAE) || c[2] == 0x8E || c[2] == 0x8F))
            || (c[1] == 0x81 && c[2] >= 0xA6 && c[2] <= 0xA9)) {
            return true;
        }
    }
    return false;
}

bool
name_valid(struct slice name)
{
    return name.len >= 1 && name.len <= NAME_MAX_BYTES && name.ptr[0] != ' '
           && name.ptr[name.len - 1] != ' ' && text_printable(name) && !text_misleads(name);
}

/* The text of a fixed array; false when it has no end. */
static bool
array_text(const char *array, size_t array_size, struct slice *text)
{
    const size_t len = strnlen(array, array_size);
    *text = slice_of(array, len);
    return len < array_size;
}

static bool
array_terminated(const char *array, size_t array_size)
{
    return memchr(array, '\0', array_size) != NULL;
}

static bool
array_is_name(const char *array, size_t array_size)
{
    struct slice text;
    return array_text(array, array_size, &text) && name_valid(text);
}

static bool
array_is_name_or_empty(const char *array, size_t array_size)
{
    return array[0] == '\0' || array_is_name(array, array_size);
}

#define TERMINATED(array)    array_terminated((array), sizeof(array))
#define IS_NAME(array)       array_is_name((array), sizeof(array))
#define IS_NAME_OR_NO(array) array_is_name_or_empty((array), sizeof(array))

/* Exactly HASH_HEX lowercase hex digits and the NUL. */
static bool
is_hash(const char hash_hex[HASH_HEX + 1])
{
    for (size_t i = 0; i < HASH_HEX; i++) {
        const char c = hash_hex[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return hash_hex[HASH_HEX] == '\0';
}

/* 1 to HASH_HEX visible ASCII characters: a hash, or what stands for one (a key and day, say). */
static bool
is_mark(const char mark[HASH_HEX + 1])
{
    struct slice text;
    if (!array_text(mark, HASH_HEX + 1, &text) || text.len == 0) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= 0x20 || text.ptr[i] >= 0x7F) {
            return false;
        }
    }
    return true;
}

static bool
is_id_text(const char *array, size_t array_size)
{
    struct slice text;
    int64_t id = 0;
    return array_text(array, array_size, &text) && text.len > 0 && text.ptr[0] != '0'
           && slice_to_i64(text, &id) && id > 0;
}

/* --- Numbers. */

static bool
is_id(int64_t id)
{
    return id > 0;
}

static bool
is_id_or_none(int64_t id)
{
    return id >= 0;
}

static bool
is_wall_ms(int64_t ms)
{
    return ms >= 0 && ms <= WALL_MS_MAX;
}

static bool
is_amount(int64_t amount)
{
    return amount >= 0 && amount <= MONEY_MICROS_MAX;
}

static bool
is_signed_amount(int64_t amount)
{
    return amount >= -MONEY_MICROS_MAX && amount <= MONEY_MICROS_MAX;
}

static bool
is_promise(int64_t held, int64_t bound)
{
    return is_amount(held) && is_amount(bound) && held <= bound;
}

/* One more must still be a number. */
static bool
is_version(int64_t version)
{
    return version >= 0 && version < INT64_MAX;
}

static bool
is_http_status(int32_t status)
{
    return status >= 0 && status <= 999;
}

static bool
is_inputs(struct slice inputs)
{
    return inputs.ptr != NULL || inputs.len == 0;
}

/* --- Rows. */

bool
node_valid(const struct node_row *row)
{
    return is_id(row->node_id) && row->epoch >= 1 && row->epoch <= EPOCH_MAX
           && is_wall_ms(row->lease_until_ms) && is_version(row->batch_no)
           && is_wall_ms(row->high_water_ms) && TERMINATED(row->config_hash)
           && IS_NAME_OR_NO(row->name) && is_wall_ms(row->started_ms) && row->waiting_count >= 0;
}

bool
account_valid(const struct account_row *row)
{
    return is_id(row->account_id) && IS_NAME(row->name) && IS_NAME_OR_NO(row->plan)
           && IS_NAME_OR_NO(row->organisation) && (unsigned)row->state <= ACCOUNT_BANNED
           && is_wall_ms(row->created_ms) && is_version(row->version);
}

bool
key_valid(const struct key_row *row)
{
    return is_id(row->key_id) && is_id(row->account_id) && is_hash(row->hash_hex)
           && IS_NAME_OR_NO(row->label) && IS_NAME_OR_NO(row->shown)
           && (unsigned)row->role < ROLE_COUNT && is_wall_ms(row->created_ms)
           && is_wall_ms(row->expires_ms) && IS_NAME_OR_NO(row->may_act_for)
           && is_version(row->version);
}

bool
thread_valid(const struct thread_row *row)
{
    return is_id(row->thread_id) && is_id(row->account_id) && is_id(row->root_id)
           && (unsigned)row->kind < THREAD_KIND_COUNT && is_mark(row->sig_hash)
           && is_wall_ms(row->created_ms) && is_wall_ms(row->last_ms) && row->last_input >= 0
           && row->last_input_bytes >= 0 && is_version(row->version);
}

static bool
subject_named(const struct subject_row *row)
{
    if (!is_id(row->subject_id) || !TERMINATED(row->name)) {
        return false;
    }
    switch (row->kind) {
    case SUBJECT_GATEWAY: return row->account_id == 0 && row->name[0] == '\0';
    case SUBJECT_ACCOUNT: return is_id(row->account_id) && row->name[0] == '\0';
    case SUBJECT_KEY:
    case SUBJECT_TREE: return is_id(row->account_id) && is_id_text(row->name, sizeof(row->name));
    case SUBJECT_MODEL:
    case SUBJECT_PLAN:
    case SUBJECT_GROUP:
    case SUBJECT_ORGANISATION:
    case SUBJECT_TIER:
    case SUBJECT_TAG: return row->account_id == 0 && IS_NAME(row->name);
    case SUBJECT_ACCOUNT_MODEL:
    case SUBJECT_ACCOUNT_ORGANISATION: return is_id(row->account_id) && IS_NAME(row->name);
    case SUBJECT_KIND_COUNT: break;
    }
    return false;
}

static bool
cap_set_valid(const struct cap_set *set)
{
    const bool amount = set->kind == SET_RAISE
                            ? is_amount(set->amount) && set->amount > 0
                            : set->amount == CAP_UNLIMITED || is_amount(set->amount);
    return is_id(set->set_id) && set->kind >= SET_CAP && set->kind < SET_KIND_COUNT && amount
           && is_wall_ms(set->expires_ms) && is_wall_ms(set->set_ms);
}

/* One of each kind a limit, or look-ups lie. */
static bool
cap_sets_valid(const struct subject_row *row)
{
    if (row->set_count < 0 || row->set_count > SETS_MAX || !is_version(row->version)) {
        return false;
    }
    for (int32_t i = 0; i < row->set_count; i++) {
        if (!cap_set_valid(&row->sets[i])) {
            return false;
        }
        for (int32_t j = 0; j < i; j++) {
            if (row->sets[j].set_id == row->sets[i].set_id
                && row->sets[j].kind == row->sets[i].kind) {
                return false;
            }
        }
    }
    return true;
}

bool
subject_valid(const struct subject_row *row)
{
    return subject_named(row) && cap_sets_valid(row);
}

static bool
meter_valid(const struct meter *meter)
{
    /* `settled` may be a credit after corrections; `aux` is the count's own business. */
    return is_id(meter->limit_id) && is_wall_ms(meter->window_ms)
           && is_signed_amount(meter->settled) && is_promise(meter->held, meter->bound);
}

bool
meter_row_valid(const struct meter_row *row)
{
    if (!is_id(row->subject_id) || row->meter_count < 0 || row->meter_count > METERS_MAX
        || !is_wall_ms(row->seen_ms) || !is_version(row->version)) {
        return false;
    }
    for (int32_t i = 0; i < row->meter_count; i++) {
        const struct meter *meter = &row->meters[i];
        if (!meter_valid(meter)) {
            return false;
        }
        for (int32_t j = 0; j < i; j++) { /* one meter a limit and window, or look-ups lie */
            if (row->meters[j].limit_id == meter->limit_id
                && row->meters[j].window_ms == meter->window_ms) {
                return false;
            }
        }
    }
    return true;
}

int64_t
reported_span_ms(const char *window)
{
    int64_t number = 0;
    const char *at = window;
    for (; *at >= '0' && *at <= '9' && number < 1000; at++) {
        number = number * 10 + (*at - '0');
    }
    const int64_t unit_ms = *at == 'm' ? MINUTE_MS : *at == 'h' ? HOUR_MS : *at == 'd' ? DAY_MS : 0;
    const bool named = unit_ms != 0 && (at[1] == '\0' || (at[1] == '_' && at[2] != '\0'));
    return named && number < 1000 && window[0] != '0' ? number * unit_ms : 0;
}

static bool
reported_window_valid(const struct reported_window *window)
{
    return TERMINATED(window->credential) && TERMINATED(window->window)
           && TERMINATED(window->models)
           && (window->credential[0] == '\0' || IS_NAME(window->credential))
           && reported_span_ms(window->window) > 0 && IS_NAME(window->window)
           && (window->models[0] == '\0' || IS_NAME(window->models)) && window->used_milli_pct >= 0
           && window->used_milli_pct <= REPORTED_MILLI_PCT_MAX && is_wall_ms(window->resets_at_ms)
           && is_wall_ms(window->captured_ms) && (unsigned)window->source < REPORTED_SOURCE_COUNT;
}

bool
reported_valid(const struct reported_row *row)
{
    if (!is_id_or_none(row->account_id) || row->window_count < 0 || row->window_count > REPORTED_MAX
        || !is_version(row->version)) {
        return false;
    }
    for (int32_t i = 0; i < row->window_count; i++) {
        const struct reported_window *window = &row->windows[i];
        if (!reported_window_valid(window)) {
            return false;
        }
        for (int32_t j = 0; j < i; j++) { /* one a credential and window, or look-ups lie */
            if (strcmp(row->windows[j].credential, window->credential) == 0
                && strcmp(row->windows[j].window, window->window) == 0) {
                return false;
            }
        }
    }
    return true;
}

static bool
part_attempts_valid(const struct hold_part *part)
{
    if (part_rests(part)) {
        return part->to == 0 && part->held == 0 && part->bound == 0;
    }
    return part->from >= 0 && part->from < ATTEMPTS_MAX
           && (part->to == 0 || (part->to > part->from && part->to < ATTEMPTS_MAX));
}

static bool
hold_part_valid(const struct hold_part *part)
{
    return is_id(part->limit_id) && is_id(part->subject_id) && is_wall_ms(part->window_ms)
           && is_promise(part->held, part->bound)
           && (part->cap == CAP_UNLIMITED || is_amount(part->cap)) && part_attempts_valid(part);
}

static bool
attempt_valid(const struct attempt *attempt)
{
    return TERMINATED(attempt->provider) && TERMINATED(attempt->model)
           && (unsigned)attempt->state <= ATTEMPT_DONE && is_http_status(attempt->status)
           && (unsigned)attempt->reason < REASON_COUNT;
}

static bool
hold_lists_valid(const struct hold_row *row)
{
    if (row->part_count < 0 || row->part_count > HOLD_PARTS_MAX || row->attempt_count < 1
        || row->attempt_count > ATTEMPTS_MAX) {
        return false;
    }
    for (int32_t i = 0; i < row->part_count; i++) {
        if (!hold_part_valid(&row->parts[i])) {
            return false;
        }
    }
    for (int32_t i = 0; i < row->attempt_count; i++) {
        if (!attempt_valid(&row->attempts[i])) {
            return false;
        }
    }
    return true;
}

static bool
is_tokens(int64_t tokens)
{
    return tokens >= 0 && tokens <= TOKENS_MAX;
}

bool
hold_valid(const struct hold_row *row)
{
    return is_id(row->hold_id) && is_id(row->node_id) && row->epoch >= 1 && row->epoch <= EPOCH_MAX
           && is_id(row->account_id) && is_id(row->key_id) && is_id_or_none(row->thread_id)
           && is_id_or_none(row->root_id) && (unsigned)row->payer <= PAYER_USER
           && (unsigned)row->state <= HOLD_OPEN && (unsigned)row->on_abort <= ON_ABORT_STOPS
           && hold_lists_valid(row) && TERMINATED(row->model)
           && is_promise(row->held_micros, row->bound_micros) && is_amount(row->est_micros)
           && is_tokens(row->est_input) && is_tokens(row->input_bound)
           && is_tokens(row->bound_output) && row->held_output >= 0
           && row->held_output <= row->bound_output && row->multiplier_pct >= 1
           && row->multiplier_pct <= MULTIPLIER_PCT_MAX && row->body_bytes >= 0
           && TERMINATED(row->estimator) && is_wall_ms(row->created_ms) && is_inputs(row->inputs);
}

static bool
ledger_texts_valid(const struct ledger_row *row)
{
    return TERMINATED(row->source) && TERMINATED(row->model) && TERMINATED(row->provider)
           && TERMINATED(row->upstream_model) && TERMINATED(row->estimator)
           && is_inputs(row->inputs);
}

bool
ledger_valid(const struct ledger_row *row)
{
    /* An adjustment may lower what was booked; nothing else costs less than nothing. */
    const bool cost_valid = row->kind == LEDGER_ADJUST ? is_signed_amount(row->cost_micros)
                                                       : is_amount(row->cost_micros);
    return is_id(row->id) && is_wall_ms(row->at_ms) && (unsigned)row->kind < LEDGER_KIND_COUNT
           && is_id_or_none(row->hold_id) && row->attempt >= 0 && is_id_or_none(row->account_id)
           && is_id_or_none(row->key_id) && is_id_or_none(row->thread_id)
           && is_id_or_none(row->root_id) && (unsigned)row->payer <= PAYER_USER
           && usage_valid(&row->usage) && cost_valid && is_amount(row->est_micros)
           && is_amount(row->bound_micros) && is_wall_ms(row->started_ms)
           && (unsigned)row->reason < REASON_COUNT && is_http_status(row->status)
           && row->flags <= LEDGER_FLAGS_ALL && ledger_texts_valid(row);
}

bool
refusal_valid(const struct refusal_row *row)
{
    return is_id_or_none(row->account_id) && is_id_or_none(row->key_id)
           && is_id_or_none(row->limit_id) && is_wall_ms(row->minute_ms) && row->count >= 1
           && row->count <= MONEY_MICROS_MAX && is_id_or_none(row->ledger_id)
           && TERMINATED(row->model) && (unsigned)row->reason < REASON_COUNT;
}

bool
issued_valid(const struct issued_row *row)
{
    return is_hash(row->id_hash) && is_id(row->account_id) && is_wall_ms(row->at_ms)
           && TERMINATED(row->provider);
}

bool
receipt_valid(const struct receipt_row *row)
{
    return TERMINATED(row->name) && row->name[0] && (row->asked[0] == '\0' || is_hash(row->asked))
           && is_wall_ms(row->at_ms)
           && (row->status == 0 || (row->status > 199 && row->status < 300))
           && TERMINATED(row->answer);
}

bool
receipt_answer(struct slice answer, int64_t number, char out[RECEIPT_ANSWER_BYTES])
{
    size_t len = 0;
    for (size_t i = 0; i < answer.len; i++) {
        if (len + I64_TEXT_BYTES >= RECEIPT_ANSWER_BYTES) {
            return false;
        }
        if (answer.ptr[i] == RECEIPT_NUMBER) {
            len += i64_text(number, out + len);
        } else {
            out[len++] = answer.ptr[i];
        }
    }
    out[len] = '\0';
    return true;
}

bool
outbox_valid(const struct outbox_row *row)
{
    return is_id(row->id) && is_id_or_none(row->ledger_id) && is_wall_ms(row->at_ms)
           && (unsigned)row->topic < TOPIC_COUNT && IS_NAME(row->hook) && is_wall_ms(row->next_ms)
           && row->attempts >= 0 && row->attempts <= MONEY_MICROS_MAX && TERMINATED(row->last_error)
           && is_inputs(row->body);
}

bool
limit_def_valid(const struct limit_def_row *row)
{
    return is_id(row->def_id) && is_id(row->limit_id) && is_id(row->set_id)
           && is_wall_ms(row->since_ms) && is_wall_ms(row->until_ms) && is_wall_ms(row->span_ms)
           && row->counts >= 0 && row->per >= 0 && row->window >= 0 && IS_NAME(row->name)
           && row->nth >= 1 && is_mark(row->fingerprint) && is_mark(row->thing);
}

const struct limit_def_row *
limit_def_named(const struct limit_defs *defs, struct slice name, int64_t nth)
{
    for (size_t i = 0; i < defs->count; i++) {
        if (defs->rows[i].nth == nth && slice_eq(slice_str(defs->rows[i].name), name)) {
            return &defs->rows[i];
        }
    }
    return NULL;
}

void
meter_row_check(const struct meter_row *row)
{
    check(meter_row_valid(row));
}

void
hold_check(const struct hold_row *row)
{
    check(hold_valid(row));
}

void
ledger_check(const struct ledger_row *row)
{
    check(ledger_valid(row));
}
