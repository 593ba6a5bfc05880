/** The page before signing in. */
import { html, nothing } from "lit";
import { api } from "./api.ts";
import { languageSwitch } from "./parts.ts";
import { attempt } from "./page.ts";
import { state, words } from "./state.ts";

const field = (form: HTMLFormElement, name: string) => String(new FormData(form).get(name) ?? "").trim();

function enter(event: SubmitEvent): void {
  event.preventDefault();
  const form = event.currentTarget as HTMLFormElement;
  const [handle, password] = [field(form, "handle").toLowerCase(), field(form, "password")];
  void attempt(async () => {
    if (state.registering) await api.register(handle, field(form, "name"), password);
    else await api.signIn(handle, password);
    location.reload();
  });
}

function tryAs(handle: string): void {
  void attempt(async () => {
    await api.signIn(handle, state.start?.demo?.password ?? "");
    location.reload();
  });
}

export function door() {
  const t = words();
  const { registering, start } = state;
  return html`<main class="door"><div class="stack">
    <div class="row"><h1 class="grow">${t.title}</h1>${languageSwitch()}</div>
    <form class="stack" @submit=${enter}>
      <label>${t.handle}
        <input name="handle" required autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="32" aria-describedby=${registering ? "handle-hint" : nothing}>
      </label>
      ${registering ? html`<p class="hint" id="handle-hint">${t.handleHint}</p>
        <label>${t.name}<input name="name" required autocomplete="name" maxlength="60"></label>` : nothing}
      <label>${t.password}
        <input name="password" type="password" required minlength=${registering ? 8 : 1} autocomplete=${registering ? "new-password" : "current-password"} aria-describedby=${registering ? "password-hint" : nothing}>
      </label>
      ${registering ? html`<p class="hint" id="password-hint">${t.passwordHint}</p>` : nothing}
      <p class="error" role="alert">${state.error}</p>
      <button class="main" ?disabled=${state.busy}>${registering ? t.register : t.signIn}</button>
    </form>
    ${start?.registration ? html`<button @click=${() => { state.registering = !registering; state.error = null; }} data-draw>${registering ? t.haveAccount : t.register}</button>` : nothing}
    ${start?.demo === undefined ? nothing : html`<section class="demo stack" aria-labelledby="demo-title">
      <h2 id="demo-title">${t.demo}</h2>
      <div class="row">${start.demo.people.map(({ handle, name }) => html`<button ?disabled=${state.busy} @click=${() => tryAs(handle)}>${name}</button>`)}</div>
      <p class="hint">${t.demoHint}</p>
    </section>`}
  </div></main>`;
}
