// Goal: a gateway that dies of a bug says what it was doing, in ids, lengths and states, and gives away
// nothing of what passed through it.
// Method: signals of a crash amid streams and bodies full of marked secrets; the dump is searched for them.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { ASAN, Gateway, Mock, ON_POSTGRES, PROVIDER_SECRETS, callOf, modelsOn, send, until } from './harness.mjs';

const MARK = 'marmalade-7f3a';
let mock;
let gateway;
let key;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: modelsOn({ 'gpt-live': 'openai', 'gpt-long': [['openai', 'mock:tokens=4000,tps=100']] }),
  });
  key = gateway.member('zora');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

/* Sanitizers take these signals for themselves. */
describe('the dump of a crash', { skip: ASAN && 'sanitizers tell of crashes themselves' }, () => {
  const file = () => `${ON_POSTGRES ? gateway.control : gateway.store}.crash`;

  test('has a stack of its own on every thread: all of them begin in the one way that gives one', () => {
    const tasks = `/proc/${gateway.program.child.pid}/task`;
    const names = fs.readdirSync(tasks).map((id) => fs.readFileSync(`${tasks}/${id}/comm`, 'utf8').trim());
    const rest = names.filter((name) => name !== 'lookup'); /* they come and go */
    const of_store = ON_POSTGRES ? 'news' : 'checkpoint';
    assert.deepEqual(rest.sort(), [of_store, 'control', 'control', 'disk watch', 'engine', 'loop 1', 'tidegate', 'webhooks'].sort());
  });

  test('has ids, lengths and states of what ran, and no body, key or secret', async () => {
    await send(gateway, key, callOf('chat', 'gpt-live', { limit: 20, text: `${MARK} done` }));
    const answers = Array.from({ length: 4 }, (_, i) =>
      send(gateway, key, callOf('chat', 'gpt-long', { stream: true, limit: 5000, text: `${MARK} ${'w'.repeat(5000)} ${i}` })));
    await until('they stream', () => gateway.openHolds() === 4);
    const holds = gateway.rows('SELECT hold_id FROM hold').map((row) => row.hold_id);
    const how = await gateway.program.end('SIGSEGV');
    assert.deepEqual(how, { code: null, signal: 'SIGSEGV' });
    await Promise.all(answers);

    const dump = fs.readFileSync(file(), 'utf8');
    assert.equal(fs.statSync(file()).mode & 0o777, 0o600);
    assert.match(dump, /^tidegate crash dump: /);
    assert.match(dump, /^version: \d+\.\d+\.\d+$/m);
    assert.match(dump, /^build_id: [0-9a-f]{16,40}$/m);
    assert.match(dump, new RegExp(`^signal: 11 SIGSEGV code 0 from pid ${process.pid}$`, 'm'));
    assert.match(dump, /^thread: (loop-\d|engine-0|control-\d|unnamed) tid \d+$/m);
    assert.match(dump, /^requests_open: 4$/m);
    assert.match(dump, /^streams_open: 4$/m);
    assert.match(dump, /^holds_open: 4$/m);
    for (const hold of holds) {
      assert.match(dump, new RegExp(`^  \\d+ allowed ${hold} 0 \\d+$`, 'm'));
      assert.match(dump, new RegExp(`^  \\d+ sent ${hold} 1 5\\d{3}$`, 'm'), 'the length of its body');
      assert.match(dump, new RegExp(`^  \\d+ answer ${hold} 200 1$`, 'm'));
    }
    assert.match(dump, /^events of engine-0, /m);
    assert.match(dump, /^ {2}\d+ commit \d+ 0 \d+$/m);
    assert.match(dump, /^stack: .*\n( {2}0x[0-9a-f]+ 0x[0-9a-f]+\n){3,}end of the dump\n$/m);
    assert.ok(gateway.log().includes(dump), 'standard error has it too');

    for (const secret of [MARK, 'wwww', key, key.slice(3, 15), ...Object.values(PROVIDER_SECRETS), 'hello', 'zora']) {
      assert.ok(!dump.includes(secret), `the dump has ${secret}`);
    }
    for (const value of [MARK, key]) {
      assert.ok(!dump.includes(Buffer.from(value).toString('hex')) && !dump.includes(Buffer.from(value).toString('base64')));
    }
  });

  test('is told of once by the next start, which books what was open', async () => {
    gateway.told += gateway.program.out + gateway.program.err;
    await gateway.launch();
    await gateway.says(/level=error event=crash msg="the gateway before this one died of a bug; .*\.crash\.told/);
    assert.ok(!fs.existsSync(file()) && fs.existsSync(`${file()}.told`));
    await gateway.booked();
    assert.equal((await gateway.ledger()).filter(({ kind }) => kind === 'orphan').length, 4);
    await gateway.program.end('SIGTERM');
    gateway.told += gateway.program.out + gateway.program.err;
    await gateway.launch();
    assert.doesNotMatch(gateway.program.err, /event=crash/);
  });

  for (const [signal, number] of [['SIGABRT', 6], ['SIGBUS', 7], ['SIGFPE', 8], ['SIGILL', 4]]) {
    test(`is written for ${signal} too, and not for an end that was asked for`, async () => {
      const how = await gateway.program.end(signal);
      assert.deepEqual(how, { code: null, signal });
      gateway.told += gateway.program.out + gateway.program.err;
      assert.match(fs.readFileSync(file(), 'utf8'), new RegExp(`^signal: ${number} ${signal} `, 'm'));
      await gateway.launch();
      await gateway.program.end('SIGTERM');
      assert.ok(!fs.existsSync(file()));
      gateway.told += gateway.program.out + gateway.program.err;
      await gateway.launch();
    });
  }

  test('is all there is: core dumps are off, links are not followed', async () => {
    const limits = fs.readFileSync(`/proc/${gateway.program.child.pid}/limits`, 'utf8');
    assert.match(limits, /^Max core file size +0 +0 /m);
    const victim = path.join(gateway.dir, 'victim');
    fs.writeFileSync(victim, 'mine');
    fs.symlinkSync(victim, file());
    await gateway.program.end('SIGSEGV');
    assert.equal(fs.readFileSync(victim, 'utf8'), 'mine');
    fs.rmSync(file());
    gateway.told += gateway.program.out + gateway.program.err;
    assert.match(gateway.told, /end of the dump/, 'standard error has it all the same');
    await gateway.launch();
  });
});
