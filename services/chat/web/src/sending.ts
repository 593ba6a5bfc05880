/** What people write: sent in order, and again when nobody was reachable. */

import { api } from "./api.ts";
import { announce, draw, signedOut } from "./page.ts";
import { type OpenRoom, type Pending, explain, state, words } from "./state.ts";
import type { Message } from "./timeline.ts";

const RESEND_MS = 2_000;

export async function say(text: string): Promise<void> {
  const room = state.room;
  if (room === null) return;
  if (room.editing !== null) {
    const { id } = room.editing;
    room.follower.take(await api.edit(room.id, id, text));
    room.editing = null;
    return draw();
  }
  const pending: Pending = { client: crypto.randomUUID(), text, file: room.file, uploaded: null, failed: null };
  room.file = null;
  room.notice = null;
  room.pending.push(pending);
  draw();
  await send(room, pending);
}

/** Sends what waits, one after the other, so that messages arrive in the order in which they were written. */
export async function send(room: OpenRoom, pending: Pending): Promise<void> {
  pending.failed = null;
  draw();
  if (room.sending) return;
  room.sending = true;
  for (;;) {
    const next = room.pending.find(({ failed }) => failed === null);
    if (next === undefined) break;
    // What follows waits with it until somebody can be reached.
    if (!(await sendOne(room, next))) break;
  }
  room.sending = false;
}

/** The client id makes a repeat harmless, so an answer that was lost is asked for again. False if nobody was reached. */
async function sendOne(room: OpenRoom, pending: Pending): Promise<boolean> {
  let reached = true;
  try {
    if (pending.file !== null && pending.uploaded === null) pending.uploaded = (await api.upload(room.id, pending.file)).id;
    const change = await api.say(room.id, pending.client, pending.text, pending.uploaded);
    room.pending = room.pending.filter((known) => known !== pending);
    room.follower.take(change);
  } catch (error) {
    if ((error as { status?: number }).status === 401) {
      signedOut();
      return false;
    }
    pending.failed = explain(error);
    announce(pending.failed);
    reached = (error as { code?: string }).code !== "offline";
    if (!reached) setTimeout(() => void resend(), RESEND_MS);
  }
  draw();
  return reached;
}

/** What failed because nobody was reachable is sent when somebody is, also in rooms that were left for others. */
export async function resend(): Promise<void> {
  const open = state.room === null ? [] : [state.room];
  for (const room of [...open, ...left.values()]) {
    const first = room.pending.find(({ failed }) => failed === words().errors["offline"]);
    if (first !== undefined) await send(room, first);
    if (room.pending.length === 0) left.delete(room.id);
  }
}

/** Rooms that were closed while something waited in them. */
const left = new Map<string, OpenRoom>();

/** A room is closed: what waits in it is not lost. */
export function keep(room: OpenRoom): void {
  if (room.pending.length > 0) left.set(room.id, room);
}

/** What waited when the room was closed. Should it be on its way, its client id makes it one message all the same. */
export function kept(id: string): Pending[] {
  const waiting = left.get(id)?.pending ?? [];
  left.delete(id);
  return [...waiting];
}

export async function remove(message: Message): Promise<void> {
  const room = state.room;
  if (room === null) return;
  room.follower.take(await api.remove(room.id, message.id));
  room.actionsOf = null;
}
