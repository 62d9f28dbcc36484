/* policy/policy.h: the checked, immutable configuration. conf/ builds it, everyone reads it.
 *
 * A policy is reference-counted and swapped whole between batches; what was decided under one keeps it
 * until it is over. Strings are NUL-terminated and live as long as the policy. Indices (model_index,
 * route_index, provider index) are valid within one policy version only. Secrets of credentials are in
 * it and are wiped when it is freed: never log a policy. */
#pragma once

#include "base/arena.h"
#include "base/units.h"
#include "rows/event.h"
#include "tbl/apis.h"
#include "tbl/counts.h"

/* Prices in micro-USD per million tokens; -1 = no price (null), which is not 0. */
struct price_set {
    int64_t input, output, cache_read, cache_write_5m, cache_write_1h;
};
#define PRICE_TIERS_MAX 4
struct price {
    const char *id;
    struct price_set base;
    int32_t tier_count;
    struct {
        int64_t above_input_tokens; /* applies to the whole request once its total input passes this */
        struct price_set set;
    } tiers[PRICE_TIERS_MAX];       /* ascending */
    int64_t context, max_output;    /* tokens; 0 = unknown */
};

enum credential_from { CREDENTIAL_NONE, CREDENTIAL_SECRET, CREDENTIAL_FROM_REQUEST };
struct header_pair {
    const char *name, *value;
};
struct credential {
    enum credential_from from;
    const char *id;        /* a name for pools, stickiness and logs: "anthropic/company" */
    char *secret;          /* CREDENTIAL_SECRET; never logged, wiped on free */
    int32_t header_count;
    struct header_pair headers[8]; /* attribute spend, e.g. X-HF-Bill-To */
};

struct proxy {
    const char *host;
    uint16_t port;
    const char *name;       /* for people: the host, with the port where it is not 80 */
    char *authorization;    /* what Proxy-Authorization says; never logged, wiped on free; NULL = nothing */
};

struct provider {
    const char *name;
    enum dialect dialect;
    uint32_t apis;         /* bit per enum api */
    bool tls;
    const char *host;      /* for DNS, SNI and certificate checks */
    uint16_t port;
    const char *host_header; /* host, with the port where it is not the scheme's own */
    const char *base_path;   /* never ends in '/'. Before the api's path: of DIALECT_OPENAI without its
                              * "/v1" ("/v1" or "/v1beta/openai" + "/chat/completions"), of
                              * DIALECT_ANTHROPIC with it ("" + "/v1/messages") */
    const char *ca_file;     /* NULL = the system's roots */
    struct proxy *proxy;     /* NULL = straight */
    const char *limit_field; /* chat's output limit where a body has none: "max_tokens", "max_completion_tokens" */
    enum on_abort on_abort;
    struct credential company, user;
    int64_t connect_ms, first_byte_ms, between_bytes_ms; /* deadlines */
    int64_t drain_max_ms;
    int32_t cooldown_after;      /* failures in a row until a route to it is left alone; 0 = never */
    int64_t cooldown_max_ms;     /* the longest that our own rule leaves it alone */
};

enum tier { TIER_FREE, TIER_PREMIUM };
#define ROUTES_MAX ATTEMPTS_MAX
struct route {
    int32_t provider;        /* index */
    const char *model;       /* upstream id */
    const struct price *price; /* NULL = unpriced */
};
struct model {
    const char *name;
    enum tier tier;
    bool hidden_reasoning;   /* bills output it does not show: holds its whole output bound */
    int32_t billed_retries;  /* attempts after one that may be billed */
    int64_t max_output;      /* bound of an answer where the request names none; never 0 */
    int64_t context;         /* bound of an input that cannot be bounded otherwise; never 0 */
    int32_t route_count;
    struct route routes[ROUTES_MAX];
};

/* Charges of a rolling window that are told apart; beyond them neighbours are counted as one, at the time of the
 * later. */
#define ROLLING_METERS_MAX 20
#define POLICY_LIMITS_MAX 1024 /* of a configuration */

