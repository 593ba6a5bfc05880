/**
 * What the user has on the screen while the panel is open: rows that become seen, and the end of the
 * list, where older ones are to be loaded. Owns two IntersectionObservers and a timer; draws nothing.
 */
/** Rows that were on the screen for a moment are told of together: one request, not one per row. */
const SEEN_AFTER_MS = 600;
/** The next page is asked for before the user reaches the end. */
const AHEAD = "0px 0px 240px 0px";
export class Watcher {
    #host;
    #rows = null;
    #end = null;
    #watched = new WeakSet();
    #seen = new Set();
    #timer = 0;
    constructor(host) {
        this.#host = host;
    }
    /** After every drawing of the open panel. `wantsMore`: reaching the end should load. */
    look(root, wantsMore) {
        if (this.#rows === null || this.#rows.root !== root)
            this.#begin(root);
        for (const row of root.querySelectorAll("li[data-unseen='true']")) {
            if (this.#watched.has(row))
                continue;
            this.#watched.add(row);
            this.#rows?.observe(row);
        }
        const end = root.querySelector(".earlier");
        // Watched anew: an end that is still on the screen after a short page must be reported again.
        this.#end?.disconnect();
        if (end !== null && wantsMore)
            this.#end?.observe(end);
    }
    /** The panel is closed. What was seen until now counts. */
    stop() {
        this.#rows?.disconnect();
        this.#end?.disconnect();
        this.#rows = null;
        this.#end = null;
        this.#watched = new WeakSet();
        this.#tell();
    }
    #begin(root) {
        this.stop();
        this.#rows = new IntersectionObserver((entries) => this.#shown(entries), { root, threshold: 0.6 });
        this.#end = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.#host.atEnd(), { root, rootMargin: AHEAD });
    }
    #shown(entries) {
        if (document.visibilityState !== "visible")
            return;
        for (const { isIntersecting, target } of entries) {
            if (!isIntersecting)
                continue;
            this.#rows?.unobserve(target);
            this.#seen.add(target.dataset["id"] ?? "");
        }
        if (this.#seen.size > 0 && this.#timer === 0)
            this.#timer = window.setTimeout(() => this.#tell(), SEEN_AFTER_MS);
    }
    #tell() {
        clearTimeout(this.#timer);
        this.#timer = 0;
        const ids = [...this.#seen];
        this.#seen.clear();
        if (ids.length > 0)
            this.#host.seen(ids);
    }
}
