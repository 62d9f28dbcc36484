// Goal: a cap holds over all gateways on a store: of 500 clients at once exactly as many pass as have room.
// Method: two and three gateways, an account or model that nobody has seen before in each repetition, and pauses of
// chance between the steps of every batch, made on the way to the database. What passed is counted at the clients,
// at the provider and in the books.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { ASAN, LONG, Mock, SLOW, booksOf, callOf, modelsOn, ownLimit, until } from './harness.mjs';
import { Postgres } from './postgres.mjs';
import { assertRefusal } from './refusal.mjs';
import { Fleet, assertOnce, sendKept } from './shared.mjs';

const CLIENTS = 500;
const CAP = 10;
const REPETITIONS = LONG ? 50 : ASAN ? 1 : 3;
const POOLS = Math.min(REPETITIONS, 8); // buckets of the gateway: its meters are one row, which holds so many at once
const PAUSE_MS = 15;
const KEYS = 4; // of an account

/* A call of a month: its hold is what it will cost, to the micro. */
const MONTH = { input: 100, output: 100, micros: 1800 };

let mock;
let server;
let fleet;
before(async () => {
  mock = await Mock.start();
  server = Postgres.start({ fsync: false });
  fleet = await startFleet();
  await mock.models({
    flows: 'tokens=100000,tps=20',
    'flows-anywhere': 'tokens=100000,tps=20',
    monthly: `input=${MONTH.input},tokens=${MONTH.output}`,
  });
});
after(async () => {
  await fleet?.stop();
  server?.remove();
  await mock?.stop();
});

/** On an empty database. */
function startFleet() {
  const pools = Array.from({ length: POOLS * 2 }, (_, i) => `pool-${i}`);
  const one_in_a_minute = { counts: 'requests', window: { rate: '1/min', burst: CAP } };
  return Fleet.start(
    mock,
    3,
    {
      held_wait: '0s',
      step: '1024 tokens',
      models: {
        ...modelsOn({ flows: 'openai', 'flows-anywhere': 'openai', paced: 'openai' }),
        ...modelsOn(Object.fromEntries(pools.map((pool) => [pool, 'openai']))),
        ...modelsOn({ monthly: 'openai' }, { price: { input: '3 USD', output: '15 USD' } }),
      },
      limits: {
        'own-flows': { counts: 'in_flight', per: 'account', cap: CAP, of: { model: 'flows' } },
        'all-flows': { counts: 'in_flight', per: 'gateway', cap: CAP, of: { model: 'flows-anywhere' } },
        'own-pace': { ...one_in_a_minute, per: 'account', of: { model: 'paced' } },
        ...Object.fromEntries(
          pools.map((pool) => [pool, { ...one_in_a_minute, per: 'gateway', of: { model: pool } }]),
        ),
        month: {
          counts: 'cost',
          per: 'account',
          window: 'month',
          cap: `${(CAP + 1) * MONTH.micros} micros`,
          of: { model: 'monthly' },
        },
      },
    },
    { server },
  );
}

let made = 0;
/** An account that no gateway has seen, and its keys. */
async function newAccount() {
  const [gateway] = fleet.gateways;
  const account = `account-${++made}`;
  await gateway.admin('/api/admin/accounts', 'POST', { name: account });
  const keys = Array.from({ length: KEYS }, () => gateway.admin('/api/admin/keys', 'POST', { account }));
  return { name: account, keys: (await Promise.all(keys)).map(({ key }) => key) };
}

/** The keys of three of them. */
const manyKeys = async () =>
  (await Promise.all([newAccount(), newAccount(), newAccount()])).flatMap((account) => account.keys);

/**
 * All clients at once, by turns at the gateways. Streams of those that pass go on until everybody was answered.
 * Gives the answers of those that passed, how many tokens each got, and what the others were told.
 */
async function storm(gateways, keys, callOfClient) {
  await mock.clear();
  const received = new Map();
  const passed = new Set();
  const refused = [];
  let leave = false;
  const clients = Array.from({ length: CLIENTS }, async (_, i) => {
    const limit = ownLimit();
    const answer = await sendKept(gateways[i % gateways.length], keys[i % keys.length], callOfClient(i, limit), {
      onEvent: (events, request) => {
        passed.add(i);
        if (leave) {
          request.destroy();
        }
      },
    });
    if (answer.status === 200) {
      passed.add(i);
      received.set(limit, Math.floor(Buffer.byteLength(answer.events.text()) / 4));
    } else {
      refused.push(answer);
    }
  });
  await until(
    `all are answered: ${JSON.stringify({ passed: passed.size, refused: refused.length })}`,
    () => passed.size + refused.length >= CLIENTS,
    20_000 * SLOW,
  );
  leave = true;
  await Promise.all(clients);
  return { passed: passed.size, received, refused };
}

