// Goal: all bodies in memory share one bound. What does not fit is refused at once, in words that make real
// clients wait, and harms nobody else; whatever becomes of a call, its bytes are given back.
// Method: a small bound, bodies that are declared and held back, and a provider of our own for large answers;
// after each test the gauge must be at zero and no hold open.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, afterEach, before, describe, test } from 'node:test';

import {
  Gateway, Mock, Raw, SLOW, callOf, modelsOn, numbers, ownLimit, providersOn, send, until,
} from './harness.mjs';
import { APIS, assertRefusal, assertUnheard, small } from './refusal.mjs';

const MB = 1 << 20;

let mock;
let provider; // of our own: answers with as many bytes as the model's name says
const thinking = []; // its answers that wait until a test lets them go
let gateway;
let key;

const answerOf = (bytes, mute) => {
  const answer = { id: 'x', object: 'chat.completion', usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 },
    choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: '' } }] };
  if (mute) {
    delete answer.usage;
  }
  answer.choices[0].message.content = 'x'.repeat(bytes - JSON.stringify(answer).length);
  return JSON.stringify(answer);
};

before(async () => {
  mock = await Mock.start();
  provider = http.createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece)).on('end', () => {
      const [, bytes, how] = JSON.parse(Buffer.concat(pieces)).model.split('-');
      if (how === 'thinks') {
        thinking.push(() => response.end(answerOf(Number(bytes))));
        return;
      }
      response.writeHead(200, { 'content-type': 'application/json' });
      if (how === 'cut') {
        response.write(answerOf(Number(bytes)).slice(0, -1000), () => setTimeout(() => response.destroy(), 100 * SLOW));
        return;
      }
      setTimeout(() => response.end(answerOf(Number(bytes), how)), bytes === '5000001' ? 300 * SLOW : 0);
    });
  });
  await new Promise((resolve) => provider.listen(0, '127.0.0.1', resolve));
  const providers = providersOn(mock);
  gateway = await Gateway.start(mock, {
    body_max: '1MB',
    bodies_max: '4MB',
    body_deadline: '2s',
    held_wait: '20s',
    providers: { ...providers, own: { ...providers.openai, base_url: `http://127.0.0.1:${provider.address().port}/v1` } },
    models: modelsOn({
      'gpt-live': 'openai', 'claude-live': 'anthropic', waits: 'openai', 'own-3500000': 'own', 'own-5000000': 'own',
      'own-5000001': 'own', 'own-5000000-mute': 'own', 'own-5000000-cut': 'own',
      'own-999-thinks': 'own', 'own-998-thinks': [['own', 'own-998-thinks'], ['openai', 'spare']],
    }),
    limits: { one: { counts: 'cost', per: 'account', of: { model: 'waits' }, window: 'day', cap: '2.1 USD' } },
  });
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  provider?.close();
  await mock?.stop();
});

const counted = async () => (await numbers(gateway)).get('body_buffered_bytes');
const refusedBodies = async () => (await numbers(gateway)).get('bodies_refused_total');
const atRest = async () => {
  await until('no byte is counted any more', async () => (await counted()) === 0);
  await gateway.booked();
};
afterEach(async () => {
  thinking.splice(0).forEach((answer) => answer()); // of a test that failed
  await atRest();
});

