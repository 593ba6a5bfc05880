/**
 * The chime: two soft partials from the browser's own synthesizer, no file. Silent until the user
 * has touched the page (browsers would refuse), at most once in a while, and in one tab only.
 * Writes the mute switch to localStorage, where every tab of the origin finds it.
 */
import { firstOfAllTabs } from "./peers.js";
const MUTED_KEY = "campana-bell.muted";
/** A burst is one chime. */
const QUIET_MS = 1_500;
const LOUD = 0.12;
/** Frequency in hertz and start in seconds: a falling fourth. */
const NOTES = [
    [1_174.66, 0],
    [880, 0.13],
];
const RINGS_S = 0.9;
export function isMuted() {
    try {
        return localStorage.getItem(MUTED_KEY) === "true";
    }
    catch {
        // Storage may be forbidden; then the switch lives as long as the page.
        return mutedHere;
    }
}
export function setMuted(muted) {
    mutedHere = muted;
    try {
        if (muted)
            localStorage.setItem(MUTED_KEY, "true");
        else
            localStorage.removeItem(MUTED_KEY);
    }
    catch {
        // As above.
    }
}
let mutedHere = false;
export class Chime {
    #last = Number.NEGATIVE_INFINITY;
    /** Rings for the notification `id`, unless this or another tab has just done so. */
    async ring(id, now) {
        if (now - this.#last < QUIET_MS || typeof AudioContext !== "function")
            return;
        if (navigator.userActivation !== undefined && !navigator.userActivation.hasBeenActive)
            return;
        this.#last = now;
        if (await firstOfAllTabs(`chime ${id}`))
            play();
    }
}
function play() {
    const context = new AudioContext();
    const volume = context.createGain();
    volume.gain.value = LOUD;
    volume.connect(context.destination);
    let left = NOTES.length;
    for (const [hertz, after] of NOTES) {
        const start = context.currentTime + after;
        const [tone, fade] = [context.createOscillator(), context.createGain()];
        tone.frequency.value = hertz;
        fade.gain.setValueAtTime(0.0001, start);
        fade.gain.exponentialRampToValueAtTime(1, start + 0.015);
        fade.gain.exponentialRampToValueAtTime(0.0001, start + RINGS_S);
        tone.connect(fade).connect(volume);
        tone.onended = () => {
            left -= 1;
            if (left === 0)
                void context.close();
        };
        tone.start(start);
        tone.stop(start + RINGS_S);
    }
}
