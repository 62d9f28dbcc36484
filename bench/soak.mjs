// The soak: many streams and short calls at once against a gateway and the simulated provider, for as long
// as it takes, with clients that leave, slow readers, faults of the provider, reloads and scrapes.
//
//     node bench/soak.mjs [--minutes 30] [--streams 2000] [--rate 500] [--write] BUILD-FOLDER
//
// Held at the end: memory and descriptors flat (judgeFlat), no hold open, every call's books equal to the provider's
// journal by the rule of tests/live/books.mjs, no status that its kind of call may not have, no connection
// lost. KINDS is the list of what is sent; the generator is bench/load_soak.c.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const options = { minutes: 30, streams: 2000, rate: 500, write: false, build: '' };
for (let i = 2; i < process.argv.length; i++) {
  const word = process.argv[i];
  if (['--minutes', '--streams', '--rate'].includes(word)) {
    const number = Number(process.argv[++i]);
    if (!(number > 0)) {
      console.error(`soak: ${word} wants a number`);
      process.exit(2);
    }
    options[word.slice(2)] = number;
  } else if (word === '--write') {
    options.write = true;
  } else if (word.startsWith('-')) {
    console.error(`soak knows --minutes N, --streams N, --rate N and --write, not ${word}`);
    process.exit(2);
  } else {
    options.build = path.resolve(word);
  }
}
process.env.TIDEGATE_BIN = path.join(options.build, 'tidegate');
const { Gateway, PRICE_YAML, PROVIDER_SECRETS, ask, compareBooks, freePort, run, until } =
  await import('../tests/live/harness.mjs');

const SAMPLE_MS = Math.min(10_000, (options.minutes * 60_000) / 30);
const RELOAD_MS = Math.min(30_000, (options.minutes * 60_000) / 4);
const SCRAPE_MS = 5000;
const SPAN = 50_000; // calls of one kind until the next model takes over
const SECONDS = options.minutes * 60;

// ---- what is sent ----

/* Of accounts and keys: [first key, keys, plan]. */
const GROUPS = {
  many: { keys: 48, plan: 'wide' },
  spent: { keys: 2, plan: 'spent' },
  paced: { keys: 2, plan: 'paced' },
  narrow: { keys: 2, plan: 'narrow' },
  stranger: { keys: 1 },
};

const short = (weight, words, more = {}) => ({
  slot: 'short', weight, words, api: 'chat', stream: false, from: 100, bytes: 900, expect: [200], ...more,
});
const stream = (weight, words, more = {}) => ({
  ...short(weight, words), slot: 'stream', stream: true, from: 9000, bytes: 4000, ...more,
});
/* What a gateway may answer when its only provider fails: the error as it came, its own, or none to try now. */
const FAILED = [402, 429, 500, 502, 503, 504, 529];
const leaves = (of_1000, max) => ({ leave: of_1000, leave_max: max });

