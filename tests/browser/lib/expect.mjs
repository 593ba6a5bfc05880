// Comparing and waiting. A wait ends as soon as the page says so and fails with what it saw last;
// nothing here lets time pass for its own sake.

import { setTimeout as pause } from "node:timers/promises";

export const PATIENCE_MS = 15_000;
const LOOK_AGAIN_MS = 20;
/** Of a long value the beginning tells enough. */
const SHOWN = 2_000;

export function check(condition, message) {
  if (!condition) throw new Error(message);
}

export function same(actual, expected, what) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  check(a === b, `${what}: expected ${b.slice(0, SHOWN)}, found ${a.slice(0, SHOWN)}`);
}

/**
 * Looks until `look()` gives exactly `expected`. From outside of the page: Playwright's own
 * waitForFunction needs eval in the page, which its content security policy rightly refuses.
 */
export async function becomes(look, expected, what, patience = PATIENCE_MS) {
  const wanted = JSON.stringify(expected);
  return eventually(look, (value) => JSON.stringify(value) === wanted, `${what}: expected ${wanted}`, patience);
}

/** Looks until `accept` takes the value, and returns it. */
export async function eventually(look, accept, what, patience = PATIENCE_MS) {
  const end = performance.now() + patience;
  for (;;) {
    const value = await look();
    if (accept(value)) return value;
    if (performance.now() > end) throw new Error(`${what}, still ${JSON.stringify(value)} after ${patience / 1_000} s`);
    await pause(LOOK_AGAIN_MS);
  }
}
