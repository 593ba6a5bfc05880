/**
 * What arrives on the inbox channel, read with care. Pure: unknown types and wrong fields of other
 * versions become null or empty, never an exception.
 */
/** What a person may say of a message. `archive` and `unarchive` undo each other; the others stay. */
export type MarkKind = "read" | "seen" | "archive" | "unarchive";
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
export declare function parseMessage(data: unknown): InboxMessage | null;
/** An RFC 3339 time as a number that keeps what `Date` cuts off: marks are made microseconds apart. */
export declare function microseconds(at: string): number;
