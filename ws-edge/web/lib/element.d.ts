/** What a page sets on the element and what it hears of it: attributes, properties, events, words. */
import { LitElement } from "lit";
import type { Arrival, Snapshot } from "./client.ts";
import type { BellState, Status, TokenSource } from "./connection.ts";
import type { InboxItem, MarkKind } from "./inbox.ts";
import type { Labels } from "./labels.ts";
import type { TabChoice } from "./tabs.ts";
/** The inbox before there is one. */
export declare const NOBODY: Snapshot;
/** Detail of `campana-notification`. */
export type ArrivalDetail = Arrival;
/** Detail of `campana-state`. */
export interface StateDetail extends Status {
    readonly channel: string;
    readonly epoch: string;
    readonly offset: number;
}
export declare abstract class BellElement extends LitElement {
    static properties: {
        endpoint: {};
        token: {};
        getToken: {
            attribute: boolean;
        };
        user: {};
        channel: {};
        apiBase: {
            attribute: string;
        };
        historyLimit: {
            attribute: string;
            type: NumberConstructor;
        };
        noToasts: {
            attribute: string;
            type: BooleanConstructor;
        };
        noSync: {
            attribute: string;
            type: BooleanConstructor;
        };
        sound: {
            type: BooleanConstructor;
        };
        badge: {};
        tabs: {};
        tab: {};
        labels: {
            attribute: boolean;
        };
        open: {
            type: BooleanConstructor;
            reflect: boolean;
        };
        state: {
            reflect: boolean;
        };
        inbox: {
            state: boolean;
        };
    };
    endpoint: string;
    token: string;
    getToken: TokenSource | null;
    user: string;
    channel: string;
    apiBase: string;
    historyLimit: number;
    noToasts: boolean;
    noSync: boolean;
    /** Chimes on arrival, and shows a switch for it. */
    sound: boolean;
    /** What the number on the bell counts: `unread` or `unseen`. */
    badge: string;
    tabs: string | readonly TabChoice[];
    /** The id of the tab that shows. */
    tab: string;
    labels: Partial<Labels>;
    open: boolean;
    /** Read-only: where the connection stands. */
    state: BellState;
    /** Read-only: everything there is to draw, for pages that draw their own list. */
    inbox: Snapshot;
    constructor();
    /**
     * Draws at most once per frame: in a burst each publication is a task of its own, and drawing
     * between them would delay the ones that wait. The first time at once, it opens the connection.
     */
    protected scheduleUpdate(): Promise<void>;
    /** The language of the page around the element. */
    protected get locale(): string | undefined;
    /** Words of that language, with the page's own in their place. */
    protected get words(): Labels;
    protected emit(name: string, detail: unknown, cancelable?: boolean): boolean;
}
declare global {
    interface HTMLElementEventMap {
        "campana-notification": CustomEvent<ArrivalDetail>;
        "campana-unread-changed": CustomEvent<{
            unread: number;
        }>;
        "campana-state": CustomEvent<StateDetail>;
        "campana-select": CustomEvent<{
            notification: InboxItem;
        }>;
        "campana-marked": CustomEvent<{
            mark: MarkKind;
            ids: readonly string[];
        }>;
        "campana-tab": CustomEvent<{
            tab: string;
        }>;
    }
}
