// The agents' page: what waits, who takes it, and the chat about it.

import { get, Refused, send, type Ticket } from "./api.ts";
import { Chat, forgetDrafts } from "./chat.ts";
import { Follower } from "./live.ts";
import { at, drawList, element, sendsByEnter, Speech } from "./view.ts";
import type { Word } from "./words.ts";

interface Session {
  agent: string | null;
  demo: { name: string; shown: string; password: string }[];
}

let chat: Chat | null = null;
let queue: Follower | null = null;
let tickets: Ticket[] = [];
/** All that wait, of which the list has the oldest. */
let waiting = 0;
const speech = new Speech("titleAgents", () => {
  chat?.redraw();
  drawQueue();
});

function drawQueue(): void {
  const text = waiting === 0 ? speech.say("nothing") : waiting === 1 ? speech.say("waitingOne") : speech.say("waitingMany", { count: waiting });
  if (at("waiting").textContent !== text) at("waiting").textContent = text;
  drawList("queue", tickets, chat?.id ?? null, speech, (ticket) => open(ticket.id));
}

async function look(): Promise<void> {
  try {
    ({ tickets, waiting } = await get<{ tickets: Ticket[]; waiting: number }>("/api/queue"));
  } catch (error) {
    // The session has ended: elsewhere, or by its time.
    if (error instanceof Refused && error.status === 401) {
      await begin();
      return;
    }
    throw error;
  }
  drawQueue();
}

function open(id: string): void {
  chat?.stop();
  at("chat").hidden = false;
  at("desk").dataset["open"] = "true";
  chat = new Chat(id, "agent", speech, (ticket) => {
    const mine = ticket.mine === true;
    at("claim").hidden = ticket.status !== "open";
    for (const part of ["say", "close", "return"]) at(part).hidden = !mine;
  });
  drawQueue();
  at("log").focus();
}

function leave(): void {
  const was = chat?.id;
  chat?.stop();
  chat = null;
  at("chat").hidden = true;
  at("desk").dataset["open"] = "false";
  drawQueue();
  if (was !== undefined) document.querySelector<HTMLElement>(`[data-ticket="${was}"]`)?.focus();
}

async function claim(): Promise<void> {
  if (chat === null) return;
  try {
    await send("POST", `/api/tickets/${chat.id}/claim`, {});
    speech.tell(null);
  } catch (error) {
    speech.tell(error instanceof Refused && error.status === 409 ? "taken" : "unreachable");
  }
  await queue?.changed();
  await chat.changed();
  if (!at("say").hidden) at("message").focus();
}

async function giveBack(): Promise<void> {
  const mine = chat;
  if (mine === null) return;
  try {
    await send("POST", `/api/tickets/${mine.id}/return`, {});
    speech.tell("returned");
  } catch (error) {
    speech.tell(error instanceof Refused ? error.word : "unreachable");
    return;
  }
  await queue?.changed();
  if (chat === mine) leave();
}

async function signIn(name: string, password: string): Promise<void> {
  let word: Word | null = null;
  try {
    await send("POST", "/api/session", { name, password });
  } catch (error) {
    word = error instanceof Refused && (error.status === 401 || error.status === 422) ? "wrongPassword" : error instanceof Refused ? error.word : "unreachable";
  }
  if (word !== null) {
    speech.tell(word);
    return;
  }
  speech.tell(null);
  await begin();
}

async function begin(): Promise<void> {
  chat?.stop();
  queue?.stop();
  chat = queue = null;
  let session: Session;
  for (;;) {
    try {
      session = await get<Session>("/api/session");
      break;
    } catch {
      speech.state("away");
      await new Promise((resolve) => setTimeout(resolve, 3_000));
    }
  }
  const inside = session.agent !== null;
  at("login").hidden = inside;
  at("desk").hidden = !inside;
  at("out").hidden = !inside;
  at("chat").hidden = true;
  at("demo").hidden = session.demo.length === 0;
  at("accounts").replaceChildren(...session.demo.map(({ name, shown, password }) => {
    const button = element("button", "quiet", shown);
    button.setAttribute("type", "button");
    button.addEventListener("click", () => void signIn(name, password));
    return button;
  }));
  if (!inside) {
    // The next one at this screen is somebody else.
    forgetDrafts();
    at("queue").replaceChildren();
    speech.state(null);
    return;
  }
  queue = new Follower(null, look, (state) => speech.state(state));
  void queue.run();
}

at("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  void signIn(at<HTMLInputElement>("account").value, at<HTMLInputElement>("password").value).then(() => { at<HTMLInputElement>("password").value = ""; });
});
at("out").addEventListener("click", () => void send("DELETE", "/api/session", {}).catch(() => speech.tell("unreachable")).then(begin));
at("say").addEventListener("submit", (event) => {
  event.preventDefault();
  void chat?.say();
});
sendsByEnter(at("message"), at("say"));
at("claim").addEventListener("click", () => void claim());
at("close").addEventListener("click", () => void chat?.close().then(() => queue?.changed()));
at("return").addEventListener("click", () => void giveBack());
at("back").addEventListener("click", leave);
await begin();
