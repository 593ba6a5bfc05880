/**
 * What the page knows, in one value, and who draws it. Every change goes through `change`, which draws once however
 * many changes a turn makes.
 */

import { Refusal, type Appointment, type Clinic, type Me, type Session, type Setup, type Time } from "./api.ts";
import { preferred, type Language } from "./time.ts";
import { WORDS, type Words } from "./words.ts";

/** Choosing a time: in the form, and where a dentist proposes another one. */
export interface Choice {
  readonly dentist: string;
  readonly date: string;
  readonly times: readonly Time[] | "none" | "loading";
  readonly closed: boolean;
  readonly chosen: string;
}

export const NO_CHOICE: Choice = { dentist: "", date: "", times: "none", closed: false, chosen: "" };

/** What went wrong, in the form or list where it did. */
export interface Trouble {
  readonly where: string;
  readonly text: string;
  readonly pointer: string | null;
  /** Of the refusal, if there was one. */
  readonly code?: string;
}

export interface List {
  readonly items: readonly Appointment[];
  readonly next: string | null;
}

export type Asked = { readonly action: "cancel" | "decline" | "propose"; readonly appointment: Appointment };

export interface State {
  readonly language: Language;
  readonly setup: Setup | null;
  readonly me: Me | null;
  readonly ready: boolean;
  readonly view: { readonly name: "home" | "account"; readonly appointment: string };
  readonly signingUp: boolean;
  readonly busy: string;
  readonly trouble: Trouble | null;
  readonly clinics: readonly Clinic[];
  readonly daysAhead: number;
  readonly clinic: string;
  readonly choice: Choice;
  readonly requestId: string;
  readonly created: Appointment | null;
  readonly ahead: List | null;
  readonly over: List | null;
  readonly asked: Asked | null;
  readonly proposal: Choice;
  readonly sessions: readonly Session[];
  readonly live: "connecting" | "connected" | "offline";
  readonly said: string;
}

const KEPT_LANGUAGE = "clinic.language";

function firstLanguage(): Language {
  const kept = localStorage.getItem(KEPT_LANGUAGE);
  return kept === "es" || kept === "en" ? kept : preferred(navigator.languages);
}

export let state: State = {
  language: firstLanguage(),
  setup: null,
  me: null,
  ready: false,
  view: { name: "home", appointment: "" },
  signingUp: false,
  busy: "",
  trouble: null,
  clinics: [],
  daysAhead: 180,
  clinic: "",
  choice: NO_CHOICE,
  requestId: crypto.randomUUID(),
  created: null,
  ahead: null,
  over: null,
  asked: null,
  proposal: NO_CHOICE,
  sessions: [],
  live: "connecting",
  said: "",
};

let draw: () => void = () => {};
let waiting: Promise<void> | null = null;

export function drawWith(function_: () => void): void {
  draw = function_;
}

/** Changes the state; resolves when it is on the page. */
export function change(part: Partial<State>): Promise<void> {
  state = { ...state, ...part };
  waiting ??= Promise.resolve().then(() => {
    waiting = null;
    draw();
  });
  return waiting;
}

export function words(): Words {
  return WORDS[state.language];
}

export function speak(language: Language): Promise<void> {
  localStorage.setItem(KEPT_LANGUAGE, language);
  return change({ language });
}

/** Says something to screen readers; the same words again are said again. */
export function say(text: string): Promise<void> {
  return change({ said: state.said === text ? `${text}\u00a0` : text });
}

/** A refusal in words, beside what caused it. */
export function explain(where: string, error: unknown): Trouble {
  const all = words();
  if (!(error instanceof Refusal)) throw error;
  const field = error.pointer === null ? undefined : all.fields[error.pointer];
  if (error.code === "rate_limited") return { where, text: all.rateLimited(error.seconds ?? 60), pointer: null };
  const text = error.code === "validation_failed" && field !== undefined ? field : all.problems[error.code];
  return { where, text: text ?? all.problems.internal ?? error.code, pointer: error.pointer, code: error.code };
}
