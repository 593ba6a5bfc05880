// Runs every check of this folder against a running platform and prints a line for each.
// Usage: node run.mjs <gateway url> <sandbox url> [--shots DIR] [--restart] [--only TEXT]
//   --shots DIR   keeps a picture of every page that a check leaves open
//   --restart     also checks a restart: prints "please: restart" and reads a line "restarted"
//   --only TEXT   runs the checks whose name contains TEXT
// Exit code 0 if all passed, 1 if one failed, 2 if called wrongly.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { bellChecks } from "./checks/bell.mjs";
import { demoChecks } from "./checks/demo.mjs";
import { docsChecks } from "./checks/docs.mjs";
import { examplesChecks } from "./checks/examples.mjs";
import { looksChecks } from "./checks/looks.mjs";
import { reconnectChecks, restartChecks } from "./checks/reconnect.mjs";
import { statesChecks } from "./checks/states.mjs";
import { launch } from "./lib/browser.mjs";
import { Platform } from "./lib/platform.mjs";
import { Cable } from "./lib/proxy.mjs";

const CHECK_MS = 120_000;

function options() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { shots: { type: "string" }, restart: { type: "boolean" }, only: { type: "string" } },
    });
    if (positionals.length !== 2) throw new Error("two addresses are needed");
    return { ...values, gateway: positionals[0], sandbox: positionals[1] };
  } catch (error) {
    console.error(`${error.message}\nusage: node run.mjs <gateway url> <sandbox url> [--shots DIR] [--restart] [--only TEXT]`);
    process.exit(2);
  }
}

const asked = options();
const platform = new Platform(asked.gateway, asked.sandbox);
const edge = await platform.edge();
const cable = await Cable.to(edge.hostname, Number(edge.port));
const gateway = new URL(platform.gateway);
const browser = await launch([
  [edge.host, `127.0.0.1:${cable.port}`],
  [`campana.test:${gateway.port}`, gateway.host],
]);

const all = [...demoChecks, ...bellChecks, ...examplesChecks, ...statesChecks, ...reconnectChecks, ...looksChecks, ...docsChecks, ...(asked.restart ? restartChecks : [])];
const chosen = all.filter(([name]) => name.includes(asked.only ?? ""));
let failed = 0;
for (const [name, run] of chosen) failed += (await one(name, run)) ? 0 : 1;
console.log(`${chosen.length - failed} passed, ${failed} failed`);
await browser.close();
await cable.close();
process.exit(failed === 0 && chosen.length > 0 ? 0 : 1);

/** One check with an empty profile of its own. */
async function one(name, run) {
  const started = performance.now();
  const contexts = [];
  let at = "the beginning";
  const step = (next) => { at = next; };
  const newContext = async (settings = {}) => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...settings });
    contexts.push(context);
    return context;
  };
  try {
    cable.mend();
    const context = await newContext();
    await inTime(run({ context, newContext, platform, cable, restart: askForRestart, step }), () => at);
    console.log(`ok   ${name} (${Math.round(performance.now() - started)} ms)`);
    return true;
  } catch (error) {
    console.log(`FAIL ${name}\n     ${String(error.message ?? error).replaceAll("\n", "\n     ")}`);
    return false;
  } finally {
    if (asked.shots) await pictures(name, contexts);
    await Promise.all(contexts.map((context) => context.close()));
  }
}

async function inTime(work, step) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${CHECK_MS / 1_000} s; it was at: ${step()}`)), CHECK_MS);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function pictures(name, contexts) {
  await mkdir(asked.shots, { recursive: true });
  const slug = name.replace(/[^a-z0-9]+/gi, "-").slice(0, 60);
  const pages = contexts.flatMap((context) => context.pages());
  await Promise.all(pages.map((page, at) => page.screenshot({ path: join(asked.shots, `${slug}-${at + 1}.png`) }).catch(() => {})));
}

/** Whoever started the platform restarts it; this script only knows its addresses. */
async function askForRestart() {
  console.log("please: restart");
  const lines = createInterface({ input: process.stdin });
  for await (const line of lines) if (line.trim() === "restarted") return;
  throw new Error("nobody restarted the platform");
}
