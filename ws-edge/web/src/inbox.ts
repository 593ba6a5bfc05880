/**
 * The inbox as a value: folds the messages of one channel into a list and an unread count.
 *
 * Reads publications (offset and data) and the user's own marks; writes nothing, does no I/O and
 * reads no clock. The outcome does not depend on the order in which publications arrive, because
 * history pages, recovered publications and live ones overlap and race after every reconnect.
 */

/** The list never grows beyond this; the oldest items leave first. */
export const MAX_ITEMS = 500;
/** Read events may arrive before the (older) page with their notification: remember this many ids. */
export const MAX_EARLY_READS = 2_000;

/** A notification as published on the inbox channel. Names are those of the wire. */
export interface NotificationMessage {
  readonly type: "notification";
  readonly id: string;
  readonly notification_id: string;
  readonly title: string;
  readonly body: string;
  readonly url: string | null;
  readonly created_at: string;
  readonly trace_id: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Some notifications were read, on this device or on another one. */
export interface ReadMessage {
  readonly type: "read";
  readonly ids: readonly string[];
  readonly at: string;
}

export type InboxMessage = NotificationMessage | ReadMessage;

/** One row of the list. `read` is what the server has confirmed; see {@link isRead}. */
export interface InboxItem extends NotificationMessage {
  readonly offset: number;
  readonly read: boolean;
}

/** A publication as the client library hands it over; `offset` is absent without history. */
export interface Publication {
  readonly offset?: number | undefined;
  readonly data: unknown;
}

export interface InboxState {
  /** Newest first. */
  readonly items: readonly InboxItem[];
  /** Marked here, not yet confirmed by the server. */
  readonly pending: ReadonlySet<string>;
  /** Ids of read events whose notification is not in the list (yet). */
  readonly earlyReads: ReadonlySet<string>;
  readonly unread: number;
  readonly epoch: string;
  readonly offset: number;
}

export type InboxAction =
  | { readonly kind: "position"; readonly epoch: string; readonly offset: number }
  | { readonly kind: "publications"; readonly publications: readonly Publication[] }
  | { readonly kind: "mark"; readonly ids: readonly string[] }
  | { readonly kind: "unmark"; readonly ids: readonly string[] };

export const EMPTY_INBOX: InboxState = {
  items: [],
  pending: new Set(),
  earlyReads: new Set(),
  unread: 0,
  epoch: "",
  offset: 0,
};

/** The next state. Never changes its argument. */
export function fold(state: InboxState, action: InboxAction): InboxState {
  switch (action.kind) {
    case "position":
      return foldPosition(state, action.epoch, action.offset);
    case "publications":
      return counted(foldPublications(state, action.publications));
    case "mark":
      return counted({ ...state, pending: new Set([...state.pending, ...action.ids]) });
    case "unmark": {
      const dropped = new Set(action.ids);
      const pending = new Set([...state.pending].filter((id) => !dropped.has(id)));
      return counted({ ...state, pending });
    }
  }
}

/** Read for the eye: confirmed by the server, or marked here a moment ago. */
export function isRead(state: InboxState, item: InboxItem): boolean {
  return item.read || state.pending.has(item.id);
}

/** Ids of everything unread, newest first. */
export function unreadIds(state: InboxState): string[] {
  return state.items.filter((item) => !isRead(state, item)).map((item) => item.id);
}

/** The message in a publication, or null: types of later versions are skipped, not errors. */
export function parseMessage(data: unknown): InboxMessage | null {
  if (!isRecord(data)) return null;
  if (data["type"] === "read") {
    if (!Array.isArray(data["ids"])) return null;
    const ids = data["ids"].filter((id): id is string => typeof id === "string");
    return { type: "read", ids, at: text(data["at"]) };
  }
  if (data["type"] !== "notification" || typeof data["id"] !== "string" || data["id"] === "") return null;
  return {
    type: "notification",
    id: data["id"],
    notification_id: text(data["notification_id"]),
    title: text(data["title"]),
    body: text(data["body"]),
    url: safeUrl(data["url"]),
    created_at: text(data["created_at"]),
    trace_id: text(data["trace_id"]),
    metadata: textRecord(data["metadata"]),
  };
}

function foldPosition(state: InboxState, epoch: string, offset: number): InboxState {
  if (state.epoch !== "" && epoch !== state.epoch) {
    // Another incarnation of the stream: old offsets mean nothing there, so the list starts afresh.
    return { ...EMPTY_INBOX, epoch, offset };
  }
  return { ...state, epoch, offset: Math.max(state.offset, offset) };
}

function foldPublications(state: InboxState, publications: readonly Publication[]): InboxState {
  const items = new Map(state.items.map((item) => [item.id, item]));
  const pending = new Set(state.pending);
  const earlyReads = new Set(state.earlyReads);
  let top = state.offset;
  for (const publication of publications) {
    const offset = publication.offset ?? top;
    top = Math.max(top, offset);
    const message = parseMessage(publication.data);
    if (message?.type === "notification") {
      const known = items.get(message.id);
      // Delivered twice: the first offset is its place in the order.
      if (known !== undefined && known.offset <= offset) continue;
      const read = (known?.read ?? false) || earlyReads.delete(message.id);
      items.set(message.id, { ...message, offset, read });
    } else if (message?.type === "read") {
      for (const id of message.ids) {
        const item = items.get(id);
        if (item === undefined) earlyReads.add(id);
        else items.set(id, { ...item, read: true });
        pending.delete(id);
      }
    }
  }
  const sorted = [...items.values()].sort(newestFirst).slice(0, MAX_ITEMS);
  return { ...state, items: sorted, pending, earlyReads: newest(earlyReads, MAX_EARLY_READS), offset: top };
}

function counted(state: InboxState): InboxState {
  return { ...state, unread: unreadIds(state).length };
}

function newestFirst(a: InboxItem, b: InboxItem): number {
  if (a.offset !== b.offset) return b.offset - a.offset;
  if (a.created_at !== b.created_at) return a.created_at < b.created_at ? 1 : -1;
  return a.id < b.id ? 1 : -1;
}

function newest(ids: Set<string>, limit: number): Set<string> {
  return ids.size <= limit ? ids : new Set([...ids].slice(-limit));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function textRecord(value: unknown): Record<string, string> {
  if (!isRecord(value)) return {};
  const entries = Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return Object.fromEntries(entries);
}

/** Only links that open a page: `javascript:` and its kin never reach an href. */
function safeUrl(value: unknown): string | null {
  if (typeof value !== "string") return null;
  if (/^\/(?![/\\])/.test(value)) return value;
  try {
    const { protocol } = new URL(value);
    return protocol === "https:" || protocol === "http:" ? value : null;
  } catch {
    return null;
  }
}
