// Goal: Claude Code and Codex, unmodified, work through the gateway; with the budget spent each sends one
// request and shows our sentence; Claude Code's parallel first turn passes where there is room for both.
// Method: the real programs from npm, each with a fresh home, against a gateway on `tidegate mock`. A counting
// proxy in front of the gateway tells how often the client asked.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import { Gateway, Mock, callOf, modelsOn, numbers, priced, send, sleep, until } from '../live/harness.mjs';

const { CLAUDE_BIN, CODEX_BIN, TIDEGATE_CLIENTS_SKIP } = process.env;
const skipOf = (bin, name) => (bin ? false : (TIDEGATE_CLIENTS_SKIP ?? `${name} is not set`));
const skip_claude = skipOf(CLAUDE_BIN, 'CLAUDE_BIN');
const skip_codex = skipOf(CODEX_BIN, 'CODEX_BIN');
const skip_tmux =
  skip_claude || (spawnSync('tmux', ['-V']).status === 0 ? false : 'tmux is not installed');

let mock;
let gateway;
let proxy;
let dir;
const seen = []; // what the client asked of the gateway: {method, path, status, headers}

/** Passes everything on, and remembers it. */
function startProxy(target_port) {
  return new Promise((resolve) => {
    const server = http.createServer((request, response) => {
      const entry = {
        method: request.method,
        path: request.url,
        headers: request.headers,
        at_ms: Date.now(),
      };
      seen.push(entry);
      const onward = http.request(
        {
          port: target_port,
          host: '127.0.0.1',
          method: request.method,
          path: request.url,
          headers: request.headers,
        },
        (answer) => {
          entry.status = answer.statusCode;
          response.writeHead(answer.statusCode, answer.headers);
          answer.pipe(response);
        },
      );
      onward.on('error', () => response.destroy());
      response.on('close', () => onward.destroy());
      request.pipe(onward);
    });
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}

before(async () => {
  if (skip_claude && skip_codex) {
    return;
  }
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-clients-'));
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    plans: { free: {}, tight: {}, pair: {}, five: {} },
    models: modelsOn({
      'gpt-5.5': 'openai',
      'claude-sonnet-5': 'anthropic',
      'claude-haiku-4-5': 'anthropic',
      'claude-haiku-4-5-20251001': 'anthropic',
    }),
    limits: {
      /* A title and a turn hold their input, 25,000 tokens, and 2048 tokens of output each: about 0.27 USD.
       * Their output limits are 64,000 tokens each, 1.92 USD. */
      'month-spend': {
        counts: 'cost',
        per: 'account',
        window: 'month',
        cap: { default: 'unlimited', plan: { tight: '0.50 USD', pair: '0.60 USD', five: '5 USD' } },
      },
    },
  });
  proxy = await startProxy(gateway.port);
});
after(async () => {
  proxy?.closeAllConnections();
  proxy?.close();
  await gateway?.stop();
  await mock?.stop();
  if (dir) {
    fs.rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  }
});
beforeEach(async () => {
  if (!mock) {
    return;
  }
  seen.length = 0;
  await mock.models({
    'gpt-5.5': 'tokens=12,text=The%20tide%20is%20in.',
    'claude-sonnet-5': 'tokens=12,text=The%20tide%20is%20in.',
  });
  await mock.clear();
});

const inference = () =>
  seen.filter((entry) => entry.method === 'POST' && !entry.path.includes('count_tokens'));

/** All that an account's client used since the last clear is booked, to the micro; gives the rows. */
async function assertBooked(account, { at = gateway, prices } = {}) {
  const journal = (await mock.settled()).filter((entry) => !entry.path.includes('count_tokens'));
  await at.booked();
  const rows = (await at.ledger({ account })).filter((row) => row.hold);
  assert.ok(rows.length >= 1);
  assert.ok(
    rows.every((row) => row.kind === 'settle' && !row.flags.includes('estimated')),
    JSON.stringify(rows),
  );
  assert.deepEqual(
    rows.map((row) => row.cost_micros).sort(),
    journal.map((entry) => priced(entry.bill, prices)).sort(),
  );
  assert.equal(new Set(rows.map((row) => row.thread)).size, 1, 'one session is one thread');
  return rows;
}

