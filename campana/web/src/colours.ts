// Colours by the names that the dashboards use, and a row of distinct ones for series. Those of series keep
// enough contrast to both the light and the dark card.

const NAMES: Record<string, string> = {
  green: "#2f9e62", red: "#d64545", yellow: "#a67c00", orange: "#d97706", blue: "#3b82c4", purple: "#8f5fd0", transparent: "transparent",
};

const SERIES = ["#3b82c4", "#d97706", "#2f9e62", "#d64545", "#8f5fd0", "#0e9aa7", "#c0538f", "#8a8d22", "#7a6a5d", "#5b6ee1", "#b5651d", "#3d9a8b"];

export function colour(name: string | undefined): string {
  return NAMES[name ?? "blue"] ?? name ?? "#3b82c4";
}

export function seriesColour(at: number): string {
  return SERIES[at % SERIES.length] ?? "#3b82c4";
}

/** A value of the page's own palette, as it is in light or dark. */
export function token(name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
