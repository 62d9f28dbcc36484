// Goal: a tree of threads spends from one purse: what its root's first call asks for, an admin sets or the limit
// says; it is refused as a whole, for good, and says what it spent.
// Method: named threads with parents, exact spending by corrections, refusals of model endpoints and the control plane.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Gateway, Mock, ask, callOf, modelsOn, run, send } from './harness.mjs';

let mock;
let gateway;
let key;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, {
    models: { ...modelsOn({ 'gpt-live': 'openai' }), ...modelsOn({ 'gpt-free-of-price': 'openai' }, { price: undefined }) },
    unpriced: 'allow',
    limits: {
      'chat-lifetime': { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: { set: 'spend_limit_micros' } },
      'day-spend': { counts: 'cost', per: 'account', window: 'day', cap: '50 USD' },
    },
  });
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const tell = (method, where, body) => ask({ socketPath: gateway.control, path: where }, { method, body });
async function done(method, where, body) {
  const answer = await tell(method, where, body);
  assert.equal(answer.status, 200, `${method} ${where}: ${answer.text} ${answer.error ?? ''}`);
  return answer.json;
}

/** One small call in a thread; `cap` is its header. */
function say(thread, { parent, cap, model = 'gpt-live', of = key } = {}) {
  return send(gateway, of, callOf('chat', model, { limit: 20 }), {
    headers: {
      'x-tidegate-thread': thread,
      ...(parent ? { 'x-tidegate-parent': parent } : {}),
      ...(cap === undefined ? {} : { 'x-tidegate-spend-limit-micros': String(cap) }),
    },
  });
}

async function begun(thread, options) {
  const answer = await say(thread, options);
  assert.equal(answer.status, 200, answer.text);
  await gateway.booked();
  const [row] = (await gateway.ledger({ id: answer.request_id })).filter((found) => found.thread);
  return { request: answer.request_id, id: row.thread, cost: row.cost_micros };
}

const tree = async (id) => (await done('GET', `/api/v1/threads/${id}`)).tree.find((limit) => limit.limit === 'chat-lifetime');

/** Puts what the whole tree has spent at exactly so much, by a correction of one of its calls. */
async function spendUpTo(begin, micros) {
  const { spent_micros: spent } = await tree(begin.id);
  if (micros !== spent) {
    await done('POST', '/api/admin/adjust', { request: begin.request, delta_micros: micros - spent, source: `to ${micros}` });
  }
  assert.equal((await tree(begin.id)).spent_micros, micros);
}

function assertRefused(answer, limit) {
  assert.equal(answer.status, 402, answer.text);
  assert.equal(answer.json.error.reason, 'budget_spent');
  assert.match(answer.json.error.message, new RegExp(`limit "${limit}"`));
}

const CAP = 100_000;

