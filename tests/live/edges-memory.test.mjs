// Goal: a body for which the system has no memory is refused like one that does not fit; nothing crashes, calls
// that run go on, and all is well again when there is room.
// Method: the address space of a running gateway is bounded to little more than it has (prlimit); under
// sanitizers, whose own needs no bound allows, large allocations are made to fail instead.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { after, before, test } from 'node:test';

import {
  ASAN, Gateway, Mock, PROVIDER_SECRETS, Raw, assertBooks, callOf, modelsOn, numbers, ownLimit, send, until,
} from './harness.mjs';
import { APIS, assertRefusal, modelOf } from './refusal.mjs';

const MB = 1 << 20;
let mock;
let gateway;
let key;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    body_max: '32MB', bodies_max: '4GB', models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
  }, {
    env: { ...PROVIDER_SECRETS, ...(ASAN && { ASAN_OPTIONS: 'allocator_may_return_null=1:max_allocation_size_mb=16' }) },
  });
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const pid = () => gateway.program.child.pid;
const bound = (bytes) => !ASAN && execFileSync('prlimit', [`--pid=${pid()}`, `--as=${bytes}:`]);
const size = () => Number(/VmSize:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${pid()}/status`, 'utf8'))[1]) * 1024;
/** Calls that declare so many megabytes and send little of them. */
async function hold(count, megabytes) {
  const raws = await Promise.all(Array.from({ length: count }, () => Raw.open(gateway.port)));
  raws.forEach((raw) => raw.write(
    `POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nx-api-key: ${key}\r\nContent-Length: ${megabytes * MB}\r\n\r\n${' '.repeat(20_000)}`));
  return raws;
}
const big = (api) => {
  const call = callOf(api, modelOf(api), { limit: ownLimit(), text: 'x'.repeat(24 * MB) });
  return { ...call, body: JSON.stringify(call.body) };
};

test('large bodies are refused in the words of their client, small calls and a stream go on', async () => {
  await mock.models({ 'gpt-live': 'tokens=60,tps=30' });
  const stream = send(gateway, key, callOf('chat', 'gpt-live', { stream: true, limit: ownLimit() }));
  await until('it runs', () => gateway.openHolds() === 1);
  bound(size() + 8 * MB);
  const held = await hold(40, 31); // more than the allocator has kept for itself
  await until('some are refused', () => held.some((raw) => raw.statuses()[0] === 429));
  for (const api of APIS) {
    assertRefusal(await send(gateway, key, big(api)), api, {
      status: 429, code: 'gateway_memory_full', retry: null, after: [1, 1],
    });
  }
  await mock.models({ 'gpt-live': null });
  assert.equal((await send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }))).status, 200);
  const answer = await stream;
  assert.ok(answer.clean && /\[DONE\]/.test(answer.text));
  held.forEach((raw) => raw.destroy());
  await assertBooks(gateway, mock);
});

test('many at once, and many connections, do not bring it down', async () => {
  bound(size() + 4 * MB);
  const raws = await hold(300, 17);
  await until('they are refused', () => raws.filter((raw) => raw.statuses()[0] === 429 || raw.closed).length >= 280);
  raws.forEach((raw) => raw.destroy());
  gateway.program.alive();
  bound('unlimited');
  await until('nothing is kept', async () => (await numbers(gateway)).get('body_buffered_bytes') === 0);
  if (!ASAN) {
    assert.equal((await send(gateway, key, big('chat'))).status, 200);
  }
  await gateway.booked();
});
