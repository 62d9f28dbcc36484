// Goal: a cap holds as its mode says: strict never passes it, stream by no more than what real use exceeds the
// estimates, none only by what is in flight; and a call that does not fit whole gets a smaller answer.
// Method: many clients at once against a cap, calls whose bill is known to the micro, and the provider's journal.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

import { ASAN, Gateway, Mock, callOf, modelsOn, numbers, ownLimit, priced, send, until } from './harness.mjs';
import { APIS, CODEX, assertRefusal, assertUnheard } from './refusal.mjs';

const OUTPUT = 15; // micro-USD a token
const modelIn = (api, mode) => `${api === 'messages' ? 'claude' : 'gpt'}-${mode}`;

let mock;
let gateway;

before(async () => {
  mock = await Mock.start();
  const modes = ['strict', 'stream', 'none', 'tokens'];
  const ofModel = (mode) => ({ cost: `gpt-${mode}`, claude: `claude-${mode}` });
  const limits = {};
  for (const mode of modes.slice(0, 3)) {
    for (const model of Object.values(ofModel(mode))) {
      limits[`cap-${model}`] = {
        counts: 'cost', per: 'account', window: 'month', hold: mode, of: { model },
        cap: { default: '0.02 USD', plan: { wide: 'unlimited', five: '5 USD', race: '0.10 USD' } },
      };
    }
  }
  for (const model of Object.values(ofModel('tokens'))) {
    limits[`cap-${model}`] = { counts: 'tokens', per: 'account', window: '1h rolling', cap: 2000, of: { model } };
  }
  limits['of-500'] = {
    counts: 'cost', per: 'account', window: 'lifetime', hold: 'strict', cap: { default: 'unlimited', plan: { ten: '1 USD' } },
  };
  gateway = await Gateway.start(mock, {
    models: modelsOn(
      Object.fromEntries(modes.flatMap((mode) => [[`gpt-${mode}`, 'openai'], [`claude-${mode}`, 'anthropic']])
        .concat([['claude-500', 'anthropic']])),
    ),
    plans: { free: {}, wide: {}, five: {}, race: {}, ten: {} },
    default_plan: 'free',
    held_wait: '300ms',
    step: 64,
    limits,
  });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});
beforeEach(async () => {
  await mock.configure({ default: null });
  await mock.clear();
});

async function spentBy(account) {
  await mock.settled();
  await gateway.booked();
  const rows = (await gateway.ledger({ account })).filter((row) => row.hold);
  return { rows, spent: rows.reduce((sum, row) => sum + row.cost_micros, 0) };
}

describe('strict', () => {
  test('SL-37 FF-9 of 500 clients at once exactly the ten pass that there is room for', async (t) => {
    /* The bill is the dearest that the bound allows for, so that each takes up all that it held. */
    const body = (stream) => callOf('messages', 'claude-500', { limit: 100, stream });
    const probe = gateway.member('probe-500', '--plan', 'wide');
    const first = await send(gateway, probe, body(true));
    assert.equal(first.status, 200, first.text);
    await gateway.booked();
    const [row] = await gateway.rowsOf(first.request_id);
    const input = row.inputs.input_bound;
    const cap = 10 * (input * 6 + 100 * OUTPUT);
    gateway.config.limits['of-500'].cap.plan.ten = `${(cap / 1e6).toFixed(6)} USD`;
    gateway.write();
    gateway.command('reload');
    await mock.models({ 'claude-500': `tokens=100,input=${input},cache_write_1h=${input},ttft_ms=300` });
    await mock.clear();

    const key = gateway.member('five-hundred', '--plan', 'ten');
    const answers = await Promise.all(Array.from({ length: ASAN ? 200 : 500 }, () => send(gateway, key, body(true))));
    const passed = answers.filter((answer) => answer.status === 200);
    assert.equal(passed.length, 10, `${passed.length} passed`);
    for (const answer of answers.filter((one) => one.status !== 200)) {
      assert.ok([402, 429].includes(answer.status), answer.text);
      assert.match(answer.text, /budget_(held|spent)/);
    }
    assert.equal((await mock.settled()).length, 10, 'the provider was asked ten times');
    const { rows, spent } = await spentBy('five-hundred');
    assert.equal(rows.length, 10);
    assert.equal(spent, cap, 'the cap is met to the micro, and not passed');
    t.diagnostic(`cap ${cap}, settled ${spent} micro-USD; refused ${answers.length - 10}`);
    const late = await send(gateway, key, body(true));
    assertRefusal(late, 'messages', { status: 402, code: 'budget_spent' });
  });

  for (const api of APIS) {
    test(`FF-52 ${api}: the output limit is lowered to what the bound has room for`, async () => {
      const account = `low-${api}`;
      const key = gateway.member(account);
      const model = modelIn(api, 'strict');
      await mock.models({ [model]: 'tokens=5000' });
      for (const stream of [false, true]) {
        await mock.clear();
        const before_micros = (await spentBy(account)).spent;
        const answer = await send(gateway, key, callOf(api, model, { limit: 5000, stream }));
        if (answer.status === 402) { /* less than min_answer is left */
          assert.ok(before_micros > 20_000 - 256 * OUTPUT - 4000, `${before_micros}`);
          break;
        }
        assert.equal(answer.status, 200, answer.text);
        const limit = Number(answer.headers['x-tidegate-output-limit']);
        assert.ok(limit >= 256 && limit * OUTPUT <= 20_000, `limit ${limit}`);
        const [entry] = await mock.settled();
        assert.equal(entry.limit, limit, 'the provider is told so');
        assert.equal(entry.bill.output, limit, 'and ends by itself there');
        const { rows, spent } = await spentBy(account);
        assert.ok(rows.at(-1).flags.includes('lowered'));
        assert.equal(rows.at(-1).cost_micros, priced(entry.bill));
        assert.ok(spent <= 20_000, `${spent} is within the cap`);
      }
    });

    test(`${api}: what cannot be bounded is refused, and passes elsewhere`, async () => {
      const key = gateway.member(`unbounded-${api}`);
      const odd = {
        chat: [{ made_up_field: 1 }, { web_search_options: {} }, { service_tier: 'never-heard-of' }],
        responses: [{ made_up_field: 1 }, { tools: [{ type: 'web_search' }] }, { plugins: [] }],
        messages: [{ made_up_field: 1 }, { tools: [{ type: 'web_search_20250305', name: 'web_search' }] }, { mcp_servers: [] }],
      }[api];
      for (const more of odd) {
        const answer = await send(gateway, key, callOf(api, modelIn(api, 'strict'), { limit: 50, more }));
        const message = assertRefusal(answer, api, { status: 402, code: 'cannot_bound', after: null });
        const field = more.tools?.[0].type ?? Object.keys(more)[0];
        assert.match(message, new RegExp(`cannot be bounded: what "${field}" in it costs is not known, and the limit ".+" is strict`));
      }
      if (api === 'responses') {
        const codex = await send(gateway, key, callOf(api, modelIn(api, 'strict'), { limit: 50, more: odd[0] }), { headers: CODEX });
        assertRefusal(codex, api, { status: 429, codex: true, after: null });
      }
      await assertUnheard(mock);
      for (const more of odd) {
        const answer = await send(gateway, key, callOf(api, modelIn(api, 'stream'), { limit: 50, more }));
        assert.equal(answer.status, 200, `${JSON.stringify(more)}: ${answer.text}`);
        await gateway.booked();
      }
    });
  }
});