describe('the purse of a tree', () => {
  test('SL-59 a root that has spent its limit is refused for good, and nothing says when it opens', async () => {
    const root = await begun('sl59', { cap: CAP });
    await spendUpTo(root, CAP);
    const answer = await say('sl59');
    assertRefused(answer, 'chat-lifetime');
    assert.equal(answer.headers['retry-after'], undefined);
    assert.equal((await tree(root.id)).resets_at, null);
  });

  test('SL-60 what root and child spend is one sum: both are refused', async () => {
    const root = await begun('sl60', { cap: CAP });
    const child = await begun('sl60-child', { parent: 'sl60' });
    await spendUpTo(root, 60_000);
    await spendUpTo(child, CAP);
    assertRefused(await say('sl60'), 'chat-lifetime');
    assertRefused(await say('sl60-child'), 'chat-lifetime');
    assertRefused(await say('sl60-another', { parent: 'sl60' }), 'chat-lifetime');
  });

  test('SL-61 a grandchild spends from the same purse', async () => {
    const root = await begun('sl61', { cap: CAP });
    await begun('sl61-child', { parent: 'sl61' });
    const grandchild = await begun('sl61-grandchild', { parent: 'sl61-child' });
    assert.equal((await done('GET', `/api/v1/threads/${grandchild.id}`)).root, root.id);
    await spendUpTo(grandchild, CAP);
    assertRefused(await say('sl61'), 'chat-lifetime');
  });

  test('SL-62 with room left it goes on', async () => {
    const root = await begun('sl62', { cap: CAP });
    await spendUpTo(root, CAP - 10_000);
    assert.equal((await say('sl62')).status, 200);
  });

  test('SL-63 without a limit of its own and none configured a tree is never refused', async () => {
    const root = await begun('sl63');
    await spendUpTo(root, 40_000_000);
    assert.equal((await say('sl63')).status, 200);
    assert.equal((await tree(root.id)).spend_limit_micros, null);
  });

  test('SL-64 calls of a model without a price count nothing', async () => {
    const root = await begun('sl64', { cap: CAP });
    const { spent_micros: before } = await tree(root.id);
    const answer = await say('sl64', { model: 'gpt-free-of-price' });
    assert.equal(answer.status, 200, answer.text);
    await gateway.booked();
    assert.equal((await tree(root.id)).spent_micros, before);
  });

  test('SL-65 another tree of the same account has its own purse', async () => {
    const root = await begun('sl65', { cap: CAP });
    await spendUpTo(root, CAP);
    assertRefused(await say('sl65'), 'chat-lifetime');
    assert.equal((await say('sl65-other', { cap: CAP })).status, 200);
  });

  test('SL-66 SL-67 with both spent the tree is told; with the account alone, the account, and when it opens', async () => {
    const of = gateway.member('both');
    const root = await begun('sl66', { cap: CAP, of });
    await spendUpTo(root, CAP);
    await done('PUT', '/api/v1/usage-limits/overrides/both', { spend_limit_micros: CAP });
    assertRefused(await say('sl66', { of }), 'chat-lifetime');
    await done('POST', '/api/admin/adjust', { account: 'both', limit: 'day-spend', delta_micros: CAP });
    const other = await say('sl67', { of });
    assertRefused(other, 'day-spend');
    assert.ok(Number(other.headers['retry-after']) > 0, JSON.stringify(other.headers));
  });

  test('SL-72 a limit of nothing or less, or of half a micro, is refused; absent is none', async () => {
    for (const cap of ['0', '-1', '1.5', 'much', '', '9223372036854775808', '1e5']) {
      const answer = await say('sl72', { cap });
      assert.equal(answer.status, 400, cap);
      assert.equal(answer.json.error.reason, 'spend_limit_invalid');
    }
    const root = await begun('sl72');
    assert.equal((await tree(root.id)).spend_limit_micros, null);
    const where = `/api/v1/threads/${root.id}/spend-limit`;
    for (const micros of [0, -1, 1.5, 'much']) {
      assert.equal((await tell('PUT', where, { spend_limit_micros: micros })).status, 400);
    }
    await done('PUT', where, { spend_limit_micros: CAP });
    assert.equal((await tree(root.id)).spend_limit_micros, CAP);
    await done('PUT', where, { spend_limit_micros: null });
    assert.equal((await tree(root.id)).spend_limit_micros, null);
  });

  test('SL-73 SL-74 what was spent stays spent, over a restart too: nothing lifts a lifetime', async () => {
    const root = await begun('sl73', { cap: CAP });
    await spendUpTo(root, CAP);
    await gateway.restart();
    assertRefused(await say('sl73'), 'chat-lifetime');
    const limit = await tree(root.id);
    assert.deepEqual([limit.spent_micros, limit.window, limit.resets_at], [CAP, 'lifetime', null]);
  });

  test('SL-75 what a child asks for itself is passed over: the limit is that of its tree', async () => {
    const root = await begun('sl75', { cap: CAP });
    const child = await begun('sl75-child', { parent: 'sl75', cap: 1_000 });
    assert.equal((await tree(root.id)).spend_limit_micros, CAP);
    await done('PUT', `/api/v1/threads/${child.id}/spend-limit`, { spend_limit_micros: CAP / 2 });
    assert.equal((await tree(root.id)).spend_limit_micros, CAP / 2);
  });

  test('a later call may lower what its tree may spend, and never raise it', async () => {
    const root = await begun('lowered', { cap: CAP });
    await begun('lowered', { cap: CAP * 5 });
    assert.equal((await tree(root.id)).spend_limit_micros, CAP);
    await begun('lowered', { cap: CAP / 2 });
    assert.equal((await tree(root.id)).spend_limit_micros, CAP / 2);
    await spendUpTo(root, CAP / 2);
    assertRefused(await say('lowered', { cap: CAP }), 'chat-lifetime');
  });
});

