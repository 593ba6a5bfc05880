// The landing page in a browser, against a running `campana up`.
// Usage: node landing.mjs <gateway url> [--shots DIR] [--only TEXT]
//   --shots DIR   writes landing.png, landing-dark.png and landing-phone.png there, the pictures of docs/images
// Exit code 0 if all passed, 1 if one failed.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { axe } from "./lib/axe.mjs";
import { launch } from "./lib/browser.mjs";
import { becomes, check, eventually, same } from "./lib/expect.mjs";
import { Guard } from "./lib/guard.mjs";
import { Platform } from "./lib/platform.mjs";
import { packed } from "./lib/png.mjs";

const { values: asked, positionals } = parseArgs({ allowPositionals: true, options: { shots: { type: "string" }, only: { type: "string" } } });
const gateway = (positionals[0] ?? "").replace(/\/$/, "");
/** A machine that does everything else at the same time answers late. */
const PATIENCE = 60_000;
const PICTURE_BYTES_MAX = 200_000;
const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };
/** What a browser logs when nobody answers, as these checks arrange it. */
const AWAY = /ERR_(FAILED|CONNECTION|EMPTY|ABORTED)|net::ERR/;

const browser = await launch([]);
let passed = 0;
let failed = 0;

async function one(name, settings, run) {
  if (!name.includes(asked.only ?? "")) return;
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, locale: "en-GB", ...settings });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const guard = await Guard.on(page);
  const started = performance.now();
  try {
    await run(page, guard);
    passed += 1;
    console.log(`ok   ${name} (${Math.round(performance.now() - started)} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n     ${String(error.message ?? error)}`);
    if (asked.shots) await page.screenshot({ path: join(asked.shots, `failed-${failed}.png`) }).catch(() => {});
  } finally {
    await context.close();
  }
}

const state = (page) => page.locator("#conn").getAttribute("data-state");
const figure = (page, name) => page.locator(`[data-n="${name}"]`).first().textContent();
const stageNames = (page) => page.locator("#stages li").evaluateAll((rows) => rows.map((row) => row.dataset.stage));
const unread = (page) => page.locator("#bell").evaluate((bell) => bell.unread);
const overview = async () => (await fetch(`${gateway}/overview.json`)).json();

async function open(page) {
  await page.goto(`${gateway}/`);
  await becomes(() => state(page), "live", "the platform's state", PATIENCE);
  await becomes(() => page.locator("#bell").getAttribute("state"), "connected", "the bell's state", PATIENCE);
}

async function ringIt(page) {
  await page.locator("#ring").click();
  await page.locator("#measured").waitFor();
  await eventually(() => page.locator("#took").textContent(), (text) => /^\d[\d.,]* (ms|s)$/.test(text), "the time it took", PATIENCE);
}

async function noSideways(page, where) {
  const wide = await page.evaluate(() => document.scrollingElement.scrollWidth);
  check(wide <= PHONE.viewport.width, `${where} is ${wide} px wide on a screen of ${PHONE.viewport.width} px`);
}

await one("the page loads without complaints, its numbers appear, and they move after a ring", {}, async (page, guard) => {
  const answer = await page.goto(`${gateway}/`);
  const policy = answer.headers()["content-security-policy"] ?? "";
  check(/default-src 'none'/.test(policy) && !/unsafe/.test(policy), `a strict content security policy, not ${JSON.stringify(policy)}`);
  await open(page);
  await eventually(() => figure(page, "accepted"), (text) => /^\d/.test(text), "accepted notifications", PATIENCE);
  await eventually(() => figure(page, "disk"), (text) => /^[\d.]+ \w?i?B$/.test(text), "bytes of JetStream", PATIENCE);
  await eventually(() => figure(page, "clients"), (text) => Number(text) >= 1, "connected clients, this page's bell among them", PATIENCE);
  same(await page.locator("#result .empty").isVisible(), true, "the empty state");
  const before = (await overview()).numbers;
  await ringIt(page);
  await becomes(() => figure(page, "accepted"), String(before.accepted.total + 1), "accepted notifications", PATIENCE);
  await eventually(() => page.locator("#curve-accepted").getAttribute("points"), (points) => /\d/.test(points), "the line of the last minutes", PATIENCE);
  await eventually(() => page.locator('[data-channel="in_app"] [data-c="p50"]').textContent(), (text) => / m?s$/.test(text), "half of the deliveries", PATIENCE);
  guard.clean();
});

