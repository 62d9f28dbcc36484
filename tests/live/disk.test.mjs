// Goal: whatever the disk does, nothing is dispatched that is not on the books, streams go on as far as they
// may, and the gateway works again when the disk does, without a restart, its books complete.
// Method: the shipped binary over a disk that fails by order (disk_fault.c), while calls and streams run.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import {
  ASAN,
  Gateway,
  Mock,
  PROVIDER_SECRETS,
  SLOW,
  ask,
  assertBooks,
  callOf,
  modelsOn,
  numbers,
  ownLimit,
  run,
  send,
  sleep,
  until,
} from './harness.mjs';

let mock;
let gateway;
let key;
let orders;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-disk-'));

/** What the disk does from now on. */
function disk(order) {
  const fd = fs.openSync(orders, 'r+');
  fs.writeSync(fd, order.padEnd(8, '\0'), 0);
  fs.closeSync(fd);
}

/** What lays the disk under a program; `under`: the files that are on it. */
const laid = (under = gateway.store) => ({
  ...PROVIDER_SECRETS,
  LD_PRELOAD: path.join(dir, 'disk_fault.so'),
  DISK_FAULT_UNDER: under,
  DISK_FAULT_ORDERS: orders,
  /* The sanitizer's runtime wants to be the first library. */
  ...(ASAN && { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0` }),
});
const launch = () => gateway.launch({ env: laid() });

before(async () => {
  const source = path.join(import.meta.dirname, 'disk_fault.c');
  const made = spawnSync(
    process.env.CC ?? 'cc',
    ['-shared', '-fPIC', '-O1', '-o', path.join(dir, 'disk_fault.so'), source, '-ldl'],
    { encoding: 'utf8' },
  );
  assert.equal(made.status, 0, made.stderr);
  orders = path.join(dir, 'orders');
  fs.writeFileSync(orders, '-'.padEnd(64, '\0'));
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai', slow: 'openai' }),
    limits: {
      month: { counts: 'cost', per: 'account', window: 'month', cap: '1000 USD' },
      parallel: { counts: 'in_flight', per: 'account', cap: 1000 },
    },
  });
  key = gateway.member('ada');
  await mock.models({ 'gpt-live': 'tokens=20', slow: 'tokens=400,tps=400' });
  await gateway.program.end('SIGTERM');
  await launch();
});
after(async () => {
  disk('-');
  await gateway?.stop();
  await mock?.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

const call = (options) =>
  send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }), options);
const stream = (options) =>
  send(gateway, key, callOf('chat', 'slow', { limit: ownLimit() + 1000, stream: true }), options);
const ready = async () => (await ask(`${gateway.url}/readyz`, { method: 'GET' })).status === 200;

async function assertSound() {
  await assertBooks(gateway, mock);
  const report = run(['check', '--store', gateway.store, '--json']);
  assert.equal(report.code, 0, report.out + report.err);
}

const faults = { 'no space left': 'F', 'a read-only file system': 'R', 'writes that fail': 'W', 'syncs that fail': 'S' };
for (const [name, order] of Object.entries(faults)) {
  test(`${name}: new work is refused, streams end well, and all goes on when the disk does`, async () => {
    let begun = 0;
    const running = [1, 2, 3].map(() => stream({ onEvent: () => begun++ }));
    await until('the streams run', () => begun > 20);
    disk(order);
    const refused = await until('a call is refused', async () => {
      const answer = await call();
      return answer.status !== 200 && answer;
    });
    assert.equal(refused.status, 503, refused.text);
    assert.equal(refused.json.error.code, 'store_unavailable');
    assert.equal(await ready(), false);
    for (const answer of await Promise.all(running)) {
      assert.equal(answer.status, 200);
      assert.ok(answer.clean, 'a stream that ran came to a clean end');
    }
    const heard = (await mock.journal()).length;
    for (let i = 0; i < 5; i++) {
      assert.equal((await call()).status, 503);
    }
    assert.equal((await mock.journal()).length, heard, 'nothing was dispatched');
    disk('-');
    await until('it takes work again', ready);
    assert.equal((await call()).status, 200);
    await assertSound();
    gateway.program.alive();
  });
}

test('a disk that takes its time: calls wait, none is refused, streams do not notice', async () => {
  let tokens = 0;
  const running = stream({ onEvent: () => tokens++ });
  await until('the stream runs', () => tokens > 20);
  disk('D00400');
  const waiting = [call(), call(), call()];
  const before_sync = tokens;
  await sleep(400);
  const heard = (await mock.journal()).filter((entry) => entry.limit < 1000 + 900).length;
  assert.ok(tokens > before_sync, 'tokens flow while a sync is awaited');
  disk('-');
  for (const answer of await Promise.all(waiting)) {
    assert.equal(answer.status, 200, answer.text);
  }
  assert.ok((await running).clean);
  assert.ok((await mock.journal()).length > heard);
  await assertSound();
});

test('a disk that does not answer: what is queued behind it is refused, nothing leaves, all is booked later', async () => {
  await until('nothing is open', () => gateway.openHolds() === 0);
  const heard = (await mock.journal()).length;
  disk('D00400');
  const first = call({ limit_ms: 60_000 * SLOW }); // its own hold is being written: it waits
  await sleep(300);
  const queued = await Promise.all([call(), call(), call()]);
  assert.equal((await mock.journal()).length, heard, 'nothing left before its hold was written');
  for (const answer of queued) {
    assert.equal(answer.status, 503, answer.text);
    assert.equal(answer.json.error.code, 'store_unavailable');
  }
  assert.equal(await ready(), false);
  disk('-');
  assert.equal((await first).status, 200, 'it was allowed once it was on the books');
  await until('it takes work again', ready);
  assert.equal((await call()).status, 200);
  await gateway.says(/disk has not answered for 5 s/);
  await assertSound();
});

test('a store moved away under the gateway: new work is refused until it is back, nothing is lost', async () => {
  for (const end of ['', '-wal']) {
    const file = `${gateway.store}${end}`;
    assert.equal((await call()).status, 200);
    await gateway.booked();
    let begun = 0;
    const running = stream({ onEvent: () => begun++ });
    await until('the stream runs', () => begun > 20);
    fs.renameSync(file, `${file}.away`);
    let refused;
    for (let i = 0; i < 200 && !refused; i++) {
      const answer = await call();
      refused = answer.status === 503 && answer;
    }
    assert.match(refused?.text ?? '', /store_unavailable/, `${file} is missed`);
    await gateway.says(/was removed, moved or replaced under the running gateway/);
    fs.renameSync(`${file}.away`, file);
    assert.equal((await running).status, 200);
    await gateway.booked();
    assert.equal((await call()).status, 200);
    await gateway.booked();
    const report = run(['check', '--store', gateway.store, '--json']);
    assert.equal(report.code, 0, report.out);
  }
});

test('a log whose last page is torn: what was before it is there, and the books agree', async () => {
  for (const [name, tear] of Object.entries({
    cut: (file, size) => fs.truncateSync(file, size - 1000),
    garbled: (file, size) => {
      const fd = fs.openSync(file, 'r+');
      fs.writeSync(fd, Buffer.alloc(600, 0x5a), 0, 600, size - 600);
      fs.closeSync(fd);
    },
    'begun and not ended': (file) => fs.appendFileSync(file, Buffer.alloc(2000, 0x17)),
  })) {
    const running = [stream(), stream()];
    for (let i = 0; i < 5; i++) {
      assert.equal((await call()).status, 200);
    }
    await gateway.kill();
    await Promise.all(running);
    await mock.settled(20_000 * SLOW);
    const rows = () => gateway.rows('SELECT id FROM ledger').length;
    const whole = rows();
    const log = `${gateway.store}-wal`;
    fs.rmSync(`${gateway.store}-shm`, { force: true });
    tear(log, fs.statSync(log).size);
    await launch();
    const report = run(['check', '--store', gateway.store, '--json']);
    assert.equal(report.code, 0, `${name}: ${report.out}`);
    assert.ok(rows() >= whole - 6, `${name}: at most the last batch is lost`);
    if (name === 'begun and not ended') {
      assert.ok(rows() >= whole, 'nothing that was acknowledged is lost');
    }
    assert.equal((await call()).status, 200);
    await gateway.booked();
  }
});

test('pages of the store spoilt under the running gateway: new work is refused, which says why; what was booked is there', async () => {
  await gateway.program.end('SIGTERM');
  await launch(); /* all is in the file itself, and little of it in memory */
  const kept = fs.readFileSync(gateway.store);
  const put = (bytes) => {
    const fd = fs.openSync(gateway.store, 'r+');
    fs.writeSync(fd, bytes, 4096, kept.length - 4096, 4096);
    fs.closeSync(fd);
  };
  const heard = (await mock.journal()).length;
  put(Buffer.alloc(kept.length, 0x5a));
  for (const answer of await Promise.all([call(), stream(), call()])) {
    assert.equal(answer.status, 503, answer.text);
    assert.equal(answer.json.error.code, 'store_unavailable');
  }
  assert.equal((await mock.journal()).length, heard, 'nothing was dispatched');
  const told = /the store is damaged; `tidegate check --store` tells what is wrong with it, `tidegate restore` puts a backup in its place/;
  await gateway.says(told);
  assert.ok((await numbers(gateway)).get('events_damaged_total') >= 3);
  const status = run(['status', '--control', gateway.control]);
  assert.equal(status.code, 1);
  assert.match(status.err, told);
  assert.equal(run(['check', '--store', gateway.store]).code, 1);
  gateway.program.alive();
  await gateway.kill();
  put(kept);
  await launch();
  assert.equal((await call()).status, 200);
  await assertSound();
});

describe('a restore over a store with a log', () => {
  const log = () => fs.readFileSync(`${gateway.store}-wal`);
  const beside = () => fs.readdirSync(gateway.dir).filter((name) => /before-|\.part/.test(name));
  const restore = () => run(['restore', path.join(gateway.dir, 'copy.db'), '--force'], { cwd: gateway.dir, env: laid() });
  let ids;

  before(async () => {
    assert.equal(run(['backup', path.join(gateway.dir, 'copy.db')], { cwd: gateway.dir }).code, 0);
    for (let i = 0; i < 5; i++) {
      assert.equal((await call()).status, 200);
    }
    await gateway.booked();
    ids = gateway.rows('SELECT id FROM ledger').map((row) => row.id);
    await gateway.kill();
  });

  test('that cannot put the new one in place leaves all as it was', () => {
    const was = log();
    assert.ok(was.length > 0);
    disk('M');
    const done = restore();
    disk('-');
    assert.equal(done.code, 1, done.out);
    assert.match(done.err, /books\.db cannot be replaced: Input\/output error; what was there is as it was/);
    assert.ok(log().equals(was), 'its log is beside it');
    assert.deepEqual(beside(), []);
  });

  test('that dies before the last step is undone by the next start, which says so', async () => {
    const was = log();
    disk('K');
    assert.equal(restore().signal, 'SIGKILL');
    disk('-');
    assert.ok(!fs.existsSync(`${gateway.store}-wal`), 'the store has lost its log');
    assert.ok(beside().some((name) => name.endsWith('-wal')));
    fs.writeFileSync(`${gateway.store}-wal`, ''); /* somebody has looked into it meanwhile */
    await launch();
    await gateway.says(/a restore over \S+books\.db broke off before it was done: the store is as it was before it/);
    assert.deepEqual(beside().filter((name) => !name.endsWith('.part')), []);
    const is = new Set(gateway.rows('SELECT id FROM ledger').map((row) => row.id));
    assert.ok(was.length > 0 && ids.every((id) => is.has(id)), 'nothing that was booked is lost');
    assert.equal((await call()).status, 200);
    await assertSound();
    await gateway.kill();
  });

  test('that is done, but for the folder on the disk, says that, and is not undone', async () => {
    disk('Q');
    const done = restore();
    disk('-');
    assert.equal(done.code, 1, done.out);
    assert.match(done.err, /the new store is in place at \S+books\.db, the one before it is kept at \S+before-\S+, but its folder cannot be brought to the disk/);
    await launch();
    assert.doesNotMatch(gateway.program.err, /broke off/);
    assert.equal(run(['check', '--store', gateway.store]).code, 0);

    disk('Q');
    const to = path.join(gateway.dir, 'again.db');
    fs.writeFileSync(to, '');
    const backup = run(['backup', to, '--force'], { cwd: gateway.dir, env: laid(to) });
    disk('-');
    assert.equal(backup.code, 1, backup.out);
    assert.match(backup.err, /\S+again\.db is there, and whole, but its folder cannot be brought to the disk/);
    assert.equal(run(['check', '--store', to]).code, 0);
  });
});
