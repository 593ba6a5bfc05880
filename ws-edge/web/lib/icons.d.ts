/** The drawings of the element, in the current text colour. */
import type { TemplateResult } from "lit";
export declare const bellIcon: TemplateResult;
export declare const closeIcon: TemplateResult;
export declare const linkIcon: TemplateResult;
export declare const archiveIcon: TemplateResult;
export declare const restoreIcon: TemplateResult;
export declare const soundIcon: TemplateResult;
export declare const mutedIcon: TemplateResult;
