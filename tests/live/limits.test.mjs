// Goal: a limit refuses what does not fit, says who hit it, the sums and when it opens, moves no meter, and lets
// wait what only has to wait; the official SDKs do what is meant.
// Method: small budgets and paces, calls that reach them, and the provider's journal of what came through.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

import {
  Gateway,
  Mock,
  SLOW,
  callOf,
  modelsOn,
  ownLimit,
  priced,
  providersOn,
  send,
  sleep,
  until,
} from './harness.mjs';
import { APIS, CODEX, assertRefusal, assertUnheard, modelOf, small } from './refusal.mjs';

let mock;
before(async () => {
  mock = await Mock.start();
});
after(async () => {
  await mock?.stop();
});

describe('a spent budget', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start(mock, {
      plans: { free: {}, tight: {} },
      models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
      limits: {
        'month-spend': {
          counts: 'cost',
          per: 'account',
          window: 'month',
          cap: { default: 'unlimited', plan: { tight: '0.01 USD' } },
        },
      },
    });
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(async () => {
    await mock.models({ 'gpt-live': null, 'claude-live': null });
    await mock.clear();
  });

  /** An account that has used up its cent. */
  async function spender(name) {
    const key = gateway.member(name, '--plan', 'tight');
    await mock.models({ 'claude-live': 'tokens=600' });
    const answer = await send(
      gateway,
      key,
      callOf('messages', 'claude-live', { limit: ownLimit(), stream: true }),
    );
    assert.equal(answer.status, 200, answer.text);
    await gateway.booked();
    await mock.clear();
    return key;
  }

  test('each dialect gets 402, never to be retried, with the sums and the reset', async () => {
    const key = await spender('spent-one');
    for (const api of APIS) {
      const answer = await send(gateway, key, small(api));
      const message = assertRefusal(answer, api, { status: 402, code: 'budget_spent' });
      assert.match(
        message,
        /^Account "spent-one" has spent \$0\.0\d+ of \$0\.01\b.*\(limit "month-spend"\)\./,
      );
      assert.match(
        message,
        /It opens again on \d{4}-\d\d-\d\d \d\d:\d\d UTC\. Ask your operator to raise it\.$/,
      );
      const details = api === 'messages' ? answer.json.error.details : answer.json.error;
      assert.equal(details.limit, 'month-spend');
      assert.equal(details.cap_micros, 10_000);
      assert.ok(Date.parse(details.resets_at) > Date.now());
      assert.equal(
        answer.json.error.type,
        api === 'messages' ? 'billing_error' : 'insufficient_quota',
      );
    }
    await assertUnheard(mock);
  });

  test('codex gets its own form: 429 usage_limit_reached with our sentence as promo message', async () => {
    const key = await spender('spent-codex');
    const answer = await send(gateway, key, small('responses'), { headers: CODEX });
    assertRefusal(answer, 'responses', { status: 429, codex: true, after: null });
    assert.equal(answer.json.error.type, 'usage_limit_reached');
    assert.ok(answer.json.error.resets_at * 1000 > Date.now());
    assert.equal(answer.json.error.plan_type, undefined);
    assert.match(
      answer.headers['x-codex-promo-message'],
      /^Account "spent-codex" has spent .*[^.]$/,
    );
    const chat = await send(gateway, key, small('chat'), { headers: CODEX });
    assert.equal(chat.status, 402, 'that form is for /v1/responses alone');
    await assertUnheard(mock);
  });

  test('the SDKs send exactly one request and show the sentence', async () => {
    const key = await spender('spent-sdk');
    let requests = 0;
    const counted = (url, init) => {
      requests++;
      return fetch(url, init);
    };
    const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key, fetch: counted });
    const anthropic = new Anthropic({ baseURL: gateway.url, apiKey: key, fetch: counted });
    const sentence = /Account "spent-sdk" has spent .* of \$0\.01/;
    const calls = [
      () => openai.chat.completions.create(small('chat').body),
      () => openai.chat.completions.create({ ...small('chat').body, stream: true }),
      () => openai.responses.create(small('responses').body),
      () => openai.responses.create({ ...small('responses').body, stream: true }),
      () => anthropic.messages.create(small('messages').body),
      () => anthropic.messages.stream(small('messages').body).finalMessage(),
    ];
    for (const call of calls) {
      requests = 0;
      await assert.rejects(call, (error) => {
        assert.equal(error.status, 402);
        assert.match(error.message.replaceAll('\\"', '"'), sentence);
        return true;
      });
      assert.equal(requests, 1);
    }
    await assertUnheard(mock);
  });

  test('a call that no window has room for is told that waiting does not help', async () => {
    const key = gateway.member('too-dear', '--plan', 'tight');
    for (const api of APIS) {
      const answer = await send(gateway, key, small(api, { text: 'x'.repeat(40_000) }));
      const message = assertRefusal(answer, api, {
        status: 402,
        code: 'budget_spent',
        after: null,
      });
      assert.match(
        message,
        /; this call needs \$0\.\d+ \(limit "month-spend"\)\. Waiting does not help\. Ask your operator to raise it\.$/,
      );
    }
    await assertUnheard(mock);
  });

  test('an upstream that would want retries changes nothing about it', async () => {
    const key = await spender('spent-retry');
    await mock.models({ 'gpt-live': 'status=500,should_retry=true' });
    const answer = await send(gateway, key, small('chat'));
    assertRefusal(answer, 'chat', { status: 402, code: 'budget_spent' });
  });

  test('a refusal moves no meter and opens no hold', async () => {
    const key = await spender('spent-meter');
    const meters = async () => JSON.stringify((await gateway.admin('/api/admin/limits')).meters);
    const was = await meters();
    assert.match(was, /"account":"spent-meter"/);
    for (let i = 0; i < 5; i++) {
      await send(gateway, key, small('chat'));
    }
    assert.equal(gateway.openHolds(), 0);
    assert.equal(await meters(), was);
  });

  test('counting tokens goes on', async () => {
    const key = await spender('spent-count');
    const call = callOf('messages', 'claude-live');
    const answer = await send(gateway, key, {
      ...call,
      path: '/v1/messages/count_tokens',
      body: { model: 'claude-live', messages: call.body.messages },
    });
    assert.equal(answer.status, 200, answer.text);
    assert.ok(answer.json.input_tokens > 0);
  });

  test('what has little room gets a lower output limit and ends by itself', async () => {
    const key = gateway.member('lowered', '--plan', 'tight');
    await mock.models({ 'gpt-live': 'tokens=5000', 'claude-live': 'tokens=5000' });
    const answer = await send(
      gateway,
      key,
      callOf('chat', 'gpt-live', { limit: 5000, stream: true }),
    );
    assert.equal(answer.status, 200);
    const limit = Number(answer.headers['x-tidegate-output-limit']);
    assert.ok(limit >= 256 && limit < 1000, `limit ${limit}`);
    const journal = await mock.settled();
    assert.equal(journal[0].limit, limit);
    assert.equal(
      answer.events.list.findLast((event) => event.json?.choices?.[0]?.finish_reason).json
        .choices[0].finish_reason,
      'length',
    );
    await gateway.booked();
    const [row] = await gateway.rowsOf(answer.request_id);
    assert.ok(row.flags.includes('lowered'));
    assert.equal(row.cost_micros, priced(journal[0].bill));
    assert.ok(row.cost_micros <= 10_000, 'the cap holds');
  });
});

