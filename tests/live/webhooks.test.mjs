// Goal: what happened reaches a webhook once it is on the books, signed, though the receiver fails, redirects or is
// away and the gateway dies meanwhile; it never goes to a private address that nobody allowed.
// Method: receivers of this process that answer as told, small budgets, and the messages that wait in the store.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, Program, ask, callOf, freePort, modelsOn, numbers, run, send, until } from './harness.mjs';
import { Receiver, verify } from './receiver.mjs';

// Every process of this file has them, those that a restart begins too.
const SECRETS = { HOOK_SECRET: 'the-new-secret-of-webhooks', HOOK_SECRET_OLD: 'the-old-secret-of-webhooks' };
Object.assign(process.env, SECRETS);

let mock;
before(async () => {
  mock = await Mock.start();
});
after(async () => {
  await mock?.stop();
});

/** A gateway with webhooks, and an account whose budget has room for nothing. */
async function gatewayWith(webhooks, limits, more = {}) {
  const gateway = await Gateway.start(mock, {
    ...more,
    models: modelsOn({ 'gpt-live': 'openai', 'gpt-other': 'openai' }),
    limits: limits ?? { tiny: { counts: 'cost', per: 'account', window: 'month', cap: '1 micros' } },
    webhooks,
  });
  for (const secret of Object.values(SECRETS)) {
    gateway.secrets.add(secret);
  }
  gateway.secrets.add('t0k3n-of-a-url');
  return gateway;
}

async function refusal(gateway, key, model = 'gpt-live') {
  const answer = await send(gateway, key, callOf('chat', model, { limit: 10 }));
  assert.equal(answer.status, 402, answer.text);
}

/** One a minute, however many calls; a test may lie on both sides of a minute's end. */
function assertOnceAMinute(bodies) {
  const minutes = bodies.map((body) => body.at.slice(0, 16));
  assert.ok(bodies.length >= 1 && bodies.length <= 2, `${bodies.length} messages`);
  assert.equal(new Set(minutes).size, minutes.length, `${minutes}`);
}

const waiting = (gateway) => gateway.rows('SELECT * FROM outbox ORDER BY id');
const drained = (gateway) => until('no message waits', () => waiting(gateway).length === 0);
const hook = (receiver, more = {}) => ({
  url: receiver.url,
  secret: { env: 'HOOK_SECRET' },
  events: ['refused'],
  allow_private: true,
  ...more,
});

describe('a message', () => {
  let gateway, receiver;
  before(async () => {
    receiver = await Receiver.start();
    gateway = await gatewayWith({
      ops: hook(receiver, { secret: [{ env: 'HOOK_SECRET' }, { env: 'HOOK_SECRET_OLD' }] }),
      deaf: hook(receiver, { events: ['overshoot'] }),
    });
  });
  after(async () => {
    await gateway?.stop();
    await receiver?.stop();
  });

  test('tells of a refusal once a minute, signed with the new secret and the old one', async () => {
    const key = gateway.member('ann');
    await refusal(gateway, key);
    await refusal(gateway, key);
    await until('it was told', () => receiver.got.length > 0);
    await drained(gateway);
    assertOnceAMinute(receiver.bodies('refused'));
    const [message] = receiver.got;
    assert.equal(message.method, 'POST');
    assert.equal(message.url, '/hook?token=t0k3n-of-a-url');
    assert.equal(message.headers['content-type'], 'application/json');
    assert.equal(message.headers['x-tidegate-event'], 'refused');
    assert.match(message.headers['x-tidegate-delivery'], /^dlv_\d+$/);
    assert.ok(verify(message, SECRETS.HOOK_SECRET));
    assert.ok(verify(message, SECRETS.HOOK_SECRET_OLD));
    assert.ok(!verify({ ...message, body: `${message.body} ` }, SECRETS.HOOK_SECRET));
    assert.ok(!verify(message, 'another-secret-altogether'));
    const body = JSON.parse(message.body);
    assert.equal(body.event, 'refused');
    assert.equal(body.account, 'ann');
    assert.equal(body.model, 'gpt-live');
    assert.equal(body.reason, 'budget_spent');
    assert.equal(body.data.limit, 'tiny');
    assert.equal(body.data.cap, 1);
    const rows = await gateway.rowsOf(body.request);
    assert.deepEqual(rows.map((row) => row.kind), ['refusal']);
  });

  test('that fails is tried again with the same id, and taken once', async () => {
    const failed = Number((await numbers(gateway)).get('webhook_deliveries_total{result="failed"}'));
    receiver.got.length = 0;
    receiver.statuses = [500, 503, 200];
    const key = gateway.member('bob');
    await refusal(gateway, key);
    await until('it was tried three times', () => receiver.got.length >= 3, 15_000);
    await drained(gateway);
    assert.equal(receiver.got.length, 3);
    assert.equal(new Set(receiver.got.map((message) => message.headers['x-tidegate-delivery'])).size, 1);
    assert.equal(new Set(receiver.got.map((message) => message.body)).size, 1);
    assert.ok(receiver.got.every((message) => verify(message, SECRETS.HOOK_SECRET)));
    const counts = await numbers(gateway);
    assert.equal(counts.get('webhook_deliveries_total{result="failed"}'), failed + 2);
  });
});

