// Numbers as people read them, the line of the last minutes, the stages of one ring. Pure.

import { type Language, type Word, say } from "./words.ts";

/** A count: every digit up to 9,999, then three that count. */
export function count(language: Language, value: number | null): string {
  if (value === null) return "–";
  const long = value < 10_000;
  return new Intl.NumberFormat(language, long ? {} : { notation: "compact", maximumSignificantDigits: 3 }).format(value);
}

/** A rate for each second: one digit behind the point while that says something. */
export function rate(language: Language, value: number): string {
  const digits = value >= 10 ? 0 : value >= 1 ? 1 : 2;
  return value >= 10_000 ? count(language, value) : new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

export function milliseconds(language: Language, value: number | null): string {
  if (value === null) return "–";
  const format = (number: number, digits: number) => new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(number);
  if (value >= 1_000) return `${format(value / 1_000, 2)} s`;
  return `${format(value, value >= 100 ? 0 : 1)} ms`;
}

const SIZES: readonly (readonly [number, string])[] = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];

export function bytes(language: Language, value: number | null): string {
  if (value === null) return "–";
  const [size, unit] = SIZES.find(([least]) => value >= least) ?? [1, "B"];
  return `${new Intl.NumberFormat(language, { maximumSignificantDigits: 3 }).format(value / size)} ${unit}`;
}

/** The largest unit says enough. */
export function duration(language: Language, seconds: number): string {
  const units: [number, Word][] = [[86_400, "days"], [3_600, "hours"], [60, "minutes"], [1, "seconds"]];
  const [size, word] = units.find(([least]) => seconds >= least) ?? [1, "seconds"];
  return say(language, word, { n: Math.floor(seconds / size) });
}

/** Points of a polyline in a box, the newest at the right end, on a scale that others share. */
export function line(values: readonly number[], slots: number, top: number, width: number, height: number): string {
  if (values.length < 2 || top <= 0) return "";
  const step = width / (slots - 1);
  const first = width - step * (values.length - 1);
  return values.map((value, at) => `${(first + at * step).toFixed(1)},${(height - (Math.min(value, top) / top) * height).toFixed(1)}`).join(" ");
}

export type Stage = "stored" | "dispatched" | "edge" | "socket";
const STAGES: readonly Stage[] = ["stored", "dispatched", "edge", "socket"];

export interface Stamps {
  readonly boot: string;
  /** Nanoseconds of the host's clock. */
  readonly at: Readonly<Record<string, bigint>>;
}

/** `boot=5b0f3c1e;accepted=812;stored=813`; what is not of this form is left out. */
export function stamps(text: string | null | undefined): Stamps {
  const pairs = (text ?? "").split(";").map((part) => part.split("="));
  const boot = pairs.find(([name]) => name === "boot")?.[1] ?? "";
  const times = pairs.filter(([name, value]) => name !== "boot" && /^\d{1,20}$/.test(value ?? ""));
  return { boot, at: Object.fromEntries(times.map(([name, value]) => [name, BigInt(value as string)])) };
}

/** Milliseconds after the gateway had it, of the stages that the same machine timed. */
export function stages(answer: Stamps, publication: Stamps): { stage: Stage; ms: number }[] {
  const begin = answer.at["accepted"];
  if (begin === undefined || (publication.boot !== "" && publication.boot !== answer.boot)) return [];
  const all = { ...publication.at, ...answer.at };
  return STAGES.flatMap((stage) => {
    const at = all[stage];
    return at === undefined ? [] : [{ stage, ms: Math.max(0, Number(at - begin) / 1e6) }];
  });
}
