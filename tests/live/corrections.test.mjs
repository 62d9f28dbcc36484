// Goal: what anybody has used of a limit can be corrected, whoever it counts for, and the next call honours it; what
// names nobody is refused with the names there are.
// Method: a limit per each kind of subject, corrected up to its cap and back again between calls.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, ask, callOf, modelsOn, run, send } from './harness.mjs';

const CAP_MICROS = 1_000_000;
const PERS = ['gateway', 'account', 'key', 'thread_tree', 'model', 'account_model', 'plan', 'group', 'organisation', 'tier', 'tag'];

const limitOf = (per) => `by-${per.replace('_', '-')}`;

let mock;
let gateway;
let secret;
let key;
before(async () => {
  mock = await Mock.start();
  const models = Object.fromEntries(PERS.map((per) => [`m-${per}`, 'openai']));
  gateway = await Gateway.start(mock, {
    models: { ...modelsOn(models, { tier: 'free' }), ...modelsOn({ 'm-rate': 'openai', 'm-other': 'openai' }, { tier: 'premium' }) },
    plans: { free: {}, pro: {} },
    groups: { research: { members: ['ada'], organisation: 'acme' } },
    tags: { team: { header: 'x-team' } },
    limits: {
      ...Object.fromEntries(
        PERS.map((per) => [
          limitOf(per),
          {
            counts: 'cost', per, window: per === 'thread_tree' ? 'lifetime' : 'month', cap: `${CAP_MICROS} micros`,
            of: { model: `m-${per}` }, ...(per === 'tag' && { tag: 'team' }),
          },
        ]),
      ),
      rate: { counts: 'requests', per: 'model', window: { rate: '60/min', burst: 10 }, of: { model: 'm-rate' } },
    },
  });
  gateway.addAccount('ada', '--plan', 'pro', '--organisation', 'acme');
  ({ secret, id: key } = gateway.addKey('ada'));
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const call = (per) => {
  const asked = callOf('chat', `m-${per}`, { limit: 20 });
  return send(gateway, secret, { ...asked, headers: { ...asked.headers, 'x-team': 'search', 'x-tidegate-thread': 'run' } });
};
const pick = (object, names) => Object.fromEntries(names.map((name) => [name, object[name]]));
const adjust = (body) => ask({ socketPath: gateway.control, path: '/api/admin/adjust' }, { body });

describe('a correction', () => {
  test('reaches whoever a limit counts for', async () => {
    let thread;
    const named = {
      gateway: () => ({}),
      account: () => ({ account: 'ada' }),
      key: () => ({ key }),
      thread_tree: () => ({ thread }),
      model: () => ({ model: 'm-model' }),
      account_model: () => ({ account: 'ada', model: 'm-account_model' }),
      plan: () => ({ plan: 'pro' }),
      group: () => ({ group: 'research' }),
      organisation: () => ({ organisation: 'acme' }),
      tier: () => ({ tier: 'free' }),
      tag: () => ({ tag: 'search' }),
    };
    for (const per of PERS) {
      const first = await call(per);
      assert.equal(first.status, 200, first.text);
      await gateway.booked();
      thread = (await gateway.admin('/api/v1/threads')).threads[0].id;
      const body = { limit: limitOf(per), ...named[per]() };
      const before = (await gateway.admin('/api/admin/limits')).meters.find((meter) => meter.limit === body.limit);
      const up = await adjust({ ...body, delta_micros: CAP_MICROS });
      assert.equal(up.status, 200, `${per}: ${up.text}`);
      const { meters } = await gateway.admin('/api/admin/limits');
      const own = meters.filter((meter) => meter.limit === body.limit);
      assert.deepEqual(own.map((meter) => meter.used), [before.used + CAP_MICROS], `${per} has one meter: ${JSON.stringify(own)}`);
      assert.deepEqual(
        up.json.limits,
        [{ ...pick(own[0], Object.keys(up.json.limits[0]).filter((name) => name !== 'used_before')), used_before: before.used }],
        'its answer says what is used now, as pages show it',
      );
      for (const [name, value] of Object.entries(named[per]())) {
        assert.equal(up.json[name], name === 'tag' ? `team=${value}` : value);
      }
      const refused = await call(per);
      assert.equal(refused.status, 402, `${per}: ${refused.text}`);
      assert.equal((await adjust({ ...body, delta_micros: -CAP_MICROS })).status, 200);
      assert.equal((await call(per)).status, 200, per);
    }
  });

  test('of a call, made by many at once, is made one after the other', async () => {
    const made = await call('account');
    assert.equal(made.status, 200, made.text);
    await gateway.booked();
    const request = made.request_id;
    const cost = (await adjust({ request, delta_micros: 1, source: 'first' })).json.cost_micros;
    const told = await Promise.all(Array.from({ length: 8 }, (_, i) => adjust({ request, delta_micros: 10, source: `invoice ${i}` })));
    assert.deepEqual(told.map((answer) => answer.status), told.map(() => 200), told.map((answer) => answer.text).join('\n'));
    /* Each was judged by the sum that the one before it left, and says so. */
    const steps = told.map(({ json }) => json).sort((a, b) => a.cost_micros - b.cost_micros);
    assert.deepEqual(steps.map((one) => one.cost_before_micros), steps.map((_, i) => cost + 10 * i));
    for (let i = 1; i < steps.length; i++) {
      assert.deepEqual(steps[i].limits.map((limit) => limit.used_before), steps[i - 1].limits.map((limit) => limit.used));
    }
    const all = { request, delta_micros: -(cost + 80) };
    const back = await Promise.all(['a', 'b', 'c'].map((source) => adjust({ ...all, source })));
    assert.deepEqual(back.map((answer) => answer.status).sort(), [200, 400, 400], 'none brings it below nothing');
    const same = await Promise.all([1, 2, 3].map(() => adjust({ request, delta_micros: 5, source: 'once' })));
    assert.deepEqual(same.map((answer) => answer.status).sort(), [200, 409, 409], 'one source corrects it once');
  });

  test('of nobody says who there is, and changes nothing', async () => {
    const rows = (await gateway.ledger({ kind: 'adjust' })).length;
    const micros = { delta_micros: 5 };
    for (const [body, status, code, words] of [
      [{ limit: 'by-modle', ...micros }, 404, 'limit_not_found', /'by-modle'; there are by-gateway, by-account, .*rate\./],
      [{ limit: 'by-model', model: 'm-modle', ...micros }, 404, 'subject_not_found', /'m-modle'; there are 'm-account', .*'m-tier'\./],
      [{ limit: 'by-plan', plan: 'gold', ...micros }, 404, 'subject_not_found', /'gold'; there are 'free', 'pro'\./],
      [{ limit: 'by-group', group: 'sales', ...micros }, 404, 'subject_not_found', /'sales'; there is 'research'\./],
      [{ limit: 'by-organisation', organisation: 'acne', ...micros }, 404, 'subject_not_found', /'acne'; there is 'acme'\./],
      [{ limit: 'by-tier', tier: 'gold', ...micros }, 404, 'subject_not_found', /'gold'; there are 'free', 'premium'\./],
      [{ limit: 'by-tag', tag: 'team=sales', ...micros }, 404, 'subject_not_found', /'team=sales': no call that is counted had this tag\.$/],
      [{ limit: 'by-account', account: 'bob', ...micros }, 404, 'account_unknown', /account/],
      [{ limit: 'by-key', key: 'key_1', ...micros }, 404, 'key_not_found', /no such key/],
      [{ limit: 'by-thread-tree', thread: 'thr_1', ...micros }, 404, 'thread_not_found', /no such thread/],
      [{ limit: 'by-key', account: 'ada', ...micros }, 400, 'body_field_invalid', /'account' is too much: the limit 'by-key' counts per key/],
      [{ limit: 'by-account-model', account: 'ada', ...micros }, 400, 'body_field_invalid', /'model' is missing/],
      [{ limit: 'by-account', ...micros }, 400, 'body_field_invalid', /'account' is missing/],
      [{ limit: 'by-gateway', plan: 'pro', ...micros }, 400, 'body_field_invalid', /'plan' is too much/],
      [{ group: 'research', ...micros }, 400, 'body_field_invalid', /'limit' is missing/],
      [{ request: 'req_5', key, ...micros }, 400, 'body_field_invalid', /'request' stands alone/],
      [{ limit: 'rate', model: 'm-rate', ...micros }, 400, 'body_field_invalid', /does not count cost: say `delta`/],
      [{ limit: 'rate', model: 'm-rate', delta: 5 }, 400, 'cap_misplaced', /does not count/],
    ]) {
      const answer = await adjust(body);
      assert.deepEqual([answer.status, answer.json?.error.code], [status, code], `${JSON.stringify(body)}: ${answer.text}`);
      assert.match(answer.json.error.message, words);
    }
    assert.equal((await gateway.ledger({ kind: 'adjust' })).length, rows);
  });

  test('is a command', () => {
    const words = (...more) => run(['ledger', 'adjust', '--by', '0.10 USD', ...more, '--control', gateway.control]);
    const table = words('--limit', 'by-group', '--group', 'research').out;
    assert.match(table, /'by-group' counts \$0\.10 more for group research/);
    assert.match(table, /^LIMIT\tWHOSE\tWINDOW\tSINCE \(UTC\)\tUSED BEFORE\tUSED NOW\nby-group\tgroup research\tmonth\t\S+ \S+\t\$\S+\t\$\S+$/m);
    assert.match(words('--limit', 'by-key', '--key', key).out, /for key key_\d+ from now on/);
    assert.match(words('--limit', 'by-account-model', '--account', 'ada', '--model', 'm-account_model').out, /account ada, model m-account_model/);
    const wrong = words('--limit', 'by-group', '--group', 'sales');
    assert.equal(wrong.code, 1);
    assert.match(wrong.err, /there is 'research'/);
    assert.equal(words().code, 2);
  });

  test('and how each limit stands for an account is one question', async () => {
    await gateway.admin('/api/v1/usage-limits/overrides/ada', 'PUT', { limit: 'by-account', spend_limit_micros: 7_000_000 });
    await gateway.admin('/api/v1/usage-limits/raises/ada', 'PUT', { limit: 'by-account', raise_micros: 500_000, expires: Date.now() + 60_000 });
    await gateway.admin('/api/v1/usage-limits', 'PUT', { limit: 'by-key', spend_limit_micros: 9_000_000, period: 'month' });
    const { limits, standings } = await gateway.admin('/api/admin/limits?account=ada');
    const each = standings.filter(({ key, model, used }) => used === undefined || !(key || model)); // without those that used some of one per key or model
    assert.deepEqual(each.map((one) => one.limit), limits.map((one) => one.name)); // each once: ada is in one group
    const of = (per) => standings.find((one) => one.limit === limitOf(per));
    assert.deepEqual([of('account').cap, of('account').cap_by, of('account').raised], [7_500_000, 'set', 500_000]);
    assert.deepEqual([of('key').cap, of('key').cap_by, of('key').used], [9_000_000, 'api_default', undefined]);
    assert.deepEqual([of('group').cap, of('group').cap_by, of('group').group], [CAP_MICROS, 'default', 'research']);
    assert.ok(of('account').used > 0 && of('account').held === 0 && of('account').resets_at);
    assert.equal((await gateway.admin('/api/admin/limits')).standings, undefined);
    assert.deepEqual(gateway.command('limits', '--account', 'ada').standings, standings);
    const words = run(['limits', '--account', 'ada', '--control', gateway.control]).out;
    assert.match(words, /^by-account\s+ada\s.*\$7\.50\s+set, raised\s/m);
    assert.match(words, /^by-key\s+ada, each key\s+\$9\.00\s+set for all/m);
    assert.match(run(['limits', '--control', gateway.control]).out, /^rate\s+requests\s+model\s+.*60 in 1 min\s+refuse/m);
    assert.equal(run(['limits', '--account', 'nobody', '--control', gateway.control]).code, 1);
  });

  test('leaves books that agree', async () => {
    await gateway.booked();
    await gateway.program.end('SIGTERM');
    const audit = run(['check', '--store', '--config', gateway.file], { cwd: gateway.dir });
    assert.equal(audit.code, 0, audit.out + audit.err);
    await gateway.launch();
  });
});
