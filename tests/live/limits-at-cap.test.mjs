// Goal: what a limit does at its cap is what its line says: refuse after a wait in order of arrival, go on with
// another model or provider, or only look on.
// Method: caps of one or two calls, more calls than that, and what the provider saw of them, in which order.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

import { Gateway, Mock, SLOW, callOf, modelsOn, providersOn, send, sleep, until } from './harness.mjs';
import { APIS, assertRefusal, assertUnheard } from './refusal.mjs';

let mock;
let gateway;
let serial = 0;

const newcomer = () => gateway.member(`user-${++serial}`);

before(async () => {
  mock = await Mock.start();
  const providers = providersOn(mock);
  const both = (model, upstream = model) => [['openai', upstream], ['second', upstream]];
  gateway = await Gateway.start(mock, {
    providers,
    models: {
      ...modelsOn({
        'gpt-paced': 'openai', 'gpt-parallel': 'openai', 'gpt-brief': 'openai', 'gpt-rolling': 'openai', 'gpt-pause': 'openai',
        'gpt-shadow': 'openai', 'gpt-warn': 'openai', 'claude-parallel': 'anthropic', 'gpt-mixed': 'openai', 'gpt-slow': 'openai',
      }, { tier: 'free' }),
      ...modelsOn({ 'gpt-big': 'openai', 'claude-big': 'anthropic' }, { tier: 'premium' }),
      ...modelsOn({ 'gpt-small': 'openai', 'claude-small': 'anthropic' }, { tier: 'free' }),
      ...modelsOn({ 'gpt-two-ways': both('gpt-two-ways') }, { tier: 'free' }),
    },
    input_estimate: 'bytes',
    held_wait: '300ms',
    limits: {
      paced: {
        counts: 'requests', per: 'account', window: { rate: '150/min', burst: 1 }, of: { model: 'gpt-paced' }, at_cap: { queue: '6s' },
      },
      parallel: { counts: 'in_flight', per: 'account', cap: 1, of: { model: 'gpt-parallel' }, at_cap: { queue: '12s' } },
      'parallel-claude': { counts: 'in_flight', per: 'account', cap: 1, of: { model: 'claude-parallel' }, at_cap: { queue: '12s' } },
      slow: { counts: 'requests', per: 'account', window: { rate: '6/min', burst: 1 }, of: { model: 'gpt-slow' }, at_cap: { queue: '2s' } },
      brief: { counts: 'in_flight', per: 'account', cap: 1, of: { model: 'gpt-brief' }, at_cap: { queue: '400ms' } },
      rolling: { counts: 'requests', per: 'account', window: '2s rolling', cap: 2, of: { model: 'gpt-rolling' }, at_cap: { queue: '5s' } },
      'mixed-parallel': { counts: 'in_flight', per: 'account', cap: 1, of: { model: 'gpt-mixed' }, at_cap: { queue: '1500ms' } },
      'mixed-rate': { counts: 'requests', per: 'account', window: { rate: '2/h', burst: 2 }, of: { model: 'gpt-mixed' } },
      paused: { counts: 'cost', per: 'account', window: 'day', cap: '0.0001 USD', of: { model: 'gpt-pause' }, at_cap: 'pause' },
      'big-chat': { counts: 'requests', per: 'account', window: 'day', cap: 2, of: { model: 'gpt-big' }, at_cap: { downgrade: 'gpt-small' } },
      'big-claude': { counts: 'requests', per: 'account', window: 'day', cap: 1, of: { model: 'claude-big' }, at_cap: { downgrade: 'claude-small' } },
      'small-chat': { counts: 'requests', per: 'account', window: 'day', cap: 3, of: { model: 'gpt-small' } },
      first: { counts: 'in_flight', per: 'gateway', cap: 1, of: { provider: 'openai', model: 'gpt-two-ways' }, at_cap: { reroute: 'second' } },
      looked: { counts: 'cost', per: 'account', window: 'day', cap: '0.0001 USD', of: { model: 'gpt-shadow' }, at_cap: 'shadow' },
      'looked-count': { counts: 'requests', per: 'account', window: { rate: '1/h', burst: 1 }, of: { model: 'gpt-shadow' }, at_cap: 'shadow' },
      warned: { counts: 'cost', per: 'account', window: 'day', cap: '0.0001 USD', of: { model: 'gpt-warn' }, at_cap: 'warn', warn: [50, 100] },
    },
  });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});
