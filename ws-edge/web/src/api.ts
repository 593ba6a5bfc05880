/** The one HTTP call of the element: tell the platform what was read. */

/** The endpoint takes a bounded list; a long one goes in several requests. */
const MAX_IDS_PER_REQUEST = 100;
const TIMEOUT_MS = 10_000;

/** The platform refused, or could not be reached (`status` 0). */
export class ReadError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = "ReadError";
    this.status = status;
  }
}

/** Splits ids into what one request may carry. */
export function readGroups(ids: readonly string[]): string[][] {
  const groups: string[][] = [];
  for (let at = 0; at < ids.length; at += MAX_IDS_PER_REQUEST) groups.push(ids.slice(at, at + MAX_IDS_PER_REQUEST));
  return groups;
}

/** `POST {base}/v1/inbox/read`, authenticated with the connection token. */
export async function postRead(base: string, token: string, ids: readonly string[]): Promise<void> {
  let answer: Response;
  try {
    answer = await fetch(`${base.replace(/\/+$/, "")}/v1/inbox/read`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ ids }),
      // A click on a row with a link leaves the page: the mark must outlive it.
      keepalive: true,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (cause) {
    throw new ReadError(0, cause instanceof Error ? cause.message : "request failed");
  }
  if (!answer.ok) throw new ReadError(answer.status, await problemText(answer));
}

/** The sentence in a problem document, or the bare status. */
export async function problemText(answer: Response): Promise<string> {
  const fallback = `HTTP ${answer.status}`;
  try {
    const problem: unknown = await answer.json();
    if (typeof problem !== "object" || problem === null) return fallback;
    const { detail, title } = problem as { detail?: unknown; title?: unknown };
    if (typeof detail === "string" && detail !== "") return detail;
    return typeof title === "string" && title !== "" ? title : fallback;
  } catch {
    return fallback;
  }
}
