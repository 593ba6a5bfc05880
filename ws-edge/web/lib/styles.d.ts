/**
 * The looks of the element. Constructable style sheets only: works under a content security policy
 * without 'unsafe-inline'. Every colour and measure can be replaced through `--campana-…`.
 */
export declare const styles: import("lit").CSSResult[];
