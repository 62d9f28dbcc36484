// Goal: clients on this machine may connect by a unix socket, which only those reach whom its mode lets.
// Method: curl and Node as clients, beside what the file system says; sockets left by a crash, and files in the way.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import {
  Gateway, Mock, PROVIDER_SECRETS, Program, SLOW, ask, callOf, modelsOn, until,
} from './harness.mjs';

let dir;
let mock;
let gateway;
let key;
const socket_at = (name) => path.join(dir, name);

before(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-unix-'));
  mock = await Mock.start();
  /* One that nobody answers at, as a crash leaves it. */
  const left = spawnSync('python3', ['-c', `import socket; socket.socket(socket.AF_UNIX).bind('${socket_at('group.sock')}')`]);
  assert.equal(left.status, 0, String(left.stderr));
  gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) }, {
    also: [`unix:${socket_at('own.sock')}`, { address: `unix:${socket_at('group.sock')}`, mode: '0660' }],
  });
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  assert.deepEqual(fs.readdirSync(dir), [], 'the sockets are gone with the gateway');
  await mock?.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

test('its mode says who may connect', () => {
  assert.equal(fs.statSync(socket_at('own.sock')).mode & 0o7777, 0o600);
  assert.equal(fs.statSync(socket_at('group.sock')).mode & 0o7777, 0o660);
});

test('curl and Node make calls, many at once', async () => {
  const call = callOf('chat', 'gpt-live');
  const done = spawnSync('curl', ['-sS', '--unix-socket', socket_at('own.sock'), 'http://localhost/v1/chat/completions', '-H',
    `authorization: Bearer ${key}`, '-H', 'content-type: application/json', '-d', JSON.stringify(call.body)], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
  assert.equal(JSON.parse(done.stdout).object, 'chat.completion', done.stdout);
  const answers = await Promise.all(Array.from({ length: 60 }, () => ask({ socketPath: socket_at('group.sock'), path: call.path }, { key, body: call.body })));
  assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [200]);
  const stream = callOf('chat', 'gpt-live', { stream: true });
  const answer = await ask({ socketPath: socket_at('own.sock'), path: stream.path }, { key, body: stream.body });
  assert.equal(answer.status, 200);
  assert.match(answer.text, /\[DONE\]/);
});

test('who comes this way is of this machine: metrics without a key, admin endpoints with an admin\'s', async () => {
  const by = (where, options = {}) => ask({ socketPath: socket_at('own.sock'), path: where }, { method: 'GET', ...options });
  assert.equal((await by('/metrics')).status, 200);
  assert.equal((await by('/api/admin/accounts')).status, 401);
  assert.equal((await by('/api/admin/accounts', { key: gateway.addKey('ada', '--role', 'admin').secret })).status, 200);
});

/** A start that must fail: what it said. */
async function refused(listen) {
  const file = path.join(gateway.dir, 'second.yaml');
  fs.writeFileSync(file, JSON.stringify({ ...gateway.config, listen, store: 'memory', control: path.join(gateway.dir, 'second.sock') }));
  const program = new Program('tidegate serve', ['serve', '--config', file], { env: PROVIDER_SECRETS, cwd: gateway.dir });
  const how = await program.over(10_000 * SLOW);
  assert.equal(how.code, 1, program.err);
  return program.err;
}

test('a socket that somebody answers at, and a file that is none, stay; the reason is said', async () => {
  assert.match(await refused(`unix:${socket_at('own.sock')}`), /cannot listen on unix:\S+own\.sock: address already in use; choose another/);
  const answer = await ask({ socketPath: socket_at('own.sock'), path: '/healthz' }, { method: 'GET' });
  assert.equal(answer.status, 200, 'the first one is still there');

  fs.writeFileSync(socket_at('a-file'), 'mine');
  assert.match(await refused(`unix:${socket_at('a-file')}`), /a file that is no socket has that name/);
  assert.equal(fs.readFileSync(socket_at('a-file'), 'utf8'), 'mine');
  fs.rmSync(socket_at('a-file'));

  assert.match(await refused(`unix:${socket_at('no-folder/x.sock')}`), /cannot listen on unix:\S+x\.sock: no such file or directory/);
});

test('a socket that another has taken the place of is not removed', async () => {
  fs.rmSync(socket_at('group.sock'));
  const other = net.createServer();
  await new Promise((resolve) => other.listen(socket_at('group.sock'), resolve));
  await gateway.program.end('SIGTERM');
  assert.ok(fs.existsSync(socket_at('group.sock')));
  assert.ok(!fs.existsSync(socket_at('own.sock')));
  await new Promise((resolve) => other.close(resolve));
  await gateway.launch();
  await until('it listens again', () => fs.existsSync(socket_at('group.sock')));
});
