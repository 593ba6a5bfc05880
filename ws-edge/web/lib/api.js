/** The HTTP calls of an inbox: tell the platform what was read, seen, archived or taken back. */
/** The endpoints take a bounded list; a long one goes in several requests. */
const MAX_IDS_PER_REQUEST = 100;
const TIMEOUT_MS = 10_000;
/** The platform refused, or could not be reached (`status` 0). */
export class MarkError extends Error {
    constructor(status, message) {
        super(message);
        this.name = "MarkError";
        this.status = status;
    }
}
/** Splits ids into what one request may carry. */
export function groups(ids) {
    const split = [];
    for (let at = 0; at < ids.length; at += MAX_IDS_PER_REQUEST)
        split.push(ids.slice(at, at + MAX_IDS_PER_REQUEST));
    return split;
}
/** `POST {base}/v1/inbox/{mark}`, authenticated with the connection token. */
export async function postMark(base, token, mark, ids) {
    let answer;
    try {
        answer = await fetch(`${base.replace(/\/+$/, "")}/v1/inbox/${mark}`, {
            method: "POST",
            headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
            body: JSON.stringify({ ids }),
            // A click on a row with a link leaves the page: the mark must outlive it.
            keepalive: true,
            signal: AbortSignal.timeout(TIMEOUT_MS),
        });
    }
    catch (cause) {
        throw new MarkError(0, cause instanceof Error ? cause.message : "request failed");
    }
    if (!answer.ok)
        throw new MarkError(answer.status, await problemText(answer));
}
/** The sentence in a problem document, or the bare status. */
export async function problemText(answer) {
    const fallback = `HTTP ${answer.status}`;
    try {
        const problem = await answer.json();
        if (typeof problem !== "object" || problem === null)
            return fallback;
        const { detail, title } = problem;
        if (typeof detail === "string" && detail !== "")
            return detail;
        return typeof title === "string" && title !== "" ? title : fallback;
    }
    catch {
        return fallback;
    }
}
