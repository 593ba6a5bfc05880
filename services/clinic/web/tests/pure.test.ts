import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, dateOf, day, moment, plusDays, preferred } from "../src/time.ts";
import { WORDS } from "../src/words.ts";

test("times are the clinic's, wherever the visitor is", () => {
  const at = "2026-03-03T08:30:00Z";
  assert.equal(clock("es", at, "Europe/Madrid"), "09:30");
  assert.equal(clock("en", at, "America/Mexico_City"), "02:30");
  assert.equal(day("es", at, "Europe/Madrid"), "martes, 3 de marzo");
  assert.match(moment("en", at, "Europe/Madrid"), /^Tuesday,? 3 March, 09:30$/);
  assert.equal(dateOf("2026-03-03T23:30:00Z", "Europe/Madrid"), "2026-03-04");
});

test("clocks that change", () => {
  assert.equal(clock("es", "2026-10-25T00:30:00Z", "Europe/Madrid"), "02:30");
  assert.equal(clock("es", "2026-10-25T01:30:00Z", "Europe/Madrid"), "02:30");
  assert.equal(clock("es", "2026-03-29T01:00:00Z", "Europe/Madrid"), "03:00");
  assert.equal(plusDays("2026-03-28", 1), "2026-03-29");
  assert.equal(plusDays("2026-12-31", 1), "2027-01-01");
});

test("midnight is the beginning of a day", () => {
  assert.equal(clock("en", "2026-06-01T22:00:00Z", "Europe/Madrid"), "00:00");
});

test("the visitor's language, or English", () => {
  assert.equal(preferred(["de-DE", "es-MX", "en"]), "es");
  assert.equal(preferred(["en-GB", "es"]), "en");
  assert.equal(preferred(["de"]), "en");
});

test("both languages have every word", () => {
  const names = (value: unknown): unknown =>
    typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, names(inner)]).sort()) : typeof value;
  assert.deepEqual(names(WORDS.es), names(WORDS.en));
});
