// Goal: what an operator gets wrong is told in one clear sentence with the place of the fault, ends with
// an exit code that is not 0, and loses nothing.
// Method: the binary is run with each fault; what must have survived is looked at afterwards.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import {
  Gateway,
  Mock,
  PROVIDER_SECRETS,
  callOf,
  freePort,
  modelsOn,
  ownLimit,
  run,
  send,
  sqliteAlone,
  until,
} from './harness.mjs';

let mock;
let dir;
before(async () => {
  mock = await Mock.start();
});
after(async () => {
  await mock?.stop();
});
beforeEach(() => {
  if (dir) {
    fs.rmSync(dir, { recursive: true, force: true });
  }
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-bad-'));
});
after(() => dir && fs.rmSync(dir, { recursive: true, force: true }));

const GOOD = [
  'listen: 127.0.0.1:1',
  'store: sqlite:books.db',
  'providers:',
  '  openai: {dialect: openai, base_url: http://127.0.0.1:9/v1, credentials: {company: {env: LIVE_OPENAI_KEY}}}',
  'models:',
  '  gpt-live: {price: {input: 3 USD, output: 15 USD}, routes: [{provider: openai, model: gpt-live}]}',
  'limits:',
  '  month: {counts: cost, per: account, window: month, cap: 5 USD}',
  '',
];

/** Writes the good file with lines replaced: {number: text | null}, numbers from 1. */
function writeConfig(changes = {}) {
  const lines = GOOD.map((line, i) => (i + 1 in changes ? changes[i + 1] : line)).filter(
    (line) => line !== null,
  );
  const file = path.join(dir, 'tidegate.yaml');
  fs.writeFileSync(file, lines.join('\n'));
  return file;
}

function serve(file, env = PROVIDER_SECRETS) {
  return run(['serve', '--config', file], { cwd: dir, env });
}

