// Clients without a library: EventSource, and WebSocket with frames of its own, through a proxy that breaks their
// connections. Numbers come over the personal channel of alice; each must come once, in order.
// Prints one line for every step; the exit code says whether all went well.
//
//   node listeners.mjs --edges 8000,8001 --secret <secret> --api-key <key>
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import EventSource from 'eventsource';
import WebSocket from 'ws';
import { sign, startProxy, until } from './lib.mjs';

const { values } = parseArgs({
  options: { edges: { type: 'string' }, secret: { type: 'string' }, 'api-key': { type: 'string' } },
});
const ports = values.edges.split(',').map(Number);
const proxy = await startProxy(ports);
const token = (user) => sign(values.secret, { sub: user });

async function publish(user, data) {
  const answer = await fetch(`http://127.0.0.1:${ports[0]}/api/publish`, {
    method: 'POST',
    headers: { 'X-API-Key': values['api-key'], 'Content-Type': 'application/json' },
    body: JSON.stringify({ channel: `inbox:#${user}`, data }),
  });
  assert.equal((await answer.json()).error, undefined);
}

const steps = {
  async 'EventSource goes on where it stopped'() {
    const connect = encodeURIComponent(JSON.stringify({ token: token('erin') }));
    const source = new EventSource(`http://127.0.0.1:${proxy.port}/connection/uni_sse?cf_connect=${connect}`);
    const got = [];
    let connects = 0;
    source.onmessage = (event) => {
      const push = JSON.parse(event.data);
      if (push.connect) {
        connects += 1;
        const { publications = [], was_recovering: again, recovered } = push.connect.subs['inbox:#erin'];
        if (again) assert.equal(recovered, true);
        got.push(...publications.map((one) => one.data));
      } else if (push.pub) {
        got.push(push.pub.data);
      }
    };
    source.onerror = () => {};
    source.reconnectInterval = 50;
    await until('the connect push', () => connects === 1);
    for (let at = 0; at < 12; at += 1) {
      if (at % 4 === 3) proxy.cut();
      await publish('erin', at);
      // The first ones come before the cut, the others during it or after it.
      if (at % 4 === 1) await until('what was published', () => got.length === at + 1);
    }
    await until('everything', () => got.length >= 12);
    assert.deepEqual(got, Array.from({ length: 12 }, (_, at) => at));
    assert.ok(connects > 1);
    source.close();
  },

  async 'a WebSocket without a library'() {
    const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/connection/uni_websocket?token=${token('frank')}`);
    const got = [];
    socket.on('message', (data) => got.push(JSON.parse(data)));
    await until('the connect push', () => got.length === 1);
    assert.ok(got[0].connect.subs['inbox:#frank']);
    await publish('frank', { n: 1 });
    await until('the publication', () => got.length === 2);
    assert.deepEqual(got[1].pub.data, { n: 1 });
    socket.terminate();
  },

  async 'ping frames'() {
    const path = '/connection/websocket?cf_ws_frame_ping_pong=true';
    const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}${path}`);
    let pings = 0;
    const got = [];
    socket.on('ping', () => (pings += 1));
    socket.on('message', (data) => got.push(JSON.parse(data)));
    socket.on('open', () => socket.send(JSON.stringify({ id: 1, connect: { token: token('grace') } })));
    await until('two pings', () => pings >= 2);
    assert.equal(got.length, 1);
    assert.equal(got[0].connect.ping, undefined);
    assert.equal(socket.readyState, WebSocket.OPEN);
    socket.terminate();
  },
};

let failed = 0;
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
    console.log(`passed: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`failed: ${name}: ${error.stack ?? JSON.stringify(error)}`);
  }
}
proxy.stop();
process.exit(failed === 0 ? 0 : 1);
