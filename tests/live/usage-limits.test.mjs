// Goal: what people set for an account, a group or everybody rules from the next call on, in that order; what was
// booked can be corrected, once a source, and the next decision honours it.
// Method: caps and corrections through the control plane, small calls against them, the ledger and the audit.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, ask, callOf, modelsOn, run, send, until } from './harness.mjs';

const MODELS = modelsOn({ 'gpt-live': 'openai' });
const WHERE = '/api/v1/usage-limits';
const MONTH = {
  'month-spend': { counts: 'cost', per: 'account', window: 'month', cap: { default: '50 USD' } },
};

let mock;
before(async () => {
  mock = await Mock.start();
});
after(async () => {
  await mock?.stop();
});

/** One question to the control socket: the whole answer. */
const tell = (gateway, method, where, body) => ask({ socketPath: gateway.control, path: where }, { method, body });

async function refused(gateway, method, where, body, status, code, words) {
  const answer = await tell(gateway, method, where, body);
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.json?.error.code, code, answer.text);
  assert.match(answer.json.error.message, words);
}

async function done(gateway, method, where, body, status = 200) {
  const answer = await tell(gateway, method, where, body);
  assert.equal(answer.status, status, `${method} ${where}: ${answer.text} ${answer.error ?? ''}`);
  return answer.json;
}

const small = () => callOf('chat', 'gpt-live', { limit: 20 });

/** What an account has used, put on the books by an admin. */
const spend = (gateway, account, micros) => done(gateway, 'POST', '/api/admin/adjust', { account, delta_micros: micros, note: 'spent elsewhere' });

async function assertAudited(gateway) {
  await gateway.booked();
  await gateway.program.end('SIGTERM');
  const audit = run(['check', '--store', '--config', gateway.file], { cwd: gateway.dir });
  assert.equal(audit.code, 0, audit.out + audit.err);
  await gateway.launch();
}