/* Name: how often, how the provider behaves, and what its clients do. */
const KINDS = {
  'short-chat': short(560, 'tokens=20'),
  'short-responses': short(100, 'tokens=20', { api: 'responses' }),
  'short-messages': short(100, 'tokens=20', { api: 'messages' }),
  'short-late': short(40, 'tokens=20,ttft_ms=300', leaves(150, 400)),
  'short-large': short(10, 'tokens=900', { bytes: 120_000, from: 1000 }),
  'short-spent': short(30, 'tokens=20', { keys: 'spent', expect: [200, 402, 429] }),
  'short-paced': short(30, 'tokens=20', { keys: 'paced', expect: [200, 429] }),
  'short-narrow': short(20, 'tokens=20,ttft_ms=400', { keys: 'narrow', expect: [200, 429] }),
  'short-stranger': short(5, 'tokens=20', { keys: 'stranger', expect: [401, 429] }),
  'short-500': short(10, 'status=500', { expect: FAILED }),
  'short-429': short(10, 'status=429,retry_after=1', { expect: FAILED }),
  'short-504-billed': short(5, 'status=504,bill_failed=1', { expect: FAILED }),
  'short-html': short(5, 'html=1', { expect: FAILED }),
  'short-torn': short(5, 'status=502,error=torn_json', { expect: FAILED }),
  'short-cut-before': short(5, 'cut_before=1', { expect: FAILED }),
  'short-refuse': short(5, 'refuse=1', { expect: FAILED }),
  'short-cut': short(10, 'tokens=40,cut_after=10', { expect: FAILED }),
  'short-no-usage': short(10, 'tokens=20,usage=0'),
  'short-bad-usage': short(10, 'tokens=20,usage=malformed'),
  'short-gzip': short(5, 'tokens=20,gzip=1', { expect: [200, ...FAILED] }),
  'stream-chat': stream(300, 'tokens=60,tps=3', leaves(150, 60)),
  'stream-responses': stream(150, 'tokens=60,tps=3', { api: 'responses', ...leaves(150, 60) }),
  'stream-messages': stream(150, 'tokens=60,tps=3', { api: 'messages', ...leaves(150, 60) }),
  'stream-quick': stream(80, 'tokens=200,tps=20', leaves(100, 200)),
  'stream-steps': stream(30, 'tokens=4000,tps=150,per_event=50'),
  'stream-billed-on': stream(60, 'tokens=60,tps=3,bill_after_cut=1', { bills: true, ...leaves(500, 60) }),
  'stream-hidden': stream(30, 'tokens=40,tps=3,hidden_reasoning=300', { hidden: true, bills: true, ...leaves(200, 40) }),
  'stream-cut': stream(30, 'tokens=60,tps=3,cut_after=20', { expect: [200, ...FAILED] }),
  'stream-torn': stream(20, 'tokens=60,tps=3,cut_after=20,torn=1', { expect: [200, ...FAILED] }),
  'stream-ended': stream(20, 'tokens=60,tps=3,end_after=20', { expect: [200, ...FAILED] }),
  'stream-error': stream(20, 'tokens=60,tps=3,error_after=15', { expect: [200, ...FAILED] }),
  'stream-stall': stream(20, 'tokens=60,tps=3,stall_after=10', { expect: [200, ...FAILED] }),
  'stream-no-usage': stream(30, 'tokens=50,tps=3,usage=0', leaves(100, 60)),
  'stream-early-head': stream(30, 'tokens=30,tps=3,ttft_ms=2000,head_early=1', leaves(100, 20)),
  'stream-429': stream(10, 'status=429,retry_after=2', { expect: FAILED }),
  'slow-reader': stream(10, 'tokens=8000,bpt=64', { slot: 'slow' }),
  'slow-leaver': stream(10, 'tokens=8000,bpt=64', { slot: 'slow', ...leaves(500, 2000) }),
};

const PATHS = { chat: '/v1/chat/completions', responses: '/v1/responses', messages: '/v1/messages' };
const LIMITS = { chat: 'max_completion_tokens', responses: 'max_output_tokens', messages: 'max_tokens' };
/* Events of a whole stream before its first token: what a client got is never counted too high. */
const PREAMBLE = { chat: 1, responses: 5, messages: 3 };

function seriesOf(kind) {
  const total = Object.values(KINDS).reduce((sum, one) => sum + (one.slot === kind.slot ? one.weight : 0), 0);
  const a_second = kind.slot === 'short' ? options.rate : options.streams; // of streams: far more than there will be
  return Math.ceil((a_second * SECONDS * 1.1 * kind.weight) / total / SPAN) + 1;
}

