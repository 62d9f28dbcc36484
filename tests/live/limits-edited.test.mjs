// Goal: a limit whose configuration is edited goes on with what is its own: under another name with all it has
// counted, over another window with what people set for it; the books agree all the while, and calls of before are
// explained and corrected as before. What cannot go on is told.
// Method: calls and edits by turns at one running gateway; meters, explanations, corrections and the audit.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { Gateway, Mock, ask, callOf, modelsOn, run, send, until } from './harness.mjs';

const DAY = { counts: 'cost', per: 'account', window: 'day', cap: '1 USD' };
const CALL_MICROS = 384;

let mock;
let gateway;
let key;
before(async () => {
  mock = await Mock.start();
  await mock.models({ slow: 'tokens=20,ttft_ms=1500' });
});
after(async () => {
  await mock?.stop();
});
beforeEach(async () => {
  gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai', slow: 'openai' }), timezone: 'UTC', limits: { day: DAY } });
  key = gateway.member('ada');
});
afterEach(async () => {
  await gateway?.stop();
});

const call = async (model = 'gpt-live') => {
  const answer = await send(gateway, key, callOf('chat', model, { limit: 20 }));
  return answer;
};
async function paid() {
  const answer = await call();
  assert.equal(answer.status, 200, answer.text);
  await gateway.booked();
  return answer;
}

function reload(edit) {
  Object.assign(gateway.config, edit);
  gateway.write();
  const done = run(['reload', '--control', gateway.control], { cwd: gateway.dir });
  assert.equal(done.code, 0, done.err + done.out);
  return done.out;
}

const used = async () => {
  const { meters } = await gateway.admin('/api/admin/limits');
  return Object.fromEntries(meters.filter((meter) => meter.account === 'ada').map((meter) => [meter.limit, meter.used]));
};

function assertAudited() {
  const audit = run(['check', '--store', '--config', gateway.file, '--json'], { cwd: gateway.dir });
  assert.equal(audit.code, 0, audit.out + audit.err);
}

const adjust = (request, micros) => gateway.admin('/api/admin/adjust', 'POST', { request, delta_micros: micros, note: 'late truth' });
const past = async (request) => (await gateway.admin(`/api/v1/requests/${request}`)).decision.limits;
const requestOf = (answer) => answer.headers['x-request-id'];

