// Goal: providers are reached through the proxy that the configuration or the environment names, and a proxy
// that does not let through is a provider that cannot be reached: nothing is billed, no secret is told.
// Method: a proxy of our own that keeps what it is asked, in front of a TLS provider and of the mock.
import assert from 'node:assert/strict';
import https from 'node:https';
import net from 'node:net';
import { after, before, beforeEach, test } from 'node:test';

import { Certificates } from './certificates.mjs';
import { Gateway, Mock, callOf, freePort, modelsOn, providersOn, run, send, sleep, until } from './harness.mjs';

const PASSWORD = 'p@ss-9d41';
const ANSWER = JSON.stringify({
  id: 'chatcmpl-1', object: 'chat.completion', model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'ok' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 },
});

let certificates;
let mock;
let provider;
let proxy;

/** A proxy: `asked` are the heads it got, `bytes` what went through towards the provider; `way` how it answers. */
async function startProxy() {
  const self = { asked: [], bytes: '', way: 'tunnel', sockets: new Set() };
  self.server = net.createServer((socket) => {
    self.sockets.add(socket);
    socket.on('error', () => {}).on('close', () => self.sockets.delete(socket));
    socket.once('data', async (first) => {
      const head = first.toString('latin1');
      self.asked.push(head);
      switch (self.way) {
        case 'refuse':
          socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno');
          return;
        case 'forbid': socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n'); return;
        case 'hang': return;
        case 'close': socket.end(); return;
        case 'garbage': socket.end('SSH-2.0-OpenSSH_9.2\r\n'); return;
        case 'chatter': socket.write('HTTP/1.1 200 OK\r\n\r\nhello'); return;
        default: break;
      }
      const [, port] = /^CONNECT \S+:(\d+) HTTP\/1\.1\r\n/.exec(head) ?? [];
      const upstream = net.connect(Number(port), '127.0.0.1');
      upstream.on('error', () => socket.destroy()).on('connect', async () => {
        socket.write('HTTP/1.1 200 Connec');
        await sleep(10);
        socket.write('tion established\r\nX-Proxy: 1\r\n\r\n');
        socket.on('data', (data) => { self.bytes += data.toString('latin1'); upstream.write(data); });
        socket.on('close', () => upstream.destroy());
        upstream.pipe(socket);
      });
    });
  });
  self.port = await freePort();
  await new Promise((resolve) => self.server.listen(self.port, '127.0.0.1', resolve));
  return self;
}

before(async () => {
  certificates = new Certificates();
  certificates.authority('ours');
  certificates.leaf('provider', 'ours', 'DNS:provider.example,DNS:other.example');
  mock = await Mock.start();
  provider = { port: await freePort(), requests: 0 };
  provider.server = https.createServer({ key: certificates.text('provider.key'), cert: certificates.text('provider.pem') }, (request, response) => {
    provider.requests++;
    request.resume().on('end', () => response.writeHead(200, { 'content-type': 'application/json', 'content-length': ANSWER.length }).end(ANSWER));
  });
  await new Promise((resolve) => provider.server.listen(provider.port, '127.0.0.1', resolve));
  proxy = await startProxy();
});
after(async () => {
  for (const socket of proxy.sockets) {
    socket.destroy();
  }
  proxy.server.close();
  provider.server.closeAllConnections();
  provider.server.close();
  await mock?.stop();
  certificates?.remove();
});
beforeEach(() => {
  proxy.asked.length = 0;
  proxy.bytes = '';
  proxy.way = 'tunnel';
  provider.requests = 0;
});

/** A provider that only the proxy can find; `more`: its options. */
const behind = (more = {}, host = 'provider.example') => ({
  ...providersOn(mock).openai, base_url: `https://${host}:${provider.port}/v1`, ca_file: certificates.file('ours.pem'),
  connect_deadline: '1s', ...more,
});

async function gatewayWith(provider_options, env = {}, fallback = []) {
  const gateway = await Gateway.start(mock, {
    providers: { ...providersOn(mock), far: provider_options },
    models: modelsOn({ 'gpt-live': [['far', 'gpt-live'], ...fallback] }),
  }, { env: { ...env, LIVE_OPENAI_KEY: 'sk-company-openai-4f1e9a77', LIVE_ANTHROPIC_KEY: 'x-1', LIVE_SECOND_KEY: 'x-2' } });
  gateway.secrets.add(PASSWORD);
  gateway.secrets.add(Buffer.from(`ada:${PASSWORD}`).toString('base64'));
  return { gateway, key: gateway.member('ada') };
}

const url = () => `http://ada:${encodeURIComponent(PASSWORD)}@127.0.0.1:${proxy.port}`;
const call = callOf('chat', 'gpt-live');

