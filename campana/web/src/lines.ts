// Lines and stacked areas over time, drawn by uPlot.

import uPlot from "uplot";
import { colour, seriesColour, token } from "./colours.ts";
import { el } from "./dom.ts";
import { type Answer, type Panel, type Range, defaults } from "./model.ts";
import { legend } from "./prometheus.ts";
import { clock, format } from "./units.ts";

/** Distances of times that people count in, in seconds. */
const TICKS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800];

interface Line {
  name: string;
  values: (number | null)[];
}

/** One grid of times for all series: Prometheus answers at start + n · step. */
export function aligned(answers: Answer[], range: Range): { times: number[]; lines: Line[] } {
  const count = Math.floor((range.end - range.start) / range.step) + 1;
  const times = Array.from({ length: count }, (_, at) => range.start + at * range.step);
  const lines = answers.flatMap(({ target, series }) => series.map((one) => {
    const values: (number | null)[] = Array.from({ length: count }, () => null);
    for (const [time, text] of one.values ?? []) {
      const at = Math.round((time - range.start) / range.step);
      const value = Number.parseFloat(text.replace("Inf", "Infinity"));
      if (at >= 0 && at < count && Number.isFinite(value)) values[at] = value;
    }
    return { name: legend(target.legendFormat, one.metric), values };
  }));
  return { times, lines: lines.filter((line) => line.values.some((value) => value !== null)) };
}

/** Each line on top of those before; holes count as nothing where another line has a value. */
export function stacked(lines: Line[]): (number | null)[][] {
  const sums: number[] = [];
  return lines.map(({ values }) => values.map((value, at) => {
    sums[at] = (sums[at] ?? 0) + (value ?? 0);
    return value === null ? null : sums[at];
  }));
}

/** Draws into `box`; the result has to be destroyed before the next drawing. */
export function drawLines(box: HTMLElement, panel: Panel, answers: Answer[], range: Range): (() => void) | null {
  const { times, lines } = aligned(answers, range);
  if (lines.length === 0) return null;
  const { unit, custom, min, max, thresholds } = defaults(panel);
  const isStacked = custom?.stacking?.mode === "normal";
  const drawn = isStacked ? stacked(lines) : lines.map(({ values }) => values);
  const [ink, grid] = [token("--muted"), token("--line")];
  const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 }, font: "11px system-ui, sans-serif" };
  const marks = custom?.thresholdsStyle?.mode === "dashed" ? (thresholds?.steps ?? []).filter((step) => step.value !== null) : [];
  const readout = el("div", { class: "readout", "aria-hidden": "true" });
  const size = () => ({ width: box.clientWidth, height: Math.max(80, box.clientHeight - legendBox.offsetHeight) });
  const legendBox = legendOf(lines, unit, defaults(panel).decimals);
  const canvas = el("div", { class: "plot" });
  box.append(canvas, legendBox, readout);
  // What scrolls must be reachable by keyboard.
  if (legendBox.scrollHeight > legendBox.clientHeight) legendBox.tabIndex = 0;
  const chart = new uPlot({
    ...size(),
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { show: false }, sync: { key: "campana" } },
    scales: { x: { time: true, range: [range.start, range.end] }, y: { range: (_, low, high) => scale(low, high, min, max) } },
    axes: [{ ...axis, space: 64, size: 24, incrs: TICKS, values: (_, ticks) => ticks.map((tick) => clock(tick, range)) }, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => format(tick, unit)) }],
    series: [{}, ...lines.map((line, at) => ({
      label: line.name,
      stroke: seriesColour(at),
      width: 1.5,
      fill: isStacked ? `${seriesColour(at)}99` : `${seriesColour(at)}14`,
      points: { show: false },
    }))],
    // From the top down, so that the lower areas lie in front.
    ...(isStacked ? { bands: lines.slice(1).map((_, at) => ({ series: [at + 2, at + 1] as [number, number] })) } : {}),
    hooks: {
      draw: [(plot) => dashes(plot, marks)],
      setCursor: [(plot) => showReadout(plot, readout, range, times, lines, unit)],
    },
  }, [times, ...drawn], canvas);
  const resized = new ResizeObserver(() => chart.setSize(size()));
  resized.observe(box);
  return () => {
    resized.disconnect();
    chart.destroy();
  };
}

/** From the panel's ends where it has some; never of height nothing. */
export function scale(low: number | null, high: number | null, min?: number, max?: number): [number, number] {
  const bottom = Math.min(min ?? low ?? 0, low ?? 0);
  const top = Math.max(max ?? high ?? 1, high ?? 1);
  return top > bottom ? [bottom, max !== undefined && top === max ? top : top + (top - bottom) * 0.06] : [bottom, bottom + 1];
}

function dashes(plot: uPlot, marks: { value: number | null; color: string }[]): void {
  for (const { value, color } of marks) {
    const [low, high] = [plot.scales["y"]?.min ?? 0, plot.scales["y"]?.max ?? 0];
    if (value === null || value < low || value > high) continue;
    const y = plot.valToPos(value, "y", true);
    plot.ctx.save();
    plot.ctx.strokeStyle = colour(color);
    plot.ctx.setLineDash([6, 4]);
    plot.ctx.beginPath();
    plot.ctx.moveTo(plot.bbox.left, y);
    plot.ctx.lineTo(plot.bbox.left + plot.bbox.width, y);
    plot.ctx.stroke();
    plot.ctx.restore();
  }
}

function legendOf(lines: Line[], unit?: string, decimals?: number): HTMLElement {
  const items = lines.map((line, at) => {
    const last = line.values.findLast((value) => value !== null) ?? Number.NaN;
    const mark = el("i");
    mark.style.background = seriesColour(at);
    return el("li", {}, mark, el("span", {}, line.name), el("b", {}, format(last, unit, decimals)));
  });
  return el("ul", { class: "legend" }, ...items);
}

function showReadout(plot: uPlot, box: HTMLElement, range: Range, times: number[], lines: Line[], unit?: string): void {
  const at = plot.cursor.idx;
  const time = at === null || at === undefined ? undefined : times[at];
  const here = (plot.cursor.left ?? -1) >= 0 && plot.root.matches(":hover");
  if (time === undefined || !here || at === null || at === undefined) {
    box.hidden = true;
    return;
  }
  const rows = lines.map((line, index) => ({ line, index, value: line.values[at] ?? null })).filter(({ value }) => value !== null);
  rows.sort((a, b) => (b.value ?? 0) - (a.value ?? 0));
  box.replaceChildren(el("strong", {}, clock(time, range)), ...rows.slice(0, 12).map(({ line, index, value }) => {
    const mark = el("i");
    mark.style.background = seriesColour(index);
    return el("div", {}, mark, `${line.name}: ${format(value ?? Number.NaN, unit)}`);
  }));
  box.hidden = rows.length === 0;
}
