-- Schema 1. BIGINT and TEXT only; money in micro-USD, times in milliseconds UTC, hashes in hex, enums
-- by the numbers of rows/rows.h, reasons by code. A released file never changes: the next is 002.sql.
-- On SQLite a "BIGINT PRIMARY KEY" is made the table's own integer key, and a table whose last line is its
-- PRIMARY KEY is kept in the order of it (store/migrate.c): what is found by it is found in one place.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE node (
    node_id BIGINT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    batch_no BIGINT NOT NULL,
    high_water_ms BIGINT NOT NULL,
    config_hash TEXT NOT NULL,
    name TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    waiting_count BIGINT NOT NULL
);

CREATE TABLE lease (
    name TEXT NOT NULL PRIMARY KEY,
    node_id BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);

CREATE TABLE account (
    account_id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    plan TEXT NOT NULL,
    organisation TEXT NOT NULL,
    state BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE account_group (
    group_name TEXT NOT NULL,
    account_id BIGINT NOT NULL,
    PRIMARY KEY (group_name, account_id)
);

CREATE TABLE key (
    key_id BIGINT PRIMARY KEY,
    account_id BIGINT NOT NULL,
    hash_hex TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    shown TEXT NOT NULL,
    role BIGINT NOT NULL,
    revoked BIGINT NOT NULL,
    thread_required BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    may_act_for TEXT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX key_of_account ON key (account_id);

-- A row for each name that a limit ever had: the ledger names limits as they were called then. `nth` tells those
-- apart that bore one name after each other. They are few, and never deleted.
CREATE TABLE limit_def (
    def_id BIGINT PRIMARY KEY,
    limit_id BIGINT NOT NULL,
    set_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    nth BIGINT NOT NULL,
    fingerprint TEXT NOT NULL,
    thing TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    counts BIGINT NOT NULL,
    per BIGINT NOT NULL,
    win BIGINT NOT NULL,
    span_ms BIGINT NOT NULL,
    UNIQUE (name, nth)
);

-- Whose meters there are, and the caps that people set for them, packed.
CREATE TABLE subject (
    subject_id BIGINT NOT NULL UNIQUE,
    kind BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    sets TEXT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (account_id, kind, name)
);
CREATE INDEX subject_with_caps ON subject (kind) WHERE sets <> '';

-- One row a subject: all its meters packed, the unit of locking and of writing.
CREATE TABLE meter (
    subject_id BIGINT PRIMARY KEY,
    packed TEXT NOT NULL,
    seen_ms BIGINT NOT NULL,
    version BIGINT NOT NULL
);

-- One row an account: what percentage of their own windows providers say its credentials have used.
-- account_id 0 = the company's.
CREATE TABLE reported (
    account_id BIGINT PRIMARY KEY,
    packed TEXT NOT NULL,
    version BIGINT NOT NULL
);

-- Exact rolling windows only.
CREATE TABLE meter_log (
    limit_id BIGINT NOT NULL,
    subject_id BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    id BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (limit_id, subject_id, at_ms, id)
);

-- Open holds; parts and attempts packed.
CREATE TABLE hold (
    hold_id BIGINT PRIMARY KEY,
    node_id BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    thread_id BIGINT NOT NULL,
    root_id BIGINT NOT NULL,
    payer BIGINT NOT NULL,
    state BIGINT NOT NULL,
    on_abort BIGINT NOT NULL,
    model TEXT NOT NULL,
    parts TEXT NOT NULL,
    attempts TEXT NOT NULL,
    held_micros BIGINT NOT NULL,
    bound_micros BIGINT NOT NULL,
    est_micros BIGINT NOT NULL,
    est_input BIGINT NOT NULL,
    input_bound BIGINT NOT NULL,
    held_output BIGINT NOT NULL,
    bound_output BIGINT NOT NULL,
    multiplier_pct BIGINT NOT NULL,
    body_bytes BIGINT NOT NULL,
    estimator TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    policy_ver BIGINT NOT NULL,
    price_ver BIGINT NOT NULL,
    inputs TEXT NOT NULL
);

-- Append-only, and without a second index of common rows: writing it is most of the engine's work.
CREATE TABLE ledger (
    id BIGINT PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    hold_id BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    thread_id BIGINT NOT NULL,
    root_id BIGINT NOT NULL,
    model TEXT NOT NULL,
    source TEXT NOT NULL,
    provider TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    payer BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cache_read_tokens BIGINT NOT NULL,
    cache_write_5m_tokens BIGINT NOT NULL,
    cache_write_1h_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    provider_cost_micros BIGINT NOT NULL,
    usage_known BIGINT NOT NULL,
    cost_micros BIGINT NOT NULL,
    est_micros BIGINT NOT NULL,
    bound_micros BIGINT NOT NULL,
    started_ms BIGINT NOT NULL,
    estimator TEXT NOT NULL,
    reason TEXT NOT NULL,
    status BIGINT NOT NULL,
    flags BIGINT NOT NULL,
    policy_ver BIGINT NOT NULL,
    price_ver BIGINT NOT NULL,
    inputs TEXT NOT NULL
);

-- Warnings, and what limits that are only watched would have refused: rare among all the others.
CREATE INDEX ledger_events ON ledger (id) WHERE kind IN (7, 8);

-- What one gateway wrote of a call that another one allowed: its ids may be below the call's.
CREATE INDEX ledger_of_others ON ledger (hold_id) WHERE hold_id > id;

CREATE TABLE refusal (
    account_id BIGINT NOT NULL,
    minute_ms BIGINT NOT NULL,
    ledger_id BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    model TEXT NOT NULL,
    limit_id BIGINT NOT NULL,
    reason TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (account_id, minute_ms, ledger_id)
);
CREATE INDEX refusal_by_age ON refusal (minute_ms, ledger_id);

-- Messages to webhooks that wait to be delivered, written with what they tell of.
CREATE TABLE outbox (
    id BIGINT PRIMARY KEY,
    ledger_id BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    topic BIGINT NOT NULL,
    hook TEXT NOT NULL,
    next_ms BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    last_error TEXT NOT NULL,
    body TEXT NOT NULL
);

-- What was done under an idempotency key, and how that was answered; swept by age.
CREATE TABLE receipt (
    name TEXT NOT NULL PRIMARY KEY,
    asked TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    status BIGINT NOT NULL,
    answer TEXT NOT NULL
);
CREATE INDEX receipt_by_age ON receipt (at_ms);

CREATE TABLE thread (
    thread_id BIGINT NOT NULL UNIQUE,
    account_id BIGINT NOT NULL,
    root_id BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    sig_hash TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    last_input BIGINT NOT NULL,
    last_input_bytes BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (account_id, kind, sig_hash)
);

-- The few threads that were begun under another one: whole trees are swept.
CREATE INDEX thread_of_tree ON thread (root_id) WHERE root_id <> thread_id;

CREATE TABLE thread_day (
    account_id BIGINT NOT NULL,
    pool TEXT NOT NULL,
    thread_id BIGINT NOT NULL,
    day_ms BIGINT NOT NULL,
    payer BIGINT NOT NULL,
    hold_id BIGINT NOT NULL,
    PRIMARY KEY (account_id, pool, thread_id, day_ms)
);

-- Ids of the providers' objects that we relayed to an account; swept by age.
CREATE TABLE issued (
    id_hash TEXT NOT NULL PRIMARY KEY,
    account_id BIGINT NOT NULL,
    provider TEXT NOT NULL,
    at_ms BIGINT NOT NULL
);
CREATE INDEX issued_by_age ON issued (at_ms);
