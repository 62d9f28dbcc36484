/* conf/conf.h: YAML, price and zone files to a policy. A file that is wrong is refused whole, with file,
 * line, column and what would be right. */
#pragma once

#include "base/buf.h"
#include "base/status.h"
#include "policy/policy.h"

struct conf_error {
    char text[4096]; /* up to ten lines: "tidegate.yaml:12:5: unknown option 'cpa'; did you mean 'cap'?" */
};

/* On STATUS_OK *policy has one reference, owned by the caller; version and limit ids are still 0.
 * STATUS_INVALID or STATUS_IO: error->text is one or more lines for a person, nothing is kept. */
MUST_USE enum status conf_load_file(const char *path, struct policy **policy, struct conf_error *error);
/* `name` stands for the file in errors. */
MUST_USE enum status conf_load_text(const char *name, struct slice yaml, struct policy **policy,
    struct conf_error *error);
/* The sandbox's policy: mock provider at `mock_port`, a few models, no limits but a small month. */
MUST_USE enum status conf_sandbox(uint16_t mock_port, const char *store, const char *listen, struct policy **policy,
    struct conf_error *error);
/* The commented configuration that `tidegate init` writes. Static storage. */
const char *conf_sample(void);

/* Reads a price book (format of prices.json: micro-USD integers; or LiteLLM's per-token decimals), for
 * `tidegate prices import`; checks ranges; writes the normal form to `out`. */
MUST_USE enum status conf_prices_import(const char *name, struct slice json, struct buf *out,
    struct conf_error *error);
