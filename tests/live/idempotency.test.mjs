// Goal: a change under an Idempotency-Key is made once, whatever becomes of its answer: asked again it is answered
// alike; under another body, key or caller it is another change; corrections reach whoever a limit counts for.
// Method: the control plane over its socket and by keys, many at once, a connection that breaks off before the
// answer, a gateway that is killed before it; the ledger and the audit say what was done.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, ON_POSTGRES, Program, SLOW, ask, callOf, modelsOn, run, send, until } from './harness.mjs';

const ADJUST = '/api/admin/adjust';
const LIMITS = {
  'month-spend': { counts: 'cost', per: 'account', window: 'month', cap: { default: '50 USD' } },
};

let mock;
let gateway;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }), limits: LIMITS });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

/** One question to the control socket, or over TCP with a key. */
const tell = (method, where, body, once, key) =>
  ask(key ? gateway.url + where : { socketPath: gateway.control, path: where }, {
    method,
    body,
    key,
    headers: once === undefined ? {} : { 'idempotency-key': once },
  });

const replayed = (answer) => answer.headers['idempotent-replayed'] === 'true';

/** How much was put on the books of this account by hand, and in how many rows. */
async function adjusted(account) {
  const rows = await gateway.ledger({ kind: 'adjust', account });
  return { rows: rows.length, micros: rows.reduce((sum, row) => sum + row.inputs.limits[0].delta, 0) };
}

async function assertAudited() {
  await gateway.booked();
  await gateway.program.end('SIGTERM');
  const audit = run(['check', '--store', '--config', gateway.file], { cwd: gateway.dir });
  assert.equal(audit.code, 0, audit.out + audit.err);
  await gateway.launch();
}

