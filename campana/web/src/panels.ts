// Panels that are not lines: numbers, gauges, bars, tables, bands, words. Plain elements, so that they can be
// read by a screen reader as well.

import { colour, seriesColour } from "./colours.ts";
import { el } from "./dom.ts";
import { type Answer, type Panel, type Range, type Series, defaults, named, stepColour } from "./model.ts";
import { legend } from "./prometheus.ts";
import { clock, format } from "./units.ts";

function number(text: string | undefined): number {
  return text === undefined ? Number.NaN : Number.parseFloat(text.replace("Inf", "Infinity"));
}

/** The last number of a series; NaN if it has none. */
export function last(series: Series): number {
  const all = series.values ?? (series.value ? [series.value] : []);
  return number(all.findLast(([, text]) => Number.isFinite(number(text)))?.[1]);
}

interface Figure {
  name: string;
  value: number;
  series: Series;
}

function figures(answers: Answer[]): Figure[] {
  const all = answers.flatMap(({ target, series }) => series.map((one) => ({ name: legend(target.legendFormat, one.metric), value: last(one), series: one })));
  return all.filter(({ value }) => Number.isFinite(value));
}

/** One number each, with the way it went as a line below. */
export function drawStat(box: HTMLElement, panel: Panel, answers: Answer[], range: Range): boolean {
  const found = figures(answers);
  const { unit, decimals } = defaults(panel);
  for (const { name, value, series } of found.slice(0, 6)) {
    const meaning = named(panel, value);
    const figure = el("strong", { class: meaning ? "figure named" : "figure" }, meaning?.text ?? format(value, unit, decimals));
    const tint = colour(meaning?.color ?? stepColour(panel, value));
    if (meaning) figure.style.background = tint;
    else figure.style.color = tint;
    const tile = el("div", { class: "stat" }, figure, found.length > 1 ? el("span", {}, name) : null);
    const way = meaning ? null : sparkline(series, range, tint);
    if (way) tile.append(way);
    box.append(tile);
  }
  return found.length > 0;
}

function svg(tag: string, attributes: Record<string, string>): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function sparkline(series: Series, range: Range, tint: string): SVGElement | null {
  const points = (series.values ?? []).map(([time, text]) => [time, number(text)] as const).filter(([, value]) => Number.isFinite(value));
  if (points.length < 3) return null;
  const values = points.map(([, value]) => value);
  const [low, high] = [Math.min(0, ...values), Math.max(...values)];
  const x = (time: number) => (100 * (time - range.start)) / (range.end - range.start);
  const y = (value: number) => 29 - (28 * (value - low)) / (high - low || 1);
  const path = points.map(([time, value], at) => `${at ? "L" : "M"}${x(time).toFixed(2)} ${y(value).toFixed(2)}`).join("");
  const picture = svg("svg", { viewBox: "0 0 100 30", preserveAspectRatio: "none", class: "spark", "aria-hidden": "true" });
  picture.append(svg("path", { d: `${path}L${x(points.at(-1)?.[0] ?? 0).toFixed(2)} 30L${x(points[0]?.[0] ?? 0).toFixed(2)} 30Z`, fill: tint, opacity: "0.14" }));
  picture.append(svg("path", { d: path, fill: "none", stroke: tint, "stroke-width": "1.5", "vector-effect": "non-scaling-stroke" }));
  return picture;
}

/** How much of the whole is used. */
export function drawGauge(box: HTMLElement, panel: Panel, answers: Answer[]): boolean {
  const found = figures(answers);
  const { unit, decimals, min = 0, max = 1 } = defaults(panel);
  for (const { name, value } of found.slice(0, 4)) {
    const share = Math.max(0, Math.min(1, (value - min) / (max - min || 1)));
    const arc = (part: number) => {
      const angle = Math.PI * (1 - part);
      return `M10 50A40 40 0 0 1 ${(50 + 40 * Math.cos(angle)).toFixed(2)} ${(50 - 40 * Math.sin(angle)).toFixed(2)}`;
    };
    const picture = svg("svg", { viewBox: "0 0 100 56", class: "dial", "aria-hidden": "true" });
    picture.append(svg("path", { d: arc(1), class: "rest" }));
    if (share > 0) picture.append(svg("path", { d: arc(share), class: "used", stroke: colour(stepColour(panel, value)) }));
    const figure = el("strong", { class: "figure" }, format(value, unit, decimals));
    figure.style.color = colour(stepColour(panel, value));
    box.append(el("div", { class: "gauge" }, picture, figure, found.length > 1 ? el("span", {}, name) : null));
  }
  return found.length > 0;
}

