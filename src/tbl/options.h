/* tbl/options.h: every option of the configuration file, written once: conf/ walks this table, and the
 * sample configuration and the manual are compared with it.
 *
 * Columns: NAME, path ("*" = any name or item), type, form, default, lowest, highest, one sentence.
 * Numbers are written as in the file. A default of OPTION_REQUIRED means that there is none and the
 * option must be given; NULL that absence has a meaning of its own, told in the sentence. `form` is what
 * would be right; of a WORD it is the list of words. The sentence of a LATER option, which belongs to
 * the language but not to this version, is what a file that uses it is refused with. */
#pragma once

#include <stddef.h>

#define OPTION_REQUIRED "(required)"

#define OPTIONS(X)                                                                                                    \
    X(LISTEN, "listen", ANY, "an address such as 127.0.0.1:8080, [::1]:8080 or unix:/run/tidegate.sock, a mapping such as {address: 0.0.0.0:8443, tls: {cert: FILE, key: FILE}}, or a list of them", \
        "127.0.0.1:8080", NULL, NULL, "Where clients connect.")                                                       \
    X(LISTEN_ADDRESS, "listen.*.address", ANY, "an address such as 0.0.0.0:8443 or unix:/run/tidegate.sock", OPTION_REQUIRED, NULL, NULL, \
        "Where clients connect, in digits.")                                                                          \
    X(LISTEN_TLS, "listen.*.tls", MAP, "a mapping such as {cert: cert.pem, key: key.pem}", NULL, NULL, NULL,          \
        "Its certificate; without it, plain HTTP. The files are read again by a reload.")                             \
    X(LISTEN_CERT, "listen.*.tls.cert", TEXT, "the path of a PEM file", OPTION_REQUIRED, NULL, NULL,                  \
        "The certificate, and behind it those that vouch for it.")                                                    \
    X(LISTEN_KEY, "listen.*.tls.key", TEXT, "the path of a PEM file", OPTION_REQUIRED, NULL, NULL,                    \
        "Its private key, in a file that not everybody may read.")                                                    \
    X(LISTEN_MODE, "listen.*.mode", WORD, "0600 | 0660 | 0666", "0600", NULL, NULL,                                   \
        "Who may connect to a unix socket: its owner, its group too, or everybody on this machine.")                  \
    X(TLS, "tls", LATER, NULL, NULL, NULL, NULL,                                                                      \
        "a certificate stands where it is used: write listen: {address: 0.0.0.0:8443, tls: {cert: FILE, key: FILE}}") \
    X(STORE, "store", TEXT, "sqlite:PATH, postgresql://USER@HOST/DATABASE, or memory", "sqlite:tidegate.db", NULL, NULL,                               \
        "Where the books are kept; memory keeps them while the gateway runs. Relative paths start at this file's folder. Any number of gateways share a PostgreSQL store; its password is best kept in a password file (PGPASSFILE).")                                    \
    X(LEASE, "lease", DURATION, NULL, "10s", "2s", "60s",                                                             \
        "Of several gateways on one PostgreSQL store: how long one that is silent keeps its calls before the others book them.") \
    X(NODE, "node", TEXT, "a name such as gateway-1", NULL, NULL, NULL,                                               \
        "What this gateway is called among those that share its store; without it, this machine's name and the first address of listen.") \
    X(DURABILITY, "durability", WORD, "disk | os", "disk", NULL, NULL,                                                \
        "What a commit survives: disk a power loss, os only a crash of the gateway.")                                 \
    X(CONTROL, "control", TEXT, "a path", NULL, NULL, NULL,                                                           \
        "Path of the control socket for commands on this machine; without it, tidegate.sock beside the store.")       \
    X(TIMEZONE, "timezone", TEXT, "a time zone such as Europe/Berlin", "UTC", NULL, NULL,                             \
        "Whose midnight begins a day, a week and a month of limits.")                                                 \
    X(LOOPS, "loops", COUNT, NULL, "0", "0", "64", "Threads that relay; 0 is one a core, at least 2.")                \
    X(LOG, "log", WORD, "text | json", "text", NULL, NULL, "The form of log lines.")                                  \
    X(PRICES, "prices", TEXT, "the path of a price file", NULL, NULL, NULL,                                           \
        "A price book instead of the built-in one: the form of `tidegate prices`, or LiteLLM's.")                     \
    X(PROVIDERS, "providers", NAMES, "a mapping of names to providers", OPTION_REQUIRED, NULL, NULL,                  \
        "The upstream endpoints.")                                                                                    \
    X(MODELS, "models", NAMES, "a mapping of names to models", OPTION_REQUIRED, NULL, NULL,                           \
        "What clients may ask for, and who serves it.")                                                               \
    X(PLANS, "plans", NAMES, "a mapping of names, such as {free: {}, pro: {}}", NULL, NULL, NULL,                     \
        "Classes of accounts that caps can differ by; without it there is one, named default.")                       \
    X(DEFAULT_PLAN, "default_plan", TEXT, "the name of a plan", NULL, NULL, NULL,                                     \
        "The plan of accounts made without one; without it the first of plans.")                                      \
    X(LIMITS, "limits", NAMES, "a mapping of names to limits", NULL, NULL, NULL,                                      \
        "What is counted, per whom, over which window, up to which cap.")                                             \
    X(HELD_WAIT, "held_wait", DURATION, NULL, "3s", "0s", "60s",                                                      \
        "How long a call waits when the rest of a budget is held by calls in flight.")                                \
    X(STEP, "step", TOKENS, NULL, "1024 tokens", "16", "1000000",                                                     \
        "Output tokens by which the hold of a running stream grows.")                                                 \
    X(MIN_ANSWER, "min_answer", TOKENS, NULL, "256 tokens", "1", "100000",                                            \
        "An output limit is never lowered under this to fit a budget.")                                               \
    X(DRAIN_MAX, "drain_max", DURATION, NULL, "60s", "0s", "1h",                                                      \
        "How long an answer is read on after its client has gone, where the provider bills all of it.")               \
    X(ORPHANED_HOLDS, "orphaned_holds", WORD, "charge | release", "charge", NULL, NULL,                               \
        "What becomes of the money held by calls that a crash cut off.")                                              \
    X(UNPRICED, "unpriced", WORD, "refuse_under_cost_limits | allow | refuse", "refuse_under_cost_limits", NULL, NULL, \
        "What becomes of calls to models without a price.")                                                           \
    X(HEAD_DEADLINE, "head_deadline", DURATION, NULL, "10s", "100ms", "10m", "A request's head must be complete by then.") \
    X(BODY_DEADLINE, "body_deadline", DURATION, NULL, "60s", "100ms", "1h", "A request's body must be complete by then, and has a second more for every 64 KB of it that came.") \
    X(IDLE_DEADLINE, "idle_deadline", DURATION, NULL, "75s", "100ms", "1h",                                           \
        "How long a client's connection may wait for its next request.")                                              \
    X(HEAD_MAX, "head_max", BYTES, NULL, "32KB", "1KB", "1MB", "The largest head of a request.")                      \
    X(BODY_MAX, "body_max", BYTES, NULL, "32MB", "1KB", "1GB", "The largest body of a request.")                      \
    X(BODIES_MAX, "bodies_max", BYTES, NULL, NULL, "64KB", "1024GB",                                                  \
        "The most bytes of all bodies in memory at once, requests and answers; without it a quarter of what memory there is, at least 64MB.") \
    X(HEADERS_MAX, "headers_max", COUNT, NULL, "100", "8", "100", "The most header lines of a request.")              \
    X(CONNECTIONS_MAX, "connections_max", COUNT, NULL, "10000", "4", "1000000", "The most clients' connections at once.") \
    X(CONNECTIONS_PER_ADDRESS, "connections_per_address", COUNT, NULL, NULL, "1", "1000000",                          \
        "The most connections of one address, of IPv6 of one /64; without it half of connections_max. Loopback and unix sockets are not counted.") \
    X(WRITE_DEADLINE, "write_deadline", DURATION, NULL, "60s", "2s", "1h",                                            \
        "A client that takes no byte of its answer for so long, or whose machine shows no sign of life, is gone.")    \
    X(STOP_GRACE, "stop_grace", DURATION, NULL, "30s", "0s", "1h",                                                    \
        "How long calls in flight may go on after the gateway was told to stop.")                                     \
    X(RETENTION, "retention", MAP, "a mapping such as {ledger: 90d, refusals: 30d, threads: 180d}", NULL, NULL, NULL,                \
        "How long rows of the ledger are kept, and idle threads; without it, for ever. What limits have counted does not depend on rows of the ledger.") \
    X(RETENTION_LEDGER, "retention.ledger", DURATION, NULL, NULL, "1d", "36500d",                                     \
        "Rows of calls that are older are deleted; changes by admins stay.")                                          \
    X(RETENTION_REFUSALS, "retention.refusals", DURATION, NULL, NULL, "1d", "36500d",                                 \
        "The same of refusals and their counts; without it, as long as ledger says.")                                 \
    X(RETENTION_THREADS, "retention.threads", DURATION, NULL, NULL, "1d", "36500d",                                   \
        "Trees of threads that nobody used for so long are deleted with all that their limits have counted, lifetimes included, and what was set for them: who comes back later begins anew. Of other subjects that were not used for so long meters go whose windows are all over. Without it, as long as ledger says.") \
    PROVIDER_OPTIONS(X)                                                                                               \
    MODEL_OPTIONS(X)                                                                                                  \
    LIMIT_OPTIONS(X)                                                                                                  \
    WEBHOOK_OPTIONS(X)                                                                                                \
    X(DEFAULT_MODEL, "default_model", LATER, NULL, NULL, NULL, NULL,                                                  \
        "a default model does not exist in this version yet: every call names its model; take this line out")         \
    X(GROUPS, "groups", NAMES, "a mapping such as {research: {members: [ada, bob]}}", NULL, NULL, NULL, \
        "Sets of accounts that limits can be written for: as one purse, or a cap for each member.") \
    X(GROUP_MEMBERS, "groups.*.members", LIST, "a list of names of accounts", NULL, NULL, NULL, "Who belongs to it.") \
    X(GROUP_ORGANISATION, "groups.*.organisation", TEXT, "the name of an organisation", NULL, NULL, NULL, \
        "The organisation that it belongs to: its caps rule what is spent there.") \
    X(TAGS, "tags", NAMES, "a mapping such as {team: {header: x-team}}", NULL, NULL, NULL, \
        "What a limit per tag goes by: values that calls carry, at most 4 kinds.") \
    X(TAG_HEADER, "tags.*.header", TEXT, "the name of a request header such as x-team", NULL, NULL, NULL, \
        "The request header that says the value; it is not passed on.") \
    X(TAG_BODY, "tags.*.body", TEXT, "user, or a field of metadata such as metadata.team", NULL, NULL, NULL, \
        "The field of the request's body that says the value.") \
    X(INPUT_ESTIMATE, "input_estimate", WORD, "learned | bytes | counted", "learned", NULL, NULL, \
        "How the input of a call is estimated before its provider tells: learned from its thread and model, bytes as a true bound, or counted by the provider where learned does not fit.") \
    X(PACKAGES, "packages", LATER, NULL, NULL, NULL, NULL,                                                            \
        "packages do not exist in this version yet; take this block out")                                             \
    X(SESSIONS, "sessions", LATER, NULL, NULL, NULL, NULL,                                                            \
        "sessions do not exist in this version yet; take this block out")

