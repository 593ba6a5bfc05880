// The page: chooses a dashboard, asks Prometheus for every panel that can be seen, draws, and asks again.
// What is chosen stands in the address, so that a link shows the same.

import { el, markdown } from "./dom.ts";
import { drawHeatmap } from "./heatmap.ts";
import { drawLines } from "./lines.ts";
import type { Answer, Board, Panel, Range, Setup } from "./model.ts";
import { drawBars, drawGauge, drawStat, drawStates, drawTable } from "./panels.ts";
import { QueryError, query, queryRange, scrapeInterval } from "./prometheus.ts";
import { duration } from "./units.ts";
import { ALL, type Chosen, load, substitute } from "./variables.ts";

/** Points of a line: about one for each pixel or two. */
const POINTS = 400;
const RANGES = ["now-5m", "now-15m", "now-30m", "now-1h", "now-3h", "now-6h", "now-1d", "now-7d"];
const REFRESHES = ["", "1s", "5s", "10s", "30s", "1m"];

const at = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const main = at<HTMLElement>("panels");
const status = at<HTMLElement>("status");

interface Drawn {
  panel: Panel;
  card: HTMLElement;
  body: HTMLElement;
  visible: boolean;
  /** The beginning of the answer that is shown. */
  shownOf: number;
  destroy: (() => void) | null;
}

let board: Board;
let drawn: Drawn[] = [];
let chosen: Chosen = {};
let from = "now-1h";
let refresh = "10s";
let scrape = 15;
let range: Range = { start: 0, end: 0, step: 1 };
let asking = new AbortController();
let timer: ReturnType<typeof setTimeout> | undefined;
/** Panels have to wait until it is known what can be chosen. */
let ready = false;

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const one = drawn.find(({ card }) => card === entry.target);
    if (!one) continue;
    one.visible = entry.isIntersecting;
    if (ready && one.visible && one.shownOf !== range.end) void show(one);
  }
}, { rootMargin: "200px" });

async function start(): Promise<void> {
  const setup = (await (await fetch("/dashboards/setup.json")).json()) as Setup;
  if (!setup.prometheus) {
    at("setup").hidden = false;
    at("controls").hidden = true;
    return;
  }
  const address = new URLSearchParams(location.hash.slice(1));
  const slug = setup.boards.some((one) => one.slug === address.get("board")) ? (address.get("board") ?? "") : (setup.boards[0]?.slug ?? "");
  options(at("board"), setup.boards.map(({ slug: value, title }) => [value, title.replace("Campana: ", "")]), slug);
  at("board").addEventListener("change", (event) => void open((event.target as HTMLSelectElement).value, {}));
  at("range").addEventListener("change", (event) => { from = (event.target as HTMLSelectElement).value; void choose(); });
  at("refresh").addEventListener("change", (event) => { refresh = (event.target as HTMLSelectElement).value; void again(); });
  at("now").addEventListener("click", () => void choose());
  document.addEventListener("visibilitychange", () => { if (!document.hidden) void again(); });
  await open(slug, Object.fromEntries(address));
}

function options(select: HTMLElement, values: [string, string][], now: string): void {
  select.replaceChildren(...values.map(([value, text]) => el("option", value === now ? { value, selected: "" } : { value }, text)));
}

/** Another dashboard, with what the address says about it. */
async function open(slug: string, address: Record<string, string>): Promise<void> {
  board = (await (await fetch(`/dashboards/board/${slug}.json`)).json()) as Board;
  const { board: _, from: wantedFrom, refresh: wantedRefresh, ...variables } = address;
  from = RANGES.includes(wantedFrom ?? "") ? (wantedFrom ?? "") : board.time.from;
  refresh = REFRESHES.includes(wantedRefresh ?? "-") ? (wantedRefresh ?? "") : board.refresh;
  // What was chosen before stays chosen where the other dashboard has it as well.
  chosen = { ...chosen, ...variables };
  document.title = board.title;
  ready = false;
  at("about").textContent = board.description;
  options(at("range"), RANGES.map((value) => [value, `last ${value.slice(4)}`]), from);
  options(at("refresh"), REFRESHES.map((value) => [value, value === "" ? "no refresh" : `every ${value}`]), refresh);
  layOut();
  await choose();
}

