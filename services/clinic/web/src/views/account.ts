/** One's own account: how one is reached, and which browsers are signed in. */

import { html, nothing } from "lit";
import { api, type Me } from "../api.ts";
import { change, say, state, words } from "../state.ts";
import { during, endSession, leave } from "../work.ts";
import { field, trouble, type Html } from "./parts.ts";

export function account(): Html {
  const all = words();
  const { me } = state;
  if (me === null) return nothing;
  const where = "profile";
  return html`<section class="card narrow" aria-labelledby="profile-title">
      <h1 id="profile-title" tabindex="-1">${all.profile}</h1>
      <p class="quiet">${me.email}</p>
      <form @submit=${(event: SubmitEvent) => save(event, me)} novalidate>
        ${field({ where, name: "name", label: all.name, value: me.name, autocomplete: "name" })}
        <div class="field"><label for="profile-language">${all.language}</label>
          <select id="profile-language" name="language">
            <option value="es" lang="es" ?selected=${me.language === "es"}>Español</option>
            <option value="en" lang="en" ?selected=${me.language === "en"}>English</option>
          </select></div>
        ${field({ where, name: "phone", label: all.phone, value: me.phone, type: "tel", autocomplete: "tel", hint: all.phoneHint, required: false })}
        <fieldset><legend>${all.wants}</legend>
          ${wish("email", all.byEmail, me)}
          ${me.role === "patient" ? html`${wish("sms", all.bySms, me)}${wish("whatsapp", all.byWhatsapp, me)}` : nothing}
          <p class="hint">${all.bellAlways}</p>
        </fieldset>
        ${trouble(where)}
        <button class="primary" aria-disabled=${state.busy === where}>${all.save}</button>
      </form>
    </section>
    <section class="card narrow" aria-labelledby="sessions-title">
      <h2 id="sessions-title">${all.sessions}</h2>
      <ul class="sessions">${state.sessions.map((one) => html`<li>
        <p><strong>${device(one.device)}</strong>${one.current ? html` (${all.thisDevice})` : nothing}<br>
          <span class="quiet">${all.lastUsed(new Intl.DateTimeFormat(state.language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(one.last_used_at)))}</span></p>
        ${one.current ? nothing : html`<button type="button" class="secondary" aria-label=${all.about(all.endSession, device(one.device))} @click=${() => endSession(one.id)}>${all.endSession}</button>`}
      </li>`)}</ul>
      ${trouble("account")}
      <button type="button" class="secondary" @click=${leave}>${all.signOut}</button>
    </section>`;
}

function wish(name: "email" | "sms" | "whatsapp", label: string, me: Me): Html {
  return html`<label class="check"><input type="checkbox" name=${name} .checked=${me.wants[name]}> <span>${label}</span></label>`;
}

/** What a browser calls itself, short enough to be read. */
export function device(agent: string): string {
  const browser = /(Firefox|Edg|Chrome|Safari)\//.exec(agent)?.[1]?.replace("Edg", "Edge");
  const system = /(Android|iPhone|iPad|Windows|Mac OS X|Linux)/.exec(agent)?.[1];
  const name = [browser, system].filter((part) => part !== undefined).join(", ");
  return name === "" ? agent.slice(0, 40) || "?" : name;
}

function save(event: SubmitEvent, me: Me): void {
  event.preventDefault();
  const form = new FormData(event.target as HTMLFormElement);
  const text = (name: string): string => String(form.get(name) ?? "");
  const has = (name: string): boolean => form.get(name) !== null;
  void during("profile", async () => {
    const saved = await api.save({
      name: text("name"), language: text("language"), phone: text("phone"), version: me.version,
      wants: { email: has("email"), sms: has("sms"), whatsapp: has("whatsapp") },
    });
    await change({ me: saved });
    await say(words().saved);
  });
}
