-- A store of schema 1, as written by the first version that had it: what every later one must open.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO meta VALUES('epoch','1');
INSERT INTO meta VALUES('identity_version','1');
INSERT INTO meta VALUES('schema_version','1');
INSERT INTO meta VALUES('signal_key','0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef');
CREATE TABLE node (
    node_id INTEGER PRIMARY KEY,
    epoch BIGINT NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    batch_no BIGINT NOT NULL,
    high_water_ms BIGINT NOT NULL,
    config_hash TEXT NOT NULL,
    name TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    waiting_count BIGINT NOT NULL
);
INSERT INTO node VALUES(1,1,1790000010000,1,1790000000000,'0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef','',1790000000000,0);
CREATE TABLE lease (
    name TEXT NOT NULL PRIMARY KEY,
    node_id BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);
CREATE TABLE account (
    account_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    plan TEXT NOT NULL,
    organisation TEXT NOT NULL,
    state BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    version BIGINT NOT NULL
);
INSERT INTO account VALUES(100,'name-100','pro','Acme €',0,1790000000000,1);
CREATE TABLE account_group (
    group_name TEXT NOT NULL,
    account_id BIGINT NOT NULL,
    PRIMARY KEY (group_name, account_id)
) WITHOUT ROWID;
CREATE TABLE key (
    key_id INTEGER PRIMARY KEY,
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
INSERT INTO "key" VALUES(101,100,'0000000000000000000000000000000000000000000000000000000000000065','laptop','tg_abc',1,0,1,1790000000000,1790086400000,'user-',1);
CREATE TABLE limit_def (
    def_id INTEGER PRIMARY KEY,
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
INSERT INTO limit_def VALUES(106,106,106,'name-100',1,'0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef','0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef',1790000000000,0,1,4,6,18000000);
CREATE TABLE subject (
    subject_id BIGINT NOT NULL UNIQUE,
    kind BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    sets TEXT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (account_id, kind, name)
) WITHOUT ROWID;
CREATE INDEX subject_with_caps ON subject (kind) WHERE sets <> '';
INSERT INTO subject VALUES(103,1,100,'','106,0,0,0,1790000000000;106,1,2305843009213693951,1790086400000,1790000000000;107,0,-1,0,1790000000000;',1);
CREATE TABLE meter (
    subject_id INTEGER PRIMARY KEY,
    packed TEXT NOT NULL,
    seen_ms BIGINT NOT NULL,
    version BIGINT NOT NULL
);
INSERT INTO meter VALUES(103,'1,1790000000000,1000000,20,30,0;2,0,-5,0,2305843009213693951,-9223372036854775808;',1790000000000,1);
CREATE TABLE reported (
    account_id INTEGER PRIMARY KEY,
    packed TEXT NOT NULL,
    version BIGINT NOT NULL
);
INSERT INTO reported VALUES(100,'anthropic,5h,,42500,1790018000000,1790000000000,1;,7d_opus,*opus*%2Cclaude-3,0,0,1,0;',1);
CREATE TABLE meter_log (
    limit_id BIGINT NOT NULL,
    subject_id BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    id BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (limit_id, subject_id, at_ms, id)
) WITHOUT ROWID;
CREATE TABLE hold (
    hold_id INTEGER PRIMARY KEY,
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
INSERT INTO hold VALUES(104,1,1,11,12,13,14,1,0,1,'claude-opus-4-6','1,5,1790000000000,20,30,100,4099;2,6,0,1,1,8,4149;','anthropic,claude-opus-4-6,1,529,routes_cooling;hf,a%2Cb%3Bc,0,0,ok;',20,30,25,1300,5200,2048,128000,100,5200,'learned',1790000000000,3,4,'{"cap":100,"name":"é"}');
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY,
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
INSERT INTO ledger VALUES(105,1790000000105,0,104,1,11,12,13,14,'claude-opus-4-6','relay','anthropic','claude-opus-4-6-20260101',0,10,20,30,40,50,5,60,3,70,80,90,1790000000000,'learned','provider_answer_broken',200,96,3,4,'{"limits":[]}');
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
) WITHOUT ROWID;
INSERT INTO refusal VALUES(100,1790000000000,99,12,'glm-5.2',1,'budget_spent',1);
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    ledger_id BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    topic BIGINT NOT NULL,
    hook TEXT NOT NULL,
    next_ms BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    last_error TEXT NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO outbox VALUES(107,99,1790000000000,1,'ops',1790000000000,0,'','{"event":"warn"}');
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
) WITHOUT ROWID;
INSERT INTO thread VALUES(102,100,102,1,'name-100',1790000000000,1790000000001,1200,4800,1);
CREATE TABLE thread_day (
    account_id BIGINT NOT NULL,
    pool TEXT NOT NULL,
    thread_id BIGINT NOT NULL,
    day_ms BIGINT NOT NULL,
    payer BIGINT NOT NULL,
    hold_id BIGINT NOT NULL,
    PRIMARY KEY (account_id, pool, thread_id, day_ms)
) WITHOUT ROWID;
CREATE TABLE issued (
    id_hash TEXT NOT NULL PRIMARY KEY,
    account_id BIGINT NOT NULL,
    provider TEXT NOT NULL,
    at_ms BIGINT NOT NULL
);
INSERT INTO issued VALUES('0000000000000000000000000000000000000000000000000000000000000064',11,'openai',1790000000000);
CREATE TABLE receipt (
    name TEXT NOT NULL PRIMARY KEY,
    asked TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    status BIGINT NOT NULL,
    answer TEXT NOT NULL
);
INSERT INTO receipt VALUES('0000000000000000000000000000000000000000000000000000000000000064','0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef',1790000000000,201,'{"id":"acc_7"}
');
CREATE INDEX receipt_by_age ON receipt (at_ms);
CREATE INDEX key_of_account ON key (account_id);
CREATE INDEX thread_of_tree ON thread (root_id) WHERE root_id <> thread_id;
CREATE INDEX refusal_by_age ON refusal (minute_ms, ledger_id);
CREATE INDEX ledger_events ON ledger (id) WHERE kind IN (7, 8);
CREATE INDEX ledger_of_others ON ledger (hold_id) WHERE hold_id > id;
CREATE INDEX issued_by_age ON issued (at_ms);
COMMIT;
