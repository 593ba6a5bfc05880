/**
 * The demo page: who you are, a button that sends a real notification, and the time until the bell
 * has it. Reads `POST /demo/session` and the bell's events; writes notifications with its key.
 */

import type { ArrivalDetail, CampanaBell, StateDetail } from "../campana-bell.ts";
import type { BellState } from "../labels.ts";
import { byId, copyText, element, setText } from "./dom.ts";
import { EMPTY_LOG, accepted, arrived } from "./measure.ts";
import type { RingLog } from "./measure.ts";
import { mailAddress, openSession, ringMany, ringOnce } from "./platform.ts";
import type { Accepted, Message, Session } from "./platform.ts";
import { LATE_MS, drawResults } from "./results.ts";
import { snippet } from "./snippets.ts";
import type { SnippetName } from "./snippets.ts";

const USERS = ["alice", "bob", "carol", "dave"];
const MANY = 50;
const COPIED_MS = 1_600;
const STATE_TEXT: Readonly<Record<BellState, string>> = {
  idle: "Not connected",
  connecting: "Connecting…",
  connected: "Live",
  reconnecting: "Reconnecting…",
  offline: "Offline",
  error: "Disconnected",
};
const MESSAGES: readonly (readonly [string, string])[] = [
  ["Your table is ready", "Table 12, by the window. See you in a minute."],
  ["Build 4128 is green", "All 312 checks passed."],
  ["New comment from Noor", "“Looks good to me. Ship it when you like.”"],
  ["Parcel out for delivery", "Between 14:10 and 14:40, and somebody should be at home."],
  ["Payment received", "Invoice 2026-0417 is settled. Thank you!"],
  ["Appointment moved", "Dr. Lindqvist sees you on Thursday at 9:30 instead."],
];

const bell = byId<CampanaBell>("bell");
let session: Session | null = null;
let log: RingLog = EMPTY_LOG;
let rung = 0;
let tab: SnippetName = "element";
let drawing = false;
let newestOffset = "";

start();

function start(): void {
  const asked = new URLSearchParams(location.search).get("user") || "alice";
  drawUsers(asked);
  bell.addEventListener("campana-notification", (event) => onArrival(event.detail));
  bell.addEventListener("campana-state", (event) => onState(event.detail));
  byId("ring").addEventListener("click", () => void ring(1));
  byId("ring-50").addEventListener("click", () => void ring(MANY));
  byId("retry").addEventListener("click", () => void signIn(currentUser()));
  byId("copy").addEventListener("click", () => void copy());
  byId("clear").addEventListener("click", () => reset());
  for (const button of tabs()) button.addEventListener("click", () => choose(button));
  byId("tabs").addEventListener("keydown", (event) => tabKeys(event));
  void signIn(asked);
}

// --- who you are ---------------------------------------------------------------------------------

function drawUsers(asked: string): void {
  const users = USERS.includes(asked) ? USERS : [...USERS, asked];
  byId("users").append(...users.map((user) => userChoice(user, user === asked)));
}

function userChoice(user: string, checked: boolean): HTMLElement {
  const input = document.createElement("input");
  Object.assign(input, { type: "radio", name: "user", value: user, checked });
  input.dataset["testid"] = `user-${user}`;
  input.addEventListener("change", () => void signIn(user));
  const label = element("label", "user");
  label.append(input, element("span", "user-name", user));
  return label;
}

function currentUser(): string {
  return document.querySelector<HTMLInputElement>("input[name=user]:checked")?.value ?? "alice";
}

async function signIn(user: string): Promise<void> {
  reset();
  showSession(null);
  setText("who", user);
  setText("mail", mailAddress(user));
  for (const id of ["channel", "offset", "epoch"]) setText(id, "–");
  try {
    const opened = await openSession(user);
    if (user !== currentUser()) return;
    byId("session-error").hidden = true;
    showSession(opened);
    history.replaceState(null, "", user === "alice" ? location.pathname : `?user=${encodeURIComponent(user)}`);
    Object.assign(bell, { user: opened.user, channel: opened.channel, endpoint: opened.ws_url, apiBase: opened.api_base });
    bell.token = opened.token;
    bell.getToken = async () => (await openSession(user)).token;
  } catch (error) {
    if (user !== currentUser()) return;
    // Without a session the bell must not go on as the user before.
    Object.assign(bell, { user, channel: "", endpoint: "", token: "" });
    setText("session-error-text", message(error));
    byId("session-error").hidden = false;
  }
}

