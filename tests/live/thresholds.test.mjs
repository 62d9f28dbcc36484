// Goal: what a provider reports of its own windows pauses new work at the threshold that an account sets, tells who
// and until when, and leaves running work alone; nobody stays paused by what is not true any more.
// Method: reports through the API and through the headers of the simulated provider's answers; calls of every
// dialect, and the official SDK.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';

import { Gateway, Mock, ask, callOf, modelsOn, run, send, sleep, until } from './harness.mjs';
import { APIS, assertRefusal } from './refusal.mjs';

const HOUR_MS = 3_600_000;
const inMs = (ms) => new Date(Date.now() + ms).toISOString();

let mock;
let gateway;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({
      'gpt-live': 'openai',
      'claude-opus-live': 'anthropic',
      'claude-sonnet-live': 'anthropic',
      'claude-company': 'anthropic',
    }),
    limits: {
      'five-hour': { counts: 'reported 5h', per: 'account', cap: { set: 'session_pct' }, at_cap: 'pause' },
      week: { counts: 'reported 7d', per: 'account', cap: { set: 'week_pct' }, at_cap: 'pause' },
      hour: { counts: 'reported 1h', per: 'account', cap: 50, on_stale: 'deny', max_age: '1s' },
      company: { counts: 'reported 5h', per: 'gateway', cap: 80, at_cap: 'pause', of: { model: 'claude-company' } },
    },
  });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

async function api(key, method, where, body, headers = {}) {
  const answer = await ask(`${gateway.url}/api/account/${where}`, { method, key, body, headers });
  assert.ok(answer.json, `${method} ${where}: ${answer.status} ${answer.text} ${answer.error}`);
  return answer;
}

async function good(key, method, where, body) {
  const answer = await api(key, method, where, body);
  assert.equal(answer.status, 200, answer.text);
  return answer.json;
}

/** As Anthropic tells it: percentages of its windows, which reset in two hours and in three days. */
function usage(five, seven, more = {}) {
  const reset = (ms) => ({ resets_at: inMs(ms).replace('Z', '123+00:00') });
  return {
    five_hour: { utilization: five, ...reset(2 * HOUR_MS) },
    seven_day: { utilization: seven, ...reset(72 * HOUR_MS) },
    ...more,
  };
}

const report = (key, ...windows) => good(key, 'PUT', 'usage-report', usage(...windows));
const thresholds = (key, session_pct, week_pct) => good(key, 'PUT', 'thresholds', { session_pct, week_pct });
const call = (key, model = 'claude-opus-live', more = {}) => send(gateway, key, callOf('messages', model, more));

test('TH-49 a pair of thresholds is kept, and reading it back gives the same', async () => {
  const key = gateway.member('th-pair');
  assert.deepEqual(await good(key, 'GET', 'thresholds'), { session_pct: null, week_pct: null });
  assert.deepEqual(await thresholds(key, 90, null), { session_pct: 90, week_pct: null });
  assert.deepEqual(await good(key, 'GET', 'thresholds'), { session_pct: 90, week_pct: null });
  assert.deepEqual(await thresholds(key, null, 1), { session_pct: null, week_pct: 1 });
  const change = (await gateway.ledger()).filter(({ kind }) => kind === 'admin').at(-1);
  assert.deepEqual(change.inputs, { verb: 'thresholds_put', account: 'th-pair', session_pct: null, week_pct: 1 });
});

test('TH-50 a pair that is not whole, or not of whole numbers, is refused and changes nothing', async () => {
  const key = gateway.member('th-wrong');
  await thresholds(key, 70, 80);
  const wrong = [
    [{ session_pct: 90 }, 'week_pct'],
    [{ week_pct: 90 }, 'session_pct'],
    [{ session_pct: 90, week_pct: 90, more: 1 }, '...'],
    [{ session_pct: 0, week_pct: 90 }, 'session_pct'],
    [{ session_pct: 90, week_pct: 101 }, 'week_pct'],
    [{ session_pct: 90.5, week_pct: null }, 'session_pct'],
    [{ session_pct: '90', week_pct: null }, 'session_pct'],
    ['{"session_pct": 90, "session_pct": 91, "week_pct": 92}', 'session_pct'],
  ];
  for (const [body, field] of wrong) {
    const answer = await api(key, 'PUT', 'thresholds', body);
    assert.equal(answer.status, 400, answer.text);
    assert.equal(answer.json.error.field, field, answer.text);
  }
  for (const body of ['', '[]', 'session_pct', '{"session_pct": 90,']) {
    const answer = await api(key, 'PUT', 'thresholds', body);
    assert.equal(answer.status, 400, answer.text);
    assert.equal(answer.json.error.code, 'body_not_json');
  }
  assert.deepEqual(await good(key, 'GET', 'thresholds'), { session_pct: 70, week_pct: 80 });
});

