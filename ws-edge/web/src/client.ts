/**
 * `Inbox`: one person's inbox without a user interface. Connects, folds, marks, and tells.
 *
 * Reads the edge through `connection.ts`; writes marks by HTTP. No DOM: it runs in a page, a worker
 * or Node. Every change makes a new immutable {@link Snapshot}, so that any framework can draw it.
 */

import { MarkError, groups, postMark } from "./api.ts";
import { InboxConnection } from "./connection.ts";
import type { ConnectionListener, ConnectionOptions, Status } from "./connection.ts";
import { Emitter } from "./emitter.ts";
import { EMPTY_INBOX, MAX_ITEMS, fold, isUnread, isUnseen, parseMessage, shownItems } from "./inbox.ts";
import type { InboxAction, InboxItem, InboxState, MarkKind, Publication } from "./inbox.ts";
import { Peers } from "./peers.ts";
import type { PeerMessage } from "./peers.ts";
import type { Connection, InboxEvents, InboxOptions, Snapshot } from "./types.ts";

export type { Arrival, Connection, InboxEvents, InboxOptions, Snapshot } from "./types.ts";

/** Arrivals remembered so that a redelivery does not ring twice. */
const MAX_ANNOUNCED = 2_000;

export class Inbox extends Emitter<InboxEvents> {
  readonly #options: InboxOptions;
  #connection: Connection | null = null;
  #token: string;
  #status: Status = { state: "idle", code: 0, reason: "" };
  #inbox: InboxState = EMPTY_INBOX;
  #channel = "";
  #history = NO_HISTORY;
  #snapshot: Snapshot | null = null;
  #announced = new Set<string>();
  #peers: Peers | null = null;

  constructor(options: InboxOptions) {
    super();
    this.#options = options;
    this.#token = options.token ?? "";
    this.#channel = options.channel || (options.user ? `inbox:#${options.user}` : "");
  }

  /** What there is now. The same object until something changes. */
  readonly getSnapshot = (): Snapshot => {
    this.#snapshot ??= {
      ...this.#status,
      ...this.#history,
      channel: this.#channel,
      epoch: this.#inbox.epoch,
      offset: this.#inbox.offset,
      items: shownItems(this.#inbox),
      unread: this.#inbox.unread,
      unseen: this.#inbox.unseen,
    };
    return this.#snapshot;
  };

  /** Calls `changed` after every change; with `getSnapshot` the two halves of `useSyncExternalStore`. */
  readonly subscribe = (changed: () => void): (() => void) => this.on("change", () => changed());

  get snapshot(): Snapshot {
    return this.getSnapshot();
  }