await one("a ring shows its stages, and its e-mail", {}, async (page, guard) => {
  await open(page);
  await ringIt(page);
  same(await stageNames(page), ["stored", "dispatched", "edge", "socket", "mail"], "stages");
  const times = page.locator("#stages li b");
  await eventually(() => times.allTextContents(), (all) => all.every((text) => /^[\d.]+ m?s$/.test(text)), "times of all stages", PATIENCE);
  await becomes(async () => (await page.getByTestId("bell-badge").allTextContents()).length, 1, "a badge on the bell", PATIENCE);
  await becomes(() => page.locator("#ring").textContent(), "Ring it again", "the button");
  check(/^It took /.test(await page.locator("#said").textContent()), "a screen reader is told");
  guard.clean();
});

await one("links lead where they say", {}, async (page, guard) => {
  await open(page);
  const { links, apps } = await overview();
  for (const name of ["mailbox", "dashboards", "metrics", "health"]) {
    same(await page.locator(`[data-link="${name}"]`).getAttribute("href"), links[name], name);
  }
  const addresses = await page.locator("main a[href]").evaluateAll((all) => all.map((anchor) => anchor.href));
  check(addresses.length > 25, `${addresses.length} links`);
  for (const address of new Set(addresses.map((text) => text.split("#")[0]))) {
    same((await fetch(address)).status, 200, address);
  }
  for (const app of ["clinic", "chat", "shop", "support"]) {
    const known = apps.find(({ name }) => name === app);
    same(await page.locator(`[data-app="${app}"]`).getAttribute("data-state"), known?.state ?? "absent", `state of ${app}`);
  }
  same(await page.locator("#apps-none").isVisible(), apps.length === 0, "how to start the applications");
  guard.clean();
});

await one("the command can be copied, and rings", { permissions: ["clipboard-read", "clipboard-write"] }, async (page, guard) => {
  await open(page);
  await eventually(() => page.locator("#curl").textContent(), (text) => /Bearer ck_\w{8}/.test(text), "a working key", PATIENCE);
  await becomes(() => page.locator("#bell").evaluate((bell) => bell.inbox.loaded), true, "the bell's history", PATIENCE);
  const before = await unread(page);
  await page.locator("#copy").click();
  await becomes(() => page.locator("#copied").textContent(), "Copied", "what a screen reader is told");
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  same(copied, await page.locator("#curl").textContent(), "what was copied");
  const [, url] = /curl -s (\S+)/.exec(copied);
  const [, key] = /Bearer (\S+)'/.exec(copied);
  const [, body] = /-d '(.*)'$/.exec(copied);
  const answer = await fetch(url, { method: "POST", headers: { authorization: `Bearer ${key}`, "content-type": "application/json" }, body });
  same(answer.status, 202, "the answer to the command");
  await becomes(() => unread(page), before + 1, "unread notifications on the bell", PATIENCE);
  guard.clean();
});

await one("applications in every state are told with their reason", {}, async (page, guard) => {
  const apps = [["clinic", "running"], ["chat", "restarting"], ["shop", "starting"], ["support", "missing"]]
    .map(([name, now]) => ({ name, title: name, url: `http://127.0.0.1:1/${name}`, state: now }));
  await page.route("**/overview.json", async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ json: { ...(await answer.json()), apps } });
  });
  await open(page);
  for (const { name, state: now, url } of apps) {
    const card = page.locator(`[data-app="${name}"]`);
    await becomes(() => card.getAttribute("data-state"), now, `state of ${name}`, PATIENCE);
    same(await card.locator("[data-open]").isVisible(), now === "running", `the button of ${name}`);
    same((await card.locator("[data-why]").textContent()) === "", now === "running", `the reason of ${name}`);
    if (now === "running") same(await card.locator("[data-open]").getAttribute("href"), url, "where it opens");
  }
  await axe(page, "applications in every state");
  guard.clean();
});

