// Goal: whatever becomes of a gateway, of the database or of the way between them, the books of all gateways agree
// with the provider's bill: each call is booked once, by the rule of DESIGN section 4, nothing stays promised, and
// what was silent for too long writes no more.
// Method: two gateways under streams and short calls, each with a way of its own to the database; a fault in
// the middle, its end, and then every call of every client is compared. What clients got is known.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { ASAN, LONG, Mock, SLOW, callOf, modelsOn, ownLimit, sleep, until } from './harness.mjs';
import { Postgres, urlOfAll } from './postgres.mjs';
import { Fleet, GRACE_MS, LEASE_MS, epochOf, ownEpoch, sendKept } from './shared.mjs';

const ROUNDS = LONG ? 5 : 1; // of each of six faults
const CALLERS = ASAN ? 12 : 24;
const PAUSE_MS = 150; // of a caller who was not served

const KINDS = [
  ['chat', 'gpt-live'],
  ['messages', 'claude-live'],
  ['responses', 'gpt-live'],
  ['chat', 'gpt-bills'],
  ['messages', 'claude-bills'],
];
/* Those of the last two need no more than was held for them at first. */
const LONG_KINDS = [
  ['chat', 'gpt-long'],
  ['messages', 'claude-whole'],
  ['responses', 'gpt-whole'],
];
const ACCOUNTS = ['ada', 'bob', 'cy'];
const CONFIG = {
  models: {
    ...modelsOn({
      'gpt-live': 'openai',
      'claude-live': 'anthropic',
      'gpt-bills': 'bills-openai',
      'claude-bills': 'bills-anthropic',
      'gpt-long': 'openai',
    }),
    ...modelsOn({ 'gpt-whole': 'openai', 'claude-whole': 'anthropic' }, { hidden_reasoning: true }),
  },
  step: '64 tokens',
  limits: {
    'day-spend': { counts: 'cost', per: 'account', window: 'day', cap: '1000 USD' },
    'tree-spend': { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: '1000 USD' },
    parallel: { counts: 'in_flight', per: 'account', cap: 1000 },
    everybody: { counts: 'in_flight', per: 'gateway', cap: 1000 },
  },
};

let mock;
before(async () => {
  mock = await Mock.start();
  for (const model of ['gpt-live', 'claude-live']) {
    await mock.models({ [model]: 'tokens=400,tps=500,ttft_ms=30' });
  }
  for (const model of ['gpt-long', 'gpt-whole', 'claude-whole']) {
    await mock.models({ [model]: 'tokens=6000,tps=400' });
  }
  for (const model of ['gpt-bills', 'claude-bills']) {
    await mock.models({ [model]: 'tokens=400,tps=500,ttft_ms=30,bill_after_cut=1' });
  }
});
after(async () => {
  await mock?.stop();
});

/** Callers who go on calling at all gateways until they are told to stop. */
class Load {
  static start(fleet, keys, received) {
    const load = new Load();
    Object.assign(load, { fleet, keys, received, over: false, calls: [] });
    load.callers = Array.from({ length: CALLERS }, (_, i) => load.#caller(i));
    return load;
  }

  async #caller(i) {
    await sleep(Math.random() * 300);
    for (let turn = i; !this.over; turn += CALLERS) {
      const gateway = this.fleet.gateways[turn % this.fleet.gateways.length];
      const [api, model] = KINDS[turn % KINDS.length];
      const limit = ownLimit();
      const stream = turn % 7 !== 6;
      const call = { gateway, api, stream, limit, began: Date.now() };
      this.calls.push(call);
      call.answer = await sendKept(
        gateway,
        this.keys[turn % this.keys.length],
        callOf(api, model, { limit, stream, text: `call ${limit}` }),
        { headers: { 'x-tidegate-thread': `thread-${turn % 5}` } },
      );
      call.ended = Date.now();
      this.received.set(limit, Math.floor(Buffer.byteLength(call.answer.events.text()) / 4));
      if (call.answer.status !== 200) {
        await sleep(PAUSE_MS * (1 + Math.random()));
      }
    }
  }

  /** Calls at a gateway that are served again: one that begins now, and comes to its end. */
  async served(gateway) {
    const from = Date.now();
    await until(
      `calls are served at ${gateway.config.node}`,
      () =>
        this.calls.some(
          (call) => call.gateway === gateway && call.began > from && call.answer?.status === 200 && call.answer.clean,
        ),
      15_000 * SLOW,
    );
  }

  async stop() {
    this.over = true;
    await Promise.all(this.callers);
    return this.calls;
  }

  /** How calls ended, for a person. */
  told() {
    const kinds = {};
    for (const { answer } of this.calls) {
      const how =
        answer.status === 0
          ? 'unheard'
          : answer.status !== 200
            ? (answer.json?.error?.reason ?? answer.json?.error?.details?.reason ?? answer.status)
            : endOf(answer);
      kinds[how] = (kinds[how] ?? 0) + 1;
    }
    return JSON.stringify(kinds);
  }
}

