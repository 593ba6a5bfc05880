// Questions to Prometheus, through the proxy beside this page.

import type { Labels, Range, Series } from "./model.ts";

/** More at once would only wait in the browser or be refused by the proxy. */
const AT_ONCE = 6;

/** What went wrong, in words that say what to do. */
export class QueryError extends Error {}

let running = 0;
const waiting: (() => void)[] = [];

async function turn<T>(work: () => Promise<T>): Promise<T> {
  if (running >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  running += 1;
  try {
    return await work();
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

async function ask(kind: string, params: Record<string, string>, signal?: AbortSignal): Promise<Series[]> {
  return turn(async () => {
    signal?.throwIfAborted();
    const init = signal ? { signal } : {};
    const answer = await fetch(`/dashboards/api/${kind}?${new URLSearchParams(params)}`, init);
    const text = await answer.text();
    let body: { status?: string; error?: string; detail?: string; data?: { result?: Series[] } } = {};
    try {
      body = JSON.parse(text);
    } catch {
      throw new QueryError(text.slice(0, 300) || `HTTP ${answer.status}`);
    }
    if (!answer.ok || body.status !== "success") throw new QueryError(body.error ?? body.detail ?? `HTTP ${answer.status}`);
    return body.data?.result ?? [];
  });
}

export function queryRange(query: string, range: Range, signal?: AbortSignal): Promise<Series[]> {
  const { start, end, step } = range;
  return ask("query_range", { query, start: String(start), end: String(end), step: String(step) }, signal);
}

export function query(query: string, time: number, signal?: AbortSignal): Promise<Series[]> {
  return ask("query", { query, time: String(time) }, signal);
}

/** `label_values(selector, label)`: only `query` is open, so it is asked as a grouping. */
export async function labelValues(definition: string, range: Range): Promise<string[]> {
  const found = /^label_values\((.*),\s*(\w+)\)$/s.exec(definition);
  if (!found) return [];
  const [, selector, label] = found as unknown as [string, string, string];
  const shown = Math.max(1, Math.ceil(range.end - range.start));
  const series = await query(`group by (${label}) (last_over_time(${selector}[${shown}s]))`, range.end);
  return series.map((one) => one.metric[label] ?? "").filter((value) => value !== "").sort();
}

/** Seconds between two scrapes: the smallest distance of samples of the last minutes. */
export async function scrapeInterval(now: number): Promise<number> {
  const series = await query("up[2m]", now);
  const gaps = series.flatMap(({ values = [] }) => values.slice(1).map(([time], at) => time - (values[at]?.[0] ?? 0)));
  const least = Math.min(...gaps.filter((gap) => gap > 0.2));
  return Number.isFinite(least) ? Math.max(1, Math.round(least)) : 15;
}

/** `{{label}}` in a legend; without a legend all labels. */
export function legend(format: string, labels: Labels): string {
  if (format === "") {
    const shown = Object.entries(labels).filter(([name]) => name !== "__name__");
    return shown.map(([name, value]) => `${name}=${value}`).join(", ") || (labels["__name__"] ?? "value");
  }
  return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name: string) => labels[name] ?? "").trim() || "value";
}
