/** Small pieces that several views use. */
import { html } from "lit";
import { languageChanged } from "./bell.ts";
import { setLanguage, state, words } from "./state.ts";
import type { Language } from "./words.ts";

export function languageSwitch() {
  const choose = (event: Event) => {
    setLanguage((event.currentTarget as HTMLSelectElement).value as Language);
    // After the page took the language.
    setTimeout(languageChanged);
  };
  return html`<select aria-label=${words().language} @change=${choose} data-draw>
    <option value="en" ?selected=${state.language === "en"} lang="en">English</option>
    <option value="es" ?selected=${state.language === "es"} lang="es">Español</option>
  </select>`;
}

/** A text with its mentions marked. */
export function marked(text: string, handles: Set<string>) {
  return text.split(/(@[a-z][a-z0-9_-]*)/gi).map((part) =>
    part.startsWith("@") && handles.has(part.slice(1).toLowerCase()) ? html`<span class="call">${part}</span>` : part);
}