describe('a configuration with a fault', () => {
  const rows = [
    /* what, changed lines, place, words */
    ['a typo in an option', { 1: 'lisen: 127.0.0.1:1' }, '1:1', /lisen.*listen/],
    [
      'a typo in an inner option',
      { 8: '  month: {counts: cost, per: account, window: month, capp: 5 USD}' },
      '8:',
      /capp.*cap/,
    ],
    [
      'a route to a provider that is not there',
      { 6: '  gpt-live: {routes: [{provider: opnai, model: gpt-live}]}' },
      '6:',
      /opnai.*openai/,
    ],
    [
      'an amount without a unit',
      { 8: '  month: {counts: cost, per: account, window: month, cap: 5}' },
      '8:',
      /USD/,
    ],
    [
      'a window that does not exist',
      { 8: '  month: {counts: cost, per: account, window: fortnight, cap: 5 USD}' },
      '8:',
      /month/,
    ],
    [
      'a combination that does not exist yet',
      { 8: '  month: {counts: in_flight, per: account, window: month, cap: 5}' },
      '8:',
      /./,
    ],
    [
      'bill_user',
      { 8: '  month: {counts: cost, per: account, window: month, cap: 5 USD, at_cap: bill_user}' },
      '8:',
      /bill_user/,
    ],
    ['packages', { 9: 'packages: {a: {}}' }, '9:', /packages/],
    [
      'a session',
      {
        6: '  gpt-live: {session: {required: true}, routes: [{provider: openai, model: gpt-live}]}',
      },
      '6:',
      /session/,
    ],
    [
      "users' own credentials",
      {
        4: '  openai: {dialect: openai, base_url: http://127.0.0.1:9/v1, credentials: {user: {from: account}}}',
      },
      '4:',
      /user/,
    ],
    [
      'http to another machine',
      {
        4: '  openai: {dialect: openai, base_url: http://192.0.2.7/v1, credentials: {company: {env: LIVE_OPENAI_KEY}}}',
      },
      '4:',
      /https/,
    ],
    [
      'an environment variable that is not set',
      {
        4: '  openai: {dialect: openai, base_url: http://127.0.0.1:9/v1, credentials: {company: {env: NOT_SET_HERE}}}',
      },
      '4:',
      /NOT_SET_HERE/,
    ],
    ['a key twice', { 2: 'store: sqlite:books.db\nstore: sqlite:other.db' }, '3:', /store/],
    ['YAML that cannot be read', { 3: 'providers: [' }, ':', /./],
    ['a limit below its least', { 2: 'store: sqlite:books.db\nloops: 1000' }, '3:', /64/],
  ];
  for (const [what, changes, place, words] of rows) {
    test(what, () => {
      const file = writeConfig(changes);
      for (const done of [serve(file), run(['check', file], { cwd: dir, env: PROVIDER_SECRETS })]) {
        assert.equal(done.signal, null);
        assert.ok(done.code > 0, `exit code ${done.code}: ${done.out}${done.err}`);
        const told = done.err + done.out;
        assert.ok(new RegExp(`tidegate\\.yaml:\\d+:\\d+`).test(told), told);
        assert.ok(told.includes(`tidegate.yaml:${place}`) || place === ':', `at ${place}: ${told}`);
        assert.match(told, words);
        assert.ok(!/check failed|Sanitizer|core dumped/.test(told), told);
        for (const secret of Object.values(PROVIDER_SECRETS)) {
          assert.ok(!told.includes(secret));
        }
      }
      assert.ok(!fs.existsSync(path.join(dir, 'books.db')), 'no store was made');
    });
  }

  test('a file that is not there', () => {
    const done = serve(path.join(dir, 'nothing.yaml'));
    assert.ok(done.code > 0);
    assert.match(done.err, /nothing\.yaml/);
  });

  test('the good file is judged good', () => {
    const done = run(['check', writeConfig()], { cwd: dir, env: PROVIDER_SECRETS });
    assert.equal(done.code, 0, done.err + done.out);
  });

  test('a secret that stands where a name belongs is not repeated', () => {
    const secret = 'sk-proj-do-not-repeat-me-000000';
    const file = writeConfig({
      4: `  openai: {dialect: openai, base_url: http://127.0.0.1:9/v1, credentials: {company: {env: ${secret}}}}`,
    });
    const done = serve(file);
    assert.ok(done.code > 0);
    assert.ok(!(done.err + done.out).includes(secret), done.err);
  });

  test('a running gateway keeps its configuration when the new one is wrong', async () => {
    const gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) });
    const key = gateway.member('ada');
    fs.writeFileSync(gateway.file, 'listen: nowhere\nnonsense: true\n');
    gateway.program.child.kill('SIGHUP');
    await until('it says why', () => /nonsense/.test(gateway.log()));
    assert.equal(
      (await send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }))).status,
      200,
    );
    gateway.config.models['gpt-new'] = modelsOn({ 'gpt-new': 'openai' })['gpt-new'];
    gateway.write();
    gateway.program.child.kill('SIGHUP');
    await until(
      'the new model is served',
      async () =>
        (await send(gateway, key, callOf('chat', 'gpt-new', { limit: ownLimit() }))).status === 200,
    );
    await gateway.stop();
  });
});

