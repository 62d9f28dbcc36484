// Goal: docs/limits.md is true: every limit that it shows is one that loads, every word of the language is in it,
// and every endpoint that it names exists; and how full limits are is shown as they are.
// Method: each of its YAML blocks is put into a configuration and judged by `tidegate check`; one call under a limit
// of each kind of subject, as status shows it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, ask, callOf, modelsOn, run, send, until } from './harness.mjs';

const ROOT = path.resolve(import.meta.dirname, '../..');
const guide = fs.readFileSync(path.join(ROOT, 'docs/limits.md'), 'utf8');
const table = (name) => fs.readFileSync(path.join(ROOT, 'src/tbl', name), 'utf8');
const BASE = `store: memory
providers:
  one: {dialect: openai, apis: [chat], base_url: "http://127.0.0.1:1/v1", credentials: {company: {env: GUIDE_KEY}}}
  two: {dialect: openai, apis: [chat], base_url: "http://127.0.0.1:2/v1", credentials: {company: {env: GUIDE_KEY}}}
models:
  gpt-5.5: {tier: premium, routes: [{provider: one}, {provider: two}]}
  small: {tier: free, price: {input: 1 USD, output: 2 USD}, routes: [{provider: two}]}
plans: {free: {}, pro: {}}
default_plan: free
`;

describe('the guide to limits', () => {
  test('shows limits that load, each told in a sentence', () => {
    const here = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-guide-'));
    const blocks = [...guide.matchAll(/```yaml\n(.*?)```/gs)].map(([, yaml]) => yaml);
    assert.ok(blocks.length >= 8, `${blocks.length} blocks`);
    for (const [i, yaml] of blocks.entries()) {
      const file = path.join(here, `${i}.yaml`);
      fs.writeFileSync(file, BASE + yaml);
      const done = run(['check', file, '--json'], { cwd: here, env: { GUIDE_KEY: 'k' } });
      assert.equal(done.code, 0, `${yaml}\n${done.out}${done.err}`);
      const names = [...yaml.matchAll(/^ {2}([a-z-]+):\s+\{counts/gm)].map(([, name]) => name);
      assert.ok(names.length > 0, yaml);
      assert.deepEqual(JSON.parse(done.out).limits.map(({ name }) => name), names);
      assert.ok(JSON.parse(done.out).limits.every(({ sentence }) => sentence.length > 30));
    }
    fs.rmSync(here, { recursive: true });
  });

  test('has every word of the language that exists', () => {
    const words = table('counts.h');
    const of = (list) => [...words.match(new RegExp(`#define ${list}\\(X\\)(.*?)\\n\\n`, 's'))[1].matchAll(/"([a-z_]+)"/g)].map(([, word]) => word);
    const later = new Set(['thread_days', 'live_sessions', 'admits', 'bill_user', 'rate', 'concurrency', 'first_use']);
    for (const word of ['COUNT_KINDS', 'PER_KINDS', 'WINDOW_KINDS', 'AT_CAP_KINDS'].flatMap(of)) {
      assert.ok(later.has(word) || new RegExp(`\`[^\`\n]*\\b${word}\\b[^\`\n]*\``).test(guide), word);
    }
  });

  test('names endpoints that exist', () => {
    const endpoints = table('endpoints.h');
    const named = [...guide.matchAll(/(PUT|GET) (\/api\/[a-z0-9\/{}-]+)/g)];
    assert.ok(named.length >= 5);
    for (const [, method, target] of named) {
      const known = target.replace(/\/(ada|research)$/, (_, name) => (name === 'ada' ? '/{account}' : '/{group}'));
      assert.ok(endpoints.includes(`${method}, "${known}"`), `${method} ${known}`);
    }
  });
});

describe('how full limits are', () => {
  let mock;
  let gateway;
  before(async () => {
    mock = await Mock.start();
    gateway = await Gateway.start(mock, {
      models: modelsOn({ 'gpt-live': 'openai' }, { tier: 'free' }),
      groups: { research: { members: ['ada'] } },
      tags: { team: { header: 'x-team' } },
      limits: {
        own: { counts: 'cost', per: 'account', window: 'month', cap: { default: '50 USD', group: { research: '20 USD' } } },
        purse: { counts: 'requests', per: 'group', window: '20h rolling', cap: 5, weights: { 'gpt-*': 2 } },
        first: { counts: 'requests', per: 'account_model', window: '5h from first use', cap: 10 },
        team: { counts: 'tokens', per: 'tag', tag: 'team', window: 'lifetime', cap: 100000 },
        short: { counts: 'requests', per: 'key', window: '1s rolling', cap: 100 },
      },
    });
    const key = gateway.member('ada');
    const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit: 20 }), { headers: { 'x-team': 'blue' } });
    assert.equal(answer.status, 200, answer.text);
    await gateway.booked();
  });
  after(async () => {
    await gateway?.stop();
    await mock?.stop();
  });

  test('status tells every kind of subject, its window and whose word its cap is', async () => {
    const { json } = await ask({ socketPath: gateway.control, path: '/api/v1/status' }, { method: 'GET' });
    const meter = (name) => json.meters.find(({ limit }) => limit === name);
    assert.deepEqual([meter('own').account, meter('own').cap, meter('own').cap_by, meter('own').cap_group], ['ada', 20_000_000, 'group', 'research']);
    assert.deepEqual([meter('purse').group, meter('purse').used, meter('purse').cap, meter('purse').percent], ['research', 2, 5, 40]);
    assert.deepEqual([meter('purse').span_ms, meter('purse').resets_at], [20 * 3600_000, null]);
    assert.deepEqual([meter('first').account, meter('first').model], ['ada', 'gpt-live']);
    assert.equal(Date.parse(meter('first').resets_at) - Date.parse(meter('first').since), 5 * 3600_000);
    assert.deepEqual([meter('team').tag, meter('team').resets_at], ['team=blue', null]);
  });

  test('FF-97 a window that is over is not shown', async () => {
    const shown = async () => {
      const { json } = await ask({ socketPath: gateway.control, path: '/api/v1/status' }, { method: 'GET' });
      return json.meters.some(({ limit }) => limit === 'short');
    };
    await until('the window of a second is over', async () => !(await shown()));
  });

  test('tidegate status shows them to a person', async () => {
    const { out, code } = run(['status', '--control', gateway.control]);
    assert.equal(code, 0);
    assert.match(out, /purse\s+group research\s+40 %\s+2\s+0\s+5\s+after 20 h each/);
    assert.match(out, /own\s+ada\s.*\$20\.00\s+group research\s+in \d+ d/);
    assert.match(out, /team\s+tag team=blue\s.*never/);
    assert.match(out, /first\s+ada with gpt-live\s.*in 4 h/);
  });
});
