/**
 * The open panel: where it is, what has the focus, what keys and buttons do in it.
 *
 * Holds what is on the screen besides the inbox itself; tells its host what the user wants.
 */
import type { Snapshot } from "./client.ts";
import type { InboxItem } from "./inbox.ts";
import type { Notice } from "./model.ts";
import type { Tab } from "./tabs.ts";
/** What the panel needs of its element. */
export interface PanelHost {
    readonly renderRoot: HTMLElement | DocumentFragment;
    readonly inbox: Snapshot;
    open: boolean;
    matches(selector: string): boolean;
    requestUpdate(): void;
    /** The tabs, and the rows of the chosen one. */
    list(): {
        readonly tabs: readonly Tab[];
        readonly tab: Tab;
        readonly rows: readonly InboxItem[];
    };
    markRead(ids: readonly string[]): void;
    seen(ids: readonly string[]): void;
    archive(item: InboxItem): void;
    loadEarlier(): void;
    chosen(item: InboxItem): boolean;
    tabChosen(id: string): void;
}
export interface PanelView {
    /** The panel shows, or is about to: its content must be there before it appears. */
    readonly opened: boolean;
    readonly notice: Notice | null;
    readonly activeId: string;
    readonly now: number;
    /** Rows that stay in their tab although they fit no more: nothing vanishes under the eye. */
    readonly keep: ReadonlySet<string>;
}
export declare class Panel {
    #private;
    view: PanelView;
    constructor(host: PanelHost);
    show(change: Partial<PanelView>): void;
    toggle(open: boolean): void;
    /** Another inbox: the panel stays open, its content is gone. */
    reset(): void;
    /** The element left the page; the browser has closed the panel with it. */
    gone(): void;
    /** After every drawing. */
    drawn(): void;
    readonly place: () => void;
    readonly beforeToggle: (event: Event) => void;
    readonly toggled: (event: Event) => void;
    readonly chooseTab: (id: string) => void;
    readonly tabKeys: (event: KeyboardEvent) => void;
    readonly select: (item: InboxItem, event: Event) => void;
    readonly archive: (item: InboxItem) => void;
    readonly listKeys: (event: KeyboardEvent) => void;
}
