import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY_INBOX, MAX_EARLY_MARKS, MAX_ITEMS, fold, parseMessage, shownItems, unreadIds } from "../src/inbox.ts";
import type { InboxState, MarkKind, Publication } from "../src/inbox.ts";
import { microseconds } from "../src/message.ts";

function note(offset: number, id = `dlv_${offset}`): Publication {
  const data = {
    type: "notification",
    id,
    notification_id: `ntf_${id}`,
    title: `Title ${id}`,
    body: "",
    url: null,
    created_at: "2026-01-02T03:04:05Z",
    trace_id: "0".repeat(32),
    metadata: {},
  };
  return { offset, data };
}

function read(offset: number, ...ids: string[]): Publication {
  return { offset, data: { type: "read", ids, at: "2026-01-02T03:04:05Z" } };
}

/** A mark made `micros` after some moment. */
function mark(type: MarkKind, offset: number, micros: number, ...ids: string[]): Publication {
  return { offset, data: { type, ids, at: `2026-01-02T03:04:05.${String(micros).padStart(6, "0")}Z` } };
}

function folded(publications: readonly Publication[], from: InboxState = EMPTY_INBOX): InboxState {
  return fold(from, { kind: "publications", publications });
}

function shuffled<T>(list: readonly T[], seed: number): T[] {
  const copy = [...list];
  let state = seed;
  for (let at = copy.length - 1; at > 0; at -= 1) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    const other = state % (at + 1);
    [copy[at], copy[other]] = [copy[other] as T, copy[at] as T];
  }
  return copy;
}

test("newest first, whatever the order of arrival", () => {
  const state = folded([note(3), note(900), note(17)]);
  assert.deepEqual(state.items.map((item) => item.offset), [900, 17, 3]);
  assert.equal(state.unread, 3);
  assert.equal(state.offset, 900);
});

test("the same id twice is one item at its first offset, counted once", () => {
  const state = folded([note(5, "dlv_a"), note(9, "dlv_a"), note(7, "dlv_b")]);
  assert.deepEqual(state.items.map((item) => [item.id, item.offset]), [["dlv_b", 7], ["dlv_a", 5]]);
  assert.equal(state.unread, 2);
});

test("a read event marks its items and lowers the count", () => {
  const state = folded([note(1), note(2), read(3, "dlv_1")]);
  assert.deepEqual(state.items.map((item) => item.read), [false, true]);
  assert.equal(state.unread, 1);
  assert.deepEqual(unreadIds(state), ["dlv_2"]);
});

test("a read event before its notification still counts", () => {
  const state = folded([note(1)], folded([read(3, "dlv_1")]));
  assert.equal(state.unread, 0);
  assert.equal(state.early.size, 0);
});

test("the outcome is the same for every order and every split of the same publications", () => {
  const all = [...Array.from({ length: 40 }, (_, at) => note(at + 1)), read(41, "dlv_3", "dlv_9"), note(42, "dlv_3"), read(43, "dlv_40")];
  const expected = folded(all);
  for (let seed = 1; seed <= 200; seed += 1) {
    const mixed = shuffled(all, seed);
    const cut = seed % all.length;
    const twice = folded(mixed.slice(cut), folded(mixed.slice(0, cut)));
    assert.deepEqual(twice.items, expected.items);
    assert.equal(twice.unread, expected.unread);
    assert.equal(twice.offset, 43);
  }
});

test("never more than the cap; the oldest leave", () => {
  const state = folded(Array.from({ length: MAX_ITEMS + 25 }, (_, at) => note(at + 1)));
  assert.equal(state.items.length, MAX_ITEMS);
  assert.equal(state.items.at(-1)?.offset, 26);
  assert.equal(state.unread, MAX_ITEMS);
});

test("early marks are bounded, the newest stay", () => {
  const ids = Array.from({ length: MAX_EARLY_MARKS + 10 }, (_, at) => `dlv_${at}`);
  const state = folded([read(1, ...ids)]);
  assert.equal(state.early.size, MAX_EARLY_MARKS);
  assert.ok(state.early.has(`dlv_${MAX_EARLY_MARKS + 9}`));
  assert.ok(!state.early.has("dlv_0"));
});

test("a mark shows at once, a refused one is taken back, a confirmed one stays", () => {
  const start = folded([note(1), note(2)]);
  const marked = fold(start, { kind: "mark", mark: "read", ids: ["dlv_1", "dlv_2"] });
  assert.equal(marked.unread, 0);
  assert.ok(shownItems(marked).every((item) => item.read));
  assert.ok(marked.items.every((item) => !item.read));
  const confirmed = folded([read(3, "dlv_1")], marked);
  const refused = fold(confirmed, { kind: "unmark", mark: "read", ids: ["dlv_1", "dlv_2"] });
  assert.deepEqual(unreadIds(refused), ["dlv_2"]);
  assert.equal(refused.pending.size, 0);
});

test("seen lowers only the count of what is unseen; read is seen as well", () => {
  const state = folded([note(1), note(2), note(3), mark("seen", 4, 1, "dlv_1"), read(5, "dlv_2")]);
  assert.deepEqual([state.unread, state.unseen], [2, 1]);
  assert.deepEqual(state.items.map((item) => item.seen), [false, false, true]);
});

test("archived counts neither as unread nor as unseen, and comes back as it was", () => {
  const gone = folded([note(1), note(2), mark("archive", 3, 1, "dlv_1")]);
  assert.deepEqual([gone.unread, gone.unseen], [1, 1]);
  const back = folded([mark("unarchive", 4, 2, "dlv_1")], gone);
  assert.deepEqual([back.unread, back.unseen], [2, 2]);
});