describe('under another name', () => {
  test('a limit goes on with what it counted, there and back, and the books agree', async () => {
    const first = await paid();
    reload({ limits: { spend: { ...DAY, was: 'day' } } });
    await paid();
    assert.deepEqual(await used(), { spend: 2 * CALL_MICROS });
    assertAudited();
    const [limit] = await past(requestOf(first));
    assert.deepEqual([limit.limit, limit.renamed_to, limit.unit, limit.known, limit.settled, limit.fits], ['day', 'spend', 'micro_usd', true, 0, true]);

    reload({ limits: { day: { ...DAY, was: 'spend' } } });
    await gateway.restart();
    await paid();
    assert.deepEqual(await used(), { day: 3 * CALL_MICROS });
    assertAudited();
  });

  test('a correction of a call from before moves the meter that the call moved', async () => {
    const first = await paid();
    reload({ limits: { spend: { ...DAY, was: 'day' } } });
    reload({ limits: { money: { ...DAY, was: 'spend' } } });
    await adjust(requestOf(first), 1000);
    assert.deepEqual(await used(), { money: CALL_MICROS + 1000 });
    assertAudited();
  });

  test('two renamed at once are each corrected by the name of then', async () => {
    const MONTH = { ...DAY, window: 'month' };
    reload({ limits: { day: DAY, month: MONTH } });
    const first = await paid();
    reload({ limits: { 'a-month': { ...MONTH, was: 'month' }, 'a-day': { ...DAY, was: 'day' } } });
    const one = await adjust(requestOf(first), 1000);
    assert.deepEqual(
      one.limits.map((limit) => [limit.limit, limit.window, limit.used_before, limit.used]).sort(),
      [['a-day', 'day', CALL_MICROS, CALL_MICROS + 1000], ['a-month', 'month', CALL_MICROS, CALL_MICROS + 1000]],
    );
    assert.deepEqual(await used(), { 'a-day': CALL_MICROS + 1000, 'a-month': CALL_MICROS + 1000 });
    assertAudited();
  });

  test('calls that run meanwhile are settled where they were held', async () => {
    const runs = [call('slow'), call('slow')];
    await until('both are in flight', () => gateway.openHolds() === 2);
    reload({ limits: { spend: { ...DAY, was: 'day' } } });
    runs.push(call('slow'));
    await until('a third one is', () => gateway.openHolds() === 3);
    assertAudited();
    for (const answer of await Promise.all(runs)) {
      assert.equal(answer.status, 200, answer.text);
    }
    await gateway.booked();
    const total = (await gateway.ledger()).reduce((sum, row) => sum + (row.cost_micros ?? 0), 0);
    assert.deepEqual(await used(), { spend: total });
    assertAudited();
  });

  test('another limit that takes the name is another one, and its calls are its own', async () => {
    const first = await paid();
    reload({ limits: { spend: { ...DAY, was: 'day' } } });
    reload({ limits: { spend: DAY, day: { ...DAY, per: 'key' } } });
    const second = await paid();
    const { meters } = await gateway.admin('/api/admin/limits');
    assert.deepEqual(meters.map((meter) => [meter.limit, meter.counts_per ?? meter.per, meter.used]).sort(), [['day', 'key', CALL_MICROS], ['spend', 'account', 2 * CALL_MICROS]]);
    assertAudited();
    assert.deepEqual((await past(requestOf(first))).map((limit) => [limit.limit, limit.renamed_to]), [['day', 'spend']]);
    assert.deepEqual((await past(requestOf(second))).map((limit) => [limit.limit, limit.renamed_to]).sort(), [['day', null], ['spend', null]]);
    await adjust(requestOf(first), 100);
    await adjust(requestOf(second), 10);
    assertAudited();
    const again = (await gateway.admin('/api/admin/limits')).meters;
    assert.deepEqual(again.map((meter) => [meter.limit, meter.used]).sort(), [['day', CALL_MICROS + 10], ['spend', 2 * CALL_MICROS + 110]]);
  });
});

describe('what people set', () => {
  const tell = async (method, where, body, status = 200) => {
    const answer = await ask({ socketPath: gateway.control, path: where }, { method, body });
    assert.equal(answer.status, status, answer.text);
    return answer.json;
  };
  const WHERE = '/api/v1/usage-limits';
  const overrides = async () => {
    const { spend_limit_micros: everybody, overrides: own } = await tell('GET', `${WHERE}?limit=day`);
    return [everybody, own.map((one) => [one.account, one.spend_limit_micros, one.raise_micros])];
  };
  beforeEach(async () => {
    await tell('PUT', `${WHERE}/overrides/ada`, { spend_limit_micros: 500, limit: 'day' });
    await tell('PUT', WHERE, { spend_limit_micros: 2_000_000, period: 'day', limit: 'day' });
  });
  const SET = [2_000_000, [['ada', 500, undefined]]];

  for (const [what, edit] of [
    ['another zone for all', { timezone: 'Europe/Berlin' }],
    ['another zone of its own', { limits: { day: { ...DAY, zone: 'America/New_York' } } }],
    ['another window', { limits: { day: { ...DAY, window: 'month' } } }],
    ['a window that slides', { limits: { day: { ...DAY, window: '5h rolling' } } }],
  ]) {
    test(`goes on with ${what}`, async () => {
      assert.equal((await call()).status, 402); // one call needs more
      assert.doesNotMatch(reload(edit), /not in force any more/);
      assert.deepEqual(await overrides(), SET);
      assert.equal((await call()).status, 402);
      await tell('PUT', `${WHERE}/overrides/ada`, { spend_limit_micros: 900_000, limit: 'day' });
      await paid();
      assertAudited();
    });
  }

  test('goes on with another name and another window at once, and is set no more for whoever takes the name', async () => {
    reload({ limits: { spend: { ...DAY, window: 'week', was: 'day' } } });
    reload({ limits: { spend: { ...DAY, window: 'week' }, day: { ...DAY, window: 'month' } } });
    assert.deepEqual(await overrides(), [1_000_000, []]);
    const { overrides: kept } = await tell('GET', `${WHERE}?limit=spend`);
    assert.deepEqual(kept.map((one) => one.spend_limit_micros), [500]);
  });

  test('does not go on where something else is counted, which the reload says; and is there again with what was', async () => {
    const said = reload({ limits: { day: { ...DAY, per: 'key' } } });
    assert.match(said, /The limit 'day' counts something else than before: 2 caps or raises that people set for it are not in force any more/);
    await until('it is logged', () => /event=reload .*2 caps or raises that people set for it are not in force any more/.test(gateway.log()));
    assert.equal((await call()).status, 200);
    assert.doesNotMatch(reload({ limits: { day: DAY } }), /not in force/);
    assert.deepEqual(await overrides(), SET);
  });

  test('is told of by a start, too', async () => {
    await gateway.program.end('SIGTERM');
    gateway.config.limits = { day: { ...DAY, of: { model: 'slow' } } };
    gateway.write();
    await gateway.launch();
    await gateway.says(/level=warn event=reload .*2 caps or raises that people set for it are not in force any more/);
  });
});