function exec(bin, args, { env, cwd, limit_ms = 90_000 }) {
  return new Promise((resolve) => {
    const child = spawn(bin, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const done = { out: '', err: '' };
    child.stdout.on('data', (text) => (done.out += text));
    child.stderr.on('data', (text) => (done.err += text));
    const timer = setTimeout(() => child.kill('SIGKILL'), limit_ms);
    child.on('error', (error) => (done.err += error.message));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ ...done, all: done.out + done.err, code, signal });
    });
  });
}

function freshFolder(name) {
  const home = path.join(dir, `${name}-home`);
  const work = path.join(dir, `${name}-work`);
  fs.mkdirSync(home, { recursive: true });
  fs.mkdirSync(work, { recursive: true });
  return { home, work };
}

function claudeEnv(home, key) {
  return {
    PATH: process.env.PATH,
    HOME: home,
    TERM: 'dumb',
    LANG: 'C.UTF-8',
    ANTHROPIC_BASE_URL: `http://127.0.0.1:${proxy.address().port}`,
    ANTHROPIC_API_KEY: key,
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    DISABLE_TELEMETRY: '1',
    DISABLE_ERROR_REPORTING: '1',
    DISABLE_AUTOUPDATER: '1',
  };
}

function runClaude(name, key, ...more) {
  const { home, work } = freshFolder(name);
  return exec(CLAUDE_BIN, ['-p', 'say hi', '--model', 'claude-sonnet-5', ...more], {
    env: claudeEnv(home, key),
    cwd: work,
  });
}

function runCodex(name, key) {
  const { home, work } = freshFolder(name);
  fs.mkdirSync(path.join(home, '.codex'), { recursive: true });
  fs.writeFileSync(
    path.join(home, '.codex/config.toml'),
    [
      'model = "gpt-5.5"',
      'model_provider = "gw"',
      'check_for_update_on_startup = false',
      '[analytics]',
      'enabled = false',
      '[model_providers.gw]',
      'name = "gw"',
      `base_url = "http://127.0.0.1:${proxy.address().port}/v1"`,
      'env_key = "GW_KEY"',
      'wire_api = "responses"',
      '',
    ].join('\n'),
  );
  spawnSync('git', ['init', '-q', work]);
  return exec(CODEX_BIN, ['exec', '--skip-git-repo-check', 'say hi'], {
    env: { PATH: process.env.PATH, HOME: home, TERM: 'dumb', LANG: 'C.UTF-8', GW_KEY: key },
    cwd: work,
  });
}

/** An account whose half dollar is gone: its key. */
async function spentKey(name, api, model) {
  const key = gateway.member(name, '--plan', 'tight');
  await mock.models({ [model]: 'tokens=40000,per_event=100' });
  const answer = await send(gateway, key, callOf(api, model, { limit: 40_000, stream: true }));
  assert.equal(answer.status, 200, answer.text);
  await gateway.booked();
  await mock.clear();
  return key;
}

