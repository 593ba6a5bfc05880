/**
 * The measurements as a value: which ring was accepted when, and when its notification came back.
 *
 * All times are `performance.now()` of one page, so no two clocks are compared. A publication may
 * arrive before the body of the 202: early arrivals wait here until their id is known. Pure.
 */

export const MAX_RINGS = 1_000;
/** Arrivals whose ring is not known (yet): also everything that others send to this user. */
export const MAX_EARLY = 500;

export interface Arrival {
  readonly at: number;
  readonly offset: number;
  readonly traceId: string;
}

export interface Ring {
  readonly id: string;
  readonly clickedAt: number;
  readonly acceptedMs: number;
  readonly arrivedMs: number | null;
  readonly offset: number;
  readonly traceId: string;
}

export interface RingLog {
  /** Newest first. */
  readonly rings: readonly Ring[];
  readonly early: ReadonlyMap<string, Arrival>;
}

export interface Summary {
  readonly count: number;
  readonly min: number;
  readonly median: number;
  readonly p99: number;
  readonly max: number;
}

export const EMPTY_LOG: RingLog = { rings: [], early: new Map() };

/** The gateway answered 202 with this id. */
export function accepted(log: RingLog, id: string, clickedAt: number, at: number, traceId: string): RingLog {
  const early = new Map(log.early);
  const arrival = early.get(id);
  early.delete(id);
  const ring: Ring = {
    id,
    clickedAt,
    acceptedMs: at - clickedAt,
    arrivedMs: arrival === undefined ? null : arrival.at - clickedAt,
    offset: arrival?.offset ?? 0,
    traceId: arrival?.traceId || traceId,
  };
  return { rings: [ring, ...log.rings].slice(0, MAX_RINGS), early };
}

/** The bell received the notification with this id. The first arrival counts. */
export function arrived(log: RingLog, id: string, arrival: Arrival): RingLog {
  if (!log.rings.some((ring) => ring.id === id)) {
    const early = [...log.early.entries(), [id, arrival] as const].slice(-MAX_EARLY);
    return { ...log, early: new Map(early) };
  }
  const rings = log.rings.map((ring) =>
    ring.id === id && ring.arrivedMs === null
      ? { ...ring, arrivedMs: arrival.at - ring.clickedAt, offset: arrival.offset, traceId: arrival.traceId || ring.traceId }
      : ring,
  );
  return { ...log, rings };
}

/** Latencies of the rings that arrived, newest first. */
export function latencies(log: RingLog): number[] {
  return log.rings.flatMap((ring) => (ring.arrivedMs === null ? [] : [ring.arrivedMs]));
}

/** Nearest-rank percentiles, or null without a value. */
export function summarize(values: readonly number[]): Summary | null {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  if (sorted.length === 0) return null;
  return { count: sorted.length, min: at(0), median: at(0.5), p99: at(0.99), max: at(1) };
}

/** Milliseconds with as many digits as they deserve. */
export function milliseconds(value: number): string {
  if (value >= 1_000) return `${(value / 1_000).toFixed(2)} s`;
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ms`;
}

/** Points of a polyline in a box, oldest left, the scale from zero to the largest value. */
export function sparkline(values: readonly number[], width: number, height: number): string {
  const top = Math.max(...values, 0);
  if (values.length < 2 || top === 0) return "";
  const step = width / (values.length - 1);
  return values.map((value, at) => `${(at * step).toFixed(1)},${(height - (value / top) * height).toFixed(1)}`).join(" ");
}