function configOf(mock_url) {
  const providers = {};
  const models = {};
  for (const [name, kind] of Object.entries(KINDS)) {
    const front = kind.words.startsWith('refuse') ? `/~${kind.words}` : '';
    providers[name] = {
      dialect: kind.api === 'messages' ? 'anthropic' : 'openai',
      ...(kind.api !== 'messages' && { apis: ['chat', 'responses'] }),
      base_url: `${mock_url}${front}${kind.api === 'messages' ? '' : '/v1'}`,
      on_abort: kind.bills ? 'bills_all' : 'stops',
      between_bytes_deadline: '8s',
      drain_max: '30s',
      credentials: { company: { env: 'LIVE_OPENAI_KEY' } },
    };
    for (let series = 0; series < seriesOf(kind); series++) {
      models[`${name}-${series}`] = {
        price: PRICE_YAML, max_output: 200_000, context: 2_000_000, hidden_reasoning: Boolean(kind.hidden),
        routes: [{ provider: name, model: `mock:${kind.words},tag=${name}-${series}` }],
      };
    }
  }
  return {
    providers, models,
    plans: { wide: {}, spent: {}, paced: {}, narrow: {} },
    default_plan: 'wide',
    limits: {
      day: { counts: 'cost', per: 'account', window: 'day', cap: { default: '1000000 USD', plan: { spent: '20 USD' } } },
      month: { counts: 'cost', per: 'account', window: 'month', cap: '9000000 USD' },
      tree: { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: '1000000 USD' },
      pace: { counts: 'requests', per: 'key', window: { rate: '100000000/min', burst: 100000000 } },
      'slow-pace': { counts: 'requests', per: 'account', window: { rate: '60/min', burst: 5 }, of: { model: 'short-paced-0' } },
      parallel: { counts: 'in_flight', per: 'account', cap: { default: 100000, plan: { narrow: 1 } } },
    },
  };
}

function planOf() {
  const first = {};
  let next = 0;
  for (const [name, group] of Object.entries(GROUPS)) {
    first[name] = next;
    next += group.keys;
  }
  return Object.entries(KINDS).map(([name, kind]) => {
    const keys = kind.keys ?? 'many';
    return [name, kind.slot, kind.weight, first[keys], GROUPS[keys].keys, PATHS[kind.api], LIMITS[kind.api], name,
      kind.stream ? 1 : 0, kind.from, SPAN, kind.bytes, kind.leave ?? 0, kind.leave_max ?? 1].join(' ');
  }).join('\n') + '\n';
}

// ---- processes ----

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-soak-'));
const started = [];
process.on('exit', () => started.forEach((child) => child.exitCode === null && child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => process.exit(1));
}

function start(name, program, args, env = {}) {
  const out = fs.openSync(path.join(dir, `${name}.out`), 'w');
  const err = fs.openSync(path.join(dir, `${name}.err`), 'w');
  const child = spawn(program, args, { cwd: dir, env: { ...process.env, ...env }, stdio: ['ignore', out, err] });
  child.over = new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })));
  started.push(child);
  return child;
}
const said = (name, kind = 'out') => fs.readFileSync(path.join(dir, `${name}.${kind}`), 'utf8');

async function startMock() {
  const child = start('mock', process.env.TIDEGATE_BIN, ['mock', '--journal', path.join(dir, 'journal.jsonl')]);
  const url = await until('the mock listens', () => /listening on (http:\S+)/.exec(said('mock'))?.[1], 10_000);
  return { child, url };
}

/** The gateway of the live tests, its processes writing to files: pipes would be read by this program. */
class Subject extends Gateway {
  static async begin(mock) {
    const subject = new Subject();
    subject.dir = dir;
    subject.secrets = new Set(Object.values(PROVIDER_SECRETS));
    subject.control = path.join(dir, 'control.sock');
    subject.store = path.join(dir, 'books.db');
    subject.file = path.join(dir, 'tidegate.yaml');
    subject.port = await freePort();
    subject.url = `http://127.0.0.1:${subject.port}`;
    subject.config = {
      listen: `127.0.0.1:${subject.port}`, store: `sqlite:${subject.store}`, control: subject.control,
      loops: 2, connections_max: 20000, ...configOf(mock.url),
    };
    subject.write();
    subject.child = start('gateway', process.env.TIDEGATE_BIN,
      ['serve', '--config', subject.file, '--log-level', 'warn'], PROVIDER_SECRETS);
    await until('the gateway is ready', async () => (await ask(`${subject.url}/readyz`, { method: 'GET' })).status === 200, 10_000);
    return subject;
  }

