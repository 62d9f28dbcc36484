/* wire/quota_priv.h: what the files of upstream answers share. */
#pragma once

#include "wire/quota.h"

/* The error inside a body of any dialect: an object or a text; empty where there is none. */
struct slice quota_error_object(struct slice body);
