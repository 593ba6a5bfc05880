/** Draws the measurements: the large figure, the percentiles, the sparkline, the last twenty. */

import { byId, element, setText } from "./dom.ts";
import { latencies, milliseconds, sparkline, summarize } from "./measure.ts";
import type { Ring, RingLog } from "./measure.ts";

const LISTED = 20;
const DRAWN = 60;
/** After this long without an arrival the row says so. */
export const LATE_MS = 10_000;

export function drawResults(log: RingLog, now: number): void {
  const values = latencies(log);
  drawSummary(values);
  drawSparkline(values.slice(0, DRAWN).reverse());
  const newest = log.rings[0];
  if (newest === undefined) drawNothing();
  else drawLast(newest, log.rings.find((ring) => ring.arrivedMs !== null));
  byId("results").hidden = newest === undefined;
  byId("results-empty").hidden = newest !== undefined;
  byId("rings").replaceChildren(...log.rings.slice(0, LISTED).map((ring) => row(ring, Math.max(...values, 1), now)));
}

function drawNothing(): void {
  setText("last-latency", "–");
  setText("last-accepted", "–");
  setText("trace-id", "–");
}

function drawLast(newest: Ring, measured: Ring | undefined): void {
  setText("last-latency", measured?.arrivedMs === null || measured === undefined ? "…" : milliseconds(measured.arrivedMs));
  byId("last-latency").dataset["ntf"] = measured?.id ?? "";
  setText("last-accepted", milliseconds(newest.acceptedMs));
  setText("trace-id", newest.traceId || "–");
}

function drawSummary(values: readonly number[]): void {
  const summary = summarize(values);
  for (const name of ["min", "median", "p99", "max"] as const) {
    setText(`stat-${name}`, summary === null ? "–" : milliseconds(summary[name]));
  }
  setText("stat-count", summary === null ? "" : `of ${summary.count} ${summary.count === 1 ? "ring" : "rings"}`);
}

function drawSparkline(values: readonly number[]): void {
  const points = sparkline(values, 240, 40);
  byId("spark-line").setAttribute("points", points);
  byId("spark-area").setAttribute("points", points === "" ? "" : `0,40 ${points} 240,40`);
  byId("spark").classList.toggle("empty", points === "");
  byId("spark").setAttribute("aria-label", `The last ${values.length} latencies, oldest first`);
}

function row(ring: Ring, largest: number, now: number): HTMLElement {
  const item = element("li", ring.arrivedMs === null ? "ring waiting" : "ring");
  item.dataset["testid"] = "measurement";
  item.dataset["id"] = ring.id;
  const late = now - ring.clickedAt > LATE_MS;
  const latency = ring.arrivedMs !== null ? milliseconds(ring.arrivedMs) : late ? `not here after ${LATE_MS / 1_000} s` : "under way";
  const bar = element("span", "bar");
  const fill = element("i", "");
  fill.style.width = `${((ring.arrivedMs ?? 0) / largest) * 100}%`;
  bar.append(fill);
  item.append(element("span", "ring-latency", latency), bar, element("span", "ring-accepted", `202 in ${milliseconds(ring.acceptedMs)}`));
  const id = element("code", "ring-id", `…${ring.id.slice(-6)}`);
  id.title = `${ring.id}, trace ${ring.traceId}, offset ${ring.offset}`;
  item.append(id);
  return item;
}
