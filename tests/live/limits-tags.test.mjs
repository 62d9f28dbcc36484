// Goal: whatever a tag's value looks like, it is under the limits per that tag: nothing that a client can write
// into the header or the field escapes them, and two values are told apart.
// Method: one call a day and value, asked for twice with each kind of value, by header and by body, on each API.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, modelsOn, send } from './harness.mjs';
import { APIS, assertRefusal, small } from './refusal.mjs';

let mock;
let gateway;
let key;
before(async () => {
  mock = await Mock.start('tokens=5');
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'claude-live': 'anthropic', 'gpt-live': 'openai' }),
    tags: { team: { header: 'x-team' }, who: { body: 'metadata.who' } },
    limits: {
      'by-team': { counts: 'requests', per: 'tag', tag: 'team', window: 'month', cap: 1 },
      'by-who': { counts: 'requests', per: 'tag', tag: 'who', window: 'month', cap: 1 },
    },
  });
  key = gateway.member('ann');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const byHeader = (value) => ({ headers: { 'x-team': value } });
const byBody = (value) => ({ more: { metadata: { who: value } } });
const ask = (api, { headers, more }) => send(gateway, key, small(api, { more }), { headers });

/* Values that belong to one API alone, so that each begins with none used. */
const TEXTS = {
  'a name': (api) => `plain-${api}`,
  'one of 64 bytes': (api) => api.padEnd(64, 'x'),
  'one of 1024 bytes': (api) => api.padEnd(1024, 'x'),
  'one of 1025 bytes': (api) => api.padEnd(1025, 'x'),
  'one of 8000 bytes': (api) => api.padEnd(8000, 'x'),
  'one with a tab inside': (api) => `a\t${api}`,
};
const IN_BODIES_ALONE = {
  'one with a line end': (api) => `a\n${api}`,
  'one with a NUL': (api) => `a\u0000${api}`,
  'one with blanks around it': (api) => ` ${api} `,
  'one that turns the writing direction': (api) => `\u202e${api}`,
  'one of 100,000 bytes with escapes': (api) => api.padEnd(100_000, '\n'),
  'a number': (api) => 12 + APIS.indexOf(api),
  'a fraction': (api) => 0.5 + APIS.indexOf(api),
};

describe('a value of a tag never escapes its limit', () => {
  for (const [by, values] of [
    [byHeader, TEXTS],
    [byBody, { ...TEXTS, ...IN_BODIES_ALONE }],
  ]) {
    for (const [what, of] of Object.entries(values)) {
      test(`${what}, ${by === byHeader ? 'in a header' : 'in the body'}`, async () => {
        for (const api of APIS) {
          assert.equal((await ask(api, by(of(api)))).status, 200);
          assertRefusal(await ask(api, by(of(api))), api, { status: 402, code: 'rate_limited', words: /by-(team|who)/ });
        }
      });
    }
  }

  test('true, false and a number are what they are written as', async () => {
    for (const value of [true, false, 77]) {
      assert.equal((await ask('chat', byBody(value))).status, 200);
      assert.equal((await ask('responses', byBody(value))).status, 402);
      assert.equal((await ask('chat', byBody(String(value)))).status, 402, 'as a text it is the same value');
    }
  });

  test('what says no value is under no limit of tags: none, empty, null, lists and objects', async () => {
    for (const nothing of [undefined, '', null, ['x'], { a: 1 }]) {
      for (let i = 0; i < 2; i++) {
        assert.equal((await ask('chat', byBody(nothing))).status, 200);
      }
    }
  });

  test('explain asks about the same value as the call', async () => {
    const value = 'long'.padEnd(2000, 'x');
    const explain = (tags) => gateway.admin('/api/v1/explain', 'POST', { account: 'ann', model: 'gpt-live', tags });
    const verdictOf = async (who) => (await explain({ who })).verdict;
    assert.equal((await ask('chat', byBody(value))).status, 200);
    await gateway.booked();
    for (const [who, verdict] of [[value, 'refused'], [`${value}x`, 'allowed'], [4711, 'allowed']]) {
      assert.equal(await verdictOf(who), verdict);
    }
  });
});
