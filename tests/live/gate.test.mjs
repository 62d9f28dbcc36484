// Goal: every dispatch passes the one gate.
// Method: the entry points are read from tbl/endpoints.h. Whoever may not work (a banned account) reaches no
// provider through any of them; whoever may reaches one only through those that say they dispatch, and then
// the gate has a decision on its books: a hold that was settled, or, where nothing is charged, a call that
// an account without a valid key could not make.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Gateway, Mock, ask, callOf, modelsOn, providersOn } from './harness.mjs';

const SOURCE = process.env.TIDEGATE_SOURCE_ROOT ?? path.resolve(import.meta.dirname, '../..');
const ROW = /X\((\w+), (\w+), "([^"]+)", (\w+), (\w+), ([01]), (?:READ|ONCE|ANEW), "/g;
const API_OF = {
  '/v1/chat/completions': 'chat',
  '/v1/responses': 'responses',
  '/v1/messages': 'messages',
  '/v1/embeddings': 'embeddings',
  '/v1/messages/count_tokens': 'messages',
};

const endpoints = [...fs.readFileSync(path.join(SOURCE, 'src/tbl/endpoints.h'), 'utf8').matchAll(ROW)].map(
  ([, id, method, where, owner, access, dispatches]) => ({
    id, method, path: where.replace('{id}', '1').replace('{name}', 'nobody'), owner, access, dispatches: dispatches === '1',
  }),
);

let mock;
let gateway;
let ada;
let eve;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    providers: { ...providersOn(mock), vectors: { ...providersOn(mock).openai, apis: ['embeddings'] } },
    models: modelsOn({
      'gpt-live': [['openai', 'mock:tokens=5']],
      'claude-live': [['anthropic', 'mock:tokens=5']],
      'embed-live': [['vectors', 'mock:']],
    }),
  });
  ada = gateway.member('ada');
  eve = gateway.member('eve');
  gateway.command('account', 'ban', 'eve');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

function bodyOf(endpoint) {
  const api = API_OF[endpoint.path];
  if (endpoint.method !== 'POST') {
    return undefined;
  }
  const model = { messages: 'claude-live', embeddings: 'embed-live' }[api] ?? 'gpt-live';
  return api ? callOf(api, model, { limit: 20 }).body : {};
}

function send(endpoint, where, key) {
  return ask(gateway.url + where, { method: endpoint.method, key, body: bodyOf(endpoint) });
}

test('the table is read: it has entry points that dispatch and others', () => {
  assert.ok(endpoints.length >= 15, `${endpoints.length} rows`);
  assert.deepEqual(endpoints.filter((e) => e.dispatches).map((e) => e.path).sort(), Object.keys(API_OF).sort());
});

for (const endpoint of endpoints) {
  const paths = [endpoint.path, ...(endpoint.path.startsWith('/v1/') ? [endpoint.path.slice(3)] : [])];
  for (const where of paths) {
    test(`${endpoint.method} ${where}: a banned account and a stranger reach no provider`, async () => {
      await mock.clear();
      for (const key of [eve, 'tg-nobodys', undefined]) {
        await send(endpoint, where, key);
      }
      assert.deepEqual(await mock.journal(), []);
    });

    test(`${endpoint.method} ${where}: ${endpoint.dispatches ? 'FF-7 FF-13 FF-43 one decision of the gate, one request at the provider, nothing held afterwards' : 'nothing reaches a provider'}`, async () => {
      await mock.clear();
      const answer = await send(endpoint, where, ada);
      const arrived = await mock.settled();
      assert.equal(arrived.length, endpoint.dispatches ? 1 : 0, answer.text);
      if (!endpoint.dispatches) {
        return;
      }
      assert.equal(answer.status, 200, answer.text);
      await gateway.booked();
      const rows = await gateway.ledger({ account: 'ada' });
      const booked = rows.filter((row) => row.request === answer.request_id);
      assert.equal(booked.length, endpoint.path.endsWith('count_tokens') ? 0 : 1, JSON.stringify(rows));
    });
  }
}