  /** Connects, and goes on connecting until `stop()`. */
  start(): void {
    if (this.#connection !== null) return;
    const { endpoint, getToken = null, pageSize = 100, websocket } = this.#options;
    const options: ConnectionOptions = { endpoint, token: this.#token, getToken, channel: this.#channel || null, pageSize, websocket };
    this.#connection = this.#options.connect?.(options, this.#listener) ?? new InboxConnection(options, this.#listener);
    this.#meetPeers();
    this.#connection.start();
  }

  /** Disconnects. The list stays, and `start()` goes on. */
  stop(): void {
    this.#connection?.stop();
    this.#connection = null;
    this.#peers?.close();
    this.#peers = null;
    this.#history = { ...this.#history, loading: false };
    if (this.#status.state !== "idle") this.#setStatus({ state: "idle", code: 0, reason: "" });
  }

  /** Connects again now instead of waiting. */
  reconnect(): void {
    if (this.#connection === null) this.start();
    else this.#connection.retry();
  }

  setToken(token: string): void {
    this.#token = token;
    this.#connection?.setToken(token);
  }

  /** One more page of older messages into `items`. Does nothing while one is under way. */
  async loadEarlier(): Promise<void> {
    if (this.#history.loading || !this.#history.more || this.#connection === null) return;
    const connection = this.#connection;
    this.#setHistory({ loading: true, error: null });
    await connection.loadEarlier();
    if (connection === this.#connection) this.#setHistory({ loading: false });
  }

  /** Asks again for what could not be loaded. */
  async reload(): Promise<void> {
    const connection = this.#connection;
    if (connection === null || this.#history.loading) return;
    this.#setHistory({ loading: true, error: null });
    await connection.reload();
    if (connection === this.#connection) this.#setHistory({ loading: false });
  }

  /** Each mark answers true when the platform has stored it, false when it was refused and taken back. */
  markRead(ids: readonly string[]): Promise<boolean> {
    return this.#mark("read", ids, (item) => !item.read);
  }

  markAllRead(): Promise<boolean> {
    return this.markRead(this.snapshot.items.filter(isUnread).map((item) => item.id));
  }

  markSeen(ids: readonly string[]): Promise<boolean> {
    return this.#mark("seen", ids, isUnseen);
  }

  archive(ids: readonly string[]): Promise<boolean> {
    return this.#mark("archive", ids, (item) => !item.archived);
  }

  unarchive(ids: readonly string[]): Promise<boolean> {
    return this.#mark("unarchive", ids, (item) => item.archived);
  }

  /** Tells this browser's other tabs; they hear a `peer` event. */
  tellPeers(message: PeerMessage): void {
    this.#peers?.tell(message);
  }

  // --- what the connection tells -----------------------------------------------------------------

  readonly #listener: ConnectionListener = {
    status: (status) => this.#setStatus(status),
    position: (channel, epoch, offset) => {
      this.#channel = channel;
      this.#meetPeers();
      // A stream that was made anew: what was loaded is of the old one.
      if (this.#inbox.epoch !== "" && this.#inbox.epoch !== epoch) this.#history = NO_HISTORY;
      this.#apply({ kind: "position", epoch, offset });
      this.emit("state", this.snapshot);
    },
    live: (publication, tags) => {
      const receivedAt = globalThis.performance.now();
      this.#apply({ kind: "publications", publications: [publication] });
      this.#arrived(publication, tags, receivedAt);
    },
    history: (publications, more) => {
      this.#apply({ kind: "publications", publications });
      this.#setHistory({ loaded: true, more: more && this.#inbox.items.length < MAX_ITEMS, error: null });
    },
    missed: (publications) => {
      const receivedAt = globalThis.performance.now();
      for (const publication of publications) this.#arrived(publication, {}, receivedAt);
    },
    historyFailed: (reason) => this.#setHistory({ loaded: true, error: reason }),
  };

  /** A publication that is new to the user. Once per notification. */
  #arrived(publication: Publication, tags: Readonly<Record<string, string>>, receivedAt: number): void {
    const message = parseMessage(publication.data);
    if (message === null) return;
    if (message.type !== "notification") {
      this.emit("marked", { mark: message.type, ids: message.ids });
      return;
    }
    if (this.#announced.has(message.id)) return;
    const notification = this.snapshot.items.find((item) => item.id === message.id);
    // Not in the list: older than everything the list holds. Lower offset: known for long.
    if (notification === undefined || notification.offset < (publication.offset ?? 0)) return;
    this.#announced.add(message.id);
    const [oldest] = this.#announced;
    if (this.#announced.size > MAX_ANNOUNCED && oldest !== undefined) this.#announced.delete(oldest);
    this.emit("notification", { notification, channel: this.#channel, tags, receivedAt });
  }

  // --- inside ------------------------------------------------------------------------------------

  async #mark(mark: MarkKind, ids: readonly string[], wanted: (item: InboxItem) => boolean): Promise<boolean> {
    const asked = new Set(ids);
    const chosen = this.snapshot.items.filter((item) => asked.has(item.id) && wanted(item)).map((item) => item.id);
    if (chosen.length === 0) return true;
    this.emit("marked", { mark, ids: chosen });
    const stored = await Promise.all(groups(chosen).map((group) => this.#markGroup(mark, group)));
    return stored.every(Boolean);
  }

  async #markGroup(mark: MarkKind, ids: readonly string[]): Promise<boolean> {
    const connection = this.#connection;
    const base = this.#options.apiBase ?? "";
    this.#apply({ kind: "mark", mark, ids });
    try {
      if (connection === null) throw new MarkError(0, "not connected");
      try {
        await postMark(base, await connection.token(), mark, ids);
      } catch (error) {
        if (!(error instanceof MarkError) || error.status !== 401 || !connection.canRefresh) throw error;
        await postMark(base, await connection.refreshToken(), mark, ids);
      }
      this.tellPeers({ kind: "marked", mark, ids });
      return true;
    } catch (error) {
      this.#apply({ kind: "unmark", mark, ids });
      this.emit("refused", { mark, ids, reason: error instanceof Error ? error.message : String(error) });
      return false;
    }
  }

  #apply(action: InboxAction): void {
    const before = this.#inbox.unread;
    this.#inbox = fold(this.#inbox, action);
    this.#changed();
    if (this.#inbox.unread !== before) this.emit("unread", this.#inbox.unread);
  }

  #setStatus(status: Status): void {
    this.#status = status;
    this.#changed();
    this.emit("state", this.snapshot);
  }

  #setHistory(change: Partial<typeof NO_HISTORY>): void {
    this.#history = { ...this.#history, ...change };
    this.#changed();
  }

  #changed(): void {
    this.#snapshot = null;
    this.emit("change", this.snapshot);
  }

  /** As soon as it is known whose inbox this is. */
  #meetPeers(): void {
    if (this.#peers !== null || this.#channel === "" || this.#options.sync === false) return;
    this.#peers = new Peers(`${this.#options.endpoint} ${this.#channel}`, (message) => {
      if (message.kind === "marked") {
        this.#apply({ kind: "mark", mark: message.mark, ids: message.ids });
        this.emit("marked", { mark: message.mark, ids: message.ids });
      }
      this.emit("peer", message);
    });
  }
}

interface History {
  readonly loaded: boolean;
  readonly loading: boolean;
  readonly more: boolean;
  readonly error: string | null;
}

const NO_HISTORY: History = { loaded: false, loading: false, more: false, error: null };
