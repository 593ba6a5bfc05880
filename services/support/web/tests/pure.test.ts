import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "../src/api.ts";
import { key, Refused } from "../src/api.ts";
import { Thread } from "../src/thread.ts";
import { choose, say } from "../src/words.ts";

const message = (seq: number): Message => ({ seq, author: "agent", name: "Sam", text: "Hello", at: 0 });

test("messages are taken once and in order, whatever comes", () => {
  const thread = new Thread();
  assert.deepEqual(thread.take([1, 2].map(message)).map((one) => one.seq), [1, 2]);
  assert.deepEqual(thread.take([1, 2, 3].map(message)).map((one) => one.seq), [3]);
  assert.deepEqual(thread.take([5].map(message)), []);
  assert.deepEqual(thread.take([4, 5].map(message)).map((one) => one.seq), [4, 5]);
  assert.equal(thread.last, 5);
});

test("a refusal has its words", () => {
  assert.deepEqual([0, 400, 409, 429, 503].map((status) => new Refused(status).word), ["unreachable", "refused", "closedAlready", "tooFast", "unreachable"]);
});

test("languages and keys", () => {
  assert.equal(choose(["fr", "es-MX"]), "es");
  assert.equal(say("en", "waitingMany", { count: 3 }), "3 tickets wait.");
  assert.match(key(), /^[0-9a-f]{32}$/);
});