  alive() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  async metrics() {
    const answer = await ask(`${this.url}/metrics`, { method: 'GET' });
    assert.equal(answer.status, 200, `/metrics: ${answer.status} ${answer.error ?? ''}`);
    return new Map([...answer.text.matchAll(/^tidegate_(\S+) (\d+)$/gm)].map(([, name, value]) => [name, Number(value)]));
  }

  sample() {
    const pid = this.child.pid;
    const resident = /VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1];
    const ticks = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return {
      at_s: (Date.now() - this.begun_ms) / 1000,
      resident_kb: Number(resident),
      descriptors: fs.readdirSync(`/proc/${pid}/fd`).length,
      cpu_s: (Number(ticks[11]) + Number(ticks[12])) / 100,
    };
  }

  makeKeys() {
    const keys = [];
    for (const [name, group] of Object.entries(GROUPS)) {
      for (let i = 0; i < group.keys; i++) {
        keys.push(group.plan ? this.member(`${name}-${i}`, '--plan', group.plan) : 'tg-nobody-knows-this-key-0000000000');
      }
    }
    return keys;
  }

  /** As an operator does it: a cap changes each time; each third file is wrong and must change nothing. */
  reload(count) {
    const good = fs.readFileSync(this.file, 'utf8');
    const wrong = count % 3 === 0;
    this.config.limits.month.cap = `${9_000_000 + count} USD`;
    if (wrong) {
      fs.writeFileSync(this.file, good.replace('"counts"', '"count"'));
    } else {
      this.write();
    }
    const done = run(['reload', '--control', this.control, '--config', this.file], { cwd: dir });
    if (wrong) {
      fs.writeFileSync(this.file, good);
    }
    return wrong === (done.code !== 0) ? null : `reload ${count} (${wrong ? 'wrong' : 'good'} file): exit code ${done.code}: ${done.err}${done.out}`;
  }
}

// ---- the books ----

const tagOf = (upstream_model) => /tag=([\w-]+)/.exec(upstream_model)?.[1] ?? '';

/** Lines by model, in a file each: more calls than fit in memory. */
class Sorted {
  constructor(name) {
    this.folder = path.join(dir, name);
    fs.mkdirSync(this.folder);
    this.waiting = new Map();
    this.held = 0;
  }

  add(model, value) {
    const lines = this.waiting.get(model) ?? [];
    lines.push(JSON.stringify(value));
    this.waiting.set(model, lines);
    if (++this.held >= 20_000) {
      this.flush();
    }
  }

  flush() {
    for (const [model, lines] of this.waiting) {
      fs.appendFileSync(path.join(this.folder, model), `${lines.join('\n')}\n`);
    }
    this.waiting.clear();
    this.held = 0;
  }

  models() {
    return fs.readdirSync(this.folder);
  }

  read(model) {
    const file = path.join(this.folder, model);
    return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line)) : [];
  }
}

async function sortLedger(subject) {
  const sorted = new Sorted('ledger');
  const kinds = {};
  let before = null;
  do {
    const query = new URLSearchParams({ limit: 10_000, inputs: true, ...(before && { before }) });
    const page = await subject.admin(`/api/admin/ledger?${query}`);
    for (const row of page.rows) {
      kinds[row.kind] = (kinds[row.kind] ?? 0) + 1;
      if (row.usage) {
        const { kind, attempt, model, cost_micros, flags, inputs, usage, bound_micros } = row;
        sorted.add(model, { hold: row.request, kind, attempt, cost_micros, flags, inputs, usage, bound_micros });
      }
    }
    before = page.next_before;
  } while (before);
  sorted.flush();
  return { sorted, kinds };
}