/** A call whose head declares a megabyte, of which `sent` bytes are there. */
async function holding(sent = 10) {
  const raw = await Raw.open(gateway.port);
  raw.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer ${key}\r\nContent-Length: ${MB}\r\n\r\n`);
  raw.write(' '.repeat(sent));
  return raw;
}

/** Three quarters of the bound are for requests: three such fill it. */
async function full() {
  const raws = [await holding(), await holding(), await holding()];
  await until('the bound is reached', async () => (await counted()) === 3 * MB);
  return raws;
}

test('the start line tells a bound that the machine may have', async () => {
  await until('it is told', () => /memory_max_bytes/.test(gateway.log()));
  const [, bytes] = /memory_max_bytes=(\d+)/.exec(gateway.log());
  assert.ok(Number(bytes) > 4 * MB && Number(bytes) < 16 * 1024 * MB, bytes);
  await gateway.says(/bodies_max_bytes=4194304/);
});

test('at the bound a body is refused before it is read, in the words of its client, and told to wait for a second', async () => {
  await mock.clear();
  const raws = await full();
  for (const api of APIS) {
    const was = await refusedBodies();
    const sentence = assertRefusal(await send(gateway, key, small(api)), api, {
      status: 429, code: 'gateway_memory_full', retry: null, after: [1, 1],
    });
    assert.match(sentence, /as many bytes .* as it may\. Try again in 1 s\./);
    assert.equal(await refusedBodies(), was + 1);
  }
  await assertUnheard(mock);
  raws.forEach((raw) => raw.destroy());
});

test('a client that waits as it is told is served', async () => {
  const raws = await full();
  assert.equal((await send(gateway, key, small('chat'))).status, 429);
  raws[0].destroy();
  await until('room is seen', async () => (await counted()) === 2 * MB);
  assert.equal((await send(gateway, key, small('chat'))).status, 200);
  raws.forEach((raw) => raw.destroy());
});

test('a chunked body counts as it comes, and is refused where it passes the bound', async () => {
  const raws = await full();
  raws[0].destroy();
  await until('there is room', async () => (await counted()) === 2 * MB);
  const chunked = await Raw.open(gateway.port);
  chunked.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer ${key}\r\nTransfer-Encoding: chunked\r\n\r\n`);
  const piece = `${(256 << 10).toString(16)}\r\n${' '.repeat(256 << 10)}\r\n`;
  chunked.write(piece);
  await until('it counts', async () => (await counted()) === 2 * MB + (256 << 10));
  raws[0] = await Raw.open(gateway.port);
  raws[0].write(`POST /v1/messages HTTP/1.1\r\nHost: gw\r\nx-api-key: ${key}\r\nContent-Length: ${MB - (256 << 10)}\r\n\r\n`);
  await until('all is taken', async () => (await counted()) === 3 * MB);
  chunked.write(piece);
  await chunked.waitFor('it is refused', (raw) => raw.statuses()[0] === 429);
  await until('its bytes are given back', async () => (await counted()) < 3 * MB);
  [...raws, chunked].forEach((raw) => raw.destroy());
});

describe('every way out gives the bytes back', () => {
  const payload = (model = 'gpt-live', more = {}) => {
    const body = callOf('chat', model, { limit: ownLimit(), text: 'x'.repeat(700_000), ...more }).body;
    return { path: '/v1/chat/completions', headers: {}, body };
  };
  const ways = {
    'an answer': async () => assert.equal((await send(gateway, key, payload())).status, 200),
    'a stream': async () => assert.ok((await send(gateway, key, payload('gpt-live', { stream: true }))).clean),
    'a body that makes no sense': async () => {
      const answer = await send(gateway, key, { path: '/v1/chat/completions', headers: {}, body: 'x'.repeat(900_000) });
      assert.equal(answer.status, 400);
    },
    'a model that is not there': async () => assert.equal((await send(gateway, key, payload('nothing'))).status, 404),
    'an error of the provider': async () => {
      await mock.models({ 'gpt-live': 'status=500' });
      assert.equal((await send(gateway, key, payload())).status, 500);
      await mock.models({ 'gpt-live': null });
    },
    'a client that leaves amid its body': async () => {
      const raw = await holding(500_000);
      await until('it counts', async () => (await counted()) === MB);
      raw.destroy();
    },
    'a body that is late': async () => {
      const raw = await holding();
      await raw.waitFor('it is told', () => raw.statuses()[0] === 408, 6000 * SLOW);
      raw.destroy();
    },
    'a client that leaves before the answer': async () => {
      await mock.models({ 'gpt-live': 'ttft_ms=400' });
      await send(gateway, key, payload(), { limit_ms: 150 * SLOW });
      await mock.models({ 'gpt-live': null });
    },
  };
  for (const [what, act] of Object.entries(ways)) {
    test(what, act);
  }

  test('a call that waits in a line, counted as long as it waits', async () => {
    await mock.models({ waits: 'ttft_ms=700' });
    const first = send(gateway, key, payload('waits'));
    await until('the first is at the provider', async () => gateway.openHolds() === 1 && (await counted()) === 0);
    const second = send(gateway, key, payload('waits'));
    await until('the second counts', async () => (await counted()) >= 700_000);
    assert.equal((await first).status, 200);
    assert.equal((await second).status, 200);
  });

  test('a request that was sent whole, while its model thinks and no other route may follow', async () => {
    const single = send(gateway, key, payload('own-999-thinks'));
    await until('it is with the provider', () => thinking.length === 1);
    await until('and not here', async () => (await counted()) === 0);
    const spared = send(gateway, key, payload('own-998-thinks'));
    await until('both are there', () => thinking.length === 2);
    assert.ok((await counted()) >= 700_000, 'another route may need it');
    thinking.splice(0).forEach((answer) => answer());
    assert.equal((await single).status, 200);
    assert.equal((await spared).status, 200);
  });
});

