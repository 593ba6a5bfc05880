/** The platform's bell, as any page embeds it. */
import "campana-bell";
import type { CampanaBell } from "campana-bell";
import { html, nothing } from "lit";
import { api } from "./api.ts";
import { state } from "./state.ts";

const getToken = async () => (await api.connection()).token;

/** What was said to somebody who was away. Nothing if the chat has no gateway. */
export function bell() {
  const { start } = state;
  if (start?.gateway === undefined || start.person === null) return nothing;
  return html`<campana-bell user=${start.person.id} endpoint=${start.edge} api-base=${start.gateway} tabs="all"
    .getToken=${getToken} @campana-select=${follow}></campana-bell>`;
}

/** A link into this page changes the room and loads nothing anew. */
function follow(event: CustomEvent<{ notification: { url: string | null } }>): void {
  const { url } = event.detail.notification;
  if (url === null || !URL.canParse(url)) return;
  event.preventDefault();
  location.hash = new URL(url).hash;
}

/** The words of a living bell follow the page's language when they are asked to. */
export function languageChanged(): void {
  document.querySelector<CampanaBell>("campana-bell")?.requestUpdate();
}
