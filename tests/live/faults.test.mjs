// Goal: whatever a provider does to its answer, the client gets one that ends well in its dialect, the hold is
// resolved and the books obey their rule, and the next call is served.
// Method: each fault of the simulated provider, streamed and not, in each dialect; the last test holds the
// provider's own list of faults against what the live tests use.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, beforeEach, describe, test } from 'node:test';

import { Gateway, Mock, SLOW, booksOf, callOf, modelsOn, ownLimit, providersOn, send } from './harness.mjs';

const APIS = ['chat', 'responses', 'messages'];
const familyOf = (api) => (api === 'messages' ? 'claude' : 'gpt');

let mock;
let gateway;
let key;
let text; // of an answer without a fault

before(async () => {
  mock = await Mock.start();
  const providers = providersOn(mock);
  for (const provider of Object.values(providers)) {
    provider.first_byte_deadline = `${600 * SLOW}ms`;
    provider.between_bytes_deadline = `${600 * SLOW}ms`;
  }
  gateway = await Gateway.start(mock, {
    providers,
    models: modelsOn(
      Object.fromEntries(
        ['live', 'well', ...FAULTS.keys()].flatMap((name) => [
          [`gpt-${name}`, 'openai'],
          [`claude-${name}`, 'anthropic'],
        ]),
      ),
      { billed_retries: 0 },
    ),
    limits: { 'month-spend': { counts: 'cost', per: 'account', window: 'month', cap: '1000 USD' } },
  });
  key = gateway.member('ada');
  await mock.models({ 'gpt-well': 'tokens=30', 'claude-well': 'tokens=30' });
  const answer = await send(gateway, key, callOf('chat', 'gpt-well', { limit: ownLimit(), stream: true }));
  text = answer.events.text();
  assert.equal(text.length, 30 * 4);
  await booksOf(gateway, mock);
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});
beforeEach(() => mock.clear());

/** The text of a whole answer. */
const wholeText = (api, json) =>
  ({
    chat: () => json.choices[0].message.content,
    responses: () => json.output.find((item) => item.type === 'message').content[0].text,
    messages: () => json.content.find((block) => block.type === 'text').text,
  })[api]();

/** How an answer ended, as its client sees it: `fine`, `error` (told in its dialect), or what is wrong. */
function endOf(api, stream, answer) {
  if (!answer.clean) {
    return `not ended as HTTP has it: ${answer.status} ${answer.error} ${answer.text.slice(-200)}`;
  }
  if (answer.status !== 200) {
    const told = answer.json?.error?.message && (api !== 'messages' || answer.json.type === 'error');
    return told ? 'error' : `an error without words: ${answer.status} ${answer.text}`;
  }
  if (!stream || !/event-stream/.test(answer.headers['content-type'])) {
    return answer.json ? (wholeText(api, answer.json) === text ? 'fine' : `another text: ${answer.text}`) : `no JSON: ${answer.text}`;
  }
  const list = answer.events.list;
  const last = list.at(-1);
  const ends = {
    chat: () => [last?.data === '[DONE]', list.some((event) => event.json?.error)],
    responses: () => [last?.json?.type === 'response.completed', last?.json?.type === 'response.failed'],
    messages: () => [last?.json?.type === 'message_stop', last?.name === 'error'],
  };
  const [good, bad] = ends[api]();
  if (bad) {
    return 'error';
  }
  if (!good) {
    return `no last event: ${answer.text.slice(-300)}`;
  }
  return answer.events.text() === text ? 'fine' : `another text: ${answer.events.text()}`;
}

