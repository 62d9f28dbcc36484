// Goal: a wall clock that is set back or ahead by hours, while calls run or while the gateway is down, moves no
// call and no window that it should not: the time of the books never goes back, and nobody is locked out.
// Method: a clock of our own, loaded into the shipped binary, which the test sets.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, test } from 'node:test';

import {
  ASAN, BIN, Gateway, Mock, PROVIDER_SECRETS, SLOW, booksOf, callOf, modelsOn, ownLimit, send, sleep, until,
} from './harness.mjs';

const HOUR_MS = 3_600_000;
const SHIM = path.join(path.dirname(BIN), 'tests/libstepping_clock.so');

let mock;
let gateway;
let key;
let clock; // the file that the clock reads
let options;

const set = (ms) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(ms));
  const file = fs.openSync(clock, 'r+');
  fs.writeSync(file, bytes, 0, 8, 0); // in place: the gateway has it mapped
  fs.closeSync(file);
};
const call = (model = 'gpt-live', more = {}) => send(gateway, key, callOf('chat', model, { limit: ownLimit(), ...more }));
const told = (words) => [...gateway.log().matchAll(words)].length;

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
    models: modelsOn({ 'gpt-live': 'openai', paced: 'openai' }),
    limits: {
      day: { counts: 'cost', per: 'account', window: 'day', cap: '5 USD' },
      pace: { counts: 'requests', per: 'account', of: { model: 'paced' }, window: { rate: '60/min', burst: 1 } },
    },
  }, options);
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
  fs.rmSync(path.dirname(clock), { recursive: true, force: true });
});
beforeEach(async () => {
  await mock.clear();
  await mock.models({ 'gpt-live': null });
});

/** In the order of their ids, no row of the ledger is older than the one before. */
async function assertForward() {
  await gateway.booked();
  const rows = gateway.rows('SELECT id, at_ms FROM ledger ORDER BY id');
  for (let i = 1; i < rows.length; i++) {
    assert.ok(rows[i].at_ms >= rows[i - 1].at_ms, `row ${rows[i].id} is ${rows[i - 1].at_ms - rows[i].at_ms} ms older`);
  }
  return rows.at(-1).at_ms;
}

const spent = async () => (await gateway.ledger({ account: 'ada' })).reduce((sum, row) => sum + (row.cost_micros ?? 0), 0);

/** What pages show as used today. */
const used = async () => (await gateway.admin('/api/admin/limits')).meters.find(({ limit }) => limit === 'day')?.used ?? 0;

test('while a clock set ahead is doubted, pages show the windows that the gate counts in', async () => {
  assert.equal((await call()).status, 200);
  await gateway.booked();
  const sum = await spent();
  assert.ok(sum > 0);
  set(30 * HOUR_MS); /* whoever looks first: nothing was asked of the gate since */
  assert.equal(await used(), sum);
  const [standing] = (await gateway.admin('/api/admin/limits?account=ada')).standings.filter(({ limit }) => limit === 'day');
  const told_of = await gateway.admin('/api/v1/explain', 'POST', { account: 'ada', model: 'gpt-live' });
  const decided = told_of.limits.find(({ limit }) => limit === 'day');
  assert.equal(standing.used, sum);
  assert.deepEqual([standing.used, standing.since, standing.resets_at], [decided.settled, decided.window_began_at, decided.resets_at]);
  const status = JSON.stringify(await gateway.admin('/api/v1/usage-limits/status?account=ada'));
  assert.ok(status.includes(standing.resets_at), status);
  assert.equal((await call()).status, 200);
  assert.ok((await gateway.ledger({ limit: 1 }))[0].at < standing.resets_at, 'and the gate counts there, too');
  set(0);
  assert.equal((await call()).status, 200);
  assert.equal(told(/event=clock .*ahead/g), 1, 'it is told once, whoever saw it');
});

test('set ahead by a day and back in a moment: a stream runs on, nothing of it is in the books', async () => {
  assert.equal((await call()).status, 200);
  await mock.models({ 'gpt-live': 'tokens=60,tps=50' });
  const stream = call('gpt-live', { stream: true });
  await until('it runs', () => gateway.openHolds() === 1);
  set(30 * HOUR_MS);
  assert.equal((await call()).status, 200);
  await until('it is told', () => told(/level=warn event=clock msg="the wall clock was set 1[0-9]{5} s ahead/g) === 2);
  assert.equal((await call()).status, 200);
  set(0);
  const answer = await stream;
  assert.ok(answer.status === 200 && answer.clean && /\[DONE\]/.test(answer.text), String(answer.error));
  assert.equal((await call()).status, 200);
  assert.equal(told(/event=clock .*ahead/g), 2, 'once');
  assert.ok((await assertForward()) < Date.now() + 5000, 'no row is of tomorrow');
  await booksOf(gateway, mock);
  /* The window of today is still the one that is counted. */
  assert.ok((await spent()) > 0);
  const usage = gateway.command('status', '--account', 'ada');
  assert.match(JSON.stringify(usage), new RegExp(`\\b${await spent()}\\b`));
});

test('set back by three hours: time goes on, allowances refill, streams run on, and it is told once', async () => {
  await mock.models({ 'gpt-live': 'tokens=60,tps=50' });
  const stream = call('gpt-live', { stream: true });
  await until('it runs', () => gateway.openHolds() === 1);
  set(-3 * HOUR_MS);
  assert.equal((await call('paced')).status, 200);
  for (let i = 0; i < 2; i++) { // more than once: a time that stands still would show
    let answer = await call('paced');
    if (answer.status === 429) {
      assert.equal(answer.headers['retry-after'], '1', answer.text);
      await sleep(1300 * SLOW); // a tenth slower, and whole seconds
      answer = await call('paced');
    }
    assert.equal(answer.status, 200, answer.text);
  }
  assert.ok((await stream).clean);
  assert.equal(told(/level=warn event=clock msg="the wall clock stands 10[78]\d\d s before the time of the books/g), 1);
  const last = await assertForward();
  assert.ok(Math.abs(last - Date.now()) < 10_000 * SLOW, `the books are ${last - Date.now()} ms off the real time`);
  await booksOf(gateway, mock);
});

test('a start with the clock before the books goes on from where they are', async () => {
  const last = await assertForward();
  await gateway.program.end('SIGTERM');
  set(-5 * HOUR_MS);
  await gateway.launch(options);
  assert.equal((await call()).status, 200);
  assert.ok((await assertForward()) >= last);
  await until('it is told', () => told(/level=warn event=clock msg="the wall clock stands 1[78]\d\d\d s before/g) === 1);
  await booksOf(gateway, mock);
});

test('FF-97 a start with the clock ahead believes it, and shows nothing of the day before', async () => {
  assert.ok((await used()) > 0);
  await gateway.program.end('SIGTERM');
  set(48 * HOUR_MS);
  await gateway.launch(options);
  assert.equal(await used(), 0);
  assert.equal((await call()).status, 200);
  assert.ok((await assertForward()) > Date.now() + 47 * HOUR_MS);
  assert.equal(told(/event=clock/g), 0);
});
