import assert from "node:assert/strict";
import { test } from "node:test";
import { NO_MARKS, parseMessage } from "../src/inbox.ts";
import type { InboxItem, Marks } from "../src/inbox.ts";
import { DEFAULT_TABS, parseTabs, tabItems } from "../src/tabs.ts";
import type { Tab, TabChoice } from "../src/tabs.ts";

function item(id: string, marks: Partial<Marks> = {}, metadata: Record<string, string> = {}): InboxItem {
  const message = parseMessage({ type: "notification", id, metadata });
  assert.ok(message?.type === "notification");
  return { ...message, ...NO_MARKS, ...marks, offset: 1 };
}

const ITEMS = [
  item("fresh", {}, { category: "orders", team: "north" }),
  item("read", { read: true }, { category: "orders" }),
  item("gone", { archived: true }, { category: "orders" }),
  item("other"),
];

function ids(choice: TabChoice | string, keep: readonly string[] = []): string[] {
  const [tab] = parseTabs(typeof choice === "string" ? choice : [choice]);
  return tabItems(ITEMS, tab as Tab, new Set(keep)).map(({ id }) => id);
}

test("the built-in tabs", () => {
  assert.deepEqual(parseTabs(DEFAULT_TABS).map(({ id }) => id), ["all", "unread", "archived"]);
  assert.deepEqual(ids("all"), ["fresh", "read", "other"]);
  assert.deepEqual(ids("unread"), ["fresh", "other"]);
  assert.deepEqual(ids("archived"), ["gone"]);
});

test("a row that was read a moment ago stays in its tab, an archived one leaves", () => {
  assert.deepEqual(ids("unread", ["read", "gone"]), ["fresh", "read", "other"]);
});

test("tabs by category, by metadata and by predicate", () => {
  assert.deepEqual(ids("orders"), ["fresh", "read"]);
  assert.deepEqual(ids({ id: "o", label: "O", category: "orders" }), ["fresh", "read"]);
  assert.deepEqual(ids({ id: "n", label: "N", metadata: { category: "orders", team: "north" } }), ["fresh"]);
  assert.deepEqual(ids({ id: "p", label: "P", filter: (one) => one.archived || one.id === "other" }), ["gone", "other"]);
});

test("a predicate that throws empties its tab and nothing else", () => {
  const thrown = (): boolean => {
    throw new Error("no");
  };
  assert.deepEqual(ids({ id: "bad", label: "Bad", filter: thrown }), []);
});

test("words become categories with a name, doubles count once", () => {
  const tabs = parseTabs("all, orders  all constructor");
  assert.deepEqual(tabs.map(({ id, label }) => [id, label]), [["all", null], ["orders", "Orders"], ["constructor", "Constructor"]]);
  assert.deepEqual(parseTabs("  "), []);
});
