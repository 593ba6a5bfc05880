import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Inbox } from "../src/headless.ts";
import type { ConnectionListener, Connection, InboxOptions, Snapshot } from "../src/headless.ts";

interface Asked {
  readonly url: string;
  readonly token: string;
  readonly ids: readonly string[];
}

/** The edge in the test's hand. */
class Edge implements Connection {
  listener!: ConnectionListener;
  pages: { publications: { offset: number; data: unknown }[]; more: boolean }[] = [];
  log: string[] = [];
  canRefresh = true;

  start(): void {
    this.log.push("start");
    this.listener.status({ state: "connected", code: 0, reason: "" });
    this.listener.position("inbox:#alice", "e1", 0);
  }
  stop(): void {
    this.log.push("stop");
  }
  retry(): void {
    this.log.push("retry");
  }
  setToken(token: string): void {
    this.log.push(`token ${token}`);
  }
  async token(): Promise<string> {
    return "old";
  }
  async refreshToken(): Promise<string> {
    return "new";
  }
  async loadEarlier(): Promise<void> {
    this.log.push("earlier");
    const page = this.pages.shift();
    if (page !== undefined) this.listener.history(page.publications, page.more);
  }
  async reload(): Promise<void> {
    this.log.push("reload");
    this.listener.history([], false);
  }
}

const realFetch = globalThis.fetch;
let asked: Asked[] = [];
let statuses: number[] = [];

beforeEach(() => {
  asked = [];
  statuses = [];
  globalThis.fetch = (async (url: string, init: RequestInit) => {
    const headers = init.headers as Record<string, string>;
    asked.push({ url, token: (headers["authorization"] ?? "").slice(7), ids: (JSON.parse(String(init.body)) as { ids: string[] }).ids });
    return new Response(JSON.stringify({ detail: "not today" }), { status: statuses.shift() ?? 200 });
  }) as typeof fetch;
});
afterEach(() => {
  globalThis.fetch = realFetch;
});

function open(options: Partial<InboxOptions> = {}): { inbox: Inbox; edge: Edge } {
  const edge = new Edge();
  const connect: InboxOptions["connect"] = (_, listener) => {
    edge.listener = listener;
    return edge;
  };
  const inbox = new Inbox({ endpoint: "ws://edge", token: "old", user: "alice", apiBase: "http://api/", sync: false, connect, ...options });
  inbox.start();
  return { inbox, edge };
}

function note(offset: number, id = `dlv_${offset}`): { offset: number; data: unknown } {
  return { offset, data: { type: "notification", id, title: `Title ${offset}` } };
}

function ring(edge: Edge, ...offsets: number[]): void {
  for (const offset of offsets) edge.listener.live(note(offset), {});
}

test("a snapshot stays the same until something changes, and then is another one", () => {
  const { inbox, edge } = open();
  const seen: Snapshot[] = [];
  const stop = inbox.subscribe(() => seen.push(inbox.getSnapshot()));
  const before = inbox.getSnapshot();
  assert.equal(inbox.getSnapshot(), before);
  ring(edge, 1);
  assert.notEqual(inbox.getSnapshot(), before);
  assert.deepEqual([before.items.length, inbox.snapshot.items.length, seen.at(-1)], [0, 1, inbox.snapshot]);
  stop();
  ring(edge, 2);
  assert.notEqual(seen.at(-1), inbox.snapshot);
});

test("an arrival is told once, history is not, what was missed is", () => {
  const { inbox, edge } = open();
  const told: string[] = [];
  inbox.on("notification", ({ notification }) => told.push(notification.id));
  edge.listener.history([note(1)], false);
  ring(edge, 2, 2);
  edge.listener.history([note(4), note(3)], false);
  edge.listener.missed([note(3), note(4)]);
  assert.deepEqual(told, ["dlv_2", "dlv_3", "dlv_4"]);
});

test("a listener that throws harms no other", (context) => {
  const { inbox, edge } = open();
  const reported = context.mock.method(console, "error", () => {});
  inbox.on("unread", () => {
    throw new Error("of the page");
  });
  const counts: number[] = [];
  inbox.on("unread", (count) => counts.push(count));
  ring(edge, 1);
  assert.deepEqual(counts, [1]);
  assert.match(String(reported.mock.calls[0]?.arguments[0]), /of the page/);
});