struct plan_cap {
    const char *plan;        /* or group */
    int64_t cap;
};
struct group {
    const char *name;
    const char *organisation; /* NULL = none */
    int32_t member_count;
    const char **members;     /* names of accounts, sorted */
};
#define GROUPS_PER_ACCOUNT_MAX 8
enum group_combine { COMBINE_MIN, COMBINE_MAX };
/* What a limit per tag goes by. */
struct tag {
    const char *name;
    const char *header;       /* NULL = `field` says it */
    const char *field;        /* of the body: "user" or "metadata.team" */
};
struct weight {
    const char *model;        /* a name; a `*` at its end stands for any rest */
    int64_t units;
};
#define LIMIT_WARN_MAX 8
/* What becomes of a call where an external fact is not at hand, or too old. */
enum fact_rule { FACT_ALLOW, FACT_DENY, FACT_TREAT_AS_RESET };
/* How input tokens are estimated before the provider tells. */
enum estimator { ESTIMATOR_LEARNED, ESTIMATOR_BYTES, ESTIMATOR_COUNTED };
struct limit {
    const char *name;
    int64_t limit_id;        /* stable across restarts; given by the engine before the policy is used */
    int64_t since_ms;        /* likewise: when it got that number, which calls of before do not have */
    int64_t nth;             /* likewise: of the numbers that bore its name; the ledger says it from 2 on */
    int64_t set_id;          /* likewise: what people set for it lies under this number */
    int64_t left_set_id;     /* likewise: and what they set before this number does not go on; 0 = all does */
    char fingerprint[HASH_HEX + 1]; /* of what it counts, per whom, over which window */
    char thing[HASH_HEX + 1];       /* of what it counts, per whom */
    const char *was;         /* the name it had before; NULL = this is its first */
    enum count_kind counts;
    enum per_kind per;
    enum window_kind window;
    const struct zone *zone; /* calendar windows; NULL = UTC */
    int64_t rate, period_ms, burst;   /* bucket: `rate` units every period_ms, at most `burst` at once */
    enum at_cap_kind at_cap;
    enum hold_mode hold;
    int64_t cap_default;     /* micro-USD of money, else units; CAP_UNLIMITED = none; of a bucket: its burst */
    int32_t plan_cap_count;
    struct plan_cap *plan_caps;
    int32_t group_cap_count;
    struct plan_cap *group_caps; /* of each member; which rules where several do: `combine` */
    enum group_combine combine;
    const char *set;         /* what people set it by: session_pct, spend_limit_micros; NULL = any admin may */
    int64_t span_ms;         /* rolling, from first use; reported: the provider's window */
    int64_t queue_ms;        /* at_cap queue: the longest wait */
    const char *substitute;  /* at_cap downgrade: a model; reroute: a provider */
    int32_t tag;             /* per tag: index into policy->tags */
    const char *tag_name;    /* its name; else NULL */
    int32_t warn_count;
    int32_t warn_pct[LIMIT_WARN_MAX]; /* ascending, of the cap */
    int32_t weight_count;
    struct weight *weights;  /* of requests: the first that matches; else 1 */
    enum fact_rule on_missing, on_stale; /* reported */
    int64_t max_age_ms;      /* reported: older than that is stale */
    /* `of:` filters; NULL / -1 = any */
    const char *of_model;
    int32_t of_tier;
    const char *of_provider; /* routes of others do not count */
    int line;                /* in the configuration, for explanations */
};

enum orphan_rule { ORPHAN_CHARGE, ORPHAN_RELEASE };
enum unpriced_rule { UNPRICED_REFUSE_UNDER_COST_LIMITS, UNPRICED_ALLOW, UNPRICED_REFUSE };
enum durability { DURABILITY_DISK, DURABILITY_OS };

/* Whom to tell of what happened. */
#define WEBHOOKS_MAX        16
#define WEBHOOK_SECRETS_MAX 2
struct webhook {
    const char *name;
    char *url;             /* whole; may hold a token: never logged, wiped on free; NULL only without secrets */
    const char *host;      /* the URL's */
    uint16_t port;
    bool tls;
    int32_t secret_count;
    char *secrets[WEBHOOK_SECRETS_MAX]; /* it signs with each; never logged, wiped on free */
    uint32_t topics;       /* bit per enum topic */
    bool allow_private;    /* its host may be a private address */
    const char *ca_file;   /* NULL = the system's roots */
    struct proxy *proxy;   /* NULL = straight */
};

#define LISTENS_MAX 8
struct listen {
    const char *host;        /* numeric address; NULL for a unix socket */
    uint16_t port;
    const char *unix_path;
    uint32_t unix_mode;      /* of a unix socket: 0600 and the like; 0 = as the default */
    const char *cert_file, *key_file; /* PEM; both, or NULL = no TLS */
};

struct policy {
    int refs;                /* atomic; policy_ref / policy_unref */
    int facts_refs;          /* atomic; policy_ref_facts, and one for all of refs */
    struct arena arena;      /* owns every string and array */
    int64_t version;         /* given by the engine: counts up with every swap; see policy_version_make */
    int64_t price_version;   /* of what the prices are: the same book and routes give the same number */
    char config_hash[HASH_HEX + 1]; /* gateways that share a store and decide alike have the same */