describe('threads as their account sees them', () => {
  test('FF-96 a key sees its own threads, may lower what they may spend, and nobody else sees them', async () => {
    const root = await begun('mine', { cap: CAP });
    const own = (method, where, body, of = key) => ask(gateway.url + where, { method, key: of, body });
    const list = await own('GET', '/api/v1/threads?limit=3');
    assert.equal(list.status, 200, list.text);
    assert.equal(list.json.threads[0].id, root.id);
    assert.equal(list.json.next_before, list.json.threads[2].id);
    const where = `/api/v1/threads/${root.id}`;
    assert.equal((await own('GET', where)).json.tree[0].spend_limit_micros, CAP);
    assert.equal((await own('PUT', `${where}/spend-limit`, { spend_limit_micros: CAP / 4 })).status, 200);
    for (const body of [{ spend_limit_micros: CAP }, { spend_limit_micros: null }]) {
      const higher = await own('PUT', `${where}/spend-limit`, body);
      assert.equal(higher.status, 403, higher.text);
      assert.equal(higher.json.error.code, 'cap_not_lower');
    }
    for (const body of [{}, { limit: 'chat-lifetime' }]) {
      for (const answer of [
        await own('PUT', `${where}/spend-limit`, body),
        await ask({ socketPath: gateway.control, path: `${where}/spend-limit` }, { method: 'PUT', body }),
      ]) {
        assert.equal(answer.status, 400, answer.text);
        assert.match(answer.text, /'spend_limit_micros' is missing; null says/);
      }
    }
    const stranger = gateway.member('stranger');
    assert.equal((await own('GET', where, undefined, stranger)).status, 404);
    assert.equal((await own('PUT', `${where}/spend-limit`, { spend_limit_micros: 1 }, stranger)).status, 404);
    assert.equal((await own('GET', '/api/v1/threads', undefined, stranger)).json.threads.length, 0);
    assert.equal((await own('GET', '/api/v1/threads?account=ada', undefined, stranger)).status, 403);
    assert.equal((await own('GET', '/api/v1/threads/thr_1')).status, 404);
    assert.equal((await own('GET', '/api/v1/threads/thr_x')).status, 404);
  });

  test('a parent that is missing or somebody else’s is refused, and no thread comes of it', async () => {
    await begun('known-parent');
    const stranger = gateway.member('orphan');
    const count = () => gateway.rows('SELECT count(*) AS n FROM thread')[0].n;
    const before = count();
    for (const [thread, parent, of] of [['lost', 'never-there', key], ['taken', 'known-parent', stranger], ['self', 'self', key]]) {
      const answer = await say(thread, { parent, of });
      assert.equal(answer.status, 404, answer.text);
      assert.equal(answer.json.error.reason, 'thread_parent_unknown');
    }
    assert.equal(count(), before);
  });

  test('a parent that contradicts the tree is refused, and nothing moves', async () => {
    const root = await begun('tree-root');
    const kid = await begun('tree-kid', { parent: 'tree-root' });
    const grandkid = await begun('tree-grandkid', { parent: 'tree-kid' });
    await begun('tree-other');
    for (const [thread, parent, code] of [
      ['tree-root', 'tree-root', 'thread_parent_cycle'],
      ['tree-root', 'tree-kid', 'thread_parent_cycle'],
      ['tree-root', 'tree-grandkid', 'thread_parent_cycle'],
      ['tree-kid', 'tree-kid', 'thread_parent_cycle'],
      ['tree-kid', 'tree-grandkid', 'thread_parent_changed'],
      ['tree-kid', 'tree-other', 'thread_parent_changed'],
    ]) {
      const answer = await say(thread, { parent });
      assert.equal(answer.status, 400, answer.text);
      assert.equal(answer.headers['x-should-retry'], 'false');
      assert.equal(answer.json.error.reason, code);
      assert.match(answer.json.error.message, /x-tidegate-parent/);
    }
    assert.equal((await begun('tree-kid', { parent: 'tree-root' })).id, kid.id, 'the same again is no contradiction');
    for (const { id } of [root, kid, grandkid]) {
      assert.equal((await done('GET', `/api/v1/threads/${id}`)).root, root.id);
    }
    const late = await say('tree-other', { parent: 'tree-root' }); /* it began without a parent */
    assert.equal(late.status, 200, late.text);
    assert.match(late.headers['x-tidegate-warning'], /x-tidegate-parent was ignored/);
  });

  test('the command line lists, shows and limits threads', async () => {
    const root = await begun('by-hand', { cap: CAP });
    const made = run(['thread', 'limit', root.id, '--set', '0.02 USD', '--control', gateway.control], { cwd: gateway.dir });
    assert.equal(made.code, 0, made.err);
    assert.match(made.out, /chat-lifetime\s+cost\s+\S+\s+\$0\.00\s+\$0\.02\s+set/);
    assert.ok(gateway.command('thread', 'list', '--account', 'ada').threads.some((thread) => thread.id === root.id));
    assert.equal(gateway.command('thread', 'show', root.id).tree[0].spend_limit_micros, 20_000);
    assert.equal(run(['thread', 'limit', root.id, '--set', 'much', '--control', gateway.control]).code, 2);
    assert.match(run(['account', 'limit', 'ada', '--set', '5.0000001 USD', '--control', gateway.control]).err, /at most six decimals/);
    assert.match(run(['account', 'limit', 'ada', '--set', '0 USD', '--control', gateway.control]).err, /account limit: --set must be above 0/);
    assert.match(run(['ledger', 'adjust', '--account', 'ada', '--by', '0 USD', '--note', 'n', '--control', gateway.control]).err, /ledger adjust: --by must not be 0/);
    const limited = run(['account', 'limit', 'ada', '--set', '60 USD', '--control', gateway.control]);
    assert.match(limited.out, /The limit 'day-spend' of account 'ada' is \$60\.00 from now on/);
    const raised = run(['account', 'limit', 'ada', '--raise', '5 USD', '--for', '2h', '--control', gateway.control]);
    assert.match(raised.out, /raised by \$5\.00 until/, raised.err);
    const shown = run(['account', 'limit', 'ada', '--control', gateway.control]);
    assert.match(shown.out, /of \$65\.00 \(limit 'day-spend', a day, by: set\)/, shown.out + shown.err);
    assert.match(run(['account', 'limit', 'ada', '--unraise', '--control', gateway.control]).out, /taken back/);
    const adjusted = run(['ledger', 'adjust', root.request, '--by', '+0.01 USD', '--note', 'by hand', '--control', gateway.control]);
    assert.match(adjusted.out, /cost \$0\.01 more, by admin:control: \$\S+ before, \$\S+ in all now/, adjusted.err);
    assert.equal(run(['ledger', 'adjust', root.request, '--by', '5 USD', '--control', gateway.control]).code, 1);
    assert.equal(run(['account', 'limit', 'ada', '--set', '5', '--control', gateway.control]).code, 2);
  });

  test('the books agree with the meters after all of it', async () => {
    await gateway.booked();
    await gateway.program.end('SIGTERM');
    const audit = run(['check', '--store', '--config', gateway.file], { cwd: gateway.dir });
    assert.equal(audit.code, 0, audit.out + audit.err);
    await gateway.launch();
  });
});
