/** What the templates draw, and what they call. */
import type { Snapshot } from "./client.ts";
import type { InboxItem } from "./inbox.ts";
import type { Labels } from "./labels.ts";
import type { Tab } from "./tabs.ts";
import type { ToastState } from "./toasts.ts";
/** A line of trouble above the list, with what to do about it. */
export interface Notice {
    readonly text: string;
    readonly retry: (() => void) | null;
}
export interface Model {
    readonly inbox: Snapshot;
    readonly labels: Labels;
    readonly locale: string | undefined;
    readonly opened: boolean;
    readonly ringing: boolean;
    readonly notice: Notice | null;
    readonly toasts: ToastState;
    /** The text of the polite live region. */
    readonly spoken: string;
    readonly now: number;
    /** The number on the bell. */
    readonly badge: number;
    readonly badgeCounts: "unread" | "unseen";
    readonly tabs: readonly Tab[];
    readonly tab: Tab;
    /** The rows of the tab. */
    readonly rows: readonly InboxItem[];
    readonly activeId: string;
    /** Null: there is no sound to switch off. */
    readonly muted: boolean | null;
}
export interface Handlers {
    readonly beforeToggle: (event: Event) => void;
    readonly toggled: (event: Event) => void;
    readonly ringEnd: () => void;
    readonly close: () => void;
    readonly chooseTab: (id: string) => void;
    readonly tabKeys: (event: KeyboardEvent) => void;
    readonly toggleMuted: () => void;
    readonly select: (item: InboxItem, event: Event) => void;
    readonly archive: (item: InboxItem) => void;
    readonly markAll: () => void;
    readonly earlier: () => void;
    readonly reconnect: () => void;
    readonly listKeys: (event: KeyboardEvent) => void;
    readonly focusRow: (id: string) => void;
    readonly openFromToast: (item: InboxItem, event: Event) => void;
    readonly dismiss: (item: InboxItem) => void;
    readonly holdToasts: (hold: boolean) => void;
}
