/** Appointments: what is to be answered, what comes, what was. */

import { html, nothing } from "lit";
import { repeat } from "lit/directives/repeat.js";
import type { Action, Appointment } from "../api.ts";
import { state, words, type List } from "../state.ts";
import { clock, day, moment } from "../time.ts";
import { act, ask, loadMore, loadOver } from "../work.ts";
import { trouble, type Html } from "./parts.ts";

export function lists(): Html {
  const all = words();
  const { ahead, me } = state;
  if (me === null) return nothing;
  if (ahead === null) return html`<p class="quiet" role="status">${all.loading}</p>`;
  const waiting = (one: Appointment): boolean => one.status === "requested";
  if (me.role === "patient") {
    return html`${section("mine", all.mine, ahead.items, ahead, html`<div class="empty"><p><strong>${all.noneAhead.patient}</strong></p><p>${all.noneAheadHint.patient}</p></div>`)}${over()}`;
  }
  const [toAnswer, others] = [ahead.items.filter(waiting), ahead.items.filter((one) => !waiting(one))];
  return html`<h1 class="sr">${all.home.dentist}</h1>
    ${section("to-answer", all.toAnswer, toAnswer, null, html`<div class="empty"><p>${all.noneToAnswer}</p></div>`)}
    ${section("agenda", all.agenda, others, ahead, html`<div class="empty"><p><strong>${all.noneAhead.dentist}</strong></p><p>${all.noneAheadHint.dentist}</p></div>`)}
    ${over()}`;
}

function section(id: string, title: string, items: readonly Appointment[], list: List | null, empty: Html): Html {
  const all = words();
  return html`<section aria-labelledby="${id}-title" class="list" data-testid=${id}>
    <h2 id="${id}-title">${title}${items.length === 0 ? nothing : html` <span class="count">${items.length}</span>`}</h2>
    ${items.length === 0 ? empty : html`<ul>${repeat(items, (one) => one.id, card)}</ul>`}
    ${list === null || list.next === null ? nothing : html`<button type="button" class="secondary" @click=${() => loadMore("ahead")}>${all.more}</button>`}
    ${list === null ? nothing : trouble("ahead")}
  </section>`;
}

function over(): Html {
  const all = words();
  const { over } = state;
  return html`<section aria-labelledby="over-title" class="list" data-testid="over">
    <h2 id="over-title">${all.past}</h2>
    ${over === null
      ? html`<button type="button" class="secondary" @click=${loadOver} aria-disabled=${state.busy === "over"}>${all.showPast}</button>`
      : over.items.length === 0 ? html`<div class="empty"><p>${all.nonePast}</p></div>` : html`<ul>${repeat(over.items, (one) => one.id, card)}</ul>`}
    ${over === null || over.next === null ? nothing : html`<button type="button" class="secondary" @click=${() => loadMore("over")}>${all.more}</button>`}
    ${trouble("over")}
  </section>`;
}

function card(one: Appointment): Html {
  const all = words();
  const { language, me, view } = state;
  const zone = one.clinic.time_zone;
  const patient = me?.role === "patient";
  const other = patient ? one.dentist.name : one.patient.name;
  return html`<li class="card appointment ${one.status}" id="appointment-${one.id}" tabindex="-1" data-status=${one.status} aria-current=${view.appointment === one.id ? "true" : nothing}>
    <div class="when"><h3><span class="cap">${day(language, one.starts_at, zone)}</span>, <time datetime=${one.starts_at}>${clock(language, one.starts_at, zone)}</time></h3>
      <span class="badge">${all.status[one.status]}</span></div>
    <p><strong>${other}</strong> · ${one.clinic.name}${patient ? html`<br><span class="quiet">${one.clinic.address}</span>` : nothing}</p>
    ${one.note === "" ? nothing : html`<p class="words"><span class="quiet">${patient ? all.yourNote : all.patientNote}:</span> ${one.note}</p>`}
    ${one.message === "" ? nothing : html`<p class="words"><span class="quiet">${all.dentistMessage(one.dentist.name)}:</span> ${one.message}</p>`}
    ${one.proposed_at === null ? nothing : html`<p class="notice">${patient ? all.proposal(moment(language, one.proposed_at, zone)) : all.proposalSent(moment(language, one.proposed_at, zone))}</p>`}
    ${trouble(one.id)}
    ${one.actions.length === 0 ? nothing : html`<div class="actions">${one.actions.map((action) => button(one, action))}</div>`}
  </li>`;
}

const LOUD: ReadonlySet<Action> = new Set(["accept", "accept_proposal"]);

function button(one: Appointment, action: Action): Html {
  const all = words();
  const what = moment(state.language, one.starts_at, one.clinic.time_zone);
  const press = (): void => {
    if (action === "cancel" || action === "decline" || action === "propose") void ask({ action, appointment: one });
    else void act(one, action);
  };
  return html`<button type="button" class=${LOUD.has(action) ? "primary" : "secondary"} aria-disabled=${state.busy === one.id}
    aria-label=${all.about(all.actions[action], what)} data-action=${action} @click=${press}>${all.actions[action]}</button>`;
}