describe('the limit of an account', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start(mock, { models: MODELS, limits: MONTH });
  });
  after(async () => {
    await gateway?.stop();
  });

  test('as configured, then as set for everybody, then as configured again', async () => {
    const first = await done(gateway, 'GET', WHERE);
    assert.equal(first.spend_limit_micros, 50_000_000);
    assert.deepEqual([first.period, first.source, first.updated_at], ['month', 'configuration', null]);
    assert.deepEqual([first.overrides, first.group_overrides], [[], []]);
    const set = await done(gateway, 'PUT', WHERE, { spend_limit_micros: 7_000_000, period: 'month' });
    assert.equal(set.spend_limit_micros, 7_000_000);
    const listed = async () => (await done(gateway, 'GET', '/api/admin/limits')).limits.find(({ name }) => name === 'month-spend');
    const inForce = await listed();
    assert.deepEqual([inForce.cap, inForce.cap_set], [50_000_000, 7_000_000]);
    assert.ok(Date.parse(inForce.cap_set_at) > Date.now() - 60_000);
    assert.match(run(['limits', '--control', gateway.control]).out, /^month-spend\t.*\t\$7\.00 set for all/m);
    gateway.member('everybody');
    const status = await done(gateway, 'GET', `${WHERE}/status?account=everybody`);
    assert.deepEqual([status.is_limited, status.spend_limit_micros, status.current_spend, status.tier], [true, 7_000_000, 0, 'api_default']);
    const off = await done(gateway, 'PUT', WHERE, { spend_limit_micros: null });
    assert.equal(off.spend_limit_micros, null);
    assert.deepEqual([(await listed()).cap_set, (await listed()).cap], [null, 50_000_000]);
    assert.match(run(['limits', '--control', gateway.control]).out, /^month-spend\t.*\tunlimited set for all/m);
    assert.deepEqual(await done(gateway, 'GET', `${WHERE}/status?account=everybody`), { is_limited: false });
    await done(gateway, 'DELETE', WHERE, undefined, 204);
    assert.equal((await listed()).cap_set_at, undefined);
    assert.match(run(['limits', '--control', gateway.control]).out, /^month-spend\t.*\t\$50\.00/m);
    assert.equal((await done(gateway, 'GET', `${WHERE}/status?account=everybody`)).tier, 'default');
    await refused(gateway, 'DELETE', WHERE, undefined, 404, 'override_not_found', /Nothing is set/);
  });

  test('a cap set for one account rules from its next call on, and is told by its tier', async () => {
    const key = gateway.member('ada');
    assert.equal((await send(gateway, key, small())).status, 200);
    await gateway.booked();
    const override = await done(gateway, 'PUT', `${WHERE}/overrides/ada`, { spend_limit_micros: 5 });
    assert.deepEqual([override.account, override.limit, override.spend_limit_micros], ['ada', 'month-spend', 5]);
    const answer = await send(gateway, key, small());
    assert.equal(answer.status, 402, answer.text);
    assert.match(answer.text, /budget_spent/);
    const own = await ask(`${gateway.url}${WHERE}/status`, { method: 'GET', key });
    assert.deepEqual([own.json.spend_limit_micros, own.json.tier, own.json.period], [5, 'set', 'month']);
    assert.ok(own.json.current_spend > 5);
    assert.equal((await done(gateway, 'GET', WHERE)).overrides.length, 1);
    await done(gateway, 'DELETE', `${WHERE}/overrides/ada`, undefined, 204);
    assert.equal((await send(gateway, key, small())).status, 200);
    const admin = (await gateway.ledger({ kind: 'admin' })).filter((row) => /^cap_/.test(row.inputs.verb));
    assert.ok(admin.some((row) => row.inputs.verb === 'cap_set' && row.account === 'ada' && row.source === 'control'));
  });

  test('an account may be unlimited, whatever rules for others', async () => {
    const key = gateway.member('free');
    const change = (...words) => gateway.command('account', 'limit', 'free', ...words);
    change('--set', '1 micros');
    assert.equal((await send(gateway, key, small())).status, 402);
    const body = await done(gateway, 'PUT', `${WHERE}/overrides/free`, { spend_limit_micros: null });
    assert.deepEqual([body.account, body.spend_limit_micros], ['free', null]);
    assert.equal((await send(gateway, key, small())).status, 200);
    change('--set', '1 micros');
    assert.equal((await send(gateway, key, small())).status, 402);
    assert.equal(change('--set', 'unlimited').spend_limit_micros, null);
    assert.equal((await send(gateway, key, small())).status, 200);
    assert.deepEqual(await done(gateway, 'GET', `${WHERE}/status?account=free`), { is_limited: false });
    const { overrides } = await done(gateway, 'GET', WHERE);
    assert.deepEqual(overrides.find(({ account }) => account === 'free').spend_limit_micros, null);
    change('--unset');
    assert.equal((await done(gateway, 'GET', `${WHERE}/status?account=free`)).spend_limit_micros, 50_000_000);
  });

  test('money on the command line has a unit', async () => {
    gateway.addAccount('unit');
    const words = (...more) => run([...more, '--control', gateway.control]);
    for (const args of [
      ['ledger', 'adjust', '--account', 'unit', '--by', '5'], ['ledger', 'adjust', '--account', 'unit', '--by', '-5'],
      ['account', 'limit', 'unit', '--set', '5'], ['account', 'limit', 'unit', '--raise', '5', '--for', '1h'],
    ]) {
      const { code, err } = words(...args);
      assert.equal(code, 2, `${args}`);
      assert.match(err, /: --(by|set|raise) has no unit, and this limit counts cost: say money such as '5 USD', '\$2\.50' or '5000 micros'\./);
    }
    const before = (await done(gateway, 'GET', `${WHERE}/status?account=unit`)).current_spend;
    assert.equal(words('ledger', 'adjust', '--account', 'unit', '--by', '+500 micros').code, 0);
    assert.equal(words('ledger', 'adjust', '--account', 'unit', '--by', '-0.0001 USD').code, 0);
    assert.equal((await done(gateway, 'GET', `${WHERE}/status?account=unit`)).current_spend, before + 400);
    const made = await send(gateway, gateway.member('called'), small());
    await gateway.booked();
    const bare = words('ledger', 'adjust', made.request_id, '--by', '5');
    assert.equal(bare.code, 2);
    assert.match(bare.err, /--by has no unit: for what a call cost say money such as '5 USD'/);
  });

  test('a raise is added while it lasts', async () => {
    const key = gateway.member('raised');
    await done(gateway, 'PUT', `${WHERE}/overrides/raised`, { spend_limit_micros: 1 });
    assert.equal((await send(gateway, key, small())).status, 402);
    const soon = Date.now() + 2000;
    const raise = await done(gateway, 'PUT', `${WHERE}/raises/raised`, { raise_micros: 10_000_000, expires: soon });
    assert.equal(raise.raise_micros, 10_000_000);
    assert.equal((await send(gateway, key, small())).status, 200);
    const status = await done(gateway, 'GET', `${WHERE}/status?account=raised`);
    assert.deepEqual([status.spend_limit_micros, status.raise_micros], [10_000_001, 10_000_000]);
    await new Promise((resolve) => setTimeout(resolve, soon - Date.now() + 50));
    assert.equal((await send(gateway, key, small())).status, 402);
    await done(gateway, 'PUT', `${WHERE}/raises/raised`, { raise_micros: 10_000_000, expires: Date.now() + 60_000 });
    await done(gateway, 'DELETE', `${WHERE}/raises/raised`, undefined, 204);
    assert.equal((await send(gateway, key, small())).status, 402);
  });

  test('what makes no sense is refused with its place, and nothing changes', async () => {
    gateway.addAccount('strict');
    const before = await done(gateway, 'GET', WHERE);
    const overrides = `${WHERE}/overrides/strict`;
    for (const [method, where, body, status, code, words] of [
      ['PUT', WHERE, { spend_limit_micros: '5000', period: 'month' }, 400, 'body_field_invalid', /'spend_limit_micros' must be a number, and is a text/],
      ['PUT', WHERE, { spend_limit_micros: 1.5, period: 'month' }, 400, 'body_field_invalid', /'spend_limit_micros' must be a whole number, without a fraction/],
      ['PUT', WHERE, { spend_limit_micros: -5, period: 'month' }, 400, 'body_field_invalid', /'spend_limit_micros' must be a whole number above 0, and is below/],
      ['PUT', WHERE, '{"spend_limit_micros": 9223372036854775807, "period": "month"}', 400, 'body_field_invalid', /is too large; the highest is 2305843009213693951/],
      ['PUT', WHERE, '{"spend_limit_micros": 99999999999999999999, "period": "month"}', 400, 'body_field_invalid', /is too large; the highest is 2305843009213693951/],
      ['PUT', WHERE, { spend_limit_micros: 0, period: 'month' }, 400, 'body_field_invalid', /'spend_limit_micros' must be a whole number above 0/],
      ['PUT', WHERE, { spend_limit_micros: -5, period: 'month' }, 400, 'body_field_invalid', /above 0/],
      ['PUT', WHERE, { spend_limit_micros: 1.5, period: 'month' }, 400, 'body_field_invalid', /whole number/],
      ['PUT', WHERE, { spend_limit_micros: 5 }, 400, 'body_field_invalid', /'period' is missing/],
      ['PUT', WHERE, { spend_limit_micros: 5, period: 'year' }, 400, 'body_field_invalid', /must be day, week or month/],
      ['PUT', WHERE, { spend_limit_micros: 5, period: 'day' }, 400, 'body_field_invalid', /'month' by the configuration/],
      ['PUT', WHERE, { spend_limit_micros: 5, period: 'month', limit: 'none' }, 404, 'limit_not_found', /No limit of this name/],
      ['PUT', WHERE, {}, 400, 'body_field_invalid', /'spend_limit_micros' is missing; null says unlimited/],
      ['PUT', WHERE, { period: 'month' }, 400, 'body_field_invalid', /'spend_limit_micros' is missing/],
      ['PUT', overrides, { spend_limit_micros: 0 }, 400, 'body_field_invalid', /above 0/],
      ['PUT', overrides, '{"spend_limit_micros": 9223372036854775807}', 400, 'body_field_invalid', /is too large/],
      ['PUT', overrides, {}, 400, 'body_field_invalid', /'spend_limit_micros' is missing; null says unlimited/],
      ['PUT', overrides, { amount: null }, 400, 'body_field_invalid', /'spend_limit_micros' is missing/],
      ['PUT', overrides, { amount: 5 }, 400, 'body_field_invalid', /'amount' has no unit, and this limit counts cost/],
      ['POST', '/api/admin/adjust', { account: 'strict', delta: 5 }, 400, 'body_field_invalid', /'delta' has no unit/],
      ['PUT', `${WHERE}/raises/strict`, { raise_micros: null, expires: Date.now() + 60_000 }, 400, 'body_field_invalid', /'raise_micros' is missing/],
      ['PUT', overrides, { spend_limit_micros: 5, else: 1 }, 400, 'body_field_invalid', /'else' is not known here/],
      ['PUT', `${WHERE}/overrides/nobody`, { spend_limit_micros: 5 }, 404, 'account_unknown', /account/],
      ['PUT', `${WHERE}/overrides/%20`, { spend_limit_micros: 5 }, 400, 'parameter_invalid', /no name that an account can have/],
      ['DELETE', overrides, undefined, 404, 'override_not_found', /Nothing is set/],
      ['DELETE', `${WHERE}/overrides/nobody`, undefined, 404, 'account_unknown', /account/],
      ['PUT', `${WHERE}/group-overrides/nobody`, { spend_limit_micros: 5 }, 404, 'group_not_found', /no such group/],
      ['DELETE', `${WHERE}/group-overrides/nobody`, undefined, 404, 'group_not_found', /no such group/],
      ['PUT', `${WHERE}/raises/strict`, { raise_micros: 5 }, 400, 'body_field_invalid', /'expires' is missing/],
      ['PUT', `${WHERE}/raises/strict`, { raise_micros: 5, expires: 1000 }, 400, 'body_field_invalid', /is over already/],
      ['PUT', `${WHERE}/raises/strict`, { raise_micros: 0, expires: Date.now() + 60_000 }, 400, 'body_field_invalid', /above 0/],
      ['GET', `${WHERE}/status`, undefined, 400, 'parameter_invalid', /'account' is missing/],
      ['POST', WHERE, {}, 405, 'method_not_allowed', /./],
    ]) {
      await refused(gateway, method, where, body, status, code, words);
    }
    assert.deepEqual(await done(gateway, 'GET', WHERE), before);
    assert.equal((await tell(gateway, 'POST', WHERE, {})).headers.allow, 'GET, HEAD, PUT, DELETE');
  });

  test('only admins set caps; a key sees its own state alone', async () => {
    const key = gateway.member('curious');
    const put = await ask(`${gateway.url}${WHERE}/overrides/curious`, { method: 'PUT', key, body: { spend_limit_micros: 1 } });
    assert.equal(put.status, 403);
    const other = await ask(`${gateway.url}${WHERE}/status?account=ada`, { method: 'GET', key });
    assert.equal(other.status, 403);
    assert.equal((await ask(`${gateway.url}${WHERE}`, { method: 'GET' })).status, 401);
  });

  test('FF-34 a booked call is corrected once a source, and the next decision honours it', async () => {
    const key = gateway.member('corrected');
    const first = await send(gateway, key, small());
    await gateway.booked();
    const spent = (await done(gateway, 'GET', `${WHERE}/status?account=corrected`)).current_spend;
    assert.ok(spent > 0);
    const request = first.request_id;
    const more = await done(gateway, 'POST', '/api/admin/adjust', { request, delta_micros: 60_000_000, note: 'the invoice says more', source: 'invoice' });
    assert.deepEqual([more.request, more.source, more.cost_before_micros, more.cost_micros], [request, 'admin:invoice', spent, spent + 60_000_000]);
    const shown = (await gateway.admin('/api/admin/limits?account=corrected')).standings;
    assert.ok(more.limits.length > 0);
    for (const moved of more.limits) {
      const now = shown.find(({ limit }) => limit === moved.limit);
      assert.deepEqual([moved.used_before, moved.used, moved.since], [spent, now.used, now.since ?? null], JSON.stringify(moved));
    }
    assert.equal((await send(gateway, key, small())).status, 402);
    await refused(gateway, 'POST', '/api/admin/adjust', { request, delta_micros: 1, source: 'invoice' }, 409, 'adjusted_before', /admin:invoice; by another `source` it can be again/);
    await refused(gateway, 'POST', '/api/admin/adjust', { request, delta_micros: -70_000_000 }, 400, 'body_field_invalid', /less than nothing/);
    await refused(gateway, 'POST', '/api/admin/adjust', { request: 'req_1', delta_micros: 1 }, 404, 'request_not_found', /no request/);
    await refused(gateway, 'POST', '/api/admin/adjust', { request, delta_micros: 0 }, 400, 'body_field_invalid', /whole number/);
    await refused(gateway, 'POST', '/api/admin/adjust', { request }, 400, 'body_field_invalid', /'delta_micros' is missing/);
    await done(gateway, 'POST', '/api/admin/adjust', { request, delta_micros: -60_000_000 });
    const status = await done(gateway, 'GET', `${WHERE}/status?account=corrected`);
    assert.equal(status.current_spend, spent);
    assert.equal((await send(gateway, key, small())).status, 200);
    const rows = await gateway.ledger({ kind: 'adjust', account: 'corrected' });
    assert.deepEqual(rows.map((row) => [row.source, row.cost_micros]), [['admin:invoice', 60_000_000], ['admin:control', -60_000_000]]);
    assert.equal(rows[0].inputs.note, 'the invoice says more');
  });

  test('a call in flight is not corrected; what an account has used is, within its window', async () => {
    const key = gateway.member('used');
    await mock.models({ 'gpt-live': 'ttft_ms=1500' });
    const running = send(gateway, key, small());
    const [hold] = await until('the call is held', () => {
      const rows = gateway.rows('SELECT hold_id FROM hold');
      return rows.length > 0 && rows;
    }, 5000, 20);
    const open = { request: `req_${hold.hold_id}`, delta_micros: 5 }; /* nothing of it is on the books yet */
    await refused(gateway, 'POST', '/api/admin/adjust', open, 409, 'request_in_flight', /still in flight/);
    assert.equal((await running).status, 200);
    await mock.models({ 'gpt-live': null });
    await gateway.booked();
    const before = (await done(gateway, 'GET', `${WHERE}/status?account=used`)).current_spend;
    await spend(gateway, 'used', 49_999_000);
    const status = await done(gateway, 'GET', `${WHERE}/status?account=used`);
    assert.equal(status.current_spend, before + 49_999_000);
    await spend(gateway, 'used', 10_000);
    assert.equal((await send(gateway, key, small())).status, 402);
    await spend(gateway, 'used', -50_009_000);
    assert.equal((await send(gateway, key, small())).status, 200);
    gateway.addAccount('never-seen');
    const typo = { account: 'never-seen', delta_micros: -1_000_000_000 };
    await refused(gateway, 'POST', '/api/admin/adjust', typo, 409, 'credit', /more than was used/);
    assert.equal((await done(gateway, 'GET', `${WHERE}/status?account=never-seen`)).current_spend, 0);
    assert.equal((await done(gateway, 'POST', '/api/admin/adjust', { ...typo, credit: true })).delta_micros, -1_000_000_000);
    await spend(gateway, 'never-seen', 1_000_000_000);
    await spend(gateway, 'never-seen', 77);
    assert.equal((await done(gateway, 'GET', `${WHERE}/status?account=never-seen`)).current_spend, 77);
  });

  test('the books agree with the meters after all of it', async () => {
    await assertAudited(gateway);
  });
});

