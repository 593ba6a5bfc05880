/**
 * What an arrival sets off: the bell swings, a toast shows for a while, a screen reader speaks.
 *
 * Owns the timers and nothing else; the host draws `view` whenever it is told that it changed.
 */

import type { InboxItem } from "./inbox.ts";
import type { Labels } from "./labels.ts";
import { MAX_TOASTS, MAX_TOASTS_PHONE, NO_TOASTS, addToast, removeToasts } from "./toasts.ts";
import type { ToastState } from "./toasts.ts";

const PHONE = "(max-width: 480px)";
const TOAST_MS = 6_000;
/** A burst of arrivals is spoken once: "50 new notifications". */
const SPEAK_AFTER_MS = 250;

export interface ArrivalsView {
  readonly ringing: boolean;
  readonly toasts: ToastState;
  /** The text of the polite live region. */
  readonly spoken: string;
}

export class Arrivals {
  view: ArrivalsView = { ringing: false, toasts: NO_TOASTS, spoken: "" };
  readonly #changed: () => void;
  #unspoken: InboxItem[] = [];
  #speakTimer = 0;
  readonly #timers = new Map<string, number>();
  #held = false;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  ring(item: InboxItem, labels: Labels, withToast: boolean): void {
    this.#set({ ringing: true });
    this.#unspoken.push(item);
    if (this.#unspoken.length === 1) this.#speakTimer = window.setTimeout(() => this.#speak(labels), SPEAK_AFTER_MS);
    if (!withToast) return;
    const limit = matchMedia(PHONE).matches ? MAX_TOASTS_PHONE : MAX_TOASTS;
    this.#set({ toasts: addToast(this.view.toasts, item, limit) });
    const shown = new Set(this.view.toasts.shown.map((toast) => toast.id));
    for (const id of this.#timers.keys()) if (!shown.has(id)) this.#stopTimer(id);
    this.#startTimer(item.id);
  }

  ringEnded(): void {
    this.#set({ ringing: false });
  }

  dismiss(ids: readonly string[]): void {
    for (const id of ids) this.#stopTimer(id);
    const gone = new Set(ids);
    if (!this.view.toasts.shown.some((item) => gone.has(item.id))) return;
    this.#set({ toasts: removeToasts(this.view.toasts, gone) });
    if (this.view.toasts.shown.length === 0) this.#held = false;
  }

  dismissAll(): void {
    this.dismiss(this.view.toasts.shown.map((item) => item.id));
  }

  /** While the pointer or the focus is on a toast, none goes away. */
  hold(held: boolean): void {
    this.#held = held;
  }

  /** Forgets everything: the element left the page or belongs to another user now. */
  reset(): void {
    clearTimeout(this.#speakTimer);
    this.#unspoken = [];
    this.dismissAll();
    this.#set({ ringing: false, spoken: "" });
  }

  /** Something that the user did, for those who do not see it. */
  say(text: string): void {
    this.#set({ spoken: text });
  }

  #speak(labels: Labels): void {
    const [first] = this.#unspoken;
    const count = this.#unspoken.length;
    this.#unspoken = [];
    if (first === undefined) return;
    this.#set({ spoken: count === 1 ? labels.arrived(first.title) : labels.arrivedMany(count) });
  }

  #startTimer(id: string): void {
    this.#stopTimer(id);
    this.#timers.set(id, window.setTimeout(() => (this.#held ? this.#startTimer(id) : this.dismiss([id])), TOAST_MS));
  }

  #stopTimer(id: string): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
  }

  #set(change: Partial<ArrivalsView>): void {
    this.view = { ...this.view, ...change };
    this.#changed();
  }
}
