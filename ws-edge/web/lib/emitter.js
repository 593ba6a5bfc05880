/** Events with types, for code that has no DOM. A listener that throws does not silence the others. */
export class Emitter {
    #listeners = new Map();
    /** Calls `listener` at every such event; the returned function ends that. */
    on(name, listener) {
        const own = this.#listeners.get(name) ?? new Set();
        this.#listeners.set(name, own);
        own.add(listener);
        return () => void own.delete(listener);
    }
    emit(name, detail) {
        for (const listener of [...(this.#listeners.get(name) ?? [])]) {
            try {
                listener(detail);
            }
            catch (error) {
                // As the DOM does it: reported, and the next one is called.
                if (typeof globalThis.reportError === "function")
                    globalThis.reportError(error);
                else
                    console.error(error);
            }
        }
    }
}
