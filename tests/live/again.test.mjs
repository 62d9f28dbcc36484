// Goal: a refusal that repeats is given without asking the gate, counted, and given no longer than it is true.
// Method: one loop; what is refused is made possible in each way there is, and the very next call must go through.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, ask, modelsOn, providersOn, send, until } from './harness.mjs';
import { assertRefusal, small } from './refusal.mjs';

let mock;
let gateway;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    loops: 1,
    providers: providersOn(mock),
    models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic', paced: 'openai' }),
    plans: { free: {}, tight: {} },
    limits: {
      spend: { counts: 'cost', per: 'account', window: 'month', cap: { default: '100 USD', plan: { tight: '0 USD' } } },
      pace: { counts: 'requests', per: 'account', of: { model: 'paced' }, window: { rate: '20/min', burst: 1 } },
    },
  });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const repeated = async () => {
  const { text } = await ask(`${gateway.url}/metrics`, { method: 'GET' });
  return Number(/^tidegate_refusals_repeated_total (\d+)$/m.exec(text)[1]);
};

/** Away from the end of a minute, in which the gate is asked anew. */
const early = async () => {
  const left_ms = 60_000 - (Date.now() % 60_000);
  if (left_ms < 5_000) {
    await sleep(left_ms + 50);
  }
};

const named = (model, thread) => {
  const call = small('chat');
  call.body.model = model;
  return [call, { headers: { 'x-tidegate-thread': thread } }];
};
const spent = { status: 402, code: 'budget_spent' };

/** Refused by the gate, then by the loop: what comes next is decided by what has changed. */
async function refusedTwice(key, [call, options], wanted) {
  const first = await send(gateway, key, call, options);
  assertRefusal(first, 'chat', wanted);
  const before = await repeated();
  const second = await send(gateway, key, call, options);
  assertRefusal(second, 'chat', wanted);
  assert.equal(await repeated(), before + 1, 'the gate was not asked');
  assert.equal(second.request_id, first.request_id, 'both lead to one row');
  return second;
}

describe('a refusal that repeats', () => {
  test('shares the id of the first, and every one of them is counted', async () => {
    await early();
    const key = gateway.member('ada', '--plan', 'tight');
    const call = named('gpt-live', 'counted');
    const { request_id } = await refusedTwice(key, call, spent);
    for (let i = 0; i < 8; i++) {
      assert.equal((await send(gateway, key, ...call)).request_id, request_id);
    }
    const counted = `SELECT r.count AS n FROM refusal r WHERE r.ledger_id = ${request_id.slice(4)}`;
    await until('ten are counted', () => gateway.rows(counted)[0]?.n === 10);
    const rows = await gateway.rowsOf(request_id);
    assert.equal(rows.filter((row) => row.kind === 'refusal').length, 1);
  });

  test('another thread, another client or a larger request is asked for at the gate', async () => {
    await early();
    const key = gateway.member('bob', '--plan', 'tight');
    const [call, options] = named('gpt-live', 'one');
    await refusedTwice(key, [call, options], spent);
    const before = await repeated();
    const longer = structuredClone(call);
    longer.body.messages[0].content += ' and more';
    assertRefusal(await send(gateway, key, longer, options), 'chat', spent);
    assertRefusal(await send(gateway, key, call, named('gpt-live', 'two')[1]), 'chat', spent);
    const other = gateway.addKey('bob').secret;
    assertRefusal(await send(gateway, other, call, options), 'chat', spent);
    assert.equal(await repeated(), before);
  });

  test('a ban is told at once, and so is its end', async () => {
    await early();
    const key = gateway.member('cid', '--plan', 'tight');
    const call = named('gpt-live', 'banned');
    await refusedTwice(key, call, spent);
    gateway.command('account', 'ban', 'cid');
    assert.equal((await send(gateway, key, ...call)).status, 403);
    gateway.command('account', 'unban', 'cid');
    assertRefusal(await send(gateway, key, ...call), 'chat', spent);
  });

  test('a key that is revoked is none at once', async () => {
    await early();
    gateway.addAccount('dan', '--plan', 'tight');
    const { secret, id } = gateway.addKey('dan');
    const call = named('gpt-live', 'revoked');
    await refusedTwice(secret, call, spent);
    gateway.command('key', 'revoke', String(id));
    assert.equal((await send(gateway, secret, ...call)).status, 401);
  });

  test('an allowance by rate opens when its wait is over, and not before', async () => {
    await early();
    const key = gateway.member('eva');
    const call = named('paced', 'rate');
    assert.equal((await send(gateway, key, ...call)).status, 200);
    await gateway.booked();
    const refused = await refusedTwice(key, call, { status: 429, code: 'rate_limited', retry: null, after: [1, 3] });
    await sleep(1100);
    const later = await send(gateway, key, ...call);
    assert.equal(later.status, 429);
    assert.ok(Number(later.headers['retry-after']) < Number(refused.headers['retry-after']), 'the wait is as it is now');
    await sleep(Number(later.headers['retry-after']) * 1000);
    assert.equal((await send(gateway, key, ...call)).status, 200);
  });

  test('a cap that is raised is in force for the very next call', async () => {
    await early();
    const key = gateway.member('fay', '--plan', 'tight');
    const call = named('gpt-live', 'raised');
    await refusedTwice(key, call, spent);
    const was = fs.readFileSync(gateway.file, 'utf8');
    assert.ok(was.includes('0 USD'));
    fs.writeFileSync(gateway.file, was.replace(/"?tight"?: ?"?0 USD"?/, '"tight": "50 USD"'));
    const done = await ask({ socketPath: gateway.control, path: '/api/admin/reload' });
    assert.equal(done.status, 200, done.text);
    assert.equal((await send(gateway, key, ...call)).status, 200);
  });
});
