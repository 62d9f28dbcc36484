/* tests/unit/conf/wrong_test.c
 *
 * Goal: a file that is wrong is refused whole, and a person is told where and what would be right.
 * Method: each row is a file and the exact text of its refusal. */
#include <stdio.h>
#include <unistd.h>

#include "load.h"

struct row {
    const char *yaml, *message;
};

static const struct row not_a_configuration_rows[] = {
    { "",
        "t.yaml: the file is empty" },
    { "# only a comment\n",
        "t.yaml: the file is empty" },
    { "- a\n",
        "t.yaml:1:1: this must be a mapping of options; it is a list" },
    { "just text\n",
        "t.yaml:1:1: this must be a mapping of options; it is 'just text'" },
    { "a: b\n" " c: d\n",
        "t.yaml:2:3: this is not YAML: mapping values are not allowed in this context" },
    { "\xff\xfe",
        "t.yaml: the file is empty" },
    { "listen: 127.0.0.1:1\n# \xc3\xa4 \xff\n",
        "t.yaml:2:5: this is not text in UTF-8: invalid leading UTF-8 octet" },
    { "listen: [\n",
        "t.yaml:2:1: this is not YAML: did not find expected node content, while parsing a flow node" },
    { P M "---\n" P M,
        "t.yaml:3:1: a second document begins here; a file holds one" },
    { P M "x: &a 1\n",
        "t.yaml:3:4: anchors (&name) are not read here; write each value out" },
    { P M "x: *a\n",
        "t.yaml:3:4: aliases (*name) are not read here; write the value out" },
    { P M "x: !!str 1\n",
        "t.yaml:3:4: tags (!name) are not read here; write the plain value" },
    { P M "<<: {a: 1}\n",
        "t.yaml:3:1: merge keys (<<) are not read here; write the values out" },
    { P M "? [a]\n" ": 1\n",
        "t.yaml:3:3: a key must be a plain word" },
    { P M "providers: {}\n",
        "t.yaml:3:1: 'providers' is given twice; the first is in line 1" },
    { P M "store: memory\n" "log: text\n" "store: memory\n",
        "t.yaml:5:1: 'store' is given twice; the first is in line 3" },
    { "a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
        "t.yaml:1:27: this is nested more than 24 deep" },
};

static const struct row unknown_options_rows[] = {
    { P M "lisen: 127.0.0.1:1\n",
        "t.yaml:3:1: unknown option 'lisen'; did you mean 'listen'?" },
    { P M "qwertyuiop: 1\n",
        "t.yaml:3:1: unknown option 'qwertyuiop'; known here: listen, store, lease, node, durability, control, timezone, loops, log, prices, providers, models, plans, default_plan, limits, held_wait, step, min_answer, drain_max, orphaned_holds, unpriced, head_deadline, body_deadline, ..." },
    { LIMIT("counts: cost, per: account, window: day, cpa: 5 USD"),
        "t.yaml:3:10: 'cap' is missing here: an amount such as 50 USD or 8, unlimited, {default: 50 USD, plan: {free: 5 USD}, group: {research: 200 USD}}, or {set: NAME}\n"
        "t.yaml:3:55: unknown option 'cpa'; did you mean 'cap'?" },
    { MORE("base_ulr: x"),
        "t.yaml:1:66: unknown option 'base_ulr'; did you mean 'base_url'?" },
    { MODEL("route: []"),
        "t.yaml:2:13: 'routes' is missing here: a list such as [{provider: openai, model: gpt-5.5}]\n"
        "t.yaml:2:14: unknown option 'route'; did you mean 'routes'?" },
    { MODEL("routes: [{provider: p, modle: x}]"),
        "t.yaml:2:37: unknown option 'modle'; did you mean 'model'?" },
    { P M "listen: {tls: {cert: a, key: b}}\n",
        "t.yaml:3:9: 'address' is missing here: an address such as 0.0.0.0:8443 or unix:/run/tidegate.sock" },
    { P M "listen: [{address: '127.0.0.1:1', tls: {cert: a}}]\n",
        "t.yaml:3:40: 'key' is missing here: the path of a PEM file" },
    { P M "listen: {address: 'unix:/a', tls: {cert: a, key: b}}\n",
        "t.yaml:3:30: a unix socket has no TLS; take 'tls' out" },
    { P M "listen: {address: '127.0.0.1:1', mode: 0660}\n",
        "t.yaml:3:40: 'mode' is of a unix socket; take it out here" },
    { P M "listen: {address: 'unix:/a', mode: 0777}\n",
        "t.yaml:3:36: 'mode' is one of: 0600 | 0660 | 0666; this is '0777'" },
    { P M "listen: [127.0.0.1:1, '127.0.0.1:1']\n",
        "t.yaml:3:23: 'listen' has this address already, or one that covers it, in line 3; take one out" },
    { P M "listen: [0.0.0.0:1,\n" " {address: localhost:1}]\n",
        "t.yaml:4:12: 'listen' has this address already, or one that covers it, in line 3; take one out" },
    { P M "listen: ['[::1]:1', '[0:0::1]:1', '[::]:1']\n",
        "t.yaml:3:21: 'listen' has this address already, or one that covers it, in line 3; take one out\n"
        "t.yaml:3:35: 'listen' has this address already, or one that covers it, in line 3; take one out" },
    { P M "listen: ['unix:/a', {address: 'unix:/a', mode: 0660}]\n",
        "t.yaml:3:31: 'listen' has this address already, or one that covers it, in line 3; take one out" },
    { P M "listen: [127.0.0.1:1, 'unix:/run/a']\n" "control: /run/a\n",
        "t.yaml:3:23: this path is that of the control socket; choose another, or another with 'control'" },
    { P M "listen: 'unix:/var/tidegate.sock'\n" "store: sqlite:/var/books.db\n",
        "t.yaml:3:9: this path is that of the control socket; choose another, or another with 'control'" },
    { P M "listen: {adress: 'unix:/a'}\n",
        "t.yaml:3:9: 'address' is missing here: an address such as 0.0.0.0:8443 or unix:/run/tidegate.sock\n"
        "t.yaml:3:10: unknown option 'adress'; did you mean 'address'?" },
    { P M "\"li\\u0001sten\": 1\n",
        "t.yaml:3:1: unknown option 'li?sten'; did you mean 'listen'?" },
};

static const struct row later_versions_rows[] = {
    { P M "packages: {a: {}}\n",
        "t.yaml:3:1: packages do not exist in this version yet; take this block out" },
    { P M "sessions: {idle: 2h}\n",
        "t.yaml:3:1: sessions do not exist in this version yet; take this block out" },
    { P M "default_model: m\n",
        "t.yaml:3:1: a default model does not exist in this version yet: every call names its model; take this line out" },
    { P M "tls: {cert: a}\n",
        "t.yaml:3:1: a certificate stands where it is used: write listen: {address: 0.0.0.0:8443, tls: {cert: FILE, key: FILE}}" },
    { P M "store: postgress://u:secret@host/db\n",
        "t.yaml:3:8: 'store' wants sqlite:PATH, postgresql://USER@HOST/DATABASE, or memory; this URL is none of them" },
    { P M "store: postgresql//u:secret@host/db\n",
        "t.yaml:3:8: 'store' wants sqlite:PATH, postgresql://USER@HOST/DATABASE, or memory; this URL is none of them" },
    { MORE("balance: {fetch: kilo}"),
        "t.yaml:1:66: balances do not exist in this version yet; take 'balance' out" },
    { MORE("credentials: {company: {env: TIDEGATE_TEST_KEY}, user: {from: account}}"),
        "t.yaml:1:115: users' own credentials do not exist in this version yet; take 'user' out" },
    { MODEL("routes: [{provider: p}], user_billable: true"),
        "t.yaml:2:39: billing users' own credentials does not exist in this version yet; take 'user_billable' out" },
    { MODEL("routes: [{provider: p}], derived: [a]"),
        "t.yaml:2:39: derived models do not exist in this version yet; take 'derived' out" },
    { MODEL("routes: [{provider: p}], session: {required: true}"),
        "t.yaml:2:39: sessions do not exist in this version yet; take 'session' out" },
    { LIMIT("counts: cost, per: account, window: month, cap: {default: 5 USD, group: {research: 200 USD}, combine: min}"),
        "t.yaml:3:87: there is no group 'research'" },
    { LIMIT("counts: cost, per: account, window: day, cap: 5 USD, up_to: 5 USD"),
        "t.yaml:3:67: up_to does not exist in this version yet; take it out" },
    { LIMIT("counts: cost, per: account, window: day, cap: 5 USD, at_cap: bill_user"),
        "t.yaml:3:75: at_cap: bill_user does not exist in this version yet, since no user can pay here; write refuse" },
    { LIMIT("counts: cost, per: account, window: day, cap: 5 USD, of: {payer: any}"),
        "t.yaml:3:72: payers other than the company do not exist in this version yet; take 'payer' out" },
    { LIMIT("counts: thread_days, per: account, window: day, cap: 1"),
        "t.yaml:3:22: limits that count thread_days do not exist in this version yet; these do: cost, tokens, requests, in_flight, reported" },
    { LIMIT("counts: live_sessions, per: gateway, cap: 200"),
        "t.yaml:3:22: limits that count live_sessions do not exist in this version yet; these do: cost, tokens, requests, in_flight, reported" },
    { LIMIT("counts: admits, per: account, window: 20h rolling, cap: 5"),
        "t.yaml:3:22: limits that count admits do not exist in this version yet; these do: cost, tokens, requests, in_flight, reported" },
    { LIMIT("counts: requests, per: tag, window: 5/s"),
        "t.yaml:3:10: 'tag' is missing here: which of 'tags' the limit goes by" },
    { LIMIT("counts: cost, per: account, window: 5/s"),
        "t.yaml:3:50: 'rate' wants a rate such as 60/min, of cost 5 USD/h; this is '5/s'" },
};

