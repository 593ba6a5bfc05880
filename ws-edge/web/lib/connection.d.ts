/**
 * One connection to the edge and the user's inbox channel on it.
 *
 * Reads the WebSocket through the Centrifuge client library; hands publications, positions and
 * states to its listener. Never touches the DOM and holds no list. The channel is a server-side
 * subscription: the edge subscribes us when we connect, and the library resumes it by offset.
 */
import type { Publication } from "./inbox.ts";
/** Where the connection stands, in the words of the `state` attribute. */
export type BellState = "idle" | "connecting" | "connected" | "reconnecting" | "offline" | "error";
export type TokenSource = () => Promise<string>;
export interface ConnectionOptions {
    readonly endpoint: string;
    readonly token: string;
    readonly getToken: TokenSource | null;
    /** Null: the first personal inbox the edge subscribes us to. */
    readonly channel: string | null;
    /** Messages per page of history; the edge gives at most 300. */
    readonly pageSize: number;
    /** Where there is no global `WebSocket`. */
    readonly websocket?: unknown;
}
export interface Status {
    readonly state: BellState;
    readonly code: number;
    readonly reason: string;
}
export interface ConnectionListener {
    status(status: Status): void;
    position(channel: string, epoch: string, offset: number): void;
    live(publication: Publication, tags: Readonly<Record<string, string>>): void;
    /** A page of history, newest first. `more`: older ones exist. */
    history(publications: readonly Publication[], more: boolean): void;
    /** Published while we were away and not recovered, but found in history; oldest first. */
    missed(publications: readonly Publication[]): void;
    historyFailed(reason: string): void;
}
/** Dropped by `stop()`: after it the listener hears nothing any more. */
export declare class InboxConnection {
    #private;
    constructor(options: ConnectionOptions, listener: ConnectionListener);
    start(): void;
    stop(): void;
    /** Connects again after a terminal disconnect, or at once instead of waiting for the backoff. */
    retry(): void;
    /** A new token from the page; used at the next connect. */
    setToken(token: string): void;
    /** The token that authenticates this connection, for HTTP calls of the same user. */
    token(): Promise<string>;
    get canRefresh(): boolean;
    /** Asks the page for a token. */
    refreshToken(): Promise<string>;
    /** One more page of history before the oldest known message. */
    loadEarlier(): Promise<void>;
    /** Loads again what failed to load. */
    reload(): Promise<void>;
}
