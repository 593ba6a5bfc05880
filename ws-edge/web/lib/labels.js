/**
 * Every word the element shows, and how a language makes them. A page replaces single words
 * (`bell.labels = {…}`) or adds a language (`CampanaBell.addLanguage("pt", labels => …)`).
 */
import { ARABIC } from "./words/ar.js";
import { GERMAN } from "./words/de.js";
import { ENGLISH } from "./words/en.js";
import { SPANISH } from "./words/es.js";
import { FRENCH } from "./words/fr.js";
const languages = new Map([
    ["en", ENGLISH],
    ["de", GERMAN],
    ["fr", FRENCH],
    ["es", SPANISH],
    ["ar", ARABIC],
]);
const made = new Map();
/** Adds a language, or replaces one. `tag` is a language ("pt") or one of its regions ("pt-BR"). */
export function addLanguage(tag, language) {
    languages.set(tag.toLowerCase(), language);
    made.clear();
}
/** The words for a language tag: of its region, of its language, or null if nobody knows it. */
export function labelsFor(tag) {
    if (tag === undefined)
        return null;
    const known = made.get(tag);
    if (known !== undefined)
        return known;
    const lower = tag.toLowerCase();
    const language = languages.get(lower) ?? languages.get(lower.split("-")[0] ?? "");
    if (language === undefined)
        return null;
    const labels = language(pluralOf(tag));
    made.set(tag, labels);
    return labels;
}
/** `{n}` becomes the number as the language writes it. */
export function pluralOf(tag) {
    const rules = new Intl.PluralRules(tag);
    const digits = new Intl.NumberFormat(tag);
    return (count, forms) => (forms[rules.select(count)] ?? forms.other).replace("{n}", digits.format(count));
}
export const DEFAULT_LABELS = ENGLISH(pluralOf("en"));