static const struct row wrong_gateway_rows[] = {
    { P M "listen: 8080\n",
        "t.yaml:3:9: 'listen' wants an address in digits such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080, or unix:PATH; this is '8080'" },
    { P M "listen: example.org:80\n",
        "t.yaml:3:9: 'listen' wants an address in digits such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080, or unix:PATH; this is 'example.org:80'" },
    { P M "listen: 127.0.0.1:70000\n",
        "t.yaml:3:9: 'listen' wants an address in digits such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080, or unix:PATH; this is '127.0.0.1:70000'" },
    { P M "listen: 300.0.0.1:80\n",
        "t.yaml:3:9: 'listen' wants an address in digits such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080, or unix:PATH; this is '300.0.0.1:80'" },
    { P M "listen: 127.1:80\n",
        "t.yaml:3:9: 'listen' wants an address in digits such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080, or unix:PATH; this is '127.1:80'" },
    { P M "listen: '[::1]'\n",
        "t.yaml:3:9: 'listen' wants an address in digits such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080, or unix:PATH; this is '[::1]'" },
    { P M "listen: 'unix:'\n",
        "t.yaml:3:9: the path of a socket has 1 to 107 bytes" },
    { P M "listen: []\n",
        "t.yaml:3:9: 'listen' wants an address such as 127.0.0.1:8080, [::1]:8080 or unix:/run/tidegate.sock, a mapping such as {address: 0.0.0.0:8443, tls: {cert: FILE, key: FILE}}, or a list of them; this is a list" },
    { P M "listen:\n",
        "t.yaml:3:1: 'listen' has no value; give it one or take the line out" },
    { P M "listen: ''\n",
        "t.yaml:3:9: 'listen' wants an address in digits such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080, or unix:PATH; this is ''" },
    { P M "store: /var/lib/x.db\n",
        "t.yaml:3:8: 'store' wants sqlite:PATH, postgresql://USER@HOST/DATABASE, or memory; this is '/var/lib/x.db'" },
    { P M "store: 'sqlite:'\n",
        "t.yaml:3:8: 'store' wants sqlite:PATH, postgresql://USER@HOST/DATABASE, or memory; this is 'sqlite:'" },
    { P M "store: [a]\n",
        "t.yaml:3:8: 'store' wants sqlite:PATH, postgresql://USER@HOST/DATABASE, or memory; this is a list" },
    { P M "durability: disc\n",
        "t.yaml:3:13: 'durability' is one of: disk | os; this is 'disc'" },
    { P M "log: yes\n",
        "t.yaml:3:6: 'log' is one of: text | json; this is 'yes'" },
    { P M "loops: 65\n",
        "t.yaml:3:8: 'loops' must lie between 0 and 64; this is '65'" },
    { P M "loops: -1\n",
        "t.yaml:3:8: 'loops' wants a whole number such as 8; this is '-1'" },
    { P M "loops: 1.5\n",
        "t.yaml:3:8: 'loops' wants a whole number such as 8; this is '1.5'" },
    { P M "loops: many\n",
        "t.yaml:3:8: 'loops' wants a whole number such as 8; this is 'many'" },
    { P M "timezone: Europe/Berlim\n",
        "t.yaml:3:11: there is no time zone 'Europe/Berlim' on this machine (/usr/share/zoneinfo); write one such as Europe/Berlin, or UTC" },
    { P M "timezone: ../../etc/passwd\n",
        "t.yaml:3:11: there is no time zone '../../etc/passwd' on this machine (/usr/share/zoneinfo); write one such as Europe/Berlin, or UTC" },
    { P M "timezone: Europe\n",
        "t.yaml:3:11: time zone 'Europe' cannot be read: Is a directory" },
    { P M "timezone: right/UTC\n",
        "t.yaml:3:11: there is no time zone 'right/UTC' on this machine (/usr/share/zoneinfo); write one such as Europe/Berlin, or UTC" },
    { P M "held_wait: 3\n",
        "t.yaml:3:12: 'held_wait' wants a duration such as 500ms, 3s or 2h30m; this is '3'" },
    { P M "held_wait: 61s\n",
        "t.yaml:3:12: 'held_wait' must lie between 0s and 60s; this is '61s'" },
    { P M "held_wait: 5m2h\n",
        "t.yaml:3:12: 'held_wait' wants a duration such as 500ms, 3s or 2h30m; this is '5m2h'" },
    { P M "held_wait: -3s\n",
        "t.yaml:3:12: 'held_wait' wants a duration such as 500ms, 3s or 2h30m; this is '-3s'" },
    { P M "held_wait: {a: 1}\n",
        "t.yaml:3:12: 'held_wait' wants a duration such as 500ms, 3s or 2h30m; this is a mapping" },
    { P M "held_wait: 99999999999999999999s\n",
        "t.yaml:3:12: 'held_wait' wants a duration such as 500ms, 3s or 2h30m; this is '99999999999999999999s'" },
    { P M "lease: 1s\n", "t.yaml:3:8: 'lease' must lie between 2s and 60s; this is '1s'" },
    { P M "node: ' a'\n", "t.yaml:3:7: the name of a gateway has 1 to 127 bytes, without a space at its ends" },
    { P M "node: {a: 1}\n", "t.yaml:3:7: 'node' wants a name such as gateway-1; this is a mapping" },
    { P M "step: 1024 token\n",
        "t.yaml:3:7: 'step' wants a number of tokens such as 1024 tokens; this is '1024 token'" },
    { P M "step: 1\n",
        "t.yaml:3:7: 'step' must lie between 16 and 1000000; this is '1'" },
    { P M "body_max: 32 MB\n",
        "t.yaml:3:11: 'body_max' wants a size such as 64KB or 32MB; this is '32 MB'" },
    { P M "body_max: 32mb\n",
        "t.yaml:3:11: 'body_max' wants a size such as 64KB or 32MB; this is '32mb'" },
    { P M "body_max: 2GB\n",
        "t.yaml:3:11: 'body_max' must lie between 1KB and 1GB; this is '2GB'" },
    { P M "unpriced: maybe\n",
        "t.yaml:3:11: 'unpriced' is one of: refuse_under_cost_limits | allow | refuse; this is 'maybe'" },
    { P M "orphaned_holds: free\n",
        "t.yaml:3:17: 'orphaned_holds' is one of: charge | release; this is 'free'" },
    { P M "control: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n",
        "t.yaml:3:10: the path of a socket has 1 to 107 bytes" },
    { P M "control: \"a\\nb\"\n",
        "t.yaml:3:10: this text must be one line without control characters" },
    { P M "plans: {free: {cap: 1}}\n",
        "t.yaml:3:16: a plan has no options of its own; write {}" },
    { P M "plans: []\n",
        "t.yaml:3:8: 'plans' wants a mapping of names, such as {free: {}, pro: {}}; this is a list" },
    { P M "plans: {}\n",
        "t.yaml:3:8: a configuration has 1 to 256 plans" },
    { P M "plans: {'a b': {}}\n",
        "t.yaml:3:9: a plan's name has letters, digits, '-', '_' and '.'; this is 'a b'" },
    { P M "plans: {free: {}, pro: {}}\n" "default_plan: por\n",
        "t.yaml:4:15: there is no plan 'por'; did you mean 'pro'?" },
    { P M "default_plan: zzzzzzz\n",
        "t.yaml:3:15: there is no plan 'zzzzzzz'" },
};