test("of archive and unarchive the latest wins by its time, to the microsecond, not by its place", () => {
  const marks = [mark("archive", 2, 5, "dlv_1"), mark("unarchive", 3, 6, "dlv_1"), mark("archive", 4, 4, "dlv_1")];
  for (let seed = 1; seed <= 20; seed += 1) {
    const [item] = folded(shuffled([note(1), ...marks, ...marks], seed)).items;
    assert.deepEqual([item?.archived, (item?.archivedAt ?? 0) % 1_000_000], [false, 6]);
  }
  const tie = [mark("archive", 2, 5, "dlv_1"), mark("unarchive", 3, 5, "dlv_1")];
  for (const order of [tie, tie.toReversed()]) assert.equal(folded([note(1), ...order]).items[0]?.archived, true);
});

test("every mark in every order and twice: the same list", () => {
  const notes = Array.from({ length: 12 }, (_, at) => note(at + 1));
  const kinds: MarkKind[] = ["read", "seen", "archive", "unarchive"];
  const marks = Array.from({ length: 60 }, (_, at) => mark(kinds[at % 4] as MarkKind, 20 + at, (at * 7_919) % 1_000, `dlv_${(at % 14) + 1}`));
  const expected = folded([...notes, ...marks]);
  for (let seed = 1; seed <= 200; seed += 1) {
    const mixed = shuffled([...notes, ...marks, ...marks.slice(seed % 30)], seed);
    const cut = seed % mixed.length;
    const state = folded(mixed.slice(cut), folded(mixed.slice(0, cut)));
    assert.deepEqual(state.items, expected.items);
    assert.deepEqual([state.unread, state.unseen], [expected.unread, expected.unseen]);
  }
});

test("an answer to an older mark does not end the waiting of a newer one", () => {
  const start = folded([note(1)]);
  const archived = fold(start, { kind: "mark", mark: "archive", ids: ["dlv_1"] });
  const back = fold(archived, { kind: "mark", mark: "unarchive", ids: ["dlv_1"] });
  const first = folded([mark("archive", 2, 1, "dlv_1")], back);
  assert.equal(shownItems(first)[0]?.archived, false);
  const second = folded([mark("unarchive", 3, 2, "dlv_1")], first);
  assert.deepEqual([second.items[0]?.archived, second.pending.size], [false, 0]);
});

test("times keep their microseconds", () => {
  assert.equal(microseconds("1970-01-01T00:00:01.000002Z"), 1_000_002);
  assert.equal(microseconds("1970-01-01T01:00:01.5+01:00"), 1_500_000);
  assert.ok(microseconds("2026-11-21T23:26:50.9Z") > microseconds("2026-11-21T23:26:50.899999Z"));
  assert.deepEqual(["", "soon", "2026-13-40T00:00:00Z"].map(microseconds), [0, 0, 0]);
});

test("another epoch starts the list afresh, the same one keeps it", () => {
  const first = fold(folded([note(7)]), { kind: "position", epoch: "a", offset: 7 });
  const same = fold(first, { kind: "position", epoch: "a", offset: 3 });
  assert.equal(same.items.length, 1);
  assert.equal(same.offset, 7);
  const other = fold(same, { kind: "position", epoch: "b", offset: 2 });
  assert.equal(other.items.length, 0);
  assert.deepEqual([other.epoch, other.offset, other.unread], ["b", 2, 0]);
});

test("publications without an offset take their place in order of arrival", () => {
  const { data } = note(0, "dlv_plain");
  const state = folded([note(4), { data }]);
  assert.equal(state.items.length, 2);
  assert.equal(state.offset, 4);
});

test("what is no message, or one of a later version, is skipped", () => {
  for (const data of [null, 7, "x", [], {}, { type: "poke" }, { type: "notification" }, { type: "notification", id: 3 }, { type: "read" }, { type: "archive", ids: "x" }]) {
    assert.equal(parseMessage(data), null);
  }
  const state = folded([{ offset: 1, data: { type: "poke" } }, note(2)]);
  assert.equal(state.items.length, 1);
});

test("wrong field types become empty, unknown fields are ignored", () => {
  const message = parseMessage({ type: "notification", id: "dlv_1", title: 4, metadata: { a: "b", c: 1 }, later: true });
  assert.ok(message?.type === "notification");
  assert.deepEqual([message.title, message.url, message.metadata], ["", null, { a: "b" }]);
});

test("only links that open a page", () => {
  const url = (value: unknown): string | null => {
    const message = parseMessage({ type: "notification", id: "dlv_1", url: value });
    return message?.type === "notification" ? message.url : null;
  };
  assert.equal(url("https://example.com/a"), "https://example.com/a");
  assert.equal(url("/orders/7"), "/orders/7");
  for (const bad of ["javascript:alert(1)", " javascript:alert(1)", "data:text/html,x", "//evil.example", "/\\evil.example", "file:///x", "", 3]) {
    assert.equal(url(bad), null, String(bad));
  }
});

test("fold never changes its argument", () => {
  const before = folded([note(1), note(2)]);
  const copy = structuredClone(before);
  folded([read(3, "dlv_1"), note(4)], before);
  fold(before, { kind: "mark", mark: "read", ids: ["dlv_2"] });
  assert.deepEqual(before, copy);
});
