/** Waiting for the browser to draw. */
const MAX_FRAME_MS = 100;
/** The next frame; a hidden or covered page has none, so soon in any case. */
export function nextFrame() {
    return new Promise((resolve) => {
        const done = () => {
            cancelAnimationFrame(frame);
            clearTimeout(timer);
            resolve();
        };
        const frame = requestAnimationFrame(done);
        const timer = setTimeout(done, MAX_FRAME_MS);
    });
}