static const struct row wrong_providers_rows[] = {
    { "models: {m: {routes: [{provider: p}]}}\n",
        "t.yaml:1:1: 'providers' is missing here: a mapping of names to providers" },
    { "providers: {}\n" M,
        "t.yaml:1:12: a configuration has 1 to 256 providers" },
    { "providers: [a]\n" M,
        "t.yaml:1:12: 'providers' wants a mapping of names to providers; this is a list" },
    { "providers: {p: }\n" M,
        "t.yaml:1:13: this must be a mapping of options; it is empty" },
    { "providers: {p: x}\n" M,
        "t.yaml:1:16: this must be a mapping of options; it is 'x'" },
    { "providers: {'a/b': {dialect: openai, base_url: 'http://127.0.0.1:1'}}\n" "models: {m: {routes: [{provider: a/b}]}}\n",
        "t.yaml:1:13: a provider's name has up to 63 letters, digits, '-', '_' and '.'; this is 'a/b'" },
    { PROVIDER("base_url: 'http://127.0.0.1:1'"),
        "t.yaml:1:13: 'dialect' is missing here: openai or anthropic" },
    { PROVIDER("dialect: openai"),
        "t.yaml:1:16: 'base_url' is missing here: a URL such as https://api.openai.com/v1" },
    { PROVIDER("dialect: google, base_url: 'http://127.0.0.1:1'"),
        "t.yaml:1:26: 'dialect' is one of: openai | anthropic; this is 'google'" },
    { PROVIDER("dialect: openai, base_url: 127.0.0.1"),
        "t.yaml:1:44: a URL begins with https:// or http://" },
    { PROVIDER("dialect: openai, base_url: 'ftp://a'"),
        "t.yaml:1:44: a URL begins with https:// or http://" },
    { PROVIDER("dialect: openai, base_url: 'https://user:pw@host/v1'"),
        "t.yaml:1:44: a URL here carries no user name or password; secrets belong under credentials" },
    { PROVIDER("dialect: openai, base_url: 'https://'"),
        "t.yaml:1:44: the host of this URL is neither a name nor an address" },
    { PROVIDER("dialect: openai, base_url: 'https://a:0/'"),
        "t.yaml:1:44: the port of this URL is no number from 1 to 65535" },
    { PROVIDER("dialect: openai, base_url: 'https://a:99999/'"),
        "t.yaml:1:44: the port of this URL is no number from 1 to 65535" },
    { PROVIDER("dialect: openai, base_url: 'https://a/v1?x=1'"),
        "t.yaml:1:44: a base URL has no '?' and no '#'" },
    { PROVIDER("dialect: openai, base_url: 'https://a//v1'"),
        "t.yaml:1:44: the path of this URL has an empty segment, '.', '..' or a character that does not belong there" },
    { PROVIDER("dialect: openai, base_url: 'https://a/../v1'"),
        "t.yaml:1:44: the path of this URL has an empty segment, '.', '..' or a character that does not belong there" },
    { PROVIDER("dialect: openai, base_url: 'https://a b/'"),
        "t.yaml:1:44: the host of this URL is neither a name nor an address" },
    { PROVIDER("dialect: openai, base_url: 'https://a/%2e'"),
        "t.yaml:1:44: the path of this URL has an empty segment, '.', '..' or a character that does not belong there" },
    { PROVIDER("dialect: openai, base_url: 'https://[::1/'"),
        "t.yaml:1:44: the host of this URL is neither a name nor an address" },
    { PROVIDER("dialect: openai, base_url: 'https://-a/'"),
        "t.yaml:1:44: the host of this URL is neither a name nor an address" },
    { PROVIDER("dialect: openai, base_url: 'https://1.2.3/'"),
        "t.yaml:1:44: the host of this URL is neither a name nor an address" },
    { PROVIDER("dialect: openai, base_url: [a]"),
        "t.yaml:1:44: 'base_url' wants a URL such as https://api.openai.com/v1; this is a list" },
    { PROVIDER("dialect: openai, base_url: 'http://10.0.0.7/v1'"),
        "t.yaml:1:44: http to 10.0.0.7 would send the credential in the clear; write https, or add 'insecure: true'" },
    { PROVIDER("dialect: openai, base_url: 'http://10.0.0.7/v1', insecure: yes"),
        "t.yaml:1:44: http to 10.0.0.7 would send the credential in the clear; write https, or add 'insecure: true'\n"
        "t.yaml:1:76: 'insecure' wants true or false; this is 'yes'" },
    { PROVIDER("dialect: anthropic, base_url: 'https://host/v1'"),
        "t.yaml:1:47: the base URL of an anthropic provider ends before /v1" },
    { PROVIDER("base_url: 'https://api.openai.com', credentials: {company: {env: TIDEGATE_TEST_KEY}}"),
        "t.yaml:1:27: api.openai.com serves its API under /v1; write https://api.openai.com/v1" },
    { PROVIDER("base_url: 'https://api.openai.com/v1'"),
        "t.yaml:1:13: 'credentials' is missing here: api.openai.com wants a key, such as {company: {env: NAME}}" },
    { PROVIDER("dialect: anthropic, base_url: 'http://127.0.0.1:1', apis: [messages, embeddings]"),
        "t.yaml:1:86: a provider of dialect anthropic does not speak 'embeddings'" },
    { MORE("apis: [chat, mesages]"),
        "t.yaml:1:79: an API is one of: chat, responses, embeddings, messages, count_tokens; this is 'mesages'" },
    { MORE("apis: [messages]"),
        "t.yaml:1:73: a provider of dialect openai does not speak 'messages'" },
    { MORE("apis: []"),
        "t.yaml:1:72: 'apis' is empty; name at least one, or take the line out" },
    { MORE("apis: chat"),
        "t.yaml:1:72: 'apis' wants a list of chat, responses, embeddings, messages, count_tokens; this is 'chat'" },
    { MORE("on_abort: stop"),
        "t.yaml:1:76: 'on_abort' is one of: bills_all | stops; this is 'stop'" },
    { MORE("credentials: sk-secret"),
        "t.yaml:1:79: 'credentials' wants a mapping such as {company: {env: OPENAI_API_KEY}}" },
    { MORE("credentials: {company: sk-secret}"),
        "t.yaml:1:89: 'company' wants a mapping such as {env: OPENAI_API_KEY}" },
    { MORE("credentials: {company: {env: sk-secret-1}}"),
        "t.yaml:1:95: 'env' wants the name of an environment variable (capital letters, digits, '_'), not the secret itself" },
    { MORE("credentials: {company: {env: TIDEGATE_TEST_UNSET}}"),
        "t.yaml:1:95: environment variable TIDEGATE_TEST_UNSET is not set" },
    { MORE("credentials: {company: {env: TIDEGATE_TEST_EMPTY}}"),
        "t.yaml:1:95: environment variable TIDEGATE_TEST_EMPTY is empty" },
    { MORE("credentials: {company: {env: TIDEGATE_TEST_SPACED}}"),
        "t.yaml:1:95: environment variable TIDEGATE_TEST_SPACED holds spaces, control characters or more than a secret may have" },
    { MORE("credentials: {company: {file: /nonexistent/key}}"),
        "t.yaml:1:96: the credential file cannot be read: No such file or directory" },
    { MORE("credentials: {company: {}}"),
        "t.yaml:1:89: this credential names no secret: {env: NAME} or {file: PATH}" },
    { MORE("credentials: {company: {hf_abcdefghijkl}}"),
        "t.yaml:1:89: this credential names no secret: {env: NAME} or {file: PATH}\n"
        "t.yaml:1:90: unknown option; known here: env, file, headers" },
    { MORE("credentials: {company: {env: hf_abcdefghijkl}}"),
        "t.yaml:1:95: 'env' wants the name of an environment variable (capital letters, digits, '_'), not the secret itself" },
    { MORE("credentials: {company: {evn: TIDEGATE_TEST_KEY}}"),
        "t.yaml:1:89: this credential names no secret: {env: NAME} or {file: PATH}\n"
        "t.yaml:1:90: unknown option; did you mean 'env'?" },
    { MORE("credentials: {company: {env: TIDEGATE_TEST_KEY, file: b}}"),
        "t.yaml:1:89: this credential names two secrets; keep either 'env' or 'file'" },
    { MORE("credentials: {company: {env: TIDEGATE_TEST_KEY, headers: {Authorization: x}}}"),
        "t.yaml:1:124: the gateway writes header 'Authorization' itself; take it out" },
    { MORE("credentials: {company: {env: TIDEGATE_TEST_KEY, headers: {'a b': x}}}"),
        "t.yaml:1:124: this is no header name" },
    { MORE("credentials: {company: {env: TIDEGATE_TEST_KEY, headers: {A: \"x\\r\\nB: y\"}}}"),
        "t.yaml:1:127: this text must be one line without control characters" },
    { MORE("credentials: {company: {env: TIDEGATE_TEST_KEY, headers: {A: []}}}"),
        "t.yaml:1:127: a header's value is a text that is not empty" },
    { MORE("credentials: {company: {env: TIDEGATE_TEST_KEY, headers: {a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1}}}"),
        "t.yaml:1:172: a credential carries at most 8 headers" },
    { MORE("connect_deadline: 6m"),
        "t.yaml:1:84: 'connect_deadline' must lie between 100ms and 5m; this is '6m'" },
};

