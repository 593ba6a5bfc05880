/**
 * Times as the clinic's clock shows them, whatever the visitor's own clock says. Pure.
 */

export type Language = "es" | "en";

const TAGS: Record<Language, string> = { es: "es", en: "en-GB" };

/** "martes, 3 de marzo", "Tuesday 3 March". */
export function day(language: Language, at: string, zone: string): string {
  return new Intl.DateTimeFormat(TAGS[language], { weekday: "long", day: "numeric", month: "long", timeZone: zone }).format(new Date(at));
}

/** "09:30" */
export function clock(language: Language, at: string, zone: string): string {
  return new Intl.DateTimeFormat(TAGS[language], { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: zone }).format(new Date(at));
}

/** "martes, 3 de marzo, 09:30" */
export function moment(language: Language, at: string, zone: string): string {
  return `${day(language, at, zone)}, ${clock(language, at, zone)}`;
}

/** The local date of a point in time, "2026-03-03", for grouping. */
export function dateOf(at: string, zone: string): string {
  return new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit", timeZone: zone }).format(new Date(at));
}

/** A date so many days later; dates have no zone. Of no date there is none. */
export function plusDays(date: string, days: number): string {
  if (date === "") return "";
  const at = new Date(`${date}T00:00:00Z`);
  at.setUTCDate(at.getUTCDate() + days);
  return at.toISOString().slice(0, 10);
}

/** The visitor's own language of the two that there are. */
export function preferred(languages: readonly string[]): Language {
  for (const tag of languages) {
    const first = tag.toLowerCase().split("-")[0];
    if (first === "es" || first === "en") return first;
  }
  return "en";
}
