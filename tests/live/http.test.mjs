// Goal: a request in a form that two parsers could read differently is refused with one answer and a
// closed connection, and no provider hears of it; the forms that real clients send are taken.
// Method: raw bytes over a socket, from a table; the codec's own tests have every byte split.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { Gateway, Mock, Raw, SLOW, callOf, modelsOn, ownLimit, sleep, until } from './harness.mjs';

let mock;
let gateway;
let key;

before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
    head_deadline: '700ms',
    body_deadline: '900ms',
    idle_deadline: '1500ms',
    head_max: '8KB',
    body_max: '256KB',
    headers_max: 40,
  });
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});
beforeEach(async () => {
  await mock.models({ 'gpt-live': null });
  await mock.clear();
});

const body = () => JSON.stringify(callOf('chat', 'gpt-live', { limit: ownLimit() }).body);

/** A whole request as text; `lines` replace or follow the usual ones. */
function request({
  line = 'POST /v1/chat/completions HTTP/1.1',
  host = 'Host: gw',
  auth = `Authorization: Bearer ${key}`,
  lines,
  payload = body(),
  eol = '\r\n',
} = {}) {
  const length = `Content-Length: ${Buffer.byteLength(payload)}`;
  const head = [line, host, auth, 'Content-Type: application/json', ...(lines ?? [length])].filter(
    (text) => text !== null,
  );
  return head.join(eol) + eol + eol + payload;
}

const chunked = (payload, size = 50) => {
  let out = '';
  for (let at = 0; at < payload.length; at += size) {
    const piece = payload.slice(at, at + size);
    out += `${piece.length.toString(16)}\r\n${piece}\r\n`;
  }
  return `${out}0\r\n\r\n`;
};
const TE = 'Transfer-Encoding: chunked';

