// Goal: whoever operates several gateways on one store sees all of them from each, and none decides by another
// configuration than the others without being told to.
// Method: two gateways on one database, a third that comes and goes; configurations that differ in what is each
// gateway's own, and in what is not.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Gateway, Mock, SLOW, callOf, modelsOn, numbers, ownLimit, run, send, until } from './harness.mjs';
import { Postgres } from './postgres.mjs';
import { Fleet, GRACE_MS, LEASE_MS } from './shared.mjs';

let mock;
let server;
let fleet;
let a;
let b;
before(async () => {
  mock = await Mock.start();
  server = Postgres.start({ fsync: false });
  fleet = await Fleet.start(mock, 2, { models: modelsOn({ 'gpt-live': 'openai', slow: 'openai' }) }, { server });
  [a, b] = fleet.gateways;
  await mock.models({ slow: 'tokens=4000,tps=50' });
});
after(async () => {
  await fleet?.stop();
  server?.remove();
  await mock?.stop();
});

const nodes = (gateway) => Object.fromEntries(gateway.command('status').nodes.map((node) => [node.name, node]));
const reload = (gateway, ...args) => run(['reload', '--control', gateway.control, ...args], { cwd: gateway.dir });
/** Its file says so from now on; it has not been read yet. */
const edit = (gateway, change) => {
  Object.assign(gateway.config, change);
  gateway.write();
};
const sawConfiguration = (...of) => until('each sees the configurations of all', () => [a, b].every((gateway, at) =>
  Object.values(nodes(gateway)).every((node) => node.configuration === of[at][node.name])));
/** A third one on the same store. */
const third = (config, options) =>
  Gateway.start(mock, { ...fleet.config, store: fleet.database, node: 'gateway-c', ...config }, options);

test('each shows all: name, epoch, lease, calls that wait, whose configuration is the same, which one it is', () => {
  for (const [gateway, own, other] of [[a, 'gateway-a', 'gateway-b'], [b, 'gateway-b', 'gateway-a']]) {
    const shown = nodes(gateway);
    assert.deepEqual(Object.keys(shown).sort(), ['gateway-a', 'gateway-b']);
    assert.equal(shown[own].this, true);
    assert.equal(shown[other].this, false);
    assert.notEqual(shown[own].epoch, shown[other].epoch);
    for (const node of Object.values(shown)) {
      assert.ok(node.lease_left_ms > 0 && node.lease_left_ms <= LEASE_MS, JSON.stringify(node));
      assert.equal(node.waiting, 0);
      /* They listen at other ports and have other control sockets and names. */
      assert.equal(node.configuration, 'same');
      assert.ok(Date.now() - Date.parse(node.started_at) < 60_000 * SLOW, node.started_at);
    }
    const table = run(['status', '--control', gateway.control]).out;
    assert.match(table, new RegExp(`${own}\\t\\d+\\t[^\\t]+\\t[^\\t]+ left\\t0\\tsame\\tthis one\\n`));
    assert.match(table, new RegExp(`${other}\\t\\d+\\t[^\\t]+\\t[^\\t]+ left\\t0\\tsame\\t\\n`));
  }
});

test('a refusal is told at once by who gave it; the other says that it may come', async () => {
  const refused = await send(a, a.member('paula'), callOf('chat', 'no-such-model', { limit: ownLimit() }));
  assert.equal(refused.status, 404, refused.text);
  const explained = (gateway) => run(['explain', refused.request_id, '--control', gateway.control, '--json'], { cwd: gateway.dir });
  const other = explained(b); /* before anybody has it written */
  if (other.code !== 0) {
    assert.match(other.err, /what another gateway of this store refused is on the books within a second: ask again/);
  }
  assert.equal(explained(a).code, 0);
  assert.equal(explained(b).code, 0);
});

test('one that decides by another configuration does not start, unless it is told to', async () => {
  const other = { held_wait: '4s' };
  await assert.rejects(third(other), /gateway-[ab] \(epoch \d+\).*under another configuration.*--mixed/s);
  const c = await third(other, { args: ['--mixed'] });
  assert.deepEqual(
    Object.values(nodes(a)).map((node) => [node.name, node.configuration]).sort(),
    [['gateway-a', 'same'], ['gateway-b', 'same'], ['gateway-c', 'different']],
  );
  assert.equal(nodes(c)['gateway-c'].configuration, 'same');
  assert.equal(nodes(c)['gateway-a'].configuration, 'different');
  await c.stop();
  assert.deepEqual(Object.keys(nodes(a)).sort(), ['gateway-a', 'gateway-b'], 'who ends in order leaves no row');
});

test('nor is a reload of one taken, unless it is told to: then the others follow', async () => {
  const failed = async (gateway) => (await numbers(gateway)).get('config_reloads_total{result="failed"}');
  const same = { 'gateway-a': 'same', 'gateway-b': 'same' };
  edit(a, { held_wait: '1s' });
  const refused = reload(a);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /the gateway gateway-b \(epoch \d+\) on the same store decides by another configuration; .*`tidegate reload --mixed`/);
  assert.equal(await failed(a), 1);
  assert.deepEqual(Object.values(nodes(b)).map((node) => node.configuration), ['same', 'same'], 'nothing has changed');
  a.program.child.kill('SIGHUP');
  await until('the signal is refused too', async () => (await failed(a)) === 2);

  const taken = reload(a, '--mixed');
  assert.equal(taken.code, 0, taken.err);
  const differ = (own, other) => ({ [own]: 'same', [other]: 'different' });
  await sawConfiguration(differ('gateway-a', 'gateway-b'), differ('gateway-b', 'gateway-a'));
  edit(b, { held_wait: '1s' });
  assert.equal(reload(b).code, 0, 'the last to follow needs no word');
  await sawConfiguration(same, same);
});

