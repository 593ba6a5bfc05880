/** The inbox without a user interface: what `campana-bell/headless` exports. */
export { Inbox } from "./client.js";
export { MAX_ITEMS, isUnread, isUnseen, parseMessage } from "./inbox.js";
export { parseTabs, tabItems } from "./tabs.js";
