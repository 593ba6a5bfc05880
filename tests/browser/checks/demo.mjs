// The demo page in use: it loads cleanly, rings, counts, marks as read, sends e-mail, and needs no mouse.

import { becomes, check, eventually, same } from "../lib/expect.mjs";
import { DemoTab } from "../lib/demo.mjs";
import { Guard } from "../lib/guard.mjs";
import { freshUser } from "../lib/platform.mjs";

export const demoChecks = [
  ["the demo page loads without errors, policy violations or a request to another host", loadsCleanly],
  ["the bell connects to the edge", connects],
  ["\"Ring it\" raises badge, toast and row, and shows the time it took", rings],
  ["own words arrive as text, never as markup", ownWords],
  ["fifty at once are fifty rows, each once", burst],
  ["reading one and reading all empties the badge, in a second tab as well", readEverywhere],
  ["the e-mail box sends a mail that the sandbox page shows live", mailLive],
  ["everything works with the keyboard alone", keyboardOnly],
  ["another user sees nothing of the first one's inbox", otherUser],
];

async function loadsCleanly({ context, platform }) {
  const page = await context.newPage();
  const guard = await Guard.on(page);
  const answer = await page.goto(`${platform.gateway}/bell`, { waitUntil: "load" });
  same(answer.status(), 200, "status of the page");
  const policy = answer.headers()["content-security-policy"] ?? "";
  check(/default-src 'self'/.test(policy) && !/unsafe/.test(policy), `a strict content security policy, not ${JSON.stringify(policy)}`);
  await page.getByRole("heading", { level: 1 }).waitFor();
  await becomes(() => page.getByTestId("conn-state").getAttribute("data-state"), "connected", "state");
  check(guard.requests >= 5, `the guard saw only ${guard.requests} requests`);
  guard.clean();
}

async function connects({ context, platform }) {
  const user = freshUser("connect");
  const tab = await DemoTab.open(context, platform, user);
  await becomes(() => tab.text("conn-state"), "Live", "words of the state");
  await becomes(() => tab.text("channel"), `inbox:#${user}`, "channel");
  check((await tab.text("channel-epoch")).length > 1, "the epoch of the channel is shown");
  same(tab.guard.sockets, [(await platform.edge()).href], "WebSocket connections");
  tab.guard.clean();
}

async function rings({ context, platform }) {
  const tab = await DemoTab.open(context, platform, freshUser("ring"));
  same(await tab.badge(), "", "badge before");
  await tab.at("ring").click();
  await tab.at("toast").waitFor();
  await tab.badgeBecomes("1");
  await becomes(async () => /^\d/.test(await tab.text("last-latency")), true, "a measured time");
  const latency = await tab.latency();
  check(latency > 0 && latency < 5_000, `a plausible time, not ${latency} ms`);
  check(/^[0-9a-f]{32}$/.test(await tab.text("trace-id")), "the trace id is shown");
  const title = await tab.at("toast").locator(".title").textContent();
  await tab.openPanel();
  const items = await tab.items();
  same(items.map((item) => [item.title, item.unread]), [[title, true]], "rows");
  await becomes(() => tab.at("toast").count(), 0, "toasts beside the open panel");
  await becomes(async () => (await tab.text("bell-announcer")).includes(title), true, "a screen reader is told");
  tab.guard.clean();
}

async function ownWords({ context, platform }) {
  const tab = await DemoTab.open(context, platform, freshUser("words"));
  const words = "<img src=x onerror=alert(1)> 🔔 Grüße";
  await tab.at("words").fill(words);
  await tab.at("ring").click();
  await tab.badgeBecomes("1");
  await tab.openPanel();
  same((await tab.items())[0].title, words, "title of the row");
  same(await tab.at("bell-panel").locator("img").count(), 0, "images in the panel");
  tab.guard.clean();
}

async function burst({ context, platform }) {
  const user = freshUser("burst");
  const tab = await DemoTab.open(context, platform, user);
  await tab.at("ring-50").click();
  await tab.badgeBecomes("50");
  // What comes after the burst on the same channel proves that no second copy is still under way.
  await platform.notify(user, "The last one");
  await tab.badgeBecomes("51");
  const arrivals = (await tab.arrivals()).map(({ id }) => id);
  same([arrivals.length, new Set(arrivals).size], [51, 51], "arrivals, and different ones");
  await becomes(async () => (await tab.text("stat-count")), "of 50 rings", "measured rings");
  await tab.openPanel();
  const items = await tab.items();
  same([items.length, new Set(items.map((item) => item.id)).size], [51, 51], "rows, and different ones");
  same(items[0].title, "The last one", "newest row");
  check((await tab.at("toast").count()) <= 3, "a burst does not bury the page in toasts");
  tab.guard.clean();
}

async function readEverywhere({ context, platform }) {
  const user = freshUser("read");
  const [first, second] = [await DemoTab.open(context, platform, user), await DemoTab.open(context, platform, user)];
  await platform.notifyAll(user, ["One", "Two", "Three"]);
  await Promise.all([first.badgeBecomes("3", "first tab"), second.badgeBecomes("3", "second tab")]);
  await first.openPanel();
  await second.openPanel();
  await first.at("bell-item").nth(1).locator(".row").click();
  await Promise.all([first.badgeBecomes("2", "first tab"), second.badgeBecomes("2", "second tab")]);
  await becomes(async () => (await second.items()).map((item) => item.unread), [true, false, true], "unread rows of the second tab");
  await first.at("bell-mark-all").click();
  await Promise.all([first.badgeBecomes("", "first tab"), second.badgeBecomes("", "second tab")]);
  same(await second.unread(), 0, "unread rows of the second tab");
  // Read stays read: also in a tab that only knows the history.
  const third = await DemoTab.open(context, platform, user);
  await third.openPanel();
  await becomes(async () => (await third.items()).map((item) => item.unread), [false, false, false], "unread rows of a new tab");
  same(await third.badge(), "", "badge of a new tab");
  for (const tab of [first, second, third]) tab.guard.clean();
}

