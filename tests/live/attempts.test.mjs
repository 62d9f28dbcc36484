// Goal: a call goes on to the next route also after an attempt that may have been billed: at most so often as
// the operator allows, only where every limit has room for both, and with each attempt on the books.
// Method: a first route with one fault, a second that works; the provider's bills against the books,
// attempt by attempt; clients that leave, and a crash, in between.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import {
  Gateway,
  Mock,
  booksOf,
  callOf,
  compareBooks,
  modelsOn,
  ownLimit,
  priced,
  providersOn,
  run,
  send,
  until,
} from './harness.mjs';

let mock;
let gateway;
let key;
let tight;

const routes = (first) => [
  [first, 'flaky'],
  ['second', 'steady'],
];

before(async () => {
  mock = await Mock.start();
  const providers = providersOn(mock);
  gateway = await Gateway.start(mock, {
    providers: {
      ...providers,
      late: { ...providers.openai, first_byte_deadline: '300ms' },
      'second-claude': {
        ...providers.anthropic,
        credentials: { company: { env: 'LIVE_SECOND_KEY' } },
      },
    },
    models: {
      ...modelsOn({
        two: routes('openai'),
        'late-then-live': routes('late'),
        'each-its-own': [...routes('openai').slice(0, 1), ['bills-openai', 'flaky-too'], ['second', 'steady']],
        three: [...routes('openai').slice(0, 1), ['bills-openai', 'flaky-too'], ['second', 'steady']],
        'two-claudes': [
          ['anthropic', 'flaky'],
          ['second-claude', 'steady'],
        ],
      }),
      ...modelsOn({ never: routes('openai') }, { billed_retries: 0 }),
      ...modelsOn(
        { twice: [...routes('openai').slice(0, 1), ['bills-openai', 'flaky-too'], ['second', 'steady']] },
        { billed_retries: 2 },
      ),
    },
    plans: { free: {}, tight: {} },
    default_plan: 'free',
    limits: {
      month: {
        counts: 'cost',
        per: 'account',
        window: 'month',
        cap: { default: '100 USD', plan: { tight: '0.010 USD' } },
      },
      'first-money': { counts: 'cost', per: 'gateway', window: 'lifetime', cap: '100 USD', of: { provider: 'openai', model: 'each-its-own' } },
      'first-calls': { counts: 'requests', per: 'gateway', window: 'lifetime', cap: 100, of: { provider: 'openai', model: 'each-its-own' } },
      'middle-none': { counts: 'in_flight', per: 'gateway', cap: 0, of: { provider: 'bills-openai', model: 'each-its-own' } },
      'second-money': { counts: 'cost', per: 'gateway', window: 'lifetime', cap: '100 USD', of: { provider: 'second', model: 'each-its-own' } },
      'second-calls': { counts: 'requests', per: 'gateway', window: 'lifetime', cap: 3, of: { provider: 'second', model: 'each-its-own' } },
    },
  });
  key = gateway.member('ada');
  tight = gateway.member('bob', '--plan', 'tight');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});
beforeEach(async () => {
  await mock.clear();
  await mock.models({ flaky: null, 'flaky-too': null, steady: 'tokens=20' });
});

const call = (model, options = {}, api = model === 'two-claudes' ? 'messages' : 'chat') =>
  send(gateway, options.key ?? key, callOf(api, model, { limit: ownLimit(), ...options }));

/** The attempts of the one call since the last clear, and that the books hold against the journal. */
async function attemptsOf(answer) {
  const { rows, journal } = await booksOf(gateway, mock);
  assert.deepEqual(new Set(rows.map((row) => row.request)), new Set([answer.request_id]));
  return { rows, journal, told: rows.map((row) => [row.kind, row.provider, row.attempt, row.status]) };
}

