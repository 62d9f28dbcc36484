/* api/adjust_tell.c: what a correction did: how much is used now of each limit that it moved. Told from its row of
 * the ledger, so whoever asks again under an idempotency key is told the same. */
#include "api/adjust_priv.h"

#include "wire/json.h"

/* A limit that it moved, for somebody. */
struct moved {
    char limit[NAME_MAX_BYTES + 1];
    int64_t nth, since_ms, delta, after;
    int64_t subject_id, account_id;
    enum subject_kind kind;
    char name[NAME_MAX_BYTES + 1];
};
struct correction {
    int64_t row_id, account_id;
    bool found;
    int moved_count;
    struct moved moved[HOLD_PARTS_MAX];
};

static void
take_moved(struct correction *correction, struct slice item)
{
    struct json_value value;
    struct moved *moved = &correction->moved[correction->moved_count];
    *moved = (struct moved){ .nth = json_get_i64(item, "nth", 1),
        .since_ms = json_get_i64(item, "window", 0),
        .delta = json_get_i64(item, "delta", 0),
        .after = json_get_i64(item, "after", 0),
        .subject_id = json_get_i64(item, "subject", 0) };
    correction->moved_count +=
        json_get(item, "limit", &value) && json_to_cstr(value, moved->limit, sizeof(moved->limit));
}

static bool
take_row(void *user, const struct ledger_row *row)
{
    struct correction *correction = user;
    struct json_value limits;
    struct json_value item;
    struct json_cursor cursor;
    if (row->id != correction->row_id || !json_get(row->inputs, "limits", &limits)) {
        return true;
    }
    correction->found = true;
    correction->account_id = row->account_id;
    json_start(&cursor, limits.text);
    const bool listed = json_enter(&cursor, '[');
    while (listed && correction->moved_count < HOLD_PARTS_MAX && json_next_item(&cursor)
           && json_take(&cursor, &item)) {
        take_moved(correction, item.text);
    }
    return false;
}

static bool
take_subject(void *user, const struct subject_row *row)
{
    struct correction *correction = user;
    for (int i = 0; i < correction->moved_count; i++) {
        struct moved *moved = &correction->moved[i];
        if (moved->subject_id == row->subject_id) {
            moved->kind = row->kind;
            moved->account_id = row->account_id;
            memcpy(moved->name, row->name, sizeof(moved->name));
        }
    }
    return true;
}

/* Its row, and who each limit counted it for: the account that it was of, or nobody's. */
static enum status
read_correction(struct api_worker *worker, struct correction *correction)
{
    const struct ledger_filter filter = { .kind = LEDGER_ADJUST, .id = correction->row_id };
    enum status status = store_read_ledger(worker->reader, &filter, take_row, correction);
    for (int own = 0; own < 2 && status == STATUS_OK; own++) {
        const struct subject_filter whose = { .account_id = own ? correction->account_id : 0 };
        if (!own || correction->account_id) {
            status = store_read_subjects(worker->reader, &whose, take_subject, correction);
        }
    }
    return status;
}

static void
put_moved(struct buf *out, const struct moved *moved, const struct limit_defs *defs,
    const struct names *names)
{
    const struct limit_def_row *def = limit_def_named(defs, slice_str(moved->limit), moved->nth);
    put_open(out, NULL, '{');
    put_text(out, "limit", moved->limit);
    put_text_or_null(out, "per", def ? per_word((enum per_kind)def->per) : NULL);
    put_text_or_null(out, "window", def ? window_word((enum window_kind)def->window) : NULL);
    put_meter_of(out, moved->kind, moved->account_id, moved->name, names);
    put_text_or_null(out, "unit",
        !def                        ? NULL
        : def->counts == COUNT_COST ? "micro_usd"
                                    : count_word((enum count_kind)def->counts));
    put_time(out, "since", moved->since_ms);
    put_i64(out, "used_before", money_add(moved->after, -moved->delta));
    put_i64(out, "used", moved->after);
    put_close(out, '}');
}

/* An account that another gateway has just made may be on the books before its name is known here. */
static bool
names_with(struct api_worker *worker, int64_t account_id)
{
    if (!names_ready(worker, NULL)) {
        return false;
    }
    if (account_id != 0 && !names_by_id(&worker->names, account_id)) {
        worker->names.filled = false;
    }
    return names_ready(worker, NULL);
}

/* The answer is an object, and goes on with `limits`: null where the row cannot be read, since the change was made. */
void
adjust_tell(struct api_worker *worker, struct ask *ask)
{
    struct json_value value;
    char text[32];
    struct limit_defs defs = { 0 };
    struct correction correction = { 0 };
    if (!json_get(buf_slice(&ask->out), "row", &value) || !json_to_cstr(value, text, sizeof(text))
        || !slice_to_i64(slice_str(text), &correction.row_id)) {
        return;
    }
    struct buf *out = &ask->out;
    out->len -= sizeof("}\n") - 1; /* goes on where answer_end has ended it */
    if (defs_read(worker, NULL, &defs) && read_correction(worker, &correction) == STATUS_OK
        && correction.found && names_with(worker, correction.account_id)) {
        put_open(out, "limits", '[');
        for (int i = 0; i < correction.moved_count; i++) {
            put_moved(out, &correction.moved[i], &defs, &worker->names);
        }
        put_close(out, ']');
    } else {
        put_null(out, "limits");
    }
    answer_end(ask);
    defs_free(&defs);
}
