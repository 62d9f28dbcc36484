// Goal: `input_estimate: counted`: a call that an estimate of its input does not let in is counted by its provider,
// free of charge, and judged by that; where it cannot be counted, the estimate rules.
// Method: long bodies that the provider says are few tokens, a small budget, and the provider's journal.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';

import { Gateway, Mock, callOf, modelsOn, numbers, ownLimit, priced, send, sleep, until } from './harness.mjs';
import { assertRefusal } from './refusal.mjs';

const LONG = 'a sentence that is written once more. '.repeat(1500); // 57 KB: estimated at 19,000 tokens and more

let mock;
let gateway;

before(async () => {
  mock = await Mock.start();
  const configured = (hold) => ({ counts: 'cost', per: 'account', window: 'month', cap: '0.02 USD', hold });
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'claude-live': [['anthropic', 'claude-upstream']], 'gpt-live': 'openai', 'claude-strict': 'anthropic' }),
    input_estimate: 'counted',
    held_wait: '3s',
    limits: {
      month: { ...configured('stream'), of: { model: 'claude-live' } },
      'month-chat': { ...configured('stream'), of: { model: 'gpt-live' } },
      'month-strict': { ...configured('strict'), of: { model: 'claude-strict' } },
    },
  });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});
beforeEach(async () => {
  await mock.models({ 'claude-upstream': 'tokens=20,input=500', 'claude-strict': 'tokens=20,input=500', 'gpt-live': 'tokens=20,input=500' });
  await mock.clear();
});

const long = (model = 'claude-live', more = {}) => callOf('messages', model, { limit: ownLimit(), text: LONG, ...more });
const counts = async () => (await mock.journal()).filter((entry) => entry.path.includes('/count_tokens'));
const calls = async () => (await mock.journal()).filter((entry) => !entry.path.includes('/count_tokens'));
const decisionsOf = async (account) =>
  (await gateway.ledger({ account })).filter((row) => row.hold || row.kind === 'refusal');

describe('a count', () => {
  for (const [model, stream] of [['claude-live', false], ['claude-live', true], ['claude-strict', true]]) {
    test(`lets a call pass that an estimate would not: ${model}${stream ? ', streamed' : ''}`, async () => {
      const account = `counted-${model}-${stream}`;
      const key = gateway.member(account);
      const more = {
        stream,
        more: {
          system: 'Be "brief".', tools: [{ name: 'look', description: 'd', input_schema: { type: 'object' } }],
          tool_choice: { type: 'auto' }, temperature: 1, metadata: { user_id: 'u' }, stop_sequences: ['x'],
        },
      };
      const call = long(model, more);
      const answer = await send(gateway, key, call);
      assert.equal(answer.status, 200, answer.text);
      const [count] = await counts();
      assert.equal((await counts()).length, 1);
      const { messages, system, tools, tool_choice } = call.body;
      assert.deepEqual(JSON.parse(count.body ?? 'null') ?? {}, {
        model: model === 'claude-live' ? 'claude-upstream' : model, messages, system, tools, tool_choice,
      });
      const [made] = await calls();
      assert.deepEqual(count.credential, made.credential, 'with the credential of the payer');
      await gateway.booked();
      const rows = await decisionsOf(account);
      assert.equal(rows.length, 1, 'no refusal is on the books');
      assert.equal(rows[0].estimator, 'counted');
      assert.equal(rows[0].inputs.input, 500);
      assert.equal(rows[0].cost_micros, priced(made.bill), 'the count costs nothing');
      const { meters } = await gateway.admin('/api/admin/limits');
      assert.equal(meters.find((meter) => meter.account === account).used, priced(made.bill));
    });
  }

  test('is not asked for where the estimate fits', async () => {
    const key = gateway.member('short');
    const answer = await send(gateway, key, callOf('messages', 'claude-live', { limit: ownLimit() }));
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(await counts(), []);
    await gateway.booked();
  });

  test('that does not fit either refuses, with what it says, each time anew', async () => {
    const account = 'too-long';
    const key = gateway.member(account);
    await mock.models({ 'claude-upstream': 'tokens=20,input=90000' });
    for (let i = 1; i <= 2; i++) {
      const answer = await send(gateway, key, long());
      const message = assertRefusal(answer, 'messages', { status: 402, code: 'budget_spent', after: null });
      assert.match(message, /this call needs \$0\.54/, 'nine tenths of a million at the dearest price');
      assert.equal((await counts()).length, i);
    }
    assert.deepEqual(await calls(), []);
    assert.equal(gateway.openHolds(), 0);
    const fits = 'tokens=20,input=500';
    await mock.models({ 'claude-upstream': fits });
    assert.equal((await send(gateway, key, long())).status, 200, 'another body of the same length is another call');
    await gateway.booked();
  });

  test('of a call that has to wait for others comes first, then the wait', async () => {
    const key = gateway.member('waits');
    await mock.models({ 'claude-upstream': 'tokens=20,input=500,ttft_ms=500' });
    const first = send(gateway, key, callOf('messages', 'claude-live', { limit: 1250 }));
    await until('the first is at the provider', async () => (await calls()).length === 1);
    const second = await send(gateway, key, long());
    assert.equal(second.status, 200, second.text);
    assert.equal((await first).status, 200);
    assert.equal((await counts()).length, 1);
    await gateway.booked();
  });

  test('the SDK sees nothing of it', async () => {
    const anthropic = new Anthropic({ baseURL: gateway.url, apiKey: gateway.member('by-sdk'), maxRetries: 0 });
    const message = await anthropic.messages.stream(long().body).finalMessage();
    assert.equal(message.stop_reason, 'end_turn');
    assert.equal((await counts()).length, 1);
    await gateway.booked();
  });
});

describe('without a count the estimate rules', () => {
  test('where the provider speaks no such endpoint', async () => {
    const key = gateway.member('chatter');
    const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit(), text: LONG }));
    assertRefusal(answer, 'chat', { status: 402, code: 'budget_spent', after: null });
    assert.deepEqual(await mock.journal(), []);
  });

  for (const [what, words] of [['an error', 'status=500'], ['a broken connection', 'cut_before=1'], ['no answer', 'hang=1']]) {
    test(`where counting ends in ${what}: the first refusal stays, once in the books`, async () => {
      const account = `uncounted-${words.split('=')[0]}`;
      const key = gateway.member(account);
      await mock.models({ 'claude-upstream': words });
      const answer = await send(gateway, key, long());
      assertRefusal(answer, 'messages', { status: 402, code: 'budget_spent', after: null, words: /this call needs \$0\./ });
      assert.equal((await counts()).length, 1);
      assert.deepEqual(await calls(), []);
      await until('the refusal is on the books', async () => (await decisionsOf(account)).length === 1);
      await gateway.says(/did not count the input/);
      await mock.models({ 'claude-upstream': 'tokens=20,input=500' });
      const next = await send(gateway, key, long());
      assert.equal(next.status, 200, `a failed count closes no route: ${next.text}`);
      await gateway.booked();
    });
  }

  test('a client that leaves meanwhile leaves nothing behind', async () => {
    const key = gateway.member('leaver');
    await mock.models({ 'claude-upstream': 'hang=1' });
    const answer = await send(gateway, key, long(), { limit_ms: 300 });
    assert.ok(answer.error);
    await until('nothing is open', async () => (await numbers(gateway)).get('model_requests_open') === 0);
    assert.equal(gateway.openHolds(), 0);
    await sleep(50);
    assert.deepEqual(await calls(), []);
  });
});