static const struct row wrong_models_rows[] = {
    { P,
        "t.yaml:1:1: 'models' is missing here: a mapping of names to models" },
    { P "models: {}\n",
        "t.yaml:2:9: a configuration has 1 to 4096 models" },
    { MODEL(""),
        "t.yaml:2:13: 'routes' is missing here: a list such as [{provider: openai, model: gpt-5.5}]" },
    { MODEL("routes: []"),
        "t.yaml:2:22: a model has 1 to 6 routes" },
    { MODEL("routes: {provider: p}"),
        "t.yaml:2:22: 'routes' wants a list such as [{provider: openai, model: gpt-5.5}]; this is a mapping" },
    { MODEL("routes: [p]"),
        "t.yaml:2:23: this must be a mapping of options; it is 'p'" },
    { MODEL("routes: [{}]"),
        "t.yaml:2:23: 'provider' is missing here: the name of a provider" },
    { MODEL("routes: [{provider: q}]"),
        "t.yaml:2:34: there is no provider 'q'" },
    { "providers: {openai: {dialect: openai, base_url: 'http://127.0.0.1:1/v1'}}\n" "models: {m: {routes: [{provider: opnai}]}}\n",
        "t.yaml:2:34: there is no provider 'opnai'; did you mean 'openai'?" },
    { P "models: {'a b': {routes: [{provider: p}]}}\n",
        "t.yaml:2:10: a model's name has letters, digits and any of -_.:/@+[]; this is 'a b'" },
    { MODEL("routes: [{provider: p},{provider: p},{provider: p},{provider: p},{provider: p},{provider: p},{provider: p}]"),
        "t.yaml:2:22: a model has 1 to 6 routes" },
    { MODEL("tier: gold, routes: [{provider: p}]"),
        "t.yaml:2:20: 'tier' is one of: free | premium; this is 'gold'" },
    { MODEL("routes: [{provider: p, price_as: gtp-5.5}]"),
        "t.yaml:2:47: the price book has no 'gtp-5.5'; did you mean 'gpt-5.5'?" },
    { MODEL("routes: [{provider: p, price_as: 'gpt-5.5:free'}]"),
        "t.yaml:2:47: the price book has no 'gpt-5.5:free'" },
    { MODEL("routes: [{provider: p, price_as: gpt-5.5, price: {input: 1 USD, output: 1 USD}}]"),
        "t.yaml:2:37: keep either 'price' or 'price_as'" },
    { MODEL("price_as: zzzzzzzzzz, routes: [{provider: p}]"),
        "t.yaml:2:24: the price book has no 'zzzzzzzzzz'" },
    { MODEL("price: {input: 1 USD}, routes: [{provider: p}]"),
        "t.yaml:2:21: 'output' is missing here: an amount such as 0.50 USD or 500000 micros" },
    { MODEL("price: {input: null, output: 1 USD}, routes: [{provider: p}]"),
        "t.yaml:2:22: 'input' has no value; give it one or take the line out" },
    { MODEL("price: {input: 1 USD, output: 1 USD, cache_read: }, routes: [{provider: p}]"),
        "t.yaml:2:51: 'cache_read' has no value; give it one or take the line out" },
    { MODEL("price: {input: 1, output: 1 USD}, routes: [{provider: p}]"),
        "t.yaml:2:29: 'input' wants an amount such as 0.50 USD or 500000 micros; this is '1'" },
    { MODEL("price: {input: -1 USD, output: 1 USD}, routes: [{provider: p}]"),
        "t.yaml:2:29: 'input' wants an amount such as 0.50 USD or 500000 micros; this is '-1 USD'" },
    { MODEL("price: {input: 0.0000001 USD, output: 1 USD}, routes: [{provider: p}]"),
        "t.yaml:2:29: 'input' wants an amount such as 0.50 USD or 500000 micros; this is '0.0000001 USD'" },
    { MODEL("price: {input: 2000000 USD, output: 1 USD}, routes: [{provider: p}]"),
        "t.yaml:2:29: 'input' must lie between 0 USD and 1000000 USD; this is '2000000 USD'" },
    { MODEL("price: {input: 1 EUR, output: 1 USD}, routes: [{provider: p}]"),
        "t.yaml:2:29: 'input' wants an amount such as 0.50 USD or 500000 micros; this is '1 EUR'" },
    { MODEL("price: 3 USD, routes: [{provider: p}]"),
        "t.yaml:2:21: this must be a mapping of options; it is '3 USD'" },
    { MODEL("price: {input: 1 USD, output: 1 USD, tiers: [{above: 10, input: 2 USD}, {above: 10, input: 3 USD}]}, routes: [{provider: p}]"),
        "t.yaml:2:86: tiers must rise: 'above' of this one is not higher than the one before" },
    { MODEL("price: {input: 1 USD, output: 1 USD, tiers: [{input: 2 USD}]}, routes: [{provider: p}]"),
        "t.yaml:2:59: 'above' is missing here: a number of tokens such as 1024 tokens" },
    { MODEL("max_output: 0, routes: [{provider: p}]"),
        "t.yaml:2:26: 'max_output' must lie between 1 and 1000000000; this is '0'" },
    { MODEL("hidden_reasoning: 1, routes: [{provider: p}]"),
        "t.yaml:2:32: 'hidden_reasoning' wants true or false; this is '1'" },
};

#define TAG(text) P M "tags: {t: {" text "}}\n"
/* Two providers, each with a model of its own, of a dialect of its own. */
#define TWO(text)                                                                                                    \
    "providers: {p: {dialect: openai, base_url: 'http://127.0.0.1:1/v1'}, q: {dialect: anthropic, base_url: 'http://127.0.0.1:2'}}\n" \
    "models: {m: {tier: premium, routes: [{provider: p}]}, n: {tier: free, routes: [{provider: q}]}}\n"              \
    "limits: {x: {" text "}}\n"
