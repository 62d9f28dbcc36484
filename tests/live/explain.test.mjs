// Goal: explain says what the gate would say, of every limit with its state, its cap and where that comes from, and
// changes nothing; a call that was made is decided again from what the ledger recorded, for whom it is.
// Method: a described call beside the same call made; the whole store compared before and after.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Gateway, Mock, ON_POSTGRES, ask, callOf, modelsOn, ownLimit, run, send, until } from './harness.mjs';
import { execOf } from './postgres.mjs';

const CALL_MICROS = 1_000_000;

let mock;
let gateway;
let ada;
let eve;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': [['openai', 'gpt-live'], ['second', 'gpt-live']], 'claude-live': 'anthropic', slow: 'openai' }),
    plans: { free: {}, pro: {} },
    limits: {
      tree: { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: '5 USD' },
      day: { counts: 'cost', per: 'account', window: 'day', cap: { default: '100 USD', plan: { free: '0.05 USD' } } },
      pace: { counts: 'requests', per: 'key', window: { rate: '600/min', burst: 60 } },
      parallel: { counts: 'in_flight', per: 'gateway', cap: 50 },
    },
  });
  ada = gateway.member('ada', '--plan', 'pro');
  eve = gateway.member('eve');
  await mock.models({ 'gpt-live': 'tokens=20', 'claude-live': 'tokens=20', slow: 'tokens=200,tps=50' });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const explain = (body) => gateway.admin('/api/v1/explain', 'POST', body);
/** As a client with a key asks. */
const asked = (key, body, where = '/api/v1/explain', method = 'POST') =>
  ask(`${gateway.url}${where}`, { method, body, headers: { authorization: `Bearer ${key}` } });
const limitOf = (answer, name) => answer.limits.find((limit) => limit.limit === name);
const call = (key, model, headers = {}, more = {}) =>
  send(gateway, key, callOf(model.startsWith('claude') ? 'messages' : 'chat', model, { limit: ownLimit(), ...more }), { headers });

/** All that a decision could write, as text. */
const TABLES = ['account', 'key', 'limit_def', 'subject', 'meter', 'hold', 'ledger', 'refusal', 'thread', 'issued'];
const dump = () => TABLES.map((table) => `${table}: ${JSON.stringify(gateway.rows(`SELECT * FROM ${table} ORDER BY 1, 2`))}`).join('\n');

test('a described call is decided, and nothing is changed by it', async () => {
  assert.equal((await call(ada, 'gpt-live', { 'x-tidegate-thread': 'main' })).status, 200);
  await gateway.booked();
  const before_text = dump();
  const commits = (await gateway.admin('/api/v1/status')).gateway.commits;
  const told = await explain({ account: 'ada', model: 'gpt-live', thread: 'main', body_bytes: 4000, output_limit: 500 });
  for (let i = 0; i < 20; i++) {
    await explain({ account: 'eve', model: 'claude-live', body_bytes: 900_000, thread: `new-${i}` });
  }
  assert.equal(dump(), before_text);
  if (!ON_POSTGRES) { // there it renews its lease meanwhile
    assert.equal((await gateway.admin('/api/v1/status')).gateway.commits, commits);
  }

  assert.equal(told.verdict, 'allowed', JSON.stringify(told, null, 1));
  assert.deepEqual([told.account, told.plan, told.payer, told.model], ['ada', 'pro', 'company', 'gpt-live']);
  assert.deepEqual(told.checks.map((check) => check.result), told.checks.map(() => 'passed'));
  assert.deepEqual(told.checks.map((check) => check.position), [...told.checks.map((check) => check.position)].sort((a, b) => a - b));
  assert.deepEqual(told.limits.map((limit) => limit.limit), ['tree', 'day', 'pace', 'parallel'], 'in the order of the checks');
  assert.deepEqual(told.routes.map((route) => [route.provider, route.open, route.taken]), [['openai', true, true], ['second', true, false]]);
  const tree = limitOf(told, 'tree');
  const [meter] = (await gateway.admin('/api/admin/limits?account=ada')).meters.filter(({ limit }) => limit === 'tree');
  assert.equal(tree.settled, meter.used, 'the state is that of the meters');
  assert.equal(tree.left, 5 * CALL_MICROS - meter.used);
  assert.equal(tree.would_hold, told.hold.held_micros);
  assert.equal(limitOf(told, 'day').cap_from, 'default');
});

