// Goal: a route that keeps failing is left alone for longer and longer, one call asks it whether it is well
// again, and people are told; a reload does not forget it.
// Method: a provider whose faults are switched on and off; what it saw is counted.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, beforeEach, describe, test } from 'node:test';

import {
  Gateway,
  Mock,
  ask,
  booksOf,
  callOf,
  modelsOn,
  numbers,
  ownLimit,
  providersOn,
  run,
  send,
  sleep,
  until,
} from './harness.mjs';
import { assertRefusal } from './refusal.mjs';

const MANY = Array.from({ length: 80 }, (_, i) => `many-${i}`);
const NAMES = ['alone', 'first', 'herd', 'kept', 'money', 'over', 'gone', 'shown', 'torn'];

let mock;
let gateway;
let key;

before(async () => {
  mock = await Mock.start();
  const { openai, second } = providersOn(mock);
  delete openai.cooldown_after; /* as it is where nobody says anything */
  gateway = await Gateway.start(mock, {
    providers: { openai, second },
    models: {
      ...modelsOn(Object.fromEntries(NAMES.map((name) => [name, [['openai', `${name}-a`]]]))),
      ...modelsOn(Object.fromEntries(MANY.map((name) => [name, 'second']))),
      ...modelsOn({ first: [['openai', 'first-a'], ['second', 'first-b']] }),
    },
  });
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});
beforeEach(() => mock.clear());

const call = (model, options = {}) =>
  send(gateway, key, callOf('chat', model, { limit: ownLimit(), ...options }), options);
const heard = async () => (await mock.journal()).length;
const cooling = (status) => ({ status, code: 'routes_failing', retry: null, after: [1, 2] });

async function routeOf(model) {
  const { routes } = await gateway.admin('/api/v1/status');
  return routes.find((route) => route.upstream_model === `${model}-a`);
}

/** Three failures in a row. */
async function coolDown(model, words = 'status=500') {
  await mock.models({ [`${model}-a`]: words });
  for (let i = 0; i < 3; i++) {
    const answer = await call(model);
    assert.ok(answer.status >= 500, answer.text);
  }
  await until('it cools down', async () => (await routeOf(model))?.state === 'cooling');
}

