/**
 * What the tabs of one browser tell each other: a mark that was stored, a toast that was closed, a
 * sound that was switched off. Writes to a BroadcastChannel of this inbox. Never: carries messages
 * or tokens; every tab has its own connection, and what one misses here it hears from the edge.
 */

import type { MarkKind } from "./message.ts";

export type PeerMessage =
  | { readonly kind: "marked"; readonly mark: MarkKind; readonly ids: readonly string[] }
  | { readonly kind: "dismissed"; readonly ids: readonly string[] }
  | { readonly kind: "muted"; readonly muted: boolean };

/** How long one tab's claim keeps the others quiet. */
const CLAIM_MS = 10_000;

export class Peers {
  readonly #channel: BroadcastChannel | null;

  /** `name`: whose inbox, so that two users in two tabs never hear each other. */
  constructor(name: string, heard: (message: PeerMessage) => void) {
    this.#channel = typeof BroadcastChannel === "function" ? new BroadcastChannel(`campana-bell ${name}`) : null;
    if (this.#channel === null) return;
    this.#channel.onmessage = (event: MessageEvent<unknown>) => {
      const message = event.data as PeerMessage | null;
      if (typeof message === "object" && message !== null && typeof message.kind === "string") heard(message);
    };
    // Outside of browsers an open channel would keep the process alive.
    (this.#channel as unknown as { unref?: () => void }).unref?.();
  }

  tell(message: PeerMessage): void {
    this.#channel?.postMessage(message);
  }

  close(): void {
    this.#channel?.close();
  }
}

/** True in one tab only for the same `what` within a few seconds. Without Web Locks: in every tab. */
export async function firstOfAllTabs(what: string): Promise<boolean> {
  const locks = globalThis.navigator?.locks;
  if (locks === undefined) return true;
  return new Promise((resolve) => {
    const hold = async (lock: Lock | null): Promise<void> => {
      resolve(lock !== null);
      if (lock !== null) await new Promise((done) => setTimeout(done, CLAIM_MS));
    };
    locks.request(`campana-bell ${what}`, { ifAvailable: true }, hold).catch(() => resolve(true));
  });
}
