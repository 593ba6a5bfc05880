/**
 * The page of examples: gives every bell a session of the demo, and runs the examples without one.
 * Reads `POST /demo/session`; writes notifications with its key.
 */

import type { CampanaBell } from "../campana-bell.ts";
import { byId, setText } from "../demo/dom.ts";
import { openSession, ringOnce } from "../demo/platform.ts";
import type { Session } from "../demo/platform.ts";
import { headlessList } from "./headless-list.ts";
import headlessCode from "./headless-list.ts?raw";
import { mount } from "./with-framework.ts";
import frameworkCode from "./with-framework.ts?raw";

const LANGUAGES = [
  ["en", "ltr", "English"],
  ["de", "ltr", "Deutsch"],
  ["fr", "ltr", "Français"],
  ["ar", "rtl", "العربية"],
] as const;
const PLAIN = ["Your table is ready", "Build 4128 is green", "Noor wrote a comment", "Appointment moved to Thursday"];

void start();

async function start(): Promise<void> {
  const user = new URLSearchParams(location.search).get("user") || "alice";
  setText("who", user);
  setText("headless-code", headlessCode);
  setText("hook-code", frameworkCode);
  drawLanguages();
  try {
    begin(await openSession(user), user);
  } catch (error) {
    setText("session-error-text", error instanceof Error ? error.message : String(error));
    byId("session-error").hidden = false;
  }
}

function begin(session: Session, user: string): void {
  const shared = { endpoint: session.ws_url, user: session.user, channel: session.channel, apiBase: session.api_base, token: session.token };
  const getToken = async (): Promise<string> => (await openSession(user)).token;
  const tabs = document.querySelector<CampanaBell>("#tabs campana-bell");
  if (tabs !== null) {
    tabs.tabs = [
      "all",
      { id: "orders", label: "Orders", category: "orders" },
      { id: "links", label: "With a link", filter: (item) => item.url !== null },
      "archived",
    ];
  }
  for (const bell of document.querySelectorAll("campana-bell")) Object.assign(bell, shared, { getToken });
  headlessList({ ...shared, getToken });
  mount(byId("hook-root"), { ...shared, getToken, pageSize: 20 });
  button("ring", () => ringOnce(session, { title: PLAIN[Math.floor(Math.random() * PLAIN.length)] ?? "Ring", body: "From the page of examples.", email: false }));
  button("ring-order", () => ringOnce(session, { title: `Order ${1_000 + Math.floor(Math.random() * 9_000)} is packed`, body: "It leaves today.", email: false, category: "orders", url: `${location.origin}/examples#tabs` }));
}

function button(id: string, ring: () => Promise<unknown>): void {
  const at = byId<HTMLButtonElement>(id);
  at.disabled = false;
  at.addEventListener("click", () => {
    byId("session-error").hidden = true;
    ring().catch((error: unknown) => {
      setText("session-error-text", error instanceof Error ? error.message : String(error));
      byId("session-error").hidden = false;
    });
  });
}

function drawLanguages(): void {
  const stage = byId("language-stage");
  const choice = byId("language-choice");
  for (const [lang, dir, name] of LANGUAGES) {
    const one = document.createElement("button");
    Object.assign(one, { type: "button", textContent: name, lang });
    one.dataset["testid"] = `language-${lang}`;
    one.setAttribute("aria-pressed", String(stage.lang === lang));
    one.addEventListener("click", () => {
      Object.assign(stage, { lang, dir });
      setText("language-name", name);
      for (const other of choice.children) other.setAttribute("aria-pressed", String(other === one));
      stage.querySelector<CampanaBell>("campana-bell")?.requestUpdate();
    });
    choice.append(one);
  }
}
