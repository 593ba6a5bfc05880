/**
 * What an arrival sets off: the bell swings, a toast shows for a while, a screen reader speaks.
 *
 * Owns the timers and nothing else; the host draws `view` whenever it is told that it changed.
 */
import type { InboxItem } from "./inbox.ts";
import type { Labels } from "./labels.ts";
import type { ToastState } from "./toasts.ts";
export interface ArrivalsView {
    readonly ringing: boolean;
    readonly toasts: ToastState;
    /** The text of the polite live region. */
    readonly spoken: string;
}
export declare class Arrivals {
    #private;
    view: ArrivalsView;
    constructor(changed: () => void);
    ring(item: InboxItem, labels: Labels, withToast: boolean): void;
    ringEnded(): void;
    dismiss(ids: readonly string[]): void;
    dismissAll(): void;
    /** While the pointer or the focus is on a toast, none goes away. */
    hold(held: boolean): void;
    /** Forgets everything: the element left the page or belongs to another user now. */
    reset(): void;
    /** Something that the user did, for those who do not see it. */
    say(text: string): void;
}
