/**
 * Which toasts are on the screen, as a value. Pure: time-outs and drawing belong to the element.
 */
import type { InboxItem } from "./inbox.ts";
/** More than this at once is noise: the rest becomes "and 47 more". */
export declare const MAX_TOASTS = 3;
/** On a phone a toast is as wide as the screen: one must do. */
export declare const MAX_TOASTS_PHONE = 1;
export interface ToastState {
    /** Newest last, as they stack on the screen. */
    readonly shown: readonly InboxItem[];
    /** Arrived while the stack was full. */
    readonly more: number;
}
export declare const NO_TOASTS: ToastState;
/** A new arrival: the newest `limit` stay visible, older ones are counted. */
export declare function addToast(state: ToastState, item: InboxItem, limit: number): ToastState;
/** Dismissed, read or timed out. With the last one the count goes as well. */
export declare function removeToasts(state: ToastState, ids: ReadonlySet<string>): ToastState;