describe('a budget that is only held', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start(mock, {
      models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
      held_wait: '8s',
      plans: { tight: {}, quick: {} },
      limits: {
        'month-spend': { counts: 'cost', per: 'account', window: 'month', cap: '0.017 USD' },
      },
    });
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(() => mock.clear());

  test('of two calls at once one waits, and passes when the first is settled', async () => {
    const key = gateway.member('two-at-once');
    await mock.models({ 'gpt-live': 'tokens=20,ttft_ms=600' });
    const started = Date.now();
    const answers = await Promise.all(
      [0, 1].map(() => send(gateway, key, callOf('chat', 'gpt-live', { limit: 1000 }))),
    );
    assert.deepEqual(
      answers.map((answer) => answer.status),
      [200, 200],
      answers.map((answer) => answer.text).join(),
    );
    assert.ok(Date.now() - started >= 1200, 'one after the other');
    const journal = await mock.settled();
    assert.ok(journal[1].at_ms >= journal[0].end_ms, 'the provider saw one at a time');
    await gateway.booked();
  });

  test('a stream that waits for long is shown life, and then its answer', async () => {
    const key = gateway.member('patient');
    await mock.models({ 'gpt-live': 'tokens=20,ttft_ms=6200' });
    const first = send(gateway, key, callOf('chat', 'gpt-live', { limit: 1000 }));
    await until('the first is at the provider', async () => (await mock.journal()).length === 1);
    await mock.models({ 'gpt-live': 'tokens=20' });
    const second = await send(
      gateway,
      key,
      callOf('chat', 'gpt-live', { limit: 1000, stream: true }),
    );
    assert.equal((await first).status, 200);
    assert.equal(second.status, 200);
    assert.ok(second.events.comments.includes('tidegate waiting'), second.text.slice(0, 300));
    assert.equal(second.events.text().length, 80);
    assert.ok(second.clean);
    await gateway.booked();
  });

  test('a client that leaves while it waits leaves nothing behind', async () => {
    const key = gateway.member('impatient');
    await mock.models({ 'gpt-live': 'tokens=20,ttft_ms=1500' });
    const first = send(gateway, key, callOf('chat', 'gpt-live', { limit: 1000 }));
    await until('the first is at the provider', async () => (await mock.journal()).length === 1);
    const second = await send(
      gateway,
      key,
      callOf('chat', 'gpt-live', { limit: 1000, stream: true }),
      { limit_ms: 300 },
    );
    assert.ok(second.error, 'it left');
    assert.equal((await first).status, 200);
    await gateway.booked();
    await sleep(200);
    assert.equal((await mock.journal()).length, 1, 'the one that left was never sent');
    assert.equal(gateway.openHolds(), 0);
  });
});

