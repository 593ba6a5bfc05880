// One real notification: a session of the demo, the request, its arrival at the bell, its stages, its e-mail.
// Reads `POST /demo/session` and the bell's events; writes notifications with its key, as the bell's own page does.

import { type Stamps, stamps } from "./figures.ts";

const USER = "alice";
const MAIL = "alice@example.com";
const TIMEOUT_MS = 20_000;
/** How long the bell is waited for. */
export const ARRIVES_WITHIN_S = 30;
/** The e-mail's status: how often it is asked for, and the pause before it is asked for again. */
const MAIL_LOOKS = 40;
const MAIL_PAUSE_MS = 500;

export interface Session {
  readonly token: string;
  readonly user: string;
  readonly ws_url: string;
  readonly channel: string;
  readonly api_key: string;
}

export interface Rung {
  readonly id: string;
  readonly clickedAt: number;
  readonly stamps: Stamps;
}

interface Arrived {
  readonly receivedAt: number;
  readonly tags: Readonly<Record<string, string>>;
}

/** As much of the bell as this page uses; the gateway serves it. */
interface Bell extends HTMLElement {
  token: string;
  getToken: () => Promise<string>;
}

/** `off`: there is no demo; `away`: nobody answers; `refused`: `why` says it. */
export class Trouble extends Error {
  readonly kind: "off" | "away" | "refused" | "silent";
  constructor(kind: Trouble["kind"], why = "") {
    super(why);
    this.kind = kind;
  }
}

export async function openSession(): Promise<Session> {
  const answer = await post("/demo/session", { user: USER }, {});
  if (answer.status === 404) throw new Trouble("off");
  if (!answer.ok) throw new Trouble("refused", await why(answer));
  return (await answer.json()) as Session;
}

/** Connects the bell of the page. */
export function connect(session: Session): void {
  const bell = document.getElementById("bell") as Bell;
  const { user, channel, ws_url: endpoint } = session;
  Object.assign(bell, { user, channel, endpoint, apiBase: "", tabs: "all,unread" });
  bell.token = session.token;
  bell.getToken = async () => (await openSession()).token;
}

/** Arrivals by notification; one may come before the answer that tells its id. */
export class Arrivals {
  readonly #seen = new Map<string, Arrived>();
  readonly #waiting = new Map<string, (arrived: Arrived) => void>();

  constructor() {
    document.addEventListener("campana-notification", (event) => {
      const { notification, receivedAt, tags } = (event as CustomEvent<Arrived & { notification: { notification_id: string } }>).detail;
      const id = notification.notification_id;
      this.#waiting.get(id)?.({ receivedAt, tags });
      this.#waiting.delete(id);
      this.#seen.set(id, { receivedAt, tags });
      // Others ring alice too, the curl of this page for one.
      if (this.#seen.size > 100) this.#seen.delete(this.#seen.keys().next().value ?? "");
    });
  }

  of(id: string): Promise<Arrived> {
    const seen = this.#seen.get(id);
    if (seen !== undefined) return Promise.resolve(seen);
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Trouble("silent"));
      }, ARRIVES_WITHIN_S * 1_000);
      this.#waiting.set(id, (arrived) => {
        clearTimeout(late);
        resolve(arrived);
      });
    });
  }
}

/** Resolves with the 202. */
export async function ring(session: Session, title: string, body: string): Promise<Rung> {
  const clickedAt = performance.now();
  const notification = { to: { id: session.user, email: MAIL }, content: { title, body }, channels: ["in_app", "email"] };
  const answer = await post("/v1/notifications", notification, { authorization: `Bearer ${session.api_key}`, "campana-stamps": "1" });
  if (answer.status !== 202) throw new Trouble("refused", await why(answer));
  const { id } = (await answer.json()) as { id: string };
  return { id, clickedAt, stamps: stamps(answer.headers.get("campana-stamps")) };
}

/** Milliseconds from acceptance until the mailbox had taken the e-mail; null if it was not taken. */
export async function mailed(session: Session, id: string): Promise<number | null> {
  for (let look = 0; look < MAIL_LOOKS; look += 1) {
    const took = await mailLook(session, id).catch(() => undefined);
    if (took !== undefined) return took;
    await new Promise((resolve) => setTimeout(resolve, MAIL_PAUSE_MS));
  }
  return null;
}

interface Status {
  readonly created_at: string;
  readonly deliveries: readonly { readonly channel: string; readonly status: string; readonly attempts: readonly { readonly at: string }[] }[];
}

/** Undefined while it is under way. */
async function mailLook(session: Session, id: string): Promise<number | null | undefined> {
  const headers = { authorization: `Bearer ${session.api_key}` };
  const answer = await fetch(`/v1/notifications/${id}`, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!answer.ok) return undefined;
  const { created_at: created, deliveries } = (await answer.json()) as Status;
  const mail = deliveries.find(({ channel }) => channel === "email");
  if (mail === undefined || mail.status === "queued" || mail.status === "retrying") return undefined;
  const last = mail.attempts.at(-1);
  if (last === undefined || (mail.status !== "sent" && mail.status !== "delivered")) return null;
  return micros(last.at) - micros(created);
}

/** A moment in milliseconds; `Date` alone forgets what comes after the third digit. */
function micros(at: string): number {
  const more = /\.\d{3}(\d{1,3})/.exec(at)?.[1] ?? "";
  return Date.parse(at) + Number(`0.${more.padEnd(3, "0")}`);
}

async function post(url: string, body: unknown, more: Record<string, string>): Promise<Response> {
  const headers = { "content-type": "application/json", ...more };
  try {
    return await fetch(url, { method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new Trouble("away");
  }
}

/** The words of a problem document. */
async function why(answer: Response): Promise<string> {
  const problem = (await answer.json().catch(() => null)) as { detail?: string; title?: string } | null;
  return problem?.detail ?? problem?.title ?? String(answer.status);
}