for (const [what, options, env] of [
  ['its option', () => ({ proxy: `http://127.0.0.1:${proxy.port}` }), () => ({ HTTPS_PROXY: 'http://127.0.0.1:1' })],
  ['a variable it names', () => ({ proxy: { env: 'OUR_PROXY' } }), () => ({ OUR_PROXY: url() })],
  ['HTTPS_PROXY', () => ({}), () => ({ HTTPS_PROXY: url(), NO_PROXY: 'other.example,.elsewhere.example' })],
  ['https_proxy before HTTPS_PROXY', () => ({}), () => ({ https_proxy: url(), HTTPS_PROXY: 'http://127.0.0.1:1' })],
  ['ALL_PROXY', () => ({}), () => ({ ALL_PROXY: url() })],
]) {
  test(`a proxy of ${what}: calls go through one tunnel, the provider's name is checked, secrets stay inside`, async () => {
    const { gateway, key } = await gatewayWith(behind(options()), env());
    for (let i = 0; i < 3; i++) {
      const answer = await send(gateway, key, call);
      assert.equal(answer.status, 200, answer.text);
    }
    assert.equal(provider.requests, 3);
    const with_password = !('proxy' in options()) || typeof options().proxy === 'object';
    for (const head of proxy.asked) {
      assert.match(head, new RegExp(`^CONNECT provider\\.example:${provider.port} HTTP/1\\.1\\r\\nHost: provider\\.example:${provider.port}\\r\\n`));
      assert.equal(/Proxy-Authorization: Basic (\S+)\r\n/.exec(head)?.[1], with_password ? Buffer.from(`ada:${PASSWORD}`).toString('base64') : undefined);
      assert.ok(!head.includes('sk-company'), 'the credential of the provider is not the proxy\'s');
    }
    assert.ok(proxy.asked.length >= 1 && proxy.asked.length <= 2, `${proxy.asked.length} tunnels: one a loop`);
    assert.ok(!proxy.bytes.includes('sk-company') && !proxy.bytes.includes('chat/completions'));
    await gateway.stop();
  });
}

test('an http provider is tunnelled to by HTTP_PROXY; loopback, NO_PROXY and `none` go straight', async () => {
  const plain = { ...providersOn(mock).openai, base_url: `http://far.example:${mock.port}/v1`, insecure: true };
  const { gateway, key } = await gatewayWith(plain, { HTTP_PROXY: url(), HTTPS_PROXY: 'http://127.0.0.1:1' });
  assert.equal((await send(gateway, key, call)).status, 200);
  assert.match(proxy.asked[0], new RegExp(`^CONNECT far\\.example:${mock.port} `));
  await gateway.stop();

  for (const [options, env] of [
    [providersOn(mock).openai, { HTTP_PROXY: url(), ALL_PROXY: url() }],
    [{ ...plain, base_url: `http://localhost:${mock.port}/v1`, proxy: 'none' }, { HTTP_PROXY: url() }],
  ]) {
    proxy.asked.length = 0;
    const straight = await gatewayWith(options, env);
    assert.equal((await send(straight.gateway, straight.key, call)).status, 200);
    assert.deepEqual(proxy.asked, []);
    await straight.gateway.stop();
  }
});

for (const [way, said] of [
  ['refuse', /its proxy 127\.0\.0\.1:\d+ refused a tunnel with status 407 \(it wants another user name and password\)/],
  ['forbid', /refused a tunnel with status 403/],
  ['hang', /no connection within 1000 ms \(waiting for the proxy\)/],
  ['close', /closed the connection instead of opening a tunnel/],
  ['garbage', /answers in no HTTP/],
  ['chatter', /sent bytes of its own into the tunnel/],
]) {
  test(`a proxy that would ${way}: the next route serves, nothing is billed for the first, the log names the proxy`, async () => {
    proxy.way = way;
    const { gateway, key } = await gatewayWith(behind({ proxy: { env: 'OUR_PROXY' } }), { OUR_PROXY: url() }, [['openai', 'gpt-live']]);
    const answer = await send(gateway, key, call);
    assert.equal(answer.status, 200, answer.text);
    await gateway.booked();
    assert.equal(provider.requests, 0);
    await until('the log names it', () => said.test(gateway.log()));
    await gateway.stop();
  });
}

test('a proxy that is not there: 502 naming nothing secret, nothing booked', async () => {
  const { gateway, key } = await gatewayWith(behind({ proxy: { env: 'OUR_PROXY' } }), { OUR_PROXY: `http://ada:${encodeURIComponent(PASSWORD)}@127.0.0.1:1` });
  const answer = await send(gateway, key, call);
  assert.equal(answer.status, 502, answer.text);
  await gateway.booked();
  await until('the log names it', () => /connect to proxy 127\.0\.0\.1:1: connection refused/.test(gateway.log()));
  const rows = (await gateway.ledger({ account: 'ada' })).filter((row) => row.usage);
  assert.ok(rows.every((row) => row.cost_micros === 0), JSON.stringify(rows));
  await gateway.stop();
});

test('check names the proxy and not its password; what is no proxy is refused', async () => {
  const { gateway } = await gatewayWith(behind());
  const checked = (env) => run(['check', gateway.file], { env: { LIVE_OPENAI_KEY: 'a', LIVE_ANTHROPIC_KEY: 'b', LIVE_SECOND_KEY: 'c', ...env } });
  const good = checked({ HTTPS_PROXY: url() });
  assert.equal(good.code, 0, good.err);
  assert.match(good.out, new RegExp(`It reaches far through the proxy 127\\.0\\.0\\.1:${proxy.port}\\.`));
  assert.ok(!good.out.includes('ada:') && !good.out.includes(PASSWORD));
  const socks = checked({ ALL_PROXY: `socks5://ada:${PASSWORD}@127.0.0.1:1080` });
  assert.equal(socks.code, 1);
  assert.match(socks.err, /environment variable ALL_PROXY holds no proxy such as http:\/\/proxy\.example:3128: only proxies that begin with http/);
  assert.ok(!socks.err.includes(PASSWORD));
  await gateway.stop();
});
