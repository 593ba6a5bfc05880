// The page of examples in one tab, and each of its bells.

import { becomes } from "./expect.mjs";
import { Guard } from "./guard.mjs";

export const BELLS = ["plain", "tabs", "themed", "language"];

export class ExamplesTab {
  constructor(page, guard) {
    this.page = page;
    this.guard = guard;
  }

  /** Opens the page and waits for all of its bells. */
  static async open(context, platform, user) {
    const page = await context.newPage();
    const guard = await Guard.on(page);
    await page.goto(`${platform.gateway}/examples?user=${encodeURIComponent(user)}`);
    const tab = new ExamplesTab(page, guard);
    for (const name of BELLS) await becomes(() => tab.page.getByTestId(`bell-${name}`).getAttribute("state"), "connected", `state of the bell "${name}"`);
    return tab;
  }

  bell(name) {
    return new Bell(this.page, this.page.getByTestId(`bell-${name}`));
  }

  text(testid) {
    return this.page.getByTestId(testid).textContent();
  }

  /** Sends one after the other has arrived: what is sent together comes in any order. */
  async inOrder(platform, user, titles, extra = {}) {
    const newest = this.page.getByTestId("headless-list").locator("li > span").first();
    for (const title of titles) {
      await platform.notify(user, title, extra);
      await newest.filter({ hasText: title }).waitFor();
    }
  }
}

/** One bell of a page. */
export class Bell {
  constructor(page, host) {
    this.page = page;
    this.host = host;
  }

  at(testid) {
    return this.host.getByTestId(testid);
  }

  async badge() {
    return (await this.at("bell-badge").allTextContents()).join();
  }

  async badgeBecomes(text, what = "the badge") {
    await becomes(() => this.badge(), text, what);
  }

  async open() {
    if (!(await this.at("bell-panel").isVisible())) await this.at("bell-button").click();
    await this.at("bell-panel").waitFor({ state: "visible" });
    await becomes(() => this.at("bell-button").getAttribute("aria-expanded"), "true", "aria-expanded");
  }

  async close() {
    if (await this.at("bell-panel").isVisible()) await this.at("bell-close").click();
    await this.at("bell-panel").waitFor({ state: "hidden" });
  }

  async choose(tab) {
    const button = this.host.locator(`[data-tab="${tab}"]`);
    await button.click();
    await becomes(() => button.getAttribute("aria-selected"), "true", `the tab "${tab}" is chosen`);
  }

  row(at) {
    return this.at("bell-item").nth(at);
  }

  titles() {
    return this.at("bell-item").locator(".title bdi").allTextContents();
  }

  async titlesBecome(titles, what = "rows") {
    await becomes(() => this.titles(), titles, what);
  }

  /** Where the focus is: a test id, or the title of a row. */
  focused() {
    return this.host.evaluate((host) => {
      const at = host.shadowRoot.activeElement;
      if (at === null) return "";
      return at.matches(".row") ? at.querySelector(".title bdi").textContent : (at.dataset.tab ?? at.dataset.testid ?? at.id);
    });
  }

  async focusBecomes(name) {
    await becomes(() => this.focused(), name, "focus");
  }
}