describe('stream', () => {
  for (const api of APIS) {
    test(`${api}: fifty streams race to one cap and pass it by no more than the estimates were wrong`, async (t) => {
      const account = `race-${api}`;
      const key = gateway.member(account, '--plan', 'race');
      const model = modelIn(api, 'stream');
      const cap = 100_000;
      /* Two bytes a token, where three are expected; and more input than the bytes of the body say. */
      await mock.models({ [model]: 'tokens=400,tps=800,bpt=2,input=120,ttft_ms=50' });
      const answers = await Promise.all(
        Array.from({ length: 50 }, () => send(gateway, key, callOf(api, model, { limit: ownLimit(), stream: true }))),
      );
      const started = answers.filter((answer) => answer.status === 200);
      assert.ok(started.length > 5, `${started.length} started`);
      for (const answer of answers) {
        assert.ok([200, 402, 429].includes(answer.status), answer.text);
        assert.ok(answer.clean, 'it ends as HTTP has it');
      }
      const { rows, spent } = await spentBy(account);
      assert.equal(rows.length, started.length);
      let bound = 0;
      for (const { usage, inputs } of rows) {
        const input = usage.input + usage.cache_read + usage.cache_write_5m + usage.cache_write_1h;
        bound += 6 * Math.max(0, input - inputs.input) + OUTPUT * Math.max(0, usage.output - inputs.held_output) + 1;
      }
      const observed = Math.max(0, spent - cap);
      t.diagnostic(`${started.length} of 50 started; cap ${cap}, settled ${spent}; passed by ${observed}, bound ${bound} micro-USD`);
      assert.ok(spent > 0.6 * cap, 'the budget was used');
      assert.ok(observed <= bound, `passed by ${observed}, and the bound is ${bound}`);
      const most = (await numbers(gateway)).get('cap_overshoot_micro_usd_max');
      assert.ok(most >= observed, `/metrics has the largest ever seen: ${most}`);
      const late = await send(gateway, key, callOf(api, model, { limit: 300 }));
      assert.equal(late.status, spent + 300 * OUTPUT > cap ? 402 : 200);
    });
  }
});