describe('what many share', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start(mock, {
      models: MODELS,
      groups: { many: { members: ['ann', 'bob'] }, narrow: { members: ['ann'] }, wide: { members: ['ann'] } },
      limits: {
        all: { counts: 'cost', per: 'gateway', window: 'month', cap: '1 USD' },
        purse: { counts: 'requests', per: 'group', window: 'day', cap: { default: 100, group: { narrow: 4 } } },
      },
    });
  });
  after(async () => {
    await gateway?.stop();
  });

  test('is told to one of them as a share, to an admin in sums; of several groups the one that refuses first', async () => {
    const key = gateway.member('ann');
    assert.equal((await send(gateway, key, small())).status, 200);
    await gateway.booked();
    await done(gateway, 'POST', '/api/admin/adjust', { limit: 'all', delta_micros: 500_000, note: 'another machine' });
    const own = async (limit) => (await ask(`${gateway.url}${WHERE}/status?limit=${limit}`, { method: 'GET', key })).json;
    const all = await own('all');
    assert.deepEqual(Object.keys(all), ['is_limited', 'limit', 'period', 'at_cap', 'percent', 'period_start', 'period_end', 'tier', 'group_name']);
    assert.equal(all.percent, 50);
    const purse = await own('purse');
    assert.deepEqual([purse.percent, purse.group_name, purse.amount, purse.current_spend], [25, 'narrow', undefined, undefined]);
    const told = await done(gateway, 'GET', `${WHERE}/status?account=ann&limit=all`);
    assert.ok(told.spend_limit_micros === 1_000_000 && told.current_spend > 500_000, JSON.stringify(told));
  });
});

