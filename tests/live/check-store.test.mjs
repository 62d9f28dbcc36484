// Goal: `tidegate check --store` says of sound books that they are sound, running, after kill -9 and stopped,
// changes nothing, and finds what was planted.
// Method: books with every form of limit, calls open and closed; damage is planted into copies with sqlite3.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Gateway, Mock, callOf, modelsOn, ownLimit, run, send, until } from './harness.mjs';
import { dropDatabase, execOf, freshDatabase, withDatabase } from './postgres.mjs';

let mock;
let gateway;
let key;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic', slow: 'bills-openai' }),
    limits: {
      'day-spend': { counts: 'cost', per: 'account', window: 'day', cap: '100 USD' },
      'tree-spend': { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: '100 USD' },
      parallel: { counts: 'in_flight', per: 'key', cap: 1000 },
      rate: { counts: 'requests', per: 'account', window: { rate: '6000/min', burst: 600 } },
    },
  });
  key = gateway.member('ada');
  await mock.models({ slow: 'tokens=4000,tps=50', 'gpt-live': 'tokens=20', 'claude-live': 'tokens=20' });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

/** What check says of a store: {code, ...its JSON}. */
function check(file, ...more) {
  const done = run(['check', '--store', ...(file ? [file] : []), '--json', ...more], {
    cwd: gateway.dir,
  });
  return { code: done.code, err: done.err, ...(done.out ? JSON.parse(done.out) : {}) };
}

function assertClean(report) {
  assert.equal(report.code, 0, JSON.stringify(report, null, 1));
  assert.equal(report.ok, true);
}

const call = (model, thread) =>
  send(gateway, key, callOf(model.startsWith('claude') ? 'messages' : 'chat', model, { limit: ownLimit() }), {
    headers: { 'x-tidegate-thread': thread },
  });

/** A copy of the store at rest, as the gateway left it. */
function copy(name) {
  const file = path.join(gateway.dir, `${name}.db`);
  for (const end of ['', '-wal']) {
    if (fs.existsSync(gateway.store + end)) {
      fs.copyFileSync(gateway.store + end, file + end);
    }
  }
  return file;
}

