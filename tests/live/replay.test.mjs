// Goal: replay tells who would have been refused by another configuration, by which limit, and what that is in money;
// under the configuration that was in force it refuses nobody and books the same.
// Method: calls of two accounts through a gateway; its ledger replayed beside it under configurations of known effect.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Gateway, Mock, PRICE_YAML, callOf, modelsOn, ownLimit, run, send, until } from './harness.mjs';

let mock;
let gateway;
let rows;
let costs; // of ada's calls, in order
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
    limits: {
      day: { counts: 'cost', per: 'account', window: 'day', cap: '5 USD' },
      tiny: { counts: 'cost', per: 'account', window: 'day', cap: '0 USD', of: { model: 'claude-live' } },
      pace: { counts: 'requests', per: 'key', window: { rate: '6000/min', burst: 600 } },
    },
  });
  const ada = gateway.member('ada');
  const eve = gateway.member('eve');
  await mock.models({ 'gpt-live': 'tokens=40' });
  const call = (key, model, thread) =>
    send(gateway, key, callOf(model === 'claude-live' ? 'messages' : 'chat', model, { limit: ownLimit() }), {
      headers: { 'x-tidegate-thread': thread },
    });
  for (let i = 0; i < 6; i++) {
    assert.equal((await call(ada, 'gpt-live', `t${i % 2}`)).status, 200);
  }
  assert.equal((await call(eve, 'gpt-live', 'e')).status, 200);
  assert.equal((await call(eve, 'claude-live', 'e')).status, 402);
  await gateway.booked();
  await until('the refusal is on the books', () => gateway.rows('SELECT id FROM ledger WHERE kind = 5').length === 1);
  rows = (await gateway.ledger()).filter((row) => row.kind === 'settle');
  costs = rows.filter((row) => row.account === 'ada').map((row) => row.cost_micros);
  assert.equal(rows.length, 7);
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const sum = (list) => list.reduce((total, value) => total + value, 0);

/** The gateway's configuration with other parts, replayed over its books. */
function replay(name, change, ...more) {
  const file = path.join(gateway.dir, `${name}.yaml`);
  fs.writeFileSync(file, JSON.stringify({ ...gateway.config, ...change }));
  return run(['replay', '--config', file, '--control', gateway.control, ...more], { cwd: gateway.dir });
}
function replayed(name, change, ...more) {
  const done = replay(name, change, '--json', ...more);
  assert.equal(done.code, 0, done.err + done.out);
  return JSON.parse(done.out);
}

test('the configuration that was in force refuses nobody and books the same', () => {
  const told = replayed('same', {});
  assert.deepEqual([told.calls, told.allowed, told.refused, told.groups.length], [7, 7, 0, 0], JSON.stringify(told));
  const booked = sum(rows.map((row) => row.cost_micros));
  assert.deepEqual([told.cost_before_micros, told.cost_after_micros, told.difference_micros], [booked, booked, 0]);
  assert.deepEqual([told.refusals_asked_again, told.refusals_that_pass], [1, 0], 'what was refused is again');
});

test('a lower cap refuses by that limit, those that came once it was spent', () => {
  const told = replayed('paced', {
    limits: { few: { counts: 'requests', per: 'account', window: 'day', cap: 2 } },
  });
  assert.deepEqual([told.allowed, told.refused], [3, 4], JSON.stringify(told));
  const [group] = told.groups;
  assert.deepEqual([told.groups.length, group.account, group.limit, group.calls], [1, 'ada', 'few', 4]);
  assert.equal(group.cost_micros, sum(costs.slice(2)));
  assert.equal(told.cost_refused_micros, sum(costs.slice(2)));
  assert.equal(told.cost_after_micros, told.cost_before_micros - told.cost_refused_micros);
  const ada = rows.filter((row) => row.account === 'ada').map((row) => row.request);
  assert.deepEqual(told.refusals.map((refusal) => refusal.request), ada.slice(2), 'each with its request, in order');
  assert.equal(told.refusals_that_pass, 1, 'the model that was refused then would pass');
  assert.ok(told.cost_refusals_that_pass_micros > 0);
});

test('other prices are the difference in money; a model that is gone refuses', () => {
  const twice = replayed('dear', {
    models: modelsOn(
      { 'gpt-live': 'openai', 'claude-live': 'anthropic' },
      { price: { ...PRICE_YAML, input: '6 USD', output: '30 USD' } },
    ),
  });
  assert.equal(twice.refused, 0);
  assert.ok(Math.abs(twice.cost_after_micros - 2 * twice.cost_before_micros) <= rows.length, JSON.stringify(twice));
  const gone = replayed('gone', { models: modelsOn({ 'claude-live': 'anthropic' }), limits: {} });
  assert.deepEqual([gone.allowed, gone.refused], [0, 7]);
  assert.ok(gone.groups.every((group) => group.limit === null && group.reason === 'model_not_found'));
});

test('what came before --since is counted and not reported', () => {
  const since = new Date(Date.now() + 1000).toISOString();
  const told = replayed('later', { limits: { none: { counts: 'requests', per: 'account', window: 'day', cap: 0 } } }, '--since', since);
  assert.deepEqual([told.calls, told.refused], [0, 0]);
});

