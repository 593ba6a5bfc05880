import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_LABELS, addLanguage, labelsFor, pluralOf } from "../src/labels.ts";
import type { Labels } from "../src/labels.ts";

const TAGS = ["en", "de", "fr", "es", "ar"];

test("every language has every word, none is empty, none is forgotten English", () => {
  for (const tag of TAGS) {
    const labels = labelsFor(tag) as Labels;
    assert.deepEqual(Object.keys(labels).sort(), Object.keys(DEFAULT_LABELS).sort(), tag);
    assert.deepEqual(Object.keys(labels.states).sort(), Object.keys(DEFAULT_LABELS.states).sort(), tag);
    for (const [name, word] of [...Object.entries(labels), ...Object.entries(labels.states)]) {
      if (typeof word === "string") assert.notEqual(word.trim(), "", `${tag} ${name}`);
    }
    if (tag !== "en") assert.notEqual(labels.markAll, DEFAULT_LABELS.markAll);
    for (const text of [labels.unreadCount(3), labels.arrivedMany(3), labels.more(3)]) assert.ok(!text.includes("{n}"), text);
  }
});

test("numbers choose their form", () => {
  const many = (tag: string, count: number): string => (labelsFor(tag) as Labels).arrivedMany(count);
  assert.deepEqual([1, 2, 1_200].map((count) => many("en", count)), ["1 new notification", "2 new notifications", "1,200 new notifications"]);
  assert.deepEqual([1, 2].map((count) => many("de", count)), ["1 neue Mitteilung", "2 neue Mitteilungen"]);
  assert.deepEqual([1, 2].map((count) => many("es", count)), ["1 aviso nuevo", "2 avisos nuevos"]);
  // In French nought is singular.
  assert.deepEqual([0, 1, 2].map((count) => many("fr", count)), ["0 nouvelle notification", "1 nouvelle notification", "2 nouvelles notifications"]);
  const arabic = new Set([0, 1, 2, 3, 11, 100].map((count) => many("ar", count).replace(/[\d٠-٩]+/, "n")));
  assert.equal(arabic.size, 6);
});

test("a region falls back to its language, an unknown language to nobody", () => {
  assert.equal(labelsFor("de-AT")?.markAll, labelsFor("de")?.markAll);
  assert.equal(labelsFor("es-MX")?.markAll, "Marcar todo como leído");
  assert.equal(labelsFor("xx"), null);
  assert.equal(labelsFor(undefined), null);
});

test("a page adds a language of its own", () => {
  addLanguage("pt-BR", (plural) => ({ ...DEFAULT_LABELS, more: (count) => plural(count, { one: "mais {n}", other: "mais {n}" }) }));
  assert.equal(labelsFor("pt-BR")?.more(4), "mais 4");
  assert.equal(labelsFor("pt"), null);
  assert.equal(pluralOf("pl")(3, { few: "kilka", other: "x" }), "kilka");
});
