// The bell in every state that a person can bring it into: seen, read, archived; tabs; far back in
// history; with sound; refused by the server; in several tabs of one browser.

import { becomes, check, eventually, same } from "../lib/expect.mjs";
import { ExamplesTab } from "../lib/examples.mjs";
import { freshUser } from "../lib/platform.mjs";

/** More than two pages of the edge (300), less than a channel keeps (1,000). */
const MANY = 650;
const BATCH = 100;
const LONG_MS = 60_000;

/** What a browser logs of an answer that these checks have forged. */
const REFUSED = /status of 503/;

export const bellChecks = [
  ["what was on the screen is seen, on every device, and still unread", seen],
  ["archived rows leave the list for their tab, on every device, and come back", archived],
  ["tabs filter by category and by predicate, with mouse and keyboard", tabs],
  ["scrolling reaches the beginning of a long history, every row once and in order", longHistory],
  ["a refused mark is taken back, said so, and can be repeated", refusedMark],
  ["rows, their buttons and tabs are worked with the keyboard, and the focus is never lost", keyboard],
  ["the panel closes by Esc, by its button and by a click elsewhere, and the focus goes where it should", popover],
  ["sound is off until asked for, rings once for all tabs, and can be switched off in all", sound],
  ["a toast closed in one tab closes in the others", toastEverywhere],
];

async function seen({ newContext, platform }) {
  const user = freshUser("seen");
  const [here, there] = await Promise.all([newContext(), newContext()].map(async (context) => ExamplesTab.open(await context, platform, user)));
  await platform.notifyAll(user, ["One", "Two", "Three"]);
  for (const tab of [here, there]) await tab.bell("tabs").badgeBecomes("3");
  await here.bell("plain").open();
  for (const tab of [here, there]) await tab.bell("tabs").badgeBecomes("", "the number of unseen");
  await becomes(() => here.bell("plain").badge(), "3", "the number of unread");
  await here.page.reload();
  const again = here.bell("tabs");
  await becomes(() => here.bell("plain").badge(), "3", "unread after loading again");
  await becomes(() => again.badge(), "", "unseen after loading again");
  await platform.notify(user, "Four");
  await again.badgeBecomes("1");
  there.guard.clean();
}

async function archived({ newContext, platform }) {
  const user = freshUser("archive");
  const [here, there] = await Promise.all([newContext(), newContext()].map(async (context) => ExamplesTab.open(await context, platform, user)));
  await here.inOrder(platform, user, ["One", "Two", "Three"]);
  const [bell, other] = [here.bell("plain"), there.bell("plain")];
  for (const one of [bell, other]) await one.badgeBecomes("3");
  await bell.open();
  await other.open();
  await bell.row(1).hover();
  await bell.row(1).getByTestId("bell-archive").click();
  for (const one of [bell, other]) {
    await one.titlesBecome(["Three", "One"]);
    await one.badgeBecomes("2");
    await one.choose("archived");
    await one.titlesBecome(["Two"]);
  }
  await becomes(async () => /Archived: Two/.test(await bell.at("bell-announcer").textContent()), true, "a screen reader is told");
  // Archived stays archived: also for a page that only knows the history.
  await there.page.reload();
  await other.badgeBecomes("2");
  await bell.row(0).hover();
  await bell.row(0).getByTestId("bell-archive").click();
  await bell.titlesBecome([], "rows of the archive");
  await becomes(() => bell.at("bell-empty").textContent().then((text) => text.trim()), "Nothing archived", "words of the empty archive");
  for (const one of [bell, other]) await one.badgeBecomes("3");
  await bell.choose("all");
  await bell.titlesBecome(["Three", "Two", "One"]);
  here.guard.clean();
}

async function tabs({ context, platform }) {
  const user = freshUser("tabs");
  const tab = await ExamplesTab.open(context, platform, user);
  const bell = tab.bell("tabs");
  await tab.inOrder(platform, user, ["Plain"]);
  await tab.inOrder(platform, user, ["Order 7"], { metadata: { category: "orders" } });
  await tab.inOrder(platform, user, ["Linked"], { content: { title: "Linked", url: "https://example.com/" } });
  await bell.badgeBecomes("3");
  await bell.open();
  await bell.titlesBecome(["Linked", "Order 7", "Plain"]);
  await bell.choose("orders");
  await bell.titlesBecome(["Order 7"]);
  await tab.page.keyboard.press("ArrowRight");
  await bell.titlesBecome(["Linked"]);
  await bell.focusBecomes("links");
  await tab.page.keyboard.press("End");
  await bell.focusBecomes("archived");
  await bell.titlesBecome([]);
  await tab.page.keyboard.press("ArrowRight");
  await bell.focusBecomes("all");
  // In the tab of the unread a row stays where it was read, until the tab is left.
  const plain = tab.bell("plain");
  await bell.close();
  await plain.open();
  await plain.choose("unread");
  await plain.titlesBecome(["Linked", "Order 7", "Plain"]);
  await plain.row(1).locator(".row").click();
  await becomes(() => plain.row(1).getAttribute("data-unread"), "false", "the row is read");
  await becomes(() => plain.titles(), ["Linked", "Order 7", "Plain"], "rows after reading one");
  await plain.choose("all");
  await plain.choose("unread");
  await plain.titlesBecome(["Linked", "Plain"]);
  tab.guard.clean();
}