/** What a fault makes of whole answers and of streams; `null`: nothing of it shows there. */
const BREAKS = { whole: 'error', stream: 'error' };
const HARMLESS = { whole: 'fine', stream: 'fine' };
const FAULTS = [
  ['before its answer: an end', 'cut_before=1', BREAKS],
  ['before its answer: a reset', 'cut_before=1,reset=1', BREAKS],
  ['before its body is there: a reset', 'refuse=1,reset=1', BREAKS],
  ['silence in place of an answer', 'hang=1', BREAKS],
  ['silence behind the head', 'head_early=1,ttft_ms=60000', BREAKS],
  ['silence amid the answer', 'stall_after=10', BREAKS],
  ['a moment of silence', 'stall_after=10,stall_ms=50', HARMLESS],
  ['an end amid the answer', 'cut_after=10', BREAKS],
  ['a reset amid the answer', 'cut_after=10,reset=1', BREAKS],
  ['a reset amid an event', 'cut_after=10,torn=1,reset=1', BREAKS],
  ['a body that ends early', 'end_after=10', BREAKS],
  ['an error amid the answer', 'error_after=10', BREAKS],
  ['slow tokens', 'tps=300,chunk=7', HARMLESS],
  ['a slow body', 'trickle_ms=10', HARMLESS],
  ['events cut at odd bytes', 'chunk=1', HARMLESS],
  ['events cut within characters', 'chunk=3,per_event=4', HARMLESS],
  ['keep-alives before the answer', 'ttft_ms=120,keepalive_ms=40', HARMLESS],
  ['no usage', 'usage=0', HARMLESS],
  ['usage that is null', 'usage=null', HARMLESS],
  ['usage that makes no sense', 'usage=malformed', HARMLESS],
  ['usage that grows', 'usage=growing', HARMLESS],
  ['usage told twice', 'usage=twice', HARMLESS],
  ['usage on the last chunk', 'usage=last', HARMLESS],
  ['usage as Groq tells it', 'usage=groq', HARMLESS],
  ['usage as Moonshot tells it', 'usage=moonshot', HARMLESS],
  ['lines that end in CR LF', 'events=crlf', HARMLESS],
  ['lines that end in CR', 'events=cr', HARMLESS],
  ['a byte order mark', 'events=bom', HARMLESS],
  ['data over two lines', 'events=lines', HARMLESS],
  ['comments between events', 'events=comments', HARMLESS],
  ['events that nobody knows', 'events=unknown', HARMLESS],
  ['JSON that ends in the middle', 'events=bad_json', { whole: 'error', stream: 'fine' }],
  ['an empty answer', 'events=empty', BREAKS],
  ['a page of HTML with 200', 'events=page', BREAKS],
  ['one body in place of a stream', 'events=whole', HARMLESS],
  ['a stream in place of one body', 'events=streamed', { whole: 'error', stream: 'fine' }],
  ['the last event twice', 'events=end_twice', HARMLESS],
  ['events behind the last', 'events=behind', HARMLESS],
  ['no empty line at the end', 'events=no_empty_line', HARMLESS],
  ['another content-type', 'type=text%2Fplain', { whole: 'fine', stream: 'error' }],
  ['interim answers', 'framing=interim', HARMLESS],
  ['a head that is too long', 'framing=long_head', BREAKS],
  ['bytes that are no HTTP', 'framing=garbage', BREAKS],
  ['an end within the head', 'framing=torn_head', BREAKS],
  ['a chunk without a size', 'framing=bad_chunk', BREAKS],
  ['a content-length that is too long', 'framing=longer', { whole: 'error', stream: 'fine' }],
  ['a content-length that is too short', 'framing=shorter', BREAKS],
  ['a content-length beside chunks', 'framing=both', BREAKS],
  ['no last chunk', 'framing=no_last_chunk', { whole: 'error', stream: 'fine' }],
  ['a body that ends with its connection', 'framing=until_close', HARMLESS],
  ['bytes behind the answer', 'framing=surplus', HARMLESS],
  ['a page of HTML with 502', 'html=1', null],
  ['an error that is torn', 'error=torn_json', null],
  ['credits in flight', 'error=in_flight', null],
  ['a plan that is used up', 'error=usage_limit', null],
  ['an error that is a string', 'error=string', null],
  ['an error in an array', 'error=gemini', null],
  ['an error with a number as a string', 'error=azure', null],
  ['a wait in milliseconds', 'status=429,retry_after_ms=300', null],
  ['quota headers of a subscription', 'headers=unified:0.42:0.30,tag=x', HARMLESS],
  ['a cost out of reason', 'cost_ticks=1', HARMLESS],
];

