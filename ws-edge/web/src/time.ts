/** Times for people: "3 min ago" beside the exact moment. Pure: the present is a parameter. */

const STEPS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** Formatters are dear to make and a list needs one per row: one of each kind per language. */
function formatters(locale: string | undefined): Formatters {
  const key = locale ?? "";
  const known = made.get(key);
  if (known !== undefined) return known;
  const fresh = {
    relative: new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: "short" }),
    date: new Intl.DateTimeFormat(locale, { dateStyle: "medium" }),
    exact: new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "medium" }),
    number: new Intl.NumberFormat(locale),
  };
  made.set(key, fresh);
  return fresh;
}

interface Formatters {
  readonly relative: Intl.RelativeTimeFormat;
  readonly date: Intl.DateTimeFormat;
  readonly exact: Intl.DateTimeFormat;
  readonly number: Intl.NumberFormat;
}

const made = new Map<string, Formatters>();

/** How long ago `iso` was, in the words of `locale`; older than a week: the date. */
export function relativeTime(iso: string, now: number, locale: string | undefined, justNow: string): string {
  const then = Date.parse(iso);
  if (Number.isNaN(then)) return "";
  // A server clock slightly ahead of this one must not say "in 2 seconds".
  const seconds = Math.max(0, Math.round((now - then) / 1_000));
  if (seconds >= 7 * 86_400) return formatters(locale).date.format(then);
  for (const [unit, size] of STEPS) {
    if (seconds >= size) return formatters(locale).relative.format(-Math.floor(seconds / size), unit);
  }
  return justNow;
}

/** The exact moment, for a tooltip. */
export function exactTime(iso: string, locale: string | undefined): string {
  const then = Date.parse(iso);
  if (Number.isNaN(then)) return "";
  return formatters(locale).exact.format(then);
}

/** What the badge shows, in the digits of `locale`; beyond two nobody counts. */
export function badgeText(count: number, locale?: string | undefined): string {
  const text = formatters(locale).number.format(Math.min(count, 99));
  return count > 99 ? `${text}+` : text;
}

/** A language tag the formatters accept, or undefined: they throw on tags such as "en_US". */
export function safeLocale(tag: string | null | undefined): string | undefined {
  if (tag === null || tag === undefined || tag === "") return undefined;
  try {
    return Intl.getCanonicalLocales(tag)[0];
  } catch {
    return undefined;
  }
}
