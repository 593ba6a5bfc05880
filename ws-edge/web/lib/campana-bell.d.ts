/**
 * `<campana-bell>`: a bell with a badge, a panel with the inbox, a toast on arrival.
 *
 * Reads its attributes; everything about the inbox is `client.ts`'s. Decisions are in `tabs.ts`,
 * `toasts.ts` and `anchor.ts`, timers in `arrivals.ts` and `watcher.ts`, the open panel in `panel.ts`,
 * drawing in `view.ts`; this file connects them.
 */
import type { PropertyValues, TemplateResult } from "lit";
import { BellElement } from "./element.ts";
import { addLanguage } from "./labels.ts";
export type { ArrivalDetail, StateDetail } from "./element.ts";
export type { Arrival, Snapshot } from "./client.ts";
export type { InboxItem, MarkKind } from "./inbox.ts";
export type { Labels, Language, Plural } from "./labels.ts";
export type { Tab, TabChoice } from "./tabs.ts";
export declare class CampanaBell extends BellElement {
    #private;
    static styles: import("lit").CSSResult[];
    /** Adds a language for all bells of the page, see `src/labels.ts`. */
    static readonly addLanguage: typeof addLanguage;
    /** How many notifications of the list are unread. */
    get unread(): number;
    /** The sound is switched off, here or in another tab. */
    get muted(): boolean;
    set muted(muted: boolean);
    show(): void;
    hide(): void;
    /** Connects again now instead of waiting. */
    reconnect(): void;
    markRead(ids: readonly string[]): Promise<boolean>;
    markAllRead(): Promise<boolean>;
    archive(ids: readonly string[]): Promise<boolean>;
    unarchive(ids: readonly string[]): Promise<boolean>;
    connectedCallback(): void;
    disconnectedCallback(): void;
    protected updated(changed: PropertyValues<this>): void;
    protected render(): TemplateResult;
}
declare global {
    interface HTMLElementTagNameMap {
        "campana-bell": CampanaBell;
    }
}