describe('a change under an idempotency key', () => {
  test('is made once, and answered alike again', async () => {
    gateway.addAccount('ada');
    const body = { account: 'ada', delta_micros: 70, note: 'spent elsewhere' };
    const first = await tell('POST', ADJUST, body, 'ada-1');
    assert.equal(first.status, 200, first.text);
    assert.equal(replayed(first), false);
    const again = await tell('POST', ADJUST, body, 'ada-1');
    assert.deepEqual([again.status, again.text, replayed(again)], [200, first.text, true]);
    assert.deepEqual(await adjusted('ada'), { rows: 1, micros: 70 });
    assert.equal((await tell('POST', ADJUST, body, 'ada-2')).status, 200);
    assert.equal((await tell('POST', ADJUST, body)).status, 200); // without a key it is another one each time
    assert.deepEqual(await adjusted('ada'), { rows: 3, micros: 210 });
  });

  test('is another one under another body, path or query', async () => {
    gateway.addAccount('bea');
    const body = { account: 'bea', delta_micros: 5 };
    assert.equal((await tell('POST', ADJUST, body, 'bea-1')).status, 200);
    for (const [method, where, other] of [
      ['POST', ADJUST, { account: 'bea', delta_micros: 6 }],
      ['POST', `${ADJUST}?x=1`, body],
      ['POST', '/api/admin/accounts', body],
      ['DELETE', '/api/v1/usage-limits/overrides/bea', undefined],
    ]) {
      const answer = await tell(method, where, other, 'bea-1');
      assert.deepEqual([answer.status, answer.json?.error.code], [422, 'idempotency_key_reused'], answer.text);
      assert.match(answer.json.error.message, /a key is for one change/);
    }
    assert.deepEqual(await adjusted('bea'), { rows: 1, micros: 5 });
  });

  test('counts for its caller alone', async () => {
    gateway.addAccount('cyd');
    const admins = [1, 2].map(() => gateway.addKey('cyd', '--role', 'admin').secret);
    const body = { account: 'cyd', delta_micros: 3 };
    for (const key of [...admins, undefined]) {
      const answer = await tell('POST', ADJUST, body, 'of-each', key);
      assert.deepEqual([answer.status, replayed(answer)], [200, false], answer.text);
      assert.equal(replayed(await tell('POST', ADJUST, body, 'of-each', key)), true);
    }
    assert.deepEqual(await adjusted('cyd'), { rows: 3, micros: 9 });
    // an account's keys are one caller
    const [one, two] = [gateway.member('dora'), gateway.addKey('dora').secret];
    const report = { five_hour: { utilization: 12, resets_at: null } };
    assert.equal(replayed(await tell('PUT', '/api/account/usage-report', report, 'r', one)), false);
    const later = await tell('PUT', '/api/account/usage-report', { five_hour: { utilization: 50, resets_at: null } }, 'r2', one);
    assert.equal(later.json.usage.five_hour.utilization, 50);
    const late = await tell('PUT', '/api/account/usage-report', report, 'r', two);
    assert.deepEqual([late.status, replayed(late), late.json.usage.five_hour.utilization], [200, true, 50]); // not 12 again
  });

  test('that is no key is refused, and one that is not needed is passed by', async () => {
    for (const once of ['', 'x'.repeat(256), 'caf\u00e9', 'a\tb']) {
      const answer = await tell('POST', '/api/admin/accounts', { name: 'never' }, once);
      assert.deepEqual([answer.status, answer.json?.error.code], [400, 'idempotency_key_invalid'], answer.text);
    }
    assert.equal((await tell('POST', '/api/admin/accounts/never/ban')).status, 404);
    assert.equal((await tell('GET', '/api/admin/accounts', undefined, 'x'.repeat(300))).status, 200);
    assert.equal((await tell('POST', '/api/admin/reload', undefined, 'once')).status, 200);
    assert.equal(replayed(await tell('POST', '/api/admin/reload', undefined, 'once')), false);
  });

  test('that was refused is judged anew', async () => {
    const body = { account: 'soon', delta_micros: 5 };
    assert.equal((await tell('POST', ADJUST, body, 'soon-1')).status, 404);
    gateway.addAccount('soon');
    const answer = await tell('POST', ADJUST, body, 'soon-1');
    assert.deepEqual([answer.status, replayed(answer)], [200, false]);
    assert.equal(replayed(await tell('POST', ADJUST, body, 'soon-1')), true);
  });

  test('20 times at once is booked once', async () => {
    const key = gateway.member('many');
    const call = await send(gateway, key, callOf('chat', 'gpt-live', { limit: 20 }));
    await gateway.booked();
    for (const [body, micros] of [
      [{ account: 'many', delta_micros: 1000 }, 1000],
      [{ request: call.request_id, delta_micros: 50, source: 'invoice' }, 1050],
    ]) {
      const answers = await Promise.all(Array.from({ length: 20 }, () => tell('POST', ADJUST, body, `many-${micros}`)));
      assert.deepEqual([...new Set(answers.map((one) => `${one.status} ${one.text}`))].length, 1, answers.map((one) => one.text).join());
      assert.equal(answers[0].status, 200, answers[0].text);
      assert.equal(answers.filter((one) => !replayed(one)).length, 1);
      assert.equal((await adjusted('many')).micros, micros);
    }
  });

  test('keeps no secret: a key that is asked for again comes without it', async () => {
    gateway.addAccount('keyed');
    const first = await tell('POST', '/api/admin/keys', { account: 'keyed', label: 'one' }, 'key-1');
    assert.equal(first.status, 201, first.text);
    gateway.secrets.add(first.json.key);
    const again = await tell('POST', '/api/admin/keys', { account: 'keyed', label: 'one' }, 'key-1');
    assert.deepEqual([again.status, replayed(again), again.json.key, again.json.id], [201, true, null, first.json.id]);
    assert.match(again.json.note, /revoke this key and make another/);
    const listed = (await gateway.admin('/api/admin/keys?account=keyed')).keys;
    assert.deepEqual(listed.map((row) => row.id), [first.json.id]);
    assert.equal((await send(gateway, first.json.key, callOf('chat', 'gpt-live', { limit: 20 }))).status, 200);
    for (const file of ON_POSTGRES ? [] : fs.readdirSync(gateway.dir).filter((name) => name.startsWith('books.db'))) {
      const bytes = fs.readFileSync(path.join(gateway.dir, file));
      assert.ok(!bytes.includes(first.json.key) && !bytes.includes('key-1'), `${file} has no secret in it, nor a key of a caller's`);
    }
  });

  test('outlives its gateway: killed before the answer is read, it is not made again', async () => {
    gateway.addAccount('killed');
    const body = JSON.stringify({ account: 'killed', delta_micros: 500 });
    const socket = net.connect(gateway.control);
    socket.on('error', () => {});
    socket.write(`POST ${ADJUST} HTTP/1.1\r\nHost: x\r\nIdempotency-Key: killed-1\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await until('it is on the books', async () => (await adjusted('killed')).rows === 1);
    await gateway.restart();
    socket.destroy();
    const again = await tell('POST', ADJUST, body, 'killed-1');
    assert.deepEqual([again.status, replayed(again)], [200, true], again.text);
    assert.deepEqual(await adjusted('killed'), { rows: 1, micros: 500 });
  });

  test('killed at any moment, asked again it is made once', async () => {
    const ROUNDS = 3;
    const AT_ONCE = 10;
    for (let round = 0; round < ROUNDS; round++) {
      const account = `moment-${round}`;
      gateway.addAccount(account);
      const all = () =>
        Promise.all(Array.from({ length: AT_ONCE }, (_, i) => tell('POST', ADJUST, { account, delta_micros: 1 }, `${account}-${i}`)));
      const first = all();
      await until('some are done', async () => (await adjusted(account)).rows > round * 3);
      await gateway.restart();
      const lost = (await first).filter((one) => one.status !== 200).length;
      const again = await all();
      assert.deepEqual([...new Set(again.map((one) => one.status))], [200], `${lost} answers were lost`);
      assert.deepEqual(await adjusted(account), { rows: AT_ONCE, micros: AT_ONCE });
    }
  });

  test('is what a command sends: one whose connection breaks off is asked for once more', async () => {
    gateway.addAccount('command');
    const asked = [];
    const door = path.join(gateway.dir, 'cut.sock');
    const server = net.createServer((client) => {
      /* The first answer comes from the gateway, and never gets to whoever asked. */
      const through = net.connect(gateway.control);
      const cut = asked.push('') === 1;
      const at = asked.length - 1;
      client.on('error', () => {}).on('data', (text) => {
        asked[at] += text;
        through.write(text);
      });
      through.on('error', () => client.destroy()).on('data', (text) => (cut ? client.destroy() : client.write(text)));
      through.on('end', () => client.end());
    });
    await new Promise((resolve) => server.listen(door, resolve));
    const words = ['ledger', 'adjust', '--account', 'command', '--by', '0.0005 USD', '--control', door, '--json'];
    const program = new Program('tidegate ledger adjust', words);
    assert.deepEqual(await program.over(20_000 * SLOW), { code: 0, signal: null }, program.err);
    assert.equal(JSON.parse(program.out).delta_micros, 500);
    assert.deepEqual(await adjusted('command'), { rows: 1, micros: 500 });
    const keys = asked.map((text) => /Idempotency-Key: (\S+)/i.exec(text)?.[1]);
    assert.equal(keys.length, 2);
    assert.ok(keys[0].length > 30 && keys[0] === keys[1], keys.join());
    await new Promise((resolve) => server.close(resolve));
  });

  test('and the books agree with all of it', assertAudited);
});
