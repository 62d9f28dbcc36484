// Goal: docs/limits.md is true: every limit that it shows is one that loads, every word of the language is in it,
// and every endpoint that it names exists.
// Method: each of its YAML blocks is put into a configuration and judged by `tidegate check`.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';

import { run } from './harness.mjs';

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
