/** A room's messages, put together from pages of history and changes that come in any order. Pure. */

export interface Person { id: string; handle: string; name: string }
export interface FileCard { id: string; name: string; media_type: string; size: number }
export interface JobCard { command: string; state: "waiting" | "running" | "done" | "failed"; progress: number; detail: string; file: FileCard | null }
export interface Message {
  id: string; seq: number; author: Person; client_id: string; text: string;
  file: FileCard | null; job: JobCard | null;
  created_at: number; edited_at: number; deleted_at: number;
}
export type Kind = "message" | "edit" | "delete" | "job" | "join" | "leave" | "ban" | "room";
export interface Change { seq: number; kind: Kind; at: number; message?: Message; person?: Person }
export interface Page { messages: Message[]; as_of: number; more: boolean }

/** Changes that are kept for a page that is on its way. */
const UNSEEN_MAX = 200;

/**
 * Every change of a room has a number without holes. So what is known can be dropped, what is next can be applied, and
 * what is too early shows that something is missing.
 */
export class Timeline {
  /** Changes of messages that are on no page yet, newest last: such a page may have been read before them. */
  private unseen = new Map<string, { seq: number; message: Message }>();

  /** Oldest first, each once. */
  messages: Message[] = [];
  /** Whether there are older ones than the first. */
  more = false;
  /** The number of the newest change that is in here; -1 before the first page. */
  have = -1;
  private early = new Map<number, Change>();

  /** Whether a change came whose predecessors did not. */
  get gap(): boolean {
    return this.have >= 0 && this.early.size > 0;
  }

  /** The newest page: everything up to `as_of`. Returns what had come early and follows it. */
  begin(page: Page): Change[] {
    this.messages = [...page.messages];
    this.more = page.more;
    this.have = page.as_of;
    // The page may be newer than it says: it is read after the number.
    for (const seq of this.early.keys()) if (seq <= this.have) this.early.delete(seq);
    return this.drain();
  }

  /** A page before the first message. */
  older(page: Page): void {
    const first = this.messages[0]?.seq ?? Number.POSITIVE_INFINITY;
    const fresh = page.messages.filter((message) => message.seq < first).map((message) => {
      const later = this.unseen.get(message.id);
      return later !== undefined && later.seq > page.as_of ? later.message : message;
    });
    this.messages = [...fresh, ...this.messages];
    this.more = page.more;
  }

  /** One change, whichever way it came. Returns the changes that are new by it, in their order. */
  take(change: Change): Change[] {
    if (this.have >= 0 && change.seq <= this.have) return [];
    this.early.set(change.seq, change);
    return this.have < 0 ? [] : this.drain();
  }

  private drain(): Change[] {
    const applied: Change[] = [];
    for (;;) {
      const next = this.early.get(this.have + 1);
      if (next === undefined) return applied;
      this.early.delete(next.seq);
      this.have = next.seq;
      this.apply(next);
      applied.push(next);
    }
  }

  private apply(change: Change): void {
    const { message } = change;
    if (message === undefined) return;
    const at = this.messages.findIndex((known) => known.id === message.id);
    if (at >= 0) this.messages[at] = message;
    else if (change.kind === "message") this.insert(message);
    else this.remember(change.seq, message);
  }

  /** A change of a message on a page that was not loaded: the page will have it, unless it is on its way already. */
  private remember(seq: number, message: Message): void {
    this.unseen.delete(message.id);
    this.unseen.set(message.id, { seq, message });
    const oldest = this.unseen.size > UNSEEN_MAX ? this.unseen.keys().next() : undefined;
    if (oldest?.done === false) this.unseen.delete(oldest.value);
  }

  private insert(message: Message): void {
    let at = this.messages.length;
    while (at > 0 && (this.messages[at - 1]?.seq ?? 0) > message.seq) at -= 1;
    this.messages.splice(at, 0, message);
  }
}
