// Goal: what a provider refuses or breaks is tried elsewhere where that is free, is told as what it is where it
// is not, and is booked by what it cost.
// Method: routes to simulated providers with one fault each; what they saw is compared with the books.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import {
  Gateway,
  Mock,
  SLOW,
  booksOf,
  callOf,
  freePort,
  modelsOn,
  ownLimit,
  providersOn,
  send,
  sleep,
  until,
} from './harness.mjs';
import { CODEX, assertRefusal, assertUnheard } from './refusal.mjs';

let mock;
before(async () => {
  mock = await Mock.start();
});
after(async () => {
  await mock?.stop();
});

describe('what providers refuse', () => {
  let gateway;
  let key;
  let dead_port;
  const two = (first) => [
    [first, 'flaky'],
    ['second', 'steady'],
  ];
  before(async () => {
    dead_port = await freePort();
    const providers = providersOn(mock);
    gateway = await Gateway.start(mock, {
      providers: {
        ...providers,
        nobody: { ...providers.openai, base_url: `http://127.0.0.1:${dead_port}/v1` },
        refusing: { ...providers.openai, base_url: `${mock.url}/~refuse=1/v1` },
        slow: { ...providers.openai, first_byte_deadline: '300ms' },
        stalling: { ...providers.openai, between_bytes_deadline: '300ms' },
        'claude-two': {
          ...providers.anthropic,
          credentials: { company: { env: 'LIVE_SECOND_KEY' } },
        },
      },
      models: {
        ...modelsOn({ 'refusing-then-live': two('refusing') }, { billed_retries: 0 }),
        ...modelsOn({
        'gpt-live': 'openai',
        'claude-live': 'anthropic',
        'two-routes': two('openai'),
        'dead-then-live': two('nobody'),
        dead: 'nobody',
        'two-claudes': [
          ['anthropic', 'claude-flaky'],
          ['claude-two', 'claude-steady'],
        ],
        slow: 'slow',
        stalling: 'stalling',
        cooling: [
          ['openai', 'cool-a'],
          ['second', 'cool-b'],
        ],
        exhausted: [
          ['openai', 'out-a'],
          ['second', 'out-b'],
        ],
        ...Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`gpt-${i}`, 'openai'])),
        ...Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`claude-${i}`, 'anthropic'])),
        }),
      },
      limits: { month: { counts: 'cost', per: 'account', window: 'month', cap: '100 USD' } },
    });
    key = gateway.member('ada');
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(() => mock.clear());

  const call = (api, model, options = {}) =>
    send(gateway, key, callOf(api, model, { limit: ownLimit(), ...options }));

  test('FF-17 429 with a retry-after: the next route serves, and the first is left alone for that long', async () => {
    await mock.models({ flaky: 'status=429,retry_after=3', steady: 'tokens=20' });
    const first = await call('chat', 'two-routes');
    assert.equal(first.status, 200, first.text);
    assert.equal(first.headers['retry-after'], undefined);
    await gateway.booked();
    const rows = await gateway.rowsOf(first.request_id);
    assert.deepEqual(
      rows.map((row) => [row.kind, row.provider, row.attempt, row.status]),
      [
        ['unbilled', 'openai', 0, 429],
        ['settle', 'second', 1, 200],
      ],
    );
    const stream = await call('chat', 'two-routes', { stream: true });
    assert.equal(stream.events.text().length, 80);
    let journal = await mock.settled();
    assert.deepEqual(
      journal.map((entry) => entry.model),
      ['flaky', 'steady', 'steady'],
    );
    assert.deepEqual(
      journal.map((entry) => entry.credential.value),
      ['sk-company-openai-4f1e9a77', 'sk-company-second-13aa90fe', 'sk-company-second-13aa90fe'],
    );
    await sleep(3200);
    await mock.models({ flaky: 'tokens=10' });
    assert.equal((await call('chat', 'two-routes')).status, 200);
    journal = await mock.settled();
    assert.equal(journal.at(-1).model, 'flaky', 'after its wait it is asked again');
    await booksOf(gateway, mock);
  });

  for (const [what, words] of [
    ['503', 'status=503'],
    ['529', 'status=529'],
    ['500', 'status=500'],
    ['an HTML page', 'html=1'],
    ['a rejected credential', 'status=401'],
    ['a spent quota', 'error=quota'],
  ]) {
    test(`${what}: the next route serves`, async () => {
      const name = `flaky`;
      await mock.models({ [name]: words, steady: 'tokens=20' });
      await until(
        'the first route is open',
        async () => {
          await mock.clear();
          const answer = await call('chat', 'two-routes');
          assert.equal(answer.status, 200, answer.text);
          const journal = await mock.settled();
          return journal.length === 2 && journal[0].model === name && journal[1].model === 'steady';
        },
        4000 * SLOW,
        300,
      ).catch((error) => {
        throw new Error(`${words}: ${error.message}`);
      });
    });
  }

  test('an Anthropic overload falls through as well', async () => {
    await mock.models({ 'claude-flaky': 'status=529', 'claude-steady': 'tokens=20' });
    const answer = await call('messages', 'two-claudes', { stream: true });
    assert.equal(answer.status, 200);
    assert.equal(answer.events.text().length, 80);
    await booksOf(gateway, mock);
  });

  test('a connection that is refused: the next route serves, and nothing is booked for the first', async () => {
    await mock.models({ steady: 'tokens=20' });
    const answer = await call('chat', 'dead-then-live');
    assert.equal(answer.status, 200, answer.text);
    await gateway.booked();
    const rows = await gateway.rowsOf(answer.request_id);
    assert.deepEqual(
      rows.map((row) => [row.provider, row.cost_micros > 0]),
      [
        ['nobody', false],
        ['second', true],
      ],
    );
  });

  test('a connection cut amid the body: the next route serves', async () => {
    await mock.models({ steady: 'tokens=20' });
    const answer = await call('chat', 'refusing-then-live', { text: 'x'.repeat(24_000_000) });
    assert.equal(answer.status, 200, answer.text);
    await gateway.booked();
    const rows = await gateway.rowsOf(answer.request_id);
    assert.deepEqual(
      rows.map((row) => [row.kind, row.provider, row.cost_micros > 0]),
      [
        ['unbilled', 'refusing', false],
        ['settle', 'second', true],
      ],
    );
  });

  test('a connection cut after the whole body was sent: no second attempt where none may be billed twice', async () => {
    await mock.models({ steady: 'tokens=20' });
    const answer = await call('chat', 'refusing-then-live');
    assertRefusal(answer, 'chat', { status: 502, code: 'provider_answer_broken' });
    await mock.settled();
    assert.ok(!(await mock.journal()).some((entry) => entry.model === 'steady'));
  });

  test('a connection that is refused by the only provider: 502, and nothing is booked', async () => {
    for (const api of ['chat', 'responses']) {
      const answer = await call(api, 'dead');
      assertRefusal(answer, api, { status: 502, code: 'provider_unreachable' });
      await gateway.booked();
      const rows = await gateway.rowsOf(answer.request_id);
      assert.deepEqual(
        rows.map((row) => [row.kind, row.cost_micros]),
        [['release', 0]],
        JSON.stringify(rows),
      );
    }
  });

  test("the company's credential rejected: 502, never 401, never to be retried", async () => {
    await mock.models({
      'gpt-0': 'status=401,should_retry=true',
      'claude-0': 'status=401',
      'gpt-1': 'status=403',
    });
    for (const [api, model] of [
      ['chat', 'gpt-0'],
      ['responses', 'gpt-0'],
      ['messages', 'claude-0'],
      ['chat', 'gpt-1'],
    ]) {
      const answer = await call(api, model);
      const message = assertRefusal(answer, api, {
        status: 502,
        code: 'provider_credential_rejected',
      });
      assert.match(message, /tell the operator/);
    }
    const answer = await send(gateway, key, callOf('responses', 'gpt-0'), { headers: CODEX });
    assert.equal(answer.status, 400);
    await booksOf(gateway, mock);
  });

  test("400 passes with the provider's own words", async () => {
    await mock.models({ 'gpt-2': 'error=context', 'claude-2': 'status=400' });
    for (const [api, model] of [
      ['chat', 'gpt-2'],
      ['responses', 'gpt-2'],
      ['messages', 'claude-2'],
    ]) {
      const answer = await call(api, model, { stream: api === 'chat' });
      assert.equal(answer.status, 400);
      assert.equal(
        answer.json.error.reason ?? answer.json.error.details?.reason,
        undefined,
        'not ours',
      );
      assert.equal(answer.headers['x-tidegate-cost-micros'], '0');
      assert.ok(answer.headers['x-tidegate-upstream-request']);
    }
    await booksOf(gateway, mock);
  });

  test('422 and 413 pass as they are', async () => {
    await mock.models({ 'gpt-3': 'status=422', 'gpt-4': 'status=413' });
    assert.equal((await call('chat', 'gpt-3')).status, 422);
    assert.equal((await call('chat', 'gpt-4')).status, 413);
  });

  test('500 of the only provider passes, its retry-after never above a minute', async () => {
    await mock.models({ 'gpt-5': 'status=500,retry_after=7200', 'claude-5': 'status=500' });
    const answer = await call('chat', 'gpt-5');
    assert.equal(answer.status, 500);
    assert.equal(answer.headers['retry-after'], '60');
    assert.equal((await call('messages', 'claude-5')).status, 500);
  });

  test('FF-90 FF-95 all routes waiting for seconds: 429 with the shortest wait', async () => {
    await mock.models({
      'cool-a': 'status=429,retry_after=20',
      'cool-b': 'status=429,retry_after=9',
    });
    const first = await call('chat', 'cooling');
    assertRefusal(first, 'chat', {
      status: 429,
      code: 'routes_cooling',
      retry: null,
      after: [1, 20],
    });
    await mock.settled();
    await mock.clear();
    const second = await call('responses', 'cooling');
    assertRefusal(second, 'responses', {
      status: 429,
      code: 'routes_cooling',
      retry: null,
      after: [5, 10],
    });
    await assertUnheard(mock);
  });

  test('all routes spent: 402, never to be retried, whatever the provider says', async () => {
    await mock.models({
      'out-a': 'error=quota,should_retry=true',
      'out-b': 'error=credits,should_retry=true',
    });
    for (let i = 0; i < 2; i++) {
      const answer = await call('chat', 'exhausted');
      assertRefusal(answer, 'chat', { status: 402, code: 'routes_exhausted' });
    }
    assert.equal((await mock.settled()).length, 2, 'spent routes are not asked again at once');
  });

  test("Anthropic's spend cap is no rate limit", async () => {
    await mock.models({ 'claude-6': 'error=spend_cap,should_retry=true' });
    const answer = await call('messages', 'claude-6');
    assertRefusal(answer, 'messages', { status: 402, code: 'routes_exhausted' });
  });

  test('a provider that answers too late: 504, and the call is booked as sent', async () => {
    await mock.models({ slow: 'tokens=20,ttft_ms=5000' });
    const answer = await call('chat', 'slow');
    assertRefusal(answer, 'chat', { status: 504, code: 'provider_timeout' });
    await booksOf(gateway, mock);
    const [row] = await gateway.rowsOf(answer.request_id);
    assert.equal(row.kind, 'settle');
    assert.ok(row.cost_micros > 0);
  });

  test('a stream that falls silent ends in an error event', async () => {
    await mock.models({ stalling: 'tokens=60,tps=1000,stall_after=20' });
    const answer = await call('chat', 'stalling', { stream: true });
    assert.ok(answer.clean);
    assert.ok(
      answer.events.list.some((event) => event.json?.error),
      answer.text.slice(-300),
    );
    await booksOf(gateway, mock);
  });

  test('a connection cut before the answer: 502, booked as sent', async () => {
    await mock.models({ 'gpt-7': 'cut_before=1', 'claude-7': 'cut_before=1,bill_failed=1' });
    assertRefusal(await call('chat', 'gpt-7'), 'chat', {
      status: 502,
      code: 'provider_answer_broken',
    });
    assertRefusal(await call('messages', 'claude-7', { stream: true }), 'messages', {
      status: 502,
      code: 'provider_answer_broken',
    });
    await booksOf(gateway, mock);
  });

  test('an answer that is compressed though nobody asked is not passed off as JSON', async () => {
    await mock.models({ 'gpt-8': 'tokens=20,gzip=1' });
    const answer = await call('chat', 'gpt-8');
    assertRefusal(answer, 'chat', { status: 502, code: 'provider_answer_broken' });
  });
});
