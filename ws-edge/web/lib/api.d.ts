/** The HTTP calls of an inbox: tell the platform what was read, seen, archived or taken back. */
import type { MarkKind } from "./message.ts";
/** The platform refused, or could not be reached (`status` 0). */
export declare class MarkError extends Error {
    readonly status: number;
    constructor(status: number, message: string);
}
/** Splits ids into what one request may carry. */
export declare function groups(ids: readonly string[]): string[][];
/** `POST {base}/v1/inbox/{mark}`, authenticated with the connection token. */
export declare function postMark(base: string, token: string, mark: MarkKind, ids: readonly string[]): Promise<void>;
/** The sentence in a problem document, or the bare status. */
export declare function problemText(answer: Response): Promise<string>;
