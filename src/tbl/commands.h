/* tbl/commands.h: every command of the program, written once: `tidegate help` and the manual are made from
 * it. Columns: ID (also the function, command_ID), words, arguments, one line, options and details (a line
 * each; "" = none). A command of two words is one row; rows of one first word stand together. */
#pragma once

#include "tbl/behaviours.h"

#define COMMAND_CONFIG_LINE "--config FILE     the configuration; default: tidegate.yaml in this folder, if it is there\n"
#define COMMAND_DOOR_LINES                                                                                       \
    "--control PATH    the gateway's control socket (or TIDEGATE_CONTROL); default: tidegate.sock in this\n"     \
    "                  folder, else where the configuration says\n"                                              \
    COMMAND_CONFIG_LINE                                                                                          \
    "--json            the answer as JSON\n"

#define COMMANDS(X)                                                                                              \
    X(serve, "serve", "[--config FILE] [--listen ADDR] [--log-json] [--log-level LEVEL] [--mixed]",              \
        "run the gateway",                                                                                       \
        COMMAND_CONFIG_LINE                                                                                      \
        "--listen ADDR     instead of the configuration's listen: 127.0.0.1:8080, [::1]:8080, unix:/path\n"      \
        "--log-json        one JSON object a log line\n"                                                         \
        "--log-level LEVEL debug, info (default), warn or error\n"                                               \
        "--mixed           start, and reload, also while other gateways on the same PostgreSQL store decide by\n" \
        "                  another configuration\n"                                                              \
        "Without a configuration it runs in sandbox mode: a simulated provider, a store in this folder, one\n"   \
        "account, and a curl line to try. SIGTERM lets calls in flight end; SIGHUP reads the file again.\n")     \
    X(mock, "mock", "[--host ADDR] [--port N] [--behave WORDS] [--journal FILE] [--json]",                                \
        "run the simulated provider",                                                                            \
        "--host ADDR       default 127.0.0.1\n"                                                                  \
        "--port N          default 0: any free one, told on standard output\n"                                   \
        "--behave WORDS    for models that are not \"mock:...\", such as tokens=50,tps=200; see below\n"         \
        "--json            its address as JSON\n"                                                                 \
        "--journal FILE    a line of JSON for each request that has ended: long runs outgrow /_mock/journal\n"   \
        "WORDS of a behaviour (GET /_mock/keys lists them with their ranges and defaults), parted by commas:\n"  \
        MOCK_BEHAVIOUR_LINES)                                                                                    \
    X(init, "init", "[FILE] [--force] [--json]",                                                                 \
        "write a commented configuration",                                                                       \
        "FILE              default: tidegate.yaml\n"                                                             \
        "--force           replaces a file that is there\n"                                                      \
        "--json            which file was written, as JSON\n")                                                     \
    X(check, "check", "[FILE] [--store] [--json]",                                                               \
        "judge a configuration, or the books of a store",                                                        \
        "FILE              default: tidegate.yaml; with --store, a store or a backup of one, or a URL\n"         \
        "--store           whether the books agree with themselves: every row can be read, meters = ledger +\n"  \
        "                  open holds, each call booked once; also beside running gateways. Changes nothing.\n"  \
        "                  Exit status: 0 they do, 1 they differ, 2 it cannot be said\n"                         \
        COMMAND_DOOR_LINES)                                                                                      \
    X(explain_config, "explain-config", "[FILE | --config FILE] [--json]",                                       \
        "each limit as a sentence, with what it can promise",                                                    \
        "FILE              default: tidegate.yaml\n"                                                             \
        "Of each: which calls it counts, and by how much it may be passed at the most: calls in flight times the\n"\
        "dearest call, where a limit in_flight bounds them. The most that was observed is in /metrics.\n"        \
        "--json            as JSON\n")                                                                           \
    X(explain, "explain", "[REQUEST] [--model NAME] [--account NAME] [--key ID] [--thread NAME] [--parent NAME]\n" \
        "                  [--body FILE | --body-bytes N] [--output-limit N] [--answers N] [--no-stream]\n"     \
        "                  [--api API] [--organisation NAME] [--tags NAME=VALUE,...]",                           \
        "what the gate says to a call, and why; changes nothing",                                                \
        "REQUEST           one that was made, by its x-request-id: decided again from what the ledger recorded\n" \
        "Or a call that is described, not made:\n"                                                               \
        "--account NAME    who calls, with the account's first key; --key ID that one (then the account may be\n" \
        "                  left out)\n"                                                                          \
        "--model NAME      a model of the configuration\n"                                                       \
        "--body FILE       its body, as a client would send it (up to 64 KB); else:\n"                           \
        "--body-bytes N    the size of its body (default 1000), --output-limit N tokens (default: the model's),\n" \
        "                  --answers N of them, --no-stream\n"                                                   \
        "--thread NAME     as x-tidegate-thread; --parent NAME as x-tidegate-parent\n"                           \
        "--api API         chat, responses, messages or embeddings; default: the first that serves the model\n"  \
        "--tags LIST       values of the configuration's tags: team=search,app=web\n"                            \
        COMMAND_DOOR_LINES)                                                                                      \
    X(reload, "reload", "[--mixed]",                                                                             \
        "make the running gateway read its configuration again",                                                 \
        "--mixed           also while other gateways on the same PostgreSQL store decide by another one: that is\n" \
        "                  how a change is made on one gateway after the other\n"                                \
        "A wrong file changes nothing and is told with its places. As SIGHUP does it.\n"                         \
        COMMAND_DOOR_LINES)                                                                                      \
    X(status, "status", "[--calls N] [--account NAME]",                                                          \
        "the gateway, its last calls, and how full its limits are",                                              \
        "--calls N         so many calls (default 10)\n"                                                         \
        "--account NAME    of this account alone\n"                                                              \
        COMMAND_DOOR_LINES)                                                                                      \
    X(limits, "limits", "[--account NAME]",                                                                      \
        "the limits in force, and how each stands for an account",                                               \
        "--account NAME    the cap that rules for it, by whose word, what it has used, and when that begins anew\n" \
        COMMAND_DOOR_LINES)                                                                                      \
    X(account_add, "account add", "NAME [--plan PLAN] [--organisation NAME]",                                    \
        "make an account",                                                                                       \
        "--plan PLAN       a plan of the configuration; default: its default_plan\n"                             \
        "--organisation N  a label\n"                                                                            \
        COMMAND_DOOR_LINES)                                                                                      \
    X(account_list, "account list", "", "all accounts", COMMAND_DOOR_LINES)                                      \
    X(account_ban, "account ban", "NAME", "refuse all its work from now on", COMMAND_DOOR_LINES)                 \
    X(account_unban, "account unban", "NAME", "let it work again", COMMAND_DOOR_LINES)                           \
    X(account_thresholds, "account thresholds", "NAME [--session PCT] [--week PCT]",                             \
        "what providers report of its windows; set at which percentage new work stops",                          \
        "--session PCT     of the session (5 h) window: 1 to 100, or off\n"                                      \
        "--week PCT        of the week\n"                                                                        \
        "What runs goes on. One that is not named stays as it is; off takes the account's own away.\n"           \
        COMMAND_DOOR_LINES)                                                                                      \
    X(account_limit, "account limit",                                                                            \
        "NAME [--limit LIMIT] [--set AMOUNT [--for SPAN] | --unset | --raise AMOUNT --for SPAN | --unraise]",    \
        "what an account may spend, and a cap or a raise for it alone",                                          \
        "--limit LIMIT     which limit; default: the first on what an account may spend a day, week or month\n"  \
        "--set AMOUNT      '5 USD' takes the place of what is configured; of limits on something else a number;\n" \
        "                  'unlimited': no cap for this account\n"                                               \
        "--unset           as configured, or as its group has it, again\n"                                       \
        "--raise AMOUNT    is added to whatever rules, until --for is over\n"                                    \
        "--unraise         ends a raise before that\n"                                                           \
        "--for SPAN        how long it lasts: 2h, 7d\n"                                                          \
        "Without a change: what it has used, of how much, and what rules.\n"                                     \
        COMMAND_DOOR_LINES)                                                                                      \
    X(thread_list, "thread list", "[--account NAME] [--limit N] [--before ID]", "threads, newest first",         \
        "--limit N         at most so many (default 100)\n"                                                      \
        "--before ID       those older than this one: the next page\n"                                           \
        COMMAND_DOOR_LINES)                                                                                      \
    X(thread_show, "thread show", "ID", "a thread, and what its tree has spent and may spend",                   \
        COMMAND_DOOR_LINES)                                                                                      \
    X(thread_limit, "thread limit", "ID --set AMOUNT | --unset [--limit LIMIT]",                                 \
        "set what the tree of a thread may spend",                                                               \
        "--set AMOUNT      '5 USD', for the root and all its threads together\n"                                 \
        "--unset           as for all trees again\n"                                                             \
        "--limit LIMIT     which limit; default: the first that counts cost per tree\n"                          \
        COMMAND_DOOR_LINES)                                                                                      \
    X(key_add, "key add",                                                                                        \
        "ACCOUNT [--role ROLE] [--expires WHEN] [--label TEXT] [--may-act-for PREFIX] [--thread-required]",      \
        "make a key and show it, once",                                                                          \
        "--role ROLE       user (default), service, observer or admin\n"                                         \
        "--expires WHEN    90d, 12h, 2027-03-31 or an RFC 3339 time; default: never\n"                           \
        "--label TEXT      to tell it from others\n"                                                             \
        "--may-act-for P   a service key may name end users whose account begins with P\n"                       \
        "--thread-required its calls must name their thread\n"                                                   \
        COMMAND_DOOR_LINES)                                                                                      \
    X(key_list, "key list", "[ACCOUNT]", "keys, without their secrets", COMMAND_DOOR_LINES)                      \
    X(key_revoke, "key revoke", "ID", "end a key", COMMAND_DOOR_LINES)                                           \
    X(ledger, "ledger",                                                                                          \
        "[ID] [--account NAME] [--key ID] [--thread ID] [--model NAME] [--since WHEN] [--until WHEN]\n"          \
        "                  [--kind KIND] [--limit N] [--before ROW] [--csv | --ndjson]",                                                   \
        "rows of the ledger, newest first",                                                                      \
        "ID                one request, by the x-request-id of its answer, and all that was booked for it\n"      \
        "--since WHEN      24h, 7d (ago), today, yesterday, 2026-11-01 (UTC) or an RFC 3339 time; so too\n"      \
        "                  --until, which is not included\n"                                                     \
        "--kind KIND       settle, unbilled, release, orphan, adjust, refusal, admin, warn or shadow\n"                        \
        "--limit N         at most so many rows, or all (default: 50, of an export all)\n"                       \
        "--before ROW      those older than this row: the next page\n"                                           \
        "--csv             all columns as CSV (RFC 4180), in a fixed order; a cell that a spreadsheet would\n"   \
        "                  take for a formula begins with an apostrophe\n"                                       \
        "--ndjson          a JSON object a line\n"                                                               \
        COMMAND_DOOR_LINES)                                                                                      \
    X(ledger_adjust, "ledger adjust",                                                                            \
        "[REQUEST] --by AMOUNT [--limit LIMIT] [--account NAME] [--key ID] [--thread ID] [--model NAME]\n"        \
        "                  [--tier TIER] [--plan NAME] [--group NAME] [--organisation NAME] [--tag VALUE]\n"    \
        "                  [--note TEXT] [--source NAME] [--credit]",                                                       \
        "correct what a call cost, or what somebody has used of a limit",                                        \
        "REQUEST           a call that is booked, by its x-request-id\n"                                         \
        "--account NAME    instead: what it has used in the window that is open; so too --key ID, --thread ID\n"  \
        "                  (its tree), --model, --tier, --plan, --group, --organisation NAME and --tag VALUE,\n" \
        "                  whatever the limit counts per; --account with --model where it counts per both\n"     \
        "--limit LIMIT     of which limit; default: the first on what an account may spend a day, week or month\n" \
        "--by AMOUNT       '+5 USD', '-0.20 USD' or '500 micros'; of limits on something else a number\n"                      \
        "--note TEXT       why; it stays on the ledger\n"                                                        \
        "--source NAME     who says so: a call is corrected once by each (default: who asks); to take back what\n" \
        "                  was corrected, name another\n"                                                       \
        "--credit          may leave less than nothing used: as much more than the cap then passes\n"           \
        COMMAND_DOOR_LINES)                                                                                      \
    X(ledger_prune, "ledger prune", "--before WHEN [--dry-run]",                                                 \
        "delete old rows of the ledger, once",                                                                   \
        "--before WHEN     rows of calls and refusals of before: 400d (ago), 2026-01-01 (UTC) or an RFC 3339\n"  \
        "                  time, at least a day ago; changes by admins stay\n"                                   \
        "--dry-run         how many there are, and what was booked by them; deletes nothing\n"                   \
        COMMAND_DOOR_LINES                                                                                       \
        "What limits have counted does not depend on them. It goes on a few rows at a time beside calls; the\n"  \
        "option retention does it day by day. The file does not shrink: its space is used again.\n")             \
    X(events, "events", "[--account NAME] [--limit N] [--before EVENT] [--follow]",                              \
        "warnings, and what limits that are only watched would have refused, newest first",                      \
        "--account NAME    of this account alone\n"                                                              \
        "--limit N         at most so many (default 100)\n"                                                      \
        "--before EVENT    those older than this one: the next page\n"                                           \
        "--follow          goes on as they come, oldest first, until it is stopped\n"                            \
        COMMAND_DOOR_LINES)                                                                                      \
    X(webhooks, "webhooks", "", "webhooks: what waits for each, and why", COMMAND_DOOR_LINES)                    \
    X(webhooks_test, "webhooks test", "NAME",                                                                    \
        "send a message to a webhook and see whether it takes it",                                               \
        "Exit status: 0 it did, 1 it did not, or has not answered within 20 seconds.\n"                          \
        COMMAND_DOOR_LINES)                                                                                      \
    X(replay, "replay", "--config NEW [--since WHEN] [--until WHEN] [--store STORE] [--csv | --json]",           \
        "what a configuration would have refused, and in money",                                                 \
        "--config NEW      the configuration to try; its store is not looked at\n"                               \
        "--since WHEN      30d (ago, the default), 2026-11-01 (UTC) or an RFC 3339 time; what came before it is\n" \
        "                  counted as it was made; so too --until, which is not included\n"                      \
        "--store STORE     whose ledger: a file, sqlite:PATH or postgresql://...; default: that of the gateway\n" \
        "                  named by --control PATH, or of the configuration --current FILE (tidegate.yaml)\n"    \
        "--csv             account, limit, calls and cost as CSV\n"                                              \
        "--json            the same with the first 1000 refusals one by one\n"                                   \
        "Reads beside a running gateway and changes nothing. Each call is asked for with what its row recorded,\n" \
        "decided by the real rules at its own time, and ends when and with what it used, at the new prices.\n"   \
        "A stream grows as it did, and ends early where a limit leaves it no more room. Caps that people set are\n" \
        "those of now. What providers reported counts where the call's row recorded it, else limits on that stop\n" \
        "nothing, and it is said of how many calls. Not replayed are corrections, and which routes were left\n"    \
        "alone at the time: all are open.\n")                                                                     \
    X(prices_import, "prices import", "FILE [--out FILE] [--config FILE] [--dry-run] [--yes] [--json]",          \
        "check a price book (ours or LiteLLM's), compare it, and write it in our form",                          \
        "--out FILE        where to; default: standard output, without a comparison. What is compared is the\n"   \
        "                  file that is there, else the book in force\n"                                         \
        COMMAND_CONFIG_LINE                                                                                      \
        "--dry-run         every model added or removed, every price old and new; writes nothing\n"              \
        "--yes             replaces a file also where a price moves by more than 4 times or a model is gone, or\n" \
        "                  where it is no price book\n"                                                        \
        "--json            what was taken and left out and all changes, or what is wrong, as JSON\n")            \
    X(prices_list, "prices list", "[WORD]",                                                                      \
        "the price book in force, or the ids with WORD in them",                                                 \
        COMMAND_CONFIG_LINE                                                                                      \
        "--json            as JSON\n")                                                                           \
    X(backup, "backup", "FILE [--force]",                                                                        \
        "copy the books whole into a file, also while the gateway runs",                                         \
        "FILE              where to, or a folder: then it is named by the time\n"                                \
        "--force           replaces a file that is there\n"                                                      \
        "The copy is one moment of the books; it is on the disk and checked (as check --store does it) before it\n"\
        "takes its name. Exit status 1 where it could not be made, or where the books in it do not agree.\n"     \
        "Books on PostgreSQL are backed up by its own means (pg_dump, pg_basebackup).\n"                         \
        COMMAND_DOOR_LINES)                                                                                      \
    X(restore, "restore", "FILE [--to sqlite:PATH] [--force] [--config FILE]",                                   \
        "put a backup in the place of the store",                                                                \
        "FILE              a backup, or a store that no gateway uses any more\n"                                 \
        "--to sqlite:PATH  default: the store of the configuration\n"                                            \
        "--force           keeps the store that is there under another name; takes books that do not agree\n"    \
        "Not while a gateway holds the store. Calls that were in flight when it was taken are booked at the next\n"\
        "start; epochs go on far beyond those of the backup, so that no id is given twice.\n"                    \
        COMMAND_CONFIG_LINE                                                                                      \
        "--json            the answer as JSON\n")                                                                \
    X(migrate, "migrate", "--from URL --to URL [--force] [--json]",                                               \
        "carry the books from one store to another, whole or not at all",                                        \
        "--from URL        sqlite:PATH, or postgresql://USER@HOST/DATABASE; no gateway may run on it\n"          \
        "--to URL          sqlite:PATH of a file that is not there, or postgresql://... of an empty database\n"  \
        "--force           also books that do not agree with themselves\n"                                       \
        "--json            what was compared, as JSON\n"                                                         \
        "Every row is copied, both stores are audited (as check --store does it) and their sums compared before\n"\
        "anything of it counts; broken off, it can be run again. Epochs go on, so that no id is given twice; calls\n"\
        "in flight are booked by the first gateway on the target. The source stays as it was: start no gateway on\n"\
        "it any more. A password in a URL shows in the list of processes: leave it out, and keep it in ~/.pgpass\n" \
        "or PGPASSFILE.\n")                                                                                      \
    X(help, "help", "[COMMAND] [--json]", "this text, or all about one command",                                 \
        "--json            commands with their arguments and options, as JSON\n")                                      \
    X(version, "version", "", "the version of this program", "--json            as JSON\n")
