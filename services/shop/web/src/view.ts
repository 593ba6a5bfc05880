// Draws a picture of the shop. Everything is text set on elements: nothing that came is ever read as HTML.

import type { OrderState, Picture } from "./picture.ts";
import { type Language, type Word, price, say } from "./words.ts";

export function at<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found as T;
}

/** The page's fixed words. */
export function translate(language: Language): void {
  document.documentElement.lang = language;
  document.title = say(language, "pageTitle");
  for (const element of document.querySelectorAll<HTMLElement>("[data-word]")) {
    element.textContent = say(language, element.dataset["word"] as Word);
  }
}

export function draw(picture: Picture, language: Language): void {
  const { totals, projection } = picture;
  const reader = (name: string) => picture.readers.find((one) => one.name === name);
  products(picture, language);
  at("queue-waiting").textContent = String(reader("shop-packing")?.waiting ?? "–");
  rows("packers", totals.packers.map(([worker, count]) => [worker, say(language, "packedCount", { count })]), say(language, "noPackers"));
  const pause = at("pause");
  const paused = reader("shop-packing")?.paused ?? false;
  pause.textContent = say(language, paused ? "resume" : "pause");
  pause.dataset["action"] = paused ? "resume" : "pause";
  const topic: [Word, string, number][] = [["inventory", "shop-inventory", totals.reserved], ["mailReader", "shop-mail", totals.confirmed], ["analytics", "shop-analytics", totals.counted]];
  rows("readers", topic.filter(([, name]) => reader(name) !== undefined).map(([word, name, count]) => [say(language, word), say(language, "handled", { count, waiting: reader(name)?.waiting ?? 0 })]), "–");
  at("stream-events").textContent = String(projection.events);
  const named = new Map(picture.products.map((one) => [one.sku, language === "es" ? one.name_es : one.name_en]));
  rows("best", projection.best.map(([sku, count]) => [named.get(sku) ?? sku, say(language, "pieces", { count })]), say(language, "noSales"));
  at("rebuilt").textContent = projection.rebuilt_at === 0 ? "" : say(language, "rebuilt", { time: time(language, projection.rebuilt_at) });
  at("due").textContent = picture.report_due_at === null ? "" : say(language, "due", { time: moment(language, picture.report_due_at) });
  rows("reports", picture.reports.map((one) => [one.day, say(language, one.short > 0 ? "reportShort" : "reportRow", { orders: one.orders, price: price(language, one.cents), short: one.short })]), say(language, "noReports"));
  orders(picture.orders, language);
}

function products(picture: Picture, language: Language): void {
  const select = at<HTMLSelectElement>("sku");
  const wanted = picture.products.map((one) => [one.sku, say(language, "left", { name: language === "es" ? one.name_es : one.name_en, price: price(language, one.cents), stock: one.stock })] as const);
  // An open list must not be rebuilt under the finger: only texts that changed are set.
  if (select.options.length !== wanted.length) {
    select.replaceChildren(...wanted.map(([sku, text]) => new Option(text, sku)));
  }
  wanted.forEach(([, text], index) => {
    const option = select.options[index];
    if (option !== undefined && option.text !== text) option.text = text;
  });
}

function rows(id: string, entries: readonly (readonly [string, string])[], otherwise: string): void {
  const list = at(id);
  if (entries.length === 0) {
    list.replaceChildren(element("li", element("span", otherwise)));
    return;
  }
  list.replaceChildren(...entries.map(([left, right]) => element("li", element("span", left), element("span", right))));
}

function orders(all: readonly OrderState[], language: Language): void {
  at("empty").hidden = all.length > 0;
  at("orders-box").hidden = all.length === 0;
  const body = at<HTMLTableElement>("orders").tBodies[0];
  body?.replaceChildren(...all.map((one) => {
    const cell = (label: Word, text: string, kind = "") => {
      const made = element("td", text);
      made.dataset["label"] = say(language, label);
      if (kind !== "") made.className = kind;
      return made;
    };
    const done = (label: Word, holds: boolean) => cell(label, say(language, holds ? "yes" : "open"), holds ? "done" : "open");
    const stock = one.short === null ? cell("stock", say(language, "open"), "open") : one.short > 0 ? cell("stock", say(language, "short"), "short") : cell("stock", say(language, "taken"), "done");
    const packed = one.packed_by === null ? cell("packed", say(language, "open"), "open") : cell("packed", one.packed_by, "done");
    const row = element("tr", cell("order", one.order), cell("placed", time(language, one.placed_at)), cell("price", price(language, one.cents)), packed, stock, done("mail", one.confirmed), done("counted", one.counted));
    row.dataset["order"] = one.order;
    return row;
  }));
}

function element(name: string, ...children: (Node | string)[]): HTMLElement {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

function time(language: Language, micros: number): string {
  return new Intl.DateTimeFormat(language, { timeStyle: "medium" }).format(micros / 1_000);
}

function moment(language: Language, micros: number): string {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(micros / 1_000);
}
