/** Spanish. */
import type { Language } from "../labels.ts";
export declare const SPANISH: Language;
