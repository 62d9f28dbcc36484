// Goal: a call that is cut at any point costs its budget what its provider bills, or a little more, never less;
// and its client is never left waiting.
// Method: the faults of the simulated provider, streamed and not, against the whole rule of the books; a
// provider of our own where the fault is in how it closes.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, SLOW, ask, assertBooks, callOf, freePort, modelsOn, ownLimit, priced, providersOn, send, sleep }
  from './harness.mjs';

let mock;
before(async () => {
  mock = await Mock.start();
});
after(async () => {
  await mock?.stop();
});

/** Sends a call and leaves after `ms`. */
const leaveAfter = (gateway, key, call, ms) =>
  ask(gateway.url + call.path, { key, body: call.body, headers: call.headers, limit_ms: ms });

describe('calls that are not streamed', () => {
  for (const on_abort of ['stops', 'bills']) {
    test(`${on_abort}: a client that leaves them again and again empties its budget no faster than it is booked`, async () => {
      const provider = on_abort === 'stops' ? 'openai' : 'bills-openai';
      const gateway = await Gateway.start(mock, {
        models: modelsOn({ 'gpt-live': provider }),
        limits: { day: { counts: 'cost', per: 'account', window: 'day', cap: '0.10 USD', at_cap: 'refuse' } },
      });
      const key = gateway.member('ada');
      await mock.clear();
      await mock.models({ 'gpt-live': 'tokens=900,tps=4000' });
      for (let i = 0; i < 30; i++) {
        await leaveAfter(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }), 60 * SLOW);
      }
      const journal = await mock.settled();
      await gateway.booked();
      /* Sums, since the lowered limits of the last calls may be alike. */
      const billed = journal.reduce((sum, entry) => sum + priced(entry.bill), 0);
      const booked = (await gateway.ledger({ account: 'ada' })).reduce((sum, row) => sum + (row.cost_micros ?? 0), 0);
      assert.ok(booked >= billed && booked <= 100_000 + 100, `booked ${booked}, billed ${billed}`);
      assert.ok(journal.length < 15, `${journal.length} calls of about 13,500 micros passed a budget of 100,000`);
      await gateway.stop();
    });
  }

  for (const words of ['tokens=200,cut_after=100', 'tokens=200,end_after=100', 'tokens=200,gzip=1', 'tokens=200,torn=1']) {
    test(`${words}: the client gets an error, the books the whole held part`, async () => {
      const gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }) });
      const key = gateway.member('ada');
      await mock.clear();
      await mock.models({ 'gpt-live': words, 'claude-live': words });
      for (const [api, model] of [['chat', 'gpt-live'], ['responses', 'gpt-live'], ['messages', 'claude-live']]) {
        const answer = await send(gateway, key, callOf(api, model, { limit: ownLimit() }));
        assert.ok(answer.clean, `${api}: ${answer.error ?? ''}`);
      }
      await assertBooks(gateway, mock);
      await gateway.stop();
    });
  }
});

test('an error that may stand for an answer that was made is booked whole, and says what it cost', async () => {
  const gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) });
  const key = gateway.member('ada');
  await mock.clear();
  await mock.models({ 'gpt-live': 'status=504,bill_failed=1' });
  const limit = ownLimit();
  const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit }));
  assert.equal(answer.status, 504);
  await gateway.booked();
  const [row] = (await gateway.ledger({ account: 'ada' })).filter(({ usage }) => usage);
  assert.equal(row.usage.output, limit, 'the whole held part');
  assert.equal(Number(answer.headers['x-tidegate-cost-micros']), row.cost_micros);
  await assertBooks(gateway, mock);
  await gateway.stop();
});

