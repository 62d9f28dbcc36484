// Goal: events come as they happen, to those who may know of them, each once: also to who comes back after the
// connection, the gateway or its key was gone.
// Method: streams over the control socket and by keys; percentages of a limit reached by corrections.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';

import { Events, Gateway, LONG, Mock, SLOW, ask, modelsOn, until } from './harness.mjs';

const WHERE = '/api/v1/events';
const PCTS = Array.from({ length: 8 }, (_, i) => 5 * (i + 1));

let mock;
let gateway;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai' }),
    limits: { watched: { counts: 'cost', per: 'account', window: 'month', cap: '1 USD', warn: PCTS } },
  });
  for (const name of ['ann', 'bob', 'cid', 'dan', 'eve']) {
    gateway.addAccount(name);
  }
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

/** A stream: what has come of it, and how it ended. */
function follow({ key, query = '', last, accept = 'text/event-stream' } = {}) {
  const stream = { events: new Events(), ids: [], text: '', over: null };
  const to = key ? `${gateway.url}${WHERE}${query}` : { socketPath: gateway.control, path: WHERE + query };
  const headers = {
    accept,
    ...(last && { 'last-event-id': last }),
    ...(key && { authorization: `Bearer ${key}` }),
  };
  stream.request = http.request(...(key ? [to, { headers, agent: false }] : [{ ...to, headers, agent: false }]), (response) => {
    stream.response = response;
    response.setEncoding('utf8').on('data', (text) => {
      stream.text += text;
      stream.events.feed(text);
    });
    response.on('close', () => (stream.over = { clean: response.complete }));
  });
  stream.request.on('error', () => (stream.over ??= { clean: false }));
  stream.request.end();
  stream.list = () => stream.events.list.filter((event) => event.name !== 'error').map(({ name, json }) => `${json.account} ${name} ${json.data.pct}`);
  stream.last = () => [...stream.text.matchAll(/^id: (\S+)$/gm)].at(-1)?.[1];
  stream.began = () => until('the stream has begun', () => stream.last());
  return stream;
}

const seen = (stream, wanted) => until(`${wanted} came`, () => stream.list().includes(wanted)).catch((error) => {
  throw new Error(`${error.message}: ${stream.list()} ${stream.text.slice(-300)}`);
});

/** The account reaches so many percent. */
const reach = (account, pct) => gateway.admin('/api/admin/adjust', 'POST', { account, delta_micros: pct * 10_000 });

describe('events that are followed', () => {
  test('come to who may read all, and to whom they are about', async () => {
    const own = follow({ key: gateway.addKey('ann').secret });
    const asked = follow({ query: '?follow=1', accept: '*/*' });
    const of_bob = follow({ query: '?account=bob' });
    await Promise.all([own, asked, of_bob].map((stream) => stream.began()));
    assert.equal(own.response.headers['content-type'], 'text/event-stream');
    await reach('ann', 5);
    await reach('bob', 10);
    await seen(asked, 'bob warn 10');
    await seen(of_bob, 'bob warn 10');
    await seen(own, 'ann warn 5');
    assert.deepEqual(asked.list(), ['ann warn 5', 'bob warn 5', 'bob warn 10']);
    assert.deepEqual(of_bob.list(), ['bob warn 5', 'bob warn 10']);
    assert.deepEqual(own.list(), ['ann warn 5']);
    const [{ json }] = own.events.list;
    const listed = (await gateway.admin(`${WHERE}?account=ann`)).events;
    assert.deepEqual(json, listed[0]); // the same object as a page has
    for (const stream of [own, asked, of_bob]) {
      stream.request.destroy();
    }
  });

  test('with those of before, if so many are asked for', async () => {
    const stream = follow({ query: '?limit=2&account=bob' });
    await seen(stream, 'bob warn 10');
    await reach('bob', 5);
    await seen(stream, 'bob warn 15');
    assert.deepEqual(stream.list(), ['bob warn 5', 'bob warn 10', 'bob warn 15']);
    stream.request.destroy();
  });

  test('go on where they were left, each once, also after the gateway was killed', async () => {
    const first = follow({ query: '?account=cid' });
    await first.began();
    await reach('cid', 5);
    await seen(first, 'cid warn 5');
    const last = first.last();
    first.request.destroy();
    await reach('cid', 5);
    await gateway.restart();
    await reach('cid', 5);
    const second = follow({ query: '?account=cid', last });
    await seen(second, 'cid warn 15');
    await reach('cid', 5);
    await seen(second, 'cid warn 20');
    assert.deepEqual(second.list(), ['cid warn 10', 'cid warn 15', 'cid warn 20']);
    second.request.destroy();
    const third = follow({ query: '?account=cid', last: second.last() });
    await reach('cid', 5);
    await seen(third, 'cid warn 25');
    assert.deepEqual(third.list(), ['cid warn 25']);
    third.request.destroy();
  });

  test('end with the key they were asked for by', async () => {
    const { secret, id } = gateway.addKey('dan');
    const stream = follow({ key: secret });
    await stream.began();
    gateway.command('key', 'revoke', id);
    await until('the stream is over', () => stream.over);
    assert.deepEqual(stream.over, { clean: true });
    assert.match(stream.text, /^event: error\ndata: \{"error":\{"code":"key_revoked"/m);
  });

  test('end well when the gateway stops, and a comment keeps them alive', async () => {
    const streams = [follow(), follow({ key: gateway.addKey('eve').secret })];
    await Promise.all(streams.map((stream) => stream.began()));
    if (LONG) {
      await until('a comment came', () => streams.every((stream) => /^:$/m.test(stream.text)), 20_000 * SLOW);
    }
    assert.deepEqual(await gateway.program.end('SIGTERM'), { code: 0, signal: null });
    assert.deepEqual(streams.map((stream) => stream.over), [{ clean: true }, { clean: true }]);
    await gateway.launch();
  });

  test('that cannot be are refused', async () => {
    const tell = (path, options = {}) => ask({ socketPath: gateway.control, path: WHERE + path }, { method: 'GET', ...options });
    for (const [path, headers, code] of [
      ['?follow=2', {}, 'parameter_invalid'],
      ['?follow=1&limit=0', {}, 'parameter_invalid'],
      ['?follow=1', { 'last-event-id': 'what' }, 'last_event_id_invalid'],
      ['?follow=1', { 'last-event-id': 'evt_1.'.repeat(500) }, 'last_event_id_invalid'],
      ['?follow=1&account=nobody', {}, 'account_unknown'],
    ]) {
      const answer = await tell(path, { headers });
      assert.equal(answer.json?.error.code, code, `${path}: ${answer.status} ${answer.text}`);
    }
    const head = await tell('', { method: 'HEAD', headers: { accept: 'text/event-stream' } });
    assert.deepEqual([head.status, head.clean], [200, true]);
    const key = await ask(gateway.url + WHERE, { method: 'GET', key: 'tg-nobody', headers: { accept: 'text/event-stream' } });
    assert.equal(key.status, 401);
  });

  test('by more than there is room for are refused, and the room is given back', async () => {
    const many = Array.from({ length: 64 }, () => follow());
    await Promise.all(many.map((stream) => stream.began()));
    const beyond = await ask({ socketPath: gateway.control, path: `${WHERE}?follow=1` }, { method: 'GET' });
    assert.deepEqual([beyond.status, beyond.json?.error.code], [503, 'gateway_overloaded'], beyond.text);
    many.forEach((stream) => stream.request.destroy());
    await until('there is room again', async () => {
      const one = follow();
      await until('it is answered', () => one.response);
      one.request.destroy();
      return one.response.statusCode === 200;
    });
  });
});
