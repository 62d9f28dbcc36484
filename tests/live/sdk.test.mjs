// Goal: the official SDKs, unmodified, work through two loops of the gateway, and what they used is
// booked to the micro.
// Method: each test makes calls with an output limit of its own, by which books and journal are
// compared call by call; the provider is `tidegate mock`.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

import {
  Gateway,
  Mock,
  ask,
  booksOf,
  callOf,
  modelsOn,
  ownLimit,
  priced,
  send,
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

const tool_openai = {
  type: 'function',
  function: {
    name: 'note',
    parameters: { type: 'object', properties: { note: { type: 'string' } } },
  },
};
const tool_responses = {
  type: 'function',
  name: 'note',
  strict: false,
  parameters: tool_openai.function.parameters,
};
const tool_anthropic = { name: 'note', input_schema: tool_openai.function.parameters };

describe('openai SDK', () => {
  test('a chat completion is answered, priced in a header and booked', async () => {
    await mock.models({ 'gpt-live': 'tokens=33,cached=2' });
    const { data, response } = await openai.chat.completions
      .create({
        model: 'gpt-live',
        max_completion_tokens: ownLimit(),
        messages: [{ role: 'user', content: 'hi' }],
      })
      .withResponse();
    assert.equal(data.object, 'chat.completion');
    assert.equal(data.usage.completion_tokens, 33);
    assert.ok(data.choices[0].message.content.length > 0);
    const { rows, journal } = await booksOf(gateway, mock);
    assert.equal(response.headers.get('x-tidegate-payer'), 'company');
    assert.equal(Number(response.headers.get('x-tidegate-cost-micros')), priced(journal[0].bill));
    assert.match(response.headers.get('x-request-id'), /^req_\d+$/);
    assert.equal(response.headers.get('request-id'), response.headers.get('x-request-id'));
    assert.match(response.headers.get('ratelimit-policy'), /"a-minute";q=60000;w=60\b/);
    assert.match(response.headers.get('ratelimit'), /"(month|tree)-spend"/);
    assert.equal(rows.length, 1);
    assert.equal(rows[0].hold, response.headers.get('x-request-id'));
    assert.equal(rows[0].payer, 'company');
    assert.equal(rows[0].provider, 'openai');
  });

  test('a streamed chat shows its text, and no usage that was not asked for', async () => {
    await mock.models({ 'gpt-live': 'tokens=50,tps=500' });
    const stream = await openai.chat.completions.create({
      model: 'gpt-live',
      stream: true,
      max_completion_tokens: ownLimit(),
      messages: [{ role: 'user', content: 'hi' }],
    });
    let text = '';
    for await (const chunk of stream) {
      assert.ok(!chunk.usage, 'no chunk tells usage');
      assert.equal(chunk.choices.length, 1, 'no chunk without a choice');
      text += chunk.choices[0].delta.content ?? '';
    }
    const { journal } = await booksOf(gateway, mock);
    assert.equal(text.length, 200, 'four bytes a token');
    assert.equal(
      JSON.parse(journal[0].body).stream_options.include_usage,
      true,
      'the provider was asked for usage',
    );
  });

  test('a streamed chat shows usage where it was asked for', async () => {
    await mock.models({ 'gpt-live': 'tokens=50' });
    const stream = await openai.chat.completions.create({
      model: 'gpt-live',
      stream: true,
      stream_options: { include_usage: true },
      max_completion_tokens: ownLimit(),
      messages: [{ role: 'user', content: 'hi' }],
    });
    let usage;
    for await (const chunk of stream) {
      usage = chunk.usage ?? usage;
    }
    assert.equal(usage.completion_tokens, 50);
    await booksOf(gateway, mock);
  });

  test('streamed tool calls arrive whole', async () => {
    await mock.models({ 'gpt-live': 'tool=1,tokens=60,tps=600' });
    const stream = openai.chat.completions.stream({
      model: 'gpt-live',
      max_completion_tokens: ownLimit(),
      tools: [tool_openai],
      messages: [{ role: 'user', content: 'note this' }],
    });
    const done = await stream.finalChatCompletion();
    const [call] = done.choices[0].message.tool_calls;
    assert.equal(done.choices[0].finish_reason, 'tool_calls');
    assert.equal(call.function.name, 'note');
    assert.ok(JSON.parse(call.function.arguments).note.length > 100);
    await booksOf(gateway, mock);
  });

  test('tool calls that are not streamed arrive whole', async () => {
    await mock.models({ 'gpt-live': 'tool=1,tokens=60' });
    const done = await openai.chat.completions.create({
      model: 'gpt-live',
      max_completion_tokens: ownLimit(),
      tools: [tool_openai],
      messages: [{ role: 'user', content: 'note this' }],
    });
    assert.ok(JSON.parse(done.choices[0].message.tool_calls[0].function.arguments).note);
    await booksOf(gateway, mock);
  });

  test('a response is answered, and a later one may go on from it', async () => {
    await mock.models({ 'gpt-live': 'tokens=21' });
    const first = await openai.responses.create({
      model: 'gpt-live',
      max_output_tokens: ownLimit(),
      input: 'hi',
    });
    assert.equal(first.status, 'completed');
    assert.ok(first.output_text.length > 0);
    const second = await openai.responses.create({
      model: 'gpt-live',
      max_output_tokens: ownLimit(),
      input: 'go on',
      previous_response_id: first.id,
    });
    assert.ok(second.usage.input_tokens > first.usage.input_tokens, 'the provider knows the first');
    await booksOf(gateway, mock);
  });

  test('a streamed response ends in response.completed, and its id may be used at once', async () => {
    await mock.models({ 'gpt-live': 'tokens=40,tps=400,hidden_reasoning=30' });
    const stream = openai.responses.stream({
      model: 'gpt-live',
      max_output_tokens: ownLimit(),
      input: 'hi',
    });
    const types = [];
    let final;
    for await (const event of stream) {
      types.push(event.type);
      if (event.type === 'response.completed') {
        final = event.response;
        await openai.responses.create({
          model: 'gpt-live',
          max_output_tokens: ownLimit(),
          input: 'go on',
          previous_response_id: final.id,
        });
      }
    }
    assert.ok(types.includes('response.output_text.delta'));
    assert.equal(final.usage.output_tokens, 70);
    await booksOf(gateway, mock);
  });

  test('streamed tool calls of a response arrive whole', async () => {
    await mock.models({ 'gpt-live': 'tool=1,tokens=60,tps=600' });
    const done = await openai.responses
      .stream({
        model: 'gpt-live',
        max_output_tokens: ownLimit(),
        tools: [tool_responses],
        input: 'note this',
      })
      .finalResponse();
    const call = done.output.find((item) => item.type === 'function_call');
    assert.ok(JSON.parse(call.arguments).note.length > 100);
    await booksOf(gateway, mock);
  });

  test('models are listed as OpenAI lists them', async () => {
    const names = [];
    for await (const model of openai.models.list()) {
      names.push(model.id);
    }
    assert.deepEqual(names.sort(), ['claude-bills', 'claude-live', 'gpt-bills', 'gpt-live']);
    assert.deepEqual(await mock.journal(), [], 'no provider was asked');
  });
});

describe('Anthropic SDK', () => {
  test('a message is answered, priced in a header and booked', async () => {
    await mock.models({
      'claude-live': 'tokens=33,input=2000,cached=900,cache_write=300,cache_write_1h=100',
    });
    const { data, response } = await anthropic.messages
      .create({
        model: 'claude-live',
        max_tokens: ownLimit(),
        messages: [{ role: 'user', content: 'hi' }],
      })
      .withResponse();
    assert.equal(data.usage.output_tokens, 33);
    const { rows, journal } = await booksOf(gateway, mock);
    assert.equal(journal[0].bill.cache_write_1h, 100);
    assert.equal(Number(response.headers.get('x-tidegate-cost-micros')), priced(journal[0].bill));
    assert.equal(rows[0].usage.cache_read, 900);
    assert.equal(rows[0].usage.cache_write_1h, 100);
  });

  test('a streamed message shows its text and usage', async () => {
    await mock.models({ 'claude-live': 'tokens=50,tps=500,thinking=10' });
    const done = await anthropic.messages
      .stream({
        model: 'claude-live',
        max_tokens: ownLimit() + 1024,
        thinking: { type: 'enabled', budget_tokens: 1024 },
        messages: [{ role: 'user', content: 'hi' }],
      })
      .finalMessage();
    assert.equal(done.usage.output_tokens, 60);
    assert.equal(done.stop_reason, 'end_turn');
    assert.ok(done.content.some((block) => block.type === 'thinking'));
    await booksOf(gateway, mock);
  });

  test('streamed tool use arrives whole', async () => {
    await mock.models({ 'claude-live': 'tool=1,tokens=60,tps=600' });
    const done = await anthropic.messages
      .stream({
        model: 'claude-live',
        max_tokens: ownLimit(),
        tools: [tool_anthropic],
        messages: [{ role: 'user', content: 'note this' }],
      })
      .finalMessage();
    const use = done.content.find((block) => block.type === 'tool_use');
    assert.equal(use.name, 'note');
    assert.ok(use.input.note.length > 100);
    assert.equal(done.stop_reason, 'tool_use');
    await booksOf(gateway, mock);
  });

  test('tokens are counted without being charged', async () => {
    const before_count = (await gateway.ledger()).length;
    const counted = await anthropic.messages.countTokens({
      model: 'claude-live',
      messages: [{ role: 'user', content: 'hello there' }],
    });
    assert.ok(counted.input_tokens > 0);
    const journal = await mock.settled();
    assert.equal(journal.length, 1);
    assert.equal(gateway.openHolds(), 0);
    assert.equal((await gateway.ledger()).length, before_count, 'the books do not know of it');
  });

  test('models are listed as Anthropic lists them', async () => {
    const names = [];
    for await (const model of anthropic.models.list()) {
      assert.equal(model.type, 'model');
      names.push(model.id);
    }
    assert.deepEqual(names.sort(), ['claude-bills', 'claude-live', 'gpt-bills', 'gpt-live']);
  });

  test('the beta namespace keeps its query and its betas', async () => {
    await mock.models({ 'claude-live': 'tokens=5' });
    await anthropic.beta.messages.create({
      model: 'claude-live',
      max_tokens: ownLimit(),
      betas: ['context-1m-2025-08-07'],
      messages: [{ role: 'user', content: 'hi' }],
    });
    const { journal } = await booksOf(gateway, mock);
    assert.match(journal[0].path, /\/v1\/messages/);
    assert.match(journal[0].headers['anthropic-beta'], /context-1m-2025-08-07/);
  });
});

describe('what crosses the gateway', () => {
  test("the provider sees the company's credential and never the caller's key", async () => {
    for (const [api, model] of [
      ['chat', 'gpt-live'],
      ['messages', 'claude-live'],
    ]) {
      await send(gateway, key, callOf(api, model, { limit: ownLimit() }), {
        headers: {
          'openai-organization': 'org-of-the-caller',
          'x-hf-bill-to': 'somebody',
          cookie: 'a=b',
          'accept-encoding': 'gzip, br',
          'x-stainless-retry-count': '0',
          'x-forwarded-for': '192.0.2.1',
        },
      });
    }
    const { journal } = await booksOf(gateway, mock);
    assert.deepEqual(
      journal.map((entry) => entry.credential.value),
      ['sk-company-openai-4f1e9a77', 'sk-ant-company-8c02d6b1'],
    );
    assert.deepEqual(
      journal.map((entry) => entry.credential.form),
      ['bearer', 'x-api-key'],
    );
    for (const entry of journal) {
      const all = JSON.stringify(entry.headers).toLowerCase();
      assert.ok(!all.includes(key.toLowerCase()), 'not the key');
      for (const word of ['org-of-the-caller', 'somebody', 'a=b', '192.0.2.1', 'gzip']) {
        assert.ok(!all.includes(word), `${word} does not reach the provider`);
      }
      assert.match(all, /"x-stainless-retry-count":"0"/);
      assert.match(all, /"accept-encoding":"identity"/);
    }
  });

  test('unknown fields and odd spacing of a body arrive as they were sent', async () => {
    const body =
      '{ "model" :"gpt-live" , "messages":[{"role":"user","content":"\\u00e9\\ud83d\\ude00 \u00e9"}],\n' +
      `"max_tokens" : ${ownLimit()}, "x_new": {"deep":[1,2,{"a":null}]}, "temperature":0.70 }`;
    const answer = await ask(`${gateway.url}/v1/chat/completions`, { key, body });
    assert.equal(answer.status, 200);
    const { journal } = await booksOf(gateway, mock);
    assert.equal(journal[0].body, body);
  });

  test('paths without /v1 are served as well', async () => {
    for (const [api, model] of [
      ['chat', 'gpt-live'],
      ['responses', 'gpt-live'],
      ['messages', 'claude-live'],
    ]) {
      const call = callOf(api, model, { limit: ownLimit() });
      const answer = await send(gateway, key, call, { path: call.path.slice(3) });
      assert.equal(answer.status, 200, answer.text);
    }
    await booksOf(gateway, mock);
  });

  test("the provider's limits and names stay with the company", async () => {
    const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }));
    for (const name of Object.keys(answer.headers)) {
      assert.ok(
        !/^(x-ratelimit-|openai-organization|set-cookie)/.test(name),
        `${name} stays behind`,
      );
    }
    assert.ok(answer.headers['x-tidegate-upstream-request']);
  });

  test('hello is answered without a key', async () => {
    const answer = await ask(`${gateway.url}/api/hello`, { method: 'HEAD' });
    assert.equal(answer.status, 200);
  });

  test('both loops answer', async () => {
    const loops = new Set();
    await until('answers of two loops', async () => {
      const answer = await ask(`${gateway.url}/v1/models`, { method: 'GET', key });
      loops.add(/^req_\d+-(\d+)-\d+$/.exec(answer.request_id)[1]);
      return loops.size === 2;
    });
  });

  test('FF-68 sixty calls at once of all kinds are booked one by one', async () => {
    const kinds = [
      ['chat', 'gpt-live'],
      ['responses', 'gpt-live'],
      ['messages', 'claude-live'],
      ['chat', 'gpt-bills'],
      ['messages', 'claude-bills'],
    ];
    await mock.models(Object.fromEntries(kinds.map(([, model]) => [model, 'tokens=120,tps=400'])));
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => {
        const [api, model] = kinds[i % kinds.length];
        return send(gateway, key, callOf(api, model, { limit: ownLimit(), stream: i % 3 > 0 }));
      }),
    );
    for (const answer of answers) {
      assert.equal(answer.status, 200, answer.text);
      assert.ok(answer.clean);
    }
    const { journal, rows } = await booksOf(gateway, mock);
    assert.equal(journal.length, 60);
    assert.equal(rows.length, 60);
  });
});

