/** The looks of the panel and of its rows. Logical sides only: right-to-left pages get their mirror image. */
export declare const panel: import("lit").CSSResult;
export declare const rows: import("lit").CSSResult;
