// Numbers as people read them, by Grafana's names of units. Pure.

const THOUSANDS: [number, string][] = [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]];
const BINARY: [number, string][] = [[2 ** 40, " TiB"], [2 ** 30, " GiB"], [2 ** 20, " MiB"], [2 ** 10, " KiB"]];
const RATES: Record<string, string> = { reqps: " req/s", ops: " /s", mps: " msg/s" };

export function format(value: number, unit = "short", decimals?: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "–" : value > 0 ? "∞" : "-∞";
  switch (unit) {
    case "s": return seconds(value, decimals);
    case "bytes": return scaled(value, BINARY, " B", decimals);
    case "Bps": return `${scaled(value, BINARY, " B", decimals)}/s`;
    case "percentunit": return `${short(value * 100, decimals)} %`;
    case "percent": return `${short(value, decimals)} %`;
    case "reqps": case "ops": case "mps": return `${scaled(value, THOUSANDS, "", decimals)}${RATES[unit]}`;
    default: return scaled(value, THOUSANDS, "", decimals);
  }
}

function seconds(value: number, decimals?: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 0.001) return `${short(value * 1e6, decimals)} µs`;
  if (size < 1) return `${short(value * 1e3, decimals)} ms`;
  if (size < 120) return `${short(value, decimals)} s`;
  if (size < 7200) return `${short(value / 60, decimals)} min`;
  if (size < 172_800) return `${short(value / 3600, decimals)} h`;
  return `${short(value / 86_400, decimals)} d`;
}

function scaled(value: number, steps: [number, string][], base: string, decimals?: number): string {
  const step = steps.find(([size]) => Math.abs(value) >= size);
  return step ? `${short(value / step[0], decimals)}${step[1]}` : `${short(value, decimals)}${base}`;
}

/** Three digits that count; no zeros behind. */
function short(value: number, decimals?: number): string {
  if (decimals !== undefined) return trimmed(value.toFixed(decimals));
  const size = Math.abs(value);
  const places = size === 0 || Number.isInteger(value) ? 0 : size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return trimmed(value.toFixed(places));
}

function trimmed(text: string): string {
  return text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
}

/** A moment as short as the time range allows: seconds in minutes, the day in days. */
export function clock(seconds: number, range: { start: number; end: number }): string {
  const shown = range.end - range.start;
  const time = new Date(seconds * 1000);
  const two = (part: number) => String(part).padStart(2, "0");
  const minutes = `${two(time.getHours())}:${two(time.getMinutes())}`;
  if (shown <= 900) return `${minutes}:${two(time.getSeconds())}`;
  return shown > 86_400 ? `${two(time.getMonth() + 1)}-${two(time.getDate())} ${minutes}` : minutes;
}

/** `now-1h` as seconds. */
export function duration(text: string): number {
  const found = /(\d+)([smhd])$/.exec(text);
  if (!found) return 3600;
  return Number(found[1]) * ({ s: 1, m: 60, h: 3600, d: 86_400 }[found[2] as "s" | "m" | "h" | "d"]);
}
