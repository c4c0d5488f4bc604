// Links to documents of models. A link cannot send a key; if the service requires one, the page fetches the document
// and shows it in a sandboxed frame.

import { getPage, Refused, Unreachable } from "../api.js";
import { h } from "../dom.js";
import { keyHeaders } from "../key.js";

const NAMED = /^#(models\/[^/.][^/]*(?:\/versions\/\d+)?\/(behaviour|card))$/;
const TITLES = { behaviour: "Behaviour report", card: "Model card" };

/** A link to a path below the service. */
export function link(path, text) {
  const open = (event) => {
    if (!Object.keys(keyHeaders()).length || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(path, text);
  };
  return h("a", { href: path, onclick: open }, text);
}

/** The document named in the fragment of the page's URL, to which the page about a required key links. */
export function showNamed({ hash }) {
  const [, path, kind] = NAMED.exec(hash) ?? [];
  if (path) show(path, TITLES[kind]);
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
    const { text, isPage } = await getPage(path);
    return isPage ? h("iframe", { sandbox: "", srcdoc: text, title }) : h("pre", { tabindex: "0" }, pretty(text));
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
    return h("p", { class: "notice warn" }, error.message);
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
