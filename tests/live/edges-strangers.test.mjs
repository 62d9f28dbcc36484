// Goal: one address can neither take all connections nor guess keys, and nobody else notices that it tries.
// Method: a listener on all addresses, and clients that come by loopback and by an address of the network.
import assert from 'node:assert/strict';
import os from 'node:os';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, Raw, ask, modelsOn, numbers, ownLimit, callOf, until } from './harness.mjs';

let mock;
let gateway;
let key;

/* An address of this machine that is not loopback: who uses it, comes from it. */
const address = Object.values(os.networkInterfaces()).flat()
  .find((one) => !one.internal && one.family === 'IPv4')?.address;

before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    connections_max: 40,
    connections_per_address: 5,
    models: modelsOn({ 'gpt-live': 'openai' }),
  }, { host: '0.0.0.0' });
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const refused = async () => (await numbers(gateway)).get('connections_refused_total');
const call = (host, secret) => ask(`http://${host}:${gateway.port}/v1/chat/completions`, {
  key: secret, body: callOf('chat', 'gpt-live', { limit: ownLimit() }).body,
});

test('this machine has an address that others could use', () => assert.ok(address));

describe('connections', () => {
  test('one too many of an address is told so and closed; others, and those it has, go on', async () => {
    const was = await refused();
    const open = [];
    for (let i = 0; i < 5; i++) {
      open.push(await Raw.open(gateway.port, address));
    }
    await until('they are counted', async () => (await numbers(gateway)).get('connections_open{side="client"}') >= 6);
    const sixth = await Raw.open(gateway.port, address);
    await sixth.waitClosed();
    assert.deepEqual(sixth.statuses(), [429]);
    assert.match(sixth.text, /Retry-After: 1\r\n[^]*connections_per_address/i);
    assert.equal(await refused(), was + 1);
    assert.equal((await call('127.0.0.1', key)).status, 200);
    open[0].write('GET /healthz HTTP/1.1\r\nHost: gw\r\n\r\n');
    await open[0].waitFor('it is answered', (raw) => raw.statuses()[0] === 200);
    open.pop().destroy();
    sixth.destroy();
    await until('the place is free again', async () => (await call(address, key)).status === 200);
    open.forEach((raw) => raw.destroy());
  });

  test('this machine is not counted', async () => {
    const was = await refused();
    const open = await Promise.all(Array.from({ length: 12 }, () => Raw.open(gateway.port)));
    assert.equal((await call('127.0.0.1', key)).status, 200);
    assert.equal(await refused(), was);
    open.forEach((raw) => raw.destroy());
  });

  test('all of them taken: the operator\'s commands have some of their own', async () => {
    const open = await Promise.all(Array.from({ length: 45 }, () => Raw.open(gateway.port)));
    await until('a stranger is told', () => open.some((raw) => raw.statuses()[0] === 503));
    gateway.command('status');
    await Promise.all(Array.from({ length: 3 }, () => gateway.admin('/api/admin/accounts')));
    open.forEach((raw) => raw.destroy());
  });

  test('a flood of connects without a byte ends with nothing left of it', async () => {
    for (let i = 0; i < 20; i++) {
      const flood = await Promise.allSettled(Array.from({ length: 50 }, () => Raw.open(gateway.port, address)));
      flood.forEach((one) => one.value?.destroy());
    }
    await until('all are gone', async () => (await numbers(gateway)).get('connections_open{side="client"}') <= 1);
    assert.equal((await call(address, key)).status, 200);
  });
});

describe('wrong keys', () => {
  const doors = {
    'a model endpoint': (host, secret) => call(host, secret),
    'the control plane': (host, secret) => ask(`http://${host}:${gateway.port}/api/v1/requests/req_1`, { method: 'GET', key: secret }),
  };
  for (const [what, knock] of Object.entries(doors)) {
    test(`at ${what}: an address that guesses is told to wait, a right key from there and others are taken`, async () => {
      let limited;
      for (let i = 0; i < 60 && !limited; i++) {
        const answer = await knock(address, `tg-wrong-${i}`);
        assert.ok([401, 429].includes(answer.status), answer.text);
        limited = answer.status === 429 && answer;
      }
      assert.ok(limited, 'after 60 wrong keys');
      const wait = Number(limited.headers['retry-after']);
      assert.ok(Number.isInteger(wait) && wait >= 1 && wait <= 60, `retry-after: ${wait}`);
      assert.ok([200, 404].includes((await knock(address, key)).status));
      assert.equal((await knock('127.0.0.1', 'tg-wrong')).status, 401);
    });
  }
});