async function sortJournal() {
  const sorted = new Sorted('journal');
  let unread = 0;
  let entries = 0;
  for await (const line of readline.createInterface({ input: fs.createReadStream(path.join(dir, 'journal.jsonl')) })) {
    const entry = JSON.parse(line);
    entries++;
    if (tagOf(entry.model)) {
      sorted.add(tagOf(entry.model), entry);
    } else {
      assert.equal(entry.bill.input + entry.bill.output, 0, 'what was refused unread is not billed');
      unread++;
    }
  }
  sorted.flush();
  return { sorted, entries, unread };
}

/** Every call of every model by the rule of the books; gives faults, and how many calls were judged. */
async function audit(subject, stopMock) {
  const { sorted: ledger, kinds } = await sortLedger(subject);
  await stopMock();
  const { sorted: journal, entries, unread } = await sortJournal();
  const received = new Map();
  for (const line of fs.readFileSync(path.join(dir, 'left'), 'utf8').split('\n').filter(Boolean)) {
    const [model, limit, events] = line.split(' ');
    const { api } = KINDS[model.replace(/-\d+$/, '')];
    const tokens = Math.max(0, Number(events) - PREAMBLE[api]);
    const of = received.get(model) ?? new Map();
    of.set(Number(limit), tokens);
    received.set(model, of);
  }
  const faults = [];
  let calls = 0;
  for (const model of new Set([...ledger.models(), ...journal.models()])) {
    const words = KINDS[model.replace(/-\d+$/, '')].words;
    /* One event may be many tokens: then what was received is not known from its events. */
    const told = /per_event/.test(words) ? new Map() : received.get(model);
    try {
      calls += compareBooks(ledger.read(model).reverse(), journal.read(model), told).length;
    } catch (error) {
      faults.push(`${model}: ${error.message}`);
    }
  }
  return { calls, entries, unread, kinds, faults };
}

// ---- what is held ----

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

/** Least squares, a minute. */
function slopeAMinute(samples, field) {
  const at = mean(samples.map((one) => one.at_s));
  const value = mean(samples.map((one) => one[field]));
  const above = samples.reduce((sum, one) => sum + (one.at_s - at) * (one[field] - value), 0);
  const below = samples.reduce((sum, one) => sum + (one.at_s - at) ** 2, 0);
  return below > 0 ? (60 * above) / below : 0;
}

/* Warm after a third of the run, and no sooner than the store's page cache is full. What the line through the
 * later samples adds from the first to the last of them may be this much of their mean, else it is a leak. */
const WARM_S = 180;
const FLAT_SHARE = 0.03;

const warmOf = (samples) => samples.filter((one) => one.at_s >= Math.max(WARM_S, SECONDS / 3));

function judgeFlat(samples, faults) {
  const later = warmOf(samples);
  if (later.length < 12) {
    return null; /* too short a run to tell a leak from a start */
  }
  const slopes = {};
  for (const field of ['resident_kb', 'descriptors']) {
    slopes[field] = slopeAMinute(later, field);
    const grown = (slopes[field] * (later.at(-1).at_s - later[0].at_s)) / 60;
    const level = mean(later.map((one) => one[field]));
    if (grown > FLAT_SHARE * level) {
      faults.push(`${field} grow: by ${grown.toFixed(0)} at a level of ${level.toFixed(0)}`);
    }
  }
  return slopes;
}

function judgeKinds(kinds, faults) {
  for (const [name, told] of Object.entries(kinds)) {
    for (const [status, count] of Object.entries(told.statuses)) {
      if (!KINDS[name].expect.includes(Number(status))) {
        faults.push(`${name}: ${count} answers of status ${status}, which is none of ${KINDS[name].expect}`);
      }
    }
    if (told.lost > 0) {
      faults.push(`${name}: ${told.lost} connections were lost`);
    }
    if (told.begun === 0) {
      faults.push(`${name}: none was sent`);
    }
  }
}

// ---- the run ----

