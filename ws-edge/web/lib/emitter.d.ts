/** Events with types, for code that has no DOM. A listener that throws does not silence the others. */
export declare class Emitter<Events extends object> {
    #private;
    /** Calls `listener` at every such event; the returned function ends that. */
    on<Name extends keyof Events>(name: Name, listener: (detail: Events[Name]) => void): () => void;
    emit<Name extends keyof Events>(name: Name, detail: Events[Name]): void;
}