describe('limits on what one provider serves', () => {
  const used = async (name) => (await gateway.admin('/api/admin/limits')).meters.find((row) => row.limit === name);

  const counted = (first, second, expected) =>
    until(`${first} and ${second} stand at ${expected}`, async () =>
      (await used(first)).used === expected[0] && (await used(second)).used === expected[1]);

  test('each counts the attempts that go there; a provider without room is passed by for the next', async () => {
    let settled = [0, 0];
    for (const [words, billed] of [['status=503', false], ['status=504', true]]) {
      await mock.clear();
      await mock.models({ flaky: words, steady: 'tokens=20' });
      const answer = await call('each-its-own', { stream: true });
      assert.equal(answer.status, 200, answer.text);
      const { rows, told } = await attemptsOf(answer);
      assert.deepEqual(told.map(([kind, provider]) => [kind, provider]), [[billed ? 'settle' : 'unbilled', 'openai'], ['settle', 'second']]);
      settled = [settled[0] + rows[0].cost_micros, settled[1] + rows[1].cost_micros];
      await counted('first-money', 'second-money', settled);
      assert.deepEqual([(await used('first-money')).held, (await used('second-money')).held], [0, 0]);
    }
    assert.ok(settled[0] > 0 && settled[1] > 0);
    await counted('first-calls', 'second-calls', [2, 2]);
  });

  test('where the last provider has no room either, what the first one said is told', async () => {
    await mock.models({ flaky: null, steady: 'tokens=20' });
    assert.equal((await call('each-its-own')).status, 200); // the first serves: nothing of the second is asked
    await counted('first-calls', 'second-calls', [3, 2]);
    await mock.models({ flaky: 'status=503', steady: 'tokens=20' });
    assert.equal((await call('each-its-own')).status, 200);
    const last = await call('each-its-own');
    assert.equal(last.status, 429, last.text); // busy, as the first one said
    await counted('first-calls', 'second-calls', [5, 3]);
  });
});

