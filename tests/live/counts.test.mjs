// Goal: what a call and a chunk cost in system calls and allocations does not grow unseen.
// Method: a module preloaded into the gateway counts them for its one loop; nothing here looks at a clock.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, PROVIDER_SECRETS, callOf, modelsOn, providersOn, send } from './harness.mjs';
import { BIN } from './process.mjs';

const MODULE = path.join(path.dirname(BIN), 'tests/count/count.so');
const NAMES = ['sends', 'receives', 'watches', 'allocations'];

describe('in steady state', { skip: !fs.existsSync(MODULE) && 'a build without the counting module' }, () => {
  let mock;
  let gateway;
  let file;
  let key;
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  before(async () => {
    mock = await Mock.start();
    file = path.join(fs.mkdtempSync('/tmp/tidegate-live-counts-'), 'counts');
    gateway = await Gateway.start(mock, {
      loops: 1,
      providers: providersOn(mock),
      models: modelsOn({ 'gpt-live': 'openai', long: [['openai', 'mock:tokens=220,tps=200']], tight: 'openai' }),
      limits: {
        spend: { counts: 'cost', per: 'account', window: 'day', cap: '1000 USD' },
        none: { counts: 'cost', per: 'account', of: { model: 'tight' }, window: 'day', cap: '0 USD' },
      },
    }, { env: { ...PROVIDER_SECRETS, LD_PRELOAD: MODULE, TIDEGATE_COUNTS: file } });
    key = gateway.member('ada');
  });
  after(async () => {
    agent.destroy();
    await gateway?.stop();
    await mock?.stop();
    fs.rmSync(path.dirname(file), { recursive: true, force: true });
  });

  const counts = () => {
    const bytes = fs.readFileSync(file);
    return Object.fromEntries(NAMES.map((name, i) => [name, Number(bytes.readBigInt64LE(8 * i))]));
  };
  /** Of one act, from a number of them after some to warm up. */
  const each = async (times, act) => {
    for (let i = 0; i < Math.min(times, 20); i++) {
      await act();
    }
    const was = counts();
    for (let i = 0; i < times; i++) {
      await act();
    }
    const is = counts();
    return Object.fromEntries(NAMES.map((name) => [name, (is[name] - was[name]) / times]));
  };
  const holds = (found, most) => {
    for (const [name, limit] of Object.entries(most)) {
      assert.ok(found[name] <= limit, `${name}: ${found[name]}, not more than ${limit}; all: ${JSON.stringify(found)}`);
    }
  };

  test('a call is two writes, and its connections are not watched anew', async () => {
    const call = callOf('chat', 'gpt-live', { limit: 50 });
    const found = await each(100, async () => {
      assert.equal((await send(gateway, key, call, { agent })).status, 200);
    });
    holds(found, { sends: 2.05, receives: 4.1, watches: 0.05, allocations: 9 });
  });

  test('a refusal that repeats is one write', async () => {
    const call = callOf('chat', 'tight', { limit: 50 });
    const found = await each(100, async () => {
      assert.equal((await send(gateway, key, call, { agent })).status, 402);
    });
    holds(found, { sends: 1.05, receives: 2.1, watches: 0.05, allocations: 4 });
  });

  test('a chunk is one write, and no allocation', async () => {
    const call = callOf('chat', 'long', { stream: true, limit: 400 });
    const one = await each(1, () => send(gateway, key, call, { agent }));
    const answer = await send(gateway, key, call, { agent });
    assert.equal(answer.status, 200);
    const events = answer.text.split('\n\n').length;
    assert.ok(events > 100, `${events} events`);
    const chunk = Object.fromEntries(NAMES.map((name) => [name, one[name] / events]));
    holds(chunk, { sends: 1.05, receives: 1.2, watches: 0.05, allocations: 0.2 });
  });
});
