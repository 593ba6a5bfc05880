/** What a page sets on the element and what it hears of it: attributes, properties, events, words. */

import { LitElement } from "lit";
import { Inbox } from "./client.ts";
import type { Arrival, Snapshot } from "./client.ts";
import type { BellState, Status, TokenSource } from "./connection.ts";
import { nextFrame } from "./frame.ts";
import type { InboxItem, MarkKind } from "./inbox.ts";
import { DEFAULT_LABELS, labelsFor } from "./labels.ts";
import type { Labels } from "./labels.ts";
import { DEFAULT_TABS } from "./tabs.ts";
import type { TabChoice } from "./tabs.ts";
import { safeLocale } from "./time.ts";

/** The inbox before there is one. */
export const NOBODY: Snapshot = new Inbox({ endpoint: "", sync: false }).snapshot;

/** Detail of `campana-notification`. */
export type ArrivalDetail = Arrival;

/** Detail of `campana-state`. */
export interface StateDetail extends Status {
  readonly channel: string;
  readonly epoch: string;
  readonly offset: number;
}

export abstract class BellElement extends LitElement {
  static override properties = {
    endpoint: {},
    token: {},
    getToken: { attribute: false },
    user: {},
    channel: {},
    apiBase: { attribute: "api-base" },
    historyLimit: { attribute: "history-limit", type: Number },
    noToasts: { attribute: "no-toasts", type: Boolean },
    noSync: { attribute: "no-sync", type: Boolean },
    sound: { type: Boolean },
    badge: {},
    tabs: {},
    tab: {},
    labels: { attribute: false },
    open: { type: Boolean, reflect: true },
    state: { reflect: true },
    inbox: { state: true },
  };

  declare endpoint: string;
  declare token: string;
  declare getToken: TokenSource | null;
  declare user: string;
  declare channel: string;
  declare apiBase: string;
  declare historyLimit: number;
  declare noToasts: boolean;
  declare noSync: boolean;
  /** Chimes on arrival, and shows a switch for it. */
  declare sound: boolean;
  /** What the number on the bell counts: `unread` or `unseen`. */
  declare badge: string;
  declare tabs: string | readonly TabChoice[];
  /** The id of the tab that shows. */
  declare tab: string;
  declare labels: Partial<Labels>;
  declare open: boolean;
  /** Read-only: where the connection stands. */
  declare state: BellState;
  /** Read-only: everything there is to draw, for pages that draw their own list. */
  declare inbox: Snapshot;

  constructor() {
    super();
    Object.assign(this, { endpoint: "", token: "", getToken: null, user: "", channel: "", apiBase: "", historyLimit: 100 });
    Object.assign(this, { noToasts: false, noSync: false, sound: false, badge: "unread", tabs: DEFAULT_TABS, tab: "" });
    Object.assign(this, { labels: {}, open: false, state: "idle", inbox: NOBODY });
  }

  /**
   * Draws at most once per frame: in a burst each publication is a task of its own, and drawing
   * between them would delay the ones that wait. The first time at once, it opens the connection.
   */
  protected override async scheduleUpdate(): Promise<void> {
    if (this.hasUpdated) await nextFrame();
    super.scheduleUpdate();
  }

  /** The language of the page around the element. */
  protected get locale(): string | undefined {
    return safeLocale(this.closest("[lang]")?.getAttribute("lang") || document.documentElement.lang);
  }

  /** Words of that language, with the page's own in their place. */
  protected get words(): Labels {
    const words = labelsFor(this.locale) ?? DEFAULT_LABELS;
    return { ...words, ...this.labels, states: { ...words.states, ...this.labels.states } };
  }

  protected emit(name: string, detail: unknown, cancelable = false): boolean {
    return this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true, cancelable }));
  }
}

declare global {
  interface HTMLElementEventMap {
    "campana-notification": CustomEvent<ArrivalDetail>;
    "campana-unread-changed": CustomEvent<{ unread: number }>;
    "campana-state": CustomEvent<StateDetail>;
    "campana-select": CustomEvent<{ notification: InboxItem }>;
    "campana-marked": CustomEvent<{ mark: MarkKind; ids: readonly string[] }>;
    "campana-tab": CustomEvent<{ tab: string }>;
  }
}
