// Goal: whatever the gateway refuses, the client is told so in its own dialect, once, in words a person
// can act on; no provider hears of it and no meter moves. What a provider refuses is told apart from it.
// Method: tables of requests with the answer that each must get; the SDKs where their behaviour counts.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';
import zlib from 'node:zlib';

import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

import { Gateway, Mock, SLOW, ask, assertBooks, callOf, freePort, modelsOn, ownLimit, priced, providersOn, send,
  sleep, until } from './harness.mjs';

const APIS = ['chat', 'responses', 'messages'];
const CODEX = { 'user-agent': 'codex_exec/0.169.0 (Debian 12; x86_64)', originator: 'codex_exec' };

let mock;
before(async () => {
  mock = await Mock.start();
});
after(async () => {
  await mock?.stop();
});

const modelOf = (api) => (api === 'messages' ? 'claude-live' : 'gpt-live');
const small = (api, more = {}) => callOf(api, modelOf(api), { limit: ownLimit(), ...more });

/** What every refusal has, whatever it is for; gives its sentence. */
function assertRefusal(answer, api, { status, code, words, retry = 'false', after: retry_after, codex = false }) {
  assert.equal(answer.status, status, `${answer.text} ${answer.error ?? ''}`);
  assert.ok(answer.clean, 'the answer is whole');
  assert.ok(answer.request_id, 'it has a request id');
  assert.equal(answer.headers['request-id'], answer.request_id);
  assert.equal(answer.headers['x-should-retry'], retry === null ? undefined : retry);
  if (retry_after === null) {
    assert.equal(answer.headers['retry-after'], undefined);
  } else if (retry_after) {
    const seconds = Number(answer.headers['retry-after']);
    assert.ok(Number.isInteger(seconds) && seconds >= retry_after[0] && seconds <= retry_after[1],
      `retry-after: ${answer.headers['retry-after']}`);
  }
  if (codex) {
    return answer.text;
  }
  const error = answer.json?.error;
  assert.ok(error, answer.text);
  if (api === 'messages') {
    assert.equal(answer.json.type, 'error');
    assert.equal(answer.json.request_id, answer.request_id);
    assert.equal(error.details.reason, code);
  } else {
    assert.equal(error.reason, code);
    assert.ok('type' in error && 'param' in error && 'code' in error);
  }
  if (words) {
    assert.match(error.message, words);
  }
  return error.message;
}

/** The provider has heard of nothing since the last clear. */
async function assertUnheard() {
  assert.deepEqual(await mock.journal(), [], 'nothing reached the provider');
}

