// Goal: the store is never optional: while it cannot be written nothing starts, everybody is told so once, and
// what was promised before is in the books afterwards.
// Method: no file of the gateway may grow beyond a bound, as on a full disk; then it is started again without.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Gateway, Mock, ask, assertBooks, callOf, modelsOn, ownLimit, send } from './harness.mjs';
import { APIS, CODEX, assertRefusal, small } from './refusal.mjs';

let mock;
let gateway;
let key;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
    limits: { month: { counts: 'cost', per: 'account', window: 'month', cap: '100 USD' } },
  });
  key = gateway.member('ada');
  await gateway.program.end('SIGTERM');
  await gateway.launch({ file_blocks: 1200 });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

test('a store that cannot be written: 503 that is not to be retried, and nothing at the provider', async () => {
  await mock.models({ 'gpt-live': 'tokens=600,tps=300' });
  const limit = ownLimit() + 1000;
  const running = send(gateway, key, callOf('chat', 'gpt-live', { limit, stream: true }));
  let refused;
  for (let i = 0; i < 400 && !refused; i++) {
    const answer = await send(
      gateway,
      key,
      callOf('messages', 'claude-live', { limit: ownLimit() }),
    );
    refused = answer.status !== 200 && answer;
  }
  assert.ok(refused, 'the disk is full in the end');
  await mock.settled(10_000);
  const heard = (await mock.journal()).length;
  for (const api of APIS) {
    const answer = await send(gateway, key, small(api));
    assertRefusal(answer, api, { status: 503, code: 'store_unavailable', after: null });
  }
  const codex = await send(gateway, key, small('responses'), { headers: CODEX });
  assertRefusal(codex, 'responses', { status: 400, codex: true });
  assert.match(codex.text, /ledger cannot be written/);
  assert.equal((await mock.journal()).length, heard, 'nothing was dispatched');

  const ready = await ask(`${gateway.url}/readyz`, { method: 'GET' });
  assert.equal(ready.status, 503, ready.text);
  assert.equal((await ask(`${gateway.url}/healthz`, { method: 'GET' })).status, 200);

  const stream = await running;
  assert.equal(stream.status, 200);
  assert.ok(stream.clean, 'the stream that ran went on to a clean end');
  gateway.program.alive();
});

test('what was promised is in the books once there is room again', async () => {
  const how = await gateway.program.end('SIGTERM');
  assert.equal(how.code, 1, 'it does not say that all is well');
  assert.match(
    gateway.log(),
    /could not be written: \d+ calls? (is booked by what it holds|are booked by what they hold) at the next start/,
  );
  assert.ok(gateway.openHolds() > 0);
  await gateway.launch();
  await assertBooks(gateway, mock);
  const answer = await send(gateway, key, small('chat'));
  assert.equal(answer.status, 200, answer.text);
  await gateway.booked();
});