beforeEach(async () => {
  await mock.configure({ default: 'tokens=10' });
  await mock.clear();
});

const call = (model, text = 'hello', more = {}) => callOf(model.startsWith('claude') ? 'messages' : 'chat', model, { limit: 50, text, ...more });
const textsSeen = async () => (await mock.journal()).map((entry) => JSON.parse(entry.body).messages[0].content);

/** Starts calls one after the other, each when the one before it is at the gate; gives their promises. */
async function startInOrder(key, model, count, options) {
  const promises = [];
  for (let i = 0; i < count; i++) {
    promises.push(send(gateway, key, call(model, `call ${i}`, options)));
    await sleep(40);
  }
  return promises;
}

describe('queue', () => {
  test('a rate lets waiting calls through one by one, as time makes room, in the order they came', async () => {
    const key = newcomer();
    const answers = await Promise.all(await startInOrder(key, 'gpt-paced', 5));
    assert.deepEqual(answers.map((answer) => answer.status), Array(5).fill(200), answers.map((answer) => answer.text).join());
    assert.deepEqual(await textsSeen(), [0, 1, 2, 3, 4].map((i) => `call ${i}`));
    const at_ms = (await mock.journal()).map((entry) => entry.at_ms);
    for (let i = 1; i < at_ms.length; i++) {
      assert.ok(at_ms[i] - at_ms[0] >= 400 * i - 20, `not faster than the rate: ${at_ms.map((at) => at - at_ms[0])}`);
    }
    await gateway.booked();
  });

  test('who comes when there is room again waits behind those who came before', async () => {
    const key = newcomer();
    const first = await startInOrder(key, 'gpt-paced', 4);
    await sleep(430 - 4 * 40); /* just when one more has got its turn */
    const late = send(gateway, key, call('gpt-paced', 'late'));
    const answers = await Promise.all([...first, late]);
    assert.deepEqual(answers.map((answer) => answer.status), Array(5).fill(200), answers.map((answer) => answer.text).join());
    assert.equal((await textsSeen()).at(-1), 'late');
    await gateway.booked();
  });

  test('a rolling window opens when what fills it is older than the window', async () => {
    const key = newcomer();
    const began = Date.now();
    const answers = await Promise.all(await startInOrder(key, 'gpt-rolling', 4));
    assert.deepEqual(answers.map((answer) => answer.status), Array(4).fill(200), answers.map((answer) => answer.text).join());
    assert.ok(Date.now() - began >= 2000, 'the last two have waited for the first two');
    assert.deepEqual(await textsSeen(), [0, 1, 2, 3].map((i) => `call ${i}`));
    const at_ms = (await mock.journal()).map((entry) => entry.at_ms);
    assert.ok(at_ms[2] - at_ms[0] >= 1980 && at_ms[3] - at_ms[1] >= 1980, `${at_ms}`);
    await gateway.booked();
  });

  test('in flight: each waits for the release of the one before, streamed or not, and one that leaves is passed over', async () => {
    const key = newcomer();
    await mock.models({ 'gpt-parallel': 'tokens=10,ttft_ms=200' });
    const first = await startInOrder(key, 'gpt-parallel', 2);
    const leaves = send(gateway, key, call('gpt-parallel', 'leaves'), { limit_ms: 150 });
    await sleep(40);
    const streams = await startInOrder(key, 'gpt-parallel', 2, { stream: true });
    const answers = await Promise.all([...first, ...streams]);
    assert.ok((await leaves).error);
    assert.deepEqual(answers.map((answer) => answer.status), Array(4).fill(200), answers.map((answer) => answer.text).join());
    assert.deepEqual(await textsSeen(), ['call 0', 'call 1', 'call 0', 'call 1']);
    const journal = await mock.settled();
    for (let i = 1; i < journal.length; i++) {
      assert.ok(journal[i].at_ms >= journal[i - 1].end_ms, 'one at a time');
    }
    await gateway.booked();
  });

  test('who waits long: a stream is shown life, a whole answer is late, and SDKs of both dialects take it', async () => {
    const key = newcomer();
    const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key, maxRetries: 0 });
    const anthropic = new Anthropic({ baseURL: gateway.url, apiKey: key, maxRetries: 0 });
    const slow = 'tokens=10,ttft_ms=5600';
    await mock.models({ 'gpt-parallel': slow, 'claude-parallel': slow });
    const holders = ['gpt-parallel', 'claude-parallel'].map((model) => send(gateway, key, call(model)));
    await until('both are at the provider', async () => (await mock.journal()).length === 2);
    await mock.models({ 'gpt-parallel': 'tokens=10', 'claude-parallel': 'tokens=10' });
    const whole = send(gateway, key, call('gpt-parallel'));
    const streamed = send(gateway, key, call('gpt-parallel', 'hello', { stream: true }));
    const message = anthropic.messages.stream(call('claude-parallel').body).finalMessage();
    const chat = (async () => {
      let text = '';
      for await (const event of await openai.chat.completions.create(call('gpt-parallel', 'hello', { stream: true }).body)) {
        text += event.choices[0]?.delta?.content ?? '';
      }
      return text;
    })();
    assert.deepEqual((await Promise.all(holders)).map((answer) => answer.status), [200, 200]);
    assert.equal((await whole).status, 200);
    const answer = await streamed;
    assert.equal(answer.status, 200);
    assert.ok(answer.events.comments.includes('tidegate waiting'), answer.text.slice(0, 300));
    assert.ok(answer.clean && answer.events.text().length === 40);
    assert.equal((await message).stop_reason, 'end_turn');
    assert.equal((await chat).length, 40);
    await gateway.booked();
  });

  test('at its deadline it is refused with its first reason', async () => {
    const key = newcomer();
    await mock.models({ 'gpt-brief': 'tokens=10,ttft_ms=1500' });
    const first = send(gateway, key, call('gpt-brief'));
    await until('the first is at the provider', async () => (await mock.journal()).length === 1);
    const started = Date.now();
    const second = await send(gateway, key, call('gpt-brief'));
    const waited_ms = Date.now() - started;
    assertRefusal(second, 'chat', { status: 429, code: 'in_flight_full', retry: null, after: [1, 2], words: /\(limit "brief"\)/ });
    assert.ok(waited_ms >= 390 && waited_ms < 1400 * SLOW, `waited ${waited_ms} ms`);
    assert.equal((await first).status, 200);
    await gateway.booked();
  });

  test('one that another limit blocks when its turn comes is refused by that', async () => {
    const key = newcomer();
    await mock.models({ 'gpt-mixed': 'tokens=10,ttft_ms=300' });
    const answers = await Promise.all(await startInOrder(key, 'gpt-mixed', 3));
    assert.deepEqual(answers.map((answer) => answer.status), [200, 200, 402]);
    assertRefusal(answers[2], 'chat', { status: 402, code: 'rate_limited', words: /\(limit "mixed-rate"\)/ });
    await gateway.booked();
  });

  test('what time makes room for too late is refused at once', async () => {
    const key = newcomer();
    assert.equal((await send(gateway, key, call('gpt-slow'))).status, 200);
    const started = Date.now();
    const late = await send(gateway, key, call('gpt-slow'));
    assertRefusal(late, 'chat', { status: 429, code: 'rate_limited', retry: null, after: [9, 10], words: /\(limit "slow"\)/ });
    assert.ok(Date.now() - started < 1500 * SLOW, 'without the wait of two seconds');
    await gateway.booked();
  });
});

