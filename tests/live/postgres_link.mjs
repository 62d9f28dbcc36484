// The thread of a Link (postgres.mjs): passes bytes between clients and a server, and does as it is told.
import net from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';

const state = { mode: 'pass', delay_ms: 0, jitter_ms: 0, match: null };
const pairs = new Set();
let made = 0;
let matched = 0;

class Pair {
  constructor(client) {
    this.client = client;
    this.server = net.connect(workerData);
    this.tail = { client: '', server: '' };
    pairs.add(this);
    this.#pass(client, this.server, 'server');
    this.#pass(this.server, client, 'client');
    if (state.mode === 'drop') {
      this.hold();
    }
  }

  #pass(from, to, side) {
    const late = []; // in their order, also while the delay changes
    const later = (act) => {
      const wait_ms = state.delay_ms + Math.random() * state.jitter_ms;
      if (wait_ms === 0 && late.length === 0) {
        act();
      } else {
        late.push(act);
        setTimeout(() => late.shift()(), wait_ms);
      }
    };
    from.setNoDelay(true);
    from.on('error', () => this.cut());
    from.on('close', () => this.cut());
    from.on('end', () => later(() => to.end()));
    from.on('data', (bytes) => {
      const met = this.#matches(side, bytes);
      if (met && !met.after) {
        this.cut();
        return;
      }
      later(() => to.writable && to.write(bytes));
      if (met) {
        to.pause(); // it has arrived; what comes back does not
        setTimeout(() => this.cut(), 100);
      }
    });
  }

  /** A word may come in two pieces. */
  #matches(side, bytes) {
    const { match } = state;
    const seen = this.tail[side] + bytes.toString('latin1');
    this.tail[side] = seen.slice(-64);
    if (match?.side !== side || !seen.includes(match.text)) {
      return null;
    }
    state.match = null;
    matched++;
    return match;
  }

  hold() {
    this.client.pause();
    this.server.pause();
  }

  release() {
    this.client.resume();
    this.server.resume();
  }

  cut() {
    if (pairs.delete(this)) {
      this.client.resetAndDestroy?.();
      this.server.destroy();
    }
  }
}

parentPort.on('message', ({ cut, ...order }) => {
  const before = state.mode;
  Object.assign(state, order);
  if (cut) {
    [...pairs].forEach((pair) => pair.cut());
  }
  if (state.mode === 'drop') {
    pairs.forEach((pair) => pair.hold());
  } else if (before === 'drop') {
    pairs.forEach((pair) => pair.release());
  }
  parentPort.postMessage({ open: pairs.size, made, matched });
});

const listener = net.createServer((client) => {
  made++;
  if (state.mode === 'refuse') {
    client.destroy();
  } else {
    new Pair(client);
  }
});
listener.listen(0, '127.0.0.1', () => parentPort.postMessage({ port: listener.address().port }));
