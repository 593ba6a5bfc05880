// `GET /overview.json`: its form, and asking for it. Never asks longer than a page wants to wait.

/** What one question may take. */
const TIMEOUT_MS = 8_000;

export type AppState = "starting" | "running" | "restarting" | "missing";

export interface App {
  readonly name: string;
  readonly title: string;
  readonly url: string;
  readonly state: AppState;
  /** Why it is not running, if more is known than the state says. */
  readonly reason?: string | null;
}

export interface Counted {
  readonly total: number;
  readonly per_second: number;
}

export interface Quantiles {
  readonly p50_ms: number;
  readonly p99_ms: number;
}

export interface Part {
  readonly up: boolean;
  readonly bytes: number | null;
}

export interface Numbers {
  readonly accepted: Counted;
  readonly refused: number;
  readonly delivered: Counted;
  readonly channels: readonly { readonly channel: string; readonly delivered: Counted; readonly failed: number; readonly took: Quantiles | null }[];
  readonly push: Quantiles | null;
  readonly clients: number;
  readonly waiting: { readonly requests: number | null; readonly deliveries: number | null; readonly outcomes: number | null };
  readonly dead_letters: number;
  readonly nats: Part;
  readonly database: Part;
  readonly history: { readonly step_ms: number; readonly accepted: readonly number[]; readonly delivered: readonly number[] };
}

export interface Overview {
  readonly version: string;
  readonly durability: string;
  readonly uptime_seconds: number;
  readonly apps: readonly App[];
  readonly links: Readonly<Record<string, string>>;
  readonly numbers: Numbers;
}

/** Null if the platform does not answer. */
export async function ask(): Promise<Overview | null> {
  try {
    const answer = await fetch("/overview.json", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    return answer.ok ? ((await answer.json()) as Overview) : null;
  } catch {
    return null;
  }
}
