/**
 * The templates of the element: what it shows for a given state. Pure but for the handlers it
 * attaches; real list, tab and heading semantics, and never a button inside a button.
 */

import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { archiveIcon, bellIcon, closeIcon, linkIcon, mutedIcon, restoreIcon, soundIcon } from "./icons.ts";
import { isUnread, isUnseen } from "./inbox.ts";
import type { InboxItem } from "./inbox.ts";
import type { Labels } from "./labels.ts";
import type { Handlers, Model, Notice } from "./model.ts";
import type { Tab } from "./tabs.ts";
import { badgeText, exactTime, relativeTime } from "./time.ts";

export function bellView(model: Model, on: Handlers): TemplateResult {
  return html`${buttonView(model, on)}${panelView(model, on)}${toastsView(model, on)}
    <div class="sr" role="status" aria-live="polite" data-testid="bell-announcer">${model.spoken}</div>`;
}

function buttonView(model: Model, on: Handlers): TemplateResult {
  const { inbox, labels, opened, ringing, badge, locale } = model;
  const live = inbox.state === "connected";
  const label = [labels.title, ...spokenCounts(model), ...(live ? [] : [labels.states[inbox.state]])].join(", ");
  return html`<button type="button" class="bell-button ${ringing ? "ringing" : ""} ${live ? "" : "waiting"}" part="button"
      data-testid="bell-button" popovertarget="panel" aria-haspopup="dialog" aria-expanded=${opened ? "true" : "false"}
      aria-label=${label} title=${label} @animationend=${on.ringEnd}>
      ${bellIcon}
      ${badge > 0
        ? html`<span class="badge ${badge > 99 ? "long" : ""}" part="badge" data-testid="bell-badge" aria-hidden="true">${badgeText(badge, locale)}</span>`
        : nothing}
      ${live ? nothing : html`<span class="state-dot ${inbox.state}" aria-hidden="true"></span>`}
    </button>`;
}

/** The counts in words. What is written on the badge is among them, so that it can be asked for by voice. */
function spokenCounts({ inbox, labels, badge, badgeCounts, locale }: Model): string[] {
  if (inbox.unread === 0) return [labels.noUnread];
  const said = (words: (count: number) => string, count: number): string =>
    count > 99 ? words(99).replace(badgeText(99, locale), badgeText(count, locale)) : words(count);
  const fresh = badgeCounts === "unseen" && badge > 0 ? [said(labels.unseenCount, badge)] : [];
  return [...fresh, said(labels.unreadCount, inbox.unread)];
}

function panelView(model: Model, on: Handlers): TemplateResult {
  const { inbox, labels, opened, tabs, tab } = model;
  const several = tabs.length > 1;
  return html`<section id="panel" class="panel" part="panel" popover="auto" role="dialog" aria-labelledby="heading" tabindex="-1"
      data-testid="bell-panel" @beforetoggle=${on.beforeToggle} @toggle=${on.toggled}>
      <div class="head" part="header">
        <h2 id="heading">${labels.title}</h2>
        <span class="count" ?hidden=${inbox.unread === 0}>
          <span aria-hidden="true">${badgeText(inbox.unread, model.locale)}</span><span class="sr">${labels.unreadCount(inbox.unread)}</span>
        </span>
        <button type="button" class="text-button" part="mark-all" data-testid="bell-mark-all" ?disabled=${inbox.unread === 0}
          @click=${on.markAll}>${labels.markAll}</button>
        ${model.muted === null ? nothing : muteView(model.muted, labels, on)}
        <button type="button" class="icon-button" data-testid="bell-close" aria-label=${labels.close} title=${labels.close} @click=${on.close}>${closeIcon}</button>
      </div>
      ${several ? tabsView(model, on) : nothing}
      ${model.notice === null ? nothing : noticeView(model.notice, labels)}
      <div id="rows" class="scroll" part="body" role=${several ? "tabpanel" : nothing} aria-labelledby=${several ? `tab-${tab.id}` : nothing}>
        ${opened ? contentView(model, on) : nothing}
      </div>
      ${footerView(model, on)}
    </section>`;
}

function muteView(muted: boolean, labels: Labels, on: Handlers): TemplateResult {
  const label = muted ? labels.unmute : labels.mute;
  return html`<button type="button" class="icon-button" part="mute" data-testid="bell-mute" data-muted=${muted ? "true" : "false"}
    aria-label=${label} title=${label} @click=${on.toggleMuted}>${muted ? mutedIcon : soundIcon}</button>`;
}

function tabsView({ tabs, tab, labels }: Model, on: Handlers): TemplateResult {
  return html`<div class="tabs" part="tabs" role="tablist" aria-label=${labels.tabs} @keydown=${on.tabKeys}>
    ${repeat(tabs, ({ id }) => id, (one) => {
      const chosen = one.id === tab.id;
      return html`<button type="button" role="tab" class="tab" part=${chosen ? "tab tab-chosen" : "tab"} id="tab-${one.id}" data-testid="bell-tab" data-tab=${one.id}
        aria-selected=${chosen ? "true" : "false"} aria-controls="rows" tabindex=${chosen ? "0" : "-1"} @click=${() => on.chooseTab(one.id)}>${tabLabel(one, labels)}</button>`;
    })}
  </div>`;
}

function tabLabel({ id, label }: Tab, labels: Labels): string {
  if (label !== null) return label;
  return id === "unread" ? labels.onlyUnread : id === "archived" ? labels.archived : labels.all;
}

function noticeView(notice: Notice, labels: Labels): TemplateResult {
  return html`<div class="notice" role="alert" data-testid="bell-notice">
    <span>${notice.text}</span>
    ${notice.retry === null ? nothing : html`<button type="button" class="text-button" @click=${notice.retry}>${labels.retry}</button>`}
  </div>`;
}

