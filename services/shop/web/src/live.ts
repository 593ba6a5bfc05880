// Follows the shop over the edge; without one, or while it is away, asks every few seconds.

import { Centrifuge, UnauthorizedError } from "centrifuge";
import type { Picture } from "./picture.ts";

const ASK_EVERY_MS = 3_000;

interface Live {
  url: string | null;
  channel: string;
  token: string;
  channel_token: string;
  demo: boolean;
}

export type State = "connecting" | "live" | "polling" | "away";

export interface Listener {
  picture(picture: Picture): void;
  state(state: State): void;
  demo(): void;
}

async function ask<T>(path: string): Promise<T> {
  const answer = await fetch(path, { signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return (await answer.json()) as T;
}

export async function follow(listener: Listener): Promise<void> {
  let pushed = false;
  let edge = true;
  const look = async () => {
    try {
      listener.picture(await ask<Picture>("api/floor"));
      if (!pushed) listener.state(edge ? "connecting" : "polling");
    } catch {
      listener.state("away");
    }
  };
  const start = async () => {
    const live = await ask<Live>("api/live");
    if (live.demo) listener.demo();
    edge = live.url !== null;
    if (live.url === null) return;
    const client = new Centrifuge(live.url, { token: live.token, getToken: async () => (await again()).token });
    const floor = client.newSubscription(live.channel, { token: live.channel_token, getToken: async () => (await again()).channel_token });
    floor.on("publication", ({ data }) => listener.picture(data as Picture));
    floor.on("subscribed", () => {
      pushed = true;
      listener.state("live");
      // What was pushed before the subscription is in the picture of now.
      void look();
    });
    floor.on("subscribing", () => { pushed = false; });
    floor.on("unsubscribed", () => { pushed = false; });
    client.on("connecting", () => { pushed = false; });
    floor.subscribe();
    client.connect();
  };
  await look();
  try {
    await start();
  } catch {
    // Looked for again with the page's own rhythm below.
    edge = false;
  }
  await look();
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    if (!pushed && document.visibilityState === "visible") await look();
  }
}

async function again(): Promise<Live> {
  try {
    return await ask<Live>("api/live");
  } catch (error) {
    if (error instanceof Error && /: 40[13]$/.test(error.message)) throw new UnauthorizedError("not allowed");
    throw error;
  }
}