    int32_t provider_count, model_count, limit_count, price_count, plan_count;
    struct provider *providers;
    struct model *models;    /* sorted by name */
    struct limit *limits;    /* in configuration order */
    struct price *prices;    /* sorted by id */
    const char **plans;
    const char *default_plan;
    int32_t group_count, tag_count;
    struct group *groups;    /* sorted by name */
    struct tag tags[CALL_TAGS_MAX];
    enum estimator estimator;
    int32_t webhook_count;
    struct webhook *webhooks; /* in configuration order */

    int32_t listen_count;
    struct listen listens[LISTENS_MAX];
    const char *store;       /* "sqlite:PATH", "memory:", or a URL of PostgreSQL, which may hold a password: see store_url_shown */
    const char *control;     /* path of the control socket; NULL = beside the store */
    const char *node;        /* this gateway's name among those that share its store; NULL = not given */
    int64_t lease_ms;        /* of a shared store */
    enum durability durability;
    const struct zone *zone; /* default zone of calendar windows */
    const char *zone_name;
    int32_t loops;           /* 0 = one per core, at least 2 */

    int64_t held_wait_ms, step_tokens, min_answer_tokens;
    int64_t head_deadline_ms, body_deadline_ms, idle_ms, write_deadline_ms;
    int64_t body_bytes_max, head_bytes_max;
    int64_t bodies_bytes_max; /* of all together; 0 = by the memory there is */
    int32_t headers_max, connections_max, connections_per_address; /* the last: 0 = half of connections_max */
    int64_t stop_grace_ms;   /* SIGTERM: how long calls in flight may go on */
    int64_t retention_ms;          /* of the ledger's rows of calls; 0 = for ever */
    int64_t retention_refusals_ms; /* of refusals; never longer */
    int64_t retention_threads_ms;  /* of threads that nobody comes back to; 0 = for ever */
    enum orphan_rule orphans;
    enum unpriced_rule unpriced;
    bool log_json;
};

/* An empty policy with one reference, for conf/ and tests to fill; NULL without memory. */
MUST_USE struct policy *policy_new(void);
struct policy *policy_ref(struct policy *policy);
/* The last one wipes the secrets and, where no facts are kept, frees all. NULL is allowed. */
void policy_unref(struct policy *policy);
/* From a policy_ref: one that keeps all but the secrets, which are gone with the last of those. For what was fixed
 * at the start, and is read for as long as the process runs. */
struct policy *policy_ref_facts(struct policy *policy);
void policy_unref_facts(struct policy *policy);

/* The version of a policy: which one of which start it was, and, in its last bits, what it says, by its hash: so rows
 * of the ledger tell by what they were decided, also after a restart and of another gateway. Two that say something
 * else look alike by chance once in 2^23 pairs. */
#define POLICY_SEQ_BITS 20
#define POLICY_CONTENT_BITS (63 - ID_EPOCH_BITS - POLICY_SEQ_BITS)
int64_t policy_version_make(int64_t epoch, int64_t seq, const char *config_hash);
/* Whether they decide alike. Of a policy without a hash only the very version is. */
bool policy_version_alike(int64_t version, int64_t other);

/* NULL / -1 when absent. Names are exact; models also match the alias rules of spec/wire.md section 6
 * only where a price is looked up, never for routing. */
int32_t policy_model_index(const struct policy *policy, struct slice name);
int32_t policy_provider_index(const struct policy *policy, struct slice name);
const struct limit *policy_limit_by_id(const struct policy *policy, int64_t limit_id);
/* Prices: exact id, else without a dated suffix, a vendor prefix or a variant suffix, as listed in
 * tbl/price_aliases.h. An id that ends in `:free` is never priced as the model without it. */
const struct price *policy_price(const struct policy *policy, struct slice id);
/* The cap of `limit` for an account of `plan`; CAP_UNLIMITED = the limit does not apply. */
int64_t policy_cap(const struct limit *limit, const char *plan);
/* Whether the route's provider speaks this API; and, bit by bit, the model's routes whose provider does not. */
bool policy_serves(const struct policy *policy, const struct route *route, enum api api);
uint32_t policy_routes_unfit(const struct policy *policy, const struct model *model, enum api api);
/* Whether any of them serves it. */
bool policy_model_serves(const struct policy *policy, const struct model *model, enum api api);
/* The groups that have the account, at most GROUPS_PER_ACCOUNT_MAX: how many, and their indices. */
int32_t policy_groups_of(const struct policy *policy, const char *account, int32_t *groups);
int32_t policy_group_index(const struct policy *policy, struct slice name);
/* The highest cap that the limit can have. What the level of a bucket can come to, in units times its period, must be
 * a number that a meter can say; a percentage is one of 100. */
int64_t policy_cap_max(const struct limit *limit);
/* Whether its cap stops what does not fit; else it is only watched. */
bool limit_enforces(const struct limit *limit);
bool policy_has_plan(const struct policy *policy, struct slice plan);