function contentView(model: Model, on: Handlers): TemplateResult {
  const { inbox, labels, activeId, rows } = model;
  const active = rows.some((item) => item.id === activeId) ? activeId : (rows[0]?.id ?? "");
  return html`${rows.length === 0
      ? emptyView(model)
      : html`<ol part="list" aria-labelledby="heading" @keydown=${on.listKeys}>
          ${repeat(rows, (item) => item.id, (item) => itemView(model, item, item.id === active, on))}
        </ol>`}
    ${inbox.more
      ? html`<div class="earlier" aria-busy=${inbox.loading ? "true" : "false"}>
          ${inbox.loading
            ? html`<span class="spinner" aria-hidden="true"></span><span>${labels.loading}</span>`
            : html`<button type="button" class="text-button" data-testid="bell-earlier" @click=${on.earlier}>${labels.earlier}</button>`}
        </div>`
      : nothing}`;
}

function emptyView({ inbox, labels, tab }: Model): TemplateResult | typeof nothing {
  if (!inbox.loaded) {
    const waiting = inbox.state === "connecting" || inbox.state === "connected";
    return html`<div class="empty" part="empty" data-testid="bell-empty" data-why=${waiting ? "loading" : "unavailable"}>
      ${waiting ? html`<span class="spinner" aria-hidden="true"></span>` : bellIcon}${waiting ? labels.loading : labels.unavailable}
    </div>`;
  }
  // Perhaps there are some further back: the line below says that they are being looked for.
  if (inbox.more && inbox.error === null) return nothing;
  const [title, hint] = { all: [labels.empty, labels.emptyHint], unread: [labels.emptyUnread, ""], archived: [labels.emptyArchived, ""] }[tab.id] ?? [labels.emptyTab, ""];
  return html`<div class="empty" part="empty" data-testid="bell-empty" data-why="empty">
    ${bellIcon}<strong>${title}</strong>${hint}
  </div>`;
}

function itemView(model: Model, item: InboxItem, active: boolean, on: Handlers): TemplateResult {
  const { labels, locale, now } = model;
  const unread = isUnread(item);
  const index = active ? "0" : "-1";
  const select = (event: Event): void => on.select(item, event);
  const focus = (): void => on.focusRow(item.id);
  const action = item.archived ? labels.unarchive : labels.archive;
  const content = html`<span class="dot" aria-hidden="true"></span>
    <span class="title">${unread ? html`<span class="sr">${labels.unread}: </span>` : nothing}<bdi>${item.title}</bdi>${item.url === null ? nothing : linkIcon}</span>
    ${item.body === "" ? nothing : html`<span class="body"><bdi>${item.body}</bdi></span>`}
    <time datetime=${item.created_at} title=${exactTime(item.created_at, locale)}>${relativeTime(item.created_at, now, locale, labels.justNow)}</time>`;
  return html`<li part=${unread ? "item item-unread" : "item"} class=${unread ? "unread" : ""} data-testid="bell-item" data-id=${item.id}
      data-notification-id=${item.notification_id} data-unread=${unread ? "true" : "false"} data-unseen=${isUnseen(item) ? "true" : "false"}>
      ${item.url === null
        ? html`<button type="button" class="row" tabindex=${index} aria-keyshortcuts="Delete" @click=${select} @focus=${focus}>${content}</button>`
        : html`<a class="row" href=${item.url} rel="noopener" tabindex=${index} aria-keyshortcuts="Delete" @click=${select} @focus=${focus}>${content}</a>`}
      <button type="button" class="icon-button act" part="archive" data-testid="bell-archive" tabindex=${index} title=${action}
        aria-label="${action}: ${item.title}" @click=${() => on.archive(item)} @focus=${focus}>${item.archived ? restoreIcon : archiveIcon}</button>
    </li>`;
}

function footerView({ inbox: { state, reason }, labels }: Model, on: Handlers): TemplateResult {
  const why = reason !== "" && state === "error" ? `: ${reason}` : "";
  const stuck = state === "error" || state === "reconnecting" || state === "offline";
  return html`<div class="foot" part="footer">
    <span class="state ${state}" part="state" data-testid="bell-state" data-state=${state}>${labels.states[state]}${why}</span>
    <slot name="footer"></slot>
    ${stuck ? html`<button type="button" class="text-button" data-testid="bell-reconnect" @click=${on.reconnect}>${labels.retry}</button>` : nothing}
  </div>`;
}

function toastsView({ toasts, labels }: Model, on: Handlers): TemplateResult {
  const hold = (): void => on.holdToasts(true);
  const release = (): void => on.holdToasts(false);
  return html`<div class="toasts" part="toasts" popover="manual" role="region" aria-label=${labels.toasts}
      @pointerenter=${hold} @pointerleave=${release} @focusin=${hold} @focusout=${release}>
    ${repeat(toasts.shown, (item) => item.id, (item) => html`<div class="toast" part="toast" data-testid="toast" data-id=${item.id}>
        <button type="button" class="toast-main" @click=${(event: Event) => on.openFromToast(item, event)}>
          ${bellIcon}<span class="toast-text"><span class="title"><bdi>${item.title}</bdi></span><span class="body"><bdi>${item.body}</bdi></span></span>
        </button>
        <button type="button" class="icon-button" aria-label=${labels.dismiss} @click=${() => on.dismiss(item)}>${closeIcon}</button>
      </div>`)}
    ${toasts.more > 0 ? html`<div class="more">${labels.more(toasts.more)}</div>` : nothing}
  </div>`;
}