let last_long_limit = 128_000; // far above the others
/** One stream of each dialect at a gateway, that goes on for longer than a lease. */
async function longStreams(load, gateway) {
  const calls = LONG_KINDS.map(([api, model]) => ({ gateway, api, stream: true, limit: --last_long_limit, model }));
  for (const call of calls) {
    load.calls.push(call);
    const { api, limit, model } = call;
    const asked = callOf(api, model, { limit, stream: true, text: `call ${limit}` });
    const onEvent = () => (call.flows = true);
    load.callers.push(
      sendKept(gateway, load.keys[0], asked, { onEvent }).then((answer) => {
        call.answer = answer;
        load.received.set(limit, Math.floor(Buffer.byteLength(answer.events.text()) / 4));
      }),
    );
  }
  await until('the long streams flow', () => calls.every(({ flows }) => flows), 5000 * SLOW);
  return calls;
}

/** They were ended by their gateway, each as its dialect has it. */
async function assertEnded(calls) {
  await until('the long streams are over', () => calls.every(({ answer }) => answer), 10_000 * SLOW);
  for (const call of calls) {
    assert.equal(call.answer.status, 200, call.answer.text);
    assertEndsInDialect(call);
  }
}

/** How an answer of 200 came to its end. */
function endOf(answer) {
  if (!answer.clean) {
    return 'broken';
  }
  return /store_unavailable|cannot reach its ledger/.test(answer.text) ? 'ended with an error' : 'whole';
}

/**
 * It ended before its time, as its dialect has it: with an error where its lease was over, as if it had reached its
 * output limit where its hold was used up and nobody could be asked for more.
 */
function assertEndsInDialect({ api, answer }) {
  assert.ok(answer.clean, `the stream ended as HTTP has it: ${answer.error} ${answer.text.slice(-300)}`);
  const { list } = answer.events;
  const ends = {
    chat: ({ json }) => json?.error || json?.choices?.[0]?.finish_reason === 'length',
    messages: ({ name, json }) => name === 'error' || json?.delta?.stop_reason === 'max_tokens',
    responses: ({ name }) => ['error', 'response.failed', 'response.incomplete'].includes(name),
  };
  assert.ok(list.some(ends[api]), `it says how it ended: ${answer.text.slice(-500)}`);
}

const openOf = (fleet, epoch) =>
  fleet.gateways[0].rows('SELECT hold_id, node_id FROM hold').filter((hold) => Number(hold.node_id) === epoch).length;
const rowsOf = (fleet, epoch) =>
  fleet.gateways[0].rows('SELECT id FROM ledger').filter((row) => epochOf(row.id) === epoch).length;

const ORPHAN = 3; // a kind of the ledger's rows
const orphansOf = (fleet) =>
  fleet.gateways[0].rows(`SELECT count(*) AS n FROM ledger WHERE kind = ${ORPHAN}`)[0].n;

/** Others have booked what an epoch had open. */
const orphaned = (fleet, epoch) =>
  until(`calls of epoch ${epoch} are booked`, () => openOf(fleet, epoch) === 0, (GRACE_MS + LEASE_MS) * SLOW, 50);

/** Faults of a gateway A and of its way to the database, B beside it. Each ends with everything well again. */
const FAULTS = {
  async 'kill -9 of a gateway'({ fleet, load }) {
    const [a, b] = fleet.gateways;
    const epoch = await ownEpoch(a);
    await a.kill();
    await orphaned(fleet, epoch);
    await load.served(b);
    await a.launch();
    await load.served(a);
  },

  async 'a gateway that is stopped beyond its lease and goes on'({ fleet, load }) {
    const [a, b] = fleet.gateways;
    const epoch = await ownEpoch(a);
    const streams = await longStreams(load, a);
    const { child } = a.program;
    child.kill('SIGSTOP');
    await orphaned(fleet, epoch);
    await load.served(b);
    const written = rowsOf(fleet, epoch);
    child.kill('SIGCONT');
    await until('it goes on under a new epoch', async () => (await ownEpoch(a)) > epoch, 10_000 * SLOW);
    await load.served(a);
    await assertEnded(streams);
    assert.equal(rowsOf(fleet, epoch), written, 'what was booked by others is not written to again');
  },

  async 'kill -9 of the database'({ fleet, load, round }) {
    const before_fault = orphansOf(fleet);
    await fleet.server.kill();
    await sleep(round % 2 === 0 ? 0 : LEASE_MS * 1.5);
    await fleet.server.launch();
    await Promise.all(fleet.gateways.map((gateway) => load.served(gateway)));
    assert.equal(orphansOf(fleet), before_fault, 'nobody takes another for gone that was cut off like himself');
  },

  async 'a way to the database that swallows everything, for less than a lease'({ fleet, load }) {
    const [a] = fleet.gateways;
    const epoch = await ownEpoch(a);
    await a.link.drop();
    await sleep(LEASE_MS / 4);
    await a.link.heal();
    await load.served(a);
    assert.equal(await ownEpoch(a), epoch, 'it is what it was');
  },

  async 'a way to the database that swallows everything, for more than a lease'({ fleet, load }) {
    const [a, b] = fleet.gateways;
    const epoch = await ownEpoch(a);
    const streams = await longStreams(load, a);
    await a.link.drop();
    await orphaned(fleet, epoch);
    await load.served(b);
    await assertEnded(streams); // before it can know what the others did
    const written = rowsOf(fleet, epoch);
    await a.link.heal();
    await load.served(a);
    assert.ok((await ownEpoch(a)) > epoch, 'it goes on under a new epoch');
    assert.equal(rowsOf(fleet, epoch), written, 'what was booked by others is not written to again');
  },

  async 'a way to the database that breaks, for less and for more than a lease'({ fleet, load, round }) {
    const [a, b] = fleet.gateways;
    const epoch = await ownEpoch(a);
    const is_short = round % 2 === 0;
    await a.link.refuse();
    await sleep(is_short ? LEASE_MS / 4 : GRACE_MS + LEASE_MS / 2);
    await a.link.heal();
    await load.served(a);
    await load.served(b);
    assert.equal((await ownEpoch(a)) === epoch, is_short, 'it is what it was, or goes on under a new epoch');
  },
};