describe('a price file with a fault', () => {
  const good = {
    as_of: '2026-09-28',
    unit: 'micro-USD per million tokens',
    models: [{ id: 'm', provider: 'p', input: 1_000_000, output: 2_000_000 }],
  };
  const rows = [
    [
      'negative numbers',
      { ...good, models: [{ ...good.models[0], input: -5 }] },
      /m.*(negative|below|-5|0)/s,
    ],
    [
      'a price that is text',
      { ...good, models: [{ ...good.models[0], output: 'cheap' }] },
      /output/,
    ],
    [
      'the same model twice',
      { ...good, models: [good.models[0], { ...good.models[0], input: 7 }] },
      /m/,
    ],
    ['no models', { as_of: 'x' }, /./],
  ];
  for (const [what, book, words] of rows) {
    test(`${what}: it is refused with its place, on import and at start`, () => {
      const file = path.join(dir, 'prices.json');
      fs.writeFileSync(file, JSON.stringify(book, null, 1));
      const done = run(['prices', 'import', file], { cwd: dir });
      assert.ok(done.code > 0, done.out);
      assert.match(done.err, words);
      assert.match(done.err, /prices\.json/);
      const config = writeConfig({ 9: 'prices: prices.json' });
      const served = serve(config);
      assert.ok(served.code > 0, served.out);
      assert.match(served.err, /prices\.json/);
      assert.ok(!fs.existsSync(path.join(dir, 'books.db')));
    });
  }

  test('a file that is no JSON', () => {
    const file = path.join(dir, 'prices.json');
    fs.writeFileSync(file, '{"models": [');
    const done = run(['prices', 'import', file], { cwd: dir });
    assert.ok(done.code > 0);
    assert.match(done.err, /prices\.json/);
  });

  test('an import that fails leaves the file that it should write as it was', () => {
    const file = path.join(dir, 'prices.json');
    const out = path.join(dir, 'out.json');
    fs.writeFileSync(out, 'precious');
    fs.writeFileSync(file, JSON.stringify({ ...good, models: [{ ...good.models[0], input: -5 }] }));
    assert.ok(run(['prices', 'import', file, '--out', out, '--yes'], { cwd: dir }).code > 0);
    assert.equal(fs.readFileSync(out, 'utf8'), 'precious');
  });

  test('an import over a file that is no price book wants a yes, and then replaces it', () => {
    const file = path.join(dir, 'prices.json');
    const out = path.join(dir, 'out.json');
    fs.writeFileSync(file, JSON.stringify(good));
    for (const damaged of ['precious', '', '{"unit":"micro-USD per million tokens","models":[{"id":"a","inp']) {
      fs.writeFileSync(out, damaged);
      const refused = run(['prices', 'import', file, '--out', out], { cwd: dir });
      assert.equal(refused.code, 1, refused.out);
      assert.match(refused.err, /out\.json stays as it was: it is no price book \(.*out\.json.*\); --yes replaces it/);
      assert.equal(fs.readFileSync(out, 'utf8'), damaged);
      const told = run(['prices', 'import', file, '--out', out, '--dry-run'], { cwd: dir });
      assert.equal(told.code, 0, told.err);
      assert.equal(fs.readFileSync(out, 'utf8'), damaged);
      const taken = run(['prices', 'import', file, '--out', out, '--yes'], { cwd: dir });
      assert.equal(taken.code, 0, taken.err);
      assert.match(taken.err, /^Against the b(ook in force|uilt-in book): /m);
      assert.equal(JSON.parse(fs.readFileSync(out, 'utf8')).models.length, good.models.length);
    }
  });

  test('a good one is written in our form', () => {
    const file = path.join(dir, 'litellm.json');
    fs.writeFileSync(
      file,
      JSON.stringify({
        'gpt-x': {
          litellm_provider: 'openai',
          mode: 'chat',
          input_cost_per_token: 0.000003,
          output_cost_per_token: 1.5e-5,
        },
      }),
    );
    const done = run(['prices', 'import', file], { cwd: dir });
    assert.equal(done.code, 0, done.err);
    const [model] = JSON.parse(done.out).models;
    assert.deepEqual([model.id, model.input, model.output], ['gpt-x', 3_000_000, 15_000_000]);
  });
});

