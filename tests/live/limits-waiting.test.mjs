// Goal: calls that wait in a line are judged by the configuration of now: what an operator raises lets them pass, in the
// order they came, what is gone holds them no longer, what refuses now refuses them. Their place and their deadline stay.
// Method: a slow call holds the only place of a cap, others wait behind it, and a reload comes while it still runs.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { Gateway, Mock, SLOW, callOf, modelsOn, numbers, providersOn, run, send, until } from './harness.mjs';
import { assertRefusal } from './refusal.mjs';

const LINE = { counts: 'in_flight', per: 'account', cap: 1, at_cap: { queue: '20s' } };
const MODELS = modelsOn({ 'gpt-live': 'openai', 'gpt-slow': 'openai', 'claude-live': 'anthropic' });
const ASKED = { openai: 'gpt-live', anthropic: 'claude-live' };

let mock;
let gateway;
let key;
let serial = 0;

before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, { models: MODELS, limits: { line: LINE } });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});
beforeEach(async () => {
  reload({ models: MODELS, limits: { line: LINE }, providers: providersOn(mock) });
  await mock.configure({ default: 'tokens=10' });
  await mock.models({ 'gpt-slow': `tokens=10,ttft_ms=${1200 * SLOW}` });
  await mock.clear();
  key = gateway.member(`user-${++serial}`);
});

function reload(edit = {}) {
  Object.assign(gateway.config, edit);
  gateway.write();
  const done = run(['reload', '--control', gateway.control], { cwd: gateway.dir });
  assert.equal(done.code, 0, done.err + done.out);
}

const waiting = async () => (await numbers(gateway)).get('calls_waiting');
const textsSeen = async () => (await mock.journal()).map((entry) => JSON.parse(entry.body).messages[0].content);

/** A call that holds its place until it is over: `done.is` says whether it is. */
async function hold() {
  const done = { is: false };
  done.answer = send(gateway, key, callOf('chat', 'gpt-slow', { text: 'slow', limit: 50 })).then((answer) => {
    done.is = true;
    return answer;
  });
  await until('the slow call runs', async () => (await mock.journal()).length === 1);
  return done;
}

/** Calls that wait, one behind the other; gives their promises. */
async function line(count, { model = ASKED.openai, ...options } = {}) {
  const promises = [];
  for (let i = 0; i < count; i++) {
    const call = callOf(model.startsWith('claude') ? 'messages' : 'chat', model, { text: `call ${i}`, limit: 50, stream: i % 2 === 1 });
    promises.push(send(gateway, key, call, options));
    await until('it waits', async () => (await waiting()) === i + 1);
  }
  return promises;
}

async function ends(holder) {
  assert.equal((await holder.answer).status, 200);
  assert.equal(await waiting(), 0);
  await gateway.booked();
}

