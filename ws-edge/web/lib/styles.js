/**
 * The looks of the element. Constructable style sheets only: works under a content security policy
 * without 'unsafe-inline'. Every colour and measure can be replaced through `--campana-…`.
 */
import { css } from "lit";
import { panel, rows } from "./styles-panel.js";
const base = css `
  :host {
    --_accent: var(--campana-accent, light-dark(#a8480a, #f2a65e));
    --_on-accent: var(--campana-on-accent, light-dark(#ffffff, #21150a));
    --_surface: var(--campana-surface, light-dark(#ffffff, #1f1c19));
    --_hover: var(--campana-hover, light-dark(#f7f3ee, #2a2622));
    --_fresh: var(--campana-fresh, light-dark(#fdf6ee, #2a221a));
    --_text: var(--campana-text, light-dark(#221e1a, #f3eee8));
    --_muted: var(--campana-muted, light-dark(#6a625a, #aaa198));
    --_line: var(--campana-line, light-dark(#e9e2da, #38322c));
    --_danger: var(--campana-danger, light-dark(#b3261e, #ff8a7f));
    --_badge: var(--campana-badge, light-dark(#c62828, #ff6f61));
    --_on-badge: var(--campana-on-badge, light-dark(#ffffff, #2b0703));
    --_ok: var(--campana-ok, light-dark(#2e7d4f, #7fd6a2));
    --_radius: var(--campana-radius, 14px);
    --_shadow: var(--campana-shadow, 0 1px 2px rgb(30 20 10 / 8%), 0 16px 48px -8px rgb(30 20 10 / 28%));
    --_bell: var(--campana-bell-size, 44px);
    color-scheme: light dark;
    display: inline-block;
    position: relative;
    font-family: var(--campana-font, system-ui, sans-serif);
    font-size: 15px;
    line-height: 1.45;
  }
  :host([hidden]) { display: none; }
  :host([theme="light"]) { color-scheme: light; }
  :host([theme="dark"]) { color-scheme: dark; }
  *, *::before, *::after { box-sizing: border-box; }
  button { font: inherit; color: inherit; background: none; border: 0; padding: 0; margin: 0; cursor: pointer; text-align: inherit; }
  :focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px; }
  .icon { display: block; }
  .icon.small { width: 18px; height: 18px; }
  .icon.tiny { width: 14px; height: 14px; display: inline-block; vertical-align: -2px; }
  .sr {
    position: absolute; width: 1px; height: 1px; margin: -1px; padding: 0; overflow: hidden;
    clip-path: inset(50%); white-space: nowrap; border: 0;
  }
`;
const bell = css `
  .bell-button {
    display: grid; place-items: center; position: relative;
    width: var(--_bell); height: var(--_bell); border-radius: 50%;
    color: inherit; transition: background-color 120ms;
  }
  .bell-button:hover, :host([open]) .bell-button { background: color-mix(in srgb, currentColor 9%, transparent); }
  .bell { transform-origin: 50% 12%; }
  .bell-button.ringing .bell { animation: swing 900ms cubic-bezier(0.3, 0, 0.3, 1); }
  .bell-button.waiting .bell { opacity: 0.5; }
  .badge {
    position: absolute; top: 1px; inset-inline-end: -2px; min-width: 22px; height: 22px; padding: 0 4px;
    border-radius: 11px; border: 2px solid var(--campana-badge-ring, Canvas);
    display: grid; place-items: center; background: var(--_badge); color: var(--_on-badge);
    font-size: 11px; font-weight: 700; line-height: 1; font-variant-numeric: tabular-nums;
  }
  .badge.long { inset-inline-end: -10px; }
  .state-dot {
    position: absolute; bottom: 9px; inset-inline-end: 8px; width: 10px; height: 10px; border-radius: 50%;
    background: var(--_muted); border: 2px solid var(--campana-badge-ring, Canvas); box-sizing: content-box;
  }
  .state-dot.error { background: var(--_danger); }
  .spinner {
    display: inline-block; width: 16px; height: 16px; border-radius: 50%; flex: none;
    border: 2px solid var(--_line); border-top-color: var(--_accent); animation: turn 800ms linear infinite;
  }
  @keyframes turn { to { transform: rotate(1turn); } }
  @keyframes swing {
    0%, 100% { transform: rotate(0); }
    15% { transform: rotate(16deg); }
    35% { transform: rotate(-13deg); }
    55% { transform: rotate(8deg); }
    75% { transform: rotate(-4deg); }
  }
`;
const toasts = css `
  .toasts {
    position: fixed; inset: auto; bottom: 16px; inset-inline-end: 16px; margin: 0; padding: 0; border: 0; background: none; overflow: visible;
    width: 344px; max-width: calc(100vw - 24px); color: var(--_text); pointer-events: none;
  }
  .toast {
    pointer-events: auto; display: flex; align-items: flex-start; margin-top: 10px; background: var(--_surface);
    border: 1px solid var(--_line); border-radius: var(--_radius); box-shadow: var(--_shadow); animation: rise 180ms ease-out;
  }
  .toast-main { flex: 1; min-width: 0; display: flex; gap: 12px; padding-block: 12px 13px; padding-inline: 14px 4px; border-radius: var(--_radius); }
  .toast-main .icon { color: var(--_accent); flex: none; width: 22px; height: 22px; }
  .toast-text { min-width: 0; }
  .toast .title { display: block; font-weight: 650; }
  .toast .body { -webkit-line-clamp: 2; }
  .toast .icon-button { margin-block-start: 6px; margin-inline-end: 6px; }
  .more { pointer-events: none; text-align: center; font-size: 13px; color: var(--_muted); padding: 6px 12px; margin: 10px auto 0; width: fit-content; background: var(--_surface); border: 1px solid var(--_line); border-radius: 99px; }
  @keyframes rise { from { opacity: 0; transform: translateY(10px); } }
  @media (max-width: 480px) { .toasts { bottom: max(12px, env(safe-area-inset-bottom)); inset-inline: 12px; width: auto; } }
`;
const calm = css `
  @media (prefers-reduced-motion: reduce) {
    *, *::before, *::after { animation: none !important; transition: none !important; }
  }
  @media (forced-colors: active) {
    li.unread .dot, .badge, .state-dot, .foot .state::before { forced-color-adjust: none; }
  }
`;
export const styles = [base, bell, panel, rows, toasts, calm];
