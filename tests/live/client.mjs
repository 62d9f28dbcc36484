// Clients of a gateway: one request over HTTP, event streams, and connections under byte control.
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';

import { SLOW, until } from './process.mjs';

/** Takes an event stream apart: events {name, data}, comments, and how it stands. */
export class Events {
  constructor() {
    this.list = [];
    this.comments = [];
    this.rest = '';
  }

  feed(text) {
    this.rest += text;
    for (let end; (end = /\r\n\r\n|\n\n|\r\r/.exec(this.rest));) {
      this.#block(this.rest.slice(0, end.index));
      this.rest = this.rest.slice(end.index + end[0].length);
    }
  }

  #block(block) {
    const event = { name: '', data: '' };
    for (const line of block.split(/\r\n|\n|\r/)) {
      if (line.startsWith(':')) {
        this.comments.push(line.slice(1).trim());
      } else if (line.startsWith('event:')) {
        event.name = line.slice(6).trim();
      } else if (line.startsWith('data:')) {
        event.data += line.slice(5).trim();
      }
    }
    if (event.data || event.name) {
      try {
        event.json = event.data.startsWith('{') ? JSON.parse(event.data) : null;
      } catch {
        event.json = null; /* a provider's own fault, passed on */
        event.torn = true;
      }
      this.list.push(event);
    }
  }

  /** The text that a person was shown, of any dialect. */
  text() {
    return this.list
      .map(
        ({ json }) =>
          json?.choices?.[0]?.delta?.content ??
          (json?.type === 'response.output_text.delta' ? json.delta : null) ??
          (json?.type === 'content_block_delta' ? json.delta.text : null) ??
          '',
      )
      .join('');
  }
}

/**
 * Sends one request; gives {status, headers, text, json, events, clean}. `clean`: the answer came to
 * its end as HTTP has it. `onEvent(events, request)` is called after each piece of a stream. `ca`: whom an
 * https URL must be vouched for by.
 */
export function ask(
  url,
  { method = 'POST', key, headers = {}, body, agent, ca, onEvent, limit_ms = 30_000 * SLOW } = {},
) {
  const payload =
    body === undefined || typeof body === 'string' || Buffer.isBuffer(body)
      ? body
      : JSON.stringify(body);
  return new Promise((resolve) => {
    const answer = { status: 0, headers: {}, text: '', events: new Events(), clean: false };
    const { request: requestOf } = String(url).startsWith('https:') ? https : http;
    const request = requestOf(...(typeof url === 'string' ? [url] : []), {
      ...(typeof url === 'string' ? {} : url),
      method,
      agent: agent ?? false,
      ca,
      headers: {
        ...(payload === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
        ...(key ? { authorization: `Bearer ${key}` } : {}),
        ...headers,
      },
    });
    const timer = setTimeout(
      () => request.destroy(new Error(`no end after ${limit_ms} ms`)),
      limit_ms,
    );
    const finish = (error) => {
      clearTimeout(timer);
      answer.error = error;
      answer.request_id = answer.headers['x-request-id'];
      try {
        answer.json = JSON.parse(answer.text);
      } catch {
        answer.json = null;
      }
      resolve(answer);
    };
    request.on('error', finish);
    request.on('response', (response) => {
      answer.status = response.statusCode;
      answer.headers = response.headers;
      const stream = /event-stream/.test(response.headers['content-type'] ?? '');
      response.setEncoding('utf8');
      response.on('data', (text) => {
        answer.text += text;
        if (stream) {
          answer.events.feed(text);
          onEvent?.(answer.events, request);
        }
      });
      response.on('error', finish);
      response.on('end', () => {
        answer.clean = response.complete;
        finish();
      });
    });
    request.end(payload);
  });
}

export const API_PATHS = {
  chat: '/v1/chat/completions',
  responses: '/v1/responses',
  messages: '/v1/messages',
};

/** A small call of one API: {path, body, headers}. */
export function callOf(
  api,
  model,
  { stream = false, limit = 100, text = 'hello', more = {} } = {},
) {
  switch (api) {
    case 'chat':
      return {
        path: API_PATHS.chat,
        headers: {},
        body: {
          model,
          stream,
          max_completion_tokens: limit,
          messages: [{ role: 'user', content: text }],
          ...more,
        },
      };
    case 'responses':
      return {
        path: API_PATHS.responses,
        headers: {},
        body: { model, stream, max_output_tokens: limit, input: text, ...more },
      };
    case 'messages':
      return {
        path: API_PATHS.messages,
        headers: { 'anthropic-version': '2023-06-01' },
        body: {
          model,
          stream,
          max_tokens: limit,
          messages: [{ role: 'user', content: text }],
          ...more,
        },
      };
    case 'embeddings':
      return { path: '/v1/embeddings', headers: {}, body: { model, input: text, ...more } };
    default:
      throw new Error(`no api ${api}`);
  }
}

/** Sends a call of callOf(). */
export function send(gateway, key, call, options = {}) {
  return ask(gateway.url + (options.path ?? call.path), {
    key,
    body: call.body,
    ...options,
    headers: { ...call.headers, ...options.headers },
  });
}

// ---- raw bytes ----

/** A connection under byte control. */
export class Raw {
  static open(port, host = '127.0.0.1') {
    return new Promise((resolve, reject) => {
      const raw = new Raw();
      raw.text = '';
      raw.closed = false;
      raw.socket = net.connect({ port, host, allowHalfOpen: true });
      raw.socket.setNoDelay(true);
      raw.socket.setEncoding('latin1');
      raw.socket.on('data', (text) => (raw.text += text));
      raw.socket.on('end', () => (raw.closed = true));
      raw.socket.on('close', () => (raw.closed = true));
      raw.socket.on('error', (error) => {
        raw.closed = true;
        raw.error = error;
        reject(error);
      });
      raw.socket.on('connect', () => resolve(raw));
    });
  }

  write(bytes) {
    if (!this.socket.destroyed && this.socket.writable) {
      this.socket.write(bytes, 'latin1');
    }
  }

  fin() {
    this.socket.end();
  }

  statuses() {
    return [...this.text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((found) => Number(found[1]));
  }

  waitFor(what, probe, limit_ms = 5000 * SLOW) {
    return until(
      `${what}; so far: ${JSON.stringify(this.text.slice(-500))}`,
      () => probe(this),
      limit_ms,
      5,
    );
  }

  waitClosed(limit_ms) {
    return this.waitFor('the connection is closed', () => this.closed, limit_ms);
  }

  destroy() {
    this.socket.destroy();
  }
}
