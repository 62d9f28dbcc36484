// Goal: whatever kind of limit a stream runs into, for its client it ends like any answer that reached its output
// limit: in its dialect, whole, and with a word on why in a comment.
// Method: two streams at once that share the last of a limit, for each kind, in each dialect, and the official SDKs.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

import { Gateway, Mock, callOf, modelsOn, send } from './harness.mjs';
import { APIS } from './refusal.mjs';

const KINDS = {
  key: { counts: 'tokens', per: 'key', window: '1h rolling', cap: 3000 },
  member: { counts: 'tokens', per: 'account', window: '5h from first use', cap: 3000 },
  purse: { counts: 'cost', per: 'group', window: 'week', cap: '0.045 USD' },
  team: { counts: 'cost', per: 'tag', tag: 'team', window: 'day', cap: '0.045 USD' },
  tree: { counts: 'cost', per: 'thread_tree', window: 'lifetime', cap: '0.045 USD' },
  model: { counts: 'cost', per: 'model', window: '1h rolling', cap: '0.045 USD' },
};
const modelFor = (api, kind) => `${api === 'messages' ? 'claude' : 'gpt'}-${kind}-${api}`;

let mock;
let gateway;
let key;

before(async () => {
  mock = await Mock.start();
  const names = Object.keys(KINDS).flatMap((kind) => [...APIS, 'sdk'].map((api) => [api, kind]));
  const limits = {};
  for (const [api, kind] of names.filter(([one]) => one !== 'sdk')) {
    limits[`${kind}-${api}`] = { ...KINDS[kind], of: { model: modelFor(api, kind) } };
  }
  gateway = await Gateway.start(mock, {
    models: modelsOn(Object.fromEntries(
      names.map(([api, kind]) => [modelFor(api, kind), api === 'messages' ? 'anthropic' : 'openai']),
    )),
    groups: { crew: { members: ['ada'] } },
    tags: { team: { header: 'x-team' } },
    input_estimate: 'bytes',
    step: 64,
    limits,
  });
  key = gateway.member('ada');
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});
beforeEach(() => mock.clear());

const stops = {
  chat: (events) =>
    events.list.some(({ json }) => json?.choices?.[0]?.finish_reason === 'length') && events.list.at(-1).data === '[DONE]',
  responses: (events) =>
    events.list.at(-1).json.type === 'response.incomplete'
    && events.list.at(-1).json.response.incomplete_details.reason === 'max_output_tokens',
  messages: (events) =>
    events.list.some(({ json }) => json?.type === 'message_delta' && json.delta.stop_reason === 'max_tokens')
    && events.list.at(-1).json.type === 'message_stop',
};

for (const kind of Object.keys(KINDS)) {
  describe(`a limit per ${KINDS[kind].per} of ${KINDS[kind].counts}`, () => {
    for (const api of APIS) {
      test(`${api}: streams that meet its end together end as at an output limit`, async () => {
        const model = modelFor(api, kind);
        await mock.models({ [model]: 'tokens=2600,tps=5000,per_event=10' });
        const headers = { 'x-team': 'red', 'x-tidegate-thread': `${kind}-${api}` };
        const answers = await Promise.all(
          [0, 1].map(() => send(gateway, key, callOf(api, model, { limit: 2600, stream: true }), { headers })),
        );
        assert.deepEqual(answers.map((answer) => answer.status), [200, 200], answers.map((answer) => answer.text.slice(0, 300)).join());
        const cut = answers.filter((answer) => answer.events.comments.some((text) => /stopped at a spending limit/.test(text)));
        assert.ok(cut.length >= 1, `there is not room for both: ${answers.map((answer) => answer.text.slice(-300))}`);
        for (const answer of answers) {
          assert.ok(answer.clean, 'the chunked coding is closed');
          assert.ok(stops[api](answer.events) || answer.events.text().length >= 10_000, answer.text.slice(-500));
        }
        await mock.settled();
        await gateway.booked();
        const rows = await Promise.all(answers.map(async (answer) => (await gateway.rowsOf(answer.request_id))[0]));
        const received = answers.reduce((sum, answer) => sum + Math.floor(answer.events.text().length / 4), 0);
        const output = rows.reduce((sum, row) => sum + row.usage.output, 0);
        assert.ok(output >= received, 'nothing was relayed that is not booked');
        assert.ok(received <= 3000 + 2 * 64, `and no more was relayed than there was room for: ${received}`);
      });
    }
  });
}

test('the SDKs of both dialects take such an end for an answer that reached its limit', async () => {
  const other = gateway.addKey('ada').secret;
  const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: other, maxRetries: 0 });
  const anthropic = new Anthropic({ baseURL: gateway.url, apiKey: other, maxRetries: 0 });
  for (const api of APIS) { /* per key: this one has all of its tokens yet */
    const model = modelFor(api, 'key');
    const { body } = callOf(api, model, { limit: 2600 });
    const run = async () => {
      let last;
      if (api === 'messages') {
        return (await anthropic.messages.stream(body).finalMessage()).stop_reason;
      }
      if (api === 'responses') {
        for await (const event of await openai.responses.create({ ...body, stream: true })) {
          last = event;
        }
        return last.response.incomplete_details?.reason ?? last.response.status;
      }
      for await (const event of await openai.chat.completions.create({ ...body, stream: true })) {
        last = event.choices[0]?.finish_reason ?? last;
      }
      return last;
    };
    const ends = await Promise.all([run(), run()]);
    const [word, whole] = { messages: ['max_tokens', 'end_turn'], responses: ['max_output_tokens', 'completed'], chat: ['length', 'stop'] }[api];
    assert.ok(ends.includes(word), `${api}: ${ends}`);
    assert.ok(ends.every((end) => end === word || end === whole), `${api}: ${ends}`);
  }
  await gateway.booked();
});