describe('Claude Code', () => {
  test('completes a prompt, and the books have it', { skip: skip_claude }, async () => {
    const done = await runClaude(
      'claude-fine',
      gateway.member('claude-fine'),
      '--output-format',
      'json',
    );
    assert.equal(done.code, 0, done.all);
    assert.match(JSON.parse(done.out).result, /The tide is in\./);
    await assertBooked('claude-fine');
  });

  test('works with a Bearer token as well', { skip: skip_claude }, async () => {
    const { home, work } = freshFolder('claude-bearer');
    const env = claudeEnv(home, gateway.member('claude-bearer'));
    env.ANTHROPIC_AUTH_TOKEN = env.ANTHROPIC_API_KEY;
    delete env.ANTHROPIC_API_KEY;
    const done = await exec(CLAUDE_BIN, ['-p', 'say hi', '--model', 'claude-sonnet-5'], {
      env,
      cwd: work,
    });
    assert.equal(done.code, 0, done.all);
    assert.match(done.out, /The tide is in\./);
  });

  test(
    'with the budget spent sends one request and prints our sentence',
    { skip: skip_claude },
    async () => {
      const key = await spentKey('claude-spent', 'messages', 'claude-sonnet-5');
      const done = await runClaude('claude-spent', key);
      assert.equal(done.code, 1, done.all);
      assert.equal(inference().length, 1, JSON.stringify(inference()));
      assert.equal(inference()[0].status, 402);
      assert.match(
        done.all,
        /402.*Account "claude-spent" has spent \$0\.\d+ of \$0\.50\b.*Ask your operator to raise it\./s,
      );
      assert.deepEqual(await mock.journal(), [], 'none at the provider');
    },
  );

  test('waits out a limit of pace by itself', { skip: skip_claude }, async () => {
    const paced = await Gateway.start(mock, {
      models: modelsOn({ 'claude-sonnet-5': 'anthropic' }),
      limits: {
        'a-minute': { counts: 'requests', per: 'account', window: { rate: '30/min', burst: 1 } },
      },
    });
    const key = paced.member('hasty');
    assert.equal((await send(paced, key, callOf('messages', 'claude-sonnet-5'))).status, 200);
    const { home, work } = freshFolder('claude-paced');
    const done = await exec(CLAUDE_BIN, ['-p', 'say hi', '--model', 'claude-sonnet-5'], {
      env: { ...claudeEnv(home, key), ANTHROPIC_BASE_URL: paced.url },
      cwd: work,
    });
    assert.equal(done.code, 0, done.all);
    assert.match(done.out, /The tide is in\./);
    await paced.booked();
    await paced.stop();
  });

  test('a wrong key is told', { skip: skip_claude }, async () => {
    const done = await exec(CLAUDE_BIN, ['-p', 'say hi', '--model', 'claude-sonnet-5'], {
      env: {
        ...claudeEnv(freshFolder('claude-wrong').home, 'tg-wrong-key'),
        CLAUDE_CODE_MAX_RETRIES: '1',
      },
      cwd: dir,
      limit_ms: 60_000,
    });
    assert.notEqual(done.code, 0);
    assert.ok(inference().length <= 2, `${inference().length} requests`);
    assert.deepEqual(await mock.journal(), []);
  });

  test(
    'the parallel first turn of an interactive session passes where there is room for both',
    { skip: skip_tmux },
    async () => {
      const key = gateway.member('claude-tmux', '--plan', 'pair');
      const turns = await firstTurn('claude-tmux', key, 'claude-sonnet-5');
      assert.deepEqual([...new Set(turns.map((entry) => entry.status))], [200]);
      assert.ok((await assertBooked('claude-tmux')).length >= 2);
    },
  );
});

/**
 * An interactive session's first prompt: title and turn are asked for at once. Gives what was asked, once an
 * answer stands on the screen and nothing is in flight.
 */
async function firstTurn(name, key, model, { port = proxy.address().port, settings = {} } = {}) {
  const { home, work } = freshFolder(name);
  fs.writeFileSync(
    path.join(home, '.claude.json'),
    JSON.stringify({
      hasCompletedOnboarding: true,
      theme: 'dark',
      customApiKeyResponses: { approved: [key.slice(-20), key], rejected: [] },
      projects: {
        [work]: { hasTrustDialogAccepted: true, hasCompletedProjectOnboarding: true },
      },
    }),
  );
  const socket = path.join(dir, `${name}.sock`);
  const tmux = (...args) =>
    spawnSync('tmux', ['-S', socket, ...args], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: home, LANG: 'C.UTF-8' },
    });
  const env = {
    ...claudeEnv(home, key),
    ANTHROPIC_BASE_URL: `http://127.0.0.1:${port}`,
    TERM: 'xterm-256color',
    ...settings,
  };
  delete env.CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC; /* the title is such */
  const words = Object.entries(env)
    .map(([variable, value]) => `${variable}='${value}'`)
    .join(' ');
  const program = `env -i ${words} '${CLAUDE_BIN}' --model ${model}`;
  const started = tmux('-f', '/dev/null', 'new-session', '-d', '-x', '120', '-y', '40', '-c', work, program);
  assert.equal(started.status, 0, started.stderr);
  const screen = () => tmux('capture-pane', '-p').stdout;
  try {
    await until('the prompt is there', () => /❯|>\s/.test(screen()), 30_000, 200);
    await sleep(3000);
    /* A shorter one gets no title. */
    tmux('send-keys', '-l', 'please say hi to everybody in the room');
    await sleep(500);
    tmux('send-keys', 'Enter');
    await until('an answer stands on the screen', () => /The tide is in\./.test(screen()), 60_000, 200).catch(
      (error) => {
        throw new Error(`${error.message}\n${screen()}\n${JSON.stringify(seen)}`);
      },
    );
    await until('title and turn were asked for', () => inference().length >= 2).catch(() => {});
    await until('nothing is in flight', () => seen.every((entry) => entry.status));
    const turns = inference();
    assert.ok(turns.length >= 2, `title and turn: ${JSON.stringify(seen)}\n${screen()}`);
    assert.ok(Math.abs(turns[0].at_ms - turns[1].at_ms) < 2000, 'at once');
    return turns;
  } finally {
    tmux('kill-server');
  }
}

