// Goal: a program reads the log as a person does: one object a line, stable keys, nothing secret, and no
// client fills it.
// Method: a gateway that logs JSON serves, refuses and fails known calls; every line is parsed and held
// against the table of keys.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, ask, callOf, modelsOn, send, until } from './harness.mjs';

const KEYS = new Set([...fs.readFileSync(path.resolve(import.meta.dirname, '../../src/tbl/log_keys.h'), 'utf8')
  .matchAll(/X\("([a-z0-9_]+)",/g)].map(([, key]) => key));
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';

let mock;
let gateway;
let key;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, { log: 'json', loops: 1, models: modelsOn({ 'gpt-live': 'openai', 'gpt-lost': [['openai', 'mock:status=500']] }) });
  key = gateway.addAccount('ada') && gateway.addKey('ada');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const lines = () => gateway.log().split('\n').filter(Boolean).map((line) => JSON.parse(line));
const lineOf = (answer, event) => until('its line', () => lines().find((line) => line.request === answer.request_id && line.event === event));

describe('a log of JSON', () => {
  test('has one line for a call, with who, what, how long and how much', async () => {
    const answer = await send(gateway, key.secret, callOf('chat', 'gpt-live', { stream: true, limit: 30 }),
      { headers: { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` } });
    assert.equal(answer.status, 200);
    await gateway.booked();
    const [row] = await gateway.rowsOf(answer.request_id);
    const { time, ms, first_byte_ms, ...line } = await lineOf(answer, 'call');
    assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(Number.isInteger(ms) && ms >= first_byte_ms && first_byte_ms >= 0);
    assert.deepEqual(line, {
      level: 'info', event: 'call', request: answer.request_id, trace: TRACE, account: 'ada', key: key.id, thread: row.thread,
      api: 'chat', model: 'gpt-live', provider: 'openai', attempts: 1, payer: 'company', status: 200, upstream_status: 200,
      stream: true, input: row.usage.input, output: row.usage.output, estimated: false, cost_micros: row.cost_micros,
      client_gone: false,
    });
  });

  test('says why a call failed or was refused', async () => {
    const failed = await send(gateway, key.secret, callOf('chat', 'gpt-lost', { limit: 30 }));
    assert.equal(failed.status, 500);
    const line = await lineOf(failed, 'call');
    assert.deepEqual([line.level, line.upstream_status, line.failure], ['info', 500, 'openai: status 500']);
    const refused = await send(gateway, key.secret, callOf('chat', 'nothing "quoted"\n', { limit: 30 }));
    const { level, reason, status } = await lineOf(refused, 'refused');
    assert.deepEqual([level, reason, status], ['info', 'model_not_found', 404]);
    const list = await ask(`${gateway.url}/v1/models`, { method: 'GET', key: 'nobody' });
    assert.equal(list.status, 401);
    const told = await lineOf({ request_id: list.headers['x-request-id'] }, 'refused');
    assert.equal(told.reason, 'key_invalid');
    assert.ok(!('api' in told), 'a list is no model call');
  });

  test('is not filled by a client that sends nonsense; what is left out is counted', async () => {
    const before_it = lines().filter(({ event }) => event === 'refused').length;
    const started = Date.now();
    const nonsense = () => ask(`${gateway.url}/v1/chat/completions`, { key: key.secret, body: '{' });
    for (let i = 0; i < 8; i++) {
      const answers = await Promise.all(Array.from({ length: 50 }, nonsense));
      assert.ok(answers.every(({ status }) => status === 400));
    }
    const seconds = Math.ceil((Date.now() - started) / 1000) + 1;
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await nonsense();
    let told;
    await until('all are told of', () => {
      const refusals = lines().filter(({ event }) => event === 'refused').slice(before_it);
      const left_out = refusals.map(({ msg }) => Number(/^(\d+) more refusals/.exec(msg ?? '')?.[1] ?? 0));
      told = refusals.filter(({ msg }) => !msg).length;
      return told + left_out.reduce((sum, count) => sum + count, 0) === 401;
    });
    assert.ok(told <= 50 * seconds + 1, `${told} lines in ${seconds} s`);
  });

  test('has known keys alone, each once a line, time, level and event first', () => {
    const text = gateway.log().split('\n').filter(Boolean);
    assert.ok(text.length > 10);
    for (const line of text) {
      const found = Object.keys(JSON.parse(line));
      assert.deepEqual(found.slice(0, 3), ['time', 'level', 'event']);
      assert.deepEqual(found.filter((name) => !KEYS.has(name)), [], line);
      assert.equal([...line.matchAll(/[{,]"[a-z_]+":/g)].length, found.length, line);
    }
    gateway.assertNoSecret();
  });
});

test('FF-22 a log that says less does not charge less', async () => {
  const quiet = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai' }),
    limits: { day: { counts: 'cost', per: 'account', window: 'day', cap: '0.01 USD', hold: 'stream' } },
  }, { args: ['--log-level', 'error'] });
  const quiet_key = quiet.member('ada');
  await mock.clear();
  await mock.models({ 'gpt-live': 'tokens=400' });
  const call = () => send(quiet, quiet_key, callOf('chat', 'gpt-live', { limit: 600, text: 'x'.repeat(3000) }));
  let answer = await call();
  let spent = 0;
  for (let i = 0; i < 20 && answer.status === 200; i++) {
    spent += Number(answer.headers['x-tidegate-cost-micros']);
    answer = await call();
  }
  assert.equal(answer.status, 402, answer.text);
  await quiet.booked();
  const rows = await quiet.ledger({ account: 'ada', kind: 'settle' });
  assert.equal(rows.reduce((sum, row) => sum + row.cost_micros, 0), spent);
  assert.ok(!/event=call/.test(quiet.log()), 'and indeed it says less');
  await quiet.stop();
});