test("each mark goes to its address, only for rows that need it, and counts at once", async () => {
  const { inbox, edge } = open();
  ring(edge, 1, 2, 3);
  const stored = inbox.markRead(["dlv_1", "dlv_unknown"]);
  assert.equal(inbox.snapshot.unread, 2);
  assert.equal(await stored, true);
  await inbox.markSeen(["dlv_1", "dlv_2"]);
  await inbox.archive(["dlv_3"]);
  await inbox.archive(["dlv_3"]);
  await inbox.unarchive(["dlv_3", "dlv_1"]);
  assert.deepEqual(asked.map(({ url, ids }) => [url, ids]), [
    ["http://api/v1/inbox/read", ["dlv_1"]],
    ["http://api/v1/inbox/seen", ["dlv_2"]],
    ["http://api/v1/inbox/archive", ["dlv_3"]],
    ["http://api/v1/inbox/unarchive", ["dlv_3"]],
  ]);
});

test("a refused mark is taken back and told, an expired token is asked for once more", async () => {
  const { inbox, edge } = open();
  ring(edge, 1);
  const refused: string[] = [];
  inbox.on("refused", ({ mark, reason }) => refused.push(`${mark}: ${reason}`));
  statuses = [503];
  assert.equal(await inbox.archive(["dlv_1"]), false);
  assert.deepEqual([refused, inbox.snapshot.items[0]?.archived], [["archive: not today"], false]);
  statuses = [401, 200];
  assert.equal(await inbox.markRead(["dlv_1"]), true);
  assert.deepEqual(asked.slice(1).map(({ token }) => token), ["old", "new"]);
  statuses = [401];
  edge.canRefresh = false;
  assert.equal(await inbox.archive(["dlv_1"]), false);
});

test("older pages are loaded one at a time, to the end", async () => {
  const { inbox, edge } = open();
  edge.listener.history([note(900)], true);
  edge.pages = [{ publications: [note(500)], more: true }, { publications: [], more: false }];
  const [first, second] = [inbox.loadEarlier(), inbox.loadEarlier()];
  assert.equal(inbox.snapshot.loading, true);
  await Promise.all([first, second]);
  assert.deepEqual([inbox.snapshot.loading, inbox.snapshot.items.length, inbox.snapshot.more], [false, 2, true]);
  await inbox.loadEarlier();
  await inbox.loadEarlier();
  assert.deepEqual(edge.log.filter((line) => line === "earlier").length, 2);
  assert.equal(inbox.snapshot.more, false);
});

test("failed history is an error until it is loaded again", async () => {
  const { inbox, edge } = open();
  edge.listener.historyFailed("too slow");
  assert.deepEqual([inbox.snapshot.loaded, inbox.snapshot.error], [true, "too slow"]);
  await inbox.reload();
  assert.equal(inbox.snapshot.error, null);
});

test("another epoch forgets the list and what was loaded", () => {
  const { inbox, edge } = open();
  edge.listener.history([note(7)], true);
  edge.listener.position("inbox:#alice", "e2", 0);
  assert.deepEqual([inbox.snapshot.items.length, inbox.snapshot.loaded, inbox.snapshot.more], [0, false, false]);
});

test("stop keeps the list, start goes on", () => {
  const { inbox, edge } = open();
  ring(edge, 1);
  inbox.stop();
  assert.deepEqual([inbox.snapshot.state, inbox.snapshot.items.length], ["idle", 1]);
  inbox.start();
  assert.deepEqual([inbox.snapshot.state, edge.log], ["connected", ["start", "stop", "start"]]);
});

test("tabs of one browser tell each other of stored marks, and only of the same inbox", async () => {
  // A channel between tabs keeps no process alive; the test has to wait by itself.
  const alive = setInterval(() => {}, 1_000);
  const one = open({ sync: true });
  const two = open({ sync: true });
  const stranger = open({ sync: true, channel: "inbox:#bob" });
  stranger.edge.listener.position("inbox:#bob", "e1", 0);
  for (const { edge } of [one, two, stranger]) ring(edge, 1);
  const heard = new Promise((resolve) => two.inbox.on("marked", resolve));
  await one.inbox.markRead(["dlv_1"]);
  assert.deepEqual(await heard, { mark: "read", ids: ["dlv_1"] });
  assert.deepEqual([two.inbox.snapshot.unread, stranger.inbox.snapshot.unread], [0, 1]);
  for (const { inbox } of [one, two, stranger]) inbox.stop();
  clearInterval(alive);
});
