// Goal: who and what is not served is told so in the client's dialect, once, in words a person can act on;
// no provider hears of it.
// Method: tables of requests with the answer that each must get.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';
import zlib from 'node:zlib';

import { Gateway, Mock, ask, callOf, modelsOn, send, sleep, until } from './harness.mjs';
import { APIS, CODEX, assertRefusal, assertUnheard, small } from './refusal.mjs';

let mock;
before(async () => {
  mock = await Mock.start();
});
after(async () => {
  await mock?.stop();
});

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
    assert.equal(
      (await send(gateway, revoked, small('chat'))).status,
      200,
      'a key works until it is revoked',
    );
    gateway.command('key', 'revoke', short.id);
    banned = gateway.member('eve');
    assert.equal(
      (await send(gateway, banned, small('chat'))).status,
      200,
      'an account works until it is banned',
    );
    gateway.command('account', 'ban', 'eve');
    observer = gateway.addKey('bob', '--role', 'observer').secret;
    named = gateway.addKey('bob', '--thread-required').secret;
    assert.equal(
      (await send(gateway, expired, small('chat'))).status,
      200,
      'a key works until it expires',
    );
    await sleep(Math.max(0, over - Date.now()));
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(() => mock.clear());

  const rows = [
    /* what is sent, by whom, what comes back */
    ['no key', () => undefined, {}, { status: 401, code: 'key_missing', words: /x-tidegate-key/ }],
    [
      'a wrong key',
      () => 'tg-nobody-has-this-key-00000000000000000000',
      {},
      { status: 401, code: 'key_invalid' },
    ],
    [
      "a provider's key",
      () => 'sk-ant-api03-not-for-this-gateway-0001',
      {},
      { status: 401, code: 'key_invalid' },
    ],
    ['an expired key', () => expired, {}, { status: 401, code: 'key_expired', words: /expired/ }],
    ['a revoked key', () => revoked, {}, { status: 401, code: 'key_revoked', words: /revoked/ }],
    [
      'two different keys',
      () => key,
      { 'x-api-key': 'another-one-of-mine' },
      { status: 401, code: 'key_conflict' },
    ],
    [
      'a banned account',
      () => banned,
      {},
      { status: 403, code: 'account_banned', words: /banned/ },
    ],
    ["an observer's key", () => observer, {}, { status: 403, code: 'key_role' }],
    [
      'a call without its thread',
      () => named,
      {},
      { status: 400, code: 'thread_required', words: /x-tidegate-thread/ },
    ],
    [
      'an unknown parent thread',
      () => key,
      { 'x-tidegate-thread': 'a', 'x-tidegate-parent': 'nobody' },
      { status: 404, code: 'thread_parent_unknown' },
    ],
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
        await assertUnheard(mock);
      });
    }
    test(`codex: ${what} gets 400 with the sentence as text`, async () => {
      const answer = await send(gateway, who(), small('responses'), {
        headers: { ...headers, ...CODEX },
      });
      const text = assertRefusal(answer, 'responses', { status: 400, codex: true });
      assert.match(answer.headers['content-type'], /^text\/plain/);
      assert.ok(!text.startsWith('{') && text.length > 10, text);
      await assertUnheard(mock);
    });
  }

  test('the same key in two places is one key', async () => {
    const answer = await send(gateway, key, small('messages'), { headers: { 'x-api-key': key } });
    assert.equal(answer.status, 200, answer.text);
  });

  test('a key may come in each of its places', async () => {
    for (const headers of [
      { 'x-tidegate-key': key },
      { 'x-api-key': key },
      { 'api-key': key },
      { authorization: `bearer ${key}` },
    ]) {
      const answer = await send(gateway, undefined, small('messages'), { headers });
      assert.equal(answer.status, 200, `${Object.keys(headers)}: ${answer.text}`);
    }
  });

  test('x-tidegate-account from a key that may not act for others is ignored, and told', async () => {
    for (const name of ['bob', '']) {
      const answer = await send(gateway, key, small('chat'), {
        headers: { 'x-tidegate-account': name },
      });
      assert.equal(answer.status, 200);
      assert.match(answer.headers['x-tidegate-warning'], /ignored/, `of the name '${name}'`);
      await gateway.booked();
      const [row] = await gateway.rowsOf(answer.request_id);
      assert.equal(row.account, 'ada');
    }
  });

  test('a plan that is none makes no account of another plan', async () => {
    gateway.addAccount('store');
    const service = gateway.addKey('store', '--role', 'service', '--may-act-for', 'store-*').secret;
    const call = (account, plan) =>
      send(gateway, service, small('chat'), {
        headers: { 'x-tidegate-account': account, ...(plan && { 'x-tidegate-plan': plan }) },
      });
    const answer = await call('store-ann', 'platinum');
    assertRefusal(answer, 'chat', { status: 400, code: 'plan_not_found', words: /x-tidegate-plan/ });
    const { accounts } = await gateway.admin('/api/admin/accounts');
    assert.ok(!accounts.some(({ name }) => name === 'store-ann'));
    assert.equal((await call('store-ann')).status, 200, 'without one it is the default');
    assert.equal((await call('store-ann', 'platinum')).status, 200, 'it is a template, for new ones alone');
    await gateway.booked();
    await mock.clear();
  });

  test('a service key acts for the end users of its prefix, and for no others', async () => {
    gateway.addAccount('shop');
    const service = gateway.addKey('shop', '--role', 'service', '--may-act-for', 'shop-*').secret;
    const answer = await send(gateway, service, small('chat'), {
      headers: { 'x-tidegate-account': 'shop-zoe' },
    });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.headers['x-tidegate-warning'], undefined);
    await gateway.booked();
    const [row] = await gateway.rowsOf(answer.request_id);
    assert.equal(row.account, 'shop-zoe');
    const other = await send(gateway, service, small('chat'), {
      headers: { 'x-tidegate-account': 'ada' },
    });
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
      [
        'has a key twice',
        '{"model":"gpt-live","model":"claude-live","messages":[]}',
        'body_duplicate_key',
        400,
      ],
      [
        'has a key twice, once escaped',
        '{"model":"gpt-live","mod\\u0065l":"x","messages":[]}',
        'body_duplicate_key',
        400,
      ],
      ['has a model that is a number', '{"model":5,"messages":[]}', 'body_field_invalid', 400],
      ['has no model', '{"messages":[]}', 'body_field_invalid', 400],
      [
        'has an output limit below zero',
        '{"model":"gpt-live","max_tokens":-4,"messages":[]}',
        'body_field_invalid',
        400,
      ],
    ];
    for (const [what, body, code, status] of bodies) {
      for (const api of APIS) {
        test(`${api}: a body that ${what} gets ${status}`, async () => {
          if (api !== 'chat' && /max_tokens/.test(body)) {
            body.replace('max_tokens', api === 'responses' ? 'max_output_tokens' : 'max_tokens');
          }
          const sent = api === 'responses' ? body.replace('max_tokens', 'max_output_tokens') : body;
          const answer = await ask(gateway.url + callOf(api, 'x').path, {
            key,
            body: sent,
            headers: callOf(api, 'x').headers,
          });
          assertRefusal(answer, api, { status, code });
          await assertUnheard(mock);
        });
      }
    }

    for (const api of APIS) {
      test(`${api}: a body that is too large gets 413`, async () => {
        const call = small(api, { text: 'x'.repeat(70_000) });
        assertRefusal(await send(gateway, key, call), api, { status: 413, code: 'body_too_large' });
        await assertUnheard(mock);
      });

      test(`${api}: a compressed body gets 415`, async () => {
        const call = small(api);
        const body = zlib.gzipSync(JSON.stringify(call.body));
        const answer = await send(
          gateway,
          key,
          { ...call, body },
          { headers: { 'content-encoding': 'gzip' } },
        );
        assertRefusal(answer, api, { status: 415, code: 'body_compressed' });
        await assertUnheard(mock);
      });

      test(`${api}: an unknown model gets 404 and a way to find the right one`, async () => {
        const answer = await send(gateway, key, callOf(api, 'gpt-nobody'));
        const message = assertRefusal(answer, api, {
          status: 404,
          code: 'model_not_found',
          words: /gpt-nobody/,
        });
        assert.match(message, /\/v1\/models/);
        if (api !== 'messages') {
          assert.equal(answer.json.error.code, 'model_not_found');
        }
        await assertUnheard(mock);
      });
    }

    test('a chunked body that is too large gets 413', async () => {
      const answer = await new Promise((resolve) => {
        const request = http.request(`${gateway.url}/v1/chat/completions`, {
          method: 'POST',
          agent: false,
          headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        });
        request.on('error', (error) => resolve({ error }));
        request.on('response', (response) => {
          response.setEncoding('utf8');
          let text = '';
          response.on('data', (piece) => (text += piece));
          response.on('end', () =>
            resolve({
              status: response.statusCode,
              headers: response.headers,
              request_id: response.headers['x-request-id'],
              text,
              json: JSON.parse(text),
              clean: response.complete,
            }),
          );
        });
        request.write('{"model":"gpt-live","x":"');
        for (let i = 0; i < 10; i++) {
          request.write('y'.repeat(10_000));
        }
        request.end('"}');
      });
      assertRefusal(answer, 'chat', { status: 413, code: 'body_too_large' });
      await assertUnheard(mock);
    });

    test('background work is refused', async () => {
      const answer = await send(gateway, key, small('responses', { more: { background: true } }));
      assertRefusal(answer, 'responses', {
        status: 400,
        code: 'background_not_served',
        words: /background/,
      });
      await assertUnheard(mock);
    });

    test('a model asked for at the wrong endpoint is told where it is served', async () => {
      for (const [api, model, right] of [
        ['chat', 'claude-live', '/v1/messages'],
        ['responses', 'claude-live', '/v1/messages'],
        ['messages', 'gpt-live', '/v1/chat/completions'],
      ]) {
        const answer = await send(gateway, key, callOf(api, model));
        const message = assertRefusal(answer, api, { status: 404, code: 'api_not_served' });
        assert.ok(message.includes(right), message);
      }
      await assertUnheard(mock);
    });

    test('an unknown endpoint is told what exists', async () => {
      for (const [method, path] of [
        ['POST', '/v1/complete'],
        ['GET', '/v1/files'],
        ['GET', '/nothing'],
        ['POST', '/v1/images/generations'],
        ['POST', '/v1beta/models/gemini:generateContent'],
      ]) {
        const answer = await ask(gateway.url + path, {
          method,
          key,
          body: method === 'POST' ? '{}' : undefined,
        });
        const message = assertRefusal(answer, 'chat', { status: 404, code: 'endpoint_not_found' });
        assert.match(message, /\/v1\/chat\/completions/);
      }
      await assertUnheard(mock);
    });

    test('a wrong method gets 405', async () => {
      for (const [method, path] of [
        ['GET', '/v1/chat/completions'],
        ['PUT', '/v1/messages'],
        ['POST', '/v1/models'],
        ['DELETE', '/v1/responses'],
      ]) {
        const answer = await ask(gateway.url + path, { method, key });
        assertRefusal(answer, 'chat', { status: 405, code: 'method_not_allowed' });
      }
      await assertUnheard(mock);
    });

    test('a state id that this account never got is not found, and looks the same as a missing one', async () => {
      const foreign = gateway.member('zoe');
      const first = await send(gateway, foreign, small('responses'));
      assert.equal(first.status, 200);
      await mock.clear();
      const texts = [];
      for (const id of [first.json.id, 'resp_nobody_got_this']) {
        const answer = await send(
          gateway,
          key,
          small('responses', { more: { previous_response_id: id } }),
        );
        texts.push(
          assertRefusal(answer, 'responses', { status: 404, code: 'id_not_found' }).replaceAll(
            id,
            'ID',
          ),
        );
      }
      assert.equal(texts[0], texts[1]);
      await assertUnheard(mock);
      const own = await send(
        gateway,
        foreign,
        small('responses', { more: { previous_response_id: first.json.id } }),
      );
      assert.equal(own.status, 200, own.text);
    });

    test("files and containers of the company are nobody's", async () => {
      const file = { role: 'user', content: [{ type: 'input_file', file_id: 'file-of-somebody' }] };
      assertRefusal(
        await send(gateway, key, small('responses', { more: { input: [file] } })),
        'responses',
        { status: 404, code: 'id_not_found' },
      );
      assertRefusal(
        await send(
          gateway,
          key,
          small('messages', { more: { container: 'container_of_somebody' } }),
        ),
        'messages',
        { status: 404, code: 'id_not_found' },
      );
      await assertUnheard(mock);
    });
  });

  test('the first refusal of its kind is a row of the ledger, repeats lead to it', async () => {
    const ids = new Set();
    for (let i = 0; i < 3; i++) {
      const answer = await send(gateway, named, small('chat'));
      ids.add(answer.request_id);
    }
    assert.ok(ids.size <= 2, 'a new minute may begin in between');
    await until('the refusal is booked', async () =>
      (await gateway.rowsOf([...ids][0])).some((row) => row.kind === 'refusal'),
    );
  });

  test('an admin change reaches both loops at once', async () => {
    const secret = gateway.member('mia');
    const agents = Array.from(
      { length: 8 },
      () => new http.Agent({ keepAlive: true, maxSockets: 1 }),
    );
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

describe('a model without a price', () => {
  const unpriced = {
    mystery: {
      max_output: 1000,
      context: 8000,
      routes: [{ provider: 'openai', model: 'mystery-model-nobody-knows' }],
    },
  };

  test('is refused to those who are under a cost limit', async () => {
    const gateway = await Gateway.start(mock, {
      models: unpriced,
      limits: { month: { counts: 'cost', per: 'account', window: 'month', cap: '5 USD' } },
    });
    await mock.clear();
    const key = gateway.member('ada');
    for (const api of ['chat', 'responses']) {
      assertRefusal(await send(gateway, key, callOf(api, 'mystery')), api, {
        status: 402,
        code: 'model_unpriced',
        words: /no price/,
      });
    }
    await assertUnheard(mock);
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
    assertRefusal(limited, 'chat', {
      status: 429,
      code: 'key_attempts',
      retry: null,
      after: [1, 60],
    });
    assert.equal((await send(gateway, key, small('chat'))).status, 200);
    await gateway.stop();
  });
});

describe('what a request itself is refused for', () => {
  test('is on the books as well: an unknown model leads to its row', async () => {
    const gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) });
    const key = gateway.member('ada');
    await mock.clear();
    const answer = await send(gateway, key, callOf('chat', 'no-such-model'));
    assertRefusal(answer, 'chat', { status: 404, code: 'model_not_found', words: /no-such-model/ });
    const [row] = await until('the row is written', async () => {
      const rows = await gateway.rowsOf(answer.request_id);
      return rows.length === 1 && rows;
    });
    assert.equal(row.reason, 'model_not_found');
    assert.equal(row.account, 'ada');
    assert.deepEqual(await mock.journal(), []);
    await gateway.stop();
  });

  test('a cap in a header that this version does not keep is refused, not passed over', async () => {
    const gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) });
    const key = gateway.member('ada');
    await mock.clear();
    const call = callOf('chat', 'gpt-live');
    const answer = await ask(gateway.url + call.path, { key, body: call.body, headers: { 'x-tidegate-spend-limit-micros': '5' } });
    assertRefusal(answer, 'chat', { status: 400, code: 'spend_limit_header_not_served', words: /thread_tree/ });
    assert.deepEqual(await mock.journal(), []);
    await gateway.stop();
  });
});
