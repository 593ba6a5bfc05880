/** One room: its messages and what one writes. */
import { html, nothing, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { older, typing } from "./actions.ts";
import { ICONS } from "./icons.ts";
import { marked } from "./parts.ts";
import { attempt } from "./page.ts";
import { remove, say, send } from "./sending.ts";
import { type OpenRoom, type Pending, current, day, size, state, time, words } from "./state.ts";
import type { FileCard, Message } from "./timeline.ts";

/** As the service has it. */
const FILE_BYTES_MAX = 10 * 1024 * 1024;
const PICTURES = ["image/png", "image/jpeg", "image/gif", "image/webp"];

export function roomView() {
  const t = words();
  const open = state.room;
  const room = current();
  if (open === null || room === undefined) return html`<div class="room"><p class="empty">${t.chooseRoom}</p></div>`;
  return html`<section class="room" aria-labelledby="room-name">
    <div class="bar">
      <button class="plain back" aria-label=${t.back} @click=${() => { location.hash = ""; }}>${ICONS.back}</button>
      <div class="title"><h2 id="room-name">${room.name}</h2>
        <p class="soft">${t.ofPeople(room.people)}${open.hereCount > 0 ? ` · ${t.here(open.hereCount)}` : ""}${room.topic === "" ? "" : ` · ${room.topic}`}</p></div>
      <button class="plain" aria-label=${t.search} @click=${() => { state.dialog = { kind: "search", words: "", found: null, next: 0 }; }} data-draw>${ICONS.search}</button>
      <button class="plain" aria-label=${t.people} @click=${() => { state.dialog = { kind: "people" }; }} data-draw>${ICONS.people}</button>
      <button class="plain" aria-label=${t.settings} @click=${() => { state.dialog = { kind: "settings" }; }} data-draw>${ICONS.settings}</button>
    </div>
    ${state.connection === "connected" ? nothing : html`<p class="offline" role="status">${t.state[state.connection]}</p>`}
    <div class="log" id="log" role="log" aria-live="off" aria-label=${t.messages(room.name)} tabindex="0" @scroll=${scrolled}>${messages(open)}</div>
    ${below(open)}
    ${composer(open, room.name, room.muted_until)}
  </section>`;
}

function scrolled(event: Event): void {
  const log = event.currentTarget as HTMLElement;
  if (state.room !== null && log.scrollHeight - log.scrollTop - log.clientHeight < 40) state.room.fresh = false;
}

function messages(open: OpenRoom) {
  const t = words();
  if (!open.loaded) return html`<p class="empty">${t.loading}</p>`;
  const { timeline } = open.follower;
  const handles = new Set(open.members.map(({ handle }) => handle));
  let before = "";
  return html`
    ${timeline.more
      ? html`<p class="day"><button ?disabled=${state.busy} @click=${() => void attempt(older)}>${t.older}</button></p>`
      : html`<p class="day">${t.beginning}</p>`}
    <ol>${repeat(timeline.messages, ({ id }) => id, (message) => {
      const date = day(message.created_at);
      const first = date !== before;
      before = date;
      return html`${first ? html`<li class="day">${date}</li>` : nothing}${one(open, message, handles)}`;
    })}
    ${repeat(open.pending, ({ client }) => client, (pending) => waiting(open, pending))}</ol>
    ${open.fresh ? html`<p class="fresh"><button class="main" @click=${toEnd}>${t.newMessages}</button></p>` : nothing}`;
}

function toEnd(): void {
  const log = document.getElementById("log");
  if (log !== null) log.scrollTop = log.scrollHeight;
}

function one(open: OpenRoom, message: Message, handles: Set<string>) {
  const t = words();
  const own = message.author.id === state.start?.person?.id;
  const mayRemove = own || (current()?.role ?? "member") !== "member";
  const shown = open.actionsOf === message.id;
  const toggle = () => { open.actionsOf = shown ? null : message.id; };
  const at = time(message.created_at);
  return html`<li class="message ${own ? "own" : ""}" data-seq=${message.seq}>
    <header><strong>${message.author.name}</strong><time datetime=${new Date(message.created_at / 1_000).toISOString()}>${at}</time>
      ${message.edited_at > 0 && message.deleted_at === 0 ? html`<span>${t.edited}</span>` : nothing}
      ${mayRemove && message.deleted_at === 0 ? html`<button class="plain" aria-label=${t.actions(message.author.name, at)} aria-expanded=${shown} @click=${toggle} data-draw>${ICONS.more}</button>` : nothing}
    </header>
    ${message.deleted_at > 0 ? html`<p class="gone">${t.deleted}</p>` : html`
      ${message.text === "" ? nothing : html`<p class="text">${marked(message.text, handles)}</p>`}
      ${message.file === null ? nothing : attachment(message.file)}
      ${message.job === null ? nothing : job(message)}`}
    ${shown ? html`<div class="tools">
      ${own && message.job === null ? html`<button @click=${() => edit(open, message)} data-draw>${t.edit}</button>` : nothing}
      <button class="danger" @click=${() => { if (confirm(t.removeSure)) void attempt(() => remove(message)); }}>${t.remove}</button>
    </div>` : nothing}
  </li>`;
}

function attachment(file: FileCard): TemplateResult {
  const address = `/api/files/${file.id}`;
  if (PICTURES.includes(file.media_type)) return html`<a href=${address} target="_blank" rel="noopener"><img src=${address} alt=${file.name} loading="lazy"></a>`;
  return html`<p class="file"><a class="button" href=${address} download=${file.name}>${words().download(file.name, size(file.size))}</a></p>`;
}

function job({ job: found }: Message) {
  const t = words();
  if (found === null) return nothing;
  const busy = found.state === "waiting" || found.state === "running";
  return html`<p class="soft">${t.job[found.state]}${found.state === "failed" ? `: ${t.errors[found.detail] ?? found.detail}` : ""}</p>
    ${busy ? html`<progress max="100" value=${found.progress} aria-label=${t.jobProgress}></progress>` : nothing}
    ${found.file === null ? nothing : attachment(found.file)}`;
}

function waiting(open: OpenRoom, pending: Pending) {
  const t = words();
  const discard = () => { open.pending = open.pending.filter((known) => known !== pending); };
  return html`<li class="message own waiting">
    <p class="text">${pending.text}${pending.file === null ? "" : ` [${pending.file.name}]`}</p>
    ${pending.failed === null ? html`<p class="soft">${t.sending}</p>` : html`<p class="error">${pending.failed}</p>
      <div class="tools"><button @click=${() => void send(open, pending)}>${t.retry}</button><button @click=${discard} data-draw>${t.discard}</button></div>`}
  </li>`;
}

/** Who types, and who has read the last message of one's own. */
function below(open: OpenRoom) {
  const t = words();
  const names = [...open.typing.values()].filter(({ until }) => until > Date.now()).map(({ name }) => name);
  const who = names.length === 0 ? "" : names.length === 1 ? t.typingOne(names[0] ?? "") : t.typingMany;
  const me = state.start?.person?.id;
  const last = open.follower.timeline.messages.at(-1);
  const readers = open.receipts && last !== undefined && last.author.id === me
    ? open.members.filter(({ id, read_seq }) => id !== me && read_seq >= last.seq).map(({ name }) => name) : [];
  return html`<div class="below"><span class="typing">${who}</span><span class="readers">${readers.length === 0 ? "" : t.readBy(readers.slice(0, 3).join(", ") + (readers.length > 3 ? " …" : ""))}</span></div>`;
}

function composer(open: OpenRoom, name: string, mutedUntil: number) {
  const t = words();
  if (mutedUntil > Date.now() * 1_000) return html`<div class="composer"><p role="status">${t.youMuted(time(mutedUntil))}</p></div>`;
  return html`<form class="composer" @submit=${submit}>
    ${state.error !== null && state.dialog === null ? html`<p class="error" role="alert">${state.error}</p>` : nothing}
    ${open.editing === null ? nothing : html`<p class="row hint"><span class="grow">${t.editing}</span><button type="button" @click=${() => stopEditing(open)} data-draw>${t.cancel}</button></p>`}
    ${open.file === null ? nothing : html`<p class="row"><span class="grow">${open.file.name}, ${size(open.file.size)}</span><button type="button" @click=${() => { open.file = null; }} data-draw>${t.discard}</button></p>`}
    <div class="line">
      <input id="file" class="hidden" type="file" tabindex="-1" aria-hidden="true" @change=${chosen} data-draw>
      ${open.editing === null ? html`<button type="button" class="plain" aria-label=${t.attach} @click=${() => document.getElementById("file")?.click()}>${ICONS.attach}</button>` : nothing}
      <textarea id="text" rows="1" maxlength="4000" aria-label=${t.write(name)} placeholder=${t.write(name)} aria-describedby="commands" @keydown=${keys} @input=${grow}></textarea>
      <button class="main" aria-label=${open.editing === null ? t.send : t.save}>${ICONS.send}</button>
    </div>
    <p class="hidden" id="commands">${t.commandsHint}</p>
  </form>`;
}

const field = () => document.getElementById("text") as HTMLTextAreaElement | null;

function grow(event: Event): void {
  const area = event.currentTarget as HTMLTextAreaElement;
  area.rows = Math.min(6, Math.max(1, area.value.split("\n").length));
  if (area.value !== "") typing();
}

function keys(event: KeyboardEvent): void {
  const open = state.room;
  if (open === null) return;
  const area = event.currentTarget as HTMLTextAreaElement;
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    area.form?.requestSubmit();
  } else if (event.key === "Escape" && open.editing !== null) {
    stopEditing(open);
  } else if (event.key === "ArrowUp" && area.value === "" && open.editing === null) {
    const me = state.start?.person?.id;
    const last = open.follower.timeline.messages.findLast(({ author, deleted_at, job: command }) => author.id === me && deleted_at === 0 && command === null);
    if (last !== undefined) {
      event.preventDefault();
      edit(open, last);
    }
  }
}

function edit(open: OpenRoom, message: Message): void {
  open.editing = message;
  open.actionsOf = null;
  const area = field();
  if (area !== null) {
    area.value = message.text;
    area.focus();
  }
}

function stopEditing(open: OpenRoom): void {
  open.editing = null;
  const area = field();
  if (area !== null) area.value = "";
}

function chosen(event: Event): void {
  const input = event.currentTarget as HTMLInputElement;
  const file = input.files?.[0] ?? null;
  const fits = file === null || file.size <= FILE_BYTES_MAX;
  state.error = fits ? null : words().errors["too_large"] ?? null;
  if (state.room !== null) state.room.file = fits ? file : null;
  input.value = "";
  field()?.focus();
}

function submit(event: SubmitEvent): void {
  event.preventDefault();
  const area = field();
  const text = area?.value.trimEnd() ?? "";
  if (area === null || (text === "" && state.room?.file == null)) return;
  state.error = null;
  if (state.room?.editing != null) {
    void attempt(async () => { await say(text); area.value = ""; });
    return;
  }
  area.value = "";
  area.rows = 1;
  void say(text);
  area.focus();
}
