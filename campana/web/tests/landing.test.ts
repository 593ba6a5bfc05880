// The landing page without a browser: words, numbers, lines, stages.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { bytes, count, duration, line, milliseconds, rate, stages, stamps } from "../src/landing/figures.ts";
import { type Word, choose, say } from "../src/landing/words.ts";

test("the page says in HTML what the English words say", () => {
  const page = readFileSync("src/landing/landing.html", "utf8");
  const plain = (text: string) => text.replaceAll("&lt;", "<").replaceAll("&amp;", "&");
  const found = [...page.matchAll(/data-word="(\w+)"[^>]*>([^<]*)</g)];
  assert.ok(found.length > 100, `${found.length}`);
  for (const [, word, words] of found) assert.equal(plain(words ?? ""), say("en", word as Word), word);
  assert.ok(page.includes(`<title>${say("en", "pageTitle")}</title>`));
  assert.ok(!/ style=| on\w+=|https?:\/\//.test(page.replace("http://www.w3.org/2000/svg", "")), "a strict policy forbids it");
});

test("both languages have the same places in a text", () => {
  const source = readFileSync("src/landing/words.ts", "utf8");
  const words = [...source.slice(source.indexOf("const EN"), source.indexOf("export type Word")).matchAll(/^ {2}(\w+): /gm)].map(([, word]) => word as Word);
  const places = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(([place]) => place).sort();
  assert.ok(words.length > 100);
  for (const word of words) assert.deepEqual(places(say("es", word)), places(say("en", word)), word);
});

test("the first language that we speak", () => {
  assert.equal(choose(["de-DE", "es-MX", "en"]), "es");
  assert.equal(choose(["fr"]), "en");
  assert.equal(say("en", "perSecond", { rate: 3 }), "3/s");
});

test("numbers have as many digits as say something", () => {
  assert.deepEqual([0, 9_999, 12_345, null].map((value) => count("en", value)), ["0", "9,999", "12.3K", "–"]);
  assert.deepEqual([0, 0.1, 2.55, 1_234.4, 25_600].map((value) => rate("en", value)), ["0", "0.1", "2.6", "1,234", "25.6K"]);
  assert.deepEqual([1.234, 12, 250.4, 1_500, null].map((value) => milliseconds("en", value)), ["1.2 ms", "12.0 ms", "250 ms", "1.50 s", "–"]);
  assert.equal(milliseconds("es", 1.2), "1,2 ms");
  assert.deepEqual([12, 1_536, 5_000_000, null].map((value) => bytes("en", value)), ["12 B", "1.5 KiB", "4.77 MiB", "–"]);
  assert.deepEqual([0, 59, 61, 7_300, 200_000].map((value) => duration("en", value)), ["0 s", "59 s", "1 min", "2 h", "2 d"]);
});

test("a line ends at the right side and stays in its box", () => {
  assert.equal(line([1], 5, 1, 100, 10), "");
  assert.equal(line([0, 0], 5, 0, 100, 10), "");
  assert.equal(line([0, 5, 10, 20], 5, 10, 100, 10), "25.0,10.0 50.0,5.0 75.0,0.0 100.0,0.0");
});

test("stages are those that one machine timed", () => {
  const answer = stamps("boot=aa;accepted=1000000;stored=3500000;x=y");
  assert.deepEqual(stages(answer, stamps("boot=aa;accepted=1000000;dispatched=500000;edge=4000000;socket=4250000;later=9")), [
    { stage: "stored", ms: 2.5 }, { stage: "dispatched", ms: 0 }, { stage: "edge", ms: 3 }, { stage: "socket", ms: 3.25 },
  ]);
  assert.deepEqual(stages(answer, stamps("boot=bb;edge=4000000")), [], "another machine");
  assert.deepEqual(stages(stamps(null), stamps("boot=aa;edge=1")), [], "nobody answered with stamps");
});
