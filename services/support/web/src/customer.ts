// The customer's page: a question, then a chat about it.

import { get, key, Refused, send, type Ticket, useLink } from "./api.ts";
import { Chat } from "./chat.ts";
import { at, drawList, sendsByEnter, Speech } from "./view.ts";
import type { Word } from "./words.ts";

const KEPT = "campana-support-letter";
let chat: Chat | null = null;
let tickets: Ticket[] = [];
/** Of the question in the form: a secret that makes the ticket the customer's own, kept until it is there. */
let asking: string | null = null;
const speech = new Speech("titleCustomer", () => {
  chat?.redraw();
  drawEarlier();
});

function drawEarlier(): void {
  at("earlier-box").hidden = tickets.length === 0;
  drawList("earlier", tickets, null, speech, (ticket) => open(ticket.id));
}

function open(id: string): void {
  chat?.stop();
  at("start").hidden = true;
  at("chat").hidden = false;
  chat = new Chat(id, "customer", speech, (ticket) => {
    const closed = ticket.status === "closed";
    at("say").hidden = closed;
    at("close").hidden = closed;
    at("another").hidden = !closed;
  });
  at("message").focus();
}

async function begin(): Promise<void> {
  useLink("");
  chat?.stop();
  chat = null;
  speech.state(null);
  speech.tell(null);
  at("chat").hidden = true;
  for (;;) {
    try {
      tickets = (await get<{ tickets: Ticket[] }>("/api/tickets")).tickets;
      break;
    } catch {
      speech.state("away");
      await new Promise((resolve) => setTimeout(resolve, 3_000));
    }
  }
  speech.state(null);
  at("start").hidden = false;
  drawEarlier();
}

function complain(field: string, word: Word | null): void {
  at(field).setAttribute("aria-invalid", String(word !== null));
  const error = at(`${field}-error`);
  error.hidden = word === null;
  error.textContent = word === null ? "" : speech.say(word);
}

async function ask(): Promise<void> {
  const value = (id: string) => at<HTMLInputElement>(id).value.trim();
  const email = value("email");
  const rules: [string, Word | null][] = [
    ["name", value("name") === "" ? "missing" : null],
    ["email", email !== "" && !/^[^\s@]+@[^\s@]+\.[^\s@.]+$/.test(email) ? "emailWrong" : null],
    ["subject", value("subject") === "" ? "missing" : null],
    ["text", value("text") === "" ? "missing" : null],
  ];
  for (const [field, word] of rules) complain(field, word);
  const first = rules.find(([, word]) => word !== null);
  if (first !== undefined) {
    at(first[0]).focus();
    return;
  }
  asking ??= key();
  speech.tell("sending");
  try {
    const body = { key: asking, name: value("name"), email, locale: speech.language, subject: value("subject"), text: value("text") };
    const { ticket } = await send<{ ticket: string }>("POST", "/api/tickets", body);
    asking = null;
    for (const field of ["subject", "text"]) at<HTMLInputElement>(field).value = "";
    speech.tell("sent");
    open(ticket);
  } catch (error) {
    speech.tell(error instanceof Refused ? error.word : "unreachable");
  }
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  void ask();
});
at("say").addEventListener("submit", (event) => {
  event.preventDefault();
  void chat?.say();
});
sendsByEnter(at("message"), at("say"));
at("close").addEventListener("click", () => void chat?.close());
at("another").addEventListener("click", () => { keptLetter(""); void begin().then(() => at("subject").focus()); });

/** Of this tab, so that a reload finds the ticket again, and nobody who opens the page anew does. */
function keptLetter(letter?: string): string {
  try {
    if (letter !== undefined) sessionStorage.setItem(KEPT, letter);
    return sessionStorage.getItem(KEPT) ?? "";
  } catch {
    return letter ?? "";
  }
}

/** The ticket of a letter's link, if the page was opened by one that is good. */
async function ofLetter(): Promise<string | null> {
  const hash = location.hash.slice(1);
  // A history is read by others.
  if (hash !== "") history.replaceState(null, "", location.pathname);
  const letter = new URLSearchParams(keptLetter(hash === "" ? undefined : hash));
  const [ticket, link] = [letter.get("ticket"), letter.get("link")];
  if (ticket === null || link === null || !/^t[0-9a-f]{32}$/.test(ticket)) return null;
  useLink(link);
  try {
    await get(`/api/tickets/${ticket}`);
    return ticket;
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 404) return ticket; // the chat goes on asking
    useLink("");
    keptLetter("");
    speech.tell("noTicket");
    return null;
  }
}

await begin();
const letter = await ofLetter();
const unfinished = letter ?? tickets.find((ticket) => ticket.status !== "closed")?.id;
if (unfinished !== undefined) open(unfinished);
addEventListener("hashchange", () => void ofLetter().then((ticket) => { if (ticket !== null) open(ticket); }));
