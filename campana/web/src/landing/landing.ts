// The landing page: asks for the overview every two seconds while somebody looks, and rings the bell.
// Reads `/overview.json`; remembers the chosen language in this browser.

import { at, draw, text, translate } from "./draw.ts";
import { type Stage, milliseconds, stages, stamps } from "./figures.ts";
import { type Overview, ask } from "./overview.ts";
import { ARRIVES_WITHIN_S, Arrivals, type Session, Trouble, connect, mailed, openSession, ring } from "./ring.ts";
import { type Language, type Word, choose, say } from "./words.ts";

const POLL_MS = 2_000;
const COPIED_MS = 1_600;
const LIT_MS = 900;
const STEP_MS = 130;
const REMEMBERED = "campana-language";
/** In the order in which a notification comes to them. */
const WAY = ["request", "gateway", "stream", "dispatcher", "edge", "workers", "browser", "outside"];
const MESSAGES: Record<Language, readonly (readonly [string, string])[]> = {
  en: [["Your table is ready", "Table 12, by the window."], ["Build 4128 is green", "All 312 checks passed."], ["Parcel out for delivery", "Between 14:10 and 14:40."]],
  es: [["Tu mesa está lista", "La 12, junto a la ventana."], ["La compilación 4128 pasó", "Las 312 pruebas están en verde."], ["Tu paquete está en camino", "Entre las 14:10 y las 14:40."]],
};
const STAGE_WORDS: Record<Stage | "mail", Word> = { stored: "stageStored", dispatched: "stageDispatched", edge: "stageEdge", socket: "stageSocket", mail: "stageMail" };

interface Row {
  readonly name: Stage | "mail";
  /** Null: under way; undefined: it will not come. */
  readonly ms: number | null | undefined;
}

let language = remembered() ?? choose(navigator.languages);
let session: Session | null = null;
let overview: Overview | null = null;
let state: "starting" | "live" | "away" = "starting";
let timer = 0;
let asking = false;
let rung = 0;
let result: { took: number; rows: Row[]; comparable: boolean } | null = null;
let trouble: Trouble | null = null;
const arrivals = new Arrivals();

start();

function start(): void {
  for (const element of [at("conn"), at("language").parentElement, at("actions"), at("ring-hint"), at("result"), at("copy")]) element?.removeAttribute("hidden");
  const chosen = at<HTMLSelectElement>("language");
  chosen.value = language;
  chosen.addEventListener("change", () => speak(chosen.value === "es" ? "es" : "en"));
  at("ring").addEventListener("click", () => void ringNow());
  at("copy").addEventListener("click", () => void copy());
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : void poll()));
  show();
  void signIn().catch(() => {});
  void poll();
}

function remembered(): Language | null {
  try {
    const kept = localStorage.getItem(REMEMBERED);
    return kept === "en" || kept === "es" ? kept : null;
  } catch {
    return null;
  }
}

function speak(wanted: Language): void {
  language = wanted;
  try {
    localStorage.setItem(REMEMBERED, wanted);
  } catch {
    // A browser that keeps nothing still speaks it now.
  }
  show();
  (at("bell") as HTMLElement & { requestUpdate?: () => void }).requestUpdate?.();
}

// --- what the platform says ----------------------------------------------------------------------

async function poll(): Promise<void> {
  if (asking) return;
  clearTimeout(timer);
  asking = true;
  const found = await ask();
  asking = false;
  overview = found ?? overview;
  state = found === null ? "away" : "live";
  if (found !== null && session === null && trouble?.kind !== "off") void signIn().catch(() => {});
  show();
  if (!document.hidden) timer = window.setTimeout(() => void poll(), POLL_MS);
}

function show(): void {
  translate(language);
  if (overview !== null) draw(overview, language);
  const conn = at("conn");
  conn.dataset["state"] = state;
  text(conn, say(language, state));
  at("away").hidden = state !== "away";
  document.body.dataset["platform"] = state;
  showRing();
  if (session !== null) text(at("curl"), curl(session));
}

async function signIn(): Promise<Session> {
  session = await openSession().catch((error: unknown) => {
    // Without the platform the page says so already; a demo that is off is told where the button is.
    if (error instanceof Trouble && error.kind === "off") trouble = error;
    show();
    throw error;
  });
  connect(session);
  show();
  return session;
}

// --- one ring ------------------------------------------------------------------------------------

