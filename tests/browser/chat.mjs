// The chat's page in a browser, against a running chat with --demo, gateway and edge.
// Usage: node chat.mjs <chat url> [--shots DIR] [--only TEXT]
//   --shots DIR   writes chat.png, chat-dark.png, chat-phone.png and chat-people.png there, the pictures of docs/images
// Exit code 0 if all passed, 1 if one failed.

import { join } from "node:path";
import { parseArgs } from "node:util";
import { axe } from "./lib/axe.mjs";
import { launch } from "./lib/browser.mjs";
import { becomes, check, eventually, same } from "./lib/expect.mjs";
import { Guard } from "./lib/guard.mjs";

const { values: asked, positionals } = parseArgs({ allowPositionals: true, options: { shots: { type: "string" }, only: { type: "string" } } });
const chat = (positionals[0] ?? "").replace(/\/$/, "");
/** A machine that does everything else at the same time answers late. */
const PATIENCE = 60_000;
const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };
const SHARP = { deviceScaleFactor: 2, reducedMotion: "reduce" };
const PLAZA = "room_demo_plaza";
const browser = await launch([]);
let passed = 0;
let failed = 0;

async function one(name, run) {
  if (!name.includes(asked.only ?? "")) return;
  const contexts = [];
  const guards = [];
  /** A person in a browser of their own. */
  const as = async (person, settings = {}) => {
    const context = await browser.newContext({ viewport: { width: 1240, height: 820 }, locale: "en-GB", ...settings });
    contexts.push(context);
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    guards.push(await Guard.on(page));
    await page.goto(`${chat}/`);
    if (person !== null) {
      await page.getByRole("button", { name: person, exact: true }).click();
      await page.locator("nav.side").waitFor({ state: "attached" });
    }
    return page;
  };
  const started = performance.now();
  try {
    await run(as);
    for (const guard of guards) guard.clean(/status of (401|403|404|422|429)|ERR_INTERNET_DISCONNECTED/);
    passed += 1;
    console.log(`ok   ${name} (${Math.round(performance.now() - started)} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n     ${String(error.stack ?? error)}`);
    if (asked.shots) {
      for (const [at, page] of contexts.flatMap((context) => context.pages()).entries()) await page.screenshot({ path: join(asked.shots, `failed-${at}.png`) }).catch(() => {});
    }
  } finally {
    await Promise.all(contexts.map((context) => context.close()));
  }
}

async function enter(page, room = PLAZA) {
  await page.goto(`${chat}/#${room}`);
  await page.locator("#log .message").first().waitFor();
}

async function say(page, text) {
  await page.locator("#text").fill(text);
  await page.keyboard.press("Enter");
}

/** A picture that has something on it: hills in the evening. */
async function picture(page) {
  const address = await page.evaluate(() => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [480, 270];
    const paint = canvas.getContext("2d");
    const sky = paint.createLinearGradient(0, 0, 0, 270);
    sky.addColorStop(0, "#2b3a67");
    sky.addColorStop(1, "#f2a65a");
    paint.fillStyle = sky;
    paint.fillRect(0, 0, 480, 270);
    for (const [colour, top, width] of [["#4b5d67", 150, 90], ["#322f3d", 200, 60]]) {
      paint.fillStyle = colour;
      paint.beginPath();
      paint.moveTo(0, 270);
      for (let x = 0; x <= 480; x += 4) paint.lineTo(x, top + 30 * Math.sin(x / width));
      paint.lineTo(480, 270);
      paint.fill();
    }
    return canvas.toDataURL("image/png");
  });
  return Buffer.from(address.split(",")[1], "base64");
}

const texts = (page) => page.locator("#log .message:not(.waiting) .text").allTextContents();
const has = (page, text) => becomes(async () => (await texts(page)).filter((one) => one === text).length, 1, `one "${text}"`, PATIENCE);

