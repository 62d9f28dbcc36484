/* api/keys.c: keys, as admins make, revoke and list them. A secret is in the answer that makes it, nowhere
 * else. */
#include "api/api_priv.h"

#include "base/secret.h"
#include "log/log.h"

#define KEYS_DEFAULT    1000
#define KEYS_MAX        10000
#define KEY_PREFIX      "tg-"
#define KEY_BYTES       (sizeof(KEY_PREFIX) - 1 + 43 + 1)
#define KEY_SHOWN_BYTES 10 /* of its beginning; 33 characters stay unknown */

/* --- Listing. */

struct listing {
    struct buf *out;
    const struct names *names;
    int64_t now_ms, after_id, left, last_id;
    bool more;
};

static const char *
key_state_word(const struct key_row *row, int64_t now_ms)
{
    if (row->revoked) {
        return "revoked";
    }
    return row->expires_ms && row->expires_ms <= now_ms ? "expired" : "ok";
}

static bool
put_key_row(void *user, const struct key_row *row)
{
    struct listing *listing = user;
    if (row->key_id <= listing->after_id) {
        return true;
    }
    if (listing->left-- == 0) {
        listing->more = true;
        return false;
    }
    struct buf *out = listing->out;
    const struct account_name *account = names_by_id(listing->names, row->account_id);
    put_open(out, NULL, '{');
    put_id(out, "id", "key_", row->key_id);
    put_text_or_null(out, "account", account ? account->name : NULL);
    put_text_or_null(out, "label", row->label);
    put_text(out, "shown", row->shown);
    put_text(out, "role", role_word(row->role));
    put_text(out, "state", key_state_word(row, listing->now_ms));
    put_time(out, "created_at", row->created_ms);
    put_time(out, "expires_at", row->expires_ms);
    put_text_or_null(out, "may_act_for", row->may_act_for);
    put_bool(out, "thread_required", row->thread_required);
    put_close(out, '}');
    listing->last_id = row->key_id;
    return !out->failed;
}

void
get_keys(struct api_worker *worker, struct ask *ask)
{
    char account[NAME_MAX_BYTES + 1] = "";
    int64_t limit = KEYS_DEFAULT;
    int64_t account_id = 0;
    struct listing listing = { .names = &worker->names, .now_ms = ask->now_ms };
    const struct field fields[] = {
        { "account", FIELD_NAME, account },
        { "limit", FIELD_COUNT, &limit, .max = KEYS_MAX },
        { "after", FIELD_ID, &listing.after_id, .prefix = "key_" },
    };
    if (!fields_of_query(ask, fields, countof(fields)) || !names_ready(worker, ask)
        || !names_id_of(worker, ask, account, &account_id)) {
        return;
    }
    listing.left = limit;
    listing.out = answer_begin(ask, 200);
    put_open(listing.out, "keys", '[');
    if (store_read_keys(worker->reader, account_id, put_key_row, &listing) != STATUS_OK) {
        worker_read_failed(worker, ask);
        return;
    }
    put_close(listing.out, ']');
    put_id(listing.out, "next_after", "key_", listing.more ? listing.last_id : 0);
    answer_end(ask);
}

/* --- Making. */

/* Sends the event with its note; the answer to "done" stands already, all others are answered. */
static void
change_key(struct api_worker *worker, struct ask *ask, struct event *event, const char *what,
    struct slice kept)
{
    struct verdict verdict;
    const struct key_row *row = &event->admin.key;
    struct buf note = { 0 };
    put_open(&note, NULL, '{');
    put_text(&note, "verb", what);
    if (event->admin.verb == ADMIN_KEY_PUT) {
        put_text(&note, "account", event->admin.account.name);
        put_text(&note, "role", role_word(row->role));
        put_text(&note, "shown", row->shown);
        put_text_or_null(&note, "label", row->label);
        put_time(&note, "expires_at", row->expires_ms);
        put_text_or_null(&note, "may_act_for", row->may_act_for);
        put_bool(&note, "thread_required", row->thread_required);
    }
    put_close(&note, '}');
    event->admin.note = buf_slice(&note);
    const bool came = !note.failed && change_once(worker, ask, event, kept, &verdict);
    if (note.failed) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
    }
    buf_free(&note); /* the engine has its copy */
    if (!came) {
        return;
    }
    if (verdict.admin == ADMIN_DONE) {
        log_line(
            LOG_INFO, "admin", "%s by %s: key_%lld", what, ask->actor, (long long)verdict.new_id);
    } else if (event->admin.verb == ADMIN_KEY_PUT) {
        answer_reason(ask, REASON_ACCOUNT_UNKNOWN);
    } else {
        answer_fault(ask, API_FAULT_KEY_UNKNOWN, NULL);
    }
}

