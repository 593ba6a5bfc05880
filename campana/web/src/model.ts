// The part of Grafana's classic dashboard that the generator writes, and that is drawn here.

export interface Target {
  refId: string;
  expr: string;
  legendFormat: string;
  instant?: boolean;
  format?: string;
}

export interface Step {
  value: number | null;
  color: string;
}

export interface Named {
  text: string;
  color: string;
}

export interface Defaults {
  unit?: string;
  min?: number;
  max?: number;
  decimals?: number;
  thresholds?: { steps: Step[] };
  mappings?: { type: string; options: Record<string, Named> }[];
  custom?: { stacking?: { mode: string }; thresholdsStyle?: { mode: string } };
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { h: number; w: number; x: number; y: number };
  targets?: Target[];
  fieldConfig?: { defaults: Defaults };
  options?: { content?: string };
  transformations?: { id: string; options: { renameByName?: Record<string, string>; indexByName?: Record<string, number> } }[];
}

export interface Variable {
  type: string;
  name: string;
  label?: string;
  description?: string;
  query: string | { query: string };
  includeAll?: boolean;
  allValue?: string;
  current?: { value: string | string[] };
  options?: { value: string }[];
}

export interface Board {
  uid: string;
  title: string;
  description: string;
  refresh: string;
  time: { from: string };
  templating: { list: Variable[] };
  panels: Panel[];
}

/** What the server tells at the start. */
export interface Setup {
  prometheus: boolean;
  boards: { slug: string; title: string }[];
}

export type Labels = Record<string, string>;
export type Sample = [time: number, value: string];

/** One series of Prometheus' answer. */
export interface Series {
  metric: Labels;
  values?: Sample[];
  value?: Sample;
}

/** One query's answer, with the query that it belongs to. */
export interface Answer {
  target: Target;
  series: Series[];
}

/** The time range shown, in seconds, and the distance of its points. */
export interface Range {
  start: number;
  end: number;
  step: number;
}

export function defaults(panel: Panel): Defaults {
  return panel.fieldConfig?.defaults ?? {};
}

/** The name and colour of a number, if it has one. */
export function named(panel: Panel, value: number): Named | undefined {
  return defaults(panel).mappings?.[0]?.options[String(value)];
}

/** The colour of the last step that the value has reached. */
export function stepColour(panel: Panel, value: number): string | undefined {
  const steps = defaults(panel).thresholds?.steps ?? [];
  return steps.filter((step) => step.value === null || value >= step.value).at(-1)?.color;
}