describe('Claude Code under a budget for each thread, whose owner changed nothing at the client', () => {
  const MODEL = 'claude-opus-4-8';
  const PRICES = {
    input: 5_000_000n,
    cache_read: 500_000n,
    cache_write_5m: 6_250_000n,
    cache_write_1h: 10_000_000n,
    output: 25_000_000n,
  };
  const budgets = []; // gateways with their proxies

  async function gatewayWith(micros) {
    const price = {
      input: '5 USD',
      output: '25 USD',
      cache_read: '0.50 USD',
      cache_write: '6.25 USD',
      cache_write_1h: '10 USD',
    };
    const at = await Gateway.start(mock, {
      models: modelsOn({ [MODEL]: 'anthropic', 'claude-haiku-4-5-20251001': 'anthropic' }, { price }),
      limits: {
        session: { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: `${micros} micros` },
      },
    });
    const server = await startProxy(at.port);
    budgets.push({ at, server });
    return { at, port: server.address().port };
  }
  after(async () => {
    for (const { at, server } of budgets) {
      server.closeAllConnections();
      server.close();
      await at.stop();
    }
  });
  const slow = 'tokens=12,text=The%20tide%20is%20in.,ttft_ms=700'; // both are open at the same time
  /* What its newer models may say at once; of itself this version asks for half as much. */
  const settings = { CLAUDE_CODE_MAX_OUTPUT_TOKENS: '128000' };
  const refused = (rows) => rows.filter((row) => row.kind === 'refusal');
  let session; // of the first case: what a title and a turn of this very client are

  test(
    'with five dollars title and turn pass at once, with the 128,000 tokens of output that each asks for',
    { skip: skip_tmux },
    async () => {
      const { at, port } = await gatewayWith(5_000_000);
      await mock.models({ [MODEL]: slow });
      const turns = await firstTurn('claude-five', at.member('claude-five'), MODEL, { port, settings });
      assert.deepEqual([...new Set(turns.map((entry) => entry.status))], [200]);
      session = await assertBooked('claude-five', { at, prices: PRICES });
      const limits = session.map((row) => row.inputs.output_limit);
      assert.deepEqual(limits.slice(0, 2), [128_000, 128_000]);
      assert.ok(limits.length * 128_000 * 25 > 5_000_000, 'held whole, they would not fit');
      assert.ok(session.every((row) => !row.flags.includes('lowered')), 'no output limit was lowered');
      assert.deepEqual(refused(await at.ledger()), []);
      assert.equal((await numbers(at)).get('calls_waited_total'), 0);
      const { meters } = await at.admin('/api/admin/limits');
      const spent = session.reduce((sum, row) => sum + row.cost_micros, 0);
      assert.deepEqual(meters.map(({ used, held }) => [used, held]), [[spent, 0]]);
    },
  );

  test(
    'with room for one at a time the other waits until it is over, and both pass',
    { skip: skip_tmux },
    async () => {
      assert.ok(session?.length >= 2, 'the case before has told what this client asks for');
      const [title, turn] = session.toSorted((a, b) => a.inputs.input - b.inputs.input).slice(-2);
      const held = (row, output) => Math.ceil(row.inputs.input * 10 + output * 25); // at the dearest of inputs
      const first = held(title, Math.min(title.inputs.slice, title.inputs.output_bound));
      const room = held(turn, turn.inputs.least) + Math.floor((title.cost_micros + first) / 2);
      const { at, port } = await gatewayWith(room);
      await mock.models({ [MODEL]: slow });
      const turns = await firstTurn('claude-one', at.member('claude-one'), MODEL, { port, settings });
      assert.deepEqual([...new Set(turns.map((entry) => entry.status))], [200]);
      const rows = await assertBooked('claude-one', { at, prices: PRICES });
      const all = await at.ledger();
      assert.deepEqual(refused(all), [], 'nobody was refused');
      assert.ok((await numbers(at)).get('calls_waited_total') >= 1, 'one waited');
      const spent = rows.reduce((sum, row) => sum + row.cost_micros, 0);
      assert.ok(spent <= room, `${spent} of ${room}`);
    },
  );
});