test('what is its own is reloaded freely, and a wrong file is told before the others are asked', () => {
  edit(b, { log: 'json', connections_max: 500 });
  const done = reload(b);
  assert.equal(done.code, 0, done.err);
  assert.match(done.out, /only a restart changes: log, connections_max/);
  const good = b.config.held_wait;
  edit(b, { held_wait: 'soon' });
  assert.match(reload(b, '--mixed').err, /'held_wait' wants a duration/);
  edit(b, { held_wait: good });
});

test('one that dies is shown as over, then its calls are booked by another, and that is counted', async () => {
  const key = a.member('ada');
  const c = await third({ held_wait: '1s' });
  const trips = (await numbers(a)).get('store_round_trips_total');
  const running = send(c, key, callOf('chat', 'slow', { limit: ownLimit(), stream: true }));
  await until('it is in flight', () => a.openHolds() === 1);
  await c.kill();
  await running;
  await until('its lease is over', () => nodes(b)['gateway-c']?.lease_left_ms === 0, (LEASE_MS + 1000) * SLOW);
  assert.match(run(['status', '--control', b.control]).out, /gateway-c\t\d+\t[^\t]+\tover\t0\tsame\t\n/);
  await until('its row is gone', () => !nodes(b)['gateway-c'], (GRACE_MS + 2000) * SLOW);
  await a.booked();
  const all = await Promise.all([a, b].map(numbers));
  assert.deepEqual(all.reduce((sum, one) => sum + one.get('gateways_fenced_total'), 0), 1);
  assert.ok(all[0].get('store_round_trips_total') > trips);
});

test('a connection that is made anew is counted, and so is a lease that was lost; what was taken as mixed comes back', async () => {
  edit(a, { held_wait: '2s' });
  assert.equal(reload(a, '--mixed').code, 0);
  const before_it = await numbers(a);
  assert.equal(before_it.get('leases_lost_total'), 0);
  await a.link.cut();
  await until('it is connected again', async () =>
    (await numbers(a)).get('store_reconnects_total') > before_it.get('store_reconnects_total'));
  const { epoch } = nodes(a)['gateway-a'];
  a.program.child.kill('SIGSTOP');
  await until('the other has taken over', () => !nodes(b)['gateway-a'], (GRACE_MS + 3000) * SLOW);
  a.program.child.kill('SIGCONT');
  await until('it has found out', async () => (await numbers(a)).get('leases_lost_total') > 0);
  await until('it is back', () => Number(nodes(b)['gateway-a']?.epoch) > Number(epoch));
  assert.equal(nodes(b)['gateway-a'].configuration, 'different');
});

test('without a gateway at hand, a command says where to ask, and what backs a database up', async () => {
  const key = (await a.admin('/api/admin/keys')).keys.length;
  const here = { cwd: a.dir };
  const lost = run(['account', 'list', '--config', a.file], here);
  assert.equal(lost.code, 0, lost.err);
  edit(a, { control: `${a.dir}/elsewhere.sock` });
  const none = run(['account', 'list', '--config', a.file], here);
  assert.equal(none.code, 1);
  assert.match(none.err, /no gateway answers at .*elsewhere\.sock.*books on PostgreSQL are asked for through a gateway/);
  for (const words of [['backup', 'x.db'], ['restore', 'x.db', '--force']]) {
    const done = run([...words, '--config', a.file], here);
    assert.equal(done.code, 1);
    assert.match(done.err, /^tidegate: books on PostgreSQL are backed up .*pg_dump.*pg_basebackup/);
  }
  const audit = run(['check', '--store', '--config', a.file, '--json'], here);
  assert.equal(audit.code, 0, audit.out + audit.err);
  assert.ok(key > 0);
});

test('a limit that one gateway knows before the other is one limit, and the books agree, whoever has the higher epoch', async () => {
  const epochs = nodes(a);
  const [first, second] = epochs['gateway-a'].epoch > epochs['gateway-b'].epoch ? [a, b] : [b, a];
  const limits = { week: { counts: 'cost', per: 'account', window: 'week', cap: '1 USD' } };
  for (const gateway of [first, second]) {
    edit(gateway, { limits });
    assert.equal(reload(gateway, '--mixed').code, 0);
  }
  const key = a.member('eve');
  for (const gateway of [second, second, first]) {
    assert.equal((await send(gateway, key, callOf('chat', 'gpt-live', { limit: 20 }))).status, 200);
  }
  await fleet.booked();
  fleet.assertSound();
  for (const gateway of [first, second]) { /* under two names at once */
    edit(gateway, { limits: { spend: { ...limits.week, was: 'week' } } });
    assert.equal(reload(gateway, '--mixed').code, 0);
    for (const by of [second, first]) {
      assert.equal((await send(by, key, callOf('chat', 'gpt-live', { limit: 20 }))).status, 200);
    }
    await fleet.booked();
    fleet.assertSound();
  }
  const { meters } = await a.admin('/api/admin/limits');
  const total = (await a.ledger({ account: 'eve' })).reduce((sum, row) => sum + (row.cost_micros ?? 0), 0);
  assert.deepEqual(meters.filter((meter) => meter.account === 'eve').map((meter) => [meter.limit, meter.used]), [['spend', total]]);
});
