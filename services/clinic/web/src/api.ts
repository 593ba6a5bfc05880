/** The clinic's JSON, and its refusals. Reads and writes: `/api`. Never: repeats a request that changes something. */

export type Role = "patient" | "dentist";
export type Status = "requested" | "accepted" | "proposed" | "declined" | "cancelled";
export type Action = "accept" | "propose" | "decline" | "accept_proposal" | "decline_proposal" | "cancel";

export interface Me {
  readonly id: string;
  readonly role: Role;
  readonly email: string;
  readonly name: string;
  readonly language: string;
  readonly phone: string;
  readonly version: number;
  readonly wants: Readonly<Record<"email" | "sms" | "whatsapp", boolean>>;
}

export interface Setup {
  readonly demo: readonly { readonly id: string; readonly name: string; readonly role: Role }[];
  readonly edge_url: string;
  /** Who is signed in already. */
  readonly me: Me | null;
}

export interface Clinic {
  readonly id: string;
  readonly name: string;
  readonly address: string;
  readonly time_zone: string;
  readonly today: string;
  readonly dentists: readonly { readonly id: string; readonly name: string }[];
}

export interface Time {
  readonly starts_at: string;
  readonly time: string;
  readonly offset: string;
}

export interface Times {
  readonly data: readonly Time[];
  readonly closed: boolean;
}

export interface Appointment {
  readonly id: string;
  readonly status: Status;
  readonly confirmed: boolean;
  readonly starts_at: string;
  readonly proposed_at: string | null;
  readonly note: string;
  readonly message: string;
  readonly version: number;
  readonly clinic: { readonly id: string; readonly name: string; readonly address: string; readonly time_zone: string };
  readonly dentist: { readonly id: string; readonly name: string };
  readonly patient: { readonly id: string; readonly name: string };
  readonly actions: readonly Action[];
}

export interface Page {
  readonly data: readonly Appointment[];
  readonly next: string | null;
}

export interface Session {
  readonly id: string;
  readonly device: string;
  readonly current: boolean;
  readonly last_used_at: string;
}

/** A refusal: `code` is one of the README's list, or `network` when there was no answer. */
export class Refusal extends Error {
  constructor(readonly code: string, readonly pointer: string | null, readonly seconds: number | null) {
    super(code);
  }
}

const TIMEOUT_MS = 20_000;

async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method, signal: AbortSignal.timeout(TIMEOUT_MS), credentials: "same-origin" };
  if (body !== undefined) {
    init.headers = { "content-type": "application/json" };
    init.body = JSON.stringify(body);
  }
  let answer: Response;
  try {
    answer = await fetch(path, init);
  } catch {
    throw new Refusal("network", null, null);
  }
  if (answer.status === 204) return undefined as T;
  const found: unknown = await answer.json().catch(() => null);
  if (answer.ok) return found as T;
  const problem = found as { code?: string; pointer?: string } | null;
  const seconds = Number(answer.headers.get("retry-after")) || null;
  throw new Refusal(problem?.code ?? "internal", problem?.pointer ?? null, seconds);
}

const part = encodeURIComponent;

export const api = {
  setup: () => ask<Setup>("GET", "/api/setup"),
  signIn: (form: { email: string; password: string }) => ask<Me>("POST", "/api/session", form),
  signUp: (form: { name: string; email: string; password: string; language: string }) => ask<Me>("POST", "/api/accounts", form),
  signInAs: (account: string) => ask<Me>("POST", "/api/demo-session", { account }),
  signOut: () => ask<void>("DELETE", "/api/session"),
  save: (form: Pick<Me, "name" | "language" | "phone" | "wants" | "version">) => ask<Me>("PUT", "/api/me", form),
  sessions: () => ask<{ data: readonly Session[] }>("GET", "/api/sessions"),
  endSession: (id: string) => ask<void>("DELETE", `/api/sessions/${part(id)}`),
  edgeToken: () => ask<{ token: string }>("POST", "/api/edge-token"),
  clinics: () => ask<{ data: readonly Clinic[]; days_ahead_max: number }>("GET", "/api/clinics"),
  times: (dentist: string, date: string) => ask<Times>("GET", `/api/dentists/${part(dentist)}/times?date=${part(date)}`),
  appointments: (which: "ahead" | "over", after: string) => ask<Page>("GET", `/api/appointments?which=${which}&after=${part(after)}`),
  appointment: (id: string) => ask<Appointment>("GET", `/api/appointments/${part(id)}`),
  book: (form: { dentist: string; starts_at: string; note: string; request_id: string }) => ask<Appointment>("POST", "/api/appointments", form),
  act: (id: string, action: Action, form: { version: number; starts_at?: string; message?: string }) =>
    ask<Appointment>("POST", `/api/appointments/${part(id)}/${action}`, form),
};
