// One ticket on the screen, of either side: what was said, what is said next.

import { get, key, type Message, Refused, send, type Ticket } from "./api.ts";
import { Follower } from "./live.ts";
import { Thread } from "./thread.ts";
import { at, drawHead, drawMessages, type Speech } from "./view.ts";

/** What was written and not yet sent, by ticket: it must not be sent to another one. */
const drafts = new Map<string, { left: string; tried: { key: string; text: string } | null }>();

export function forgetDrafts(): void {
  drafts.clear();
}

export class Chat {
  ticket: Ticket | null = null;
  #thread = new Thread();
  readonly #follower: Follower;
  #sending = false;
  #stopped = false;
  /** Of what is in the field: chosen at the first attempt, kept until it is sent. */
  #draft: { key: string; text: string } | null = null;

  constructor(readonly id: string, private readonly side: "customer" | "agent", private readonly speech: Speech, private readonly drawn: (ticket: Ticket) => void) {
    at("log").replaceChildren();
    at<HTMLTextAreaElement>("message").value = drafts.get(id)?.left ?? "";
    this.#draft = drafts.get(id)?.tried ?? null;
    this.#follower = new Follower(id, () => this.#look(), (state) => this.speech.state(state));
    void this.#follower.run();
  }

  /** Another ticket has the screen from now on; what is still on its way is not drawn. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#follower.stop();
    const left = at<HTMLTextAreaElement>("message").value;
    if (left.trim() === "") drafts.delete(this.id);
    else drafts.set(this.id, { left, tried: this.#draft });
    at<HTMLTextAreaElement>("message").value = "";
    at("log").replaceChildren();
  }

  /** After a change of the language. */
  redraw(): void {
    at("log").replaceChildren();
    drawMessages(this.#thread.messages, this.side, this.speech);
    if (this.ticket !== null) drawHead(this.ticket, this.speech);
  }

  changed(): Promise<void> {
    return this.#follower.changed();
  }

  async #look(): Promise<void> {
    for (;;) {
      const page = await get<{ ticket: Ticket; messages: Message[] }>(`/api/tickets/${this.id}?after=${this.#thread.last}`);
      if (this.#stopped) return;
      const fresh = this.#thread.take(page.messages);
      this.ticket = page.ticket;
      drawHead(page.ticket, this.speech);
      drawMessages(fresh, this.side, this.speech);
      this.drawn(page.ticket);
      if (fresh.length > 0 && this.#thread.last < page.ticket.last_seq) continue;
      if (this.side === "customer" && document.visibilityState === "visible" && this.#thread.last > page.ticket.customer_seen) {
        await send("POST", `/api/tickets/${this.id}/seen`, { seq: this.#thread.last });
      }
      return;
    }
  }

  /** Sends what is in the field; it stays there until the desk has it. */
  async say(): Promise<void> {
    const field = at<HTMLTextAreaElement>("message");
    const text = field.value.trim();
    if (text === "" || this.#sending) return;
    this.#sending = true;
    if (this.#draft?.text !== text) this.#draft = { key: key(), text };
    this.speech.tell("sending");
    try {
      await send("POST", `/api/tickets/${this.id}/messages`, this.#draft);
      this.#draft = null;
      if (this.#stopped) {
        drafts.delete(this.id);
        return;
      }
      if (field.value.trim() === text) field.value = "";
      this.speech.tell("sent");
      await this.changed();
    } catch (error) {
      this.speech.tell(error instanceof Refused ? error.word : "unreachable");
    } finally {
      this.#sending = false;
      if (!this.#stopped) field.focus();
    }
  }

  async close(): Promise<void> {
    try {
      await send("POST", `/api/tickets/${this.id}/close`, {});
      await this.changed();
    } catch (error) {
      this.speech.tell(error instanceof Refused ? error.word : "unreachable");
    }
  }
}
