/** What every part of the page needs: to be drawn, to be heard, and to run what somebody asked for. */

import { explain, state } from "./state.ts";

export let draw: () => void = () => undefined;
export let announce: (text: string) => void = () => undefined;

export function onDraw(drawing: () => void, announcing: (text: string) => void): void {
  draw = drawing;
  announce = announcing;
}

/** There is no session any more: nothing of it stays on the page. */
export function signedOut(): void {
  location.hash = "";
  location.reload();
}

/** Runs what a form or button asks for; a refusal is shown where it was asked. */
export async function attempt(work: () => Promise<void>): Promise<void> {
  if (state.busy) return;
  state.busy = true;
  state.error = null;
  draw();
  try {
    await work();
  } catch (error) {
    if ((error as { status?: number }).status === 401 && state.start?.person != null) return signedOut();
    state.error = explain(error);
  } finally {
    state.busy = false;
    draw();
  }
}