describe('refused, with one answer and a closed connection', () => {
  const rows = [
    /* what, bytes, status */
    [
      'Content-Length with Transfer-Encoding',
      () => request({ lines: ['Content-Length: 5', TE], payload: chunked(body()) }),
      400,
    ],
    [
      'Transfer-Encoding with Content-Length after it',
      () => request({ lines: [TE, 'Content-Length: 5'], payload: chunked(body()) }),
      400,
    ],
    [
      'Transfer-Encoding: gzip, chunked',
      () => request({ lines: ['Transfer-Encoding: gzip, chunked'], payload: chunked(body()) }),
      501,
    ],
    ['Transfer-Encoding: identity', () => request({ lines: ['Transfer-Encoding: identity'] }), 501],
    [
      'Transfer-Encoding: xchunked',
      () => request({ lines: ['Transfer-Encoding: xchunked'], payload: chunked(body()) }),
      501,
    ],
    [
      'Transfer-Encoding: "chunked"',
      () => request({ lines: ['Transfer-Encoding: "chunked"'], payload: chunked(body()) }),
      501,
    ],
    ['Transfer-Encoding twice', () => request({ lines: [TE, TE], payload: chunked(body()) }), 400],
    [
      'Transfer-Encoding in HTTP/1.0',
      () =>
        request({
          line: 'POST /v1/chat/completions HTTP/1.0',
          lines: [TE],
          payload: chunked(body()),
        }),
      400,
    ],
    [
      'two lengths that differ',
      () => request({ lines: ['Content-Length: 10', 'Content-Length: 11'] }),
      400,
    ],
    [
      'two lengths that are equal',
      () => request({ lines: ['Content-Length: 10', 'Content-Length: 10'] }),
      400,
    ],
    ['a list of lengths', () => request({ lines: ['Content-Length: 10, 10'] }), 400],
    ['a signed length', () => request({ lines: ['Content-Length: +10'] }), 400],
    ['a negative length', () => request({ lines: ['Content-Length: -10'] }), 400],
    ['a length in hex', () => request({ lines: ['Content-Length: 0x10'] }), 400],
    ['an empty length', () => request({ lines: ['Content-Length: '] }), 400],
    [
      'a length beyond all numbers',
      () => request({ lines: ['Content-Length: 99999999999999999999999'] }),
      400,
    ],
    ['bare LF as line ends', () => request({ eol: '\n' }), 400],
    ['one bare LF', () => request().replace('\r\nContent-Type', '\nContent-Type'), 400],
    ['a bare CR', () => request({ host: 'Host: gw\rX: y' }), 400],
    ['a folded header', () => request({ host: 'Host: gw\r\nX-A: b\r\n c' }), 400],
    ['a NUL in a value', () => request({ host: 'Host: gw\r\nX-A: b\0c' }), 400],
    ['a control byte in a value', () => request({ host: 'Host: gw\r\nX-A: b\x01c' }), 400],
    ['a NUL in the target', () => request({ line: 'POST /v1/chat\0/completions HTTP/1.1' }), 400],
    [
      'a control byte in the target',
      () => request({ line: 'POST /v1/chat\x7f/completions HTTP/1.1' }),
      400,
    ],
    ['no Host', () => request({ host: null }), 400],
    ['two Hosts', () => request({ host: 'Host: gw\r\nHost: gw' }), 400],
    ['a space before the colon', () => request({ host: 'Host: gw\r\nX-A : b' }), 400],
    ['a header without a colon', () => request({ host: 'Host: gw\r\nnothing' }), 400],
    ['a header without a name', () => request({ host: 'Host: gw\r\n: b' }), 400],
    ['HTTP/2.0', () => request({ line: 'POST /v1/chat/completions HTTP/2.0' }), 505],
    ['HTTP/1.2', () => request({ line: 'POST /v1/chat/completions HTTP/1.2' }), 505],
    ['HTTP/0.9', () => 'GET /v1/models\r\n\r\n', 400],
    [
      'two spaces in the request line',
      () => request({ line: 'POST  /v1/chat/completions HTTP/1.1' }),
      400,
    ],
    ['the preface of HTTP/2', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400, 501, 505]],
    ['bytes of TLS', () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
    ['CONNECT', () => 'CONNECT gw:443 HTTP/1.1\r\nHost: gw:443\r\n\r\n', [400, 501]],
    ['too large a head', () => request({ host: `Host: gw\r\nX-A: ${'a'.repeat(9000)}` }), 431],
    [
      'too many headers',
      () =>
        request({
          host: `Host: gw\r\n${Array.from({ length: 50 }, (_, i) => `X-${i}: a`).join('\r\n')}`,
        }),
      431,
    ],
    [
      'Expect: something else',
      () => request({ lines: ['Expect: 200-ok', 'Content-Length: 2'], payload: '{}' }),
      417,
    ],
    [
      'a length beyond the limit',
      () => request({ lines: ['Content-Length: 300000'], payload: '' }),
      413,
    ],
  ];
  for (const [what, bytes, status] of rows) {
    test(what, async () => {
      const raw = await Raw.open(gateway.port);
      raw.write(bytes());
      await raw.waitClosed();
      const wanted = Array.isArray(status) ? status : [status];
      assert.equal(raw.statuses().length, 1, `one status line: ${raw.text}`);
      assert.ok(wanted.includes(raw.statuses()[0]), raw.text);
      raw.destroy();
      assert.deepEqual(await mock.journal(), [], 'nothing reached the provider');
    });
  }

  const chunks = [
    ['a negative chunk size', '-5\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size with a sign', '+5\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size with a prefix', '0x5\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size that is too long', '00000000000000005\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size beyond all numbers', 'ffffffffffffffff\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size with a space', '5 \r\nhello\r\n0\r\n\r\n'],
    ['no chunk size', '\r\nhello\r\n0\r\n\r\n'],
    ['a chunk that is longer than it says', '3\r\nhello\r\n0\r\n\r\n'],
    ['a chunk ended by LF', '5\r\nhello\n0\r\n\r\n'],
    ['a chunk size ended by LF', '5\nhello\r\n0\r\n\r\n'],
    ['a bad trailer', '5\r\nhello\r\n0\r\nbad trailer\r\n\r\n'],
  ];
  for (const [what, bytes] of chunks) {
    test(what, async () => {
      const raw = await Raw.open(gateway.port);
      raw.write(request({ lines: [TE], payload: '' }) + bytes);
      await raw.waitClosed();
      assert.deepEqual(raw.statuses(), [400], raw.text);
      raw.destroy();
      assert.deepEqual(await mock.journal(), [], 'nothing reached the provider');
    });
  }

  test('a request smuggled behind a refused one is never looked at', async () => {
    const raw = await Raw.open(gateway.port);
    raw.write(request({ lines: ['Content-Length: 4', TE], payload: `0\r\n\r\n${request()}` }));
    await raw.waitClosed();
    assert.deepEqual(raw.statuses(), [400]);
    raw.destroy();
    await sleep(100);
    assert.deepEqual(await mock.journal(), []);
  });
});

