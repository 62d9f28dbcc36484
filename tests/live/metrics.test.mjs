// Goal: /metrics says exactly what happened, and no number of it is dead.
// Method: each scenario is a few known calls between two readings; every number that they do not name must
// stay as it was. At the end every row of the table has been above 0 in some reading, but for those
// that are named with the reason why no scenario of a single gateway can raise them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import nodeNet from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import tls from 'node:tls';

import { Certificates } from './certificates.mjs';
import {
  Gateway, Mock, Raw, SLOW, ask, callOf, freePort, modelsOn, ownLimit, priced, providersOn, send, until,
} from './harness.mjs';
import { Receiver } from './receiver.mjs';
import { APIS, modelOf, small } from './refusal.mjs';

/* Of several gateways on one PostgreSQL store: shared-nodes.test.mjs raises them. */
const SHARED = 'a store of its own has no other gateway and no connection';
const UNREACHABLE = {
  store_round_trips_total: SHARED,
  store_reconnects_total: SHARED,
  leases_lost_total: SHARED,
  gateways_fenced_total: SHARED,
  'swept_total{kind="thread"}': 'nothing is idle for long enough here: retention.test.mjs raises it',
  'swept_total{kind="subject"}': 'as threads',
  'answers_total{api="other",status="3xx"}': 'lists are answered by the gateway itself, which redirects nobody',
};

/* Above 0 only by luck: the engine takes what is queued within milliseconds. */
const BY_LUCK = new Set(['engine_queued_events']);

/* Readings themselves change these, and so does when the engine takes what; they are judged one by one. */
const RESTLESS = /^(connections_(open|total)|connections_reused_total|requests_total|bytes_total|events_total|batches_total|commits_total|input_estimates_total|holds_extended_total|config_last_reload_success_timestamp_seconds|engine_queued_events|store_wal_bytes|routes_cooling)\b/;

const seen = new Set();
const rows = new Set();

/** All numbers now: Map of `name{labels}` without the prefix. */
async function read(gateway) {
  const answer = await ask(`${gateway.url}/metrics`, { method: 'GET' });
  assert.equal(answer.status, 200, answer.text);
  const numbers = new Map();
  for (const [, name, value] of answer.text.matchAll(/^tidegate_(\S+) (\d+)$/gm)) {
    if (/_(bucket|sum|count)\b/.test(name)) {
      continue; // distributions are scrape.test.mjs's
    }
    numbers.set(name, Number(value));
    rows.add(name);
    if (Number(value) > 0) {
      seen.add(name);
    }
  }
  return numbers;
}

const differences = (was, is) => {
  const changed = {};
  for (const [name, value] of is) {
    if (value !== was.get(name) && !RESTLESS.test(name)) {
      changed[name] = value - was.get(name);
    }
  }
  return changed;
};

const sorted = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== 0).sort());

/** Does it, and then every number has changed by what is said (a function gets what it gave), others by nothing. */
async function changes(gateway, act, said) {
  const was = await read(gateway);
  const given = await act();
  await gateway.booked();
  const wanted = sorted(typeof said === 'function' ? await said(given) : said);
  let found;
  await until('the numbers are at rest', async () => {
    found = sorted(differences(was, await read(gateway)));
    return JSON.stringify(found) === JSON.stringify(wanted);
  }, 1500 * SLOW).catch(() => assert.deepEqual(found, wanted));
  return given;
}

const name = (of, labels) => `${of}{${Object.entries(labels).map(([key, value]) => `${key}="${value}"`).join(',')}}`;
const answered = (api, status) => name('answers_total', { api, status: `${String(status)[0]}xx` });
const refused = (class_) => name('refusals_total', { class: class_ });
const verdict = (which) => name('calls_total', { verdict: which });
const tokens = (kind) => name('tokens_total', { kind });
const failed = (cause) => name('attempts_failed_total', { cause });

/** What calls that were allowed, sent and booked change, by the provider's journal and the estimates of the books. */
async function booked(gateway, mock, ...request_ids) {
  const sum = { [verdict('allowed')]: 0 };
  const add = (key, value) => (sum[key] = (sum[key] ?? 0) + value);
  for (const id of request_ids) {
    const rows = await gateway.rowsOf(id);
    add(verdict('allowed'), 1);
    add('cost_estimated_micro_usd_total', rows[0].estimated_micros); /* of the call, however many attempts it took */
    for (const row of rows) {
      add('cost_micro_usd_total', row.cost_micros);
    }
  }
  let cost = 0;
  for (const { bill, path } of await mock.settled()) {
    if (path.endsWith('count_tokens')) {
      continue;
    }
    add(tokens('input'), bill.input);
    add(tokens('cache_read'), bill.cache_read ?? 0);
    add(tokens('cache_write'), (bill.cache_write_5m ?? 0) + (bill.cache_write_1h ?? 0));
    add(tokens('output'), bill.output);
    cost += priced(bill);
  }
  assert.equal(sum.cost_micro_usd_total ?? 0, cost, 'the books are the journal');
  return sum;
}