test('new work is paused at the threshold, and each dialect says so with the reset', async () => {
  const key = gateway.member('th-paused');
  await report(key, 92.4, 10);
  assert.equal((await call(key)).status, 200, 'without a threshold');
  await thresholds(key, 90, 95);
  for (const dialect of APIS) {
    const model = dialect === 'messages' ? 'claude-opus-live' : 'gpt-live';
    const answer = await send(gateway, key, callOf(dialect, model));
    const message = assertRefusal(answer, dialect, { status: 402, code: 'session_threshold' });
    assert.match(
      message,
      /^Account "th-paused" has used 92 % of its session window, as its provider reports, and the threshold is 90 % \(limit "five-hour"\)\. It opens again on /,
    );
    const wait_s = Number(answer.headers['retry-after']);
    assert.ok(wait_s > 7000 && wait_s <= 7200, `retry-after ${wait_s}`);
  }
  const client = new Anthropic({ baseURL: gateway.url, apiKey: key, maxRetries: 5 });
  const before = (await mock.journal()).length;
  await assert.rejects(
    client.messages.create({ model: 'claude-opus-live', max_tokens: 10, messages: [{ role: 'user', content: 'hi' }] }),
    (error) => error.status === 402 && /session window/.test(error.message),
  );
  assert.equal((await mock.journal()).length, before, 'nothing reached the provider');
  await report(key, 89.99, 96);
  assertRefusal(await call(key), 'messages', { status: 402, code: 'week_threshold' });
  await report(key, 89.99, 94.9);
  assert.equal((await call(key)).status, 200, 'just under both');
});

test('TH-58 a stream that runs when the threshold is reached completes', async () => {
  const key = gateway.member('th-running');
  await thresholds(key, 90, null);
  await mock.models({ 'claude-opus-live': 'tokens=60,tps=100' });
  let reported;
  const answer = await send(gateway, key, callOf('messages', 'claude-opus-live', { stream: true }), {
    onEvent: () => {
      reported ??= report(key, 99, 10);
    },
  });
  await reported;
  await mock.models({ 'claude-opus-live': null });
  assert.equal(answer.status, 200);
  assert.equal(answer.events.list.at(-1).name, 'message_stop');
  assertRefusal(await call(key), 'messages', { status: 402, code: 'session_threshold' });
});

test('TH-59 a threshold that is lowered below what is used refuses the next call, a preview tells before', async () => {
  const key = gateway.member('th-lowered');
  await thresholds(key, 90, null);
  await report(key, 60, 10);
  assert.equal((await call(key)).status, 200);
  const seen = await good(key, 'GET', 'usage?session_pct=60&week_pct=off');
  assert.equal(seen.paused, false);
  assert.equal(seen.preview.paused, true);
  assert.equal(seen.preview.reason, 'session_threshold');
  assert.deepEqual(seen.preview.thresholds, { session_pct: 60, week_pct: null });
  assert.equal((await good(key, 'GET', 'usage?session_pct=61')).preview.paused, false);
  assert.equal((await call(key)).status, 200, 'a preview changes nothing');
  await thresholds(key, 60, null);
  assertRefusal(await call(key), 'messages', { status: 402, code: 'session_threshold' });
});

test('a reset that has passed lets work start again, without a new report', async () => {
  const key = gateway.member('th-reset');
  const resets_at = inMs(1500);
  await thresholds(key, 90, null);
  await good(key, 'PUT', 'usage-report', { five_hour: { utilization: 100, resets_at } });
  assertRefusal(await call(key), 'messages', { status: 429, code: 'session_threshold', retry: null, after: [1, 2] });
  await until('the reset has passed', async () => (await call(key)).status === 200);
  assert.ok(Date.now() >= Date.parse(resets_at));
  const seen = await good(key, 'GET', 'usage');
  assert.equal(seen.paused, false);
  assert.equal(seen.windows[0].state, 'reset');
});