static const struct row wrong_limits_rows[] = {
    { P M "limits: []\n",
        "t.yaml:3:9: 'limits' wants a mapping of names to limits; this is a list" },
    { P M "limits: {A: {counts: in_flight, per: account, cap: 1}}\n",
        "t.yaml:3:10: a limit's name has up to 63 of a-z, 0-9 and '-'; this is 'A'" },
    { P M "limits: {x: }\n",
        "t.yaml:3:10: this must be a mapping of options; it is empty" },
    { LIMIT(""),
        "t.yaml:3:13: 'counts' is missing here: one of cost, tokens, requests, in_flight, reported, the latter with its window: reported 5h\n"
        "t.yaml:3:13: 'per' is missing here: one of gateway, plan, group, organisation, account, key, thread_tree, model, tier, account_model, tag" },
    { LIMIT("counts: costs, per: account, window: day, cap: 5 USD"),
        "t.yaml:3:22: unknown word 'costs' of 'counts'; did you mean 'cost'?" },
    { LIMIT("counts: cost, per: accounts, window: day, cap: 5 USD"),
        "t.yaml:3:33: unknown word 'accounts' of 'per'; did you mean 'account'?" },
    { LIMIT("counts: cost, per: account, cap: 5 USD"),
        "t.yaml:3:10: 'window' is missing here: day, week, month, lifetime, 20h rolling, 5h from first use, 60/min or {rate: 60/min, burst: 10}" },
    { LIMIT("counts: cost, per: account, window: daily, cap: 5 USD"),
        "t.yaml:3:50: 'window' wants day, week, month, lifetime, 20h rolling, 5h from first use, 60/min or {rate: 60/min, burst: 10}; this is 'daily'" },
    { LIMIT("counts: cost, per: account, window: rate, cap: 5 USD"),
        "t.yaml:3:50: 'window' wants day, week, month, lifetime, 20h rolling, 5h from first use, 60/min or {rate: 60/min, burst: 10}; this is 'rate'" },
    { LIMIT("counts: [cost], per: account, window: day, cap: 5 USD"),
        "t.yaml:3:22: 'counts' wants one of cost, tokens, requests, in_flight, reported, the latter with its window: reported 5h; this is a list" },
    { LIMIT("counts: bananas, per: account, window: day, cap: 5 USD"),
        "t.yaml:3:22: 'counts' wants one of cost, tokens, requests, in_flight, reported, the latter with its window: reported 5h; this is 'bananas'" },
    { LIMIT("counts: cost, per: account, window: day"),
        "t.yaml:3:10: 'cap' is missing here: an amount such as 50 USD or 8, unlimited, {default: 50 USD, plan: {free: 5 USD}, group: {research: 200 USD}}, or {set: NAME}" },
    { LIMIT("counts: cost, per: account, window: day, cap: 5"),
        "t.yaml:3:60: a cap of cost wants money such as 50 USD or 500000 micros, or unlimited; this is '5'" },
    { LIMIT("counts: cost, per: account, window: day, cap: -5 USD"),
        "t.yaml:3:60: a cap of cost wants money such as 50 USD or 500000 micros, or unlimited; this is '-5 USD'" },
    { LIMIT("counts: cost, per: account, window: day, cap: lots"),
        "t.yaml:3:60: a cap of cost wants money such as 50 USD or 500000 micros, or unlimited; this is 'lots'" },
    { LIMIT("counts: in_flight, per: account, cap: 5 USD"),
        "t.yaml:3:52: a cap of in_flight wants a whole number such as 8, or unlimited; this is '5 USD'" },
    { LIMIT("counts: in_flight, per: account, cap: {}"),
        "t.yaml:3:52: 'cap' wants an amount such as 50 USD or 8, unlimited, {default: 50 USD, plan: {free: 5 USD}, group: {research: 200 USD}}, or {set: NAME}; this is a mapping" },
    { LIMIT("counts: in_flight, per: account, cap: {defalt: 5}"),
        "t.yaml:3:53: unknown option 'defalt'; did you mean 'default'?" },
    { LIMIT("counts: in_flight, per: gateway, cap: {default: 9, plan: {default: 5}}"),
        "t.yaml:3:65: all callers share a limit per gateway, so its cap cannot differ by plan; write one amount" },
    { LIMIT("counts: in_flight, per: account, cap: {plan: {gold: 5}}"),
        "t.yaml:3:60: there is no plan 'gold'" },
    { LIMIT("counts: in_flight, per: account, cap: {default: 1, plan: {default: x}}"),
        "t.yaml:3:81: a cap of in_flight wants a whole number such as 8, or unlimited; this is 'x'" },
    { LIMIT("counts: requests, per: key, window: {rate: 60/min}, cap: 5"),
        "t.yaml:3:66: a rate has no cap: its number stands in 'window'; take it out" },
    { LIMIT("counts: requests, per: key, window: {rate: 0/min}"),
        "t.yaml:3:57: 'rate' wants a rate such as 60/min, of cost 5 USD/h; this is '0/min'" },
    { LIMIT("counts: requests, per: key, window: {rate: 60}"),
        "t.yaml:3:57: 'rate' wants a rate such as 60/min, of cost 5 USD/h; this is '60'" },
    { LIMIT("counts: requests, per: key, window: 60/minute"),
        "t.yaml:3:50: 'rate' wants a rate such as 60/min, of cost 5 USD/h; this is '60/minute'" },
    { LIMIT("counts: requests, per: key, window: {burst: 5}"),
        "t.yaml:3:50: 'rate' is missing here: a rate such as 60/min, of cost 5 USD/h" },
    { LIMIT("counts: requests, per: key, window: {rate: 60/min, burst: 0}"),
        "t.yaml:3:72: 'burst' must lie between 1 and 1000000000; this is '0'" },
    { LIMIT("counts: cost, per: account, window: 26688 USD/day"), /* more than a level can say */
        "t.yaml:3:50: at most 26687 USD can be let through at once by such a rate: write {rate: ..., burst: ...}, or 'window: day' with a cap; this is '26688 USD/day'" },
    { LIMIT("counts: cost, per: account, window: {rate: 640512 USD/h}"),
        "t.yaml:3:57: at most 640511 USD can be let through at once by such a rate: write {rate: ..., burst: ...}, or 'window: day' with a cap; this is '640512 USD/h'" },
    { LIMIT("counts: cost, per: account, window: {rate: 50000 USD/day, burst: 26688 USD}"),
        "t.yaml:3:79: 'burst' must lie between 1 micros and 26687 USD; this is '26688 USD'" },
    { LIMIT("counts: cost, per: account, window: {rate: 5 USD/h, burst: 0 USD}"),
        "t.yaml:3:73: 'burst' must lie between 1 micros and 640511 USD; this is '0 USD'" },
    { LIMIT("counts: in_flight, per: account, cap: 1, zone: Europe/Berlin"),
        "t.yaml:3:55: only a day, a week or a month has a zone; take it out" },
    { LIMIT("counts: cost, per: account, window: day, cap: 5 USD, zone: Mars/Base"),
        "t.yaml:3:73: there is no time zone 'Mars/Base' on this machine (/usr/share/zoneinfo); write one such as Europe/Berlin, or UTC" },
    { LIMIT("counts: in_flight, per: account, cap: 1, hold: stream"),
        "t.yaml:3:55: only a limit of cost or tokens holds an amount; take 'hold' out" },
    { LIMIT("counts: cost, per: account, window: day, cap: 5 USD, hold: maybe"),
        "t.yaml:3:73: 'hold' is one of: stream | strict | none; this is 'maybe'" },
    { LIMIT("counts: in_flight, per: account, cap: 1, at_cap: explode"),
        "t.yaml:3:63: 'at_cap' wants refuse, pause, warn, shadow, {queue: 30s}, {downgrade: MODEL} or {reroute: PROVIDER}; this is 'explode'" },
    { LIMIT("counts: in_flight, per: account, cap: 1, was: x"),
        "t.yaml:3:60: 'x' is configured still, in line 3: a limit can take over only what a name counted that is gone" },
    { LIMIT("counts: in_flight, per: account, cap: 1, was: old}, y: {counts: in_flight, per: key, cap: 1, was: old"),
        "t.yaml:3:112: 'x' takes that over already, in line 3; keep one of them" },
    { LIMIT("counts: in_flight, per: account, cap: 1, of: {model: mm}"),
        "t.yaml:3:67: there is no model 'mm'" },
    { LIMIT("counts: in_flight, per: account, cap: 1, of: premium"),
        "t.yaml:3:59: 'of' wants a mapping such as {tier: premium}, {model: gpt-5.5} or {provider: openai}; this is 'premium'" },
    { LIMIT("counts: in_flight, per: account, cap: 1, of: {tier: free}"),
        "t.yaml:3:66: this limit would count nothing: no model here is of tier free" },
    { LIMIT("counts: in_flight, per: account, cap: 1, of: {model: m, tier: free}"),
        "t.yaml:3:59: this limit would count nothing: model 'm' is not of tier free; keep either 'model' or 'tier'" },
    { LIMIT("counts: in_flight, per: account, cap: 1, of: {tier: gold}"),
        "t.yaml:3:66: 'tier' is one of: free | premium; this is 'gold'" },
    { LIMIT("counts: cost, per: tag, tag: team, window: day, cap: 1 USD"),
        "t.yaml:3:43: there is no tag 'team'; tags are declared under 'tags'" },
    { LIMIT("counts: cost, per: account, tag: team, window: day, cap: 1 USD"),
        "t.yaml:3:42: only a limit per tag has one; take 'tag' out" },
    { LIMIT("counts: in_flight, per: account, window: day, cap: 1"),
        "t.yaml:3:47: calls in flight are counted now, over no window; take 'window' out" },
    { LIMIT("counts: reported, per: account, cap: 90"),
        "t.yaml:3:22: what is reported is of a window of the provider's: write reported 5h or reported 7d; this is 'reported'" },
    { LIMIT("counts: reported 5h, per: key, cap: 90"),
        "t.yaml:3:40: what is reported is of an account, or of the company's own credentials; write per: account or per: gateway" },
    { LIMIT("counts: reported 5h, per: account, window: day, cap: 90"),
        "t.yaml:3:49: the window of what is reported is the provider's: write counts: reported 5h, and take 'window' out" },
    { LIMIT("counts: reported 5h, per: account, cap: 101"),
        "t.yaml:3:54: a cap of reported wants a percentage from 1 to 100, or unlimited; this is '101'" },
    { LIMIT("counts: requests, per: account, window: day, cap: 5, max_age: 5m"),
        "t.yaml:3:67: only what is reported can be missing or stale; take 'max_age' out" },
    { LIMIT("counts: requests, per: account, window: 0s rolling, cap: 5"),
        "t.yaml:3:54: a window of this kind lasts between 1s and 3660d, such as 20h rolling; this is '0s rolling'" },
    { LIMIT("counts: requests, per: account, window: later rolling, cap: 5"),
        "t.yaml:3:54: a window of this kind lasts between 1s and 3660d, such as 20h rolling; this is 'later rolling'" },
    { LIMIT("counts: requests, per: account, window: rolling, cap: 5"),
        "t.yaml:3:54: 'window' wants day, week, month, lifetime, 20h rolling, 5h from first use, 60/min or {rate: 60/min, burst: 10}; this is 'rolling'" },
    { LIMIT("counts: tokens, per: account, window: day, cap: 5, at_cap: queue"),
        "t.yaml:3:73: at_cap: queue wants to know how long: {queue: 30s}" },
    { LIMIT("counts: tokens, per: account, window: day, cap: 5, at_cap: {queue: 0s}"),
        "t.yaml:3:81: 'queue' must lie between 100ms and 10m; this is '0s'" },
    { LIMIT("counts: tokens, per: account, window: day, cap: 5, at_cap: {queue: 3s, downgrade: m}"),
        "t.yaml:3:73: 'at_cap' says one thing: refuse, pause, warn, shadow, {queue: 30s}, {downgrade: MODEL} or {reroute: PROVIDER}" },
    { LIMIT("counts: tokens, per: account, window: day, cap: 5, at_cap: {downgrade: mm}"),
        "t.yaml:3:85: there is no model 'mm'" },
    { LIMIT("counts: tokens, per: account, window: day, cap: 5, at_cap: {downgrade: m}"),
        "t.yaml:3:85: this limit counts calls to 'm' too, so they would not fit either; restrict it with 'of'" },
    { LIMIT("counts: tokens, per: account, window: day, cap: 5, at_cap: {reroute: q}"),
        "t.yaml:3:83: there is no provider 'q'" },
    { LIMIT("counts: tokens, per: account, window: day, cap: 5, at_cap: {reroute: p}"),
        "t.yaml:3:83: this limit counts calls by 'p' too, so they would not fit either; restrict it with 'of: {provider: ...}'" },
    { LIMIT("counts: tokens, per: account, window: day, cap: 5, at_cap: {bill_user: true}"),
        "t.yaml:3:73: at_cap: bill_user does not exist in this version yet, since no user can pay here; write refuse" },
    { LIMIT("counts: tokens, per: account, window: 5/s, hold: strict"),
        "t.yaml:3:57: a rate is charged as calls come; take 'hold' out" },
    { LIMIT("counts: cost, per: account, window: {rate: 1 USD/h, burst: 10}"),
        "t.yaml:3:73: 'burst' wants money such as 1 USD; this is '10'" },
    { LIMIT("counts: requests, per: account, window: 5/s, warn: [90]"),
        "t.yaml:3:59: only what adds up over a window can be warned of: neither a rate, nor calls in flight, nor what is reported" },
    { LIMIT("counts: in_flight, per: account, cap: 5, at_cap: warn"),
        "t.yaml:3:63: only what adds up over a window can be warned of: neither a rate, nor calls in flight, nor what is reported" },
    { LIMIT("counts: cost, per: account, window: day, cap: 5 USD, warn: [90, 75]"),
        "t.yaml:3:78: 'warn' wants up to 8 percentages from 1 to 1000, each above the one before; this is '75'" },
    { LIMIT("counts: cost, per: account, window: day, cap: 5 USD, warn: 90"),
        "t.yaml:3:73: 'warn' wants a list of up to 8 percentages of the cap such as [75, 90]; this is '90'" },
    { LIMIT("counts: cost, per: account, window: day, cap: 5 USD, weights: {m: 2}"),
        "t.yaml:3:67: only requests have weights; take 'weights' out" },
    { LIMIT("counts: requests, per: account, window: day, cap: 5, weights: {m: -2}"),
        "t.yaml:3:80: a weight is a whole number up to 1000000; this is '-2'" },
    { LIMIT("counts: cost, per: account, window: day, cap: 5 USD, of: {provider: q}"),
        "t.yaml:3:82: there is no provider 'q'" },
    { LIMIT("counts: cost, per: account, window: day, cap: 0.0000001 USD"),
        "t.yaml:3:60: a cap of cost wants money such as 50 USD or 500000 micros, or unlimited; this is '0.0000001 USD'" },
    { LIMIT("counts: cost, per: account, window: day, cap: 9999999999999 USD"),
        "t.yaml:3:60: a cap of cost is too large; the highest is 2305843009213.693951 USD; this is '9999999999999 USD'" },
    { LIMIT("counts: tokens, per: account, window: day, cap: 9223372036854775807"),
        "t.yaml:3:62: a cap of tokens is too large; the highest is 2305843009213693951; this is '9223372036854775807'" },
    { LIMIT("counts: cost, per: gateway, window: day, cap: {default: 1 USD, group: {g: 2 USD}}"),
        "t.yaml:3:77: all callers share a limit per gateway, so its cap cannot differ by group; write one amount" },
    { LIMIT("counts: cost, per: account, window: day, cap: {default: 1 USD, combine: sum}"),
        "t.yaml:3:86: 'combine' is one of: min | max; this is 'sum'" },
    { LIMIT("counts: cost, per: account, window: day, cap: 5 USD, was: \"no name\""),
        "t.yaml:3:72: no limit was ever called so: a name has up to 63 of a-z, 0-9 and '-'; this is 'no name'" },
    { LIMIT("counts: cost, per: account, window: day, cap: {set: session_pct}"),
        "t.yaml:3:66: 'session_pct' is set of limits that count what is reported, such as counts: reported 5h" },
    { LIMIT("counts: reported 5h, per: account, cap: {set: spend_limit_micros}"),
        "t.yaml:3:60: 'spend_limit_micros' is set of limits that count cost" },
    { LIMIT("counts: cost, per: account, window: day, cap: unlimited, warn: [90]"),
        "t.yaml:3:71: nobody has a cap here that could be warned of; write one, or cap: {set: NAME} where people set it" },
    { LIMIT("counts: cost, per: account, window: day, cap: {plan: {default: unlimited}}, at_cap: warn"),
        "t.yaml:3:98: nobody has a cap here that could be warned of; write one, or cap: {set: NAME} where people set it" },
    { LIMIT("counts: requests, per: account, window: day, cap: {default: 2, plan: {default: 3}}, weights: {m: 3, n: 4}"),
        "t.yaml:3:117: a call of this weight would never fit: the limit lets through 3 at the most; this is '4'" },
    { LIMIT("counts: requests, per: account, window: {rate: 5/min, burst: 2}, weights: {'*': 5}"),
        "t.yaml:3:94: a call of this weight would never fit: the limit lets through 2 at the most; this is '5'" },
    { TWO("counts: cost, per: account, window: day, cap: 5 USD, of: {provider: q, model: m}"),
        "t.yaml:3:82: this limit would count nothing: model 'm' has no route to provider 'q'" },
    { TWO("counts: cost, per: account, window: day, cap: 5 USD, of: {provider: q, tier: premium}"),
        "t.yaml:3:82: this limit would count nothing: no model of tier premium has a route to provider 'q'" },
    { TWO("counts: cost, per: account, window: day, cap: 5 USD, of: {model: m}, at_cap: {downgrade: n}"),
        "t.yaml:3:103: 'n' is served at no endpoint that the calls this limit counts come in at; name a model whose providers speak the same" },
    { TWO("counts: cost, per: account, window: day, cap: 5 USD, of: {provider: p}, at_cap: {reroute: q}"),
        "t.yaml:3:104: no model that this limit counts has a route to provider 'q'; add one, or name another" },
    { LIMIT("counts: requests, per: account, window: day, cap: 5}, y: {counts: requests, per: account, window: day, cap: 9"),
        "t.yaml:3:68: this limit counts the same as 'x' in line 3: only the lower of their caps would ever matter; keep one of them" },
    { LIMIT("counts: requests, per: account, window: day, cap: {default: 5, plan: {default: 3}}}, y: {counts: requests, per: account, window: day, cap: 9"),
        "t.yaml:3:99: this limit counts the same as 'x' in line 3: only the lower of their caps would ever matter; keep one of them" },
    { TAG("header: X-Api-Key"),
        "t.yaml:3:20: 'X-Api-Key' carries a secret, and what a tag says is stored and shown; take a header of its own such as x-team" },
    { TAG("header: Content-Length"),
        "t.yaml:3:20: 'Content-Length' is about the message, not about who sends it; take a header of its own such as x-team" },
    { TAG("header: transfer-encoding"),
        "t.yaml:3:20: 'transfer-encoding' is about the message, not about who sends it; take a header of its own such as x-team" },
    { TAG("header: authorization"),
        "t.yaml:3:20: 'authorization' carries a secret, and what a tag says is stored and shown; take a header of its own such as x-team" },
    { TAG("header: x-tidegate-key"),
        "t.yaml:3:20: 'x-tidegate-key' carries a secret, and what a tag says is stored and shown; take a header of its own such as x-team" },
    { TAG("header: api-key"),
        "t.yaml:3:20: 'api-key' carries a secret, and what a tag says is stored and shown; take a header of its own such as x-team" },
    { TAG("header: cookie"),
        "t.yaml:3:20: 'cookie' carries a secret, and what a tag says is stored and shown; take a header of its own such as x-team" },
    { TAG("header: proxy-authorization"),
        "t.yaml:3:20: 'proxy-authorization' carries a secret, and what a tag says is stored and shown; take a header of its own such as x-team" },
    { LIMIT("counts: cost, per: account, window: day, cap: {set: \"no name\"}"),
        "t.yaml:3:66: 'set' wants session_pct, week_pct, spend_limit_micros, or a name of your own; this is 'no name'" },
};

