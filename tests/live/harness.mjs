// What every live test starts from: a simulated provider and a gateway of its own, both the real
// binary, accounts made through the command line, and the questions that are asked of them
// afterwards. Whatever is started here dies with this process, and everything waits a bounded time.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export { sleep };

const ROOT = process.env.TIDEGATE_SOURCE_ROOT ?? path.resolve(import.meta.dirname, '../..');
export const BIN = process.env.TIDEGATE_BIN ?? path.join(ROOT, 'build/tidegate');
export const ASAN = process.env.TIDEGATE_ASAN === '1';
export const LONG = Boolean(process.env.TIDEGATE_LONG);
const LOGS = process.env.TIDEGATE_LOGS;

/** Waits are written for the plain binary; sanitizers and a busy machine take longer. */
export const SLOW = ASAN ? 4 : 1;
const START_MS = 10_000 * SLOW;
const STOP_MS = 10_000 * SLOW;

// ---- processes ----

const children = new Set();

function killAll() {
  for (const child of children) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
    }
  }
}
process.on('exit', killAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    killAll();
    process.exit(1);
  });
}

/** Waits until `probe` gives something true, and gives that. */
export async function until(what, probe, limit_ms = 5000 * SLOW, pause_ms = 10) {
  const end = Date.now() + limit_ms;
  let last;
  for (;;) {
    try {
      last = undefined;
      const found = await probe();
      if (found) {
        return found;
      }
    } catch (error) {
      if (error.fatal) {
        throw error;
      }
      last = error;
    }
    if (Date.now() > end) {
      throw new Error(`waited ${limit_ms} ms in vain: ${what}${last ? ` (${last.message})` : ''}`);
    }
    await sleep(pause_ms);
  }
}

/** One process of the binary, with all it says. */
export class Program {
  constructor(name, args, { env = {}, cwd } = {}) {
    this.name = name;
    this.out = '';
    this.err = '';
    this.child = spawn(BIN, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.add(this.child);
    /* What a failed test has left running must not keep this process: it dies at its exit. */
    this.child.unref();
    this.child.stdout.unref();
    this.child.stderr.unref();
    this.child.stdout.setEncoding('utf8').on('data', (text) => (this.out += text));
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.err += text));
    this.ended = new Promise((resolve) => {
      this.child.on('error', (error) => resolve({ code: null, signal: null, error }));
      this.child.on('close', (code, signal) => {
        children.delete(this.child);
        resolve({ code, signal });
      });
    });
    this.ended.then((how) => (this.how = how));
  }

  alive() {
    if (this.how) {
      const how = this.how.error?.message ?? this.how.signal ?? `exit code ${this.how.code}`;
      throw Object.assign(new Error(`${this.name} ended (${how}):\n${this.err.slice(-4000)}`), { fatal: true });
    }
    return true;
  }

  /** Ends it; gives {code, signal}. What does not end in time is killed and said. */
  end(signal = 'SIGTERM', limit_ms = STOP_MS) {
    if (!this.how) {
      this.child.kill(signal);
    }
    return this.over(limit_ms);
  }

  /** Waits for its end. */
  async over(limit_ms = STOP_MS) {
    if (!this.how) {
      const late = Symbol('late');
      const timer = new AbortController();
      const how = await Promise.race([
        this.ended,
        sleep(limit_ms, late, { signal: timer.signal }).catch(() => late),
      ]);
      timer.abort();
      if (how === late) {
        this.child.kill('SIGKILL');
        await this.ended;
        throw new Error(`${this.name} did not end within ${limit_ms} ms:\n${this.err.slice(-4000)}`);
      }
    }
    return this.how;
  }
}

/** Runs the binary to its end; gives {code, out, err}. */
export function run(args, { env = {}, cwd, limit_ms = 20_000 * SLOW } = {}) {
  const done = spawnSync(BIN, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: limit_ms,
    maxBuffer: 256 << 20,
  });
  if (done.error) {
    throw done.error;
  }
  return { code: done.status, signal: done.signal, out: done.stdout, err: done.stderr };
}

export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

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

// ---- money ----