async function ringNow(): Promise<void> {
  const button = at<HTMLButtonElement>("ring");
  if (button.getAttribute("aria-disabled") === "true") return;
  trouble = null;
  button.setAttribute("aria-disabled", "true");
  showRing();
  try {
    const known = session ?? (await signIn());
    const words = MESSAGES[language][rung % MESSAGES[language].length] ?? ["", ""];
    rung += 1;
    const sent = await ring(known, words[0], words[1]);
    const arrived = await arrivals.of(sent.id);
    const timed = stages(sent.stamps, stamps(arrived.tags["campana-stamps"]));
    const rows: Row[] = timed.map(({ stage, ms }) => ({ name: stage, ms }));
    result = { took: arrived.receivedAt - sent.clickedAt, rows: [...rows, { name: "mail", ms: null }], comparable: timed.length > 0 };
    light();
    void followMail(known, sent.id, result);
    void poll();
  } catch (error) {
    trouble = error instanceof Trouble ? error : new Trouble("refused", String(error));
  } finally {
    button.removeAttribute("aria-disabled");
    showRing();
  }
  if (result !== null && trouble === null) text(at("said"), say(language, "measured", { time: milliseconds(language, result.took) }));
}

async function followMail(known: Session, id: string, mine: typeof result): Promise<void> {
  const ms = (await mailed(known, id)) ?? undefined;
  if (mine === null || result !== mine) return;
  result = { ...mine, rows: mine.rows.map((row) => (row.name === "mail" ? { ...row, ms } : row)) };
  showRing();
  void poll();
}

function showRing(): void {
  const button = at("ring");
  const busy = button.getAttribute("aria-disabled") === "true";
  text(button, say(language, busy ? "ringing" : result === null ? "ring" : "ringAgain"));
  const words: Record<Trouble["kind"], string> = {
    off: say(language, "noSession"),
    away: say(language, "unreachable"),
    silent: say(language, "noBell", { seconds: ARRIVES_WITHIN_S }),
    refused: say(language, "refused", { why: trouble?.message ?? "" }),
  };
  const error = at("ring-error");
  error.hidden = trouble === null;
  text(error, trouble === null ? "" : words[trouble.kind]);
  at("nothing").hidden = result !== null;
  at("measured").hidden = result === null;
  at("after").hidden = result?.comparable !== true;
  if (result === null) return;
  at("elsewhere").hidden = result.comparable;
  text(at("took"), milliseconds(language, result.took));
  // The e-mail takes its own time: beside the bell's stages its bar is full.
  const top = Math.max(...result.rows.map(({ name, ms }) => (name === "mail" ? 0 : (ms ?? 0))), 0.1);
  at("stages").replaceChildren(...result.rows.map((row) => stageRow(row, top)));
}

function stageRow({ name, ms }: Row, top: number): HTMLElement {
  const item = document.createElement("li");
  item.dataset["stage"] = name;
  const bar = document.createElement("i");
  bar.style.setProperty("--share", String(Math.min(1, (ms ?? 0) / top)));
  const [label, time] = [document.createElement("span"), document.createElement("b")];
  label.textContent = say(language, STAGE_WORDS[name]);
  time.textContent = ms === null ? say(language, "mailWaiting") : ms === undefined ? say(language, "mailFailed") : milliseconds(language, ms);
  item.append(label, bar, time);
  return item;
}

/** The stations light up one after the other; slower than it was, so that an eye can follow. */
function light(): void {
  WAY.forEach((name, at) => {
    for (const station of document.querySelectorAll<SVGElement>(`[data-st="${name}"]`)) {
      setTimeout(() => station.classList.add("lit"), at * STEP_MS);
      setTimeout(() => station.classList.remove("lit"), at * STEP_MS + LIT_MS);
    }
  });
}

// --- to copy -------------------------------------------------------------------------------------

function curl({ api_key: key }: Session): string {
  const body = JSON.stringify({ to: "alice", content: { title: "Hello", body: "It rings." }, channels: ["in_app", "email"] });
  return `curl -s ${location.origin}/v1/notifications \\\n  -H 'Authorization: Bearer ${key}' \\\n  -H 'Content-Type: application/json' \\\n  -d '${body}'`;
}

async function copy(): Promise<void> {
  const done = await navigator.clipboard?.writeText(at("curl").textContent ?? "").then(() => true, () => false);
  const word = done === true ? "copied" : "copyByHand";
  text(at("copy"), say(language, word));
  text(at("copied"), say(language, word));
  setTimeout(() => {
    text(at("copy"), say(language, "copy"));
    text(at("copied"), "");
  }, COPIED_MS);
}
