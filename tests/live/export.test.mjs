// Goal: the ledger leaves the gateway whole, in forms that other programs read, however long it is.
// Method: 100,000 rows are put into the store while no gateway runs; each form is counted and taken apart.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';

import { ASAN, BIN, Gateway, Mock, callOf, modelsOn, run, send } from './harness.mjs';

const ROWS = ASAN ? 10_000 : 100_000;
const EVIL = "=cmd|' /C calc'!A0";

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';

let mock;
let gateway;
let settled;
before(async () => {
  mock = await Mock.start();
  gateway = await Gateway.start(mock, { models: modelsOn({ 'gpt-live': 'openai' }) });
  const key = gateway.member('ada');
  gateway.addAccount('we say "hello", twice');
  assert.equal((await send(gateway, key, callOf('chat', 'gpt-live', { limit: 20 }), { headers: { 'x-tidegate-thread': 'one', traceparent: `00-${TRACE}-00f067aa0ba902b7-01` } })).status, 200);
  await gateway.booked();
  await gateway.program.end('SIGTERM');
  const write = (sql) => {
    const done = spawnSync('sqlite3', [gateway.store, sql], { encoding: 'utf8' });
    assert.equal(done.status, 0, done.stderr);
    return done.stdout.trim();
  };
  const columns = write("SELECT group_concat(name) FROM pragma_table_info('ledger')").split(',');
  const values = columns.map((column) => ({ id: 'l.id + n', hold_id: 'l.hold_id + n' })[column] ?? `l.${column}`);
  write(`BEGIN; WITH RECURSIVE c(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM c WHERE n < ${ROWS})
    INSERT INTO ledger (${columns}) SELECT ${values} FROM c, (SELECT * FROM ledger WHERE kind = 0 OR cost_micros > 0 ORDER BY id DESC LIMIT 1) l;
    UPDATE ledger SET model = '${EVIL.replaceAll("'", "''")}' WHERE id = (SELECT max(id) FROM ledger); COMMIT`);
  settled = Number(write("SELECT count(*) FROM ledger WHERE model <> ''"));
  await gateway.launch();
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const ledger = (...args) => run(['ledger', ...args, '--control', gateway.control], { limit_ms: 120_000 });

/** RFC 4180, to the letter: rows of cells. */
function csv(text) {
  const rows = [];
  let row = [];
  for (let at = 0; at < text.length; ) {
    let cell;
    if (text[at] === '"') {
      const found = /"((?:[^"]|"")*)"/y;
      found.lastIndex = at;
      const [whole, inner] = found.exec(text);
      cell = inner.replaceAll('""', '"');
      at += whole.length;
    } else {
      const found = /[^",\r\n]*/y;
      found.lastIndex = at;
      [cell] = found.exec(text);
      at += cell.length;
    }
    row.push(cell);
    if (text[at] === ',') {
      at += 1;
    } else {
      assert.equal(text.slice(at, at + 2), '\r\n', text.slice(at - 20, at + 20));
      at += 2;
      rows.push(row);
      row = [];
    }
  }
  return rows;
}

describe('an export', () => {
  test('as CSV has every row once, newest first, in fixed columns, in the memory of a page', () => {
    /* Sanitizers take what memory they like. */
    const bounded = ASAN ? 'exec "$0" "$@"' : 'ulimit -v 120000; exec "$0" "$@"';
    const done = spawnSync('/bin/sh', ['-c', bounded, BIN, 'ledger', '--csv', '--kind', 'settle', '--control', gateway.control],
      { encoding: 'utf8', timeout: 120_000, maxBuffer: 256 << 20 });
    assert.equal(done.stderr, '');
    assert.equal(done.status, 0);
    const [head, ...rows] = csv(done.stdout);
    assert.equal(head.slice(0, 6).join(), 'row,kind,at,request,attempt,source');
    assert.equal(rows.length, settled);
    assert.ok(settled >= ROWS);
    assert.ok(rows.every((row) => row.length === head.length));
    const ids = rows.map(([row]) => BigInt(row));
    assert.ok(ids.every((id, i) => i === 0 || id < ids[i - 1]));
    assert.equal(rows[0][head.indexOf('trace')], TRACE);
    assert.equal(rows[0][head.indexOf('model')], `'${EVIL}`, 'no spreadsheet takes it for a formula');
  });

  test('as lines of JSON: each an object, as many as are wanted', () => {
    const done = ledger('--ndjson', '--kind', 'settle', '--limit', '4500');
    assert.equal(done.code, 0, done.err);
    const rows = done.out.trimEnd().split('\n').map((line) => JSON.parse(line));
    assert.equal(rows.length, 4500);
    assert.equal(rows[0].model, EVIL);
    assert.ok(rows.every(({ trace }) => trace === TRACE), 'each with the trace of its client');
    assert.equal(new Set(rows.map(({ row }) => row)).size, 4500);
  });

  test('as one object of JSON, more than one page of the gateway', () => {
    const { rows, next_before } = JSON.parse(ledger('--json', '--limit', '5000').out);
    assert.equal(rows.length, 5000);
    assert.equal(next_before, rows.at(-1).row);
    const next = JSON.parse(ledger('--json', '--limit', '1', '--before', next_before).out);
    assert.ok(BigInt(next.rows[0].row) < BigInt(next_before));
    assert.deepEqual(JSON.parse(ledger('--json', '--since', '2999-01-01').out), { rows: [], next_before: null });
  });

  test('times of people: today has all of it, yesterday and before today nothing', () => {
    const count = (...args) => JSON.parse(ledger('--json', '--limit', '10', ...args).out).rows.length;
    assert.equal(count('--since', 'yesterday'), 10);
    assert.equal(count('--since', '2h'), 10);
    assert.equal(count('--until', 'yesterday'), 0);
    assert.equal(count('--since', '2h', '--until', 'yesterday'), 0);
  });

  test('forms and bounds that make no sense are told', () => {
    for (const [args, said] of [
      [['--csv', '--json'], /keep one/],
      [['--csv', '--limit', '-1'], /--limit must be a number from 1 on, or all/],
      [['--limit', '10001'], /--limit must be a number from 1 to 10000; --csv and --ndjson have no bound/],
      [['--before', 'x'], /--before must be/],
      [['req_1', '--before', '5'], /an ID names one request/],
    ]) {
      const done = ledger(...args);
      assert.equal(done.code, 2, args.join(' '));
      assert.match(done.err, said);
      assert.equal(done.out, '', 'no head without rows');
    }
    assert.equal(ledger('--limit', '3').out.trim().split('\n').length, 4);
  });
});
