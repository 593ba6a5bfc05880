// The running platform as the checks see it: its addresses, and its HTTP API.
// Everything that is sent goes through the same API as anybody's notifications.

const TIMEOUT_MS = 15_000;

export class Platform {
  #session = null;

  constructor(gateway, sandbox) {
    this.gateway = gateway.replace(/\/$/, "");
    this.sandbox = sandbox.replace(/\/$/, "");
  }

  /** The demo's own session: an API key that may send, and where the edge is. */
  async session() {
    this.#session ??= await this.#post("/demo/session", { user: "checks" }, {});
    return this.#session;
  }

  async edge() {
    return new URL((await this.session()).ws_url);
  }

  /** One notification to the bell of `user` (a name, or a recipient with addresses); resolves with its id once it is accepted. */
  async notify(user, title, extra = {}) {
    const { id } = await this.#send("/v1/notifications", one(user, title, extra));
    return id;
  }

  /** As many in one request; resolves with their ids in the order of the titles. */
  async notifyAll(user, titles) {
    const notifications = titles.map((title) => one(user, title, {}));
    const { results } = await this.#send("/v1/notifications/batch", { notifications });
    return results.map((result) => {
      if (result.status !== "accepted") throw new Error(`not accepted: ${JSON.stringify(result.error)}`);
      return result.id;
    });
  }

  /** What the sandbox recorded that contains `text`. */
  async sandboxMessages(text) {
    const { data } = await json(await fetch(`${this.sandbox}/api/messages?${new URLSearchParams({ q: text })}`));
    return data;
  }

  async openapi() {
    return json(await fetch(`${this.gateway}/openapi.json`, { signal: AbortSignal.timeout(TIMEOUT_MS) }));
  }

  async #send(path, body) {
    const { api_key: key } = await this.session();
    return this.#post(path, body, { authorization: `Bearer ${key}` });
  }

  async #post(path, body, headers) {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const init = { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body), signal };
    return json(await fetch(this.gateway + path, init));
  }
}

function one(user, title, extra) {
  return { to: user, content: { title, body: `For ${user.id ?? user}` }, channels: ["in_app"], ...extra };
}

async function json(answer) {
  if (!answer.ok) throw new Error(`${answer.url} answered ${answer.status}: ${await answer.text()}`);
  return answer.json();
}

/** Every check has users of its own, so that checks and repeated runs cannot disturb each other. */
export function freshUser(name) {
  const unique = Date.now().toString(36) + Math.floor(Math.random() * 46_656).toString(36);
  return `${name}-${unique}`;
}
