// Goal: gateways on one store are one gateway to those who use it: what an admin does at one holds at the next call
// of another, a thread goes on anywhere, and who waits at one is let in by what ends at another.
// Method: two gateways that were started at once on an empty database.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';

import { Mock, SLOW, ask as question, callOf, modelsOn, ownLimit, providersOn, run, until } from './harness.mjs';
import { Postgres } from './postgres.mjs';
import { assertRefusal } from './refusal.mjs';
import { Fleet, numberOf, sendKept } from './shared.mjs';

/* What a call of 100 tokens in and 100 out costs, at the prices of this file. */
const CALL_MICROS = 1800;
const POLL_MS = 1000; // how often a gateway looks after its waiting lines of its own accord
const TRIALS = 8;

/** Room for so many calls a day. */
const roomFor = (calls) => ({
  counts: 'cost',
  per: 'account',
  window: 'day',
  cap: `${calls * CALL_MICROS + 300} micros`,
  of: { model: 'daily' },
});

let mock;
let server;
let fleet;
let a;
let b;
let listener;
const silent = []; // connections of a provider that never says a word of TLS
let closes = false; // it breaks them
before(async () => {
  mock = await Mock.start();
  listener = net.createServer((socket) => (closes ? socket.destroy() : silent.push(socket.on('error', () => {}))));
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const providers = providersOn(mock);
  const base_url = `https://127.0.0.1:${listener.address().port}/v1`;
  server = Postgres.start({ fsync: false });
  fleet = await Fleet.start(
    mock,
    2,
    {
      held_wait: '10s',
      providers: { ...providers, silent: { ...providers.openai, base_url } },
      models: modelsOn(
        { quick: 'openai', treed: 'openai', monthly: 'openai', daily: 'openai', paced: 'silent' },
        { price: { input: '3 USD', output: '15 USD' } },
      ),
      limits: {
        tree: { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: `${2 * CALL_MICROS} micros`, of: { model: 'treed' } },
        paced: { counts: 'requests', per: 'account', window: { rate: '1/min', burst: 1 }, of: { model: 'paced' } },
        month: { counts: 'cost', per: 'account', window: 'month', cap: `${3 * CALL_MICROS - 100} micros`, of: { model: 'monthly' }, warn: [10, 20, 30, 40, 50, 60] },
        day: roomFor(2),
        everybody: { counts: 'in_flight', per: 'gateway', cap: 1000 },
      },
    },
    { server },
  );
  [a, b] = fleet.gateways;
});
after(async () => {
  await fleet?.stop();
  server?.remove();
  silent.forEach((socket) => socket.destroy());
  listener?.close();
  await mock?.stop();
});
beforeEach(async () => {
  const exact = 'input=100,tokens=100';
  await mock.models({ quick: exact, treed: exact, monthly: exact, daily: exact });
  await mock.clear();
});

const ask = (gateway, key, model = 'quick', headers = {}) =>
  sendKept(gateway, key, callOf('chat', model, { limit: model === 'quick' ? ownLimit() : 100 }), { headers });

/** A correction at one gateway: the whole answer. */
const adjust = (gateway, body, headers = {}) => question({ socketPath: gateway.control, path: '/api/admin/adjust' }, { body, headers });

async function assertServed(gateway, key, model, headers) {
  const answer = await ask(gateway, key, model, headers);
  assert.equal(answer.status, 200, answer.text);
  return answer;
}

/** A new account with a key that both gateways have served. */
async function member(name, ...options) {
  const account = { name, ...(a.addAccount(name, ...options), a.addKey(name)) };
  for (const gateway of [b, a]) {
    await assertServed(gateway, account.secret);
  }
  return account;
}

describe('two gateways that began at once on an empty database', () => {
  test('number their limits alike, and each is a node of its own', async () => {
    const limits = await Promise.all([a, b].map((gateway) => gateway.admin('/api/admin/limits')));
    const ids = limits.map((told) => told.limits.map((limit) => [limit.name, limit.id]));
    assert.deepEqual(ids[0], ids[1]);
    assert.equal(new Set(ids[0].map(([, id]) => id)).size, 5);
    for (const gateway of [a, b]) {
      const { nodes } = await gateway.admin('/api/v1/status');
      assert.deepEqual(nodes.map((node) => node.name).sort(), ['gateway-a', 'gateway-b']);
      assert.equal(nodes.filter((node) => node.this).length, 1);
      assert.ok(nodes.every((node) => node.configuration === 'same' && node.lease_left_ms > 0), JSON.stringify(nodes));
    }
  });

  test('serve the same key, and have one ledger', async () => {
    const { secret, name } = await member('both');
    const answers = [await assertServed(a, secret), await assertServed(b, secret)];
    await fleet.booked();
    for (const gateway of [a, b]) {
      const told = new Set((await gateway.ledger({ account: name })).map((row) => row.request));
      assert.ok(answers.every((answer) => told.has(answer.request_id)));
    }
  });
});

