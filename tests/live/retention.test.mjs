// Goal: rows of the ledger that are older than they are kept go, by themselves and by command, while calls run; what
// limits have counted stays, and the books still agree. Conversations that nobody came back to go whole, and begin anew.
// Method: the wall clock is set ahead between two lives of the gateway, or, since the time of a shared store is the
// database's, its rows are set back; the store is looked at from outside.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import {
  ASAN, BIN, Gateway, Mock, ON_POSTGRES, PROVIDER_SECRETS, SLOW, callOf, modelsOn, numbers, ownLimit, run,
  send, until,
} from './harness.mjs';
import { execOf } from './postgres.mjs';

const DAY_MS = 86_400_000;
const SHIM = path.join(path.dirname(BIN), 'tests/libstepping_clock.so');

let mock;
let gateway;
let key;
let clock;
let options;

const set = (ms) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(ms));
  const file = fs.openSync(clock, 'r+');
  fs.writeSync(file, bytes, 0, 8, 0);
  fs.closeSync(file);
};
const call = (thread, model = 'gpt-live', headers = {}) =>
  send(gateway, key, callOf('chat', model, { limit: ownLimit() }), {
    headers: { 'x-tidegate-thread': thread, ...headers },
  });
const kinds = () => gateway.rows('SELECT kind, count(*) AS n FROM ledger GROUP BY kind ORDER BY kind');
const countOf = (kind) => kinds().find((row) => row.kind === kind)?.n ?? 0;
const [SETTLE, REFUSAL, ADMIN] = [0, 5, 6];
const treeSpent = async () => {
  const { meters } = await gateway.admin('/api/admin/limits');
  return meters.filter(({ limit }) => limit === 'tree').reduce((sum, meter) => sum + meter.used, 0);
};
const checkStore = () => {
  const done = run(['check', '--store', gateway.store, '--json'], { cwd: gateway.dir });
  assert.equal(done.code, 0, done.out + done.err);
};
let days_ahead = 0;
/** Whole days: what a limit counts in a day stays of one day. */
const setBack = (days) =>
  execOf(
    gateway.store,
    `UPDATE ledger SET at_ms = at_ms - ${days * DAY_MS}`,
    `UPDATE refusal SET minute_ms = minute_ms - ${days * DAY_MS}`,
    `UPDATE thread SET last_ms = last_ms - ${days * DAY_MS}`,
    `UPDATE meter SET seen_ms = seen_ms - ${days * DAY_MS}`,
  );
const later = async (days) => {
  await gateway.program.end('SIGTERM');
  if (ON_POSTGRES) {
    setBack(days - days_ahead);
  } else {
    set(days * DAY_MS);
  }
  days_ahead = days;
  await gateway.launch(options);
};
/** On a shared store the gateway that was there has had its turn for a moment. */
const GONE_MS = (ON_POSTGRES ? 10_000 : 5_000) * SLOW;