describe('a receiver', () => {
  test('that is away when the gateway is killed gets the message after its restart', async () => {
    const port = await freePort();
    const away = { url: `http://127.0.0.1:${port}/hook?token=t0k3n-of-a-url` };
    const gateway = await gatewayWith({ ops: hook(away) });
    let receiver;
    try {
      const key = gateway.member('ann');
      await refusal(gateway, key);
      await until('the message waits', () => waiting(gateway).length === 1);
      await gateway.kill();
      receiver = await Receiver.start([200], port);
      await gateway.launch();
      await until('it was told', () => receiver.got.length > 0, 20_000);
      await drained(gateway);
      assert.equal(receiver.got.length, 1);
      assert.ok(verify(receiver.got[0], SECRETS.HOOK_SECRET));
    } finally {
      await gateway.stop();
      await receiver?.stop();
    }
  });

  test('that redirects is not followed, and a private address nobody allowed is not asked', async () => {
    const other = await Receiver.start();
    const redirecting = await Receiver.start([302]);
    redirecting.location = other.url;
    const long = await Receiver.start();
    long.answer = 'x'.repeat(2 << 20);
    const https = (host) => ({ url: `https://${host}:${other.port}/hook`, allow_private: false });
    const gateway = await gatewayWith({
      redirects: hook(redirecting),
      digits: hook(other, https('127.0.0.1')),
      mapped: hook(other, https('[::ffff:127.0.0.1]')),
      name: hook(other, https('localhost')),
      metadata: hook(other, https('169.254.169.254')),
      long: hook(long),
    });
    try {
      const key = gateway.member('ann');
      await refusal(gateway, key);
      const rows = await until('each was tried', () => {
        const all = waiting(gateway);
        return all.length === 6 && all.every((row) => row.attempts > 0) && all;
      });
      const errors = Object.fromEntries(rows.map((row) => [row.hook, row.last_error]));
      assert.match(errors.redirects, /^it answered 302: redirects are not followed$/);
      assert.match(errors.digits, /127\.0\.0\.1, a private address/);
      assert.match(errors.mapped, /a private address/);
      assert.match(errors.name, /localhost is (127\.0\.0\.1|::1), a private address/);
      assert.match(errors.metadata, /169\.254\.169\.254, a private address/);
      assert.match(errors.long, /answered more than 1048576 bytes/);
      assert.equal(other.got.length, 0);
    } finally {
      await gateway.stop();
      await redirecting.stop();
      await long.stop();
      await other.stop();
    }
  });

  test('that is configured no more is not waited for', async () => {
    const port = await freePort();
    const gateway = await gatewayWith({ ops: hook({ url: `http://127.0.0.1:${port}/hook` }) });
    try {
      const key = gateway.member('ann');
      await refusal(gateway, key);
      await until('the message waits', () => waiting(gateway).length === 1);
      gateway.config.webhooks = { other: gateway.config.webhooks.ops };
      gateway.write();
      gateway.command('reload');
      await drained(gateway);
      const counts = await numbers(gateway);
      assert.equal(counts.get('webhook_deliveries_total{result="given_up"}'), 1);
    } finally {
      await gateway.stop();
    }
  });
});

