/** English. */
import type { Language } from "../labels.ts";
export declare const ENGLISH: Language;