describe('groups and organisations', () => {
  const usd = (amount) => amount * 1_000_000;
  let gateway;
  let service;
  before(async () => {
    gateway = await Gateway.start(mock, {
      models: MODELS,
      groups: {
        'a-five': { members: ['u-ann'], organisation: 'A' },
        'a-twenty': { members: ['u-ann'], organisation: 'A' },
        'b-fifty': { members: ['u-ann'], organisation: 'B' },
      },
      limits: {
        'month-spend': {
          counts: 'cost', per: 'account', window: 'month',
          cap: { default: '100 USD', group: { 'a-five': '5 USD', 'a-twenty': '20 USD', 'b-fifty': '50 USD' }, combine: 'min' },
        },
      },
    });
    gateway.addAccount('service');
    service = gateway.addKey('service', '--role', 'service', '--may-act-for', 'u-*').secret;
  });
  after(async () => {
    await gateway?.stop();
  });

  const call = (account, organisation) =>
    send(gateway, service, small(), {
      headers: { 'x-tidegate-account': account, ...(organisation ? { 'x-tidegate-organisation': organisation } : {}) },
    });
  const status = (account, organisation) =>
    done(gateway, 'GET', `${WHERE}/status?account=${account}${organisation ? `&organisation=${organisation}` : ''}`);

  /** Makes the account spend exactly so much in an organisation: one call, corrected. */
  async function spendIn(account, organisation, micros) {
    const answer = await call(account, organisation);
    assert.equal(answer.status, 200, answer.text);
    await gateway.booked();
    const cost = (await gateway.ledger({ id: answer.request_id })).reduce((sum, row) => sum + row.cost_micros, 0);
    await done(gateway, 'POST', '/api/admin/adjust', { request: answer.request_id, delta_micros: micros - cost });
  }

  test('SL-27 SL-28 SL-29 SL-30 the least of the groups that count in an organisation, else the default', async () => {
    gateway.addAccount('u-ann');
    for (const [organisation, cap, group] of [['A', 5, 'a-five'], ['B', 50, 'b-fifty'], ['C', 100, undefined], [null, 5, 'a-five']]) {
      const told = await status('u-ann', organisation);
      assert.deepEqual([told.spend_limit_micros, told.group_name ?? undefined], [usd(cap), group], organisation);
      assert.equal(told.tier, group ? 'group' : 'default');
    }
  });

  test('SL-31 SL-32 SL-33 under a group only what was spent in its organisation counts; without one all does', async () => {
    await spendIn('u-ann', 'A', usd(5));
    assert.equal((await status('u-ann', 'A')).current_spend, usd(5));
    assert.equal((await status('u-ann', 'B')).current_spend, 0);
    assert.equal((await status('u-ann')).current_spend, usd(5));
    assert.equal((await call('u-ann', 'A')).status, 402);
    assert.equal((await call('u-ann')).status, 402);
    assert.equal((await call('u-ann', 'B')).status, 200);
    await gateway.booked();
  });

  test('a cap set for a group takes the place of the configured one, for each member', async () => {
    const set = await done(gateway, 'PUT', `${WHERE}/group-overrides/a-five`, { spend_limit_micros: usd(7) });
    assert.deepEqual([set.group_name, set.member_count, set.spend_limit_micros], ['a-five', 1, usd(7)]);
    assert.equal((await status('u-ann', 'A')).spend_limit_micros, usd(7));
    assert.equal((await call('u-ann', 'A')).status, 200);
    const { group_overrides: groups } = await done(gateway, 'GET', WHERE);
    assert.deepEqual(groups.map((row) => [row.group_name, row.spend_limit_micros, row.source]),
      [['a-five', usd(7), 'api'], ['a-twenty', usd(20), 'configuration'], ['b-fifty', usd(50), 'configuration']]);
    await done(gateway, 'DELETE', `${WHERE}/group-overrides/a-five`, undefined, 204);
    assert.equal((await call('u-ann', 'A')).status, 402);
    await refused(gateway, 'DELETE', `${WHERE}/group-overrides/a-five`, undefined, 404, 'override_not_found', /Nothing is set/);
  });

  test('SL-34 SL-35 a cap of the account goes before its groups, and counts what it spent everywhere', async () => {
    await done(gateway, 'PUT', `${WHERE}/overrides/u-ann`, { spend_limit_micros: usd(10) });
    const before = await status('u-ann', 'A');
    assert.deepEqual([before.spend_limit_micros, before.tier], [usd(10), 'set']);
    await spendIn('u-ann', 'B', usd(6));
    await gateway.booked();
    const after = await status('u-ann', 'A');
    assert.ok(after.current_spend > usd(11), String(after.current_spend));
    assert.equal(after.current_spend, (await status('u-ann', 'B')).current_spend);
    assert.equal((await call('u-ann', 'B')).status, 402);
  });

  test('SL-36 where the default rules everything counts, wherever it was spent', async () => {
    await spendIn('u-bob', 'A', usd(30));
    await spendIn('u-bob', 'B', usd(40));
    for (const organisation of [null, 'A', 'C']) {
      const told = await status('u-bob', organisation);
      assert.deepEqual([told.spend_limit_micros, told.current_spend, told.tier], [usd(100), usd(70), 'default']);
    }
  });

  test('the books agree with the meters, those of organisations included', async () => {
    await assertAudited(gateway);
  });
});

