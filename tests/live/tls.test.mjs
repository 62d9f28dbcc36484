// Goal: a provider is trusted only by its certificate: for its name, from a root that is trusted, in time.
// Method: a certificate authority made on the spot, and providers of our own that count what reaches them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import https from 'node:https';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Gateway, Mock, callOf, freePort, modelsOn, providersOn, run, send } from './harness.mjs';

const ANSWER = JSON.stringify({
  id: 'chatcmpl-tls', object: 'chat.completion', model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'ok' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 },
});

let dir;
let mock;
const servers = [];

const openssl = (...args) => execFileSync('openssl', args, { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] });

function authority(name) {
  openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`,
    '-out', `${name}.pem`, '-days', '2', '-subj', `/CN=${name}`);
}

function leaf(name, ca, subject, ...days) {
  fs.writeFileSync(path.join(dir, `${name}.ext`), `subjectAltName=${subject}\nbasicConstraints=CA:FALSE\n`);
  openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`, '-out',
    `${name}.csr`, '-subj', `/CN=${name}`);
  openssl('x509', '-req', '-in', `${name}.csr`, '-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial', '-out',
    `${name}.pem`, '-extfile', `${name}.ext`, '-days', ...(days.length ? days : ['2']));
}

/** A provider over TLS: {port, requests, names}. */
async function provider(certificate, options = {}) {
  const seen = { port: await freePort(), requests: 0, names: new Set() };
  const server = https.createServer({
    key: fs.readFileSync(path.join(dir, `${certificate}.key`)),
    cert: fs.readFileSync(path.join(dir, `${certificate}.pem`)),
    ...options,
  }, (request, response) => {
    seen.requests++;
    seen.names.add(request.socket.servername);
    request.resume();
    request.on('end', () => response.writeHead(200, { 'content-type': 'application/json', 'content-length': ANSWER.length }).end(ANSWER));
  });
  await new Promise((resolve) => server.listen(seen.port, '127.0.0.1', resolve));
  servers.push(server);
  return seen;
}

before(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-tls-'));
  mock = await Mock.start();
  authority('ours');
  authority('theirs');
  leaf('good', 'ours', 'DNS:localhost');
  leaf('other-name', 'ours', 'DNS:elsewhere.example');
});
after(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await mock?.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

async function callOver(port, ca) {
  const gateway = await Gateway.start(mock, {
    providers: {
      ...providersOn(mock),
      tls: { ...providersOn(mock).openai, base_url: `https://localhost:${port}/v1`, ca_file: path.join(dir, `${ca}.pem`) },
    },
    models: modelsOn({ 'gpt-live': 'tls' }),
  });
  const key = gateway.member('ada');
  const answers = [];
  for (let i = 0; i < 3; i++) {
    answers.push(await send(gateway, key, callOf('chat', 'gpt-live')));
  }
  await gateway.booked();
  const rows = (await gateway.ledger({ account: 'ada' })).filter((row) => row.usage);
  const log = gateway.log();
  await gateway.stop();
  return { answers, rows, log };
}

test('a certificate for its name from a trusted root: calls pass, and the name is asked for', async () => {
  const seen = await provider('good');
  const { answers, rows } = await callOver(seen.port, 'ours');
  assert.deepEqual(answers.map((answer) => answer.status), [200, 200, 200], answers[0].text);
  assert.equal(seen.requests, 3);
  assert.deepEqual([...seen.names], ['localhost']);
  assert.deepEqual(rows.map((row) => [row.usage.input, row.usage.output]), [[7, 2], [7, 2], [7, 2]]);
});

for (const [what, certificate, ca, options] of [
  ['for another name', 'other-name', 'ours', {}],
  ['from a root that is not trusted', 'good', 'theirs', {}],
  ['over a protocol that is too old', 'good', 'ours', { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' }],
]) {
  test(`a certificate ${what}: 502, nothing is sent and nothing is booked`, async () => {
    const seen = await provider(certificate, options);
    const { answers, rows, log } = await callOver(seen.port, ca);
    for (const answer of answers) {
      assert.equal(answer.status, 502, answer.text);
      assert.equal(answer.json.error.reason, 'provider_unreachable');
      assert.equal(answer.headers['x-should-retry'], 'false');
    }
    assert.equal(seen.requests, 0);
    assert.ok(rows.every((row) => row.kind === 'release' && row.cost_micros === 0), JSON.stringify(rows));
    assert.match(log, /certificate|TLS|protocol|version/i);
  });
}

test('roots that a reload reads again: who they vouch for is judged again, resumed or not', async () => {
  const seen = await provider('good', { keepAliveTimeout: 1 });
  const trust = (ca) => fs.copyFileSync(path.join(dir, `${ca}.pem`), path.join(dir, 'trusted.pem'));
  trust('theirs');
  const gateway = await Gateway.start(mock, {
    providers: {
      tls: {
        ...providersOn(mock).openai,
        base_url: `https://localhost:${seen.port}/v1`,
        ca_file: path.join(dir, 'trusted.pem'),
        cooldown_after: 0,
      },
    },
    models: modelsOn({ 'gpt-live': 'tls' }),
  });
  const key = gateway.member('ada');
  for (const [ca, status] of [['theirs', 502], ['ours', 200], ['theirs', 502], ['ours', 200]]) {
    trust(ca);
    assert.equal(run(['reload', '--control', gateway.control]).code, 0);
    for (let i = 0; i < 4; i++) {
      for (const server of servers) {
        server.closeAllConnections();
      }
      await sleep(50);
      const answer = await send(gateway, key, callOf('chat', 'gpt-live'));
      assert.equal(answer.status, status, `${ca}: ${answer.text}`);
    }
  }
  await gateway.stop();
});