describe('who is not served', () => {
  let gateway;
  let key;
  let expired;
  let revoked;
  let banned;
  let observer;
  let named;
  before(async () => {
    gateway = await Gateway.start(mock, {
      models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
      body_max: '64KB',
      limits: { month: { counts: 'cost', per: 'account', window: 'month', cap: '100 USD' } },
    });
    key = gateway.member('ada');
    gateway.member('bob');
    expired = gateway.addKey('bob', '--expires', new Date(Date.now() + 1500).toISOString()).secret;
    const over = Date.now() + 1600;
    const short = gateway.addKey('bob', '--label', 'laptop');
    revoked = short.secret;
    assert.equal((await send(gateway, revoked, small('chat'))).status, 200, 'a key works until it is revoked');
    gateway.command('key', 'revoke', short.id);
    banned = gateway.member('eve');
    assert.equal((await send(gateway, banned, small('chat'))).status, 200, 'an account works until it is banned');
    gateway.command('account', 'ban', 'eve');
    observer = gateway.addKey('bob', '--role', 'observer').secret;
    named = gateway.addKey('bob', '--thread-required').secret;
    assert.equal((await send(gateway, expired, small('chat'))).status, 200, 'a key works until it expires');
    await sleep(Math.max(0, over - Date.now()));
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(() => mock.clear());

  const rows = [
    /* what is sent, by whom, what comes back */
    ['no key', () => undefined, {}, { status: 401, code: 'key_missing', words: /x-tidegate-key/ }],
    ['a wrong key', () => 'tg-nobody-has-this-key-00000000000000000000', {}, { status: 401, code: 'key_invalid' }],
    ["a provider's key", () => 'sk-ant-api03-not-for-this-gateway-0001', {}, { status: 401, code: 'key_invalid' }],
    ['an expired key', () => expired, {}, { status: 401, code: 'key_expired', words: /expired/ }],
    ['a revoked key', () => revoked, {}, { status: 401, code: 'key_revoked', words: /revoked/ }],
    ['two different keys', () => key, { 'x-api-key': 'another-one-of-mine' }, { status: 401, code: 'key_conflict' }],
    ['a banned account', () => banned, {}, { status: 403, code: 'account_banned', words: /banned/ }],
    ["an observer's key", () => observer, {}, { status: 403, code: 'key_role' }],
    ['a call without its thread', () => named, {}, { status: 400, code: 'thread_required', words: /x-tidegate-thread/ }],
    ['an unknown parent thread', () => key, { 'x-tidegate-thread': 'a', 'x-tidegate-parent': 'nobody' },
      { status: 404, code: 'thread_parent_unknown' }],
  ];
  for (const [what, who, headers, expected] of rows) {
    for (const api of APIS) {
      test(`${api}: ${what} gets ${expected.status}`, async () => {
        const secret = who();
        gateway.secrets.add(headers['x-api-key'] ?? 'none-of-this');
        if (secret) {
          gateway.secrets.add(secret);
        }
        const answer = await send(gateway, secret, small(api), { headers });
        const retry = expected.status === 400 ? 'false' : undefined;
        assertRefusal(answer, api, { ...expected, ...(retry ? { retry } : {}), after: null });
        await assertUnheard();
      });
    }
    test(`codex: ${what} gets 400 with the sentence as text`, async () => {
      const answer = await send(gateway, who(), small('responses'), { headers: { ...headers, ...CODEX } });
      const text = assertRefusal(answer, 'responses', { status: 400, codex: true });
      assert.match(answer.headers['content-type'], /^text\/plain/);
      assert.ok(!text.startsWith('{') && text.length > 10, text);
      await assertUnheard();
    });
  }

  test('the same key in two places is one key', async () => {
    const answer = await send(gateway, key, small('messages'), { headers: { 'x-api-key': key } });
    assert.equal(answer.status, 200, answer.text);
  });

  test('a key may come in each of its places', async () => {
    for (const headers of [{ 'x-tidegate-key': key }, { 'x-api-key': key }, { 'api-key': key }, { authorization: `bearer ${key}` }]) {
      const answer = await send(gateway, undefined, small('messages'), { headers });
      assert.equal(answer.status, 200, `${Object.keys(headers)}: ${answer.text}`);
    }
  });

  test('x-tidegate-account from a key that may not act for others is ignored, and told', async () => {
    const answer = await send(gateway, key, small('chat'), { headers: { 'x-tidegate-account': 'bob' } });
    assert.equal(answer.status, 200);
    assert.match(answer.headers['x-tidegate-warning'], /ignored/);
    await gateway.booked();
    const [row] = await gateway.rowsOf(answer.request_id);
    assert.equal(row.account, 'ada');
  });

  test('a service key acts for the end users of its prefix, and for no others', async () => {
    gateway.addAccount('shop');
    const service = gateway.addKey('shop', '--role', 'service', '--may-act-for', 'shop-*').secret;
    const answer = await send(gateway, service, small('chat'), { headers: { 'x-tidegate-account': 'shop-zoe' } });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.headers['x-tidegate-warning'], undefined);
    await gateway.booked();
    const [row] = await gateway.rowsOf(answer.request_id);
    assert.equal(row.account, 'shop-zoe');
    const other = await send(gateway, service, small('chat'), { headers: { 'x-tidegate-account': 'ada' } });
    await gateway.booked();
    if (other.status === 200) {
      const [theirs] = await gateway.rowsOf(other.request_id);
      assert.equal(theirs.account, 'shop', 'not the account of another');
    } else {
      assert.equal(other.status, 403, other.text);
    }
  });

  describe('what cannot be read', () => {
    const bodies = [
      ['is not JSON', 'hello', 'body_not_json', 400],
      ['is not an object', '[1,2]', 'body_not_json', 400],
      ['is empty', '', 'body_not_json', 400],
      ['is JSON with something after it', '{"model":"gpt-live"} {}', 'body_not_json', 400],
      ['is cut off', '{"model":"gpt-live","messages":[', 'body_not_json', 400],
      ['has a key twice', '{"model":"gpt-live","model":"claude-live","messages":[]}', 'body_duplicate_key', 400],
      ['has a key twice, once escaped', '{"model":"gpt-live","mod\\u0065l":"x","messages":[]}', 'body_duplicate_key', 400],
      ['has a model that is a number', '{"model":5,"messages":[]}', 'body_field_invalid', 400],
      ['has no model', '{"messages":[]}', 'body_field_invalid', 400],
      ['has an output limit below zero', '{"model":"gpt-live","max_tokens":-4,"messages":[]}', 'body_field_invalid', 400],
    ];
    for (const [what, body, code, status] of bodies) {
      for (const api of APIS) {
        test(`${api}: a body that ${what} gets ${status}`, async () => {
          if (api !== 'chat' && /max_tokens/.test(body)) {
            body.replace('max_tokens', api === 'responses' ? 'max_output_tokens' : 'max_tokens');
          }
          const sent = api === 'responses' ? body.replace('max_tokens', 'max_output_tokens') : body;
          const answer = await ask(gateway.url + callOf(api, 'x').path, { key, body: sent, headers: callOf(api, 'x').headers });
          assertRefusal(answer, api, { status, code });
          await assertUnheard();
        });
      }
    }

    for (const api of APIS) {
      test(`${api}: a body that is too large gets 413`, async () => {
        const call = small(api, { text: 'x'.repeat(70_000) });
        assertRefusal(await send(gateway, key, call), api, { status: 413, code: 'body_too_large' });
        await assertUnheard();
      });

      test(`${api}: a compressed body gets 415`, async () => {
        const call = small(api);
        const body = zlib.gzipSync(JSON.stringify(call.body));
        const answer = await send(gateway, key, { ...call, body }, { headers: { 'content-encoding': 'gzip' } });
        assertRefusal(answer, api, { status: 415, code: 'body_compressed' });
        await assertUnheard();
      });

      test(`${api}: an unknown model gets 404 and a way to find the right one`, async () => {
        const answer = await send(gateway, key, callOf(api, 'gpt-nobody'));
        const message = assertRefusal(answer, api, { status: 404, code: 'model_not_found', words: /gpt-nobody/ });
        assert.match(message, /\/v1\/models/);
        if (api !== 'messages') {
          assert.equal(answer.json.error.code, 'model_not_found');
        }
        await assertUnheard();
      });
    }

    test('a chunked body that is too large gets 413', async () => {
      const answer = await new Promise((resolve) => {
        const request = http.request(`${gateway.url}/v1/chat/completions`, {
          method: 'POST', agent: false, headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        });
        request.on('error', (error) => resolve({ error }));
        request.on('response', (response) => {
          response.resume();
          resolve({ status: response.statusCode });
        });
        request.write('{"model":"gpt-live","x":"');
        for (let i = 0; i < 10; i++) {
          request.write('y'.repeat(10_000));
        }
        request.end('"}');
      });
      assert.equal(answer.status, 413, String(answer.error));
      await assertUnheard();
    });

    test('background work is refused', async () => {
      const answer = await send(gateway, key, small('responses', { more: { background: true } }));
      assertRefusal(answer, 'responses', { status: 400, code: 'background_not_served', words: /background/ });
      await assertUnheard();
    });

    test('a model asked for at the wrong endpoint is told where it is served', async () => {
      for (const [api, model, right] of [['chat', 'claude-live', '/v1/messages'], ['responses', 'claude-live', '/v1/messages'],
        ['messages', 'gpt-live', '/v1/chat/completions']]) {
        const answer = await send(gateway, key, callOf(api, model));
        const message = assertRefusal(answer, api, { status: 404, code: 'api_not_served' });
        assert.ok(message.includes(right), message);
      }
      await assertUnheard();
    });

    test('an unknown endpoint is told what exists', async () => {
      for (const [method, path] of [['POST', '/v1/complete'], ['GET', '/v1/files'], ['GET', '/nothing'], ['POST', '/v1/embeddings'],
        ['POST', '/v1beta/models/gemini:generateContent']]) {
        const answer = await ask(gateway.url + path, { method, key, body: method === 'POST' ? '{}' : undefined });
        const message = assertRefusal(answer, 'chat', { status: 404, code: 'endpoint_not_found' });
        assert.match(message, /\/v1\/chat\/completions/);
      }
      await assertUnheard();
    });

    test('a wrong method gets 405', async () => {
      for (const [method, path] of [['GET', '/v1/chat/completions'], ['PUT', '/v1/messages'], ['POST', '/v1/models'], ['DELETE', '/v1/responses']]) {
        const answer = await ask(gateway.url + path, { method, key });
        assertRefusal(answer, 'chat', { status: 405, code: 'method_not_allowed' });
      }
      await assertUnheard();
    });

    test('a state id that this account never got is not found, and looks the same as a missing one', async () => {
      const foreign = gateway.member('zoe');
      const first = await send(gateway, foreign, small('responses'));
      assert.equal(first.status, 200);
      await mock.clear();
      const texts = [];
      for (const id of [first.json.id, 'resp_nobody_got_this']) {
        const answer = await send(gateway, key, small('responses', { more: { previous_response_id: id } }));
        texts.push(assertRefusal(answer, 'responses', { status: 404, code: 'id_not_found' }).replaceAll(id, 'ID'));
      }
      assert.equal(texts[0], texts[1]);
      await assertUnheard();
      const own = await send(gateway, foreign, small('responses', { more: { previous_response_id: first.json.id } }));
      assert.equal(own.status, 200, own.text);
    });

    test('files and containers of the company are nobody\'s', async () => {
      const file = { role: 'user', content: [{ type: 'input_file', file_id: 'file-of-somebody' }] };
      assertRefusal(await send(gateway, key, small('responses', { more: { input: [file] } })), 'responses', { status: 404, code: 'id_not_found' });
      assertRefusal(await send(gateway, key, small('messages', { more: { container: 'container_of_somebody' } })), 'messages', { status: 404, code: 'id_not_found' });
      await assertUnheard();
    });
  });

  test('the first refusal of its kind is a row of the ledger, repeats lead to it', async () => {
    const ids = new Set();
    for (let i = 0; i < 3; i++) {
      const answer = await send(gateway, named, small('chat'));
      ids.add(answer.request_id);
    }
    assert.ok(ids.size <= 2, 'a new minute may begin in between');
    await until('the refusal is booked', async () => (await gateway.rowsOf([...ids][0])).some((row) => row.kind === 'refusal'));
  });

  test('an admin change reaches both loops at once', async () => {
    const secret = gateway.member('mia');
    const agents = Array.from({ length: 8 }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
    for (const agent of agents) {
      assert.equal((await send(gateway, secret, small('chat'), { agent })).status, 200);
    }
    gateway.command('account', 'ban', 'mia');
    for (const agent of agents) {
      assert.equal((await send(gateway, secret, small('chat'), { agent })).status, 403);
    }
    gateway.command('account', 'unban', 'mia');
    for (const agent of agents) {
      assert.equal((await send(gateway, secret, small('chat'), { agent })).status, 200);
      agent.destroy();
    }
  });
});

describe('a spent budget', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start(mock, {
      plans: { free: {}, tight: {} },
      models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
      limits: {
        'month-spend': { counts: 'cost', per: 'account', window: 'month', cap: { default: 'unlimited', plan: { tight: '0.01 USD' } } },
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
    const answer = await send(gateway, key, callOf('messages', 'claude-live', { limit: ownLimit(), stream: true }));
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
      assert.match(message, /^Account "spent-one" has spent \$0\.0\d+ of \$0\.01\b.*\(limit "month-spend"\)\./);
      assert.match(message, /It opens again on \d{4}-\d\d-\d\d \d\d:\d\d UTC\. Ask your operator to raise it\.$/);
      const details = api === 'messages' ? answer.json.error.details : answer.json.error;
      assert.equal(details.limit, 'month-spend');
      assert.equal(details.cap_micros, 10_000);
      assert.ok(Date.parse(details.resets_at) > Date.now());
      assert.equal(answer.json.error.type, api === 'messages' ? 'billing_error' : 'insufficient_quota');
    }
    await assertUnheard();
  });

  test('codex gets its own form: 429 usage_limit_reached with our sentence as promo message', async () => {
    const key = await spender('spent-codex');
    const answer = await send(gateway, key, small('responses'), { headers: CODEX });
    assertRefusal(answer, 'responses', { status: 429, codex: true, after: null });
    assert.equal(answer.json.error.type, 'usage_limit_reached');
    assert.ok(answer.json.error.resets_at * 1000 > Date.now());
    assert.equal(answer.json.error.plan_type, undefined);
    assert.match(answer.headers['x-codex-promo-message'], /^Account "spent-codex" has spent .*[^.]$/);
    const chat = await send(gateway, key, small('chat'), { headers: CODEX });
    assert.equal(chat.status, 402, 'that form is for /v1/responses alone');
    await assertUnheard();
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
    await assertUnheard();
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
    const answer = await send(gateway, key, { ...call, path: '/v1/messages/count_tokens', body: { model: 'claude-live', messages: call.body.messages } });
    assert.equal(answer.status, 200, answer.text);
    assert.ok(answer.json.input_tokens > 0);
  });

  test('what has little room gets a lower output limit and ends by itself', async () => {
    const key = gateway.member('lowered', '--plan', 'tight');
    await mock.models({ 'gpt-live': 'tokens=5000', 'claude-live': 'tokens=5000' });
    const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit: 5000, stream: true }));
    assert.equal(answer.status, 200);
    const limit = Number(answer.headers['x-tidegate-output-limit']);
    assert.ok(limit >= 256 && limit < 1000, `limit ${limit}`);
    const journal = await mock.settled();
    assert.equal(journal[0].limit, limit);
    assert.equal(answer.events.list.findLast((event) => event.json?.choices?.[0]?.finish_reason).json.choices[0].finish_reason, 'length');
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
      limits: { 'month-spend': { counts: 'cost', per: 'account', window: 'month', cap: '0.017 USD' } },
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
    const answers = await Promise.all([0, 1].map(() => send(gateway, key, callOf('chat', 'gpt-live', { limit: 1000 }))));
    assert.deepEqual(answers.map((answer) => answer.status), [200, 200], answers.map((answer) => answer.text).join());
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
    const second = await send(gateway, key, callOf('chat', 'gpt-live', { limit: 1000, stream: true }));
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
    const second = await send(gateway, key, callOf('chat', 'gpt-live', { limit: 1000, stream: true }), { limit_ms: 300 });
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
      limits: { 'month-spend': { counts: 'cost', per: 'account', window: 'month', cap: '0.017 USD' } },
    });
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(() => mock.clear());

  for (const api of APIS) {
    test(`${api}: it ends in 429 with a small retry-after`, async () => {
      const key = gateway.member(`late-${api}`);
      await mock.models({ 'gpt-live': 'tokens=20,ttft_ms=1500', 'claude-live': 'tokens=20,ttft_ms=1500' });
      const first = send(gateway, key, callOf(api, modelOf(api), { limit: 1000 }));
      await until('the first is at the provider', async () => (await mock.journal()).length === 1);
      const started = Date.now();
      const second = await send(gateway, key, callOf(api, modelOf(api), { limit: 1000 }));
      const waited_ms = Date.now() - started;
      const message = assertRefusal(second, api, { status: 429, code: 'budget_held', retry: null, after: [1, 5] });
      assert.match(message, /calls in flight hold \$0\.0\d+/);
      assert.ok(waited_ms >= 290 && waited_ms < 1200 * SLOW, `waited ${waited_ms} ms`);
      const codex = api === 'responses' && await send(gateway, key, callOf(api, modelOf(api), { limit: 1000 }), { headers: CODEX });
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
    const second = await openai.chat.completions.create(callOf('chat', 'gpt-live', { limit: 1000 }).body);
    assert.ok(second.choices[0].message.content);
    assert.equal((await first).status, 200);
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
    test(`${api}: too many requests get 429 with a whole number of seconds and no x-should-retry`, async () => {
      const key = gateway.member(`hasty-${api}`);
      for (let i = 0; i < 2; i++) {
        assert.equal((await send(gateway, key, small(api))).status, 200);
      }
      await mock.settled();
      await mock.clear();
      const answer = await send(gateway, key, small(api));
      const message = assertRefusal(answer, api, { status: 429, code: 'rate_limited', retry: null, after: [1, 2] });
      assert.match(message, /This key of account "hasty-.*" has used 2 of 2 requests \(limit "a-minute"\)\. Try again in [12] s\./);
      assert.equal(answer.json.error.type, api === 'messages' ? 'rate_limit_error' : 'rate_limit_exceeded');
      if (api === 'responses') {
        const codex = await send(gateway, key, small(api), { headers: CODEX });
        assertRefusal(codex, api, { status: 429, code: 'rate_limited', retry: null, after: [1, 2] });
      }
      await assertUnheard();
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

  test('calls in flight over their number get 429 until one ends', async () => {
    const key = gateway.member('parallel');
    const second_key = gateway.addKey('parallel').secret;
    await mock.models({ 'gpt-one': 'tokens=20,ttft_ms=800' });
    const first = send(gateway, key, callOf('chat', 'gpt-one', { limit: ownLimit() }));
    await until('the first is at the provider', async () => (await mock.journal()).length === 1);
    const second = await send(gateway, second_key, callOf('chat', 'gpt-one', { limit: ownLimit() }));
    assertRefusal(second, 'chat', { status: 429, code: 'in_flight_full', retry: null, after: [1, 5], words: /has 1 of 1 calls in flight/ });
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
      limits: { 'chat-lifetime': { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: '0.01 USD' } },
    });
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(() => mock.clear());

  test('the whole tree is refused once it has spent its lifetime, and no other', async () => {
    const key = gateway.member('forester');
    const from = (thread, parent) => ({ 'x-tidegate-thread': thread, ...(parent ? { 'x-tidegate-parent': parent } : {}) });
    await mock.models({ 'gpt-live': 'tokens=20', 'claude-live': 'tokens=300' });
    assert.equal((await send(gateway, key, small('chat'), { headers: from('root') })).status, 200);
    await gateway.booked();
    for (const [thread, parent] of [['child', 'root'], ['grandchild', 'child']]) {
      const answer = await send(gateway, key, small('messages', { stream: true }), { headers: from(thread, parent) });
      assert.equal(answer.status, 200, answer.text);
      await gateway.booked();
    }
    await mock.clear();
    for (const [thread, parent] of [['root'], ['child', 'root'], ['child'], ['new-leaf', 'grandchild']]) {
      for (const api of APIS) {
        const answer = await send(gateway, key, small(api), { headers: from(thread, parent) });
        const message = assertRefusal(answer, api, { status: 402, code: 'budget_spent', after: null });
        assert.match(message, /^This thread with all under it has spent \$0\.0\d+ of \$0\.01\b.*\(limit "chat-lifetime"\)\. It does not reset by itself\./);
      }
    }
    await assertUnheard();
    assert.equal((await send(gateway, key, small('chat'), { headers: from('another') })).status, 200);
    assert.equal((await send(gateway, gateway.member('neighbour'), small('chat'), { headers: from('root') })).status, 200, 'names are scoped to the account');
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
    const session = (id) => ({ metadata: { user_id: JSON.stringify({ device_id: 'd', account_uuid: '', session_id: id }) } });
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

describe('a model without a price', () => {
  const unpriced = { mystery: { max_output: 1000, context: 8000, routes: [{ provider: 'openai', model: 'mystery-model-nobody-knows' }] } };

  test('is refused to those who are under a cost limit', async () => {
    const gateway = await Gateway.start(mock, {
      models: unpriced,
      limits: { month: { counts: 'cost', per: 'account', window: 'month', cap: '5 USD' } },
    });
    await mock.clear();
    const key = gateway.member('ada');
    for (const api of ['chat', 'responses']) {
      assertRefusal(await send(gateway, key, callOf(api, 'mystery')), api, { status: 402, code: 'model_unpriced', words: /no price/ });
    }
    await assertUnheard();
    await gateway.stop();
  });

  test('is relayed and flagged where no cost limit is in force', async () => {
    const gateway = await Gateway.start(mock, { models: unpriced });
    const key = gateway.member('ada');
    const answer = await send(gateway, key, callOf('chat', 'mystery'));
    assert.equal(answer.status, 200, answer.text);
    await gateway.booked();
    const [row] = await gateway.rowsOf(answer.request_id);
    assert.ok(row.flags.includes('unpriced'), `flags: ${row.flags}`);
    assert.equal(row.cost_micros, 0);
    await gateway.stop();
  });
});

describe('what providers refuse', () => {
  let gateway;
  let key;
  let dead_port;
  const two = (first) => [[first, 'flaky'], ['second', 'steady']];
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
        'claude-two': { ...providers.anthropic, credentials: { company: { env: 'LIVE_SECOND_KEY' } } },
      },
      models: modelsOn({
        'gpt-live': 'openai', 'claude-live': 'anthropic',
        'two-routes': two('openai'), 'dead-then-live': two('nobody'), dead: 'nobody', 'refusing-then-live': two('refusing'),
        'two-claudes': [['anthropic', 'claude-flaky'], ['claude-two', 'claude-steady']],
        slow: 'slow', stalling: 'stalling',
        cooling: [['openai', 'cool-a'], ['second', 'cool-b']],
        exhausted: [['openai', 'out-a'], ['second', 'out-b']],
        ...Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`gpt-${i}`, 'openai'])),
        ...Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`claude-${i}`, 'anthropic'])),
      }),
      limits: { month: { counts: 'cost', per: 'account', window: 'month', cap: '100 USD' } },
    });
    key = gateway.member('ada');
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(() => mock.clear());

  const call = (api, model, options = {}) => send(gateway, key, callOf(api, model, { limit: ownLimit(), ...options }));

  test('429 with a retry-after: the next route serves, and the first is left alone for that long', async () => {
    await mock.models({ flaky: 'status=429,retry_after=3', steady: 'tokens=20' });
    const first = await call('chat', 'two-routes');
    assert.equal(first.status, 200, first.text);
    assert.equal(first.headers['retry-after'], undefined);
    await gateway.booked();
    const rows = await gateway.rowsOf(first.request_id);
    assert.deepEqual(rows.map((row) => [row.kind, row.provider, row.attempt, row.status]), [['unbilled', 'openai', 0, 429], ['settle', 'second', 1, 200]]);
    const stream = await call('chat', 'two-routes', { stream: true });
    assert.equal(stream.events.text().length, 80);
    let journal = await mock.settled();
    assert.deepEqual(journal.map((entry) => entry.model), ['flaky', 'steady', 'steady']);
    assert.deepEqual(journal.map((entry) => entry.credential.value), ['sk-company-openai-4f1e9a77', 'sk-company-second-13aa90fe', 'sk-company-second-13aa90fe']);
    await sleep(3200);
    await mock.models({ flaky: 'tokens=10' });
    assert.equal((await call('chat', 'two-routes')).status, 200);
    journal = await mock.settled();
    assert.equal(journal.at(-1).model, 'flaky', 'after its wait it is asked again');
    await assertBooksOf(journal);
  });

  for (const [what, words] of [['503', 'status=503'], ['529', 'status=529'], ['500', 'status=500'], ['an HTML page', 'html=1'],
    ['a rejected credential', 'status=401'], ['a spent quota', 'error=quota']]) {
    test(`${what}: the next route serves`, async () => {
      const name = `flaky`;
      await mock.models({ [name]: words, steady: 'tokens=20' });
      await until('the first route is open', async () => {
        await mock.clear();
        const answer = await call('chat', 'two-routes');
        assert.equal(answer.status, 200, answer.text);
        const journal = await mock.settled();
        return journal.length === 2 && journal[0].model === name && journal[1].model === 'steady';
      }, 4000 * SLOW, 300).catch((error) => {
        throw new Error(`${words}: ${error.message}`);
      });
    });
  }

  test('an Anthropic overload falls through as well', async () => {
    await mock.models({ 'claude-flaky': 'status=529', 'claude-steady': 'tokens=20' });
    const answer = await call('messages', 'two-claudes', { stream: true });
    assert.equal(answer.status, 200);
    assert.equal(answer.events.text().length, 80);
    await assertBooksOf(await mock.settled());
  });

  test('a connection that is refused: the next route serves, and nothing is booked for the first', async () => {
    await mock.models({ steady: 'tokens=20' });
    const answer = await call('chat', 'dead-then-live');
    assert.equal(answer.status, 200, answer.text);
    await gateway.booked();
    const rows = await gateway.rowsOf(answer.request_id);
    assert.deepEqual(rows.map((row) => [row.provider, row.cost_micros > 0]), [['nobody', false], ['second', true]]);
  });

  test('a connection cut amid the body: the next route serves', async () => {
    await mock.models({ steady: 'tokens=20' });
    const answer = await call('chat', 'refusing-then-live', { text: 'x'.repeat(24_000_000) });
    assert.equal(answer.status, 200, answer.text);
    await gateway.booked();
    const rows = await gateway.rowsOf(answer.request_id);
    assert.deepEqual(rows.map((row) => [row.kind, row.provider, row.cost_micros > 0]), [['unbilled', 'refusing', false], ['settle', 'second', true]]);
  });

  test('a connection cut after the whole body was sent: no second attempt, since the first may be billed', async () => {
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
      assert.deepEqual(rows.map((row) => [row.kind, row.cost_micros]), [['release', 0]], JSON.stringify(rows));
    }
  });

  test("the company's credential rejected: 502, never 401, never to be retried", async () => {
    await mock.models({ 'gpt-0': 'status=401,should_retry=true', 'claude-0': 'status=401', 'gpt-1': 'status=403' });
    for (const [api, model] of [['chat', 'gpt-0'], ['responses', 'gpt-0'], ['messages', 'claude-0'], ['chat', 'gpt-1']]) {
      const answer = await call(api, model);
      const message = assertRefusal(answer, api, { status: 502, code: 'provider_credential_rejected' });
      assert.match(message, /tell the operator/);
    }
    const answer = await send(gateway, key, callOf('responses', 'gpt-0'), { headers: CODEX });
    assert.equal(answer.status, 400);
    await assertBooksOf(await mock.settled());
  });

  test("400 passes with the provider's own words", async () => {
    await mock.models({ 'gpt-2': 'error=context', 'claude-2': 'status=400' });
    for (const [api, model] of [['chat', 'gpt-2'], ['responses', 'gpt-2'], ['messages', 'claude-2']]) {
      const answer = await call(api, model, { stream: api === 'chat' });
      assert.equal(answer.status, 400);
      assert.equal(answer.json.error.reason ?? answer.json.error.details?.reason, undefined, 'not ours');
      assert.equal(answer.headers['x-tidegate-cost-micros'], '0');
      assert.ok(answer.headers['x-tidegate-upstream-request']);
    }
    await assertBooksOf(await mock.settled());
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

  test('all routes waiting for seconds: 429 with the shortest wait', async () => {
    await mock.models({ 'cool-a': 'status=429,retry_after=20', 'cool-b': 'status=429,retry_after=9' });
    const first = await call('chat', 'cooling');
    assertRefusal(first, 'chat', { status: 429, code: 'routes_cooling', retry: null, after: [1, 20] });
    await mock.settled();
    await mock.clear();
    const second = await call('responses', 'cooling');
    assertRefusal(second, 'responses', { status: 429, code: 'routes_cooling', retry: null, after: [5, 10] });
    await assertUnheard();
  });

  test('all routes spent: 402, never to be retried, whatever the provider says', async () => {
    await mock.models({ 'out-a': 'error=quota,should_retry=true', 'out-b': 'error=credits,should_retry=true' });
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
    await assertBooksOf(await mock.settled());
    const [row] = await gateway.rowsOf(answer.request_id);
    assert.equal(row.kind, 'settle');
    assert.ok(row.cost_micros > 0);
  });

  test('a stream that falls silent ends in an error event', async () => {
    await mock.models({ stalling: 'tokens=60,tps=1000,stall_after=20' });
    const answer = await call('chat', 'stalling', { stream: true });
    assert.ok(answer.clean);
    assert.ok(answer.events.list.some((event) => event.json?.error), answer.text.slice(-300));
    await assertBooksOf(await mock.settled());
  });

  test('a connection cut before the answer: 502, booked as sent', async () => {
    await mock.models({ 'gpt-7': 'cut_before=1', 'claude-7': 'cut_before=1,bill_failed=1' });
    assertRefusal(await call('chat', 'gpt-7'), 'chat', { status: 502, code: 'provider_answer_broken' });
    assertRefusal(await call('messages', 'claude-7', { stream: true }), 'messages', { status: 502, code: 'provider_answer_broken' });
    await assertBooksOf(await mock.settled());
  });

  test('an answer that is compressed though nobody asked is not passed off as JSON', async () => {
    await mock.models({ 'gpt-8': 'tokens=20,gzip=1' });
    const answer = await call('chat', 'gpt-8');
    assertRefusal(answer, 'chat', { status: 502, code: 'provider_answer_broken' });
  });

  /** The calls of these journal entries obey the rule of the books. */
  async function assertBooksOf(journal) {
    await gateway.booked();
    const limits = new Set(journal.map((entry) => entry.limit));
    const rows = await gateway.ledger();
    const holds = new Set(rows.filter((row) => limits.has(row.inputs?.output_limit)).map((row) => row.hold));
    const { compareBooks } = await import('./harness.mjs');
    compareBooks(rows.filter((row) => holds.has(row.hold)), journal);
  }
});

describe('wrong keys from one address', () => {
  test('are limited, while a right key still works', async () => {
    const gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) });
    const key = gateway.member('ada');
    await mock.models({ 'gpt-live': null });
    assert.equal((await send(gateway, key, small('chat'))).status, 200);
    let limited;
    for (let i = 0; i < 300 && !limited; i++) {
      const answer = await send(gateway, `tg-wrong-${i}`, small('chat'));
      assert.ok([401, 429].includes(answer.status), answer.text);
      limited = answer.status === 429 && answer;
    }
    assert.ok(limited, 'after 300 wrong keys');
    assertRefusal(limited, 'chat', { status: 429, code: 'key_attempts', retry: null, after: [1, 60] });
    assert.equal((await send(gateway, key, small('chat'))).status, 200);
    await gateway.stop();
  });
});