test('what a client asked for its tree lowers whatever rules, also a default that is edited later', async () => {
  const tree = (cap) => ({ limits: { tree: { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: { default: cap, set: 'spend_limit_micros' } } } });
  reload(tree('0.001 USD'));
  const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit: 20 }), {
    headers: { 'x-tidegate-thread': 'one', 'x-tidegate-spend-limit-micros': '5000000' },
  });
  assert.equal(answer.status, 200, answer.text);
  await gateway.booked();
  const [{ thread }] = (await gateway.ledger({ id: answer.request_id })).filter((row) => row.thread);
  const standing = async () => {
    const [limit] = (await gateway.admin(`/api/v1/threads/${thread}`)).tree;
    return [limit.spend_limit_micros, limit.tier];
  };
  assert.deepEqual(await standing(), [1000, 'default']);
  reload(tree('10 USD'));
  assert.deepEqual(await standing(), [5_000_000, 'asked']);
  reload(tree('2 USD'));
  assert.deepEqual(await standing(), [2_000_000, 'default']);
  await gateway.admin(`/api/v1/threads/${thread}/spend-limit`, 'PUT', { spend_limit_micros: 7_000_000 });
  assert.deepEqual(await standing(), [7_000_000, 'set']);
});

test('the first cap of a group rules what was spent in its organisation before, too', async () => {
  gateway.addAccount('bea', '--organisation', 'acme');
  const { secret } = gateway.addKey('bea');
  const spends = async (status) => {
    const answer = await send(gateway, secret, callOf('chat', 'gpt-live', { limit: 20 }));
    assert.equal(answer.status, status, answer.text);
    await gateway.booked();
  };
  await spends(200);
  await spends(200);
  reload({
    groups: { lab: { members: ['bea'], organisation: 'acme' } },
    limits: { day: { ...DAY, cap: { default: '1 USD', group: { lab: `${2 * CALL_MICROS} micros` } } } },
  });
  await spends(402);
  assertAudited();
});

describe('another list of percentages to warn at', () => {
  const told = async () => (await gateway.ledger()).filter((row) => row.kind === 'warn').map((row) => row.inputs.pct);
  const LIMIT = { ...DAY, cap: '0.002 USD', at_cap: 'warn' };

  test('what is told, and all below it, is not told again; what is above it is, in either place of the list', async () => {
    reload({ limits: { day: { ...LIMIT, warn: [10, 30] } } });
    await paid(); /* 19 % */
    await paid(); /* 38 % */
    assert.deepEqual(await told(), [10, 30]);
    reload({ limits: { day: { ...LIMIT, warn: [20, 50, 70] } } });
    await paid(); /* 57 % */
    assert.deepEqual(await told(), [10, 30, 50]);
    reload({ limits: { day: { ...LIMIT, warn: [70] } } });
    await gateway.restart();
    await paid(); /* 76 % */
    assert.deepEqual(await told(), [10, 30, 50, 70]);
    reload({ limits: { day: { ...LIMIT, cap: '0.01 USD', warn: [1, 2, 90] } } });
    await paid();
    assert.deepEqual(await told(), [10, 30, 50, 70]);
    assertAudited();
  });
});
