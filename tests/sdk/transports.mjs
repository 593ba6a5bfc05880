// The published JavaScript client over one transport, through a proxy that hands its connections to several edges
// in turn: everything that applications do with it. Prints one line for every step; the exit code says whether
// all went well.
//
//   node transports.mjs --transport sse --edges 8000,8001 --secret <secret> --api-key <key> [--protobuf]
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import EventSource from 'eventsource';
import WebSocket from 'ws';
import { next, sign, startProxy, until, within } from './lib.mjs';

const { values } = parseArgs({
  options: {
    transport: { type: 'string' },
    edges: { type: 'string' },
    secret: { type: 'string' },
    'api-key': { type: 'string' },
    protobuf: { type: 'boolean', default: false },
  },
});
const { Centrifuge, SubscriptionState } = await import(values.protobuf ? 'centrifuge/build/protobuf' : 'centrifuge');
const ports = values.edges.split(',').map(Number);
const proxy = await startProxy(ports);
const emulated = values.transport !== 'websocket';
const bytes = (value) => (values.protobuf ? new TextEncoder().encode(JSON.stringify(value)) : value);
const value = (data) => (values.protobuf ? JSON.parse(new TextDecoder().decode(data)) : data);
const room = (name) => `room:${name}-${process.pid}`;
const token = (claims) => sign(values.secret, claims);

function clientOf(user, more = {}) {
  const path = `127.0.0.1:${proxy.port}/connection/${values.transport}`;
  const endpoint = emulated ? [{ transport: values.transport, endpoint: `http://${path}` }] : `ws://${path}`;
  const client = new Centrifuge(endpoint, {
    token: token({ sub: user }),
    websocket: WebSocket,
    eventsource: EventSource,
    fetch,
    readableStream: ReadableStream,
    emulationEndpoint: `http://127.0.0.1:${proxy.port}/emulation`,
    minReconnectDelay: 20,
    maxReconnectDelay: 200,
    ...more,
  });
  client.on('error', (context) => console.error('error', context.type, context.error));
  return client;
}

async function connected(user, more) {
  const client = clientOf(user, more);
  const event = next(client, 'connected');
  client.connect();
  const context = await event;
  assert.equal(context.transport, values.transport);
  return client;
}

async function subscribed(client, channel, options) {
  const subscription = client.newSubscription(channel, options);
  const event = next(subscription, 'subscribed');
  subscription.subscribe();
  return [subscription, await event];
}

const fails = async (promise, code) => {
  const error = await within('an error', promise.then(() => ({ code: 'none' }), (why) => why));
  assert.equal(error.code, code, JSON.stringify(error));
};

