// A Socket.IO server as its documentation sets one up with Redis: one process, WebSocket only, rooms.
// Arguments: the port of Redis. Prints `ready <port>` once clients can connect.

import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const publisher = createClient({ url: `redis://127.0.0.1:${process.argv[2]}` });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(publisher, subscriber),
  transports: ["websocket"],
  // As on the other sides; it is also Socket.IO's default.
  perMessageDeflate: false,
  serveClient: false,
});

io.on("connection", (socket) => {
  socket.on("join", async (room, joined) => {
    await socket.join(room);
    joined();
  });
});

http.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  console.log(`ready ${http.address().port}`);
});