describe('a warning', () => {
  let gateway, receiver;
  const limits = {
    watched: { counts: 'cost', per: 'account', window: 'month', cap: '0.01 USD', warn: [50, 90], at_cap: 'warn' },
    parallel: { counts: 'in_flight', per: 'account', cap: 8 },
  };
  before(async () => {
    receiver = await Receiver.start();
    gateway = await gatewayWith({ ops: hook(receiver, { events: ['warn', 'shadow'] }) }, limits);
    await mock.models({ 'gpt-live': 'tokens=200', 'gpt-other': 'tokens=800' });
  });
  after(async () => {
    await gateway?.stop();
    await receiver?.stop();
    await mock.models({ 'gpt-live': null, 'gpt-other': null });
  });

  /** One call; gives what it cost. */
  async function spend(key, model = 'gpt-live') {
    const answer = await send(gateway, key, callOf('chat', model, { limit: 900 }));
    assert.equal(answer.status, 200, answer.text);
    await gateway.booked();
    return Number(answer.headers['x-tidegate-cost-micros']);
  }
  const told = (account) =>
    receiver.bodies('warn').filter((body) => body.account === account).map((body) => body.data.pct);

  test('comes once for each percentage that settled calls reach, also over a restart', async () => {
    const key = gateway.member('ann');
    let spent = 0;
    const wanted = [];
    for (let i = 0; i < 12 && spent < 12_000; i++) {
      spent += await spend(key);
      for (const pct of [50, 90, 100]) {
        if (spent >= pct * 100 && !wanted.includes(pct)) {
          wanted.push(pct);
        }
      }
      await drained(gateway);
      assert.deepEqual(told('ann').sort((a, b) => a - b), wanted);
      if (i === 2) {
        await gateway.restart();
      }
    }
    assert.deepEqual(wanted, [50, 90, 100]);
    const [first] = receiver.bodies('warn');
    assert.equal(first.data.limit, 'watched');
    assert.equal(first.data.cap, 10_000);
    assert.ok(first.data.settled >= 5000 && first.data.resets_at_ms > Date.now());
    assert.ok(receiver.got.every((message) => verify(message, SECRETS.HOOK_SECRET)));
  });

  test('of one large call that passes all of them comes for each', async () => {
    const key = gateway.member('bob');
    assert.ok((await spend(key, 'gpt-other')) >= 10_000, 'it costs as much as the cap');
    await drained(gateway);
    assert.deepEqual(told('bob').sort((a, b) => a - b), [50, 90, 100]);
  });

  test('is seen by its own account, by nobody else, and by who may read all', async () => {
    const stranger = gateway.member('stranger');
    const own = gateway.addKey('bob').secret;
    const events = async (key, query = '') =>
      (await ask(`${gateway.url}/api/v1/events${query}`, { method: 'GET', key })).json;
    assert.deepEqual((await events(stranger)).events, []);
    assert.deepEqual((await events(stranger, '?account=bob')).events, []);
    const mine = (await events(own)).events;
    assert.deepEqual(mine.map((event) => [event.event, event.account, event.data.pct]), [
      ['warn', 'bob', 100], ['warn', 'bob', 90], ['warn', 'bob', 50],
    ]);
    assert.deepEqual((await events(own, `?after=${mine[1].id}`)).events, [mine[0]]);
    const page = await events(own, '?limit=2');
    assert.deepEqual((await events(own, `?before=${page.next_before}`)).events, [mine[2]]);
    assert.equal((await gateway.admin('/api/v1/events')).events.length, 6);
    const shown = gateway.command('events', '--account', 'bob');
    assert.deepEqual(shown.events, mine);
    const following = new Program('tidegate events', ['events', '--follow', '--control', gateway.control]);
    await until('what happened is told', () => following.out.split('\n').length === 7);
    const [oldest] = following.out.split('\n');
    assert.match(oldest, /\twarn\tann\twatched\t\$0\.00\d*\t\$0\.01\treached 50 % this month$/);
    await spend(gateway.member('dora'));
    await spend(gateway.addKey('dora').secret);
    await until('and what happens then', () => /\twarn\tdora\t.*reached 50 %/.test(following.out));
    await following.end();
    const rows = (await gateway.ledger({ kind: 'warn' })).filter((row) => row.account !== 'dora');
    assert.equal(rows.length, 6);
    assert.ok(rows.every((row) => row.source === 'gate' && !row.request));
  });

  test('a limit that is only watched refuses nobody and tells what it would have refused', async () => {
    gateway.config.limits.trial = { counts: 'cost', per: 'account', window: 'day', cap: '1 micros', at_cap: 'shadow' };
    gateway.write();
    gateway.command('reload');
    const key = gateway.member('cid');
    await spend(key);
    await spend(key);
    await until('it was told', () => receiver.bodies('shadow').length > 0);
    await drained(gateway);
    const shadows = receiver.bodies('shadow').filter((body) => body.account === 'cid');
    assertOnceAMinute(shadows);
    assert.equal(shadows[0].reason, 'budget_spent');
    assert.equal(shadows[0].data.limit, 'trial');
    const { events } = gateway.command('events', '--account', 'cid');
    assert.deepEqual(events.filter(({ event }) => event === 'shadow').map(({ data }) => data.limit), ['trial']);
    const own = await ask(`${gateway.url}/api/v1/events`, { method: 'GET', key });
    assert.deepEqual(own.json.events.find(({ event }) => event === 'shadow').data, { limit: 'trial' });
    assert.equal((await gateway.ledger({ kind: 'refusal' })).length, 0);
  });
});

