/**
 * The inbox as a value: folds the messages of one channel into a list with counts.
 *
 * Reads publications (offset and data) and the user's own marks; writes nothing, does no I/O and
 * reads no clock. The outcome does not depend on the order in which publications arrive, nor on how
 * often, because history pages, recovered publications and live ones overlap and race after every
 * reconnect: read and seen only ever become true, and of archive and unarchive the latest `at` wins.
 */

import { parseMessage } from "./message.ts";
import type { MarkKind, MarkMessage, NotificationMessage } from "./message.ts";

export { parseMessage } from "./message.ts";
export type { InboxMessage, MarkKind, MarkMessage, NotificationMessage } from "./message.ts";

/** The list never grows beyond this; the oldest items leave first. */
export const MAX_ITEMS = 2_000;
/** Marks may arrive before the (older) page with their notification: remember this many ids. */
export const MAX_EARLY_MARKS = 5_000;

/** What has been said of one notification. */
export interface Marks {
  readonly read: boolean;
  readonly seen: boolean;
  readonly archived: boolean;
  /** When `archived` was last decided, in microseconds since 1970; 0: never. */
  readonly archivedAt: number;
}

/** One row of the list. */
export interface InboxItem extends NotificationMessage, Marks {
  readonly offset: number;
}

/** A publication as the client library hands it over; `offset` is absent without history. */
export interface Publication {
  readonly offset?: number | undefined;
  readonly data: unknown;
}

/** Marked here, not confirmed by the server yet. */
export interface Pending {
  readonly read?: boolean;
  readonly seen?: boolean;
  readonly archived?: boolean;
}

export interface InboxState {
  /** Newest first, archived ones too; what the server has confirmed. {@link shownItems} adds the rest. */
  readonly items: readonly InboxItem[];
  readonly pending: ReadonlyMap<string, Pending>;
  /** Marks whose notification is not in the list (yet). */
  readonly early: ReadonlyMap<string, Marks>;
  /** Neither read nor archived. */
  readonly unread: number;
  /** Neither seen, read nor archived. */
  readonly unseen: number;
  readonly epoch: string;
  readonly offset: number;
}

export type InboxAction =
  | { readonly kind: "position"; readonly epoch: string; readonly offset: number }
  | { readonly kind: "publications"; readonly publications: readonly Publication[] }
  | { readonly kind: "mark"; readonly mark: MarkKind; readonly ids: readonly string[] }
  | { readonly kind: "unmark"; readonly mark: MarkKind; readonly ids: readonly string[] };

export const NO_MARKS: Marks = { read: false, seen: false, archived: false, archivedAt: 0 };

export const EMPTY_INBOX: InboxState = {
  items: [],
  pending: new Map(),
  early: new Map(),
  unread: 0,
  unseen: 0,
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
    case "mark": {
      const pending = new Map(state.pending);
      for (const id of action.ids) pending.set(id, { ...pending.get(id), ...facet(action.mark) });
      return counted({ ...state, pending });
    }
    case "unmark": {
      const pending = new Map(state.pending);
      for (const id of action.ids) settle(pending, id, action.mark);
      return counted({ ...state, pending });
    }
  }
}

/** The list for the eye: confirmed by the server, or marked here a moment ago. */
export function shownItems(state: InboxState): readonly InboxItem[] {
  if (state.pending.size === 0) return state.items;
  return state.items.map((item) => {
    const pending = state.pending.get(item.id);
    return pending === undefined ? item : { ...item, ...pending };
  });
}

export function isUnread(item: InboxItem): boolean {
  return !item.read && !item.archived;
}

export function isUnseen(item: InboxItem): boolean {
  return isUnread(item) && !item.seen;
}

/** Ids of everything unread, newest first. */
export function unreadIds(state: InboxState): string[] {
  return shownItems(state).filter(isUnread).map((item) => item.id);
}

/** One more mark. The order in which marks are added does not matter. */
export function withMark(marks: Marks, { type, at }: Pick<MarkMessage, "type" | "at">): Marks {
  if (type === "read") return { ...marks, read: true };
  if (type === "seen") return { ...marks, seen: true };
  const archived = type === "archive";
  // At the same moment archived wins: any rule will do that is the same on every device.
  const later = at > marks.archivedAt || (at === marks.archivedAt && (archived || !marks.archived));
  return later ? { ...marks, archived, archivedAt: at } : marks;
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
  const pending = new Map(state.pending);
  const early = new Map(state.early);
  let top = state.offset;
  for (const publication of publications) {
    const offset = publication.offset ?? top;
    top = Math.max(top, offset);
    const message = parseMessage(publication.data);
    if (message === null) continue;
    if (message.type !== "notification") {
      applyMark(items, early, pending, message);
      continue;
    }
    const known = items.get(message.id);
    // Delivered twice: the first offset is its place in the order.
    if (known !== undefined && known.offset <= offset) continue;
    const { read, seen, archived, archivedAt } = known ?? early.get(message.id) ?? NO_MARKS;
    early.delete(message.id);
    items.set(message.id, { ...message, offset, read, seen, archived, archivedAt });
  }
  const sorted = [...items.values()].sort(newestFirst).slice(0, MAX_ITEMS);
  return { ...state, items: sorted, pending, early: newest(early), offset: top };
}

function applyMark(
  items: Map<string, InboxItem>,
  early: Map<string, Marks>,
  pending: Map<string, Pending>,
  mark: MarkMessage,
): void {
  for (const id of mark.ids) {
    const item = items.get(id);
    if (item === undefined) early.set(id, withMark(early.get(id) ?? NO_MARKS, mark));
    else items.set(id, { ...item, ...withMark(item, mark) });
    settle(pending, id, mark.type);
  }
}

/** The part of a pending mark that this kind speaks of. */
function facet(mark: MarkKind): Pending {
  if (mark === "read") return { read: true };
  if (mark === "seen") return { seen: true };
  return { archived: mark === "archive" };
}

/** This mark waits no longer. One of the other direction, made since, goes on waiting. */
function settle(pending: Map<string, Pending>, id: string, mark: MarkKind): void {
  const waiting = pending.get(id);
  if (waiting === undefined) return;
  const done = Object.entries(facet(mark));
  const left = Object.entries(waiting).filter(([name, value]) => !done.some(([key, wanted]) => key === name && wanted === value));
  if (left.length === 0) pending.delete(id);
  else pending.set(id, Object.fromEntries(left));
}

function counted(state: InboxState): InboxState {
  let [unread, unseen] = [0, 0];
  for (const item of shownItems(state)) {
    if (isUnread(item)) unread += 1;
    if (isUnseen(item)) unseen += 1;
  }
  return { ...state, unread, unseen };
}

function newestFirst(a: InboxItem, b: InboxItem): number {
  if (a.offset !== b.offset) return b.offset - a.offset;
  if (a.created_at !== b.created_at) return a.created_at < b.created_at ? 1 : -1;
  return a.id < b.id ? 1 : -1;
}

function newest(early: Map<string, Marks>): ReadonlyMap<string, Marks> {
  return early.size <= MAX_EARLY_MARKS ? early : new Map([...early].slice(-MAX_EARLY_MARKS));
}
