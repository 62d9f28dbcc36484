// Goal: a client that sends or reads as slowly as it can, or whose machine vanishes without a word, costs a
// bounded time and memory, and its call is booked like any that was left.
// Method: bodies that drip; readers that stop; and a machine of its own, a network namespace behind a virtual
// cable, that is cut off. Where the system allows no such namespace, the kernel's own list of sockets must
// show that it looks after the peer.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';

import {
  Gateway, Mock, Raw, SLOW, booksOf, callOf, modelsOn, numbers, ownLimit, send, sleep, until,
} from './harness.mjs';

let mock;
let gateway;
let key;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    body_deadline: '1s',
    write_deadline: '2s',
    models: modelsOn({ 'gpt-live': 'openai', 'gpt-bills': 'bills-openai' }),
  }, { host: '0.0.0.0' });
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});
afterEach(async () => {
  await gateway.booked();
  await until('nothing is kept', async () => (await numbers(gateway)).get('body_buffered_bytes') === 0);
  assert.equal((await numbers(gateway)).get('model_requests_open'), 0);
});

const head = (length) =>
  `POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer ${key}\r\nContent-Length: ${length}\r\n\r\n`;
const requestOf = (call) => {
  const text = JSON.stringify(call.body);
  return head(text.length) + text;
};

describe('bodies', () => {
  test('one that drips ends at its deadline, however steadily it does', async () => {
    const raw = await Raw.open(gateway.port);
    raw.write(head(10_000));
    let sent = 0;
    for (; sent < 100 * SLOW && raw.statuses().length === 0; sent++) {
      raw.write(' ');
      await sleep(100);
    }
    assert.deepEqual(raw.statuses(), [408], `after ${sent} drops`);
    raw.destroy();
  });

  test('one that takes longer than the deadline, but comes along, is taken', async () => {
    const text = JSON.stringify(callOf('chat', 'gpt-live', { limit: ownLimit(), text: 'x'.repeat(600_000) }).body);
    const raw = await Raw.open(gateway.port);
    raw.write(head(text.length));
    for (let at = 0; at < text.length; at += 60_000) {
      raw.write(text.slice(at, at + 60_000));
      await sleep(200);
    }
    await raw.waitFor('it is answered', () => raw.statuses()[0] === 200);
    raw.destroy();
  });
});

describe('readers', () => {
  for (const model of ['gpt-live', 'gpt-bills']) {
    test(`${model}: one that takes nothing is given up, its provider held back until then, and its call booked`, async () => {
      await mock.clear();
      await mock.models({ [model]: 'tokens=60000,tps=0' });
      const raw = await Raw.open(gateway.port);
      raw.socket.pause();
      raw.write(requestOf(callOf('chat', model, { stream: true, limit: 90_000 + ownLimit() })));
      await until('the stream runs', async () => (await numbers(gateway)).get('streams_open') === 1);
      const gone = (await numbers(gateway)).get('clients_gone_total');
      await until('it is given up', async () => (await numbers(gateway)).get('clients_gone_total') === gone + 1, 10_000 * SLOW);
      await booksOf(gateway, mock);
      raw.destroy();
    });
  }

  test('one that sips goes on for longer than the deadline, and gets all', async () => {
    await mock.clear();
    await mock.models({ 'gpt-live': 'tokens=40000,tps=0' });
    const raw = await Raw.open(gateway.port);
    raw.socket.pause();
    raw.write(requestOf(callOf('chat', 'gpt-live', { stream: true, limit: 90_000 + ownLimit() })));
    for (let i = 0; i < 12; i++) {
      await sleep(300);
      raw.socket.resume();
      await sleep(2);
      raw.socket.pause();
    }
    raw.socket.resume();
    await raw.waitFor('its end', () => /\[DONE\]/.test(raw.text.slice(-200)), 20_000 * SLOW);
    raw.destroy();
    await booksOf(gateway, mock);
  });
});

/* ---- another machine ---- */

const ip = (...args) => spawnSync('ip', args, { encoding: 'utf8', timeout: 10_000 });
const NAME = `tg${process.pid % 100_000}`;
const NET = `10.${200 + (process.pid % 50)}.${(process.pid >> 6) % 250}`;

/** A namespace with a cable to this machine; null where it cannot be had. */
function machine() {
  const steps = [
    ['netns', 'add', NAME],
    ['link', 'add', `${NAME}a`, 'type', 'veth', 'peer', 'name', `${NAME}b`, 'netns', NAME],
    ['addr', 'add', `${NET}.1/24`, 'dev', `${NAME}a`],
    ['link', 'set', `${NAME}a`, 'up'],
    ['-n', NAME, 'addr', 'add', `${NET}.2/24`, 'dev', `${NAME}b`],
    ['-n', NAME, 'link', 'set', `${NAME}b`, 'up'],
  ];
  const good = steps.every((step) => ip(...step).status === 0);
  return good ? { cut: () => ip('-n', NAME, 'route', 'add', 'blackhole', `${NET}.1/32`) } : null;
}
const remove = () => {
  ip('link', 'del', `${NAME}a`);
  ip('netns', 'del', NAME);
};

/** Timers of the gateway's TCP connections with the port on either side, as the kernel lists them; 2 = looks after an idle peer. */
function timers(port) {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return fs.readFileSync('/proc/net/tcp', 'utf8').split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((row) => row[3] === '01' && (row[1]?.endsWith(`:${hex}`) || row[2]?.endsWith(`:${hex}`)))
    .map((row) => Number(row[5].split(':')[0]));
}

describe('machines that vanish', () => {
  after(remove);

  test('the kernel looks after clients and providers', async () => {
    await mock.models({ 'gpt-live': 'ttft_ms=500' });
    const running = send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }));
    await until('the provider is asked', () => gateway.openHolds() === 1);
    await sleep(100);
    /* Each connection is listed twice, from both sides; one of them is the gateway's. */
    assert.ok(timers(gateway.port).includes(2), `clients: ${timers(gateway.port)}`);
    assert.ok(timers(mock.port).includes(2), `providers: ${timers(mock.port)}`);
    assert.equal((await running).status, 200);
  });

  for (const [what, words, stream] of [
    ['before the first byte', 'ttft_ms=4000', false],
    ['amid a stream', 'tokens=3000,tps=50', true],
  ]) {
    test(`${what}: it is noticed, and the call is over`, async (t) => {
      const other = machine();
      t.after(remove);
      if (!other) {
        t.diagnostic('no network namespaces here: seen in the kernel\'s list alone');
        return;
      }
      await mock.clear();
      await mock.models({ 'gpt-live': words });
      const request = requestOf(callOf('chat', 'gpt-live', { stream, limit: ownLimit() }));
      const client = spawn('ip', ['netns', 'exec', NAME, process.execPath, '-e', `
        const s = require('net').connect(${gateway.port}, '${NET}.1', () => s.write(${JSON.stringify(request)}));
        s.on('data', () => {}); s.on('error', () => {});`], { stdio: 'ignore' });
      t.after(() => client.kill('SIGKILL'));
      await until('its call runs', async () => (await mock.journal()).some((entry) => entry.open));
      await sleep(300);
      const gone = (await numbers(gateway)).get('clients_gone_total');
      assert.equal(other.cut().status, 0);
      await until('it is given up', async () => (await numbers(gateway)).get('clients_gone_total') === gone + 1, 12_000 * SLOW);
      await booksOf(gateway, mock);
    });
  }
});
