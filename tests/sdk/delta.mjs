// The published JavaScript client with differences instead of whole publications, through a proxy that breaks its
// connections and hands the next one to another edge. 300 bodies that change a little, with text of several
// alphabets; each must come once, in order and equal, and most of them as differences. Exits with 1 if not.
//
//   node delta.mjs --edges 8000,8001 --secret <secret> --api-key <key> [--protobuf]
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import WebSocket from 'ws';
import { next, sign, startProxy, until } from './lib.mjs';

const { values } = parseArgs({
  options: {
    edges: { type: 'string' },
    secret: { type: 'string' },
    'api-key': { type: 'string' },
    protobuf: { type: 'boolean', default: false },
  },
});
const { Centrifuge } = await import(values.protobuf ? 'centrifuge/build/protobuf' : 'centrifuge');
const COUNT = 300;
const CUTS = [40, 41, 110, 180, 260];
const CHANNEL = 'ticker:prices-🔔';
const WORDS = ['Grüße', 'Привет', '你好', 'שלום', '🔔🐝', 'ñandú', 'e\u0301', 'plain', '"\\/\n\u2028', '𝒳𝒴'];
const ports = values.edges.split(',').map(Number);
const proxy = await startProxy(ports);

// A list that changes in one or two places each time, so that copies begin and end next to characters of several
// bytes; now and then everything is new, or nothing.
const board = Array.from({ length: 40 }, (_, at) => ({ at, word: WORDS[at % WORDS.length] }));
function body(n) {
  const word = (by) => WORDS[(n * by + (n >> 3)) % WORDS.length];
  if (n % 50 === 49) return { n, fresh: word(7).repeat(1 + (n % 9)) };
  if (n % 10 !== 9) {
    board[n % board.length] = { at: n % board.length, word: word(3) + word(5) };
    board[(n * 17) % board.length] = { at: (n * 17) % board.length, word: word(11), price: n / 7 };
  }
  return { n, board: structuredClone(board), tail: word(1).slice(0, 1 + (n % 3)) };
}

// How the pushes of JSON name the channel.
const pushes = { numbered: 0, named: 0 };
class Counting extends WebSocket {
  constructor(...args) {
    super(...args);
    this.on('message', (data, binary) => {
      if (binary) return;
      for (const line of data.toString().trim().split('\n')) {
        const { push } = JSON.parse(line);
        if (push?.pub) pushes[push.id > 0 ? 'numbered' : 'named'] += 1;
      }
    });
  }
}

async function publish(data) {
  const answer = await fetch(`http://127.0.0.1:${ports[0]}/api/publish`, {
    method: 'POST',
    headers: { 'X-API-Key': values['api-key'], 'Content-Type': 'application/json' },
    body: JSON.stringify({ channel: CHANNEL, data }),
  });
  assert.ok((await answer.json()).result.offset > 0);
}

const client = new Centrifuge(`ws://127.0.0.1:${proxy.port}/connection/websocket`, {
  token: sign(values.secret, { sub: 'alice' }),
  websocket: Counting,
  minReconnectDelay: 20,
  maxReconnectDelay: 200,
});
const subscription = client.newSubscription(CHANNEL, { delta: 'fossil' });
const [got, offsets, recovered, sent] = [[], [], [], []];
subscription.on('publication', (context) => {
  got.push(values.protobuf ? JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(context.data)) : context.data);
  offsets.push(context.offset);
});
subscription.on('subscribed', (context) => recovered.push([context.wasRecovering, context.recovered]));
client.on('error', (context) => console.error('error', context.type, context.error));
const ready = next(subscription, 'subscribed');
subscription.subscribe();
client.connect();
await ready;
for (let n = 0; n < COUNT; n += 1) {
  if (CUTS.includes(n)) {
    await until('what was published before', () => got.length >= Math.max(1, n - 30));
    proxy.cut();
  }
  sent.push(body(n));
  await publish(sent[n]);
  // Two breaks in a row find the client on its way back; the others find it there.
  if (CUTS.includes(n - 20)) await until('the client is back', () => client.state === 'connected');
}
await until('everything', () => got.length >= COUNT);
assert.deepEqual(got, sent);
assert.ok(offsets.every((offset, at) => at === 0 || offset > offsets[at - 1]), 'offsets grow');
assert.deepEqual(recovered[0], [false, false]);
assert.ok(recovered.length >= CUTS.length, `${recovered.length} subscriptions`);
assert.ok(recovered.slice(1).every(([was, whole]) => was && whole), JSON.stringify(recovered));
const stats = subscription.deltaStats();
console.log(JSON.stringify({ stats, pushes, subscriptions: recovered.length }));
assert.ok(stats.numPublications >= COUNT && stats.numDeltaPayloads > COUNT / 2, JSON.stringify(stats));
assert.ok(stats.bytesReceived < stats.bytesDecoded / 2, JSON.stringify(stats));
if (!values.protobuf) assert.ok(pushes.numbered > COUNT / 2 && pushes.named === 0, JSON.stringify(pushes));
client.disconnect();
proxy.stop();
