/* conf/conf.h: YAML, price and zone files to a policy. A file that is wrong is refused whole, with file,
 * line, column and what would be right; up to ten findings at once.
 *
 * The options are written once, in tbl/options.h; data/tidegate.yaml shows them all. Relative paths in a
 * file start at its folder. Secrets come from the environment variables and files that it names, and are
 * repeated in no finding; secret_start() must have been called. */
#pragma once

#include "base/buf.h"
#include "base/status.h"
#include "policy/policy.h"

struct conf_error {
    char text[4096]; /* lines such as "tidegate.yaml:12:5: unknown option 'cpa'; did you mean 'cap'?" */
};

/* On STATUS_OK *policy has one reference, owned by the caller; version and limit ids are still 0, and
 * config_hash is of what the file says and of the prices in use, not of its layout, its secrets, and what is
 * each gateway's own (where it listens, its store and name, threads, log, bounds of its machine).
 * STATUS_INVALID: the file is wrong; STATUS_IO: it cannot be read; STATUS_FULL: no memory. Then
 * error->text is one or more lines for a person, *policy is NULL, and nothing is kept. */
MUST_USE enum status conf_load_file(const char *path, struct policy **policy, struct conf_error *error);
/* The same for commands that only ask where things are and what is in force: neither the secrets nor the
 * certificates that the file names are looked at. Such a policy cannot call a provider. */
MUST_USE enum status conf_load_file_without_secrets(
    const char *path, struct policy **policy, struct conf_error *error);
/* `name` stands for the file in errors, and its folder for that of relative paths. */
MUST_USE enum status conf_load_text(const char *name, struct slice yaml, struct policy **policy,
    struct conf_error *error);
/* The policy without a file: the simulated provider at `mock_port` as providers `mock` and
 * `mock-anthropic`, models that can be called in every dialect, and three small limits. `store` and
 * `listen` in the form of their options. */
MUST_USE enum status conf_sandbox(uint16_t mock_port, const char *store, const char *listen,
    struct policy **policy, struct conf_error *error);
#define CONTROL_FILE_DEFAULT "tidegate.sock"
/* Where the control socket of a gateway with this policy is; false: the path is too long. */
MUST_USE bool control_path(const struct policy *policy, char *out, size_t out_size);
/* The commented configuration that `tidegate init` writes. Static storage. */
const char *conf_sample(void);

/* Reads a price book (the form of data/prices.json, in micro-USD per million tokens, or LiteLLM's decimals
 * per token), for `tidegate prices import`; checks ranges; fills cache prices that are null with the input
 * price; appends the normal form, sorted by id, to `out`. LiteLLM's decimals are taken as text; what is
 * finer than a micro-USD per million tokens is rounded up. */
struct conf_import {
    int32_t taken;
    /* passed by, of LiteLLM's: */
    int32_t other_mode; /* not billed by tokens: images, audio, ... */
    int32_t unpriced;   /* no price per token on both sides */
    int32_t odd_name;   /* no name that a provider could be asked for */
};
MUST_USE enum status conf_prices_import(const char *name, struct slice json, struct buf *out,
    struct conf_import *import, struct conf_error *error);
/* The prices of such a book, sorted by id, in a policy that has nothing else. */
MUST_USE enum status conf_prices_book(
    const char *name, struct slice json, struct policy **book, struct conf_error *error);
