/** Signing in and up, and the demo's people. */

import { html, nothing } from "lit";
import { api } from "../api.ts";
import { change, state, words } from "../state.ts";
import { during, enter } from "../work.ts";
import { field, trouble, type Html } from "./parts.ts";

export function signIn(): Html {
  const all = words();
  const { signingUp, busy } = state;
  const where = "sign-in";
  return html`<section class="card narrow" aria-labelledby="sign-in-title">
      <h1 id="sign-in-title" tabindex="-1">${signingUp ? all.signUpTitle : all.signInTitle}</h1>
      <p class="quiet">${all.lead}</p>
      <form @submit=${submit} novalidate>
        ${signingUp ? field({ where, name: "name", label: all.name, autocomplete: "name" }) : nothing}
        ${field({ where, name: "email", label: all.email, type: "email", autocomplete: "username" })}
        ${field({
          where, name: "password", label: all.password, type: "password",
          autocomplete: signingUp ? "new-password" : "current-password", hint: signingUp ? all.passwordHint : "",
        })}
        ${trouble(where)}
        <button class="primary" aria-disabled=${busy !== ""}>${signingUp ? all.signUp : all.signIn}</button>
      </form>
      <p>${signingUp ? all.haveAccount : all.noAccount}
        <button type="button" class="link" @click=${() => change({ signingUp: !signingUp, trouble: null })}>${signingUp ? all.signIn : all.signUp}</button></p>
    </section>
    ${demo()}`;
}

function demo(): Html {
  const all = words();
  const people = state.setup?.demo ?? [];
  if (people.length === 0) return nothing;
  return html`<section class="card narrow" aria-labelledby="demo-title">
    <h2 id="demo-title">${all.tryAs}</h2>
    <p class="quiet">${all.tryAsHint}</p>
    <ul class="people">${people.map((one) => html`<li><button type="button" class="person" aria-disabled=${state.busy !== ""}
      @click=${() => during("sign-in", async () => enter(await api.signInAs(one.id)))}>
      <strong>${one.name}</strong> <span>${all.roles[one.role]}</span></button></li>`)}</ul>
  </section>`;
}

function submit(event: SubmitEvent): void {
  event.preventDefault();
  const form = new FormData(event.target as HTMLFormElement);
  const text = (name: string): string => String(form.get(name) ?? "");
  const [email, password] = [text("email"), text("password")];
  void during("sign-in", async () => {
    const me = state.signingUp
      ? await api.signUp({ name: text("name"), email, password, language: state.language })
      : await api.signIn({ email, password });
    await enter(me);
  });
}