await one("a person makes an account, a room, and comes back to it", async (as) => {
  const page = await as(null);
  await axe(page, "signing in");
  await page.getByRole("button", { name: "Make an account" }).first().click();
  await page.getByLabel("Handle").fill("eva");
  await page.getByLabel("Name", { exact: true }).fill("Eva Novák");
  await page.getByLabel("Password").fill("a long password");
  await axe(page, "making an account");
  await page.locator("form button.main").click();
  await page.getByText("You are in no room yet.").waitFor();
  await axe(page, "no room yet");
  await page.getByRole("button", { name: "New room" }).click();
  await axe(page, "a new room");
  await page.getByLabel("Name", { exact: true }).fill("Eva's garden");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("heading", { name: "Eva's garden" }).waitFor();
  await say(page, "The first seed");
  await has(page, "The first seed");
  await page.reload();
  await has(page, "The first seed");
  await axe(page, "a room");
});

await one("two people talk: presence, typing, receipts, edits, deletions", async (as) => {
  const [ana, bruno] = [await as("Ana Torres"), await as("Bruno Díaz", { locale: "es-MX" })];
  await Promise.all([enter(ana), enter(bruno)]);
  await becomes(() => ana.locator(".title p").last().textContent().then((text) => /2 here/.test(text)), true, "two are here", PATIENCE);
  await bruno.locator("#text").pressSequentially("Hola");
  await ana.getByText("Bruno Díaz is typing…").waitFor();
  await bruno.keyboard.press("Enter");
  await has(ana, "Hola");
  await becomes(() => ana.locator("#announcer").textContent(), "Bruno Díaz: Hola", "what a screen reader is told", PATIENCE);
  await bruno.getByText(/Leído por .*Ana Torres/).waitFor();

  // By keyboard alone: the last own message is changed with the arrow up.
  await bruno.locator("#text").focus();
  await bruno.keyboard.press("ArrowUp");
  await becomes(() => bruno.locator("#text").inputValue(), "Hola", "the text to change", PATIENCE);
  await bruno.locator("#text").fill("Hola, Ana");
  await bruno.keyboard.press("Enter");
  await has(ana, "Hola, Ana");
  same((await texts(ana)).includes("Hola"), false, "the old text");
  bruno.on("dialog", (dialog) => void dialog.accept());
  await bruno.locator(".message.own header button").last().click();
  await axe(bruno, "actions of a message");
  await bruno.getByRole("button", { name: "Borrar" }).click();
  await ana.getByText("This message was deleted.").first().waitFor();
  await axe(ana, "a conversation");
});

await one("who was offline gets everything once and in order, and so does what they wrote", async (as) => {
  const [ana, clara] = [await as("Ana Torres"), await as("Clara Ruiz")];
  await Promise.all([enter(ana), enter(clara)]);
  await clara.context().setOffline(true);
  await clara.evaluate(() => dispatchEvent(new Event("offline")));
  for (let number = 1; number <= 5; number += 1) await say(ana, `missed ${number}`);
  await has(ana, "missed 5");
  await say(clara, "from the tunnel");
  await clara.getByText("The service cannot be reached.").first().waitFor();
  // What waits is sent although its room was left meanwhile.
  await clara.getByRole("button", { name: /Montaña/ }).click();
  await clara.getByRole("heading", { name: "Montaña" }).waitFor();
  await clara.context().setOffline(false);
  await clara.evaluate(() => dispatchEvent(new Event("online")));
  await has(ana, "from the tunnel");
  await clara.getByRole("button", { name: /Plaza/ }).click();
  await has(clara, "missed 5");
  await has(clara, "from the tunnel");
  const wanted = [1, 2, 3, 4, 5].map((number) => `missed ${number}`);
  same((await texts(clara)).filter((text) => text.startsWith("missed")), wanted, "what was missed");
  await clara.reload();
  await has(clara, "from the tunnel");
  same((await texts(clara)).filter((text) => text.startsWith("missed")), wanted, "the same after a reload");
});

