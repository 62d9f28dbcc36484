// Goal: the manual, the help and the sample configuration say the same as the tables they are made from,
// and the manual can be read.
// Method: the pages of the build are held against `tidegate help --json`, src/tbl/ and the sources; groff
// renders them with every warning on.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';

import { BIN, run } from './harness.mjs';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PAGES = { 1: 'tidegate.1', 5: 'tidegate.yaml.5' };
const file = (section) => path.join(path.dirname(BIN), 'man', PAGES[section]);
/** A page as plain text: requests and fonts taken out, escapes undone. */
const plain = (section) =>
  fs.readFileSync(file(section), 'utf8')
    .replace(/^\.(?:[A-Z]{1,2}|\\").*$/gm, (line) => (/^\.(SS|B|BR|SH) /.test(line) ? line.replace(/^\.\S+ "?|"$/g, '') : ''))
    .replace(/\\f[BRI]/g, '').replace(/\\&/g, '').replace(/\\-/g, '-')
    .replace(/\\\((aq|ga|ha|ti|dq)/g, (_, name) => ({ aq: "'", ga: '`', ha: '^', ti: '~', dq: '"' })[name])
    .replace(/\\e/g, '\\');
const words = (text) => text.replace(/\s+/g, ' ').trim();
const table = (name) => fs.readFileSync(path.join(ROOT, 'src/tbl', name), 'utf8');
const groff = spawnSync('groff', ['--version']).status === 0;

describe('the manual', () => {
  for (const section of [1, 5]) {
    test(`${PAGES[section]} renders without a warning`, { skip: !groff && 'there is no groff here' }, () => {
      const done = spawnSync('groff', ['-man', '-ww', '-Tutf8', file(section)], { encoding: 'utf8', maxBuffer: 64 << 20 });
      assert.equal(done.status, 0, done.stderr);
      assert.equal(done.stderr, '');
      assert.ok(done.stdout.length > 5000);
    });
  }

  test('has every command with its arguments and each line of its help', () => {
    const page = words(plain(1));
    const { commands } = JSON.parse(run(['help', '--json']).out);
    assert.ok(commands.length >= 18);
    for (const { command, arguments: args, summary, details } of commands) {
      assert.ok(page.includes(words(`tidegate ${command} ${args}`)), `tidegate ${command} ${args}`);
      assert.ok(page.includes(summary.slice(1)), summary);
      for (const line of details.split('\n')) {
        assert.ok(page.includes(words(line)), `${command}: ${line}`);
      }
    }
  });

  test('has every option that there is, with its default and its range', () => {
    const page = words(plain(5));
    const rows = [...table('options.h').matchAll(/X\([A-Z0-9_]+, "([^"]+)", ([A-Z]+), (NULL|"(?:[^"\\]|\\.)*"),\s*\\?\s*(NULL|OPTION_REQUIRED|"[^"]*"), (NULL|"[^"]*"), (NULL|"[^"]*"),/g)];
    assert.ok(rows.length > 90, `${rows.length} rows`);
    assert.equal(rows.length, (table('options.h').match(/^ {4}X\(/gm) ?? []).length, 'every row was read');
    for (const [, option, type, , preset, low, high] of rows) {
      const at = page.indexOf(` ${option} `);
      if (type === 'LATER') {
        assert.ok(!page.includes(` ${option} `) || option.length < 10, `${option} is not there yet`);
        continue;
      }
      assert.ok(at >= 0, option);
      const said = page.slice(at, at + 700);
      if (preset === 'OPTION_REQUIRED') {
        assert.ok(said.includes('Must be given.'), option);
      } else if (preset !== 'NULL') {
        assert.ok(said.includes(`Default: ${preset.slice(1, -1)}.`), `${option}: ${preset}`);
      }
      if (low !== 'NULL') {
        assert.ok(said.includes(`from ${low.slice(1, -1)} to ${high === 'NULL' ? 'any' : high.slice(1, -1)}`), option);
      }
    }
  });

  test('has endpoints, refusals and metrics', () => {
    const page = words(plain(1));
    const names = (name, pattern) => [...table(name).matchAll(pattern)].map(([, found]) => found);
    for (const found of [
      ...names('endpoints.h', /X\([A-Z_]+, [A-Z]+, "([^"]+)"/g),
      ...names('reasons.h', /X\([A-Z_]+, "([a-z_]+)", "[a-z]/g),
      ...names('counters.h', /"(tidegate_[a-z_]+)"/g),
      ...names('histograms.h', /"(tidegate_[a-z_]+)"/g),
    ]) {
      assert.ok(page.includes(` ${found} `), found);
    }
  });

  test('names every key of a log line, and none that is gone', () => {
    const used = new Set();
    for (const name of fs.readdirSync(path.join(ROOT, 'src'), { recursive: true }).filter((entry) => entry.endsWith('.c'))) {
      const text = fs.readFileSync(path.join(ROOT, 'src', name), 'utf8');
      for (const [, key] of text.matchAll(/\blog_(?:str|i64|bool|id)\(\s*&?[a-z>-]+,\s*"([a-z0-9_]+)"/g)) {
        used.add(key);
      }
    }
    const told = new Set([...table('log_keys.h').matchAll(/X\("([a-z0-9_]+)",/g)].map(([, key]) => key));
    told.delete('truncated'); // log.c writes it itself
    assert.deepEqual([...used].sort(), [...told].sort());
  });
});

describe('the sample configuration', () => {
  test('names every option that there is', () => {
    const sample = fs.readFileSync(path.join(ROOT, 'data/tidegate.yaml'), 'utf8');
    const rows = [...table('options.h').matchAll(/X\([A-Z0-9_]+, "([^"]+)", ([A-Z]+),/g)];
    const missing = rows
      .filter(([, , type]) => type !== 'LATER')
      .map(([, option]) => option.split('.').at(-1))
      .filter((last) => last !== '*' && !new RegExp(`\\b${last}\\b`).test(sample));
    assert.deepEqual(missing, []);
  });
});

describe('help as JSON', () => {
  test('lists all commands, those of a word, and one', () => {
    const all = JSON.parse(run(['help', '--json']).out);
    assert.match(all.version, /^\d+\.\d+\.\d+$/);
    const keys = JSON.parse(run(['help', 'key', '--json']).out).commands.map(({ command }) => command);
    assert.deepEqual(keys, all.commands.map(({ command }) => command).filter((name) => name.startsWith('key ')));
    const [one, ...more] = JSON.parse(run(['help', '--json', 'key', 'add']).out).commands;
    assert.equal(one.command, 'key add');
    assert.equal(more.length, 0);
    assert.equal(run(['help', 'nothing', '--json']).code, 2);
  });
});

describe('the unit for systemd', () => {
  const analyze = spawnSync('systemd-analyze', ['--version']).status === 0;
  const unit = fs.readFileSync(path.join(path.dirname(BIN), 'packaging/tidegate.service'), 'utf8');

  test('starts the program that is installed, and each line is a setting', () => {
    assert.match(unit, /^ExecStart=\/\S+\/bin\/tidegate serve --config \/etc\/tidegate\/tidegate\.yaml --log-json$/m);
    const { commands } = JSON.parse(run(['help', 'serve', '--json']).out);
    for (const [option] of /^ExecStart=.*$/m.exec(unit)[0].matchAll(/--[a-z-]+/g)) {
      assert.ok(commands[0].details.includes(option), option);
    }
    const lines = unit.split('\n').filter((line) => line && !line.startsWith('#'));
    assert.deepEqual(lines.filter((line) => !/^(\[(Unit|Service|Install)\]|[A-Z][A-Za-z]+=.*)$/.test(line)), []);
    for (const setting of ['NoNewPrivileges=yes', 'ProtectSystem=strict', 'MemoryDenyWriteExecute=yes', 'LimitCORE=0', 'Type=notify', 'StateDirectory=tidegate']) {
      assert.ok(lines.includes(setting), setting);
    }
  });

  test('is what systemd takes, and leaves little exposed', { skip: !analyze && 'there is no systemd here' }, () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-unit-'));
    const copy = path.join(dir, 'tidegate.service');
    fs.writeFileSync(copy, unit.replace(/^ExecStart=\S+/m, `ExecStart=${BIN}`));
    const verified = spawnSync('systemd-analyze', ['verify', '--man=no', copy], { encoding: 'utf8' });
    const said = verified.stderr.split('\n').filter((line) => line.includes('tidegate.service'));
    assert.deepEqual(said, []);
    const judged = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', copy], { encoding: 'utf8' });
    const exposure = Number(/Overall exposure level for \S+: (\d+\.\d+)/.exec(judged.stdout)?.[1]);
    assert.ok(exposure <= 2, `${judged.stdout.slice(-2000)} ${judged.stderr}`);
    fs.rmSync(dir, { recursive: true, force: true });
  });
});
