/**
 * Every word the element shows, and how a language makes them. A page replaces single words
 * (`bell.labels = {…}`) or adds a language (`CampanaBell.addLanguage("pt", labels => …)`).
 */
import type { BellState } from "./connection.ts";
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
export type Plural = (count: number, forms: Readonly<Partial<Record<Intl.LDMLPluralRule, string>> & {
    other: string;
}>) => string;
/** Words that need to know how the language counts. */
export type Language = (plural: Plural) => Labels;
/** Adds a language, or replaces one. `tag` is a language ("pt") or one of its regions ("pt-BR"). */
export declare function addLanguage(tag: string, language: Language): void;
/** The words for a language tag: of its region, of its language, or null if nobody knows it. */
export declare function labelsFor(tag: string | undefined): Labels | null;
/** `{n}` becomes the number as the language writes it. */
export declare function pluralOf(tag: string): Plural;
export declare const DEFAULT_LABELS: Labels;