/** A bar for each series. */
export function drawBars(box: HTMLElement, panel: Panel, answers: Answer[]): boolean {
  const found = figures(answers);
  const { unit, decimals, min = 0, max } = defaults(panel);
  const top = max ?? Math.max(...found.map(({ value }) => value), min + 1e-12);
  for (const { name, value } of found) {
    const bar = el("i");
    bar.style.width = `${(100 * Math.max(0, value - min)) / (top - min || 1)}%`;
    bar.style.background = colour(stepColour(panel, value));
    box.append(el("div", { class: "bar" }, el("span", {}, name), el("div", { class: "track" }, bar), el("b", {}, format(value, unit, decimals))));
  }
  return found.length > 0;
}

/** One row for each set of labels; the numbers of several queries stand beside each other. */
export function drawTable(box: HTMLElement, panel: Panel, answers: Answer[]): boolean {
  const organize = panel.transformations?.find(({ id }) => id === "organize")?.options;
  const names = organize?.renameByName ?? {};
  const columns = Object.keys(names).sort((a, b) => (organize?.indexByName?.[a] ?? 0) - (organize?.indexByName?.[b] ?? 0));
  const keys = columns.filter((column) => !column.startsWith("Value"));
  const rows = new Map<string, Record<string, string | number>>();
  for (const { target, series } of answers) {
    const heading = answers.length === 1 ? "Value" : `Value #${target.refId}`;
    for (const one of series) {
      // A query that keeps fewer labels than the table has tells about all rows that agree with it.
      const own = keys.filter((key) => one.metric[key] !== undefined);
      const agreeing = [...rows.values()].filter((row) => own.every((key) => row[key] === one.metric[key]));
      if (agreeing.length > 0) for (const row of agreeing) row[heading] = last(one);
      else if (own.length > 0) rows.set(JSON.stringify(own.map((key) => one.metric[key])), { ...one.metric, [heading]: last(one) });
    }
  }
  if (rows.size === 0) return false;
  const head = el("tr", {}, ...columns.map((column) => el("th", { scope: "col" }, names[column] ?? column)));
  const lines = [...rows.values()].map((row) => el("tr", {}, ...columns.map((column) => {
    const value = row[column];
    return typeof value === "number" ? el("td", { class: "number" }, format(value, defaults(panel).unit)) : el("td", {}, value ?? "");
  })));
  box.append(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": panel.title }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...lines))));
  return true;
}

/** A band for each series, in pieces of the same state. */
export function drawStates(box: HTMLElement, panel: Panel, answers: Answer[], range: Range): boolean {
  const all = answers.flatMap(({ target, series }) => series.map((one) => ({ name: legend(target.legendFormat, one.metric), one })));
  const whole = range.end - range.start + range.step;
  const seen = new Map<string, string>();
  for (const { name, one } of all) {
    const band = el("div", { class: "band" });
    for (const piece of pieces(one, range.step)) {
      const meaning = named(panel, piece.value);
      const text = meaning?.text ?? format(piece.value);
      const tint = colour(meaning?.color ?? stepColour(panel, piece.value) ?? seriesColour(0));
      seen.set(text, tint);
      const part = el("i", { title: `${text}, from ${clock(piece.from, range)}` });
      part.style.left = `${(100 * (piece.from - range.start)) / whole}%`;
      part.style.width = `${(100 * (piece.to - piece.from)) / whole}%`;
      part.style.background = tint;
      band.append(part);
    }
    const now = named(panel, last(one))?.text ?? format(last(one));
    box.append(el("div", { class: "state" }, el("span", {}, name), band, el("b", {}, now)));
  }
  const keys = [...seen].map(([text, tint]) => {
    const mark = el("i");
    mark.style.background = tint;
    return el("li", {}, mark, el("span", {}, text));
  });
  if (all.length > 0) box.append(el("ul", { class: "legend" }, ...keys));
  return all.length > 0;
}

/** Neighbouring samples with the same value. */
export function pieces(series: Series, step: number): { value: number; from: number; to: number }[] {
  const found: { value: number; from: number; to: number }[] = [];
  for (const [time, text] of series.values ?? []) {
    const value = number(text);
    const before = found.at(-1);
    if (before && before.value === value && time - before.to < step / 2) before.to = time + step;
    else found.push({ value, from: time, to: time + step });
  }
  return found;
}