#define PROVIDER_OPTIONS(X)                                                                                           \
    X(PROVIDER_DIALECT, "providers.*.dialect", WORD, "openai | anthropic", NULL, NULL, NULL,                          \
        "The wire format it speaks; known for the providers of tbl/provider_facts.h.")                                \
    X(PROVIDER_APIS, "providers.*.apis", LIST, "a list of chat, responses, embeddings, messages, count_tokens", NULL, NULL, NULL, \
        "The APIs it serves; an openai provider that is not known here serves chat, an anthropic one messages and count_tokens.") \
    X(PROVIDER_BASE_URL, "providers.*.base_url", TEXT, "a URL such as https://api.openai.com/v1", OPTION_REQUIRED, NULL, NULL, \
        "Where it is: for openai up to and with /v1, for anthropic without it.")                                      \
    X(PROVIDER_INSECURE, "providers.*.insecure", BOOL, NULL, "false", NULL, NULL,                                     \
        "Allows http to a host that is not this machine.")                                                            \
    X(PROVIDER_CA_FILE, "providers.*.ca_file", TEXT, "the path of a PEM file", NULL, NULL, NULL,                      \
        "Certificates to trust instead of the system's; a reload reads them again.")                                   \
    X(PROVIDER_PROXY, "providers.*.proxy", ANY, "none, a URL such as http://proxy.example:3128, or {env: NAME} of a variable that holds one", NULL, NULL, NULL, \
        "The proxy that tunnels to it; without it by HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY of the environment.") \
    X(PROXY_ENV, "providers.*.proxy.env", TEXT, "the name of an environment variable", OPTION_REQUIRED, NULL, NULL,   \
        "The environment variable that holds the URL, with a user name and password if the proxy wants them.")        \
    X(PROVIDER_ON_ABORT, "providers.*.on_abort", WORD, "bills_all | stops", NULL, NULL, NULL,                         \
        "Whether it bills the whole answer when we hang up (then we read on), or stops; bills_all where nothing is known.") \
    X(PROVIDER_CREDENTIALS, "providers.*.credentials", MAP, "a mapping such as {company: {env: OPENAI_API_KEY}}", NULL, NULL, NULL, \
        "Who pays it with what; none for a server of one's own.")                                                     \
    X(CREDENTIAL_COMPANY, "providers.*.credentials.company", MAP, "a mapping such as {env: OPENAI_API_KEY}", NULL, NULL, NULL, \
        "The operator's own credential.")                                                                             \
    X(CREDENTIAL_ENV, "providers.*.credentials.company.env", TEXT, "the name of an environment variable", NULL, NULL, NULL, \
        "The environment variable that holds the secret.")                                                            \
    X(CREDENTIAL_FILE, "providers.*.credentials.company.file", TEXT, "the path of a file", NULL, NULL, NULL,          \
        "The file whose only line is the secret.")                                                                    \
    X(CREDENTIAL_HEADERS, "providers.*.credentials.company.headers", NAMES, "a mapping of header names to values", NULL, NULL, NULL, \
        "Headers that go with it, such as those that say whom to bill.")                                              \
    X(CREDENTIAL_USER, "providers.*.credentials.user", LATER, NULL, NULL, NULL, NULL,                                 \
        "users' own credentials do not exist in this version yet; take 'user' out")                                   \
    X(PROVIDER_CONNECT_DEADLINE, "providers.*.connect_deadline", DURATION, NULL, "10s", "100ms", "5m",                \
        "A connection to it, TLS included, must stand by then.")                                                      \
    X(PROVIDER_FIRST_BYTE_DEADLINE, "providers.*.first_byte_deadline", DURATION, NULL, "10m", "100ms", "1h",          \
        "Its answer must begin by then.")                                                                             \
    X(PROVIDER_BETWEEN_BYTES_DEADLINE, "providers.*.between_bytes_deadline", DURATION, NULL, "5m", "100ms", "1h",     \
        "The longest silence inside an answer.")                                                                      \
    X(PROVIDER_DRAIN_MAX, "providers.*.drain_max", DURATION, NULL, NULL, "0s", "1h", "drain_max of this provider alone.") \
    X(PROVIDER_COOLDOWN_AFTER, "providers.*.cooldown_after", COUNT, NULL, "3", "0", "1000",                           \
        "So many failures in a row (no connection, no answer in time, a broken one, 5xx) and a route to it is left alone: for 1s, twice as long with each further failure. 0: never.") \
    X(PROVIDER_COOLDOWN_MAX, "providers.*.cooldown_max", DURATION, NULL, "60s", "1s", "1h",                           \
        "The longest that a failing route is left alone, unless the provider itself asked for more.")                 \
    X(PROVIDER_BALANCE, "providers.*.balance", LATER, NULL, NULL, NULL, NULL,                                         \
        "balances do not exist in this version yet; take 'balance' out")