describe('costs on streams', () => {
  for (const [api, model, terminal] of [
    ['chat', 'gpt-live', '[DONE]'],
    ['responses', 'gpt-live', 'response.completed'],
    ['messages', 'claude-live', 'message_stop'],
  ]) {
    test(`${api}: a comment with the cost stands before the last event`, async () => {
      await mock.models({ [model]: 'tokens=30,tps=1000' });
      const answer = await send(
        gateway,
        key,
        callOf(api, model, { limit: ownLimit(), stream: true }),
      );
      const { journal } = await booksOf(gateway, mock);
      const found = /^: tidegate cost_micros=(\d+) payer=company\r?\n\r?\n([^]*)$/m.exec(
        answer.text,
      );
      assert.ok(found, answer.text.slice(-600));
      assert.equal(Number(found[1]), priced(journal[0].bill));
      assert.ok(found[2].includes(terminal), `the last event follows: ${found[2]}`);
      assert.ok(!found[2].replace(/\r?\n\r?\n$/, '').includes('\n\n'), 'one event follows');
      assert.ok(answer.clean, 'the chunked coding is closed');
    });
  }
});

describe('usage in odd forms', () => {
  const forms = [
    'usage=last',
    'usage=groq',
    'usage=moonshot',
    'usage=asked,thinking=30,reasoning_beside=1',
    'usage=asked,hidden_reasoning=40',
    'usage=asked,cached=3,cache_write=4',
    'chunk=7',
    'utf8=1,chunk=3',
    'per_event=9',
    'keepalive_ms=20,ttft_ms=100',
  ];
  for (const words of forms) {
    test(`FF-19 chat, ${words}: booked to the micro, streamed and not`, async () => {
      await mock.models({ 'gpt-live': `tokens=70,${words}` });
      for (const stream of [false, true]) {
        const answer = await send(
          gateway,
          key,
          callOf('chat', 'gpt-live', { limit: ownLimit(), stream }),
        );
        assert.equal(answer.status, 200, answer.text);
        assert.ok(answer.clean);
      }
      const { rows } = await booksOf(gateway, mock);
      assert.ok(
        rows.every((row) => !row.flags.includes('estimated')),
        'the provider told it',
      );
    });
  }

  test('FF-59 no usage at all is estimated, upwards, and says so', async () => {
    await mock.models({ 'gpt-live': 'tokens=70,usage=0' });
    const received = new Map();
    for (const stream of [false, true]) {
      const limit = ownLimit();
      const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit, stream }));
      received.set(limit, 70);
      assert.ok(answer.clean);
    }
    const { rows } = await booksOf(gateway, mock, received);
    assert.ok(rows.every((row) => row.flags.includes('estimated')));
  });

  test('usage that makes no sense is estimated', async () => {
    await mock.models({ 'gpt-live': 'tokens=70,usage=malformed' });
    const limit = ownLimit();
    const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit, stream: true }));
    assert.ok(answer.clean);
    const { rows } = await booksOf(gateway, mock, new Map([[limit, 70]]));
    assert.ok(rows[0].flags.includes('estimated'));
  });

  test("the provider's own cost wins where it is plausible", async () => {
    await mock.models({ 'gpt-live': 'tokens=100,input=100,cost=0.002' });
    const limit = ownLimit();
    const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit }));
    await gateway.booked();
    assert.equal(answer.headers['x-tidegate-cost-micros'], '2000');
    const row = (await gateway.ledger()).find((one) => one.hold === answer.request_id);
    assert.equal(row.cost_micros, 2000);
    assert.ok(row.flags.includes('provider_cost'));
  });

  test("the provider's own cost is disputed where it is not", async () => {
    await mock.models({ 'gpt-live': 'tokens=100,input=100,cost=0.9' });
    const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }));
    await gateway.booked();
    const row = (await gateway.ledger()).find((one) => one.hold === answer.request_id);
    assert.equal(row.cost_micros, 1800);
    assert.ok(row.flags.includes('cost_disputed'), `flags: ${row.flags}`);
  });
});

