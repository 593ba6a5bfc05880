/** The code a visitor may copy, with the addresses of this very installation. Pure. */

import type { Session } from "./platform.ts";

export type SnippetName = "element" | "sdk" | "curl";

export function snippet(name: SnippetName, session: Session, origin: string): string {
  const api = session.api_base === "" ? origin : session.api_base;
  switch (name) {
    case "element":
      return `<script type="module" src="${origin}/assets/campana-bell.js"></script>
<campana-bell user="${session.user}" endpoint="${session.ws_url}"
  api-base="${api}"></campana-bell>
<script type="module">
  const bell = document.querySelector("campana-bell");
  // Your server asks POST /v1/tokens for the signed-in user and hands the token on.
  const session = async () => (await fetch("/bell-token", { method: "POST" })).json();
  bell.getToken = async () => (await session()).token;
  bell.addEventListener("campana-notification", (event) => console.log(event.detail.notification.title));
</script>`;
    case "sdk":
      return `import { Centrifuge } from "centrifuge"; // also for Python, Go, Dart, Swift, Java, C#

const client = new Centrifuge("${session.ws_url}", {
  getToken: async () => (await (await fetch("/bell-token", { method: "POST" })).json()).token,
});
client.on("publication", ({ channel, data }) => {
  if (channel === "${session.channel}" && data.type === "notification") console.log(data.title);
});
client.connect();`;
    case "curl":
      return `curl ${api}/v1/notifications \\
  -H 'Authorization: Bearer ${session.api_key}' \\
  -H 'Content-Type: application/json' \\
  -d '{"to": "${session.user}", "content": {"title": "Hello", "body": "From a terminal"}}'`;
  }
}
