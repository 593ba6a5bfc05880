/** The page: draws the state whenever it changed. */
import { html, nothing, render } from "lit";
import { begin, readSoon, route } from "./actions.ts";
import { dialog } from "./dialogs.ts";
import { door } from "./door.ts";
import { list } from "./list.ts";
import { roomView } from "./room.ts";
import { onDraw } from "./page.ts";
import { explain, state, words } from "./state.ts";

/** Nearer to the end than this, the log follows what comes. */
const NEAR_END_PX = 60;

const app = document.getElementById("app") as HTMLElement;
const announcer = document.getElementById("announcer") as HTMLElement;
let planned = false;
let shownRoom: string | null = null;
let shownFirst = 0;
let shownCount = 0;

/** Many changes of one moment are drawn once. */
function draw(): void {
  if (planned) return;
  planned = true;
  queueMicrotask(() => {
    planned = false;
    paint();
  });
}

function paint(): void {
  const log = document.getElementById("log");
  const before = log === null ? null : { height: log.scrollHeight, top: log.scrollTop, near: log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX };
  document.documentElement.lang = state.language;
  document.title = title();
  render(view(), app);
  showDialog();
  place(before);
}

function title(): string {
  const unread = (state.rooms ?? []).reduce((sum, room) => sum + room.unread, 0);
  const name = state.rooms?.find(({ id }) => id === state.room?.id)?.name;
  return `${unread > 0 ? `(${unread}) ` : ""}${name === undefined ? "" : `${name} · `}${words().title}`;
}

function view() {
  if (state.start === null) return html`<main class="door"><p role="status">${state.error ?? words().loading}</p></main>`;
  if (state.start.person === null) return door();
  return html`<main class="frame ${state.room === null ? "" : "open"}"><h1 class="hidden">${words().title}</h1>${list()}${roomView()}</main>
    <dialog id="dialog" aria-labelledby="dialog-title" @close=${closed}>${state.dialog === null ? nothing : content()}</dialog>`;
}

function content() {
  const open = state.dialog;
  if (open === null) return nothing;
  const { title: heading, body } = dialog(open);
  return html`<div class="head"><h2 id="dialog-title">${heading}</h2>
    <button @click=${() => (document.getElementById("dialog") as HTMLDialogElement).close()}>${words().close}</button></div>
    <p class="error" role="alert">${state.error}</p>${body}`;
}

function closed(): void {
  state.dialog = null;
  state.error = null;
  draw();
}

/** Opens and closes the one dialog; the browser keeps the focus inside and gives it back. */
function showDialog(): void {
  const element = document.getElementById("dialog") as HTMLDialogElement | null;
  if (element === null) return;
  if (state.dialog !== null && !element.open) element.showModal();
  if (state.dialog === null && element.open) element.close();
}

/** Keeps the log where its reader is: at the end, or at the message that was looked at. */
function place(before: { height: number; top: number; near: boolean } | null): void {
  const log = document.getElementById("log");
  const open = state.room;
  const messages = open?.follower.timeline.messages ?? [];
  const first = messages[0]?.seq ?? 0;
  const count = messages.length + (open?.pending.length ?? 0);
  if (log !== null && open !== null) {
    if (open.id !== shownRoom || shownCount === 0 || before === null || (before.near && first >= shownFirst)) {
      log.scrollTop = log.scrollHeight;
      if (open.fresh) {
        open.fresh = false;
        draw();
      }
    } else if (first < shownFirst) {
      log.scrollTop = before.top + log.scrollHeight - before.height;
    }
  }
  if (open !== null && open.id !== shownRoom) focusComposer();
  [shownRoom, shownFirst, shownCount] = [open?.id ?? null, first, count];
}

/** On a phone the keyboard would cover half of what one came to read. */
function focusComposer(): void {
  if (matchMedia("(pointer: fine)").matches) document.getElementById("text")?.focus();
}

let said: ReturnType<typeof setTimeout> | undefined;
const toSay: string[] = [];
/** Tells a screen reader what is new, several at once if they come at once. */
function announce(text: string): void {
  toSay.push(text);
  clearTimeout(said);
  said = setTimeout(() => {
    announcer.textContent = toSay.splice(0).slice(-3).join(". ");
  }, 300);
}

onDraw(draw, announce);
// A handler that only changes the state says so with `data-draw`; the event comes here after it.
for (const kind of ["click", "change"]) {
  app.addEventListener(kind, (event) => {
    if ((event.target as Element).closest("[data-draw]") !== null) draw();
  });
}
app.addEventListener("keydown", draw);
// Pictures make the log longer when they arrive.
app.addEventListener("load", (event) => {
  const log = document.getElementById("log");
  if (log !== null && (event.target as Element).tagName === "IMG" && log.scrollHeight - log.scrollTop - log.clientHeight < 400) log.scrollTop = log.scrollHeight;
}, true);
addEventListener("hashchange", () => void route());
document.addEventListener("visibilitychange", () => { if (state.room !== null) readSoon(state.room); });

draw();
begin().catch((error) => {
  state.error = explain(error);
  draw();
});