before(async () => {
  assert.ok(fs.existsSync(SHIM), `${SHIM} is built with the tests`);
  clock = path.join(fs.mkdtempSync('/tmp/tidegate-clock-'), 'offset');
  fs.writeFileSync(clock, Buffer.alloc(8));
  options = {
    env: {
      ...PROVIDER_SECRETS,
      STEPPING_CLOCK: clock,
      LD_PRELOAD: SHIM,
      ...(ASAN && { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0` }),
    },
  };
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai', dear: 'openai' }),
    retention: { ledger: '30d', refusals: '10d', threads: '100d' },
    tags: { team: { header: 'x-team' }, user: { header: 'x-user' } },
    limits: {
      // Its day does not pass where rows alone are set back.
      ...(!ON_POSTGRES && {
        team: { counts: 'cost', per: 'tag', tag: 'team', window: 'day', cap: '50 USD' },
        pace: { counts: 'requests', per: 'tag', tag: 'team', window: { rate: '600/min', burst: 100 } },
      }),
      user: { counts: 'cost', per: 'tag', tag: 'user', window: 'lifetime', cap: '50 USD' },
      tree: { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: '5 USD' },
      dear: { counts: 'cost', per: 'account', window: 'day', cap: '0 USD', of: { model: 'dear' } },
    },
  }, options);
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
  fs.rmSync(path.dirname(clock), { recursive: true, force: true });
});

test('refusals go after their time, calls after theirs, and what a limit counted over a lifetime stays', async () => {
  for (let i = 0; i < 3; i++) {
    assert.equal((await call('main')).status, 200);
  }
  assert.equal((await call('main', 'dear')).status, 402);
  await gateway.booked();
  await until('the refusal is on the books', () => countOf(REFUSAL) === 1);
  const admin_rows = countOf(ADMIN);
  const spent = await treeSpent();
  assert.ok(spent > 0);

  await later(12);
  await until('the refusal has gone', () => countOf(REFUSAL) === 0, GONE_MS);
  assert.equal(gateway.rows('SELECT count(*) AS n FROM refusal')[0].n, 0);
  assert.equal(countOf(SETTLE), 3, 'calls are kept for longer');
  checkStore();

  await later(31);
  await until('the calls have gone', () => countOf(SETTLE) === 0, GONE_MS);
  assert.equal(countOf(ADMIN), admin_rows, 'what admins did stays');
  assert.equal(await treeSpent(), spent, 'a meter does not depend on rows');
  checkStore();
  assert.equal((await call('main')).status, 200);
  await gateway.booked();
  assert.ok((await treeSpent()) > spent, 'it goes on from where it was');
  checkStore();
});

test('ledger prune tells what would go, deletes it, and says so on the books', async () => {
  const before_count = countOf(SETTLE);
  assert.equal(before_count, 1);
  await later(33);
  const when = new Date(Date.now() + (ON_POSTGRES ? -1 : 32) * DAY_MS).toISOString();
  const dry = gateway.command('ledger', 'prune', '--before', when, '--dry-run');
  assert.deepEqual([dry.dry_run, dry.rows], [true, before_count], JSON.stringify(dry));
  assert.ok(dry.cost_micros > 0);
  assert.equal(countOf(SETTLE), before_count, 'a look deletes nothing');
  const admin_rows = countOf(ADMIN);
  const [{ request }] = await gateway.ledger({ kind: 'settle' });
  const explained = () => run(['explain', request, '--control', gateway.control], { ...options, cwd: gateway.dir });
  assert.equal(explained().code, 0, explained().err);
  const done = gateway.command('ledger', 'prune', '--before', when);
  assert.deepEqual([done.dry_run, done.rows, done.done], [false, before_count, true], JSON.stringify(done));
  assert.equal(countOf(SETTLE), 0);
  assert.equal(countOf(ADMIN), admin_rows + 1);
  const [told] = (await gateway.ledger({ kind: 'admin' })).slice(-1);
  assert.deepEqual([told.inputs.verb, told.inputs.rows], ['ledger_prune', before_count]);
  const gone = explained();
  assert.equal(gone.code, 1, gone.out);
  assert.match(gone.err, /no request of this id, or its rows were older than they are kept/, gone.err);
  assert.deepEqual(gateway.command('ledger', 'prune', '--before', when).rows, 0);
  checkStore();
});

test('ledger prune does not touch the last day, and wants a time', () => {
  const bad = run(['ledger', 'prune', '--control', gateway.control, '--before', '1h'], options);
  assert.equal(bad.code, 2, bad.out);
  assert.match(bad.err, /--before must be a day ago or longer/);
  const none = run(['ledger', 'prune', '--control', gateway.control, '--before', 'soon'], options);
  assert.equal(none.code, 2);
  assert.match(none.err, /wanted is a span such as 400d/);
});

const threads = () => gateway.rows('SELECT count(*) AS n FROM thread')[0].n;
const tagsKept = () => gateway.rows('SELECT name FROM subject WHERE kind = 9 ORDER BY name').map(({ name }) => name);

test('conversations that nobody came back to go whole and begin anew, and sums over a lifetime stay', async () => {
  await call('main');
  await call('helper', 'gpt-live', { 'x-tidegate-parent': 'main' });
  await call('alone', 'gpt-live', { 'x-team': 'red', 'x-user': 'ann' });
  await gateway.booked();
  await later(days_ahead + 60);
  assert.equal((await call('helper')).status, 200, 'it is used again within its time');
  await gateway.booked();
  await later(days_ahead + 60);
  await until('what was not used has gone', () => threads() === 2, GONE_MS);
  await until('a day that is over is read by nobody, a lifetime stays', () => tagsKept().join() === 'user=ann', GONE_MS);
  checkStore();
  assert.equal((await call('helper')).status, 200);
  await gateway.booked();
  assert.ok((await treeSpent()) > 0, 'the tree that stays goes on');

  await later(days_ahead + 110);
  await until('the tree has gone with all its threads', () => threads() === 0, GONE_MS);
  await until('and so have its meters', async () => (await treeSpent()) === 0, GONE_MS);
  const orphan = await call('helper', 'gpt-live', { 'x-tidegate-parent': 'main' });
  assert.match(orphan.text, /parent/, 'as one that never was');
  assert.equal(orphan.status, 404, orphan.text);
  assert.equal((await call('main')).status, 200);
  await gateway.booked();
  assert.equal((await numbers(gateway)).get('swept_total{kind="thread"}'), 2);
  await until('the log says so', () => /2 threads, and what was counted for \d+ subjects?, were not used/.test(gateway.log()));
  checkStore();
});

test('a call that comes for a conversation while it is swept finds it whole or begins it anew', async () => {
  // From here on the ledger still has the calls of threads that are gone.
  fs.writeFileSync(gateway.file, fs.readFileSync(gateway.file, 'utf8').replace('"threads": "100d"', '"threads": "10d"'));
  const names = Array.from({ length: 60 }, (_, i) => `race-${i}`);
  for (const name of names) {
    assert.equal((await call(name, 'gpt-live', { 'x-team': 'green' })).status, 200);
  }
  await gateway.booked();
  await later(days_ahead + 15);
  const answers = await Promise.all(names.map((name) => call(name)));
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  await gateway.booked();
  await until('the walk is over', () => /threads, and what was counted/.test(gateway.program.err + gateway.program.out));
  assert.equal(threads(), names.length, 'one each, and that of the test before has gone');
  assert.ok(!tagsKept().includes('team=green'), 'its day is over and its bucket full');
  checkStore();
});

test('a gateway that dies while it sweeps leaves trees whole, and the next one goes on', async () => {
  const names = Array.from({ length: 200 }, (_, i) => `pair-${i}`);
  for (let i = 0; i < names.length; i += 20) {
    await Promise.all(names.slice(i, i + 20).map((name) => call(name)));
    await Promise.all(names.slice(i, i + 20).map((name) => call(`${name}-child`, 'gpt-live', { 'x-tidegate-parent': name })));
  }
  await gateway.booked();
  const before_count = threads();
  await later(days_ahead + 15);
  await until('some have gone', () => threads() < before_count, GONE_MS, 1);
  await gateway.kill();
  checkStore(); // a thread without its root, or meters without their subject, would be told
  await gateway.launch(options);
  await until('all have gone', () => threads() === 0, 4 * GONE_MS);
  assert.equal(gateway.rows('SELECT count(*) AS n FROM subject WHERE kind = 3')[0].n, 0);
  checkStore();
});

test('a configuration that keeps refusals for longer than the ledger is refused with its place', () => {
  const file = path.join(gateway.dir, 'wrong.yaml');
  const text = fs.readFileSync(gateway.file, 'utf8').replace('"refusals": "10d"', '"refusals": "40d"');
  fs.writeFileSync(file, text);
  const done = run(['check', file], options);
  assert.equal(done.code, 1);
  assert.match(done.err + done.out, /wrong\.yaml:\d+:\d+.*'refusals' is longer than 'ledger'/);
});