async function api(method, body) {
  const answer = await fetch(`http://127.0.0.1:${ports[0]}/api/${method}`, {
    method: 'POST',
    headers: { 'X-API-Key': values['api-key'], 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  const found = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(found));
  assert.equal(found.error, undefined, JSON.stringify(found));
  return found.result;
}

const steps = {
  async 'subscribe, publish, history, presence'() {
    const [alice, bob] = [await connected('alice'), await connected('bob')];
    const channel = room('talk');
    const [there] = await subscribed(bob, channel);
    const [here, context] = await subscribed(alice, channel);
    assert.equal(context.recoverable, true);
    const heard = next(there, 'publication');
    await here.publish(bytes({ text: 'hello 🔔\nagain' }));
    const publication = await heard;
    assert.deepEqual(value(publication.data), { text: 'hello 🔔\nagain' });
    assert.equal(publication.info.user, 'alice');
    await here.publish(bytes(2));
    const all = await there.history({ limit: 10 });
    assert.deepEqual(all.publications.map((one) => value(one.data)), [{ text: 'hello 🔔\nagain' }, 2]);
    const since = { offset: all.publications[0].offset, epoch: all.epoch };
    assert.deepEqual((await there.history({ limit: 10, since })).publications.map((one) => value(one.data)), [2]);
    assert.deepEqual((await there.history({ limit: 1, reverse: true })).publications.map((one) => value(one.data)), [2]);
    const position = await there.history({ limit: 0 });
    assert.deepEqual([position.publications, position.offset], [[], all.offset]);
    await until('both are present', async () => (await here.presenceStats()).numUsers === 2);
    const users = Object.values((await here.presence()).clients).map((one) => one.user);
    assert.deepEqual(users.sort(), ['alice', 'bob']);
    const left = next(here, 'unsubscribed');
    here.unsubscribe();
    assert.equal((await left).code, 0);
    // Over emulation each command is a request of its own, and the later one may be there first.
    await until('the edge knows it, too', async () => (await there.presenceStats()).numUsers === 1);
    await fails(alice.publish(channel, bytes(3)), 103);
    await fails(alice.history('nowhere:x', { limit: 1 }), 102);
    alice.disconnect();
    bob.disconnect();
  },

  async 'calls, errors and many at once'() {
    const client = await connected('alice');
    assert.deepEqual(value((await client.rpc('echo', bytes({ a: 1 }))).data), { a: 1 });
    await fails(client.rpc('nonsense', bytes(1)), 104);
    const nowhere = client.newSubscription('nowhere:x');
    const refused = next(nowhere, 'unsubscribed');
    nowhere.subscribe();
    assert.equal((await refused).code, 102);
    const before = proxy.posts;
    client.startBatching();
    const answers = Array.from({ length: 20 }, (_, at) => client.rpc('echo', bytes(at % 8 === 0 ? at : `${at}`)).then((one) => value(one.data), (why) => why.code));
    client.stopBatching();
    const found = await within('the answers', Promise.all(answers));
    // No more than the eight calls that one client may have in flight need be answered.
    assert.ok(found.filter((one) => one !== 111).length >= 8, JSON.stringify(found));
    if (emulated) assert.equal(proxy.posts - before, 1, 'one request for the whole batch');
    client.disconnect();
  },

  async 'refresh'() {
    const now = () => Math.floor(Date.now() / 1000);
    let asked = 0;
    const getToken = async () => {
      asked += 1;
      return token({ sub: 'alice', exp: now() + 3600 });
    };
    const client = await connected('alice', { token: token({ sub: 'alice', exp: now() + 3 }), getToken });
    await until('a new token', () => asked === 1);
    assert.deepEqual(value((await client.rpc('echo', bytes(1))).data), 1);
    let subAsked = 0;
    const channel = `$${room('vip')}`;
    const subToken = async () => {
      subAsked += 1;
      return token({ sub: 'alice', channel, exp: now() + (subAsked === 1 ? 3 : 3600) });
    };
    const [subscription] = await subscribed(client, channel, { getToken: subToken });
    await until('a new subscription token', () => subAsked === 2);
    await subscription.history({ limit: 1 });
    assert.equal(subscription.state, SubscriptionState.Subscribed);
    client.disconnect();
  },

  async 'recovery after a cut'() {
    const [client, channel] = [await connected('alice'), room('cut')];
    const [subscription] = await subscribed(client, channel);
    const got = [];
    subscription.on('publication', (context) => got.push(value(context.data)));
    const inbox = [];
    client.on('publication', (context) => inbox.push(value(context.data)));
    const publish = async (data) => {
      await api('publish', { channel, data });
      await api('publish', { channel: 'inbox:#alice', data });
    };
    await publish(0);
    await until('the first one', () => got.length === 1 && inbox.length === 1);
    for (const round of [1, 2, 3]) {
      const back = next(subscription, 'subscribed');
      const connects = proxy.connections;
      proxy.cut();
      for (let at = 0; at < 5; at += 1) await publish(round * 5 + at - 4);
      const context = await back;
      assert.deepEqual([context.wasRecovering, context.recovered], [true, true]);
      await until('everything', () => got.length === 1 + round * 5 && inbox.length === 1 + round * 5);
      assert.ok(proxy.connections > connects);
    }
    assert.deepEqual(got, Array.from({ length: 16 }, (_, at) => at));
    assert.deepEqual(inbox, got);
    client.disconnect();
  },

  async 'unsubscribe and disconnect from outside'() {
    const [client, channel] = [await connected('carol'), room('out')];
    const [subscription] = await subscribed(client, channel);
    const out = next(subscription, 'unsubscribed');
    await api('unsubscribe', { user: 'carol', channel });
    assert.equal((await out).code, 2000);
    const end = next(client, 'disconnected');
    await api('disconnect', { user: 'carol' });
    assert.equal((await end).code, 3503);
  },

  async 'tokens that are not good'() {
    const client = clientOf('alice', { token: 'nonsense' });
    const end = next(client, 'disconnected');
    client.connect();
    assert.equal((await end).code, 3500);
    let asked = 0;
    const getToken = async () => {
      asked += 1;
      return token({ sub: 'alice' });
    };
    const late = clientOf('alice', { token: token({ sub: 'alice', exp: 1_000_000_000 }), getToken });
    const event = next(late, 'connected');
    late.connect();
    await event;
    assert.equal(asked, 1);
    late.disconnect();
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
