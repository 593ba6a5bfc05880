/**
 * Every word the element shows, and how a language makes them. A page replaces single words
 * (`bell.labels = {…}`) or adds a language (`CampanaBell.addLanguage("pt", labels => …)`).
 */

import type { BellState } from "./connection.ts";
import { ARABIC } from "./words/ar.ts";
import { GERMAN } from "./words/de.ts";
import { ENGLISH } from "./words/en.ts";
import { SPANISH } from "./words/es.ts";
import { FRENCH } from "./words/fr.ts";

export type { BellState } from "./connection.ts";

export interface Labels {
  readonly title: string;
  readonly unread: string;
  readonly unreadCount: (count: number) => string;
  /** With `badge="unseen"`. */
  readonly unseenCount: (count: number) => string;
  readonly noUnread: string;
  readonly markAll: string;
  readonly close: string;
  readonly tabs: string;
  readonly all: string;
  readonly onlyUnread: string;
  readonly archived: string;
  readonly archive: string;
  readonly unarchive: string;
  /** Said to a screen reader when a row leaves the list. */
  readonly wasArchived: (title: string) => string;
  readonly wasUnarchived: (title: string) => string;
  readonly mute: string;
  readonly unmute: string;
  readonly empty: string;
  readonly emptyHint: string;
  readonly emptyUnread: string;
  readonly emptyArchived: string;
  readonly emptyTab: string;
  readonly loading: string;
  readonly unavailable: string;
  readonly earlier: string;
  readonly justNow: string;
  readonly retry: string;
  readonly historyFailed: string;
  readonly readFailed: string;
  readonly archiveFailed: string;
  readonly arrived: (title: string) => string;
  readonly arrivedMany: (count: number) => string;
  readonly more: (count: number) => string;
  readonly toasts: string;
  readonly dismiss: string;
  readonly states: Readonly<Record<BellState, string>>;
}

/** Chooses a word by number, after the rules of one language. */
export type Plural = (count: number, forms: Readonly<Partial<Record<Intl.LDMLPluralRule, string>> & { other: string }>) => string;

/** Words that need to know how the language counts. */
export type Language = (plural: Plural) => Labels;

const languages = new Map<string, Language>([
  ["en", ENGLISH],
  ["de", GERMAN],
  ["fr", FRENCH],
  ["es", SPANISH],
  ["ar", ARABIC],
]);
const made = new Map<string, Labels>();

/** Adds a language, or replaces one. `tag` is a language ("pt") or one of its regions ("pt-BR"). */
export function addLanguage(tag: string, language: Language): void {
  languages.set(tag.toLowerCase(), language);
  made.clear();
}

/** The words for a language tag: of its region, of its language, or null if nobody knows it. */
export function labelsFor(tag: string | undefined): Labels | null {
  if (tag === undefined) return null;
  const known = made.get(tag);
  if (known !== undefined) return known;
  const lower = tag.toLowerCase();
  const language = languages.get(lower) ?? languages.get(lower.split("-")[0] ?? "");
  if (language === undefined) return null;
  const labels = language(pluralOf(tag));
  made.set(tag, labels);
  return labels;
}

/** `{n}` becomes the number as the language writes it. */
export function pluralOf(tag: string): Plural {
  const rules = new Intl.PluralRules(tag);
  const digits = new Intl.NumberFormat(tag);
  return (count, forms) => (forms[rules.select(count)] ?? forms.other).replace("{n}", digits.format(count));
}

export const DEFAULT_LABELS: Labels = ENGLISH(pluralOf("en"));
