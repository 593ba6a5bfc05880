// Starts Debian's Chromium with a profile of its own, and gives up on everything it left behind.
// Reads: CHROMIUM_BIN. Never: downloads a browser; never lets it speak to anything but this machine.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PROGRAM = process.env.CHROMIUM_BIN || "/usr/bin/chromium";

// A browser talks to its maker on its own: component updates, field trials, sync. On a closed
// network each of these is a look-up that has to fail first.
const QUIET = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Names of other hosts lead nowhere; the tests see the request all the same. The first rule counts. */
const NOWHERE = ["MAP 127.0.0.1 127.0.0.1", "MAP localhost localhost", "MAP * ~NOTFOUND"];

/** `mapped`: pairs of "host:port" that the browser takes for another, as `[["from", "to"]]`. */
export async function launch(mapped = []) {
  if (!existsSync(PROGRAM)) throw new Error(`there is no ${PROGRAM}: run \`cargo xtask tools\`, or set CHROMIUM_BIN`);
  const rules = [...mapped.map(([from, to]) => `MAP ${from} ${to}`), ...NOWHERE].join(", ");
  return chromium.launch({ executablePath: PROGRAM, args: [...QUIET, `--host-resolver-rules=${rules}`] });
}