describe('attempts that may be billed', () => {
  for (const [what, words, status] of [
    ['a connection that breaks instead of an answer', 'cut_before=1,bill_failed=1', 0],
    ['a timeout of the provider', 'status=504', 504],
    ['a request timeout', 'status=408,bill_failed=1', 408],
    ['a timeout of the proxy before the provider', 'status=524,html=1', 524],
  ]) {
    for (const stream of [false, true]) {
      test(`${what}: the next route serves${stream ? ' a stream' : ''}, both are booked`, async () => {
        await mock.models({ flaky: words });
        const answer = await call('two', { stream });
        assert.equal(answer.status, 200, answer.text);
        const { rows, journal, told } = await attemptsOf(answer);
        assert.deepEqual(told, [
          ['settle', 'openai', 0, status],
          ['settle', 'second', 1, 200],
        ]);
        assert.deepEqual(rows[0].flags.toSorted(), ['cut', 'estimated']);
        assert.equal(rows[1].cost_micros, priced(journal[1].bill), 'the second to the micro');
        const cost = rows[0].cost_micros + rows[1].cost_micros;
        const said = stream
          ? /cost_micros[=": ]+(\d+)/.exec(answer.events.comments.join('\n'))?.[1]
          : answer.headers['x-tidegate-cost-micros'];
        assert.equal(Number(said), cost, 'the client is told the cost of both');
      });
    }
  }

  test('an answer that breaks off, or makes no sense, before a byte of it was relayed', async () => {
    for (const words of ['cut_after=4', 'end_after=0', 'gzip=1']) {
      await mock.clear();
      await mock.models({ flaky: words });
      const answer = await call('two');
      assert.equal(answer.status, 200, answer.text);
      assert.equal(answer.json.usage.completion_tokens, 20);
      const { told } = await attemptsOf(answer);
      assert.deepEqual(told.map(([kind, provider]) => [kind, provider]), [
        ['settle', 'openai'],
        ['settle', 'second'],
      ], words);
    }
  });

  test('an answer that does not begin in time', async () => {
    await mock.models({ flaky: 'hang=1,bill_failed=1' });
    const answer = await call('late-then-live');
    assert.equal(answer.status, 200, answer.text);
    const { told, rows } = await attemptsOf(answer);
    assert.deepEqual(told.map(([kind, provider]) => [kind, provider]), [
      ['settle', 'late'],
      ['settle', 'second'],
    ]);
    assert.equal(rows[0].reason, 'provider_timeout');
  });

  test('the other dialect', async () => {
    await mock.models({ flaky: 'cut_before=1,bill_failed=1' });
    for (const stream of [false, true]) {
      await mock.clear();
      const answer = await call('two-claudes', { stream });
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual((await attemptsOf(answer)).told.map(([kind]) => kind), ['settle', 'settle']);
    }
  });

  test('one more attempt is the rule, then the failure is told and booked', async () => {
    await mock.models({ flaky: 'status=504', 'flaky-too': 'status=504,bill_failed=1' });
    const answer = await call('three');
    assert.equal(answer.status, 504);
    const { told, rows } = await attemptsOf(answer);
    assert.deepEqual(told, [
      ['settle', 'openai', 0, 504],
      ['settle', 'bills-openai', 1, 504],
    ]);
    assert.equal(
      Number(answer.headers['x-tidegate-cost-micros']),
      rows[0].cost_micros + rows[1].cost_micros,
    );
  });

  test('as many as the operator allows, and none where he allows none', async () => {
    await mock.models({ flaky: 'status=504', 'flaky-too': 'cut_before=1' });
    const third = await call('twice');
    assert.equal(third.status, 200, third.text);
    assert.deepEqual((await attemptsOf(third)).told.map(([kind]) => kind), ['settle', 'settle', 'settle']);
    await mock.clear();
    const first = await call('never');
    assert.equal(first.status, 504);
    assert.deepEqual((await attemptsOf(first)).told, [['settle', 'openai', 0, 504]]);
  });

  test('what cost nothing does not use the allowance up', async () => {
    await mock.models({ flaky: 'status=500', 'flaky-too': 'status=504' });
    const answer = await call('three');
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual((await attemptsOf(answer)).told, [
      ['unbilled', 'openai', 0, 500],
      ['settle', 'bills-openai', 1, 504],
      ['settle', 'second', 2, 200],
    ]);
  });

  test('where a limit has no room for both, the first failure is told and booked', async () => {
    await mock.models({ flaky: 'status=504' });
    const answer = await call('two', { key: tight, limit: ownLimit() % 100 + 500 });
    assert.equal(answer.status, 504, answer.text);
    const { told, journal } = await attemptsOf(answer);
    assert.deepEqual(told, [['settle', 'openai', 0, 504]]);
    assert.equal(journal.length, 1);
  });

  test('a client that leaves between two attempts is booked once each', async () => {
    await mock.models({ flaky: 'cut_before=1,ttft_ms=300,bill_failed=1', steady: 'tokens=50,ttft_ms=400,bill_after_cut=1' });
    /* Some leave before the first attempt breaks off, some around it, some while the second runs. */
    const waits = [290, 298, 300, 302, 304, 306, 310, 320, 500];
    await Promise.all(waits.map((limit_ms) => call('two', { stream: true, limit_ms })));
    const { rows } = await booksOf(gateway, mock);
    assert.equal(new Set(rows.map((row) => row.request)).size, waits.length);
  });
});

describe('a crash', () => {
  test('while the second attempt runs: the first is booked already, the second is an orphan', async () => {
    await mock.models({ flaky: 'status=504', steady: 'hang=1' });
    const lost = call('two', { stream: true });
    await until('the second attempt is there', async () => (await mock.journal()).length === 2);
    const check = () => run(['check', '--store', gateway.store], { cwd: gateway.dir });
    const open = check();
    assert.equal(open.code, 0, `the books agree while the second attempt runs: ${open.out}`);
    await gateway.kill();
    await lost;
    await gateway.launch();
    await gateway.booked();
    await mock.configure({});
    const journal = await mock.journal();
    const rows = await gateway.ledger();
    const own = rows.filter((row) => row.hold && row.inputs?.output_limit === journal[0].limit);
    assert.deepEqual(own.map((row) => [row.kind, row.attempt]), [
      ['settle', 0],
      ['orphan', 1],
    ]);
    compareBooks(own, journal);
    const over = check();
    assert.equal(over.code, 0, `and when it is over: ${over.out}`);
  });
});
