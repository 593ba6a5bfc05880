/**
 * The chime: two soft partials from the browser's own synthesizer, no file. Silent until the user
 * has touched the page (browsers would refuse), at most once in a while, and in one tab only.
 * Writes the mute switch to localStorage, where every tab of the origin finds it.
 */
export declare function isMuted(): boolean;
export declare function setMuted(muted: boolean): void;
export declare class Chime {
    #private;
    /** Rings for the notification `id`, unless this or another tab has just done so. */
    ring(id: string, now: number): Promise<void>;
}
