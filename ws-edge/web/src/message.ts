/**
 * What arrives on the inbox channel, read with care. Pure: unknown types and wrong fields of other
 * versions become null or empty, never an exception.
 */

/** What a person may say of a message. `archive` and `unarchive` undo each other; the others stay. */
export type MarkKind = "read" | "seen" | "archive" | "unarchive";

const MARKS: ReadonlySet<unknown> = new Set<MarkKind>(["read", "seen", "archive", "unarchive"]);

/** A notification as published on the inbox channel. Names are those of the wire. */
export interface NotificationMessage {
  readonly type: "notification";
  readonly id: string;
  readonly notification_id: string;
  readonly title: string;
  readonly body: string;
  readonly url: string | null;
  readonly created_at: string;
  readonly trace_id: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The person marked notifications, on this device or on another one. */
export interface MarkMessage {
  readonly type: MarkKind;
  readonly ids: readonly string[];
  /** When, in microseconds since 1970; 0 if the message does not say. */
  readonly at: number;
}

export type InboxMessage = NotificationMessage | MarkMessage;

/** The message in a publication, or null: types of later versions are skipped, not errors. */
export function parseMessage(data: unknown): InboxMessage | null {
  if (!isRecord(data)) return null;
  if (MARKS.has(data["type"])) {
    if (!Array.isArray(data["ids"])) return null;
    const ids = data["ids"].filter((id): id is string => typeof id === "string");
    return { type: data["type"] as MarkKind, ids, at: microseconds(text(data["at"])) };
  }
  if (data["type"] !== "notification" || typeof data["id"] !== "string" || data["id"] === "") return null;
  return {
    type: "notification",
    id: data["id"],
    notification_id: text(data["notification_id"]),
    title: text(data["title"]),
    body: text(data["body"]),
    url: safeUrl(data["url"]),
    created_at: text(data["created_at"]),
    trace_id: text(data["trace_id"]),
    metadata: textRecord(data["metadata"]),
  };
}

/** An RFC 3339 time as a number that keeps what `Date` cuts off: marks are made microseconds apart. */
export function microseconds(at: string): number {
  const parts = /^([^.]+?)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)$/i.exec(at);
  if (parts === null) return 0;
  const seconds = Date.parse(`${parts[1]}${parts[3]}`);
  if (Number.isNaN(seconds)) return 0;
  return seconds * 1_000 + Math.floor(Number((parts[2] ?? "").padEnd(9, "0")) / 1_000);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function textRecord(value: unknown): Record<string, string> {
  if (!isRecord(value)) return {};
  const entries = Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return Object.fromEntries(entries);
}

/** Only links that open a page: `javascript:` and its kin never reach an href. */
function safeUrl(value: unknown): string | null {
  if (typeof value !== "string") return null;
  if (/^\/(?![/\\])/.test(value)) return value;
  try {
    const { protocol } = new URL(value);
    return protocol === "https:" || protocol === "http:" ? value : null;
  } catch {
    return null;
  }
}
