// Goal: whatever a client or a provider sends, and wherever it breaks off, nothing crashes, stalls or leaks, and
// nothing of it reaches, or is billed to, somebody else.
// Method: resets at every stage, floods and rubbish; a provider of our own that answers with rubbish. After
// each test no hold is open, no byte kept, and the descriptors are those from before.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';

import {
  Gateway, Mock, Raw, SLOW, callOf, modelsOn, numbers, ownLimit, providersOn, send, sleep, until,
} from './harness.mjs';

let mock;
let gateway;
let key;
let rude; // a provider that says what `says` gives, byte by byte
let says;
let baseline;

const descriptors = () => fs.readdirSync(`/proc/${gateway.program.child.pid}/fd`).length;

before(async () => {
  mock = await Mock.start();
  rude = net.createServer((socket) => {
    socket.on('error', () => {});
    let seen = '';
    socket.on('data', (text) => {
      seen += text;
      const length = Number(/content-length: (\d+)/i.exec(seen)?.[1] ?? 0);
      if (seen.includes('\r\n\r\n') && seen.length >= seen.indexOf('\r\n\r\n') + 4 + length) {
        seen = '';
        says(socket);
      }
    });
  });
  await new Promise((resolve) => rude.listen(0, '127.0.0.1', resolve));
  const providers = providersOn(mock);
  gateway = await Gateway.start(mock, {
    head_deadline: '2s',
    drain_max: '1s',
    providers: { ...providers, rude: { ...providers.openai, base_url: `http://127.0.0.1:${rude.address().port}/v1`, between_bytes_deadline: '2s' } },
    models: modelsOn({ 'gpt-live': 'openai', 'gpt-bills': 'bills-openai', rude: 'rude' }),
  });
  key = gateway.member('ada');
  assert.equal((await send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }))).status, 200);
  await gateway.booked();
  baseline = descriptors();
});
after(async () => {
  await gateway?.stop();
  rude?.close();
  await mock?.stop();
});
afterEach(async () => {
  gateway.program.alive();
  await gateway.booked(10_000 * SLOW);
  await until('nothing is kept', async () => {
    const now = await numbers(gateway);
    return now.get('body_buffered_bytes') === 0 && now.get('model_requests_open') === 0
      && now.get('connections_open{side="client"}') <= 2;
  }, 10_000 * SLOW);
  const idle = (await numbers(gateway)).get('connections_open{side="provider"}');
  await until(`descriptors: ${baseline} and those of idle connections`, () => descriptors() <= baseline + idle + 2);
});

