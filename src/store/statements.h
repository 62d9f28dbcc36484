/* store/statements.h: every statement of the store, written once for SQLite and PostgreSQL.
 *
 * X(ID, sql). Parameters are $1, $2, ... in order of first use, which is the order in which the
 * rows' functions bind them; results come in the order of the column lists. No functions, no
 * triggers, no arithmetic on money: what is written are absolute values computed in C. A filter
 * that may be off stands as (column = $n OR $n = 0), column first, so that the parameter takes the
 * column's type. */
#pragma once

#define COLUMNS_NODE                                                                                  \
    "node_id, epoch, lease_until_ms, batch_no, high_water_ms, config_hash, name, started_ms, "     \
    "waiting_count"
#define COLUMNS_ACCOUNT "account_id, name, plan, organisation, state, created_ms, version"
#define COLUMNS_KEY                                                                                \
    "key_id, account_id, hash_hex, label, shown, role, revoked, thread_required, created_ms, "     \
    "expires_ms, may_act_for, version"
#define COLUMNS_THREAD                                                                             \
    "thread_id, account_id, root_id, kind, sig_hash, created_ms, last_ms, last_input, "            \
    "last_input_bytes, version"
#define COLUMNS_SUBJECT "subject_id, kind, account_id, name, sets, version"
#define COLUMNS_METER   "subject_id, packed, seen_ms, version"
#define COLUMNS_REPORTED "account_id, packed, version"
#define COLUMNS_HOLD                                                                               \
    "hold_id, node_id, epoch, account_id, key_id, thread_id, root_id, payer, state, on_abort, "    \
    "model, parts, attempts, held_micros, bound_micros, est_micros, est_input, input_bound, "      \
    "held_output, bound_output, multiplier_pct, body_bytes, estimator, created_ms, policy_ver, "   \
    "price_ver, inputs"
#define COLUMNS_LEDGER                                                                             \
    "id, at_ms, kind, hold_id, attempt, account_id, key_id, thread_id, root_id, model, source, "   \
    "provider, upstream_model, payer, input_tokens, cache_read_tokens, cache_write_5m_tokens, "    \
    "cache_write_1h_tokens, output_tokens, reasoning_tokens, provider_cost_micros, usage_known, "  \
    "cost_micros, est_micros, bound_micros, started_ms, estimator, reason, status, flags, "        \
    "policy_ver, price_ver, inputs"
#define COLUMNS_REFUSAL   "account_id, key_id, model, limit_id, reason, minute_ms, count, ledger_id"
#define COLUMNS_ISSUED    "id_hash, account_id, provider, at_ms"
#define COLUMNS_RECEIPT   "name, asked, at_ms, status, answer"
#define COLUMNS_OUTBOX                                                                             \
    "id, ledger_id, at_ms, topic, hook, next_ms, attempts, last_error, body"
#define COLUMNS_LIMIT_DEF                                                                          \
    "def_id, limit_id, set_id, name, nth, fingerprint, thing, since_ms, until_ms, counts, per, "   \
    "win, span_ms"

