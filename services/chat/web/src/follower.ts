/**
 * Follows one room: loads its newest page, listens to its channel, and fetches what neither brought.
 * Works in a page and in Node; it draws nothing.
 */

import { Centrifuge, type PublicationContext, type Subscription, type SubscribedContext } from "centrifuge";
import { type Change, type Page, Timeline } from "./timeline.ts";

export { Centrifuge, Timeline };
export type * from "./timeline.ts";

/** Changes of one answer of the service. */
const CHANGES_MAX = 200;
/** After so many answers in a row a new page is cheaper. */
const ANSWERS_MAX = 5;
const PAUSE_MS = 500;
const PAUSE_MAX_MS = 15_000;

/** What a follower asks the service. */
export interface Source {
  page(before: number): Promise<Page>;
  changes(after: number): Promise<Change[]>;
  /** The token of the room's channel; rejects with an error whose `status` is 404 if the room is not ours any more. */
  token(): Promise<string>;
}

export interface Events {
  /** The first page is there, or the room was loaded anew. */
  loaded?(): void;
  /** Something new, in order, each once. */
  changed?(changes: Change[]): void;
  /** How far somebody has read. */
  read?(person: string, upto: number): void;
  /** The room is not ours any more. */
  ended?(): void;
}

export class Follower {
  readonly timeline = new Timeline();
  readonly subscription: Subscription;
  private catching = false;
  private again = false;
  private stopped = false;

  constructor(private readonly source: Source, private readonly events: Events, client: Centrifuge, channel: string, joinLeave = false) {
    const known = client.getSubscription(channel);
    if (known !== null) client.removeSubscription(known);
    const getToken = async () => {
      try {
        return await source.token();
      } catch (error) {
        // An empty token ends the subscription; any other error is tried again by the SDK.
        if ((error as { status?: number }).status === 404) return "";
        throw error;
      }
    };
    this.subscription = client.newSubscription(channel, { getToken, joinLeave });
    this.subscription.on("subscribed", (context: SubscribedContext) => {
      // Recovered: what was missed comes as publications. Otherwise nobody knows, so ask.
      if (this.timeline.have < 0 || !(context.wasRecovering && context.recovered)) void this.catchUp();
    });
    this.subscription.on("publication", (context: PublicationContext) => this.receive(context.data));
    this.subscription.on("unsubscribed", () => {
      if (!this.stopped) this.events.ended?.();
    });
    this.subscription.subscribe();
  }

  /** Takes a change that came another way, for example as the answer to a request. */
  take(change: Change): void {
    const applied = this.timeline.take(change);
    if (applied.length > 0) this.events.changed?.(applied);
    if (this.timeline.gap) void this.catchUp();
  }

  /** Loads the page before the first message. */
  async older(): Promise<void> {
    const first = this.timeline.messages[0];
    if (first === undefined || !this.timeline.more) return;
    this.timeline.older(await this.source.page(first.seq));
  }

  stop(): void {
    this.stopped = true;
    this.subscription.unsubscribe();
    this.subscription.removeAllListeners();
  }

  private receive(data: Change | { kind: "read"; person: string; upto: number }): void {
    if (data.kind === "read") this.events.read?.(data.person, data.upto);
    else if (typeof data.seq === "number") this.take(data);
  }

  /** Fetches what is missing, one request at a time, until nothing is. */
  private async catchUp(): Promise<void> {
    this.again = true;
    if (this.catching) return;
    this.catching = true;
    let pause = PAUSE_MS;
    while (this.again && !this.stopped) {
      this.again = false;
      try {
        await this.fetchMissing();
        pause = PAUSE_MS;
      } catch (error) {
        if ((error as { status?: number }).status === 404) break;
        this.again = true;
        await new Promise((resolve) => setTimeout(resolve, pause));
        pause = Math.min(pause * 2, PAUSE_MAX_MS);
      }
    }
    this.catching = false;
  }

  private async fetchMissing(): Promise<void> {
    if (this.timeline.have < 0) return this.begin();
    for (let answer = 0; answer < ANSWERS_MAX; answer += 1) {
      const changes = await this.source.changes(this.timeline.have);
      const applied = changes.flatMap((change) => this.timeline.take(change));
      if (applied.length > 0) this.events.changed?.(applied);
      if (changes.length < CHANGES_MAX) return;
    }
    return this.begin();
  }

  private async begin(): Promise<void> {
    this.timeline.begin(await this.source.page(0));
    this.events.loaded?.();
  }
}
