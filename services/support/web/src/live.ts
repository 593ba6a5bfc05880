// Hears over the edge that something is new; without an edge, or while it is away, asks every few seconds.

import { Centrifuge, type Subscription, UnauthorizedError } from "centrifuge";
import { get, Refused } from "./api.ts";

const ASK_EVERY_MS = 3_000;

export type State = "connecting" | "live" | "polling" | "away";

interface Live {
  url: string | null;
  channel: string;
  token: string;
  channel_token: string;
}

/** Calls `look` whenever something may be new, one call at a time; `say` says how it hears of it. */
export class Follower {
  #client: Centrifuge | null = null;
  #subscription: Subscription | null = null;
  #live = false;
  #edge = true;
  #looking = false;
  #again = false;
  #stopped = false;
  readonly #query: string;

  constructor(ticket: string | null, private readonly look: () => Promise<void>, private readonly say: (state: State) => void) {
    this.#query = ticket === null ? "/api/live" : `/api/live?ticket=${ticket}`;
  }

  async run(): Promise<void> {
    this.say("connecting");
    await this.changed();
    while (!this.#stopped) {
      if (this.#client === null && this.#edge) await this.#connect();
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
      if (!this.#live && document.visibilityState === "visible") await this.changed();
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#client?.disconnect();
  }

  /** Looks now; a call while one is under way leads to one more look. */
  async changed(): Promise<void> {
    this.#again = true;
    if (this.#looking) return;
    this.#looking = true;
    try {
      while (this.#again && !this.#stopped) {
        this.#again = false;
        await this.look();
        if (!this.#stopped) this.say(this.#live ? "live" : this.#edge ? "connecting" : "polling");
      }
    } catch {
      if (!this.#stopped) this.say("away");
    } finally {
      this.#looking = false;
    }
  }

  async #connect(): Promise<void> {
    let live: Live;
    try {
      live = await get<Live>(this.#query);
    } catch {
      return;
    }
    if (this.#stopped) return;
    if (live.url === null) {
      this.#edge = false;
      this.say("polling");
      return;
    }
    const again = async () => {
      try {
        return await get<Live>(this.#query);
      } catch (error) {
        if (error instanceof Refused && (error.status === 401 || error.status === 404)) throw new UnauthorizedError("not allowed");
        throw error;
      }
    };
    this.#client = new Centrifuge(live.url, { token: live.token, getToken: async () => (await again()).token });
    this.#subscription = this.#client.newSubscription(live.channel, { token: live.channel_token, getToken: async () => (await again()).channel_token });
    this.#subscription.on("publication", () => void this.changed());
    this.#subscription.on("subscribed", () => {
      this.#live = true;
      // What was told before the subscription is found by looking.
      void this.changed();
    });
    const lost = () => {
      this.#live = false;
      if (!this.#stopped) this.say("connecting");
    };
    this.#subscription.on("subscribing", lost);
    this.#subscription.on("unsubscribed", lost);
    this.#client.on("connecting", lost);
    this.#subscription.subscribe();
    this.#client.connect();
  }
}
