// Goal: an operator changes what a running gateway does, its providers' keys among it, and no call notices.
// Method: keys stand in files that change while streams and short calls run; the provider's journal tells
// which key each call came with.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { ASAN, Gateway, Mock, ask, callOf, modelsOn, providersOn, run, send, until } from './harness.mjs';

const CALLERS = 6;

let mock;
before(async () => {
  mock = await Mock.start();
});
after(async () => {
  await mock?.stop();
});

const gauge = async (gateway, name) => {
  const { text } = await ask(`${gateway.url}/metrics`, { method: 'GET' });
  return Number(new RegExp(`^tidegate_${name.replace(/[{}"]/g, '\\$&')} (\\d+)$`, 'm').exec(text)?.[1]);
};

/** Which of these texts are in what a process may write to. */
function inMemory(gateway, texts) {
  const { pid } = gateway.program.child;
  const memory = fs.openSync(`/proc/${pid}/mem`, 'r');
  const found = new Set();
  const block = Buffer.alloc(4 << 20);
  try {
    for (const [, from, to] of fs.readFileSync(`/proc/${pid}/maps`, 'utf8').matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw\S+ /gm)) {
      const end = BigInt(`0x${to}`);
      for (let at = BigInt(`0x${from}`); at < end; at += BigInt(block.length - 100)) {
        let got = 0;
        try {
          got = fs.readSync(memory, block, 0, Math.min(block.length, Number(end - at)), at);
        } catch (error) {
          if (error.code !== 'EIO') { /* of a mapping that is no memory */
            throw error;
          }
        }
        texts.filter((text) => block.subarray(0, got).includes(text)).forEach((text) => found.add(text));
      }
    }
  } finally {
    fs.closeSync(memory);
  }
  return [...found];
}

describe('a key of a provider that is changed', () => {
  let gateway;
  let key;
  let file;
  const secret = (number) => `sk-rotated-${number}-${'5e'.repeat(12)}`;
  const rotate = (number) => {
    fs.writeFileSync(`${file}.new`, `${secret(number)}\n`, { mode: 0o600 });
    fs.renameSync(`${file}.new`, file);
    gateway.secrets.add(secret(number));
  };
  const reload = () => run(['reload', '--control', gateway.control]);
  before(async () => {
    const providers = providersOn(mock);
    file = path.join(fs.mkdtempSync('/tmp/tidegate-live-keys-'), 'openai');
    fs.writeFileSync(file, `${secret(0)}\n`, { mode: 0o600 });
    gateway = await Gateway.start(mock, {
      providers: { openai: { ...providers.openai, credentials: { company: { file } } } },
      models: modelsOn({ 'gpt-live': 'openai', 'gpt-long': [['openai', 'mock:tokens=120,tps=60']] }),
    });
    gateway.secrets.add(secret(0));
    key = gateway.member('ada');
  });
  after(async () => {
    await gateway?.stop();
    fs.rmSync(path.dirname(file), { recursive: true, force: true });
  });

  test('calls in flight keep theirs, new ones take the new, none fails', async () => {
    let number = 0;
    let going = true;
    const answers = [];
    const long = send(gateway, key, callOf('chat', 'gpt-long', { stream: true, limit: 200 }));
    await until('the stream is at the provider', async () => (await mock.journal()).length === 1);
    const callers = Array.from({ length: CALLERS }, async () => {
      while (going) {
        answers.push(await send(gateway, key, callOf('chat', 'gpt-live', { limit: 20 })));
      }
    });
    const firsts = [];
    for (number = 1; number <= 4; number++) {
      rotate(number);
      const done = await ask({ socketPath: gateway.control, path: '/api/admin/reload' });
      assert.equal(done.status, 200, done.text);
      /* From the answer on nothing leaves with an older key. */
      const marked = await send(gateway, key, callOf('chat', 'gpt-live', { limit: 20, text: `with key ${number}` }));
      firsts.push([marked.status, number]);
      answers.push(marked);
    }
    going = false;
    await Promise.all(callers);
    const streamed = await long;
    assert.ok(streamed.clean && streamed.status === 200, streamed.text);
    assert.deepEqual(answers.filter((answer) => answer.status !== 200).map((answer) => answer.text), []);
    assert.deepEqual(firsts.map(([status]) => status), [200, 200, 200, 200]);
    await gateway.booked();

    const journal = await mock.settled();
    assert.equal(journal.length, answers.length + 1);
    const used = (entry) => Number(/sk-rotated-(\d+)-/.exec(JSON.stringify(entry.credential ?? entry.headers))?.[1]);
    assert.equal(used(journal[0]), 0, 'the stream began with the first key');
    for (let n = 1; n <= 4; n++) {
      const marked = journal.find((entry) => entry.body.includes(`with key ${n}`));
      assert.equal(used(marked), n);
    }
    const order = journal.map(used);
    assert.ok(order.every((n) => n >= 0 && n <= 4), order.join(' '));
    /* Connections stay: a new key is no new connection. */
    assert.ok((await gauge(gateway, 'connections_total{side="provider"}')) <= 2 * (CALLERS + 2));
  });

  /* A sanitizer's own memory is terabytes, and it keeps what was given back. */
  test('one that is used no more is nowhere in memory, though nobody calls', { skip: ASAN && 'a sanitizer keeps memory of its own' }, async (t) => {
    const secrets = [0, 1, 2, 3, 4].map(secret);
    try {
      assert.ok(inMemory(gateway, secrets).includes(secret(4)), 'the one in use is');
    } catch (error) {
      return ['EACCES', 'EPERM'].includes(error.code) ? t.skip('the memory of others is not ours to read') : assert.fail(error);
    }
    assert.equal((await send(gateway, key, callOf('chat', 'gpt-live', { limit: 20 }))).status, 200); /* a loop has it */
    await gateway.booked();
    rotate(5);
    assert.equal(reload().code, 0);
    await until('the last reload\'s is gone, and all before it', () => {
      const left = inMemory(gateway, [...secrets, secret(5)]);
      return left.length === 1 && left[0] === secret(5);
    });
    return undefined;
  });

  test('a file that is empty, missing or no key refuses the reload with a sentence, and changes nothing', async () => {
    const good = fs.readFileSync(file);
    const failures = await gauge(gateway, 'config_reloads_total{result="failed"}');
    const at = await gauge(gateway, 'config_last_reload_success_timestamp_seconds');
    for (const [content, said] of [
      ['', /tidegate\.yaml:\d+:\d+: .*the credential file is empty/],
      ['two words\n', /tidegate\.yaml:\d+:\d+: .*the credential file holds spaces/],
      [null, /tidegate\.yaml:\d+:\d+: .*the credential file cannot be read: No such file/],
    ]) {
      if (content === null) {
        fs.rmSync(file);
      } else {
        fs.writeFileSync(file, content);
      }
      const done = reload();
      assert.equal(done.code, 1);
      assert.match(done.err, said);
      await until('the log says so', () => said.test(gateway.log()));
      assert.equal(await gauge(gateway, 'config_last_reload_successful'), 0);
      assert.equal((await send(gateway, key, callOf('chat', 'gpt-live', { limit: 20 }))).status, 200);
    }
    assert.equal((await gauge(gateway, 'config_reloads_total{result="failed"}')) - failures, 3);
    fs.writeFileSync(file, good);
    assert.equal(reload().code, 0);
    assert.equal(await gauge(gateway, 'config_last_reload_successful'), 1);
    assert.ok((await gauge(gateway, 'config_last_reload_success_timestamp_seconds')) >= at);
  });
});

