// Watches a page from its first byte: what it asks for, what it complains about, what its policy
// refused. Reads: the browser's events. Never: changes what the page does.

import { same } from "./expect.mjs";

const HERE = new Set(["127.0.0.1", "localhost", "[::1]"]);

export class Guard {
  errors = [];
  foreign = [];
  sockets = [];
  requests = 0;

  static async on(page) {
    const guard = new Guard();
    page.on("console", (line) => line.type() === "error" && guard.errors.push(`console: ${line.text()} (${line.location().url})`));
    page.on("pageerror", (error) => guard.errors.push(`uncaught: ${error.message}`));
    page.on("request", (request) => guard.#address(request.url()));
    page.on("websocket", (socket) => {
      guard.sockets.push(socket.url());
      guard.#address(socket.url());
    });
    await page.exposeFunction("campanaPolicyRefused", (what) => guard.errors.push(`policy: ${what}`));
    await page.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => {
        globalThis.campanaPolicyRefused(`${event.violatedDirective} refused ${event.blockedURI || event.sourceFile || "inline code"}`);
      });
    });
    return guard;
  }

  /** Nothing went wrong so far. `expected`: complaints that belong to what the check provokes. */
  clean(expected = /^$/) {
    same(this.foreign, [], "requests that leave this machine");
    same(this.errors.filter((text) => !expected.test(text)), [], "complaints of the page");
  }

  #address(url) {
    this.requests += 1;
    const { protocol, hostname } = new URL(url);
    if (protocol === "data:" || protocol === "blob:") return;
    if (!HERE.has(hostname)) this.foreign.push(url);
  }
}
