/**
 * What the tabs of one browser tell each other: a mark that was stored, a toast that was closed, a
 * sound that was switched off. Writes to a BroadcastChannel of this inbox. Never: carries messages
 * or tokens; every tab has its own connection, and what one misses here it hears from the edge.
 */
import type { MarkKind } from "./message.ts";
export type PeerMessage = {
    readonly kind: "marked";
    readonly mark: MarkKind;
    readonly ids: readonly string[];
} | {
    readonly kind: "dismissed";
    readonly ids: readonly string[];
} | {
    readonly kind: "muted";
    readonly muted: boolean;
};
export declare class Peers {
    #private;
    /** `name`: whose inbox, so that two users in two tabs never hear each other. */
    constructor(name: string, heard: (message: PeerMessage) => void);
    tell(message: PeerMessage): void;
    close(): void;
}
/** True in one tab only for the same `what` within a few seconds. Without Web Locks: in every tab. */
export declare function firstOfAllTabs(what: string): Promise<boolean>;