#define STATEMENTS(X)                                                                              \
    X(META_GET, "SELECT value FROM meta WHERE name = $1")                                          \
    X(META_PUT, "INSERT INTO meta (name, value) VALUES ($1, $2) "                                  \
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value")                         \
    X(NODE_GET, "SELECT " COLUMNS_NODE " FROM node WHERE node_id = $1")                            \
    X(NODE_PUT, "INSERT INTO node (" COLUMNS_NODE ") "                                               \
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "                                     \
                "ON CONFLICT (node_id) DO UPDATE SET epoch = excluded.epoch, "                     \
                "lease_until_ms = excluded.lease_until_ms, batch_no = excluded.batch_no, "         \
                "high_water_ms = excluded.high_water_ms, config_hash = excluded.config_hash, "     \
                "name = excluded.name, started_ms = excluded.started_ms, "                         \
                "waiting_count = excluded.waiting_count")                                          \
    X(NODE_RENEW, "UPDATE node SET lease_until_ms = $1, batch_no = $2, high_water_ms = $3 "        \
                  "WHERE node_id = $4 AND epoch = $5")                                             \
    X(NODE_CONFIG, "UPDATE node SET config_hash = $1 WHERE node_id = $2 AND epoch = $3")           \
    X(ACCOUNT_GET, "SELECT " COLUMNS_ACCOUNT " FROM account WHERE account_id = $1")                \
    X(ACCOUNT_BY_NAME, "SELECT " COLUMNS_ACCOUNT " FROM account WHERE name = $1")                  \
    X(ACCOUNT_INSERT, "INSERT INTO account (" COLUMNS_ACCOUNT ") "                                 \
                      "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING")                \
    X(ACCOUNT_UPDATE, "UPDATE account SET name = $1, plan = $2, organisation = $3, state = $4, "   \
                      "created_ms = $5, version = $6 WHERE account_id = $7 AND version = $8")      \
    X(KEY_GET, "SELECT " COLUMNS_KEY " FROM key WHERE key_id = $1")                                \
    X(KEY_BY_HASH, "SELECT " COLUMNS_KEY " FROM key WHERE hash_hex = $1")                          \
    X(KEY_INSERT, "INSERT INTO key (" COLUMNS_KEY ") "                                             \
                  "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) "                    \
                  "ON CONFLICT DO NOTHING")                                                        \
    X(KEY_UPDATE, "UPDATE key SET account_id = $1, hash_hex = $2, label = $3, shown = $4, "        \
                  "role = $5, revoked = $6, thread_required = $7, created_ms = $8, "               \
                  "expires_ms = $9, may_act_for = $10, version = $11 "                             \
                  "WHERE key_id = $12 AND version = $13")                                          \
    X(THREAD_GET, "SELECT " COLUMNS_THREAD " FROM thread WHERE thread_id = $1")                    \
    X(THREAD_FIND, "SELECT " COLUMNS_THREAD " FROM thread "                                        \
                   "WHERE account_id = $1 AND kind = $2 AND sig_hash = $3")                        \
    X(THREAD_INSERT, "INSERT INTO thread (" COLUMNS_THREAD ") "                                    \
                     "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING")    \
    X(THREAD_UPDATE, "UPDATE thread SET last_ms = $1, last_input = $2, last_input_bytes = $3, "    \
                     "version = $4 WHERE account_id = $5 AND kind = $6 AND sig_hash = $7 "         \
                     "AND thread_id = $8 AND version = $9")                                        \
    X(THREAD_DELETE, "DELETE FROM thread WHERE account_id = $1 AND kind = $2 AND sig_hash = $3 "    \
                     "AND thread_id = $4 AND version = $5")                                        \
    X(SUBJECT_FIND, "SELECT " COLUMNS_SUBJECT " FROM subject "                                     \
                    "WHERE account_id = $1 AND kind = $2 AND name = $3")                           \
    X(SUBJECT_GET, "SELECT " COLUMNS_SUBJECT " FROM subject WHERE subject_id = $1")                \
    X(TREE_FIND, "SELECT s.subject_id, s.kind, s.account_id, s.name, s.sets, s.version "            \
                 "FROM thread t JOIN subject s ON s.account_id = t.account_id "                                  \
                 "AND s.name = CAST(t.root_id AS TEXT) "                                           \
                 "WHERE t.account_id = $1 AND t.kind = $2 AND t.sig_hash = $3 AND s.kind = $4")    \
    X(SUBJECT_INSERT, "INSERT INTO subject (" COLUMNS_SUBJECT ") VALUES ($1, $2, $3, $4, $5, $6) " \
                      "ON CONFLICT DO NOTHING")                                                    \
    X(SUBJECT_UPDATE, "UPDATE subject SET sets = $1, version = $2 "                                \
                      "WHERE account_id = $3 AND kind = $4 AND name = $5 "                         \
                      "AND subject_id = $6 AND version = $7")                                      \
    X(SUBJECT_DELETE, "DELETE FROM subject WHERE account_id = $1 AND kind = $2 AND name = $3 "      \
                      "AND subject_id = $4 AND version = $5")                                      \
    X(METER_GET, "SELECT " COLUMNS_METER " FROM meter WHERE subject_id = $1")                      \
    X(METER_INSERT, "INSERT INTO meter (" COLUMNS_METER ") VALUES ($1, $2, $3, $4) "               \
                    "ON CONFLICT DO NOTHING")                                                      \
    X(METER_UPDATE, "UPDATE meter SET packed = $1, seen_ms = $2, version = $3 "                    \
                    "WHERE subject_id = $4 AND version = $5")                                      \
    X(METER_DELETE, "DELETE FROM meter WHERE subject_id = $1 AND version = $2")                    \
    X(REPORTED_GET, "SELECT " COLUMNS_REPORTED " FROM reported WHERE account_id = $1")             \
    X(REPORTED_INSERT, "INSERT INTO reported (" COLUMNS_REPORTED ") VALUES ($1, $2, $3) "          \
                       "ON CONFLICT DO NOTHING")                                                   \
    X(REPORTED_UPDATE, "UPDATE reported SET packed = $1, version = $2 "                            \
                       "WHERE account_id = $3 AND version = $4")                                   \
    X(HOLD_GET, "SELECT " COLUMNS_HOLD " FROM hold WHERE hold_id = $1")                            \
    X(HOLD_INSERT, "INSERT INTO hold (" COLUMNS_HOLD ") "                                          \
                   "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, "    \
                   "$16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27) "                  \
                   "ON CONFLICT DO NOTHING")                                                       \
    X(HOLD_UPDATE, "UPDATE hold SET payer = $1, state = $2, on_abort = $3, parts = $4, "           \
                   "attempts = $5, held_micros = $6, bound_micros = $7, est_micros = $8, "         \
                   "est_input = $9, input_bound = $10, held_output = $11, bound_output = $12, "    \
                   "multiplier_pct = $13, body_bytes = $14, estimator = $15, policy_ver = $16, "   \
                   "price_ver = $17, inputs = $18 WHERE hold_id = $19")                            \
    X(HOLD_DELETE, "DELETE FROM hold WHERE hold_id = $1")                                          \
    X(HOLD_ORPHAN, "SELECT " COLUMNS_HOLD " FROM hold "                                            \
                   "WHERE hold_id > $1 AND NOT EXISTS (SELECT 1 FROM node "                        \
                   "WHERE node.node_id = hold.node_id AND node.epoch = hold.epoch) "               \
                   "ORDER BY hold_id LIMIT 1")                                                     \
    X(JOB_TAKE, "INSERT INTO lease (name, node_id, epoch, until_ms) VALUES ($1, $2, $3, $4) "      \
                "ON CONFLICT (name) DO UPDATE SET node_id = excluded.node_id, "                    \
                "epoch = excluded.epoch, until_ms = excluded.until_ms "                            \
                "WHERE lease.until_ms < $5 OR lease.node_id = excluded.node_id")                   \
    X(LEDGER_ADD, "INSERT INTO ledger (" COLUMNS_LEDGER ") "                                       \
                  "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, "     \
                  "$16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, "    \
                  "$31, $32, $33) ON CONFLICT DO NOTHING")                                         \
    X(REFUSAL_ADD, "INSERT INTO refusal (" COLUMNS_REFUSAL ") "                                    \
                   "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "                                      \
                   "ON CONFLICT (account_id, minute_ms, ledger_id) "                               \
                   "DO UPDATE SET count = refusal.count + excluded.count")                         \
    X(ISSUED_GET, "SELECT " COLUMNS_ISSUED " FROM issued WHERE id_hash = $1")                      \
    X(ISSUED_PUT, "INSERT INTO issued (" COLUMNS_ISSUED ") VALUES ($1, $2, $3, $4) "               \
                  "ON CONFLICT DO NOTHING")                                                        \
    X(ISSUED_SWEEP, "DELETE FROM issued WHERE id_hash IN (SELECT id_hash FROM issued "             \
                    "WHERE at_ms < $1 ORDER BY at_ms LIMIT $2)")                                   \
    X(RECEIPT_GET, "SELECT " COLUMNS_RECEIPT " FROM receipt WHERE name = $1")                      \
    X(RECEIPT_ADD, "INSERT INTO receipt (" COLUMNS_RECEIPT ") VALUES ($1, $2, $3, $4, $5) "        \
                   "ON CONFLICT DO NOTHING")                                                       \
    X(RECEIPT_SWEEP, "DELETE FROM receipt WHERE name IN (SELECT name FROM receipt "                \
                     "WHERE at_ms < $1 ORDER BY at_ms LIMIT $2)")                                  \
    /* Retention. Kinds are those of ledger_kind_ages; the ledger has no index but its ids. */     \
    X(LEDGER_MARKS, "SELECT id, at_ms, kind FROM ledger WHERE id > $1 ORDER BY id LIMIT $2")       \
    X(LEDGER_DROP, "DELETE FROM ledger WHERE id > $1 AND id <= $2 AND at_ms < $3 "                 \
                   "AND kind IN (0, 1, 2, 3, 5, 7, 8)")                                            \
    X(REFUSALS_OLD, "SELECT ledger_id FROM refusal WHERE minute_ms < $1 "                          \
                    "ORDER BY minute_ms, ledger_id LIMIT $2")                                      \
    X(REFUSAL_ROWS_DROP, "DELETE FROM ledger WHERE kind = 5 AND id IN ("                           \
                         "SELECT ledger_id FROM refusal WHERE minute_ms < $1 "                     \
                         "ORDER BY minute_ms, ledger_id LIMIT $2)")                                \
    X(REFUSALS_DROP, "DELETE FROM refusal WHERE "                                                  \
                     "(account_id, minute_ms, ledger_id) IN ("                                     \
                     "SELECT account_id, minute_ms, ledger_id FROM refusal "                       \
                     "WHERE minute_ms < $1 ORDER BY minute_ms, ledger_id LIMIT $2)")               \
    /* What is idle is found by walking through the tables in their own order. */                  \
    X(THREADS_AFTER, "SELECT " COLUMNS_THREAD " FROM thread "                                      \
                     "WHERE (account_id, kind, sig_hash) > ($1, $2, $3) "                          \
                     "ORDER BY account_id, kind, sig_hash LIMIT $4")                               \
    X(TREE_MEMBERS, "SELECT thread_id, last_ms FROM thread WHERE root_id = $1 "                    \
                    "AND root_id <> thread_id ORDER BY thread_id")                                 \
    X(METERS_AFTER, "SELECT subject_id, seen_ms FROM meter WHERE subject_id > $1 "                 \
                    "ORDER BY subject_id LIMIT $2")                                                \
    X(HOLD_OLDEST, "SELECT created_ms FROM hold ORDER BY created_ms LIMIT 1")                      \
    X(OUTBOX_ADD, "INSERT INTO outbox (" COLUMNS_OUTBOX ") "                                       \
                  "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING")            \
    X(OUTBOX_TRIED, "UPDATE outbox SET next_ms = $1, attempts = $2, last_error = $3 WHERE id = $4") \
    X(OUTBOX_DELETE, "DELETE FROM outbox WHERE id = $1")                                           \
    X(LIMIT_DEF_AT, "SELECT " COLUMNS_LIMIT_DEF " FROM limit_def "                                 \
                    "ORDER BY def_id LIMIT 1 OFFSET $1")                                           \
    X(LIMIT_DEF_CLEAR, "DELETE FROM limit_def WHERE def_id = $1")                                  \
    X(LIMIT_DEF_INSERT, "INSERT INTO limit_def (" COLUMNS_LIMIT_DEF ") VALUES "                    \
                        "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)")                \
    /* the reader door */                                                                          \
    X(READ_LEDGER, "SELECT " COLUMNS_LEDGER " FROM ledger WHERE id <= $1 AND id >= $2 "            \
                   "AND (account_id = $3 OR $3 = 0) AND (key_id = $4 OR $4 = 0) "                  \
                   "AND (thread_id = $5 OR $5 = 0) AND at_ms >= $6 "                               \
                   "AND at_ms < $7 AND (kind = $8 OR $8 < 0) AND (model = $9 OR $9 = '') "         \
                   "AND (id = $2 OR hold_id = $2 OR $2 = 0) ORDER BY id DESC LIMIT $10")           \
    X(READ_LEDGER_OF_OTHERS,                                                                       \
        "SELECT " COLUMNS_LEDGER " FROM ledger WHERE id <= $1 AND hold_id = $2 AND hold_id > id "  \
        "AND (account_id = $3 OR $3 = 0) AND (key_id = $4 OR $4 = 0) "                             \
        "AND (thread_id = $5 OR $5 = 0) AND at_ms >= $6 "                                          \
        "AND at_ms < $7 AND (kind = $8 OR $8 < 0) AND (model = $9 OR $9 = '') "                    \
        "ORDER BY id DESC LIMIT $10")                                                              \
    X(READ_EVENTS, "SELECT " COLUMNS_LEDGER " FROM ledger WHERE kind IN (7, 8) "                   \
                   "AND id < $1 AND id > $2 AND (account_id = $3 OR $3 = 0) "                      \
                   "ORDER BY id DESC LIMIT $4")                                                    \
    X(READ_EVENTS_UP, "SELECT " COLUMNS_LEDGER " FROM ledger WHERE kind IN (7, 8) "                \
                      "AND id < $1 AND id > $2 AND (account_id = $3 OR $3 = 0) "                   \
                      "ORDER BY id LIMIT $4")                                                      \
    X(READ_OUTBOX, "SELECT " COLUMNS_OUTBOX " FROM outbox WHERE (hook = $1 OR $1 = '') "           \
                   "ORDER BY next_ms, id LIMIT $2")                                                \
    X(READ_ACCOUNTS, "SELECT " COLUMNS_ACCOUNT " FROM account ORDER BY account_id")                \
    X(READ_KEYS, "SELECT " COLUMNS_KEY " FROM key ORDER BY key_id")                                \
    X(READ_KEYS_OF, "SELECT " COLUMNS_KEY " FROM key WHERE account_id = $1 ORDER BY key_id")       \
    X(READ_METERS, "SELECT s.subject_id, s.kind, s.account_id, s.name, s.sets, s.version, "        \
                   "m.subject_id, m.packed, m.seen_ms, m.version "                                 \
                   "FROM subject s JOIN meter m ON m.subject_id = s.subject_id "                   \
                   "ORDER BY s.subject_id")                                                        \
    X(READ_METERS_OF, "SELECT s.subject_id, s.kind, s.account_id, s.name, s.sets, s.version, "     \
                      "m.subject_id, m.packed, m.seen_ms, m.version "                              \
                      "FROM subject s JOIN meter m ON m.subject_id = s.subject_id "                \
                      "WHERE s.account_id = $1 ORDER BY s.subject_id")                             \
    X(READ_SUBJECTS_OF, "SELECT " COLUMNS_SUBJECT " FROM subject WHERE account_id = $1 "           \
                        "ORDER BY subject_id")                                                     \
    X(READ_SUBJECTS_WITH_CAPS, "SELECT " COLUMNS_SUBJECT " FROM subject "                          \
                               "WHERE kind = $1 AND sets <> '' ORDER BY subject_id")               \
    X(READ_THREADS, "SELECT " COLUMNS_THREAD " FROM thread WHERE thread_id < $1 "                  \
                    "ORDER BY thread_id DESC LIMIT $2")                                            \
    X(READ_THREADS_OF, "SELECT " COLUMNS_THREAD " FROM thread "                                    \
                       "WHERE account_id = $1 AND thread_id < $2 "                                 \
                       "ORDER BY thread_id DESC LIMIT $3")                                         \
    X(READ_HOLDS, "SELECT " COLUMNS_HOLD " FROM hold ORDER BY hold_id")                            \
    X(READ_NODES, "SELECT " COLUMNS_NODE " FROM node ORDER BY node_id")                            \
    X(READ_REFUSALS, "SELECT " COLUMNS_REFUSAL " FROM refusal WHERE minute_ms >= $1 "              \
                     "ORDER BY minute_ms, account_id, ledger_id")                                  \
    X(READ_REFUSALS_OF, "SELECT " COLUMNS_REFUSAL " FROM refusal "                                 \
                        "WHERE account_id = $1 AND minute_ms >= $2 "                               \
                        "ORDER BY minute_ms, ledger_id")                                           \
    /* the audit, which reads all there is */                                                      \
    X(READ_ALL_LIMIT_DEFS, "SELECT " COLUMNS_LIMIT_DEF " FROM limit_def ORDER BY def_id")          \
    X(READ_ALL_THREADS, "SELECT " COLUMNS_THREAD " FROM thread ORDER BY thread_id")                \
    X(READ_ALL_SUBJECTS, "SELECT " COLUMNS_SUBJECT " FROM subject ORDER BY subject_id")            \
    X(READ_ALL_METERS, "SELECT " COLUMNS_METER " FROM meter ORDER BY subject_id")                  \
    X(READ_ALL_REPORTED, "SELECT " COLUMNS_REPORTED " FROM reported ORDER BY account_id")          \
    X(READ_ALL_ISSUED, "SELECT " COLUMNS_ISSUED " FROM issued ORDER BY id_hash")                   \
    X(READ_ALL_RECEIPTS, "SELECT " COLUMNS_RECEIPT " FROM receipt ORDER BY name")                  \
    X(READ_ALL_REFUSALS, "SELECT " COLUMNS_REFUSAL " FROM refusal "                                \
                         "ORDER BY account_id, minute_ms, ledger_id")                              \
    X(READ_ALL_OUTBOX, "SELECT " COLUMNS_OUTBOX " FROM outbox ORDER BY id")                        \
    X(READ_LEDGER_NEWEST, "SELECT id FROM ledger ORDER BY id DESC LIMIT 1")                        \
    X(READ_LEDGER_AFTER, "SELECT " COLUMNS_LEDGER " FROM ledger WHERE id > $1 AND id <= $2 "       \
                         "ORDER BY id LIMIT $3")

