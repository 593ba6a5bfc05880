// Makes the pictures of docs/images from a running platform: best a fresh one, built for release.
// Usage: node shots.mjs <gateway url> <sandbox url> [--out DIR]
// Writes demo.png, demo-dark.png, phone.png, sandbox.png. Nothing in them is drawn or retouched.

import { mkdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { launch } from "./lib/browser.mjs";
import { DemoTab } from "./lib/demo.mjs";
import { becomes, eventually } from "./lib/expect.mjs";
import { Platform } from "./lib/platform.mjs";

const MAX_BYTES = 400_000;
const WARM = 12;
const SHARP = { deviceScaleFactor: 2, reducedMotion: "reduce" };

const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: "string" } } });
if (positionals.length !== 2) {
  console.error("usage: node shots.mjs <gateway url> <sandbox url> [--out DIR]");
  process.exit(2);
}
const out = values.out ?? join(dirname(fileURLToPath(import.meta.url)), "../../docs/images");
const platform = new Platform(positionals[0], positionals[1]);
await mkdir(out, { recursive: true });
const browser = await launch();
await demo("demo.png", "light", "alice");
await demo("demo-dark.png", "dark", "bob");
await phone();
await sandbox();
await browser.close();

/** The page after a few rings, with the open panel. */
async function demo(file, colorScheme, user) {
  const context = await browser.newContext({ ...SHARP, viewport: { width: 1240, height: 800 }, colorScheme });
  const tab = await DemoTab.open(context, platform, user);
  await readOlder(tab);
  await ringTimes(tab, WARM);
  await tab.openPanel();
  for (const row of [3, 4, 5]) await tab.at("bell-item").nth(row).locator(".row").click();
  await tab.badgeBecomes(String(WARM - 3));
  await tab.at("bell-panel").focus();
  await tab.page.mouse.move(0, 0);
  // Down to the end of the panel and of the controls; what follows is choices and small print.
  const ends = await Promise.all([tab.at("bell-panel"), tab.page.locator(".check")].map((part) => part.boundingBox()));
  const height = Math.ceil(Math.max(...ends.map((box) => box.y + box.height)) + 20);
  await save(tab.page, file, { x: 40, y: 0, width: 1160, height });
  await context.close();
}

/** The page on a phone, with a toast. */
async function phone() {
  const context = await browser.newContext({ ...SHARP, viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true });
  const tab = await DemoTab.open(context, platform, "carol");
  await readOlder(tab);
  await ringTimes(tab, 5);
  await tab.at("toast").getByRole("button", { name: "Dismiss" }).click();
  await tab.at("toast").waitFor({ state: "detached" });
  await ringTimes(tab, 1);
  await tab.at("toast").waitFor();
  await tab.page.mouse.move(0, 0);
  await save(tab.page, "phone.png");
  await context.close();
}

/** What the channels of one notification left behind. */
async function sandbox() {
  const subject = "Welcome, Alice";
  const content = { title: "Table 12 is ready", body: "By the window. See you in a minute." };
  await platform.notify("alice", "", { content, channels: ["whatsapp"] });
  await arrives(content.title, 1);
  for (const [user, name] of [["carol", "Carol"], ["bob", "Bob"], ["alice", "Alice"]]) {
    await platform.notify(user, "", { content: undefined, template: "welcome", data: { name }, channels: ["email", "sms"] });
    await arrives(`Welcome, ${name}`, 2);
  }
  const context = await browser.newContext({ ...SHARP, viewport: { width: 1160, height: 620 } });
  const page = await context.newPage();
  await page.goto(`${platform.sandbox}/`);
  await page.locator("#list button", { hasText: subject }).first().click();
  await page.locator("#detail h2").waitFor();
  await page.frameLocator("#detail iframe").locator("body").waitFor();
  await page.mouse.move(0, 0);
  await save(page, "sandbox.png");
  await context.close();
}

function arrives(text, count) {
  return eventually(() => platform.sandboxMessages(text), (found) => found.length >= count, `messages with ${JSON.stringify(text)}`);
}

/** So that the badge counts this picture's own rings. */
async function readOlder(tab) {
  await tab.openPanel();
  if (await tab.at("bell-mark-all").isEnabled()) await tab.at("bell-mark-all").click();
  await tab.badgeBecomes("");
  await tab.closePanel();
}

async function ringTimes(tab, count) {
  // A ring is counted by the page since it was opened, and so are the arrivals.
  const before = (await tab.arrivals()).length;
  for (let ring = 1; ring <= count; ring += 1) {
    await tab.at("ring").click();
    await becomes(async () => (await tab.arrivals()).length, before + ring, "arrivals");
    await becomes(() => tab.text("stat-count"), before + ring === 1 ? "of 1 ring" : `of ${before + ring} rings`, "measurements");
  }
}

async function save(page, name, clip) {
  const path = join(out, name);
  await page.screenshot({ path, animations: "disabled", ...(clip && { clip }) });
  const { size } = await stat(path);
  console.log(`${path} ${Math.round(size / 1_000)} kB`);
  if (size > MAX_BYTES) throw new Error(`${name} has ${size} bytes, more than ${MAX_BYTES}`);
}