describe('taken', () => {
  test('a chunked body, with extensions of no meaning left out and trailers passed by', async () => {
    const raw = await Raw.open(gateway.port);
    raw.write(
      request({
        lines: [TE, 'Connection: close'],
        payload: chunked(body(), 7).replace(/\r\n\r\n$/, '\r\nX-Trailer: a\r\n\r\n'),
      }),
    );
    await raw.waitClosed();
    assert.deepEqual(raw.statuses(), [200], raw.text);
    const [entry] = await mock.settled();
    assert.equal(
      entry.headers['transfer-encoding'] ?? entry.headers['content-length'],
      String(entry.body_bytes),
      'it goes on with its length',
    );
    assert.ok(!JSON.stringify(entry.headers).includes('x-trailer'));
  });

  test('a body byte by byte', async () => {
    const raw = await Raw.open(gateway.port);
    for (const byte of request({ lines: undefined })) {
      raw.write(byte);
    }
    await raw.waitFor('an answer', () => /"object"/.test(raw.text));
    assert.deepEqual(raw.statuses(), [200]);
    raw.destroy();
  });

  test('Expect: 100-continue, answered before the body is sent', async () => {
    const payload = body();
    const raw = await Raw.open(gateway.port);
    raw.write(
      request({
        lines: ['Expect: 100-continue', `Content-Length: ${payload.length}`],
        payload: '',
      }),
    );
    await raw.waitFor('100 Continue', () => raw.statuses()[0] === 100);
    raw.write(payload);
    await raw.waitFor('an answer', () => /"object"/.test(raw.text));
    assert.deepEqual(raw.statuses(), [100, 200]);
    raw.destroy();
  });

  test('Expect: 100-continue with a wrong key is refused without asking for the body', async () => {
    const raw = await Raw.open(gateway.port);
    raw.write(
      request({
        auth: 'Authorization: Bearer tg-wrong',
        lines: ['Expect: 100-continue', 'Content-Length: 100000'],
        payload: '',
      }),
    );
    await raw.waitFor('an answer', () => raw.statuses().length > 0);
    assert.deepEqual(raw.statuses(), [401]);
    await raw.waitClosed();
  });

  test('pipelined requests are answered in order, one at a time', async () => {
    await mock.models({ 'gpt-live': 'echo=1,ttft_ms=50' });
    const raw = await Raw.open(gateway.port);
    const three = ['first', 'second', 'third'].map((text) =>
      request({
        payload: JSON.stringify(callOf('chat', 'gpt-live', { limit: ownLimit(), text }).body),
      }),
    );
    raw.write(
      three.join('') + request({ line: 'GET /v1/models HTTP/1.1', lines: [], payload: '' }),
    );
    await raw.waitFor('four answers', () => /"list"/.test(raw.text));
    assert.deepEqual(raw.statuses(), [200, 200, 200, 200]);
    const order = ['first', 'second', 'third', '"list"'].map((word) => raw.text.indexOf(word));
    assert.deepEqual(
      order,
      [...order].sort((a, b) => a - b),
    );
    raw.destroy();
    const journal = await mock.settled();
    assert.equal(journal.length, 3);
    for (let i = 1; i < 3; i++) {
      assert.ok(journal[i].at_ms >= journal[i - 1].end_ms, 'one at a time');
    }
  });

  test('a connection is kept for the next request, and closed where the client asks', async () => {
    const raw = await Raw.open(gateway.port);
    for (let i = 1; i <= 3; i++) {
      raw.write(request());
      await raw.waitFor('an answer', () => (raw.text.match(/"object"/g) ?? []).length === i);
    }
    assert.ok(!raw.closed);
    raw.write(request({ lines: ['Connection: close', 'Content-Length: 2'], payload: '{}' }));
    await raw.waitClosed();
    assert.equal(raw.statuses().length, 4);
  });

  test('a connection is kept after a refusal whose body was read', async () => {
    const raw = await Raw.open(gateway.port);
    raw.write(request({ payload: '{"model":"nobody","messages":[]}' }));
    await raw.waitFor('404', () => raw.statuses()[0] === 404 && raw.text.includes('}}'));
    raw.write(request());
    await raw.waitFor('an answer', () => /"object"/.test(raw.text));
    assert.deepEqual(raw.statuses(), [404, 200]);
    raw.destroy();
  });

  test('HTTP/1.0 is answered and closed', async () => {
    const raw = await Raw.open(gateway.port);
    raw.write(request({ line: 'POST /v1/chat/completions HTTP/1.0' }));
    await raw.waitClosed();
    assert.equal((raw.text.match(/^HTTP\/1\.[01] 200/gm) ?? []).length, 1, raw.text);
    assert.ok(!/transfer-encoding/i.test(raw.text));
  });

  test('HTTP/1.0 is streamed to without chunks', async () => {
    const raw = await Raw.open(gateway.port);
    raw.write(
      request({
        line: 'POST /v1/chat/completions HTTP/1.0',
        payload: JSON.stringify(
          callOf('chat', 'gpt-live', { limit: ownLimit(), stream: true }).body,
        ),
      }),
    );
    await raw.waitClosed();
    assert.ok(!/transfer-encoding/i.test(raw.text));
    assert.match(raw.text, /\[DONE\]\n\n$/);
  });

  test('absolute-form targets name the same host', async () => {
    const raw = await Raw.open(gateway.port);
    raw.write(
      request({
        line: 'GET http://gw/v1/models HTTP/1.1',
        lines: ['Connection: close'],
        payload: '',
      }),
    );
    await raw.waitClosed();
    assert.deepEqual(raw.statuses(), [200], raw.text);
  });
});

