/** What a page sets on the element and what it hears of it: attributes, properties, events, words. */
import { LitElement } from "lit";
import { Inbox } from "./client.js";
import { nextFrame } from "./frame.js";
import { DEFAULT_LABELS, labelsFor } from "./labels.js";
import { DEFAULT_TABS } from "./tabs.js";
import { safeLocale } from "./time.js";
/** The inbox before there is one. */
export const NOBODY = new Inbox({ endpoint: "", sync: false }).snapshot;
export class BellElement extends LitElement {
    static { this.properties = {
        endpoint: {},
        token: {},
        getToken: { attribute: false },
        user: {},
        channel: {},
        apiBase: { attribute: "api-base" },
        historyLimit: { attribute: "history-limit", type: Number },
        noToasts: { attribute: "no-toasts", type: Boolean },
        noSync: { attribute: "no-sync", type: Boolean },
        sound: { type: Boolean },
        badge: {},
        tabs: {},
        tab: {},
        labels: { attribute: false },
        open: { type: Boolean, reflect: true },
        state: { reflect: true },
        inbox: { state: true },
    }; }
    constructor() {
        super();
        Object.assign(this, { endpoint: "", token: "", getToken: null, user: "", channel: "", apiBase: "", historyLimit: 100 });
        Object.assign(this, { noToasts: false, noSync: false, sound: false, badge: "unread", tabs: DEFAULT_TABS, tab: "" });
        Object.assign(this, { labels: {}, open: false, state: "idle", inbox: NOBODY });
    }
    /**
     * Draws at most once per frame: in a burst each publication is a task of its own, and drawing
     * between them would delay the ones that wait. The first time at once, it opens the connection.
     */
    async scheduleUpdate() {
        if (this.hasUpdated)
            await nextFrame();
        super.scheduleUpdate();
    }
    /** The language of the page around the element. */
    get locale() {
        return safeLocale(this.closest("[lang]")?.getAttribute("lang") || document.documentElement.lang);
    }
    /** Words of that language, with the page's own in their place. */
    get words() {
        const words = labelsFor(this.locale) ?? DEFAULT_LABELS;
        return { ...words, ...this.labels, states: { ...words.states, ...this.labels.states } };
    }
    emit(name, detail, cancelable = false) {
        return this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true, cancelable }));
    }
}
