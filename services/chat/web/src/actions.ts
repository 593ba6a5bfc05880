/** What people do, and what the edge brings: everything that changes the state. */

import { type Room, api } from "./api.ts";
import { type Change, Centrifuge, Follower } from "./follower.ts";
import { announce, draw, signedOut } from "./page.ts";
import { keep, kept, resend } from "./sending.ts";
import { type OpenRoom, current, explain, state, words } from "./state.ts";

const TYPING_EVERY_MS = 3_000;
const TYPING_SHOWN_MS = 4_500;
/** Rooms with more people are counted, not listed. */
const LISTED_MAX = 200;
const READ_AFTER_MS = 400;
/** Other rooms whose news are counted live. */
const WATCHED_MAX = 60;
const MEMBERS_AFTER_MS = 300;

let client: Centrifuge | null = null;
const watched = new Map<string, ReturnType<Centrifuge["newSubscription"]>>();

export async function begin(): Promise<void> {
  state.start = await api.start();
  draw();
  if (state.start.person === null) return;
  connect(state.start.edge);
  await loadRooms();
  await route();
}

function connect(edge: string): void {
  let first: Awaited<ReturnType<typeof api.connection>> | null = null;
  const getToken = async () => {
    first = await api.connection().catch((error) => {
      if (error.status === 401) signedOut();
      throw error;
    });
    return first.token;
  };
  client = new Centrifuge(edge, { getToken, minReconnectDelay: 200, maxReconnectDelay: 10_000 });
  client.on("connected", () => connected("connected"));
  client.on("connecting", () => connected("connecting"));
  // The session was revoked, or the edge says never to come back.
  client.on("disconnected", () => {
    connected("disconnected");
    void api.start().then((start) => { if (start.person === null) signedOut(); });
  });
  client.connect();
  void api.connection().then(({ personal_channel, personal_token }) => {
    const getToken = async () => (await api.connection()).personal_token;
    const own = client?.newSubscription(personal_channel, { token: personal_token, getToken });
    own?.on("publication", () => void loadRooms());
    own?.subscribe();
  });
}

function connected(now: typeof state.connection): void {
  if (state.connection === now) return;
  state.connection = now;
  if (now === "connected") {
    void resend();
    // News of rooms that are not open are counted while connected; what came meanwhile is asked for.
    if (state.rooms !== null) void loadRooms().catch(() => undefined);
  }
  draw();
}

export async function loadRooms(): Promise<void> {
  const { rooms } = await api.rooms();
  const open = state.room?.id;
  state.rooms = rooms.map((room) => (room.id === open ? { ...room, unread: 0 } : room));
  watchOthers();
  draw();
}

/** Counts news of the rooms that are not open. */
function watchOthers(): void {
  for (const room of (state.rooms ?? []).slice(0, WATCHED_MAX)) {
    if (client === null || watched.has(room.id) || room.id === state.room?.id) continue;
    const channel = `chat:${room.id}`;
    if (client.getSubscription(channel) !== null) continue;
    const getToken = () => api.tokens(room.id).then(({ token }) => token, (error) => { if (error.status === 404) return ""; throw error; });
    const subscription = client.newSubscription(channel, { getToken });
    subscription.on("publication", ({ data }) => news(room.id, data));
    // Somebody sent us out of it, or we left in another window.
    subscription.on("unsubscribed", () => void loadRooms().catch(() => undefined));
    subscription.subscribe();
    watched.set(room.id, subscription);
  }
}

function news(id: string, change: Change): void {
  const room = state.rooms?.find((known) => known.id === id);
  if (room === undefined || change.kind !== "message" || change.message?.author.id === state.start?.person?.id) return;
  if (change.seq <= room.last_seq) return;
  room.last_seq = change.seq;
  room.unread += 1;
  announce(`${room.name}: ${words().unread(room.unread)}`);
  draw();
}