describe('large and long', () => {
  test('a body of 400 KB arrives byte for byte', async () => {
    const limit = ownLimit();
    const call = callOf('messages', 'claude-live', { limit, text: 'x\u00e9'.repeat(150_000) });
    const body = JSON.stringify(call.body);
    const answer = await send(gateway, key, { ...call, body });
    assert.equal(answer.status, 200);
    const [entry] = await mock.settled();
    assert.equal(entry.body_bytes, Buffer.byteLength(body));
  });

  test('a stream far beyond its first slice is extended and arrives whole', async () => {
    await mock.models({ 'gpt-live': 'tokens=60000,per_event=20' });
    const limit = 60_000 + (ownLimit() % 1000);
    const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit, stream: true }));
    assert.ok(answer.clean);
    assert.equal(answer.events.text().length, 240_000);
    assert.ok(answer.text.includes('[DONE]'));
    await booksOf(gateway, mock);
  });
});

test('FF-35 all that was booked is the journal of the provider, to the micro', async () => {
  await mock.models({ 'gpt-live': 'tokens=10' });
  await send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }));
  await booksOf(gateway, mock);
  const rows = await gateway.ledger();
  assert.ok(rows.length > 100);
  const ids = new Set(rows.map((row) => row.row));
  assert.equal(ids.size, rows.length);
});
