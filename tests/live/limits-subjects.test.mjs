// Goal: whatever a limit counts, for whomever and over whichever window, the call that does not fit is refused,
// and nobody else is.
// Method: limits of a few calls, a provider that bills what it is told to, and one call too many for each.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { Gateway, Mock, callOf, modelsOn, send, sleep, until } from './harness.mjs';
import { assertRefusal, small } from './refusal.mjs';

/* A call of 1,000 tokens of input and 10 of output costs 3,000 + 150 micro-USD. */
const THOUSAND = 'input=1000,tokens=10';
const CALL_MICROS = 3150;
const CALL_TOKENS = 1010;

let mock;
let gateway;

before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: {
      ...modelsOn({ 'claude-live': 'anthropic' }, { tier: 'premium' }),
      ...modelsOn({
        'gpt-live': 'openai',
        'gpt-purse': 'openai', 'gpt-member': 'openai', 'gpt-org': 'openai', 'gpt-tag': 'openai', 'gpt-user': 'openai',
        'gpt-own': 'openai', 'gpt-plan': 'openai', 'gpt-each': 'openai', 'gpt-first': 'openai', 'gpt-heavy': 'openai',
        'gpt-window': 'openai', 'gpt-rate': 'openai', 'gpt-max': 'openai', 'gpt-team': 'openai',
      }, { tier: 'free' }),
    },
    input_estimate: 'bytes', /* learned ones would move from test to test */
    plans: { free: {}, pro: {} },
    groups: {
      research: { members: ['ada', 'bob'], organisation: 'acme' },
      ops: { members: ['ada', 'cy'] },
    },
    tags: { team: { header: 'x-team' }, user: { body: 'user' }, crew: { body: 'metadata.team' } },
    limits: {
      window: { counts: 'tokens', per: 'key', window: '3s rolling', cap: 2050, of: { model: 'gpt-window' } },
      first: {
        counts: 'requests', per: 'account', window: '2s from first use', cap: 6, of: { tier: 'free' },
        weights: { 'gpt-heavy': 5, 'gpt-first': 1, '*': 0 },
      },
      purse: { counts: 'cost', per: 'group', window: 'week', cap: '0.005 USD', of: { model: 'gpt-purse' } },
      member: {
        counts: 'cost', per: 'account', window: 'month', of: { model: 'gpt-member' },
        cap: { default: '0.012 USD', group: { research: '0.005 USD', ops: '0.008 USD' }, combine: 'min' },
      },
      generous: {
        counts: 'cost', per: 'account', window: 'month', of: { model: 'gpt-max' },
        cap: { default: '0.005 USD', group: { research: '0.004 USD', ops: '0.008 USD' }, combine: 'max' },
      },
      org: { counts: 'cost', per: 'organisation', window: 'month', cap: '0.005 USD', of: { model: 'gpt-org' } },
      'by-team': { counts: 'cost', per: 'tag', tag: 'team', window: 'month', cap: '0.005 USD', of: { model: 'gpt-tag' } },
      'by-user': { counts: 'requests', per: 'tag', tag: 'user', window: 'month', cap: 2, of: { model: 'gpt-user' } },
      'by-crew': { counts: 'tokens', per: 'tag', tag: 'crew', window: 'month', cap: 1100, of: { model: 'gpt-team' } },
      'by-model': { counts: 'requests', per: 'model', window: 'month', cap: 3, of: { model: 'gpt-each' } },
      'by-tier': { counts: 'requests', per: 'tier', window: 'month', cap: 6, of: { tier: 'premium' } },
      'by-plan': {
        counts: 'cost', per: 'plan', window: 'month', of: { model: 'gpt-plan' },
        cap: { default: 'unlimited', plan: { pro: '0.005 USD' } },
      },
      'own-model': { counts: 'tokens', per: 'account_model', window: 'lifetime', cap: 1100, of: { model: 'gpt-own' } },
      'money-rate': {
        counts: 'cost', per: 'account', window: { rate: '3.6 USD/h', burst: '0.005 USD' }, of: { model: 'gpt-rate' },
      },
    },
  });
  for (const name of ['ada', 'bob', 'cy', 'dan']) {
    gateway.addAccount(name);
  }
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});
beforeEach(async () => {
  await mock.configure({ default: THOUSAND });
  await mock.clear();
});

const keyOf = (account) => gateway.addKey(account).secret;
const call = (model, more = {}) => callOf('chat', model, { limit: 20, more });

/** One call after the other, each booked before the next. */
async function passes(key, model, { headers, more } = {}) {
  const answer = await send(gateway, key, call(model, more), { headers });
  assert.equal(answer.status, 200, answer.text);
  await gateway.booked();
  return answer;
}

async function refused(key, model, { headers, more, ...how }) {
  const before = (await mock.journal()).length;
  const answer = await send(gateway, key, call(model, more), { headers });
  const message = assertRefusal(answer, 'chat', how);
  assert.equal((await mock.journal()).length, before, 'nothing of it reached the provider');
  return message;
}

