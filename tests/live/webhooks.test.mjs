// Goal: what happened reaches a webhook once it is on the books, signed, though the receiver fails, redirects or is
// away and the gateway dies meanwhile; it never goes to a private address that nobody allowed.
// Method: receivers of this process that answer as told, small budgets, and the messages that wait in the store.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, callOf, freePort, modelsOn, numbers, send, until } from './harness.mjs';
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
async function gatewayWith(webhooks, limits) {
  const gateway = await Gateway.start(mock, {
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
    assert.equal(receiver.got.length, 1);
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
    const https = (host) => ({ url: `https://${host}:${other.port}/hook`, allow_private: false });
    const gateway = await gatewayWith({
      redirects: hook(redirecting),
      digits: hook(other, https('127.0.0.1')),
      mapped: hook(other, https('[::ffff:127.0.0.1]')),
      name: hook(other, https('localhost')),
      metadata: hook(other, { ...https('169.254.169.254') }),
    });
    try {
      const key = gateway.member('ann');
      await refusal(gateway, key);
      const rows = await until('each was tried', () => {
        const all = waiting(gateway);
        return all.length === 5 && all.every((row) => row.attempts > 0) && all;
      });
      const errors = Object.fromEntries(rows.map((row) => [row.hook, row.last_error]));
      assert.match(errors.redirects, /^it answered 302: redirects are not followed$/);
      assert.match(errors.digits, /127\.0\.0\.1, a private address/);
      assert.match(errors.mapped, /a private address/);
      assert.match(errors.name, /localhost is (127\.0\.0\.1|::1), a private address/);
      assert.match(errors.metadata, /169\.254\.169\.254, a private address/);
      assert.equal(other.got.length, 0);
    } finally {
      await gateway.stop();
      await redirecting.stop();
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
      await gateway.kill();
      delete gateway.config.webhooks;
      gateway.write();
      await gateway.launch();
      await drained(gateway);
      const counts = await numbers(gateway);
      assert.equal(counts.get('webhook_deliveries_total{result="given_up"}'), 1);
    } finally {
      await gateway.stop();
    }
  });
});
