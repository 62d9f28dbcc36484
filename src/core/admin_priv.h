/* core/admin_priv.h: whose cap or meter an admin speaks of. */
#pragma once

#include "core/core_priv.h"

struct whose {
    enum subject_kind kind;
    int64_t account_id, key_id;
    char name[NAME_MAX_BYTES + 1];
};
/* Whose meter a limit per that counts for. */
enum subject_kind subject_kind_of(enum per_kind per);
void whose_number(struct whose *whose, int64_t number);
bool whose_key(struct work *work, int64_t key_id, struct whose *whose);
/* By the event's `cap`. False: there is no such account, key or thread, or its row is not loaded yet. */
bool whose_find(const struct core *core, const struct admin_event *admin, struct whose *whose);
/* NULL: it was not looked for yet. */
struct subject_slot *whose_subject(const struct core *core, const struct whose *whose);
/* As it is stored, or as it would be made: with the number 0. */
struct subject_row whose_row(const struct core *core, const struct whose *whose);