describe('what an admin does at one gateway holds at the next call of the other', () => {
  test('a key that is revoked', async () => {
    const { secret, id } = await member('revoked');
    a.command('key', 'revoke', id);
    const answer = await ask(b, secret);
    assertRefusal(answer, 'chat', { status: 401, code: 'key_revoked' });
  });

  test('an account that is banned, and let in again', async () => {
    const { secret, name } = await member('banned');
    a.command('account', 'ban', name);
    assertRefusal(await ask(b, secret), 'chat', { status: 403, code: 'account_banned' });
    a.command('account', 'unban', name);
    await assertServed(b, secret);
  });

  test('a key that is made', async () => {
    a.addAccount('fresh');
    assertRefusal(await ask(b, 'tg-nobody-has-this'), 'chat', { status: 401, code: 'key_invalid' });
    await assertServed(b, a.addKey('fresh').secret);
  });

  test('a cap that is set, one that is taken back, a raise, and a correction', async () => {
    const { secret, name } = await member('capped');
    const override = `/api/v1/usage-limits/overrides/${name}`;
    await a.admin(override, 'PUT', { spend_limit_micros: 1, limit: 'month' });
    assertRefusal(await ask(b, secret, 'monthly'), 'chat', { status: 402, code: 'budget_spent' });
    await a.admin(`/api/v1/usage-limits/raises/${name}`, 'PUT', { raise_micros: 2 * CALL_MICROS, limit: 'month', expires: Date.now() + 60_000 });
    /* It has just refused the same call, and may repeat that for up to a second. */
    await until('the raise holds at the other', async () => (await ask(b, secret, 'monthly')).status === 200, 1500 * SLOW);
    a.command('account', 'limit', name, '--limit', 'month', '--unraise');
    assertRefusal(await ask(b, secret, 'monthly'), 'chat', { status: 402, code: 'budget_spent' });
    b.command('account', 'limit', name, '--limit', 'month', '--unset');
    await assertServed(a, secret, 'monthly');
    await fleet.booked();
    await a.admin('/api/admin/adjust', 'POST', { account: name, limit: 'month', delta_micros: 4 * CALL_MICROS });
    assertRefusal(await ask(b, secret, 'monthly'), 'chat', { status: 402, code: 'budget_spent' });
    await b.admin('/api/admin/adjust', 'POST', { account: name, limit: 'month', delta_micros: -6 * CALL_MICROS });
    await assertServed(a, secret, 'monthly');
    await fleet.booked();
  });

  test('a change under an idempotency key, asked for at both at once and again later', async () => {
    a.addAccount('once');
    const change = (gateway, delta_micros, key) =>
      adjust(gateway, { account: 'once', limit: 'month', delta_micros }, { 'idempotency-key': key });
    for (let trial = 1; trial <= TRIALS; trial++) {
      const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => change(i % 2 ? a : b, trial, `trial-${trial}`)));
      const told = new Set(answers.map((answer) => `${answer.status} ${answer.text}`));
      assert.equal(told.size, 1, [...told].join('\n'));
      assert.equal(answers[0].status, 200, answers[0].text);
      assert.equal(answers.filter((answer) => !answer.headers['idempotent-replayed']).length, 1);
      for (const gateway of [a, b]) {
        assert.equal((await change(gateway, trial, `trial-${trial}`)).text, answers[0].text);
        assert.equal((await change(gateway, trial + 1, `trial-${trial}`)).status, 422);
      }
    }
    assert.equal((await a.ledger({ kind: 'adjust', account: 'once' })).length, TRIALS);
  });

  test('a call that both correct in the same instant: once a source, and never to less than nothing', async () => {
    const { secret, name } = await member('corrected');
    for (let trial = 0; trial < TRIALS; trial++) {
      const { request_id: request } = await assertServed(a, secret);
      await fleet.booked();
      const invoice = { request, delta_micros: 10, source: 'invoice' };
      const told = await Promise.all([a, b, a, b].map((gateway) => adjust(gateway, invoice)));
      assert.deepEqual(told.map((answer) => answer.status).sort(), [200, 409, 409, 409], told.map((answer) => answer.text).join());
      const { cost_micros } = told.find((answer) => answer.status === 200).json;
      const all = { request, delta_micros: -cost_micros };
      const back = await Promise.all([a, b, b].map((gateway, i) => adjust(gateway, { ...all, source: `given back ${i}` })));
      assert.deepEqual(back.map((answer) => answer.status).sort(), [200, 400, 400], back.map((answer) => answer.text).join());
      assert.equal(back.find((answer) => answer.status === 200).json.cost_micros, 0);
    }
    assert.equal((await a.ledger({ kind: 'adjust', account: name })).length, 2 * TRIALS);
  });

  test('events, told at both: whoever follows them at one has them all, and goes on at the other', async () => {
    const { secret } = (a.addAccount('told'), a.addKey('told'));
    const follow = (gateway, last, count) =>
      question(`${gateway.url}/api/v1/events`, {
        method: 'GET',
        key: secret,
        headers: { accept: 'text/event-stream', ...(last && { 'last-event-id': last }) },
        onEvent: (events, request) => events.list.length >= count && request.destroy(),
      });
    const reach = (gateway) => adjust(gateway, { account: 'told', limit: 'month', delta_micros: 530 });
    const pcts = (answer) => answer.events.list.map((event) => event.json.data.pct).sort();
    const idOf = (answer) => [...answer.text.matchAll(/^id: (\S+)$/gm)].at(-1)[1];
    const begun = Promise.all([follow(a, null, 3), follow(b, null, 3)]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    for (const gateway of [b, a, b]) {
      await reach(gateway);
    }
    const first = await begun;
    assert.deepEqual(first.map(pcts), [[10, 20, 30], [10, 20, 30]], first.map((answer) => answer.text).join());
    await reach(a);
    await reach(b);
    const again = await Promise.all([follow(b, idOf(first[0]), 2), follow(a, idOf(first[1]), 2)]);
    assert.deepEqual(again.map(pcts), [[40, 50], [40, 50]], again.map((answer) => answer.text).join());
  });

  test('an account that both meet for the first time is one account', async () => {
    const service = a.addKey((a.addAccount('operator'), 'operator'), '--role', 'service', '--may-act-for', 'user-*');
    const names = Array.from({ length: 20 }, (_, i) => `user-${i}`);
    const answers = await Promise.all(
      names.flatMap((name) =>
        [a, b].map((gateway) => ask(gateway, service.secret, 'quick', { 'x-tidegate-account': name })),
      ),
    );
    assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [200]);
    const { accounts } = await b.admin('/api/admin/accounts');
    const made = accounts.map((account) => account.name).filter((name) => name.startsWith('user-'));
    assert.deepEqual(made.sort(), names.sort());
  });
});

