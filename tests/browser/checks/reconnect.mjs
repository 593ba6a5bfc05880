// Losing the edge: the page says so, keeps trying, and has every message once when it is back.

import { becomes, check, same } from "../lib/expect.mjs";
import { DemoTab } from "../lib/demo.mjs";
import { freshUser } from "../lib/platform.mjs";

/** More than one page of the bell's history, so that recovery has to work and not only a reload. */
const MISSED = 150;
const HALF = 60;

/** Work that a killed process had in hand is given to its successor when its time is over: 30 s. */
const TAKEN_UP_MS = 75_000;

/** What a browser logs when a connection fails that these checks have cut. */
const REFUSED = /WebSocket connection to .* failed|ERR_(CONNECTION|INTERNET|EMPTY|SOCKET)|net::ERR/;

export const reconnectChecks = [
  ["a cut connection shows as reconnecting, and all that was missed arrives once", cutAndMended],
  ["the bell says that the device is offline, and comes back", offline],
];

export const restartChecks = [["after the platform was killed and started again the bell has everything once", restarted]];

async function cutAndMended({ context, platform, cable }) {
  const user = freshUser("cut");
  const taken = cable.taken;
  const tab = await DemoTab.open(context, platform, user);
  check(cable.taken > taken, "the browser goes through the relay");
  const before = await platform.notifyAll(user, titles("Before", HALF));
  await tab.badgeBecomes(String(HALF));
  cable.cut();
  await becomes(() => tab.state(), "reconnecting", "state of the page");
  await tab.openPanel();
  await becomes(() => tab.at("bell-state").getAttribute("data-state"), "reconnecting", "state in the panel");
  await tab.at("bell-reconnect").waitFor();
  await tab.closePanel();
  check(/Reconnecting/.test(await tab.at("bell-button").getAttribute("aria-label")), "the bell's name tells the state");
  const missed = await platform.notifyAll(user, titles("Missed", MISSED));
  await becomes(() => tab.badge(), String(HALF), "badge while cut");
  cable.mend();
  await tab.connected();
  await tab.badgeBecomes("99+");
  const after = await platform.notifyAll(user, titles("After", 3));
  await tab.hasEachOnce([...before, ...missed, ...after]);
  tab.guard.clean(REFUSED);
}

async function offline({ context, platform, cable }) {
  const user = freshUser("offline");
  const tab = await DemoTab.open(context, platform, user);
  await context.setOffline(true);
  cable.cut();
  try {
    await becomes(() => tab.state(), "offline", "state of the page");
    await tab.at("ring").click();
    await tab.at("ring-error").filter({ hasText: "cannot be reached" }).waitFor();
    const missed = await platform.notifyAll(user, titles("Missed", 3));
    cable.mend();
    await context.setOffline(false);
    await tab.connected();
    await tab.hasEachOnce(missed);
  } finally {
    cable.mend();
    await context.setOffline(false);
  }
  await tab.at("ring").click();
  await tab.badgeBecomes("4");
  await becomes(() => tab.at("ring-error").isVisible(), false, "the error goes away");
  tab.guard.clean(REFUSED);
}

async function restarted({ context, platform, restart, step }) {
  const user = freshUser("restart");
  const tab = await DemoTab.open(context, platform, user);
  const before = await platform.notifyAll(user, titles("Before", HALF));
  await tab.badgeBecomes(String(HALF));
  // Accepted and perhaps not delivered yet: the platform dies with them under way.
  const under = await platform.notifyAll(user, titles("Under way", MISSED));
  step("the restart");
  await restart();
  step("connecting again");
  await becomes(async () => (await tab.states()).includes("reconnecting"), true, "a state of reconnecting");
  await tab.connected();
  step("taking up what was under way");
  const after = await platform.notifyAll(user, titles("After", 3));
  await tab.hasEachOnce([...before, ...under, ...after], TAKEN_UP_MS);
  await tab.at("ring").click();
  await becomes(async () => /^\d/.test(await tab.text("last-latency")), true, "a measured time after the restart");
  tab.guard.clean(REFUSED);
}

function titles(word, count) {
  return Array.from({ length: count }, (_, at) => `${word} ${at + 1}`);
}
