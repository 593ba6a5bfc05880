// A bell without a connection: not there yet, refused, and back again. What it says is what is true.

import { axe } from "../lib/axe.mjs";
import { Bell, ExamplesTab } from "../lib/examples.mjs";
import { becomes } from "../lib/expect.mjs";
import { freshUser } from "../lib/platform.mjs";

/** What a browser logs when a connection fails that these checks have cut. */
const CUT = /WebSocket connection to .* failed|ERR_(CONNECTION|EMPTY|SOCKET)|net::ERR/;

export const statesChecks = [
  ["a bell that cannot connect says so instead of \"all quiet\", and fills when it can", notYet],
  ["a refused token is an error with its reason, and a good one ends it", refusedToken],
];

async function notYet({ context, platform, cable }) {
  const tab = await ExamplesTab.open(context, platform, freshUser("not-yet"));
  cable.cut();
  const bell = await another(tab);
  await becomes(() => bell.host.getAttribute("state"), "reconnecting", "state of the bell");
  await bell.open();
  await becomes(() => bell.at("bell-empty").getAttribute("data-why"), "unavailable", "why the list is empty");
  await axe(tab.page, "nothing could be loaded");
  cable.mend();
  // It may have come back by itself before the button is pressed.
  await bell.at("bell-reconnect").click({ timeout: 2_000 }).catch(() => {});
  await becomes(() => bell.host.getAttribute("state"), "connected", "state of the bell");
  await becomes(() => bell.at("bell-empty").getAttribute("data-why"), "empty", "why the list is empty");
  tab.guard.clean(CUT);
}

async function refusedToken({ context, platform }) {
  const tab = await ExamplesTab.open(context, platform, freshUser("token"));
  const bell = await another(tab, "nonsense");
  await becomes(() => bell.host.getAttribute("state"), "error", "state of the bell");
  await bell.open();
  await bell.at("bell-state").filter({ hasText: /^Disconnected: \w/ }).waitFor();
  await axe(tab.page, "a refused token");
  await bell.host.evaluate((host) => { host.token = host.goodToken; });
  await becomes(() => bell.host.getAttribute("state"), "connected", "state of the bell");
  await becomes(() => bell.at("bell-state").textContent(), "Live", "words of the state");
  tab.guard.clean();
}

/** One more bell in the first stage, with the token of its neighbour or another one. */
async function another(tab, token = "") {
  await tab.page.evaluate((other) => {
    const known = document.querySelector("campana-bell");
    const { endpoint, user, apiBase } = known;
    const bell = document.createElement("campana-bell");
    bell.dataset.testid = "bell-another";
    Object.assign(bell, { endpoint, user, apiBase, token: other || known.token, goodToken: known.token });
    known.after(bell);
  }, token);
  return new Bell(tab.page, tab.page.getByTestId("bell-another"));
}