describe('a route that fails', () => {
  test('three in a row: it is asked no more, and who calls is told when to come again', async () => {
    await coolDown('alone');
    assert.equal(await heard(), 3);
    const refused = await call('alone');
    assert.match(assertRefusal(refused, 'chat', cooling(429)), /^All providers of this model keep failing; .* Try again in \d+ s\./);
    assert.equal(await heard(), 3, 'it is left alone');
    await mock.models({ 'alone-a': 'tokens=5' });
    await until('its wait is over', async () => (await call('alone')).status === 200);
    assert.equal(await heard(), 4);
    assert.equal(await routeOf('alone'), undefined, 'a whole answer clears it');
    await booksOf(gateway, mock);
  });

  test('failures that are not in a row do not count together', async () => {
    for (let i = 0; i < 6; i++) {
      await mock.models({ 'shown-a': i % 3 === 2 ? 'tokens=5' : 'status=500' });
      assert.equal((await call('shown')).status, i % 3 === 2 ? 200 : 500);
    }
    assert.equal(await heard(), 6);
  });

  test('the request\'s own fault is no failure of the route', async () => {
    await mock.models({ 'shown-a': 'status=400' });
    for (let i = 0; i < 5; i++) {
      assert.equal((await call('shown')).status, 400);
    }
    assert.equal(await heard(), 5);
  });

  test('the next route serves without an attempt at the first', async () => {
    await mock.models({ 'first-a': 'cut_before=1', 'first-b': 'tokens=5' });
    for (let i = 0; i < 6; i++) {
      assert.equal((await call('first')).status, 200);
    }
    const asked = (await mock.settled()).map((entry) => entry.model);
    assert.equal(asked.filter((model) => model === 'first-a').length, 3);
    assert.equal(asked.filter((model) => model === 'first-b').length, 6);
    await booksOf(gateway, mock);
  });

  test('streams that break off, and connections that fail, count as well', async () => {
    await mock.models({ 'torn-a': 'cut_after=0' });
    for (let i = 0; i < 3; i++) {
      assert.equal((await call('torn', { stream: true })).status, 200);
    }
    await until('it cools down', async () => (await routeOf('torn'))?.state === 'cooling');
    assertRefusal(await call('torn'), 'chat', cooling(429));
    await booksOf(gateway, mock);
  });

  test('after the wait one call asks, the others pass it by; each further failure doubles the wait', async () => {
    await coolDown('herd');
    const first = (await routeOf('herd')).opens_in_ms;
    assert.ok(first <= 1250, `${first}`);
    await mock.clear();
    await mock.models({ 'herd-a': 'status=500,ttft_ms=200' });
    await sleep(first + 20);
    const answers = await Promise.all(Array.from({ length: 20 }, () => call('herd')));
    assert.equal(answers.filter(({ status }) => status === 500).length, 1);
    assert.equal(answers.filter(({ status }) => status === 429).length, 19);
    assert.equal(await heard(), 1, 'no herd');
    const route = await routeOf('herd');
    assert.equal(route.failures, 4);
    assert.ok(route.opens_in_ms > first, `${route.opens_in_ms} after ${first}`);
    await booksOf(gateway, mock);
  });

  test('a probe whose client leaves gives its place to the next call', async () => {
    await coolDown('gone');
    const { opens_in_ms } = await routeOf('gone');
    await sleep(opens_in_ms + 20);
    await mock.models({ 'gone-a': 'tokens=5,ttft_ms=400' });
    await call('gone', { stream: true, limit_ms: 100 });
    await until('somebody else may ask', async () => (await routeOf('gone'))?.state === 'failing');
    await mock.models({ 'gone-a': 'tokens=5' });
    assert.equal((await call('gone')).status, 200);
  });

  test('a reload keeps what is known of a route', async () => {
    await coolDown('kept');
    gateway.command('reload');
    assert.equal((await routeOf('kept')).failures, 3);
    assertRefusal(await call('kept'), 'chat', cooling(429));
  });

  test('once its wait is over it is no longer told as cooling, though nobody asks it', async () => {
    await coolDown('over');
    await until('its wait is over', async () => (await routeOf('over'))?.state === 'failing');
    const { opens_in_ms, failures } = await routeOf('over');
    assert.deepEqual([opens_in_ms, failures], [0, 3]);
  });

  test('a provider\'s own wait goes first, and spent money is told as such', async () => {
    await mock.models({ 'money-a': 'error=quota' });
    assertRefusal(await call('money'), 'chat', { status: 402, code: 'routes_exhausted' });
    const route = await routeOf('money');
    assert.deepEqual([route.state, route.cause], ['cooling', 'spent']);
    assert.ok(route.opens_in_ms > 60_000);
  });

  test('it is shown: in the status, in the numbers, and once in the log', async () => {
    const shown = run(['status', '--control', gateway.control], { cwd: gateway.dir });
    assert.match(shown.out, /Routes that fail or are left alone\n[^]*kept-a\s+(cooling|failing)\s+failing/);
    const numbers = await ask(`${gateway.url}/metrics`, { method: 'GET' });
    assert.match(numbers.text, /tidegate_route_cooldowns_total\{cause="failing"\} [1-9]/);
    assert.match(numbers.text, /tidegate_route_cooldowns_total\{cause="spent"\} 1/);
    assert.match(numbers.text, /tidegate_routes_cooling [1-9]/);
    assert.equal(gateway.log().match(/event=route .*upstream_model=kept-a/g).length, 1);
  });

  test('the number of those that are left alone has no end', async () => {
    await mock.models(Object.fromEntries(MANY.map((name) => [name, 'status=429,retry_after=50'])));
    const was = (await numbers(gateway)).get('routes_cooling');
    const answers = await Promise.all(MANY.map((name) => call(name)));
    assert.ok(answers.every(({ status }) => status === 429));
    assert.ok((await numbers(gateway)).get('routes_cooling') >= was + MANY.length - 5, 'what cooled before may be over');
  });

  test('a reload that gives a route another model forgets it: neither status nor numbers show it', async () => {
    const cooling_now = async () => Number(/tidegate_routes_cooling (\d+)/.exec((await ask(`${gateway.url}/metrics`, { method: 'GET' })).text)[1]);
    assert.equal((await routeOf('money')).state, 'cooling');
    const was = await cooling_now();
    fs.writeFileSync(gateway.file, fs.readFileSync(gateway.file, 'utf8').replace('money-a', 'money-b'));
    gateway.command('reload');
    assert.equal(await routeOf('money'), undefined);
    assert.ok((await cooling_now()) < was);
  });
});
