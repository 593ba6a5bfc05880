// The shop's page in a browser, against a running shop with gateway and edge.
// Usage: node shop.mjs <shop url> [--shots DIR] [--only TEXT]
//   --shots DIR   writes shop.png, shop-dark.png and shop-phone.png there, the pictures of docs/images
// Exit code 0 if all passed, 1 if one failed.

import { join } from "node:path";
import { parseArgs } from "node:util";
import { axe } from "./lib/axe.mjs";
import { launch } from "./lib/browser.mjs";
import { becomes, check, eventually, same } from "./lib/expect.mjs";
import { Guard } from "./lib/guard.mjs";

const { values: asked, positionals } = parseArgs({ allowPositionals: true, options: { shots: { type: "string" }, only: { type: "string" } } });
const shop = (positionals[0] ?? "").replace(/\/$/, "");
/** A machine that does everything else at the same time answers late. */
const PATIENCE = 60_000;
const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };
const SHARP = { deviceScaleFactor: 2, reducedMotion: "reduce" };

const browser = await launch([]);
let passed = 0;
let failed = 0;

async function one(name, settings, run) {
  if (!name.includes(asked.only ?? "")) return;
  const context = await browser.newContext({ viewport: { width: 1240, height: 900 }, locale: "en-GB", ...settings });
  const page = await context.newPage();
  const guard = await Guard.on(page);
  try {
    await run(page, guard);
    passed += 1;
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n     ${String(error.message ?? error)}`);
  } finally {
    await context.close();
  }
}

async function open(page, state = "live") {
  await page.goto(`${shop}/`);
  await becomes(() => page.locator("#conn").getAttribute("data-state"), state, "the connection", PATIENCE);
  await eventually(() => page.locator("#sku option").count(), (count) => count === 4, "products", PATIENCE);
}

async function fill(page) {
  await page.locator("#name").fill("Ana");
  await page.locator("#email").fill("ana@example.com");
}

const row = (page, order) => page.locator(`tr[data-order="${order}"] td`).allTextContents();

async function orderOne(page) {
  await fill(page);
  await page.locator("#place").click();
  const said = await eventually(() => page.locator("#said").textContent(), (text) => /s-[0-9a-f]{16}/.test(text), "the confirmation", PATIENCE);
  return /s-[0-9a-f]{16}/.exec(said)[0];
}

await one("an order is seen by everybody, live", {}, async (page, guard) => {
  await open(page);
  const order = await orderOne(page);
  await eventually(() => row(page, order), (cells) => cells.length === 7 && /^packer-\d$/.test(cells[3]) && cells[4] === "taken" && cells[5] === "yes" && cells[6] === "yes", "the row of the order", PATIENCE);
  guard.clean();
  same(guard.sockets.length, 1, "connections to the edge");
});

await one("another page sees it without asking", {}, async (page, guard) => {
  await open(page);
  const other = await page.context().newPage();
  await open(other);
  // Only a push can bring it: this page does not ask while it is live.
  let asks = 0;
  other.on("request", (request) => { asks += request.url().endsWith("/api/floor") ? 1 : 0; });
  const order = await orderOne(page);
  await eventually(() => row(other, order), (cells) => cells.length === 7, "the order on the other page", PATIENCE);
  same(asks, 0, "questions of a live page");
  guard.clean();
});

await one("a form that is not right says so beside the field", {}, async (page, guard) => {
  await open(page);
  await page.locator("#place").click();
  await becomes(() => page.locator("#name-error").textContent(), "Please write a name.", "the complaint");
  same(await page.evaluate(() => document.activeElement.id), "name", "the focus");
  await page.locator("#name").fill("Ana");
  await page.locator("#email").fill("ana");
  await page.keyboard.press("Enter");
  await becomes(() => page.locator("#email").getAttribute("aria-invalid"), "true", "the address");
  await axe(page, "a form with a complaint");
  guard.clean();
});

await one("the queue rests, the topic goes on", {}, async (page, guard) => {
  await open(page);
  await page.locator("#pause").click();
  await becomes(() => page.locator("#pause").textContent(), "Let the packers go on", "the button", PATIENCE);
  const order = await orderOne(page);
  await eventually(() => row(page, order), (cells) => cells[3] === "open" && cells[4] === "taken" && cells[6] === "yes", "all but the packers", PATIENCE);
  check(Number(await page.locator("#queue-waiting").textContent()) > 0, "nothing waits in the queue");
  await page.locator("#pause").click();
  await eventually(() => row(page, order), (cells) => /^packer/.test(cells[3]), "the packers catch up", PATIENCE);
  guard.clean();
});

await one("twenty at once, a rebuilt list and a report", {}, async (page, guard) => {
  await open(page);
  const count = async () => Number(await page.locator("#stream-events").textContent());
  const before = await count();
  await fill(page);
  await page.locator("#many").click();
  await becomes(() => page.locator("#said").textContent(), "20 orders are placed.", "the confirmation", PATIENCE);
  await becomes(count, before + 20, "events in the list", PATIENCE);
  await page.locator("#rebuild").click();
  await eventually(() => page.locator("#rebuilt").textContent(), (text) => text.startsWith("Built from the beginning"), "the new list", PATIENCE);
  await becomes(count, before + 20, "events in the new list", PATIENCE);
  await page.locator("#report").click();
  await eventually(() => page.locator("#reports").textContent(), (text) => /orders, €/.test(text), "the report", PATIENCE);
  await axe(page, "a busy shop");
  guard.clean();
});

await one("in Spanish on a phone", { ...PHONE, locale: "es-CO" }, async (page, guard) => {
  await open(page);
  same(await page.locator("html").getAttribute("lang"), "es", "the language");
  await fill(page);
  await page.locator("#place").click();
  await eventually(() => page.locator("#said").textContent(), (text) => /El pedido s-\w+ está hecho/.test(text), "the confirmation", PATIENCE);
  same(await page.evaluate(() => document.documentElement.scrollWidth), 360, "the width of the page");
  await axe(page, "on a phone");
  await page.locator("#language").selectOption("en");
  await becomes(() => page.locator("h1").textContent(), "One order, four ways to hear of it", "the title");
  await page.reload();
  await becomes(() => page.locator("html").getAttribute("lang"), "en", "the remembered language");
  guard.clean();
});

await one("dark, and with the keyboard alone", { colorScheme: "dark" }, async (page, guard) => {
  await open(page);
  await page.keyboard.press("Tab");
  same(await page.evaluate(() => document.activeElement.className), "skip", "the first stop");
  await page.locator("#name").focus();
  await page.keyboard.type("Ana");
  await page.keyboard.press("Tab");
  await page.keyboard.type("ana@example.com");
  await page.keyboard.press("Enter");
  await eventually(() => page.locator("#said").textContent(), (text) => /is placed/.test(text), "the confirmation", PATIENCE);
  await axe(page, "dark");
  guard.clean();
});

if (asked.shots) {
  for (const [file, settings] of [["shop.png", { deviceScaleFactor: 1.5 }], ["shop-dark.png", { colorScheme: "dark" }], ["shop-phone.png", PHONE]]) {
    await one(`picture ${file}`, { ...SHARP, viewport: { width: 1180, height: 860 }, ...settings }, async (page) => {
      await open(page);
      await fill(page);
      await page.screenshot({ path: join(asked.shots, file), fullPage: file === "shop.png" });
    });
  }
}

console.log(`${passed} passed, ${failed} failed`);
await browser.close();
process.exit(failed === 0 && passed > 0 ? 0 : 1);
