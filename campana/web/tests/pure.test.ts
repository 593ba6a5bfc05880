// What can be wrong without a browser: numbers, variables, grids, buckets.

import assert from "node:assert/strict";
import { test } from "node:test";
import { rows } from "../src/heatmap.ts";
import type { Board, Series } from "../src/model.ts";
import { pieces } from "../src/panels.ts";
import { legend } from "../src/prometheus.ts";
import { duration, format } from "../src/units.ts";
import { ALL, substitute } from "../src/variables.ts";

const RANGE = { start: 100, end: 110, step: 5 };

test("numbers have three digits that count, and their unit", () => {
  const cases: [number, string, string][] = [
    [0, "s", "0 s"], [0.0000125, "s", "12.5 µs"], [0.2, "s", "200 ms"], [90, "s", "90 s"], [7200, "s", "2 h"],
    [1536, "bytes", "1.5 KiB"], [12, "bytes", "12 B"], [0.9987, "percentunit", "99.9 %"], [1234567, "short", "1.23 M"],
    [0.5, "reqps", "0.5 req/s"], [Number.NaN, "s", "–"], [Number.POSITIVE_INFINITY, "s", "∞"], [5, "none", "5"],
  ];
  for (const [value, unit, text] of cases) assert.equal(format(value, unit), text);
  assert.equal(format(0.99987, "percentunit", 2), "99.99 %");
  assert.equal(duration("now-6h"), 21_600);
  assert.equal(duration("10s"), 10);
});

const BOARD = {
  templating: { list: [
    { type: "datasource", name: "datasource", query: "prometheus" },
    { type: "query", name: "job", query: "label_values(up, job)", includeAll: true, allValue: ".+" },
    { type: "query", name: "run", query: "label_values(up, run)" },
    { type: "custom", name: "quantile", query: "0.99" },
  ] },
} as unknown as Board;

test("variables stand in queries as Grafana would put them", () => {
  const chosen = { job: ALL, run: 'a.b"c', quantile: "0.5" };
  const expr = 'histogram_quantile($quantile, rate(x{job=~"$job",run=~"$run|$compare"}[$__rate_interval]) + y[$__range])';
  assert.equal(
    substitute(expr, BOARD, chosen, RANGE, 1),
    'histogram_quantile(0.5, rate(x{job=~".+",run=~"a\\\\.b\\"c|$compare"}[6s]) + y[10s])',
  );
  assert.match(substitute("x[$__rate_interval]", BOARD, chosen, RANGE, 15), /60s/);
});

test("legends take labels", () => {
  assert.equal(legend("{{a}} of {{ b }}", { a: "1" }), "1 of");
  assert.equal(legend("", { __name__: "up", job: "x" }), "job=x");
});

test("buckets are what lies in them, not what lies below", () => {
  const bucket = (le: string, value: string): Series => ({ metric: { le }, values: [[105, value]] });
  const found = rows([bucket("+Inf", "7"), bucket("0.1", "2"), bucket("0.5", "7"), bucket("1", "7")], RANGE);
  assert.deepEqual(found.map(({ high, counts }) => [high, counts[1]]), [[0.1, 2], [0.5, 5], [1, 0]]);
  assert.deepEqual(rows([bucket("1", "0")], RANGE), []);
});

test("neighbours in the same state are one piece, a hole is none", () => {
  const series: Series = { metric: {}, values: [[100, "1"], [105, "1"], [110, "0"], [125, "0"]] };
  assert.deepEqual(pieces(series, 5), [{ value: 1, from: 100, to: 110 }, { value: 0, from: 110, to: 115 }, { value: 0, from: 125, to: 130 }]);
});