async function longHistory({ context, platform, step }) {
  const user = freshUser("long");
  const first = await ExamplesTab.open(context, platform, user);
  const titles = Array.from({ length: MANY }, (_, at) => `Number ${at + 1}`);
  step("sending");
  for (let at = 0; at < MANY; at += BATCH) await platform.notifyAll(user, titles.slice(at, at + BATCH));
  await becomes(() => first.text("headless-unread"), String(MANY), "unread after sending", LONG_MS);
  await first.page.close();
  step("loading");
  const tab = await ExamplesTab.open(context, platform, user);
  const bell = tab.bell("plain");
  await bell.open();
  step("scrolling");
  await eventually(async () => {
    await bell.host.evaluate((host) => {
      const list = host.shadowRoot.querySelector("#rows");
      list.scrollTop = list.scrollHeight;
    });
    // The beginning is known only when a look beyond the last row has found nothing: who scrolls goes on.
    return `${await bell.at("bell-item").count()} rows, ${await bell.at("bell-earlier").count()} buttons for older ones`;
  }, (seen) => seen === `${MANY} rows, 0 buttons for older ones`, "rows", LONG_MS);
  same((await bell.titles()).toSorted(), titles.toSorted(), "rows, each once");
  const { offsets, ids } = await bell.host.evaluate(({ inbox: { items } }) => ({ offsets: items.map(({ offset }) => offset), ids: items.map(({ id }) => id) }));
  same(offsets, offsets.toSorted((a, b) => b - a), "offsets, newest first");
  same(await bell.at("bell-item").evaluateAll((rows) => rows.map((row) => row.dataset.id)), ids, "order of the rows");
  // What reached the screen on the way is seen, in few requests; the keyboard gets to the end as well.
  await bell.at("bell-item").first().locator(".row").focus();
  await tab.page.keyboard.press("End");
  await bell.focusBecomes((await bell.titles()).at(-1));
  tab.guard.clean();
}

async function refusedMark({ context, platform }) {
  const user = freshUser("refused");
  const tab = await ExamplesTab.open(context, platform, user);
  const bell = tab.bell("plain");
  await tab.inOrder(platform, user, ["One", "Two"]);
  const refuse = (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ detail: "not now" }) });
  await tab.page.route("**/v1/inbox/{archive,read}", refuse);
  await bell.open();
  await bell.at("bell-mark-all").click();
  await bell.at("bell-notice").filter({ hasText: "Could not be marked as read. (not now)" }).waitFor();
  await bell.badgeBecomes("2", "the badge after the refusal");
  await bell.row(0).hover();
  await bell.row(0).getByTestId("bell-archive").click();
  await bell.at("bell-notice").filter({ hasText: "Could not be moved. (not now)" }).waitFor();
  await bell.titlesBecome(["Two", "One"]);
  await tab.page.unroute("**/v1/inbox/{archive,read}");
  await bell.at("bell-notice").getByRole("button", { name: "Try again" }).click();
  await bell.titlesBecome(["One"]);
  await becomes(() => bell.at("bell-notice").count(), 0, "notices");
  tab.guard.clean(REFUSED);
}

async function keyboard({ context, platform }) {
  const user = freshUser("keys");
  const tab = await ExamplesTab.open(context, platform, user);
  const bell = tab.bell("plain");
  const { keyboard } = tab.page;
  await tab.inOrder(platform, user, ["One", "Two", "Three"]);
  await bell.at("bell-button").focus();
  await keyboard.press("Enter");
  await bell.focusBecomes("bell-panel");
  for (const name of ["bell-mark-all", "bell-close", "all", "Three", "bell-archive"]) {
    await keyboard.press("Tab");
    await bell.focusBecomes(name);
  }
  await keyboard.press("ArrowLeft");
  await bell.focusBecomes("Three");
  await keyboard.press("ArrowDown");
  await keyboard.press("Delete");
  await bell.titlesBecome(["Three", "One"]);
  await bell.focusBecomes("One");
  await keyboard.press("ArrowRight");
  await bell.focusBecomes("bell-archive");
  await keyboard.press("Enter");
  await bell.titlesBecome(["Three"]);
  await bell.focusBecomes("Three");
  await keyboard.press("Delete");
  await bell.titlesBecome([]);
  await bell.focusBecomes("bell-panel");
  await keyboard.press("Escape");
  await bell.at("bell-panel").waitFor({ state: "hidden" });
  await bell.focusBecomes("bell-button");
  // In a page from right to left the arrows are mirrored.
  const arabic = tab.bell("language");
  await tab.inOrder(platform, user, ["Four", "Five"]);
  await arabic.open();
  await arabic.row(0).locator(".row").focus();
  await keyboard.press("ArrowLeft");
  await arabic.focusBecomes("bell-archive");
  await keyboard.press("ArrowRight");
  await arabic.focusBecomes("Five");
  tab.guard.clean();
}

