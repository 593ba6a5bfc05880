/**
 * `<campana-bell>`: a bell with a badge, a panel with the inbox, a toast on arrival.
 *
 * Reads its attributes and the user's inbox channel; writes read marks by HTTP. Decisions are in
 * `inbox.ts`, `toasts.ts` and `anchor.ts`, timers in `arrivals.ts`, drawing in `view.ts`; this
 * file connects them.
 */

import { LitElement } from "lit";
import type { PropertyValues, TemplateResult } from "lit";
import { placePanel } from "./anchor.ts";
import { ReadError, postRead, readGroups } from "./api.ts";
import { Arrivals } from "./arrivals.ts";
import { InboxConnection } from "./connection.ts";
import type { ConnectionListener, Status, TokenSource } from "./connection.ts";
import { EMPTY_INBOX, MAX_ITEMS, fold, isRead, parseMessage, unreadIds } from "./inbox.ts";
import type { InboxAction, InboxItem, InboxState, Publication } from "./inbox.ts";
import { ENGLISH } from "./labels.ts";
import type { BellState, Labels } from "./labels.ts";
import { styles } from "./styles.ts";
import { safeLocale } from "./time.ts";
import { bellView } from "./view.ts";
import type { Handlers, Notice } from "./view.ts";

const MAX_FRAME_MS = 100;
/** How often "3 min ago" is looked at again while the panel is open. */
const CLOCK_MS = 30_000;
/** Arrivals remembered so that a redelivery does not ring twice. */
const MAX_ANNOUNCED = 2_000;

/** Detail of `campana-notification`. */
export interface ArrivalDetail {
  readonly notification: InboxItem;
  readonly channel: string;
  readonly tags: Readonly<Record<string, string>>;
  /** `performance.now()` when the publication reached this element. */
  readonly receivedAt: number;
}

/** Detail of `campana-state`. */
export interface StateDetail extends Status {
  readonly channel: string;
  readonly epoch: string;
  readonly offset: number;
}

export class CampanaBell extends LitElement {
  static override styles = styles;
  static override properties = {
    endpoint: {},
    token: {},
    getToken: { attribute: false },
    user: {},
    channel: {},
    apiBase: { attribute: "api-base" },
    historyLimit: { attribute: "history-limit", type: Number },
    noToasts: { attribute: "no-toasts", type: Boolean },
    labels: { attribute: false },
    open: { type: Boolean, reflect: true },
    state: { reflect: true },
    inbox: { state: true },
    _view: { state: true },
  };

  declare endpoint: string;
  declare token: string;
  declare getToken: TokenSource | null;
  declare user: string;
  declare channel: string;
  declare apiBase: string;
  declare historyLimit: number;
  declare noToasts: boolean;
  declare labels: Partial<Labels>;
  declare open: boolean;
  /** Read-only: where the connection stands. */
  declare state: BellState;
  /** Read-only: the folded inbox, for pages that draw their own list. */
  declare inbox: InboxState;
  declare _view: ViewState;

  #connection: InboxConnection | null = null;
  #status: Status = { state: "idle", code: 0, reason: "" };
  #channelInUse = "";
  #announced = new Set<string>();
  #clockTimer = 0;
  #focusBell = false;
  readonly #arrivals = new Arrivals(() => this.requestUpdate());

  constructor() {
    super();
    Object.assign(this, { endpoint: "", token: "", getToken: null, user: "", channel: "", apiBase: "", historyLimit: 100 });
    Object.assign(this, { noToasts: false, labels: {}, open: false, state: "idle", inbox: EMPTY_INBOX, _view: INITIAL_VIEW });
  }

  /** How many notifications of the list are unread. */
  get unread(): number {
    return this.inbox.unread;
  }

  show(): void {
    this.#panel?.togglePopover(true);
  }

  hide(): void {
    this.#panel?.togglePopover(false);
  }

