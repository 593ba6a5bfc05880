/** The inbox without a user interface: what `campana-bell/headless` exports. */

export { Inbox } from "./client.ts";
export type { Arrival, Connection, InboxEvents, InboxOptions, Snapshot } from "./client.ts";
export type { BellState, ConnectionListener, ConnectionOptions, Status, TokenSource } from "./connection.ts";
export { MAX_ITEMS, isUnread, isUnseen, parseMessage } from "./inbox.ts";
export type { InboxItem, InboxMessage, MarkKind, MarkMessage, Marks, NotificationMessage, Publication } from "./inbox.ts";
export type { PeerMessage } from "./peers.ts";
export { parseTabs, tabItems } from "./tabs.ts";
export type { Tab, TabChoice } from "./tabs.ts";