/* SQLite's alone: a writer says so at the beginning; a number that other connections' commits
 * change. */
#define SUBJECTS_WITH_METERS(asked, account)                                                       \
    "WITH asked (kind, name) AS (VALUES " asked ") "                                               \
    "SELECT s.subject_id, s.kind, s.account_id, s.name, s.sets, s.version, "                       \
    "m.subject_id, m.packed, m.seen_ms, m.version FROM asked CROSS JOIN subject s "                \
    "ON s.account_id = " account " AND s.kind = asked.kind AND s.name = asked.name "               \
    "LEFT JOIN meter m ON m.subject_id = s.subject_id"
#define SQLITE_STATEMENTS(X)                                                                       \
    X(KEY_WITH_ACCOUNT, "SELECT k.key_id, k.account_id, k.hash_hex, k.label, k.shown, k.role, "    \
                        "k.revoked, k.thread_required, k.created_ms, k.expires_ms, "               \
                        "k.may_act_for, k.version, a.account_id, a.name, a.plan, a.organisation, " \
                        "a.state, a.created_ms, a.version FROM key k "                             \
                        "LEFT JOIN account a ON a.account_id = k.account_id WHERE k.key_id = $1")  \
    X(SUBJECTS_1, SUBJECTS_WITH_METERS("($1, $2)", "$3"))                                          \
    X(SUBJECTS_2, SUBJECTS_WITH_METERS("($1, $2), ($3, $4)", "$5"))                                \
    X(SUBJECTS_3, SUBJECTS_WITH_METERS("($1, $2), ($3, $4), ($5, $6)", "$7"))                      \
    X(SUBJECTS_4, SUBJECTS_WITH_METERS("($1, $2), ($3, $4), ($5, $6), ($7, $8)", "$9"))            \
    X(BEGIN_WRITE, "BEGIN IMMEDIATE")                                                              \
    X(COMMIT, "COMMIT")                                                                            \
    X(DATA_VERSION, "PRAGMA data_version")

