import assert from "node:assert/strict";
import { test } from "node:test";
import { placePanel } from "../src/anchor.ts";
import { groups } from "../src/api.ts";
import { NO_MARKS, parseMessage } from "../src/inbox.ts";
import type { InboxItem } from "../src/inbox.ts";
import { afterRemoval, listStep, tabStep } from "../src/keys.ts";
import { badgeText, relativeTime, safeLocale } from "../src/time.ts";
import { MAX_TOASTS, NO_TOASTS, addToast, removeToasts } from "../src/toasts.ts";

const NOW = Date.parse("2026-06-15T12:00:00Z");

function ago(seconds: number): string {
  return relativeTime(new Date(NOW - seconds * 1_000).toISOString(), NOW, "en", "just now");
}

function item(id: string): InboxItem {
  const message = parseMessage({ type: "notification", id });
  assert.ok(message?.type === "notification");
  return { ...message, ...NO_MARKS, offset: 1 };
}

test("relative times", () => {
  assert.equal(ago(0), "just now");
  assert.equal(ago(59), "just now");
  assert.equal(ago(-30), "just now");
  assert.equal(ago(61), "1 min. ago");
  assert.equal(ago(2 * 3_600 + 5), "2 hr. ago");
  assert.equal(ago(86_400), "yesterday");
  assert.equal(ago(8 * 86_400), "Jun 7, 2026");
  assert.equal(relativeTime("nonsense", NOW, "en", "just now"), "");
});

test("language tags the formatters would refuse", () => {
  assert.equal(safeLocale("en_US"), undefined);
  assert.equal(safeLocale("pt-br"), "pt-BR");
  assert.equal(safeLocale(null), undefined);
});

test("the badge stops counting at 99", () => {
  assert.deepEqual([1, 99, 100, 500].map((count) => badgeText(count, "en")), ["1", "99", "99+", "99+"]);
});

test("three toasts, the rest is counted, the count goes with the last", () => {
  let state = NO_TOASTS;
  for (let at = 0; at < 50; at += 1) state = addToast(state, item(`dlv_${at}`), MAX_TOASTS);
  assert.deepEqual(state.shown.map((shown) => shown.id), ["dlv_47", "dlv_48", "dlv_49"]);
  assert.equal(state.more, 50 - MAX_TOASTS);
  state = removeToasts(state, new Set(["dlv_47"]));
  assert.equal(state.shown.length, 2);
  assert.deepEqual(removeToasts(state, new Set(["dlv_48", "dlv_49"])), NO_TOASTS);
});

test("marks go in bounded groups", () => {
  const ids = Array.from({ length: 250 }, (_, at) => `dlv_${at}`);
  assert.deepEqual(groups(ids).map((group) => group.length), [100, 100, 50]);
  assert.deepEqual(groups([]), []);
});

test("the panel finds its place", () => {
  const upperRight = placePanel({ top: 10, right: 1_180, bottom: 54, left: 1_136 }, 1_200, 800);
  assert.deepEqual(upperRight, { top: "62px", bottom: "auto", maxHeight: "730px", left: "auto", right: "20px" });
  const lowerLeft = placePanel({ top: 740, right: 64, bottom: 784, left: 20 }, 1_200, 800);
  assert.deepEqual(lowerLeft, { top: "auto", bottom: "68px", maxHeight: "724px", left: "20px", right: "auto" });
  const phone = placePanel({ top: 10, right: 352, bottom: 54, left: 308 }, 360, 740);
  assert.deepEqual([phone.left, phone.right], ["8px", "8px"]);
});

test("arrows walk through rows and to their buttons, mirrored from right to left", () => {
  assert.deepEqual(listStep("ArrowDown", { row: 0, act: false }, 3, false), { row: 1, act: false });
  assert.deepEqual(listStep("ArrowDown", { row: 2, act: true }, 3, false), { row: 2, act: true });
  assert.deepEqual(listStep("End", { row: 0, act: false }, 3, false), { row: 2, act: false });
  assert.deepEqual(listStep("ArrowRight", { row: 1, act: false }, 3, false), { row: 1, act: true });
  assert.deepEqual(listStep("ArrowRight", { row: 1, act: true }, 3, true), { row: 1, act: false });
  assert.equal(listStep("Tab", { row: 1, act: true }, 3, false), null);
});

test("tabs go round, and the focus of a row that leaves goes to a neighbour", () => {
  assert.deepEqual([tabStep("ArrowRight", 2, 3, false), tabStep("ArrowLeft", 0, 3, false), tabStep("ArrowRight", 0, 3, true)], [0, 2, 2]);
  assert.deepEqual([tabStep("Home", 2, 3, false), tabStep("End", 0, 3, false), tabStep("x", 0, 3, false)], [0, 2, null]);
  assert.deepEqual([afterRemoval(["a", "b", "c"], "b"), afterRemoval(["a", "b"], "b"), afterRemoval(["a"], "a")], ["c", "a", ""]);
});
