/** Times for people: "3 min ago" beside the exact moment. Pure: the present is a parameter. */
/** How long ago `iso` was, in the words of `locale`; older than a week: the date. */
export declare function relativeTime(iso: string, now: number, locale: string | undefined, justNow: string): string;
/** The exact moment, for a tooltip. */
export declare function exactTime(iso: string, locale: string | undefined): string;
/** What the badge shows, in the digits of `locale`; beyond two nobody counts. */
export declare function badgeText(count: number, locale?: string | undefined): string;
/** A language tag the formatters accept, or undefined: they throw on tags such as "en_US". */
export declare function safeLocale(tag: string | null | undefined): string | undefined;
