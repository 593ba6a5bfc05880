import { Inbox } from "campana-bell/headless";
import type { InboxOptions } from "campana-bell/headless";

/** The newest five of an inbox, in a list of the page's own. */
export function headlessList(options: InboxOptions): Inbox {
  const inbox = new Inbox(options);
  const at = (id: string): HTMLElement => document.getElementById(`headless-${id}`) as HTMLElement;

  inbox.on("change", ({ items, unread, state }) => {
    at("unread").textContent = String(unread);
    at("state").textContent = state;
    at("list").replaceChildren(...items.filter((item) => !item.archived).slice(0, 5).map((item) => {
      const [row, title, read] = [document.createElement("li"), document.createElement("span"), document.createElement("button")];
      row.className = item.read ? "" : "fresh";
      title.textContent = item.title;
      read.textContent = item.read ? "Read" : "Mark read";
      read.disabled = item.read;
      read.onclick = () => inbox.markRead([item.id]);
      row.append(title, read);
      return row;
    }));
  });
  inbox.on("refused", ({ reason }) => console.warn(`not marked: ${reason}`));

  inbox.start();
  return inbox;
}
