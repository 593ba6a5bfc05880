/** Parts that several views share: fields, choosing a time, messages. */

import { html, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { change, state, words, type Choice } from "../state.ts";
import { choose } from "../work.ts";
import { plusDays } from "../time.ts";

export type Html = TemplateResult | typeof nothing;

/** What went wrong at this place. */
export function trouble(where: string): Html {
  const { trouble } = state;
  const shown = trouble?.where === where ? trouble.text : "";
  return html`<div role="alert" id="trouble-${where}">${shown === "" ? nothing : html`<p class="notice bad">${shown}</p>`}</div>`;
}

/** Whether a field is the one that is wrong, for `aria-invalid`. */
export function wrong(where: string, pointer: string): "true" | typeof nothing {
  return state.trouble?.where === where && state.trouble.pointer === pointer ? "true" : nothing;
}

interface Field {
  readonly where: string;
  readonly name: string;
  readonly label: string;
  readonly type?: string;
  readonly value?: string;
  readonly autocomplete?: string;
  readonly hint?: string;
  readonly required?: boolean;
}

export function field({ where, name, label, type = "text", value = "", autocomplete = "off", hint = "", required = true }: Field): Html {
  const id = `${where}-${name}`;
  const described = `${hint === "" ? "" : `${id}-hint `}trouble-${where}`;
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <input id=${id} name=${name} type=${type} .value=${value} autocomplete=${autocomplete} ?required=${required}
      maxlength="256" aria-invalid=${wrong(where, `/${name}`)} aria-describedby=${described}>
    ${hint === "" ? nothing : html`<p class="hint" id="${id}-hint">${hint}</p>`}
  </div>`;
}

/** Date and free times. */
export function choosing(which: "choice" | "proposal", today: string, zone: string): Html {
  const all = words();
  const choice = state[which];
  const where = which === "choice" ? "book" : "act";
  return html`<div class="field">
      <label for="${which}-date">${all.date}</label>
      <input id="${which}-date" type="date" required .value=${live(choice.date)} min=${today} max=${plusDays(today, state.daysAhead)}
        @change=${(event: Event) => choose(which, { date: (event.target as HTMLInputElement).value })}>
    </div>
    <fieldset class="times" aria-describedby="trouble-${where}" aria-busy=${choice.times === "loading"}>
      <legend>${all.time}</legend>
      ${times(which, choice)}
      <p class="hint">${zone === "" ? nothing : all.localTime(zone)}</p>
    </fieldset>`;
}

function times(which: "choice" | "proposal", choice: Choice): Html {
  const all = words();
  if (choice.times === "none") return html`<p class="quiet">${all.chooseDay}</p>`;
  if (choice.times === "loading") return html`<p class="quiet" role="status">${all.loadingTimes}</p>`;
  if (choice.times.length === 0) return html`<p class="quiet" role="status">${choice.closed ? all.closed : all.noTimes}</p>`;
  const names = choice.times.map((time) => time.time);
  return html`<div class="chips">${choice.times.map(({ starts_at, time, offset }) => html`<label class="chip">
    <input type="radio" name="${which}-time" value=${starts_at} .checked=${live(choice.chosen === starts_at)}
      @change=${() => change({ [which]: { ...state[which], chosen: starts_at }, trouble: null })}>
    <span>${time}${names.indexOf(time) === names.lastIndexOf(time) ? nothing : html` <small>${offset}</small>`}</span>
  </label>`)}</div>`;
}
