// Two connections of one user, in JSON and in Protobuf: says "ready" when both follow the inbox, and then expects a
// publication with stage stamps in its tags and one without.
//
//   node stamps.mjs --url ws://127.0.0.1:8000/connection/websocket --token <token>
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import WebSocket from 'ws';
import { within } from './lib.mjs';

const { values } = parseArgs({ options: { url: { type: 'string' }, token: { type: 'string' } } });

async function follow(build) {
  const { Centrifuge } = await import(build);
  const client = new Centrifuge(values.url, { token: values.token, websocket: WebSocket });
  const tags = [];
  const both = new Promise((done) => {
    client.on('publication', (context) => {
      tags.push(context.tags);
      if (tags.length === 2) done(tags);
    });
  });
  const subscribed = new Promise((done) => client.once('subscribed', done));
  client.connect();
  await within('the inbox', subscribed);
  return { client, both };
}

const clients = await Promise.all(['centrifuge', 'centrifuge/build/protobuf'].map(follow));
console.log('ready');
const sockets = new Set();
for (const { client, both } of clients) {
  // Requests that follow each other closely may be stored in another order.
  const received = await within('two publications', both);
  const stamped = received.find((tags) => tags['campana-stamps'] !== undefined);
  const plain = received.find((tags) => tags !== stamped);
  assert.ok(stamped, 'one publication has stamps');
  const text = stamped['campana-stamps'];
  assert.match(text, /^boot=[0-9a-f]{8};accepted=\d+;dispatched=\d+;edge=\d+;socket=\d+$/);
  const times = text.split(';').slice(1).map((stamp) => BigInt(stamp.split('=')[1]));
  assert.ok(times.every((time, at) => at === 0 || times[at - 1] <= time), text);
  assert.ok(stamped.traceparent && plain.traceparent);
  assert.equal(plain['campana-stamps'], undefined);
  sockets.add(times.at(-1));
  client.disconnect();
}
assert.equal(sockets.size, 2, 'each connection has a last stamp of its own');