#define MODEL_OPTIONS(X)                                                                                              \
    X(MODEL_TIER, "models.*.tier", WORD, "free | premium", "premium", NULL, NULL, "A class that limits can be restricted to.") \
    X(MODEL_ROUTES, "models.*.routes", LIST, "a list such as [{provider: openai, model: gpt-5.5}]", OPTION_REQUIRED, NULL, NULL, \
        "Who serves it, in the order in which they are tried.")                                                       \
    X(ROUTE_PROVIDER, "models.*.routes.*.provider", TEXT, "the name of a provider", OPTION_REQUIRED, NULL, NULL,      \
        "One of providers.")                                                                                          \
    X(ROUTE_MODEL, "models.*.routes.*.model", TEXT, "a provider's model id", NULL, NULL, NULL,                        \
        "The model's id there; without it the model's own name.")                                                     \
    X(ROUTE_PRICE_AS, "models.*.routes.*.price_as", TEXT, "an id of the price book", NULL, NULL, NULL,                \
        "The entry of the price book that prices this route; without it the id is looked up.")                        \
    X(ROUTE_PRICE, "models.*.routes.*.price", ANY, "a mapping such as {input: 3 USD, output: 15 USD}", NULL, NULL, NULL, \
        "A price written out for this route, in the form of the model's.")                                            \
    X(MODEL_PRICE_AS, "models.*.price_as", TEXT, "an id of the price book", NULL, NULL, NULL,                         \
        "price_as of every route that has no price of its own.")                                                      \
    X(MODEL_PRICE, "models.*.price", MAP, "a mapping such as {input: 3 USD, output: 15 USD}", NULL, NULL, NULL,       \
        "A price written out, per million tokens, for every route that has none of its own.")                         \
    X(PRICE_INPUT, "models.*.price.input", MONEY, NULL, OPTION_REQUIRED, "0 USD", "1000000 USD", "A million input tokens.") \
    X(PRICE_OUTPUT, "models.*.price.output", MONEY, NULL, OPTION_REQUIRED, "0 USD", "1000000 USD",                    \
        "A million output tokens, reasoning included; 0 USD of a model that embeds.")                                                               \
    X(PRICE_CACHE_READ, "models.*.price.cache_read", MONEY, NULL, NULL, "0 USD", "1000000 USD",                       \
        "A million input tokens read from a cache; without it as input; null: they add nothing and the call is marked partly priced.") \
    X(PRICE_CACHE_WRITE, "models.*.price.cache_write", MONEY, NULL, NULL, "0 USD", "1000000 USD",                     \
        "A million input tokens written to a cache, for five minutes where that differs; without it as input.")       \
    X(PRICE_CACHE_WRITE_1H, "models.*.price.cache_write_1h", MONEY, NULL, NULL, "0 USD", "1000000 USD",               \
        "The same, for an hour; without it as cache_write.")                                                          \
    X(PRICE_TIERS, "models.*.price.tiers", LIST, "a list of up to 4 such as [{above: 200000 tokens, input: 6 USD, output: 22.50 USD}]", NULL, NULL, NULL, \
        "Prices of the whole request once its input passes so many tokens; what a tier leaves out stays as it is.")    \
    X(TIER_ABOVE, "models.*.price.tiers.*.above", TOKENS, NULL, OPTION_REQUIRED, "1", "1000000000",                   \
        "Input tokens, cached ones included, that must be passed.")                                                   \
    X(TIER_INPUT, "models.*.price.tiers.*.input", MONEY, NULL, NULL, "0 USD", "1000000 USD", "As input.")             \
    X(TIER_OUTPUT, "models.*.price.tiers.*.output", MONEY, NULL, NULL, "0 USD", "1000000 USD", "As output.")          \
    X(TIER_CACHE_READ, "models.*.price.tiers.*.cache_read", MONEY, NULL, NULL, "0 USD", "1000000 USD", "As cache_read.") \
    X(TIER_CACHE_WRITE, "models.*.price.tiers.*.cache_write", MONEY, NULL, NULL, "0 USD", "1000000 USD", "As cache_write.") \
    X(TIER_CACHE_WRITE_1H, "models.*.price.tiers.*.cache_write_1h", MONEY, NULL, NULL, "0 USD", "1000000 USD",        \
        "As cache_write_1h.")                                                                                         \
    X(MODEL_MAX_OUTPUT, "models.*.max_output", TOKENS, NULL, NULL, "1", "1000000000",                                 \
        "The most one answer can have; without it the price book's figure, else 128,000.")                            \
    X(MODEL_CONTEXT, "models.*.context", TOKENS, NULL, NULL, "1", "1000000000",                                       \
        "The most one request can have; without it the price book's figure, else 1,000,000.")                         \
    X(MODEL_HIDDEN_REASONING, "models.*.hidden_reasoning", BOOL, NULL, NULL, NULL, NULL,                              \
        "Whether it bills output that it does not show, so that its whole bound is held; without it by the ids of tbl/provider_facts.h.") \
    X(MODEL_BILLED_RETRIES, "models.*.billed_retries", COUNT, NULL, "1", "0", "5",                                    \
        "How often a call may go on to the next route after an attempt that may be billed, such as an answer that broke off or came too late; each is booked. 0: never.") \
    X(MODEL_USER_BILLABLE, "models.*.user_billable", LATER, NULL, NULL, NULL, NULL,                                   \
        "billing users' own credentials does not exist in this version yet; take 'user_billable' out")                \
    X(MODEL_DERIVED, "models.*.derived", LATER, NULL, NULL, NULL, NULL,                                               \
        "derived models do not exist in this version yet; take 'derived' out")                                        \
    X(MODEL_SESSION, "models.*.session", LATER, NULL, NULL, NULL, NULL,                                               \
        "sessions do not exist in this version yet; take 'session' out")

