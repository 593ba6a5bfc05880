// What axe-core finds on a page.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { same } from "./expect.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** Nothing at all, in words that say where. */
export async function axe(page, where) {
  await page.evaluate(AXE);
  const violations = await page.evaluate(async (tags) => {
    // A message's own HTML is its author's; its frame runs no script.
    const report = await globalThis.axe.run(document, { runOnly: tags, iframes: false, preload: false });
    return report.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.flat().join(" ")).slice(0, 4).join(", ")} (${nodes[0].failureSummary.replace(/\s+/g, " ")})`);
  }, RULES);
  same(violations, [], `axe-core, ${where}`);
}
