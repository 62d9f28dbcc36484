// Goal: a call that refers to an id goes to the provider that gave it, whichever would be asked otherwise, and
// is refused with a reason where that provider cannot be asked.
// Method: a model with two routes, to two credentials of the simulated provider, which knows an id by the
// credential it was given to alone.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Gateway, Mock, callOf, modelsOn, ownLimit, providersOn, send, until } from './harness.mjs';
import { openaiOf } from './sdks.mjs';
import { assertRefusal } from './refusal.mjs';

let mock;
let gateway;
let key;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ two: [['openai', 'near'], ['second', 'far']], near: 'openai' }),
  });
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const call = (previous_response_id, model = 'two') =>
  callOf('responses', model, { limit: ownLimit(), more: previous_response_id ? { previous_response_id } : {} });
const askedModels = async () => (await mock.journal()).map((entry) => entry.model);

test('a call that refers to an id goes to the provider that gave it, or is refused', async () => {
  await mock.models({ near: 'status=500,fail_first=1', far: null });
  const first = await send(gateway, key, call());
  assert.equal(first.status, 200, first.text);
  assert.deepEqual(await askedModels(), ['near', 'far'], 'the second route gave the id');

  await mock.clear();
  const openai = openaiOf(gateway, key);
  const second = await openai.responses.create(call(first.json.id).body);
  assert.equal(second.previous_response_id, first.json.id);
  assert.deepEqual(await askedModels(), ['far'], 'the first route is well, and does not know the id');

  await mock.clear();
  await mock.models({ near: null, far: 'status=500' });
  const failed = await send(gateway, key, call(second.id));
  assert.equal(failed.status, 500, 'what its provider says, and no other is tried');
  assert.deepEqual(await askedModels(), ['far']);

  await mock.clear();
  await mock.models({ far: 'status=429,retry_after=20' });
  assert.equal((await send(gateway, key, call(second.id))).status, 429);
  await mock.clear();
  assertRefusal(await send(gateway, key, call(second.id)), 'responses', {
    status: 429,
    code: 'id_route_cooling',
    retry: null,
    after: [1, 20],
    words: /provider that the id in this request came from/,
  });
  assert.deepEqual(await askedModels(), []);
  assert.equal((await send(gateway, key, call())).status, 200, 'without an id the other route serves');

  assertRefusal(await send(gateway, key, call(second.id, 'near')), 'responses', {
    status: 404,
    code: 'id_route_gone',
    words: /send the conversation without it/,
  });
  gateway.config.models.two.routes.pop();
  gateway.write();
  gateway.command('reload');
  await until('the reload is in force', async () =>
    (await send(gateway, key, call(second.id))).json.error.reason === 'id_route_gone');
});
