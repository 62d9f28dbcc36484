// Goal: names that fail, change, are slow or have several addresses hurt nobody but the calls that want them,
// and those no longer than they must.
// Method: a DNS server of our own, which only the gateway asks (a resolv.conf of its own), and providers on
// addresses of the loopback network.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, SLOW, callOf, freePort, modelsOn, providersOn, send, until } from './harness.mjs';

/* Servers of names have one port: addresses of this process alone let runs go on beside each other. */
const NETWORK = `127.${53 + (process.pid % 200)}.${(process.pid >> 8) % 250}`;
const ADDRESS = `${NETWORK}.153`;
const ANSWER = JSON.stringify({
  id: 'chatcmpl-1', object: 'chat.completion', model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'ok' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 },
});

/** What the server says of names: {addresses} | {rcode} | {held: true}; `asked` counts questions for A. */
class Dns {
  names = {};
  asked = {};
  held = [];

  async open() {
    this.socket = dgram.createSocket('udp4');
    this.socket.on('message', (question, from) => this.#take(question, from));
    await new Promise((resolve, reject) => this.socket.on('error', reject).bind(53, ADDRESS, resolve));
  }

  #take(question, from) {
    const labels = [];
    let at = 12;
    for (; question[at] > 0; at += 1 + question[at]) {
      labels.push(question.toString('latin1', at + 1, at + 1 + question[at]));
    }
    const name = labels.join('.').toLowerCase();
    const of_a = question.readUInt16BE(at + 1) === 1;
    const rule = this.names[name] ?? { rcode: 3 };
    const answer = () => this.socket.send(this.#answer(question, at + 5, of_a, this.names[name] ?? rule), from.port, from.address);
    if (of_a) {
      this.asked[name] = (this.asked[name] ?? 0) + 1;
    }
    if (rule.held) {
      this.held.push({ name, answer });
    } else {
      answer();
    }
  }

  #answer(question, end, of_a, { addresses = [], rcode = 0 }) {
    const given = of_a ? addresses : [];
    const head = Buffer.from(question.subarray(0, end));
    head.writeUInt16BE(0x8180 | rcode, 2);
    head.writeUInt16BE(given.length, 6);
    head.writeUInt32BE(0, 8);
    return Buffer.concat([head, ...given.map((address) => Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split('.').map(Number)]))]);
  }

  /** Answers all that was held back. */
  release() {
    for (const { answer } of this.held.splice(0)) {
      answer();
    }
  }
}

const may_mount = spawnSync('unshare', ['-m', 'true']).status === 0;

