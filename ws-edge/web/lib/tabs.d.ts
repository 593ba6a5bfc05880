/** Which rows a tab shows. Pure. */
import type { InboxItem } from "./inbox.ts";
/** A tab as the page asks for it. */
export type TabChoice = "all" | "unread" | "archived"
/** Rows with this value in `metadata.category`. */
 | {
    readonly id: string;
    readonly label: string;
    readonly category: string;
}
/** Rows whose metadata has all these values. */
 | {
    readonly id: string;
    readonly label: string;
    readonly metadata: Readonly<Record<string, string>>;
}
/** Rows that the page chooses itself; it sees archived ones too. */
 | {
    readonly id: string;
    readonly label: string;
    readonly filter: (item: InboxItem) => boolean;
};
export interface Tab {
    readonly id: string;
    /** Null: one of the words in {@link Labels}. */
    readonly label: string | null;
    readonly shows: (item: InboxItem) => boolean;
}
export declare const DEFAULT_TABS = "all unread archived";
/** From the property's list, or the attribute's words: `all unread orders archived`, own ones are categories. */
export declare function parseTabs(choices: string | readonly TabChoice[]): readonly Tab[];
/** The rows of a tab. `keep`: rows that stay until the tab is left, though they fit no more (read a moment ago). */
export declare function tabItems(items: readonly InboxItem[], tab: Tab, keep?: ReadonlySet<string>): readonly InboxItem[];
