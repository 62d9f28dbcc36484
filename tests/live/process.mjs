// Processes of the binary and bounded waits. Whatever is started here dies with this process.
import { spawn, spawnSync } from 'node:child_process';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export { sleep };

export const ROOT = process.env.TIDEGATE_SOURCE_ROOT ?? path.resolve(import.meta.dirname, '../..');
export const BIN = process.env.TIDEGATE_BIN ?? path.join(ROOT, 'build/tidegate');
export const ASAN = process.env.TIDEGATE_ASAN === '1';
export const LONG = Boolean(process.env.TIDEGATE_LONG);

/** Waits are written for the plain binary; sanitizers and a busy machine take longer. */
export const SLOW = ASAN ? 4 : 1;
const STOP_MS = 10_000 * SLOW;

const children = new Set();

function killAll() {
  for (const child of children) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
    }
  }
}
process.on('exit', killAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    killAll();
    process.exit(1);
  });
}

/** Waits until `probe` gives something true, and gives that. */
export async function until(what, probe, limit_ms = 5000 * SLOW, pause_ms = 10) {
  const end = Date.now() + limit_ms;
  let last;
  for (;;) {
    try {
      last = undefined;
      const found = await probe();
      if (found) {
        return found;
      }
    } catch (error) {
      if (error.fatal) {
        throw error;
      }
      last = error;
    }
    if (Date.now() > end) {
      throw new Error(`waited ${limit_ms} ms in vain: ${what}${last ? ` (${last.message})` : ''}`);
    }
    await sleep(pause_ms);
  }
}

/** One process of the binary, with all it says. */
export class Program {
  /**
   * `file_blocks`: no file of it may grow beyond so many blocks of 512 bytes; writing then fails.
   * `files`: it may have so many open; `memory_kb`: its address space. `resolv_conf`: a file that it alone
   * sees as /etc/resolv.conf, which wants the right to mount.
   */
  constructor(name, args, { env = {}, cwd, file_blocks = 0, files = 0, memory_kb = 0, resolv_conf } = {}) {
    this.name = name;
    this.out = '';
    this.err = '';
    const limits = [
      file_blocks && `trap '' XFSZ; ulimit -f ${file_blocks}`,
      files && `ulimit -n ${files}`,
      memory_kb && `ulimit -v ${memory_kb}`,
      resolv_conf && `mount --bind '${resolv_conf}' /etc/resolv.conf`,
    ].filter(Boolean);
    const bounded = ['-c', [...limits, 'exec "$0" "$@"'].join(' && '), BIN, ...args];
    const shell = resolv_conf ? ['unshare', '-m', '/bin/sh', ...bounded] : ['/bin/sh', ...bounded];
    const [file, ...words] = limits.length ? shell : [BIN, ...args];
    this.child = spawn(file, words, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.add(this.child);
    /* What a failed test has left running must not keep this process: it dies at its exit. */
    this.child.unref();
    this.child.stdout.unref();
    this.child.stderr.unref();
    this.child.stdout.setEncoding('utf8').on('data', (text) => (this.out += text));
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.err += text));
    this.ended = new Promise((resolve) => {
      this.child.on('error', (error) => resolve({ code: null, signal: null, error }));
      this.child.on('close', (code, signal) => {
        children.delete(this.child);
        resolve({ code, signal });
      });
    });
    this.ended.then((how) => (this.how = how));
  }

  alive() {
    if (this.how) {
      const how = this.how.error?.message ?? this.how.signal ?? `exit code ${this.how.code}`;
      throw Object.assign(new Error(`${this.name} ended (${how}):\n${this.err.slice(-4000)}`), {
        fatal: true,
      });
    }
    return true;
  }

  /** Ends it; gives {code, signal}. What does not end in time is killed and said. */
  end(signal = 'SIGTERM', limit_ms = STOP_MS) {
    if (!this.how) {
      this.child.kill(signal);
    }
    return this.over(limit_ms);
  }

  /** Waits for its end. */
  async over(limit_ms = STOP_MS) {
    if (!this.how) {
      const late = Symbol('late');
      const timer = new AbortController();
      const how = await Promise.race([
        this.ended,
        sleep(limit_ms, late, { signal: timer.signal }).catch(() => late),
      ]);
      timer.abort();
      if (how === late) {
        this.child.kill('SIGKILL');
        await this.ended;
        throw new Error(
          `${this.name} did not end within ${limit_ms} ms:\n${this.err.slice(-4000)}`,
        );
      }
    }
    return this.how;
  }
}

/** Runs the binary to its end; gives {code, out, err}. */
export function run(args, { env = {}, cwd, limit_ms = 20_000 * SLOW } = {}) {
  const done = spawnSync(BIN, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: limit_ms,
    maxBuffer: 256 << 20,
  });
  if (done.error) {
    throw done.error;
  }
  return { code: done.status, signal: done.signal, out: done.stdout, err: done.stderr };
}

/** Below those that systems give to connections of their own accord, so that it stays free while a gateway is down. */
export async function freePort() {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    const server = net.createServer();
    const free = await new Promise((resolve, reject) => {
      server.on('error', (error) => (error.code === 'EADDRINUSE' ? resolve(false) : reject(error)));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (free) {
      await new Promise((resolve) => server.close(resolve));
      return port;
    }
  }
}
