// Certificates made on the spot, in a folder of the test's own.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

export class Certificates {
  constructor() {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-certs-'));
  }

  file(name) {
    return path.join(this.dir, name);
  }

  text(name) {
    return fs.readFileSync(this.file(name));
  }

  #openssl(...args) {
    execFileSync('openssl', args, { cwd: this.dir, stdio: ['ignore', 'ignore', 'pipe'] });
  }

  /** A root: NAME.pem, NAME.key. */
  authority(name) {
    this.#openssl('req', '-x509', ...EC, '-keyout', `${name}.key`, '-out', `${name}.pem`, '-days', '2', '-subj', `/CN=${name}`);
  }

  /** A certificate of `ca` for a subject such as DNS:localhost; `key`: one that is there already. */
  leaf(name, ca, subject, { days = 30, key } = {}) {
    fs.writeFileSync(this.file(`${name}.ext`), `subjectAltName=${subject}\nbasicConstraints=CA:FALSE\n`);
    this.#openssl('req', ...(key ? ['-new', '-key', `${key}.key`] : [...EC, '-keyout', `${name}.key`]), '-out',
      `${name}.csr`, '-subj', `/CN=${name}`);
    if (key) {
      fs.copyFileSync(this.file(`${key}.key`), this.file(`${name}.key`));
      fs.chmodSync(this.file(`${name}.key`), 0o600);
    }
    this.#openssl('x509', '-req', '-in', `${name}.csr`, '-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial',
      '-out', `${name}.pem`, '-extfile', `${name}.ext`, '-days', String(days));
  }

  /** A copy of NAME's key under a passphrase. */
  lock(name, as) {
    this.#openssl('ec', '-in', `${name}.key`, '-aes128', '-passout', 'pass:open sesame', '-out', as);
    fs.chmodSync(this.file(as), 0o600);
  }

  /** Puts NAME in the place of the pair `as`. */
  install(name, as) {
    for (const kind of ['pem', 'key']) {
      fs.copyFileSync(this.file(`${name}.${kind}`), this.file(`${as}.${kind}`));
      fs.chmodSync(this.file(`${as}.${kind}`), 0o600);
    }
  }

  remove() {
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}
