// The variables of a dashboard: what there is to choose, what is chosen, and queries with it.
// Pure but for `load`, which asks Prometheus what there is.

import type { Board, Range, Variable } from "./model.ts";
import { labelValues } from "./prometheus.ts";

export const ALL = "$__all";

/** What is chosen, by name; kept in the address so that it can be passed on. */
export type Chosen = Record<string, string>;

export interface Choice {
  variable: Variable;
  values: string[];
}

/** The variables that a reader chooses; the data source is a matter of configuration here. */
export function choosable(board: Board): Variable[] {
  return board.templating.list.filter((variable) => variable.type !== "datasource");
}

/** What each variable offers; later ones may depend on earlier ones. */
export async function load(board: Board, chosen: Chosen, range: Range): Promise<Choice[]> {
  const choices: Choice[] = [];
  for (const variable of choosable(board)) {
    const values = variable.type === "query" ? await labelValues(substitute(definition(variable), board, chosen, range, 1), range) : (variable.options ?? []).map(({ value }) => value);
    const now = chosen[variable.name];
    const offered = variable.includeAll ? [ALL, ...values] : values;
    if (now === undefined || !offered.includes(now)) {
      // The newest run is the last in order of names, and the one that people look for.
      const first = variable.type === "query" && !variable.includeAll ? values.at(-1) : offered[0];
      chosen[variable.name] = first ?? "";
    }
    choices.push({ variable, values: offered });
  }
  return choices;
}

function definition(variable: Variable): string {
  return typeof variable.query === "string" ? variable.query : variable.query.query;
}

/** The query as Prometheus understands it. */
export function substitute(expr: string, board: Board, chosen: Chosen, range: Range, scrape: number): string {
  const shown = Math.max(1, Math.ceil(range.end - range.start));
  // As Grafana: four scrapes, or one step and a scrape, whatever is longer.
  const rate = Math.max(4 * scrape, range.step + scrape);
  const known: Record<string, string> = { __rate_interval: `${rate}s`, __range: `${shown}s`, __interval: `${range.step}s` };
  for (const variable of choosable(board)) {
    const value = chosen[variable.name] ?? "";
    known[variable.name] = value === ALL ? (variable.allValue ?? ".+") : inMatcher(variable, value);
  }
  return expr.replace(/\$\{?(\w+)\}?/g, (whole, name: string) => known[name] ?? whole);
}

/** Values of labels stand in regular expressions inside of quotes, so both are escaped. */
function inMatcher(variable: Variable, value: string): string {
  if (variable.type !== "query") return value;
  return value.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&").replaceAll("\\", "\\\\").replaceAll('"', '\\"');
}