describe('a cap that an operator raises on one gateway after the other', () => {
  test('holds at each from its reload on, and what was used stays used', async () => {
    const { secret } = await member('raised');
    const at = async (gateway) => (await ask(gateway, secret, 'daily')).status;
    const raise = (gateway) => {
      gateway.config = { ...gateway.config, limits: { ...gateway.config.limits, day: roomFor(4) } };
      gateway.write();
      const done = run(['reload', '--mixed', '--control', gateway.control]);
      assert.equal(done.code, 0, done.err + done.out);
    };
    assert.deepEqual([await at(a), await at(b), await at(a), await at(b)], [200, 200, 402, 402]);
    raise(a);
    await until('A lets one more in', async () => (await at(a)) === 200, 3 * POLL_MS * SLOW);
    assert.equal(await at(b), 402, 'B decides by its own file');
    raise(b);
    await until('B lets the last one in', async () => (await at(b)) === 200, 3 * POLL_MS * SLOW);
    assert.deepEqual([await at(a), await at(b)], [402, 402]);
    await fleet.booked();
  });
});

describe('a thread', () => {
  test('FF-10 begun at one gateway goes on at the other, and its tree has one cap', async () => {
    const { secret, name } = await member('threads');
    const headers = { 'x-tidegate-thread': 'story' };
    await assertServed(a, secret, 'treed', headers);
    await fleet.booked();
    await assertServed(b, secret, 'treed', headers);
    await fleet.booked();
    const rows = (await a.ledger({ account: name, model: 'treed' })).filter((row) => row.hold);
    assert.deepEqual(rows.map((row) => row.cost_micros), [CALL_MICROS, CALL_MICROS]);
    assert.equal(new Set(rows.map((row) => row.thread)).size, 1);
    for (const gateway of [a, b]) {
      for (const thread of [headers, { 'x-tidegate-thread': 'leaf', 'x-tidegate-parent': 'story' }]) {
        assertRefusal(await ask(gateway, secret, 'treed', thread), 'chat', { status: 402, code: 'budget_spent' });
      }
    }
  });

  test('that begins at both in the same moment is one thread', async () => {
    const { secret, name } = await member('twins');
    const calls = Array.from({ length: 20 }, (_, i) =>
      ask([a, b][i % 2], secret, 'quick', { 'x-tidegate-thread': `twin-${i >> 1}` }),
    );
    const answers = await Promise.all(calls);
    assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [200]);
    await fleet.booked();
    const threads = new Map((await b.ledger({ account: name })).map((row) => [row.request, row.thread]));
    assert.equal(new Set(answers.map((answer) => threads.get(answer.request_id))).size, 10);
  });
});