function sql(file, text) {
  const done = spawnSync('sqlite3', [file, text], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
}

test('a running store is checked beside its gateway, calls in flight included', async () => {
  for (let i = 0; i < 12; i++) {
    const answer = await call(i % 2 ? 'gpt-live' : 'claude-live', `thread-${i % 3}`);
    assert.equal(answer.status, 200, answer.text);
  }
  for (let i = 0; i < 3; i++) {
    send(gateway, key, callOf('chat', 'slow', { limit: 3000 + i, stream: true }), {
      headers: { 'x-tidegate-thread': `slow-${i}` },
    });
  }
  await until('three are in flight', () => gateway.openHolds() === 3);
  for (const report of [check(null, '--control', gateway.control), check(gateway.store)]) {
    assertClean(report);
    assert.equal(report.open_holds, 3);
    assert.equal(report.calls, 12);
    const compared = Object.fromEntries(report.compared.map((part) => [part.what, part.compared]));
    assert.ok(compared.settled >= 1 + 3, JSON.stringify(compared));
    assert.equal(compared.in_flight, 1);
    assert.equal(compared.once, 12);
  }
});

test('so is one whose gateway was killed, and nothing of it changes', async () => {
  await gateway.kill();
  const all = () =>
    ['', '-wal'].map((end) => fs.existsSync(gateway.store + end) && fs.readFileSync(gateway.store + end));
  const before_check = all();
  const report = check();
  assertClean(report);
  assert.equal(report.open_holds, 3);
  assert.equal(report.cost_micros, gateway.rows('SELECT sum(cost_micros) AS s FROM ledger')[0].s);
  assert.deepEqual(all(), before_check);
});

const planted = {
  'a meter that has settled less': [
    `UPDATE meter SET packed = replace(packed, (SELECT sum(cost_micros) FROM ledger), 1) WHERE subject_id = (SELECT subject_id FROM subject WHERE kind = 1)`,
    'settled',
    /limit 'day-spend' of account \d+, window from .*less than the ledger/,
  ],
  'a row of the ledger that is gone': [
    `DELETE FROM ledger WHERE id = (SELECT max(id) FROM ledger WHERE cost_micros > 0)`,
    'settled',
    /'tree-spend' of the tree of thr_\d+.*more than the ledger/,
  ],
  'a hold that is gone': [
    `DELETE FROM hold WHERE hold_id = (SELECT max(hold_id) FROM hold)`,
    'in_flight',
    /'parallel' of key_\d+.*more calls in flight/,
  ],
  'a hold that nobody promised': [
    `CREATE TEMP TABLE h AS SELECT * FROM hold LIMIT 1; UPDATE h SET hold_id = hold_id + 1000000; INSERT INTO hold SELECT * FROM h`,
    'held',
    /less than open holds do/,
  ],
  'a call that is booked and open': [
    `UPDATE ledger SET hold_id = (SELECT max(hold_id) FROM hold) WHERE id = (SELECT max(id) FROM ledger WHERE cost_micros > 0)`,
    'once',
    /its hold is open all the same/,
  ],
  'a call that is booked twice': [
    `CREATE TEMP TABLE l AS SELECT * FROM ledger WHERE cost_micros > 0 LIMIT 1; UPDATE l SET id = id + 1000000; INSERT INTO ledger SELECT * FROM l`,
    'once',
    /is booked twice/,
  ],
  'an id of an epoch to come': [
    `UPDATE meta SET value = 0 WHERE name = 'epoch'`,
    'ids',
    /ids could be given twice/,
  ],
  'a key that was taken away': ['DELETE FROM key WHERE key_id = (SELECT max(key_id) FROM key)', 'references', /is of key \d+, which is not there/],
  'a key without its account': [`DELETE FROM account`, 'references', /which is not there/],
  'meters that are gone': [`DELETE FROM meter`, 'held', /its meter is not there/],
  'a row that makes no sense': [
    `UPDATE hold SET parts = 'x' WHERE hold_id = (SELECT max(hold_id) FROM hold)`,
    'file',
    /table hold, row \d+ makes no sense/,
  ],
};
for (const [name, [text, what, message]] of Object.entries(planted)) {
  test(`it finds ${name}`, () => {
    const file = copy('planted');
    sql(file, text);
    const report = check(file);
    assert.equal(report.code, 1, JSON.stringify(report));
    const found = report.findings.filter((finding) => finding.what === what);
    assert.ok(
      found.some((finding) => message.test(finding.message)),
      JSON.stringify(report.findings, null, 1),
    );
    fs.rmSync(file);
    fs.rmSync(`${file}-wal`, { force: true });
  });
}

test('in a database it finds the same, and says the same of sound books', () => {
  const sound = freshDatabase();
  const moved = run(['migrate', '--from', `sqlite:${gateway.store}`, '--to', sound], { cwd: gateway.dir });
  assert.equal(moved.code, 0, moved.err);
  const { store: _, bytes: __, ...as_file } = check();
  const { store, bytes, ...report } = check(sound);
  assertClean(report);
  assert.equal(store, sound);
  assert.ok(bytes > 0);
  /* One row less: a file keeps the row of the gateway that was there last. */
  const without_ids = ({ compared, ...rest }) => ({ ...rest, compared: compared.filter(({ what }) => what !== 'ids') });
  assert.deepEqual(without_ids(report), without_ids(as_file));
  Object.entries(planted).forEach(([name, [text, what, message]], i) => {
    const harmed = withDatabase(sound, `harmed_${process.pid}_${i}`);
    const database = (url) => new URL(url.replace(/@[^/]*/, '@h')).pathname.slice(1);
    execOf(withDatabase(sound, 'postgres'), `CREATE DATABASE ${database(harmed)} TEMPLATE ${database(sound)}`);
    const numbers = text.replace(/replace\(packed, \(SELECT sum\(cost_micros\) FROM ledger\), 1\)/, `replace(packed, (SELECT sum(cost_micros)::text FROM ledger), '1')`);
    execOf(harmed, numbers);
    const found = check(harmed);
    assert.equal(found.code, 1, `${name}: ${JSON.stringify(found)}`);
    assert.ok(found.findings.some((finding) => finding.what === what && message.test(finding.message)), `${name}: ${JSON.stringify(found.findings, null, 1)}`);
    dropDatabase(harmed);
  });
  dropDatabase(sound);
});

test('of a database that cannot be checked it says why, and shows no password', () => {
  const empty = freshDatabase();
  const foreign = freshDatabase();
  const newer = freshDatabase();
  const moved = run(['migrate', '--from', `sqlite:${gateway.store}`, '--to', newer], { cwd: gateway.dir });
  assert.equal(moved.code, 0, moved.err);
  execOf(foreign, 'CREATE TABLE account (name text)');
  execOf(newer, `UPDATE meta SET value = '99' WHERE name = 'schema_version'`);
  for (const [url, code, said] of [
    [empty, 2, /holds no store/],
    [foreign, 1, /tables of another program/],
    [newer, 2, /newer version of Tidegate/],
    ['postgresql://ada:hush@127.0.0.1:1/books', 2, /the database books at .*127\.0\.0\.1.* cannot be connected to/],
  ]) {
    const done = run(['check', '--store', url], { cwd: gateway.dir });
    assert.equal(done.code, code, `${url}: ${done.err}`);
    assert.match(done.err, said);
    assert.ok(!done.err.includes('hush') && done.err.trim().split('\n').length === 1, done.err);
  }
  [empty, foreign, newer].forEach(dropDatabase);
});

test('it finds bytes that were flipped and ends that were cut', () => {
  for (const [name, harm] of [
    ['flipped', (file) => {
      const bytes = fs.readFileSync(file);
      for (let at = 4096 * 2 + 4050; at < bytes.length; at += 4096) {
        bytes[at] ^= 0xff;
      }
      fs.writeFileSync(file, bytes);
    }],
    ['cut', (file) => fs.truncateSync(file, Math.floor(fs.statSync(file).size / 2 / 4096) * 4096)],
    ['no database', (file) => fs.writeFileSync(file, 'these are no books')],
  ]) {
    const file = copy(name);
    sql(file, 'PRAGMA wal_checkpoint(TRUNCATE)');
    harm(file);
    const done = run(['check', '--store', file], { cwd: gateway.dir });
    assert.equal(done.code, 1, `${name}: ${done.out}${done.err}`);
  }
});

test('what cannot be checked is told apart: exit status 2', () => {
  const none = run(['check', '--store', path.join(gateway.dir, 'nowhere.db')]);
  assert.equal(none.code, 2);
  assert.match(none.err, /there is no store at/);
  const newer = copy('newer');
  sql(newer, `UPDATE meta SET value = 99 WHERE name = 'schema_version'`);
  const done = run(['check', '--store', newer]);
  assert.equal(done.code, 2);
  assert.match(done.err, /newer version of Tidegate/);
});

test('after the next start the orphans are booked and the books agree again', async () => {
  await mock.settled(20_000);
  await gateway.launch();
  await gateway.booked();
  const report = check();
  assertClean(report);
  assert.equal(report.open_holds, 0);
  assert.equal(report.calls, 15);
});

test('a call in flight whose row was damaged does not stop the next start, and is told', async () => {
  await mock.models({ slow: 'tokens=600,tps=300' });
  const running = [1, 2, 3].map((i) =>
    send(gateway, key, callOf('chat', 'slow', { limit: 2000 + i, stream: true })),
  );
  await until('three are in flight', () => gateway.openHolds() === 3);
  await gateway.kill();
  await Promise.all(running);
  const [, { hold_id }] = gateway.rows('SELECT hold_id FROM hold ORDER BY hold_id');
  sql(gateway.store, `UPDATE hold SET parts = 'x' WHERE hold_id = ${hold_id}`);
  await mock.settled(20_000);
  await gateway.launch();
  const told = new RegExp(`the call req_${hold_id} was in flight .* is not booked`);
  await until('the log tells', () => told.test(gateway.log()));
  await gateway.says(new RegExp(`table hold, row ${hold_id} makes no sense; .*check --store`));
  assert.equal(gateway.openHolds(), 1, 'the other two are booked');
  assert.equal((await call('gpt-live', 'thread-1')).status, 200);
  const report = check();
  assert.equal(report.code, 1);
  assert.ok(report.findings.some((finding) => finding.message.includes(`table hold, row ${hold_id}`)));
  assert.ok(report.findings.some((finding) => finding.what === 'held'), 'what it holds is told too');
});

test('books of every form of limit agree, and what is wrong in one of its meters is found', async () => {
  const many = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai', slow: 'bills-openai' }),
    groups: { team: { members: ['bob'], organisation: 'acme' } },
    limits: {
      'roll-cost': { counts: 'cost', per: 'account', window: '5h rolling', cap: '100 USD' },
      'first-tokens': { counts: 'tokens', per: 'account_model', window: '5h from first use', cap: 100_000_000 },
      'plan-calls': { counts: 'requests', per: 'plan', window: 'day', cap: 100_000 },
      'model-tokens': { counts: 'tokens', per: 'model', window: 'week', cap: 1_000_000_000 },
      'team-month': { counts: 'cost', per: 'group', window: 'month', cap: '100 USD' },
      'own-month': { counts: 'cost', per: 'account', window: 'month', cap: { default: '100 USD', group: { team: '90 USD' } } },
      'tier-life': { counts: 'cost', per: 'tier', window: 'lifetime', cap: '1000 USD' },
      'gateway-roll': { counts: 'requests', per: 'gateway', window: '1h rolling', cap: 100_000 },
      'firm-day': { counts: 'cost', per: 'organisation', window: 'day', cap: '100 USD', hold: 'strict' },
    },
  });
  many.addAccount('bob', '--organisation', 'acme');
  const { secret } = many.addKey('bob');
  for (let i = 0; i < 30; i++) {
    assert.equal((await send(many, secret, callOf('chat', 'gpt-live', { limit: 50 }))).status, 200);
  }
  for (let i = 0; i < 2; i++) {
    send(many, secret, callOf('chat', 'slow', { limit: 3000, stream: true }));
  }
  await until('two are in flight', () => many.openHolds() === 2);
  assertClean(check(many.store));
  await many.restart();
  await many.booked();
  await many.program.end('SIGTERM');
  const report = check(many.store);
  assertClean(report);
  assert.equal(report.not_compared, 0);
  const file = path.join(many.dir, 'planted.db');
  for (const [kind, limit] of [[1, 'roll-cost'], [10, 'first-tokens'], [5, 'plan-calls'], [4, 'model-tokens'], [6, 'team-month'], [11, 'own-month'], [8, 'tier-life'], [7, 'firm-day'], [0, 'gateway-roll']]) {
    const [{ limit_id: id }] = many.rows(`SELECT limit_id FROM limit_def WHERE name = '${limit}'`);
    const [{ packed, subject_id: subject }] = many.rows(`SELECT packed, meter.subject_id FROM meter JOIN subject USING (subject_id) WHERE kind = ${kind}`);
    const wrong = packed.split(';').map((meter) => meter.split(',')).map((meter) => (Number(meter[0]) === id ? meter.with(2, 1_000_000_000_000) : meter).join(',')).join(';');
    assert.notEqual(wrong, packed, limit);
    fs.copyFileSync(many.store, file);
    sql(file, `UPDATE meter SET packed = '${wrong}' WHERE subject_id = ${subject}`);
    const found = check(file);
    assert.equal(found.code, 1, `${limit}: ${JSON.stringify(found)}`);
    assert.ok(found.findings.every((finding) => finding.message.includes(`'${limit}'`)), JSON.stringify(found.findings));
  }
  await many.launch();
  await many.stop();
});