test('what is too old to count follows on_stale, and says that it is not known', async () => {
  const key = gateway.member('th-stale');
  const hour = (used_pct) => good(key, 'PUT', 'usage-report', { windows: [{ window: '1h', used_pct }] });
  assert.equal((await call(key)).status, 200, 'nothing was reported: allowed');
  await hour(10);
  assert.equal((await call(key)).status, 200);
  await sleep(1100);
  const message = assertRefusal(await call(key), 'messages', { status: 402, code: 'usage_unknown' });
  assert.match(message, /It opens with the next report\.$/);
  assert.equal((await good(key, 'GET', 'usage')).windows[0].state, 'stale');
  await hour(10);
  assert.equal((await call(key)).status, 200);
});

test('a window of a model set pauses the models it governs, and no other', async () => {
  const key = gateway.member('th-opus');
  await thresholds(key, null, 90);
  const resets_at = inMs(96 * HOUR_MS);
  const windows = { seven_day_opus: { utilization: 95, resets_at }, seven_day_oauth_apps: { utilization: 99, resets_at } };
  await good(key, 'PUT', 'usage-report', { usage: usage(10, 50, windows) });
  assertRefusal(await call(key), 'messages', { status: 402, code: 'week_threshold' });
  assert.equal((await call(key, 'claude-sonnet-live')).status, 200);
  const seen = await good(key, 'GET', 'usage');
  assert.equal(seen.paused, true);
  assert.deepEqual(seen.models, ['*opus*']);
  assert.equal(seen.utilization_pct, 95);
  assert.equal(seen.threshold_pct, 90);
  assert.equal(seen.resets_at, resets_at);
  assert.equal(seen.usage.seven_day.utilization, 50);
  assert.equal(seen.usage.seven_day_oauth_apps.utilization, 99);
  assert.deepEqual(seen.thresholds, { session_pct: null, week_pct: 90 });
  await report(key, 10, 50); /* a report tells all there is: the window of the set is gone */
  assert.equal((await call(key)).status, 200);
  assert.equal((await good(key, 'GET', 'usage')).usage.seven_day_opus, null);
});

test('of several credentials the fullest counts, where it is not known which one is used', async () => {
  const key = gateway.member('th-two');
  await thresholds(key, 90, null);
  await good(key, 'PUT', 'usage-report', { ...usage(95, 1), credential: 'desk' });
  await good(key, 'PUT', 'usage-report', { ...usage(10, 1), credential: 'couch' });
  assertRefusal(await call(key), 'messages', { status: 402, code: 'session_threshold' });
  await good(key, 'PUT', 'usage-report', { ...usage(20, 1), credential: 'anthropic' });
  assert.equal((await call(key)).status, 200, 'the one that the call goes by is told of');
  assertRefusal(await call(key, 'gpt-live'), 'messages', { status: 404, code: 'api_not_served' });
  const chat = await send(gateway, key, callOf('chat', 'gpt-live'));
  assertRefusal(chat, 'chat', { status: 402, code: 'session_threshold' });
});

test('a report that is wrong is refused whole, and says where', async () => {
  const key = gateway.member('th-report');
  await report(key, 40, 50);
  const wrong = [
    [{ ...usage(1, 2), five_hour: null }, 'five_hour'],
    [usage('1', 2), 'five_hour.utilization'],
    [usage(1, 2, { seven_day_opus: {} }), 'seven_day_opus.utilization'],
    [{ windows: [{ window: '5h', used_pct: 7 }, { window: 'odd', used_pct: 7 }] }, 'windows.1.window'],
    ['nothing', 'body'],
  ];
  for (const [body, field] of wrong) {
    const answer = await api(key, 'PUT', 'usage-report', body);
    assert.equal(answer.status, 400, answer.text);
    assert.equal(answer.json.error.field, field);
  }
  const seen = await good(key, 'GET', 'usage');
  assert.equal(seen.usage.five_hour.utilization, 40);
  assert.equal(seen.windows.length, 2);
});

test('the unified headers of an answer tell of the credential that paid for it', async () => {
  const key = gateway.member('th-headers');
  await mock.models({ 'claude-company': 'headers=unified:0.7999:0.30' });
  assert.equal((await call(key, 'claude-company')).status, 200);
  const kept = () => gateway.rows('SELECT packed FROM reported WHERE account_id = 0')[0]?.packed ?? '';
  await until('the report is kept', () => /^anthropic,5h,,79990,\d+,\d+,1;anthropic,7d,,30000,/.test(kept()));
  await mock.models({ 'claude-company': 'headers=unified:0.81:0.30' });
  assert.equal((await call(key, 'claude-company')).status, 200);
  await until('the rise is kept', () => kept().startsWith('anthropic,5h,,81000,'));
  const message = assertRefusal(await call(key, 'claude-company'), 'messages', { status: 402, code: 'session_threshold' });
  assert.match(message, /A limit shared with others is at 81 % \(limit "company"\)/);
  assert.equal((await call(key)).status, 200, 'what the limit is not of goes on');
  assert.equal((await good(key, 'GET', 'usage')).usage, null, 'it is the company\'s');
});