async function popover({ context, platform }) {
  const tab = await ExamplesTab.open(context, platform, freshUser("popover"));
  const [bell, other] = [tab.bell("plain"), tab.bell("themed")];
  const closed = (one) => one.at("bell-panel").waitFor({ state: "hidden" });
  await bell.open();
  await bell.focusBecomes("bell-panel");
  await tab.page.keyboard.press("Escape");
  await closed(bell);
  await bell.focusBecomes("bell-button");
  await bell.open();
  await bell.close();
  await bell.focusBecomes("bell-button");
  // A click elsewhere means elsewhere: the bell does not call the focus back.
  await bell.open();
  await tab.page.locator("#headless-code").click();
  await closed(bell);
  await becomes(() => bell.focused(), "", "focus in the bell after a click elsewhere");
  await becomes(() => bell.at("bell-button").getAttribute("aria-expanded"), "false", "aria-expanded");
  // One panel at a time, and the element's own attribute follows.
  await bell.open();
  await becomes(() => bell.host.getAttribute("open"), "", "the attribute of the open bell");
  await other.at("bell-button").evaluate((button) => button.click());
  await other.at("bell-panel").waitFor();
  await closed(bell);
  await becomes(() => bell.host.getAttribute("open"), null, "the attribute of the closed bell");
  await other.host.evaluate((host) => host.hide());
  await closed(other);
  tab.guard.clean();
}

async function sound({ context, platform }) {
  // Counts the tones of all tabs; the rest of Web Audio is the browser's own.
  await context.exposeFunction("campanaTone", () => { tones += 1; });
  let tones = 0;
  await context.addInitScript(() => {
    // Whoever drives a browser counts as a user for it; here only clicks do.
    const touched = { hasBeenActive: false, isActive: false };
    Object.defineProperty(navigator, "userActivation", { value: touched });
    addEventListener("click", () => { touched.hasBeenActive = true; });
    const create = AudioContext.prototype.createOscillator;
    AudioContext.prototype.createOscillator = function () {
      globalThis.campanaTone();
      return create.call(this);
    };
  });
  const user = freshUser("sound");
  const tabs = [await ExamplesTab.open(context, platform, user), await ExamplesTab.open(context, platform, user)];
  const bells = tabs.map((tab) => tab.bell("tabs"));
  // A page that nobody has touched must not ring; a bell without the attribute never does.
  await platform.notify(user, "Before a touch");
  for (const bell of bells) await bell.badgeBecomes("1");
  same(tones, 0, "tones before a touch");
  for (const tab of tabs) await tab.page.getByRole("heading", { level: 1 }).click();
  await platform.notify(user, "Rings");
  for (const bell of bells) await bell.badgeBecomes("2");
  await becomes(() => tones, 2, "tones, two for one chime");
  await becomes(() => tabs[0].bell("plain").at("bell-mute").count(), 0, "switches on a bell without sound");
  await bells[0].open();
  await bells[0].at("bell-mute").click();
  await becomes(() => bells[0].at("bell-mute").getAttribute("data-muted"), "true", "the switch");
  await bells[1].open();
  await becomes(() => bells[1].at("bell-mute").getAttribute("data-muted"), "true", "the switch in the other tab");
  await platform.notify(user, "Silent");
  for (const bell of bells) await becomes(async () => (await bell.titles()).length, 3, "rows");
  same(tones, 2, "tones after switching off");
  for (const tab of tabs) tab.guard.clean();
}

async function toastEverywhere({ context, platform }) {
  const user = freshUser("toast");
  const [one, two] = [await ExamplesTab.open(context, platform, user), await ExamplesTab.open(context, platform, user)];
  await platform.notify(user, "Look");
  // Held by the pointer, so that no toast leaves by itself.
  const toast = (tab) => tab.bell("plain").at("toast");
  await Promise.all([one, two].map((tab) => toast(tab).hover()));
  await toast(one).getByRole("button", { name: "Dismiss" }).click();
  await becomes(() => toast(two).count(), 0, "toasts of the other tab");
  check((await one.bell("plain").badge()) === "1", "a closed toast is not read");
  for (const tab of [one, two]) tab.guard.clean();
}