async function mailLive({ context, platform }) {
  const user = freshUser("mail");
  const sandbox = await context.newPage();
  const guard = await Guard.on(sandbox);
  await sandbox.goto(`${platform.sandbox}/`);
  await becomes(() => sandbox.locator("#live").getAttribute("data-state"), "live", "state of the sandbox page");
  await sandbox.evaluate(() => { globalThis.notReloaded = true; });
  const tab = await DemoTab.open(context, platform, user);
  const subject = `Supper at eight, ${user}`;
  await tab.at("words").fill(subject);
  await tab.at("with-email").check();
  await tab.at("ring").click();
  await tab.badgeBecomes("1");
  const row = sandbox.locator("#list button", { hasText: `${user}@example.com` });
  await row.waitFor();
  same(await row.count(), 1, "mails to this user");
  same(await sandbox.evaluate(() => globalThis.notReloaded), true, "the page was not loaded again");
  await row.click();
  await sandbox.locator("#detail h2").filter({ hasText: subject }).waitFor();
  await sandbox.getByRole("tab", { name: "Headers" }).click();
  const headers = await sandbox.locator("#panel").textContent();
  check(/message-id/i.test(headers), "the mail has a Message-ID");
  await eventually(() => platform.sandboxMessages(`${user}@example.com`), (mails) => mails.length === 1, "one mail is recorded");
  tab.guard.clean();
  guard.clean();
}

async function keyboardOnly({ context, platform }) {
  const user = freshUser("keys");
  const tab = await DemoTab.open(context, platform, user);
  const { page } = tab;
  await tabTo(tab, "ring");
  await page.keyboard.press("Enter");
  await tab.badgeBecomes("1");
  await page.keyboard.press("Space");
  await tab.badgeBecomes("2");
  await tabTo(tab, "bell-button", "Shift+Tab");
  check(await focusIsVisible(page), "the focus is visible on the bell");
  await page.keyboard.press("Enter");
  await tab.at("bell-panel").waitFor({ state: "visible" });
  await becomes(() => tab.at("bell-button").getAttribute("aria-expanded"), "true", "aria-expanded");
  await tabToRow(tab);
  check(await focusIsVisible(page), "the focus is visible on a row");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await tab.badgeBecomes("1");
  await becomes(async () => (await tab.items()).map((item) => item.unread), [true, false], "unread rows");
  await page.keyboard.press("Escape");
  await tab.at("bell-panel").waitFor({ state: "hidden" });
  await becomes(() => focused(page), "bell-button", "focus after Escape");
  await tabTo(tab, "with-email");
  await page.keyboard.press("Space");
  await becomes(() => tab.at("with-email").isChecked(), true, "the e-mail box");
  await tabTo(tab, "tab-element");
  await page.keyboard.press("ArrowRight");
  await becomes(async () => /new Centrifuge/.test(await tab.text("snippet")), true, "the second snippet");
  await tabTo(tab, `user-${user}`, "Shift+Tab");
  await page.keyboard.press("ArrowUp");
  await becomes(() => tab.text("channel"), "inbox:#dave", "channel after choosing another user");
  tab.guard.clean();
}

async function otherUser({ context, platform }) {
  const [one, two] = [freshUser("anna"), freshUser("ben")];
  const tab = await DemoTab.open(context, platform, one);
  const other = await DemoTab.open(context, platform, two);
  await tab.at("ring").click();
  await tab.badgeBecomes("1");
  await platform.notify(two, "For Ben");
  await other.badgeBecomes("1");
  await other.openPanel();
  await becomes(async () => (await other.items()).map((item) => item.title), ["For Ben"], "rows of the other user");
  // The same page becomes somebody else: nothing of the first user may stay.
  await tab.at("user-carol").check({ force: true });
  await becomes(() => tab.text("channel"), "inbox:#carol", "channel");
  await tab.connected();
  await tab.openPanel();
  same((await tab.items()).filter((item) => item.title === "For Ben").length, 0, "rows of a stranger");
  const arrived = (await tab.arrivals()).map(({ id }) => id);
  same((await tab.items()).filter((item) => arrived.includes(item.notification)).length, 0, "rows of the user before");
}

const MANY_TABS = 60;

/** Presses Tab until the element with this test id (or id) has the focus. */
async function tabTo({ page }, wanted, key = "Tab") {
  const seen = [];
  for (let pressed = 0; pressed < MANY_TABS; pressed += 1) {
    const name = await focused(page);
    if (name === wanted) return;
    seen.push(name);
    await page.keyboard.press(key);
  }
  throw new Error(`${key} never reaches ${wanted}, only ${[...new Set(seen)].join(", ")}`);
}

async function tabToRow({ page }) {
  for (let pressed = 0; pressed < 6; pressed += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.querySelector("campana-bell").shadowRoot.activeElement?.matches("li .row") === true)) return;
  }
  throw new Error("Tab never reaches a row of the list");
}

function focused(page) {
  return page.evaluate(() => {
    let at = document.activeElement;
    while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
    return at === null ? "" : (at.dataset.testid ?? (at.id || at.tagName));
  });
}

function focusIsVisible(page) {
  return page.evaluate(() => {
    let at = document.activeElement;
    while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(at);
    return (outlineStyle !== "none" && outlineWidth !== "0px") || boxShadow !== "none";
  });
}