await one("a picture, a command with progress and result, search", async (as) => {
  const ana = await as("Ana Torres");
  await enter(ana);
  await ana.locator("#file").setInputFiles({ name: "hills.png", mimeType: "image/png", buffer: await picture(ana) });
  await say(ana, "The hills this evening");
  await ana.getByRole("img", { name: "hills.png" }).waitFor();
  await say(ana, "/thumbnail 160");
  await ana.getByRole("img", { name: "hills-160.png" }).waitFor();
  await say(ana, "/export");
  await ana.getByRole("link", { name: /Download chat-.*\.txt/ }).waitFor();
  await say(ana, "/nonsense");
  await ana.getByText("There is no such command.").waitFor();
  await ana.getByRole("button", { name: "Discard" }).click();
  await axe(ana, "pictures and commands");
  await ana.getByRole("button", { name: "Search" }).click();
  await ana.getByRole("searchbox").fill("HOLÁ escribe");
  await ana.locator("dialog button.main").click();
  await ana.getByText("1 message found").waitFor();
  await axe(ana, "search");
  await ana.keyboard.press("Escape");
  await becomes(() => ana.evaluate(() => document.activeElement?.getAttribute("aria-label")), "Search", "the focus after the dialog", PATIENCE);
});

await one("a direct message opens at the other one, and a moderator sends somebody out", async (as) => {
  const [ana, dan] = [await as("Ana Torres"), await as("Dan Brooks")];
  await dan.locator("nav.side").waitFor();
  await ana.getByRole("button", { name: "Direct message" }).click();
  await ana.getByLabel("Handle").fill("@dan");
  await ana.getByRole("button", { name: "Open" }).click();
  await ana.getByRole("heading", { name: "Dan Brooks" }).waitFor();
  await dan.getByRole("button", { name: /@ana · Ana Torres/ }).waitFor();
  await say(ana, "just us");
  await dan.getByRole("button", { name: /@ana · Ana Torres.*1 unread/s }).click();
  await has(dan, "just us");
  const room = "room_demo_bread";
  await dan.goto(`${chat}/#${room}`);
  await ana.goto(`${chat}/#${room}`);
  await dan.getByRole("heading", { name: "Bread and dough" }).waitFor();
  await ana.getByRole("heading", { name: "Bread and dough" }).waitFor();
  await ana.getByRole("button", { name: "People" }).click();
  await axe(ana, "people");
  await ana.getByText("Moderate Dan Brooks").click();
  await ana.getByRole("button", { name: "Mute for 10 minutes: Dan Brooks" }).click();
  await dan.getByText(/You may not write here until/).waitFor();
  await ana.getByRole("button", { name: "Ban for a day: Dan Brooks" }).click();
  await dan.getByText("You are not in this room any more.").first().waitFor();
  await becomes(() => dan.getByRole("button", { name: /Bread and dough/ }).count(), 0, "the room in the list", PATIENCE);
});

await one("who was away finds the bell rung, in Spanish too, and comes to the room by it", async (as) => {
  // An account that was never connected, so that nobody can take its owner for being there.
  const fay = await as(null, { locale: "es-ES" });
  const data = { handle: "fay", name: "Fay", password: "a long password" };
  check((await fay.request.post(`${chat}/api/accounts`, { data })).ok(), "an account");
  check((await fay.request.post(`${chat}/api/rooms/${PLAZA}/join`, { data: {} })).ok(), "joining");
  const ana = await as("Ana Torres");
  await enter(ana);
  await say(ana, "Are you there, @fay?");
  await has(ana, "Are you there, @fay?");
  await fay.reload();
  await becomes(() => fay.getByTestId("bell-badge").allTextContents().then((found) => found.join()), "1", "the badge", PATIENCE);
  await fay.getByTestId("bell-button").click();
  await fay.getByRole("heading", { name: "Avisos" }).waitFor();
  await axe(fay, "the bell's panel");
  await fay.getByTestId("bell-item").filter({ hasText: "Are you there, @fay?" }).locator(".row").click();
  await has(fay, "Are you there, @fay?");
});

