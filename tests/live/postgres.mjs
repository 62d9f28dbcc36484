// PostgreSQL for live tests: servers of their own that can be killed, stopped, followed and promoted, a fresh
// database for whoever asks, and a way to them that can be cut. tools/postgres makes and removes the servers;
// they go with this process, however it ends.
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';

import { ROOT, SLOW, until } from './process.mjs';

const TOOL = path.join(ROOT, 'tools/postgres');
const LIMIT_MS = 180_000 * SLOW; // a busy disk
const execute = promisify(execFile);

/** Whether a value of the configuration's `store` means PostgreSQL. */
export const isPostgres = (store) => /^postgres(ql)?:\/\//.test(store ?? '');

let made = 0;
const ownName = (what) => `${what}_${process.pid}_${++made}`;

function psql(url, ...words) {
  const done = spawnSync('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', url, ...words], {
    encoding: 'utf8',
    timeout: LIMIT_MS,
    maxBuffer: 256 << 20,
    env: { ...process.env, PGTZ: 'UTC', PGCONNECT_TIMEOUT: '10' },
  });
  assert.equal(done.status, 0, `psql: ${done.error?.message ?? done.stderr}`);
  return done.stdout;
}

/** Rows of a query as objects; whole numbers are numbers. Blocks. */
export function queryOf(url, sql) {
  return JSON.parse(psql(url, '-c', `SELECT coalesce(json_agg(row), '[]') FROM (${sql}) AS row`));
}

/** Carries out statements that give no rows. */
export function execOf(url, ...statements) {
  psql(url, ...statements.flatMap((statement) => ['-c', statement]));
}

/** The same URL with another database. */
export function withDatabase(url, name) {
  return url.replace(/^([a-z]+:\/\/[^/?]*)\/?[^?]*/, `$1/${name}`);
}

/** One URL of several servers: whoever takes writes is meant. */
export function urlOfAll(urls) {
  const parts = urls.map((url) => /^postgresql:\/\/(?:([^@]*)@)?([^/?]*)(\/[^?]*)?/.exec(url));
  const user = parts[0][1] ? `${parts[0][1]}@` : '';
  const hosts = parts.map((part) => part[2]).join(',');
  return `postgresql://${user}${hosts}${parts[0][3] ?? ''}?target_session_attrs=read-write&connect_timeout=3`;
}

/** A database that nobody else has, on the server of `url`; gives its URL. */
export function freshDatabase(url = shared()) {
  const name = ownName('tidegate');
  execOf(url, `CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'`);
  return withDatabase(url, name);
}

/** Whoever is connected is sent away, but for the server's own vacuum: that ends by itself. */
export function dropDatabase(url, tries = 50) {
  const name = /^[a-z]+:\/\/[^/]*\/([^?]*)/.exec(url)[1];
  try {
    execOf(withDatabase(url, 'postgres'), `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
  } catch (error) {
    if (tries === 0 || !/whose process is being terminated/.test(error.message)) {
      throw error;
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    dropDatabase(url, tries - 1);
  }
}

let shared_url = process.env.TIDEGATE_TEST_PG;
/** The URL of the server that tests share: of the environment, else one that is started here. */
export function shared() {
  shared_url ??= Postgres.start({ fsync: false }).url;
  return shared_url;
}

/** A server of its own. */
export class Postgres {
  /**
   * `fsync`: what is committed survives the machine; `tcp`: its URL is one of 127.0.0.1 with a password;
   * `settings`: of postgresql.conf.
   */
  static start({ fsync = true, tcp = false, settings = {} } = {}) {
    return Postgres.#make('start', { fsync, tcp, settings });
  }

  static #make(verb, { fsync = true, tcp = false, settings = {} }, ...more) {
    const server = new Postgres();
    server.name = ownName('pg');
    server.dir = path.join(os.tmpdir(), `tidegate-${server.name}`);
    const words = [
      ...(fsync ? [] : ['--no-fsync']),
      ...(tcp ? ['--tcp'] : []),
      ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
    ];
    const owner = String(process.pid);
    const done = spawnSync(TOOL, [verb, '--dir', server.dir, '--owner', owner, ...words, ...more], {
      encoding: 'utf8',
      timeout: LIMIT_MS,
    });
    assert.equal(done.status, 0, `tools/postgres ${verb}: ${done.error?.message ?? done.stderr}`);
    server.url = done.stdout.trim();
    server.kind = { fsync, tcp, settings };
    server.port = Number(fs.readFileSync(path.join(server.dir, 'port'), 'utf8'));
    /** For what the role of `url` may not do. */
    server.admin_url = `postgresql://postgres@${encodeURIComponent(server.dir)}:${server.port}/postgres`;
    return server;
  }

  /** One that something else has set up: its folder holds `data`, its socket and `log`. Goes with this process. */
  static at(dir, port) {
    const server = new Postgres();
    Object.assign(server, { name: path.basename(dir), dir, port, kind: { tcp: false } });
    server.admin_url = `postgresql://postgres@${encodeURIComponent(dir)}:${port}/postgres`;
    fs.writeFileSync(path.join(dir, 'made-by-tidegate'), '');
    spawn(TOOL, ['guard', dir, String(process.pid)], { detached: true, stdio: 'ignore' }).unref();
    return server;
  }

  /** A standby that follows this one; from now on nothing is committed without it. */
  standby() {
    return Postgres.#make('standby', this.kind, '--from', this.dir);
  }

  database() {
    return freshDatabase(this.url);
  }

  query(sql, url = this.admin_url) {
    return queryOf(url, sql);
  }

  exec(...statements) {
    execOf(this.admin_url, ...statements);
  }

  /** What it has said so far. */
  log() {
    return fs.readFileSync(path.join(this.dir, 'log'), 'utf8');
  }

  async #control(...words) {
    await execute(TOOL, ['as', 'pg_ctl', '-D', path.join(this.dir, 'data'), ...words], {
      timeout: LIMIT_MS,
    });
  }

  /** Ends it in order: `fast` cuts connections, `immediate` leaves it to recovery. */
  stop(mode = 'fast') {
    return this.#control('-m', mode, '-w', 'stop');
  }

  /** Starts it again, on its old port. */
  async launch() {
    /* A dead process that nobody has waited for yet looks alive to PostgreSQL. */
    for (const mark of ['data/postmaster.pid', `.s.PGSQL.${this.port}.lock`]) {
      const file = path.join(this.dir, mark);
      if (fs.existsSync(file) && !isAlive(Number(fs.readFileSync(file, 'utf8').split('\n')[0]))) {
        fs.unlinkSync(file);
      }
    }
    await this.#control('-l', path.join(this.dir, 'log'), '-w', '-t', '60', 'start');
  }

  /** A standby takes writes from now on. */
  promote() {
    return this.#control('-w', '-t', '60', 'promote');
  }

  /** All its processes; the first is the one that the others belong to. */
  #processes() {
    const pid = Number(fs.readFileSync(path.join(this.dir, 'data/postmaster.pid'), 'utf8').split('\n')[0]);
    const children = spawnSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' }).stdout;
    return [pid, ...children.split('\n').filter(Boolean).map(Number)];
  }

  #signal(signal, list = this.#processes()) {
    for (const pid of list) {
      try {
        process.kill(pid, signal);
      } catch (error) {
        assert.equal(error.code, 'ESRCH');
      }
    }
  }

  /** It does nothing any more, and its connections stay. */
  pause() {
    this.#signal('SIGSTOP');
    this.#signal('SIGSTOP'); // those that were made meanwhile
  }

  resume() {
    this.#signal('SIGCONT');
  }

  /** As when its machine loses power: all at once, nothing said; `all` false: its first process alone. */
  async kill({ all = true } = {}) {
    const list = this.#processes();
    if (all) {
      this.pause();
    }
    this.#signal('SIGKILL', all ? this.#processes() : list.slice(0, 1));
    await until('all of PostgreSQL is gone', () => list.every((pid) => !isAlive(pid)));
  }

  /** Ends it and removes all that is left of it. */
  remove() {
    const done = spawnSync(TOOL, ['stop', '--dir', this.dir], { encoding: 'utf8', timeout: LIMIT_MS });
    assert.equal(done.status, 0, `tools/postgres stop: ${done.stderr}`);
  }
}

