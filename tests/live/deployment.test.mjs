// Goal: the guide of docs/deployment.md holds: its files start two gateways on a primary with a synchronous
// standby behind nginx and HAProxy, no call is sent twice, and when the primary dies the books go on where they were.
// Method: exactly the files of packaging/examples, with other addresses, ports and paths; calls to a simulated
// provider whose journal is compared with the books at the end.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Certificates } from './certificates.mjs';
import { Postgres } from './postgres.mjs';
import {
  Mock, Program, ROOT, SLOW, ask, callOf, compareBooks, freePort, ownLimit, run, until,
} from './harness.mjs';

const EXAMPLES = path.join(ROOT, 'packaging/examples');
const TOOL = path.join(ROOT, 'tools/postgres');
const HAPROXY = ['/usr/sbin/haproxy', '/usr/local/sbin/haproxy'].find((file) => fs.existsSync(file));
const IS_ROOT = process.getuid() === 0;
const MODEL = 'gpt-5.5';
const LEASE_MS = 10_000;

let dir;
let certificates;
let mock;
let ports;
let owner; // of PostgreSQL's files: {uid, gid, name}
const servers = {};
const gateways = {};
const proxies = {};
let key;

const at = (...parts) => path.join(dir, ...parts);

// ---- the files, where they are here ----

/** What an operator would edit, and for the rest what a test's machine differs in. */
function placed(text, name) {
  const own = at(name ?? '');
  return [
    [/10\.0\.0\.(1[12]):8080/g, `127.0.0.$1:${ports.gateway}`],
    [/10\.0\.0\.(2[12]):5432/g, `127.0.0.$1:${ports.postgres}`],
    [/port(\s*)=(\s*)5432/g, `port$1=$2${ports.postgres}`],
    [/10\.0\.0\.\d+\/32/g, '127.0.0.1/32'], // where loopback comes from
    [/listen_addresses = '\*'/, `listen_addresses = '127.0.0.${name === 'db_1' ? 21 : 22}'`],
    [/\/etc\/postgresql\/tls/g, at('tls')],
    [/\/etc\/postgresql\/tidegate\.pass/g, at('tidegate.pass')],
    [/\/var\/lib\/postgresql\/15\/main/g, `${own}/data`],
    [/\/etc\/tidegate\/postgresql-ca\.pem/g, at('tls/ca.pem')],
    [/\/etc\/tidegate\/keys\/openai/g, at('openai.key')],
    [/\/var\/lib\/tidegate\/tidegate\.sock/g, `${own}/control.sock`],
    [/https:\/\/api\.openai\.com/g, mock.url],
    [/listen 443/g, `listen 127.0.0.1:${ports.nginx}`],
    [/bind :443/g, `bind 127.0.0.1:${ports.haproxy}`],
    [/\/etc\/(nginx|haproxy)\/tls/g, at('proxy')],
    [/\/var\/log\/nginx|\/run\/haproxy/g, at('proxy')],
    [/\/run\/nginx\.pid/g, at('proxy/nginx.pid')],
    ...(owner.name === 'postgres' ? [] : [[/peer$/m, 'trust']]),
    ...(IS_ROOT ? [] : [[/^\s*(user|group) \w+;?$/gm, '']]),
  ].reduce((all, [from, to]) => all.replace(from, to), text);
}

function place(example, target, name) {
  const file = at(target);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, placed(fs.readFileSync(path.join(EXAMPLES, example), 'utf8'), name));
  return file;
}

/** Runs a program as the user of PostgreSQL. */
function asPostgres(name, ...words) {
  return spawnSync(TOOL, ['as', ...words], {
    encoding: 'utf8',
    timeout: 60_000 * SLOW,
    env: { ...process.env, PGHOST: at(name), PGPORT: String(ports.postgres), PGUSER: 'postgres' },
  });
}

function script(name, file, ...words) {
  place(`postgresql/${file}`, `${name}/${file}`, name);
  return asPostgres(name, 'sh', at(name, file), ...words);
}

const done = (result) => assert.equal(result.status, 0, `${result.error?.message ?? ''}${result.stdout}${result.stderr}`);

function owned(...files) {
  files.forEach((file) => fs.chownSync(file, owner.uid, owner.gid));
}

// ---- machines ----

/** What Debian's pg_createcluster leaves in /etc/postgresql/15/main, and the guide's files. No machine here loses power. */
function database(name) {
  fs.mkdirSync(at(name), { mode: 0o755 });
  fs.writeFileSync(
    at(name, 'postgresql.conf'),
    `data_directory = '${at(name)}/data'\nhba_file = '${at(name)}/pg_hba.conf'\nunix_socket_directories = '${at(name)}'\n`
      + "include_dir = 'conf.d'\ntimezone = 'UTC'\nfsync = off\n",
  );
  place('postgresql/tidegate.conf', `${name}/conf.d/tidegate.conf`, name);
  place('postgresql/pg_hba.conf', `${name}/pg_hba.conf`, name);
  owned(at(name));
  servers[name] = Postgres.at(at(name), ports.postgres);
}

