/** Asking for an appointment: clinic, dentist, date, time; and the confirmation. */

import { html, nothing } from "lit";
import { live } from "lit/directives/live.js";
import { change, state, words } from "../state.ts";
import { clock, day } from "../time.ts";
import { book, choose, chooseClinic } from "../work.ts";
import { choosing, trouble, type Html } from "./parts.ts";

export function booking(): Html {
  const all = words();
  const clinic = state.clinics.find((one) => one.id === state.clinic);
  return html`<section class="card" aria-label=${all.bookTitle}>
    ${confirmation()}
    ${state.created !== null ? nothing : html`<h1 id="book-title">${all.bookTitle}</h1><form @submit=${submit} novalidate>
      <div class="two">
        <div class="field">
          <label for="clinic">${all.clinic}</label>
          <select id="clinic" required .value=${live(state.clinic)} @change=${(event: Event) => chooseClinic((event.target as HTMLSelectElement).value)}>
            <option value="">${all.choose}</option>
            ${state.clinics.map((one) => html`<option value=${one.id} ?selected=${one.id === state.clinic}>${one.name}</option>`)}
          </select>
          ${clinic === undefined ? nothing : html`<p class="hint">${clinic.address}</p>`}
        </div>
        <div class="field">
          <label for="dentist">${all.dentist}</label>
          <select id="dentist" required ?disabled=${clinic === undefined} .value=${live(state.choice.dentist)}
            @change=${(event: Event) => choose("choice", { dentist: (event.target as HTMLSelectElement).value })}>
            <option value="">${all.choose}</option>
            ${(clinic?.dentists ?? []).map((one) => html`<option value=${one.id} ?selected=${one.id === state.choice.dentist}>${one.name}</option>`)}
          </select>
        </div>
      </div>
      ${choosing("choice", clinic?.today ?? "", clinic?.time_zone ?? "")}
      <div class="field">
        <label for="note">${all.note}</label>
        <textarea id="note" name="note" rows="2" maxlength="500" aria-describedby="note-hint"></textarea>
        <p class="hint" id="note-hint">${all.noteHint}</p>
      </div>
      ${trouble("book")}
      <button class="primary" aria-disabled=${state.busy === "book"}>${state.busy === "book" ? all.asking : all.ask}</button>
    </form>`}
  </section>`;
}

/** The live region is there before its words, so that they are said. */
function confirmation(): Html {
  const all = words();
  const { created, language } = state;
  return html`<div role="status" class="confirmation">${created === null ? nothing : html`
    <h1 class="good" id="created" tabindex="-1">${all.created}</h1>
    <p><strong class="cap">${day(language, created.starts_at, created.clinic.time_zone)}, ${clock(language, created.starts_at, created.clinic.time_zone)}</strong></p>
    <p>${created.dentist.name} · ${created.clinic.name}</p>
    <p class="quiet">${all.createdMore}</p>`}</div>
    ${created === null ? nothing : html`<button type="button" class="secondary" @click=${another}>${all.another}</button>`}`;
}

async function another(): Promise<void> {
  await change({ created: null });
  document.getElementById("clinic")?.focus();
}

async function submit(event: SubmitEvent): Promise<void> {
  event.preventDefault();
  const form = event.target as HTMLFormElement;
  const note = String(new FormData(form).get("note") ?? "").trim();
  if (state.choice.dentist === "") {
    const missing = state.clinic === "" ? "clinic" : "dentist";
    await change({ trouble: { where: "book", text: words().chooseDay, pointer: null } });
    document.getElementById(missing)?.focus();
    return;
  }
  if (await book(note)) document.getElementById("created")?.focus();
  else form.querySelector<HTMLElement>(".chips input")?.focus();
}