describe('limits and models that are changed', () => {
  test('a call in flight keeps its configuration, the next one has the new', async () => {
    const gateway = await Gateway.start(mock, {
      models: modelsOn({ 'gpt-old': [['openai', 'mock:tokens=60,tps=60']] }),
      limits: { month: { counts: 'cost', per: 'account', window: 'month', cap: '100 USD' } },
    });
    const key = gateway.member('ada');
    const long = send(gateway, key, callOf('chat', 'gpt-old', { stream: true, limit: 100 }));
    await until('it is open', () => gateway.openHolds() === 1);
    gateway.config.models = modelsOn({ 'gpt-new': 'openai' });
    gateway.config.limits.month.cap = '0.000001 USD';
    gateway.write();
    assert.equal(run(['reload', '--control', gateway.control]).code, 0);
    assert.equal((await send(gateway, key, callOf('chat', 'gpt-old', { limit: 20 }))).status, 404);
    assert.equal((await send(gateway, key, callOf('chat', 'gpt-new', { limit: 20 }))).status, 402);
    const answer = await long;
    assert.ok(answer.clean && answer.status === 200);
    await gateway.booked();
    const [row] = (await gateway.ledger()).filter(({ kind }) => kind === 'settle');
    assert.equal(row.model, 'gpt-old');
    assert.ok(row.cost_micros > 1, 'booked by the prices it was allowed under');
    await gateway.stop();
  });
});

describe('a pipe in the place of a file', () => {
  test('is given up after a while; a stop meanwhile is one as any other', async () => {
    const file = path.join(fs.mkdtempSync('/tmp/tidegate-live-keys-'), 'openai');
    fs.writeFileSync(file, 'sk-of-a-pipe\n', { mode: 0o600 });
    const { openai } = providersOn(mock);
    const gateway = await Gateway.start(mock, {
      providers: { openai: { ...openai, credentials: { company: { file } } } },
      models: modelsOn({ 'gpt-live': 'openai' }),
    });
    fs.rmSync(file);
    execFileSync('mkfifo', [file]);
    const done = run(['reload', '--control', gateway.control]);
    assert.equal(done.code, 1);
    assert.match(done.err, /the credential file cannot be read: it is no file, and its text did not come in time/);
    const asked = ask({ socketPath: gateway.control, path: '/api/admin/reload' }, { method: 'POST' });
    asked.catch(() => {}); /* it is cut off */
    await sleep(300);
    const began = Date.now();
    await gateway.stop();
    assert.ok(Date.now() - began < 10_000);
    fs.rmSync(path.dirname(file), { recursive: true });
  });
});
