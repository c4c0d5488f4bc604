// The request of the answer, to copy.

import { asCurl, asPython, toClipboard } from "./copy.js";
import { byId } from "./dom.js";
import { keyHeaders } from "./key.js";

const FORMS = { curl: asCurl, python: asPython };

/** Connect the card; `question()` returns the current request. `refresh()` updates it if it is shown, `enable()` enables
 * the buttons once there is one. */
export function requestCard(question) {
  const text = byId("request-text");
  const details = byId("request-details");
  const said = byId("request-said");
  let form = "curl";
  const refresh = () => {
    if (details.open && !byId("copy-curl").disabled) text.textContent = FORMS[form](question(), "x-api-key" in keyHeaders());
  };
  details.addEventListener("toggle", refresh);
  for (const name of Object.keys(FORMS)) {
    byId(`copy-${name}`).addEventListener("click", async () => {
      form = name;
      const copied = await toClipboard(FORMS[name](question(), "x-api-key" in keyHeaders()));
      if (!copied) show();
      refresh();
      said.textContent = copied ? "Copied." : "The browser does not let this page copy: the text is selected, copy it with the keyboard.";
    });
  }
  const show = () => {
    details.open = true;
    refresh();
    getSelection().selectAllChildren(text);
  };
  const enable = () => Object.keys(FORMS).forEach((name) => (byId(`copy-${name}`).disabled = false));
  return { refresh, enable };
}