describe('a wait that does not end in time', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start(mock, {
      models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
      held_wait: '300ms',
      limits: {
        'month-spend': { counts: 'cost', per: 'account', window: 'month', cap: '0.017 USD' },
      },
    });
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(() => mock.clear());

  for (const api of APIS) {
    test(`${api}: it ends in 429 with a small retry-after`, async () => {
      const key = gateway.member(`late-${api}`);
      await mock.models({
        'gpt-live': 'tokens=20,ttft_ms=1500',
        'claude-live': 'tokens=20,ttft_ms=1500',
      });
      const first = send(gateway, key, callOf(api, modelOf(api), { limit: 1000 }));
      await until('the first is at the provider', async () => (await mock.journal()).length === 1);
      const started = Date.now();
      const second = await send(gateway, key, callOf(api, modelOf(api), { limit: 1000 }));
      const waited_ms = Date.now() - started;
      const message = assertRefusal(second, api, {
        status: 429,
        code: 'budget_held',
        retry: null,
        after: [1, 5],
      });
      assert.match(message, /calls in flight hold \$0\.0\d+/);
      assert.ok(waited_ms >= 290 && waited_ms < 1200 * SLOW, `waited ${waited_ms} ms`);
      const codex =
        api === 'responses' &&
        (await send(gateway, key, callOf(api, modelOf(api), { limit: 1000 }), { headers: CODEX }));
      if (codex) {
        assertRefusal(codex, api, { status: 429, code: 'budget_held', retry: null, after: [1, 5] });
      }
      assert.equal((await first).status, 200);
      assert.equal((await mock.journal()).length, 1);
      await gateway.booked();
    });
  }

  test('the SDK waits a moment and succeeds', async () => {
    const key = gateway.member('late-sdk');
    await mock.models({ 'gpt-live': 'tokens=20,ttft_ms=900' });
    const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key });
    const first = send(gateway, key, callOf('chat', 'gpt-live', { limit: 1000 }));
    await until('the first is at the provider', async () => (await mock.journal()).length === 1);
    const second = await openai.chat.completions.create(
      callOf('chat', 'gpt-live', { limit: 1000 }).body,
    );
    assert.ok(second.choices[0].message.content);
    assert.equal((await first).status, 200);
    await gateway.booked();
  });
});

