// Makes the pictures of docs/images from a report of the load harness.
// Usage: node report-shots.mjs <report.html> [--out DIR]
// Writes report.png (the top, with the first picture), report-dark.png (another picture, in the dark) and
// report-phone.png. Nothing in them is drawn or retouched.

import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { launch } from "./lib/browser.mjs";
import { packed } from "./lib/png.mjs";

const MAX_BYTES = 200_000;
/** Headings for the dark picture; the first that the report has. */
const DARK = [/^The tail/, /^Open load/, /^Over time/, /^What it costs/];
const WIDE = { width: 1040, height: 800 };

const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: "string" } } });
if (positionals.length !== 1) {
  console.error("usage: node report-shots.mjs <report.html> [--out DIR]");
  process.exit(2);
}
const address = pathToFileURL(resolve(positionals[0])).href;
const out = values.out ?? join(dirname(fileURLToPath(import.meta.url)), "../../docs/images");
await mkdir(out, { recursive: true });
const tooLarge = [];
const browser = await launch();
await shot("report.png", { viewport: WIDE }, top);
await shot("report-dark.png", { viewport: WIDE, colorScheme: "dark" }, another);
const phone = { viewport: { width: 390, height: 780 }, isMobile: true, deviceScaleFactor: 2 };
await shot("report-phone.png", phone, () => undefined);
await browser.close();
if (tooLarge.length > 0) {
  console.error(`more than ${MAX_BYTES} bytes: ${tooLarge.join(", ")}`);
  process.exit(1);
}

async function shot(name, settings, clip) {
  const context = await browser.newContext(settings);
  const page = await context.newPage();
  await page.goto(address);
  const path = join(out, name);
  const area = await clip(page);
  const png = packed(await page.screenshot({ ...(area && { clip: area, fullPage: true }) }));
  await context.close();
  await writeFile(path, png);
  const size = png.length;
  console.log(`${path} ${Math.round(size / 1_000)} kB`);
  if (size > MAX_BYTES) tooLarge.push(name);
}

/** From the head to the end of the first picture, without its caption. */
async function top(page) {
  const box = await page.locator("section figure svg:visible").first().boundingBox();
  return { x: 0, y: 0, width: WIDE.width, height: Math.ceil(box.y + box.height + 8) };
}

/** One picture with its heading. */
async function another(page) {
  const sections = page.locator("section", { has: page.locator("figure") });
  const headings = await sections.locator("h2").allTextContents();
  const place = DARK.map((wanted) => headings.findIndex((heading) => wanted.test(heading))).find((at) => at >= 0);
  const box = await sections.nth(place ?? 0).boundingBox();
  return { x: 0, y: Math.floor(box.y - 16), width: WIDE.width, height: Math.ceil(box.height + 40) };
}
