import assert from "node:assert/strict";
import { test } from "node:test";
import { key, wrong } from "../src/order.ts";
import { Latest, type Picture } from "../src/picture.ts";
import { choose, price, say } from "../src/words.ts";

test("the first language that the page speaks is chosen", () => {
  assert.equal(choose(["", "fr-FR", "es-CO", "en"]), "es");
  assert.equal(choose(["EN-us"]), "en");
  assert.equal(choose(["fr"]), "en");
});

test("places of a text are filled", () => {
  assert.equal(say("es", "placedOne", { order: "s-1" }), "El pedido s-1 está hecho.");
  assert.match(price("es", 4200), /42,00/);
});

test("an order is checked before it is sent", () => {
  const order = { name: "Ana", email: "ana@example.com", sku: "a", quantity: 1, locale: "es" };
  assert.equal(wrong(order), null);
  assert.deepEqual(wrong({ ...order, name: " " }), ["name", "nameMissing"]);
  assert.deepEqual(wrong({ ...order, email: "ana" }), ["email", "emailWrong"]);
  assert.deepEqual(wrong({ ...order, quantity: 1.5 }), ["quantity", "quantityWrong"]);
  assert.match(key(), /^[0-9a-f]{32}$/);
});

test("an older picture is not drawn over a newer one", () => {
  const latest = new Latest();
  const picture = (at: number) => ({ at }) as Picture;
  assert.deepEqual([5, 4, 5, 6].map((at) => latest.take(picture(at))), [true, false, false, true]);
});
