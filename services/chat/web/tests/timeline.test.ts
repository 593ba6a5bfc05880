import assert from "node:assert/strict";
import { test } from "node:test";
import { type Change, type Message, Timeline } from "../src/timeline.ts";

const ana = { id: "chat-ana", handle: "ana", name: "Ana" };

function message(seq: number, text = `text ${seq}`): Message {
  return { id: `msg_${seq}`, seq, author: ana, client_id: `c${seq}`, text, file: null, job: null, created_at: seq, edited_at: 0, deleted_at: 0 };
}

const said = (seq: number): Change => ({ seq, kind: "message", at: seq, message: message(seq) });
const texts = (timeline: Timeline) => timeline.messages.map(({ text }) => text);

test("what comes early waits, what is known is dropped, and a hole is seen", () => {
  const timeline = new Timeline();
  assert.deepEqual(timeline.take(said(3)), []);
  assert.equal(timeline.gap, false, "nothing is known before the first page");
  timeline.begin({ messages: [message(1), message(2)], as_of: 2, more: false });
  assert.deepEqual(texts(timeline), ["text 1", "text 2", "text 3"]);
  assert.deepEqual(timeline.take(said(3)), []);
  assert.deepEqual(timeline.take(said(6)), []);
  assert.equal(timeline.gap, true);
  assert.deepEqual(timeline.take(said(4)).map(({ seq }) => seq), [4]);
  assert.deepEqual(timeline.take(said(5)).map(({ seq }) => seq), [5, 6]);
  assert.equal(timeline.gap, false);
});

test("a page that is newer than its number shows nothing twice", () => {
  const timeline = new Timeline();
  timeline.begin({ messages: [message(1), message(2), message(3)], as_of: 2, more: false });
  timeline.take(said(3));
  assert.deepEqual(texts(timeline), ["text 1", "text 2", "text 3"]);
  assert.equal(timeline.have, 3);
});

test("edits and deletions change what is shown, and nothing that is not", () => {
  const timeline = new Timeline();
  timeline.begin({ messages: [message(10), message(11)], as_of: 11, more: true });
  timeline.take({ seq: 12, kind: "edit", at: 12, message: message(10, "better") });
  timeline.take({ seq: 13, kind: "delete", at: 13, message: { ...message(5, ""), deleted_at: 13 } });
  assert.deepEqual(texts(timeline), ["better", "text 11"]);
  timeline.older({ messages: [message(4), message(5, ""), message(10)], as_of: 13, more: false });
  assert.deepEqual(texts(timeline), ["text 4", "", "better", "text 11"]);
});

test("a page that was read before a change came shows what came", () => {
  const timeline = new Timeline();
  timeline.begin({ messages: [message(10)], as_of: 11, more: true });
  // The page before is asked for, and on its way when two of its messages change.
  timeline.take({ seq: 12, kind: "edit", at: 12, message: message(5, "better") });
  timeline.take({ seq: 13, kind: "delete", at: 13, message: { ...message(6, ""), deleted_at: 13 } });
  timeline.older({ messages: [message(4), message(5), message(6)], as_of: 11, more: false });
  assert.deepEqual(texts(timeline), ["text 4", "better", "", "text 10"]);
  // A page that was read after a change knows better.
  const other = new Timeline();
  other.begin({ messages: [message(10)], as_of: 11, more: true });
  other.take({ seq: 12, kind: "edit", at: 12, message: message(5, "better") });
  other.older({ messages: [message(5, "best")], as_of: 13, more: false });
  assert.deepEqual(texts(other), ["best", "text 10"]);
});

test("any order of any repeats gives the same room", () => {
  for (let seed = 1; seed <= 50; seed += 1) {
    let state = seed;
    const random = (limit: number) => { state = (state * 48_271) % 2_147_483_647; return state % limit; };
    const all = Array.from({ length: 20 }, (_, at) => said(at + 1));
    const shuffled = [...all, ...all].map((change) => ({ change, key: random(1_000) })).sort((a, b) => a.key - b.key);
    const timeline = new Timeline();
    const applied: number[] = [];
    shuffled.forEach(({ change }, at) => {
      if (at === 10) applied.push(...timeline.begin({ messages: [message(1), message(2)], as_of: 2, more: false }).map(({ seq }) => seq));
      applied.push(...timeline.take(change).map(({ seq }) => seq));
    });
    assert.deepEqual(applied, all.slice(2).map(({ seq }) => seq));
    assert.deepEqual(timeline.messages.map(({ seq }) => seq), all.map(({ seq }) => seq));
  }
});
