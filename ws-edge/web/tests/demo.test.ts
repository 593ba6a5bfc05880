import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY_LOG, MAX_EARLY, MAX_RINGS, accepted, arrived, latencies, milliseconds, sparkline, summarize } from "../src/demo/measure.ts";
import { snippet } from "../src/demo/snippets.ts";

const arrival = (at: number, offset = 1) => ({ at, offset, traceId: "t" });

test("the 202 first, then the bell", () => {
  const log = arrived(accepted(EMPTY_LOG, "ntf_1", 100, 103, "t"), "ntf_1", arrival(104.5, 7));
  assert.deepEqual(log.rings, [{ id: "ntf_1", clickedAt: 100, acceptedMs: 3, arrivedMs: 4.5, offset: 7, traceId: "t" }]);
});

test("the bell first, then the 202: the same figures", () => {
  const log = accepted(arrived(EMPTY_LOG, "ntf_1", arrival(102, 7)), "ntf_1", 100, 103, "t");
  assert.deepEqual(log.rings, [{ id: "ntf_1", clickedAt: 100, acceptedMs: 3, arrivedMs: 2, offset: 7, traceId: "t" }]);
  assert.equal(log.early.size, 0);
});

test("the first arrival counts, arrivals of others are no measurements", () => {
  let log = arrived(accepted(EMPTY_LOG, "ntf_1", 100, 101, "t"), "ntf_1", arrival(105));
  log = arrived(arrived(log, "ntf_1", arrival(900)), "ntf_other", arrival(901));
  assert.deepEqual(latencies(log), [5]);
  assert.equal(log.early.size, 1);
});

test("rings and early arrivals are bounded", () => {
  let log = EMPTY_LOG;
  for (let at = 0; at < MAX_EARLY + 5; at += 1) log = arrived(log, `x${at}`, arrival(at));
  for (let at = 0; at < MAX_RINGS + 5; at += 1) log = accepted(log, `y${at}`, at, at, "t");
  assert.equal(log.early.size, MAX_EARLY);
  assert.equal(log.rings.length, MAX_RINGS);
  assert.equal(log.rings[0]?.id, `y${MAX_RINGS + 4}`);
});

test("nearest-rank percentiles", () => {
  assert.equal(summarize([]), null);
  assert.deepEqual(summarize([4]), { count: 1, min: 4, median: 4, p99: 4, max: 4 });
  const hundred = Array.from({ length: 100 }, (_, at) => 100 - at);
  assert.deepEqual(summarize(hundred), { count: 100, min: 1, median: 50, p99: 99, max: 100 });
});

test("figures for people", () => {
  assert.deepEqual([1.84, 42, 137.4, 2_345].map(milliseconds), ["1.8 ms", "42.0 ms", "137 ms", "2.35 s"]);
  assert.equal(sparkline([1], 240, 40), "");
  assert.equal(sparkline([2, 4, 1], 240, 40), "0.0,20.0 120.0,0.0 240.0,30.0");
});

test("the promised ten lines are ten", () => {
  const session = { token: "t", user: "alice", ws_url: "ws://h/c", channel: "inbox:#alice", api_key: "ck_x", api_base: "" };
  const text = snippet("element", session, "http://h:8080");
  assert.equal(text.split("\n").length, 10);
  assert.ok(text.includes('api-base="http://h:8080"'));
  assert.ok(!text.includes("ck_x"), "the key never goes into a page");
});
