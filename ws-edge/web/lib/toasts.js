/**
 * Which toasts are on the screen, as a value. Pure: time-outs and drawing belong to the element.
 */
/** More than this at once is noise: the rest becomes "and 47 more". */
export const MAX_TOASTS = 3;
/** On a phone a toast is as wide as the screen: one must do. */
export const MAX_TOASTS_PHONE = 1;
export const NO_TOASTS = { shown: [], more: 0 };
/** A new arrival: the newest `limit` stay visible, older ones are counted. */
export function addToast(state, item, limit) {
    const shown = [...state.shown, item];
    const over = Math.max(0, shown.length - limit);
    return { shown: shown.slice(over), more: state.more + over };
}
/** Dismissed, read or timed out. With the last one the count goes as well. */
export function removeToasts(state, ids) {
    const shown = state.shown.filter((item) => !ids.has(item.id));
    return shown.length === 0 ? NO_TOASTS : { shown, more: state.more };
}
