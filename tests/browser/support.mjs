// The pages of the support desk in a browser, against a running desk with gateway and edge.
// Usage: node support.mjs <desk url> [--shots DIR] [--only TEXT]
//   --shots DIR   writes support.png, support-agents.png and support-phone.png there, the pictures of docs/images
// Prints "please: stop" and "please: start" when it wants the desk stopped and started, and reads a line each time.
// Exit code 0 if all passed, 1 if one failed.

import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { axe } from "./lib/axe.mjs";
import { launch } from "./lib/browser.mjs";
import { becomes, check, eventually, same } from "./lib/expect.mjs";
import { Guard } from "./lib/guard.mjs";

const { values: asked, positionals } = parseArgs({ allowPositionals: true, options: { shots: { type: "string" }, only: { type: "string" } } });
const desk = (positionals[0] ?? "").replace(/\/$/, "");
/** A machine that does everything else at the same time answers late. */
const PATIENCE = 60_000;
const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };
const SHARP = { deviceScaleFactor: 1.5, reducedMotion: "reduce" };
const AWAY = /ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|Failed to load resource/;
const QUIET = /Failed to load resource.*\/api\/session/;

const browser = await launch([]);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let passed = 0;
let failed = 0;

async function please(what) {
  console.log(`please: ${what}`);
  await answers.next();
}

