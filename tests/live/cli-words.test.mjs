// What people read on the command line: lists on a terminal of any width and in a pipe, counts in sentences, whose
// use of a limit is whose, and errors in the words that were typed.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ask, BIN, Gateway, Mock, modelsOn, run } from './harness.mjs';

const LONG_NAME = 'a-customer-with-a-very-long-name-indeed';
const LISTS = [
  [['events'], 'No events yet.', 'events'],
  [['account', 'list'], 'No accounts yet: `tidegate account add NAME` makes one.', 'accounts'],
  [['key', 'list'], 'No keys yet: `tidegate key add ACCOUNT` makes one.', 'keys'],
  [['thread', 'list'], 'No threads yet.', 'threads'],
  [['webhooks'], 'The configuration has no webhooks.', 'webhooks'],
  [['ledger'], 'No such rows in the ledger.', 'rows'],
];

let mock;
let gateway;
before(async () => {
  const money = { counts: 'cost', window: 'month' };
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai', small: 'openai' }),
    tags: { team: { header: 'x-team' } },
    limits: {
      month: { ...money, per: 'account', cap: '50 USD' },
      'per-tag': { ...money, per: 'tag', tag: 'team', cap: '50 USD' },
      'per-key': { counts: 'requests', per: 'key', window: '20h rolling', cap: 40 },
      'per-model': { counts: 'tokens', per: 'account_model', window: 'day', cap: 200_000 },
      tree: { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: '5 USD' },
    },
  });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const typed = (args) => run([...args, '--control', gateway.control]);

