/** Arabic: written from right to left, and counts in six forms. */
import type { Language } from "../labels.ts";
export declare const ARABIC: Language;
