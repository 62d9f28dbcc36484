// What every live test starts from: a simulated provider and a gateway of its own, both the real
// binary, accounts made through the command line, and the questions that are asked of them
// afterwards. The other modules of this folder are passed on: tests import from here alone.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { PRICE_YAML } from './books.mjs';
import { ask } from './client.mjs';
import { dropDatabase, freshDatabase, isPostgres, queryOf } from './postgres.mjs';
import { Program, SLOW, freePort, run, until } from './process.mjs';
import { ON_POSTGRES, SHARED_STORE } from './stores.mjs';

export * from './books.mjs';
export * from './client.mjs';
export * from './process.mjs';
export * from './stores.mjs';

const LOGS = process.env.TIDEGATE_LOGS;
const START_MS = 10_000 * SLOW;
const BOOKED_MS = (ON_POSTGRES ? 15_000 : 5_000) * SLOW; // a lease of the dead, and the grace after it

// ---- the simulated provider ----

export class Mock {
  static async start(words) {
    const mock = new Mock();
    mock.program = new Program('tidegate mock', ['mock', ...(words ? ['--behave', words] : [])]);
    mock.url = await until(
      'the mock listens',
      () => mock.program.alive() && /listening on (http:\S+)/.exec(mock.program.out)?.[1],
      START_MS,
    );
    mock.port = Number(new URL(mock.url).port);
    return mock;
  }

  async #ask(method, where, body) {
    const answer = await fetch(this.url + where, {
      method,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(20_000 * SLOW),
    });
    const text = await answer.text();
    assert.equal(answer.status, 200, `${method} ${where}: ${text}`);
    return JSON.parse(text);
  }

  /** Every request that arrived, oldest first; `limit` is the output limit of its body. */
  async journal() {
    const entries = await this.#ask('GET', '/_mock/journal?bodies=1');
    for (const entry of entries) {
      let body = {};
      try {
        body = JSON.parse(entry.body ?? '{}');
      } catch {
        /* a body that is no JSON has no limit */
      }
      entry.limit = body.max_output_tokens ?? body.max_completion_tokens ?? body.max_tokens ?? null;
    }
    return entries;
  }

  /** The model calls of the journal once none of them is open any more. */
  async settled(limit_ms) {
    return until(
      'no call is open at the provider',
      async () => {
        const entries = await this.journal();
        return entries.every((entry) => !entry.open) && entries;
      },
      limit_ms,
    );
  }

  clear() {
    return this.#ask('DELETE', '/_mock/journal');
  }

  /** How models are answered: {name: 'key=value,...' | null}. */
  models(models) {
    return this.#ask('POST', '/_mock/config', { models });
  }

  configure(config) {
    return this.#ask('POST', '/_mock/config', config);
  }

  stop() {
    return this.program.end();
  }
}

// ---- the gateway ----

/** All numbers of /metrics: Map of `name{labels}` without the prefix. */
export async function numbers(gateway) {
  const answer = await ask({ socketPath: gateway.control, path: '/metrics' }, { method: 'GET' });
  assert.equal(answer.status, 200, answer.text);
  return new Map(
    [...answer.text.matchAll(/^tidegate_(\S+) (\d+)$/gm)].map(([, name, value]) => [name, Number(value)]),
  );
}

export const PROVIDER_SECRETS = {
  LIVE_OPENAI_KEY: 'sk-company-openai-4f1e9a77',
  LIVE_ANTHROPIC_KEY: 'sk-ant-company-8c02d6b1',
  LIVE_SECOND_KEY: 'sk-company-second-13aa90fe',
};

/**
 * Providers on the mock: `openai` and `anthropic` stop billing on abort, `bills-*` do not. Faults of one test
 * must not cool a route down for the next one.
 */
