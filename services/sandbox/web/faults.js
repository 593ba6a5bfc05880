// The faults dialog: what is active, and ready-made rules to switch on.
import { api, el, sendJson, tag } from "./dom.js";

const $ = (id) => document.getElementById(id);

export function startFaults(notice) {
  const dialog = $("faults");
  $("open-faults").addEventListener("click", () => { dialog.showModal(); refreshFaults(notice); });
  $("close-faults").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}

export async function refreshFaults(notice) {
  try {
    const { rules, presets } = await api("/api/faults");
    const active = rules.filter((rule) => rule.active).length;
    $("fault-count").textContent = String(active);
    $("fault-count").hidden = active === 0;
    $("open-faults").setAttribute("aria-label", active ? `Faults, ${active} active` : "Faults");
    $("active-faults").replaceChildren(...(rules.length ? rules.map((rule) => ruleRow(rule, notice)) : [el("li", { class: "quiet" }, "None: everything is accepted.")]));
    $("presets").replaceChildren(...presets.map((preset) => presetRow(preset, rules, notice)));
  } catch (error) {
    notice(`Faults could not be loaded: ${error.message}`);
  }
}

function ruleRow(rule, notice) {
  const remove = el("button", { type: "button", "aria-label": `Remove ${rule.name || rule.id}` }, "Remove");
  remove.addEventListener("click", () => change(() => api(`/api/faults/${rule.id}`, { method: "DELETE" }), notice));
  const left = rule.times ? `, ${Math.max(0, rule.times - rule.applied)} left` : "";
  const state = rule.active ? tag("active", "warn") : tag("used up");
  const what = el("div", {}, el("strong", {}, rule.name || `${rule.channel}: ${rule.effect.kind}`), el("small", {}, state, ` applied ${rule.applied} of ${rule.seen}${left}`));
  return el("li", {}, what, remove);
}

function presetRow(preset, rules, notice) {
  const on = rules.some((rule) => rule.name === preset.title && rule.active);
  const add = el("button", { type: "button", "aria-label": `Add ${preset.title}` }, on ? "Active" : "Add");
  add.disabled = on;
  add.addEventListener("click", () => change(() => sendJson("/api/faults", "POST", preset.rule), notice));
  return el("li", {}, el("div", {}, el("strong", {}, preset.title), el("small", {}, preset.description)), add);
}

async function change(act, notice) {
  try {
    await act();
    notice("");
  } catch (error) {
    notice(`The fault was not changed: ${error.message}`);
  }
  await refreshFaults(notice);
}
