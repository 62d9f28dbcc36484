// What tests on PostgreSQL stand on: servers that come and go as told, and links that break as told.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Link, Postgres, dropDatabase, execOf, freshDatabase, isAlive, queryOf, urlOfAll } from './postgres.mjs';
import { ROOT, sleep, until } from './process.mjs';

const TOOL = path.join(ROOT, 'tools/postgres');
const folderOf = (url) => decodeURIComponent(/@([^:/]*)/.exec(url)[1]);

describe('tools/postgres', () => {
  test('runs a command beside a server of UTF-8 and locale C, and gives its exit code', async () => {
    const asked = "SHOW server_encoding; SHOW lc_collate; SHOW fsync; SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user";
    const done = spawnSync(
      TOOL,
      ['run', 'sh', '-c', `echo $TIDEGATE_TEST_PG; psql -X -A -t -d $TIDEGATE_TEST_PG -c "${asked}"; exit 7`],
      { encoding: 'utf8' },
    );
    assert.equal(done.status, 7, done.stderr);
    const [url, ...told] = done.stdout.trim().split('\n');
    assert.deepEqual(told, ['UTF8', 'C', 'on', 'tidegate|f']);
    await until('the server is removed', () => !fs.existsSync(folderOf(url)));
  });

  test('leaves nothing of a server whose owner was killed', async () => {
    const owner = spawn(TOOL, ['run', '--no-fsync', 'sh', '-c', 'echo $TIDEGATE_TEST_PG; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [url] = await new Promise((resolve) => owner.stdout.once('data', (text) => resolve(String(text).split('\n'))));
    const folder = folderOf(url);
    const pid = Number(fs.readFileSync(path.join(folder, 'data/postmaster.pid'), 'utf8').split('\n')[0]);
    owner.kill('SIGKILL');
    await until('the folder is removed', () => !fs.existsSync(folder));
    assert.ok(!isAlive(pid), 'the server is gone');
  });

  test('does not touch a folder that it did not make', () => {
    const done = spawnSync(TOOL, ['stop', '--dir', path.join(ROOT, 'tests')], { encoding: 'utf8' });
    assert.notEqual(done.status, 0);
    assert.match(done.stderr, /was not made by tools\/postgres/);
    assert.ok(fs.existsSync(path.join(ROOT, 'tests/live')));
  });
});

describe('a primary and its standby', () => {
  test('what was committed is there after the primary died and the standby was promoted', async () => {
    const primary = Postgres.start({ tcp: true, fsync: false });
    const standby = primary.standby();
    const [url, copy] = [primary, standby].map((server) => server.url);
    const both = urlOfAll([url, copy]);
    execOf(both, 'CREATE TABLE seen (n BIGINT)', 'INSERT INTO seen VALUES (1)');
    assert.deepEqual(primary.query('SELECT sync_state FROM pg_stat_replication'), [{ sync_state: 'sync' }]);
    await primary.kill();
    assert.throws(() => execOf(both, 'INSERT INTO seen VALUES (2)'), /psql/);
    await standby.promote();
    execOf(both, 'INSERT INTO seen VALUES (3)');
    assert.deepEqual(queryOf(both, 'SELECT n FROM seen ORDER BY n'), [{ n: 1 }, { n: 3 }]);
    primary.remove();
    standby.remove();
    assert.ok(!fs.existsSync(primary.dir) && !fs.existsSync(standby.dir));
  });
});

let server;
before(() => (server = Postgres.start({ fsync: false })));
after(() => server.remove());

describe('one server', () => {
  test('a fresh database is empty, and gone when it is dropped', () => {
    const [one, other] = [freshDatabase(server.url), freshDatabase(server.url)];
    execOf(one, 'CREATE TABLE t (n BIGINT)');
    assert.deepEqual(queryOf(other, "SELECT 1 FROM pg_tables WHERE tablename = 't'"), []);
    dropDatabase(one);
    assert.throws(() => queryOf(one, 'SELECT 1'), /does not exist/);
    dropDatabase(other);
  });

  test('killed, it has what it committed when it is launched again', async () => {
    const url = server.database();
    execOf(url, 'CREATE TABLE t (n BIGINT)', 'INSERT INTO t VALUES (4)');
    await server.kill();
    await server.launch();
    assert.deepEqual(queryOf(url, 'SELECT n FROM t'), [{ n: 4 }]);
  });

  test('stopped, it answers nobody until it goes on', async () => {
    server.pause();
    let answered = false;
    const asking = spawn('psql', ['-X', '-d', server.url, '-c', 'SELECT 1'], { stdio: 'ignore' });
    const over = new Promise((resolve) => asking.on('close', (code) => resolve((answered = code))));
    await sleep(200);
    assert.equal(answered, false);
    server.resume();
    assert.equal(await over, 0);
  });
});

describe('a link to a server', () => {
  let link;
  before(async () => {
    link = await Link.to(server);
    execOf(server.url, 'CREATE TABLE t (n BIGINT)');
  });
  after(() => link.end());
  const rows = () => queryOf(server.url, 'SELECT n FROM t ORDER BY n').map((row) => row.n);
  const insert = (n) => () => execOf(link.url(), `INSERT INTO t VALUES (${n})`);

  test('passes everything', () => {
    insert(1)();
    assert.deepEqual(rows(), [1]);
  });

  test('cut before a statement arrives, it is not carried out; after, it is, and nobody is told', async () => {
    await link.cutAt('server', 'VALUES (2)');
    assert.throws(insert(2), /psql/);
    await link.cutAt('server', 'VALUES (3)', { after: true });
    assert.throws(insert(3), /psql/);
    await until('the second is carried out', () => rows().includes(3));
    assert.deepEqual(rows(), [1, 3]);
    assert.equal((await link.state()).matched, 2);
  });

  test('refused, it serves nobody until it is healed', async () => {
    await link.refuse();
    assert.throws(insert(4), /psql/);
    await link.heal();
    insert(5)();
    assert.deepEqual(rows(), [1, 3, 5]);
  });

  test('dropped, what was sent arrives once it is healed, and cut breaks what is open', async () => {
    const socket = net.connect(link.port, '127.0.0.1');
    const got = [];
    let closed = false;
    socket.on('data', (bytes) => got.push(...bytes));
    socket.on('close', () => (closed = true)).on('error', () => {});
    const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
    await until('it is open', async () => (await link.state()).open === 1);
    await link.drop();
    socket.write(SSL_REQUEST);
    await link.state();
    assert.deepEqual(got, []);
    await link.heal();
    await until('the answer is there', () => got.length === 1);
    assert.equal(String.fromCharCode(...got), 'N');
    await link.cut();
    await until('it is closed', () => closed);
  });
});
