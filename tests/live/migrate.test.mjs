// Goal: `tidegate migrate` carries the books of a gateway that died amid calls to another store, whole or not at
// all, and a gateway there goes on as one at the old place would have.
// Method: books with every form of limit, threads, refusals, issued ids and open holds; the sums that the command
// prints are held against the rows; the source stays as it was, to the byte.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Gateway, Mock, callOf, modelsOn, ownLimit, run, send, until } from './harness.mjs';
import { dropDatabase, execOf, freshDatabase, queryOf } from './postgres.mjs';

const OPEN = 3;
const CALLS = 12;

let mock;
let gateway;
let key;
let moved;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic', slow: 'bills-openai' }),
    limits: {
      'day-spend': { counts: 'cost', per: 'account', window: 'day', cap: '100 USD' },
      'tree-spend': { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: '100 USD' },
      parallel: { counts: 'in_flight', per: 'key', cap: CALLS },
      rate: { counts: 'requests', per: 'account', window: { rate: '1/h', burst: CALLS + OPEN } },
    },
  });
  moved = path.join(gateway.dir, 'moved.db');
  key = gateway.member('ada');
  await mock.models({ slow: 'tokens=4000,tps=50', 'gpt-live': 'tokens=20', 'claude-live': 'tokens=20' });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const migrate = (...args) => {
  const done = run(['migrate', ...args], { cwd: gateway.dir });
  return { ...done, json: args.includes('--json') && done.out ? JSON.parse(done.out) : null };
};
const call = (api, model, thread, more = {}) =>
  send(gateway, key, callOf(api, model, { limit: ownLimit(), ...more }), { headers: { 'x-tidegate-thread': thread } });
const state = () => ['', '-wal'].map((end) => fs.existsSync(gateway.store + end) && fs.readFileSync(gateway.store + end));

test('not while a gateway runs on the source', async () => {
  for (let i = 0; i < CALLS; i++) {
    const [api, model] = [['chat', 'gpt-live'], ['messages', 'claude-live'], ['responses', 'gpt-live']][i % 3];
    const answer = await call(api, model, `thread-${i % 4}`);
    assert.equal(answer.status, 200, answer.text);
  }
  for (let i = 0; i < OPEN; i++) {
    call('chat', 'slow', `slow-${i}`, { limit: 3000 + i, stream: true });
  }
  await until('they are in flight', () => gateway.openHolds() === OPEN);
  const refused = await call('chat', 'gpt-live', 'one-too-many');
  assert.ok(refused.status >= 400, refused.text);
  await until('its refusal is on the books', () => gateway.rows('SELECT * FROM refusal').length > 0);
  const done = migrate('--from', `sqlite:${gateway.store}`, '--to', `sqlite:${moved}`);
  assert.equal(done.code, 1);
  assert.match(done.err, /books\.db is held by process \d+; stop it/);
  assert.ok(!fs.existsSync(moved));
});

test('all is carried, sums agree, and the source stays as it was', async () => {
  await gateway.kill();
  const before_it = state();
  const done = migrate('--from', `sqlite:${gateway.store}`, '--to', `sqlite:${moved}`, '--json');
  assert.equal(done.code, 0, done.err);
  assert.deepEqual(state(), before_it);
  const sums = Object.fromEntries(done.json.compared.map(({ what, source, target }) => {
    assert.equal(source, target, what);
    return [what, source];
  }));
  const one = (sql) => Object.values(gateway.rows(sql)[0])[0];
  assert.equal(sums['calls booked'], CALLS);
  assert.equal(sums.ledger, one('SELECT count(*) FROM ledger'));
  assert.equal(sums['cost booked'], one('SELECT sum(cost_micros) FROM ledger'));
  assert.equal(sums.hold, OPEN);
  assert.equal(sums['held by open calls'], one('SELECT sum(held_micros) FROM hold'));
  for (const table of ['account', 'key', 'limit_def', 'thread', 'subject', 'meter', 'refusal', 'issued']) {
    assert.ok(sums[table] > 0, `${table} has rows`);
  }
  assert.ok(sums['settled in meters'] > 0 && sums['held in meters'] > 0);
  assert.equal(sums.differences, 0);
  assert.equal(done.json.open_holds, OPEN);
  assert.equal(done.json.next_epoch, 1 + Number(one(`SELECT value FROM meta WHERE name = 'epoch'`)));
  const audit = run(['check', '--store', moved, '--json'], { cwd: gateway.dir });
  assert.equal(audit.code, 0, audit.out);
  assert.equal(JSON.parse(audit.out).open_holds, OPEN);
});

