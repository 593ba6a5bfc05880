// The clinic's page in a browser, as a patient and a dentist see it, beside a running platform.
// Usage: node clinic.mjs <clinic url> [--shots DIR] [--only TEXT]
//   --shots DIR   writes clinic-patient.png, clinic-dentist-dark.png and clinic-phone.png there
// Exit code 0 if all passed, 1 if one failed. A run books appointments: best against a fresh clinic.

import { join } from "node:path";
import { parseArgs } from "node:util";
import { axe } from "./lib/axe.mjs";
import { launch } from "./lib/browser.mjs";
import { becomes, check, eventually, same } from "./lib/expect.mjs";
import { Guard } from "./lib/guard.mjs";

const { values: asked, positionals } = parseArgs({ allowPositionals: true, options: { shots: { type: "string" }, only: { type: "string" } } });
const clinic = (positionals[0] ?? "").replace(/\/$/, "");
/** A machine that does everything else at the same time answers late. */
const PATIENCE = 60_000;
const PHONE = { viewport: { width: 360, height: 780 }, isMobile: true, hasTouch: true };

const browser = await launch([]);
let failed = 0;

async function one(name, run) {
  if (!name.includes(asked.only ?? "")) return;
  const contexts = [];
  const open = async (settings = {}) => {
    const context = await browser.newContext({ viewport: { width: 1240, height: 900 }, locale: "es-ES", ...settings });
    contexts.push(context);
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    return { page, guard: await Guard.on(page) };
  };
  try {
    await run(open);
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n     ${String(error.message ?? error)}`);
  } finally {
    for (const context of contexts) await context.close();
  }
}

/** Signs in as one of the demo's people and waits for the live updates. */
async function enter(page, name) {
  await page.goto(`${clinic}/`);
  await page.getByRole("button", { name }).click();
  await becomes(() => page.locator(".live").getAttribute("data-state"), "connected", "live updates", PATIENCE);
  await becomes(() => page.locator("campana-bell").getAttribute("state"), "connected", "the bell", PATIENCE);
}

/** Fills the form up to the time; gives the chosen time. Each call takes the first time of a day of its own. */
let ahead = 1;
async function fill(page, dentist = "Dra. Elena Ruiz") {
  await page.locator("#clinic").selectOption({ label: "AppDental Centro" });
  await page.locator("#dentist").selectOption({ label: dentist });
  ahead += 1;
  await page.locator("#choice-date").fill(new Date(Date.now() + ahead * 86_400_000).toISOString().slice(0, 10));
  const first = page.locator(".chip").first();
  await first.waitFor();
  await first.locator("input").check({ force: true });
  return (await first.textContent()).trim();
}

const badge = async (page) => Number((await page.locator("campana-bell").getByTestId("bell-badge").allTextContents()).join());
/** An inbox outlives a run of this script. */
const ringsOnce = (page, before, what) => becomes(() => badge(page), before + 1, what, PATIENCE);
const statuses = (page, list) => page.getByTestId(list).locator("li.appointment").evaluateAll((cards) => cards.map((card) => card.dataset.status));
const width = (page) => page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);

/** Nothing is wider than the phone, and what is pressed is large enough for a thumb. */
async function fitsPhone(page) {
  const [inside, shown] = await width(page);
  check(inside <= shown, `${inside} wide on a screen of ${shown}`);
  const small = await page.locator("main button:visible, header button:visible, main select:visible, .chip:visible").evaluateAll((all) =>
    all.filter((element) => element.getBoundingClientRect().height < 43.5).map((element) => element.textContent.trim()));
  same(small, [], "targets that are too small");
}

await one("from the form to the dentist's bell, and back to the patient", async (open) => {
  const [patient, dentist] = [await open(), await open()];
  await enter(patient.page, /Ana García/);
  await enter(dentist.page, /Elena Ruiz/);
  const bell = await dentist.page.locator("campana-bell").boundingBox();
  check(bell.x > 1_000 && bell.y < 60, `the bell is in the upper right corner: ${JSON.stringify(bell)}`);

  const [rung, rungThere] = [await badge(dentist.page), await badge(patient.page)];
  await fill(patient.page);
  await patient.page.locator("#note").fill("Me duele una muela");
  await patient.page.getByRole("button", { name: "Pedir cita" }).click();
  await patient.page.getByRole("heading", { name: "La cita fue creada con éxito" }).waitFor();
  check((await patient.page.evaluate(() => document.activeElement.id)) === "created", "the focus is at the confirmation");

  // Without a reload: the list by the live channel, the number by the bell.
  await ringsOnce(dentist.page, rung, "the dentist's bell");
  await becomes(() => statuses(dentist.page, "to-answer"), ["requested"], "the dentist's list", PATIENCE);
  check((await dentist.page.getByTestId("to-answer").textContent()).includes("Me duele una muela"), "the note is there");
  await axe(dentist.page, "schedule");
  await shot(patient.page, "clinic-patient.png");

  await dentist.page.locator('[data-action="propose"]').click();
  const dialog = dentist.page.getByRole("dialog", { name: "Proponer otra hora" });
  ahead += 1;
  await dialog.locator('input[type="date"]').fill(new Date(Date.now() + ahead * 86_400_000).toISOString().slice(0, 10));
  await dialog.locator(".chip input").nth(1).check({ force: true });
  await dialog.getByLabel("Mensaje para el paciente").fill("Ese día libro");
  await axe(dentist.page, "dialog");
  await dialog.locator('[data-action="confirm"]').click();
  await dialog.waitFor({ state: "hidden" });

  await becomes(() => statuses(patient.page, "mine"), ["proposed"], "the patient's list", PATIENCE);
  await ringsOnce(patient.page, rungThere, "the patient's bell");
  await axe(patient.page, "proposal");
  await patient.page.locator('[data-action="accept_proposal"]').click();
  await becomes(() => statuses(patient.page, "mine"), ["accepted"], "the patient's list", PATIENCE);
  const focus = () => patient.page.evaluate(() => document.activeElement.closest("li")?.dataset.status ?? document.activeElement.tagName);
  await becomes(focus, "accepted", "the focus stays with the appointment", PATIENCE);
  await becomes(() => statuses(dentist.page, "agenda"), ["accepted"], "the dentist's schedule", PATIENCE);
  await ringsOnce(dentist.page, rung + 1, "the dentist's bell");

  // A row of the bell leads to its appointment, and the mark goes through the clinic to the platform.
  await dentist.page.locator("campana-bell").getByTestId("bell-button").click();
  await dentist.page.locator("campana-bell").getByTestId("bell-item").first().locator(".row").click();
  await becomes(() => badge(dentist.page), rung + 1, "read", PATIENCE);
  await eventually(() => dentist.page.evaluate(() => document.activeElement.id), (id) => id.startsWith("appointment-apt_"), "the focus is at the appointment", PATIENCE);

  await patient.page.locator('[data-action="cancel"]').click();
  await patient.page.getByRole("dialog").locator('[data-action="confirm"]').click();
  await becomes(() => statuses(dentist.page, "agenda"), [], "the dentist's schedule", PATIENCE);
  await becomes(focus, "MAIN", "the focus is not lost with the appointment", PATIENCE);
  await patient.page.getByRole("button", { name: "Mostrar citas anteriores" }).click();
  await becomes(() => statuses(patient.page, "over"), ["cancelled"], "earlier appointments", PATIENCE);
  patient.guard.clean();
  dentist.guard.clean();
});

await one("two want one time: one gets it, the other is told kindly", async (open) => {
  const [ana, ben] = [await open(), await open({ locale: "en-GB" })];
  await enter(ana.page, /Ana García/);
  await enter(ben.page, /Ben Miller/);
  await fill(ana.page, "Dr. Marc Costa");
  ahead -= 1;
  // Ben's form is of a moment before: what happens meanwhile at the clinic does not reach his page.
  await fill(ben.page, "Dr. Marc Costa");
  await ana.page.getByRole("button", { name: "Pedir cita" }).click();
  await ana.page.getByRole("heading", { name: "La cita fue creada con éxito" }).waitFor();
  await ben.page.getByRole("button", { name: "Ask for it" }).click();
  await ben.page.getByRole("alert").getByText("Somebody has just taken that time").waitFor();
  await axe(ben.page, "refusal");
  const left = ben.page.locator(".chip input:checked");
  await becomes(() => left.count(), 0, "the lost time is not offered any more", PATIENCE);
  await ben.page.locator(".chip input").first().check({ force: true });
  await ben.page.getByRole("button", { name: "Ask for it" }).click();
  await ben.page.getByRole("heading", { name: "The appointment was created successfully" }).waitFor();
  // The browser says in its log what was refused; nothing else went wrong.
  ben.guard.clean(/409/);
  ana.guard.clean();
});

await one("an account by keyboard alone, with its mistakes explained", async (open) => {
  const { page, guard } = await open({ locale: "en-GB" });
  await page.goto(`${clinic}/`);
  await page.getByRole("heading", { name: "Sign in to book" }).waitFor();
  await axe(page, "sign in");
  await page.getByRole("button", { name: "Create account" }).press("Enter");
  await page.getByLabel("Name", { exact: true }).fill("Carla Vega");
  await page.getByLabel("E-mail address").fill("carla");
  await page.getByLabel("Password").fill("a long password");
  await page.getByLabel("Password").press("Enter");
  await page.getByRole("alert").getByText("Write an address such as").waitFor();
  check((await page.getByLabel("E-mail address").getAttribute("aria-invalid")) === "true", "the field is marked");
  await axe(page, "sign up");
  await page.getByLabel("E-mail address").fill(`carla-${Date.now().toString(36)}@example.com`);
  await page.getByLabel("Password").press("Enter");
  await page.getByText("No appointments ahead").waitFor();
  await page.keyboard.press("Tab");
  await page.goto(`${clinic}/#/account`);
  await page.getByRole("heading", { name: "Your details" }).waitFor();
  await page.getByLabel("SMS").check();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("alert").getByText("Write the number with its country").waitFor();
  await page.getByLabel("Mobile phone").fill("+44 7700 900123");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("status").getByText("Saved.").waitFor({ state: "attached" });
  await axe(page, "account");
  await page.getByRole("button", { name: /Español/ }).click();
  await page.getByRole("heading", { name: "Tus datos" }).waitFor();
  same(await page.evaluate(() => document.documentElement.lang), "es", "language of the page");
  await page.getByRole("button", { name: "Salir" }).click();
  await page.getByRole("heading", { name: "Entra para pedir cita" }).waitFor();
  guard.clean(/401|422/);
});

