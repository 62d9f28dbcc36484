// Goal: clients speak TLS to the gateway as they do to any other: by modern rules, resumed, through a renewal
// of the certificate, and nothing that a stranger sends instead of a handshake harms or leaks.
// Method: OpenSSL's own client for what is negotiated, Node and the SDK for calls, raw bytes for strangers.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { after, before, describe, test } from 'node:test';

import OpenAI from 'openai';

import { Certificates } from './certificates.mjs';
import {
  Gateway, Mock, Raw, SLOW, ask, callOf, freePort, modelsOn, run, send, sleep, until,
} from './harness.mjs';

let certificates;
let mock;
let gateway;
let port;
let key;
let url;

before(async () => {
  certificates = new Certificates();
  certificates.authority('ours');
  certificates.leaf('first', 'ours', 'DNS:localhost,IP:127.0.0.1');
  certificates.leaf('renewed', 'ours', 'DNS:localhost,IP:127.0.0.1', { key: 'first', days: 60 });
  certificates.leaf('other', 'ours', 'DNS:localhost,IP:127.0.0.1', { days: 90 });
  certificates.leaf('short', 'ours', 'DNS:localhost,IP:127.0.0.1', { days: 5 });
  certificates.lock('first', 'locked.key');
  certificates.install('first', 'live');
  mock = await Mock.start();
  port = await freePort();
  url = `https://localhost:${port}`;
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai' }),
    head_deadline: `${2500 * SLOW}ms`,
  }, {
    also: [{ address: `127.0.0.1:${port}`, tls: { cert: certificates.file('live.pem'), key: certificates.file('live.key') } }],
  });
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
  certificates?.remove();
});

/** OpenSSL's client: what it says about the connection. */
function client(...args) {
  const done = spawnSync('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'localhost', '-CAfile',
    certificates.file('ours.pem'), '-verify_return_error', ...args], {
    encoding: 'utf8', input: 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n', timeout: 15_000 * SLOW,
  });
  return { code: done.status, text: done.stdout + done.stderr };
}

function agent(options = {}) {
  return new https.Agent({ ca: certificates.text('ours.pem'), keepAlive: true, ...options });
}

/** One request over TLS: {status, text, headers}. */
function over(where, { method = 'GET', body, headers = {}, through = agent() } = {}) {
  return new Promise((resolve, reject) => {
    const request = https.request(url + where, {
      method, agent: through, headers: { ...(body ? { 'content-type': 'application/json' } : {}), ...headers },
    }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (more) => (text += more)).on('error', reject)
        .on('end', () => resolve({ status: response.statusCode, text, headers: response.headers, socket: response.socket }));
    });
    request.on('error', reject);
    request.end(body && JSON.stringify(body));
  });
}

async function numbers() {
  const { text } = await ask(`${gateway.url}/metrics`, { method: 'GET' });
  return (name) => Number(new RegExp(`^tidegate_${name.replace(/[{}"=]/g, '\\$&')} (\\d+)$`, 'm').exec(text)?.[1]);
}
const handshakes = (result) => `tls_handshakes_total{result="${result}"}`;
const descriptors = () => fs.readdirSync(`/proc/${gateway.program.child.pid}/fd`).length;

/** A connection that has sent these bytes: waits for its end, gives what came. */
function stranger(bytes, { fin = false } = {}) {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (more) => (text += more)).on('error', () => {}).on('end', () => socket.end())
      .on('close', () => resolve(text));
    socket.on('connect', () => (fin ? socket.end(bytes, 'latin1') : socket.write(bytes, 'latin1')));
  });
}

describe('what is negotiated', () => {
  for (const [version, flag] of [['TLSv1.2', '-tls1_2'], ['TLSv1.3', '-tls1_3']]) {
    test(`${version}, authenticated ciphers, HTTP/1.1, no compression`, () => {
      const { code, text } = client(flag, '-alpn', 'h2,http/1.1', '-ign_eof');
      assert.equal(code, 0, text);
      assert.match(text, new RegExp(`New, ${version}, Cipher is \\S*(GCM|CHACHA20)`));
      assert.match(text, /ALPN protocol: http\/1\.1/);
      assert.match(text, /Compression: NONE/);
      assert.match(text, /Server Temp Key: X25519/);
      assert.match(text, /Verify return code: 0/);
      assert.match(text, /HTTP\/1\.1 200 OK/);
    });
  }

  for (const [what, ...args] of [
    ['TLS 1.1', '-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'],
    ['a cipher without authentication of its own', '-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-SHA256'],
    ['a cipher without forward secrecy', '-tls1_2', '-cipher', 'AES128-GCM-SHA256'],
    ['HTTP/2 alone', '-alpn', 'h2'],
  ]) {
    test(`${what} is refused`, () => {
      const { code, text } = client(...args);
      assert.notEqual(code, 0, text);
      assert.match(text, /alert|no protocols available/);
    });
  }

  test('nothing is negotiated anew', async () => {
    const program = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_2']);
    let text = '';
    program.stdout.on('data', (more) => (text += more));
    program.stderr.on('data', (more) => (text += more));
    await until('it stands', () => /Verify return code/.test(text));
    program.stdin.write('R\n');
    await until('it is over', () => program.exitCode !== null);
    assert.match(text, /no renegotiation|renegotiat/i);
  });
});