describe('streams that share the last of a budget', () => {
  let gateway;
  /* Of our own: 2,000 tokens a second after it was asked, in one piece. */
  const provider = http.createServer((request, response) => {
    const event = (choices, usage = null) =>
      `data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', created: 1, model: 'm', choices, usage })}\n\n`;
    const text = Array.from({ length: 20 }, () => event([{ index: 0, delta: { content: 'word'.repeat(100) }, finish_reason: null }]));
    const end = event([{ index: 0, delta: {}, finish_reason: 'stop' }])
      + event([], { prompt_tokens: 5, completion_tokens: 2000, total_tokens: 2005 });
    request.resume().on('end', () => setTimeout(() => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end(`${text.join('')}${end}data: [DONE]\n\n`);
    }, 1000));
  });
  before(async () => {
    await new Promise((resolve) => provider.listen(0, '127.0.0.1', resolve));
    const providers = providersOn(mock);
    gateway = await Gateway.start(mock, {
      providers: {
        ...providers,
        once: { ...providers.openai, base_url: `http://127.0.0.1:${provider.address().port}/v1` },
      },
      models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic', 'at-once': 'once' }),
      step: 64,
      limits: {
        'month-spend': { counts: 'cost', per: 'account', window: 'month', cap: '0.05 USD' },
      },
    });
  });
  after(async () => {
    await gateway?.stop();
    provider.close();
  });
  beforeEach(() => mock.clear());

  const stops = {
    chat: (events) =>
      events.list.some(({ json }) => json?.choices?.[0]?.finish_reason === 'length') &&
      events.list.at(-1).data === '[DONE]',
    responses: (events) =>
      events.list.at(-1).json.type === 'response.incomplete' &&
      events.list.at(-1).json.response.incomplete_details.reason === 'max_output_tokens',
    messages: (events) =>
      events.list.some(
        ({ json }) => json?.type === 'message_delta' && json.delta.stop_reason === 'max_tokens',
      ) && events.list.at(-1).json.type === 'message_stop',
  };
  for (const api of APIS) {
    test(`${api}: each gets a part, ends as at an output limit, and the cap holds`, async () => {
      const account = `shared-${api}`;
      const key = gateway.member(account);
      await mock.models({ [modelOf(api)]: 'tokens=3000,tps=2500' });
      const limits = [ownLimit() + 3000, ownLimit() + 3000];
      const answers = await Promise.all(
        limits.map((limit) =>
          send(gateway, key, callOf(api, modelOf(api), { limit, stream: true })),
        ),
      );
      assert.deepEqual(
        answers.map((answer) => answer.status),
        [200, 200],
        answers.map((answer) => answer.text.slice(0, 300)).join(),
      );
      const cut = answers.filter((answer) =>
        answer.events.comments.some((text) => /stopped at a spending limit/.test(text)),
      );
      assert.ok(cut.length >= 1, 'the budget is too small for both');
      for (const answer of answers) {
        assert.ok(answer.clean, 'the chunked coding is closed');
        assert.ok(
          stops[api](answer.events) || answer.events.text().length === 12_000,
          answer.text.slice(-700),
        );
      }
      await mock.settled();
      await gateway.booked();
      const rows = (await gateway.ledger({ account })).filter((row) => row.hold);
      const spent = rows.reduce((sum, row) => sum + row.cost_micros, 0);
      assert.ok(spent > 40_000, `the budget was used: ${spent}`);
      /* Beyond it: what a provider that counts fewer bytes a token billed; here at most a slice a stream. */
      assert.ok(spent <= 50_000 + 2 * 2 * 64 * 15, `the cap holds: ${spent}`);
      const received = answers.reduce(
        (sum, answer) => sum + Math.floor(answer.events.text().length / 4),
        0,
      );
      assert.ok(
        rows.reduce((sum, row) => sum + row.usage.output, 0) >= received,
        'nothing was relayed that is not booked',
      );
      const again = await send(
        gateway,
        key,
        callOf(api, modelOf(api), { limit: ownLimit(), stream: true }),
      );
      assertRefusal(again, api, { status: 402, code: 'budget_spent' });
    });
  }

  test('one whose client was there to the end is not told as drained, though its end was read', async () => {
    const key = gateway.member('shared-whole');
    /* When the second answers, all of it in one piece, the first has used most of the room that it began with. */
    await mock.models({ 'claude-live': 'tokens=3000,tps=6000' });
    const first = send(gateway, key, callOf('messages', 'claude-live', { limit: ownLimit() + 3000, stream: true }));
    const answer = await send(gateway, key, callOf('chat', 'at-once', { limit: ownLimit() + 2000, stream: true }));
    assert.equal((await first).status, 200);
    assert.ok(answer.events.comments.some((text) => /stopped at a spending limit/.test(text)), answer.text.slice(-500));
    await gateway.booked();
    const [row] = await gateway.rowsOf(answer.request_id);
    assert.equal(row.usage.output, 2000, 'its end was read');
    assert.deepEqual(row.flags, []);
  });

  test('the SDKs take such an end for an answer that reached its limit', async () => {
    const key = gateway.member('shared-sdk');
    const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key, maxRetries: 0 });
    const anthropic = new Anthropic({ baseURL: gateway.url, apiKey: key, maxRetries: 0 });
    await mock.models({
      'gpt-live': 'tokens=3000,tps=2500',
      'claude-live': 'tokens=3000,tps=2500',
    });
    const [chat, response, message] = await Promise.all([
      openai.chat.completions
        .stream({
          ...callOf('chat', 'gpt-live', { limit: 3100 }).body,
          stream_options: { include_usage: true },
        })
        .finalChatCompletion()
        .catch((error) => error),
      (async () => {
        let last;
        for await (const event of await openai.responses.create({
          ...callOf('responses', 'gpt-live', { limit: 3200 }).body,
          stream: true,
        })) {
          last = event;
        }
        return last.response;
      })(),
      anthropic.messages
        .stream(callOf('messages', 'claude-live', { limit: 3300 }).body)
        .finalMessage(),
    ]);
    /* The OpenAI SDK's helper raises an error of its own where an answer ends for its length. */
    assert.ok(
      chat.choices?.[0].finish_reason === 'length' || /length/.test(chat.message),
      String(chat.message ?? JSON.stringify(chat)),
    );
    assert.equal(response.status, 'incomplete');
    assert.equal(message.stop_reason, 'max_tokens');
    assert.ok(message.usage.output_tokens > 0);
    await gateway.booked();
  });
});

