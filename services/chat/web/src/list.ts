/** The list of rooms. */
import { html, nothing } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { go } from "./actions.ts";
import { api } from "./api.ts";
import { bell } from "./bell.ts";
import { languageSwitch } from "./parts.ts";
import { attempt, signedOut } from "./page.ts";
import { state, words } from "./state.ts";

function directory(): void {
  state.dialog = { kind: "directory", rooms: null };
  void attempt(async () => {
    const { rooms } = await api.directory();
    if (state.dialog?.kind === "directory") state.dialog.rooms = rooms;
  });
}

function devices(): void {
  state.dialog = { kind: "devices", sessions: null, current: "" };
  void attempt(async () => {
    const { sessions, current } = await api.sessions();
    state.dialog = { kind: "devices", sessions, current };
  });
}

export function list() {
  const t = words();
  const { rooms, room } = state;
  return html`<nav class="side" aria-label=${t.rooms}>
    <div class="bar"><div class="title"><h2>${t.rooms}</h2><p class="soft">${state.start?.person?.name} · @${state.start?.person?.handle}</p></div>${bell()}${languageSwitch()}</div>
    ${state.error !== null && state.dialog === null ? html`<p class="error offline" role="alert">${state.error}</p>` : nothing}
    <div class="list">
      ${rooms === null ? html`<p class="empty">${t.loading}</p>` : nothing}
      ${rooms?.length === 0 ? html`<p class="empty">${t.noRooms}</p>` : nothing}
      <ul>${repeat(rooms ?? [], ({ id }) => id, (one) => html`<li>
        <button aria-current=${one.id === room?.id ? "page" : nothing} @click=${() => go(one.id)}>
          <span class="grow">${one.kind === "direct" ? `@${one.with ?? ""} · ` : ""}${one.name}</span>
          ${one.unread > 0 ? html`<span class="badge"><span aria-hidden="true">${one.unread >= 100 ? "99+" : one.unread}</span><span class="hidden">${t.unread(one.unread)}</span></span>` : nothing}
        </button></li>`)}</ul>
    </div>
    <div class="foot">
      <button class="main" @click=${directory} data-draw>${t.findRoom}</button>
      <button @click=${() => { state.dialog = { kind: "room" }; }} data-draw>${t.newRoom}</button>
      <button @click=${() => { state.dialog = { kind: "direct" }; }} data-draw>${t.newDirect}</button>
      <button @click=${devices} data-draw>${t.devices}</button>
      <button @click=${() => void attempt(async () => { await api.signOut(); signedOut(); })}>${t.signOut}</button>
    </div>
  </nav>`;
}