/** The port of a machine that was down may be in other hands for a moment: an outgoing connection of whoever asks. */
function startDatabase(name) {
  const start = () => asPostgres(name, 'pg_ctl', '-D', at(name, 'data'), '-o', `-c config_file=${at(name, 'postgresql.conf')}`,
    '-l', at(name, 'log'), '-w', 'start');
  let result = start();
  for (let tries = 1; result.status !== 0 && tries < 5; tries++) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);
    result = start();
  }
  done(result);
}

function query(name, sql, database = 'postgres') {
  const json = `SELECT coalesce(json_agg(row), '[]') FROM (${sql}) AS row`;
  const result = asPostgres(name, 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', database, '-c', json);
  done(result);
  return JSON.parse(result.stdout);
}

const following = (name) =>
  query(name, 'SELECT application_name AS name, state, sync_state FROM pg_stat_replication');

/** As systemd hands them over. */
function credentials() {
  const unit = fs.readFileSync(path.join(EXAMPLES, 'gateway/tidegate.service.d/postgresql.conf'), 'utf8');
  const [, variable, value] = /^Environment=(\w+)=(\S+)$/m.exec(unit);
  return { [variable]: value.replace('%d', at()) };
}

const urlOf = (name) => /^store: (.*)$/m.exec(fs.readFileSync(at(name, 'tidegate.yaml'), 'utf8'))[1];

async function startGateway(name) {
  const file = place(`gateway/${name}.yaml`, `${name}/tidegate.yaml`, name);
  const env = credentials();
  const judged = run(['check', '--config', file], { env });
  assert.equal(judged.code, 0, judged.err);
  const program = new Program(name, ['serve', '--config', file], { env, cwd: at(name) });
  const url = `http://127.0.0.${name.endsWith('1') ? 11 : 12}:${ports.gateway}`;
  gateways[name] = { program, url };
  await until(`${name} is ready`, async () => program.alive() && (await ask(`${url}/readyz`, { method: 'GET' })).status === 200,
    20_000 * SLOW, 50);
}

function command(name, ...words) {
  const result = run([...words, '--control', at(name, 'control.sock'), '--json']);
  assert.equal(result.code, 0, result.err + result.out);
  return JSON.parse(result.out);
}

/** Not of our binary, so not a Program: it ends with this process, like one. */
class Proxy {
  static async start(file, words, port) {
    const proxy = new Proxy();
    proxy.err = '';
    proxy.child = spawn(file, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    proxy.child.stderr.setEncoding('utf8').on('data', (text) => (proxy.err += text));
    process.on('exit', () => proxy.child.kill('SIGKILL'));
    proxy.url = `https://127.0.0.1:${port}`;
    await until(`${path.basename(file)} serves`, async () => {
      assert.equal(proxy.child.exitCode, null, proxy.err);
      const answer = await over(proxy, '/readyz', { method: 'GET' });
      assert.equal(answer.status, 200, `${answer.text}${answer.error ?? ''}\n${proxy.err}`);
      return true;
    }, 10_000 * SLOW, 50);
    return proxy;
  }

  async stop() {
    const gone = new Promise((resolve) => this.child.on('exit', resolve));
    this.child.kill('SIGTERM');
    await gone;
  }
}

const over = (proxy, where, options = {}) =>
  ask(proxy.url + where, { ca: certificates.text('authority.pem'), key, ...options });

/** One call, told apart from all others by its output limit. */
function call(proxy, { model = MODEL, ...options } = {}) {
  const { path: where, body, headers } = callOf('chat', MODEL, { limit: ownLimit(), ...options });
  return over(proxy, where, { body: { ...body, model }, headers, onEvent: options.onEvent });
}

const behindAll = Object.entries; // of proxies, by name
const served = (answer) => assert.equal(answer.status, 200, answer.text || String(answer.error));

before(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-site-'));
  fs.chmodSync(dir, 0o755);
  const id = (flag) => spawnSync(TOOL, ['as', 'id', flag], { encoding: 'utf8' }).stdout.trim();
  owner = { uid: Number(id('-u')), gid: Number(id('-g')), name: id('-un') };
  ports = { gateway: await freePort(), postgres: await freePort(), nginx: await freePort(), haproxy: await freePort() };
  mock = await Mock.start();

  certificates = new Certificates();
  certificates.authority('authority');
  certificates.leaf('server', 'authority', 'IP:127.0.0.21,IP:127.0.0.22');
  certificates.leaf('site', 'authority', 'IP:127.0.0.1');
  fs.mkdirSync(at('tls'));
  fs.mkdirSync(at('proxy'));
  const copies = {
    'tls/server.pem': 'server.pem', 'tls/server.key': 'server.key', 'tls/ca.pem': 'authority.pem',
    'proxy/llm.example.com.pem': 'site.pem', 'proxy/llm.example.com.key': 'site.key',
  };
  for (const [to, from] of Object.entries(copies)) {
    fs.writeFileSync(at(to), certificates.text(from), { mode: to.endsWith('.key') ? 0o600 : 0o644 });
  }
  fs.writeFileSync(at('tidegate.pass'), 'tide and gate\nahead of the tide\n', { mode: 0o600 });
  fs.writeFileSync(at('pgpass'), `*:${ports.postgres}:tidegate:tide and gate\n`.replace(':tidegate:', ':tidegate:tidegate:'), { mode: 0o600 });
  fs.writeFileSync(at('openai.key'), 'sk-company-openai-77aa10\n', { mode: 0o600 });
  owned(at('tls/server.key'), at('tidegate.pass'));
});

after(async () => {
  for (const [, proxy] of behindAll(proxies)) {
    await proxy.stop();
  }
  for (const { program } of Object.values(gateways)) {
    await program.end('SIGTERM', 20_000 * SLOW);
  }
  for (const server of Object.values(servers)) {
    server.remove();
  }
  await mock?.stop();
  certificates?.remove();
  fs.rmSync(dir, { recursive: true, force: true });
});

describe('the deployment of the guide', () => {
  test('a primary and a standby that its commits wait for are set up', async () => {
    database('db_1');
    done(asPostgres('db_1', 'initdb', '-D', at('db_1/data'), '-U', 'postgres', '-E', 'UTF8', '--locale=C', '-N'));
    startDatabase('db_1');
    done(script('db_1', 'primary.sh'));

    database('db_2');
    done(script('db_2', 'standby.sh', 'db_2', '127.0.0.21'));
    startDatabase('db_2');
    /* It is streamed to before it has told how far its own log is, and counts from then on. */
    await until('commits wait for the standby', () => following('db_1')[0]?.sync_state === 'quorum');
    assert.deepEqual(following('db_1'), [{ name: 'db_2', state: 'streaming', sync_state: 'quorum' }]);
  });

  test('two gateways, nginx and HAProxy start', async () => {
    await startGateway('gateway-1');
    await startGateway('gateway-2');
    command('gateway-1', 'account', 'add', 'ada');
    key = command('gateway-2', 'key', 'add', 'ada').key;

    let conf = fs.readFileSync(place('proxy/nginx.conf', 'proxy/nginx.conf'), 'utf8');
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `${what}_temp_path ${at('proxy', what)};`);
    conf = conf.replace('http {', `http {\n${temporary.join('\n')}`); // Debian's are root's
    fs.writeFileSync(at('proxy/nginx.conf'), conf);
    proxies.nginx = await Proxy.start('/usr/sbin/nginx', ['-c', at('proxy/nginx.conf'), '-g', 'daemon off;'], ports.nginx);
    if (HAPROXY) {
      fs.appendFileSync(at('proxy/llm.example.com.pem'), certificates.text('site.key'));
      const file = place('proxy/haproxy.cfg', 'proxy/haproxy.cfg');
      done(spawnSync(HAPROXY, ['-c', '-f', file], { encoding: 'utf8' }));
      proxies.haproxy = await Proxy.start(HAPROXY, ['-db', '-f', file], ports.haproxy);
    }
  });

  test('calls pass to both gateways, and tokens as they come', async () => {
    await mock.models({ [MODEL]: 'tokens=20', slow: null });
    for (const [name, proxy] of behindAll(proxies)) {
      const answers = await Promise.all(Array.from({ length: 8 }, () => call(proxy)));
      answers.forEach(served);
      const epochs = new Set(answers.map((answer) => BigInt(answer.request_id.slice('req_'.length)) >> 43n));
      assert.equal(epochs.size, 2, `${name}: ids of both gateways in ${answers.map((answer) => answer.request_id)}`);

      await mock.models({ [MODEL]: 'tokens=20,tps=20' });
      let open_at_first = null;
      const answer = await call(proxy, {
        stream: true,
        onEvent: (events) => {
          open_at_first ??= mock.journal().then((entries) => entries.filter((entry) => entry.open).length);
        },
      });
      served(answer);
      assert.equal(await open_at_first, 1, `${name}: the first event came while the provider was still writing`);
      await mock.models({ [MODEL]: 'tokens=20' });
    }
  });

  test('what is for the operator does not pass', async () => {
    for (const [, proxy] of behindAll(proxies)) {
      for (const where of ['/metrics', '/api/admin/accounts']) {
        assert.equal((await over(proxy, where, { method: 'GET' })).status, 404);
      }
    }
  });

  test('a gateway dies: its calls are not sent again, and the next ones are served', async () => {
    await mock.models({ [MODEL]: 'tokens=60,tps=20' });
    /* Half of them have had no byte of an answer: a proxy could send these again. */
    const open = behindAll(proxies).flatMap(([, proxy]) =>
      Array.from({ length: 4 }, (_, i) => call(proxy, { stream: i < 2 })));
    const in_flight = async () => (await mock.journal()).filter((entry) => entry.open).length;
    await until('all are in flight', async () => (await in_flight()) === open.length);
    const asked = (await mock.journal()).length;
    await gateways['gateway-1'].program.end('SIGKILL');
    delete gateways['gateway-1'];
    await mock.models({ [MODEL]: 'tokens=20' });
    for (const [, proxy] of behindAll(proxies)) {
      for (let i = 0; i < 4; i++) {
        served(await call(proxy));
      }
    }
    assert.equal((await mock.journal()).length, asked + 4 * behindAll(proxies).length);
    const ends = await Promise.all(open);
    assert.ok(ends.some((answer) => !answer.clean), 'streams of the one that died broke off');
    assert.ok(ends.some((answer) => answer.status === 502), 'and calls without an answer are told so');
    assert.equal((await mock.journal()).length, asked + 4 * behindAll(proxies).length, 'nothing was sent again');
  });

  test('the primary dies: calls are refused in the words of their API until the standby is promoted', async () => {
    const refused = script('db_2', 'promote.sh', '127.0.0.21');
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /still answers; switch it off first/);

    await servers.db_1.kill();
    for (const [name, proxy] of behindAll(proxies)) {
      const answer = await until(`${name} passes the refusal`, async () => {
        const one = await call(proxy);
        return one.status === 503 && one;
      }, 20_000 * SLOW);
      assert.equal(answer.json?.error?.code, 'store_unavailable', answer.text);
    }
    done(script('db_2', 'promote.sh', '127.0.0.21'));
    for (const [name, proxy] of behindAll(proxies)) {
      await until(`${name} serves`, async () => (await call(proxy)).status === 200, 20_000 * SLOW, 100);
    }
  });

  test('the lost primary comes back as the standby, and a second gateway with it', async () => {
    fs.renameSync(at('db_1/data'), at('db_1/data.lost'));
    done(script('db_1', 'standby.sh', 'db_1', '127.0.0.22'));
    startDatabase('db_1');
    await until('it follows', () => following('db_2')[0]?.state === 'streaming');
    done(asPostgres('db_2', 'psql', '-d', 'postgres', '-c', 'ALTER SYSTEM RESET synchronous_standby_names', '-c', 'SELECT pg_reload_conf()'));
    await until('commits wait for it', () => following('db_2')[0].sync_state === 'quorum');
    await startGateway('gateway-1');
    for (const [, proxy] of behindAll(proxies)) {
      served(await call(proxy));
    }
  });

  test('the books agree with the journal of the provider, call by call', async () => {
    const journal = await mock.settled(60_000 * SLOW);
    const open = () => query('db_2', 'SELECT hold_id FROM hold', 'tidegate').length;
    await until('every call is booked, those of the dead gateway too', () => open() === 0, 3 * LEASE_MS * SLOW, 200);
    const rows = [];
    for (let before_id = null; ;) {
      const query = new URLSearchParams({ limit: 1000, inputs: true, ...(before_id && { before: before_id }) });
      const { json, text } = await ask({ socketPath: at('gateway-2/control.sock'), path: `/api/admin/ledger?${query}` }, { method: 'GET' });
      assert.ok(json.rows, text);
      rows.push(...json.rows);
      before_id = json.next_before;
      if (!before_id) {
        break;
      }
    }
    const { unit, prices: [price] } = JSON.parse(run(['prices', 'list', MODEL, '--json']).out);
    assert.equal(unit, 'micro_usd_per_mtok');
    const kinds = ['input', 'output', 'cache_read', 'cache_write_5m', 'cache_write_1h'];
    const prices = Object.fromEntries(kinds.map((kind) => [kind, BigInt(price[kind])]));
    compareBooks(rows.reverse().map((row) => ({ ...row, hold: row.usage ? row.request : null })), journal, new Map(), prices);
    const checked = run(['check', '--store', urlOf('gateway-2')], { env: credentials() });
    assert.equal(checked.code, 0, checked.out + checked.err);
  });
});