  /** Connects again now instead of waiting. */
  reconnect(): void {
    if (this.#connection === null) this.#connect();
    else this.#connection.retry();
  }

  async markRead(ids: readonly string[]): Promise<void> {
    const wanted = new Set(ids);
    const unread = unreadIds(this.inbox).filter((id) => wanted.has(id));
    this.#arrivals.dismiss(unread);
    await Promise.all(readGroups(unread).map((group) => this.#markGroup(group)));
  }

  async markAllRead(): Promise<void> {
    await this.markRead(unreadIds(this.inbox));
  }

  override connectedCallback(): void {
    super.connectedCallback();
    addEventListener("resize", this.#place);
    addEventListener("scroll", this.#place, { passive: true, capture: true });
    this.#clockTimer = window.setInterval(() => this.open && this.#show({ now: Date.now() }), CLOCK_MS);
    if (this.hasUpdated) this.#connect();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    removeEventListener("resize", this.#place);
    removeEventListener("scroll", this.#place, { capture: true });
    clearInterval(this.#clockTimer);
    this.#arrivals.reset();
    // The browser has closed the panel with the element; it says so only to connected ones.
    this.open = false;
    this.#show({ opened: false });
    this.#disconnect();
  }

  /**
   * Draws at most once per frame: in a burst each publication is a task of its own, and drawing
   * between them would delay the ones that wait. The first time at once, it opens the connection.
   */
  protected override async scheduleUpdate(): Promise<void> {
    if (this.hasUpdated) await nextFrame();
    super.scheduleUpdate();
  }

  protected override updated(changed: PropertyValues<this>): void {
    const first = changed.has("endpoint") && changed.get("endpoint") === undefined;
    const other = changed.has("user") || changed.has("channel") || changed.has("endpoint");
    // The callback is looked up at each call: a framework may hand over a new closure every render.
    const sourceAppeared = changed.has("getToken") && (changed.get("getToken") ?? null) === null;
    if (other && !first) this.#forget();
    if (other || sourceAppeared || this.#connection === null) this.#connect();
    else if (changed.has("token")) this.#connection.setToken(this.token);
    if (changed.has("open") && this.isConnected) this.#panel?.togglePopover(this.open);
    this.#showToasts();
  }

  protected override render(): TemplateResult {
    const locale = safeLocale(this.closest("[lang]")?.getAttribute("lang"));
    const model = { ...this._view, ...this.#arrivals.view, inbox: this.inbox, status: this.#status, labels: this.#labels, locale };
    return bellView(model, this.#handlers);
  }

  // --- what the connection tells -----------------------------------------------------------------

  readonly #listener: ConnectionListener = {
    status: (status) => this.#setStatus(status),
    position: (channel, epoch, offset) => {
      this.#channelInUse = channel;
      this.#apply({ kind: "position", epoch, offset });
      this.#tellState();
    },
    live: (publication, tags) => {
      const receivedAt = performance.now();
      this.#apply({ kind: "publications", publications: [publication] });
      this.#arrived(publication, tags, receivedAt);
    },
    history: (publications, more) => {
      this.#apply({ kind: "publications", publications });
      this.#show({ loaded: true, moreEarlier: more && this.inbox.items.length < MAX_ITEMS, now: Date.now(), notice: null });
    },
    missed: (publications) => {
      const receivedAt = performance.now();
      for (const publication of publications) this.#arrived(publication, {}, receivedAt);
    },
    historyFailed: (reason) => {
      const retry = (): void => {
        this.#show({ notice: null });
        void this.#connection?.reload();
      };
      this.#show({ loaded: true, notice: { text: `${this.#labels.historyFailed} (${reason})`, retry } });
    },
  };

  /** A publication that is new to the user: tell the page, ring, toast. Once per notification. */
  #arrived(publication: Publication, tags: Readonly<Record<string, string>>, receivedAt: number): void {
    const message = parseMessage(publication.data);
    if (message?.type === "read") this.#arrivals.dismiss(message.ids);
    if (message?.type !== "notification" || this.#announced.has(message.id)) return;
    const notification = this.inbox.items.find((item) => item.id === message.id);
    // Not in the list: older than everything the list holds. Lower offset: known for long.
    if (notification === undefined || notification.offset < (publication.offset ?? 0)) return;
    this.#remember(message.id);
    const detail: ArrivalDetail = { notification, channel: this.#channelInUse, tags, receivedAt };
    this.#emit("campana-notification", detail);
    if (isRead(this.inbox, notification)) return;
    this.#show({ now: Date.now() });
    this.#arrivals.ring(notification, this.#labels, !this.noToasts && !this.open);
  }

  // --- inside ------------------------------------------------------------------------------------

  get #labels(): Labels {
    return { ...ENGLISH, ...this.labels, states: { ...ENGLISH.states, ...this.labels.states } };
  }

  get #panel(): HTMLElement | null {
    return this.renderRoot.querySelector<HTMLElement>("#panel");
  }

  get #bell(): HTMLElement | null {
    return this.renderRoot.querySelector<HTMLElement>(".bell-button");
  }

  #connect(): void {
    this.#disconnect();
    if (!this.isConnected || this.endpoint === "" || (this.token === "" && this.getToken === null)) return;
    const channel = this.channel !== "" ? this.channel : this.user !== "" ? `inbox:#${this.user}` : null;
    const { endpoint, token } = this;
    const getToken = this.getToken === null ? null : () => this.getToken?.() ?? Promise.resolve(this.token);
    const historyLimit = Math.max(1, Math.trunc(this.historyLimit) || 1);
    this.#connection = new InboxConnection({ endpoint, token, getToken, channel, historyLimit }, this.#listener);
    this.#connection.start();
  }

  #disconnect(): void {
    this.#connection?.stop();
    this.#connection = null;
    if (this.state !== "idle") this.#setStatus({ state: "idle", code: 0, reason: "" });
  }

  #setStatus(status: Status): void {
    this.#status = status;
    this.state = status.state;
    this.requestUpdate();
    this.#tellState();
  }

  /** Another user or channel: nothing of the old inbox may stay on the screen. */
  #forget(): void {
    const before = this.inbox.unread;
    this.inbox = EMPTY_INBOX;
    this.#announced.clear();
    this.#arrivals.reset();
    this.#show({ ...INITIAL_VIEW, opened: this.open, now: Date.now() });
    if (before !== 0) this.#emit("campana-unread-changed", { unread: 0 });
  }

  #apply(action: InboxAction): void {
    const before = this.inbox.unread;
    this.inbox = fold(this.inbox, action);
    if (this.inbox.unread !== before) this.#emit("campana-unread-changed", { unread: this.inbox.unread });
  }

  #show(change: Partial<ViewState>): void {
    this._view = { ...this._view, ...change };
  }

  #emit(name: string, detail: unknown, cancelable = false): boolean {
    return this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true, cancelable }));
  }

  #tellState(): void {
    const { epoch, offset } = this.inbox;
    const detail: StateDetail = { ...this.#status, channel: this.#channelInUse, epoch, offset };
    this.#emit("campana-state", detail);
  }

  #remember(id: string): void {
    this.#announced.add(id);
    const [oldest] = this.#announced;
    if (this.#announced.size > MAX_ANNOUNCED && oldest !== undefined) this.#announced.delete(oldest);
  }

  /** Toasts live in the top layer, where no stacking context of the page covers them. */
  #showToasts(): void {
    const box = this.renderRoot.querySelector<HTMLElement>(".toasts");
    if (box !== null && this.isConnected) box.togglePopover(this.#arrivals.view.toasts.shown.length > 0);
  }

  async #markGroup(ids: readonly string[]): Promise<void> {
    const connection = this.#connection;
    this.#apply({ kind: "mark", ids });
    try {
      if (connection === null) throw new ReadError(0, this.#labels.states.idle);
      try {
        await postRead(this.apiBase, await connection.token(), ids);
      } catch (error) {
        if (!(error instanceof ReadError) || error.status !== 401 || !connection.canRefresh) throw error;
        await postRead(this.apiBase, await connection.refreshToken(), ids);
      }
    } catch (error) {
      if (connection !== null && connection !== this.#connection) return;
      this.#apply({ kind: "unmark", ids });
      const why = error instanceof Error ? ` (${error.message})` : "";
      const retry = (): void => {
        this.#show({ notice: null });
        void this.markRead(ids);
      };
      this.#show({ notice: { text: this.#labels.readFailed + why, retry } });
    }
  }

  readonly #place = (): void => {
    const panel = this.#panel;
    const bell = this.#bell;
    if (!this._view.opened || panel === null || bell === null) return;
    const at = placePanel(bell.getBoundingClientRect(), document.documentElement.clientWidth, innerHeight);
    // Through the object model, which a content security policy allows, unlike style attributes.
    Object.assign(panel.style, at);
    panel.classList.toggle("wide", at.left !== "auto" && at.right !== "auto");
  };

  #toggled(event: Event): void {
    this.open = (event as ToggleEvent).newState === "open";
    this.#show({ opened: this.open });
    if (this.open) this.#panel?.focus({ preventScroll: true });
    else if (this.#focusBell) this.#bell?.focus({ preventScroll: true });
  }

  #select(item: InboxItem, event: Event): void {
    if (!this.#emit("campana-select", { notification: item }, true)) event.preventDefault();
    void this.markRead([item.id]);
  }

  #listKeys(event: KeyboardEvent): void {
    const rows = [...this.renderRoot.querySelectorAll<HTMLElement>("li .row")];
    const at = rows.indexOf(this.shadowRoot?.activeElement as HTMLElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    rows[Math.min(Math.max(next, 0), rows.length - 1)]?.focus();
  }

  readonly #handlers: Handlers = {
    beforeToggle: (event) => {
      // Closed from inside (Esc, the close button): the focus goes back to the bell. Closed by a
      // click elsewhere: the focus is there already and stays.
      this.#focusBell = (event as ToggleEvent).newState !== "open" && this.#panel?.matches(":focus-within") === true;
      if ((event as ToggleEvent).newState !== "open") return;
      this.#arrivals.dismissAll();
      this.#show({ opened: true, now: Date.now(), activeId: this.inbox.items[0]?.id ?? "" });
      this.#place();
    },
    toggled: (event) => this.#toggled(event),
    ringEnd: () => this.#arrivals.ringEnded(),
    close: () => this.hide(),
    select: (item, event) => this.#select(item, event),
    markAll: () => void this.markAllRead(),
    earlier: () => void this.#connection?.loadEarlier(),
    reconnect: () => this.reconnect(),
    listKeys: (event) => this.#listKeys(event),
    focusRow: (id) => this.#show({ activeId: id }),
    openFromToast: (item, event) => {
      event.stopPropagation();
      this.#arrivals.dismiss([item.id]);
      this.show();
    },
    dismiss: (item) => this.#arrivals.dismiss([item.id]),
    holdToasts: (hold) => this.#arrivals.hold(hold),
  };
}

/** The next frame; a hidden or covered page has none, so soon in any case. */
function nextFrame(): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      resolve();
    };
    const frame = requestAnimationFrame(done);
    const timer = setTimeout(done, MAX_FRAME_MS);
  });
}

/** What is on the screen besides the inbox itself. */
interface ViewState {
  /** The panel shows, or is about to: its content must be there before it appears. */
  readonly opened: boolean;
  readonly loaded: boolean;
  readonly moreEarlier: boolean;
  readonly notice: Notice | null;
  readonly activeId: string;
  readonly now: number;
}

const INITIAL_VIEW: ViewState = {
  opened: false,
  loaded: false,
  moreEarlier: false,
  notice: null,
  activeId: "",
  now: 0,
};

if (!customElements.get("campana-bell")) customElements.define("campana-bell", CampanaBell);

declare global {
  interface HTMLElementTagNameMap {
    "campana-bell": CampanaBell;
  }
  interface HTMLElementEventMap {
    "campana-notification": CustomEvent<ArrivalDetail>;
    "campana-unread-changed": CustomEvent<{ unread: number }>;
    "campana-state": CustomEvent<StateDetail>;
    "campana-select": CustomEvent<{ notification: InboxItem }>;
  }
}