const request = (call) => {
  const text = JSON.stringify(call.body);
  return `POST ${call.path} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
};
const reset = (raw) => raw.socket.resetAndDestroy();
/** Another client is served as if nothing were. */
const othersAreServed = async () => {
  await mock.models({ 'gpt-live': null });
  assert.equal((await send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }))).status, 200);
};

describe('a client that resets', () => {
  for (const model of ['gpt-live', 'gpt-bills']) {
    test(`FF-42 ${model}: at every stage of a call`, async () => {
      await mock.clear();
      await mock.models({ [model]: 'tokens=40,tps=200,ttft_ms=30' });
      for (const stream of [false, true]) {
        const text = request(callOf('chat', model, { stream, limit: ownLimit() }));
        const ends = [0, 1, 20, text.indexOf('\r\n\r\n'), text.indexOf('\r\n\r\n') + 4, text.length - 1, text.length];
        for (const end of ends) {
          const raw = await Raw.open(gateway.port);
          raw.write(text.slice(0, end));
          await sleep(end === text.length ? 15 : 2);
          reset(raw);
        }
        const raw = await Raw.open(gateway.port);
        raw.write(text + text);
        await raw.waitFor('the answer begins', () => raw.text.length > 0);
        reset(raw);
      }
      await othersAreServed();
      await mock.settled();
      await gateway.booked();
    });
  }

  test('a thousand connections that say nothing, half a head, or rubbish', async () => {
    const noise = ['', 'POST /v1', '\x00\xff\x16\x03\x01', 'GET / HTTP/1.1\r\nHost: a\r\n', `GET / HTTP/1.1\r\n${'x'.repeat(70_000)}`,
      `GET / HTTP/1.1\r\nHost: a\r\n${'a: b\r\n'.repeat(3000)}`];
    for (let i = 0; i < 20; i++) {
      const raws = await Promise.all(Array.from({ length: 50 }, () => Raw.open(gateway.port)));
      raws.forEach((raw, at) => raw.write(noise[at % noise.length]));
      await sleep(5);
      raws.forEach((raw, at) => (at % 2 ? reset(raw) : raw.destroy()));
    }
    await othersAreServed();
  });
});

test('a flood of pipelined requests is answered in its order, and holds nobody up', async () => {
  const raw = await Raw.open(gateway.port);
  raw.write('GET /healthz HTTP/1.1\r\nHost: gw\r\n\r\n'.repeat(3000));
  await othersAreServed();
  await raw.waitFor('all are answered', () => raw.statuses().length === 3000, 20_000 * SLOW);
  raw.destroy();
});

test('a flood of pipelined requests whose answers nobody reads is not read on', async () => {
  const raw = await Raw.open(gateway.port);
  raw.socket.pause();
  const text = 'GET /v1/nothing HTTP/1.1\r\nHost: gw\r\n\r\n'.repeat(500);
  for (let i = 0; i < 200; i++) {
    raw.write(text);
  }
  await othersAreServed();
  assert.ok((await numbers(gateway)).get('body_buffered_bytes') < 1 << 20);
  reset(raw);
});

/* ---- providers ---- */

const good = JSON.stringify({ id: 'x', object: 'chat.completion', choices: [{ index: 0, finish_reason: 'stop',
  message: { role: 'assistant', content: 'mine' } }], usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } });
const head = (lines) => `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n${lines}\r\n`;
const event = `data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"mine"}}]}\n\n`;
const streamed = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';
const chunk = (text) => `${text.length.toString(16)}\r\n${text}\r\n`;

const rubbish = {
  'nothing but an end': [(socket) => socket.end(), 502],
  'a reset': [(socket) => socket.resetAndDestroy(), 502],
  'noise': [(socket) => socket.end(Buffer.from([0, 1, 2, 255, 254, 13, 10, 13, 10])), 502],
  'a head without end': [(socket) => socket.write(`HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(20_000)}`), 502],
  'a header line without end': [(socket) => socket.write(`HTTP/1.1 200 OK\r\na: ${'b'.repeat(200_000)}`), 502],
  'interim answers without end': [(socket) => socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(1000)), 502],
  'a switch of protocols': [(socket) => socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n'), 502],
  'two lengths': [(socket) => socket.write(head('Content-Length: 2\r\nContent-Length: 3\r\n') + good), 502],
  'a length and chunks': [(socket) => socket.write(head('Content-Length: 2\r\nTransfer-Encoding: chunked\r\n') + good), 502],
  'a chunk size that is none': [(socket) => socket.write(`${head('Transfer-Encoding: chunked\r\n')}zz\r\n${good}`), 502],
  'a chunk of eight exabytes': [(socket) => socket.write(`${head('Transfer-Encoding: chunked\r\n')}7fffffffffffffff\r\n${good}`), 502],
  'less than it declared': [(socket) => socket.end(head('Content-Length: 9999\r\n') + good), 502],
  'a body larger than is read': [(socket) => {
    socket.write(head('Content-Length: 99999999999\r\n'));
    const piece = Buffer.alloc(1 << 20, 'x');
    // A write that fails calls back before its socket counts as destroyed: one more would be asked for without end.
    const more = (error) => !error && !socket.destroyed && socket.write(piece, more);
    more();
  }, 502],
  'bytes behind a whole answer': [(socket) => socket.write(`${head(`Content-Length: ${good.length}\r\n`) + good}${head('Content-Length: 7\r\n')}{"a":1}`), 200],
  'an answer of its own accord, later': [(socket) => {
    socket.write(head(`Content-Length: ${good.length}\r\n`) + good);
    late = new Promise((done) => {
      setTimeout(() => {
        if (!socket.destroyed) socket.write(`${head('Content-Length: 7\r\n')}{"a":1}`);
        done();
      }, 20);
    });
  }, 200],
};
let late = Promise.resolve(); /* until what comes later was written */
const broken_streams = {
  'a stream that is reset': (socket) => {
    socket.write(streamed + chunk(event));
    setTimeout(() => socket.resetAndDestroy(), 20);
  },
  'a stream with a chunk size that is none': (socket) => socket.write(`${streamed}${chunk(event)}nonsense\r\n`),
  'a stream of noise': (socket) => socket.end(streamed + chunk(event) + chunk('\x00\x01: \r\r\n\ndata\ndata: [[[[\n\n') + chunk('event: \xff\n\n')),
  'an event without end': (socket) => {
    socket.write(`${streamed}${chunk(event)}`);
    const piece = chunk(`data: ${'x'.repeat(1 << 20)}`);
    let left = 3;
    const more = () => !socket.destroyed && (left-- > 0 ? socket.write(piece, more) : socket.end());
    more();
  },
};

describe('a provider that answers with rubbish', () => {
  /** The call of somebody else, right behind: gets its own answer, and pays for that alone. */
  async function nextIsWhole() {
    says = (socket) => socket.write(`${head(`Content-Length: ${good.length}\r\n`)}${good}`);
    const next = await send(gateway, key, callOf('chat', 'rude', { limit: ownLimit() }));
    assert.equal(next.status, 200, next.text);
    assert.equal(next.text, good);
    await gateway.booked();
    const [row] = await gateway.rowsOf(next.request_id);
    assert.deepEqual([row.usage.input, row.usage.output], [3, 2]);
  }

  for (const [what, [act, status]] of Object.entries(rubbish)) {
    test(`${what}: the client gets ${status}, the next its own`, async () => {
      says = act;
      const answer = await send(gateway, key, callOf('chat', 'rude', { limit: ownLimit() }));
      assert.equal(answer.status, status, answer.text.slice(0, 300));
      assert.ok(answer.clean && answer.json, answer.text.slice(0, 300));
      await late; /* however busy the machine is */
      await sleep(30);
      await nextIsWhole();
    });
  }

  for (const [what, act] of Object.entries(broken_streams)) {
    test(`${what}: it ends well for its client, and is booked`, async () => {
      says = act;
      const answer = await send(gateway, key, callOf('chat', 'rude', { stream: true, limit: ownLimit() }));
      assert.equal(answer.status, 200);
      assert.ok(answer.clean, `the chunked coding is closed: ${answer.error}`);
      assert.match(answer.text, /mine/);
      assert.match(answer.text, /event: error|"error"/);
      await gateway.booked();
      const rows = await gateway.rowsOf(answer.request_id);
      assert.ok(rows.some((row) => row.cost_micros > 0), JSON.stringify(rows));
      await nextIsWhole();
    });
  }
});
