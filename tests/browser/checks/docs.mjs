// The API docs: every operation of the OpenAPI document is drawn, without a foreign host.

import { becomes, check, same } from "../lib/expect.mjs";
import { Guard } from "../lib/guard.mjs";

const METHODS = ["get", "put", "post", "delete", "patch"];

export const docsChecks = [
  ["/docs draws every operation and stays on this machine", drawsAll],
  ["/docs asks no foreign host either when the gateway has a public name", underAnotherName],
];

async function drawsAll({ context, platform }) {
  const page = await context.newPage();
  const guard = await Guard.on(page);
  await page.goto(`${platform.gateway}/docs`);
  const { paths } = await platform.openapi();
  const wanted = Object.entries(paths).flatMap(([path, item]) => METHODS.filter((method) => method in item).map((method) => `${method} ${path}`));
  check(wanted.length >= 14, `the document has only ${wanted.length} operations`);
  await becomes(() => operations(page), wanted.toSorted(), "operations on the page");
  const first = page.locator("#operations-notifications-post_notification, .opblock-post").first();
  await first.locator(".opblock-summary-control").click();
  await first.locator(".opblock-body").waitFor();
  check((await first.locator(".responses-table .response").count()) > 1, "the answers of an operation are shown");
  guard.clean();
}

/** Swagger UI asks an online validator as soon as it is not on localhost, unless it is told not to. */
async function underAnotherName({ context, platform }) {
  const page = await context.newPage();
  const foreign = [];
  const named = new URL(platform.gateway);
  named.hostname = "campana.test";
  page.on("request", (request) => new URL(request.url()).host !== named.host && !request.url().startsWith("data:") && foreign.push(request.url()));
  await page.goto(`${named.origin}/docs/`);
  await page.locator(".opblock").first().waitFor();
  await page.waitForLoadState("networkidle");
  same(foreign, [], "requests to other hosts");
}

function operations(page) {
  return page.locator(".opblock").evaluateAll((blocks) => blocks.map((block) => {
    const method = block.querySelector(".opblock-summary-method").textContent.trim().toLowerCase();
    return `${method} ${block.querySelector(".opblock-summary-path").dataset.path}`;
  }).sort());
}