/** One call of each API to the models of a name. */
const calls = (name, stream) =>
  APIS.map((api) => {
    const limit = ownLimit();
    return { api, stream, limit, call: callOf(api, `${familyOf(api)}-${name}`, { limit, stream }) };
  });

describe('a provider with a fault', () => {
  for (const [i, [what, words, expected]] of FAULTS.entries()) {
    test(`${what} (${words})`, async () => {
      const plan = `tokens=30,${words}`;
      await mock.models({ [`gpt-${i}`]: plan, [`claude-${i}`]: plan }); /* its own: a fault may cool its route */
      const received = new Map();
      const ask = (list) => Promise.all(list.map(async (one) => [one, await send(gateway, key, one.call)]));
      const broken = await ask([...calls(i, false), ...calls(i, true)]);
      const well = await ask([...calls('well', false), ...calls('well', true)]);
      for (const [{ api, stream, limit }, answer] of broken) {
        const how = `${api}, ${stream ? 'a stream' : 'whole'}`;
        const end = endOf(api, stream, answer);
        assert.ok(!answer.events.list.some((event) => event.torn) || words === 'events=bad_json', `${how}: no event is torn`);
        if (expected) {
          assert.equal(end, expected[stream ? 'stream' : 'whole'], `${how}: ${answer.status} ${answer.text.slice(-400)}`);
        } else {
          assert.ok(answer.clean && answer.status >= 400, `${how}: ${answer.status} ${answer.text}`);
        }
        /* What has no head that can be read is not read; what is no stream is. */
        if (stream && (answer.status === 200 || words.startsWith('framing='))) {
          received.set(limit, Math.floor(Buffer.byteLength(answer.events.text()) / 4));
        }
      }
      for (const [{ api, stream }, answer] of well) {
        assert.equal(endOf(api, stream, answer), 'fine', `the next call: ${api}, ${stream}`);
      }
      const { journal } = await booksOf(gateway, mock, received);
      assert.ok(journal.some((entry) => entry.model === `gpt-${i}`), 'the provider was asked');
      assert.equal(gateway.openHolds(), 0);
    });
  }
});

describe('a provider as it is told to behave', () => {
  test('fails at first, then answers', async () => {
    await mock.models({ 'gpt-live': 'status=500,fail_first=1,text=%48i' });
    const told = [];
    for (let i = 0; i < 2; i++) {
      const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }));
      told.push(answer.json.choices?.[0].message.content ?? answer.status);
    }
    assert.deepEqual(told, [500, 'Hi']);
    await booksOf(gateway, mock);
  });

  test('calls a tool with arguments', async () => {
    await mock.models({ 'gpt-live': 'tool=2,tool_name=look,args=%7B%22at%22:1%7D' });
    const answer = await send(gateway, key, callOf('chat', 'gpt-live', { limit: ownLimit() }));
    const [call] = answer.json.choices[0].message.tool_calls;
    assert.deepEqual(call.function, { name: 'look', arguments: '{"at":1}' });
    await booksOf(gateway, mock);
  });
});

test('every word of the simulated provider is used by a live test', async () => {
  const answer = await fetch(`${mock.url}/_mock/keys`);
  const { keys } = await answer.json();
  const folder = import.meta.dirname;
  const tests = fs.readdirSync(folder)
    .filter((name) => /\.mjs$/.test(name))
    .map((name) => fs.readFileSync(`${folder}/${name}`, 'utf8'))
    .join('\n');
  const words = Object.entries(keys).flatMap(([name, { values }]) =>
    values ? Object.keys(values).filter((value) => value !== 'plain' && value !== 'asked').map((value) => `${name}=${value}`) : [`${name}=`],
  );
  assert.ok(words.length > 80, `${words.length} words`);
  assert.deepEqual(words.filter((word) => !new RegExp(`\\b${word}`).test(tests)), []);
});