let mock;
before(async () => {
  mock = await Mock.start();
});
after(async () => {
  await mock?.stop();
});

describe('calls', () => {
  let gateway;
  let key;
  let tight;
  before(async () => {
    const providers = providersOn(mock);
    gateway = await Gateway.start(mock, {
      loops: 1,
      step: 64,
      providers: {
        ...providers,
        nobody: { ...providers.openai, base_url: `http://127.0.0.1:${await freePort()}/v1` },
        slow: { ...providers.openai, first_byte_deadline: '300ms' },
        vectors: { ...providers.openai, apis: ['embeddings'] },
        cools: { ...providers.openai, cooldown_after: 1 },
      },
      models: modelsOn({
        'gpt-live': 'openai', 'claude-live': 'anthropic', dead: 'nobody', slow: 'slow', waits: 'openai', vectors: 'vectors',
        'cools-failing': 'cools', 'cools-asked': 'cools', 'cools-spent': 'cools',
        two: [['openai', 'flaky'], ['second', 'steady']],
      }),
      plans: { free: {}, tight: {}, paced: {} },
      held_wait: '8s',
      limits: {
        spend: { counts: 'cost', per: 'account', window: 'month', cap: { default: '100 USD', plan: { tight: '0.017 USD' } } },
        pace: { counts: 'requests', per: 'account', of: { model: 'waits' }, window: { rate: '1/min', burst: 1 } },
      },
    });
    key = gateway.member('ada');
    tight = gateway.member('tight', '--plan', 'tight');
    /* Identities are found at the gate once; that is not what is counted here. */
    for (const secret of [key, tight]) {
      await ask(`${gateway.url}/v1/models`, { method: 'GET', key: secret });
    }
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(async () => {
    await mock.models({ 'gpt-live': 'tokens=7', 'claude-live': 'tokens=7' });
    await mock.clear();
  });
  const call = (api, options = {}, model = modelOf(api)) =>
    send(gateway, key, callOf(api, model, { limit: ownLimit(), ...options }));

  for (const api of APIS) {
    for (const stream of [false, true]) {
      test(`${api}${stream ? ', streamed' : ''}: one allowed, one attempt, its tokens and its cost`, () =>
        changes(gateway, () => call(api, { stream }), async (answer) => {
          assert.equal(answer.status, 200, answer.text);
          return { ...(await booked(gateway, mock, answer.request_id)), [answered(api, 200)]: 1, attempts_total: 1 };
        }));
    }

    for (const status of [302, 404, 500]) {
      test(`FF-60 ${api}: a provider's ${status} passes, and costs nothing`, async () => {
        await mock.models({ [modelOf(api)]: `status=${status}` });
        await changes(gateway, () => call(api), async (answer) => {
          assert.equal(answer.status, status, answer.text);
          const [row] = await gateway.rowsOf(answer.request_id);
          return {
            [verdict('allowed')]: 1,
            [answered(api, status)]: 1,
            [failed('status')]: 1,
            attempts_total: 1,
            cost_estimated_micro_usd_total: row.estimated_micros,
          };
        });
      });
    }
  }

  test('tokens that were cached are told apart', async () => {
    await mock.models({ 'claude-live': 'tokens=9,input=100,cached=30,cache_write=20,cache_write_1h=5' });
    await changes(gateway, () => call('messages'), async (answer) => {
      const sum = await booked(gateway, mock, answer.request_id);
      assert.deepEqual([sum[tokens('input')], sum[tokens('cache_read')], sum[tokens('cache_write')]], [45, 30, 25]);
      return { ...sum, [answered('messages', 200)]: 1, attempts_total: 1 };
    });
  });

  test('counting tokens is allowed and answered, and costs nothing', async () => {
    for (const [words, status, more] of [
      [null, 200, {}],
      ['status=302', 302, { [failed('status')]: 1 }],
      ['status=404', 404, { [failed('status')]: 1 }],
      ['status=500', 500, { [failed('status')]: 1 }],
    ]) {
      await mock.models({ 'claude-live': words });
      const { headers, body } = callOf('messages', 'claude-live');
      const counting = { path: '/v1/messages/count_tokens', headers, body: { model: body.model, messages: body.messages } };
      await changes(gateway, () => send(gateway, key, counting), (answer) => {
        assert.equal(answer.status, status, answer.text);
        return { [verdict('allowed')]: 1, [answered('count_tokens', status)]: 1, attempts_total: 1, ...more };
      });
    }
  });

  test('embeddings are counted as answers of their own', async () => {
    for (const [words, status, more] of [
      [null, 200, {}],
      ['status=302', 302, { [failed('status')]: 1 }],
      ['status=404', 404, { [failed('status')]: 1 }],
      ['status=500', 500, { [failed('status')]: 1 }],
    ]) {
      await mock.clear();
      await mock.models({ vectors: words });
      const call = { path: '/v1/embeddings', headers: {}, body: { model: 'vectors', input: 'tide' } };
      await changes(gateway, () => send(gateway, key, call), async (answer) => {
        assert.equal(answer.status, status, answer.text);
        const sum = await booked(gateway, mock, answer.request_id);
        return { ...sum, [answered('embeddings', status)]: 1, attempts_total: 1, ...more };
      });
    }
  });

  test('routes that are left alone are counted by what for', async () => {
    for (const [cause, words, status, more] of [
      ['failing', 'status=500', 500, {}],
      ['asked', 'status=429,retry_after=30', 429, { [refused('wait')]: 1 }],
      ['spent', 'error=quota', 402, { [refused('spent')]: 1 }],
    ]) {
      await mock.models({ [`cools-${cause}`]: words });
      await changes(gateway, () => call('chat', {}, `cools-${cause}`), async (answer) => {
        assert.equal(answer.status, status, answer.text);
        const [row] = await gateway.rowsOf(answer.request_id);
        return {
          [verdict('allowed')]: 1, [answered('chat', status)]: 1, [failed('status')]: 1, attempts_total: 1,
          cost_estimated_micro_usd_total: row.estimated_micros,
          [name('route_cooldowns_total', { cause })]: 1,
          ...more,
        };
      });
    }
  });

  test('estimates of the input go by how far they are off', async () => {
    const ranges = [[50, '..-50'], [75, '-50..-25'], [90, '-25..-10'], [110, '-10..10'], [125, '10..25'], [150, '25..50'], [200, '50..100']];
    const counts = async () => {
      const numbers = await read(gateway);
      return Object.fromEntries([...numbers].filter(([row]) => row.startsWith('input_estimates_total')));
    };
    const wanted = await counts();
    for (const pct of [40, 60, 80, 100, 115, 140, 180, 300]) {
      /* A thread of its own, so that nothing is learned from the call before but the model's bytes a token. */
      const request = small('chat', { text: 'x'.repeat(4000) });
      const thread = (i) => ({ headers: { 'x-tidegate-thread': `estimate-${pct}-${i}` } });
      await mock.models({ 'gpt-live': 'input=1000' });
      const first = await send(gateway, key, request, thread(0));
      await gateway.booked();
      const [{ inputs: before_it }] = await gateway.rowsOf(first.request_id);
      await mock.models({ 'gpt-live': `input=${Math.round((1000 * pct) / 100)}` });
      const second = await send(gateway, key, request, thread(0));
      await gateway.booked();
      const [{ inputs }] = await gateway.rowsOf(second.request_id);
      for (const [estimate, real] of [[before_it.input, 1000], [inputs.input, Math.round((1000 * pct) / 100)]]) {
        const range = ranges.find(([most]) => real * 100 <= estimate * most)?.[1] ?? '100..';
        wanted[name('input_estimates_total', { off_percent: range })]++;
      }
    }
    assert.deepEqual(await counts(), wanted);
  });

  test('a cost that the price book contradicts is an alarm, with both figures', async () => {
    await mock.models({ 'gpt-live': 'tokens=7,cost=1.5' });
    const answer = await changes(gateway, () => call('chat'), async ({ request_id }) => ({
      ...(await booked(gateway, mock, request_id)),
      [answered('chat', 200)]: 1,
      attempts_total: 1,
      cost_disputed_total: 1,
    }));
    const [row] = await gateway.rowsOf(answer.request_id);
    assert.ok(row.flags.includes('cost_disputed'), row.flags);
    const alarm = new RegExp(`level=warn event=cost_disputed request=${answer.request_id} account=ada model=gpt-live `
      + `provider=openai upstream_model=gpt-live provider_micros=1500000 book_micros=${row.cost_micros} `);
    await gateway.says(alarm);
    await gateway.says(new RegExp(`event=call request=${answer.request_id} .* cost_disputed=true provider_micros=1500000 `));
  });

  test('a cap that is passed says by how much', async () => {
    await mock.models({ 'gpt-live': 'tokens=5,input=50000' });
    const over = gateway.member('over', '--plan', 'tight');
    await ask(`${gateway.url}/v1/models`, { method: 'GET', key: over });
    assert.equal((await read(gateway)).get('cap_overshoot_micro_usd_max'), 0, 'no cap was passed so far');
    await changes(gateway, () => send(gateway, over, small('chat')), async (answer) => {
      const sum = await booked(gateway, mock, answer.request_id);
      assert.ok(sum.cost_micro_usd_total > 150_000);
      return { ...sum, [answered('chat', 200)]: 1, attempts_total: 1, cap_overshoot_micro_usd_max: sum.cost_micro_usd_total - 17_000 };
    });
    const most = (await read(gateway)).get('cap_overshoot_micro_usd_max');
    await gateway.restart();
    assert.equal((await read(gateway)).get('cap_overshoot_micro_usd_max'), most, 'the most ever, not since the start');
  });

  for (const [how, words, cause, kind] of [['failed', 'status=503', 'status', 'unbilled'], ['may be billed', 'cut_before=1', 'broken', 'settle']]) {
    test(`another route after one that ${how}: its estimate counts once`, async () => {
      await mock.models({ flaky: words, steady: 'tokens=5' });
      await changes(gateway, () => call('chat', {}, 'two'), async (answer) => {
        assert.equal(answer.status, 200, answer.text);
        const rows = await gateway.rowsOf(answer.request_id);
        assert.deepEqual(rows.map((row) => row.kind), [kind, 'settle']);
        const sum = (of) => rows.reduce((so_far, row) => so_far + of(row), 0);
        return {
          [verdict('allowed')]: 1,
          [tokens('input')]: sum((row) => row.usage.input),
          [tokens('output')]: sum((row) => row.usage.output),
          cost_micro_usd_total: sum((row) => row.cost_micros),
          cost_estimated_micro_usd_total: rows[0].estimated_micros,
          [answered('chat', 200)]: 1,
          [failed(cause)]: 1,
          attempts_total: 2,
          reroutes_total: 1,
        };
      });
    });
  }

  test('a provider that cannot be reached, is late, or breaks off: one line each, at warn', async () => {
    for (const [model, words, cause, status, code, failure, more] of [
      ['dead', null, 'connect', 502, 'provider_unreachable', /connect to 127\.0\.0\.1:\d+: connection refused/, { connects_failed_total: 1 }],
      ['slow', 'ttft_ms=3000', 'timeout', 504, 'provider_timeout', /no answer began within 300 ms/, {}],
      ['gpt-live', 'cut_before=1', 'broken', 502, 'provider_answer_broken', /the connection ended before the answer/, {}],
    ]) {
      await mock.clear();
      await mock.models({ [model]: words });
      const answer = await changes(gateway, () => call('chat', {}, model), async ({ request_id }) => {
        const [row] = await gateway.rowsOf(request_id);
        return {
          [verdict('allowed')]: 1,
          [answered('chat', status)]: 1,
          [failed(cause)]: 1,
          [refused('gate')]: 1,
          [tokens('input')]: row.usage.input,
          [tokens('output')]: row.usage.output,
          attempts_total: 1,
          cost_micro_usd_total: row.cost_micros,
          cost_estimated_micro_usd_total: row.kind === 'release' ? 0 : row.estimated_micros,
          ...more,
        };
      });
      assert.equal(answer.status, status, answer.text);
      const lines = gateway.log().split('\n').filter((line) => line.includes(answer.request_id));
      assert.equal(lines.length, 1, lines.join('\n'));
      assert.match(lines[0], / level=warn event=call request=req_\d+ account=ada key=key_\d+ thread=thr_\d+ api=chat /);
      assert.match(lines[0], new RegExp(` status=${status} upstream_status=0 .* reason=${code} failure="`));
      assert.match(lines[0], failure);
    }
  });

  test('a client that leaves', async () => {
    await mock.models({ 'gpt-live': 'tokens=400,tps=200' });
    const was = await read(gateway);
    const gone = await send(gateway, key, callOf('chat', 'gpt-live', { stream: true, limit: 500 }), {
      onEvent: (events, request) => events.list.length > 3 && request.destroy(),
    });
    assert.ok(gone.error);
    await gateway.booked();
    const is = await read(gateway);
    assert.equal(is.get('clients_gone_total') - was.get('clients_gone_total'), 1);
    assert.equal(is.get('streams_open'), 0);
    assert.equal(is.get('model_requests_open'), 0);
    const line = gateway.log().split('\n').findLast((text) => text.includes(gone.request_id));
    assert.match(line, /event=call .* status=200 upstream_status=200 .* client_gone=true/);
  });

  test('what is in flight is seen, and is nothing afterwards', async () => {
    await mock.models({ 'gpt-live': 'tokens=900,tps=300', 'claude-live': 'tokens=5,ttft_ms=3000' });
    const running = Promise.all([call('chat', { stream: true, limit: 1000 }), call('messages')]);
    const halfway = await Raw.open(gateway.port); // a body that is not whole yet
    halfway.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer ${key}\r\nContent-Length: 20000\r\n\r\n${'y'.repeat(10_000)}`);
    let numbers;
    await until('all that is in flight is counted', async () => {
      numbers = await read(gateway);
      return numbers.get('streams_open') === 1
        && numbers.get('model_requests_open') === 3
        && numbers.get('holds_open') === 2
        && numbers.get('body_buffered_bytes') > 9000
        && numbers.get(name('connections_open', { side: 'client' })) >= 4 // theirs, and the reading itself
        && numbers.get(name('connections_open', { side: 'provider' })) >= 2;
    });
    halfway.destroy();
    await running;
    await gateway.booked();
    await until('nothing is in flight', async () => {
      numbers = await read(gateway);
      return ['streams_open', 'model_requests_open', 'holds_open', 'body_buffered_bytes'].every((row) => numbers.get(row) === 0);
    });
  });

  test('connections to providers are made once and used again; bytes of both sides', async () => {
    await call('chat');
    const was = await read(gateway);
    const text = 'z'.repeat(20_000);
    for (let i = 0; i < 3; i++) {
      assert.equal((await call('chat', { text })).status, 200);
    }
    const is = await read(gateway);
    const rise = (row) => is.get(row) - was.get(row);
    assert.equal(rise(name('connections_total', { side: 'provider' })), 0);
    assert.equal(rise('connections_reused_total'), 3);
    assert.equal(rise(name('connections_total', { side: 'client' })), 4, 'three and a reading');
    assert.equal(rise('requests_total'), 4);
    for (const side of ['client', 'provider']) {
      const sent = rise(name('bytes_total', { side, direction: side === 'client' ? 'in' : 'out' }));
      assert.ok(sent > 60_000 && sent < 65_000, `${side}: ${sent}`);
    }
    assert.ok(rise(name('bytes_total', { side: 'provider', direction: 'in' })) > 300);
    assert.ok(rise(name('bytes_total', { side: 'client', direction: 'out' })) > was.size * 20, 'a reading is among them');
    for (const row of ['events_total', 'batches_total', 'commits_total']) {
      assert.ok(rise(row) >= 2 && rise(row) <= 6 + 3, `${row}: ${rise(row)}`);
    }
  });

  test('streams that a provider breaks off, or ends with an error', async () => {
    for (const words of ['tokens=60,cut_after=20', 'tokens=60,end_after=20', 'tokens=60,error_after=20']) {
      await mock.models({ 'gpt-live': words });
      const was = await read(gateway);
      const answer = await call('chat', { stream: true });
      assert.ok(answer.clean, answer.text);
      await gateway.booked();
      const found = differences(was, await read(gateway));
      assert.equal(found[name('streams_cut_total', { cause: 'provider' })], 1, words);
      assert.equal(found[failed('broken')], 1, words);
      assert.equal(found[answered('chat', 200)], 1);
    }
  });

  test('streams that a limit ends, which asked for more before', async () => {
    await mock.models({ 'gpt-live': 'tokens=3000,tps=3000' });
    const was = await read(gateway);
    const limits = [3000, 3001];
    const answers = await Promise.all(limits.map((limit) => send(gateway, tight, callOf('chat', 'gpt-live', { limit, stream: true }))));
    const cut = answers.filter((answer) => /stopped at a spending limit/.test(answer.text)).length;
    assert.ok(cut >= 1, answers.map((answer) => answer.text.slice(-300)).join('\n'));
    await gateway.booked();
    const is = await read(gateway);
    const row = name('streams_cut_total', { cause: 'limit' });
    assert.equal(is.get(row) - was.get(row), cut);
    assert.ok(is.get('holds_extended_total') > was.get('holds_extended_total'));
  });

  test('refusals by what can be done about them', async () => {
    gateway.member('eve');
    gateway.command('account', 'ban', 'eve');
    const banned = gateway.addKey('eve').secret;
    const paced = small('chat', {});
    paced.body.model = 'waits';
    assert.equal((await send(gateway, key, paced)).status, 200, 'the one a minute');
    await gateway.booked();
    const unknown = small('chat');
    unknown.body.model = 'no-such-model';
    const turned_away = { [verdict('refused')]: 1 };
    for (const [class_, status, request, who, options, more] of [
      ['bad', 400, { ...small('chat'), body: '{"model":' }, key, {}, {}],
      ['bad', 415, small('chat'), key, { headers: { 'content-encoding': 'gzip' } }, {}],
      ['spent', 402, small('chat'), tight, {}, turned_away],
      ['wait', 429, paced, key, {}, turned_away],
      ['auth', 401, small('chat'), undefined, {}, { key_failures_total: 1 }],
      ['auth', 401, small('chat'), 'tg-nobody-has-this-key-00000000000000000000', {}, { key_failures_total: 1 }],
      ['forbid', 403, small('chat'), banned, {}, {}],
      ['absent', 404, unknown, key, {}, turned_away],
    ]) {
      await changes(gateway, () => send(gateway, who, request, options), (answer) => {
        assert.equal(answer.status, status, answer.text);
        return { [refused(class_)]: 1, [answered('chat', status)]: 1, ...more };
      });
    }
    await until('the minute is not about to end', () => Date.now() % 60_000 < 55_000, 8000 * SLOW);
    const same = small('chat');
    assert.equal((await send(gateway, tight, same)).status, 402);
    await changes(gateway, () => send(gateway, tight, same), {
      [refused('spent')]: 1, [answered('chat', 402)]: 1, ...turned_away, refusals_repeated_total: 1,
    });
    await gateway.says(/ event=refused request=req_\S+ reason=budget_spent status=402 account=tight key=key_\d+ api=chat /);
  });

  test('a configuration that is read again, and one that is refused', async () => {
    const reload = () => ask({ socketPath: gateway.control, path: '/api/admin/reload' });
    await changes(gateway, reload, { 'config_reloads_total{result="ok"}': 1 });
    const good = fs.readFileSync(gateway.file);
    fs.writeFileSync(gateway.file, 'nonsense: true\n');
    await changes(gateway, reload, { 'config_reloads_total{result="failed"}': 1, config_last_reload_successful: -1 });
    fs.writeFileSync(gateway.file, good);
    await changes(gateway, reload, { 'config_reloads_total{result="ok"}': 1, config_last_reload_successful: 1 });
  });

  test('lists and endpoints that are not there are told apart from calls', async () => {
    for (const [where, status, more] of [['/v1/models', 200, {}], ['/v1/nothing', 404, { [refused('absent')]: 1 }]]) {
      await changes(gateway, () => ask(gateway.url + where, { method: 'GET', key }), (answer) => {
        assert.equal(answer.status, status);
        return { [answered('other', status)]: 1, ...more };
      });
    }
  });

  test('a call that waits in a line', async () => {
    const patient = gateway.member('patient', '--plan', 'tight');
    await ask(`${gateway.url}/v1/models`, { method: 'GET', key: patient });
    await mock.models({ 'gpt-live': 'tokens=5,ttft_ms=1000' });
    await changes(gateway, async () => {
      const both = [0, 1].map(() => send(gateway, patient, callOf('chat', 'gpt-live', { limit: 1000 })));
      await until('one of them waits', async () => (await read(gateway)).get('calls_waiting') === 1);
      return Promise.all(both);
    }, async (answers) => ({
      ...(await booked(gateway, mock, ...answers.map((answer) => answer.request_id))),
      [answered('chat', 200)]: 2,
      attempts_total: 2,
      calls_waited_total: 1,
    }));
  });
});

describe('connections and readers', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start(mock, {
      loops: 1, head_deadline: '300ms', connections_max: 4, body_max: '60KB', bodies_max: '80KB', models: modelsOn({ 'gpt-live': 'openai' }),
    });
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(() => mock.models({ 'gpt-live': null }));

  test('a request that breaks a rule, one that is late, a connection too many', async () => {
    const was = await read(gateway);
    const bad = await Raw.open(gateway.port);
    bad.write('GET / HTTP/1.1\r\nHost : x\r\n\r\n');
    await bad.waitClosed();
    bad.destroy();
    const late = await Raw.open(gateway.port);
    late.write('GET / HT');
    await late.waitFor('it is told', (raw) => raw.statuses()[0] === 408);
    late.destroy();
    const alone = () => until('nobody else is there', async () =>
      (await read(gateway)).get(name('connections_open', { side: 'client' })) === 1);
    await alone();
    const open = await Promise.all([0, 1, 2, 3].map(() => Raw.open(gateway.port)));
    const fifth = await Raw.open(gateway.port);
    await fifth.waitFor('it is told', (raw) => raw.statuses()[0] === 503);
    [...open, fifth].forEach((raw) => raw.destroy());
    await alone();
    assert.deepEqual(sorted(differences(was, await read(gateway))), {
      connections_refused_total: 1, requests_late_total: 1, requests_malformed_total: 1,
    });
  });

  test('a body for which there is no room', async () => {
    const key = gateway.member('eve');
    const was = await read(gateway);
    const full = await Raw.open(gateway.port);
    full.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nx-api-key: ${key}\r\nContent-Length: 61440\r\n\r\n`);
    await until('the bound is reached', async () => (await read(gateway)).get('body_buffered_bytes') === 61440);
    assert.equal((await send(gateway, key, small('chat'))).status, 429);
    full.destroy();
    await until('its bytes are given back', async () => (await read(gateway)).get('body_buffered_bytes') === 0);
    assert.deepEqual(sorted(differences(was, await read(gateway))), {
      bodies_refused_total: 1, clients_gone_total: 1, [answered('chat', 429)]: 1, [refused('wait')]: 1,
    });
  });

  test('log lines that nobody reads are lost and counted, and calls go on', async () => {
    const account = 'n'.repeat(120);
    const key = gateway.member(account);
    gateway.program.child.stderr.pause();
    const started = Date.now();
    for (let lost = 0; lost === 0; ) {
      const answers = await Promise.all(Array.from({ length: 3 }, () => send(gateway, key, small('chat'))));
      answers.forEach((answer) => assert.equal(answer.status, 200, answer.text));
      lost = (await read(gateway)).get('log_lines_lost_total');
      assert.ok(Date.now() - started < 30_000 * SLOW, 'the pipe is never full');
    }
    gateway.program.child.stderr.resume();
    await gateway.booked();
  });
});

describe('crashes and stores', () => {
  let gateway;
  let key;
  before(async () => {
    gateway = await Gateway.start(mock, {
      loops: 1,
      models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
      limits: { month: { counts: 'cost', per: 'account', window: 'month', cap: '100 USD' } },
    });
    key = gateway.member('ada');
  });
  after(async () => {
    await gateway?.stop();
  });
  beforeEach(() => mock.clear());

  test('a call whose gateway died is booked by the next one', async () => {
    await mock.models({ 'gpt-live': 'tokens=50,ttft_ms=2000' });
    const running = send(gateway, key, small('chat'));
    await until('it is at the provider', async () => (await mock.journal()).length === 1);
    await gateway.restart();
    await running;
    const numbers = await read(gateway);
    const orphans = (await gateway.ledger()).filter((row) => row.kind === 'orphan');
    assert.equal(orphans.length, 1);
    assert.equal(numbers.get('holds_orphaned_total'), 1);
    assert.equal(numbers.get('holds_open'), 0);
    assert.equal(numbers.get('cost_micro_usd_total'), orphans[0].cost_micros);
  });

  test('rows that make no sense', async () => {
    const bob = gateway.member('bob');
    assert.equal((await send(gateway, bob, small('messages'))).status, 200);
    await gateway.booked();
    const damage = (set, where) => {
      const done = spawnSync('sqlite3', ['-cmd', '.timeout 5000', gateway.store,
        `UPDATE meter SET ${set} WHERE subject_id IN (SELECT subject_id FROM subject WHERE kind = 1 AND account_id = `
        + `(SELECT account_id FROM account WHERE name = '${where}'))`], { encoding: 'utf8' });
      assert.equal(done.status, 0, done.stderr);
    };
    const [{ packed }] = gateway.rows("SELECT hex(packed) AS packed FROM meter WHERE subject_id IN "
      + "(SELECT subject_id FROM subject WHERE kind = 1 AND account_id = (SELECT account_id FROM account WHERE name = 'bob'))");
    damage("packed = 'nonsense'", 'bob');
    await changes(gateway, () => send(gateway, bob, small('messages')), (answer) => {
      assert.equal(answer.status, 503, answer.text);
      return {
        [verdict('refused')]: 1, [refused('store')]: 1, [answered('messages', 503)]: 1, events_damaged_total: 1,
        batches_retried_total: 1, // somebody else wrote: what was known of the rows is read again
      };
    });
    damage(`packed = CAST(X'${packed}' AS TEXT)`, 'bob');
    assert.equal((await send(gateway, bob, small('messages'))).status, 200);
    await gateway.booked();
  });

  test('a store that cannot be written', async () => {
    await mock.models({ 'gpt-live': 'tokens=600,tps=300' });
    const stranger = gateway.member('stranger');
    await gateway.program.end('SIGTERM');
    await gateway.launch({ file_blocks: 1200 });
    const running = send(gateway, key, callOf('chat', 'gpt-live', { limit: 1600, stream: true }));
    let full;
    for (let i = 0; i < 400 && !full; i++) {
      full = (await send(gateway, key, small('messages'))).status !== 200;
    }
    assert.ok(full, 'the disk is full in the end');
    const was = await read(gateway);
    assert.equal(was.get('store_down'), 1);
    assert.ok(was.get('store_failures_total') >= 1);
    const list = await ask(`${gateway.url}/v1/models`, { method: 'GET', key: stranger });
    assert.equal(list.status, 503, list.text);
    const found = differences(was, await read(gateway));
    assert.equal(found[answered('other', 503)], 1);
    assert.equal(found[refused('store')], 1);
    assert.equal((await running).status, 200);
    await until('its settlement waits', async () => (await read(gateway)).get('settlements_waiting') >= 1);
    await gateway.program.end('SIGTERM');
    await gateway.launch();
    assert.equal((await read(gateway)).get('store_down'), 0);
  });
});

test('handshakes of clients, and when a certificate ends', async () => {
  const certificates = new Certificates();
  certificates.authority('ours');
  certificates.leaf('live', 'ours', 'DNS:localhost');
  const port = await freePort();
  const gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai' }),
  }, {
    also: [{ address: `127.0.0.1:${port}`, tls: { cert: certificates.file('live.pem'), key: certificates.file('live.key') } }],
  });
  const client = (session) => new Promise((resolve, reject) => {
    const socket = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca: certificates.text('ours.pem'), session, maxVersion: 'TLSv1.2' });
    socket.on('error', reject).on('secureConnect', () => {
      socket.end();
      socket.on('close', () => resolve(socket.getSession() ?? socket.session));
      socket.session = socket.getSession();
    });
  });
  const session = await client();
  await client(session);
  await new Promise((resolve) => nodeNet.connect({ port, host: '127.0.0.1' }).on('close', resolve).on('error', () => {}).end('\0'));
  await until('all are counted', async () => {
    const numbers = await read(gateway);
    return ['full', 'resumed', 'failed'].every((result) => numbers.get(name('tls_handshakes_total', { result })) === 1);
  });
  const ends_s = (await read(gateway)).get('certificate_expires_timestamp_seconds');
  assert.ok(Math.abs(ends_s - (Date.now() / 1000 + 30 * 86_400)) < 600, `${ends_s}`);
  await gateway.stop();
  certificates.remove();
});

