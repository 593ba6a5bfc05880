/** The looks of the panel and of its rows. Logical sides only: right-to-left pages get their mirror image. */
import { css } from "lit";
export const panel = css `
  .panel {
    position: fixed; margin: 0; padding: 0; inset: auto; width: var(--campana-panel-width, 400px); max-width: calc(100vw - 16px);
    background: var(--_surface); color: var(--_text); border: 1px solid var(--_line); border-radius: var(--_radius);
    box-shadow: var(--_shadow); overflow: hidden; flex-direction: column; outline: none;
  }
  .panel:popover-open { display: flex; animation: appear 140ms ease-out; }
  .panel.wide { width: auto; }
  @keyframes appear { from { opacity: 0; transform: translateY(-6px); } }
  .head { display: flex; align-items: center; gap: 4px; padding-block: 12px 10px; padding-inline: 18px 10px; border-bottom: 1px solid var(--_line); }
  .head:has(+ .tabs) { border-bottom: 0; padding-block-end: 4px; }
  h2 { margin: 0; font-size: 16px; font-weight: 650; letter-spacing: -0.01em; }
  .count {
    margin-inline-start: 4px; padding: 1px 8px; border-radius: 99px; background: var(--_fresh); color: var(--_accent);
    font-size: 12.5px; font-weight: 650; font-variant-numeric: tabular-nums;
  }
  .count[hidden] { display: none; }
  /* Long words of other languages take two lines on a phone. */
  .head .text-button { margin-inline-start: auto; white-space: normal; text-align: end; line-height: 1.2; }
  .text-button { color: var(--_accent); font-size: 13.5px; font-weight: 600; padding: 7px 9px; border-radius: 8px; white-space: nowrap; }
  .text-button:hover:not(:disabled) { background: var(--_hover); }
  .text-button:disabled { color: var(--_muted); opacity: 0.65; cursor: default; }
  .icon-button { display: grid; place-items: center; width: 34px; height: 34px; border-radius: 8px; color: var(--_muted); flex: none; }
  .icon-button:hover { background: var(--_hover); color: var(--_text); }
  .tabs { display: flex; gap: 2px; padding-inline: 10px; border-bottom: 1px solid var(--_line); overflow-x: auto; scrollbar-width: none; flex: none; }
  .tab { position: relative; padding: 7px 10px 9px; border-radius: 8px 8px 0 0; font-size: 14px; font-weight: 550; color: var(--_muted); white-space: nowrap; }
  .tab:hover { color: var(--_text); }
  .tab:focus-visible { outline-offset: -2px; }
  .tab[aria-selected="true"] { color: var(--_accent); }
  .tab[aria-selected="true"]::after { content: ""; position: absolute; inset-inline: 8px; bottom: 0; height: 2px; border-radius: 2px 2px 0 0; background: currentColor; }
  .notice {
    display: flex; align-items: center; gap: 8px; padding-block: 9px; padding-inline: 18px 10px; font-size: 13.5px;
    color: var(--_danger); border-bottom: 1px solid var(--_line);
  }
  .notice span { flex: 1; }
  .foot {
    display: flex; align-items: center; gap: 8px; min-height: 40px; padding-block: 4px; padding-inline: 18px 10px;
    border-top: 1px solid var(--_line); font-size: 13px; color: var(--_muted); flex: none;
  }
  .foot .state { flex: 1; display: flex; align-items: center; gap: 8px; }
  .foot .state::before { content: ""; width: 8px; height: 8px; border-radius: 50%; background: var(--_muted); flex: none; }
  .foot .connected::before { background: var(--_ok); }
  .foot .error { color: var(--_danger); }
  .foot .error::before { background: var(--_danger); }
  .foot .connecting::before, .foot .reconnecting::before { animation: pulse 1.2s ease-in-out infinite; }
  @keyframes pulse { 50% { opacity: 0.25; } }
  .scroll { overflow-y: auto; overscroll-behavior: contain; flex: 1 1 auto; min-height: 0; max-height: min(520px, 70vh); }
  .empty { padding: 44px 32px 48px; text-align: center; color: var(--_muted); }
  .empty .icon, .empty .spinner { display: block; margin: 0 auto 12px; }
  .empty .icon { width: 38px; height: 38px; opacity: 0.45; }
  .empty .spinner { width: 22px; height: 22px; }
  .empty strong { display: block; color: var(--_text); font-weight: 600; margin-bottom: 2px; }
  .earlier { display: flex; align-items: center; justify-content: center; gap: 9px; min-height: 48px; padding: 6px; font-size: 13.5px; color: var(--_muted); }
`;
export const rows = css `
  ol { list-style: none; margin: 0; padding: 0; }
  li { position: relative; }
  li + li { border-top: 1px solid var(--_line); }
  /* Rows far from the eye cost nothing: thousands may be loaded. */
  li:nth-child(n + 40) { content-visibility: auto; contain-intrinsic-block-size: auto 68px; }
  .row {
    display: grid; grid-template-columns: 8px minmax(0, 1fr) auto; column-gap: 10px; width: 100%; padding-block: 12px 13px; padding-inline: 14px 16px;
    color: inherit; text-decoration: none; transition: background-color 120ms;
  }
  .row:hover { background: var(--_hover); }
  .row:focus-visible { outline-offset: -3px; border-radius: 6px; }
  li.unread .row { background: var(--_fresh); }
  li.unread .row:hover { background: var(--_hover); }
  .dot { width: 8px; height: 8px; border-radius: 50%; margin-top: 7px; background: transparent; grid-area: 1 / 1; }
  li.unread .dot { background: var(--_accent); }
  .title { font-weight: 500; overflow-wrap: anywhere; text-align: start; grid-area: 1 / 2; }
  li.unread .title { font-weight: 650; }
  time { color: var(--_muted); font-size: 12.5px; white-space: nowrap; padding-top: 2px; grid-area: 1 / 3; }
  .body {
    color: var(--_muted); font-size: 14px; overflow-wrap: anywhere; white-space: pre-line; text-align: start;
    display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden;
  }
  .row .body { grid-area: 2 / 2 / auto / 3; }
  .act { position: absolute; inset-block-end: 6px; inset-inline-end: 8px; width: 32px; height: 32px; background: inherit; opacity: 0; }
  li:hover .act, li:focus-within .act { opacity: 1; }
  .act:focus-visible { outline-offset: -2px; }
  /* A finger cannot hover. */
  @media (hover: none) { .act { opacity: 1; } }
`;
