// What both pages draw. Everything is text set on elements: nothing that came is ever read as HTML.

import type { Message, Ticket } from "./api.ts";
import type { State } from "./live.ts";
import { choose, type Language, remember, remembered, say, type Word } from "./words.ts";

export function at<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found as T;
}

export function element(name: string, className: string, ...children: (Node | string)[]): HTMLElement {
  const made = document.createElement(name);
  if (className !== "") made.className = className;
  made.append(...children);
  return made;
}

/** The page's language, its choice, and its fixed words. */
export class Speech {
  language: Language = choose([remembered(), ...navigator.languages]);
  #state: State | null = null;

  constructor(private readonly title: Word, private readonly redraw: () => void) {
    const select = at<HTMLSelectElement>("language");
    select.value = this.language;
    select.addEventListener("change", () => {
      this.language = choose([select.value]);
      remember(this.language);
      this.translate();
      this.redraw();
    });
    this.translate();
  }

  say(word: Word, values: Record<string, string | number> = {}): string {
    return say(this.language, word, values);
  }

  tell(word: Word | null, values: Record<string, string | number> = {}): void {
    at("said").textContent = word === null ? "" : this.say(word, values);
  }

  /** How the page hears of news; `null` hides it. */
  state(state: State | null): void {
    this.#state = state;
    const conn = at("conn");
    conn.hidden = state === null;
    conn.dataset["state"] = state ?? "connecting";
    const text = state === null ? "" : this.say(state);
    if (conn.textContent !== text) conn.textContent = text;
    const trouble = at("trouble");
    trouble.hidden = state !== "away";
    trouble.textContent = state === "away" ? this.say("noDesk") : "";
  }

  translate(): void {
    document.documentElement.lang = this.language;
    document.title = this.say(this.title);
    for (const one of document.querySelectorAll<HTMLElement>("[data-word]")) one.textContent = this.say(one.dataset["word"] as Word);
    for (const one of document.querySelectorAll<HTMLTextAreaElement>("[data-placeholder]")) one.placeholder = this.say(one.dataset["placeholder"] as Word);
    this.state(this.#state);
  }
}

/** Status beside the title of a ticket. */
export function drawHead(ticket: Ticket, speech: Speech): void {
  const title = at("chat-title");
  if (title.textContent !== ticket.subject) title.textContent = ticket.subject;
  const state = at("state");
  state.dataset["status"] = ticket.status;
  state.textContent = speech.say(ticket.status);
}

/** Adds messages below; the reader who has scrolled up is left where he is. */
export function drawMessages(messages: readonly Message[], mine: "customer" | "agent", speech: Speech): void {
  const log = at("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  for (const message of messages) {
    const own = message.author === mine;
    const time = new Intl.DateTimeFormat(speech.language, { timeStyle: "short" }).format(message.at / 1_000);
    const line = element("div", own ? "line mine" : "line", element("span", "who", `${own ? speech.say("you") : message.name} · ${time}`), element("span", "words", message.text));
    line.dataset["seq"] = String(message.seq);
    log.append(line);
  }
  if (atEnd) log.scrollTop = log.scrollHeight;
}

/** A list of tickets as buttons. */
export function drawList(id: string, tickets: readonly Ticket[], current: string | null, speech: Speech, open: (ticket: Ticket) => void): void {
  const list = at(id);
  const focused = (document.activeElement as HTMLElement | null)?.dataset["ticket"];
  list.replaceChildren(...tickets.map((ticket) => {
    const state = element("span", "state", speech.say(ticket.status));
    state.dataset["status"] = ticket.status;
    const time = new Intl.DateTimeFormat(speech.language, { dateStyle: "short", timeStyle: "short" }).format(ticket.updated_at / 1_000);
    const button = element("button", "", element("b", "", ticket.subject), state, element("small", "", `${ticket.name} · ${time}`));
    button.setAttribute("type", "button");
    button.dataset["ticket"] = ticket.id;
    if (ticket.id === current) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => open(ticket));
    return element("li", "", button);
  }));
  if (focused !== undefined) list.querySelector<HTMLElement>(`[data-ticket="${CSS.escape(focused)}"]`)?.focus();
}

/** Enter sends, Shift and Enter is a new line; a composing keyboard is left alone. */
export function sendsByEnter(textarea: HTMLTextAreaElement, form: HTMLFormElement): void {
  textarea.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
}
