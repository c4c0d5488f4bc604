// What is shown while the service does not answer.

import { Unreachable, untilBack } from "./api.js";
import { byId } from "./dom.js";

/** Does this, again and again until the service answers; everything else that goes wrong is the caller's. */
export async function whenThere(action) {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      await away(error.message);
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