test('people read it, spreadsheets too, and wrong usage is told', () => {
  const few = { limits: { few: { counts: 'requests', per: 'account', window: 'day', cap: 2 } } };
  const shown = replay('shown', few);
  assert.equal(shown.code, 0, shown.err);
  for (const words of [/7 calls since/, /3 would be allowed, 4 refused/, /the difference/, /ada\s+few/]) {
    assert.match(shown.out, words);
  }
  const csv = replay('csv', few, '--csv');
  assert.match(csv.out, /^account,limit,reason,calls,cost_micros,first_at,last_at\r\nada,few,rate_limited,4,/);
  assert.equal(replay('both', few, '--csv', '--json').code, 2);
  assert.equal(replay('when', few, '--since', 'soon').code, 2);
  const backwards = replay('backwards', few, '--since', '1d', '--until', '2d');
  assert.deepEqual([backwards.code, backwards.out], [2, '']);
  assert.match(backwards.err, /--until 2d is not after --since 1d/);
  assert.match(replay('until', few, '--until', '1d').out, /^0 calls since \S+ \S+ and before \S+ \S+ \(UTC\)/);
  assert.ok(replayed('until-json', few, '--until', '1d').until < new Date().toISOString());
  assert.equal(replayed('no-until', few).until, null);
  assert.equal(replay('wrong', { limits: { few: { counts: 'luck' } } }).code, 1);
  assert.equal(run(['replay'], { cwd: gateway.dir }).code, 2);
});

test('a stream that would find no room ends early, by that limit, and what is not spent is told', async () => {
  await mock.models({ 'gpt-live': 'tokens=3000,per_event=100' });
  const key = gateway.member('flo');
  const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit: 4000, stream: true }));
  assert.equal(answer.status, 200, answer.text);
  await gateway.booked();
  const [row] = (await gateway.ledger({ account: 'flo' })).filter((each) => each.kind === 'settle');
  const tight = { limits: { tight: { counts: 'cost', per: 'account', window: 'day', cap: '30000 micros' } } };
  const told = replayed('tight', tight);
  assert.deepEqual([told.refused, told.ended_early_calls], [0, 1], JSON.stringify(told));
  const [ended] = told.ended_early;
  assert.deepEqual([ended.account, ended.limit, ended.calls, ended.first_request], ['flo', 'tight', 1, row.request]);
  assert.equal(ended.unspent_micros, told.cost_unspent_micros);
  assert.equal(told.difference_micros, -told.cost_unspent_micros);
  const left = row.cost_micros - told.cost_unspent_micros;
  assert.ok(left <= 30_000 && left > 29_000, `${left}`);
  assert.match(replay('tight-shown', tight).out, /1 of those allowed would have ended early[^]*flo\s+tight\s+1/);
});

test('a cap that was set for an account rules in the replay too, and what was not reported is said', () => {
  gateway.command('account', 'limit', 'flo', '--limit', 'day', '--set', '0.001 USD');
  const told = replayed('set', { limits: { day: { ...gateway.config.limits.day } } });
  assert.deepEqual([told.refused, told.groups[0]?.account], [1, 'flo'], JSON.stringify(told));
  const pace = { counts: 'reported 5h', per: 'account', cap: 80, at_cap: 'pause' };
  const paced = replayed('reported', { limits: { pace } });
  assert.deepEqual([paced.refused, paced.reports_not_recorded], [0, paced.calls + paced.refusals_asked_again]);
  const shown = replay('reported-shown', { limits: { pace } });
  assert.match(shown.out, /Not replayed: what providers reported is not recorded for \d+ calls?/);
});

test('calls refused for a field or for the cap they asked for are refused again, and take nothing from others', async () => {
  const other = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai' }),
    limits: {
      day: { counts: 'cost', per: 'account', window: 'day', cap: '0.01 USD', hold: 'strict' },
      tree: { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: { default: '1 USD', set: 'spend_limit_micros' } },
    },
  });
  try {
    await mock.models({ 'gpt-live': 'tokens=20' });
    const eve = other.member('eve');
    const ask_for = (key, more, headers) => send(other, key, callOf('chat', 'gpt-live', { limit: 200, more }), { headers });
    for (let i = 0; i < 10; i++) {
      assert.equal((await ask_for(other.addKey('eve').secret, { luxury: 1 })).status, 402);
    }
    for (const thread of ['one', 'two']) {
      const headers = { 'x-tidegate-thread': thread, 'x-tidegate-spend-limit-micros': '50' };
      assert.equal((await ask_for(eve, undefined, headers)).status, 402);
    }
    for (let i = 0; i < 3; i++) {
      assert.equal((await ask_for(eve)).status, 200);
    }
    await other.booked();
    await until('the refusals are on the books', () => other.rows('SELECT id FROM ledger WHERE kind = 5').length === 12);
    const file = path.join(other.dir, 'same.yaml');
    fs.writeFileSync(file, JSON.stringify(other.config));
    const told = other.command('replay', '--config', file);
    assert.deepEqual([told.calls, told.allowed, told.refused], [3, 3, 0], JSON.stringify(told));
    assert.deepEqual([told.refusals_asked_again, told.refusals_that_pass, told.left_out], [12, 0, 0]);
  } finally {
    await other.stop();
  }
});
