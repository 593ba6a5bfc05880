/** German. */
import type { Language } from "../labels.ts";
export declare const GERMAN: Language;
