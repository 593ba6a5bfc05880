// How the pages look and read: dark mode, narrow screens, and what axe-core finds in every state.

import { axe } from "../lib/axe.mjs";
import { becomes, check, same } from "../lib/expect.mjs";
import { DemoTab } from "../lib/demo.mjs";
import { Guard } from "../lib/guard.mjs";
import { freshUser } from "../lib/platform.mjs";

const PHONE = { width: 360, height: 740 };

export const looksChecks = [
  ["the demo page fits 360 px, with panel, toast and measurements", demoOnPhone],
  ["the sandbox page fits 360 px, with list and message", sandboxOnPhone],
  ["dark mode is dark on both pages", dark],
  ["axe-core finds nothing on the demo page, light and dark", axeDemo],
  ["axe-core finds nothing on the sandbox page, light and dark", axeSandbox],
];

async function demoOnPhone({ newContext, platform }) {
  const context = await newContext({ viewport: PHONE, isMobile: true, hasTouch: true });
  const tab = await DemoTab.open(context, platform, freshUser("a-user-with-a-rather-long-name-on-a-phone"));
  await noSideways(tab.page, "the page");
  await tab.at("words").fill("Averylongwordthatnobodywouldevertypebutsomebodysurelydoeswithoutasinglespace and more of it");
  await tab.at("ring-50").tap();
  await tab.badgeBecomes("50");
  await tab.at("toast").first().waitFor();
  await noSideways(tab.page, "with toasts and measurements");
  await tab.openPanel();
  await noSideways(tab.page, "with the open panel");
  const box = await tab.at("bell-panel").boundingBox();
  check(box.x >= 0 && box.x + box.width <= PHONE.width + 0.5, `the panel stays on the screen: ${JSON.stringify(box)}`);
  const small = await smallTargets(tab.page);
  same(small, [], "controls smaller than 24 px");
  tab.guard.clean();
}

async function sandboxOnPhone({ newContext, platform }) {
  const context = await newContext({ viewport: PHONE, isMobile: true, hasTouch: true });
  const user = await mailTo(platform, "phone");
  const page = await openSandbox(context, platform);
  await noSideways(page, "the list");
  await page.locator("#list button", { hasText: user }).tap();
  await page.locator("#detail h2").waitFor();
  await noSideways(page, "a message");
  for (const name of ["Headers", "Envelope", "Raw"]) {
    await page.getByRole("tab", { name }).tap();
    await noSideways(page, `the tab ${name}`);
  }
  await page.getByRole("button", { name: "Back to the list" }).tap();
  await page.locator("#open-faults").tap();
  await page.locator("#faults").waitFor();
  await noSideways(page, "the faults");
}

async function dark({ newContext, platform }) {
  for (const [scheme, wanted] of [["light", (sum) => sum > 600], ["dark", (sum) => sum < 150]]) {
    const context = await newContext({ colorScheme: scheme });
    const tab = await DemoTab.open(context, platform, freshUser(scheme));
    await tab.openPanel();
    const panel = tab.at("bell-panel");
    const places = { page: tab.page.locator("body"), panel, sandbox: (await openSandbox(context, platform)).locator("body") };
    for (const [name, place] of Object.entries(places)) {
      const colour = await place.evaluate((node) => getComputedStyle(node).backgroundColor);
      const sum = colour.match(/[\d.]+/g).slice(0, 3).map(Number).reduce((a, b) => a + b, 0);
      check(wanted(sum), `${name} in ${scheme} mode has the background ${colour}`);
    }
    await context.close();
  }
}

async function axeDemo({ newContext, platform }) {
  for (const colorScheme of ["light", "dark"]) {
    const context = await newContext({ colorScheme, reducedMotion: "reduce" });
    const user = freshUser("axe");
    const tab = await DemoTab.open(context, platform, user);
    await axe(tab.page, `${colorScheme}, fresh`);
    await tab.openPanel();
    await axe(tab.page, `${colorScheme}, empty panel`);
    await tab.closePanel();
    await tab.at("ring-50").click();
    await tab.badgeBecomes("50");
    await tab.at("toast").first().waitFor();
    await axe(tab.page, `${colorScheme}, toasts and measurements`);
    await tab.openPanel();
    await tab.at("bell-item").first().locator(".row").click();
    await tab.badgeBecomes("49");
    await axe(tab.page, `${colorScheme}, panel with read and unread rows`);
    await tab.page.route("**/demo/session", (route) => route.abort());
    await tab.page.reload();
    await tab.at("session-error").waitFor();
    await axe(tab.page, `${colorScheme}, no session`);
    await context.close();
  }
}

async function axeSandbox({ newContext, platform }) {
  const user = await mailTo(platform, "axe");
  for (const colorScheme of ["light", "dark"]) {
    const context = await newContext({ colorScheme, reducedMotion: "reduce" });
    const page = await openSandbox(context, platform);
    await page.locator("#list button").first().waitFor();
    await axe(page, `${colorScheme}, list`);
    await page.locator("#list button", { hasText: user }).click();
    await page.locator("#detail h2").waitFor();
    await axe(page, `${colorScheme}, message`);
    await page.getByRole("tab", { name: "Headers" }).click();
    await axe(page, `${colorScheme}, headers`);
    await page.locator("#open-faults").click();
    await page.locator("#presets li").first().waitFor();
    await axe(page, `${colorScheme}, faults`);
    await page.locator("#close-faults").click();
    await page.locator("#search").fill("nothing has these words");
    await page.locator("#empty").waitFor();
    await axe(page, `${colorScheme}, nothing found`);
    await context.close();
  }
}

async function openSandbox(context, platform) {
  const page = await context.newPage();
  const guard = await Guard.on(page);
  await page.goto(`${platform.sandbox}/`);
  await becomes(() => page.locator("#live").getAttribute("data-state"), "live", "state of the sandbox page");
  guard.clean();
  return page;
}

/** A mail in the sandbox, and the name in its address. */
async function mailTo(platform, name) {
  const user = freshUser(name);
  const to = { id: user, email: `${user}@example.com` };
  await platform.notify(to, "Your parcel is on its way", { channels: ["email"] });
  await becomes(async () => (await platform.sandboxMessages(user)).length, 1, "mails in the sandbox");
  return user;
}

/** No part of the page is wider than the screen: nobody has to scroll sideways. */
async function noSideways(page, where) {
  const { wide, screen } = await page.evaluate(() => ({ wide: document.scrollingElement.scrollWidth, screen: innerWidth }));
  check(wide <= screen && screen === PHONE.width, `${where} is ${wide} px wide on a screen of ${screen} px`);
}

/** Controls that a finger misses (WCAG 2.2, 2.5.8). Inline links in text are exempt. */
function smallTargets(page) {
  return page.evaluate(() => {
    const shadow = document.querySelector("campana-bell").shadowRoot;
    const controls = [...document.querySelectorAll("button, input"), ...shadow.querySelectorAll("button")];
    return controls.flatMap((control) => {
      const target = control.closest("label") ?? control;
      const { width, height } = target.getBoundingClientRect();
      return width > 0 && (width < 24 || height < 24) ? [control.id || control.dataset.testid || control.className] : [];
    });
  });
}
