/**
 * The open panel: where it is, what has the focus, what keys and buttons do in it.
 *
 * Holds what is on the screen besides the inbox itself; tells its host what the user wants.
 */
import { placePanel } from "./anchor.js";
import { afterRemoval, listStep, tabStep } from "./keys.js";
import { Watcher } from "./watcher.js";
const INITIAL_VIEW = { opened: false, notice: null, activeId: "", now: 0, keep: new Set() };
export class Panel {
    #host;
    #watcher;
    #focusBell;
    /** Selector of what gets the focus when it has been drawn. */
    #focusNext;
    constructor(host) {
        this.view = INITIAL_VIEW;
        this.#focusBell = false;
        /** Selector of what gets the focus when it has been drawn. */
        this.#focusNext = "";
        this.place = () => {
            const [box, bell] = [this.#box, this.#find(".bell-button")];
            if (!this.view.opened || box === null || bell === null)
                return;
            const at = placePanel(bell.getBoundingClientRect(), document.documentElement.clientWidth, innerHeight);
            // Through the object model, which a content security policy allows, unlike style attributes.
            Object.assign(box.style, at);
            box.classList.toggle("wide", at.left !== "auto" && at.right !== "auto");
        };
        this.beforeToggle = (event) => {
            // Closed from inside (Esc, the close button): the focus goes back to the bell. Closed by a
            // click elsewhere: the focus is there already and stays.
            const opens = event.newState === "open";
            this.#focusBell = !opens && this.#box?.matches(":focus-within") === true;
            if (!opens)
                return;
            this.show({ opened: true, now: Date.now(), activeId: "", keep: new Set() });
            this.place();
        };
        this.toggled = (event) => {
            const open = event.newState === "open";
            this.#host.open = open;
            if (!open)
                this.#watcher.stop();
            this.show({ opened: open });
            if (open)
                this.#box?.focus({ preventScroll: true });
            else if (this.#focusBell)
                this.#find(".bell-button")?.focus({ preventScroll: true });
        };
        this.chooseTab = (id) => {
            const list = this.#find("#rows");
            if (list !== null)
                list.scrollTop = 0;
            this.show({ keep: new Set(), activeId: "" });
            this.#host.tabChosen(id);
        };
        this.tabKeys = (event) => {
            const { tabs, tab } = this.#host.list();
            const next = tabStep(event.key, tabs.indexOf(tab), tabs.length, this.#rtl);
            const id = next === null ? undefined : tabs[next]?.id;
            if (id === undefined)
                return;
            event.preventDefault();
            this.chooseTab(id);
            this.#focusNext = `.tab[aria-selected="true"]`;
        };
        this.select = (item, event) => {
            if (!this.#host.chosen(item))
                event.preventDefault();
            this.show({ keep: new Set([...this.view.keep, item.id]) });
            this.#host.markRead([item.id]);
        };
        this.archive = (item) => {
            const next = afterRemoval(this.#host.list().rows.map(({ id }) => id), item.id);
            this.show({ activeId: next, keep: new Set([...this.view.keep].filter((id) => id !== item.id)) });
            this.#focusNext = next === "" ? "#panel" : `li[data-id="${CSS.escape(next)}"] .row`;
            this.#host.archive(item);
        };
        this.listKeys = (event) => {
            const lines = [...this.#host.renderRoot.querySelectorAll("li[data-id]")];
            const row = lines.findIndex((line) => line.contains(event.target));
            if (row < 0)
                return;
            if (event.key === "Delete") {
                const item = this.#host.list().rows.find(({ id }) => id === lines[row]?.dataset["id"]);
                if (item === undefined)
                    return;
                event.preventDefault();
                this.archive(item);
                return;
            }
            const act = event.target.matches(".act");
            const to = listStep(event.key, { row, act }, lines.length, this.#rtl);
            if (to === null)
                return;
            event.preventDefault();
            // At the end of what is loaded: the next page, for those who do not scroll.
            if (event.key === "ArrowDown" && to.row === row)
                this.#host.loadEarlier();
            lines[to.row]?.querySelector(to.act ? ".act" : ".row")?.focus();
        };
        this.#host = host;
        this.#watcher = new Watcher({ seen: (ids) => host.seen(ids), atEnd: () => host.loadEarlier() });
    }
    show(change) {
        this.view = { ...this.view, ...change };
        this.#host.requestUpdate();
    }
    toggle(open) {
        this.#box?.togglePopover(open);
    }
    /** Another inbox: the panel stays open, its content is gone. */
    reset() {
        this.#watcher.stop();
        this.show({ ...INITIAL_VIEW, opened: this.#host.open, now: Date.now() });
    }
    /** The element left the page; the browser has closed the panel with it. */
    gone() {
        this.#watcher.stop();
        this.show({ opened: false });
    }
    /** After every drawing. */
    drawn() {
        const list = this.#find("#rows");
        if (this.view.opened && list !== null) {
            const { state, more, loading, error } = this.#host.inbox;
            this.#watcher.look(list, more && !loading && error === null && state === "connected");
        }
        if (this.#focusNext !== "")
            (this.#find(this.#focusNext) ?? this.#box)?.focus();
        this.#focusNext = "";
    }
    get #box() {
        return this.#find("#panel");
    }
    get #rtl() {
        return this.#host.matches(":dir(rtl)");
    }
    #find(selector) {
        return this.#host.renderRoot.querySelector(selector);
    }
}
