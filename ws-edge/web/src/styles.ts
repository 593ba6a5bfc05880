/**
 * The looks of the element. Constructable style sheets only: works under a content security policy
 * without 'unsafe-inline'. Every colour and measure can be replaced through `--campana-…`.
 */

import { css } from "lit";

const base = css`
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

const bell = css`
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
  @keyframes swing {
    0%, 100% { transform: rotate(0); }
    15% { transform: rotate(16deg); }
    35% { transform: rotate(-13deg); }
    55% { transform: rotate(8deg); }
    75% { transform: rotate(-4deg); }
  }
`;

const panel = css`
  .panel {
    position: fixed; margin: 0; padding: 0; inset: auto; width: var(--campana-panel-width, 392px); max-width: calc(100vw - 16px);
    background: var(--_surface); color: var(--_text); border: 1px solid var(--_line); border-radius: var(--_radius);
    box-shadow: var(--_shadow); overflow: hidden; flex-direction: column; outline: none;
  }
  .panel:popover-open { display: flex; animation: appear 140ms ease-out; }
  .panel.wide { width: auto; }
  @keyframes appear { from { opacity: 0; transform: translateY(-6px); } }
  .head { display: flex; align-items: center; gap: 8px; padding: 12px 10px 10px 18px; border-bottom: 1px solid var(--_line); }
  h2 { margin: 0; font-size: 16px; font-weight: 650; letter-spacing: -0.01em; }
  .count {
    padding: 1px 8px; border-radius: 99px; background: var(--_fresh); color: var(--_accent);
    font-size: 12.5px; font-weight: 650; font-variant-numeric: tabular-nums;
  }
  .count[hidden] { display: none; }
  .head .text-button { margin-inline-start: auto; }
  .text-button { color: var(--_accent); font-size: 13.5px; font-weight: 600; padding: 7px 9px; border-radius: 8px; white-space: nowrap; }
  .text-button:hover:not(:disabled) { background: var(--_hover); }
  .text-button:disabled { color: var(--_muted); opacity: 0.65; cursor: default; }
  .icon-button { display: grid; place-items: center; width: 34px; height: 34px; border-radius: 8px; color: var(--_muted); flex: none; }
  .icon-button:hover { background: var(--_hover); color: var(--_text); }
  .scroll { overflow-y: auto; overscroll-behavior: contain; flex: 1 1 auto; min-height: 0; max-height: min(520px, 70vh); }
  ol { list-style: none; margin: 0; padding: 0; }
  li + li { border-top: 1px solid var(--_line); }
  .row {
    display: grid; grid-template-columns: 10px minmax(0, 1fr) auto; column-gap: 10px; width: 100%; padding: 12px 16px 13px 14px;
    color: inherit; text-decoration: none; transition: background-color 120ms;
  }
  .row:hover { background: var(--_hover); }
  .row:focus-visible { outline-offset: -3px; border-radius: 6px; }
  li.unread .row { background: var(--_fresh); }
  li.unread .row:hover { background: var(--_hover); }
  .dot { width: 8px; height: 8px; border-radius: 50%; margin-top: 7px; background: transparent; }
  li.unread .dot { background: var(--_accent); }
  .title { font-weight: 500; overflow-wrap: anywhere; }
  li.unread .title { font-weight: 650; }
  .body {
    grid-column: 2 / -1; color: var(--_muted); font-size: 14px; overflow-wrap: anywhere; white-space: pre-line;
    display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden;
  }
  time { color: var(--_muted); font-size: 12.5px; white-space: nowrap; padding-top: 2px; }
  .empty { padding: 44px 32px 48px; text-align: center; color: var(--_muted); }
  .empty .icon { margin: 0 auto 12px; width: 38px; height: 38px; opacity: 0.45; }
  .empty strong { display: block; color: var(--_text); font-weight: 600; margin-bottom: 2px; }
  .notice { display: flex; align-items: center; gap: 8px; padding: 9px 10px 9px 18px; font-size: 13.5px; color: var(--_danger); border-bottom: 1px solid var(--_line); }
  .notice span { flex: 1; }
  .earlier { display: block; margin: 6px auto 8px; }
  .foot { display: flex; align-items: center; gap: 8px; min-height: 40px; padding: 4px 10px 4px 18px; border-top: 1px solid var(--_line); font-size: 13px; color: var(--_muted); }
  .foot .state { flex: 1; display: flex; align-items: center; gap: 8px; }
  .foot .state::before { content: ""; width: 8px; height: 8px; border-radius: 50%; background: var(--_muted); flex: none; }
  .foot .connected::before { background: var(--_ok); }
  .foot .error { color: var(--_danger); }
  .foot .error::before { background: var(--_danger); }
  .foot .connecting::before, .foot .reconnecting::before { animation: pulse 1.2s ease-in-out infinite; }
  @keyframes pulse { 50% { opacity: 0.25; } }
`;

const toasts = css`
  .toasts {
    position: fixed; inset: auto 16px 16px auto; margin: 0; padding: 0; border: 0; background: none; overflow: visible;
    width: 344px; max-width: calc(100vw - 24px); color: var(--_text); pointer-events: none;
  }
  .toast {
    pointer-events: auto; display: flex; align-items: flex-start; margin-top: 10px; background: var(--_surface);
    border: 1px solid var(--_line); border-radius: var(--_radius); box-shadow: var(--_shadow); animation: rise 180ms ease-out;
  }
  .toast-main { flex: 1; min-width: 0; display: flex; gap: 12px; padding: 12px 4px 13px 14px; border-radius: var(--_radius); }
  .toast-main .icon { color: var(--_accent); flex: none; width: 22px; height: 22px; }
  .toast-text { min-width: 0; }
  .toast .title { display: block; font-weight: 650; }
  .toast .body { -webkit-line-clamp: 2; }
  .toast .icon-button { margin: 6px 6px 0 0; }
  .more { pointer-events: none; text-align: center; font-size: 13px; color: var(--_muted); padding: 6px 12px; margin: 10px auto 0; width: fit-content; background: var(--_surface); border: 1px solid var(--_line); border-radius: 99px; }
  @keyframes rise { from { opacity: 0; transform: translateY(10px); } }
  @media (max-width: 480px) { .toasts { inset: auto 12px 12px 12px; width: auto; } }
`;

const calm = css`
  @media (prefers-reduced-motion: reduce) {
    *, *::before, *::after { animation: none !important; transition: none !important; }
  }
  @media (forced-colors: active) {
    li.unread .dot, .badge, .state-dot, .foot .state::before { forced-color-adjust: none; }
  }
`;

export const styles = [base, bell, panel, toasts, calm];
