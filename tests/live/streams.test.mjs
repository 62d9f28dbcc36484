// Goal: a stream ends cleanly for its client and truly in the books, whoever breaks it off.
// Method: clients that leave and providers that break, in each dialect; the provider's journal tells
// when it was left, and what it would bill.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import {
  ASAN,
  Gateway,
  Mock,
  SLOW,
  ask,
  booksOf,
  callOf,
  modelsOn,
  ownLimit,
  priced,
  send,
  sleep,
  until,
} from './harness.mjs';
import { anthropicOf, openaiOf } from './sdks.mjs';

let mock;
let gateway;
let key;
let openai;
let anthropic;

before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: {
      ...modelsOn({
        'gpt-live': 'openai',
        'claude-live': 'anthropic',
        'gpt-bills': 'bills-openai',
        'claude-bills': 'bills-anthropic',
      }),
      ...modelsOn({ 'gpt-endless': 'openai' }, { max_output: 10_000_000 }),
    },
    limits: {
      'month-spend': { counts: 'cost', per: 'account', window: 'month', cap: '1000 USD' },
      'tree-spend': { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: '1000 USD' },
      'a-minute': { counts: 'requests', per: 'key', window: { rate: '60000/min', burst: 60000 } },
      parallel: { counts: 'in_flight', per: 'account', cap: 500 },
    },
  });
  key = gateway.member('ada');
  openai = openaiOf(gateway, key);
  anthropic = anthropicOf(gateway, key);
});

after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

beforeEach(async () => {
  await mock.clear();
  await mock.models({
    'gpt-live': null,
    'claude-live': null,
    'gpt-bills': null,
    'claude-bills': null,
  });
});

const ABORT_MS = ASAN ? 1500 : 300;

/** How tokens are counted at the client: the mock writes four bytes a token. */
const tokensOf = (text) => Math.floor(Buffer.byteLength(text) / 4);

describe('a client that leaves amid a stream', () => {
  const cases = [
    ['chat', 'gpt-live', 'stops'],
    ['responses', 'gpt-live', 'stops'],
    ['messages', 'claude-live', 'stops'],
    ['chat', 'gpt-bills', 'bills_all'],
    ['messages', 'claude-bills', 'bills_all'],
  ];
  for (const [api, model, on_abort] of cases) {
    test(`FF-56 FF-65 FF-66 ${api}, ${on_abort}: ${on_abort === 'stops' ? 'the provider is left within 300 ms' : 'the answer is read on to its end'}, and it is booked`, async () => {
      const all = on_abort === 'stops' ? 4000 : 250;
      await mock.models({
        [model]: `tokens=${all},tps=100${on_abort === 'stops' ? '' : ',bill_after_cut=1'}`,
      });
      const limit = ownLimit() + 4000;
      const call = callOf(api, model, { limit });
      let text = '';
      if (api === 'messages') {
        const stream = anthropic.messages.stream(call.body);
        for await (const event of stream) {
          text += event.delta?.text ?? '';
          if (text.length > 100) {
            break; /* the SDK closes the connection */
          }
        }
      } else {
        const stream = await (api === 'chat' ? openai.chat.completions : openai.responses).create({
          ...call.body,
          stream: true,
        });
        for await (const event of stream) {
          text +=
            event.choices?.[0]?.delta?.content ??
            (event.type === 'response.output_text.delta' ? event.delta : '');
          if (text.length > 100) {
            break;
          }
        }
      }
      const left_ms = Date.now();
      const journal = await mock.settled(10_000 * SLOW);
      await gateway.booked();
      const [entry] = journal;
      const { rows } = await booksOf(gateway, mock, new Map([[limit, tokensOf(text)]]));
      assert.equal(rows.length, 1);
      assert.ok(rows[0].flags.includes('client_gone'), `flags: ${rows[0].flags}`);
      if (on_abort === 'stops') {
        assert.ok(entry.gone, 'the provider saw us go');
        assert.ok(entry.end_ms - left_ms <= ABORT_MS, `after ${entry.end_ms - left_ms} ms`);
        assert.ok(
          rows[0].flags.includes('estimated') && rows[0].flags.includes('cut'),
          `flags: ${rows[0].flags}`,
        );
      } else {
        assert.ok(entry.finished, 'it was read to its end');
        assert.ok(rows[0].flags.includes('drained'), `flags: ${rows[0].flags}`);
        assert.equal(rows[0].cost_micros, priced(entry.bill));
      }
    });
  }

  test('FF-63 before the first byte: the provider is left and the call is booked', async () => {
    await mock.models({ 'gpt-live': 'tokens=20,ttft_ms=5000' });
    const controller = new AbortController();
    const limit = ownLimit();
    const asked = openai.chat.completions.create(
      callOf('chat', 'gpt-live', { limit, stream: true }).body,
      { signal: controller.signal },
    );
    await until('the provider has the call', async () => (await mock.journal()).length === 1);
    controller.abort();
    const left_ms = Date.now();
    await assert.rejects(asked);
    const [entry] = await mock.settled(4000 * SLOW);
    assert.ok(
      entry.gone && entry.end_ms - left_ms <= ABORT_MS,
      `after ${entry.end_ms - left_ms} ms`,
    );
    await booksOf(gateway, mock, new Map([[limit, 0]]));
  });

  test('FF-57 before a whole answer: the provider is left and the call is booked', async () => {
    await mock.models({ 'claude-live': 'tokens=500,tps=100' });
    const limit = ownLimit();
    const controller = new AbortController();
    const asked = anthropic.messages.create(callOf('messages', 'claude-live', { limit }).body, {
      signal: controller.signal,
    });
    await until('the provider has the call', async () => (await mock.journal()).length === 1);
    await sleep(200);
    controller.abort();
    await assert.rejects(asked);
    const { rows } = await booksOf(gateway, mock, new Map([[limit, 0]]));
    assert.ok(rows[0].flags.includes('client_gone'));
  });

  test('a client that reads nothing holds the provider back, and its end is seen', async () => {
    await mock.models({ 'gpt-endless': 'tokens=2000000,bpt=64,per_event=50' });
    const limit = 2_000_000;
    let seen = 0;
    const answer = ask(`${gateway.url}/v1/chat/completions`, {
      key,
      body: callOf('chat', 'gpt-endless', { limit, stream: true }).body,
      onEvent: (_, request) => {
        if (seen++ === 0) {
          request.socket.pause();
        }
      },
      limit_ms: 4000,
    });
    await sleep(1500);
    const [entry] = await mock.journal();
    assert.ok(entry.open, 'the answer is not told to its end');
    assert.ok(
      entry.written_tokens < limit / 2,
      `back-pressure reached the provider (${entry.written_tokens} tokens)`,
    );
    await answer;
    await booksOf(gateway, mock);
  });
});

