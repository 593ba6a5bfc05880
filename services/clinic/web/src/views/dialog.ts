/** What is asked before something is called off, declined or proposed. */

import { html, nothing } from "lit";
import { state, words } from "../state.ts";
import { dateOf, moment } from "../time.ts";
import { act, ask } from "../work.ts";
import { choosing, trouble, type Html } from "./parts.ts";

export function dialog(): Html {
  const all = words();
  const { asked, language, busy } = state;
  const zone = asked?.appointment.clinic.time_zone ?? "";
  const when = asked === null ? "" : moment(language, asked.appointment.starts_at, zone);
  const titles = { cancel: all.cancelTitle, decline: all.declineTitle, propose: all.proposeTitle };
  return html`<dialog id="dialog" aria-labelledby="dialog-title" @cancel=${cancelled} @close=${() => state.asked !== null && ask(null)}>
    ${asked === null ? nothing : html`<form method="dialog" @submit=${submit} novalidate>
      <h2 id="dialog-title" tabindex="-1">${titles[asked.action]}</h2>
      <p>${asked.action === "cancel" ? all.cancelText(when) : when}</p>
      ${asked.action === "propose" ? choosing("proposal", dateOf(new Date().toISOString(), zone), zone) : nothing}
      ${asked.action === "cancel" ? nothing : html`<div class="field">
        <label for="message">${all.message}</label>
        <textarea id="message" name="message" rows="2" maxlength="500" aria-describedby="message-hint"></textarea>
        <p class="hint" id="message-hint">${all.messageHint}</p></div>`}
      ${trouble("act")}
      <div class="actions">
        <button class="primary ${asked.action === "propose" ? "" : "danger"}" aria-disabled=${busy !== ""} data-action="confirm">${asked.action === "propose" ? all.proposeTitle : all.actions[asked.action]}</button>
        <button type="button" class="secondary" @click=${() => ask(null)}>${asked.action === "cancel" ? all.keep : all.back}</button>
      </div>
    </form>`}
  </dialog>`;
}

function cancelled(event: Event): void {
  event.preventDefault();
  void ask(null);
}

async function submit(event: SubmitEvent): Promise<void> {
  event.preventDefault();
  const { asked, proposal } = state;
  if (asked === null) return;
  const message = String(new FormData(event.target as HTMLFormElement).get("message") ?? "").trim();
  const words_ = message === "" ? {} : { message };
  const { appointment, action } = asked;
  await act(appointment, action, action === "propose" ? { starts_at: proposal.chosen, ...words_ } : words_);
}