test('pause refuses new work, and says when it goes on', async () => {
  const key = newcomer();
  const answer = await send(gateway, key, call('gpt-pause'));
  assertRefusal(answer, 'chat', { status: 402, code: 'budget_spent' });
  await assertUnheard(mock);
});

describe('something else instead', () => {
  test('downgrade: the answer names the model that made it, and the books what it stands for', async () => {
    const key = newcomer();
    const models = [];
    for (let i = 0; i < 5; i++) {
      const answer = await send(gateway, key, call('gpt-big', 'hello', { stream: i % 2 === 1 }));
      assert.equal(answer.status, 200, answer.text);
      await gateway.booked();
      models.push(answer.headers['x-tidegate-model']);
      const [row] = await gateway.rowsOf(answer.request_id);
      const expected = i < 2 ? ['gpt-big', undefined, undefined] : ['gpt-small', 'gpt-big', 'big-chat'];
      assert.deepEqual([row.model, row.inputs.substitute_for, row.inputs.substituted_by], expected);
    }
    assert.deepEqual(models.slice(2), Array(3).fill('gpt-small'));
    assert.ok(models.slice(0, 2).every((model) => model === undefined || model === 'gpt-big'), `${models}`);
    assert.deepEqual((await mock.journal()).map((entry) => JSON.parse(entry.body).model), ['gpt-big', 'gpt-big', ...Array(3).fill('gpt-small')]);
    /* The other is at its cap too: the first refusal is told, and nothing was counted twice. */
    const last = await send(gateway, key, call('gpt-big'));
    assertRefusal(last, 'chat', { status: 402, code: 'rate_limited', words: /\(limit "big-chat"\)/ });
    const { meters } = await gateway.admin('/api/admin/limits');
    const used = (limit) => meters.find((meter) => meter.limit === limit && meter.account === `user-${serial}`).used;
    assert.deepEqual([used('big-chat'), used('small-chat')], [2, 3]);
  });

  test('both SDKs read from the answer which model made it', async () => {
    const key = newcomer();
    const anthropic = new Anthropic({ baseURL: gateway.url, apiKey: key, maxRetries: 0 });
    await anthropic.messages.create(call('claude-big').body);
    const { data, response } = await anthropic.messages.create(call('claude-big').body).withResponse();
    assert.equal(response.headers.get('x-tidegate-model'), 'claude-small');
    assert.equal(data.model, 'claude-small');
    await gateway.booked();
  });

  test('reroute: the other provider serves what the first has no room for', async () => {
    const key = newcomer();
    await mock.models({ 'gpt-two-ways': 'tokens=10,ttft_ms=600' });
    const answers = await Promise.all([0, 1, 2].map(() => send(gateway, key, call('gpt-two-ways'))));
    assert.deepEqual(answers.map((answer) => answer.status), [200, 200, 200]);
    await gateway.booked();
    const rows = await Promise.all(answers.map(async (answer) => (await gateway.rowsOf(answer.request_id))[0]));
    assert.deepEqual(rows.map((row) => row.provider).sort(), ['openai', 'second', 'second']);
    assert.ok(rows.every((row) => row.model === 'gpt-two-ways'));
    assert.equal(new Set((await mock.journal()).map((entry) => entry.credential.value)).size, 2, JSON.stringify((await mock.journal()).map((entry) => entry.credential)));
  });
});