describe('calls', () => {
  test('several on one connection, beside plain ones; bodies larger than records and buffers', async () => {
    const through = agent({ maxSockets: 1 });
    const sockets = new Set();
    const large = 'long '.repeat(60_000);
    for (const text of ['hello', large, 'again']) {
      const answer = await over('/v1/chat/completions', {
        method: 'POST', through, headers: { authorization: `Bearer ${key}` }, body: callOf('chat', 'gpt-live', { text }).body,
      });
      assert.equal(answer.status, 200, answer.text);
      sockets.add(answer.socket);
    }
    assert.equal(sockets.size, 1);
    assert.equal((await send(gateway, key, callOf('chat', 'gpt-live'))).status, 200);
    through.destroy();
  });

  test('the SDK streams', async () => {
    await mock.models({ 'gpt-live': 'tokens=200,tps=2000' });
    const openai = new OpenAI({
      apiKey: key, baseURL: `${url}/v1`, maxRetries: 0,
      fetch: (where, init) => fetchOver(where, init),
    });
    const stream = await openai.chat.completions.create({ model: 'gpt-live', stream: true, messages: [{ role: 'user', content: 'hi' }], max_tokens: 500 });
    let pieces = 0;
    for await (const chunk of stream) {
      pieces += chunk.choices.length > 0 ? 1 : 0;
    }
    assert.ok(pieces > 100, `${pieces} pieces`);
  });

  for (const how of ['plain', 'TLS']) {
    test(`a client that reads slowly gets all of a large answer: ${how}`, () => slow_reader(how));
  }

  async function slow_reader(how) {
    await mock.models({ 'gpt-live': 'tokens=60000,tps=1000000' });
    const body = JSON.stringify(callOf('chat', 'gpt-live', { stream: true, limit: 100_000 }).body);
    const socket = how === 'TLS'
      ? tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca: certificates.text('ours.pem') })
      : net.connect({ port: gateway.port, host: '127.0.0.1' });
    let bytes = 0;
    let tail = '';
    await new Promise((resolve) => socket.on(how === 'TLS' ? 'secureConnect' : 'connect', resolve));
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer ${key}\r\n`
      + `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    socket.pause();
    await sleep(300);
    for await (const piece of socket) {
      bytes += piece.length;
      tail = (tail + piece.toString('latin1')).slice(-200);
    }
    assert.ok(bytes > 4_000_000, `${bytes} bytes`);
    assert.match(tail, /data: \[DONE\]\r?\n\r?\n[\s\S]*0\r\n\r\n$/);
    await mock.models({ 'gpt-live': null });
  }

  test('a client that leaves in the middle of a stream is noticed', async () => {
    await mock.models({ 'gpt-live': 'tokens=5000,tps=100' });
    const before_count = (await numbers())('clients_gone_total');
    const request = https.request(`${url}/v1/chat/completions`, { method: 'POST', agent: agent(), headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' } });
    request.on('error', () => {});
    request.end(JSON.stringify(callOf('chat', 'gpt-live', { stream: true, limit: 6000 }).body));
    await new Promise((resolve) => request.on('response', (response) => response.on('error', () => {}).once('data', resolve)));
    request.destroy();
    await until('it is noticed', async () => (await numbers())('clients_gone_total') === before_count + 1);
    await gateway.booked();
    await mock.models({ 'gpt-live': null });
  });

  test('an administrator may come over TLS from anywhere, and not in the clear', async () => {
    const admin = gateway.addKey('ada', '--role', 'admin').secret;
    const headers = { authorization: `Bearer ${admin}`, 'x-forwarded-for': '192.0.2.7' };
    const plain = await ask(`${gateway.url}/api/admin/accounts`, { method: 'GET', headers });
    assert.equal(plain.status, 403, plain.text);
    assert.match(plain.text, /over TLS/);
    const secure = await over('/api/admin/accounts', { headers });
    assert.equal(secure.status, 200, secure.text);
    assert.equal((await over('/api/admin/accounts', { headers: { ...headers, authorization: `Bearer ${key}` } })).status, 403);
  });
});