describe("Claude Code's parallel first turn, its two bodies sent at once", () => {
  const turn = {
    model: 'claude-sonnet-5',
    max_tokens: 128_000,
    stream: true,
    system: [{ type: 'text', text: 'x'.repeat(20_000) }],
    tools: Array.from({ length: 12 }, (_, i) => ({
      name: `tool${i}`,
      description: 'y'.repeat(2000),
      input_schema: { type: 'object' },
    })),
    messages: [{ role: 'user', content: 'say hi' }],
  };
  const title = {
    model: 'claude-sonnet-5',
    max_tokens: 128_000,
    stream: true,
    system: 'z'.repeat(3000),
    output_config: { format: { type: 'json_schema', schema: { type: 'object' } } },
    messages: [{ role: 'user', content: 'say hi' }],
  };
  const both = (key) =>
    Promise.all(
      [title, turn].map((body) =>
        send(gateway, key, {
          path: '/v1/messages?beta=true',
          headers: { 'anthropic-version': '2023-06-01' },
          body,
        }),
      ),
    );

  test('room for both: both pass', { skip: skip_claude && skip_codex }, async () => {
    const answers = await both(gateway.member('first-turn', '--plan', 'pair'));
    assert.deepEqual(
      answers.map((answer) => answer.status),
      [200, 200],
      answers.map((answer) => answer.text.slice(0, 300)).join(),
    );
    await assertBooked('first-turn');
  });

  test('under five dollars both pass, with the 128,000 tokens of output that they ask for', { skip: skip_claude && skip_codex }, async () => {
    const answers = await both(gateway.member('first-turn-five', '--plan', 'five'));
    assert.deepEqual(answers.map((answer) => answer.status), [200, 200]);
    assert.deepEqual((await mock.journal()).map((entry) => entry.limit), [128_000, 128_000], 'neither is lowered');
    await assertBooked('first-turn-five');
  });
});

describe('Codex', () => {
  test('completes a prompt, and the books have it', { skip: skip_codex }, async () => {
    const done = await runCodex('codex-fine', gateway.member('codex-fine'));
    assert.equal(done.code, 0, done.all);
    assert.match(done.all, /The tide is in\./);
    await assertBooked('codex-fine');
  });

  test(
    'with the budget spent sends one request and prints our sentence and the reset',
    { skip: skip_codex },
    async () => {
      const key = await spentKey('codex-spent', 'responses', 'gpt-5.5');
      const done = await runCodex('codex-spent', key);
      assert.equal(done.code, 1, done.all);
      assert.equal(
        inference().length,
        1,
        JSON.stringify(inference().map((entry) => [entry.path, entry.status])),
      );
      assert.equal(inference()[0].status, 429);
      assert.match(done.all, /usage limit.*Account "codex-spent" has spent \$0\.\d+ of \$0\.50\b/s);
      assert.match(done.all, /try again at/);
      assert.deepEqual(await mock.journal(), [], 'none at the provider');
    },
  );

  test('takes an answer that ends where the budget does, and asks no more than its own few times', { skip: skip_codex }, async () => {
    const key = gateway.member('codex-cut', '--plan', 'pair');
    await mock.models({ 'gpt-5.5': 'tokens=60000,per_event=200' });
    const done = await runCodex('codex-cut', key);
    const asked = inference();
    assert.equal(asked[0].status, 200);
    assert.ok(asked.length <= 7, JSON.stringify(asked.map((entry) => [entry.path, entry.status])));
    assert.ok(asked.slice(1).every((entry) => entry.status === 429), 'the rest is told that the budget is spent');
    assert.match(done.all, /incomplete|max_output_tokens|Account "codex-cut" has spent/, done.all.slice(-2000));
    const [row] = await assertBooked('codex-cut');
    assert.ok(row.flags.includes('lowered') && row.cost_micros <= 600_000, JSON.stringify(row));
  });

  test(
    'with an unknown key sends one request and prints our sentence',
    { skip: skip_codex },
    async () => {
      const done = await runCodex('codex-wrong', 'tg-nobody-has-this');
      assert.equal(done.code, 1, done.all);
      assert.equal(
        inference().length,
        1,
        JSON.stringify(inference().map((entry) => [entry.path, entry.status])),
      );
      assert.match(done.all, /This key is not known here\./);
    },
  );
});
