// Elements without a framework.

type Child = Node | string | null;

export function el<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Record<string, string> = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Words of a text panel: paragraphs, **bold**, *emphasis* and `code`; everything else stays text. */
export function markdown(text: string): HTMLElement {
  const box = el("div", { class: "words" });
  for (const part of text.split(/\n{2,}/)) {
    const paragraph = el("p");
    for (const piece of part.split(/(\*\*[^*]+\*\*|\*[^*]+\*|`[^`]+`)/)) {
      if (piece.startsWith("**")) paragraph.append(el("strong", {}, piece.slice(2, -2)));
      else if (piece.startsWith("`")) paragraph.append(el("code", {}, piece.slice(1, -1)));
      else if (piece.startsWith("*")) paragraph.append(el("em", {}, piece.slice(1, -1)));
      else paragraph.append(piece);
    }
    box.append(paragraph);
  }
  return box;
}
