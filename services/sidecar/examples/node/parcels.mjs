// Sends parcels for the shop's orders. It knows nothing but HTTP: no package, no broker.
//
//     node parcels.mjs 3000                 the app
//     campana sidecar --app-port 3000       the sidecar beside it
//
// Orders of one customer come one after another (`ordered`). A big order takes long, so the app answers
// 202 and settles it later by its id (`answer_later`).

import { createServer } from "node:http";

const SIDECAR = process.env.SIDECAR ?? "http://127.0.0.1:3500";

const WANTED = {
  subscriptions: [
    {
      name: "parcels-js",
      events: [{ service: "shop", event: "order_created" }],
      path: "/orders",
      mode: "structured",
      ordered: true,
      answer_later: true,
      backoff_seconds: 0.05,
    },
  ],
  endpoints: [{ service: "parcels", endpoint: "track", path: "/track" }],
};

async function sidecar(method, path, body) {
  const answer = await fetch(SIDECAR + path, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return answer.status;
}

function send(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(body === undefined ? "" : JSON.stringify(body));
}

async function order(request, event, response) {
  const delivery = "/v1/deliveries/" + request.headers["campana-delivery-id"];
  const attempt = Number(request.headers["campana-attempt"]);
  const { data } = event;
  console.log("got", event.id, "attempt", attempt, "key", request.headers["campana-key"] ?? "-");
  if (data.simulate === "busy" && attempt < 2) return send(response, 503);
  if (data.simulate === "retry_word" && attempt < 2) return send(response, 200, { status: "RETRY" });
  if (data.simulate === "drop_word") return send(response, 200, { status: "DROP" });
  if (data.big) {
    send(response, 202); // "I will answer later"
    const status = await sidecar("POST", delivery + "/ack");
    console.log("settled", event.id, status);
    return;
  }
  // Tell what was done, as an event of this app; the same order told twice is stored once.
  await sidecar("POST", `/v1/publish/parcels/parcel_sent?id=${encodeURIComponent(event.id)}`, {
    order: data.order,
  });
  console.log("handled", event.id);
  send(response, 200);
}

async function read(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return JSON.parse(Buffer.concat(parts).toString() || "null");
}

const server = createServer(async (request, response) => {
  try {
    if (request.method === "GET" && request.url === "/campana/subscriptions") {
      return send(response, 200, WANTED);
    }
    const body = await read(request);
    if (request.url === "/orders") return await order(request, body, response);
    if (request.url === "/track") return send(response, 200, { parcel: body, trace: request.headers.traceparent });
    send(response, 404);
  } catch (error) {
    console.error(error);
    if (!response.headersSent) send(response, 500);
  }
});

server.listen(Number(process.argv[2] ?? 3000), "127.0.0.1", () => {
  console.log("listening on", server.address().port);
});
