// Goal: `tidegate migrate` carries the books of a gateway that died amid calls to another store, whole or not at
// all, and a gateway there goes on as one at the old place would have.
// Method: books with every form of limit, threads, refusals, issued ids and open holds; the sums that the command
// prints are held against the rows; the source stays as it was, to the byte.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Gateway, Mock, callOf, modelsOn, ownLimit, run, send, until } from './harness.mjs';

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
  assert.match(gateway.log(), /orphans_closed=3/);
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
