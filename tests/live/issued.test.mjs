// Goal: ids of responses and of their items work for the account that got them and for nobody else; a call that
// refers to one goes to the provider that gave it, whichever would be asked otherwise, and is refused with a
// reason where that provider cannot be asked.
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
let stranger;
let many; // items of ada's, more than the gate is asked for at once; all of one provider
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ two: [['openai', 'near'], ['second', 'far']], near: 'openai' }),
  });
  key = gateway.member('ada');
  stranger = gateway.member('bob');
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

// ---- items ----

const NOT_FOUND = { status: 404, code: 'id_not_found' };
const withItems = (input, model = 'near', more = {}) =>
  callOf('responses', model, { limit: ownLimit(), more: { input: [...input, { role: 'user', content: 'go on' }], ...more } });
const reference = (item) => ({ type: 'item_reference', id: item.id });
const issuedRows = () => gateway.rows('SELECT count(*) AS count FROM issued')[0].count;
/** The items of a new answer; `more`: fields of the request. */
async function itemsOf(model, more = {}, of = key) {
  const answer = await send(gateway, of, withItems([], model, more));
  const events = answer.events.list.map((event) => event.json).filter(Boolean);
  const items = answer.json?.output ?? events.filter((event) => event.type === 'response.output_item.done').map((event) => event.item);
  assert.deepEqual(items.map((item) => item.type), ['reasoning', 'message'], answer.text);
  return items;
}

test('items of an answer, streamed or not, pass for the account that got them alone', async () => {
  await mock.clear();
  await mock.models({ near: 'thinking=6', far: null });
  const openai = openaiOf(gateway, key);
  for (const stream of [false, true]) {
    const input = [{ role: 'user', content: 'hello' }];
    for (let turn = 0; turn < 3; turn++) { // as agents do: all items so far go along, as they came
      const asked = { model: 'near', max_output_tokens: ownLimit(), input };
      const answer = stream
        ? await openai.responses.stream({ ...asked, stream }).finalResponse()
        : await openai.responses.create(asked);
      assert.equal(answer.status, 'completed');
      input.push(...answer.output, { role: 'user', content: 'go on' });
    }
    const arrived = (await mock.journal()).at(-1);
    assert.deepEqual(JSON.parse(arrived.body).input, input.slice(0, -3), 'as the client sent it');

    const items = input.filter((item) => item.id);
    assert.equal((await send(gateway, key, withItems(items.map(reference)))).status, 200);
    await mock.clear();
    const [reasoning, message] = items;
    const sealed = { ...reasoning, encrypted_content: 'gAAAAA' };
    for (const item of [reasoning, sealed, reference(reasoning), reference(message), { id: message.id }]) {
      const other = item.id.replace(/.$/, (last) => (last === 'x' ? 'y' : 'x'));
      const foreign = await send(gateway, stranger, withItems([item]));
      const missing = await send(gateway, stranger, withItems([{ ...item, id: other }]));
      const sentence = assertRefusal(foreign, 'responses', { ...NOT_FOUND, words: new RegExp(`It is "${item.id}"`) });
      assert.equal(assertRefusal(missing, 'responses', NOT_FOUND).replace(other, item.id), sentence, 'told alike');
    }
    assert.deepEqual(await askedModels(), [], 'nothing of a stranger reached the provider');
    assert.equal((await send(gateway, stranger, withItems([message]))).status, 200, 'a message says all itself');
  }
});

test('ids are known after a restart; of an answer that is not stored only those that hold more than they say', async () => {
  const [reasoning] = await itemsOf('near');
  await gateway.booked();
  const before = issuedRows();
  const [unstored, message] = await itemsOf('near', { store: false, stream: true });
  await gateway.booked();
  assert.equal(issuedRows(), before + 2, 'the response and its reasoning');
  await gateway.restart();
  const sealed = { ...unstored, encrypted_content: 'gAAAAA' };
  assert.equal((await send(gateway, key, withItems([reasoning, sealed]))).status, 200);
  assertRefusal(await send(gateway, key, withItems([reference(message)])), 'responses', NOT_FOUND);
});

test('however many ids a request names, none passes unchecked', async () => {
  const answers = await Promise.all(Array.from({ length: 70 }, () => itemsOf('near')));
  many = answers.flat();
  assert.equal((await send(gateway, key, withItems(many.map(reference)))).status, 200);
  const [foreign] = await itemsOf('near', {}, stranger);
  await mock.clear();
  for (const at of [0, 1, 62, 63, 64, 65, 126, 127, many.length]) {
    const named = many.map(reference);
    named.splice(at, 0, reference(foreign));
    assertRefusal(await send(gateway, key, withItems(named)), 'responses', {
      ...NOT_FOUND,
      words: new RegExp(`It is "${foreign.id}"`),
    });
  }
  const most = Array.from({ length: 1025 }, (_, i) => ({ type: 'item_reference', id: `rs_${i}` }));
  assertRefusal(await send(gateway, key, withItems(most)), 'responses', {
    status: 400,
    code: 'body_field_invalid',
    words: /more stored items than are taken/,
  });
  assert.deepEqual(await askedModels(), []);
});

test('items bind a call to the provider that gave them, unless the request tells what they hold', async () => {
  await mock.models({ away: 'thinking=6' });
  gateway.config.models = modelsOn({ two: [['openai', 'near'], ['second', 'away']], near: 'openai', away: 'second' });
  gateway.write();
  gateway.command('reload');
  const near = await until('the reload is in force', () => itemsOf('near').catch(() => null));
  const away = await until('the reload is in force', () => itemsOf('away').catch(() => null));
  const response = (await send(gateway, key, withItems([], 'away'))).json.id;
  await mock.clear();
  const asked = async (items, more) => {
    const answer = await send(gateway, key, withItems(items, 'two', more));
    assert.equal(answer.status, 200, answer.text);
    return (await mock.journal()).at(-1).model;
  };
  const plain = (item) => ({ ...item, content: [{ type: 'reasoning_text', text: 'so be it' }] });
  assert.equal(await asked([near[0]]), 'near');
  assert.equal(await asked([away[0]]), 'away');
  assert.equal(await asked([away[0], reference(away[1])], { previous_response_id: response }), 'away');
  assert.equal(await asked([plain(away[0])]), 'near', 'any provider can read it');
  assert.equal(await asked([plain(near[0]), away[0]]), 'away');
  assert.equal(await asked([...many.map(plain), away[0]]), 'away');
  await mock.clear();
  for (const [items, more] of [
    [[near[0], away[0]], {}],
    [[near[0]], { previous_response_id: response }],
    [[...many.map(reference), away[0]], {}],
    [[away[0], ...many.map(reference)], {}],
    [[...many.slice(0, 64).map(reference), ...Array(64).fill(reference(away[0]))], {}], // the gate is asked for 64 at once
    [many.map(reference), { previous_response_id: response }],
  ]) {
    assertRefusal(await send(gateway, key, withItems(items, 'two', more)), 'responses', {
      status: 404,
      code: 'id_route_gone',
      words: /from another than its other ids/,
    });
  }
  assertRefusal(await send(gateway, stranger, withItems([plain(near[0])], 'two')), 'responses', NOT_FOUND);
  assert.deepEqual(await askedModels(), []);
});
