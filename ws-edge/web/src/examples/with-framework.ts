import { Inbox } from "campana-bell/headless";
import type { InboxOptions, Snapshot } from "campana-bell/headless";

// In React:
//   const { items, unread } = useSyncExternalStore(inbox.subscribe, inbox.getSnapshot);

/** A component: what to show for a snapshot. */
function UnreadCard({ unread, unseen, items, more }: Snapshot, inbox: Inbox): Node[] {
  const text = document.createElement("p");
  text.textContent = `${unread} unread, ${unseen} unseen, ${items.length} loaded`;
  const button = document.createElement("button");
  button.className = "hook-button";
  button.textContent = more ? "Load earlier" : "Everything is here";
  button.disabled = !more;
  button.onclick = () => inbox.loadEarlier();
  return [text, button];
}

/** What a framework does with a store: draw, and draw again when the snapshot is another one. */
export function mount(root: HTMLElement, options: InboxOptions): Inbox {
  const inbox = new Inbox(options);
  let drawn: Snapshot | null = null;
  const draw = (): void => {
    const snapshot = inbox.getSnapshot();
    if (snapshot === drawn) return;
    drawn = snapshot;
    root.replaceChildren(...UnreadCard(snapshot, inbox));
  };
  inbox.subscribe(draw);
  draw();
  inbox.start();
  return inbox;
}