test('what would be held is what the same call then holds', async () => {
  const body = callOf('chat', 'slow', { limit: ownLimit(), stream: true });
  const told = await explain({ account: 'ada', thread: 'held', api: 'chat', body: body.body });
  assert.equal(told.verdict, 'allowed', JSON.stringify(told));
  const sent = send(gateway, ada, body, { headers: { 'x-tidegate-thread': 'held' } });
  const hold = await until('the call is in flight', () => gateway.rows('SELECT * FROM hold')[0]);
  assert.equal(hold.held_micros, told.hold.held_micros);
  assert.equal(hold.bound_micros, told.hold.bound_micros);
  assert.equal(hold.est_input, told.estimate.input);
  const seen = await explain({ account: 'ada', model: 'slow', thread: 'held' });
  assert.equal(limitOf(seen, 'parallel').held, 1, 'work in flight is seen');
  const open = await gateway.admin(`/api/v1/requests/req_${hold.hold_id}`);
  assert.deepEqual([open.state, open.decision.agrees, open.decision.was], ['in_flight', true, 'allowed']);
  await sent;
  await gateway.booked();
});

test('FF-92 FF-96 a refusal names the limit, its state, and where its cap comes from', async () => {
  const told = await explain({ account: 'eve', model: 'gpt-live', body_bytes: 400_000, output_limit: 4000 });
  assert.equal(told.verdict, 'refused', JSON.stringify(told));
  assert.deepEqual([told.reason, told.refused_by], ['budget_spent', 'day']);
  const day = limitOf(told, 'day');
  assert.deepEqual([day.cap, day.cap_from, day.fits], [50_000, 'plan', false]);
  assert.ok(day.ask > day.left);
  assert.equal(told.checks.find((check) => check.result === 'refused').check, 'account period');
  assert.equal(told.checks.at(-1).result, 'not_reached');
  assert.equal(limitOf(told, 'tree').fits, true, 'the others are told too');
  assert.equal('hold' in told, false);
});

test('a call of the past is decided again from the inputs on its row', async () => {
  const made = await call(ada, 'claude-live', { 'x-tidegate-thread': 'past' });
  assert.equal(made.status, 200);
  await gateway.booked();
  const told = gateway.command('explain', made.request_id);
  assert.deepEqual([told.decision.was, told.decision.again, told.decision.agrees], ['allowed', 'allowed', true]);
  assert.equal(told.decision.limits_of, 'the configuration of then');
  assert.deepEqual(told.decision.limits.map((limit) => limit.limit), ['tree', 'day', 'pace', 'parallel']);

  /* what was refused: by the row that its repeats lead to as well */
  const big = { limit: ownLimit(), text: 'x'.repeat(100_000) };
  const refused = await call(eve, 'claude-live', {}, big);
  const again = await call(eve, 'claude-live', {}, big);
  assert.deepEqual([refused.status, again.status], [402, 402], refused.text);
  assert.equal(again.request_id, refused.request_id, 'a repeat leads to the first');
  const why = gateway.command('explain', refused.request_id); /* at once: it is written for who asks */
  assert.deepEqual([why.decision.was, why.decision.again, why.decision.agrees], ['refused', 'refused', true]);
  const [day] = why.decision.limits;
  assert.deepEqual([day.limit, day.cap, day.fits], ['day', 50_000, false]);
});

