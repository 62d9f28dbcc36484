// Goal: books are carried away whole while calls run, put back without an id given twice, and a copy that was
// made by hand is told from the store itself.
// Method: the real gateway under load, its files copied by `tidegate backup` and by hand, started on again.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Gateway, Mock, Program, assertBooks, callOf, modelsOn, ownLimit, run, send, until } from './harness.mjs';

let mock;
let gateway;
let key;
const at = (name) => path.join(gateway.dir, name);
const tidegate = (...args) => run(args, { cwd: gateway.dir });
const json = (done) => JSON.parse(done.out);

before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai', slow: 'bills-openai' }),
    limits: {
      'day-spend': { counts: 'cost', per: 'account', window: 'day', cap: '100 USD' },
      parallel: { counts: 'in_flight', per: 'account', cap: 1000 },
    },
  });
  key = gateway.member('ada');
  await mock.models({ slow: 'tokens=1000,tps=250', 'gpt-live': 'tokens=20' });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const call = () => send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }));
const slow = () => send(gateway, key, callOf('chat', 'slow', { limit: ownLimit() + 3000, stream: true }));

test('a backup amid calls is one moment of the books, and 0600', async () => {
  let going = true;
  let answered = 0;
  const load = Array.from({ length: 4 }, async () => {
    while (going) {
      assert.equal((await call()).status, 200);
      answered++;
    }
  });
  slow();
  await until('some calls are over', () => answered > 20);
  const taken = [];
  for (let i = 0; i < 5; i++) {
    const program = new Program('backup', ['backup', at(`b${i}.db`), '--json'], { cwd: gateway.dir });
    assert.equal((await program.over()).code, 0, program.err);
    taken.push(JSON.parse(program.out));
  }
  going = false;
  await Promise.all(load);
  for (const [i, told] of taken.entries()) {
    assert.ok(told.ok && told.open_holds >= 1 && told.calls >= 10, JSON.stringify(told));
    assert.ok(i === 0 || told.calls >= taken[i - 1].calls);
    assert.equal(fs.statSync(at(`b${i}.db`)).mode & 0o777, 0o600);
    assert.equal(tidegate('check', '--store', at(`b${i}.db`)).code, 0);
  }
  assert.deepEqual(
    fs.readdirSync(gateway.dir).filter((name) => /part|b\d.db-/.test(name)),
    [],
    'nothing is left beside them',
  );
});

test('a backup is not written over, is named in a folder, and found by the control socket', () => {
  const again = tidegate('backup', at('b0.db'));
  assert.equal(again.code, 1);
  assert.match(again.err, /is there already; --force replaces it/);
  assert.equal(tidegate('backup', at('b0.db'), '--force').code, 0);
  fs.mkdirSync(at('kept'));
  const named = run(['backup', at('kept'), '--control', gateway.control], { cwd: '/' });
  assert.equal(named.code, 0, named.err);
  assert.match(named.out, /tidegate-\d{8}T\d{6}Z\.db: \d+ KB in .* calls for \$/);
  assert.equal(fs.readdirSync(at('kept')).length, 1);
  const itself = tidegate('backup', gateway.store, '--force');
  assert.equal(itself.code, 1);
  assert.match(itself.err, /is the store itself: name another file/);
  const nowhere = tidegate('backup', at('no/such/folder.db'));
  assert.equal(nowhere.code, 1);
  assert.match(nowhere.err, /cannot be made: No such file/);
});

test('restore refuses while a gateway holds the store, and over another', async () => {
  const held = tidegate('restore', at('b1.db'));
  assert.equal(held.code, 1);
  assert.match(held.err, /is held by process \d+/);
  await gateway.kill();
  const there = tidegate('restore', at('b1.db'));
  assert.equal(there.code, 1);
  assert.match(there.err, /a store is at .* already; --force moves it aside/);
});

