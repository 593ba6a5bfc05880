// Asking the desk. What changes something carries a key, so that a repeat after a lost answer does nothing twice.

import type { Word } from "./words.ts";

export interface Ticket {
  id: string;
  subject: string;
  name: string;
  status: "open" | "claimed" | "closed";
  last_seq: number;
  customer_seen: number;
  created_at: number;
  updated_at: number;
  /** For agents: whether it is their own. */
  mine?: boolean;
}

export interface Message {
  seq: number;
  author: "customer" | "agent" | "system";
  name: string;
  text: string;
  at: number;
}

/** The desk said no, or nothing. */
export class Refused extends Error {
  constructor(readonly status: number) {
    super(`the desk answered ${status}`);
  }

  get word(): Word {
    if (this.status === 429) return "tooFast";
    if (this.status === 409) return "closedAlready";
    return this.status >= 400 && this.status < 500 ? "refused" : "unreachable";
  }
}

export function key(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export async function get<T>(path: string): Promise<T> {
  return ask<T>(path, { method: "GET" });
}

/** The secret of a letter's link: it opens one ticket, and signs nobody in. */
let link = "";

export function useLink(secret: string): void {
  link = secret;
}

const ATTEMPTS = 4;

/** Repeats what had no answer: a desk that is being replaced is back in a moment. */
export async function send<T>(method: "POST" | "DELETE", path: string, body: object): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask<T>(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    } catch (error) {
      const hopeless = error instanceof Refused && error.status < 500 && error.status !== 0;
      if (hopeless || attempt === ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, 400 * 2 ** attempt));
    }
  }
}

async function ask<T>(path: string, init: RequestInit): Promise<T> {
  let answer: Response;
  try {
    const headers = { ...init.headers, ...(link === "" ? {} : { "support-link": link }) };
    answer = await fetch(path, { ...init, headers, signal: AbortSignal.timeout(15_000) });
  } catch {
    throw new Refused(0);
  }
  if (!answer.ok) throw new Refused(answer.status);
  return (await answer.json()) as T;
}