async function usedOf(limit) {
  const { meters } = await gateway.admin('/api/admin/limits');
  return meters.filter((meter) => meter.limit === limit).map((meter) => meter.used).sort((a, b) => a - b);
}

describe('windows', () => {
  test('tokens of a key over a rolling window: what is older than the window has left it', async () => {
    const [key, other] = [keyOf('dan'), keyOf('dan')];
    const started = Date.now();
    await passes(key, 'gpt-window');
    await sleep(1200);
    await passes(key, 'gpt-window');
    const message = await refused(key, 'gpt-window', { status: 402, code: 'tokens_spent', after: [1, 3] });
    assert.match(message, /This key of account "dan" has used 2020 of 2050 tokens within the last 3 s; this call needs \d+ \(limit "window"\)/);
    await passes(other, 'gpt-window'); /* another key has its own */
    await until('the first has left the window', async () => (await send(gateway, key, call('gpt-window'))).status === 200, 4000, 100);
    assert.ok(Date.now() - started >= 3000, 'not before the window was over');
    await gateway.booked();
    await refused(key, 'gpt-window', { status: 402, code: 'tokens_spent', after: [1, 3] });
  });

  test('FF-83 requests from first use, weighed by model: the window begins with the first and ends as a whole', async () => {
    const key = keyOf('dan');
    await passes(key, 'gpt-first');
    const began = Date.now();
    await passes(key, 'gpt-heavy');
    const message = await refused(key, 'gpt-first', { status: 429, code: 'rate_limited', retry: null, after: [1, 2] });
    assert.match(message, /Account "dan" has used 6 of 6 requests in its window of 2 s, which lasts until .* UTC.* \(limit "first"\)/);
    await passes(key, 'gpt-live'); /* weighs nothing */
    await sleep(Math.max(0, began + 2050 - Date.now()));
    await passes(key, 'gpt-heavy');
    await refused(key, 'gpt-heavy', { status: 429, code: 'rate_limited', retry: null, after: [1, 2] });
    await passes(key, 'gpt-first');
  });

  test('money at a rate: a burst at once, then as it drains', async () => {
    const key = keyOf('dan');
    await passes(key, 'gpt-rate');
    await passes(key, 'gpt-rate');
    await refused(key, 'gpt-rate', { status: 429, code: 'budget_spent', retry: null, after: [1, 3], words: /Try again in \d s\.$/ });
    await until('it has drained', async () => (await send(gateway, key, call('gpt-rate'))).status === 200, 6000, 200);
    await gateway.booked();
  });
});