/* Every table in the order of its key, but what belongs to a place. */
const TABLES = {
  limit_def: 'limit_id', account: 'account_id', account_group: 'group_name, account_id', key: 'key_id',
  thread: 'thread_id', thread_day: 'account_id, pool, thread_id, day_ms',
  subject: 'subject_id', meter: 'subject_id', reported: 'account_id', meter_log: 'limit_id, subject_id, at_ms, id', hold: 'hold_id',
  refusal: 'account_id, minute_ms, key_id, limit_id, model, reason', issued: 'id_hash', ledger: 'id',
};
const META = `SELECT name, value FROM meta WHERE name IN ('epoch', 'identity_version', 'signal_key') ORDER BY name`;
const texts = (rows) => rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value)])));

/* Numbers as texts: some have more digits than a number of JavaScript keeps. */
function assertSameRows(file, url) {
  const aside = { store: file, rows: gateway.rows };
  for (const [table, order] of [...Object.entries(TABLES), ['meta', '']]) {
    const columns = gateway.rows.call(aside, `SELECT name FROM pragma_table_info('${table}')`).map(({ name }) => name);
    const list = (cast) => columns.map((name) => `CAST(${name} AS ${cast}) AS ${name}`).join(', ');
    const of = (cast) => (order ? `SELECT ${list(cast)} FROM ${table} ORDER BY ${order.split(', ').map((name) => `${table}.${name}`).join(', ')}` : META);
    assert.deepEqual(texts(queryOf(url, of('text'))), texts(gateway.rows.call(aside, of('TEXT'))), table);
  }
}

test('into a database, while no gateway runs on that, and back: every row of every table is what it was', async () => {
  const url = freshDatabase();
  const back = path.join(gateway.dir, 'back.db');
  /* What no gateway writes yet is carried too. */
  const filled = path.join(gateway.dir, 'filled.db');
  assert.equal(migrate('--from', `sqlite:${moved}`, '--to', `sqlite:${filled}`).code, 0);
  spawnSync('sqlite3', [filled, `INSERT INTO account_group VALUES ('research', 1), ('Research', 1), ('r\u00e9', 9223372036854775807);
    INSERT INTO reported VALUES (0, ',5h,,7,0,1,0;', 1);
    INSERT INTO meter_log VALUES (1, 2, 3, 4, 5), (1, 2, 3, 5, -5);
    INSERT INTO thread_day VALUES (1, 'p', 2, 3, 0, 4)`]);

  const there = migrate('--from', `sqlite:${filled}`, '--to', url, '--json');
  assert.equal(there.code, 0, there.err);
  assert.equal(there.json.open_holds, OPEN);
  assert.ok(there.json.compared.every(({ source, target }) => source === target), there.out);
  assertSameRows(filled, url);
  const audit = run(['check', '--store', url, '--json'], { cwd: gateway.dir });
  assert.equal(audit.code, 0, audit.out + audit.err);
  const { store, bytes, ...same } = JSON.parse(audit.out);
  const { store: _, bytes: __, ...as_file } = JSON.parse(run(['check', '--store', filled, '--json'], { cwd: gateway.dir }).out);
  const parts = ({ compared, ...rest }) => ({ ...rest, compared: compared.filter(({ what }) => what !== 'ids') });
  assert.deepEqual(parts(same), parts(as_file));
  assert.ok(bytes > 0 && store === url);

  const full = migrate('--from', `sqlite:${filled}`, '--to', url);
  assert.equal(full.code, 1);
  assert.match(full.err, /is not empty, table limit_def has rows/);
  const node = `INSERT INTO node VALUES (900, 900, 9000000000000, 0, 1, '', 'gateway-9', 1, 0)`;
  execOf(url, node);
  for (const args of [['--from', url, '--to', `sqlite:${back}`], ['--from', `sqlite:${filled}`, '--to', url]]) {
    const busy = migrate(...args);
    assert.equal(busy.code, 1);
    assert.match(busy.err, /the gateway gateway-9 \(epoch 900\) runs on .*: stop all/);
    assert.ok(!fs.existsSync(back));
  }
  execOf(url, 'DELETE FROM node');
  const again = migrate('--from', url, '--to', `sqlite:${back}`, '--json');
  assert.equal(again.code, 0, again.err);
  assertSameRows(back, url);
  dropDatabase(url);
});

