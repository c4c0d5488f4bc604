// Questions to the service. Paths are relative to the page, so that it works behind a prefix.

import { askForKey, forgetKey, keyHeaders, storedKey } from "./key.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8000;
const LONGEST_ANSWER = 10_000;
const LONGEST_QUESTION = 30_000;

/** The service refused; the message is its own, and names the field. */
export class Refused extends Error {
  constructor(status, { code, message, details = {} }) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

/** The service did not answer at all, or something between it and here did. */
export class Unreachable extends Error {}

export const getJson = async (path) => read(await ask(path), "json");
export const getText = async (path) => read(await ask(path), "text");

/** A page for people, or whatever there is instead: {text, isPage}. */
export async function getPage(path) {
  const response = await ask(path, { headers: { accept: "text/html, application/json" } });
  return { text: await read(response, "text"), isPage: response.headers.get("content-type").startsWith("text/html") };
}

/** POST an object; its answer. Raises Refused or Unreachable. */
export async function postJson(path, body, more = {}) {
  const headers = { "content-type": "application/json", ...more };
  return read(await ask(path, { method: "POST", headers, body: JSON.stringify(body) }), "json");
}

/** The path of a model's version. */
export function modelPath(model, version) {
  return `v1/models/${encodeURIComponent(model)}/versions/${version}`;
}

/** The whole address of a path, for those who ask from elsewhere. */
export function address(path) {
  return new URL(path, document.baseURI).href;
}

async function ask(path, options = {}) {
  for (;;) {
    const key = storedKey();
    const response = await reach(path, { ...options, headers: { ...options.headers, ...keyHeaders(key) } });
    if (response.ok) return response;
    const error = await refusal(response);
    if (!(error instanceof Refused) || error.status !== 401) throw error;
    if (storedKey() !== key) continue; // another question has brought a new key meanwhile
    forgetKey();
    await askForKey(error.message);
  }
}

async function reach(path, options = {}) {
  const signal = AbortSignal.timeout(options.method === "POST" ? LONGEST_QUESTION : LONGEST_ANSWER);
  try {
    return await fetch(path, { ...options, signal, cache: "no-store", credentials: "same-origin" });
  } catch {
    throw new Unreachable("The service does not answer.");
  }
}

/** The body as "json" or "text". */
async function read(response, form) {
  try {
    return await response[form]();
  } catch {
    throw new Unreachable("The answer of the service was cut short.");
  }
}

/** Errors have one form; what has another is a proxy's, whose service is away. */
async function refusal(response) {
  try {
    return new Refused(response.status, (await response.json()).error);
  } catch {
    return new Unreachable(`The service does not answer (HTTP status ${response.status}).`);
  }
}

/** Milliseconds to wait before each further try. */
export function* waits() {
  for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) yield wait;
}

/** Resolves once the service answers again; `say` is told the seconds to the next try. `hurry()` tries at once. */
export function untilBack(say) {
  let hurry = () => {};
  const back = (async () => {
    for (const wait of waits()) {
      say(wait / 1000);
      await new Promise((resolve) => {
        hurry = resolve;
        setTimeout(resolve, wait);
      });
      if (await answers("readyz")) return;
    }
  })();
  return { back, hurry: () => hurry() };
}

async function answers(path) {
  try {
    return (await reach(path)).ok;
  } catch {
    return false;
  }
}
