// What the scripts here share: a proxy that hands connections to edges in turn, tokens, waiting.
// Reads and writes: sockets on the loopback interface. Never: looks into what passes but for counting requests.
import { createHmac } from 'node:crypto';
import { createServer, connect } from 'node:net';

const WAITS_MS = 60_000;

/** A TCP proxy on a free port: the first connection goes to the first edge, the next one to the next. */
export async function startProxy(ports) {
  let next = 0;
  const open = new Set();
  const proxy = { port: 0, connections: 0, posts: 0 };
  const server = createServer((inside) => {
    const outside = connect(ports[next % ports.length], '127.0.0.1');
    next += 1;
    proxy.connections += 1;
    open.add(inside);
    inside.on('data', (bytes) => {
      if (bytes.subarray(0, 16).toString('latin1') === 'POST /emulation ') proxy.posts += 1;
    });
    inside.pipe(outside);
    outside.pipe(inside);
    for (const socket of [inside, outside]) {
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        open.delete(inside);
        inside.destroy();
        outside.destroy();
      });
    }
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  proxy.port = server.address().port;
  // Breaks every connection without a word.
  proxy.cut = () => open.forEach((socket) => socket.resetAndDestroy());
  proxy.stop = () => {
    server.close();
    proxy.cut();
  };
  return proxy;
}

/** A token of the default tenant, signed with the secret that the edges know. */
export function sign(secret, claims) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ iat: now, exp: now + 3600, ...claims })}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

/** Fails if it takes too long. */
export function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing for a minute`)), WAITS_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The next event of this name for which `wanted` says yes. */
export function next(emitter, name, wanted = () => true) {
  const event = new Promise((resolve) => {
    const listener = (context) => {
      if (!wanted(context)) return;
      emitter.removeListener(name, listener);
      resolve(context);
    };
    emitter.on(name, listener);
  });
  return within(name, event);
}

/** Waits until `done` says yes. */
export async function until(what, done) {
  const deadline = Date.now() + WAITS_MS;
  while (!(await done())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within a minute`);
    await new Promise((again) => setTimeout(again, 20));
  }
}
