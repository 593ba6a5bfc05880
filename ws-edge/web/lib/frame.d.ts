/** Waiting for the browser to draw. */
/** The next frame; a hidden or covered page has none, so soon in any case. */
export declare function nextFrame(): Promise<void>;