function showSession(opened: Session | null): void {
  session = opened;
  for (const id of ["ring", "ring-50"]) byId<HTMLButtonElement>(id).disabled = opened === null;
  byId("code-card").hidden = opened === null;
  if (opened === null) return;
  setText("channel", opened.channel);
  link("sandbox-link", opened.sandbox_url);
  link("metrics-link", opened.metrics_url);
  drawSnippet();
}

function link(id: string, url: string | undefined): void {
  const anchor = byId<HTMLAnchorElement>(id);
  anchor.hidden = url === undefined || !/^https?:/.test(url);
  if (url !== undefined) anchor.href = url;
}

// --- ringing and measuring -----------------------------------------------------------------------

async function ring(count: number): Promise<void> {
  const clickedAt = performance.now();
  const opened = session;
  if (opened === null) return;
  byId("ring-error").hidden = true;
  try {
    const sent = Array.from({ length: count }, nextMessage);
    const [first] = sent;
    const ids = count === 1 && first !== undefined ? [await ringOnce(opened, first)] : await ringMany(opened, sent);
    const at = performance.now();
    if (opened === session) noteAccepted(ids, clickedAt, at);
  } catch (error) {
    setText("ring-error", message(error));
    byId("ring-error").hidden = false;
  }
}

function noteAccepted(ids: readonly Accepted[], clickedAt: number, at: number): void {
  for (const { id, traceId } of ids) log = accepted(log, id, clickedAt, at, traceId);
  draw();
  setTimeout(draw, LATE_MS + 50);
}

function onArrival({ notification, receivedAt }: ArrivalDetail): void {
  const { notification_id: id, offset, trace_id: traceId } = notification;
  log = arrived(log, id, { at: receivedAt, offset, traceId });
  newestOffset = String(offset);
  draw();
}

function nextMessage(): Message {
  const own = byId<HTMLInputElement>("words").value.trim();
  const [title, body] = MESSAGES[rung % MESSAGES.length] ?? ["Ring", ""];
  rung += 1;
  const email = byId<HTMLInputElement>("with-email").checked;
  return own === "" ? { title, body, email } : { title: own, body: `Ring number ${rung}`, email };
}

/** At most once per frame: fifty arrivals come within milliseconds. */
function draw(): void {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawResults(log, performance.now());
    // Everything that makes the browser lay out the page waits for the frame: done per arrival it
    // would lengthen the very latencies of a burst that are measured here.
    if (newestOffset !== "") {
      setText("offset", newestOffset);
      newestOffset = "";
      pulse();
    }
  });
}

function reset(): void {
  log = EMPTY_LOG;
  byId("ring-error").hidden = true;
  draw();
}

function pulse(): void {
  const waves = byId("waves");
  waves.classList.remove("on");
  // Reading the layout makes the browser start the animation again.
  void waves.getBoundingClientRect();
  waves.classList.add("on");
}

// --- the connection ------------------------------------------------------------------------------

function onState({ state, reason, epoch, offset }: StateDetail): void {
  const chip = byId("conn-state");
  chip.dataset["state"] = state;
  setText("conn-text", STATE_TEXT[state]);
  chip.title = reason;
  setText("epoch", epoch || "–");
  setText("offset", offset === 0 && epoch === "" ? "–" : String(offset));
}

// --- code to copy --------------------------------------------------------------------------------

function tabs(): HTMLButtonElement[] {
  return [...byId("tabs").querySelectorAll("button")];
}

function choose(button: HTMLButtonElement): void {
  tab = button.dataset["snippet"] as SnippetName;
  for (const other of tabs()) {
    other.setAttribute("aria-selected", String(other === button));
    other.tabIndex = other === button ? 0 : -1;
  }
  byId("snippet-panel").setAttribute("aria-labelledby", button.id);
  drawSnippet();
}

function tabKeys(event: KeyboardEvent): void {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step === undefined) return;
  const all = tabs();
  const next = all[(all.findIndex((button) => button.tabIndex === 0) + step + all.length) % all.length];
  if (next === undefined) return;
  choose(next);
  next.focus();
}

function drawSnippet(): void {
  if (session !== null) setText("snippet", snippet(tab, session, location.origin));
}

async function copy(): Promise<void> {
  const done = await copyText(byId("snippet").textContent ?? "");
  setText("copy", done ? "Copied" : "Select and copy by hand");
  setTimeout(() => setText("copy", "Copy"), COPIED_MS);
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
