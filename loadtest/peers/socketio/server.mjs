// A Socket.IO server as its documentation sets one up with Redis: WebSocket only, rooms, any number of processes.
//
//   node server.mjs REDIS_PORT                              one process; clients join rooms by asking
//   node server.mjs REDIS_PORT --api-key K --data-dir DIR   with the HTTP side of a notification service:
//                                                           POST /v1/notifications and /v1/tokens, clients by JWT
//
// Prints `ready PORT`, or with a key one line of JSON in the shape of `campana up`'s up.json, which it also writes to
// DIR/up.json. Keeps nothing: a client that is away misses what is sent.

import cluster from "node:cluster";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createAdapter } from "@socket.io/redis-adapter";
import jwt from "jsonwebtoken";
import { createClient } from "redis";
import { Server } from "socket.io";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    "api-key": { type: "string" },
    "data-dir": { type: "string" },
    workers: { type: "string", default: "1" },
    port: { type: "string", default: "0" },
  },
});
const apiKey = values["api-key"];

if (cluster.isPrimary && Number(values.workers) > 1) {
  manyProcesses(Number(values.workers));
} else {
  await oneProcess(cluster.isPrimary ? announce : () => {});
}

function manyProcesses(count) {
  // WebSocket only, so a client stays with the process that took its one connection.
  const tokenKey = randomBytes(32).toString("hex");
  let listening = 0;
  for (let index = 0; index < count; index += 1) cluster.fork({ PEER_TOKEN_KEY: tokenKey });
  cluster.on("listening", (_worker, address) => {
    listening += 1;
    if (listening === count) announce(address.port);
  });
  cluster.on("exit", () => process.exit(1));
}

async function oneProcess(ready) {
  const tokenKey = process.env.PEER_TOKEN_KEY ?? randomBytes(32).toString("hex");
  const publisher = createClient({ url: `redis://127.0.0.1:${positionals[0]}` });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const http = createServer();
  // Senders keep their connections between waves.
  http.keepAliveTimeout = 300_000;
  const io = new Server(http, {
    adapter: createAdapter(publisher, subscriber),
    transports: ["websocket"],
    // As on the other sides; it is also Socket.IO's default.
    perMessageDeflate: false,
    serveClient: false,
  });
  if (apiKey === undefined) {
    io.on("connection", (socket) => {
      socket.on("join", async (room, joined) => {
        await socket.join(room);
        joined();
      });
    });
  } else {
    notificationService(http, io, tokenKey);
  }
  http.listen({ port: Number(values.port), host: "127.0.0.1", backlog: 4096 }, () => {
    ready(http.address().port);
  });
}

function notificationService(http, io, tokenKey) {
  io.use((socket, next) => {
    try {
      const claims = jwt.verify(socket.handshake.auth.token, tokenKey, { algorithms: ["HS256"] });
      socket.data.user = claims.sub;
      next();
    } catch (error) {
      next(error);
    }
  });
  io.on("connection", (socket) => socket.join(`user:${socket.data.user}`));
  const routes = { "/v1/notifications": notify, "/v1/tokens": token };
  http.on("request", async (request, response) => {
    if (request.url.startsWith("/socket.io/")) return;
    const answer = (status, body) => {
      const text = JSON.stringify(body);
      response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
      response.end(text);
    };
    const route = routes[request.url];
    if (route === undefined || request.method !== "POST") return answer(404, { title: "not here" });
    if (request.headers.authorization !== `Bearer ${apiKey}`) return answer(401, { title: "wrong key" });
    try {
      const parts = [];
      for await (const part of request) parts.push(part);
      answer(...route(JSON.parse(Buffer.concat(parts).toString()), request));
    } catch {
      answer(400, { title: "recipients with an id and inline content are needed" });
    }
  });

  function notify({ to, content }) {
    const rooms = (Array.isArray(to) ? to : [to]).map((one) => {
      const user = typeof one === "string" ? one : one.id;
      if (typeof user !== "string") throw new TypeError("a recipient has an id");
      return `user:${user}`;
    });
    const id = `ntf_${randomBytes(16).toString("hex")}`;
    const { title, body } = content;
    io.to(rooms).emit("notification", { type: "notification", notification_id: id, title, body });
    return [202, { id, status: "accepted" }];
  }

  function token({ user, ttl_seconds: seconds = 3600 }, request) {
    const signed = jwt.sign({ sub: user }, tokenKey, { algorithm: "HS256", expiresIn: seconds });
    return [200, { token: signed, ws_url: edge(request.headers.host) }];
  }
}

function installed(name) {
  return JSON.parse(readFileSync(new URL("package.json", import.meta.url))).dependencies[name];
}

function edge(authority) {
  return `ws://${authority}/socket.io/?EIO=4&transport=websocket`;
}

function announce(port) {
  if (apiKey === undefined) {
    console.log(`ready ${port}`);
    return;
  }
  const authority = `127.0.0.1:${port}`;
  const ready = JSON.stringify({
    schema_version: 1,
    pid: process.pid,
    nats_pid: null,
    gateway: `http://${authority}`,
    edge_ws: edge(authority),
    api_key: apiKey,
    durability: "none",
    version: `socket.io ${installed("socket.io")}, redis adapter ${installed("@socket.io/redis-adapter")}, Node.js ${process.version}`,
  });
  if (values["data-dir"] !== undefined) writeFileSync(join(values["data-dir"], "up.json"), ready);
  console.log(ready);
}
