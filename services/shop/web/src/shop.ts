// The page: what the visitor does, and what the shop says.

import { follow, type State } from "./live.ts";
import { type Field, key, place, type Wanted, wrong } from "./order.ts";
import { Latest, type Picture } from "./picture.ts";
import { at, draw, translate } from "./view.ts";
import { choose, type Language, say, type Word } from "./words.ts";

const MANY = 20;
const REMEMBERED = "campana-shop-language";

let language: Language = choose([remembered(), ...navigator.languages]);
let shown: Picture | null = null;
let connection: State = "connecting";
const latest = new Latest();

function remembered(): string {
  try {
    return localStorage.getItem(REMEMBERED) ?? "";
  } catch {
    return "";
  }
}

function tell(word: Word, values: Record<string, string | number> = {}): void {
  at("said").textContent = say(language, word, values);
}

function showState(): void {
  const conn = at("conn");
  conn.dataset["state"] = connection;
  const text = say(language, connection);
  if (conn.textContent !== text) conn.textContent = text;
  const trouble = at("trouble");
  trouble.hidden = connection !== "away";
  trouble.textContent = connection === "away" ? say(language, "noPicture") : "";
}

function redraw(): void {
  translate(language);
  showState();
  if (shown !== null) draw(shown, language);
}

function wanted(): Wanted {
  const value = (id: string) => at<HTMLInputElement>(id).value;
  return { name: value("name"), email: value("email"), sku: value("sku"), quantity: Number(value("quantity")), locale: language };
}

/** Says what is wrong beside the field, and goes there. */
function complain(problem: [Field, Word] | null): boolean {
  for (const field of ["name", "email", "quantity"] as const) {
    const input = at<HTMLInputElement>(field);
    const bad = problem !== null && problem[0] === field;
    input.setAttribute("aria-invalid", String(bad));
    const error = document.getElementById(`${field}-error`);
    if (error !== null) {
      error.hidden = !bad;
      error.textContent = bad ? say(language, problem[1]) : "";
    }
    if (bad) {
      tell(problem[1]);
      input.focus();
    }
  }
  return problem !== null;
}

let busy = false;

async function order(count: number): Promise<void> {
  if (busy) return;
  const what = wanted();
  if (complain(wrong(what))) return;
  busy = true;
  for (const id of ["place", "many"]) at(id).setAttribute("aria-disabled", "true");
  tell(count === 1 ? "placing" : "placingMany");
  try {
    const outcomes = await Promise.all(Array.from({ length: count }, () => place(what, key())));
    const failed = outcomes.find((one) => "problem" in one);
    const placed = outcomes.filter((one) => "order" in one);
    const first = placed[0];
    if (failed !== undefined && "problem" in failed) tell(failed.problem);
    else if (placed.length === 1 && first !== undefined) tell("placedOne", { order: first.order });
    else tell("placedMany", { count: placed.length });
  } finally {
    busy = false;
    for (const id of ["place", "many"]) at(id).removeAttribute("aria-disabled");
  }
}

async function act(action: string): Promise<void> {
  try {
    const answer = await fetch(`api/demo/${action}`, { method: "POST" });
    if (!answer.ok) tell("unreachable");
  } catch {
    tell("unreachable");
  }
}

at("order").addEventListener("submit", (event) => {
  event.preventDefault();
  void order(1);
});
at("many").addEventListener("click", () => void order(MANY));
at("pause").addEventListener("click", () => void act(at("pause").dataset["action"] ?? "pause"));
for (const action of ["restock", "rebuild", "report"]) at(action).addEventListener("click", () => void act(action));
at<HTMLSelectElement>("language").value = language;
at("language").addEventListener("change", () => {
  language = choose([at<HTMLSelectElement>("language").value]);
  try {
    localStorage.setItem(REMEMBERED, language);
  } catch {
    // Private windows forget it, which is what they are for.
  }
  redraw();
});

redraw();
void follow({
  picture(picture) {
    if (!latest.take(picture)) return;
    shown = picture;
    draw(picture, language);
  },
  state(state) {
    connection = state;
    showState();
  },
  demo() {
    for (const button of document.querySelectorAll<HTMLElement>(".demo")) button.hidden = false;
  },
});