/** Exactly as many as the cap allows were let in, here, there and in the books. */
async function assertExact({ passed, received, refused }, refusal) {
  const kinds = new Map();
  for (const answer of refused) {
    const kind = `${answer.status} ${answer.json?.error?.reason ?? answer.text ?? answer.error}`;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  const told = `passed ${passed}, refused ${JSON.stringify([...kinds])}`;
  assert.equal(passed, CAP, told);
  assert.equal(passed + refused.length, CLIENTS, told);
  for (const answer of refused) {
    refusal(answer);
  }
  const { rows, journal } = await booksOf(fleet.gateways[0], mock, received);
  assert.equal(journal.length, CAP);
  assertOnce(rows);
}

const inFlight = (answer) =>
  assertRefusal(answer, 'chat', { status: 429, code: 'in_flight_full', retry: null, after: [1, 5] });
const paced = (answer) =>
  assertRefusal(answer, 'chat', { status: 429, code: 'rate_limited', retry: null, after: [30, 60] });

async function meterOf(limit, account) {
  const { meters } = await fleet.gateways[0].admin('/api/admin/limits');
  return meters.find((meter) => meter.limit === limit && (!account || meter.account === account));
}

for (const count of [2, 3]) {
  describe(`${count} gateways, ${CLIENTS} clients at once, ${REPETITIONS} times`, () => {
    let gateways;
    before(async () => {
      gateways = fleet.gateways.slice(0, count);
    });
    /* The first time as fast as it goes. */
    const repeat = (name, act) =>
      test(name, async () => {
        for (let i = 0; i < REPETITIONS; i++) {
          for (const { link } of gateways) {
            await link.delay(0, i === 0 ? 0 : PAUSE_MS);
          }
          await act(i).catch((error) => {
            throw new Error(`repetition ${i + 1}: ${error.message}`, { cause: error });
          });
        }
      });
    const stream = (model) => (i, limit) => callOf('chat', model, { limit, stream: true });
    const whole = (model) => (i, limit) => callOf('chat', model, { limit });

    repeat(`FF-9 ${CAP} of an account are in flight`, async () => {
      const { name, keys } = await newAccount();
      await assertExact(await storm(gateways, keys, stream('flows')), inFlight);
      assert.equal((await meterOf('own-flows', name))?.held ?? 0, 0);
    });

    repeat(`${CAP} of all accounts are in flight`, async () => {
      const keys = await manyKeys();
      await assertExact(await storm(gateways, keys, stream('flows-anywhere')), inFlight);
      assert.equal((await meterOf('all-flows'))?.held ?? 0, 0);
    });

    repeat(`a burst of ${CAP} of an account passes`, async () => {
      const { name, keys } = await newAccount();
      await assertExact(await storm(gateways, keys, whole('paced')), paced);
      assert.equal((await meterOf('own-pace', name)).used, CAP);
    });

    repeat(`a burst of ${CAP} of all accounts passes`, async (i) => {
      if (i > 0 && i % POOLS === 0) { // each bucket is spent
        await fleet.stop();
        fleet = await startFleet();
        gateways = fleet.gateways.slice(0, count);
        await Promise.all(gateways.map(({ link }) => link.delay(0, PAUSE_MS)));
      }
      const keys = await manyKeys();
      const pool = `pool-${(i % POOLS) + (count - 2) * POOLS}`;
      await assertExact(await storm(gateways, keys, whole(pool)), paced);
      assert.equal((await meterOf(pool)).used, CAP);
    });

    repeat(`FF-3 FF-12 a month with room for ${CAP} calls lets ${CAP} in and is spent to the micro`, async () => {
      const { name, keys } = await newAccount();
      const call = callOf('chat', 'monthly', { limit: MONTH.output });
      const headers = { 'x-tidegate-thread': 'one' };
      const month = () => ({ ...call, headers });
      /* What is known of a thread's last call makes the estimate of the next one exact. */
      assert.equal((await sendKept(gateways[0], keys[0], month())).status, 200);
      await fleet.booked();
      const { passed, refused } = await storm(gateways, keys, month);
      assert.equal(passed, CAP);
      assert.equal(refused.length, CLIENTS - CAP);
      for (const answer of refused) {
        const held = answer.status === 429;
        assertRefusal(answer, 'chat', {
          status: held ? 429 : 402,
          code: held ? 'budget_held' : 'budget_spent',
          ...(held ? { retry: null, after: [1, 60] } : {}),
        });
      }
      const journal = await mock.settled();
      await fleet.booked();
      assert.equal(journal.length, CAP);
      const rows = (await gateways[1].ledger({ account: name })).filter((row) => row.hold);
      assertOnce(rows);
      assert.deepEqual(
        rows.map((row) => [row.kind, row.cost_micros]),
        Array.from({ length: CAP + 1 }, () => ['settle', MONTH.micros]),
      );
      const meter = await meterOf('month', name);
      assert.deepEqual([meter.used, meter.held], [(CAP + 1) * MONTH.micros, 0]);
    });
  });
}