describe('subjects', () => {
  test('a group is one purse for all its members', async () => {
    const [ada, bob, cy, dan] = ['ada', 'bob', 'cy', 'dan'].map(keyOf);
    await passes(bob, 'gpt-purse');
    await passes(bob, 'gpt-purse');
    assert.deepEqual(await usedOf('purse'), [2 * CALL_MICROS]);
    for (const key of [bob, ada]) { /* ada is of both groups; one of them has nothing left */
      const message = await refused(key, 'gpt-purse', { status: 402, code: 'budget_spent' });
      assert.match(message, /A limit shared by your group ".+" is at 126 % \(limit "purse"\)/);
      assert.doesNotMatch(message, /\$0\.00[56]/, 'sums of others are not told');
    }
    await passes(cy, 'gpt-purse');
    assert.deepEqual(await usedOf('purse'), [CALL_MICROS, 2 * CALL_MICROS]);
    await passes(dan, 'gpt-purse'); /* of no group: not under it at all */
    assert.deepEqual(await usedOf('purse'), [CALL_MICROS, 2 * CALL_MICROS]);
  });

  for (const [limit, model, allowed] of [
    ['member', 'gpt-member', { ada: 2, bob: 2, cy: 3, dan: 4 }],
    ['generous', 'gpt-max', { ada: 3, bob: 1, cy: 3, dan: 2 }],
  ]) {
    test(`a group's cap holds for each of its members; of several rules ${limit === 'member' ? 'the least' : 'the most'}`, async () => {
      for (const [account, calls] of Object.entries(allowed)) {
        const key = keyOf(account);
        for (let i = 0; i < calls; i++) {
          await passes(key, model);
        }
        const message = await refused(key, model, { status: 402, code: 'budget_spent' });
        assert.match(message, new RegExp(`Account "${account}" has spent .*\\(limit "${limit}"\\)`));
      }
    });
  }

  test('organisations: the account\'s own, or what a service key says', async () => {
    gateway.addAccount('shop');
    const service = gateway.addKey('shop', '--role', 'service', '--may-act-for', 'shop-*').secret;
    const of = (organisation, account = 'shop-zoe') => ({
      headers: { 'x-tidegate-account': account, 'x-tidegate-organisation': organisation },
    });
    await passes(service, 'gpt-org', of('acme'));
    await passes(service, 'gpt-org', of('acme', 'shop-yan'));
    const message = await refused(service, 'gpt-org', { ...of('acme', 'shop-xi'), status: 402, code: 'budget_spent' });
    assert.match(message, /A limit shared by your organisation is at 126 % \(limit "org"\)/);
    await passes(service, 'gpt-org', of('globex'));
    const user = keyOf('dan');
    await passes(user, 'gpt-org', { headers: { 'x-tidegate-organisation': 'acme' } }); /* from others it says nothing */
    assert.deepEqual(await usedOf('org'), [CALL_MICROS, 2 * CALL_MICROS]);
    await passes(service, 'gpt-org', of('a'.repeat(400)));
    assert.deepEqual(await usedOf('org'), [CALL_MICROS, 2 * CALL_MICROS], 'what is no name is none');
  });

  test('FF-84 tags by header, by a field of the body, and by one inside metadata', async () => {
    const key = keyOf('dan');
    const team = (name) => ({ headers: { 'x-team': name } });
    await passes(key, 'gpt-tag', team('red'));
    await passes(keyOf('cy'), 'gpt-tag', team('red'));
    await refused(key, 'gpt-tag', { ...team('red'), status: 402, code: 'budget_spent' });
    await passes(key, 'gpt-tag', team('blue'));
    await passes(key, 'gpt-tag'); /* without a tag no limit of tags */
    const long = (end) => team('t'.repeat(300) + end); /* longer than a name: still told apart */
    await passes(key, 'gpt-tag', long('a'));
    await passes(key, 'gpt-tag', long('a'));
    await refused(key, 'gpt-tag', { ...long('a'), status: 402, code: 'budget_spent' });
    await passes(key, 'gpt-tag', long('b'));

    const user = (user) => ({ more: { user } });
    for (const name of ['zo\\u00eb "z"', 'zo\\u00eb "z"']) {
      await passes(key, 'gpt-user', user(name));
    }
    await refused(key, 'gpt-user', { ...user('zo\\u00eb "z"'), status: 402, code: 'rate_limited' });
    for (const nothing of ['', null, ['x']]) {
      for (let i = 0; i < 3; i++) {
        await passes(key, 'gpt-user', user(nothing)); /* says no name, so it counts for nobody */
      }
    }
    const crew = (team) => ({ more: { metadata: { team } } });
    await passes(key, 'gpt-team', crew('night'));
    await refused(key, 'gpt-team', { ...crew('night'), status: 402, code: 'tokens_spent' });
    await passes(key, 'gpt-team', crew('day'));
  });

  test('models, tiers, plans, and an account\'s model each have their own', async () => {
    const [cy, dan] = ['cy', 'dan'].map(keyOf);
    const pro = gateway.member('pro-one', '--plan', 'pro');
    const second = gateway.member('pro-two', '--plan', 'pro');
    for (const key of [cy, dan, cy]) {
      await passes(key, 'gpt-each');
    }
    await refused(dan, 'gpt-each', { status: 402, code: 'rate_limited', words: /shared by all callers of this model is at 100 %/ });
    await passes(pro, 'gpt-plan');
    await passes(second, 'gpt-plan');
    await refused(pro, 'gpt-plan', { status: 402, code: 'budget_spent', words: /shared by all accounts of your plan/ });
    await passes(dan, 'gpt-plan');
    await passes(dan, 'gpt-own');
    await passes(cy, 'gpt-own');
    const message = await refused(dan, 'gpt-own', { status: 402, code: 'tokens_spent', after: null });
    assert.match(message, /Account "dan" with this model has used 1010 of 1100 tokens/);
    for (let i = 0; i < 6; i++) {
      const key = [cy, dan][i % 2];
      assert.equal((await send(gateway, key, small('messages'))).status, 200);
    }
    const answer = await send(gateway, cy, small('messages'));
    const tier = assertRefusal(answer, 'messages', { status: 402, code: 'rate_limited' });
    assert.match(tier, /A limit shared by all callers of such models is at 100 % \(limit "by-tier"\)/);
    await gateway.booked();
    assert.deepEqual(await usedOf('own-model'), [CALL_TOKENS, CALL_TOKENS]);
  });

  test('FF-40 a call refused by one of several limits moves no meter of the others', async () => {
    const was = JSON.stringify((await gateway.admin('/api/admin/limits')).meters.filter((meter) => meter.window !== 'rate' && meter.window !== 'first_use'));
    for (const account of ['ada', 'bob']) {
      await refused(keyOf(account), 'gpt-purse', { headers: { 'x-team': 'green' }, more: { user: 'somebody' }, status: 402, code: 'budget_spent' });
    }
    const is = JSON.stringify((await gateway.admin('/api/admin/limits')).meters.filter((meter) => meter.window !== 'rate' && meter.window !== 'first_use'));
    assert.equal(is, was);
    await gateway.booked();
  });
});
