// A receiver of webhooks within the test's own process.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import http from 'node:http';

/** An HTTP server that keeps what it is sent and answers with `statuses`, one after the other, the last for ever. */
export class Receiver {
  static async start(statuses = [200], port = 0) {
    const receiver = new Receiver();
    receiver.statuses = [...statuses];
    receiver.got = [];
    receiver.kept = [];
    receiver.together = 1;
    receiver.server = http.createServer((request, response) => {
      const chunks = [];
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks).toString();
        receiver.got.push({ method: request.method, url: request.url, headers: request.headers, body });
        const status = receiver.statuses.length > 1 ? receiver.statuses.shift() : receiver.statuses[0];
        receiver.kept.push(() => {
          response.writeHead(status, receiver.location ? { location: receiver.location } : {});
          response.end(receiver.answer ?? 'thanks');
        });
        if (receiver.kept.length >= receiver.together) {
          receiver.answerAll();
        }
      });
    });
    await new Promise((resolve) => receiver.server.listen(port, '127.0.0.1', resolve));
    receiver.port = receiver.server.address().port;
    receiver.url = `http://127.0.0.1:${receiver.port}/hook?token=t0k3n-of-a-url`;
    return receiver;
  }

  /** The bodies of all messages of one event. */
  bodies(event) {
    return this.got
      .filter((message) => message.headers['x-tidegate-event'] === event)
      .map((message) => JSON.parse(message.body));
  }

  /** Answers what waits; so many messages are answered `together`, one at a time unless a test says otherwise. */
  answerAll() {
    for (const answer of this.kept.splice(0)) {
      answer();
    }
  }

  stop() {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }
}

/** As docs/webhooks.md tells a receiver to do it. */
export function verify(message, secret) {
  const fields = message.headers['x-tidegate-signature'].split(',').map((field) => field.split('='));
  const t = fields.find(([name]) => name === 't')[1];
  const want = createHmac('sha256', secret).update(`${t}.${message.body}`).digest('hex');
  assert.ok(Math.abs(Date.now() / 1000 - Number(t)) < 300, 'it was signed just now');
  return fields.some(([name, value]) => name === 'v1' && value === want);
}