await one("a session is ended from another device", async (as) => {
  const [first, second] = [await as("Dan Brooks"), await as("Dan Brooks")];
  await first.getByRole("button", { name: "Devices" }).click();
  await first.getByText("(this one)").waitFor();
  await axe(first, "devices");
  const others = first.getByRole("button", { name: "Sign out there" });
  await eventually(() => others.count(), (count) => count > 0, "other devices", PATIENCE);
  while (await others.count() > 0) {
    const before = await others.count();
    await others.first().click();
    await becomes(() => others.count(), before - 1, "one device less", PATIENCE);
  }
  await second.getByRole("heading", { name: "Try it as" }).waitFor();
});

await one("a phone: list, room, back, Spanish, dark, nothing wider than the screen", async (as) => {
  const page = await as("Clara Ruiz", { ...PHONE, locale: "es-ES", colorScheme: "dark" });
  await page.getByRole("heading", { name: "Salas" }).waitFor();
  same(await page.evaluate(() => document.documentElement.lang), "es", "the page's language");
  await axe(page, "the list on a phone, dark");
  await page.getByRole("button", { name: /Plaza/ }).click();
  await page.locator("#log .message").first().waitFor();
  await axe(page, "a room on a phone, dark");
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  check(wide <= 360, `${wide} px on a screen of 360`);
  const small = await page.evaluate(() => [...document.querySelectorAll("button, select, input:not(.hidden), textarea")].filter((one) => one.checkVisibility()).map((one) => [one.getAttribute("aria-label") ?? one.textContent, one.getBoundingClientRect()]).filter(([, box]) => box.width < 24 || box.height < 24).map(([name]) => name));
  same(small, [], "targets that are too small");
  await page.getByRole("button", { name: "Volver a las salas" }).click();
  await page.getByRole("button", { name: "Buscar sala" }).click();
  await page.getByRole("button", { name: /Abrir: Montaña/ }).waitFor();
  await axe(page, "the directory on a phone, dark");
  await page.keyboard.press("Escape");
  await page.getByRole("combobox").selectOption("en");
  await page.getByRole("heading", { name: "Rooms" }).waitFor();
});

if (asked.shots) await pictures();
console.log(`${passed} passed, ${failed} failed`);
await browser.close();
process.exit(failed === 0 && passed > 0 ? 0 : 1);

/** A room after a while, in its two looks, and on a phone. */
async function pictures() {
  // Somebody to talk with, who is about to say more.
  const other = await browser.newContext({ locale: "es-ES" });
  const bruno = await other.newPage();
  await bruno.goto(`${chat}/`);
  await bruno.getByRole("button", { name: "Bruno Díaz", exact: true }).click();
  await bruno.locator("nav.side").waitFor({ state: "attached" });
  await enter(bruno);
  await say(bruno, "¡Qué colores! ¿Vamos el sábado, @ana?");
  await has(bruno, "¡Qué colores! ¿Vamos el sábado, @ana?");
  const look = async (name, person, settings, act = async () => {}) => {
    const context = await browser.newContext({ ...SHARP, locale: "en-GB", ...settings });
    const page = await context.newPage();
    await page.goto(`${chat}/`);
    await page.getByRole("button", { name: person, exact: true }).click();
    await page.locator("nav.side").waitFor({ state: "attached" });
    await enter(page);
    await page.getByText(/here/).first().waitFor().catch(() => {});
    const typed = async () => {
      await bruno.locator("#text").pressSequentially("y");
      return page.getByText(/Bruno Díaz (is typing|está escribiendo)/).count();
    };
    if (person !== "Bruno Díaz") await eventually(typed, (count) => count > 0, "somebody types", PATIENCE);
    await act(page);
    await page.evaluate(() => { const log = document.getElementById("log"); log.scrollTop = log.scrollHeight; });
    await page.screenshot({ path: join(asked.shots, `${name}.png`) });
    await context.close();
  };
  const wide = { viewport: { width: 1160, height: 760 } };
  await look("chat", "Ana Torres", wide);
  await look("chat-dark", "Bruno Díaz", { ...wide, colorScheme: "dark", locale: "es-ES" });
  await look("chat-phone", "Clara Ruiz", PHONE);
  await look("chat-people", "Ana Torres", PHONE, (page) => page.getByRole("button", { name: "People" }).click());
  await other.close();
}