#define WEBHOOK(text) P M "webhooks: {ops: {" text "}}\n"
#define GOOD          "secret: {env: WEBHOOK_SECRET}, events: [warn]"
static const struct row wrong_webhooks_rows[] = {
    { WEBHOOK("url: 'https://ops.example/x', secret: {env: WEBHOOK_SECRET}"),
        "t.yaml:3:17: 'events' is missing here: a list of warn, shadow, refused, overshoot" },
    { WEBHOOK("url: 'https://ops.example/x', events: [warn]"),
        "t.yaml:3:17: 'secret' is missing here: {env: NAME} or {file: PATH}, or a list of two of them" },
    { WEBHOOK("url: 'https://ops.example/x', secret: {env: WEBHOOK_SECRET}, events: []"),
        "t.yaml:3:87: 'events' is empty; name at least one of: warn, shadow, refused, overshoot" },
    { WEBHOOK("url: 'https://ops.example/x', secret: {env: WEBHOOK_SECRET}, events: [warned]"),
        "t.yaml:3:88: an event is one of: warn, shadow, refused, overshoot; this is 'warned'" },
    { WEBHOOK("url: 'ftp://ops.example/x', " GOOD),
        "t.yaml:3:23: a URL begins with https:// or http://" },
    { WEBHOOK("url: 'https://ada:pw@ops.example/x', " GOOD),
        "t.yaml:3:23: a URL here carries no user name or password; secrets belong under credentials" },
    { WEBHOOK("url: 'https://ops.example/x?a b', " GOOD),
        "t.yaml:3:23: what follows the '?' of this URL holds a space or another character that does not belong there, or it has more than 2048 bytes" },
    { WEBHOOK("url: 'http://ops.example/x', " GOOD),
        "t.yaml:3:23: http is for private addresses: write https, or add 'allow_private: true' where ops.example is one" },
    { WEBHOOK("url: 'https://ops.example/x', secret: a-secret-in-the-file, events: [warn]"),
        "t.yaml:3:56: 'secret' wants {env: NAME} or {file: PATH}, or a list of two of them" },
    { WEBHOOK("url: 'https://ops.example/x', secret: {env: a-secret}, events: [warn]"),
        "t.yaml:3:62: 'env' wants the name of an environment variable (capital letters, digits, '_'), not the secret itself" },
    { WEBHOOK("url: 'https://ops.example/x', secret: {env: WEBHOOK_SHORT}, events: [warn]"),
        "t.yaml:3:56: this secret has less than 16 characters" },
    { WEBHOOK("url: 'https://ops.example/x', secret: {env: WEBHOOK_NONE}, events: [warn]"),
        "t.yaml:3:62: environment variable WEBHOOK_NONE is not set" },
    { WEBHOOK("url: 'https://ops.example/x', secret: [], events: [warn]"),
        "t.yaml:3:56: this list of secrets is empty" },
    { WEBHOOK("url: 'https://ops.example/x', events: [warn], secret: [{env: WEBHOOK_SECRET}, {env: WEBHOOK_SECRET}, {env: WEBHOOK_SECRET}]"),
        "t.yaml:3:119: a webhook has at most 2 secrets: the new one and the old one" },
    { WEBHOOK("url: {}, " GOOD),
        "t.yaml:3:23: this URL names no secret: {env: NAME} or {file: PATH}" },
    { P M "webhooks: {'o ps': {url: 'https://ops.example/x', " GOOD "}}\n",
        "t.yaml:3:12: a webhook's name has up to 63 letters, digits, '-', '_' and '.'; this is 'o ps'" },
};

