// A flood in one room of the chat, heard by the follower that its page uses, with the published SDK.
// Usage: node chat_flood.mjs <chat url> <edge ws url> <room> <cookie> [<cookie>…]
// Two people write at once; followers are cut off again and again, one begins anew in the middle, and in the middle the
// chat is killed: the script prints "please: restart" and reads a line "restarted".
// Prints "ok …" if everybody heard everything exactly once and in order.

import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { Centrifuge, Follower } from "../../services/chat/web/dist/follower.js";

const [chat, edge, room, ...cookies] = process.argv.slice(2);
const EACH = 150;
const FOLLOWERS = 4;
const CUT_EVERY_MS = 120;
const WAIT_MS = 120_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function call(cookie, method, path, body) {
  const answer = await fetch(`${chat}/api${path}`, { method, headers: { cookie, "content-type": "application/json" }, ...(body && { body: JSON.stringify(body) }) });
  if (!answer.ok) throw Object.assign(new Error(`${method} ${path}: ${answer.status}`), { status: answer.status });
  return answer.json();
}

/** Tries until it works: the chat is away for a while. */
async function surely(work) {
  for (const end = Date.now() + WAIT_MS; ;) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > end || (error.status !== undefined && error.status < 500)) throw error;
      await pause(50);
    }
  }
}

/** One page: a connection that can be torn, and a room that is followed. */
class Page {
  sockets = new Set();
  heard = [];
  loads = 0;
  cuts = 0;

  constructor(cookie) {
    const page = this;
    class Torn extends WebSocket {
      constructor(...args) {
        super(...args);
        page.sockets.add(this);
        this.on("close", () => page.sockets.delete(this));
      }
    }
    const getToken = async () => (await surely(() => call(cookie, "POST", "/token"))).token;
    this.client = new Centrifuge(edge, { websocket: Torn, getToken, minReconnectDelay: 10, maxReconnectDelay: 100 });
    const at = `/rooms/${room}`;
    const source = {
      page: (before) => call(cookie, "GET", `${at}/messages?before=${before}&limit=100`),
      changes: async (after) => (await call(cookie, "GET", `${at}/changes?after=${after}`)).changes,
      token: async () => (await surely(() => call(cookie, "POST", `${at}/token`))).token,
    };
    const changed = (changes) => this.heard.push(...changes.map(({ seq }) => seq));
    const loaded = () => { this.loads += 1; this.heard = []; this.from = this.follower.timeline.have; };
    this.follower = new Follower(source, { changed, loaded }, this.client, `chat:${room}`);
    this.client.connect();
  }

  cut() {
    this.cuts += 1;
    for (const socket of this.sockets) socket.terminate();
  }

  close() {
    this.follower.stop();
    this.client.disconnect();
  }
}

async function write(cookie, name) {
  for (let number = 0; number < EACH; number += 1) {
    // The same client id each time: a repeat of a request whose answer was lost is no second message.
    const body = { client_id: `${name}-${number}`, text: `${name} ${number}` };
    await surely(() => call(cookie, "POST", `/rooms/${room}/messages`, body));
    await pause(3);
  }
}

async function restart() {
  while (pages[0].follower.timeline.have < EACH / 2) await pause(10);
  console.log("please: restart");
  for await (const line of createInterface({ input: process.stdin })) if (line.trim() === "restarted") return;
}

const pages = Array.from({ length: FOLLOWERS }, (_, at) => new Page(cookies[at % cookies.length]));
let writing = true;
const cutting = (async () => {
  for (let turn = 0; writing; turn += 1) {
    await pause(CUT_EVERY_MS);
    pages[turn % (FOLLOWERS - 1)].cut();
    // The last one is a person who loads the page anew.
    if (turn % 10 === 5) {
      pages[FOLLOWERS - 1].close();
      pages[FOLLOWERS - 1] = new Page(cookies[0]);
    }
  }
})();
await Promise.all([...cookies.map((cookie, at) => write(cookie, `writer${at}`)), restart()]);
writing = false;
await cutting;

// Two came in, each wrote.
const last = 2 + cookies.length * EACH;
const end = Date.now() + WAIT_MS;
for (const page of pages) {
  while (page.follower.timeline.have < last && Date.now() < end) await pause(20);
  const { timeline } = page.follower;
  assert.equal(timeline.have, last);
  assert.equal(timeline.gap, false);
  assert.deepEqual(page.heard, page.heard.map((_, at) => page.from + 1 + at), "each change once, in order, without a hole");
  while (timeline.more) await page.follower.older();
  const texts = timeline.messages.map(({ text }) => text);
  assert.equal(new Set(texts).size, cookies.length * EACH, "each message once");
  assert.equal(texts.length, cookies.length * EACH);
  for (let at = 0; at < cookies.length; at += 1) {
    assert.deepEqual(texts.filter((text) => text.startsWith(`writer${at} `)), Array.from({ length: EACH }, (_, number) => `writer${at} ${number}`), "in the order of their writer");
  }
  assert.deepEqual(texts, pages[0].follower.timeline.messages.map(({ text }) => text), "the same order for everybody");
}
console.log(`ok ${last} changes, ${pages.map(({ cuts, loads }) => `${cuts} cuts and ${loads} loads`).join(", ")}`);
process.exit(0);