describe('a call that waits at one gateway', () => {
  const THREAD = { 'x-tidegate-thread': 'warm' };
  const call = callOf('chat', 'monthly', { limit: 100 });

  /** An account whose month has room for one call at a time; A has one in flight, and one waits at B. */
  async function queue(name) {
    const { secret } = await member(name);
    await assertServed(a, secret, 'monthly', THREAD); // what is known of a thread's last call makes holds exact
    await fleet.booked();
    await mock.clear();
    await mock.models({ monthly: 'input=100,tokens=1,ttft_ms=400' });
    let room_ms = 0;
    const first = sendKept(a, secret, call, { headers: THREAD }).then((answer) => {
      room_ms = performance.now();
      return answer;
    });
    await until('the room is taken', async () => (await mock.journal()).length === 1);
    await mock.models({ monthly: 'input=100,tokens=100' });
    const second = sendKept(b, secret, call, { headers: THREAD });
    await until('one waits at B', async () => (await numberOf(b, 'calls_waiting')) === 1);
    return {
      async waited() {
        const answers = await Promise.all([first, second]);
        const late_ms = performance.now() - room_ms;
        assert.deepEqual(answers.map((answer) => answer.status), [200, 200], answers[1].text);
        await fleet.booked();
        return late_ms;
      },
    };
  }

  test('is let in when a hold at the other resolves, and need not look for it', async (t) => {
    const late_ms = [];
    for (let i = 0; i < TRIALS; i++) {
      late_ms.push(await (await queue(`waits-${i}`)).waited());
    }
    t.diagnostic(`let in after ${late_ms.map((ms) => ms.toFixed(0)).join(', ')} ms`);
    /* Who looks once a second would have this luck in one run of twenty. */
    assert.ok(late_ms.sort((x, y) => x - y)[TRIALS / 2] < 0.3 * POLL_MS * SLOW, String(late_ms));
  });

  test('is let in all the same when the word of it is lost', async () => {
    const waiting = await queue('waits-deaf');
    const { limits } = await a.admin('/api/admin/limits');
    const month = limits.find((limit) => limit.name === 'month').id.replace('lim_', '');
    await b.link.cutAt('client', `tidegate\0${month}:`); // what the database passes on
    await waiting.waited();
  });
});

describe('a refusal that repeats at one gateway', () => {
  test('FF-32 ends soon after the other gave back what it had taken', async () => {
    const { secret } = await member('again');
    /* The provider takes the connection and says nothing: no byte of the request leaves. */
    const first = ask(a, secret, 'paced');
    await until('A has its call in flight', () => silent.length > 0);
    for (let i = 0; i < 5; i++) {
      assertRefusal(await ask(b, secret, 'paced'), 'chat', {
        status: 429,
        code: 'rate_limited',
        retry: null,
        after: [30, 60],
      });
    }
    const repeats = await numberOf(b, 'refusals_repeated_total');
    assert.ok(repeats >= 3, `B gives its own refusal again: ${repeats}`);
    closes = true;
    silent.splice(0).forEach((socket) => socket.destroy());
    assert.equal((await first).status, 502);
    await until('B lets it in', async () => (await ask(b, secret, 'paced')).status === 502, 3 * POLL_MS * SLOW);
    await fleet.booked();
  });
});
