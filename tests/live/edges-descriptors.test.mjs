// Goal: when no descriptor is left, what runs goes on, what is new is refused without a spin or a charge, the
// books stay whole, and all is well again once there are some.
// Method: the limit of open files of a running gateway is lowered to what it has (prlimit), and raised again.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import { after, before, test } from 'node:test';

import {
  Gateway, Mock, PROVIDER_SECRETS, Program, Raw, SLOW, ask, assertBooks, callOf, modelsOn, numbers, ownLimit, send, sleep, until,
} from './harness.mjs';
import { assertRefusal } from './refusal.mjs';

let mock;
before(async () => {
  mock = await Mock.start();
});
after(async () => {
  await mock?.stop();
});

const pid = (gateway) => gateway.program.child.pid;
const open = (gateway) => fs.readdirSync(`/proc/${pid(gateway)}/fd`).map(Number);
/** The descriptors in use once none of them is about to be closed: the connection of the last question to the
 *  control socket may still be open when its answer has come. */
async function settledOpen(gateway) {
  let taken = open(gateway);
  for (let same = 0; same < 5 * SLOW; ) {
    await sleep(50);
    const now = open(gateway);
    same = String(now) === String(taken) ? same + 1 : 0;
    taken = now;
  }
  return taken;
}
/** So many more descriptors can be had than are open now. */
function leave(gateway, count, now = open(gateway)) {
  const taken = new Set(now);
  let limit = 0;
  for (let free = count; free > 0 || taken.has(limit); limit++) {
    free -= taken.has(limit) ? 0 : 1;
  }
  execFileSync('prlimit', [`--pid=${pid(gateway)}`, `--nofile=${limit}:20000`]);
}
const giveBack = (gateway) => execFileSync('prlimit', [`--pid=${pid(gateway)}`, '--nofile=4096:20000']);
/** Clock ticks (of 10 ms) of the whole process. */
const ticks = (gateway) => {
  const fields = fs.readFileSync(`/proc/${pid(gateway)}/stat`, 'utf8').split(') ')[1].split(' ');
  return Number(fields[11]) + Number(fields[12]);
};

test('no descriptor is left: streams go on, calls that need one are refused unbilled, accepting rests', async () => {
  const gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai', brief: 'openai' }) });
  const key = gateway.member('ada');
  await mock.clear();
  await mock.models({ 'gpt-live': 'tokens=120,tps=40', brief: 'tokens=7' });
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const kept = (call, more = {}) => send(gateway, key, call, { agent, ...more });
  assert.equal((await ask(`${gateway.url}/healthz`, { method: 'GET', agent })).status, 200); // its connection stays
  const streams = [0, 1, 2].map(() => send(gateway, key, callOf('chat', 'gpt-live', { stream: true, limit: ownLimit() })));
  await until('all of them run', async () => (await numbers(gateway)).get('streams_open') === 3);
  mock.program.child.kill('SIGSTOP'); // they last until all has been seen
  const before_it = (await settledOpen(gateway)).length;
  leave(gateway, 0, await settledOpen(gateway));

  for (const model of ['brief', 'brief']) {
    const answer = await kept(callOf('chat', model, { limit: ownLimit() }));
    assertRefusal(answer, 'chat', { status: 429, code: 'gateway_overloaded', retry: null, after: [1, 1] });
  }
  const used = ticks(gateway);
  const strangers = await Promise.all(Array.from({ length: 60 }, () => Raw.open(gateway.port)));
  strangers.forEach((raw) => raw.write('GET /healthz HTTP/1.1\r\nHost: gw\r\n\r\n'));
  await sleep(1000);
  assert.ok(ticks(gateway) - used < 60, `${ticks(gateway) - used} ticks of the processor in a second: it spins`);
  assert.ok(strangers.filter((raw) => raw.closed).length >= 1, 'some are dropped, so that the queue moves');
  mock.program.child.kill('SIGCONT');
  for (const stream of await Promise.all(streams)) {
    assert.ok(stream.status === 200 && stream.clean, String(stream.error));
    assert.match(stream.text, /\[DONE\]/);
  }
  /* What the streams leave behind is for whoever comes first: mostly the strangers. */
  giveBack(gateway);
  assert.equal((await kept(callOf('chat', 'brief', { limit: ownLimit() }))).status, 200);
  await until('those who waited are answered', () => strangers.every((raw) => raw.closed || raw.statuses()[0] === 200));
  strangers.forEach((raw) => raw.destroy());
  assert.equal((await send(gateway, key, callOf('chat', 'brief', { stream: true, limit: ownLimit() }))).status, 200);
  await assertBooks(gateway, mock);
  const unsent = (await gateway.ledger()).filter((row) => row.reason === 'gateway_overloaded');
  assert.deepEqual(unsent.map((row) => row.cost_micros), [0, 0]);
  agent.destroy();
  await until('all is as it was', () => open(gateway).length <= before_it);
  await gateway.stop();
});

test('a connection that waits to be used again gives its descriptor to a call to another provider', async () => {
  const gateway = await Gateway.start(mock, {
    loops: 1, models: modelsOn({ 'gpt-live': 'openai', 'claude-live': 'anthropic' }),
  });
  const key = gateway.member('ada');
  await mock.clear();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const kept = (api, model) => send(gateway, key, callOf(api, model, { limit: ownLimit() }), { agent });
  assert.equal((await kept('chat', 'gpt-live')).status, 200);
  leave(gateway, 0); // at once: the connection is not kept for long
  assert.equal((await kept('messages', 'claude-live')).status, 200);
  assert.equal((await kept('chat', 'gpt-live')).status, 200);
  giveBack(gateway);
  agent.destroy();
  await assertBooks(gateway, mock);
  await gateway.stop();
});

test('a limit of open files that is too low for connections_max lowers it, with a warning that says how to raise it', async () => {
  const gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) }, { files: 100 });
  await until('it has started', () => /memory_max_bytes/.test(gateway.log()));
  await gateway.says(/warn\b.*connections_max is lowered from 10000 to 18: this process may open 100 files.*ulimit -Hn/);
  const key = gateway.member('ada');
  await mock.clear();
  await mock.models({ 'gpt-live': null });
  const raws = await Promise.all(Array.from({ length: 40 }, () => Raw.open(gateway.port)));
  await until('those beyond are told', () => raws.filter((raw) => raw.statuses()[0] === 503).length >= 20, 5000 * SLOW);
  raws.forEach((raw) => raw.destroy());
  await until('there is room', async () => (await send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }))).status === 200);
  await gateway.stop();
});

test('a limit of open files with no room for the fewest connections there may be: it does not start, and says what to raise', async () => {
  const gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) });
  await gateway.stop();
  const dir = fs.mkdtempSync('/tmp/tidegate-live-files-');
  const file = `${dir}/tidegate.yaml`;
  fs.writeFileSync(file, JSON.stringify({ ...gateway.config, store: 'memory', control: `${dir}/c.sock` }));
  const program = new Program('tidegate serve', ['serve', '--config', file], { env: PROVIDER_SECRETS, files: 71, cwd: dir });
  const how = await program.over(10_000 * SLOW);
  assert.equal(how.code, 1, program.err);
  assert.match(program.err, /may open 71 files, and a gateway needs at least 72: raise the limit of open files/);
  fs.rmSync(dir, { recursive: true, force: true });
});
