/** The HTTP calls of the demo page: a session for a user, and notifications with its key. */

import { problemText } from "../api.ts";

const TIMEOUT_MS = 20_000;

/** Answer of `POST /demo/session`. */
export interface Session {
  readonly token: string;
  readonly user: string;
  readonly ws_url: string;
  readonly channel: string;
  readonly api_key: string;
  readonly api_base: string;
  readonly sandbox_url?: string;
  readonly metrics_url?: string;
}

export interface Accepted {
  readonly id: string;
  readonly traceId: string;
}

export interface Message {
  readonly title: string;
  readonly body: string;
  readonly email: boolean;
  readonly category?: string;
  readonly url?: string;
}

/** What went wrong, in a sentence for the page. */
export class PlatformError extends Error {}

export async function openSession(user: string): Promise<Session> {
  const answer = await post("/demo/session", { user }, null);
  if (answer.status === 404) throw new PlatformError("The demo is switched off on this gateway: it has no POST /demo/session.");
  if (!answer.ok) throw new PlatformError(`The gateway refused a session: ${await problemText(answer)}`);
  const session = (await answer.json()) as Partial<Session>;
  if (!session.token || !session.ws_url || !session.channel) throw new PlatformError("The gateway's session lacks a token, an address or a channel.");
  return { api_key: "", api_base: "", user, ...session } as Session;
}

/** One notification; resolves with the 202. */
export async function ringOnce(session: Session, message: Message): Promise<Accepted> {
  const answer = await post(`${session.api_base}/v1/notifications`, notification(session, message), session.api_key);
  if (answer.status !== 202) throw new PlatformError(`Not accepted: ${await problemText(answer)}`);
  const { id, trace_id } = (await answer.json()) as { id: string; trace_id?: string };
  return { id, traceId: trace_id ?? "" };
}

/** Many in one request: a browser would send no more than six requests at a time. */
export async function ringMany(session: Session, messages: readonly Message[]): Promise<Accepted[]> {
  const notifications = messages.map((message) => notification(session, message));
  const answer = await post(`${session.api_base}/v1/notifications/batch`, { notifications }, session.api_key);
  if (!answer.ok) throw new PlatformError(`Not accepted: ${await problemText(answer)}`);
  const { results } = (await answer.json()) as { results: { status: string; id?: string }[] };
  const taken = results.flatMap((result) => (result.status === "accepted" && result.id ? [{ id: result.id, traceId: "" }] : []));
  if (taken.length < messages.length) throw new PlatformError(`Only ${taken.length} of ${messages.length} were accepted.`);
  return taken;
}

export function mailAddress(user: string): string {
  return `${user}@example.com`;
}

function notification({ user }: Session, { title, body, email, category, url }: Message): unknown {
  return {
    to: email ? { id: user, email: mailAddress(user) } : user,
    content: { title, body, ...(url !== undefined && { url }) },
    ...(category !== undefined && { metadata: { category } }),
    channels: email ? ["in_app", "email"] : ["in_app"],
  };
}

async function post(url: string, body: unknown, key: string | null): Promise<Response> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (key !== null) headers["authorization"] = `Bearer ${key}`;
  try {
    return await fetch(url, { method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (cause) {
    const late = cause instanceof DOMException && cause.name === "TimeoutError";
    throw new PlatformError(late ? "The gateway did not answer in time." : "The gateway cannot be reached. Is campana still running?");
  }
}
