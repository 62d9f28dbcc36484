// Goal: what Prometheus reads is valid to the letter, and what operators are given to look at it names
// nothing that is not there.
// Method: a parser of the text format that forgives nothing; the dashboard and the alert rules of packaging/
// are held against one scrape. Traces: what a client names goes to the provider and into the log.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, ask, callOf, modelsOn, send, until } from './harness.mjs';

const ROOT = path.resolve(import.meta.dirname, '../..');
const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SUFFIXES = { histogram: ['_bucket', '_sum', '_count'], counter: [''], gauge: [''] };

/** Labels of one sample: {name: value}; strict in names, quoting and escapes. */
function labelsOf(text) {
  const labels = {};
  let rest = text;
  while (rest) {
    const found = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)/.exec(rest);
    assert.ok(found, `labels: ${text}`);
    assert.ok(!(found[1] in labels), `a label twice: ${text}`);
    labels[found[1]] = found[2];
    rest = rest.slice(found[0].length);
  }
  return labels;
}

/** Families by name: {type, help, samples: [{name, labels, value}]}. */
function parse(text) {
  assert.ok(text.endsWith('\n'), 'the last line ends');
  const families = new Map();
  const seen = new Set();
  let family;
  for (const line of text.slice(0, -1).split('\n')) {
    const comment = /^# (HELP|TYPE|UNIT) (\S+) (.*)$/.exec(line);
    if (comment) {
      const [, word, name, said] = comment;
      assert.match(name, NAME);
      if (word === 'HELP') {
        assert.ok(!families.has(name), `${name} stands in two places`);
        assert.ok(!family || family.samples.length > 0, `${family?.name} has samples`);
        family = { name, help: said, samples: [] };
        families.set(name, family);
        assert.match(said, /^[A-Z0-9].*\.$/, `${name} is explained by a sentence`);
        assert.ok(!/\\[^\\n]/.test(said));
      } else {
        assert.equal(family.name, name, line);
        assert.equal(family.samples.length, 0, `${line}: before its samples`);
        assert.ok(!(word in family), `${line}: once`);
        family[word] = said;
      }
      continue;
    }
    assert.ok(!line.startsWith('#'), `a comment of no use: ${line}`);
    const found = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.+)\})? (-?\d+(?:\.\d+)?)$/.exec(line);
    assert.ok(found, `a line that is none: ${line}`);
    const [, name, labels = '', value] = found;
    assert.ok(SUFFIXES[family.TYPE].some((suffix) => name === family.name + suffix), `${line} in ${family.name}`);
    assert.ok(!seen.has(`${name}{${labels}}`), `twice: ${line}`);
    seen.add(`${name}{${labels}}`);
    family.samples.push({ name, labels: labelsOf(labels), value: Number(value) });
  }
  return families;
}

function judge({ name, TYPE, UNIT, samples }) {
  assert.equal(TYPE === 'counter', name.endsWith('_total'), `${name} is a ${TYPE}`);
  if (UNIT) {
    assert.ok(name.endsWith(`_${UNIT}`), `${name} in ${UNIT}`);
  }
  const keys = new Set(samples.filter((sample) => !sample.name.endsWith('_bucket')).map(({ labels }) => Object.keys(labels).join()));
  assert.ok(keys.size <= 1, `${name} has one set of labels`);
  if (TYPE !== 'histogram') {
    return;
  }
  const buckets = samples.filter((sample) => sample.name.endsWith('_bucket'));
  const bounds = buckets.map(({ labels }) => (labels.le === '+Inf' ? Infinity : Number(labels.le)));
  const counts = buckets.map(({ value }) => value);
  assert.equal(bounds.at(-1), Infinity);
  assert.ok(bounds.every((bound, i) => i === 0 || bound > bounds[i - 1]), `${name}: ${bounds}`);
  assert.ok(counts.every((count, i) => i === 0 || count >= counts[i - 1]), `${name}: ${counts}`);
  const of = (suffix) => samples.find((sample) => sample.name === name + suffix).value;
  assert.equal(of('_count'), counts.at(-1));
  assert.ok(of('_count') > 0 || of('_sum') === 0);
}

let mock;
let gateway;
let key;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    step: 32,
    models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic', 'gpt-long': [['openai', 'mock:tokens=300,tps=2000']] }),
    limits: { month: { counts: 'cost', per: 'account', window: 'month', cap: '100 USD' } },
  });
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const scrape = async () => {
  const answer = await ask(`${gateway.url}/metrics`, { method: 'GET' });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  return parse(answer.text);
};