/** fetch over the test's own root. */
async function fetchOver(where, init) {
  const answer = await new Promise((resolve, reject) => {
    const request = https.request(where, { method: init.method, headers: Object.fromEntries(new Headers(init.headers)), ca: certificates.text('ours.pem') }, resolve);
    request.on('error', reject);
    request.end(init.body);
  });
  return new Response(ReadableStream.from(answer), { status: answer.statusCode, headers: answer.headers });
}

describe('resumption and renewal', () => {
  const session = (name) => certificates.file(`session-${name}`);
  const opened = (...args) => /^(New|Reused), TLS/m.exec(client('-ign_eof', ...args).text)?.[1];

  const served = () => new Promise((resolve, reject) => {
    const socket = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca: certificates.text('ours.pem') }, () => {
      resolve(socket.getPeerCertificate().subject.CN);
      socket.destroy();
    });
    socket.on('error', reject);
  });
  const reload = () => run(['reload', '--control', gateway.control]);

  test('a renewed certificate is shown to new connections, sessions go on, streams go on', async () => {
    await mock.models({ 'gpt-live': 'tokens=60,tps=40' });
    const through = agent();
    const streaming = over('/v1/chat/completions', {
      method: 'POST', through, headers: { authorization: `Bearer ${key}` }, body: callOf('chat', 'gpt-live', { stream: true, limit: 500 }).body,
    });
    const was = await numbers();
    for (const flag of ['-tls1_2', '-tls1_3']) {
      assert.equal(opened(flag, '-sess_out', session(flag)), 'New');
      assert.equal(opened(flag, '-sess_in', session(flag)), 'Reused');
    }
    assert.equal(await served(), 'first');
    const expires = (await numbers())('certificate_expires_timestamp_seconds');
    certificates.install('renewed', 'live');
    const done = reload();
    assert.equal(done.code, 0, done.err);
    assert.equal(await served(), 'renewed');
    assert.ok((await numbers())('certificate_expires_timestamp_seconds') > expires);
    for (const flag of ['-tls1_2', '-tls1_3']) {
      assert.equal(opened(flag, '-sess_in', session(flag)), 'Reused');
    }
    const answer = await streaming;
    assert.equal(answer.status, 200);
    assert.match(answer.text, /\[DONE\]/);
    const is = await numbers();
    assert.ok(is(handshakes('full')) - was(handshakes('full')) >= 2);
    assert.equal(is(handshakes('resumed')) - was(handshakes('resumed')), 4);
    through.destroy();
    await mock.models({ 'gpt-live': null });
  });

  for (const [what, spoil, said] of [
    ['the key of another certificate', () => fs.copyFileSync(certificates.file('other.key'), certificates.file('live.key')), /certificate \S+live\.pem: the private key in \S+live\.key is not of this certificate/],
    ['a key open to everybody', () => fs.chmodSync(certificates.file('live.key'), 0o644), /private key \S+live\.key: everybody on this machine may read/],
    ['a locked key', () => fs.copyFileSync(certificates.file('locked.key'), certificates.file('live.key')), /private key \S+live\.key: it is locked with a passphrase/],
    ['no key', () => fs.rmSync(certificates.file('live.key')), /private key \S+live\.key: No such file/],
    ['no certificate', () => fs.rmSync(certificates.file('live.pem')), /certificate \S+live\.pem: No such file/],
    ['a text that is no certificate', () => fs.writeFileSync(certificates.file('live.pem'), 'hello\n'), /certificate \S+live\.pem: it holds no certificate in PEM form/],
  ]) {
    test(`${what}: a reload changes nothing and says why, and so do check and start`, async () => {
      certificates.install('first', 'live');
      spoil();
      const done = reload();
      assert.notEqual(done.code, 0);
      assert.match(done.err + done.out, said);
      assert.equal(await served(), 'renewed');
      const checked = run(['check', gateway.file], { env: { LIVE_OPENAI_KEY: 'x', LIVE_ANTHROPIC_KEY: 'x', LIVE_SECOND_KEY: 'x' } });
      assert.equal(checked.code, 1);
      assert.match(checked.err, said);
      certificates.install('renewed', 'live');
    });
  }

  test('under another key nobody resumes', async () => {
    certificates.install('other', 'live');
    assert.equal(reload().code, 0);
    assert.equal(await served(), 'other');
    assert.equal(opened('-tls1_3', '-sess_in', session('-tls1_3')), 'New');
  });

  test('the end of a certificate is told by check, the start line, the log and a number', async () => {
    certificates.install('short', 'live');
    const day = new Date(Date.now() + 5 * 86_400_000).toISOString().slice(0, 10);
    const checked = run(['check', gateway.file], { env: { LIVE_OPENAI_KEY: 'x', LIVE_ANTHROPIC_KEY: 'x', LIVE_SECOND_KEY: 'x' } });
    assert.equal(checked.code, 0, checked.err);
    assert.match(checked.out, new RegExp(`127\\.0\\.0\\.1:${port} \\(TLS\\)`));
    assert.match(checked.out, new RegExp(`live\\.pem ends on ${day}, in less than two weeks`));
    assert.equal(reload().code, 0);
    await until('the log warns', () => new RegExp(`127\\.0\\.0\\.1:${port} ends on ${day}; renew it`).test(gateway.log()));
    assert.equal(new Date((await numbers())('certificate_expires_timestamp_seconds') * 1000).toISOString().slice(0, 10), day);
    await gateway.restart();
    await until('the start line says so', () => gateway.log().includes(`certificate_until=${day}`));
  });
});