export function providersOn(mock) {
  const openai = {
    dialect: 'openai',
    apis: ['chat', 'responses'],
    base_url: `${mock.url}/v1`,
    cooldown_after: 0,
  };
  const anthropic = { dialect: 'anthropic', base_url: mock.url, cooldown_after: 0 };
  const of = (env) => ({ company: { env } });
  return {
    openai: { ...openai, on_abort: 'stops', credentials: of('LIVE_OPENAI_KEY') },
    anthropic: { ...anthropic, on_abort: 'stops', credentials: of('LIVE_ANTHROPIC_KEY') },
    second: { ...openai, on_abort: 'stops', credentials: of('LIVE_SECOND_KEY') },
    'bills-openai': { ...openai, on_abort: 'bills_all', credentials: of('LIVE_OPENAI_KEY') },
    'bills-anthropic': {
      ...anthropic,
      on_abort: 'bills_all',
      credentials: of('LIVE_ANTHROPIC_KEY'),
    },
  };
}

/** Models by name: {name: provider | [[provider, upstream model], ...]}. */
export function modelsOn(models, more = {}) {
  const out = {};
  for (const [name, routes] of Object.entries(models)) {
    const list = typeof routes === 'string' ? [[routes, name]] : routes;
    out[name] = {
      price: PRICE_YAML,
      max_output: 128_000,
      context: 1_000_000,
      hidden_reasoning: false,
      routes: list.map(([provider, model]) => ({ provider, model })),
      ...more,
    };
  }
  return out;
}

export class Gateway {
  /** `config`: options of the file, over what every test needs; `options`: where it listens (`also`: beside that), and those of Program. */
  static async start(mock, config = {}, { host = '127.0.0.1', also = [], ...options } = {}) {
    const gateway = new Gateway();
    gateway.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-live-'));
    gateway.control = path.join(gateway.dir, 'control.sock');
    gateway.own_database = ON_POSTGRES && !config.store;
    gateway.store = gateway.own_database ? freshDatabase() : path.join(gateway.dir, 'books.db');
    gateway.file = path.join(gateway.dir, 'tidegate.yaml');
    gateway.secrets = new Set(Object.values(PROVIDER_SECRETS));
    gateway.told = ''; // all that its processes have said
    gateway.port = await freePort();
    gateway.url = `http://127.0.0.1:${gateway.port}`;
    gateway.config = {
      listen: also.length > 0 ? [`${host}:${gateway.port}`, ...also] : `${host}:${gateway.port}`,
      ...(gateway.own_database
        ? { store: gateway.store, ...SHARED_STORE }
        : { store: `sqlite:${gateway.store}` }),
      control: gateway.control,
      loops: 2,
      providers: providersOn(mock),
      ...config,
    };
    gateway.write();
    await gateway.launch(options);
    return gateway;
  }

  /** JSON is YAML. */
  write() {
    fs.writeFileSync(this.file, `${JSON.stringify(this.config, null, 1)}\n`);
  }

