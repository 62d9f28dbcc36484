// Goal: embeddings are a model call like any other: gated, relayed byte for byte, their input booked
// to the micro, and nothing else.
// Method: the unmodified OpenAI SDK, which asks for base64, and bare requests; each row of the
// books is held against the entry of the simulated provider's journal.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import OpenAI from 'openai';

import { Gateway, Mock, ask, modelsOn, providersOn, send, callOf } from './harness.mjs';
import { openaiOf } from './sdks.mjs';
import { assertRefusal } from './refusal.mjs';

const INPUT_MICROS = 20_000n; // a million tokens
const costOf = (tokens) => Number((BigInt(tokens) * INPUT_MICROS + 999_999n) / 1_000_000n);

let mock;
let gateway;
let key;
let poor;
let openai;

before(async () => {
  mock = await Mock.start();
  const base = providersOn(mock).openai;
  gateway = await Gateway.start(mock, {
    providers: { ...providersOn(mock), vectors: { ...base, apis: ['embeddings'] } },
    models: {
      ...modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
      ...modelsOn(
        { 'embed-live': 'vectors' },
        { price: { input: '0.02 USD', output: '0 USD' }, context: 8191, max_output: 1 },
      ),
    },
    plans: { free: {}, poor: {} },
    default_plan: 'free',
    limits: {
      'month-spend': {
        counts: 'cost',
        per: 'account',
        window: 'month',
        cap: { plan: { free: '10 USD', poor: '0.000002 USD' } },
      },
      parallel: { counts: 'in_flight', per: 'account', cap: 8 },
    },
  });
  key = gateway.member('ada');
  poor = gateway.member('bob', '--plan', 'poor');
  openai = openaiOf(gateway, key);
});

after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

beforeEach(async () => {
  await mock.clear();
  await mock.models({ 'embed-live': null });
});

const embed = (body, options = {}) =>
  send(gateway, options.key ?? key, { path: '/v1/embeddings', headers: {}, body }, options);

/** The one row of a call, which must be its provider's bill. */
async function booked(request_id) {
  const [entry] = await mock.settled();
  await gateway.booked();
  const rows = await gateway.rowsOf(request_id);
  assert.equal(rows.length, 1);
  assert.equal(rows[0].usage.output, 0);
  assert.equal(rows[0].cost_micros, costOf(entry.bill.input));
  return { row: rows[0], entry };
}

describe('embeddings', () => {
  test('the SDK, which asks for base64, gets its vectors, and the input is booked', async () => {
    const { data, response } = await openai.embeddings
      .create({ model: 'embed-live', input: ['the tide', 'comes in'], dimensions: 16, user: 'u' })
      .withResponse();
    assert.equal(data.data.length, 2);
    assert.equal(data.data[1].embedding.length, 16);
    assert.ok(data.data[1].embedding.every((number) => Math.abs(number) <= 1));
    const id = response.headers.get('x-request-id');
    const { row, entry } = await booked(id);
    assert.equal(JSON.parse(entry.body).encoding_format, 'base64');
    assert.equal(entry.path, '/v1/embeddings');
    assert.equal(row.kind, 'settle');
    assert.equal(row.usage.input, data.usage.prompt_tokens);
    assert.equal(Number(response.headers.get('x-tidegate-cost-micros')), row.cost_micros);
  });

  test('all forms of input pass, with and without /v1, and token ids count themselves', async () => {
    for (const [input, tokens] of [
      ['one text', 0],
      [['one text', 'another'], 0],
      [[11, 12, 13, 14, 15], 5],
      [[[1], [22, 23], [4, 5, 6]], 6],
    ]) {
      for (const path of ['/v1/embeddings', '/embeddings']) {
        await mock.clear();
        const body = { model: 'embed-live', input, encoding_format: 'float', not_known: [1, { a: 2 }] };
        const answer = await embed(body, { path });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(typeof answer.json.data[0].embedding[0], 'number');
        const { row, entry } = await booked(answer.request_id);
        assert.deepEqual(JSON.parse(entry.body), body, 'it goes out as it came');
        assert.equal(row.inputs.estimator, tokens ? 'counted' : 'learned');
        if (tokens) {
          assert.equal(entry.bill.input, tokens);
          assert.deepEqual([row.inputs.input, row.inputs.input_bound], [tokens, tokens]);
          assert.equal(row.bound_micros, row.cost_micros);
        }
        assert.ok(row.cost_micros <= row.bound_micros);
      }
    }
  });

  test('usage that nobody told, or that makes no sense, is estimated', async () => {
    for (const words of ['usage=0', 'usage=malformed']) {
      await mock.clear();
      await mock.models({ 'embed-live': words });
      const answer = await embed({ model: 'embed-live', input: [7, 8, 9] });
      assert.equal(answer.status, 200);
      const { row } = await booked(answer.request_id);
      assert.deepEqual(row.flags, ['estimated']);
      assert.equal(row.usage.input, 3);
    }
  });

  test('a limit that does not hold the input refuses it before anything leaves', async () => {
    const answer = await embed({ model: 'embed-live', input: Array(500).fill(7) }, { key: poor });
    assertRefusal(answer, 'chat', { status: 402, code: 'budget_spent' });
    const small = await embed({ model: 'embed-live', input: Array(50).fill(7) }, { key: poor });
    assert.equal(small.status, 200, small.text);
    assert.equal((await mock.settled()).length, 1);
    await gateway.booked();
  });

  test('a provider that fails costs nothing, and its error passes', async () => {
    await mock.models({ 'embed-live': 'status=400' });
    const answer = await embed({ model: 'embed-live', input: 'x' });
    assert.equal(answer.status, 400);
    await gateway.booked();
    const [row] = await gateway.rowsOf(answer.request_id);
    assert.deepEqual([row.kind, row.cost_micros], ['unbilled', 0]);
  });

  test('the wrong endpoint for a model names the right one', async () => {
    const vectors = await embed({ model: 'gpt-live', input: 'x' });
    assert.match(
      assertRefusal(vectors, 'chat', { status: 404, code: 'api_not_served' }),
      /gpt-live is served at POST \/v1\/chat\/completions/,
    );
    const chat = await send(gateway, key, callOf('chat', 'embed-live'));
    assert.match(
      assertRefusal(chat, 'chat', { status: 404, code: 'api_not_served' }),
      /embed-live is served at POST \/v1\/embeddings/,
    );
    assert.match(
      assertRefusal(await embed({ model: 'embed-lost', input: 'x' }), 'chat', {
        status: 404,
        code: 'model_not_found',
      }),
      /embed-lost/,
    );
    assert.equal((await mock.journal()).length, 0);
  });

  test('models that embed are listed, and a wrong method is told', async () => {
    const list = await ask(`${gateway.url}/v1/models`, { method: 'GET', key });
    assert.ok(list.json.data.some(({ id }) => id === 'embed-live'));
    const answer = await ask(`${gateway.url}/v1/embeddings`, { method: 'GET', key });
    assert.match(assertRefusal(answer, 'chat', { status: 405, code: 'method_not_allowed' }), /\/v1\/embeddings/);
  });
});