test('messages to webhooks: taken, failed, waiting, given up', async () => {
  process.env.HOOK_SECRET = 'the-secret-of-webhooks';
  const receiver = await Receiver.start([500, 200]);
  const hook = { secret: { env: 'HOOK_SECRET' }, events: ['refused'], allow_private: true };
  const gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai' }),
    plans: { free: {}, tight: {} },
    limits: {
      tiny: { counts: 'cost', per: 'account', window: 'month', cap: { plan: { tight: '1 micros' } } },
      watched: { counts: 'cost', per: 'account', window: 'day', cap: '1 micros', warn: [50], at_cap: 'shadow' },
    },
    webhooks: {
      ops: { ...hook, url: receiver.url },
      gone: { ...hook, url: `http://127.0.0.1:${await freePort()}/` },
    },
  });
  await send(gateway, gateway.member('bob'), callOf('chat', 'gpt-live'));
  await until('it is told of', async () => {
    const numbers = await read(gateway);
    return numbers.get('warnings_total') === 1 && numbers.get('shadow_refusals_total') === 1;
  });
  await send(gateway, gateway.member('ann', '--plan', 'tight'), callOf('chat', 'gpt-live'));
  const result = (which) => name('webhook_deliveries_total', { result: which });
  await until('one is taken at the second try', async () => {
    const numbers = await read(gateway);
    return numbers.get(result('taken')) === 1 && numbers.get(result('failed')) >= 2;
  });
  await until('the other waits', async () => (await read(gateway)).get('webhook_messages_waiting') >= 1);
  delete gateway.config.webhooks.gone;
  gateway.write();
  gateway.command('reload');
  await until('and is given up with its webhook', async () => (await read(gateway)).get(result('given_up')) === 1, 20_000);
  await gateway.stop();
  await receiver.stop();
});

test('no number is dead', () => {
  assert.ok(rows.size >= 80, `${rows.size} rows`);
  for (const row of Object.keys(UNREACHABLE)) {
    assert.ok(rows.has(row), `there is no ${row}`);
    assert.ok(!seen.has(row), `${row} was raised after all`);
  }
  assert.deepEqual([...rows].filter((row) => !seen.has(row) && !(row in UNREACHABLE) && !BY_LUCK.has(row)), []);
});
