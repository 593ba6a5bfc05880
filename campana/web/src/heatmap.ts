// A histogram over time: columns of time, rows of buckets, drawn on a canvas.

import { el } from "./dom.ts";
import { token } from "./colours.ts";
import { type Answer, type Panel, type Range, type Series, defaults } from "./model.ts";
import { clock, format } from "./units.ts";

interface Row {
  low: number;
  high: number;
  counts: number[];
}

/** Prometheus' buckets are cumulative; what lies in one is the difference to the one below. */
export function rows(series: Series[], range: Range): Row[] {
  const columns = Math.floor((range.end - range.start) / range.step) + 1;
  const edge = (one: Series) => (one.metric["le"] === "+Inf" ? Number.POSITIVE_INFINITY : Number(one.metric["le"]));
  const sorted = [...series].sort((a, b) => edge(a) - edge(b));
  let below: number[] = Array.from({ length: columns }, () => 0);
  let low = 0;
  const found = sorted.map((one) => {
    const total: number[] = Array.from({ length: columns }, () => 0);
    for (const [time, text] of one.values ?? []) {
      const at = Math.round((time - range.start) / range.step);
      if (at >= 0 && at < columns) total[at] = Number.parseFloat(text) || 0;
    }
    const counts = total.map((sum, at) => Math.max(0, sum - (below[at] ?? 0)));
    const row = { low, high: edge(one), counts };
    below = total;
    low = edge(one);
    return row;
  });
  const filled = found.map(({ counts }) => counts.some((count) => count > 1e-9));
  const [first, final] = [filled.indexOf(true), filled.lastIndexOf(true)];
  return first < 0 ? [] : found.slice(Math.max(0, first - 1), final + 2);
}

export function drawHeatmap(box: HTMLElement, panel: Panel, answers: Answer[], range: Range): (() => void) | null {
  const all = rows(answers.flatMap(({ series }) => series), range);
  if (all.length === 0) return null;
  const unit = defaults(panel).unit;
  const canvas = el("canvas", { class: "heat", role: "img", "aria-label": `${panel.title}: ${all.length} buckets over time` });
  const readout = el("div", { class: "readout", "aria-hidden": "true" });
  readout.hidden = true;
  box.append(canvas, readout);
  const draw = () => paint(canvas, all, range, unit);
  const resized = new ResizeObserver(draw);
  resized.observe(box);
  canvas.addEventListener("pointermove", (event) => point(event, canvas, readout, all, range, unit));
  canvas.addEventListener("pointerleave", () => { readout.hidden = true; });
  return () => resized.disconnect();
}

const LEFT = 64;
const BOTTOM = 22;

function paint(canvas: HTMLCanvasElement, all: Row[], range: Range, unit?: string): void {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.parentElement?.clientWidth ?? 300, canvas.parentElement?.clientHeight ?? 150];
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const paper = canvas.getContext("2d");
  if (!paper) return;
  paper.scale(ratio, ratio);
  const columns = all[0]?.counts.length ?? 1;
  const [cellWidth, cellHeight] = [(width - LEFT) / columns, (height - BOTTOM - 6) / all.length];
  const most = Math.max(...all.flatMap(({ counts }) => counts));
  all.forEach(({ counts }, at) => {
    const y = height - BOTTOM - (at + 1) * cellHeight;
    counts.forEach((count, column) => {
      if (count <= 1e-9) return;
      // Square root: one slow request among thousands must be seen.
      paper.fillStyle = `hsl(${34 - 18 * Math.sqrt(count / most)} 88% ${64 - 26 * Math.sqrt(count / most)}% / ${0.3 + 0.7 * Math.sqrt(count / most)})`;
      paper.fillRect(LEFT + column * cellWidth, y, Math.max(1, cellWidth - 0.5), Math.max(1, cellHeight - 1));
    });
  });
  labels(paper, all, range, width, height, cellHeight, unit);
}

function labels(paper: CanvasRenderingContext2D, all: Row[], range: Range, width: number, height: number, cellHeight: number, unit?: string): void {
  paper.fillStyle = token("--muted");
  paper.font = "11px system-ui, sans-serif";
  paper.textAlign = "right";
  paper.textBaseline = "middle";
  const every = Math.ceil(16 / cellHeight);
  all.forEach(({ high }, at) => {
    if (at % every === 0) paper.fillText(Number.isFinite(high) ? `≤ ${format(high, unit)}` : "more", LEFT - 8, height - BOTTOM - (at + 0.5) * cellHeight);
  });
  paper.textBaseline = "alphabetic";
  const marks = Math.max(2, Math.floor((width - LEFT) / 110));
  for (let mark = 0; mark < marks; mark += 1) {
    const part = mark / (marks - 1);
    paper.textAlign = mark === 0 ? "left" : mark === marks - 1 ? "right" : "center";
    paper.fillText(clock(range.start + part * (range.end - range.start), range), LEFT + part * (width - LEFT), height - 6);
  }
}

function point(event: PointerEvent, canvas: HTMLCanvasElement, readout: HTMLElement, all: Row[], range: Range, unit?: string): void {
  const { width, height } = canvas.getBoundingClientRect();
  const column = Math.floor((event.offsetX - LEFT) / ((width - LEFT) / (all[0]?.counts.length ?? 1)));
  const row = all[Math.floor((height - BOTTOM - event.offsetY) / ((height - BOTTOM - 6) / all.length))];
  const count = row?.counts[column];
  readout.hidden = row === undefined || count === undefined || column < 0;
  if (row === undefined || count === undefined) return;
  const time = clock(range.start + column * range.step, range);
  readout.replaceChildren(el("strong", {}, time), el("div", {}, `${format(row.low, unit)} to ${format(row.high, unit)}: ${format(count, "short")}`));
}