/* PostgreSQL's alone. Its clock is the batch's. A statement that is to find or write a row, and does not,
 * fails (1 / count), so that a COMMIT sent right behind it is not done. Meters are begun for a subject that is there:
 * what a gateway knows of it may be older than its end. */
#define POSTGRES_CLOCK "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
#define POSTGRES_STATEMENTS(X)                                                                     \
    X(PG_BEGIN, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")                                 \
    X(PG_COMMIT, "COMMIT")                                                                         \
    X(PG_ROLLBACK, "ROLLBACK")                                                                     \
    X(PG_META_RAISE, "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE "  \
                     "SET value = greatest(meta.value::bigint, excluded.value::bigint)::text")     \
    X(PG_CLOCK, "SELECT " POSTGRES_CLOCK)                                                          \
    X(PG_RENEW, "WITH renewed AS (UPDATE node SET lease_until_ms = " POSTGRES_CLOCK " + $1, "      \
                "batch_no = $2, high_water_ms = greatest(high_water_ms, " POSTGRES_CLOCK "), "     \
                "waiting_count = $3 WHERE node_id = $4 AND epoch = $5 AND batch_no = $6 "          \
                "AND lease_until_ms > " POSTGRES_CLOCK " RETURNING lease_until_ms - $1 AS now_ms) " \
                "SELECT max(now_ms), (SELECT value FROM meta WHERE name = 'identity_version'), "   \
                "(SELECT coalesce(sum(waiting_count), 0)::bigint FROM node "                       \
                "WHERE node_id <> $4 AND lease_until_ms > " POSTGRES_CLOCK "), "                   \
                "1 / count(*) FROM renewed")                                                       \
    X(PG_MARK, "SELECT batch_no FROM node WHERE node_id = $1 AND epoch = $2 FOR UPDATE")           \
    X(PG_VOID, "UPDATE node SET batch_no = $1 WHERE node_id = $2 AND epoch = $3 AND batch_no = $4") \
    X(PG_NODES_OVER, "SELECT node_id FROM node WHERE lease_until_ms < $1 AND node_id <> $2 "       \
                     "ORDER BY node_id")                                                           \
    X(PG_NODE_FENCE, "DELETE FROM node WHERE node_id = $1 AND lease_until_ms < $2 "                \
                     "RETURNING high_water_ms")                                                    \
    X(PG_NODE_REST, "UPDATE node SET lease_until_ms = " POSTGRES_CLOCK " "                         \
                    "WHERE node_id = $1 AND epoch = $2 AND lease_until_ms > " POSTGRES_CLOCK)      \
    X(PG_NODE_END, "DELETE FROM node WHERE node_id = $1 AND epoch = $2 RETURNING high_water_ms")   \
    X(PG_HOLDS_MOVE, "UPDATE hold SET node_id = $1, epoch = $2 WHERE node_id = $3 AND epoch = $4") \
    X(PG_NODE_HOLDS, "SELECT hold_id FROM hold WHERE node_id = $1 AND epoch = $2 LIMIT 1")         \
    X(PG_THREADS_LOCK, "SELECT " COLUMNS_THREAD " FROM thread WHERE thread_id IN ("                \
                       "SELECT unnest($1::bigint[]) UNION SELECT known.thread_id "                 \
                       "FROM unnest($2::bigint[], $3::bigint[], $4::text[]) "                      \
                       "AS wanted (account_id, kind, sig_hash) JOIN thread known "                 \
                       "ON known.account_id = wanted.account_id AND known.kind = wanted.kind "     \
                       "AND known.sig_hash = wanted.sig_hash) ORDER BY thread_id "                 \
                       "FOR UPDATE OF thread")                                                     \
    X(PG_METER_INSERT, "INSERT INTO meter (" COLUMNS_METER ") "                                    \
                       "SELECT $1::bigint, $2::text, $3::bigint, $4::bigint WHERE EXISTS "         \
                       "(SELECT 1 FROM subject WHERE subject_id = $1) ON CONFLICT DO NOTHING")     \
    X(PG_LIMITS_LOCK, "LOCK TABLE limit_def IN SHARE ROW EXCLUSIVE MODE")                          \
    X(PG_IDENTITY_SWAP,                                                                            \
        "UPDATE meta SET value = $1 WHERE name = 'identity_version' AND value = $2")               \
    X(PG_ISSUED_SWEEP, "DELETE FROM issued WHERE id_hash IN (SELECT id_hash FROM issued "          \
                       "WHERE at_ms < $1 ORDER BY at_ms LIMIT $2 FOR UPDATE SKIP LOCKED)")         \
    X(PG_RECEIPT_SWEEP, "DELETE FROM receipt WHERE name IN (SELECT name FROM receipt "             \
                        "WHERE at_ms < $1 ORDER BY at_ms LIMIT $2 FOR UPDATE SKIP LOCKED)")        \
    X(PG_TELL, "SELECT pg_notify('tidegate', $1)")

/* Each engine's own follow on those of all. */
enum statement_id {
#define STATEMENT_ENUM(name, sql) STATEMENT_##name,
    STATEMENTS(STATEMENT_ENUM) STATEMENT_SHARED_COUNT,
    STATEMENT_SQLITE_FIRST = STATEMENT_SHARED_COUNT - 1,
    SQLITE_STATEMENTS(STATEMENT_ENUM) STATEMENT_SQLITE_COUNT,
    STATEMENT_POSTGRES_FIRST = STATEMENT_SHARED_COUNT - 1,
    POSTGRES_STATEMENTS(STATEMENT_ENUM) STATEMENT_POSTGRES_COUNT,
#undef STATEMENT_ENUM
};
