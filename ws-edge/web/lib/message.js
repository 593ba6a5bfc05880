/**
 * What arrives on the inbox channel, read with care. Pure: unknown types and wrong fields of other
 * versions become null or empty, never an exception.
 */
const MARKS = new Set(["read", "seen", "archive", "unarchive"]);
/** The message in a publication, or null: types of later versions are skipped, not errors. */
export function parseMessage(data) {
    if (!isRecord(data))
        return null;
    if (MARKS.has(data["type"])) {
        if (!Array.isArray(data["ids"]))
            return null;
        const ids = data["ids"].filter((id) => typeof id === "string");
        return { type: data["type"], ids, at: microseconds(text(data["at"])) };
    }
    if (data["type"] !== "notification" || typeof data["id"] !== "string" || data["id"] === "")
        return null;
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
export function microseconds(at) {
    const parts = /^([^.]+?)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)$/i.exec(at);
    if (parts === null)
        return 0;
    const seconds = Date.parse(`${parts[1]}${parts[3]}`);
    if (Number.isNaN(seconds))
        return 0;
    return seconds * 1_000 + Math.floor(Number((parts[2] ?? "").padEnd(9, "0")) / 1_000);
}
function isRecord(value) {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}
function text(value) {
    return typeof value === "string" ? value : "";
}
function textRecord(value) {
    if (!isRecord(value))
        return {};
    const entries = Object.entries(value).filter((entry) => typeof entry[1] === "string");
    return Object.fromEntries(entries);
}
/** Only links that open a page: `javascript:` and its kin never reach an href. */
function safeUrl(value) {
    if (typeof value !== "string")
        return null;
    if (/^\/(?![/\\])/.test(value))
        return value;
    try {
        const { protocol } = new URL(value);
        return protocol === "https:" || protocol === "http:" ? value : null;
    }
    catch {
        return null;
    }
}
