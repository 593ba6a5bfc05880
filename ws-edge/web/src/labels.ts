/** Every word the element shows, so that a page can replace them (`bell.labels = {…}`). */

export interface Labels {
  readonly title: string;
  readonly unread: string;
  readonly unreadCount: (count: number) => string;
  readonly noUnread: string;
  readonly markAll: string;
  readonly close: string;
  readonly empty: string;
  readonly emptyHint: string;
  readonly loading: string;
  readonly unavailable: string;
  readonly earlier: string;
  readonly justNow: string;
  readonly retry: string;
  readonly historyFailed: string;
  readonly readFailed: string;
  readonly arrived: (title: string) => string;
  readonly arrivedMany: (count: number) => string;
  readonly more: (count: number) => string;
  readonly dismiss: string;
  readonly states: Readonly<Record<BellState, string>>;
}

/** Where the connection stands, in the words of the `state` attribute. */
export type BellState = "idle" | "connecting" | "connected" | "reconnecting" | "offline" | "error";

export const ENGLISH: Labels = {
  title: "Notifications",
  unread: "Unread",
  unreadCount: (count) => `${count} unread`,
  noUnread: "nothing unread",
  markAll: "Mark all read",
  close: "Close",
  empty: "All quiet",
  emptyHint: "New notifications ring here the moment they happen.",
  loading: "Loading…",
  unavailable: "Nothing could be loaded yet.",
  earlier: "Show earlier",
  justNow: "just now",
  retry: "Try again",
  historyFailed: "Earlier notifications could not be loaded.",
  readFailed: "Could not be marked as read.",
  arrived: (title) => `New notification: ${title}`,
  arrivedMany: (count) => `${count} new notifications`,
  more: (count) => `and ${count} more`,
  dismiss: "Dismiss",
  states: {
    idle: "Not connected",
    connecting: "Connecting…",
    connected: "Live",
    reconnecting: "Reconnecting…",
    offline: "You are offline",
    error: "Disconnected",
  },
};
