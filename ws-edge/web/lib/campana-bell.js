/**
 * `<campana-bell>`: a bell with a badge, a panel with the inbox, a toast on arrival.
 *
 * Reads its attributes; everything about the inbox is `client.ts`'s. Decisions are in `tabs.ts`,
 * `toasts.ts` and `anchor.ts`, timers in `arrivals.ts` and `watcher.ts`, the open panel in `panel.ts`,
 * drawing in `view.ts`; this file connects them.
 */
import { Arrivals } from "./arrivals.js";
import { Inbox } from "./client.js";
import { BellElement, NOBODY } from "./element.js";
import { isUnread } from "./inbox.js";
import { addLanguage } from "./labels.js";
import { Panel } from "./panel.js";
import { Chime, isMuted, setMuted } from "./sound.js";
import { styles } from "./styles.js";
import { parseTabs, tabItems } from "./tabs.js";
import { bellView } from "./view.js";
/** How often "3 min ago" is looked at again while the panel is open. */
const CLOCK_MS = 30_000;
export class CampanaBell extends BellElement {
    static { this.styles = styles; }
    /** Adds a language for all bells of the page, see `src/labels.ts`. */
    static { this.addLanguage = addLanguage; }
    #client = null;
    #clockTimer = 0;
    #chime = new Chime();
    #arrivals = new Arrivals(() => this.requestUpdate());
    #panel = new Panel(this.#host());
    /** How many notifications of the list are unread. */
    get unread() {
        return this.inbox.unread;
    }
    /** The sound is switched off, here or in another tab. */
    get muted() {
        return isMuted();
    }
    set muted(muted) {
        setMuted(muted);
        this.#client?.tellPeers({ kind: "muted", muted });
        this.requestUpdate();
    }
    show() {
        this.#panel.toggle(true);
    }
    hide() {
        this.#panel.toggle(false);
    }
    /** Connects again now instead of waiting. */
    reconnect() {
        if (this.#client === null)
            this.#connect();
        else
            this.#client.reconnect();
    }
    markRead(ids) {
        return this.#client?.markRead(ids) ?? Promise.resolve(false);
    }
    markAllRead() {
        return this.#client?.markAllRead() ?? Promise.resolve(false);
    }
    archive(ids) {
        return this.#client?.archive(ids) ?? Promise.resolve(false);
    }
    unarchive(ids) {
        return this.#client?.unarchive(ids) ?? Promise.resolve(false);
    }
    connectedCallback() {
        super.connectedCallback();
        addEventListener("resize", this.#panel.place);
        addEventListener("scroll", this.#panel.place, { passive: true, capture: true });
        this.#clockTimer = window.setInterval(() => this.open && this.#panel.show({ now: Date.now() }), CLOCK_MS);
        if (this.hasUpdated)
            this.#connect();
    }
    disconnectedCallback() {
        super.disconnectedCallback();
        removeEventListener("resize", this.#panel.place);
        removeEventListener("scroll", this.#panel.place, { capture: true });
        clearInterval(this.#clockTimer);
        this.#arrivals.reset();
        // The browser has closed the panel with the element; it says so only to connected ones.
        this.open = false;
        this.#panel.gone();
        this.#client?.stop();
    }
    updated(changed) {
        const first = changed.has("endpoint") && changed.get("endpoint") === undefined;
        const other = changed.has("user") || changed.has("channel") || changed.has("endpoint") || changed.has("noSync");
        // The callback is looked up at each call: a framework may hand over a new closure every render.
        const sourceAppeared = changed.has("getToken") && (changed.get("getToken") ?? null) === null;
        if (other && !first)
            this.#forget();
        if (sourceAppeared)
            this.#client?.stop();
        if (changed.has("token"))
            this.#client?.setToken(this.token);
        this.#connect();
        if (changed.has("open") && this.isConnected)
            this.#panel.toggle(this.open);
        // Toasts live in the top layer, where no stacking context of the page covers them.
        const toasts = this.renderRoot.querySelector(".toasts");
        if (toasts !== null && this.isConnected)
            toasts.togglePopover(this.#arrivals.view.toasts.shown.length > 0);
        this.#panel.drawn();
    }
    render() {
        return bellView(this.#model(), this.#handlers);
    }
    #model() {
        const { inbox } = this;
        const { view } = this.#panel;
        const labels = this.words;
        const retry = () => void this.#client?.reload();
        const failed = inbox.error === null ? null : { text: `${labels.historyFailed} (${inbox.error})`, retry };
        const badgeCounts = this.badge === "unseen" ? "unseen" : "unread";
        const muted = this.sound ? this.muted : null;
        return { ...this.#arrivals.view, ...view, ...this.#list(), inbox, labels, badge: inbox[badgeCounts], badgeCounts, muted, locale: this.locale, notice: view.notice ?? failed };
    }
    /** The tabs, and the rows of the one that shows. */
    #list() {
        const asked = parseTabs(this.tabs);
        const tabs = asked.length > 0 ? asked : parseTabs("all");
        const tab = tabs.find(({ id }) => id === this.tab) ?? tabs[0];
        const { opened, keep } = this.#panel.view;
        return { tabs, tab, rows: opened ? tabItems(this.inbox.items, tab, keep) : [] };
    }
    // --- the inbox ---------------------------------------------------------------------------------
    #connect() {
        if (!this.isConnected || this.endpoint === "" || (this.token === "" && this.getToken === null))
            return;
        this.#client ??= this.#listen(new Inbox(this.#options()));
        this.#client.start();
    }
    /** What the attributes say at the moment of asking: they may change while the inbox lives. */
    #options() {
        const { endpoint, token, user, channel, noSync } = this;
        const source = () => this.getToken?.() ?? Promise.resolve(this.token);
        const bell = this;
        return {
            endpoint, token, user, channel, sync: !noSync,
            get getToken() { return bell.getToken === null ? null : source; },
            get apiBase() { return bell.apiBase; },
            get pageSize() { return bell.historyLimit; },
        };
    }
    #listen(client) {
        client.on("change", (snapshot) => this.#take(client, snapshot));
        client.on("unread", (unread) => this.emit("campana-unread-changed", { unread }));
        client.on("state", ({ state, code, reason, channel, epoch, offset }) => {
            this.state = state;
            const detail = { state, code, reason, channel, epoch, offset };
            this.emit("campana-state", detail);
        });
        client.on("notification", (arrival) => this.#arrived(arrival));
        client.on("marked", ({ mark, ids }) => {
            if (mark !== "unarchive")
                this.#arrivals.dismiss(ids);
            this.emit("campana-marked", { mark, ids });
        });
        client.on("refused", ({ mark, ids, reason }) => this.#refused(mark, ids, reason));
        client.on("peer", (message) => {
            if (message.kind === "dismissed")
                this.#arrivals.dismiss(message.ids);
            if (message.kind === "muted")
                this.requestUpdate();
        });
        return client;
    }
    #take(client, snapshot) {
        if (client !== this.#client)
            return;
        if (snapshot.items !== this.inbox.items)
            this.#panel.show({ now: Date.now() });
        this.inbox = snapshot;
    }
    #arrived(arrival) {
        this.emit("campana-notification", arrival);
        if (!isUnread(arrival.notification))
            return;
        this.#arrivals.ring(arrival.notification, this.words, !this.noToasts && !this.open);
        if (this.sound && !this.muted)
            void this.#chime.ring(arrival.notification.id, arrival.receivedAt);
    }
    /** A seen mark that was refused is tried again when the row is seen again; the user need not know. */
    #refused(mark, ids, reason) {
        if (mark === "seen")
            return;
        const retry = () => {
            this.#panel.show({ notice: null });
            void { read: this.markRead, archive: this.archive, unarchive: this.unarchive }[mark].call(this, ids);
        };
        const text = mark === "read" ? this.words.readFailed : this.words.archiveFailed;
        this.#panel.show({ notice: { text: `${text} (${reason})`, retry } });
    }
    /** Another user or channel: nothing of the old inbox may stay on the screen. */
    #forget() {
        const before = this.inbox.unread;
        this.#client?.stop();
        this.#client = null;
        this.inbox = NOBODY;
        this.state = "idle";
        this.#arrivals.reset();
        this.#panel.reset();
        if (before !== 0)
            this.emit("campana-unread-changed", { unread: 0 });
    }
    // --- the user ----------------------------------------------------------------------------------
    /** Closed here: closed in the browser's other tabs as well. */
    #dismiss(ids) {
        this.#arrivals.dismiss(ids);
        this.#client?.tellPeers({ kind: "dismissed", ids });
    }
    /** The element as its panel sees it. */
    #host() {
        const bell = this;
        return {
            get renderRoot() { return bell.renderRoot; },
            get inbox() { return bell.inbox; },
            get open() { return bell.open; },
            set open(open) { bell.open = open; },
            matches: (selector) => bell.matches(selector),
            requestUpdate: () => bell.requestUpdate(),
            list: () => bell.#list(),
            markRead: (ids) => void bell.markRead(ids),
            seen: (ids) => void bell.#client?.markSeen(ids),
            archive: (item) => {
                bell.#arrivals.say((item.archived ? bell.words.wasUnarchived : bell.words.wasArchived)(item.title));
                void (item.archived ? bell.unarchive([item.id]) : bell.archive([item.id]));
            },
            loadEarlier: () => void bell.#client?.loadEarlier(),
            chosen: (item) => bell.emit("campana-select", { notification: item }, true),
            tabChosen: (id) => {
                bell.tab = id;
                bell.emit("campana-tab", { tab: id });
            },
        };
    }
    #handlers = {
        beforeToggle: (event) => {
            if (event.newState === "open")
                this.#arrivals.dismissAll();
            this.#panel.beforeToggle(event);
        },
        toggled: this.#panel.toggled,
        ringEnd: () => this.#arrivals.ringEnded(),
        close: () => this.hide(),
        chooseTab: this.#panel.chooseTab,
        tabKeys: this.#panel.tabKeys,
        toggleMuted: () => (this.muted = !this.muted),
        select: this.#panel.select,
        archive: this.#panel.archive,
        markAll: () => void this.markAllRead(),
        earlier: () => void this.#client?.loadEarlier(),
        reconnect: () => this.reconnect(),
        listKeys: this.#panel.listKeys,
        focusRow: (id) => this.#panel.show({ activeId: id }),
        openFromToast: (item, event) => {
            event.stopPropagation();
            this.#arrivals.dismiss([item.id]);
            this.show();
        },
        dismiss: (item) => this.#dismiss([item.id]),
        holdToasts: (hold) => this.#arrivals.hold(hold),
    };
}
if (!customElements.get("campana-bell"))
    customElements.define("campana-bell", CampanaBell);
