/* conf/limits_priv.h: what the files that read limits share. */
#pragma once

#include "conf/conf_priv.h"
#include "conf/value_priv.h"

/* Index of a word of tbl/counts.h, or -1. */
int window_find(struct slice text);
/* limit_window.c: false after a finding. */
bool limit_window_read(struct conf *conf, const struct node *map, struct limit *limit);
/* The zone's name, for the fingerprint; NULL where there is no calendar. */
const char *limit_zone_read(struct conf *conf, const struct node *map, struct limit *limit);
bool window_calendar(enum window_kind window);
/* limit_caps.c */
void limit_cap_read(struct conf *conf, const struct node *map, struct limit *limit);
/* limit_rules.c: at_cap, hold, warn, weights, on_missing and on_stale. */
void limit_rules_read(struct conf *conf, const struct node *map, struct limit *limit);
bool limit_of_model(const struct limit *limit, const struct model *model);
/* limit_sense.c: once all are read. */
void limits_judge(struct conf *conf, const struct node *maps);
