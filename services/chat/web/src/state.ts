/** What the page knows. One object; whoever changes it calls `draw`. */

import type { Listed, Member, Room, Session, Start } from "./api.ts";
import type { Follower } from "./follower.ts";
import type { Message } from "./timeline.ts";
import { type Language, WORDS, type Words, firstLanguage } from "./words.ts";

/** A message that the service has not confirmed. */
export interface Pending { client: string; text: string; file: File | null; uploaded: string | null; failed: string | null }

export interface OpenRoom {
  id: string;
  follower: Follower;
  loaded: boolean;
  members: Member[];
  receipts: boolean;
  /** Person ids that are in the room now. */
  here: Set<string>;
  hereCount: number;
  /** Name and end of typing by person id. */
  typing: Map<string, { name: string; until: number }>;
  pending: Pending[];
  /** Whether one of them is on its way. */
  sending: boolean;
  editing: Message | null;
  actionsOf: string | null;
  file: File | null;
  notice: string | null;
  fresh: boolean;
}

export type Dialog =
  | { kind: "room" } | { kind: "direct" } | { kind: "people" } | { kind: "settings" }
  | { kind: "directory"; rooms: Listed[] | null }
  | { kind: "devices"; sessions: Session[] | null; current: string }
  | { kind: "search"; words: string; found: Message[] | null; next: number };

export interface State {
  language: Language;
  start: Start | null;
  registering: boolean;
  rooms: Room[] | null;
  room: OpenRoom | null;
  dialog: Dialog | null;
  /** Of the form or dialog that is open. */
  error: string | null;
  busy: boolean;
  connection: "connecting" | "connected" | "disconnected";
}

const stored = (): string | null => {
  try {
    return localStorage.getItem("chat-language");
  } catch {
    return null;
  }
};

export const state: State = {
  language: firstLanguage(stored(), navigator.languages),
  start: null,
  registering: false,
  rooms: null,
  room: null,
  dialog: null,
  error: null,
  busy: false,
  connection: "connecting",
};

export const words = (): Words => WORDS[state.language];

export function setLanguage(language: Language): void {
  state.language = language;
  try {
    localStorage.setItem("chat-language", language);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

/** The room of the list that is open. */
export const current = (): Room | undefined => state.rooms?.find(({ id }) => id === state.room?.id);

export const time = (micros: number): string =>
  new Intl.DateTimeFormat(state.language, { hour: "2-digit", minute: "2-digit" }).format(micros / 1_000);

export const day = (micros: number): string =>
  new Intl.DateTimeFormat(state.language, { weekday: "long", day: "numeric", month: "long" }).format(micros / 1_000);

export const moment = (micros: number): string =>
  new Intl.DateTimeFormat(state.language, { dateStyle: "medium", timeStyle: "short" }).format(micros / 1_000);

export function size(bytes: number): string {
  const [value, unit] = bytes < 1_000_000 ? [Math.max(1, Math.round(bytes / 1_000)), "kB"] : [Math.round(bytes / 100_000) / 10, "MB"];
  return `${new Intl.NumberFormat(state.language).format(value as number)} ${unit}`;
}

/** Words for a refusal. */
export function explain(error: unknown): string {
  const { code, detail, retryAfter } = error as { code?: string; detail?: string; retryAfter?: number };
  const known = words().errors[code ?? ""];
  const wait = retryAfter !== undefined && retryAfter > 0 ? ` ${words().seconds(retryAfter)}` : "";
  if (known !== undefined) return known + wait;
  return detail !== undefined && detail !== "" ? detail : (words().errors["internal"] ?? "");
}
