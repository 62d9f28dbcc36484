// The first minute, and what operators type: sandbox mode, accounts and keys, the ledger, the admin
// endpoints over TCP, with and without a running gateway.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ask, BIN, freePort, Gateway, Mock, modelsOn, Program, run, sleep, SLOW, sqliteAlone, until } from './harness.mjs';

const alive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** The simulated provider that is a child of this process; 0 = none. */
function childOf(pid) {
  const done = spawnSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' });
  return Number(done.stdout.trim().split('\n')[0] || 0);
}

describe('sandbox mode', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-sandbox-'));
  const here = { cwd: dir };
  let port;
  let program;
  after(async () => {
    await program?.end('SIGKILL');
    fs.rmSync(dir, { recursive: true, force: true });
  });

  async function start() {
    program = new Program('tidegate serve', ['serve', '--listen', `127.0.0.1:${port}`], here);
    await until('it greets', () => program.alive() && /status/.test(program.out), 10_000 * SLOW);
  }

  test('the line it prints is a shell command that gets a streamed answer', async () => {
    port = await freePort();
    await start();
    const command = /( {2}curl .*?\n)\n/s.exec(program.out)?.[1];
    assert.ok(command, program.out);
    const done = spawnSync('sh', ['-c', `${command.trimEnd()} -sS --max-time 60`], { encoding: 'utf8' });
    assert.equal(done.status, 0, done.stderr);
    assert.match(done.stdout, /^data: \{/);
    assert.match(done.stdout, /data: \[DONE\]/);
    assert.match(done.stdout, /: tidegate cost_micros=\d+ payer=company/);
  });

  test('status then shows the call, its cost and its payer', () => {
    const done = run(['status'], here);
    assert.equal(done.code, 0, done.err);
    const call = done.out.split('\n').find((line) => /\tsandbox\tsandbox\t/.test(line));
    assert.ok(call, done.out);
    assert.match(call, /\t\$0\.\d+\tcompany\tsettle\t/);
    assert.match(done.out, /month-spend\tsandbox\t\d+ %\t\$0\.\d+\t\$0\.00\t\$50\.00/);
    const { calls, gateway } = JSON.parse(run(['status', '--json'], here).out);
    assert.equal(gateway.sandbox, true);
    assert.match(run(['reload'], here).err, /There is no configuration to read again: this is a sandbox/);
    assert.equal(calls.length, 1);
    assert.ok(calls[0].cost_micros > 0);
    assert.equal(calls[0].payer, 'company');
  });

  test('a second gateway in this folder is told who holds the store', () => {
    const done = run(['serve', '--listen', '127.0.0.1:0'], here);
    assert.equal(done.code, 1);
    assert.match(done.err, new RegExp(`held by process ${program.child.pid}`));
  });

  test('the simulated provider ends with the gateway, also when that is killed', async () => {
    const mock = childOf(program.child.pid);
    assert.ok(mock > 0 && alive(mock));
    assert.deepEqual(await program.end('SIGTERM'), { code: 0, signal: null });
    await until('it is gone', () => !alive(mock));
    await start();
    const second = childOf(program.child.pid);
    await program.end('SIGKILL');
    await until('the second is gone', () => !alive(second));
  });

  test('a second start cannot show the key again, and says how to get another', async () => {
    await start();
    assert.ok(!/tg-[A-Za-z0-9_-]{43}/.test(program.out), program.out);
    assert.match(program.out, /key add sandbox/);
    const made = run(['key', 'add', 'sandbox'], here);
    assert.equal(made.code, 0, made.err);
    assert.match(made.out, /^tg-[A-Za-z0-9_-]{43}\n$/); // the secret alone, for $( )
    const answer = await ask(`http://127.0.0.1:${port}/v1/models`, { method: 'GET', key: made.out.trim() });
    assert.equal(answer.status, 200, answer.text);
    await program.end('SIGTERM');
  });

  test('commands open the books themselves when no gateway runs', () => {
    const made = JSON.parse(run(['account', 'add', 'later', '--plan', 'pro', '--json'], here).out);
    assert.equal(made.plan, 'pro');
    assert.match(run(['account', 'list'], here).out, /^later\tpro\t/m);
    const rows = JSON.parse(run(['ledger', '--account', 'later', '--json'], here).out).rows;
    assert.deepEqual(rows.map((row) => [row.kind, row.source, row.inputs.verb]), [['admin', 'cli', 'account_add']]);
  });

  test('nothing that is written there is readable by others', () => {
    for (const file of fs.readdirSync(dir).filter((name) => name.startsWith('tidegate'))) {
      assert.equal(fs.statSync(path.join(dir, file)).mode & 0o077, 0, file);
    }
  });
});