describe('a store that cannot be had', () => {
  /** A gateway with one booked call, stopped; gives its folder as it was left. */
  async function usedStore() {
    const gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) });
    const key = gateway.member('ada');
    assert.equal(
      (await send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }))).status,
      200,
    );
    await gateway.booked();
    return { gateway, key };
  }
  const sql = (file, text) => {
    const done = spawnSync('sqlite3', [file, text], { encoding: 'utf8', timeout: 10_000 });
    assert.equal(done.status, 0, done.stderr);
    return done.stdout.trim();
  };

  test('from a newer version: refused, and left as it is', { skip: sqliteAlone('copied') }, async () => {
    const { gateway } = await usedStore();
    await gateway.program.end('SIGTERM');
    sql(gateway.store, "UPDATE meta SET value = '99' WHERE name = 'schema_version'");
    const rows = sql(gateway.store, 'SELECT count(*) FROM ledger');
    const done = run(['serve', '--config', gateway.file], {
      cwd: gateway.dir,
      env: PROVIDER_SECRETS,
    });
    assert.ok(done.code > 0);
    assert.match(done.err, /newer|version 99/);
    assert.ok(!/check failed/.test(done.err));
    assert.equal(sql(gateway.store, 'SELECT count(*) FROM ledger'), rows);
    assert.equal(sql(gateway.store, "SELECT value FROM meta WHERE name = 'schema_version'"), '99');
    sql(gateway.store, "UPDATE meta SET value = '1' WHERE name = 'schema_version'");
    await gateway.launch();
    await gateway.stop();
  });

  test('held by another gateway: refused with its process id, and the other goes on', { skip: sqliteAlone('held') }, async () => {
    const { gateway, key } = await usedStore();
    const file = path.join(gateway.dir, 'second.yaml');
    fs.writeFileSync(
      file,
      JSON.stringify({
        ...gateway.config,
        listen: `127.0.0.1:${await freePort()}`,
        control: path.join(gateway.dir, 'second.sock'),
      }),
    );
    const done = run(['serve', '--config', file], { cwd: gateway.dir, env: PROVIDER_SECRETS });
    assert.ok(done.code > 0);
    assert.match(done.err, new RegExp(`held by process ${gateway.program.child.pid}`));
    assert.equal(
      (await send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }))).status,
      200,
    );
    gateway.command('status');
    await gateway.stop();
  });

  test('that is something else: refused, and left as it is', () => {
    const file = writeConfig();
    const store = path.join(dir, 'books.db');
    fs.writeFileSync(
      store,
      'dear diary, this is no database at all, and I would like to keep it\n'.repeat(20),
    );
    const was = fs.readFileSync(store);
    const done = serve(file);
    assert.ok(done.code > 0);
    assert.match(done.err, /books\.db/);
    assert.ok(fs.readFileSync(store).equals(was));
  });

  test('that is the database of another program: refused, and left as it is', () => {
    const file = writeConfig();
    const store = path.join(dir, 'books.db');
    sql(store, "CREATE TABLE cats (name TEXT); INSERT INTO cats VALUES ('Tom')");
    const done = serve(file);
    assert.ok(done.code > 0);
    assert.match(done.err, /not a Tidegate store/);
    assert.equal(sql(store, 'SELECT name FROM cats'), 'Tom');
    assert.equal(sql(store, 'SELECT count(*) FROM sqlite_master'), '1');
  });

  test('in a folder that is not there', () => {
    const done = serve(writeConfig({ 2: 'store: sqlite:nowhere/books.db' }));
    assert.ok(done.code > 0);
    assert.match(done.err, /nowhere\/books\.db/);
  });
});

test('a port in use: refused with its address, and the store is not harmed', async () => {
  const server = net.createServer();
  await new Promise((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address();
  const done = serve(writeConfig({ 1: `listen: 127.0.0.1:${port}` }));
  assert.ok(done.code > 0, 'it ends');
  assert.match(done.err, new RegExp(`127\\.0\\.0\\.1:${port}.*in use`, 's'));
  const again = run(['serve', '--config', writeConfig({ 1: `listen: 127.0.0.1:${port}` })], {
    cwd: dir,
    env: PROVIDER_SECRETS,
  });
  assert.ok(again.code > 0 && /in use/.test(again.err), 'its store can be opened again');
  await new Promise((resolve) => {
    server.close(resolve);
  });
});

test('a port held by another gateway: the second does not share it', async () => {
  const gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) });
  const done = serve(writeConfig({ 1: `listen: 127.0.0.1:${gateway.port}` }));
  assert.ok(done.code > 0, 'two gateways at one port would share its connections');
  assert.match(done.err, /in use/);
  await gateway.stop();
});

test('a command without a gateway says so', () => {
  const done = run(['status', '--control', path.join(dir, 'nobody.sock')], { cwd: dir });
  assert.ok(done.code > 0);
  assert.match(done.err, /nobody\.sock/);
});

test('a command that does not exist names those that do', () => {
  const done = run(['sevre'], { cwd: dir });
  assert.ok(done.code > 0);
  assert.match(done.err, /serve/);
});

test('an account twice, an unknown plan, an unknown key: one sentence each', async () => {
  const gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai' }),
    plans: { free: {} },
  });
  gateway.addAccount('ada');
  for (const [args, words] of [
    [['account', 'add', 'ada'], /ada|already/],
    [['account', 'add', 'bob', '--plan', 'gold'], /gold|plan/],
    [['account', 'ban', 'nobody'], /nobody|no such/i],
    [['key', 'add', 'nobody'], /nobody|no such/i],
    [['key', 'revoke', 'key_1'], /key/],
    [['key', 'add', 'ada', '--expires', 'yesterday'], /yesterday|expires/],
    [['ledger', '--since', 'someday'], /someday|since/],
  ]) {
    const done = run([...args, '--control', gateway.control], { cwd: dir });
    assert.ok(done.code > 0, args.join(' '));
    assert.match(done.err, words, args.join(' '));
    assert.ok(done.err.trim().split('\n').length <= 3, done.err);
  }
  await gateway.stop();
});
