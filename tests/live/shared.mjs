// Several gateways on one PostgreSQL store, each with a way of its own to the database that can be disturbed.
import assert from 'node:assert/strict';
import http from 'node:http';

import { Gateway, SLOW, ask, compareBooks, numbers, run } from './harness.mjs';
import { Link, dropDatabase } from './postgres.mjs';

/** What is silent for so long is over, and half as long again is left to it before its calls are booked. */
export const LEASE_MS = 2000;
export const GRACE_MS = LEASE_MS + LEASE_MS / 2;

export class Fleet {
  /**
   * `count` gateways of one configuration on an empty database of `server`. `url`: of the database, where it is
   * not behind links (several servers, say).
   */
  static async start(mock, count, config, { server, url } = {}) {
    const fleet = new Fleet();
    fleet.server = server;
    fleet.database = url ?? server.database();
    fleet.mock = mock;
    fleet.config = { lease: `${LEASE_MS / 1000}s`, ...config };
    fleet.links = [];
    fleet.gateways = [];
    for (let i = 0; i < count; i++) {
      fleet.links.push(url ? null : await Link.to(server));
    }
    /* At once: whoever comes first makes the schema. */
    fleet.gateways = await Promise.all(
      fleet.links.map((link, i) => fleet.gateway(`gateway-${'abc'[i]}`, { link })),
    );
    return fleet;
  }

  /** One more on the same database, which is the caller's to stop. `config`: what differs; `options`: of launch. */
  async gateway(node, { link, config = {}, ...options } = {}) {
    const own = { store: link ? link.url(this.database) : this.database, node };
    const gateway = await Gateway.start(this.mock, { ...this.config, ...own, ...config }, options);
    gateway.store = this.database; // rows are read beside the link
    gateway.link = link;
    gateway.agent = new http.Agent({ keepAlive: true });
    return gateway;
  }

  /** Ends all, in order; the first trouble is told once nothing runs any more. */
  async stop() {
    const ends = await Promise.allSettled(this.gateways.map((gateway) => gateway.stop()));
    for (const gateway of this.gateways) {
      gateway.agent.destroy();
      await gateway.link?.end();
    }
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed) {
      throw failed.reason;
    }
    if (this.server) {
      dropDatabase(this.database);
    }
  }

  /** Waits until no hold is open, at the latest when whoever is gone has been replaced. */
  async booked(limit_ms = (GRACE_MS + 3000) * SLOW) {
    await this.gateways[0].booked(limit_ms).catch((error) => {
      const open = this.gateways[0].rows('SELECT hold_id, node_id, created_ms FROM hold ORDER BY hold_id');
      const nodes = this.gateways[0].rows('SELECT node_id, name, lease_until_ms FROM node ORDER BY node_id');
      throw new Error(`${error.message}\nopen: ${JSON.stringify(open)}\nnodes: ${JSON.stringify(nodes)}`);
    });
  }

  /** What the books have of calls is what the provider's journal has, by DESIGN section 4's rule. */
  async assertBooks(received) {
    const journal = await this.mock.settled(20_000 * SLOW);
    await this.booked();
    const rows = await this.awake().ledger();
    assertOnce(rows);
    compareBooks(rows, journal, received);
    return rows;
  }

  /** One that can be asked. */
  awake() {
    return this.gateways.find((gateway) => !gateway.program.how);
  }

  /** The audit of the store finds nothing, running as it is. */
  assertSound() {
    const done = run(['check', '--store', this.database, '--json'], { limit_ms: 60_000 * SLOW });
    assert.equal(done.code, 0, `check --store: ${done.err}${done.out}`);
    assert.equal(JSON.parse(done.out).ok, true, done.out);
  }

  /** Meters of cost hold what the ledger says of their subject, and no meter holds anything. */
  async assertMeters(limit) {
    const gateway = this.awake();
    const spent = new Map();
    for (const row of await gateway.ledger()) {
      if (row.hold && row.cost_micros > 0) {
        spent.set(row.account, (spent.get(row.account) ?? 0) + row.cost_micros);
      }
    }
    const { meters } = await gateway.admin('/api/admin/limits');
    for (const meter of meters) {
      assert.equal(meter.held, 0, `nothing is held: ${JSON.stringify(meter)}`);
    }
    const own = meters.filter((meter) => meter.limit === limit && meter.account && meter.used > 0);
    assert.deepEqual(
      Object.fromEntries(own.map((meter) => [meter.account, meter.used]).sort()),
      Object.fromEntries([...spent].sort()),
      `what accounts have spent, as of their meters of ${limit} and of the ledger`,
    );
  }
}

/** Each row of the ledger has an id of its own, and each attempt of a call one row that ends it. */
export function assertOnce(rows) {
  assert.equal(new Set(rows.map((row) => row.row)).size, rows.length, 'ids of rows are never given twice');
  const seen = new Map();
  for (const row of rows.filter((one) => one.hold && one.kind !== 'adjust')) {
    const attempt = `${row.hold} attempt ${row.attempt}`;
    assert.ok(!seen.has(attempt), `${attempt} is booked twice: ${JSON.stringify([seen.get(attempt), row])}`);
    seen.set(attempt, row);
  }
}

/** The epoch that wrote a row, or made a hold, of this number. */
export const epochOf = (id) => Number(BigInt(String(id).replace(/^\D+/, '')) >> 43n);

/** The epoch that a gateway runs under now. */
export async function ownEpoch(gateway) {
  const status = await gateway.admin('/api/v1/status');
  return Number(status.nodes.find((node) => node.this).epoch);
}

/** One number of a gateway's /metrics. */
export async function numberOf(gateway, name) {
  return (await numbers(gateway)).get(name) ?? 0;
}

/** Sends a call of callOf() over a connection that is kept. */
export function sendKept(gateway, key, call, options = {}) {
  return ask(gateway.url + call.path, {
    key,
    body: call.body,
    agent: gateway.agent,
    ...options,
    headers: { ...call.headers, ...options.headers },
  });
}

