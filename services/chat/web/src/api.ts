/** The chat's HTTP API, as the page uses it. */

import type { Change, FileCard, Message, Page, Person } from "./timeline.ts";

export interface Room {
  id: string; kind: "public" | "private" | "direct"; name: string; topic: string; with: string | null;
  last_seq: number; slow_seconds: number; role: "owner" | "moderator" | "member";
  read_seq: number; muted_until: number; unread: number; people: number;
}
export interface Listed { id: string; name: string; topic: string; people: number; joined: boolean }
export interface Member extends Person { role: Room["role"]; read_seq: number; muted_until: number }
export interface Session { id: string; label: string; created_at: number; seen_at: number; expires_at: number }
export interface Start {
  person: Person | null; session?: string; edge: string; gateway?: string; registration: boolean;
  demo?: { people: Person[]; password: string };
}
export interface Tokens { channel: string; token: string; typing_channel: string; typing_token: string }
export interface Connection { token: string; personal_channel: string; personal_token: string }

/** A refusal: `code` is stable, see the service's README. */
export class Refusal extends Error {
  constructor(readonly status: number, readonly code: string, readonly detail: string, readonly retryAfter: number) {
    super(code);
  }
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const raw = body instanceof Blob;
  const init: RequestInit = { method };
  if (body !== undefined) {
    init.body = raw ? body : JSON.stringify(body);
    init.headers = { "content-type": raw ? "application/octet-stream" : "application/json" };
  }
  let answer: Response;
  try {
    answer = await fetch(`/api${path}`, init);
  } catch {
    throw new Refusal(0, "offline", "", 0);
  }
  const json = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
  if (answer.ok) return json as T;
  throw new Refusal(answer.status, json.code ?? "internal", json.detail ?? "", json.retry_after_seconds ?? 0);
}

const enc = encodeURIComponent;

export const api = {
  start: () => call<Start>("GET", "/session"),
  signIn: (handle: string, password: string) => call<Start>("POST", "/session", { handle, password }),
  register: (handle: string, name: string, password: string) => call<Start>("POST", "/accounts", { handle, name, password }),
  signOut: () => call<void>("DELETE", "/session"),
  sessions: () => call<{ sessions: Session[]; current: string }>("GET", "/sessions"),
  revoke: (id: string) => call<void>("DELETE", `/sessions/${enc(id)}`),
  connection: () => call<Connection>("POST", "/token"),
  rooms: () => call<{ rooms: Room[] }>("GET", "/rooms"),
  directory: () => call<{ rooms: Listed[] }>("GET", "/directory"),
  addRoom: (name: string, topic: string, isPrivate: boolean) => call<Room>("POST", "/rooms", { name, topic, private: isPrivate }),
  direct: (handle: string) => call<Room>("POST", "/direct", { handle }),
  room: (id: string) => call<{ room: Room; members: Member[]; receipts: boolean }>("GET", `/rooms/${enc(id)}`),
  setRoom: (id: string, topic: string, slow_seconds: number) => call<Room>("PATCH", `/rooms/${enc(id)}`, { topic, slow_seconds }),
  join: (id: string) => call<Room>("POST", `/rooms/${enc(id)}/join`, {}),
  leave: (id: string) => call<void>("POST", `/rooms/${enc(id)}/leave`, {}),
  invite: (id: string, handle: string) => call<void>("POST", `/rooms/${enc(id)}/members`, { handle }),
  moderate: (id: string, action: string, handle: string, seconds: number) => call<void>("POST", `/rooms/${enc(id)}/moderation`, { action, handle, seconds }),
  tokens: (id: string) => call<Tokens>("POST", `/rooms/${enc(id)}/token`, {}),
  page: (id: string, before: number) => call<Page>("GET", `/rooms/${enc(id)}/messages?before=${before}&limit=50`),
  changes: (id: string, after: number) => call<{ changes: Change[] }>("GET", `/rooms/${enc(id)}/changes?after=${after}`),
  search: (id: string, q: string, before: number) => call<{ messages: Message[]; next: number }>("GET", `/rooms/${enc(id)}/search?q=${enc(q)}&before=${before}`),
  say: (id: string, client_id: string, text: string, file: string | null) => call<Change>("POST", `/rooms/${enc(id)}/messages`, { client_id, text, ...(file === null ? {} : { file }) }),
  edit: (id: string, message: string, text: string) => call<Change>("PATCH", `/rooms/${enc(id)}/messages/${enc(message)}`, { text }),
  remove: (id: string, message: string) => call<Change>("DELETE", `/rooms/${enc(id)}/messages/${enc(message)}`),
  read: (id: string, seq: number) => call<void>("POST", `/rooms/${enc(id)}/read`, { seq }),
  upload: (id: string, file: File) => call<FileCard>("POST", `/rooms/${enc(id)}/files?name=${enc(file.name)}`, file),
};
