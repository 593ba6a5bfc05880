// One message: its facts and its tabs.
import { bytes, el, tag } from "./dom.js";

let remembered = ""; // the tab a reader chose, kept from message to message

/** Fills the pane. `keep` says that the same message is shown again: focus and tab stay. */
export function detailOf(pane, message, close, keep) {
  const tabs = tabsOf(message);
  const back = el("button", { type: "button", class: "back" }, "Back to the list");
  back.addEventListener("click", close);
  const focusedTab = keep && pane.contains(document.activeElement) ? document.activeElement.id : "";
  const title = message.subject || { sms: "SMS", whatsapp: "WhatsApp message", webhook: "Webhook" }[message.channel] || "(no subject)";
  pane.replaceChildren(el("header", { class: "head" }, back, el("h2", {}, title), facts(message)), ...tabArea(tabs));
  if (focusedTab) document.getElementById(focusedTab)?.focus();
}

function facts(message) {
  const rows = [["To", message.to.join(", ")]];
  if (message.from) rows.unshift(["From", message.from]);
  rows.push(["Received", `${new Date(message.received_at).toLocaleString()} · ${bytes(message.size)} · ${message.id}`]);
  if (message.sms) {
    const s = message.sms;
    rows.push(["Status", tag(s.error_code ? `${s.status} ${s.error_code}` : s.status, { delivered: "good", read: "good", undelivered: "bad" }[s.status])]);
  }
  if (message.webhook) {
    const v = message.webhook.verification;
    const words = { verified: "signature verified", unsigned: "not signed", unchecked: "signed, no secret registered", bad: `bad signature: ${v.reason}` }[v.result];
    rows.push(["Signature", tag(words, { verified: "good", bad: "bad", unchecked: "warn" }[v.result])]);
    rows.push(["Answered", String(message.webhook.answered)]);
  }
  return el("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function tabsOf(message) {
  if (message.email) {
    const mail = message.email;
    const tabs = [];
    if (mail.html !== null) tabs.push(["HTML", () => frame(message.id), "frame"]);
    if (mail.text !== null) tabs.push(["Text", () => el("pre", {}, mail.text)]);
    tabs.push(["Headers", () => table([...mail.headers])]);
    tabs.push(["Envelope", () => table([["MAIL FROM", `<${mail.envelope_from}>`], ...mail.envelope_to.map((to) => ["RCPT TO", `<${to}>`]), ["EHLO", mail.helo], ["Login", mail.auth_user || "none"],
      ...mail.attachments.map((file) => ["Attachment", `${file.name || "(no name)"} · ${file.content_type || "?"} · ${bytes(file.size)}`])])]);
    tabs.push(["Raw", () => el("pre", {}, mail.raw)]);
    return tabs;
  }
  if (message.sms) {
    const sms = message.sms;
    return [
      ["Text", () => el("pre", {}, sms.body)],
      ["Callbacks", () => callbacks(sms)],
      ["Request", () => table([["Sid", sms.sid], ["Segments", String(sms.num_segments)], ...sms.fields])],
    ];
  }
  const hook = message.webhook;
  return [
    ["Body", () => el("pre", {}, pretty(hook.body))],
    ["Headers", () => table(Object.entries(hook.headers))],
    ["Raw", () => el("pre", {}, `POST ${hook.path}\n${Object.entries(hook.headers).map(([k, v]) => `${k}: ${v}`).join("\n")}\n\n${hook.body}`)],
  ];
}

// The frame has an origin of its own, runs no script and loads nothing; its own answer says so too.
function frame(id) {
  return el("iframe", { sandbox: "", src: `/api/messages/${id}/html`, title: "HTML of the message", referrerpolicy: "no-referrer" });
}

function table(rows) {
  return el("table", {}, el("tbody", {}, ...rows.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "mono" }, value)))));
}

function callbacks(sms) {
  if (!sms.status_callback) return el("p", { class: "quiet" }, "The request named no StatusCallback.");
  const rows = sms.callbacks.map((call) => [call.status, `${call.result} · ${new Date(call.at).toLocaleTimeString()}`]);
  return el("div", {}, el("p", { class: "mono" }, sms.status_callback), rows.length ? table(rows) : el("p", { class: "quiet" }, "None yet."));
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function tabArea(tabs) {
  const panel = el("div", { class: "panel", role: "tabpanel", id: "panel", tabindex: "0" });
  const buttons = tabs.map(([label], index) => el("button", { type: "button", role: "tab", id: `tab-${index}`, "aria-controls": "panel" }, label));
  const choose = (index) => {
    const [label, make, kind] = tabs[index];
    buttons.forEach((button, n) => { button.setAttribute("aria-selected", String(n === index)); button.tabIndex = n === index ? 0 : -1; });
    panel.className = kind ? `panel ${kind}` : "panel";
    panel.setAttribute("aria-labelledby", `tab-${index}`);
    panel.replaceChildren(make());
    return label;
  };
  buttons.forEach((button, index) => {
    button.addEventListener("click", () => { remembered = choose(index); });
    button.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const next = (index + by + tabs.length) % tabs.length;
      remembered = choose(next);
      buttons[next].focus();
    });
  });
  choose(Math.max(0, tabs.findIndex(([label]) => label === remembered)));
  return [el("div", { class: "tabs", role: "tablist", "aria-label": "Parts of the message" }, ...buttons), panel];
}