describe('time and order', () => {
  test('a head that is not complete in time is answered or dropped, and closed', async () => {
    const raw = await Raw.open(gateway.port);
    const started = Date.now();
    raw.write('POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\n');
    await raw.waitClosed();
    const took = Date.now() - started;
    assert.ok(took >= 600 && took < 2500 * SLOW, `${took} ms`);
    assert.deepEqual(raw.statuses(), [408], raw.text);
  });

  test('a head that drips does not live longer', async () => {
    const raw = await Raw.open(gateway.port);
    const started = Date.now();
    raw.write('GET /v1/models HTTP/1.1\r\nHost: gw\r\nX-A: ');
    const drip = setInterval(() => raw.write('a'), 50);
    await raw.waitClosed();
    clearInterval(drip);
    assert.ok(Date.now() - started < 2500 * SLOW);
    raw.destroy();
  });

  test('a body that is not complete in time is answered and closed', async () => {
    const raw = await Raw.open(gateway.port);
    const started = Date.now();
    raw.write(request({ lines: ['Content-Length: 1000'], payload: '{"model":' }));
    await raw.waitClosed();
    assert.ok(Date.now() - started < 3000 * SLOW);
    assert.deepEqual(raw.statuses(), [408], raw.text);
    assert.deepEqual(await mock.journal(), []);
  });

  test('a connection that is idle for too long is closed without a word', async () => {
    const raw = await Raw.open(gateway.port);
    raw.write(request());
    await raw.waitFor('an answer', () => /"object"/.test(raw.text));
    const length = raw.text.length;
    await raw.waitClosed(5000 * SLOW);
    assert.equal(raw.text.length, length);
  });

  test('a connection that never says anything is closed', async () => {
    const raw = await Raw.open(gateway.port);
    await raw.waitClosed(6000 * SLOW);
    assert.equal(raw.statuses().length <= 1, true);
  });

  test('the key is judged before the body is read', async () => {
    const raw = await Raw.open(gateway.port);
    const started = Date.now();
    raw.write(
      request({
        auth: 'Authorization: Bearer tg-wrong',
        lines: ['Content-Length: 200000'],
        payload: '',
      }),
    );
    await raw.waitFor('an answer', () => raw.statuses().length > 0);
    assert.ok(Date.now() - started < 400 * SLOW, 'at once');
    assert.deepEqual(raw.statuses(), [401]);
    await raw.waitClosed();
  });

  test('a client that ends its side after the request counts as gone', async () => {
    await mock.models({ 'gpt-live': 'tokens=4000,tps=50' });
    const raw = await Raw.open(gateway.port);
    raw.write(
      request({
        payload: JSON.stringify(
          callOf('chat', 'gpt-live', { limit: 5000 + ownLimit(), stream: true }).body,
        ),
      }),
    );
    await raw.waitFor('the first event', () => raw.text.includes('data:'));
    raw.fin();
    const left_ms = Date.now();
    const [entry] = await mock.settled();
    assert.ok(entry.gone, 'the provider was left');
    assert.ok(entry.end_ms - left_ms < 300 * SLOW, `after ${entry.end_ms - left_ms} ms`);
    raw.destroy();
    await gateway.booked();
  });

  test('a client that resets its connection amid the body leaves nothing behind', async () => {
    const raw = await Raw.open(gateway.port);
    raw.write(request({ lines: ['Content-Length: 1000'], payload: '{"model":"gpt-live",' }));
    await sleep(100);
    raw.socket.resetAndDestroy();
    await sleep(200);
    assert.deepEqual(await mock.journal(), []);
    assert.equal(gateway.openHolds(), 0);
  });

  test('many connections that break off at every point harm nobody', async () => {
    const whole = request();
    for (let round = 0; round < 40; round++) {
      const raw = await Raw.open(gateway.port);
      raw.write(whole.slice(0, Math.floor((whole.length * round) / 40)));
      await sleep(2);
      if (round % 2) {
        raw.socket.resetAndDestroy();
      } else {
        raw.destroy();
      }
    }
    const raw = await Raw.open(gateway.port);
    raw.write(request());
    await raw.waitFor('an answer', () => /"object"/.test(raw.text));
    raw.destroy();
    await until('all is booked', () => gateway.openHolds() === 0);
  });
});
