// The page of examples: every example works, in every language and on every screen, and axe-core finds nothing.

import { axe } from "../lib/axe.mjs";
import { BELLS, ExamplesTab } from "../lib/examples.mjs";
import { becomes, check, same } from "../lib/expect.mjs";
import { freshUser } from "../lib/platform.mjs";

const PHONE = { width: 360, height: 740 };

export const examplesChecks = [
  ["the page of examples loads cleanly, and all of its inboxes are one", oneInbox],
  ["the bell speaks the language and follows the direction of its page", languages],
  ["the page of examples fits 360 px, with every panel", onPhone],
  ["axe-core finds nothing on the page of examples, light and dark", axeExamples],
];

async function oneInbox({ context, platform }) {
  const user = freshUser("examples");
  const tab = await ExamplesTab.open(context, platform, user);
  same(await tab.text("who"), user, "the user");
  await tab.page.getByTestId("ring").click();
  await tab.page.getByTestId("ring-order").click();
  for (const name of ["plain", "tabs", "themed"]) await tab.bell(name).badgeBecomes("2", `the badge of "${name}"`);
  await becomes(() => tab.text("headless-unread"), "2", "the headless count");
  await becomes(async () => /^2 unread, 2 unseen, 2 loaded/.test(await tab.text("hook-root")), true, "the framework's component");
  await tab.page.getByTestId("headless-list").getByRole("button", { name: "Mark read" }).first().click();
  for (const name of ["plain", "themed"]) await tab.bell(name).badgeBecomes("1", `the badge of "${name}"`);
  await tab.page.reload();
  await tab.page.getByTestId("hook-root").getByRole("button", { name: "Load earlier" }).click();
  await tab.page.getByTestId("hook-root").getByRole("button", { name: "Everything is here" }).waitFor();
  check((await tab.page.locator("#headless-code").textContent()).includes('from "campana-bell/headless"'), "the code that is shown is the code that runs");
  tab.guard.clean();
}

async function languages({ context, platform }) {
  const user = freshUser("languages");
  const tab = await ExamplesTab.open(context, platform, user);
  const bell = tab.bell("language");
  await platform.notifyAll(user, ["Eins", "Zwei"]);
  await tab.bell("plain").badgeBecomes("2");
  const wanted = { en: ["Notifications", "2 unread", "ltr"], de: ["Mitteilungen", "2 ungelesene", "ltr"], fr: ["Notifications", "2 non lues", "ltr"], ar: ["الإشعارات", "2 غير مقروءة", "rtl"] };
  for (const [lang, [title, count, direction]] of Object.entries(wanted)) {
    await tab.page.getByTestId(`language-${lang}`).click();
    await becomes(() => bell.at("bell-button").getAttribute("aria-label"), `${title}, ${count}`, `name of the bell in ${lang}`);
    await bell.open();
    const panel = bell.at("bell-panel");
    same(await panel.evaluate((node) => getComputedStyle(node).direction), direction, `direction in ${lang}`);
    const [box, close] = [await panel.boundingBox(), await bell.at("bell-close").boundingBox()];
    same(close.x - box.x > box.width / 2, direction === "ltr", `the close button is at the end in ${lang}`);
    check(box.x >= 0 && box.x + box.width <= 1_280, `the panel is on the screen in ${lang}: ${JSON.stringify(box)}`);
    await bell.close();
  }
  tab.guard.clean();
}

async function onPhone({ newContext, platform }) {
  const context = await newContext({ viewport: PHONE, isMobile: true, hasTouch: true });
  const user = freshUser("phone");
  const tab = await ExamplesTab.open(context, platform, user);
  await tab.page.getByTestId("ring-order").tap();
  await tab.bell("plain").at("toast").waitFor();
  await noSideways(tab.page, "with a toast");
  for (const name of BELLS) {
    const bell = tab.bell(name);
    await bell.at("bell-button").scrollIntoViewIfNeeded();
    await bell.open();
    await noSideways(tab.page, `with the panel of "${name}"`);
    const box = await bell.at("bell-panel").boundingBox();
    check(box.x >= 0 && box.x + box.width <= PHONE.width + 0.5, `the panel of "${name}" is on the screen: ${JSON.stringify(box)}`);
    check(box.y >= 0 && box.y + box.height <= PHONE.height + 0.5, `the panel of "${name}" is on the screen: ${JSON.stringify(box)}`);
    // A finger cannot hover: what a row can do is there.
    await becomes(() => bell.row(0).getByTestId("bell-archive").evaluate((node) => getComputedStyle(node).opacity), "1", "the archive button");
    same(await bell.host.evaluate(smallTargets), [], `controls of "${name}" smaller than 24 px`);
    await bell.close();
  }
  tab.guard.clean();
}

async function axeExamples({ newContext, platform, cable, step }) {
  for (const colorScheme of ["light", "dark"]) {
    const context = await newContext({ colorScheme, reducedMotion: "reduce" });
    const user = freshUser("axe");
    const tab = await ExamplesTab.open(context, platform, user);
    const look = async (where) => {
      step(`${colorScheme}, ${where}`);
      await axe(tab.page, `${colorScheme}, ${where}`);
    };
    await look("fresh");
    await tab.bell("plain").open();
    await becomes(() => tab.bell("plain").at("bell-empty").getAttribute("data-why"), "empty", "the empty list");
    await look("an empty list");
    await tab.bell("plain").close();
    await tab.page.getByTestId("ring").click();
    await tab.page.getByTestId("ring-order").click();
    await tab.bell("plain").at("toast").nth(1).waitFor();
    await look("toasts");
    for (const name of BELLS) {
      await tab.bell(name).open();
      await tab.bell(name).row(0).hover();
      await look(`the panel "${name}"`);
      await tab.bell(name).close();
    }
    const bell = tab.bell("plain");
    await bell.open();
    await bell.row(0).locator(".row").focus();
    await tab.page.keyboard.press("Delete");
    await bell.choose("archived");
    await becomes(async () => (await bell.titles()).length, 1, "archived rows");
    await look("the archive");
    await tab.page.route("**/v1/inbox/unarchive", (route) => route.fulfill({ status: 503, body: "{}" }));
    await bell.row(0).locator(".row").focus();
    await tab.page.keyboard.press("Delete");
    await bell.at("bell-notice").waitFor();
    await look("a notice");
    cable.cut();
    await bell.at("bell-reconnect").waitFor();
    await look("without a connection");
    cable.mend();
    await context.close();
  }
}

/** No part of the page is wider than the screen: nobody has to scroll sideways. */
async function noSideways(page, where) {
  const { wide, screen } = await page.evaluate(() => ({ wide: document.scrollingElement.scrollWidth, screen: innerWidth }));
  check(wide <= screen && screen === PHONE.width, `the page is ${wide} px wide on a screen of ${screen} px, ${where}`);
}

/** Runs in the page. Controls that a finger misses (WCAG 2.2, 2.5.8). */
function smallTargets(host) {
  return [...host.shadowRoot.querySelectorAll("button, a")].flatMap((control) => {
    const { width, height } = control.getBoundingClientRect();
    return width > 0 && (width < 24 || height < 24) ? [control.dataset.testid || control.className] : [];
  });
}
