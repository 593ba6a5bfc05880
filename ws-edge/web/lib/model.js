/** What the templates draw, and what they call. */
export {};
