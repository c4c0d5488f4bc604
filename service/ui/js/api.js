// Requests to the service. Paths are relative to the page, so that it works behind a prefix.

import { askForKey, forgetKey, keyHeaders, storedKey } from "./key.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8000;
const LONGEST_ANSWER = 10_000;
const LONGEST_QUESTION = 30_000;

/** The service returned an error, whose message names the field. */
export class Refused extends Error {
  constructor(status, { code, message, details = {} }) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

/** The service did not answer, or a proxy answered in its place. */
export class Unreachable extends Error {}

export const getJson = async (path) => read(await ask(path), "json");
export const getText = async (path) => read(await ask(path), "text");

/** GET a document: {text, isPage}; `isPage` is whether it is HTML. */
export async function getPage(path) {
  const response = await ask(path, { headers: { accept: "text/html, application/json" } });
  return { text: await read(response, "text"), isPage: response.headers.get("content-type").startsWith("text/html") };
}

/** POST an object and return the answer. Raises Refused or Unreachable. */
export async function postJson(path, body, more = {}) {
  const headers = { "content-type": "application/json", ...more };
  return read(await ask(path, { method: "POST", headers, body: JSON.stringify(body) }), "json");
}

/** The path of a model's version. */
export function modelPath(model, version) {
  return `v1/models/${encodeURIComponent(model)}/versions/${version}`;
}

/** The full URL of a path, for requests from elsewhere. */
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
    if (storedKey() !== key) continue; // another request has set a new key meanwhile
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
    throw new Unreachable("The answer of the service is incomplete.");
  }
}

/** Errors of the service have one form; any other is from a proxy whose service is unreachable. */
async function refusal(response) {
  try {
    return new Refused(response.status, (await response.json()).error);
  } catch {
    return new Unreachable(`The service does not answer (HTTP status ${response.status}).`);
  }
}

/** Milliseconds to wait before each retry. */
export function* waits() {
  for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) yield wait;
}

/** Resolves once the service answers again; `say` gets the seconds until the next try. `hurry()` tries at once. */
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
