/* conf/conf_priv.h: what the files of this room share: the file being read, and its options. */
#pragma once

#include "base/buf.h"
#include "conf/doc_priv.h"
#include "tbl/options.h"

#define CONF_FILE_BYTES_MAX ((size_t)4 << 20)
#define UNIX_PATH_BYTES_MAX 107 /* of struct sockaddr_un, without the NUL */

/* One configuration being read. A wrong value is reported and reading goes on with the default, so that
 * one run finds as much as it can. */
struct conf {
    struct report report;
    struct policy *policy;
    struct arena *arena; /* the policy's */
    struct arena nodes;  /* of the documents; gone after loading */
    const char *folder;  /* of the file, without a final '/'; "" = none */
    int64_t drain_max_ms; /* of providers that say nothing else */
    const struct node *listen_nodes[LISTENS_MAX]; /* where the policy's listens stand */
    bool without_secrets; /* what providers' credentials and certificates are is not looked at */
};

/* ---- option.c: the table at work ---- */

/* Refuses what is no mapping, keys that the table does not have under `path`, and those of a later
 * version. False when it is no mapping. */
bool conf_keys(struct conf *conf, const struct node *map, const char *path);
/* The option's value in its mapping; NULL when absent or empty, the latter being reported. */
const struct node *conf_find(struct conf *conf, const struct node *map, enum option option);
/* COUNT, DURATION, TOKENS, BYTES, MONEY, BOOL, and the index of a WORD; `absent` where there is neither a
 * value nor a default. */
int64_t conf_number(struct conf *conf, const struct node *map, enum option option, int64_t absent);
/* TEXT in the policy's arena; NULL where there is neither a value nor a default. */
const char *conf_text(struct conf *conf, const struct node *map, enum option option);
/* A MAP, NAMES or LIST; NULL when absent or wrong. */
const struct node *conf_block(struct conf *conf, const struct node *map, enum option option);
/* Reports that `node` is not what the option wants. */
void conf_wants(struct conf *conf, const struct node *node, enum option option);
/* The last word of an option's path. */
const char *option_key(enum option option);
/* Whether this is text of one line without control bytes; reports it. */
bool conf_plain_text(struct conf *conf, const struct node *node);

/* ---- memory; NULL (or "") after reporting that there is none ---- */
void *conf_alloc(struct conf *conf, size_t count, size_t size);
const char *conf_copy(struct conf *conf, struct slice text);
/* A path of the file: relative ones start at the file's folder. */
const char *conf_path(struct conf *conf, struct slice text);

/* ---- the parts of a policy; `root` is the document's mapping ---- */
void conf_server(struct conf *conf, const struct node *root);
void conf_listens(struct conf *conf, const struct node *root);
/* Once listens, store and control are read: that none of them is the control socket. */
void conf_control_listen(struct conf *conf);
void conf_plans(struct conf *conf, const struct node *root);
void conf_providers(struct conf *conf, const struct node *root);
void conf_models(struct conf *conf, const struct node *root);
void conf_groups(struct conf *conf, const struct node *root);
void conf_tags(struct conf *conf, const struct node *root);
void conf_limits(struct conf *conf, const struct node *root);
void conf_retention(struct conf *conf, const struct node *root);
void conf_webhooks(struct conf *conf, const struct node *root);
/* The price book, from `prices` or built in. */
void conf_prices(struct conf *conf, const struct node *root);
/* A time zone by its name in `node` (NULL: `name` of the default); NULL = UTC. Each is read once. */
const struct zone *conf_zone(struct conf *conf, const struct node *node, const char *name);

/* ---- url.c ---- */
struct url {
    bool tls;
    const char *host, *host_header, *path;
    uint16_t port;
};
/* The parts in `arena`; on failure *wrong is a sentence. */
MUST_USE bool url_parse(struct arena *arena, struct slice text, struct url *url, const char **wrong);
/* "127.0.0.1:8080", "[::1]:8080", "localhost:8080"; host is numeric. */
MUST_USE bool address_parse(struct arena *arena, struct slice text, const char **host, uint16_t *port);

/* ---- proxy.c ---- */
/* The proxy of a provider whose URL is known. */
void conf_proxy(struct conf *conf, const struct node *map, struct provider *provider);
/* Whether a list such as "localhost,.example.com,10.0.0.0/8,host:8443" has this host. */
bool no_proxy_covers(struct slice list, const char *host, uint16_t port);
/* providers.c: the secret that {env: NAME} or {file: PATH} names, with its place already looked at; `what` is it
 * for a person ("this credential"). Nothing is set where it is wrong, which is reported. */
void conf_secret(
    struct conf *conf, const struct node *map, const char *what, struct credential *credential);
/* providers.c: capitals, so that no token is taken for a name and repeated. */
bool env_name_valid(const char *name);

/* ---- prices.c, litellm.c ---- */
struct price_row {
    struct price price;
    const struct node *place; /* of its id */
};
struct price_book {
    int32_t count, room;
    struct price_row *rows;
    struct conf_import passed_by; /* without what was taken */
};
/* Reads a book of either form out of a document and sorts it by id; all lives in `arena`. */
void prices_read(struct report *report, const struct node *root, struct arena *arena, struct price_book *book);
void litellm_read(struct report *report, const struct node *root, struct arena *arena, struct price_book *book);
/* Room for one more, with all prices unset. */
struct price *price_book_add(struct report *report, struct arena *arena, struct price_book *book,
    const struct node *place, struct slice id);
/* Cached input without a price of its own is priced as input (an hour's write as a short one). */
void price_set_fill(struct price_set *set);

/* ---- file.c ---- */
/* Reads a whole file of at most `bytes_max` bytes; *why is a phrase for a person. */
MUST_USE enum status file_read(const char *path, size_t bytes_max, struct buf *out, const char **why);

/* ---- pem.c ---- */
enum pem_result { PEM_CERTIFICATES, PEM_NONE, PEM_BROKEN };
/* Whether the text holds at least one certificate and each is whole; else *broken_line is where one that is
 * not begins. */
enum pem_result pem_certificates(struct slice text, int *broken_line);

/* ---- canon.c ---- */
/* Hash of what the file says, whatever its layout and comments, and of the price book in use. */
void conf_hash(struct conf *conf, const struct node *root);
