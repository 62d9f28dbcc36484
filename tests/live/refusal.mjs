// What the tests of refusals share: who asks, and what every refusal has.
import assert from 'node:assert/strict';

import { callOf, ownLimit } from './harness.mjs';

export const APIS = ['chat', 'responses', 'messages'];
export const CODEX = {
  'user-agent': 'codex_exec/0.169.0 (Debian 12; x86_64)',
  originator: 'codex_exec',
};

export const modelOf = (api) => (api === 'messages' ? 'claude-live' : 'gpt-live');
export const small = (api, more = {}) => callOf(api, modelOf(api), { limit: ownLimit(), ...more });

/** What every refusal has, whatever it is for; gives its sentence. */
export function assertRefusal(
  answer,
  api,
  { status, code, words, retry = 'false', after: retry_after, codex = false },
) {
  assert.equal(answer.status, status, `${answer.text} ${answer.error ?? ''}`);
  assert.ok(answer.clean, 'the answer is whole');
  assert.ok(answer.request_id, 'it has a request id');
  assert.equal(answer.headers['request-id'], answer.request_id);
  assert.equal(answer.headers['x-should-retry'], retry === null ? undefined : retry);
  if (retry_after === null) {
    assert.equal(answer.headers['retry-after'], undefined);
  } else if (retry_after) {
    const seconds = Number(answer.headers['retry-after']);
    assert.ok(
      Number.isInteger(seconds) && seconds >= retry_after[0] && seconds <= retry_after[1],
      `retry-after: ${answer.headers['retry-after']}`,
    );
  }
  if (codex) {
    return answer.text;
  }
  const error = answer.json?.error;
  assert.ok(error, answer.text);
  if (api === 'messages') {
    assert.equal(answer.json.type, 'error');
    assert.equal(answer.json.request_id, answer.request_id);
    assert.equal(error.details.reason, code);
  } else {
    assert.equal(error.reason, code);
    assert.ok('type' in error && 'param' in error && 'code' in error);
  }
  if (words) {
    assert.match(error.message, words);
  }
  return error.message;
}

/** The provider has heard of nothing since the last clear. */
export async function assertUnheard(mock) {
  assert.deepEqual(await mock.journal(), [], 'nothing reached the provider');
}
