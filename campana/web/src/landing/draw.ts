// Draws what the platform says of itself. Everything is text set on elements: nothing that came is read as HTML.

import { bytes, count, duration, line, milliseconds, rate } from "./figures.ts";
import type { App, Numbers, Overview } from "./overview.ts";
import { type Language, type Word, say } from "./words.ts";

/** Points of five minutes. */
const SLOTS = 150;
const [WIDTH, HEIGHT] = [480, 120];

export function at<T extends Element = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found as unknown as T;
}

export function text(element: Element | null, words: string): void {
  if (element !== null && element.textContent !== words) element.textContent = words;
}

function texts(selector: string, words: string): void {
  for (const element of document.querySelectorAll(selector)) text(element, words);
}

/** The page's fixed words. */
export function translate(language: Language): void {
  document.documentElement.lang = language;
  document.title = say(language, "pageTitle");
  for (const element of document.querySelectorAll<HTMLElement | SVGElement>("[data-word]")) {
    text(element, say(language, element.dataset["word"] as Word));
  }
}

export function draw(overview: Overview, language: Language): void {
  drawNumbers(overview.numbers, language);
  drawCurve(overview.numbers, language);
  drawApps(overview.apps, language);
  for (const anchor of document.querySelectorAll<HTMLAnchorElement>("[data-link]")) {
    const url = overview.links[anchor.dataset["link"] ?? ""] ?? "";
    anchor.parentElement?.toggleAttribute("hidden", url === "");
    if (url !== "") anchor.href = url;
  }
  const durability = say(language, overview.durability === "power" ? "durable" : "durableProcess");
  text(at("foot"), say(language, "foot", { version: overview.version, uptime: duration(language, overview.uptime_seconds), durability }));
}

/** Of what is known; unknown if nothing is. */
function sum(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((a, b) => a + b, 0);
}

function drawNumbers(numbers: Numbers, language: Language): void {
  const { accepted, delivered, channels, push, nats, database, waiting } = numbers;
  const took = (name: string) => channels.find(({ channel }) => channel === name)?.took ?? null;
  const perSecond = (value: number) => say(language, "perSecond", { rate: rate(language, value) });
  const inApp = took("in_app");
  const figures: Record<string, string> = {
    rate: perSecond(accepted.per_second),
    accepted: count(language, accepted.total),
    acceptedRate: perSecond(accepted.per_second),
    deliveredRate: perSecond(delivered.per_second),
    disk: nats.up ? bytes(language, nats.bytes) : say(language, "down"),
    allBytes: bytes(language, sum([nats.bytes, database.bytes])),
    requests: count(language, waiting.requests),
    deliveries: count(language, waiting.deliveries),
    waiting: count(language, sum([waiting.requests, waiting.deliveries, waiting.outcomes])),
    clients: count(language, numbers.clients),
    dead: count(language, numbers.dead_letters),
    push: milliseconds(language, push?.p50_ms ?? null),
    mail: milliseconds(language, took("email")?.p50_ms ?? null),
    within: milliseconds(language, inApp?.p50_ms ?? null),
  };
  for (const [name, words] of Object.entries(figures)) texts(`[data-n="${name}"]`, words);
  const part = ({ up, bytes: size }: Numbers["nats"]) => (up ? bytes(language, size) : say(language, "down"));
  const small: Record<string, string> = {
    accepted: say(language, "totalSince", { total: count(language, accepted.total) }),
    delivered: say(language, "totalSince", { total: count(language, delivered.total) }),
    within: inApp === null ? say(language, "withinNone") : say(language, "withinSub", { p99: milliseconds(language, inApp.p99_ms), push: milliseconds(language, push?.p50_ms ?? null) }),
    clients: say(language, "clientsSub"),
    waiting: say(language, "waitingSub"),
    dead: say(language, numbers.dead_letters === 0 ? "deadNone" : "deadSome"),
    disk: say(language, "diskSub", { nats: part(nats), database: part(database) }),
  };
  for (const [name, words] of Object.entries(small)) texts(`[data-s="${name}"]`, words);
  for (const { channel, delivered: ended, failed, took: span } of channels) {
    const cells: Record<string, string> = {
      delivered: count(language, ended.total),
      rate: rate(language, ended.per_second),
      p50: milliseconds(language, span?.p50_ms ?? null),
      p99: milliseconds(language, span?.p99_ms ?? null),
      failed: count(language, failed),
    };
    for (const [name, words] of Object.entries(cells)) texts(`[data-channel="${channel}"] [data-c="${name}"]`, words);
  }
  const walk = at("walk");
  walk.dataset["busy"] = accepted.per_second + delivered.per_second > 0 ? "yes" : "no";
  walk.dataset["parked"] = numbers.dead_letters > 0 ? "yes" : "no";
}

function drawCurve({ history }: Numbers, language: Language): void {
  const [accepted, delivered] = [Math.max(0, ...history.accepted), Math.max(0, ...history.delivered)];
  const top = Math.max(accepted, delivered);
  const points = (values: readonly number[]) => line(values, SLOTS, top, WIDTH, HEIGHT);
  const shape = points(history.delivered);
  at("curve-accepted").setAttribute("points", points(history.accepted));
  at("curve-delivered").setAttribute("points", shape);
  const begin = shape.split(",")[0] ?? "0";
  at("curve-area").setAttribute("points", shape === "" ? "" : `${begin},${HEIGHT} ${shape} ${WIDTH},${HEIGHT}`);
  at("curve-empty").hidden = top > 0;
  at("legend").hidden = top === 0;
  text(at("curve-top"), top > 0 ? say(language, "perSecondUnit", { top: rate(language, top) }) : "");
  const curve = at<SVGElement>("curve");
  curve.removeAttribute("aria-labelledby");
  curve.setAttribute("aria-label", say(language, "curveLabel", { accepted: rate(language, accepted), delivered: rate(language, delivered) }));
}

const STATES: Record<string, readonly [Word, Word | null]> = {
  running: ["running", null],
  starting: ["stateStarting", "whyStarting"],
  restarting: ["restarting", "whyRestarting"],
  missing: ["missing", "whyMissing"],
  absent: ["absent", "whyAbsent"],
};

function drawApps(apps: readonly App[], language: Language): void {
  const none = at("apps-none");
  none.hidden = apps.length > 0;
  if (apps.length === 0) {
    const [before, after] = say(language, "appsNone").split("{command}");
    const command = document.createElement("code");
    command.textContent = "campana up --apps";
    none.replaceChildren(before ?? "", command, after ?? "");
  }
  for (const card of document.querySelectorAll<HTMLElement>("[data-app]")) {
    const app = apps.find(({ name }) => name === card.dataset["app"]);
    const state = app?.state ?? "absent";
    const [word, why] = STATES[state] ?? ["absent", "whyAbsent"];
    card.dataset["state"] = state;
    const chip = card.querySelector<HTMLElement>(".chip");
    if (chip !== null) chip.dataset["word"] = word;
    text(chip, say(language, word));
    // Without any of them the line above the cards has said it once.
    const more = app?.reason ? ` (${app.reason})` : "";
    text(card.querySelector("[data-why]"), apps.length === 0 || why === null ? "" : `${say(language, why)}${more}`);
    const open = card.querySelector<HTMLAnchorElement>("[data-open]");
    if (open === null) continue;
    const reachable = app !== undefined && state === "running" && /^https?:/.test(app.url);
    open.hidden = !reachable;
    if (reachable) open.href = app.url;
  }
}