describe('streams', () => {
  for (const api of ['chat', 'responses', 'messages']) {
    test(`FF-62 ${api}: a stream of one byte a token that its client leaves is booked at no less than was read`, async () => {
      const model = api === 'messages' ? 'claude-live' : 'gpt-live';
      const gateway = await Gateway.start(mock, {
        step: '64 tokens',
        models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
      });
      const key = gateway.member('ada');
      await mock.clear();
      await mock.models({ [model]: 'tokens=400,tps=200,bpt=1' });
      const limit = ownLimit();
      const call = callOf(api, model, { stream: true, limit });
      let text = '';
      await ask(gateway.url + call.path, {
        key,
        body: call.body,
        headers: call.headers,
        onEvent: (events, request) => {
          text = events.text();
          if (text.length > 150) {
            request.destroy();
          }
        },
      });
      assert.ok(text.length > 150, `${text.length} bytes came`);
      await assertBooks(gateway, mock, new Map([[limit, text.length]]));
      await gateway.stop();
    });
  }

  for (const api of ['chat', 'responses', 'messages']) {
    test(`${api}: a lowered answer that is cut late is booked within its bound`, async () => {
      const model = api === 'messages' ? 'claude-live' : 'gpt-live';
      const gateway = await Gateway.start(mock, {
        step: '64 tokens',
        min_answer: '64 tokens',
        models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
        limits: { day: { counts: 'cost', per: 'account', window: 'day', cap: '0.02 USD', at_cap: 'refuse' } },
      });
      const key = gateway.member('ada');
      await mock.clear();
      await mock.models({ [model]: 'tokens=5000,bpt=30,cut_after=1200' });
      const answer = await send(gateway, key, callOf(api, model, { stream: true, limit: 4000 }));
      assert.ok(answer.headers['x-tidegate-output-limit'], 'the limit was lowered');
      const told = Number(/cost_micros=(\d+)/.exec(answer.text)?.[1]);
      await gateway.booked();
      const [row] = (await gateway.ledger({ account: 'ada' })).filter(({ usage }) => usage);
      assert.ok(row.cost_micros <= row.bound_micros, `booked ${row.cost_micros}, bound ${row.bound_micros}`);
      assert.equal(told, row.cost_micros, 'what the client was told is what is booked');
      const [{ bill }] = await mock.settled();
      assert.ok(row.cost_micros >= priced(bill), `booked ${row.cost_micros}, billed ${priced(bill)}`);
      await gateway.stop();
    });
  }

  test('the gateway that stops amid an answer which its provider goes on to bill books its bound', async () => {
    const gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'bills-openai' }), stop_grace: '1s' });
    const key = gateway.member('ada');
    await mock.clear();
    await mock.models({ 'gpt-live': 'tokens=900,tps=100,bill_after_cut=1' });
    const answer = send(gateway, key, callOf('chat', 'gpt-live', { stream: true, limit: ownLimit() }));
    await sleep(300 * SLOW);
    assert.deepEqual(await gateway.program.end('SIGTERM', 15_000 * SLOW), { code: 0, signal: null });
    const { clean, text } = await answer;
    assert.ok(clean, 'the stream ended as HTTP has it');
    assert.match(text, /gateway_stopping/);
    await gateway.launch();
    await assertBooks(gateway, mock);
    await gateway.stop();
  });
});

describe('a provider that keeps its connection open', () => {
  const LAST = 'data: [DONE]\n\n';
  let server;
  let port;
  let after_last = '';
  before(async () => {
    port = await freePort();
    server = http.createServer((request, response) => {
      request.resume();
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: {"id":"c1","choices":[{"index":0,"delta":{"content":"tide"},"finish_reason":null}]}\n\n');
      response.write('data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n');
      response.write('data: {"id":"c1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}\n\n');
      response.write(LAST + after_last); // and no end
    });
    await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  for (const more of ['', 'data: {"choices":[{"index":0,"delta":{"content":"more"}}]}\n\n']) {
    test(`after the last event ${more ? 'and with bytes behind it ' : ''}its client's stream is over at once`, async () => {
      after_last = more;
      const providers = providersOn(mock);
      const gateway = await Gateway.start(mock, {
        providers: { ...providers, open: { ...providers.openai, base_url: `http://127.0.0.1:${port}/v1` } },
        models: modelsOn({ 'gpt-live': 'open' }),
      });
      const key = gateway.member('ada');
      const began = Date.now();
      const answer = await send(gateway, key, callOf('chat', 'gpt-live', { stream: true, limit: 50 }));
      assert.ok(answer.clean && Date.now() - began < 800 * SLOW, `after ${Date.now() - began} ms`);
      assert.ok(answer.text.endsWith(LAST), 'the last event is the last');
      assert.equal(answer.events.text(), 'tide');
      await gateway.booked();
      const [row] = await gateway.ledger({ account: 'ada', kind: 'settle' });
      assert.deepEqual([row.usage.input, row.usage.output], [5, 1]);
      await gateway.stop();
    });
  }
});

test('a child that names no thread of its own stays in its parent\'s tree, and draws nobody else into it', async () => {
  const gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai' }),
    limits: { tree: { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: '0.02 USD', at_cap: 'refuse' } },
  });
  const key = gateway.member('ada');
  await mock.models({ 'gpt-live': 'tokens=1000' });
  const call = callOf('chat', 'gpt-live', { limit: 1000 });
  const from = (headers) => ask(gateway.url + call.path, { key, body: call.body, headers });
  assert.equal((await from({ 'x-tidegate-thread': 'root' })).status, 200);
  assert.equal((await from({ 'x-tidegate-parent': 'root' })).status, 200); /* the rest of the tree's budget */
  assert.equal((await from({ 'x-tidegate-thread': 'root' })).status, 402, 'the child was charged to the tree');
  assert.equal((await from({ 'x-tidegate-parent': 'root' })).status, 402, 'the child is in the tree');
  assert.equal((await from({})).status, 200, 'unnamed calls are not');
  await gateway.stop();
});

test('FF-72 a tier is paid as the answer names it, not as it was asked for', async () => {
  const gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) });
  const key = gateway.member('ada');
  await mock.clear();
  await mock.models({ 'gpt-live': 'tokens=50' });
  const call = callOf('chat', 'gpt-live', { limit: ownLimit(), more: { service_tier: 'priority' } });
  const answer = await send(gateway, key, call);
  assert.equal(answer.json.service_tier, 'default');
  await assertBooks(gateway, mock);
  await gateway.stop();
});
