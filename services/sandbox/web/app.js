// The sandbox page: list, detail and live stream. No library, no build step, no foreign address.
// Everything that came from a message is set as text; only the sandboxed frame shows its HTML.
import { detailOf } from "./detail.js";
import { el, api, clock, icon, tag } from "./dom.js";
import { startFaults, refreshFaults } from "./faults.js";

const ROWS = 200; // rows kept on the page; older ones are one click away
const CHANNELS = [["", "All"], ["email", "E-mail"], ["sms", "SMS"], ["whatsapp", "WhatsApp"], ["webhook", "Webhooks"]];
const $ = (id) => document.getElementById(id);

const state = { rows: [], next: null, channel: "", text: "", chosen: null, fresh: new Set(), info: null, loaded: false };

function query(extra = {}) {
  const wanted = { limit: ROWS, channel: state.channel, q: state.text, ...extra };
  return new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
}

// Only the newest load may write: answers can overtake each other while somebody types.
let generation = 0;
async function load() {
  const mine = ++generation;
  try {
    const page = await api(`/api/messages?${query()}`);
    if (mine !== generation) return;
    state.rows = page.data;
    state.next = page.next_before;
    state.loaded = true;
    notice("");
    draw();
  } catch (error) {
    if (mine === generation) notice(`Messages could not be loaded: ${error.message}`);
  }
}

async function loadOlder() {
  try {
    const page = await api(`/api/messages?${query({ before: state.next })}`);
    state.rows = state.rows.concat(page.data);
    state.next = page.next_before;
    draw();
  } catch (error) {
    notice(`Older messages could not be loaded: ${error.message}`);
  }
}

function wanted(message) {
  if (state.channel && message.channel !== state.channel) return false;
  const text = state.text.toLowerCase();
  return !text || [message.from, message.subject, message.preview, ...message.to].some((part) => part.toLowerCase().includes(text));
}

function arrived(message) {
  if (!wanted(message)) return;
  state.rows.unshift(message);
  state.fresh.add(message.id);
  if (state.rows.length > ROWS) {
    state.rows.length = ROWS;
    state.next = state.rows[ROWS - 1].id;
  }
  drawSoon();
}

function changed(message) {
  const index = state.rows.findIndex((row) => row.id === message.id);
  if (index >= 0) {
    state.rows[index] = message;
    drawSoon();
  }
  if (state.chosen === message.id) open(message.id, { quiet: true });
}

// A burst of a thousand arrivals is one repaint.
let pending = false;
function drawSoon() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; draw(); });
}

function row(message) {
  const what = message.subject || message.preview || "(empty)";
  const mark = verdict(message);
  const button = el("button", { type: "button", "data-id": message.id, "aria-current": message.id === state.chosen ? "true" : "false" },
    icon(message.channel),
    el("span", { class: "hidden" }, `${message.channel} to`),
    el("span", { class: "to" }, message.to.join(", ") || "(nobody)"),
    el("time", { datetime: message.received_at, title: new Date(message.received_at).toLocaleString() }, clock(message.received_at)),
    el("span", { class: "what" }, what),
    mark || el("span"));
  button.addEventListener("click", () => open(message.id));
  return el("li", state.fresh.has(message.id) ? { class: "new" } : {}, button);
}

function verdict(message) {
  if (message.status) {
    const kind = { delivered: "good", read: "good", undelivered: "bad", failed: "bad" }[message.status];
    return tag(message.error_code ? `${message.status} ${message.error_code}` : message.status, kind);
  }
  const result = message.verification?.result;
  return result ? tag(result, { verified: "good", bad: "bad", unchecked: "warn" }[result] || "") : null;
}

function draw() {
  const focused = document.activeElement?.dataset?.id;
  $("list").replaceChildren(...state.rows.map(row));
  state.fresh.clear();
  if (focused) $("list").querySelector(`[data-id="${focused}"]`)?.focus({ preventScroll: true });
  $("more").hidden = !state.next;
  $("clear").disabled = state.rows.length === 0 && !state.text && !state.channel;
  const nothing = state.loaded && state.rows.length === 0;
  $("empty").hidden = !nothing;
  if (nothing) $("empty").replaceChildren(...emptyState());
  if (!state.chosen) $("detail").replaceChildren(el("p", { class: "nothing" }, nothing ? "What arrives is shown here." : "Choose a message to read it."));
}

