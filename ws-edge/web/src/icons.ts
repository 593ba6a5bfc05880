/** The drawings of the element, in the current text colour. */

import { svg } from "lit";
import type { TemplateResult } from "lit";

function icon(paths: TemplateResult, className: string): TemplateResult {
  return svg`<svg class=${className} viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor"
    stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">${paths}</svg>`;
}

export const bellIcon = icon(
  svg`<path d="M12 3.2v1.3"/><path d="M12 4.5c-3.2 0-5.4 2.3-5.6 5.5-.2 3.6-.9 5-2.1 6.3-.5.5-.1 1.4.6 1.4h14.2c.7 0 1.1-.9.6-1.4-1.2-1.3-1.9-2.7-2.1-6.3-.2-3.2-2.4-5.5-5.6-5.5Z"/><path class="clapper" d="M9.8 20.3c.5.7 1.3 1.1 2.2 1.1s1.7-.4 2.2-1.1"/>`,
  "icon bell",
);
export const closeIcon = icon(svg`<path d="m6.5 6.5 11 11m0-11-11 11"/>`, "icon small");
export const linkIcon = icon(svg`<path d="M8.5 15.5 15.5 8.5M9.5 8.5h6v6"/>`, "icon tiny");
export const archiveIcon = icon(svg`<path d="M4 5h16v4H4zM5.500 9v9.500h13V9M10 13h4"/>`, "icon small");
export const restoreIcon = icon(svg`<path d="M4 12a8 8 0 1 0 2.600-5.900M4 4.500v4.700h4.700"/>`, "icon small");
export const soundIcon = icon(svg`<path d="M4.500 9.500v5h3.300l4.200 3.700V5.800L7.800 9.500ZM15.500 9a4.200 4.200 0 0 1 0 6M18 6.500a7.800 7.800 0 0 1 0 11"/>`, "icon small");
export const mutedIcon = icon(svg`<path d="M4.500 9.500v5h3.300l4.200 3.700V5.800L7.800 9.500ZM15.500 9.500l5 5m0-5-5 5"/>`, "icon small");
