/**
 * What the user has on the screen while the panel is open: rows that become seen, and the end of the
 * list, where older ones are to be loaded. Owns two IntersectionObservers and a timer; draws nothing.
 */
export interface WatcherHost {
    seen(ids: readonly string[]): void;
    atEnd(): void;
}
export declare class Watcher {
    #private;
    constructor(host: WatcherHost);
    /** After every drawing of the open panel. `wantsMore`: reaching the end should load. */
    look(root: HTMLElement, wantsMore: boolean): void;
    /** The panel is closed. What was seen until now counts. */
    stop(): void;
}
