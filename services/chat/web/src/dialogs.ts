/** What opens over the page: one dialog at a time. */
import { html, nothing, type TemplateResult } from "lit";
import { go, leave, loadRooms, moderate } from "./actions.ts";
import { type Member, api } from "./api.ts";
import { attempt, signedOut } from "./page.ts";
import { type Dialog, current, moment, state, words } from "./state.ts";

const MUTE_SECONDS = 600;
const BAN_SECONDS = 86_400;

const text = (form: HTMLFormElement, name: string) => String(new FormData(form).get(name) ?? "").trim();

/** The content of the open dialog, and its title. */
export function dialog(open: Dialog): { title: string; body: TemplateResult } {
  const t = words();
  switch (open.kind) {
    case "room": return { title: t.newRoom, body: newRoom() };
    case "direct": return { title: t.newDirect, body: direct() };
    case "directory": return { title: t.findRoom, body: directory(open) };
    case "people": return { title: t.people, body: people() };
    case "settings": return { title: t.settings, body: settings() };
    case "devices": return { title: t.devices, body: devices(open) };
    case "search": return { title: t.searchIn(current()?.name ?? ""), body: search(open) };
  }
}

/** A form that asks something of the service and closes when it is done. */
function form(work: (form: HTMLFormElement) => Promise<void>) {
  return (event: SubmitEvent) => {
    event.preventDefault();
    const asked = event.currentTarget as HTMLFormElement;
    void attempt(() => work(asked));
  };
}

async function enter(id: string): Promise<void> {
  await loadRooms();
  state.dialog = null;
  go(id);
}

function newRoom() {
  const t = words();
  const make = form(async (asked) => {
    const room = await api.addRoom(text(asked, "name"), text(asked, "topic"), text(asked, "private") === "on");
    await enter(room.id);
  });
  return html`<form class="stack" @submit=${make}>
    <label>${t.name}<input name="name" required maxlength="60" autocomplete="off"></label>
    <label>${t.topic}<input name="topic" maxlength="200" autocomplete="off"></label>
    <label class="check"><input type="checkbox" name="private"> ${t.isPrivate}</label>
    <button class="main" ?disabled=${state.busy}>${t.create}</button>
  </form>`;
}

function direct() {
  const t = words();
  const open = form(async (asked) => {
    const room = await api.direct(text(asked, "handle").replace(/^@/, "").toLowerCase());
    await enter(room.id);
  });
  return html`<form class="stack" @submit=${open}>
    <label>${t.handle}<input name="handle" required maxlength="33" autocapitalize="none" autocomplete="off" spellcheck="false"></label>
    <button class="main" ?disabled=${state.busy}>${t.open}</button>
  </form>`;
}

function directory({ rooms }: Dialog & { kind: "directory" }) {
  const t = words();
  if (rooms === null) return html`<p class="empty">${t.loading}</p>`;
  if (rooms.length === 0) return html`<p class="empty">${t.noPublic}</p>`;
  const join = (id: string) => void attempt(async () => { await api.join(id); await enter(id); });
  return html`<ul>${rooms.map((room) => html`<li class="row">
    <div class="grow"><strong>${room.name}</strong><p class="soft">${t.ofPeople(room.people)}${room.topic === "" ? "" : ` · ${room.topic}`}</p></div>
    <button ?disabled=${state.busy} aria-label=${`${room.joined ? t.open : t.join}: ${room.name}`} @click=${() => join(room.id)}>${room.joined ? t.open : t.join}</button>
  </li>`)}</ul>`;
}

function people() {
  const t = words();
  const open = state.room;
  const room = current();
  if (open === null || room === undefined) return html``;
  const invite = form(async (asked) => {
    await api.invite(room.id, text(asked, "handle").replace(/^@/, "").toLowerCase());
    asked.reset();
    open.members = (await api.room(room.id)).members;
  });
  const mayInvite = room.kind === "public" || (room.kind === "private" && room.role !== "member");
  return html`<ul>${open.members.map((member) => html`<li>
      <div class="row"><span class="grow">${member.name} <span class="soft">@${member.handle}</span></span>
        ${member.role === "member" ? nothing : html`<span class="soft">${t.role[member.role]}</span>`}
        ${member.muted_until > Date.now() * 1_000 ? html`<span class="soft">${t.muted}</span>` : nothing}
        ${open.here.has(member.id) ? html`<span class="dot" role="img" aria-label=${t.online}></span>` : nothing}</div>
      ${moderation(member, room.role)}
    </li>`)}</ul>
    ${mayInvite ? html`<form class="row" @submit=${invite}>
      <label class="grow">${t.invite}<input name="handle" required maxlength="33" autocapitalize="none" autocomplete="off" spellcheck="false"></label>
      <button ?disabled=${state.busy}>${t.inviteDo}</button></form>` : nothing}`;
}