describe('names of providers', { skip: !may_mount && 'wants the right to mount a resolv.conf for one process' }, () => {
  const dns = new Dns();
  const providers = [];
  let dir;
  let mock;
  let gateway;
  let key;
  let port;
  const SLOW_NAMES = Array.from({ length: 8 }, (_, i) => `slow-${i}.example`);

  async function provider(address) {
    const self = { requests: 0 };
    self.open = () => new Promise((resolve, reject) => {
      self.server = http.createServer((request, response) => {
        self.requests++;
        request.resume().on('end', () => response.writeHead(200, { 'content-type': 'application/json', 'content-length': ANSWER.length }).end(ANSWER));
      });
      self.server.on('error', reject).listen(port, address, resolve);
    });
    self.close = () => new Promise((resolve) => {
      self.server.close(resolve);
      self.server.closeAllConnections();
    });
    await self.open();
    providers.push(self);
    return self;
  }

  before(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-dns-'));
    const resolv_conf = path.join(dir, 'resolv.conf');
    fs.writeFileSync(resolv_conf, `nameserver ${ADDRESS}\noptions timeout:30 attempts:1\n`);
    await dns.open();
    port = await freePort();
    mock = await Mock.start();
    const names = ['good.example', 'changing.example', 'several.example', 'many.example', 'absent.example', 'broken.example', ...SLOW_NAMES];
    const all = Object.fromEntries(names.map((name) => [name.replace('.example', ''), {
      ...providersOn(mock).openai, base_url: `http://${name}:${port}/v1`, insecure: true, connect_deadline: `${1500 * SLOW}ms`,
    }]));
    gateway = await Gateway.start(mock, {
      providers: { ...providersOn(mock), ...all },
      models: { ...modelsOn(Object.fromEntries(Object.keys(all).map((name) => [name, name]))), ...modelsOn({ saved: [['absent', 'm'], ['openai', 'gpt-live']] }) },
    }, { resolv_conf });
    key = gateway.member('ada');
  });
  after(async () => {
    dns.release();
    await gateway?.stop();
    await mock?.stop();
    await Promise.all(providers.map((one) => one.close()));
    dns.socket.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  const call = (model) => send(gateway, key, callOf('chat', model));

  test('a name that does not exist, one whose server fails: 502 at once, nothing booked; the next route serves', async () => {
    dns.names['broken.example'] = { rcode: 2 };
    for (const model of ['absent', 'broken']) {
      const answer = await call(model);
      assert.equal(answer.status, 502, answer.text);
      assert.equal(answer.json.error.reason, 'provider_unreachable');
    }
    assert.equal((await call('saved')).status, 200);
    await gateway.booked();
    await until('the log names it', () => /absent\.example: /.test(gateway.log()) && /broken\.example: /.test(gateway.log()));
  });

  test('slow names: calls for them end at their deadline, all others go on meanwhile', async () => {
    const good = await provider(`${NETWORK}.31`);
    dns.names['good.example'] = { addresses: [`${NETWORK}.31`] };
    for (const name of SLOW_NAMES) {
      dns.names[name] = { held: true };
    }
    const waiting = SLOW_NAMES.map((name) => call(name.replace('.example', '')));
    await until('all slow names are asked for', () => new Set(dns.held.map(({ name }) => name)).size === SLOW_NAMES.length);
    assert.equal((await call('good')).status, 200, 'a name that nobody has asked for yet');
    assert.equal(good.requests, 1);
    assert.equal(new Set(dns.held.map(({ name }) => name)).size, SLOW_NAMES.length, 'none was answered before');
    for (const answer of await Promise.all(waiting)) {
      assert.ok(answer.status >= 502 && answer.status <= 504, `${answer.status} ${answer.text}`);
    }
    await until('the log says so', () => /slow-0\.example:\d+: no connection within \d+ ms \(looking up the name\)/.test(gateway.log()));
    for (const name of SLOW_NAMES) {
      dns.names[name] = { addresses: [`${NETWORK}.31`] };
    }
    dns.release();
    assert.equal((await call('slow-0')).status, 200, 'once it is answered, all is well');
  });

  test('equal questions are one', async () => {
    dns.names['many.example'] = { held: true };
    const calls = Array.from({ length: 20 }, () => call('many'));
    await until('it is asked for', () => dns.asked['many.example'] >= 1);
    dns.names['many.example'] = { addresses: [`${NETWORK}.31`] };
    dns.release();
    assert.deepEqual([...new Set((await Promise.all(calls)).map((answer) => answer.status))], [200]);
    assert.ok(dns.asked['many.example'] <= 2, 'at most one a loop');
  });

  test('a name with several addresses: the next one is tried, and remembered', async () => {
    dns.names['several.example'] = { addresses: [`${NETWORK}.39`, `${NETWORK}.31`] };
    for (let i = 0; i < 3; i++) {
      assert.equal((await call('several')).status, 200);
    }
    assert.equal(dns.asked['several.example'] <= 2, true);
  });

  test('a name that moves is looked up again once nobody answers where it was; an old answer serves where no new one comes', async () => {
    const first = await provider(`${NETWORK}.32`);
    const second = await provider(`${NETWORK}.33`);
    dns.names['changing.example'] = { addresses: [`${NETWORK}.32`] };
    assert.equal((await call('changing')).status, 200);
    assert.equal(first.requests, 1);
    dns.names['changing.example'] = { addresses: [`${NETWORK}.33`] };
    await first.close();
    const seen = [];
    await until('it is found again', async () => seen.push((await call('changing')).status) && second.requests >= 1);
    assert.ok(seen.length <= 3, `answers meanwhile: ${seen}`); /* one a loop may miss */
    for (let i = 0; i < 24; i++) {
      await call('changing'); /* each loop asks for itself: both know it now */
    }

    await second.close();
    for (let i = 0; i < 8; i++) {
      assert.equal((await call('changing')).status, 502);
    }
    dns.names['changing.example'] = { rcode: 2 };
    await second.open();
    const before_count = second.requests;
    const answer = await call('changing');
    assert.equal(answer.status, 200, answer.text);
    assert.equal(second.requests, before_count + 1);
    await first.open(); /* so that the end finds it */
  });
});