describe('an upstream that breaks off', () => {
  const cases = [
    ['cut', 'cut_after=15'],
    ['cut within an event', 'cut_after=15,torn=1'],
    ['ended without its last event', 'end_after=15'],
  ];
  for (const [how, words] of cases) {
    for (const [api, model] of [
      ['chat', 'gpt-live'],
      ['responses', 'gpt-live'],
      ['messages', 'claude-live'],
    ]) {
      test(`${api}, ${how}: the client gets an error event and a closed body`, async () => {
        await mock.models({ [model]: `tokens=80,tps=1000,${words}` });
        const limit = ownLimit();
        const answer = await send(gateway, key, callOf(api, model, { limit, stream: true }));
        assert.equal(answer.status, 200);
        assert.ok(answer.clean, 'the chunked coding is closed');
        const last = answer.events.list.at(-1);
        if (api === 'chat') {
          const error = answer.events.list.find((event) => event.json?.error)?.json.error;
          assert.match(error.message, /broke off/);
        } else if (api === 'responses') {
          assert.equal(last.json.type, 'response.failed');
          assert.match(last.json.response.error.message, /broke off/);
        } else {
          assert.equal(last.name, 'error');
          assert.match(last.json.error.message, /broke off/);
        }
        const { rows } = await booksOf(
          gateway,
          mock,
          new Map([[limit, tokensOf(answer.events.text())]]),
        );
        assert.ok(rows[0].flags.includes('cut'), `flags: ${rows[0].flags}`);
      });
    }
  }

  test('the SDKs raise an error that says so', async () => {
    await mock.models({
      'gpt-live': 'tokens=80,cut_after=10',
      'claude-live': 'tokens=80,cut_after=10',
    });
    await assert.rejects(async () => {
      const stream = await openai.chat.completions.create({
        ...callOf('chat', 'gpt-live', { limit: ownLimit() }).body,
        stream: true,
      });
      for await (const chunk of stream) {
        assert.ok(chunk);
      }
    }, /broke off/);
    await assert.rejects(async () => {
      await anthropic.messages
        .stream(callOf('messages', 'claude-live', { limit: ownLimit() }).body)
        .finalMessage();
    }, /broke off/);
    await booksOf(gateway, mock);
  });

  test('an error event of the provider passes on and is booked', async () => {
    for (const [api, model] of [
      ['chat', 'gpt-live'],
      ['responses', 'gpt-live'],
      ['messages', 'claude-live'],
    ]) {
      await mock.models({ [model]: 'tokens=80,error_after=12' });
      const limit = ownLimit();
      const answer = await send(gateway, key, callOf(api, model, { limit, stream: true }));
      assert.ok(answer.clean);
      assert.ok(/error|failed/.test(answer.text), answer.text.slice(-300));
      assert.ok(!/broke off/.test(answer.text), 'the provider ended it, not we');
    }
    await booksOf(gateway, mock);
  });

  test('a whole answer that is cut is a 502 in the dialect of the client', async () => {
    for (const [api, model] of [
      ['chat', 'gpt-live'],
      ['messages', 'claude-live'],
    ]) {
      await mock.models({ [model]: 'tokens=80,cut_after=40' });
      const answer = await send(gateway, key, callOf(api, model, { limit: ownLimit() }));
      assert.equal(answer.status, 502, answer.text);
      assert.equal(answer.headers['x-should-retry'], 'false');
      assert.match(answer.json.error.message, /broke off/);
    }
    await booksOf(gateway, mock);
  });
});