const RANK = { member: 1, moderator: 2, owner: 3 };

function moderation(member: Member, role: keyof typeof RANK) {
  const t = words();
  if (RANK[role] < 2 || RANK[role] <= RANK[member.role]) return nothing;
  const act = (action: string, label: string, seconds = 0) => html`<button aria-label=${`${label}: ${member.name}`} ?disabled=${state.busy}
    @click=${() => void attempt(() => moderate(action, member.handle, seconds))}>${label}</button>`;
  const isMuted = member.muted_until > Date.now() * 1_000;
  return html`<details><summary>${t.moderate(member.name)}</summary><div class="row">
    ${isMuted ? act("unmute", t.unmute) : act("mute", t.mute, MUTE_SECONDS)}
    ${act("ban", t.ban, BAN_SECONDS)}
    ${role === "owner" ? (member.role === "moderator" ? act("demote", t.demote) : act("promote", t.promote)) : nothing}
  </div></details>`;
}

function settings() {
  const t = words();
  const room = current();
  if (room === undefined) return html``;
  const save = form(async (asked) => {
    Object.assign(room, await api.setRoom(room.id, text(asked, "topic"), Number(text(asked, "slow"))));
    state.dialog = null;
  });
  return html`<div class="stack">
    ${room.role === "member" || room.kind === "direct" ? nothing : html`<form class="stack" @submit=${save}>
      <label>${t.topic}<input name="topic" maxlength="200" autocomplete="off" .value=${room.topic}></label>
      <label>${t.slow}<input name="slow" type="number" min="0" max="3600" .value=${String(room.slow_seconds)}></label>
      <button class="main" ?disabled=${state.busy}>${t.save}</button>
    </form>`}
    <p class="hint">${t.commandsHint}</p>
    ${room.kind === "direct" ? nothing : html`<button class="danger" ?disabled=${state.busy} @click=${() => void attempt(leave)}>${t.leave}</button>`}
  </div>`;
}

function devices(open: Dialog & { kind: "devices" }) {
  const t = words();
  if (open.sessions === null) return html`<p class="empty">${t.loading}</p>`;
  const revoke = (id: string) => void attempt(async () => {
    await api.revoke(id);
    if (id === open.current) return signedOut();
    open.sessions = (open.sessions ?? []).filter((session) => session.id !== id);
  });
  return html`<ul>${open.sessions.map((session) => html`<li class="row">
    <div class="grow"><p>${browser(session.label)} ${session.id === open.current ? html`<strong>(${t.thisDevice})</strong>` : nothing}</p>
      <p class="soft">${t.lastSeen(moment(session.seen_at))}</p></div>
    <button ?disabled=${state.busy} @click=${() => revoke(session.id)}>${session.id === open.current ? t.signOut : t.revoke}</button>
  </li>`)}</ul>`;
}

/** A browser and a system out of what a browser calls itself. */
function browser(label: string): string {
  const name = /(Firefox|Edg|OPR|Chrome|Safari)\//.exec(label)?.[1] ?? "";
  const system = /(Android|iPhone|iPad|Windows|Mac OS X|Linux)/.exec(label)?.[1] ?? "";
  return [name, system].filter(Boolean).join(" · ") || label || "?";
}

function search(open: Dialog & { kind: "search" }) {
  const t = words();
  const look = async (before: number) => {
    const id = state.room?.id;
    if (id === undefined) return;
    const { messages, next } = await api.search(id, open.words, before);
    open.found = before === 0 ? messages : [...(open.found ?? []), ...messages];
    open.next = next;
  };
  const ask = form(async (asked) => {
    open.words = text(asked, "q");
    await look(0);
  });
  return html`<form class="row" role="search" @submit=${ask}>
      <label class="grow"><span class="hidden">${t.search}</span><input name="q" type="search" required maxlength="100" autocomplete="off"></label>
      <button class="main" ?disabled=${state.busy}>${t.search}</button></form>
    <p role="status">${open.found === null ? "" : open.found.length === 0 ? t.nothingFound : t.foundCount(open.found.length)}</p>
    <ul>${(open.found ?? []).map((message) => html`<li>
      <p class="soft">${message.author.name} · ${moment(message.created_at)}</p><p class="found">${message.text}</p></li>`)}</ul>
    ${open.next > 0 ? html`<button ?disabled=${state.busy} @click=${() => void attempt(() => look(open.next))}>${t.searchOlder}</button>` : nothing}`;
}
