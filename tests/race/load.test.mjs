// Goal: engine, loops and relay share memory as they may: ThreadSanitizer has nothing to tell.
// Method: everything at once against one gateway for some seconds: streams, short calls, clients that leave,
// refusals, reloads of right and wrong files, metrics, questions to the control socket, new keys; then the
// books. What the sanitizer tells is looked at by the suite that runs this file (./dev test --only tsan).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';

import { Gateway, LONG, Mock, ask, assertBooks, callOf, modelsOn, ownLimit, send, sleep } from '../live/harness.mjs';

const RUN_MS = LONG ? 60_000 : 12_000;
const WORDS = {
  whole: 'tokens=20', late: 'tokens=20,ttft_ms=60', stream: 'tokens=60,tps=100', long: 'tokens=2500,tps=1500,per_event=20',
  torn: 'tokens=40,tps=200,cut_after=10', busy: 'status=429,retry_after=1', failing: 'status=500', silent: 'tokens=30,usage=0',
};

let mock;
let gateway;
before(async () => {
  mock = await Mock.start();
});
after(async () => {
  await mock?.stop();
});

test('a gateway under everything at once races with nothing, and its books are right', async () => {
  const names = Object.keys(WORDS);
  gateway = await Gateway.start(mock, {
    models: modelsOn(Object.fromEntries([...names.map((name) => [name, 'openai']), ['claude', 'anthropic'], ['both', [['second', 'failing'], ['openai', 'whole']]]])),
    plans: { wide: {}, spent: {} },
    default_plan: 'wide',
    limits: {
      day: { counts: 'cost', per: 'account', window: 'day', cap: { default: '1000 USD', plan: { spent: '0.001 USD' } } },
      tree: { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: '1000 USD' },
      pace: { counts: 'requests', per: 'key', window: { rate: '100/s', burst: 200 } },
      parallel: { counts: 'in_flight', per: 'account', cap: 30 },
    },
  });
  await mock.models({ ...WORDS, claude: 'tokens=30,tps=200' });
  const keys = [gateway.member('ada'), gateway.member('ben'), gateway.member('cyd')];
  const spent = gateway.member('dee', '--plan', 'spent');
  const statuses = new Map();
  const until_ms = Date.now() + RUN_MS;
  let turn = 0;

  const worker = (act) => async () => {
    while (Date.now() < until_ms) {
      const answer = await act(keys[turn++ % keys.length]);
      if (answer) {
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      }
    }
  };
  const call = (api, model, stream, options = {}) => (key) =>
    send(gateway, options.key ?? key, callOf(api, model, { stream, limit: ownLimit() }), options);
  const left = (api, model, events) => (key) =>
    send(gateway, key, callOf(api, model, { stream: true, limit: ownLimit() }), {
      onEvent: (seen, request) => seen.list.length >= events && request.destroy(),
    });
  let reloads = 0;
  const reload = async () => {
    const good = fs.readFileSync(gateway.file, 'utf8');
    gateway.config.limits.day.cap.default = `${1000 + ++reloads} USD`;
    if (reloads % 3 === 0) {
      fs.writeFileSync(gateway.file, 'limits: wrong\n');
    } else {
      gateway.write();
    }
    const answer = await ask({ socketPath: gateway.control, path: '/api/admin/reload' }, { method: 'POST' });
    assert.equal(answer.status < 300, reloads % 3 !== 0, `${answer.status} ${answer.text}`);
    if (reloads % 3 === 0) {
      fs.writeFileSync(gateway.file, good);
    }
    await sleep(300);
  };
  const question = (where) => async () => {
    assert.equal((await ask(`${gateway.url}${where}`, { method: 'GET' })).status, 200);
    await sleep(100);
  };
  const admin = async () => {
    await gateway.admin('/api/admin/ledger?limit=50&inputs=true');
    gateway.addKey('ada');
    await sleep(400);
  };
  await Promise.all(
    [
      call('chat', 'whole', false), call('responses', 'whole', false), call('chat', 'late', false),
      call('messages', 'claude', true), call('chat', 'stream', true), call('responses', 'stream', true),
      call('chat', 'stream', true), call('chat', 'long', true), left('chat', 'stream', 10), left('responses', 'stream', 20),
      left('messages', 'claude', 5), call('chat', 'torn', true), call('chat', 'silent', true), call('chat', 'busy', false),
      call('chat', 'failing', false), call('chat', 'both', false), call('chat', 'whole', false, { key: spent }),
      call('chat', 'whole', false, { key: 'tg-no-such-key' }), call('chat', 'nothing', false),
      reload, question('/metrics'), question('/healthz'), admin,
    ].map((act) => worker(act)()),
  );
  for (const status of [200, 401, 402, 404]) {
    assert.ok(statuses.get(status) > 0, `no answer of status ${status}: ${JSON.stringify([...statuses])}`);
  }
  await assertBooks(gateway, mock);
  await gateway.stop();
});