describe('the three modes', () => {
  for (const [mode, statuses] of [['none', [200, 200]], ['stream', [200, 429]], ['strict', [200, 429]]]) {
    test(`SL-77 of two calls at once that do not fit together, under ${mode} ${mode === 'none' ? 'both pass' : 'one is told to wait'}`, async () => {
      const account = `two-${mode}`;
      const key = gateway.member(account);
      const model = `gpt-${mode}`;
      await mock.models({ [model]: 'tokens=20,ttft_ms=900' });
      const call = () => send(gateway, key, callOf('chat', model, { limit: 1200 }));
      const first = call();
      await until('the first is at the provider', async () => (await mock.journal()).length === 1);
      const answers = [await call(), await first].reverse();
      assert.deepEqual(answers.map((answer) => answer.status), statuses, answers.map((answer) => answer.text).join());
      if (mode !== 'none') {
        assertRefusal(answers[1], 'chat', { status: 429, code: 'budget_held', retry: null, after: [1, 5] });
      }
      /* Spent whole, all of them refuse. */
      await mock.models({ [model]: 'tokens=1000' });
      let last;
      for (let i = 0; i < 4 && last?.status !== 402; i++) {
        await gateway.booked();
        last = await send(gateway, key, callOf('chat', model, { limit: 1000, more: { n: 1 } }));
      }
      assertRefusal(last, 'chat', { status: 402, code: 'budget_spent' });
      const { spent } = await spentBy(account);
      assert.ok(mode === 'none' ? spent >= 20_000 && spent <= 20_000 + 19_000 : spent <= 20_000, `${mode}: ${spent}`);
    });
  }

  for (const api of APIS) {
    test(`${api}: tokens are a budget too: lowered to what is left, and cut where that is used up`, async () => {
      const account = `tokens-${api}`;
      const key = gateway.member(account);
      const model = modelIn(api, 'tokens');
      await mock.models({ [model]: 'tokens=5000' });
      const answer = await send(gateway, key, callOf(api, model, { limit: 5000, stream: true }));
      assert.equal(answer.status, 200, answer.text);
      const [entry] = await mock.settled();
      assert.ok(entry.limit >= 256 && entry.limit < 2000, `limit ${entry.limit}`);
      assert.equal(Number(answer.headers['x-tidegate-output-limit']), entry.limit);
      await gateway.booked();
      const late = await send(gateway, key, callOf(api, model, { limit: 1000 }));
      assertRefusal(late, api, { status: 402, code: 'tokens_spent', words: /of 2000 tokens.* \(limit "cap-/ });
      const held = gateway.member(`${account}-held`);
      await mock.models({ [model]: 'tokens=20,ttft_ms=800' });
      await mock.clear();
      const first = send(gateway, held, callOf(api, model, { limit: 1500 }));
      await until('the first is at the provider', async () => (await mock.journal()).length === 1);
      const second = await send(gateway, held, callOf(api, model, { limit: 1500 }));
      const status = second.status; /* what is left may be room for a small answer */
      assert.ok(status === 429 || Number(second.headers['x-tidegate-output-limit']) < 500, `${status} ${second.text}`);
      assert.equal((await first).status, 200);
      await gateway.booked();
    });
  }
});

describe('the first turn of Claude Code under five dollars', () => {
  const input = 'You are Claude Code. '.repeat(5500); // some 30,000 tokens
  const shapes = (mode) => ({
    messages: (max_tokens, text) => ({
      model: `claude-${mode}`, max_tokens, stream: true, system: input, messages: [{ role: 'user', content: text }],
      metadata: { user_id: JSON.stringify({ device_id: 'd', account_uuid: '', session_id: `first-${mode}` }) },
    }),
    chat: (max_completion_tokens, text) => ({
      model: `gpt-${mode}`, max_completion_tokens, stream: true,
      messages: [{ role: 'system', content: input }, { role: 'user', content: text }],
    }),
  });

  for (const mode of ['stream', 'strict', 'none']) {
    test(`title and turn at once, 128,000 tokens of output each: both pass under ${mode}, with both SDKs' shapes`, async () => {
      for (const api of ['messages', 'chat']) {
        const account = `claude-${mode}-${api}`;
        const key = gateway.member(account, '--plan', 'five');
        await mock.clear();
        await mock.configure({ default: 'tokens=40,ttft_ms=400' });
        const make = shapes(mode)[api];
        const anthropic = new Anthropic({ baseURL: gateway.url, apiKey: key, maxRetries: 0 });
        const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key, maxRetries: 0 });
        const run = async (text) => {
          if (api === 'messages') {
            const { stream, ...body } = make(128_000, text);
            return (await anthropic.messages.stream(body).finalMessage()).stop_reason;
          }
          let end;
          for await (const event of await openai.chat.completions.create(make(128_000, text))) {
            end = event.choices[0]?.finish_reason ?? end;
          }
          return end;
        };
        const ends = await Promise.all([run('a title of a few words'), run('build me a tide clock')]);
        assert.deepEqual(ends, Array(2).fill(api === 'messages' ? 'end_turn' : 'stop'));
        const journal = await mock.settled();
        const { rows } = await spentBy(account);
        const limits = rows.map(({ inputs }) => inputs.lowered_to ?? inputs.output_limit).sort((a, b) => a - b);
        assert.equal(limits[1], 128_000);
        assert.ok(mode === 'strict' ? limits[0] < 128_000 && limits[0] > 10_000 : limits[0] === 128_000, `${limits}`);
        assert.deepEqual(rows.map((row) => row.cost_micros).sort(), journal.map((entry) => priced(entry.bill)).sort());
      }
    });
  }
});