#define LIMIT_OPTIONS(X)                                                                                              \
    X(LIMIT_COUNTS, "limits.*.counts", TEXT, "one of cost, tokens, requests, in_flight, reported, the latter with its window: reported 5h", OPTION_REQUIRED, NULL, NULL, \
        "What is counted.") \
    X(LIMIT_PER, "limits.*.per", TEXT, "one of gateway, plan, group, organisation, account, key, thread_tree, model, tier, account_model, tag", OPTION_REQUIRED, NULL, NULL, \
        "Whose use is added up.") \
    X(LIMIT_TAG, "limits.*.tag", TEXT, "the name of a tag", NULL, NULL, NULL, "Of a limit per tag: which one.") \
    X(LIMIT_WINDOW, "limits.*.window", ANY, "day, week, month, lifetime, 20h rolling, 5h from first use, 60/min or {rate: 60/min, burst: 10}", NULL, NULL, NULL, \
        "Over which time; in_flight and reported need none.") \
    X(WINDOW_RATE, "limits.*.window.rate", ANY, "a rate such as 60/min, of cost 5 USD/h", OPTION_REQUIRED, NULL, NULL, \
        "So many in each s, min, h or day, refilled evenly.") \
    X(WINDOW_BURST, "limits.*.window.burst", ANY, "an amount such as 10, of cost 1 USD", NULL, NULL, NULL, \
        "So many at once; without it the number of the rate.") \
    X(LIMIT_CAP, "limits.*.cap", ANY, "an amount such as 50 USD or 8, unlimited, {default: 50 USD, plan: {free: 5 USD}, group: {research: 200 USD}}, or {set: NAME}", NULL, NULL, NULL, \
        "Up to how much: money of cost, else a number; a rate has none.") \
    X(CAP_DEFAULT, "limits.*.cap.default", ANY, "an amount such as 50 USD or 8, or unlimited", NULL, NULL, NULL,      \
        "The cap of accounts whose plan is not named; without it they have none.")                                    \
    X(CAP_PLAN, "limits.*.cap.plan", NAMES, "a mapping of plans to amounts", NULL, NULL, NULL, "Caps by plan.")       \
    X(CAP_GROUP, "limits.*.cap.group", NAMES, "a mapping of groups to amounts", NULL, NULL, NULL, \
        "Caps of each member by group, which go before plans; of a limit per group, of the group as one.") \
    X(CAP_SET, "limits.*.cap.set", TEXT, "session_pct, week_pct, spend_limit_micros, or a name of your own", NULL, NULL, NULL, \
        "The name it is set by, per account or thread; until then there is none, or the default.") \
    X(CAP_COMBINE, "limits.*.cap.combine", WORD, "min | max", "min", NULL, NULL, \
        "Which cap rules an account that is in several groups.") \
    X(LIMIT_AT_CAP, "limits.*.at_cap", ANY, "refuse, pause, warn, shadow, {queue: 30s}, {downgrade: MODEL} or {reroute: PROVIDER}", "refuse", NULL, NULL, \
        "What happens to what does not fit: refused, made to wait, tried with another model or provider; warn and shadow let it pass, and tell or record it.") \
    X(AT_CAP_QUEUE, "limits.*.at_cap.queue", DURATION, NULL, NULL, "100ms", "10m", "How long it may wait for room.") \
    X(AT_CAP_DOWNGRADE, "limits.*.at_cap.downgrade", TEXT, "the name of a model", NULL, NULL, NULL, "The model that is tried instead, once.") \
    X(AT_CAP_REROUTE, "limits.*.at_cap.reroute", TEXT, "the name of a provider", NULL, NULL, NULL, "The provider that is tried instead, once.") \
    X(LIMIT_WARN, "limits.*.warn", LIST, "a list of up to 8 percentages of the cap such as [75, 90]", NULL, NULL, NULL, \
        "What is spent is told of when it reaches them, once a window.") \
    X(LIMIT_WEIGHTS, "limits.*.weights", NAMES, "a mapping such as {\"claude-opus-*\": 5}", NULL, NULL, NULL, \
        "How many requests one to such a model counts as: the first that fits, else 1.") \
    X(LIMIT_HOLD, "limits.*.hold", WORD, "stream | strict | none", "stream", NULL, NULL, \
        "What a call in flight holds of cost or tokens: its estimated input and a growing slice of output, the most it can come to, or nothing.") \
    X(LIMIT_OF, "limits.*.of", MAP, "a mapping such as {tier: premium}, {model: gpt-5.5} or {provider: openai}", NULL, NULL, NULL, \
        "Restricts the limit to some calls.") \
    X(OF_MODEL, "limits.*.of.model", TEXT, "the name of a model", NULL, NULL, NULL, "To this model.")                 \
    X(OF_TIER, "limits.*.of.tier", WORD, "free | premium", NULL, NULL, NULL, "To the models of this tier.") \
    X(OF_PROVIDER, "limits.*.of.provider", TEXT, "the name of a provider", NULL, NULL, NULL, "To routes of this provider.") \
    X(OF_PAYER, "limits.*.of.payer", LATER, NULL, NULL, NULL, NULL,                                                   \
        "payers other than the company do not exist in this version yet; take 'payer' out")                           \
    X(LIMIT_ZONE, "limits.*.zone", TEXT, "a time zone such as Europe/Berlin", NULL, NULL, NULL,                       \
        "Whose midnight begins this limit's day, week or month; without it the file's timezone.")                     \
    X(LIMIT_UP_TO, "limits.*.up_to", LATER, NULL, NULL, NULL, NULL,                                                   \
        "up_to does not exist in this version yet; take it out")                                                      \
    X(LIMIT_ON_MISSING, "limits.*.on_missing", WORD, "allow | deny", "allow", NULL, NULL, \
        "What becomes of calls while nothing was reported.") \
    X(LIMIT_ON_STALE, "limits.*.on_stale", WORD, "allow | deny | treat_as_reset", "treat_as_reset", NULL, NULL, \
        "What becomes of calls while what was reported is older than max_age.") \
    X(LIMIT_MAX_AGE, "limits.*.max_age", DURATION, NULL, "15m", "1s", "30d", "How long a report counts.") \
    X(LIMIT_WAS, "limits.*.was", TEXT, "the name that this limit had before", NULL, NULL, NULL,                       \
        "Renames: what was counted under that name goes on under this one. It may stay there.")