describe('calls that wait, after a reload', () => {
  const edits = {
    'a higher cap': { line: { ...LINE, cap: 8 } },
    'a limit that is gone': {},
    'a limit of another kind': { line: { ...LINE, counts: 'requests', window: 'day', cap: 100, at_cap: 'refuse' } },
  };
  for (const [name, limits] of Object.entries(edits)) {
    test(`${name} lets them pass at once`, async () => {
      const holder = await hold();
      const answers = await line(5);
      reload({ limits });
      for (const answer of await Promise.all(answers)) {
        assert.equal(answer.status, 200, answer.text);
      }
      assert.equal(holder.is, false, 'nobody has waited for the call that holds the place');
      const seen = await textsSeen();
      assert.deepEqual([...seen].sort(), ['call 0', 'call 1', 'call 2', 'call 3', 'call 4', 'slow']);
      if (limits.line?.at_cap.queue) {
        const decided = (await Promise.all(answers)).map((answer) => Number(answer.request_id.slice('req_'.length)));
        assert.deepEqual(decided, [...decided].sort((a, b) => a - b), 'in the order they came');
      }
      await ends(holder);
    });
  }

  test('a cap raised by one lets one pass at a time, and who comes later comes later', async () => {
    const holder = await hold();
    const answers = await line(3);
    reload({ limits: { line: { ...LINE, cap: 2 } } });
    answers.push(send(gateway, key, callOf('chat', 'gpt-live', { text: 'later', limit: 50 })));
    for (const answer of await Promise.all(answers)) {
      assert.equal(answer.status, 200, answer.text);
    }
    assert.deepEqual(await textsSeen(), ['slow', 'call 0', 'call 1', 'call 2', 'later']);
    assert.equal(holder.is, false);
    await ends(holder);
  });

  test('what refuses now refuses them, with its own reason', async () => {
    const holder = await hold();
    const answers = await line(2);
    reload({ limits: { line: { ...LINE, at_cap: 'refuse' } } });
    for (const answer of await Promise.all(answers)) {
      assertRefusal(answer, 'chat', { status: 429, code: 'in_flight_full', retry: null, after: [1, 2], words: /line/ });
    }
    assert.equal(holder.is, false);
    await ends(holder);
  });

  test('a model that is gone is unknown to them, one that another provider serves is asked there', async () => {
    const holder = await hold();
    const [chat] = await line(1);
    const claude = send(gateway, key, callOf('messages', ASKED.anthropic, { text: 'call 1', limit: 50 }));
    await until('both wait', async () => (await waiting()) === 2);
    const { 'gpt-live': gone, ...left } = MODELS;
    const elsewhere = modelsOn({ 'claude-live': [['anthropic', 'claude-elsewhere']] });
    reload({ models: { 'a-new-first': gone, ...left, ...elsewhere }, limits: {} });
    assertRefusal(await chat, 'chat', { status: 404, code: 'model_not_found', after: null, words: /gpt-live/ });
    assert.equal((await claude).status, 200, (await claude).text);
    assert.equal(JSON.parse((await mock.journal()).at(-1).body).model, 'claude-elsewhere');
    assert.equal(holder.is, false);
    await ends(holder);
  });

  test('of configurations that follow each other closely the last one counts', async () => {
    const holder = await hold();
    const answers = await line(4);
    for (const cap of [1, 2, 1, 8]) {
      reload({ limits: { line: { ...LINE, cap } } });
    }
    for (const answer of await Promise.all(answers)) {
      assert.equal(answer.status, 200, answer.text);
    }
    assert.equal(holder.is, false);
    await ends(holder);
  });

  test('their deadline stays, however often the configuration changes', async () => {
    reload({ limits: { line: { ...LINE, at_cap: { queue: `${800 * SLOW}ms` } } } });
    const holder = await hold();
    let over = false;
    const [answer] = await line(1);
    answer.then(() => (over = true));
    reload({ limits: { line: { ...LINE, at_cap: { queue: '20s' } } } });
    while (!over && !holder.is) {
      await gateway.admin('/api/admin/reload', 'POST');
    }
    assert.equal(holder.is, false, 'it has not waited for as long as the newest configuration says');
    assertRefusal(await answer, 'chat', { status: 429, code: 'in_flight_full', retry: null, after: [1, 2] });
    await ends(holder);
  });

  test('who has left by then is passed over', async () => {
    const holder = await hold();
    const gone = send(gateway, key, callOf('chat', 'gpt-live', { text: 'gone', limit: 50 }), { limit_ms: 100 });
    assert.ok((await gone).error);
    const [answer] = [send(gateway, key, callOf('chat', 'gpt-live', { text: 'stays', limit: 50 }))];
    await until('two places are taken', async () => (await waiting()) === 2);
    reload();
    await until('the place of the one who left is free', async () => (await waiting()) === 1);
    assert.equal(holder.is, false);
    assert.equal((await answer).status, 200);
    assert.deepEqual(await textsSeen(), ['slow', 'stays']);
    await ends(holder);
  });
});
