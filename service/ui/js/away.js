// The banner shown while the service does not answer.

import { Unreachable, untilBack } from "./api.js";
import { byId } from "./dom.js";

let waiting = null; // a promise that the service is back, shared by all callers

/** Calls a function until the service answers; other errors are thrown. */
export async function whenThere(action) {
  for (;;) {
    try {
      const done = await action();
      if (!waiting) byId("away").hidden = true; // an error shown before is over
      return done;
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      waiting ??= away(error.message).finally(() => (waiting = null));
      await waiting;
    }
  }
}

/** Resolves once the service is back; the last answer stays, greyed. */
async function away(reason) {
  const [banner, text, button] = [byId("away"), byId("away-text"), byId("away-now")];
  const { back, hurry } = untilBack((seconds) => (button.title = `The next try is in ${seconds} s`));
  text.textContent = `${reason} This page retries automatically.`;
  button.onclick = hurry;
  banner.hidden = false;
  byId("answer-body").classList.add("stale");
  await back;
  banner.hidden = true;
}

/** Shows an error of the page itself, after which a reload is best. */
export function showMistake(error) {
  byId("away-text").textContent = `An error occurred in this page: ${error?.message ?? error}. Try again, or reload the page.`;
  byId("away-now").onclick = () => location.reload();
  byId("away").hidden = false;
}
