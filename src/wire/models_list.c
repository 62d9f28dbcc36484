/* wire/models_list.c: the list of models in either dialect. */
#include "wire/models_list.h"

#include "base/civil.h"

static void
add_openai(const struct model_entry *entry, struct buf *out)
{
    buf_add_str(out, "{\"id\":");
    buf_add_json(out, entry->id);
    buf_addf(out, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"tidegate\"",
        (long long)(entry->created_ms / SECOND_MS));
    if (entry->context > 0) {
        buf_addf(out, ",\"context_length\":%lld", (long long)entry->context);
    }
    if (entry->max_output > 0) {
        buf_addf(out, ",\"max_output_tokens\":%lld", (long long)entry->max_output);
    }
    buf_add_char(out, '}');
}

static void
add_anthropic(const struct model_entry *entry, struct buf *out)
{
    char created[32];
    civil_rfc3339(entry->created_ms, false, created);
    buf_add_str(out, "{\"type\":\"model\",\"id\":");
    buf_add_json(out, entry->id);
    buf_add_str(out, ",\"display_name\":");
    buf_add_json(out, entry->id);
    buf_addf(out, ",\"created_at\":\"%s\"}", created);
}

static void
add_id_or_null(struct slice id, struct buf *out)
{
    if (id.len > 0) {
        buf_add_json(out, id);
    } else {
        buf_add_str(out, "null");
    }
}

void
models_list_render(
    enum dialect dialect, const struct model_entry *entries, uint32_t entry_count, struct buf *out)
{
    const bool openai = dialect == DIALECT_OPENAI;
    buf_add_str(out, openai ? "{\"object\":\"list\",\"data\":[" : "{\"data\":[");
    for (uint32_t i = 0; i < entry_count; i++) {
        if (i > 0) {
            buf_add_char(out, ',');
        }
        if (openai) {
            add_openai(&entries[i], out);
        } else {
            add_anthropic(&entries[i], out);
        }
    }
    buf_add_char(out, ']');
    if (!openai) {
        const struct slice none = { 0 };
        buf_add_str(out, ",\"has_more\":false,\"first_id\":");
        add_id_or_null(entry_count > 0 ? entries[0].id : none, out);
        buf_add_str(out, ",\"last_id\":");
        add_id_or_null(entry_count > 0 ? entries[entry_count - 1].id : none, out);
    }
    buf_add_char(out, '}');
}
