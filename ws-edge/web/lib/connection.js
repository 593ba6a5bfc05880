/**
 * One connection to the edge and the user's inbox channel on it.
 *
 * Reads the WebSocket through the Centrifuge client library; hands publications, positions and
 * states to its listener. Never touches the DOM and holds no list. The channel is a server-side
 * subscription: the edge subscribes us when we connect, and the library resumes it by offset.
 */
import { Centrifuge } from "centrifuge";
import { MAX_ITEMS } from "./inbox.js";
/** The edge answers no more in one page, whatever is asked for. */
const MAX_PAGE = 300;
const MIN_RECONNECT_MS = 200;
const MAX_RECONNECT_MS = 10_000;
/** The personal channel, when the page names neither user nor channel. */
const INBOX_PREFIX = "inbox:#";
/** Dropped by `stop()`: after it the listener hears nothing any more. */
export class InboxConnection {
    #client;
    #options;
    #listener;
    #channel;
    #token;
    #status = { state: "idle", code: 0, reason: "" };
    #historyLoaded = false;
    /** The last offset before a hole that history has not filled yet; null: there is none. */
    #hole = null;
    #epoch = "";
    /** Highest and lowest offsets seen: the ends of what the list covers. */
    #top = 0;
    #bottom = Number.POSITIVE_INFINITY;
    #wasConnected = false;
    #stopped = false;
    #onNetwork = () => this.#networkChanged();
    constructor(options, listener) {
        this.#options = options;
        this.#listener = listener;
        this.#channel = options.channel;
        this.#token = options.token;
        this.#client = new Centrifuge(options.endpoint, {
            token: options.token,
            getToken: options.getToken === null ? null : () => this.refreshToken(),
            name: "campana-bell",
            ...(options.websocket !== undefined && { websocket: options.websocket }),
            minReconnectDelay: MIN_RECONNECT_MS,
            maxReconnectDelay: MAX_RECONNECT_MS,
        });
    }
    start() {
        const client = this.#client;
        client.on("connecting", (ctx) => this.#connecting(ctx.code, ctx.reason));
        client.on("connected", () => {
            this.#wasConnected = true;
            this.#report({ state: "connected", code: 0, reason: "" });
        });
        client.on("disconnected", (ctx) => {
            this.#report({ state: ctx.code === 0 ? "idle" : "error", code: ctx.code, reason: ctx.reason });
        });
        // Errors while connecting are retried by the library; the page should still see why it waits.
        client.on("error", (ctx) => {
            if (this.#status.state !== "connected")
                this.#connecting(ctx.error.code, ctx.error.message);
        });
        client.on("subscribed", (ctx) => this.#subscribed(ctx));
        client.on("publication", (ctx) => {
            if (this.#stopped || ctx.channel !== this.#channel)
                return;
            this.#top = Math.max(this.#top, ctx.offset ?? 0);
            this.#listener.live({ offset: ctx.offset, data: ctx.data }, ctx.tags ?? {});
        });
        // Outside of browsers nobody tells.
        globalThis.addEventListener?.("online", this.#onNetwork);
        globalThis.addEventListener?.("offline", this.#onNetwork);
        client.connect();
    }
    stop() {
        this.#stopped = true;
        globalThis.removeEventListener?.("online", this.#onNetwork);
        globalThis.removeEventListener?.("offline", this.#onNetwork);
        this.#client.disconnect();
        this.#client.removeAllListeners();
    }
    /** Connects again after a terminal disconnect, or at once instead of waiting for the backoff. */
    retry() {
        this.#client.disconnect();
        this.#client.connect();
    }
    /** A new token from the page; used at the next connect. */
    setToken(token) {
        this.#token = token;
        this.#client.setToken(token);
        if (this.#status.state === "error")
            this.#client.connect();
    }
    /** The token that authenticates this connection, for HTTP calls of the same user. */
    async token() {
        return this.#token === "" ? this.refreshToken() : this.#token;
    }
    get canRefresh() {
        return this.#options.getToken !== null;
    }
    /** Asks the page for a token. */
    async refreshToken() {
        if (this.#options.getToken !== null)
            this.#token = await this.#options.getToken();
        return this.#token;
    }
    /** One more page of history before the oldest known message. */
    async loadEarlier() {
        const channel = this.#channel;
        if (channel === null || !Number.isFinite(this.#bottom))
            return;
        await this.#page(channel, { offset: this.#bottom, epoch: this.#epoch });
    }
    /** Loads again what failed to load. */
    async reload() {
        if (this.#channel !== null)
            await this.#load(this.#channel);
    }
    #connecting(code, reason) {
        const offline = globalThis.navigator?.onLine === false;
        const again = this.#wasConnected || code !== 0;
        this.#report({ state: offline ? "offline" : again ? "reconnecting" : "connecting", code, reason });
    }
    #networkChanged() {
        const { state, code, reason } = this.#status;
        if (state === "connecting" || state === "reconnecting" || state === "offline")
            this.#connecting(code, reason);
    }
    #report(status) {
        this.#status = status;
        if (!this.#stopped)
            this.#listener.status(status);
    }
    #subscribed(ctx) {
        if (this.#stopped)
            return;
        if (this.#channel === null && ctx.channel.startsWith(INBOX_PREFIX))
            this.#channel = ctx.channel;
        if (ctx.channel !== this.#channel)
            return;
        const before = this.#top;
        const epoch = ctx.streamPosition?.epoch ?? "";
        if (epoch !== this.#epoch) {
            this.#top = 0;
            this.#hole = null;
            this.#bottom = Number.POSITIVE_INFINITY;
        }
        else if (!ctx.recovered && this.#historyLoaded && this.#hole === null)
            this.#hole = before;
        this.#epoch = epoch;
        this.#top = Math.max(this.#top, ctx.streamPosition?.offset ?? 0);
        this.#listener.position(ctx.channel, epoch, ctx.streamPosition?.offset ?? 0);
        // Recovered: the library delivers what was missed. Else history fills the hole, back to the
        // last message seen before.
        if (!(ctx.recovered && this.#historyLoaded))
            void this.#load(ctx.channel);
    }
    /** The newest page, and when there is a hole the pages down to its beginning. */
    async #load(channel) {
        this.#historyLoaded = false;
        const known = this.#hole;
        const missed = [];
        let since;
        for (let loaded = 0; loaded < MAX_ITEMS; loaded += this.#limit) {
            const page = await this.#page(channel, since);
            // Failed half-way: the hole stays open for the next attempt.
            if (page === null)
                return;
            if (known === null)
                break;
            missed.push(...page.publications.filter((publication) => (publication.offset ?? 0) > known));
            if (!page.more || page.oldest <= known)
                break;
            since = { offset: page.oldest, epoch: this.#epoch };
        }
        this.#historyLoaded = true;
        this.#hole = null;
        if (known !== null)
            this.#listener.missed(missed.reverse());
    }
    get #limit() {
        return Math.min(MAX_PAGE, Math.max(1, Math.trunc(this.#options.pageSize) || 1));
    }
    /** One page of history, or null when it failed. */
    async #page(channel, since) {
        const limit = this.#limit;
        try {
            const { publications } = await this.#client.history(channel, { limit, reverse: true, ...(since && { since }) });
            if (this.#stopped)
                return null;
            const oldest = Math.min(...publications.map((publication) => publication.offset ?? 0), Number.POSITIVE_INFINITY);
            this.#bottom = Math.min(this.#bottom, oldest);
            // A short page proves nothing, an operator may have lowered the edge's limit: the end is an empty one.
            const more = publications.length > 0 && oldest > 1;
            this.#listener.history(publications, more);
            return { publications, oldest, more };
        }
        catch (error) {
            const reason = error instanceof Error ? error.message : errorText(error);
            // A lost connection is no failure: the reconnect loads again.
            if (!this.#stopped && this.#status.state === "connected")
                this.#listener.historyFailed(reason);
            return null;
        }
    }
}
function errorText(error) {
    const message = typeof error === "object" && error !== null ? error.message : error;
    return typeof message === "string" ? message : "unknown error";
}
