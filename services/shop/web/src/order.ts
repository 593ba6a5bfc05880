// Placing orders: checked here for quick words, and by the shop for good.

import type { Word } from "./words.ts";

export interface Wanted {
  name: string;
  email: string;
  sku: string;
  quantity: number;
  locale: string;
}

export type Field = "name" | "email" | "quantity";

/** The first rule that a field breaks; none if all is well. */
export function wrong(order: Wanted): [Field, Word] | null {
  if (!Number.isInteger(order.quantity) || order.quantity < 1 || order.quantity > 99) return ["quantity", "quantityWrong"];
  if (order.name.trim() === "") return ["name", "nameMissing"];
  if (!/^[^\s@]+@[^\s@]+\.[^\s@.]+$/.test(order.email.trim())) return ["email", "emailWrong"];
  return null;
}

export type Outcome = { order: string } | { problem: Word };

/** Chosen once for an order: a repeat after a lost answer is the same order. */
export function key(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const ATTEMPTS = 3;

export async function place(wanted: Wanted, chosen: string): Promise<Outcome> {
  const body = JSON.stringify({
    key: chosen, name: wanted.name.trim(), email: wanted.email.trim(), locale: wanted.locale,
    lines: [{ sku: wanted.sku, quantity: wanted.quantity }],
  });
  for (let attempt = 1; ; attempt += 1) {
    try {
      const answer = await fetch("api/orders", { method: "POST", headers: { "content-type": "application/json" }, body, signal: AbortSignal.timeout(15_000) });
      if (answer.ok) return (await answer.json()) as { order: string };
      if (answer.status === 429) return { problem: "tooFast" };
      if (answer.status < 500) return { problem: "refused" };
    } catch {
      // No answer: the order may be there all the same, and the key finds it.
    }
    if (attempt === ATTEMPTS) return { problem: "unreachable" };
    await new Promise((resolve) => setTimeout(resolve, 500 * attempt));
  }
}
