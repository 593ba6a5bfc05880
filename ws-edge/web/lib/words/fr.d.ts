/** French: zero counts as one, and there is a form for millions. */
import type { Language } from "../labels.ts";
export declare const FRENCH: Language;
