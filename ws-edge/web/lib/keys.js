/** Where a key leads: rows of the list, their buttons, tabs. Pure. */
/** The place that a key leads to, or null if the key means nothing here. `rtl`: the page reads from right to left. */
export function listStep(key, at, rows, rtl) {
    const inward = rtl ? "ArrowLeft" : "ArrowRight";
    const outward = rtl ? "ArrowRight" : "ArrowLeft";
    if (key === inward || key === outward)
        return { row: at.row, act: key === inward };
    const row = { ArrowDown: at.row + 1, ArrowUp: at.row - 1, Home: 0, End: rows - 1 }[key];
    return row === undefined ? null : { row: Math.min(Math.max(row, 0), rows - 1), act: at.act };
}
/** The tab that a key leads to, round and round, or null. */
export function tabStep(key, at, tabs, rtl) {
    if (key === "Home")
        return 0;
    if (key === "End")
        return tabs - 1;
    if (key !== "ArrowRight" && key !== "ArrowLeft")
        return null;
    return (at + ((key === "ArrowRight") !== rtl ? 1 : -1) + tabs) % tabs;
}
/** Who gets the focus when a row goes away: the next one, else the one before, else nobody. */
export function afterRemoval(ids, gone) {
    const at = ids.indexOf(gone);
    return ids[at + 1] ?? ids[at - 1] ?? "";
}
