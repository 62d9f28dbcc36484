/* api/reload.c: the configuration read again, by the function that gateway.c lends. */
#include "api/api_priv.h"

void
post_reload(struct api_worker *worker, struct ask *ask)
{
    const struct api_options *options = &worker->api->options;
    struct buf said = { 0 };
    bool mixed = false;
    const struct field fields[] = { { "mixed", FIELD_BOOL, &mixed } };
    if (ask->body.len > 0 && !fields_of_body(ask, fields, countof(fields))) {
        return;
    }
    const enum status status = options->reload
                                   ? options->reload(options->reload_user, ask->actor, mixed, &said)
                                   : STATUS_NOT_FOUND;
    if (status == STATUS_NOT_FOUND) {
        answer_fault(ask, API_FAULT_CONFIG_NONE, NULL);
    } else if (status != STATUS_OK) {
        answer_fault(ask, API_FAULT_CONFIG_WRONG, buf_cstr(&said));
    } else {
        struct buf *out = answer_begin(ask, 200);
        put_bool(out, "reloaded", true);
        put_text(out, "message", buf_cstr(&said));
        answer_end(ask);
    }
    buf_free(&said);
}