describe('limits of pace and number', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start(mock, {
      models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic', 'gpt-one': 'openai' }),
      limits: {
        'a-minute': { counts: 'requests', per: 'key', window: { rate: '30/min', burst: 2 } },
        parallel: { counts: 'in_flight', per: 'account', cap: 1, of: { model: 'gpt-one' } },
        everyone: { counts: 'in_flight', per: 'gateway', cap: 40 },
      },
    });
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(async () => {
    await mock.models({ 'gpt-live': null, 'claude-live': null, 'gpt-one': null });
    await mock.clear();
  });

  for (const api of APIS) {
    test(`FF-91 ${api}: too many requests get 429 with a whole number of seconds and no x-should-retry`, async () => {
      const key = gateway.member(`hasty-${api}`);
      for (let i = 0; i < 2; i++) {
        assert.equal((await send(gateway, key, small(api))).status, 200);
      }
      await mock.settled();
      await mock.clear();
      const answer = await send(gateway, key, small(api));
      const message = assertRefusal(answer, api, {
        status: 429,
        code: 'rate_limited',
        retry: null,
        after: [1, 2],
      });
      assert.match(
        message,
        /This key of account "hasty-.*" has used 2 of 2 requests that its rate allows at once \(limit "a-minute"\)\. Try again in [12] s\./,
      );
      assert.equal(
        answer.json.error.type,
        api === 'messages' ? 'rate_limit_error' : 'rate_limit_exceeded',
      );
      if (api === 'responses') {
        const codex = await send(gateway, key, small(api), { headers: CODEX });
        assertRefusal(codex, api, {
          status: 429,
          code: 'rate_limited',
          retry: null,
          after: [1, 2],
        });
      }
      await assertUnheard(mock);
    });
  }

  test('the SDKs wait as long as they are told, and succeed', async () => {
    const key = gateway.member('hasty-sdk');
    const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key });
    const anthropic = new Anthropic({ baseURL: gateway.url, apiKey: key });
    const started = Date.now();
    for (let i = 0; i < 2; i++) {
      await openai.chat.completions.create(small('chat').body);
    }
    const done = await anthropic.messages.create(small('messages').body);
    assert.ok(done.content[0].text);
    assert.ok(Date.now() - started >= 900, 'it waited');
    assert.equal((await mock.settled()).length, 3);
  });

  test('FF-98 calls in flight over their number get 429 until one ends', async () => {
    const key = gateway.member('parallel');
    const second_key = gateway.addKey('parallel').secret;
    await mock.models({ 'gpt-one': 'tokens=20,ttft_ms=800' });
    const first = send(gateway, key, callOf('chat', 'gpt-one', { limit: ownLimit() }));
    await until('the first is at the provider', async () => (await mock.journal()).length === 1);
    const second = await send(
      gateway,
      second_key,
      callOf('chat', 'gpt-one', { limit: ownLimit() }),
    );
    assertRefusal(second, 'chat', {
      status: 429,
      code: 'in_flight_full',
      retry: null,
      after: [1, 5],
      words: /has 1 of 1 calls in flight/,
    });
    assert.equal((await first).status, 200);
    await gateway.booked();
    const third = await send(gateway, second_key, callOf('chat', 'gpt-one', { limit: ownLimit() }));
    assert.equal(third.status, 200);
    await gateway.booked();
  });

  test('a burst of counted tokens trips no limit of requests', async () => {
    const key = gateway.member('counter');
    const call = { ...callOf('messages', 'claude-live'), path: '/v1/messages/count_tokens' };
    const answers = await Promise.all(Array.from({ length: 12 }, () => send(gateway, key, call)));
    assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [200]);
  });
});