/** What a command prints on a terminal of so many columns. */
function onTerminal(args, columns = 80, env = {}) {
  const words = [BIN, ...args, '--control', gateway.control].map((word) => `'${word}'`).join(' ');
  const done = spawnSync('script', ['-qec', `stty cols ${columns}; ${words}`, '/dev/null'],
    { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8', ...env } });
  assert.equal(done.status, 0, done.stdout + done.stderr);
  return done.stdout.replaceAll('\r\n', '\n');
}

test('every command tells of itself when it is asked to, and ends well', () => {
  const { commands } = JSON.parse(run(['help', '--json']).out);
  for (const { command } of commands) {
    const done = run([...command.split(' '), '--help']);
    assert.deepEqual([done.code, done.err], [0, ''], command);
    assert.ok(done.out.startsWith(`usage: tidegate ${command} `), done.out);
  }
  assert.equal(run(['help', 'key', 'add', '--help']).out, run(['help', 'key', 'add']).out);
  const family = run(['key', '--help']);
  assert.deepEqual([family.code, family.out], [0, run(['help', 'key']).out]);
  assert.equal(run(['nothing', '--help']).code, 2);
});

describe('of nothing', () => {
  for (const [args, sentence, member] of LISTS) {
    test(`${args.join(' ')} says so to a person, and a program reads nothing`, () => {
      assert.equal(onTerminal(args), `${sentence}\n`);
      const piped = typed(args);
      assert.deepEqual([piped.code, piped.out, piped.err], [0, '', '']);
      assert.deepEqual(gateway.command(...args)[member], []);
    });
  }

  test('one of something is not many', () => {
    assert.match(typed(['status']).out, /2 models, 5 limits, 0 calls in flight, 0 waiting\.$/m);
    const file = path.join(gateway.dir, 'one.yaml');
    const limits = { a: { counts: 'requests', per: 'account', window: 'day', cap: 1 } };
    fs.writeFileSync(file, JSON.stringify({ ...gateway.config, models: modelsOn({ one: 'openai' }), limits }));
    assert.match(run(['explain-config', file]).out, /each account may make 1 request a day.*\n.*\bcalls to the one model\b/s);
  });
});

describe('of something', () => {
  const keys = {};
  before(async () => {
    for (const name of ['ada', LONG_NAME]) {
      keys[name] = gateway.member(name);
      for (const model of ['gpt-live', 'small']) {
        const answer = await ask(`${gateway.url}/v1/chat/completions`, {
          key: keys[name],
          headers: { 'x-team': `team of ${name}`, 'x-tidegate-thread': 'a' },
          body: { model, max_tokens: 40, messages: [{ role: 'user', content: 'hi' }] },
        });
        assert.equal(answer.status, 200, answer.text);
      }
    }
    await gateway.booked();
  });

  for (const columns of [60, 80, 120]) {
    test(`no line of a list is wider than a terminal of ${columns}`, () => {
      for (const args of [['account', 'list'], ['key', 'list'], ['thread', 'list'], ['ledger'], ['limits'], ['limits', '--account', LONG_NAME]]) {
        const out = onTerminal(args, columns);
        for (const line of out.split('\n')) {
          assert.ok([...line].length <= columns, `${args.join(' ')} at ${columns}: ${line}`);
        }
        assert.match(out, /^[A-Z]+ /, 'a table, with its head');
      }
    });
  }

  test('what is too long is shortened, an id never, and what is left out is told', () => {
    const out = onTerminal(['key', 'list'], 60);
    assert.match(out, /^key_\d+ +a-cust\S*… /m);
    assert.match(onTerminal(['ledger'], 60), /^Left out: [^.]*PROVIDER[^.]*NOTE\.$/m);
    assert.match(onTerminal(['ledger'], 60), / req_\d+$/m);
    assert.match(onTerminal(['limits', '--account', LONG_NAME], 80), /^per-key +a-c\S*… key_\d+ /m);
  });

  test('where not even that helps, a row takes a line for each of its cells', () => {
    assert.match(onTerminal(['account', 'list'], 30), new RegExp(`^NAME +${LONG_NAME}\nPLAN +\\S+\nSTATE +ok\n`, 'm'));
  });

  test('a pipe gets all of it, however narrow the terminal is', () => {
    const done = spawnSync(BIN, ['account', 'list', '--control', gateway.control], { encoding: 'utf8', env: { ...process.env, COLUMNS: '20' } });
    assert.match(done.stdout, new RegExp(`^NAME\tPLAN\tORGANISATION\tSTATE\tCREATED\tID$[^]*^${LONG_NAME}\t`, 'm'));
  });

  test('limits of an account tell the use of each of its keys and models, and nothing of tags', () => {
    const { standings } = gateway.command('limits', '--account', 'ada');
    const of = (name) => standings.filter(({ limit }) => limit === name);
    assert.deepEqual(of('per-tag').map(({ used }) => used), [undefined]);
    assert.deepEqual(of('per-key').map(({ used, cap }) => [used, cap]), [[undefined, 40], [2, 40]]);
    assert.deepEqual(of('per-model').map(({ model, used }) => [model, used > 0]).sort(), [['', false], ['gpt-live', true], ['small', true]]);
    const { out } = typed(['limits', '--account', 'ada']);
    assert.match(out, /^per-tag\teach tag\t\t\t\t\$50\.00\t/m);
    assert.match(out, /^per-key\tada, each key\t\t\t\t40\t[^]*^per-key\tada key_\d+\t5 %\t2\t0\t40\t/m);
    assert.match(out, /^per-model\tada with each model\t[^]*^per-model\tada with small\t0 %\t\d+\t0\t200000\t/m);
    assert.match(out, /^tree\tada, each thread tree\t/m);
  });

  test('until when a cap that was set, or raised, stands', () => {
    assert.match(typed(['account', 'limit', 'ada', '--raise', '5 USD', '--for', '2d']).out, /raised by \$5\.00 until/);
    const [standing] = gateway.command('limits', '--account', 'ada').standings.filter(({ limit }) => limit === 'month');
    assert.match(standing.raise_expires_at, /^\d{4}-/);
    const at = standing.raise_expires_at.slice(0, 19).replace('T', ' ');
    assert.ok(typed(['limits', '--account', 'ada']).out.includes(`\t$55.00\traised\t${at}\t`));
    assert.ok(typed(['account', 'limit', 'ada']).out.includes(`$5.00 of it is a raise until ${at} (UTC).`));
    assert.ok(onTerminal(['limits', '--account', 'ada'], 80).includes(at), 'also where there is little room');
    typed(['account', 'limit', 'ada', '--set', '60 USD', '--for', '1h']);
    const [set] = gateway.command('limits', '--account', 'ada').standings.filter(({ limit }) => limit === 'month');
    assert.ok(set.cap_expires_at < set.raise_expires_at);
    assert.ok(typed(['limits', '--account', 'ada']).out.includes(`\t$65.00\tset, raised\t${set.cap_expires_at.slice(0, 19).replace('T', ' ')}\t`));
  });

  test('what is not taken is told by the option that was typed, with the units that people type', () => {
    const money = "money such as '5 USD', '$2.50' or '5000 micros'";
    const units = 'a plain number such as 40';
    const thread = gateway.command('thread', 'list').threads[0].id;
    const adjust = ['ledger', 'adjust', '--account', 'ada', '--by'];
    for (const [args, code, words] of [
      [[...adjust, '5'], 2, `ledger adjust: --by has no unit, and this limit counts cost: say ${money}.`],
      [[...adjust, '0 USD'], 2, "ledger adjust: --by must not be 0; this is '0 USD'"],
      [[...adjust, 'much'], 2, `ledger adjust: --by wants ${money}, or ${units} where the limit counts something else; this is 'much'`],
      [['ledger', 'adjust', '--limit', 'per-key', '--key', 'key_1', '--by', '$5'], 2, `ledger adjust: --by is money, and this limit does not count cost: say ${units}.`],
      [[...adjust, '-$900'], 1, 'That is more than was used: it would leave a credit, which lets through as much more than the cap. Where that is meant, say so with --credit.'],
      [['account', 'limit', 'ada', '--set', '-$5'], 2, "account limit: --set must be above 0; this is '-$5'"],
      [['account', 'limit', 'ada', '--set', '40'], 2, `account limit: --set has no unit, and this limit counts cost: say ${money}.`],
      [['account', 'limit', 'ada', '--raise', '5', '--for', '1h'], 2, `account limit: --raise has no unit, and this limit counts cost: say ${money}.`],
      [['account', 'limit', 'ada', '--raise', '3000000000000000000 micros', '--for', '1h'], 2, 'account limit: --raise is too large: '],
      [['account', 'limit', 'ada', '--limit', 'tree', '--set', '$4'], 1, 'tidegate thread limit ID --set AMOUNT'],
      [['account', 'thresholds', 'ada', '--session', '101'], 2, 'account thresholds: --session must be a whole number from 1 to 100, or off.'],
      [['thread', 'limit', thread, '--set', '40'], 2, `thread limit: --set has no unit, and this limit counts cost: say ${money}.`],
    ]) {
      const done = typed(args);
      assert.equal(done.code, code, `${args.join(' ')}: ${done.err}`);
      assert.ok(done.err.includes(words), `${args.join(' ')}: ${done.err}`);
      assert.doesNotMatch(done.err, /_micros|`|'delta'|'amount'|null/, args.join(' '));
    }
    assert.equal(typed(['thread', 'limit', thread, '--set', '$2.50']).code, 0);
  });

  test('a tag that nobody had is not answered with the tags of others', () => {
    const done = typed(['ledger', 'adjust', '--limit', 'per-tag', '--tag', 'sales', '--by', '$1']);
    assert.equal(done.code, 1);
    assert.match(done.err, /'team=sales': no call that is counted had this tag\.$/m);
    assert.ok(!done.err.includes('team of'), done.err);
  });
});
