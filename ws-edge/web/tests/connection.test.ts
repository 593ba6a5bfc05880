import assert from "node:assert/strict";
import { test } from "node:test";
import { Inbox } from "../src/headless.ts";
import type { InboxOptions, Snapshot } from "../src/headless.ts";

const CHANNEL = "inbox:#alice";

interface Asked {
  readonly limit: number;
  readonly reverse?: boolean;
  readonly since?: { readonly offset: number; readonly epoch: string };
}

/** An edge on the other end of a WebSocket: a channel with messages, answered in pages of at most `most`. */
class Server {
  readonly offsets: number[];
  readonly most: number;
  readonly asked: Asked[] = [];
  sockets: Socket[] = [];
  recovered = false;

  constructor(count: number, most: number) {
    // Offsets have gaps: the stream is shared with other channels.
    this.offsets = Array.from({ length: count }, (_, at) => 10 + at * 7);
    this.most = most;
  }

  get top(): number {
    return this.offsets.at(-1) ?? 0;
  }

  answer(command: { id: number; connect?: unknown; history?: Asked }): unknown {
    if (command.connect !== undefined) {
      const sub = { recoverable: true, epoch: "e1", offset: this.top, positioned: true, recovered: this.recovered, was_recovering: true };
      return { id: command.id, connect: { client: "c", version: "1", subs: { [CHANNEL]: sub } } };
    }
    if (command.history === undefined) return { id: command.id };
    this.asked.push(command.history);
    const { limit, since } = command.history;
    const before = since?.offset ?? Number.POSITIVE_INFINITY;
    const found = this.offsets.filter((offset) => offset < before).toReversed().slice(0, Math.min(limit, this.most));
    return { id: command.id, history: { epoch: "e1", offset: this.top, publications: found.map(publication) } };
  }

  /** A WebSocket class that leads here. */
  get websocket(): unknown {
    const server = this;
    return class extends Socket {
      constructor() {
        super(server);
        server.sockets.push(this);
      }
    };
  }
}

function publication(offset: number): unknown {
  return { offset, data: { type: "notification", id: `dlv_${offset}`, title: `Title ${offset}` } };
}

class Socket {
  readonly #server: Server;
  readyState = 1;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;

  constructor(server: Server) {
    this.#server = server;
    queueMicrotask(() => this.onopen?.());
  }

  send(data: string): void {
    const replies = data.split("\n").filter((line) => line !== "").map((line) => JSON.stringify(this.#server.answer(JSON.parse(line))));
    queueMicrotask(() => this.onmessage?.({ data: replies.join("\n") }));
  }

  close(): void {
    this.readyState = 3;
    queueMicrotask(() => this.onclose?.({ code: 1000, reason: "" }));
  }

  /** The cable is cut. */
  lose(): void {
    this.readyState = 3;
    this.onclose?.({ code: 1006, reason: "" });
  }
}

function open(server: Server, options: Partial<InboxOptions> = {}): Inbox {
  const inbox = new Inbox({ endpoint: "ws://edge/connection/websocket", token: "t", user: "alice", sync: false, websocket: server.websocket, ...options });
  inbox.start();
  return inbox;
}

function becomes(inbox: Inbox, wanted: (snapshot: Snapshot) => boolean): Promise<Snapshot> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (!wanted(inbox.snapshot)) return;
      stop();
      resolve(inbox.snapshot);
    };
    const stop = inbox.subscribe(look);
    queueMicrotask(look);
  });
}

test("history is read backwards from the newest to the beginning, in pages that the edge gives", async () => {
  const server = new Server(950, 300);
  const inbox = open(server, { pageSize: 1_000 });
  await becomes(inbox, ({ loaded }) => loaded);
  while (inbox.snapshot.more) await inbox.loadEarlier();
  assert.deepEqual(inbox.snapshot.items.map(({ offset }) => offset), server.offsets.toReversed());
  // Never more than the edge gives, and each page from where the last one ended.
  assert.ok(server.asked.every(({ limit, reverse }) => limit === 300 && reverse === true));
  const since = server.asked.map((asked) => asked.since?.offset);
  assert.deepEqual(since, [undefined, ...[300, 600, 900, 950].map((count) => server.offsets.at(-count))]);
  assert.ok(server.asked.slice(1).every((asked) => asked.since?.epoch === "e1"));
  inbox.stop();
});

test("an edge that gives less than was asked for has more all the same", async () => {
  const server = new Server(12, 5);
  const inbox = open(server, { pageSize: 100 });
  assert.equal((await becomes(inbox, ({ loaded }) => loaded)).more, true);
  while (inbox.snapshot.more) await inbox.loadEarlier();
  assert.deepEqual([inbox.snapshot.items.length, server.asked.length], [12, 4]);
  inbox.stop();
});

test("what was missed beyond recovery is found in history and told in order, once", async () => {
  const server = new Server(3, 300);
  const inbox = open(server, { pageSize: 2 });
  await becomes(inbox, ({ loaded }) => loaded);
  const told: number[] = [];
  const allTold = new Promise<void>((resolve) => inbox.on("notification", ({ notification }) => told.push(notification.offset) === 5 && resolve()));
  const before = server.top;
  server.offsets.push(...[1, 2, 3, 4, 5].map((at) => before + at));
  server.sockets.at(-1)?.lose();
  await allTold;
  assert.deepEqual(told, [1, 2, 3, 4, 5].map((at) => before + at));
  inbox.stop();
});
