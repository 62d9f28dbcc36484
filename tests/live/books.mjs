// The books of a gateway against the journal of the provider, call by call: DESIGN section 4.
import assert from 'node:assert/strict';

/** What the models of these tests cost, in micro-USD per million tokens. */
export const PRICE = {
  input: 3_000_000n,
  cache_read: 300_000n,
  cache_write_5m: 3_750_000n,
  cache_write_1h: 6_000_000n,
  output: 15_000_000n,
};
export const PRICE_YAML = {
  input: '3 USD',
  output: '15 USD',
  cache_read: '0.30 USD',
  cache_write: '3.75 USD',
  cache_write_1h: '6 USD',
};

/** Micro-USD of a bill of the journal, rounded up once. */
export function priced(bill, prices = PRICE) {
  let sum = 0n;
  for (const [kind, price] of Object.entries(prices)) {
    sum += BigInt(bill[kind] ?? 0) * price;
  }
  return Number((sum + 999_999n) / 1_000_000n);
}

const costOf = (tokens, price) => Math.ceil((Math.max(0, tokens) * Number(price)) / 1_000_000);

/** Ledger rows by hold: {hold, rows, last, booked, limit, estimate...}. */
export function holdsOf(rows) {
  const holds = new Map();
  for (const row of rows) {
    if (!row.hold) {
      continue;
    }
    const hold = holds.get(row.hold) ?? { id: row.hold, rows: [], booked: 0 };
    hold.rows.push(row);
    hold.booked += row.cost_micros;
    if (row.inputs?.v) {
      hold.last = row;
      hold.limit = row.inputs.lowered_to >= 0 ? row.inputs.lowered_to : row.inputs.output_limit;
    }
    holds.set(row.hold, hold);
  }
  return [...holds.values()];
}

/**
 * Every call against what the provider would bill. Calls are told apart by their output limit, which
 * must be its own for each. `received`: tokens that the client of a limit got (Map), where the caller
 * knows. `prices`: as PRICE, where the models cost something else. Throws with a line a call, every term of
 * the rule in it.
 */
export function compareBooks(rows, journal, received = new Map(), prices = PRICE) {
  const calls = new Map();
  const callAt = (limit) => {
    if (!calls.has(limit)) {
      calls.set(limit, { limit, holds: [], entries: [] });
    }
    return calls.get(limit);
  };
  for (const hold of holdsOf(rows)) {
    callAt(hold.limit).holds.push(hold);
  }
  for (const entry of journal) {
    if (!entry.path.endsWith('/count_tokens') && entry.method === 'POST') {
      callAt(entry.limit).entries.push(entry);
    }
  }
  const lines = [];
  const wrong = [];
  for (const call of [...calls.values()].sort((a, b) => a.limit - b.limit)) {
    const told = judgeCall(call, received.get(call.limit), prices);
    lines.push(told.line);
    if (told.faults.length) {
      wrong.push(`${told.line}\n    ${told.faults.join('\n    ')}`);
    }
  }
  if (wrong.length) {
    assert.fail(
      `${wrong.length} of ${lines.length} calls break the rule of the books:\n  ${wrong.join('\n  ')}`,
    );
  }
  return lines;
}

const inputOf = (usage) =>
  usage.input + usage.cache_read + usage.cache_write_5m + usage.cache_write_1h;

