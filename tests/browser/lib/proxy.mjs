// A TCP relay between the browser and the edge that can be cut like a cable: what is open is reset,
// what comes later is refused. Never looks at the bytes.

import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Cable {
  #server;
  #sockets = new Set();
  #cut = false;
  /** Connections that were taken, to see that the browser really goes through here. */
  taken = 0;

  static async to(host, port) {
    const cable = new Cable();
    cable.#server = createServer((inner) => cable.#relay(inner, host, port));
    cable.#server.listen(0, "127.0.0.1");
    await once(cable.#server, "listening");
    return cable;
  }

  get port() {
    return this.#server.address().port;
  }

  cut() {
    this.#cut = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  mend() {
    this.#cut = false;
  }

  async close() {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  #relay(inner, host, port) {
    this.#keep(inner);
    if (this.#cut) {
      inner.resetAndDestroy();
      return;
    }
    this.taken += 1;
    const outer = connect(port, host);
    this.#keep(outer);
    inner.pipe(outer).pipe(inner);
    inner.on("close", () => outer.destroy());
    outer.on("close", () => inner.destroy());
  }

  #keep(socket) {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    // A reset connection is what this is for.
    socket.on("error", () => {});
  }
}