test('restore refuses what is damaged, newer or no store of ours', () => {
  const sql = (file, text) => assert.equal(spawnSync('sqlite3', [file, text]).status, 0);
  const spoilt = {
    'no-db': [(file) => fs.writeFileSync(file, 'hello'), /not a database/],
    other: [(file) => sql(file, 'DROP TABLE meta'), /not a Tidegate store/],
    newer: [(file) => sql(file, "UPDATE meta SET value = 99 WHERE name = 'schema_version'"), /newer version/],
    wrong: [(file) => sql(file, 'DELETE FROM ledger WHERE cost_micros > 0'), /do not agree with themselves/],
    cut: [(file) => fs.truncateSync(file, 8192), /malformed|do not agree/],
  };
  for (const [name, [spoil, message]] of Object.entries(spoilt)) {
    const file = at(`${name}.db`);
    fs.copyFileSync(at('b1.db'), file);
    spoil(file);
    const done = tidegate('restore', file, '--to', `sqlite:${at('target.db')}`);
    assert.equal(done.code, 1, name);
    assert.match(done.err, message, name);
    assert.ok(!fs.existsSync(at('target.db')), `${name}: nothing is put there`);
  }
});

test('FF-11 a gateway does not start on a backup itself', () => {
  const config = { ...gateway.config, store: `sqlite:${at('b1.db')}` };
  fs.writeFileSync(at('on-backup.yaml'), JSON.stringify(config));
  const done = run(['status', '--config', at('on-backup.yaml')], { cwd: at('kept') });
  assert.equal(done.code, 1);
  assert.match(done.err, /it is a backup, taken \S+: put it in the place of a store with `tidegate restore FILE`/);
});

test('a restored store goes on without giving an id twice; the old one is kept', async () => {
  const before_restore = new Set(gateway.rows('SELECT id FROM ledger').map((row) => row.id));
  const last_epoch = Number(gateway.rows("SELECT value FROM meta WHERE name = 'epoch'")[0].value);
  const done = tidegate('restore', at('b1.db'), '--force', '--json');
  assert.equal(done.code, 0, done.err);
  const told = json(done);
  assert.ok(told.next_epoch > last_epoch + 10_000);
  assert.ok(told.taken_at && told.ok && told.open_holds >= 1);
  assert.ok(fs.existsSync(told.aside) && fs.existsSync(`${told.aside}-wal`));
  assert.equal(json(tidegate('check', '--store', told.aside, '--json')).ok, true, 'the old one, log and all');
  await mock.settled(60_000);
  await gateway.launch();
  await until('the log tells', () => /(was|were) in flight when the gateway before this one died/.test(gateway.log()));
  assert.equal((await call()).status, 200);
  await gateway.booked();
  const epochs = gateway.rows("SELECT DISTINCT id >> 43 AS epoch FROM ledger ORDER BY 1").map((row) => row.epoch);
  assert.equal(epochs.at(-1), told.next_epoch);
  const fresh = gateway.rows(`SELECT id FROM ledger WHERE id >> 43 = ${told.next_epoch}`);
  assert.ok(fresh.length > 0 && fresh.every((row) => !before_restore.has(row.id)));
  assert.equal(tidegate('check', '--store').code, 0);
});

test('a copy by hand with its log is checked once and told; without it is refused', async () => {
  slow();
  await until('one is in flight', () => gateway.openHolds() > 0);
  for (let i = 0; i < 3; i++) {
    await call();
  }
  fs.copyFileSync(gateway.store, at('hand.db'));
  fs.copyFileSync(gateway.store, at('whole.db'));
  fs.copyFileSync(`${gateway.store}-wal`, at('whole.db-wal'));
  const start = (name) => {
    fs.writeFileSync(
      at(`${name}.yaml`),
      JSON.stringify({ ...gateway.config, listen: '127.0.0.1:0', control: at(`${name}.sock`), store: `sqlite:${at(`${name}.db`)}` }),
    );
    return new Program(name, ['serve', '--config', at(`${name}.yaml`)], {
      cwd: at('kept'),
      env: { LIVE_OPENAI_KEY: 'x', LIVE_ANTHROPIC_KEY: 'x', LIVE_SECOND_KEY: 'x' },
    });
  };
  fs.copyFileSync(gateway.store, at('hollow.db'));
  fs.writeFileSync(at('hollow.db-wal'), Buffer.alloc(fs.statSync(at('whole.db-wal')).size));
  const hollow = start('hollow');
  assert.equal((await hollow.over()).code, 1);
  assert.match(hollow.err, /made while a gateway ran, without its log/, 'a log of zeros is none');

  const without = start('hand');
  assert.equal((await without.over()).code, 1);
  assert.match(without.err, /a copy of \S+ made while a gateway ran, without its log.*Copy with `tidegate backup`/);

  const with_log = start('whole');
  await until('it has started', () => with_log.alive() && /orphans_closed/.test(with_log.err + with_log.out), 10_000);
  assert.match(with_log.err + with_log.out, /this store is a copy of \S+books\.db; its books agree/);
  assert.equal((await with_log.end()).code, 0);
  assert.equal(tidegate('check', '--store', at('whole.db')).code, 0);

  const once = start('whole');
  await until('it has started again', () => once.alive() && /orphans_closed/.test(once.err + once.out), 10_000);
  assert.doesNotMatch(once.err + once.out, /this store is a copy/);
  assert.equal((await once.end()).code, 0);
});