static bool
key_makes_sense(struct ask *ask, const struct event *event)
{
    const struct key_row *row = &event->admin.key;
    if (!event->admin.account.name[0]) {
        answer_field(ask, API_FAULT_FIELD, "account", "is empty");
        return false;
    }
    if (row->may_act_for[0] && row->role != ROLE_SERVICE) {
        answer_field(ask, API_FAULT_FIELD, "may_act_for", "goes with the role service alone");
        return false;
    }
    if (strcmp(row->may_act_for, "*") == 0) {
        answer_field(ask, API_FAULT_FIELD, "may_act_for", "needs a prefix, such as app-*");
        return false;
    }
    if (row->expires_ms && row->expires_ms <= ask->now_ms) {
        answer_field(ask, API_FAULT_FIELD, "expires_at", "is over already");
        return false;
    }
    return true;
}

/* `secret` NULL: as a receipt keeps it. */
static void
put_made(struct buf *out, const struct event *event, const char *secret)
{
    const struct key_row *row = &event->admin.key;
    put_new_id(out, "id", "key_");
    put_text_or_null(out, "key", secret);
    if (!secret) {
        put_text(out, "note",
            "The key was made before, and its secret was in the first answer alone. If that was lost, revoke "
            "this key and make another.");
    }
    put_text(out, "account", event->admin.account.name);
    put_text(out, "role", role_word(row->role));
    put_text_or_null(out, "label", row->label);
    put_time(out, "expires_at", row->expires_ms);
    put_text_or_null(out, "may_act_for", row->may_act_for);
    put_bool(out, "thread_required", row->thread_required);
}

/* The answer has the secret; what is kept of it has not. */
static void
make_key(struct api_worker *worker, struct ask *ask, struct event *event, const char *secret)
{
    struct buf kept = { 0 };
    put_made(answer_begin(ask, 201), event, secret);
    answer_end(ask);
    buf_add_char(&kept, '{');
    put_made(&kept, event, NULL);
    buf_add_str(&kept, "}\n");
    if (kept.failed) {
        answer_fault(ask, API_FAULT_MEMORY, NULL);
    } else {
        change_key(worker, ask, event, "key_add", buf_slice(&kept));
    }
    buf_free(&kept);
}

void
post_key(struct api_worker *worker, struct ask *ask)
{
    struct event event = admin_event(ask, ADMIN_KEY_PUT);
    struct key_row *row = &event.admin.key;
    const struct field fields[] = {
        { "account", FIELD_NAME, event.admin.account.name, .required = true },
        { "role", FIELD_ROLE, &row->role },
        { "label", FIELD_NAME, row->label },
        { "expires_at", FIELD_TIME, &row->expires_ms },
        { "may_act_for", FIELD_NAME, row->may_act_for },
        { "thread_required", FIELD_BOOL, &row->thread_required },
    };
    if (!fields_of_body(ask, fields, countof(fields)) || !key_makes_sense(ask, &event)) {
        return;
    }
    /* Operators write PREFIX*; the star is no part of the prefix. */
    const size_t prefix_len = strlen(row->may_act_for);
    if (prefix_len > 1 && row->may_act_for[prefix_len - 1] == '*') {
        row->may_act_for[prefix_len - 1] = '\0';
    }
    char secret[KEY_BYTES];
    secret_mint(KEY_PREFIX, secret, sizeof(secret));
    secret_hash_hex(slice_str(secret), row->hash_hex);
    (void)slice_to_cstr(slice_of(secret, KEY_SHOWN_BYTES), row->shown, sizeof(row->shown));
    make_key(worker, ask, &event, secret);
    secret_wipe(secret, sizeof(secret));
}

void
post_key_revoke(struct api_worker *worker, struct ask *ask)
{
    struct event event = admin_event(ask, ADMIN_KEY_REVOKE);
    if (!api_id_parse(ask->segment, SLICE("key_"), &event.admin.key.key_id)) {
        answer_fault(ask, API_FAULT_KEY_UNKNOWN, NULL);
        return;
    }
    struct buf *out = answer_begin(ask, 200);
    put_new_id(out, "id", "key_");
    put_text(out, "state", "revoked");
    answer_end(ask);
    change_key(worker, ask, &event, "key_revoke", (struct slice){ 0 });
}
