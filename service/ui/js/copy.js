// A question as a command and as a program, to be pasted elsewhere.

import { address } from "./api.js";

/** For a POSIX shell; a service with keys finds the key in DROPSERVE_KEY. */
export function asCurl({ path, body }, hasKey) {
  const key = hasKey ? ['  -H "X-API-Key: $DROPSERVE_KEY" \\'] : [];
  return [
    `curl -s ${quoted(address(path))} \\`,
    ...key,
    "  -H 'content-type: application/json' \\",
    `  -d ${quoted(layOut(body, JSON.stringify))}`,
  ].join("\n");
}

export function asPython({ path, body }, hasKey) {
  const key = hasKey ? ['    headers={"X-API-Key": os.environ["DROPSERVE_KEY"]},'] : [];
  return [
    ...(hasKey ? ["import os", ""] : []),
    "import httpx",
    "",
    "answer = httpx.post(",
    `    ${JSON.stringify(address(path))},`,
    ...key,
    `    json=${layOut(body, literal, "    ")},`,
    ").json()",
    'print(answer["predictions"][0])',
  ].join("\n");
}

/** Within single quotes nothing is special but the quote itself. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A field a line. */
function layOut(body, write, indent = "") {
  const lines = Object.entries(body).map(([name, value]) => `${indent}  ${write(name)}: ${write(value)}`);
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

/** As Python writes it. */
function literal(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map((pair) => pair.map(literal).join(": ")).join(", ")}}`;
  return JSON.stringify(value);
}

/** To the clipboard, where the browser lets us (it does on https and on this machine); says whether. */
export async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