describe('strangers', () => {
  const hello = Buffer.from('16030100a5010000a10303', 'hex').toString('latin1');

  test('plain HTTP is told to speak HTTPS', async () => {
    const text = await stranger('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.match(text, /^HTTP\/1\.1 400 /);
    assert.match(text, /This port speaks HTTPS/);
  });

  test('a handshake at the plain port is refused at once', async () => {
    const raw = await Raw.open(gateway.port);
    raw.write(hello);
    await raw.waitFor('it is refused', () => /^HTTP\/1\.1 400 /.test(raw.text));
    raw.fin();
    await raw.waitClosed();
  });

  test('silence, halves, garbage and ends within the handshake: closed in time, nothing is left', async () => {
    const before_count = descriptors();
    const was = await numbers();
    const texts = await Promise.all([
      stranger(''), stranger(hello), stranger(hello.slice(0, 3)), stranger('\x00\x01\x02\x03'),
      stranger(hello + '\xff'.repeat(200)), stranger(hello, { fin: true }), stranger('', { fin: true }),
      stranger(`\x16\x03\x01\x00\x05${'\x00'.repeat(5)}`), stranger(`\x16\x03\x01\xff\xff${'a'.repeat(70_000)}`),
      ...Array.from({ length: 40 }, (_, i) => stranger(hello.slice(0, 1 + (i % hello.length)), { fin: i % 2 === 0 })),
    ]);
    for (const text of texts) {
      assert.ok(text.length < 100, JSON.stringify(text)); /* an alert at most */
    }
    await until('all are closed', async () => descriptors() <= before_count && (await numbers())('connections_open{side="client"}') <= 1);
    const is = await numbers();
    assert.ok(is(handshakes('failed')) - was(handshakes('failed')) >= 40);
    assert.equal((await over('/healthz')).status, 200);
  });

  test('one connection too many is told so in words of TLS, and nothing in the clear', async () => {
    const full_port = await freePort();
    const full = await Gateway.start(mock, { connections_max: 4, models: modelsOn({ 'gpt-live': 'openai' }) }, {
      also: [{ address: `127.0.0.1:${full_port}`, tls: { cert: certificates.file('live.pem'), key: certificates.file('live.key') } }],
    });
    const held = await Promise.all(Array.from({ length: 4 }, () => Raw.open(full.port)));
    for (const raw of held) { /* one that was answered was accepted, or the gateway is full before it */
      raw.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
      await raw.waitFor('it is answered', () => /^HTTP\/1\.1 (200|503) /.test(raw.text));
    }
    const fifth = await Raw.open(full_port);
    await fifth.waitClosed();
    assert.equal(Buffer.from(fifth.text, 'latin1').toString('hex'), '15030300020250');
    const told = await new Promise((resolve) => {
      tls.connect({ port: full_port, host: '127.0.0.1', rejectUnauthorized: false }).on('error', resolve).on('secureConnect', resolve);
    });
    assert.match(`${told?.code} ${told?.message}`, /alert internal error/i);
    [...held, fifth].forEach((raw) => raw.destroy());
    await full.stop();
  });

  test('many handshakes at once are all served', async () => {
    const through = agent({ keepAlive: false });
    const answers = await Promise.all(Array.from({ length: 120 }, () => over('/healthz', { through }).catch((error) => ({ status: error.message }))));
    assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [200]);
  });
});
