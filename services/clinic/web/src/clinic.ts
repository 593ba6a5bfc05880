/** The page: what stands where, which view the address names, and where the focus goes. */

import "campana-bell";
import type { CampanaBell } from "campana-bell";
import { html, nothing, render } from "lit";
import { change, drawWith, speak, state, words } from "./state.ts";
import { account } from "./views/account.ts";
import { booking } from "./views/book.ts";
import { dialog } from "./views/dialog.ts";
import { lists } from "./views/lists.ts";
import { signIn } from "./views/sign-in.ts";
import { trouble, type Html } from "./views/parts.ts";
import { openAccount, refresh, start, token } from "./work.ts";

function header(): Html {
  const all = words();
  const { me, setup, language, view } = state;
  const other = language === "es" ? "en" : "es";
  return html`<a class="skip" href="#main" @click=${skip}>${all.skip}</a>
    <header>
      <a class="brand" href="#/" aria-label="AppDental"><img src="/assets/clinic.svg" alt="" width="32" height="32"><span>AppDental</span></a>
      <nav aria-label="AppDental">
        ${me === null ? nothing : html`<a href="#/account" class="tool initials" data-initials=${initials(me.name)} title=${all.account} aria-current=${view.name === "account" ? "page" : nothing}><span class="sr">${all.account}: </span><span class="wide">${me.name}</span></a>`}
        <button type="button" class="tool" lang=${other} aria-label="${all.other}: ${all.otherName}" @click=${() => speak(other)}>${all.other}</button>
      </nav>
      ${me === null || setup === null ? nothing : html`<campana-bell lang=${language} user=${me.id} endpoint=${setup.edge_url} api-base="" .getToken=${token}></campana-bell>`}
    </header>`;
}

function initials(name: string): string {
  const parts = name.replace(/^(Dra?\.)\s+/, "").split(/\s+/);
  return parts.map((part) => part[0] ?? "").join("").slice(0, 2).toUpperCase();
}

function main(): Html {
  const all = words();
  const { me, ready, view, busy } = state;
  if (!ready) {
    return busy === "" ? html`<div class="narrow">${trouble("start")}<button type="button" class="secondary" @click=${start}>${all.retry}</button></div>`
      : html`<p class="quiet" role="status">${all.loading}</p>`;
  }
  if (me === null) return signIn();
  if (view.name === "account") return account();
  return html`<div class=${me.role === "patient" ? "columns" : "narrow wide"}>
    ${me.role === "patient" ? booking() : nothing}
    <div class="lists"><p class="live" data-state=${state.live}>${all.live[state.live]}</p>${lists()}</div></div>`;
}

function draw(): void {
  document.documentElement.lang = state.language;
  document.title = state.me === null ? "AppDental" : `${words().home[state.me.role]} · AppDental`;
  const app = document.getElementById("app");
  if (app === null) return;
  const focused = document.activeElement;
  const card = cardOf(focused);
  render(html`${header()}<main id="main" tabindex="-1">${main()}</main>${dialog()}
    <div class="sr" role="status" id="said">${state.said}</div>`, app);
  document.querySelector<CampanaBell>("campana-bell")?.requestUpdate();
  showDialog();
  // What was pressed may be gone, because the appointment moved on: the focus stays with the appointment.
  if (focused !== null && focused !== document.body && !focused.isConnected && state.asked === null) focusCard(card);
}

function cardOf(element: Element | null): string {
  return element?.closest("li.appointment")?.id ?? "";
}

function focusCard(card: string): void {
  const place = (card === "" ? null : document.getElementById(card)) ?? document.getElementById("main");
  place?.focus({ preventScroll: true });
}

let opener: Element | null = null;
let openerCard = "";

/** The dialog follows the state, and the focus goes back to where it was. */
function showDialog(): void {
  const shown = document.getElementById("dialog");
  if (!(shown instanceof HTMLDialogElement)) return;
  if (state.asked !== null && !shown.open) {
    opener = document.activeElement;
    openerCard = cardOf(opener);
    shown.showModal();
    document.getElementById("dialog-title")?.focus();
  } else if (state.asked === null && shown.open) {
    shown.close();
    if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    else focusCard(openerCard);
  }
}

function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

/** `#/`, `#/account`, `#/a/<appointment>`: what a notification links to. */
async function route(): Promise<void> {
  const [, name, id] = location.hash.split("/");
  const before = state.view.name;
  await change({ view: { name: name === "account" ? "account" : "home", appointment: name === "a" ? (id ?? "") : "" } });
  if (state.view.name === "account" && state.me !== null) await openAccount();
  if (state.view.appointment !== "") await show(state.view.appointment);
  else if (before !== state.view.name) document.getElementById("main")?.focus();
}

async function show(id: string): Promise<void> {
  await refresh();
  await change({});
  const card = document.getElementById(`appointment-${id}`);
  card?.focus({ preventScroll: true });
  card?.scrollIntoView({ block: "center" });
}

drawWith(draw);
addEventListener("hashchange", () => void route());
// A phone that was asleep may have missed everything.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && state.me !== null) void refresh();
});
draw();
void start().then(route);