async function soak() {
  const faults = [];
  const mock = await startMock();
  const subject = await Subject.begin(mock);
  fs.writeFileSync(path.join(dir, 'keys'), `${subject.makeKeys().join('\n')}\n`, { mode: 0o600 });
  fs.writeFileSync(path.join(dir, 'plan'), planOf());
  subject.begun_ms = Date.now();
  const before = subject.sample();
  const slow = Math.max(2, Math.round(options.streams / 200));
  const load = start('load', path.join(options.build, 'bench/load'), ['soak', '--url', `${subject.url}/v1/chat/completions`,
    '--keys', path.join(dir, 'keys'), '--plan', path.join(dir, 'plan'), '--record', path.join(dir, 'left'),
    '--connections', options.streams, '--slow', slow, '--shorts', 200, '--rate', options.rate, '--ramp', 200,
    '--window', Math.round(SECONDS * 1000)].map(String));
  const samples = [];
  let reloads = 0;
  let scrapes = 0;
  let next_reload = Date.now() + RELOAD_MS;
  let next_sample = Date.now() + SAMPLE_MS;
  let next_scrape = Date.now() + SCRAPE_MS;
  while (load.exitCode === null && load.signalCode === null && subject.alive()) {
    await Promise.race([load.over, sleep(200)]);
    const now = Date.now();
    const running = now < subject.begun_ms + SECONDS * 1000;
    if (now >= next_sample && running) {
      next_sample += SAMPLE_MS;
      samples.push(subject.sample());
      const last = said('load').trim().split('\n').at(-1);
      console.error(`soak: ${JSON.stringify(samples.at(-1))} ${last}`);
    }
    if (now >= next_reload && running) {
      next_reload += RELOAD_MS;
      const fault = subject.reload(++reloads);
      if (fault) {
        faults.push(fault);
      }
    }
    if (now >= next_scrape) {
      next_scrape += SCRAPE_MS;
      await subject.metrics();
      scrapes++;
    }
  }
  if (!subject.alive()) {
    throw new Error(`the gateway ended by itself: ${JSON.stringify(await subject.child.over)}\n${said('gateway', 'err').slice(-4000)}`);
  }
  assert.deepEqual(await load.over, { code: 0, signal: null }, said('load', 'err').slice(-2000));
  const told = said('load').trim().split('\n').map((line) => JSON.parse(line));
  const end = told.at(-1);
  const cpu_s = subject.sample().cpu_s;

  await until('no call is open', async () => (await subject.metrics()).get('holds_open') === 0, 90_000, 500)
    .catch((error) => faults.push(error.message));
  await sleep(1000);
  const numbers = await subject.metrics();
  for (const name of ['holds_open', 'settlements_waiting', 'store_down', 'store_failures_total', 'events_damaged_total', 'body_buffered_bytes', 'streams_open', 'model_requests_open']) {
    if (numbers.get(name) !== 0) {
      faults.push(`${name} is ${numbers.get(name)} at the end`);
    }
  }
  const after = subject.sample();
  end.slopes = judgeFlat(samples, faults);
  judgeKinds(end.kinds, faults);
  const open_holds = subject.openHolds();
  if (open_holds !== 0) {
    faults.push(`${open_holds} holds are open in the store`);
  }
  console.error('soak: the books are compared');
  const books = await audit(subject, async () => {
    mock.child.kill('SIGTERM');
    assert.deepEqual(await mock.child.over, { code: 0, signal: null }, said('mock', 'err'));
  });
  faults.push(...books.faults);
  subject.child.kill('SIGTERM');
  const how = await subject.child.over;
  if (how.code !== 0) {
    faults.push(`the gateway ended with ${JSON.stringify(how)}`);
  }
  const errors = said('gateway', 'err').split('\n').filter((line) => line.includes('level=error') && !line.includes('event=reload'));
  errors.slice(0, 5).forEach((line) => faults.push(`the gateway said: ${line}`));
  return { before, samples, after, end, told, books, numbers, reloads, scrapes, cpu_s, faults };
}