test('what is only watched limits nobody, and every list says so', async () => {
  const money = { counts: 'cost', per: 'account', cap: '1 micros' };
  const gateway = await Gateway.start(mock, {
    models: MODELS,
    limits: { trial: { ...money, window: 'day', at_cap: 'shadow' }, told: { ...money, window: 'week', at_cap: 'warn' } },
  });
  try {
    const key = gateway.member('ada');
    assert.equal((await send(gateway, key, small())).status, 200);
    await gateway.booked();
    const status = (query = '') => done(gateway, 'GET', `${WHERE}/status?account=ada${query}`);
    const trial = await status();
    assert.deepEqual([trial.is_limited, trial.limit, trial.at_cap, trial.spend_limit_micros], [false, 'trial', 'shadow', 1]);
    assert.ok(trial.current_spend > 1);
    assert.deepEqual([(await status('&limit=told')).is_limited, (await status('&limit=told')).at_cap], [false, 'warn']);
    const { meters, standings } = await done(gateway, 'GET', '/api/admin/limits?account=ada');
    for (const all of [meters, standings]) {
      assert.deepEqual(all.map((one) => [one.limit, one.at_cap, one.enforced]).sort(), [['told', 'warn', false], ['trial', 'shadow', false]]);
    }
    for (const words of [['status'], ['limits', '--account', 'ada']]) {
      const { out } = run([...words, '--control', gateway.control]);
      assert.equal(out.match(/\t\d+ %, watched\t/g)?.length, 2, out);
    }
    const shown = run(['account', 'limit', 'ada', '--control', gateway.control]).out;
    assert.match(shown, /^Account 'ada' is not limited\. What follows is only watched\.\nAccount 'ada' has used .* of /);
    gateway.config.limits.rules = { ...money, window: 'month', cap: '50 USD' };
    gateway.write();
    gateway.command('reload');
    const rules = await status();
    assert.deepEqual([rules.is_limited, rules.limit, rules.at_cap], [true, 'rules', 'refuse'], 'one that refuses goes before one that does not');
    assert.match(run(['limits', '--account', 'ada', '--control', gateway.control]).out, /^rules\tada\t0 %\t/m);
  } finally {
    await gateway.stop();
  }
});

test('without a limit on accounts the answer is the stanza to write', async () => {
  const gateway = await Gateway.start(mock, { models: MODELS });
  gateway.addAccount('ada');
  await refused(gateway, 'GET', WHERE, undefined, 404, 'limit_not_found', /counts: cost, per: account, window: month/);
  await refused(gateway, 'PUT', `${WHERE}/overrides/ada`, { spend_limit_micros: 5 }, 404, 'limit_not_found', /month-spend/);
  assert.deepEqual(await done(gateway, 'GET', `${WHERE}/status?account=ada`), { is_limited: false });
  await gateway.stop();
});
