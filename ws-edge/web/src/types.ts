/** What an inbox takes and gives. Types only. */

import type { BellState, ConnectionListener, ConnectionOptions, InboxConnection, TokenSource } from "./connection.ts";
import type { InboxItem, MarkKind } from "./inbox.ts";
import type { PeerMessage } from "./peers.ts";

export interface InboxOptions {
  /** WebSocket address of the edge. */
  readonly endpoint: string;
  /** Connection token (JWT); or `getToken`, which is asked whenever one is needed. */
  readonly token?: string;
  readonly getToken?: TokenSource | null;
  /** Whose inbox; without `user` and `channel` the first personal one that the edge subscribes us to. */
  readonly user?: string;
  readonly channel?: string;
  /** Where `/v1/inbox/…` is; empty: the page's own origin. */
  readonly apiBase?: string;
  /** Messages per page of history, at most 300; 100 if not said. */
  readonly pageSize?: number;
  /** False: this tab neither tells the browser's other tabs of its marks nor listens to theirs. */
  readonly sync?: boolean;
  /** A WebSocket class where there is no global one (Node before 22). */
  readonly websocket?: unknown;
  /** Another connection, for tests. */
  readonly connect?: (options: ConnectionOptions, listener: ConnectionListener) => Connection;
}

/** What an inbox needs of its connection. */
export type Connection = Pick<
  InboxConnection,
  "start" | "stop" | "retry" | "setToken" | "token" | "canRefresh" | "refreshToken" | "loadEarlier" | "reload"
>;

/** Everything there is to draw. Never changes; a change makes a new one. */
export interface Snapshot {
  readonly state: BellState;
  /** Why the connection is not there: a code of the protocol and its words. */
  readonly code: number;
  readonly reason: string;
  readonly channel: string;
  readonly epoch: string;
  readonly offset: number;
  /** Newest first, archived ones too, at most 2,000; own marks count at once. */
  readonly items: readonly InboxItem[];
  readonly unread: number;
  readonly unseen: number;
  /** The first page of history is there (or has failed, see `error`). */
  readonly loaded: boolean;
  /** A page of history is under way. */
  readonly loading: boolean;
  /** Older messages may exist: `loadEarlier()`. */
  readonly more: boolean;
  /** Why history could not be loaded; null: it could. `reload()` tries again. */
  readonly error: string | null;
}

export interface Arrival {
  readonly notification: InboxItem;
  readonly channel: string;
  readonly tags: Readonly<Record<string, string>>;
  /** `performance.now()` when the publication reached this inbox. */
  readonly receivedAt: number;
}

export interface InboxEvents {
  change: Snapshot;
  /** Once for each notification that arrives while we live, also after a reconnect; not for history. */
  notification: Arrival;
  unread: number;
  state: Snapshot;
  /** Marked here, in another tab or on another device. */
  marked: { readonly mark: MarkKind; readonly ids: readonly string[] };
  /** A mark was refused and has been taken back. */
  refused: { readonly mark: MarkKind; readonly ids: readonly string[]; readonly reason: string };
  /** Another tab of this browser says something. */
  peer: PeerMessage;
}