describe('limits that only look on', () => {
  for (const [mode, model, limit] of [['shadow', 'gpt-shadow', 'looked'], ['warn', 'gpt-warn', 'warned']]) {
    test(`${mode}: calls pass whole, and are counted`, async () => {
      const account = (newcomer(), `user-${serial}`);
      const key = gateway.addKey(account).secret;
      for (let i = 0; i < 3; i++) {
        const answer = await send(gateway, key, callOf('chat', model, { limit: 5000, stream: i === 2 }));
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.headers['x-tidegate-output-limit'], undefined, 'nothing is lowered');
        await gateway.booked();
      }
      const { meters } = await gateway.admin('/api/admin/limits');
      const meter = meters.find((one) => one.limit === limit && one.account === account);
      assert.ok(meter.used > meter.cap && meter.held === 0, JSON.stringify(meter));
    });
  }
});

describe('bad input', () => {
  for (const [what, headers, status] of [
    ['an organisation from a key that may not say one', { 'x-tidegate-organisation': 'acme' }, 200],
    ['an organisation that is empty', { 'x-tidegate-organisation': '' }, 200],
    ['an organisation longer than names are', { 'x-tidegate-organisation': 'x'.repeat(5000) }, 200],
    ['an end user of the key of nobody else', { 'x-tidegate-account': 'somebody' }, 200],
    ['a parent that nobody knows', { 'x-tidegate-parent': 'never-heard-of' }, 404],
  ]) {
    test(`${what}: ${status}`, async () => {
      const answer = await send(gateway, newcomer(), call('gpt-paced'), { headers });
      assert.equal(answer.status, status, answer.text);
      await gateway.booked();
    });
  }
});
