// Goal: of several gateways on one store one sends the messages of all, and another takes over when it dies.
// Method: two gateways on one database and one receiver; refusals at both, one gateway killed in between.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Mock, SLOW, callOf, modelsOn, numbers, send, until } from './harness.mjs';
import { Postgres } from './postgres.mjs';
import { Receiver, verify } from './receiver.mjs';
import { Fleet } from './shared.mjs';

process.env.HOOK_SECRET = 'the-secret-of-webhooks';

let mock;
let server;
let receiver;
let fleet;
before(async () => {
  mock = await Mock.start();
  server = Postgres.start({ fsync: false });
  receiver = await Receiver.start();
  fleet = await Fleet.start(mock, 2, {
    models: modelsOn({ 'gpt-live': 'openai' }),
    limits: { tiny: { counts: 'cost', per: 'account', window: 'month', cap: '1 micros' } },
    webhooks: {
      ops: { url: receiver.url, secret: { env: 'HOOK_SECRET' }, events: ['refused'], allow_private: true },
    },
  }, { server });
});
after(async () => {
  await fleet?.stop();
  await receiver?.stop();
  server?.remove();
  await mock?.stop();
});

/** An account of its own is refused there; gives its name. */
async function refusedAt(gateway, name) {
  const key = gateway.member(name);
  const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit: 10 }));
  assert.equal(answer.status, 402, answer.text);
  return name;
}
const accounts = () => receiver.bodies('refused').map((body) => body.account).sort();
const drained = (gateway) =>
  until('no message waits', () => gateway.rows('SELECT id FROM outbox').length === 0, 15_000 * SLOW, 50);
const taken = async (gateway) => (await numbers(gateway)).get('webhook_deliveries_total{result="taken"}');

test('one gateway sends what both tell, each message once, and another goes on when it dies', async () => {
  const [a, b] = fleet.gateways;
  await refusedAt(a, 'ann');
  await refusedAt(b, 'bob');
  await until('both were told', () => receiver.got.length >= 2, 15_000 * SLOW);
  await drained(a);
  assert.deepEqual(accounts(), ['ann', 'bob']);
  assert.ok(receiver.got.every((message) => verify(message, process.env.HOOK_SECRET)));
  const counts = [await taken(a), await taken(b)];
  assert.equal(counts[0] + counts[1], 2, `${counts}`);

  const [sender, other] = counts[0] >= counts[1] ? [a, b] : [b, a];
  const taken_before = counts[sender === a ? 1 : 0];
  await sender.kill();
  await refusedAt(other, 'cid');
  await until('it was told all the same', () => receiver.got.length >= 3, 20_000 * SLOW);
  await drained(other);
  assert.deepEqual(accounts(), ['ann', 'bob', 'cid']);
  assert.equal(await taken(other), taken_before + 1);
  await sender.launch();
});