describe('a tree of threads', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start(mock, {
      models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
      limits: {
        'chat-lifetime': {
          counts: 'cost',
          per: 'thread_tree',
          window: 'lifetime',
          cap: '0.01 USD',
        },
      },
    });
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(() => mock.clear());

  test('the whole tree is refused once it has spent its lifetime, and no other', async () => {
    const key = gateway.member('forester');
    const from = (thread, parent) => ({
      'x-tidegate-thread': thread,
      ...(parent ? { 'x-tidegate-parent': parent } : {}),
    });
    await mock.models({ 'gpt-live': 'tokens=20', 'claude-live': 'tokens=300' });
    assert.equal((await send(gateway, key, small('chat'), { headers: from('root') })).status, 200);
    await gateway.booked();
    for (const [thread, parent] of [
      ['child', 'root'],
      ['grandchild', 'child'],
    ]) {
      const answer = await send(gateway, key, small('messages', { stream: true }), {
        headers: from(thread, parent),
      });
      assert.equal(answer.status, 200, answer.text);
      await gateway.booked();
    }
    await mock.clear();
    for (const [thread, parent] of [
      ['root'],
      ['child', 'root'],
      ['child'],
      ['new-leaf', 'grandchild'],
    ]) {
      for (const api of APIS) {
        const answer = await send(gateway, key, small(api), { headers: from(thread, parent) });
        const message = assertRefusal(answer, api, {
          status: 402,
          code: 'budget_spent',
          after: null,
        });
        assert.match(
          message,
          /^This thread with all under it has spent \$0\.0\d+ of \$0\.01\b.*\(limit "chat-lifetime"\)\. It does not reset by itself\./,
        );
      }
    }
    await assertUnheard(mock);
    assert.equal(
      (await send(gateway, key, small('chat'), { headers: from('another') })).status,
      200,
    );
    assert.equal(
      (await send(gateway, gateway.member('neighbour'), small('chat'), { headers: from('root') }))
        .status,
      200,
      'names are scoped to the account',
    );
    await gateway.booked();
  });

  test('threads are recognised by what clients send', async () => {
    const key = gateway.member('many-clients');
    await mock.models({ 'gpt-live': 'tokens=5', 'claude-live': 'tokens=5' });
    const threadOf = async (api, headers, more) => {
      const answer = await send(gateway, key, small(api, { more }), { headers });
      assert.equal(answer.status, 200, answer.text);
      await gateway.booked();
      return (await gateway.rowsOf(answer.request_id))[0].thread;
    };
    const session = (id) => ({
      metadata: { user_id: JSON.stringify({ device_id: 'd', account_uuid: '', session_id: id }) },
    });
    const seen = new Set();
    for (const [api, headers, more] of [
      ['messages', { 'x-claude-code-session-id': 'one' }, {}],
      ['messages', {}, session('two')],
      ['responses', { 'thread-id': 'three' }, {}],
      ['responses', { 'session-id': 'four' }, {}],
      ['chat', { 'x-session-id': 'five' }, {}],
      ['responses', {}, { prompt_cache_key: 'six' }],
      ['chat', {}, {}],
    ]) {
      const thread = await threadOf(api, headers, more);
      assert.equal(await threadOf(api, headers, more), thread, 'again the same thread');
      assert.ok(!seen.has(thread), 'unlike any other');
      seen.add(thread);
    }
  });
});