test('what is reported and set outlives a crash, and is each account\'s own', async () => {
  const key = gateway.member('th-crash');
  const other = gateway.member('th-other');
  await thresholds(key, 90, null);
  await thresholds(other, 90, null);
  await report(key, 95, 10);
  await gateway.restart();
  assertRefusal(await call(key), 'messages', { status: 402, code: 'session_threshold' });
  assert.equal((await call(other)).status, 200);
  assert.equal((await good(key, 'GET', 'usage')).paused, true);
});

describe('who may ask for whom', () => {
  test('a key sees its own account, an observer all, and only an admin changes another\'s', async () => {
    const key = gateway.member('th-own');
    const observer = gateway.addKey('th-own', '--role', 'observer').secret;
    const admin = gateway.addKey('th-own', '--role', 'admin').secret;
    gateway.member('th-foreign');
    const foreign = 'thresholds?account=th-foreign';
    const pair = { session_pct: 50, week_pct: null };
    assert.equal((await api(key, 'GET', foreign)).status, 404);
    assert.equal((await api(key, 'GET', 'thresholds?account=th-nobody')).status, 404);
    assert.equal((await api(key, 'PUT', foreign, pair)).status, 404);
    assert.equal((await api(observer, 'GET', foreign)).status, 200);
    assert.equal((await api(observer, 'PUT', foreign, pair)).status, 403);
    assert.equal((await api(observer, 'PUT', 'thresholds', pair)).status, 403);
    assert.equal((await api(admin, 'PUT', foreign, pair)).json.session_pct, 50);
    assert.equal((await api(undefined, 'GET', 'usage')).status, 401);
  });

  test('a service key reports for those it acts for', async () => {
    gateway.addAccount('th-product');
    const service = gateway.addKey('th-product', '--role', 'service', '--may-act-for', 'th-user-*').secret;
    const as = { 'x-tidegate-account': 'th-user-7' };
    assert.equal((await api(service, 'PUT', 'usage-report', usage(95, 10), as)).status, 200);
    assert.equal((await api(service, 'PUT', 'thresholds', { session_pct: 90, week_pct: null }, as)).status, 200);
    const acting = callOf('messages', 'claude-opus-live');
    const refused = await send(gateway, service, { ...acting, headers: { ...acting.headers, ...as } });
    assertRefusal(refused, 'messages', { status: 402, code: 'session_threshold' });
    assert.equal((await call(service)).status, 200);
  });

  test('the command line sets one threshold and leaves the other', async () => {
    const key = gateway.member('th-cli');
    await report(key, 42.5, 10);
    await thresholds(key, null, 70);
    const set = gateway.command('account', 'thresholds', 'th-cli', '--session', '90');
    assert.deepEqual(set, { session_pct: 90, week_pct: 70 });
    assert.deepEqual(gateway.command('account', 'thresholds', 'th-cli', '--week', 'off'), { session_pct: 90, week_pct: null });
    const told = run(['account', 'thresholds', 'th-cli', '--control', gateway.control], { cwd: gateway.dir });
    assert.match(told.out, /5h\s+42\.5 %/);
    assert.match(told.out, /five-hour\s+90 %\s+set\s+42\.5 %\s+known/);
    const status = run(['status', '--account', 'th-cli', '--control', gateway.control], { cwd: gateway.dir });
    assert.match(status.out, /Reported by providers\n/);
    const wrong = run(['account', 'thresholds', 'th-cli', '--session', '101', '--control', gateway.control], { cwd: gateway.dir });
    assert.equal(wrong.code, 2);
    assert.match(wrong.err, /whole number from 1 to 100/);
  });
});

test('without such limits nothing can be set, and the answer says what is missing', async () => {
  const plain = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) });
  const key = plain.member('th-plain');
  const put = (body) => ask(`${plain.url}/api/account/thresholds`, { method: 'PUT', key, body });
  const refused = await put({ session_pct: null, week_pct: 90 });
  assert.equal(refused.status, 409, refused.text);
  assert.equal(refused.json.error.code, 'threshold_none');
  assert.match(refused.json.error.message, /no limit has cap: \{set: week_pct\}/);
  assert.deepEqual((await put({ session_pct: null, week_pct: null })).json, { session_pct: null, week_pct: null });
  await plain.stop();
});