const execute = (sql) => {
  if (gateway.own_database) {
    execOf(gateway.store, sql);
    return;
  }
  const done = spawnSync('sqlite3', [gateway.store, sql], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
};

test('a recorded call that would be decided otherwise by its amounts says so', async () => {
  const made = await call(ada, 'gpt-live', { 'x-tidegate-thread': 'altered' });
  await gateway.booked();
  const [row] = await gateway.rowsOf(made.request_id);
  const inputs = JSON.stringify(row.inputs).replace('"cap":100000000', '"cap":1');
  assert.notEqual(inputs, JSON.stringify(row.inputs));
  await gateway.program.end('SIGTERM');
  execute(`UPDATE ledger SET inputs = '${inputs}' WHERE id = ${row.row}`);
  await gateway.launch();
  const told = gateway.command('explain', made.request_id);
  assert.deepEqual([told.decision.was, told.decision.again, told.decision.agrees], ['allowed', 'refused', false]);
  assert.equal(told.decision.prices_of, 'then', 'the same prices, under another start');
  const shown = run(['explain', made.request_id, '--control', gateway.control], { cwd: gateway.dir });
  assert.match(shown.out, /refused, but allowed then/);
});

test('a call is known to be of this configuration or of another, over restarts and edits', async () => {
  const made = await call(ada, 'gpt-live', { 'x-tidegate-thread': 'then' });
  await gateway.booked();
  const asked_now = () => {
    const { decision } = gateway.command('explain', made.request_id);
    const shown = run(['explain', made.request_id, '--control', gateway.control], { cwd: gateway.dir }).out;
    assert.match(shown, decision.same_configuration ? /by the configuration that is in force;/ : /by another configuration than/);
    assert.equal(decision.agrees, true);
    return [decision.same_configuration, decision.prices_of];
  };
  const edit = (change) => {
    change(gateway.config);
    gateway.write();
    const done = run(['reload', '--control', gateway.control], { cwd: gateway.dir });
    assert.equal(done.code, 0, done.err);
  };
  assert.deepEqual(asked_now(), [true, 'then']);
  await gateway.restart();
  assert.deepEqual(asked_now(), [true, 'then'], 'after a restart');
  edit((config) => { config.limits.parallel.cap = 51; });
  assert.deepEqual(asked_now(), [false, 'then'], 'another cap, the same prices');
  await gateway.restart();
  assert.deepEqual(asked_now(), [false, 'then']);
  edit((config) => { config.limits.parallel.cap = 50; });
  assert.deepEqual(asked_now(), [true, 'then'], 'back again');
});

test('a parent that is not there is told at its check', async () => {
  const told = await explain({ account: 'ada', model: 'gpt-live', thread: 'child', parent: 'missing' });
  assert.equal(told.reason, 'thread_parent_unknown');
  assert.match(told.checks.find((check) => check.result === 'refused').check, /^thread and its parent known/);
});

test('a refusal for what the request was tells that, and which model was asked for', async () => {
  const other = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai', small: 'openai', slow: 'openai' }),
    held_wait: '100ms',
    limits: {
      day: { counts: 'cost', per: 'account', window: 'day', cap: '0.05 USD', hold: 'strict' },
      few: { counts: 'requests', per: 'account', of: { model: 'gpt-live' }, window: 'day', cap: 1, at_cap: { downgrade: 'small' } },
      none: { counts: 'requests', per: 'account', of: { model: 'small' }, window: 'day', cap: 0 },
      line: { counts: 'in_flight', per: 'account', cap: 1, at_cap: { queue: '5s' } },
      tree: { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: { default: '1 USD', set: 'spend_limit_micros' } },
    },
  });
  try {
    const bob = other.member('bob');
    const made = (model, more = {}, headers = {}) =>
      send(other, bob, callOf('chat', model, { limit: ownLimit(), more }), { headers });
    const shown = (id) => run(['explain', id, '--control', other.control], { cwd: other.dir }).out;
    const field = await made('gpt-live', { luxury: 1 });
    assert.equal(field.status, 402);
    const { decision } = other.command('explain', field.request_id);
    assert.deepEqual([decision.again, decision.because_of], ['refused', 'luxury']);
    assert.deepEqual(decision.limits.map((limit) => [limit.limit, limit.fits, 'cap' in limit]), [['day', false, false]]);
    assert.match(shown(field.request_id), /refused, as then[^]*because of 'luxury'/);

    const unknown = await made('no-such');
    assert.match(shown(unknown.request_id), /refusal of bob, no-such \(model_not_found\)/);

    /* two trees under one limit are two refusals, each with its own numbers */
    const caps = [];
    for (const cap of ['100', '200']) {
      const refused = await made('gpt-live', {}, { 'x-tidegate-thread': `t${cap}`, 'x-tidegate-spend-limit-micros': cap });
      const told = other.command('explain', refused.request_id);
      caps.push([refused.status, told.decision.limits[0].cap, told.refused_count]);
    }
    assert.deepEqual(caps, [[402, 100, 1], [402, 200, 1]]);

    assert.equal((await made('gpt-live')).status, 200);
    const instead = await made('gpt-live');
    assert.match(shown(instead.request_id), /Instead, small was tried, and refused, too \(rate_limited\)/);

    const long = await send(other, bob, callOf('chat', 'slow', { limit: 8000 }));
    await mock.models({ slow: 'tokens=20,ttft_ms=300' });
    const both = await Promise.all([made('slow'), made('slow')]);
    await other.booked();
    assert.deepEqual([long, ...both].map((answer) => answer.status), [200, 200, 200]);
    assert.match(shown(long.request_id), /Its output limit was lowered to \d+ tokens/);
    const waited = both.map((answer) => other.command('explain', answer.request_id).decision.waited_ms);
    assert.deepEqual(waited.map((ms) => ms > 0).sort(), [false, true]);
    assert.match(shown(both[waited.findIndex((ms) => ms > 0)].request_id), /It had waited .* in line by then/);
  } finally {
    await other.stop();
    await mock.models({ slow: 'tokens=200,tps=50' });
  }
});

