/**
 * `Inbox`: one person's inbox without a user interface. Connects, folds, marks, and tells.
 *
 * Reads the edge through `connection.ts`; writes marks by HTTP. No DOM: it runs in a page, a worker
 * or Node. Every change makes a new immutable {@link Snapshot}, so that any framework can draw it.
 */
import { Emitter } from "./emitter.ts";
import type { PeerMessage } from "./peers.ts";
import type { InboxEvents, InboxOptions, Snapshot } from "./types.ts";
export type { Arrival, Connection, InboxEvents, InboxOptions, Snapshot } from "./types.ts";
export declare class Inbox extends Emitter<InboxEvents> {
    #private;
    constructor(options: InboxOptions);
    /** What there is now. The same object until something changes. */
    readonly getSnapshot: () => Snapshot;
    /** Calls `changed` after every change; with `getSnapshot` the two halves of `useSyncExternalStore`. */
    readonly subscribe: (changed: () => void) => (() => void);
    get snapshot(): Snapshot;
    /** Connects, and goes on connecting until `stop()`. */
    start(): void;
    /** Disconnects. The list stays, and `start()` goes on. */
    stop(): void;
    /** Connects again now instead of waiting. */
    reconnect(): void;
    setToken(token: string): void;
    /** One more page of older messages into `items`. Does nothing while one is under way. */
    loadEarlier(): Promise<void>;
    /** Asks again for what could not be loaded. */
    reload(): Promise<void>;
    /** Each mark answers true when the platform has stored it, false when it was refused and taken back. */
    markRead(ids: readonly string[]): Promise<boolean>;
    markAllRead(): Promise<boolean>;
    markSeen(ids: readonly string[]): Promise<boolean>;
    archive(ids: readonly string[]): Promise<boolean>;
    unarchive(ids: readonly string[]): Promise<boolean>;
    /** Tells this browser's other tabs; they hear a `peer` event. */
    tellPeers(message: PeerMessage): void;
}