static void
assert_refused(const char *yaml, const char *message)
{
    static struct conf_error error;
    struct policy *policy = (struct policy *)&error; /* anything but NULL */
    assert_int_equal(conf_load_text("t.yaml", slice_str(yaml), &policy, &error), STATUS_INVALID);
    assert_null(policy);
    assert_string_equal(error.text, message);
}

#define ROWS_CASE(name)                                                                            \
    static void name(void **state)                                                                 \
    {                                                                                              \
        for (size_t i = 0; i < countof(name##_rows); i++) {                                        \
            assert_refused(name##_rows[i].yaml, name##_rows[i].message);                           \
        }                                                                                          \
    }
ROWS_CASE(not_a_configuration)
ROWS_CASE(unknown_options)
ROWS_CASE(later_versions)
ROWS_CASE(wrong_gateway)
ROWS_CASE(wrong_providers)
ROWS_CASE(wrong_models)
ROWS_CASE(wrong_limits)
ROWS_CASE(wrong_webhooks)

static void
several_at_once(void **state)
{
    assert_refused("listen: 8080\n"
                   "listen: 8081\n"
                   "lgo: text\n"
                   "providers: {p: {dialect: opnai, base_url: 'http://127.0.0.1:1/v1'}}\n"
                   "models: {m: {routes: [{provider: q}], teir: free}}\n"
                   "limits: {x: {counts: cost, per: account, window: day, cap: 5}}\n",
        "t.yaml:1:9: 'listen' wants an address in digits such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080, or unix:PATH; this is '8080'\n"
        "t.yaml:2:1: 'listen' is given twice; the first is in line 1\n"
        "t.yaml:3:1: unknown option 'lgo'; did you mean 'log'?\n"
        "t.yaml:4:26: 'dialect' is one of: openai | anthropic; this is 'opnai'\n"
        "t.yaml:5:34: there is no provider 'q'\n"
        "t.yaml:5:39: unknown option 'teir'; did you mean 'tier'?\n"
        "t.yaml:6:60: a cap of cost wants money such as 50 USD or 500000 micros, or unlimited; this is '5'");
}

static void
ten_of_many(void **state)
{
    static struct conf_error error;
    struct policy *policy = NULL;
    struct buf yaml = { 0 };
    buf_add_str(&yaml, P M);
    for (int i = 0; i < 100; i++) {
        buf_addf(&yaml, "lo%d: text\n", i);
    }
    assert_int_equal(conf_load_text("t.yaml", buf_slice(&yaml), &policy, &error), STATUS_INVALID);
    int lines = 1;
    for (const char *at = error.text; (at = strchr(at, '\n')); at++) {
        lines++;
    }
    assert_int_equal(lines, 11);
    assert_non_null(strstr(error.text, "t.yaml:3:1: unknown option 'lo0'; did you mean 'log'?\n"));
    assert_non_null(strstr(error.text, "\nand 90 more"));
    buf_free(&yaml);
}

/* Whoever has forty models may limit each of them by the day. */
static void
many_limits_of_one_account(void **state)
{
    struct buf yaml = { 0 };
    buf_add_str(&yaml, P "models:\n");
    for (int i = 0; i < 40; i++) {
        buf_addf(&yaml, "  m%d: {routes: [{provider: p}]}\n", i);
    }
    buf_add_str(&yaml, "limits:\n");
    for (int i = 0; i < 40; i++) {
        buf_addf(&yaml, "  a%d: {counts: requests, per: account, window: day, cap: 9, of: {model: m%d}}\n", i, i);
    }
    for (int i = 1; i <= 4; i++) {
        buf_addf(&yaml, "  r%d: {counts: requests, per: account, window: %dh rolling, cap: 9}\n", i, i);
    }
    policy_unref(load(buf_cstr(&yaml)));
    buf_free(&yaml);
}

#define MODELS 64
static void
too_many_limits(void **state)
{
    static const char *const subjects[] = { "account", "key", "gateway" };
    struct buf yaml = { 0 };
    buf_add_str(&yaml, P M "limits:\n");
    for (int i = 0; i < 24; i++) {
        buf_addf(&yaml, "  a%d: {counts: requests, per: %s, window: %dh from first use, cap: 1}\n", i, subjects[i % 3], i + 1);
    }
    policy_unref(load(buf_cstr(&yaml)));
    buf_addf(&yaml, "  a24: {counts: in_flight, per: key, cap: 1}\n");
    assert_refused(buf_cstr(&yaml),
        "t.yaml:28:3: at most 24 limits can apply to one call; this is one more for model 'm'");

    buf_clear(&yaml);
    buf_add_str(&yaml, P "models:\n");
    for (int i = 0; i < MODELS; i++) {
        buf_addf(&yaml, "  m%d: {routes: [{provider: p}]}\n", i);
    }
    buf_add_str(&yaml, "limits:\n");
    for (int i = 0; i < METERS_MAX / 2; i++) {
        buf_addf(&yaml, "  a%d: {counts: cost, per: account, window: day, cap: 1 USD, of: {model: m%d}%s}\n", i, i % MODELS,
            i < MODELS ? "" : ", zone: Asia/Tokyo");
    }
    policy_unref(load(buf_cstr(&yaml)));
    buf_add_str(&yaml, "  b: {counts: in_flight, per: account, cap: 1, of: {model: m0}}\n");
    char message[200];
    (void)snprintf(message, sizeof message, "t.yaml:%d:3: too many limits per account: their meters must fit into one row "
                   "of %d; a calendar limit takes two, a rolling one 21", 3 + MODELS + METERS_MAX / 2 + 1, METERS_MAX);
    assert_refused(buf_cstr(&yaml), message);
    buf_free(&yaml);
}

/* Whatever is cut off or changed, the answer is a policy or a refusal with words. */
static void
damaged_texts(void **state)
{
    static struct conf_error error;
    const struct slice sample = slice_str(conf_sample());
    char *text = malloc(sample.len);
    assert_non_null(text);
    uint64_t seed = 42;
    for (int round = 0; round < 600; round++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t len = sample.len;
        memcpy(text, sample.ptr, sample.len);
        if (round % 2 == 0) {
            len = (size_t)(seed >> 33) % sample.len;
        }
        for (int i = 0; i < round % 7; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[(seed >> 33) % sample.len] = "{}[]:,-#&*!\"'\n \t0\x80\xff~%@"[(seed >> 20) % 22];
        }
        struct policy *policy = NULL;
        const enum status status = conf_load_text("t.yaml", slice_of(text, len), &policy, &error);
        if (status == STATUS_OK) {
            policy_unref(policy);
        } else {
            assert_int_equal(status, STATUS_INVALID);
            assert_null(policy);
            assert_memory_equal(error.text, "t.yaml:", 7);
        }
    }
    free(text);
}

static void
unreadable_files(void **state)
{
    static struct conf_error error;
    struct policy *policy = NULL;
    assert_int_equal(conf_load_file("/nonexistent/t.yaml", &policy, &error), STATUS_IO);
    assert_string_equal(error.text, "/nonexistent/t.yaml cannot be read: No such file or directory");
    assert_int_equal(conf_load_file("/", &policy, &error), STATUS_IO);
    assert_string_equal(error.text, "/ cannot be read: Is a directory");
}

/* What only serving needs is not asked for by those who do not serve; everything else still is. */
static void
without_secrets(void **state)
{
    static struct conf_error error;
    static const struct {
        const char *yaml, *message; /* message NULL = it loads without secrets */
    } rows[] = {
        { MORE("credentials: {company: {env: TIDEGATE_TEST_UNSET}}"), NULL },
        { MORE("credentials: {company: {env: TIDEGATE_TEST_EMPTY}}"), NULL },
        { MORE("credentials: {company: {file: /nonexistent/secret}}"), NULL },
        { MORE("ca_file: /nonexistent/ca.pem"), NULL },
        { MORE("credentials: {company: {env: not a name}}"), "'env' wants the name of an environment variable" },
        { MORE("credentials: {company: {}}"), "this credential names no secret" },
    };
    char name[] = "/tmp/conf-secrets-XXXXXX";
    const int fd = mkstemp(name);
    assert_true(fd >= 0);
    for (size_t i = 0; i < countof(rows); i++) {
        struct policy *policy = NULL;
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, rows[i].yaml, strlen(rows[i].yaml), 0), (ssize_t)strlen(rows[i].yaml));
        assert_int_equal(conf_load_file(name, &policy, &error), STATUS_INVALID);
        const enum status status = conf_load_file_without_secrets(name, &policy, &error);
        assert_int_equal(status, rows[i].message ? STATUS_INVALID : STATUS_OK);
        if (rows[i].message) {
            assert_non_null(strstr(error.text, rows[i].message));
        } else {
            assert_int_equal(policy->providers[0].company.from, CREDENTIAL_NONE);
        }
        policy_unref(policy);
    }
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(name), 0);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE("what is no configuration at all is refused with its place", not_a_configuration),
        CASE("an unknown option is refused with the nearest one", unknown_options),
        CASE("what belongs to a later version is refused with its place and one sentence", later_versions),
        CASE("wrong values of the gateway are refused, saying what would be right", wrong_gateway),
        CASE("wrong providers and credentials are refused, and no secret is repeated", wrong_providers),
        CASE("wrong models, routes and prices are refused, saying what would be right", wrong_models),
        CASE("wrong limits are refused, saying what would be right", wrong_limits),
        CASE("wrong webhooks are refused, and no secret is repeated", wrong_webhooks),
        CASE("several findings are told at once, by their place", several_at_once),
        CASE("ten findings are shown and the rest counted", ten_of_many),
        CASE("more limits than a call or a subject can carry are refused", too_many_limits),
        CASE("whoever has forty models may limit each of them by the day", many_limits_of_one_account),
        CASE("a damaged file never does more than being refused", damaged_texts),
        CASE("a file that cannot be read says why", unreadable_files),
        CASE("commands that do not serve need no secrets", without_secrets),
    };
    return cmocka_run_group_tests(tests, conf_test_start, NULL);
}