let routing: Promise<void> = Promise.resolve();
/** The address says which room is open, so that back and reload work. One change after the other. */
export function route(): Promise<void> {
  routing = routing.then(follow, follow);
  return routing;
}

async function follow(): Promise<void> {
  const id = location.hash.slice(1);
  // Before the rooms are there nothing is opened; whoever loads them comes here again.
  if (state.rooms === null || id === (state.room?.id ?? "")) return;
  closeRoom();
  if (id !== "") await openRoom(id);
  draw();
}

export function go(id: string): void {
  location.hash = id;
}

async function openRoom(id: string): Promise<void> {
  if (client === null) return;
  if (!(state.rooms ?? []).some((room) => room.id === id)) {
    // A link to a public room is an invitation.
    try {
      await api.join(id);
      await loadRooms();
    } catch (error) {
      state.error = explain(error);
      location.hash = "";
      return;
    }
  }
  const other = watched.get(id);
  if (other !== undefined) {
    other.removeAllListeners();
    other.unsubscribe();
    watched.delete(id);
  }
  const listed = (current() ?? state.rooms?.find((room) => room.id === id)) as Room;
  const source = {
    page: (before: number) => api.page(id, before),
    changes: async (after: number) => (await api.changes(id, after)).changes,
    token: async () => (await api.tokens(id)).token,
  };
  const follower = new Follower(source, {
    loaded: () => { room.loaded = true; changed(room, []); },
    changed: (changes) => changed(room, changes),
    read: (person, upto) => {
      const member = room.members.find((known) => known.id === person);
      if (member !== undefined && member.read_seq < upto) member.read_seq = upto;
      draw();
    },
    ended: () => ended(room),
  }, client, `chat:${id}`, listed.people <= LISTED_MAX);
  const room: OpenRoom = {
    id, follower, loaded: false, members: [], receipts: false, here: new Set(), hereCount: 0,
    typing: new Map(), pending: kept(id), sending: false, editing: null, actionsOf: null, file: null, notice: null, fresh: false,
  };
  state.room = room;
  void resend();
  draw();
  watchPresence(room, listed.people);
  watchTyping(room);
  void loadMembers(room);
}

async function loadMembers(room: OpenRoom): Promise<void> {
  try {
    const { room: fresh, members, receipts } = await api.room(room.id);
    Object.assign(room, { members, receipts });
    const listed = state.rooms?.find(({ id }) => id === room.id);
    if (listed !== undefined) Object.assign(listed, fresh, { unread: 0 });
  } catch {
    // The next change asks again.
  }
  draw();
}

let asking: ReturnType<typeof setTimeout> | undefined;
/** Several came or went at once: one question. In big rooms nobody lists them, so nobody asks. */
function membersSoon(room: OpenRoom): void {
  if (asking !== undefined || (current()?.people ?? 0) > LISTED_MAX) return;
  asking = setTimeout(() => {
    asking = undefined;
    if (state.room === room) void loadMembers(room);
  }, MEMBERS_AFTER_MS);
}

function watchPresence(room: OpenRoom, people: number): void {
  const { subscription } = room.follower;
  const look = async () => {
    if (people > LISTED_MAX) {
      room.hereCount = (await subscription.presenceStats()).numUsers;
    } else {
      const { clients } = await subscription.presence();
      room.here = new Set(Object.values(clients).map(({ user }) => user));
      room.hereCount = room.here.size;
    }
    draw();
  };
  const quietly = () => void look().catch(() => undefined);
  subscription.on("subscribed", quietly);
  subscription.on("join", ({ info }) => { room.here.add(info.user); room.hereCount = room.here.size; draw(); });
  subscription.on("leave", quietly);
}