describe('the control plane of a gateway', () => {
  let mock;
  let gateway;
  const members = {};
  before(async () => {
    mock = await Mock.start();
    gateway = await Gateway.start(mock, {
      models: modelsOn({ 'gpt-live': 'openai' }),
      plans: { free: {}, pro: {} },
      limits: { month: { counts: 'cost', per: 'account', window: 'month', cap: { default: '5 USD', plan: { pro: '50 USD' } } } },
    });
    for (const name of ['ada', 'bob']) {
      members[name] = gateway.member(name);
    }
    for (const role of ['admin', 'observer', 'service']) {
      members[role] = gateway.addKey('ada', '--role', role).secret;
    }
    for (const name of ['ada', 'bob']) {
      const answer = await ask(`${gateway.url}/v1/chat/completions`, {
        key: members[name],
        body: { model: 'gpt-live', max_tokens: 40, messages: [{ role: 'user', content: 'hi' }] },
      });
      assert.equal(answer.status, 200, answer.text);
      members[`${name}-request`] = answer.request_id;
    }
  });
  after(async () => {
    await gateway?.stop();
    await mock?.stop();
  });
  const get = (where, key) => ask(gateway.url + where, { method: 'GET', key });

  test('what became of a request is told to its account, and to nobody else', async () => {
    const own = await get(`/api/v1/requests/${members['ada-request']}`, members.ada);
    assert.equal(own.status, 200, own.text);
    assert.equal(own.json.state, 'over');
    assert.ok(own.json.rows[0].cost_micros > 0);
    const foreign = await get(`/api/v1/requests/${members['bob-request']}`, members.ada);
    const nobodys = BigInt(members['bob-request'].slice('req_'.length)) + 500_000n; // of the same gateway
    const missing = await get(`/api/v1/requests/req_${nobodys}`, members.ada);
    assert.deepEqual([foreign.status, foreign.text], [missing.status, missing.text]);
    assert.equal(foreign.status, 404);
    assert.equal((await get(`/api/v1/requests/${members['bob-request']}`, members.observer)).status, 200);
  });

  test('status shows a key its own account alone', async () => {
    const own = (await get('/api/v1/status?account=bob', members.ada)).json;
    assert.ok(own.calls.length > 0 && own.calls.every((call) => call.account === 'ada'));
    assert.ok(own.meters.length > 0 && own.meters.every((meter) => meter.account === 'ada'));
    assert.equal(own.gateway.store, undefined);
    const all = (await get('/api/v1/status', members.observer)).json;
    assert.deepEqual(new Set(all.calls.map((call) => call.account)), new Set(['ada', 'bob']));
    assert.ok(all.gateway.store);
  });

  test('a meter says what is used of which cap', async () => {
    const meter = (await get('/api/v1/status', members.bob)).json.meters.find(({ limit }) => limit === 'month');
    const spent = (await gateway.ledger({ account: 'bob', kind: 'settle' })).reduce((sum, row) => sum + row.cost_micros, 0);
    assert.deepEqual([meter.used, meter.held, meter.cap, meter.unit], [spent, 0, 5_000_000, 'micro_usd']);
    assert.ok(Date.parse(meter.resets_at) > Date.now());
  });

  test('admin endpoints want an admin key', async () => {
    for (const [key, status] of [[undefined, 401], ['tg-nonsense', 401], [members.ada, 403], [members.service, 403], [members.observer, 403], [members.admin, 200]]) {
      for (const where of ['/api/admin/accounts', '/api/admin/keys', '/api/admin/ledger', '/api/admin/limits']) {
        const answer = await get(where, key);
        assert.equal(answer.status, status, `${where}: ${answer.text}`);
        assert.ok(status === 200 || answer.json.error.code, answer.text);
      }
    }
    const refused = await ask(`${gateway.url}/api/admin/accounts`, { key: members.observer, body: { name: 'eve' } });
    assert.equal(refused.status, 403);
    assert.ok(!(await get('/api/admin/accounts', members.admin)).json.accounts.some(({ name }) => name === 'eve'));
  });

  test('an admin key makes accounts and keys, with its name on the ledger', async () => {
    const post = (where, body) => ask(gateway.url + where, { key: members.admin, body });
    assert.equal((await post('/api/admin/accounts', { name: 'cy', plan: 'pro' })).status, 201);
    assert.equal((await post('/api/admin/accounts', { name: 'cy' })).status, 409);
    const made = await post('/api/admin/keys', { account: 'cy', label: 'l' });
    assert.equal(made.status, 201);
    assert.equal((await get('/v1/models', made.json.key)).status, 200);
    assert.equal((await post(`/api/admin/keys/${made.json.id}/revoke`)).status, 200);
    assert.equal((await get('/v1/models', made.json.key)).status, 401);
    const rows = await gateway.ledger({ account: 'cy' });
    assert.deepEqual(rows.map((row) => row.inputs.verb), ['account_add', 'key_add', 'key_revoke']);
    assert.ok(rows.every((row) => /^key_\d+$/.test(row.source)));
    assert.ok(!JSON.stringify(rows).includes(made.json.key));
  });

  test('a key that expires is refused from then on', async () => {
    const { secret } = gateway.addKey('bob', '--expires', '2s');
    assert.equal((await get('/api/v1/status', secret)).status, 200);
    await sleep(2100);
    const late = await get('/api/v1/status', secret);
    assert.deepEqual([late.status, late.json.error.code], [401, 'key_expired']);
  });

  test('a body that is too large, and a path with an odd name', async () => {
    const large = await ask(`${gateway.url}/api/admin/accounts`, { key: members.admin, body: { name: 'x'.repeat(70_000) } });
    assert.equal(large.status, 413, large.text);
    gateway.addAccount('a/b ü %41');
    assert.equal(gateway.command('account', 'ban', 'a/b ü %41').state, 'banned');
    assert.equal(gateway.command('account', 'unban', 'a/b ü %41').state, 'ok');
  });

  test('the ledger is filtered and pages', async () => {
    const control = ['--control', gateway.control];
    const table = run(['ledger', '--account', 'ada', '--kind', 'settle', ...control]).out.trim().split('\n');
    assert.equal(table.length, 2, table.join('\n'));
    assert.match(table[1], /\tsettle\tada\tgpt-live\topenai\t/);
    assert.equal(gateway.command('ledger', '--since', '2999-01-01').rows.length, 0);
    assert.equal(gateway.command('ledger', '--until', '2001-01-01').rows.length, 0);
    assert.equal(gateway.command('ledger', members['ada-request']).rows[0].request, members['ada-request']);
    for (const [id, sentence] of [
      ['req_1', 'There is no request of this id, or its rows were older than they are kept'],
      ['nonsense', 'There is no request of this id, or its rows were older than they are kept.'],
      [(await ask(`${gateway.url}/v1/chat/completions`, { key: 'tg-nobody', body: {} })).request_id, 'answered before the gate'],
    ]) {
      const done = run(['ledger', id, ...control]);
      assert.equal(done.code, 1, id);
      assert.ok(done.err.includes(sentence), `${id}: ${done.err}`);
    }
    assert.equal(run(['ledger', members['ada-request'], '--kind', 'settle', ...control]).code, 2);
    const all = gateway.command('ledger', '--limit', '1000').rows.map(({ row }) => row);
    const paged = [];
    for (let before; ; ) {
      const page = await gateway.admin(`/api/admin/ledger?limit=3${before ? `&before=${before}` : ''}`);
      paged.push(...page.rows.map(({ row }) => row));
      before = page.next_before;
      if (!before) {
        break;
      }
    }
    assert.deepEqual(paged, all);
    const csv = run(['ledger', '--csv', '--kind', 'settle', ...control]).out.trim().split('\r\n').map((line) => line.split(','));
    assert.equal(csv.length, 3);
    assert.ok(csv.every((line) => line.length === csv[0].length));
    assert.ok(Number(csv[1][csv[0].indexOf('cost_micros')]) > 0);
  });

  test('health is told without a key, and metrics on this machine', async () => {
    assert.equal((await get('/healthz')).json.ok, true);
    assert.equal((await get('/readyz')).json.ready, true);
    const metrics = await get('/metrics');
    assert.match(metrics.headers['content-type'], /^text\/plain; version=0\.0\.4/);
    assert.match(metrics.text, /^tidegate_requests_total \d+$/m);
    assert.equal((await ask(`${gateway.url}/healthz`, { method: 'HEAD' })).status, 200);
    assert.equal((await ask(`${gateway.url}/healthz`, { method: 'POST' })).status, 405);
    assert.equal((await get('/api/nothing', members.admin)).status, 404);
  });

  test('what a proxy of this machine asks for others is not asked by this machine', async () => {
    for (const header of ['X-Forwarded-For', 'Forwarded', 'X-Real-IP', 'Via']) {
      const through = (where, key) => ask(gateway.url + where, { method: 'GET', key, headers: { [header]: 'for=192.0.2.1' } });
      assert.equal((await through('/metrics')).status, 401, header);
      assert.equal((await through('/metrics', members.ada)).status, 403);
      assert.equal((await through('/metrics', members.observer)).status, 200);
      const refused = await through('/api/admin/ledger', members.admin);
      assert.deepEqual([refused.status, refused.json.error.code], [403, 'admin_needs_loopback']);
      assert.equal((await through('/healthz')).status, 200);
    }
    const control = await ask({ socketPath: gateway.control, path: '/metrics' }, { method: 'GET', headers: { Via: 'x' } });
    assert.equal(control.status, 200);
  });

  test('a listener that others reach takes nobody for this machine', async () => {
    const open = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) });
    const port = await freePort();
    open.config.listen = [open.config.listen, `0.0.0.0:${port}`];
    open.write();
    await open.restart();
    open.addAccount('ada');
    const { secret } = open.addKey('ada', '--role', 'admin');
    assert.equal((await ask(`http://127.0.0.1:${port}/metrics`, { method: 'GET' })).status, 401);
    assert.equal((await ask(`http://127.0.0.1:${port}/api/admin/ledger`, { method: 'GET', key: secret })).status, 403);
    await open.stop();
  });

  test('reload puts the file in force; a wrong one changes nothing and is told with its place', async () => {
    const own = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) });
    own.addAccount('ada');
    const user = own.addKey('ada').secret;
    const admin = own.addKey('ada', '--role', 'admin');
    const reload = () => run(['reload', '--control', own.control]);
    const models = async () => (await ask(`${own.url}/v1/models`, { method: 'GET', key: user })).json.data.map(({ id }) => id);
    const good = structuredClone(own.config);

    own.config.models['gpt-new'] = modelsOn({ 'gpt-new': 'openai' })['gpt-new'];
    own.write();
    const done = reload();
    assert.equal(done.code, 0, done.err);
    assert.match(done.out, /^.*tidegate\.yaml is in force\.\n$/);
    assert.deepEqual(await models(), ['gpt-live', 'gpt-new']);

    own.config.loops = 3;
    own.config.body_max = '64MB';
    own.write();
    assert.match(reload().out, /tidegate\.yaml is in force, but for what only a restart changes: loops, body_max\.\n$/);

    fs.writeFileSync(own.file, 'lisen: 1\nnonsense: true\n');
    const wrong = reload();
    assert.equal(wrong.code, 1);
    assert.match(wrong.err, /The configuration stays as it was: .*tidegate\.yaml:1:1: .*'listen'/);
    assert.match(wrong.err, /tidegate\.yaml:2:1: .*nonsense/);
    const told = JSON.parse(run(['reload', '--control', own.control, '--json']).out);
    assert.equal(told.error.code, 'configuration_wrong');
    assert.deepEqual(await models(), ['gpt-live', 'gpt-new']);
    fs.rmSync(own.file);
    assert.match(reload().err, /cannot be read: No such file/);

    own.config = good;
    own.write();
    const over = (key) => ask(`${own.url}/api/admin/reload`, { key });
    assert.equal((await over(user)).status, 403);
    const answer = await over(admin.secret);
    assert.deepEqual([answer.status, answer.json.reloaded], [200, true], answer.text);
    assert.deepEqual(await models(), ['gpt-live']);
    const rows = (await own.ledger()).filter((row) => row.inputs?.verb === 'reload');
    assert.deepEqual(rows.map((row) => row.source), ['control', 'control', admin.id]);
    await own.stop();
  });

  test('a gateway that drains can be asked, until its last call is over', async () => {
    const socket = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-drain-')), 'own.sock');
    const own = await Gateway.start(mock, { models: modelsOn({ 'gpt-slow': [['openai', 'mock:tokens=30,tps=20']] }) }, { also: [`unix:${socket}`] });
    const key = own.member('ada');
    let began;
    const first = new Promise((resolve) => (began = resolve));
    const call = ask(`${own.url}/v1/chat/completions`, {
      key,
      body: { model: 'gpt-slow', stream: true, max_tokens: 100, messages: [{ role: 'user', content: 'hi' }] },
      onEvent: began,
    });
    await first;
    mock.program.child.kill('SIGSTOP'); // the call lasts until all has been asked
    try {
      own.program.child.kill('SIGTERM');
      await until('it says that it stops', () => /event=stopping/.test(own.log()));
      const { gateway: state } = own.command('status');
      assert.deepEqual([state.stopping, state.calls_open], [true, 1]);
      assert.match(run(['status', '--control', own.control]).out, /It is stopping: calls in flight may end/);
      assert.equal((await ask({ socketPath: own.control, path: '/readyz' }, { method: 'GET' })).status, 503);
      for (const door of [(where) => own.url + where, (where) => ({ socketPath: socket, path: where })]) {
        const ready = await ask(door('/readyz'), { method: 'GET' });
        assert.equal(ready.status, 503, 'who balances the load sees it first');
        for (const [where, headers] of [['/v1/chat/completions', {}], ['/v1/messages', { 'anthropic-version': '2023-06-01' }]]) {
          const late = await ask(door(where), { key, headers, body: { model: 'gpt-slow', max_tokens: 5, messages: [] } });
          assert.equal(late.status, 503, `${late.text} ${late.error}`);
          assert.match(late.text, /gateway_stopping/);
          assert.equal(late.headers['retry-after'], '1');
          assert.equal(late.headers['x-should-retry'], undefined);
          assert.equal(late.headers.connection, 'close');
        }
      }
    } finally {
      mock.program.child.kill('SIGCONT');
    }
    const answer = await call;
    assert.ok(answer.clean && /\[DONE\]/.test(answer.text), answer.text.slice(-300));
    assert.deepEqual(await own.program.over(), { code: 0, signal: null });
    fs.rmdirSync(path.dirname(socket)); /* the socket is gone with the gateway */
    fs.rmSync(own.dir, { recursive: true });
  });

  test('a value that is not taken is told by the option it was typed for', () => {
    for (const [args, words] of [
      [['status', '--calls', '1000'], 'status: --calls must be a number from 1 to 100.'],
      [['ledger', '--limit', '0'], 'ledger: --limit must be a number from 1 to 10000; --csv and --ndjson have no bound'],
      [['ledger', '--key', 'x'], 'ledger: --key must be an id such as key_12.'],
      [['ledger', '--kind', 'x'], 'ledger: --kind must be settle, unbilled, '],
      [['ledger', '--since', 'x'], '--since x: wanted is a span such as 24h'],
      [['key', 'add', 'ada', '--role', 'king'], 'key add: --role must be user, service, observer or admin.'],
      [['key', 'add', 'ada', '--expires', '2001-01-01'], 'key add: --expires is over already.'],
      [['key', 'add', 'ada', '--expires', 'x'], '--expires x: wanted is a span such as 90d'],
      [['key', 'add', 'ada', '--may-act-for', 'app-*'], 'key add: --may-act-for goes with the role service alone.'],
      [['key', 'add', ''], 'key add: ACCOUNT is empty.'],
      [['account', 'add', 'a\nb'], 'account add: NAME must be a text of 1 to 127 printable bytes.'],
      [['account', 'add', 'x', '--organisation', ' '], 'account add: --organisation must be a text'],
    ]) {
      const done = run([...args, '--control', gateway.control]);
      assert.equal(done.code, 2, `${args.join(' ')}: ${done.err}`);
      assert.ok(done.err.startsWith(`tidegate: ${words}`), `${args.join(' ')}: ${done.err}`);
    }
  });

  test('a command that opens the books of a gateway that died says what it closed', { skip: sqliteAlone('opened') }, async () => {
    const own = await Gateway.start(mock, { models: modelsOn({ 'gpt-slow': [['openai', 'mock:tokens=200,tps=20']] }) });
    const key = own.member('ada');
    let began;
    const first = new Promise((resolve) => (began = resolve));
    const call = ask(`${own.url}/v1/chat/completions`, {
      key,
      body: { model: 'gpt-slow', stream: true, max_tokens: 300, messages: [{ role: 'user', content: 'hi' }] },
      onEvent: began,
    });
    await first;
    await own.kill();
    await call;
    const status = () => run(['status', '--config', own.file], { cwd: own.dir });
    const done = status();
    assert.equal(done.code, 0, done.err);
    assert.equal(done.err, 'tidegate: a gateway ended amid 1 call: closed now, as orphaned_holds says\n');
    assert.match(done.out, /^No gateway runs; these are its books\./);
    assert.match(done.out, /\torphan\t/);
    assert.equal(status().err, '', 'once');
    fs.rmSync(own.dir, { recursive: true });
  });

  test('many ask at once, some leave at once, and all who stay are answered', async () => {
    const asked = [];
    for (let i = 0; i < 60; i++) {
      asked.push(get('/api/v1/status', members.observer));
      asked.push(ask(`${gateway.url}/api/v1/status`, { method: 'GET', key: members.observer, limit_ms: i % 3 }));
    }
    const answers = await Promise.all(asked);
    for (let i = 0; i < answers.length; i += 2) {
      assert.equal(answers[i].status, 200, answers[i].text);
    }
  });
});