function report({ before, samples, after, end, told, books, reloads, scrapes, cpu_s, faults }) {
  const all = Object.values(end.kinds);
  const sum = (field) => all.reduce((total, one) => total + one[field], 0);
  const streams = Object.entries(end.kinds).filter(([name]) => KINDS[name].stream).map(([, one]) => one);
  const held = told.slice(0, -1).map((line) => line.streams).filter((count) => count !== undefined);
  const warm = warmOf(samples);
  const later = warm.length ? warm : samples;
  const megabytes = (kb) => (kb / 1024).toFixed(1);
  const rows = [
    ['streams at once (asked for, mean)', `${options.streams}, ${mean(held.length > 1 ? held.slice(1) : held).toFixed(0)}`],
    ['streams begun', streams.reduce((total, one) => total + one.begun, 0)],
    ['events of streams read', end.chunks],
    ['short calls', `${end.short_calls} (${(end.short_calls / end.seconds).toFixed(0)} a second)`],
    ['clients that left', sum('left')],
    ['reloads (every third refused), scrapes', `${reloads}, ${scrapes}`],
    ['short calls: p50, p99, longest (300 to 400 ms of it the provider\'s, of 6 in 100)', `${(end.latency_p50_us / 1000).toFixed(1)} ms, ${(end.latency_p99_us / 1000).toFixed(0)} ms, ${(end.latency_max_us / 1000).toFixed(0)} ms`],
    ['CPU of the gateway', `${((100 * cpu_s) / end.seconds).toFixed(0)} % of a core`],
    ['resident memory: at start, mean and most once warm, at the end', `${megabytes(before.resident_kb)}, ${megabytes(mean(later.map((one) => one.resident_kb)))}, ${megabytes(Math.max(...later.map((one) => one.resident_kb)))}, ${megabytes(after.resident_kb)} MB`],
    ['its slope once warm', end.slopes ? `${end.slopes.resident_kb.toFixed(1)} KB a minute` : 'too short a run'],
    ['descriptors: at start, mean and most once warm, at the end', `${before.descriptors}, ${mean(later.map((one) => one.descriptors)).toFixed(0)}, ${Math.max(...later.map((one) => one.descriptors))}, ${after.descriptors}`],
    ['their slope once warm', end.slopes ? `${end.slopes.descriptors.toFixed(1)} a minute` : 'too short a run'],
    ['calls whose books were compared with the journal', `${books.calls} (journal: ${books.entries} requests)`],
    ['rows of the ledger', Object.entries(books.kinds).map(([kind, count]) => `${kind} ${count}`).join(', ')],
    ['faults', faults.length],
  ];
  return ['| what | |', '|---|---|', ...rows.map(([what, value]) => `| ${what} | ${value} |`)].join('\n');
}

/** Puts a chapter into the page of results, in the place of an older one of that title. */
function writeChapter(title, text) {
  const file = path.join(import.meta.dirname, 'RESULTS.md');
  const page = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '# Numbers\n';
  const chapters = page.split(/\n(?=## )/).filter((chapter) => !chapter.startsWith(`## ${title}`));
  fs.writeFileSync(file, `${[...chapters.map((chapter) => chapter.trimEnd()), `## ${title}\n\n${text}`].join('\n\n')}\n`);
}

const result = await soak().catch((error) => {
  console.error(`soak: ${error.stack}\nits files are kept in ${dir}`);
  process.exit(1);
});
const table = report(result);
console.log(table);
for (const fault of result.faults) {
  console.error(`soak: FAULT: ${fault.slice(0, 3000)}`);
}
if (options.write) {
  const version = execFileSync(process.env.TIDEGATE_BIN, ['version'], { encoding: 'utf8' }).trim().split('\n')[0];
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  writeChapter('The soak', `${new Date().toISOString().slice(0, 10)}, \`./dev soak --minutes ${options.minutes} --streams ${options.streams} --rate ${options.rate}\`, ${version} (${commit}), ${os.cpus()[0].model}, ${os.cpus().length} cores shared with the generator and the simulated provider.\n\n${table}`);
}
if (result.faults.length > 0) {
  console.error(`soak: ${result.faults.length} faults; its files are kept in ${dir}`);
  process.exit(1);
}
fs.rmSync(dir, { recursive: true, force: true });
process.exit(0);