for (const colorScheme of ["light", "dark"]) {
  await one(`a phone of 360 pixels, ${colorScheme}`, async (open) => {
    const { page, guard } = await open({ ...PHONE, colorScheme });
    await enter(page, /Ana García/);
    await fill(page);
    await fitsPhone(page);
    await axe(page, `phone, ${colorScheme}`);
    if (colorScheme === "light") await shot(page, "clinic-phone.png");
    await page.getByRole("button", { name: "Pedir cita" }).click();
    await page.getByRole("heading", { name: "La cita fue creada con éxito" }).waitFor();
    await fitsPhone(page);
    await axe(page, `confirmation, ${colorScheme}`);
    const dentist = await open({ ...PHONE, colorScheme });
    await enter(dentist.page, /Elena Ruiz/);
    await fitsPhone(dentist.page);
    await axe(dentist.page, `schedule, ${colorScheme}`);
    if (colorScheme === "dark") await shot(dentist.page, "clinic-dentist-dark.png");
    guard.clean();
  });
}

await one("a session that was ended elsewhere says so", async (open) => {
  const { page } = await open();
  await enter(page, /Ben Miller/);
  await page.context().clearCookies();
  await page.getByRole("button", { name: "Mostrar citas anteriores" }).click();
  await page.getByRole("heading", { name: "Entra para pedir cita" }).waitFor();
});

async function shot(page, name) {
  if (asked.shots === undefined) return;
  await page.mouse.move(2, 2);
  await page.screenshot({ path: join(asked.shots, name), animations: "disabled" });
}

await browser.close();
console.log(failed === 0 ? "all passed" : `${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
