/**
 * Where the panel goes: below the bell and aligned with the nearer edge, above it where there is
 * no room below, the whole width on a phone. Pure.
 */
const GAP = 8;
const MARGIN = 8;
const PHONE = 480;
export function placePanel(bell, width, height) {
    const below = height - bell.bottom - GAP - MARGIN;
    const above = bell.top - GAP - MARGIN;
    const under = below >= above || below >= 360;
    const vertical = under
        ? { top: px(bell.bottom + GAP), bottom: "auto", maxHeight: px(Math.max(160, below)) }
        : { top: "auto", bottom: px(height - bell.top + GAP), maxHeight: px(Math.max(160, above)) };
    if (width <= PHONE)
        return { ...vertical, left: px(MARGIN), right: px(MARGIN) };
    const toRight = (bell.left + bell.right) / 2 >= width / 2;
    const horizontal = toRight
        ? { left: "auto", right: px(Math.max(MARGIN, width - bell.right)) }
        : { left: px(Math.max(MARGIN, bell.left)), right: "auto" };
    return { ...vertical, ...horizontal };
}
function px(value) {
    return `${Math.round(value)}px`;
}