#define WEBHOOK_OPTIONS(X)                                                                                            \
    X(WEBHOOKS, "webhooks", NAMES, "a mapping of names to webhooks", NULL, NULL, NULL,                                \
        "Whom to tell of what happened: signed requests, tried again until they are taken, for three days.")          \
    X(WEBHOOK_URL, "webhooks.*.url", ANY, "a URL such as https://ops.example.com/tidegate, or {env: NAME}", OPTION_REQUIRED, NULL, NULL, \
        "Where to POST to; one that holds a token is best kept out of this file.")                                    \
    X(WEBHOOK_URL_ENV, "webhooks.*.url.env", TEXT, "the name of an environment variable", NULL, NULL, NULL,           \
        "The environment variable that holds the URL.")                                                               \
    X(WEBHOOK_URL_FILE, "webhooks.*.url.file", TEXT, "the path of a file", NULL, NULL, NULL,                          \
        "The file that holds the URL.")                                                                               \
    X(WEBHOOK_SECRET, "webhooks.*.secret", ANY, "{env: NAME} or {file: PATH}, or a list of two of them", OPTION_REQUIRED, NULL, NULL, \
        "What messages are signed with, at least 16 characters; two while a receiver changes over from one to the other.") \
    X(WEBHOOK_SECRET_ENV, "webhooks.*.secret.env", TEXT, "the name of an environment variable", NULL, NULL, NULL,     \
        "The environment variable that holds the secret.")                                                            \
    X(WEBHOOK_SECRET_FILE, "webhooks.*.secret.file", TEXT, "the path of a file", NULL, NULL, NULL,                    \
        "The file that holds the secret.")                                                                            \
    X(WEBHOOK_EVENTS, "webhooks.*.events", LIST, "a list of warn, shadow, refused, overshoot", OPTION_REQUIRED, NULL, NULL,             \
        "What it is told of.")                                                                                        \
    X(WEBHOOK_ALLOW_PRIVATE, "webhooks.*.allow_private", BOOL, NULL, "false", NULL, NULL,                             \
        "Whether its host may be an address of this machine or of a private network; then plain http may be spoken there.") \
    X(WEBHOOK_CA_FILE, "webhooks.*.ca_file", TEXT, "the path of a PEM file", NULL, NULL, NULL,                        \
        "The authorities that vouch for its certificate; without it the system's.")                                   \
    X(WEBHOOK_PROXY, "webhooks.*.proxy", ANY, "none, a URL such as http://proxy.example:3128, or {env: NAME}", NULL, NULL, NULL, \
        "As a provider's.")                                                                                           \
    X(WEBHOOK_PROXY_ENV, "webhooks.*.proxy.env", TEXT, "the name of an environment variable", NULL, NULL, NULL,       \
        "The environment variable that holds the proxy's URL.")