await one("a platform that is gone is told, and one that is back too", {}, async (page, guard) => {
  await open(page);
  await page.route("**/overview.json", (route) => route.abort());
  await becomes(() => state(page), "away", "the platform's state", PATIENCE);
  await page.locator("#away").waitFor();
  await axe(page, "the platform is away");
  await page.unroute("**/overview.json");
  await becomes(() => state(page), "live", "the platform's state", PATIENCE);
  same(await page.locator("#away").isVisible(), false, "the words about its absence");
  guard.clean(AWAY);
});

await one("nobody asks for a page that nobody sees", {}, async (page, guard) => {
  await open(page);
  let asks = 0;
  page.on("request", (request) => { asks += request.url().endsWith("/overview.json") ? 1 : 0; });
  await page.evaluate(() => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  // One may have been under way; what is hidden asks no more while a visible neighbour asks twice.
  const neighbour = await page.context().newPage();
  let seen = 0;
  const before = asks;
  neighbour.on("request", (request) => { seen += request.url().endsWith("/overview.json") ? 1 : 0; });
  await neighbour.goto(`${gateway}/`);
  await eventually(() => seen, (count) => count >= 3, "questions of the visible page", PATIENCE);
  check(asks - before <= 1, `${asks - before} questions of a hidden page`);
  await page.evaluate(() => {
    delete document.hidden;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await eventually(() => asks, (count) => count > before + 1, "questions after it is seen again", PATIENCE);
  guard.clean();
});

await one("without a demo the button says why", {}, async (page, guard) => {
  await page.route("**/demo/session", (route) => route.fulfill({ status: 404, json: {} }));
  await page.goto(`${gateway}/`);
  await becomes(() => page.locator("#ring-error").textContent(), "The demo is switched off on this platform (public.demo).", "the reason", PATIENCE);
  guard.clean(/404/);
});

await one("in Spanish, on a phone", { ...PHONE, locale: "es-CO" }, async (page, guard) => {
  await open(page);
  same(await page.locator("html").getAttribute("lang"), "es", "the language");
  await becomes(() => page.locator("h1").textContent(), "Una petición. Suenan todas las campanas.", "the title");
  await noSideways(page, "the page");
  await ringIt(page);
  await becomes(() => page.locator("#ring").textContent(), "Tócala otra vez", "the button");
  await noSideways(page, "after a ring");
  same(await page.locator("svg.walk:visible").count(), 1, "pictures of the walk");
  await axe(page, "Spanish, on a phone");
  const small = await page.locator("button:visible, select:visible, .tool, .reader a").evaluateAll((all) => all.filter((control) => control.getBoundingClientRect().height < 24).map((control) => control.outerHTML.slice(0, 80)));
  same(small, [], "controls smaller than 24 px");
  await page.locator("#language").selectOption("en");
  await becomes(() => page.locator("h1").textContent(), "One request. Every bell rings.", "the title");
  await page.reload();
  await becomes(() => page.locator("html").getAttribute("lang"), "en", "the remembered language");
  guard.clean();
});

for (const colorScheme of ["light", "dark"]) {
  await one(`axe-core finds nothing, ${colorScheme}`, { colorScheme, reducedMotion: "reduce" }, async (page, guard) => {
    await open(page);
    const sum = await page.locator("body").evaluate((body) => getComputedStyle(body).backgroundColor.match(/[\d.]+/g).slice(0, 3).map(Number).reduce((a, b) => a + b, 0));
    check(colorScheme === "dark" ? sum < 150 : sum > 600, `the background's sum is ${sum}`);
    await axe(page, `${colorScheme}, before a ring`);
    await ringIt(page);
    await axe(page, `${colorScheme}, after a ring`);
    await page.goto(`${gateway}/guides/docs/guide-service.md`);
    await axe(page, `${colorScheme}, a guide`);
    await page.goto(`${gateway}/guides`);
    await axe(page, `${colorScheme}, all guides`);
    guard.clean();
  });
}

await one("with the keyboard alone", {}, async (page, guard) => {
  await open(page);
  await page.keyboard.press("Tab");
  same(await page.evaluate(() => document.activeElement.className), "skip", "the first stop");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  same(await page.evaluate(() => document.activeElement.id), "ring", "the first stop of the content");
  await page.keyboard.press("Enter");
  await page.locator("#measured").waitFor();
  same(await page.evaluate(() => document.activeElement.id), "ring", "the focus stays");
  guard.clean();
});

await one("readable without JavaScript", { javaScriptEnabled: false }, async (page) => {
  await page.goto(`${gateway}/`);
  same(await page.locator("h1").textContent(), "One request. Every bell rings.", "the title");
  same(await page.locator("#ring").isVisible(), false, "a button that would do nothing");
  same(await page.locator("svg.walk:visible").count(), 1, "pictures of the walk");
  const { links } = await overview();
  same(await page.locator('[data-link="dashboards"]').getAttribute("href"), links.dashboards, "the dashboards");
  check((await page.locator("#curl").textContent()).includes(`${links.gateway}/v1/notifications`), "the command has an address");
});

await one("guides are pages on a phone, and lead on", PHONE, async (page, guard) => {
  for (const path of ["", "/README.md", "/docs/ARCHITECTURE.md", "/docs/reference/metrics.md", "/services/clinic/README.md"]) {
    await page.goto(`${gateway}/guides${path}`);
    await noSideways(page, `/guides${path}`);
  }
  await page.goto(`${gateway}/guides/docs/guide-effects.md`);
  await page.locator('main a[href$=".md"]').first().click();
  await page.locator("h1").waitFor();
  check(page.url().includes("/guides/"), page.url());
  guard.clean();
});

if (asked.shots) {
  await mkdir(asked.shots, { recursive: true });
  await traffic();
  const pictures = [["landing.png", { deviceScaleFactor: 1.25 }], ["landing-dark.png", { deviceScaleFactor: 1.25, colorScheme: "dark" }], ["landing-phone.png", { ...PHONE, viewport: { width: 390, height: 844 }, deviceScaleFactor: 1.5 }]];
  for (const [file, settings] of pictures) {
    await one(`picture ${file}`, { viewport: { width: 1240, height: 930 }, reducedMotion: "reduce", ...settings }, async (page) => {
      await open(page);
      await ringIt(page);
      await eventually(() => page.locator('[data-stage="mail"] b').textContent(), (text) => /m?s$/.test(text), "the e-mail's time", PATIENCE);
      // Toasts go by themselves after a while.
      await becomes(() => page.getByTestId("toast").count(), 0, "toasts", PATIENCE);
      await page.mouse.move(0, 0);
      const png = packed(await page.screenshot({ animations: "disabled" }));
      check(png.length <= PICTURE_BYTES_MAX, `${file} has ${png.length} bytes, more than ${PICTURE_BYTES_MAX}`);
      await writeFile(join(asked.shots, file), png);
    });
  }
}

/** A few real notifications over every channel, so that the pictures show a platform at work. */
async function traffic() {
  const platform = new Platform(gateway, gateway);
  const channels = ["in_app", "email", "sms", "whatsapp", "webhook"];
  for (let round = 0; round < 60; round += 1) {
    const wave = 2 + Math.round(2 * (1 + Math.sin(round / 7)));
    await new Promise((resolve) => setTimeout(resolve, 400));
    await Promise.all(Array.from({ length: wave }, (_, at) => platform.notify(["bob", "carol"][at % 2], `Order ${round}-${at}`, { channels: channels.slice(0, 1 + ((round + at) % 5)) })));
  }
}

console.log(`${passed} passed, ${failed} failed`);
await browser.close();
process.exit(failed === 0 && passed > 0 ? 0 : 1);
