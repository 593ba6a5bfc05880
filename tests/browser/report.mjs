// Looks at pages of the load harness in a real browser: no request leaves the file, nothing is refused
// or complained about, axe-core finds nothing, nothing is wider than a phone, and it reads without
// JavaScript, in the dark and on paper.
// Usage: node report.mjs <page.html>... [--shots DIR]
//   --shots DIR   writes <page>.png, <page>-dark.png, <page>-phone.png and <page>-print.png
// Exit code 0 if all is well, 1 if not, 2 if called wrongly.

import { mkdir } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { axe } from "./lib/axe.mjs";
import { launch } from "./lib/browser.mjs";
import { check, same } from "./lib/expect.mjs";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { shots: { type: "string" } } });
if (positionals.length === 0) {
  console.error("usage: node report.mjs <page.html>... [--shots DIR]");
  process.exit(2);
}
if (values.shots) await mkdir(values.shots, { recursive: true });

const LOOKS = [
  ["", { viewport: { width: 1240, height: 900 } }],
  ["-dark", { viewport: { width: 1240, height: 900 }, colorScheme: "dark" }],
  ["-phone", { viewport: { width: 390, height: 780 }, isMobile: true, deviceScaleFactor: 2 }],
  ["-print", { viewport: { width: 1000, height: 900 } }],
];

const browser = await launch();
let failed = 0;
for (const file of positionals) {
  for (const [look, settings] of LOOKS) {
    try {
      await one(file, look, settings);
      console.log(`ok   ${basename(file)}${look}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${basename(file)}${look}\n     ${String(error.message ?? error).replaceAll("\n", "\n     ")}`);
    }
  }
}
await browser.close();
process.exit(failed === 0 ? 0 : 1);

async function one(file, look, settings) {
  const address = pathToFileURL(resolve(file)).href;
  const context = await browser.newContext(settings);
  // axe-core is a script, so only the look that it judges may have one; the page itself has none.
  const bare = await browser.newContext({ ...settings, javaScriptEnabled: false });
  try {
    const asked = [];
    const complaints = [];
    const page = await bare.newPage();
    page.on("request", (request) => asked.push(request.url()));
    page.on("console", (line) => ["error", "warning"].includes(line.type()) && complaints.push(line.text()));
    if (look === "-print") await page.emulateMedia({ media: "print" });
    await page.goto(address);
    same(asked, [address], "what the page asked for");
    same(complaints, [], "complaints of the browser");
    if (values.shots) {
      const name = `${basename(file, ".html")}${look}.png`;
      await page.screenshot({ path: join(values.shots, name), fullPage: true });
    }
    const judged = await context.newPage();
    if (look === "-print") await judged.emulateMedia({ media: "print" });
    await judged.goto(address);
    await axe(judged, look || "-light");
    const over = await judged.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    check(look === "-print" || over <= 0, `the page is ${over} pixels wider than its window`);
    const drawn = await judged.locator("svg:visible").count();
    check(drawn > 0, "no picture is shown");
    same(await judged.locator("script, link, img, iframe").count(), 0, "elements that load something");
  } finally {
    await Promise.all([context.close(), bare.close()]);
  }
}
