// The dashboards page in a browser, against a platform whose Prometheus has figures of all panels.
// Usage: node dashboards.mjs <operations url> [--shots DIR]
//   --only TEXT   only the checks whose name contains TEXT
//   --shots DIR   writes dashboards.png and dashboards-dark.png there, the pictures of docs/images
// Exit code 0 if all passed, 1 if one failed.

import { join } from "node:path";
import { parseArgs } from "node:util";
import { axe } from "./lib/axe.mjs";
import { launch } from "./lib/browser.mjs";
import { becomes, check, eventually } from "./lib/expect.mjs";
import { Guard } from "./lib/guard.mjs";

const { values: asked, positionals } = parseArgs({ allowPositionals: true, options: { shots: { type: "string" }, only: { type: "string" } } });
const ops = (positionals[0] ?? "").replace(/\/$/, "");
/** A machine that does everything else at the same time answers late. */
const PATIENCE = 60_000;

const browser = await launch([]);
let failed = 0;

async function one(name, settings, run) {
  if (!name.includes(asked.only ?? "")) return;
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, ...settings });
  const page = await context.newPage();
  const guard = await Guard.on(page);
  try {
    await run(page, guard);
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n     ${String(error.message ?? error)}`);
  } finally {
    await context.close();
  }
}

const open = (page, board, rest = "from=now-5m&refresh=") => page.goto(`${ops}/dashboards#board=${board}&${rest}`);
const states = (page) => page.locator(".card").evaluateAll((cards) => cards.map((card) => [card.dataset.panel, card.dataset.state]));
const setup = async () => (await fetch(`${ops}/dashboards/setup.json`)).json();

/** Every panel of a page, by scrolling it into view: what nobody sees is not asked for. */
async function everyPanel(page) {
  await eventually(() => page.locator(".card").count(), (count) => count > 5, "panels", PATIENCE);
  const cards = await page.locator(".card").all();
  for (const card of cards) {
    await card.scrollIntoViewIfNeeded();
    await eventually(() => card.getAttribute("data-state"), (state) => state !== "waiting", "a panel that waits", PATIENCE);
  }
  return states(page);
}

for (const { slug } of (await setup()).boards) {
  await one(`${slug}: every panel is drawn, none fails`, {}, async (page, guard) => {
    await open(page, slug);
    const found = await everyPanel(page);
    const failing = found.filter(([, state]) => state === "failed");
    check(failing.length === 0, `failed: ${JSON.stringify(failing)}`);
    const filled = found.filter(([, state]) => state === "filled").length;
    check(slug === "loadtest" || filled > found.length / 3, `${filled} of ${found.length} filled`);
    guard.clean();
  });
}

await one("every kind of panel draws something", {}, async (page, guard) => {
  const kinds = { overview: ["timeseries canvas", "heatmap canvas", "stat strong", "table td"], nats: ["gauge strong", "state-timeline .band i"], notifications: ["bargauge .bar"], loadtest: ["text strong"] };
  for (const [slug, wanted] of Object.entries(kinds)) {
    await open(page, slug);
    await page.reload();
    await everyPanel(page);
    for (const kind of wanted) check((await page.locator(`.${kind}`).count()) > 0, `${slug} has no .${kind}`);
  }
  guard.clean();
});

await one("what is chosen stands in the address and in the questions", {}, async (page, guard) => {
  const queries = [];
  page.on("request", (request) => queries.push(decodeURIComponent(request.url().replaceAll("+", " "))));
  await open(page, "overview");
  await page.locator('[data-variable="quantile"]').selectOption("0.5");
  await eventually(() => page.url(), (url) => url.includes("quantile=0.5"), "the address", PATIENCE);
  await eventually(() => queries.some((query) => query.includes("histogram_quantile(0.5, sum by (le, channel)")), Boolean, "a question for the median", PATIENCE);
  await page.locator("#range").selectOption("now-15m");
  await eventually(() => page.url(), (url) => url.includes("from=now-15m"), "the address", PATIENCE);
  await page.locator("#board").selectOption("nats");
  await becomes(() => page.title(), "Campana: NATS", "the title", PATIENCE);
  guard.clean();
});

await one("a phone needs no sideways scrolling", { viewport: { width: 360, height: 780 } }, async (page, guard) => {
  await open(page, "overview");
  await everyPanel(page);
  const [inside, shown] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  check(inside <= shown, `${inside} wide on a screen of ${shown}`);
  guard.clean();
});

for (const colorScheme of ["light", "dark"]) {
  await one(`axe-core finds nothing, ${colorScheme}`, { colorScheme }, async (page, guard) => {
    for (const slug of ["overview", "nats"]) {
      await open(page, slug);
      await page.reload();
      await everyPanel(page);
      await axe(page, slug);
    }
    guard.clean();
  });
}

await one("no data is said, and an error with what to do", {}, async (page) => {
  await page.route("**/dashboards/api/query_range*", (route) => {
    const empty = route.request().url().includes("campana_dead_letters_total");
    const body = empty ? { status: "success", data: { result: [] } } : { status: "error", error: "Prometheus cannot be reached: is it running?" };
    return route.fulfill({ status: empty ? 200 : 502, json: body });
  });
  await open(page, "overview");
  const found = Object.fromEntries(await everyPanel(page));
  check(found["New dead letters by consumer"] === "empty", JSON.stringify(found));
  check(found["Traffic"] === undefined && found["Accepted by priority"] === "failed", JSON.stringify(found));
  check((await page.locator(".failed").first().textContent()).includes("is it running"), "no words");
});

await one("without a Prometheus the page says how to get one", {}, async (page, guard) => {
  await page.route("**/setup.json", (route) => route.fulfill({ json: { prometheus: false, boards: [] } }));
  await open(page, "overview");
  await page.getByText("ops.prometheus_url").first().waitFor({ timeout: PATIENCE });
  guard.clean();
});

if (asked.shots) {
  const pictures = [["dashboards", "overview", "light", 1240], ["dashboards-dark", "notifications", "dark", 1240]];
  for (const [name, slug, colorScheme, height] of pictures) {
    await one(`picture of ${slug}`, { colorScheme, viewport: { width: 1280, height } }, async (page) => {
      await open(page, slug);
      await everyPanel(page);
      await page.evaluate(() => scrollTo(0, 0));
      await page.mouse.move(2, 2);
      await page.screenshot({ path: join(asked.shots, `${name}.png`) });
    });
  }
}

await browser.close();
console.log(failed === 0 ? "all passed" : `${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
