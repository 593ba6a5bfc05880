/**
 * The open panel: where it is, what has the focus, what keys and buttons do in it.
 *
 * Holds what is on the screen besides the inbox itself; tells its host what the user wants.
 */

import { placePanel } from "./anchor.ts";
import type { Snapshot } from "./client.ts";
import type { InboxItem } from "./inbox.ts";
import { afterRemoval, listStep, tabStep } from "./keys.ts";
import type { Notice } from "./model.ts";
import type { Tab } from "./tabs.ts";
import { Watcher } from "./watcher.ts";

/** What the panel needs of its element. */
export interface PanelHost {
  readonly renderRoot: HTMLElement | DocumentFragment;
  readonly inbox: Snapshot;
  open: boolean;
  matches(selector: string): boolean;
  requestUpdate(): void;
  /** The tabs, and the rows of the chosen one. */
  list(): { readonly tabs: readonly Tab[]; readonly tab: Tab; readonly rows: readonly InboxItem[] };
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

const INITIAL_VIEW: PanelView = { opened: false, notice: null, activeId: "", now: 0, keep: new Set() };

export class Panel {
  view: PanelView = INITIAL_VIEW;
  readonly #host: PanelHost;
  readonly #watcher: Watcher;
  #focusBell = false;
  /** Selector of what gets the focus when it has been drawn. */
  #focusNext = "";

  constructor(host: PanelHost) {
    this.#host = host;
    this.#watcher = new Watcher({ seen: (ids) => host.seen(ids), atEnd: () => host.loadEarlier() });
  }

  show(change: Partial<PanelView>): void {
    this.view = { ...this.view, ...change };
    this.#host.requestUpdate();
  }

  toggle(open: boolean): void {
    this.#box?.togglePopover(open);
  }

  /** Another inbox: the panel stays open, its content is gone. */
  reset(): void {
    this.#watcher.stop();
    this.show({ ...INITIAL_VIEW, opened: this.#host.open, now: Date.now() });
  }

  /** The element left the page; the browser has closed the panel with it. */
  gone(): void {
    this.#watcher.stop();
    this.show({ opened: false });
  }

  /** After every drawing. */
  drawn(): void {
    const list = this.#find("#rows");
    if (this.view.opened && list !== null) {
      const { state, more, loading, error } = this.#host.inbox;
      this.#watcher.look(list, more && !loading && error === null && state === "connected");
    }
    if (this.#focusNext !== "") (this.#find(this.#focusNext) ?? this.#box)?.focus();
    this.#focusNext = "";
  }

  readonly place = (): void => {
    const [box, bell] = [this.#box, this.#find(".bell-button")];
    if (!this.view.opened || box === null || bell === null) return;
    const at = placePanel(bell.getBoundingClientRect(), document.documentElement.clientWidth, innerHeight);
    // Through the object model, which a content security policy allows, unlike style attributes.
    Object.assign(box.style, at);
    box.classList.toggle("wide", at.left !== "auto" && at.right !== "auto");
  };

  readonly beforeToggle = (event: Event): void => {
    // Closed from inside (Esc, the close button): the focus goes back to the bell. Closed by a
    // click elsewhere: the focus is there already and stays.
    const opens = (event as ToggleEvent).newState === "open";
    this.#focusBell = !opens && this.#box?.matches(":focus-within") === true;
    if (!opens) return;
    this.show({ opened: true, now: Date.now(), activeId: "", keep: new Set() });
    this.place();
  };

  readonly toggled = (event: Event): void => {
    const open = (event as ToggleEvent).newState === "open";
    this.#host.open = open;
    if (!open) this.#watcher.stop();
    this.show({ opened: open });
    if (open) this.#box?.focus({ preventScroll: true });
    else if (this.#focusBell) this.#find(".bell-button")?.focus({ preventScroll: true });
  };

  readonly chooseTab = (id: string): void => {
    const list = this.#find("#rows");
    if (list !== null) list.scrollTop = 0;
    this.show({ keep: new Set(), activeId: "" });
    this.#host.tabChosen(id);
  };

  readonly tabKeys = (event: KeyboardEvent): void => {
    const { tabs, tab } = this.#host.list();
    const next = tabStep(event.key, tabs.indexOf(tab), tabs.length, this.#rtl);
    const id = next === null ? undefined : tabs[next]?.id;
    if (id === undefined) return;
    event.preventDefault();
    this.chooseTab(id);
    this.#focusNext = `.tab[aria-selected="true"]`;
  };

  readonly select = (item: InboxItem, event: Event): void => {
    if (!this.#host.chosen(item)) event.preventDefault();
    this.show({ keep: new Set([...this.view.keep, item.id]) });
    this.#host.markRead([item.id]);
  };

  readonly archive = (item: InboxItem): void => {
    const next = afterRemoval(this.#host.list().rows.map(({ id }) => id), item.id);
    this.show({ activeId: next, keep: new Set([...this.view.keep].filter((id) => id !== item.id)) });
    this.#focusNext = next === "" ? "#panel" : `li[data-id="${CSS.escape(next)}"] .row`;
    this.#host.archive(item);
  };

  readonly listKeys = (event: KeyboardEvent): void => {
    const lines = [...this.#host.renderRoot.querySelectorAll<HTMLElement>("li[data-id]")];
    const row = lines.findIndex((line) => line.contains(event.target as Node));
    if (row < 0) return;
    if (event.key === "Delete") {
      const item = this.#host.list().rows.find(({ id }) => id === lines[row]?.dataset["id"]);
      if (item === undefined) return;
      event.preventDefault();
      this.archive(item);
      return;
    }
    const act = (event.target as Element).matches(".act");
    const to = listStep(event.key, { row, act }, lines.length, this.#rtl);
    if (to === null) return;
    event.preventDefault();
    // At the end of what is loaded: the next page, for those who do not scroll.
    if (event.key === "ArrowDown" && to.row === row) this.#host.loadEarlier();
    lines[to.row]?.querySelector<HTMLElement>(to.act ? ".act" : ".row")?.focus();
  };

  get #box(): HTMLElement | null {
    return this.#find("#panel");
  }

  get #rtl(): boolean {
    return this.#host.matches(":dir(rtl)");
  }

  #find(selector: string): HTMLElement | null {
    return this.#host.renderRoot.querySelector<HTMLElement>(selector);
  }
}