async function one(name, run) {
  if (!name.includes(asked.only ?? "")) return;
  const contexts = [];
  const guards = [];
  const open = async (settings = {}) => {
    const context = await browser.newContext({ viewport: { width: 1100, height: 820 }, locale: "en-GB", ...settings });
    contexts.push(context);
    const page = await context.newPage();
    guards.push(await Guard.on(page));
    return page;
  };
  try {
    const expected = await run(open);
    for (const guard of guards) guard.clean(expected ?? /^$/);
    passed += 1;
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n     ${String(error.message ?? error)}`);
  } finally {
    await Promise.all(contexts.map((context) => context.close()));
  }
}

const live = (page) => becomes(() => page.locator("#conn").getAttribute("data-state"), "live", "the connection", PATIENCE);
const lines = (page) => page.locator("#log .words").allTextContents();

async function ask(page, subject, text = "It is silent.\nWhat now?") {
  await page.goto(`${desk}/`);
  await page.locator("#name").fill("Ana");
  await page.locator("#email").fill("ana@example.com");
  await page.locator("#subject").fill(subject);
  await page.locator("#text").fill(text);
  await page.locator("#ask .primary").click();
  await page.locator("#chat").waitFor({ timeout: PATIENCE });
  await live(page);
}

async function signIn(page, name = "Sam") {
  await page.goto(`${desk}/agents`);
  await page.getByRole("button", { name, exact: true }).click();
  await page.locator("#desk").waitFor({ timeout: PATIENCE });
  await live(page);
}

async function take(page, subject) {
  await page.locator("#queue button", { hasText: subject }).click({ timeout: PATIENCE });
  await page.locator("#claim").click({ timeout: PATIENCE });
  await page.locator("#say").waitFor({ timeout: PATIENCE });
}

async function speak(page, text) {
  await page.locator("#message").fill(text);
  await page.locator("#message").press("Enter");
}

await one("a question, an answer and an end, live on both sides", async (open) => {
  const agent = await open();
  await signIn(agent);
  const customer = await open();
  await ask(customer, "A silent bell");
  await take(agent, "A silent bell");
  await becomes(() => customer.locator("#state").textContent(), "in hand", "the customer's view of the state", PATIENCE);
  await speak(agent, "Shake it, please.");
  await becomes(() => lines(customer), ["It is silent.\nWhat now?", "Shake it, please."], "the customer's chat", PATIENCE);
  await speak(customer, "It rings!");
  await becomes(() => lines(agent), ["It is silent.\nWhat now?", "Shake it, please.", "It rings!"], "the agent's chat", PATIENCE);
  await axe(customer, "the customer's chat");
  await axe(agent, "the desk");
  await customer.reload();
  await becomes(() => lines(customer), ["It is silent.\nWhat now?", "Shake it, please.", "It rings!"], "the chat after a reload", PATIENCE);
  await customer.locator("#close").click();
  await becomes(() => agent.locator("#state").textContent(), "closed", "the agent's view of the end", PATIENCE);
  check(!(await customer.locator("#say").isVisible()), "a closed ticket takes messages");
  await customer.locator("#another").click();
  await customer.locator("#earlier button").first().waitFor();
});

await one("two agents want one ticket and one gets it", async (open) => {
  const [first, second] = [await open(), await open()];
  await signIn(first, "Sam");
  await signIn(second, "Lucía");
  await ask(await open(), "For one of you");
  for (const page of [first, second]) await page.locator("#queue button", { hasText: "For one of you" }).click({ timeout: PATIENCE });
  for (const page of [first, second]) await page.locator("#claim").waitFor({ timeout: PATIENCE });
  await Promise.all([first, second].map((page) => page.locator("#claim").click({ timeout: 3_000 }).catch(() => {})));
  const owners = async () => (await Promise.all([first, second].map((page) => page.locator("#say").isVisible()))).filter(Boolean).length;
  await becomes(owners, 1, "agents with the ticket", PATIENCE);
  for (const page of [first, second]) await becomes(() => page.locator("#state").textContent(), "in hand", "the state", PATIENCE);
  same(await owners(), 1, "agents with the ticket in the end");
  return /409/;
});

await one("what is written for one ticket stays there, and a ticket can be given back", async (open) => {
  await ask(await open(), "The first of two");
  await ask(await open(), "The second of two");
  const agent = await open();
  await signIn(agent);
  await take(agent, "The first of two");
  await agent.locator("#message").fill("Only for the first");
  await take(agent, "The second of two");
  same(await agent.locator("#message").inputValue(), "", "the field of the other ticket");
  await becomes(() => lines(agent), ["It is silent.\nWhat now?"], "the other chat", PATIENCE);
  await agent.locator("#queue button", { hasText: "The first of two" }).click();
  await becomes(() => agent.locator("#message").inputValue(), "Only for the first", "what was written", PATIENCE);
  await agent.locator("#return").click();
  await becomes(() => agent.locator("#chat").isVisible(), false, "the chat", PATIENCE);
  const other = await open();
  await signIn(other, "Lucía");
  await take(other, "The first of two");
  same(await other.locator("#message").inputValue(), "", "another agent's field");
});

await one("a desk that is replaced loses nothing that was written meanwhile", async (open) => {
  const agent = await open();
  await signIn(agent);
  const customer = await open();
  await ask(customer, "While you are away");
  await take(agent, "While you are away");
  await please("stop");
  await speak(customer, "Are you there?");
  await eventually(() => customer.locator("#said").textContent(), (text) => /does not answer/.test(text), "the page says so", PATIENCE);
  same(await customer.locator("#message").inputValue(), "Are you there?", "what was written");
  await please("start");
  await customer.locator("#say .primary").click();
  await becomes(() => lines(agent), ["It is silent.\nWhat now?", "Are you there?"], "the agent's chat", PATIENCE);
  await becomes(() => lines(customer), ["It is silent.\nWhat now?", "Are you there?"], "the customer's chat, each once", PATIENCE);
  await speak(agent, "Again, yes.");
  await becomes(() => lines(customer), ["It is silent.\nWhat now?", "Are you there?", "Again, yes."], "the answer", PATIENCE);
  return AWAY;
});

await one("in Spanish on a phone, with complaints beside the fields", async (open) => {
  const page = await open({ ...PHONE, locale: "es-CO" });
  await page.goto(`${desk}/`);
  await becomes(() => page.locator("h1").first().textContent(), "¿En qué podemos ayudarte?", "the title", PATIENCE);
  await page.locator("#ask .primary").click();
  await becomes(() => page.locator("#name-error").textContent(), "Escribe algo aquí.", "the complaint");
  same(await page.evaluate(() => document.activeElement.id), "name", "the focus");
  await axe(page, "the form on a phone");
  await ask(page, "Una campana muda", "No suena.");
  same(await page.evaluate(() => document.documentElement.scrollWidth), 360, "the width of the page");
  await axe(page, "the chat on a phone");
  const agent = await open(PHONE);
  await signIn(agent, "Lucía");
  await axe(agent, "the queue on a phone");
  await take(agent, "Una campana muda");
  check(!(await agent.locator("#queue").isVisible()), "a phone has no room for the list beside the chat");
  same(await agent.evaluate(() => document.documentElement.scrollWidth), 360, "the width of the agents' page");
  await agent.locator("#back").click();
  await agent.locator("#queue").waitFor();
});

await one("dark, and a session that ends", async (open) => {
  const page = await open({ colorScheme: "dark" });
  await page.goto(`${desk}/agents`);
  await page.locator("#account").fill("sam");
  await page.locator("#password").fill("wrong");
  await page.locator("#sign-in .primary").click();
  await becomes(() => page.locator("#said").textContent(), "Name or password is wrong.", "the refusal", PATIENCE);
  await axe(page, "the login in the dark");
  await signIn(page);
  await axe(page, "the desk in the dark");
  await page.locator("#out").click();
  await page.locator("#login").waitFor({ timeout: PATIENCE });
  const status = await page.evaluate(async () => (await fetch("/api/queue")).status);
  same(status, 401, "the queue after signing out");
  return new RegExp(`401|${QUIET.source}`);
});

if (asked.shots) {
  await one("pictures", async (open) => {
    const agent = await open(SHARP);
    await signIn(agent);
    const phone = await open({ ...SHARP, ...PHONE, deviceScaleFactor: 2 });
    await ask(phone, "My bell does not ring", "I put a <campana-bell> into my page, and nothing happens.");
    await take(agent, "My bell does not ring");
    await speak(agent, "Hello Ana! What does the browser's console say?");
    await becomes(async () => (await lines(phone)).length, 2, "the answer", PATIENCE);
    await speak(phone, "Refused to connect: the page's origin is not allowed.");
    await becomes(async () => (await lines(agent)).length, 3, "the message", PATIENCE);
    await speak(agent, "Then add it to edge.allowed_origins, exactly as the browser sends it.");
    await becomes(async () => (await lines(phone)).length, 4, "the answer", PATIENCE);
    await phone.screenshot({ path: join(asked.shots, "support-phone.png") });
    await agent.screenshot({ path: join(asked.shots, "support-agents.png") });
  });
}

console.log(`${passed} passed, ${failed} failed`);
await browser.close();
process.exit(failed === 0 && passed > 0 ? 0 : 1);
