/** Where a key leads: rows of the list, their buttons, tabs. Pure. */
/** A place in the list: which row, and whether its own button (`act`) or the row itself. */
export interface Place {
    readonly row: number;
    readonly act: boolean;
}
/** The place that a key leads to, or null if the key means nothing here. `rtl`: the page reads from right to left. */
export declare function listStep(key: string, at: Place, rows: number, rtl: boolean): Place | null;
/** The tab that a key leads to, round and round, or null. */
export declare function tabStep(key: string, at: number, tabs: number, rtl: boolean): number | null;
/** Who gets the focus when a row goes away: the next one, else the one before, else nobody. */
export declare function afterRemoval(ids: readonly string[], gone: string): string;
