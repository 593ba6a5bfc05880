// The clinic of docs/guide-clinic.md in a browser, after the step that gave the dentist a bell and the one that lets
// an appointment be cancelled.
// Usage: node guide.mjs <clinic url> <step>
// Exit code 0 if all passed. A run books an appointment.

import { launch } from "./lib/browser.mjs";
import { becomes, check, eventually } from "./lib/expect.mjs";

const [clinic, step] = [process.argv[2] ?? "", Number(process.argv[3])];
/** A machine that does everything else at the same time answers late. */
const PATIENCE = 60_000;

const browser = await launch([]);
const open = async (path) => {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.goto(`${clinic}${path}`);
  return page;
};
const badge = async (page) => Number((await page.locator("campana-bell").getByTestId("bell-badge").allTextContents()).join(""));
const lines = (page) => page.locator("li").count();

/** The form and the dentist's page side by side: the bell rings and the list grows without a reload. */
async function books(dentist, patient, time) {
  const page = await open("/");
  const before = { badge: await badge(dentist), lines: await lines(dentist) };
  await page.getByLabel("Dentist").selectOption("dr-ruiz");
  await page.getByLabel("Your name").fill(patient);
  await page.getByLabel("Your e-mail").fill("browser@example.com");
  const day = new Date(Date.now() + 9 * 86_400_000).toISOString().slice(0, 10);
  await page.getByLabel("When").fill(`${day}T${time}`);
  await page.getByRole("button", { name: "Book" }).click();
  await eventually(() => page.getByRole("status").textContent(), (text) => text.startsWith(`Booked: ${patient} with Dr. Elena Ruiz`), "the answer", PATIENCE);
  await becomes(() => badge(dentist), before.badge + 1, "the bell's badge", PATIENCE);
  await becomes(() => lines(dentist), before.lines + 1, "the dentist's list", PATIENCE);
  // The same time once more: the refusal is shown in words.
  await page.getByRole("button", { name: "Book" }).click();
  await becomes(() => page.getByRole("status").textContent(), "Dr. Elena Ruiz is not free at this time; choose another one", "the refusal", PATIENCE);
}

try {
  const dentist = await open("/dentists/dr-ruiz");
  await becomes(() => dentist.locator("campana-bell").getAttribute("state"), "connected", "the bell", PATIENCE);
  // What was told before this page was ever open is in the inbox.
  await eventually(() => badge(dentist), (count) => count > 0, "the badge of what came before", PATIENCE);
  await books(dentist, `Visitor ${step}`, `1${step}:00`);
  if (step >= 6) {
    const before = { badge: await badge(dentist), lines: await lines(dentist) };
    const line = dentist.locator("li").filter({ hasText: `Visitor ${step}` });
    await line.getByRole("button", { name: "Cancel" }).click();
    await becomes(() => lines(dentist), before.lines - 1, "the list after the cancellation", PATIENCE);
    await becomes(() => badge(dentist), before.badge + 1, "the bell after the cancellation", PATIENCE);
  }
  check(browser.isConnected(), "the browser is still there");
  console.log("all passed");
} catch (error) {
  console.log(`FAIL ${String(error.message ?? error)}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
