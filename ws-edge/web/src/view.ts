/**
 * The templates of the element: what it shows for a given state. Pure but for the handlers it
 * attaches; real list and heading semantics, and never a button inside a button.
 */

import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import type { Status } from "./connection.ts";
import { bellIcon, closeIcon, linkIcon } from "./icons.ts";
import { isRead } from "./inbox.ts";
import type { InboxItem, InboxState } from "./inbox.ts";
import type { Labels } from "./labels.ts";
import { badgeText, exactTime, relativeTime } from "./time.ts";
import type { ToastState } from "./toasts.ts";

/** A line of trouble above the list, with what to do about it. */
export interface Notice {
  readonly text: string;
  readonly retry: (() => void) | null;
}

export interface Model {
  readonly inbox: InboxState;
  readonly status: Status;
  readonly labels: Labels;
  readonly opened: boolean;
  readonly ringing: boolean;
  readonly loaded: boolean;
  readonly moreEarlier: boolean;
  readonly notice: Notice | null;
  readonly toasts: ToastState;
  readonly spoken: string;
  readonly activeId: string;
  readonly now: number;
  readonly locale: string | undefined;
}

export interface Handlers {
  readonly beforeToggle: (event: Event) => void;
  readonly toggled: (event: Event) => void;
  readonly ringEnd: () => void;
  readonly close: () => void;
  readonly select: (item: InboxItem, event: Event) => void;
  readonly markAll: () => void;
  readonly earlier: () => void;
  readonly reconnect: () => void;
  readonly listKeys: (event: KeyboardEvent) => void;
  readonly focusRow: (id: string) => void;
  readonly openFromToast: (item: InboxItem, event: Event) => void;
  readonly dismiss: (item: InboxItem) => void;
  readonly holdToasts: (hold: boolean) => void;
}

export function bellView(model: Model, on: Handlers): TemplateResult {
  return html`${buttonView(model, on)}${panelView(model, on)}${toastsView(model, on)}
    <div class="sr" role="status" aria-live="polite" data-testid="bell-announcer">${model.spoken}</div>`;
}

function buttonView({ inbox, status, labels, opened, ringing }: Model, on: Handlers): TemplateResult {
  const count = inbox.unread > 0 ? labels.unreadCount(inbox.unread) : labels.noUnread;
  const live = status.state === "connected";
  const label = [labels.title, count, ...(live ? [] : [labels.states[status.state]])].join(", ");
  return html`<button type="button" class="bell-button ${ringing ? "ringing" : ""} ${live ? "" : "waiting"}" part="button"
      data-testid="bell-button" popovertarget="panel" aria-haspopup="dialog" aria-expanded=${opened ? "true" : "false"}
      aria-label=${label} title=${label} @animationend=${on.ringEnd}>
      ${bellIcon}
      ${inbox.unread > 0
        ? html`<span class="badge ${inbox.unread > 99 ? "long" : ""}" part="badge" data-testid="bell-badge" aria-hidden="true">${badgeText(inbox.unread)}</span>`
        : nothing}
      ${live ? nothing : html`<span class="state-dot ${status.state}" aria-hidden="true"></span>`}
    </button>`;
}

function panelView(model: Model, on: Handlers): TemplateResult {
  const { inbox, labels, status, opened } = model;
  return html`<section id="panel" class="panel" part="panel" popover="auto" role="dialog" aria-labelledby="heading" tabindex="-1"
      data-testid="bell-panel" @beforetoggle=${on.beforeToggle} @toggle=${on.toggled}>
      <div class="head" part="header">
        <h2 id="heading">${labels.title}</h2>
        <span class="count" ?hidden=${inbox.unread === 0}>
          <span aria-hidden="true">${inbox.unread}</span><span class="sr">${labels.unreadCount(inbox.unread)}</span>
        </span>
        <button type="button" class="text-button" part="mark-all" data-testid="bell-mark-all" ?disabled=${inbox.unread === 0}
          @click=${on.markAll}>${labels.markAll}</button>
        <button type="button" class="icon-button" data-testid="bell-close" aria-label=${labels.close} @click=${on.close}>${closeIcon}</button>
      </div>
      ${model.notice === null ? nothing : noticeView(model.notice, labels)}
      <div class="scroll" part="body">${opened ? contentView(model, on) : nothing}</div>
      ${footerView(status, labels, on)}
    </section>`;
}

