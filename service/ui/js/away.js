// What is shown while the service does not answer.

import { Unreachable, untilBack } from "./api.js";
import { byId } from "./dom.js";

let waiting = null; // for the service to be back: whoever waits, waits for the same

/** Does this, again and again until the service answers; everything else that goes wrong is the caller's. */
export async function whenThere(action) {
  for (;;) {
    try {
      const done = await action();
      if (!waiting) byId("away").hidden = true; // a mistake that was told of is over
      return done;
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      waiting ??= away(error.message).finally(() => (waiting = null));
      await waiting;
    }
  }
}

/** Resolves once the service is back. The last answer stays, greyed. */
async function away(reason) {
  const [banner, text, button] = [byId("away"), byId("away-text"), byId("away-now")];
  const { back, hurry } = untilBack((seconds) => (button.title = `The next try is in ${seconds} s`));
  text.textContent = `${reason} This page tries again by itself.`;
  button.onclick = hurry;
  banner.hidden = false;
  byId("answer-body").classList.add("stale");
  await back;
  banner.hidden = true;
}

/** Tells of a mistake of the page's own, which only a reload mends for certain. */
export function showMistake(error) {
  byId("away-text").textContent = `This page has made a mistake: ${error?.message ?? error}. Try again, or load it anew.`;
  byId("away-now").onclick = () => location.reload();
  byId("away").hidden = false;
}
