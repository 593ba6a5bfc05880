// The messages of one ticket, each once and in order, however they came. Pure.

import type { Message } from "./api.ts";

export class Thread {
  readonly messages: Message[] = [];

  /** The number of the newest message that is here with all before it. */
  get last(): number {
    return this.messages.at(-1)?.seq ?? 0;
  }

  /** Takes a page that begins behind `last`; returns what is new. */
  take(page: readonly Message[]): Message[] {
    const fresh: Message[] = [];
    for (const message of page) {
      if (message.seq !== this.last + 1) continue;
      this.messages.push(message);
      fresh.push(message);
    }
    return fresh;
  }
}
