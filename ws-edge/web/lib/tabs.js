/** Which rows a tab shows. Pure. */
const BUILT_IN = {
    all: (item) => !item.archived,
    // A row does not vanish under the eye when it is read: see `keep` of `tabItems`.
    unread: (item) => !item.archived && !item.read,
    archived: (item) => item.archived,
};
export const DEFAULT_TABS = "all unread archived";
/** From the property's list, or the attribute's words: `all unread orders archived`, own ones are categories. */
export function parseTabs(choices) {
    const list = typeof choices === "string" ? choices.split(/[\s,]+/).filter((word) => word !== "") : choices;
    const tabs = list.map((choice) => (typeof choice === "string" ? named(choice) : own(choice)));
    const ids = new Set();
    return tabs.filter((tab) => !ids.has(tab.id) && ids.add(tab.id));
}
function named(word) {
    const shows = Object.hasOwn(BUILT_IN, word) ? BUILT_IN[word] : undefined;
    if (shows !== undefined)
        return { id: word, label: null, shows };
    const label = word.charAt(0).toLocaleUpperCase() + word.slice(1);
    return { id: word, label, shows: byMetadata({ category: word }) };
}
function own(choice) {
    const { id, label } = choice;
    if ("filter" in choice)
        return { id, label, shows: choice.filter };
    return { id, label, shows: byMetadata("category" in choice ? { category: choice.category } : choice.metadata) };
}
function byMetadata(wanted) {
    const pairs = Object.entries(wanted);
    return (item) => !item.archived && pairs.every(([key, value]) => item.metadata[key] === value);
}
/** The rows of a tab. `keep`: rows that stay until the tab is left, though they fit no more (read a moment ago). */
export function tabItems(items, tab, keep = new Set()) {
    return items.filter((item) => safely(tab, item) || (keep.has(item.id) && !item.archived));
}
/** A page's own filter that throws shows nothing instead of breaking the list. */
function safely(tab, item) {
    try {
        return tab.shows(item);
    }
    catch {
        return false;
    }
}