/** What the models of these tests cost, in micro-USD per million tokens. */
export const PRICE = {
  input: 3_000_000n,
  cache_read: 300_000n,
  cache_write_5m: 3_750_000n,
  cache_write_1h: 6_000_000n,
  output: 15_000_000n,
};
export const PRICE_YAML = {
  input: '3 USD',
  output: '15 USD',
  cache_read: '0.30 USD',
  cache_write: '3.75 USD',
  cache_write_1h: '6 USD',
};

/** Micro-USD of a bill of the journal, rounded up once. */
export function priced(bill) {
  let sum = 0n;
  for (const [kind, price] of Object.entries(PRICE)) {
    sum += BigInt(bill[kind] ?? 0) * price;
  }
  return Number((sum + 999_999n) / 1_000_000n);
}

// ---- the gateway ----

export const PROVIDER_SECRETS = {
  LIVE_OPENAI_KEY: 'sk-company-openai-4f1e9a77',
  LIVE_ANTHROPIC_KEY: 'sk-ant-company-8c02d6b1',
  LIVE_SECOND_KEY: 'sk-company-second-13aa90fe',
};

/** Providers on the mock: `openai` and `anthropic` stop billing on abort, `bills-*` do not. */
export function providersOn(mock) {
  const openai = { dialect: 'openai', apis: ['chat', 'responses'], base_url: `${mock.url}/v1` };
  const anthropic = { dialect: 'anthropic', base_url: mock.url };
  const of = (env) => ({ company: { env } });
  return {
    openai: { ...openai, on_abort: 'stops', credentials: of('LIVE_OPENAI_KEY') },
    anthropic: { ...anthropic, on_abort: 'stops', credentials: of('LIVE_ANTHROPIC_KEY') },
    second: { ...openai, on_abort: 'stops', credentials: of('LIVE_SECOND_KEY') },
    'bills-openai': { ...openai, on_abort: 'bills_all', credentials: of('LIVE_OPENAI_KEY') },
    'bills-anthropic': { ...anthropic, on_abort: 'bills_all', credentials: of('LIVE_ANTHROPIC_KEY') },
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
  /** `config`: options of the file, over what every test needs. */
  static async start(mock, config = {}) {
    const gateway = new Gateway();
    gateway.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-live-'));
    gateway.control = path.join(gateway.dir, 'control.sock');
    gateway.store = path.join(gateway.dir, 'books.db');
    gateway.file = path.join(gateway.dir, 'tidegate.yaml');
    gateway.secrets = new Set(Object.values(PROVIDER_SECRETS));
    gateway.told = ''; // all that its processes have said
    gateway.port = await freePort();
    gateway.url = `http://127.0.0.1:${gateway.port}`;
    gateway.config = {
      listen: `127.0.0.1:${gateway.port}`,
      store: `sqlite:${gateway.store}`,
      control: gateway.control,
      loops: 2,
      providers: providersOn(mock),
      ...config,
    };
    gateway.write();
    await gateway.launch();
    return gateway;
  }

  /** JSON is YAML. */
  write() {
    fs.writeFileSync(this.file, `${JSON.stringify(this.config, null, 1)}\n`);
  }

  async launch() {
    this.program = new Program('tidegate serve', ['serve', '--config', this.file], {
      env: PROVIDER_SECRETS,
      cwd: this.dir,
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
  }

  /** Ends it as an operator does: it must go by itself, with 0, and have told no secret. */
  async stop() {
    const how = await this.program.end('SIGTERM', 15_000 * SLOW);
    this.#keep();
    assert.deepEqual(how, { code: 0, signal: null }, `the gateway ends well:\n${this.told.slice(-4000)}`);
    this.assertNoSecret();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  /** All that the gateway has said so far. */
  log() {
    return this.told + this.program.out + this.program.err;
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
    const done = spawnSync('sqlite3', ['-readonly', '-json', '-cmd', '.timeout 5000', this.store, sql], {
      encoding: 'utf8',
      timeout: 20_000 * SLOW,
      maxBuffer: 256 << 20,
    });
    assert.equal(done.status, 0, `sqlite3: ${done.error?.message ?? done.stderr}`);
    return done.stdout.trim() ? JSON.parse(done.stdout) : [];
  }

  openHolds() {
    return this.rows('SELECT hold_id FROM hold').length;
  }

  /** Waits until every call has been booked. */
  async booked(limit_ms) {
    await until('no hold is open', () => this.openHolds() === 0, limit_ms, 20);
  }

  /** One question to the control socket; gives its JSON. */
  async admin(where, method = 'GET', body) {
    const answer = await ask({ socketPath: this.control, path: where }, { method, body });
    assert.ok(answer.status >= 200 && answer.status < 300 && answer.json, `${method} ${where}: ${answer.status} ${answer.text} ${answer.error}`);
    return answer.json;
  }

  /** All rows of the ledger with their inputs, oldest first; `hold` is the request of a call. */
  async ledger(filter = {}) {
    const rows = [];
    for (let before = null; ; ) {
      const query = new URLSearchParams({ limit: 10_000, inputs: true, ...filter, ...(before && { before }) });
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

// ---- one request over HTTP ----

/** Takes an event stream apart: events {name, data}, comments, and how it stands. */
export class Events {
  constructor() {
    this.list = [];
    this.comments = [];
    this.rest = '';
  }

  feed(text) {
    this.rest += text;
    for (let end; (end = /\r?\n\r?\n/.exec(this.rest)); ) {
      this.#block(this.rest.slice(0, end.index));
      this.rest = this.rest.slice(end.index + end[0].length);
    }
  }

  #block(block) {
    const event = { name: '', data: '' };
    for (const line of block.split(/\r?\n/)) {
      if (line.startsWith(':')) {
        this.comments.push(line.slice(1).trim());
      } else if (line.startsWith('event:')) {
        event.name = line.slice(6).trim();
      } else if (line.startsWith('data:')) {
        event.data += line.slice(5).trim();
      }
    }
    if (event.data || event.name) {
      event.json = event.data.startsWith('{') ? JSON.parse(event.data) : null;
      this.list.push(event);
    }
  }

  /** The text that a person was shown, of any dialect. */
  text() {
    return this.list
      .map(({ json }) =>
        json?.choices?.[0]?.delta?.content
        ?? (json?.type === 'response.output_text.delta' ? json.delta : null)
        ?? (json?.type === 'content_block_delta' ? json.delta.text : null)
        ?? '')
      .join('');
  }
}

/**
 * Sends one request; gives {status, headers, text, json, events, clean}. `clean`: the answer came to
 * its end as HTTP has it. `onEvent(events, request)` is called after each piece of a stream.
 */
export function ask(url, { method = 'POST', key, headers = {}, body, agent, onEvent, limit_ms = 30_000 * SLOW } = {}) {
  const payload = body === undefined || typeof body === 'string' || Buffer.isBuffer(body)
    ? body
    : JSON.stringify(body);
  return new Promise((resolve) => {
    const answer = { status: 0, headers: {}, text: '', events: new Events(), clean: false };
    const request = http.request(...(typeof url === 'string' ? [url] : []), {
      ...(typeof url === 'string' ? {} : url),
      method,
      agent: agent ?? false,
      headers: {
        ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
        ...(key ? { authorization: `Bearer ${key}` } : {}),
        ...headers,
      },
    });
    const timer = setTimeout(() => request.destroy(new Error(`no end after ${limit_ms} ms`)), limit_ms);
    const finish = (error) => {
      clearTimeout(timer);
      answer.error = error;
      answer.request_id = answer.headers['x-request-id'];
      try {
        answer.json = JSON.parse(answer.text);
      } catch {
        answer.json = null;
      }
      resolve(answer);
    };
    request.on('error', finish);
    request.on('response', (response) => {
      answer.status = response.statusCode;
      answer.headers = response.headers;
      const stream = /event-stream/.test(response.headers['content-type'] ?? '');
      response.setEncoding('utf8');
      response.on('data', (text) => {
        answer.text += text;
        if (stream) {
          answer.events.feed(text);
          onEvent?.(answer.events, request);
        }
      });
      response.on('error', finish);
      response.on('end', () => {
        answer.clean = response.complete;
        finish();
      });
    });
    request.end(payload);
  });
}

export const API_PATHS = {
  chat: '/v1/chat/completions',
  responses: '/v1/responses',
  messages: '/v1/messages',
};

/** A small call of one API: {path, body, headers}. */
export function callOf(api, model, { stream = false, limit = 100, text = 'hello', more = {} } = {}) {
  switch (api) {
    case 'chat':
      return {
        path: API_PATHS.chat,
        headers: {},
        body: { model, stream, max_completion_tokens: limit, messages: [{ role: 'user', content: text }], ...more },
      };
    case 'responses':
      return {
        path: API_PATHS.responses,
        headers: {},
        body: { model, stream, max_output_tokens: limit, input: text, ...more },
      };
    case 'messages':
      return {
        path: API_PATHS.messages,
        headers: { 'anthropic-version': '2023-06-01' },
        body: { model, stream, max_tokens: limit, messages: [{ role: 'user', content: text }], ...more },
      };
    default:
      throw new Error(`no api ${api}`);
  }
}

/** Sends a call of callOf(). */
export function send(gateway, key, call, options = {}) {
  return ask(gateway.url + (options.path ?? call.path), {
    key,
    body: call.body,
    ...options,
    headers: { ...call.headers, ...options.headers },
  });
}

// ---- raw bytes ----

/** A connection under byte control. */
export class Raw {
  static open(port) {
    return new Promise((resolve, reject) => {
      const raw = new Raw();
      raw.text = '';
      raw.closed = false;
      raw.socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      raw.socket.setNoDelay(true);
      raw.socket.setEncoding('latin1');
      raw.socket.on('data', (text) => (raw.text += text));
      raw.socket.on('end', () => (raw.closed = true));
      raw.socket.on('close', () => (raw.closed = true));
      raw.socket.on('error', (error) => {
        raw.closed = true;
        raw.error = error;
        reject(error);
      });
      raw.socket.on('connect', () => resolve(raw));
    });
  }

  write(bytes) {
    if (!this.socket.destroyed && this.socket.writable) {
      this.socket.write(bytes, 'latin1');
    }
  }

  fin() {
    this.socket.end();
  }

  statuses() {
    return [...this.text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((found) => Number(found[1]));
  }

  waitFor(what, probe, limit_ms = 5000 * SLOW) {
    return until(`${what}; so far: ${JSON.stringify(this.text.slice(-500))}`, () => probe(this), limit_ms, 5);
  }

  waitClosed(limit_ms) {
    return this.waitFor('the connection is closed', () => this.closed, limit_ms);
  }

  destroy() {
    this.socket.destroy();
  }
}

// ---- the books against the journal: DESIGN section 4 ----

const OUTPUT_PRICE = Number(PRICE.output);
const INPUT_PRICE = Number(PRICE.cache_write_1h); // the dearest that input can be
const costOf = (tokens, price) => Math.ceil((Math.max(0, tokens) * price) / 1_000_000);

/** Ledger rows by hold: {hold, rows, last, booked, limit, estimate...}. */
export function holdsOf(rows) {
  const holds = new Map();
  for (const row of rows) {
    if (!row.hold) {
      continue;
    }
    const hold = holds.get(row.hold) ?? { id: row.hold, rows: [], booked: 0 };
    hold.rows.push(row);
    hold.booked += row.cost_micros;
    if (row.inputs?.v) {
      hold.last = row;
      hold.limit = row.inputs.lowered_to >= 0 ? row.inputs.lowered_to : row.inputs.output_limit;
    }
    holds.set(row.hold, hold);
  }
  return [...holds.values()];
}

/**
 * Every call against what the provider would bill. Calls are told apart by their output limit, which
 * must be its own for each. `received`: tokens that the client of a limit got (Map), where the caller
 * knows. Throws with a line a call, every term of the rule in it.
 */
export function compareBooks(rows, journal, received = new Map()) {
  const calls = new Map();
  const callAt = (limit) => {
    if (!calls.has(limit)) {
      calls.set(limit, { limit, holds: [], entries: [] });
    }
    return calls.get(limit);
  };
  for (const hold of holdsOf(rows)) {
    callAt(hold.limit).holds.push(hold);
  }
  for (const entry of journal) {
    if (!entry.path.endsWith('/count_tokens') && entry.method === 'POST') {
      callAt(entry.limit).entries.push(entry);
    }
  }
  const lines = [];
  const wrong = [];
  for (const call of [...calls.values()].sort((a, b) => a.limit - b.limit)) {
    const told = judgeCall(call, received.get(call.limit));
    lines.push(told.line);
    if (told.faults.length) {
      wrong.push(`${told.line}\n    ${told.faults.join('\n    ')}`);
    }
  }
  if (wrong.length) {
    assert.fail(`${wrong.length} of ${lines.length} calls break the rule of the books:\n  ${wrong.join('\n  ')}`);
  }
  return lines;
}

const inputOf = (usage) => usage.input + usage.cache_read + usage.cache_write_5m + usage.cache_write_1h;

function judgeCall({ limit, holds, entries }, received) {
  const faults = [];
  const journal = entries.reduce((sum, entry) => sum + priced(entry.bill), 0);
  const written = entries.reduce((sum, entry) => sum + entry.bill.output, 0);
  const real_input = entries.reduce((sum, entry) => sum + inputOf(entry.bill), 0);
  const booked = holds.reduce((sum, hold) => sum + hold.booked, 0);
  const line = `limit ${limit}: holds ${holds.map((hold) => `${hold.id}[${hold.rows.map((row) => row.kind)}]`).join(' ') || 'none'}, `
    + `booked ${booked}, journal ${journal} (input ${real_input}, output ${written}, `
    + `${entries.map((entry) => (entry.finished ? 'finished' : entry.gone ? 'gone' : entry.cut ? 'cut' : 'other')).join(' ') || 'never there'})`
    + `, received ${received ?? 'unknown'}`;
  if (holds.length === 0) {
    faults.push('the provider was asked, and the books do not know of it');
    return { line, faults };
  }
  if (holds.length > 1) {
    faults.push('one call has several holds');
  }
  const [hold] = holds;
  const ends = hold.rows.filter((row) => ['settle', 'release', 'orphan'].includes(row.kind)
    || (row.kind === 'unbilled' && row.attempt === hold.last?.attempt));
  if (ends.length !== 1) {
    faults.push(`the hold is resolved ${ends.length} times`);
    return { line, faults };
  }
  const [end] = ends;
  const estimated = end.flags.includes('estimated') || end.kind === 'orphan';
  const given_up = hold.rows.length - 1;
  if (entries.length > given_up + 1) {
    faults.push(`the provider was asked ${entries.length} times, booked are ${given_up + 1} attempts`);
  }
  if (end.kind === 'release' && entries.some((entry) => !entry.cut && entry.status !== 0)) {
    faults.push('booked as never sent, and the provider answered');
  }
  if (!estimated) {
    if (booked !== journal) {
      faults.push(`finished, so the books must be the journal to the micro: off by ${booked - journal}`);
    }
    return { line, faults };
  }
  const est_input = end.kind === 'orphan' ? end.inputs.input : inputOf(end.usage);
  const held_output = end.kind === 'orphan'
    ? Math.floor((end.cost_micros * 1_000_000 - est_input * INPUT_PRICE) / OUTPUT_PRICE)
    : end.usage.output;
  const input_term = costOf(real_input - est_input, INPUT_PRICE);
  const output_term = costOf(written - Math.max(held_output, received ?? 0), OUTPUT_PRICE);
  const terms = `booked ${booked}, bound ${end.bound_micros}, input ${est_input} for ${real_input} (${input_term} micros), `
    + `output booked ${held_output}, written ${written} (${output_term} micros)`;
  if (booked > end.bound_micros) {
    faults.push(`booked above the bound: ${terms}`);
  }
  if (journal - booked > input_term + output_term + 1) {
    faults.push(`booked too little: ${terms}`);
  }
  if (received !== undefined && received > held_output && end.kind !== 'release') {
    faults.push(`the client got ${received} tokens and the books have ${held_output}`);
  }
  return { line: `${line}, ${terms}`, faults };
}

let last_limit = 1000;
/** An output limit that no other call of this file has: what tells calls apart in the books. */
export function ownLimit() {
  return ++last_limit;
}

/** Waits until everything is booked, then compares all that was booked with the whole journal. */
export async function assertBooks(gateway, mock, received) {
  const journal = await mock.settled();
  await gateway.booked();
  return compareBooks(await gateway.ledger(), journal, received);
}