function watchTyping(room: OpenRoom): void {
  const channel = `chattyping:${room.id}`;
  const known = client?.getSubscription(channel);
  if (known) client?.removeSubscription(known);
  const getToken = () => api.tokens(room.id).then(({ typing_token }) => typing_token, (error) => { if (error.status === 404) return ""; throw error; });
  const subscription = client?.newSubscription(channel, { getToken });
  subscription?.on("publication", ({ info }) => {
    if (info === undefined || info.user === state.start?.person?.id) return;
    const name = (info.connInfo as { name?: string } | undefined)?.name ?? info.user;
    room.typing.set(info.user, { name, until: Date.now() + TYPING_SHOWN_MS });
    setTimeout(() => { expire(room); draw(); }, TYPING_SHOWN_MS + 50);
    draw();
  });
  subscription?.subscribe();
}

function expire(room: OpenRoom): void {
  for (const [person, { until }] of room.typing) if (until <= Date.now()) room.typing.delete(person);
}

let typedAt = 0;
/** Tells the others, at most every three seconds, and not in rooms where it would only flicker. */
export function typing(): void {
  const room = state.room;
  if (room === null || Date.now() - typedAt < TYPING_EVERY_MS || (current()?.people ?? 0) > LISTED_MAX) return;
  typedAt = Date.now();
  void client?.getSubscription(`chattyping:${room.id}`)?.publish({}).catch(() => undefined);
}

function closeRoom(): void {
  const room = state.room;
  if (room === null) return;
  room.follower.stop();
  keep(room);
  const typed = client?.getSubscription(`chattyping:${room.id}`);
  typed?.unsubscribe();
  typed?.removeAllListeners();
  client?.removeSubscription(room.follower.subscription);
  state.room = null;
  watchOthers();
}

/** Somebody sent us out, or we left in another window. */
function ended(room: OpenRoom): void {
  if (state.room !== room) return;
  announce(words().ended);
  state.error = words().ended;
  location.hash = "";
  void loadRooms().catch(() => undefined);
}

function changed(room: OpenRoom, changes: Change[]): void {
  const me = state.start?.person?.id;
  for (const change of changes) {
    const { message } = change;
    if (change.kind === "message" && message !== undefined) {
      room.pending = room.pending.filter(({ client: id }) => !(message.author.id === me && id === message.client_id));
      room.typing.delete(message.author.id);
      if (message.author.id !== me) {
        announce(`${message.author.name}: ${message.text || (message.file?.name ?? "")}`);
        room.fresh = true;
      }
    } else if (change.kind === "job" && message?.job != null && message.job.state !== "running") {
      announce(`${message.text}: ${words().job[message.job.state]}`);
    } else if (change.kind === "ban" && change.person?.id === me) {
      return ended(room);
    } else if (change.kind !== "edit" && change.kind !== "delete" && change.kind !== "job") {
      membersSoon(room);
    }
  }
  const listed = state.rooms?.find(({ id }) => id === room.id);
  if (listed !== undefined) listed.last_seq = Math.max(listed.last_seq, room.follower.timeline.have);
  readSoon(room);
  draw();
}

let reading: ReturnType<typeof setTimeout> | undefined;
/** Tells how far we have read, if somebody looks at the page. */
export function readSoon(room: OpenRoom): void {
  clearTimeout(reading);
  reading = setTimeout(() => {
    const last = room.follower.timeline.messages.at(-1)?.seq ?? 0;
    const listed = state.rooms?.find(({ id }) => id === room.id);
    if (document.visibilityState !== "visible" || state.room !== room || listed === undefined || last <= listed.read_seq) return;
    listed.read_seq = last;
    listed.unread = 0;
    void api.read(room.id, last).catch(() => undefined);
  }, READ_AFTER_MS);
}

export async function older(): Promise<void> {
  await state.room?.follower.older();
}

export async function leave(): Promise<void> {
  const id = state.room?.id;
  if (id === undefined) return;
  closeRoom();
  await api.leave(id);
  state.dialog = null;
  location.hash = "";
  await loadRooms();
}

export async function moderate(action: string, handle: string, seconds: number): Promise<void> {
  const room = state.room;
  if (room === null) return;
  await api.moderate(room.id, action, handle, seconds);
  await loadMembers(room);
}