  /** `options`: of Program; `args`: more words of the command. */
  async launch({ args = [], ...options } = {}) {
    this.program = new Program('tidegate serve', ['serve', '--config', this.file, ...args], {
      env: PROVIDER_SECRETS,
      cwd: this.dir,
      ...options,
    });
    await until(
      'the gateway is ready',
      async () => {
        this.program.alive();
        const answer = await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(2000) });
        await answer.text();
        return answer.status === 200;
      },
      START_MS,
    );
  }

  #keep() {
    this.told += this.program.out + this.program.err;
    if (LOGS) {
      fs.mkdirSync(LOGS, { recursive: true });
      fs.writeFileSync(path.join(LOGS, `${path.basename(this.dir)}.log`), this.told);
    }
  }

  async kill() {
    await this.program.end('SIGKILL');
    this.#keep();
  }

  async restart() {
    await this.kill();
    await this.launch();
    await this.#alone();
  }

  /** On a shared store one that was killed counts until its lease is over. */
  async #alone() {
    const now_ms = 'extract(epoch FROM clock_timestamp()) * 1000';
    const nodes = () => this.rows(`SELECT node_id FROM node WHERE lease_until_ms > ${now_ms}`);
    await until('it is alone on its store', () => !ON_POSTGRES || nodes().length === 1, BOOKED_MS, 50);
  }

  /** Ends it as an operator does: it must go by itself, with 0, and have told no secret. */
  async stop() {
    const how = await this.program.end('SIGTERM', 15_000 * SLOW);
    this.#keep();
    assert.deepEqual(
      how,
      { code: 0, signal: null },
      `the gateway ends well:\n${this.told.slice(-4000)}`,
    );
    this.assertNoSecret();
    if (this.own_database) {
      dropDatabase(this.store);
    }
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  /** All that the gateway has said so far. */
  log() {
    return this.told + this.program.out + this.program.err;
  }

  /** What it says may be read here later than an answer that it gave afterwards. */
  async says(pattern) {
    await until(`the log says ${pattern}`, () => pattern.test(this.log()));
  }

  assertNoSecret() {
    const log = this.log();
    for (const secret of this.secrets) {
      assert.ok(!log.includes(secret), `a log line holds the secret ${secret.slice(0, 12)}...`);
    }
  }

  /** A command of the control socket; gives its JSON. */
  command(...args) {
    const done = run([...args, '--control', this.control, '--json'], { cwd: this.dir });
    assert.equal(done.code, 0, `tidegate ${args.join(' ')}: ${done.err}${done.out}`);
    return JSON.parse(done.out);
  }

  addAccount(name, ...options) {
    return this.command('account', 'add', name, ...options);
  }

  /** A new key: {secret, id}. */
  addKey(account, ...options) {
    const made = this.command('key', 'add', account, ...options);
    this.secrets.add(made.key);
    return { secret: made.key, id: made.id };
  }

  /** A new account with one key: its secret. */
  member(name, ...options) {
    this.addAccount(name, ...options);
    return this.addKey(name).secret;
  }

  /** Rows of the store itself, read beside the gateway. */
  rows(sql) {
    if (isPostgres(this.store)) {
      return queryOf(this.store, sql);
    }
    const done = spawnSync(
      'sqlite3',
      ['-readonly', '-json', '-cmd', '.timeout 5000', this.store, sql],
      {
        encoding: 'utf8',
        timeout: 20_000 * SLOW,
        maxBuffer: 256 << 20,
      },
    );
    assert.equal(done.status, 0, `sqlite3: ${done.error?.message ?? done.stderr}`);
    return done.stdout.trim() ? JSON.parse(done.stdout) : [];
  }

  openHolds() {
    return this.rows('SELECT hold_id FROM hold').length;
  }

  /** Waits until every call has been booked, those of a gateway that was killed too. */
  async booked(limit_ms = BOOKED_MS) {
    await until('no hold is open', () => this.openHolds() === 0, limit_ms, 20);
  }

  /** One question to the control socket; gives its JSON. */
  async admin(where, method = 'GET', body) {
    const answer = await ask({ socketPath: this.control, path: where }, { method, body });
    assert.ok(
      answer.status >= 200 && answer.status < 300 && answer.json,
      `${method} ${where}: ${answer.status} ${answer.text} ${answer.error}`,
    );
    return answer.json;
  }

  /** All rows of the ledger with their inputs, oldest first; `hold` is the request of a call. */
  async ledger(filter = {}) {
    const rows = [];
    for (let before = null; ;) {
      const query = new URLSearchParams({
        limit: 10_000,
        inputs: true,
        ...filter,
        ...(before && { before }),
      });
      const page = await this.admin(`/api/admin/ledger?${query}`);
      rows.push(...page.rows);
      before = page.next_before;
      if (!before) {
        break;
      }
    }
    return rows.reverse().map((row) => ({ ...row, hold: row.usage ? row.request : null }));
  }

  /** The rows of one request, by its x-request-id. */
  async rowsOf(request_id) {
    return this.ledger({ id: request_id });
  }
}