enum option_type {
    OPTION_TYPE_MAP,      /* a mapping with options of its own */
    OPTION_TYPE_NAMES,    /* a mapping whose keys are chosen by the operator */
    OPTION_TYPE_LIST,
    OPTION_TYPE_TEXT,
    OPTION_TYPE_WORD,     /* one of `form` */
    OPTION_TYPE_BOOL,     /* true, false */
    OPTION_TYPE_COUNT,    /* 8 */
    OPTION_TYPE_DURATION, /* 500ms, 3s, 2h30m, 7d */
    OPTION_TYPE_TOKENS,   /* 1024 tokens, or the bare number */
    OPTION_TYPE_BYTES,    /* 64KB, 32MB, 1GB: powers of 1024 */
    OPTION_TYPE_MONEY,    /* 0.50 USD, 5000000 micros */
    OPTION_TYPE_ANY,      /* a form of its own */
    OPTION_TYPE_LATER,
};

enum option {
#define OPTION_ENUM(name, path, type, form, preset, low, high, sentence) OPTION_##name,
    OPTIONS(OPTION_ENUM)
#undef OPTION_ENUM
        OPTION_COUNT
};

struct option_row {
    const char *path;
    enum option_type type;
    const char *form, *preset, *low, *high, *sentence; /* preset: the default */
};

/* The row of an option; an unknown number is a bug. */
const struct option_row *option_row(enum option option);