describe('what Prometheus reads', () => {
  test('is valid before and after calls', async () => {
    for (const family of (await scrape()).values()) {
      judge(family);
    }
    assert.equal((await send(gateway, key, callOf('chat', 'gpt-long', { stream: true, limit: 400 }))).status, 200);
    await gateway.booked();
    for (const family of (await scrape()).values()) {
      judge(family);
    }
  });

  test('distributions count calls, extensions, commits and batches', async () => {
    const count = (families, name) => families.get(name).samples.find((sample) => sample.name === `${name}_count`).value;
    const sum = (families, name) => families.get(name).samples.find((sample) => sample.name === `${name}_sum`).value;
    const was = await scrape();
    await send(gateway, key, callOf('chat', 'gpt-live', { limit: 20 }));
    await send(gateway, key, callOf('chat', 'gpt-long', { stream: true, limit: 400 }));
    await gateway.booked();
    const is = await scrape();
    const rise = (name) => count(is, name) - count(was, name);
    assert.equal(rise('tidegate_call_duration_seconds'), 2);
    assert.equal(rise('tidegate_first_byte_seconds'), 2);
    assert.equal(rise('tidegate_gate_seconds'), 2);
    assert.ok(rise('tidegate_hold_extension_seconds') >= 1);
    assert.ok(rise('tidegate_commit_seconds') >= 2);
    const events = is.get('tidegate_events_total').samples[0].value - was.get('tidegate_events_total').samples[0].value;
    assert.equal(sum(is, 'tidegate_batch_events') - sum(was, 'tidegate_batch_events'), events);
    assert.ok(sum(is, 'tidegate_call_duration_seconds') > sum(was, 'tidegate_call_duration_seconds') + 0.1, '300 tokens at 2,000 a second');
  });

  test('the process is told under the names that everybody knows', async () => {
    const families = await scrape();
    const value = (name) => families.get(name)?.samples[0].value;
    const status = fs.readFileSync(`/proc/${gateway.program.child.pid}/status`, 'utf8');
    const threads = Number(/^Threads:\s+(\d+)$/m.exec(status)[1]);
    assert.equal(value('process_threads'), threads);
    assert.ok(value('process_resident_memory_bytes') > 1 << 20);
    assert.ok(value('process_virtual_memory_bytes') >= value('process_resident_memory_bytes'));
    assert.ok(value('process_open_fds') > 8 && value('process_open_fds') < value('process_max_fds'));
    assert.ok(value('process_cpu_seconds_total') >= 0);
    const age_s = Date.now() / 1000 - value('process_start_time_seconds');
    assert.ok(age_s > -2 && age_s < 600, `started ${age_s} s ago`);
    assert.equal(value('process_start_time_seconds'), (await scrape()).get('process_start_time_seconds').samples[0].value);
    assert.match(families.get('tidegate_build_info').samples[0].labels.version, /^\d+\.\d+\.\d+$/);
  });
});

describe('what operators are given', () => {
  const known = async () => new Set([...(await scrape()).values()].flatMap(({ samples }) => samples.map(({ name }) => name)));
  const namesIn = (expression) => expression.match(/\b(tidegate|process)_[a-z_]+\b/g) ?? [];

  test('the dashboard asks for nothing that is not there, and for what matters', async () => {
    const names = await known();
    const dashboard = JSON.parse(fs.readFileSync(path.join(ROOT, 'packaging/grafana/tidegate.json'), 'utf8'));
    const asked = new Set();
    for (const panel of dashboard.panels.filter(({ type }) => type !== 'row')) {
      assert.ok(panel.targets.length > 0, panel.title);
      for (const { expr } of panel.targets) {
        assert.ok(namesIn(expr).length > 0, expr);
        namesIn(expr).forEach((name) => asked.add(name));
        assert.equal(expr.split('(').length, expr.split(')').length, expr);
      }
    }
    assert.deepEqual([...asked].filter((name) => !names.has(name)), []);
    assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length);
  });

  test('the alert rules name what is there', async () => {
    const names = await known();
    const rules = fs.readFileSync(path.join(ROOT, 'packaging/prometheus/tidegate.rules.yml'), 'utf8');
    const asked = namesIn(rules);
    assert.ok(asked.length >= 10);
    assert.deepEqual(asked.filter((name) => !names.has(name)), []);
  });
});

describe('a trace that a client names', () => {
  const ID = '4bf92f3577b34da6a3ce929d0e0e4736';
  const PARENT = `00-${ID}-00f067aa0ba902b7-01`;
  const lineOf = (id) => until('its log line', () => gateway.log().split('\n').find((line) => line.includes(`request=${id} `)));

  for (const [api, model] of [['chat', 'gpt-live'], ['messages', 'claude-live']]) {
    test(`${api}: goes to the provider as it came, and into the log`, async () => {
      await mock.clear();
      const answer = await send(gateway, key, callOf(api, model, { limit: 300 }), { headers: { traceparent: PARENT, tracestate: 'a=1,b=2' } });
      assert.equal(answer.status, 200, answer.text);
      const [{ headers }] = await mock.settled();
      assert.equal(headers.traceparent, PARENT);
      assert.equal(headers.tracestate, 'a=1,b=2');
      assert.match(await lineOf(answer.request_id), new RegExp(` event=call request=\\S+ trace=${ID} account=ada `));
      await gateway.booked();
      const told = gateway.command('ledger', answer.request_id);
      assert.deepEqual(told.rows.map((row) => row.inputs.trace), [ID], JSON.stringify(told));
    });
  }

  test('of a refused call is in its log line too', async () => {
    const answer = await send(gateway, key, callOf('chat', 'no-such-model', { limit: 300 }), { headers: { traceparent: PARENT } });
    assert.equal(answer.status, 404);
    assert.match(await lineOf(answer.request_id), new RegExp(` event=refused request=\\S+ trace=${ID} `));
    const [row] = await until('its row', async () => (await gateway.rowsOf(answer.request_id)).length && gateway.rowsOf(answer.request_id));
    assert.equal(row.inputs.trace, ID, JSON.stringify(row));
  });

  test('that is malformed goes nowhere, and the call goes on', async () => {
    await mock.clear();
    const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit: 20 }), { headers: { traceparent: `${PARENT}0`, tracestate: 'a=1' } });
    assert.equal(answer.status, 200, answer.text);
    const [{ headers }] = await mock.settled();
    assert.ok(!('traceparent' in headers) && !('tracestate' in headers));
    assert.ok(!(await lineOf(answer.request_id)).includes('trace='));
    await gateway.booked();
    const [row] = await gateway.rowsOf(answer.request_id);
    assert.ok(!('trace' in row.inputs));
  });
});