function noticeView(notice: Notice, labels: Labels): TemplateResult {
  return html`<div class="notice" role="alert" data-testid="bell-notice">
    <span>${notice.text}</span>
    ${notice.retry === null ? nothing : html`<button type="button" class="text-button" @click=${notice.retry}>${labels.retry}</button>`}
  </div>`;
}

function contentView(model: Model, on: Handlers): TemplateResult {
  const { inbox, labels, activeId } = model;
  if (inbox.items.length === 0) {
    const { state } = model.status;
    const pending = state === "connecting" || state === "connected" ? labels.loading : labels.unavailable;
    return html`<div class="empty" part="empty" data-testid="bell-empty">
      ${bellIcon}${!model.loaded ? pending : html`<strong>${labels.empty}</strong>${labels.emptyHint}`}
    </div>`;
  }
  const active = inbox.items.some((item) => item.id === activeId) ? activeId : (inbox.items[0]?.id ?? "");
  return html`<ol part="list" aria-labelledby="heading" @keydown=${on.listKeys}>
      ${repeat(inbox.items, (item) => item.id, (item) => itemView(model, item, item.id === active, on))}
    </ol>
    ${model.moreEarlier
      ? html`<button type="button" class="text-button earlier" data-testid="bell-earlier" @click=${on.earlier}>${labels.earlier}</button>`
      : nothing}`;
}

function itemView(model: Model, item: InboxItem, active: boolean, on: Handlers): TemplateResult {
  const { labels, locale, now } = model;
  const read = isRead(model.inbox, item);
  const select = (event: Event): void => on.select(item, event);
  const focus = (): void => on.focusRow(item.id);
  const content = html`<span class="dot" aria-hidden="true"></span>
    <span class="title">${read ? nothing : html`<span class="sr">${labels.unread}: </span>`}${item.title}${item.url === null ? nothing : linkIcon}</span>
    <time datetime=${item.created_at} title=${exactTime(item.created_at, locale)}>${relativeTime(item.created_at, now, locale, labels.justNow)}</time>
    ${item.body === "" ? nothing : html`<span class="body">${item.body}</span>`}`;
  return html`<li part=${read ? "item" : "item item-unread"} class=${read ? "" : "unread"} data-testid="bell-item" data-id=${item.id}
      data-notification-id=${item.notification_id} data-unread=${read ? "false" : "true"}>
      ${item.url === null
        ? html`<button type="button" class="row" tabindex=${active ? "0" : "-1"} @click=${select} @focus=${focus}>${content}</button>`
        : html`<a class="row" href=${item.url} rel="noopener" tabindex=${active ? "0" : "-1"} @click=${select} @focus=${focus}>${content}</a>`}
    </li>`;
}

function footerView({ state, reason }: Status, labels: Labels, on: Handlers): TemplateResult {
  const why = reason !== "" && state === "error" ? `: ${reason}` : "";
  const stuck = state === "error" || state === "reconnecting" || state === "offline";
  return html`<div class="foot" part="footer">
    <span class="state ${state}" part="state" data-testid="bell-state" data-state=${state}>${labels.states[state]}${why}</span>
    ${stuck ? html`<button type="button" class="text-button" data-testid="bell-reconnect" @click=${on.reconnect}>${labels.retry}</button>` : nothing}
  </div>`;
}

function toastsView({ toasts, labels }: Model, on: Handlers): TemplateResult {
  const hold = (): void => on.holdToasts(true);
  const release = (): void => on.holdToasts(false);
  return html`<div class="toasts" part="toasts" popover="manual" @pointerenter=${hold} @pointerleave=${release} @focusin=${hold} @focusout=${release}>
    ${repeat(toasts.shown, (item) => item.id, (item) => html`<div class="toast" part="toast" data-testid="toast" data-id=${item.id}>
        <button type="button" class="toast-main" @click=${(event: Event) => on.openFromToast(item, event)}>
          ${bellIcon}<span class="toast-text"><span class="title">${item.title}</span><span class="body">${item.body}</span></span>
        </button>
        <button type="button" class="icon-button" aria-label=${labels.dismiss} @click=${() => on.dismiss(item)}>${closeIcon}</button>
      </div>`)}
    ${toasts.more > 0 ? html`<div class="more">${labels.more(toasts.more)}</div>` : nothing}
  </div>`;
}