/** Whether a process runs; one that nobody has waited for yet does not. */
export function isAlive(pid) {
  try {
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/**
 * A way to a server that can be disturbed, at a TCP port of its own. It is a thread of its own, so that it goes
 * on while this process waits for a command.
 */
export class Link {
  /** To a Postgres. */
  static async to(server) {
    const link = new Link();
    const target = server.kind.tcp
      ? { host: '127.0.0.1', port: server.port }
      : { path: path.join(server.dir, `.s.PGSQL.${server.port}`) };
    link.worker = new Worker(new URL('./postgres_link.mjs', import.meta.url), { workerData: target });
    link.waiting = [];
    link.worker.on('message', (message) => link.waiting.shift()(message));
    const { port } = await link.#answer();
    link.port = port;
    link.server = server;
    return link;
  }

  /** The URL of a database of the server by this link. */
  url(database_url = this.server.url) {
    return database_url.replace(/^([a-z]+:\/\/(?:[^@/]*@)?)[^/?]*/, `$1127.0.0.1:${this.port}`);
  }

  /** What it says next; only who waits for that keeps this process. */
  #answer() {
    this.worker.ref();
    return new Promise((resolve) => {
      this.waiting.push((message) => {
        if (this.waiting.length === 0) {
          this.worker.unref();
        }
        resolve(message);
      });
    });
  }

  /** Gives {open, made, matched}: connections that are open, all that were, and how often `match` was met. */
  #order(order) {
    const answer = this.#answer();
    this.worker.postMessage(order);
    return answer;
  }

  state() {
    return this.#order({});
  }

  /** All is well (again): what was held back arrives. */
  heal() {
    return this.#order({ mode: 'pass', delay_ms: 0, jitter_ms: 0, match: null });
  }

  /** Bytes vanish, and nobody is told: connections stay, as when a cable is pulled. */
  drop() {
    return this.#order({ mode: 'drop' });
  }

  /** Every piece arrives so much later, and up to `jitter_ms` more, as chance has it. */
  delay(delay_ms, jitter_ms = 0) {
    return this.#order({ delay_ms, jitter_ms });
  }

  /** Connections that are open break now; new ones are served. */
  cut() {
    return this.#order({ cut: true });
  }

  /** Connections break, and new ones do too until heal(). */
  refuse() {
    return this.#order({ mode: 'refuse', cut: true });
  }

  /**
   * The next piece to `side` ('server' or 'client') that holds `text` breaks its connection: before it arrives,
   * or `after`: it arrives, and no answer to it does.
   */
  cutAt(side, text, { after = false } = {}) {
    return this.#order({ match: { side, text, after } });
  }

  async end() {
    await this.worker.terminate();
  }
}