/** One round on a fleet, and what the books have to say of it. */
async function round(t, number, fleet, keys, received, fault) {
  const load = Load.start(fleet, keys, received);
  await sleep(500 + Math.random() * 300);
  let told;
  try {
    told = await fault({ fleet, load, round: number });
  } finally {
    await Promise.all(fleet.links.map((link) => link?.heal()));
    await load.stop();
  }
  const rows = await fleet.assertBooks(received);
  await fleet.assertMeters('day-spend');
  fleet.assertSound();
  const orphans = rows.filter((row) => row.kind === 'orphan').length;
  t.diagnostic(`round ${number + 1}: ${load.told()}${told ? `, ${told}` : ''}; ${orphans} orphans so far`);
}

describe('two gateways under load', () => {
  let server;
  let fleet;
  const keys = [];
  const received = new Map(); // output limit -> tokens that the client got
  before(async () => {
    await mock.clear();
    server = Postgres.start();
    fleet = await Fleet.start(mock, 2, CONFIG, { server });
    keys.push(...ACCOUNTS.map((account) => fleet.gateways[0].member(account)));
  });
  after(async () => {
    await fleet?.stop();
    server?.remove();
  });

  for (const [name, fault] of Object.entries(FAULTS)) {
    test(`${name}: every call is booked once, by the rule of the books`, async (t) => {
      for (let number = 0; number < ROUNDS; number++) {
        await round(t, number, fleet, keys, received, fault).catch((error) => {
          throw new Error(`round ${number + 1}: ${error.message}`, { cause: error });
        });
      }
    });
  }
});

describe('a primary that dies, with a standby that takes its place', () => {
  test('every call is booked once, by the rule of the books', async (t) => {
    for (let number = 0; number < ROUNDS; number++) {
      await mock.clear();
      const primary = Postgres.start({ tcp: true });
      const standby = primary.standby();
      const fleet = await Fleet.start(mock, 2, CONFIG, { url: urlOfAll([primary.url, standby.url]) });
      const keys = ACCOUNTS.map((account) => fleet.gateways[0].member(account));
      await round(t, number, fleet, keys, new Map(), async ({ load }) => {
        await primary.kill();
        await standby.promote();
        await Promise.all(fleet.gateways.map((gateway) => load.served(gateway)));
        assert.equal(orphansOf(fleet), 0, 'nobody takes another for gone that was cut off like himself');
      });
      await fleet.stop();
      primary.remove();
      standby.remove();
    }
  });
});

describe('a primary that is killed while a commit waits for its standby', () => {
  let primary;
  let standby;
  let fleet;
  before(async () => {
    await mock.clear();
    primary = Postgres.start({ tcp: true });
    standby = primary.standby();
    fleet = await Fleet.start(mock, 1, { ...CONFIG, lease: '10s' }, { url: primary.url });
  });
  after(async () => {
    standby?.resume();
    await fleet?.stop();
    primary?.remove();
    standby?.remove();
  });

  test('the call does not go out before the standby has its hold', async () => {
    const [gateway] = fleet.gateways;
    const key = gateway.member('ada');
    const limit = ownLimit();
    const waits = () =>
      until('a commit waits', () => primary.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").length, 10_000 * SLOW);
    standby.pause();
    const call = sendKept(gateway, key, callOf('chat', 'gpt-live', { limit }));
    await waits();
    await primary.kill();
    await primary.launch();
    await waits();
    assert.deepEqual(await mock.journal(), [], 'the primary alone has the hold');
    standby.resume();
    const answer = await call;
    assert.ok([200, 503].includes(answer.status), answer.text);
    await fleet.assertBooks(new Map([[limit, Math.floor(Buffer.byteLength(answer.events.text()) / 4)]]));
  });
});