test('a log of another moment than its file is refused', async () => {
  fs.copyFileSync(gateway.store, at('mixed.db'));
  /* More calls than a page of the ledger holds, so that the new log cannot happen to hold all that changed. */
  await Promise.all(Array.from({ length: 60 }, call));
  await gateway.booked();
  /* What the log held goes into the store itself, and a new log begins. */
  spawnSync('sqlite3', ['-cmd', '.timeout 5000', gateway.store, 'PRAGMA wal_checkpoint(TRUNCATE)']);
  for (let i = 0; i < 3; i++) {
    assert.equal((await call()).status, 200);
  }
  fs.copyFileSync(`${gateway.store}-wal`, at('mixed.db-wal'));
  fs.writeFileSync(at('mixed.yaml'), JSON.stringify({ ...gateway.config, control: at('mixed.sock'), store: `sqlite:${at('mixed.db')}` }));
  const done = run(['status', '--config', at('mixed.yaml')], { cwd: at('kept') });
  assert.equal(done.code, 1, done.out);
  assert.match(done.err, /a copy of \S+ whose files do not fit each other|malformed/);
});

test('a log whose store is gone: no new store is begun beside it, and restore moves it aside', () => {
  fs.copyFileSync(`${gateway.store}-wal`, at('lost.db-wal'));
  fs.writeFileSync(at('lost.yaml'), JSON.stringify({ ...gateway.config, control: at('lost.sock'), store: `sqlite:${at('lost.db')}` }));
  const { code, err } = run(['account', 'add', 'eve', '--config', at('lost.yaml')], { cwd: at('kept') });
  assert.equal(code, 1, err);
  assert.match(err, /lost\.db is gone, but its log \(-wal\) is there/);
  assert.ok(!fs.existsSync(at('lost.db')) && fs.existsSync(at('lost.db-wal')));

  const done = tidegate('restore', at('b1.db'), '--to', `sqlite:${at('lost.db')}`, '--json');
  assert.equal(done.code, 0, done.err);
  assert.ok(!fs.existsSync(at('lost.db-wal')), 'it is not copied into the store');
  assert.ok(fs.existsSync(`${json(done).aside}-wal`), 'and it is kept');
  assert.equal(tidegate('check', '--store', at('lost.db')).code, 0);
});

test('a first start that fails leaves no store behind', async () => {
  const taken = `127.0.0.1:${gateway.port}`;
  fs.writeFileSync(
    at('first.yaml'),
    JSON.stringify({ ...gateway.config, listen: taken, control: at('first.sock'), store: `sqlite:${at('first.db')}` }),
  );
  const first = new Program('first', ['serve', '--config', at('first.yaml'), '--listen', taken], {
    cwd: at('kept'),
    env: { LIVE_OPENAI_KEY: 'x', LIVE_ANTHROPIC_KEY: 'x', LIVE_SECOND_KEY: 'x' },
  });
  const how = await first.over();
  assert.equal(how.code, 1, first.err);
  assert.ok(!fs.existsSync(at('first.db')) && !fs.existsSync(at('first.db-wal')));
});