function emptyState() {
  if (state.text || state.channel) return [el("h2", {}, "Nothing matches"), el("p", { class: "quiet" }, "Change the search or the channel.")];
  const web = state.info?.web_url?.replace(/\/$/, "") || location.origin;
  const account = state.info?.twilio_account_sid || "AC…";
  const magic = state.info?.magic || [];
  return [
    el("h2", {}, "Nothing has arrived yet"),
    el("p", { class: "quiet" }, "Send something to one of these addresses. It is shown at once and goes nowhere else."),
    el("dl", {},
      el("dt", {}, "E-mail (SMTP, any login)"), el("dd", {}, el("code", {}, state.info?.smtp || "")),
      el("dt", {}, "SMS and WhatsApp (Twilio API)"), el("dd", {}, el("code", {}, `${web}/2010-04-01/Accounts/${account}/Messages.json`)),
      el("dt", {}, "Webhook"), el("dd", {}, el("code", {}, `${web}/webhook/any-name`))),
    el("h3", {}, "Recipients that fail on purpose"),
    el("ul", { class: "magic" }, ...magic.map(({ recipient, what }) => el("li", {}, el("code", {}, recipient), el("span", { class: "quiet" }, what)))),
  ];
}

async function open(id, { quiet = false } = {}) {
  state.chosen = id;
  for (const button of $("list").querySelectorAll("button")) button.setAttribute("aria-current", String(button.dataset.id === id));
  if (!quiet) $("main").classList.add("reading");
  try {
    const message = await api(`/api/messages/${id}`);
    if (state.chosen !== id) return;
    detailOf($("detail"), message, close, quiet);
    if (!quiet) $("detail").focus({ preventScroll: true });
  } catch (error) {
    if (state.chosen === id) $("detail").replaceChildren(el("p", { class: "nothing" }, error.message));
  }
}

function close() {
  const id = state.chosen;
  state.chosen = null;
  $("main").classList.remove("reading");
  draw();
  $("list").querySelector(`[data-id="${id}"]`)?.focus();
}

function step(by) {
  const buttons = [...$("list").querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  const next = buttons[at < 0 ? 0 : Math.max(0, Math.min(buttons.length - 1, at + by))];
  next?.focus();
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

function live(name, label) {
  $("live").dataset.state = name;
  $("live").textContent = label;
}

function follow() {
  const stream = new EventSource("/api/events");
  stream.addEventListener("hello", () => { live("live", "live"); load(); refreshFaults(notice); });
  stream.addEventListener("message", (event) => arrived(JSON.parse(event.data)));
  stream.addEventListener("changed", (event) => changed(JSON.parse(event.data)));
  stream.addEventListener("cleared", () => { state.chosen = null; $("main").classList.remove("reading"); load(); });
  stream.addEventListener("reload", load);
  stream.addEventListener("faults", () => refreshFaults(notice));
  stream.addEventListener("error", () => {
    live("offline", "offline");
    notice("The sandbox is not reachable. This page tries again by itself; start the sandbox if it is stopped.");
    // A refused stream (too many viewers) is closed for good: try again with a pause.
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, 3000);
  });
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("faults").open) return;
  const typing = event.target.matches("input, textarea");
  if (event.key === "/" && !typing) { event.preventDefault(); $("search").focus(); }
  else if (event.key === "Escape" && state.chosen) close();
  else if (!typing && !event.target.matches("[role=tab]") && (event.key === "ArrowDown" || event.key === "j")) { event.preventDefault(); step(1); }
  else if (!typing && !event.target.matches("[role=tab]") && (event.key === "ArrowUp" || event.key === "k")) { event.preventDefault(); step(-1); }
}

function filters() {
  const buttons = CHANNELS.map(([channel, label]) => {
    const button = el("button", { type: "button", "aria-pressed": String(channel === state.channel) }, label);
    button.addEventListener("click", () => {
      state.channel = channel;
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      load();
    });
    return button;
  });
  $("channels").replaceChildren(...buttons);
}

async function start() {
  filters();
  let typing;
  $("search").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => { state.text = event.target.value.trim(); load(); }, 150);
  });
  $("clear").addEventListener("click", async () => {
    if (!confirm("Delete all messages of the sandbox?")) return;
    try { await api("/api/messages", { method: "DELETE" }); } catch (error) { notice(`Not cleared: ${error.message}`); }
  });
  $("more").addEventListener("click", loadOlder);
  document.addEventListener("keydown", keys);
  startFaults(notice);
  follow();
  try { state.info = await api("/api/info"); draw(); } catch { /* the stream reports that nobody answers */ }
}

start();
