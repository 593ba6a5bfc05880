/** What the page does when somebody presses something. Reads and writes: the API, the state. Never: the document. */

import { api, Refusal, type Action, type Appointment, type Me } from "./api.ts";
import { follow, type Live } from "./live.ts";
import { change, explain, NO_CHOICE, say, state, words, type Asked, type Choice, type List } from "./state.ts";
import { plusDays } from "./time.ts";

let live: Live | null = null;

/**
 * Does something that takes time; a refusal becomes words at `where`. True if it was done. Whoever presses again
 * meanwhile is not heard: buttons are not disabled for it, because a disabled button loses the focus.
 */
export async function during(where: string, work: () => Promise<void>): Promise<boolean> {
  if (state.busy !== "") return false;
  await change({ busy: where, trouble: null });
  try {
    await work();
    return true;
  } catch (error) {
    await change({ trouble: explain(where, error) });
    if (error instanceof Refusal && error.code === "unauthorized") await ended();
    return false;
  } finally {
    await change({ busy: "" });
  }
}

export async function start(): Promise<void> {
  await during("start", async () => {
    const setup = await api.setup();
    await change({ setup });
    if (setup.me !== null) await enter(setup.me);
    await change({ ready: true });
  });
}

export async function enter(me: Me): Promise<void> {
  await change({ me, signingUp: false, ahead: null, over: null, created: null });
  live?.stop();
  live = follow(state.setup?.edge_url ?? "", me.id, token, () => void refresh(), (now) => void change({ live: now }));
  await Promise.all([load("ahead"), me.role === "patient" ? loadClinics() : Promise.resolve()]);
}

/** For the bell and the live updates. A session that was ended elsewhere ends here too. */
export async function token(): Promise<string> {
  try {
    return (await api.edgeToken()).token;
  } catch (error) {
    if (error instanceof Refusal && error.code === "unauthorized") await ended();
    throw error;
  }
}

export async function leave(): Promise<void> {
  await during("leave", async () => {
    await api.signOut();
    await ended();
  });
}

async function ended(): Promise<void> {
  live?.stop();
  live = null;
  await change({ me: null, ahead: null, over: null, created: null, asked: null, choice: NO_CHOICE, clinic: "" });
  location.hash = "#/";
}

async function loadClinics(): Promise<void> {
  const { data, days_ahead_max: daysAhead } = await api.clinics();
  await change({ clinics: data, daysAhead });
}

/** A list anew, as long as it was: what somebody has scrolled to does not go away under their eyes. */
async function load(which: "ahead" | "over"): Promise<void> {
  const shown = state[which]?.items.length ?? 0;
  let { data: items, next } = await api.appointments(which, "");
  while (next !== null && items.length < shown) {
    const page = await api.appointments(which, next);
    items = [...items, ...page.data];
    next = page.next;
  }
  await change({ [which]: { items, next } });
}

export async function loadOver(): Promise<void> {
  await during("over", () => load("over"));
}

export async function loadMore(which: "ahead" | "over"): Promise<void> {
  const list = state[which];
  if (list === null || list.next === null) return;
  await during(which, async () => {
    const { data, next } = await api.appointments(which, list.next ?? "");
    // A look that came in between may have brought some of them.
    const known = new Set(list.items.map(({ id }) => id));
    await change({ [which]: { items: [...list.items, ...data.filter(({ id }) => !known.has(id))], next } });
  });
}

let again = false;
let refreshing = false;

/** Looks at what is shown again; many calls in a row become two looks at most. */
export async function refresh(): Promise<void> {
  again = true;
  if (refreshing) return;
  refreshing = true;
  try {
    while (again && state.me !== null) {
      again = false;
      await load("ahead");
      if (state.over !== null) await load("over");
      if (state.choice.dentist !== "" && state.choice.date !== "") await loadTimes("choice");
    }
  } catch (error) {
    // What is shown stays; the next change, or coming back to the page, looks again.
    if (error instanceof Refusal && error.code === "unauthorized") await ended();
    else if (!(error instanceof Refusal)) throw error;
  } finally {
    refreshing = false;
  }
}

export async function chooseClinic(clinic: string): Promise<void> {
  const found = state.clinics.find((one) => one.id === clinic);
  const only = found?.dentists.length === 1 ? found.dentists[0]?.id : undefined;
  const date = state.choice.date === "" ? plusDays(found?.today ?? "", 1) : state.choice.date;
  await change({ clinic, choice: { ...NO_CHOICE, dentist: only ?? "", date: found === undefined ? "" : date } });
  if (only !== undefined) await choose("choice", {});
}

/** Changes dentist or date and looks for the free times. */
export async function choose(which: "choice" | "proposal", part: Partial<Choice>): Promise<void> {
  const choice: Choice = { ...state[which], ...part, chosen: "" };
  if (choice.dentist === "" || choice.date === "") {
    await change({ [which]: { ...choice, times: "none" } });
    return;
  }
  await change({ [which]: { ...choice, times: "loading" }, trouble: null });
  try {
    await loadTimes(which);
  } catch (error) {
    await change({ [which]: { ...choice, times: "none" }, trouble: explain(which === "choice" ? "book" : "act", error) });
  }
}

async function loadTimes(which: "choice" | "proposal"): Promise<void> {
  const { dentist, date } = state[which];
  const { data, closed } = await api.times(dentist, date);
  const now = state[which];
  // Somebody chose something else meanwhile.
  if (now.dentist !== dentist || now.date !== date) return;
  const chosen = data.some((time) => time.starts_at === now.chosen) ? now.chosen : "";
  await change({ [which]: { ...now, times: data, closed, chosen } });
}

export async function book(note: string): Promise<boolean> {
  const { dentist, chosen } = state.choice;
  if (chosen === "") {
    await change({ trouble: { where: "book", text: words().missingTime, pointer: "/starts_at" } });
    return false;
  }
  const done = await during("book", async () => {
    const created = await api.book({ dentist, starts_at: chosen, note, request_id: state.requestId });
    await change({ created, requestId: crypto.randomUUID(), choice: NO_CHOICE, clinic: "" });
  });
  // What came before is in the list; the next press is another wish.
  if (state.trouble?.code === "request_reused") await change({ requestId: crypto.randomUUID() });
  void refresh();
  return done;
}

export async function ask(asked: Asked | null): Promise<void> {
  const proposal = asked?.action === "propose" ? { ...NO_CHOICE, dentist: asked.appointment.dentist.id } : NO_CHOICE;
  await change({ asked, proposal, trouble: null });
}

/** Answers; the list shows the result at once, and what others did with the next look. */
export async function act(appointment: Appointment, action: Action, more: { starts_at?: string; message?: string } = {}): Promise<boolean> {
  const { id, version } = appointment;
  const where = state.asked === null ? id : "act";
  const done = await during(where, async () => {
    const now = await api.act(id, action, { version, ...more });
    const put = (list: List | null): List | null => list && { ...list, items: list.items.map((one) => (one.id === id ? now : one)) };
    await change({ ahead: put(state.ahead), asked: null });
    await say(words().done[action]);
  });
  void refresh();
  return done;
}

export async function openAccount(): Promise<void> {
  await during("account", async () => {
    await change({ sessions: (await api.sessions()).data });
  });
}

export async function endSession(id: string): Promise<void> {
  await during("account", async () => {
    await api.endSession(id);
    await change({ sessions: (await api.sessions()).data });
  });
}
