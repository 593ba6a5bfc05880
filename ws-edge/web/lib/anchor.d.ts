/**
 * Where the panel goes: below the bell and aligned with the nearer edge, above it where there is
 * no room below, the whole width on a phone. Pure.
 */
export interface Box {
    readonly top: number;
    readonly right: number;
    readonly bottom: number;
    readonly left: number;
}
/** CSS lengths for a `position: fixed` box; "auto" where the side is free. */
export interface Placement {
    readonly top: string;
    readonly right: string;
    readonly bottom: string;
    readonly left: string;
    readonly maxHeight: string;
}
export declare function placePanel(bell: Box, width: number, height: number): Placement;
