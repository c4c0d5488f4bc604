// Links to what models say of themselves. A browser cannot show a key with a link; where the service wants one, the
// page asks with it and shows the answer in a frame that may do nothing.

import { h } from "../dom.js";
import { keyHeaders } from "../key.js";

/** A link to a path below the service. */
export function link(path, text) {
  const open = (event) => {
    if (!Object.keys(keyHeaders()).length || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(path, text);
  };
  return h("a", { href: path, onclick: open }, text);
}

async function show(path, title) {
  const dialog = h("dialog", { class: "reader", "aria-label": title });
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  dialog.append(h("div", { class: "card-head" }, h("h2", {}, title), close), await content(path, title));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

async function content(path, title) {
  try {
    const response = await fetch(path, { headers: { ...keyHeaders(), accept: "text/html, application/json" } });
    const text = await response.text();
    const isPage = response.headers.get("content-type")?.startsWith("text/html");
    return isPage ? h("iframe", { sandbox: "", srcdoc: text, title }) : h("pre", { tabindex: "0" }, pretty(text));
  } catch {
    return h("p", { class: "notice warn" }, "The service does not answer.");
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