test('an address that cannot be had is told with what would help', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-taken-'));
  const taken = http.createServer();
  await new Promise((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const held = http.createServer();
  const socket = path.join(dir, 'held.sock');
  await new Promise((resolve) => held.listen(socket, resolve));
  const { port } = taken.address();
  const file = path.join(dir, 'tidegate.yaml');
  const serve = (lines, ...more) => {
    fs.writeFileSync(file, `${lines}\nproviders: {p: {dialect: openai, base_url: "http://127.0.0.1:1/v1"}}\nmodels: {m: {routes: [{provider: p}]}}\n`);
    return run(['serve', '--config', file, ...more], { cwd: dir });
  };
  fs.writeFileSync(path.join(dir, 'plain.sock'), '');
  for (const [done, words] of [
    [serve(`listen: 127.0.0.1:${port}`), /in use; choose another with --listen, or listen: in the configuration\n$/],
    [serve('listen: 127.0.0.1:0', '--listen', `127.0.0.1:${port}`), /in use; choose another with --listen\n$/],
    [serve('listen: 127.0.0.1:0\ncontrol: held.sock'), /held\.sock: address already in use; this is the control socket: choose another path with control:/],
    [serve('listen: 127.0.0.1:0\ncontrol: plain.sock'), /plain\.sock: a file that is no socket has that name; this is the control socket/],
  ]) {
    assert.equal(done.code, 1);
    assert.match(done.err, words);
    assert.ok(!/listen/.test(done.err.split('control socket')[1] ?? ''), done.err);
  }
  const mock = run(['mock', '--port', String(port)]);
  assert.ok(mock.code > 0 && /in use/.test(mock.err) && !/gateway/.test(mock.err), mock.err);
  taken.close();
  held.close();
  fs.rmSync(dir, { recursive: true });
});

describe('what a person types', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-cli-'));
  const here = { cwd: dir };
  after(() => fs.rmSync(dir, { recursive: true, force: true }));

  test('help names every command, and each has its own', () => {
    const all = run(['help']).out;
    const names = [...all.matchAll(/^ {2}([a-z-]+(?: [a-z]+)?) {2,}/gm)].map((found) => found[1]);
    assert.ok(names.length >= 18, all);
    for (const name of names) {
      const one = run(['help', ...name.split(' ')]);
      assert.equal(one.code, 0);
      assert.ok(one.out.startsWith(`usage: tidegate ${name}`), one.out);
    }
    assert.equal(run(['--help']).out, all);
    assert.match(run(['--version']).out, /^tidegate \d+\.\d+\.\d+\n$/);
  });

  test('wrong usage is exit code 2 and one hint', () => {
    for (const [args, hint] of [
      [['stauts'], /status/],
      [['serve', '--lisen', 'x'], /--listen/],
      [['key'], /key add/],
      [['key', 'ad'], /key add/],
      [['account', 'add'], /NAME/],
      [[], /COMMAND/],
    ]) {
      const done = run(args, here);
      assert.equal(done.code, 2, args.join(' '));
      assert.match(done.err, hint);
      assert.equal(done.out, '');
    }
  });

  test('init writes a configuration that check finds right, and never over another', () => {
    const env = { OPENAI_API_KEY: 'x', ANTHROPIC_API_KEY: 'y' };
    assert.equal(run(['init'], here).code, 0);
    const file = path.join(dir, 'tidegate.yaml');
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    assert.equal(run(['check'], { ...here, env }).code, 0);
    assert.match(run(['explain-config'], { ...here, env }).out, /passed by at most \$|not bounded: no limit says how many/);
    fs.writeFileSync(file, 'mine');
    assert.equal(run(['init'], here).code, 1);
    assert.equal(fs.readFileSync(file, 'utf8'), 'mine');
    assert.equal(run(['init', '--force'], here).code, 0);
    assert.ok(fs.readFileSync(file, 'utf8').length > 1000);
    fs.rmSync(file);
  });

  test('an import is compared with the file that it replaces, and steep moves want a yes', () => {
    const file = path.join(dir, 'new.json');
    const out = path.join(dir, 'book.json');
    const usd = 1_000_000;
    const cached = { cache_read: 200_000, cache_write: usd, cache_write_1h: usd }; // else they are the input's
    const book = (models) => JSON.stringify({ unit: 'micro-USD per million tokens', models });
    const old = [
      { id: 'a', input: 2 * usd, output: 8 * usd, ...cached },
      { id: 'b', input: usd, output: usd, ...cached, tiers: [{ above_input_tokens: 200_000, input: 2 * usd, output: 2 * usd, ...cached }] },
      { id: 'c', input: usd, output: usd, ...cached },
    ];
    const put = (models) => fs.writeFileSync(file, book(models));
    const move = (more, ...options) => {
      put(more);
      return run(['prices', 'import', file, '--out', out, ...options], here);
    };
    assert.equal(move(old).code, 0);
    const kept = fs.readFileSync(out, 'utf8');

    const mild = structuredClone(old);
    mild[0].input = 2.5 * usd;
    mild[0].output = 6 * usd;
    mild[1].tiers[0].output = 8 * usd;
    mild.push({ id: 'd', input: 1, output: 1 });
    const dry = move(mild, '--dry-run');
    assert.equal(dry.code, 0, dry.err);
    const lines = dry.out.split('\n').slice(1, -1).map((line) => line.split('\t'));
    assert.deepEqual(lines, [
      ['a', 'input', '$2.00', '$2.50', '+25.0 %'],
      ['a', 'output', '$8.00', '$6.00', '-25.0 %'],
      ['b', 'output over 200000 in', '$2.00', '$8.00', '+300.0 %'],
      ['d', '(added)', '', '', ''],
    ]);
    assert.match(dry.err, /^Against .*book\.json: 1 added, 0 removed, 3 changed\.$/m);
    assert.equal(fs.readFileSync(out, 'utf8'), kept, 'it was dry');
    assert.equal(move(mild).code, 0);
    assert.notEqual(fs.readFileSync(out, 'utf8'), kept);

    for (const [what, change] of [
      ['more than 4 times dearer', (models) => (models[0].input = 10 * usd + 1)],
      ['less than a quarter', (models) => (models[0].output = usd)],
      ['to nothing', (models) => (models[2].input = 0)],
      ['a model is gone', (models) => models.splice(2, 1)],
    ]) {
      const steep = structuredClone(mild);
      change(steep);
      const before_it = fs.readFileSync(out, 'utf8');
      const refused = move(steep);
      assert.equal(refused.code, 1, what);
      assert.match(refused.err, /book\.json stays as it was: .*--dry-run shows all, --yes takes them/);
      assert.match(refused.out, what === 'a model is gone' ? /\nc\t\(removed\)/ : / !\n/, what);
      assert.equal(fs.readFileSync(out, 'utf8'), before_it);
      const told = JSON.parse(move(steep, '--json').out);
      assert.deepEqual([told.ok, told.written, told.steep + told.removed.length], [false, false, 1]);
      assert.equal(move(steep, '--yes').code, 0);
      assert.notEqual(fs.readFileSync(out, 'utf8'), before_it);
      assert.equal(move(mild, '--yes').code, 0);
    }
    assert.equal(run(['prices', 'list', '--json'], here).code, 0);
    [file, out].forEach((name) => fs.rmSync(name));
  });

  test('a command without a gateway or books is one clear sentence', () => {
    const done = run(['status'], here);
    assert.equal(done.code, 1);
    assert.match(done.err, /^tidegate: no gateway is found: this folder has neither tidegate\.sock nor tidegate\.yaml; .*--control.*\n$/);
    assert.deepEqual(fs.readdirSync(dir), []);
    for (const [args, env, named] of [
      [['--control', 'nobody.sock'], {}, /^tidegate: no gateway answers at nobody\.sock, which --control names\n$/],
      [[], { TIDEGATE_CONTROL: 'no.sock' }, /^tidegate: no gateway answers at no\.sock, which TIDEGATE_CONTROL names\n$/],
      [['--config', 'none.yaml'], {}, /^tidegate: none\.yaml cannot be read: No such file or directory\n$/],
    ]) {
      const told = run(['status', ...args], { ...here, env });
      assert.equal(told.code, 1);
      assert.match(told.err, named);
    }
  });

  test('secrets are asked for by serve and check alone', () => {
    const file = path.join(dir, 'secret.yaml');
    const config = (store) => `store: ${store}
providers: {p: {dialect: openai, base_url: 'https://llm.example.org/v1', credentials: {company: {env: NOT_SET_HERE}}},
  q: {dialect: openai, base_url: 'https://llm.example.org/v1', credentials: {company: {file: no-such-secret}}}}
models: {m: {price: {input: 1 USD, output: 1 USD}, routes: [{provider: p}, {provider: q}]}}
limits: {day: {counts: cost, per: account, window: day, cap: 1 USD}}
`;
    fs.writeFileSync(file, config('sqlite:secret.db'));
    for (const args of [['account', 'add', 'ada'], ['key', 'add', 'ada'], ['status'], ['ledger'], ['account', 'list'], ['prices', 'list']]) {
      const done = run([...args, '--config', file], here);
      assert.equal(done.code, 0, `${args.join(' ')}: ${done.err}`);
    }
    assert.match(run(['explain-config', file], here).out, /each account may spend/);
    for (const args of [['check', file], ['serve', '--config', file]]) {
      const done = run(args, here);
      assert.equal(done.code, 1);
      assert.match(done.err, /secret\.yaml:2:\d+: environment variable NOT_SET_HERE is not set/);
      assert.match(done.err, /secret\.yaml:3:\d+: the credential file cannot be read/);
    }
    fs.writeFileSync(file, config('memory'));
    const lost = run(['account', 'add', 'bob', '--config', file], here);
    assert.equal(lost.code, 1, 'nothing is kept, so nothing is done');
    assert.match(lost.err, /no gateway answers at .*, where .*secret\.yaml puts its control socket, and its books are kept in memory/);
    fs.writeFileSync(file, 'lisen: 1\n');
    const wrong = run(['status', '--config', file], here);
    assert.equal(wrong.code, 1);
    assert.match(wrong.err, /secret\.yaml says where the gateway is, but it is wrong; --control PATH goes without it\n.*secret\.yaml:1:1: .*lisen/);
    fs.readdirSync(dir).forEach((name) => fs.rmSync(path.join(dir, name)));
  });

  test('reload wants a gateway that runs', () => {
    const file = path.join(dir, 'tidegate.yaml');
    fs.writeFileSync(file, 'store: sqlite:a.db\nproviders: {p: {dialect: openai, base_url: "http://127.0.0.1:1/v1"}}\nmodels: {m: {routes: [{provider: p}]}}\n');
    const done = run(['reload'], here);
    assert.equal(done.code, 1);
    assert.match(done.err, /^tidegate: no gateway answers at tidegate\.sock, where tidegate\.yaml puts its control socket, and without one there is nothing to do\n$/);
    assert.deepEqual(fs.readdirSync(dir), ['tidegate.yaml'], 'no store is made');
    fs.rmSync(file);
  });

  test('check says as JSON what is wrong, and where', () => {
    const file = path.join(dir, 'wrong.yaml');
    fs.writeFileSync(file, 'lisen: 127.0.0.1:1\nmodels: {}\n');
    const done = run(['check', file, '--json'], here);
    assert.equal(done.code, 1);
    assert.equal(done.err, '');
    const { ok, findings } = JSON.parse(done.out);
    assert.equal(ok, false);
    assert.deepEqual(findings.find(({ message }) => /lisen/.test(message)), { line: 1, column: 1, message: "unknown option 'lisen'; did you mean 'listen'?" });
    assert.deepEqual(JSON.parse(run(['check', 'none.yaml', '--json'], here).out).findings, [
      { line: null, column: null, message: 'none.yaml cannot be read: No such file or directory' },
    ]);
    fs.rmSync(file);
  });

  test('an import says what it took and what it left out', () => {
    const file = path.join(dir, 'litellm.json');
    const out = path.join(dir, 'book.json');
    const chat = (more) => ({ litellm_provider: 'x', mode: 'chat', ...more });
    fs.writeFileSync(file, JSON.stringify({
      'gpt-x': chat({ input_cost_per_token: 3e-6, output_cost_per_token: 1.5e-5 }),
      free: chat({}),
      'two words': chat({ input_cost_per_token: 1e-6, output_cost_per_token: 1e-6 }),
      pic: { mode: 'image_generation' },
    }));
    const done = run(['prices', 'import', file, '--out', out], here);
    assert.deepEqual([done.code, done.out], [0, '']);
    assert.match(done.err, /^1 model taken, 3 left out: 1 not billed by tokens .*, 1 without a price per token .*, 1 with a name /);
    assert.match(done.err, /^Against the book in force: 1 added, \d+ removed, 0 changed\.$/m);
    assert.deepEqual(JSON.parse(run(['prices', 'import', file, '--out', out, '--json'], here).out),
      { ok: true, taken: 1, left_out: { other_mode: 1, unpriced: 1, odd_name: 1 }, out, written: true, compared_with: out,
        added: [], removed: [], changed: [], steep: 0 });
    assert.equal(JSON.parse(run(['prices', 'import', file], here).out).models.length, 1);
    fs.writeFileSync(file, '{"models": [{"id": "a", "input": -1, "output": 1}]}');
    const wrong = run(['prices', 'import', file, '--json'], here);
    assert.equal(wrong.code, 1);
    assert.match(JSON.parse(wrong.out).findings[0].message, /field 'input'/);
    assert.deepEqual(JSON.parse(run(['init', 'x.yaml', '--json'], here).out), { written: 'x.yaml' });
    [file, out, path.join(dir, 'x.yaml')].forEach((name) => fs.rmSync(name));
  });

  test('a reader that leaves does not hurt', () => {
    const done = spawnSync('sh', ['-c', `${BIN} prices list | head -1`], { ...here, encoding: 'utf8' });
    assert.match(done.stdout, /^ID/);
    assert.ok(!/Sanitizer/.test(done.stderr), done.stderr);
  });
});