test('users see their own, others are not there, and what is shared shows a percentage', async () => {
  const own = await asked(ada, { model: 'gpt-live' });
  assert.equal(own.status, 200, own.text);
  assert.equal(own.json.account, 'ada');
  const shared = limitOf(own.json, 'parallel');
  assert.deepEqual(['settled' in shared, 'held' in shared, 'cap' in shared, shared.percent], [false, false, false, 0]);
  assert.ok('cap' in limitOf(own.json, 'day'));
  const other = await asked(ada, { model: 'gpt-live', account: 'eve' });
  const missing = await asked(ada, { model: 'gpt-live', account: 'nobody' });
  assert.deepEqual([other.status, other.text], [missing.status, missing.text]);
  assert.equal(other.status, 404);
  const keyless = await ask(`${gateway.url}/api/v1/explain`, { method: 'POST', body: { model: 'gpt-live' } });
  assert.equal(keyless.status, 401);

  const made = await call(ada, 'gpt-live');
  await gateway.booked();
  const mine = await asked(ada, undefined, `/api/v1/requests/${made.request_id}`, 'GET');
  assert.equal(mine.status, 200, mine.text);
  assert.equal('cap' in mine.json.decision.limits.find((limit) => limit.limit === 'parallel'), false);
  const foreign = await asked(eve, undefined, `/api/v1/requests/${made.request_id}`, 'GET');
  const unused = BigInt(made.request_id.slice('req_'.length)) + 500_000n; // of the same gateway
  const unknown = await asked(eve, undefined, `/api/v1/requests/req_${unused}`, 'GET');
  assert.deepEqual([foreign.status, foreign.text], [unknown.status, unknown.text]);
});

test('what makes no sense is a clear error with its field', async () => {
  for (const [body, status, words] of [
    [{ account: 'ada' }, 400, /'model' is missing/],
    [{ model: 'gpt-live' }, 400, /'account' is missing/],
    [{ account: 'nobody', model: 'gpt-live' }, 404, /no such account/],
    [{ account: 'ada', model: 'gpt-lve' }, 404, /no such model/],
    [{ account: 'ada', model: 'gpt-live', api: 'messages' }, 404, /not served at this endpoint/],
    [{ account: 'ada', model: 'gpt-live', api: 'smoke' }, 400, /'api' must be/],
    [{ account: 'ada', model: 'gpt-live', body_bytes: -1 }, 400, /'body_bytes' must be/],
    [{ account: 'ada', model: 'gpt-live', colour: 'red' }, 400, /'colour' is not known/],
    [{ account: 'ada', model: 'gpt-live', key: 'key_77' }, 404, /no such key/],
    [{ account: 'ada', body: { model: 7 } }, 400, /body/],
    [{ account: 'ada', model: 'gpt-live', tags: { nope: 'a' } }, 400, /'tags' names 'nope'/],
  ]) {
    const answer = await ask({ socketPath: gateway.control, path: '/api/v1/explain' }, { method: 'POST', body });
    assert.equal(answer.status, status, `${JSON.stringify(body)}: ${answer.text}`);
    assert.match(answer.json.error.message, words);
  }
});

test('the command tells it to people', () => {
  const body = path.join(gateway.dir, 'body.json');
  fs.writeFileSync(body, JSON.stringify({ model: 'gpt-live', messages: [{ role: 'user', content: 'hello' }] }));
  const done = run(['explain', '--account', 'ada', '--body', body, '--control', gateway.control], { cwd: gateway.dir });
  assert.equal(done.code, 0, done.err);
  assert.match(done.out, /^Allowed: company pays\./);
  for (const word of ['key valid', 'thread-tree lifetime', 'tree', 'day', 'pace', 'parallel', 'openai']) {
    assert.ok(done.out.includes(word), `${word} in\n${done.out}`);
  }
  const none = run(['explain', '--control', gateway.control], { cwd: gateway.dir });
  assert.equal(none.code, 2);
  assert.match(none.err, /a REQUEST, or --model/);
});