test('not into a store that is there', () => {
  const bytes = fs.readFileSync(moved);
  const done = migrate('--from', `sqlite:${gateway.store}`, '--to', `sqlite:${moved}`);
  assert.equal(done.code, 1);
  assert.match(done.err, /moved\.db is there already/);
  assert.deepEqual(fs.readFileSync(moved), bytes);
});

test('a gateway goes on there: limits stand where they stood, open calls are booked, no id is given twice', async () => {
  const ids = new Set(gateway.rows('SELECT id FROM ledger UNION SELECT hold_id FROM hold').map((row) => row.id));
  const spent = gateway.rows('SELECT sum(cost_micros) AS s FROM ledger')[0].s;
  gateway.store = moved;
  gateway.config.store = `sqlite:${moved}`;
  gateway.write();
  await gateway.launch();
  assert.equal(gateway.openHolds(), 0);
  await gateway.says(/orphans_closed=3/);
  const refused = await call('chat', 'gpt-live', 'after');
  assert.ok(refused.status >= 400, 'the bucket is as empty as it was');
  assert.match(refused.text, /rate/);
  const fresh = await gateway.ledger();
  assert.equal(fresh.filter((row) => row.kind === 'orphan').length, OPEN);
  const rows = gateway.rows('SELECT id FROM ledger ORDER BY id').map((row) => row.id);
  assert.equal(new Set(rows).size, rows.length);
  assert.ok(Math.max(...rows) > Math.max(...ids));
  assert.ok(gateway.rows('SELECT sum(cost_micros) AS s FROM ledger')[0].s > spent);
  const audit = run(['check', '--store', moved, '--json'], { cwd: gateway.dir });
  assert.equal(JSON.parse(audit.out).ok, true, audit.out);
});

test('what cannot be done is told in one sentence', () => {
  for (const [from, to, said] of [
    ['sqlite:nowhere.db', 'sqlite:x.db', /there is no store at nowhere\.db/],
    ['memory:', 'sqlite:x.db', /'memory:' is no store that books can be carried/],
    ['postgresql://ada:hush@h/books', 'postgresql://ada:hush@h/books', /^(?!.*hush).*carried to where they are/],
    ['postgresq://ada:hush@h/books', 'sqlite:x.db', /^(?!.*hush).* is no store that books can be carried/],
    ['postgresql://ada:hush@127.0.0.1:1/books', 'sqlite:x.db', /^(?!.*hush).*books at .*127\.0\.0\.1.* cannot be connected to: /],
    ['sqlite:tidegate.yaml', 'sqlite:x.db', /tidegate\.yaml cannot be read: /],
    ['sqlite:books.db', 'sqlite:nowhere/x.db', /nowhere/],
  ]) {
    const done = migrate('--from', from, '--to', to);
    assert.equal(done.code, 1, `${from} ${to}`);
    assert.match(done.err, said);
    assert.equal(done.err.trim().split('\n').length, 1, done.err);
    assert.ok(!fs.existsSync(path.join(gateway.dir, 'x.db')));
  }
});
