/**
 * The inbox as a value: folds the messages of one channel into a list with counts.
 *
 * Reads publications (offset and data) and the user's own marks; writes nothing, does no I/O and
 * reads no clock. The outcome does not depend on the order in which publications arrive, nor on how
 * often, because history pages, recovered publications and live ones overlap and race after every
 * reconnect: read and seen only ever become true, and of archive and unarchive the latest `at` wins.
 */
import type { MarkKind, MarkMessage, NotificationMessage } from "./message.ts";
export { parseMessage } from "./message.ts";
export type { InboxMessage, MarkKind, MarkMessage, NotificationMessage } from "./message.ts";
/** The list never grows beyond this; the oldest items leave first. */
export declare const MAX_ITEMS = 2000;
/** Marks may arrive before the (older) page with their notification: remember this many ids. */
export declare const MAX_EARLY_MARKS = 5000;
/** What has been said of one notification. */
export interface Marks {
    readonly read: boolean;
    readonly seen: boolean;
    readonly archived: boolean;
    /** When `archived` was last decided, in microseconds since 1970; 0: never. */
    readonly archivedAt: number;
}
/** One row of the list. */
export interface InboxItem extends NotificationMessage, Marks {
    readonly offset: number;
}
/** A publication as the client library hands it over; `offset` is absent without history. */
export interface Publication {
    readonly offset?: number | undefined;
    readonly data: unknown;
}
/** Marked here, not confirmed by the server yet. */
export interface Pending {
    readonly read?: boolean;
    readonly seen?: boolean;
    readonly archived?: boolean;
}
export interface InboxState {
    /** Newest first, archived ones too; what the server has confirmed. {@link shownItems} adds the rest. */
    readonly items: readonly InboxItem[];
    readonly pending: ReadonlyMap<string, Pending>;
    /** Marks whose notification is not in the list (yet). */
    readonly early: ReadonlyMap<string, Marks>;
    /** Neither read nor archived. */
    readonly unread: number;
    /** Neither seen, read nor archived. */
    readonly unseen: number;
    readonly epoch: string;
    readonly offset: number;
}
export type InboxAction = {
    readonly kind: "position";
    readonly epoch: string;
    readonly offset: number;
} | {
    readonly kind: "publications";
    readonly publications: readonly Publication[];
} | {
    readonly kind: "mark";
    readonly mark: MarkKind;
    readonly ids: readonly string[];
} | {
    readonly kind: "unmark";
    readonly mark: MarkKind;
    readonly ids: readonly string[];
};
export declare const NO_MARKS: Marks;
export declare const EMPTY_INBOX: InboxState;
/** The next state. Never changes its argument. */
export declare function fold(state: InboxState, action: InboxAction): InboxState;
/** The list for the eye: confirmed by the server, or marked here a moment ago. */
export declare function shownItems(state: InboxState): readonly InboxItem[];
export declare function isUnread(item: InboxItem): boolean;
export declare function isUnseen(item: InboxItem): boolean;
/** Ids of everything unread, newest first. */
export declare function unreadIds(state: InboxState): string[];
/** One more mark. The order in which marks are added does not matter. */
export declare function withMark(marks: Marks, { type, at }: Pick<MarkMessage, "type" | "at">): Marks;