function judgeCall({ limit, holds, entries }, received, prices) {
  const faults = [];
  const journal = entries.reduce((sum, entry) => sum + priced(entry.bill, prices), 0);
  const written = entries.reduce((sum, entry) => sum + entry.bill.output, 0);
  const real_input = entries.reduce((sum, entry) => sum + inputOf(entry.bill), 0);
  const booked = holds.reduce((sum, hold) => sum + hold.booked, 0);
  const line =
    `limit ${limit}: holds ${holds.map((hold) => `${hold.id}[${hold.rows.map((row) => row.kind)}]`).join(' ') || 'none'}, ` +
    `booked ${booked}, journal ${journal} (input ${real_input}, output ${written}, ` +
    `${entries.map((entry) => (entry.finished ? 'finished' : entry.gone ? 'gone' : entry.cut ? 'cut' : 'other')).join(' ') || 'never there'})` +
    `, received ${received ?? 'unknown'}`;
  if (holds.length === 0) {
    faults.push('the provider was asked, and the books do not know of it');
    return { line, faults };
  }
  if (holds.length > 1) {
    faults.push('one call has several holds');
  }
  const [hold] = holds;
  const attempts = hold.rows.map((row) => row.attempt);
  if (attempts.some((attempt, i) => attempts.indexOf(attempt) !== i)) {
    faults.push(`attempts are booked more than once: ${attempts}`);
    return { line, faults };
  }
  const end = hold.rows.find((row) => row.attempt === Math.max(...attempts));
  if (end !== hold.last) {
    faults.push('the last attempt is not the last row');
    return { line, faults };
  }
  /* Attempts before the last that may have been billed. */
  const billed = hold.rows.filter(
    (row) => row === end || (row.kind === 'settle' && row.inputs?.v),
  );
  const estimated = billed.some((row) => row.flags.includes('estimated') || row.kind === 'orphan');
  const given_up = hold.rows.length - 1;
  if (entries.length > given_up + 1) {
    faults.push(
      `the provider was asked ${entries.length} times, booked are ${given_up + 1} attempts`,
    );
  }
  if (end.kind === 'release' && entries.some((entry) => !entry.cut && entry.status !== 0)) {
    faults.push('booked as never sent, and the provider answered');
  }
  if (!estimated) {
    if (booked !== journal) {
      faults.push(
        `finished, so the books must be the journal to the micro: off by ${booked - journal}`,
      );
    }
    return { line, faults };
  }
  const over = (of) => billed.reduce((sum, row) => sum + of(row), 0);
  const est_input = over((row) => (row.kind === 'orphan' ? row.inputs.input : inputOf(row.usage)));
  const held_output = over((row) => row.inputs.held_output);
  const bound = over((row) => row.bound_micros);
  /* What the gateway read at least: what its client got, all of an answer that came to its end. */
  const whole = entries.every((entry) => !entry.gone && !entry.cut);
  const read = received ?? (whole ? written : end.kind === 'orphan' ? written : end.usage.output);
  const covered = Math.min(written, held_output, Math.max(read, 0));
  const input_term = costOf(real_input - est_input, prices.cache_write_1h); // the dearest that input can be
  const output_term = costOf(written - covered, prices.output);
  const terms =
    `booked ${booked}, bound ${bound}, input ${est_input} for ${real_input} (${input_term} micros), ` +
    `output held ${held_output}, booked ${end.usage?.output ?? 'whole'}, written ${written}, read ${read} (${output_term} micros)`;
  if (booked > bound || billed.some((row) => row.cost_micros > row.bound_micros)) {
    faults.push(`booked above the bound: ${terms}`);
  }
  if (journal - booked > input_term + output_term + 1) {
    faults.push(`booked too little: ${terms}`);
  }
  if (
    end.kind === 'settle' &&
    received !== undefined &&
    Math.min(received, held_output) > end.usage.output
  ) {
    faults.push(`the client got ${received} tokens and the books have ${end.usage.output}`);
  }
  return { line: `${line}, ${terms}`, faults };
}

let last_limit = 1000;
/** An output limit that no other call of this file has: what tells calls apart in the books. */
export function ownLimit() {
  return ++last_limit;
}

/** Waits until everything is booked, then compares all that was booked with the whole journal. */
export async function assertBooks(gateway, mock, received) {
  const journal = await mock.settled();
  await gateway.booked();
  return compareBooks(await gateway.ledger(), journal, received);
}

/**
 * The same for the calls that the journal holds since it was last cleared; gives their rows and
 * the journal.
 */
export async function booksOf(gateway, mock, received) {
  const journal = await mock.settled();
  await gateway.booked();
  const limits = new Set(journal.map((entry) => entry.limit));
  const rows = await gateway.ledger();
  const holds = new Set(
    rows
      .filter((row) => row.inputs?.v && limits.has(row.inputs.output_limit))
      .map((row) => row.hold),
  );
  const own = rows.filter((row) => row.hold && holds.has(row.hold));
  compareBooks(own, journal, received);
  return { rows: own, journal };
}