describe('answers that are read whole', () => {
  test('count until their client has taken them', async () => {
    const raw = await Raw.open(gateway.port);
    raw.socket.pause();
    const call = callOf('chat', 'own-3500000', { limit: ownLimit() });
    const text = JSON.stringify(call.body);
    const request = `POST ${call.path} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer ${key}\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
    raw.write(request.repeat(4)); // more than the system takes for a client that does not read
    await until('an answer waits for its client', async () => (await counted()) > MB);
    raw.socket.resume();
    await raw.waitFor('all are there', () => raw.statuses().length === 4 && raw.text.length > 14_000_000, 20_000 * SLOW);
    assert.deepEqual(raw.statuses(), [200, 200, 200, 200]);
    raw.destroy();
  });

  test('one that does not fit is booked as what it used, and told as the lack of room it is, not to be repeated', async () => {
    const was = await refusedBodies();
    const answer = await send(gateway, key, callOf('chat', 'own-5000000', { limit: ownLimit() }));
    const sentence = assertRefusal(answer, 'chat', { status: 502, code: 'answer_too_large', retry: 'false' });
    assert.match(sentence, /is billed, but it is larger than this gateway can keep/);
    assert.equal(await refusedBodies(), was + 1);
    await gateway.booked();
    const [row] = await gateway.rowsOf(answer.request_id);
    assert.deepEqual([row.kind, row.reason, row.usage.input, row.usage.output], ['settle', 'answer_too_large', 5, 7]);
    assert.ok(!row.flags.includes('cut'), JSON.stringify(row));
    assert.equal(Number(answer.headers['x-tidegate-cost-micros']), row.cost_micros);
  });

  test('so is one whose client has gone, and one that does not say what it used is booked whole', async () => {
    const gone = await Raw.open(gateway.port);
    const text = JSON.stringify(callOf('chat', 'own-5000001', { limit: ownLimit() }).body);
    gone.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer ${key}\r\nContent-Length: ${text.length}\r\n\r\n${text}`);
    await until('it is at the provider', () => gateway.openHolds() === 1);
    gone.destroy();
    await gateway.booked();
    const left = (await gateway.ledger()).findLast((row) => row.model === 'own-5000001');
    assert.deepEqual([left.usage.input, left.usage.output, left.flags.includes('cut')], [5, 7, false], JSON.stringify(left));

    const answer = await send(gateway, key, callOf('chat', 'own-5000000-mute', { limit: ownLimit() }));
    assertRefusal(answer, 'chat', { status: 502, code: 'answer_too_large', retry: 'false' });
    await gateway.booked();
    const [row] = await gateway.rowsOf(answer.request_id);
    assert.ok(row.cost_micros > 0 && row.flags.includes('cut') && row.usage.output > 7, JSON.stringify(row));
  });

  test('one that does not fit and then breaks off is one attempt that failed', async () => {
    const failures = async () => [...(await numbers(gateway))].filter(([name]) => name.startsWith('attempts_failed')).reduce((sum, [, n]) => sum + n, 0);
    const was = await failures();
    const answer = await send(gateway, key, callOf('chat', 'own-5000000-cut', { limit: ownLimit() }));
    assertRefusal(answer, 'chat', { status: 502, code: 'provider_answer_broken', retry: 'false' });
    await gateway.booked();
    assert.equal(await failures(), was + 1);
  });
});
