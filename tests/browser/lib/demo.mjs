// The demo page in one tab: opening it as a user, and what its bell shows.

import { becomes, check, same } from "./expect.mjs";
import { Guard } from "./guard.mjs";

export class DemoTab {
  constructor(page, guard) {
    this.page = page;
    this.guard = guard;
  }

  /** Opens the page and waits for its bell to be connected. */
  static async open(context, platform, user) {
    const page = await context.newPage();
    const guard = await Guard.on(page);
    await page.addInitScript(keepEvents);
    const tab = new DemoTab(page, guard);
    await page.goto(`${platform.gateway}/demo?user=${encodeURIComponent(user)}`);
    await tab.connected();
    return tab;
  }

  at(testid) {
    return this.page.getByTestId(testid);
  }

  text(testid) {
    return this.at(testid).textContent();
  }

  state() {
    return this.at("conn-state").getAttribute("data-state");
  }

  async connected(patience) {
    await becomes(() => this.state(), "connected", "state of the connection", patience);
  }

  /** The number on the bell as its user sees it; "" without a badge. */
  async badge() {
    // In one look: between a count and a text the badge may go away.
    return (await this.at("bell-badge").allTextContents()).join();
  }

  async badgeBecomes(text, what = "the badge") {
    await becomes(() => this.badge(), text, what);
  }

  async openPanel() {
    if (!(await this.at("bell-panel").isVisible())) await this.at("bell-button").click();
    await this.at("bell-panel").waitFor({ state: "visible" });
    // The browser shows the popover first; the element hears of it a moment later and draws the rows.
    await becomes(() => this.at("bell-button").getAttribute("aria-expanded"), "true", "aria-expanded");
  }

  async closePanel() {
    if (await this.at("bell-panel").isVisible()) await this.at("bell-close").click();
    await this.at("bell-panel").waitFor({ state: "hidden" });
  }

  /** The rows of the open panel, newest first. */
  items() {
    return this.at("bell-item").evaluateAll((rows) => rows.map((row) => ({
      id: row.dataset.id,
      notification: row.dataset.notificationId,
      unread: row.dataset.unread === "true",
      title: row.querySelector(".title").textContent.replace(/^Unread: /, ""),
    })));
  }

  async unread() {
    return (await this.items()).filter((item) => item.unread).length;
  }

  /** The notifications that the bell announced to the page, as they came: `[{id, offset}]`. */
  arrivals() {
    return this.page.evaluate(() => globalThis.campanaArrivals);
  }

  /** Every state that the bell has reported, in their order. */
  states() {
    return this.page.evaluate(() => globalThis.campanaStates);
  }

  /** The bell announced exactly these, each once, in the channel's order; and its list shows them. */
  async hasEachOnce(ids, patience) {
    const wanted = new Set(ids);
    const of = (all) => all.filter((id) => wanted.has(id));
    const announced = async () => of((await this.arrivals()).map(({ id }) => id));
    await becomes(async () => new Set(await announced()).size, wanted.size, "notifications that arrived", patience);
    const arrived = await announced();
    same(arrived.length, ids.length, "arrivals, counting repeated ones");
    const offsets = (await this.arrivals()).map(({ offset }) => offset);
    same(offsets, offsets.toSorted((a, b) => a - b), "offsets in the order of arrival");
    await this.openPanel();
    await becomes(async () => of((await this.items()).map((item) => item.notification)).length, ids.length, "rows of the list");
    const rows = (await this.items()).map((item) => item.notification);
    same(new Set(rows).size, rows.length, "different rows");
    same(of(rows).toReversed(), arrived, "order of the rows, oldest first");
    await this.closePanel();
  }

  /** The newest measured time from click to bell, in milliseconds. */
  async latency() {
    const text = await this.text("last-latency");
    const found = /^([0-9.]+) (ms|s)$/.exec(text);
    check(found !== null, `no measured time in ${JSON.stringify(text)}`);
    return Number(found[1]) * (found[2] === "s" ? 1_000 : 1);
  }
}

/** Runs in the page before its own scripts. */
function keepEvents() {
  globalThis.campanaArrivals = [];
  globalThis.campanaStates = [];
  addEventListener("campana-notification", ({ detail: { notification } }) => {
    globalThis.campanaArrivals.push({ id: notification.notification_id, offset: notification.offset });
  });
  addEventListener("campana-state", ({ detail: { state } }) => globalThis.campanaStates.push(state));
}