describe('warnings of one settlement', () => {
  const SENDS_EACH = 4; // at once to one receiver
  let gateway, receiver, warnings;
  const subjects = {
    account: '', account_model: 'gpt-live', gateway: '', group: 'crew', key: /^key_\d+$/, model: 'gpt-live',
    organisation: 'acme', plan: 'default', tag: 'team=red', thread_tree: /^thr_\d+$/, tier: 'premium',
  };
  before(async () => {
    receiver = await Receiver.start();
    receiver.together = SENDS_EACH; // so that what became of them comes together, too
    const limits = Object.fromEntries(Object.keys(subjects).map((per) => [
      per.replace('_', '-'),
      { counts: 'requests', per, window: 'day', cap: 10, warn: [20], ...(per === 'tag' && { tag: 'team' }) },
    ]));
    gateway = await gatewayWith({ ops: hook(receiver, { events: ['warn'] }) }, limits, {
      tags: { team: { header: 'x-team' } },
      groups: { crew: { members: ['ann'], organisation: 'acme' } },
    });
    const key = gateway.member('ann', '--organisation', 'acme');
    const headers = { 'x-team': 'red', 'x-tidegate-thread': 'one' };
    for (let i = 0; i < 2; i++) {
      const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit: 10 }), { headers });
      assert.equal(answer.status, 200, answer.text);
      await gateway.booked();
    }
  });
  after(async () => {
    await gateway?.stop();
    await receiver?.stop();
  });

  test('are delivered at once, however many wait for one receiver', async () => {
    const count = Object.keys(subjects).length;
    await until('all were told', () => {
      if (receiver.got.length > count - SENDS_EACH) {
        receiver.together = 1;
        receiver.answerAll();
      }
      return receiver.got.length === count;
    }, 10_000);
    await drained(gateway);
    warnings = receiver.bodies('warn');
    assert.equal(new Set(warnings.map(({ data }) => data.limit)).size, count);
  });

  test('each say whose limit it is', () => {
    for (const { account, data } of warnings) {
      const name = subjects[data.per];
      if (name instanceof RegExp) {
        assert.match(data.subject_name, name);
      } else {
        assert.equal(data.subject_name ?? '', name, data.per);
      }
      assert.equal(account ?? null, ['account', 'account_model', 'key', 'thread_tree'].includes(data.per) ? 'ann' : null);
    }
    assert.match(run(['events', '--control', gateway.control]).out, /\twarn\t.*\(tag team=red\)$/m);
  });
});

describe('the commands', () => {
  test('show what waits and why, and try a webhook', async () => {
    const receiver = await Receiver.start();
    const port = await freePort();
    const gateway = await gatewayWith({
      ops: hook(receiver),
      away: hook({ url: `http://127.0.0.1:${port}/hook?token=t0k3n-of-a-url` }),
    });
    try {
      // Not run(): this very process has to answer meanwhile.
      const tryOne = async (name) => {
        const program = new Program('tidegate webhooks test', [
          'webhooks', 'test', name, '--control', gateway.control, '--json',
        ]);
        return { ...(await program.over(30_000)), out: program.out, err: program.err };
      };
      const ok = await tryOne('ops');
      assert.equal(ok.code, 0, ok.err);
      const tried = JSON.parse(ok.out);
      assert.deepEqual([tried.webhook, tried.state], ['ops', 'taken']);
      assert.deepEqual(receiver.got.map((message) => message.headers['x-tidegate-delivery']), [tried.delivery]);
      assert.equal(receiver.bodies('test').length, 1);
      const failed = await tryOne('away');
      assert.equal(failed.code, 1);
      assert.match(JSON.parse(failed.out).error, /^127\.0\.0\.1: /);
      const unknown = run(['webhooks', 'test', 'nobody', '--control', gateway.control]);
      assert.equal(unknown.code, 1);
      assert.match(unknown.err, /no webhook of this name/);
      const { webhooks } = gateway.command('webhooks');
      const [ops, away] = webhooks;
      assert.deepEqual([ops.name, ops.state, ops.host, ops.events, ops.waiting], ['ops', 'ok', '127.0.0.1', ['refused'], 0]);
      assert.deepEqual([away.name, away.state, away.waiting], ['away', 'failing', 1]);
      assert.match(away.last_error, /^127\.0\.0\.1: /);
      const shown = run(['webhooks', '--control', gateway.control]).out;
      assert.match(shown, /away\tfailing\t127\.0\.0\.1\trefused\t1/);
      assert.ok(!shown.includes('t0k3n'));
      const notes = (await gateway.ledger({ kind: 'admin' })).filter((row) => row.inputs.verb === 'webhook_test');
      assert.deepEqual(notes.map((row) => row.inputs.webhook), ['ops', 'away']);
    } finally {
      await gateway.stop();
      await receiver.stop();
    }
  });
});
