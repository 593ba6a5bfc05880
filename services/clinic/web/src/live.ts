/**
 * Live updates: the person's own channel at the edge. A publication says only which appointment changed; the page asks
 * for it, so that nothing depends on what was missed.
 */

import { Centrifuge } from "centrifuge";

export interface Live {
  stop(): void;
}

/** Follows `clinic:#<user>`; `changed` is also called after every gap that could not be filled. */
export function follow(
  endpoint: string,
  user: string,
  getToken: () => Promise<string>,
  changed: () => void,
  state: (state: "connecting" | "connected" | "offline") => void,
): Live {
  const client = new Centrifuge(endpoint, { getToken });
  const channel = client.newSubscription(`clinic:#${user}`);
  channel.on("publication", changed);
  channel.on("subscribed", ({ wasRecovering, recovered }) => {
    state("connected");
    if (wasRecovering && !recovered) changed();
  });
  channel.on("subscribing", () => state("connecting"));
  channel.on("unsubscribed", () => state("offline"));
  client.on("disconnected", () => state("offline"));
  channel.subscribe();
  client.connect();
  return { stop: () => client.disconnect() };
}