/** Headings and empty cards, in Grafana's grid. */
function layOut(): void {
  for (const one of drawn) one.destroy?.();
  seen.disconnect();
  drawn = [];
  main.replaceChildren();
  for (const panel of board.panels) {
    if (panel.type === "row") {
      main.append(el("h2", {}, panel.title));
      continue;
    }
    const body = el("div", { class: `body ${panel.type}` });
    const heading = el("h3", {}, panel.title);
    const about = el("button", { class: "about", type: "button", "aria-label": `About: ${panel.description ?? ""}` }, "?");
    about.append(el("span", { role: "tooltip" }, panel.description ?? ""));
    const card = el("section", { class: "card", "data-panel": panel.title, "data-state": "waiting" }, el("header", {}, heading, about), body);
    card.style.setProperty("--columns", String(panel.gridPos.w));
    card.style.setProperty("--height", `${panel.gridPos.h * 30}px`);
    main.append(card);
    drawn.push({ panel, card, body, visible: false, shownOf: -1, destroy: null });
    seen.observe(card);
  }
}

function newRange(): void {
  const shown = duration(from);
  const step = Math.max(1, Math.ceil(shown / POINTS));
  const end = Math.floor(Date.now() / 1000 / step) * step;
  range = { start: end - Math.floor(shown / step) * step, end, step };
}

/** Fills the variables, then asks for the panels. */
async function choose(): Promise<void> {
  newRange();
  try {
    scrape = await scrapeInterval(range.end);
    const choices = await load(board, chosen, range);
    at("variables").replaceChildren(...choices.map(({ variable, values }) => {
      const select = el("select", { "data-variable": variable.name, title: variable.description ?? "" });
      options(select, values.length > 0 ? values.map((value) => [value, value === ALL ? "all" : value]) : [["", "none"]], chosen[variable.name] ?? "");
      select.addEventListener("change", () => { chosen[variable.name] = select.value; void choose(); });
      return el("label", {}, el("span", {}, variable.label ?? variable.name), select);
    }));
    say("");
  } catch (error) {
    say(`Prometheus cannot be asked: ${words(error)}`);
  }
  const address = new URLSearchParams({ board: board.uid.replace("campana-", ""), from, refresh });
  for (const [name, value] of Object.entries(chosen)) if (value !== ALL) address.set(name, value);
  history.replaceState(null, "", `#${address}`);
  await again();
}

/** Asks for every panel that can be seen, and once more after the chosen time. */
async function again(): Promise<void> {
  ready = true;
  clearTimeout(timer);
  asking.abort();
  asking = new AbortController();
  const mine = asking;
  newRange();
  await Promise.all(drawn.filter(({ visible }) => visible).map(show));
  if (mine.signal.aborted || refresh === "" || document.hidden) return;
  timer = setTimeout(() => void again(), duration(refresh) * 1000);
}

async function show(one: Drawn): Promise<void> {
  const { panel, card, body } = one;
  const { signal } = asking;
  const asked = range;
  one.shownOf = asked.end;
  try {
    const answers = await Promise.all((panel.targets ?? []).map(async (target): Promise<Answer> => {
      const expr = substitute(target.expr, board, chosen, asked, scrape);
      const series = target.instant ? await query(expr, asked.end, signal) : await queryRange(expr, asked, signal);
      return { target, series };
    }));
    if (signal.aborted) return;
    one.destroy?.();
    one.destroy = null;
    body.replaceChildren();
    const filled = draw(one, answers, asked);
    card.dataset["state"] = filled ? "filled" : "empty";
    if (!filled) body.replaceChildren(el("p", { class: "empty" }, "No data for this time and choice."));
  } catch (error) {
    if (signal.aborted) return;
    one.destroy?.();
    one.destroy = null;
    card.dataset["state"] = "failed";
    body.replaceChildren(el("p", { class: "failed", role: "alert" }, words(error)));
  }
}

/** Whether there was something to draw. */
function draw(one: Drawn, answers: Answer[], asked: Range): boolean {
  const { panel, body } = one;
  switch (panel.type) {
    case "timeseries": one.destroy = drawLines(body, panel, answers, asked); return one.destroy !== null;
    case "heatmap": one.destroy = drawHeatmap(body, panel, answers, asked); return one.destroy !== null;
    case "stat": return drawStat(body, panel, answers, asked);
    case "gauge": return drawGauge(body, panel, answers);
    case "bargauge": return drawBars(body, panel, answers);
    case "table": return drawTable(body, panel, answers);
    case "state-timeline": return drawStates(body, panel, answers, asked);
    case "text": body.append(markdown(panel.options?.content ?? "")); return true;
    default: throw new QueryError(`This page cannot draw panels of the kind "${panel.type}"; Grafana can.`);
  }
}

function words(error: unknown): string {
  if (error instanceof QueryError) return error.message;
  return "The platform does not answer. Is it running? This page asks again by itself.";
}

function say(text: string): void {
  status.textContent = text;
  status.hidden = text === "";
}

start().catch((error: unknown) => say(words(error)));
